//! The life of one meter: it sleeps until its time, communicates, tries again when that failed, and sleeps.

use crate::conversation::Conversation;
use crate::plan::{Mishap, Occasion, Plan, trouble};
use crate::population::Member;
use crate::terminal::{Heard, Terminal};
use crate::truth::Account;
use crate::wire::Lost;
use crate::world::World;
use polymeter::model::Civil;
use polymeter::session::stagger;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A meter with its memory and its books.
pub struct Meter {
    pub member: Member,
    pub terminal: Terminal,
    pub account: Account,
    /// The last moment of its clock at which it was on line: time does not go back.
    spoke_until: Civil,
    /// Its clock minus fleet time.
    drift_s: i64,
    /// Answers that are still to be lost on their way: fewer than a station tries.
    losses_left: u32,
    chance: StdRng,
}

/// A meter that could not report tries this often before it gives up until the next time.
const COMMUNICATIONS_MAX: u32 = 6;
/// A command is sent three times at most.
const LOSSES_MAX: u32 = 2;
const RETRY_AFTER: Duration = Duration::from_millis(300);

impl Meter {
    pub fn new(member: Member) -> Self {
        let terminal = Terminal::new(&member);
        let account = Account::new(member.device().to_string());
        let mut chance = StdRng::seed_from_u64(member.seed ^ 0x5EED);
        let losses_left = if chance.random_bool(0.1) { LOSSES_MAX } else { 0 };
        let spoke_until = Civil(i64::MIN);
        Self { spoke_until, drift_s: member.drift_s, member, terminal, account, losses_left, chance }
    }

    /// Lives from `from` until nothing more is due before `to`.
    pub async fn live(&mut self, world: &World, from: Civil, to: Civil) {
        let mut trouble = trouble(&self.member, from, to);
        let mut after = from;
        while let Some(scheduled) = self.next_due(after) {
            let (slot, occasion) = match trouble.take() {
                Some((at, which)) if at < scheduled => (at.max(Civil(after.0 + 60)), Occasion::Abnormal(which)),
                later => {
                    trouble = later;
                    (scheduled, Occasion::Scheduled)
                }
            };
            if slot > to {
                break;
            }
            let plan = Plan::draw(&self.member, occasion, slot);
            let real = Civil(plan.speaks_at().0 - self.drift_s);
            if self.member.always_online {
                self.stay(world, &plan, to).await;
            } else {
                sleep_until(world.time.when(real)).await;
                self.communicate(world, plan.clone()).await;
            }
            self.drift_s = plan.drift_s;
            // The schedule may have been changed meanwhile, and a late report may have come after the next trouble.
            after = slot.max(self.spoke_until);
        }
        if self.member.always_online {
            sleep_until(world.time.when(to)).await;
        }
    }

    fn next_due(&self, after: Civil) -> Option<Civil> {
        stagger::next_due(&self.member.address, &self.terminal.schedule(), after)
    }

    /// Says once more how it stands, and takes commands that wait.
    pub async fn sign_off(&mut self, world: &World, at: Civil) {
        self.losses_left = 0;
        let at = at.max(Civil(self.spoke_until.0.saturating_add(60)));
        let plan = Plan::draw(&self.member, Occasion::Manual, at);
        self.communicate(world, plan).await;
    }

    /// One communication, tried until it works.
    pub async fn communicate(&mut self, world: &World, mut plan: Plan) {
        // The room is never closed.
        let _room = world.room.acquire().await;
        for _ in 0..COMMUNICATIONS_MAX {
            world.counters.online.fetch_add(1, Relaxed);
            let done = self.once(world, &plan).await;
            world.counters.online.fetch_sub(1, Relaxed);
            match done {
                Ok(()) => return,
                // It comes again as if nothing had been.
                Err(Lost::OnPurpose) => plan.mishap = Mishap::None,
                Err(_) => sleep(RETRY_AFTER).await,
            }
        }
        self.account.unheard.push(format!("the report due at {} was never acknowledged", plan.slot));
    }

    async fn once(&mut self, world: &World, plan: &Plan) -> Result<(), Lost> {
        let lose_answer = self.losses_left > 0 && self.chance.random_bool(0.5);
        let lost = self.account.lost_answers;
        let (terminal, account) = (&mut self.terminal, &mut self.account);
        let mut on_line = Conversation::begin(world, &self.member, terminal, account, plan.speaks_at()).await?;
        on_line.lose_answer = lose_answer;
        let done = on_line.play(plan).await;
        self.spoke_until = self.spoke_until.max(on_line.now);
        self.losses_left -= u32::from(self.account.lost_answers > lost);
        done
    }

    /// On line from one report to the next, with heartbeats, and commands at any time.
    async fn stay(&mut self, world: &World, plan: &Plan, to: Civil) {
        let beat_s = 60 * i64::from(self.terminal.schedule().heartbeat_minutes.max(1));
        // It reports once a connection, so each report begins a new one; some leave the old one standing.
        sleep_until(world.time.when(plan.speaks_at())).await;
        let until =
            stagger::next_due(&self.member.address, &self.terminal.schedule(), plan.slot).map_or(to, |t| t.min(to));
        let mut plan = plan.clone();
        for _ in 0..COMMUNICATIONS_MAX {
            world.counters.online.fetch_add(1, Relaxed);
            let done = self.stay_once(world, &plan, until, beat_s).await;
            world.counters.online.fetch_sub(1, Relaxed);
            match done {
                Ok(()) => return,
                Err(Lost::OnPurpose) => plan.mishap = Mishap::None,
                Err(_) => sleep(RETRY_AFTER).await,
            }
        }
        self.account.unheard.push(format!("always on line, but lost after {}", plan.slot));
    }

    async fn stay_once(&mut self, world: &World, plan: &Plan, until: Civil, beat_s: i64) -> Result<(), Lost> {
        let (member, terminal, account) = (&self.member, &mut self.terminal, &mut self.account);
        let mut on_line = Conversation::begin(world, member, terminal, account, plan.speaks_at()).await?;
        on_line.introduce(plan.mishap == Mishap::SaidTwice).await?;
        on_line.report(plan).await?;
        world.counters.standing.fetch_add(1, Relaxed);
        let done = stand(&mut on_line, plan, until, beat_s).await;
        world.counters.standing.fetch_sub(1, Relaxed);
        if matches!(done, Err(Lost::Closed)) {
            world.counters.dropped.fetch_add(1, Relaxed);
        }
        let spoke_until = on_line.now;
        on_line.wire.hang_up().await;
        self.spoke_until = self.spoke_until.max(spoke_until);
        done
    }
}

/// Heartbeats, and commands at any time, until the next report is due.
async fn stand(on_line: &mut Conversation<'_>, plan: &Plan, until: Civil, beat_s: i64) -> Result<(), Lost> {
    let world = on_line.world;
    let mut beat = Civil(plan.speaks_at().0 + beat_s);
    loop {
        let due = world.time.when(beat.min(until));
        match on_line.hear(due.max(Instant::now())).await {
            Ok(heard @ Heard::Farewell { .. }) => {
                on_line.take(heard).await?;
                return Err(Lost::Closed);
            }
            Ok(heard) => on_line.take(heard).await?,
            Err(Lost::Silence) if beat >= until => {
                return Ok(());
            }
            Err(Lost::Silence) => {
                on_line.now = on_line.now.max(beat);
                let csq = plan.surroundings.csq;
                if let Some(said) = on_line.terminal.heartbeat(on_line.now, csq) {
                    on_line.say(&said.frame, &said).await?;
                    world.counters.heartbeats.fetch_add(1, Relaxed);
                }
                beat = Civil(beat.0 + beat_s);
            }
            Err(lost) => return Err(lost),
        }
    }
}
