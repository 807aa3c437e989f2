//! Whole conversations: the adapter against the meter's side of the protocol.

use super::station::{READ_AT, Together, station_of};
use fengxian::device::{Heard, Meter};
use fengxian::frame::LengthOrder;
use polymeter_sdk::{
    AnswerBody, BalanceLevel, BalanceSync, Command, FaultKind, Message, Outcome, Parameter, ParameterValue, Quality,
    Report, ReportPeriod, ScheduleChange, Valve, ValveOrder, ValveState, civil,
};

const SCHEDULED: u16 = 1 << 5;

fn meter() -> Meter {
    Meter::new("31001234567890")
}
fn valve(order: ValveOrder) -> Command {
    Command::Valve(Valve { order, order_id: 1, valid_until: READ_AT + 3600, reason: String::new() })
}
fn report(messages: &[Message]) -> &Report {
    let found = messages.iter().find_map(|m| if let Message::Report(r) = m { Some(r) } else { None });
    found.expect("a report")
}
fn sync(price: u32) -> Command {
    let level = BalanceLevel::Low;
    Command::SyncBalance(BalanceSync { balance: -4200, price, level, settled_total: 0, settled_at: READ_AT })
}

#[test]
fn a_report_is_answered_by_requests_and_the_end() {
    let mut meter = meter();
    let mut station = station_of(&meter, r#"{"price": 325, "unknown_account": "zero"}"#);
    let decoded = station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    assert!(decoded.reply.is_none(), "nothing is acknowledged");
    assert!(matches!(&decoded.messages[..], [Message::Registration(_), Message::Report(_)]));
    assert_eq!(station.ask(&mut meter, &valve(ValveOrder::CloseForced)).outcome, Outcome::Accepted);
    let ended = station.end(&mut meter);
    assert_eq!(ended, Some(Heard::Ended { clock: Some(READ_AT + 5), yearly: 0, price: 325 }));
    // The end was lost: the meter reports again and hears it again.
    let again = station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    assert!(!again.duplicate, "the valve has moved, so it is another report");
    let again = station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    assert!(again.duplicate);
    assert!(matches!(meter.receive(&again.reply.expect("the end")), Ok(Heard::Ended { .. })));
    let report = report(&again.messages);
    assert_eq!(
        report.valve.as_ref().map(|v| (v.state, v.reason.as_deref())),
        Some((ValveState::Closed, Some("remote")))
    );
}

#[test]
fn the_end_is_withheld_until_price_and_yearly_volume_are_known() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    // The 5th of September: the first is among the frozen days.
    let at = civil::time(2024, 9, 5, 2, 0, 10).expect("a time");
    station.now = at + 5;
    station.hear(&meter.report(at, SCHEDULED)).expect("a good report");
    assert_eq!(station.end(&mut meter), None, "no price");
    assert_eq!(station.ask(&mut meter, &sync(32_500)).body, AnswerBody::Balance(-4200));
    // Entry 3 is the first of September: 1234567 - 600.
    let Some(Heard::Ended { yearly, price, .. }) = station.end(&mut meter) else { panic!("an end") };
    assert_eq!((yearly, price, meter.state.balance), (6, 325, -4200));
    // Months later, in another session, the start is still known; in the next gas year it is not.
    for (year, month, expected) in [(2025, 8, Some(1006)), (2025, 10, None)] {
        station.state.clear();
        meter.state.total = 1_334_567;
        meter.state.working_total = 1_334_567;
        let at = civil::time(year, month, 15, 2, 0, 10).expect("a time");
        station.now = at;
        station.hear(&meter.report(at, SCHEDULED)).expect("a good report");
        let yearly = station.end(&mut meter).map(|heard| match heard {
            Heard::Ended { yearly, .. } => yearly,
            Heard::Requested { .. } => 0,
        });
        assert_eq!(yearly, expected, "{year}-{month}");
    }
    assert_eq!(station.say(&sync(32_501)).expect_err("between the steps").kind, FaultKind::OutOfRange);
}

#[test]
fn the_style_of_the_meter_is_mirrored() {
    for (order, end, masked) in [
        (LengthOrder::LittleEndian, 0x16, false),
        (LengthOrder::BigEndian, 0x17, true),
        (LengthOrder::LittleEndian, 0x17, true),
    ] {
        let mut meter = meter();
        (meter.style.order, meter.style.end, meter.style.masked) = (order, end, masked);
        let mut station = station_of(&meter, "");
        station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
        let order = station.say(&valve(ValveOrder::CloseForced)).expect("a close");
        assert_eq!(order.frames[0], meter.build(0x04, 0x3C, &[1]));
    }
}

#[test]
fn the_valve_is_not_opened_from_afar_and_an_order_goes_out_once() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    for order in [ValveOrder::PermitOpen, ValveOrder::CloseTemporary] {
        assert_eq!(station.say(&valve(order)).expect_err("not here").kind, FaultKind::Unsupported);
    }
    let first = station.say(&valve(ValveOrder::CloseForced)).expect("a close");
    let second = station.say(&valve(ValveOrder::CloseForced)).expect("a close");
    assert!(!first.repeatable && first.correlation != second.correlation);
    station.now = READ_AT + 3601;
    assert_eq!(station.say(&valve(ValveOrder::CloseForced)).expect_err("too late").kind, FaultKind::OutOfRange);
    let mut open = station_of(&meter, r#"{"remote_open": "open"}"#);
    meter.state.valve = 1 << 6;
    assert_eq!(open.ask(&mut meter, &valve(ValveOrder::PermitOpen)).outcome, Outcome::Accepted);
    assert_eq!(meter.state.valve, 0);
}

#[test]
fn an_answer_that_repeats_something_else_is_a_failure() {
    let meter = meter();
    let mut station = station_of(&meter, "");
    let order = station.say(&valve(ValveOrder::CloseForced)).expect("a close");
    let decoded = station.hear(&meter.build(0x84, 0x3C, &[0])).expect("a good frame");
    let [Message::Answer(answer)] = &decoded.messages[..] else { panic!("an answer") };
    assert_eq!((answer.outcome, &answer.correlation), (Outcome::Failed, &order.correlation));
    let late = station.hear(&meter.build(0x84, 0x3C, &[1])).expect("a good frame");
    assert!(matches!(&late.messages[..], [Message::Answer(a)] if a.correlation != order.correlation));
}

#[test]
fn settings_keep_what_is_not_named() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    let schedule = ScheduleChange {
        period: Some(ReportPeriod::Hourly),
        minute_of_day: None,
        stagger_minutes: None,
        awake_minutes: Some(5),
        heartbeat_minutes: None,
    };
    let schedule = Command::SetSchedule(schedule);
    assert_eq!(station.say(&schedule).expect_err("the window is not known").kind, FaultKind::OutOfRange);
    station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    assert_eq!(station.ask(&mut meter, &schedule).outcome, Outcome::Done);
    let answer = station.ask(&mut meter, &Command::ReadParameters(Vec::new()));
    let AnswerBody::Parameters(found) = answer.body else { panic!("parameters") };
    let integer = |name: &str, value| Parameter { name: name.into(), value: ParameterValue::Integer(value) };
    let text = |name: &str, value: &str| Parameter { name: name.into(), value: ParameterValue::Text(value.into()) };
    let wanted = [
        text("vendor-window-start", "00:00"),
        text("vendor-window-end", "06:00"),
        integer("vendor-report-minutes", 60),
        integer("vendor-timeout-minutes", 5),
        integer("vendor-reconnect-count", 2),
        integer("vendor-reconnect-minutes", 10),
    ];
    assert_eq!(found, wanted);
    let decoded = station.hear(&meter.report(READ_AT + 60, SCHEDULED)).expect("a good report");
    assert!(matches!(&decoded.messages[..], [Message::Registration(_), Message::Report(_)]), "settings are told anew");
    let decoded = station.hear(&meter.report(READ_AT + 120, SCHEDULED)).expect("a good report");
    assert!(matches!(&decoded.messages[..], [Message::Report(_)]));
}

#[test]
fn frozen_days_that_contradict_are_not_samples() {
    let mut meter = meter();
    let mut station = station_of(&meter, "");
    meter.state.frozen[4] = meter.state.frozen[3] + 1;
    meter.state.frozen[9] = u32::MAX;
    meter.state.frozen[20..].fill(0);
    let decoded = station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    let report = report(&decoded.messages);
    assert_eq!(report.series[0].samples.len(), 17);
    assert_eq!(report.registers.iter().filter(|r| r.quality == Quality::Invalid).count(), 2);
    // Neither hundredths nor whole m³ lead from day to day up to the total.
    meter.state.frozen = std::array::from_fn(|k| 12_000 - k as u32);
    let decoded = station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    assert!(decoded.messages.iter().any(|m| matches!(m, Message::Unknown(u) if u.bytes.len() == 120)));
    let mut station = station_of(&meter, r#"{"frozen": "whole"}"#);
    let decoded = station.hear(&meter.report(READ_AT, SCHEDULED)).expect("a good report");
    let Some(Message::Report(report)) = decoded.messages.get(1) else { panic!("a report") };
    assert_eq!((report.series[0].exponent, report.series[0].samples.len()), (0, 30));
}
