//! The envelope of every frame (§B): start, header, body, sum, end.

use crate::check::crc16;
use crate::{BODY_BYTES_MAX, Buffer, FRAME_BYTES_MAX};

pub const HEADER_BYTES: usize = 18;
pub const FRAME_BYTES_MIN: usize = 21;
const START: u8 = 0x68;
const VERSION: u8 = 0x01;
const END: u8 = 0x16;

/// Flag bytes that the two sides may send.
pub mod flags {
    pub const REPORT: u8 = 0x20;
    pub const REPORT_PART: u8 = 0x30;
    pub const ANSWER: u8 = 0x40;
    pub const ANSWER_PART: u8 = 0x50;
    pub const FAREWELL: u8 = 0x80;
    pub const COMMAND: u8 = 0xA0;
    pub const REPLY: u8 = 0xC0;
}

/// Message numbers that a meter knows.
pub mod message {
    pub const HEARTBEAT: u16 = 0x3003;
    pub const REGISTRATION: u16 = 0x3004;
    pub const DAILY: u16 = 0x3043;
    pub const HISTORY: u16 = 0x3046;
    pub const ABNORMAL: u16 = 0x3062;
    pub const SET_CLOCK: u16 = 0x4001;
    pub const SET_SCHEDULE: u16 = 0x4011;
    pub const SET_ENDPOINT: u16 = 0x4012;
    pub const SET_KEY: u16 = 0x4013;
    pub const SET_PARAMETERS: u16 = 0x4014;
    pub const READ_PARAMETERS: u16 = 0x4015;
    pub const READ_NOW: u16 = 0x4021;
    pub const READ_FROZEN: u16 = 0x4022;
    pub const VALVE: u16 = 0x4031;
    pub const RECHARGE: u16 = 0x4041;
    pub const TARIFF: u16 = 0x4042;
    pub const BALANCE: u16 = 0x4043;
    pub const READ_ACCOUNT: u16 = 0x4044;
    pub const UPGRADE_BEGIN: u16 = 0x4051;
    pub const UPGRADE_BLOCK: u16 = 0x4052;
    pub const UPGRADE_ACTIVATE: u16 = 0x4053;
}

/// Bytes 2..16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub message: u16,
    /// 1 meter, 2 concentrator, 3 DTU.
    pub kind: u8,
    pub address: [u8; 7],
    pub sequence: u16,
    pub flags: u8,
    pub security: u8,
}

impl Header {
    pub fn bytes(&self, body_bytes: usize) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..2].copy_from_slice(&[START, VERSION]);
        out[2..4].copy_from_slice(&self.message.to_be_bytes());
        out[4] = self.kind;
        out[5..12].copy_from_slice(&self.address);
        out[12..14].copy_from_slice(&self.sequence.to_le_bytes());
        out[14..16].copy_from_slice(&[self.flags, self.security]);
        out[16..18].copy_from_slice(&(body_bytes as u16).to_le_bytes());
        out
    }

    /// A whole frame around a body as it goes over the wire.
    pub fn frame(&self, body: &[u8], out: &mut Buffer<FRAME_BYTES_MAX>) {
        out.clear();
        out.put(&self.bytes(body.len()));
        out.put(body);
        let crc = crc16(out.as_slice());
        out.u16(crc);
        out.push(END);
    }
}

/// A frame whose envelope is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    pub header: Header,
    pub header_bytes: [u8; HEADER_BYTES],
    /// As on the wire.
    pub body: &'a [u8],
    /// Tells it from others of the same number.
    pub crc: u16,
}

impl<'a> Frame<'a> {
    /// Reads exactly one frame.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header_bytes, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let h = header_bytes;
        let length = usize::from(u16::from_le_bytes([h[16], h[17]]));
        let (body, tail) = rest.split_at_checked(length)?;
        let &[low, high, end] = tail else { return None };
        let crc = u16::from_le_bytes([low, high]);
        let sum = crc16(bytes.get(..HEADER_BYTES + length)?);
        if h[0..2] != [START, VERSION] || length > BODY_BYTES_MAX || end != END || sum != crc {
            return None;
        }
        let header = Header {
            message: u16::from_be_bytes([h[2], h[3]]),
            kind: h[4],
            address: [h[5], h[6], h[7], h[8], h[9], h[10], h[11]],
            sequence: u16::from_le_bytes([h[12], h[13]]),
            flags: h[14],
            security: h[15],
        };
        Some(Self { header, header_bytes: *h, body, crc })
    }
}

/// What stands at the start of received bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    Frame(usize),
    /// So many bytes are noise.
    Skip(usize),
    Incomplete,
}

pub fn cut(received: &[u8]) -> Cut {
    let may_start = |at: &usize| {
        let rest = &received[*at..];
        let length = rest.get(16..HEADER_BYTES).map(|n| usize::from(u16::from_le_bytes([n[0], n[1]])));
        rest.first() == Some(&START)
            && rest.get(1).is_none_or(|v| *v == VERSION)
            && length.is_none_or(|n| n <= BODY_BYTES_MAX)
    };
    match (0..received.len()).find(may_start) {
        None => return if received.is_empty() { Cut::Incomplete } else { Cut::Skip(received.len()) },
        Some(0) => {}
        Some(noise) => return Cut::Skip(noise),
    }
    let Some(length) = received.get(16..HEADER_BYTES) else { return Cut::Incomplete };
    let total = FRAME_BYTES_MIN + usize::from(u16::from_le_bytes([length[0], length[1]]));
    match received.get(..total) {
        None => Cut::Incomplete,
        Some(frame) if Frame::parse(frame).is_some() => Cut::Frame(total),
        Some(_) => Cut::Skip((1..received.len()).find(may_start).unwrap_or(received.len())),
    }
}
