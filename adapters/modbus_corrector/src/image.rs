//! What a command has read so far: registers by address, of one or several devices on a line.
//!
//! ```text
//! piece | address 1 | function 1 | first 2 | bytes 1 | data |
//! ```

use crate::field;
use crate::map::{Number, Place};

const HEAD_BYTES: usize = 5;

/// Pieces one after another, as they stand in the session's state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    pub bytes: Vec<u8>,
    /// Of places that do not name one.
    pub bus: u8,
}

impl Image {
    pub fn push(&mut self, bus: u8, function: u8, first: u16, data: &[u8]) {
        let [high, low] = first.to_be_bytes();
        self.bytes.extend_from_slice(&[bus, function, high, low, data.len().min(255) as u8]);
        self.bytes.extend_from_slice(&data[..data.len().min(255)]);
    }

    /// The bytes of a place; none where it was not read. Of several the newest.
    pub fn get(&self, place: Place) -> Option<&[u8]> {
        let bus = place.bus.unwrap_or(self.bus);
        let within = |(piece_bus, function, first, data): &(u8, u8, u16, &[u8])| {
            let end = u32::from(*first) + data.len() as u32 / 2;
            (*piece_bus, *function) == (bus, place.function)
                && *first <= place.register
                && u32::from(place.register) + u32::from(place.registers) <= end
        };
        let (_, _, first, data) = self.pieces().filter(within).last()?;
        let from = usize::from(place.register - first) * 2;
        data.get(from..from + usize::from(place.registers) * 2)
    }

    pub fn bits(&self, number: &Number) -> Option<u64> {
        self.get(number.place).map(|wire| field::bits(number.order, wire))
    }

    pub fn pieces(&self) -> impl Iterator<Item = (u8, u8, u16, &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let ([bus, function, high, low, count], behind) = rest.split_first_chunk::<HEAD_BYTES>()?;
            let (data, next) = behind.split_at_checked(usize::from(*count))?;
            rest = next;
            Some((*bus, *function, u16::from_be_bytes([*high, *low]), data))
        })
    }
}
