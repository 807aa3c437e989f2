//! Keys of devices, sealed, and API tokens, hashed.
//!
//! ```text
//! keys    (device or realm, slot)  -> postcard of KeyRow
//! tokens  name                     -> postcard of TokenRow
//! ```
//! What is sealed is opened elsewhere; nothing here can.

use super::devices::Page;
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{Entry, Fact, Role};
use crate::model::{Digest, HexBytes, Seq};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::ops::Bound;

pub(super) const VIEW: &str = "credentials";
pub(super) const KEYS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("keys");
pub(super) const TOKENS: TableDefinition<&str, &[u8]> = TableDefinition::new("tokens");

/// A key of a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRow {
    /// As it was named when the key was set.
    pub device: String,
    pub slot: String,
    /// Under the station's master key.
    pub sealed: HexBytes,
    pub by: String,
    pub since_ms: i64,
    pub seq: Seq,
}

/// A token of the API.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenRow {
    pub name: String,
    pub role: Role,
    /// SHA-256 of the token.
    pub hash: Digest,
    pub by: String,
    pub since_ms: i64,
    pub seq: Seq,
}

/// One after the other: every meter may have one of its own.
pub(super) fn keys(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<KeyRow>>> {
    keys_from(snapshot, Bound::Unbounded)
}

/// One page; a place is `device/slot`.
pub(super) fn key_page(snapshot: &Snapshot, after: Option<&str>, rows_max: usize) -> Result<Page<KeyRow>> {
    let begin = match after {
        Some(place) => Bound::Excluded(place.rsplit_once('/').ok_or_else(|| ViewError::Place(place.to_owned()))?),
        None => Bound::Unbounded,
    };
    let mut left = keys_from(snapshot, begin)?;
    let rows: Vec<KeyRow> = left.by_ref().take(rows_max).collect::<Result<_>>()?;
    let last = rows.last().filter(|_| left.next().is_some());
    let next = last.map(|row| format!("{}/{}", row.device, row.slot));
    Ok(Page { rows, next })
}

fn keys_from(snapshot: &Snapshot, begin: Bound<(&str, &str)>) -> Result<impl Iterator<Item = Result<KeyRow>> + use<>> {
    let rows = snapshot.table(KEYS)?.range::<(&str, &str)>((begin, Bound::Unbounded)).map_err(ViewError::store)?;
    Ok(rows.map(|row| unpack(VIEW, row.map_err(ViewError::store)?.1.value())))
}

pub(super) fn key_count(snapshot: &Snapshot) -> Result<u64> {
    snapshot.table(KEYS)?.len().map_err(ViewError::store)
}

pub(super) fn key(snapshot: &Snapshot, device: &str, slot: &str) -> Result<Option<KeyRow>> {
    match snapshot.table(KEYS)?.get((device, slot)).map_err(ViewError::store)? {
        Some(bytes) => unpack(VIEW, bytes.value()).map(Some),
        None => Ok(None),
    }
}

pub(super) fn tokens(snapshot: &Snapshot) -> Result<Vec<TokenRow>> {
    let mut rows = Vec::new();
    for row in snapshot.table(TOKENS)?.iter().map_err(ViewError::store)? {
        rows.push(unpack(VIEW, row.map_err(ViewError::store)?.1.value())?);
    }
    Ok(rows)
}

/// Keys and tokens of one batch.
#[derive(Default)]
pub(super) struct Fold(Vec<(Seq, Entry)>);

impl Fold {
    pub fn apply(&mut self, entry: &Entry, seq: Seq) {
        self.0.push((seq, entry.clone()));
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut keys = txn.open_table(KEYS).map_err(ViewError::store)?;
        let mut tokens = txn.open_table(TOKENS).map_err(ViewError::store)?;
        for (seq, Entry { at_ms: since_ms, fact }) in self.0.drain(..) {
            match fact {
                Fact::KeySet { device, slot, sealed: Some(sealed), by } => {
                    let row = KeyRow { device: device.clone(), slot: slot.clone(), sealed, by, since_ms, seq };
                    keys.insert((&device[..], &slot[..]), &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
                }
                Fact::KeySet { device, slot, sealed: None, .. } => {
                    keys.remove((&device[..], &slot[..])).map_err(ViewError::store)?;
                }
                Fact::TokenSet { name, role, hash, by } => {
                    let row = TokenRow { name: name.clone(), role, hash, by, since_ms, seq };
                    tokens.insert(&name[..], &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
                }
                Fact::TokenRevoked { name, .. } => {
                    tokens.remove(&name[..]).map_err(ViewError::store)?;
                }
                Fact::Frame(_)
                | Fact::Command(_)
                | Fact::Adapter(_)
                | Fact::Redecoded { .. }
                | Fact::DeviceAdopted { .. }
                | Fact::Remembered { .. }
                | Fact::Forgotten { .. }
                | Fact::Corrected { .. }
                | Fact::Reread { .. }
                | Fact::Registry(_)
                | Fact::Profile(_)
                | Fact::Poll(_) => {}
            }
        }
        Ok(())
    }
}
