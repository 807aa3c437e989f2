//! What comes round by the clock: new adapters, another trust file, expired commands, whether the journal is still there, old
//! days, memories that the views show by now.

use super::{polling, redecode};
use crate::config::Config;
use crate::journal::{Dropped, Entry};
use crate::lifecycle::LifecycleError;
use crate::limits;
use crate::model::{Day, Seq};
use crate::session::Services;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Starts all chores; each ends when the station stops.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    services: &Arc<Services>,
    config: &Config,
    stopped: &watch::Receiver<bool>,
) {
    let retention_days = config.retention_days;
    tasks.spawn(every(limits::ADAPTER_SCAN_EVERY, services.clone(), stopped.clone(), follow_dropins));
    tasks.spawn(every(limits::ADAPTER_SCAN_EVERY, services.clone(), stopped.clone(), follow_trust));
    tasks.spawn(tend_adapters(services.clone(), stopped.clone()));
    tasks.spawn(read_again(services.clone(), stopped.clone()));
    for poll in &services.polls {
        tasks.spawn(polling::hold(services.clone(), poll.clone(), stopped.clone()));
    }
    tasks.spawn(every(limits::EXPIRY_SWEEP_EVERY, services.clone(), stopped.clone(), sweep));
    let told = Arc::new(AtomicBool::new(false));
    tasks.spawn(every(limits::EXPIRY_SWEEP_EVERY, services.clone(), stopped.clone(), move |services| {
        let told = told.clone();
        async move { look_at_clock(&services, &told) }
    }));
    tasks.spawn(every(limits::JOURNAL_LOOK_EVERY, services.clone(), stopped.clone(), |services| async move {
        services.journal.look(services.clock.now_ms());
    }));
    tasks.spawn(every(limits::RETENTION_EVERY, services.clone(), stopped.clone(), move |services| {
        drop_old_days(services, retention_days)
    }));
}

async fn every<F: Future<Output = ()>>(
    period: Duration,
    services: Arc<Services>,
    mut stopped: watch::Receiver<bool>,
    chore: impl Fn(Arc<Services>) -> F,
) {
    let mut clock = tokio::time::interval(period);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            _ = stopped.changed() => return,
        }
        // A chore is finished once begun: it may be between a decision and its entry.
        chore(services.clone()).await;
    }
}

async fn follow_dropins(services: Arc<Services>) {
    match tokio::task::spawn_blocking(move || services.lifecycle.follow_dropins()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the adapter directory cannot be read"),
        Err(error) => tracing::error!(%error, "looking for adapters was interrupted"),
    }
}

async fn follow_trust(services: Arc<Services>) {
    if let Err(error) = tokio::task::spawn_blocking(move || services.lifecycle.follow_trust()).await {
        tracing::error!(%error, "looking at the trust file was interrupted");
    }
}

/// What changes of adapters leave to do: versions that are condemned go, and shadows that are none any more. Whoever is revoked
/// goes at once, so nothing stands here that waits for frames or for the views.
async fn tend_adapters(services: Arc<Services>, mut stopped: watch::Receiver<bool>) {
    let mut left_undone = false;
    loop {
        tokio::select! {
            () = services.lifecycle.changed() => {}
            () = tokio::time::sleep(limits::STORE_RETRY_MAX), if left_undone => {}
            _ = stopped.changed() => return,
        }
        let lifecycle = services.lifecycle.clone();
        let done = tokio::task::spawn_blocking(move || lifecycle.carry_out()).await;
        left_undone = matches!(done, Ok(Err(LifecycleError::Journal(_))));
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "who serves cannot be changed"),
            Err(error) => tracing::error!(%error, "work on adapters was interrupted"),
        }
        services.review.tidy();
    }
}

/// What was unreadable is read again once something else serves, for as long as that takes.
async fn read_again(services: Arc<Services>, mut stopped: watch::Receiver<bool>) {
    let lifecycle = services.lifecycle.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || lifecycle.warm_up()).await {
        tracing::error!(%error, "compiling what stands by was interrupted");
    }
    loop {
        let settled = async {
            services.lifecycle.served().await;
            let served = services.lifecycle.newly_served();
            // Frames that found nobody a moment ago are on their way into the journal, and then into the views.
            tokio::time::sleep(limits::ADAPTER_SETTLE).await;
            services.views.caught_up(services.journal.health().last_seq).await;
            served
        };
        let served = tokio::select! {
            served = settled => served,
            _ = stopped.changed() => return,
        };
        for name in served {
            redecode::quarantined(&services, &name).await;
        }
    }
}

async fn sweep(services: Arc<Services>) {
    let expired = services.desk.expired(services.clock.moment());
    if let Err(error) = services.commit_steps(expired).await {
        tracing::warn!(%error, "expired commands could not be written down; they do not leave either way");
    }
    if let Err(error) = services.give_up_orphans().await {
        tracing::warn!(%error, "commands of sessions that have ended could not be given back yet");
    }
    for (device, way) in services.desk.due_again(services.clock.moment()) {
        services.ring(&device, &way);
    }
    services.registry.forget_until(services.views.kept());
    services.lifecycle.forget_suspects();
}

/// Says once that the machine's clock is behind. While it is not, nothing waits for it: it may never have been seen behind, since
/// the next entry of a station that is busy tells the time anew.
fn look_at_clock(services: &Services, told: &AtomicBool) {
    let behind = services.clock_behind();
    let was_behind = told.swap(behind.is_some(), Ordering::Relaxed);
    match behind {
        Some(clock) if !was_behind => tracing::warn!("the machine's clock {clock}"),
        Some(_) => {}
        None => {
            for (device, way) in services.desk.clock_is_right(services.clock.moment()) {
                services.ring(&device, &way);
            }
        }
    }
}

/// Facts that must outlive their day are told again first, or a later rebuild would not know them.
fn drop_blocking(services: &Services, first_kept: Day, now_ms: i64) -> anyhow::Result<Dropped> {
    let oldest_kept = services.journal.first_kept(first_kept);
    if oldest_kept > services.journal.reader().first_seq() {
        retell_before(services, oldest_kept, now_ms)?;
        let records = services.records.retell_before(oldest_kept)?;
        tracing::debug!(records, "records of the registry told again");
    }
    Ok(services.journal.drop_before(first_kept)?)
}

/// Many in a commit: every meter may have a key of its own.
fn retell_before(services: &Services, oldest_kept: Seq, now_ms: i64) -> anyhow::Result<()> {
    let mut told = Vec::with_capacity(limits::RETOLD_AT_ONCE);
    services.views.standing_before(oldest_kept, |fact| {
        told.push(Entry { at_ms: now_ms, fact });
        if told.len() == limits::RETOLD_AT_ONCE {
            services.journal.append_all_blocking(std::mem::take(&mut told))?;
        }
        anyhow::Ok(())
    })?;
    services.journal.append_all_blocking(told)?;
    Ok(())
}

async fn drop_old_days(services: Arc<Services>, retention_days: u32) {
    let now_ms = services.clock.now_ms();
    let Some(first_kept) = services.journal.first_kept_day(now_ms, retention_days) else { return };
    let dropped = tokio::task::spawn_blocking(move || drop_blocking(&services, first_kept, now_ms)).await;
    match dropped {
        Ok(Ok(dropped)) if dropped.segments == 0 => {}
        Ok(Ok(dropped)) => {
            tracing::info!(entries = dropped.entries, retention_days, "old days dropped from the journal");
        }
        Ok(Err(error)) => tracing::warn!(%error, "old days could not be dropped"),
        Err(error) => tracing::error!(%error, "dropping old days was interrupted"),
    }
}
