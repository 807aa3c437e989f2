//! The views over a real journal: what they show of each kind of entry, and what happens to repeated, contradicting,
//! held and undecodable frames.

use super::*;
use crate::journal::{
    AdapterFact, AdapterRef, AdapterStep, CommandFact, CommandStep, Entry, Fact, FaultKind, FrameFact, FrameOutcome,
    Identity, Options, Role,
};
use crate::model::{
    AnswerBody, Capabilities, Command, DeviceKind, Digest, Event, Heartbeat, HexBytes, Initiator, Message, Outcome,
    Particulars, Quality, Quantity, ReadScope, Register, Registration, Report, ReportCause, Role as Aspect, Unit,
    ValveState, ValveStatus,
};
use std::path::PathBuf;

/// 2024-03-15T00:20:05 UTC.
pub(super) const NOON_MS: i64 = 1_710_462_005_000;

/// A data directory that goes with its test.
pub(super) struct Station {
    pub dir: PathBuf,
    pub journal: Journal,
    pub clock: Clock,
}

impl Station {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("polymeter-views-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self::at(dir)
    }

    pub fn at(dir: PathBuf) -> Self {
        let journal = Journal::open(&dir, &options()).expect("opens");
        Self { dir, journal, clock: Clock::new("Asia/Shanghai").expect("zone") }
    }

    /// Closes and leaves the directory.
    pub fn leave(mut self) {
        self.journal.close();
        self.dir = PathBuf::from("/nonexistent");
    }

    pub fn open(&self) -> Views {
        Views::open(&self.dir, &self.journal, &self.clock).expect("opens")
    }

    pub fn tell(&self, fact: Fact) -> Seq {
        self.journal.append_blocking(Entry { at_ms: NOON_MS, fact }).expect("appends")
    }

    /// Views that have folded everything.
    pub fn views(&self) -> Views {
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

pub(super) fn options() -> Options {
    Options { identity: Identity { station: "north".into(), epoch: 1 }, now_ms: NOON_MS }
}

pub(super) fn device(address: &str) -> DeviceKey {
    DeviceKey::new("usp", address).expect("a device")
}

pub(super) fn decoded(messages: Vec<Message>) -> FrameOutcome {
    FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind: Vec::new() }
}

pub(super) fn frame(address: &str, outcome: FrameOutcome) -> Fact {
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

pub(super) fn register(mantissa: i64) -> Register {
    Register {
        quantity: Quantity::StandardVolume,
        unit: Unit::CubicMetre,
        role: Aspect::Cumulative,
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

pub(super) fn report(at: Option<Civil>, registers: Vec<Register>) -> Report {
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

pub(super) fn volume(address: &str, at: i64, mantissa: i64) -> Fact {
    frame(address, decoded(vec![Message::Report(report(Some(Civil(at)), vec![register(mantissa)]))]))
}

pub(super) fn readings(views: &Views, address: &str) -> Vec<(i64, i64, u64, bool)> {
    let filter =
        ReadingFilter { from: Civil(i64::MIN / 2), to: Civil(i64::MAX / 2), quantity: None, with_superseded: true };
    let page = views.readings(&device(address), &filter, None, 1_000).expect("reads");
    page.rows.iter().map(|r| (r.at.0, r.register.mantissa, r.source.0, r.superseded)).collect()
}

/// What the registry says of a meter behind usp/9.
pub(super) fn behind(key: &str) -> Record {
    let (none, parent) = (String::new, Some("usp/9".parse().expect("a key")));
    let about = Particulars {
        kind: DeviceKind::Meter,
        manufacturer: none(),
        model: none(),
        adapter: none(),
        profile: none(),
        parent,
        protocol: none(),
        channel: None,
        district: none(),
        customer: none(),
        key_slot: none(),
        line_address: none(),
        baud: None,
        line_format: none(),
    };
    Record { device: key.parse().expect("a key"), about }
}

/// What must be told again before the journal may drop what is older than this.
pub(super) fn standing(views: &Views, before: u64) -> Vec<Fact> {
    let mut told = Vec::new();
    let all = views.standing_before(Seq(before), |fact| {
        told.push(fact);
        Ok::<_, ViewError>(())
    });
    all.expect("reads");
    told
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
    assert_eq!((shown.oldest_day, shown.newest_day), (Some(Day(0)), Some(Day(1))));
    let first = views.frames(&device("1"), None, Seq(1), 3).expect("reads");
    assert_eq!(first.rows, [Seq(5), Seq(4), Seq(3)]);
    let second = views.frames(&device("1"), first.next.as_deref(), Seq(1), 3).expect("reads");
    assert_eq!(second, Page { rows: vec![Seq(2), Seq(1)], next: None });
}

#[test]
fn values_go_to_their_own_time_or_the_report_s_or_the_reception_s() {
    let station = Station::new("times");
    let own = Register { at: Some(Civil(5)), ..register(1) };
    station.tell(frame("1", decoded(vec![Message::Report(report(Some(Civil(7)), vec![own, register(2)]))])));
    station.tell(frame("1", decoded(vec![Message::Report(report(None, vec![register(3)]))])));
    let views = station.views();
    let received = station.clock.civil(NOON_MS).0;
    assert_eq!(readings(&views, "1"), [(5, 1, 1, false), (7, 2, 1, false), (received, 3, 2, false)]);
}

#[test]
fn pages_of_readings_meet_at_days() {
    let station = Station::new("pages");
    for day in 0..10 {
        for hour in 0..3 {
            station.tell(volume("1", day * 86_400 + hour * 3_600, day * 10 + hour));
        }
    }
    let views = station.views();
    let from = Civil(86_400 + 1);
    let filter = ReadingFilter { from, to: Civil(9 * 86_400), quantity: None, with_superseded: false };
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = views.readings(&device("1"), &filter, after.as_deref(), 4).expect("reads");
        seen.extend(page.rows.iter().map(|r| r.register.mantissa));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let expected: Vec<i64> = (1..10).flat_map(|day| (0..3).map(move |hour| day * 10 + hour)).collect();
    assert_eq!(seen, expected[1..expected.len() - 2]);
    let newest = views.newest_readings(&device("1")).expect("reads");
    assert_eq!(newest.iter().map(|r| r.register.mantissa).collect::<Vec<_>>(), [92]);
}

#[test]
fn a_held_device_is_kept_aside_and_folded_once_adopted() {
    let station = Station::new("held");
    let held = |at: i64, mantissa: i64| match volume("9", at, mantissa) {
        Fact::Frame(mut fact) => {
            if let FrameOutcome::Decoded { held, memory, .. } = &mut fact.outcome {
                *held = true;
                *memory = Some(HexBytes(vec![1]));
            }
            Fact::Frame(fact)
        }
        other => other,
    };
    station.tell(held(1_000, 1));
    station.tell(held(2_000, 2));
    let views = station.views();
    let shown = views.device(&device("9")).expect("reads").expect("known");
    assert!(shown.held && !shown.adopted);
    assert_eq!((shown.counts.frames, shown.counts.held_frames, shown.memory.0.len()), (2, 2, 1));
    assert_eq!(readings(&views, "9"), []);
    let held_only = DeviceFilter { held: Some(true), ..DeviceFilter::default() };
    assert_eq!(views.devices(&held_only, None, 10).expect("reads").rows.len(), 1);
    station.tell(held(1_000, 3));
    station.tell(Fact::DeviceAdopted { device: device("9"), by: "anna".into() });
    // The session may not have heard of it yet.
    let last = station.tell(held(3_000, 4));
    assert!(views.wait_caught_up(last, Duration::from_secs(20)));
    assert_eq!(
        readings(&views, "9"),
        [(1_000, 3, 3, false), (1_000, 1, 1, true), (2_000, 2, 2, false), (3_000, 4, 5, false)]
    );
    let shown = views.device(&device("9")).expect("reads").expect("known");
    assert!(!shown.held && shown.adopted);
    assert_eq!((shown.counts.held_frames, shown.counts.reports), (0, 4));
    assert_eq!(views.devices(&held_only, None, 10).expect("reads").rows.len(), 0);
    assert_eq!(standing(&views, 100), [Fact::DeviceAdopted { device: device("9"), by: "anna".into() }]);
}

#[test]
fn a_frame_from_quarantine_is_decoded_once() {
    let station = Station::new("redecode");
    let fault = |kind| FrameOutcome::Fault { kind, detail: "byte 3".into() };
    let (first, second) =
        (station.tell(frame("1", fault(FaultKind::Corrupt))), station.tell(frame("1", fault(FaultKind::Trap))));
    station.tell(volume("1", 1_000, 7));
    let views = station.views();
    assert_eq!(views.quarantine(&QuarantineFilter::default(), None, 10).expect("reads").rows.len(), 2);
    let again = |frame: Seq, outcome| Fact::Redecoded {
        frame: frame.0,
        adapter: Digest([8; 32]),
        outcome,
        device: Some(device("1")),
        profile: String::new(),
        part: 0,
    };
    let messages = |mantissa| vec![Message::Report(report(Some(Civil(1_000)), vec![register(mantissa)]))];
    station.tell(again(first, decoded(messages(5))));
    station.tell(again(first, decoded(messages(6))));
    let last = station.tell(again(second, fault(FaultKind::OutOfRange)));
    assert!(views.wait_caught_up(last, Duration::from_secs(20)));
    // The frame is older than the one that could be read at once, so its value is the superseded one.
    assert_eq!(readings(&views, "1"), [(1_000, 7, 3, false), (1_000, 5, 1, true)]);
    let left = views.quarantine(&QuarantineFilter::default(), None, 10).expect("reads").rows;
    assert_eq!(left.iter().map(|row| (row.seq, row.kind)).collect::<Vec<_>>(), [(second, FaultKind::OutOfRange)]);
    let counts = views.quarantine_counts().expect("reads");
    assert_eq!(counts, [QuarantineCount { adapter: "usp".into(), kind: "out-of-range".into(), frames: 1 }]);
    let day = station.clock.civil(NOON_MS).day();
    let row = &views.days(day, day).expect("reads")[0];
    assert_eq!((row.counts.frames, row.counts.faults, row.counts.redecoded, row.counts.reports), (3, 2, 1, 2));
}

#[test]
fn strangers_faults_make_no_device() {
    let station = Station::new("strangers");
    station.tell(frame("666", FrameOutcome::Fault { kind: FaultKind::Refused, detail: String::new() }));
    let views = station.views();
    assert_eq!(views.device(&device("666")).expect("reads"), None);
    assert_eq!(views.fleet().expect("reads"), Fleet::default());
}

#[test]
fn a_carrier_speaks_for_its_meters() {
    let station = Station::new("subjects");
    let of = |subject: &str, mantissa| {
        let report = Report { subject: Some(subject.into()), ..report(Some(Civil(10)), vec![register(mantissa)]) };
        frame("100", decoded(vec![Message::Report(report)]))
    };
    let elsewhere = DeviceKey::new("cjt", "2").expect("a device");
    station.tell(Fact::DeviceAdopted { device: elsewhere.clone(), by: "anna".into() });
    station.tell(of("1", 11));
    station.tell(of("2", 22));
    station.tell(of("no address", 33));
    let views = station.views();
    assert_eq!(readings(&views, "1"), [(10, 11, 2, false)]);
    assert_eq!(readings(&views, "100"), []);
    assert_eq!(views.device(&device("2")).expect("reads"), None, "it was adopted in another realm");
    assert_eq!(views.newest_readings(&elsewhere).expect("reads").len(), 1);
    let shown = views.device(&device("1")).expect("reads").expect("known");
    assert_eq!(shown.carrier, Some(device("100")));
    assert_eq!(views.devices_with_address("2").expect("reads"), [elsewhere]);
    let day = station.clock.civil(NOON_MS).day();
    assert_eq!(views.days(day, day).expect("reads")[0].counts.unplaced, 1);
}

#[test]
fn listings_find_devices_by_how_they_stand() {
    let station = Station::new("listing");
    let status = |state, alarms: &[&str]| {
        let valve = Some(ValveStatus { state, by: Initiator::Meter, reason: None });
        let alarms = alarms.iter().map(|&alarm| alarm.to_owned()).collect();
        decoded(vec![Message::Report(Report { valve, alarms, ..report(None, vec![]) })])
    };
    for n in 0..30 {
        let state = if n % 3 == 0 { ValveState::ClosedForced } else { ValveState::Open };
        let alarms: &[&str] = if n % 10 == 0 { &["strong-magnet"] } else { &[] };
        station.tell(frame(&format!("{n:03}"), status(state, alarms)));
    }
    // The last word counts, and a report without status says nothing about it.
    station.tell(frame("003", status(ValveState::Open, &[])));
    station.tell(volume("000", 5, 5));
    let views = station.views();
    let find = |filter: &DeviceFilter| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = views.devices(filter, after.as_deref(), 4).expect("reads");
            found.extend(page.rows.iter().map(|d| d.key.address().to_owned()));
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    };
    let all = DeviceFilter::default();
    assert_eq!(find(&all).len(), 30);
    let alarmed = DeviceFilter { alarm: Some("strong-magnet".into()), ..all.clone() };
    assert_eq!(find(&alarmed), ["000", "010", "020"]);
    let both = DeviceFilter { valve: Some(ValveState::ClosedForced), ..alarmed };
    assert_eq!(find(&both), ["000"]);
    assert_eq!(find(&DeviceFilter { valve: Some(ValveState::ClosedForced), ..all.clone() }).len(), 9);
    assert_eq!(find(&DeviceFilter { prefix: "02".into(), ..all.clone() }).len(), 10);
    assert_eq!(find(&DeviceFilter { prefix: "usp/00".into(), ..all.clone() }).len(), 10);
    assert_eq!(find(&DeviceFilter { prefix: "us".into(), ..all.clone() }).len(), find(&all).len());
    assert_eq!(find(&DeviceFilter { silent_since_ms: Some(NOON_MS), ..all.clone() }), [""; 0]);
    assert_eq!(find(&DeviceFilter { silent_since_ms: Some(NOON_MS + 1), ..all }).len(), 30);
    let marks = [
        ("alarm".into(), 3),
        ("alarm:strong-magnet".into(), 3),
        ("valve:closed-forced".into(), 9),
        ("valve:open".into(), 21),
    ];
    assert_eq!(views.fleet().expect("reads"), Fleet { devices: 30, marks: marks.to_vec() });
}

#[test]
fn events_are_one_for_each_identity() {
    let station = Station::new("events");
    let event = |at: i64, code: &str, cleared| Event {
        subject: None,
        code: code.into(),
        cleared,
        at: Some(Civil(at)),
        value: None,
        raw_code: 3,
    };
    let tell = |events: Vec<Event>| station.tell(frame("1", decoded(events.into_iter().map(Message::Event).collect())));
    tell(vec![event(10, "low-battery", false), event(-5, "strong-magnet", false)]);
    tell(vec![event(10, "low-battery", false), event(20, "low-battery", true)]);
    let views = station.views();
    let page = views.events(&device("1"), (Civil(-100), Civil(15)), None, 10).expect("reads");
    let rows: Vec<_> = page.rows.iter().map(|e| (e.at.0, &e.code[..], e.source.0)).collect();
    assert_eq!(rows, [(-5, "strong-magnet", 1), (10, "low-battery", 1)]);
    let first = views.events(&device("1"), (Civil(-100), Civil(100)), None, 2).expect("reads");
    let rest = views.events(&device("1"), (Civil(-100), Civil(100)), first.next.as_deref(), 2).expect("reads");
    assert_eq!((first.rows.len(), rest.rows.len(), rest.next), (2, 1, None));
    let newest = views.newest_events(None, 2).expect("reads");
    assert_eq!(newest.rows.iter().map(|e| e.at.0).collect::<Vec<_>>(), [20, -5]);
    let older = views.newest_events(newest.next.as_deref(), 2).expect("reads");
    assert_eq!(older.rows.iter().map(|e| e.at.0).collect::<Vec<_>>(), [10]);
}

#[test]
fn a_command_is_as_far_as_its_last_step() {
    let station = Station::new("commands");
    let step = |id: u64, step: CommandStep| {
        station.tell(Fact::Command(CommandFact { id, device: device("1"), step }));
    };
    let request = || CommandStep::Requested {
        command: Command::Read { scope: ReadScope::Current },
        by: "anna".into(),
        note: String::new(),
        expires_ms: 9,
        round: None,
    };
    let sent = CommandStep::Sent {
        attempt: 1,
        session: 3,
        correlation: HexBytes(vec![1]),
        repeatable: false,
        frames: vec![HexBytes(vec![2])],
        memory: Some(HexBytes(vec![9, 9])),
        answer_by_ms: 5,
        through: None,
    };
    let answer =
        |outcome| CommandStep::Answered { outcome, reason: "because".into(), raw_code: 4, body: AnswerBody::None };
    station.tell(volume("1", 1, 1));
    step(1, request());
    step(1, sent.clone());
    step(1, answer(Outcome::Done));
    step(2, request());
    step(2, sent.clone());
    step(2, CommandStep::Unconfirmed { why: "silence".into() });
    step(3, request());
    step(3, sent);
    step(3, CommandStep::TimedOut { attempt: 1 });
    step(4, request());
    step(4, CommandStep::Cancelled { by: "bob".into() });
    step(5, request());
    step(5, answer(Outcome::Refused));
    let (outcome, reason) = (Outcome::Done, "at last".to_owned());
    step(2, CommandStep::Late { outcome, reason, raw_code: 0, body: AnswerBody::None });
    let views = station.views();
    let all = views.commands(&CommandFilter::default(), None, 10).expect("reads").rows;
    let states: Vec<_> = all.iter().map(|c| (c.id, c.state, &c.why[..])).collect();
    use CommandState as S;
    assert_eq!(
        states,
        [
            (5, S::Refused, "because"),
            (4, S::Cancelled, "by bob"),
            (3, S::Queued, "no answer to attempt 1"),
            (2, S::Unconfirmed, "silence"),
            (1, S::Done, "because"),
        ]
    );
    assert_eq!(views.open_commands().expect("reads").iter().map(|c| c.id).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(views.next_command_id().expect("reads"), 6);
    let steps: Vec<_> = all[4].steps.iter().map(|s| (s.seq.0, &s.step[..])).collect();
    assert_eq!(steps, [(2, "requested"), (3, "sent"), (4, "answered")]);
    let late = &all[3];
    assert_eq!(late.steps.last().map(|step| &step.step[..]), Some("answered-late"));
    assert_eq!(late.answer.as_ref().map(|answer| &answer.reason[..]), Some("at last"));
    let filter = CommandFilter { device: Some(device("1")), open: true, state: None };
    let page = views.commands(&filter, None, 1).expect("reads");
    assert_eq!(page.rows.iter().map(|c| c.id).collect::<Vec<_>>(), [3]);
    let page = views.commands(&filter, page.next.as_deref(), 5).expect("reads");
    assert_eq!((page.rows.iter().map(|c| c.id).collect::<Vec<_>>(), page.next), (vec![2], None));
    assert_eq!(views.device(&device("1")).expect("reads").expect("known").memory, HexBytes(vec![9, 9]));
}

#[test]
fn of_one_that_never_registered_the_registry_knows_the_kind() {
    let station = Station::new("kinds");
    for address in ["1", "2"] {
        station.tell(Fact::DeviceAdopted { device: device(address), by: "anna".into() });
    }
    let mut record = behind("usp/1");
    record.about.kind = DeviceKind::Concentrator;
    let set = vec![record];
    station.tell(Fact::Registry(crate::journal::RegistryFact {
        set,
        withdrawn: Vec::new(),
        by: "anna".into(),
        retold: None,
    }));
    let views = station.views();
    let kind = |address| views.device(&device(address)).expect("reads").expect("is there").kind;
    assert_eq!((kind("1"), kind("2")), (DeviceKind::Concentrator, DeviceKind::Meter));
}

#[test]
fn registrations_and_heartbeats_tell_who_and_when() {
    let station = Station::new("registrations");
    let registration = |firmware: &str| Registration {
        kind: DeviceKind::Meter,
        manufacturer: "maker".into(),
        model: "m".into(),
        hardware: String::new(),
        firmware: firmware.into(),
        iccid: String::new(),
        imei: String::new(),
        capabilities: Capabilities(1),
        schedule: None,
        key_version: None,
        clock: Some(Civil(station.clock.civil(NOON_MS).0 - 30)),
    };
    for firmware in ["1", "1", "2"] {
        station.tell(frame("1", decoded(vec![Message::Registration(registration(firmware))])));
    }
    let heartbeat = Heartbeat { clock: None, valve: None };
    let last = station.tell(frame("1", decoded(vec![Message::Heartbeat(heartbeat)])));
    let views = station.views();
    let shown = views.device(&device("1")).expect("reads").expect("known");
    assert_eq!(shown.registration.map(|r| r.firmware), Some("2".into()));
    assert_eq!((shown.clock_drift_s, shown.last_seq), (Some(-30), Some(last)));
    assert_eq!(shown.adapter.map(|a| a.name), Some("usp".into()));
    let listed = views.frames(&device("1"), None, Seq(1), 10).expect("reads").rows;
    assert_eq!(listed.len(), 3, "heartbeats are not listed");
    let arrivals = views.arrivals(0).expect("reads");
    assert_eq!(arrivals, [(NOON_MS / 60_000 * 60_000, Arrivals { frames: 4, reports: 0, faults: 0 })]);
}

#[test]
fn damage_that_a_reader_meets_is_told_until_the_end() {
    let station = Station::new("met");
    let views = station.views();
    views.note(&ViewError::Store("the disk is full".into()));
    assert_eq!(views.health().failing, None, "may be over by now");
    views.note(&ViewError::Torn("page 7".into()));
    let seq = station.tell(volume("1", 1_000, 7));
    assert!(views.wait_caught_up(seq, Duration::from_secs(20)));
    let told = views.health().failing.expect("folding goes on, the page stays damaged");
    assert!(told.contains("page 7; stop the station and run `polymeter views rebuild`"), "{told}");
}

#[test]
fn keys_are_listed_page_by_page() {
    let station = Station::new("key-pages");
    let all = [("cjt188/*", "1"), ("usp/1", "1"), ("usp/1", "2"), ("usp/10", "1")];
    for (device, slot) in all {
        let sealed = Some(HexBytes(vec![1]));
        station.tell(Fact::KeySet { device: device.into(), slot: slot.into(), sealed, by: "anna".into() });
    }
    let views = station.views();
    let first = views.keys(None, 3).expect("reads");
    let second = views.keys(first.next.as_deref(), 1).expect("reads");
    assert_eq!((first.next.as_deref(), second.next.as_deref()), (Some("usp/1/2"), None));
    let listed: Vec<_> = first.rows.iter().chain(&second.rows).map(|key| (&key.device[..], &key.slot[..])).collect();
    assert_eq!(listed, all);
    assert!(matches!(views.keys(Some("usp"), 1), Err(ViewError::Place(_))));
}

#[test]
fn keys_tokens_and_adapters_show_their_last_word() {
    let station = Station::new("credentials");
    let by = || "anna".to_owned();
    let key = |slot: &str, sealed| Fact::KeySet { device: "usp/1".into(), slot: slot.into(), sealed, by: by() };
    station.tell(key("1", Some(HexBytes(vec![1]))));
    station.tell(key("2", Some(HexBytes(vec![2]))));
    station.tell(key("1", None));
    for name in ["web", "old"] {
        station.tell(Fact::TokenSet { name: name.into(), role: Role::Viewer, hash: Digest([1; 32]), by: by() });
    }
    station.tell(Fact::TokenRevoked { name: "old".into(), by: by() });
    let adapter = |digest, step| {
        Fact::Adapter(AdapterFact {
            name: "usp".into(),
            version: "1.0.0".into(),
            digest: Digest([digest; 32]),
            step,
            by: by(),
        })
    };
    station.tell(adapter(1, AdapterStep::Activated));
    station.tell(adapter(1, AdapterStep::Replaced { with: Digest([2; 32]) }));
    station.tell(adapter(2, AdapterStep::Activated));
    let views = station.views();
    let second = views.find_key(|_| true).expect("reads").expect("one is left");
    assert_eq!((&second.slot[..], second.seq.0, views.key_count().expect("reads")), ("2", 2, 1));
    assert_eq!(views.tokens().expect("reads").iter().map(|t| &t.name[..]).collect::<Vec<_>>(), ["web"]);
    let adapters = views.adapters().expect("reads");
    assert_eq!(adapters.iter().map(|a| (a.digest.0[0], a.is_active())).collect::<Vec<_>>(), [(1, false), (2, true)]);
    assert_eq!(views.adapter_history(Some("usp"), None, 10).expect("reads").len(), 3);
    assert_eq!((standing(&views, 100).len(), standing(&views, 4).len()), (4, 1));
}

#[test]
fn views_of_another_journal_are_refused() {
    let station = Station::new("foreign");
    station.tell(volume("1", 1, 1));
    station.views().close();
    let other = Station::new("foreign-other");
    std::fs::copy(station.dir.join(FILE), other.dir.join(FILE)).expect("copies");
    let refused = Views::open(&other.dir, &other.journal, &other.clock).err().expect("refused").to_string();
    assert!(refused.contains("ahead of the journal"), "{refused}");
}
