//! Committed entries that followers have not read yet, kept in memory so that they need not read the file.

use super::Entry;
use crate::limits;
use crate::model::Seq;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Entries in the order of their numbers.
#[derive(Debug, Default)]
pub struct Batch {
    pub entries: Vec<(Seq, Entry)>,
    /// Entries of this stretch that do not decode; their bytes stay in the journal.
    pub unreadable: Vec<Seq>,
    pub(super) bytes: usize,
}

impl Batch {
    /// The last number that this batch covers.
    pub fn last(&self) -> Option<Seq> {
        self.entries.last().map(|(seq, _)| *seq).max(self.unreadable.last().copied())
    }
}

#[derive(Default)]
pub(super) struct Recent {
    state: Mutex<State>,
    committed: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    last: Seq,
    /// Where each follower stands; `None`: a free place.
    followers: Vec<Option<Seq>>,
    closed: bool,
}

/// What a follower gets.
pub(super) enum Next {
    Batches(Vec<Arc<Batch>>),
    /// Memory does not reach back that far.
    InFile,
    Nothing,
    Closed,
}

impl Recent {
    pub fn start(&self, last: Seq) {
        self.lock().last = last;
    }

    /// After a commit.
    pub fn push(&self, last: Seq, batch: Batch) {
        let mut state = self.lock();
        state.last = last;
        state.bytes += batch.bytes;
        state.batches.push_back(Arc::new(batch));
        let read = state.trim();
        drop(state);
        self.committed.notify_all();
        drop(read);
    }

    pub fn join(&self, after: Seq) -> usize {
        let mut state = self.lock();
        if let Some(free) = state.followers.iter().position(Option::is_none) {
            state.followers[free] = Some(after);
            free
        } else {
            state.followers.push(Some(after));
            state.followers.len() - 1
        }
    }

    pub fn leave(&self, follower: usize) {
        let mut state = self.lock();
        state.followers[follower] = None;
        let read = state.trim();
        drop(state);
        drop(read);
    }

    /// What follows `after`, at most so many entries (whole batches, at least one); waits for it at most that long.
    pub fn next(&self, follower: usize, after: Seq, entries_max: usize, wait: Duration) -> Next {
        let mut state = self.lock();
        state.followers[follower] = Some(after);
        let read = state.trim();
        if !read.is_empty() {
            drop(state);
            drop(read);
            state = self.lock();
        }
        if state.last <= after && !state.closed {
            let waited = self.committed.wait_timeout_while(state, wait, |s| s.last <= after && !s.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.last <= after {
            return if state.closed { Next::Closed } else { Next::Nothing };
        }
        let start = state.batches.partition_point(|b| b.last().is_none_or(|last| last <= after));
        let reaches_back =
            state.batches.get(start).and_then(|b| b.entries.first()).is_some_and(|(first, _)| first.0 <= after.0 + 1);
        if !reaches_back {
            return Next::InFile;
        }
        let mut out = Vec::new();
        let mut count = 0;
        for batch in state.batches.range(start..) {
            if count + batch.entries.len() > entries_max && count > 0 {
                break;
            }
            count += batch.entries.len();
            out.push(batch.clone());
        }
        Next::Batches(out)
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.committed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives away what every follower has read, and the oldest while there is too much, to be dropped without the lock: these
    /// are thousands of pieces.
    #[must_use]
    fn trim(&mut self) -> Vec<Arc<Batch>> {
        let mut read = Vec::new();
        let slowest = self.followers.iter().flatten().min().copied().unwrap_or(self.last);
        while let Some(oldest) = self.batches.front() {
            let is_read = oldest.last().is_none_or(|last| last <= slowest);
            if !is_read && self.bytes <= limits::RECENT_BYTES_MAX {
                break;
            }
            self.bytes -= oldest.bytes;
            read.extend(self.batches.pop_front());
        }
        read
    }
}
