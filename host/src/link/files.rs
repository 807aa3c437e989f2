//! Small files that a transport is told of: certificates, keys, passwords. What cannot be used is named with what to do.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A file cannot be used; the text names it and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct FilesError {
    file: PathBuf,
    why: String,
}

impl FilesError {
    pub fn new(file: &Path, why: String) -> Self {
        Self { file: file.into(), why }
    }
}

/// Opens the file by its directory, and takes no more of it than it may have. Blocks.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FilesError> {
    let refuse = |why: String| FilesError::new(path, why);
    let unreadable = |e: io::Error| refuse(format!("{e}; check the path, and that the station may read it"));
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| refuse("not a file; name one".into()))?;
    let directory = Dir::open_ambient_dir(directory, ambient_authority()).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let file = directory.open(name).map_err(unreadable)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(refuse(format!("larger than {bytes_max} bytes; name another file")));
    }
    Ok(bytes)
}
