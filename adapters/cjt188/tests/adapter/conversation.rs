//! Whole conversations: the adapter as master against a simulated meter of every dialect.

use super::station::{NOW, Together, station_of};
use cjt188::device::{Dialect, Meter, Valve as Position};
use polymeter_sdk::{
    Answer, AnswerBody, Command, History, Interval, Outcome, Parameter, ParameterValue, Quantity, ReadScope, Recharge,
    Register, Report, Role, Tariff, TariffCycle, Unit, Valve, ValveOrder, ValveState, civil,
};

const ADDRESS: &str = "00231100456789";
const READ: Command = Command::Read(ReadScope::Current);

/// Every dialect with the profile that fits it.
fn dialects() -> Vec<(&'static str, Meter, &'static str)> {
    let meter = |t, dialect| Meter::new(ADDRESS, t, dialect);
    vec![
        ("2004", meter(0x30, Dialect::default()), "{}"),
        (
            "gas module",
            meter(0x30, Dialect::gas_module()),
            r#"{"wrapper": "aimeitong", "preamble": 3, "history": "module"}"#,
        ),
        ("DTU", meter(0x30, Dialect::gas_behind_dtu()), r#"{"di_order": "be", "wrapper": "dtu-cloud"}"#),
        ("SC water", meter(0x10, Dialect::sc_water()), r#"{"di_order_write": "be", "ser": 1, "meter_type": "10"}"#),
        (
            "high bits",
            meter(0x11, Dialect::high_bits()),
            r#"{"status_layout": "high", "datetime": "bin", "meter_type": "11"}"#,
        ),
        (
            "2018",
            meter(0x31, Dialect::issue_2018()),
            r#"{"edition": "2018", "status_layout": "split", "history": "d200", "meter_type": "31"}"#,
        ),
        (
            "heat, unit first",
            meter(0x20, Dialect::heat_unit_first()),
            r#"{"di_order": "be", "unit_place": "before", "meter_type": "20"}"#,
        ),
        (
            "heating and cooling",
            meter(0x22, Dialect::issue_2018()),
            r#"{"edition": "2018", "reading": "911f", "status_layout": "split", "history": "d200", "meter_type": "22"}"#,
        ),
        (
            "inverted",
            meter(0x10, Dialect::inverted()),
            r#"{"status_layout": "inverted", "ser_echo": "required", "meter_type": "10"}"#,
        ),
    ]
}

fn report(answer: &Answer) -> &Report {
    let AnswerBody::Report(report) = &answer.body else { panic!("a report, not {:?}", answer.body) };
    report
}
fn present(report: &Report) -> &Register {
    let wanted = |r: &&Register| {
        r.role == Role::Cumulative
            && r.tariff == 0
            && (r.quantity == Quantity::Energy
                || r.quantity == Quantity::Volume && report.registers.iter().all(|o| o.quantity != Quantity::Energy))
    };
    report.registers.iter().find(wanted).expect("a present total")
}
fn order(order: ValveOrder) -> Command {
    Command::Valve(Valve { order, order_id: 1, valid_until: NOW + 3600, reason: String::new() })
}
fn with(profile: &str, more: &str) -> String {
    let inner = profile.trim().trim_start_matches('{').trim_end_matches('}');
    if inner.trim().is_empty() { format!("{{{more}}}") } else { format!("{{{inner}, {more}}}") }
}
fn set(name: &str, value: ParameterValue) -> Command {
    Command::SetParameters(vec![Parameter { name: name.into(), value }])
}

#[test]
fn every_dialect_reads_to_the_last_count() {
    for (name, mut meter, profile) in dialects() {
        let mut station = station_of(&meter, profile);
        for total in [0, 1, 9, 10, 1_234_567, 99_999_999_u32] {
            meter.readings = Box::new(move |_| total);
            let answers = station.ask(&mut meter, &READ);
            let last = answers.last().unwrap_or_else(|| panic!("{name}: an answer"));
            assert!(!last.more_follows && answers[..answers.len() - 1].iter().all(|a| a.more_follows), "{name}");
            let read = present(report(last));
            let exponent = if read.unit == Unit::WattHour { 1 } else { -2 };
            assert_eq!((read.mantissa, read.exponent), (i64::from(total), exponent), "{name}");
        }
    }
}

#[test]
fn every_dialect_moves_its_valve_and_shows_it() {
    for (name, mut meter, profile) in dialects() {
        let mut station = station_of(&meter, &with(profile, r#""remote_open": "open""#));
        for (what, position, state) in [
            (ValveOrder::CloseForced, Position::Closed, ValveState::Closed),
            (ValveOrder::PermitOpen, Position::Open, ValveState::Open),
        ] {
            let answer = station.ask_one(&mut meter, &order(what));
            assert_eq!((answer.outcome, meter.valve), (Outcome::Accepted, position), "{name}");
            if let AnswerBody::Valve(status) = &answer.body {
                assert_eq!(status.state, state, "{name}");
            }
            let answers = station.ask(&mut meter, &READ);
            let shown = report(answers.last().expect("an answer")).valve.clone();
            assert_eq!(shown.map(|v| v.state), Some(state), "{name}");
        }
        meter.battery_low = true;
        meter.valve = Position::Fault;
        let answers = station.ask(&mut meter, &READ);
        let alarms = &report(answers.last().expect("an answer")).alarms;
        assert_eq!(alarms, &["valve-fault", "battery-low"], "{name}");
    }
}

#[test]
fn a_stuck_valve_is_seen_by_the_next_reading() {
    let mut meter = Meter::new(ADDRESS, 0x30, Dialect::default());
    let mut station = station_of(&meter, "");
    meter.valve_stuck = true;
    assert_eq!(station.ask_one(&mut meter, &order(ValveOrder::CloseForced)).outcome, Outcome::Accepted);
    let answer = station.ask_one(&mut meter, &READ);
    assert_eq!(report(&answer).valve.as_ref().map(|v| v.state), Some(ValveState::Open));
}

#[test]
fn a_refusal_finds_its_command_in_every_form() {
    for (name, mut meter, profile) in dialects() {
        let mut station = station_of(&meter, profile);
        meter.refuse_with = Some([5, 0]);
        for command in [READ, order(ValveOrder::CloseForced)] {
            let answer = station.ask_one(&mut meter, &command);
            assert_eq!(
                (answer.outcome, answer.raw_code, &*answer.reason),
                (Outcome::Refused, 5, "vendor-error"),
                "{name}"
            );
        }
    }
}

#[test]
fn months_come_one_by_one_with_their_days() {
    for (name, mut meter, profile) in dialects() {
        if name == "gas module" {
            continue;
        }
        meter.settlement_day = 20;
        let mut station = station_of(&meter, &with(profile, r#""settlement_day": 20"#));
        let (first, last) = (civil::date(2023, 4, 1).expect("a day"), civil::date(2024, 2, 29).expect("a day"));
        let history = Command::ReadHistory(History { interval: Interval::Month, first, last });
        let answers: Vec<_> = station.ask(&mut meter, &history);
        let whole: Vec<_> = answers.iter().filter(|a| matches!(a.body, AnswerBody::Report(_))).collect();
        assert_eq!(whole.len(), 11, "{name}");
        for (ago, answer) in (1_i64..).zip(&whole) {
            assert_eq!(answer.more_follows, ago < 11, "{name}");
            let register = &report(answer).registers[0];
            let at = register.at.expect("dated");
            let month = civil::fields(at).expect("a time");
            assert_eq!((month.day, i64::from(register.storage)), (20, ago), "{name}");
            assert_eq!(register.mantissa, i64::from(meter.total(at)), "{name}");
        }
    }
}

#[test]
fn a_modules_days_and_months() {
    let mut meter = Meter::new(ADDRESS, 0x30, Dialect::gas_module());
    let profile = r#"{"wrapper": "aimeitong", "history": "module"}"#;
    let mut station = station_of(&meter, profile);
    for (interval, first, last, requests, storages) in [
        (Interval::Day, NOW - 12 * civil::DAY, NOW - 6 * civil::DAY, 2, 6..=15),
        (Interval::Day, NOW - 30 * civil::DAY, NOW, 6, 1..=30),
        (Interval::Month, NOW - 200 * civil::DAY, NOW, 2, 1..=12),
    ] {
        let answers = station.ask(&mut meter, &Command::ReadHistory(History { interval, first, last }));
        assert_eq!(answers.len(), requests);
        let found: Vec<u32> = answers.iter().flat_map(|a| report(a).registers.iter().map(|r| r.storage)).collect();
        assert_eq!(found, storages.collect::<Vec<u32>>());
    }
}

#[test]
fn the_clock_is_set_and_read_back() {
    for (name, mut meter, profile) in dialects() {
        let mut station = station_of(&meter, profile);
        meter.drift_s = 4000;
        assert_eq!(station.ask_one(&mut meter, &Command::SetClock(NOW)).outcome, Outcome::Done, "{name}");
        assert_eq!(meter.drift_s, 0, "{name}");
        let answer = station.ask_one(&mut meter, &Command::ReadParameters(vec!["vendor-clock".into()]));
        assert_eq!(answer.body, AnswerBody::Clock(NOW), "{name}");
    }
}

#[test]
fn base_reading_and_address_are_written_at_the_factory_only() {
    let mut meter = Meter::new(ADDRESS, 0x30, Dialect::default());
    let mut station = station_of(&meter, r#"{"commissioning": "allow"}"#);
    assert_eq!(
        station.ask_one(&mut meter, &set("base-reading", ParameterValue::Integer(547_698))).outcome,
        Outcome::Done
    );
    assert_eq!(present(report(&station.ask_one(&mut meter, &READ))).mantissa, 547_698);

    let renamed = set("address", ParameterValue::Text("00231100456790".into()));
    let encoded = station.say(&renamed).expect("it can be said");
    let [answer] = &meter.hear(NOW, &encoded.frames[0])[..] else { panic!("one answer") };
    let decoded = station.hear(answer).expect("it is understood");
    assert_eq!(decoded.sender.expect("a sender").address, "00231100456790", "it answers from its new address");
    meter.left_factory = true;
    station.address = meter.address();
    assert!(station.ask(&mut meter, &set("base-reading", ParameterValue::Integer(0))).is_empty(), "silence");
}

#[test]
fn days_prices_and_purchases_are_read_back() {
    let mut meter = Meter::new(ADDRESS, 0x30, Dialect::default());
    let mut station = station_of(&meter, "");
    for (name, day) in [("settlement-day", 25), ("reading-day", 1)] {
        let value = ParameterValue::Integer(day);
        assert_eq!(station.ask_one(&mut meter, &set(name, value.clone())).outcome, Outcome::Done);
        let answer = station.ask_one(&mut meter, &Command::ReadParameters(vec![name.into()]));
        assert_eq!(answer.body, AnswerBody::Parameters(vec![Parameter { name: name.into(), value }]));
    }
    let effective = civil::date(2024, 4, 1).expect("a day");
    let tariff = Tariff {
        plan: 1,
        effective,
        on_meter: true,
        cycle: TariffCycle::Month,
        cycle_start: effective,
        limits: vec![30_000, 50_000],
        prices: vec![25_000, 30_000, 99_999_900],
    };
    assert_eq!(station.ask_one(&mut meter, &Command::SetTariff(tariff)).outcome, Outcome::Done);
    let answer = station.ask_one(&mut meter, &Command::ReadParameters(vec!["vendor-prices".into()]));
    let found: Vec<i64> = report(&answer).registers.iter().map(|r| r.mantissa).collect();
    assert_eq!(found, [250, 300, 300, 500, 999_999]);

    let recharge = Recharge { order_id: 1, purchase_count: 3, amount: 10_050, volume: 0, purchased_total: 0 };
    let encoded = station.say(&Command::Recharge(recharge)).expect("it can be said");
    assert!(!encoded.repeatable);
    assert_eq!(station.ask_one(&mut meter, &Command::Recharge(recharge)).outcome, Outcome::Done);
    let answer = station.ask_one(&mut meter, &Command::Read(ReadScope::Account));
    let found: Vec<i64> = report(&answer).registers.iter().map(|r| r.mantissa).collect();
    assert_eq!(found, [3, 10_050, 10_050, 10_050]);
}

#[test]
fn who_is_alone_on_the_line_tells_its_address() {
    let mut meter = Meter::new("00052032720001", 0x10, Dialect::default());
    let mut station = station_of(&meter, "");
    let mut nobody = station_of(&meter, "");
    nobody.memory.clear();
    let command = Command::ReadParameters(vec!["address".into()]);
    let encoded = polymeter_sdk::Adapter::encode(
        &nobody.adapter,
        &polymeter_sdk::Context {
            now: NOW,
            direction: polymeter_sdk::Direction::Uplink,
            transport: polymeter_sdk::Transport::Stream,
            admission: polymeter_sdk::Admission::Undecided,
            pending: 0,
            device: None,
            state: Vec::new(),
        },
        &command,
    )
    .expect("it can be said");
    let [answer] = &meter.hear(NOW, &encoded.frames[0])[..] else { panic!("one answer") };
    let decoded = station.hear(answer).expect("it is understood");
    assert_eq!(decoded.sender.expect("a sender").address, "00052032720001");
}

#[test]
fn meters_are_silent_to_what_is_not_theirs() {
    let mut meter = Meter::new(ADDRESS, 0x30, Dialect::default());
    let mut station = station_of(&Meter::new("00231100456790", 0x30, Dialect::default()), "");
    assert!(station.ask(&mut meter, &READ).is_empty(), "another address");
    let mut station = station_of(&meter, r#"{"di_order": "be"}"#);
    assert!(station.ask(&mut meter, &READ).is_empty(), "another order of bytes");
    let mut station = station_of(&meter, r#"{"meter_type": "10"}"#);
    assert!(station.ask(&mut meter, &READ).is_empty(), "another type");
}
