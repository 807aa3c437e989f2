//! The wireless link layer: frame formats A and B, their CRC, and who sent. Layers above are not known here.
//!
//! ```text
//!  A: +---+---+-----+---------+-----+  +-----------------+-----+  …   L counts C to the last data byte, without CRCs
//!     | L | C | M 2 | A 6     | CRC |  | 16 bytes or rest | CRC |
//!     +---+---+-----+---------+-----+  +-----------------+-----+
//!  B: +---+---+-----+---------+------------------+-----+  +------------+-----+   L counts everything, CRCs too;
//!     | L | C | M 2 | A 6     | up to 116 bytes  | CRC |  | the rest   | CRC |   a CRC covers from the start or the last CRC
//!     +---+---+-----+---------+------------------+-----+  +------------+-----+
//! ```

use crate::identity::{Identity, letters};
use crate::link::Here;
use polymeter_sdk::Fault;

/// L, C, manufacturer, address.
pub const HEAD_BYTES: usize = 10;
const CRC_BYTES: usize = 2;
const BLOCK_BYTES: usize = 16;
/// Where the first CRC of a long format B frame ends.
const FIRST_B_BYTES: usize = 128;
/// The head and a CI.
const L_MIN: u8 = HEAD_BYTES as u8;

/// A radio telegram without its check sums.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Radio {
    pub control: u8,
    pub sender: Identity,
    /// From the CI field on.
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    A,
    B,
}

/// CRC of EN 13757: polynomial 3D65, start 0, complemented, sent high byte first.
pub fn crc(bytes: &[u8]) -> u16 {
    !bytes.iter().fold(0, |crc: u16, b| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ b)])
}

static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = (n as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x3D65 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// Send without or with reply, installation, access, and answers: what a meter says.
const fn is_control(c: u8) -> bool {
    matches!(c, 0x44 | 0x46 | 0x47 | 0x48 | 0x08 | 0x18 | 0x28 | 0x38)
}

/// Whether the manufacturer of a frame has letters, as far as it is there.
pub fn may_name_maker(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, low, high, ..] => letters(u16::from_le_bytes([*low, *high & 0x7F])).is_some(),
        _ => true,
    }
}

/// What stands at the start of `bytes`, as far as they go.
pub fn here(bytes: &[u8]) -> Here {
    let Some(&[l]) = bytes.first_chunk() else { return Here::No };
    if l < L_MIN || bytes.get(1).is_some_and(|c| !is_control(*c)) {
        return Here::No;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Here::More(HEAD_BYTES + CRC_BYTES - bytes.len());
    };
    let Some(first) = rest.first_chunk::<CRC_BYTES>() else { return Here::More(CRC_BYTES - rest.len()) };
    let length = |format| total(format, l);
    if u16::from_be_bytes(*first) == crc(head) {
        let whole = length(Format::A);
        return match bytes.get(..whole) {
            None => Here::More(whole - bytes.len()),
            Some(frame) if blocks_a(frame).is_some() => Here::Frame(whole),
            Some(_) => Here::Damaged(whole),
        };
    }
    let whole = length(Format::B);
    match bytes.get(..whole) {
        _ if usize::from(l) < HEAD_BYTES + CRC_BYTES => Here::No,
        None => Here::More(whole - bytes.len()),
        Some(frame) if blocks_b(frame).is_some() => Here::Frame(whole),
        Some(_) => Here::No,
    }
}

/// What stands at the start of `bytes` when there are no check sums: only the length says where it ends.
pub fn here_stripped(bytes: &[u8]) -> Here {
    match bytes {
        [l, ..] if *l < L_MIN => Here::No,
        [_, c, ..] if !is_control(*c) => Here::No,
        [l, ..] if bytes.len() > usize::from(*l) => Here::Frame(usize::from(*l) + 1),
        [l, ..] => Here::More(usize::from(*l) + 1 - bytes.len()),
        [] => Here::No,
    }
}

/// Bytes of a whole frame.
fn total(format: Format, l: u8) -> usize {
    let l = usize::from(l);
    match format {
        Format::A => {
            let behind = (l + 1).saturating_sub(HEAD_BYTES);
            l + 1 + CRC_BYTES + behind.div_ceil(BLOCK_BYTES) * CRC_BYTES
        }
        Format::B => l + 1,
    }
}

/// Reads exactly one frame of either format.
pub fn parse(frame: &[u8]) -> Result<Radio, Fault> {
    let l = match frame {
        [l, control, ..] if *l >= L_MIN && is_control(*control) => *l,
        _ => return Err(Fault::not_mine("no M-Bus frame")),
    };
    let data = if frame.len() == total(Format::A, l) { blocks_a(frame) } else { None };
    let data = match data {
        Some(data) => data,
        None if frame.len() == total(Format::B, l) => {
            blocks_b(frame).ok_or_else(|| Fault::corrupt("a check sum of the radio frame does not fit"))?
        }
        None => return Err(Fault::corrupt("length or a check sum of the radio frame does not fit")),
    };
    split(&data)
}

/// Reads exactly one frame whose receiver has removed the check sums.
pub fn parse_stripped(frame: &[u8]) -> Result<Radio, Fault> {
    match frame.first() {
        Some(l) if usize::from(*l) + 1 == frame.len() => split(without_last_sum(frame)),
        _ => Err(Fault::corrupt("the length byte does not count the bytes behind it")),
    }
}

/// Some receivers leave the sum of the last block of format A, and count it: it would be taken for the beginning of a record.
fn without_last_sum(frame: &[u8]) -> &[u8] {
    let Some((data, sum)) = frame.split_last_chunk::<CRC_BYTES>() else { return frame };
    let last = data.get(HEAD_BYTES..).and_then(|body| body.chunks(BLOCK_BYTES).last());
    if last.is_some_and(|block| crc(block) == u16::from_be_bytes(*sum)) { data } else { frame }
}

fn split(data: &[u8]) -> Result<Radio, Fault> {
    match data.split_first_chunk::<HEAD_BYTES>() {
        Some(([_, control, address @ ..], body)) if is_control(*control) && !body.is_empty() => {
            Ok(Radio { control: *control, sender: Identity::from_radio(*address), body: body.to_vec() })
        }
        _ => Err(Fault::corrupt("no telegram of a meter")),
    }
}

/// The data of format A without CRCs, if all fit.
fn blocks_a(frame: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::with_capacity(frame.len());
    let (head, rest) = frame.split_at_checked(HEAD_BYTES + CRC_BYTES)?;
    data.extend_from_slice(checked(head)?);
    for block in rest.chunks(BLOCK_BYTES + CRC_BYTES) {
        data.extend_from_slice(checked(block)?);
    }
    Some(data)
}

/// The data of format B without CRCs, if all fit.
fn blocks_b(frame: &[u8]) -> Option<Vec<u8>> {
    let (first, second) = frame.split_at(frame.len().min(FIRST_B_BYTES));
    let mut data = Vec::with_capacity(frame.len());
    data.extend_from_slice(checked(first)?);
    if !second.is_empty() {
        data.extend_from_slice(checked(second)?);
    }
    (data.len() > HEAD_BYTES).then_some(data)
}

/// A block without its CRC, if that fits.
fn checked(block: &[u8]) -> Option<&[u8]> {
    let (data, sum) = block.split_last_chunk::<CRC_BYTES>()?;
    (!data.is_empty() && crc(data) == u16::from_be_bytes(*sum)).then_some(data)
}

/// Writes a frame; `None` when the body is too long for the format.
pub fn build(format: Format, control: u8, sender: &Identity, body: &[u8]) -> Option<Vec<u8>> {
    let data_bytes = HEAD_BYTES + body.len();
    let counted = match format {
        Format::A => data_bytes - 1,
        Format::B if data_bytes + CRC_BYTES <= FIRST_B_BYTES => data_bytes - 1 + CRC_BYTES,
        Format::B => data_bytes - 1 + 2 * CRC_BYTES,
    };
    let mut data = vec![u8::try_from(counted).ok()?, control];
    data.extend_from_slice(&sender.to_radio());
    data.extend_from_slice(body);
    let (first, rest) = data.split_at(match format {
        Format::A => HEAD_BYTES,
        Format::B => data_bytes.min(FIRST_B_BYTES - CRC_BYTES),
    });
    let mut frame = Vec::with_capacity(2 * data_bytes);
    let mut put = |block: &[u8]| {
        frame.extend_from_slice(block);
        frame.extend_from_slice(&crc(block).to_be_bytes());
    };
    put(first);
    rest.chunks(if format == Format::A { BLOCK_BYTES } else { usize::MAX }).for_each(put);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_length_both_ways() {
        let sender = Identity::from_radio([0x93, 0x15, 0x78, 0x56, 0x34, 0x12, 0x33, 3]);
        for format in [Format::A, Format::B] {
            for length in 1..=250_usize {
                let body: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let Some(frame) = build(format, 0x44, &sender, &body) else {
                    assert!(length > 241, "{format:?} {length}");
                    continue;
                };
                assert_eq!(here(&frame), Here::Frame(frame.len()), "{format:?} {length}");
                let parsed = parse(&frame).expect("what was built");
                assert_eq!((parsed.sender, &parsed.body), (sender, &body), "{format:?} {length}");
            }
        }
    }

    #[test]
    fn a_last_sum_that_a_receiver_left() {
        // A water meter's telegram as a receiver handed it on (wmbusmeters, qwaterv2).
        let left = [
            0x3B, 0x44, 0x93, 0x44, 0x48, 0x36, 0x35, 0x12, 0x18, 0x06, 0x7A, 0xC7, 0, 0, 0x20, 0x0C, 0x13, 0x91, 0x19,
            0, 0, 0x4C, 0x13, 0x91, 0x17, 0, 0, 0x42, 0x6C, 0xBF, 0x2C, 0xCC, 0x08, 0x13, 0x91, 0x17, 0, 0, 0xC2, 0x08,
            0x6C, 0xBF, 0x2C, 0x02, 0xBB, 0x56, 0, 0, 0x32, 0x6C, 0xFF, 0xFF, 0x04, 0x6D, 0x1E, 0x02, 0xDE, 0x21, 0xFE,
            0xD0,
        ];
        assert_eq!(parse_stripped(&left).expect("a telegram").body, left[10..58]);
        let mut other = left;
        other[59] ^= 1;
        assert_eq!(parse_stripped(&other).expect("a telegram").body, other[10..]);
    }

    #[test]
    fn the_published_sum() {
        assert_eq!(crc(&[0x2E, 0x44, 0x93, 0x15, 0x78, 0x56, 0x34, 0x12, 0x33, 0x03]), 0x3363);
    }
}
