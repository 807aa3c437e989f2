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
    pub done: oneshot::Sender<Result<Seq, AppendError>>,
}

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
        let bytes = format::encode(&entry)?;
        match self.room.acquire_many(places(&bytes)).await {
            Ok(room) => room.forget(),
            Err(_) => return Err(AppendError::Closed),
        }
        self.push(entry, bytes)
    }

    /// Waits for room, blocking the thread.
    pub fn submit_blocking(&self, entry: Entry) -> Result<Receipt, AppendError> {
        let bytes = format::encode(&entry)?;
        loop {
            if let Ok(room) = self.room.try_acquire_many(places(&bytes)) {
                room.forget();
                return self.push(entry, bytes);
            }
            let state = self.lock();
            if state.closed {
                return Err(AppendError::Closed);
            }
            // A drain between the attempt and the lock is missed, so the wait is short.
            drop(self.drained.wait_timeout(state, Duration::from_millis(5)));
        }
    }

    fn push(&self, entry: Entry, bytes: Vec<u8>) -> Result<Receipt, AppendError> {
        let (done, receipt) = oneshot::channel();
        let mut state = self.lock();
        let refusal = match &state.failing {
            _ if state.closed => Some(AppendError::Closed),
            Some(why) => Some(AppendError::Failing(why.clone())),
            None => None,
        };
        if let Some(refusal) = refusal {
            drop(state);
            self.room.add_permits(places(&bytes) as usize);
            return Err(refusal);
        }
        state.pending.push_back(Pending { entry, bytes, done });
        let wake = std::mem::take(&mut state.writer_waits) || state.pending.len() == state.gathers;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(Receipt(receipt))
    }

    /// What waits, up to one commit's worth; blocks while nothing does. `None`: closed and empty.
    pub fn take(&self) -> Option<Vec<Pending>> {
        let mut state = self.lock();
        while state.pending.is_empty() {
            if state.closed {
                return None;
            }
            state.writer_waits = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut count, mut bytes, mut room) = (0, 0, 0);
        for pending in state.pending.iter().take(limits::COMMIT_ENTRIES_MAX) {
            bytes += pending.bytes.len();
            if bytes > limits::COMMIT_BYTES_MAX {
                break;
            }
            count += 1;
            room += places(&pending.bytes) as usize;
        }
        let batch = state.pending.drain(..count).collect();
        drop(state);
        self.room.add_permits(room);
        self.drained.notify_all();
        Some(batch)
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
        for waiting in pending {
            let _ = waiting.done.send(Err(AppendError::Failing(why.clone())));
        }
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

/// Places that an entry takes in the queue: its number and its bytes are bounded by one count.
fn places(bytes: &[u8]) -> u32 {
    1 + (bytes.len() / limits::JOURNAL_QUEUE_STEP_BYTES) as u32
}
