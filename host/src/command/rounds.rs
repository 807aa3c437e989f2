//! Rounds of polls that people want now, on their way to whoever holds them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// One wish a poll, and who has it.
#[derive(Debug, Default)]
pub struct Wishes {
    by_poll: Mutex<BTreeMap<String, String>>,
    made: Notify,
}

impl Wishes {
    /// False: somebody else wants it already.
    pub fn make(&self, poll: &str, by: &str) -> bool {
        let mut wishes = self.by_poll.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = wishes.insert(poll.to_owned(), by.to_owned()).is_none();
        self.made.notify_one();
        is_new
    }

    /// Whether there is one for that poll.
    pub fn has(&self, poll: &str) -> bool {
        self.by_poll.lock().unwrap_or_else(PoisonError::into_inner).contains_key(poll)
    }

    /// One that could not be fulfilled counts as before, and is looked at when the poll is.
    pub fn put_back(&self, poll: &str, by: String) {
        self.by_poll.lock().unwrap_or_else(PoisonError::into_inner).entry(poll.to_owned()).or_insert(by);
    }

    pub fn take(&self, poll: &str) -> Option<String> {
        self.by_poll.lock().unwrap_or_else(PoisonError::into_inner).remove(poll)
    }

    /// Waits until there is one.
    pub async fn made(&self) {
        self.made.notified().await;
    }
}
