//! Where segments lie: a directory of files, or what a test puts in its place.
//!
//! redb reads and writes through a `StorageBackend`; this module adds the few directory operations that a journal of
//! several files needs, so that a test can lose unsynced writes of all of them at one moment.

use redb::StorageBackend;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory of redb files.
pub(crate) trait Storage: Send + Sync + 'static {
    /// Names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Makes an empty file; one of that name is replaced.
    fn create(&self, name: &str) -> io::Result<Backend>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Backend>;
    /// Whether this file, which is open, still lies under that name.
    fn is_in_place(&self, name: &str, file: FileId) -> io::Result<bool>;
    /// Gives a file its final name, durably.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, durably.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Whether an fsync has failed since the last renewal: what is read is then not what a power cut would leave.
    fn is_doubtful(&self) -> bool;
    /// Writes a file anew from what is read of it, durably.
    fn renew(&self, name: &str) -> io::Result<()>;
}

/// Which file it is, whatever it is called. Nobody else gets the number while the file is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileId {
    pub device: u64,
    pub number: u64,
}

impl FileId {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), number: meta.ino() }
    }
}

/// Any backend, in the one type that redb's builder can be given.
#[derive(Debug)]
pub(crate) struct Backend {
    file: Box<dyn StorageBackend>,
    pub id: FileId,
}

impl Backend {
    pub fn new(file: impl StorageBackend, id: FileId) -> Self {
        Self { file: Box::new(file), id }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// A real directory. Held for as long as the data directory's lock file is, so the files need no locks of their own.
pub(crate) struct Directory {
    path: PathBuf,
    doubtful: Arc<AtomicBool>,
    /// Keeps the lock until the last user of the directory is gone.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "`{0}` is in use by a running station; ask that station over its HTTP API, or stop it before working on its \
         data directory"
    )]
    InUse(PathBuf),
    #[error("`{0}` cannot be opened: {1}")]
    Io(PathBuf, io::Error),
}

impl Directory {
    /// Opens a directory for this process alone, and makes it if it is missing.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let io = |e| DirectoryError::Io(path.to_owned(), e);
        std::fs::create_dir_all(path).map_err(io)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), doubtful: Arc::default(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(DirectoryError::InUse(path.to_owned())),
            Err(std::fs::TryLockError::Error(e)) => Err(io(e)),
        }
    }

    /// A rename or a removal is durable once the directory itself is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn plain(&self, file: File) -> io::Result<Backend> {
        let id = FileId::of(&file.metadata()?);
        Ok(Backend::new(PlainFile { file, doubtful: self.doubtful.clone() }, id))
    }
}

impl Storage for Directory {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for item in std::fs::read_dir(&self.path)? {
            let item = item?;
            let meta = item.metadata()?;
            if meta.is_file() {
                files.push((item.file_name().to_string_lossy().into_owned(), meta.len()));
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str) -> io::Result<Backend> {
        let path = self.path.join(name);
        self.plain(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?)
    }

    fn open(&self, name: &str) -> io::Result<Backend> {
        self.plain(OpenOptions::new().read(true).write(true).open(self.path.join(name))?)
    }

    fn is_in_place(&self, name: &str, file: FileId) -> io::Result<bool> {
        match std::fs::metadata(self.path.join(name)) {
            Ok(meta) => Ok(FileId::of(&meta) == file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))?;
        self.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => self.sync(),
        }
    }

    fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    fn renew(&self, name: &str) -> io::Result<()> {
        let draft = self.path.join("renewed-segment");
        std::fs::copy(self.path.join(name), &draft)?;
        File::open(&draft)?.sync_all()?;
        std::fs::rename(&draft, self.path.join(name))?;
        self.sync()?;
        self.doubtful.store(false, Ordering::Release);
        Ok(())
    }
}

#[derive(Debug)]
struct PlainFile {
    file: File,
    doubtful: Arc<AtomicBool>,
}

impl StorageBackend for PlainFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.doubtful.store(true, Ordering::Release))
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}
