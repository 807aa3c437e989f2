//! One segment: a redb file with a run of entries, written while it is the last one and only read afterwards.
//!
//! Segments exist because a crash makes redb walk a whole file before it may be written again (measured here: 1.6 s
//! for 1 GB in the page cache), and the alternative, saving the allocator's state with every commit
//! (`set_quick_repair`), costs a second fsync and rewrites a table that grows with the file. A file of at most
//! `SEGMENT_BYTES_MAX` is walked in a fraction of a second, commits with one fsync, and is dropped as one file whose
//! space returns to the file system.

use super::format::{COMMITS, Chain, CodecError, ENTRIES, HEAD, HEAD_KEY, Hash, Head, SEGMENT_FORMAT, SegmentName};
use super::storage::{Backend, Storage};
use crate::limits;
use crate::model::Seq;
use redb::{Builder, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// What redb or the file system said, in words; with what to do where something can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("{0}")]
    Io(String),
    #[error("{file}: {what}; run `polymeter journal verify` to see how far the journal is sound")]
    Damaged { file: String, what: String },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl StoreError {
    pub(super) fn io(e: impl Into<redb::Error>) -> Self {
        Self::Io(e.into().to_string())
    }
    fn damaged(name: SegmentName, what: impl Into<String>) -> Self {
        Self::Damaged { file: name.file(), what: what.into() }
    }
}

enum Handle {
    Closed,
    Writing(Database),
    Reading(ReadOnlyDatabase),
}

pub(super) struct Segment {
    pub name: SegmentName,
    handle: RwLock<Handle>,
    /// Nothing is written any more. Only then may a reader open it: two writers on one file would destroy it.
    sealed: AtomicBool,
    /// When it was last read, counted in uses; the least recently used sealed segment is closed first.
    pub used: AtomicU64,
}

/// Where a segment ends: the last entry and the hash of the commit that brought it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tip {
    pub last: Seq,
    pub hash: Hash,
}

/// Entries as stored: sequence number and bytes.
pub(super) type RawEntries = Vec<(Seq, Vec<u8>)>;

impl Segment {
    /// A segment that exists and is not open yet.
    pub fn closed(name: SegmentName, sealed: bool) -> Self {
        Self::new(name, Handle::Closed, sealed)
    }

    fn new(name: SegmentName, handle: Handle, sealed: bool) -> Self {
        Self { name, handle: RwLock::new(handle), sealed: AtomicBool::new(sealed), used: AtomicU64::new(0) }
    }

    /// Makes a new segment. It gets its name only once its head is durable, so a name never stands for half a file.
    pub fn create(storage: &dyn Storage, head: &Head) -> Result<Self, StoreError> {
        const UNBORN: &str = "new-segment";
        let io = |e: std::io::Error| StoreError::Io(e.to_string());
        let db = writing(storage.create(UNBORN))?;
        let bytes = postcard::to_stdvec(head).map_err(|e| StoreError::Io(e.to_string()))?;
        let txn = db.begin_write().map_err(StoreError::io)?;
        txn.open_table(HEAD).map_err(StoreError::io)?.insert(HEAD_KEY, &bytes[..]).map_err(StoreError::io)?;
        txn.open_table(ENTRIES).map_err(StoreError::io)?;
        txn.open_table(COMMITS).map_err(StoreError::io)?;
        txn.commit().map_err(StoreError::io)?;
        let name = SegmentName { first: head.first, day: head.day };
        storage.rename(UNBORN, &name.file()).map_err(io)?;
        Ok(Self::new(name, Handle::Writing(db), false))
    }

    /// Opens for writing; walks the file when it was not closed cleanly.
    pub fn open_writing(&self, storage: &dyn Storage) -> Result<(Head, Tip), StoreError> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        *handle = Handle::Closed;
        *handle = Handle::Writing(writing(storage.open(&self.name.file()))?);
        drop(handle);
        Ok((self.head(storage)?, self.tip(storage)?))
    }

    /// Opens for reading only. A segment that was left unclean (restored from a copy, say) is repaired first.
    pub fn open_reading(&self, storage: &dyn Storage) -> Result<(), StoreError> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*handle, Handle::Closed) {
            return Ok(());
        }
        let file = self.name.file();
        if !self.sealed.load(Ordering::Acquire) {
            return Err(StoreError::Io(format!("{file} is being opened again after a failure; try again")));
        }
        let open = || -> Result<ReadOnlyDatabase, redb::DatabaseError> {
            Builder::new()
                .set_cache_size(limits::SEGMENT_READ_CACHE_BYTES)
                .open_read_only_with_backend(storage.open(&file)?)
        };
        let db = match open() {
            Err(redb::DatabaseError::RepairAborted) => {
                writing(storage.open(&file))?.close().map_err(StoreError::io)?;
                open()
            }
            other => other,
        };
        *handle = Handle::Reading(db.map_err(StoreError::io)?);
        Ok(())
    }

    /// Ends writing for good: flushes and closes.
    pub fn seal(&self) -> Result<(), StoreError> {
        self.sealed.store(true, Ordering::Release);
        self.close()
    }

    pub fn unseal(&self) {
        self.sealed.store(false, Ordering::Release);
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Flushes and closes; the next use opens it for reading. Waits for reads that are under way.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *handle, Handle::Closed) {
            Handle::Closed => Ok(()),
            Handle::Writing(db) => db.close().map_err(StoreError::io),
            Handle::Reading(db) => db.close().map_err(StoreError::io),
        }
    }

    pub fn is_open(&self) -> bool {
        !matches!(*self.lock(), Handle::Closed)
    }

    /// Appends one commit, durably, and gives its hash.
    pub fn append<'a>(
        &self,
        before: &Hash,
        first: Seq,
        entries: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<Hash, StoreError> {
        let handle = self.lock();
        let Handle::Writing(db) = &*handle else {
            return Err(StoreError::Io(format!("{} is not open for writing", self.name.file())));
        };
        let last = first.0 + entries.len() as u64 - 1;
        let mut chain = Chain::after(before, first, entries.len());
        let txn = db.begin_write().map_err(StoreError::io)?;
        {
            // Through a cursor at the end an insert costs 0.35 µs, by key 1.1 µs.
            let mut table = txn.open_table(ENTRIES).map_err(StoreError::io)?;
            let mut end = table.upper_bound_mut(Bound::<u64>::Unbounded).map_err(StoreError::io)?;
            for (seq, bytes) in (first.0..).zip(entries) {
                chain.entry(bytes);
                end.insert_before(seq, bytes).map_err(|e| StoreError::Io(e.to_string()))?;
            }
            end.close().map_err(StoreError::io)?;
        }
        let hash = chain.finish();
        txn.open_table(COMMITS).map_err(StoreError::io)?.insert(last, &hash).map_err(StoreError::io)?;
        txn.commit().map_err(StoreError::io)?;
        Ok(hash)
    }

    /// After a failed fsync the kernel counts pages as written that never reached the disk, and a later fsync says nothing of
    /// them. The file can still be read; so it is written anew, and all of it made durable.
    pub fn renew_if_doubtful(&self, storage: &dyn Storage) -> Result<(), StoreError> {
        if !storage.is_doubtful() {
            return Ok(());
        }
        // Closing flushes, which may fail once more; what is in the file then is what counts.
        let _ = self.close();
        storage.renew(&self.name.file()).map_err(|e| StoreError::Io(e.to_string()))
    }

    /// Takes entries back that nobody was promised.
    pub fn cut_after(&self, last: Seq) -> Result<(), StoreError> {
        let handle = self.lock();
        let Handle::Writing(db) = &*handle else {
            return Err(StoreError::Io(format!("{} is not open for writing", self.name.file())));
        };
        let txn = db.begin_write().map_err(StoreError::io)?;
        let rest = last.0 + 1..;
        txn.open_table(ENTRIES)
            .map_err(StoreError::io)?
            .retain_in(rest.clone(), |_, _| false)
            .map_err(StoreError::io)?;
        txn.open_table(COMMITS).map_err(StoreError::io)?.retain_in(rest, |_, _| false).map_err(StoreError::io)?;
        txn.commit().map_err(StoreError::io)
    }

    pub fn ends_early(&self, promised: Seq) -> StoreError {
        StoreError::damaged(self.name, format!("it does not end with entry {}, which was acknowledged", promised.0))
    }

    /// Proves that the store takes a write the size of the largest entry again.
    pub fn probe(&self) -> Result<(), StoreError> {
        let handle = self.lock();
        let Handle::Writing(db) = &*handle else {
            return Err(StoreError::Io(format!("{} is not open for writing", self.name.file())));
        };
        for fill in [limits::ENTRY_BYTES_MAX, 0] {
            let txn = db.begin_write().map_err(StoreError::io)?;
            txn.open_table(HEAD)
                .map_err(StoreError::io)?
                .insert("probe", &vec![0; fill][..])
                .map_err(StoreError::io)?;
            txn.commit().map_err(StoreError::io)?;
        }
        Ok(())
    }

    /// Entries from a sequence number on, while they fit; at least one if there is one.
    pub fn read(
        &self,
        storage: &dyn Storage,
        from: Seq,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<RawEntries, StoreError> {
        let reading = self.begin_read(storage)?;
        let table = reading.txn.open_table(ENTRIES).map_err(StoreError::io)?;
        let (mut out, mut bytes) = (Vec::new(), 0);
        for row in table.range(from.0..).map_err(StoreError::io)?.take(entries_max) {
            let (seq, value) = row.map_err(StoreError::io)?;
            bytes += value.value().len();
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push((Seq(seq.value()), value.value().to_vec()));
        }
        Ok(out)
    }

    /// Commits whose last entry lies at or after `from`, in order: last entry and hash.
    pub fn commits(&self, storage: &dyn Storage, from: Seq, max: usize) -> Result<Vec<Tip>, StoreError> {
        let reading = self.begin_read(storage)?;
        let table = reading.txn.open_table(COMMITS).map_err(StoreError::io)?;
        let mut out = Vec::new();
        for row in table.range(from.0..).map_err(StoreError::io)?.take(max) {
            let (last, hash) = row.map_err(StoreError::io)?;
            out.push(Tip { last: Seq(last.value()), hash: *hash.value() });
        }
        Ok(out)
    }

    pub fn head(&self, storage: &dyn Storage) -> Result<Head, StoreError> {
        let reading = self.begin_read(storage)?;
        let damaged = |what: &str| StoreError::damaged(self.name, what);
        let table = reading.txn.open_table(HEAD).map_err(StoreError::io)?;
        let row = table.get(HEAD_KEY).map_err(StoreError::io)?.ok_or_else(|| damaged("it has no head"))?;
        let head: Head = postcard::from_bytes(row.value()).map_err(|_| damaged("its head does not decode"))?;
        if head.format != SEGMENT_FORMAT {
            return Err(damaged(&format!("it has format {}, this version writes {SEGMENT_FORMAT}", head.format)));
        }
        if (head.first, head.day) != (self.name.first, self.name.day) {
            return Err(damaged("its name and its head differ"));
        }
        Ok(head)
    }

    pub fn tip(&self, storage: &dyn Storage) -> Result<Tip, StoreError> {
        let head = self.head(storage)?;
        let reading = self.begin_read(storage)?;
        let table = reading.txn.open_table(COMMITS).map_err(StoreError::io)?;
        let tip = match table.last().map_err(StoreError::io)? {
            Some((last, hash)) => Tip { last: Seq(last.value()), hash: *hash.value() },
            None => Tip { last: Seq(head.first.0 - 1), hash: head.follows },
        };
        Ok(tip)
    }

    fn begin_read(&self, storage: &dyn Storage) -> Result<Reading<'_>, StoreError> {
        loop {
            let guard = self.lock();
            let txn = match &*guard {
                Handle::Writing(db) => Some(db.begin_read()),
                Handle::Reading(db) => Some(db.begin_read()),
                Handle::Closed => None,
            };
            match txn {
                Some(txn) => return Ok(Reading { txn: txn.map_err(StoreError::io)?, _open: guard }),
                None => drop(guard),
            }
            self.open_reading(storage)?;
        }
    }

    fn lock(&self) -> RwLockReadGuard<'_, Handle> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn touch(&self, tick: u64) {
        self.used.store(tick, Ordering::Relaxed);
    }
}

/// A read transaction; the file stays open for as long as it lives.
struct Reading<'a> {
    txn: ReadTransaction,
    _open: RwLockReadGuard<'a, Handle>,
}

fn writing(backend: std::io::Result<Backend>) -> Result<Database, StoreError> {
    let backend = backend.map_err(|e| StoreError::Io(e.to_string()))?;
    Builder::new()
        .set_cache_size(limits::SEGMENT_WRITE_CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(StoreError::io)
}
