//! The meter's own side: what a test or a simulation says in its name, and what it understands of the answer. Bytes only;
//! sockets are the caller's.

use crate::{ACKNOWLEDGED, FRAME_BYTES, START};
use polymeter_sdk::{bcd, checksum};

/// One meter.
#[derive(Clone, Debug)]
pub struct Device {
    /// At most 8 digits.
    pub number: u32,
    /// 0.01 m³, at most 8 digits.
    pub total: u32,
}

impl Device {
    /// What it sends. `None`: a field has more digits than the frame has room for.
    pub fn report(&self) -> Option<Vec<u8>> {
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        frame.push(START);
        frame.extend(bcd::pack_number::<4>(self.number.into())?);
        frame.extend(bcd::pack_number::<4>(self.total.into())?);
        frame.extend(checksum::crc16_modbus(&frame).to_le_bytes());
        Some(frame)
    }

    /// Whether the station has taken the report.
    pub fn hears(&self, answer: &[u8]) -> bool {
        answer == ACKNOWLEDGED
    }
}
