//! The views' redb file: opening, reading a consistent state, writing one batch together with its cursor.
//!
//! Most batches are committed without an fsync (`Durability::None`): they are visible at once, and after a crash redb
//! comes back with the last durable commit, cursor and rows alike, so what is missing is folded again. A durable
//! commit follows at least every second. It saves redb's allocator state (`set_quick_repair`), so that a
//! restart after a crash need not walk the whole file, however large the fleet.

use crate::journal::{in_words, is_damaged};
use crate::model::Seq;
use redb::{
    Builder, Database, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition, Value,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Small facts about the file itself.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const CURSOR: &str = "cursor";
const FORMAT: &str = "format";
/// Layout of the views; a file of another layout is thrown away and rebuilt.
const FORMAT_NOW: u64 = 12;
/// Page cache.
const CACHE_BYTES: usize = 256 * 1024 * 1024;
/// What a damaged `views.redb` is called from then on, for those who want to know what happened to it.
const DAMAGED: &str = "redb.damaged";
/// The same for one that has seen more than the journal has kept.
const AHEAD: &str = "redb.ahead";

/// Why a view cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    #[error("the views cannot be read: {0}")]
    Store(String),
    #[error("the views are damaged: {0}; stop the station and run `polymeter views rebuild`")]
    Torn(String),
    #[error("a row of `{view}` does not decode; stop the station and run `polymeter views rebuild`")]
    Damaged { view: &'static str },
    #[error("`{0}` is no place in this listing; leave it out to start from the beginning")]
    Place(String),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] crate::journal::StoreError),
}

impl ViewError {
    pub(super) fn store(e: impl Into<redb::Error>) -> Self {
        let error = e.into();
        // Only what lasts: a disk that is full or gone is not mended by a rebuild.
        if is_damaged(&error) { Self::Torn(in_words(&error)) } else { Self::Store(in_words(&error)) }
    }

    /// Whether nothing but a rebuild mends it.
    pub(super) fn lasts(&self) -> bool {
        matches!(self, Self::Torn(_) | Self::Damaged { .. })
    }
}

pub(super) type Result<T> = std::result::Result<T, ViewError>;

/// The open file. Empty for a moment while it is opened again after an error.
pub(super) struct Store {
    path: PathBuf,
    db: RwLock<Option<Database>>,
}

impl Store {
    /// Opens or makes the file. A damaged one is put aside and made anew: the journal has all that was in it.
    pub fn open(path: &Path) -> Result<Self> {
        // redb stops at some damages instead of telling them.
        let why = match catch_unwind(|| look(path)) {
            Ok(Ok((db, format))) => return Self::of(path, db, format),
            Ok(Err(error)) if is_damaged(&error) => error.to_string(),
            Ok(Err(error)) => return Err(ViewError::store(error)),
            Err(_) => "opening it stopped unexpectedly".into(),
        };
        let aside = path.with_extension(DAMAGED);
        std::fs::rename(path, &aside).map_err(|e| {
            let (path, aside) = (path.display(), aside.display());
            ViewError::Store(format!("`{path}` is damaged ({why}) and cannot be renamed to `{aside}`: {e}; remove it"))
        })?;
        let (file, aside) = (path.display(), aside.display());
        tracing::warn!(%file, %aside, why, "the views are damaged: put aside, and folded from the journal again");
        let (db, format) = look(path).map_err(ViewError::store)?;
        Self::of(path, db, format)
    }

    fn of(path: &Path, db: Database, format: Option<u64>) -> Result<Self> {
        let db = with_tables(path, db, format)?;
        Ok(Self { path: path.to_owned(), db: RwLock::new(Some(db)) })
    }

    /// Opens the file again. What was not durable is gone from it: `opened` is told the last entry that is there, before anybody
    /// can ask. A damaged one stays: of a station that runs, nobody may ask views that begin anew, and what the journal drops
    /// meanwhile would not be told again.
    pub fn reopen(&self, opened: impl FnOnce(Seq)) -> Result<()> {
        let mut slot = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        let (db, format) = look(&self.path).map_err(ViewError::store)?;
        let db = with_tables(&self.path, db, format)?;
        opened(Snapshot(db.begin_read().map_err(ViewError::store)?).cursor()?);
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

/// Opens or makes the file and reads its layout; `None`: it has none yet.
fn look(path: &Path) -> std::result::Result<(Database, Option<u64>), redb::Error> {
    let db = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
    let format = match db.begin_read()?.open_table(META) {
        Ok(table) => table.get(FORMAT)?.map(|v| v.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(e) => return Err(e.into()),
    };
    Ok((db, format))
}

/// A file of another layout is replaced by an empty one; a new one gets its tables.
fn with_tables(path: &Path, mut db: Database, mut format: Option<u64>) -> Result<Database> {
    if format.is_some_and(|found| found != FORMAT_NOW) {
        drop(db);
        std::fs::remove_file(path).map_err(|e| ViewError::Store(e.to_string()))?;
        (db, format) = look(path).map_err(ViewError::store)?;
    }
    if format.is_none() {
        let txn = db.begin_write().map_err(ViewError::store)?;
        txn.open_table(META).map_err(ViewError::store)?.insert(FORMAT, FORMAT_NOW).map_err(ViewError::store)?;
        super::fold::create_tables(&txn)?;
        txn.commit().map_err(ViewError::store)?;
    }
    Ok(db)
}

/// The last entry that the file has folded in; 0: there is no such file, it cannot tell, or somebody has it open, who knows.
pub(super) fn seen(path: &Path) -> Result<Seq> {
    if !path.exists() {
        return Ok(Seq(0));
    }
    let cursor = || -> std::result::Result<u64, redb::Error> {
        let (db, format) = look(path)?;
        if format.is_none() {
            return Ok(0);
        }
        Ok(db.begin_read()?.open_table(META)?.get(CURSOR)?.map_or(0, |v| v.value()))
    };
    match catch_unwind(cursor) {
        Ok(Ok(cursor)) => Ok(Seq(cursor)),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) | Err(_) => Ok(Seq(0)),
        Ok(Err(error)) if is_damaged(&error) => Ok(Seq(0)),
        Ok(Err(error)) => Err(ViewError::store(error)),
    }
}

/// Gives a file that nobody has open another name; tells which.
pub(super) fn put_aside(path: &Path) -> Result<PathBuf> {
    drop(look(path).map_err(ViewError::store)?);
    let aside = path.with_extension(AHEAD);
    std::fs::rename(path, &aside).map_err(|e| {
        ViewError::Store(format!("`{}` cannot be renamed to `{}`: {e}", path.display(), aside.display()))
    })?;
    Ok(aside)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    /// A directory of its own for each test, to be removed at its end.
    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("polymeter-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("makes it");
        dir
    }

    fn folded_to(path: &Path, seq: Seq) {
        let store = Store::open(path).expect("opens");
        store.write(seq, Durability::Immediate, |_| Ok(())).expect("writes");
        store.close();
    }

    fn cursor(store: &Store) -> Seq {
        store.read().and_then(|snapshot| snapshot.cursor()).expect("reads")
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_made_anew() {
        let dir = scratch("damaged");
        let path = dir.join("views.redb");
        folded_to(&path, Seq(7));
        let whole = fs::read(&path).expect("there");
        let garbage = b"no views at all ".repeat(1_000);
        for damaged in [&whole[..whole.len() / 2], &whole[..100], &garbage] {
            fs::write(&path, damaged).expect("writes");
            let store = Store::open(&path).expect("opens");
            assert_eq!(cursor(&store), Seq(0), "{} bytes", damaged.len());
            store.close();
            let aside = fs::metadata(dir.join("views.redb.damaged")).expect("kept");
            assert_eq!(aside.len(), damaged.len() as u64);
            folded_to(&path, Seq(9));
            assert_eq!(cursor(&Store::open(&path).expect("opens")), Seq(9), "the new one is kept");
        }
        let _ = fs::remove_dir_all(dir);
    }

    #[test]
    fn what_is_not_damaged_stays() {
        let dir = scratch("sound");
        let path = dir.join("views.redb");
        folded_to(&path, Seq(7));
        let held = Store::open(&path).expect("opens");
        let refused = Store::open(&path).err().expect("somebody has it").to_string();
        assert!(refused.contains("already open") && !refused.contains("rebuild"), "{refused}");
        assert_eq!(cursor(&held), Seq(7));
        held.close();
        let no_file = dir.join("directory.redb");
        fs::create_dir(&no_file).expect("makes it");
        assert!(Store::open(&no_file).is_err() && no_file.is_dir());
        assert_eq!(fs::read_dir(&dir).expect("lists").count(), 2, "nothing was put aside");
        let _ = fs::remove_dir_all(dir);
    }

    #[test]
    fn a_running_station_keeps_its_damaged_file() {
        let dir = scratch("running");
        let path = dir.join("views.redb");
        let store = Store::open(&path).expect("opens");
        store.close();
        fs::write(&path, b"no views at all ".repeat(1_000)).expect("writes");
        let refused = store.reopen(|_| ()).expect_err("damaged").to_string();
        assert!(refused.ends_with("; stop the station and run `polymeter views rebuild`"), "{refused}");
        assert!(!dir.join("views.redb.damaged").exists());
        let _ = fs::remove_dir_all(dir);
    }

    #[test]
    fn a_closed_file_tells_what_it_has_seen() {
        let dir = scratch("seen");
        let path = dir.join("views.redb");
        assert_eq!(seen(&path), Ok(Seq(0)));
        assert!(!path.exists(), "asking makes none");
        folded_to(&path, Seq(7));
        assert_eq!(seen(&path), Ok(Seq(7)));
        let held = Store::open(&path).expect("opens");
        assert_eq!(seen(&path), Ok(Seq(0)), "whoever has it open knows more");
        assert!(put_aside(&path).is_err() && path.exists());
        held.close();
        let aside = put_aside(&path).expect("nobody has it open");
        assert_eq!((aside.clone(), seen(&aside), path.exists()), (dir.join("views.redb.ahead"), Ok(Seq(7)), false));
        fs::write(&path, b"no views at all ".repeat(1_000)).expect("writes");
        assert_eq!(seen(&path), Ok(Seq(0)), "a damaged one cannot tell");
        let _ = fs::remove_dir_all(dir);
    }

    #[test]
    fn only_damage_calls_for_a_rebuild() {
        for (error, lasts) in [
            (ViewError::store(redb::TableError::TableIsMultimap("devices".into())), true),
            (ViewError::store(redb::StorageError::Corrupted("a page".into())), true),
            (ViewError::store(redb::StorageError::Io(ErrorKind::StorageFull.into())), false),
            (ViewError::store(redb::StorageError::Io(ErrorKind::PermissionDenied.into())), false),
            (ViewError::store(redb::StorageError::PreviousIo), false),
        ] {
            let text = error.to_string();
            assert_eq!(text.contains("run `polymeter views rebuild`"), lasts, "{text}");
            assert!(!text.ends_with('.') && !text.contains("re-open"), "{text}");
        }
    }
}
