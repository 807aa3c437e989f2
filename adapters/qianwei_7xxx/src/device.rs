//! The meter's side of the protocol, for simulators and tests: it reports, takes acknowledgements and carries out commands.
//!
//! ```
//! # use qianwei_7xxx::device::{Heard, Meter, ReportKind};
//! let mut meter = Meter::plain("00000000123456789012");
//! meter.state.working_total += 12;
//! let frame = meter.report(1_710_461_130, ReportKind::Scheduled);
//! // … send it; then, for what the station sends back:
//! # let station = [0x68];
//! match meter.receive(&station) {
//!     Ok(Heard::Acknowledged { more, .. }) => println!("on line until done: {more}"),
//!     Ok(Heard::Commanded { answer, .. }) => println!("send {} bytes", answer.len()),
//!     Err(why) => println!("not for us: {why}"),
//! }
//! # assert_eq!(frame.len(), 136);
//! ```
//! Times are the caller's, and so is randomness: the same calls give the same bytes.

mod orders;
mod state;

pub use state::{ReportKind, State, Valve};

use crate::cipher::default_key;
use crate::frame::{self, Frame, Header, Way};
use crate::options::{CrcOrder, Options};
use crate::{code, corrector, reading};
use polymeter_sdk::keys::{Cipher, Key, Mode};
use polymeter_sdk::{Civil, Framing, civil};
use std::collections::BTreeMap;

/// A simulated meter. What the caller may turn is public; the rest is protocol.
#[derive(Clone, Debug)]
pub struct Meter {
    pub state: State,
    /// Answer the next commands with this code instead of carrying them out.
    pub refuse_with: Option<u16>,
    number: [u8; 20],
    iccid: [u8; 20],
    /// The key in use; none: this meter does not encrypt.
    key: Option<[u8; 16]>,
    next_frame_id: i32,
    /// Bodies written by set commands, by their code.
    written: BTreeMap<u16, Vec<u8>>,
    /// The last command's id and answer: a repetition is answered, not carried out.
    last: Option<(u16, i32, Vec<u8>)>,
}

/// What a frame of the station meant to the meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// To a report. `more`: a command follows. The caller sets its clock.
    Acknowledged { command: u16, frame_id: i32, code: i16, clock: Option<Civil>, more: bool },
    /// Carried out, refused or repeated; `answer` is the frame to send back.
    Commanded { command: u16, frame_id: i32, body: Vec<u8>, more: bool, answer: Vec<u8> },
}

impl Meter {
    /// A 前卫 meter. The number has 20 letters and digits; shorter ones are filled with zeros in front, longer ones lose their
    /// first characters.
    pub fn plain(meter_id: &str) -> Self {
        Self {
            state: State::default(),
            refuse_with: None,
            number: fixed(meter_id),
            iccid: *b"89860419001870123456",
            key: None,
            next_frame_id: 1,
            written: BTreeMap::new(),
            last: None,
        }
    }

    /// A 新圣 meter under its maker's key.
    pub fn encrypted(meter_id: &str) -> Self {
        let mut meter = Self::plain(meter_id);
        meter.key = Some(default_key(&meter.number));
        meter
    }

    #[must_use]
    pub fn with_key(mut self, key: [u8; 16]) -> Self {
        self.key = Some(key);
        self
    }

    #[must_use]
    pub fn with_iccid(mut self, iccid: &str) -> Self {
        self.iccid = fixed(iccid);
        self
    }

    /// Of the next report; counts on by itself.
    #[must_use]
    pub fn with_frame_id(mut self, frame_id: i32) -> Self {
        self.next_frame_id = frame_id;
        self
    }

    pub fn address(&self) -> String {
        self.number.iter().map(|b| char::from(*b)).collect()
    }

    pub fn iccid(&self) -> String {
        self.iccid.iter().map(|b| char::from(*b)).collect()
    }

    /// The key in use.
    pub fn key(&self) -> Option<[u8; 16]> {
        self.key
    }

    /// The body that the station wrote last with a set command.
    pub fn written(&self, command: u16) -> Option<&[u8]> {
        self.written.get(&command).map(Vec::as_slice)
    }

    /// 7021 with the present state. Send the same bytes again to simulate a repetition.
    pub fn report(&mut self, read_at: Civil, kind: ReportKind) -> Vec<u8> {
        let body = self.state.single(read_at, kind);
        self.uplink(code::REPORT, &body, false)
    }

    /// 7022 with the present state; `surplus` stands for the packed readings.
    pub fn packed(&mut self, read_at: Civil, sent_at: Civil, surplus: &[u8], more: bool) -> Vec<u8> {
        let mut body = self.state.packed(read_at, sent_at);
        body.extend_from_slice(surplus);
        self.uplink(code::PACKED, &body, more)
    }

    /// 10E1 with totals in 0.0001 m³ and zeros elsewhere.
    pub fn corrector_report(&mut self, read_at: Civil, working: u64, standard: u64) -> Vec<u8> {
        let mut body = [0; corrector::REPORT_BYTES];
        body[4] = 0xCA;
        body[6..12].copy_from_slice(&state::bcd6(read_at));
        body[47] = self.state.valve.number();
        for (at, total) in [(48, working), (56, standard)] {
            body[at..at + 4].copy_from_slice(&((total / 10_000) as u32).to_le_bytes());
            body[at + 4..at + 8].copy_from_slice(&((total % 10_000) as u32).to_le_bytes());
        }
        self.uplink(code::CORRECTOR_REPORT, &body, false)
    }

    /// Any frame that the meter begins, with the next frameId.
    pub fn uplink(&mut self, command: u16, body: &[u8], more: bool) -> Vec<u8> {
        let frame_id = self.next_frame_id;
        self.next_frame_id = frame_id.checked_add(1).unwrap_or(1);
        self.build(command, frame_id, 0, body, more)
    }

    /// Takes one frame of the station.
    ///
    /// # Errors
    /// Why a meter would ignore it.
    pub fn receive(&mut self, frame: &[u8]) -> Result<Heard, String> {
        let frame = Frame::parse(frame, CrcOrder::ByDirection).map_err(|fault| fault.detail)?;
        let Header { way, meter_id, command, frame_id, has_more: more, .. } = frame.header;
        if way == Way::Uplink || meter_id != self.number {
            return Err("a frame for somebody else".into());
        }
        let body = self.decrypt(frame.body)?;
        if matches!(command, code::REPORT | code::PACKED | code::CORRECTOR_REPORT) {
            let (Some(code), Some(clock)) = (body.first_chunk(), body.get(2..8).and_then(|b| b.first_chunk())) else {
                return Err(format!("an acknowledgement of {} bytes", body.len()));
            };
            let (code, clock) = (i16::from_le_bytes(*code), civil::from_bcd6(*clock));
            return Ok(Heard::Acknowledged { command, frame_id, code, clock, more });
        }
        let answer = match &self.last {
            Some((last, id, answer)) if (*last, *id) == (command, frame_id) => answer.clone(),
            _ => self.carry_out(command, frame_id, &body),
        };
        self.last = Some((command, frame_id, answer.clone()));
        Ok(Heard::Commanded { command, frame_id, body, more, answer })
    }

    /// Length of the station's frame at the start of a stream's bytes; bytes before it count as noise of that length.
    pub fn cut(received: &[u8]) -> Option<usize> {
        match frame::cut(received, &Options::default()) {
            Framing::Frame(length) | Framing::Skip(length) => Some(length as usize),
            Framing::Incomplete(_) => None,
            Framing::Foreign => Some(received.len()),
        }
    }

    /// The answer goes out under the key of its command, even when that command has changed it.
    fn carry_out(&mut self, command: u16, frame_id: i32, body: &[u8]) -> Vec<u8> {
        let answering = self.clone();
        let reply = match self.refuse_with {
            Some(code) => [code.to_le_bytes(), [0, 0]].concat(),
            None => self.execute(command, body),
        };
        answering.build(command, frame_id, 1, &reply, false)
    }

    fn build(&self, command: u16, frame_id: i32, resp_flag: u8, body: &[u8], more: bool) -> Vec<u8> {
        let wire = self.encrypt(body);
        let header = Header {
            has_more: more,
            frame_id,
            version: 1,
            command,
            meter_id: self.number,
            iccid: self.iccid,
            way: Way::Uplink,
            resp_flag,
            encryption: u16::from(self.key.is_some()),
            data_length: wire.len() as u16,
        };
        frame::build(&header, &wire)
    }

    fn encrypt(&self, body: &[u8]) -> Vec<u8> {
        let Some(key) = self.cipher() else { return body.to_vec() };
        let fill = 16 - body.len() % 16;
        let padded = [body, &vec![fill as u8; fill]].concat();
        key.encrypt(Mode::Ecb, &[], &[], &padded).unwrap_or_default()
    }

    fn decrypt(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        let Some(key) = self.cipher() else { return Ok(body.to_vec()) };
        let mut plain = key.decrypt(Mode::Ecb, &[], &[], body).map_err(|_| "no whole blocks".to_owned())?;
        let fill = plain.last().map_or(0, |last| usize::from(*last));
        let cut = plain.len().checked_sub(fill).filter(|_| (1..=16).contains(&fill));
        plain.truncate(cut.ok_or_else(|| "another key".to_owned())?);
        Ok(plain)
    }

    /// Natively any bytes make a key handle; the station's store is not asked.
    fn cipher(&self) -> Option<Key> {
        Key::maker_default("", Cipher::Aes128, self.key.as_ref()?).ok()
    }
}

/// The last 20 characters, filled with zeros in front.
fn fixed(text: &str) -> [u8; 20] {
    let mut out = [b'0'; 20];
    for (to, from) in out.iter_mut().rev().zip(text.bytes().rev()) {
        *to = from;
    }
    out
}

const _: () = assert!(reading::SINGLE_BYTES == 73 && reading::PACKED_BYTES == 78, "the layouts of state.rs");
