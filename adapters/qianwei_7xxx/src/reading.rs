//! 7021, the single report, and 7022, the packed report of which only a draft is known.
//!
//! ```text
//! 7021 (73): 0 meter type u16 | 2 read time BCD6 | 8 kind u8                 | 9  state block (64)
//! 7022 (78): 0 meter type u16 | 2 read time BCD6 | 8 report time BCD6        | 14 state block (64) | surplus
//!
//! state block: 0 valve u8 | 1 working total u32 | 5 standard total u32 | 9 flow u32 | 13 temperature i16 | 15 pressure i16
//!  | 17 balance i32 | 21 settled reading u32 | 25 settlement BCD6 | 31 alarms u32 | 35 reserved alarms u32 | 39 dry i16
//!  | 41 lithium i16 | 43 RSRP i16 | 45 SNR i16 | 47 EARFCN u16 | 49 cell 6 | 55 PCI i16 | 57 ECL u8 | 58 firmware 4 | 62 0000
//! ```
//! A register's `code` is its offset in the body.

use crate::alarms;
use crate::options::{Batteries, Billing, Options, Signal};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, Message, Quality, Quantity, Register, Report, ReportCause, Role, Unit, civil};

pub const SINGLE_BYTES: usize = 73;
pub const PACKED_BYTES: usize = 78;
const ABSENT_U32: u32 = u32::MAX;
const ABSENT_I16: i16 = -1;
/// RSRP at or below this can only be tenths of a dBm.
const TENTHS_FROM: i16 = -200;

/// A report and what else its frame says.
pub struct Reading {
    pub report: Report,
    /// As sent.
    pub read_time: [u8; 6],
    pub meter_type: u16,
    /// 4 ASCII digits.
    pub firmware: [u8; 4],
    pub alarm_bits: u32,
    pub prepaid: bool,
    /// Times that do not exist, and reserved bytes that are not 0, as sent.
    pub odd: Vec<Message>,
}

/// 7021.
pub fn single(body: &[u8], options: &Options) -> Result<Reading, FieldError> {
    let mut r = Reader::at(body, 0);
    let meter_type = r.u16_le("meter type")?;
    let read_time = r.array("read time")?;
    let mut odd = Vec::new();
    let at = told_time("read time", read_time, &mut odd);
    let cause = match r.u8("report kind")? {
        0 => options.scheduled.cause(),
        1 => ReportCause::Manual,
        2 => ReportCause::Alarm,
        _ => ReportCause::Other,
    };
    let mut registers = Vec::with_capacity(16);
    let clock_failed = !odd.is_empty();
    let state = State::read(&mut r, &mut registers, &mut odd, options)?;
    let mut report = state.report(cause, at, registers, options);
    if clock_failed {
        alarms::put_clock_fault(&mut report);
    }
    Ok(Reading {
        report,
        read_time,
        meter_type,
        firmware: state.firmware,
        alarm_bits: state.alarms,
        prepaid: state.prepaid,
        odd,
    })
}

/// The newest reading of 7022. The list of the packed ones is not known: it is left to the caller as surplus.
pub fn packed(body: &[u8], options: &Options) -> Result<Reading, FieldError> {
    let mut r = Reader::at(body, 0);
    let meter_type = r.u16_le("meter type")?;
    let read_time = r.array("read time")?;
    let mut odd = Vec::new();
    let at = told_time("read time", read_time, &mut odd);
    let clock_failed = !odd.is_empty();
    let sent = told_time("report time", r.array("report time")?, &mut odd);
    let mut registers = Vec::with_capacity(16);
    if let Some(sent) = sent {
        let register = Register::new(Quantity::DateTime, Unit::CivilSecond, sent, 0);
        registers.push(register.with_role(Role::Other).with_code(8));
    }
    let state = State::read(&mut r, &mut registers, &mut odd, options)?;
    let mut report = state.report(options.scheduled.cause(), at, registers, options);
    if clock_failed {
        alarms::put_clock_fault(&mut report);
    }
    Ok(Reading {
        report,
        read_time,
        meter_type,
        firmware: state.firmware,
        alarm_bits: state.alarms,
        prepaid: state.prepaid,
        odd,
    })
}

/// Whether a decrypted 7021 makes sense: the test for the right key. Where the padding has proven it, the clock may be wrong.
pub fn is_plausible_single(body: &[u8], proven: bool) -> bool {
    is_plausible_head(body, SINGLE_BYTES, proven) && body[8] <= 2 && body[9] <= 5
}

/// The same for 7022.
pub fn is_plausible_packed(body: &[u8], proven: bool) -> bool {
    is_plausible_head(body, PACKED_BYTES, proven) && body[14] <= 5
}

/// Name of a meter type.
pub const fn type_name(meter_type: u16) -> &'static str {
    match meter_type {
        1 => "diaphragm",
        2 => "roots",
        3 => "ultrasonic",
        4 => "turbine",
        _ => "",
    }
}

/// `abcd` as `Vab.cd`; bytes that are no text as hex.
pub fn firmware_text(firmware: [u8; 4]) -> String {
    if firmware.iter().all(u8::is_ascii_graphic) {
        let [a, b, c, d] = firmware.map(char::from);
        format!("V{a}{b}.{c}{d}")
    } else {
        format!("{:08x}", u32::from_be_bytes(firmware))
    }
}

/// A BCD time; all zero is unset. One that does not exist is kept as sent and costs nothing else: the answer to a report is what sets
/// the meter's clock.
pub fn told_time(field: &str, packed: [u8; 6], odd: &mut Vec<Message>) -> Option<Civil> {
    if packed == [0; 6] {
        return None;
    }
    let at = civil::from_bcd6(packed);
    if at.is_none() {
        odd.push(Message::unknown(field, &packed));
    }
    at
}

/// What is reserved is kept where it says something.
pub fn keep_reserved(bytes: &[u8], odd: &mut Vec<Message>) {
    if bytes.iter().any(|b| *b != 0) {
        odd.push(Message::unknown("reserved", bytes));
    }
}

/// Whether a BCD time exists or is unset.
pub fn is_time(packed: &[u8]) -> bool {
    packed.first_chunk().is_some_and(|time| *time == [0; 6] || civil::from_bcd6(*time).is_some())
}

/// A cell's identity as a number, first byte highest, so that its hexadecimal form is what the meter shows.
pub fn cell(bytes: [u8; 6]) -> i64 {
    bytes.iter().fold(0, |number, b| number << 8 | i64::from(*b))
}

fn is_plausible_head(body: &[u8], bytes: usize, proven: bool) -> bool {
    body.len() >= bytes && matches!(body[..2], [1..=5, 0]) && (proven || is_time(&body[2..]))
}

/// The block that both reports share, less what goes straight into registers.
struct State {
    valve: u8,
    alarms: u32,
    reserved_alarms: u32,
    firmware: [u8; 4],
    prepaid: bool,
    has_total: bool,
}

impl State {
    fn read(
        r: &mut Reader,
        out: &mut Vec<Register>,
        odd: &mut Vec<Message>,
        options: &Options,
    ) -> Result<Self, FieldError> {
        let valve = r.u8("valve state")?;
        let has_total = read_totals(r, out, options)?;
        let prepaid = read_account(r, out, odd, options)?;
        let alarms = r.u32_le("alarm bits")?;
        let reserved_alarms = r.u32_le("reserved alarm bits")?;
        read_batteries(r, out, options)?;
        read_radio(r, out, options)?;
        let firmware = r.array("firmware")?;
        keep_reserved(&r.array::<2>("reserved")?, odd);
        Ok(Self { valve, alarms, reserved_alarms, firmware, prepaid, has_total })
    }

    fn report(&self, cause: ReportCause, at: Option<Civil>, registers: Vec<Register>, options: &Options) -> Report {
        let mut report = Report::new(cause).with_registers(registers);
        report.at = at;
        report.valve = Some(alarms::valve(self.valve, self.alarms));
        report.alarms = alarms::codes(self.alarms, options.batteries);
        if !self.has_total {
            report.alarms.push(alarms::READING_ABSENT.into());
        }
        report.raw_status = u64::from(self.reserved_alarms) << 32 | u64::from(self.alarms);
        report
    }
}

/// True when one of the two totals is there; many meters count only one.
fn read_totals(r: &mut Reader, out: &mut Vec<Register>, options: &Options) -> Result<bool, FieldError> {
    let s = &options.scales;
    let offset = r.offset() as u32;
    let working = r.u32_le("working total")?;
    let standard = r.u32_le("standard total")?;
    let flow = r.u32_le("standard flow")?;
    let temperature = r.i16_le("temperature")?;
    let pressure = r.i16_le("pressure")?;
    if working != ABSENT_U32 {
        let total = Register::cumulative(Quantity::WorkingVolume, Unit::CubicMetre, i64::from(working), -1);
        out.push(total.with_code(offset));
    }
    if standard != ABSENT_U32 {
        let total = Register::cumulative(Quantity::StandardVolume, Unit::CubicMetre, i64::from(standard), -1);
        out.push(total.with_code(offset + 4));
    }
    if flow != ABSENT_U32 {
        let flow = Register::new(Quantity::StandardFlow, Unit::CubicMetrePerHour, i64::from(flow), s.standard_flow);
        out.push(flow.with_code(offset + 8));
    }
    put(out, temperature, Quantity::Temperature, Unit::DegreeCelsius, s.temperature, offset + 12);
    put(out, pressure, Quantity::Pressure, Unit::Pascal, s.pressure, offset + 14);
    Ok(working != ABSENT_U32 || standard != ABSENT_U32)
}

/// Balance, last settled reading and its time; zeros where the centre bills. True, prepaid, when they mean something.
fn read_account(
    r: &mut Reader,
    out: &mut Vec<Register>,
    odd: &mut Vec<Message>,
    options: &Options,
) -> Result<bool, FieldError> {
    let offset = r.offset();
    let balance = r.i32_le("balance")?;
    let settled = Some(r.u32_le("settled reading")?).filter(|settled| *settled != ABSENT_U32);
    let packed = r.array("settlement time")?;
    // Never settled is also told in all ones.
    let settled_at = if packed == [0xFF; 6] { None } else { told_time("settlement time", packed, odd) };
    // An overdraft of one hundredth has the same bytes as nothing at all; here nothing else is told either.
    let is_absent = balance == -1 && settled.is_none() && packed == [0xFF; 6];
    let billed = match options.billing {
        _ if is_absent => false,
        Billing::Auto => balance != 0 || settled.is_some_and(|settled| settled != 0) || settled_at.is_some(),
        Billing::Meter => true,
        Billing::Centre => false,
    };
    if billed {
        let offset = offset as u32;
        out.push(Register::new(Quantity::Balance, Unit::Yuan, i64::from(balance), -2).with_code(offset));
        if let Some(settled) = settled {
            // Which of the two totals was settled is not said.
            let mut settled = Register::new(Quantity::Volume, Unit::CubicMetre, i64::from(settled), -1)
                .with_role(Role::Frozen)
                .with_storage(1)
                .with_code(offset + 4);
            settled.at = settled_at;
            out.push(settled);
        } else if let Some(at) = settled_at {
            let time = Register::new(Quantity::DateTime, Unit::CivilSecond, at, 0);
            out.push(time.with_role(Role::Frozen).with_storage(1).with_code(offset + 8));
        }
    }
    Ok(billed)
}

fn read_batteries(r: &mut Reader, out: &mut Vec<Register>, options: &Options) -> Result<(), FieldError> {
    let offset = r.offset() as u32;
    let dry = r.i16_le("dry battery")?;
    let lithium = r.i16_le("lithium battery")?;
    match options.batteries {
        Batteries::Both => {
            put(out, dry, Quantity::BatteryVoltage, Unit::Volt, -2, offset);
            put(out, lithium, Quantity::BackupBatteryVoltage, Unit::Volt, -2, offset + 2);
        }
        Batteries::InternalOnly => put(out, lithium, Quantity::BatteryVoltage, Unit::Volt, -2, offset + 2),
    }
    Ok(())
}

fn read_radio(r: &mut Reader, out: &mut Vec<Register>, options: &Options) -> Result<(), FieldError> {
    let offset = r.offset() as u32;
    let rsrp = r.i16_le("RSRP")?;
    let snr = r.i16_le("SNR")?;
    let earfcn = r.i16_le("EARFCN")?;
    let cell = cell(r.array("cell id")?);
    let pci = r.i16_le("physical cell")?;
    let ecl = r.u8("ECL")?;
    let tenths = match options.signal {
        Signal::Auto => rsrp <= TENTHS_FROM,
        Signal::Tenths => true,
        Signal::Whole => false,
    };
    let exponent = if tenths { -1 } else { 0 };
    put(out, rsrp, Quantity::SignalRsrp, Unit::DecibelMilliwatt, exponent, offset);
    put(out, snr, Quantity::SignalSnr, Unit::Decibel, exponent, offset + 2);
    if earfcn != ABSENT_I16 {
        let channel = Register::new(Quantity::ChannelNumber, Unit::None, i64::from(earfcn.cast_unsigned()), 0);
        out.push(channel.with_code(offset + 4));
    }
    out.push(Register::new(Quantity::Identity, Unit::None, cell, 0).with_code(offset + 6));
    put(out, pci, Quantity::PhysicalCell, Unit::None, 0, offset + 12);
    let ecl_quality = if ecl <= 2 { Quality::Good } else { Quality::Invalid };
    let ecl = Register::new(Quantity::SignalEcl, Unit::None, i64::from(ecl), 0);
    out.push(ecl.with_quality(ecl_quality).with_code(offset + 14));
    Ok(())
}

/// A value unless it is absent.
fn put(out: &mut Vec<Register>, value: i16, quantity: Quantity, unit: Unit, exponent: i8, code: u32) {
    if value != ABSENT_I16 {
        out.push(Register::new(quantity, unit, i64::from(value), exponent).with_code(code));
    }
}
