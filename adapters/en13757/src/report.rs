//! Records to registers: roles, the gas rule, the times that belong to stored values, and what becomes of what is no number.

use crate::identity::medium;
use crate::options::{DamagedTail, Options, PlainVolume};
use crate::record::{self, Function, Item, Record, Table};
use crate::time::{self, Moment};
use crate::value::{self, EXPONENT_MAX, Sign, Value};
use crate::vif::{self, Nature};
use crate::vife::{self, Combined, Conditions};
use polymeter_sdk::bytes::Reader;
use polymeter_sdk::{Civil, Fault, Message, Quality, Quantity, Register, Role, Unit};

/// What the records of one telegram say.
#[derive(Debug, Default)]
pub struct Collected {
    pub registers: Vec<Register>,
    /// What is no register, by name.
    pub unknown: Vec<Message>,
    /// The meter's clock, where it sends just one.
    pub at: Option<Civil>,
    pub more_follows: bool,
    /// A present total is there by name, but without a value.
    pub is_total_absent: bool,
    /// What the device has shown of its marks, these records included.
    pub marks: Marks,
    moments: Vec<Stamp>,
    /// Registers that are standard ones although their records name no conditions.
    unmarked: Vec<usize>,
}

/// When the values of a storage number are of.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    role: Role,
    storage: u32,
    channel: u16,
    at: Civil,
    is_clock: bool,
}

/// What a converter has shown of how it marks values at base conditions (VIFE 3E), as it is remembered of the device: its
/// values may come in several telegrams, and not all of them have a mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks(pub u8);

impl Marks {
    const VOLUME: u8 = 1;
    const FLOW: u8 = 2;
    /// A telegram came of which more follow.
    const UNDER_WAY: u8 = 4;
    /// The last of several telegrams came: what has no mark until then will have none.
    const HEARD_OUT: u8 = 8;

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// A mark tells about its own quantity only.
    fn add(&mut self, quantity: Quantity) {
        self.0 |= match quantity {
            Quantity::Volume => Self::VOLUME,
            Quantity::VolumeFlow => Self::FLOW,
            _ => 0,
        };
    }

    /// A telegram has been read to its end.
    fn hear(&mut self, more_follows: bool) {
        if self.has(Self::HEARD_OUT) {
            return;
        }
        if more_follows {
            self.0 |= Self::UNDER_WAY;
        } else if self.has(Self::UNDER_WAY) {
            self.0 = self.0 & !Self::UNDER_WAY | Self::HEARD_OUT;
        }
    }
}

/// Bytes of the shortest record that carries a value, for a guess of how many there are.
const USUAL_RECORD_BYTES: usize = 5;

/// Reads all records. `base` is where they start in the telegram, for the texts of faults; `marks` is what the device has shown
/// before.
pub fn collect(data: &[u8], base: usize, medium: u8, marks: Marks, options: &Options) -> Result<Collected, Fault> {
    let mut collected = Collected { marks, ..Collected::default() };
    collected.registers.reserve(data.len() / USUAL_RECORD_BYTES + 2);
    let mut r = Reader::at(data, base);
    loop {
        let before = r.offset() - base;
        match record::next(&mut r, data, base) {
            Ok(Item::Record(record)) => collected.add(&record, medium, options),
            Ok(Item::Manufacturer { bytes, more_follows }) => {
                collected.more_follows = more_follows;
                if !bytes.is_empty() {
                    collected.unknown.push(Message::unknown("manufacturer-data", bytes));
                }
            }
            Ok(Item::End) => break,
            Err(_) if options.damaged_tail == DamagedTail::Keep => {
                let rest = data.get(before..).unwrap_or_default();
                collected.unknown.push(Message::unknown("records-behind-damage", rest));
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    collected.finish(medium, options);
    Ok(collected)
}

/// Records of mode 2 (CI 76), whose values have their high byte first, in the order of all others. What cannot be read stays as
/// it is.
pub fn low_byte_first(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    let mut r = Reader::new(data);
    while let Ok(Item::Record(record)) = record::next(&mut r, data, 0) {
        let end = r.offset();
        if record.coding != record::Coding::Text
            && let Some(value) = out.get_mut(end - record.data.len()..end)
        {
            value.reverse();
        }
    }
    out
}

impl Collected {
    fn add(&mut self, record: &Record<'_>, medium: u8, options: &Options) {
        let mut combined = vife::combine(record);
        let (Ok(storage), Ok(tariff)) = (u32::try_from(record.storage), u16::try_from(record.tariff)) else {
            return self.keep("storage-or-tariff-number-too-high", record);
        };
        if combined.opaque {
            return self.keep("profile", record);
        }
        let is_marked = combined.conditions != Conditions::Unsaid;
        if combined.conditions == Conditions::Standard {
            self.marks.add(combined.meaning.quantity);
        }
        combined.meaning.quantity = conditioned(&combined, medium, options);
        let mut register = Register {
            quantity: combined.meaning.quantity,
            unit: combined.meaning.unit,
            role: role(record, &combined),
            quality: if combined.in_error { Quality::Invalid } else { Quality::Good },
            exponent: 0,
            mantissa: 0,
            at: None,
            storage,
            tariff,
            channel: record.subunit,
            code: code(record),
        };
        if combined.meaning.nature == Nature::Moment {
            self.add_moment(record, &combined, register);
            return;
        }
        let sign = match combined.meaning.nature {
            Nature::Flags | Nature::Number => Sign::Unsigned,
            Nature::Counter | Nature::Gauge | Nature::Moment => Sign::Signed,
        };
        let scale = i32::from(combined.meaning.exponent);
        let value = value::read(record, sign, scale);
        let has_value = !combined.in_error && matches!(value, Value::Number { .. });
        // A record without data says nothing, unless it says why there are none.
        let is_empty = !combined.in_error && matches!(value, Value::None | Value::Text(_));
        self.is_total_absent |= register.role == Role::Cumulative && !has_value && !is_empty;
        match value {
            Value::Number { mantissa, exponent } => (register.mantissa, register.exponent) = (mantissa, exponent),
            Value::Absent { mantissa } => {
                register.mantissa = mantissa;
                register.quality = Quality::Invalid;
            }
            Value::Text(reversed) => return self.add_text(record, reversed),
            Value::Bytes(why) => return self.keep(why, record),
            Value::None => return self.keep("record-without-data", record),
        }
        let Some((mantissa, exponent)) = scaled(&register, combined.offset, scale) else {
            return self.keep("number-out-of-bounds", record);
        };
        (register.mantissa, register.exponent) = (mantissa, exponent);
        self.add_unit_text(record, &register);
        if !is_marked && matches!(register.quantity, Quantity::StandardVolume | Quantity::StandardFlow) {
            self.unmarked.push(self.registers.len());
        }
        self.registers.push(register);
    }

    fn add_moment(&mut self, record: &Record<'_>, combined: &Combined, mut register: Register) {
        let is_time = record.coding == record::Coding::Integer || record.coding == record::Coding::Binary;
        let Some(moment) = time::read(record.data).filter(|_| is_time) else {
            return self.keep("time-of-unknown-form", record);
        };
        let (at, is_clock) = match moment {
            Moment::None => return self.keep("no-such-time", record),
            Moment::TimeOfDay(seconds) => {
                register.quantity = Quantity::TimeOfDay;
                register.unit = Unit::Second;
                register.mantissa = seconds;
                return self.registers.push(register);
            }
            Moment::Date(at) => {
                if register.quantity == Quantity::DateTime {
                    register.quantity = Quantity::Date;
                }
                (at, false)
            }
            Moment::DateTime { at, trusted } => {
                if register.quantity == Quantity::Date {
                    register.quantity = Quantity::DateTime;
                }
                if !trusted {
                    register.quality = Quality::Invalid;
                }
                (at, true)
            }
        };
        register.mantissa = at;
        let is_stamp = combined.is_plain && record.table == Table::Primary && register.quality == Quality::Good;
        if is_stamp && register.tariff == 0 {
            let Register { role, storage, channel, .. } = register;
            self.moments.push(Stamp { role, storage, channel, at, is_clock });
        }
        self.registers.push(register);
    }

    /// The contract has no register with text.
    fn add_text(&mut self, record: &Record<'_>, reversed: &[u8]) {
        let text: Vec<u8> = reversed.iter().rev().copied().collect();
        if record.table == Table::Text {
            let what = format!("text:{}{}", printable(record.text), place(record));
            return self.unknown.push(Message::unknown(what, &text));
        }
        let what = format!("text:{}{}", vif::text_name(record.table, record.vif), place(record));
        self.unknown.push(Message::unknown(what, &text));
    }

    /// The unit of a plain-text VIF, beside the register that counts it.
    fn add_unit_text(&mut self, record: &Record<'_>, register: &Register) {
        if record.table == Table::Text && register.unit == Unit::Other {
            let text: Vec<u8> = record.text.iter().rev().copied().collect();
            let what = format!("unit of register {}", self.registers.len());
            self.unknown.push(Message::unknown(what, &text));
        }
    }

    fn keep(&mut self, why: &str, record: &Record<'_>) {
        self.unknown.push(Message::unknown(why, record.raw));
    }

    /// What can only be said when all records are known.
    fn finish(&mut self, medium: u8, options: &Options) {
        if medium == medium::GAS_CONVERTER && options.plain_volume == PlainVolume::ByMedium {
            self.settle_unmarked();
            self.marks.hear(self.more_follows);
        } else {
            self.marks = Marks::default();
        }
        if self.moments.is_empty() {
            return;
        }
        self.at = unique(self.moments.iter().filter(|m| m.is_current() && m.is_clock));
        for register in &mut self.registers {
            let is_moment = register.unit == Unit::CivilSecond;
            let is_now = register.storage == 0 && !matches!(register.role, Role::Maximum | Role::Minimum);
            if !is_moment && !is_now {
                register.at = stamp(&self.moments, register);
            }
        }
    }

    /// A converter that marks its standard volumes means working ones without a mark, and so with its flows. As long as a telegram
    /// still to come may bring its first mark, one without is neither.
    fn settle_unmarked(&mut self) {
        let is_open = self.more_follows && !self.marks.has(Marks::HEARD_OUT);
        for place in &self.unmarked {
            let Some(register) = self.registers.get_mut(*place) else { continue };
            let (mark, working, neutral) = match register.quantity {
                Quantity::StandardVolume => (Marks::VOLUME, Quantity::WorkingVolume, Quantity::Volume),
                Quantity::StandardFlow => (Marks::FLOW, Quantity::WorkingFlow, Quantity::VolumeFlow),
                _ => continue,
            };
            if self.marks.has(mark) {
                register.quantity = working;
            } else if is_open {
                register.quantity = neutral;
            }
        }
    }
}

impl Stamp {
    fn is_current(&self) -> bool {
        self.storage == 0 && self.channel == 0 && self.role == Role::Instantaneous
    }
}

/// The one time that the values of a register's storage number are of.
fn stamp(moments: &[Stamp], register: &Register) -> Option<Civil> {
    let wanted = match register.role {
        role @ (Role::Maximum | Role::Minimum | Role::AtError) => role,
        Role::Frozen | Role::Instantaneous => Role::Instantaneous,
        _ => return None,
    };
    let of = |channel: u16| {
        unique(
            moments.iter().filter(move |m| m.role == wanted && m.storage == register.storage && m.channel == channel),
        )
    };
    match of(register.channel) {
        None if register.channel != 0 => of(0),
        found => found,
    }
}

/// A time that is the only one, however often it is said.
fn unique<'a>(mut moments: impl Iterator<Item = &'a Stamp>) -> Option<Civil> {
    let first = moments.next()?;
    moments.all(|m| m.at == first.at).then_some(first.at)
}

/// The gas rule: which volume a volume is.
#[inline]
fn conditioned(combined: &Combined, medium: u8, options: &Options) -> Quantity {
    let quantity = combined.meaning.quantity;
    if !vif::is_gas_quantity(quantity) {
        // The only temperature of a gas meter is the gas's.
        let is_gas = matches!(medium, medium::GAS | medium::GAS_LOGGER | medium::GAS_CONVERTER);
        return if is_gas && quantity == Quantity::FlowTemperature { Quantity::Temperature } else { quantity };
    }
    let conditions = match (combined.conditions, options.plain_volume, medium) {
        (Conditions::Unsaid, PlainVolume::Working, _) => Conditions::Working,
        (Conditions::Unsaid, PlainVolume::Standard, _) => Conditions::Standard,
        (Conditions::Unsaid, PlainVolume::ByMedium, medium::GAS | medium::GAS_LOGGER) => Conditions::Working,
        (Conditions::Unsaid, PlainVolume::ByMedium, medium::GAS_CONVERTER) => Conditions::Standard,
        (said, ..) => said,
    };
    match (conditions, quantity) {
        (Conditions::Unsaid, _) => quantity,
        (Conditions::Working, Quantity::Volume) => Quantity::WorkingVolume,
        (Conditions::Standard, Quantity::Volume) => Quantity::StandardVolume,
        (Conditions::Working, _) => Quantity::WorkingFlow,
        (Conditions::Standard, _) => Quantity::StandardFlow,
    }
}

#[inline]
fn role(record: &Record<'_>, combined: &Combined) -> Role {
    match (record.function, combined.role) {
        // Another thing, such as a backward flow or a limit, stays one in its maximum.
        (_, Some(role @ (Role::Other | Role::SetPoint))) => role,
        (Function::Maximum, _) => Role::Maximum,
        (Function::Minimum, _) => Role::Minimum,
        (Function::DuringError, _) => Role::AtError,
        (Function::Instantaneous, Some(role)) => role,
        (Function::Instantaneous, None) => match (combined.meaning.nature, record.storage) {
            (Nature::Counter, 0) => Role::Cumulative,
            (Nature::Counter, _) => Role::Frozen,
            _ => Role::Instantaneous,
        },
    }
}

/// VIF, its table (FB, FD) above it, and the first two VIFEs above that: `3E13` and so on, for people.
#[inline]
fn code(record: &Record<'_>) -> u32 {
    let table = match record.table {
        Table::Primary | Table::Text => 0,
        Table::Second => 0xFB,
        Table::First => 0xFD,
    };
    let vife = |n: usize| record.vifes().get(n).copied().unwrap_or(0);
    u32::from_le_bytes([record.vif, table, vife(0), vife(1)])
}

/// The value with the power of ten of its VIF, and with what is to be added; `None` when the contract cannot say it.
#[inline]
fn scaled(register: &Register, offset: Option<i8>, scale: i32) -> Option<(i64, i8)> {
    let mut mantissa = register.mantissa;
    let mut exponent = i32::from(register.exponent) + scale;
    if let Some(offset) = offset.map(i32::from) {
        let lowest = exponent.min(offset);
        let up = |from: i32| 10_i64.checked_pow(u32::try_from(from - lowest).ok()?);
        mantissa = mantissa.checked_mul(up(exponent)?)?.checked_add(up(offset)?)?;
        exponent = lowest;
    }
    (exponent.abs() <= EXPONENT_MAX).then_some((mantissa, exponent as i8))
}

/// Where a text stands, when not in the plain place.
fn place(record: &Record<'_>) -> String {
    if record.storage == 0 && record.tariff == 0 && record.subunit == 0 {
        return String::new();
    }
    format!(" storage {} tariff {} channel {}", record.storage, record.tariff, record.subunit)
}

/// Of a plain-text VIF, for a name.
fn printable(reversed: &[u8]) -> String {
    reversed.iter().rev().filter(|b| (b' '..=b'~').contains(b)).map(|b| char::from(*b)).collect()
}
