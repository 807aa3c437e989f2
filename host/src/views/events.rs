//! Events that devices reported, by device and device time, and in the order they arrived.
//!
//! ```text
//! events      u32 device | i64 time + 2^63 | u8 cleared | u32 raw code | u8 has value | i64 value + 2^63 | code
//!             (big-endian, one byte string)      -> postcard of Row
//! event_log   (u64 seq, u32 position)            -> key in `events`
//! ```
//! The key is the event's identity: the same event reported again is the same row and keeps its first source.

use super::devices::{self, Page};
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::model::{Civil, DeviceKey, Event, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub(super) const VIEW: &str = "events";
pub(super) const EVENTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("events");
pub(super) const LOG: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("event_log");

/// One event of one device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    pub device: DeviceKey,
    /// By the device's clock; the time of reception when it did not say.
    pub at: Civil,
    /// The device said when.
    pub dated: bool,
    pub code: String,
    pub cleared: bool,
    pub value: Option<i64>,
    pub raw_code: u32,
    /// The frame that first told it.
    pub source: Seq,
    pub received_ms: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Row {
    dated: bool,
    source: u64,
    received_ms: i64,
}

/// One device's events between two times, both included, oldest first.
pub(super) fn list(
    snapshot: &Snapshot,
    device: &DeviceKey,
    (from, to): (Civil, Civil),
    after: Option<&str>,
    rows_max: usize,
) -> Result<Page<EventRow>> {
    let mut page = Page { rows: Vec::new(), next: None };
    let Some(id) = devices::id_of(snapshot, device)? else { return Ok(page) };
    let start = match after {
        Some(place) => hex::decode(place).map_err(|_| ViewError::Place(place.to_owned()))?,
        None => time_key(id, from),
    };
    let end = time_key(id, Civil(to.0.saturating_add(1)));
    if start >= end {
        return Ok(page);
    }
    let table = snapshot.table(EVENTS)?;
    let mut last: Option<Vec<u8>> = None;
    for row in table.range(&start[..]..&end[..]).map_err(ViewError::store)? {
        let (key, value) = row.map_err(ViewError::store)?;
        if after.is_some() && key.value() == start {
            continue;
        }
        if page.rows.len() == rows_max {
            page.next = last.map(hex::encode);
            break;
        }
        page.rows.push(event(device.clone(), key.value(), value.value())?);
        last = Some(key.value().to_vec());
    }
    Ok(page)
}

/// The newest events of the whole fleet, newest first; `before` is a place as the last page gave it.
pub(super) fn newest(snapshot: &Snapshot, before: Option<&str>, rows_max: usize) -> Result<Page<EventRow>> {
    let end = match before {
        Some(place) => parse_place(place).ok_or_else(|| ViewError::Place(place.to_owned()))?,
        None => (u64::MAX, u32::MAX),
    };
    let (log, events) = (snapshot.table(LOG)?, snapshot.table(EVENTS)?);
    let mut page = Page { rows: Vec::new(), next: None };
    let mut last = None;
    for row in log.range(..end).map_err(ViewError::store)?.rev() {
        let (place, key) = row.map_err(ViewError::store)?;
        if page.rows.len() == rows_max {
            page.next = last;
            break;
        }
        let value = events.get(key.value()).map_err(ViewError::store)?.ok_or(ViewError::Damaged { view: VIEW })?;
        let id = device_of(key.value())?;
        let device = devices::key_of(snapshot, id)?.ok_or(ViewError::Damaged { view: VIEW })?;
        page.rows.push(event(device, key.value(), value.value())?);
        let (seq, position) = place.value();
        last = Some(format!("{seq}.{position}"));
    }
    Ok(page)
}

fn parse_place(place: &str) -> Option<(u64, u32)> {
    let (seq, position) = place.split_once('.')?;
    Some((seq.parse().ok()?, position.parse().ok()?))
}

/// Beginning of the keys of one device from a time on.
fn time_key(device: u32, at: Civil) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.extend_from_slice(&device.to_be_bytes());
    key.extend_from_slice(&ordered(at.0));
    key
}

/// Signed numbers in an order that byte strings share.
fn ordered(number: i64) -> [u8; 8] {
    (number as u64 ^ 1 << 63).to_be_bytes()
}

fn identity(device: u32, at: Civil, event: &Event) -> Vec<u8> {
    let mut key = time_key(device, at);
    key.push(u8::from(event.cleared));
    key.extend_from_slice(&event.raw_code.to_be_bytes());
    key.push(u8::from(event.value.is_some()));
    key.extend_from_slice(&ordered(event.value.unwrap_or(0)));
    key.extend_from_slice(event.code.as_bytes());
    key
}

fn device_of(key: &[u8]) -> Result<u32> {
    key.first_chunk().map(|id| u32::from_be_bytes(*id)).ok_or(ViewError::Damaged { view: VIEW })
}

fn event(device: DeviceKey, key: &[u8], row: &[u8]) -> Result<EventRow> {
    let parts = || -> Option<(i64, u8, u32, u8, i64, &str)> {
        let (at, rest) = key.get(4..)?.split_first_chunk::<8>()?;
        let (cleared, rest) = rest.split_first()?;
        let (raw_code, rest) = rest.split_first_chunk::<4>()?;
        let (has_value, rest) = rest.split_first()?;
        let (value, code) = rest.split_first_chunk::<8>()?;
        let number = |bytes: &[u8; 8]| (u64::from_be_bytes(*bytes) ^ 1 << 63) as i64;
        let code = std::str::from_utf8(code).ok()?;
        Some((number(at), *cleared, u32::from_be_bytes(*raw_code), *has_value, number(value), code))
    };
    let (at, cleared, raw_code, has_value, value, code) = parts().ok_or(ViewError::Damaged { view: VIEW })?;
    let row: Row = unpack(VIEW, row)?;
    Ok(EventRow {
        device,
        at: Civil(at),
        dated: row.dated,
        code: code.to_owned(),
        cleared: cleared != 0,
        value: (has_value != 0).then_some(value),
        raw_code,
        source: Seq(row.source),
        received_ms: row.received_ms,
    })
}

fn last_position(log: &impl ReadableTable<(u64, u32), &'static [u8]>, source: u64) -> Result<Option<u32>> {
    let last = log.range((source, 0)..=(source, u32::MAX)).map_err(ViewError::store)?.next_back();
    Ok(last.transpose().map_err(ViewError::store)?.map(|(place, _)| place.value().1))
}

/// Events of one batch on their way into the table.
#[derive(Default)]
pub(super) struct Fold {
    /// In the order of arrival; the first one of an identity counts.
    new: Vec<(Vec<u8>, Row)>,
    /// Events per frame so far, for their position in the log.
    positions: FxHashMap<u64, u32>,
}

impl Fold {
    pub fn add(&mut self, device: u32, received: Civil, event: &Event, source: Seq, received_ms: i64) {
        let key = identity(device, event.at.unwrap_or(received), event);
        self.new.push((key, Row { dated: event.at.is_some(), source: source.0, received_ms }));
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        let mut events = txn.open_table(EVENTS).map_err(ViewError::store)?;
        let mut log = txn.open_table(LOG).map_err(ViewError::store)?;
        let newest = log.last().map_err(ViewError::store)?.map(|(place, _)| place.value().0);
        for (key, row) in self.new.drain(..) {
            if events.get(&key[..]).map_err(ViewError::store)?.is_some() {
                continue;
            }
            let position = match self.positions.get(&row.source) {
                Some(next) => *next,
                // Of a frame that was folded before, more may come: of those behind its sender, or once he is adopted.
                None if newest.is_some_and(|newest| row.source <= newest) => {
                    last_position(&log, row.source)?.map_or(0, |last| last + 1)
                }
                None => 0,
            };
            events.insert(&key[..], &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
            log.insert((row.source, position), &key[..]).map_err(ViewError::store)?;
            self.positions.insert(row.source, position + 1);
        }
        self.positions.clear();
        Ok(())
    }
}
