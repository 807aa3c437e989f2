//! Puts into the binary what `adapter new` writes: the SDK, the contract, the example and the licences, as they stand in this tree.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

const PARTS: [&str; 7] =
    ["sdk", "wit", "examples/hello_adapter", "LICENSE-APACHE", "LICENSE-MIT", "Cargo.toml", "Cargo.lock"];

fn main() -> Result<(), Box<dyn Error>> {
    let host = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = host.parent().ok_or("the host lies in the workspace")?;
    let mut files = Vec::new();
    for part in PARTS {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
        collect(&root.join(part), &mut files)?;
    }
    files.sort();
    let mut table = "&[\n".to_owned();
    for file in files {
        let name = file.strip_prefix(root)?.to_str().ok_or("a file name that is no text")?;
        let path = file.to_str().ok_or("a path that is no text")?;
        writeln!(table, "    ({name:?}, include_str!({path:?})),")?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("author_kit.rs"), table)?;
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        // The stagger is the station's and firmware's; an adapter has no use for it.
        if !name.to_string_lossy().starts_with('.') && name != "target" && name != "stagger" {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}
