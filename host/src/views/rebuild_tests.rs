//! One result, however the entries were folded: at once, in pieces, again from the start, or after `kill -9`.

use super::fold::Fold;
use super::tests::{NOON_MS, Station, decoded, device, frame, register, report};
use super::*;
use crate::journal::{
    AdapterFact, AdapterRef, AdapterStep, CommandFact, CommandStep, Entry, Fact, FaultKind, FrameOutcome, Part,
    ProfileFact, ProfileScope, ProfileStep, RegistryFact, Retold,
};
use crate::model::{
    Command, DeviceKind, Digest, Event, Heartbeat, HexBytes, Initiator, KeySlot, Message, Particulars, ReadScope,
    Record, Register, Relayed, Report, Sample, Series, ValveState, ValveStatus,
};
use proptest::prelude::*;
use redb::Durability;

/// Every table, every row, as text.
fn dump(store: &Store) -> Vec<String> {
    let snapshot = store.read().expect("reads");
    let mut rows = Vec::new();
    super::fold::for_each_row(&snapshot, &mut |row| rows.push(row)).expect("reads");
    rows
}

/// The first row that differs.
fn difference(one: &[String], other: &[String]) -> Option<(Option<String>, Option<String>)> {
    let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
    Some((one.get(at).cloned(), other.get(at).cloned()))
}

fn any_report() -> impl Strategy<Value = Message> {
    let value = (0..4_i64, 0..3_i64, 0..3_u32).prop_map(|(day, mantissa, code)| Register {
        at: Some(Civil(day * 86_400)),
        code,
        ..register(mantissa)
    });
    let samples = prop::collection::vec((0..5_i64, 0..3_i64), 0..3);
    let status = (prop::option::of(0..3_usize), prop::collection::vec(0..3_usize, 0..3));
    let subject = prop::option::weighted(0.2, 0..4_u32);
    (prop::collection::vec(value, 0..4), samples, status, subject).prop_map(|(registers, samples, status, subject)| {
        let r = register(0);
        let samples = samples.into_iter().map(|(day, mantissa)| Sample { at: Civil(day * 86_400), mantissa }).collect();
        let series = Series {
            quantity: r.quantity,
            unit: r.unit,
            role: r.role,
            exponent: r.exponent,
            storage: 0,
            tariff: 0,
            channel: 0,
            code: 0,
            samples,
        };
        let states = [ValveState::Open, ValveState::ClosedForced, ValveState::Fault];
        let valve = status.0.map(|s| ValveStatus { state: states[s], by: Initiator::Unknown, reason: None });
        let alarms = status.1.into_iter().map(|a| ["tilt", "low-battery", "strong-magnet"][a].to_owned()).collect();
        let subject = subject.map(|n| format!("{n}"));
        Message::Report(Report { subject, series: vec![series], valve, alarms, ..report(None, registers) })
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let event = (0..4_i64, prop::option::of(0..2_u32)).prop_map(|(at, subject)| {
        Message::Event(Event {
            subject: subject.map(|n| format!("{n}")),
            code: "tilt".into(),
            cleared: false,
            at: (at > 0).then_some(Civil(at)),
            value: None,
            raw_code: 0,
        })
    });
    let heartbeat =
        any::<bool>().prop_map(|clock| Message::Heartbeat(Heartbeat { clock: clock.then_some(Civil(5)), valve: None }));
    prop_oneof![4 => any_report(), 1 => event, 1 => heartbeat]
}

fn any_outcome() -> impl Strategy<Value = FrameOutcome> {
    let good = (prop::collection::vec(any_message(), 0..3), any::<bool>(), 0..8_u8, prop::option::of(any::<u8>()));
    let good = good.prop_map(|(messages, held, duplicate, memory)| FrameOutcome::Decoded {
        messages,
        memory: memory.map(|byte| HexBytes(vec![byte])),
        duplicate: duplicate == 0,
        held,
        behind: Vec::new(),
    });
    let bad = prop_oneof![Just(FaultKind::Corrupt), Just(FaultKind::Trap)];
    prop_oneof![3 => good, 1 => bad.prop_map(|kind| FrameOutcome::Fault { kind, detail: "bad".into() })]
}

/// Now and then of a carrier, with a part of somebody behind it.
fn any_carrying() -> impl Strategy<Value = FrameOutcome> {
    (any_outcome(), any_outcome(), prop::option::weighted(0.3, 0..5_u32)).prop_map(|(mut outer, inner, behind)| {
        if let (FrameOutcome::Decoded { messages, behind: parts, .. }, Some(n)) = (&mut outer, behind) {
            let (target, protocol, payload) = (n.to_string(), "raw".into(), HexBytes(vec![1, 2]));
            let relayed = Relayed { target, protocol, channel: 1, payload, correlation: None };
            let (message, device) = (messages.len() as u16, Some(device(&n.to_string())));
            messages.push(Message::Relayed(relayed));
            parts.push(Part { message, from: 0, bytes: 2, device, adapter: None, outcome: inner });
        }
        outer
    })
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let key = |n: u32| device(&n.to_string());
    let step = prop_oneof![
        Just(CommandStep::Requested {
            command: Command::Read { scope: ReadScope::Current },
            by: "anna".into(),
            note: String::new(),
            expires_ms: 1,
            round: None,
        }),
        Just(CommandStep::TimedOut { attempt: 1 }),
        Just(CommandStep::KeyMissing(KeySlot { device: key(1), slot: "1".into() })),
        Just(CommandStep::Expired),
    ];
    let steps = [AdapterStep::Activated, AdapterStep::Removed];
    prop_oneof![
        12 => (0..5_u32, any_carrying()).prop_map(|(n, outcome)| frame(&n.to_string(), outcome)),
        2 => (1..40_u64, 0..3_u8, any_outcome(), prop::option::of(0..5_u32)).prop_map(move |(frame, digest, outcome, n)| {
            let (adapter, device, profile) = (Digest([digest; 32]), n.map(key), String::new());
            Fact::Redecoded { frame, adapter, outcome, device, profile, part: 0 }
        }),
        2 => (1..40_u64, 0..3_u64, any_outcome(), prop::option::of(0..5_u32)).prop_map(move |(frame, later, outcome, n)| {
            let adapter = AdapterRef { name: "usp".into(), digest: Digest([1; 32]), profile: String::new() };
            let (before, device) = (frame + later, n.map(key));
            Fact::Corrected { frame, before, adapter, device, outcome, by: "anna".into(), why: "scale".into() }
        }),
        2 => (1..40_u64, 0..3_u64, 0..3_u32, any_outcome(), prop::option::of(0..5_u32)).prop_map(
            move |(frame, later, part, outcome, n)| {
                let adapter = AdapterRef { name: "usp".into(), digest: Digest([1; 32]), profile: String::new() };
                let (before, device) = (frame + later, n.map(key));
                let (by, why) = ("anna".into(), "scale".into());
                Fact::Reread { frame, part, before, adapter, device, outcome, by, why }
            }
        ),
        2 => any_registry(),
        2 => any_profile(),
        1 => (0..5_u32).prop_map(move |n| Fact::DeviceAdopted { device: key(n), by: "anna".into() }),
        1 => (1..4_u64, step).prop_map(move |(id, step)| Fact::Command(CommandFact { id, device: key(1), step })),
        1 => (0..2_u8, 0..2_usize).prop_map(move |(digest, step)| {
            let step = steps[step].clone();
            let digest = Digest([digest; 32]);
            Fact::Adapter(AdapterFact { name: "usp".into(), version: "1".into(), digest, step, by: "anna".into() })
        }),
        1 => (0..3_u32, prop::option::of(any::<u8>())).prop_map(|(slot, sealed)| Fact::KeySet {
            device: "usp/1".into(),
            slot: slot.to_string(),
            sealed: sealed.map(|byte| HexBytes(vec![byte])),
            by: "anna".into()
        }),
    ]
}

fn any_profile() -> impl Strategy<Value = Fact> {
    let to = prop_oneof![
        (0..2_u32).prop_map(|n| ProfileScope::Device(device(&n.to_string()))),
        Just(ProfileScope::Model("G4".into())),
        Just(ProfileScope::Listener("nb".into())),
    ];
    let step = prop_oneof![
        (1..4_u32).prop_map(|version| ProfileStep::Set { version, options: "{}".into() }),
        to.clone().prop_map(|to| ProfileStep::Bound { to }),
        to.prop_map(|from| ProfileStep::Unbound { from }),
        (1..4_u32).prop_map(|version| ProfileStep::Removed { version }),
    ];
    let told = prop::option::weighted(0.3, (1..40_u64, 0..3_i64));
    (0..2_u32, step, told).prop_map(|(name, step, told)| {
        let retold = told.map(|(seq, at_ms)| Retold { seq: Seq(seq), at_ms });
        let (profile, adapter, by) = (name.to_string(), "usp".into(), "anna".into());
        Fact::Profile(ProfileFact { profile, adapter, step, by, why: String::new(), retold })
    })
}

fn any_registry() -> impl Strategy<Value = Fact> {
    let record = (0..6_u32, prop::option::of(0..3_u32), 0..3_usize).prop_map(|(n, parent, district)| Record {
        device: device(&n.to_string()),
        about: Particulars {
            kind: DeviceKind::Meter,
            manufacturer: String::new(),
            model: String::new(),
            adapter: String::new(),
            profile: String::new(),
            parent: parent.map(|n| device(&n.to_string())),
            protocol: String::new(),
            channel: None,
            district: ["", "West", "East"][district].into(),
            customer: String::new(),
            key_slot: String::new(),
            line_address: String::new(),
            baud: None,
            line_format: String::new(),
        },
    });
    let told = prop::option::weighted(0.3, (1..40_u64, 0..3_i64));
    (prop::collection::vec(record, 0..4), prop::collection::vec(0..6_u32, 0..2), told).prop_map(|(set, gone, told)| {
        let withdrawn = gone.iter().map(|n| device(&n.to_string())).collect();
        let retold = told.map(|(seq, at_ms)| Retold { seq: Seq(seq), at_ms });
        Fact::Registry(RegistryFact { set, withdrawn, by: "anna".into(), retold })
    })
}

/// Folds the journal in pieces of these sizes.
fn fold_in_pieces(station: &Station, store: &Store, pieces: &[usize]) {
    let reader = station.journal.reader();
    let mut fold = Fold::load(&store.read().expect("reads"), station.clock.clone(), reader.clone()).expect("loads");
    let (mut from, mut piece) = (Seq(1), 0);
    loop {
        let entries = reader.read(from, pieces[piece % pieces.len()], usize::MAX).expect("reads");
        let Some(last) = entries.last().map(|stored| stored.seq) else { return };
        let snapshot = store.read().expect("reads");
        fold.begin(&snapshot).expect("begins");
        for stored in entries {
            fold.entry(&snapshot, stored.seq, &stored.entry.expect("decodes")).expect("folds");
        }
        drop(snapshot);
        store.write(last, Durability::None, |txn| fold.write(txn)).expect("writes");
        // Now and then as after a restart: nothing is left in memory.
        if piece % 3 == 2 {
            fold = Fold::load(&store.read().expect("reads"), station.clock.clone(), reader.clone()).expect("loads");
        }
        (from, piece) = (Seq(last.0 + 1), piece + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn pieces_and_rebuild_agree(
        facts in prop::collection::vec((any_fact(), 0..3_i64), 1..60),
        pieces in prop::collection::vec(1..20_usize, 1..5),
    ) {
        let station = Station::new("pieces");
        let receipts: Vec<_> = facts
            .into_iter()
            .map(|(fact, hours)| Entry { at_ms: NOON_MS + hours * 3_600_000, fact })
            .map(|entry| station.journal.submit_blocking(entry).expect("has room"))
            .collect();
        receipts.into_iter().for_each(|receipt| { receipt.wait().expect("appends"); });
        let path = station.dir.join("pieces.redb");
        let store = Store::open(&path).expect("opens");
        fold_in_pieces(&station, &store, &pieces);
        Views::rebuild(&station.dir, &station.journal, &station.clock, &mut |_| {}).expect("rebuilds");
        let rebuilt = Store::open(&station.dir.join(FILE)).expect("opens");
        prop_assert_eq!(difference(&dump(&store), &dump(&rebuilt)), None);
    }
}

/// Not a test by itself: the station that `views_and_journal_survive_kill` kills.
#[test]
#[ignore = "run by views_and_journal_survive_kill"]
fn victim() {
    let Ok(dir) = std::env::var("POLYMETER_VICTIM_DIR") else { return };
    let journal = Journal::open(dir.as_ref(), &super::tests::options()).expect("opens");
    let clock = Clock::new("Asia/Shanghai").expect("zone");
    let views = Views::open(dir.as_ref(), &journal, &clock).expect("opens");
    let start = journal.reader().last_seq().0;
    for number in start.. {
        let at = Civil((number / 50) as i64 * 3_600);
        let message = Message::Report(report(Some(at), vec![register(number as i64)]));
        // A millisecond of station time for each, so that the views also make commits durable now and then.
        let entry =
            Entry { at_ms: NOON_MS + number as i64, fact: frame(&(number % 50).to_string(), decoded(vec![message])) };
        let seq = journal.append_blocking(entry).expect("appends");
        println!("acknowledged {} {}", seq.0, views.cursor().0);
    }
}

#[test]
fn views_and_journal_survive_kill() {
    let station = Station::new("kill");
    let dir = station.dir.clone();
    station.leave();
    for round in 0..8_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["views::rebuild_tests::victim", "--exact", "--ignored", "--nocapture"])
            .env("POLYMETER_VICTIM_DIR", &dir)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
        let wanted = 200 + round * 130;
        let mut acknowledged = 0;
        for line in
            lines.by_ref().map_while(Result::ok).filter(|line| line.starts_with("acknowledged")).take(wanted as usize)
        {
            acknowledged = line.split(' ').nth(1).and_then(|seq| seq.parse().ok()).unwrap_or(acknowledged);
        }
        child.kill().expect("kills");
        for line in lines.map_while(Result::ok).filter(|line| line.starts_with("acknowledged")) {
            acknowledged = line.split(' ').nth(1).and_then(|seq| seq.parse().ok()).unwrap_or(acknowledged);
        }
        child.wait().expect("ends");
        let station = Station::at(dir.clone());
        let reader = station.journal.reader();
        assert!(reader.last_seq().0 >= acknowledged, "{} < {acknowledged}", reader.last_seq().0);
        let verified = reader.verify(&mut |_| {}).expect("walks");
        assert_eq!((verified.broken, verified.last), (None, reader.last_seq()));
        station.views().close();
        let folded = dump(&Store::open(&dir.join(FILE)).expect("opens"));
        Views::rebuild(&dir, &station.journal, &station.clock, &mut |_| {}).expect("rebuilds");
        let rebuilt = dump(&Store::open(&dir.join(FILE)).expect("opens"));
        assert_eq!(difference(&folded, &rebuilt), None, "round {round}");
        station.leave();
    }
    std::fs::remove_dir_all(dir).expect("cleans up");
}
