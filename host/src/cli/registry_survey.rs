//! The first walk through a file of records: everything that can be known of it without the registry. What is wrong is
//! collected by line; what is kept of each row is 16 bytes, as many again of one behind a parent, and of each concentrator
//! and DTU its place in the tree.

use crate::limits;
use crate::model::{Column, DeviceKey, Digest, Flaw, Record};
use crate::records::rows::{Csv, Row, Said};
use crate::records::table::Unreadable;
use crate::records::weigh::{Choices, Place, circle, duplicate, same_place_as_line, too_deep};
use anyhow::{Context, Result, anyhow};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::Path;

/// What is wrong with a file: how much, and the first of it.
pub struct Flaws {
    pub count: u64,
    pub first: Vec<Value>,
    shown_max: usize,
}

/// What is known of a file after one walk.
pub struct Survey {
    pub digest: Digest,
    /// The columns that the file has.
    pub said: Said,
    pub rows: u64,
    pub flaws: Flaws,
    /// Concentrators and DTUs of the file.
    carriers: FxHashMap<DeviceKey, Carrier>,
    /// Parents that the file has not named before their children.
    awaited: FxHashSet<u64>,
    /// Whether only the station can say of a row, whatever its parent, that it is right.
    hangs: bool,
    choices: Choices,
}

struct Carrier {
    line: u64,
    parent: Option<DeviceKey>,
    /// Carriers of the file in front of it.
    depth: usize,
}

/// What together says where a device stands; without one of these the registry has to be asked.
const PLACE: [Column; 4] = [Column::Parent, Column::Protocol, Column::Channel, Column::LineAddress];

/// Enough of a key's hash that two keys of a fleet never share it, and the line.
pub type Seen = (u64, u32, u32);

impl Survey {
    /// Walks through the file; `walked` hears how many bytes are behind.
    pub fn of(path: &Path, choices: &Choices, shown_max: usize, walked: &dyn Fn(u64)) -> Result<Self> {
        let behind = Cell::new(0);
        let mut bytes = Digesting { input: open(path)?, hash: Sha256::new(), count: &behind };
        let mut survey = Self {
            digest: Digest([0; 32]),
            said: Said::default(),
            rows: 0,
            flaws: Flaws::new(shown_max),
            carriers: FxHashMap::default(),
            awaited: FxHashSet::default(),
            hangs: false,
            choices: choices.clone(),
        };
        let (mut seen, mut places) = (Vec::new(), Vec::new());
        let mut csv = Csv::open(&mut bytes).map_err(|error| blame(path, &error))?;
        survey.said = csv.said();
        let placed = PLACE.iter().all(|column| survey.said.has(*column));
        while let Some(row) = csv.read().map_err(|error| blame(path, &error))? {
            survey.rows += 1;
            match row {
                Ok(row) => {
                    survey.flaws.extend(row.line, choices.check(&row));
                    seen.push(self::seen(&row.record.device, row.line)?);
                    if placed && let Some(place) = Place::of(&row.record.device, &row.record.about) {
                        places.push(self::seen(&place, row.line)?);
                    }
                    survey.hangs |= survey.hangs(&row);
                    survey.place(row.line, &row.record);
                }
                Err((line, flaws)) => survey.flaws.extend(line, flaws),
            }
            if survey.rows.is_multiple_of(4096) {
                walked(behind.get());
            }
        }
        drop(csv);
        survey.digest = Digest(bytes.hash.finalize().into());
        survey.flaws.duplicates(seen, duplicate);
        survey.flaws.duplicates(places, same_place_as_line);
        survey.lineage();
        survey.deep_meters(path)?;
        survey.flaws.in_order();
        Ok(survey)
    }

    /// Whether a device of the file stands behind one that comes later in it.
    pub fn out_of_order(&self) -> bool {
        self.carriers.keys().any(|key| self.awaited.contains(&hash(key).0))
    }

    /// Whether the file names this device as one that others can stand behind.
    pub fn has_carrier(&self, device: &DeviceKey) -> bool {
        self.carriers.contains_key(device)
    }

    /// Whether only the station can say that the rows are right: one names a parent that is not in the file, or hangs on
    /// what is known of its device.
    pub fn leans(&self) -> bool {
        let own: FxHashSet<u64> = self.carriers.keys().map(|key| hash(key).0).collect();
        self.hangs || self.awaited.iter().any(|parent| !own.contains(parent))
    }

    /// Whether this row is one of those.
    pub fn leans_with(&self, row: &Row) -> bool {
        let parent = row.record.about.parent.as_ref();
        self.hangs(row) || parent.is_some_and(|parent| !self.has_carrier(parent))
    }

    /// Whether it means something only together with the record of its device, or is right only of one that is known.
    fn hangs(&self, row: &Row) -> bool {
        row.hangs() || self.choices.misfit(&row.record.device).is_some()
    }

    /// Carriers of the file in front of this one; `None`: it is a meter.
    pub fn depth(&self, device: &DeviceKey) -> Option<usize> {
        self.carriers.get(device).map(|carrier| carrier.depth)
    }

    pub fn depth_most(&self) -> usize {
        self.carriers.values().map(|carrier| carrier.depth).max().unwrap_or(0)
    }

    fn place(&mut self, line: u64, record: &Record) {
        if let Some(parent) = &record.about.parent
            && !self.carriers.contains_key(parent)
        {
            self.awaited.insert(hash(parent).0);
        }
        if record.about.is_carrier() {
            let carrier = Carrier { line, parent: record.about.parent.clone(), depth: 0 };
            self.carriers.entry(record.device.clone()).or_insert(carrier);
        }
    }

    /// The depth of each carrier, unless it stands behind itself.
    fn lineage(&mut self) {
        let mut depths = Vec::with_capacity(self.carriers.len());
        for (device, carrier) in &self.carriers {
            let (mut depth, mut next) = (0, carrier.parent.as_ref());
            let flaw = loop {
                let Some(parent) = next.and_then(|parent| self.carriers.get(parent)) else { break None };
                if next == Some(device) {
                    break Some(circle(device));
                }
                depth += 1;
                if depth > limits::RECORD_DEPTH_MAX {
                    break Some(too_deep());
                }
                next = parent.parent.as_ref();
            };
            depths.push((device.clone(), carrier.line, depth, flaw));
        }
        for (device, line, depth, flaw) in depths {
            self.flaws.extend(line, flaw);
            if let Some(carrier) = self.carriers.get_mut(&device) {
                carrier.depth = depth;
            }
        }
    }

    /// Meters behind carriers that have as many in front as there may be. Meters are not kept, so where there are such
    /// carriers the file is walked through again.
    fn deep_meters(&mut self, path: &Path) -> Result<()> {
        let last = |carrier: &Carrier| carrier.depth == limits::RECORD_DEPTH_MAX;
        if !self.carriers.values().any(last) {
            return Ok(());
        }
        let mut csv = Csv::open(open(path)?).map_err(|error| blame(path, &error))?;
        while let Some(row) = csv.read().map_err(|error| blame(path, &error))? {
            let Ok(row) = row else { continue };
            let parent = row.record.about.parent.as_ref().and_then(|parent| self.carriers.get(parent));
            if !row.record.about.is_carrier() && parent.is_some_and(last) {
                self.flaws.extend(row.line, [too_deep()]);
            }
        }
        Ok(())
    }
}

impl Flaws {
    pub fn new(shown_max: usize) -> Self {
        Self { count: 0, first: Vec::new(), shown_max }
    }

    pub fn extend(&mut self, line: u64, flaws: impl IntoIterator<Item = Flaw>) {
        for Flaw { column, kind, message } in flaws {
            self.add(json!({"line": line, "column": column, "kind": kind.name(), "message": message}));
        }
    }

    /// Rows that speak of the same thing as one before.
    pub fn duplicates(&mut self, mut seen: Vec<Seen>, flaw: fn(u64) -> Flaw) {
        seen.sort_unstable();
        for same in seen.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|same| same.len() > 1) {
            for again in &same[1..] {
                self.extend(u64::from(again.2), [flaw(u64::from(same[0].2))]);
            }
        }
    }

    /// Those that are shown, by line.
    pub fn in_order(&mut self) {
        self.first.sort_by_key(|flaw| flaw["line"].as_u64());
    }

    pub fn add(&mut self, flaw: Value) {
        self.count += 1;
        if self.first.len() < self.shown_max {
            self.first.push(flaw);
        }
    }
}

pub fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("{}: cannot be read; name an existing CSV file", path.display()))
}

/// Why a file is no CSV of records.
pub fn blame(path: &Path, error: &Unreadable) -> anyhow::Error {
    match error {
        Unreadable::File(what) => anyhow!("{}: {what}", path.display()),
        Unreadable::Line { line, what } => anyhow!("{}: line {line}: {what}", path.display()),
    }
}

/// What is kept of a row to find a second one about the same.
pub fn seen(what: &impl Hash, line: u64) -> Result<Seen> {
    let (a, b) = hash(what);
    Ok((a, b, u32::try_from(line).context("the file has too many lines")?))
}

fn hash(what: &impl Hash) -> (u64, u32) {
    let of = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, what).hash(&mut hasher);
        hasher.finish()
    };
    (of(0), of(1) as u32)
}

/// A file whose bytes are counted and hashed on their way.
struct Digesting<'a> {
    input: File,
    hash: Sha256,
    count: &'a Cell<u64>,
}

impl Read for Digesting<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(into)?;
        self.hash.update(&into[..read]);
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}
