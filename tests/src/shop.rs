//! The lifecycle of adapters on a journal and views of its own, without a station around it.

use crate::keys::NoKeys;
use crate::scratch::Scratch;
use crate::site::wait_until;
use polymeter::adapter::Catalog;
use polymeter::clock::Clock;
use polymeter::journal::{Identity, Journal, Options};
use polymeter::lifecycle::{Bound, Delivery, Lifecycle, LifecycleError, Order, Parts, Unsigned};
use polymeter::model::Digest;
use polymeter::views::{AdapterRow, Views};
use std::sync::Arc;
use std::time::Duration;

/// An open shop; `shut` and open it again for a restart.
pub struct Shop {
    pub lifecycle: Lifecycle,
    pub catalog: Arc<Catalog>,
    pub views: Views,
    pub journal: Journal,
}

/// Who asks in tests.
pub const BY: &str = "anna";

impl Shop {
    /// As `serve --dev` would.
    pub fn open(scratch: &Scratch) -> Self {
        Self::with(scratch, Unsigned::Accepted, Vec::new())
    }

    /// As a utility would.
    pub fn strict(scratch: &Scratch) -> Self {
        Self::with(scratch, Unsigned::Refused, Vec::new())
    }

    pub fn with(scratch: &Scratch, unsigned: Unsigned, bound: Vec<Bound>) -> Self {
        Self::attempt(scratch, unsigned, bound).expect("what served serves")
    }

    /// A start that may be refused.
    pub fn attempt(scratch: &Scratch, unsigned: Unsigned, bound: Vec<Bound>) -> Result<Self, LifecycleError> {
        let profiles = bound.iter().map(|bound| (bound.profile.clone(), bound.options.clone())).collect();
        let clock = Clock::new("Asia/Shanghai").expect("a zone");
        let data = scratch.dir("data");
        let identity = Identity { station: "test".into(), epoch: 1 };
        let journal = Journal::open(&scratch.path("data"), &Options { identity, now_ms: clock.now_ms() });
        let journal = journal.expect("the journal opens");
        let views = Views::open(&scratch.path("data"), &journal, &clock).expect("the views open");
        assert!(views.wait_caught_up(journal.health().last_seq, Duration::from_secs(60)));
        let catalog = Arc::new(Catalog::open(Some(scratch.dir("data/compiled")), Arc::new(NoKeys)).expect("opens"));
        let parts = Parts {
            catalog: catalog.clone(),
            journal: journal.clone(),
            clock,
            data,
            store: scratch.dir("data/store"),
            dropins: scratch.dir("adapters"),
            unsigned,
            bound,
            profiles,
        };
        let lifecycle = Lifecycle::open(parts, &views).expect("the lifecycle opens");
        let shop = Self { lifecycle, catalog, views, journal };
        match shop.lifecycle.resume() {
            Ok(()) => Ok(shop),
            Err(error) => {
                shop.shut();
                Err(error)
            }
        }
    }

    pub fn shut(self) {
        drop(self.lifecycle);
        self.journal.close();
        self.views.close();
    }

    /// Looks at the trust file and the directory; gives what happened since the last call, oldest first.
    pub fn look(&self) -> Vec<String> {
        let seen = self.journal.health().last_seq;
        self.lifecycle.follow_trust();
        self.lifecycle.follow_dropins().expect("the directory can be read");
        let steps = self.steps();
        steps.into_iter().filter(|(seq, _)| *seq > seen.0).map(|(_, step)| step).collect()
    }

    /// What is done while the journal's newest file is gone, so that nothing can be told; then it is back, and well.
    pub fn without_journal(&self, scratch: &Scratch, act: impl FnOnce()) {
        let newest = scratch.names("data/journal").into_iter().filter(|name| name.ends_with("redb")).max();
        let file = scratch.path("data/journal").join(newest.expect("a file"));
        let aside = scratch.path("aside");
        std::fs::rename(&file, &aside).expect("moves");
        act();
        std::fs::rename(&aside, &file).expect("moves back");
        wait_until("the journal is well", || self.journal.health().failing.is_none().then_some(()));
    }

    /// All steps so far, as `name version state`, oldest first; those on the way to conformed are left out.
    pub fn steps(&self) -> Vec<(u64, String)> {
        assert!(self.views.wait_caught_up(self.journal.health().last_seq, Duration::from_secs(60)));
        let mut steps = self.views.adapter_history(None, None, usize::MAX).expect("a history");
        steps.reverse();
        let in_words = |event: &polymeter::views::AdapterEvent| {
            let state = event.fact.step.state().name();
            format!("{} {} {state}", event.fact.name, event.fact.version).replace("  ", " ")
        };
        let matters = |step: &(u64, String)| {
            let state = step.1.rsplit(' ').next().unwrap_or_default();
            !matches!(state, "staged" | "verified" | "inspected" | "compiled" | "draining")
        };
        steps.iter().map(|event| (event.seq.0, in_words(event))).filter(matters).collect()
    }

    pub fn install(&self, bytes: &[u8]) -> Result<AdapterRow, LifecycleError> {
        self.bring(bytes, None)
    }

    pub fn bring(&self, bytes: &[u8], downgrade: Option<&str>) -> Result<AdapterRow, LifecycleError> {
        self.lifecycle.install(&Delivery { file: "a.wasm", bytes, by: BY, dropped_in: false, downgrade })
    }

    /// Installs and puts into service.
    pub fn serve(&self, bytes: &[u8]) -> Result<AdapterRow, LifecycleError> {
        let row = self.install(bytes)?;
        self.lifecycle.activate(&row.digest.to_string(), &order(""))
    }

    pub fn state(&self, bytes: &[u8]) -> &'static str {
        self.lifecycle.row(&Digest::of(bytes)).map_or("unknown", |row| row.state.name())
    }

    /// Version that serves the name.
    pub fn serves(&self, name: &str) -> Option<String> {
        self.catalog.active(name).map(|adapter| adapter.version().to_owned())
    }
}

/// With this reason, by the one who asks in tests.
pub fn order(reason: &str) -> Order<'_> {
    Order { by: BY, reason, downgrade: false }
}
