//! What is remembered of a device across sessions: frame numbers, which keys it speaks, who it said it was.
//!
//! ```text
//! 0 version 01 | 1 flags | 2 next frameId i32 | 6 identity u32 | 10 purchased total u32 | 14 current, previous, pending key
//! a key: 00 none, FF the maker's default, else the length of its slot's name and the name
//! ```

use crate::options::SLOT_BYTES_MAX;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Context, log};

const VERSION: u8 = 1;
const FLAG_SWAPPED: u8 = 1;
const FLAG_PURCHASED: u8 = 2;
/// The two occurrence bits of the alarm word, 12 and 13, as flags 4 and 8.
const FLAG_OCCURRENCES: u8 = 12;
const OCCURRENCE_SHIFT: u32 = 10;
const KEY_NONE: u8 = 0;
const KEY_DEFAULT: u8 = 0xFF;

/// A key by its place; the bytes stay with the station.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyPlace {
    Default,
    Slot(String),
}

/// See the module's diagram. The default is a device never met before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Of the next command; 1..=i32::MAX, so that ids do not repeat from session to session.
    next_frame_id: i32,
    /// Its check sums come in the other direction's byte order.
    crc_swapped: bool,
    /// Fingerprint of meter type, firmware and ICCID as last registered; 0 never.
    identity: u32,
    /// Alarm bits of occurrences that the last report had set: they are told once.
    occurrences: u32,
    /// Total of all purchases as last read or written, in the meter's own scale.
    purchased: Option<u32>,
    /// The key the device spoke last.
    current: Option<KeyPlace>,
    previous: Option<KeyPlace>,
    /// Sent with 7082, not yet confirmed.
    pending: Option<KeyPlace>,
    /// Something differs from what is stored.
    changed: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            next_frame_id: 1,
            crc_swapped: false,
            identity: 0,
            occurrences: 0,
            purchased: None,
            current: None,
            previous: None,
            pending: None,
            changed: false,
        }
    }
}

impl Memory {
    /// Of the device with this address. What cannot be read counts as nothing: the device is then met anew.
    pub fn of(context: &Context, address: &str) -> Self {
        let bytes = stored(context, address);
        if bytes.is_empty() {
            return Self::default();
        }
        Self::read(bytes).unwrap_or_else(|error| {
            log::warn(&format!("the device's memory is not readable and starts anew: {error}"));
            Self::default()
        })
    }

    /// The id for the next command; counts on.
    pub fn take_frame_id(&mut self) -> i32 {
        let id = self.next_frame_id;
        self.next_frame_id = id.checked_add(1).unwrap_or(1);
        self.changed = true;
        id
    }

    pub fn current_key(&self) -> Option<&KeyPlace> {
        self.current.as_ref()
    }

    /// Other keys the device may speak, the likelier first.
    pub fn other_keys(&self) -> impl Iterator<Item = &KeyPlace> {
        [&self.pending, &self.previous].into_iter().flatten()
    }

    /// The device has spoken under this key: it is the current one from now on.
    pub fn speaks(&mut self, key: &KeyPlace) {
        if self.current.as_ref() == Some(key) {
            return;
        }
        if self.pending.as_ref() == Some(key) {
            self.pending = None;
        }
        self.previous = self.current.replace(key.clone());
        self.changed = true;
    }

    /// A new key is on its way to the device.
    pub fn expect_key(&mut self, key: KeyPlace) {
        self.pending = Some(key);
        self.changed = true;
    }

    /// The device has answered to the new key.
    pub fn settle_key(&mut self, taken: bool) {
        self.changed |= self.pending.is_some();
        match self.pending.take() {
            Some(new) if taken => self.speaks(&new),
            _ => {}
        }
    }

    /// Notes who the device says it is; true when that is new.
    pub fn identify(&mut self, fingerprint: u32) -> bool {
        replace(&mut self.identity, fingerprint, &mut self.changed) != fingerprint
    }

    /// Notes which occurrence bits are set; the ones set before.
    pub fn occurred(&mut self, bits: u32) -> u32 {
        replace(&mut self.occurrences, bits, &mut self.changed)
    }

    /// Notes in which order check sums come; whether they came in the other one before.
    pub fn swapped(&mut self, swapped: bool) -> bool {
        replace(&mut self.crc_swapped, swapped, &mut self.changed)
    }

    pub fn purchased(&self) -> Option<u32> {
        self.purchased
    }

    /// `None`: what was known holds no longer.
    pub fn note_purchased(&mut self, total: Option<u32>) {
        replace(&mut self.purchased, total, &mut self.changed);
    }

    /// To store, if it is not what is stored already. A frame of another device than the session's changes nothing here.
    pub fn into_change(self, context: &Context, address: &str) -> Option<Vec<u8>> {
        let others = context.device.as_ref().is_some_and(|device| device.address != address);
        (self.changed && !others).then(|| self.write())
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        let mut flags = (self.occurrences >> OCCURRENCE_SHIFT) as u8 & FLAG_OCCURRENCES;
        for (flag, set) in [(FLAG_SWAPPED, self.crc_swapped), (FLAG_PURCHASED, self.purchased.is_some())] {
            flags |= if set { flag } else { 0 };
        }
        bytes.extend_from_slice(&[VERSION, flags]);
        bytes.extend_from_slice(&self.next_frame_id.to_le_bytes());
        bytes.extend_from_slice(&self.identity.to_le_bytes());
        bytes.extend_from_slice(&self.purchased.unwrap_or(0).to_le_bytes());
        for key in [&self.current, &self.previous, &self.pending] {
            match key {
                None => bytes.push(KEY_NONE),
                Some(KeyPlace::Default) => bytes.push(KEY_DEFAULT),
                Some(KeyPlace::Slot(slot)) => {
                    bytes.push(slot.len() as u8);
                    bytes.extend_from_slice(slot.as_bytes());
                }
            }
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Self, FieldError> {
        let mut r = Reader::new(bytes);
        let version = r.u8("version")?;
        if version != VERSION {
            return Err(FieldError::invalid("version", 0, i64::from(version)));
        }
        let flags = r.u8("flags")?;
        let next_frame_id = r.i32_le("next frameId")?.max(1);
        let identity = r.u32_le("identity")?;
        let purchased = r.u32_le("purchased total")?;
        let memory = Self {
            next_frame_id,
            crc_swapped: flags & FLAG_SWAPPED != 0,
            identity,
            occurrences: u32::from(flags & FLAG_OCCURRENCES) << OCCURRENCE_SHIFT,
            purchased: (flags & FLAG_PURCHASED != 0).then_some(purchased),
            current: read_key(&mut r)?,
            previous: read_key(&mut r)?,
            pending: read_key(&mut r)?,
            changed: false,
        };
        r.finish("pending key")?;
        Ok(memory)
    }
}

/// The old value; notes whether the new one differs.
fn replace<T: PartialEq + Copy>(field: &mut T, value: T, changed: &mut bool) -> T {
    *changed |= *field != value;
    std::mem::replace(field, value)
}

/// The bytes remembered of this device; nothing of another one.
fn stored<'a>(context: &'a Context, address: &str) -> &'a [u8] {
    context.device.as_ref().filter(|device| device.address == address).map_or(&[], |device| &device.memory)
}

fn read_key(r: &mut Reader) -> Result<Option<KeyPlace>, FieldError> {
    let offset = r.offset();
    match r.u8("key")? {
        KEY_NONE => Ok(None),
        KEY_DEFAULT => Ok(Some(KeyPlace::Default)),
        len if usize::from(len) <= SLOT_BYTES_MAX => {
            Ok(Some(KeyPlace::Slot(r.ascii("slot", usize::from(len))?.into())))
        }
        len => Err(FieldError::invalid("slot length", offset, i64::from(len))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let slot = |name: &str| Some(KeyPlace::Slot(name.into()));
        let full = Memory {
            next_frame_id: i32::MAX,
            crc_swapped: true,
            identity: 0xDEAD_BEEF,
            occurrences: 3 << 12,
            purchased: Some(0),
            current: slot(&"x".repeat(SLOT_BYTES_MAX)),
            previous: Some(KeyPlace::Default),
            pending: slot("2"),
            changed: false,
        };
        for memory in [Memory::default(), full] {
            let bytes = memory.write();
            assert!(bytes.len() <= 256);
            assert_eq!(Memory::read(&bytes), Ok(memory));
        }
        for broken in [&[2_u8][..], &[1, 0, 1, 0], &[1; 40]] {
            assert!(Memory::read(broken).is_err());
        }
    }

    #[test]
    fn ids_never_reach_zero_or_repeat_soon() {
        let mut memory = Memory { next_frame_id: i32::MAX, ..Memory::default() };
        assert_eq!((memory.take_frame_id(), memory.take_frame_id()), (i32::MAX, 1));
    }

    #[test]
    fn a_key_that_is_spoken_moves_the_others_back() {
        let slot = |name: &str| KeyPlace::Slot(name.into());
        let mut memory = Memory::default();
        memory.speaks(&KeyPlace::Default);
        memory.expect_key(slot("1"));
        memory.speaks(&KeyPlace::Default);
        assert_eq!(memory.pending, Some(slot("1")));
        memory.speaks(&slot("1"));
        assert_eq!((memory.current, memory.previous, memory.pending), (Some(slot("1")), Some(KeyPlace::Default), None));
        memory = Memory { changed: false, current: Some(slot("1")), ..Memory::default() };
        memory.settle_key(true);
        memory.speaks(&slot("1"));
        assert!(!memory.changed && !memory.swapped(false) && memory.occurred(0) == 0);
        assert!(!memory.changed, "nothing new");
    }
}
