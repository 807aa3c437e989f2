//! The views' redb file: opening, reading a consistent state, writing one batch together with its cursor.
//!
//! Most batches are committed without an fsync (`Durability::None`): they are visible at once, and after a crash redb
//! comes back with the last durable commit, cursor and rows alike, so what is missing is folded again. A durable
//! commit follows at least every second of entries. It saves redb's allocator state (`set_quick_repair`), so that a
//! restart after a crash need not walk the whole file, however large the fleet.

use crate::model::Seq;
use redb::{
    Builder, Database, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition, Value,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Small facts about the file itself.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const CURSOR: &str = "cursor";
const FORMAT: &str = "format";
/// Layout of the views; a file of another layout is thrown away and rebuilt.
const FORMAT_NOW: u64 = 7;
/// Page cache.
const CACHE_BYTES: usize = 256 * 1024 * 1024;

/// Why a view cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    #[error("the views cannot be read: {0}")]
    Store(String),
    #[error("a row of `{view}` does not decode; stop the station and run `polymeter views rebuild`")]
    Damaged { view: &'static str },
    #[error("`{0}` is no place in this listing; leave it out to start from the beginning")]
    Place(String),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] crate::journal::StoreError),
}

impl ViewError {
    pub(super) fn store(e: impl Into<redb::Error>) -> Self {
        Self::Store(e.into().to_string())
    }
}

pub(super) type Result<T> = std::result::Result<T, ViewError>;

/// The open file. Empty for a moment while it is opened again after an error.
pub(super) struct Store {
    path: PathBuf,
    db: RwLock<Option<Database>>,
}

impl Store {
    pub fn open(path: &Path) -> Result<Self> {
        let store = Self { path: path.to_owned(), db: RwLock::new(None) };
        store.reopen()?;
        Ok(store)
    }

    /// Opens the file (again). One of another layout is replaced by an empty one.
    pub fn reopen(&self) -> Result<()> {
        let mut slot = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        let mut db = create(&self.path)?;
        if format(&db)?.is_some_and(|found| found != FORMAT_NOW) {
            drop(db);
            std::fs::remove_file(&self.path).map_err(|e| ViewError::Store(e.to_string()))?;
            db = create(&self.path)?;
        }
        if format(&db)?.is_none() {
            let txn = db.begin_write().map_err(ViewError::store)?;
            txn.open_table(META).map_err(ViewError::store)?.insert(FORMAT, FORMAT_NOW).map_err(ViewError::store)?;
            super::fold::create_tables(&txn)?;
            txn.commit().map_err(ViewError::store)?;
        }
        *slot = Some(db);
        Ok(())
    }

    pub fn read(&self) -> Result<Snapshot> {
        let slot = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = slot.as_ref().ok_or_else(|| ViewError::Store("they are being opened again".into()))?;
        Ok(Snapshot(db.begin_read().map_err(ViewError::store)?))
    }

    /// Runs `write` in a transaction and commits it together with the new cursor.
    pub fn write(
        &self,
        cursor: Seq,
        durability: Durability,
        write: impl FnOnce(&WriteTransaction) -> Result<()>,
    ) -> Result<()> {
        let slot = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = slot.as_ref().ok_or_else(|| ViewError::Store("they are being opened again".into()))?;
        let mut txn = db.begin_write().map_err(ViewError::store)?;
        txn.set_durability(durability).map_err(|e| ViewError::Store(e.to_string()))?;
        txn.set_quick_repair(matches!(durability, Durability::Immediate));
        write(&txn)?;
        txn.open_table(META).map_err(ViewError::store)?.insert(CURSOR, cursor.0).map_err(ViewError::store)?;
        txn.commit().map_err(ViewError::store)
    }

    pub fn close(&self) {
        // A failure to close costs a walk through the file at the next start, nothing else.
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn create(path: &Path) -> Result<Database> {
    Builder::new().set_cache_size(CACHE_BYTES).create(path).map_err(ViewError::store)
}

fn format(db: &Database) -> Result<Option<u64>> {
    match db.begin_read().map_err(ViewError::store)?.open_table(META) {
        Ok(table) => Ok(table.get(FORMAT).map_err(ViewError::store)?.map(|v| v.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(ViewError::store(e)),
    }
}

/// All views at one moment.
pub(super) struct Snapshot(ReadTransaction);

impl Snapshot {
    pub fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<K, V>,
    ) -> Result<ReadOnlyTable<K, V>> {
        self.0.open_table(definition).map_err(ViewError::store)
    }

    /// The last entry that is folded in.
    pub fn cursor(&self) -> Result<Seq> {
        Ok(Seq(self.table(META)?.get(CURSOR).map_err(ViewError::store)?.map_or(0, |v| v.value())))
    }
}

/// A row's bytes.
pub(super) fn pack<T: Serialize>(view: &'static str, row: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(row).map_err(|_| ViewError::Damaged { view })
}

pub(super) fn unpack<T: DeserializeOwned>(view: &'static str, bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|_| ViewError::Damaged { view })
}
