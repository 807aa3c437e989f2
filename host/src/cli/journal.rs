//! `polymeter journal`: proving that nothing was lost or changed, and watching what is written.

use super::client::Access;
use super::offline::Place;
use super::output::{Columns, Output, cell, line, note};
use crate::journal::Broken;
use crate::limits::PAGE_ROWS_DEFAULT;
use crate::model::Seq;
use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::time::Duration;

const POLL_EVERY: Duration = Duration::from_millis(500);

#[derive(Subcommand, Debug)]
pub enum JournalCommand {
    /// Check every entry and the chain of hashes of a stopped station
    ///
    /// Files that are missing between others are found, and at the end by what the views have seen. Missing at the beginning
    /// they look like days that were dropped: see whether `first` is as old as it should be.
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
    /// Entries of a running station
    Tail {
        #[command(flatten)]
        access: Access,
        /// First entry; left out: the last ones
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// Entries at most; 0: all there are. Left out: the last 20, or 100 where --from says the first
        ///
        /// With --follow: how many of the last to begin with; of no effect beside --from.
        #[arg(long, value_name = "ROWS")]
        limit: Option<usize>,
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
/// Of a broken chain: how far one got. Where it ends nobody knows.
const BROKEN: Columns<'_> = &[
    ("sound", "/sound"),
    ("entries", "/entries"),
    ("first", "/first"),
    ("commits", "/commits"),
    ("bytes", "/bytes"),
    ("unreadable", "/unreadable_count"),
];
const LAST_SHOWN: usize = 20;

pub fn run(command: JournalCommand) -> Result<()> {
    match command {
        JournalCommand::Verify { place, output } => verify(output, &place),
        JournalCommand::Tail { access, from, limit, follow } => tail(&access, from, limit, follow),
    }
}

fn verify(output: Output, place: &Place) -> Result<()> {
    let opened = place.open()?;
    let mut report = opened.verify()?;
    // A chain does not tell where it ended once.
    if report.broken.is_none() && report.last < opened.seen {
        let (file, first) = (opened.data.join("journal").display().to_string(), Seq(report.last.0 + 1));
        let what = "these entries are missing, the views have seen them".into();
        report.broken = Some(Broken { file, first, last: opened.seen, what });
    }
    if report.first > Seq(1) && !output.json {
        let first = report.first.0;
        note(&format!("Entries before {first} are not here: their days were dropped, or their files are gone."));
    }
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
    let Some(broken) = report.broken else { return output.object(VERIFIED, &about) };
    output.object(BROKEN, &in_words(about, output))?;
    bail!("{broken}; restore what is named from a backup, entries before it are sound")
}

/// In a listing for people, `false` is left blank.
fn in_words(mut about: Value, output: Output) -> Value {
    if !output.json {
        about["sound"] = "no".into();
    }
    about
}

fn tail(access: &Access, from: Option<u64>, limit: Option<usize>, follow: bool) -> Result<()> {
    let client = access.remote.connect()?;
    let rows_max = match limit {
        Some(0) => usize::MAX,
        Some(rows) => rows,
        None if from.is_some() => PAGE_ROWS_DEFAULT,
        None => LAST_SHOWN,
    };
    let mut after = if let Some(seq) = from {
        seq.saturating_sub(1)
    } else {
        let status = client.get("journal")?;
        status.get("last_seq").and_then(Value::as_u64).unwrap_or_default().saturating_sub(rows_max as u64)
    };
    if !follow {
        let rows = client.rows("journal/entries", &[], rows_max).after(after.to_string());
        // The last ones are all that was asked for, although the next are being written.
        return if from.is_some() { access.output.listing(ENTRIES, rows) } else { access.output.rows(ENTRIES, rows) };
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
