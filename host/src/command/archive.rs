//! A concentrator's archive against the registry: which of the meters behind it it does not know, which it should not know, and
//! about which it thinks otherwise. Reading it and ordering the difference are commands like any other.

use crate::limits::ARCHIVE_ENTRIES_PER_COMMAND;
use crate::model::{ArchiveEntry, Command, DeviceKey, Record};
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
    /// Indexes that entries of the archive have.
    taken: BTreeSet<u16>,
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
    Reading { entries: usize },
    Failed { why: String },
    Done { at_ms: i64, difference: Arc<Difference> },
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
        kept.insert(concentrator.clone(), Progress::Reading { entries: 0 });
        true
    }

    pub fn tell(&self, concentrator: &DeviceKey, progress: Progress) {
        self.lock().insert(concentrator.clone(), progress);
    }

    pub fn of(&self, concentrator: &DeviceKey) -> Option<Progress> {
        self.lock().get(concentrator).cloned()
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

/// Concentrators fill addresses with zeros in front.
fn bare(address: &str) -> &str {
    address.trim_start_matches('0')
}

/// Compares an archive with what the registry has behind the concentrator.
pub fn compare(archive: &[ArchiveEntry], registry: Vec<Wanted>) -> Difference {
    let mut difference = Difference {
        archived: archive.len(),
        registered: registry.len(),
        taken: archive.iter().map(|entry| entry.index).collect(),
        ..Difference::default()
    };
    let mut entries: BTreeMap<&str, &ArchiveEntry> =
        archive.iter().map(|entry| (bare(&entry.address), entry)).collect();
    for wanted in registry {
        match entries.remove(bare(&wanted.address)) {
            None => difference.missing.push(wanted),
            Some(entry) if wanted.agrees(entry) => {}
            Some(entry) => difference.differing.push((wanted, entry.clone())),
        }
    }
    difference.unknown = entries.into_values().cloned().collect();
    difference.unknown.sort_by_key(|entry| entry.index);
    difference
}

impl Difference {
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty() && self.differing.is_empty()
    }

    /// The commands that make the archive as the registry is; first what goes. Of what is not said in full nothing is ordered.
    pub fn orders(&self, wish: Wish) -> Vec<Command> {
        let portion = usize::from(ARCHIVE_ENTRIES_PER_COMMAND);
        let mut commands = Vec::new();
        if wish.remove {
            let addresses: Vec<String> = self.unknown.iter().map(|entry| entry.address.clone()).collect();
            // An empty list would mean all.
            commands.extend(addresses.chunks(portion).map(|chunk| Command::ArchiveRemove(chunk.to_vec())));
        }
        let mut entries = Vec::new();
        if wish.change {
            entries.extend(self.differing.iter().filter_map(|(wanted, entry)| wanted.entry(entry.index)));
        }
        if wish.add {
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
}
