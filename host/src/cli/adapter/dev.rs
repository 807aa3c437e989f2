//! `polymeter adapter dev`: a loop for authors. A change in the crate becomes a component, is tried, and goes to a running
//! station; what fails is told and changes nothing there.

use crate::cli::client::{Access, escape};
use crate::kit::decode::SlotKeys;
use crate::kit::{build, signing, trial};
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Files of one crate that are watched; more than any adapter has.
const WATCHED_MAX: usize = 5_000;

#[derive(Args)]
pub struct DevArgs {
    /// The crate.
    #[arg(default_value = ".")]
    dir: PathBuf,
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
                Ok(sentence) => println!("{sentence}"),
                Err(error) if args.once => return Err(error),
                Err(error) => eprintln!("{error:#}"),
            }
            if args.once {
                return Ok(());
            }
            println!("watching {}", args.dir.display());
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
        eprintln!("{difference}");
    }
    ensure!(found.passed(), "{} is not handed to the station, since its test fails", built.manifest.name);
    let sentence = format!("{} {}: {} vectors agree", adapter.name(), adapter.version(), found.vectors);
    if args.no_station {
        return Ok(sentence);
    }
    let file = format!("adapters/{}", escape(&format!("{}.wasm", adapter.name())));
    let answer = args.access.remote.connect()?.upload(&file, bytes)?;
    let state = answer.get("state").and_then(Value::as_str).unwrap_or("installed");
    Ok(format!("{sentence}; in the station it is {state}"))
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
