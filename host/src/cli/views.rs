//! `polymeter views`: folding the journal anew.

use super::offline::{Place, bar};
use super::output::line;
use crate::views::Views;
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum ViewsCommand {
    /// Throw the views of a stopped station away and build them from its journal
    Rebuild {
        /// The station's configuration: days are counted in its zone
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub fn run(command: ViewsCommand) -> Result<()> {
    let ViewsCommand::Rebuild { config } = command;
    let opened = Place::from(config).open()?;
    let bar = bar("rebuilding", 0);
    Views::rebuild(&opened.data, &opened.journal, &opened.clock, &mut |at| {
        bar.set_length(at.entries_total);
        bar.set_position(at.entries);
    })?;
    bar.finish_and_clear();
    line(&format!("{} entries folded", opened.journal.health().last_seq.0))
}
