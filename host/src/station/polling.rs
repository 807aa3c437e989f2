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
    let mut keeper = Keeper { services, poll, running: None, handled: None };
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
    /// The last round that was held or skipped.
    handled: Option<Civil>,
}

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

impl Keeper {
    /// Where the last station left it.
    async fn resume(&mut self) -> Result<(), String> {
        let rounds = self.rounds().await?;
        let now = self.services.clock.moment();
        let today = self.services.clock.civil(now.wall_ms);
        // What was due by a clock that is right now counts, however that went in between.
        self.handled = last_due(&rounds, today);
        let Some(last) = rounds.first() else { return Ok(()) };
        let round = Round { poll: self.poll.name.clone(), due: last.due };
        if let (Some(begun_ms), None) = (last.told.begun_ms, last.told.asked_all_ms) {
            let deadline_ms = self.poll.deadline.as_millis() as i64;
            let left_ms = begun_ms.saturating_add(deadline_ms).saturating_sub(now.wall_ms).min(deadline_ms);
            let until_ms = now.steady_ms.saturating_add(left_ms);
            let after = last.told.last.as_ref().map(ToString::to_string);
            self.running = Some(Running { round, until_ms, after, asked_all: false });
        } else if self.services.desk.of_poll(&self.poll.name) > 0 {
            self.running = Some(Running { round, until_ms: i64::MAX, after: None, asked_all: true });
        }
        Ok(())
    }

    /// The machine's clock was ahead, and rounds that were due by it are ahead of now: they are given up, or none would ever be held.
    /// Who still has a question of them is passed over until it ends. False: several rounds are ahead, so it is the clock of now that
    /// is behind; none is begun until it is right, or rounds of another year would be asked.
    async fn give_up_void(&mut self, now: Civil) -> Result<bool, String> {
        let ahead = [self.running.as_ref().map(|running| running.round.due), self.handled];
        if !ahead.into_iter().flatten().any(|due| is_void(due, now)) {
            return Ok(true);
        }
        self.services.views.caught_up(self.services.journal.health().last_seq).await;
        let rounds = self.rounds().await?;
        if self.services.clock_behind().is_some() && ahead_of(&rounds, now) > 1 {
            return Ok(false);
        }
        if let Some(running) = self.running.clone().filter(|running| is_void(running.round.due, now)) {
            if !running.asked_all {
                self.tell(&running.round, PollStep::Asked).await?;
            }
            tracing::warn!(poll = self.poll.name, due = %running.round.due, "a round is given up: the machine's clock was ahead");
            self.running = None;
        }
        if let Some(handled) = self.handled.filter(|handled| is_void(*handled, now)) {
            tracing::warn!(poll = self.poll.name, %handled, "the machine's clock was ahead: rounds go by the clock as it is now");
            self.handled = last_due(&rounds, now);
        }
        Ok(true)
    }

    /// Newest first.
    async fn rounds(&self) -> Result<Vec<RoundRow>, String> {
        let (services, name) = (self.services.clone(), self.poll.name.clone());
        blocking(move || services.views.poll_rounds(&name, limits::POLL_ROUNDS_KEPT_MAX)).await
    }

    async fn look(&mut self) -> Result<(), String> {
        let moment = self.services.clock.moment();
        let now = self.services.clock.civil(moment.wall_ms);
        let is_believed = self.give_up_void(now).await?;
        if self.running.as_ref().is_some_and(|running| !running.asked_all) {
            self.ask().await?;
        }
        if self.running.as_ref().is_some_and(|running| running.asked_all)
            && self.services.desk.of_poll(&self.poll.name) == 0
        {
            self.running = None;
        }
        let due = self.poll.schedule.last_due(now);
        if is_believed && self.handled.is_none_or(|handled| due > handled) {
            let late = Duration::from_secs((now.0 - due.0).max(0) as u64);
            if late >= self.poll.deadline {
                self.handled = Some(due);
            } else if let Some(running) = &self.running {
                let why = format!("the round of {} is not over", running.round.due);
                self.skip(due, why).await?;
            } else if self.rounds().await?.iter().any(|round| round.due == due) {
                // The clock was set back meanwhile, and is right again.
                self.handled = Some(due);
            } else {
                let left = self.poll.deadline.saturating_sub(late);
                self.begin(due, moment.steady_ms + left.as_millis() as i64, String::new()).await?;
            }
        }
        if self.running.is_none()
            && let Some(by) = self.services.wishes.take(&self.poll.name)
        {
            self.begin(now, moment.steady_ms + self.poll.deadline.as_millis() as i64, by).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, due: Civil, until_ms: i64, by: String) -> Result<(), String> {
        let round = Round { poll: self.poll.name.clone(), due };
        self.tell(&round, PollStep::Begun { by }).await?;
        self.services.metrics.poll_round(&self.poll.name, "begun");
        self.handled = self.handled.max(Some(due));
        self.running = Some(Running { round, until_ms, after: None, asked_all: false });
        self.ask().await
    }

    async fn skip(&mut self, due: Civil, why: String) -> Result<(), String> {
        tracing::warn!(poll = self.poll.name, %due, why, "a round is not held");
        self.tell(&Round { poll: self.poll.name.clone(), due }, PollStep::Skipped { why }).await?;
        self.services.metrics.poll_round(&self.poll.name, "skipped");
        self.handled = Some(due);
        Ok(())
    }

    async fn tell(&self, round: &Round, step: PollStep) -> Result<(), String> {
        let fact = Fact::Poll(PollFact { round: round.clone(), step });
        self.services.commit(vec![fact]).await.map(drop)
    }

    /// Orders as much as may wait.
    async fn ask(&mut self) -> Result<(), String> {
        while let Some(running) = self.running.clone().filter(|running| !running.asked_all) {
            let room = limits::POLL_WAITING_MAX.saturating_sub(self.services.desk.of_poll(&self.poll.name));
            if room == 0 {
                return Ok(());
            }
            if self.services.clock.steady_ms() < running.until_ms {
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

/// The last round that was due, as far as the clock that is right now tells.
fn last_due(rounds: &[RoundRow], now: Civil) -> Option<Civil> {
    rounds.iter().map(|round| round.due).filter(|due| !is_void(*due, now)).max()
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

    #[test]
    fn rounds_of_a_clock_that_was_ahead_are_void_and_those_of_summer_time_are_not() {
        let row = |due| RoundRow { due: Civil(due), told: RoundTold::default() };
        let (hour, now) = (3_600, Civil(1_000_000_000));
        let last = |dues: &[i64]| last_due(&dues.iter().map(|due| row(now.0 + due)).collect::<Vec<_>>(), now);
        assert_eq!(last(&[4 * 365 * 24 * hour, -hour, -24 * hour]), Some(Civil(now.0 - hour)));
        assert_eq!(last(&[hour, -hour]), Some(Civil(now.0 + hour)), "the hour that comes twice");
        assert_eq!(last(&[4 * 365 * 24 * hour]), None);
        let ahead = |dues: &[i64]| ahead_of(&dues.iter().map(|due| row(now.0 + due)).collect::<Vec<_>>(), now);
        assert_eq!((ahead(&[4 * 365 * 24 * hour, -hour]), ahead(&[5 * hour, 4 * hour, hour])), (1, 2));
    }
}
