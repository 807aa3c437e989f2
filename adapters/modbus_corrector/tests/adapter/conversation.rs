//! Whole conversations with simulated correctors.

use super::station::{IMEI, NOW, Together, report, station_of};
use modbus_corrector::device::{Corrector, State};
use polymeter_sdk::{
    Adapter, Admission, AnswerBody, Capabilities, Command, Context, DeviceKind, FaultKind, History, Interval, Message,
    Outcome, Parameter, ParameterValue, Quality, Quantity, ReadScope, Role, Transport, Valve, ValveOrder, ValveState,
    civil,
};

const READ: Command = Command::Read(ReadScope::Current);
/// Three blocks of different lengths, one of them of another device on the line.
const THREE_BLOCKS: &str = r#"{"registers_max": 8, "gap": 0, "map": {
    "registers": [
        {"register": 0, "type": "u32", "quantity": "standard-volume", "unit": "cubic-metre", "role": "cumulative"},
        {"register": 10, "type": "u64", "quantity": "working-volume", "unit": "cubic-metre", "role": "cumulative"},
        {"register": 10, "type": "u16", "function": 4, "bus_address": 9, "channel": 1, "exponent": 2, "quantity": "pressure", "unit": "pascal"},
        {"register": 40, "type": "i32", "scope": "account", "exponent": -2, "quantity": "balance", "unit": "yuan"}
    ]}}"#;
const WITH_VALVE: &str = r#"{"map": {
    "registers": [{"register": 0, "type": "u16", "quantity": "volume", "unit": "cubic-metre"}],
    "valve": {"register": 5, "mask": 3, "states": [{"value": 0, "state": "open"}, {"value": 1, "state": "closed"}],
        "orders": [{"order": "open", "function": 5, "register": 7, "value": 65280}, {"order": "close-forced", "function": 6, "register": 5, "value": 1}]}}"#;

fn typical() -> Corrector {
    Corrector::typical(1, &State::healthy(NOW))
}

fn order(order: ValveOrder) -> Command {
    Command::Valve(Valve { order, order_id: 1, valid_until: NOW + 60, reason: String::new() })
}

fn set(name: &str, value: i64) -> Command {
    Command::SetParameters(vec![Parameter { name: name.into(), value: ParameterValue::Integer(value) }])
}

#[test]
fn a_dtu_registers_stays_and_is_asked() {
    let mut station = station_of("");
    let decoded = station.hear(IMEI.as_bytes()).expect("a registration packet");
    let sender = decoded.sender.expect("it says who it is");
    assert_eq!((sender.address.as_str(), sender.kind), (IMEI, DeviceKind::Dtu));
    let [Message::Registration(registration)] = &decoded.messages[..] else { panic!("a registration") };
    let wanted = Capabilities::ALWAYS_ONLINE | Capabilities::DTU | Capabilities::CORRECTOR;
    assert_eq!((registration.capabilities, registration.imei.as_str()), (wanted, IMEI));

    let mut corrector = typical();
    let answer = station.ask_one(&mut corrector, &READ);
    assert_eq!(answer.outcome, Outcome::Done);
    let report = report(&answer);
    assert_eq!((report.at, report.alarms.len(), report.registers.len()), (Some(NOW), 0, 12));
    let value = |quantity, role| {
        let found = report.registers.iter().find(|r| r.quantity == quantity && r.role == role);
        found.map(|r| (r.mantissa, r.exponent)).expect("read")
    };
    assert_eq!(value(Quantity::StandardVolume, Role::Cumulative), (123_456_789, -3));
    assert_eq!(value(Quantity::CompressibilityFactor, Role::Instantaneous), (997_250, -6));
    assert_eq!(value(Quantity::FirmwareVersion, Role::Instantaneous), (203, -2));
}

#[test]
fn several_requests_make_one_report() {
    let mut station = station_of(THREE_BLOCKS);
    let mut corrector = Corrector::new(1);
    corrector.put(0, &70_000_u32.to_be_bytes());
    corrector.put(10, &80_000_u64.to_be_bytes());
    corrector.put(40, &(-125_i32).to_be_bytes());
    let mut other = Corrector::new(9);
    other.put_input(10, &[0x0F, 0xA3]);
    let mut frame = station.say(&READ).expect("said").frames.remove(0);
    let mut requests = 0;
    let messages = loop {
        requests += 1;
        let answer = corrector.hear(&frame).or_else(|| other.hear(&frame)).expect("one of them answers");
        let decoded = station.hear(&answer).expect("understood");
        match decoded.reply {
            Some(next) => {
                assert!(decoded.messages.is_empty(), "nothing is told before all is there");
                frame = next;
            }
            None => break decoded.messages,
        }
    };
    assert_eq!(requests, 3);
    let [Message::Answer(answer)] = &messages[..] else { panic!("one answer: {messages:?}") };
    let values: Vec<_> = report(answer).registers.iter().map(|r| (r.mantissa, r.channel)).collect();
    assert_eq!(values, [(70_000, 0), (80_000, 0), (4003, 1)]);
    let account = station.ask_one(&mut corrector, &Command::Read(ReadScope::Account));
    assert_eq!(report(&account).registers[0].mantissa, -125);
}

#[test]
fn what_is_no_value_is_said_and_never_guessed() {
    let mut station = station_of("");
    let state = State {
        standard_total: u64::MAX,
        compressibility: f32::INFINITY,
        alarms: 0x8001_4001,
        clock: -1,
        ..State::healthy(NOW)
    };
    let messages = station.ask(&mut Corrector::typical(1, &state), &READ);
    let Message::Answer(answer) = &messages[0] else { panic!("an answer") };
    let report = report(answer);
    assert_eq!(report.at, None);
    assert_eq!(
        report.alarms,
        ["reading-absent", "clock-fault", "battery-low", "strong-magnet", "vendor-25-bit-16", "vendor-25-bit-31"]
    );
    assert_eq!(report.raw_status, 0x8001_4001);
    let invalid: Vec<_> =
        report.registers.iter().filter(|r| r.quality == Quality::Invalid).map(|r| r.mantissa).collect();
    assert_eq!(invalid, [0, 0]);
    assert_eq!(messages.iter().filter(|m| matches!(m, Message::Unknown(_))).count(), 2, "the bytes are kept");
}

#[test]
fn an_exception_ends_the_command_with_its_reason() {
    for (code, outcome, reason) in [
        (1, Outcome::Unsupported, "unsupported"),
        (2, Outcome::Refused, "bad-parameter"),
        (3, Outcome::Refused, "bad-parameter"),
        (4, Outcome::Failed, "vendor-error"),
        (5, Outcome::Accepted, ""),
        (6, Outcome::Busy, "busy"),
        (7, Outcome::Refused, "not-allowed"),
        (8, Outcome::Failed, "vendor-error"),
        (10, Outcome::NoAnswerBehind, "no-answer-behind"),
        (11, Outcome::NoAnswerBehind, "no-answer-behind"),
        (99, Outcome::Failed, "other"),
    ] {
        let mut station = station_of("");
        let mut corrector = typical();
        corrector.refuse_with = Some(code);
        let answer = station.ask_one(&mut corrector, &READ);
        assert_eq!((answer.outcome, answer.reason.as_str(), answer.raw_code), (outcome, reason, u32::from(code)));
        corrector.refuse_with = None;
        assert_eq!(station.ask_one(&mut corrector, &READ).outcome, Outcome::Done, "the next one is whole");
    }
    // What was read before the refusal is told all the same.
    let mut station = station_of(THREE_BLOCKS);
    let mut corrector = Corrector::new(1);
    corrector.put(0, &[0, 0, 0, 7]);
    let answer = station.ask_one(&mut corrector, &READ);
    assert_eq!((answer.outcome, report(&answer).registers.len()), (Outcome::Refused, 1));
}

#[test]
fn what_answers_something_else_is_a_fault_and_the_request_still_waits() {
    let mut station = station_of(THREE_BLOCKS);
    let mut corrector = Corrector::new(1);
    corrector.put(0, &[0; 8]);
    corrector.put(10, &[0; 8]);
    let request = station.say(&READ).expect("said").frames.remove(0);
    let good = corrector.hear(&request).expect("an answer");
    let mut longer = corrector.clone();
    let ask = |corrector: &mut Corrector, bytes: &[u8]| {
        corrector.hear(&modbus_corrector::frame::seal(bytes.to_vec())).expect("an answer")
    };
    let late = ask(&mut longer, &[1, 3, 0, 10, 0, 4]);
    corrector.bus = 2;
    let elsewhere = ask(&mut corrector, &[2, 3, 0, 0, 0, 2]);
    let written = ask(&mut longer, &[1, 6, 0, 0, 0, 0]);
    for (what, bytes, wanted) in [
        ("another length", late, "asked were 2 registers"),
        ("another device", elsewhere, "asked was 1"),
        ("another function", written, "function 06"),
    ] {
        let fault = station.adapter.decode(&station.context(), &bytes).expect_err(what);
        assert_eq!(fault.kind, FaultKind::Corrupt);
        assert!(fault.detail.contains(wanted), "{what}: {}", fault.detail);
    }
    assert!(station.hear(&good).expect("still waited for").reply.is_some());
    // Nothing waits any more: kept, and taken for nothing.
    let mut station = station_of(THREE_BLOCKS);
    let decoded = station.hear(&good).expect("late");
    assert!(matches!(&decoded.messages[..], [Message::Unknown(u)] if u.what == "answer to no request"));
}

#[test]
fn with_alternating_counts_a_late_answer_is_recognised() {
    for alternate in [false, true] {
        let mut station = station_of(&format!(r#"{{"alternate_counts": {alternate}}}"#));
        let mut corrector = typical();
        corrector.holding.insert(32, 0);
        let first = station.say(&READ).expect("said").frames.remove(0);
        let late = corrector.hear(&first).expect("an answer");
        station.say(&READ).expect("said anew, since the first got no answer in time");
        let taken = station.adapter.decode(&station.context(), &late);
        assert_eq!(taken.is_err(), alternate, "without, nothing tells them apart");
    }
}

/// Four totals, of which no request may hold more than two, and parameters that stand side by side.
const CROWDED: &str = r#"{"registers_max": 4, "map": {
    "registers": [
        {"register": 0, "type": "u32", "quantity": "standard-volume", "unit": "cubic-metre", "role": "cumulative"},
        {"register": 2, "type": "u32", "quantity": "working-volume", "unit": "cubic-metre", "role": "cumulative"},
        {"register": 4, "type": "u32", "quantity": "standard-volume", "unit": "cubic-metre", "role": "at-error"},
        {"register": 6, "type": "u32", "quantity": "working-volume", "unit": "cubic-metre", "role": "at-error"}
    ],
    "parameters": [
        {"name": "overflow-flow", "register": 100, "type": "u16", "write": 6},
        {"name": "pressure-low", "register": 101, "type": "u16", "write": 6},
        {"name": "pressure-high", "register": 102, "type": "u16", "write": 6},
        {"name": "frozen-hour", "register": 200, "type": "u16", "write": 6}
    ],
    "archive": {"interval": "day", "register": 1000, "record_registers": 3, "records": 2,
        "clock": {"register": 0, "form": "seconds1970"},
        "items": [{"register": 2, "type": "u16", "quantity": "volume", "unit": "cubic-metre"}]}}}"#;

/// Whatever comes twice, or late, is no answer to another request of the same command.
#[test]
fn no_two_requests_of_a_command_ask_for_as_many_registers() {
    let midnight = civil::midnight(NOW);
    let mut corrector = Corrector::new(1);
    for register in 0..8 {
        corrector.put(register, &register.to_be_bytes());
    }
    corrector.put(100, &[0, 1, 0, 2, 0, 3]);
    corrector.put(200, &[0, 6]);
    for n in 0..2_u16 {
        let at = (midnight - i64::from(n) * civil::DAY) as u32;
        corrector.put(1000 + n * 3, &[&at.to_be_bytes()[..], &[0, n as u8]].concat());
    }
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let value = |name: &str| Parameter { name: name.into(), value: ParameterValue::Integer(7) };
    let history = History { interval: Interval::Day, first: 0, last: NOW };
    for (command, wanted) in [
        (READ, &[(0, 4), (4, 3), (6, 2)][..]),
        (Command::ReadParameters(names(&["overflow-flow", "pressure-high"])), &[(100, 2), (102, 1)]),
        (Command::ReadParameters(Vec::new()), &[(100, 3), (200, 1)]),
        // The last record has none behind it, so the register before it is the one more.
        (Command::ReadHistory(history), &[(1000, 3), (1002, 4)]),
        (Command::SetParameters(vec![value("pressure-low"), value("pressure-high")]), &[(101, 1), (101, 2)]),
    ] {
        let mut station = station_of(CROWDED);
        let mut request = station.say(&command).expect("said").frames.into_iter().next();
        let mut asked = Vec::new();
        let mut earlier: Vec<Vec<u8>> = Vec::new();
        while let Some(frame) = request.take() {
            if frame[1] == 3 {
                let field = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
                asked.push((field(2), field(4)));
            }
            if let Some(late) = earlier.last() {
                assert!(station.adapter.decode(&station.context(), late).is_err(), "{command:?}: {late:02x?}");
            }
            let answer = corrector.hear(&frame).expect("an answer");
            request = station.hear(&answer).expect("understood").reply;
            earlier.push(answer);
        }
        assert_eq!(asked, wanted, "{command:?}");
    }
    // Where the map has no register beside, the parameters are read one at a time, or the likeness is accepted.
    let apart = Command::ReadParameters(names(&["pressure-low", "frozen-hour"]));
    let mut station = station_of(CROWDED);
    assert!(station.say(&apart).is_ok(), "101 has neighbours");
    let lonely = CROWDED.replace(r#""register": 101"#, r#""register": 110"#);
    assert_eq!(station_of(&lonely).say(&apart).map_err(|f| f.kind), Err(FaultKind::Unsupported));
    let accepted = lonely.replacen('{', r#"{"equal_counts": "accept", "#, 1);
    assert!(station_of(&accepted).say(&apart).is_ok());
}

#[test]
fn clock_and_parameters_are_written_and_read_back() {
    let mut station = station_of("");
    let mut corrector = typical();
    let answer = station.ask_one(&mut corrector, &Command::SetClock(NOW + 100));
    assert_eq!((answer.outcome, &answer.body), (Outcome::Done, &AnswerBody::Clock(NOW + 100)));
    let AnswerBody::Parameters(list) = station.ask_one(&mut corrector, &set("overflow-flow", 160_000)).body else {
        panic!("parameters")
    };
    assert_eq!(list, [Parameter { name: "overflow-flow".into(), value: ParameterValue::Integer(160_000) }]);
    let both = Command::SetParameters(
        [("temperature-low", -2000), ("frozen-hour", 6)]
            .map(|(n, v)| Parameter { name: n.into(), value: ParameterValue::Integer(v) })
            .to_vec(),
    );
    assert_eq!(station.ask_one(&mut corrector, &both).outcome, Outcome::Done);
    let AnswerBody::Parameters(all) = station.ask_one(&mut corrector, &Command::ReadParameters(Vec::new())).body else {
        panic!("parameters")
    };
    assert_eq!(all.len(), 7);
    assert!(all.contains(&Parameter { name: "temperature-low".into(), value: ParameterValue::Integer(-2000) }));

    corrector.forgetful = true;
    for command in [Command::SetClock(NOW + 1000), set("frozen-hour", 7)] {
        let answer = station.ask_one(&mut corrector, &command);
        assert_eq!((answer.outcome, answer.reason.as_str()), (Outcome::Failed, "bad-parameter"), "{command:?}");
    }
    for (command, kind) in [
        (set("frozen-hour", 24), FaultKind::OutOfRange),
        (set("pressure-low", 65_536), FaultKind::OutOfRange),
        (set("balance-close", 1), FaultKind::Unsupported),
        (Command::SetClock(-1), FaultKind::OutOfRange),
        (order(ValveOrder::CloseForced), FaultKind::Unsupported),
        (Command::Read(ReadScope::Valve), FaultKind::Unsupported),
        (Command::Read(ReadScope::Account), FaultKind::Unsupported),
    ] {
        assert_eq!(station.say(&command).map_err(|f| f.kind), Err(kind), "{command:?}");
    }
}

#[test]
fn the_past_comes_newest_first_until_it_is_old_enough() {
    let mut station = station_of("");
    let mut corrector = typical();
    let midnight = civil::midnight(NOW);
    for n in 0..40_u16 {
        let total = 1_000_000 - u64::from(n) * 100;
        corrector.record(n, midnight - i64::from(n) * civil::DAY, total, total / 4);
    }
    let ask = |station: &mut super::station::Station, corrector: &mut Corrector, from: i64, to: i64| {
        let history =
            History { interval: Interval::Day, first: midnight - from * civil::DAY, last: midnight - to * civil::DAY };
        station.answers(corrector, &Command::ReadHistory(history))
    };
    for (from, to, samples, answers) in [(35, 30, 6, 9), (0, 0, 1, 1), (9, 0, 10, 3), (90, 38, 2, 9)] {
        let all = ask(&mut station, &mut corrector, from, to);
        let reports = all.iter().filter_map(|a| if let AnswerBody::Report(r) = &a.body { Some(r) } else { None });
        let told: usize = reports
            .flat_map(|r| &r.series)
            .filter(|s| s.quantity == Quantity::StandardVolume)
            .map(|s| s.samples.len())
            .sum();
        assert_eq!((told, all.len()), (samples, answers), "{from} to {to} days ago");
        assert!(all.iter().rev().skip(1).all(|a| a.more_follows) && !all.last().expect("one").more_follows);
    }
    let none = ask(&mut station, &mut corrector, -2, -3);
    assert_eq!(none.last().map(|a| a.reason.as_str()), Some("no-data"));
    let months = History { interval: Interval::Month, first: 0, last: NOW };
    assert_eq!(station.say(&Command::ReadHistory(months)).map_err(|f| f.kind), Err(FaultKind::Unsupported));
}

#[test]
fn a_valve_is_moved_only_as_the_map_says_and_never_twice_blindly() {
    let mut corrector = Corrector::new(1);
    corrector.put(0, &[0; 12]);
    corrector.coils.insert(7, false);
    let mut station = station_of(&format!("{WITH_VALVE}}}"));
    let encoded = station.say(&order(ValveOrder::CloseForced)).expect("said");
    assert!(!encoded.repeatable);
    let answer = station.ask_one(&mut corrector, &order(ValveOrder::CloseForced));
    assert_eq!(answer.outcome, Outcome::Accepted, "a later read decides");
    assert!(matches!(&answer.body, AnswerBody::Valve(v) if v.state == ValveState::Closed));
    let read = station.ask_one(&mut corrector, &Command::Read(ReadScope::Valve));
    assert_eq!(report(&read).valve.as_ref().map(|v| v.state), Some(ValveState::Closed));
    for command in [order(ValveOrder::PermitOpen), order(ValveOrder::CloseTemporary)] {
        assert_eq!(station.say(&command).map_err(|f| f.kind), Err(FaultKind::Unsupported));
    }
    let late = Valve { order: ValveOrder::CloseForced, order_id: 2, valid_until: NOW - 1, reason: String::new() };
    assert_eq!(station.say(&Command::Valve(late)).map_err(|f| f.kind), Err(FaultKind::OutOfRange));
    let mut station = station_of(&format!(r#"{WITH_VALVE}, "remote_open": "open"}}"#));
    station.ask_one(&mut corrector, &order(ValveOrder::PermitOpen));
    assert_eq!(corrector.coils.get(&7), Some(&true));
}

#[test]
fn behind_a_carrier_it_is_the_sub_meter_that_speaks() {
    let mut station = station_of(r#"{"bus_address_from": "address", "model": "VC-1"}"#);
    station.transport = Transport::Relay;
    station.address = "00231100000017".into();
    let mut corrector = Corrector::typical(17, &State::healthy(NOW));
    let messages = station.ask(&mut corrector, &READ);
    let [Message::Registration(registration), Message::Answer(answer)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((registration.kind, registration.model.as_str()), (DeviceKind::Meter, "VC-1"));
    assert_eq!(registration.capabilities, Capabilities::CORRECTOR, "its carrier decides when it is on line");
    assert_eq!(answer.outcome, Outcome::Done);
    assert_eq!(station.ask(&mut corrector, &READ).len(), 1, "it is news once");
    station.address = "00231100000999".into();
    assert_eq!(station.say(&READ).map_err(|f| f.kind), Err(FaultKind::OutOfRange));
    // A packet of a DTU has no business there.
    assert!(station.adapter.decode(&station.context(), IMEI.as_bytes()).is_err());
}

#[test]
fn packets_without_an_address_are_the_only_dtu_of_their_listener() {
    let profile = r#"{"address": "DTU-7", "registration": {"form": "none"}, "heartbeat": {"form": "none", "prefix": "FE", "reply": "FE01"}, "heartbeat_minutes": 2}"#;
    let mut station = station_of(profile);
    let first = Context { device: None, admission: Admission::Undecided, ..station.context() };
    let decoded = station.adapter.decode(&first, &[0xFE]).expect("a heartbeat");
    assert_eq!(decoded.sender.map(|s| s.address), Some("DTU-7".to_owned()));
    station.address = "DTU-7".into();
    let decoded = station.hear(&[0xFE]).expect("a heartbeat");
    assert!(matches!(&decoded.messages[..], [Message::Registration(r), Message::Heartbeat(_)]
        if r.schedule.as_ref().map(|s| s.heartbeat_minutes) == Some(2)));
    assert_eq!(decoded.reply, Some(vec![0xFE, 0x01]));
    assert_eq!(station.hear(&[0xFE]).expect("another").messages.len(), 1);
}

#[test]
fn the_public_thermal_mass_map_reads_a_total_in_two_parts() {
    let mut station = station_of(include_str!("../../maps/thermal_mass.json"));
    let decoded = station.hear(b"REG:DT-7\r\n").expect("a registration packet");
    assert_eq!(decoded.sender.map(|s| s.address), Some("DT-7".to_owned()));
    let mut corrector = Corrector::new(1);
    corrector.put(0, &[0; 28]);
    corrector.put(6, &1_234_u32.to_be_bytes());
    let half = 0.5_f32.to_bits().to_be_bytes();
    corrector.put(8, &[half[2], half[3], half[0], half[1]]);
    corrector.put(12, &[0xBA, 0x4A, 0x41, 0xF8]);
    let answer = station.ask_one(&mut corrector, &READ);
    let values: Vec<_> = report(&answer).registers.iter().map(|r| (r.mantissa, r.exponent)).collect();
    assert_eq!(values, [(0, -3), (1_234_500, -3), (3109, -2)]);
    corrector.put(8, &[0, 0, 0x3F, 0x80]);
    let answer = station.ask(&mut corrector, &READ);
    assert!(
        matches!(&answer[0], Message::Answer(a) if report(a).registers[1].quality == Quality::Invalid),
        "a fraction of 1"
    );
}
