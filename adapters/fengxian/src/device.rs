//! The meter's side of the protocol, for simulators and tests: it reports, answers requests by repeating them, and hangs up at 37.
//!
//! ```
//! # use fengxian::device::{Heard, Meter};
//! let mut meter = Meter::new("31001234567890");
//! meter.state.total += 12;
//! let frame = meter.report(1_710_468_010, 1 << 5);
//! // … send it; then, for what the station sends:
//! # let station = [0x69];
//! match meter.receive(&station) {
//!     Ok(Heard::Ended { clock, .. }) => println!("set the clock to {clock:?} and sleep"),
//!     Ok(Heard::Requested { answer, .. }) => println!("send {} bytes", answer.len()),
//!     Err(why) => println!("not for us: {why}"),
//! }
//! # assert_eq!(frame.len(), 194);
//! ```
//! Times are the caller's: the same calls give the same bytes.

use crate::decode::{BUSINESS, END, REPORT, TOTAL, VALVE};
use crate::frame::{self, Frame, Style};
use crate::settings::{COMMUNICATION, FUNCTIONS, QUERY};
use polymeter_sdk::{Civil, Framing, bcd, civil};

/// Bit of the valve's word for a remote close.
const REMOTE: u16 = 1 << 6;

/// What a meter measures and how it stands; numbers as on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// 0.01 m³
    pub working_total: u64,
    /// 0.01 m³; the same without a corrector.
    pub total: u64,
    /// 0.01 m³, newest first.
    pub frozen: [u32; 30],
    pub temperature: i16,
    pub pressure: u16,
    pub running: u16,
    pub valve: u16,
    /// 0.1 V
    pub battery: u8,
    pub rssi: u8,
    pub snr: i16,
    pub cell: u64,
    pub safety: u16,
    pub balance: i32,
    pub yearly: u32,
    pub price: u16,
}

impl Default for State {
    /// The meter of the sheet's example.
    fn default() -> Self {
        Self {
            working_total: 1_234_567,
            total: 1_234_567,
            frozen: std::array::from_fn(|k| 1_234_567 - 150 * (k as u32 + 1)),
            temperature: 2150,
            pressure: 1013,
            running: 1 << 6,
            valve: 0,
            battery: 36,
            rssi: 22,
            snr: 85,
            cell: 1_234_567,
            safety: 0x0C0F,
            balance: 0,
            yearly: 0,
            price: 0,
        }
    }
}

/// A simulated meter. What the caller may turn is public; the rest is protocol.
#[derive(Clone, Debug)]
pub struct Meter {
    pub state: State,
    pub style: Style,
    address: [u8; 7],
    /// Body of 32 behind its bits: window, interval, timeout, reconnects, delay.
    communication: [u8; 9],
}

/// What a frame of the station meant to the meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// 37: the caller sets its clock and hangs up.
    Ended { clock: Option<Civil>, yearly: u32, price: u16 },
    /// Carried out; `answer` is the frame to send back.
    Requested { id: u8, body: Vec<u8>, answer: Vec<u8> },
}

impl Meter {
    /// The address has 14 digits; shorter ones are filled with zeros in front, anything else is 0.
    pub fn new(address: &str) -> Self {
        Self {
            state: State::default(),
            style: Style { vendor: 0x12, ..Style::default() },
            address: bcd::pack_digits(address).unwrap_or_default(),
            communication: [0, 0, 6, 0, 0x05, 0xA0, 3, 2, 10],
        }
    }

    pub fn address(&self) -> String {
        bcd::digits(&self.address).unwrap_or_default()
    }

    /// 38 with the present state. Send the same bytes again to simulate a repetition.
    pub fn report(&self, at: Civil, reasons: u16) -> Vec<u8> {
        self.build(0x81, REPORT, &self.report_body(at, reasons))
    }

    pub fn report_body(&self, at: Civil, reasons: u16) -> Vec<u8> {
        let s = &self.state;
        let mut body = vec![0, 30, 0x12, 0, 0];
        body.extend_from_slice(&s.safety.to_be_bytes());
        body.extend_from_slice(&s.temperature.to_be_bytes());
        body.extend_from_slice(&s.pressure.to_be_bytes());
        body.extend_from_slice(&s.working_total.to_be_bytes()[3..]);
        body.extend_from_slice(&s.total.to_be_bytes()[3..]);
        body.extend(s.frozen.iter().flat_map(|day| day.to_be_bytes()));
        body.extend_from_slice(&s.running.to_be_bytes());
        body.extend_from_slice(&s.valve.to_be_bytes());
        body.extend_from_slice(&[s.battery, 1, s.rssi]);
        body.extend_from_slice(&s.snr.to_be_bytes());
        body.push(0);
        body.extend_from_slice(&bcd::pack_number::<6>(s.cell).unwrap_or_default());
        body.extend_from_slice(&self.communication);
        body.push(0x13);
        body.extend_from_slice(&reasons.to_be_bytes());
        body.extend_from_slice(&civil::to_bcd6(at).unwrap_or_default());
        body.push(1);
        body
    }

    /// 40.
    pub fn heartbeat(&self, at: Civil) -> Vec<u8> {
        self.build(0x81, 0x40, &civil::to_bcd6(at).unwrap_or_default())
    }

    /// Any frame of this meter.
    pub fn build(&self, control: u8, id: u8, body: &[u8]) -> Vec<u8> {
        frame::build(self.style, self.address, control, id, body)
    }

    /// Takes one frame of the station.
    ///
    /// # Errors
    /// Why a meter would ignore it.
    pub fn receive(&mut self, frame: &[u8]) -> Result<Heard, String> {
        let Frame { address, id, mut body, control, .. } = Frame::parse(frame).map_err(|fault| fault.detail)?;
        if address != self.address || control & 0x80 != 0 {
            return Err("a frame for somebody else".into());
        }
        if body.len() < 8 {
            return Err(format!("{} bytes of body", body.len()));
        }
        match id {
            END if body.len() >= 12 => {
                self.state.yearly = u32::from_be_bytes([body[6], body[7], body[8], body[9]]);
                self.state.price = u16::from_be_bytes([body[10], body[11]]);
                let clock = body.first_chunk().and_then(|packed| civil::from_bcd6(*packed));
                return Ok(Heard::Ended { clock, yearly: self.state.yearly, price: self.state.price });
            }
            COMMUNICATION if body.len() >= 10 => self.communicate(&mut body),
            BUSINESS if body.len() >= 12 && body[0] & 1 != 0 => {
                self.state.balance = i32::from_be_bytes([body[1], body[2], body[3], body[4]]);
            }
            TOTAL => {
                self.state.total = body[..5].iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
                self.state.working_total = self.state.total;
            }
            VALVE if body[0] == 0 => self.state.valve &= !REMOTE,
            VALVE if body[0] == 1 => self.state.valve |= REMOTE,
            BUSINESS | FUNCTIONS => {}
            _ => return Err(format!("request {id:02X}")),
        }
        let answer = self.build(0x84, id, &body);
        Ok(Heard::Requested { id, body, answer })
    }

    /// Length of the station's frame at the start of a stream's bytes; bytes before it count as noise of that length.
    pub fn cut(received: &[u8]) -> Option<usize> {
        match frame::cut(received) {
            Framing::Frame(length) | Framing::Skip(length) => Some(length as usize),
            Framing::Incomplete(_) => None,
            Framing::Foreign => Some(received.len()),
        }
    }

    /// 32: takes what its bits name, and tells everything when it is only asked.
    fn communicate(&mut self, body: &mut [u8]) {
        for (bit, range) in [(1, 0..6), (2, 6..7), (4, 7..9)] {
            if body[0] & bit != 0 {
                self.communication[range.clone()].copy_from_slice(&body[1..10][range]);
            }
        }
        if body[0] & 15 == QUERY {
            body[1..10].copy_from_slice(&self.communication);
        }
    }
}
