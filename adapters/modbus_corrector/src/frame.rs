//! Modbus RTU frames and how they are cut from a stream. Knows functions and lengths, not what registers mean.
//!
//! ```text
//! read answer   | address 1 | 03 or 04 | byte count 1 | data    | CRC low, high |
//! write answer  | address 1 | 05, 06 or 10 | first 2 | count or value 2 | CRC   |
//! exception     | address 1 | function + 80 | exception code 1 | CRC            |
//! request       | address 1 | function | first 2 | count or value 2 (| byte count 1 | data) | CRC |
//! ```
//! A header of two small numbers is weak evidence: only what the profile can have asked for begins a frame, anything else has to prove itself
//! by its sum. `68 01`, the start of another protocol, is foreign at once unless the profile has a device 104 that is asked for coils.

use crate::options::Profile;
use crate::packet;
use polymeter_sdk::{Fault, Framing, checksum};

pub const READ_HOLDING: u8 = 3;
pub const READ_INPUT: u8 = 4;
pub const WRITE_COIL: u8 = 5;
pub const WRITE_ONE: u8 = 6;
pub const WRITE_MANY: u8 = 16;
pub const EXCEPTION: u8 = 0x80;
/// An exception is the shortest frame.
pub const FRAME_BYTES_MIN: usize = 5;
const WRITE_ANSWER_BYTES: usize = 8;
/// Noise before a frame on RS-485.
const GLITCH_BYTES_MAX: usize = 4;

/// Whether a byte is a function of register or coil access, or its exception.
pub const fn is_function(byte: u8) -> bool {
    matches!(byte & !EXCEPTION, 1..=6 | 15 | 16)
}

/// An answer whose sum fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    pub bus: u8,
    pub function: u8,
    pub body: Body<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    Data(&'a [u8]),
    /// First register or coil, and count or value.
    Written(u16, u16),
    Exception(u8),
}

impl<'a> Answer<'a> {
    /// Reads exactly one answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let Some((body, [low, high])) = bytes.split_last_chunk::<2>() else {
            return Err(Fault::corrupt(format!("{} bytes, but a frame has at least {FRAME_BYTES_MIN}", bytes.len())));
        };
        let (found, computed) = (u16::from_le_bytes([*low, *high]), checksum::crc16_modbus(body));
        if found != computed {
            return Err(Fault::corrupt(format!("CRC: found {found:04x}, expected {computed:04x}")));
        }
        let (bus, function, body) = match *body {
            [bus, function, code] if function & EXCEPTION != 0 => (bus, function & !EXCEPTION, Body::Exception(code)),
            [bus, function @ (READ_HOLDING | READ_INPUT), count, ref data @ ..] if data.len() == usize::from(count) => {
                (bus, function, Body::Data(data))
            }
            [bus, function @ (WRITE_COIL | WRITE_ONE | WRITE_MANY), a, b, c, d] => {
                (bus, function, Body::Written(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            [_, READ_HOLDING | READ_INPUT, count, ref data @ ..] => {
                return Err(Fault::corrupt(format!("byte count at byte 2: {count}, but {} are there", data.len())));
            }
            [_, function, ..] => {
                return Err(Fault::corrupt(format!(
                    "function {function:02X} with {} bytes is no answer to what the station asks",
                    bytes.len()
                )));
            }
            _ => return Err(Fault::corrupt("shorter than a header")),
        };
        Ok(Self { bus, function, body })
    }
}

/// A frame of these bytes and their sum.
pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = checksum::crc16_modbus(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// What lies at the start of `received`.
pub fn cut(profile: &Profile, received: &[u8]) -> Framing {
    let mut wanting = None;
    for packet in profile.packets() {
        match packet.look(received) {
            packet::Look::Whole(length) => return Framing::Frame(length as u32),
            packet::Look::Wanting(bytes) => wanting = Some(wanting.map_or(bytes, |w: usize| w.min(bytes))),
            packet::Look::No => {}
        }
    }
    match look(profile, received) {
        Look::Whole(length) => return Framing::Frame(length as u32),
        Look::Damaged(length) => {
            // Handed on, so that it is kept as one; unless a whole frame has come in the meantime.
            let whole = whole_behind(profile, received, length, Also::Nothing);
            return whole.unwrap_or(Framing::Frame(length as u32));
        }
        Look::Wanting(bytes) => {
            // What is all here is worth more than the promise of something longer. A packet's few bytes prove nothing among data.
            let whole = whole_behind(profile, received, received.len(), Also::Nothing);
            let bytes = wanting.map_or(bytes, |w| w.min(bytes));
            return whole.unwrap_or(Framing::Incomplete(bytes.max(1) as u32));
        }
        Look::No => {}
    }
    if let Some(bytes) = wanting {
        return Framing::Incomplete(bytes.max(1) as u32);
    }
    if let Some(skip) = whole_behind(profile, received, received.len(), Also::Packets) {
        return skip;
    }
    let glitch = received.iter().take_while(|b| matches!(b, 0 | 0xFF)).count();
    if glitch > 0 && glitch <= GLITCH_BYTES_MAX {
        let behind = &received[glitch..];
        return match look(profile, behind) {
            _ if behind.is_empty() => Framing::Incomplete(FRAME_BYTES_MIN as u32),
            Look::No => Framing::Foreign,
            _ => Framing::Skip(glitch as u32),
        };
    }
    Framing::Foreign
}

enum Look {
    Whole(usize),
    Wanting(usize),
    /// The header is one that the profile can have asked for, the sum does not fit.
    Damaged(usize),
    No,
}

fn look(profile: &Profile, bytes: &[u8]) -> Look {
    let &[bus, ref rest @ ..] = bytes else { return Look::No };
    if bus == 0 || bus > 247 {
        return Look::No;
    }
    let expected = profile.asks(bus, rest.first().copied(), rest.get(1).copied());
    let total = match rest {
        [] | [READ_HOLDING | READ_INPUT] => FRAME_BYTES_MIN,
        [READ_HOLDING | READ_INPUT, count, ..] => FRAME_BYTES_MIN + usize::from(*count),
        [WRITE_COIL | WRITE_ONE | WRITE_MANY, ..] => WRITE_ANSWER_BYTES,
        [function, ..] if function & EXCEPTION != 0 && is_function(*function) => FRAME_BYTES_MIN,
        _ => return Look::No,
    };
    let Some(frame) = bytes.get(..total) else {
        return if expected { Look::Wanting(total - bytes.len()) } else { Look::No };
    };
    let (body, sum) = frame.split_at(total - 2);
    match checksum::crc16_modbus(body).to_le_bytes() == sum {
        true => Look::Whole(total),
        false if expected => Look::Damaged(total),
        false => Look::No,
    }
}

#[derive(Clone, Copy)]
enum Also {
    Nothing,
    Packets,
}

/// Skips to the first frame that is whole and begins before `end`.
fn whole_behind(profile: &Profile, bytes: &[u8], end: usize, also: Also) -> Option<Framing> {
    let packet =
        |rest: &[u8]| profile.packets().any(|p| p.is_marked() && matches!(p.look(rest), packet::Look::Whole(_)));
    let whole = |at: &usize| {
        let rest = &bytes[*at..];
        matches!(look(profile, rest), Look::Whole(_)) || matches!(also, Also::Packets) && packet(rest)
    };
    (1..end).find(whole).map(|at| Framing::Skip(at as u32))
}
