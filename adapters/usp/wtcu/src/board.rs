//! What the integrator gives: memory that survives a power cut, the meter, the valve's sensor, a place for a new image. All calls return at once; what
//! takes time (modem, valve motor, sleep) is an [`Action`](crate::Action) instead.

use crate::buffer::Reader;
use crate::state::Status;
use crate::{BODY_BYTES_MAX, Buffer, Civil};

/// Totals in 0.01 m³; none: not known for that moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    pub working: Option<u32>,
    pub standard: Option<u32>,
}

/// Two places for an image. Only one is written at a time, so a power cut while writing costs the newer one at most.
pub trait Storage {
    /// False: nothing readable there.
    fn load(&mut self, place: usize, image: &mut [u8]) -> bool;
    /// Returns after the bytes are durable. False: they are not.
    fn store(&mut self, place: usize, image: &[u8]) -> bool;
}

pub trait Metrology {
    /// The totals of a moment: the present one, or a full hour that the meter has kept.
    fn reading(&mut self, at: Civil) -> Reading;
    /// Fills in what else the board can measure.
    fn sense(&mut self, _status: &mut Status) {}
}

pub trait Valve {
    /// What the sensor says: closed or not; none without a sensor.
    fn is_closed(&mut self) -> Option<bool> {
        None
    }
}

/// Where a new image goes.
pub trait Upgrade {
    /// Room for an image of so many bytes; false: none.
    fn begin(&mut self, _size: u32) -> bool {
        false
    }
    fn write(&mut self, _offset: u32, _data: &[u8]) -> bool {
        false
    }
    /// CRC-32/IEEE over what was written.
    fn crc32(&mut self, _size: u32) -> u32 {
        0
    }
    /// To be started at this time; none: now. Only after the check sum has fitted.
    fn activate(&mut self, _at: Option<Civil>) {}
}

/// All of it. `extension` takes the orders that no meter knows (concentrator and DTU), for who is more than one. A repeated command whose answer was
/// too long to be kept comes here again: who must not carry it out twice keeps such answers.
pub trait Board: Storage + Metrology + Valve + Upgrade {
    /// The result and, in `answer`, what follows it. None: unknown here too.
    fn extension(&mut self, _message: u16, _body: &mut Reader<'_>, _answer: &mut Buffer<BODY_BYTES_MAX>) -> Option<u8> {
        None
    }
}
