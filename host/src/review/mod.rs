//! One version of an adapter against another: what would change, in meaning, over live frames and over stored ones; and
//! correcting what a version has read wrongly.
//!
//! `compare` says how two readings differ, `tally` counts it, `mirror` shows live frames to a shadow, `replay` reads stored
//! ones in their sessions, `history` walks through them along the `path` that they came, and `names` says of whom carriers speak
//! in them. Nothing here answers a device.

mod compare;
mod history;
mod mirror;
mod names;
mod path;
mod replay;
mod tally;

pub use compare::{Difference, Kind, Reading, compare};
pub use history::{Begun, Progress, Purpose, Walk};
pub use mirror::{Mirror, Sample};
pub use tally::{Example, Group, Tally};

use crate::adapter::{Catalog, Transport};
use crate::clock::Clock;
use crate::journal::{AdapterState, AppendError, Entry, Fact, Journal, StoreError};
use crate::lifecycle::{Lifecycle, LifecycleError, Order};
use crate::model::{DeviceKey, Seq};
use crate::views::{AdapterRow, ViewError, Views};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shadows and walks of a station.
pub struct Review {
    catalog: Arc<Catalog>,
    lifecycle: Arc<Lifecycle>,
    journal: Journal,
    views: Views,
    clock: Clock,
    /// By their names.
    listeners: BTreeMap<String, Listener>,
    /// By the adapter's name: what serves may have one shadow at a time.
    mirrors: ArcSwap<Mirrors>,
    /// Held while a shadow begins or ends, so that the one that is told is the one that hears.
    shadowing: Mutex<()>,
    /// The last walk of each name.
    walks: Mutex<BTreeMap<String, Arc<Walk>>>,
}

/// What a review has to know of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// How frames come.
    pub transport: Transport,
    /// What strangers say counts there.
    pub accepts_strangers: bool,
}

type Mirrors = BTreeMap<String, Arc<Mirror>>;

/// A shadow that is none any more.
pub enum Ended {
    Heard(Arc<Mirror>),
    /// It stood as one and heard nothing: it could not begin.
    Deaf(Box<AdapterRow>),
}

/// Why nothing is reviewed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    #[error("`{0}` has no shadow; start one with `polymeter adapter shadow {0}@VERSION`")]
    NoShadow(String),
    #[error("nothing was gone through for `{0}` since the station started")]
    NoWalk(String),
    #[error(
        "stored frames of `{0}` are being gone through already; GET /api/v1/adapters/{0}/replay says when that is finished"
    )]
    Busy(String),
    #[error("{0} serves; a shadow is another version")]
    Serves(String),
    #[error("a share is more than 0 and at most 100 per cent")]
    Share,
    #[error("no thread for the shadow: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] StoreError),
    #[error(transparent)]
    Views(#[from] ViewError),
    #[error("the journal cannot be written: {0}")]
    Append(#[from] AppendError),
}

impl Review {
    pub fn new(
        catalog: Arc<Catalog>,
        lifecycle: Arc<Lifecycle>,
        (journal, views): (Journal, Views),
        clock: Clock,
        listeners: BTreeMap<String, Listener>,
    ) -> Self {
        let (mirrors, shadowing, walks) = Default::default();
        Self { catalog, lifecycle, journal, views, clock, listeners, mirrors, shadowing, walks }
    }

    /// The shadow that hears the next frame of this adapter, if it has one and this frame is in its share. Never waits.
    pub fn hears(&self, name: &str) -> Option<Arc<Mirror>> {
        let mirrors = self.mirrors.load();
        mirrors.get(name).filter(|mirror| mirror.wants()).cloned()
    }

    /// A version hears a share of the live frames from now on, instead of the shadow before it.
    pub fn shadow(&self, wanted: &str, permille: u32, order: &Order<'_>) -> Result<Arc<Mirror>, ReviewError> {
        if !(1..=1_000).contains(&permille) {
            return Err(ReviewError::Share);
        }
        let row = self.lifecycle.find(wanted)?;
        if row.is_active() {
            return Err(ReviewError::Serves(wanted.escape_debug().to_string()));
        }
        let _shadowing = self.shadowing();
        let adapter = self.lifecycle.begin_shadow(&row, permille, order)?;
        let (lifecycle, views) = (self.lifecycle.clone(), self.views.clone());
        let begun = Mirror::start(adapter, permille, lifecycle, views);
        let mirror = match begun {
            Ok(mirror) => mirror,
            Err(error) => {
                self.lifecycle.end_shadow(&row.name, &Order { reason: "no thread to hear with", ..*order })?;
                return Err(error.into());
            }
        };
        self.exchange(|mirrors| mirrors.insert(row.name.clone(), mirror.clone()));
        // It may have been put into service meanwhile.
        self.tidy();
        Ok(mirror)
    }

    /// The shadow of this name hears nothing any more; gives what it has found.
    pub fn stop_shadow(&self, name: &str, order: &Order<'_>) -> Result<Ended, ReviewError> {
        let _shadowing = self.shadowing();
        let ended = self.lifecycle.end_shadow(name, order)?;
        match (self.mirror(name), ended) {
            (Ok(mirror), _) => {
                self.tidy();
                Ok(Ended::Heard(mirror))
            }
            (Err(_), Some(row)) => Ok(Ended::Deaf(row.into())),
            (Err(error), None) => Err(error),
        }
    }

    /// Ends shadows of versions that are shadows no more: they serve now, or were taken away.
    pub fn tidy(&self) {
        for (name, mirror) in self.mirrors.load().iter() {
            let row = self.lifecycle.row(&mirror.adapter.digest);
            if row.is_none_or(|row| row.state != AdapterState::Shadow) {
                // Not the one that has taken its place meanwhile.
                self.exchange(|mirrors| {
                    let same = mirrors.get(name).is_some_and(|now| Arc::ptr_eq(now, mirror));
                    if same { mirrors.remove(name) } else { None }
                });
            }
        }
    }

    /// Held while a shadow begins or ends, so that what the lifecycle says and who hears agree.
    fn shadowing(&self) -> MutexGuard<'_, ()> {
        self.shadowing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mirror(&self, name: &str) -> Result<Arc<Mirror>, ReviewError> {
        self.mirrors.load().get(name).cloned().ok_or_else(|| ReviewError::NoShadow(name.escape_debug().to_string()))
    }

    /// Begins to go through stored frames; `Begun::run` does it.
    pub fn begin(&self, wanted: &str, purpose: Purpose, since_ms: i64) -> Result<Begun, ReviewError> {
        let row = self.lifecycle.find(wanted)?;
        let adapter = self.lifecycle.ready(&row)?;
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        if walks.get(&row.name).is_some_and(|walk| !walk.progress().finished) {
            return Err(ReviewError::Busy(row.name));
        }
        let walk = Arc::new(Walk::new(Arc::new(adapter.apart()), purpose, since_ms));
        walks.insert(row.name, walk.clone());
        Ok(Begun(walk))
    }

    pub fn walk(&self, name: &str) -> Result<Arc<Walk>, ReviewError> {
        let walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        walks.get(name).cloned().ok_or_else(|| ReviewError::NoWalk(name.escape_debug().to_string()))
    }

    /// Stops whom this change takes out.
    fn exchange(&self, change: impl Fn(&mut Mirrors) -> Option<Arc<Mirror>>) {
        let mut before = None;
        self.mirrors.rcu(|mirrors| {
            let mut mirrors = Mirrors::clone(mirrors);
            before = change(&mut mirrors);
            mirrors
        });
        if let Some(before) = before {
            before.stop();
        }
    }

    fn model_of(&self, device: &DeviceKey) -> String {
        model_of(&self.views, device)
    }

    /// First and last entry of the days since then.
    fn span(&self, since_ms: i64) -> Result<(Seq, Seq), ReviewError> {
        let day = Journal::day_of(since_ms);
        let days = self.journal.reader().days()?;
        let first = days.iter().find(|entries| entries.day >= day).map(|entries| entries.first);
        let last = self.journal.reader().last_seq();
        Ok((first.unwrap_or(Seq(last.0 + 1)), last))
    }

    fn write(&self, facts: Vec<Fact>) -> Result<(), ReviewError> {
        let at_ms = self.clock.now_ms();
        let entries = facts.into_iter().map(|fact| Entry { at_ms, fact }).collect();
        self.journal.append_all_blocking(entries)?;
        Ok(())
    }
}

impl Drop for Review {
    /// Their threads would go on listening.
    fn drop(&mut self) {
        self.mirrors.load().values().for_each(|mirror| mirror.stop());
    }
}

/// Empty: not known. A view that cannot be read is no reason to stop comparing.
fn model_of(views: &Views, device: &DeviceKey) -> String {
    let row = views.device(device).ok().flatten();
    row.and_then(|row| row.registration).map(|registration| registration.model).unwrap_or_default()
}
