//! Adapter files that come through the API: checked before they lie in the directory, so that a bad one replaces nothing.

use super::manifest::LoadError;
use super::{Adapter, Catalog};
use crate::model::Digest;
use std::io::{self, Write as _};

const NAME_BYTES_MAX: usize = 100;

/// Why a file was not put into or taken out of the directory.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("`{0}` is no name for an adapter file; write letters, digits, `-`, `_` and `.`, and end in .wasm")]
    Name(String),
    #[error("{0}")]
    Rejected(#[from] LoadError),
    #[error("there is no file `{0}`")]
    Absent(String),
    #[error("the adapter directory cannot be written: {0}")]
    Directory(#[from] io::Error),
}

impl Catalog {
    /// Checks a component as a scan would and puts it into the directory, where the next scan finds it. Blocks for as
    /// long as compiling takes. `by` is remembered for the entry that the scan causes.
    pub fn install(&self, file: &str, bytes: &[u8], by: &str) -> Result<Digest, InstallError> {
        check_name(file)?;
        let digest = Adapter::load_conforming(&self.runtime, bytes, self.keys.clone())?.digest;
        // Hidden names are drafts to a scan; renamed, it is there whole or not at all.
        let draft = format!(".{file}.draft");
        self.note_hand(file, by);
        let written = self.write(&draft, bytes).and_then(|()| self.dir.rename(&draft, &self.dir, file));
        if let Err(error) = written {
            // The draft is worthless either way; the next upload replaces it.
            let _ = self.dir.remove_file(&draft);
            return Err(error.into());
        }
        Ok(digest)
    }

    /// Takes a file out of the directory.
    pub fn remove(&self, file: &str, by: &str) -> Result<(), InstallError> {
        check_name(file)?;
        self.note_hand(file, by);
        match self.dir.remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(InstallError::Absent(file.into())),
            other => Ok(other?),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.dir.create(name)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

fn check_name(file: &str) -> Result<(), InstallError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let good = file.len() <= NAME_BYTES_MAX
        && file.strip_suffix(".wasm").is_some_and(|stem| !stem.is_empty())
        && !file.starts_with('.')
        && file.bytes().all(plain);
    if good { Ok(()) } else { Err(InstallError::Name(file.chars().take(NAME_BYTES_MAX).collect())) }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_stay_inside_the_directory() {
        for good in ["usp.wasm", "qianwei_7xxx-1.2.wasm"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".wasm", ".a.wasm", "../a.wasm", "a/b.wasm", "a.so", "ä.wasm", &"a".repeat(200)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
