//! `polymeter key import`: keys of any number into the vault, through the public API.
//!
//! One walk through the file checks all that can be wrong with it, doubles included; the second one sends it, chunk by chunk. A
//! key that is there already is left as it is, so an interrupted import is simply run again. No key is ever shown.

use super::client::Client;
use super::offline::bar;
use super::output::Output;
use super::registry_import::{ROW_BYTES_MAX, Totals, sound, summary};
use super::registry_survey::{Flaws, Seen, blame, open, seen};
use crate::limits;
use crate::records::keys::{Csv, Row};
use crate::records::table::Text;
use crate::records::weigh::duplicate;
use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Import {
    file: PathBuf,
    /// Only check; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Errors shown at most; all are counted
    #[arg(long, default_value_t = 20, value_name = "N")]
    errors: usize,
}

pub fn import(client: &Client, output: Output, args: &Import) -> Result<()> {
    let path = &args.file;
    let (rows, flaws) = survey(path, args.errors)?;
    sound(output, &flaws, path, "nothing was written")?;
    let what = if args.dry_run { "trying keys" } else { "importing keys" };
    let mut sender = Sender::new(client, args.dry_run, bar(what, rows));
    let sent = sender.send(path);
    sender.bar.finish_and_clear();
    let totals = sender.totals;
    match sent {
        Err(error) if args.dry_run => Err(error),
        Err(error) => Err(error.context(format!("{} keys are in; run it again to go on", totals.rows))),
        Ok(()) if args.dry_run => summary(output, "nothing is wrong, and nothing was written", totals, None),
        Ok(()) => summary(output, "imported", totals, None),
    }
}

/// How many rows there are, and what is wrong with them. What is kept of each is 16 bytes.
fn survey(path: &Path, shown_max: usize) -> Result<(u64, Flaws)> {
    let input = open(path)?;
    let checking = bar("checking bytes", input.metadata()?.len());
    let (mut rows, mut flaws) = (0, Flaws::new(shown_max));
    let mut all: Vec<Seen> = Vec::new();
    let mut csv = Csv::open(checking.wrap_read(input)).map_err(|error| blame(path, &error))?;
    while let Some(row) = csv.read().map_err(|error| blame(path, &error))? {
        rows += 1;
        match row {
            Ok(Row { line, at, .. }) => all.push(seen(&at, line)?),
            Err((line, found)) => flaws.extend(line, found),
        }
    }
    flaws.duplicates(all, duplicate);
    flaws.in_order();
    checking.finish_and_clear();
    Ok((rows, flaws))
}

/// Keys on their way to the station, a chunk at a time.
struct Sender<'a> {
    client: &'a Client,
    path: &'static str,
    bar: ProgressBar,
    totals: Totals,
    text: Text,
    rows: usize,
}

impl<'a> Sender<'a> {
    fn new(client: &'a Client, dry_run: bool, bar: ProgressBar) -> Self {
        let path = if dry_run { "keys/import?dry_run=true" } else { "keys/import" };
        Self { client, path, bar, totals: Totals::default(), text: Text::default(), rows: 0 }
    }

    fn send(&mut self, path: &Path) -> Result<()> {
        let mut csv = Csv::open(open(path)?).map_err(|error| blame(path, &error))?;
        while let Some(row) = csv.read().map_err(|error| blame(path, &error))? {
            let Ok(row) = row else { bail!("{} has changed while it was read; import it again", path.display()) };
            let full = self.text.bytes_most() + ROW_BYTES_MAX > limits::CHUNK_BYTES_MAX;
            if full || self.rows == limits::CHUNK_ROWS_MAX {
                self.flush()?;
            }
            if self.rows == 0 {
                self.text.row(["device", "slot", "key"]);
            }
            self.text.row([row.at.device.as_str(), &row.at.slot, &hex::encode(row.key)]);
            self.rows += 1;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let answer = self.client.send_rows(self.path, std::mem::take(&mut self.text).into_bytes())?;
        let rows = std::mem::take(&mut self.rows) as u64;
        let refused = answer.pointer("/flaws/0/message").and_then(|words| words.as_str());
        if let Some(words) = refused {
            bail!("the station refuses what was found good here: {words}; is it of another version?");
        }
        self.totals.add(rows, &answer);
        self.bar.inc(rows);
        Ok(())
    }
}
