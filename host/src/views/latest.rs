//! The last reports of the fleet, for a page that shows what comes in.
//!
//! ```text
//! latest  (u64 seq, u32 position)  -> postcard of Row
//! ```

use super::devices;
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::limits;
use crate::model::{Civil, DeviceKey, Register, Report, ReportCause, Seq, ValveStatus};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const VIEW: &str = "latest";
pub(super) const LATEST: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("latest");

/// Registers that a row shows.
const REGISTERS_MAX: usize = 8;

/// One report, shortened.
#[derive(Clone, PartialEq, Debug)]
pub struct LatestReport {
    /// The frame.
    pub seq: Seq,
    pub device: DeviceKey,
    pub received_ms: i64,
    pub cause: ReportCause,
    pub at: Option<Civil>,
    /// The first ones.
    pub registers: Vec<Register>,
    /// How many values the report has in all.
    pub values: u64,
    pub valve: Option<ValveStatus>,
    pub alarms: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Row {
    device: u32,
    received_ms: i64,
    cause: ReportCause,
    at: Option<Civil>,
    registers: Vec<Register>,
    values: u64,
    valve: Option<ValveStatus>,
    alarms: Vec<String>,
}

/// Newest first.
pub(super) fn list(snapshot: &Snapshot, rows_max: usize) -> Result<Vec<LatestReport>> {
    let mut rows = Vec::new();
    for row in snapshot.table(LATEST)?.iter().map_err(ViewError::store)?.rev().take(rows_max) {
        let (place, bytes) = row.map_err(ViewError::store)?;
        let row: Row = unpack(VIEW, bytes.value())?;
        rows.push(LatestReport {
            seq: Seq(place.value().0),
            device: devices::key_of(snapshot, row.device)?.ok_or(ViewError::Damaged { view: VIEW })?,
            received_ms: row.received_ms,
            cause: row.cause,
            at: row.at,
            registers: row.registers,
            values: row.values,
            valve: row.valve,
            alarms: row.alarms,
        });
    }
    Ok(rows)
}

/// The last reports of one batch, by place: a frame that was decoded again is old although it comes late.
#[derive(Default)]
pub(super) struct Fold(BTreeMap<(u64, u32), Row>);

impl Fold {
    pub fn add(&mut self, place: (u64, u32), device: u32, received_ms: i64, report: &Report) {
        if self.0.len() == limits::LATEST_REPORTS_MAX {
            if self.0.first_key_value().is_some_and(|(first, _)| place < *first) {
                return;
            }
            self.0.pop_first();
        }
        let values = report.registers.len() + report.series.iter().map(|s| s.samples.len()).sum::<usize>();
        let row = Row {
            device,
            received_ms,
            cause: report.cause,
            at: report.at,
            registers: report.registers.iter().take(REGISTERS_MAX).cloned().collect(),
            values: values as u64,
            valve: report.valve.clone(),
            alarms: report.alarms.clone(),
        };
        self.0.insert(place, row);
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(LATEST).map_err(ViewError::store)?;
        for (place, row) in std::mem::take(&mut self.0) {
            table.insert(place, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
        }
        while table.len().map_err(ViewError::store)? > limits::LATEST_REPORTS_MAX as u64 {
            table.pop_first().map_err(ViewError::store)?;
        }
        Ok(())
    }
}
