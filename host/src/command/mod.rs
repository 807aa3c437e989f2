//! Commands that are not finished: which wait for which device, which is on its way, what comes next.
//!
//! The desk decides and remembers; it writes nothing. Each decision is a `CommandFact` that the caller makes durable
//! first and then hands to `apply`. After a restart the desk is filled from the commands view.

pub mod archive;
mod given_up;
mod life;
mod line;
mod rounds;
mod rules;

pub use life::{Live, State};
pub use line::{Hop, Manner, Way};
pub use rounds::Wishes;
pub use rules::{Known, Refusal};

use crate::clock::{Clock, Moment};
use crate::journal::{CommandFact, CommandStep, Round};
use crate::limits;
use crate::model::{Answer, AnswerBody, Command, Day, DeviceKey, Interval, KeySlot, Outcome, ValveStatus};
use given_up::{GivenUp, Sending};
use line::Lines;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All unfinished commands of this station.
#[derive(Debug)]
pub struct Desk {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order in which they were asked for.
    by_device: FxHashMap<DeviceKey, Vec<Live>>,
    device_of: FxHashMap<u64, DeviceKey>,
    next_id: u64,
    /// Commands that somebody is settling.
    settling: FxHashSet<u64>,
    /// Devices behind carriers that have something to be asked.
    lines: Lines,
    /// Unfinished commands of each poll.
    of_poll: FxHashMap<String, usize>,
    /// Commands that wait for a key.
    lacking: FxHashSet<u64>,
    /// Sendings that nobody waits for any more and whose outcome is unknown: their answers may still come.
    given_up: GivenUp,
    /// When devices may be asked again that did not answer, by the steady clock.
    retries: BinaryHeap<Reverse<(i64, DeviceKey)>>,
}

/// A command is being settled, by one caller at a time.
#[derive(Debug)]
pub struct Settling<'a> {
    desk: &'a Desk,
    id: u64,
}

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Order {
    pub device: DeviceKey,
    pub command: Command,
    pub by: String,
    pub note: String,
    /// `None`: the default of its kind.
    pub expires: Option<Duration>,
    /// The carriers in front of the device.
    pub way: Way,
    /// The round of a poll that asks.
    pub round: Option<Round>,
    pub manner: Manner,
}

/// A command for a device behind a carrier.
#[derive(Clone, Debug)]
pub struct Carried {
    pub device: DeviceKey,
    pub outgoing: Outgoing,
    /// Of the carrier that was asked for.
    pub channel: Option<u8>,
    pub way: Way,
    /// Pause that its line wants afterwards.
    pub gap: Duration,
}

/// A command to be encoded now.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: u64,
    pub command: Command,
    /// 1 for the first sending.
    pub attempt: u8,
}

impl Order {
    /// What somebody asks for, of a device that speaks for itself.
    pub fn of(device: DeviceKey, command: Command, by: &str) -> Self {
        let (note, way, manner) = (String::new(), Way::new(), Manner::default());
        Self { device, command, by: by.to_owned(), note, expires: None, way, round: None, manner }
    }
}

/// What the machine's clock must show for an order of that moment to leave.
pub fn from_ms(ordered_ms: i64) -> i64 {
    ordered_ms.saturating_sub(limits::CLOCK_BACK_MAX.as_millis() as i64)
}

impl Live {
    fn take(&mut self, now: Moment, clock: &Clock) -> Outgoing {
        self.taken = true;
        let mut command = self.command.clone();
        if let Command::SetClock { to: to @ None } = &mut command {
            *to = Some(clock.civil(now.wall_ms));
        }
        Outgoing { id: self.id, command, attempt: self.attempts.saturating_add(1) }
    }
}

impl Desk {
    /// `unfinished` as the commands view has them; `next_id` is the first free number.
    pub fn new(unfinished: Vec<Live>, next_id: u64) -> Self {
        let mut inner = Inner { next_id: next_id.max(1), ..Inner::default() };
        for live in unfinished {
            inner.insert(live);
        }
        Self { inner: Mutex::new(inner) }
    }

    /// Checks an order and reserves its number. Make the fact durable, then `apply` it; or `withdraw` it.
    pub fn propose(
        &self,
        order: Order,
        known: Option<Known>,
        now: Moment,
        clock: &Clock,
    ) -> Result<CommandFact, Refusal> {
        rules::admit(order.device.as_str(), &order.command, known)?;
        let expires = rules::expiry(&order.command, order.expires)?;
        let mut expires_ms = now.wall_ms + expires.as_millis() as i64;
        let mut note = order.note.clone();
        if matches!(order.command, Command::Valve(_))
            && let Some(why) = rules::end_before_repetition(now.wall_ms, &mut expires_ms, clock)?
        {
            note = if note.is_empty() { why } else { format!("{note} ({why})") };
        }
        let life_ms = expires_ms - now.wall_ms;
        let mut inner = self.lock();
        inner.check_room(&order, now)?;
        let id = inner.next_id;
        inner.next_id += 1;
        let mut command = order.command;
        if let Command::Valve(valve) = &mut command {
            // Unique for the device because command numbers are unique for the station.
            valve.order_id = Some(id as u32);
            valve.valid_until = Some(clock.civil(expires_ms));
        }
        let live = Live::new(id, order.device.clone(), command.clone(), expires_ms)
            .within(from_ms(now.wall_ms), now.steady_ms + life_ms);
        inner.insert(live.behind(order.way).asked(order.round.clone(), order.manner));
        let step = CommandStep::Requested { command, by: order.by, note, expires_ms, round: order.round };
        Ok(CommandFact { id, device: order.device, step })
    }

    /// Forgets a proposal that could not be made durable.
    pub fn withdraw(&self, id: u64) {
        self.lock().remove(id);
    }

    /// Folds a durable step.
    pub fn apply(&self, fact: &CommandFact, now: Moment) {
        let mut inner = self.lock();
        let is_on_desk = inner.device_of.contains_key(&fact.id);
        inner.given_up.apply(fact, is_on_desk);
        if let Some(live) = inner.find(fact.id) {
            let given_up = live.given_up_by(&fact.step);
            live.apply(&fact.step);
            if let CommandStep::TimedOut { .. } = &fact.step {
                live.retry_from_ms = now.steady_ms + live.manner.retry_after.as_millis() as i64;
            }
            let retry = (live.state == State::Queued && live.retry_from_ms > i64::MIN)
                .then(|| Reverse((live.retry_from_ms, live.device.clone())));
            let (over, lacking) = (live.state == State::Over, live.waits_for_key);
            if over {
                inner.remove(fact.id);
            }
            if lacking {
                inner.lacking.insert(fact.id);
            }
            inner.retries.extend(retry);
            if let Some((session, correlation, ends_by_answer)) = given_up {
                let (id, device) = (fact.id, fact.device.clone());
                inner.given_up.add(Sending { id, device, session, correlation, ends_by_answer });
            }
        }
    }

    /// Commands that could be sent to the device now.
    pub fn pending(&self, device: &DeviceKey, now: Moment) -> u32 {
        let inner = self.lock();
        inner.of(device).iter().filter(|c| c.is_waiting(now)).count() as u32
    }

    /// Whether one of them may leave at once; one that was not answered rests for a while.
    pub fn has_due(&self, device: &DeviceKey, now: Moment) -> bool {
        self.lock().of(device).iter().any(|c| c.is_due(now))
    }

    /// Devices behind a carrier for which a command waits.
    pub fn pending_behind(&self, carrier: &DeviceKey, now: Moment) -> u32 {
        let inner = self.lock();
        let waits = |c: &Live| c.is_waiting(now);
        inner.lines.waiting(carrier, |device| inner.of(device).iter().any(waits)) as u32
    }

    /// Takes the oldest command that may be sent now: it is the caller's until its next step is applied, or `put_back`.
    pub fn next(&self, device: &DeviceKey, now: Moment, clock: &Clock) -> Option<Outgoing> {
        let mut inner = self.lock();
        let live = inner.by_device.get_mut(device)?.iter_mut().find(|c| c.is_due(now))?;
        Some(live.take(now, clock))
    }

    /// The same for whoever's turn it is behind a carrier, on a line that is `free`.
    pub fn next_behind(
        &self,
        carrier: &DeviceKey,
        free: impl Fn(Option<u8>) -> bool,
        now: Moment,
        clock: &Clock,
    ) -> Option<Carried> {
        let Inner { lines, by_device, .. } = &mut *self.lock();
        let is_due = |device: &DeviceKey| by_device.get(device).is_some_and(|l| l.iter().any(|c| c.is_due(now)));
        let (device, channel) = lines.next(carrier, free, is_due)?;
        let live = by_device.get_mut(&device)?.iter_mut().find(|c| c.is_due(now))?;
        let (way, gap) = (live.way.clone(), live.manner.gap);
        Some(Carried { outgoing: live.take(now, clock), device, channel, way, gap })
    }

    /// Devices that did not answer and may be asked again by now, with the carriers in front of them.
    pub fn due_again(&self, now: Moment) -> Vec<(DeviceKey, Way)> {
        let mut inner = self.lock();
        let mut due = Vec::new();
        while inner.retries.peek().is_some_and(|Reverse((at, _))| *at <= now.steady_ms) {
            let Some(Reverse((_, device))) = inner.retries.pop() else { break };
            let way = inner.of(&device).first().map(|c| c.way.clone());
            due.extend(way.map(|way| (device, way)));
        }
        due
    }

    /// The carriers in front of a device have changed: its commands take the new way.
    pub fn reroute(&self, device: &DeviceKey, way: &Way) {
        let Inner { lines, by_device, .. } = &mut *self.lock();
        for live in by_device.get_mut(device).into_iter().flatten() {
            lines.remove(device, &live.way);
            live.way.clone_from(way);
        }
        if let Some(live) = by_device.get(device).and_then(|list| list.first()) {
            lines.add(device, &live.way, false);
        }
    }

    /// Whether anything is unfinished for that device.
    pub fn has_some_for(&self, device: &DeviceKey) -> bool {
        self.lock().by_device.contains_key(device)
    }

    /// Unfinished commands of a poll.
    pub fn of_poll(&self, poll: &str) -> usize {
        self.lock().of_poll.get(poll).copied().unwrap_or(0)
    }

    /// Whether a question of that poll to that device is unfinished.
    pub fn polls(&self, poll: &str, device: &DeviceKey) -> bool {
        self.lock().of(device).iter().any(|c| c.round.as_ref().is_some_and(|round| round.poll == poll))
    }

    /// Whether that device is being asked for its values of that day.
    pub fn asks_for_day(&self, device: &DeviceKey, day: Day) -> bool {
        let at = day.start();
        self.lock().of(device).iter().any(|c| {
            matches!(c.command, Command::ReadHistory { interval: Interval::Day, first, last } if first <= at && at <= last)
        })
    }

    /// The command that this answer belongs to, as the step it causes. Only the last part of an answer finishes it.
    /// It counts only in the session that has sent the command: another one may be of a time before. What comes after that was
    /// given up is told; after it was accepted, it is how it ended.
    pub fn answered(&self, device: &DeviceKey, answer: &Answer, session: u64) -> Option<CommandFact> {
        if answer.more_follows || answer.correlation.0.is_empty() {
            return None;
        }
        let inner = self.lock();
        let waits = inner.of(device).iter().find(|c| {
            matches!(&c.state, State::InFlight { correlation, session: s, .. }
                if *s == session && *correlation == answer.correlation.0)
        });
        let (id, step) = match waits {
            Some(live) => (live.id, live.answered(answer)),
            None => inner.given_up.answered(device, answer, session)?,
        };
        Some(CommandFact { id, device: device.clone(), step })
    }

    /// What one frame makes of commands: a step each, the first. What else it says of an order that it has only accepted is told,
    /// and decides nothing, as if it had come later. Of a valve that has followed a newer order no report tells any more what became
    /// of the older ones, so those go with it.
    pub fn taken_together(&self, steps: Vec<CommandFact>) -> Vec<CommandFact> {
        self.taken_after(&[], steps)
    }

    /// The same of a frame that follows others whose steps are not durable yet.
    pub fn taken_after(&self, earlier: &[&CommandFact], steps: Vec<CommandFact>) -> Vec<CommandFact> {
        let mut kept: Vec<CommandFact> = Vec::with_capacity(steps.len());
        for fact in steps {
            let told = || earlier.iter().copied().chain(&kept).filter(|told| told.id == fact.id);
            let step = match (told().next().map(|first| &first.step), fact.step) {
                (None, step) => step,
                (
                    Some(CommandStep::Answered { outcome: Outcome::Accepted, .. }),
                    CommandStep::Answered { outcome, reason, raw_code, body }
                    | CommandStep::Late { outcome, reason, raw_code, body },
                ) if told().count() == 1 => CommandStep::Late { outcome, reason, raw_code, body },
                _ => continue,
            };
            kept.push(CommandFact { step, ..fact });
        }
        let inner = self.lock();
        let mut overtaken = Vec::new();
        for CommandFact { id: newer, device, step } in &kept {
            let CommandStep::Answered { outcome, .. } = step else { continue };
            let of_device = || inner.of(device).iter().filter(|c| matches!(c.command, Command::Valve(_)));
            if !may_have_moved(*outcome) || !of_device().any(|c| c.id == *newer) {
                continue;
            }
            let older = of_device().filter(|c| c.state == State::Unconfirmed && c.id < *newer);
            let decides = |fact: &CommandFact, id| fact.id == id && !matches!(fact.step, CommandStep::Late { .. });
            let is_decided = |id| earlier.iter().copied().chain(&kept).any(|fact| decides(fact, id));
            let older = older.filter(|c| !is_decided(c.id));
            overtaken.extend(older.map(|c| CommandFact {
                id: c.id,
                device: device.clone(),
                step: c.overtaken(*newer),
            }));
        }
        kept.extend(overtaken);
        kept
    }

    /// What becomes of commands in flight in a session that gives up waiting or ends. `session` 0: of all.
    pub fn given_up(&self, device: &DeviceKey, session: u64) -> Vec<CommandFact> {
        self.lock()
            .of(device)
            .iter()
            .filter(|c| matches!(c.state, State::InFlight { session: s, .. } if session == 0 || s == session))
            .map(|c| CommandFact { id: c.id, device: device.clone(), step: c.give_up() })
            .collect()
    }

    /// What becomes of commands in flight in sessions that are not alive any more.
    pub fn orphaned(&self, alive: impl Fn(u64) -> bool) -> Vec<CommandFact> {
        let inner = self.lock();
        let orphan = |c: &&Live| matches!(c.state, State::InFlight { session, .. } if !c.taken && !alive(session));
        let all = inner.by_device.values().flatten().filter(orphan);
        all.map(|c| CommandFact { id: c.id, device: c.device.clone(), step: c.give_up() }).collect()
    }

    /// A carrier did not carry this sending of a command in flight, which has thus not reached its device: where it was too busy, it is
    /// tried again, if that was not the last attempt.
    pub fn turned_away(&self, id: u64, outcome: Outcome, reason: String, raw_code: u32) -> Option<CommandFact> {
        let mut inner = self.lock();
        let live = inner.find(id).filter(|live| matches!(live.state, State::InFlight { .. }))?;
        live.turned_away = live.turned_away.saturating_add(1);
        let step = if outcome == Outcome::Busy && live.attempts < live.manner.attempts_max {
            CommandStep::TimedOut { attempt: live.attempts }
        } else {
            let why = format!("sent before without an answer; its carrier says {outcome} to the repetition");
            live.no_more(CommandStep::Answered { outcome, reason, raw_code, body: AnswerBody::None }, &why)
        };
        Some(CommandFact { id, device: live.device.clone(), step })
    }

    /// A taken command that cannot be encoded, or carried. An earlier sending of it may have been executed all the same.
    pub fn cannot_leave(&self, id: u64, device: DeviceKey, why: String) -> CommandFact {
        let step = match self.lock().find(id) {
            Some(live) => live.no_more(CommandStep::Failed { why: why.clone() }, &why),
            None => CommandStep::Failed { why },
        };
        CommandFact { id, device, step }
    }

    /// Whether an answer to this command can only be the one to its last sending.
    pub fn was_sent_once(&self, id: u64) -> bool {
        self.lock().find(id).is_some_and(|live| live.attempts == 1)
    }

    /// Whether a valve state would decide anything.
    pub fn awaits_evidence(&self, device: &DeviceKey) -> bool {
        self.lock().of(device).iter().any(|c| c.state == State::Unconfirmed)
    }

    /// What a reported valve state decides.
    pub fn weighed(&self, device: &DeviceKey, valve: &ValveStatus, frame: u64) -> Vec<CommandFact> {
        let inner = self.lock();
        let orders: Vec<&Live> = inner.of(device).iter().filter(|c| matches!(c.command, Command::Valve(_))).collect();
        // What no device has heard has moved nothing, and makes no older order obsolete.
        let Some(newest) = orders.iter().rev().find(|c| c.may_be_heard()) else { return Vec::new() };
        let facts = orders.iter().filter_map(|c| {
            let step = if c.id == newest.id {
                c.weigh(valve, frame)?
            } else if c.state == State::Unconfirmed && c.id < newest.id {
                // The state now follows from the newer order and says nothing about this one.
                c.overtaken(newest.id)
            } else {
                return None;
            };
            Some(CommandFact { id: c.id, device: device.clone(), step })
        });
        facts.collect()
    }

    /// The machine's clock is not behind the journal: it was ahead when what still waits for it was given. That goes now; but nobody
    /// knows how old a valve order is that was given then, before this start, so its time is over. Gives whose the others are.
    pub fn clock_is_right(&self, now: Moment) -> Vec<(DeviceKey, Way)> {
        let mut inner = self.lock();
        let mut freed = Vec::new();
        for live in inner.by_device.values_mut().flatten().filter(|live| live.from_ms > now.wall_ms) {
            live.from_ms = from_ms(now.wall_ms);
            let age_unknown = live.asked_before_ms.is_some_and(|asked_ms| from_ms(asked_ms) > now.wall_ms);
            if age_unknown && matches!(live.command, Command::Valve(_)) {
                live.until_ms = now.steady_ms.min(live.until_ms);
            } else {
                freed.push((live.device.clone(), live.way.clone()));
            }
        }
        freed
    }

    /// Takes the commands whose time is over.
    pub fn expired(&self, now: Moment) -> Vec<CommandFact> {
        let mut inner = self.lock();
        let all = inner.by_device.values_mut().flatten().filter(|c| c.is_free() && c.is_expired(now));
        let expire = |c: &mut Live| {
            c.taken = true;
            let step = c.no_more(CommandStep::Expired, "its time is over, after it was sent without an answer");
            CommandFact { id: c.id, device: c.device.clone(), step }
        };
        all.map(expire).collect()
    }

    /// Takes a command that waits, to be cancelled. One that has been sent before is not sent again, and is unconfirmed. One that a session is about to send is not free any more.
    pub fn cancel(&self, id: u64, by: &str) -> Result<CommandFact, Refusal> {
        let mut inner = self.lock();
        match inner.find(id) {
            Some(live) if live.is_free() => {
                live.taken = true;
                let why = format!("not sent again, by order of {by}, after it was sent without an answer");
                let step = live.no_more(CommandStep::Cancelled { by: by.into() }, &why);
                Ok(CommandFact { id, device: live.device.clone(), step })
            }
            _ => Err(Refusal::NotWaiting(id)),
        }
    }

    /// Keeps others from settling this command for as long as the answer lives. Whether it can be settled is the commands
    /// view's to say, for most unconfirmed commands are not on the desk any more.
    pub fn settle(&self, id: u64) -> Result<Settling<'_>, Refusal> {
        if self.lock().settling.insert(id) { Ok(Settling { desk: self, id }) } else { Err(Refusal::NotUnconfirmed(id)) }
    }

    /// Gives a taken command back whose step could not be made durable.
    pub fn put_back(&self, id: u64) {
        if let Some(live) = self.lock().find(id) {
            live.taken = false;
        }
    }

    /// A taken command that lacks a key waits from now on until that is set. Gives the step where that is news.
    pub fn lacks_key(&self, id: u64, key: &KeySlot) -> Option<CommandFact> {
        let mut inner = self.lock();
        let live = inner.find(id)?;
        if live.lacks.as_ref() == Some(key) {
            (live.taken, live.waits_for_key) = (false, true);
            inner.lacking.insert(id);
            return None;
        }
        Some(CommandFact { id, device: live.device.clone(), step: CommandStep::KeyMissing(key.clone()) })
    }

    /// Keys are there now: what has waited for them may go. Gives the devices that it is for, with the carriers in front of them.
    pub fn keys_came(&self, keys: &FxHashSet<KeySlot>) -> Vec<(DeviceKey, Way)> {
        let mut inner = self.lock();
        let has = |key: &KeySlot| {
            let common = || DeviceKey::new(key.device.realm(), "*").map(|device| KeySlot { device, ..key.clone() });
            keys.contains(key) || common().is_ok_and(|common| keys.contains(&common))
        };
        let mut freed = Vec::new();
        for id in std::mem::take(&mut inner.lacking) {
            let Some(live) = inner.find(id).filter(|live| live.waits_for_key) else { continue };
            if live.lacks.as_ref().is_some_and(has) {
                live.waits_for_key = false;
                freed.push((live.device.clone(), live.way.clone()));
            } else {
                inner.lacking.insert(id);
            }
        }
        freed
    }

    /// Devices with a command in flight; after a restart nobody waits for those answers any more.
    pub fn devices_in_flight(&self) -> Vec<DeviceKey> {
        let inner = self.lock();
        let flying = |list: &&Vec<Live>| list.iter().any(|c| matches!(c.state, State::InFlight { .. }));
        inner.by_device.values().filter(flying).filter_map(|list| list.first().map(|c| c.device.clone())).collect()
    }

    /// Unfinished commands of all devices.
    pub fn unfinished(&self) -> usize {
        self.lock().device_of.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave the maps half-changed: each change is a single insert or remove.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an order that ends so may have had its effect. One that is accepted has not ended.
fn may_have_moved(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Done | Outcome::AlreadyDone | Outcome::Failed | Outcome::NoAnswerBehind | Outcome::Other => true,
        Outcome::Accepted | Outcome::Refused | Outcome::Unsupported | Outcome::Busy | Outcome::Expired => false,
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.desk.lock().settling.remove(&self.id);
    }
}

impl Inner {
    fn of(&self, device: &DeviceKey) -> &[Live] {
        self.by_device.get(device).map_or(&[], Vec::as_slice)
    }

    fn find(&mut self, id: u64) -> Option<&mut Live> {
        let device = self.device_of.get(&id)?;
        self.by_device.get_mut(device)?.iter_mut().find(|c| c.id == id)
    }

    fn insert(&mut self, live: Live) {
        self.device_of.insert(live.id, live.device.clone());
        // A valve order goes before readings of others.
        self.lines.add(&live.device, &live.way, matches!(live.command, Command::Valve(_)));
        if let Some(round) = &live.round {
            *self.of_poll.entry(round.poll.clone()).or_default() += 1;
        }
        self.by_device.entry(live.device.clone()).or_default().push(live);
    }

    fn remove(&mut self, id: u64) {
        self.lacking.remove(&id);
        let Some(device) = self.device_of.remove(&id) else { return };
        let Some(list) = self.by_device.get_mut(&device) else { return };
        let Some(at) = list.iter().position(|c| c.id == id) else { return };
        let live = list.remove(at);
        if list.is_empty() {
            self.by_device.remove(&device);
            self.lines.remove(&device, &live.way);
        }
        if let Some(round) = live.round
            && let Some(count) = self.of_poll.get_mut(&round.poll)
        {
            *count = count.saturating_sub(1);
        }
    }

    fn check_room(&self, order: &Order, now: Moment) -> Result<(), Refusal> {
        let waiting = self.of(&order.device);
        // Unconfirmed orders wait for nothing but a report, and a new one is a way to bring that about.
        let pending = waiting.iter().filter(|c| c.state != State::Unconfirmed).count();
        if pending >= limits::COMMANDS_PENDING_MAX || waiting.len() >= limits::COMMANDS_UNFINISHED_MAX {
            return Err(Refusal::QueueFull { pending: waiting.len() });
        }
        // An unconfirmed order does not stand in the way: an emergency must not wait for the next report. Nor does one whose time is over.
        let waits = |c: &Live| c.state != State::Unconfirmed && !c.is_expired(now);
        let valve = |c: &&Live| matches!(c.command, Command::Valve(_)) && waits(c);
        match waiting.iter().find(valve) {
            Some(other) if matches!(order.command, Command::Valve(_)) => Err(Refusal::ValveBusy { other: other.id }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HexBytes, ReadScope, Valve, ValveOrder};

    /// A moment at which both clocks show the same.
    fn at(ms: i64) -> Moment {
        Moment { wall_ms: ms, steady_ms: ms }
    }
    fn clock() -> Clock {
        Clock::new("Asia/Shanghai").expect("zone")
    }
    fn order(command: Command) -> Order {
        Order::of("usp/1".parse().expect("key"), command, "test")
    }
    fn valve() -> Command {
        Command::Valve(Valve {
            order: ValveOrder::CloseForced,
            order_id: None,
            valid_until: None,
            reason: String::new(),
        })
    }
    fn ask(desk: &Desk, command: Command) -> u64 {
        let fact = desk.propose(order(command), Some(Known::default()), at(0), &clock()).expect("admitted");
        desk.apply(&fact, at(0));
        fact.id
    }
    fn send(desk: &Desk, id: u64, correlation: &[u8]) {
        send_again(desk, id, correlation, 1);
    }
    fn send_again(desk: &Desk, id: u64, correlation: &[u8], attempt: u8) {
        let step = CommandStep::Sent {
            attempt,
            session: 9,
            correlation: HexBytes(correlation.to_vec()),
            repeatable: false,
            frames: vec![],
            memory: None,
            answer_by_ms: 10,
            through: None,
        };
        desk.apply(&CommandFact { id, device: "usp/1".parse().expect("key"), step }, at(0));
    }

    #[test]
    fn a_question_for_some_days_does_not_stand_for_others() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let of = |interval, first: i32, last: i32| Command::ReadHistory {
            interval,
            first: Day(first).start(),
            last: Day(last).start(),
        };
        ask(&desk, of(Interval::Day, 6, 7));
        ask(&desk, of(Interval::Hour, 9, 9));
        let asked: Vec<i32> = (4..11).filter(|day| desk.asks_for_day(&device, Day(*day))).collect();
        assert_eq!(asked, [6, 7]);
    }

    #[test]
    fn an_order_that_has_left_is_neither_cancelled_nor_expired() {
        for ends_by_time in [false, true] {
            let desk = Desk::new(vec![], 1);
            let device: DeviceKey = "usp/1".parse().expect("key");
            let id = ask(&desk, valve());
            send(&desk, id, &[1]);
            let again = CommandFact { id, device, step: CommandStep::TimedOut { attempt: 1 } };
            desk.apply(&again, at(0));
            let ended = if ends_by_time {
                desk.expired(at(i64::MAX)).pop().expect("its time is over")
            } else {
                desk.cancel(id, "ops").expect("it waits")
            };
            assert!(matches!(ended.step, CommandStep::Unconfirmed { .. }), "{ended:?}");
            desk.apply(&ended, at(0));
            assert_eq!(desk.unfinished(), 1, "a report decides");
        }
    }

    #[test]
    fn what_a_dead_session_had_in_flight_is_given_back() {
        let desk = Desk::new(vec![], 1);
        let id = ask(&desk, Command::Read { scope: ReadScope::Current });
        send(&desk, id, &[1]);
        assert!(desk.orphaned(|session| session == 9).is_empty(), "somebody waits for it");
        let orphans = desk.orphaned(|_| false);
        assert!(matches!(&orphans[..], [fact] if fact.step == CommandStep::TimedOut { attempt: 1 }), "{orphans:?}");
        orphans.iter().for_each(|fact| desk.apply(fact, at(0)));
        assert!(desk.orphaned(|_| false).is_empty());
        assert_eq!(desk.pending(&"usp/1".parse().expect("key"), at(0)), 1);
    }

    #[test]
    fn who_did_not_answer_is_asked_again_by_the_steady_clock() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let manner = Manner { retry_after: Duration::from_secs(60), ..Manner::default() };
        let asked = Order { manner, ..order(Command::Read { scope: ReadScope::Current }) };
        let fact = desk.propose(asked, Some(Known::default()), at(0), &clock()).expect("admitted");
        desk.apply(&fact, at(0));
        send(&desk, fact.id, &[1]);
        // The machine's clock is a year ahead when no answer has come, and is set right afterwards.
        let of_day = |day: i64, steady_ms| Moment { wall_ms: day * 86_400_000, steady_ms };
        let lost = CommandFact { id: fact.id, device: device.clone(), step: CommandStep::TimedOut { attempt: 1 } };
        desk.apply(&lost, of_day(365, 10_000));
        for (now, may_be_asked) in [(of_day(0, 69_999), false), (of_day(1, 69_999), false), (of_day(0, 70_000), true)] {
            assert_eq!(desk.due_again(now).len(), usize::from(may_be_asked), "{now:?}");
            assert_eq!(desk.next(&device, now, &clock()).is_some(), may_be_asked, "{now:?}");
        }
    }

    #[test]
    fn an_order_that_has_not_left_takes_no_evidence_from_an_older_one() {
        use crate::model::{Initiator, ValveState};
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let older = ask(&desk, valve());
        send(&desk, older, &[1]);
        desk.given_up(&device, 9).iter().for_each(|fact| desk.apply(fact, at(0)));
        ask(&desk, valve());
        let closed = ValveStatus { state: ValveState::ClosedForced, by: Initiator::Unknown, reason: None };
        let steps = desk.weighed(&device, &closed, 7);
        assert!(
            matches!(&steps[..], [fact] if fact.id == older && matches!(fact.step, CommandStep::Confirmed { .. })),
            "{steps:?}"
        );
    }

    #[test]
    fn what_a_carrier_did_not_carry_was_not_executed_and_says_nothing_of_what_left_before() {
        use crate::model::{Initiator, ValveState};
        let device: DeviceKey = "usp/1".parse().expect("key");
        for heard_before in [false, true] {
            for outcome in [Outcome::Busy, Outcome::Refused, Outcome::Unsupported, Outcome::Expired] {
                let desk = Desk::new(vec![], 1);
                let older = ask(&desk, valve());
                send(&desk, older, &[1]);
                desk.given_up(&device, 9).iter().for_each(|fact| desk.apply(fact, at(0)));
                let once = Order { manner: Manner { attempts_max: 2, ..Manner::default() }, ..order(valve()) };
                let fact = desk.propose(once, Some(Known::default()), at(0), &clock()).expect("admitted");
                desk.apply(&fact, at(0));
                let id = fact.id;
                send(&desk, id, &[2]);
                let again = if heard_before {
                    Some(CommandFact { id, device: device.clone(), step: CommandStep::TimedOut { attempt: 1 } })
                } else {
                    desk.turned_away(id, Outcome::Busy, String::new(), 0)
                };
                let again = again.expect("in flight");
                assert_eq!(again.step, CommandStep::TimedOut { attempt: 1 });
                desk.apply(&again, at(0));
                let closed = ValveStatus { state: ValveState::ClosedForced, by: Initiator::Unknown, reason: None };
                let weighed = desk.weighed(&device, &closed, 7);
                let decided = weighed.iter().any(|fact| fact.id == older && fact.step.name() == "confirmed");
                assert_eq!(decided, !heard_before, "{weighed:?}");
                send_again(&desk, id, &[3], 2);
                let ended = desk.turned_away(id, outcome, String::new(), 0).expect("in flight");
                let step = if heard_before { "unconfirmed" } else { "answered" };
                assert_eq!(ended.step.name(), step, "{outcome}: {ended:?}");
            }
        }
    }

    #[test]
    fn a_command_that_lacks_a_key_says_so_once_and_waits_for_it() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let slot = |device: &str, slot: &str| {
            KeySlot::new(device.parse().expect("a device"), slot.to_owned()).expect("a slot")
        };
        let came = |key: KeySlot| desk.keys_came(&FxHashSet::from_iter([key])).len();
        let id = ask(&desk, Command::Read { scope: ReadScope::Current });
        for round in 0..3 {
            assert_eq!(desk.pending(&device, at(1)), 1);
            assert_eq!(desk.next(&device, at(1), &clock()).map(|outgoing| outgoing.id), Some(id), "round {round}");
            let news = desk.lacks_key(id, &slot("usp/1", "3"));
            assert_eq!(news.is_some(), round == 0, "its steps tell of the key once");
            news.iter().for_each(|fact| desk.apply(fact, at(0)));
            assert!(desk.next(&device, at(1), &clock()).is_none(), "not tried at each contact");
            assert_eq!(desk.pending(&device, at(1)), 0, "nothing to stay awake for");
            assert_eq!((came(slot("usp/1", "4")), came(slot("usp/2", "3")), came(slot("m/*", "3"))), (0, 0, 0));
            assert_eq!(came(slot(if round == 1 { "usp/*" } else { "usp/1" }, "3")), 1);
        }
        desk.next(&device, at(1), &clock()).expect("free");
        let news = desk.lacks_key(id, &slot("usp/1", "5")).expect("another key");
        assert!(matches!(&news.step, CommandStep::KeyMissing(key) if key.slot == "5"), "{news:?}");
        desk.apply(&news, at(0));
        assert!(
            matches!(&desk.expired(at(i64::MAX))[..], [fact] if fact.step == CommandStep::Expired),
            "it ends like others"
        );
        desk.put_back(id);
        desk.apply(&desk.cancel(id, "ops").expect("cancelled"), at(0));
        assert_eq!(came(slot("usp/1", "5")), 0);
        assert!(desk.lock().lacking.is_empty());
    }

    #[test]
    fn an_order_is_numbered_limited_and_alone() {
        let desk = Desk::new(vec![], 41);
        let fact = desk.propose(order(valve()), Some(Known::default()), at(0), &clock()).expect("admitted");
        let CommandStep::Requested { command: Command::Valve(v), .. } = &fact.step else { panic!("{fact:?}") };
        assert_eq!((fact.id, v.order_id), (41, Some(41)));
        assert_eq!(v.valid_until.map(|t| t.to_string()).as_deref(), Some("1970-01-02T08:00:00"));
        let device = &fact.device;
        assert!(desk.next(device, at(1), &clock()).is_none(), "not before it is durable");
        let second = desk.propose(order(valve()), Some(Known::default()), at(0), &clock());
        assert_eq!(second, Err(Refusal::ValveBusy { other: 41 }), "not even while the first is only proposed");
        desk.withdraw(41);
        assert!(desk.propose(order(valve()), Some(Known::default()), at(0), &clock()).is_ok());
    }

    #[test]
    fn what_answers_an_order_that_was_given_up_is_told_once_and_decides_nothing() {
        use crate::model::{Initiator, ValveState};
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let older = ask(&desk, valve());
        send(&desk, older, &[1]);
        desk.given_up(&device, 9).iter().for_each(|fact| desk.apply(fact, at(0)));
        let newer = ask(&desk, valve());
        send(&desk, newer, &[2]);
        desk.given_up(&device, 9).iter().for_each(|fact| desk.apply(fact, at(0)));
        let late = |correlation: u8, session| {
            let (correlation, reason) = (HexBytes(vec![correlation]), "moved".into());
            let (outcome, raw_code, body, more_follows) = (Outcome::Done, 0, AnswerBody::None, false);
            let answer = Answer { correlation, outcome, reason, raw_code, body, more_follows };
            desk.answered(&device, &answer, session)
        };
        let told = late(2, 9).expect("told");
        assert_eq!((told.id, told.step.name()), (newer, "answered-late"));
        desk.apply(&told, at(0));
        assert!(desk.awaits_evidence(&device), "it decides nothing");
        // A report decides the newer one; the older one is overtaken, and off the desk.
        let closed = ValveStatus { state: ValveState::ClosedForced, by: Initiator::Unknown, reason: None };
        desk.weighed(&device, &closed, 7).iter().for_each(|fact| desk.apply(fact, at(0)));
        assert_eq!(desk.unfinished(), 0);
        assert_eq!(late(1, 8), None, "of another session");
        let told = late(1, 9).expect("told");
        assert_eq!((told.id, told.step.name()), (older, "answered-late"));
        desk.apply(&told, at(0));
        assert_eq!((late(1, 9), late(2, 9)), (None, None), "once");
    }

    #[test]
    fn what_was_accepted_ends_by_the_next_answer_of_its_session() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let says = |outcome, session| {
            let (correlation, reason) = (HexBytes(vec![1]), String::new());
            let (raw_code, body, more_follows) = (0, AnswerBody::None, false);
            desk.answered(&device, &Answer { correlation, outcome, reason, raw_code, body, more_follows }, session)
        };
        let accept = |command| {
            let id = ask(&desk, command);
            send(&desk, id, &[1]);
            desk.apply(&says(Outcome::Accepted, 9).expect("it is asked"), at(0));
            id
        };
        let clock = || Command::SetClock { to: None };
        let id = accept(clock());
        assert_eq!((says(Outcome::Accepted, 9), says(Outcome::Done, 8)), (None, None), "no news, and another session");
        let told = says(Outcome::Done, 9).expect("its end");
        assert_eq!((told.id, told.step.name()), (id, "answered"));
        desk.apply(&told, at(0));
        assert_eq!(says(Outcome::Done, 9), None, "once");
        // What is sent under the same name has its answers for itself.
        accept(clock());
        let newer = ask(&desk, clock());
        send(&desk, newer, &[1]);
        desk.apply(&says(Outcome::Done, 9).expect("it is asked"), at(0));
        assert_eq!(says(Outcome::Done, 9), None);
        // A valve shows what became of its order.
        accept(valve());
        assert_eq!(says(Outcome::Done, 9).map(|fact| fact.step.name()), Some("answered-late"));
    }

    #[test]
    fn an_order_that_cannot_be_sent_again_may_have_been_executed() {
        let device: DeviceKey = "usp/1".parse().expect("key");
        for (sent_before, step) in [(false, "failed"), (true, "unconfirmed")] {
            let desk = Desk::new(vec![], 1);
            let id = ask(&desk, valve());
            if sent_before {
                send(&desk, id, &[1]);
                desk.apply(
                    &CommandFact { id, device: device.clone(), step: CommandStep::TimedOut { attempt: 1 } },
                    at(0),
                );
            }
            let ended = desk.cannot_leave(id, device.clone(), "no such adapter".into());
            assert_eq!(ended.step.name(), step);
            desk.apply(&ended, at(0));
            assert_eq!(desk.awaits_evidence(&device), sent_before);
        }
    }

    #[test]
    fn one_frame_says_one_thing_of_an_order() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let id = ask(&desk, valve());
        send(&desk, id, &[1]);
        let says = |outcome| {
            let (correlation, reason) = (HexBytes(vec![1]), String::new());
            let (raw_code, body, more_follows) = (0, AnswerBody::None, false);
            let answer = Answer { correlation, outcome, reason, raw_code, body, more_follows };
            desk.answered(&device, &answer, 9).expect("it is asked")
        };
        let lost = desk.given_up(&device, 9).pop().expect("in flight");
        let told = |steps| desk.taken_together(steps).iter().map(|fact| fact.step.name()).collect::<Vec<_>>();
        let [accepted, done, refused] = [Outcome::Accepted, Outcome::Done, Outcome::Refused].map(says);
        assert_eq!(told(vec![done.clone(), accepted.clone()]), ["answered"]);
        assert_eq!(told(vec![accepted.clone(), lost]), ["answered"], "the carrier's silence comes after its answer");
        assert_eq!(told(vec![accepted.clone(), done.clone(), refused]), ["answered", "answered-late"]);
        let later = desk.taken_after(&[&accepted], vec![done.clone(), done.clone()]);
        assert_eq!(
            later.iter().map(|fact| fact.step.name()).collect::<Vec<_>>(),
            ["answered-late"],
            "of the next frame"
        );
        assert_eq!(desk.taken_after(&[&done], vec![accepted.clone()]), []);
        assert_eq!(desk.taken_together(desk.taken_together(vec![accepted.clone(), done])).len(), 2);
        let twice = desk.taken_together(vec![accepted.clone(), accepted]);
        twice.iter().for_each(|fact| desk.apply(fact, at(0)));
        assert!(desk.awaits_evidence(&device), "{twice:?}");
    }

    #[test]
    fn what_a_newer_order_has_done_decides_no_older_one() {
        let device: DeviceKey = "usp/1".parse().expect("key");
        for (outcome, decides) in [(Outcome::Done, false), (Outcome::Failed, false), (Outcome::Refused, true)] {
            let desk = Desk::new(vec![], 1);
            let older = ask(&desk, valve());
            send(&desk, older, &[1]);
            desk.given_up(&device, 9).iter().for_each(|fact| desk.apply(fact, at(0)));
            let newer = ask(&desk, valve());
            send(&desk, newer, &[2]);
            let (reason, body) = (String::new(), AnswerBody::None);
            let step = CommandStep::Answered { outcome, reason, raw_code: 0, body };
            // Beside it comes what answers the older one at last.
            let late = CommandStep::Late { outcome, reason: String::new(), raw_code: 0, body: AnswerBody::None };
            let [late, step] =
                [(older, late), (newer, step)].map(|(id, step)| CommandFact { id, device: device.clone(), step });
            let steps = desk.taken_together(desk.taken_together(vec![late, step]));
            assert_eq!(steps.len(), if decides { 2 } else { 3 }, "told once: {steps:?}");
            let overtaken = |fact: &CommandFact| fact.id == older && fact.step.name() == "unconfirmed";
            assert_eq!(!steps.iter().any(overtaken), decides, "{outcome:?}: {steps:?}");
            steps.iter().for_each(|fact| desk.apply(fact, at(0)));
            assert_eq!(desk.awaits_evidence(&device), decides, "{outcome:?}");
        }
    }

    #[test]
    fn answers_find_their_command() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let id = ask(&desk, Command::Read { scope: ReadScope::Current });
        assert_eq!(desk.pending(&device, at(0)), 1);
        send(&desk, id, &[1, 2]);
        assert_eq!(desk.pending(&device, at(0)), 0);
        let mut answer = Answer {
            correlation: HexBytes(vec![9]),
            outcome: Outcome::Done,
            reason: String::new(),
            raw_code: 0,
            body: AnswerBody::None,
            more_follows: false,
        };
        assert_eq!(desk.answered(&device, &answer, 9), None);
        answer.correlation = HexBytes(vec![1, 2]);
        assert_eq!(desk.answered(&device, &answer, 8), None, "of another session");
        let fact = desk.answered(&device, &answer, 9).expect("found");
        desk.apply(&fact, at(0));
        assert_eq!(desk.unfinished(), 0);
    }

    #[test]
    fn a_lost_session_gives_its_commands_back_or_marks_them_unconfirmed() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let (read, order) = (ask(&desk, Command::Read { scope: ReadScope::Current }), ask(&desk, valve()));
        send(&desk, read, &[1]);
        send(&desk, order, &[2]);
        assert!(desk.given_up(&device, 8).is_empty(), "another session's");
        let facts = desk.given_up(&device, 9);
        assert_eq!(facts.len(), 2);
        for fact in &facts {
            desk.apply(fact, at(0));
        }
        assert_eq!(desk.next(&device, at(0), &clock()).map(|o| (o.id, o.attempt)), Some((read, 2)));
    }

    #[test]
    fn a_command_that_is_being_sent_cannot_be_cancelled_meanwhile_nor_the_reverse() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let id = ask(&desk, Command::Read { scope: ReadScope::Current });
        assert_eq!(desk.next(&device, at(0), &clock()).map(|o| o.id), Some(id));
        assert_eq!(desk.cancel(id, "ops"), Err(Refusal::NotWaiting(id)));
        assert!(desk.expired(at(i64::MAX)).is_empty());
        assert!(desk.next(&device, at(0), &clock()).is_none());
        // The journal refused the sending.
        desk.put_back(id);
        let cancelled = desk.cancel(id, "ops").expect("free again");
        assert!(desk.next(&device, at(0), &clock()).is_none(), "it does not leave while its cancellation is written");
        desk.apply(&cancelled, at(0));
        assert_eq!(desk.unfinished(), 0);
    }

    #[test]
    fn no_valve_order_outlives_its_time_where_clocks_go_back() {
        let clock = Clock::new("Europe/Berlin").expect("zone");
        let ms = |utc: &str| utc.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        let ordered = |now: &str, expires_s: u64, note: &str| -> Result<(i64, String), Refusal> {
            let (expires, note) = (Some(Duration::from_secs(expires_s)), note.to_owned());
            let order = Order { note, expires, ..order(valve()) };
            let fact = Desk::new(vec![], 1).propose(order, Some(Known::default()), at(ms(now)), &clock)?;
            match fact.step {
                CommandStep::Requested { command: Command::Valve(valve), note, expires_ms, .. } => {
                    assert_eq!(valve.valid_until, Some(clock.civil(expires_ms)));
                    Ok(((expires_ms - ms(now)) / 1_000, note))
                }
                step => panic!("{step:?}"),
            }
        };
        // Clocks go back from 03:00 to 02:00 at 01:00 UTC. 01:50 to 02:05 would also be 02:05 an hour later.
        let (lives_s, note) = ordered("2026-10-24T23:50:00Z", 900, "leak").expect("admitted");
        assert_eq!(lives_s, 599);
        assert!(note.starts_with("leak (it ends at 2026-10-25T01:59:59, before"), "{note}");
        assert_eq!(ordered("2026-10-24T23:50:00Z", 540, "leak"), Ok((540, "leak".into())));
        assert_eq!(ordered("2026-10-24T23:50:00Z", 3 * 3_600, ""), Ok((3 * 3_600, String::new())));
        // At 02:50 nothing is left of the time before, and 02:05 has passed.
        let refused = ordered("2026-10-25T00:50:00Z", 900, "leak").expect_err("refused").to_string();
        assert!(refused.contains("an hour that the clocks show twice") && refused.contains("4200 s"), "{refused}");
        assert_eq!(ordered("2026-10-25T00:50:00Z", 4_200, ""), Ok((4_200, String::new())));
        assert_eq!(ordered("2026-10-25T01:50:00Z", 300, ""), Ok((300, String::new())), "they have gone back");
    }

    #[test]
    fn expired_commands_do_not_leave() {
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let id = ask(&desk, valve());
        let later = limits::VALVE_EXPIRY_DEFAULT.as_millis() as i64;
        assert!(desk.next(&device, at(later), &clock()).is_none());
        assert_eq!(desk.expired(at(later)).iter().map(|f| f.id).collect::<Vec<_>>(), [id]);
    }

    #[test]
    fn a_clock_that_was_set_back_lets_no_order_live_longer_nor_leave_before_its_time() {
        let hour = 3_600_000;
        let desk = Desk::new(vec![], 1);
        let device: DeviceKey = "usp/1".parse().expect("key");
        let asked = |command| Order { expires: Some(Duration::from_secs(3_600)), ..order(command) };
        let ordered = Moment { wall_ms: 50 * hour, steady_ms: hour };
        for command in [Command::Read { scope: ReadScope::Current }, valve()] {
            let fact = desk.propose(asked(command), Some(Known::default()), ordered, &clock()).expect("admitted");
            desk.apply(&fact, at(0));
        }
        let at = |wall_ms, steady_min: i64| Moment { wall_ms, steady_ms: hour + steady_min * 60_000 };
        let waiting = |now| desk.pending(&device, now);
        assert_eq!(waiting(at(50 * hour - 60_000, 1)), 2, "it may be set by a hair");
        assert_eq!(waiting(at(10 * hour, 2)), 1, "a question harms nobody");
        assert_eq!(desk.next(&device, at(10 * hour, 2), &clock()).map(|outgoing| outgoing.id), Some(1));
        assert!(desk.next(&device, at(10 * hour, 2), &clock()).is_none(), "the order waits for its own time");
        desk.put_back(1);
        assert_eq!(waiting(at(50 * hour, 50)), 2);
        // It had been ahead when the order was given: that is known once the journal's newest entries are of the clock as it is.
        assert_eq!(desk.clock_is_right(at(12 * hour, 55)).len(), 2);
        assert_eq!(waiting(at(12 * hour, 55)), 2);
        assert_eq!(waiting(at(10 * hour, 60)), 0, "an hour has passed, whatever the machine's clock says");
        assert_eq!(desk.expired(at(10 * hour, 60)).len(), 2);
    }
}
