//! Commands: asked for through the API, carried out by a device, and told to their end. No valve moves twice for one order.

use fleet::api::Refused;
use fleet::station::Settings;
use polymeter_tests::peer::Peer;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, meter};
use qianwei_7xxx::device::{Meter, Valve};
use serde_json::{Value, json};
use usp::device::{Cipher, Suite};

const UNIFIED: &str = "usp/50001234567840";
const OTHER: &str = "qianwei/00000000123456789040";
const OK: u8 = 0;
const VALVE: u16 = 0x4031;
const ALREADY_DONE: u8 = 0x0C;
/// A meter of the other vendor answers within one second, or not at all.
const IMPATIENT: &str = "[profile.impatient]\nanswer_within_s = 1\n";

fn read() -> Value {
    json!({"read": {"scope": "current"}})
}
fn read_account() -> Value {
    json!({"read": {"scope": "account"}})
}
fn recharge() -> Value {
    json!({"recharge": {"order_id": 5, "purchase_count": 2, "amount": 10_000, "volume": 0, "purchased_total": 123_456}})
}
fn valve(order: &str) -> Value {
    json!({"valve": {"order": order}})
}

/// A station that knows the unified meter, and the meter, on line again.
fn known() -> (Site, Terminal) {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(meter("50001234567840"), site.meters());
    terminal.whole_communication();
    site.catch_up();
    drop(terminal.reconnect(site.meters()));
    (site, terminal)
}

/// The same with a meter of the other vendor.
fn known_other() -> (Site, QianweiMeter) {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#"{ adapter = "qianwei_7xxx", profile = "impatient" }"#.into();
    settings.more = IMPATIENT.into();
    let site = Site::with(&settings);
    let mut meter = QianweiMeter::on(Meter::plain("00000000123456789040"), Peer::tcp(site.meters()));
    assert_eq!(meter.report(), (0, false));
    assert_eq!(meter.hear(), None);
    site.catch_up();
    come_again(&site, &mut meter);
    (site, meter)
}

fn come_again(site: &Site, meter: &mut QianweiMeter) {
    meter.peer = Peer::tcp(site.meters());
    meter.now += 86_400;
}

/// Registers and reports; gives how many commands the station has.
fn report(terminal: &mut Terminal) -> u8 {
    assert_eq!(terminal.register().result, OK);
    terminal.daily().pending
}

#[test]
fn an_order_whose_key_is_missing_waits_until_it_is_there() {
    let (site, mut terminal) = known();
    terminal.device.set_key(Suite { cipher: Cipher::Aes128, version: 0 }, [7; 16]);
    let id = site.order(UNIFIED, &json!({"set-key": {"slot": "1", "version": 1, "cipher": "aes128"}}));
    let mut comes = |waiting: u8| {
        assert_eq!(report(&mut terminal), waiting);
        assert_eq!(terminal.farewell(), 0, "nothing is sent");
        site.catch_up();
        drop(terminal.reconnect(site.meters()));
    };
    comes(1);
    let waits = site.command(id);
    assert_eq!((&waits["state"], &waits["steps"][1]["step"]), (&json!("queued"), &json!("key-missing")), "{waits}");
    for words in [&waits["why"], &waits["steps"][1]["detail"]] {
        let words = words.as_str().expect("words");
        assert!(words.contains("slot 1 of usp/50001234567840 has no key"), "{words}");
        assert!(words.contains("`polymeter key set usp/50001234567840 1`"), "{words}");
    }
    // Nothing to stay awake for, and no step more.
    comes(0);
    comes(0);
    let key = |n: u8| json!({"key": hex::encode([n; 16])});
    site.client().put("keys/usp/50001234567840/1", &key(8)).expect("a key");
    comes(1);
    let waits = site.command(id);
    assert!(waits["why"].as_str().is_some_and(|why| why.contains("slot 0 of")), "{waits}");
    assert_eq!(waits["steps"].as_array().map(Vec::len), Some(3), "{waits}");
    site.client().put("keys/usp/*/0", &key(7)).expect("the key of all");
    assert_eq!(report(&mut terminal), 1);
    assert_eq!(terminal.obey().1, OK);
    site.await_state(id, "done");
}

#[test]
fn a_command_waits_for_its_device_and_is_answered() {
    let (site, mut terminal) = known();
    let id = site.order(UNIFIED, &read());
    assert_eq!(site.command(id)["state"], "queued");
    assert_eq!(report(&mut terminal), 1);
    assert_eq!(terminal.obey(), (0x4021, OK));
    assert_eq!(terminal.farewell(), 0);
    let done = site.await_state(id, "done");
    assert_eq!(done["outcome"], "done");
    let registers = done["result"]["report"]["registers"].as_array().expect("registers");
    assert!(registers.iter().any(|r| r["quantity"] == "working-volume" && r["value"] == "1234.68"), "{done}");
    let steps: Vec<_> = done["steps"].as_array().expect("steps").iter().map(|s| s["step"].clone()).collect();
    assert_eq!(steps, ["requested", "sent", "answered"]);
}

#[test]
fn commands_go_one_at_a_time_in_their_order() {
    let (site, mut terminal) = known();
    let history =
        json!({"read-history": {"interval": "day", "first": "2024-03-10T00:00:00", "last": "2024-03-14T00:00:00"}});
    let schedule = json!({"set-schedule": {"period": "dekad", "stagger_minutes": 3}});
    let clock = json!({"set-clock": {"to": null}});
    let parameters = json!({"set-parameters": [{"name": "communication-lost-days", "value": {"integer": 9}}]});
    let ids: Vec<u64> = [&history, &schedule, &clock, &parameters].map(|c| site.order(UNIFIED, c)).into();
    assert_eq!(report(&mut terminal), 4);
    let met: Vec<u16> = (0..4).map(|_| terminal.obey().0).collect();
    assert_eq!(met, [0x4022, 0x4011, 0x4001, 0x4014]);
    assert_eq!(terminal.farewell(), 0);
    for id in ids {
        site.await_state(id, "done");
    }
    let readings = site.readings(UNIFIED, "working-volume");
    assert!(readings.contains(&"2024-03-12T00:00:00 1233.84".to_owned()), "{readings:?}");
    let device = site.device(UNIFIED).expect("a device");
    assert_eq!((&device["schedule"]["period"], &device["schedule"]["stagger_minutes"]), (&json!("dekad"), &json!(3)));
    assert_eq!(terminal.device.parameters.get(1), Some(&[9, 0][..]));
}

#[test]
fn all_three_valve_orders_reach_the_valve() {
    let (site, mut terminal) = known();
    for (order, state) in [
        ("close-temporary", "closed-temporary"),
        ("close-forced", "closed-forced"),
        // A permit moves nothing: the user may open now.
        ("permit-open", "closed-temporary"),
    ] {
        let id = site.order(UNIFIED, &valve(order));
        assert_eq!(site.refusal(UNIFIED, &valve(order)), "valve-busy");
        assert_eq!(report(&mut terminal), 1);
        assert_eq!(terminal.obey(), (VALVE, OK));
        site.await_state(id, "done");
        assert_eq!(site.device(UNIFIED).expect("a device")["valve"]["state"], state, "{order}");
        drop(terminal.reconnect(site.meters()));
        terminal.now += 86_400;
    }
}

#[test]
fn a_refusal_says_why() {
    let (site, mut terminal) = known();
    terminal.device.valve_stuck = true;
    let id = site.order(UNIFIED, &valve("close-forced"));
    report(&mut terminal);
    terminal.obey();
    let failed = site.await_state(id, "failed");
    assert_eq!((&failed["outcome"], &failed["why"]), (&json!("failed"), &json!("valve-failure")));
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let (site, mut terminal) = known();
    terminal.device.status.valve = 0;
    terminal.device.identity.capabilities = 0x0008;
    report(&mut terminal);
    site.catch_up();
    assert_eq!(site.refusal(UNIFIED, &valve("close-forced")), "no-valve");
    assert_eq!(site.refusal("usp/50009999999999", &read()), "unknown-device");
    let backwards =
        json!({"read-history": {"interval": "day", "first": "2024-03-10T00:00:00", "last": "2024-03-01T00:00:00"}});
    assert_eq!(site.refusal(UNIFIED, &backwards), "not-possible");
}

#[test]
fn what_the_protocol_cannot_say_fails_with_the_reason() {
    let (site, mut meter) = known_other();
    let id = site.order(OTHER, &read());
    assert_eq!(meter.report().0, 0);
    let failed = site.await_state(id, "failed");
    assert!(failed["why"].as_str().is_some_and(|why| why.contains("protocol cannot do it")), "{failed}");
}

#[test]
fn an_unanswered_read_is_sent_again_and_then_given_up() {
    let (site, mut meter) = known_other();
    let id = site.order(OTHER, &read_account());
    assert_eq!(meter.report(), (0, true));
    let first = meter.take_command();
    let second = meter.take_command();
    assert_eq!(first.0, second.0, "the same command again");
    meter.peer.send(&second.1);
    let done = site.await_state(id, "done");
    assert_eq!(done["attempts"], 2);

    let id = site.order(OTHER, &read_account());
    come_again(&site, &mut meter);
    meter.report();
    for _ in 0..3 {
        meter.take_command();
    }
    let failed = site.await_state(id, "failed");
    assert!(failed["why"].as_str().is_some_and(|why| why.contains("3 attempts")), "{failed}");
}

fn settle(site: &Site, id: u64, outcome: &str, note: &str) -> Result<(), String> {
    let asked = json!({"outcome": outcome, "note": note});
    let answer = site.client().post(&format!("commands/{id}/settlement"), &asked);
    answer
        .map(drop)
        .map_err(|error| error.downcast_ref::<Refused>().map_or(String::new(), |refused| refused.code.clone()))
}

fn steps(command: &Value) -> Vec<&str> {
    command["steps"].as_array().expect("steps").iter().filter_map(|step| step["step"].as_str()).collect()
}

fn unconfirmed(site: &Site) -> Vec<u64> {
    site.rows("commands?state=unconfirmed").iter().filter_map(|row| row["id"].as_u64()).collect()
}

/// Sends a command that the meter takes and does not answer.
fn leave_unconfirmed(site: &Site, meter: &mut QianweiMeter, command: &Value) -> u64 {
    let id = site.order(OTHER, command);
    assert_eq!(meter.report(), (0, true));
    meter.take_command();
    site.await_state(id, "unconfirmed");
    come_again(site, meter);
    id
}

#[test]
fn people_settle_once_what_nobody_confirmed() {
    let (mut site, mut meter) = known_other();
    let done = leave_unconfirmed(&site, &mut meter, &recharge());
    let not_done = leave_unconfirmed(&site, &mut meter, &recharge());
    let waiting = site.order(OTHER, &read_account());
    assert_eq!(unconfirmed(&site), [not_done, done]);
    assert_eq!(settle(&site, done, "done", "").expect_err("without a reason"), "bad-request");
    assert_eq!(settle(&site, done, "perhaps", "why").expect_err("no outcome"), "bad-request");
    assert_eq!(settle(&site, waiting, "done", "why").expect_err("not sent"), "not-unconfirmed");
    assert_eq!(settle(&site, 999, "done", "why").expect_err("no command"), "not-found");
    settle(&site, done, "done", "seen on the display").expect("settled");
    settle(&site, not_done, "not-done", "the old value is shown").expect("settled");
    assert_eq!(settle(&site, done, "not-done", "changed my mind").expect_err("settled"), "not-unconfirmed");
    assert_eq!(unconfirmed(&site), [0; 0]);
    let before = [site.command(done), site.command(not_done)];
    let told = |c: &Value| (c["state"].clone(), c["finished"].clone(), c["settled"]["outcome"].clone());
    assert_eq!(told(&before[0]), (json!("done"), json!(true), json!("done")));
    assert_eq!(told(&before[1]), (json!("failed"), json!(true), json!("not-done")));
    assert_eq!(
        (&before[0]["settled"]["by"], &before[0]["settled"]["note"]),
        (&json!("fleet"), &json!("seen on the display"))
    );
    assert_eq!(steps(&before[0]), ["requested", "sent", "unconfirmed", "settled"]);
    // The views are folded anew from the journal, and say the same.
    site.stop().expect("a station that stops");
    site.run(&["views", "rebuild", "--config", &site.config().to_string_lossy()]).expect("views");
    site.start().expect("a station that starts");
    assert_eq!([site.command(done), site.command(not_done)], before);
}

#[test]
fn the_device_has_the_last_word_over_people() {
    let (mut site, mut meter) = known_other();
    let id = leave_unconfirmed(&site, &mut meter, &valve("close-forced"));
    settle(&site, id, "done", "somebody said so").expect("settled");
    assert_eq!(site.command(id)["state"], "done");
    assert_eq!(site.rows("commands?open=true"), [Value::Null; 0], "nothing is left to do");
    // What may still be judged survives a restart.
    site.power_cut();
    come_again(&site, &mut meter);
    meter.meter.state.valve = Valve::Open;
    assert_eq!(meter.report(), (0, false));
    let failed = site.await_state(id, "failed");
    assert_eq!(steps(&failed), ["requested", "sent", "unconfirmed", "settled", "failed"]);
    assert_eq!(failed["settled"]["outcome"], "done");
    assert!(failed["why"].as_str().is_some_and(|why| why.contains("the device reports valve open")), "{failed}");
}

#[test]
fn a_settlement_is_weighed_by_what_the_device_reports_before_another_order_has_left() {
    let (site, mut meter) = known_other();
    let first = leave_unconfirmed(&site, &mut meter, &valve("close-forced"));
    settle(&site, first, "done", "seen").expect("settled");
    let second = leave_unconfirmed(&site, &mut meter, &valve("close-temporary"));
    meter.meter.state.valve = Valve::Open;
    assert_eq!(meter.report(), (0, false));
    site.await_state(second, "failed");
    let first = wait_until("the first order is over", || Some(site.command(first)).filter(|c| steps(c).len() == 5));
    assert_eq!((&first["state"], &first["settled"]["by"]), (&json!("done"), &json!("fleet")));
    assert_eq!(steps(&first), ["requested", "sent", "unconfirmed", "settled", "confirmed"]);
}

#[test]
fn an_unanswered_valve_order_is_never_repeated_and_the_next_report_decides() {
    for (valve_then, state) in [(Valve::ClosedForced, "done"), (Valve::Open, "failed")] {
        let (site, mut meter) = known_other();
        let id = site.order(OTHER, &valve("close-forced"));
        assert_eq!(meter.report(), (0, true));
        assert_eq!(meter.take_command().0, 0x7024);
        site.await_state(id, "unconfirmed");
        come_again(&site, &mut meter);
        meter.meter.state.valve = valve_then;
        assert_eq!(meter.report(), (0, false), "nothing is sent again");
        assert_eq!(meter.hear(), None);
        site.await_state(id, state);
    }
}

#[test]
fn what_was_said_before_an_order_decides_nothing_when_it_comes_again() {
    let (site, mut meter) = known_other();
    let id = leave_unconfirmed(&site, &mut meter, &valve("close-forced"));
    let tomorrow = meter.now;
    // The report that came before the order, and an older one, from a buffer on the way.
    meter.meter.state.valve = Valve::Open;
    for earlier_s in [86_400, 90_000] {
        meter.now = tomorrow - earlier_s;
        assert_eq!(meter.report().0, 0);
        site.catch_up();
        assert_eq!(site.command(id)["state"], "unconfirmed", "{earlier_s} s before");
        meter.peer = Peer::tcp(site.meters());
    }
    meter.now = tomorrow;
    assert_eq!(meter.report().0, 0);
    site.await_state(id, "failed");
}

#[test]
fn an_order_that_was_taken_is_not_done_before_a_report_shows_it() {
    for (valve_then, state) in [(Valve::ClosedForced, "done"), (Valve::Open, "failed")] {
        let (site, mut meter) = known_other();
        let id = site.order(OTHER, &valve("close-forced"));
        assert_eq!(meter.report(), (0, true));
        let (command, answer) = meter.take_command();
        assert_eq!(command, 0x7024);
        meter.peer.send(&answer);
        assert_eq!(site.await_state(id, "unconfirmed")["outcome"], "accepted");
        come_again(&site, &mut meter);
        meter.meter.state.valve = valve_then;
        assert_eq!(meter.report(), (0, false), "nothing is sent again");
        site.await_state(id, state);
    }
}

#[test]
fn a_lost_connection_gives_the_command_back() {
    let (site, mut terminal) = known();
    let id = site.order(UNIFIED, &read());
    report(&mut terminal);
    terminal.take_command();
    drop(terminal.reconnect(site.meters()));
    assert_eq!(report(&mut terminal), 1);
    terminal.obey();
    assert_eq!(site.await_state(id, "done")["attempts"], 2);
}

#[test]
fn a_meter_that_knows_its_orders_moves_once_even_if_told_twice() {
    let (site, mut terminal) = known();
    let id = site.order(UNIFIED, &valve("close-forced"));
    report(&mut terminal);
    assert_eq!(terminal.take_command().1, OK);
    drop(terminal.reconnect(site.meters()));
    report(&mut terminal);
    assert_eq!(terminal.obey(), (VALVE, ALREADY_DONE));
    let done = site.await_state(id, "done");
    assert_eq!(done["outcome"], "already-done");
}

#[test]
fn commands_expire_and_can_be_taken_back() {
    let (site, mut terminal) = known();
    let body = json!({"device": UNIFIED, "command": read(), "expires_s": 1});
    let expiring = site.client().post("commands", &body).expect("a command")["id"].as_u64().expect("an id");
    let unwanted = site.order(UNIFIED, &read());
    site.client().post(&format!("commands/{unwanted}/cancel"), &json!({})).expect("cancelled");
    site.await_state(unwanted, "cancelled");
    site.await_state(expiring, "expired");
    assert_eq!(report(&mut terminal), 0);
    assert_eq!(terminal.farewell(), 0);
}

#[test]
fn commands_survive_a_restart_and_a_power_cut() {
    let (mut site, mut terminal) = known();
    let id = site.order(UNIFIED, &read());
    site.stop().expect("a station that stops");
    site.start().expect("a station that starts");
    site.power_cut();
    terminal.peer = Peer::tcp(site.meters());
    assert_eq!(report(&mut terminal), 1);
    terminal.obey();
    site.await_state(id, "done");
}

#[test]
fn a_power_cut_with_a_valve_order_on_its_way_repeats_nothing() {
    let (mut site, mut meter) = known_other();
    let id = site.order(OTHER, &valve("close-forced"));
    assert_eq!(meter.report(), (0, true));
    assert_eq!(meter.take_command().0, 0x7024);
    site.power_cut();
    site.await_state(id, "unconfirmed");
    come_again(&site, &mut meter);
    // It did close before the power went.
    assert_eq!(meter.report(), (0, false), "nothing is sent again");
    site.await_state(id, "done");
}
