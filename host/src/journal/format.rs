//! The bytes of the journal: how an entry, a commit and a segment's head are stored, and the hash that chains them.
//!
//! ```text
//! segment file (redb)   <first seq, 20 digits>-<UTC day as days since 1970>.redb
//!   entries   u64 seq            -> format (1 byte = 1) | postcard of Entry
//!   commits   u64 last seq of it -> SHA-256 (32 bytes)
//!   head      "head"             -> postcard of Head
//!
//! hash of a commit = SHA-256( hash of the commit before
//!                           | first seq (u64 LE) | number of entries (u32 LE)
//!                           | for each entry: length (u32 LE), bytes )
//! ```
//! The hash before the very first commit is all zero. A segment's head repeats the hash it continues from, so that
//! what remains after old segments were dropped still verifies.

use super::Entry;
use crate::limits;
use crate::model::{Day, Message, Seq};
use redb::TableDefinition;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
pub(super) const COMMITS: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("commits");
pub(super) const HEAD: TableDefinition<&str, &[u8]> = TableDefinition::new("head");
pub(super) const HEAD_KEY: &str = "head";

/// First byte of every stored entry.
const ENTRY_FORMAT: u8 = 1;
/// Layout of a segment file.
pub(super) const SEGMENT_FORMAT: u32 = 1;
const DAY_MS: i64 = 86_400_000;

pub(super) type Hash = [u8; 32];

/// Which journal this is: entries are known to other stations as `station:epoch:seq`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The station's name.
    pub station: String,
    /// Tells this journal from an earlier or later one of the same station.
    pub epoch: u64,
}

/// What a segment knows of itself, written when it is made and never changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub format: u32,
    pub identity: Identity,
    pub first: Seq,
    pub day: Day,
    /// Hash of the last commit of the segment before.
    pub follows: Hash,
}

/// A segment's file name holds all that the list of days needs, so that a start opens one file and not hundreds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SegmentName {
    pub first: Seq,
    pub day: Day,
}

impl SegmentName {
    pub fn file(self) -> String {
        format!("{:020}-{}.redb", self.first.0, self.day.0)
    }

    /// `None`: not a segment's name.
    pub fn parse(file: &str) -> Option<Self> {
        let (first, day) = file.strip_suffix(".redb")?.split_once('-')?;
        let name = Self { first: Seq(first.parse().ok()?), day: Day(day.parse().ok()?) };
        (name.file() == file).then_some(name)
    }
}

/// Why an entry cannot be stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("an entry of {bytes} bytes is longer than the {max} that the journal takes")]
    TooLong { bytes: usize, max: usize },
    #[error("the entry has format {0}, which this version does not know; use the version that wrote it")]
    Format(u8),
    #[error("the entry does not decode: {0}")]
    Damaged(String),
}

/// An entry as it is stored.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(384);
    bytes.push(ENTRY_FORMAT);
    let bytes = postcard::to_extend(entry, bytes).map_err(|e| CodecError::Damaged(e.to_string()))?;
    if bytes.len() > limits::ENTRY_BYTES_MAX {
        return Err(CodecError::TooLong { bytes: bytes.len(), max: limits::ENTRY_BYTES_MAX });
    }
    Ok(bytes)
}

/// Bytes that messages take in an entry.
pub fn messages_bytes(messages: &[Message]) -> usize {
    postcard::to_stdvec(messages).map_or(usize::MAX, |bytes| bytes.len())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Entry, CodecError> {
    match bytes.split_first() {
        Some((&ENTRY_FORMAT, body)) => postcard::from_bytes(body).map_err(|e| CodecError::Damaged(e.to_string())),
        Some((other, _)) => Err(CodecError::Format(*other)),
        None => Err(CodecError::Damaged("it is empty".into())),
    }
}

/// The UTC day an entry's time falls on.
pub(super) fn day_of(at_ms: i64) -> Day {
    Day(at_ms.div_euclid(DAY_MS).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
}

/// Hash of one commit, fed entry by entry.
pub(super) struct Chain(Sha256);

impl Chain {
    pub fn after(before: &Hash, first: Seq, entries: usize) -> Self {
        let mut hash = Sha256::new();
        hash.update(before);
        hash.update(first.0.to_le_bytes());
        hash.update((entries as u32).to_le_bytes());
        Self(hash)
    }

    pub fn entry(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u32).to_le_bytes());
        self.0.update(bytes);
    }

    pub fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}
