//! `polymeter adapter install|list|remove`: the adapters of a running station.

use super::client::{Access, escape};
use super::output::Columns;
use crate::limits::COMPONENT_BYTES_MAX;
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum StationCommand {
    /// Hand an adapter to the running station; it serves from the next frame on
    Install {
        file: PathBuf,
        #[command(flatten)]
        access: Access,
    },
    /// Adapter files of the station, and why one does not serve
    List {
        #[command(flatten)]
        access: Access,
    },
    /// Take an adapter file away; its devices are not understood any more
    Remove {
        /// File name as `adapter list` shows it
        file: String,
        #[command(flatten)]
        access: Access,
    },
}

const ADAPTERS: Columns<'_> = &[
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("STATE", "/state"),
    ("DIGEST", "/short_digest"),
    ("FILE", "/file"),
    ("REASON", "/reason"),
];

pub fn run(command: StationCommand) -> Result<()> {
    match command {
        StationCommand::Install { file, access } => {
            let name = file_name(&file)?;
            let answer = access.remote.connect()?.upload(&format!("adapters/{}", escape(&name)), read(&file)?)?;
            let word = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
            let why = if word("reason").is_empty() { String::new() } else { format!(": {}", word("reason")) };
            let sentence = format!("{} {} is {}{why}", word("name"), word("version"), word("state"));
            access.output.done(&sentence, &answer)
        }
        StationCommand::List { access } => {
            let client = access.remote.connect()?;
            access.output.listing(ADAPTERS, client.rows("adapters", &[], usize::MAX))
        }
        StationCommand::Remove { file, access } => {
            let answer = access.remote.connect()?.delete(&format!("adapters/{}", escape(&file)))?;
            access
                .output
                .done(&format!("{file} is removed"), &if answer.is_null() { json!({"file": file}) } else { answer })
        }
    }
}

fn file_name(file: &Path) -> Result<String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ensure!(file.extension().is_some_and(|e| e == "wasm"), "{}: an adapter is a .wasm file", file.display());
    Ok(name.to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut bytes = Vec::new();
    file.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() <= COMPONENT_BYTES_MAX,
        "{}: an adapter has at most {COMPONENT_BYTES_MAX} bytes",
        path.display()
    );
    Ok(bytes)
}
