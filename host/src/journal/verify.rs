//! Walking the whole journal: is every entry there, does it decode, and does the chain of hashes hold?

use super::Reader;
use super::format::{self, Chain, Hash};
use super::segment::{Segment, StoreError, Tip};
use crate::model::Seq;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Commits looked up at a time.
const COMMITS_STEP: usize = 1_000;
/// Numbers of unreadable entries that a report lists; all are counted.
const LISTED_MAX: usize = 100;

/// How far a walk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyProgress {
    pub entries: u64,
    pub entries_total: u64,
}

/// What a walk found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    pub segments: u64,
    pub commits: u64,
    pub entries: u64,
    pub bytes: u64,
    pub first: Seq,
    pub last: Seq,
    /// Hash that the first kept commit continues from; all zero at the very beginning.
    pub anchor: [u8; 32],
    /// Hash of the last commit: note it elsewhere, and no earlier entry can be changed unnoticed.
    pub tip: [u8; 32],
    /// Entries that are intact but do not decode, the first of them.
    pub unreadable: Vec<Seq>,
    pub unreadable_count: u64,
    /// The first thing that is wrong with the chain; nothing after it was looked at.
    pub broken: Option<Broken>,
}

/// The first commit that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}, commit of entries {} to {}: {what}", .first.0, .last.0)]
pub struct Broken {
    pub file: String,
    pub first: Seq,
    pub last: Seq,
    pub what: String,
}

impl Reader {
    /// Walks everything that is durable now.
    pub fn verify(&self, progress: &mut dyn FnMut(VerifyProgress)) -> Result<Verified, StoreError> {
        let end = self.last_seq();
        let mut report = Verified { first: self.first_seq(), ..Verified::default() };
        let mut at: Option<Tip> = None;
        for segment in self.0.segments.all() {
            if at.is_some_and(|tip| tip.last >= end) {
                break;
            }
            // Pages that are no pages any more make the store below stop rather than complain.
            let walked = catch_unwind(AssertUnwindSafe(|| self.walk(&segment, at, end, &mut report, progress)));
            let walked = walked.unwrap_or_else(|_| {
                let first = at.map_or(segment.name.first, |tip| Seq(tip.last.0 + 1));
                let what = "the file is damaged and cannot be read; put back a copy of it".into();
                Ok(Err(Broken { file: segment.name.file(), first, last: first, what }))
            });
            match walked? {
                Ok(tip) => at = Some(tip),
                Err(broken) => {
                    report.broken = Some(broken);
                    break;
                }
            }
            report.segments += 1;
        }
        if let Some(tip) = at {
            (report.last, report.tip) = (tip.last, tip.hash);
        }
        Ok(report)
    }

    /// One segment: its head continues what came before, each commit continues the one before.
    fn walk(
        &self,
        segment: &Segment,
        before: Option<Tip>,
        end: Seq,
        report: &mut Verified,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<Result<Tip, Broken>, StoreError> {
        let storage = &*self.0.segments.storage;
        let file = segment.name.file();
        let broken = |first: Seq, last: Seq, what: &str| Broken { file: file.clone(), first, last, what: what.into() };
        let head = segment.head(storage)?;
        let mut tip = Tip { last: Seq(head.first.0 - 1), hash: head.follows };
        match before {
            Some(before) if before.last != tip.last => {
                return Ok(Err(broken(Seq(before.last.0 + 1), tip.last, "these entries are missing")));
            }
            Some(before) if before.hash != tip.hash => {
                return Ok(Err(broken(head.first, head.first, "the file does not continue the one before it")));
            }
            Some(_) => {}
            None => report.anchor = head.follows,
        }
        loop {
            let commits = segment.commits(storage, Seq(tip.last.0 + 1), COMMITS_STEP)?;
            if commits.is_empty() {
                break;
            }
            for commit in commits {
                if tip.last >= end {
                    return Ok(Ok(tip));
                }
                let first = Seq(tip.last.0 + 1);
                if let Err(what) = check(segment, storage, tip.hash, first, commit, report)? {
                    return Ok(Err(broken(first, commit.last, what)));
                }
                report.commits += 1;
                tip = commit;
                progress(VerifyProgress { entries: report.entries, entries_total: end.0 + 1 - report.first.0 });
            }
        }
        let rest = segment.read(storage, Seq(tip.last.0 + 1), 1, usize::MAX)?;
        if let Some((seq, _)) = rest.first().filter(|(seq, _)| *seq <= end) {
            return Ok(Err(broken(*seq, *seq, "the entry belongs to no commit")));
        }
        Ok(Ok(tip))
    }
}

/// Reads a commit's entries and computes its hash anew. The inner error says what is wrong.
fn check(
    segment: &Segment,
    storage: &dyn super::storage::Storage,
    before: Hash,
    first: Seq,
    commit: Tip,
    report: &mut Verified,
) -> Result<Result<(), &'static str>, StoreError> {
    let count = commit.last.0 + 1 - first.0;
    let entries = segment.read(storage, first, count as usize, usize::MAX)?;
    if entries.len() as u64 != count || entries.iter().zip(first.0..).any(|((seq, _), expected)| seq.0 != expected) {
        return Ok(Err("entries are missing"));
    }
    let mut chain = Chain::after(&before, first, entries.len());
    for (seq, bytes) in &entries {
        chain.entry(bytes);
        report.entries += 1;
        report.bytes += bytes.len() as u64;
        if format::decode(bytes).is_err() {
            report.unreadable_count += 1;
            if report.unreadable.len() < LISTED_MAX {
                report.unreadable.push(*seq);
            }
        }
    }
    if chain.finish() == commit.hash { Ok(Ok(())) } else { Ok(Err("its hash is not the one that was written")) }
}
