//! `polymeter quarantine`: frames that nobody could read yet.

use super::client::Access;
use super::output::{Columns, Limit};
use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum QuarantineCommand {
    /// Kept frames, oldest first
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Args, Debug)]
pub struct Filter {
    /// Only what this adapter could not read; empty: what none took
    #[arg(long)]
    adapter: Option<String>,
    /// Only what came in here
    #[arg(long)]
    listener: Option<String>,
    /// Only this kind of fault, such as corrupt
    #[arg(long)]
    fault: Option<String>,
}

const QUARANTINE: Columns<'_> = &[
    ("SEQ", "/seq"),
    ("RECEIVED", "/received"),
    ("LISTENER", "/listener"),
    ("DEVICE", "/device"),
    ("ADAPTER", "/adapter/name"),
    ("FAULT", "/fault"),
    ("DETAIL", "/detail"),
    ("BYTES", "/bytes"),
    ("RAW", "/raw"),
];

pub fn run(access: &Access, command: &QuarantineCommand) -> Result<()> {
    let QuarantineCommand::List { filter, limit } = command;
    let client = access.remote.connect()?;
    let all = [("adapter", &filter.adapter), ("listener", &filter.listener), ("fault", &filter.fault)];
    let query: Vec<_> = all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    access.output.listing(QUARANTINE, client.rows("quarantine", &query, limit.rows_max()))
}
