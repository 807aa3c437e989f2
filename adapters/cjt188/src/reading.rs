//! What read answers carry, by data identifier and meter type: readings, history, frozen data, purchases, prices.

use crate::di;
use crate::options::{GasVolume, Options, PressureUnit, ReadingLayout};
use crate::status::Status;
use crate::value::{self, Clock, Counts, Value};
use polymeter_sdk::bytes::{FieldError, Problem, Reader};
use polymeter_sdk::{
    AnswerBody, Civil, Message, Parameter, ParameterValue, Quality, Quantity, Register, Report, ReportCause, Role,
    Unit, bcd, civil,
};

/// Families of meter types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Water,
    Heat,
    Gas,
    Other,
}

impl Family {
    pub const fn of(meter_type: u8) -> Self {
        match meter_type >> 4 {
            1 => Self::Water,
            2 => Self::Heat,
            3 => Self::Gas,
            _ => Self::Other,
        }
    }
}

/// What an answer says, and what of it could not be read.
pub struct Read {
    pub body: AnswerBody,
    pub kept: Vec<Message>,
}

/// Which answer is read, and what is needed to place its values in time.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub options: &'a Options,
    pub family: Family,
    pub di: u16,
    pub now: Civil,
    /// Where the operands begin in the frame, for errors.
    pub offset: usize,
}

/// Operands of a read answer, behind identifier and serial number.
pub fn read(asked: Asked<'_>, operands: &[u8]) -> Result<Read, FieldError> {
    let family = asked.family;
    let mut b = Builder::new(asked, operands);
    match (asked.di, operands.len()) {
        (di::READING, 6 | 7 | 17 | 19) if matches!(family, Family::Water | Family::Gas) && b.layout_fits() => {
            b.volume()?;
        }
        // Their unit bytes say what they count.
        (di::READING, 7 | 19) if matches!(family, Family::Heat | Family::Other) && b.layout_fits() => b.volume()?,
        (di::READING, 43) if family == Family::Heat => b.heat()?,
        (di::READING_2, 59) if family == Family::Heat => b.heat_and_cooling()?,
        (di::CLOCK | di::CLOCK_8515 | di::CLOCK_8115, 7) => return b.clock_only(),
        (0xD120..=0xD12B, 5) => b.month(u32::from(asked.di - di::MONTHS) + 1, true)?,
        (0xD200..=0xD2FF, 5) if family != Family::Heat => b.month(u32::from(asked.di - di::MONTHS_2018) + 1, true)?,
        // Meters that leave out the units of 901F leave them out here too.
        (0xD120..=0xD12B, 4) if matches!(family, Family::Water | Family::Gas) => {
            b.month(u32::from(asked.di - di::MONTHS) + 1, false)?;
        }
        (0xD200..=0xD2FF, 4) if matches!(family, Family::Water | Family::Gas) => {
            b.month(u32::from(asked.di - di::MONTHS_2018) + 1, false)?;
        }
        (0xD200..=0xD2FF, 15) if family == Family::Heat => b.heat_month(u32::from(asked.di - di::MONTHS_2018) + 1)?,
        (0xD300..=0xD4FF, 23) if family != Family::Heat => {
            if !b.freeze(u32::from(asked.di & 0xFF) + 1)? {
                return Ok(raw(operands));
            }
        }
        (di::PRICES, 15) => b.prices()?,
        (di::PURCHASE, 15) => b.account()?,
        (di::SET_PURCHASE, 5) => b.purchase()?,
        (di::SETTLEMENT_DAY, 1) => return b.day("settlement-day"),
        (di::READING_DAY, 1) => return b.day("reading-day"),
        (di, 1..) if di::is_module_history(di) && family == Family::Gas => {
            if !b.module_history()? {
                return Ok(raw(operands));
            }
        }
        // The meter has answered, and nobody knows its reading.
        (di::READING | di::READING_2, _) => b.unread(),
        (_, 0) => return Ok(Read { body: AnswerBody::None, kept: Vec::new() }),
        _ => return Ok(raw(operands)),
    }
    b.r.finish("operands")?;
    // One number that is none costs no other; without any other there is no reading.
    if let Some(error) = b.not_bcd.filter(|_| b.report.registers.is_empty()) {
        return Err(error);
    }
    Ok(Read { body: AnswerBody::Report(b.report), kept: b.kept })
}

fn raw(operands: &[u8]) -> Read {
    Read { body: AnswerBody::Raw(operands.to_vec()), kept: Vec::new() }
}

/// Status word of an answer to a write; one byte is its first.
pub fn status_only(options: &Options, bytes: [u8; 2]) -> Report {
    let mut report = Report::new(ReportCause::OnDemand);
    Status::read(options.status_layout, bytes).tell(&mut report);
    report
}

struct Builder<'a> {
    asked: Asked<'a>,
    operands: &'a [u8],
    r: Reader<'a>,
    report: Report,
    kept: Vec<Message>,
    /// The first number with digits above 9.
    not_bcd: Option<FieldError>,
}

impl<'a> Builder<'a> {
    fn new(asked: Asked<'a>, operands: &'a [u8]) -> Self {
        let report = Report::new(ReportCause::OnDemand);
        Self { asked, operands, r: Reader::at(operands, asked.offset), report, kept: Vec::new(), not_bcd: None }
    }

    /// Whether the profile expects a reading of this length.
    fn layout_fits(&self) -> bool {
        match self.asked.options.reading_layout {
            ReadingLayout::Auto => true,
            ReadingLayout::Full22 => self.operands.len() == 19,
            ReadingLayout::Full20 => self.operands.len() == 17,
            ReadingLayout::Short9 => self.operands.len() == 6,
            ReadingLayout::Short10 => self.operands.len() == 7,
        }
    }

    /// What a total may count: water and gas volumes, whatever their unit says; of others the unit decides.
    const fn total(&self) -> Counts {
        match self.asked.family {
            Family::Water | Family::Gas => Counts::Volume,
            Family::Heat | Family::Other => Counts::Either,
        }
    }

    /// 901F of water and gas, in the four layouts; of others in those with unit bytes.
    fn volume(&mut self) -> Result<(), FieldError> {
        let length = self.operands.len();
        let counts = self.total();
        let unit = matches!(length, 7 | 19);
        self.report.registers.reserve(2);
        self.value("current total", counts, 2, unit, |r| r.with_role(Role::Cumulative))?;
        if length >= 17 {
            self.value("settlement total", counts, 2, unit, settled)?;
            self.meter_clock()?;
        }
        self.status()
    }

    /// 901F of heat meters.
    fn heat(&mut self) -> Result<(), FieldError> {
        self.value("settlement energy", Counts::Energy, 2, true, settled)?;
        self.value("current energy", Counts::Energy, 2, true, |r| r.with_role(Role::Cumulative))?;
        self.flow_and_volume()?;
        self.temperatures()?;
        self.hours()?;
        self.meter_clock()?;
        self.status()
    }

    /// 911F: cooling is tariff 1, as M-Bus meters have it.
    fn heat_and_cooling(&mut self) -> Result<(), FieldError> {
        self.value("settlement heat", Counts::Energy, 2, true, settled)?;
        self.value("settlement cooling", Counts::Energy, 2, true, |r| settled(r).with_tariff(1))?;
        self.value("current heat", Counts::Energy, 2, true, |r| r.with_role(Role::Cumulative))?;
        self.value("current cooling", Counts::Energy, 2, true, |r| r.with_role(Role::Cumulative).with_tariff(1))?;
        self.flow_and_volume()?;
        self.temperatures()?;
        for (channel, field) in [(1, "supply pressure"), (2, "return pressure")] {
            self.pressure(field, |r| r.with_channel(channel))?;
        }
        self.hours()?;
        self.meter_clock()?;
        self.status()
    }

    fn flow_and_volume(&mut self) -> Result<(), FieldError> {
        self.value("power", Counts::Power, 2, true, |r| r)?;
        self.value("flow", Counts::Flow, 4, true, |r| r)?;
        self.value("volume", Counts::Volume, 2, true, |r| r.with_role(Role::Cumulative))
    }

    fn temperatures(&mut self) -> Result<(), FieldError> {
        for (quantity, field) in
            [(Quantity::FlowTemperature, "supply temperature"), (Quantity::ReturnTemperature, "return temperature")]
        {
            self.number(field, 3, |n| Register::new(quantity, Unit::DegreeCelsius, n, -2))?;
        }
        Ok(())
    }

    fn hours(&mut self) -> Result<(), FieldError> {
        self.number("working hours", 3, |n| Register::cumulative(Quantity::OperatingTime, Unit::Hour, n, 0))
    }

    fn pressure(&mut self, field: &'static str, refine: impl Fn(Register) -> Register) -> Result<(), FieldError> {
        let (unit, exponent) = match self.asked.options.pressure {
            PressureUnit::Unsaid => (Unit::Other, -2),
            PressureUnit::Kilopascal => (Unit::Pascal, 1),
            PressureUnit::Megapascal => (Unit::Pascal, 4),
        };
        self.number(field, 3, |n| refine(Register::new(Quantity::Pressure, unit, n, exponent)))
    }

    /// D12x, D2xx: the total of a settlement day so many months ago.
    fn month(&mut self, ago: u32, unit: bool) -> Result<(), FieldError> {
        let at = self.settlement(ago);
        self.value("settlement total", self.total(), 2, unit, |r| past(r, ago, at))
    }

    /// D2xx of heat meters.
    fn heat_month(&mut self, ago: u32) -> Result<(), FieldError> {
        let at = self.settlement(ago);
        self.value("heat", Counts::Energy, 2, true, |r| past(r, ago, at))?;
        self.value("cooling", Counts::Energy, 2, true, |r| past(r, ago, at).with_tariff(1))?;
        self.value("volume", Counts::Volume, 2, true, |r| past(r, ago, at))
    }

    /// D3xx, D4xx. False: without a time the values belong nowhere.
    fn freeze(&mut self, ago: u32) -> Result<bool, FieldError> {
        let Clock::Is(at) = value::clock(self.asked.options, &mut self.r, "time of freezing")? else {
            return Ok(false);
        };
        let frozen = |r| past(r, ago, Some(at));
        self.value("total", Counts::Volume, 2, true, frozen)?;
        self.value("flow", Counts::Flow, 4, true, frozen)?;
        self.number("temperature", 3, |n| frozen(Register::new(Quantity::Temperature, Unit::DegreeCelsius, n, -2)))?;
        self.pressure("pressure", frozen)?;
        Ok(true)
    }

    /// What gas modules keep: totals with or without unit bytes, newest first. False: neither.
    fn module_history(&mut self) -> Result<bool, FieldError> {
        let first = match self.asked.di {
            di::MODULE_MONTHS => 1,
            0x904F => 7,
            // 913F, 914F … 918F: five days each.
            days => u32::from(days - di::MODULE_DAYS) / 0x10 * 5 + 1,
        };
        let (bytes, length) = (self.operands, self.operands.len());
        // 00 and FF stand for a unit, where the length leaves no doubt.
        let is_unit = |code| value::is_volume_unit(code) || matches!(code, 0 | 0xFF) && !length.is_multiple_of(4);
        let units = length.is_multiple_of(5) && bytes.chunks(5).all(|c| is_unit(c[4]));
        if !units && !length.is_multiple_of(4) {
            return Ok(false);
        }
        let count = length / if units { 5 } else { 4 };
        for ago in (first..).take(count) {
            self.value("total", Counts::Volume, 2, units, |r| past(r, ago, None))?;
        }
        Ok(true)
    }

    /// 8102.
    fn prices(&mut self) -> Result<(), FieldError> {
        let unit = match self.asked.family {
            Family::Water | Family::Gas => Unit::YuanPerCubicMetre,
            _ => Unit::Other,
        };
        for tariff in 1..=3 {
            let place = |r: Register| r.with_role(Role::SetPoint).with_tariff(tariff);
            self.number("price", 3, |n| place(Register::new(Quantity::Price, unit, n, -2)))?;
            if tariff < 3 {
                self.number("volume", 3, |n| place(Register::new(Quantity::Volume, Unit::CubicMetre, n, 0)))?;
            }
        }
        Ok(())
    }

    /// A013, and how 8105 begins.
    fn purchase(&mut self) -> Result<(), FieldError> {
        self.number("sequence", 1, |n| Register::cumulative(Quantity::PurchaseCount, Unit::None, n, 0))?;
        self.number("this purchase", 4, |n| Register::new(Quantity::PurchasedMoney, Unit::Yuan, n, -2))
    }

    /// 8105.
    fn account(&mut self) -> Result<(), FieldError> {
        self.purchase()?;
        self.number("all purchases", 4, |n| Register::cumulative(Quantity::PurchasedMoney, Unit::Yuan, n, -2))?;
        self.number("remaining", 4, |n| Register::new(Quantity::Balance, Unit::Yuan, n, -2))?;
        self.status()
    }

    fn clock_only(mut self) -> Result<Read, FieldError> {
        let clock = value::clock(self.asked.options, &mut self.r, "clock")?;
        let body = match clock {
            Clock::Is(at) => AnswerBody::Clock(at),
            Clock::Absent | Clock::Nonsense(_) => AnswerBody::Raw(self.operands.to_vec()),
        };
        Ok(Read { body, kept: Vec::new() })
    }

    fn day(mut self, name: &str) -> Result<Read, FieldError> {
        let day = self.r.bcd("day", 1)? as i64;
        let parameter = Parameter { name: name.into(), value: ParameterValue::Integer(day) };
        Ok(Read { body: AnswerBody::Parameters(vec![parameter]), kept: Vec::new() })
    }

    /// The clock becomes the time of the values beside it.
    fn meter_clock(&mut self) -> Result<(), FieldError> {
        match value::clock(self.asked.options, &mut self.r, "clock")? {
            Clock::Is(at) => {
                self.report.at = Some(at);
                let settled = self.settlement_before(at);
                for register in self.report.registers.iter_mut().filter(|r| r.role == Role::Frozen) {
                    register.at = settled;
                }
            }
            Clock::Absent => {}
            Clock::Nonsense(raw) => {
                self.report.alarms.push("clock-fault".into());
                self.kept.push(Message::unknown(format!("{:04X} clock", self.asked.di), &raw));
            }
        }
        Ok(())
    }

    fn status(&mut self) -> Result<(), FieldError> {
        let status = Status::read(self.asked.options.status_layout, self.r.array("status")?);
        status.tell(&mut self.report);
        if status.reading_is_invalid() {
            for register in &mut self.report.registers {
                register.quality = Quality::Invalid;
            }
        }
        Ok(())
    }

    /// A value with its unit, as a register of its own quantity; or what there is instead.
    fn value(
        &mut self,
        field: &'static str,
        counts: Counts,
        decimals: i8,
        unit: bool,
        refine: impl Fn(Register) -> Register,
    ) -> Result<(), FieldError> {
        let from = self.operands.len() - self.r.remaining();
        let read = value::value(self.asked.options, &mut self.r, field, counts, decimals, unit)?;
        match read {
            Value::Is { quantity, unit, mantissa, exponent } => {
                let register = Register::new(self.named(quantity), unit, mantissa, exponent);
                self.report.registers.push(refine(register).with_code(u32::from(self.asked.di)));
            }
            Value::Absent => self.without(field, "absent", from),
            Value::UnitUnknown => self.without(field, "of unknown unit", from),
            Value::NotBcd(offset) => self.without_digits(field, offset, from),
        }
        Ok(())
    }

    /// BCD without unit byte.
    fn number(
        &mut self,
        field: &'static str,
        len: usize,
        register: impl Fn(i64) -> Register,
    ) -> Result<(), FieldError> {
        let (from, offset) = (self.operands.len() - self.r.remaining(), self.r.offset());
        let raw = self.r.take(field, len)?;
        if raw.iter().all(|b| *b == 0xFF) || raw.iter().all(|b| *b == 0xEE) {
            self.without(field, "absent", from);
            return Ok(());
        }
        match bcd::number_le(raw) {
            Some(number) => {
                self.report.registers.push(register(number as i64).with_code(u32::from(self.asked.di)));
            }
            None => self.without_digits(field, offset, from),
        }
        Ok(())
    }

    fn without_digits(&mut self, field: &'static str, offset: usize, from: usize) {
        self.not_bcd.get_or_insert(FieldError { field, offset, problem: Problem::NotBcd });
        self.without(field, "not BCD", from);
    }

    /// No value can be had here. Of the present total that is an alarm; a place in the past that tells nothing is not.
    fn without(&mut self, field: &'static str, why: &str, from: usize) {
        if field.starts_with("current") && !self.report.alarms.iter().any(|a| a == "reading-absent") {
            self.report.alarms.push("reading-absent".into());
        }
        self.keep(field, why, from);
    }

    /// A reading of a form that nobody knows, or none at all.
    fn unread(&mut self) {
        self.report.alarms.push("reading-absent".into());
        let bytes = self.r.rest();
        if !bytes.is_empty() {
            self.kept.push(Message::unknown(format!("{:04X} of another form", self.asked.di), bytes));
        }
    }

    fn keep(&mut self, field: &'static str, why: &str, from: usize) {
        let bytes = self.operands.get(from..self.operands.len() - self.r.remaining()).unwrap_or_default();
        self.kept.push(Message::unknown(format!("{:04X} {field} {why}", self.asked.di), bytes));
    }

    /// Gas is measured at some conditions, which the protocol does not name.
    const fn named(&self, quantity: Quantity) -> Quantity {
        match (self.asked.family, self.asked.options.gas_volume, quantity) {
            (Family::Gas, GasVolume::Working, Quantity::Volume) => Quantity::WorkingVolume,
            (Family::Gas, GasVolume::Working, Quantity::VolumeFlow) => Quantity::WorkingFlow,
            (Family::Gas, GasVolume::Standard, Quantity::Volume) => Quantity::StandardVolume,
            (Family::Gas, GasVolume::Standard, Quantity::VolumeFlow) => Quantity::StandardFlow,
            _ => quantity,
        }
    }

    /// Midnight of the settlement day so many months ago, where the profile knows the day.
    fn settlement(&self, ago: u32) -> Option<Civil> {
        settlement(self.asked.now, i64::from(ago), self.asked.options.settlement_day?)
    }

    fn settlement_before(&self, at: Civil) -> Option<Civil> {
        let day = self.asked.options.settlement_day?;
        let this = settlement(at, 0, day)?;
        if this <= at { Some(this) } else { settlement(at, 1, day) }
    }
}

/// Of the last settlement day: the first of the past, so that nobody takes it for a present total.
const fn settled(register: Register) -> Register {
    register.with_role(Role::Frozen).with_storage(1)
}

fn past(register: Register, ago: u32, at: Option<Civil>) -> Register {
    Register { at, ..register.with_role(Role::Frozen).with_storage(ago) }
}

fn settlement(now: Civil, months_ago: i64, day: u8) -> Option<Civil> {
    let today = civil::fields(now)?;
    let month = i64::from(today.year) * 12 + i64::from(today.month) - 1 - months_ago;
    civil::date(u16::try_from(month.div_euclid(12)).ok()?, month.rem_euclid(12) as u8 + 1, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settlement_days_across_years() {
        let now = civil::date(2024, 3, 15).expect("a day");
        assert_eq!(settlement(now, 1, 28), civil::date(2024, 2, 28));
        assert_eq!(settlement(now, 3, 1), civil::date(2023, 12, 1));
        assert_eq!(settlement(now, 256, 1), civil::date(2002, 11, 1));
        assert_eq!(settlement(civil::date(1, 1, 1).expect("a day"), 256, 1), None);
    }
}
