//! Whole conversations: the adapter against the meter's side of the protocol.

use super::station::{READ_AT, Together, station_of};
use polymeter_sdk::{
    Answer, AnswerBody, BalanceLevel, BalanceSync, Command, FaultKind, History, Interval, Message, Outcome, Parameter,
    ParameterValue, Quality, Quantity, Report, ReportPeriod, ScheduleChange, Valve, ValveOrder, ValveState, civil,
};
use szrq::device::{Heard, Meter, Record};

fn meter() -> Meter {
    Meter::new("SZ00000012345678")
}
fn valve(order: ValveOrder) -> Command {
    Command::Valve(Valve { order, order_id: 1, valid_until: READ_AT + 3600, reason: String::new() })
}
fn report(messages: &[Message]) -> &Report {
    let found = messages.iter().find_map(|m| if let Message::Report(r) = m { Some(r) } else { None });
    found.expect("a report")
}
fn total(messages: &[Message]) -> Option<(i64, i8)> {
    let register = report(messages).registers.iter().find(|r| r.quantity == Quantity::WorkingVolume)?;
    Some((register.mantissa, register.exponent))
}
fn integer(name: &str, value: i64) -> Parameter {
    Parameter { name: name.into(), value: ParameterValue::Integer(value) }
}

#[test]
fn a_report_is_acknowledged_with_the_clock_and_a_waiting_command_is_announced() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    station.pending = 1;
    let decoded = station.hear(&meter.report(READ_AT, 2, false)).expect("a good report");
    assert!(matches!(&decoded.messages[..], [Message::Registration(_), Message::Report(_)]));
    let heard = meter.receive(&decoded.reply.expect("an acknowledgement"), READ_AT);
    let clock = Some(READ_AT + 3);
    assert_eq!(heard, Ok(Heard::Acknowledged { command: 8, result: 1, clock, more: true }));
    let decoded = station.hear(&meter.report(READ_AT + 1, 2, true)).expect("a good report");
    assert!(report(&decoded.messages).more_follows);
    let heard = meter.receive(&decoded.reply.expect("an acknowledgement"), READ_AT);
    assert!(matches!(heard, Ok(Heard::Acknowledged { more: false, .. })), "its own reports come first");
}

#[test]
fn repeated_reports_are_acknowledged_again_and_marked() {
    let meter = meter();
    let mut station = station_of(&meter, "");
    let frame = meter.report(READ_AT, 2, false);
    let first = station.hear(&frame).expect("a good report");
    let second = station.hear(&frame).expect("a good report");
    assert_eq!((first.duplicate, second.duplicate), (false, true));
    assert_eq!(first.reply, second.reply);
    let alarm = meter.alarm(READ_AT, 7, true, 8, false);
    assert!(!station.hear(&alarm).expect("an alarm").duplicate);
    assert!(!station.hear(&meter.alarm(READ_AT, 9, true, 9, false)).expect("another").duplicate, "in the same second");
    assert!(station.hear(&alarm).expect("an alarm").duplicate);
}

#[test]
fn the_class_scales_volumes_exactly() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    for (class, counted, expected) in [
        (0, 12_345, (1235, -1)),
        (0, 12_344, (1234, -1)),
        (1, 12_350, (124, 0)),
        (1, 49, (0, 0)),
        (0, 2_147_483_000, (214_748_300, -1)),
    ] {
        (meter.state.class, meter.state.working_total) = (class, counted);
        let decoded = station.hear(&meter.report(READ_AT, 2, false)).expect("a good report");
        assert_eq!(total(&decoded.messages), Some(expected));
    }
    meter.state.class = 2;
    let decoded = station.hear(&meter.report(READ_AT, 2, false)).expect("acknowledged all the same");
    assert_eq!(total(&decoded.messages), None, "no scale");
}

#[test]
fn markers_are_no_readings() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    meter.state.working_total = -10_000;
    meter.state.standard_total = -30_000;
    meter.state.balance = -20_000;
    let decoded = station.hear(&meter.report(READ_AT, 2, false)).expect("a good report");
    let report = report(&decoded.messages);
    assert_eq!(report.alarms, ["sampling-failed", "reading-absent"]);
    for register in report.registers.iter().filter(|r| r.mantissa <= -10_000) {
        assert_eq!(register.quality, Quality::Invalid, "{register:?}");
    }
    assert_eq!(report.registers.iter().filter(|r| r.quality == Quality::Invalid).count(), 3);
}

#[test]
fn an_alarm_stays_until_it_recovers() {
    let meter = meter();
    let mut station = station_of(&meter, "");
    for (frame, expected) in [
        (meter.alarm(READ_AT, 7, true, 8, false), &["strong-magnet"][..]),
        (meter.report(READ_AT + 60, 2, false), &["strong-magnet"]),
        (meter.alarm(READ_AT + 70, 12, true, 5, false), &["strong-magnet", "battery-low"]),
        (meter.alarm(READ_AT + 90, 7, false, 0, false), &["battery-low"]),
        // The first one again: it does not begin anew.
        (meter.alarm(READ_AT, 7, true, 8, false), &["battery-low"]),
        (meter.report(READ_AT + 120, 2, false), &["battery-low"]),
    ] {
        let decoded = station.hear(&frame).expect("a good frame");
        assert_eq!(report(&decoded.messages).alarms, expected);
    }
}

#[test]
fn a_permit_clears_the_lock_and_moves_nothing() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    let answer = station.ask(&mut meter, &valve(ValveOrder::CloseForced));
    assert_eq!((answer.outcome, meter.state.valve), (Outcome::Done, 3));
    let AnswerBody::Valve(status) = answer.body else { panic!("a valve") };
    assert_eq!((status.state, status.reason.as_deref()), (ValveState::ClosedForced, Some("remote-forced")));
    let answer = station.ask(&mut meter, &valve(ValveOrder::CloseTemporary));
    assert_eq!((answer.outcome, answer.raw_code), (Outcome::Refused, 0xFB), "locked already");
    let answer = station.ask(&mut meter, &valve(ValveOrder::PermitOpen));
    assert_eq!((answer.outcome, meter.state.valve), (Outcome::Done, 2), "nobody has pressed the key");
    meter.state.valve = 5;
    assert_eq!(station.ask(&mut meter, &valve(ValveOrder::CloseForced)).outcome, Outcome::Failed);
}

#[test]
fn an_order_goes_out_once_and_only_in_time() {
    let meter = meter();
    let mut station = station_of(&meter, "");
    let first = station.say(&valve(ValveOrder::CloseForced)).expect("a close");
    let second = station.say(&valve(ValveOrder::CloseForced)).expect("a close");
    assert!(!first.repeatable && first.correlation != second.correlation);
    station.now = READ_AT + 3601;
    assert_eq!(station.say(&valve(ValveOrder::CloseForced)).expect_err("too late").kind, FaultKind::OutOfRange);
}

#[test]
fn a_repeated_answer_is_never_taken_for_the_next_orders() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    station.ask(&mut meter, &valve(ValveOrder::CloseForced));
    let old = meter.repeat().expect("an answer").to_vec();
    let order = station.say(&valve(ValveOrder::PermitOpen)).expect("a permit");
    station.now += 12;
    let decoded = station.hear(&old).expect("a good frame");
    assert!(decoded.duplicate, "the permit was lost, and the meter repeats the close");
    let Ok(Heard::Commanded { answer, .. }) = meter.receive(&order.frames[0], station.now) else { panic!("a command") };
    let decoded = station.hear(&answer).expect("a good frame");
    assert!(matches!(&decoded.messages[..], [Message::Answer(a)] if a.correlation == order.correlation));
}

#[test]
fn months_are_read_one_after_the_other() {
    let mut meter = meter();
    meter.frozen.extend([((2023, 12), 100_000), ((2024, 2), 120_000)]);
    let mut station = station_of(&meter, "");
    let day = |y, m, d| civil::date(y, m, d).expect("a day");
    let history = History { interval: Interval::Month, first: day(2023, 11, 1), last: day(2024, 3, 1) };
    let order = station.say(&Command::ReadHistory(history)).expect("a read");
    assert!(order.repeatable);
    let mut request = Some(order.frames[0].clone());
    let mut answers: Vec<Answer> = Vec::new();
    while let Some(frame) = request {
        let Ok(Heard::Commanded { answer, .. }) = meter.receive(&frame, station.now) else { panic!("a command") };
        let decoded = station.hear(&answer).expect("a good frame");
        request = decoded.reply;
        let [Message::Answer(answer)] = &decoded.messages[..] else { panic!("an answer") };
        assert_eq!(answer.correlation, order.correlation);
        answers.push(answer.clone());
        if request.is_some() {
            // Twelve seconds of silence: the meter repeats, and is asked again.
            station.now += 12;
            let again = station.hear(meter.repeat().expect("an answer")).expect("a good frame");
            assert!(again.duplicate);
            assert_eq!(again.reply, request);
        }
        station.now += 1;
    }
    assert_eq!(answers.iter().map(|a| a.more_follows).collect::<Vec<_>>(), [true, true, true, true, false]);
    assert!(answers.iter().all(|a| a.outcome == Outcome::Done));
    let with_data = |a: &&Answer| matches!(&a.body, AnswerBody::Report(r) if !r.registers.is_empty());
    assert_eq!(answers.iter().filter(with_data).count(), 2);
}

#[test]
fn a_range_without_any_record_fails() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    let month = civil::date(2024, 2, 1).expect("a day");
    let read = Command::ReadHistory(History { interval: Interval::Month, first: month, last: month });
    let answer = station.ask(&mut meter, &read);
    assert_eq!((answer.outcome, &*answer.reason, answer.raw_code), (Outcome::Failed, "no-data", 0xFD));
}

#[test]
fn what_is_set_is_read_back() {
    let mut meter = meter();
    let mut station = station_of(&meter, r#"{"commissioning": "allow"}"#);
    let text = |name: &str, value: &str| Parameter { name: name.into(), value: ParameterValue::Text(value.into()) };
    let lists = [
        vec![integer("base-reading", 123_456), integer("vendor-pulse-constant", 10)],
        vec![integer("frozen-day", 28), integer("frozen-hour", 23), text("vendor-report-time", "23:59")],
        vec![text("vendor-host-2", "192.0.2.10"), integer("vendor-port-2", 5683)],
        vec![integer("balance-level-1", 1000), integer("overdraft-close", -5000), integer("auto-close-mask", 127)],
    ];
    for list in &lists {
        assert_eq!(station.ask(&mut meter, &Command::SetParameters(list.clone())).outcome, Outcome::Done);
    }
    let answer = station.ask(&mut meter, &Command::ReadParameters(Vec::new()));
    let AnswerBody::Parameters(found) = answer.body else { panic!("parameters, not {:?}", answer.body) };
    assert!(lists.concat().iter().all(|wanted| found.contains(wanted)), "{found:?}");
    assert_eq!(found.len(), 10, "and nothing else");
    let schedule = ScheduleChange {
        period: Some(ReportPeriod::Daily),
        minute_of_day: Some(20),
        stagger_minutes: None,
        awake_minutes: None,
        heartbeat_minutes: None,
    };
    assert_eq!(station.ask(&mut meter, &Command::SetSchedule(schedule)).outcome, Outcome::Done);
    meter.refuse_with = Some(-12);
    let refused = station.ask(&mut meter, &Command::SetParameters(lists[3].clone()));
    assert_eq!((refused.outcome, refused.raw_code), (Outcome::Refused, 0xF4));
}

#[test]
fn a_balance_sync_closes_the_session() {
    let mut meter = meter();
    let mut station = station_of(&meter, r#"{"balance_sync": "absent"}"#);
    let level = BalanceLevel::Normal;
    let sync = BalanceSync { balance: 4200, price: 0, level, settled_total: 5_678_900, settled_at: READ_AT };
    let sync = Command::SyncBalance(sync);
    assert_eq!(station.say(&sync).expect_err("the class is not known").kind, FaultKind::Unsupported);
    station.hear(&meter.report(READ_AT, 2, false)).expect("a good report");
    let order = station.say(&sync).expect("a sync");
    let Ok(Heard::Commanded { answer, closes: true, .. }) = meter.receive(&order.frames[0], READ_AT) else {
        panic!("it closes")
    };
    let decoded = station.hear(&answer).expect("a good frame");
    assert!(matches!(&decoded.messages[..], [Message::Answer(a), Message::EndOfSession] if a.outcome == Outcome::Done));
    assert_eq!(meter.state.balance, 4200);
}

#[test]
fn a_packed_log_is_dated_backwards() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    meter.state.device_type = 2;
    let record = |hundredths, flow, temperature| Record {
        standard_total: hundredths + 100,
        working_total: hundredths,
        flow,
        temperature,
        pressure: 1013,
    };
    let log: Vec<_> = (0..100).map(|k: i32| record(1_000_000 - k * 100, 1.5 + k as f32 / 8.0, 200)).collect();
    let decoded = station.hear(&meter.packed(READ_AT, READ_AT - 7, 6, 2, &log, true)).expect("a good log");
    let report = report(&decoded.messages);
    let working = report.series.iter().find(|s| s.quantity == Quantity::WorkingVolume).expect("totals");
    assert_eq!(working.samples.len(), 99);
    assert_eq!((working.samples[98].at, working.samples[98].mantissa), (READ_AT - 7 - 99 * 7200, 9901));
    let flow = report.series.iter().find(|s| s.quantity == Quantity::VolumeFlow).expect("flows");
    assert_eq!((flow.exponent, flow.samples[0].mantissa), (-3, 1625));
    assert!(report.series.iter().any(|s| s.quantity == Quantity::StandardVolume));
    let undated = station.hear(&meter.packed(READ_AT, READ_AT, 9, 0, &log[..2], false)).expect("a good log");
    assert!(undated.messages.iter().any(|m| matches!(m, Message::Unknown(u) if u.bytes.len() == 16)));
}
