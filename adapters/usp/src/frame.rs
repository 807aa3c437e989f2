//! The envelope of every frame: start, header, body, check sum, end (USP/1 §B). What a body means is not known here.

use polymeter_sdk::bytes::Reader;
use polymeter_sdk::{DeviceKind, Fault, Framing, bcd, checksum};

// | Off  | Size | Field                                                                        |
// |    0 |    1 | start, `68`                                                                  |
// |    1 |    1 | version, `01`                                                                |
// |    2 |    2 | message, BCD: `30 43` is 3043                                                |
// |    4 |    1 | terminal: 01 meter, 02 concentrator, 03 DTU                                  |
// |    5 |    7 | address, BCD                                                                 |
// |   12 |    2 | sequence, LE                                                                 |
// |   14 |    1 | flags: 80 from the station, 40 answers, 20 wants an answer, 10 more follow   |
// |   15 |    1 | security: algorithm in the high half, key version in the low half            |
// |   16 |    2 | n, LE, at most 1024                                                          |
// |   18 |    n | body                                                                         |
// | 18+n |    2 | CRC-16/MODBUS of bytes 0..18+n, low byte first                               |
// | 20+n |    1 | end, `16`                                                                    |
const START: u8 = 0x68;
const VERSION: u8 = 0x01;
const END: u8 = 0x16;
pub const HEADER_BYTES: usize = 18;
const FRAME_BYTES_MIN: usize = 21;
pub const BODY_BYTES_MAX: usize = 1024;

/// Flag bits, and the only bytes they may form.
pub mod flags {
    pub const MORE: u8 = 0x10;
    pub const REPORT: u8 = 0x20;
    pub const REPORT_PART: u8 = REPORT | MORE;
    pub const ANSWER: u8 = 0x40;
    pub const ANSWER_PART: u8 = ANSWER | MORE;
    /// Station ends the session: wants no answer.
    pub const FAREWELL: u8 = 0x80;
    pub const COMMAND: u8 = 0xA0;
    pub const REPLY: u8 = 0xC0;
}

/// Message numbers as on the wire.
pub mod message {
    pub const HEARTBEAT: u16 = 0x3003;
    pub const REGISTRATION: u16 = 0x3004;
    pub const DAILY: u16 = 0x3043;
    pub const HISTORY: u16 = 0x3046;
    pub const ABNORMAL: u16 = 0x3062;
    pub const SUB_METERS: u16 = 0x4066;
    pub const SET_CLOCK: u16 = 0x4001;
    pub const END_SESSION: u16 = 0x4002;
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
    pub const ARCHIVE_ADD: u16 = 0x4061;
    pub const ARCHIVE_REMOVE: u16 = 0x4062;
    pub const ARCHIVE_LIST: u16 = 0x4063;
    pub const RELAY: u16 = 0x4064;
    pub const TRANSPARENT: u16 = 0x4071;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terminal {
    Meter = 1,
    Concentrator = 2,
    Dtu = 3,
}

impl Terminal {
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Meter),
            2 => Some(Self::Concentrator),
            3 => Some(Self::Dtu),
            _ => None,
        }
    }
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::Meter => DeviceKind::Meter,
            Self::Concentrator => DeviceKind::Concentrator,
            Self::Dtu => DeviceKind::Dtu,
        }
    }
}

/// Bytes 2..16: who, what, which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub message: u16,
    pub terminal: Terminal,
    pub address: [u8; 7],
    pub sequence: u16,
    pub flags: u8,
    pub security: u8,
}

impl Header {
    /// Bytes 0..18; the tag of a secured frame covers them, so a body's length is known before.
    pub fn bytes(&self, body_bytes: usize) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = START;
        out[1] = VERSION;
        out[2..4].copy_from_slice(&self.message.to_be_bytes());
        out[4] = self.terminal as u8;
        out[5..12].copy_from_slice(&self.address);
        out[12..14].copy_from_slice(&self.sequence.to_le_bytes());
        out[14] = self.flags;
        out[15] = self.security;
        out[16..18].copy_from_slice(&(body_bytes as u16).to_le_bytes());
        out
    }

    /// The whole frame around a body as it goes on the wire.
    pub fn frame(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(FRAME_BYTES_MIN + body.len());
        out.extend_from_slice(&self.bytes(body.len()));
        out.extend_from_slice(body);
        let crc = checksum::crc16_modbus(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.push(END);
        out
    }

    /// What identifies an answer: message number and sequence, as on the wire.
    pub fn correlation(&self) -> [u8; 4] {
        let [high, low] = self.message.to_be_bytes();
        let [seq_low, seq_high] = self.sequence.to_le_bytes();
        [high, low, seq_low, seq_high]
    }

    /// The address as printed on the terminal.
    pub fn address_text(&self) -> Result<String, Fault> {
        bcd::digits(&self.address).ok_or_else(|| Fault::corrupt("terminal address at byte 5: not BCD"))
    }
}

/// A frame whose envelope is whole.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub header: Header,
    pub header_bytes: &'a [u8; HEADER_BYTES],
    /// As on the wire: sealed, if the frame is secured.
    pub body: &'a [u8],
    /// Also this frame's fingerprint among those of the same number.
    pub crc: u16,
}

impl<'a> Frame<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut r = Reader::new(bytes);
        let (start, version) = (r.u8("start")?, r.u8("version")?);
        if start != START || version != VERSION {
            return Err(Fault::not_mine("a frame of USP/1 starts with 68 01"));
        }
        let message = r.u16_be("message")?;
        let terminal = r.u8("terminal type")?;
        let address = r.array("terminal address")?;
        let sequence = r.u16_le("sequence")?;
        let (flags, security) = (r.u8("flags")?, r.u8("security")?);
        let body_bytes = usize::from(r.u16_le("body length")?);
        if body_bytes > BODY_BYTES_MAX {
            return Err(Fault::corrupt(format!("body length {body_bytes}, allowed is 0..=1024")));
        }
        let body = r.take("body", body_bytes)?;
        let crc = r.u16_le("CRC")?;
        let end = r.u8("end")?;
        r.finish("end")?;
        let covered = bytes.get(..HEADER_BYTES + body_bytes).unwrap_or_default();
        if end != END || checksum::crc16_modbus(covered) != crc {
            return Err(Fault::corrupt("CRC or end byte does not fit"));
        }
        let terminal = Terminal::from_byte(terminal)
            .ok_or_else(|| Fault::corrupt(format!("terminal type {terminal}, allowed is 1..=3")))?;
        let header_bytes = bytes.first_chunk().ok_or_else(|| Fault::corrupt("shorter than a header"))?;
        let header = Header { message, terminal, address, sequence, flags, security };
        Ok(Self { header, header_bytes, body, crc })
    }
}

/// Finds `68 01`, a header that can be one, a length, `16` and a fitting CRC; anything else is skipped to where a frame may
/// start (§B). Bytes among which none can start are another protocol's: `68` begins many of them.
pub fn framing(received: &[u8]) -> Framing {
    match (0..received.len()).find(|at| may_start(&received[*at..])) {
        None if received.is_empty() => Framing::Incomplete(FRAME_BYTES_MIN as u32),
        None => Framing::Foreign,
        Some(0) => cut(received),
        Some(noise) => Framing::Skip(noise as u32),
    }
}

/// What begins with a possible header.
fn cut(received: &[u8]) -> Framing {
    let Some(length) = received.get(16..HEADER_BYTES) else {
        return Framing::Incomplete((FRAME_BYTES_MIN - received.len()) as u32);
    };
    let total = FRAME_BYTES_MIN + usize::from(u16::from_le_bytes([length[0], length[1]]));
    let Some(frame) = received.get(..total) else {
        return Framing::Incomplete((total - received.len()) as u32);
    };
    let (covered, tail) = frame.split_at(total - 3);
    let [low, high] = checksum::crc16_modbus(covered).to_le_bytes();
    if tail == [low, high, END] {
        return Framing::Frame(total as u32);
    }
    // A header of ours with a sum that does not fit: damaged, not foreign.
    let next = (1..received.len()).find(|at| may_start(&received[*at..]));
    Framing::Skip(next.unwrap_or(received.len()) as u32)
}

/// Whether a frame can start with these bytes, as far as they go. Flags and security byte are not looked at: a whole frame with
/// wrong ones is damaged or against the rules, but ours.
fn may_start(bytes: &[u8]) -> bool {
    let within = |from: usize, to: usize| bytes.get(from..bytes.len().min(to)).unwrap_or_default();
    bytes.first() == Some(&START)
        && bytes.get(1).is_none_or(|version| *version == VERSION)
        && within(2, 4).iter().all(|b| bcd::byte(*b).is_some())
        && bytes.get(4).is_none_or(|terminal| Terminal::from_byte(*terminal).is_some())
        && within(5, 12).iter().all(|b| bcd::byte(*b).is_some())
        && bytes.get(16..18).is_none_or(|n| usize::from(u16::from_le_bytes([n[0], n[1]])) <= BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let header = Header {
            message: message::HEARTBEAT,
            terminal: Terminal::Meter,
            address: [0x50, 0, 0x12, 0x34, 0x56, 0x78, 0x10],
            sequence: 1,
            flags: flags::REPORT,
            security: 0,
        };
        header.frame(&[0x24, 3, 0x15, 0x12, 0, 0, 20, 1])
    }

    #[test]
    fn other_protocols_are_foreign_as_soon_as_it_shows() {
        for (what, bytes) in [
            ("CJ/T 188, preambles", &[0xFE, 0xFE, 0xFE][..]),
            ("CJ/T 188, gas meter", &[0x68, 0x30]),
            ("CJ/T 188, heat meter, whole", &[0x68, 0x20, 0x0A, 0x7B, 0, 0, 0, 0, 0, 0, 0x81, 0x16]),
            ("DL/T 645", &[0x68, 0x10, 0x32, 0x54, 0x76, 0x98, 0x00, 0x68, 0x11]),
            ("M-Bus", &[0x68, 0x4D, 0x4D, 0x68, 0x08]),
            ("message not BCD", &[0x68, 0x01, 0x3A]),
            ("no such terminal", &[0x68, 0x01, 0x30, 0x43, 0x04]),
            ("address not BCD", &[0x68, 0x01, 0x30, 0x43, 0x01, 0xAB]),
            ("text", b"GET / HTTP/1.1\r\n"),
        ] {
            assert_eq!(framing(bytes), Framing::Foreign, "{what}");
        }
        assert_eq!(framing(&[0xFE, 0xFE, 0x68]), Framing::Skip(2), "the start may follow");
        assert_eq!(framing(&[0x68]), Framing::Incomplete(20));
        assert_eq!(framing(&[]), Framing::Incomplete(21));
    }

    #[test]
    fn noise_and_damage_are_skipped_to_the_next_start() {
        let frame = frame();
        assert_eq!(framing(&frame), Framing::Frame(frame.len() as u32));
        assert_eq!(framing(&[&[0xFE, 0x68, 0x10][..], &frame].concat()), Framing::Skip(3));
        let mut damaged = frame.clone();
        damaged[20] ^= 1;
        assert_eq!(framing(&damaged), Framing::Skip(frame.len() as u32), "damaged, but not foreign");
        assert_eq!(framing(&[damaged, frame.clone()].concat()), Framing::Skip(frame.len() as u32));
        let mut long = frame;
        long[16..18].copy_from_slice(&1025_u16.to_le_bytes());
        assert_eq!(framing(&long), Framing::Foreign);
    }
}
