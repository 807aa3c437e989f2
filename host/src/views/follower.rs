//! The thread that folds: follows the journal, writes batches, and makes them durable about once a second.
//!
//! A batch takes whatever is there, up to `VIEW_BATCH_ENTRIES_MAX`; the pause after it grows with its size. So a
//! quiet station shows an entry within milliseconds, and under load batches grow and an entry gets cheaper, because
//! each page of a table is written once for many rows.

use super::fold::Fold;
use super::store::{Result, Store, ViewError};
use super::{Progress, Shared};
use crate::clock::Clock;
use crate::journal::{Follower, Portion, Reader};
use crate::limits;
use crate::model::Seq;
use redb::Durability;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Entries later than this after the last durable commit make the next one durable.
const DURABLE_EVERY_MS: i64 = 1_000;
/// After so long without entries what was folded is made durable.
const IDLE: Duration = Duration::from_secs(1);
/// The pause after a batch, and how many of its entries make a millisecond of it.
const PAUSE_MAX_MS: u64 = 400;
const ENTRIES_PER_PAUSE_MS: u64 = 20;

/// Folds one batch after the other into the store.
pub(super) struct Folding {
    fold: Fold,
    follower: Follower,
    clock: Clock,
    journal: Reader,
    cursor: Seq,
    /// Committed, but a crash would forget it.
    dirty: bool,
    durable_ms: i64,
}

/// What a step did.
pub(super) enum Step {
    Folded(u64),
    Nothing,
    Closed,
}

impl Folding {
    pub fn start(store: &Store, journal: &Reader, clock: &Clock) -> Result<Self> {
        let snapshot = store.read()?;
        // Entries that the journal has dropped are beyond reach; go on with the oldest that it keeps.
        let cursor = snapshot.cursor()?.max(Seq(journal.first_seq().0.saturating_sub(1)));
        if cursor > journal.last_seq() {
            return Err(ViewError::Store(format!(
                "they are ahead of the journal (entry {} of {}), so they belong to another one; run `polymeter views rebuild`",
                cursor.0,
                journal.last_seq().0
            )));
        }
        Ok(Self {
            fold: Fold::load(&snapshot, clock.clone(), journal.clone())?,
            follower: journal.follow(cursor),
            clock: clock.clone(),
            journal: journal.clone(),
            cursor,
            dirty: false,
            durable_ms: i64::MIN,
        })
    }

    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Waits for entries, at most that long, and folds them.
    pub fn step(&mut self, store: &Store, entries_max: usize, wait: Duration) -> Result<Step> {
        let batches = match self.follower.next(entries_max, wait)? {
            Portion::Entries(batches) => batches,
            Portion::Nothing => return Ok(Step::Nothing),
            Portion::Closed => return Ok(Step::Closed),
        };
        let snapshot = store.read()?;
        self.fold.begin(&snapshot)?;
        let (mut count, mut newest_ms) = (0, i64::MIN);
        for (seq, entry) in batches.iter().flat_map(|batch| &batch.entries).filter(|(seq, _)| *seq > self.cursor) {
            self.fold.entry(&snapshot, *seq, entry)?;
            newest_ms = newest_ms.max(entry.at_ms);
            count += 1;
        }
        // An old snapshot keeps redb from using pages again.
        drop(snapshot);
        let due = newest_ms.saturating_sub(self.durable_ms) >= DURABLE_EVERY_MS;
        let durability = if due { Durability::Immediate } else { Durability::None };
        let cursor = self.follower.at();
        store.write(cursor, durability, |txn| self.fold.write(txn))?;
        self.cursor = cursor;
        self.dirty = !due;
        if due {
            self.durable_ms = newest_ms;
        }
        Ok(Step::Folded(count))
    }

    /// Makes durable what was folded.
    pub fn settle(&mut self, store: &Store) -> Result<()> {
        if self.dirty {
            store.write(self.cursor, Durability::Immediate, |_| Ok(()))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Folds everything that is in the journal now.
    pub fn catch_up(&mut self, store: &Store, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let end = self.journal.last_seq();
        let first = self.journal.first_seq();
        while self.cursor < end {
            self.step(store, limits::VIEW_BATCH_ENTRIES_MAX, Duration::ZERO)?;
            progress(Progress {
                entries: self.cursor.0 + 1 - first.0.min(self.cursor.0 + 1),
                entries_total: end.0 + 1 - first.0,
            });
        }
        self.settle(store)
    }
}

/// The follower's thread.
pub(super) fn run(shared: &Arc<Shared>, mut folding: Folding) {
    let mut retry = limits::STORE_RETRY_MIN;
    loop {
        let step = catch_unwind(AssertUnwindSafe(|| advance(shared, &mut folding)));
        let why = match step {
            Ok(Ok(true)) => {
                retry = limits::STORE_RETRY_MIN;
                continue;
            }
            Ok(Ok(false)) => break,
            Ok(Err(e)) => e.to_string(),
            Err(_) => "folding stopped unexpectedly; its message is in the log".into(),
        };
        shared.set_failing(Some(why));
        // What a failed batch left in memory is worthless: open again and read anew.
        loop {
            if !shared.pause(retry) {
                return;
            }
            retry = (retry * 2).min(limits::STORE_RETRY_MAX);
            let (journal, clock) = (folding.journal.clone(), folding.clock.clone());
            match shared.store.reopen().and_then(|()| Folding::start(&shared.store, &journal, &clock)) {
                Ok(again) => {
                    folding = again;
                    break;
                }
                Err(e) => shared.set_failing(Some(e.to_string())),
            }
        }
    }
    if let Err(e) = folding.settle(&shared.store) {
        shared.set_failing(Some(e.to_string()));
    }
    shared.store.close();
}

/// One round; false: the journal or the views are closed and everything is folded.
fn advance(shared: &Shared, folding: &mut Folding) -> Result<bool> {
    match folding.step(&shared.store, limits::VIEW_BATCH_ENTRIES_MAX, IDLE)? {
        Step::Folded(count) => {
            shared.folded(folding.cursor());
            shared.pause_unless_wanted(Duration::from_millis((count / ENTRIES_PER_PAUSE_MS).min(PAUSE_MAX_MS)));
            Ok(!shared.is_closed())
        }
        Step::Nothing => {
            folding.settle(&shared.store)?;
            Ok(!shared.is_closed())
        }
        Step::Closed => Ok(false),
    }
}
