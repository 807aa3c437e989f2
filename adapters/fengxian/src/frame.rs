//! The 16-byte header, the sum, the XOR and the cutting of frames out of bytes. What a body means is not known here.
//!
//! ```text
//!  0    1          3           5        6          13        14       15       16     16+n  17+n
//! +----+----------+-----------+--------+----------+---------+--------+--------+------+-----+-------+
//! | 69 | length   | version   | vendor | address  | control | dataId | mode   | body | sum | 16/17 |
//! |    | u16 ?E   | u16 BE    | BCD    | 7 BCD    | 01 04 81 84      | 00, 01 |  n   |     |       |
//! +----+----------+-----------+--------+----------+---------+--------+--------+------+-----+-------+
//! ```
//! The length counts the whole frame in a byte order that nobody has written down; no frame is so long that both could be meant.
//! The sum covers everything before it, as transmitted. It sees every single flipped bit, and misses two that cancel out.

use polymeter_sdk::checksum::sum8;
use polymeter_sdk::{Fault, Framing, bcd};

pub const START: u8 = 0x69;
const ENDS: [u8; 2] = [0x17, 0x16];
const HEADER_BYTES: usize = 16;
/// A frame without body.
pub const OVERHEAD_BYTES: usize = 18;
/// Longest frame taken for possible: the report has 194 bytes, 202 with a padding block.
pub const FRAME_BYTES_MAX: usize = 320;
/// What bodies are XOR-ed with, of every meter alike: it hides nothing.
const XOR: [u8; 8] = *b"SHFXRQGS";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthOrder {
    BigEndian,
    LittleEndian,
}

/// How a meter writes its frames: what an answer to it mirrors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    pub order: LengthOrder,
    pub end: u8,
    pub version: [u8; 2],
    pub vendor: u8,
    /// Mode 01; 00 is plain.
    pub masked: bool,
}

impl Default for Style {
    /// Before a meter has spoken.
    fn default() -> Self {
        Self { order: LengthOrder::BigEndian, end: 0x17, version: [1, 0], vendor: 0, masked: true }
    }
}

/// A whole frame whose sum fits, its body in clear.
#[derive(Clone, Debug)]
pub struct Frame {
    pub style: Style,
    pub address: [u8; 7],
    pub control: u8,
    pub id: u8,
    pub body: Vec<u8>,
}

impl Frame {
    pub const fn is_uplink(&self) -> bool {
        self.control & 0x80 != 0
    }

    /// Reads exactly one frame.
    pub fn parse(frame: &[u8]) -> Result<Self, Fault> {
        if !is_plausible(frame) {
            return Err(Fault::not_mine("the header is none of the Fengxian frame"));
        }
        let len = frame.len();
        let (Some(head), true) = (frame.first_chunk::<HEADER_BYTES>(), len >= OVERHEAD_BYTES) else {
            return Err(Fault::corrupt(format!("{len} bytes, but a frame has at least {OVERHEAD_BYTES}")));
        };
        let order = match total(head[1], head[2]) {
            Some((total, order)) if total == len => order,
            _ => {
                let said = u16::from_be_bytes([head[1], head[2]]);
                return Err(Fault::corrupt(format!("length at byte 1: {said:04x}, but the frame has {len} bytes")));
            }
        };
        let end = frame[len - 1];
        if !ENDS.contains(&end) {
            return Err(Fault::corrupt(format!("end byte at {}: found {end:02x}, expected 17 or 16", len - 1)));
        }
        let (found, computed) = (frame[len - 2], sum8(&frame[..len - 2]));
        if found != computed {
            return Err(Fault::corrupt(format!("sum: found {found:02x}, expected {computed:02x}")));
        }
        let masked = head[15] == 1;
        let mut body = frame[HEADER_BYTES..len - 2].to_vec();
        if masked {
            mask(&mut body);
        }
        let mut address = [0; 7];
        address.copy_from_slice(&head[6..13]);
        let style = Style { order, end, version: [head[3], head[4]], vendor: head[5], masked };
        Ok(Self { style, address, control: head[13], id: head[14], body })
    }
}

/// Writes a frame around a body in clear, filled up to whole blocks with zeros.
pub fn build(style: Style, address: [u8; 7], control: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let filled = body.len().next_multiple_of(8);
    let total = OVERHEAD_BYTES + filled;
    let mut frame = Vec::with_capacity(total);
    frame.push(START);
    frame.extend_from_slice(&match style.order {
        LengthOrder::BigEndian => (total as u16).to_be_bytes(),
        LengthOrder::LittleEndian => (total as u16).to_le_bytes(),
    });
    frame.extend_from_slice(&style.version);
    frame.push(style.vendor);
    frame.extend_from_slice(&address);
    frame.extend_from_slice(&[control, id, u8::from(style.masked)]);
    frame.extend_from_slice(body);
    frame.resize(HEADER_BYTES + filled, 0);
    if style.masked {
        mask(&mut frame[HEADER_BYTES..]);
    }
    frame.extend_from_slice(&[sum8(&frame), style.end]);
    frame
}

/// What lies at the start of `received`.
pub fn cut(received: &[u8]) -> Framing {
    match (0..received.len()).find(|at| is_plausible(&received[*at..])) {
        None => Framing::Foreign,
        Some(0) => cut_here(received),
        Some(noise) => Framing::Skip(noise as u32),
    }
}

fn cut_here(received: &[u8]) -> Framing {
    let len = received.len();
    if len < OVERHEAD_BYTES {
        return Framing::Incomplete((OVERHEAD_BYTES - len) as u32);
    }
    let Some((total, _)) = total(received[1], received[2]) else { return Framing::Foreign };
    match received.get(total - 1) {
        None => Framing::Incomplete((total - len) as u32),
        // Whole, or damaged and kept as one.
        Some(end) if ENDS.contains(end) => Framing::Frame(total as u32),
        Some(_) => {
            let next = (1..len).find(|at| is_plausible(&received[*at..]));
            Framing::Skip(next.unwrap_or(len) as u32)
        }
    }
}

/// The length in the one order that makes a possible frame.
fn total(first: u8, second: u8) -> Option<(usize, LengthOrder)> {
    let possible =
        |bytes| Some(usize::from(u16::from_be_bytes(bytes))).filter(|n| (OVERHEAD_BYTES..=FRAME_BYTES_MAX).contains(n));
    let big = possible([first, second]).map(|n| (n, LengthOrder::BigEndian));
    big.or_else(|| possible([second, first]).map(|n| (n, LengthOrder::LittleEndian)))
}

/// Whether bytes can be the start of a frame, as far as they go. The vendor's number is only echoed, so it may be any byte.
fn is_plausible(bytes: &[u8]) -> bool {
    let fits = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|b| test(*b));
    bytes.first() == Some(&START)
        && bytes.get(1..3).is_none_or(|l| total(l[0], l[1]).is_some())
        && (6..13).all(|at| fits(at, |b| bcd::byte(b).is_some()))
        && fits(13, |control| matches!(control, 0x01 | 0x04 | 0x81 | 0x84))
        && fits(14, |id| matches!(id, 0x32..=0x40))
        && fits(15, |mode| mode <= 1)
}

fn mask(body: &mut [u8]) {
    for (byte, key) in body.iter_mut().zip(XOR.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_can_be_meant_in_both_orders() {
        for n in OVERHEAD_BYTES..=FRAME_BYTES_MAX {
            let [high, low] = (n as u16).to_be_bytes();
            assert_eq!(total(high, low), Some((n, LengthOrder::BigEndian)));
            let swapped = usize::from(u16::from_be_bytes([low, high]));
            if swapped != n {
                assert!(!(OVERHEAD_BYTES..=FRAME_BYTES_MAX).contains(&swapped), "{n}");
                assert_eq!(total(low, high), Some((n, LengthOrder::LittleEndian)));
            }
        }
    }
}
