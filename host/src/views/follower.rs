//! The thread that folds: follows the journal, writes batches, and makes them durable about once a second.
//!
//! Entries are folded as they come, while they are still warm, and written together. The patience of a batch grows with
//! what it has, up to `VIEW_BATCH_ENTRIES_MAX`, and ends when nothing more comes or somebody waits for it. So a quiet
//! station shows an entry within milliseconds, and under load batches grow and an entry gets cheaper, because each page
//! of a table is written once for many rows.

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
use std::time::{Duration, Instant};

/// So long after the last durable commit the next one is durable, whatever times the entries bear.
const DURABLE_EVERY: Duration = Duration::from_secs(1);
/// After so long without entries what was folded is made durable.
const IDLE: Duration = Duration::from_secs(1);
/// How long a batch grows, and how many of its entries make a millisecond of that. Half of it makes reports noticeably dearer:
/// their pages are written twice as often.
const GROWS_MAX_MS: u64 = 800;
const ENTRIES_PER_GROWN_MS: u64 = 20;
/// When nothing has come for so long, a batch is written before its time.
const QUIET: Duration = Duration::from_millis(25);

/// Folds one batch after the other into the store.
pub(super) struct Folding {
    fold: Fold,
    follower: Follower,
    clock: Clock,
    journal: Reader,
    cursor: Seq,
    /// The last entry that a crash would not forget.
    kept: Seq,
    /// When that was last the cursor; `None`: not since the start.
    durable: Option<Instant>,
}

/// What a step did.
pub(super) enum Step {
    Folded,
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
                "they are ahead of the journal (entry {} of {}): its newest files are missing, put them back; or, if they are \
                 lost for good or the views belong to another journal, run `polymeter views rebuild --lost-for-good`",
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
            kept: cursor,
            durable: None,
        })
    }

    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    pub fn kept(&self) -> Seq {
        self.kept
    }

    /// Waits for entries, at most that long, and folds them. `grows` tells how long a batch that has begun then, with so many
    /// entries, waits for more; `None`: no longer.
    pub fn step(
        &mut self,
        store: &Store,
        entries_max: usize,
        wait: Duration,
        grows: impl Fn(Instant, usize) -> Option<Duration>,
    ) -> Result<Step> {
        let mut portion = match self.follower.next(entries_max, wait)? {
            Portion::Nothing => return Ok(Step::Nothing),
            Portion::Closed => return Ok(Step::Closed),
            portion @ Portion::Entries(_) => portion,
        };
        let begun = Instant::now();
        let snapshot = store.read()?;
        self.fold.begin(&snapshot)?;
        let mut count = 0;
        while let Portion::Entries(batches) = portion {
            for (seq, entry) in batches.iter().flat_map(|batch| &batch.entries).filter(|(seq, _)| *seq > self.cursor) {
                self.fold.entry(&snapshot, *seq, entry)?;
                count += 1;
            }
            drop(batches);
            portion = match grows(begun, count) {
                Some(patience) if count < entries_max => self.follower.next(entries_max - count, patience)?,
                _ => Portion::Nothing,
            };
        }
        // An old snapshot keeps redb from using pages again.
        drop(snapshot);
        let due = self.durable.is_none_or(|durable| durable.elapsed() >= DURABLE_EVERY);
        let durability = if due { Durability::Immediate } else { Durability::None };
        let cursor = self.follower.at();
        store.write(cursor, durability, |txn| self.fold.write(txn))?;
        self.cursor = cursor;
        if due {
            self.kept = cursor;
            self.durable = Some(Instant::now());
        }
        Ok(Step::Folded)
    }

    /// Makes durable what was folded.
    pub fn settle(&mut self, store: &Store) -> Result<()> {
        if self.kept < self.cursor {
            store.write(self.cursor, Durability::Immediate, |_| Ok(()))?;
            self.kept = self.cursor;
        }
        Ok(())
    }

    /// Folds everything that is in the journal now.
    pub fn catch_up(&mut self, store: &Store, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let end = self.journal.last_seq();
        let first = self.journal.first_seq();
        while self.cursor < end {
            self.step(store, limits::VIEW_BATCH_ENTRIES_MAX, Duration::ZERO, |_, _| None)?;
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
            match reopen(shared, &folding) {
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

/// Opens the file again, and goes on from where it is now.
fn reopen(shared: &Shared, before: &Folding) -> Result<Folding> {
    shared.store.reopen(|cursor| shared.goes_on_from(cursor))?;
    let folding = Folding::start(&shared.store, &before.journal, &before.clock)?;
    shared.goes_on_from(folding.cursor());
    Ok(folding)
}

/// One round; false: the journal or the views are closed and everything is folded.
fn advance(shared: &Shared, folding: &mut Folding) -> Result<bool> {
    let grows = |begun: Instant, entries: usize| {
        let whole = Duration::from_millis((entries as u64 / ENTRIES_PER_GROWN_MS).min(GROWS_MAX_MS));
        let left = whole.saturating_sub(begun.elapsed()).min(QUIET);
        (!left.is_zero() && !shared.is_wanted()).then_some(left)
    };
    match folding.step(&shared.store, limits::VIEW_BATCH_ENTRIES_MAX, IDLE, grows)? {
        Step::Folded => {
            shared.folded(folding.cursor(), folding.kept());
            Ok(!shared.is_closed())
        }
        Step::Nothing => {
            folding.settle(&shared.store)?;
            shared.folded(folding.cursor(), folding.kept());
            Ok(!shared.is_closed())
        }
        Step::Closed => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Entry, Fact};
    use crate::views::tests::{NOON_MS, Station, device};
    use std::sync::atomic::Ordering;

    fn adopted(station: &Station, address: &str) -> Seq {
        station.tell(Fact::DeviceAdopted { device: device(address), by: "test".into() })
    }

    #[test]
    fn a_file_that_is_opened_again_shows_no_more_than_it_still_has() {
        let station = Station::new("went-back");
        let path = station.dir.join("followed.redb");
        let store = Store::open(&path).expect("opens");
        let mut folding = Folding::start(&store, &station.journal.reader(), &station.clock).expect("starts");
        let shared = Arc::new(Shared::new(store, &folding));
        let first = adopted(&station, "1");
        assert!(advance(&shared, &mut folding).expect("folds"));
        let left = station.dir.join("left.redb");
        std::fs::copy(&path, &left).expect("what a failure leaves");
        // However slow this machine is.
        folding.durable = Some(Instant::now() + DURABLE_EVERY * 60);
        let second = adopted(&station, "2");
        assert!(advance(&shared, &mut folding).expect("folds"));
        assert_eq!((folding.cursor(), folding.kept()), (second, first), "not durable yet");
        let at = |shared: &Shared| (*shared.cursor.borrow(), Seq(shared.kept.load(Ordering::Acquire)));
        assert_eq!(at(&shared), (second, first));

        std::fs::rename(&left, &path).expect("renames");
        shared.set_failing(Some("the disk is full".into()));
        let mut folding = reopen(&shared, &folding).expect("opens again");
        assert_eq!((at(&shared), folding.cursor()), ((first, first), first), "nobody takes the second for shown");
        assert!(advance(&shared, &mut folding).expect("folds"));
        assert_eq!(at(&shared).0, second);
        assert_eq!(shared.lock().failing, None);
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_no_batch_from_being_durable() {
        let station = Station::new("durable");
        let store = Store::open(&station.dir.join("followed.redb")).expect("opens");
        let mut folding = Folding::start(&store, &station.journal.reader(), &station.clock).expect("starts");
        let mut step = |at_ms: i64, later: Duration| {
            let fact = Fact::DeviceAdopted { device: device("1"), by: "test".into() };
            station.journal.append_blocking(Entry { at_ms, fact }).expect("appends");
            folding.durable = folding.durable.and_then(|durable| durable.checked_sub(later));
            folding.step(&store, 10, Duration::from_secs(20), |_, _| None).expect("folds");
            folding.kept < folding.cursor
        };
        assert!(!step(NOON_MS + 4 * 365 * 86_400_000, Duration::ZERO), "the first one");
        assert!(!step(NOON_MS, DURABLE_EVERY), "a second later, by a clock that is right again");
    }
}
