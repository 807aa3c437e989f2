//! A data directory that no station has open: who it belongs to, its journal, and bars for long work.

use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{Entry, Fact, Identity, Journal, OpenError, Options, Verified};
use crate::model::Seq;
use crate::views::Views;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

/// Which data directory.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct Place {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The station's data directory, without its configuration
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl From<PathBuf> for Place {
    fn from(config: PathBuf) -> Self {
        Self { config: Some(config), data: None }
    }
}

/// The parts of a stopped station.
pub struct Opened {
    pub data: PathBuf,
    pub clock: Clock,
    pub journal: Journal,
    /// The last entry that the views know of.
    pub seen: Seq,
}

impl Place {
    /// Opens the journal that is there, whether or not it has all that the views have seen; fails while a station has it
    /// open.
    pub fn open(&self) -> Result<Opened> {
        let (data, clock) = self.resolve()?;
        let seen = Views::seen(&data)?;
        match Journal::open_existing(&data, clock.now_ms())? {
            Some(journal) => Ok(Opened { data, clock, journal, seen }),
            None if seen > Seq(0) => Err(OpenError::Missing { dir: data.join("journal"), seen }.into()),
            None => bail!("{}: there is no journal here; check the path", data.display()),
        }
    }

    /// To go on with the journal. Makes one where there is none: what is written before a station's first start. One that has
    /// lost entries is refused.
    pub fn open_or_make(&self) -> Result<Opened> {
        let (data, clock) = self.resolve()?;
        let now_ms = clock.now_ms();
        std::fs::create_dir_all(&data)
            .with_context(|| format!("{}: cannot be made; check the path and its owner", data.display()))?;
        let seen = Views::seen(&data)?;
        let journal = match Journal::open_existing(&data, now_ms)? {
            Some(journal) => journal,
            // The station gives it its name.
            None => Journal::open_after(
                &data,
                &Options { identity: Identity { station: String::new(), epoch: now_ms as u64 }, now_ms },
                seen,
            )?,
        };
        journal.check_reaches(seen)?;
        Ok(Opened { data, clock, journal, seen })
    }

    /// The data directory, if it has views and no journal, and how far they have seen: that journal is missing.
    pub fn without_journal(&self) -> Result<Option<(PathBuf, Seq)>> {
        let (data, _) = self.resolve()?;
        let seen = Views::seen(&data)?;
        Ok((seen > Seq(0) && !Journal::exists(&data)).then_some((data, seen)))
    }

    /// Data directory and clock; the fleet's zone where the configuration tells it.
    fn resolve(&self) -> Result<(PathBuf, Clock)> {
        match (&self.config, &self.data) {
            (Some(file), _) => Config::read(file).map(|config| (config.data, config.clock)).map_err(Into::into),
            (None, Some(data)) => Ok((data.clone(), Clock::new("UTC").map_err(anyhow::Error::msg)?)),
            (None, None) => bail!("name the station with --config FILE or --data DIR"),
        }
    }
}

impl Opened {
    /// Walks the whole journal, with a bar.
    pub fn verify(&self) -> Result<Verified> {
        let bar = bar("verifying", 0);
        let report = self.journal.reader().verify(&mut |at| {
            bar.set_length(at.entries_total);
            bar.set_position(at.entries);
        })?;
        bar.finish_and_clear();
        Ok(report)
    }

    /// Writes one fact and waits until it is durable.
    pub fn write(&self, fact: Fact) -> Result<()> {
        self.journal.append_blocking(Entry { at_ms: self.clock.now_ms(), fact })?;
        Ok(())
    }
}

/// A bar on standard error, and only where somebody looks at it.
pub fn bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(what);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
