//! The terminal's side, for tests and simulation: says what a terminal says, hears what a station says, and carries out its
//! orders. Bytes in, bytes out; sockets, waiting and randomness are the caller's.
//!
//! ```text
//! let mut meter = Device::meter("50001234567810");
//! send(meter.registration(now));
//! let Heard::Reply(reply) = meter.hear(now, &received)? else { … };
//! send(meter.daily(now));
//! // a command: send the frames of Heard::Command back
//! ```

mod bodies;
mod memory;
mod orders;

pub use crate::frame::{Terminal, flags, framing, message};
pub use crate::security::Suite;
pub use crate::status::Status;
pub use bodies::{EventEntry, SubMeter};
pub use memory::Counters;
pub use polymeter_sdk::keys::Cipher;

use crate::fields;
use crate::frame::{Frame, Header};
use crate::names::result;
use crate::security::Keys;
use memory::KeyRing;
use orders::Archived;
use polymeter_sdk::bytes::Reader;
use polymeter_sdk::{Civil, Fault, ReportPeriod, bcd};
use std::collections::{BTreeMap, VecDeque};

/// Readings at any time: uncorrected and standard total, 0.01 m³.
pub type Readings = Box<dyn Fn(Civil) -> (Option<u32>, Option<u32>) + Send + Sync>;
/// A meter behind a concentrator or DTU: address (zeros at a DTU), sub-protocol, payload; `None` is silence.
pub type Behind = Box<dyn FnMut([u8; 7], u8, &[u8]) -> Option<Vec<u8>> + Send>;

/// What a terminal says of itself in 3004.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// 0..=9999
    pub vendor: u16,
    pub model: String,
    pub hardware: String,
    pub firmware: String,
    pub iccid: String,
    pub imei: String,
    /// Capability bits of §E; bit 6 is always online.
    pub capabilities: u16,
}

/// What 4011 sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    pub period: ReportPeriod,
    pub minute_of_day: u16,
    pub stagger_minutes: u8,
    pub awake_minutes: u8,
    pub heartbeat_minutes: u16,
}

/// What 4041..4044 keep. Money in 0.01 yuan, prices in 0.0001.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    pub balance: i32,
    pub price: u32,
    pub level: u8,
    pub settled_total: u32,
    pub settled_at: Option<Civil>,
    pub purchase_count: u16,
    pub plan: u16,
}

/// A simulated terminal. Fields are its present state; change them freely between frames.
pub struct Device {
    pub terminal: Terminal,
    pub identity: Identity,
    pub plan: Plan,
    /// The present state that reports carry; `now` and `total` are filled in when a report is made.
    pub status: Status,
    pub readings: Readings,
    /// How far the terminal's clock is ahead of `now`, seconds. A reply of the station corrects it.
    pub drift_s: i64,
    pub account: Account,
    pub parameters: BTreeMap<u16, Vec<u8>>,
    /// Reports go out plain although the terminal has a key.
    pub plain_reports: bool,
    /// The valve motor does not move: orders end with result 08.
    pub valve_stuck: bool,
    /// What answers relayed frames.
    pub behind: Behind,
    /// Image id, block size, CRC-32, bytes received so far.
    pub firmware: Option<(u32, u16, u32, Vec<u8>)>,
    address: [u8; 7],
    keys: KeyRing,
    sequence: u16,
    executed: VecDeque<u32>,
    archive: BTreeMap<u16, Archived>,
    /// The last sixteen commands with the frames that answered them.
    answered: VecDeque<(u16, u16, u16, Vec<Vec<u8>>)>,
}

/// The station's answer to a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    pub message: u16,
    pub sequence: u16,
    pub result: u8,
    pub clock: Option<Civil>,
    /// Commands waiting; the terminal stays for them.
    pub pending: u8,
}

/// What a frame from the station meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    Reply(Reply),
    /// Send these back. `result` is what the first of them says.
    Command {
        message: u16,
        result: u8,
        frames: Vec<Vec<u8>>,
    },
    /// 0 done, 1 busy, 2 not authorised.
    Farewell(u8),
}

impl Device {
    /// A valve meter that reports daily at 00:00, awake ten minutes, without a key.
    pub fn meter(address: &str) -> Self {
        Self::new(Terminal::Meter, address, 0x0009)
    }
    /// An always-online concentrator.
    pub fn concentrator(address: &str) -> Self {
        Self::new(Terminal::Concentrator, address, 0x00C0)
    }
    /// An always-online DTU.
    pub fn dtu(address: &str) -> Self {
        Self::new(Terminal::Dtu, address, 0x0040)
    }

    /// # Panics
    /// When the address is not 1 to 14 decimal digits: a simulation's own mistake.
    pub fn new(terminal: Terminal, address: &str, capabilities: u16) -> Self {
        let address = bcd::pack_digits(address).expect("a simulated address is 1 to 14 decimal digits");
        let heartbeat_minutes = if capabilities >> 6 & 1 == 1 { 5 } else { 0 };
        Self {
            terminal,
            identity: Identity {
                vendor: 12,
                model: "QG2.5-NB".into(),
                hardware: "H1.0".into(),
                firmware: "01.02.03".into(),
                iccid: "89860419001870123456".into(),
                imei: "866123040012345".into(),
                capabilities,
            },
            plan: Plan {
                period: ReportPeriod::Daily,
                minute_of_day: 0,
                stagger_minutes: 2,
                awake_minutes: 10,
                heartbeat_minutes,
            },
            status: bodies::status_of_a_healthy_meter(),
            readings: Box::new(|at| (Some((at.div_euclid(3600) % 1_000_000) as u32), None)),
            drift_s: 0,
            account: Account::default(),
            parameters: orders::default_parameters(),
            plain_reports: false,
            valve_stuck: false,
            behind: Box::new(|_, _, _| None),
            firmware: None,
            address,
            keys: KeyRing::default(),
            sequence: 0,
            executed: VecDeque::new(),
            archive: BTreeMap::new(),
            answered: VecDeque::new(),
        }
    }

    /// The printed address.
    pub fn address(&self) -> String {
        bcd::digits(&self.address).unwrap_or_default()
    }

    /// Gives the terminal a key, as at the factory (version 0) or by a former 4013.
    pub fn set_key(&mut self, suite: Suite, key: [u8; 16]) {
        self.identity.capabilities |= if suite.cipher == Cipher::Aes128 { 0x10 } else { 0x20 };
        self.keys.install(suite, key);
    }

    /// The key version in force; 0 is the factory key, or none.
    pub fn key_version(&self) -> u8 {
        self.keys.current().map_or(0, |(suite, _)| suite.version)
    }

    /// Sequence and nonce, which a real terminal keeps over a restart.
    pub fn counters(&self) -> Counters {
        Counters { sequence: self.sequence, nonce: self.keys.nonce }
    }
    pub fn restore(&mut self, counters: Counters) {
        (self.sequence, self.keys.nonce) = (counters.sequence, counters.nonce);
    }

    /// What the terminal believes the time is.
    pub fn clock(&self, now: Civil) -> Civil {
        now + self.drift_s
    }

    /// The user opens the valve at the meter, if the station lets him.
    pub fn open_locally(&mut self) -> bool {
        let may = self.status.valve == 2;
        if may {
            (self.status.valve, self.status.reason) = (1, 0);
        }
        may
    }

    /// 3004.
    pub fn registration(&mut self, now: Civil) -> Vec<u8> {
        let body = bodies::registration(self, self.clock(now));
        self.report(message::REGISTRATION, &body, false)
    }
    /// 3003.
    pub fn heartbeat(&mut self, now: Civil) -> Vec<u8> {
        let body = bodies::heartbeat(&self.status, self.clock(now));
        self.report(message::HEARTBEAT, &body, false)
    }
    /// 3043 with today's 00:00 reading.
    pub fn daily(&mut self, now: Civil, events: &[EventEntry]) -> Vec<u8> {
        let body = bodies::daily(self, self.clock(now), events);
        self.report(message::DAILY, &body, false)
    }
    /// 3046 with `days` readings (1..=31) from the `oldest` day on; both totals where there is a standard one.
    pub fn history(&mut self, now: Civil, oldest: Civil, days: u8, events: &[EventEntry]) -> Vec<u8> {
        let body = bodies::history(self, self.clock(now), oldest, days, events);
        self.report(message::HISTORY, &body, false)
    }
    /// 3062; at least one event.
    pub fn abnormal(&mut self, now: Civil, events: &[EventEntry]) -> Vec<u8> {
        let body = bodies::abnormal(self, self.clock(now), events);
        self.report(message::ABNORMAL, &body, false)
    }
    /// 4066.
    pub fn sub_meters(&mut self, entries: &[SubMeter]) -> Vec<u8> {
        self.report(message::SUB_METERS, &bodies::sub_meters(entries), false)
    }
    /// 4071 unsolicited.
    pub fn transparent(&mut self, port: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.report(message::TRANSPARENT, &bodies::transparent(port, protocol, payload), false)
    }

    /// Any report of the caller's own making, numbered and sealed like the others; `more` when another part follows.
    pub fn report(&mut self, number: u16, body: &[u8], more: bool) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = if more { flags::REPORT_PART } else { flags::REPORT };
        let keys = if self.plain_reports { None } else { self.keys.current().filter(|(suite, _)| suite.version > 0) };
        let suite = keys.map(|(suite, _)| suite);
        self.frame(number, self.sequence, flags, suite, body)
    }

    /// What an answer to this command has to name: message number and sequence. `None`: not a whole frame.
    pub fn question(command: &[u8]) -> Option<(u16, u16)> {
        Frame::parse(command).ok().map(|frame| (frame.header.message, frame.header.sequence))
    }
    /// An answer of the caller's own making.
    pub fn answer(&mut self, (message, sequence): (u16, u16), suite: Option<Suite>, body: &[u8]) -> Vec<u8> {
        self.frame(message, sequence, flags::ANSWER, suite, body)
    }

    /// What the station said. The frame must be whole (`framing`).
    ///
    /// # Errors
    /// A frame that a terminal ignores: damaged, not for it, or a reply whose seal is wrong.
    pub fn hear(&mut self, now: Civil, bytes: &[u8]) -> Result<Heard, Fault> {
        let frame = Frame::parse(bytes)?;
        if frame.header.address != self.address {
            return Err(Fault::not_mine("for another terminal"));
        }
        match frame.header.flags {
            flags::REPLY => self.reply(now, &frame).map(Heard::Reply),
            flags::FAREWELL => Ok(Heard::Farewell(frame.body.first().copied().unwrap_or(0))),
            flags::COMMAND => Ok(self.command(now, &frame)),
            other => Err(Fault::not_mine(format!("flags {other:02x} are not a station's"))),
        }
    }

    fn reply(&mut self, now: Civil, frame: &Frame<'_>) -> Result<Reply, Fault> {
        let body = self.keys.open(&self.address(), frame)?.1;
        let mut r = Reader::new(&body);
        let reply = Reply {
            message: frame.header.message,
            sequence: frame.header.sequence,
            result: r.u8("result")?,
            clock: fields::clock(&mut r, "station clock")?,
            pending: r.u8("pending")?,
        };
        r.finish("pending")?;
        if let Some(clock) =
            reply.clock.filter(|clock| reply.result == result::OK && (clock - self.clock(now)).abs() > 5)
        {
            self.drift_s = clock - now;
        }
        Ok(reply)
    }

    fn command(&mut self, now: Civil, frame: &Frame<'_>) -> Heard {
        let header = frame.header;
        let known =
            |a: &&(u16, u16, u16, Vec<Vec<u8>>)| (a.0, a.1, a.2) == (header.message, header.sequence, frame.crc);
        if let Some((message, _, _, frames)) = self.answered.iter().find(known) {
            return Heard::Command { message: *message, result: result::OK, frames: frames.clone() };
        }
        let (suite, parts) = match self.keys.open(&self.address(), frame) {
            Err(_) => (None, vec![vec![result::SECURITY]]),
            Ok((suite, body)) if suite.is_some() || self.key_version() == 0 => {
                (suite, orders::execute(self, self.clock(now), &header, suite, &body))
            }
            // A terminal with a key takes no plain orders.
            Ok(_) => (None, vec![vec![result::SECURITY]]),
        };
        let result = parts.first().and_then(|p| p.first()).copied().unwrap_or(result::OK);
        let last = parts.len().saturating_sub(1);
        let frames: Vec<_> = (0..)
            .zip(&parts)
            .map(|(i, part)| {
                let flags = if i < last { flags::ANSWER_PART } else { flags::ANSWER };
                self.frame(header.message, header.sequence, flags, suite, part)
            })
            .collect();
        self.answered.push_back((header.message, header.sequence, frame.crc, frames.clone()));
        if self.answered.len() > 16 {
            self.answered.pop_front();
        }
        Heard::Command { message: header.message, result, frames }
    }

    fn frame(&mut self, message: u16, sequence: u16, flags: u8, suite: Option<Suite>, body: &[u8]) -> Vec<u8> {
        let security = suite.map_or(0, Suite::byte);
        let header = Header { message, terminal: self.terminal, address: self.address, sequence, flags, security };
        let keys: Option<Keys> = suite.and_then(|suite| self.keys.keys(&self.address(), suite));
        match keys {
            None => header.frame(body),
            Some(keys) => {
                self.keys.nonce += 1;
                header.frame(&keys.seal(&header, self.keys.nonce, body).expect("a body of any length can be sealed"))
            }
        }
    }
}
