//! The journal on real files: appended, read, reopened, rolled over, followed.

use super::crash_tests::wait_until;
use super::*;
use crate::limits;
use crate::model::DeviceKey;
use std::path::PathBuf;
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;

pub(super) fn options() -> Options {
    Options { identity: Identity { station: "north".into(), epoch: 7 }, now_ms: 0 }
}

/// An entry that says its number.
pub(super) fn entry(number: u64, at_ms: i64) -> Entry {
    let device = DeviceKey::new("usp", &format!("{number:014}")).expect("a device");
    Entry { at_ms, fact: Fact::DeviceAdopted { device, by: "test".into() } }
}

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("polymeter-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn all(reader: &Reader) -> Vec<(Seq, Entry)> {
    let mut out: Vec<(Seq, Entry)> = Vec::new();
    loop {
        let from = Seq(out.last().map_or(reader.first_seq().0, |(seq, _)| seq.0 + 1));
        let stretch = reader.read(from, 100, 1 << 20).expect("reads");
        if stretch.is_empty() {
            return out;
        }
        out.extend(stretch.into_iter().map(|s| (s.seq, s.entry.expect("decodes"))));
    }
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let dir = Scratch::new("reopen");
    for round in 0..3 {
        let journal = Journal::open(&dir.0, &options()).expect("opens");
        assert_eq!(journal.reader().last_seq(), Seq(round * 100));
        let receipts: Vec<_> =
            (0..100).map(|n| journal.submit_blocking(entry(round * 100 + n, 1_000)).expect("has room")).collect();
        for (n, receipt) in receipts.into_iter().enumerate() {
            assert_eq!(receipt.wait(), Ok(Seq(round * 100 + n as u64 + 1)));
        }
        journal.close();
        assert_eq!(journal.append_blocking(entry(0, 0)), Err(AppendError::Closed));
    }
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    let expected: Vec<_> = (0..300).map(|n| (Seq(n + 1), entry(n, 1_000))).collect();
    assert_eq!(all(&journal.reader()), expected);
    assert_eq!(journal.reader().get(Seq(17)).expect("reads").map(|s| s.entry), Some(Ok(entry(16, 1_000))));
    assert_eq!(journal.reader().get(Seq(301)).expect("reads"), None);
}

#[test]
fn one_process_at_a_time_and_one_station() {
    let dir = Scratch::new("exclusive");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    let second = Journal::open(&dir.0, &options()).err().expect("refused").to_string();
    assert!(second.contains("in use by a running station"), "{second}");
    drop(journal);
    let other = Options { identity: Identity { station: "south".into(), epoch: 1 }, now_ms: 0 };
    let refused = Journal::open(&dir.0, &other).err().expect("refused").to_string();
    assert!(refused.contains("belongs to station `north`"), "{refused}");
}

#[test]
fn a_new_day_starts_a_new_file() {
    let dir = Scratch::new("days");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    for (n, at_ms) in [(0, 5), (1, DAY_MS - 1), (2, DAY_MS), (3, DAY_MS - 2), (4, 3 * DAY_MS)] {
        journal.append_blocking(entry(n, at_ms)).expect("appends");
    }
    let days = journal.reader().days().expect("days");
    let counts: Vec<_> = days.iter().map(|d| (d.day.0, d.first.0, d.last.0, d.count)).collect();
    assert_eq!(counts, [(0, 1, 2, 2), (1, 3, 4, 2), (3, 5, 5, 1)]);
    assert_eq!(all(&journal.reader()).len(), 5);
}

#[test]
fn a_follower_reads_from_the_file_then_from_memory() {
    let dir = Scratch::new("follow");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    for n in 0..50 {
        journal.append_blocking(entry(n, 0)).expect("appends");
    }
    let mut follower = journal.reader().follow(Seq(10));
    let mut seen = Vec::new();
    let mut drain = |follower: &mut Follower| {
        loop {
            let before = follower.at();
            match follower.next(7, Duration::ZERO).expect("follows") {
                Portion::Entries(batches) => seen.extend(
                    batches.iter().flat_map(|b| b.entries.iter().map(|(seq, _)| seq.0)).filter(|seq| *seq > before.0),
                ),
                Portion::Nothing | Portion::Closed => return seen.clone(),
            }
        }
    };
    assert_eq!(drain(&mut follower), (11..=50).collect::<Vec<_>>());
    for n in 50..80 {
        journal.append_blocking(entry(n, 0)).expect("appends");
    }
    assert_eq!(drain(&mut follower), (11..=80).collect::<Vec<_>>());
}

/// Why an entry is refused.
fn refusal(journal: &Journal, at_ms: i64) -> String {
    match journal.append_blocking(entry(99, at_ms)) {
        Err(AppendError::Failing(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The files with entries.
fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("journal")).expect("lists").map(|file| file.expect("a file").path());
    files.filter(|file| file.extension().is_some_and(|e| e == "redb")).collect()
}

#[test]
fn a_file_that_was_moved_away_takes_nothing_until_it_is_back() {
    let dir = Scratch::new("moved");
    let aside = dir.0.with_extension("aside");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    journal.append_blocking(entry(0, 0)).expect("appends");
    // The file, the journal, and the whole data directory.
    for (n, moved) in [segment_files(&dir.0).remove(0), dir.0.join("journal"), dir.0.clone()].iter().enumerate() {
        std::fs::rename(moved, &aside).expect("moves");
        for _ in 0..2 {
            let why = refusal(&journal, 0);
            assert!(why.contains(".redb is gone or another one: put it back"), "{why}");
        }
        let health = journal.health();
        assert!(health.failing.is_some() && health.last_seq == Seq(n as u64 + 1), "{health:?}");
        assert_eq!(all(&journal.reader()).len(), n + 1, "what is there can still be read");
        std::fs::rename(&aside, moved).expect("moves back");
        wait_until(|| journal.health().failing.is_none());
        journal.append_blocking(entry(n as u64 + 1, 0)).expect("appends again");
    }
    journal.close();
    drop(journal);
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    let expected: Vec<_> = (0..4).map(|n| (Seq(n + 1), entry(n, 0))).collect();
    assert_eq!(all(&journal.reader()), expected, "nothing of what was refused");
    assert_eq!(journal.reader().verify(&mut |_| {}).expect("walks").broken, None);
}

#[test]
fn another_file_of_that_name_takes_nothing() {
    let dir = Scratch::new("replaced");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    journal.append_blocking(entry(0, 0)).expect("appends");
    let (file, copy) = (segment_files(&dir.0).remove(0), dir.0.join("copy"));
    std::fs::copy(&file, &copy).expect("copies");
    std::fs::rename(&copy, &file).expect("replaces");
    assert!(refusal(&journal, 0).contains("is gone or another one"));
    // Also after the writer has tried again.
    std::thread::sleep(limits::STORE_RETRY_MIN * 3);
    assert!(refusal(&journal, 0).contains("is gone or another one"));
    journal.close();
    drop(journal);
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    assert_eq!(all(&journal.reader()), [(Seq(1), entry(0, 0))]);
    journal.append_blocking(entry(1, 0)).expect("appends");
}

#[test]
fn a_new_day_does_not_hide_that_the_day_before_is_gone() {
    let dir = Scratch::new("gone-day");
    let aside = dir.0.with_extension("aside");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    journal.append_blocking(entry(0, 0)).expect("appends");
    let file = segment_files(&dir.0).remove(0);
    std::fs::rename(&file, &aside).expect("moves");
    assert!(refusal(&journal, DAY_MS).contains("is gone or another one"));
    assert_eq!(segment_files(&dir.0).len(), 0, "no new file");
    std::fs::rename(&aside, &file).expect("moves back");
    wait_until(|| journal.health().failing.is_none());
    journal.append_blocking(entry(1, DAY_MS)).expect("appends again");
    assert_eq!(all(&journal.reader()), [(Seq(1), entry(0, 0)), (Seq(2), entry(1, DAY_MS))]);
}

#[test]
fn a_journal_that_has_lost_entries_is_not_gone_on_with() {
    let dir = Scratch::new("lost");
    let refused = |seen| Journal::open_after(&dir.0, &options(), Seq(seen)).err().map(|e| e.to_string());
    let none = refused(5).expect("refused");
    assert!(none.contains("files are missing") && none.contains("up to 5;"), "{none}");
    assert!(!dir.0.exists(), "nothing is made");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    for n in 0..3 {
        journal.append_blocking(entry(n, 0)).expect("appends");
    }
    journal.close();
    drop(journal);
    let short = refused(4).expect("refused");
    assert!(short.contains("ends with entry 3, and the views have seen 4;"), "{short}");
    assert_eq!(refused(3), None);
}

#[test]
fn a_file_that_is_taken_away_is_missed_before_the_next_entry() {
    let dir = Scratch::new("look");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    journal.append_blocking(entry(1, 1_000)).expect("kept");
    let file = std::fs::read_dir(dir.0.join("journal")).expect("lists").map(|file| file.expect("a file").path());
    let file = file.into_iter().find(|file| file.extension().is_some_and(|e| e == "redb")).expect("a segment");
    journal.look(2_000);
    let aside = dir.0.join("aside");
    std::fs::rename(&file, &aside).expect("moves");
    journal.look(3_000);
    wait_until(|| journal.health().failing.is_some());
    let failing = journal.health().failing.expect("seen");
    assert!(failing.why.contains("is gone or another one") && failing.since_ms >= 2_000, "{failing:?}");
    assert!(matches!(journal.append_blocking(entry(2, 4_000)), Err(AppendError::Failing(_))));
    std::fs::rename(&aside, &file).expect("moves back");
    wait_until(|| journal.health().failing.is_none());
    assert_eq!(journal.append_blocking(entry(2, 5_000)), Ok(Seq(2)));
}

#[test]
fn the_newest_moment_is_that_of_the_last_entry_or_of_the_day_before_it() {
    let dir = Scratch::new("newest");
    let journal = Journal::open(&dir.0, &options()).expect("opens");
    let append = |journal: &Journal, at_ms: i64| journal.append_blocking(entry(1, at_ms)).expect("appends");
    append(&journal, 9 * DAY_MS + 5_000);
    append(&journal, 10 * DAY_MS + 7_000);
    assert_eq!(journal.newest_ms(), 10 * DAY_MS + 7_000);
    journal.close();
    drop(journal);
    let journal = Journal::open(&dir.0, &options()).expect("opens again");
    assert_eq!(journal.newest_ms(), 10 * DAY_MS + 7_000, "it is read from the file");
    append(&journal, 4 * DAY_MS);
    append(&journal, 4 * DAY_MS + 1_000);
    assert_eq!(
        journal.newest_ms(),
        10 * DAY_MS,
        "a clock that was set back is found out for as long as it keeps to its first day"
    );
    append(&journal, 5 * DAY_MS);
    assert_eq!(journal.newest_ms(), 5 * DAY_MS);
}
