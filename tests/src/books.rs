//! What a stopped station has written down.

use polymeter::journal::{Entry, Fact, FrameFact, Journal};
use polymeter::model::Seq;
use std::path::Path;

/// Every frame entry of its journal, oldest first.
pub fn frames(data: &Path) -> Vec<FrameFact> {
    let journal = Journal::open_existing(data, 0).expect("it opens").expect("a journal");
    let reader = journal.reader();
    let (mut frames, mut next) = (Vec::new(), Seq(1));
    loop {
        let rows = reader.read(next, 10_000, 64 << 20).expect("it reads");
        let Some(last) = rows.last().map(|row| row.seq) else { return frames };
        for row in rows {
            if let Ok(Entry { fact: Fact::Frame(frame), .. }) = row.entry {
                frames.push(frame);
            }
        }
        next = Seq(last.0 + 1);
    }
}
