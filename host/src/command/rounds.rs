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

    pub fn take(&self, poll: &str) -> Option<String> {
        self.by_poll.lock().unwrap_or_else(PoisonError::into_inner).remove(poll)
    }

    /// Waits until there is one.
    pub async fn made(&self) {
        self.made.notified().await;
    }
}
