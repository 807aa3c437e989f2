//! The device registry: what the utility says of its devices, whether or not they were ever heard.
//!
//! ```text
//! registry            realm/address              -> postcard of Stored
//! registry_children   (parent, realm/address)    -> ()
//! registry_districts  (district, realm/address)  -> (), where a district is said
//! registry_lines      (parent, what that calls the device, without zeros in front, realm/address) -> ()
//! registry_entries    u64 seq                    -> (): entries that set something and were not told again since
//! ```
//! An import brings rows in any order. A batch is written sorted by key, the last word on a device only, so that
//! neighbours share pages; the larger the backlog, the cheaper a row.

use super::devices::Page;
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::RegistryFact;
use crate::model::{DeviceKey, DeviceKind, Particulars, Record, Seq, bare};
use redb::{ReadOnlyTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub(super) const VIEW: &str = "registry";
pub(super) const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("registry");
pub(super) const CHILDREN: TableDefinition<(&str, &str), ()> = TableDefinition::new("registry_children");
pub(super) const DISTRICTS: TableDefinition<(&str, &str), ()> = TableDefinition::new("registry_districts");
pub(super) const LINES: TableDefinition<(&str, &str, &str), ()> = TableDefinition::new("registry_lines");
pub(super) const ENTRIES: TableDefinition<u64, ()> = TableDefinition::new("registry_entries");

/// Devices of one line address behind one carrier: one on each channel, and of each protocol.
const CALLED_SO_MAX: usize = 512;
/// Rows that one call looks at while it searches; a page may come back with fewer rows than asked for and go on.
const SCAN_ROWS_MAX: usize = 20_000;

/// A record, and who said it when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryRow {
    pub record: Record,
    pub by: String,
    pub since_ms: i64,
    /// The entry that says so, or that last told it again.
    pub seq: Seq,
}

/// Which records are wanted; all conditions hold together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RegistryFilter {
    /// Beginning of `realm/address`.
    pub prefix: String,
    pub parent: Option<DeviceKey>,
    pub district: Option<String>,
    pub kind: Option<DeviceKind>,
    pub adapter: Option<String>,
    pub model: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    seq: u64,
    since_ms: i64,
    by: Cow<'a, str>,
    about: Cow<'a, Particulars>,
}

/// What the registry says of one device.
pub(super) fn get(snapshot: &Snapshot, device: &DeviceKey) -> Result<Option<RegistryRow>> {
    look_up(&snapshot.table(RECORDS)?, device)
}

fn look_up(records: &ReadOnlyTable<&'static str, &'static [u8]>, device: &DeviceKey) -> Result<Option<RegistryRow>> {
    match records.get(device.as_str()).map_err(ViewError::store)? {
        Some(bytes) => row(device.clone(), bytes.value()).map(Some),
        None => Ok(None),
    }
}

/// The registry at one moment, for many look-ups.
pub struct RegistryNow {
    records: ReadOnlyTable<&'static str, &'static [u8]>,
    children: ReadOnlyTable<(&'static str, &'static str), ()>,
    lines: ReadOnlyTable<(&'static str, &'static str, &'static str), ()>,
}

impl RegistryNow {
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self> {
        let (records, children, lines) = (snapshot.table(RECORDS)?, snapshot.table(CHILDREN)?, snapshot.table(LINES)?);
        Ok(Self { records, children, lines })
    }

    pub fn len(&self) -> Result<u64> {
        self.records.len().map_err(ViewError::store)
    }

    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    pub fn contains(&self, device: &DeviceKey) -> Result<bool> {
        Ok(self.records.get(device.as_str()).map_err(ViewError::store)?.is_some())
    }

    pub fn get(&self, device: &DeviceKey) -> Result<Option<RegistryRow>> {
        look_up(&self.records, device)
    }

    /// The devices that their carrier calls so, by their line address or their own, with however many zeros either is written:
    /// one on each of its channels, say.
    pub fn called(&self, parent: &DeviceKey, address: &str) -> Result<Vec<DeviceKey>> {
        let address = bare(address);
        let range = self.lines.range((parent.as_str(), address, "")..).map_err(ViewError::store)?;
        let mut found = Vec::new();
        for row in range.take(CALLED_SO_MAX) {
            let (key, _) = row.map_err(ViewError::store)?;
            let (of, line, device) = key.value();
            if (of, line) != (parent.as_str(), address) {
                break;
            }
            found.push(parsed(device)?);
        }
        Ok(found)
    }

    /// Whom a carrier means that speaks of somebody so; `None`: nobody, or more than one, is called so there.
    pub fn meant(&self, carrier: &DeviceKey, called: &str) -> Result<Option<DeviceKey>> {
        let mut found = self.called(carrier, called)?;
        Ok(found.pop().filter(|_| found.is_empty()))
    }

    /// Devices behind that one, in the order of their keys.
    pub fn children(&self, parent: &DeviceKey) -> Result<impl Iterator<Item = Result<DeviceKey>>> {
        let parent = parent.as_str().to_owned();
        let range = self.children.range((&parent[..], "")..).map_err(ViewError::store)?;
        let behind = move |row: &Result<(String, DeviceKey)>| row.as_ref().map_or(true, |(of, _)| *of == parent);
        let read = range.map(|row| {
            let (key, _) = row.map_err(ViewError::store)?;
            let (of, child) = key.value();
            Ok((of.to_owned(), parsed(child)?))
        });
        Ok(read.take_while(behind).map(|row| row.map(|(_, child)| child)))
    }
}

/// Of these records, told by that entry, those that nothing has changed since.
pub(super) fn standing(now: &RegistryNow, seq: Seq, told: Vec<Record>) -> Result<Vec<Record>> {
    let mut standing = Vec::new();
    for record in told {
        if now.get(&record.device)?.is_some_and(|row| row.seq == seq) {
            standing.push(record);
        }
    }
    Ok(standing)
}

/// Entries between these (the first included, the second not) that set records and were not told again.
pub(super) fn entries(snapshot: &Snapshot, from: Seq, before: Seq, rows_max: usize) -> Result<Vec<Seq>> {
    let table = snapshot.table(ENTRIES)?;
    let rows = table.range(from.0..before.0.max(from.0)).map_err(ViewError::store)?.take(rows_max);
    rows.map(|row| Ok(Seq(row.map_err(ViewError::store)?.0.value()))).collect()
}

/// One page in the order of keys.
pub(super) fn list(
    snapshot: &Snapshot,
    filter: &RegistryFilter,
    after: Option<&str>,
    rows_max: usize,
) -> Result<Page<RegistryRow>> {
    let mut search = Search {
        filter,
        now: RegistryNow::of(snapshot)?,
        after,
        rows_max,
        seen: 0,
        page: Page { rows: Vec::new(), next: None },
    };
    let complete = if let Some(parent) = &filter.parent {
        search.index(&snapshot.table(CHILDREN)?, parent.as_str())?
    } else if let Some(district) = &filter.district {
        search.index(&snapshot.table(DISTRICTS)?, district)?
    } else {
        search.all()?
    };
    let mut page = search.page;
    if complete {
        page.next = None;
    }
    Ok(page)
}

struct Search<'a> {
    filter: &'a RegistryFilter,
    now: RegistryNow,
    after: Option<&'a str>,
    rows_max: usize,
    seen: usize,
    page: Page<RegistryRow>,
}

impl Search<'_> {
    /// Where the walk begins.
    fn start(&self) -> &str {
        self.after.map_or(&self.filter.prefix[..], |after| after.max(&self.filter.prefix))
    }

    /// Walks over what stands under one name in an index; tells whether it came to the end.
    fn index(&mut self, table: &ReadOnlyTable<(&'static str, &'static str), ()>, name: &str) -> Result<bool> {
        for row in table.range((name, self.start())..).map_err(ViewError::store)? {
            let (key, _) = row.map_err(ViewError::store)?;
            let (found, device) = key.value();
            if found != name || !device.starts_with(&self.filter.prefix) {
                break;
            }
            if Some(device) == self.after {
                continue;
            }
            let stored = self.now.get(&parsed(device)?)?.ok_or(ViewError::Damaged { view: VIEW })?;
            if !self.visit(device, || Ok(stored))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn all(&mut self) -> Result<bool> {
        let records = self.now.records.range(self.start()..).map_err(ViewError::store)?;
        for found in records {
            let (key, bytes) = found.map_err(ViewError::store)?;
            let device = key.value();
            if !device.starts_with(&self.filter.prefix) {
                break;
            }
            if Some(device) != self.after && !self.visit(device, || row(parsed(device)?, bytes.value()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False: enough.
    fn visit(&mut self, place: &str, read: impl FnOnce() -> Result<RegistryRow>) -> Result<bool> {
        if self.page.rows.len() == self.rows_max || self.seen == SCAN_ROWS_MAX {
            return Ok(false);
        }
        self.seen += 1;
        self.page.next = Some(place.to_owned());
        let row = read()?;
        if self.filter.matches(&row.record.about) {
            self.page.rows.push(row);
        }
        Ok(true)
    }
}

impl RegistryFilter {
    fn matches(&self, about: &Particulars) -> bool {
        self.parent.as_ref().is_none_or(|parent| about.parent.as_ref() == Some(parent))
            && self.district.as_ref().is_none_or(|district| about.district == *district)
            && self.kind.is_none_or(|kind| about.kind == kind)
            && self.adapter.as_ref().is_none_or(|adapter| about.adapter == *adapter)
            && self.model.as_ref().is_none_or(|model| about.model == *model)
    }
}

fn parsed(device: &str) -> Result<DeviceKey> {
    device.parse().map_err(|_| ViewError::Damaged { view: VIEW })
}

fn row(device: DeviceKey, bytes: &[u8]) -> Result<RegistryRow> {
    let Stored { seq, since_ms, by, about } = unpack(VIEW, bytes)?;
    let record = Record { device, about: about.into_owned() };
    Ok(RegistryRow { record, by: by.into_owned(), since_ms, seq: Seq(seq) })
}

/// What one batch says of devices.
#[derive(Default)]
pub(super) struct Fold {
    words: Vec<Word>,
    /// Entries that set something, and those whose records were told again.
    entries: Vec<(u64, bool)>,
}

/// One word on one device, as its row will be; `to` is `None` where its record is withdrawn.
struct Word {
    device: DeviceKey,
    seq: u64,
    to: Option<Placed>,
}

/// A row, and where the indexes have it.
struct Placed {
    bytes: Vec<u8>,
    parent: Option<DeviceKey>,
    district: String,
    line_address: String,
}

/// What its carrier calls a device, as the index has it.
fn called_so<'a>(line_address: &'a str, device: &'a DeviceKey) -> &'a str {
    bare(if line_address.is_empty() { device.address() } else { line_address })
}

/// Changes of one index: name, device, whether it belongs there.
type Marks = Vec<(String, DeviceKey, bool)>;

impl Fold {
    pub fn apply(&mut self, fact: &RegistryFact, seq: Seq, at_ms: i64) -> Result<()> {
        let since_ms = fact.retold.map_or(at_ms, |retold| retold.at_ms);
        for Record { device, about } in &fact.set {
            let bytes =
                pack(VIEW, &Stored { seq: seq.0, since_ms, by: (&fact.by[..]).into(), about: Cow::Borrowed(about) })?;
            let (parent, district) = (about.parent.clone(), about.district.clone());
            let placed = Placed { bytes, parent, district, line_address: about.line_address.clone() };
            self.words.push(Word { device: device.clone(), seq: seq.0, to: Some(placed) });
        }
        let gone = fact.withdrawn.iter().map(|device| Word { device: device.clone(), seq: seq.0, to: None });
        self.words.extend(gone);
        if !fact.set.is_empty() {
            self.entries.push((seq.0, true));
        }
        self.entries.extend(fact.retold.map(|retold| (retold.seq.0, false)));
        Ok(())
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.words.is_empty() && self.entries.is_empty() {
            return Ok(());
        }
        let mut words = std::mem::take(&mut self.words);
        words.sort_by(|a, b| (&a.device, a.seq).cmp(&(&b.device, b.seq)));
        let mut records = txn.open_table(RECORDS).map_err(ViewError::store)?;
        let (mut children, mut districts) = (Marks::new(), Marks::new());
        let mut lines = txn.open_table(LINES).map_err(ViewError::store)?;
        let mut words = words.into_iter().peekable();
        while let Some(Word { device, to, .. }) = words.next() {
            // Only the last word counts.
            if words.peek().is_some_and(|next| next.device == device) {
                continue;
            }
            let before = match &to {
                Some(placed) => records.insert(device.as_str(), &placed.bytes[..]).map_err(ViewError::store)?,
                None => records.remove(device.as_str()).map_err(ViewError::store)?,
            };
            let before: Option<Stored<'_>> = before.map(|bytes| unpack(VIEW, bytes.value())).transpose()?;
            let before = before.map(|stored| stored.about.into_owned());
            let (parent, district, line) =
                before.map(|about| (about.parent, about.district, about.line_address)).unwrap_or_default();
            let (parent_now, district_now, line_now) =
                to.map(|placed| (placed.parent, placed.district, placed.line_address)).unwrap_or_default();
            let (was, is) = (called_so(&line, &device), called_so(&line_now, &device));
            if (&parent, was) != (&parent_now, is) {
                if let Some(parent) = &parent {
                    lines.remove((parent.as_str(), was, device.as_str())).map_err(ViewError::store)?;
                }
                if let Some(parent) = &parent_now {
                    lines.insert((parent.as_str(), is, device.as_str()), ()).map_err(ViewError::store)?;
                }
            }
            let name = |parent: Option<DeviceKey>| parent.map(|parent| parent.to_string()).unwrap_or_default();
            mark(&mut children, &device, name(parent), name(parent_now));
            mark(&mut districts, &device, district, district_now);
        }
        write_marks(txn, CHILDREN, children)?;
        write_marks(txn, DISTRICTS, districts)?;
        let mut entries = txn.open_table(ENTRIES).map_err(ViewError::store)?;
        for (seq, stands) in self.entries.drain(..) {
            if stands {
                entries.insert(seq, ()).map_err(ViewError::store)?;
            } else {
                entries.remove(seq).map_err(ViewError::store)?;
            }
        }
        Ok(())
    }
}

/// An empty name is none.
fn mark(marks: &mut Marks, device: &DeviceKey, before: String, now: String) {
    if before != now {
        let names = [(before, false), (now, true)].into_iter().filter(|(name, _)| !name.is_empty());
        marks.extend(names.map(|(name, belongs)| (name, device.clone(), belongs)));
    }
}

fn write_marks(txn: &WriteTransaction, table: TableDefinition<(&str, &str), ()>, mut marks: Marks) -> Result<()> {
    marks.sort_unstable();
    let mut table = txn.open_table(table).map_err(ViewError::store)?;
    for (name, device, belongs) in marks {
        let key = (&name[..], device.as_str());
        if belongs {
            table.insert(key, ()).map_err(ViewError::store)?;
        } else {
            table.remove(key).map_err(ViewError::store)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::journal::{Fact, RegistryFact};
    use crate::model::{Civil, DeviceKey, Message, Report};
    use crate::views::tests::{Station, behind, decoded, device, frame, register, report};

    #[test]
    fn buses_of_one_carrier_number_their_meters_alike() {
        let station = Station::new("alike");
        let carrier = device("9");
        let record = |address: &str, line: &str| {
            let mut record = behind(&format!("usp/{address}"));
            record.about.line_address = line.into();
            record
        };
        let set = |set| Fact::Registry(RegistryFact { set, withdrawn: vec![], by: "ops".into(), retold: None });
        station.tell(set(vec![record("1", "17"), record("2", "17"), record("3", "18")]));
        station.tell(set(vec![
            record("4", "17"),
            record("1", "18"),
            record("0004A30B001C0530", ""),
            record("12082058", ""),
        ]));
        let registry = station.views();
        let registry = registry.registry().expect("reads");
        let called = |line| registry.called(&carrier, line).expect("reads");
        assert_eq!(called("17"), [device("2"), device("4")]);
        assert_eq!(called("18"), [device("1"), device("3")]);
        assert_eq!((called("0017"), called("1")), (vec![device("2"), device("4")], vec![]));
        // By their own address, as long as it is, and filled up with zeros.
        let long = "0004A30B001C0530";
        assert_eq!((called(long), called("00000012082058")), (vec![device(long)], vec![device("12082058")]));
    }

    /// A concentrator's collected readings are of whom the entry names; the registry was asked when it came.
    #[test]
    fn a_carrier_speaks_for_whom_the_entry_names() {
        let station = Station::new("registered");
        let of = |subject: &str| {
            let report = Report { subject: Some(subject.into()), ..report(Some(Civil(10)), vec![register(11)]) };
            frame("9", decoded(vec![Message::Report(report)]))
        };
        let key = |text: &str| text.parse::<DeviceKey>().expect("a key");
        for subject in ["m/LGB7", "1", "m/LGB7"] {
            station.tell(of(subject));
        }
        let views = station.views();
        let count = |device: &str| views.device(&key(device)).expect("reads").map_or(0, |device| device.counts.reports);
        assert_eq!((count("m/LGB7"), count("usp/1"), count("usp/LGB7")), (2, 1, 0));
        assert_eq!(views.device(&key("m/LGB7")).expect("reads").expect("known").carrier, Some(device("9")));
    }
}
