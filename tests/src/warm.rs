//! Compiled code that one test's station leaves to the next one's: compiling every bundled adapter takes seconds of both
//! cores, and a hundred stations would do it again and again.
//!
//! A shelf in the target directory holds files as a station's `compiled` directory does, with the one secret that all of them
//! are sealed under. What does not fit (another adapter, another wasmtime) has another name and is not taken.

use polymeter::model::Digest;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const SECRET: &str = "secret";

/// Puts what is there for these adapters into a station's data directory, before it starts.
pub fn lend(data: &Path, adapters: &[PathBuf]) -> io::Result<()> {
    let (shelf, theirs) = (shelf()?, data.join("compiled"));
    if !shelf.join(SECRET).exists() {
        return Ok(());
    }
    // As the station makes it, whatever the umask: it leaves a directory alone that others can write to.
    fs::DirBuilder::new().mode(0o700).create(&theirs)?;
    fs::copy(shelf.join(SECRET), theirs.join(SECRET))?;
    let digests = adapters.iter().map(|path| Ok(Digest::of(&fs::read(path)?).to_string()));
    let digests = digests.collect::<io::Result<Vec<_>>>()?;
    for (name, path) in code(&shelf)? {
        if digests.iter().any(|digest| name.starts_with(digest)) {
            fs::copy(path, theirs.join(name))?;
        }
    }
    Ok(())
}

/// Takes what a station has compiled, once it runs.
pub fn keep(data: &Path) -> io::Result<()> {
    let (shelf, theirs) = (shelf()?, data.join("compiled"));
    // The first secret stays; whoever compiled under another one keeps its files to itself.
    publish(&theirs.join(SECRET), &shelf.join(SECRET))?;
    if fs::read(theirs.join(SECRET))? == fs::read(shelf.join(SECRET))? {
        for (name, path) in code(&theirs)? {
            publish(&path, &shelf.join(name))?;
        }
    }
    Ok(())
}

/// Appears whole or not at all, and never in the place of another.
fn publish(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        return Ok(());
    }
    let draft = to.with_extension(std::process::id().to_string());
    fs::copy(from, &draft)?;
    let linked = fs::hard_link(&draft, to);
    fs::remove_file(&draft)?;
    linked.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

fn code(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "code") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, path));
        }
    }
    Ok(found)
}

/// Beside the adapters that `make adapters` leaves.
fn shelf() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    let shelf = target.ok_or_else(|| io::Error::other("tests run from a target directory"))?.join("tmp/compiled");
    fs::create_dir_all(&shelf)?;
    Ok(shelf)
}
