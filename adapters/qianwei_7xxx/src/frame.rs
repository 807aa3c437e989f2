//! The 60-byte header, the check sum and the cutting of frames out of a stream. What a body means is not known here.
//!
//! ```text
//!  0      1          3         4         8         10        12           32
//! +----+-----------+---------+---------+---------+---------+------------+------------+
//! | 68 |frameLength| hasMore | frameId | version | command | meterId    | iccid      |
//! |    |  u16      |  0/1    |  i32    |  u16    |  u16    | 20 ASCII   | 20 ASCII   |
//! +----+-----------+---------+---------+---------+---------+------------+------------+
//!  52         53         54        56          58          60      60+n   62+n
//! +-----------+----------+---------+-----------+-----------+------+------+----+
//! | direction | respFlag | 00 00   |encryption | dataLength| body | crc  | 16 |
//! | 1 up 0 dn |          |         |  u16      |  u16 = n  | n    | u16  |    |
//! +-----------+----------+---------+-----------+-----------+------+------+----+
//! ```
//! Integers are little-endian, except that the CRC goes high byte first from the meter and low byte first to it. Devices are
//! sloppy with frameLength, hasMore and dataLength, so a frame is where check sum and end byte say it is.

use crate::code;
use crate::options::{CrcOrder, Options};
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::{Fault, Framing};

pub const START: u8 = 0x68;
pub const END: u8 = 0x16;
pub const HEADER_BYTES: usize = 60;
/// A frame without body.
pub const OVERHEAD_BYTES: usize = 63;
/// Longest body taken for possible; the longest known one has 160 bytes, packed reports and frozen data are open.
pub const BODY_BYTES_MAX: usize = 2048;
/// 0 in all places: what a downlink carries instead of an ICCID, which meters ignore.
pub const NO_ICCID: [u8; 20] = *b"00000000000000000000";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Uplink,
    Downlink,
}

/// Order of the two check sum bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    LowFirst,
    HighFirst,
}

impl Way {
    pub const fn crc_order(self) -> Order {
        self.crc_orders().0
    }

    /// The proper order and the other one.
    const fn crc_orders(self) -> (Order, Order) {
        match self {
            Self::Uplink => (Order::HighFirst, Order::LowFirst),
            Self::Downlink => (Order::LowFirst, Order::HighFirst),
        }
    }
}

/// What is worth knowing of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub has_more: bool,
    pub frame_id: i32,
    pub version: u16,
    pub command: u16,
    pub meter_id: [u8; 20],
    pub iccid: [u8; 20],
    pub way: Way,
    pub resp_flag: u8,
    pub encryption: u16,
    /// As the sender says; on receiving, not necessarily true.
    pub data_length: u16,
}

impl Header {
    /// The meter number as text; `parse` has checked that it is letters and digits.
    pub fn address(&self) -> &str {
        std::str::from_utf8(&self.meter_id).unwrap_or_default()
    }
}

/// A whole frame whose check sum fits.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub header: Header,
    /// As transmitted, so encrypted where the meter encrypts.
    pub body: &'a [u8],
    pub order: Order,
}

impl<'a> Frame<'a> {
    /// Reads exactly one frame.
    pub fn parse(frame: &'a [u8], accepted: CrcOrder) -> Result<Self, Fault> {
        if !is_plausible(frame) {
            return Err(Fault::not_mine("the header is none of the 7xxx family"));
        }
        let len = frame.len();
        let (Some((header, _)), Some(([sum @ .., end], body_end))) =
            (frame.split_first_chunk::<HEADER_BYTES>(), tail(frame))
        else {
            return Err(Fault::corrupt(format!("{len} bytes, but a frame has at least {OVERHEAD_BYTES}")));
        };
        if len > OVERHEAD_BYTES + BODY_BYTES_MAX {
            return Err(Fault::corrupt(format!("{len} bytes, but a body has at most {BODY_BYTES_MAX}")));
        }
        if end != END {
            return Err(Fault::corrupt(format!("end byte at {}: found {end:02x}, expected 16", len - 1)));
        }
        let header = read_header(header)?;
        let crc = crc16_modbus(&frame[..body_end]);
        let order = sum_order(crc, sum, header.way, accepted).ok_or_else(|| sum_fault(crc, sum, header.way))?;
        Ok(Self { header, body: &frame[HEADER_BYTES..body_end], order })
    }
}

/// What frameLength says, which is nothing to rely on.
pub fn said_length(frame: &[u8]) -> usize {
    frame.get(1..3).map_or(0, |l| usize::from(u16::from_le_bytes([l[0], l[1]])))
}

/// Writes a frame; the length fields and the check sum follow from the rest.
pub fn build(header: &Header, body: &[u8]) -> Vec<u8> {
    let total = OVERHEAD_BYTES + body.len();
    let mut frame = Vec::with_capacity(total);
    frame.push(START);
    frame.extend_from_slice(&(total as u16).to_le_bytes());
    frame.push(u8::from(header.has_more));
    frame.extend_from_slice(&header.frame_id.to_le_bytes());
    frame.extend_from_slice(&header.version.to_le_bytes());
    frame.extend_from_slice(&header.command.to_le_bytes());
    frame.extend_from_slice(&header.meter_id);
    frame.extend_from_slice(&header.iccid);
    frame.extend_from_slice(&[u8::from(header.way == Way::Uplink), header.resp_flag, 0, 0]);
    frame.extend_from_slice(&header.encryption.to_le_bytes());
    frame.extend_from_slice(&header.data_length.to_le_bytes());
    frame.extend_from_slice(body);
    let crc = crc16_modbus(&frame);
    frame.extend_from_slice(&match header.way.crc_order() {
        Order::LowFirst => crc.to_le_bytes(),
        Order::HighFirst => crc.to_be_bytes(),
    });
    frame.push(END);
    frame
}

/// What lies at the start of `received`.
pub fn cut(received: &[u8], options: &Options) -> Framing {
    match (0..received.len()).find(|at| is_plausible(&received[*at..])) {
        None => Framing::Foreign,
        Some(0) => cut_here(received, options),
        Some(noise) => Framing::Skip(noise as u32),
    }
}

/// Length of the frame at the start of `received`, which begins like one.
fn cut_here(received: &[u8], options: &Options) -> Framing {
    let Some((header, _)) = received.split_first_chunk::<HEADER_BYTES>() else {
        return Framing::Incomplete((OVERHEAD_BYTES - received.len()) as u32);
    };
    let accepted = options.crc_order;
    let said = usize::from(u16::from_le_bytes([header[58], header[59]]));
    if fits(received, said, accepted) {
        return Framing::Frame((OVERHEAD_BYTES + said) as u32);
    }
    // The length lies, or the frame is damaged or not all here. Wherever sum and end byte agree, there it ends.
    if let Some(total) = search(received, accepted) {
        return Framing::Frame(total as u32);
    }
    let lengths = possible_bodies(header, said, options);
    let totals = || lengths.into_iter().flatten().map(|n| OVERHEAD_BYTES + n);
    if let Some(total) = totals().filter(|total| *total > received.len()).min() {
        return Framing::Incomplete((total - received.len()) as u32);
    }
    // All here and damaged: handed on as a frame, so that it is kept as one.
    if let Some(total) = totals().find(|total| received.get(total - 1) == Some(&END)) {
        return Framing::Frame(total as u32);
    }
    let next = (1..received.len()).find(|at| is_plausible(&received[*at..]));
    Framing::Skip(next.unwrap_or(received.len()) as u32)
}

/// Body lengths that the header allows, the likeliest first: dataLength, frameLength less the overhead, dataLength as length
/// before padding, and what this command always has.
fn possible_bodies(header: &[u8; HEADER_BYTES], said: usize, options: &Options) -> [Option<usize>; 4] {
    let mut meter_id = [0; 20];
    meter_id.copy_from_slice(&header[12..32]);
    let encrypted = options.is_encrypted(&meter_id);
    let padded = |n: usize| if encrypted { (n / 16 + 1) * 16 } else { n };
    let whole = said_length(header);
    let known = code::uplink_body_bytes(u16::from_le_bytes([header[10], header[11]]));
    [
        Some(said),
        whole.checked_sub(OVERHEAD_BYTES),
        (!said.is_multiple_of(16)).then(|| padded(said)),
        known.filter(|_| header[52] == 1).map(padded),
    ]
    .map(|n| n.filter(|n| *n <= BODY_BYTES_MAX))
}

/// Whether a frame with a body of `n` bytes stands at the start.
fn fits(received: &[u8], n: usize, accepted: CrcOrder) -> bool {
    let Some(frame) = received.get(..OVERHEAD_BYTES + n).filter(|_| n <= BODY_BYTES_MAX) else { return false };
    let way = if frame[52] == 1 { Way::Uplink } else { Way::Downlink };
    tail(frame).is_some_and(|([sum @ .., end], body_end)| {
        end == END && sum_order(crc16_modbus(&frame[..body_end]), sum, way, accepted).is_some()
    })
}

/// Total length of the shortest frame at the start, whatever its header says: one pass over the bytes.
fn search(received: &[u8], accepted: CrcOrder) -> Option<usize> {
    let way = if received.get(52) == Some(&1) { Way::Uplink } else { Way::Downlink };
    let (header, rest) = received.split_at_checked(HEADER_BYTES)?;
    let mut crc = crc16_modbus(header);
    for (n, tail) in rest.windows(3).enumerate().take(BODY_BYTES_MAX + 1) {
        if tail[2] == END && sum_order(crc, [tail[0], tail[1]], way, accepted).is_some() {
            return Some(OVERHEAD_BYTES + n);
        }
        crc = (0..8).fold(crc ^ u16::from(tail[0]), |c, _| if c & 1 == 1 { c >> 1 ^ 0xA001 } else { c >> 1 });
    }
    None
}

/// Check sum and end byte, and where the body ends.
fn tail(frame: &[u8]) -> Option<([u8; 3], usize)> {
    let body_end = frame.len().checked_sub(3).filter(|end| *end >= HEADER_BYTES)?;
    Some((*frame.last_chunk()?, body_end))
}

/// Whether bytes can be the start of a frame, as far as they go. frameLength and hasMore are not looked at: devices are
/// sloppy there. The meter number is what tells this family from others that begin with 68.
fn is_plausible(bytes: &[u8]) -> bool {
    bytes.first() == Some(&START)
        && bytes.get(10..12).is_none_or(|c| code::is_of_family(u16::from_le_bytes([c[0], c[1]])))
        && bytes.get(12..bytes.len().min(32)).is_none_or(|id| id.iter().all(u8::is_ascii_alphanumeric))
        && bytes.get(52).is_none_or(|direction| *direction <= 1)
}

fn read_header(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Fault> {
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let text_at = |at: usize| {
        let mut text = [0; 20];
        text.copy_from_slice(&bytes[at..at + 20]);
        text
    };
    Ok(Header {
        has_more: bytes[3] != 0,
        frame_id: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        version: u16_at(8),
        command: u16_at(10),
        meter_id: text_at(12),
        iccid: text_at(32),
        way: match bytes[52] {
            0 => Way::Downlink,
            1 => Way::Uplink,
            other => return Err(Fault::corrupt(format!("direction at byte 52: {other} is neither 0 nor 1"))),
        },
        resp_flag: bytes[53],
        encryption: u16_at(56),
        data_length: u16_at(58),
    })
}

/// In which order the transmitted sum is the computed one, if that order is accepted.
fn sum_order(computed: u16, sum: [u8; 2], way: Way, accepted: CrcOrder) -> Option<Order> {
    let found = |order| match order {
        Order::LowFirst => u16::from_le_bytes(sum) == computed,
        Order::HighFirst => u16::from_be_bytes(sum) == computed,
    };
    let (proper, other) = way.crc_orders();
    if found(proper) {
        return Some(proper);
    }
    (accepted == CrcOrder::Lenient && found(other)).then_some(other)
}

#[cold]
fn sum_fault(computed: u16, sum: [u8; 2], way: Way) -> Fault {
    if sum_order(computed, sum, way, CrcOrder::Lenient).is_some() {
        return Fault::corrupt(
            "the check sum has its bytes in the order of the other direction; option crc_order = lenient accepts that",
        );
    }
    let [a, b] = match way.crc_order() {
        Order::LowFirst => computed.to_le_bytes(),
        Order::HighFirst => computed.to_be_bytes(),
    };
    Fault::corrupt(format!("check sum: found {:02x}{:02x}, expected {a:02x}{b:02x}", sum[0], sum[1]))
}
