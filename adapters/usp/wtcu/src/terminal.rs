//! The protocol's knowledge: numbers and seals frames, reads what the station says, keeps answers for repetitions, and remembers what
//! was carried out. Has no idea of time passing, of connections or of sleep.

use crate::board::{Board, Storage};
use crate::buffer::Reader;
use crate::cipher::{SEAL_BYTES, Suite};
use crate::days::Days;
use crate::frame::{Frame, Header, flags, message};
use crate::keyring::KeyRing;
use crate::orders::Carried;
use crate::parameters::Parameters;
use crate::report::{EVENTS_MAX, Event};
use crate::schedule::{Period, Plan};
use crate::state::{Account, Identity, Intent, Motion, Status};
use crate::time::from_t6;
use crate::{BODY_BYTES_MAX, Buffer, Civil, FRAME_BYTES_MAX, result};

/// Orders whose numbers are remembered over a power cut.
const EXECUTED_MAX: usize = 32;
/// Commands whose answers are kept (§B).
const ANSWERED_MAX: usize = 16;
/// A station's clock that differs by more is taken over.
const CLOCK_TOLERANCE_S: u64 = 5;

/// Numbers that may never be used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub sequence: u16,
    pub nonce: u32,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    Reply(Reply),
    /// Send what [`Terminal::answer`] gives until it gives nothing more. `result` is what the answer says.
    Command {
        message: u16,
        result: u8,
    },
    /// Move the valve, then say [`Terminal::moved`], then answer.
    Move(Motion),
    /// 0 done, 1 busy, 2 not authorised.
    Farewell(u8),
}

/// Why a frame is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ignored {
    Damaged,
    ForAnother,
    NotAStations,
    NotAuthentic,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Executed {
    pub ids: [u32; EXECUTED_MAX],
    pub next: u8,
    pub count: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Events {
    pub list: [Event; EVENTS_MAX],
    pub count: usize,
}

/// An answer that was given, by the command's fingerprint. Without bytes it is made anew: only reads have long answers.
#[derive(Clone, Copy)]
struct Answered<const ANSWER: usize> {
    command: (u16, u16, u16),
    frame: Buffer<ANSWER>,
}

/// What is to be answered next.
#[derive(Clone, Copy)]
pub(crate) enum Pending {
    Nothing,
    Body(Asked),
    Frozen(Asked, crate::orders::Frozen),
    Again(usize),
}

/// A command as its answer names it.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub message: u16,
    pub sequence: u16,
    pub crc: u16,
    pub suite: Option<Suite>,
}

/// A terminal's knowledge. `ANSWER` is how long a kept answer may be; 64 bytes are enough for every order that must not be carried out twice.
pub struct Terminal<const ANSWER: usize = 64> {
    /// 1 meter, 2 concentrator, 3 DTU.
    pub kind: u8,
    pub address: [u8; 7],
    pub identity: Identity,
    pub plan: Plan,
    /// The present state that reports carry.
    pub status: Status,
    pub account: Account,
    pub parameters: Parameters,
    pub keys: KeyRing,
    /// Reports go out plain although there is a key.
    pub plain_reports: bool,
    pub days: Days,
    /// Main and backup station as 4012 brought them: transport, kind, host, port, APN.
    pub endpoints: [Buffer<72>; 2],
    pub(crate) kept_slot: Option<u16>,
    pub(crate) counters: Counters,
    pub(crate) ceiling: Counters,
    pub(crate) generation: u32,
    pub(crate) executed: Executed,
    pub(crate) intent: Option<Intent>,
    pub(crate) events: Events,
    pub(crate) upgrade: crate::orders::Image,
    pub(crate) clock_to: Option<Civil>,
    pub(crate) body: Buffer<BODY_BYTES_MAX>,
    pub(crate) pending: Pending,
    /// The valve order that is under way on this connection.
    moving: Option<Asked>,
    answered: [Answered<ANSWER>; ANSWERED_MAX],
    answered_next: usize,
}

impl<const ANSWER: usize> Terminal<ANSWER> {
    const ROOM_FOR_ORDERS: () = assert!(ANSWER >= 64, "answers of orders have to fit");

    /// A terminal as it left the factory: reports daily at 00:00, stagger 2, awake ten minutes, without a key.
    pub fn new(kind: u8, address: [u8; 7], identity: Identity, valve: u8) -> Self {
        let () = Self::ROOM_FOR_ORDERS;
        let plan = Plan {
            period: Period::Daily,
            minute_of_day: 0,
            stagger_minutes: 2,
            awake_minutes: 10,
            heartbeat_minutes: 0,
        };
        Self {
            kind,
            address,
            identity,
            plan,
            status: Status::new(valve),
            account: Account::default(),
            parameters: Parameters::default(),
            keys: KeyRing::default(),
            plain_reports: false,
            days: Days::default(),
            endpoints: [Buffer::new(); 2],
            kept_slot: None,
            counters: Counters::default(),
            ceiling: Counters::default(),
            generation: 0,
            executed: Executed::default(),
            intent: None,
            events: Events::default(),
            upgrade: crate::orders::Image::default(),
            clock_to: None,
            body: Buffer::new(),
            pending: Pending::Nothing,
            moving: None,
            answered: [Answered { command: (0, 0, 0), frame: Buffer::new() }; ANSWERED_MAX],
            answered_next: 0,
        }
    }

    /// After power came back: takes up the image, and what the cut has interrupted. `Some`: the valve has to be moved, then [`Terminal::moved`].
    pub fn wake(&mut self, board: &mut impl Board) -> Option<Motion> {
        if !self.restore_image(board) {
            self.save(board);
            return None;
        }
        self.intent?;
        if board.is_closed() == Some(true) {
            self.close_done(true, board);
            return None;
        }
        Some(Motion::Close)
    }

    /// What may never be used again, for who keeps it elsewhere.
    pub const fn counters(&self) -> Counters {
        self.counters
    }
    pub const fn set_counters(&mut self, counters: Counters) {
        (self.counters, self.ceiling) = (counters, counters);
    }

    /// Gives it a key, as at the factory (version 0) or by a former 4013.
    pub fn set_key(&mut self, suite: Suite, key: [u8; 16]) {
        self.identity.capabilities |= 0x08 << suite.algorithm as u8;
        self.keys.install(suite, key);
    }

    /// The user opens the valve at the meter, if the station lets him.
    pub const fn open_locally(&mut self) -> bool {
        let may = self.status.valve == 2;
        if may {
            (self.status.valve, self.status.reason) = (1, 0);
        }
        may
    }

    /// Keeps an event until a report has brought it; the oldest give way.
    pub fn note(&mut self, event: Event) {
        let Events { list, count } = &mut self.events;
        if *count == EVENTS_MAX {
            list.copy_within(1.., 0);
            *count -= 1;
        }
        list[*count] = event;
        *count += 1;
    }

    /// The station's clock, once: to be set before anything else happens.
    pub const fn take_clock(&mut self) -> Option<Civil> {
        self.clock_to.take()
    }

    pub fn registration(&mut self, now: Civil, board: &mut impl Board, out: &mut Buffer<FRAME_BYTES_MAX>) -> bool {
        let mut body = Buffer::new();
        self.put_registration(now, board, &mut body);
        self.report(message::REGISTRATION, &body, false, board, out)
    }
    pub fn heartbeat(&mut self, now: Civil, board: &mut impl Board, out: &mut Buffer<FRAME_BYTES_MAX>) -> bool {
        let mut body = Buffer::new();
        self.put_heartbeat(now, &mut body);
        self.report(message::HEARTBEAT, &body, false, board, out)
    }
    /// 3043 with the reading of this day's 00:00.
    pub fn daily(
        &mut self,
        now: Civil,
        day: u16,
        events: &[Event],
        board: &mut impl Board,
        out: &mut Buffer<FRAME_BYTES_MAX>,
    ) -> bool {
        let mut body = Buffer::new();
        self.put_daily(now, day, events, board, &mut body);
        self.report(message::DAILY, &body, false, board, out)
    }
    /// 3046 with `count` readings (1..=31) from the `oldest` day on.
    pub fn history(
        &mut self,
        now: Civil,
        (oldest, count): (u16, u16),
        events: &[Event],
        board: &mut impl Board,
        out: &mut Buffer<FRAME_BYTES_MAX>,
    ) -> bool {
        let mut body = Buffer::new();
        self.put_history(now, (oldest, count), events, board, &mut body);
        self.report(message::HISTORY, &body, false, board, out)
    }
    /// 3062; at least one event.
    pub fn abnormal(
        &mut self,
        now: Civil,
        events: &[Event],
        board: &mut impl Board,
        out: &mut Buffer<FRAME_BYTES_MAX>,
    ) -> bool {
        let mut body = Buffer::new();
        self.put_abnormal(now, events, board, &mut body);
        self.report(message::ABNORMAL, &body, false, board, out)
    }

    /// Any report, numbered and sealed like the others. False: its numbers could not be made durable, nothing may be sent.
    pub fn report(
        &mut self,
        number: u16,
        body: &Buffer<BODY_BYTES_MAX>,
        more: bool,
        board: &mut impl Storage,
        out: &mut Buffer<FRAME_BYTES_MAX>,
    ) -> bool {
        self.counters.sequence = self.counters.sequence.wrapping_add(1);
        let flags = if more { flags::REPORT_PART } else { flags::REPORT };
        let suite = if self.plain_reports { None } else { self.keys.suite().filter(|suite| suite.version > 0) };
        let asked = Asked { message: number, sequence: self.counters.sequence, crc: 0, suite };
        self.frame(asked, flags, body, board, out)
    }

    /// What the station said. The frame must be whole ([`crate::frame::cut`]).
    ///
    /// # Errors
    /// Why it is ignored.
    pub fn hear(&mut self, now: Civil, bytes: &[u8], board: &mut impl Board) -> Result<Heard, Ignored> {
        let frame = Frame::parse(bytes).ok_or(Ignored::Damaged)?;
        if frame.header.address != self.address {
            return Err(Ignored::ForAnother);
        }
        match frame.header.flags {
            flags::REPLY => self.hear_reply(now, &frame),
            flags::FAREWELL => Ok(Heard::Farewell(frame.body.first().copied().unwrap_or(0))),
            flags::COMMAND => Ok(self.hear_command(now, &frame, board)),
            _ => Err(Ignored::NotAStations),
        }
    }

    fn hear_reply(&mut self, now: Civil, frame: &Frame<'_>) -> Result<Heard, Ignored> {
        let mut plain = Buffer::new();
        self.keys.open(frame, &mut plain, false).map_err(|_| Ignored::NotAuthentic)?;
        let mut r = Reader(plain.as_slice());
        let mut read = || {
            let reply = Reply {
                message: frame.header.message,
                sequence: frame.header.sequence,
                result: r.u8()?,
                clock: from_t6(r.array()?)?,
                pending: r.u8()?,
            };
            r.0.is_empty().then_some(reply)
        };
        let reply = read().ok_or(Ignored::Damaged)?;
        let off = |clock: &Civil| reply.result == result::OK && clock.abs_diff(now) > CLOCK_TOLERANCE_S;
        self.clock_to = reply.clock.filter(off);
        Ok(Heard::Reply(reply))
    }

    fn hear_command(&mut self, now: Civil, frame: &Frame<'_>, board: &mut impl Board) -> Heard {
        let header = &frame.header;
        let command = (header.message, header.sequence, frame.crc);
        let known = self.answered.iter().position(|a| a.command == command && a.command.0 != 0);
        if let Some(place) = known.filter(|place| !self.answered[*place].frame.is_empty()) {
            self.pending = Pending::Again(place);
            return Heard::Command { message: header.message, result: result::OK };
        }
        let mut plain = Buffer::new();
        let mut asked = Asked { message: header.message, sequence: header.sequence, crc: frame.crc, suite: None };
        let opened = self.keys.open(frame, &mut plain, known.is_some());
        // A terminal with a key takes no plain orders.
        let allowed = opened.ok().filter(|suite| suite.is_some() || self.keys.version() == 0);
        let Some(suite) = allowed else {
            return self.settle(asked, result::SECURITY);
        };
        asked.suite = suite;
        self.body.clear();
        self.body.push(result::OK);
        match self.carry_out(now, header.message, suite, Reader(plain.as_slice()), board) {
            Carried::Done(result) => self.settle_with(asked, result),
            Carried::Frozen(frozen) => {
                self.pending = Pending::Frozen(asked, frozen);
                Heard::Command { message: header.message, result: result::OK }
            }
            Carried::Moving(motion) => {
                self.moving = Some(asked);
                Heard::Move(motion)
            }
        }
    }

    /// The motor has stopped; `reached`: where it should be.
    pub fn moved(&mut self, reached: bool, board: &mut impl Board) -> Heard {
        let result = self.close_done(reached, board);
        match self.moving.take() {
            Some(asked) => self.settle_with(asked, result),
            None => Heard::Command { message: message::VALVE, result },
        }
    }

    /// An answer of the result alone.
    fn settle(&mut self, asked: Asked, result: u8) -> Heard {
        self.body.clear();
        self.body.push(result);
        self.settle_with(asked, result)
    }

    fn settle_with(&mut self, asked: Asked, result: u8) -> Heard {
        if let Some(first) = self.body.as_mut_slice().first_mut() {
            *first = result;
        }
        self.pending = Pending::Body(asked);
        Heard::Command { message: asked.message, result }
    }

    /// The next frame of the answer. False: there is none (more).
    pub fn answer(&mut self, board: &mut impl Board, out: &mut Buffer<FRAME_BYTES_MAX>) -> bool {
        match self.pending {
            Pending::Nothing => false,
            Pending::Again(place) => {
                *out = Buffer::of(self.answered[place].frame.as_slice());
                self.pending = Pending::Nothing;
                true
            }
            Pending::Body(asked) => {
                self.pending = Pending::Nothing;
                let body = self.body;
                let made = self.frame(asked, flags::ANSWER, &body, board, out);
                let kept = if made && out.len() <= ANSWER { Buffer::of(out.as_slice()) } else { Buffer::new() };
                self.remember(asked, kept);
                made
            }
            Pending::Frozen(asked, frozen) => {
                self.body.clear();
                let rest = self.put_frozen(frozen, board);
                let last = rest.is_none();
                self.pending = rest.map_or(Pending::Nothing, |rest| Pending::Frozen(asked, rest));
                if last {
                    self.remember(asked, Buffer::new());
                }
                let body = self.body;
                self.frame(asked, if last { flags::ANSWER } else { flags::ANSWER_PART }, &body, board, out)
            }
        }
    }

    fn remember(&mut self, asked: Asked, frame: Buffer<ANSWER>) {
        let command = (asked.message, asked.sequence, asked.crc);
        let place = self.answered.iter().position(|a| a.command == command).unwrap_or(self.answered_next);
        self.answered[place] = Answered { command, frame };
        if place == self.answered_next {
            self.answered_next = (self.answered_next + 1) % ANSWERED_MAX;
        }
    }

    /// An answer of the caller's own making.
    pub fn answer_with(
        &mut self,
        (message, sequence): (u16, u16),
        suite: Option<Suite>,
        body: &[u8],
        board: &mut impl Storage,
        out: &mut Buffer<FRAME_BYTES_MAX>,
    ) -> bool {
        let asked = Asked { message, sequence, crc: 0, suite };
        self.frame(asked, flags::ANSWER, &Buffer::of(body), board, out)
    }

    /// Seals and wraps. Numbers beyond those that the image has reserved are reserved first.
    fn frame(
        &mut self,
        asked: Asked,
        flags: u8,
        body: &Buffer<BODY_BYTES_MAX>,
        board: &mut impl Storage,
        out: &mut Buffer<FRAME_BYTES_MAX>,
    ) -> bool {
        let header = Header {
            message: asked.message,
            kind: self.kind,
            address: self.address,
            sequence: asked.sequence,
            flags,
            security: asked.suite.map_or(0, Suite::byte),
        };
        let room = if asked.suite.is_some() { SEAL_BYTES } else { 0 };
        if body.is_full() || body.len() + room > BODY_BYTES_MAX {
            return false;
        }
        let beyond = self.counters.sequence.wrapping_sub(self.ceiling.sequence);
        let used_up = (1..0x8000).contains(&beyond) || self.counters.nonce >= self.ceiling.nonce;
        let Some(keys) = asked.suite.and_then(|suite| self.keys.keys(suite)) else {
            // A sequence number used twice costs at most a repetition; without storage a plain report is still worth more.
            if used_up {
                self.save(board);
            }
            header.frame(body.as_slice(), out);
            return true;
        };
        if used_up && !self.save(board) {
            return false;
        }
        let Some(nonce) = self.counters.nonce.checked_add(1) else { return false };
        self.counters.nonce = nonce;
        let mut sealed = Buffer::new();
        keys.seal(&header, nonce, body.as_slice(), &mut sealed);
        header.frame(sealed.as_slice(), out);
        true
    }

    pub(crate) const fn storage_failed(&mut self, failed: bool) {
        if failed {
            self.status.alarms |= Status::STORAGE_FAULT;
        } else {
            self.status.alarms &= !Status::STORAGE_FAULT;
        }
    }
}
