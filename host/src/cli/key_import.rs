//! `polymeter key import`: keys of any number into the vault, through the public API.
//!
//! 1. Walk through the file: all that can be wrong with it by itself, doubles included.
//! 2. Try all rows against the station, which knows how devices are called.
//! 3. Only then send them, chunk by chunk.
//!
//! A key that is there already is left as it is, so an interrupted import is simply run again. No key is ever shown.

use super::client::Client;
use super::offline::bar;
use super::output::Output;
use super::registry_import::{ROW_BYTES_MAX, Totals, sound, summary};
use super::registry_survey::{Flaws, Seen, blame, open, seen};
use crate::limits;
use crate::records::keys::{Csv, Row};
use crate::records::table::Text;
use crate::records::weigh::duplicate;
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Import {
    /// The CSV file; `-` is standard input
    file: PathBuf,
    /// Only check; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Errors shown at most; all are counted
    #[arg(long, default_value_t = 20, value_name = "N")]
    errors: usize,
}

pub fn import(client: &Client, output: Output, args: &Import) -> Result<()> {
    let source = Source::of(&args.file)?;
    let path = source.name.as_path();
    let (rows, flaws) = survey(&source, args.errors)?;
    sound(output, &flaws, path, "nothing was written")?;
    let mut trial = Sender::new(client, true, bar("trying keys", rows), args.errors);
    let tried = trial.send(&source);
    trial.bar.finish_and_clear();
    tried.context("nothing was written")?;
    sound(output, &trial.flaws, path, "nothing was written")?;
    if args.dry_run {
        return summary(output, "nothing is wrong, and nothing was written", trial.totals, None);
    }
    let mut sender = Sender::new(client, false, bar("importing keys", rows), args.errors);
    let sent = sender.send(&source);
    sender.bar.finish_and_clear();
    let so_far = format!("{} keys are in", sender.totals.rows);
    sound(output, &sender.flaws, path, &so_far)?;
    sent.with_context(|| format!("{so_far}; run it again to go on"))?;
    summary(output, "imported", sender.totals, None)
}

/// A CSV that can be walked through more than once.
struct Source {
    /// What it is called in words.
    name: PathBuf,
    /// What came through a pipe, which gives it only once.
    piped: Option<Vec<u8>>,
}

impl Source {
    fn of(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Self::whole("standard input".into(), std::io::stdin());
        }
        let file = open(path)?;
        if file.metadata()?.is_file() {
            return Ok(Self { name: path.to_owned(), piped: None });
        }
        Self::whole(path.to_owned(), file)
    }

    fn whole(name: PathBuf, input: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        let most = limits::PIPED_KEYS_BYTES_MAX;
        let read = input.take(most as u64 + 1).read_to_end(&mut bytes);
        read.with_context(|| format!("{}: cannot be read; name a CSV file", name.display()))?;
        if bytes.len() > most {
            bail!(
                "{}: more than {most} bytes come through a pipe; write them to a file and import that",
                name.display()
            );
        }
        Ok(Self { name, piped: Some(bytes) })
    }

    fn open(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match &self.piped {
            Some(bytes) => Box::new(bytes.as_slice()),
            None => Box::new(self.file()?),
        })
    }

    fn file(&self) -> Result<File> {
        open(&self.name)
    }

    fn bytes(&self) -> Result<u64> {
        match &self.piped {
            Some(bytes) => Ok(bytes.len() as u64),
            None => Ok(self.file()?.metadata()?.len()),
        }
    }
}

/// How many rows there are, and what is wrong with them. What is kept of each is 16 bytes.
fn survey(source: &Source, shown_max: usize) -> Result<(u64, Flaws)> {
    let checking = bar("checking bytes", source.bytes()?);
    let (mut rows, mut flaws) = (0, Flaws::new(shown_max));
    let mut all: Vec<Seen> = Vec::new();
    let blame = |error| blame(&source.name, &error);
    let mut csv = Csv::open(checking.wrap_read(source.open()?)).map_err(blame)?;
    while let Some(row) = csv.read().map_err(blame)? {
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
    /// Rows are only tried.
    dry_run: bool,
    bar: ProgressBar,
    flaws: Flaws,
    totals: Totals,
    text: Text,
    /// The line in the file of each row of the chunk.
    lines: Vec<u64>,
}

impl<'a> Sender<'a> {
    fn new(client: &'a Client, dry_run: bool, bar: ProgressBar, shown_max: usize) -> Self {
        let (flaws, lines) = (Flaws::new(shown_max), Vec::new());
        Self { client, dry_run, bar, flaws, totals: Totals::default(), text: Text::default(), lines }
    }

    fn send(&mut self, source: &Source) -> Result<()> {
        let path = source.name.as_path();
        let mut csv = Csv::open(source.open()?).map_err(|error| blame(path, &error))?;
        while let Some(row) = csv.read().map_err(|error| blame(path, &error))? {
            let Ok(row) = row else { bail!("{} has changed while it was read; import it again", path.display()) };
            let full = self.text.bytes_most() + ROW_BYTES_MAX > limits::CHUNK_BYTES_MAX;
            if full || self.lines.len() == limits::CHUNK_ROWS_MAX {
                self.flush()?;
            }
            if self.lines.is_empty() {
                self.text.row(["device", "slot", "key"]);
            }
            self.text.row([row.at.device.as_str(), &row.at.slot, &hex::encode(row.key)]);
            self.lines.push(row.line);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let path = if self.dry_run { "keys/import?dry_run=true" } else { "keys/import" };
        let answer = self.client.send_rows(path, std::mem::take(&mut self.text).into_bytes())?;
        let lines = std::mem::take(&mut self.lines);
        for flaw in answer.get("flaws").and_then(Value::as_array).into_iter().flatten() {
            self.flaws.add(in_file(flaw, &lines));
        }
        if !self.dry_run && self.flaws.count > 0 {
            bail!("the station refuses a chunk that it took before");
        }
        let rows = lines.len() as u64;
        self.totals.add(rows, &answer);
        self.bar.inc(rows);
        Ok(())
    }
}

/// A flaw of the chunk as one of the file: below the chunk's header each row has one line.
fn in_file(flaw: &Value, lines: &[u64]) -> Value {
    let mut flaw = flaw.clone();
    let place = flaw.get("line").and_then(Value::as_u64).and_then(|line| usize::try_from(line).ok()?.checked_sub(2));
    if let Some(line) = place.and_then(|at| lines.get(at)) {
        flaw["line"] = (*line).into();
    }
    flaw
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flaws_of_a_chunk_are_named_by_the_files_lines() {
        let flaw = |line: u64| json!({"line": line, "column": "device", "message": "no"});
        assert_eq!(in_file(&flaw(3), &[4_711, 4_713]), flaw(4_713));
        // A station that counts otherwise is at least quoted.
        assert_eq!(in_file(&flaw(1), &[4_711]), flaw(1));
        assert_eq!(in_file(&flaw(9), &[4_711]), flaw(9));
    }

    #[test]
    fn what_comes_once_is_kept_up_to_a_bound() {
        let piped = Source::whole("-".into(), &b"device,slot,key\n"[..]).expect("kept");
        for _ in 0..2 {
            let mut text = String::new();
            piped.open().expect("open").read_to_string(&mut text).expect("read");
            assert_eq!(text, "device,slot,key\n");
        }
        let refusal = Source::whole("-".into(), std::io::repeat(b'x')).err().expect("too much").to_string();
        assert!(refusal.contains("write them to a file"), "{refusal}");
    }
}
