//! The rules of a conversation as a pure machine: `step(input, now) -> actions`.
//!
//! It owns when commands may go out and when a session ends. It does not read bytes, call adapters or
//! keep time: the driver in `session` does, and tells it what happened.
//!
//! The rules (unified station protocol, part A, made general):
//! - The device speaks first. Commands wait until it has reported, or, if it stays on line, until it has registered.
//! - One command at a time. Two minutes without one end the session; nothing to do after a report ends it at once, but never
//!   before all that has come is read.
//! - The awake period ends it, but never while an answer is awaited. An always-online device lives by its heartbeats.
//! - A connection on which several devices have spoken and nobody waits for words of ours, as a radio gateway's, stays for as
//!   long as it is heard; what waits for a device leaves within its awake period after it was heard.

use crate::limits;
use std::time::Duration;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A frame was decoded, durable and answered.
    Frame(FrameFacts),
    /// Bytes or a frame that no adapter could make sense of.
    Fault,
    /// A whole frame that is for somebody else, or under a key that is not here.
    Unread,
    /// All whole frames of what has come are taken; `rest`: more is at hand, such as the beginning of the next one.
    Taken { rest: bool },
    /// A command for this device is waiting.
    CommandWaiting,
    /// The driver sent a command; its answer may take that long. `None`: no answer comes.
    CommandSent { answer_within: Option<Duration> },
    /// Nothing was left to send, or what was left could not be.
    NothingSent,
    /// The command in hand was answered.
    CommandAnswered,
    /// The deadline that `deadline()` named has passed.
    Tick,
    /// The same device has connected anew.
    TakenOver,
    /// The station stops.
    Draining,
}

/// What a decoded frame means for the conversation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FrameFacts {
    /// The device said who it is and how it stays on line.
    pub registered: Option<Registered>,
    /// Its protocol wants a registration before anything else.
    pub registers_first: bool,
    /// The last part of a report or an alarm.
    pub report_complete: bool,
    pub end_of_session: bool,
    /// Policy says this device has no business here.
    pub refused: bool,
    /// Commands wait for it.
    pub pending: bool,
    /// Its sender waits for words of ours, a reply or a goodbye.
    pub waits: bool,
    /// More has come behind it, and is not read yet.
    pub more_at_hand: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registered {
    pub always_online: bool,
    /// Zero: not said.
    pub awake: Duration,
    /// Zero: none.
    pub heartbeat: Duration,
}

/// What the driver does next, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Encode and send the next waiting command.
    SendNext,
    /// The command in hand got no answer in time.
    GiveUpAnswer,
    /// Tell the device that the session ends.
    SayEnd(Goodbye),
    Close(Closing),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goodbye {
    Done,
    Busy,
    NotAuthorised,
}

/// Why a session ended; its name in metrics and logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Closing {
    Done,
    EndedByDevice,
    Refused,
    NoFrame,
    CommandWait,
    AwakeOver,
    HeartbeatsMissed,
    TooManyFaults,
    TakenOver,
    Draining,
    PeerClosed,
    StoreFailing,
    LinkError,
}

impl Closing {
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::EndedByDevice => "ended-by-device",
            Self::Refused => "refused",
            Self::NoFrame => "no-frame",
            Self::CommandWait => "command-wait",
            Self::AwakeOver => "awake-over",
            Self::HeartbeatsMissed => "heartbeats-missed",
            Self::TooManyFaults => "too-many-faults",
            Self::TakenOver => "taken-over",
            Self::Draining => "draining",
            Self::PeerClosed => "peer-closed",
            Self::StoreFailing => "store-failing",
            Self::LinkError => "link-error",
        }
    }
}

/// One conversation. Times are milliseconds of any clock that does not go back.
#[derive(Clone, Debug)]
pub struct Machine {
    opened_ms: i64,
    /// Last frame, command or answer.
    active_ms: i64,
    /// Last frame of the device.
    heard_ms: i64,
    command_wait_ms: i64,
    registered: Option<Registered>,
    registers_first: bool,
    spoke: bool,
    reported: bool,
    /// Devices before this one have reported on this connection, and nobody waited.
    one_way_before: bool,
    /// Somebody has spoken since.
    brings_others: bool,
    /// Some frame wanted words of ours.
    waited_for: bool,
    more_at_hand: bool,
    /// Nothing is left to do, once what is at hand has been read.
    done: bool,
    faults: u32,
    answer_by_ms: Option<i64>,
    /// Between `SendNext` and what the driver says of it.
    sending: bool,
    closed: bool,
}

impl Machine {
    pub fn new(now_ms: i64, command_wait: Duration) -> Self {
        Self {
            opened_ms: now_ms,
            active_ms: now_ms,
            heard_ms: now_ms,
            command_wait_ms: millis(command_wait),
            registered: None,
            registers_first: false,
            spoke: false,
            reported: false,
            one_way_before: false,
            brings_others: false,
            waited_for: false,
            more_at_hand: false,
            done: false,
            faults: 0,
            answer_by_ms: None,
            sending: false,
            closed: false,
        }
    }

    /// Another device speaks on this connection: what the one before said and was asked does not count for it. Whether anybody
    /// waits at the other end is a property of the connection.
    pub fn another_device(&mut self, now_ms: i64) {
        let command_wait = Duration::from_millis(self.command_wait_ms.max(0) as u64);
        *self = Self {
            faults: self.faults,
            sending: self.sending,
            closed: self.closed,
            one_way_before: self.is_one_way(),
            brings_others: self.brings_others,
            spoke: true,
            ..Self::new(now_ms, command_wait)
        };
    }

    /// The session is over, whoever has ended it; what had come by then is still read, and its faults still count.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// The session was to end because nothing is left to do, and more has come: it ends once that is taken.
    pub fn not_yet(&mut self) {
        self.closed = false;
        self.more_at_hand = true;
    }

    /// Whether a frame of this device has wanted words of ours.
    pub fn is_waited_for(&self) -> bool {
        self.waited_for
    }

    /// Whether nothing is left to do for this device, and only what has come besides keeps the session.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// When `Tick` is due.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline().0
    }

    pub fn step(&mut self, input: &Input, now_ms: i64) -> Vec<Action> {
        if self.closed {
            return if *input == Input::Fault { self.on_fault(now_ms) } else { Vec::new() };
        }
        let actions = match input {
            Input::Frame(facts) => self.on_frame(facts, now_ms),
            Input::Fault => self.on_fault(now_ms),
            Input::Unread => self.on_unread(now_ms),
            Input::Taken { rest } => self.on_taken(*rest),
            Input::CommandWaiting => self.send_if_ready(now_ms),
            Input::CommandSent { answer_within } => self.on_sent(*answer_within, now_ms),
            Input::NothingSent => self.on_nothing_sent(),
            Input::CommandAnswered => {
                self.answer_by_ms = None;
                self.active_ms = now_ms;
                self.send_if_ready(now_ms)
            }
            Input::Tick => self.on_tick(now_ms),
            Input::TakenOver => vec![Action::Close(Closing::TakenOver)],
            Input::Draining => vec![Action::SayEnd(Goodbye::Busy), Action::Close(Closing::Draining)],
        };
        self.closed = actions.iter().any(|a| matches!(a, Action::Close(_)));
        actions
    }

    fn on_frame(&mut self, facts: &FrameFacts, now_ms: i64) -> Vec<Action> {
        self.spoke = true;
        self.brings_others |= self.one_way_before;
        self.active_ms = now_ms;
        self.heard_ms = now_ms;
        // A gateway that lives for months may also bring what nobody can read.
        self.faults = self.faults.saturating_sub(1);
        if let Some(registered) = facts.registered
            && self.registered.replace(registered).is_some()
            && facts.registers_first
        {
            // Another communication begins, and its report is still to come.
            (self.reported, self.done) = (false, false);
        }
        self.registers_first = facts.registers_first;
        self.waited_for |= facts.waits;
        self.more_at_hand = facts.more_at_hand;
        self.reported |= facts.report_complete;
        if facts.refused {
            // A stranger whom a gateway has heard says nothing against those whom it hears next.
            let goodbye = || vec![Action::SayEnd(Goodbye::NotAuthorised), Action::Close(Closing::Refused)];
            return if self.is_one_way() { Vec::new() } else { goodbye() };
        }
        if facts.end_of_session {
            return vec![Action::Close(Closing::EndedByDevice)];
        }
        if facts.pending {
            self.done = false;
            return self.send_if_ready(now_ms);
        }
        if facts.report_complete { self.end_if_done() } else { Vec::new() }
    }

    fn on_taken(&mut self, rest: bool) -> Vec<Action> {
        self.more_at_hand = rest;
        if self.done { self.end_if_done() } else { Vec::new() }
    }

    /// After a report, with nothing left to send: the device need not stay awake for us. What it has sent besides is read first.
    fn end_if_done(&mut self) -> Vec<Action> {
        self.done = self.reported && !self.always_online() && !self.is_one_way() && self.is_free();
        if self.done && !self.more_at_hand { Self::say_end(Closing::Done) } else { Vec::new() }
    }

    fn on_fault(&mut self, now_ms: i64) -> Vec<Action> {
        self.faults += 1;
        self.active_ms = now_ms;
        if self.faults >= limits::SESSION_FAULTS_MAX {
            return vec![Action::Close(Closing::TooManyFaults)];
        }
        Vec::new()
    }

    /// The peer speaks well, so it makes up for a fault as a good frame does.
    fn on_unread(&mut self, now_ms: i64) -> Vec<Action> {
        self.spoke = true;
        self.active_ms = now_ms;
        self.faults = self.faults.saturating_sub(1);
        Vec::new()
    }

    fn on_sent(&mut self, answer_within: Option<Duration>, now_ms: i64) -> Vec<Action> {
        self.sending = false;
        self.active_ms = now_ms;
        match answer_within {
            Some(wait) => {
                self.answer_by_ms = Some(now_ms + millis(wait.min(limits::ANSWER_WITHIN_MAX)));
                Vec::new()
            }
            None => self.send_if_ready(now_ms),
        }
    }

    fn on_nothing_sent(&mut self) -> Vec<Action> {
        self.sending = false;
        self.end_if_done()
    }

    fn on_tick(&mut self, now_ms: i64) -> Vec<Action> {
        let (due_ms, closing) = self.deadline();
        if now_ms < due_ms {
            return Vec::new();
        }
        if self.answer_by_ms.take().is_some() {
            self.active_ms = now_ms;
            let mut actions = vec![Action::GiveUpAnswer];
            actions.extend(if self.awake_is_over(now_ms) {
                Self::say_end(Closing::AwakeOver)
            } else {
                self.send_if_ready(now_ms)
            });
            return actions;
        }
        match closing {
            Closing::Done | Closing::CommandWait | Closing::AwakeOver => Self::say_end(closing),
            other => vec![Action::Close(other)],
        }
    }

    fn say_end(closing: Closing) -> Vec<Action> {
        vec![Action::SayEnd(Goodbye::Done), Action::Close(closing)]
    }

    fn send_if_ready(&mut self, now_ms: i64) -> Vec<Action> {
        let is_known = self.registered.is_some() || !self.registers_first;
        let ready = is_known && (self.reported || self.always_online());
        if !ready || !self.is_free() {
            return Vec::new();
        }
        // It falls asleep: what left now might be heard, and its answer would not.
        if self.awake_is_over(now_ms) {
            return Self::say_end(Closing::AwakeOver);
        }
        // That the gateway stays says nothing of the device: it listens for a while after it has spoken.
        if self.is_one_way() && now_ms >= self.heard_ms + millis(self.awake()) {
            return Vec::new();
        }
        self.sending = true;
        self.done = false;
        vec![Action::SendNext]
    }

    fn is_free(&self) -> bool {
        self.answer_by_ms.is_none() && !self.sending
    }

    fn always_online(&self) -> bool {
        self.registered.is_some_and(|r| r.always_online)
    }

    /// It reports, and nobody waits for us: a radio gateway that passes on what it hears.
    pub fn is_one_way(&self) -> bool {
        (self.reported || self.one_way_before) && !self.waited_for && !self.always_online()
    }

    /// It has brought several devices, so it is none's own.
    fn is_gateway(&self) -> bool {
        self.brings_others && self.is_one_way()
    }

    fn awake_ends_ms(&self) -> Option<i64> {
        if self.always_online() || self.is_one_way() {
            return None;
        }
        Some(self.opened_ms + millis(self.awake()))
    }

    fn awake(&self) -> Duration {
        self.registered.map(|r| r.awake).filter(|a| !a.is_zero()).unwrap_or(limits::AWAKE_DEFAULT)
    }

    fn awake_is_over(&self, now_ms: i64) -> bool {
        self.awake_ends_ms().is_some_and(|end| now_ms >= end)
    }

    /// The next moment at which silence means something, and what.
    fn deadline(&self) -> (i64, Closing) {
        if let Some(by) = self.answer_by_ms {
            return (by, Closing::AwakeOver);
        }
        if !self.spoke {
            return (self.opened_ms + millis(limits::FIRST_FRAME_TIMEOUT), Closing::NoFrame);
        }
        if let Some(registered) = self.registered.filter(|r| r.always_online) {
            // Without a stated interval the device still has to show life now and then.
            let beat = if registered.heartbeat.is_zero() { limits::AWAKE_DEFAULT } else { registered.heartbeat };
            return (
                self.active_ms + millis(beat) * i64::from(limits::HEARTBEATS_MISSED_MAX),
                Closing::HeartbeatsMissed,
            );
        }
        if self.is_gateway() {
            return (self.active_ms + millis(limits::ONE_WAY_SILENCE), Closing::HeartbeatsMissed);
        }
        if self.done {
            // The beginning of another frame: its end comes soon, or never.
            return (self.active_ms + millis(limits::REST_WAIT), Closing::Done);
        }
        let wait = (self.active_ms + self.command_wait_ms, Closing::CommandWait);
        match self.awake_ends_ms() {
            Some(end) if end < wait.0 => (end, Closing::AwakeOver),
            _ => wait,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(120);
    const AWAKE_MS: i64 = 600_000;

    fn registered(always_online: bool) -> FrameFacts {
        FrameFacts {
            registered: Some(Registered {
                always_online,
                awake: Duration::from_secs(600),
                heartbeat: Duration::from_secs(if always_online { 60 } else { 0 }),
            }),
            ..FrameFacts::default()
        }
    }
    fn report(pending: bool) -> Input {
        Input::Frame(FrameFacts { report_complete: true, pending, waits: true, ..FrameFacts::default() })
    }
    /// More has come behind it.
    fn followed(input: Input) -> Input {
        match input {
            Input::Frame(facts) => Input::Frame(FrameFacts { more_at_hand: true, ..facts }),
            other => other,
        }
    }
    const TAKEN: Input = Input::Taken { rest: false };
    fn sent(seconds: u64) -> Input {
        Input::CommandSent { answer_within: Some(Duration::from_secs(seconds)) }
    }
    const DONE: [Action; 2] = [Action::SayEnd(Goodbye::Done), Action::Close(Closing::Done)];

    /// Plays (time, input, expected actions) on a fresh machine opened at 0.
    fn check(script: &[(i64, Input, &[Action])]) -> Machine {
        let mut machine = Machine::new(0, WAIT);
        for (i, (now, input, expected)) in script.iter().enumerate() {
            assert_eq!(machine.step(input, *now), *expected, "step {i}: {input:?} at {now}");
        }
        machine
    }

    #[test]
    fn a_registration_behind_a_report_begins_a_communication() {
        let first = || FrameFacts { registers_first: true, ..registered(false) };
        let mut machine = check(&[
            (10, Input::Frame(first()), &[]),
            (20, followed(report(false)), &[]),
            (21, followed(Input::Frame(first())), &[]),
            (21, TAKEN, &[]),
            (22, Input::CommandWaiting, &[]),
        ]);
        assert_eq!(machine.step(&report(false), 30), DONE);
    }

    #[test]
    fn nothing_pending_ends_after_the_report() {
        check(&[(10, Input::Frame(registered(false)), &[]), (20, report(false), &DONE)]);
    }

    #[test]
    fn what_has_come_behind_a_report_is_read_before_the_session_ends() {
        check(&[
            (10, followed(report(false)), &[]),
            (11, followed(report(false)), &[]),
            (12, report(false), &DONE),
            (13, TAKEN, &[]),
        ]);
        // Frames that are no reports, noise, the beginning of a frame whose rest comes later.
        let other = || Input::Frame(FrameFacts::default());
        check(&[(10, followed(report(false)), &[]), (11, other(), &[]), (12, TAKEN, &DONE)]);
        check(&[(10, followed(report(false)), &[]), (11, Input::Fault, &[]), (12, TAKEN, &DONE)]);
        let rest = Input::Taken { rest: true };
        check(&[(10, followed(report(false)), &[]), (11, rest, &[]), (900, report(false), &DONE)]);
        check(&[(10, other(), &[]), (11, TAKEN, &[]), (12, Input::Taken { rest: true }, &[])]);
    }

    #[test]
    fn what_has_come_when_it_was_about_to_end_is_read_first() {
        let ends: [&[(i64, Input, &[Action])]; 3] = [
            &[(20, report(false), &DONE)],
            &[
                (20, report(true), &[Action::SendNext]),
                (20, sent(30), &[]),
                (21, Input::CommandAnswered, &[Action::SendNext]),
                (21, Input::NothingSent, &DONE),
            ],
            &[
                (20, report(true), &[Action::SendNext]),
                (20, Input::CommandSent { answer_within: None }, &[Action::SendNext]),
                (20, Input::NothingSent, &DONE),
            ],
        ];
        for script in ends {
            let mut machine = check(script);
            machine.not_yet();
            assert_eq!(machine.clone().step(&TAKEN, 22), DONE, "it was nothing that anything follows from");
            assert_eq!(machine.clone().step(&report(true), 22), [Action::SendNext], "a command waits by now");
            assert_eq!(machine.step(&followed(report(false)), 22), []);
            assert_eq!(machine.step(&TAKEN, 23), DONE);
        }
    }

    #[test]
    fn a_rest_that_never_comes_is_not_waited_for_long() {
        let mut machine = check(&[(10, followed(report(false)), &[]), (11, Input::Taken { rest: true }, &[])]);
        assert_eq!(machine.deadline_ms(), 10 + limits::REST_WAIT.as_millis() as i64);
        assert_eq!(machine.step(&Input::Tick, machine.deadline_ms()), DONE);
    }

    #[test]
    fn a_command_that_a_later_frame_finds_waiting_goes_out_before_the_end() {
        check(&[
            (10, followed(report(false)), &[]),
            (11, report(true), &[Action::SendNext]),
            (11, sent(30), &[]),
            (12, TAKEN, &[]),
            (20, Input::CommandAnswered, &[Action::SendNext]),
            (21, Input::NothingSent, &DONE),
        ]);
        check(&[
            (10, followed(report(true)), &[Action::SendNext]),
            (11, Input::NothingSent, &[]),
            (12, report(false), &DONE),
        ]);
    }

    #[test]
    fn what_is_over_stays_over_whoever_speaks() {
        let mut machine = Machine::new(0, WAIT);
        machine.close();
        machine.another_device(1);
        assert_eq!(machine.step(&report(false), 2), []);
    }

    #[test]
    fn another_device_behind_a_report_is_not_ended_by_it() {
        let mut machine = check(&[(10, followed(report(false)), &[])]);
        machine.another_device(11);
        assert_eq!(machine.step(&Input::Frame(FrameFacts { waits: true, ..registered(false) }), 11), []);
        assert_eq!(machine.step(&TAKEN, 12), []);
        assert_eq!(machine.step(&report(false), 20), DONE);
    }

    #[test]
    fn where_nobody_waits_for_us_a_connection_lives_while_it_is_heard() {
        let one_way = || Input::Frame(FrameFacts { report_complete: true, ..registered(false) });
        let silence = limits::ONE_WAY_SILENCE.as_millis() as i64;
        let mut machine = check(&[(10, one_way(), &[]), (11, TAKEN, &[])]);
        assert_eq!(machine.deadline_ms(), 120_010, "one device's own connection");
        machine.another_device(12);
        assert_eq!(machine.deadline_ms(), 120_012, "it was taken over, and says no more");
        assert_eq!(machine.step(&one_way(), AWAKE_MS + 1), []);
        assert_eq!(machine.deadline_ms(), AWAKE_MS + 1 + silence);
        // What waits for it goes out, or cannot; neither ends it.
        assert_eq!(machine.step(&Input::CommandWaiting, AWAKE_MS + 2), [Action::SendNext]);
        assert_eq!(machine.step(&Input::NothingSent, AWAKE_MS + 2), []);
        machine.another_device(AWAKE_MS + 3);
        assert_eq!(machine.step(&one_way(), AWAKE_MS + 3), []);
        let over = [Action::Close(Closing::HeartbeatsMissed)];
        assert_eq!(machine.step(&Input::Tick, AWAKE_MS + 3 + silence), over);
    }

    #[test]
    fn nothing_leaves_for_a_device_that_sleeps_behind_a_gateway_that_stays() {
        let one_way = |pending| Input::Frame(FrameFacts { report_complete: true, pending, ..registered(false) });
        let unheard = 20 + AWAKE_MS;
        check(&[
            (10, one_way(false), &[]),
            (20, one_way(false), &[]),
            (unheard - 1, Input::Fault, &[]),
            (unheard - 1, Input::Unread, &[]),
            (unheard, Input::CommandWaiting, &[]),
            (unheard + 5, one_way(true), &[Action::SendNext]),
            (unheard + 5, sent(60), &[]),
            (unheard + 60_005, Input::Tick, &[Action::GiveUpAnswer, Action::SendNext]),
            (unheard + 60_005, Input::NothingSent, &[]),
            (unheard + 4 + AWAKE_MS, Input::CommandWaiting, &[Action::SendNext]),
            (unheard + 4 + AWAKE_MS, sent(60), &[]),
            (unheard + 60_004 + AWAKE_MS, Input::Tick, &[Action::GiveUpAnswer]),
        ]);
    }

    #[test]
    fn a_connection_stays_one_way_over_its_devices_until_one_waits() {
        let silence = limits::ONE_WAY_SILENCE.as_millis() as i64;
        let one_way = || Input::Frame(FrameFacts { report_complete: true, ..FrameFacts::default() });
        let heartbeat = || Input::Frame(FrameFacts::default());
        let mut machine = check(&[(10, one_way(), &[])]);
        for now in [20, 30] {
            machine.another_device(now);
            assert_eq!(machine.step(&heartbeat(), now), []);
            assert!(machine.is_one_way());
            assert_eq!(machine.deadline_ms(), now + silence);
        }
        assert_eq!(machine.step(&Input::CommandWaiting, 31), [], "it has not reported");
        machine.another_device(40);
        assert_eq!(machine.step(&Input::Frame(FrameFacts { waits: true, ..FrameFacts::default() }), 40), []);
        assert!(!machine.is_one_way());
        machine.another_device(50);
        assert_eq!(machine.step(&heartbeat(), 50), []);
        assert!(!machine.is_one_way());
    }

    #[test]
    fn one_reply_is_enough_to_be_waited_for() {
        let replied = Input::Frame(FrameFacts { waits: true, ..registered(false) });
        let unanswered = Input::Frame(FrameFacts { report_complete: true, ..FrameFacts::default() });
        check(&[(10, replied, &[]), (20, unanswered, &DONE)]);
    }

    #[test]
    fn a_whole_frame_makes_up_for_a_faulty_one() {
        for whole in [Input::Frame(FrameFacts::default()), Input::Unread] {
            let mut machine = check(&[]);
            for _ in 0..3 * limits::SESSION_FAULTS_MAX {
                assert_eq!(machine.step(&Input::Fault, 1), []);
                assert_eq!(machine.step(&whole, 1), []);
            }
        }
    }

    #[test]
    fn a_stranger_ends_his_own_connection_and_no_gateway() {
        let stranger = |waits| FrameFacts { refused: true, report_complete: true, waits, ..FrameFacts::default() };
        let refused = [Action::SayEnd(Goodbye::NotAuthorised), Action::Close(Closing::Refused)];
        check(&[(1, Input::Frame(stranger(true)), &refused)]);
        check(&[(1, Input::Frame(FrameFacts { refused: true, ..FrameFacts::default() }), &refused)]);
        check(&[(1, Input::Frame(stranger(false)), &[]), (2, Input::Frame(stranger(false)), &[])]);
    }

    #[test]
    fn faults_count_beyond_the_end() {
        let mut machine = check(&[(1, report(false), &DONE)]);
        for _ in 1..limits::SESSION_FAULTS_MAX {
            assert_eq!(machine.step(&Input::Fault, 2), []);
        }
        assert_eq!(machine.step(&Input::Fault, 2), [Action::Close(Closing::TooManyFaults)]);
        assert_eq!(machine.step(&report(true), 3), []);
    }

    #[test]
    fn commands_wait_for_the_report_and_go_one_at_a_time() {
        check(&[
            (10, Input::Frame(FrameFacts { pending: true, ..registered(false) }), &[]),
            (15, Input::CommandWaiting, &[]),
            (20, report(true), &[Action::SendNext]),
            (21, Input::CommandWaiting, &[]),
            (22, sent(30), &[]),
            (23, Input::CommandWaiting, &[]),
            (30, Input::CommandAnswered, &[Action::SendNext]),
            (31, sent(30), &[]),
            (40, Input::CommandAnswered, &[Action::SendNext]),
            (41, Input::NothingSent, &DONE),
        ]);
    }

    #[test]
    fn always_online_gets_commands_once_registered_and_lives_by_heartbeats() {
        let machine = check(&[
            (10, Input::Frame(FrameFacts { pending: true, ..registered(true) }), &[Action::SendNext]),
            (11, sent(30), &[]),
            (12, Input::CommandAnswered, &[Action::SendNext]),
            (13, Input::NothingSent, &[]),
            (14, report(false), &[]),
        ]);
        assert_eq!(machine.deadline_ms(), 14 + 3 * 60_000);
    }

    #[test]
    fn an_unanswered_command_is_given_up_and_the_next_goes_out() {
        check(&[
            (10, Input::Frame(registered(false)), &[]),
            (20, report(true), &[Action::SendNext]),
            (20, sent(30), &[]),
            (30_019, Input::Tick, &[]),
            (30_020, Input::Tick, &[Action::GiveUpAnswer, Action::SendNext]),
        ]);
    }

    #[test]
    fn two_minutes_without_a_command_end_it() {
        let mut machine = check(&[(0, Input::Frame(registered(false)), &[])]);
        assert_eq!(machine.deadline_ms(), 120_000);
        assert_eq!(
            machine.step(&Input::Tick, 120_000),
            [Action::SayEnd(Goodbye::Done), Action::Close(Closing::CommandWait)]
        );
        assert_eq!(machine.step(&report(true), 120_001), [], "a closed machine does nothing");
    }

    #[test]
    fn nothing_is_ordered_of_a_device_that_has_not_registered_where_it_has_to() {
        let first = |facts: FrameFacts| Input::Frame(FrameFacts { registers_first: true, pending: true, ..facts });
        let reported = || FrameFacts { report_complete: true, ..FrameFacts::default() };
        check(&[
            (10, first(reported()), &[]),
            (15, Input::CommandWaiting, &[]),
            (20, first(registered(false)), &[Action::SendNext]),
        ]);
    }

    #[test]
    fn nothing_leaves_once_the_awake_period_is_over() {
        let over = [Action::SayEnd(Goodbye::Done), Action::Close(Closing::AwakeOver)];
        check(&[
            (AWAKE_MS - 9_000, Input::Frame(registered(false)), &[]),
            (AWAKE_MS - 8_000, report(true), &[Action::SendNext]),
            (AWAKE_MS - 8_000, sent(60), &[]),
            (AWAKE_MS, Input::CommandAnswered, &over),
        ]);
        check(&[(10, Input::Frame(registered(true)), &[]), (AWAKE_MS, Input::CommandWaiting, &[Action::SendNext])]);
    }

    #[test]
    fn the_awake_period_ends_it_but_not_while_an_answer_is_awaited() {
        let mut machine = check(&[
            (AWAKE_MS - 2_000, Input::Frame(registered(false)), &[]),
            (AWAKE_MS - 1_000, report(true), &[Action::SendNext]),
            (AWAKE_MS - 1_000, sent(60), &[]),
        ]);
        assert_eq!(machine.step(&Input::Tick, AWAKE_MS), [], "the command in hand is finished first");
        assert_eq!(
            machine.step(&Input::Tick, AWAKE_MS + 59_000),
            [Action::GiveUpAnswer, Action::SayEnd(Goodbye::Done), Action::Close(Closing::AwakeOver)]
        );
    }

    #[test]
    fn silence_refusal_faults_takeover_and_draining_close() {
        let mut silent = Machine::new(0, WAIT);
        assert_eq!(silent.step(&Input::Tick, 59_999), []);
        assert_eq!(silent.step(&Input::Tick, 60_000), [Action::Close(Closing::NoFrame)]);
        let refused = FrameFacts { refused: true, ..FrameFacts::default() };
        check(&[(
            1,
            Input::Frame(refused),
            &[Action::SayEnd(Goodbye::NotAuthorised), Action::Close(Closing::Refused)],
        )]);
        check(&[(1, Input::TakenOver, &[Action::Close(Closing::TakenOver)])]);
        check(&[(1, Input::Draining, &[Action::SayEnd(Goodbye::Busy), Action::Close(Closing::Draining)])]);
        let mut noisy = Machine::new(0, WAIT);
        for _ in 1..limits::SESSION_FAULTS_MAX {
            assert_eq!(noisy.step(&Input::Fault, 1), []);
        }
        assert_eq!(noisy.step(&Input::Fault, 1), [Action::Close(Closing::TooManyFaults)]);
    }
}
