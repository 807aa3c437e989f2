//! What was received: per day and adapter, and per minute of the last two days.
//!
//! ```text
//! days      (i32 day of the fleet's zone, adapter name or empty)  -> postcard of Counts
//! arrivals  i64 minute since 1970 UTC                            -> postcard of Arrivals
//! ```

use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::model::{Day, Message};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const VIEW: &str = "days";
pub(super) const DAYS: TableDefinition<(i32, &str), &[u8]> = TableDefinition::new("days");
pub(super) const ARRIVALS: TableDefinition<i64, &[u8]> = TableDefinition::new("arrivals");

/// Minutes that are kept.
const MINUTES_KEPT: i64 = 2 * 24 * 60;
const MINUTE_MS: i64 = 60_000;

/// One day of one adapter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DayRow {
    pub day: Day,
    /// Empty: frames that no adapter took.
    pub adapter: String,
    pub counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub frames: u64,
    pub bytes: u64,
    pub faults: u64,
    /// Frames repeated inside a session; not counted further.
    pub duplicates: u64,
    /// Frames of devices that are held; counted further once adopted.
    pub held: u64,
    /// Frames that a later adapter could decode.
    pub redecoded: u64,
    pub registrations: u64,
    pub heartbeats: u64,
    pub reports: u64,
    pub events: u64,
    pub answers: u64,
    pub relayed: u64,
    pub unknown: u64,
    /// Values inside the reports, as they came.
    pub values: u64,
    /// Reports for a meter whose address is none.
    pub unplaced: u64,
    /// Devices whose first report of the day came through it.
    pub devices: u64,
}

/// One minute of all adapters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Arrivals {
    pub frames: u64,
    pub reports: u64,
    pub faults: u64,
}

impl Counts {
    pub fn message(&mut self, message: &Message) {
        match message {
            Message::Registration(_) => self.registrations += 1,
            Message::Heartbeat(_) => self.heartbeats += 1,
            Message::Report(_) => self.reports += 1,
            Message::Event(_) => self.events += 1,
            Message::Answer(_) => self.answers += 1,
            Message::Relayed(_) => self.relayed += 1,
            Message::Unknown { .. } => self.unknown += 1,
            Message::EndOfSession => {}
        }
    }

    fn add(&mut self, more: &Self) {
        for (sum, part) in self.all().into_iter().zip(more.clone().all()) {
            *sum += *part;
        }
    }

    fn all(&mut self) -> [&mut u64; 16] {
        [
            &mut self.frames,
            &mut self.bytes,
            &mut self.faults,
            &mut self.duplicates,
            &mut self.held,
            &mut self.redecoded,
            &mut self.registrations,
            &mut self.heartbeats,
            &mut self.reports,
            &mut self.events,
            &mut self.answers,
            &mut self.relayed,
            &mut self.unknown,
            &mut self.values,
            &mut self.unplaced,
            &mut self.devices,
        ]
    }
}

/// Days between two, both included.
pub(super) fn list(snapshot: &Snapshot, from: Day, to: Day) -> Result<Vec<DayRow>> {
    let mut rows = Vec::new();
    let end = to.0.saturating_add(1);
    for row in snapshot.table(DAYS)?.range((from.0, "")..(end, "")).map_err(ViewError::store)? {
        let (key, bytes) = row.map_err(ViewError::store)?;
        let (day, adapter) = key.value();
        rows.push(DayRow { day: Day(day), adapter: adapter.to_owned(), counts: unpack(VIEW, bytes.value())? });
    }
    Ok(rows)
}

/// Minutes with arrivals from a moment on: start of the minute (UTC, ms) and what came.
pub(super) fn arrivals(snapshot: &Snapshot, since_ms: i64) -> Result<Vec<(i64, Arrivals)>> {
    let mut rows = Vec::new();
    for row in snapshot.table(ARRIVALS)?.range(since_ms.div_euclid(MINUTE_MS)..).map_err(ViewError::store)? {
        let (minute, bytes) = row.map_err(ViewError::store)?;
        rows.push((minute.value() * MINUTE_MS, unpack(VIEW, bytes.value())?));
    }
    Ok(rows)
}

/// What one batch adds.
#[derive(Default)]
pub(super) struct Fold {
    /// A handful: searched from the end, where the last frame's was.
    days: Vec<(Day, String, Counts)>,
    minutes: BTreeMap<i64, Arrivals>,
}

impl Fold {
    /// The counts of a day and an adapter.
    pub fn day(&mut self, day: Day, adapter: &str) -> &mut Counts {
        let at = self.days.iter().rposition(|(d, name, _)| *d == day && name == adapter).unwrap_or_else(|| {
            self.days.push((day, adapter.to_owned(), Counts::default()));
            self.days.len() - 1
        });
        &mut self.days[at].2
    }

    pub fn minute(&mut self, at_ms: i64) -> &mut Arrivals {
        self.minutes.entry(at_ms.div_euclid(MINUTE_MS)).or_default()
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        let mut days = txn.open_table(DAYS).map_err(ViewError::store)?;
        for (Day(day), adapter, more) in self.days.drain(..) {
            let mut counts: Counts = match days.get((day, &adapter[..])).map_err(ViewError::store)? {
                Some(bytes) => unpack(VIEW, bytes.value())?,
                None => Counts::default(),
            };
            counts.add(&more);
            days.insert((day, &adapter[..]), &pack(VIEW, &counts)?[..]).map_err(ViewError::store)?;
        }
        let mut minutes = txn.open_table(ARRIVALS).map_err(ViewError::store)?;
        for (minute, more) in std::mem::take(&mut self.minutes) {
            let mut sum: Arrivals = match minutes.get(minute).map_err(ViewError::store)? {
                Some(bytes) => unpack(VIEW, bytes.value())?,
                None => Arrivals::default(),
            };
            sum.frames += more.frames;
            sum.reports += more.reports;
            sum.faults += more.faults;
            minutes.insert(minute, &pack(VIEW, &sum)?[..]).map_err(ViewError::store)?;
        }
        let newest = minutes.last().map_err(ViewError::store)?.map(|(minute, _)| minute.value());
        let Some(limit) = newest.map(|newest| newest - MINUTES_KEPT) else { return Ok(()) };
        loop {
            let oldest = minutes.first().map_err(ViewError::store)?.map(|(minute, _)| minute.value());
            match oldest.filter(|oldest| *oldest < limit) {
                Some(oldest) => minutes.remove(oldest).map_err(ViewError::store)?,
                None => return Ok(()),
            };
        }
    }
}
