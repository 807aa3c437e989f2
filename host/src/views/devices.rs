//! The devices of the fleet: who they are, when they were heard, how they stand.
//!
//! ```text
//! device_ids        realm/address           -> u32 id (1.., in the order in which they were first folded)
//! device_keys       u32 id                  -> realm/address
//! device_addresses  (address, realm)        -> u32 id
//! device_rows       u32 id                  -> postcard of Row: what changes with every frame, kept small
//! device_facts      u32 id                  -> postcard of Facts: what changes rarely
//! device_marks      (mark, realm/address)   -> u32 id; marks are `alarm`, `alarm:<code>`, `valve:<state>`, `held`, `kind:<kind>` of carriers
//! mark_counts       mark                    -> u64
//! adopted           realm/address           -> (u64 seq, by)
//! adapter_refs      u16 number              -> postcard of AdapterRef
//! ```
//! The dense id keeps other views' keys short and their rows of one day together.

use super::registry;
use super::store::{Result, Snapshot, ViewError, unpack};
use super::words::ToldAt;
use crate::journal::AdapterRef;
use crate::model::{
    Day, DeviceKey, DeviceKind, Digest, HexBytes, Registration, Schedule, Seq, ValveState, ValveStatus,
};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

pub(super) const VIEW: &str = "devices";
pub(super) const IDS: TableDefinition<&str, u32> = TableDefinition::new("device_ids");
pub(super) const KEYS: TableDefinition<u32, &str> = TableDefinition::new("device_keys");
pub(super) const ADDRESSES: TableDefinition<(&str, &str), u32> = TableDefinition::new("device_addresses");
pub(super) const ROWS: TableDefinition<u32, &[u8]> = TableDefinition::new("device_rows");
pub(super) const FACTS: TableDefinition<u32, &[u8]> = TableDefinition::new("device_facts");
pub(super) const MARKS: TableDefinition<(&str, &str), u32> = TableDefinition::new("device_marks");
pub(super) const MARK_COUNTS: TableDefinition<&str, u64> = TableDefinition::new("mark_counts");
pub(super) const ADAPTER_REFS: TableDefinition<u16, &[u8]> = TableDefinition::new("adapter_refs");

pub(super) const ADOPTED: TableDefinition<&str, (u64, &str)> = TableDefinition::new("adopted");

/// Rows that one call looks at while it searches; a page may come back with fewer rows than asked for and go on.
const SCAN_ROWS_MAX: usize = 20_000;

/// A device as people see it.
#[derive(Clone, PartialEq, Debug)]
pub struct Device {
    pub id: u32,
    pub key: DeviceKey,
    pub kind: DeviceKind,
    /// Unknown, and not let in yet: its frames are kept aside.
    pub held: bool,
    /// Named by an operator.
    pub adopted: bool,
    /// The concentrator or DTU that speaks for it.
    pub carrier: Option<DeviceKey>,
    /// As it last introduced itself.
    pub registration: Option<Registration>,
    pub registered_ms: Option<i64>,
    /// From its registration or a later answer.
    pub schedule: Option<Schedule>,
    pub first_seen_ms: Option<i64>,
    pub last_seen_ms: Option<i64>,
    /// Its last frame.
    pub last_seq: Option<Seq>,
    pub last_report_ms: Option<i64>,
    /// What decoded its last frame.
    pub adapter: Option<AdapterRef>,
    pub valve: Option<ValveStatus>,
    /// When the valve, the alarms and the status word were last told.
    pub status_ms: Option<i64>,
    pub alarms: Vec<String>,
    pub raw_status: u64,
    /// What its adapter wants remembered.
    pub memory: HexBytes,
    /// Its clock minus the station's, seconds, when last told.
    pub clock_drift_s: Option<i64>,
    pub counts: DeviceCounts,
    /// Days of its oldest and newest reading.
    pub oldest_day: Option<Day>,
    pub newest_day: Option<Day>,
    /// Its last day with readings, of those that were not in the future when it told them, if there are any.
    pub latest_day: Option<Day>,
}

/// Whether a device is let in, and what its adapter wants remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub held: bool,
    pub adopted: bool,
    pub memory: HexBytes,
    /// What decoded its last frame; looked up only where something is remembered.
    pub adapter: Option<Digest>,
    /// Where its readings are, if it has told any.
    pub told: Option<Told>,
}

/// Where a device's readings are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    pub(super) id: u32,
    /// The oldest day that it has told of.
    pub(super) oldest: Day,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeviceCounts {
    pub frames: u64,
    pub reports: u64,
    pub faults: u64,
    pub duplicates: u64,
    /// Frames kept aside until the device is adopted.
    pub held_frames: u64,
}

/// What changes with every frame.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub first_seen_ms: Option<i64>,
    pub last_seen_ms: Option<i64>,
    pub last_seq: u64,
    pub last_report_ms: Option<i64>,
    pub last_report_seq: u64,
    /// The day of reception of its reports before that of the last one.
    pub report_day_before: Option<Day>,
    /// Number of an adapter reference; 0: none.
    pub adapter: u16,
    /// As in its registration.
    pub kind: DeviceKind,
    pub held: bool,
    pub adopted: bool,
    /// Id of the carrier; 0: none.
    pub carrier: u32,
    pub status_seq: u64,
    pub status_ms: Option<i64>,
    /// When it told how it stands, by its own clock.
    pub told_at: ToldAt,
    /// How its valve stood then; an order's own answer has no time.
    pub told_valve: Option<ValveStatus>,
    /// The entry whose valve state was newer than everything before it.
    pub valve_seq: u64,
    pub valve: Option<ValveStatus>,
    pub alarms: Vec<String>,
    pub raw_status: u64,
    pub memory_seq: u64,
    pub memory: HexBytes,
    pub clock_drift_s: Option<i64>,
    pub counts: DeviceCounts,
    pub oldest_day: Option<Day>,
    pub newest_day: Option<Day>,
    /// The newest one that was not in the future when it was told.
    pub latest_day: Option<Day>,
    /// Tells whether a registration says anything new without reading the facts; 0: no facts.
    pub facts_hash: u64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            first_seen_ms: None,
            last_seen_ms: None,
            last_seq: 0,
            last_report_ms: None,
            last_report_seq: 0,
            report_day_before: None,
            adapter: 0,
            kind: DeviceKind::Meter,
            held: false,
            adopted: false,
            carrier: 0,
            status_seq: 0,
            status_ms: None,
            told_at: ToldAt::default(),
            told_valve: None,
            valve_seq: 0,
            valve: None,
            alarms: Vec::new(),
            raw_status: 0,
            memory_seq: 0,
            memory: HexBytes::default(),
            clock_drift_s: None,
            counts: DeviceCounts::default(),
            oldest_day: None,
            newest_day: None,
            latest_day: None,
            facts_hash: 0,
        }
    }
}

/// What changes rarely.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Facts {
    pub registration: Option<Registration>,
    pub registered_ms: Option<i64>,
    pub registered_seq: u64,
    pub schedule: Option<Schedule>,
    pub schedule_seq: u64,
}

/// Which devices are wanted; all conditions hold together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DeviceFilter {
    /// Beginning of the address, or of `realm/address` when it has a slash.
    pub prefix: String,
    pub alarm: Option<String>,
    /// With an alarm at all.
    pub any_alarm: bool,
    pub valve: Option<ValveState>,
    pub held: Option<bool>,
    /// Last heard before this moment, or never.
    pub silent_since_ms: Option<i64>,
}

/// Part of a listing.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Where the next part begins; `None`: this was the last. A page may be short and still go on.
    pub next: Option<String>,
}

/// How many devices there are, and how many of each mark.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fleet {
    pub devices: u64,
    /// `alarm`, `alarm:<code>`, `valve:<state>`, `held`, in alphabetical order.
    pub marks: Vec<(String, u64)>,
}

pub(super) fn id_of(snapshot: &Snapshot, key: &DeviceKey) -> Result<Option<u32>> {
    Ok(snapshot.table(IDS)?.get(key.as_str()).map_err(ViewError::store)?.map(|v| v.value()))
}

pub(super) fn key_of(snapshot: &Snapshot, id: u32) -> Result<Option<DeviceKey>> {
    match snapshot.table(KEYS)?.get(id).map_err(ViewError::store)? {
        Some(key) => key.value().parse().map(Some).map_err(|_| ViewError::Damaged { view: VIEW }),
        None => Ok(None),
    }
}

pub(super) fn device(snapshot: &Snapshot, key: &DeviceKey) -> Result<Option<Device>> {
    match id_of(snapshot, key)? {
        Some(id) => read(snapshot, id, key).map(Some),
        None => Ok(None),
    }
}

/// What a session asks at its beginning, without the rest of the device.
pub(super) fn standing(snapshot: &Snapshot, key: &DeviceKey) -> Result<Option<Standing>> {
    let Some(id) = id_of(snapshot, key)? else { return Ok(None) };
    let row = row_of(snapshot, id)?;
    let adapter = if row.memory.0.is_empty() { None } else { adapter_of(snapshot, &row)? };
    Ok(Some(Standing {
        held: row.held,
        adopted: row.adopted,
        memory: row.memory,
        adapter: adapter.map(|adapter| adapter.digest),
        told: row.oldest_day.map(|oldest| Told { id, oldest }),
    }))
}

/// The entry whose valve state is the newest that the device has told, by its own clock.
pub(super) fn newest_valve(snapshot: &Snapshot, key: &DeviceKey) -> Result<Option<Seq>> {
    let Some(id) = id_of(snapshot, key)? else { return Ok(None) };
    Ok(Some(row_of(snapshot, id)?.valve_seq).filter(|seq| *seq > 0).map(Seq))
}

/// Devices that were last adopted before this entry, and by whom.
pub(super) fn adopted_before(
    snapshot: &Snapshot,
    seq: Seq,
) -> Result<impl Iterator<Item = Result<(DeviceKey, String)>>> {
    let rows = snapshot.table(ADOPTED)?.range::<&str>(..).map_err(ViewError::store)?;
    Ok(rows.filter_map(move |row| {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(ViewError::store(error))),
        };
        let (since, by) = value.value();
        let device = || key.value().parse().map_err(|_| ViewError::Damaged { view: VIEW });
        (since < seq.0).then(|| Ok((device()?, by.to_owned())))
    }))
}

/// All devices with this bare address.
pub(super) fn with_address(snapshot: &Snapshot, address: &str) -> Result<Vec<DeviceKey>> {
    let table = snapshot.table(ADDRESSES)?;
    let mut keys = Vec::new();
    for row in table.range((address, "")..).map_err(ViewError::store)? {
        let (key, _) = row.map_err(ViewError::store)?;
        let (found, realm) = key.value();
        if found != address {
            break;
        }
        keys.push(DeviceKey::new(realm, found).map_err(|_| ViewError::Damaged { view: VIEW })?);
    }
    Ok(keys)
}

pub(super) fn fleet(snapshot: &Snapshot) -> Result<Fleet> {
    let devices = snapshot.table(IDS)?.len().map_err(ViewError::store)?;
    let mut marks = Vec::new();
    for row in snapshot.table(MARK_COUNTS)?.iter().map_err(ViewError::store)? {
        let (mark, count) = row.map_err(ViewError::store)?;
        marks.push((mark.value().to_owned(), count.value()));
    }
    Ok(Fleet { devices, marks })
}

/// One page in the order of keys (or of addresses, when the prefix is one).
pub(super) fn list(
    snapshot: &Snapshot,
    filter: &DeviceFilter,
    after: Option<&str>,
    rows_max: usize,
) -> Result<Page<Device>> {
    let mut page = Page { rows: Vec::new(), next: None };
    let mut seen = 0;
    let mut visit = |place: &str, key: &str, id: u32| -> Result<bool> {
        if page.rows.len() == rows_max || seen == SCAN_ROWS_MAX {
            return Ok(false);
        }
        seen += 1;
        page.next = Some(place.to_owned());
        if key.starts_with(&filter.prefix) || key.split_once('/').is_some_and(|(_, a)| a.starts_with(&filter.prefix)) {
            let key = key.parse().map_err(|_| ViewError::Damaged { view: VIEW })?;
            let device = read(snapshot, id, &key)?;
            if matches(filter, &device) {
                page.rows.push(device);
            }
        }
        Ok(true)
    };
    let complete = if let Some(mark) = best_mark(filter) {
        by_mark(snapshot, &mark, after, &mut visit)?
    } else if filter.prefix.contains('/') || begins_a_key(snapshot, &filter.prefix)? {
        by_key(snapshot, &filter.prefix, after, &mut visit)?
    } else {
        by_address(snapshot, &filter.prefix, after, &mut visit)?
    };
    if complete {
        page.next = None;
    }
    Ok(page)
}

/// The rarest condition that has an index.
fn best_mark(filter: &DeviceFilter) -> Option<String> {
    let alarm = filter.alarm.as_ref().map(|code| mark_of_alarm(code));
    let held = filter.held.filter(|held| *held).map(|_| HELD.to_owned());
    let any = filter.any_alarm.then(|| ALARM.to_owned());
    alarm.or(held).or(any).or(filter.valve.map(mark_of_valve))
}

fn matches(filter: &DeviceFilter, device: &Device) -> bool {
    filter.alarm.as_ref().is_none_or(|code| device.alarms.contains(code))
        && (!filter.any_alarm || !device.alarms.is_empty())
        && filter.valve.is_none_or(|state| device.valve.as_ref().is_some_and(|v| v.state == state))
        && filter.held.is_none_or(|held| device.held == held)
        && filter.silent_since_ms.is_none_or(|since| device.last_seen_ms.is_none_or(|seen| seen < since))
}

/// Gives place, key and id of each candidate; false: enough. The walks below tell whether they came to the end.
type Visit<'a> = dyn FnMut(&str, &str, u32) -> Result<bool> + 'a;

/// Whether the prefix is that of a realm, rather than of addresses.
fn begins_a_key(snapshot: &Snapshot, prefix: &str) -> Result<bool> {
    let first = snapshot.table(IDS)?.range(prefix..).map_err(ViewError::store)?.next().transpose();
    Ok(first.map_err(ViewError::store)?.is_some_and(|(key, _)| key.value().starts_with(prefix)))
}

fn by_key(snapshot: &Snapshot, prefix: &str, after: Option<&str>, visit: &mut Visit) -> Result<bool> {
    for row in snapshot.table(IDS)?.range(after.unwrap_or(prefix)..).map_err(ViewError::store)? {
        let (key, id) = row.map_err(ViewError::store)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        if Some(key.value()) != after && !visit(key.value(), key.value(), id.value())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn by_mark(snapshot: &Snapshot, mark: &str, after: Option<&str>, visit: &mut Visit) -> Result<bool> {
    for row in snapshot.table(MARKS)?.range((mark, after.unwrap_or(""))..).map_err(ViewError::store)? {
        let (found, id) = row.map_err(ViewError::store)?;
        let (found, key) = found.value();
        if found != mark {
            break;
        }
        if Some(key) != after && !visit(key, key, id.value())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Places are keys here too, although the order is that of addresses.
fn by_address(snapshot: &Snapshot, prefix: &str, after: Option<&str>, visit: &mut Visit) -> Result<bool> {
    let from = match after {
        Some(place) => {
            let (realm, address) = place.split_once('/').ok_or_else(|| ViewError::Place(place.to_owned()))?;
            (address, realm)
        }
        None => (prefix, ""),
    };
    for row in snapshot.table(ADDRESSES)?.range(from..).map_err(ViewError::store)? {
        let (found, id) = row.map_err(ViewError::store)?;
        let (address, realm) = found.value();
        if !address.starts_with(prefix) {
            break;
        }
        let key = format!("{realm}/{address}");
        if Some(&key[..]) != after && !visit(&key, &key, id.value())? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) const HELD: &str = "held";
/// Any alarm at all.
pub(super) const ALARM: &str = "alarm";

pub(super) fn mark_of_alarm(code: &str) -> String {
    format!("alarm:{code}")
}

pub(super) fn mark_of_kind(kind: DeviceKind) -> String {
    format!("kind:{kind}")
}

pub(super) fn mark_of_valve(state: ValveState) -> String {
    format!("valve:{state}")
}

fn row_of(snapshot: &Snapshot, id: u32) -> Result<Row> {
    match snapshot.table(ROWS)?.get(id).map_err(ViewError::store)? {
        Some(bytes) => unpack(VIEW, bytes.value()),
        None => Err(ViewError::Damaged { view: VIEW }),
    }
}

/// When it was heard last.
pub(super) fn last_seen_ms(snapshot: &Snapshot, key: &DeviceKey) -> Result<Option<i64>> {
    match id_of(snapshot, key)? {
        Some(id) => row_of(snapshot, id).map(|row| row.last_seen_ms),
        None => Ok(None),
    }
}

fn adapter_of(snapshot: &Snapshot, row: &Row) -> Result<Option<AdapterRef>> {
    let bytes = snapshot.table(ADAPTER_REFS)?.get(row.adapter).map_err(ViewError::store)?;
    bytes.map(|bytes| unpack(VIEW, bytes.value())).transpose()
}

/// Whether that component has ever read a frame of a device.
pub(super) fn has_read(snapshot: &Snapshot, digest: &Digest) -> Result<bool> {
    for row in snapshot.table(ADAPTER_REFS)?.iter().map_err(ViewError::store)? {
        let adapter: AdapterRef = unpack(VIEW, row.map_err(ViewError::store)?.1.value())?;
        if adapter.digest == *digest {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a device says that it is; of one that never registered the registry may know.
fn kind(snapshot: &Snapshot, key: &DeviceKey, said: Option<&Registration>) -> Result<DeviceKind> {
    if let Some(registration) = said {
        return Ok(registration.kind);
    }
    let record = registry::get(snapshot, key)?;
    Ok(record.map_or(DeviceKind::Meter, |row| row.record.about.kind))
}

fn read(snapshot: &Snapshot, id: u32, key: &DeviceKey) -> Result<Device> {
    let row = row_of(snapshot, id)?;
    let facts: Facts = match snapshot.table(FACTS)?.get(id).map_err(ViewError::store)? {
        Some(bytes) => unpack(VIEW, bytes.value())?,
        None => Facts::default(),
    };
    let adapter = adapter_of(snapshot, &row)?;
    Ok(Device {
        id,
        key: key.clone(),
        kind: kind(snapshot, key, facts.registration.as_ref())?,
        held: row.held,
        adopted: row.adopted,
        carrier: if row.carrier == 0 { None } else { key_of(snapshot, row.carrier)? },
        registration: facts.registration,
        registered_ms: facts.registered_ms,
        schedule: facts.schedule,
        first_seen_ms: row.first_seen_ms,
        last_seen_ms: row.last_seen_ms,
        last_seq: (row.last_seq > 0).then_some(Seq(row.last_seq)),
        last_report_ms: row.last_report_ms,
        adapter,
        valve: row.valve,
        status_ms: row.status_ms,
        alarms: row.alarms,
        raw_status: row.raw_status,
        memory: row.memory,
        clock_drift_s: row.clock_drift_s,
        counts: row.counts,
        oldest_day: row.oldest_day,
        newest_day: row.newest_day,
        latest_day: row.latest_day.or(row.newest_day),
    })
}
