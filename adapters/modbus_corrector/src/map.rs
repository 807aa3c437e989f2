//! The register map: the words of the profile, checked, with every place a request may have to read or write.

use crate::field::{Order, Type};
use crate::frame::{READ_HOLDING, READ_INPUT, WRITE_COIL, WRITE_MANY, WRITE_ONE};
use crate::names;
use crate::plan::Rules;
use crate::words::{
    ArchiveWords, BitWords, ClockForm, ClockWords, FractionWords, IntervalName, MapWords, OrderWords, ParameterWords,
    RegisterWords, Scope, StateWords, StatusWords, ValveWords,
};
use polymeter_sdk::{Interval, Quantity, Role, Unit, ValveState};

/// Registers that belong together. `bus`: none is the device's own address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub bus: Option<u8>,
    pub function: u8,
    pub register: u16,
    pub registers: u16,
}

/// A number and how to read it.
#[derive(Clone, Debug)]
pub struct Number {
    pub place: Place,
    pub kind: Type,
    pub order: Order,
    pub decimals: u8,
}

pub struct Item {
    pub number: Number,
    pub fraction: Option<Number>,
    pub absent: Vec<u64>,
    pub quantity: Quantity,
    pub unit: Unit,
    pub role: Role,
    pub exponent: i8,
    pub storage: u32,
    pub tariff: u16,
    pub channel: u16,
    pub scope: Scope,
}

pub struct Status {
    pub number: Number,
    pub bits: Vec<BitWords>,
}

pub struct Valve {
    pub place: Option<Place>,
    pub mask: u16,
    pub states: Vec<(u16, ValveState)>,
    pub bus: Option<u8>,
    pub orders: Vec<OrderWords>,
}

#[derive(Clone, Copy)]
pub struct Clock {
    pub place: Place,
    pub form: ClockForm,
    pub order: Order,
    pub writable: bool,
}

pub struct Parameter {
    pub words: ParameterWords,
    pub number: Number,
}

pub struct Archive {
    pub interval: Interval,
    /// Of the newest record.
    pub place: Place,
    pub records: u16,
    /// Records of one request at most.
    pub records_each: u16,
    /// A request for one record may have a register more.
    pub has_room: bool,
    pub clock: Clock,
    pub items: Vec<Item>,
}

/// The words, checked.
pub struct Map {
    pub items: Vec<Item>,
    pub status: Vec<Status>,
    pub valve: Option<Valve>,
    pub clock: Option<Clock>,
    pub parameters: Vec<Parameter>,
    pub archive: Option<Archive>,
}

const ITEMS_MAX: usize = 200;

impl Map {
    /// # Errors
    /// What is wrong, with the register.
    pub fn check(words: MapWords, rules: &Rules) -> Result<Self, String> {
        let order = words.order;
        if words.registers.len() > ITEMS_MAX || words.parameters.len() > ITEMS_MAX {
            return Err(format!("profile: map: at most {ITEMS_MAX} registers and as many parameters"));
        }
        if words.registers.is_empty() {
            return Err("profile: map.registers: at least one".into());
        }
        let bits: u32 = words.status.iter().map(|s| u32::from(s.kind.registers()) * 16).sum();
        if bits > 64 {
            return Err("profile: map.status: at most 64 bits together".into());
        }
        Ok(Self {
            items: words
                .registers
                .iter()
                .map(|w| Item::check(w, order, Role::Instantaneous))
                .collect::<Result<_, _>>()?,
            status: words.status.into_iter().map(|w| Status::check(w, order)).collect::<Result<_, _>>()?,
            valve: words.valve.map(Valve::check).transpose()?,
            clock: words.clock.map(|w| Clock::check(&w, order)).transpose()?,
            parameters: words.parameters.into_iter().map(|w| Parameter::check(w, order)).collect::<Result<_, _>>()?,
            archive: words.archive.map(|w| Archive::check(&w, order, rules)).transpose()?,
        })
    }

    /// All that a read of this scope wants.
    pub fn places(&self, scope: Scope) -> Vec<Place> {
        let items = self.items.iter().filter(|i| i.scope == scope);
        let numbers = items.flat_map(|i| std::iter::once(&i.number).chain(&i.fraction));
        let mut places: Vec<Place> = numbers.map(|n| n.place).collect();
        if scope == Scope::Current {
            places.extend(self.valve_places());
            places.extend(self.clock.map(|c| c.place));
        }
        places
    }

    /// Position and alarms.
    pub fn valve_places(&self) -> Vec<Place> {
        let valve = self.valve.as_ref().and_then(|v| v.place);
        self.status.iter().map(|s| s.number.place).chain(valve).collect()
    }

    /// What is read outside of the plans, parameters aside.
    pub fn read_back_places(&self) -> impl Iterator<Item = Place> {
        self.clock.map(|c| c.place).into_iter().chain(self.archive.iter().flat_map(Archive::requests))
    }

    /// Functions that write, with whose.
    pub fn writes(&self) -> impl Iterator<Item = (Option<u8>, u8)> {
        let parameters = self.parameters.iter().filter_map(|p| p.words.write.map(|w| (p.number.place.bus, w)));
        let clock = self.clock.filter(|c| c.writable).map(|c| (c.place.bus, WRITE_MANY));
        let orders = self.valve.iter().flat_map(|v| v.orders.iter().map(|o| (v.bus, o.function)));
        parameters.chain(clock).chain(orders)
    }
}

fn place(bus: Option<u8>, function: u8, register: u16, registers: u16) -> Result<Place, String> {
    let wrong = |what: &str| Err(format!("profile: map: register {register}: {what}"));
    if !matches!(function, READ_HOLDING | READ_INPUT) {
        return wrong("function 3 or 4 reads it");
    }
    if bus.is_some_and(|b| b == 0 || b > 247) {
        return wrong("bus_address: 1 to 247");
    }
    if u32::from(register) + u32::from(registers) > 0x1_0000 {
        return wrong("beyond register 65535");
    }
    Ok(Place { bus, function, register, registers })
}

impl Item {
    fn check(words: &RegisterWords, order: Order, role: Role) -> Result<Self, String> {
        let wrong = |what: String| format!("profile: map: register {}: {what}", words.register);
        let name = |field: &str, text: &str| wrong(format!("{field}: `{text}` is none that a map may use"));
        let decimals = match (words.kind.is_float(), words.decimals) {
            (true, Some(decimals @ 0..=9)) => decimals,
            (true, _) => return Err(wrong("decimals: how many digits of a float are kept, 0 to 9".into())),
            (false, None) => 0,
            (false, Some(_)) => return Err(wrong("decimals are for floats; an integer has its exponent".into())),
        };
        let fraction = words.fraction.as_ref().map(|f| Self::fraction(words, f, order)).transpose()?;
        if fraction.is_some() && words.kind.is_float() {
            return Err(wrong("fraction: belongs to an integer".into()));
        }
        let lowest = words.exponent.saturating_sub(fraction.as_ref().map_or(decimals, |f| f.decimals) as i8);
        if !(-18..=18).contains(&words.exponent) || lowest < -18 {
            return Err(wrong(format!("exponent: {} is not within -18..18", words.exponent)));
        }
        let width = usize::from(words.kind.registers()) * 4;
        let sentinel = |text: &String| {
            let bits = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == width);
            bits.ok_or_else(|| wrong(format!("absent: `{text}` has to be {width} hexadecimal digits")))
        };
        let role = match words.role.as_deref() {
            None => role,
            Some(role) => names::role(role).ok_or_else(|| name("role", role))?,
        };
        let quantity = names::quantity(&words.quantity).ok_or_else(|| name("quantity", &words.quantity))?;
        let unit = names::unit(&words.unit).ok_or_else(|| name("unit", &words.unit))?;
        if !names::fits(quantity, unit) {
            return Err(wrong(format!("unit: `{}` is none of `{}`; `other` always fits", words.unit, words.quantity)));
        }
        Ok(Self {
            number: Number {
                place: place(words.bus_address, words.function, words.register, words.kind.registers())?,
                kind: words.kind,
                order: words.order.unwrap_or(order),
                decimals,
            },
            fraction,
            absent: words.absent.iter().map(sentinel).collect::<Result<_, _>>()?,
            quantity,
            unit,
            role,
            exponent: words.exponent,
            storage: words.storage,
            tariff: words.tariff,
            channel: words.channel,
            scope: words.scope,
        })
    }

    fn fraction(words: &RegisterWords, fraction: &FractionWords, order: Order) -> Result<Number, String> {
        if fraction.decimals > 9 {
            return Err(format!("profile: map: register {}: decimals of a fraction are 0 to 9", fraction.register));
        }
        Ok(Number {
            place: place(words.bus_address, words.function, fraction.register, fraction.kind.registers())?,
            kind: fraction.kind,
            order: fraction.order.unwrap_or(order),
            decimals: fraction.decimals,
        })
    }
}

impl Status {
    fn check(words: StatusWords, order: Order) -> Result<Self, String> {
        let width = u32::from(words.kind.registers()) * 16;
        let wrong = |what: &str| Err(format!("profile: map.status: register {}: {what}", words.register));
        if !matches!(words.kind, Type::U16 | Type::U32 | Type::U64) {
            return wrong("an alarm word is u16, u32 or u64");
        }
        if words.bits.iter().any(|b| u32::from(b.bit) >= width) {
            return wrong("a bit lies beyond the word");
        }
        if words.bits.iter().any(|b| b.code.is_empty() || b.code.len() > 48) {
            return wrong("a code has 1 to 48 characters");
        }
        let number = Number {
            place: place(words.bus_address, words.function, words.register, words.kind.registers())?,
            kind: words.kind,
            order: words.order.unwrap_or(order),
            decimals: 0,
        };
        Ok(Self { number, bits: words.bits })
    }
}

impl Valve {
    fn check(words: ValveWords) -> Result<Self, String> {
        let place = words.register.map(|r| place(words.bus_address, words.function, r, 1)).transpose()?;
        let state = |w: &StateWords| {
            let state = names::valve_state(&w.state);
            state.map(|s| (w.value, s)).ok_or_else(|| format!("profile: map.valve: `{}` is no valve state", w.state))
        };
        for order in &words.orders {
            let fits = match order.function {
                WRITE_COIL => matches!(order.value, 0 | 0xFF00),
                WRITE_ONE | WRITE_MANY => true,
                _ => false,
            };
            if !fits {
                return Err("profile: map.valve.orders: function 5 with value 0 or 65280, 6, or 16".into());
            }
        }
        let states = words.states.iter().map(state).collect::<Result<_, _>>()?;
        let mask = words.mask.unwrap_or(u16::MAX);
        Ok(Self { place, mask, states, bus: words.bus_address, orders: words.orders })
    }
}

impl Clock {
    fn check(words: &ClockWords, order: Order) -> Result<Self, String> {
        let registers = match words.form {
            ClockForm::Bcd | ClockForm::Bytes => 3,
            ClockForm::Fields | ClockForm::FieldsOfCentury => 6,
            ClockForm::Seconds1970 | ClockForm::Seconds2000 => 2,
        };
        let place = place(words.bus_address, words.function, words.register, registers)?;
        // The map's order is that of its numbers; parts that stand one by one follow it only where the clock says so itself.
        let inherited = match words.form {
            ClockForm::Seconds1970 | ClockForm::Seconds2000 => order,
            _ => Order::Abcd,
        };
        Ok(Self { place, form: words.form, order: words.order.unwrap_or(inherited), writable: words.writable })
    }
}

impl Parameter {
    fn check(words: ParameterWords, order: Order) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("profile: map.parameters: {}: {what}", words.name));
        if words.kind.is_float() {
            return wrong("floats are not written");
        }
        if !(-9..=9).contains(&words.exponent) || words.name.is_empty() || words.name.len() > 48 {
            return wrong("a name of 1 to 48 characters, an exponent of -9 to 9");
        }
        match words.write {
            None | Some(WRITE_MANY) => {}
            Some(WRITE_ONE) if words.kind.registers() == 1 => {}
            Some(_) => return wrong("write: 16, or 6 for a single register"),
        }
        let number = Number {
            place: place(words.bus_address, words.function, words.register, words.kind.registers())?,
            kind: words.kind,
            order: words.order.unwrap_or(order),
            decimals: 0,
        };
        Ok(Self { words, number })
    }
}

impl Archive {
    /// What a request can read: one record, with or without a register more, or as many as fit.
    fn requests(&self) -> impl Iterator<Item = Place> {
        let place = self.place;
        let counts = (1..=self.records_each).map(move |n| place.registers * n).chain([place.registers + 1]);
        counts.map(move |registers| Place { registers, ..place })
    }

    fn check(words: &ArchiveWords, order: Order, rules: &Rules) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("profile: map.archive: {what}"));
        let last = u32::from(words.register) + u32::from(words.record_registers) * u32::from(words.records);
        if !(1..=125).contains(&words.record_registers) || words.records == 0 || last > 0x1_0000 {
            return wrong("records of 1 to 125 registers, at least one, up to register 65535");
        }
        // Requests for one record each take turns with a register more.
        let room = u16::from(words.records > 1 && !rules.accept_equal);
        if words.record_registers > rules.registers_max - room {
            return Err(format!(
                "profile: map.archive: record_registers: {}, but a request has {} (registers_max){}",
                words.record_registers,
                rules.registers_max,
                if room == 1 {
                    ", one of them to tell two records' answers apart (or equal_counts = \"accept\")"
                } else {
                    ""
                },
            ));
        }
        if words.items.is_empty() || words.items.len() > 16 {
            return wrong("items: 1 to 16");
        }
        let clock = Clock::check(&words.clock, order)?;
        let items: Vec<Item> =
            words.items.iter().map(|w| Item::check(w, order, Role::Frozen)).collect::<Result<_, _>>()?;
        let inside = |p: &Place| p.register + p.registers <= words.record_registers;
        let numbers = items.iter().flat_map(|i| std::iter::once(&i.number).chain(&i.fraction));
        if !numbers.map(|n| n.place).chain([clock.place]).all(|p| p.register < 125 && inside(&p)) {
            return wrong("clock and items lie within a record");
        }
        let interval = match words.interval {
            IntervalName::Hour => Interval::Hour,
            IntervalName::Day => Interval::Day,
            IntervalName::Month => Interval::Month,
        };
        let place = place(words.bus_address, words.function, words.register, words.record_registers)?;
        let records_each = (rules.registers_max / words.record_registers).min(words.records);
        let has_room = words.record_registers < rules.registers_max;
        Ok(Self { interval, place, records: words.records, records_each, has_room, clock, items })
    }
}
