//! Wall-clock time without a zone, as devices tell it, and days of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

const DAY_S: i64 = 86_400;

/// Seconds since 1970-01-01 00:00:00 of the device's own wall clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Civil(pub i64);

/// Days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Day(pub i32);

impl Civil {
    /// The day this second belongs to.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_S) as i32)
    }

    /// Seconds since that day's 00:00:00.
    pub fn second_of_day(self) -> u32 {
        self.0.rem_euclid(DAY_S) as u32
    }

    /// The same as jiff's civil type; `None` outside years -9999..=9999.
    pub fn to_jiff(self) -> Option<jiff::civil::DateTime> {
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        epoch.checked_add(jiff::SignedDuration::from_secs(self.0)).ok()
    }

    pub fn from_jiff(time: jiff::civil::DateTime) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        Self(time.duration_since(epoch).as_secs())
    }
}

impl Day {
    pub fn start(self) -> Civil {
        Civil(i64::from(self.0) * DAY_S)
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_jiff() {
            Some(t) => write!(f, "{}", t.strftime("%Y-%m-%dT%H:%M:%S")),
            None => write!(f, "@{}", self.0),
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start().to_jiff() {
            Some(t) => write!(f, "{}", t.strftime("%Y-%m-%d")),
            None => write!(f, "@{}d", self.0),
        }
    }
}

impl FromStr for Civil {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<jiff::civil::DateTime>()
            .map(Self::from_jiff)
            .map_err(|_| format!("`{text}` is no local time; write it as 2024-03-15T18:25:30"))
    }
}

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<jiff::civil::Date>()
            .map(|d| Civil::from_jiff(d.at(0, 0, 0, 0)).day())
            .map_err(|_| format!("`{text}` is no day; write it as 2024-03-15"))
    }
}

impl Serialize for Civil {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Civil {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}
