//! A terminal's day (§G): sleep until the slot, go on line, register, say one report, wait for orders, close; and again later when nobody could be
//! reached. Pure: what happened comes in with the time and a random number, what to do next goes out.
//!
//! ```text
//! Asleep ─▶ PoweringUp ─▶ Connecting ─▶ Registering ─▶ Reporting ─▶ Serving ─▶ Closing ─▶ Asleep
//!    ▲                        no modem, no connection, no answer, busy                       │
//!    └──────────────── again after 2, 4, … 64 minutes, jittered; at most 8 times ◀───────────┘
//! ```

use crate::board::Board;
use crate::days::{DAYS_KEPT, REPORT_DAYS_MAX};
use crate::frame::message::SET_SCHEDULE;
use crate::frame::{Cut, cut};
use crate::report::Event;
use crate::schedule::{Period, RETRIES_MAX, retry_after_s};
use crate::state::Motion;
use crate::terminal::{Heard, Reply, Terminal};
use crate::time::{DAY, day_of, midnight};
use crate::{Buffer, Civil, FRAME_BYTES_MAX, result};

const ANSWER_WAIT_S: Civil = 20;
const TRIES: u8 = 3;
/// Without a command so long, the terminal closes (§A 3).
const COMMAND_WAIT_S: Civil = 120;
/// Silence after an answer that names no commands.
const FAREWELL_WAIT_S: Civil = 5;
const BEATS_MISSED_MAX: u8 = 3;
/// Alarm codes; what is above is an occurrence or an alarm's end.
const ALARM_CODES: u8 = 0x20;
const VALVE_CLOSED: u8 = 0x40;
const CAPABILITY_ALWAYS_ONLINE: u16 = 1 << 6;

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The last action is done; of a start of the device: power is there.
    Done,
    /// It could not be done; on line also: the connection is gone.
    Failed,
    /// The time of `SleepUntil` or `ReceiveUntil` has come; earlier does no harm.
    Tick,
    /// While receiving.
    Received(&'a [u8]),
    /// Something happened at the meter; while sleeping or receiving.
    Event(Event),
}

/// What to do next. After all but the two waits an [`Input::Done`] or [`Input::Failed`] is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    SleepUntil(Civil),
    PowerUpModem,
    /// To endpoint 0 (main) or 1 (backup).
    Connect(usize),
    Send(&'a [u8]),
    ReceiveUntil(Civil),
    MoveValve(Motion),
    /// From then on `now` is the new time.
    SetClock(Civil),
    /// And power the modem down.
    Disconnect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Start,
    Resuming,
    Asleep,
    PoweringUp,
    Connecting,
    /// Waits for the answer to what was sent last.
    Registering,
    /// The clock is being set before a report is made by it.
    Registered,
    Reporting,
    Beating,
    Serving,
    Moving,
    Closing,
}

/// What a send or a setting of the clock goes on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Wait,
    SendReport,
    SendAnswer,
    Sleep,
    PowerUp,
    Connect,
    Move(Motion),
    SetClock(Civil),
    Disconnect,
}

/// What the report in hand brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Days(u16, u16),
    Abnormal,
}

/// How a communication ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Done,
    /// Nobody there, no answer, or busy: again later.
    Congested,
    /// Not wanted: not before the next slot.
    Refused,
}

/// The whole unit.
pub struct Wtcu {
    pub terminal: Terminal,
    phase: Phase,
    /// Of the wait that is under way.
    until: Civil,
    awake_until: Civil,
    next_beat: Civil,
    /// The next slot and the day whose report is due then.
    slot: Option<(Civil, u16)>,
    /// A report or event that waits for its next try.
    retry_at: Option<Civil>,
    /// The day whose report is due now, until the station has it.
    due: Option<u16>,
    urgent: bool,
    attempt: u8,
    tries: u8,
    beats_missed: u8,
    told: Told,
    events_told: usize,
    end: End,
    awaited: u16,
    rx: Buffer<FRAME_BYTES_MAX>,
    tx: Buffer<FRAME_BYTES_MAX>,
    answer: Buffer<FRAME_BYTES_MAX>,
}

impl Wtcu {
    /// Before power is there: the first [`Input::Done`] starts it.
    pub const fn new(terminal: Terminal) -> Self {
        Self {
            terminal,
            phase: Phase::Start,
            until: 0,
            awake_until: 0,
            next_beat: 0,
            slot: None,
            retry_at: None,
            due: None,
            urgent: false,
            attempt: 0,
            tries: 0,
            beats_missed: 0,
            told: Told::Abnormal,
            events_told: 0,
            end: End::Done,
            awaited: 0,
            rx: Buffer::new(),
            tx: Buffer::new(),
            answer: Buffer::new(),
        }
    }

    /// The one driving function. `now` is the device's clock, `random` any number that others do not have.
    pub fn poll(&mut self, input: Input<'_>, now: Civil, random: u32, board: &mut impl Board) -> Action<'_> {
        let step = match (self.phase, input) {
            (_, Input::Event(event)) => self.on_event(event, now, board),
            (Phase::Start, _) => self.start(now, random, board),
            (Phase::Resuming, _) => {
                self.terminal.moved(matches!(input, Input::Done), board);
                self.fall_asleep(now, board)
            }
            (Phase::Asleep, _) => self.wake(now, board),
            (Phase::Closing, _) => self.closed(now, random, board),
            (Phase::Moving, _) => {
                self.terminal.moved(matches!(input, Input::Done), board);
                self.phase = Phase::Serving;
                self.until = self.serve_until(now, COMMAND_WAIT_S);
                self.go_on(now, board)
            }
            (_, Input::Failed) => self.close(End::Congested),
            (Phase::PoweringUp, Input::Done) => {
                self.phase = Phase::Connecting;
                Step::Connect
            }
            (Phase::PoweringUp, _) => Step::PowerUp,
            (Phase::Connecting, Input::Done) => self.register(now, board),
            (Phase::Connecting, _) => Step::Connect,
            (Phase::Registered, _) => self.report(now, board),
            (_, Input::Received(bytes)) => {
                self.rx.put(bytes);
                self.listen(now, board)
            }
            (_, Input::Done) => self.go_on(now, board),
            (_, Input::Tick) => self.on_tick(now, board),
        };
        match step {
            Step::Wait => Action::ReceiveUntil(self.until),
            Step::Sleep => Action::SleepUntil(self.until),
            Step::SendReport => Action::Send(self.tx.as_slice()),
            Step::SendAnswer => Action::Send(self.answer.as_slice()),
            Step::PowerUp => Action::PowerUpModem,
            // The backup is asked every second time.
            Step::Connect => {
                Action::Connect(usize::from(self.attempt & 1 == 1 && !self.terminal.endpoints[1].is_empty()))
            }
            Step::Move(motion) => Action::MoveValve(motion),
            Step::SetClock(to) => Action::SetClock(to),
            Step::Disconnect => Action::Disconnect,
        }
    }

    /// What the cut has interrupted is taken up: an order at once, a report whose slot has passed after a while, since a whole street has its
    /// power back at the same moment.
    fn start(&mut self, now: Civil, random: u32, board: &mut impl Board) -> Step {
        let motion = self.terminal.wake(board);
        let passed = |day: &u16| {
            let slot = self.terminal.plan.slot_of(&self.terminal.address, self.terminal.kept_slot, *day);
            slot.is_some_and(|slot| slot <= now)
        };
        self.due = self.terminal.days.newest_unsent().filter(passed);
        self.retry_at = self.due.map(|_| now + retry_after_s(1, random));
        if let Some(motion) = motion {
            self.phase = Phase::Resuming;
            return Step::Move(motion);
        }
        self.fall_asleep(now, board)
    }

    const fn is_always_online(&self) -> bool {
        self.terminal.identity.capabilities & CAPABILITY_ALWAYS_ONLINE != 0
    }

    /// Midnight's reading is kept whenever the terminal is awake; then the next thing to wake up for.
    fn fall_asleep(&mut self, now: Civil, board: &mut impl Board) -> Step {
        self.phase = Phase::Asleep;
        self.freeze(now, board);
        self.look_for_slot(now);
        if self.slot.is_none() {
            self.plan(now);
        }
        let midnight = midnight(now) + DAY;
        let slot = self.slot.map_or(midnight, |(slot, _)| slot);
        self.until = midnight.min(slot).min(self.retry_at.unwrap_or(slot));
        if self.wants_line() {
            self.until = now;
        }
        Step::Sleep
    }

    /// Something is to be said, and nothing has failed yet.
    const fn wants_line(&self) -> bool {
        let has_words = self.due.is_some() || self.urgent || self.is_always_online();
        has_words && self.retry_at.is_none() && self.attempt == 0
    }

    fn plan(&mut self, now: Civil) {
        let terminal = &self.terminal;
        self.slot = terminal.plan.next_due(&terminal.address, terminal.kept_slot, now);
    }

    fn freeze(&mut self, now: Civil, board: &mut impl Board) {
        if self.terminal.freeze(now, board) {
            self.terminal.save(board);
        }
    }

    fn wake(&mut self, now: Civil, board: &mut impl Board) -> Step {
        self.freeze(now, board);
        self.look_for_slot(now);
        if self.retry_at.is_some_and(|at| at <= now) || self.wants_line() {
            self.retry_at = None;
            self.phase = Phase::PoweringUp;
            return Step::PowerUp;
        }
        self.fall_asleep(now, board)
    }

    /// A slot that has come makes its day's report due; with it a new count of tries begins.
    fn look_for_slot(&mut self, now: Civil) {
        if let Some((_, day)) = self.slot.filter(|(slot, _)| *slot <= now) {
            (self.due, self.attempt, self.retry_at) = (Some(day), 0, None);
            self.plan(now);
        }
    }

    fn on_event(&mut self, event: Event, now: Civil, board: &mut impl Board) -> Step {
        self.terminal.note(event);
        self.terminal.save(board);
        let masked = event.code < ALARM_CODES && self.terminal.parameters.report_mask() >> event.code & 1 == 1;
        self.urgent |= masked || event.code == VALVE_CLOSED;
        match self.phase {
            Phase::Asleep => self.fall_asleep(now, board),
            Phase::Serving if self.urgent && self.is_always_online() => {
                self.until = now;
                Step::Wait
            }
            _ => Step::Wait,
        }
    }

    fn register(&mut self, now: Civil, board: &mut impl Board) -> Step {
        self.rx.clear();
        self.awake_until = now.saturating_add(self.terminal.plan.awake_s());
        (self.end, self.beats_missed) = (End::Congested, 0);
        let made = self.terminal.registration(now, board, &mut self.tx);
        self.say(Phase::Registering, made)
    }

    /// What was made goes out, and its answer is awaited.
    fn say(&mut self, phase: Phase, made: bool) -> Step {
        if !made {
            return self.close(End::Congested);
        }
        (self.phase, self.tries) = (phase, 1);
        self.awaited = self.terminal.counters().sequence;
        Step::SendReport
    }

    /// An event by 3062; otherwise the report that is due, with all days that are still owed (at most 31, the oldest first).
    fn report(&mut self, now: Civil, board: &mut impl Board) -> Step {
        let events = self.terminal.events;
        let list = events.list.get(..events.count).unwrap_or_default();
        self.events_told = events.count;
        if self.urgent && !list.is_empty() {
            self.told = Told::Abnormal;
            let made = self.terminal.abnormal(now, list, board, &mut self.tx);
            return self.say(Phase::Reporting, made);
        }
        self.urgent = false;
        let Some(today) = day_of(now) else { return self.close(End::Refused) };
        // A clock that was set meanwhile has made another day of it.
        let is_near = |day: &u16| *day <= today && today - *day < DAYS_KEPT as u16;
        let day = self.due.filter(is_near).unwrap_or(today);
        self.due = Some(day);
        let owed = self.terminal.days.oldest_unsent().map_or(day, |oldest| oldest.min(day));
        let first = owed.min(self.terminal.plan.covers_from(day));
        let last = day.min(first.saturating_add(REPORT_DAYS_MAX - 1));
        self.told = Told::Days(first, last);
        let made = if self.terminal.plan.period == Period::Daily && first == last {
            self.terminal.daily(now, day, list, board, &mut self.tx)
        } else {
            self.terminal.history(now, (first, last - first + 1), list, board, &mut self.tx)
        };
        self.say(Phase::Reporting, made)
    }

    /// The last action is done: there may be more to send, more to read, or only to wait.
    fn go_on(&mut self, now: Civil, board: &mut impl Board) -> Step {
        if self.terminal.answer(board, &mut self.answer) {
            return Step::SendAnswer;
        }
        if let Some(to) = self.terminal.take_clock() {
            return self.set_clock(now, to);
        }
        if matches!(self.phase, Phase::Registering | Phase::Reporting | Phase::Beating) {
            self.until = now + ANSWER_WAIT_S;
        }
        self.listen(now, board)
    }

    fn set_clock(&mut self, now: Civil, to: Civil) -> Step {
        let ahead = to - now;
        for time in [&mut self.until, &mut self.awake_until, &mut self.next_beat] {
            *time = time.saturating_add(ahead);
        }
        self.retry_at = self.retry_at.map(|at| at.saturating_add(ahead));
        self.plan(to);
        Step::SetClock(to)
    }

    /// Reads what has come, frame by frame.
    fn listen(&mut self, now: Civil, board: &mut impl Board) -> Step {
        loop {
            match cut(self.rx.as_slice()) {
                Cut::Frame(length) => {
                    let frame: Buffer<FRAME_BYTES_MAX> =
                        Buffer::of(self.rx.as_slice().get(..length).unwrap_or_default());
                    self.rx.drop_front(length);
                    if let Some(step) = self.on_frame(frame.as_slice(), now, board) {
                        return step;
                    }
                }
                Cut::Skip(length) => self.rx.drop_front(length),
                Cut::Incomplete => {
                    // More than a frame without one in it is noise.
                    if self.rx.is_full() {
                        self.rx.clear();
                    }
                    return Step::Wait;
                }
            }
        }
    }

    fn on_frame(&mut self, frame: &[u8], now: Civil, board: &mut impl Board) -> Option<Step> {
        match self.terminal.hear(now, frame, board).ok()? {
            Heard::Reply(reply) if reply.sequence == self.awaited => Some(self.on_reply(reply, now, board)),
            Heard::Reply(_) => None,
            Heard::Farewell(0) => Some(self.close(self.end)),
            Heard::Farewell(1) => Some(self.close(End::Congested)),
            Heard::Farewell(_) => Some(self.close(End::Refused)),
            Heard::Command { message, .. } => {
                if message == SET_SCHEDULE {
                    self.plan(now);
                }
                let serving = self.phase == Phase::Serving;
                let made = self.terminal.answer(board, &mut self.answer);
                // A command before the report's answer is carried out, too.
                self.until = if serving { self.serve_until(now, COMMAND_WAIT_S) } else { self.until };
                made.then_some(Step::SendAnswer)
            }
            Heard::Move(motion) => {
                self.phase = Phase::Moving;
                Some(Step::Move(motion))
            }
        }
    }

    fn on_reply(&mut self, reply: Reply, now: Civil, board: &mut impl Board) -> Step {
        // Kept, although it was one report too many.
        let kept = reply.result == result::OK || self.phase == Phase::Reporting && reply.result == result::NOT_ALLOWED;
        if !kept {
            let busy = matches!(reply.result, result::BUSY | result::SECURITY);
            return self.close(if busy { End::Congested } else { End::Refused });
        }
        match self.phase {
            Phase::Registering => {
                self.phase = Phase::Registered;
                match self.terminal.take_clock() {
                    Some(to) => self.set_clock(now, to),
                    None => self.report(now, board),
                }
            }
            phase => {
                if phase == Phase::Reporting {
                    self.delivered(now, board);
                }
                (self.phase, self.beats_missed) = (Phase::Serving, 0);
                self.next_beat = now + 60 * i64::from(self.terminal.plan.heartbeat_minutes.max(1));
                self.until = self.serve_until(now, if reply.pending > 0 { COMMAND_WAIT_S } else { FAREWELL_WAIT_S });
                self.terminal.take_clock().map_or(Step::Wait, |to| self.set_clock(now, to))
            }
        }
    }

    /// The station has it: what it told is owed no more, and a slot that worked after others did not is kept.
    fn delivered(&mut self, now: Civil, board: &mut impl Board) {
        let events = &mut self.terminal.events;
        events.list.copy_within(self.events_told.min(events.count).., 0);
        events.count -= self.events_told.min(events.count);
        match self.told {
            Told::Abnormal => self.urgent = events.count > 0,
            Told::Days(first, last) => {
                self.terminal.days.sent(first, last);
                if let Some(day) = self.due.filter(|_| self.attempt > 0) {
                    self.terminal.kept_slot = self.terminal.plan.kept(day, now).or(self.terminal.kept_slot);
                    self.plan(now);
                }
                self.due = self.due.filter(|day| *day > last);
            }
        }
        self.terminal.save(board);
        (self.attempt, self.retry_at) = (0, None);
        self.end = End::Done;
    }

    /// How long to wait for orders: not beyond the awake duration, unless the line stays open.
    fn serve_until(&self, now: Civil, wait_s: Civil) -> Civil {
        let slot = self.slot.map_or(Civil::MAX, |(slot, _)| slot);
        if self.is_always_online() { self.next_beat.min(slot).max(now) } else { (now + wait_s).min(self.awake_until) }
    }

    fn on_tick(&mut self, now: Civil, board: &mut impl Board) -> Step {
        self.freeze(now, board);
        if now < self.until {
            return Step::Wait;
        }
        match self.phase {
            Phase::Registering | Phase::Reporting if self.tries < TRIES => {
                // The same number and the same bytes: the station knows a repetition.
                self.tries += 1;
                Step::SendReport
            }
            Phase::Beating if self.beats_missed + 1 < BEATS_MISSED_MAX => {
                self.beats_missed += 1;
                self.beat(now, board)
            }
            Phase::Serving if self.is_always_online() => {
                self.look_for_slot(now);
                if self.due.is_some() || self.urgent { self.report(now, board) } else { self.beat(now, board) }
            }
            Phase::Serving => self.close(self.end),
            _ => self.close(End::Congested),
        }
    }

    fn beat(&mut self, now: Civil, board: &mut impl Board) -> Step {
        let made = self.terminal.heartbeat(now, board, &mut self.tx);
        self.say(Phase::Beating, made)
    }

    fn close(&mut self, end: End) -> Step {
        (self.phase, self.end) = (Phase::Closing, end);
        Step::Disconnect
    }

    fn closed(&mut self, now: Civil, random: u32, board: &mut impl Board) -> Step {
        match self.end {
            End::Congested if self.attempt < RETRIES_MAX || self.is_always_online() => {
                self.attempt = self.attempt.saturating_add(1);
                self.retry_at = Some(now + retry_after_s(self.attempt, random));
            }
            // Not wanted at present, but its line is to be open: it asks again now and then.
            End::Refused if self.is_always_online() => {
                self.attempt = self.attempt.max(RETRIES_MAX);
                self.retry_at = Some(now + retry_after_s(self.attempt, random));
            }
            // What is owed stays in the ring for the next slot.
            End::Congested | End::Refused => (self.due, self.urgent, self.retry_at) = (None, false, None),
            // More is owed than one report holds: the rest follows at once.
            End::Done if self.due.is_some() => self.retry_at = Some(now + retry_after_s(1, random)),
            End::Done => {}
        }
        self.fall_asleep(now, board)
    }
}
