//! Adapters: which are active, which were, and every step of theirs.
//!
//! ```text
//! adapters         SHA-256 of the component  -> postcard of AdapterRow
//! adapter_history  u64 seq                   -> postcard of AdapterEvent
//! ```

use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{AdapterFact, AdapterOrigin, AdapterStanding, AdapterState, AdapterStep};
use crate::model::{Digest, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

pub(super) const VIEW: &str = "adapters";
pub(super) const ADAPTERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("adapters");
pub(super) const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("adapter_history");

/// Fewer digits of a digest name nobody.
pub const DIGEST_DIGITS_MIN: usize = 6;

/// One component and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdapterRow {
    pub digest: Digest,
    pub name: String,
    pub version: String,
    pub origin: AdapterOrigin,
    pub state: AdapterState,
    /// Why it is in this state.
    pub why: String,
    pub since_ms: i64,
    /// Who brought it into this state.
    pub by: String,
    /// The entry that says so.
    pub seq: Seq,
    pub first_ms: i64,
    /// When it last began to serve; `None`: never.
    pub served_ms: Option<i64>,
}

impl AdapterRow {
    pub fn is_active(&self) -> bool {
        self.state == AdapterState::Active
    }

    /// Whether somebody means it by the first digits of its digest.
    pub fn is_digest(&self, text: &str) -> bool {
        text.len() >= DIGEST_DIGITS_MIN && self.digest.to_string().starts_with(text)
    }

    /// What the entry `seq` makes of what was known.
    pub fn after(before: Option<Self>, fact: &AdapterFact, seq: Seq, at_ms: i64) -> Self {
        let (mut origin, mut first_ms, mut served_ms) =
            before.map_or_else(|| (AdapterOrigin::default(), at_ms, None), |b| (b.origin, b.first_ms, b.served_ms));
        let mut since_ms = at_ms;
        let state = fact.step.state();
        match &fact.step {
            AdapterStep::Brought(brought) => origin.clone_from(brought),
            AdapterStep::Standing(standing) => {
                origin.clone_from(&standing.origin);
                (since_ms, first_ms, served_ms) = (standing.since_ms, standing.first_ms, standing.served_ms);
            }
            _ if state == AdapterState::Active => served_ms = Some(at_ms),
            _ => {}
        }
        let AdapterFact { name, version, digest, step, by } = fact.clone();
        let why = step.why();
        Self { digest, name, version, origin, state, why, since_ms, by, seq, first_ms, served_ms }
    }

    /// All of it, to be told again.
    pub fn standing(self) -> AdapterFact {
        let Self { digest, name, version, origin, state, why, since_ms, by, first_ms, served_ms, .. } = self;
        let step = AdapterStep::Standing(AdapterStanding { origin, state, why, since_ms, first_ms, served_ms });
        AdapterFact { name, version, digest, step, by }
    }
}

/// One step of one adapter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdapterEvent {
    pub seq: Seq,
    pub at_ms: i64,
    pub fact: AdapterFact,
}

/// All that the journal tells of, by name and then by when they came.
pub(super) fn list(snapshot: &Snapshot) -> Result<Vec<AdapterRow>> {
    let mut rows: Vec<AdapterRow> = Vec::new();
    for row in snapshot.table(ADAPTERS)?.iter().map_err(ViewError::store)? {
        rows.push(unpack(VIEW, row.map_err(ViewError::store)?.1.value())?);
    }
    rows.sort_by(|a, b| (&a.name, a.first_ms, a.seq).cmp(&(&b.name, b.first_ms, b.seq)));
    Ok(rows)
}

/// Newest first; of one adapter, or of all.
pub(super) fn history(
    snapshot: &Snapshot,
    name: Option<&str>,
    before: Option<Seq>,
    rows_max: usize,
) -> Result<Vec<AdapterEvent>> {
    let end = before.map_or(u64::MAX, |seq| seq.0);
    let mut rows = Vec::new();
    for row in snapshot.table(HISTORY)?.range(..end).map_err(ViewError::store)?.rev() {
        if rows.len() == rows_max {
            break;
        }
        let row: AdapterEvent = unpack(VIEW, row.map_err(ViewError::store)?.1.value())?;
        if name.is_none_or(|name| name == row.fact.name) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Steps of one batch.
#[derive(Default)]
pub(super) struct Fold(Vec<AdapterEvent>);

impl Fold {
    pub fn apply(&mut self, fact: &AdapterFact, seq: Seq, at_ms: i64) {
        self.0.push(AdapterEvent { seq, at_ms, fact: fact.clone() });
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut adapters = txn.open_table(ADAPTERS).map_err(ViewError::store)?;
        let mut history = txn.open_table(HISTORY).map_err(ViewError::store)?;
        for event in self.0.drain(..) {
            history.insert(event.seq.0, &pack(VIEW, &event)?[..]).map_err(ViewError::store)?;
            let AdapterEvent { seq, at_ms, fact } = event;
            let before: Option<AdapterRow> = match adapters.get(&fact.digest.0).map_err(ViewError::store)? {
                Some(bytes) => Some(unpack(VIEW, bytes.value())?),
                None => None,
            };
            let row = AdapterRow::after(before, &fact, seq, at_ms);
            adapters.insert(&row.digest.0, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
        }
        Ok(())
    }
}
