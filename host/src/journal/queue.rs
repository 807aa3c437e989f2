//! Entries on their way to the writer: a bounded queue, and the receipts of those who wait.

use super::Entry;
use super::format::{self, CodecError};
use crate::limits;
use crate::model::Seq;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Why an entry was not kept. Whoever asked must not say "yes" to anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the journal cannot store at the moment: {0}")]
    Failing(Arc<str>),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the journal is closed")]
    Closed,
}

/// A promise: resolves once the entry is durable, or to why it is not.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Seq, AppendError>>);

impl Receipt {
    /// For threads outside the async runtime.
    pub fn wait(self) -> Result<Seq, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Future for Receipt {
    type Output = Result<Seq, AppendError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|done| done.unwrap_or(Err(AppendError::Closed)))
    }
}

/// One entry in the queue, encoded by whoever brought it.
pub(super) struct Pending {
    pub entry: Entry,
    pub bytes: Vec<u8>,
    /// `None`: it is kept together with the next one, whose receipt is for both.
    pub done: Option<Done>,
}

/// What there is to do for the writer.
pub(super) enum Work {
    Store(Vec<Pending>),
    /// Nothing waits: see whether the files are still there.
    Look {
        at_ms: i64,
    },
}

pub(super) type Done = oneshot::Sender<Result<Seq, AppendError>>;

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
    /// Counts both entries and their bytes; see `places`.
    room: Semaphore,
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    closed: bool,
    /// While the store fails, entries are refused at once instead of after a queue's length.
    failing: Option<Arc<str>>,
    writer_waits: bool,
    /// When somebody wanted the files to be looked at.
    look: Option<i64>,
    /// So many entries wake a writer that gathers; 0: none does.
    gathers: usize,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            room: Semaphore::new(limits::JOURNAL_QUEUE_MAX),
        }
    }

    /// Waits for room, asynchronously.
    pub async fn submit(&self, entry: Entry) -> Result<Receipt, AppendError> {
        let (entry, bytes) = encoded(entry)?;
        self.acquire(places(&bytes)).await?;
        self.push_one(entry, bytes)
    }

    /// Waits for room, blocking the thread.
    pub fn submit_blocking(&self, entry: Entry) -> Result<Receipt, AppendError> {
        let (entry, bytes) = encoded(entry)?;
        self.acquire_blocking(places(&bytes))?;
        self.push_one(entry, bytes)
    }

    /// Waits for room for all of them. They are kept together, in one commit, unless they are more than one takes: then in
    /// several. Gives for each of those the number of its entries, and the receipt of its last one.
    pub async fn submit_all(&self, entries: Vec<Entry>) -> Result<Vec<(usize, Receipt)>, AppendError> {
        let mut receipts = Vec::with_capacity(1);
        for group in in_groups(entries)? {
            self.acquire(room(&group)).await?;
            receipts.push((group.len(), self.push_all(group)?));
        }
        Ok(receipts)
    }

    /// The same, blocking the thread.
    pub fn submit_all_blocking(&self, entries: Vec<Entry>) -> Result<Vec<(usize, Receipt)>, AppendError> {
        let mut receipts = Vec::with_capacity(1);
        for group in in_groups(entries)? {
            self.acquire_blocking(room(&group))?;
            receipts.push((group.len(), self.push_all(group)?));
        }
        Ok(receipts)
    }

    async fn acquire(&self, places: u32) -> Result<(), AppendError> {
        let room = self.room.acquire_many(places).await.map_err(|_| AppendError::Closed)?;
        room.forget();
        Ok(())
    }

    fn acquire_blocking(&self, places: u32) -> Result<(), AppendError> {
        loop {
            if let Ok(room) = self.room.try_acquire_many(places) {
                room.forget();
                return Ok(());
            }
            let state = self.lock();
            if state.closed {
                return Err(AppendError::Closed);
            }
            // A drain between the attempt and the lock is missed, so the wait is short.
            drop(self.drained.wait_timeout(state, Duration::from_millis(5)));
        }
    }

    /// Puts an entry, for which there is room, behind those that wait.
    fn push_one(&self, entry: Entry, bytes: Vec<u8>) -> Result<Receipt, AppendError> {
        let room = places(&bytes);
        self.push(room, |pending, done| pending.push_back(Pending { entry, bytes, done: Some(done) }))
    }

    /// The same for entries that belong together: all of them at once.
    fn push_all(&self, group: Group) -> Result<Receipt, AppendError> {
        self.push(room(&group), |pending, done| {
            pending.extend(group.into_iter().map(|(entry, bytes)| Pending { entry, bytes, done: None }));
            if let Some(last) = pending.back_mut() {
                last.done = Some(done);
            }
        })
    }

    /// Has somebody put into the queue what he has so much room for.
    fn push(&self, room: u32, put: impl FnOnce(&mut VecDeque<Pending>, Done)) -> Result<Receipt, AppendError> {
        let (done, receipt) = oneshot::channel();
        let mut state = self.lock();
        let refusal = match &state.failing {
            _ if state.closed => Some(AppendError::Closed),
            Some(why) => Some(AppendError::Failing(why.clone())),
            None => None,
        };
        if let Some(refusal) = refusal {
            drop(state);
            self.room.add_permits(room as usize);
            return Err(refusal);
        }
        let before = state.pending.len();
        put(&mut state.pending, done);
        let gathered = (before + 1..=state.pending.len()).contains(&state.gathers);
        let wake = std::mem::take(&mut state.writer_waits) || gathered;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(Receipt(receipt))
    }

    /// Somebody wants to know whether the files are still there. While entries wait their commit tells.
    pub fn look(&self, at_ms: i64) {
        let mut state = self.lock();
        state.look = Some(at_ms);
        if std::mem::take(&mut state.writer_waits) {
            self.filled.notify_one();
        }
    }

    /// What waits, up to one commit's worth; blocks while nothing does. `None`: closed and empty.
    pub fn take(&self) -> Option<Work> {
        let mut state = self.lock();
        while state.pending.is_empty() {
            if state.closed {
                return None;
            }
            if let Some(at_ms) = state.look.take() {
                return Some(Work::Look { at_ms });
            }
            state.writer_waits = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut count, mut bytes) = (0, 0);
        for (at, pending) in state.pending.iter().take(limits::COMMIT_ENTRIES_MAX).enumerate() {
            bytes += pending.bytes.len();
            if bytes > limits::COMMIT_BYTES_MAX {
                break;
            }
            // What belongs together fits into one commit, and is not parted.
            if pending.done.is_some() {
                count = at + 1;
            }
        }
        let batch: Vec<Pending> = state.pending.drain(..count).collect();
        drop(state);
        let room = batch.iter().map(|p| places(&p.bytes) as usize).sum();
        self.room.add_permits(room);
        self.drained.notify_all();
        Some(Work::Store(batch))
    }

    /// Waits until so many entries are there, at most that long.
    pub fn gather(&self, entries: usize, time: Duration) {
        let mut state = self.lock();
        state.gathers = entries;
        let (mut state, _) = self
            .filled
            .wait_timeout_while(state, time, |s| s.pending.len() < entries && !s.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.gathers = 0;
    }

    /// From now on entries are refused with this reason, and those that wait get it too.
    pub fn fail(&self, why: &Arc<str>) {
        let mut state = self.lock();
        state.failing = Some(why.clone());
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        self.room.add_permits(pending.iter().map(|p| places(&p.bytes) as usize).sum());
        self.drained.notify_all();
        refuse(pending, why);
    }

    pub fn recover(&self) {
        self.lock().failing = None;
    }

    /// No entry is taken any more; those in the queue are still written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Waits while the queue is open, at most that long; tells whether it is still open.
    pub fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let (state, _) =
            self.filled.wait_timeout_while(state, time, |s| !s.closed).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    pub fn len(&self) -> usize {
        self.lock().pending.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries that are kept together, each with its bytes.
type Group = Vec<(Entry, Vec<u8>)>;

/// Encodes them, as groups that one commit takes.
fn in_groups(entries: Vec<Entry>) -> Result<Vec<Group>, AppendError> {
    let mut rest = entries.into_iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    let mut groups = Vec::with_capacity(1);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(limits::COMMIT_ENTRIES_MAX).take_while(|(_, encoded)| {
            bytes += encoded.len();
            bytes <= limits::COMMIT_BYTES_MAX
        });
        let later = rest.split_off(fits.count());
        groups.push(std::mem::replace(&mut rest, later));
    }
    Ok(groups)
}

/// The entry, and its bytes. One frame that means too much keeps none of those beside it from being kept.
fn encoded(mut entry: Entry) -> Result<(Entry, Vec<u8>), CodecError> {
    let bytes = match format::encode(&entry) {
        Err(CodecError::TooLong { .. }) if entry.keep_bytes_at_least() => format::encode(&entry)?,
        bytes => bytes?,
    };
    Ok((entry, bytes))
}

/// Places of all of them.
fn room(group: &Group) -> u32 {
    group.iter().map(|(_, bytes)| places(bytes)).sum()
}

/// Tells those who wait that nothing of theirs is kept.
pub(super) fn refuse(pending: impl IntoIterator<Item = Pending>, why: &Arc<str>) {
    for done in pending.into_iter().filter_map(|pending| pending.done) {
        let _ = done.send(Err(AppendError::Failing(why.clone())));
    }
}

/// Places that an entry takes in the queue: its number and its bytes are bounded by one count.
fn places(bytes: &[u8]) -> u32 {
    1 + (bytes.len() / limits::JOURNAL_QUEUE_STEP_BYTES) as u32
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::super::{Fact, FaultKind, FrameFact, FrameOutcome};
    use super::*;
    use crate::model::{Digest, HexBytes, Message};

    fn means(bytes: usize) -> FrameOutcome {
        let messages = vec![Message::Unknown { what: "test".into(), bytes: HexBytes(vec![7; bytes]) }];
        FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind: Vec::new() }
    }

    fn outcome(entry: &Entry) -> &FrameOutcome {
        match &entry.fact {
            Fact::Frame(FrameFact { outcome, .. }) | Fact::Redecoded { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_frame_that_means_too_much_is_kept_as_bytes_and_those_beside_it_as_they_are() {
        let frame = |outcome| {
            let (listener, peer) = ("meters".into(), "10.0.0.1:5000".into());
            let raw = HexBytes(vec![0x68; 100]);
            Fact::Frame(FrameFact { listener, peer, session: 1, device: None, adapter: None, raw, outcome })
        };
        let again = |outcome| {
            let (adapter, profile) = (Digest([1; 32]), String::new());
            Fact::Redecoded { frame: 7, adapter, outcome, device: None, profile, part: 0 }
        };
        let too_much = limits::ENTRY_BYTES_MAX;
        let facts = [frame(means(10)), frame(means(too_much)), again(means(too_much)), again(means(10))];
        let queue = Queue::new();
        let entries = facts.into_iter().map(|fact| Entry { at_ms: 5, fact }).collect();
        assert_eq!(queue.submit_all_blocking(entries).expect("room").len(), 1);
        let Some(Work::Store(kept)) = queue.take() else { panic!("four") };
        for (pending, whole) in kept.iter().zip([true, false, false, true]) {
            match outcome(&pending.entry) {
                FrameOutcome::Decoded { .. } => assert!(whole),
                FrameOutcome::Fault { kind, detail } => {
                    assert!(!whole && *kind == FaultKind::Resources && detail.contains("longer than"), "{detail}");
                }
            }
            let stored = format::decode(&pending.bytes).expect("it decodes");
            assert_eq!(stored, pending.entry, "what is shown is what is stored");
        }
        assert!(matches!(&kept[1].entry.fact, Fact::Frame(frame) if frame.raw.0.len() == 100));
        // Whatever else is too long is nobody's bytes.
        let mut command = entry(1, 0);
        command.fact = Fact::TokenRevoked { name: "n".repeat(too_much), by: String::new() };
        assert!(matches!(queue.submit_blocking(command), Err(AppendError::Codec(CodecError::TooLong { .. }))));
    }

    #[test]
    fn what_belongs_together_is_taken_together() {
        let queue = Queue::new();
        for n in 1..limits::COMMIT_ENTRIES_MAX {
            queue.submit_blocking(entry(n as u64, 0)).expect("room");
        }
        let group = (0..3).map(|n| entry(n, 0)).collect();
        let receipts = queue.submit_all_blocking(group).expect("room");
        assert_eq!(receipts.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [3]);
        queue.look(5);
        let Some(Work::Store(alone)) = queue.take() else { panic!("entries go before a look") };
        assert_eq!(alone.len(), limits::COMMIT_ENTRIES_MAX - 1, "not a part of three");
        let Some(Work::Store(together)) = queue.take() else { panic!("three") };
        assert_eq!(together.iter().map(|p| p.done.is_some()).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(queue.room.available_permits(), limits::JOURNAL_QUEUE_MAX, "all room is given back");
    }

    #[test]
    fn more_than_a_commit_takes_becomes_several() {
        let queue = Queue::new();
        let many = (0..limits::COMMIT_ENTRIES_MAX as u64 + 5).map(|n| entry(n, 0)).collect();
        let receipts = queue.submit_all_blocking(many).expect("room");
        let counts: Vec<_> = receipts.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [limits::COMMIT_ENTRIES_MAX, 5]);
    }
}
