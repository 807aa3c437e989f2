//! What is remembered of a meter: its type, the serial number sent last, and the request that waits for an answer.
//!
//! ```text
//! 0 version 01 | 1 type, 0 unknown | 2 SER | 3 function, 0 none | 4 DI u16 | 6 its SER | 7 DI of the first | 9 its SER | 10 DI of the last
//! ```
//!
//! First and last differ while a read-out of several frames is under way: every answer is followed by the next request.

use polymeter_sdk::Context;

const VERSION: u8 = 1;
const BYTES: usize = 12;

/// A request on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub function: u8,
    pub di: u16,
    pub ser: u8,
    /// Of the command: identifier and SER of its first request.
    pub first: (u16, u8),
    /// Identifier of its last request.
    pub last: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// 0: not heard yet.
    pub meter_type: u8,
    pub ser: u8,
    pub request: Option<Request>,
}

impl Request {
    /// The only request of its command.
    pub const fn single(function: u8, di: u16, ser: u8) -> Self {
        Self { function, di, ser, first: (di, ser), last: di }
    }

    pub const fn correlation(&self) -> [u8; 4] {
        correlation(self.function, self.first.0, self.first.1)
    }
}

/// What names a command in its answer.
pub const fn correlation(function: u8, di: u16, ser: u8) -> [u8; 4] {
    let [high, low] = di.to_be_bytes();
    [function, high, low, ser]
}

impl Memory {
    /// Of this device; bytes of another layout, and other devices, are unknown.
    pub fn of(context: &Context, address: &str) -> Self {
        let bytes = context.device.as_ref().filter(|d| d.address == address).map(|d| d.memory.as_slice());
        let Some(b) = bytes.and_then(|b| <&[u8; BYTES]>::try_from(b).ok()).filter(|b| b[0] == VERSION) else {
            return Self::default();
        };
        let di = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        let request = Request { function: b[3], di: di(4), ser: b[6], first: (di(7), b[9]), last: di(10) };
        Self { meter_type: b[1], ser: b[2], request: (b[3] != 0).then_some(request) }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut b = vec![0; BYTES];
        (b[0], b[1], b[2]) = (VERSION, self.meter_type, self.ser);
        if let Some(request) = &self.request {
            (b[3], b[6], b[9]) = (request.function, request.ser, request.first.1);
            b[4..6].copy_from_slice(&request.di.to_be_bytes());
            b[7..9].copy_from_slice(&request.first.0.to_be_bytes());
            b[10..12].copy_from_slice(&request.last.to_be_bytes());
        }
        b
    }

    /// The next serial number, or the one that the profile fixes.
    pub const fn take_ser(&mut self, fixed: Option<u8>) -> u8 {
        if let Some(ser) = fixed {
            return ser;
        }
        self.ser = self.ser.wrapping_add(1);
        self.ser
    }
}
