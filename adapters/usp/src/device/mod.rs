//! The terminal's side, for tests and simulation: says what a terminal says, hears what a station says, and carries out its
//! orders. Bytes in, bytes out; sockets, waiting and randomness are the caller's.
//!
//! What a meter does is the firmware library's (`wtcu`), as it would run on a board; here are only the board that it is given and, in `carrier`, what
//! concentrators and DTUs do besides.
//!
//! ```text
//! let mut meter = Device::meter("50001234567810");
//! send(meter.registration(now));
//! let Heard::Reply(reply) = meter.hear(now, &received)? else { … };
//! send(meter.daily(now));
//! // a command: send the frames of Heard::Command back
//! ```

mod bench;
mod carrier;

pub use crate::frame::{Terminal, flags, framing, message};
pub use crate::security::Suite;
pub use carrier::Behind;
pub use polymeter_sdk::keys::Cipher;
pub use wtcu::{Account, Counters, Event as EventEntry, Identity, Period, Plan, Reply, Status, Text};

use crate::frame::Frame;
use bench::Bench;
use carrier::Carrier;
use polymeter_sdk::{Civil, Fault, bcd};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use wtcu::{Algorithm, Buffer, FRAME_BYTES_MAX, Ignored};

/// Readings at any time: uncorrected and standard total, 0.01 m³.
pub type Readings = Box<dyn Fn(Civil) -> (Option<u32>, Option<u32>) + Send + Sync>;
type Out = Buffer<FRAME_BYTES_MAX>;

/// One entry of 4066.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubMeter {
    pub address: [u8; 7],
    pub at: Civil,
    pub total: Option<u32>,
    pub status: u16,
    /// 0 good, 1 stale, 2 no answer, 3 CRC wrong.
    pub quality: u8,
}

/// Answers that are longer than firmware keeps, by message, sequence and sum of their command.
type Answered = ((u16, u16, u16), Vec<Vec<u8>>);
const ANSWERED_MAX: usize = 16;

/// A simulated terminal. Fields, and those of the firmware's terminal that it derefs to, are its present state; change them freely between frames.
pub struct Device {
    terminal: wtcu::Terminal,
    pub readings: Readings,
    /// How far the terminal's clock is ahead of `now`, seconds. A reply of the station corrects it.
    pub drift_s: i64,
    /// The valve motor does not move: orders end with result 08.
    pub valve_stuck: bool,
    pub carrier: Carrier,
    /// The image that the station has sent so far.
    pub image: Vec<u8>,
    answered: VecDeque<Answered>,
    replied: VecDeque<((u16, u16, u16), Reply)>,
}

impl Deref for Device {
    type Target = wtcu::Terminal;
    fn deref(&self) -> &wtcu::Terminal {
        &self.terminal
    }
}
impl DerefMut for Device {
    fn deref_mut(&mut self) -> &mut wtcu::Terminal {
        &mut self.terminal
    }
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
        let identity = Identity {
            vendor: 12,
            model: Text::new("QG2.5-NB"),
            hardware: Text::new("H1.0"),
            firmware: Text::new("01.02.03"),
            iccid: Text::new("89860419001870123456"),
            imei: Text::new("866123040012345"),
            capabilities,
        };
        let mut terminal = wtcu::Terminal::new(terminal as u8, address, identity, 1);
        terminal.plan.heartbeat_minutes = if capabilities >> 6 & 1 == 1 { 5 } else { 0 };
        terminal.status =
            Status { battery_mv: Some(3610), rsrp: Some(-950), snr: Some(125), csq: Some(18), ..Status::new(1) };
        Self {
            terminal,
            readings: Box::new(|at| (Some((at.div_euclid(3600) % 1_000_000) as u32), None)),
            drift_s: 0,
            valve_stuck: false,
            carrier: Carrier::default(),
            image: Vec::new(),
            answered: VecDeque::new(),
            replied: VecDeque::new(),
        }
    }

    /// The printed address.
    pub fn address(&self) -> String {
        bcd::digits(&self.terminal.address).unwrap_or_default()
    }

    /// Gives the terminal a key, as at the factory (version 0) or by a former 4013.
    pub fn set_key(&mut self, suite: Suite, key: [u8; 16]) {
        self.terminal.set_key(firmware_suite(suite), key);
    }

    /// The key version in force; 0 is the factory key, or none.
    pub fn key_version(&self) -> u8 {
        self.terminal.keys.version()
    }

    /// Takes up the numbers of another, as a real terminal does over a restart.
    pub fn restore(&mut self, counters: Counters) {
        self.terminal.set_counters(counters);
    }

    /// What the terminal believes the time is.
    pub fn clock(&self, now: Civil) -> Civil {
        now + self.drift_s
    }

    /// 3004.
    pub fn registration(&mut self, now: Civil) -> Vec<u8> {
        self.say(now, |terminal, clock, board, out| terminal.registration(clock, board, out))
    }
    /// 3003.
    pub fn heartbeat(&mut self, now: Civil) -> Vec<u8> {
        self.say(now, |terminal, clock, board, out| terminal.heartbeat(clock, board, out))
    }
    /// 3043 with today's 00:00 reading.
    pub fn daily(&mut self, now: Civil, events: &[EventEntry]) -> Vec<u8> {
        self.say(now, |terminal, clock, board, out| {
            let day = wtcu::time::day_of(clock).unwrap_or(0);
            terminal.daily(clock, day, events, board, out)
        })
    }
    /// 3046 with `days` readings (1..=31) from the `oldest` day on; both totals where there is a standard one.
    pub fn history(&mut self, now: Civil, oldest: Civil, days: u8, events: &[EventEntry]) -> Vec<u8> {
        let oldest = wtcu::time::day_of(oldest).unwrap_or(0);
        self.say(now, |terminal, clock, board, out| terminal.history(clock, (oldest, days.into()), events, board, out))
    }
    /// 3062; at least one event.
    pub fn abnormal(&mut self, now: Civil, events: &[EventEntry]) -> Vec<u8> {
        self.say(now, |terminal, clock, board, out| terminal.abnormal(clock, events, board, out))
    }
    /// 4066.
    pub fn sub_meters(&mut self, entries: &[SubMeter]) -> Vec<u8> {
        self.report(message::SUB_METERS, &carrier::sub_meters(entries), false)
    }
    /// 4071 unsolicited.
    pub fn transparent(&mut self, port: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.report(message::TRANSPARENT, &carrier::unsolicited(port, protocol, payload), false)
    }

    /// Any report of the caller's own making, numbered and sealed like the others; `more` when another part follows.
    pub fn report(&mut self, number: u16, body: &[u8], more: bool) -> Vec<u8> {
        self.say(0, |terminal, _, board, out| terminal.report(number, &Buffer::of(body), more, board, out))
    }

    /// What an answer to this command has to name: message number and sequence. `None`: not a whole frame.
    pub fn question(command: &[u8]) -> Option<(u16, u16)> {
        Frame::parse(command).ok().map(|frame| (frame.header.message, frame.header.sequence))
    }
    /// An answer of the caller's own making.
    pub fn answer(&mut self, question: (u16, u16), suite: Option<Suite>, body: &[u8]) -> Vec<u8> {
        let suite = suite.map(firmware_suite);
        self.say(0, |terminal, _, board, out| terminal.answer_with(question, suite, body, board, out))
    }

    fn say(
        &mut self,
        now: Civil,
        write: impl FnOnce(&mut wtcu::Terminal, Civil, &mut Bench<'_>, &mut Out) -> bool,
    ) -> Vec<u8> {
        let clock = self.clock(now);
        let mut out = Out::new();
        let (terminal, mut bench) = self.parts();
        assert!(write(terminal, clock, &mut bench, &mut out), "a body of this length fits");
        out.as_slice().to_vec()
    }

    fn parts(&mut self) -> (&mut wtcu::Terminal, Bench<'_>) {
        let Self { terminal, readings, carrier, image, .. } = self;
        (terminal, Bench { readings, carrier, image })
    }

    /// What the station said. The frame must be whole (`framing`).
    ///
    /// # Errors
    /// A frame that a terminal ignores: damaged, not for it, or a reply whose seal is wrong.
    pub fn hear(&mut self, now: Civil, bytes: &[u8]) -> Result<Heard, Fault> {
        let clock = self.clock(now);
        let command = Frame::parse(bytes)?;
        let command = (command.header.message, command.header.sequence, command.crc);
        if let Some((_, frames)) = self.answered.iter().find(|(known, _)| *known == command) {
            return Ok(Heard::Command { message: command.0, result: 0, frames: frames.clone() });
        }
        // The station repeats a reply byte for byte; behind a command its counter is no longer the newest.
        if let Some((_, reply)) = self.replied.iter().find(|(known, _)| *known == command) {
            return Ok(Heard::Reply(*reply));
        }
        let stuck = self.valve_stuck;
        let (terminal, mut bench) = self.parts();
        let mut heard = terminal.hear(clock, bytes, &mut bench).map_err(ignored)?;
        if let wtcu::Heard::Move(_) = heard {
            heard = terminal.moved(!stuck, &mut bench);
        }
        let heard = match heard {
            wtcu::Heard::Reply(reply) => Heard::Reply(reply),
            wtcu::Heard::Farewell(reason) => Heard::Farewell(reason),
            wtcu::Heard::Command { message, result } => {
                let (mut frames, mut out) = (Vec::new(), Out::new());
                while terminal.answer(&mut bench, &mut out) {
                    frames.push(out.as_slice().to_vec());
                }
                Heard::Command { message, result, frames }
            }
            wtcu::Heard::Move(_) => return Err(Fault::corrupt("the valve moves and moves")),
        };
        if let Some(to) = self.terminal.take_clock() {
            self.drift_s += to - clock;
        }
        if let Heard::Reply(reply) = &heard {
            self.replied.push_back((command, *reply));
            if self.replied.len() > ANSWERED_MAX {
                self.replied.pop_front();
            }
        }
        if let Heard::Command { message, frames, .. } = &heard
            && Carrier::knows(*message)
        {
            self.answered.push_back((command, frames.clone()));
            if self.answered.len() > ANSWERED_MAX {
                self.answered.pop_front();
            }
        }
        Ok(heard)
    }
}

const fn firmware_suite(suite: Suite) -> wtcu::Suite {
    let algorithm = match suite.cipher {
        Cipher::Aes128 => Algorithm::Aes128,
        Cipher::Sm4 => Algorithm::Sm4,
    };
    wtcu::Suite { algorithm, version: suite.version }
}

fn ignored(why: Ignored) -> Fault {
    match why {
        Ignored::Damaged => Fault::corrupt("not a reply"),
        Ignored::ForAnother => Fault::not_mine("for another terminal"),
        Ignored::NotAStations => Fault::not_mine("flags that are not a station's"),
        Ignored::NotAuthentic => Fault::not_authentic("tag, nonce or key is wrong"),
    }
}
