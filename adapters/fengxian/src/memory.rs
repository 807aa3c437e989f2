//! What is remembered of a device across sessions: how it writes, its communication settings, price and the start of its gas year.
//!
//! ```text
//! 0 version 01 | 1 next number u16 | 3 order (00 BE, 01 LE) | 4 end | 5 version 2 | 7 vendor | 8 mode
//! | 9 flags: 1 price, 2 gas year, 4 communication | 10 price u16 | 12 gas year u16 | 14 its start, 0.01 m³ u64 | 22 communication 9 | 31 settings u32
//! ```

use crate::frame::{LengthOrder, Style};
use polymeter_sdk::{Context, log};

const VERSION: u8 = 1;
const BYTES: usize = 35;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    next_number: u16,
    pub style: Style,
    /// 0.01 yuan per m³, as the last balance sync told it.
    pub price: Option<u16>,
    /// The year in whose September it began, and the total of its first day.
    pub gas_year: Option<(u16, u64)>,
    /// Window, interval, timeout, reconnects and their delay, as the report tells them.
    pub communication: Option<[u8; 9]>,
    /// Fingerprint of the settings last told; 0 never.
    pub settings: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self { next_number: 1, style: Style::default(), price: None, gas_year: None, communication: None, settings: 0 }
    }
}

impl Memory {
    /// Of the device with this address. What cannot be read counts as nothing: the device is then met anew.
    pub fn of(context: &Context, address: &str) -> Self {
        let stored = context.device.as_ref().filter(|d| d.address == address).map_or(&[][..], |d| &d.memory);
        if stored.is_empty() {
            return Self::default();
        }
        Self::read(stored).unwrap_or_else(|| {
            log::warn("the device's memory is of another layout and starts anew");
            Self::default()
        })
    }

    /// Names the next command; counts on, never 0.
    pub fn take_number(&mut self) -> u16 {
        let number = self.next_number.max(1);
        self.next_number = number.checked_add(1).unwrap_or(1);
        number
    }

    /// To store, if it is not what is stored already. A frame of another device than the session's changes nothing here.
    pub fn into_change(self, context: &Context, address: &str) -> Option<Vec<u8>> {
        let others = context.device.as_ref().is_some_and(|device| device.address != address);
        (!others && self != Self::of(context, address)).then(|| self.write())
    }

    pub fn write(&self) -> Vec<u8> {
        let Self { style, price, gas_year, communication, .. } = self;
        let flags = [price.is_some(), gas_year.is_some(), communication.is_some()];
        let flags = flags.iter().enumerate().fold(0, |flags, (bit, set)| flags | u8::from(*set) << bit);
        let (year, start) = gas_year.unwrap_or_default();
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.next_number.to_le_bytes());
        bytes.extend_from_slice(&[u8::from(style.order == LengthOrder::LittleEndian), style.end]);
        bytes.extend_from_slice(&style.version);
        bytes.extend_from_slice(&[style.vendor, u8::from(style.masked), flags]);
        bytes.extend_from_slice(&price.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&year.to_le_bytes());
        bytes.extend_from_slice(&start.to_le_bytes());
        bytes.extend_from_slice(&communication.unwrap_or_default());
        bytes.extend_from_slice(&self.settings.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let b: &[u8; BYTES] = bytes.try_into().ok()?;
        if b[0] != VERSION {
            return None;
        }
        let word = |at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
        let (mut start, mut communication, mut settings) = ([0; 8], [0; 9], [0; 4]);
        start.copy_from_slice(&b[14..22]);
        communication.copy_from_slice(&b[22..31]);
        settings.copy_from_slice(&b[31..]);
        let style = Style {
            order: if b[3] == 1 { LengthOrder::LittleEndian } else { LengthOrder::BigEndian },
            end: if b[4] == 0x16 { 0x16 } else { 0x17 },
            version: [b[5], b[6]],
            vendor: b[7],
            masked: b[8] != 0,
        };
        Some(Self {
            next_number: word(1),
            style,
            price: (b[9] & 1 != 0).then(|| word(10)),
            gas_year: (b[9] & 2 != 0).then(|| (word(12), u64::from_le_bytes(start))),
            communication: (b[9] & 4 != 0).then_some(communication),
            settings: u32::from_le_bytes(settings),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let full = Memory {
            next_number: u16::MAX,
            style: Style { order: LengthOrder::LittleEndian, end: 0x16, version: [1, 2], vendor: 0x12, masked: false },
            price: Some(325),
            gas_year: Some((2023, 0xFF_FFFF_FFFF)),
            communication: Some([9; 9]),
            settings: 7,
        };
        for memory in [Memory::default(), full] {
            assert_eq!(Memory::read(&memory.write()), Some(memory));
        }
        assert_eq!(Memory::read(&[2; BYTES]), None);
        assert_eq!(Memory::read(&[1; 34]), None);
        let mut memory = full;
        assert_eq!((memory.take_number(), memory.take_number()), (u16::MAX, 1));
    }
}
