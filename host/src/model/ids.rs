//! Names of things: devices, sessions, journal positions, adapter digests.

use crate::limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Position in the journal; 1 is the first entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// One conversation of one peer; unique within a station's life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// A device of this station: `realm/address`. The realm is the address space that the adapter's manifest names, so
/// that two makers may number their meters alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey(Arc<str>);

/// Why a text is no device key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("`{0}` is no device; write it as realm/address, such as usp/50001234567810")]
    Shape(String),
    #[error("an address has 1 to 32 printable characters without blanks and slashes, not `{0}`")]
    Address(String),
}

/// Longest address that any adapter may name, bytes.
const ADDRESS_BYTES_MAX: usize = 32;
const REALM_BYTES_MAX: usize = 32;

const _: () =
    assert!(REALM_BYTES_MAX + ADDRESS_BYTES_MAX <= limits::NAMED_BYTES_MAX, "from one letter to both and a slash");

impl DeviceKey {
    pub fn new(realm: &str, address: &str) -> Result<Self, KeyError> {
        if !is_word(realm, REALM_BYTES_MAX) {
            return Err(KeyError::Shape(format!("{realm}/{address}")));
        }
        if !Self::is_address(address) {
            return Err(KeyError::Address(address.chars().take(40).collect()));
        }
        Ok(Self(format!("{realm}/{address}").into()))
    }

    /// Whether a device may be called so.
    pub fn is_address(text: &str) -> bool {
        is_word(text, ADDRESS_BYTES_MAX)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn realm(&self) -> &str {
        self.0.split_once('/').map_or("", |(realm, _)| realm)
    }

    /// As printed on the meter.
    pub fn address(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, address)| address)
    }
}

fn is_word(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for DeviceKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (realm, address) = text.split_once('/').ok_or_else(|| KeyError::Shape(text.chars().take(80).collect()))?;
        Self::new(realm, address)
    }
}
impl Serialize for DeviceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for DeviceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = DeviceKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a device as realm/address")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<DeviceKey, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Where a key is: a device, or `realm/*` for all devices of a realm that have none of their own, and the slot as its adapter
/// names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct KeySlot {
    pub device: DeviceKey,
    pub slot: String,
}

/// A text that names no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slot has 1 to {} letters, digits, `-` or `_`, as the adapter names it", limits::KEY_SLOT_BYTES_MAX)]
pub struct NoSlot;

impl KeySlot {
    pub fn new(device: DeviceKey, slot: String) -> Result<Self, NoSlot> {
        Self::check(&slot).map(|()| Self { device, slot })
    }

    /// Whether a slot may be called so.
    pub fn check(slot: &str) -> Result<(), NoSlot> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let good = !slot.is_empty() && slot.len() <= limits::KEY_SLOT_BYTES_MAX && slot.bytes().all(plain);
        if good { Ok(()) } else { Err(NoSlot) }
    }

    /// That there is no key, and what to do about it.
    pub fn missing(&self) -> String {
        let Self { device, slot } = self;
        format!(
            "slot {slot} of {device} has no key: set it with `polymeter key set {device} {slot}`, or many with `polymeter \
             key import`. The command goes out at the next contact after that"
        )
    }
}

/// SHA-256 of a component file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// First 12 hex digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let mut digest = [0; 32];
            hex::decode_to_slice(String::deserialize(deserializer)?, &mut digest).map_err(de::Error::custom)?;
            Ok(Self(digest))
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}
