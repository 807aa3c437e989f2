//! What lies between the link and the records: extended link layer (CI 8C..8F), authentication (CI 90) and the headers of the
//! application layer, with the encryption undone. What records mean is not known here.

use crate::identity::Identity;
use crate::options::{Decryption, Options, ReservedModes};
use crate::security::{self, Counter, Keys};
use polymeter_sdk::Fault;
use polymeter_sdk::bytes::{FieldError, Reader};
use std::borrow::Cow;

pub mod ci {
    pub const APPLICATION_RESET: u8 = 0x50;
    pub const DATA_TO_METER: u8 = 0x51;
    pub const SELECT: u8 = 0x52;
    pub const ERROR_SHORT: u8 = 0x6E;
    pub const ERROR_LONG: u8 = 0x6F;
    pub const ERROR: u8 = 0x70;
    pub const ALARM: u8 = 0x71;
    pub const LONG: u8 = 0x72;
    pub const FIXED: u8 = 0x73;
    pub const ALARM_SHORT: u8 = 0x74;
    pub const ALARM_LONG: u8 = 0x75;
    pub const LONG_MSB: u8 = 0x76;
    pub const FIXED_MSB: u8 = 0x77;
    pub const BARE: u8 = 0x78;
    pub const COMPACT: u8 = 0x79;
    pub const SHORT: u8 = 0x7A;
    pub const TRANSPORT_SHORT: u8 = 0x8A;
    pub const TRANSPORT_LONG: u8 = 0x8B;
    pub const ELL_2: u8 = 0x8C;
    pub const ELL_8: u8 = 0x8D;
    pub const ELL_10: u8 = 0x8E;
    pub const ELL_16: u8 = 0x8F;
    pub const AFL: u8 = 0x90;
}

/// An application layer message in clear.
#[derive(Clone, Debug)]
pub struct Telegram<'a> {
    pub ci: u8,
    /// Of the meter; none where neither link nor header tells.
    pub identity: Option<Identity>,
    pub access: Option<u8>,
    pub status: u8,
    /// The configuration word, where it says something that was not understood.
    pub configuration: Option<[u8; 2]>,
    pub encrypted: bool,
    pub data: Cow<'a, [u8]>,
}

/// Authentication and fragmentation layer.
#[derive(Clone, Copy, Debug)]
pub struct Authentication<'a> {
    /// Message control field.
    pub control: Option<u8>,
    pub counter: Option<[u8; 4]>,
    pub mac: Option<&'a [u8]>,
    pub message_length: Option<[u8; 2]>,
}

/// What is needed on the way, whatever the layer.
#[derive(Clone, Copy)]
struct Way<'k> {
    keys: Keys<'k>,
    reserved_modes: ReservedModes,
    decryption: Decryption,
    is_wired: bool,
}

/// Walks from the first CI field to the records. `sender` is the link layer's, or the device as the station knows it.
pub fn open<'a>(
    body: &'a [u8],
    sender: Option<Identity>,
    device: Option<&str>,
    is_wired: bool,
    options: &Options,
) -> Result<Telegram<'a>, Fault> {
    let keys = Keys { slot: &options.key_slot, device };
    let way = Way { keys, reserved_modes: options.reserved_modes, decryption: options.decryption, is_wired };
    let (&first, rest) = body.split_first().ok_or_else(|| Fault::corrupt("no CI field"))?;
    match first {
        ci::ELL_2 => above(rest.get(2..).unwrap_or_default(), sender, way),
        ci::ELL_10 => {
            let mut r = Reader::new(rest);
            r.take("extended link layer", 2)?;
            let meter = Identity::from_radio(r.array("extended link layer: address")?);
            above(r.rest(), Some(meter), way)
        }
        ci::ELL_8 | ci::ELL_16 => {
            let (meter, inner) = session(first, rest, sender, way)?;
            match inner {
                Cow::Borrowed(inner) => above(inner, meter, way),
                Cow::Owned(inner) => above(&inner, meter, way).map(Telegram::into_owned),
            }
        }
        _ => above(body, sender, way),
    }
}

impl Telegram<'_> {
    fn into_owned<'b>(self) -> Telegram<'b> {
        Telegram {
            data: Cow::Owned(self.data.into_owned()),
            ci: self.ci,
            identity: self.identity,
            access: self.access,
            status: self.status,
            configuration: self.configuration,
            // Reached only through an encrypted link.
            encrypted: true,
        }
    }
}

// CI 8D, and 8F with an address behind ACC:
// | CC | ACC | [M 2, A 6] | session number 4 | payload CRC 2 | … |
fn session<'a>(
    kind: u8,
    rest: &'a [u8],
    sender: Option<Identity>,
    way: Way<'_>,
) -> Result<(Option<Identity>, Cow<'a, [u8]>), Fault> {
    let mut r = Reader::new(rest);
    let (control, _access) = (r.u8("communication control")?, r.u8("access number")?);
    let address =
        if kind == ci::ELL_16 { Some(Identity::from_radio(r.array("extended link layer: address")?)) } else { None };
    let meter = address.or(sender);
    let session: [u8; 4] = r.array("session number")?;
    let data = r.rest();
    if way.decryption == Decryption::Before
        && session[3] >> 5 == 1
        && let Some(inner) = security::payload(data)
    {
        return Ok((meter, Cow::Owned(inner.to_vec())));
    }
    Ok((meter, security::session(meter.as_ref(), control, session, data, way.keys)?))
}

/// The authentication layer, if there is one, and what it protects.
fn above<'a>(body: &'a [u8], sender: Option<Identity>, way: Way<'_>) -> Result<Telegram<'a>, Fault> {
    match body.split_first() {
        Some((&ci::AFL, rest)) => {
            let (layer, protected) = authentication(rest)?;
            application(protected, sender, Some(layer), way)
        }
        _ => application(body, sender, None, way),
    }
}

// | AFLL | FCL 2 | [MCL] [KI 2] [MCR 4] [MAC n] [ML 2] | what it protects |
fn authentication(rest: &[u8]) -> Result<(Authentication<'_>, &[u8]), Fault> {
    let mut outer = Reader::new(rest);
    let length = outer.u8("AFL length")?;
    let mut r = Reader::new(outer.take("authentication layer", usize::from(length))?);
    let fields = r.u16_le("fragmentation control")?;
    let has = |bit: u16| fields >> bit & 1 == 1;
    if has(14) || fields & 0xFF > 1 {
        return Err(Fault::corrupt("a fragment of a longer message: fragments are not put together here"));
    }
    let control = if has(13) { Some(r.u8("message control")?) } else { None };
    if has(9) {
        r.u16_le("key information")?;
    }
    let counter = if has(11) { Some(r.array("message counter")?) } else { None };
    let mac = if has(10) { Some(r.take("MAC", mac_bytes(control)?)?) } else { None };
    let message_length = if has(12) { Some(r.array("message length")?) } else { None };
    r.finish("authentication layer")?;
    Ok((Authentication { control, counter, mac, message_length }, outer.rest()))
}

fn mac_bytes(control: Option<u8>) -> Result<usize, FieldError> {
    match control.map_or(0, |c| c & 15) {
        3 => Ok(2),
        4 => Ok(4),
        5 => Ok(8),
        6 => Ok(12),
        7 => Ok(16),
        other => Err(FieldError::invalid("kind of MAC", 3, i64::from(other))),
    }
}

/// Bytes of the header behind a CI field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    None,
    Short,
    Long,
}

const fn header_of(kind: u8) -> Header {
    match kind {
        ci::LONG | ci::LONG_MSB | ci::ERROR_LONG | ci::ALARM_LONG | ci::TRANSPORT_LONG => Header::Long,
        ci::SHORT | ci::ERROR_SHORT | ci::ALARM_SHORT | ci::TRANSPORT_SHORT => Header::Short,
        _ => Header::None,
    }
}

/// Whether a message says itself whose it is: in an extended link layer, a long header or fixed data. `kind` is its innermost CI.
pub const fn names_meter(body: &[u8], kind: u8) -> bool {
    matches!(body, [ci::ELL_10 | ci::ELL_16, ..])
        || matches!(header_of(kind), Header::Long)
        || matches!(kind, ci::FIXED | ci::FIXED_MSB)
}

fn application<'a>(
    body: &'a [u8],
    sender: Option<Identity>,
    layer: Option<Authentication<'a>>,
    way: Way<'_>,
) -> Result<Telegram<'a>, Fault> {
    let mut r = Reader::new(body);
    let kind = r.u8("CI field")?;
    let header = header_of(kind);
    let plain = |data| Telegram {
        ci: kind,
        identity: sender,
        access: None,
        status: 0,
        configuration: None,
        encrypted: false,
        data: Cow::Borrowed(data),
    };
    if header == Header::None {
        return match layer {
            Some(layer) => {
                let protected = security::Protected { layer, identity: sender.as_ref(), bytes: body };
                protected.authenticate(way.keys)?;
                Ok(plain(r.rest()))
            }
            None => Ok(plain(r.rest())),
        };
    }
    let identity = if header == Header::Long { Some(long_identity(kind, r.array("identity")?)) } else { sender };
    let access = r.u8("access number")?;
    let status = r.u8("status")?;
    let mut word: [u8; 2] = r.array("configuration")?;
    if kind == ci::LONG_MSB {
        word.reverse();
    }
    let opened = Encrypted { body, identity, access, layer, word }.open(&mut r, way)?;
    Ok(Telegram { ci: kind, identity, access: Some(access), status, ..opened })
}

/// In mode 2 the high byte comes first.
fn long_identity(kind: u8, mut bytes: [u8; 8]) -> Identity {
    if kind == ci::LONG_MSB {
        bytes[..4].reverse();
        bytes[4..6].reverse();
    }
    Identity::from_header(bytes)
}

struct Encrypted<'a> {
    body: &'a [u8],
    identity: Option<Identity>,
    access: u8,
    layer: Option<Authentication<'a>>,
    word: [u8; 2],
}

impl<'a> Encrypted<'a> {
    fn has_long_header(&self) -> bool {
        matches!(self.body.first(), Some(&(ci::LONG | ci::LONG_MSB)))
    }

    fn open(&self, r: &mut Reader<'a>, way: Way<'_>) -> Result<Telegram<'a>, Fault> {
        let word = u16::from_le_bytes(self.word);
        let (mode, blocks) = (word >> 8 & 0x1F, usize::from(word >> 4 & 15));
        let keys = way.keys;
        let done = |data, encrypted, configuration| Telegram {
            ci: 0,
            identity: None,
            access: None,
            status: 0,
            configuration,
            encrypted,
            data,
        };
        if way.decryption == Decryption::Before
            && let Some(plain) = clear(mode, *r)
        {
            return Ok(done(Cow::Borrowed(plain), true, None));
        }
        if mode != 7
            && let Some(layer) = self.layer
        {
            security::Protected { layer, identity: self.identity.as_ref(), bytes: self.body }.authenticate(keys)?;
        }
        match mode {
            // Bits 15..13 and 3..0 say how the meter listens and relays, which is nothing of its values.
            0 => Ok(done(Cow::Borrowed(r.rest()), false, (word & 0x1FF0 != 0).then_some(self.word))),
            5 => {
                let plain = security::mode5(self.identity.as_ref(), self.access, blocks, r.rest(), keys)?;
                Ok(done(Cow::Owned(plain), true, None))
            }
            7 => {
                r.u8("configuration extension")?;
                let layer = self.layer.ok_or_else(|| {
                    Fault::not_authentic("security mode 7 without the authentication layer that carries its counter")
                })?;
                let protected = security::Protected { layer, identity: self.identity.as_ref(), bytes: self.body };
                let plain = protected.mode7(blocks, r.rest(), keys)?;
                Ok(done(Cow::Owned(plain), true, None))
            }
            // By radio these are ciphers of a maker's own, such as Diehl's.
            6 | 11 | 12 | 14 | 16.. if way.is_wired && way.reserved_modes != ReservedModes::Refuse => {
                Ok(done(Cow::Borrowed(r.rest()), false, Some(self.word)))
            }
            // Modes 5 and 7 are never passed over: what they encrypt would be read as values.
            _ if way.reserved_modes == ReservedModes::Ignore && way.is_wired && self.has_long_header() => {
                Ok(done(Cow::Borrowed(r.rest()), false, Some(self.word)))
            }
            _ => Err(Fault::not_authentic(format!("security mode {mode} is not supported, modes 0, 5 and 7 are"))),
        }
    }
}

/// What mode 5 or 7 had encrypted, where it begins as a plaintext does. A MAC covers what was there before and cannot be checked.
fn clear(mode: u16, mut r: Reader<'_>) -> Option<&[u8]> {
    match mode {
        5 => {}
        7 => drop(r.u8("configuration extension").ok()?),
        _ => return None,
    }
    Some(r.rest()).filter(|plain| security::is_plaintext(plain))
}

/// The counter of a mode 7 telegram.
impl Authentication<'_> {
    pub fn needed_counter(&self) -> Result<Counter, Fault> {
        self.counter.map(Counter).ok_or_else(|| Fault::not_authentic("the authentication layer has no message counter"))
    }
}
