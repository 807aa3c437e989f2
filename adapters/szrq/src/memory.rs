//! What is remembered of a device across sessions: message ids, how to address it, its class, its active alarms.
//!
//! ```text
//! 0 version 01 | 1 next mid u16 | 3 vendor | 4 class (FF not told) | 5 device type (00 not told) | 6 identity u32 | 10 alarms u32 | 14 iccid 20
//! ```

use polymeter_sdk::{Context, log};

const VERSION: u8 = 1;
pub const BYTES: usize = 34;
/// What the known firmware carries.
const VENDOR: u8 = 4;

/// See the module's diagram. The default is a device never met before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    next_mid: u16,
    pub vendor: u8,
    pub class: Option<u8>,
    pub device_type: Option<u8>,
    /// Fingerprint of what was last registered; 0 never.
    pub identity: u32,
    /// Conditions that began and have not ended, by alarm type.
    pub alarms: u32,
    pub iccid: [u8; 20],
}

impl Default for Memory {
    fn default() -> Self {
        Self { next_mid: 1, vendor: VENDOR, class: None, device_type: None, identity: 0, alarms: 0, iccid: [b'0'; 20] }
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

    /// The id for the next command; counts on, and is never 0, which the meter writes in all its own frames.
    pub fn take_mid(&mut self) -> u16 {
        let mid = self.next_mid.max(1);
        self.next_mid = mid.checked_add(1).unwrap_or(1);
        mid
    }

    /// To store, if it is not what is stored already. A frame of another device than the session's changes nothing here.
    pub fn into_change(self, context: &Context, address: &str) -> Option<Vec<u8>> {
        let others = context.device.as_ref().is_some_and(|device| device.address != address);
        (!others && self != Self::of(context, address)).then(|| self.write())
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.next_mid.to_le_bytes());
        bytes.extend_from_slice(&[self.vendor, self.class.unwrap_or(0xFF), self.device_type.unwrap_or(0)]);
        bytes.extend_from_slice(&self.identity.to_le_bytes());
        bytes.extend_from_slice(&self.alarms.to_le_bytes());
        bytes.extend_from_slice(&self.iccid);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut iccid = [0; 20];
        iccid.copy_from_slice(&bytes[14..]);
        (bytes[0] == VERSION).then_some(Self {
            next_mid: u16::from_le_bytes([bytes[1], bytes[2]]),
            vendor: bytes[3],
            class: Some(bytes[4]).filter(|class| *class != 0xFF),
            device_type: Some(bytes[5]).filter(|kind| *kind != 0),
            identity: u32_at(6),
            alarms: u32_at(10),
            iccid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let full = Memory {
            next_mid: u16::MAX,
            vendor: 9,
            class: Some(1),
            device_type: Some(3),
            identity: 0xDEAD_BEEF,
            alarms: 1 << 18,
            iccid: *b"89860419001870123456",
        };
        for memory in [Memory::default(), full] {
            assert_eq!(Memory::read(&memory.write()), Some(memory));
        }
        for broken in [&[2_u8; BYTES][..], &[1; 33], &[1]] {
            assert_eq!(Memory::read(broken), None);
        }
        let mut memory = full;
        assert_eq!((memory.take_mid(), memory.take_mid()), (u16::MAX, 1));
    }
}
