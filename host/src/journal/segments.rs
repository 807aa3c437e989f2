//! All segments of a journal in order: finding the one that holds an entry, rolling over to a new one, and keeping
//! the number of open files bounded.

use super::format::{Head, SegmentName};
use super::segment::{RawEntries, Segment, StoreError};
use super::storage::Storage;
use crate::limits;
use crate::model::{Day, Seq};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub(super) struct Segments {
    pub storage: Arc<dyn Storage>,
    /// What `storage` is called in messages.
    dir: PathBuf,
    /// Never empty once the journal is open; only the last one is written.
    list: RwLock<Vec<Arc<Segment>>>,
    ticks: AtomicU64,
}

/// Entries of one UTC day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayEntries {
    pub day: Day,
    pub first: Seq,
    pub last: Seq,
    pub count: u64,
    /// Size of its files.
    pub bytes: u64,
}

impl Segments {
    /// Lists what lies in the directory. Files of other names are left alone.
    pub fn list(storage: Arc<dyn Storage>, dir: &Path) -> Result<Self, StoreError> {
        let files = storage.list().map_err(|e| match e.kind() {
            ErrorKind::NotFound => StoreError::Gone(dir.display().to_string()),
            _ => StoreError::Io(e.to_string()),
        })?;
        let mut names: Vec<_> = files.iter().filter_map(|(file, _)| SegmentName::parse(file)).collect();
        names.sort_unstable();
        let last = names.last().copied();
        let list = names.into_iter().map(|n| Arc::new(Segment::closed(dir, n, Some(n) != last))).collect();
        Ok(Self { storage, dir: dir.to_owned(), list: RwLock::new(list), ticks: AtomicU64::new(1) })
    }

    /// Whether there is any in a directory, which stays as it is.
    pub fn are_in(dir: &Path) -> bool {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.file_name());
        names.into_iter().any(|name| SegmentName::parse(&name.to_string_lossy()).is_some())
    }

    /// What the directory is called in messages.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn last(&self) -> Option<Arc<Segment>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    pub fn first_seq(&self) -> Seq {
        self.list.read().unwrap_or_else(PoisonError::into_inner).first().map_or(Seq(1), |s| s.name.first)
    }

    /// Seals the last segment and starts the next.
    pub fn roll(&self, head: &Head) -> Result<Arc<Segment>, StoreError> {
        if let Some(last) = self.last() {
            last.seal()?;
        }
        let segment = Arc::new(Segment::create(&*self.storage, &self.dir, head)?);
        self.list.write().unwrap_or_else(PoisonError::into_inner).push(segment.clone());
        Ok(segment)
    }

    /// The segment to write after a failure: the last there is, also one that a failed roll has left behind.
    pub fn reopen_last(&self) -> Result<Arc<Segment>, StoreError> {
        let listed = Self::list(self.storage.clone(), &self.dir)?.last();
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = listed.filter(|l| list.last().is_none_or(|have| have.name < l.name)) {
            list.push(newer);
        }
        let last = list.last().cloned().ok_or_else(|| StoreError::Io("the journal's files are gone".into()))?;
        last.unseal();
        Ok(last)
    }

    /// Forgets the first segment, if that is this one and others follow.
    pub fn detach_first(&self, segment: &Arc<Segment>) -> bool {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let is_first = list.len() > 1 && list.first().is_some_and(|first| Arc::ptr_eq(first, segment));
        if is_first {
            list.remove(0);
        }
        is_first
    }

    /// Entries from a number on, of one segment; fewer than asked for at a segment's end.
    pub fn read(&self, from: Seq, entries_max: usize, bytes_max: usize) -> Result<RawEntries, StoreError> {
        let mut from = from.max(self.first_seq());
        loop {
            let (segment, next) = {
                let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
                let after = list.partition_point(|s| s.name.first <= from);
                match after.checked_sub(1) {
                    Some(at) => (list[at].clone(), list.get(after).map(|s| s.name.first)),
                    None => return Ok(Vec::new()),
                }
            };
            self.use_of(&segment);
            let entries = segment.read(&*self.storage, from, entries_max, bytes_max)?;
            match next {
                Some(next) if entries.is_empty() => from = next,
                _ => return Ok(entries),
            }
        }
    }

    /// Days with their entries; `last` is the last entry of all.
    pub fn days(&self, last: Seq) -> Result<Vec<DayEntries>, StoreError> {
        let files = self.storage.list().map_err(|e| StoreError::Io(e.to_string()))?;
        let lengths: HashMap<SegmentName, u64> =
            files.iter().filter_map(|(file, bytes)| Some((SegmentName::parse(file)?, *bytes))).collect();
        let all = self.all();
        let mut days: Vec<DayEntries> = Vec::new();
        for (at, segment) in all.iter().enumerate() {
            let end = all.get(at + 1).map_or(last, |next| Seq(next.name.first.0 - 1));
            let (first, day) = (segment.name.first, segment.name.day);
            let count = end.0 + 1 - first.0;
            let bytes = lengths.get(&segment.name).copied().unwrap_or(0);
            match days.last_mut().filter(|d| d.day == day) {
                Some(same) => {
                    same.last = end;
                    same.count += count;
                    same.bytes += bytes;
                }
                None => days.push(DayEntries { day, first, last: end, count, bytes }),
            }
        }
        Ok(days)
    }

    /// Notes a use, and closes the sealed segment that was used longest ago when too many are open.
    pub fn use_of(&self, segment: &Arc<Segment>) {
        segment.touch(self.ticks.fetch_add(1, Ordering::Relaxed));
        if segment.is_open() {
            return;
        }
        let all = self.all();
        let mut open: Vec<_> = all.iter().filter(|s| s.is_sealed() && s.is_open()).collect();
        if open.len() >= limits::SEGMENTS_OPEN_MAX {
            open.sort_unstable_by_key(|s| s.used.load(Ordering::Relaxed));
            for oldest in &open[..=open.len() - limits::SEGMENTS_OPEN_MAX] {
                // A reader's file has nothing to flush: closing it cannot lose anything.
                let _ = oldest.close();
            }
        }
    }
}
