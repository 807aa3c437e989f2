//! `polymeter poll`: what the station asks by itself, and what came of it.

use super::client::{Access, escape};
use super::output::{Columns, Limit};
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

#[derive(Subcommand, Debug)]
pub enum PollCommand {
    /// Polls of the configuration, and their last rounds
    List,
    /// Rounds of a poll, newest first
    Rounds {
        name: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Hold a round now, whatever its schedule says
    Run { name: String },
}

const POLLS: Columns<'_> = &[
    ("POLL", "/name"),
    ("ASKS", "/asks"),
    ("WHEN", "/when"),
    ("OF", "/of"),
    ("LAST ROUND", "/last/due"),
    ("STATE", "/last/state"),
    ("ASKED", "/last/asked"),
    ("ANSWERED", "/last/answered"),
    ("FAILED", "/last/failed"),
    ("WAITING", "/waiting"),
];
const ROUNDS: Columns<'_> = &[
    ("DUE", "/due"),
    ("STATE", "/state"),
    ("BY", "/by"),
    ("ASKED", "/asked"),
    ("ANSWERED", "/answered"),
    ("FAILED", "/failed"),
    ("WAITING", "/waiting"),
    ("WHY", "/why"),
];

pub fn run(access: &Access, command: PollCommand) -> Result<()> {
    let client = access.remote.connect()?;
    let output = access.output;
    match command {
        PollCommand::List => output.listing(POLLS, client.rows("polls", &[], usize::MAX)),
        PollCommand::Rounds { name, limit } => {
            output.listing(ROUNDS, client.rows(&format!("polls/{}/rounds", escape(&name)), &[], limit.rows_max()))
        }
        PollCommand::Run { name } => {
            client.post(&format!("polls/{}/rounds", escape(&name)), &json!({}))?;
            output.done(
                &format!("a round of {name} begins, at once or when the one under way is over"),
                &json!({"poll": name}),
            )
        }
    }
}
