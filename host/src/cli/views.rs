//! `polymeter views`: folding the journal anew.

use super::offline::{Place, bar};
use super::output::{line, note};
use crate::views::Views;
use anyhow::{Result, bail};
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum ViewsCommand {
    /// Throw the views of a stopped station away and build them from its journal
    ///
    /// The journal is checked at the end, as by `journal verify`. Of one that has fewer entries than the views have seen
    /// files are missing: nothing is thrown away then, unless --lost-for-good says so.
    Rebuild {
        /// The station's configuration: days are counted in its zone
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Go on with fewer entries than the views have seen, or with none: no backup has the others
        ///
        /// The views as they are stay beside the new ones as `views.redb.ahead`. Numbers of the lost entries, and of commands
        /// in them, are given again.
        #[arg(long)]
        lost_for_good: bool,
    },
}

pub fn run(command: ViewsCommand) -> Result<()> {
    let ViewsCommand::Rebuild { config, lost_for_good } = command;
    let place = Place::from(config);
    if lost_for_good && let Some((data, seen)) = place.without_journal()? {
        let aside = Views::put_aside(&data)?;
        let (lost, aside) = (seen.0, aside.display());
        return line(&format!(
            "{lost} entries given up, the views kept as {aside}; the next start begins a new journal"
        ));
    }
    let opened = place.open()?;
    let last = opened.journal.health().last_seq;
    if lost_for_good && last < opened.seen {
        let aside = Views::put_aside(&opened.data)?;
        let (lost, aside) = (opened.seen.0 - last.0, aside.display());
        note(&format!("{lost} entries given up, the views kept as {aside}"));
    } else {
        opened.journal.check_reaches(opened.seen)?;
    }
    let bar = bar("rebuilding", 0);
    let mut folded = 0;
    Views::rebuild(&opened.data, &opened.journal, &opened.clock, &mut |at| {
        folded = at.entries;
        bar.set_length(at.entries_total);
        bar.set_position(at.entries);
    })?;
    bar.finish_and_clear();
    line(&format!("{folded} entries folded"))?;
    // Folding takes entries as they are, and does not see what is missing between them.
    if let Some(broken) = opened.verify()?.broken {
        bail!("the views are built, but of a journal that is not sound: {broken}; see `polymeter journal verify`");
    }
    Ok(())
}
