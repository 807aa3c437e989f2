//! A directory that ends with its test.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Scratch(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    pub fn new() -> Self {
        let name = format!("polymeter-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // Another process of that number may have been ended before it could tidy up.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a scratch directory can be made");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// As a text in a configuration.
    pub fn quoted(&self, name: &str) -> String {
        format!("\"{}\"", self.path(name).display())
    }

    /// Opened, and made if it is not there.
    pub fn dir(&self, name: &str) -> Dir {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Dir::open_ambient_dir(path, ambient_authority()).expect("it opens")
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory can be made");
        std::fs::write(path, bytes).expect("a file can be written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("the file can be read")
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("the file can be removed");
    }

    /// Names in a directory, sorted.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(dir)).expect("the directory can be read");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
