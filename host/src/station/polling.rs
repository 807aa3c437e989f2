//! Polls: the station asks, meters answer. A round asks every device that its poll selects, in the order of keys, with commands
//! that name the round, so that a restart goes on behind the last device that was asked and asks nobody twice.
//!
//! Whose turn it is on a line, pauses and repetitions are the desk's; a round only orders as much as may wait.

use crate::command::{Order, Refusal, Way};
use crate::config::Poll;
use crate::journal::{CommandFact, Fact, PollFact, PollStep, Round};
use crate::limits;
use crate::model::{Civil, DeviceKey};
use crate::session::Services;
use crate::session::relay::way_to;
use crate::views::{RoundRow, ViewError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Looks after one poll until the station stops.
pub(super) async fn hold(services: Arc<Services>, poll: Poll, mut stopped: watch::Receiver<bool>) {
    let mut keeper = Keeper { services, poll, running: None, handled: None, doubt: Doubt::default() };
    let mut clock = tokio::time::interval(limits::POLL_LOOK_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut resumed = false;
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = keeper.services.wishes.made() => {}
            _ = stopped.changed() => return,
        }
        let done = if resumed { keeper.look().await } else { keeper.resume().await };
        match done {
            Ok(()) => resumed = true,
            // It is tried again at the next look.
            Err(error) => tracing::warn!(poll = keeper.poll.name, error, "a round cannot go on"),
        }
    }
}

struct Keeper {
    services: Arc<Services>,
    poll: Poll,
    running: Option<Running>,
    /// The due time that nothing is left to do about.
    handled: Option<Civil>,
    doubt: Doubt,
}

/// Since when the machine's clock is not believed, by the steady clock.
#[derive(Default)]
struct Doubt(Option<i64>);

#[derive(Clone)]
struct Running {
    round: Round,
    /// By the steady clock.
    until_ms: i64,
    /// The place in the registry behind which it goes on.
    after: Option<String>,
    asked_all: bool,
}

/// Commands that were proposed, and where the next ones begin.
struct Batch {
    orders: Vec<(CommandFact, Way)>,
    next: Option<String>,
}

const TAIL_MS: i64 = limits::POLL_TAIL_MAX.as_millis() as i64;

impl Running {
    /// Whether it has so much time left that the next one is not held.
    fn may_go_on(&self, steady_ms: i64) -> bool {
        self.until_ms.saturating_sub(steady_ms) > TAIL_MS
    }

    /// Whether its time is about to end, or ended so lately that commands may still be there which go with it.
    fn ends(&self, steady_ms: i64) -> bool {
        !self.may_go_on(steady_ms) && steady_ms.saturating_sub(self.until_ms) < TAIL_MS
    }
}

impl Keeper {
    /// Where the last station left it.
    async fn resume(&mut self) -> Result<(), String> {
        let rounds = self.rounds().await?;
        let now = self.services.clock.moment();
        // One that was skipped meanwhile, or given up, is not the one that runs.
        let held = rounds.iter().find(|round| round.told.skipped.is_empty());
        let begun = held.and_then(|last| Some((last, last.told.begun_ms?)));
        let Some((last, begun_ms)) = begun else { return Ok(()) };
        let round = Round { poll: self.poll.name.clone(), due: last.due };
        let asked_all = last.told.asked_all_ms.is_some();
        if !asked_all || self.services.desk.of_poll(&self.poll.name) > 0 {
            let deadline_ms = self.poll.deadline.as_millis() as i64;
            let left_ms = begun_ms.saturating_add(deadline_ms).saturating_sub(now.wall_ms).min(deadline_ms);
            let until_ms = now.steady_ms.saturating_add(left_ms);
            let after = last.told.last.as_ref().map(ToString::to_string);
            self.running = Some(Running { round, until_ms, after, asked_all });
        }
        Ok(())
    }

    /// Newest first.
    async fn rounds(&self) -> Result<Vec<RoundRow>, String> {
        let (services, name) = (self.services.clone(), self.poll.name.clone());
        blocking(move || services.views.poll_rounds(&name, limits::POLL_ROUNDS_KEPT_MAX)).await
    }

    async fn look(&mut self) -> Result<(), String> {
        let moment = self.services.clock.moment();
        let now = self.services.clock.civil(moment.wall_ms);
        let due = self.poll.schedule.last_due(now);
        if self.doubt.is_held() && self.services.clock_behind().is_none() {
            self.doubt = Doubt::default();
        }
        // Known before anything is asked: the rounds of a clock that went astray ask nobody any more.
        let is_new = self.handled != Some(due);
        let rounds = if is_new { self.believed_rounds(now, moment.steady_ms).await? } else { None };
        if let Some(rounds) = &rounds {
            self.give_up_stray(rounds, now).await?;
        }
        let is_doubted = is_new && rounds.is_none();
        if !is_doubted && self.running.as_ref().is_some_and(|running| !running.asked_all) {
            self.ask().await?;
        }
        if self.running.as_ref().is_some_and(|running| running.asked_all)
            && self.services.desk.of_poll(&self.poll.name) == 0
        {
            self.running = None;
        }
        if let Some(rounds) = rounds {
            let late = Duration::from_secs((now.0 - due.0).max(0) as u64);
            if late < self.poll.deadline && !is_told(&rounds, due) {
                match &self.running {
                    Some(running) if running.may_go_on(moment.steady_ms) => {
                        let why = format!("the round of {} is not over", running.round.due);
                        self.skip(due, why).await?;
                    }
                    // What it has asked last is about to end.
                    Some(running) if running.ends(moment.steady_ms) => return Ok(()),
                    // Whoever still has a question of one whose time is over is passed over.
                    _ => {
                        let left = self.poll.deadline.saturating_sub(late);
                        self.begin(due, moment.steady_ms + left.as_millis() as i64, String::new()).await?;
                    }
                }
            }
            self.handled = Some(due);
        }
        if self.services.wishes.has(&self.poll.name) {
            // Whoever wants a round now says that now is right.
            self.doubt.overrule();
        }
        if self.running.is_none()
            && let Some(by) = self.services.wishes.take(&self.poll.name)
        {
            let until_ms = moment.steady_ms + self.poll.deadline.as_millis() as i64;
            let begun = self.begin(now, until_ms, by.clone()).await;
            if self.running.is_none() {
                self.services.wishes.put_back(&self.poll.name, by);
            }
            begun?;
        }
        Ok(())
    }

    /// What was told of rounds; `None`: the machine's clock is behind the journal, and several rounds that were due by it are ahead
    /// of now. Either it was lost, and rounds of another year would be asked, or it was ahead and is right: time tells.
    async fn believed_rounds(&mut self, now: Civil, steady_ms: i64) -> Result<Option<Vec<RoundRow>>, String> {
        self.services.views.caught_up(self.services.journal.health().last_seq).await;
        let rounds = self.rounds().await?;
        let is_odd = ahead_of(&rounds, now) > 1 && self.services.clock_behind().is_some();
        if is_odd && !self.doubt.is_held() {
            tracing::warn!(poll = self.poll.name, "no round is begun: the machine's clock may be wrong, see /health");
        }
        Ok((!is_odd || self.doubt.passes(steady_ms)).then_some(rounds))
    }

    /// A round of a clock that was wrong is given up, or none would be held until it is over; its own time may still come. Who still
    /// has a question of it is passed over until that ends.
    async fn give_up_stray(&mut self, rounds: &[RoundRow], now: Civil) -> Result<(), String> {
        let is_stray = |running: &Running| is_stray(rounds, running.round.due, now, self.poll.deadline);
        if let Some(stray) = self.running.clone().filter(is_stray) {
            self.skip(stray.round.due, "it had begun by a clock that was wrong".into()).await?;
            self.running = None;
        }
        Ok(())
    }

    async fn begin(&mut self, due: Civil, until_ms: i64, by: String) -> Result<(), String> {
        let round = Round { poll: self.poll.name.clone(), due };
        self.tell(&round, PollStep::Begun { by }).await?;
        self.services.metrics.poll_round(&self.poll.name, "begun");
        self.running = Some(Running { round, until_ms, after: None, asked_all: false });
        self.ask().await
    }

    async fn skip(&mut self, due: Civil, why: String) -> Result<(), String> {
        tracing::warn!(poll = self.poll.name, %due, why, "a round is not held");
        self.tell(&Round { poll: self.poll.name.clone(), due }, PollStep::Skipped { why }).await?;
        self.services.metrics.poll_round(&self.poll.name, "skipped");
        Ok(())
    }

    async fn tell(&self, round: &Round, step: PollStep) -> Result<(), String> {
        let fact = Fact::Poll(PollFact { round: round.clone(), step });
        self.services.commit(vec![fact]).await.map(drop)
    }

    /// Orders as much as may wait.
    async fn ask(&mut self) -> Result<(), String> {
        while let Some(running) = self.running.clone().filter(|running| !running.asked_all) {
            if self.services.clock.steady_ms() < running.until_ms {
                let room = limits::POLL_WAITING_MAX.saturating_sub(self.services.desk.of_poll(&self.poll.name));
                if room == 0 {
                    return Ok(());
                }
                let (services, poll, wanted) = (self.services.clone(), self.poll.clone(), running.clone());
                let rows_max = room.min(limits::POLL_BATCH);
                let batch = blocking(move || propose(&services, &poll, &wanted, rows_max)).await?;
                self.order(batch.orders).await?;
                if let Some(running) = &mut self.running
                    && batch.next.is_some()
                {
                    running.after = batch.next;
                    continue;
                }
            }
            self.tell(&running.round, PollStep::Asked).await?;
            if let Some(running) = &mut self.running {
                running.asked_all = true;
            }
        }
        Ok(())
    }

    /// Makes a batch durable as a whole, and rings.
    async fn order(&self, orders: Vec<(CommandFact, Way)>) -> Result<(), String> {
        if orders.is_empty() {
            return Ok(());
        }
        let facts = orders.iter().map(|(fact, _)| Fact::Command(fact.clone())).collect();
        if let Err(why) = self.services.commit(facts).await {
            orders.iter().for_each(|(fact, _)| self.services.desk.withdraw(fact.id));
            return Err(why);
        }
        for (fact, way) in &orders {
            self.services.settle(std::slice::from_ref(fact));
            self.services.ring(&fact.device, way);
        }
        Ok(())
    }
}

/// Whether a round that was due then can only be that of a clock that was ahead.
fn is_void(due: Civil, now: Civil) -> bool {
    due.0.saturating_sub(now.0) > limits::POLL_ROUND_AHEAD_MAX.as_secs() as i64
}

/// How many rounds were due by a clock ahead of now.
fn ahead_of(rounds: &[RoundRow], now: Civil) -> usize {
    rounds.iter().filter(|round| is_void(round.due, now)).count()
}

/// Whether a round was held then, or later in the hour that clocks show twice. One that was given up was begun by a clock that was
/// wrong, and one that was skipped may have been so by such a clock: they are still to come.
fn is_told(rounds: &[RoundRow], due: Civil) -> bool {
    let deals = |round: &&RoundRow| round.told.begun_ms.is_some() && round.told.skipped.is_empty();
    rounds.iter().filter(deals).any(|round| (0..3_600).contains(&round.due.0.saturating_sub(due.0)))
}

/// Whether a round that was due then can only be that of a clock that was wrong: it is ahead of now, or should be over long since
/// and lies far behind one that had been told before it.
fn is_stray(rounds: &[RoundRow], due: Civil, now: Civil, deadline: Duration) -> bool {
    let before = rounds.iter().skip_while(|round| round.due != due).skip(1);
    let is_old = now.0.saturating_sub(due.0) > deadline.as_secs() as i64;
    let mut plausible = before.filter(|round| !is_void(round.due, now));
    is_void(due, now) || (is_old && plausible.any(|round| is_void(round.due, due)))
}

impl Doubt {
    fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it has lasted long enough; it begins with the first question.
    fn passes(&mut self, steady_ms: i64) -> bool {
        let from_ms = *self.0.get_or_insert(steady_ms);
        steady_ms.saturating_sub(from_ms) >= limits::POLL_DOUBT_MAX.as_millis() as i64
    }

    /// Somebody knows that the clock is right.
    fn overrule(&mut self) {
        self.0 = self.0.map(|_| i64::MIN);
    }
}

/// The next devices of a round, and what to ask of them. Who still has a question of an earlier round is passed over.
fn propose(services: &Services, poll: &Poll, running: &Running, rows_max: usize) -> Result<Batch, ViewError> {
    let page = services.views.records(&poll.devices, running.after.as_deref(), rows_max)?;
    let registry = services.views.registry()?;
    let now = services.clock.moment();
    let expires = Duration::from_millis((running.until_ms - now.steady_ms).max(1_000) as u64);
    let mut orders = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        let device: DeviceKey = row.record.device;
        if services.desk.polls(&poll.name, &device) {
            continue;
        }
        let way = way_to(&registry, &device)?;
        let order = Order {
            note: format!("round of {}", running.round.due),
            expires: Some(expires),
            way: way.clone(),
            round: Some(running.round.clone()),
            manner: poll.manner(),
            ..Order::of(device.clone(), poll.what.command(running.round.due), &format!("poll {}", poll.name))
        };
        match services.desk.propose(order, services.known(&device)?, now, &services.clock) {
            Ok(fact) => orders.push((fact, way)),
            Err(Refusal::Store(why)) => return Err(ViewError::Store(why)),
            Err(refusal) => tracing::debug!(poll = poll.name, %device, %refusal, "not asked"),
        }
    }
    Ok(Batch { orders, next: page.next })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ViewError> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::RoundTold;

    const HOUR: i64 = 3_600;
    const YEARS: i64 = 4 * 365 * 24 * HOUR;
    const NOW: Civil = Civil(1_000_000_000);

    /// Rounds that were due so many seconds after now, newest first.
    fn told(dues: &[i64]) -> Vec<RoundRow> {
        let held = RoundTold { begun_ms: Some(1), ..RoundTold::default() };
        let row = |due: &i64| RoundRow { due: Civil(NOW.0 + due), told: held.clone() };
        dues.iter().map(row).collect()
    }

    #[test]
    fn what_is_due_is_dealt_with_once_whatever_the_clock_was_meanwhile() {
        let is_told = |dues: &[i64]| is_told(&told(dues), NOW);
        assert!(!is_told(&[]) && !is_told(&[-HOUR, -24 * HOUR]));
        assert!(is_told(&[0, -HOUR]));
        assert!(!is_told(&[YEARS, YEARS - HOUR, -HOUR]), "rounds of a clock that was ahead");
        assert!(is_told(&[YEARS, 0, -HOUR]), "set back, and right again");
        assert!(is_told(&[-YEARS, 0, -HOUR]), "lost, and right again");
        assert!(is_told(&[HOUR / 2, -HOUR]), "the hour that comes twice");
        assert!(!is_told(&[HOUR, -HOUR]), "another hour");
        // A day ahead for a moment, and that day has come.
        assert!(!is_told(&[2 * HOUR, -HOUR]) && is_told(&[2 * HOUR, 0, -HOUR]));
        let mut rounds = told(&[0, -HOUR]);
        rounds[0].told = RoundTold { begun_ms: Some(1), skipped: "given up".into(), ..RoundTold::default() };
        assert!(!super::is_told(&rounds, NOW), "it was begun by a clock that was ahead");
        rounds[0].told.begun_ms = None;
        assert!(!super::is_told(&rounds, NOW), "it was skipped, perhaps by a clock that was ahead");
    }

    #[test]
    fn a_round_whose_time_is_over_keeps_the_next_from_being_held_for_a_moment_only() {
        let round = Round { poll: "hourly".into(), due: NOW };
        let running = Running { round, until_ms: HOUR * 1_000, after: None, asked_all: true };
        // It has begun some milliseconds after the full hour, and so ends some after the next.
        for (since_ms, waits) in [(-300, true), (0, true), (5_500, true), (TAIL_MS, false), (HOUR * 1_000, false)] {
            let steady_ms = running.until_ms + since_ms;
            assert!(!running.may_go_on(steady_ms), "the next is held");
            assert_eq!(running.ends(steady_ms), waits, "{since_ms}");
        }
        assert!(running.may_go_on(running.until_ms - TAIL_MS - 1) && !running.ends(running.until_ms - TAIL_MS - 1));
    }

    #[test]
    fn rounds_of_a_clock_that_was_wrong_are_void_and_those_of_summer_time_are_not() {
        let deadline = Duration::from_secs(20 * HOUR as u64);
        let is_stray = |due: i64, dues: &[i64]| is_stray(&told(dues), Civil(NOW.0 + due), NOW, deadline);
        assert!(is_stray(YEARS, &[YEARS, -HOUR]), "it was ahead");
        assert!(is_stray(-YEARS, &[-YEARS, -HOUR]), "it was lost");
        assert!(!is_stray(-HOUR, &[-HOUR, 0]) && !is_stray(HOUR, &[HOUR, -HOUR]), "the hour that comes twice");
        // Some hours ahead for a moment, before that one began; since then that time has come.
        assert!(!is_stray(-HOUR, &[-HOUR, 3 * HOUR, -2 * HOUR]));
        assert!(!is_stray(-30 * 24 * HOUR, &[-30 * 24 * HOUR]), "a month's round may last");
        // Years ahead for a minute: what was skipped then makes the round under way no stray, neither then nor afterwards.
        assert!(!is_stray(-HOUR, &[YEARS, -HOUR, -2 * HOUR]));
        assert!(!is_stray(-YEARS, &[0, -YEARS, -YEARS - HOUR]));
        assert_eq!((ahead_of(&told(&[YEARS, -HOUR]), NOW), ahead_of(&told(&[5 * HOUR, 4 * HOUR, HOUR]), NOW)), (1, 2));
    }

    #[test]
    fn a_clock_is_not_doubted_for_ever() {
        let long_ms = limits::POLL_DOUBT_MAX.as_millis() as i64;
        let mut doubt = Doubt::default();
        doubt.overrule();
        assert!(!doubt.is_held(), "nobody has doubted it");
        assert_eq!([5, 6, 4 + long_ms, 5 + long_ms].map(|at_ms| doubt.passes(at_ms)), [false, false, false, true]);
        doubt = Doubt::default();
        assert!(!doubt.passes(5 + long_ms));
        doubt.overrule();
        assert!(doubt.passes(6 + long_ms), "an operator wants a round");
    }
}
