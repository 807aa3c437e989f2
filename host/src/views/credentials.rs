//! Keys of devices, sealed, and API tokens, hashed.
//!
//! ```text
//! keys    (device or realm, slot)  -> postcard of KeyRow
//! tokens  name                     -> postcard of TokenRow
//! ```
//! What is sealed is opened elsewhere; nothing here can.

use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::journal::{Entry, Fact, Role};
use crate::model::{Digest, HexBytes, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

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

pub(super) fn keys(snapshot: &Snapshot) -> Result<Vec<KeyRow>> {
    let mut rows = Vec::new();
    for row in snapshot.table(KEYS)?.iter().map_err(ViewError::store)? {
        rows.push(unpack(VIEW, row.map_err(ViewError::store)?.1.value())?);
    }
    Ok(rows)
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
