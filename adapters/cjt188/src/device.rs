//! The meter's side of the protocol, for tests and simulation: hears what a station says and answers as its dialect does. Bytes
//! in, bytes out; sockets, waiting and randomness are the caller's. Silence is a meter's usual reaction to what it does not like.
//!
//! ```text
//! let mut meter = Meter::new("00231100456789", 0x30, Dialect::gas_module());
//! for frame in meter.hear(now, &received) { send(frame) }
//! ```

mod answers;
mod dialect;

pub use crate::di::Order;
pub use crate::options::{Datetime, Edition, StatusLayout, UnitPlace};
pub use dialect::{Dialect, ErrorData, Layout, WriteAnswer};

use crate::di;
use crate::frame::{ANY, Frame, address_bytes, control};
use polymeter_sdk::Civil;

/// Total at any time, in hundredths of the unit.
pub type Readings = Box<dyn Fn(Civil) -> u32 + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Valve {
    Open,
    Closed,
    Fault,
}

/// A simulated meter. Fields are its present state; change them freely between frames.
pub struct Meter {
    pub dialect: Dialect,
    pub readings: Readings,
    pub valve: Valve,
    /// The motor does not move: orders are answered, and nothing happens.
    pub valve_stuck: bool,
    pub battery_low: bool,
    /// How far the clock is ahead of `now`, seconds.
    pub drift_s: i64,
    /// What the total has to be raised by so that it shows the base reading that was written.
    pub base_offset: i64,
    pub settlement_day: u8,
    pub reading_day: u8,
    /// Three prices in 0.01 yuan with two limits in m³, as A010 brings them: BCD, low first.
    pub prices: [u8; 15],
    /// Sequence, this purchase, all purchases, remaining; money in 0.01 yuan.
    pub purchases: (u8, u32, u32, u32),
    /// Answers everything with this status word as an error.
    pub refuse_with: Option<[u8; 2]>,
    /// Writes to address and base reading are over.
    pub left_factory: bool,
    kind: u8,
    address: [u8; 7],
}

impl Meter {
    /// # Panics
    /// When the address is not 14 decimal digits: a simulation's own mistake.
    pub fn new(address: &str, meter_type: u8, dialect: Dialect) -> Self {
        Self {
            dialect,
            readings: Box::new(|at| (at.div_euclid(360) % 100_000_000) as u32),
            valve: Valve::Open,
            valve_stuck: false,
            battery_low: false,
            drift_s: 0,
            base_offset: 0,
            settlement_day: 1,
            reading_day: 1,
            prices: [0; 15],
            purchases: (0, 0, 0, 0),
            refuse_with: None,
            left_factory: false,
            kind: meter_type,
            address: address_bytes(address).expect("a simulated address is 14 decimal digits"),
        }
    }

    /// The printed address.
    pub fn address(&self) -> String {
        let frame = Frame { meter_type: self.kind, address: self.address, control: 1, data: &[] };
        frame.printed().unwrap_or_default()
    }

    pub const fn meter_type(&self) -> u8 {
        self.kind
    }

    pub fn total(&self, at: Civil) -> u32 {
        ((self.readings)(at) as i64 + self.base_offset).rem_euclid(100_000_000) as u32
    }

    /// What the meter sends back: nothing, one frame, or the parts of one answer.
    pub fn hear(&mut self, now: Civil, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Ok(frame) = Frame::parse(bytes, &self.dialect.prefix) else { return Vec::new() };
        let everybody = frame.address == [0x99; 7];
        let for_me = frame.address == self.address || frame.address == [ANY; 7] || everybody;
        if !for_me || frame.meter_type != self.kind && frame.meter_type != ANY {
            return Vec::new();
        }
        let (Some(di), Some(ser)) = (self.di(&frame), frame.data.get(2)) else { return Vec::new() };
        let ser = if self.dialect.echoes { *ser } else { 0 };
        if everybody {
            if di == di::SET_CLOCK {
                answers::execute(self, now, frame.control, di, &frame.data[3..]);
            }
            return Vec::new();
        }
        if let Some([s0, s1]) = self.refuse_with {
            return vec![match self.dialect.error {
                ErrorData::SerSt => self.send(frame.control | 0xC0, &[ser, s0, s1]),
                ErrorData::SerSt1 => self.send(frame.control | 0xC0, &[ser, s0]),
                ErrorData::St1 => self.send(frame.control | 0xC0, &[s0]),
            }];
        }
        let wire = [frame.data[0], frame.data[1], ser];
        match answers::execute(self, now, frame.control, di, &frame.data[3..]) {
            Some(operands) => self.parts(frame.control, wire, &operands),
            None => Vec::new(),
        }
    }

    /// The identifier, if it stands in the order that this meter understands.
    fn di(&self, frame: &Frame<'_>) -> Option<u16> {
        let bytes = frame.data.first_chunk::<2>()?;
        let order = match frame.control {
            control::READ | control::READ_ADDRESS | control::READ_KEY => self.dialect.order_read,
            _ => self.dialect.order_write,
        };
        Some(match order {
            Order::Le => u16::from_le_bytes(*bytes),
            Order::Be => u16::from_be_bytes(*bytes),
        })
    }

    fn parts(&self, control: u8, wire: [u8; 3], operands: &[u8]) -> Vec<Vec<u8>> {
        let size = self.dialect.part_bytes.unwrap_or(usize::MAX).max(1);
        let chunks: Vec<&[u8]> = if operands.is_empty() { vec![operands] } else { operands.chunks(size).collect() };
        let last = chunks.len() - 1;
        let followed = |i| if i < last { control::FOLLOWED } else { 0 };
        let frames = chunks.iter().enumerate();
        frames.map(|(i, part)| self.send(control | 0x80 | followed(i), &[&wire[..], part].concat())).collect()
    }

    /// Any frame of the caller's own making.
    pub fn send(&self, control: u8, data: &[u8]) -> Vec<u8> {
        let frame = Frame { meter_type: self.kind, address: self.address, control, data }.build();
        let preamble = vec![0xFE; self.dialect.preamble];
        [&self.dialect.prefix, &preamble, &frame].into_iter().flatten().copied().collect()
    }

    /// The status word in this meter's layout.
    pub fn status(&self) -> [u8; 2] {
        let low = |open, closed, fault| match self.valve {
            Valve::Open => open,
            Valve::Closed => closed,
            Valve::Fault => fault,
        };
        let battery = u8::from(self.battery_low);
        match self.dialect.status {
            StatusLayout::Low | StatusLayout::Split => [low(0, 1, 3) | battery << 2, 0],
            StatusLayout::High => [low(0, 1, 3) << 6 | battery << 5, 0],
            StatusLayout::LowMoving => [low(0, 2, 3) | battery << 2, 0],
            StatusLayout::Inverted => [low(1, 0, 3) | battery << 2, 0],
            StatusLayout::ReadingFault => [low(0, 1, 3), 0],
        }
    }
}
