//! `polymeter adapter install|list|show|history|activate|rollback|retire|remove`: the adapters of a running station.

use super::client::{Access, escape};
use super::output::{Columns, Limit, cell};
use crate::kit::signing::read_component;
use crate::views::DIGEST_DIGITS_MIN;
use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum StationCommand {
    /// Hand an adapter to the running station; it serves from the next frame on
    Install {
        file: PathBuf,
        /// Check and keep it only; `activate` puts it into service later
        #[arg(long)]
        stage: bool,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        access: Access,
    },
    /// Adapters of the station, and where each version stands
    List {
        /// Also those that are retired or were refused
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        access: Access,
    },
    /// All versions of one adapter
    Show {
        /// Name, NAME@VERSION, NAME@DIGEST or DIGEST; of a digest its first digits
        name: String,
        #[command(flatten)]
        access: Access,
    },
    /// What became of an adapter's versions, who did it and why; newest first
    History {
        name: String,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        access: Access,
    },
    /// Put an installed version into service; no connection is closed
    Activate {
        /// Name, NAME@VERSION, NAME@DIGEST or DIGEST, of a digest its first digits; a bare name means the newest that is installed
        name: String,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        access: Access,
    },
    /// Put the version that served before back into service, at once
    Rollback {
        /// Its name alone; `activate` puts a version of your choice into service
        name: String,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        access: Access,
    },
    /// Take a version out of the station
    Retire {
        /// NAME@VERSION, NAME@DIGEST or DIGEST, of a digest its first digits; a bare name means the version that serves
        name: String,
        /// Also if it serves: its devices are not understood any more
        #[arg(long)]
        even_active: bool,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        access: Access,
    },
    /// Take an adapter away by its file: out of the adapter directory, and out of service; what stood by takes over
    Remove {
        /// File name as `adapter list` shows it
        file: String,
        #[command(flatten)]
        access: Access,
    },
}

/// What is said for a change.
#[derive(Args)]
pub struct Words {
    /// Why; the journal keeps it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Even if it is older than a version that has served; needs a --reason
    #[arg(long, requires = "reason")]
    allow_downgrade: bool,
}

const ADAPTERS: Columns<'_> = &[
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("STATE", "/state"),
    ("DIGEST", "/short_digest"),
    ("FILE", "/file"),
    ("SINCE", "/since"),
    ("BY", "/by"),
    ("REASON", "/reason"),
];
const STEPS: Columns<'_> = &[
    ("SEQ", "/seq"),
    ("AT", "/at"),
    ("VERSION", "/version"),
    ("DIGEST", "/short_digest"),
    ("STATE", "/state"),
    ("BY", "/by"),
    ("REASON", "/reason"),
];

pub fn run(command: StationCommand) -> Result<()> {
    match command {
        StationCommand::Install { file, stage, words, access } => {
            let reason = escape(&words.reason);
            let said = |key: &str, is: bool| if is { format!("&{key}={reason}") } else { String::new() };
            let (why, older) = (said("reason", !reason.is_empty()), said("downgrade", words.allow_downgrade));
            let path = format!("adapters/{}?stage={stage}{why}{older}", escape(&file_name(&file)?));
            let answer = access.remote.connect()?.upload(&path, read_component(&file)?)?;
            told(&access, &answer)
        }
        StationCommand::List { all, access } => {
            let client = access.remote.connect()?;
            access.output.listing(ADAPTERS, client.rows("adapters", &[("all", all.to_string())], usize::MAX))
        }
        StationCommand::Show { name, access } => show(&name, &access),
        StationCommand::History { name, limit, access } => {
            let client = access.remote.connect()?;
            let path = format!("adapters/{}/history", escape(&name));
            access.output.listing(STEPS, client.rows(&path, &[], limit.rows_max()))
        }
        StationCommand::Activate { name, words, access } => {
            let more = json!({"reason": words.reason, "allow_downgrade": words.allow_downgrade});
            change("activate", &name, more, &access)
        }
        StationCommand::Rollback { name, reason, access } => {
            ensure!(
                !name.contains('@'),
                "rollback chooses no version: give the adapter's name alone, or put this one into service with \
                 `polymeter adapter activate {name}`"
            );
            change("rollback", &name, json!({"reason": reason}), &access)
        }
        StationCommand::Retire { name, even_active, reason, access } => {
            change("retire", &name, json!({"reason": reason, "even_active": even_active}), &access)
        }
        StationCommand::Remove { file, access } => {
            let answer = access.remote.connect()?.delete(&format!("adapters/{}", escape(&file)))?;
            access
                .output
                .done(&format!("{file} is removed"), &if answer.is_null() { json!({"file": file}) } else { answer })
        }
    }
}

fn show(wanted: &str, access: &Access) -> Result<()> {
    let client = access.remote.connect()?;
    let rows = client.rows("adapters", &[("all", "true".into())], usize::MAX).collect::<Result<Vec<_>>>()?;
    let rows: Vec<Value> = rows.into_iter().filter(|row| is_meant(row, wanted)).collect();
    ensure!(
        !rows.is_empty(),
        "there is no adapter `{wanted}` here; `polymeter adapter list --all` shows all there are"
    );
    access.output.rows(ADAPTERS, rows.into_iter().map(Ok))
}

/// By the words that the station takes, too; of a digest that can mean several, all of them.
fn is_meant(row: &Value, wanted: &str) -> bool {
    let is_digest = |digits: &str| {
        digits.len() >= DIGEST_DIGITS_MIN && row["digest"].as_str().is_some_and(|digest| digest.starts_with(digits))
    };
    match wanted.split_once('@') {
        Some((name, which)) => row["name"] == name && (which.is_empty() || row["version"] == which || is_digest(which)),
        None => row["name"] == wanted || is_digest(wanted),
    }
}

fn change(what: &str, wanted: &str, mut body: Value, access: &Access) -> Result<()> {
    let (name, version) = wanted.split_once('@').map_or((wanted, None), |(name, version)| (name, Some(version)));
    if let Some(version) = version {
        body["version"] = version.into();
    }
    let answer = access.remote.connect()?.post(&format!("adapters/{}/{what}", escape(name)), &body)?;
    told(access, &answer)
}

fn told(access: &Access, answer: &Value) -> Result<()> {
    let word = |key: &str| answer.get(key).map(cell).unwrap_or_default();
    let why = if word("reason").is_empty() { String::new() } else { format!(": {}", word("reason")) };
    access.output.done(&format!("{} {} is {}{why}", word("name"), word("version"), word("state")), answer)
}

fn file_name(file: &Path) -> Result<String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ensure!(file.extension().is_some_and(|e| e == "wasm"), "{}: an adapter is a .wasm file", file.display());
    Ok(name.to_owned())
}
