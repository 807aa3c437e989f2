//! What was received: per day and adapter, and per minute of the last two days.
//!
//! ```text
//! days      (i32 day of the fleet's zone, adapter name or empty)  -> postcard of Counts
//! arrivals  i64 minute since 1970 UTC, modulo two days           -> postcard of (that minute, Arrivals)
//! ```
//! A minute takes the place of the one that had its place before, whichever is later: a clock that was ahead for a while hides nothing.

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
    /// Such as `Report::is_reading` means; answers have a count of their own.
    pub reports: u64,
    pub events: u64,
    pub answers: u64,
    pub relayed: u64,
    pub unknown: u64,
    /// Values inside the reports and answers, as they came.
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
            Message::Report(report) => self.reports += u64::from(report.is_reading()),
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
    let mut rows: Vec<(i64, Arrivals)> = Vec::new();
    for row in snapshot.table(ARRIVALS)?.iter().map_err(ViewError::store)? {
        let (minute, arrivals) = unpack::<(i64, Arrivals)>(VIEW, row.map_err(ViewError::store)?.1.value())?;
        rows.push((minute * MINUTE_MS, arrivals));
    }
    rows.retain(|(at_ms, _)| *at_ms >= since_ms.div_euclid(MINUTE_MS) * MINUTE_MS);
    rows.sort_unstable_by_key(|(at_ms, _)| *at_ms);
    Ok(rows)
}

/// What one batch adds.
#[derive(Default)]
pub(super) struct Fold {
    /// A handful: searched from the end, where the last frame's was.
    days: Vec<(Day, String, Counts)>,
    minutes: BTreeMap<i64, Place>,
}

/// What came in a minute, on its way to its place.
struct Place {
    minute: i64,
    /// Another one had the place within this batch: what the table has of this minute is from before that.
    afresh: bool,
    arrivals: Arrivals,
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

    /// What came in the minute that it is now; not for what is folded late.
    pub fn minute(&mut self, at_ms: i64) -> &mut Arrivals {
        let minute = at_ms.div_euclid(MINUTE_MS);
        let new = |afresh| Place { minute, afresh, arrivals: Arrivals::default() };
        let place = self.minutes.entry(minute.rem_euclid(MINUTES_KEPT)).or_insert_with(|| new(false));
        if place.minute != minute {
            *place = new(true);
        }
        &mut place.arrivals
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
        for (at, Place { minute, afresh, arrivals: more }) in std::mem::take(&mut self.minutes) {
            let before = match minutes.get(at).map_err(ViewError::store)? {
                Some(bytes) => Some(unpack::<(i64, Arrivals)>(VIEW, bytes.value())?),
                None => None,
            };
            let mut sum = before.filter(|(of, _)| *of == minute && !afresh).map_or(Arrivals::default(), |(_, sum)| sum);
            sum.frames += more.frames;
            sum.reports += more.reports;
            sum.faults += more.faults;
            minutes.insert(at, &pack(VIEW, &(minute, sum))?[..]).map_err(ViewError::store)?;
        }
        Ok(())
    }
}
