//! A disk that takes no more: files of the running station may not grow, first beyond what they are, then at all. Nobody is
//! told "yes" meanwhile, everybody can see why, and when there is room again the station goes on by itself.
//!
//! The limit is the process's own largest file size, set from outside while it runs: a write beyond it fails as on a full
//! disk, on a real file system and without root.

use fleet::api::Refused;
use fleet::station::Settings;
use polymeter::journal::{Entry, Fact, Journal};
use polymeter::model::Seq;
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, meter};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use usp::device::Heard;

const METERS: usize = 8;
const DAY_S: i64 = 86_400;
/// Less than any file of a journal has: every commit fails.
const NOTHING: u64 = 4_096;

const ABSENT: &str = "usp/79999999999998";
const STRANGER: &str = "usp/79999999999999";

const WELL: u8 = 0;
const FULL: u8 = 1;

/// What meters and test tell each other.
#[derive(Default)]
struct Common {
    phase: AtomicU8,
    over: AtomicBool,
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

/// One meter's own book.
struct Book {
    device: String,
    /// Every report sent, by its frame, and the day it is about.
    sent: BTreeMap<Vec<u8>, i64>,
    acknowledged: BTreeSet<Vec<u8>>,
    /// Days of which it knows that the station has them.
    days: BTreeSet<i64>,
}

#[test]
fn a_full_disk_is_told_to_everybody_and_forgotten_once_there_is_room() {
    let mut settings = Settings::usual();
    settings.log = "warn".into();
    let mut site = Site::with(&settings);
    let common = Common::default();
    let station = site.meters();
    let books = std::thread::scope(|threads| {
        let common = &common;
        let lives: Vec<_> = (0..METERS).map(|n| threads.spawn(move || live(n, station, common))).collect();
        some_more(&common.acknowledged, "reports are acknowledged");
        no_growth(&site, &common.acknowledged);
        nothing_at_all(&site, common);
        some_more(&common.acknowledged, "reports are acknowledged again");
        common.over.store(true, SeqCst);
        lives.into_iter().map(|life| life.join().expect("a meter that lives")).collect::<Vec<_>>()
    });
    let reports: usize = books.iter().map(|book| book.acknowledged.len()).sum();
    println!("{reports} reports acknowledged, {} attempts without answer", common.refused.load(SeqCst));
    check_shown(&site, &books);
    site.stop().expect("a station that stops");
    let log = std::fs::read_to_string(site.log_file()).expect("a log");
    assert!(!log.contains("panicked"), "{log}");
    check_journal(&site.data(), &books);
    let verified = site.run(&["journal", "verify", "--data", &site.data().to_string_lossy()]).expect("a sound chain");
    assert!(verified.contains("sound"), "{verified}");
    site.start().expect("a station that starts");
    check_shown(&site, &books);
}

/// Files stay as large as the journal is now. What fits is still taken; sooner or later nothing is.
fn no_growth(site: &Site, acknowledged: &AtomicU64) {
    limit(site, Some(largest_file(&site.data().join("journal"))));
    await_failing(site);
    limit(site, None);
    await_well(site);
    some_more(acknowledged, "reports are acknowledged after the files may grow again");
}

/// Not a byte beyond the first page.
fn nothing_at_all(site: &Site, common: &Common) {
    // A device that never comes: its order waits.
    site.client().post(&format!("devices/{ABSENT}/adopt"), &json!({})).expect("an adopted device");
    let waiting = site.order(ABSENT, &json!({"set-clock": {"to": null}}));
    // The station itself may ask meters for days.
    let ordered = || site.rows("commands").into_iter().filter(|row| row["device"] == ABSENT).count();
    let before = ordered();
    limit(site, Some(NOTHING));
    let why = await_failing(site);
    assert!(why.contains("cannot be written since") && why.contains("too large"), "{why}");
    common.phase.store(FULL, SeqCst);
    some_more(&common.refused, "devices come in vain");
    for (path, body) in [
        ("commands".to_owned(), json!({"device": ABSENT, "command": {"read": {"scope": "current"}}})),
        (format!("commands/{waiting}/cancel"), json!({})),
        (format!("devices/{STRANGER}/adopt"), json!({})),
        ("tokens".to_owned(), json!({"name": "more", "role": "viewer"})),
    ] {
        let refused = refusal(site, &path, &body);
        assert_eq!(refused.status, 503, "{path}: {refused}");
        assert!(["journal-failing", "views-failing"].contains(&refused.code.as_str()), "{path}: {refused}");
    }
    common.phase.store(WELL, SeqCst);
    limit(site, None);
    await_well(site);
    site.catch_up();
    // What was refused has left no trace, and what was there is as it was.
    assert_eq!(ordered(), before);
    assert!(site.device(STRANGER).is_none());
    assert!(site.rows("tokens").iter().all(|token| token["name"] != "more"));
    assert_eq!(site.command(waiting)["state"], "queued");
}

fn refusal(site: &Site, path: &str, body: &Value) -> Refused {
    let error = site.client().post(path, body).expect_err("a refusal");
    error.downcast_ref::<Refused>().unwrap_or_else(|| panic!("{path}: {error:#}")).clone()
}

/// Until `/health` says that the journal cannot be written; gives its words.
pub fn await_failing(site: &Site) -> String {
    wait_until("the station says that it cannot store", || {
        let (status, text) = site.client().text("/health").expect("an answer");
        let health: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(status == 503, health["status"] == "failing", "{status} {text}");
        health["journal"].as_str().map(str::to_owned)
    })
}

pub fn await_well(site: &Site) {
    wait_until("the station is well", || {
        let (status, _) = site.client().text("/health").expect("an answer");
        (status == 200).then_some(())
    });
}

fn some_more(counter: &AtomicU64, what: &str) {
    let before = counter.load(SeqCst);
    wait_until(what, || (counter.load(SeqCst) >= before + 40).then_some(()));
}

fn limit(site: &Site, bytes: Option<u64>) {
    let pid = Pid::from_raw(site.pid().expect("a running station").cast_signed()).expect("a process");
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a limit");
}

fn largest_file(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("a directory");
    files.map(|file| file.expect("a file").metadata().expect("a file").len()).max().expect("a file")
}

/// Reports day after day, each until it is acknowledged.
fn live(number: usize, station: SocketAddr, common: &Common) -> Book {
    let address = format!("7{number:013}");
    let device = format!("usp/{address}");
    let mut book = Book { device, sent: BTreeMap::new(), acknowledged: BTreeSet::new(), days: BTreeSet::new() };
    let mut terminal = Terminal::tcp(meter(&address), station);
    while !common.over.load(SeqCst) {
        let phase = common.phase.load(SeqCst);
        let acknowledged = communicate(&mut terminal, &mut book);
        if acknowledged {
            assert!(phase == WELL || common.phase.load(SeqCst) == WELL, "acknowledged while nothing could be written");
            terminal.now += DAY_S;
            common.acknowledged.fetch_add(1, SeqCst);
        } else {
            common.refused.fetch_add(1, SeqCst);
        }
        terminal.peer = Peer::tcp(station);
    }
    book
}

/// Registers and reports; whether the report was acknowledged.
fn communicate(terminal: &mut Terminal, book: &mut Book) -> bool {
    let registration = terminal.device.registration(terminal.now);
    if !is_accepted(terminal, &registration) {
        return false;
    }
    let daily = terminal.device.daily(terminal.now, &[]);
    book.sent.insert(daily.clone(), terminal.now);
    let accepted = is_accepted(terminal, &daily);
    if accepted {
        book.acknowledged.insert(daily);
        book.days.insert(terminal.now);
    }
    accepted
}

pub fn is_accepted(terminal: &mut Terminal, frame: &[u8]) -> bool {
    terminal.peer.try_send(frame) && matches!(terminal.hear(), Some(Heard::Reply(reply)) if reply.result == 0)
}

/// Each acknowledged report is shown, with its value, once.
fn check_shown(site: &Site, books: &[Book]) {
    site.catch_up();
    for book in books {
        let rows = site.rows(&format!("devices/{}/readings?quantity=working-volume", book.device));
        let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows.iter().filter(|row| row["role"] == "frozen") {
            *shown.entry(row["at"].as_str().expect("a time")).or_default() += 1;
        }
        for now in &book.days {
            let midnight = polymeter::model::Civil(now - now.rem_euclid(DAY_S)).to_string();
            assert_eq!(shown.get(midnight.as_str()), Some(&1), "{} of {midnight}: {shown:?}", book.device);
        }
    }
}

/// Each acknowledged frame is there exactly once, any other at most once, and none that nobody sent.
fn check_journal(data: &Path, books: &[Book]) {
    let journal = Journal::open_existing(data, 0).expect("it opens").expect("a journal");
    let reader = journal.reader();
    let mut kept: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut next = Seq(1);
    loop {
        let rows = reader.read(next, 10_000, 64 << 20).expect("it reads");
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        for row in rows {
            if let Ok(Entry { fact: Fact::Frame(frame), .. }) = row.entry {
                *kept.entry(frame.raw.0).or_default() += 1;
            }
        }
        next = Seq(last.0 + 1);
    }
    for book in books {
        for frame in book.sent.keys() {
            let count = kept.get(frame).copied().unwrap_or_default();
            let wanted = if book.acknowledged.contains(frame) { 1..=1 } else { 0..=1 };
            assert!(wanted.contains(&count), "{}: {count} times {}", book.device, hex::encode(frame));
        }
    }
}
