//! A concentrator's archive against the registry: which of the meters behind it it does not know, which it should not know, and
//! about which it thinks otherwise. Reading it and ordering the difference are commands like any other.
//!
//! What was read is kept, not what it came to: it is weighed against the registry of whenever somebody asks.

use crate::limits::{ARCHIVE_COMPARISON_AGE_MAX, ARCHIVE_ENTRIES_PER_COMMAND};
use crate::model::{ArchiveEntry, Command, DeviceKey, Record, bare};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A meter as the registry has it, in the words of an archive. `None`: not said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub device: DeviceKey,
    /// As the concentrator calls it.
    pub address: String,
    pub protocol: Option<String>,
    pub channel: Option<u8>,
    pub baud: Option<u32>,
    pub format: Option<String>,
}

/// What differs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    pub archived: usize,
    pub registered: usize,
    /// In the registry alone.
    pub missing: Vec<Wanted>,
    /// In the archive alone.
    pub unknown: Vec<ArchiveEntry>,
    pub differing: Vec<(Wanted, ArchiveEntry)>,
    /// What one of the two has more than once under one address.
    pub duplicates: Vec<Duplicate>,
    /// Entries that cannot be read in full, and others of their addresses. Nothing is ordered about them.
    pub unreadable: Vec<ArchiveEntry>,
    /// Any meter that is missing may be in one of those.
    hides_some: bool,
    /// Indexes that entries of the archive have.
    taken: BTreeSet<u16>,
}

/// Everything that has one address. A concentrator is told addresses, so it cannot be told which of them is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// As the first entry of the archive writes it, or else the registry.
    pub address: String,
    pub registry: Vec<Wanted>,
    pub archive: Vec<ArchiveEntry>,
}

/// Which differences shall be ordered away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    pub add: bool,
    pub change: bool,
    pub remove: bool,
}

/// How far a comparison is.
#[derive(Clone, Debug)]
pub enum Progress {
    Reading {
        entries: usize,
        /// A change was ordered meanwhile, so what was read may not be there.
        changed: bool,
    },
    Failed {
        why: String,
    },
    Done {
        at_ms: i64,
        archive: Arc<[ArchiveEntry]>,
        /// Changes were ordered, so the archive is no longer what was read.
        used: bool,
    },
}

/// Why nothing may be ordered from a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    #[error("its archive has not been read")]
    NotRead,
    #[error("its archive was changed since it was read")]
    Used,
    #[error("its archive was read more than {} minutes ago", ARCHIVE_COMPARISON_AGE_MAX.as_secs() / 60)]
    Old,
}

/// An archive that is being read, page by page in the order of indexes.
#[derive(Debug, Default)]
pub struct Reading {
    entries: Vec<ArchiveEntry>,
    first: u16,
}

impl Reading {
    /// The index from which on the next page is asked for.
    pub fn first(&self) -> u16 {
        self.first
    }

    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Takes a page of an archive that has so many entries. True: there are no more. The error is for people: a part that
    /// was not shown must not pass for one that is empty.
    pub fn take(&mut self, total: u32, mut page: Vec<ArchiveEntry>) -> Result<bool, String> {
        page.sort_by_key(|entry| entry.index);
        if let Some(entry) = page.first().filter(|entry| entry.index < self.first) {
            return Err(format!("entry {} was shown where those from {} on were asked for", entry.index, self.first));
        }
        if let Some(pair) = page.windows(2).find(|pair| pair[0].index == pair[1].index) {
            return Err(format!("index {} was shown for {} and {}", pair[0].index, pair[0].address, pair[1].address));
        }
        let next = page.last().and_then(|entry| entry.index.checked_add(1));
        self.entries.extend(page);
        if self.entries.len() >= total as usize {
            return Ok(true);
        }
        self.first = next.ok_or_else(|| format!("{} of {total} entries were shown", self.entries.len()))?;
        Ok(false)
    }

    pub fn done(self) -> Arc<[ArchiveEntry]> {
        self.entries.into()
    }
}

/// Comparisons of this run, one a concentrator.
#[derive(Debug, Default)]
pub struct Comparisons(Mutex<BTreeMap<DeviceKey, Progress>>);

/// Comparisons that are remembered.
const KEPT_MAX: usize = 256;

impl Comparisons {
    /// False: one is being made.
    pub fn begin(&self, concentrator: &DeviceKey) -> bool {
        let mut kept = self.lock();
        if matches!(kept.get(concentrator), Some(Progress::Reading { .. })) {
            return false;
        }
        if kept.len() >= KEPT_MAX {
            let over = kept.iter().find(|(_, p)| !matches!(p, Progress::Reading { .. })).map(|(key, _)| key.clone());
            match over {
                Some(over) => drop(kept.remove(&over)),
                None => return false,
            }
        }
        kept.insert(concentrator.clone(), Progress::Reading { entries: 0, changed: false });
        true
    }

    /// How far the comparison is by now. What was changed while it was made is not forgotten.
    pub fn tell(&self, concentrator: &DeviceKey, mut progress: Progress) {
        let mut kept = self.lock();
        let meanwhile = matches!(kept.get(concentrator), Some(Progress::Reading { changed: true, .. }));
        if let Progress::Reading { changed, .. } | Progress::Done { used: changed, .. } = &mut progress {
            *changed |= meanwhile;
        }
        kept.insert(concentrator.clone(), progress);
    }

    pub fn of(&self, concentrator: &DeviceKey) -> Option<Progress> {
        self.lock().get(concentrator).cloned()
    }

    /// What was read, while it may be taken for what is there.
    pub fn fresh(&self, concentrator: &DeviceKey, now_ms: i64) -> Result<Arc<[ArchiveEntry]>, Unfit> {
        match self.lock().get(concentrator) {
            Some(Progress::Done { used: true, .. }) => Err(Unfit::Used),
            Some(Progress::Done { at_ms, archive, .. }) => {
                // A clock that was put back says nothing of an age.
                let age = u128::try_from(now_ms.saturating_sub(*at_ms)).map_err(|_| Unfit::Old)?;
                (age <= ARCHIVE_COMPARISON_AGE_MAX.as_millis()).then(|| archive.clone()).ok_or(Unfit::Old)
            }
            _ => Err(Unfit::NotRead),
        }
    }

    /// Uses up what was read, so that changes are ordered from it once.
    pub fn claim(&self, concentrator: &DeviceKey, read: &Arc<[ArchiveEntry]>) -> Result<(), Unfit> {
        match self.lock().get_mut(concentrator) {
            Some(Progress::Done { archive, used, .. }) if Arc::ptr_eq(archive, read) => {
                if std::mem::replace(used, true) { Err(Unfit::Used) } else { Ok(()) }
            }
            _ => Err(Unfit::Used),
        }
    }

    /// What was read is no longer what is there: a change was ordered by a command of its own.
    pub fn changes(&self, concentrator: &DeviceKey) {
        if let Some(Progress::Reading { changed, .. } | Progress::Done { used: changed, .. }) =
            self.lock().get_mut(concentrator)
        {
            *changed = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceKey, Progress>> {
        // Each change is one insert or remove, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    pub fn of(record: Record) -> Self {
        let Record { device, about } = record;
        let said = |text: String| (!text.is_empty()).then_some(text);
        let address = said(about.line_address).unwrap_or_else(|| device.address().to_owned());
        let (protocol, format) = (said(about.protocol), said(about.line_format));
        Self { device, address, protocol, channel: about.channel, baud: about.baud, format }
    }

    /// What has to be said before it can be ordered.
    pub fn unsaid(&self) -> Vec<&'static str> {
        let said = [
            ("protocol", self.protocol.is_some()),
            ("channel", self.channel.is_some()),
            ("baud", self.baud.is_some()),
            ("line_format", self.format.is_some()),
        ];
        said.into_iter().filter(|(_, said)| !said).map(|(name, _)| name).collect()
    }

    /// What is not said differs from nothing.
    fn agrees(&self, entry: &ArchiveEntry) -> bool {
        self.protocol.as_ref().is_none_or(|protocol| *protocol == entry.protocol)
            && self.channel.is_none_or(|channel| channel == entry.channel)
            && self.baud.is_none_or(|baud| baud == entry.baud)
            && self.format.as_ref().is_none_or(|format| *format == entry.format)
    }

    fn entry(&self, index: u16) -> Option<ArchiveEntry> {
        Some(ArchiveEntry {
            index,
            address: self.address.clone(),
            protocol: self.protocol.clone()?,
            channel: self.channel?,
            baud: self.baud?,
            format: self.format.clone()?,
        })
    }
}

/// What stands there as baud rate or format is none, and then perhaps the address is none either.
fn is_readable(entry: &ArchiveEntry) -> bool {
    entry.baud != 0 && !entry.format.is_empty()
}

/// Compares an archive with what the registry has behind the concentrator.
pub fn compare(archive: &[ArchiveEntry], registry: Vec<Wanted>) -> Difference {
    let mut difference = Difference {
        archived: archive.len(),
        registered: registry.len(),
        taken: archive.iter().map(|entry| entry.index).collect(),
        ..Difference::default()
    };
    let mut addresses: BTreeMap<String, (Vec<Wanted>, Vec<ArchiveEntry>)> = BTreeMap::new();
    for entry in archive {
        addresses.entry(bare(&entry.address).to_owned()).or_default().1.push(entry.clone());
    }
    for wanted in registry {
        addresses.entry(bare(&wanted.address).to_owned()).or_default().0.push(wanted);
    }
    for (address, (mut wanted, mut entries)) in addresses {
        if !entries.iter().all(is_readable) {
            difference.hides_some |= wanted.is_empty();
            difference.unreadable.extend(entries);
            continue;
        }
        if wanted.len() > 1 || entries.len() > 1 {
            let written = entries.first().map(|entry| &entry.address).or(wanted.first().map(|wanted| &wanted.address));
            let address = written.cloned().unwrap_or(address);
            difference.duplicates.push(Duplicate { address, registry: wanted, archive: entries });
            continue;
        }
        match (wanted.pop(), entries.pop()) {
            (Some(wanted), Some(entry)) if wanted.agrees(&entry) => {}
            (Some(wanted), Some(entry)) => difference.differing.push((wanted, entry)),
            (Some(wanted), None) => difference.missing.push(wanted),
            (None, entry) => difference.unknown.extend(entry),
        }
    }
    difference.unknown.sort_by_key(|entry| entry.index);
    difference.unreadable.sort_by_key(|entry| entry.index);
    difference
}

impl Difference {
    pub fn is_none(&self) -> bool {
        self.missing.is_empty()
            && self.unknown.is_empty()
            && self.differing.is_empty()
            && self.duplicates.is_empty()
            && self.unreadable.is_empty()
    }

    /// Duplicates about which nothing is ordered. Only those of which the registry has none may go: a concentrator removes by
    /// address, so the meter that shall stay would go with the others.
    pub fn left(&self, wish: Wish) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(move |duplicate| !(wish.remove && duplicate.registry.is_empty()))
    }

    /// Meters that are not added while an entry that cannot be read may be theirs.
    pub fn held_back(&self, wish: Wish) -> impl Iterator<Item = &Wanted> {
        self.missing.iter().filter(move |wanted| wish.add && self.hides_some && wanted.unsaid().is_empty())
    }

    /// The commands that make the archive as the registry is; first what goes. Of what is not said in full, or cannot be read,
    /// nothing is ordered.
    pub fn orders(&self, wish: Wish) -> Vec<Command> {
        let portion = usize::from(ARCHIVE_ENTRIES_PER_COMMAND);
        let mut commands = Vec::new();
        if wish.remove {
            let strangers = self.duplicates.iter().filter(|duplicate| duplicate.registry.is_empty());
            let strangers = self.unknown.iter().chain(strangers.flat_map(|duplicate| &duplicate.archive));
            let mut addresses: Vec<String> = strangers.map(|entry| entry.address.clone()).collect();
            // One address stands for all of its entries.
            let mut said = BTreeSet::new();
            addresses.retain(|address| said.insert(address.clone()));
            // An empty list would mean all.
            commands.extend(addresses.chunks(portion).map(|chunk| Command::ArchiveRemove(chunk.to_vec())));
        }
        let mut entries = Vec::new();
        if wish.change {
            entries.extend(self.differing.iter().filter_map(|(wanted, entry)| wanted.entry(entry.index)));
        }
        if wish.add && !self.hides_some {
            let mut free = (1..=u16::MAX).filter(|index| !self.taken.contains(index));
            for wanted in self.missing.iter().filter(|wanted| wanted.unsaid().is_empty()) {
                entries.extend(free.next().and_then(|index| wanted.entry(index)));
            }
        }
        commands.extend(entries.chunks(portion).map(|chunk| Command::ArchiveAdd(chunk.to_vec())));
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u16, address: &str, channel: u8) -> ArchiveEntry {
        let (protocol, format) = ("mbus".into(), "8E1".into());
        ArchiveEntry { index, address: address.into(), protocol, channel, baud: 2_400, format }
    }

    fn wanted(address: &str, channel: u8, baud: Option<u32>) -> Wanted {
        let device = format!("m/{address}").parse().expect("key");
        let (protocol, format) = (Some("mbus".into()), Some("8E1".into()));
        Wanted { device, address: address.into(), protocol, channel: Some(channel), baud, format }
    }

    #[test]
    fn what_differs_is_found_and_ordered_and_what_is_unsaid_is_not() {
        let archive = [entry(1, "0007", 1), entry(2, "0008", 1), entry(4, "0009", 2)];
        let registry = vec![
            wanted("7", 1, None),
            wanted("8", 3, Some(2_400)),
            wanted("10", 1, Some(2_400)),
            wanted("11", 1, None),
        ];
        let difference = compare(&archive, registry);
        assert_eq!(difference.missing.iter().map(|w| &w.address[..]).collect::<Vec<_>>(), ["10", "11"]);
        assert_eq!(difference.missing[1].unsaid(), ["baud"]);
        assert_eq!(difference.unknown, [entry(4, "0009", 2)]);
        assert_eq!(difference.differing[0].1, entry(2, "0008", 1));
        let all = Wish { add: true, change: true, remove: true };
        let orders = difference.orders(all);
        let added = vec![ArchiveEntry { address: "8".into(), ..entry(2, "", 3) }, entry(3, "10", 1)];
        assert_eq!(orders, [Command::ArchiveRemove(vec!["0009".into()]), Command::ArchiveAdd(added)]);
        let same = compare(&archive[..1], vec![wanted("7", 1, Some(2_400))]);
        assert!(same.is_none() && same.orders(all).is_empty(), "nothing is never an order to remove all");
    }

    #[test]
    fn every_entry_of_an_address_is_told_and_none_that_shall_stay_is_removed_by_it() {
        let archive = [entry(1, "0007", 1), entry(2, "0007", 9), entry(3, "0008", 1), entry(4, "0008", 2)];
        let registry = vec![wanted("7", 1, None), wanted("9", 1, Some(2_400)), wanted("09", 2, Some(2_400))];
        let difference = compare(&archive, registry);
        assert!(!difference.is_none());
        assert_eq!((difference.missing.len(), difference.unknown.len(), difference.differing.len()), (0, 0, 0));
        let told = difference.duplicates.iter().map(|d| {
            let indexes: Vec<u16> = d.archive.iter().map(|entry| entry.index).collect();
            (&d.address[..], d.registry.len(), indexes)
        });
        assert_eq!(told.collect::<Vec<_>>(), [("0007", 1, vec![1, 2]), ("0008", 0, vec![3, 4]), ("9", 2, vec![])]);
        let all = Wish { add: true, change: true, remove: true };
        assert_eq!(difference.orders(all), [Command::ArchiveRemove(vec!["0008".into()])]);
        let left = |wish| difference.left(wish).map(|d| &d.address[..]).collect::<Vec<_>>();
        assert_eq!(left(all), ["0007", "9"]);
        let kept = Wish { remove: false, ..all };
        assert_eq!((difference.orders(kept), left(kept)), (vec![], vec!["0007", "0008", "9"]));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_neither_removed_nor_added_again() {
        let all = Wish { add: true, change: true, remove: true };
        let odd = |index, address| ArchiveEntry { baud: 0, ..entry(index, address, 1) };
        // 7 and 8 are there, and cannot be read in full; nobody knows 9. What can be read is compared.
        let archive = [odd(1, "0007"), odd(2, "0008"), entry(3, "0008", 1), entry(4, "0009", 1), entry(5, "0006", 1)];
        let registry = || vec![wanted("7", 1, Some(2_400)), wanted("6", 2, Some(2_400)), wanted("8", 1, Some(2_400))];
        let missing = || wanted("10", 1, Some(2_400));
        let difference = compare(&archive, registry().into_iter().chain([missing()]).collect());
        assert_eq!(difference.unreadable, archive[..3]);
        assert_eq!((difference.unknown.len(), difference.differing.len(), difference.missing.len()), (1, 1, 1));
        let changed = ArchiveEntry { address: "6".into(), ..entry(5, "", 2) };
        let removed = Command::ArchiveRemove(vec!["0009".into()]);
        let added = Command::ArchiveAdd(vec![changed.clone(), entry(6, "10", 1)]);
        assert_eq!(difference.orders(all), [removed.clone(), added]);
        // Of whom that one is nobody knows, so it may be the missing one.
        let archive =
            [&archive[..], &[ArchiveEntry { format: String::new(), ..entry(6, "0000000000000A", 1) }]].concat();
        let difference = compare(&archive, registry().into_iter().chain([missing()]).collect());
        assert_eq!(difference.orders(all), [removed, Command::ArchiveAdd(vec![changed])]);
        assert_eq!(difference.held_back(all).collect::<Vec<_>>(), [&missing()]);
        assert!(!compare(&archive[..1], vec![wanted("7", 1, None)]).is_none());
    }

    #[test]
    fn an_archive_that_is_not_shown_in_full_is_not_read() {
        let mut reading = Reading::default();
        assert_eq!(reading.take(40, vec![entry(0, "1", 1)]), Ok(false));
        assert_eq!(reading.first(), 1);
        assert_eq!(reading.take(40, vec![]), Err("1 of 40 entries were shown".into()));
        let mut empty = Reading::default();
        assert_eq!(empty.take(0, vec![]), Ok(true));
        let mut whole = Reading::default();
        assert_eq!(whole.take(3, vec![entry(5, "1", 1), entry(2, "2", 1)]), Ok(false));
        assert_eq!(whole.first(), 6);
        assert_eq!(whole.take(3, vec![entry(u16::MAX, "3", 1)]), Ok(true));
        assert_eq!(whole.done().len(), 3);
    }

    #[test]
    fn a_page_that_was_not_asked_for_does_not_count() {
        let mut reading = Reading::default();
        assert_eq!(reading.take(3, vec![entry(1, "1", 1), entry(2, "2", 1)]), Ok(false));
        assert!(reading.take(3, vec![entry(1, "1", 1), entry(2, "2", 1)]).is_err(), "the first page again");
        assert!(Reading::default().take(2, vec![entry(1, "1", 1), entry(1, "2", 1)]).is_err());
    }

    #[test]
    fn changes_are_ordered_once_and_from_what_was_read_lately() {
        let (kept, key) = (Comparisons::default(), "usp/1".parse().expect("key"));
        assert_eq!(kept.fresh(&key, 0), Err(Unfit::NotRead));
        assert!(kept.begin(&key));
        assert_eq!(kept.fresh(&key, 0), Err(Unfit::NotRead));
        let archive: Arc<[ArchiveEntry]> = vec![entry(1, "1", 1)].into();
        kept.tell(&key, Progress::Done { at_ms: 1_000, archive: archive.clone(), used: false });
        let last = 1_000 + ARCHIVE_COMPARISON_AGE_MAX.as_millis() as i64;
        assert_eq!(kept.fresh(&key, last), Ok(archive.clone()));
        assert_eq!(kept.fresh(&key, last + 1), Err(Unfit::Old));
        assert_eq!(kept.fresh(&key, 999), Err(Unfit::Old));
        assert_eq!(kept.claim(&key, &vec![entry(1, "1", 1)].into()), Err(Unfit::Used), "another reading");
        assert_eq!(kept.claim(&key, &archive), Ok(()));
        assert_eq!(kept.claim(&key, &archive), Err(Unfit::Used));
        assert_eq!(kept.fresh(&key, 1_000), Err(Unfit::Used));
        kept.tell(&key, Progress::Done { at_ms: 1_000, archive: archive.clone(), used: false });
        kept.changes(&key);
        assert_eq!(kept.claim(&key, &archive), Err(Unfit::Used), "a change was ordered otherwise");
        for (changed, fresh) in [(true, Err(Unfit::Used)), (false, Ok(archive.clone()))] {
            assert!(kept.begin(&key));
            if changed {
                kept.changes(&key);
            }
            kept.tell(&key, Progress::Reading { entries: 1, changed: false });
            kept.tell(&key, Progress::Done { at_ms: 1_000, archive: archive.clone(), used: false });
            assert_eq!(kept.fresh(&key, 1_000), fresh, "a change was ordered while it was read: {changed}");
        }
    }
}
