//! One version against another over a running station: a shadow beside the one that serves, stored frames read again, and
//! corrections that keep what they replace.

use fleet::station::{Listener, Settings};
use polymeter_tests::guest::{Guest, MESSAGE_BYTES, MESSAGES, RESULT, decoded, report, report_of, volume};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::Terminal;
use serde_json::{Value, json};
use usp::device::Device;

const DEVICE: &str = "test/12345678";
const OTHER: &str = "test/87654321";
const DTU: &str = "usp/50008800000007";

/// Says that every frame reports this volume of the device 12345678.
fn reads(version: &'static str, mantissa: i64, exponent: i8) -> Vec<u8> {
    guest(version, *b"12345678", mantissa, exponent).component()
}

/// The same of the device with this address.
fn guest(version: &'static str, address: [u8; 8], mantissa: i64, exponent: i8) -> Guest {
    let memory = vec![
        (RESULT, decoded(Some((512, 8)), MESSAGES, 1)),
        (512, address.to_vec()),
        (MESSAGES, report((8_192, 1), (0, 0))),
        (8_192, volume(mantissa, exponent)),
    ];
    Guest { version, memory, ..Guest::new("a") }
}

fn site() -> Site {
    site_of(reads("1.0.0", 12_345, -2), reads("2.0.0", 12_345, -3))
}

/// One version serves, another one waits.
fn site_of(serves: Vec<u8>, waits: Vec<u8>) -> Site {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    site.client().upload("adapters/a.wasm", serves).expect("installed");
    site.client().upload("adapters/a.wasm?stage=true", waits).expect("installed");
    site
}

fn send(site: &Site, frames: u64) {
    let known = || site.device(DEVICE).and_then(|device| device["counts"]["frames"].as_u64()).unwrap_or(0);
    let before = known();
    for number in 0..frames {
        Peer::udp(site.nb_iot()).send(&[0x68, number as u8]);
    }
    wait_until("the frames are stored", || (known() == before + frames).then_some(()));
}

fn replayed(site: &Site, body: &Value) -> Value {
    replayed_of(site, "a", body)
}

fn replayed_of(site: &Site, adapter: &str, body: &Value) -> Value {
    let path = format!("adapters/{adapter}/replay");
    site.client().post(&path, body).expect("begun");
    wait_until("it is through", || {
        let report = site.get(&path);
        (report["finished"] == true).then_some(report)
    })
}

/// Distinct `value, version, corrected, superseded` of all readings.
fn values(site: &Site) -> Vec<(String, String, bool, bool)> {
    values_of(site, DEVICE)
}

fn values_of(site: &Site, device: &str) -> Vec<(String, String, bool, bool)> {
    site.catch_up();
    let rows = site.rows(&format!("devices/{device}/readings?superseded=true"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = |row: &Value| {
        assert!(row["frame"].as_u64() < row["corrected_in"].as_u64() || row["corrected_in"].is_null(), "{row}");
        (
            word(&row["value"]),
            word(&row["read_by"]["version"]),
            !row["corrected_in"].is_null(),
            row["superseded"] == true,
        )
    };
    let mut all: Vec<_> = rows.iter().map(told).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_shadow_shows_what_would_change_and_changes_nothing() {
    let site = site();
    let client = site.client();
    let begun = client.post("adapters/a/shadow", &json!({"version": "2.0.0", "permille": 500})).expect("a shadow");
    assert_eq!((&begun["what"], &begun["permille"]), (&"shadow".into(), &500.into()));
    send(&site, 10);
    let report = wait_until("every second frame is compared", || {
        let report = site.get("adapters/a/shadow");
        (report["frames"] == 5).then_some(report)
    });
    let found = &report["differences"][0];
    assert_eq!(
        (&found["kind"], &found["subject"], &found["count"]),
        (&"register-changed".into(), &"working-volume".into(), &5.into())
    );
    assert_eq!(
        (&found["examples"][0]["old"], &found["examples"][0]["device"]),
        (&"123.45 cubic-metre".into(), &DEVICE.into())
    );
    assert_eq!(found["examples"][0]["new"], "12.345 cubic-metre");
    assert_eq!(values(&site), [("123.45".into(), "1.0.0".into(), false, false)]);
    // The same over what is stored: all ten.
    let report = replayed(&site, &json!({"version": "2.0.0", "since_s": 86_400}));
    assert_eq!((&report["frames"], &report["differing"], &report["corrected"]), (&10.into(), &10.into(), &0.into()));
    let state = |version: &str| {
        let rows = site.rows("adapters");
        rows.iter().find(|row| row["version"] == version).map(|row| row["state"].clone()).unwrap_or_default()
    };
    assert_eq!((state("1.0.0"), state("2.0.0")), ("active".into(), "shadow".into()));
    client.post("adapters/a/activate", &json!({"version": "2.0.0"})).expect("serves");
    wait_until("who serves is nobody's shadow", || client.get("adapters/a/shadow").is_err().then_some(()));
    assert_eq!((state("1.0.0"), state("2.0.0")), ("standby".into(), "active".into()));
}

#[test]
fn of_shadows_that_begin_at_once_the_one_that_is_left_hears() {
    let site = site();
    site.client().upload("adapters/a.wasm?stage=true", reads("3.0.0", 12_345, -2)).expect("installed");
    for _ in 0..5 {
        std::thread::scope(|threads| {
            for version in ["2.0.0", "3.0.0"] {
                let client = site.client();
                threads.spawn(move || {
                    client.post("adapters/a/shadow", &json!({"version": version})).expect("a shadow");
                });
            }
        });
        let hear = || {
            let rows = site.rows("adapters");
            let hear = rows.iter().filter(|row| row["state"] == "shadow").map(|row| row["version"].clone());
            hear.collect::<Vec<_>>()
        };
        assert_eq!(hear(), [site.get("adapters/a/shadow")["version"].clone()]);
        site.client().delete("adapters/a/shadow").expect("ended");
        assert_eq!(hear(), [Value::Null; 0]);
    }
}

/// An address in another realm is another device, though it reads alike.
#[test]
fn a_shadow_hears_that_a_version_speaks_for_another_realm() {
    let elsewhere = Guest { realm: "elsewhere", ..guest("2.0.0", *b"12345678", 12_345, -2) };
    let listener = Listener::udp("nb-iot", "\"a\"");
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    let client = site.client();
    // It came before any of its name had served; later it would be refused.
    client.upload("adapters/a.wasm?stage=true", elsewhere.component()).expect("installed");
    client.upload("adapters/a.wasm", reads("1.0.0", 12_345, -2)).expect("installed");
    client.post("adapters/a/shadow", &json!({"version": "2.0.0"})).expect("a shadow");
    send(&site, 1);
    let report = wait_until("it is compared", || {
        let report = site.get("adapters/a/shadow");
        (report["frames"] == 1).then_some(report)
    });
    let found = &report["differences"][0];
    assert_eq!(
        (&found["kind"], &found["examples"][0]["old"], &found["examples"][0]["new"]),
        (&"sender-differs".into(), &DEVICE.into(), &"elsewhere/12345678".into()),
        "{report}"
    );
}

#[test]
fn corrections_replace_values_and_keep_where_they_came_from() {
    let mut site = site();
    send(&site, 3);
    site.client().post("adapters/a/activate", &json!({"version": "2.0.0"})).expect("serves");
    let asked = json!({"since_s": 86_400, "stored": true});
    let shown = replayed(&site, &asked);
    assert_eq!((&shown["differing"], &shown["corrected"], &shown["unrepeatable"]), (&3.into(), &0.into(), &0.into()));
    assert_eq!(values(&site), [("123.45".into(), "1.0.0".into(), false, false)]);
    let refused = site.client().post("adapters/a/replay", &json!({"since_s": 60, "apply": true}));
    assert!(refused.expect_err("no reason").to_string().contains("needs a reason"));
    let words =
        ["adapter", "redecode", "--adapter", "a", "--since", "1d", "--apply", "--reason", "a wrong scale", "--json"];
    let url = format!("http://{}", site.http().expect("runs"));
    let told = site.run(&[&words[..], &["--url", &url, "--token", site.token()]].concat()).expect("carried out");
    let report: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(report["corrected"], 3);
    let expected = [("12.345".into(), "2.0.0".into(), true, false), ("123.45".into(), "1.0.0".into(), false, true)];
    assert_eq!(values(&site), expected);
    // On the command line what was replaced is shown to whoever asks for it.
    for (more, shows) in [(&[][..], false), (&["--superseded"], true)] {
        let words = [&["meter", "readings", DEVICE, "--url", &url, "--token", site.token()], more].concat();
        let table = site.run(&words).expect("readings");
        assert!(table.contains("12.345"), "{table}");
        assert_eq!((table.contains("123.45"), table.contains("SUPERSEDED")), (shows, shows), "{table}");
    }
    // Once is enough.
    let again = replayed(&site, &asked);
    assert_eq!((&again["frames"], &again["differing"]), (&3.into(), &0.into()));
    // And what is shown is in the journal: views that are lost show the same.
    site.stop().expect("stops");
    std::fs::remove_file(site.data().join("views.redb")).expect("there");
    site.start().expect("comes back");
    assert_eq!(values(&site), expected);
}

/// A stranger's frames count from the day he is let in, and so they are gone through from then on.
#[test]
fn what_was_kept_aside_of_a_stranger_is_gone_through_once_he_is_let_in() {
    let listener = Listener { unknown: "hold", ..Listener::udp("nb-iot", "\"a\"") };
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    site.client().upload("adapters/a.wasm", reads("1.0.0", 12_345, -2)).expect("installed");
    site.client().upload("adapters/a.wasm?stage=true", reads("2.0.0", 12_345, -3)).expect("installed");
    send(&site, 2);
    let compared = json!({"version": "2.0.0", "since_s": 86_400});
    assert_eq!(replayed(&site, &compared)["frames"], 0);
    site.client().post(&format!("devices/{DEVICE}/adopt"), &json!({})).expect("adopted");
    assert_eq!(values(&site), [("123.45".into(), "1.0.0".into(), false, false)]);
    let told = replayed(&site, &compared);
    assert_eq!((&told["frames"], &told["differing"]), (&2.into(), &2.into()), "{told}");
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a wrong scale"});
    assert_eq!(replayed(&site, &why)["corrected"], 2);
    let expected = [("12.345".into(), "2.0.0".into(), true, false), ("123.45".into(), "1.0.0".into(), false, true)];
    assert_eq!(values(&site), expected);
}

#[test]
fn readings_of_a_wrong_address_move_to_the_device_that_sent_them() {
    let mut site = site_of(reads("1.0.0", 12_345, -2), guest("2.0.0", *b"87654321", 12_345, -2).component());
    send(&site, 3);
    let shown = replayed(&site, &json!({"version": "2.0.0", "since_s": 86_400, "stored": true}));
    assert_eq!((&shown["frames"], &shown["differing"]), (&3.into(), &3.into()), "{shown}");
    let found = &shown["differences"][0];
    assert_eq!((&found["kind"], &found["count"]), (&"sender-differs".into(), &3.into()), "{shown}");
    assert_eq!((&found["examples"][0]["old"], &found["examples"][0]["new"]), (&DEVICE.into(), &OTHER.into()));
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "address of the wrong field"});
    let applied = replayed(&site, &why);
    // What the first device's row shows of its last words stays as it was.
    assert_eq!((&applied["corrected"], &applied["events_differ"]), (&3.into(), &3.into()), "{applied}");
    let there = [("123.45".into(), "1.0.0".into(), false, true)];
    let here = [("123.45".into(), "2.0.0".into(), true, false)];
    assert_eq!((values(&site).as_slice(), values_of(&site, OTHER).as_slice()), (&there[..], &here[..]));
    let again = replayed(&site, &json!({"version": "2.0.0", "since_s": 86_400, "stored": true}));
    assert_eq!((&again["differing"], &again["corrected"]), (&0.into(), &0.into()), "{again}");
    site.stop().expect("stops");
    std::fs::remove_file(site.data().join("views.redb")).expect("there");
    site.start().expect("comes back");
    assert_eq!((values(&site).as_slice(), values_of(&site, OTHER).as_slice()), (&there[..], &here[..]));
}

#[test]
fn what_carriers_bring_is_compared_and_corrected_for_who_read_it() {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    let site = Site::with(&settings);
    let client = site.client();
    client.upload("adapters/a.wasm", reads("1.0.0", 12_345, -2)).expect("installed");
    client.upload("adapters/a.wasm?stage=true", reads("2.0.0", 12_345, -3)).expect("installed");
    let mut dtu = Terminal::tcp(Device::dtu("50008800000007"), site.meters());
    assert_eq!(dtu.register().result, 0);
    // The first comes before anybody has said who reads it.
    let frame = dtu.device.transparent(1, 6, &[0x68, 1]);
    assert_eq!(dtu.ask(&frame).result, 0);
    site.catch_up();
    assert_eq!(site.rows("quarantine").len(), 1);
    let record = json!({"kind": "meter", "adapter": "a", "parent": DTU, "protocol": "szrq"});
    client.put(&format!("registry/{DTU}"), &json!({"kind": "dtu"})).expect("a record");
    client.put(&format!("registry/{DEVICE}"), &record).expect("a record");
    wait_until("it is read again", || site.rows("quarantine").is_empty().then_some(()));
    client.post("adapters/a/shadow", &json!({"version": "2.0.0"})).expect("a shadow");
    let frame = dtu.device.transparent(1, 6, &[0x68, 2]);
    assert_eq!(dtu.ask(&frame).result, 0);
    let live = wait_until("the shadow has heard it", || {
        let report = site.get("adapters/a/shadow");
        (report["frames"] == 1).then_some(report)
    });
    let found = &live["differences"][0];
    assert_eq!(
        (&found["kind"], &found["examples"][0]["device"], &found["examples"][0]["raw"]),
        (&"register-changed".into(), &DEVICE.into(), &"6802".into())
    );
    let stored = replayed(&site, &json!({"version": "2.0.0", "since_s": 86_400}));
    assert_eq!((&stored["frames"], &stored["differing"]), (&1.into(), &1.into()), "the one read at once: {stored}");
    // What somebody else read of a part is no other meaning of the carrier's frame.
    let carrier = replayed_of(&site, "usp", &json!({"since_s": 86_400, "stored": true}));
    assert_eq!((carrier["frames"] == 0, &carrier["differing"]), (false, &0.into()), "{carrier}");
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a wrong scale"});
    let applied = replayed(&site, &why);
    assert_eq!((&applied["frames"], &applied["corrected"]), (&2.into(), &2.into()), "{applied}");
    assert_eq!(applied["differences"][0]["examples"][0]["part"], 1, "{applied}");
    let expected = [("12.345".into(), "2.0.0".into(), true, false), ("123.45".into(), "1.0.0".into(), false, true)];
    assert_eq!(values(&site), expected);
    let again = replayed(&site, &json!({"version": "2.0.0", "since_s": 86_400, "stored": true}));
    assert_eq!((&again["frames"], &again["differing"]), (&2.into(), &0.into()), "{again}");
}

#[test]
fn who_ordered_it_stays_known_of_what_nobody_could_read() {
    let broken = Guest { on_decode: "unreachable", ..guest("1.0.0", *b"12345678", 0, 0) };
    let site = site_of(broken.component(), reads("2.0.0", 12_345, -2));
    Peer::udp(site.nb_iot()).send(&[0x68, 1]);
    wait_until("it is kept", || {
        site.catch_up();
        (site.rows("quarantine").len() == 1).then_some(())
    });
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a crash"});
    let applied = replayed(&site, &why);
    assert_eq!((&applied["differing"], &applied["corrected"]), (&1.into(), &1.into()), "{applied}");
    assert_eq!(values(&site), [("123.45".into(), "2.0.0".into(), false, false)]);
    assert_eq!(site.rows("quarantine"), [Value::Null; 0]);
    let entries = site.rows("journal/entries");
    let told = entries.iter().find(|entry| entry["fact"] == "reread").expect("an entry of its own");
    let summary = told["summary"].as_str().unwrap_or_default();
    assert!(told["device"] == DEVICE && summary.contains(" by ") && summary.contains("a crash"), "{told}");
}

#[test]
fn what_is_no_reading_is_counted_and_stays() {
    let mut more = guest("2.0.0", *b"12345678", 12_345, -2);
    let end_of_session = 6;
    more.memory[0] = (RESULT, decoded(Some((512, 8)), MESSAGES, 2));
    more.memory.push((MESSAGES + MESSAGE_BYTES, vec![end_of_session]));
    let site = site_of(reads("1.0.0", 12_345, -2), more.component());
    send(&site, 2);
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a message was missing"});
    for _ in 0..2 {
        let told = replayed(&site, &why);
        assert_eq!(
            (&told["differing"], &told["events_differ"], &told["corrected"], &told["uncorrectable"]),
            (&2.into(), &2.into(), &0.into(), &0.into()),
            "{told}"
        );
    }
    assert_eq!(values(&site), [("123.45".into(), "1.0.0".into(), false, false)]);
}

/// The scale tells how the frame came: 2 places of a datagram, 3 of a stream.
const SCALE_OF_TRANSPORT: &str = "(i32.store8 (i32.const 8196) (i32.sub (local.get 2) (i32.const 3)))";

/// A shadow, a replay and the quarantine tell an adapter how a frame came, and read nothing that nobody knows it of any more.
#[test]
fn frames_are_read_again_as_they_came() {
    let tells = |version| Guest { on_decode: SCALE_OF_TRANSPORT, ..guest(version, *b"12345678", 12_345, 0) };
    let broken = Guest { on_decode: "unreachable", ..guest("1.0.0", *b"12345678", 0, 0) };
    let mut site = site_of(broken.component(), tells("2.0.0").component());
    let client = site.client();
    Peer::udp(site.nb_iot()).send(&[0x68, 1]);
    wait_until("it is kept", || {
        site.catch_up();
        (site.rows("quarantine").len() == 1).then_some(())
    });
    client.post("adapters/a/activate", &json!({"version": "2.0.0"})).expect("serves");
    wait_until("it is read again", || {
        site.catch_up();
        site.rows("quarantine").is_empty().then_some(())
    });
    send(&site, 2);
    assert_eq!(values(&site), [("123.45".into(), "2.0.0".into(), false, false)]);
    let stored = json!({"since_s": 86_400, "stored": true});
    let told = replayed(&site, &stored);
    let counts = |told: &Value| (told["frames"].clone(), told["differing"].clone(), told["unrepeatable"].clone());
    assert_eq!(counts(&told), (3.into(), 0.into(), 0.into()), "{told}");
    // Of a listener that is called otherwise by now, only a version is asked that makes no difference.
    site.stop().expect("stops");
    rename_listener(&site);
    site.start().expect("comes back");
    let told = replayed(&site, &stored);
    assert_eq!(counts(&told), (0.into(), 0.into(), 3.into()), "{told}");
    // And nobody can tell whether the version that read them first would repeat itself. The first was read by itself, later.
    site.client().upload("adapters/a.wasm?stage=true", reads("3.0.0", 12_345, -2)).expect("installed");
    let told = replayed(&site, &json!({"version": "3.0.0", "since_s": 86_400, "stored": true}));
    assert_eq!(counts(&told), (1.into(), 0.into(), 2.into()), "{told}");
}

/// Behind the concentrator `DEVICE`. What it calls the second is the first one's own address.
const FIRST: &str = "test/1001";
const SECOND: &str = "test/1002";
const THIRD: &str = "test/1003";

/// Says that every frame is what a concentrator has collected: whom it calls so, and his volume.
fn collects(version: &'static str, told: &[(&str, i64)]) -> Guest {
    let mut memory = vec![(RESULT, decoded(Some((512, 8)), MESSAGES, told.len() as u32)), (512, b"12345678".to_vec())];
    for ((called, mantissa), at) in told.iter().zip(0..) {
        let (subject, register) = (640 + 32 * at, 8_192 + 48 * at);
        let message = report_of((subject, called.len() as u32), (register, 1));
        memory.push((MESSAGES + MESSAGE_BYTES * at, message));
        memory.push((subject, called.as_bytes().to_vec()));
        memory.push((register, volume(*mantissa, -2)));
    }
    Guest { version, memory, ..Guest::new("a") }
}

fn stands_behind(site: &Site, device: &str, line_address: &str) {
    let record = json!({"kind": "meter", "adapter": "a", "parent": DEVICE, "line_address": line_address});
    site.client().put(&format!("registry/{device}"), &record).expect("a record");
}

/// The concentrator and its meters are registered, and the views show it.
fn collecting(serves: &Guest, waits: &Guest) -> Site {
    let site = site_of(serves.component(), waits.component());
    site.client().put(&format!("registry/{DEVICE}"), &json!({"kind": "concentrator"})).expect("a record");
    for (device, line_address) in [(FIRST, "7"), (SECOND, "1001"), (THIRD, "9")] {
        stands_behind(&site, device, line_address);
    }
    site.catch_up();
    site
}

/// What counts now of each meter.
fn collected(site: &Site) -> [Vec<String>; 3] {
    [FIRST, SECOND, THIRD].map(|device| match site.device(device) {
        Some(_) => values_of(site, device).into_iter().filter(|told| !told.3).map(|told| told.0).collect(),
        None => Vec::new(),
    })
}

fn one(value: &str) -> Vec<String> {
    vec![value.to_owned()]
}

#[test]
fn a_correction_speaks_of_whom_the_entry_has_named() {
    let first = collects("1.0.0", &[("7", 10_011), ("1001", 20_022)]);
    let otherwise = collects("2.0.0", &[("00001001", 20_022), ("0007", 10_011)]);
    let site = collecting(&first, &otherwise);
    let client = site.client();
    client.post("adapters/a/shadow", &json!({"version": "2.0.0"})).expect("a shadow");
    send(&site, 1);
    let live = wait_until("the shadow has heard it", || {
        let report = site.get("adapters/a/shadow");
        (report["frames"] == 1).then_some(report)
    });
    assert_eq!(live["differing"], 0, "{live}");
    assert_eq!(collected(&site), [one("100.11"), one("200.22"), vec![]]);
    for stored in [false, true] {
        let told = replayed(&site, &json!({"version": "2.0.0", "since_s": 86_400, "stored": stored}));
        assert_eq!((&told["frames"], &told["differing"]), (&1.into(), &0.into()), "{stored}: {told}");
    }
    // What was the first one's place is another meter's by now.
    stands_behind(&site, FIRST, "70");
    stands_behind(&site, "test/1004", "7");
    site.catch_up();
    let corrects = |guest: Guest| {
        client.upload("adapters/a.wasm?stage=true", guest.component()).expect("installed");
        let why = json!({"version": guest.version, "since_s": 86_400, "apply": true, "reason": "wrong"});
        let told = replayed(&site, &why);
        let count = |key: &str| told[key].as_u64().expect("a count");
        assert_eq!(count("unrepeatable"), 0, "{told}");
        (count("corrected"), count("uncorrectable"), collected(&site))
    };
    let reversed = collects("3.0.0", &[("1001", 20_033), ("7", 10_033)]);
    assert_eq!(corrects(reversed), (1, 0, [one("100.33"), one("200.33"), vec![]]));
    let more = collects("4.0.0", &[("9", 30_044), ("1001", 20_044), ("7", 10_044)]);
    assert_eq!(corrects(more), (1, 0, [one("100.44"), one("200.44"), one("300.44")]));
    let fewer = collects("5.0.0", &[("1001", 20_055)]);
    assert_eq!(corrects(fewer), (1, 0, [vec![], one("200.55"), vec![]]));
    let another = collects("6.0.0", &[("9", 30_066), ("1001", 20_066)]);
    assert_eq!(corrects(another), (1, 0, [vec![], one("200.66"), one("300.66")]));
    // Somebody whom nobody knows, where one is missing: that may be he.
    let nobody = collects("7.0.0", &[("9", 30_077), ("55", 20_077)]);
    assert_eq!(corrects(nobody), (0, 1, [vec![], one("200.66"), one("300.66")]));
    for phantom in ["test/7", "test/9", "test/55", "test/1004"] {
        assert!(site.device(phantom).is_none_or(|device| device["counts"]["reports"] == 0), "{phantom}");
    }
}

/// Whether a review comes first or another version that serves: the same meters are billed.
#[test]
fn whom_an_unread_frame_speaks_of_is_who_the_registry_says() {
    for serves in [false, true] {
        let broken = Guest { on_decode: "unreachable", ..collects("1.0.0", &[]) };
        let site = collecting(&broken, &collects("2.0.0", &[("7", 10_011), ("1001", 20_022)]));
        Peer::udp(site.nb_iot()).send(&[0x68, 1]);
        let unread = || {
            site.catch_up();
            site.rows("quarantine").len()
        };
        wait_until("it is kept", || (unread() == 1).then_some(()));
        if serves {
            site.client().post("adapters/a/activate", &json!({"version": "2.0.0"})).expect("serves");
        } else {
            let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a crash"});
            let told = replayed(&site, &why);
            assert_eq!((&told["corrected"], &told["uncorrectable"]), (&1.into(), &0.into()), "{told}");
        }
        wait_until("it is read", || (unread() == 0).then_some(()));
        assert_eq!(collected(&site), [one("100.11"), one("200.22"), vec![]]);
        assert!(site.device("test/7").is_none(), "nobody's readings");
    }
}

/// Where several have the address of whom nobody had named, nobody knows any more at whom he was billed.
#[test]
fn what_was_billed_by_an_address_alone_is_corrected_while_one_device_has_it() {
    let site = collecting(&collects("1.0.0", &[("55", 10_011)]), &collects("2.0.0", &[("55", 20_022)]));
    let adopt = |device: &str| {
        site.client().post(&format!("devices/{device}/adopt"), &json!({})).expect("adopted");
        site.catch_up();
    };
    let current =
        |device| values_of(&site, device).into_iter().filter(|told| !told.3).map(|told| told.0).collect::<Vec<_>>();
    let elsewhere = Guest { realm: "elsewhere", ..Guest::new("b") };
    site.client().upload("adapters/b.wasm", elsewhere.component()).expect("installed");
    adopt("elsewhere/55");
    send(&site, 1);
    assert_eq!(current("elsewhere/55"), ["100.11"]);
    adopt("test/55");
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a wrong scale"});
    let told = replayed(&site, &why);
    assert_eq!((&told["corrected"], &told["uncorrectable"]), (&0.into(), &1.into()), "{told}");
    assert_eq!((current("elsewhere/55"), current("test/55")), (one("100.11"), vec![]));
}

/// A version that was corrected by is not thereby the one that has to repeat itself.
#[test]
fn what_was_corrected_once_is_held_to_who_read_it_first() {
    let first = Guest { on_decode: SCALE_OF_TRANSPORT, ..guest("1.0.0", *b"12345678", 12_345, 0) };
    let mut site = site_of(first.component(), reads("2.0.0", 12_345, -3));
    send(&site, 2);
    let why = |version| json!({"version": version, "since_s": 86_400, "apply": true, "reason": "a wrong scale"});
    assert_eq!(replayed(&site, &why("2.0.0"))["corrected"], 2);
    let corrected = [("12.345".into(), "2.0.0".into(), true, false), ("123.45".into(), "1.0.0".into(), false, true)];
    assert_eq!(values(&site), corrected);
    site.stop().expect("stops");
    rename_listener(&site);
    site.start().expect("comes back");
    site.client().upload("adapters/a.wasm?stage=true", reads("3.0.0", 12_345, -4)).expect("installed");
    let told = replayed(&site, &why("3.0.0"));
    assert_eq!((&told["corrected"], &told["unrepeatable"]), (&0.into(), &2.into()), "{told}");
    assert_eq!(values(&site), corrected);
}

/// A station whose first version traps over a frame that has come, and whose second one reads it.
fn unread(unknown: &'static str) -> Site {
    let broken = Guest { on_decode: "unreachable", ..guest("1.0.0", *b"12345678", 0, 0) };
    let listener = Listener { unknown, ..Listener::udp("nb-iot", "\"a\"") };
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    site.client().upload("adapters/a.wasm", broken.component()).expect("installed");
    site.client().upload("adapters/a.wasm?stage=true", reads("2.0.0", 12_345, -2)).expect("installed");
    Peer::udp(site.nb_iot()).send(&[0x68, 1]);
    wait_until("it is kept", || {
        site.catch_up();
        (site.rows("quarantine").len() == 1).then_some(())
    });
    site
}

#[test]
fn a_correction_lets_no_stranger_in() {
    let why = json!({"version": "2.0.0", "since_s": 86_400, "apply": true, "reason": "a crash"});
    for unknown in ["hold", "refuse"] {
        let site = unread(unknown);
        let told = replayed(&site, &why);
        assert_eq!((&told["corrected"], &told["uncorrectable"]), (&0.into(), &1.into()), "{told}");
        assert!(site.device(DEVICE).is_none());
        // Once he is known it is as anybody's.
        site.client().put(&format!("registry/{DEVICE}"), &json!({"kind": "meter"})).expect("a record");
        site.catch_up();
        assert_eq!(replayed(&site, &why)["corrected"], 1);
        assert_eq!(values(&site), [("123.45".into(), "2.0.0".into(), false, false)]);
    }
}

/// Of a listener that is called otherwise by now nobody knows whom it let in.
#[test]
fn a_stranger_at_a_listener_that_is_gone_stays_one() {
    let mut site = unread("hold");
    site.stop().expect("stops");
    rename_listener(&site);
    site.start().expect("comes back");
    site.client().post("adapters/a/activate", &json!({"version": "2.0.0"})).expect("serves");
    wait_until("it is read again", || (site.rows("quarantine")[0]["fault"] == "refused").then_some(()));
    assert!(site.device(DEVICE).is_none());
    site.client().put(&format!("registry/{DEVICE}"), &json!({"kind": "meter"})).expect("a record");
    wait_until("he is let in", || site.rows("quarantine").is_empty().then_some(()));
    assert_eq!(values(&site), [("123.45".into(), "2.0.0".into(), false, false)]);
}

fn rename_listener(site: &Site) {
    let config = std::fs::read_to_string(site.config()).expect("there");
    std::fs::write(site.config(), config.replace("\"nb-iot\"", "\"radio\"")).expect("written");
}

#[test]
fn what_no_adapter_took_is_read_by_those_of_its_listener_alone() {
    let listeners = vec![Listener::udp("north", "\"b\""), Listener::udp("south", "\"a\"")];
    let site = Site::with_adapters(&Settings { listeners, ..Settings::usual() }, &[]);
    for (listener, kept) in [("north", 1), ("south", 2)] {
        Peer::udp(site.door(listener).expect("a listener")).send(&[0x68, 1]);
        wait_until("it is kept", || {
            site.catch_up();
            (site.rows("quarantine").len() == kept).then_some(())
        });
    }
    site.client().upload("adapters/a.wasm", reads("1.0.0", 12_345, -2)).expect("installed");
    let left = wait_until("its own is read", || {
        let rows = site.rows("quarantine");
        (rows.len() == 1).then_some(rows)
    });
    assert_eq!(left[0]["listener"], "north", "{left:?}");
    assert_eq!(site.device(DEVICE).expect("a device")["counts"]["reports"], 1);
}

#[test]
fn a_stranger_behind_a_carrier_is_none_the_less_one_once_he_can_be_read() {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    settings.listeners[0].unknown = "hold";
    settings.listeners[0].more = r#"relays = [{ protocol = "szrq", adapter = "a" }]"#.into();
    let site = Site::with(&settings);
    site.client().put(&format!("registry/{DTU}"), &json!({"kind": "dtu"})).expect("a record");
    site.catch_up();
    let mut dtu = Terminal::tcp(Device::dtu("50008800000007"), site.meters());
    assert_eq!(dtu.register().result, 0);
    let frame = dtu.device.transparent(1, 6, &[0x68, 1]);
    assert_eq!(dtu.ask(&frame).result, 0);
    site.catch_up();
    assert_eq!(site.rows("quarantine").len(), 1);
    site.client().upload("adapters/a.wasm", reads("1.0.0", 12_345, -2)).expect("installed");
    wait_until("it is read again", || site.rows("quarantine").is_empty().then_some(()));
    assert_eq!(site.device(DEVICE).expect("a device")["held"], true);
    assert!(values(&site).is_empty());
    site.client().post(&format!("devices/{DEVICE}/adopt"), &json!({})).expect("adopted");
    assert_eq!(values(&site), [("123.45".into(), "1.0.0".into(), false, false)]);
}
