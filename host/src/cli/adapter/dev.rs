//! `polymeter adapter dev`: a loop for authors. A change in the crate becomes a component, is tried, and hears live frames in a
//! running station, beside the version that serves; what fails is told and changes nothing there.

use crate::cli::client::{Access, escape};
use crate::cli::output::{line, note};
use crate::kit::decode::SlotKeys;
use crate::kit::{build, signing, trial};
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Why a station has it.
const DRAFT: &str = "a draft of `adapter dev`";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Files of one crate that are watched; more than any adapter has.
const WATCHED_MAX: usize = 5_000;

#[derive(Args)]
pub struct DevArgs {
    /// The crate.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Put it into service at once, instead of into the shadow of the version that serves.
    #[arg(long, conflicts_with = "no_station")]
    activate: bool,
    /// Build and test only; hand nothing to a station.
    #[arg(long)]
    no_station: bool,
    /// Do it once and end, instead of watching.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    access: Access,
}

pub fn run(args: &DevArgs) -> Result<()> {
    let mut seen = None;
    loop {
        let now = newest(&args.dir);
        if seen != Some(now) {
            seen = Some(now);
            match round(args) {
                Ok(sentence) => line(&sentence)?,
                Err(error) if args.once => return Err(error),
                Err(error) => note(&format!("{error:#}")),
            }
            if args.once {
                return Ok(());
            }
            line(&format!("watching {}", args.dir.display()))?;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Builds, tries, hands over.
fn round(args: &DevArgs) -> Result<String> {
    let built = build::build(&args.dir, None)?;
    let bytes = signing::read_component(&built.path)?;
    let adapter = super::load(&built.path, &bytes, SlotKeys::default())?;
    let found = trial::run(&adapter, &bytes)?;
    for difference in found.differences.iter().chain(&found.damage.broken).chain(&found.units) {
        note(difference);
    }
    ensure!(found.passed(), "{} is not handed to the station, since its test fails", built.manifest.name);
    let sentence = format!("{} {}: {} vectors agree", adapter.name(), adapter.version(), found.vectors);
    if args.no_station {
        return Ok(sentence);
    }
    let became = hand_over(args, adapter.name(), &adapter.digest.to_string(), bytes)?;
    Ok(format!("{sentence}; in the station {became}"))
}

/// Into the shadow of what serves; where nothing does, or that is what serves already, there is nobody to compare it with.
fn hand_over(args: &DevArgs, name: &str, digest: &str, bytes: Vec<u8>) -> Result<String> {
    let client = args.access.remote.connect()?;
    let file = format!("adapters/{}", escape(&format!("{name}.wasm")));
    let rows = client.rows("adapters", &[], usize::MAX).collect::<Result<Vec<_>>>()?;
    let active = rows.iter().find(|row| row["name"] == name && row["state"] == "active");
    if active.is_some_and(|row| row["digest"] == digest) {
        return Ok("it serves already".into());
    }
    if args.activate || active.is_none() {
        let asked = format!("{file}?downgrade={0}&reason={0}", escape(DRAFT));
        client.upload(&asked, bytes)?;
        return Ok("it serves".into());
    }
    let asked = format!("{file}?stage=true&downgrade={}", escape(DRAFT));
    client.upload(&asked, bytes)?;
    let path = |what: &str| format!("adapters/{}/{what}", escape(name));
    client.post(&path("shadow"), &json!({"version": digest, "reason": DRAFT}))?;
    // Drafts must not fill the store, nor make their version ambiguous, whichever run has left them.
    for before in rows.iter().filter(|row| is_draft(row, name) && row["digest"] != digest) {
        let why = "a newer draft is there";
        let retired = client.post(&path("retire"), &json!({"version": before["digest"], "reason": why}));
        if let Err(error) = retired {
            note(&format!("{error:#}"));
        }
    }
    Ok(format!("it hears live frames; `polymeter adapter shadow {name}` shows what would change"))
}

/// Left by a round before: it heard as a shadow and has served nobody.
fn is_draft(row: &Value, name: &str) -> bool {
    row["name"] == name
        && ["shadow", "conformed"].iter().any(|state| row["state"] == *state)
        && row["reason"].as_str().is_some_and(|why| why.ends_with(DRAFT))
}

/// How many files the crate has, and when the newest was written.
fn newest(dir: &Path) -> (usize, Option<SystemTime>) {
    let (mut count, mut newest) = (0, None);
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_output = name == "target" || name.to_string_lossy().starts_with('.') || name == "Cargo.lock";
            if is_output || count >= WATCHED_MAX {
                continue;
            }
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                open.push(entry.path());
            } else {
                count += 1;
                newest = newest.max(about.modified().ok());
            }
        }
    }
    (count, newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_of_any_run_are_known_and_nothing_else_is() {
        for (name, state, reason, expected) in [
            ("a", "shadow", format!("hears 100.0 % of the live frames: {DRAFT}"), true),
            ("a", "conformed", DRAFT.to_owned(), true),
            ("b", "conformed", DRAFT.to_owned(), false),
            ("a", "active", DRAFT.to_owned(), false),
            ("a", "standby", DRAFT.to_owned(), false),
            ("a", "conformed", "4 vectors agree".to_owned(), false),
        ] {
            let row = json!({"name": name, "state": state, "reason": reason});
            assert_eq!(is_draft(&row, "a"), expected, "{row}");
        }
    }
}
