//! `polymeter registry import`: a file of any length into the registry, through the public API.
//!
//! 1. Walk through the file: syntax, doubles, circles, names (`registry_survey`).
//! 2. Rows whose parent is not in the file, that mean something only together with what is said of their device, or that are
//!    called as no new device can be, are tried against the station; with `--dry-run` all rows are.
//! 3. Only then write, chunk by chunk, parents first. After each chunk the progress file says how many rows are in.
//!
//! A chunk that is sent twice changes nothing, so the progress file may be behind but never ahead of the station.

use super::client::Client;
use super::offline::bar;
use super::output::{Columns, Output, line, note};
use super::registry_survey::{Flaws, Survey, blame, open};
use crate::limits;
use crate::model::{Digest, FlawKind};
use crate::records::rows::{Csv, CsvText, Row};
use crate::records::weigh::Choices;
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Import {
    file: PathBuf,
    /// Only check; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on where an import of the same file was interrupted
    #[arg(long)]
    resume: bool,
    /// Errors shown at most; all are counted
    #[arg(long, default_value_t = 20, value_name = "N")]
    errors: usize,
}

const SUMMARY: Columns<'_> = &[
    ("rows", "/rows"),
    ("added", "/added"),
    ("changed", "/changed"),
    ("unchanged", "/unchanged"),
    ("done before", "/done_before"),
];
/// The station is asked only about a file that is right by itself.
const UNTRIED: &str = "nothing was written, and addresses that no adapter hears and parents that are not in the file were not \
                       looked for yet";
/// Longest row: no chunk grows past its bound by taking one more.
pub const ROW_BYTES_MAX: usize = 16 * limits::RECORD_TEXT_BYTES_MAX;

/// What the file beside the CSV says: how many rows of which file are in the registry of which station.
#[derive(PartialEq, Serialize, Deserialize)]
struct Progress {
    digest: Digest,
    station: String,
    epoch: u64,
    /// In the order in which they are sent.
    rows: u64,
}

/// Which rows one walk through the file sends.
#[derive(Clone, Copy)]
enum Walk {
    All,
    /// Rows whose parent is not in the file, or that hang on what is known of their device.
    Leaning,
    /// Concentrators and DTUs with so many others of the file in front of them.
    Carriers(usize),
    Meters,
}

pub fn import(client: &Client, output: Output, args: &Import) -> Result<()> {
    let path = &args.file;
    let choices: Choices = serde_json::from_value(client.get("registry/choices")?)
        .context("the station does not tell what records may name; is it an older version?")?;
    // 1. What can be known without the registry.
    let checking = bar("checking bytes", open(path)?.metadata()?.len());
    let survey = Survey::of(path, &choices, args.errors, &|bytes| checking.set_position(bytes))?;
    checking.finish_and_clear();
    sound(output, &survey.flaws, path, UNTRIED)?;
    // 2. What only the registry knows.
    if args.dry_run || survey.leans() {
        let mut trial = Sender::new(client, &survey, bar("trying rows", survey.rows), args.errors);
        trial.walk(path, if args.dry_run { Walk::All } else { Walk::Leaning }, 0)?;
        trial.flush(false)?;
        trial.bar.finish_and_clear();
        sound(output, &trial.flaws, path, "nothing was written")?;
        if args.dry_run {
            return summary(output, "nothing is wrong, and nothing was written", trial.totals, Some(0));
        }
    }
    // 3. Write.
    let keeper = Keeper::open(client, path, survey.digest, args.resume)?;
    let done_before = keeper.progress.rows;
    let importing = bar("importing rows", survey.rows);
    importing.set_position(done_before);
    importing.reset_eta();
    let mut sender = Sender::new(client, &survey, importing, args.errors).keeping(keeper);
    let written = sender.write(path, done_before);
    sender.bar.finish_and_clear();
    let rows = sender.rows_in();
    sound(output, &sender.flaws, path, &format!("the {rows} rows before them are in"))?;
    written.with_context(|| format!("{rows} rows are in; go on with --resume"))?;
    sender.keeper.iter().for_each(Keeper::remove);
    summary(output, "imported", sender.totals, Some(done_before))
}

/// Shows what is wrong, if anything is.
pub fn sound(output: Output, flaws: &Flaws, path: &Path, so_far: &str) -> Result<()> {
    if flaws.count == 0 {
        return Ok(());
    }
    for flaw in &flaws.first {
        if output.json {
            line(&flaw.to_string())?;
        } else {
            let column = flaw["column"].as_str().map(|column| format!(", {column}")).unwrap_or_default();
            note(&format!("line {}{column}: {}", flaw["line"], flaw["message"].as_str().unwrap_or_default()));
        }
    }
    let hidden = flaws.count - flaws.first.len() as u64;
    let more = if hidden > 0 { format!(", {hidden} of them not shown (see --errors)") } else { String::new() };
    bail!("{}: {} errors{more}; {so_far}. Correct the file and import it again", path.display(), flaws.count)
}

/// `done_before`: what an earlier run has done, where imports go on.
pub fn summary(output: Output, what: &str, totals: Totals, done_before: Option<u64>) -> Result<()> {
    if !output.json {
        note(what);
    }
    let Totals { rows, added, changed, unchanged } = totals;
    let mut said = json!({"rows": rows, "added": added, "changed": changed, "unchanged": unchanged});
    if let Some(done_before) = done_before {
        said["done_before"] = done_before.into();
    }
    output.object(SUMMARY, &said)
}

#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub rows: u64,
    added: u64,
    changed: u64,
    unchanged: u64,
}

impl Totals {
    /// What the station has answered to so many rows.
    pub fn add(&mut self, rows: u64, answer: &Value) {
        let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        self.rows += rows;
        self.added += count("added");
        self.changed += count("changed");
        self.unchanged += count("unchanged");
    }
}

/// Rows on their way to the station, a chunk at a time.
struct Sender<'a> {
    client: &'a Client,
    survey: &'a Survey,
    bar: ProgressBar,
    /// `None`: rows are only tried.
    keeper: Option<Keeper>,
    flaws: Flaws,
    totals: Totals,
    text: CsvText,
    chunk: Vec<Row>,
}

impl<'a> Sender<'a> {
    fn new(client: &'a Client, survey: &'a Survey, bar: ProgressBar, shown_max: usize) -> Self {
        Self {
            client,
            survey,
            bar,
            keeper: None,
            flaws: Flaws::new(shown_max),
            totals: Totals::default(),
            text: CsvText::new(survey.said),
            chunk: Vec::new(),
        }
    }

    fn keeping(self, keeper: Keeper) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// Rows that are in the registry now.
    fn rows_in(&self) -> u64 {
        self.keeper.as_ref().map_or(0, |keeper| keeper.progress.rows)
    }

    /// Everything, parents first.
    fn write(&mut self, path: &Path, done_before: u64) -> Result<()> {
        let mut left = done_before;
        if self.survey.out_of_order() {
            for depth in 0..=self.survey.depth_most() {
                left = self.walk(path, Walk::Carriers(depth), left)?;
            }
            self.walk(path, Walk::Meters, left)?;
        } else {
            self.walk(path, Walk::All, left)?;
        }
        self.flush(true)
    }

    /// Sends the rows of one walk but for the first `skip`; gives how many are left to skip.
    fn walk(&mut self, path: &Path, walk: Walk, mut skip: u64) -> Result<u64> {
        let mut csv = Csv::open(open(path)?).map_err(|error| blame(path, &error))?;
        while let Some(row) = csv.read().map_err(|error| blame(path, &error))? {
            let Ok(row) = row else { bail!("{} has changed while it was read; import it again", path.display()) };
            if !walk.takes(&row, self.survey) {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            self.add(row)?;
        }
        Ok(skip)
    }

    fn add(&mut self, row: Row) -> Result<()> {
        let full = self.text.bytes_most() + ROW_BYTES_MAX > limits::CHUNK_BYTES_MAX;
        if full || self.chunk.len() == limits::CHUNK_ROWS_MAX {
            self.flush(false)?;
        }
        if self.chunk.is_empty() {
            self.text.header();
        }
        self.text.record(&row.record);
        self.chunk.push(row);
        Ok(())
    }

    /// Sends the chunk; the last one is answered when the station shows all of them.
    fn flush(&mut self, last: bool) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let how = if self.keeper.is_none() {
            "dry_run=true"
        } else if last {
            "shown=true"
        } else {
            "shown=false"
        };
        let answer = self.client.send_rows(&format!("registry/import?{how}"), self.text.take())?;
        let chunk = std::mem::take(&mut self.chunk);
        for flaw in answer.get("flaws").and_then(Value::as_array).into_iter().flatten() {
            self.flaw(flaw, &chunk);
        }
        if self.keeper.is_some() && self.flaws.count > 0 {
            bail!("the station refuses a chunk that it took before");
        }
        let rows = chunk.len() as u64;
        self.totals.add(rows, &answer);
        self.bar.inc(rows);
        match &mut self.keeper {
            Some(keeper) => keeper.advance(rows),
            None => Ok(()),
        }
    }

    /// A flaw of the chunk as one of the file. A row that is only tried may find its parent in another chunk.
    fn flaw(&mut self, flaw: &Value, chunk: &[Row]) {
        let place =
            flaw.get("line").and_then(Value::as_u64).and_then(|line| usize::try_from(line).ok()?.checked_sub(2));
        let Some(row) = place.and_then(|at| chunk.get(at)) else { return self.flaws.add(flaw.clone()) };
        let awaited = self.keeper.is_none()
            && flaw.get("kind").is_some_and(|kind| kind == FlawKind::UnknownParent.name())
            && row.record.about.parent.as_ref().is_some_and(|parent| self.survey.has_carrier(parent));
        if !awaited {
            let mut flaw = flaw.clone();
            flaw["line"] = row.line.into();
            self.flaws.add(flaw);
        }
    }
}

impl Walk {
    fn takes(self, row: &Row, survey: &Survey) -> bool {
        let record = &row.record;
        match self {
            Self::All => true,
            Self::Leaning => survey.leans_with(row),
            Self::Carriers(depth) => survey.depth(&record.device) == Some(depth),
            Self::Meters => survey.depth(&record.device).is_none(),
        }
    }
}

/// The progress file, `<file>.progress`.
struct Keeper {
    path: PathBuf,
    progress: Progress,
}

impl Keeper {
    /// Where an earlier import of this file into this station came to, if it shall go on; else the beginning.
    fn open(client: &Client, csv: &Path, digest: Digest, resume: bool) -> Result<Self> {
        let path = csv.with_added_extension("progress");
        let journal = client.get("journal")?;
        let station = journal["station"].as_str().unwrap_or_default().to_owned();
        let epoch = journal["epoch"].as_u64().unwrap_or_default();
        let mut progress = Progress { digest, station, epoch, rows: 0 };
        let before = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Progress>(&text).ok());
        match before {
            Some(before) if resume => {
                progress.rows = before.rows;
                if progress != before {
                    bail!(
                        "{} is of another file or another station; run without --resume to begin anew",
                        path.display()
                    );
                }
            }
            Some(_) => note("An earlier import was interrupted; this one begins anew (--resume would go on)."),
            None => {}
        }
        Ok(Self { path, progress })
    }

    fn advance(&mut self, rows: u64) -> Result<()> {
        self.progress.rows += rows;
        let blame = || format!("{}: cannot be written; check directory and space", self.path.display());
        let draft = self.path.with_added_extension("draft");
        fs::write(&draft, serde_json::to_vec(&self.progress)?).with_context(blame)?;
        fs::rename(&draft, &self.path).with_context(blame)
    }

    fn remove(&self) {
        // It was never written when the file has one chunk only.
        let _ = fs::remove_file(&self.path);
    }
}
