//! The board of a simulated terminal: readings by a function, an image in memory, and nothing that a power cut could spoil.

use super::carrier::Carrier;
use super::{Civil, Readings};
use polymeter_sdk::checksum;
use wtcu::{BODY_BYTES_MAX, Board, Buffer, Metrology, Reader, Reading, Storage, Upgrade, Valve};

pub struct Bench<'a> {
    pub readings: &'a Readings,
    pub carrier: &'a mut Carrier,
    pub image: &'a mut Vec<u8>,
}

/// The simulation keeps a terminal as a whole; it has no use for its image.
impl Storage for Bench<'_> {
    fn load(&mut self, _place: usize, _image: &mut [u8]) -> bool {
        false
    }
    fn store(&mut self, _place: usize, _image: &[u8]) -> bool {
        true
    }
}

impl Metrology for Bench<'_> {
    fn reading(&mut self, at: Civil) -> Reading {
        let (working, standard) = (self.readings)(at);
        Reading { working, standard }
    }
}

impl Valve for Bench<'_> {}

impl Upgrade for Bench<'_> {
    fn begin(&mut self, _size: u32) -> bool {
        self.image.clear();
        true
    }
    fn write(&mut self, offset: u32, data: &[u8]) -> bool {
        self.image.resize(offset as usize, 0);
        self.image.extend(data);
        true
    }
    fn crc32(&mut self, _size: u32) -> u32 {
        checksum::crc32(self.image)
    }
}

impl Board for Bench<'_> {
    fn extension(&mut self, message: u16, body: &mut Reader<'_>, answer: &mut Buffer<BODY_BYTES_MAX>) -> Option<u8> {
        let carried = self.carrier.carry_out(message, body.0)?;
        let (result, rest) = carried.split_first()?;
        answer.put(rest);
        Some(*result)
    }
}
