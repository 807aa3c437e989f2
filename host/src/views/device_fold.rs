//! Folding what concerns devices: a cache of their rows, and what of it one batch changes.
//!
//! Rows stay in memory between batches, so that a device which reports every hour is decoded once and not every hour.
//! After a failed write the whole fold is thrown away and read anew.

use super::devices::{
    ADAPTER_REFS, ADDRESSES, ADOPTED, ALARM, FACTS, Facts, HELD, IDS, KEYS, MARK_COUNTS, MARKS, ROWS, Row, VIEW,
    mark_of_alarm, mark_of_kind, mark_of_valve,
};
use super::families::{self, Counted};
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use super::words::{Words, is_credible, is_credible_day};
use crate::journal::AdapterRef;
use crate::limits;
use crate::model::{Civil, Day, DeviceKey, DeviceKind, HexBytes, Registration, Schedule, Seq, ValveStatus};
use redb::{ReadOnlyTable, ReadableTable, ReadableTableMetadata, WriteTransaction};
use rustc_hash::{FxHashMap, FxHasher};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// A device in the cache; valid until the batch is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Slot(usize);

struct Cached {
    id: u32,
    key: DeviceKey,
    row: Row,
    /// How its family counts it now.
    counted: Option<Counted>,
    dirty: bool,
    /// The batch that used it last.
    used: u64,
}

struct Tables {
    ids: ReadOnlyTable<&'static str, u32>,
    rows: ReadOnlyTable<u32, &'static [u8]>,
    facts: ReadOnlyTable<u32, &'static [u8]>,
    addresses: ReadOnlyTable<(&'static str, &'static str), u32>,
}

pub(super) struct Fold {
    index: FxHashMap<DeviceKey, Slot>,
    cache: Vec<Cached>,
    dirty: Vec<Slot>,
    /// Not in the tables yet.
    new: Vec<Slot>,
    /// Who by, and the entry that says so.
    adopted: Vec<(Slot, Seq, String)>,
    facts: BTreeMap<u32, Facts>,
    /// Mark, device, and whether it has the mark now; in order.
    marks: Vec<(String, Slot, bool)>,
    families: families::Fold,
    /// Reports of this batch, by adapter's number, kind and day. They and the next are noted when they come, and not when the batch
    /// is written: whatever the batches are, the same families come of it.
    reports: FxHashMap<(u16, DeviceKind, Day), u64>,
    /// Families that a device has come into or was heard in: by which entry, and when.
    heard: FxHashMap<(u16, DeviceKind), Option<(u64, i64)>>,
    adapters: Vec<AdapterRef>,
    adapters_stored: usize,
    next_id: u32,
    /// Devices that are held now, this batch's included.
    held: u64,
    batch: u64,
    tables: Option<Tables>,
}

/// What a report or a heartbeat says about the device's standing.
pub(super) struct Status<'a> {
    /// By its own clock.
    pub at: Option<Civil>,
    pub valve: Option<&'a ValveStatus>,
    /// `None`: not said.
    pub alarms: Option<(&'a [String], u64)>,
}

impl Fold {
    pub fn load(snapshot: &Snapshot) -> Result<Self> {
        let devices = snapshot.table(IDS)?.len().map_err(ViewError::store)?;
        let mut adapters = Vec::new();
        for row in snapshot.table(ADAPTER_REFS)?.iter().map_err(ViewError::store)? {
            adapters.push(unpack(VIEW, row.map_err(ViewError::store)?.1.value())?);
        }
        Ok(Self {
            index: FxHashMap::default(),
            cache: Vec::new(),
            dirty: Vec::new(),
            new: Vec::new(),
            adopted: Vec::new(),
            facts: BTreeMap::new(),
            marks: Vec::new(),
            families: families::Fold::default(),
            reports: FxHashMap::default(),
            heard: FxHashMap::default(),
            adapters_stored: adapters.len(),
            adapters,
            next_id: devices as u32 + 1,
            held: snapshot.table(MARK_COUNTS)?.get(HELD).map_err(ViewError::store)?.map_or(0, |v| v.value()),
            batch: 0,
            tables: None,
        })
    }

    /// Before the first entry of a batch.
    pub fn begin(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.batch += 1;
        if self.cache.len() > limits::DEVICE_CACHE_ROWS_MAX {
            self.forget_idle();
        }
        self.tables = Some(Tables {
            ids: snapshot.table(IDS)?,
            rows: snapshot.table(ROWS)?,
            facts: snapshot.table(FACTS)?,
            addresses: snapshot.table(ADDRESSES)?,
        });
        Ok(())
    }

    /// Keeps what the last batch used, if that is few enough.
    fn forget_idle(&mut self) {
        let before = self.batch - 1;
        let mut kept: Vec<_> = std::mem::take(&mut self.cache).into_iter().filter(|c| c.used == before).collect();
        if kept.len() > limits::DEVICE_CACHE_ROWS_MAX {
            kept.clear();
        }
        self.index = kept.iter().enumerate().map(|(at, c)| (c.key.clone(), Slot(at))).collect();
        self.cache = kept;
    }

    fn tables(&self) -> Result<&Tables> {
        self.tables.as_ref().ok_or_else(|| ViewError::Store("no batch was begun".into()))
    }

    /// The device, if it is known.
    pub fn find(&mut self, key: &DeviceKey) -> Result<Option<Slot>> {
        if let Some(slot) = self.index.get(key) {
            self.cache[slot.0].used = self.batch;
            return Ok(Some(*slot));
        }
        let tables = self.tables()?;
        let Some(id) = tables.ids.get(key.as_str()).map_err(ViewError::store)?.map(|v| v.value()) else {
            return Ok(None);
        };
        let row = match tables.rows.get(id).map_err(ViewError::store)? {
            Some(bytes) => unpack(VIEW, bytes.value())?,
            None => return Err(ViewError::Damaged { view: VIEW }),
        };
        let counted = Counted::of(&row);
        Ok(Some(self.remember(id, key.clone(), row, Some(counted))))
    }

    /// The device, known from now on.
    pub fn ensure(&mut self, key: &DeviceKey) -> Result<Slot> {
        if let Some(slot) = self.find(key)? {
            return Ok(slot);
        }
        let id = self.next_id;
        self.next_id += 1;
        let slot = self.remember(id, key.clone(), Row::default(), None);
        self.new.push(slot);
        self.change(slot);
        Ok(slot)
    }

    fn remember(&mut self, id: u32, key: DeviceKey, row: Row, counted: Option<Counted>) -> Slot {
        let slot = Slot(self.cache.len());
        self.index.insert(key.clone(), slot);
        self.cache.push(Cached { id, key, row, counted, dirty: false, used: self.batch });
        slot
    }

    /// The meter that a carrier speaks for: the one that is registered there, or else one of its own realm, unless an operator
    /// has named one elsewhere.
    pub fn subject(&mut self, carrier: Slot, registered: Option<DeviceKey>, address: &str) -> Result<Option<Slot>> {
        if let Some(registered) = registered {
            return self.ensure(&registered).map(Some);
        }
        let Ok(key) = DeviceKey::new(self.key(carrier).realm(), address) else { return Ok(None) };
        if let Some(known) = self.find(&key)? {
            return Ok(Some(known));
        }
        match self.adopted_elsewhere(address)? {
            Some(adopted) => Ok(Some(adopted)),
            None => self.ensure(&key).map(Some),
        }
    }

    /// A frame came through that carrier, or told of the device; one that is folded late tells of a time before.
    pub fn stands_behind(&mut self, slot: Slot, carrier: Slot, seq: Seq) {
        let id = self.id(carrier);
        if seq.0 >= self.row(slot).last_seq && self.row(slot).carrier != id {
            self.change(slot).carrier = id;
        }
    }

    /// The one adopted device with this address; `None` when there is none or more than one.
    fn adopted_elsewhere(&mut self, address: &str) -> Result<Option<Slot>> {
        let mut keys = Vec::new();
        for row in self.tables()?.addresses.range((address, "")..).map_err(ViewError::store)? {
            let (key, _) = row.map_err(ViewError::store)?;
            let (found, realm) = key.value();
            if found != address {
                break;
            }
            keys.push(DeviceKey::new(realm, found).map_err(|_| ViewError::Damaged { view: VIEW })?);
        }
        let now = self.adopted.iter().map(|(slot, ..)| &self.cache[slot.0].key).filter(|key| key.address() == address);
        keys.extend(now.cloned());
        keys.sort_unstable();
        keys.dedup();
        let mut found = None;
        for key in keys {
            if let Some(slot) = self.find(&key)?
                && self.cache[slot.0].row.adopted
                && found.replace(slot).is_some()
            {
                return Ok(None);
            }
        }
        Ok(found)
    }

    pub fn key(&self, slot: Slot) -> &DeviceKey {
        &self.cache[slot.0].key
    }

    pub fn id(&self, slot: Slot) -> u32 {
        self.cache[slot.0].id
    }

    pub fn row(&self, slot: Slot) -> &Row {
        &self.cache[slot.0].row
    }

    /// The row, to be written with this batch.
    pub fn change(&mut self, slot: Slot) -> &mut Row {
        let cached = &mut self.cache[slot.0];
        if !cached.dirty {
            cached.dirty = true;
            self.dirty.push(slot);
        }
        &mut cached.row
    }

    /// A frame came from the device.
    pub fn seen(&mut self, slot: Slot, seq: Seq, at_ms: i64, adapter: Option<&AdapterRef>) {
        let number = adapter.map(|adapter| self.adapter(adapter));
        let row = self.change(slot);
        row.first_seen_ms = Some(row.first_seen_ms.map_or(at_ms, |first| first.min(at_ms)));
        // What came last was seen last, whatever the machine's clock said before.
        if seq.0 >= row.last_seq {
            (row.last_seq, row.last_seen_ms) = (seq.0, Some(at_ms));
            row.adapter = number.unwrap_or(row.adapter);
        }
        let family = (row.adapter, row.kind);
        let heard = self.heard.entry(family).or_default();
        *heard = (*heard).max(Some((seq.0, at_ms)));
    }

    /// Somebody else's frame has told of the device.
    pub fn told_by(&mut self, slot: Slot, sender: Slot, seq: Seq, at_ms: i64) {
        let adapter = self.row(sender).adapter;
        let row = self.change(slot);
        if row.adapter == 0 {
            row.adapter = adapter;
        }
        let family = (row.adapter, row.kind);
        let heard = self.heard.entry(family).or_default();
        *heard = (*heard).max(Some((seq.0, at_ms)));
    }

    fn adapter(&mut self, adapter: &AdapterRef) -> u16 {
        let at = self.adapters.iter().rposition(|known| known == adapter).unwrap_or_else(|| {
            self.adapters.push(adapter.clone());
            self.adapters.len() - 1
        });
        // Past 65,535 versions a device shows none; the journal still names it.
        u16::try_from(at + 1).unwrap_or(0)
    }

    /// The name under which a component was last seen.
    pub fn adapter_name(&self, digest: crate::model::Digest) -> Option<&str> {
        self.adapters.iter().rev().find(|a| a.digest == digest).map(|a| &a.name[..])
    }

    pub fn set_memory(&mut self, slot: Slot, seq: Seq, memory: &HexBytes) {
        let row = self.change(slot);
        if seq.0 >= row.memory_seq {
            row.memory_seq = seq.0;
            row.memory.clone_from(memory);
        }
    }

    pub fn set_clock(&mut self, slot: Slot, clock: Civil, received: Civil) {
        self.change(slot).clock_drift_s = Some(clock.0.saturating_sub(received.0));
    }

    pub fn hold(&mut self, slot: Slot) {
        if !self.row(slot).held {
            self.change(slot).held = true;
            self.held += 1;
            self.marks.push((HELD.to_owned(), slot, true));
        }
    }

    /// Whether any device is held: most of a registry's rows need no look at the devices then.
    pub fn any_held(&self) -> bool {
        self.held > 0
    }

    pub fn unhold(&mut self, slot: Slot) {
        if self.row(slot).held {
            self.change(slot).held = false;
            self.held = self.held.saturating_sub(1);
            self.marks.push((HELD.to_owned(), slot, false));
        }
    }

    pub fn adopt(&mut self, slot: Slot, seq: Seq, by: &str) {
        self.change(slot).adopted = true;
        self.adopted.push((slot, seq, by.to_owned()));
    }

    /// How it stands; an older frame that is folded late does not count, and words of a time before (see `words`) end no alarm and
    /// leave the valve as it is.
    pub fn set_status(&mut self, slot: Slot, seq: Seq, received: (i64, Civil), status: &Status) {
        let said = status.valve.is_some() || status.alarms.is_some();
        if !said || seq.0 < self.row(slot).status_seq {
            return;
        }
        let mut marks = Vec::new();
        let (at_ms, now) = received;
        let row = self.change(slot);
        let is_same = status.at.is_some()
            && status.at == row.told_at.newest
            && status.valve.is_some_and(|valve| row.told_valve.as_ref() == Some(valve));
        let words = if is_same { Words::Late } else { row.told_at.hear(status.at, now) };
        if words == Words::Late {
            let raised = status.alarms.map_or(&[][..], |(alarms, _)| alarms);
            let all = row.alarms.iter().chain(raised).cloned().collect();
            set_alarms(row, slot, all, &mut marks);
            self.marks.append(&mut marks);
            return;
        }
        if let (Some(at), Some(valve)) = (status.at, status.valve)
            && is_credible(at, now)
        {
            if words == Words::News {
                row.valve_seq = seq.0;
            }
            row.told_valve = Some(valve.clone());
        }
        (row.status_seq, row.status_ms) = (seq.0, Some(at_ms));
        if let Some(valve) = status.valve {
            let before = row.valve.as_ref().map(|v| v.state);
            if before != Some(valve.state) {
                marks.extend(before.map(|state| (mark_of_valve(state), slot, false)));
                marks.push((mark_of_valve(valve.state), slot, true));
            }
            if row.valve.as_ref() != Some(valve) {
                row.valve = Some(valve.clone());
            }
        }
        if let Some((alarms, raw_status)) = status.alarms {
            row.raw_status = raw_status;
            if row.alarms != alarms {
                set_alarms(row, slot, alarms.to_vec(), &mut marks);
            }
        }
        self.marks.append(&mut marks);
    }

    pub fn set_registration(&mut self, slot: Slot, seq: Seq, at_ms: i64, registration: &Registration) -> Result<()> {
        let hash = hash(registration);
        if self.row(slot).facts_hash == hash {
            return Ok(());
        }
        let facts = self.facts(slot)?;
        if seq.0 < facts.registered_seq {
            return Ok(());
        }
        facts.registration = Some(registration.clone());
        (facts.registered_ms, facts.registered_seq) = (Some(at_ms), seq.0);
        if registration.schedule.is_some() && seq.0 >= facts.schedule_seq {
            facts.schedule.clone_from(&registration.schedule);
            facts.schedule_seq = seq.0;
        }
        let row = self.change(slot);
        row.facts_hash = hash;
        let before = std::mem::replace(&mut row.kind, registration.kind);
        if before != registration.kind {
            let family = (row.adapter, row.kind);
            self.heard.entry(family).or_default();
            for (kind, has) in [(before, false), (registration.kind, true)] {
                if kind != DeviceKind::Meter {
                    self.marks.push((mark_of_kind(kind), slot, has));
                }
            }
        }
        Ok(())
    }

    pub fn set_schedule(&mut self, slot: Slot, seq: Seq, schedule: &Schedule) -> Result<()> {
        let facts = self.facts(slot)?;
        if seq.0 >= facts.schedule_seq && facts.schedule.as_ref() != Some(schedule) {
            facts.schedule = Some(schedule.clone());
            facts.schedule_seq = seq.0;
            // The next registration, which may name the former schedule, has to be looked at.
            self.change(slot).facts_hash = 0;
        }
        Ok(())
    }

    fn facts(&mut self, slot: Slot) -> Result<&mut Facts> {
        let id = self.id(slot);
        if !self.facts.contains_key(&id) {
            let facts = match self.tables()?.facts.get(id).map_err(ViewError::store)? {
                Some(bytes) => unpack(VIEW, bytes.value())?,
                None => Facts::default(),
            };
            self.facts.insert(id, facts);
        }
        Ok(self.facts.entry(id).or_default())
    }

    /// A report of the device has come.
    pub fn reported(&mut self, slot: Slot, day: Day) {
        let row = &self.cache[slot.0].row;
        *self.reports.entry((row.adapter, row.kind, day)).or_default() += 1;
    }

    /// A reading of that day comes; tells whether it is the first of a new day, so that there is no row yet.
    pub fn reading(&mut self, slot: Slot, day: Day, received: Civil) -> bool {
        let row = &self.cache[slot.0].row;
        let fresh = row.newest_day.is_none_or(|newest| day > newest);
        let latest = row.latest_day.is_none_or(|latest| day > latest) && is_credible_day(day, received);
        if fresh || latest || row.oldest_day.is_none_or(|oldest| day < oldest) {
            let row = self.change(slot);
            row.newest_day = row.newest_day.max(Some(day));
            row.oldest_day = Some(row.oldest_day.map_or(day, |oldest| oldest.min(day)));
            if latest {
                row.latest_day = Some(day);
            }
        }
        fresh
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        self.tables = None;
        self.write_new(txn)?;
        let mut rows = txn.open_table(ROWS).map_err(ViewError::store)?;
        let mut dirty: Vec<(u32, Slot)> = self.dirty.drain(..).map(|slot| (self.cache[slot.0].id, slot)).collect();
        dirty.sort_unstable();
        let mut bytes = Vec::new();
        for (id, slot) in dirty {
            let cached = &mut self.cache[slot.0];
            cached.dirty = false;
            recount(&mut self.families, &self.adapters, cached);
            bytes.clear();
            bytes = postcard::to_extend(&cached.row, bytes).map_err(|_| ViewError::Damaged { view: VIEW })?;
            rows.insert(id, &bytes[..]).map_err(ViewError::store)?;
        }
        let mut facts = txn.open_table(FACTS).map_err(ViewError::store)?;
        for (id, row) in std::mem::take(&mut self.facts) {
            facts.insert(id, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
        }
        for ((adapter, kind), by) in self.heard.drain() {
            if let Some(adapter) = named(&self.adapters, adapter) {
                self.families.heard(adapter, kind, by);
            }
        }
        for ((adapter, kind, day), reports) in self.reports.drain() {
            if let Some(adapter) = named(&self.adapters, adapter) {
                self.families.reported(adapter, kind, day, reports);
            }
        }
        self.families.write(txn)?;
        self.write_marks(txn)?;
        let mut refs = txn.open_table(ADAPTER_REFS).map_err(ViewError::store)?;
        for (number, adapter) in (1_u16..).zip(&self.adapters).skip(self.adapters_stored) {
            refs.insert(number, &pack(VIEW, adapter)?[..]).map_err(ViewError::store)?;
        }
        self.adapters_stored = self.adapters.len();
        let mut adopted = txn.open_table(ADOPTED).map_err(ViewError::store)?;
        for (slot, seq, by) in self.adopted.drain(..) {
            adopted.insert(self.cache[slot.0].key.as_str(), (seq.0, &by[..])).map_err(ViewError::store)?;
        }
        Ok(())
    }

    fn write_new(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let mut new: Vec<(&DeviceKey, u32)> =
            self.new.iter().map(|slot| (&self.cache[slot.0].key, self.cache[slot.0].id)).collect();
        let mut keys = txn.open_table(KEYS).map_err(ViewError::store)?;
        for (key, id) in &new {
            keys.insert(*id, key.as_str()).map_err(ViewError::store)?;
        }
        let mut ids = txn.open_table(IDS).map_err(ViewError::store)?;
        new.sort_unstable();
        for (key, id) in &new {
            ids.insert(key.as_str(), *id).map_err(ViewError::store)?;
        }
        let mut addresses = txn.open_table(ADDRESSES).map_err(ViewError::store)?;
        new.sort_unstable_by_key(|(key, _)| (key.address(), key.realm()));
        for (key, id) in &new {
            addresses.insert((key.address(), key.realm()), *id).map_err(ViewError::store)?;
        }
        self.new.clear();
        Ok(())
    }

    fn write_marks(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.marks.is_empty() {
            return Ok(());
        }
        let mut marks = txn.open_table(MARKS).map_err(ViewError::store)?;
        let mut changes: BTreeMap<String, i64> = BTreeMap::new();
        // Only the last word on a device and a mark counts; sorted, neighbours share pages.
        let mut last: BTreeMap<(String, Slot), bool> = BTreeMap::new();
        for (mark, slot, has) in self.marks.drain(..) {
            last.insert((mark, slot), has);
        }
        for ((mark, slot), has) in last {
            let cached = &self.cache[slot.0];
            let key = (&mark[..], cached.key.as_str());
            let had = if has {
                marks.insert(key, cached.id).map_err(ViewError::store)?.is_some()
            } else {
                marks.remove(key).map_err(ViewError::store)?.is_some()
            };
            *changes.entry(mark).or_default() += i64::from(has) - i64::from(had);
        }
        let mut counts = txn.open_table(MARK_COUNTS).map_err(ViewError::store)?;
        for (mark, change) in changes {
            let before = counts.get(&mark[..]).map_err(ViewError::store)?.map_or(0, |v| v.value());
            match before.saturating_add_signed(change) {
                0 => counts.remove(&mark[..]).map_err(ViewError::store)?,
                now => counts.insert(&mark[..], now).map_err(ViewError::store)?,
            };
        }
        Ok(())
    }
}

/// Puts a device where it stands now.
fn recount(families: &mut families::Fold, adapters: &[AdapterRef], cached: &mut Cached) {
    let now = Counted::of(&cached.row);
    let before = cached.counted.replace(now);
    if before != Some(now) {
        for (counted, sign) in before.map(|before| (before, -1)).into_iter().chain([(now, 1)]) {
            if let Some(adapter) = named(adapters, counted.adapter) {
                families.count(adapter, counted, sign);
            }
        }
    }
}

/// Which alarms stand now, and what that changes of the marks by which listings find the device.
fn set_alarms(row: &mut Row, slot: Slot, mut alarms: Vec<String>, marks: &mut Vec<(String, Slot, bool)>) {
    alarms.sort_unstable();
    alarms.dedup();
    let gone = row.alarms.iter().filter(|a| !alarms.contains(a));
    marks.extend(gone.map(|alarm| (mark_of_alarm(alarm), slot, false)));
    let come = alarms.iter().filter(|a| !row.alarms.contains(a));
    marks.extend(come.map(|alarm| (mark_of_alarm(alarm), slot, true)));
    if row.alarms.is_empty() != alarms.is_empty() {
        marks.push((ALARM.to_owned(), slot, !alarms.is_empty()));
    }
    row.alarms = alarms;
}

/// The name behind a number of a row.
fn named(adapters: &[AdapterRef], number: u16) -> Option<&str> {
    adapters.get(usize::from(number).checked_sub(1)?).map(|adapter| &adapter.name[..])
}

/// Of everything but the clock, which is another one each time. Never 0.
fn hash(registration: &Registration) -> u64 {
    let mut hasher = FxHasher::default();
    let r = registration;
    (r.kind, &r.manufacturer, &r.model, &r.hardware, &r.firmware, &r.iccid, &r.imei).hash(&mut hasher);
    (r.capabilities.0, r.key_version).hash(&mut hasher);
    r.schedule
        .as_ref()
        .map(|s| (s.period, s.minute_of_day, s.stagger_minutes, s.awake_minutes, s.heartbeat_minutes))
        .hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use crate::journal::Entry;
    use crate::model::{Civil, Initiator, Message, Report, ValveState, ValveStatus};
    use crate::views::Views;
    use crate::views::tests::{NOON_MS, Station, decoded, device, frame, report};
    use std::time::Duration;

    #[test]
    fn a_status_that_comes_late_hides_no_newer_one() {
        let station = Station::new("late-status");
        let now = station.clock.civil(NOON_MS).0;
        let said = |at: i64, state, alarms: &[&str]| {
            let valve = Some(ValveStatus { state, by: Initiator::Meter, reason: None });
            let alarms = alarms.iter().map(|&alarm| alarm.to_owned()).collect();
            decoded(vec![Message::Report(Report { at: Some(Civil(at)), valve, alarms, ..report(None, vec![]) })])
        };
        let (open, shut) = (ValveState::Open, ValveState::ClosedForced);
        let mut views = None;
        let mut tell = |outcome| {
            let views = views.get_or_insert_with(|| station.open());
            let seq = station.tell(frame("1", outcome));
            assert!(views.wait_caught_up(seq, Duration::from_secs(20)));
            let shown = views.device(&device("1")).expect("reads").expect("known");
            let is_newest = views.newest_valve(&device("1")).expect("reads") == Some(seq);
            (shown.valve.expect("told").state, shown.alarms, is_newest)
        };
        let leak = || vec!["gas-leak".to_owned()];
        assert_eq!(tell(said(now - 600, open, &[])), (open, vec![], true));
        assert_eq!(tell(said(now, shut, &["gas-leak"])), (shut, leak(), true));
        // Of a time before, the same again, and what is raised all the same.
        assert_eq!(tell(said(now - 300, open, &[])), (shut, leak(), false));
        assert_eq!(tell(said(now, shut, &["gas-leak"])), (shut, leak(), false));
        assert_eq!(tell(said(now - 200, open, &["low-battery"])).1, ["gas-leak", "low-battery"]);
        assert_eq!(tell(said(now + 60, open, &[])), (open, vec![], true));
        // A clock that is ahead, then right again, then lost: each shows how the device stands, and is no proof of when.
        assert_eq!(tell(said(now + 9_000_000, shut, &[])), (shut, vec![], false));
        assert_eq!(tell(said(now + 120, open, &[])), (open, vec![], true));
        assert_eq!(tell(said(0, shut, &[])), (shut, vec![], false));
        assert_eq!(tell(said(60, open, &[])), (open, vec![], true));
    }

    #[test]
    fn a_clock_that_is_set_right_hides_nothing() {
        const HOUR_S: i64 = 3_600;
        let station = Station::new("clock-ahead");
        let (open, shut) = (ValveState::Open, ValveState::ClosedForced);
        // Received so many seconds after noon, and dated by the device's clock.
        let tell = |received_s: i64, at_s: i64, state, alarms: &[&str]| {
            let at_ms = NOON_MS + received_s * 1_000;
            let valve = Some(ValveStatus { state, by: Initiator::Meter, reason: None });
            let alarms = alarms.iter().map(|&alarm| alarm.to_owned()).collect();
            let at = Some(Civil(station.clock.civil(NOON_MS).0 + at_s));
            let fact = frame("1", decoded(vec![Message::Report(Report { at, valve, alarms, ..report(None, vec![]) })]));
            station.journal.append_blocking(Entry { at_ms, fact }).expect("appends")
        };
        let shown = |seq| {
            let views = station.views();
            let shown = views.device(&device("1")).expect("reads").expect("known");
            let is_newest = views.newest_valve(&device("1")).expect("reads") == Some(seq);
            (shown.valve.expect("told").state, shown.alarms, is_newest)
        };
        let leak = || vec!["gas-leak".to_owned()];
        // Three hours ahead, then right.
        assert_eq!(shown(tell(0, 3 * HOUR_S, open, &[])), (open, vec![], true));
        assert_eq!(shown(tell(60, 61, shut, &["gas-leak"])), (shut, leak(), true));
        // Held back since before, and repeated of when it was ahead.
        assert_eq!(shown(tell(70, -HOUR_S, open, &[])), (shut, leak(), false));
        assert_eq!(shown(tell(80, 3 * HOUR_S, open, &[])), (shut, leak(), false));
        assert_eq!(shown(tell(90, 61, shut, &["gas-leak"])), (shut, leak(), false));
        assert_eq!(shown(tell(120, 121, open, &[])), (open, vec![], true));
        // Made anew, the views show the same: what counts is when each entry was received.
        let before = station.views().device(&device("1"));
        Views::rebuild(&station.dir, &station.journal, &station.clock, &mut |_| {}).expect("rebuilds");
        assert_eq!(station.views().device(&device("1")), before);
    }
}
