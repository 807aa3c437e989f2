//! The one thread that writes: takes what is queued, commits it as one transaction, then tells those who wait.
//!
//! After any error of the store redb wants its file opened anew. The writer does that by itself, with growing
//! pauses, and refuses entries until a trial write of the largest entry's size has succeeded.

use super::format::{self, Head, Identity};
use super::queue::{self, Pending, Queue, Work};
use super::recent::{Batch, Recent};
use super::segment::{Segment, StoreError, Tip};
use super::segments::Segments;
use crate::limits;
use crate::model::{Day, Seq};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What the writer shares with everybody.
pub(super) struct Shared {
    pub identity: Identity,
    pub queue: Queue,
    pub recent: Recent,
    pub segments: Segments,
    pub last: AtomicU64,
    pub commits: AtomicU64,
    /// Time of the newest entry of the last commit.
    pub last_commit_ms: Mutex<Option<i64>>,
    /// Time of the newest entry of all; the beginning of all times where there is none.
    pub newest_ms: AtomicI64,
    pub failing: Mutex<Option<Failing>>,
    pub committed: watch::Sender<Seq>,
}

/// The store does not take entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    pub why: Arc<str>,
    /// Time of the first entry that was refused for it, or of the look that has found it.
    pub since_ms: i64,
}

pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub active: Arc<Segment>,
    pub tip: Tip,
    /// Size of the active segment, roughly.
    pub bytes: u64,
}

impl Writer {
    pub fn run(mut self) {
        let shared = self.shared.clone();
        while let Some(work) = shared.queue.take() {
            let batch = match work {
                Work::Store(batch) => batch,
                Work::Look { at_ms } if self.look(at_ms) => continue,
                Work::Look { .. } => break,
            };
            let stored = batch.len();
            if !self.store(batch) {
                break;
            }
            // Under load a moment's patience makes one commit, and one round of wake-ups, of two. Who was just answered comes
            // again, so once as many are there, waiting longer brings nothing.
            if stored >= limits::COMMIT_GATHER_FROM {
                shared.queue.gather(stored, limits::COMMIT_GATHER);
            }
        }
        // Nothing waits for this: what was promised is durable already.
        let _ = self.active.close();
        shared.recent.close();
    }

    /// Stores a batch; on an error refuses it and everything queued until the store works again. False: the journal
    /// was closed meanwhile.
    fn store(&mut self, mut batch: Vec<Pending>) -> bool {
        while !batch.is_empty() {
            let at_ms = batch[0].entry.at_ms;
            let count = self.fitting(&batch);
            let result = catch_unwind(AssertUnwindSafe(|| self.commit(&batch[..count])));
            let why: Arc<str> = match result {
                Ok(Ok(())) => {
                    let rest = batch.split_off(count);
                    self.publish(batch);
                    batch = rest;
                    continue;
                }
                Ok(Err(e)) => e.to_string().into(),
                Err(_) => "the store stopped unexpectedly; its message is in the log".into(),
            };
            self.fails(&why, at_ms);
            queue::refuse(batch, &why);
            return self.recover();
        }
        true
    }

    /// Sees whether what is written lies where it will be looked for, before the next entry needs it. False: the journal was
    /// closed while it did not.
    fn look(&mut self, at_ms: i64) -> bool {
        match self.active.check_in_place(&*self.shared.segments.storage) {
            Ok(()) => true,
            Err(error) => {
                self.fails(&error.to_string().into(), at_ms);
                self.recover()
            }
        }
    }

    fn fails(&self, why: &Arc<str>, since_ms: i64) {
        *lock(&self.shared.failing) = Some(Failing { why: why.clone(), since_ms });
        self.shared.queue.fail(why);
    }

    /// How many of these go into one segment; rolls over when it is none.
    fn fitting(&self, batch: &[Pending]) -> usize {
        let day = self.day_for(&batch[0]);
        batch.iter().position(|p| self.day_for(p) != day).unwrap_or(batch.len())
    }

    /// The day of the segment that an entry belongs into: its own, but a clock that wavers around midnight does not
    /// go back to the day before.
    fn day_for(&self, pending: &Pending) -> Day {
        let (day, active) = (format::day_of(pending.entry.at_ms), self.active.name.day);
        if day.0 == active.0 - 1 { active } else { day }
    }

    fn commit(&mut self, batch: &[Pending]) -> Result<(), StoreError> {
        let first = Seq(self.tip.last.0 + 1);
        let day = self.day_for(&batch[0]);
        let empty = self.active.name.first == first;
        if (day != self.active.name.day || self.bytes > limits::SEGMENT_BYTES_MAX) && !empty {
            // Or the new file would hide that the ones before it are gone.
            self.active.check_in_place(&*self.shared.segments.storage)?;
            let identity = self.shared.identity.clone();
            let head = Head { format: format::SEGMENT_FORMAT, identity, first, day, follows: self.tip.hash };
            self.active = self.shared.segments.roll(&head)?;
            self.bytes = 0;
        }
        let hash = self.active.append(&self.tip.hash, first, batch.iter().map(|p| &p.bytes[..]))?;
        // Beside an fsync this look costs nothing.
        self.active.check_in_place(&*self.shared.segments.storage)?;
        self.tip = Tip { last: Seq(self.tip.last.0 + batch.len() as u64), hash };
        // 24 bytes: key, length and offset of a row.
        self.bytes += batch.iter().map(|p| p.bytes.len() as u64 + 24).sum::<u64>();
        Ok(())
    }

    /// The batch is durable: say so.
    fn publish(&self, batch: Vec<Pending>) {
        let last = self.tip.last;
        let first = last.0 + 1 - batch.len() as u64;
        let mut out = Batch { entries: Vec::with_capacity(batch.len()), ..Batch::default() };
        let mut receipts = Vec::with_capacity(batch.len());
        for (seq, pending) in (first..).zip(batch) {
            // Decoded, an entry takes about three times its encoded size.
            out.bytes += pending.bytes.len() * 3 + 256;
            out.entries.push((Seq(seq), pending.entry));
            receipts.extend(pending.done.map(|done| (Seq(seq), done)));
        }
        self.shared.last.store(last.0, Ordering::Release);
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        if let Some((_, newest)) = out.entries.last() {
            *lock(&self.shared.last_commit_ms) = Some(newest.at_ms);
            self.shared.newest_ms.store(newest.at_ms, Ordering::Relaxed);
        }
        // Followers first: who has a receipt may ask them at once.
        self.shared.recent.push(last, out);
        for (seq, done) in receipts {
            let _ = done.send(Ok(seq));
        }
        self.shared.committed.send_replace(last);
    }

    /// Opens the store again until it works.
    fn recover(&mut self) -> bool {
        let mut pause = limits::STORE_RETRY_MIN;
        while self.shared.queue.pause(pause) {
            match catch_unwind(AssertUnwindSafe(|| self.reopen())) {
                Ok(Ok(())) => {
                    *lock(&self.shared.failing) = None;
                    self.shared.queue.recover();
                    return true;
                }
                Ok(Err(e)) => self.still_failing(&e.to_string().into()),
                Err(_) => self.still_failing(&"opening the store again stopped unexpectedly".into()),
            }
            pause = (pause * 2).min(limits::STORE_RETRY_MAX);
        }
        false
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let storage = self.shared.segments.storage.clone();
        // A failed roll may have sealed the last segment already, or may have made the next one.
        // While the file is gone it stays open: what is in it can still be copied from this process, and read by the views.
        self.active.check_in_place(&*storage)?;
        let active = self.shared.segments.reopen_last()?;
        active.renew_if_doubtful(&*storage)?;
        active.open_writing(&*storage)?;
        // A commit that failed may be there all the same. Everybody was told that it is not, so it goes.
        active.cut_after(self.tip.last)?;
        let tip = active.tip(&*storage)?;
        if tip != self.tip {
            return Err(active.ends_early(self.tip.last));
        }
        active.probe()?;
        if active.name != self.active.name {
            self.bytes = 0;
        }
        self.active = active;
        Ok(())
    }

    fn still_failing(&self, why: &Arc<str>) {
        if let Some(failing) = &mut *lock(&self.shared.failing) {
            failing.why = why.clone();
        }
        self.shared.queue.fail(why);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
