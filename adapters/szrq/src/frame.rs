//! The 29-byte header, the check sum and the cutting of frames out of bytes. What a body means is not known here.
//!
//! ```text
//!  0    1        2         3     5          6        7     8             9         29           31        47     47+n  49+n
//! +----+--------+---------+-----+----------+--------+-----+-------------+---------+------------+---------+------+-----+----+
//! | 68 | source | hasMore | mid | protocol | vendor | cmd | encryptFlag | iccid   | dataLength | commSn  | body | crc | 16 |
//! |    | 0..3   | 0/1     | u16 | 1        |        |     | 0/1         | 20 ASCII| u16        | 16 ASCII| n    | u16 |    |
//! +----+--------+---------+-----+----------+--------+-----+-------------+---------+------------+---------+------+-----+----+
//! ```
//! dataLength counts the whole frame; makers who took its name literally count n + 16 or n, which is believed when the check
//! sum proves it.

use crate::code;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{Fault, Framing};

pub const START: u8 = 0x68;
pub const END: u8 = 0x16;
/// Everything before the body: header, length and communication number.
pub const BODY_AT: usize = 47;
/// A frame without body.
pub const OVERHEAD_BYTES: usize = 50;
/// Longest body taken for possible: the meter's whole log of 100 records has 1,649 bytes.
pub const BODY_BYTES_MAX: usize = 2048;
/// Bytes until the length is known.
const LENGTH_END: usize = 31;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    DeviceRequest,
    DeviceResponse,
    PlatformRequest,
    PlatformResponse,
}

impl Source {
    pub const fn is_device(self) -> bool {
        matches!(self, Self::DeviceRequest | Self::DeviceResponse)
    }

    const fn number(self) -> u8 {
        match self {
            Self::DeviceRequest => 0,
            Self::DeviceResponse => 1,
            Self::PlatformRequest => 2,
            Self::PlatformResponse => 3,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub source: Source,
    pub has_more: bool,
    pub mid: u16,
    pub vendor: u8,
    pub command: u8,
    pub iccid: [u8; 20],
    pub comm_sn: [u8; 16],
}

impl Header {
    /// The communication number as text; `parse` has checked that it is letters and digits.
    pub fn address(&self) -> &str {
        std::str::from_utf8(&self.comm_sn).unwrap_or_default()
    }
}

/// A whole frame whose check sum fits.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub header: Header,
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads exactly one frame.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Fault> {
        if !is_plausible(frame) {
            return Err(Fault::not_mine("the header is none of the Shenzhen gas frame"));
        }
        let len = frame.len();
        let (Some((head, _)), Some(body_end)) =
            (frame.split_first_chunk::<BODY_AT>(), len.checked_sub(3).filter(|end| *end >= BODY_AT))
        else {
            return Err(Fault::corrupt(format!("{len} bytes, but a frame has at least {OVERHEAD_BYTES}")));
        };
        if len > OVERHEAD_BYTES + BODY_BYTES_MAX {
            return Err(Fault::corrupt(format!("{len} bytes, but a body has at most {BODY_BYTES_MAX}")));
        }
        if frame[len - 1] != END {
            return Err(Fault::corrupt(format!("end byte at {}: found {:02x}, expected 16", len - 1, frame[len - 1])));
        }
        let found = u16::from_le_bytes([frame[body_end], frame[body_end + 1]]);
        let computed = crc16_modbus(&frame[..body_end]);
        if found != computed {
            return Err(Fault::corrupt(format!("check sum: found {found:04x}, expected {computed:04x}")));
        }
        let said = said_length(head);
        if !totals(said).contains(&Some(len)) {
            return Err(Fault::corrupt(format!("length at byte 29: {said}, but the frame has {len} bytes")));
        }
        let header = read_header(head)?;
        Ok(Self { header, body: &frame[BODY_AT..body_end] })
    }
}

/// Writes a frame; length and check sum follow from the rest.
pub fn build(header: &Header, body: &[u8]) -> Vec<u8> {
    let total = OVERHEAD_BYTES + body.len();
    let mut frame = Vec::with_capacity(total);
    frame.extend_from_slice(&[START, header.source.number(), u8::from(header.has_more)]);
    frame.extend_from_slice(&header.mid.to_le_bytes());
    frame.extend_from_slice(&[1, header.vendor, header.command, 0]);
    frame.extend_from_slice(&header.iccid);
    frame.extend_from_slice(&(total as u16).to_le_bytes());
    frame.extend_from_slice(&header.comm_sn);
    frame.extend_from_slice(body);
    let crc = crc16_modbus(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.push(END);
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

/// Length of the frame at the start of `received`, which begins like one.
fn cut_here(received: &[u8]) -> Framing {
    let len = received.len();
    let (Some(head), true) = (received.first_chunk::<LENGTH_END>(), len >= OVERHEAD_BYTES) else {
        return Framing::Incomplete((OVERHEAD_BYTES - len) as u32);
    };
    let candidates = totals(u16::from_le_bytes([head[29], head[30]]));
    if let Some(total) = candidates.into_iter().flatten().find(|total| fits(received, *total)) {
        return Framing::Frame(total as u32);
    }
    // Not all here, or damaged. What the command always has decides; else the length as the protocol means it.
    let known = code::body_bytes(head[1] <= 1, head[7]).map(|body| OVERHEAD_BYTES + body);
    let wanted = known.filter(|known| candidates.contains(&Some(*known))).or(candidates[0]).or(candidates[1]);
    match wanted.or(candidates[2]) {
        Some(total) if total > len => Framing::Incomplete((total - len) as u32),
        // All here and damaged: handed on as a frame, so that it is kept as one.
        Some(total) if received[total - 1] == END => Framing::Frame(total as u32),
        _ => match known {
            Some(total) if received.get(total - 1) == Some(&END) => Framing::Frame(total as u32),
            _ => {
                let next = (1..len).find(|at| is_plausible(&received[*at..]));
                Framing::Skip(next.unwrap_or(len) as u32)
            }
        },
    }
}

/// Frame lengths that a length field can mean, the proper reading first: the frame, body and communication number, the body.
fn totals(said: u16) -> [Option<usize>; 3] {
    let said = usize::from(said);
    [Some(said), said.checked_sub(16).map(|n| OVERHEAD_BYTES + n), Some(OVERHEAD_BYTES + said)]
        .map(|total| total.filter(|t| (OVERHEAD_BYTES..=OVERHEAD_BYTES + BODY_BYTES_MAX).contains(t)))
}

/// Whether a whole frame of so many bytes stands at the start.
fn fits(received: &[u8], total: usize) -> bool {
    received.get(..total).is_some_and(|frame| {
        let (covered, tail) = frame.split_at(total - 3);
        tail[2] == END && crc16_modbus(covered).to_le_bytes() == tail[..2]
    })
}

/// Whether bytes can be the start of a frame, as far as they go: what tells this protocol from others that begin with 68.
fn is_plausible(bytes: &[u8]) -> bool {
    let within = |at: usize, most: u8| bytes.get(at).is_none_or(|b| *b <= most);
    bytes.first() == Some(&START)
        && within(1, 3)
        && within(2, 1)
        && bytes.get(7).is_none_or(|command| code::is_of_protocol(*command))
        && within(8, 1)
        && bytes.get(9..bytes.len().min(29)).is_none_or(|iccid| iccid.iter().all(|b| is_iccid(*b)))
        && bytes.get(31..bytes.len().min(BODY_AT)).is_none_or(|sn| sn.iter().all(u8::is_ascii_alphanumeric))
}

/// A module that could not read its card leaves blanks, zeros or ones.
const fn is_iccid(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, 0 | b' ' | 0xFF)
}

fn said_length(head: &[u8; BODY_AT]) -> u16 {
    u16::from_le_bytes([head[29], head[30]])
}

fn read_header(head: &[u8; BODY_AT]) -> Result<Header, Fault> {
    let source = match head[1] {
        0 => Source::DeviceRequest,
        1 => Source::DeviceResponse,
        2 => Source::PlatformRequest,
        3 => Source::PlatformResponse,
        other => return Err(Fault::corrupt(format!("source at byte 1: {other} is not within 0..3"))),
    };
    if head[5] != 1 {
        return Err(Fault::corrupt(format!("protocol version at byte 5: {}, but only 1 is known", head[5])));
    }
    if head[8] != 0 {
        return Err(Fault::not_authentic("the body is encrypted (byte 8), and the algorithm is not public"));
    }
    let (mut iccid, mut comm_sn) = ([0; 20], [0; 16]);
    iccid.copy_from_slice(&head[9..29]);
    comm_sn.copy_from_slice(&head[31..BODY_AT]);
    Ok(Header {
        source,
        has_more: head[2] != 0,
        mid: u16::from_le_bytes([head[3], head[4]]),
        vendor: head[6],
        command: head[7],
        iccid,
        comm_sn,
    })
}
