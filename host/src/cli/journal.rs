//! `polymeter journal`: proving that nothing was lost or changed, and watching what is written.

use super::client::Access;
use super::offline::{Place, bar};
use super::output::{Columns, Limit, Output, cell, line};
use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::time::Duration;

const POLL_EVERY: Duration = Duration::from_millis(500);

#[derive(Subcommand, Debug)]
pub enum JournalCommand {
    /// Check every entry and the chain of hashes of a stopped station
    Verify {
        #[command(flatten)]
        place: Place,
    },
    /// Entries of a running station
    Tail {
        /// First entry; default: the last 20
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        #[command(flatten)]
        limit: Limit,
        /// Go on as entries are written
        #[arg(long)]
        follow: bool,
    },
}

const ENTRIES: Columns<'_> =
    &[("SEQ", "/seq"), ("AT", "/at"), ("FACT", "/fact"), ("DEVICE", "/device"), ("SUMMARY", "/summary")];
const VERIFIED: Columns<'_> = &[
    ("sound", "/sound"),
    ("entries", "/entries"),
    ("first", "/first"),
    ("last", "/last"),
    ("commits", "/commits"),
    ("segments", "/segments"),
    ("bytes", "/bytes"),
    ("unreadable", "/unreadable_count"),
    ("tip", "/tip"),
];
const LAST_SHOWN: u64 = 20;

pub fn run(access: &Access, command: JournalCommand) -> Result<()> {
    match command {
        JournalCommand::Verify { place } => verify(access.output, &place),
        JournalCommand::Tail { from, limit, follow } => tail(access, from, limit, follow),
    }
}

fn verify(output: Output, place: &Place) -> Result<()> {
    let opened = place.open()?;
    let bar = bar("verifying", 0);
    let report = opened.journal.reader().verify(&mut |at| {
        bar.set_length(at.entries_total);
        bar.set_position(at.entries);
    })?;
    bar.finish_and_clear();
    let about = json!({
        "sound": report.broken.is_none(),
        "segments": report.segments,
        "commits": report.commits,
        "entries": report.entries,
        "bytes": report.bytes,
        "first": report.first,
        "last": report.last,
        "anchor": hex::encode(report.anchor),
        "tip": hex::encode(report.tip),
        "unreadable": report.unreadable,
        "unreadable_count": report.unreadable_count,
        "broken": report.broken.as_ref().map(ToString::to_string),
    });
    output.object(VERIFIED, &about)?;
    match report.broken {
        Some(broken) => bail!("{broken}; restore the file from a backup, entries before it are sound"),
        None => Ok(()),
    }
}

fn tail(access: &Access, from: Option<u64>, limit: Limit, follow: bool) -> Result<()> {
    let client = access.remote.connect()?;
    let mut after = if let Some(seq) = from {
        seq.saturating_sub(1)
    } else {
        let status = client.get("journal")?;
        status.get("last_seq").and_then(Value::as_u64).unwrap_or_default().saturating_sub(LAST_SHOWN)
    };
    if !follow {
        let rows = client.rows("journal/entries", &[], limit.rows_max()).after(after.to_string());
        return access.output.listing(ENTRIES, rows);
    }
    loop {
        let before = after;
        for row in client.rows("journal/entries", &[], usize::MAX).after(after.to_string()) {
            let row = row?;
            after = row.get("seq").and_then(Value::as_u64).unwrap_or(after);
            line(&one_line(access.output, &row))?;
        }
        if after == before {
            std::thread::sleep(POLL_EVERY);
        }
    }
}

/// Followed entries cannot be aligned with those to come.
fn one_line(output: Output, row: &Value) -> String {
    if output.json {
        return row.to_string();
    }
    let words = ENTRIES.iter().filter_map(|(_, pointer)| row.pointer(pointer));
    words.map(cell).collect::<Vec<_>>().join("  ")
}
