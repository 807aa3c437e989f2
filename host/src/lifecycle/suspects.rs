//! Who has made which version fail or run long lately. Calls over what these send are made where they keep nobody else waiting.

use super::Lifecycle;
use crate::adapter::Adapter;
use crate::limits::{STRIKE_WINDOW, SUSPECTS_MAX};
use crate::model::Digest;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Suspects {
    count: AtomicUsize,
    /// Until when; of the steady clock, or whoever sets the machine's would let them go or keep them.
    by: Mutex<FxHashMap<(Digest, String), i64>>,
}

impl Lifecycle {
    /// Whether there are any at all.
    pub fn has_suspects(&self) -> bool {
        self.suspects.count.load(Ordering::Relaxed) != 0
    }

    pub fn is_suspect(&self, adapter: &Adapter, source: &str) -> bool {
        let by = self.suspects.by.lock().unwrap_or_else(PoisonError::into_inner);
        let until = by.get(&(adapter.digest, source.to_owned()));
        until.is_some_and(|until| self.clock.steady_ms() < *until)
    }

    /// What this one has sent made a call fail or run long.
    pub fn suspect(&self, digest: Digest, source: &str) {
        let now_ms = self.clock.steady_ms();
        let mut by = self.suspects.by.lock().unwrap_or_else(PoisonError::into_inner);
        if by.len() >= SUSPECTS_MAX {
            by.retain(|_, until| now_ms < *until);
        }
        if by.len() < SUSPECTS_MAX {
            by.insert((digest, source.to_owned()), now_ms + STRIKE_WINDOW.as_millis() as i64);
        }
        self.suspects.count.store(by.len(), Ordering::Relaxed);
    }

    /// Forgets those who have behaved since; for whoever comes round by the clock.
    pub fn forget_suspects(&self) {
        let now_ms = self.clock.steady_ms();
        let mut by = self.suspects.by.lock().unwrap_or_else(PoisonError::into_inner);
        by.retain(|_, until| now_ms < *until);
        self.suspects.count.store(by.len(), Ordering::Relaxed);
    }
}
