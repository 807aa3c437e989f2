//! The adapter directory: a `.wasm` file that is dropped into it is installed and serves; one that is taken away retires what
//! it brought. Only changes count: what a person decided later stays decided.

use super::{Delivery, Lifecycle, LifecycleError, Result, label, order};
use crate::adapter::Catalog;
use crate::journal::AdapterState;
use crate::limits::{ADAPTER_FILES_MAX, COMPONENT_BYTES_MAX};
use crate::model::Digest;
use crate::views::AdapterRow;
use cap_std::fs::{Dir, Metadata, MetadataExt};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::sync::{MutexGuard, PoisonError};

/// The directory, as it was seen last.
pub(super) struct DropIns {
    dir: Dir,
    files: BTreeMap<String, File>,
    /// Named like adapters and no plain files; each is told once.
    odd: BTreeSet<String>,
    /// At the first look every file counts as finished, and is no news if it is known.
    looked_before: bool,
    /// The trust file by which files were refused.
    trust: Option<Print>,
}

#[derive(Default)]
struct File {
    print: Print,
    /// `None`: it could not be read yet, or is gone and what it brought could not be taken away.
    digest: Option<Digest>,
    /// Seen twice with the same print: not being written any more.
    settled: bool,
    /// Lay there at the first look, and has not been dealt with since: no news if it is known.
    known: bool,
    /// Dealt with, whatever came of it.
    done: bool,
    rejected: bool,
}

/// Enough of a file's metadata to notice that it changed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Print {
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
    inode: u64,
}

/// A file that is new, or new in content.
struct Arrival {
    file: String,
    bytes: Vec<u8>,
    settled: bool,
    known: bool,
}

impl Lifecycle {
    /// Looks at the directory, and does what its changes ask for. Blocks for as long as compiling and vectors take; whoever
    /// takes a file away meanwhile does not wait for that.
    pub fn follow_dropins(&self) -> io::Result<()> {
        // Nothing of what comes or goes could be told.
        if self.journal.health().failing.is_some() {
            return Ok(());
        }
        let mut dropins = self.dropins();
        let first = !dropins.looked_before;
        let trust = self.trust_print();
        if std::mem::replace(&mut dropins.trust, trust) != trust && !first {
            dropins.retry_rejected();
        }
        let (arrivals, gone) = dropins.look(first)?;
        dropins.looked_before = true;
        *self.dropped_in.write().unwrap_or_else(PoisonError::into_inner) = dropins.digests();
        drop(dropins);
        for file in gone {
            self.let_go(file, "its file was taken out of the directory");
        }
        let mut fresh = Vec::new();
        for Arrival { file, bytes, settled, known } in arrivals {
            let unfinished = Catalog::inspect(&bytes).is_err_and(|error| error.may_be_unfinished());
            if unfinished && !settled {
                continue;
            }
            if self.is_stopping() {
                break;
            }
            let outcome = self.arrived(&file, &bytes, known);
            if self.has_dealt_with(&file, !is_left_undone(&outcome)) {
                let row = log(&file, outcome).flatten();
                fresh.extend(row.map(|row| (file, row)));
            } else {
                self.let_go(file, "its file was removed while it was being checked");
            }
        }
        self.serve_newest(fresh);
        Ok(())
    }

    /// Notes whether a file has been dealt with, or is to be looked at again; `false`: somebody has taken it away meanwhile.
    fn has_dealt_with(&self, file: &str, done: bool) -> bool {
        let mut dropins = self.dropins();
        let Some(about) = dropins.files.get_mut(file) else { return false };
        let row = about.digest.and_then(|digest| self.row(&digest));
        (about.done, about.rejected) = (done, row.is_none_or(|row| row.state == AdapterState::Rejected));
        about.known &= !done;
        true
    }

    /// Takes away what a file brought that is gone. Where the journal cannot say so, the next look finds it gone again.
    fn let_go(&self, file: String, why: &str) {
        let brought = self.brought_by(&file);
        let outcome = self.take_away(&brought, &file, why, &file);
        let left_undone = is_left_undone(&outcome);
        log(&file, outcome);
        if left_undone {
            self.dropins().files.entry(file).or_default();
        }
    }

    fn dropins(&self) -> MutexGuard<'_, DropIns> {
        self.dropins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the file out of the directory and retires what it brought; where it brought nothing, what came last in another way
    /// under this name: the version that serves, or else the newest. What stood by takes over.
    pub fn take_file_away(&self, file: &str, by: &str) -> Result<()> {
        let was_there = {
            let mut dropins = self.dropins();
            dropins.files.remove(file).is_some() && dropins.dir.remove_file(file).is_ok()
        };
        let mut of_it = self.brought_by(file);
        if of_it.is_empty() {
            let rows = self.rows();
            let came = || rows.iter().filter(|row| row.origin.file == file && row.state.is_installed());
            let last = came().find(|row| row.is_active()).or_else(|| came().max_by(|a, b| order(a, b)));
            of_it.extend(last.cloned());
        }
        if of_it.is_empty() && !was_there {
            return Err(LifecycleError::Unknown(file.escape_debug().to_string()));
        }
        self.take_away(&of_it, file, "its file was removed", by)
    }

    /// What lay in the directory under this name. What came in another way stays, also under the same name.
    fn brought_by(&self, file: &str) -> Vec<AdapterRow> {
        let brought = |row: &AdapterRow| row.origin.dropped_in && row.origin.file == file && row.state.is_installed();
        self.rows().into_iter().filter(brought).collect()
    }

    /// `None`: nothing is to be done about it.
    fn arrived(&self, file: &str, bytes: &[u8], known: bool) -> Result<Option<AdapterRow>> {
        let delivery = Delivery { file, bytes, by: file, dropped_in: true, downgrade: None };
        if let Some(row) = self.row(&Digest::of(bytes)).filter(|_| known) {
            // After a restart the journal knows better than the directory what was decided.
            let decided = matches!(row.state, AdapterState::Retired | AdapterState::Quarantined)
                || row.state.is_installed() && self.store.get(&row.digest).is_ok();
            let no_news = row.state == AdapterState::Rejected
                && self.refusal(&delivery, &row).is_some_and(|refusal| refusal.to_string() == row.why);
            if decided || no_news {
                tracing::debug!(file, adapter = %label(&row), state = row.state.name(), "known");
                return Ok(None);
            }
            if row.state.is_installed() {
                // Only the store has lost it.
                return self.install(&delivery).map(|_| None);
            }
        }
        self.install(&delivery).map(Some)
    }

    /// Of each name the newest that has come, unless a newer one serves. The file is the one that came now: the version may have
    /// been installed before, from another.
    fn serve_newest(&self, mut fresh: Vec<(String, AdapterRow)>) {
        fresh.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name).then_with(|| order(a, b)));
        for of_name in fresh.chunk_by(|(_, a), (_, b)| a.name == b.name) {
            let Some((file, newest)) = of_name.last() else { continue };
            let active = self.catalog.active(&newest.name).and_then(|active| self.row(&active.digest));
            let beaten = active.is_some_and(|active| active.digest == newest.digest || order(&active, newest).is_gt());
            if !beaten {
                let served = self.refuse_downgrade(newest, None).and_then(|_| self.serve(newest, "dropped in", file));
                if is_left_undone(&served) {
                    self.has_dealt_with(file, false);
                }
                log(file, served);
            }
        }
    }

    fn take_away(&self, rows: &[AdapterRow], file: &str, why: &str, by: &str) -> Result<()> {
        let mut names: Vec<&str> = Vec::new();
        for row in rows {
            self.take_out(row, why, by, true)?;
            names.push(&row.name);
        }
        names.dedup();
        names.iter().try_for_each(|name| self.elect(name, &format!("{file}: {why}"), by))
    }
}

impl DropIns {
    pub fn new(dir: Dir) -> Self {
        Self { dir, files: BTreeMap::new(), odd: BTreeSet::new(), looked_before: false, trust: None }
    }

    /// What came, in the order of names, and which files are gone.
    fn look(&mut self, first: bool) -> io::Result<(Vec<Arrival>, Vec<String>)> {
        let present = self.present()?;
        let gone = self.files.keys().filter(|file| !present.contains_key(*file)).cloned().collect::<Vec<_>>();
        self.files.retain(|file, _| present.contains_key(file));
        let mut arrivals = Vec::new();
        for (file, print) in present {
            if let Some(bytes) = self.changed(&file, print, first) {
                let about = self.files.get(&file);
                let (settled, known) = about.map_or((false, false), |about| (about.settled, about.known));
                arrivals.push(Arrival { file, bytes, settled, known });
            }
        }
        Ok((arrivals, gone))
    }

    /// A file counts as settled once two looks saw it alike, so that one written in two halves within a clock tick is not
    /// missed. `None`: nothing new in it.
    fn changed(&mut self, name: &str, print: Print, first: bool) -> Option<Vec<u8>> {
        let known = self.files.get_mut(name);
        if known.as_ref().is_some_and(|file| file.print == print && file.settled && file.done) {
            return None;
        }
        // A file that cannot be read now may be readable at the next look, and is no more news then.
        let read = read(&self.dir, name).inspect_err(|error| tracing::debug!(name, %error, "cannot be read"));
        let Ok(bytes) = read else {
            if first {
                self.files.insert(name.to_owned(), File { print, known: true, ..File::default() });
            }
            return None;
        };
        let digest = Some(Digest::of(&bytes));
        let first = first || known.as_ref().is_some_and(|file| file.digest.is_none() && file.known);
        match known {
            Some(file) if file.digest == digest => {
                file.settled = file.print == print;
                file.print = print;
                (!file.done).then_some(bytes)
            }
            _ => {
                let file = File { print, digest, settled: first, known: first, ..File::default() };
                self.files.insert(name.to_owned(), file);
                Some(bytes)
            }
        }
    }

    fn digests(&self) -> BTreeMap<String, Digest> {
        self.files.iter().filter_map(|(name, file)| Some((name.clone(), file.digest?))).collect()
    }

    /// What was refused may be welcome under another trust file.
    fn retry_rejected(&mut self) {
        self.files.values_mut().filter(|file| file.rejected).for_each(|file| file.done = false);
    }

    /// Names and prints of the adapter files.
    fn present(&mut self) -> io::Result<BTreeMap<String, Print>> {
        let (mut present, mut odd) = (BTreeMap::new(), BTreeSet::new());
        for entry in self.dir.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_adapter_file(&name) {
                continue;
            }
            match self.plain_file(&name) {
                Ok(Some(about)) => {
                    present.insert(name, Print::of(&about));
                }
                Ok(None) => {
                    odd.insert(name);
                }
                // It vanished meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // It lies there, and counts as it was seen last.
                Err(error) => {
                    tracing::debug!(name, %error, "cannot be looked at");
                    let print = self.files.get(&name).map(|file| file.print).unwrap_or_default();
                    present.insert(name, print);
                }
            }
            if present.len() + odd.len() > ADAPTER_FILES_MAX {
                return Err(io::Error::other(format!("more than {ADAPTER_FILES_MAX} adapter files")));
            }
        }
        for file in odd.difference(&self.odd) {
            tracing::warn!(
                file,
                "the adapter directory: this is no plain file, nor a link to one in the directory, and is passed over; copy the adapter itself here"
            );
        }
        self.odd = odd;
        Ok(present)
    }

    /// Follows links within the directory. `None`: it is no plain file, nor a link to one there.
    fn plain_file(&self, name: &str) -> io::Result<Option<Metadata>> {
        let about = self.dir.symlink_metadata(name)?;
        if !about.is_symlink() {
            return Ok(Some(about).filter(Metadata::is_file));
        }
        match self.dir.metadata(name) {
            Err(error) if leads_nowhere(&error) => Ok(None),
            target => Ok(Some(target?).filter(Metadata::is_file)),
        }
    }
}

impl Print {
    pub fn of(about: &Metadata) -> Self {
        Self { bytes: about.len(), modified_s: about.mtime(), modified_ns: about.mtime_nsec(), inode: about.ino() }
    }
}

/// Whether a link can be followed to no file at all, as opposed to one that cannot be looked at now.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Whether what was to be done can be, once the journal can be written.
fn is_left_undone<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(LifecycleError::Journal(_) | LifecycleError::Stopping))
}

fn log<T>(file: &str, outcome: Result<T>) -> Option<T> {
    outcome.inspect_err(|error| tracing::warn!(file, %error, "the adapter directory")).ok()
}

fn read(dir: &Dir, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to be refused.
    dir.open(name)?.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `name.wasm`; hidden files are drafts.
fn is_adapter_file(name: &str) -> bool {
    !name.starts_with('.') && std::path::Path::new(name).extension().is_some_and(|extension| extension == "wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_file_is_passed_over_and_told_once() {
        let path = std::env::temp_dir().join(format!("polymeter-dropins-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("directory.wasm")).expect("made");
        std::fs::write(path.join("good.wasm"), b"x").expect("written");
        std::os::unix::fs::symlink("good.wasm", path.join("beside.wasm")).expect("linked");
        std::os::unix::fs::symlink("/etc/hostname", path.join("outside.wasm")).expect("linked");
        std::os::unix::fs::symlink("nowhere.wasm", path.join("dangling.wasm")).expect("linked");
        let dir = Dir::open_ambient_dir(&path, cap_std::ambient_authority()).expect("a directory");
        let mut dropins = DropIns::new(dir);
        for _ in 0..2 {
            let present = dropins.present().expect("readable");
            assert_eq!(present.keys().collect::<Vec<_>>(), ["beside.wasm", "good.wasm"]);
            assert_eq!(
                dropins.odd.iter().collect::<Vec<_>>(),
                ["dangling.wasm", "directory.wasm", "outside.wasm"],
                "what is kept is not told again"
            );
        }
        std::fs::remove_file(path.join("outside.wasm")).expect("gone");
        dropins.present().expect("readable");
        assert_eq!(dropins.odd.len(), 2, "if it comes again, it is told again");
        std::fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_gone() {
        let path = std::env::temp_dir().join(format!("polymeter-dropins-unseen-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("made");
        std::fs::write(path.join("good.wasm"), b"x").expect("written");
        std::os::unix::fs::symlink("good.wasm", path.join("link.wasm")).expect("linked");
        let dir = Dir::open_ambient_dir(&path, cap_std::ambient_authority()).expect("a directory");
        let mut dropins = DropIns::new(dir);
        let mut look = |first| {
            let (arrivals, gone) = dropins.look(first).expect("readable");
            dropins.files.values_mut().for_each(|file| file.done = true);
            (arrivals.into_iter().map(|arrival| (arrival.file, arrival.known)).collect::<Vec<_>>(), gone)
        };
        assert_eq!(look(true), (vec![("good.wasm".into(), true), ("link.wasm".into(), true)], Vec::new()));
        // The system refuses such a name before it looks for it.
        std::fs::remove_file(path.join("link.wasm")).expect("gone");
        std::os::unix::fs::symlink("x".repeat(300), path.join("link.wasm")).expect("linked");
        assert_eq!(look(false), (Vec::new(), Vec::new()));
        std::fs::remove_file(path.join("link.wasm")).expect("gone");
        assert_eq!(look(false), (Vec::new(), vec!["link.wasm".to_owned()]));
        std::fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn what_could_not_be_read_at_the_first_look_is_no_news_later() {
        let path = std::env::temp_dir().join(format!("polymeter-dropins-unread-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("made");
        std::os::unix::fs::symlink("x".repeat(300), path.join("a.wasm")).expect("linked");
        let dir = Dir::open_ambient_dir(&path, cap_std::ambient_authority()).expect("a directory");
        let mut dropins = DropIns::new(dir);
        let (arrivals, gone) = dropins.look(true).expect("readable");
        assert!(arrivals.is_empty() && gone.is_empty());
        std::fs::remove_file(path.join("a.wasm")).expect("gone");
        std::fs::write(path.join("a.wasm"), b"x").expect("written");
        let (arrivals, _) = dropins.look(false).expect("readable");
        assert!(matches!(&arrivals[..], [Arrival { settled: true, known: true, .. }]));
        std::fs::remove_dir_all(&path).expect("removed");
    }
}
