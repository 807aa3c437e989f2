//! Frames that no adapter could decode, kept until one can.
//!
//! ```text
//! quarantine         (u64 seq, u32 part or 0)               -> postcard of QuarantineRow
//! quarantine_counts  (adapter name or empty, fault's name)  -> u64
//! ```
//! The bytes stay in the journal; a row tells where and why.

use super::devices::Page;
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{AdapterRef, FaultKind};
use crate::limits;
use crate::model::{DeviceKey, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const VIEW: &str = "quarantine";
pub(super) const QUARANTINE: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("quarantine");
pub(super) const COUNTS: TableDefinition<(&str, &str), u64> = TableDefinition::new("quarantine_counts");

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// The entry that has its bytes: of the frame, or of what could read it later.
    pub seq: Seq,
    /// 0: the frame. Otherwise that part of what the entry says was behind its sender.
    pub part: u32,
    /// The frame, and when it came.
    pub frame: Seq,
    pub at_ms: i64,
    pub listener: String,
    pub peer: String,
    pub device: Option<DeviceKey>,
    /// The adapter that failed last; `None`: none took it.
    pub adapter: Option<AdapterRef>,
    pub kind: FaultKind,
    pub detail: String,
    /// Length of the frame.
    pub bytes: usize,
}

/// Which frames are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuarantineFilter {
    /// Name of the adapter that failed; empty: frames that none took.
    pub adapter: Option<String>,
    pub listener: Option<String>,
    pub kind: Option<FaultKind>,
}

/// Frames in quarantine, by what failed how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuarantineCount {
    pub adapter: String,
    pub kind: String,
    pub frames: u64,
}

pub(super) fn list(
    snapshot: &Snapshot,
    filter: &QuarantineFilter,
    after: Option<&str>,
    rows_max: usize,
) -> Result<Page<QuarantineRow>> {
    let start = match after {
        Some(place) => next_place(place).ok_or_else(|| ViewError::Place(place.to_owned()))?,
        None => (0, 0),
    };
    let mut page = Page { rows: Vec::new(), next: None };
    let mut last = None;
    for row in snapshot.table(QUARANTINE)?.range(start..).map_err(ViewError::store)? {
        let (seq, bytes) = row.map_err(ViewError::store)?;
        if page.rows.len() == rows_max {
            page.next = last;
            break;
        }
        let row: QuarantineRow = unpack(VIEW, bytes.value())?;
        let (entry, part) = seq.value();
        last = Some(format!("{entry}.{part}"));
        let adapter = row.adapter.as_ref().map_or("", |a| &a.name);
        let wanted = filter.adapter.as_ref().is_none_or(|name| name == adapter)
            && filter.listener.as_ref().is_none_or(|name| *name == row.listener)
            && filter.kind.is_none_or(|kind| kind == row.kind);
        if wanted {
            page.rows.push(row);
        }
    }
    Ok(page)
}

pub(super) fn counts(snapshot: &Snapshot) -> Result<Vec<QuarantineCount>> {
    let mut counts = Vec::new();
    for row in snapshot.table(COUNTS)?.iter().map_err(ViewError::store)? {
        let (key, frames) = row.map_err(ViewError::store)?;
        let (adapter, kind) = key.value();
        let (adapter, kind) = (adapter.to_owned(), kind.to_owned());
        counts.push(QuarantineCount { adapter, kind, frames: frames.value() });
    }
    Ok(counts)
}

/// Quarantine's changes in one batch. The set of frames is held in memory, so that its bound is exact at every entry
/// and does not depend on where batches end.
#[derive(Default)]
pub(super) struct Fold {
    /// Frames in quarantine now.
    held: BTreeSet<(u64, u32)>,
    /// `None`: removed.
    changed: BTreeMap<(u64, u32), Option<QuarantineRow>>,
    counts: BTreeMap<(String, &'static str), i64>,
}

impl Fold {
    pub fn load(snapshot: &Snapshot) -> Result<Self> {
        let mut fold = Self::default();
        for row in snapshot.table(QUARANTINE)?.iter().map_err(ViewError::store)? {
            fold.held.insert(row.map_err(ViewError::store)?.0.value());
        }
        Ok(fold)
    }

    pub fn add(&mut self, snapshot: &Snapshot, row: QuarantineRow) -> Result<()> {
        self.put(row);
        while self.held.len() > limits::QUARANTINE_FRAMES_MAX {
            let Some(oldest) = self.held.first().copied() else { break };
            self.take(snapshot, oldest)?;
        }
        Ok(())
    }

    /// Another adapter failed as well, or says whose it is who is not let in.
    pub fn failed_again(
        &mut self,
        snapshot: &Snapshot,
        place: (u64, u32),
        (by, device): (Option<AdapterRef>, Option<&DeviceKey>),
        (kind, detail): (FaultKind, &str),
    ) -> Result<()> {
        if let Some(mut row) = self.take(snapshot, place)? {
            match (&mut row.adapter, by) {
                (Some(before), Some(by)) => before.digest = by.digest,
                (before, by) => *before = before.take().or(by),
            }
            row.device = device.cloned().or(row.device);
            (row.kind, row.detail) = (kind, detail.to_owned());
            self.put(row);
        }
        Ok(())
    }

    pub fn holds(&self, place: (u64, u32)) -> bool {
        self.held.contains(&place)
    }

    fn put(&mut self, row: QuarantineRow) {
        *self.counts.entry(count_key(&row)).or_default() += 1;
        let place = (row.seq.0, row.part);
        self.held.insert(place);
        self.changed.insert(place, Some(row));
    }

    /// Removes a frame; `None`: it is not in quarantine.
    pub fn take(&mut self, snapshot: &Snapshot, place: (u64, u32)) -> Result<Option<QuarantineRow>> {
        if !self.held.remove(&place) {
            return Ok(None);
        }
        let row = match self.changed.remove(&place).flatten() {
            Some(row) => row,
            None => match snapshot.table(QUARANTINE)?.get(place).map_err(ViewError::store)? {
                Some(bytes) => unpack(VIEW, bytes.value())?,
                None => return Err(ViewError::Damaged { view: VIEW }),
            },
        };
        *self.counts.entry(count_key(&row)).or_default() -= 1;
        self.changed.insert(place, None);
        Ok(Some(row))
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(QUARANTINE).map_err(ViewError::store)?;
        for (seq, row) in std::mem::take(&mut self.changed) {
            match row {
                Some(row) => table.insert(seq, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?,
                None => table.remove(seq).map_err(ViewError::store)?,
            };
        }
        let mut counts = txn.open_table(COUNTS).map_err(ViewError::store)?;
        for ((adapter, kind), change) in std::mem::take(&mut self.counts) {
            let key = (&adapter[..], kind);
            let before = counts.get(key).map_err(ViewError::store)?.map_or(0, |v| v.value());
            match before.saturating_add_signed(change) {
                0 => counts.remove(key).map_err(ViewError::store)?,
                now => counts.insert(key, now).map_err(ViewError::store)?,
            };
        }
        Ok(())
    }
}

/// The place after `entry.part`.
fn next_place(place: &str) -> Option<(u64, u32)> {
    let (entry, part) = place.split_once('.')?;
    let (entry, part): (u64, u32) = (entry.parse().ok()?, part.parse().ok()?);
    Some((entry, part.checked_add(1)?))
}

fn count_key(row: &QuarantineRow) -> (String, &'static str) {
    (row.adapter.as_ref().map_or_else(String::new, |a| a.name.clone()), row.kind.name())
}
