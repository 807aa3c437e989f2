//! Whole conversations: the adapter against the meter's side of the protocol, session after session.

use super::station::{READ_AT, Station, Together, station_of};
use polymeter_sdk::{
    AnswerBody, BalanceLevel, BalanceSync, Command, FaultKind, KeyChange, KeyCipher, Message, Outcome, Parameter,
    ParameterValue, ReadScope, Recharge, Valve, ValveOrder, ValveState,
};
use qianwei_7xxx::device::{Heard, Meter, ReportKind, Valve as DeviceValve};

const PLAIN: &str = "00000000123456789012";
const AES: &str = "0000QW12345678901234";
const NEW_KEY: [u8; 16] = [0xA5; 16];
const THIRD_KEY: [u8; 16] = [0x5A; 16];

fn close() -> Command {
    let order = ValveOrder::CloseTemporary;
    Command::Valve(Valve { order, order_id: 1, valid_until: READ_AT + 3600, reason: String::new() })
}
fn set_key(slot: &str) -> Command {
    Command::SetKey(KeyChange { slot: slot.into(), version: 1, cipher: KeyCipher::Aes128 })
}
fn working_total(messages: &[Message]) -> Option<i64> {
    let report = messages.iter().find_map(|m| if let Message::Report(r) = m { Some(r) } else { None })?;
    report.registers.first().map(|register| register.mantissa)
}

#[test]
fn a_report_is_acknowledged_with_the_clock_and_a_waiting_command_follows() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    station.pending = 1;
    let decoded = station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("a good report");
    assert!(matches!(&decoded.messages[..], [Message::Registration(_), Message::Report(_)]));
    let heard = meter.receive(&decoded.reply.expect("an acknowledgement"));
    let clock = Some(READ_AT + 11);
    assert_eq!(heard, Ok(Heard::Acknowledged { command: 0x7021, frame_id: 1, code: 0, clock, more: true }));

    station.pending = 0;
    assert_eq!(station.ask(&mut meter, &close()).outcome, Outcome::Accepted);
    assert_eq!(meter.state.valve, DeviceValve::ClosedTemporary);
    let decoded = station.hear(&meter.report(READ_AT, ReportKind::Alarm)).expect("a good report");
    let [Message::Report(report), Message::Event(event)] = &decoded.messages[..] else {
        panic!("report and event, not {:?}", decoded.messages)
    };
    assert_eq!(report.valve.as_ref().map(|v| v.state), Some(ValveState::ClosedTemporary));
    assert_eq!(event.code, "remote-close-done");
}

#[test]
fn a_repetition_is_acknowledged_again_and_marked() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    let frame = meter.report(READ_AT, ReportKind::Scheduled);
    let first = station.hear(&frame).expect("a good report");
    let second = station.hear(&frame).expect("a good report");
    assert_eq!((first.duplicate, second.duplicate), (false, true));
    assert_eq!(first.reply, second.reply);
    let next = station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("a good report");
    assert!(!next.duplicate, "another frameId is another report");
    station.state.clear();
    assert!(!station.hear(&frame).expect("a good report").duplicate, "sessions know nothing of each other");
}

#[test]
fn ids_count_on_across_sessions_and_a_repeated_command_is_executed_once() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    let first = station.say(&close()).expect("a close");
    station.state.clear();
    let second = station.say(&close()).expect("a close");
    assert_ne!(first.correlation, second.correlation);
    assert!(!first.repeatable, "an order that moves a valve goes out once");

    let Ok(Heard::Commanded { answer, .. }) = meter.receive(&first.frames[0]) else { panic!("a command") };
    meter.state.valve = DeviceValve::Open;
    let Ok(Heard::Commanded { answer: again, .. }) = meter.receive(&first.frames[0]) else { panic!("a command") };
    assert_eq!(answer, again);
    assert_eq!(meter.state.valve, DeviceValve::Open, "the user has opened it meanwhile");
}

#[test]
fn refusals_and_valve_faults_come_back_raw() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    meter.state.valve = DeviceValve::Fault;
    let answer = station.ask(&mut meter, &close());
    assert_eq!((answer.outcome, answer.raw_code, &*answer.reason), (Outcome::Failed, 3, "vendor-error"));
    meter.refuse_with = Some(0xFFFE);
    assert_eq!(station.ask(&mut meter, &close()).raw_code, 0xFFFE);
}

#[test]
fn a_key_change_is_answered_under_the_old_key_and_holds_from_then_on() {
    let mut meter = Meter::encrypted(AES);
    let mut station = station_of(&meter, "", &[("1", NEW_KEY), ("2", THIRD_KEY)]);
    station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("under the maker's key");
    assert_eq!(station.ask(&mut meter, &set_key("1")).outcome, Outcome::Done);
    assert_eq!(meter.key(), Some(NEW_KEY));
    // In the same session, and in the next.
    assert_eq!(station.ask(&mut meter, &close()).outcome, Outcome::Accepted);
    station.state.clear();
    let decoded = station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("under the new key");
    assert!(matches!(meter.receive(&decoded.reply.expect("a reply")), Ok(Heard::Acknowledged { code: 0, .. })));

    let same = station.say(&set_key("1")).expect_err("the key in use cannot be replaced in place");
    assert_eq!(same.kind, FaultKind::OutOfRange);
    assert_eq!(station.ask(&mut meter, &set_key("2")).outcome, Outcome::Done);
    assert_eq!(station.ask(&mut meter, &close()).outcome, Outcome::Accepted);
}

#[test]
fn a_key_change_whose_answer_is_lost_is_noticed_by_the_next_report() {
    let mut meter = Meter::encrypted(AES);
    let mut station = station_of(&meter, "", &[("1", NEW_KEY)]);
    station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("under the maker's key");
    let order = station.say(&set_key("1")).expect("a key change");
    meter.receive(&order.frames[0]).expect("the meter takes it");
    station.state.clear();
    station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("under the new key");
    assert_eq!(station.ask(&mut meter, &close()).outcome, Outcome::Accepted, "commands use it as well");
}

#[test]
fn a_key_change_that_never_arrives_changes_nothing() {
    let mut meter = Meter::encrypted(AES);
    let mut station = station_of(&meter, "", &[("1", NEW_KEY)]);
    station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("under the maker's key");
    station.say(&set_key("1")).expect("a key change that gets lost");
    station.state.clear();
    station.hear(&meter.report(READ_AT, ReportKind::Scheduled)).expect("still under the maker's key");
    assert_eq!(station.ask(&mut meter, &close()).outcome, Outcome::Accepted);
    meter.refuse_with = Some(5);
    assert_eq!(station.ask(&mut meter, &set_key("1")).outcome, Outcome::Failed);
    meter.refuse_with = None;
    assert_eq!(station.ask(&mut meter, &close()).outcome, Outcome::Accepted, "a refused key is not used");
}

#[test]
fn what_is_set_is_read_back() {
    let integer = |name: &str, value| Parameter { name: name.into(), value: ParameterValue::Integer(value) };
    let text = |name: &str, value: &str| Parameter { name: name.into(), value: ParameterValue::Text(value.into()) };
    for list in [
        vec![integer("close-enable", 0xF000_000F)],
        vec![integer("event-mask", i64::MIN)],
        vec![
            integer("vendor-report-mode", 2),
            text("vendor-report-time", "23:59:58"),
            integer("vendor-report-every", 6),
            integer("collection-minutes", 30),
        ],
        vec![integer("temperature-low", -2000), integer("battery-level-1", 3300), integer("unused-days", 255)],
    ] {
        for meter in [Meter::plain(PLAIN), Meter::encrypted(AES)] {
            let mut meter = meter;
            let mut station = station_of(&meter, "", &[]);
            assert_eq!(station.ask(&mut meter, &Command::SetParameters(list.clone())).outcome, Outcome::Done);
            let answer = station.ask(&mut meter, &Command::ReadParameters(vec![list[0].name.clone()]));
            let AnswerBody::Parameters(found) = answer.body else { panic!("parameters, not {:?}", answer.body) };
            assert!(list.iter().all(|wanted| found.contains(wanted)), "{list:?} in {found:?}");
        }
    }
}

#[test]
fn the_balance_is_set_only_when_the_total_of_purchases_is_known() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    let recharge = Recharge { order_id: 1, purchase_count: 1, amount: 5000, volume: 0, purchased_total: 5000 };
    assert_eq!(station.ask(&mut meter, &Command::Recharge(recharge)).outcome, Outcome::Done);
    assert_eq!((meter.state.purchased_total, meter.state.balance), (5000, 5000));

    let level = BalanceLevel::Normal;
    let sync = BalanceSync { balance: 4200, price: 20_300, level, settled_total: 0, settled_at: READ_AT };
    let sync = Command::SyncBalance(sync);
    assert_eq!(station.say(&sync).expect_err("nobody has read it").kind, FaultKind::Unsupported);
    let answer = station.ask(&mut meter, &Command::Read(ReadScope::Account));
    assert!(matches!(answer.body, AnswerBody::Report(_)));
    assert_eq!(station.ask(&mut meter, &sync).outcome, Outcome::Done);
    assert_eq!((meter.state.purchased_total, meter.state.balance, meter.state.price), (5000, 4200, 203));

    let recharge = Recharge { order_id: 2, purchase_count: 2, amount: 1, volume: 0, purchased_total: 5001 };
    station.ask(&mut meter, &Command::Recharge(recharge));
    assert_eq!(station.say(&sync).expect_err("the total has changed since").kind, FaultKind::Unsupported);
}

#[test]
fn only_the_answer_to_the_read_in_hand_tells_the_total_of_purchases() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    let level = BalanceLevel::Normal;
    let sync = BalanceSync { balance: 4200, price: 20_300, level, settled_total: 0, settled_at: READ_AT };
    let sync = Command::SyncBalance(sync);
    let read = Command::Read(ReadScope::Account);
    let unknown = |station: &mut Station, why: &str| {
        assert_eq!(station.say(&sync).expect_err(why).kind, FaultKind::Unsupported, "{why}");
    };

    let answer_of = |meter: &mut Meter, frame: &[u8]| match meter.receive(frame) {
        Ok(Heard::Commanded { answer, .. }) => answer,
        other => panic!("the meter takes the read, not {other:?}"),
    };
    for total in [0, u32::MAX] {
        let sent = station.say(&read).expect("a read");
        let code = u16::from(total == 0);
        let words = [code.to_le_bytes().to_vec(), total.to_le_bytes().repeat(3), vec![0, 0]].concat();
        let id = i32::from_le_bytes(*sent.correlation.first_chunk().expect("a frameId"));
        let answer = meter.clone().with_frame_id(id).uplink(0x7043, &words, false);
        station.hear(&answer).expect("an answer without an account");
        unknown(&mut station, "a refusal and all ones have told no total");
    }

    meter.state.purchased_total = 5000;
    let sent = station.say(&read).expect("a read");
    let old = answer_of(&mut meter, &sent.frames[0]);
    station.hear(&old).expect("the account");
    let recharge = Recharge { order_id: 1, purchase_count: 1, amount: 5000, volume: 0, purchased_total: 10_000 };
    assert_eq!(station.ask(&mut meter, &Command::Recharge(recharge)).outcome, Outcome::Done);
    station.hear(&old).expect("the same answer, late");
    unknown(&mut station, "the meter has bought more since");
    let sent = station.say(&read).expect("a read");
    station.hear(&old).expect("once more, while another read is under way");
    unknown(&mut station, "it does not answer that read");
    let new = answer_of(&mut meter, &sent.frames[0]);
    station.hear(&new).expect("the account");
    assert_eq!(station.ask(&mut meter, &sync).outcome, Outcome::Done);
    assert_eq!(meter.state.purchased_total, 10_000);
}

#[test]
fn packed_and_corrector_reports_go_the_same_way() {
    let mut meter = Meter::encrypted(AES);
    let mut station = station_of(&meter, "", &[]);
    for (more, surplus) in [(true, &[1, 2][..]), (false, &[3])] {
        let decoded = station.hear(&meter.packed(READ_AT, READ_AT + 60, surplus, more)).expect("a good report");
        assert!(matches!(decoded.messages.last(), Some(Message::Unknown(u)) if u.bytes == surplus));
        assert!(decoded.reply.is_some(), "every part is acknowledged");
    }
    let decoded = station.hear(&meter.corrector_report(READ_AT, 123_456_789, 1)).expect("a good report");
    let Some(Message::Report(report)) = decoded.messages.iter().find(|m| matches!(m, Message::Report(_))) else {
        panic!("a report, not {:?}", decoded.messages)
    };
    assert!(report.registers.iter().any(|r| r.mantissa == 123_456_789 && r.exponent == -4));
}

#[test]
fn totals_are_exact_to_the_last_count() {
    let mut meter = Meter::plain(PLAIN);
    let mut station = station_of(&meter, "", &[]);
    for total in [0, 1, 9, 10, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE] {
        meter.state.working_total = total;
        let decoded = station.hear(&meter.report(READ_AT, ReportKind::Manual)).expect("a good report");
        assert_eq!(working_total(&decoded.messages), Some(i64::from(total)));
    }
}
