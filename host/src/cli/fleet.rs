//! `polymeter fleet`: what concentrators think of the fleet, against what the registry says.

use super::client::{Access, Client, Refused, device_path, escape};
use super::output::{Columns, Output, cell, line, note};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ASK_EVERY: Duration = Duration::from_millis(250);
/// Nobody shall wonder for longer what a comparison waits for.
const REMIND_EVERY: Duration = Duration::from_secs(30);
/// A little longer than the station itself waits, so that nobody goes before its last word.
const WAIT_S: u64 = crate::limits::ARCHIVE_WAIT_MAX.as_secs() + 10;
/// Codes of the API: the archive is being read already; it was never compared; no such device is shown.
const UNDER_WAY: &str = "name-taken";
const NOT_COMPARED: &str = "not-found";
const UNKNOWN: &str = "unknown-device";

#[derive(Subcommand, Debug)]
pub enum FleetCommand {
    /// Compare a concentrator's archive with the registry
    ///
    /// Reads the archive in full, page by page, once the concentrator is on line, for which it waits (see `--wait`); a comparison
    /// that is under way already is followed, and one that ended within the last hour is shown against the registry of now, unless
    /// the station has ordered changes of the archive since (see `--fresh`). Exit code 1 when anything differs, also an address
    /// that the archive or the registry has twice, or an entry that cannot be read; an archive that does not show all the entries
    /// it says it has is not compared.
    Diff {
        /// realm/address, such as usp/50009900000001
        concentrator: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Make a concentrator's archive as the registry is: add what is missing, change what differs
    ///
    /// An address that the archive or the registry has more than once is left alone and named: a concentrator removes by
    /// address, and so the meter that shall stay with the others. Remove it with
    /// `polymeter command send <CONCENTRATOR> '{"archive-remove":["<ADDRESS>"]}'`, or mend the registry, and sync again. So is an
    /// entry that cannot be read; while one is there that may be anybody's, nothing is added. A meter of which the concentrator's
    /// protocol cannot tell is left out and named. The archive is compared first, as `diff` does it, and nothing is ordered if that
    /// takes longer than `--wait`: sync again, which goes on with what was read meanwhile.
    Sync {
        concentrator: String,
        /// Also remove what the registry does not have behind it, all entries of such an address
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        patience: Patience,
    },
}

#[derive(Args, Clone, Copy, Debug)]
pub struct Patience {
    /// Follow the comparison at most so long; the station goes on with it, itself for 15 minutes at most, and the next call
    /// follows it again or shows what it found
    #[arg(long, value_name = "SECONDS", default_value_t = WAIT_S)]
    wait: u64,
    /// Read the archive again, also when that was done a while ago
    #[arg(long)]
    fresh: bool,
}

const ROWS: Columns<'_> = &[
    ("WHAT", "/what"),
    ("DEVICE", "/device"),
    ("ADDRESS", "/address"),
    ("INDEX", "/index"),
    ("PROTOCOL", "/protocol"),
    ("CHANNEL", "/channel"),
    ("BAUD", "/baud"),
    ("FORMAT", "/format"),
    ("UNSAID", "/unsaid"),
];

pub fn run(access: &Access, command: FleetCommand) -> Result<()> {
    let client = access.remote.connect()?;
    let output = access.output;
    match command {
        FleetCommand::Diff { concentrator, patience } => {
            let found = compare(&client, output, &concentrator, patience)?;
            show(output, &found)?;
            if differences(&found) > 0 {
                bail!("the archive of {concentrator} is not as the registry; see `polymeter fleet sync --help`");
            }
            Ok(())
        }
        FleetCommand::Sync { concentrator, remove, patience } => {
            let found = compare(&client, output, &concentrator, patience)?;
            if !output.json {
                show(output, &found)?;
            }
            let ordered = client.post(&format!("{}/sync", path(&concentrator)?), &json!({"remove": remove}))?;
            if let Some(why) = ordered.get("unordered").and_then(Value::as_str) {
                note(&format!("{why}. Sync again once those that were ordered are over"));
            }
            for address in list(&ordered, "left").filter_map(Value::as_str) {
                note(&format!(
                    "{address} is there more than once and was left alone; see `polymeter fleet sync --help`"
                ));
            }
            for device in list(&ordered, "held_back").filter_map(Value::as_str) {
                note(&format!(
                    "{device} was not added: an entry that cannot be read may be its own; take that out first"
                ));
            }
            for row in list(&ordered, "left_out") {
                let text = |name: &str| row.get(name).map(cell).unwrap_or_default();
                note(&format!(
                    "{} was left out, for {concentrator} cannot be told of it: {}. Correct its record in the registry, such as its \
                     line_address",
                    text("device"),
                    text("why")
                ));
            }
            let count = list(&ordered, "commands").count();
            output.done(&format!("{count} commands wait for {concentrator}"), &ordered)
        }
    }
}

fn path(concentrator: &str) -> Result<String> {
    let key: crate::model::DeviceKey = concentrator.parse()?;
    Ok(format!("archives/{}/{}", escape(key.realm()), escape(key.address())))
}

/// Follows a comparison to its end, also one that somebody began before, or takes one that ended while nobody followed it.
fn compare(client: &Client, output: Output, concentrator: &str, patience: Patience) -> Result<Value> {
    let (path, start) = (path(concentrator)?, Instant::now());
    let kept = if patience.fresh { None } else { kept(client, &path)? };
    if let Some(found) = kept {
        if !output.json {
            note(&format!("The archive was read at {}; `--fresh` reads it again.", cell(&found["at"])));
        }
        return Ok(found);
    }
    match client.post(&path, &json!({})) {
        Ok(_) => {}
        Err(error) if is_refused(&error, UNDER_WAY) => {}
        Err(error) => return Err(error),
    }
    let (mut told, mut said) = (0, None::<Instant>);
    loop {
        // Also at first: the station is just writing the command down.
        std::thread::sleep(ASK_EVERY);
        let found = client.get(&path)?;
        let entries = found.get("archived").and_then(Value::as_u64).unwrap_or_default();
        match found.get("state").and_then(Value::as_str) {
            Some("done") => return Ok(found),
            Some("failed") => bail!("{}", found.get("why").and_then(Value::as_str).unwrap_or("it failed")),
            _ if start.elapsed() >= Duration::from_secs(patience.wait) => {
                bail!("{}", out_of_patience(concentrator, entries, waiting(client, concentrator)?))
            }
            _ if output.json => {}
            _ if entries > told => {
                note(&format!("{entries} entries read"));
                said = Some(Instant::now());
            }
            _ if said.is_none_or(|at| at.elapsed() >= REMIND_EVERY) && tell_waiting(client, concentrator)? => {
                said = Some(Instant::now());
            }
            _ => {}
        }
        told = told.max(entries);
    }
}

/// A comparison that was made before, while it may be taken for what is there.
fn kept(client: &Client, path: &str) -> Result<Option<Value>> {
    match client.get(path) {
        Ok(found) => Ok(Some(found).filter(|found| found["state"] == "done" && found.get("unfit").is_none())),
        Err(error) if is_refused(&error, NOT_COMPARED) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_refused(error: &anyhow::Error, code: &str) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == code)
}

/// Says what a comparison waits for, and in which command; false: nothing is known of that yet.
fn tell_waiting(client: &Client, concentrator: &str) -> Result<bool> {
    let reading = waiting(client, concentrator)?;
    if let Some(Reading { command, online: false }) = reading {
        note(&format!("waits for {concentrator} to come on line; command {command}"));
    }
    Ok(reading.is_some())
}

/// The command that reads the archive now.
#[derive(Clone, Copy)]
struct Reading {
    command: u64,
    online: bool,
}

fn waiting(client: &Client, concentrator: &str) -> Result<Option<Reading>> {
    let query = [("device", concentrator.to_owned()), ("open", "true".to_owned())];
    for command in client.rows("commands", &query, usize::MAX) {
        let command = command?;
        if command["name"] != "archive-list" {
            continue;
        }
        // One that is only in the registry has never been heard, and so is away.
        let online = match client.get(&device_path(concentrator)?) {
            Ok(device) => device["online"] == true,
            Err(error) if is_refused(&error, UNKNOWN) => false,
            Err(error) => return Err(error),
        };
        return Ok(Some(Reading { command: command["id"].as_u64().unwrap_or_default(), online }));
    }
    Ok(None)
}

/// How things stand when nobody follows a comparison any more, and what to do.
fn out_of_patience(concentrator: &str, entries: u64, reading: Option<Reading>) -> String {
    let again = "run this again, which follows it or takes what it found, or wait for longer with `--wait`";
    match reading {
        Some(Reading { command, online: false }) => format!(
            "{concentrator} is not on line, and command {command} waits for it. Once it is there, {again}; to give up, run \
             `polymeter command cancel {command}`"
        ),
        _ => format!("the archive of {concentrator} is still being read, {entries} entries so far; {again}"),
    }
}

fn list<'a>(found: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    found.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn differences(found: &Value) -> usize {
    ["missing", "unknown", "differing", "duplicates", "unreadable"]
        .into_iter()
        .map(|name| list(found, name).count())
        .sum()
}

fn show(output: Output, found: &Value) -> Result<()> {
    if output.json {
        return output.object(&[], found);
    }
    let number = |name: &str| found.get(name).and_then(Value::as_u64).unwrap_or_default();
    line(&format!("{} in the archive, {} in the registry", number("archived"), number("registered")))?;
    if let Some(why) = found.get("unfit").and_then(Value::as_str) {
        note(&format!("What follows may not be so any more: {why}"));
    }
    let named = |what: &str, row: &Value| {
        let mut row = row.clone();
        if let Some(fields) = row.as_object_mut() {
            fields.insert("what".into(), what.into());
        }
        row
    };
    let missing = list(found, "missing").map(|row| named("only in the registry", row));
    let unknown = list(found, "unknown").map(|row| named("only in the archive", row));
    let differing = list(found, "differing").flat_map(|pair| {
        let side = |name: &str, what: &str| named(what, pair.get(name).unwrap_or(&Value::Null));
        [side("registry", "differs: registry"), side("archive", "differs: archive")]
    });
    let duplicates = list(found, "duplicates").flat_map(|duplicate| {
        let side = |name: &'static str, what: &'static str| list(duplicate, name).map(move |row| named(what, row));
        side("registry", "twice: registry").chain(side("archive", "twice: archive"))
    });
    let unreadable = list(found, "unreadable").map(|row| named("unreadable", row));
    let rows: Vec<_> = missing.chain(unknown).chain(differing).chain(duplicates).chain(unreadable).map(Ok).collect();
    if rows.is_empty() { Ok(()) } else { output.rows(ROWS, rows.into_iter()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_with_what_to_do() {
        let away = out_of_patience("usp/6", 0, Some(Reading { command: 12, online: false }));
        for part in ["usp/6 is not on line", "command 12 waits", "run this again", "polymeter command cancel 12"] {
            assert!(away.contains(part), "{away}");
        }
        for reading in [Some(Reading { command: 12, online: true }), None] {
            let slow = out_of_patience("usp/6", 64, reading);
            assert!(
                slow.contains("64 entries so far") && slow.contains("--wait") && !slow.contains("cancel"),
                "{slow}"
            );
        }
    }
}
