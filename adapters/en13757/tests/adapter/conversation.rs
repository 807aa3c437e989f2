//! Whole conversations with simulated meters on a bus.

use super::station::{NOW, Together, station_of};
use en13757::device::{Meter, Record, Security};
use en13757::layers::ci;
use en13757::link::{self, control};
use en13757::radio::Format;
use polymeter_sdk::keys::store;
use polymeter_sdk::{Answer, AnswerBody, Command, EndReason, FaultKind, Message, Outcome, Quantity, ReadScope, Report};

const LGB: &str = "LGB120820584003";
const READ: Command = Command::Read(ReadScope::Current);

fn meter(address: &str) -> Meter {
    let mut meter = Meter::gas(address);
    meter.records = vec![Record::bcd(0x13, 123_456), Record::time(&[0x04], NOW)];
    meter
}

fn report(answer: &Answer) -> &Report {
    match &answer.body {
        AnswerBody::Report(report) => report,
        other => panic!("a report, not {other:?}"),
    }
}

fn volume(answer: &Answer) -> Option<i64> {
    let is_volume = |r: &&polymeter_sdk::Register| r.quantity == Quantity::WorkingVolume;
    report(answer).registers.iter().find(is_volume).map(|r| r.mantissa)
}

#[test]
fn a_selected_meter_answers_among_others() {
    let mut bus = [meter("LGB120820574003"), meter(LGB), meter("ELS120820584003")];
    bus[1].records[0] = Record::bcd(0x13, 777);
    let mut station = station_of("", LGB);
    let talk = station.run(&READ, |frame| {
        let mut answers: Vec<_> = bus.iter_mut().filter_map(|m| m.receive(frame)).collect();
        assert!(answers.len() <= 1, "two meters speak at once");
        answers.pop()
    });
    assert_eq!(talk.sent.len(), 2, "selection and request");
    let answers = talk.answers();
    assert_eq!((answers.len(), answers[0].outcome, volume(answers[0])), (1, Outcome::Done, Some(777)));
    assert!(matches!(talk.messages.first(), Some(Message::Registration(_))), "it is news once");
    let again = station.run(&READ, |frame| bus[1].receive(frame));
    assert_eq!(again.messages.len(), 1);

    let end = station.say(&Command::EndSession(EndReason::Done)).expect("an end");
    assert_eq!(bus[1].receive(&end.frames[0]), Some(vec![0xE5]), "let go");
    assert_eq!(bus[1].receive(&[0x10, 0x7B, 0xFD, 0x78, 0x16]), None);
    assert!(station.say(&Command::EndSession(EndReason::Done)).expect("an end").frames.is_empty());
}

#[test]
fn a_primary_read_resets_and_asks() {
    let mut meter = meter(LGB);
    meter.primary = 5;
    let mut station = station_of(r#"{"addressing": "primary", "primary_address": 5}"#, LGB);
    let talk = station.run(&READ, |frame| meter.receive(frame));
    assert_eq!(talk.sent, [[0x10, 0x40, 0x05, 0x45, 0x16], [0x10, 0x7B, 0x05, 0x80, 0x16]]);
    assert_eq!(volume(talk.answers()[0]), Some(123_456));
    // From now on the meter's own address is known.
    let memory = station.memory;
    let mut station = station_of(r#"{"addressing": "primary"}"#, LGB);
    station.memory = memory;
    assert_eq!(station.run(&READ, |frame| meter.receive(frame)).sent.len(), 2);
}

#[test]
fn what_names_no_meter_is_the_asked_ones_only_from_its_own_address() {
    let bare = |address, value| link::long(control::RSP_UD, address, ci::BARE, &Record::bcd(0x13, value).0);
    let mut station = station_of(r#"{"addressing": "primary", "primary_address": 1}"#, LGB);
    station.say(&READ).expect("a reset");
    station.hear(&[0xE5]).expect("an acknowledgement");
    for _ in 0..2 {
        assert_eq!(station.hear(&bare(2, 777)).expect_err("another meter").kind, FaultKind::Corrupt);
        assert!(station.memory.is_empty(), "where another one answers is not where this one does");
    }
    let decoded = station.hear(&bare(1, 123_456)).expect("the answer");
    assert!(matches!(&decoded.messages[..], [.., Message::Answer(answer)] if volume(answer) == Some(123_456)));
    assert_eq!(station.memory, [1, 1, 0]);
    // It has got another address, and says who it is.
    let mut moved = meter(LGB);
    moved.primary = 9;
    station.hear(&moved.receive(&[0x10, 0x7B, 0x09, 0x84, 0x16]).expect("its records")).expect("a report");
    assert_eq!(station.memory, [1, 9, 0]);
}

#[test]
fn many_records_come_in_telegrams_with_the_frame_count_bit_toggled() {
    let mut meter = meter(LGB);
    meter.records = (0..80).map(|n| Record::bcd(0x13, n)).collect();
    let mut station = station_of("", LGB);
    let mut repeat = true;
    let talk = station.run(&READ, |frame| {
        let answer = meter.receive(frame);
        // The same request again is answered with the same telegram.
        if std::mem::take(&mut repeat) && frame.len() == 5 {
            assert_eq!(meter.receive(frame), answer);
        }
        answer
    });
    let controls: Vec<_> = talk.sent.iter().skip(1).map(|frame| frame[1]).collect();
    assert_eq!(controls, [0x7B, 0x5B, 0x7B]);
    let answers = talk.answers();
    assert_eq!(answers.iter().map(|a| a.more_follows).collect::<Vec<_>>(), [true, true, false]);
    let volumes = |a: &&Answer| report(a).registers.iter().filter(|r| r.code == 0x13).count();
    assert_eq!(answers.iter().map(volumes).sum::<usize>(), 80);
}

/// Quantities of the totals of a read, in order.
fn totals(answers: &[&Answer]) -> Vec<Quantity> {
    let is_total = |r: &&polymeter_sdk::Register| r.code & 0xFF == 0x13;
    answers.iter().flat_map(|a| report(a).registers.iter().filter(is_total)).map(|r| r.quantity).collect()
}

#[test]
fn a_converter_is_remembered_to_mark_its_volumes() {
    const CONVERTER: &str = "ABC004721651013";
    let plain = Record::bcd(0x13, 12_345);
    let others = (0..40).map(|n| Record::bcd(0x2B, n));
    for (last, first_time, from_then_on) in [
        (
            Record::bcd_of(&[0x0C], &[0x93, 0x3E], 11_111),
            [Quantity::Volume, Quantity::StandardVolume],
            [Quantity::WorkingVolume, Quantity::StandardVolume],
        ),
        (
            Record::bcd_of(&[0x8C, 0x10], &[0x13], 11_111),
            [Quantity::Volume, Quantity::StandardVolume],
            [Quantity::StandardVolume, Quantity::StandardVolume],
        ),
    ] {
        let mut meter = meter(CONVERTER);
        meter.records = [plain.clone()].into_iter().chain(others.clone()).chain([last]).collect();
        let mut station = station_of("", CONVERTER);
        // As an adapter remembered it that knew of no marks.
        station.memory = vec![1, 1, 0];
        assert_eq!(totals(&station.run(&READ, |frame| meter.receive(frame)).answers()), first_time);
        for _ in 0..2 {
            assert_eq!(totals(&station.run(&READ, |frame| meter.receive(frame)).answers()), from_then_on);
        }
        assert!(station.memory.len() == 4 && station.memory.starts_with(&[1, 1, 0]), "{:x?}", station.memory);
    }
}

#[test]
fn errors_of_the_application_end_the_command() {
    for (code, outcome) in [(0, Outcome::Failed), (1, Outcome::Unsupported), (5, Outcome::Refused), (8, Outcome::Busy)]
    {
        let mut meter = meter(LGB);
        meter.fail_with = Some(code);
        let mut station = station_of("", LGB);
        let talk = station.run(&READ, |frame| meter.receive(frame));
        let answers = talk.answers();
        assert_eq!((answers.len(), answers[0].outcome, answers[0].raw_code), (1, outcome, u32::from(code)));
        meter.fail_with = None;
        assert_eq!(station.run(&READ, |frame| meter.receive(frame)).answers()[0].outcome, Outcome::Done);
    }
}

#[test]
fn the_clock_is_set_in_both_forms() {
    for (profile, kept) in [("", NOW - 5), (r#"{"clock": "i"}"#, NOW)] {
        let mut meter = meter(LGB);
        let mut station = station_of(profile, LGB);
        let talk = station.run(&Command::SetClock(NOW), |frame| meter.receive(frame));
        assert_eq!(talk.answers()[0].outcome, Outcome::Done);
        assert_eq!(meter.clock, Some(kept), "{profile}");
    }
}

#[test]
fn silence_leaves_the_next_read_whole() {
    let mut meter = meter(LGB);
    let mut station = station_of("", LGB);
    assert_eq!(station.run(&READ, |_| None).sent.len(), 1);
    let talk = station.run(&READ, |frame| if frame.len() == 5 { None } else { meter.receive(frame) });
    assert_eq!((talk.sent.len(), talk.messages.len()), (2, 0));
    assert_eq!(volume(station.run(&READ, |frame| meter.receive(frame)).answers()[0]), Some(123_456));
}

#[test]
fn encrypted_answers_and_telegrams() {
    let key = [0x5A; 16];
    for security in [Security::Mode5(key), Security::Mode7(key, 7)] {
        let mut meter = meter(LGB).with_security(security);
        let mut station = station_of("", LGB);
        store::insert("1", key);
        let talk = station.run(&READ, |frame| meter.receive(frame));
        assert_eq!(volume(talk.answers()[0]), Some(123_456), "{security:?} over the wire");
        for format in [Format::A, Format::B] {
            let mut station = station_of("", LGB);
            store::insert("1", key);
            let decoded = station.hear(&meter.radio(format)).expect("a telegram");
            assert!(matches!(&decoded.messages[..], [Message::Registration(_), Message::Report(_)]));
            let refused = station.say(&READ).expect_err("who is heard by radio is not asked");
            assert_eq!(refused.kind, FaultKind::Unsupported);
            let untold = station.say(&Command::EndSession(EndReason::Done)).expect_err("nor told anything");
            assert_eq!(untold.kind, FaultKind::Unsupported);
            store::insert("1", [0; 16]);
            let wrong = station.hear(&meter.radio(format)).expect_err("another key");
            assert_eq!(wrong.kind, FaultKind::NotAuthentic);
        }
    }
}
