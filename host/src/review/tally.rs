//! What a comparison found so far, by device model, with a few examples of each kind.

use super::compare::{Difference, Kind};
use crate::limits::{REVIEW_EXAMPLES_MAX, REVIEW_GROUPS_MAX};
use crate::model::{DeviceKey, HexBytes};
use std::collections::BTreeMap;

/// Counts and examples.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Compared, those that carriers brought included.
    pub frames: u64,
    /// Of them with any difference.
    pub differing: u64,
    /// Not compared, since they came faster than they could be.
    pub dropped: u64,
    groups: BTreeMap<(String, Kind, String), Group>,
}

/// Differences of one kind about one subject, of one model.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub count: u64,
    pub examples: Vec<Example>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Example {
    /// The frame's entry; `None` while it is being mirrored.
    pub frame: Option<u64>,
    /// 0: the frame; otherwise the part of it that a carrier brought.
    pub part: u32,
    pub device: Option<DeviceKey>,
    pub old: String,
    pub new: String,
    pub raw: HexBytes,
}

/// The frame that was compared.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    pub frame: Option<u64>,
    pub part: u32,
    pub device: Option<&'a DeviceKey>,
    pub model: &'a str,
    pub raw: &'a [u8],
}

impl Tally {
    pub fn add(&mut self, compared: Compared<'_>, differences: Vec<Difference>) {
        self.frames += 1;
        self.differing += u64::from(!differences.is_empty());
        for Difference { kind, subject, old, new } in differences {
            let key = (compared.model.to_owned(), kind, subject);
            if self.groups.len() >= REVIEW_GROUPS_MAX && !self.groups.contains_key(&key) {
                continue;
            }
            let group = self.groups.entry(key).or_default();
            group.count += 1;
            if group.examples.len() < REVIEW_EXAMPLES_MAX {
                let Compared { frame, part, .. } = compared;
                let (device, raw) = (compared.device.cloned(), HexBytes(compared.raw.to_vec()));
                group.examples.push(Example { frame, part, device, old, new, raw });
            }
        }
    }

    /// Model, kind and subject of each group, the most frequent first.
    pub fn groups(&self) -> Vec<(&str, Kind, &str, &Group)> {
        let mut groups: Vec<_> = self
            .groups
            .iter()
            .map(|((model, kind, subject), group)| (&model[..], *kind, &subject[..], group))
            .collect();
        groups.sort_by_key(|(.., group)| std::cmp::Reverse(group.count));
        groups
    }
}
