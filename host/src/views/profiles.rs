//! Profiles: every version of each, whom they are bound to, and who decided what.
//!
//! ```text
//! profiles          (name, version)              -> postcard of ProfileRow
//! profile_bindings  (adapter, kind, listener …)  -> postcard of BindingRow
//! profile_removals  name                         -> postcard of ProfileEvent; what has a newer version is there again
//! profile_history   u64 seq                      -> postcard of ProfileEvent
//! ```

use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{Fact, ProfileFact, ProfileScope, ProfileStep, Retold};
use crate::model::Seq;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const VIEW: &str = "profiles";
pub(super) const PROFILES: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("profiles");
pub(super) const BINDINGS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("profile_bindings");
pub(super) const REMOVALS: TableDefinition<&str, &[u8]> = TableDefinition::new("profile_removals");
pub(super) const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("profile_history");

/// One version of a profile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProfileRow {
    pub name: String,
    pub version: u32,
    pub adapter: String,
    /// JSON.
    pub options: String,
    pub by: String,
    pub why: String,
    pub since_ms: i64,
    pub seq: Seq,
}

/// Whom a profile is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BindingRow {
    pub adapter: String,
    pub to: ProfileScope,
    pub profile: String,
    pub by: String,
    pub why: String,
    pub since_ms: i64,
    pub seq: Seq,
}

/// One decision.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProfileEvent {
    pub seq: Seq,
    /// When it was said first.
    pub at_ms: i64,
    pub fact: ProfileFact,
}

impl ProfileEvent {
    /// The last version of what was removed; `None`: nothing was.
    fn removed(&self) -> Option<u32> {
        match self.fact.step {
            ProfileStep::Removed { version } => Some(version),
            _ => None,
        }
    }

    fn again(self) -> Fact {
        let Self { seq, at_ms, fact } = self;
        Fact::Profile(ProfileFact { retold: Some(Retold { seq, at_ms }), ..fact })
    }
}

impl ProfileRow {
    /// As AdapterRef names it.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// What a `Set` makes; `None`: it is none.
    pub fn told(fact: &ProfileFact, seq: Seq, at_ms: i64) -> Option<Self> {
        let ProfileStep::Set { version, options } = &fact.step else { return None };
        let ProfileFact { profile: name, adapter, by, why, .. } = fact.clone();
        let (version, options, since_ms) = (*version, options.clone(), first_said(fact, at_ms));
        Some(Self { name, version, adapter, options, by, why, since_ms, seq })
    }

    fn again(self) -> Fact {
        let Self { name, version, adapter, options, by, why, since_ms, seq } = self;
        let (step, retold) = (ProfileStep::Set { version, options }, Some(Retold { seq, at_ms: since_ms }));
        Fact::Profile(ProfileFact { profile: name, adapter, step, by, why, retold })
    }
}

impl BindingRow {
    /// What a `Bound` makes; `None`: it is none.
    pub fn told(fact: &ProfileFact, seq: Seq, at_ms: i64) -> Option<Self> {
        let ProfileStep::Bound { to } = &fact.step else { return None };
        let ProfileFact { profile, adapter, by, why, .. } = fact.clone();
        Some(Self { adapter, to: to.clone(), profile, by, why, since_ms: first_said(fact, at_ms), seq })
    }

    fn again(self) -> Fact {
        let Self { adapter, to, profile, by, why, since_ms, seq } = self;
        let (step, retold) = (ProfileStep::Bound { to }, Some(Retold { seq, at_ms: since_ms }));
        Fact::Profile(ProfileFact { profile, adapter, step, by, why, retold })
    }
}

fn first_said(fact: &ProfileFact, at_ms: i64) -> i64 {
    fact.retold.map_or(at_ms, |retold| retold.at_ms)
}

/// All versions of all profiles, by name.
pub(super) fn list(snapshot: &Snapshot) -> Result<Vec<ProfileRow>> {
    let table = snapshot.table(PROFILES)?;
    table.iter().map_err(ViewError::store)?.map(|row| unpack(VIEW, row.map_err(ViewError::store)?.1.value())).collect()
}

pub(super) fn bindings(snapshot: &Snapshot) -> Result<Vec<BindingRow>> {
    let table = snapshot.table(BINDINGS)?;
    table.iter().map_err(ViewError::store)?.map(|row| unpack(VIEW, row.map_err(ViewError::store)?.1.value())).collect()
}

fn removals(snapshot: &Snapshot) -> Result<Vec<ProfileEvent>> {
    let table = snapshot.table(REMOVALS)?;
    table.iter().map_err(ViewError::store)?.map(|row| unpack(VIEW, row.map_err(ViewError::store)?.1.value())).collect()
}

/// The last version of each profile that was removed, whether or not there are newer ones since.
pub(super) fn last_removed(snapshot: &Snapshot) -> Result<BTreeMap<String, u32>> {
    let last = |event: ProfileEvent| event.removed().map(|version| (event.fact.profile, version));
    Ok(removals(snapshot)?.into_iter().filter_map(last).collect())
}

pub(super) fn version(snapshot: &Snapshot, name: &str, version: u32) -> Result<Option<ProfileRow>> {
    match snapshot.table(PROFILES)?.get((name, version)).map_err(ViewError::store)? {
        Some(bytes) => unpack(VIEW, bytes.value()).map(Some),
        None => Ok(None),
    }
}

/// Decisions about one profile, newest first.
pub(super) fn history(
    snapshot: &Snapshot,
    name: &str,
    before: Option<Seq>,
    rows_max: usize,
) -> Result<Vec<ProfileEvent>> {
    let end = before.map_or(u64::MAX, |seq| seq.0);
    let mut rows = Vec::new();
    for row in snapshot.table(HISTORY)?.range(..end).map_err(ViewError::store)?.rev() {
        if rows.len() == rows_max {
            break;
        }
        let row: ProfileEvent = unpack(VIEW, row.map_err(ViewError::store)?.1.value())?;
        if row.fact.profile == name {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// What was said before that entry and still counts, to be said again. A version may be named by any frame, so all of them.
pub(super) fn standing_before(snapshot: &Snapshot, before: Seq) -> Result<Vec<Fact>> {
    let profiles = list(snapshot)?.into_iter().filter(|row| row.seq < before).map(ProfileRow::again);
    let bindings = bindings(snapshot)?.into_iter().filter(|row| row.seq < before).map(BindingRow::again);
    let removals = removals(snapshot)?.into_iter().filter(|event| event.seq < before).map(ProfileEvent::again);
    Ok(profiles.chain(bindings).chain(removals).collect())
}

/// Decisions of one batch.
#[derive(Default)]
pub(super) struct Fold(Vec<ProfileEvent>);

impl Fold {
    pub fn apply(&mut self, fact: &ProfileFact, seq: Seq, at_ms: i64) {
        self.0.push(ProfileEvent { seq, at_ms: first_said(fact, at_ms), fact: fact.clone() });
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut profiles = txn.open_table(PROFILES).map_err(ViewError::store)?;
        let mut bindings = txn.open_table(BINDINGS).map_err(ViewError::store)?;
        let mut removals = txn.open_table(REMOVALS).map_err(ViewError::store)?;
        let mut history = txn.open_table(HISTORY).map_err(ViewError::store)?;
        for event in self.0.drain(..) {
            let ProfileEvent { seq, at_ms, fact } = &event;
            if let Some(Retold { seq: before, .. }) = fact.retold {
                history.remove(before.0).map_err(ViewError::store)?;
            }
            history.insert(seq.0, &pack(VIEW, &event)?[..]).map_err(ViewError::store)?;
            if let Some(row) = ProfileRow::told(fact, *seq, *at_ms) {
                profiles.insert((&row.name[..], row.version), &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
            }
            if let Some(row) = BindingRow::told(fact, *seq, *at_ms) {
                let key = (&row.adapter[..], row.to.kind(), row.to.name());
                bindings.insert(key, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
            }
            if let ProfileStep::Unbound { from } = &fact.step {
                bindings.remove((&fact.adapter[..], from.kind(), from.name())).map_err(ViewError::store)?;
            }
            if event.removed().is_some() {
                let known = match removals.get(&fact.profile[..]).map_err(ViewError::store)? {
                    Some(bytes) => unpack::<ProfileEvent>(VIEW, bytes.value())?.removed(),
                    None => None,
                };
                // One that is told again may be older than the last.
                if known <= event.removed() {
                    removals.insert(&fact.profile[..], &pack(VIEW, &event)?[..]).map_err(ViewError::store)?;
                }
            }
        }
        Ok(())
    }
}
