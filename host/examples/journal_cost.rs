//! What the journal and the views cost: microseconds an entry, and how long a station takes to come back.
//!
//! ```text
//! journal_cost append DIR ENTRIES [IN_FLIGHT]   append reports, so many waiting at a time
//! journal_cost fold DIR [DEVICES]               fold what is there, once, and tell the CPU time
//! journal_cost fill DIR MEGABYTES               fill a journal and leave as `kill -9` would
//! journal_cost reopen DIR                       open it again and append one entry
//! journal_cost verify DIR
//! ```

use polymeter::clock::Clock;
use polymeter::journal::{AdapterRef, Entry, Fact, FrameFact, FrameOutcome, Identity, Journal, Options};
use polymeter::model::{
    Civil, DeviceKey, Digest, HexBytes, Message, Quality, Quantity, Register, Report, ReportCause, Role, Seq, Unit,
};
use polymeter::views::Views;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

const START_MS: i64 = 1_710_460_800_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (command, dir) = (args[1].as_str(), Path::new(&args[2]));
    let number = |at: usize, or: u64| args.get(at).map_or(or, |text| text.parse().expect("a number"));
    match command {
        "append" => append(dir, number(3, 500_000), number(4, 4_000) as usize),
        "fold" => fold(dir),
        "fill" => fill(dir, number(3, 1_024)),
        "reopen" => reopen(dir),
        "verify" => verify(dir),
        other => panic!("`{other}` is none of append, fold, fill, reopen, verify"),
    }
}

fn open(dir: &Path) -> Journal {
    let identity = Identity { station: "bench".into(), epoch: 1 };
    Journal::open(dir, &Options { identity, now_ms: START_MS }).expect("the journal opens")
}

/// A daily report of ten values, 100,000 devices in turn, one round a day.
fn report(number: u64) -> Entry {
    let (device, day) = (number % 100_000, number / 100_000);
    // A fixed shuffle: devices do not report in the order of their numbers.
    let device = device * 48_271 % 100_003;
    let key = DeviceKey::new("usp", &format!("5000{device:010}")).expect("an address");
    let at = Civil(START_MS / 1_000 + day as i64 * 86_400);
    let quantities = [
        (Quantity::WorkingVolume, Unit::CubicMetre, Role::Cumulative),
        (Quantity::StandardVolume, Unit::CubicMetre, Role::Cumulative),
        (Quantity::WorkingFlow, Unit::CubicMetrePerHour, Role::Instantaneous),
        (Quantity::StandardFlow, Unit::CubicMetrePerHour, Role::Instantaneous),
        (Quantity::Temperature, Unit::DegreeCelsius, Role::Instantaneous),
        (Quantity::Pressure, Unit::Pascal, Role::Instantaneous),
        (Quantity::Balance, Unit::Yuan, Role::Instantaneous),
        (Quantity::BatteryVoltage, Unit::Volt, Role::Instantaneous),
        (Quantity::SignalRsrp, Unit::DecibelMilliwatt, Role::Instantaneous),
        (Quantity::SignalSnr, Unit::Decibel, Role::Instantaneous),
    ];
    let registers = quantities.into_iter().enumerate().map(|(at, (quantity, unit, role))| Register {
        quantity,
        unit,
        role,
        quality: Quality::Good,
        exponent: -2,
        mantissa: (number * 37 + at as u64 * 1_000) as i64,
        at: None,
        storage: 0,
        tariff: 0,
        channel: 0,
        code: 0,
    });
    let report = Report {
        subject: None,
        cause: ReportCause::Daily,
        at: Some(at),
        registers: registers.collect(),
        series: vec![],
        valve: None,
        alarms: vec![],
        raw_status: 0,
        more_follows: false,
    };
    let fact = FrameFact {
        listener: "main".into(),
        peer: "10.1.2.3:45678".into(),
        session: number,
        device: Some(key),
        adapter: Some(AdapterRef { name: "usp".into(), digest: Digest([7; 32]), profile: String::new() }),
        raw: HexBytes(vec![0x68; 120]),
        outcome: FrameOutcome::Decoded {
            messages: vec![Message::Report(report)],
            memory: None,
            duplicate: false,
            held: false,
            behind: Vec::new(),
        },
    };
    // Ten reports a millisecond.
    Entry { at_ms: START_MS + day as i64 * 86_400_000 + (number / 10) as i64, fact: Fact::Frame(fact) }
}

fn append(dir: &Path, entries: u64, in_flight: usize) {
    let journal = open(dir);
    let first = journal.reader().last_seq().0;
    let making = (0..10_000).map(report).collect::<Vec<_>>();
    let (begin, cpu) = (Instant::now(), cpu_us());
    drop((0..10_000).map(report).collect::<Vec<_>>());
    let making_us = (cpu_us() - cpu) / 10_000.0;
    println!("making an entry: {making_us:.2} µs CPU ({:.0} ms)", begin.elapsed().as_secs_f64() * 1e3);
    drop(making);
    let (begin, cpu) = (Instant::now(), cpu_us());
    let mut waiting = VecDeque::with_capacity(in_flight);
    for number in first..first + entries {
        if waiting.len() == in_flight {
            let receipt: polymeter::journal::Receipt = waiting.pop_front().expect("not empty");
            receipt.wait().expect("appended");
        }
        waiting.push_back(journal.submit_blocking(report(number)).expect("has room"));
    }
    for receipt in waiting {
        receipt.wait().expect("appended");
    }
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), (cpu_us() - cpu) / entries as f64);
    let commits = journal.health().commits;
    println!(
        "{entries} entries, {in_flight} in flight: {:.0}/s, {:.2} µs CPU an entry besides making it, {} a commit",
        entries as f64 / wall,
        cpu - making_us,
        entries / commits
    );
    let (begin, bytes) = (Instant::now(), journal.reader().days().expect("days").iter().map(|d| d.bytes).sum::<u64>());
    journal.close();
    println!(
        "{} MB, {:.0} bytes an entry, closed in {:?}",
        bytes >> 20,
        bytes as f64 / entries as f64,
        begin.elapsed()
    );
}

fn fold(dir: &Path) {
    let journal = open(dir);
    let clock = Clock::new("Asia/Shanghai").expect("a zone");
    let total = journal.reader().last_seq().0;
    let (begin, cpu) = (Instant::now(), cpu_us());
    let (mut last, mut last_cpu) = (0, cpu);
    Views::rebuild(dir, &journal, &clock, &mut |progress| {
        if progress.entries - last >= 100_000 || progress.entries == total {
            let now = cpu_us();
            let us = (now - last_cpu) / (progress.entries - last).max(1) as f64;
            println!("{:>9} entries: {us:.2} µs CPU an entry", progress.entries);
            (last, last_cpu) = (progress.entries, now);
        }
    })
    .expect("folds");
    let wall = begin.elapsed().as_secs_f64();
    println!("{total} entries folded in {wall:.2} s: {:.2} µs CPU an entry", (cpu_us() - cpu) / total as f64);
    println!("views: {} MB", std::fs::metadata(dir.join("views.redb")).expect("the file").len() >> 20);
}

fn fill(dir: &Path, megabytes: u64) {
    let journal = open(dir);
    let mut number = journal.reader().last_seq().0;
    loop {
        let receipts: Vec<_> =
            (0..4_000).map(|n| journal.submit_blocking(report(number + n)).expect("has room")).collect();
        number += 4_000;
        for receipt in receipts {
            receipt.wait().expect("appended");
        }
        let bytes = journal.reader().days().expect("days").iter().map(|d| d.bytes).sum::<u64>();
        if bytes >> 20 >= megabytes {
            println!("{number} entries, {} MB; leaving without closing", bytes >> 20);
            std::process::abort();
        }
    }
}

fn reopen(dir: &Path) {
    let begin = Instant::now();
    let journal = open(dir);
    let opened = begin.elapsed();
    let seq = journal.append_blocking(report(0)).expect("appends");
    println!("open after {opened:?}, entry {} durable after {:?}", seq.0, begin.elapsed());
    let begin = Instant::now();
    let views = Views::open(dir, &journal, &Clock::new("Asia/Shanghai").expect("a zone")).expect("views");
    println!("views open at entry {} after {:?}", views.cursor().0, begin.elapsed());
    std::process::abort();
}

fn verify(dir: &Path) {
    let journal = open(dir);
    let begin = Instant::now();
    let report = journal.reader().verify(&mut |_| {}).expect("reads");
    println!("{report:?}\n{:?}", begin.elapsed());
    assert_eq!(report.last, journal.reader().last_seq());
    assert!(report.first <= Seq(1) || report.broken.is_none());
}

/// CPU time of this process so far, all threads.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: f64 = stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0);
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let all: f64 = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()))
        .sum();
    all.max(own) / 1e3
}
