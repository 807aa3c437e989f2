//! Readings: every value that devices told, by device and device time.
//!
//! ```text
//! readings   u64 = day (days since 1970, offset by 2^31) << 32 | u32 device id   -> packed values, see `packing`
//! ```
//! The day comes first, so that what a fleet reports in one night lies together; a month of one meter is 31 point
//! reads. A value's identity is its place: time, quantity, role, storage, tariff, channel and the vendor's code. The
//! same value told again changes nothing. Another value for the same place becomes the current one if its frame is
//! newer, and the older one stays beside it, marked superseded, with the frame it came from. When a frame turns out not to
//! have said it, its value is withdrawn, and what it had pushed aside counts again.

use super::devices::{self, Page, Told};
use super::packing::{self, Place, Value};
use super::store::{Result, Snapshot, ViewError};
use crate::limits;
use crate::model::{Civil, Day, DeviceKey, Quantity, Register, Role, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use std::sync::Arc;

pub(super) const VIEW: &str = "readings";
pub(super) const READINGS: TableDefinition<u64, &[u8]> = TableDefinition::new("readings");

/// Days that one call looks at; a page may come back short and go on.
const SCAN_DAYS_MAX: i64 = 25_000;
/// Superseded values kept of one place; the oldest go first.
const SUPERSEDED_MAX: usize = 8;
const DAY_S: i64 = 86_400;

/// One value at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    pub at: Civil,
    /// `at` is filled in.
    pub register: Register,
    /// The frame that told it.
    pub source: Seq,
    /// When that frame was received, UTC milliseconds.
    pub received_ms: i64,
    /// A later frame gave another value for the same place.
    pub superseded: bool,
}

/// Which readings are wanted, both ends included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadingFilter {
    pub from: Civil,
    pub to: Civil,
    /// `None`: all.
    pub quantity: Option<Quantity>,
    /// Also values that were told differently later.
    pub with_superseded: bool,
}

pub(super) fn key(day: Day, device: u32) -> u64 {
    let day = (i64::from(day.0) - i64::from(i32::MIN)) as u64;
    day << 32 | u64::from(device)
}

pub(super) fn of_key(key: u64) -> (Day, u32) {
    (Day(((key >> 32) as i64 + i64::from(i32::MIN)) as i32), key as u32)
}

/// One device's readings in the order of time; `after` is a day as the last page gave it.
pub(super) fn list(
    snapshot: &Snapshot,
    device: &DeviceKey,
    filter: &ReadingFilter,
    after: Option<&str>,
    rows_max: usize,
) -> Result<Page<Reading>> {
    let mut page = Page { rows: Vec::new(), next: None };
    let Some(found) = devices::device(snapshot, device)? else { return Ok(page) };
    let (Some(oldest), Some(newest)) = (found.oldest_day, found.newest_day) else { return Ok(page) };
    let start = match after {
        Some(place) => place.parse::<Day>().map_err(|_| ViewError::Place(place.to_owned()))?,
        None => day_of(filter.from).max(oldest),
    };
    let end = day_of(filter.to).min(newest);
    let table = snapshot.table(READINGS)?;
    for day in start.0..=end.0 {
        // A day is never divided, so a page may be somewhat longer than asked for.
        if page.rows.len() >= rows_max || i64::from(day) - i64::from(start.0) >= SCAN_DAYS_MAX {
            page.next = Some(Day(day).to_string());
            break;
        }
        if let Some(bytes) = table.get(key(Day(day), found.id)).map_err(ViewError::store)? {
            let values = packing::unpack(bytes.value()).ok_or(ViewError::Damaged { view: VIEW })?;
            let wanted = values.iter().filter(|v| is_wanted(v, Day(day), filter));
            page.rows.extend(wanted.map(|v| v.reading(Day(day))));
        }
    }
    Ok(page)
}

/// The newest of the `days_max` days before this one of which the device told a frozen value. A device that was known before
/// them and told none is taken to have told the day before them; `None`: one that is new.
pub(super) fn last_frozen_before(snapshot: &Snapshot, told: Told, before: Day, days_max: i32) -> Result<Option<Day>> {
    let Told { id, oldest } = told;
    let first = Day(before.0 - days_max);
    let table = snapshot.table(READINGS)?;
    for day in (oldest.max(first).0..before.0).rev() {
        if let Some(bytes) = table.get(key(Day(day), id)).map_err(ViewError::store)? {
            let values = packing::unpack(bytes.value()).ok_or(ViewError::Damaged { view: VIEW })?;
            if values.iter().any(|value| value.role == Role::Frozen && !value.superseded) {
                return Ok(Some(Day(day)));
            }
        }
    }
    Ok((oldest < first).then(|| Day(first.0 - 1)))
}

/// The newest current value of each kind that the device told on its last day with readings.
pub(super) fn newest(snapshot: &Snapshot, device: &DeviceKey) -> Result<Vec<Reading>> {
    let Some(day) = devices::device(snapshot, device)?.and_then(|d| d.latest_day) else { return Ok(Vec::new()) };
    let (from, to) = (day.start(), Civil(day.start().0 + DAY_S - 1));
    let filter = ReadingFilter { from, to, quantity: None, with_superseded: false };
    let mut rows = list(snapshot, device, &filter, None, usize::MAX)?.rows;
    rows.reverse();
    let mut newest: Vec<Reading> = Vec::new();
    for row in rows {
        let kind = |r: &Register| (r.quantity, r.role, r.storage, r.tariff, r.channel, r.code);
        if !newest.iter().any(|n| kind(&n.register) == kind(&row.register)) {
            newest.push(row);
        }
    }
    Ok(newest)
}

/// Any time a caller may name; readings lie within these bounds.
fn day_of(time: Civil) -> Day {
    Civil(time.0.clamp(limits::CIVIL_MIN, limits::CIVIL_MAX)).day()
}

fn is_wanted(value: &Value, day: Day, filter: &ReadingFilter) -> bool {
    let at = Civil(day.start().0 + i64::from(value.second));
    filter.from <= at
        && at <= filter.to
        && filter.quantity.is_none_or(|quantity| quantity == value.quantity)
        && (filter.with_superseded || !value.superseded)
}

/// Readings of one batch on their way into the table.
#[derive(Default)]
pub(super) struct Fold {
    values: Vec<Value>,
    /// Runs of `values` with the same row, in the order of arrival.
    runs: Vec<Run>,
    corrections: Vec<Correction>,
}

/// Another value for a place, or none, instead of what certain entries have told.
pub(super) struct Correction {
    pub place: Place,
    /// Entries whose values it replaces; what others told of the place stays.
    pub instead_of: Arc<[u64]>,
    pub new: Option<Value>,
}

struct Run {
    key: u64,
    first: u32,
    count: u32,
    /// The device had no reading of this day before the batch, so no row need be looked for.
    fresh: bool,
    /// Instead of values.
    correction: Option<u32>,
}

impl Fold {
    /// Corrects a place, after what was added until now.
    pub fn correct(&mut self, device: u32, day: Day, correction: Correction) {
        let (key, first) = (key(day, device), self.values.len() as u32);
        self.runs.push(Run { key, first, count: 0, fresh: false, correction: Some(self.corrections.len() as u32) });
        self.corrections.push(correction);
    }

    /// Adds a value at its time; values of one report that lie on one day should come one after the other.
    pub fn add(&mut self, device: u32, day: Day, value: Value, fresh: bool) {
        let key = key(day, device);
        let at = self.values.len() as u32;
        self.values.push(value);
        match self.runs.last_mut() {
            Some(run) if run.key == key && run.correction.is_none() => run.count += 1,
            _ => self.runs.push(Run { key, first: at, count: 1, fresh, correction: None }),
        }
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        let mut table = txn.open_table(READINGS).map_err(ViewError::store)?;
        // By row, and within a row by arrival: both keep a commit to few pages.
        self.runs.sort_unstable_by_key(|run| (run.key, run.first, run.count, run.correction));
        let (mut row, mut bytes) = (Vec::new(), Vec::new());
        for runs in self.runs.chunk_by(|a, b| a.key == b.key) {
            let key = runs[0].key;
            row.clear();
            if !runs.iter().any(|run| run.fresh)
                && let Some(before) = table.get(key).map_err(ViewError::store)?
            {
                row = packing::unpack(before.value()).ok_or(ViewError::Damaged { view: VIEW })?;
            }
            let stored = row.len();
            let mut changed = false;
            for run in runs {
                if let Some(correction) = run.correction.and_then(|at| self.corrections.get(at as usize)) {
                    changed |= correct(&mut row, correction);
                }
                let values = &self.values[run.first as usize..(run.first + run.count) as usize];
                for value in values {
                    changed |= merge(&mut row, value);
                }
            }
            if changed || row.len() != stored {
                row.sort_by(Value::order);
                bytes.clear();
                packing::pack(&row, &mut bytes);
                table.insert(key, &bytes[..]).map_err(ViewError::store)?;
            }
        }
        self.values.clear();
        self.runs.clear();
        self.corrections.clear();
        Ok(())
    }
}

/// Replaces a value by another or by none; tells whether anything changed.
fn correct(row: &mut Vec<Value>, correction: &Correction) -> bool {
    let Correction { place, instead_of, new } = correction;
    let there = |v: &Value| v.place() == *place;
    let is_new = |v: &Value| new.is_some_and(|new| v.says() == new.says());
    let mut changed = false;
    for value in row.iter_mut().filter(|v| there(v) && !v.withdrawn && instead_of.contains(&v.source)) {
        if value.superseded || !is_new(value) {
            (value.superseded, value.withdrawn, changed) = (true, true, true);
        }
    }
    let current = row.iter().position(|v| !v.superseded && there(v));
    match (current, new) {
        (Some(at), Some(new)) if row[at].says() == new.says() => {}
        // Another frame has told it: the later one counts.
        (Some(at), Some(new)) => {
            let later = new.received_ms > row[at].received_ms;
            row[at].superseded = later;
            row.push(Value { superseded: !later, ..*new });
            changed = true;
        }
        (None, Some(new)) => {
            row.push(*new);
            changed = true;
        }
        // What a frame had pushed aside that never told anything of this place is what counts.
        (None, None) => {
            let aside = row.iter_mut().filter(|v| there(v) && !v.withdrawn);
            if let Some(value) = aside.max_by_key(|v| v.age()) {
                (value.superseded, changed) = (false, true);
            }
        }
        (Some(_), None) => {}
    }
    changed
}

/// Puts a value into its place; tells whether anything changed.
fn merge(row: &mut Vec<Value>, new: &Value) -> bool {
    let Some(at) = row.iter().position(|v| !v.superseded && v.place() == new.place()) else {
        row.push(Value { superseded: false, ..*new });
        return true;
    };
    if row[at].says() == new.says() {
        return false;
    }
    if new.source >= row[at].source {
        let old = std::mem::replace(&mut row[at], Value { superseded: false, ..*new });
        row.push(Value { superseded: true, ..old });
    } else {
        // An older frame that was folded late: a device was adopted, or a frame decoded again.
        let known =
            row.iter().any(|v| v.superseded && !v.withdrawn && v.place() == new.place() && v.says() == new.says());
        if known {
            return false;
        }
        row.push(Value { superseded: true, ..*new });
    }
    let superseded = || row.iter().enumerate().filter(|(_, v)| v.superseded && v.place() == new.place());
    if superseded().count() > SUPERSEDED_MAX
        && let Some((oldest, _)) = superseded().min_by_key(|(_, v)| v.age())
    {
        row.remove(oldest);
    }
    true
}
