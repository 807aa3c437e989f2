//! Adapter files by their content: `<sha-256>.wasm` in a directory of the station's own. What lies there under a digest has
//! that digest, or is refused. Which of them serve is not known here.

use crate::limits::COMPONENT_BYTES_MAX;
use crate::model::Digest;
use cap_std::fs::{Dir, OpenOptions};
use std::io::{self, Read as _, Write as _};

/// The directory.
pub struct Store {
    dir: Dir,
}

/// Why a component cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("its file is not in the store; install it again")]
    Absent,
    #[error("its file in the store was changed; install it again")]
    Changed,
    #[error("the store of adapters cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl Store {
    pub fn open(dir: Dir) -> Self {
        Self { dir }
    }

    /// There whole and durable, or not at all.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if self.get(digest).is_ok() {
            return Ok(());
        }
        let (name, draft) = (file(digest), format!(".{digest}.draft"));
        let written = self.write(&draft, bytes).and_then(|()| self.dir.rename(&draft, &self.dir, &name));
        if let Err(error) = written {
            // The draft is worthless either way; the next delivery replaces it.
            let _ = self.dir.remove_file(&draft);
            return Err(error.into());
        }
        // The new name itself must survive a power cut too.
        self.dir.open(".")?.sync_all()?;
        Ok(())
    }

    /// Its bytes, hashed again.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let file = match self.dir.open(file(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Absent),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Changed) }
    }

    /// Gone is gone, whether or not it was there.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match self.dir.remove_file(file(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = self.dir.open_with(name, &options)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

fn file(digest: &Digest) -> String {
    format!("{digest}.wasm")
}
