//! A directory in memory that fails and crashes as a seed says: for tests.
//!
//! A crash keeps what was synced and loses any part of what was not: whole writes, or the end of one, in any
//! combination. That is more than most disks do and as much as redb promises to survive.

use super::storage::{Backend, FileId, Storage};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A small generator of numbers; the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Seed(u64);

impl Seed {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 0 to `below` - 1.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    }
}

/// The directory; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Names and what they stand for, so that an open file outlives its renaming.
    names: BTreeMap<String, usize>,
    contents: Vec<Content>,
    /// Writing operations left before `then` begins; `None`: for ever.
    left: Option<u64>,
    then: Trouble,
    trouble: Trouble,
    writes: u64,
    doubtful: bool,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Writes and growth fail, reads do not.
    Full,
    /// An fsync fails: what was to be made durable reads as written, and no later fsync will write it.
    Unsynced,
    /// Nothing works any more.
    Dead,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Since the last sync, oldest first.
    unsynced: Vec<Change>,
    /// Pages that a failed sync has given up, with what the disk really has there.
    lost: BTreeMap<usize, Vec<u8>>,
}

const PAGE: usize = 4_096;

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, old: Vec<u8>, new: Vec<u8> },
    Length { old: usize, cut: Vec<u8>, new: usize },
}

impl Disk {
    /// After so many more writing operations the trouble begins.
    pub fn after(&self, operations: u64, then: Trouble) {
        let mut state = self.lock();
        (state.left, state.then) = (Some(operations), then);
    }

    pub fn is_in_trouble(&self) -> bool {
        self.lock().trouble != Trouble::None
    }

    /// All is well again.
    pub fn heal(&self) {
        let mut state = self.lock();
        (state.left, state.trouble) = (None, Trouble::None);
    }

    /// What a machine finds after the power came back.
    pub fn after_crash(&self, seed: &mut Seed) -> Self {
        let state = self.lock();
        let (names, mut contents) = (state.names.clone(), state.contents.clone());
        for content in &mut contents {
            content.crash(seed);
        }
        Self(Arc::new(Mutex::new(State { names, contents, ..State::default() })))
    }

    /// Changes a byte wherever these bytes lie; tells how often that was.
    pub fn damage(&self, needle: &[u8]) -> usize {
        let mut count = 0;
        for content in &mut self.lock().contents {
            let places: Vec<_> =
                content.bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).collect();
            let places: Vec<usize> = places.into_iter().map(|(at, _)| at).collect();
            for at in &places {
                content.bytes[*at] ^= 0x40;
            }
            count += places.len();
        }
        count
    }

    fn opened(&self, number: usize) -> Backend {
        Backend::new(OpenFile { disk: self.clone(), number }, id(number))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(number: usize) -> FileId {
    FileId { device: 0, number: number as u64 }
}

impl State {
    fn check_read(&self) -> io::Result<()> {
        if self.trouble == Trouble::Dead { Err(io::Error::other("the disk is dead")) } else { Ok(()) }
    }

    fn check_write(&mut self) -> io::Result<()> {
        self.writes += 1;
        match self.left {
            Some(0) => self.trouble = self.then,
            Some(left) => self.left = Some(left - 1),
            None => {}
        }
        match self.trouble {
            Trouble::None | Trouble::Unsynced => Ok(()),
            Trouble::Full => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Trouble::Dead => Err(io::Error::other("the disk is dead")),
        }
    }

    fn number(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Content {
    /// Gives up what was not synced: it stays readable, and is not on the disk. Lengths are, which is the worse of both.
    fn fail_to_sync(&mut self) {
        let now = self.bytes.clone();
        let changes = std::mem::take(&mut self.unsynced);
        self.undo(&changes);
        for change in &changes {
            let Change::Write { at, new, .. } = change else { continue };
            for page in at / PAGE..=(at + new.len().max(1) - 1) / PAGE {
                let mut old = vec![0; PAGE];
                let there = self.bytes.get(page * PAGE..).unwrap_or_default();
                let n = there.len().min(PAGE);
                old[..n].copy_from_slice(&there[..n]);
                self.lost.entry(page).or_insert(old);
            }
        }
        self.bytes = now;
    }

    fn undo(&mut self, changes: &[Change]) {
        for change in changes.iter().rev() {
            match change {
                Change::Write { at, old, .. } => self.bytes[*at..*at + old.len()].copy_from_slice(old),
                Change::Length { old, cut, .. } => {
                    self.bytes.resize(*old - cut.len(), 0);
                    self.bytes.extend_from_slice(cut);
                }
            }
        }
    }

    fn crash(&mut self, seed: &mut Seed) {
        let changes = std::mem::take(&mut self.unsynced);
        self.undo(&changes);
        for (page, old) in std::mem::take(&mut self.lost) {
            let end = self.bytes.len().min((page + 1) * PAGE);
            if let Some(place) = self.bytes.get_mut(page * PAGE..end) {
                place.copy_from_slice(&old[..place.len()]);
            }
        }
        for change in changes {
            match change {
                Change::Write { at, new, .. } => {
                    let kept = match seed.below(3) {
                        0 => 0,
                        1 => new.len(),
                        _ => seed.below(new.len() as u64 + 1) as usize,
                    };
                    let end = (at + kept).min(self.bytes.len());
                    if at < end {
                        self.bytes[at..end].copy_from_slice(&new[..end - at]);
                    }
                }
                Change::Length { new, .. } => {
                    if seed.below(2) == 0 {
                        self.bytes.resize(new, 0);
                    }
                }
            }
        }
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.lock();
        state.check_read()?;
        let length = |number: &usize| state.contents[*number].bytes.len() as u64;
        Ok(state.names.iter().map(|(name, number)| (name.clone(), length(number))).collect())
    }

    fn create(&self, name: &str) -> io::Result<Backend> {
        let mut state = self.lock();
        state.check_write()?;
        let number = state.contents.len();
        state.contents.push(Content::default());
        state.names.insert(name.to_owned(), number);
        Ok(self.opened(number))
    }

    fn open(&self, name: &str) -> io::Result<Backend> {
        let state = self.lock();
        state.check_read()?;
        Ok(self.opened(state.number(name)?))
    }

    fn is_in_place(&self, name: &str, file: FileId) -> io::Result<bool> {
        let state = self.lock();
        state.check_read()?;
        Ok(state.names.get(name).is_some_and(|number| id(*number) == file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_write()?;
        let number = state.number(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn is_doubtful(&self) -> bool {
        self.lock().doubtful
    }

    fn renew(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_write()?;
        if state.trouble != Trouble::None {
            return Err(io::Error::other("an fsync failed"));
        }
        let number = state.number(name)?;
        let renewed = Content { bytes: state.contents[number].bytes.clone(), ..Content::default() };
        state.contents.push(renewed);
        let renewed = state.contents.len() - 1;
        state.names.insert(name.to_owned(), renewed);
        state.doubtful = false;
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_write()?;
        if let Some(number) = state.names.remove(name) {
            state.contents[number] = Content::default();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct OpenFile {
    disk: Disk,
    number: usize,
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.check_read()?;
        Ok(state.contents[self.number].bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        state.check_read()?;
        let bytes = state.contents[self.number].bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check_write()?;
        let content = &mut state.contents[self.number];
        let (old, new) = (content.bytes.len(), len as usize);
        let cut = if new < old { content.bytes[new..].to_vec() } else { Vec::new() };
        content.bytes.resize(new, 0);
        content.unsynced.push(Change::Length { old, cut, new });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check_write()?;
        if state.trouble == Trouble::Unsynced {
            state.doubtful = true;
            state.contents[self.number].fail_to_sync();
            return Err(io::Error::other("an fsync failed"));
        }
        state.contents[self.number].unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check_write()?;
        let content = &mut state.contents[self.number];
        let (at, end) = (offset as usize, offset as usize + data.len());
        if end > content.bytes.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let old = content.bytes[at..end].to_vec();
        content.bytes[at..end].copy_from_slice(data);
        // A page that is written again will be written whole.
        content.lost.retain(|page, _| end <= page * PAGE || at >= (page + 1) * PAGE);
        content.unsynced.push(Change::Write { at, old, new: data.to_vec() });
        Ok(())
    }
}
