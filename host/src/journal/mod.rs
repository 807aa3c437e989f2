//! The journal: one append-only sequence of facts, durable before anybody is told "yes".
//!
//! `append` resolves only after the entry's commit is on disk. One thread writes; entries that arrive together are
//! committed together. Views and outlets follow the journal; they never write to it.
//!
//! It lies in `journal/` of the data directory as a row of segment files (`format` has the layout, `segment` says why
//! there are several). It knows nothing of what entries mean; folding them is the business of `views`.

mod adapter;
mod again;
mod entry;
mod format;
mod part;
mod profile;
mod queue;
mod reader;
mod recent;
mod retention;
mod segment;
mod segments;
mod storage;
mod verify;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub use adapter::{AdapterFact, AdapterOrigin, AdapterStanding, AdapterState, AdapterStep};
pub use again::{Again, Piece};
pub use entry::{
    AdapterRef, CommandFact, CommandStep, Entry, Fact, FaultKind, FrameFact, FrameOutcome, PollFact, PollStep,
    RegistryFact, Retold, Role, Round, Settlement,
};
pub use format::{CodecError, Identity, messages_bytes};
pub use part::{Found, Part};
pub use profile::{ProfileFact, ProfileScope, ProfileStep};
pub use queue::{AppendError, Receipt};
pub use reader::{Follower, Portion, Reader, Stored};
pub use recent::Batch;
pub use retention::Dropped;
pub use segment::StoreError;
pub(crate) use segment::{in_words, is_damaged};
pub use segments::DayEntries;
pub use storage::DirectoryError;
pub use verify::{Broken, Verified, VerifyProgress};
pub use writer::Failing;

use crate::model::{Day, Seq};
use format::Head;
use queue::Queue;
use recent::Recent;
use segments::Segments;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use storage::{Directory, Storage};
use tokio::sync::watch;
use writer::{Shared, Writer};

/// How to open a journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who writes. An existing journal of another station is refused; its own epoch is kept. With an empty name, a new
    /// journal belongs to the first station that opens it.
    pub identity: Identity,
    /// The moment, UTC milliseconds: names the first file of a new journal.
    pub now_ms: i64,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "this data directory belongs to station `{found}`, not to `{wanted}`; correct `station` in the configuration \
         or choose another data directory"
    )]
    OtherStation { found: String, wanted: String },
    #[error(
        "the journal's files are missing: `{}` has none, and the views have seen entries up to {}; put the files back, or \
         restore them from a backup. Only if they are lost for good, `polymeter views rebuild --lost-for-good` gives them up",
        .dir.display(), .seen.0
    )]
    Missing { dir: PathBuf, seen: Seq },
    #[error(
        "the newest files of the journal are missing: `{}` ends with entry {}, and the views have seen {}; put the files \
         back, or restore them from a backup. Only if the entries after it are lost for good, or the views belong to another \
         journal, `polymeter views rebuild --lost-for-good` goes on without them",
        .dir.display(), .last.0, .seen.0
    )]
    Short { dir: PathBuf, last: Seq, seen: Seq },
    #[error("no thread for the journal's writer: {0}")]
    Thread(std::io::Error),
}

/// How the journal is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Set while entries cannot be stored, and so nobody may be told "yes".
    pub failing: Option<Failing>,
    pub last_seq: Seq,
    /// Entries waiting for the writer.
    pub queued: usize,
    /// Commits since the start.
    pub commits: u64,
    /// Time of the newest entry of the last commit, UTC milliseconds; `None`: nothing since the start.
    pub last_commit_ms: Option<i64>,
}

/// The open journal. Clones share it; when the last one goes, what is queued is written and the files are closed.
#[derive(Clone)]
pub struct Journal(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens or makes the journal in `dir`, for this process alone.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let path = dir.join("journal");
        let storage: Arc<dyn Storage> = Arc::new(Directory::open(&path)?);
        Self::over(&storage, &path, options)
    }

    /// As `open`, where others know of entries up to `seen`: a journal without them has lost files. It is neither made nor
    /// gone on with, because the numbers of what is missing would be given again.
    pub fn open_after(dir: &Path, options: &Options, seen: Seq) -> Result<Self, OpenError> {
        if seen > Seq(0) && !Self::exists(dir) {
            return Err(OpenError::Missing { dir: dir.join("journal"), seen });
        }
        let journal = Self::open(dir, options)?;
        journal.check_reaches(seen)?;
        Ok(journal)
    }

    /// Whether `dir` has files of a journal.
    pub fn exists(dir: &Path) -> bool {
        Segments::are_in(&dir.join("journal"))
    }

    /// Whether the journal has all entries up to one that others have seen.
    pub fn check_reaches(&self, seen: Seq) -> Result<(), OpenError> {
        let (dir, last) = (self.0.shared.segments.dir(), self.reader().last_seq());
        if last < seen { Err(OpenError::Short { dir: dir.to_owned(), last, seen }) } else { Ok(()) }
    }

    /// Opens the journal that lies in `dir`, whosever it is; `None`: there is none yet. For work on a stopped station's
    /// data without its configuration.
    pub fn open_existing(dir: &Path, now_ms: i64) -> Result<Option<Self>, OpenError> {
        let path = dir.join("journal");
        if !path.is_dir() {
            return Ok(None);
        }
        let storage: Arc<dyn Storage> = Arc::new(Directory::open(&path)?);
        let Some(last) = Segments::list(storage.clone(), &path)?.last() else { return Ok(None) };
        let (head, _) = last.open_writing(&*storage)?;
        // Its file is closed before it is opened again for good.
        drop(last);
        Self::over(&storage, &path, &Options { identity: head.identity, now_ms }).map(Some)
    }

    #[cfg(test)]
    pub(crate) fn with_storage(storage: &Arc<dyn Storage>, options: &Options) -> Result<Self, OpenError> {
        Self::over(storage, Path::new(""), options)
    }

    /// `dir` is what messages call the storage.
    fn over(storage: &Arc<dyn Storage>, dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let segments = Segments::list(storage.clone(), dir)?;
        let (identity, tip, bytes) = if let Some(last) = segments.last() {
            let (head, tip) = last.open_writing(&**storage)?;
            let wanted = options.identity.station.clone();
            if head.identity.station != wanted && !head.identity.station.is_empty() {
                return Err(OpenError::OtherStation { found: head.identity.station, wanted });
            }
            // One that was made before the station had a name takes it from the first that opens it.
            let identity = Identity { station: wanted, epoch: head.identity.epoch };
            let files = storage.list().map_err(|e| StoreError::Io(e.to_string()))?;
            let bytes = files.iter().find(|(file, _)| *file == last.name.file()).map_or(0, |(_, bytes)| *bytes);
            (identity, tip, bytes)
        } else {
            let identity = options.identity.clone();
            let day = format::day_of(options.now_ms);
            let head = Head { format: format::SEGMENT_FORMAT, identity, first: Seq(1), day, follows: [0; 32] };
            let tip = segments.roll(&head)?.tip(&**storage)?;
            (head.identity, tip, 0)
        };
        let active = segments.last().ok_or_else(|| StoreError::Io("no segment".into()))?;
        let shared = Arc::new(Shared {
            identity,
            queue: Queue::new(),
            recent: Recent::default(),
            segments,
            last: AtomicU64::new(tip.last.0),
            commits: AtomicU64::new(0),
            last_commit_ms: Mutex::default(),
            newest_ms: AtomicI64::new(i64::MIN),
            failing: Mutex::default(),
            committed: watch::Sender::new(tip.last),
        });
        shared.recent.start(tip.last);
        // What cannot be read tells no time; who reads or verifies the journal finds it.
        if let Ok(Some(Stored { entry: Ok(newest), .. })) = Reader(shared.clone()).get(tip.last) {
            shared.newest_ms.store(newest.at_ms, Ordering::Relaxed);
        }
        let writer = Writer { shared: shared.clone(), active, tip, bytes };
        let thread = std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        Ok(Self(Arc::new(Open { shared, writer: Mutex::new(Some(thread)) })))
    }

    /// Waits for room in the queue and until the entry is durable. On an error nothing may be acknowledged: the entry is not
    /// kept (it can be, if the process ends before the failed file is open again).
    pub async fn append(&self, entry: Entry) -> Result<Seq, AppendError> {
        self.submit(entry).await?.await
    }

    /// The first half of `append`: waits for room only. Entries are numbered in the order of these calls' ends.
    pub async fn submit(&self, entry: Entry) -> Result<Receipt, AppendError> {
        self.0.shared.queue.submit(entry).await
    }

    /// As `append`, for entries that belong together: if they are no more than one commit takes, all are kept or none. They
    /// follow each other without a gap; gives the first one's position and the last one's.
    pub async fn append_all(&self, entries: Vec<Entry>) -> Result<Option<(Seq, Seq)>, AppendError> {
        let mut span = None;
        for (count, receipt) in self.0.shared.queue.submit_all(entries).await? {
            span = Some(grown(span, count, receipt.await?));
        }
        Ok(span)
    }

    /// As `append_all`, for threads outside the async runtime.
    pub fn append_all_blocking(&self, entries: Vec<Entry>) -> Result<Option<(Seq, Seq)>, AppendError> {
        let mut span = None;
        for (count, receipt) in self.0.shared.queue.submit_all_blocking(entries)? {
            span = Some(grown(span, count, receipt.wait()?));
        }
        Ok(span)
    }

    /// Has the writer see whether the files are still there, although nothing is to be written; `health` tells what it saw.
    pub fn look(&self, now_ms: i64) {
        self.0.shared.queue.look(now_ms);
    }

    /// As `append`, for threads outside the async runtime.
    pub fn append_blocking(&self, entry: Entry) -> Result<Seq, AppendError> {
        self.0.shared.queue.submit_blocking(entry)?.wait()
    }

    /// As `submit`, for threads outside the async runtime.
    pub fn submit_blocking(&self, entry: Entry) -> Result<Receipt, AppendError> {
        self.0.shared.queue.submit_blocking(entry)
    }

    pub fn reader(&self) -> Reader {
        Reader(self.0.shared.clone())
    }

    /// The last durable entry, changing with every commit.
    pub fn committed(&self) -> watch::Receiver<Seq> {
        self.0.shared.committed.subscribe()
    }

    pub fn identity(&self) -> &Identity {
        &self.0.shared.identity
    }

    pub fn health(&self) -> Health {
        let shared = &self.0.shared;
        Health {
            failing: writer::lock(&shared.failing).clone(),
            last_seq: Seq(shared.last.load(Ordering::Acquire)),
            queued: shared.queue.len(),
            commits: shared.commits.load(Ordering::Relaxed),
            last_commit_ms: *writer::lock(&shared.last_commit_ms),
        }
    }

    /// The latest moment of which the newest entries tell: that of the last one, or the beginning of the UTC day before it that has
    /// entries. A clock that shows less is wrong, or was ahead within the last two days with entries.
    pub fn newest_ms(&self) -> i64 {
        let days: Vec<Day> = self.0.shared.segments.all().iter().map(|segment| segment.name.day).collect();
        let before = days.iter().rev().find(|day| Some(*day) != days.last());
        let began = before.map_or(i64::MIN, |day| i64::from(day.0).saturating_mul(86_400_000));
        began.max(self.0.shared.newest_ms.load(Ordering::Relaxed))
    }

    /// Takes no more entries, writes those that wait, and closes the files. Clones of this journal are closed too.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Open {
    fn close(&self) {
        self.shared.queue.close();
        let thread = writer::lock(&self.writer).take();
        if let Some(thread) = thread {
            // A writer that panicked has refused its entries already; there is nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

/// First and last of the entries so far, with so many more up to `last`.
fn grown(span: Option<(Seq, Seq)>, count: usize, last: Seq) -> (Seq, Seq) {
    (span.map_or(Seq(last.0 + 1 - count as u64), |(first, _)| first), last)
}
