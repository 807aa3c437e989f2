//! A board with the least it can have, compiled for a microcontroller without heap: registers and drivers stand where the comments are.

use crate::{Action, Board, Civil, IMAGE_BYTES, Input, Metrology, Reading, Storage, Upgrade, Valve, Wtcu};

/// Two pages of flash, the counter of the metering unit, the contact of the valve.
pub struct Sketch {
    pub pages: [[u8; IMAGE_BYTES]; 2],
    pub litres: u32,
    pub contact: bool,
}

impl Storage for Sketch {
    fn load(&mut self, place: usize, image: &mut [u8]) -> bool {
        self.pages.get(place).filter(|page| page.len() == image.len()).is_some_and(|page| {
            image.copy_from_slice(page);
            true
        })
    }
    fn store(&mut self, place: usize, image: &[u8]) -> bool {
        // Erase, write, and read back.
        self.pages.get_mut(place).filter(|page| page.len() == image.len()).is_some_and(|page| {
            page.copy_from_slice(image);
            true
        })
    }
}

impl Metrology for Sketch {
    fn reading(&mut self, _at: Civil) -> Reading {
        Reading { working: Some(self.litres / 10), standard: None }
    }
}

impl Valve for Sketch {
    fn is_closed(&mut self) -> Option<bool> {
        Some(self.contact)
    }
}

impl Upgrade for Sketch {}
impl Board for Sketch {}

/// What the main loop calls after every wake-up.
pub fn step<'a>(unit: &'a mut Wtcu, input: Input<'_>, now: Civil, random: u32, board: &mut Sketch) -> Action<'a> {
    unit.poll(input, now, random, board)
}
