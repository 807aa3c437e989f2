//! The profile: what the DTU sends of itself, how the corrector is asked, and its map. Words are checked once, here.

use crate::map::Map;
use crate::packet::{Check, Form, Packet, Words as PacketWords};
use crate::plan::{self, Block, Plans, Rules};
use crate::words::MapWords;
use polymeter_sdk::{Context, Fault, profile};
use serde::Deserialize;

/// What a corrector is asked for by default.
const TYPICAL: &str = include_str!("../maps/typical.json");

/// As people write it. Unknown names and words are errors that list the known ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// Of the only DTU of a listener, whose packets carry no address.
    pub address: String,
    pub registration: PacketWords,
    pub heartbeat: Option<PacketWords>,
    pub heartbeat_minutes: u16,
    pub identity: Identity,
    pub manufacturer: String,
    pub model: String,
    pub bus_address: u8,
    pub bus_address_from: BusFrom,
    pub answer_within_s: u16,
    pub registers_max: u16,
    pub gap: u16,
    pub alternate_counts: bool,
    pub equal_counts: EqualCounts,
    pub remote_open: RemoteOpen,
    pub blocks: Vec<BlockWords>,
    /// None: the typical one.
    pub map: Option<MapWords>,
}

/// What the address in a registration packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    Imei,
    Name,
}

/// Where the Modbus address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BusFrom {
    Profile,
    /// The last three digits of the device's address.
    Address,
}

/// What becomes of permit-open where the map only knows a write that opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteOpen {
    Refuse,
    Open,
}

/// What becomes of requests that ask one device for as many registers each, where the map allows no other counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EqualCounts {
    Refuse,
    Accept,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockWords {
    pub first: u16,
    pub count: u16,
    #[serde(default = "holding")]
    pub function: u8,
    pub bus_address: Option<u8>,
}

pub const fn holding() -> u8 {
    3
}

/// The words, checked.
pub struct Profile {
    pub address: String,
    pub registration: Option<Packet>,
    pub heartbeat: Option<Packet>,
    pub heartbeat_minutes: u16,
    pub identity: Identity,
    pub manufacturer: String,
    pub model: String,
    pub bus_address: u8,
    pub bus_address_from: BusFrom,
    pub answer_within_s: u16,
    pub alternate_counts: bool,
    pub remote_open: RemoteOpen,
    pub map: Map,
    pub plans: Plans,
    asked: plan::Asked,
}

impl Profile {
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Words = profile::parse(text)?;
        let number = |name: &str, value: u16, least: u16, most: u16| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("profile: {name}: {value} is not within {least}..{most}"))
            }
        };
        number("bus_address", words.bus_address.into(), 1, 247)?;
        number("answer_within_s", words.answer_within_s, 1, 600)?;
        number("registers_max", words.registers_max, 4, 125)?;
        number("gap", words.gap, 0, 120)?;
        if words.address.len() > 32
            || !words.address.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err("profile: address: up to 32 letters, digits, `-` and `_`".into());
        }
        let nothing = words.registration.form == Form::None && words.registration.prefix.is_empty();
        let registration = if nothing { None } else { Some(Packet::check("registration", &words.registration)?) };
        let heartbeat = words.heartbeat.as_ref().map(|w| Packet::check("heartbeat", w)).transpose()?;
        let map_words = match words.map {
            Some(map) => map,
            None => serde_json::from_str(TYPICAL).map_err(|e| format!("the typical map: {e}"))?,
        };
        let rules = Rules {
            blocks: words.blocks.iter().copied().map(Block::check).collect::<Result<_, _>>()?,
            registers_max: words.registers_max,
            gap: words.gap,
            alternate: words.alternate_counts,
            accept_equal: words.equal_counts == EqualCounts::Accept,
            own_bus: Some(words.bus_address).filter(|_| words.bus_address_from == BusFrom::Profile),
        };
        let map = Map::check(map_words, &rules)?;
        let plans = Plans::new(&map, rules)?;
        let asked = plan::Asked::new(&map, &plans);
        Ok(Self {
            address: words.address,
            registration,
            heartbeat,
            heartbeat_minutes: words.heartbeat_minutes,
            identity: words.identity,
            manufacturer: words.manufacturer,
            model: words.model,
            bus_address: words.bus_address,
            bus_address_from: words.bus_address_from,
            answer_within_s: words.answer_within_s,
            alternate_counts: words.alternate_counts,
            remote_open: words.remote_open,
            map,
            plans,
            asked,
        })
    }

    /// What the DTU says of itself, registration first.
    pub fn packets(&self) -> impl Iterator<Item = &Packet> {
        self.registration.iter().chain(&self.heartbeat)
    }

    /// Whether an answer of this profile's devices can begin so, as far as it goes.
    pub fn asks(&self, bus: u8, function: Option<u8>, count: Option<u8>) -> bool {
        let own = self.bus_address_from == BusFrom::Address || bus == self.bus_address;
        (own || self.asked.buses.contains(&bus)) && self.asked.can_begin(function, count)
    }

    /// The Modbus address of this device.
    pub fn bus_of(&self, context: &Context) -> Result<u8, Fault> {
        if self.bus_address_from == BusFrom::Profile {
            return Ok(self.bus_address);
        }
        let address = context.device.as_ref().map_or("", |d| d.address.as_str());
        let digits = address.get(address.len().saturating_sub(3)..).unwrap_or_default();
        let bus = digits.parse::<u8>().ok().filter(|n| (1..=247).contains(n));
        bus.ok_or_else(|| Fault::out_of_range("address", address, "one that ends with 001 to 247 (bus_address_from)"))
    }
}

impl Default for Words {
    fn default() -> Self {
        Self {
            address: String::new(),
            registration: PacketWords { form: Form::Digits, bytes: 15, check: Check::Luhn, ..PacketWords::default() },
            heartbeat: None,
            heartbeat_minutes: 0,
            identity: Identity::Imei,
            manufacturer: String::new(),
            model: String::new(),
            bus_address: 1,
            bus_address_from: BusFrom::Profile,
            answer_within_s: 10,
            registers_max: 60,
            gap: 8,
            alternate_counts: false,
            equal_counts: EqualCounts::Refuse,
            remote_open: RemoteOpen::Refuse,
            blocks: Vec::new(),
            map: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_needs_no_words() {
        let profile = Profile::parse("").expect("the default is valid");
        assert_eq!(profile.plans.current.len(), 1, "one request reads all of the typical map");
        assert!(profile.asks(1, Some(3), Some(62)) && !profile.asks(0x68, None, None));
    }

    #[test]
    fn mistakes_are_named_with_the_remedy() {
        let register = |words: &str| {
            format!(
                r#"{{"map": {{"registers": [{{"register": 0, "type": "u32", "quantity": "volume", "unit": "litre"{words}}}]}}}}"#
            )
        };
        // Two numbers of one length, far from each other.
        let two = |second: u16, words: &str| {
            let register =
                |n: u16| format!(r#"{{"register": {n}, "type": "u32", "quantity": "volume", "unit": "litre"}}"#);
            format!(r#"{{{words}"map": {{"registers": [{}, {}]}}}}"#, register(0), register(second))
        };
        assert!(Profile::parse(&two(2, "")).is_ok(), "one request reads both");
        assert!(Profile::parse(&two(100, r#""equal_counts": "accept", "#)).is_ok());
        let blocks = r#""blocks": [{"first": 0, "count": 2}, {"first": 100, "count": 3}], "#;
        assert!(Profile::parse(&two(100, blocks)).is_ok());
        for (profile, wanted) in [
            (r#"{"bus_adress": 1}"#.to_owned(), "unknown field `bus_adress`"),
            (r#"{"bus_address": 0}"#.to_owned(), "1..247"),
            (r#"{"registration": {"form": "hex", "bytes": 4, "prefix": ""}}"#.to_owned(), "mistaken for Modbus"),
            (r#"{"address": "a b"}"#.to_owned(), "address"),
            (r#"{"map": {"registers": []}}"#.to_owned(), "registers"),
            (
                r#"{"map": {"registers": [{"register": 0, "type": "f32", "quantity": "volume", "unit": "litre"}]}}"#
                    .to_owned(),
                "decimals",
            ),
            (register(r#", "role": "total""#), "role"),
            (register(r#", "exponent": 19"#), "exponent"),
            (register(r#", "function": 5"#), "function"),
            (register(r#", "absent": ["FFFF"]"#), "absent"),
            (register(r#", "typ": 1"#), "unknown field `typ`"),
            (register("").replace("litre", "bar"), "`bar` is none of `volume`"),
            (two(100, ""), "equal_counts"),
            (two(100, r#""alternate_counts": true, "#), "two or more"),
            (r#"{"registers_max": 11}"#.to_owned(), "record_registers"),
            (r#"{"registers_max": 12}"#.to_owned(), "two records"),
        ] {
            let error = Profile::parse(&profile).err().unwrap_or_default();
            assert!(error.contains(wanted), "{profile}: {error}");
        }
    }
}
