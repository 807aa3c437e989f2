//! Meters behind gateways and network servers, through a real broker: reports and orders, what is wrong in a message, and
//! what becomes of messages when broker or station die.

use fleet::station::{Listener, Settings};
use polymeter_tests::books::frames;
use polymeter_tests::broker::{Gateway, Mosquitto};
use polymeter_tests::guest::{Guest, MESSAGES, RESULT, decoded};
use polymeter_tests::peer::Peer;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::site::{PATIENCE, Site, wait_until};
use polymeter_tests::usp::{NOON, Terminal, civil, meter};
use qianwei_7xxx::device::{Meter, ReportKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use usp::device::{Device, Heard, Terminal as Kind};

const ALWAYS_ONLINE: u16 = 0x0049;
const GATEWAYS: &str = r#"up = "gateways/{gateway}/meters/{device}/up"
down = "gateways/{gateway}/meters/{device}/down""#;
/// As ChirpStack 4 publishes and takes it.
const NETWORK_SERVER: &str = r#"up = "application/{app}/device/{device}/event/up"
payload = { json = "/data", encoding = "base64" }
down = "application/{app}/device/{device}/command/down"
down_payload = { json = { devEui = "{device}", confirmed = false, fPort = 10, data = "{payload}" }, encoding = "base64" }"#;

/// Subscribes as `gateways` and as `lora`.
fn site(broker: &Mosquitto) -> Site {
    let mut settings = Settings::usual();
    settings.listeners.push(listener("gateways", broker.address(), GATEWAYS));
    settings.listeners.push(listener("lora", broker.address(), NETWORK_SERVER));
    let site = Site::with(&settings);
    await_subscribed(&site);
    site
}

fn listener(name: &str, broker: SocketAddr, more: &str) -> Listener {
    let mut listener = Listener::on("mqtt", name, r#""usp", "qianwei_7xxx""#);
    listener.more = format!("[listener.mqtt]\nbroker = \"{broker}\"\n{more}");
    listener
}

fn brokers(site: &Site) -> Vec<Value> {
    let health: Value = serde_json::from_str(&site.client().text("/health").expect("health").1).expect("JSON");
    health["brokers"].as_array().cloned().unwrap_or_default()
}

fn await_subscribed(site: &Site) {
    wait_until("the brokers are there", || {
        let brokers = brokers(site);
        (!brokers.is_empty() && brokers.iter().all(|b| b["subscribed"] == true)).then_some(())
    });
}

fn metric(site: &Site, listener: &str, kind: &str) -> u64 {
    let text = site.client().text("/metrics").expect("metrics").1;
    let of = |line: &&str| {
        line.starts_with("polymeter_mqtt_messages_total")
            && [listener, kind].iter().all(|w| line.contains(&format!("\"{w}\"")))
    };
    text.lines().find(of).and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

fn gateway(broker: &Mosquitto, device: &str) -> Gateway {
    let topic = |end: &str| format!("gateways/g1/meters/{device}/{end}");
    Gateway::new(broker.address(), &format!("gateway-{device}"), &topic("up"), &topic("down"))
}

fn online(address: &str) -> Device {
    let mut device = Device::new(Kind::Meter, address, ALWAYS_ONLINE);
    device.readings = meter(address).readings;
    device
}

#[test]
fn whole_conversations_go_through_a_broker() {
    let broker = Mosquitto::default();
    let site = site(&broker);
    let mut terminal = Terminal::on(meter("50001234567890"), Peer::mqtt(gateway(&broker, "50001234567890")));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(terminal.daily().result, 0);
    assert_eq!(terminal.hear(), Some(Heard::Farewell(0)));
    let mut other = QianweiMeter::on(Meter::plain("00000000123456789090"), Peer::mqtt(gateway(&broker, "m2")));
    assert_eq!(other.report(), (0, false));
    assert_eq!(site.readings("usp/50001234567890", "working-volume").len(), 2);
    assert_eq!(site.readings("qianwei/00000000123456789090", "working-volume").len(), 1);
    let rows = site.rows("devices/usp/50001234567890/frames");
    assert_eq!(rows[0]["peer"], "gateways/g1/meters/50001234567890/up");
}

#[test]
fn all_frames_of_one_message_are_read() {
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 1");
    let site = site(&broker);
    let addresses = ["00000000123456789096", "00000000123456789097", "00000000123456789098"];
    let report = |address: &str| Meter::plain(address).report(civil(NOON), ReportKind::Scheduled);
    let live = gateway(&broker, "many");
    live.publish(&addresses.map(report).concat()).expect("a message");
    for address in addresses {
        wait_until("each of them is shown", || site.device(&format!("qianwei/{address}")));
    }
    assert!(site.rows("quarantine").is_empty());
    // The broker gives one at a time: unless that was acknowledged, this never comes through.
    live.publish(&report("00000000123456789099")).expect("a message");
    wait_until("the next one is shown", || site.device("qianwei/00000000123456789099"));
}

#[test]
fn a_device_moves_from_tcp_behind_a_gateway_and_is_ordered_there() {
    let broker = Mosquitto::default();
    let site = site(&broker);
    let mut terminal = Terminal::tcp(online("50001234567891"), site.meters());
    assert_eq!(terminal.register().result, 0);
    let mut old = std::mem::replace(&mut terminal.peer, Peer::mqtt(gateway(&broker, "50001234567891")));
    assert_eq!(terminal.register().result, 0);
    assert_eq!(old.until_closed(), [0; 0]);
    assert_eq!(terminal.daily().result, 0);
    let id = site.order("usp/50001234567891", &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.obey().1, 0);
    site.await_state(id, "done");
}

#[test]
fn a_network_server_wraps_frames_both_ways() {
    let broker = Mosquitto::default();
    let site = site(&broker);
    let topic = |end: &str| format!("application/a1/device/0102030405060708/{end}");
    let server = Gateway::new(broker.address(), "server", &topic("event/up"), &topic("command/down"));
    let mut device = meter("50001234567892");
    let up = |frame: &[u8]| {
        let document = json!({"deviceInfo": {"devEui": "0102030405060708"}, "fPort": 10, "data": base64(frame)});
        server.publish(document.to_string().as_bytes()).expect("a message");
    };
    up(&device.registration(civil(NOON)));
    let document: Value = serde_json::from_slice(&server.receive(PATIENCE).expect("an answer")).expect("JSON");
    let rest = [&document["devEui"], &document["confirmed"], &document["fPort"]];
    assert_eq!(rest, [&json!("0102030405060708"), &json!(false), &json!(10)]);
    let reply = unbase64(document["data"].as_str().expect("text"));
    assert!(matches!(device.hear(civil(NOON), &reply), Ok(Heard::Reply(reply)) if reply.result == 0));
    // Tests say what time it is for the meter.
    device.drift_s = 0;
    up(&device.daily(civil(NOON), &[]));
    wait_until("the report is shown", || {
        (site.device("usp/50001234567892").is_some()
            && site.readings("usp/50001234567892", "working-volume").len() == 2)
            .then_some(())
    });
}

#[test]
fn what_is_wrong_is_kept_acknowledged_and_counted() {
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 2");
    let site = site(&broker);
    let server = Gateway::new(broker.address(), "server", "application/a1/device/d1/event/up", "none");
    let wrong = [&b"{\"data\":"[..], br#"{"data":"a%b"}"#, br#"{"dat":"aBZo"}"#, b"\xFF\xFE", br#"{"data":""}"#];
    for payload in wrong {
        server.publish(payload).expect("a message");
    }
    // The broker gives two at a time: unless the wrong ones were acknowledged, this never comes through.
    let good = Meter::plain("00000000123456789093").report(civil(NOON), ReportKind::Scheduled);
    server.publish(json!({"data": base64(&good)}).to_string().as_bytes()).expect("a message");
    wait_until("the good one is shown", || site.device("qianwei/00000000123456789093"));
    let rows = site.rows("quarantine");
    let raw: Vec<_> = rows.iter().map(|row| row["raw"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(raw, wrong.map(hex::encode));
    assert_eq!(metric(&site, "lora", "unreadable"), wrong.len() as u64);
    assert_eq!(metric(&site, "lora", "heard"), wrong.len() as u64 + 1);
}

/// The broker would give it first on every connection, also after a restart.
#[test]
fn a_message_that_is_too_long_is_kept_in_part_and_silences_nobody() {
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 1");
    let mut site = site(&broker);
    site.stop().expect("a station that stops");
    let big = gateway(&broker, "big");
    big.publish(&vec![0xEE; 5_000_000]).expect("a message");
    big.publish(&vec![0xDD; 6_000_000]).expect("a longer one");
    big.await_taken(2);
    let frame = Meter::plain("00000000123456789098").report(civil(NOON), ReportKind::Scheduled);
    let next = gateway(&broker, "m8");
    next.publish(&frame).expect("a message");
    next.await_taken(1);
    site.start().expect("a station that starts");
    wait_until("the one behind them is shown", || site.device("qianwei/00000000123456789098"));
    await_subscribed(&site);
    site.catch_up();
    let rows = site.rows("quarantine");
    let begins = |row: &Value| row["raw"].as_str().and_then(|raw| raw.get(..4)).unwrap_or_default().to_owned();
    assert_eq!(rows.iter().map(begins).collect::<Vec<_>>(), ["eeee", "dddd"]);
    assert_eq!(metric(&site, "gateways", "unreadable"), 2);
}

#[test]
fn a_last_word_from_whenever_is_no_report() {
    let broker = Mosquitto::default();
    let keeper = gateway(&broker, "old");
    let frame = Meter::plain("00000000123456789094").report(civil(NOON), ReportKind::Scheduled);
    keeper.publish_retained(&frame).expect("a message");
    keeper.await_taken(1);
    let site = site(&broker);
    wait_until("it is ignored", || (metric(&site, "gateways", "ignored") == 1).then_some(()));
    let live = gateway(&broker, "new");
    let frame = Meter::plain("00000000123456789095").report(civil(NOON), ReportKind::Scheduled);
    live.publish(&frame).expect("a message");
    wait_until("the live one is shown", || site.device("qianwei/00000000123456789095"));
    assert!(site.device("qianwei/00000000123456789094").is_none());
}

#[test]
fn a_broker_that_comes_back_is_subscribed_to_again() {
    let mut broker = Mosquitto::default();
    let site = site(&broker);
    broker.stop();
    wait_until("health says so", || {
        brokers(&site)
            .iter()
            .all(|b| {
                b["subscribed"] == false && b["away_s"].is_u64() && b["why"].as_str().is_some_and(|w| !w.is_empty())
            })
            .then_some(())
    });
    assert_eq!(site.client().text("/health").expect("health").0, 200, "the station works without it");
    broker.start();
    await_subscribed(&site);
    let mut other = QianweiMeter::on(Meter::plain("00000000123456789096"), Peer::mqtt(gateway(&broker, "m6")));
    assert_eq!(other.report(), (0, false));
}

#[test]
fn what_comes_while_the_station_is_away_is_there_when_it_is_back() {
    let broker = Mosquitto::default();
    let mut site = site(&broker);
    site.stop().expect("a station that stops");
    let away = gateway(&broker, "m7");
    let frame = Meter::plain("00000000123456789097").report(civil(NOON), ReportKind::Scheduled);
    away.publish(&frame).expect("a message");
    away.await_taken(1);
    site.start().expect("a station that starts");
    wait_until("it is shown", || site.device("qianwei/00000000123456789097"));
}

#[test]
fn the_topic_names_devices_whose_frames_do_not() {
    let broker = Mosquitto::default();
    let files = Scratch::new();
    let guest =
        Guest { memory: vec![(RESULT, decoded(None, MESSAGES, 1)), (MESSAGES, vec![1])], ..Guest::new("short") };
    files.write("short.wasm", &guest.component());
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""short""#.into();
    let more = format!("{GATEWAYS}\naddress_from = \"topic\"");
    let mut short = listener("gateways", broker.address(), &more);
    short.adapters = r#""short""#.into();
    settings.listeners.push(short);
    let site = Site::with_adapters(&settings, &[files.path("short.wasm")]);
    await_subscribed(&site);
    gateway(&broker, "0102030405060708").publish(&[0x68, 1, 2]).expect("a message");
    let device = wait_until("it is shown", || site.device("test/0102030405060708"));
    assert_eq!(device["counts"]["frames"], 1);
}

#[test]
fn what_nobody_could_read_is_still_whose_the_topic_says() {
    let broker = Mosquitto::default();
    let files = Scratch::new();
    let memory = || vec![(RESULT, decoded(None, MESSAGES, 1)), (MESSAGES, vec![1])];
    let cannot = Guest { memory: memory(), on_decode: "unreachable", ..Guest::new("short") };
    files.write("short.wasm", &cannot.component());
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""short""#.into();
    for (name, unknown, topics) in [
        ("gateways", "accept", GATEWAYS),
        ("holds", "hold", r#"up = "holds/{device}""#),
        ("strict", "refuse", r#"up = "strict/{device}""#),
    ] {
        let mut short = listener(name, broker.address(), &format!("{topics}\naddress_from = \"topic\""));
        (short.adapters, short.unknown) = (r#""short""#.into(), unknown);
        settings.listeners.push(short);
    }
    let site = Site::with_adapters(&settings, &[files.path("short.wasm")]);
    await_subscribed(&site);
    let gateway = gateway(&broker, "0102030405060708");
    gateway.publish_to("strict/98", &[0x68, 1, 2]).expect("a message");
    gateway.publish_to("holds/99", &[0x68, 1, 2]).expect("a message");
    gateway.publish(&[0x68, 1, 2]).expect("a message");
    wait_until("all are kept", || (site.rows("quarantine").len() == 3).then_some(()));
    assert!(site.device("test/0102030405060708").is_none(), "nothing is known of it");
    let can = Guest { memory: memory(), version: "1.1.0", ..Guest::new("short") };
    site.client().upload("adapters/short.wasm", can.component()).expect("serves");
    wait_until("it is read", || site.device("test/0102030405060708"));
    // A stranger is one by his topic, too: held by the one listener, refused by the other, until somebody lets him in.
    wait_until("it is held", || (site.device("test/99")?["held"] == true).then_some(()));
    wait_until("it is refused", || {
        let rows = site.rows("quarantine");
        (rows.len() == 1 && rows[0]["fault"] == "refused" && rows[0]["device"] == "test/98").then_some(())
    });
    assert!(site.device("test/98").is_none());
    for device in ["test/98", "test/99"] {
        site.client().post(&format!("devices/{device}/adopt"), &json!({})).expect("adopted");
        wait_until("what it said counts", || {
            let row = site.device(device)?;
            let is_read = site.rows("quarantine").is_empty() && row["counts"]["held_frames"] == 0;
            (is_read && row["held"] == false && row["last_seen"].is_string()).then_some(())
        });
        if device == "test/98" {
            assert_eq!(site.device("test/99").expect("held")["held"], true);
        }
    }
}

#[test]
fn a_broker_may_ask_for_a_password() {
    let mut broker = Mosquitto::with("allow_anonymous false\npassword_file DIR/users");
    broker.stop();
    let mut settings = Settings::usual();
    let files = Scratch::new();
    files.write("password", b"not this one\n");
    let login = format!("user = \"station\"\npassword_file = {}", files.quoted("password"));
    settings.listeners.push(listener("gateways", broker.address(), &format!("{login}\n{GATEWAYS}")));
    let site = Site::with(&settings);
    broker.allow("station", "s3cret word");
    broker.start();
    wait_until("it is refused", || {
        brokers(&site)[0]["why"].as_str().is_some_and(|why| why.contains("refused")).then_some(())
    });
    files.write("password", b"s3cret word\n");
    await_subscribed(&site);
    let log = std::fs::read_to_string(site.log_file()).expect("a log");
    assert!(!log.contains("s3cret"), "no password in the log");
}

/// Between two commits and acknowledgements, again and again.
#[test]
fn a_killed_station_takes_every_message_once() {
    const MESSAGES_SENT: usize = 300;
    const CUTS: u64 = 6;
    let broker = Mosquitto::default();
    let mut site = site(&broker);
    let gateway = gateway(&broker, "fleet");
    let address = |n: usize| format!("{:020}", 7_000_000 + n);
    let reports: Vec<(String, Vec<u8>)> = (0..MESSAGES_SENT)
        .map(|n| {
            (format!("gateways/g1/meters/{n}/up"), Meter::plain(&address(n)).report(civil(NOON), ReportKind::Scheduled))
        })
        .collect();
    let sending = std::thread::scope(|threads| {
        let all = &reports;
        let sending = threads.spawn(move || {
            for (n, (topic, frame)) in all.iter().enumerate() {
                gateway.publish_to(topic, frame).expect("a message");
                if n % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(60));
                }
            }
            gateway.await_taken(MESSAGES_SENT);
        });
        for cut in 0..CUTS {
            std::thread::sleep(Duration::from_millis(40 * cut));
            site.power_cut();
        }
        sending.join()
    });
    sending.expect("a gateway that gets rid of its messages");
    wait_until("all of them are shown", || {
        let device = |n| site.client().get(&format!("devices/qianwei/{}", address(n))).is_ok();
        (0..MESSAGES_SENT).rev().all(device).then_some(())
    });
    let again = metric(&site, "gateways", "repeated");
    site.stop().expect("a station that stops");
    let mut kept: BTreeMap<(String, Vec<u8>), usize> = BTreeMap::new();
    for frame in frames(&site.data()) {
        *kept.entry((frame.peer.clone(), frame.raw.to_vec())).or_default() += 1;
    }
    println!("sent again and known: {again} after the last start");
    for (topic, frame) in reports {
        assert_eq!(kept.remove(&(topic.clone(), frame)), Some(1), "{topic}");
    }
    assert!(kept.is_empty(), "{kept:?}");
}

/// A broker of the test's own, which says exactly what it wants to.
struct Script(TcpStream);

impl Script {
    /// Takes a station's connection and subscription.
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a station");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let mut script = Self(stream);
        assert_eq!(script.hear().0 >> 4, 1, "connect");
        script.say(&[0x20, 2, 1, 0]);
        let (kind, subscribe) = script.hear();
        assert_eq!(kind >> 4, 8, "subscribe");
        script.say(&[0x90, 3, subscribe[0], subscribe[1], 1]);
        script
    }

    fn say(&mut self, packet: &[u8]) {
        self.0.write_all(packet).expect("a station that listens");
    }

    /// First byte and what follows the length; short packets only.
    fn hear(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a packet");
        let mut length = usize::from(head[1] & 0x7F);
        if head[1] & 0x80 != 0 {
            let mut more = [0];
            self.0.read_exact(&mut more).expect("a packet");
            length |= usize::from(more[0]) << 7;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a packet");
        (head[0], body)
    }

    fn publish(&mut self, repeated: bool, number: u16, topic: &str, payload: &[u8]) {
        let length = 2 + topic.len() + 2 + payload.len();
        let mut packet = vec![0x32 | u8::from(repeated) << 3, (length & 0x7F) as u8 | 0x80, (length >> 7) as u8];
        packet.extend((topic.len() as u16).to_be_bytes());
        packet.extend(topic.as_bytes());
        packet.extend(number.to_be_bytes());
        packet.extend(payload);
        self.say(&packet);
    }

    /// Waits for the acknowledgement of that number; answers to devices are taken on the way.
    fn await_acknowledged(&mut self, number: u16) {
        loop {
            let (kind, body) = self.hear();
            match kind >> 4 {
                4 => return assert_eq!(body, number.to_be_bytes()),
                3 => {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    self.say(&[0x40, 2, body[2 + topic], body[3 + topic]]);
                }
                other => panic!("packet {other}"),
            }
        }
    }
}

/// Durable, not acknowledged, killed; then the broker says it again, and something new behind it.
#[test]
fn what_was_kept_before_a_power_cut_is_acknowledged_after_it() {
    let listening = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut settings = Settings::usual();
    settings.listeners.push(listener("gateways", listening.local_addr().expect("an address"), GATEWAYS));
    let mut site = Site::with(&settings);
    let topic = "gateways/g1/meters/m/up";
    let frame = |n: u32| Meter::plain(&format!("{n:020}")).report(civil(NOON), ReportKind::Scheduled);
    let mut script = Script::accept(&listening);
    script.publish(false, 5, topic, &frame(1));
    // It is shown, so it is durable; whether the station has acknowledged it, this broker forgets with its connection.
    wait_until("it is shown", || site.device(&format!("qianwei/{:020}", 1)));
    drop(script);
    site.kill().expect("a running station");
    site.start().expect("a station that starts");
    let mut script = Script::accept(&listening);
    script.publish(true, 9, topic, &frame(1));
    script.await_acknowledged(9);
    // Half known, half new: only the new half is taken.
    script.publish(true, 10, topic, &[frame(1), frame(2)].concat());
    script.await_acknowledged(10);
    // The same bytes, said anew: that is another message, and the session's to judge.
    script.publish(false, 11, topic, &frame(1));
    script.await_acknowledged(11);
    drop(script);
    // A connection later the same holds, from memory.
    let mut script = Script::accept(&listening);
    script.publish(true, 3, topic, &frame(1));
    script.await_acknowledged(3);
    drop(script);
    site.stop().expect("a station that stops");
    let kept: Vec<Vec<u8>> = frames(&site.data()).iter().map(|frame| frame.raw.to_vec()).collect();
    assert_eq!(kept, [frame(1), frame(2), frame(1)]);
}

fn base64(bytes: &[u8]) -> String {
    use polymeter::link::mqtt::{Encoding, Letter, Names};
    let letter = Letter { document: None, encoding: Encoding::Base64 };
    String::from_utf8(letter.write(bytes, &Names::default())).expect("base64")
}

fn unbase64(text: &str) -> Vec<u8> {
    use polymeter::link::mqtt::{Encoding, Form};
    Form { pointer: None, encoding: Encoding::Base64 }.read(text.as_bytes()).expect("base64")
}
