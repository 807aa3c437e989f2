//! Meters of several makes behind one concentrator: read, closed and asked for their past through it.

use fleet::station::Settings;
use polymeter_tests::behind::{Lines, Meter};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{NOON, Terminal, civil, edition};
use serde_json::{Value, json};
use usp::device::{Device, Heard};

const CONCENTRATOR: &str = "usp/50009900000001";
const CJT188: &str = "cjt188/00231100456789";
const CJT188_TOO: &str = "cjt188/00231100456790";
const MBUS: &str = "mbus/LGB120820584003";
const SZRQ: &str = "szrq/SZ00000012345678";
const RELAY: u16 = 0x4064;
const OK: u8 = 0x00;
const NO_ANSWER: u8 = 0x09;

fn read() -> Value {
    json!({"read": {"scope": "current"}})
}
fn months(first: &str, last: &str) -> Value {
    json!({"read-history": {"interval": "month", "first": first, "last": last}})
}
/// Begin of a month before the station's present one: such a meter keeps the past by its distance.
fn months_ago(months: i64) -> String {
    let now = jiff::Timestamp::now().in_tz("Asia/Shanghai").expect("a zone");
    let first = now.date().first_of_month().checked_sub(jiff::Span::new().months(months)).expect("a month");
    format!("{first}T00:00:00")
}
fn close() -> Value {
    json!({"valve": {"order": "close-forced"}})
}

/// A station that knows a concentrator and four meters behind it, and the concentrator, on line.
fn town(more: &str) -> (Site, Lines, Terminal) {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    settings.listeners[0].more = more.into();
    let site = Site::with(&settings);
    let lines = Lines::new(civil(NOON), 2_400);
    let client = site.client();
    let set = |key: &str, record: &Value| {
        client.put(&format!("registry/{key}"), record).unwrap_or_else(|e| panic!("{key}: {e:#}"));
    };
    set(CONCENTRATOR, &json!({"kind": "concentrator", "adapter": "usp"}));
    let meters = [
        Meter::cjt188("00231100456789"),
        Meter::cjt188("00231100456790"),
        Meter::mbus("LGB120820584003"),
        Meter::szrq("SZ00000012345678"),
    ];
    let keys = [CJT188, CJT188_TOO, MBUS, SZRQ];
    for (meter, (key, channel)) in meters.into_iter().zip(keys.into_iter().zip([1, 1, 2, 3])) {
        let (found, record) = lines.add(CONCENTRATOR, meter, channel);
        assert_eq!(found, key);
        set(key, &record);
    }
    let terminal = on_line(&site, &lines);
    (site, lines, terminal)
}

fn on_line(site: &Site, lines: &Lines) -> Terminal {
    let mut device = Device::concentrator("50009900000001");
    device.carrier.behind = lines.behind();
    let mut terminal = Terminal::tcp(device, site.meters());
    assert_eq!(terminal.register().result, OK);
    terminal
}

fn comes_back(site: &Site, terminal: &mut Terminal) {
    terminal.peer = Peer::tcp(site.meters());
    assert_eq!(terminal.register().result, OK);
}

#[test]
fn meters_of_three_makes_are_read_through_one_concentrator() {
    let (site, _, mut terminal) = town("");
    let asked = [
        (site.order(CJT188, &read()), 1),
        // Select, and then the data.
        (site.order(MBUS, &read()), 2),
        (site.order(SZRQ, &months("2024-02-01T00:00:00", "2024-03-01T00:00:00")), 2),
        (site.order(CJT188_TOO, &months(&months_ago(3), &months_ago(1))), 3),
    ];
    for _ in 0..asked.iter().map(|(_, legs)| legs).sum() {
        assert_eq!(terminal.obey(), (RELAY, OK));
    }
    for (id, _) in asked {
        let done = site.await_state(id, "done");
        assert!(done["steps"][1]["detail"].as_str().is_some_and(|d| d.ends_with(CONCENTRATOR)), "{done}");
    }
    assert!(site.readings(CJT188, "volume").iter().any(|row| row.ends_with(" 1234.56")));
    assert!(!site.readings(MBUS, "working-volume").is_empty());
    assert_eq!(site.readings(SZRQ, "working-volume").len(), 2);
    let device = site.device(CJT188).expect("a device");
    assert_eq!(device["carrier"], CONCENTRATOR, "{device}");
    // Which adapter, which version, from which frame.
    let row = &site.rows(&format!("devices/{CJT188}/readings"))[0];
    assert_eq!(row["read_by"]["name"], "cjt188", "{row}");
    let frame = &site.rows(&format!("devices/{CJT188}/frames"))[0];
    assert_eq!((&frame["device"], &frame["behind"][0]["device"]), (&json!(CONCENTRATOR), &json!(CJT188)));
    assert_eq!(site.rows("quarantine"), [Value::Null; 0]);
}

#[test]
fn a_valve_closes_through_the_concentrator() {
    let (site, lines, mut terminal) = town("");
    for (key, valve_reads) in [(CJT188, read()), (SZRQ, Value::Null)] {
        let id = site.order(key, &close());
        assert_eq!(terminal.obey(), (RELAY, OK));
        let told = wait_until("the order is answered", || Some(site.command(id)).filter(|c| c["outcome"].is_string()));
        if told["state"] != "done" {
            // It was taken; the state that a reading shows decides.
            site.order(key, &valve_reads);
            assert_eq!(terminal.obey(), (RELAY, OK));
        }
        site.await_state(id, "done");
        let valve = site.device(key).expect("a device")["valve"]["state"].clone();
        assert!(valve.as_str().is_some_and(|state| state.starts_with("closed")), "{key}: {valve}");
    }
    assert!(lines.lock().subs.values().all(|sub| sub.heard <= 2), "nobody was told twice");
}

#[test]
fn a_silent_meter_holds_up_nobody() {
    let (site, lines, mut terminal) = town("");
    lines.lock().subs.get_mut("00231100456789").expect("a meter").silent = true;
    let silent = site.order(CJT188, &read());
    let order = site.order(CJT188_TOO, &read());
    let results: Vec<u8> = (0..4).map(|_| terminal.obey().1).collect();
    assert_eq!(results, [NO_ANSWER, OK, NO_ANSWER, NO_ANSWER], "its turn comes again after the others'");
    site.await_state(order, "done");
    let failed = site.await_state(silent, "failed");
    assert!(failed["why"].as_str().is_some_and(|why| why.contains("3 attempts")), "{failed}");
}

#[test]
fn a_valve_order_without_an_answer_is_never_repeated() {
    let (site, lines, mut terminal) = town("");
    lines.lock().subs.get_mut("00231100456789").expect("a meter").silent = true;
    let id = site.order(CJT188, &close());
    assert_eq!(terminal.obey(), (RELAY, NO_ANSWER));
    site.await_state(id, "unconfirmed");
    lines.lock().subs.get_mut("00231100456789").expect("a meter").silent = false;
    let reading = site.order(CJT188, &read());
    assert_eq!(terminal.obey(), (RELAY, OK));
    site.await_state(reading, "done");
    // It is open: the order did not reach it.
    site.await_state(id, "failed");
    assert_eq!(lines.lock().subs["00231100456789"].heard, 2);
}

#[test]
fn what_the_wrong_meter_says_answers_nobody_else() {
    let (site, lines, mut terminal) = town("");
    lines.lock().subs.get_mut("00231100456789").expect("a meter").speaks_for = Some("00231100456790".into());
    let id = site.order(CJT188, &json!({"read": {"scope": "current"}}));
    for _ in 0..3 {
        terminal.obey();
    }
    let failed = site.await_state(id, "failed");
    assert!(failed["why"].as_str().is_some_and(|why| why.contains(CJT188_TOO)), "{failed}");
    assert_eq!(site.readings(CJT188, "volume"), [""; 0]);
}

#[test]
fn a_station_that_falls_between_question_and_answer_asks_again_but_moves_nothing_twice() {
    let (mut site, lines, mut terminal) = town("");
    let question = site.order(CJT188, &read());
    terminal.take_command();
    site.power_cut();
    comes_back(&site, &mut terminal);
    assert_eq!(terminal.obey(), (RELAY, OK));
    assert_eq!(site.await_state(question, "done")["attempts"], 2);
    let order = site.order(CJT188, &close());
    terminal.take_command();
    site.power_cut();
    site.await_state(order, "unconfirmed");
    comes_back(&site, &mut terminal);
    assert_eq!(terminal.heartbeat().pending, 0, "nothing is sent again");
    let reading = site.order(CJT188, &read());
    assert_eq!(terminal.obey(), (RELAY, OK));
    site.await_state(reading, "done");
    site.await_state(order, "done");
    assert_eq!(lines.lock().subs["00231100456789"].heard, 4, "twice read, told once, read again");
}

/// Both lines are waited for in the older session when the newer one begins.
#[test]
fn a_concentrators_newer_connection_asks_again_what_may_be_asked_and_moves_nothing_twice() {
    let (site, lines, mut terminal) = town("lines_at_once = 4");
    let order = site.order(CJT188, &close());
    let (message, _, moved) = terminal.take_command();
    let question = site.order(MBUS, &read());
    assert_eq!((message, terminal.take_command().0), (RELAY, RELAY));
    let mut older = terminal.reconnect(site.meters());
    assert_eq!(terminal.register().result, OK);
    assert_eq!(older.until_closed(), [0; 0], "the older connection ends without a word");
    // Select, and then the data.
    for _ in 0..2 {
        assert_eq!(terminal.obey(), (RELAY, OK));
    }
    assert_eq!(site.await_state(question, "done")["attempts"], 2);
    assert!(terminal.peer.is_quiet(), "nothing else is sent again");
    // An answer of the older session decides nothing in the newer one.
    moved.iter().for_each(|frame| terminal.peer.send(frame));
    assert_eq!(terminal.heartbeat().result, OK);
    let told = site.await_state(order, "unconfirmed");
    assert_eq!((&told["attempts"], lines.lock().subs["00231100456789"].heard), (&json!(1), 1), "{told}");
    let reading = site.order(CJT188, &read());
    assert_eq!(terminal.obey(), (RELAY, OK));
    site.await_state(reading, "done");
    site.await_state(order, "done");
    assert_eq!(lines.lock().subs["00231100456789"].heard, 2, "told once, and read");
}

#[test]
fn what_nobody_can_read_yet_waits_for_its_adapter() {
    let (site, lines, mut terminal) = town("");
    // A DTU's meter that no record names.
    let mut dtu = Terminal::tcp(Device::dtu("50008800000007"), site.meters());
    assert_eq!(dtu.register().result, OK);
    let report = szrq::device::Meter::new("SZ00000087654321").report(civil(NOON), 2, false);
    let frame = dtu.device.transparent(1, 6, &report);
    assert_eq!(dtu.ask(&frame).result, OK);
    site.catch_up();
    let kept = site.rows("quarantine");
    assert_eq!((&kept[0]["part"], &kept[0]["fault"]), (&json!(1), &json!("foreign")), "{kept:?}");
    assert_eq!(kept[0]["raw"], hex::encode(&report));
    assert!(lines.lock().subs.len() == 4 && terminal.peer.is_quiet());
    // Once its adapter is named, it is read.
    let record = json!({"kind": "meter", "adapter": "szrq", "parent": "usp/50008800000007", "protocol": "szrq"});
    site.client().put("registry/usp/50008800000007", &json!({"kind": "dtu"})).expect("a record");
    site.client().put("registry/szrq/SZ00000087654321", &record).expect("a record");
    wait_until("it is read again", || site.rows("quarantine").is_empty().then_some(()));
    assert!(!site.readings("szrq/SZ00000087654321", "working-volume").is_empty());
    // The next one is read at once, and answered through the DTU.
    let again = szrq::device::Meter::new("SZ00000087654321").report(civil(NOON) + 3_600, 2, false);
    let frame = dtu.device.transparent(1, 6, &again);
    assert_eq!(dtu.ask(&frame).result, OK);
    assert!(matches!(dtu.hear(), Some(Heard::Command { .. })), "the acknowledgement for the meter");
    assert_eq!(site.readings("szrq/SZ00000087654321", "working-volume").len(), 2);
}

#[test]
fn several_lines_are_asked_at_a_time_where_the_listener_allows_it() {
    let (site, _, mut terminal) = town("lines_at_once = 4");
    let ids = [CJT188, CJT188_TOO, MBUS].map(|key| site.order(key, &read()));
    let first = terminal.take_command();
    let second = terminal.take_command();
    assert!(terminal.peer.is_quiet(), "the second meter of the first line waits for its turn");
    for (_, _, frames) in [second, first] {
        frames.iter().for_each(|frame| terminal.peer.send(frame));
    }
    for _ in 0..2 {
        terminal.obey();
    }
    for id in ids {
        site.await_state(id, "done");
    }
}

/// Another version of the carrier's adapter never asks with the state that the one before has left.
#[test]
fn a_carrier_whose_adapter_changes_while_it_asks_comes_again_before_it_asks_on() {
    let (site, _, mut terminal) = town("lines_at_once = 2");
    let first = site.order(CJT188, &read());
    terminal.take_command();
    site.client().upload("adapters/usp.wasm", edition("2.0.0", 2)).expect("serves");
    // Its line is free, and nothing goes out on it.
    let second = site.order(MBUS, &read());
    terminal.peer.until_closed();
    assert_eq!(site.command(second)["attempts"], 0);
    comes_back(&site, &mut terminal);
    for _ in 0..3 {
        assert_eq!(terminal.obey(), (RELAY, OK));
    }
    assert_eq!(site.await_state(first, "done")["attempts"], 2);
    assert_eq!(site.await_state(second, "done")["attempts"], 1);
}

#[test]
fn an_archive_is_compared_with_the_registry_and_made_like_it() {
    let (site, _, mut terminal) = town("");
    let entry = |index: u16, address: String, protocol: &str, channel: u8| json!({"index": index, "address": address, "protocol": protocol, "channel": channel, "baud": 2400, "format": "8E1"});
    let mut entries =
        vec![entry(1, "00231100456789".into(), "cjt188-le", 1), entry(2, "00231100456790".into(), "cjt188-le", 9)];
    // More than one page.
    entries.extend((0..40).map(|n| entry(10 + n, format!("{:014}", 700 + u32::from(n)), "mbus", 1)));
    let add = site.order(CONCENTRATOR, &json!({"archive-add": entries}));
    assert_eq!(terminal.obey(), (0x4061, OK));
    site.await_state(add, "done");
    let compare = |terminal: &mut Terminal, pages: usize| {
        site.client().post(&format!("archives/{CONCENTRATOR}"), &json!({})).expect("it begins");
        for _ in 0..pages {
            assert_eq!(terminal.obey(), (0x4063, OK));
        }
        wait_until("the archive is compared", || {
            Some(site.get(&format!("archives/{CONCENTRATOR}"))).filter(|found| found["state"] == "done")
        })
    };
    let found = compare(&mut terminal, 2);
    assert_eq!((&found["archived"], &found["registered"]), (&json!(42), &json!(4)));
    let count = |found: &Value, what: &str| found[what].as_array().map_or(0, Vec::len);
    assert_eq!(["missing", "unknown", "differing"].map(|what| count(&found, what)), [2, 40, 1], "{found}");
    assert_eq!(found["differing"][0]["archive"]["channel"], 9);
    let ordered =
        site.client().post(&format!("archives/{CONCENTRATOR}/sync"), &json!({"remove": true})).expect("ordered");
    assert_eq!(ordered["commands"].as_array().map(Vec::len), Some(3));
    for message in [0x4062, 0x4062, 0x4061] {
        assert_eq!(terminal.obey(), (message, OK));
    }
    let found = compare(&mut terminal, 1);
    assert_eq!(["missing", "unknown", "differing"].map(|what| count(&found, what)), [0, 0, 0], "{found}");
    let order = site.command(ordered["commands"][0].as_u64().expect("an id"));
    assert_eq!(order["by"], "fleet", "who asked is kept");
}

#[test]
fn a_sync_that_is_more_than_may_wait_tells_what_it_has_ordered() {
    let (site, _, mut terminal) = town("");
    let stranger = json!([{"index": 1, "address": "00000000000007", "protocol": "mbus", "channel": 1, "baud": 2400, "format": "8E1"}]);
    let add = site.order(CONCENTRATOR, &json!({"archive-add": stranger}));
    assert_eq!(terminal.obey(), (0x4061, OK));
    site.await_state(add, "done");
    let path = format!("archives/{CONCENTRATOR}");
    site.client().post(&path, &json!({})).expect("it begins");
    assert_eq!(terminal.obey(), (0x4063, OK));
    wait_until("it is compared", || Some(site.get(&path)).filter(|found| found["state"] == "done"));
    for _ in 1..polymeter::limits::COMMANDS_PENDING_MAX {
        site.order(CONCENTRATOR, &read());
    }
    let ordered = site.client().post(&format!("{path}/sync"), &json!({"remove": true})).expect("some is ordered");
    assert_eq!(ordered["commands"].as_array().map(Vec::len), Some(1), "{ordered}");
    assert!(ordered["unordered"].as_str().is_some_and(|why| why.starts_with("1 of 2 commands")), "{ordered}");
}

#[test]
fn a_meter_that_a_concentrator_cannot_be_told_of_keeps_no_other_out_of_its_archive() {
    let (site, _, mut terminal) = town("");
    let record = json!({"kind": "meter", "adapter": "en13757", "parent": CONCENTRATOR, "protocol": "mbus", "channel": 3, "baud": 2400, "line_format": "8E1"});
    site.client().put("registry/mbus/LGB120820594003", &record).expect("a record");
    let path = format!("archives/{CONCENTRATOR}");
    site.client().post(&path, &json!({})).expect("it begins");
    assert_eq!(terminal.obey(), (0x4063, OK));
    let found = wait_until("it is compared", || Some(site.get(&path)).filter(|found| found["state"] == "done"));
    let ordered = site.client().post(&format!("{path}/sync"), &json!({})).expect("ordered");
    assert_eq!(ordered["left_out"][0]["device"], "mbus/LGB120820594003", "{found}: {ordered}");
    assert_eq!(ordered["left_out"].as_array().map(Vec::len), Some(1), "{ordered}");
    let ids = ordered["commands"].as_array().expect("commands").clone();
    assert_eq!(ids.len(), 1, "{ordered}");
    assert_eq!(terminal.obey(), (0x4061, OK), "the others are added");
    site.await_state(ids[0].as_u64().expect("an id"), "done");
}

/// The concentrator was there only while nobody followed.
#[test]
fn a_comparison_that_ended_unseen_is_taken_until_the_archive_is_changed() {
    let (site, _, mut terminal) = town("");
    let path = format!("archives/{CONCENTRATOR}");
    let run = |what: &str| {
        let ran = crate::registry::polymeter(&site, &["fleet", what, CONCENTRATOR, "--wait", "0"]).output();
        let ran = ran.expect("runs");
        let words = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        (ran.status.success(), words)
    };
    let read = |terminal: &mut Terminal| {
        assert_eq!(terminal.obey(), (0x4063, OK));
        wait_until("it is compared", || Some(site.get(&path)).filter(|found| found["state"] == "done"))
    };
    let (_, words) = run("diff");
    assert!(words.contains("takes what it found"), "{words}");
    assert_eq!(read(&mut terminal)["unfit"], Value::Null);
    for _ in 0..2 {
        let (_, words) = run("diff");
        assert!(words.contains("0 in the archive, 4 in the registry") && words.contains("--fresh"), "{words}");
    }
    let (ordered, words) = run("sync");
    assert!(ordered && words.contains("1 commands wait"), "{words}");
    assert_eq!(terminal.obey(), (0x4061, OK));
    let (_, words) = run("diff");
    assert!(words.contains("takes what it found") && !words.contains("--fresh"), "it is read again: {words}");
    assert_eq!(read(&mut terminal)["unfit"], Value::Null);
    site.order(CONCENTRATOR, &json!({"archive-remove": ["00231100456789"]}));
    let found = site.get(&path);
    assert!(found["unfit"].as_str().is_some_and(|why| why.contains("changed since")), "{found}");
}

#[test]
fn what_an_archive_has_twice_is_told_and_what_was_registered_since_is_not_removed() {
    let (site, _, mut terminal) = town("");
    let entry = |index: u16, address: &str| json!({"index": index, "address": address, "protocol": "cjt188-le", "channel": 1, "baud": 2400, "format": "8E1"});
    let entries = [entry(1, "00231100456789"), entry(2, "00231100456789"), entry(3, "00231100456799")];
    let add = site.order(CONCENTRATOR, &json!({"archive-add": entries}));
    assert_eq!(terminal.obey(), (0x4061, OK));
    site.await_state(add, "done");
    let path = format!("archives/{CONCENTRATOR}");
    site.client().post(&path, &json!({})).expect("it begins");
    assert_eq!(terminal.obey(), (0x4063, OK));
    let found = wait_until("it is compared", || Some(site.get(&path)).filter(|found| found["state"] == "done"));
    let twice = &found["duplicates"][0];
    assert_eq!(
        (&twice["address"], &twice["registry"][0]["device"]),
        (&json!("00231100456789"), &json!(CJT188)),
        "{found}"
    );
    assert_eq!([0, 1].map(|n| twice["archive"][n]["index"].clone()), [json!(1), json!(2)], "{found}");
    assert_eq!(found["unknown"][0]["address"], "00231100456799", "{found}");
    // Somebody registers it before the archive is made as the registry is.
    let record = json!({"kind": "meter", "adapter": "cjt188", "parent": CONCENTRATOR});
    site.client().put("registry/cjt188/00231100456799", &record).expect("a record");
    let sync = || site.client().post(&format!("{path}/sync"), &json!({"remove": true}));
    let ordered = sync().expect("ordered");
    assert_eq!(ordered["left"], json!(["00231100456789"]), "{ordered}");
    assert_eq!(ordered["commands"].as_array().map(Vec::len), Some(1), "{ordered}");
    assert_eq!(terminal.obey(), (0x4061, OK), "what is missing is added, and nothing removed");
    let again = sync().expect_err("the archive is another now");
    assert!(format!("{again:#}").contains("changed since it was read"), "{again:#}");
}

/// The carrier is always on line, so nothing but its next word tells who is let in.
#[test]
fn a_meter_behind_is_welcome_from_its_next_word_once_it_is_let_in() {
    const METER: &str = "szrq/SZ00000087654321";
    let mut settings = Settings::usual();
    (settings.listeners[0].adapters, settings.listeners[0].unknown) = (r#""usp""#.into(), "refuse");
    settings.listeners[0].more = r#"relays = [{ protocol = "szrq", adapter = "szrq" }]"#.into();
    let site = Site::with(&settings);
    site.client().put("registry/usp/50008800000007", &json!({"kind": "dtu"})).expect("a record");
    site.catch_up();
    let mut meter = szrq::device::Meter::new("SZ00000087654321");
    meter.frozen = [((2024, 2), 5_000_000), ((2024, 3), 5_001_000)].into();
    let reports = [0, 3_600].map(|later| meter.report(civil(NOON) + later, 2, false));
    let meter = std::sync::Mutex::new(meter);
    let mut device = Device::dtu("50008800000007");
    device.carrier.behind = Box::new(move |_, _, payload| match meter.lock().ok()?.receive(payload, civil(NOON)) {
        Ok(szrq::device::Heard::Commanded { answer, .. }) => Some(answer),
        _ => None,
    });
    let mut dtu = Terminal::tcp(device, site.meters());
    assert_eq!(dtu.register().result, OK);
    let refused = dtu.device.transparent(1, 6, &reports[0]);
    assert_eq!(dtu.ask(&refused).result, OK);
    let row = wait_until("it is refused", || site.rows("quarantine").into_iter().next());
    assert_eq!((&row["fault"], &row["device"]), (&json!("refused"), &json!(METER)));
    let record =
        json!({"kind": "meter", "adapter": "szrq", "parent": "usp/50008800000007", "protocol": "szrq", "channel": 1});
    site.client().put(&format!("registry/{METER}"), &record).expect("a record");
    wait_until("what it has said is read", || site.rows("quarantine").is_empty().then_some(()));
    let id = site.order(METER, &months("2024-02-01T00:00:00", "2024-03-01T00:00:00"));
    for _ in 0..2 {
        dtu.obey();
    }
    site.await_state(id, "done");
    let welcome = dtu.device.transparent(1, 6, &reports[1]);
    assert_eq!(dtu.ask(&welcome).result, OK);
    assert!(matches!(dtu.hear(), Some(Heard::Command { .. })), "the acknowledgement for the meter");
    site.catch_up();
    assert_eq!(site.rows("quarantine"), [Value::Null; 0]);
}

/// The registry says it, and the views do not show it yet.
#[test]
fn an_order_for_a_meter_that_has_just_moved_goes_through_its_new_carrier() {
    const OTHER: &str = "usp/50009900000002";
    let (site, lines, terminal) = town("");
    drop(terminal);
    wait_until("it is gone", || (site.device(CONCENTRATOR)?["online"] == false).then_some(()));
    site.client().put(&format!("registry/{OTHER}"), &json!({"kind": "concentrator"})).expect("a record");
    let mut device = Device::concentrator("50009900000002");
    device.carrier.behind = lines.behind();
    let mut other = Terminal::tcp(device, site.meters());
    assert_eq!(other.register().result, OK);
    site.catch_up();
    let client = site.client();
    let record = json!({
        "kind": "meter", "adapter": "cjt188", "parent": OTHER, "protocol": "cjt188-le", "channel": 1,
        "baud": 2400, "line_format": "8E1",
    });
    client.put(&format!("registry/{CJT188}"), &record).expect("a record");
    let ordered = client.post("commands", &json!({"device": CJT188, "command": read()})).expect("ordered");
    assert_eq!(other.obey(), (RELAY, OK));
    site.await_state(ordered["id"].as_u64().expect("an id"), "done");
}
