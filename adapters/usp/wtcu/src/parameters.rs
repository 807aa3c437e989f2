//! Parameters of 4014 and 4015 by number: those of the protocol with their lengths, and a few of the vendor's own.

use crate::buffer::Buffer;

/// Number and length; 0070 is read only and comes from the identity.
const KNOWN: [(u16, u8); 17] = [
    (0x0001, 2),
    (0x0002, 4),
    (0x0003, 4),
    (0x0010, 6),
    (0x0011, 6),
    (0x0012, 2),
    (0x0020, 2),
    (0x0021, 2),
    (0x0022, 2),
    (0x0023, 2),
    (0x0030, 4),
    (0x0031, 4),
    (0x0040, 2),
    (0x0041, 2),
    (0x0050, 4),
    (0x0051, 4),
    (0x0060, 2),
];
pub const HARDWARE_FIRMWARE: u16 = 0x0070;
/// Alarm bits that a terminal reports at once (3062).
pub const REPORT_MASK: u16 = 0x0003;
const VENDOR_FIRST: u16 = 0x8000;
/// Vendor's parameters, and bytes of each.
const VENDOR_COUNT: usize = 8;
const VALUE_BYTES_MAX: usize = 8;

/// Why a value was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Unknown,
    WrongLength,
    NoRoom,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    pub(crate) known: [[u8; VALUE_BYTES_MAX]; KNOWN.len()],
    /// Number (0 none) and value.
    pub(crate) vendor: [(u16, Buffer<VALUE_BYTES_MAX>); VENDOR_COUNT],
}

impl Default for Parameters {
    fn default() -> Self {
        Self { known: [[0; VALUE_BYTES_MAX]; KNOWN.len()], vendor: [(0, Buffer::new()); VENDOR_COUNT] }
    }
}

impl Parameters {
    pub fn get(&self, id: u16) -> Option<&[u8]> {
        if let Some(place) = KNOWN.iter().position(|(known, _)| *known == id) {
            return self.known[place].get(..usize::from(KNOWN[place].1));
        }
        self.vendor.iter().find(|(vendor, _)| id != 0 && *vendor == id).map(|(_, value)| value.as_slice())
    }

    pub fn set(&mut self, id: u16, value: &[u8]) -> Result<(), Refused> {
        if let Some(place) = KNOWN.iter().position(|(known, _)| *known == id) {
            let length = usize::from(KNOWN[place].1);
            if value.len() != length {
                return Err(Refused::WrongLength);
            }
            self.known[place][..length].copy_from_slice(value);
            return Ok(());
        }
        if id < VENDOR_FIRST {
            return Err(Refused::Unknown);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(Refused::WrongLength);
        }
        let place = self.vendor.iter().position(|(vendor, _)| *vendor == id);
        let place = place.or_else(|| self.vendor.iter().position(|(vendor, _)| *vendor == 0)).ok_or(Refused::NoRoom)?;
        self.vendor[place] = (id, Buffer::of(value));
        Ok(())
    }

    /// All numbers that have a value.
    pub fn ids(&self) -> impl Iterator<Item = u16> {
        KNOWN.iter().map(|(id, _)| *id).chain(self.vendor.iter().map(|(id, _)| *id).filter(|id| *id != 0))
    }

    /// 0003; all bits as long as nobody has set it.
    pub fn report_mask(&self) -> u32 {
        let mask = self.get(REPORT_MASK).and_then(|b| b.first_chunk().copied()).map_or(0, u32::from_le_bytes);
        if mask == 0 { u32::MAX } else { mask }
    }
}
