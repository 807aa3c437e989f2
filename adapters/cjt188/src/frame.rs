//! The frame: wrapper and preamble before it, header, operands, sum. Knows nothing of what the operands mean.
//!
//! ```text
//! | wrapper 0..16 | FE × 0..n | 68 | T 1 | A0..A6 7 | C 1 | L 1 | DATA L | CS 1 | 16 |
//! ```

use crate::options::{Options, Wrapper};
use polymeter_sdk::{Fault, Framing, bcd, checksum::sum8};

pub const START: u8 = 0x68;
pub const END: u8 = 0x16;
pub const PREAMBLE: u8 = 0xFE;
/// Header up to L.
pub const HEADER_BYTES: usize = 11;
/// A frame without operands.
pub const OVERHEAD_BYTES: usize = 13;
/// Type and address bytes of a request that any meter answers.
pub const ANY: u8 = 0xAA;
/// Address bytes of a request to all meters of a line. None answers, and none has this address.
pub const ALL: u8 = 0x99;
/// Preamble bytes looked back over; a longer run is noise.
const PREAMBLE_SEEN_MAX: usize = 32;

/// What DTUs and radio modules put before the preamble, the longer first.
const PREFIXES: [&[u8]; 6] = [
    &[0xFF, 0x07, 0x8D, 0x98, 0x10, 0x00, 0x00, 0x00, 0x03],
    &[0xFF, 0x07, 0x8D, 0x98, 0x10, 0x00, 0x00, 0x00, 0x05],
    &[0x02, 0x00, 0x00, 0xFF, 0x00, 0x57, 0x1F, 0x93],
    &[0x00, 0x05],
    &[0xFF, 0xFF],
    &[0xF3],
];

pub mod control {
    pub const READ: u8 = 0x01;
    pub const READ_ADDRESS: u8 = 0x03;
    pub const WRITE: u8 = 0x04;
    pub const READ_KEY: u8 = 0x09;
    pub const WRITE_ADDRESS: u8 = 0x15;
    pub const WRITE_BASE: u8 = 0x16;

    pub const ANSWER: u8 = 0x80;
    pub const ERROR: u8 = 0x40;
    /// 2018: another frame of this answer follows. 2004: part of the function.
    pub const FOLLOWED: u8 = 0x20;

    /// The standard's functions.
    pub const fn is_standard(function: u8) -> bool {
        matches!(function, READ | READ_ADDRESS | WRITE | READ_KEY | WRITE_ADDRESS | WRITE_BASE)
    }
}

/// A whole frame whose sum fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    pub meter_type: u8,
    /// As on the wire, A0 first.
    pub address: [u8; 7],
    pub control: u8,
    pub data: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads exactly one frame, with or without wrapper and preamble.
    pub fn parse(bytes: &'a [u8], prefix: &[u8]) -> Result<Self, Fault> {
        let at = lead(bytes, prefix);
        let frame = bytes.get(at..).unwrap_or_default();
        if frame.first() != Some(&START) {
            return Err(Fault::not_mine("no 68 after wrapper and preamble"));
        }
        if !is_plausible(frame) {
            return Err(Fault::not_mine("type, address or control are none of CJ/T 188"));
        }
        let Some((header, rest)) = frame.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Fault::corrupt(format!("{} bytes, but a frame has at least {OVERHEAD_BYTES}", frame.len())));
        };
        let length = usize::from(header[10]);
        let &[ref data @ .., sum, end] = rest else {
            return Err(Fault::corrupt(format!("{} bytes, but a frame has at least {OVERHEAD_BYTES}", frame.len())));
        };
        if data.len() != length {
            return Err(Fault::corrupt(format!("length at byte {}: {length}, but {} are there", at + 10, data.len())));
        }
        if end != END {
            return Err(Fault::corrupt(format!("end byte: found {end:02x}, expected 16")));
        }
        let computed = sum8(&frame[..HEADER_BYTES + length]);
        if sum != computed {
            return Err(Fault::corrupt(format!("check sum: found {sum:02x}, expected {computed:02x}")));
        }
        let [_, meter_type, a0, a1, a2, a3, a4, a5, a6, control, _] = *header;
        Ok(Self { meter_type, address: [a0, a1, a2, a3, a4, a5, a6], control, data })
    }

    /// The bare frame.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(OVERHEAD_BYTES + self.data.len());
        self.write(&mut frame);
        frame
    }

    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[START, self.meter_type]);
        out.extend_from_slice(&self.address);
        out.extend_from_slice(&[self.control, self.data.len() as u8]);
        out.extend_from_slice(self.data);
        out.push(sum8(&out[start..]));
        out.push(END);
    }

    /// As this profile sends it: wrapper, preamble, frame. `keeps` says that it asks a module for what it keeps.
    pub fn wrap(&self, options: &Options, keeps: bool) -> Vec<u8> {
        let prefix: &[u8] = match options.wrapper {
            _ if !options.prefix.is_empty() => &options.prefix,
            Wrapper::None => &[],
            Wrapper::Aimeitong if keeps => PREFIXES[1],
            Wrapper::Aimeitong => PREFIXES[0],
            Wrapper::DtuCloud => PREFIXES[2],
            Wrapper::Jiexun => PREFIXES[3],
            Wrapper::DtuLan => PREFIXES[5],
        };
        let mut out = Vec::with_capacity(prefix.len() + options.preamble + OVERHEAD_BYTES + self.data.len());
        out.extend_from_slice(prefix);
        out.resize(out.len() + options.preamble, PREAMBLE);
        self.write(&mut out);
        out
    }

    /// The printed address, 14 digits; `None` when it is not BCD.
    pub fn printed(&self) -> Option<String> {
        let mut high_first = self.address;
        high_first.reverse();
        bcd::digits(&high_first)
    }
}

/// The address bytes of 14 printed digits.
pub fn address_bytes(digits: &str) -> Option<[u8; 7]> {
    let mut address = bcd::pack_digits::<7>(digits).filter(|_| digits.len() == 14)?;
    address.reverse();
    Some(address)
}

/// What lies at the start of `received`. `prefix` is the profile's own wrapper.
pub fn cut(received: &[u8], prefix: &[u8]) -> Framing {
    let at = lead(received, prefix);
    match look(&received[at..]) {
        Look::Whole(length) => return Framing::Frame((at + length) as u32),
        // A frame that is all here is worth more than the promise of a longer one.
        Look::Wanting(bytes) => return skip_to_whole(received, at + 1, prefix).unwrap_or(Framing::Incomplete(bytes)),
        // All here and damaged: handed on, so that it is kept as one. Unless its length is what is damaged.
        Look::Damaged(length) => {
            let whole = skip_to_whole(&received[..at + length], at + 1, prefix);
            return whole.unwrap_or(Framing::Frame((at + length) as u32));
        }
        Look::No => {}
    }
    let wants_more = if at == received.len() { at <= PREAMBLE_SEEN_MAX } else { begins_prefix(received, prefix) };
    if wants_more {
        return Framing::Incomplete(OVERHEAD_BYTES as u32);
    }
    for start in at + 1..received.len() {
        if received[start] == START && !matches!(look(&received[start..]), Look::No) {
            return Framing::Skip(behind(received, start, prefix).max(1) as u32);
        }
    }
    // Fewer bytes than any frame has, and no 68: an opaque wrapper may come in a piece of its own.
    if received.len() < OVERHEAD_BYTES && received[at..].first() != Some(&START) {
        return Framing::Incomplete((OVERHEAD_BYTES - received.len()) as u32);
    }
    let preamble = received.iter().rev().take(PREAMBLE_SEEN_MAX).take_while(|b| **b == PREAMBLE).count();
    if preamble > 0 {
        return Framing::Skip((received.len() - preamble) as u32);
    }
    Framing::Foreign
}

enum Look {
    Whole(usize),
    /// So many bytes more.
    Wanting(u32),
    /// Header and end fit, the sum does not.
    Damaged(usize),
    No,
}

/// What stands at the start of these bytes, without wrapper and preamble.
fn look(bytes: &[u8]) -> Look {
    if !is_plausible(bytes) {
        return Look::No;
    }
    let Some(length) = bytes.get(10) else { return Look::Wanting((OVERHEAD_BYTES - bytes.len()) as u32) };
    let total = OVERHEAD_BYTES + usize::from(*length);
    // `68 L L 68` is how an M-Bus frame begins; only its sum could make it one of ours.
    let foreign = bytes[3] == START && bytes[1] == bytes[2];
    let Some(frame) = bytes.get(..total) else {
        return if foreign { Look::No } else { Look::Wanting((total - bytes.len()) as u32) };
    };
    match (frame[total - 1] == END, frame[total - 2] == sum8(&frame[..total - 2])) {
        (true, true) => Look::Whole(total),
        (true, false) if !foreign => Look::Damaged(total),
        _ => Look::No,
    }
}

/// Whether bytes can be the start of a frame, as far as they go: type of one of the families, address of decimal digits or a
/// wildcard, a function.
fn is_plausible(bytes: &[u8]) -> bool {
    let is_type = |t: u8| t == ANY || matches!(t >> 4, 1..=4) && t & 15 <= 9;
    bytes.first() == Some(&START)
        && bytes.get(1).is_none_or(|t| is_type(*t))
        && bytes
            .get(2..bytes.len().min(9))
            .is_none_or(|a| a.iter().all(|b| *b == ANY) || a.iter().all(|b| bcd::byte(*b).is_some()))
        && bytes.get(9).is_none_or(|control| control & 0x1F != 0)
}

/// Bytes of wrapper and preamble at the start.
fn lead(bytes: &[u8], own: &[u8]) -> usize {
    let known = |p: &&[u8]| !p.is_empty() && bytes.starts_with(p);
    let prefix = std::iter::once(own).chain(PREFIXES).find(known).map_or(0, <[u8]>::len);
    prefix + bytes[prefix..].iter().take(PREAMBLE_SEEN_MAX).take_while(|b| **b == PREAMBLE).count()
}

/// Whether these few bytes may grow into a known wrapper.
fn begins_prefix(bytes: &[u8], own: &[u8]) -> bool {
    std::iter::once(own).chain(PREFIXES).any(|p| p.len() > bytes.len() && p.starts_with(bytes))
}

/// Where wrapper and preamble of the frame at `start` begin.
fn behind(bytes: &[u8], start: usize, own: &[u8]) -> usize {
    let preamble = bytes[..start].iter().rev().take(PREAMBLE_SEEN_MAX).take_while(|b| **b == PREAMBLE).count();
    let before = &bytes[..start - preamble];
    let prefix = std::iter::once(own).chain(PREFIXES).find(|p| !p.is_empty() && before.ends_with(p));
    before.len() - prefix.map_or(0, <[u8]>::len)
}

/// Skips to the first frame that is whole, if there is one from `from` on.
fn skip_to_whole(bytes: &[u8], from: usize, own: &[u8]) -> Option<Framing> {
    let start = (from..bytes.len()).find(|at| bytes[*at] == START && matches!(look(&bytes[*at..]), Look::Whole(_)))?;
    Some(Framing::Skip(behind(bytes, start, own).max(1) as u32))
}
