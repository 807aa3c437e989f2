//! The registry's writer over a real journal and real views: what it refuses, what it leaves alone, and what outlives the
//! days that the journal drops.

use super::rows::Chunk;
use super::weigh::AdapterChoice;
use super::*;
use crate::adapter::{AddressForm, Characters};
use crate::journal::{Identity, Options};
use crate::model::Day;
use crate::views::{RegistryFilter, RegistryRow};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

struct Office {
    dir: PathBuf,
    journal: Journal,
    views: Views,
    records: Records,
    runtime: Runtime,
}

impl Office {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("polymeter-records-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let clock = Clock::new("Asia/Shanghai").expect("zone");
        let options = Options { identity: Identity { station: "north".into(), epoch: 1 }, now_ms: 0 };
        let journal = Journal::open(&dir, &options).expect("opens");
        let views = Views::open(&dir, &journal, &clock).expect("opens");
        let records = Records::new(journal.clone(), views.clone(), clock);
        Self { dir, journal, views, records, runtime: Runtime::new().expect("threads") }
    }

    fn write(&self, change: Change) -> Done {
        self.write_where(change, None)
    }

    /// Where the adapter says what addresses look like.
    fn write_where(&self, change: Change, address: Option<AddressForm>) -> Done {
        let adapters = vec![AdapterChoice { name: "usp".into(), realm: "usp".into(), address }];
        let choices = Choices { adapters, profiles: vec!["north".into()], protocols: vec!["mbus".into()] };
        self.runtime.block_on(self.records.write(change, choices, "anna", false)).expect("writes")
    }

    /// Imports rows of `device,kind,parent,adapter,profile,district`; gives what is wrong, as `line kind`.
    fn import(&self, rows: &str) -> Vec<String> {
        let chunk = Chunk::of_csv(format!("device,kind,parent,adapter,profile,district\n{rows}").as_bytes());
        let done = self.write(Change::Set(chunk.expect("readable").rows));
        done.weighed.flaws.iter().map(|(line, flaw)| format!("{line} {}", flaw.kind)).collect()
    }

    fn withdraw(&self, device: &str) -> usize {
        self.write(Change::Withdraw(device.parse().expect("a device"))).weighed.flaws.len()
    }

    fn list(&self, filter: &RegistryFilter) -> Vec<RegistryRow> {
        assert!(self.views.wait_caught_up(self.journal.reader().last_seq(), Duration::from_secs(20)));
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.views.records(filter, after.as_deref(), 2).expect("reads");
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    }

    fn keys(&self, filter: &RegistryFilter) -> Vec<String> {
        self.list(filter).iter().map(|row| row.record.device.to_string()).collect()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn what_a_row_names_must_be_there() {
    let office = Office::new("names");
    assert_eq!(office.import("usp/9,concentrator,,,,\nusp/1,meter,usp/9,usp,north,West\n"), [""; 0]);
    for (rows, expected) in [
        ("usp/2,meter,,qw,,\n", &["2 unknown-adapter"][..]),
        ("qw/2,meter,,usp,,\n", &["2 unknown-adapter"]),
        ("usp/2,meter,,usp,south,\n", &["2 unknown-profile"]),
        ("usp/2,meter,usp/8,,,\nusp/3,meter,,,,\n", &["2 unknown-parent"]),
        ("usp/2,meter,usp/1,,,\n", &["2 no-carrier"]),
        ("usp/2,meter,,,,\nusp/2,meter,,,,West\n", &["3 duplicate"]),
        ("usp/9,concentrator,usp/8,,,\nusp/8,dtu,usp/9,,,\n", &["2 circle", "3 circle"]),
        ("usp/9,meter,,,,\n", &["2 has-children"]),
        ("usp/9,meter,,,,\nusp/1,meter,,,,\n", &[]),
    ] {
        assert_eq!(office.import(rows), expected, "{rows}");
    }
    // The child of a row may stand before it, in the same chunk.
    assert_eq!(office.import("usp/7,meter,usp/6,,,\nusp/6,dtu,,,,\n"), [""; 0]);
    let chain = |n: usize| (1..=n).map(|i| format!("c/{i},dtu,c/{},,,\n", i - 1)).collect::<String>();
    assert_eq!(office.import("c/0,dtu,,,,\n"), [""; 0]);
    assert_eq!(office.import(&chain(limits::RECORD_DEPTH_MAX)), [""; 0]);
    let deep = format!("c/{},meter,c/{},,,\n", limits::RECORD_DEPTH_MAX + 1, limits::RECORD_DEPTH_MAX);
    assert_eq!(office.import(&deep), ["2 too-deep"]);
    // A carrier takes those behind it along.
    assert_eq!(office.import("d/0,dtu,,,,\nd/1,dtu,d/0,,,\nd/2,meter,d/1,,,\n"), [""; 0]);
    assert_eq!(office.import("d/0,dtu,c/2,,,\n"), ["2 too-deep"]);
    assert_eq!(office.import("d/0,dtu,c/1,,,\n"), ["2 too-deep"]);
    assert_eq!(office.import("d/0,dtu,c/1,,,\nd/2,meter,d/0,,,\n"), [""; 0]);
    assert_eq!(office.import("d/0,dtu,c/0,,,\n"), [""; 0]);
}

#[test]
fn who_is_new_has_an_address_that_can_be_heard() {
    let office = Office::new("forms");
    // Registered, and heard, before the adapter said anything of addresses.
    assert_eq!(office.import("usp/1,meter,,,,\n"), [""; 0]);
    let heard = Fact::DeviceAdopted { device: "usp/2".parse().expect("a key"), by: "anna".into() };
    office.journal.append_blocking(Entry { at_ms: office.records.clock.now_ms(), fact: heard }).expect("appends");
    assert_eq!(office.keys(&RegistryFilter::default()), ["usp/1"]);
    let (lengths, example) = (vec![2], "10".into());
    let form = AddressForm { characters: Characters::Digits, lengths, example, words: "as printed".into() };
    let import = |rows: &str| {
        let chunk = Chunk::of_csv(format!("device,kind,district\n{rows}").as_bytes()).expect("readable");
        let flaws = office.write_where(Change::Set(chunk.rows), Some(form.clone())).weighed.flaws;
        flaws.into_iter().map(|(line, flaw)| (line, flaw.column, flaw.message)).collect::<Vec<_>>()
    };
    let flaws = import("usp/10,meter,\nusp/3,meter,\nusp/1.0E1,meter,\n");
    let places: Vec<_> = flaws.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(places, [(3, Some("device")), (4, Some("device"))]);
    assert!(flaws[0].2.contains("2 digits (as printed), such as 10"), "{flaws:?}");
    assert_eq!(import("usp/10,meter,\nusp/1,meter,West\nusp/2,meter,\nqw/3,meter,\n"), []);
}

/// Journals have devices that stand deeper than carriers reach today: they are read, and their other columns change.
#[test]
fn records_that_stand_too_deep_stay_what_they_are() {
    let office = Office::new("deep");
    let rows: String = (0..8).map(|n| format!("c/{n},dtu,{}\n", parent(n))).collect();
    let chunk = Chunk::of_csv(format!("device,kind,parent\n{rows}").as_bytes()).expect("readable");
    let set = chunk.rows.into_iter().map(|row| row.record).collect();
    let fact = Fact::Registry(RegistryFact { set, withdrawn: Vec::new(), by: "anna".into(), retold: None });
    let at_ms = office.records.clock.now_ms();
    office.journal.append_blocking(Entry { at_ms, fact }).expect("appends");
    assert_eq!(office.list(&RegistryFilter::default()).len(), 8);
    let row = |district| format!("c/7,dtu,c/6,,,{district}\n");
    assert_eq!(office.import(&row("West")), [""; 0]);
    assert_eq!(office.import("c/7,dtu,c/5,,,West\n"), ["2 too-deep"]);
    assert_eq!(office.import("c/7,dtu,c/2,,,West\n"), [""; 0]);
}

fn parent(n: usize) -> String {
    n.checked_sub(1).map(|n| format!("c/{n}")).unwrap_or_default()
}

/// Two whom a carrier calls the same cannot be told apart by what it brings.
#[test]
fn a_carrier_calls_each_device_behind_it_otherwise() {
    let office = Office::new("places");
    let import = |rows: &str| {
        let text = format!("device,kind,parent,protocol,channel,line_address\n{rows}");
        let done = office.write(Change::Set(Chunk::of_csv(text.as_bytes()).expect("readable").rows));
        let flaws = done.weighed.flaws.into_iter();
        flaws.map(|(line, flaw)| format!("{line} {}: {}", flaw.kind, flaw.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        import("usp/9,dtu,,,,\nusp/8,dtu,,,,\nusp/1,meter,usp/9,mbus,1,77\nusp/2,meter,usp/9,mbus,1,\n"),
        [""; 0]
    );
    assert_eq!(import("usp/5,meter,usp/8,mbus,1,30\nusp/6,meter,usp/8,mbus,2,30\n"), [""; 0]);
    let long = "m/1,meter,usp/8,mbus,1,0004A30B001C0530\nm/4,meter,usp/8,mbus,1,00000000123456789012\n";
    assert_eq!(import(long), [""; 0]);
    let good = [
        // Another line, another carrier, the same again.
        "usp/3,meter,usp/9,mbus,2,2\n",
        "usp/4,meter,usp/8,mbus,1,77\n",
        "usp/1,meter,usp/9,mbus,1,77\nusp/2,meter,usp/9,mbus,1,\n",
        // Each where the other was.
        "usp/1,meter,usp/9,mbus,1,2\nusp/2,meter,usp/9,mbus,1,77\n",
        "usp/2,meter,usp/9,mbus,1,\nusp/1,meter,usp/9,mbus,1,77\n",
    ];
    let bad = [
        ("usp/5,meter,usp/8,mbus,1,5\nsz/5,meter,usp/8,mbus,1,\n", "3 duplicate", "line 2"),
        ("usp/5,meter,usp/8,mbus,1,77\n", "2 duplicate", "usp/4"),
        ("usp/5,meter,usp/9,mbus,1,2\n", "2 duplicate", "usp/2"),
        // Of another realm, by its own address.
        ("sz/2,meter,usp/9,mbus,1,\n", "2 duplicate", "usp/2"),
        // A second one of that line address, on another channel, does not hide the first.
        ("usp/7,meter,usp/8,mbus,1,30\n", "2 duplicate", "usp/5"),
        // Zeros in front do not count, however long the address is.
        ("usp/7,meter,usp/8,mbus,1,0030\n", "2 duplicate", "usp/5"),
        ("m/2,meter,usp/8,mbus,1,0004A30B001C0530\n", "2 duplicate", "m/1"),
        ("m/00000000123456789012,meter,usp/8,mbus,1,\n", "2 duplicate", "m/4"),
        ("usp/77,meter,usp/9,mbus,1,\nusp/1,meter,usp/9,mbus,1,77\n", "2 duplicate", "line 3"),
        // Zeros in front, which a carrier adds as it likes.
        ("usp/00000000000077,meter,usp/9,mbus,1,\n", "2 duplicate", "usp/1"),
        ("usp/7,meter,usp/9,mbus,1,0002\n", "2 duplicate", "usp/2"),
        ("usp/9901,meter,usp/9,mbus,1,901\nsz/0901,meter,usp/9,mbus,1,\n", "3 duplicate", "line 2"),
    ];
    // As long as the views may not show it, and afterwards.
    for shown in [false, true] {
        if shown {
            assert!(!office.list(&RegistryFilter::default()).is_empty());
        }
        for rows in good {
            assert_eq!(import(rows), [""; 0], "{rows}");
        }
        for (rows, place, other) in bad {
            let flaws = import(rows);
            assert!(flaws.len() == 1 && flaws[0].starts_with(place) && flaws[0].contains(other), "{rows}: {flaws:?}");
        }
    }
}

#[test]
fn the_same_again_changes_nothing_and_parents_stay() {
    let office = Office::new("again");
    let rows = "usp/9,dtu,,,,East\nusp/1,meter,usp/9,,,West\nusp/2,meter,usp/9,,,West\n";
    assert_eq!(office.import(rows), [""; 0]);
    let last = office.journal.health().last_seq;
    assert_eq!(office.import(rows), [""; 0]);
    assert_eq!(office.journal.health().last_seq, last, "nothing new is nothing written");
    let behind = |parent: &str| RegistryFilter { parent: parent.parse().ok(), ..RegistryFilter::default() };
    let of = |district: &str| RegistryFilter { district: Some(district.into()), ..RegistryFilter::default() };
    assert_eq!(office.keys(&behind("usp/9")), ["usp/1", "usp/2"]);
    assert_eq!(office.withdraw("usp/9"), 1, "others stand behind it");
    assert_eq!(office.import("usp/1,meter,,,,East\nusp/8,dtu,,,,\nusp/2,meter,usp/8,,,\n"), [""; 0]);
    assert_eq!(office.keys(&of("West")), [""; 0]);
    assert_eq!(office.keys(&of("East")), ["usp/1", "usp/9"]);
    assert_eq!(office.keys(&behind("usp/8")), ["usp/2"]);
    assert_eq!(office.withdraw("usp/9"), 0);
    assert_eq!(office.keys(&RegistryFilter::default()), ["usp/1", "usp/2", "usp/8"]);
    assert_eq!(office.keys(&RegistryFilter { prefix: "usp/2".into(), ..RegistryFilter::default() }), ["usp/2"]);
}

#[test]
fn records_outlive_the_days_that_the_journal_drops() {
    let office = Office::new("retold");
    // Long ago, and so in another file than what is said now.
    let at_ms = office.records.clock.now_ms() - 3 * 86_400_000;
    for (rows, withdrawn) in [("usp/1,West\nusp/2,\nusp/3,", None), ("usp/2,East", None), ("", Some("usp/3"))] {
        let text = format!("device,district,kind\n{}\n", rows.replace('\n', ",meter\n") + ",meter");
        let rows = Chunk::of_csv(text.as_bytes()).map(|chunk| chunk.rows).unwrap_or_default();
        let set = rows.into_iter().map(|row| row.record).collect();
        let withdrawn = withdrawn.into_iter().map(|device| device.parse().expect("a device")).collect();
        let fact = Fact::Registry(RegistryFact { set, withdrawn, by: "anna".into(), retold: None });
        office.journal.append_blocking(Entry { at_ms, fact }).expect("appends");
    }
    assert_eq!(office.import("usp/4,meter,,,,\n"), [""; 0]);
    let before = office.list(&RegistryFilter::default());
    let kept = Day(Journal::day_of(at_ms).0 + 1);
    let oldest_kept = office.journal.first_kept(kept);
    assert_eq!(office.records.retell_before(oldest_kept).expect("told again"), 2);
    assert!(office.list(&RegistryFilter::default()).iter().all(|row| row.seq >= oldest_kept));
    assert_eq!(office.records.retell_before(oldest_kept).expect("told again"), 0, "once is enough");
    assert!(office.journal.drop_before(kept).expect("drops").entries >= 3);
    let again = office.dir.join("again");
    std::fs::create_dir_all(&again).expect("a directory");
    let clock = Clock::new("Asia/Shanghai").expect("zone");
    Views::rebuild(&again, &office.journal, &clock, &mut |_| {}).expect("rebuilds");
    let rebuilt = Views::open(&again, &office.journal, &clock).expect("opens");
    let rows = rebuilt.records(&RegistryFilter::default(), None, 10).expect("reads").rows;
    assert_eq!(rows, office.list(&RegistryFilter::default()));
    let said =
        |rows: &[RegistryRow]| rows.iter().map(|r| (r.record.clone(), r.by.clone(), r.since_ms)).collect::<Vec<_>>();
    assert_eq!(said(&rows), said(&before), "who said it when stays too");
}
