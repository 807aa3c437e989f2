//! The business report 38: totals, thirty frozen days, state, radio, settings, and why it came. A register's `code` is its offset.
//!
//! ```text
//! 0 days u16 | 2 hour | 3 freeze time | 5 safety u16 | 7 temperature i16 | 9 pressure u16 | 11 working total u40 | 16 current total u40
//! | 21 30 x frozen u32, newest first | 141 state u16 | 143 valve u16 | 145 battery | 146 supply | 147 RSSI | 148 SNR i16 | 150 level i8
//! | 151 cell BCD6 | 157 window start, 159 end | 161 interval u16 | 163 timeout | 164 reconnects | 165 delay | 166 firmware
//! | 167 reasons u16 | 169 clock BCD6 | 175 work mode
//! ```

use crate::options::{Frozen, Options, Temperature};
use crate::settings::minute_of_day;
use crate::words;
use polymeter_sdk::bytes::{FieldError, Problem, Reader};
use polymeter_sdk::{Civil, Message, Quality, Quantity, Register, Report, Role, Sample, Series, Unit, bcd, civil};

pub const BYTES: usize = 176;
const DAYS: usize = 30;
/// Times of day: freeze, window start and end.
const TIMES: [usize; 3] = [3, 157, 159];
/// 0.01 m³ that no meter of this network counts in a day.
const DAY_MAX: u64 = 100_000;
/// How many times as much as on any other day is no day's consumption, and the least that counts as another day's, 0.01 m³.
const LEAP: u64 = 100;
const STEP_MIN: u64 = 100;
/// How many times as much as on any other day may still be one day's consumption.
const USUAL: u64 = 4;
const ABSENT_U32: u32 = u32::MAX;
const ABSENT_U40: u64 = 0xFF_FFFF_FFFF;

/// A report and what else its frame says.
pub struct Reading {
    pub report: Report,
    /// Events, and bytes that nothing explains.
    pub others: Vec<Message>,
    pub reasons: u16,
    pub clock: [u8; 6],
    pub firmware: u8,
    /// 0.01 m³, of the current total.
    pub total: Option<u64>,
    /// The September in which the gas year began, and the frozen total of its first day.
    pub gas_year: Option<(u16, u64)>,
    pub communication: [u8; 9],
    /// Everything that only changes when somebody sets it.
    pub settings: Vec<Register>,
    pub fingerprint: u32,
}

/// `body` has at least the report's bytes.
pub fn parse(body: &[u8], options: &Options) -> Result<Reading, FieldError> {
    let body = Reader::at(body, 16).array::<BYTES>("report")?;
    let u16_at = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let mut clock = [0; 6];
    clock.copy_from_slice(&body[169..175]);
    let at = civil::from_bcd6(clock);
    let reasons = u16_at(167);
    let (mut registers, mut others) = (Vec::with_capacity(14), Vec::new());
    let clock_failed = words::odd_clock(clock, &mut others);
    // Under another key nothing is what it should be.
    let times = TIMES.iter().filter(|at| minute_of_day([body[**at], body[**at + 1]]).is_some());
    if clock_failed && times.count() < 2 {
        return Err(FieldError { field: "clock", offset: 185, problem: Problem::NotBcd });
    }
    let (working, total) = (u40(&body, 11), u40(&body, 16));
    let corrected = working != total;
    // Without a corrector both are one. Beside no working total nothing says which of the two the other is.
    let current = if working.is_some() { Quantity::StandardVolume } else { Quantity::Volume };
    for (value, quantity, code) in [(working, Quantity::WorkingVolume, 11), (total.filter(|_| corrected), current, 16)]
    {
        registers.extend(value.map(|v| Register::cumulative(quantity, Unit::CubicMetre, v as i64, -2).with_code(code)));
    }
    gas(&body, options, &mut registers);
    radio(&body, &mut registers, &mut others);
    let mut report = Report::new(words::cause(reasons, u16_at(161)));
    let frozen = Days { entries: &body[21..141], at, freeze: minute_of_day([body[3], body[4]]), total, corrected };
    let gas_year = frozen.tell(options, &mut registers, &mut report.series, &mut others);
    let (state, valve) = (u16_at(141), u16_at(143));
    report.at = at;
    report.registers = registers;
    report.valve = Some(words::valve(valve));
    report.alarms = words::alarms(state);
    if clock_failed {
        report.alarms.push("clock-fault".into());
    }
    if working.is_none() && total.is_none() {
        report.alarms.push("reading-absent".into());
    }
    report.raw_status = u64::from(state) << 32 | u64::from(valve) << 16 | u64::from(reasons);
    words::events(reasons, at, &mut others);
    let mut communication = [0; 9];
    communication.copy_from_slice(&body[157..166]);
    let settings = settings(&body, &mut others);
    let kept = [&body[..7], &body[146..147], &body[157..167], &body[175..]];
    let hash = kept.into_iter().flatten().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    Ok(Reading {
        report,
        others,
        reasons,
        clock,
        firmware: body[166],
        total,
        gas_year,
        communication,
        settings,
        fingerprint: hash.max(1),
    })
}

/// Temperature, pressure and battery.
fn gas(body: &[u8; BYTES], options: &Options, out: &mut Vec<Register>) {
    let temperature = i16::from_be_bytes([body[7], body[8]]);
    if !matches!(temperature, -1 | i16::MAX) {
        let within = |one| (-40 * one..=80 * one).contains(&i32::from(temperature));
        let (exponent, quality) = match options.temperature {
            Temperature::Hundredths if within(100) => (-2, Quality::Good),
            Temperature::Tenths if within(10) => (-1, Quality::Good),
            _ => (-1, Quality::Invalid),
        };
        let register = Register::new(Quantity::Temperature, Unit::DegreeCelsius, temperature.into(), exponent);
        out.push(register.with_quality(quality).with_code(7));
    }
    let pressure = u16::from_be_bytes([body[9], body[10]]);
    if !matches!(pressure, 0x7FFF | 0xFFFF) {
        let register = Register::new(Quantity::Pressure, Unit::Pascal, pressure.into(), options.pressure);
        out.push(register.with_code(9));
    }
    if body[145] != u8::MAX {
        out.push(Register::new(Quantity::BatteryVoltage, Unit::Volt, body[145].into(), -1).with_code(145));
    }
}

fn radio(body: &[u8; BYTES], out: &mut Vec<Register>, others: &mut Vec<Message>) {
    // The scale of the RSSI is not public.
    out.push(Register::new(Quantity::SignalRssi, Unit::Other, body[147].into(), 0).with_code(147));
    let snr = i16::from_be_bytes([body[148], body[149]]);
    let exponent = if (-30..=30).contains(&snr) { 0 } else { -1 };
    out.push(Register::new(Quantity::SignalSnr, Unit::Decibel, snr.into(), exponent).with_code(148));
    let level = body[150].cast_signed();
    let quality = if (0..=2).contains(&level) { Quality::Good } else { Quality::Invalid };
    out.push(Register::new(Quantity::SignalEcl, Unit::None, level.into(), 0).with_quality(quality).with_code(150));
    match bcd::number(&body[151..157]) {
        Some(cell) => out.push(Register::new(Quantity::Identity, Unit::None, cell as i64, 0).with_code(151)),
        None => others.push(Message::unknown("cell", &body[151..157])),
    }
}

/// The settings that a report repeats.
fn settings(body: &[u8; BYTES], others: &mut Vec<Message>) -> Vec<Register> {
    let mut out = Vec::with_capacity(13);
    let mut put = |quantity, unit, value: i64, code: usize| {
        out.push(Register::new(quantity, unit, value, 0).with_role(Role::SetPoint).with_code(code as u32));
    };
    let u16_at = |at: usize| i64::from(u16::from_be_bytes([body[at], body[at + 1]]));
    put(Quantity::Duration, Unit::Day, u16_at(0), 0);
    put(Quantity::ControlSignal, Unit::BitField, u16_at(5), 5);
    put(Quantity::Other, Unit::None, body[146].into(), 146);
    put(Quantity::Duration, Unit::Minute, u16_at(161), 161);
    put(Quantity::Duration, Unit::Minute, body[163].into(), 163);
    put(Quantity::Retries, Unit::None, body[164].into(), 164);
    put(Quantity::Duration, Unit::Minute, body[165].into(), 165);
    put(Quantity::Other, Unit::None, body[175].into(), 175);
    for (name, at) in [("freeze time", 3), ("window start", 157), ("window end", 159)] {
        match minute_of_day([body[at], body[at + 1]]) {
            Some(minute) => put(Quantity::TimeOfDay, Unit::Minute, minute, at),
            None => others.push(Message::unknown(name, &body[at..at + 2])),
        }
    }
    match bcd::byte(body[2]).filter(|hour| *hour < 24) {
        Some(hour) => put(Quantity::TimeOfDay, Unit::Hour, hour.into(), 2),
        None => others.push(Message::unknown("hour of closing", &body[2..3])),
    }
    out
}

/// The frozen totals: entry k is that of k + 1 days before the meter's date, at the freeze time.
struct Days<'a> {
    entries: &'a [u8],
    at: Option<Civil>,
    freeze: Option<i64>,
    total: Option<u64>,
    corrected: bool,
}

impl Days<'_> {
    /// A series of the entries that hold; invalid registers of those that contradict a neighbour; bytes when they cannot be dated or
    /// their scale is in doubt. The start of the gas year, if it is among them.
    fn tell(
        &self,
        options: &Options,
        registers: &mut Vec<Register>,
        series: &mut Vec<Series>,
        others: &mut Vec<Message>,
    ) -> Option<(u16, u64)> {
        let (words, _) = self.entries.as_chunks::<4>();
        let mut days = [None; DAYS];
        for (day, word) in days.iter_mut().zip(words) {
            *day = Some(u32::from_be_bytes(*word)).filter(|v| *v != ABSENT_U32);
        }
        // Before commissioning there is nothing: zeros behind the oldest value.
        let used = days.iter().rposition(|day| day.is_some_and(|v| v != 0)).map_or(0, |last| last + 1);
        let days = &days[..used];
        let (Some(at), Some(freeze)) = (self.at, self.freeze) else {
            if used > 0 {
                others.push(Message::unknown("undated frozen days", self.entries));
            }
            return None;
        };
        let newest = days.iter().flatten().next().copied();
        let exponent = match (options.frozen, newest) {
            (Frozen::Whole, _) => Some(0),
            (Frozen::Hundredths, None) => Some(-2),
            (Frozen::Hundredths, Some(newest)) => self.exponent(newest, days),
        };
        let Some(exponent) = exponent else {
            others.push(Message::unknown("frozen days in doubt: option frozen = whole", self.entries));
            return None;
        };
        let hundredths = |value: u32| u64::from(value) * if exponent == 0 { 100 } else { 1 };
        let quantity = if self.corrected { Quantity::Volume } else { Quantity::WorkingVolume };
        let (mut samples, mut year) = (Vec::with_capacity(used), None);
        for (k, value) in days.iter().enumerate().filter_map(|(k, day)| day.map(|value| (k, value))) {
            let date = civil::midnight(at) - (k as i64 + 1) * civil::DAY;
            let newer = days[..k].iter().flatten().next_back();
            let older = days[k + 1..].iter().flatten().next();
            let beyond = newer.is_none() && self.total.is_some_and(|total| hundredths(value) > total);
            let suspect = beyond || newer.is_some_and(|n| *n < value) || older.is_some_and(|o| *o > value);
            let when = date + freeze * 60;
            if suspect {
                let register = Register::frozen(quantity, Unit::CubicMetre, value.into(), exponent, when);
                registers.push(register.with_quality(Quality::Invalid).with_code(21 + 4 * k as u32));
                continue;
            }
            samples.push(Sample { at: when, mantissa: value.into() });
            let day = civil::fields(date);
            year = year.or_else(|| day.filter(|d| (d.month, d.day) == (9, 1)).map(|d| (d.year, hundredths(value))));
        }
        if !samples.is_empty() {
            let mut column = Series::new(quantity, Unit::CubicMetre, Role::Frozen, exponent, samples);
            column.code = 21;
            series.push(column);
        }
        year
    }

    /// Hundredths, unless whole m³ would lie right below the total while hundredths would need a leap since yesterday that no day
    /// before comes near: whole m³ then, if what they leave for today is like the other days, else `None`. Where both are possible,
    /// as with the first days of a new meter, they are hundredths.
    fn exponent(&self, newest: u32, days: &[Option<u32>]) -> Option<i8> {
        let Some(total) = self.total else { return Some(-2) };
        let newest = u64::from(newest);
        let left = total.checked_sub(newest * 100).filter(|left| *left < DAY_MAX);
        let leap = total.saturating_sub(newest);
        let newer = days.iter().flatten();
        let steps = newer.clone().zip(newer.skip(1)).map(|(newer, older)| u64::from(newer.saturating_sub(*older)));
        let step = steps.max();
        let is_unlike = step.is_some_and(|step| leap > LEAP * step.max(STEP_MIN));
        match left {
            Some(left) if leap >= DAY_MAX || is_unlike => {
                step.is_some_and(|step| left <= USUAL * 100 * step.max(1)).then_some(0)
            }
            _ => Some(-2),
        }
    }
}

fn u40(body: &[u8; BYTES], at: usize) -> Option<u64> {
    let value = body[at..at + 5].iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
    Some(value).filter(|v| *v != ABSENT_U40)
}
