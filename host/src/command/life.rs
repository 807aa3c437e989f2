//! The life of one command, as a pure machine over `CommandStep`s.
//!
//! `Live::apply` folds a step into the state; it is the same fold that the commands view uses after a restart, so that
//! what the mailbox knows and what the journal says cannot differ. The decisions (`next`, `give_up`, `weigh`) say
//! which step comes, never take it.

use super::line::{Manner, Way};
use crate::clock::Moment;
use crate::journal::{CommandStep, Round, Settlement};
use crate::model::{Answer, AnswerBody, Command, DeviceKey, KeySlot, Outcome, ValveOrder, ValveState, ValveStatus};

/// A command that is not finished.
#[derive(Clone, PartialEq, Debug)]
pub struct Live {
    pub id: u64,
    pub device: DeviceKey,
    pub command: Command,
    pub expires_ms: i64,
    /// What does something to the device does not leave while the machine's clock shows less: nobody knows how old it is then.
    pub from_ms: i64,
    /// When it was asked for, by the machine's clock, if that was before this start: the steady clock does not tell how old it is.
    pub asked_before_ms: Option<i64>,
    /// Expires at that moment of the steady clock, too, whatever the machine's clock is set to.
    pub until_ms: i64,
    pub attempts: u8,
    /// Sendings that are known not to have reached the device. A restart knows of none.
    pub turned_away: u8,
    /// The device has said so, and not that it is done.
    pub was_accepted: bool,
    pub state: State,
    /// Its next step is decided and being written: until that is done or given up, nobody decides another.
    pub taken: bool,
    /// People have said what became of it; a report of the device may still say otherwise.
    pub settled: Option<Settlement>,
    /// The carriers in front of the device.
    pub way: Way,
    /// The round of a poll that asks.
    pub round: Option<Round>,
    pub manner: Manner,
    /// Not sent again before this, by the steady clock.
    pub retry_from_ms: i64,
    /// The missing key that its steps tell of.
    pub lacks: Option<KeySlot>,
    /// Nobody has set that key since.
    pub waits_for_key: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Asked for, not durable yet.
    Proposed,
    /// Waits for the device.
    Queued,
    /// On its way; the answer will carry `correlation`.
    InFlight { correlation: Vec<u8>, repeatable: bool, session: u64 },
    /// Sent, unanswered, not safe to repeat: the device's own state must tell.
    Unconfirmed,
    /// Finished.
    Over,
}

const MAY_BE_DONE: &str = "it may or may not have been executed";

impl Live {
    /// A command before its `Requested` step is durable.
    pub fn new(id: u64, device: DeviceKey, command: Command, expires_ms: i64) -> Self {
        Self {
            id,
            device,
            command,
            expires_ms,
            from_ms: i64::MIN,
            asked_before_ms: None,
            until_ms: i64::MAX,
            attempts: 0,
            turned_away: 0,
            was_accepted: false,
            state: State::Proposed,
            taken: false,
            settled: None,
            way: Way::new(),
            round: None,
            manner: Manner::default(),
            retry_from_ms: i64::MIN,
            lacks: None,
            waits_for_key: false,
        }
    }

    /// Leaves only from a moment of the machine's clock on, and until one of the steady clock.
    #[must_use]
    pub fn within(self, from_ms: i64, until_ms: i64) -> Self {
        Self { from_ms, until_ms, ..self }
    }

    /// Behind these carriers.
    #[must_use]
    pub fn behind(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// Asked by a poll's round, or by somebody in that manner.
    #[must_use]
    pub fn asked(self, round: Option<Round>, manner: Manner) -> Self {
        Self { round, manner, ..self }
    }

    /// A command as the commands view has it after a restart.
    pub fn restored(
        self,
        asked_ms: i64,
        attempts: u8,
        was_accepted: bool,
        state: State,
        settled: Option<Settlement>,
    ) -> Self {
        Self { asked_before_ms: Some(asked_ms), attempts, was_accepted, state, settled, ..self }
    }

    /// Session and correlation of a sending that this step gives up without knowing what became of it, and whether its next answer
    /// says so: of what was accepted, unless a valve shows it.
    pub fn given_up_by(&self, step: &CommandStep) -> Option<(u64, Vec<u8>, bool)> {
        let State::InFlight { correlation, session, .. } = &self.state else { return None };
        let ends_by_answer = match step {
            CommandStep::Unconfirmed { .. } => false,
            CommandStep::Answered { outcome: Outcome::Accepted, .. } => !matches!(self.command, Command::Valve(_)),
            _ => return None,
        };
        (!correlation.is_empty()).then(|| (*session, correlation.clone(), ends_by_answer))
    }

    /// What a step makes of the state.
    pub fn apply(&mut self, step: &CommandStep) {
        if let CommandStep::Late { outcome, .. } = step {
            self.was_accepted |= *outcome == Outcome::Accepted;
            return;
        }
        self.taken = false;
        self.waits_for_key = matches!(step, CommandStep::KeyMissing(_));
        self.lacks = match step {
            CommandStep::KeyMissing(key) => Some(key.clone()),
            _ => None,
        };
        self.state = match step {
            CommandStep::Requested { .. } | CommandStep::TimedOut { .. } | CommandStep::KeyMissing(_) => State::Queued,
            CommandStep::Sent { attempt, session, correlation, repeatable, .. } => {
                self.attempts = *attempt;
                State::InFlight { correlation: correlation.0.clone(), repeatable: *repeatable, session: *session }
            }
            // Only a valve shows later what became of its order; anything else is left to people. Said once more, it is as open as
            // before.
            CommandStep::Answered { outcome: Outcome::Accepted, .. } if matches!(self.command, Command::Valve(_)) => {
                self.was_accepted = true;
                State::Unconfirmed
            }
            CommandStep::Unconfirmed { .. }
                if matches!(self.command, Command::Valve(_)) && self.state != State::Unconfirmed =>
            {
                State::Unconfirmed
            }
            CommandStep::Settled { outcome, .. } if self.state == State::Unconfirmed && self.settled.is_none() => {
                self.settled = Some(*outcome);
                State::Unconfirmed
            }
            CommandStep::Settled { .. }
            | CommandStep::Late { .. }
            | CommandStep::Answered { .. }
            | CommandStep::Unconfirmed { .. }
            | CommandStep::Confirmed { .. }
            | CommandStep::Failed { .. }
            | CommandStep::Expired
            | CommandStep::Cancelled { .. } => State::Over,
            CommandStep::Retold { .. } => return,
        };
    }

    /// The step that an answer is. Nobody believes a device that an order is done while it says that its valve stands otherwise.
    pub fn answered(&self, answer: &Answer) -> CommandStep {
        let Answer { mut outcome, mut reason, raw_code, body, .. } = answer.clone();
        if let (Command::Valve(order), AnswerBody::Valve(valve)) = (&self.command, &body)
            && matches!(outcome, Outcome::Done | Outcome::AlreadyDone)
            && agrees(order.order, valve.state) == Some(false)
        {
            outcome = Outcome::Accepted;
            reason = format!("answered as done with valve {}. {}", valve.state, self.who_decides(true));
        }
        if outcome == Outcome::Accepted && reason.is_empty() {
            let valve = match &body {
                AnswerBody::Valve(valve) => format!(" with valve {}", valve.state),
                _ => String::new(),
            };
            reason = format!("accepted{valve}, and not known to be done. {}", self.who_decides(true));
        }
        CommandStep::Answered { outcome, reason, raw_code, body }
    }

    /// The step that follows when no answer came in time, or the session that awaited it is gone.
    pub fn give_up(&self) -> CommandStep {
        let State::InFlight { repeatable, .. } = &self.state else {
            return CommandStep::Failed { why: "it was given up without having been sent".into() };
        };
        if self.command.is_consequential() && !repeatable {
            let why = format!("no answer came; {MAY_BE_DONE}, and a repetition could execute it twice");
            return CommandStep::Unconfirmed { why: format!("{why}. {}", self.who_decides(false)) };
        }
        if self.attempts >= self.manner.attempts_max {
            let why = format!("no answer to {} attempts", self.attempts);
            return if self.command.is_consequential() {
                CommandStep::Unconfirmed { why: format!("{why}; {MAY_BE_DONE}. {}", self.who_decides(false)) }
            } else {
                CommandStep::Failed { why }
            };
        }
        CommandStep::TimedOut { attempt: self.attempts }
    }

    /// The step that ends waiting for another attempt. What the device may have heard may have been executed, and neither time, nor
    /// people, nor a carrier that carries no repetition can take that back.
    pub fn no_more(&self, never_heard: CommandStep, why: &str) -> CommandStep {
        if self.may_be_heard() && self.command.is_consequential() {
            CommandStep::Unconfirmed { why: format!("{why}; {MAY_BE_DONE}. {}", self.who_decides(false)) }
        } else {
            never_heard
        }
    }

    /// Whether any of its sendings may have reached the device.
    pub fn may_be_heard(&self) -> bool {
        self.attempts > self.turned_away
    }

    /// How it comes out what became of it when no answer tells: only a valve is reported.
    fn who_decides(&self, was_accepted: bool) -> &'static str {
        match &self.command {
            Command::Valve(order) if was_accepted && order.order == ValveOrder::PermitOpen => {
                "A report of a valve that is not forced shut decides, or `command settle`"
            }
            Command::Valve(_) => "The device's next report decides",
            _ => "No report tells: `command settle` says so once somebody knows",
        }
    }

    /// What a valve state reported after the order says about an unconfirmed order. `None`: nothing yet.
    pub fn weigh(&self, valve: &ValveStatus, frame: u64) -> Option<CommandStep> {
        let (State::Unconfirmed, Command::Valve(order)) = (&self.state, &self.command) else { return None };
        let evidence = format!("the device reports valve {}", valve.state);
        match agrees(order.order, valve.state) {
            // A permit moves nothing by itself: one that the device has accepted is not called failed for it.
            Some(false) if self.was_accepted && order.order == ValveOrder::PermitOpen => None,
            Some(true) => Some(CommandStep::Confirmed { frame, evidence }),
            Some(false) => Some(CommandStep::Failed {
                why: format!("{evidence} (entry {frame}): the order was not executed; order again if still wanted"),
            }),
            None => None,
        }
    }

    /// The step that ends an unconfirmed order about which later reports say nothing, because they follow from another one.
    pub fn overtaken(&self, by: u64) -> CommandStep {
        match self.settled {
            Some(outcome) => {
                CommandStep::Settled { outcome, by: "station".into(), note: format!("it stands: order {by} followed") }
            }
            None => CommandStep::Unconfirmed {
                why: format!(
                    "never confirmed, and followed by order {by}: no report tells any more what became of it. `command \
                     settle` says so once somebody knows"
                ),
            },
        }
    }

    /// Waits, and nobody is about to do something with it.
    pub fn is_free(&self) -> bool {
        self.state == State::Queued && !self.taken
    }

    /// Waits for nothing but its device.
    pub fn is_waiting(&self, now: Moment) -> bool {
        let is_early = self.command.is_consequential() && now.wall_ms < self.from_ms;
        self.state == State::Queued && !self.waits_for_key && !is_early && !self.is_expired(now)
    }

    /// Waits, and may be sent now.
    pub fn is_due(&self, now: Moment) -> bool {
        !self.taken && self.is_waiting(now) && now.steady_ms >= self.retry_from_ms
    }

    pub fn is_expired(&self, now: Moment) -> bool {
        self.state == State::Queued && (now.wall_ms >= self.expires_ms || now.steady_ms >= self.until_ms)
    }
}

/// Whether a valve state is what the order wanted; `None`: it does not tell.
fn agrees(order: ValveOrder, state: ValveState) -> Option<bool> {
    use ValveState as S;
    match (order, state) {
        (_, S::Moving | S::Unknown) => None,
        (_, S::Fault | S::Absent) => Some(false),
        // A permission is given once the device no longer refuses the user; the user may not have opened yet.
        (ValveOrder::PermitOpen, S::Open | S::OpenPermitted | S::ClosedTemporary) => Some(true),
        (ValveOrder::PermitOpen, S::ClosedForced) => Some(false),
        (ValveOrder::PermitOpen, S::Closed) => None,
        (ValveOrder::CloseTemporary, S::ClosedTemporary | S::ClosedForced | S::Closed) => Some(true),
        (ValveOrder::CloseForced, S::ClosedForced | S::Closed) => Some(true),
        (ValveOrder::CloseForced, S::ClosedTemporary) => Some(false),
        (ValveOrder::CloseTemporary | ValveOrder::CloseForced, S::Open | S::OpenPermitted) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::model::{HexBytes, Initiator, ReadScope, Valve};

    fn live(command: Command) -> Live {
        Live::new(7, "usp/1".parse().expect("key"), command, 1_000)
    }
    fn valve(order: ValveOrder) -> Command {
        Command::Valve(Valve { order, order_id: Some(7), valid_until: None, reason: String::new() })
    }
    fn sent(attempt: u8, repeatable: bool) -> CommandStep {
        CommandStep::Sent {
            attempt,
            session: 1,
            correlation: HexBytes(vec![1]),
            repeatable,
            frames: vec![],
            memory: None,
            answer_by_ms: 5,
            through: None,
        }
    }
    fn reports(state: ValveState) -> ValveStatus {
        ValveStatus { state, by: Initiator::Unknown, reason: None }
    }

    #[test]
    fn a_read_is_tried_again_but_not_for_ever() {
        let mut command = live(Command::Read { scope: ReadScope::Current });
        for attempt in 1..limits::COMMAND_ATTEMPTS_MAX {
            command.apply(&sent(attempt, false));
            let step = command.give_up();
            assert_eq!(step, CommandStep::TimedOut { attempt });
            command.apply(&step);
            assert_eq!(command.state, State::Queued);
        }
        command.apply(&sent(limits::COMMAND_ATTEMPTS_MAX, false));
        assert!(matches!(command.give_up(), CommandStep::Failed { .. }));
    }

    #[test]
    fn what_could_do_harm_twice_is_not_repeated_blindly_and_blocks_nothing() {
        let relay = Command::Relay {
            target: "1".into(),
            protocol: "raw".into(),
            channel: 0,
            timeout_s: 5,
            payload: HexBytes(vec![1]),
        };
        for command in [relay, Command::SetParameters(vec![])] {
            let mut command = live(command);
            command.apply(&sent(1, false));
            let step = command.give_up();
            let CommandStep::Unconfirmed { why } = &step else { panic!("{step:?}") };
            assert!(why.ends_with("`command settle` says so once somebody knows"), "{why}");
            let CommandStep::Unconfirmed { why } = command.no_more(CommandStep::Expired, "its time is over") else {
                panic!("it has left")
            };
            assert!(why.starts_with("its time is over") && why.contains("command settle"), "{why}");
            command.apply(&step);
            assert_eq!(command.state, State::Over);
        }
    }

    #[test]
    fn a_valve_order_is_repeated_only_when_the_device_knows_repetitions() {
        let mut order = live(valve(ValveOrder::CloseForced));
        order.apply(&sent(1, true));
        assert_eq!(order.give_up(), CommandStep::TimedOut { attempt: 1 });
        order.apply(&sent(1, false));
        let step = order.give_up();
        assert!(matches!(&step, CommandStep::Unconfirmed { why } if why.ends_with("next report decides")), "{step:?}");
        order.apply(&step);
        assert_eq!(order.state, State::Unconfirmed);
        let late = Moment { wall_ms: i64::MAX, steady_ms: i64::MAX };
        assert!(!order.is_expired(late), "an order that may have been executed cannot expire");
    }

    #[test]
    fn what_people_say_stands_until_the_device_says_otherwise() {
        let settled = |outcome| CommandStep::Settled { outcome, by: "ops".into(), note: "looked".into() };
        let mut order = live(valve(ValveOrder::CloseForced));
        order.apply(&CommandStep::Unconfirmed { why: String::new() });
        order.apply(&settled(Settlement::Done));
        assert_eq!((&order.state, order.settled), (&State::Unconfirmed, Some(Settlement::Done)));
        assert!(matches!(order.weigh(&reports(ValveState::Open), 1), Some(CommandStep::Failed { .. })));
        assert!(matches!(order.overtaken(9), CommandStep::Settled { outcome: Settlement::Done, .. }));
        order.apply(&order.overtaken(9));
        assert_eq!(order.state, State::Over);
    }

    #[test]
    fn what_was_overtaken_is_left_to_people_and_no_report_decides_it() {
        let mut order = live(valve(ValveOrder::CloseForced));
        order.apply(&sent(1, false));
        order.apply(&order.give_up());
        assert_eq!(order.state, State::Unconfirmed);
        let step = order.overtaken(9);
        assert!(matches!(&step, CommandStep::Unconfirmed { why } if why.contains("order 9")), "{step:?}");
        order.apply(&step);
        assert_eq!(order.state, State::Over);
    }

    #[test]
    fn an_order_that_was_accepted_twice_still_waits_for_a_report() {
        let accepted = || CommandStep::Answered {
            outcome: Outcome::Accepted,
            reason: String::new(),
            raw_code: 0,
            body: AnswerBody::None,
        };
        let mut order = live(valve(ValveOrder::CloseForced));
        order.apply(&sent(1, false));
        order.apply(&accepted());
        order.apply(&accepted());
        assert_eq!(order.state, State::Unconfirmed);
        assert!(matches!(order.weigh(&reports(ValveState::Open), 1), Some(CommandStep::Failed { .. })));
    }

    #[test]
    fn done_with_the_valve_as_it_was_is_not_believed() {
        let answer = |state, outcome| Answer {
            correlation: HexBytes(vec![1]),
            outcome,
            reason: String::new(),
            raw_code: 0,
            body: AnswerBody::Valve(reports(state)),
            more_follows: false,
        };
        let mut order = live(valve(ValveOrder::CloseForced));
        order.apply(&sent(1, true));
        for (state, said, counts) in [
            (ValveState::ClosedForced, Outcome::Done, Outcome::Done),
            (ValveState::Moving, Outcome::Done, Outcome::Done),
            (ValveState::Open, Outcome::Done, Outcome::Accepted),
            (ValveState::Open, Outcome::Refused, Outcome::Refused),
        ] {
            let step = order.answered(&answer(state, said));
            assert!(matches!(step, CommandStep::Answered { outcome, .. } if outcome == counts), "{state}: {step:?}");
        }
    }

    #[test]
    fn what_is_only_accepted_says_who_decides() {
        let reason = |command: Command, said: &str, body: AnswerBody| {
            let mut command = live(command);
            command.apply(&sent(1, false));
            let answer = Answer {
                correlation: HexBytes(vec![1]),
                outcome: Outcome::Accepted,
                reason: said.into(),
                raw_code: 0,
                body,
                more_follows: false,
            };
            match command.answered(&answer) {
                CommandStep::Answered { outcome: Outcome::Accepted, reason, .. } => reason,
                other => panic!("{other:?}"),
            }
        };
        let close = || valve(ValveOrder::CloseForced);
        assert_eq!(
            reason(close(), "", AnswerBody::Valve(reports(ValveState::Open))),
            "accepted with valve open, and not known to be done. The device's next report decides"
        );
        assert!(reason(close(), "", AnswerBody::None).ends_with("next report decides"));
        assert_eq!(reason(close(), "battery-low", AnswerBody::None), "battery-low");
        assert!(reason(Command::SetParameters(vec![]), "", AnswerBody::None).contains("command settle"));
    }

    #[test]
    fn reported_valve_states_decide_unconfirmed_orders() {
        use ValveOrder as O;
        use ValveState as S;
        for (order, state, verdict) in [
            (O::CloseForced, S::ClosedForced, Some(true)),
            (O::CloseForced, S::ClosedTemporary, Some(false)),
            (O::CloseForced, S::Open, Some(false)),
            (O::CloseForced, S::Moving, None),
            (O::CloseTemporary, S::Closed, Some(true)),
            (O::CloseTemporary, S::Fault, Some(false)),
            (O::PermitOpen, S::ClosedTemporary, Some(true)),
            (O::PermitOpen, S::ClosedForced, Some(false)),
            (O::PermitOpen, S::Closed, None),
        ] {
            let mut command = live(valve(order));
            assert_eq!(command.weigh(&reports(state), 1), None, "queued orders are not weighed");
            command.apply(&CommandStep::Unconfirmed { why: String::new() });
            let step = command.weigh(&reports(state), 1);
            let got = step.map(|s| matches!(s, CommandStep::Confirmed { .. }));
            assert_eq!(got, verdict, "{order} against {state}");
        }
        // A permit that the device has accepted moves nothing before the user does.
        let mut permit = live(valve(O::PermitOpen));
        permit.apply(&sent(1, false));
        let (outcome, reason, body) = (Outcome::Accepted, String::new(), AnswerBody::None);
        let late = CommandStep::Late { outcome, reason: reason.clone(), raw_code: 0, body: body.clone() };
        let mut accepted_late = permit.clone();
        permit.apply(&CommandStep::Answered { outcome, reason, raw_code: 0, body });
        assert_eq!(permit.weigh(&reports(S::ClosedForced), 1), None);
        accepted_late.apply(&accepted_late.give_up());
        accepted_late.apply(&late);
        assert_eq!(accepted_late.weigh(&reports(S::ClosedForced), 1), None, "however late it has said so");
        assert!(matches!(permit.weigh(&reports(S::Open), 2), Some(CommandStep::Confirmed { .. })));
    }
}
