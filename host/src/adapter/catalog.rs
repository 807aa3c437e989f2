//! The adapters of a station: a directory of `.wasm` files, followed while it changes, and the version of each that serves.
//!
//! Reading and compiling happen in `scan`, on a thread that may block. Sessions ask `active`, which never waits.

use super::engine::Runtime;
use super::manifest::{LoadError, Manifest, Sections};
use super::{Adapter, KeyStore};
use crate::journal::AdapterStep;
use crate::limits::{ADAPTER_FILES_MAX, COMPONENT_BYTES_MAX};
use crate::model::Digest;
use arc_swap::ArcSwap;
use cap_std::fs::{Dir, Metadata, MetadataExt};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// All adapters of one directory.
pub struct Catalog {
    pub(super) dir: Dir,
    pub(super) runtime: Arc<Runtime>,
    pub(super) keys: Arc<dyn KeyStore>,
    active: ArcSwap<FxHashMap<String, Arc<Adapter>>>,
    listed: ArcSwap<Vec<Listed>>,
    files: Mutex<Files>,
    /// Who last changed a file through the API.
    hands: Mutex<BTreeMap<String, String>>,
}

/// One file of the directory, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    pub file: String,
    pub name: String,
    pub version: String,
    pub digest: Option<Digest>,
    pub state: State,
    /// Why it does not serve.
    pub reason: String,
}

/// Where in its life an adapter file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Serves frames.
    Active,
    /// Loads, but a higher version serves.
    Standby,
    Rejected,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Rejected => "rejected",
        }
    }
}

/// Something a scan found out, for the journal.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub file: String,
    /// The file that was put there, changed or taken away; not always the one that serves now.
    pub cause: String,
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub step: AdapterStep,
}

#[derive(Default)]
struct Files {
    by_name: BTreeMap<String, File>,
    /// Which file each name's serving version came from.
    elected: BTreeMap<String, String>,
    /// At the first scan every file counts as finished.
    scanned_before: bool,
}

/// What is known of one file. A bad file does not end what the same name held before: `serving` stays.
struct File {
    print: Print,
    digest: Option<Digest>,
    /// Seen twice with the same print: not being written any more.
    settled: bool,
    serving: Option<Arc<Adapter>>,
    rejected: Option<Rejection>,
}

struct Rejection {
    name: String,
    version: String,
    error: LoadError,
    /// Not told yet, since the file may still be being written.
    untold: bool,
}

/// Enough of a file's metadata to notice that it changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Print {
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
    inode: u64,
}

impl Catalog {
    /// Nothing is loaded before the first `scan`. Compiled code is kept in `cache`, a directory of the station's own.
    pub fn open(dir: Dir, cache: Option<Dir>, keys: Arc<dyn KeyStore>) -> anyhow::Result<Self> {
        Ok(Self {
            dir,
            runtime: Runtime::new(cache)?,
            keys,
            active: ArcSwap::default(),
            listed: ArcSwap::default(),
            files: Mutex::default(),
            hands: Mutex::default(),
        })
    }

    /// The version that serves; asked for every frame, so that a replacement serves the very next one.
    pub fn active(&self, name: &str) -> Option<Arc<Adapter>> {
        self.active.load().get(name).cloned()
    }

    /// Every file, by name.
    pub fn list(&self) -> Arc<Vec<Listed>> {
        self.listed.load_full()
    }

    /// Who last changed this file through the API; `None`: it came by itself.
    pub fn hand(&self, file: &str) -> Option<String> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }

    pub(super) fn note_hand(&self, file: &str, by: &str) {
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        if hands.len() >= ADAPTER_FILES_MAX {
            hands.clear();
        }
        hands.insert(file.to_owned(), by.to_owned());
    }

    /// Looks at the directory and loads what is new. Blocks for as long as compiling takes; one scan at a time.
    pub fn scan(&self) -> io::Result<Vec<Change>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !std::mem::replace(&mut files.scanned_before, true);
        let mut changes = Vec::new();
        let present = self.present()?;
        files.by_name.retain(|name, _| present.contains_key(name));
        for (name, print) in present {
            self.look(&mut files.by_name, &name, print);
            changes.extend(files.by_name.get_mut(&name).and_then(|file| file.tell(&name, first)));
        }
        let Files { by_name, elected, .. } = &mut *files;
        self.elect(by_name, elected, &mut changes);
        Ok(changes)
    }

    /// Names and prints of the adapter files.
    fn present(&self) -> io::Result<BTreeMap<String, Print>> {
        let mut present = BTreeMap::new();
        for entry in self.dir.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_adapter_file(&name) {
                continue;
            }
            // Follows links within the directory; a file that vanished meanwhile is simply not there.
            if let Ok(about) = self.dir.metadata(&name)
                && about.is_file()
            {
                present.insert(name, Print::of(&about));
            }
            if present.len() > ADAPTER_FILES_MAX {
                return Err(io::Error::other(format!("more than {ADAPTER_FILES_MAX} adapter files")));
            }
        }
        Ok(present)
    }

    /// Brings one file's record up to date. A file counts as settled once two scans saw it alike, so that one written in
    /// two halves within a clock tick is not missed.
    fn look(&self, files: &mut BTreeMap<String, File>, name: &str, print: Print) {
        let known = files.get_mut(name);
        if known.as_ref().is_some_and(|file| file.print == print && file.settled) {
            return;
        }
        let bytes = self.read(name);
        let digest = bytes.as_ref().ok().map(|bytes| Digest::of(bytes));
        if let Some(file) = known
            && digest.is_some()
            && file.digest == digest
        {
            file.settled = file.print == print;
            file.print = print;
            return;
        }
        let serving = files.remove(name).and_then(|file| file.serving);
        let mut file = File { print, digest, settled: false, serving, rejected: None };
        match bytes {
            Err(error) => file.rejected = Some(Rejection::of(name, &[], LoadError::Unreadable(error.to_string()))),
            Ok(bytes) => match Adapter::load_conforming(&self.runtime, &bytes, self.keys.clone()) {
                Ok(adapter) => file.serving = Some(Arc::new(adapter)),
                Err(error) => file.rejected = Some(Rejection::of(name, &bytes, error)),
            },
        }
        files.insert(name.to_owned(), file);
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to be refused.
        self.dir.open(name)?.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Of several versions of one name the highest serves; of equal ones, the file that sorts last.
    fn elect(&self, files: &BTreeMap<String, File>, elected: &mut BTreeMap<String, String>, changes: &mut Vec<Change>) {
        let mut chosen: FxHashMap<String, (&str, Arc<Adapter>)> = FxHashMap::default();
        for (file, adapter) in files.iter().filter_map(|(name, file)| Some((name.as_str(), file.serving.as_ref()?))) {
            let beaten = chosen
                .get(adapter.name())
                .is_some_and(|(_, best)| best.manifest.version().cmp_precedence(&adapter.manifest.version()).is_gt());
            if !beaten {
                chosen.insert(adapter.name().to_owned(), (file, adapter.clone()));
            }
        }
        let before = self.active.load_full();
        for (name, old) in before.iter().filter(|(name, _)| !chosen.contains_key(*name)) {
            let file = elected.remove(name).unwrap_or_else(|| name.clone());
            changes.push(Change::of(&file, &file, old, AdapterStep::Removed));
        }
        for (file, new) in chosen.values() {
            let from = elected.insert(new.name().to_owned(), (*file).to_owned());
            let cause = match (before.get(new.name()), &from) {
                (Some(old), _) if old.digest == new.digest => continue,
                // The old version left its file: whoever did that made way for this one.
                (Some(old), Some(from)) if !is_there(files, from, old) => from,
                _ => *file,
            };
            if let Some(old) = before.get(new.name()) {
                changes.push(Change::of(file, cause, old, AdapterStep::Replaced { with: new.digest }));
            }
            changes.push(Change::of(file, cause, new, AdapterStep::Activated));
        }
        let listed = files.iter().flat_map(|(name, file)| file.list(name, &chosen)).collect();
        self.listed.store(Arc::new(listed));
        self.active.store(Arc::new(chosen.into_iter().map(|(name, (_, adapter))| (name, adapter)).collect()));
    }
}

impl File {
    /// The rejection, once it is certain that the file is finished.
    fn tell(&mut self, file: &str, first_scan: bool) -> Option<Change> {
        let digest = self.digest.unwrap_or_else(|| Digest::of(&[]));
        let rejection = self.rejected.as_mut().filter(|rejection| rejection.untold)?;
        if rejection.error.may_be_unfinished() && !first_scan && !self.settled {
            return None;
        }
        rejection.untold = false;
        Some(Change {
            file: file.to_owned(),
            cause: file.to_owned(),
            name: rejection.name.clone(),
            version: rejection.version.clone(),
            digest,
            step: AdapterStep::Rejected { why: rejection.error.to_string() },
        })
    }

    /// A file that was replaced by a bad one has two rows: what still serves, and what was rejected.
    fn list(&self, file: &str, chosen: &FxHashMap<String, (&str, Arc<Adapter>)>) -> Vec<Listed> {
        let mut rows = Vec::new();
        if let Some(adapter) = &self.serving {
            let best = chosen.get(adapter.name()).map(|(_, best)| best);
            let active = best.is_some_and(|best| best.digest == adapter.digest);
            rows.push(Listed {
                file: file.to_owned(),
                name: adapter.name().to_owned(),
                version: adapter.version().to_owned(),
                digest: Some(adapter.digest),
                state: if active { State::Active } else { State::Standby },
                reason: best
                    .filter(|_| !active)
                    .map_or_else(String::new, |best| format!("version {} serves", best.version())),
            });
        }
        rows.extend(self.rejected.as_ref().map(|rejection| Listed {
            file: file.to_owned(),
            name: rejection.name.clone(),
            version: rejection.version.clone(),
            digest: self.digest,
            state: State::Rejected,
            reason: rejection.error.to_string(),
        }));
        rows
    }
}

impl Rejection {
    /// Named by its manifest where that can be read, else by its file.
    fn of(file: &str, bytes: &[u8], error: LoadError) -> Self {
        let manifest = Sections::find(bytes).and_then(|sections| Manifest::parse(sections.manifest)).ok();
        let stem = file.strip_suffix(".wasm").unwrap_or(file);
        let (name, version) = manifest.map_or_else(|| (stem.to_owned(), String::new()), |m| (m.name, m.version));
        Self { name, version, error, untold: true }
    }
}

impl Change {
    fn of(file: &str, cause: &str, adapter: &Adapter, step: AdapterStep) -> Self {
        Self {
            file: file.to_owned(),
            cause: cause.to_owned(),
            name: adapter.name().to_owned(),
            version: adapter.version().to_owned(),
            digest: adapter.digest,
            step,
        }
    }
}

/// Whether this file still holds this version.
fn is_there(files: &BTreeMap<String, File>, file: &str, adapter: &Adapter) -> bool {
    files.get(file).and_then(|f| f.serving.as_ref()).is_some_and(|serving| serving.digest == adapter.digest)
}

/// `name.wasm`; hidden files are drafts.
fn is_adapter_file(name: &str) -> bool {
    !name.starts_with('.') && std::path::Path::new(name).extension().is_some_and(|extension| extension == "wasm")
}

impl Print {
    fn of(about: &Metadata) -> Self {
        Self { bytes: about.len(), modified_s: about.mtime(), modified_ns: about.mtime_nsec(), inode: about.ino() }
    }
}
