//! The rules of a conversation, over real sockets.

use fleet::station::{Listener, Settings};
use polymeter_tests::peer::Peer;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, civil, meter};
use qianwei_7xxx::device::Meter;
use serde_json::json;
use usp::device::{Device, Heard, Terminal as Kind};

const OK: u8 = 0;
const NOT_ALLOWED: u8 = 5;
/// Valve, remote upgrade, always online.
const ALWAYS_ONLINE: u16 = 0x0049;

fn online(address: &str) -> Device {
    let mut device = Device::new(Kind::Meter, address, ALWAYS_ONLINE);
    device.readings = meter(address).readings;
    device
}

#[test]
fn a_meter_registers_reports_and_is_let_go() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(meter("50001234567810"), site.meters());
    terminal.whole_communication();
    assert_eq!(
        site.readings("usp/50001234567810", "working-volume"),
        ["2024-03-15T00:00:00 1234.56", "2024-03-15T12:00:00 1234.68"],
        "the midnight reading and the total of the moment"
    );
    let device = site.device("usp/50001234567810").expect("a device");
    assert_eq!(device["valve"]["state"], "open");
    assert_eq!(device["registration"]["model"], "QG2.5-NB");
}

#[test]
fn a_report_before_the_registration_is_refused_but_kept() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(meter("50001234567811"), site.meters());
    assert_eq!(terminal.daily().result, NOT_ALLOWED);
    assert!(site.readings("usp/50001234567811", "working-volume").contains(&"2024-03-15T00:00:00 1234.56".to_owned()));
}

/// The protocol's rule 7: what a meter could not bring on time is read while it is there, once.
#[test]
fn days_that_no_report_has_brought_are_asked_for_in_the_same_communication() {
    let site = Site::usual();
    let address = "50001234567819";
    let mut terminal = Terminal::tcp(meter(address), site.meters());
    terminal.whole_communication();
    let days = |site: &Site| {
        let readings = site.readings(&format!("usp/{address}"), "working-volume");
        readings.iter().filter(|row| row.contains("T00:00:00 ")).map(|row| row[8..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(days(&site), ["15"]);
    drop(terminal.reconnect(site.meters()));
    terminal.now = civil("2024-03-19T00:20:06");
    assert_eq!(terminal.register().pending, 0);
    let reply = terminal.daily();
    assert_eq!((reply.result, reply.pending), (OK, 1), "the reply says that something is wanted");
    assert_eq!(terminal.obey(), (0x4022, OK));
    assert_eq!(terminal.farewell(), OK);
    wait_until("all days are there", || (days(&site) == ["15", "16", "17", "18", "19"]).then_some(()));
    let asked = &site.rows(&format!("commands?device=usp/{address}"))[0];
    assert_eq!((&asked["by"], &asked["state"]), (&"station".into(), &"done".into()), "{asked}");
    // Nothing is missing the day after, and a day that the meter has lost is not asked for again.
    drop(terminal.reconnect(site.meters()));
    terminal.now = civil("2024-03-20T00:20:06");
    terminal.whole_communication();
    // A day of the future is kept; it is neither the latest one, nor is anything asked for up to it.
    drop(terminal.reconnect(site.meters()));
    terminal.now = civil("2098-03-20T00:20:06");
    terminal.whole_communication();
    drop(terminal.reconnect(site.meters()));
    terminal.now = civil("2024-03-21T00:20:06");
    terminal.whole_communication();
    wait_until("what it reported last is its latest", || {
        let latest = &site.device(&format!("usp/{address}")).expect("a device")["latest"];
        latest[0]["at"].as_str().is_some_and(|at| at.starts_with("2024-03-21")).then_some(())
    });
}

#[test]
fn days_are_asked_for_although_others_still_are() {
    let site = Site::usual();
    let address = "50001234567818";
    let mut terminal = Terminal::tcp(meter(address), site.meters());
    terminal.whole_communication();
    // Days lie between two reports, not a moment.
    site.catch_up();
    drop(terminal.reconnect(site.meters()));
    terminal.now = civil("2024-03-18T00:20:06");
    assert_eq!(terminal.register().pending, 0);
    assert_eq!(terminal.daily().pending, 1);
    // It leaves without having answered, and misses two more days.
    drop(terminal.reconnect(site.meters()));
    terminal.now = civil("2024-03-21T00:20:06");
    terminal.register();
    assert_eq!(terminal.daily().pending, 2);
    for _ in 0..2 {
        assert_eq!(terminal.obey(), (0x4022, OK));
    }
    assert_eq!(terminal.farewell(), OK);
    wait_until("all days are there", || {
        let readings = site.readings(&format!("usp/{address}"), "working-volume");
        let days: Vec<_> = readings.iter().filter(|row| row.contains("T00:00:00 ")).map(|row| &row[8..10]).collect();
        (days == ["15", "16", "17", "18", "19", "20", "21"]).then_some(())
    });
}

#[test]
fn a_second_report_is_refused_but_kept() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(online("50001234567812"), site.meters());
    assert_eq!(terminal.register().result, OK);
    assert_eq!(terminal.daily().result, OK);
    terminal.now = civil("2024-03-15T13:00:00");
    assert_eq!(terminal.daily().result, NOT_ALLOWED);
    let readings = site.readings("usp/50001234567812", "working-volume");
    assert!(readings.iter().any(|r| r.starts_with("2024-03-15T13:00:00 ")), "{readings:?}");
    // It stays on line, and the next day is another communication.
    terminal.now = civil("2024-03-16T00:30:00");
    assert_eq!(terminal.daily().result, OK);
    let readings = site.readings("usp/50001234567812", "working-volume");
    assert!(readings.contains(&"2024-03-16T00:00:00 1234.80".to_owned()), "{readings:?}");
}

#[test]
fn heartbeats_are_for_those_who_stay() {
    let site = Site::usual();
    let mut stays = Terminal::tcp(online("50001234567813"), site.meters());
    assert_eq!(stays.register().result, OK);
    for minute in 1..4 {
        stays.now += 60 * minute;
        assert_eq!(stays.heartbeat().result, OK);
    }
    let mut sleeps = Terminal::tcp(meter("50001234567814"), site.meters());
    assert_eq!(sleeps.register().result, OK);
    assert_eq!(sleeps.heartbeat().result, NOT_ALLOWED);
    assert_eq!(site.device("usp/50001234567813").expect("a device")["online"], true);
}

#[test]
fn the_same_frame_again_gets_the_same_answer_and_counts_once() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(online("50001234567815"), site.meters());
    terminal.register();
    let frame = terminal.device.daily(terminal.now, &[]);
    terminal.peer.send(&frame);
    let first = terminal.next_frame();
    terminal.peer.send(&frame);
    assert_eq!(terminal.next_frame(), first);
    assert_eq!(site.readings("usp/50001234567815", "working-volume").len(), 2);
    let device = site.device("usp/50001234567815").expect("a device");
    assert_eq!(device["counts"]["duplicates"], 1);
}

#[test]
fn a_whole_communication_again_changes_nothing() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(meter("50001234567816"), site.meters());
    terminal.whole_communication();
    let once = site.readings("usp/50001234567816", "working-volume");
    drop(terminal.reconnect(site.meters()));
    terminal.whole_communication();
    assert_eq!(site.readings("usp/50001234567816", "working-volume"), once);
}

#[test]
fn a_newer_connection_takes_over() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(online("50001234567817"), site.meters());
    assert_eq!(terminal.register().result, OK);
    let mut old = terminal.reconnect(site.meters());
    assert_eq!(terminal.register().result, OK);
    assert_eq!(old.until_closed(), [0; 0], "the old connection ends without a word");
    assert_eq!(terminal.daily().result, OK);
    let id = site.order("usp/50001234567817", &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.obey().1, OK, "commands go to the new one");
    site.await_state(id, "done");
}

/// A meter is changed behind the same modem: what the one before was asked is not the new one's to answer.
#[test]
fn a_device_that_is_replaced_on_its_connection_leaves_its_question_behind() {
    let site = Site::usual();
    let keys = ["usp/50001234567831", "usp/50001234567832"];
    let read = json!({"read": {"scope": "current"}});
    let mut before = Terminal::tcp(online("50001234567831"), site.meters());
    assert_eq!(before.register().result, OK);
    assert_eq!(before.daily().result, OK);
    let question = site.order(keys[0], &read);
    before.take_command();
    let Terminal { device, peer, now } = before;
    let mut after = Terminal { device: online("50001234567832"), peer, now };
    assert_eq!(after.register().result, OK);
    assert_eq!(after.daily().result, OK);
    let waits = site.await_state(question, "queued");
    assert_eq!(waits["attempts"], 1, "{waits}");
    assert_eq!(keys.map(|key| site.device(key).expect("a device")["online"] == true), [false, true]);
    let own = site.order(keys[1], &read);
    assert_eq!(after.obey().1, OK);
    site.await_state(own, "done");
    assert!(after.peer.is_quiet(), "it was asked nothing else");
    // Wherever the former one speaks next, it is asked again.
    let mut before = Terminal::tcp(device, site.meters());
    assert_eq!(before.register().result, OK);
    assert_eq!(before.obey().1, OK);
    assert_eq!(site.await_state(question, "done")["attempts"], 2);
}

#[test]
fn an_abnormal_close_is_an_event_and_closes_the_session() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(meter("50001234567818"), site.meters());
    terminal.register();
    (terminal.device.status.valve, terminal.device.status.reason) = (3, 9);
    assert_eq!(terminal.abnormal(0x40, 9).result, OK);
    assert_eq!(terminal.farewell(), 0);
    let device = site.device("usp/50001234567818").expect("a device");
    assert_eq!(device["valve"], json!({"state": "closed-forced", "by": "meter", "reason": "gas-leak"}));
    let events = site.rows("devices/usp/50001234567818/events");
    assert_eq!(events[0]["code"], "valve-closed");
    assert_eq!((&events[0]["at"], &events[0]["value"]), (&json!("2024-03-15T12:00:00"), &json!(9)));
}

#[test]
fn silence_after_the_registration_ends_it() {
    let mut settings = Settings::usual();
    settings.listeners[0].more = "command_wait_s = 1".into();
    let site = Site::with(&settings);
    let mut terminal = Terminal::tcp(meter("50001234567819"), site.meters());
    assert_eq!(terminal.register().result, OK);
    assert_eq!(terminal.farewell(), 0);
}

#[test]
fn datagrams_carry_whole_conversations() {
    let site = Site::usual();
    let mut terminal = Terminal::on(meter("50001234567820"), Peer::udp(site.nb_iot()));
    assert_eq!(terminal.register().result, OK);
    assert_eq!(terminal.daily().result, OK);
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)));
    let mut other = QianweiMeter::on(Meter::plain("00000000123456789012"), Peer::udp(site.nb_iot()));
    assert_eq!(other.report(), (0, false));
    assert_eq!(site.readings("usp/50001234567820", "working-volume").len(), 2);
    assert_eq!(site.readings("qianwei/00000000123456789012", "working-volume"), ["2024-03-15T12:00:00 12345.6"]);
}

#[test]
fn datagrams_that_were_said_again_are_answered_as_before_and_begin_nothing() {
    let site = Site::usual();
    let mut terminal = Terminal::on(meter("50001234567830"), Peer::udp(site.nb_iot()));
    let (registration, report) = (terminal.device.registration(terminal.now), terminal.device.daily(terminal.now, &[]));
    // So many that the station is not done with them before the last report is there.
    let sent = [vec![&registration; 30], vec![&report; 4]].concat();
    sent.iter().for_each(|frame| terminal.peer.send(frame));
    for frame in sent {
        match terminal.hear() {
            Some(Heard::Reply(reply)) => assert_eq!(reply.result, OK, "{}", hex::encode(frame)),
            other => panic!("no acknowledgement but {other:?}"),
        }
    }
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)), "only when all that has come is read");
    assert_eq!(site.readings("usp/50001234567830", "working-volume").len(), 2);
}

#[test]
fn what_waits_of_a_port_that_a_device_has_left_takes_nothing_from_its_newer_session() {
    let site = Site::usual();
    let mut terminal = Terminal::on(meter("50001234567831"), Peer::udp(site.nb_iot()));
    let frames = [terminal.device.registration(terminal.now), terminal.device.daily(terminal.now, &[])];
    assert_eq!(terminal.ask(&frames[0]).result, OK);
    (0..30).for_each(|_| terminal.peer.send(&frames[1]));
    // It has waited long enough, and begins anew from another port.
    let _left = std::mem::replace(&mut terminal.peer, Peer::udp(site.nb_iot()));
    terminal.now += 60;
    assert_eq!(terminal.register().result, OK);
    assert_eq!(terminal.daily().result, OK, "it has registered in this session");
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)));
    assert!(site.rows("quarantine").is_empty());
}

#[test]
fn one_listener_tells_two_vendors_apart() {
    let site = Site::usual();
    let mut unified = Terminal::tcp(meter("50001234567821"), site.meters());
    let mut other = QianweiMeter::on(Meter::encrypted("0000QW12345678901234"), Peer::tcp(site.meters()));
    assert_eq!(other.report(), (0, false));
    unified.whole_communication();
    assert_eq!(other.hear(), None, "nothing waits for it, so the station closes");
    let device = site.device("qianwei/0000QW12345678901234").expect("a device");
    assert_eq!(device["default_key_in_use"], true);
}

#[test]
fn broken_bytes_are_kept_and_the_conversation_goes_on() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(online("50001234567822"), site.meters());
    terminal.register();
    let good = terminal.device.daily(terminal.now, &[]);
    let mut broken = good.clone();
    broken[20] ^= 0x10;
    terminal.peer.send(&broken);
    assert_eq!(terminal.ask(&good).result, OK);
    let noise = [0x99, 0x98, 0x97];
    let beat = terminal.device.heartbeat(terminal.now);
    assert_eq!(terminal.ask(&[&noise[..], &beat].concat()).result, OK);
    let half = &terminal.device.heartbeat(terminal.now)[..15];
    terminal.peer.send(half);
    terminal.peer.finish();
    let kept = wait_until("three pieces in quarantine", || {
        let rows = site.rows("quarantine");
        (rows.len() >= 3).then_some(rows)
    });
    let raw: Vec<_> = kept.iter().filter_map(|row| row["raw"].as_str()).collect();
    assert_eq!(raw, [hex::encode(&broken), hex::encode(noise), hex::encode(half)]);
}

#[test]
fn what_nobody_speaks_is_kept_and_the_connection_closed() {
    let site = Site::usual();
    let mut peer = Peer::tcp(site.meters());
    peer.send(&[0xAA; 200]);
    assert_eq!(peer.until_closed(), [0; 0]);
    let rows = wait_until("a row in quarantine", || Some(site.rows("quarantine")).filter(|rows| !rows.is_empty()));
    assert_eq!((&rows[0]["fault"], &rows[0]["raw"]), (&json!("foreign"), &json!("aa".repeat(200))));
}

#[test]
fn a_listener_speaks_only_its_own_adapters() {
    let mut settings = Settings::usual();
    settings.listeners = vec![Listener::tcp("meters", r#""usp""#), Listener::tcp("others", r#""qianwei_7xxx""#)];
    let site = Site::with(&settings);
    let mut stranger = QianweiMeter::on(Meter::plain("00000000123456789013"), Peer::tcp(site.meters()));
    let frame = stranger.meter.report(stranger.now, qianwei_7xxx::device::ReportKind::Scheduled);
    stranger.peer.send(&frame);
    stranger.peer.finish();
    let others = site.door("others").expect("a listener");
    let mut known = QianweiMeter::on(Meter::plain("00000000123456789014"), Peer::tcp(others));
    assert_eq!(known.report(), (0, false));
    assert!(site.device("qianwei/00000000123456789013").is_none());
    assert!(site.device("qianwei/00000000123456789014").is_some());
}

#[test]
fn a_device_on_datagrams_is_told_when_the_station_stops() {
    let mut site = Site::usual();
    let mut terminal = Terminal::on(meter("50001234567810"), Peer::udp(site.nb_iot()));
    assert_eq!(terminal.register().result, OK);
    site.stop().expect("a station that stops");
    assert!(matches!(terminal.hear(), Some(Heard::Farewell(_))));
}

/// Both speak on one connection, and the one does not wait in vain because the other has spoken at once.
#[test]
fn a_device_is_let_go_although_a_neighbour_speaks_behind_it() {
    let site = Site::usual();
    let mut first = Terminal::tcp(meter("50001234567810"), site.meters());
    assert_eq!(first.register().result, OK);
    let mut second = meter("50001234567811");
    let said = [first.device.daily(first.now, &[]), second.registration(first.now)].concat();
    assert_eq!(first.ask(&said).result, OK);
    assert!(matches!(first.hear(), Some(Heard::Farewell(_))));
    let mut second = Terminal::on(second, first.peer);
    assert!(matches!(second.hear(), Some(Heard::Reply(reply)) if reply.result == OK));
    assert_eq!(second.daily().result, OK);
}
