//! Frames that come together: telegrams of many radio meters through one gateway, reports one behind the other. None is lost because
//! a session ended over the one before.

use en13757::device::{Meter, Record, Security};
use en13757::radio::Format;
use fleet::station::{Listener, Settings};
use polymeter::limits::{READ_BYTES_MAX, SESSION_FAULTS_MAX};
use polymeter_tests::coap::CoapSocket;
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{NOON, Terminal, civil, meter};
use serde_json::json;
use szrq::device::Heard;
use usp::device::{EventEntry, Heard as UspHeard};

/// Radio listeners `radio`, `radio-udp` and `held`, `mixed-udp` for two makes, and `strict`, which knows nobody, as `strict-usp`; `szrq`
/// and `szrq-coap`.
fn site() -> Site {
    let mut settings = Settings::usual();
    let radio = r#""en13757""#;
    let mut strict = Listener::tcp("strict", radio);
    let mut strict_usp = Listener::tcp("strict-usp", r#""usp""#);
    (strict.unknown, strict_usp.unknown) = ("refuse", "refuse");
    settings.listeners.extend([
        Listener::tcp("radio", radio),
        Listener::udp("radio-udp", radio),
        Listener { unknown: "hold", ..Listener::tcp("held", radio) },
        Listener::udp("mixed-udp", r#""en13757", "usp""#),
        strict,
        strict_usp,
        Listener::tcp("szrq", r#""szrq""#),
        Listener::on("coap", "szrq-coap", r#""szrq""#),
    ]);
    Site::with(&settings)
}

/// Radio meters, each with one total.
fn meters(numbers: std::ops::Range<u32>) -> Vec<Meter> {
    let meter = |number| {
        let mut meter = Meter::gas(&format!("LGB120820{number:02}4003"));
        meter.records.push(Record::bcd(0x13, 1_000 + u64::from(number)));
        meter
    };
    numbers.map(meter).collect()
}

fn frames(site: &Site, meter: &Meter) -> u64 {
    let device = site.device(&format!("mbus/{}", meter.address()));
    device.and_then(|device| device["counts"]["frames"].as_u64()).unwrap_or_default()
}

fn await_frames(site: &Site, meters: &[Meter], wanted: u64) {
    wait_until(&format!("{wanted} of each meter"), || {
        meters.iter().all(|meter| frames(site, meter) == wanted).then_some(())
    });
}

#[test]
fn telegrams_of_one_write_are_all_read_and_the_gateway_stays() {
    let site = site();
    let mut meters = meters(1..4);
    let mut gateway = Peer::tcp(site.door("radio").expect("a listener"));
    let telegrams: Vec<_> = meters.iter_mut().map(|meter| meter.radio(Format::A)).collect();
    gateway.send(&telegrams.concat());
    await_frames(&site, &meters, 1);
    assert!(gateway.is_quiet(), "nobody waits for the station, and it says nothing and does not close");
    // The same connection, one after the other, the last of them in two pieces.
    for (number, first) in [0, 0, 15].into_iter().enumerate() {
        let telegram = meters[number].radio(Format::B);
        let (begin, end) = telegram.split_at(first);
        gateway.send(begin);
        gateway.send(end);
        await_frames(&site, &meters[number..=number], 2);
    }
    // Another gateway hears the last of them, too: that is no reason to close this one.
    let mut other = Peer::tcp(site.door("radio").expect("a listener"));
    other.send(&meters[2].radio(Format::A));
    await_frames(&site, &meters[2..], 3);
    gateway.send(&meters[2].radio(Format::A));
    await_frames(&site, &meters[2..], 4);
    assert!(gateway.is_quiet() && other.is_quiet());
    assert!(site.rows("quarantine").is_empty());
}

/// Bytes of which nobody said where one telegram ends are kept as they came.
#[test]
fn telegrams_of_one_write_that_nobody_could_cut_are_all_read_later() {
    let mut site = site();
    let file = site.data().join("adapters/en13757.wasm");
    let adapter = std::fs::read(&file).expect("a file");
    std::fs::remove_file(&file).expect("removed");
    wait_until("nobody reads it", || {
        let rows = site.rows("adapters");
        (!rows.iter().any(|row| row["name"] == "en13757" && row["state"] == "active")).then_some(())
    });
    let (mut known, mut strangers) = (meters(1..4), meters(4..6));
    let kept = |rows: usize| {
        wait_until("it is kept", || {
            site.catch_up();
            (site.rows("quarantine").len() == rows).then_some(())
        });
    };
    let mut damaged = known[2].radio(Format::A);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let whole = known.iter_mut().map(|meter| meter.radio(Format::A));
    Peer::tcp(site.door("radio").expect("a listener")).send(&whole.chain([damaged]).collect::<Vec<_>>().concat());
    kept(1);
    let held: Vec<_> = strangers.iter_mut().map(|meter| meter.radio(Format::A)).collect();
    Peer::tcp(site.door("held").expect("a listener")).send(&held.concat());
    kept(2);
    std::fs::write(&file, adapter).expect("a file");
    await_frames(&site, &known, 1);
    await_frames(&site, &strangers, 1);
    site.client().post(&format!("devices/mbus/{}/adopt", strangers[0].address()), &json!({})).expect("adopted");
    let shown = |site: &Site| {
        site.catch_up();
        let mut values: Vec<_> = known
            .iter()
            .chain(&strangers)
            .map(|meter| site.readings(&format!("mbus/{}", meter.address()), "working-volume").len())
            .collect();
        values.push(site.rows("quarantine").len());
        values
    };
    // The damaged one alone is left, and who was let in has told something alone of those who were not.
    assert_eq!(shown(&site), [1, 1, 1, 1, 0, 1]);
    let left = site.rows("quarantine");
    assert_eq!((&left[0]["part"], &left[0]["fault"]), (&json!(4), &json!("corrupt")), "{left:?}");
    site.client().post("adapters/en13757/replay", &json!({"since_s": 86_400, "stored": true})).expect("begun");
    let told =
        wait_until("it is through", || Some(site.get("adapters/en13757/replay")).filter(|r| r["finished"] == true));
    assert_eq!(
        (&told["differing"], &told["uncorrectable"], &told["unrepeatable"]),
        (&json!(0), &json!(0), &json!(0)),
        "{told}"
    );
    site.stop().expect("stops");
    std::fs::remove_file(site.data().join("views.redb")).expect("there");
    site.start().expect("comes back");
    assert_eq!(shown(&site), [1, 1, 1, 1, 0, 1]);
}

/// Its access telegram reports nothing, and takes nothing from what the gateway is.
#[test]
fn a_gateway_stays_whose_last_meter_has_only_shown_that_it_is_there() {
    let access = hex::decode("0e4793157856341233037f2d8a2b04000027eb").expect("hex");
    let site = site();
    let mut meters = meters(1..3);
    let mut gateway = Peer::tcp(site.door("radio").expect("a listener"));
    gateway.send(&[meters[0].radio(Format::A), access.clone()].concat());
    wait_until("the meter that shows itself", || site.device("mbus/ELS123456783303"));
    // Another gateway hears the same, and then somebody else.
    let mut other = Peer::tcp(site.door("radio").expect("a listener"));
    other.send(&[access, meters[1].radio(Format::A)].concat());
    await_frames(&site, &meters[1..], 1);
    gateway.send(&meters[0].radio(Format::A));
    await_frames(&site, &meters[..1], 2);
    assert!(gateway.is_quiet() && other.is_quiet());
    assert!(site.rows("quarantine").is_empty());
}

#[test]
fn datagrams_of_one_socket_that_come_at_once_are_all_read() {
    let site = site();
    let mut meters = meters(1..21);
    let mut gateway = Peer::udp(site.door("radio-udp").expect("a listener"));
    let telegrams: Vec<_> = meters.iter_mut().map(|meter| meter.radio(Format::A)).collect();
    telegrams.iter().for_each(|telegram| gateway.send(telegram));
    await_frames(&site, &meters, 1);
    assert!(site.rows("quarantine").is_empty());
    let metrics = site.client().text("/metrics").expect("metrics").1;
    let dropped = metrics
        .lines()
        .find(|line| line.starts_with("polymeter_datagrams_dropped_total") && line.contains("\"radio-udp\""));
    assert!(dropped.is_some_and(|line| line.ends_with(" 0")), "{dropped:?}");
}

#[test]
fn reports_of_one_write_or_request_are_all_answered() {
    let site = site();
    let to = |name: &str| site.door(name).expect("a listener");
    let peers = [Peer::tcp(to("szrq")), Peer::coap(CoapSocket::to(to("szrq-coap")))];
    for (mut peer, number) in peers.into_iter().zip(["SZ00000012345678", "SZ00000012345679"]) {
        let mut meter = szrq::device::Meter::new(number);
        let times = [0, 1, 2].map(|hours| civil(NOON) + 3_600 * hours);
        peer.send(&times.map(|at| meter.report(at, 0, false)).concat());
        for at in times {
            let answer = peer.next(szrq::device::Meter::cut).expect("an answer");
            assert!(matches!(meter.receive(&answer, at), Ok(Heard::Acknowledged { more: false, .. })));
        }
        if number.ends_with('8') {
            assert_eq!(peer.until_closed(), [0; 0], "nothing waits for it");
        }
        let device = site.device(&format!("szrq/{number}")).expect("a device");
        assert_eq!(device["counts"]["frames"], 3, "{device}");
    }
    assert!(site.rows("quarantine").is_empty());
}

/// One read of the station ends with the answer; the alarm comes with the next.
#[test]
fn an_alarm_behind_the_last_answer_is_read_before_the_session_ends() {
    let site = Site::usual();
    let mut terminal = Terminal::tcp(meter("50001234567840"), site.meters());
    terminal.whole_communication();
    site.catch_up();
    drop(terminal.reconnect(site.meters()));
    let id = site.order("usp/50001234567840", &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(terminal.daily().pending, 1);
    let (_, result, answer) = terminal.take_command();
    assert_eq!(result, 0);
    let answer = answer.concat();
    let alarm = terminal.device.abnormal(terminal.now, &[EventEntry { code: 0x40, at: terminal.now, value: 9 }]);
    let noise = vec![0xFE; READ_BYTES_MAX - answer.len()];
    terminal.peer.send(&[noise, answer, alarm].concat());
    assert!(matches!(terminal.hear(), Some(UspHeard::Reply(reply)) if reply.result == 0));
    assert_eq!(terminal.farewell(), 0);
    site.await_state(id, "done");
}

/// What one brings from behind it is kept together with what comes next, and it is refused over that.
#[test]
fn a_frame_behind_one_that_was_carried_is_kept_when_the_session_ends_over_that() {
    let carrying = hex::decode("6801407103500088000000070900200009000201000400fefe68014ebb16").expect("hex");
    let heartbeat = hex::decode("6801300303500088000000071000200008002403151200001404b46c16").expect("hex");
    let site = site();
    let mut gateway = Peer::tcp(site.door("strict-usp").expect("a listener"));
    gateway.send(&[&carrying[..], &heartbeat].concat());
    gateway.until_closed();
    site.catch_up();
    let rows = site.rows("quarantine");
    let kept: Vec<_> = rows.iter().map(|row| (row["fault"].as_str(), row["raw"].as_str())).collect();
    let wanted = [carrying, heartbeat].map(hex::encode);
    assert_eq!(kept, wanted.each_ref().map(|raw| (Some("refused"), Some(raw.as_str()))));
}

/// It is refused over the first; the others are kept as what they are, also those that the socket still holds.
#[test]
fn frames_behind_one_that_ends_the_session_are_read_as_well() {
    let heartbeat = hex::decode("6801300303500088000000071000200008002403151200001404b46c16").expect("hex");
    let site = site();
    let mut meter = Peer::tcp(site.door("strict-usp").expect("a listener"));
    let count = READ_BYTES_MAX / heartbeat.len() + 10;
    let half = &heartbeat[..12];
    meter.send(&[&heartbeat.repeat(count)[..], half].concat());
    meter.until_closed();
    site.catch_up();
    let rows = site.rows("quarantine?limit=1000");
    let kept: Vec<_> = rows.iter().map(|row| (row["fault"].as_str(), row["raw"].as_str())).collect();
    let mut wanted = vec![("refused", hex::encode(&heartbeat)); count];
    wanted.push(("noise", hex::encode(half)));
    assert_eq!(kept, wanted.iter().map(|(fault, raw)| (Some(*fault), Some(raw.as_str()))).collect::<Vec<_>>());
}

#[test]
fn a_stranger_whom_a_gateway_has_heard_keeps_nobody_else_out() {
    let site = site();
    let mut meters = meters(1..3);
    let known = format!("mbus/{}", meters[1].address());
    site.client().post(&format!("devices/{known}/adopt"), &json!({})).expect("adopted");
    let mut gateway = Peer::tcp(site.door("strict").expect("a listener"));
    let stranger = meters[0].radio(Format::A);
    let count = READ_BYTES_MAX / stranger.len() + 10;
    gateway.send(&[stranger.repeat(count), meters[1].radio(Format::A)].concat());
    await_frames(&site, &meters[1..], 1);
    assert!(gateway.is_quiet(), "it stays");
    let rows = site.rows("quarantine?limit=1000");
    assert!(rows.len() == count && rows.iter().all(|row| row["fault"] == "refused"), "{} rows", rows.len());
}

/// More of them than a session may bring faults; and none is booked on whoever had spoken before.
#[test]
fn neighbours_without_a_key_end_no_gateway_and_are_nobodys() {
    let site = site();
    let mut own = meters(1..4);
    let mut neighbour = meters(9..10).remove(0).with_security(Security::Mode5([9; 16]));
    let mut gateway = Peer::tcp(site.door("radio").expect("a listener"));
    let count = 2 * SESSION_FAULTS_MAX as usize;
    let foreign: Vec<_> = (0..count).map(|_| neighbour.radio(Format::A)).collect();
    let telegrams: Vec<_> = own.iter_mut().map(|meter| meter.radio(Format::A)).collect();
    gateway.send(&[&telegrams[0][..], &foreign.concat(), &telegrams[1..].concat()].concat());
    await_frames(&site, &own, 1);
    assert!(gateway.is_quiet(), "it stays");
    let rows = site.rows("quarantine?limit=1000");
    let are_nobodys = rows.iter().all(|row| row["fault"] == "not-authentic" && row["device"].is_null());
    assert!(rows.len() == count && are_nobodys, "{rows:?}");
    // The key comes later, and so does what they said.
    let device = format!("mbus/{}", neighbour.address());
    site.client().put(&format!("keys/{device}/1"), &json!({"key": "09".repeat(16)})).expect("a key");
    gateway.send(&neighbour.radio(Format::A));
    await_frames(&site, std::slice::from_ref(&neighbour), 1);
}

/// What is bound to one of them is not what its neighbour is read under.
#[test]
fn each_device_of_a_gateway_is_read_under_its_own_profile() {
    let site = site();
    let mut plain = meters(1..2);
    let mut secured = vec![meters(9..10).remove(0).with_security(Security::Mode5([9; 16]))];
    let (odd, other) = (format!("mbus/{}", plain[0].address()), format!("mbus/{}", secured[0].address()));
    let client = site.client();
    client.put(&format!("keys/{other}/1"), &json!({"key": "09".repeat(16)})).expect("a key");
    client.post(&format!("devices/{odd}/adopt"), &json!({})).expect("adopted");
    let options = json!({"adapter": "en13757", "options": {"key_slot": "2"}});
    client.put("profiles/odd", &options).expect("a profile");
    client.post("profiles/odd/bind", &json!({"device": odd})).expect("bound");
    let mut gateway = Peer::tcp(site.door("radio").expect("a listener"));
    for turn in 1..3 {
        gateway.send(&[plain[0].radio(Format::A), secured[0].radio(Format::A)].concat());
        await_frames(&site, &plain, turn);
        await_frames(&site, &secured, turn);
    }
    assert_eq!(site.rows("quarantine"), [json!(null); 0]);
}

/// Each datagram is a message of its own, whoever has sent the one before from the same port.
#[test]
fn datagrams_of_two_makes_from_one_port_are_all_read() {
    let site = site();
    let mut radio = meters(1..9);
    let mut gateway = Peer::udp(site.door("mixed-udp").expect("a listener"));
    let terminals: Vec<_> = (0..8).map(|n| format!("5000123456790{n}")).collect();
    let telegrams: Vec<_> = radio.iter_mut().map(|meter| meter.radio(Format::A)).collect();
    for (telegram, number) in telegrams.iter().zip(&terminals) {
        gateway.send(telegram);
        gateway.send(&meter(number).registration(civil(NOON)));
    }
    await_frames(&site, &radio, 1);
    wait_until("all of the other make", || {
        terminals.iter().all(|number| site.device(&format!("usp/{number}")).is_some()).then_some(())
    });
    assert_eq!(site.rows("quarantine"), [json!(null); 0]);
}

#[test]
fn who_is_let_in_while_his_gateway_stays_is_welcome_from_his_next_word() {
    let site = site();
    let mut meters = meters(1..2);
    let mut gateway = Peer::tcp(site.door("strict").expect("a listener"));
    gateway.send(&meters[0].radio(Format::A));
    wait_until("it is refused", || (site.rows("quarantine").len() == 1).then_some(()));
    site.client().post(&format!("devices/mbus/{}/adopt", meters[0].address()), &json!({})).expect("adopted");
    wait_until("what it has said is read", || site.rows("quarantine").is_empty().then_some(()));
    let before = frames(&site, &meters[0]);
    gateway.send(&meters[0].radio(Format::A));
    await_frames(&site, &meters, before + 1);
    assert!(gateway.is_quiet());
    assert_eq!(site.rows("quarantine"), [json!(null); 0]);
}
