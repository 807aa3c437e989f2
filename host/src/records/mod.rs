//! Who writes the device registry: one change at a time, checked against what the registry says now, made durable as one
//! entry.
//!
//! An import writes faster than the views fold, and they fold the cheaper the more there is to fold. So a writer does not
//! wait for them: what they do not show yet is kept in `Pending`, bounded, and counts in every check. `weigh` has the
//! checks, `rows` the forms in which rows come. `table` is the CSV under them, and under the rows of `keys`.

pub mod keys;
pub mod rows;
pub mod table;
pub mod weigh;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::journal::{Entry, Fact, Journal, RegistryFact, Retold};
use crate::limits;
use crate::model::{DeviceKey, Particulars, Record, Seq};
use crate::views::{ViewError, Views};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};
use weigh::{Choices, Weighed};

/// The registry's only writer. Clones share it.
#[derive(Clone)]
pub struct Records {
    journal: Journal,
    views: Views,
    clock: Clock,
    pending: Arc<Mutex<Pending>>,
}

/// Durable changes that the views may not show yet.
#[derive(Default)]
struct Pending {
    last_words: FxHashMap<DeviceKey, LastWord>,
    /// By parent and what that calls them, without zeros in front.
    lines: FxHashMap<(DeviceKey, String), Vec<DeviceKey>>,
    /// Which devices each entry speaks of, oldest first.
    entries: VecDeque<(Seq, Vec<DeviceKey>)>,
}

/// What an entry says of a device.
struct LastWord {
    seq: Seq,
    /// Postcard of its particulars, a third of their size; `None`: withdrawn.
    about: Option<Box<[u8]>>,
}

/// Why a change was not made, apart from flaws in its rows.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Nothing was done.
    #[error("the journal cannot be written: {0}")]
    Journal(String),
    #[error(transparent)]
    Views(#[from] ViewError),
    #[error("the views are too far behind; try again when they have caught up, see /health")]
    Behind,
    #[error("checking was interrupted: {0}")]
    Interrupted(String),
}

/// What became of rows.
#[derive(Debug)]
pub struct Done {
    pub weighed: Weighed,
    /// The entry; `None`: nothing was written, because nothing is new, something is wrong, or it was a trial.
    pub seq: Option<Seq>,
}

/// What shall be changed.
#[derive(Debug)]
pub enum Change {
    Set(Vec<rows::Row>),
    /// A device that has a record.
    Withdraw(DeviceKey),
}

impl Records {
    pub fn new(journal: Journal, views: Views, clock: Clock) -> Self {
        Self { journal, views, clock, pending: Arc::default() }
    }

    /// Checks the change and writes it as one entry: all of it, or nothing if anything is wrong with it. A trial only checks.
    pub async fn write(&self, change: Change, choices: Choices, by: &str, trial: bool) -> Result<Done, RecordsError> {
        let (mut pending, weighed) = self.weigh(change, choices).await?;
        if trial || !weighed.flaws.is_empty() || weighed.is_empty() {
            return Ok(Done { weighed, seq: None });
        }
        let fact = RegistryFact {
            set: weighed.set.clone(),
            withdrawn: weighed.withdrawn.clone(),
            by: by.to_owned(),
            retold: None,
        };
        let entry = Entry { at_ms: self.clock.now_ms(), fact: Fact::Registry(fact) };
        let seq = self.journal.append(entry).await.map_err(|e| RecordsError::Journal(e.to_string()))?;
        pending.add(seq, &weighed);
        Ok(Done { weighed, seq: Some(seq) })
    }

    /// The registry stays as it is while the guard is held.
    async fn weigh(
        &self,
        change: Change,
        choices: Choices,
    ) -> Result<(OwnedMutexGuard<Pending>, Weighed), RecordsError> {
        let mut pending = self.pending.clone().lock_owned().await;
        pending.forget_shown(self.views.kept());
        while pending.last_words.len() + limits::CHUNK_ROWS_MAX > limits::RECORDS_PENDING_MAX {
            let oldest = pending.entries.front().map_or(Seq(0), |(seq, _)| *seq);
            let shown = self.views.caught_up(oldest);
            match tokio::time::timeout(limits::RECORDS_SHOWN_WITHIN, shown).await {
                // Not `kept`: there is no room for those seconds.
                Ok(true) => pending.forget_shown(self.views.cursor()),
                _ => return Err(RecordsError::Behind),
            }
        }
        let views = self.views.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let now = views.registry()?;
            let weighed = weigh::weigh(&weigh::Ground::new(&pending, &now, &choices, &views), change)?;
            Ok::<_, ViewError>((pending, weighed))
        });
        Ok(checked.await.map_err(|e| RecordsError::Interrupted(e.to_string()))??)
    }

    /// Tells again what was told before that entry and still stands, so that it outlives the day which the journal is about
    /// to drop. Entry by entry: a fleet's worth of records never lies in memory. Gives the number of records.
    ///
    /// For threads outside the async runtime. Nobody else writes meanwhile, or a later word could be overtaken.
    pub fn retell_before(&self, before: Seq) -> anyhow::Result<u64> {
        let reader = self.journal.reader();
        let (mut from, mut told) = (reader.first_seq(), 0);
        loop {
            let _alone = self.pending.blocking_lock();
            let shown = reader.last_seq();
            anyhow::ensure!(
                self.views.wait_caught_up(shown, limits::RECORDS_SHOWN_WITHIN),
                "the views are too far behind"
            );
            // Views that cannot write go back to what their file has, and know less then than was waited for.
            let still_shown = || {
                anyhow::ensure!(self.views.cursor() >= shown, "the views went back to what they had kept");
                Ok(())
            };
            let seqs = self.views.registry_entries(from, before, limits::RETOLD_ENTRIES_MAX)?;
            still_shown()?;
            let Some(last) = seqs.last() else { return Ok(told) };
            from = Seq(last.0 + 1);
            for seq in seqs {
                let Some(Ok(Entry { at_ms, fact: Fact::Registry(fact) })) = reader.get(seq)?.map(|s| s.entry) else {
                    continue;
                };
                let set = self.views.standing_records(seq, fact.set)?;
                still_shown()?;
                if !set.is_empty() {
                    told += set.len() as u64;
                    let at_ms = fact.retold.map_or(at_ms, |retold| retold.at_ms);
                    let retold = Some(Retold { seq, at_ms });
                    let fact = RegistryFact { set, withdrawn: Vec::new(), by: fact.by, retold };
                    let entry = Entry { at_ms: self.clock.now_ms(), fact: Fact::Registry(fact) };
                    self.journal.append_blocking(entry)?;
                }
            }
        }
    }
}

impl LastWord {
    fn about(&self) -> Option<Particulars> {
        self.about.as_ref().and_then(|bytes| postcard::from_bytes(bytes).ok())
    }
}

impl Pending {
    fn add(&mut self, seq: Seq, weighed: &Weighed) {
        let mut devices = Vec::with_capacity(weighed.set.len() + weighed.withdrawn.len());
        for Record { device, about } in &weighed.set {
            // Plain data always encodes.
            let about = postcard::to_stdvec(about).ok().map(Vec::into_boxed_slice);
            self.say(device, LastWord { seq, about });
            devices.push(device.clone());
        }
        for Record { device, about } in &weighed.set {
            if let Some((parent, called)) = weigh::Place::of(device, about).map(weigh::Place::on_line) {
                let called_so = self.lines.entry((parent.clone(), called.to_owned())).or_default();
                if !called_so.contains(device) {
                    called_so.push(device.clone());
                }
            }
        }
        for device in &weighed.withdrawn {
            self.say(device, LastWord { seq, about: None });
            devices.push(device.clone());
        }
        self.entries.push_back((seq, devices));
    }

    fn forget_shown(&mut self, cursor: Seq) {
        if self.entries.front().is_none_or(|(seq, _)| *seq > cursor) {
            return;
        }
        while self.entries.front().is_some_and(|(seq, _)| *seq <= cursor) {
            for device in self.entries.pop_front().into_iter().flat_map(|(_, devices)| devices) {
                if self.last_words.get(&device).is_some_and(|word| word.seq <= cursor) {
                    self.last_words.remove(&device);
                }
            }
        }
        self.lines.retain(|_, devices| {
            devices.retain(|device| self.last_words.contains_key(device));
            !devices.is_empty()
        });
    }

    fn say(&mut self, device: &DeviceKey, word: LastWord) {
        self.last_words.insert(device.clone(), word);
    }
}
