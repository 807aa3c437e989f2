//! The wired link layer, and the cutting of frames out of a stream. What a frame's data mean is not known here.
//!
//! ```text
//!  ack     E5
//!  short   10 C A CS 16
//!  long    68 L L 68 C A CI data… CS 16      L counts C to the last data byte; CS is the sum of the same bytes
//! ```

use crate::options::{Link, Options, RadioCrc};
use crate::radio;
use polymeter_sdk::checksum::sum8;
use polymeter_sdk::{Fault, Framing};

pub const ACK: u8 = 0xE5;
const SHORT: u8 = 0x10;
const LONG: u8 = 0x68;
const STOP: u8 = 0x16;
const SHORT_BYTES: usize = 5;
/// Of a long frame, around what L counts.
const OVERHEAD_BYTES: usize = 6;
/// So far ahead a whole frame is looked for before what may only be the beginning of one: the longest is shorter.
const AHEAD_BYTES: usize = 300;
/// Before a radio frame of which one byte has come.
const NOISE_BYTES_FEW: usize = 4;
/// C, A and CI.
const L_MIN: u8 = 3;

pub mod control {
    pub const SND_NKE: u8 = 0x40;
    pub const SND_UD: u8 = 0x53;
    pub const REQ_UD2: u8 = 0x5B;
    pub const REQ_UD1: u8 = 0x5A;
    pub const RSP_UD: u8 = 0x08;
    pub const FCB: u8 = 0x20;

    /// What only a master says.
    pub const fn is_request(c: u8) -> bool {
        matches!(c, SND_NKE) || matches!(c & !FCB, SND_UD | REQ_UD2 | REQ_UD1)
    }

    /// RSP_UD with whatever ACD and DFC.
    pub const fn is_response(c: u8) -> bool {
        c & !0x30 == RSP_UD
    }
}

pub mod address {
    /// The meter that was selected.
    pub const SELECTED: u8 = 253;
    pub const ANY: u8 = 254;
    /// The highest one a meter can have.
    pub const MAX: u8 = 250;
}

/// A whole wired frame whose sum fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wired<'a> {
    Ack,
    Short { control: u8, address: u8 },
    Long { control: u8, address: u8, ci: u8, data: &'a [u8] },
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Here {
    Frame(usize),
    /// A frame to all appearance, but its sum does not fit.
    Damaged(usize),
    /// As far as it goes; so many more bytes are needed at least.
    More(usize),
    No,
}

/// Reads exactly one frame.
pub fn parse(frame: &[u8]) -> Result<Wired<'_>, Fault> {
    match frame {
        [ACK] => Ok(Wired::Ack),
        [SHORT, control, address, sum, STOP] => {
            check_sum(control.wrapping_add(*address), *sum)?;
            Ok(Wired::Short { control: *control, address: *address })
        }
        [LONG, l, again, LONG, counted @ .., sum, STOP] => {
            if l != again || usize::from(*l) != counted.len() {
                return Err(Fault::corrupt(format!("lengths {l} and {again}, but {} bytes", counted.len())));
            }
            check_sum(sum8(counted), *sum)?;
            match counted {
                [control, address, ci, data @ ..] => {
                    Ok(Wired::Long { control: *control, address: *address, ci: *ci, data })
                }
                _ => Err(Fault::corrupt("a long frame has C, A and CI at least")),
            }
        }
        [LONG, _, _, LONG, ..] | [SHORT, ..] => Err(Fault::corrupt("the frame does not end where it should")),
        _ => Err(Fault::not_mine("no M-Bus frame")),
    }
}

fn check_sum(computed: u8, found: u8) -> Result<(), Fault> {
    if computed == found {
        return Ok(());
    }
    Err(Fault::corrupt(format!("check sum: found {found:02x}, expected {computed:02x}")))
}

pub fn short(control: u8, address: u8) -> Vec<u8> {
    vec![SHORT, control, address, control.wrapping_add(address), STOP]
}

/// A long frame; what does not fit into one is cut off.
pub fn long(control: u8, address: u8, ci: u8, data: &[u8]) -> Vec<u8> {
    let data = data.get(..data.len().min(usize::from(u8::MAX - L_MIN))).unwrap_or_default();
    let l = data.len() as u8 + L_MIN;
    let mut frame = Vec::with_capacity(usize::from(l) + OVERHEAD_BYTES);
    frame.extend_from_slice(&[LONG, l, l, LONG, control, address, ci]);
    frame.extend_from_slice(data);
    frame.push(sum8(frame.get(4..).unwrap_or_default()));
    frame.push(STOP);
    frame
}

/// What lies at the start of `received`.
pub fn cut(received: &[u8], options: &Options) -> Framing {
    let from = |at: usize| received.get(at..).unwrap_or_default();
    let whole = || (1..received.len().min(AHEAD_BYTES)).find(|at| is_whole(from(*at), options));
    match here(received, options) {
        // Handed on although damaged, so that it is kept as one.
        Here::Frame(length) | Here::Damaged(length) => Framing::Frame(length as u32),
        Here::More(wanted) if begins_wired(received, options) => Framing::Incomplete(wanted as u32),
        // A radio frame's length is unchecked as long as it is not there: it holds back nothing that is.
        Here::More(wanted) => match whole() {
            Some(noise) => Framing::Skip(noise as u32),
            None => Framing::Incomplete(wanted as u32),
        },
        Here::No => {
            let begins = |at: &usize| {
                let tail = from(*at);
                is_whole(tail, options) || begins_wired(tail, options) || begins_radio(tail, *at, options)
            };
            match whole().or_else(|| (1..received.len()).find(begins)) {
                Some(noise) => Framing::Skip(noise as u32),
                None => Framing::Foreign,
            }
        }
    }
}

fn here(bytes: &[u8], options: &Options) -> Here {
    let wired = if options.link == Link::Wireless { Here::No } else { wired(bytes) };
    if wired != Here::No || options.link == Link::Wired {
        return wired;
    }
    match options.radio_crc {
        RadioCrc::Present => radio::here(bytes),
        RadioCrc::Stripped => radio::here_stripped(bytes),
    }
}

/// Whether radio frames come, and with the sums by which they are known in the middle of noise.
fn has_sums(options: &Options) -> bool {
    options.link != Link::Wired && options.radio_crc == RadioCrc::Present
}

/// Whether a frame is here to its end, in the middle of noise. A single E5 is no proof of anything, nor is a damaged short frame.
fn is_whole(bytes: &[u8], options: &Options) -> bool {
    let wired = if options.link == Link::Wireless { Here::No } else { wired(bytes) };
    matches!(wired, Here::Frame(SHORT_BYTES..) | Here::Damaged(OVERHEAD_BYTES..))
        || (has_sums(options) && matches!(radio::here(bytes), Here::Frame(_)))
}

/// Whether a wired frame begins here, as far as it goes; of a long one its second start byte is looked for.
fn begins_wired(bytes: &[u8], options: &Options) -> bool {
    options.link != Link::Wireless && matches!(bytes, [LONG | SHORT, ..]) && wired(bytes) != Here::No
}

/// Whether what is left behind so much noise may become a radio frame. Its length byte alone says little, and is a beginning
/// only where so little came before it that no other protocol has shown itself.
fn begins_radio(bytes: &[u8], noise: usize, options: &Options) -> bool {
    has_sums(options)
        && (bytes.len() > 1 || noise <= NOISE_BYTES_FEW)
        && radio::may_name_maker(bytes)
        && matches!(radio::here(bytes), Here::More(_))
}

fn wired(bytes: &[u8]) -> Here {
    match bytes {
        [ACK] | [ACK, ACK | SHORT | LONG, ..] => Here::Frame(1),
        [SHORT, control, ..] if !is_short(*control) => Here::No,
        [SHORT, control, address, sum, STOP, ..] => {
            let fits = control.wrapping_add(*address) == *sum;
            if fits { Here::Frame(SHORT_BYTES) } else { Here::Damaged(SHORT_BYTES) }
        }
        [SHORT, ..] if bytes.len() < SHORT_BYTES => Here::More(SHORT_BYTES - bytes.len()),
        [LONG] => Here::More(usize::from(L_MIN) + OVERHEAD_BYTES - 1),
        [LONG, l, ..] if *l < L_MIN => Here::No,
        [LONG, l, again, ..] if l != again => Here::No,
        [LONG, _, _, second, ..] if *second != LONG => Here::No,
        [LONG, l, ..] => long_here(bytes, usize::from(*l) + OVERHEAD_BYTES),
        _ => Here::No,
    }
}

fn long_here(bytes: &[u8], total: usize) -> Here {
    match bytes.get(..total) {
        None => Here::More(total - bytes.len()),
        Some([_, _, _, _, counted @ .., sum, STOP]) => {
            if sum8(counted) == *sum {
                Here::Frame(total)
            } else {
                Here::Damaged(total)
            }
        }
        Some(_) => Here::No,
    }
}

/// Short frames are the master's, and a meter's empty answer is E5; a few meters answer with a short RSP_UD.
const fn is_short(c: u8) -> bool {
    control::is_request(c) || control::is_response(c)
}
