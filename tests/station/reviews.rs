//! One version against another over a running station: a shadow beside the one that serves, stored frames read again, and
//! corrections that keep what they replace.

use fleet::station::{Listener, Settings};
use polymeter_tests::guest::{Guest, MESSAGES, RESULT, decoded, report, volume};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use serde_json::{Value, json};

const DEVICE: &str = "test/12345678";

/// Says that every frame reports this volume of the device 12345678.
fn reads(version: &'static str, mantissa: i64, exponent: i8) -> Vec<u8> {
    let memory = vec![
        (RESULT, decoded(Some((512, 8)), MESSAGES, 1)),
        (512, b"12345678".to_vec()),
        (MESSAGES, report((8_192, 1), (0, 0))),
        (8_192, volume(mantissa, exponent)),
    ];
    Guest { version, memory, ..Guest::new("a") }.component()
}

fn site() -> Site {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    site.client().upload("adapters/a.wasm", reads("1.0.0", 12_345, -2)).expect("installed");
    site.client().upload("adapters/a.wasm?stage=true", reads("2.0.0", 12_345, -3)).expect("installed");
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
    site.client().post("adapters/a/replay", body).expect("begun");
    wait_until("it is through", || {
        let report = site.get("adapters/a/replay");
        (report["finished"] == true).then_some(report)
    })
}

/// Distinct `value, version, corrected, superseded` of all readings.
fn values(site: &Site) -> Vec<(String, String, bool, bool)> {
    site.catch_up();
    let rows = site.rows(&format!("devices/{DEVICE}/readings?superseded=true"));
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
