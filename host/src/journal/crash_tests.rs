//! Crashes and full disks, by the hundred: what was acknowledged is there, once, and the chain holds.

use super::simulated::{Disk, Seed, Trouble};
use super::tests::{all, entry, options};
use super::*;
use std::collections::HashMap;
use std::time::Duration;

fn open(disk: &Disk) -> Journal {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    Journal::with_storage(&storage, &options()).expect("opens")
}

/// Appends entries in groups of any size, over several days, until the disk is in trouble. Gives the receipts.
fn append_until_trouble(journal: &Journal, disk: &Disk, seed: &mut Seed, next: &mut u64) -> HashMap<Seq, u64> {
    let mut acknowledged = HashMap::new();
    while !disk.is_in_trouble() {
        let group: Vec<_> = (0..=seed.below(40))
            .map(|_| {
                let number = *next;
                *next += 1;
                (number, journal.submit_blocking(entry(number, at_ms(number))))
            })
            .collect();
        for (number, receipt) in group {
            if let Ok(seq) = receipt.and_then(Receipt::wait) {
                assert_eq!(acknowledged.insert(seq, number), None, "one number for two entries");
            }
        }
    }
    acknowledged
}

/// A new day every 300 entries.
fn at_ms(number: u64) -> i64 {
    (number / 300) as i64 * 86_400_000
}

fn check_all_there(journal: &Journal, acknowledged: &HashMap<Seq, u64>, seed: u64) {
    let reader = journal.reader();
    let stored = all(&reader);
    let numbers: HashMap<Seq, &Entry> = stored.iter().map(|(seq, entry)| (*seq, entry)).collect();
    for (seq, number) in acknowledged {
        let expected = entry(*number, at_ms(*number));
        assert_eq!(numbers.get(seq), Some(&&expected), "seed {seed}: entry {} was acknowledged", seq.0);
    }
    let mut seen: Vec<String> = stored.iter().map(|(_, entry)| format!("{entry:?}")).collect();
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "seed {seed}: an entry is there twice");
    let report = reader.verify(&mut |_| {}).expect("walks");
    assert_eq!((report.broken, report.unreadable_count), (None, 0), "seed {seed}");
    assert_eq!(report.last, reader.last_seq(), "seed {seed}");
}

#[test]
fn acknowledged_entries_survive_a_crash_at_any_moment() {
    for number in 0..120 {
        let mut seed = Seed::new(number);
        let mut disk = Disk::default();
        let (mut acknowledged, mut next) = (HashMap::new(), 0);
        // Several crashes in a row, the last ones also while the journal is being opened after the one before.
        for _ in 0..3 {
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            disk.after(seed.below(400), Trouble::Dead);
            if let Ok(journal) = Journal::with_storage(&storage, &options()) {
                acknowledged.extend(append_until_trouble(&journal, &disk, &mut seed, &mut next));
                journal.close();
            }
            disk = disk.after_crash(&mut seed);
        }
        let journal = open(&disk);
        check_all_there(&journal, &acknowledged, number);
        journal.append_blocking(entry(next, at_ms(next))).expect("takes entries again");
    }
}

/// The power goes some time after an fsync has failed and the store has recovered from that. Which pages the failed one gave
/// up nobody tells; acknowledged entries must not lie on them.
#[test]
fn a_failed_fsync_costs_nothing_that_was_acknowledged_before_or_after() {
    for number in 0..60 {
        let mut seed = Seed::new(2_000 + number);
        let disk = Disk::default();
        let journal = open(&disk);
        let (mut acknowledged, mut next) = (HashMap::new(), 0);
        for _ in 0..2 {
            disk.after(seed.below(300), Trouble::Unsynced);
            acknowledged.extend(append_until_trouble(&journal, &disk, &mut seed, &mut next));
            // The trouble may have begun in a write; the next fsync meets it.
            while let Ok(seq) = journal.append_blocking(entry(next, at_ms(next))) {
                acknowledged.insert(seq, next);
                next += 1;
            }
            next += 1;
            disk.heal();
            wait_until(|| journal.health().failing.is_none());
        }
        for _ in 0..seed.below(40) {
            let seq = journal.append_blocking(entry(next, at_ms(next))).expect("takes entries again");
            assert_eq!(acknowledged.insert(seq, next), None);
            next += 1;
        }
        check_all_there(&journal, &acknowledged, number);
        assert_eq!(all(&journal.reader()).len(), acknowledged.len(), "seed {number}: what was refused is not there");
        check_all_there(&open(&disk.after_crash(&mut seed)), &acknowledged, number);
    }
}

#[test]
fn a_full_disk_refuses_everything_and_then_goes_on() {
    for number in 0..12 {
        let mut seed = Seed::new(1_000 + number);
        let disk = Disk::default();
        let journal = open(&disk);
        let (mut acknowledged, mut next) = (HashMap::new(), 0);
        for _ in 0..2 {
            disk.after(seed.below(300), Trouble::Full);
            acknowledged.extend(append_until_trouble(&journal, &disk, &mut seed, &mut next));
            wait_until(|| journal.health().failing.is_some());
            let refused = journal.append_blocking(entry(next, at_ms(next)));
            assert!(matches!(refused, Err(AppendError::Failing(_))), "seed {number}: {refused:?}");
            next += 1;
            disk.heal();
            wait_until(|| journal.health().failing.is_none());
        }
        for _ in 0..20 {
            let seq = journal.append_blocking(entry(next, at_ms(next))).expect("takes entries again");
            assert_eq!(acknowledged.insert(seq, next), None);
            next += 1;
        }
        check_all_there(&journal, &acknowledged, number);
        assert_eq!(all(&journal.reader()).len(), acknowledged.len(), "seed {number}: what was refused is not there");
        journal.close();
        check_all_there(&open(&disk), &acknowledged, number);
    }
}

#[test]
fn a_follower_misses_nothing_of_what_a_failing_disk_kept() {
    let (mut seed, disk) = (Seed::new(7), Disk::default());
    let journal = open(&disk);
    let mut follower = journal.reader().follow(Seq(0));
    let (mut next, mut followed) = (0, Vec::new());
    for _ in 0..4 {
        disk.after(seed.below(200), Trouble::Full);
        append_until_trouble(&journal, &disk, &mut seed, &mut next);
        disk.heal();
        wait_until(|| journal.health().failing.is_none());
    }
    loop {
        let before = follower.at();
        match follower.next(100, Duration::ZERO).expect("follows") {
            Portion::Entries(batches) => {
                let new = batches.iter().flat_map(|b| &b.entries).filter(|(seq, _)| *seq > before);
                followed.extend(new.cloned());
            }
            Portion::Nothing | Portion::Closed => break,
        }
    }
    assert_eq!(followed, all(&journal.reader()));
}

#[test]
fn a_changed_byte_is_found_in_its_commit() {
    let disk = Disk::default();
    let journal = open(&disk);
    for number in 0..1_000 {
        journal.append_blocking(entry(number, at_ms(number))).expect("appends");
    }
    journal.close();
    let victim = format::encode(&entry(450, at_ms(450))).expect("encodes");
    assert!(disk.damage(&victim) > 0);
    let report = open(&disk).reader().verify(&mut |_| {}).expect("walks");
    let broken = report.broken.expect("found");
    assert_eq!((broken.first, broken.last), (Seq(451), Seq(451)), "{broken}");
    assert_eq!(report.entries, 451);
}

#[test]
fn dropping_days_leaves_a_chain_that_verifies() {
    let disk = Disk::default();
    let journal = open(&disk);
    for number in 0..1_000 {
        journal.append_blocking(entry(number, at_ms(number))).expect("appends");
    }
    let day = |n: i64| Journal::day_of(n * 86_400_000);
    assert_eq!(journal.first_kept(day(2)), Seq(601));
    let dropped = journal.drop_before(day(2)).expect("drops");
    assert_eq!((dropped.entries, dropped.first_kept), (600, Seq(601)));
    let reader = journal.reader();
    assert_eq!(reader.first_seq(), Seq(601));
    assert_eq!(reader.get(Seq(600)).expect("reads"), None);
    assert_eq!(all(&reader).len(), 400);
    let report = reader.verify(&mut |_| {}).expect("walks");
    assert_eq!((report.broken, report.entries), (None, 400));
    assert_ne!(report.anchor, [0; 32]);
    // The day being written stays.
    assert_eq!(journal.drop_before(day(1_000)).expect("drops").first_kept, Seq(901));
    journal.append_blocking(entry(1_000, at_ms(1_000))).expect("appends");
    journal.close();
    drop((reader, journal));
    assert_eq!(all(&open(&disk).reader()).len(), 101);
}

pub(super) fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not happen within ten seconds");
}
