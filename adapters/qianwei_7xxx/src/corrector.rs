//! 10E1, the report of a flow corrector, and 1013, its recharge. Units and decimals of the group are not public: what the
//! profile gives no scale for is reported as the raw number; with one, temperatures and signals have a sign. A field of all ones is
//! absent and gives no register.
//!
//! ```text
//!   0 packets left u16, 0000 | 4 type u16 | 6 read time BCD6 | 12 previous day CC YY MM DD
//!  16 previous day: pressure max, min u32 | 24 temperature max, min u16 | 28 working, 36 standard total (integer, decimals u32)
//!  44 report kind | 45 billing kind | 46 payment | 47 valve | 48 working, 56 standard total | 64 algorithm, 00
//!  66 temperature u16 | 68 pressure u32 | 72 working flow, 76 standard flow u32 | 80 factors: compression working, standard,
//!  88 correction u32 | 92 balance, 100 remaining volume (integer, decimals) | 108 hardware 4 | 112 firmware 4
//! 116 work status 1, 2 u32 | 124 lithium, 126 valve battery, 128 reports u16 | 130 RSRP, SNR, PCI u16 | 136 base station u32
//! 140 EARFCN u16 | 142 network failure | 143 ECL | 144 cell 6 | 150 0000
//! ```

use crate::alarms;
use crate::options::{CorrectorScales, Options};
use crate::{reading, scale};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    Civil, Fault, Message, Quality, Quantity, Recharge, Register, Report, ReportCause, Role, Unit, bcd, civil,
};

pub const REPORT_BYTES: usize = 152;
const ABSENT_U16: u16 = u16::MAX;
const ABSENT_U32: u32 = u32::MAX;
/// Bytes that say nothing.
const PADDING: [usize; 5] = [2, 3, 65, 150, 151];
/// A corrector counts both; one without the other is a total missed.
const CURRENT_TOTALS: [Quantity; 2] = [Quantity::WorkingVolume, Quantity::StandardVolume];

/// A report and what else its frame says.
pub struct CorrectorReading {
    pub report: Report,
    /// As sent.
    pub read_time: [u8; 6],
    pub meter_type: u16,
    pub hardware: String,
    pub firmware: String,
    pub prepaid: bool,
    /// Times that do not exist, and padding that is not 0, as sent.
    pub odd: Vec<Message>,
}

/// 10E1.
pub fn report(body: &[u8], options: &Options) -> Result<CorrectorReading, FieldError> {
    let scales = &options.corrector;
    let mut r = Reader::at(body, 0);
    let mut out = Values { registers: Vec::with_capacity(40), scales };
    let packets = r.u16_le("packets left")?;
    r.u16_le("padding")?;
    let meter_type = r.u16_le("meter type")?;
    let read_time = r.array("read time")?;
    let mut odd = Vec::new();
    let at = reading::told_time("read time", read_time, &mut odd);
    let clock_failed = !odd.is_empty();
    out.previous_day(&mut r, &mut odd)?;
    let cause = match r.u8("report kind")? {
        0 => options.scheduled.cause(),
        1 => ReportCause::Manual,
        2 => ReportCause::Alarm,
        _ => ReportCause::Other,
    };
    let [billing, payment, valve] = r.array("billing, payment, valve")?;
    let totals = out.now(&mut r, [billing, payment])?;
    out.account(&mut r)?;
    let hardware = version(r.array("hardware")?);
    let firmware = version(r.array("firmware")?);
    let status = [r.u32_le("work status 1")?, r.u32_le("work status 2")?].map(u64::from);
    out.supply_and_radio(&mut r)?;
    // All of it is there by now.
    reading::keep_reserved(&PADDING.map(|at| body[at]), &mut odd);
    if packets != ABSENT_U16 {
        out.put(Quantity::Dimensionless, Unit::None, i64::from(packets), 0).role = Role::Other;
    }
    let mut report = Report::new(cause).with_registers(out.registers);
    report.at = at;
    report.valve = Some(alarms::valve(valve, 0));
    if totals < CURRENT_TOTALS.len() {
        report.alarms.push(alarms::READING_ABSENT.into());
    }
    if clock_failed {
        alarms::put_clock_fault(&mut report);
    }
    report.raw_status = status[1] << 32 | status[0];
    Ok(CorrectorReading { report, read_time, meter_type, hardware, firmware, prepaid: payment == 0, odd })
}

/// Whether a decrypted 10E1 makes sense: the test for the right key. Where the padding has proven it, the clock may be wrong.
pub fn is_plausible(body: &[u8], proven: bool) -> bool {
    let enums_fit = |b: &[u8]| b[44] <= 2 && b[45] <= 1 && b[46] <= 1 && b[47] <= 4 && b[64] <= 3;
    body.len() >= REPORT_BYTES
        && matches!(body[4..6], [0xCA | 0xDA, 0])
        && (proven || reading::is_time(&body[6..]))
        && enums_fit(body)
}

/// Name of a meter type.
pub const fn type_name(meter_type: u16) -> &'static str {
    match meter_type {
        0xCA => "corrector-diaphragm",
        0xDA => "corrector-ultrasonic",
        _ => "corrector",
    }
}

/// Body of 1013: money or volume, as integer and decimals.
///
/// ```text
/// 0 billing kind u8 (0 money, 1 volume) | 1 000000 | 4 money u32 | 8 decimals u32 | 12 volume u32 | 16 decimals u32
/// ```
pub fn recharge(order: &Recharge, options: &Options) -> Result<Vec<u8>, Fault> {
    let kind = match (order.amount, order.volume) {
        (1.., 0) => 0,
        (0, 1..) => 1,
        _ => return Err(Fault::out_of_range("amount, volume", "both or neither", "one of them above 0 for 1013")),
    };
    let mut body = vec![kind, 0, 0, 0];
    for (field, hundredths) in [("amount", order.amount), ("volume", order.volume)] {
        let (whole, part) = (hundredths / 100, hundredths % 100);
        let whole = u32::try_from(whole).map_err(|_| Fault::out_of_range(field, hundredths, "what fits 32 bits"))?;
        let decimals = scale::exactly(part, -2, -options.corrector.decimals.cast_signed())
            .and_then(|d| u32::try_from(d).ok())
            .ok_or_else(|| Fault::out_of_range(field, hundredths, "no more digits than corrector.decimals"))?;
        body.extend_from_slice(&whole.to_le_bytes());
        body.extend_from_slice(&decimals.to_le_bytes());
    }
    Ok(body)
}

/// What the answer to 1013 repeats of the request: the two purchases.
pub fn recharged(body: &[u8], options: &Options) -> Result<Report, FieldError> {
    let mut r = Reader::at(body, 0);
    let mut out = Values { registers: Vec::with_capacity(2), scales: &options.corrector };
    r.take("code and billing kind", 4)?;
    out.split(&mut r, Quantity::PurchasedMoney, Unit::Yuan)?;
    out.split(&mut r, Quantity::PurchasedVolume, Unit::CubicMetre)?;
    Ok(Report::new(ReportCause::OnDemand).with_registers(out.registers))
}

/// Registers of one report, each with its offset as `code`.
struct Values<'a> {
    registers: Vec<Register>,
    scales: &'a CorrectorScales,
}

impl Values<'_> {
    fn put(&mut self, quantity: Quantity, unit: Unit, mantissa: i64, exponent: i8) -> &mut Register {
        let at = self.registers.len();
        self.registers.push(Register::new(quantity, unit, mantissa, exponent));
        &mut self.registers[at]
    }

    /// One of several ways to work, by its number.
    fn setting(&mut self, quantity: Quantity, number: u8, code: u32) {
        let setting = self.put(quantity, Unit::None, i64::from(number), 0);
        (setting.role, setting.code) = (Role::SetPoint, code);
    }

    /// In the unit when the profile gives its power of ten, else the raw number.
    fn scaled(&mut self, quantity: Quantity, unit: Unit, exponent: Option<i8>, raw: i64, code: usize) -> &mut Register {
        let (unit, exponent) = exponent.map_or((Unit::Other, 0), |e| (unit, e));
        let register = self.put(quantity, unit, raw, exponent);
        register.code = code as u32;
        register
    }

    /// The next field, unless it is absent.
    fn long(
        &mut self,
        r: &mut Reader,
        quantity: Quantity,
        unit: Unit,
        exponent: Option<i8>,
    ) -> Result<Option<&mut Register>, FieldError> {
        let code = r.offset();
        let raw = r.u32_le("32-bit value")?;
        Ok((raw != ABSENT_U32).then(|| self.scaled(quantity, unit, exponent, i64::from(raw), code)))
    }

    /// The same for a field of half the width.
    fn short(
        &mut self,
        r: &mut Reader,
        quantity: Quantity,
        unit: Unit,
        exponent: Option<i8>,
    ) -> Result<Option<&mut Register>, FieldError> {
        let code = r.offset();
        let raw = r.u16_le("16-bit value")?;
        Ok((raw != ABSENT_U16).then(|| self.scaled(quantity, unit, exponent, i64::from(raw), code)))
    }

    /// The same for what may lie below zero: with a scale it is a level and has a sign, without one it is just what was sent.
    fn level(
        &mut self,
        r: &mut Reader,
        quantity: Quantity,
        unit: Unit,
        exponent: Option<i8>,
    ) -> Result<Option<&mut Register>, FieldError> {
        let mut register = self.short(r, quantity, unit, exponent)?;
        if let (Some(level), true) = (&mut register, exponent.is_some()) {
            level.mantissa = i64::from((level.mantissa as u16).cast_signed());
        }
        Ok(register)
    }

    /// An integer and its decimals as one number, unless the integer is absent. Decimals with more digits than the profile says
    /// cannot be added: then the integer stands alone, marked as estimated.
    fn split(&mut self, r: &mut Reader, quantity: Quantity, unit: Unit) -> Result<Option<&mut Register>, FieldError> {
        let code = r.offset();
        let whole = r.u32_le("integer part")?;
        let decimals = i64::from(r.u32_le("decimals")?);
        if whole == ABSENT_U32 {
            return Ok(None);
        }
        let whole = i64::from(whole);
        let power = 10_i64.pow(u32::from(self.scales.decimals));
        let fits = decimals < power;
        let (mantissa, exponent) =
            if fits { (whole * power + decimals, -self.scales.decimals.cast_signed()) } else { (whole, 0) };
        let register = self.put(quantity, unit, mantissa, exponent);
        register.quality = if fits { Quality::Good } else { Quality::Estimated };
        register.code = code as u32;
        Ok(Some(register))
    }

    fn previous_day(&mut self, r: &mut Reader, odd: &mut Vec<Message>) -> Result<(), FieldError> {
        let day = day(r.array("previous day")?, odd);
        let s = self.scales;
        let frozen = |register: Option<&mut Register>, role| {
            if let Some(register) = register {
                register.role = role;
                register.at = day;
                register.storage = 1;
            }
        };
        for role in [Role::Maximum, Role::Minimum] {
            frozen(self.long(r, Quantity::Pressure, Unit::Pascal, s.pressure)?, role);
        }
        for role in [Role::Maximum, Role::Minimum] {
            frozen(self.level(r, Quantity::Temperature, Unit::DegreeCelsius, s.temperature)?, role);
        }
        for quantity in [Quantity::WorkingVolume, Quantity::StandardVolume] {
            frozen(self.split(r, quantity, Unit::CubicMetre)?, Role::Frozen);
        }
        Ok(())
    }

    /// How many of the current totals there are.
    fn now(&mut self, r: &mut Reader, [billing, payment]: [u8; 2]) -> Result<usize, FieldError> {
        let mut totals = 0;
        for quantity in CURRENT_TOTALS {
            if let Some(total) = self.split(r, quantity, Unit::CubicMetre)? {
                total.role = Role::Cumulative;
                totals += 1;
            }
        }
        let [algorithm, _] = r.array("correction algorithm")?;
        self.setting(Quantity::Other, billing, 45);
        self.setting(Quantity::Other, payment, 46);
        self.setting(Quantity::Identity, algorithm, 64);
        let s = self.scales;
        self.level(r, Quantity::Temperature, Unit::DegreeCelsius, s.temperature)?;
        self.long(r, Quantity::Pressure, Unit::Pascal, s.pressure)?;
        self.long(r, Quantity::WorkingFlow, Unit::CubicMetrePerHour, s.flow)?;
        self.long(r, Quantity::StandardFlow, Unit::CubicMetrePerHour, s.flow)?;
        // Channel 1 is the second of a kind: the factor at standard conditions, and below the base station's identity.
        for (quantity, channel) in [
            (Quantity::CompressibilityFactor, 0),
            (Quantity::CompressibilityFactor, 1),
            (Quantity::CorrectionFactor, 0),
        ] {
            if let Some(factor) = self.long(r, quantity, Unit::None, s.factor)? {
                factor.channel = channel;
            }
        }
        Ok(totals)
    }

    fn account(&mut self, r: &mut Reader) -> Result<(), FieldError> {
        self.split(r, Quantity::Balance, Unit::Yuan)?;
        self.split(r, Quantity::RemainingVolume, Unit::CubicMetre)?;
        Ok(())
    }

    fn supply_and_radio(&mut self, r: &mut Reader) -> Result<(), FieldError> {
        let s = self.scales;
        for (quantity, unit, exponent) in [
            (Quantity::BatteryVoltage, Unit::Volt, s.battery),
            (Quantity::BackupBatteryVoltage, Unit::Volt, s.battery),
            (Quantity::ReportCount, Unit::None, Some(0)),
        ] {
            self.short(r, quantity, unit, exponent)?;
        }
        for (quantity, unit) in [(Quantity::SignalRsrp, Unit::DecibelMilliwatt), (Quantity::SignalSnr, Unit::Decibel)] {
            self.level(r, quantity, unit, s.signal)?;
        }
        self.short(r, Quantity::PhysicalCell, Unit::None, Some(0))?;
        if let Some(station) = self.long(r, Quantity::Identity, Unit::None, Some(0))? {
            station.channel = 1;
        }
        self.short(r, Quantity::ChannelNumber, Unit::None, Some(0))?;
        let [failure, ecl] = r.array("network failure, ECL")?;
        self.scaled(Quantity::Other, Unit::None, Some(0), i64::from(failure), 142);
        self.scaled(Quantity::SignalEcl, Unit::None, Some(0), i64::from(ecl), 143);
        let cell = reading::cell(r.array("cell id")?);
        self.put(Quantity::Identity, Unit::None, cell, 0).code = 144;
        r.u16_le("padding")?;
        Ok(())
    }
}

/// Century, year, month, day in BCD; all zero is unset, and so is all ones, beside the values of no day. Another day that does not
/// exist is kept as sent.
fn day(packed: [u8; 4], odd: &mut Vec<Message>) -> Option<Civil> {
    let [century, year, month, day] = packed.map(bcd::byte);
    let date = || civil::date(u16::from(century?) * 100 + u16::from(year?), month?, day?);
    let date = date();
    if date.is_none() && packed != [0; 4] && packed != [0xFF; 4] {
        odd.push(Message::unknown("previous day", &packed));
    }
    date
}

/// ASCII digits; bytes that are no text as hex.
fn version(bytes: [u8; 4]) -> String {
    let text = bytes.iter().all(u8::is_ascii_graphic).then(|| bytes.iter().map(|b| char::from(*b)).collect());
    text.unwrap_or_else(|| format!("{:08x}", u32::from_be_bytes(bytes)))
}
