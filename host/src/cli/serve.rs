//! `polymeter serve`: the station in the foreground, until a signal ends it.

use crate::config::Config;
use crate::lifecycle::Unsigned;
use anyhow::{Context, Result};
use clap::Args;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Args, Debug)]
pub struct Serve {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Let adapters serve that nobody has signed: for development and demonstrations, never for a utility
    #[arg(long)]
    dev: bool,
    /// Log as JSON, one object a line
    #[arg(long)]
    log_json: bool,
    /// What to log: error, warn, info, debug, or a filter such as polymeter::session=debug
    #[arg(long, env = "POLYMETER_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

pub fn run(args: &Serve) -> Result<()> {
    let mut config = Config::read(&args.config)?;
    start_log(args)?;
    if args.dev {
        config.unsigned = Unsigned::Accepted;
        tracing::warn!("--dev: adapters that nobody has signed may serve");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no worker threads")?;
    let ended = runtime.block_on(async {
        // Asked for before anything is opened, so that a signal during a long start is not missed.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // A file that may not grow any more is then an error for whoever writes, as a full disk is, and not the end.
        let _too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        crate::station::run(config, shutdown).await
    });
    // The journal is closed: what is still being compiled matters to nobody.
    runtime.shutdown_background();
    ended
}

fn start_log(args: &Serve) -> Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log {}", args.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Where the log lies on the disk that is full, a word about that would end whoever wanted to log.
    let log = log.log_internal_errors(false);
    if args.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}
