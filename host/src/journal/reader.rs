//! Reading the journal: by number, in stretches, by day, and following it as it grows.

use super::Entry;
use super::format::{self, CodecError};
use super::recent::{Batch, Next};
use super::segment::StoreError;
use super::segments::DayEntries;
use super::writer::Shared;
use crate::limits;
use crate::model::Seq;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Reads; cheap to clone, never waits for the writer.
#[derive(Clone)]
pub struct Reader(pub(super) Arc<Shared>);

/// One entry as it lies in the journal.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    pub seq: Seq,
    /// An entry that does not decode is shown as such; the others stay readable.
    pub entry: Result<Entry, CodecError>,
    /// Encoded size.
    pub bytes: usize,
}

impl Reader {
    /// `None`: not written yet, or dropped with its day.
    pub fn get(&self, seq: Seq) -> Result<Option<Stored>, StoreError> {
        Ok(self.read(seq, 1, usize::MAX)?.into_iter().find(|stored| stored.seq == seq))
    }

    /// Entries from a number on, in order. Fewer than asked for does not mean the end; none does.
    pub fn read(&self, from: Seq, entries_max: usize, bytes_max: usize) -> Result<Vec<Stored>, StoreError> {
        let raw = self.0.segments.read(from, entries_max, bytes_max)?;
        // What follows is not promised to anybody: its commit is being told, or has failed.
        let last = self.last_seq();
        Ok(raw
            .into_iter()
            .take_while(|(seq, _)| *seq <= last)
            .map(|(seq, bytes)| Stored { seq, entry: format::decode(&bytes), bytes: bytes.len() })
            .collect())
    }

    /// The oldest entry that is kept; one past the end when there is none.
    pub fn first_seq(&self) -> Seq {
        self.0.segments.first_seq()
    }

    /// The newest durable entry; 0: none yet.
    pub fn last_seq(&self) -> Seq {
        Seq(self.0.last.load(Ordering::Acquire))
    }

    /// Days in the order they were written.
    pub fn days(&self) -> Result<Vec<DayEntries>, StoreError> {
        self.0.segments.days(self.last_seq())
    }

    /// Follows the journal from the entry after this one.
    pub fn follow(&self, after: Seq) -> Follower {
        Follower { place: self.0.recent.join(after), reader: self.clone(), at: after }
    }
}

/// A position that moves through the journal; reads from memory where it can.
pub struct Follower {
    reader: Reader,
    place: usize,
    at: Seq,
}

/// What comes next.
pub enum Portion {
    /// In order; the first batch may begin with entries before the position, see `Follower::at`.
    Entries(Vec<Arc<Batch>>),
    /// Nothing new within the time.
    Nothing,
    /// The journal is closed and everything was read.
    Closed,
}

impl Follower {
    /// The last entry that was handed out.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// Up to so many entries (roughly: whole commits, at least one); blocks until there are some, at most that long.
    /// The position moves behind what it returns.
    pub fn next(&mut self, entries_max: usize, wait: Duration) -> Result<Portion, StoreError> {
        let batches = match self.reader.0.recent.next(self.place, self.at, entries_max, wait) {
            Next::Batches(batches) => batches,
            Next::InFile => self.out_of_file(entries_max)?,
            Next::Nothing => return Ok(Portion::Nothing),
            Next::Closed => return Ok(Portion::Closed),
        };
        self.at = batches.last().and_then(|b| b.last()).unwrap_or(self.at);
        Ok(Portion::Entries(batches))
    }

    fn out_of_file(&self, entries_max: usize) -> Result<Vec<Arc<Batch>>, StoreError> {
        let mut batch = Batch::default();
        for stored in self.reader.read(Seq(self.at.0 + 1), entries_max, limits::RECENT_BYTES_MAX / 4)? {
            match stored.entry {
                Ok(entry) => batch.entries.push((stored.seq, entry)),
                Err(_) => batch.unreadable.push(stored.seq),
            }
        }
        if batch.last().is_none() {
            return Err(StoreError::Io(format!(
                "the journal has nothing after entry {} although it should",
                self.at.0
            )));
        }
        Ok(vec![Arc::new(batch)])
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.reader.0.recent.leave(self.place);
    }
}
