//! A data directory that no station has open: who it belongs to, its journal, and bars for long work.

use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{Entry, Fact, Identity, Journal, Options};
use anyhow::{Context, Result, bail};
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
}

impl Place {
    /// Opens the journal that is there; fails while a station has it open.
    pub fn open(&self) -> Result<Opened> {
        let (data, clock) = self.resolve()?;
        let journal = Journal::open_existing(&data, clock.now_ms())?
            .with_context(|| format!("{}: there is no journal here; check the path", data.display()))?;
        Ok(Opened { data, clock, journal })
    }

    /// As `open`, but makes a journal where there is none: what is written before a station's first start.
    pub fn open_or_make(&self) -> Result<Opened> {
        let (data, clock) = self.resolve()?;
        let now_ms = clock.now_ms();
        std::fs::create_dir_all(&data)
            .with_context(|| format!("{}: cannot be made; check the path and its owner", data.display()))?;
        let journal = match Journal::open_existing(&data, now_ms)? {
            Some(journal) => journal,
            // The station gives it its name.
            None => Journal::open(
                &data,
                &Options { identity: Identity { station: String::new(), epoch: now_ms as u64 }, now_ms },
            )?,
        };
        Ok(Opened { data, clock, journal })
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
