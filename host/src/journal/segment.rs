//! One segment: a redb file with a run of entries, written while it is the last one and only read afterwards.
//!
//! Segments exist because a crash makes redb walk a whole file before it may be written again (measured here: 1.6 s
//! for 1 GB in the page cache), and the alternative, saving the allocator's state with every commit
//! (`set_quick_repair`), costs a second fsync and rewrites a table that grows with the file. A file of at most
//! `SEGMENT_BYTES_MAX` is walked in a fraction of a second, commits with one fsync, and is dropped as one file whose
//! space returns to the file system.

use super::format::{COMMITS, Chain, CodecError, ENTRIES, HEAD, HEAD_KEY, Hash, Head, SEGMENT_FORMAT, SegmentName};
use super::storage::{Backend, FileId, Storage};
use crate::limits;
use crate::model::Seq;
use redb::{
    Builder, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend as _,
};
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// What redb or the file system said, in words; with what to do where something can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("{0}")]
    Io(String),
    #[error("{file}: {what}; run `polymeter journal verify` to see how far the journal is sound")]
    Damaged { file: String, what: String },
    #[error("{file}: {what}; restore it from a backup")]
    Unreadable { file: String, what: String },
    #[error(
        "the journal's file {0} is gone or another one: put it back under its name, or stop the station and restore the \
         journal from a backup"
    )]
    Gone(String),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl StoreError {
    fn io(e: impl Into<redb::Error>) -> Self {
        Self::Io(in_words(&e.into()))
    }
}

/// What redb says, without its advice: nobody but the station can open a file again, and it does.
pub(crate) fn in_words(error: &redb::Error) -> String {
    match error {
        redb::Error::PreviousIo => {
            "reading or writing its file has failed before, and the station opens it again by itself as \
                                    soon as the disk works"
                .into()
        }
        error => error.to_string().trim_end_matches('.').to_owned(),
    }
}

/// Whether a redb file is not as redb wrote it. Trying again does not help then; a disk that is full or gone is none of this.
pub(crate) fn is_damaged(error: &redb::Error) -> bool {
    match error {
        // A file without redb's first bytes, and one that ends before what it speaks of.
        redb::Error::Io(e) => matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof),
        redb::Error::Corrupted(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TableDoesNotExist(_) => true,
        _ => false,
    }
}

enum Handle {
    Closed,
    Writing(Database, FileId),
    Reading(ReadOnlyDatabase),
}

pub(super) struct Segment {
    pub name: SegmentName,
    /// Where it lies, for messages: whoever has to restore it must find it.
    path: PathBuf,
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
    /// A segment that exists in `dir` and is not open yet.
    pub fn closed(dir: &Path, name: SegmentName, sealed: bool) -> Self {
        Self::new(dir, name, Handle::Closed, sealed)
    }

    fn new(dir: &Path, name: SegmentName, handle: Handle, sealed: bool) -> Self {
        let (path, handle) = (dir.join(name.file()), RwLock::new(handle));
        Self { name, path, handle, sealed: AtomicBool::new(sealed), used: AtomicU64::new(0) }
    }

    fn unreadable(&self, what: impl Into<String>) -> StoreError {
        StoreError::Unreadable { file: self.path.display().to_string(), what: what.into() }
    }

    /// What redb says of this file: a lasting damage names the file and what helps.
    fn failed(&self, e: impl Into<redb::Error>) -> StoreError {
        match e.into() {
            redb::Error::Io(e) if e.kind() == ErrorKind::NotFound => self.gone(),
            error if is_damaged(&error) => self.unreadable(in_words(&error)),
            error => StoreError::io(error),
        }
    }

    fn gone(&self) -> StoreError {
        StoreError::Gone(self.path.display().to_string())
    }

    /// Opens the file, which exists, so that it may be written.
    fn writable(&self, storage: &dyn Storage) -> Result<(Database, FileId), StoreError> {
        let io = |e: std::io::Error| StoreError::Io(e.to_string());
        let backend = storage.open(&self.name.file()).map_err(|e| self.failed(redb::StorageError::Io(e)))?;
        let id = backend.id;
        // redb takes an empty file for a new one. A segment never is: it was named when its head was durable.
        if backend.len().map_err(io)? == 0 {
            return Err(self.unreadable("it is empty"));
        }
        Ok((writing(backend).map_err(|e| self.failed(e))?, id))
    }

    /// Makes a new segment. It gets its name only once its head is durable, so a name never stands for half a file.
    pub fn create(storage: &dyn Storage, dir: &Path, head: &Head) -> Result<Self, StoreError> {
        const UNBORN: &str = "new-segment";
        let io = |e: std::io::Error| StoreError::Io(e.to_string());
        let backend = storage.create(UNBORN).map_err(io)?;
        let id = backend.id;
        let db = writing(backend).map_err(StoreError::io)?;
        let bytes = postcard::to_stdvec(head).map_err(|e| StoreError::Io(e.to_string()))?;
        let txn = db.begin_write().map_err(StoreError::io)?;
        txn.open_table(HEAD).map_err(StoreError::io)?.insert(HEAD_KEY, &bytes[..]).map_err(StoreError::io)?;
        txn.open_table(ENTRIES).map_err(StoreError::io)?;
        txn.open_table(COMMITS).map_err(StoreError::io)?;
        txn.commit().map_err(StoreError::io)?;
        let name = SegmentName { first: head.first, day: head.day };
        storage.rename(UNBORN, &name.file()).map_err(io)?;
        Ok(Self::new(dir, name, Handle::Writing(db, id), false))
    }

    /// Opens for writing; walks the file when it was not closed cleanly.
    pub fn open_writing(&self, storage: &dyn Storage) -> Result<(Head, Tip), StoreError> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        *handle = Handle::Closed;
        let (db, id) = self.writable(storage)?;
        *handle = Handle::Writing(db, id);
        drop(handle);
        Ok((self.head(storage)?, self.tip(storage)?))
    }

    /// Whether the file that is written still lies under its name. Into one that was removed, or moved away with its
    /// directory, every write and every fsync succeeds, and nobody will ever read it.
    pub fn check_in_place(&self, storage: &dyn Storage) -> Result<(), StoreError> {
        let handle = self.lock();
        let Handle::Writing(_, file) = &*handle else { return Ok(()) };
        match storage.is_in_place(&self.name.file(), *file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.gone()),
            Err(e) => Err(StoreError::Io(e.to_string())),
        }
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
                self.writable(storage)?.0.close().map_err(|e| self.failed(e))?;
                open()
            }
            other => other,
        };
        *handle = Handle::Reading(db.map_err(|e| self.failed(e))?);
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
            Handle::Writing(db, _) => db.close().map_err(|e| self.failed(e)),
            Handle::Reading(db) => db.close().map_err(|e| self.failed(e)),
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
        let Handle::Writing(db, _) = &*handle else {
            return Err(StoreError::Io(format!("{} is not open for writing", self.name.file())));
        };
        let last = first.0 + entries.len() as u64 - 1;
        let mut chain = Chain::after(before, first, entries.len());
        let txn = db.begin_write().map_err(|e| self.failed(e))?;
        {
            // Through a cursor at the end an insert costs 0.35 µs, by key 1.1 µs.
            let mut table = txn.open_table(ENTRIES).map_err(|e| self.failed(e))?;
            let mut end = table.upper_bound_mut(Bound::<u64>::Unbounded).map_err(|e| self.failed(e))?;
            for (seq, bytes) in (first.0..).zip(entries) {
                chain.entry(bytes);
                end.insert_before(seq, bytes).map_err(|e| StoreError::Io(e.to_string()))?;
            }
            end.close().map_err(|e| self.failed(e))?;
        }
        let hash = chain.finish();
        txn.open_table(COMMITS).map_err(|e| self.failed(e))?.insert(last, &hash).map_err(|e| self.failed(e))?;
        txn.commit().map_err(|e| self.failed(e))?;
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
        let Handle::Writing(db, _) = &*handle else {
            return Err(StoreError::Io(format!("{} is not open for writing", self.name.file())));
        };
        let txn = db.begin_write().map_err(|e| self.failed(e))?;
        let rest = last.0 + 1..;
        txn.open_table(ENTRIES)
            .map_err(|e| self.failed(e))?
            .retain_in(rest.clone(), |_, _| false)
            .map_err(|e| self.failed(e))?;
        txn.open_table(COMMITS)
            .map_err(|e| self.failed(e))?
            .retain_in(rest, |_, _| false)
            .map_err(|e| self.failed(e))?;
        txn.commit().map_err(|e| self.failed(e))
    }

    pub fn ends_early(&self, promised: Seq) -> StoreError {
        let what = format!("it does not end with entry {}, which was acknowledged", promised.0);
        StoreError::Damaged { file: self.path.display().to_string(), what }
    }

    /// Proves that the store takes a write the size of the largest entry again.
    pub fn probe(&self) -> Result<(), StoreError> {
        let handle = self.lock();
        let Handle::Writing(db, _) = &*handle else {
            return Err(StoreError::Io(format!("{} is not open for writing", self.name.file())));
        };
        for fill in [limits::ENTRY_BYTES_MAX, 0] {
            let txn = db.begin_write().map_err(|e| self.failed(e))?;
            txn.open_table(HEAD)
                .map_err(|e| self.failed(e))?
                .insert("probe", &vec![0; fill][..])
                .map_err(|e| self.failed(e))?;
            txn.commit().map_err(|e| self.failed(e))?;
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
        let table = reading.txn.open_table(ENTRIES).map_err(|e| self.failed(e))?;
        let (mut out, mut bytes) = (Vec::new(), 0);
        for row in table.range(from.0..).map_err(|e| self.failed(e))?.take(entries_max) {
            let (seq, value) = row.map_err(|e| self.failed(e))?;
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
        let table = reading.txn.open_table(COMMITS).map_err(|e| self.failed(e))?;
        let mut out = Vec::new();
        for row in table.range(from.0..).map_err(|e| self.failed(e))?.take(max) {
            let (last, hash) = row.map_err(|e| self.failed(e))?;
            out.push(Tip { last: Seq(last.value()), hash: *hash.value() });
        }
        Ok(out)
    }

    pub fn head(&self, storage: &dyn Storage) -> Result<Head, StoreError> {
        let reading = self.begin_read(storage)?;
        let table = reading.txn.open_table(HEAD).map_err(|e| self.failed(e))?;
        let row = table.get(HEAD_KEY).map_err(|e| self.failed(e))?.ok_or_else(|| self.unreadable("it has no head"))?;
        let head: Head = postcard::from_bytes(row.value()).map_err(|_| self.unreadable("its head does not decode"))?;
        if head.format != SEGMENT_FORMAT {
            return Err(StoreError::Io(format!(
                "{}: it has format {}, this version writes {SEGMENT_FORMAT}; use the version that wrote it",
                self.path.display(),
                head.format
            )));
        }
        if (head.first, head.day) != (self.name.first, self.name.day) {
            return Err(self.unreadable("its name and its head differ"));
        }
        Ok(head)
    }

    pub fn tip(&self, storage: &dyn Storage) -> Result<Tip, StoreError> {
        let head = self.head(storage)?;
        let reading = self.begin_read(storage)?;
        let table = reading.txn.open_table(COMMITS).map_err(|e| self.failed(e))?;
        let tip = match table.last().map_err(|e| self.failed(e))? {
            Some((last, hash)) => Tip { last: Seq(last.value()), hash: *hash.value() },
            None => Tip { last: Seq(head.first.0 - 1), hash: head.follows },
        };
        Ok(tip)
    }

    fn begin_read(&self, storage: &dyn Storage) -> Result<Reading<'_>, StoreError> {
        loop {
            let guard = self.lock();
            let txn = match &*guard {
                Handle::Writing(db, _) => Some(db.begin_read()),
                Handle::Reading(db) => Some(db.begin_read()),
                Handle::Closed => None,
            };
            match txn {
                Some(txn) => return Ok(Reading { txn: txn.map_err(|e| self.failed(e))?, _open: guard }),
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

fn writing(backend: Backend) -> Result<Database, redb::DatabaseError> {
    Builder::new().set_cache_size(limits::SEGMENT_WRITE_CACHE_BYTES).create_with_backend(backend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{entry, options};
    use crate::journal::{Journal, Verified};
    use crate::model::Day;

    const DAY_MS: i64 = 86_400_000;

    fn open(dir: &Path) -> Result<Journal, String> {
        Journal::open(dir, &options()).map_err(|e| e.to_string())
    }

    /// As `polymeter journal verify` would.
    fn verify(dir: &Path) -> Result<Verified, String> {
        let journal = Journal::open_existing(dir, 0).map_err(|e| e.to_string())?.expect("there is one");
        let verified = journal.reader().verify(&mut |_| {}).map_err(|e| e.to_string());
        journal.close();
        verified
    }

    #[test]
    fn a_damaged_file_is_named_with_its_remedy() {
        let dir = std::env::temp_dir().join(format!("polymeter-segment-damaged-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let journal = open(&dir).expect("opens");
        // A file for each day.
        for day in 0..3 {
            journal.append_blocking(entry(day, day as i64 * DAY_MS)).expect("appends");
        }
        journal.close();
        drop(journal);
        for (first, day) in [(1, 0), (3, 2)] {
            let path = dir.join("journal").join(SegmentName { first: Seq(first), day: Day(day) }.file());
            let whole = std::fs::read(&path).expect("a segment");
            let garbage = b"no segment at all ".repeat(1_000);
            for damaged in [&whole[..whole.len() / 2], &whole[..100], &[], &garbage] {
                std::fs::write(&path, damaged).expect("writes");
                let found = verify(&dir).expect_err("damaged");
                let named = found.starts_with(&format!("{}: ", path.display()));
                assert!(named && found.ends_with("; restore it from a backup"), "{} bytes: {found}", damaged.len());
                // Only the last file is opened at the start.
                let opened = open(&dir).map(|journal| journal.close());
                assert_eq!(opened, if day == 2 { Err(found) } else { Ok(()) }, "{} bytes", damaged.len());
                assert_eq!(std::fs::read(&path).expect("there").len(), damaged.len(), "nothing is written into it");
            }
            std::fs::write(&path, whole).expect("writes");
        }
        let verified = verify(&dir).expect("restored");
        assert_eq!((verified.broken, verified.entries), (None, 3));
        let _ = std::fs::remove_dir_all(&dir);
    }

    /// What passes by itself does not send anybody to the backups.
    #[test]
    fn a_full_disk_is_no_damage() {
        let segment = Segment::closed(Path::new("journal"), SegmentName { first: Seq(1), day: Day(0) }, true);
        for kind in [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::TimedOut] {
            let error = segment.failed(redb::StorageError::Io(kind.into()));
            assert!(matches!(error, StoreError::Io(_)), "{error}");
        }
        assert!(matches!(segment.failed(redb::StorageError::PreviousIo), StoreError::Io(_)));
    }
}
