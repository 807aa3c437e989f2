//! `polymeter quarantine`: frames that nobody could read yet.

use super::client::Access;
use super::output::{Columns, Limit};
use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum QuarantineCommand {
    /// Kept frames, newest first
    List {
        #[command(flatten)]
        limit: Limit,
    },
}

const QUARANTINE: Columns<'_> = &[
    ("SEQ", "/seq"),
    ("RECEIVED", "/received"),
    ("LISTENER", "/listener"),
    ("DEVICE", "/device"),
    ("ADAPTER", "/adapter/name"),
    ("FAULT", "/fault"),
    ("DETAIL", "/detail"),
    ("RAW", "/raw"),
];

pub fn run(access: &Access, command: &QuarantineCommand) -> Result<()> {
    let QuarantineCommand::List { limit } = command;
    let client = access.remote.connect()?;
    access.output.listing(QUARANTINE, client.rows("quarantine", &[], limit.rows_max()))
}
