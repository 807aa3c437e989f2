//! What a device knows to be true: each value it has told, and whether the station has said that it has it.
//!
//! Nothing here is computed with the station's code: a value's digits are written here once more.

use polymeter::model::Civil;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One value at one device time, in the contract's words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reading {
    pub at: Civil,
    pub quantity: &'static str,
    pub role: &'static str,
    pub unit: &'static str,
    pub mantissa: i64,
    /// Power of ten.
    pub exponent: i8,
}

impl Reading {
    /// The device did not say when; the station takes the moment of reception.
    pub const UNDATED: Civil = Civil(i64::MIN);

    /// The digits that the API must show, to the last one.
    pub fn digits(&self) -> String {
        if self.unit == "civil-second" {
            return Civil(self.mantissa).to_string();
        }
        let (sign, digits) = (if self.mantissa < 0 { "-" } else { "" }, self.mantissa.unsigned_abs().to_string());
        match self.exponent {
            0 => format!("{sign}{digits}"),
            e @ 1.. if self.mantissa != 0 => format!("{sign}{digits}{}", "0".repeat(usize::from(e.unsigned_abs()))),
            1.. => "0".into(),
            e => {
                let places = usize::from(e.unsigned_abs());
                let padded = format!("{}{digits}", "0".repeat((places + 1).saturating_sub(digits.len())));
                format!("{sign}{}.{}", &padded[..padded.len() - places], &padded[padded.len() - places..])
            }
        }
    }
}

/// One event as the API must show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Event {
    pub at: Civil,
    pub code: String,
    pub cleared: bool,
    pub value: Option<i64>,
}

/// What one frame says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meaning {
    /// Values that look alike, such as two settings of the same length, are as many here.
    pub readings: Vec<Reading>,
    /// In the frame, too, but told only where the station does not know them already, and the meter cannot tell whether it does.
    pub perhaps: Vec<Reading>,
    pub events: Vec<Event>,
    /// The valve's state, by the contract's name.
    pub valve: Option<&'static str>,
    /// It is the report that the communication is for.
    pub is_report: bool,
}

/// Things told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// And how many of it one frame has.
    pub readings: BTreeMap<Reading, usize>,
    pub events: BTreeSet<Event>,
}

impl Told {
    fn add(&mut self, readings: &[Reading], events: &[Event]) {
        for reading in readings {
            let alike = readings.iter().filter(|other| *other == reading).count();
            let most = self.readings.entry(reading.clone()).or_default();
            *most = alike.max(*most);
        }
        self.events.extend(events.iter().cloned());
    }
}

/// Bytes that no adapter can accept, sent on purpose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Something sent after it on the same connection was acknowledged, so the station has read it.
    pub surely: bool,
    pub bytes: Vec<u8>,
    pub how: &'static str,
}

/// A command as the device has met it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Met {
    /// The order's number, where the protocol carries it.
    pub order_id: Option<u32>,
    /// It concerns the valve.
    pub is_valve: bool,
    /// Carried out now; false: refused, or known from before.
    pub carried_out: bool,
    pub answered: bool,
}

/// A device's own books.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// `realm/address`.
    pub device: String,
    /// What it is counted with.
    pub family: String,
    /// Must be there.
    pub acknowledged: Told,
    /// Sent, but the acknowledgement never came: may be there.
    pub uncertain: Told,
    /// Valve states that the station may show: the last one acknowledged and all that were told since.
    pub valves: Vec<&'static str>,
    /// The first of them is the one acknowledged.
    is_valve_sure: bool,
    pub reports: u64,
    pub repetitions: u64,
    pub lost_answers: u32,
    pub broken: Vec<Broken>,
    pub met: Vec<Met>,
    /// Reports that the station never acknowledged, however often they were sent.
    pub unheard: Vec<String>,
    /// Answers of the station that no station should give.
    pub objections: Vec<String>,
    /// How often each trick of this communication was played, for the summary.
    pub tricks: BTreeMap<&'static str, u64>,
}

impl Account {
    /// Of a meter that speaks for itself.
    pub fn new(device: String) -> Self {
        let family = format!("{} meters", device.split('/').next().unwrap_or_default());
        Self { device, family, ..Self::default() }
    }

    pub fn of_family(device: String, family: &str) -> Self {
        Self { device, family: family.to_owned(), ..Self::default() }
    }

    /// A frame has left.
    pub fn sent(&mut self, meaning: &Meaning) {
        self.uncertain.add(&meaning.readings, &meaning.events);
        self.uncertain.add(&meaning.perhaps, &[]);
        if let Some(valve) = meaning.valve {
            self.valves.push(valve);
        }
    }

    /// The station has said that it has it.
    pub fn acknowledged(&mut self, meaning: &Meaning) {
        self.acknowledged.add(&meaning.readings, &meaning.events);
        if let Some(valve) = meaning.valve {
            // What was told later stays uncertain; what was told before is over.
            let told = usize::from(self.is_valve_sure);
            let at = self.valves.iter().skip(told).position(|later| *later == valve);
            match at {
                Some(at) => drop(self.valves.drain(..told + at)),
                None => self.valves = vec![valve],
            }
            self.is_valve_sure = true;
        }
        self.reports += u64::from(meaning.is_report);
    }

    pub fn trick(&mut self, name: &'static str) {
        *self.tricks.entry(name).or_default() += 1;
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} at {}", self.role, self.quantity, self.digits(), self.unit, self.at)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cleared = if self.cleared { " cleared" } else { "" };
        write!(f, "event {}{cleared}", self.code)?;
        if let Some(value) = self.value {
            write!(f, " ({value})")?;
        }
        write!(f, " at {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_exact() {
        for (mantissa, exponent, expected) in [
            (123_456, -2, "1234.56"),
            (5, -2, "0.05"),
            (-5, -3, "-0.005"),
            (0, -1, "0.0"),
            (1013, 2, "101300"),
            (0, 2, "0"),
            (-12, 0, "-12"),
        ] {
            let reading = Reading { at: Civil(0), quantity: "", role: "", unit: "", mantissa, exponent };
            assert_eq!(reading.digits(), expected);
        }
    }

    #[test]
    fn an_acknowledged_valve_replaces_what_was_uncertain() {
        let mut account = Account::new("usp/1".into());
        let says = |valve| Meaning { valve: Some(valve), ..Meaning::default() };
        account.sent(&says("open"));
        account.sent(&says("closed-forced"));
        assert_eq!(account.valves, ["open", "closed-forced"]);
        account.acknowledged(&says("closed-forced"));
        assert_eq!(account.valves, ["closed-forced"]);
        // An order is carried out before the report about the state before it is acknowledged.
        account.sent(&says("open"));
        account.sent(&says("closed-temporary"));
        account.acknowledged(&says("open"));
        assert_eq!(account.valves, ["open", "closed-temporary"]);
    }
}
