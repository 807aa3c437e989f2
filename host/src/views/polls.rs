//! Rounds of polls: when they began, whom they have asked, and what came back.
//!
//! ```text
//! poll_rounds  (poll, when it was due, civil seconds)  -> postcard of Stored
//! ```
//! What a round asked are commands that name it; they are counted here as they are ordered and as they end. Only the last
//! rounds of a poll are kept.

use super::commands::{CommandRow, CommandState};
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{PollFact, PollStep};
use crate::limits::POLL_ROUNDS_KEPT_MAX;
use crate::model::{Civil, DeviceKey, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

pub(super) const VIEW: &str = "polls";
pub(super) const ROUNDS: TableDefinition<(&str, i64), &[u8]> = TableDefinition::new("poll_rounds");

/// One round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoundRow {
    /// When it was due; with the poll's name it names the round.
    pub due: Civil,
    pub told: RoundTold,
}

/// What is known of a round.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RoundTold {
    /// `None`: it was not held.
    pub begun_ms: Option<i64>,
    /// Who wanted it; empty: its schedule.
    pub by: String,
    pub asked: u64,
    pub answered: u64,
    /// Refused, failed, expired, cancelled or left open.
    pub failed: u64,
    /// The last device that was asked, in the order of keys.
    pub last: Option<DeviceKey>,
    /// Everybody was asked.
    pub asked_all_ms: Option<i64>,
    /// Why it was not held, or, where it had begun, was given up.
    pub skipped: String,
    /// The entry that began it, or said that it is not held; 0: the journal has dropped that.
    pub told: u64,
}

impl RoundTold {
    /// Commands that are still under way.
    pub fn waiting(&self) -> u64 {
        self.asked.saturating_sub(self.answered + self.failed)
    }

    /// Everybody was asked and every command has ended.
    pub fn is_over(&self) -> bool {
        !self.skipped.is_empty() || self.begun_ms.is_none() || (self.asked_all_ms.is_some() && self.waiting() == 0)
    }
}

/// Newest first, as they were told: by a clock that was ahead some were due later than newer ones.
pub(super) fn rounds(snapshot: &Snapshot, poll: &str, rows_max: usize) -> Result<Vec<RoundRow>> {
    let mut rows = all(&snapshot.table(ROUNDS)?, poll)?;
    rows.truncate(rows_max);
    Ok(rows)
}

fn all(table: &impl ReadableTable<(&'static str, i64), &'static [u8]>, poll: &str) -> Result<Vec<RoundRow>> {
    let mut rows = Vec::new();
    for row in table.range((poll, i64::MIN)..=(poll, i64::MAX)).map_err(ViewError::store)? {
        let (key, bytes) = row.map_err(ViewError::store)?;
        rows.push(RoundRow { due: Civil(key.value().1), told: unpack(VIEW, bytes.value())? });
    }
    rows.sort_unstable_by_key(|row: &RoundRow| Reverse((row.told.told, row.due)));
    Ok(rows)
}

/// Rounds that a batch touches.
#[derive(Default)]
pub(super) struct Fold {
    changed: BTreeMap<(String, i64), RoundTold>,
}

impl Fold {
    pub fn apply(&mut self, snapshot: &Snapshot, fact: &PollFact, seq: Seq, at_ms: i64) -> Result<()> {
        let row = self.row(snapshot, &fact.round.poll, fact.round.due.0)?;
        if !matches!(fact.step, PollStep::Asked) {
            row.told = seq.0;
        }
        match &fact.step {
            PollStep::Begun { by } => {
                if row.begun_ms.is_some() {
                    // It had been given up, and asks everybody now that its time has come.
                    (row.last, row.asked_all_ms) = (None, None);
                }
                row.begun_ms = Some(at_ms);
                row.by.clone_from(by);
                row.skipped.clear();
            }
            PollStep::Asked => row.asked_all_ms = Some(at_ms),
            PollStep::Skipped { why } => row.skipped.clone_from(why),
        }
        Ok(())
    }

    /// A step of a command, which may be a poll's.
    pub fn command(&mut self, snapshot: &Snapshot, command: &CommandRow, before: CommandState) -> Result<()> {
        let Some(round) = &command.round else { return Ok(()) };
        let is_new = command.steps.len() == 1;
        let ended = is_over(command.state) && (is_new || !is_over(before));
        if !is_new && !ended {
            return Ok(());
        }
        let row = self.row(snapshot, &round.poll, round.due.0)?;
        if is_new {
            row.asked += 1;
            row.last = row.last.take().max(Some(command.device.clone()));
        }
        if ended {
            match command.state {
                CommandState::Done => row.answered += 1,
                _ => row.failed += 1,
            }
        }
        Ok(())
    }

    fn row(&mut self, snapshot: &Snapshot, poll: &str, due: i64) -> Result<&mut RoundTold> {
        let place = (poll.to_owned(), due);
        if !self.changed.contains_key(&place) {
            let row = match snapshot.table(ROUNDS)?.get((poll, due)).map_err(ViewError::store)? {
                Some(bytes) => unpack(VIEW, bytes.value())?,
                None => RoundTold::default(),
            };
            self.changed.insert(place.clone(), row);
        }
        Ok(self.changed.entry(place).or_default())
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(ROUNDS).map_err(ViewError::store)?;
        for ((poll, due), row) in std::mem::take(&mut self.changed) {
            table.insert((&poll[..], due), &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
            for old in all(&table, &poll)?.into_iter().skip(POLL_ROUNDS_KEPT_MAX) {
                table.remove((&poll[..], old.due.0)).map_err(ViewError::store)?;
            }
        }
        Ok(())
    }
}

/// An unconfirmed read tells its poll nothing more.
fn is_over(state: CommandState) -> bool {
    state.is_final() || state == CommandState::Unconfirmed
}
