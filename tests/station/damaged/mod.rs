//! Ten thousand pieces of damage on every kind of listener of one station, and some on its API. Afterwards it serves as
//! before, has kept every byte it was told, has believed none of the damaged ones, and has not grown.
//!
//! A run prints its seed. `POLYMETER_DAMAGE_SEED=N` repeats one; `POLYMETER_DAMAGE_CASE=N` plays a single case of it.

mod books;
mod bytes;
mod carriers;
mod envelopes;
mod garbage;
mod prober;

use books::Books;
use bytes::{Corpus, Damage};
use carriers::Carriers;
use fleet::station::Settings;
use polymeter::limits;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, meter};
use prober::{Case, Played, comes_whole};
use qianwei_7xxx::device::Meter;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

const CASES: usize = 10_000;
const REQUESTS: usize = 500;
const SEED: u64 = 20_240_315;
/// What ten thousand cases may leave behind in memory: pages that the journal and the views keep at hand, the rows of
/// the good devices, and what the allocator does not give back.
const GROWTH_KIB_MAX: u64 = 128 * 1024;

const ADAPTERS: [&str; 2] = ["usp", "qianwei_7xxx"];
/// Every kind of listener, and which adapters it speaks.
const DOORS: [(&str, &[usize]); 9] = [
    ("usp-tcp", &[0]),
    ("qianwei-tcp", &[1]),
    ("both-tcp", &[0, 1]),
    ("usp-udp", &[0]),
    ("qianwei-udp", &[1]),
    ("both-udp", &[0, 1]),
    ("both-tls", &[0, 1]),
    ("both-coap", &[0, 1]),
    ("both-mqtt", &[0, 1]),
];
/// Which of them a case comes to, in turn: datagrams take longer, for each waits for its answer.
const TURNS: [usize; 13] = [0, 1, 2, 3, 0, 6, 1, 2, 7, 4, 2, 5, 8];
/// More datagrams at a time would not fit the kernel's buffer, and what it drops nobody can count.
const DATAGRAM_PLAYERS: usize = 4;
const STREAM_PLAYERS: usize = 12;

#[test]
fn damaged_bytes_change_nothing_for_anybody() {
    let (seed, numbers) = (from_environment("SEED").unwrap_or(SEED), which_cases());
    println!("seed {seed}, {} cases", numbers.len());
    let begun = Instant::now();
    let carriers = Carriers::new();
    let mut site = Site::with(&settings(&carriers));
    greet_everywhere(&site, &carriers, 1);
    let before_kib = memory_kib(&site);
    let corpus = Corpus::of(&ADAPTERS);
    let played = play_all(&site, &carriers, numbers.iter().map(|n| draw(&corpus, seed, *n)).collect());
    garbage::throw(&site, seed, REQUESTS);
    // All have said goodbye or were sent away.
    wait_until("all sessions are over", || (site.get("station")["sessions_open"] == 0).then_some(()));
    let grown_kib = memory_kib(&site).saturating_sub(before_kib);
    tell(&played, grown_kib, begun);
    greet_everywhere(&site, &carriers, 2);
    assert_eq!(site.client().text("/health").expect("an answer").0, 200);
    assert!(grown_kib <= GROWTH_KIB_MAX, "{grown_kib} KiB more than before");
    let shown = books::Shown::of(&site);
    site.stop().expect("a station that stops");
    let log = std::fs::read_to_string(site.log_file()).expect("a log");
    assert!(!log.contains("panicked"), "{log}");
    let books = Books::of(&site.data());
    books.check_bytes(&played);
    books.check_nothing_believed(&played, &corpus);
    books.check_shown(&shown);
}

fn settings(carriers: &Carriers) -> Settings {
    let mut settings = Settings::usual();
    settings.log = "warn".into();
    let of =
        |adapters: &[usize]| adapters.iter().map(|a| format!("\"{}\"", ADAPTERS[*a])).collect::<Vec<_>>().join(", ");
    settings.listeners = DOORS.map(|(name, adapters)| carriers.listener(name, &of(adapters))).into();
    // Vectors are reports of many years, and those who play them hang up over a question.
    settings.listeners.iter_mut().for_each(|door| door.more = format!("read_missing_days = false\n{}", door.more));
    settings
}

/// The case of that number: the same for the same seed, whatever else is played.
fn draw(corpus: &Corpus, seed: u64, number: usize) -> Case {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
    let (door, adapters) = DOORS[TURNS[number % TURNS.len()]];
    let damage = Damage::ALL[number / TURNS.len() % Damage::ALL.len()];
    let datagram = comes_whole(door);
    let of = adapters[rng.random_range(0..adapters.len())];
    let mut bytes = corpus.draw(of, damage, &mut rng, datagram);
    if datagram && !door.ends_with("udp") {
        // What is longer is refused (CoAP) or kept as no frame at all (MQTT); both have tests of their own.
        bytes.truncate(limits::FRAME_BYTES_MAX);
    }
    let mut cuts: Vec<usize> = (0..rng.random_range(0..3)).map(|_| rng.random_range(0..=bytes.len())).collect();
    cuts.sort_unstable();
    // Mostly the damaged device itself tries again, and sometimes one of the other kind.
    let good = if rng.random_bool(0.9) { of } else { adapters[rng.random_range(0..adapters.len())] };
    let hangs_up = !datagram && rng.random_bool(0.5);
    Case { number, door, damage, adapters: (of, good), bytes, cuts, hangs_up }
}

fn play_all(site: &Site, carriers: &Carriers, cases: Vec<Case>) -> Vec<Played> {
    let (letters, streams): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(Case::comes_whole);
    let played = Mutex::new(Vec::new());
    let lists = [(&letters, AtomicUsize::new(0), DATAGRAM_PLAYERS), (&streams, AtomicUsize::new(0), STREAM_PLAYERS)];
    std::thread::scope(|threads| {
        for (cases, next, players) in &lists {
            for _ in 0..*players {
                threads.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                        let done = if case.comes_whole() {
                            case.clone().play_letters(carriers.letters(site, case))
                        } else {
                            case.clone().play_stream(carriers.stream(site, case))
                        };
                        played.lock().expect("no player panicked").push(done);
                    }
                });
            }
        }
    });
    let mut played = played.into_inner().expect("no player panicked");
    played.sort_by_key(|p| p.case.number);
    played
}

/// A good device of each adapter comes to each listener, says what it has to say, and is shown.
fn greet_everywhere(site: &Site, carriers: &Carriers, round: usize) {
    for (place, (name, adapters)) in DOORS.iter().enumerate() {
        for adapter in *adapters {
            let number = round * 100 + place * 10 + adapter;
            let peer = carriers.peer(site, name, &format!("good-{number}"));
            let device = if *adapter == 0 {
                let mut terminal = Terminal::on(meter(&format!("5{number:013}")), peer);
                assert_eq!((terminal.register().result, terminal.daily().result), (0, 0), "{name}");
                format!("usp/5{number:013}")
            } else {
                let mut other = QianweiMeter::on(Meter::plain(&format!("5{number:019}")), peer);
                assert_eq!(other.report(), (0, false), "{name}");
                format!("qianwei/5{number:019}")
            };
            assert!(!site.readings(&device, "working-volume").is_empty(), "{name}: {device}");
        }
    }
}

fn tell(played: &[Played], grown_kib: u64, begun: Instant) {
    let mut kinds: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for p in played {
        let row = kinds.entry(p.case.door).or_default();
        row[0] += 1;
        row[1] += usize::from(p.case.hangs_up);
        row[2] += usize::from(p.answered);
        row[3] += usize::from(p.closed_by_station && !p.answered);
    }
    println!("{:?}, memory {grown_kib} KiB more", begun.elapsed());
    for (door, [all, hung_up, answered, closed]) in kinds {
        println!(
            "{door}: {all} cases; {hung_up} hung up; after {answered} a good frame was answered, {closed} were closed"
        );
    }
    let most = played.iter().map(|p| p.case.bytes.len()).max().unwrap_or_default();
    println!("the largest piece had {most} bytes, a buffer holds {}", limits::FRAME_BYTES_MAX);
}

fn memory_kib(site: &Site) -> u64 {
    let pid = site.pid().expect("a running station");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

fn which_cases() -> Vec<usize> {
    match from_environment("CASE") {
        Some(number) => vec![number as usize],
        None => (0..CASES).collect(),
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(format!("POLYMETER_DAMAGE_{name}")).ok().map(|text| text.parse().expect("a number"))
}
