//! The views over a real journal: what they show, that a piecewise fold, one fold and a rebuild agree, and what
//! happens to repeated, contradicting, held and undecodable frames.

use super::*;
use crate::journal::{AdapterRef, Fact, FrameFact, FrameOutcome, Identity, Options};
use crate::model::{Digest, HexBytes, Message, Quality, Quantity, Register, Report, ReportCause, Role, Unit};
use std::path::PathBuf;

/// 2024-03-15T00:20:05 UTC.
const NOON_MS: i64 = 1_710_462_005_000;

/// A data directory that goes with its test.
struct Station {
    dir: PathBuf,
    journal: Journal,
    clock: Clock,
}

impl Station {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("polymeter-views-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let identity = Identity { station: "north".into(), epoch: 1 };
        let journal = Journal::open(&dir, &Options { identity, now_ms: NOON_MS }).expect("opens");
        Self { dir, journal, clock: Clock::new("Asia/Shanghai").expect("zone") }
    }

    fn open(&self) -> Views {
        Views::open(&self.dir, &self.journal, &self.clock).expect("opens")
    }

    fn tell(&self, fact: Fact) -> Seq {
        self.journal.append_blocking(Entry { at_ms: NOON_MS, fact }).expect("appends")
    }

    /// Views that have folded everything.
    fn views(&self) -> Views {
        let views = self.open();
        assert!(
            views.wait_caught_up(self.journal.reader().last_seq(), Duration::from_secs(20)),
            "{:?}",
            views.health()
        );
        views
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn device(address: &str) -> DeviceKey {
    DeviceKey::new("usp", address).expect("a device")
}

fn decoded(messages: Vec<Message>) -> FrameOutcome {
    FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false }
}

fn frame(address: &str, outcome: FrameOutcome) -> Fact {
    Fact::Frame(FrameFact {
        listener: "main".into(),
        peer: "127.0.0.1:1".into(),
        session: 1,
        device: Some(device(address)),
        adapter: Some(AdapterRef { name: "usp".into(), digest: Digest([7; 32]), profile: String::new() }),
        raw: HexBytes(vec![0x68, 0x16]),
        outcome,
    })
}

fn register(mantissa: i64) -> Register {
    Register {
        quantity: Quantity::StandardVolume,
        unit: Unit::CubicMetre,
        role: Role::Cumulative,
        quality: Quality::Good,
        exponent: -2,
        mantissa,
        at: None,
        storage: 0,
        tariff: 0,
        channel: 0,
        code: 0,
    }
}

fn report(at: Option<Civil>, registers: Vec<Register>) -> Report {
    Report {
        subject: None,
        cause: ReportCause::Daily,
        at,
        registers,
        series: vec![],
        valve: None,
        alarms: vec![],
        raw_status: 0,
        more_follows: false,
    }
}

fn volume(address: &str, at: i64, mantissa: i64) -> Fact {
    frame(address, decoded(vec![Message::Report(report(Some(Civil(at)), vec![register(mantissa)]))]))
}

fn readings(views: &Views, address: &str) -> Vec<(i64, i64, u64, bool)> {
    let filter =
        ReadingFilter { from: Civil(i64::MIN / 2), to: Civil(i64::MAX / 2), quantity: None, with_superseded: true };
    let page = views.readings(&device(address), &filter, None, 1_000).expect("reads");
    page.rows.iter().map(|r| (r.at.0, r.register.mantissa, r.source.0, r.superseded)).collect()
}

#[test]
fn the_same_reading_twice_is_one_and_another_value_keeps_both() {
    let station = Station::new("readings");
    for (at, mantissa) in [(1_000, 11), (1_000, 11), (90_000, 12), (1_000, 13), (1_000, 13)] {
        station.tell(volume("1", at, mantissa));
    }
    let views = station.views();
    assert_eq!(readings(&views, "1"), [(1_000, 13, 4, false), (1_000, 11, 1, true), (90_000, 12, 3, false)]);
    let shown = views.device(&device("1")).expect("reads").expect("known");
    assert_eq!((shown.counts.frames, shown.counts.reports), (5, 5));
}
