//! CoAP messages: total parsing on top of `coap-lite`, and the few that the station makes.
//!
//! ```text
//!  0                   1                   2                   3
//! |Ver| T |  TKL  |      Code     |          Message ID           |
//! |   Token (TKL bytes) ... | Options ... | 0xFF | Payload ...    |    RFC 7252 §3
//! ```

use coap_lite::{CoapOption, Packet};

pub use coap_lite::MessageType as Kind;

/// Codes by class and detail: `0.02` is POST.
pub const POST: u8 = 0x02;
pub const PUT: u8 = 0x03;
pub const CHANGED: u8 = 0x44;
pub const CONTINUE: u8 = 0x5F;
pub const BAD_REQUEST: u8 = 0x80;
pub const BAD_OPTION: u8 = 0x82;
pub const NOT_FOUND: u8 = 0x84;
pub const METHOD_NOT_ALLOWED: u8 = 0x85;
pub const ENTITY_INCOMPLETE: u8 = 0x88;
pub const ENTITY_TOO_LARGE: u8 = 0x8D;
pub const UNAVAILABLE: u8 = 0xA3;
pub const PROXYING_NOT_SUPPORTED: u8 = 0xA5;

/// Largest block that is sent: 2^(6+4) bytes.
pub const SIZE_MAX: u8 = 6;

/// What a message is for, by its code's class (RFC 7252 §12.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Empty,
    Request,
    Response,
}

/// Bytes that are no message. A confirmable one is owed a reset (RFC 7252 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    pub reset: Option<u16>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    packet: Packet,
}

/// Part `number` of a body cut into pieces of `2^(size+4)` bytes (RFC 7959 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    pub number: u32,
    pub more: bool,
    pub size: u8,
}

impl Block {
    pub fn bytes(self) -> usize {
        1 << (self.size + 4)
    }

    /// Where it begins in the body.
    pub fn offset(self) -> usize {
        self.number as usize * self.bytes()
    }

    fn value(self) -> Vec<u8> {
        let value = self.number << 4 | u32::from(self.more) << 3 | u32::from(self.size);
        let bytes = value.to_be_bytes();
        bytes[bytes.iter().take_while(|b| **b == 0).count()..].to_vec()
    }

    /// `None`: too long, or of the reserved size.
    fn read(value: &[u8]) -> Option<Self> {
        if value.len() > 3 {
            return None;
        }
        let value = value.iter().fold(0, |n, b| n << 8 | u32::from(*b));
        let size = (value & 7) as u8;
        (size <= SIZE_MAX).then_some(Self { number: value >> 4, more: value & 8 != 0, size })
    }
}

impl Message {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let first = *bytes.first().ok_or(Malformed { reset: None })?;
        // Another version is ignored without a word; so is what has no whole header.
        if bytes.len() < 4 || first >> 6 != 1 {
            return Err(Malformed { reset: None });
        }
        let confirmable = (first >> 4) % 4 == 0;
        let malformed = Malformed { reset: confirmable.then(|| u16::from_be_bytes([bytes[2], bytes[3]])) };
        let packet = Packet::from_bytes(bytes).map_err(|_| malformed)?;
        let message = Self { packet };
        // A marker with nothing behind it, and an empty message with anything in it, are errors; the parser lets both pass.
        let whole = message.packet.to_bytes_unlimited().is_ok_and(|again| again.len() == bytes.len());
        let empty_is_empty = bytes[1] != 0 || bytes.len() == 4;
        if whole && empty_is_empty { Ok(message) } else { Err(malformed) }
    }

    /// `None`: a class that is reserved.
    pub fn class(&self) -> Option<Class> {
        match (self.code() >> 5, self.code()) {
            (0, 0) => Some(Class::Empty),
            (0, _) => Some(Class::Request),
            (2 | 4 | 5, _) => Some(Class::Response),
            _ => None,
        }
    }

    pub fn code(&self) -> u8 {
        self.packet.header.code.into()
    }

    pub fn kind(&self) -> Kind {
        self.packet.header.get_type()
    }

    pub fn id(&self) -> u16 {
        self.packet.header.message_id
    }

    pub fn token(&self) -> &[u8] {
        self.packet.get_token()
    }

    pub fn payload(&self) -> &[u8] {
        &self.packet.payload
    }

    pub fn into_payload(self) -> Vec<u8> {
        self.packet.payload
    }

    /// Path without its leading slash.
    pub fn path(&self) -> String {
        let segments = self.packet.get_option(CoapOption::UriPath).into_iter().flatten();
        let segments: Vec<_> = segments.map(|segment| String::from_utf8_lossy(segment).into_owned()).collect();
        segments.join("/")
    }

    /// Whether somebody is asked to pass it on.
    pub fn is_for_a_proxy(&self) -> bool {
        [CoapOption::ProxyUri, CoapOption::ProxyScheme].iter().any(|option| self.packet.get_option(*option).is_some())
    }

    /// An option that must be understood (an odd number, RFC 7252 §5.4.6) and is not.
    pub fn has_unknown_critical(&self) -> bool {
        const URI_HOST: u16 = 3;
        const URI_PORT: u16 = 7;
        const URI_PATH: u16 = 11;
        const URI_QUERY: u16 = 15;
        const ACCEPT: u16 = 17;
        const BLOCK2: u16 = 23;
        const BLOCK1: u16 = 27;
        let known = [URI_HOST, URI_PORT, URI_PATH, URI_QUERY, ACCEPT, BLOCK2, BLOCK1];
        self.packet.options().any(|(number, _)| number % 2 == 1 && !known.contains(number))
    }

    /// The piece of the request's body that this is. `Err`: of a form that does not exist.
    pub fn block1(&self) -> Result<Option<Block>, ()> {
        self.block(CoapOption::Block1)
    }

    /// The piece of the response's body that is wanted.
    pub fn block2(&self) -> Result<Option<Block>, ()> {
        self.block(CoapOption::Block2)
    }

    fn block(&self, option: CoapOption) -> Result<Option<Block>, ()> {
        self.packet.get_first_option(option).map(|value| Block::read(value).ok_or(())).transpose()
    }
}

/// A message in the making.
pub struct Draft(Packet);

impl Draft {
    pub fn new(kind: Kind, code: u8, id: u16, token: &[u8]) -> Self {
        let mut packet = Packet::new();
        packet.header.set_type(kind);
        packet.header.code = code.into();
        packet.header.message_id = id;
        packet.set_token(token.to_vec());
        Self(packet)
    }

    pub fn path(mut self, path: &str) -> Self {
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            self.0.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        self
    }

    pub fn block1(mut self, block: Option<Block>) -> Self {
        if let Some(block) = block {
            self.0.add_option(CoapOption::Block1, block.value());
        }
        self
    }

    pub fn block2(mut self, block: Option<Block>) -> Self {
        if let Some(block) = block {
            self.0.add_option(CoapOption::Block2, block.value());
        }
        self
    }

    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.0.payload = payload.to_vec();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.to_bytes_unlimited().unwrap_or_default()
    }
}

/// A message without a code: the acknowledgement or the reset of another.
pub fn empty(kind: Kind, id: u16) -> Vec<u8> {
    Draft::new(kind, 0, id, &[]).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).expect("hex")
    }

    /// Header of a message, its path and its payload.
    fn shown(text: &str) -> Result<String, Option<u16>> {
        let message = Message::parse(&hex(text)).map_err(|malformed| malformed.reset)?;
        let (kind, code, id) = (message.kind(), message.code(), message.id());
        let token = hex::encode(message.token());
        let rest = format!("{:?} {:?}", message.path(), String::from_utf8_lossy(message.payload()));
        Ok(format!("{kind:?} {}.{:02} {id:04x} {token:?} {rest}", code >> 5, code & 31))
    }

    /// The first four rows are figures 16 and 17 of RFC 7252, appendix A, byte for byte.
    #[test]
    fn messages_of_the_standard_are_read() {
        for (bytes, expected) in [
            ("40 01 7d 34 bb 74656d7065726174757265", r#"Confirmable 0.01 7d34 "" "temperature" """#),
            ("60 45 7d 34 ff 32322e332043", r#"Acknowledgement 2.05 7d34 "" "" "22.3 C""#),
            ("41 01 7d 35 20 bb 74656d7065726174757265", r#"Confirmable 0.01 7d35 "20" "temperature" """#),
            ("61 45 7d 35 20 ff 32322e332043", r#"Acknowledgement 2.05 7d35 "20" "" "22.3 C""#),
            ("60 00 7d 38", r#"Acknowledgement 0.00 7d38 "" "" """#),
            ("70 00 7d 38", r#"Reset 0.00 7d38 "" "" """#),
            ("50 02 00 01 b1 61 01 62 ff 68", r#"NonConfirmable 0.02 0001 "" "a/b" "h""#),
        ] {
            assert_eq!(shown(bytes).as_deref(), Ok(expected), "{bytes}");
        }
    }

    /// Bytes, and the message that a reset is owed to.
    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, reset) in [
            ("", None),
            ("40 01 7d", None),
            ("80 01 7d 34", None),
            ("4f 01 7d 34 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", Some(0x7d34)),
            ("44 01 7d 34 01", Some(0x7d34)),
            ("40 02 7d 34 ff", Some(0x7d34)),
            ("50 02 7d 34 ff", None),
            ("40 00 7d 34 ff 01", Some(0x7d34)),
            ("41 00 7d 34 01", Some(0x7d34)),
            ("40 02 7d 34 f0", Some(0x7d34)),
            ("40 02 7d 34 0f", Some(0x7d34)),
            ("40 02 7d 34 bd ff 61", Some(0x7d34)),
            ("40 02 7d 34 e0 fe f3", Some(0x7d34)),
        ] {
            assert_eq!(shown(bytes), Err(reset), "{bytes}");
        }
    }

    #[test]
    fn any_bytes_give_a_message_or_a_typed_refusal() {
        let good = hex("48 02 7d 35 0102030405060708 bb 74656d7065726174757265 d1 0a 06 ff 32322e332043");
        for at in 0..good.len() * 8 {
            let mut bent = good.clone();
            bent[at / 8] ^= 1 << (at % 8);
            for length in 0..=bent.len() {
                if let Ok(message) = Message::parse(&bent[..length]) {
                    let _ = (message.class(), message.block1(), message.block2(), message.has_unknown_critical());
                }
            }
        }
    }

    /// The examples of RFC 7959 §3: `number/more/bytes` and the option's value.
    #[test]
    fn blocks_are_three_things_in_one_number() {
        for (value, block) in [
            ("", Some((0, false, 16))),
            ("03", Some((0, false, 128))),
            ("0b", Some((0, true, 128))),
            ("1b", Some((1, true, 128))),
            ("23", Some((2, false, 128))),
            ("0e", Some((0, true, 1024))),
            ("fffff6", Some((1_048_575, false, 1024))),
            ("07", None),
            ("00000006", None),
        ] {
            let read = Block::read(&hex(value));
            assert_eq!(read.map(|b| (b.number, b.more, b.bytes())), block, "{value}");
            if let Some(read) = read {
                assert_eq!(Block::read(&read.value()), Some(read));
            }
        }
    }

    #[test]
    fn critical_options_are_those_with_odd_numbers() {
        for (bytes, unknown) in [
            ("40 02 00 01 b1 61", false),
            // If-Match, 1.
            ("40 02 00 01 10", true),
            // Content-Format, 12, and No-Response, 258, may be ignored.
            ("40 02 00 01 c0 d0 e9", false),
            // 9, OSCORE.
            ("40 02 00 01 90", true),
            // 65001.
            ("40 02 00 01 e0 fc dc", true),
        ] {
            let message = Message::parse(&hex(bytes)).expect("a message");
            assert_eq!(message.has_unknown_critical(), unknown, "{bytes}");
        }
    }
}
