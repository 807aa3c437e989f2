//! Whole days: the slot, orders, a congested network, a line that stays open.

use super::rig::{Net, Rig, midnight, start, total};
use polymeter_sdk::{
    AnswerBody, Command, History, Interval, KeyChange, KeyCipher, Outcome, Parameter, ParameterValue, ReadScope,
    Recharge, ReportPeriod, ScheduleChange, Valve, ValveOrder, ValveState,
};
use wtcu::{DAYS_KEPT, Period};

/// From report time to the slot of an address that ends with 10, stagger 2.
const SLOT_S: i64 = 20 * 60;

pub fn order(order: ValveOrder, order_id: u32) -> Command {
    Command::Valve(Valve { order, order_id, valid_until: midnight(400), reason: String::new() })
}

#[test]
fn it_speaks_once_a_day_in_its_slot() {
    for keyed in [false, true] {
        let mut rig = Rig::new(keyed);
        rig.run_until(midnight(4) - 1);
        let slots: Vec<_> = (1..4).map(|day| midnight(day) + SLOT_S).collect();
        assert_eq!(rig.connected, slots);
        let days: Vec<_> = rig.desk.days();
        assert_eq!(days.len(), 3 + 1, "the day it was switched on is told, too: {days:?}");
        assert!(days.iter().all(|(at, value)| *value == i64::from(total(*at))));
        assert_eq!(rig.unit.terminal.days.oldest_unsent(), None);
    }
}

#[test]
fn dekads_and_months_are_told_in_one_report() {
    for (period, first_slot, days) in [(Period::Dekad, 7, 10), (Period::Monthly, 18, 31)] {
        let mut rig = Rig::new(true);
        rig.unit.terminal.plan.period = period;
        rig.run_until(midnight(first_slot + 1));
        assert_eq!(rig.connected, [midnight(first_slot) + SLOT_S], "{period:?}");
        assert_eq!(rig.desk.days().len(), days, "{period:?}");
    }
}

#[test]
fn orders_are_carried_out_and_answered_and_then_it_sleeps() {
    for keyed in [false, true] {
        let mut rig = Rig::new(keyed);
        let change = ScheduleChange {
            period: None,
            minute_of_day: Some(60),
            stagger_minutes: Some(3),
            awake_minutes: None,
            heartbeat_minutes: None,
        };
        let history = History { interval: Interval::Day, first: midnight(0), last: midnight(1) };
        let parameter = Parameter { name: "communication-lost-days".into(), value: ParameterValue::Integer(9) };
        let recharge = Recharge { order_id: 70, purchase_count: 1, amount: 5000, volume: 0, purchased_total: 5000 };
        // Taken from the end.
        rig.desk.orders = vec![
            Command::SetClock(midnight(1) + SLOT_S + 500),
            order(ValveOrder::PermitOpen, 8),
            order(ValveOrder::CloseForced, 7),
            Command::Recharge(recharge),
            Command::Recharge(recharge),
            Command::SetParameters(vec![parameter]),
            Command::ReadHistory(history),
            Command::SetSchedule(change),
            Command::Read(ReadScope::Current),
        ];
        rig.run_until(midnight(1) + 3600);
        let outcomes: Vec<_> = rig.desk.answers.iter().map(|a| a.outcome).collect();
        let mut wanted = [Outcome::Done; 9];
        wanted[5] = Outcome::AlreadyDone;
        assert_eq!(outcomes, wanted);
        assert_eq!((rig.bench.motions, rig.unit.terminal.status.valve), (1, 2), "closed, and then permitted to open");
        assert_eq!(rig.unit.terminal.account.balance, 5000);
        let AnswerBody::Valve(status) = &rig.desk.answers[6].body else { panic!("a valve's state") };
        assert_eq!(status.state, ValveState::ClosedForced);
        rig.run_until(midnight(3));
        assert_eq!(rig.connected.last(), Some(&(midnight(2) + 3600 + 30 * 60)), "the new schedule holds");
    }
}

#[test]
fn a_new_key_is_taken_over_and_survives() {
    let mut rig = Rig::new(true);
    rig.desk.orders = vec![Command::SetKey(KeyChange { slot: "2".into(), version: 2, cipher: KeyCipher::Sm4 })];
    rig.run_until(midnight(1) + 3600);
    assert_eq!(rig.desk.answers[0].outcome, Outcome::Done);
    rig.cut_power();
    rig.run_until(midnight(3));
    assert_eq!((rig.unit.terminal.keys.version(), rig.desk.days().len()), (2, 3));
}

#[test]
fn an_event_is_told_at_once_and_an_ordinary_report_comes_in_its_slot() {
    let mut rig = Rig::new(true);
    rig.run_until(start() + 60);
    rig.event(8);
    rig.run_until(start() + 120);
    assert_eq!((rig.connected.len(), rig.desk.events), (1, 1));
    assert_eq!(rig.desk.days().len(), 0, "3062 brings no reading of the day");
    rig.run_until(midnight(1) + 3600);
    assert_eq!((rig.connected.len(), rig.desk.events), (2, 1), "told once");
}

#[test]
fn nothing_is_lost_while_the_network_is_congested() {
    for (what, net) in [Net::NoModem, Net::Refused, Net::Mute, Net::Busy].into_iter().enumerate() {
        for keyed in [false, true] {
            let mut rig = Rig::new(keyed);
            rig.net = net;
            rig.run_until(midnight(6));
            assert_eq!(rig.desk.days(), [], "{what}");
            rig.net = Net::Up;
            rig.run_until(midnight(8));
            let days = rig.desk.days();
            let mut told: Vec<_> = days.iter().map(|(at, _)| *at).collect();
            told.dedup();
            assert_eq!(told, (0..8).map(midnight).collect::<Vec<_>>(), "{net:?}");
            assert!(days.iter().all(|(at, value)| *value == i64::from(total(*at))));
        }
    }
}

#[test]
fn as_many_days_as_are_kept_come_through_and_what_is_lost_is_counted() {
    let mut rig = Rig::new(true);
    rig.net = Net::Refused;
    let away = DAYS_KEPT as i64 + 5;
    rig.run_until(midnight(away) - 60);
    rig.net = Net::Up;
    rig.run_until(midnight(away + 1));
    let mut told: Vec<_> = rig.desk.days().into_iter().map(|(at, _)| at).collect();
    told.dedup();
    assert_eq!(told, (away - DAYS_KEPT as i64 + 1..=away).map(midnight).collect::<Vec<_>>());
    assert_eq!(rig.unit.terminal.days.lost, 6);
}

#[test]
fn tries_are_spread_bounded_and_the_one_that_worked_is_kept() {
    let mut rig = Rig::new(true);
    rig.net = Net::Mute;
    rig.run_until(midnight(1) + 2 * 3600);
    let tries = rig.connected.clone();
    assert!((3..=9).contains(&tries.len()), "{tries:?}");
    let waits: Vec<_> = tries.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(waits.last() > waits.first(), "later and later: {waits:?}");
    rig.net = Net::Up;
    rig.run_until(midnight(2));
    let worked = *rig.connected.last().expect("it got through");
    assert!(worked > midnight(1) + 2 * 3600 - 64 * 90);
    rig.run_until(midnight(4));
    let kept = (worked - midnight(1)) / 60;
    let minutes: Vec<_> =
        rig.connected[rig.connected.len() - 2..].iter().map(|at| (at - midnight(0)) / 60 % 1440).collect();
    assert!(minutes.iter().all(|m| m.abs_diff(kept) <= 1), "{minutes:?}, kept {kept}");
    // In another unit, chance falls otherwise.
    let mut other = Rig::new(true);
    (other.net, other.random) = (Net::Mute, 4242);
    other.run_until(midnight(1) + 2 * 3600);
    assert_ne!(other.connected, tries);
    // Bounded: a dead network is tried nine times a day.
    let mut rig = Rig::new(true);
    rig.net = Net::Mute;
    rig.run_until(midnight(2));
    assert_eq!(rig.connected.len(), 9);
}

#[test]
fn who_is_not_wanted_comes_back_in_the_next_slot_only() {
    let mut rig = Rig::new(true);
    rig.net = Net::NotAuthorised;
    rig.run_until(midnight(3));
    assert_eq!(rig.connected, [midnight(1) + SLOT_S, midnight(2) + SLOT_S]);
}

#[test]
fn a_line_that_stays_open_is_kept_alive_and_reports_every_day() {
    let mut rig = Rig::of(true, 0x0049);
    rig.unit.terminal.plan.heartbeat_minutes = 60;
    rig.desk.keeps_line = true;
    rig.run_until(midnight(3));
    assert_eq!((rig.connected.len(), rig.desk.registrations), (1, 1));
    assert!(rig.desk.heartbeats > 40, "{}", rig.desk.heartbeats);
    let mut told: Vec<_> = rig.desk.days().into_iter().map(|(at, _)| at).collect();
    told.dedup();
    assert_eq!(told, (0..3).map(midnight).collect::<Vec<_>>());
    rig.net = Net::Mute;
    rig.run_until(midnight(3) + 3 * 3600);
    assert!(rig.connected.len() > 1, "three heartbeats without an answer: it connects anew");
}

#[test]
fn what_cannot_be_made_durable_is_not_done() {
    let mut rig = Rig::new(true);
    rig.run_until(midnight(1) - 60);
    rig.bench.storage_broken = true;
    rig.desk.orders = vec![order(ValveOrder::CloseForced, 7)];
    rig.run_until(midnight(1) + 3600);
    assert_eq!(rig.bench.motions, 0);
    assert!(rig.desk.answers.iter().all(|a| a.outcome != Outcome::Done), "{:?}", rig.desk.answers);
}

#[test]
fn a_schedule_by_dekads_is_understood() {
    let mut rig = Rig::new(false);
    let change = ScheduleChange {
        period: Some(ReportPeriod::Dekad),
        minute_of_day: None,
        stagger_minutes: None,
        awake_minutes: None,
        heartbeat_minutes: None,
    };
    rig.desk.orders = vec![Command::SetSchedule(change)];
    rig.run_until(midnight(8));
    assert_eq!(rig.connected, [midnight(1) + SLOT_S, midnight(7) + SLOT_S]);
    let mut told: Vec<_> = rig.desk.days().into_iter().map(|(at, _)| at).collect();
    told.dedup();
    assert_eq!(told.last(), Some(&midnight(7)));
}
