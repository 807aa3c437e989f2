//! The meter's side of the protocol, for simulators and tests: it answers a master on a bus, and sends radio telegrams.
//!
//! ```
//! # use en13757::device::{Meter, Record};
//! let mut meter = Meter::gas("LGB120820584003");
//! meter.records.push(Record::bcd(0x13, 123_456));
//! assert_eq!(meter.receive(&[0x10, 0x40, 0x05, 0x45, 0x16]), None, "another one is meant");
//! assert_eq!(meter.receive(&[0x10, 0x40, 0x01, 0x41, 0x16]), Some(vec![0xE5]));
//! let answer = meter.receive(&[0x10, 0x7B, 0x01, 0x7C, 0x16]).expect("its records");
//! let telegram = meter.radio(en13757::radio::Format::A);
//! # assert_eq!((answer[0], telegram[1]), (0x68, 0x44));
//! ```
//! It knows no clock and no randomness: the same calls give the same bytes.

use crate::identity::Identity;
use crate::layers::ci;
use crate::link::{self, Wired, address, control};
use crate::radio::{self, Format};
use crate::time;
use polymeter_sdk::keys::{Cipher, Derivation, Key, Mode};
use polymeter_sdk::{Civil, bcd};

const BLOCK: usize = 16;
const FILLER: u8 = 0x2F;
/// Records of one telegram; the header and the link take the rest of 255.
const RECORD_BYTES_MAX: usize = 230;

/// A data record, as it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record(pub Vec<u8>);

impl Record {
    /// Eight digits of the instantaneous value; those that do not fit are lost.
    pub fn bcd(vif: u8, value: u64) -> Self {
        Self::bcd_of(&[0x0C], &[vif], value)
    }

    /// Eight digits with any DIF (coding C), DIFEs, VIF and VIFEs.
    pub fn bcd_of(dib: &[u8], vib: &[u8], value: u64) -> Self {
        let mut digits = bcd::pack_number::<4>(value % 100_000_000).unwrap_or_default();
        digits.reverse();
        Self([dib, vib, &digits].concat())
    }

    /// Type F.
    pub fn time(dib: &[u8], at: Civil) -> Self {
        Self([dib, &[0x6D], &time::type_f(at).unwrap_or_default()].concat())
    }
}

/// How a meter encrypts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    None,
    Mode5([u8; 16]),
    /// With the message counter of the next telegram; counts on.
    Mode7([u8; 16], u32),
}

/// A simulated meter. What the caller may turn is public; the rest is protocol.
#[derive(Clone, Debug)]
pub struct Meter {
    pub identity: Identity,
    /// Bus address.
    pub primary: u8,
    pub status: u8,
    pub records: Vec<Record>,
    pub security: Security,
    /// Answer requests with this application error.
    pub fail_with: Option<u8>,
    /// As set last by the station.
    pub clock: Option<Civil>,
    access: u8,
    selected: bool,
    /// Frame count bit of the last request, what was answered, and which telegram is next.
    last: Option<(u8, Vec<u8>)>,
    telegram: usize,
}

impl Meter {
    /// A gas meter at bus address 1 without records. An address that is none gives the identification 0.
    pub fn gas(address: &str) -> Self {
        let nobody = Identity { id: [0; 4], manufacturer: 0x0443, version: 1, medium: 3 };
        Self {
            identity: Identity::parse(address).unwrap_or(nobody),
            primary: 1,
            status: 0,
            records: Vec::new(),
            security: Security::None,
            fail_with: None,
            clock: None,
            access: 0,
            selected: false,
            last: None,
            telegram: 0,
        }
    }

    #[must_use]
    pub fn with_security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    pub fn address(&self) -> String {
        self.identity.address()
    }

    /// Takes one frame of a master; `None` is silence.
    pub fn receive(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match link::parse(frame).ok()? {
            Wired::Short { control: control::SND_NKE, address } if self.is_meant(address) => {
                self.last = None;
                self.telegram = 0;
                if address == address::SELECTED {
                    self.selected = false;
                }
                Some(vec![link::ACK])
            }
            Wired::Short { control, address } if self.is_meant(address) => self.request(control),
            Wired::Long { address: address::SELECTED, ci: ci::SELECT, data, .. } => self.select(data),
            Wired::Long { control, address, ci, data } if self.is_meant(address) => {
                (control & !control::FCB == control::SND_UD).then_some(())?;
                Some(self.take(ci, data))
            }
            _ => None,
        }
    }

    fn is_meant(&self, address: u8) -> bool {
        address == self.primary || address == address::ANY || (address == address::SELECTED && self.selected)
    }

    /// All that is no wildcard has to agree; otherwise the selection ends.
    fn select(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let wanted: &[u8; 8] = data.first_chunk()?;
        let own = self.identity.to_header();
        let nibble = |wanted: u8, own: u8| wanted == 15 || wanted == own;
        let id = (0..4).all(|i| nibble(wanted[i] >> 4, own[i] >> 4) && nibble(wanted[i] & 15, own[i] & 15));
        let maker = wanted[4..6] == [0xFF, 0xFF] || wanted[4..6] == own[4..6];
        let rest = (6..8).all(|i| wanted[i] == 0xFF || wanted[i] == own[i]);
        self.selected = id && maker && rest;
        self.last = None;
        self.telegram = 0;
        self.selected.then(|| vec![link::ACK])
    }

    fn take(&mut self, ci: u8, data: &[u8]) -> Vec<u8> {
        if let (ci::DATA_TO_METER, [0x04 | 0x06, 0x6D, at @ ..]) = (ci, data)
            && let Some(time::Moment::DateTime { at, .. }) = time::read(at)
        {
            self.clock = Some(at);
        }
        vec![link::ACK]
    }

    /// The same frame count bit again asks for the same telegram again.
    fn request(&mut self, control: u8) -> Option<Vec<u8>> {
        if control & !control::FCB == control::REQ_UD1 {
            return Some(vec![link::ACK]);
        }
        (control & !control::FCB == control::REQ_UD2).then_some(())?;
        if let Some((last, answer)) = &self.last
            && *last == control
        {
            return Some(answer.clone());
        }
        let answer = self.answer();
        self.last = Some((control, answer.clone()));
        Some(answer)
    }

    fn answer(&mut self) -> Vec<u8> {
        if let Some(code) = self.fail_with {
            return link::long(control::RSP_UD, self.primary, ci::ERROR, &[code]);
        }
        let parts = self.parts();
        let part = parts.get(self.telegram % parts.len().max(1)).cloned().unwrap_or_default();
        self.telegram += 1;
        let body = self.body(ci::LONG, &part);
        match body.split_first() {
            Some((kind, data)) => link::long(control::RSP_UD, self.primary, *kind, data),
            None => Vec::new(),
        }
    }

    /// Records in as many telegrams as they need; all but the last end with 1F.
    fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![Vec::new()];
        for Record(bytes) in &self.records {
            if parts.last().is_some_and(|p| p.len() + bytes.len() > RECORD_BYTES_MAX) {
                parts.push(Vec::new());
            }
            if let Some(part) = parts.last_mut() {
                part.extend_from_slice(bytes);
            }
        }
        let last = parts.len() - 1;
        parts.iter_mut().take(last).for_each(|part| part.push(0x1F));
        parts
    }

    /// A radio telegram with all records (short header); those that do not fit are lost.
    pub fn radio(&mut self, format: Format) -> Vec<u8> {
        let part = self.parts().into_iter().next().unwrap_or_default();
        let body = self.body(ci::SHORT, &part);
        radio::build(format, 0x44, &self.identity, &body).unwrap_or_default()
    }

    /// From the CI field on, with the next access number.
    fn body(&mut self, kind: u8, records: &[u8]) -> Vec<u8> {
        self.access = self.access.wrapping_add(1);
        let mut head = vec![kind];
        if kind == ci::LONG {
            head.extend_from_slice(&self.identity.to_header());
        }
        head.extend_from_slice(&[self.access, self.status]);
        match self.security {
            Security::None => [&head[..], &[0, 0], records].concat(),
            Security::Mode5(key) => {
                let plain = filled(records);
                let mut iv = [self.access; BLOCK];
                iv[..8].copy_from_slice(&self.identity.to_radio());
                let secret = encrypt(&key, &iv, &plain);
                [&head[..], &[(plain.len() / BLOCK) as u8 * 16, 5], &secret].concat()
            }
            Security::Mode7(key, counter) => {
                self.security = Security::Mode7(key, counter.wrapping_add(1));
                let plain = filled(records);
                let ephemeral = derive(&key, 0, counter, self.identity);
                let secret = ephemeral.encrypt(Mode::Cbc, &[0; BLOCK], &[], &plain).unwrap_or_default();
                let message = [&head[..], &[(plain.len() / BLOCK) as u8 * 16, 7, 0x10], &secret].concat();
                let mut input = vec![0x25];
                input.extend_from_slice(&counter.to_le_bytes());
                let mac = derive(&key, 1, counter, self.identity).mac(&[&input[..], &message].concat());
                [&[ci::AFL, 0x0F, 0x00, 0x2C][..], &input, &mac[..8], &message].concat()
            }
        }
    }
}

/// Between two fillers and as many as fill the last block.
fn filled(records: &[u8]) -> Vec<u8> {
    let mut plain = [&[FILLER, FILLER][..], records].concat();
    plain.resize(plain.len().next_multiple_of(BLOCK), FILLER);
    plain
}

/// Natively any bytes make a key handle; the station's store is not asked.
fn encrypt(key: &[u8; BLOCK], iv: &[u8; BLOCK], plain: &[u8]) -> Vec<u8> {
    let key = Key::maker_default("", Cipher::Aes128, key);
    key.and_then(|k| k.encrypt(Mode::Cbc, iv, &[], plain)).unwrap_or_default()
}

fn derive(key: &[u8; BLOCK], constant: u8, counter: u32, identity: Identity) -> Key {
    let mut input = [0x07; BLOCK];
    input[0] = constant;
    input[1..5].copy_from_slice(&counter.to_le_bytes());
    input[5..9].copy_from_slice(&identity.id);
    let key = Key::maker_default("", Cipher::Aes128, key).and_then(|k| k.derive(Derivation::Cmac, &input));
    key.expect("invariant: a native key handle can always be made and derived")
}
