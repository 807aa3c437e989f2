//! Profiles over a running station: another one counts from the next frame of an open session on, and every reading says which.

use fleet::station::{Listener, Settings};
use polymeter_tests::guest::{Guest, MESSAGES, RESULT, decoded, report, volume};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use serde_json::{Value, json};

const DEVICE: &str = "test/12345678";

/// Tells the length of its profile as the device's volume.
fn tell_tale() -> Vec<u8> {
    let memory = vec![
        (RESULT, decoded(Some((512, 8)), MESSAGES, 1)),
        (512, b"12345678".to_vec()),
        (MESSAGES, report((8_192, 1), (0, 0))),
        (8_192, volume(0, 0)),
    ];
    let on_configure = "(i64.store (i32.const 8200) (i64.extend_i32_u (local.get 1)))";
    Guest { memory, on_configure, ..Guest::new("a") }.component()
}

/// Sends a frame on an open session; gives value and profile of what was read.
fn read(site: &Site, peer: &mut Peer) -> (String, String) {
    let count = || site.device(DEVICE).and_then(|device| device["counts"]["frames"].as_u64()).unwrap_or(0);
    let before = count();
    peer.send(&[0x68, before as u8]);
    wait_until("the frame is stored", || (count() == before + 1).then_some(()));
    let rows = site.rows(&format!("devices/{DEVICE}/readings?superseded=true"));
    let newest = rows.iter().max_by_key(|row| row["frame"].as_u64()).expect("a reading");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let frames = site.rows(&format!("devices/{DEVICE}/frames"));
    assert_eq!(word(&frames[0]["adapter"]["profile"]), word(&newest["read_by"]["profile"]), "{frames:?}");
    (word(&newest["value"]), word(&newest["read_by"]["profile"]))
}

#[test]
fn a_profile_counts_from_the_next_frame_on() {
    let mut site = {
        let listener = Listener::udp("nb-iot", "\"a\"");
        Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[])
    };
    let client = site.client();
    client.upload("adapters/a.wasm", tell_tale()).expect("installed");
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!(read(&site, &mut peer), ("2".into(), String::new()));
    let (url, token) = (format!("http://{}", site.http().expect("runs")), site.token().to_owned());
    let run = |args: &[&str]| {
        let access = ["--url", &url, "--token", &token];
        site.run(&[&["profile"], &access[..], args].concat()).unwrap_or_else(|error| format!("{error:#}"))
    };
    let set = run(&["set", "odd", "--adapter", "a", "--options", r#"{"n":1}"#, "--reason", "sheet 3"]);
    assert!(set.starts_with("odd@1 of a is bound to nobody"), "{set}");
    assert!(run(&["bind", "odd", "--device", "usp/1"]).contains("no device of adapter `a`: those begin with `test/`"));
    assert!(run(&["bind", "odd", "--device", DEVICE]).contains("device test/12345678"));
    assert_eq!(read(&site, &mut peer), ("7".into(), "odd@1".into()));
    run(&["set", "odd", "--adapter", "a", "--options", r#"{"n":12}"#, "--reason", "sheet 4"]);
    assert_eq!(read(&site, &mut peer), ("8".into(), "odd@2".into()));
    assert!(run(&["show", "odd@1"]).contains(r#"{"n":1}"#));
    assert!(run(&["show", "odd@7"]).contains("there are versions 1 to 2"), "{}", run(&["show", "odd@7"]));
    let shown = run(&["list"]);
    assert!(shown.contains(r#"{"n":12}"#) && shown.contains("device test/12345678"), "{shown}");
    run(&["unbind", "odd", "--device", DEVICE, "--reason", "not needed"]);
    assert_eq!(read(&site, &mut peer), ("2".into(), String::new()));
    let history = run(&["history", "odd"]);
    for words in ["sheet 3", "sheet 4", "not needed", "unbound", "fleet"] {
        assert!(history.contains(words), "no {words:?} in\n{history}");
    }
    let refused = client.put("profiles/odd", &json!({"adapter": "a", "options": [1]})).expect_err("no object");
    assert!(refused.to_string().contains("options"), "{refused:#}");
    let twice = run(&["set", "odd", "--adapter", "a", "--options", r#"{"n":1,"n":2}"#]);
    assert!(twice.contains("`n` stands there twice"), "{twice}");
    // By listener, and after a restart; the registry's column knows the name.
    run(&["bind", "odd", "--listener", "nb-iot"]);
    assert!(run(&["remove", "odd"]).contains("`odd` is bound to listener nb-iot"));
    run(&["set", "even", "--adapter", "a", "--options", "{}"]);
    assert!(run(&["remove", "even", "--reason", "a slip"]).starts_with("profile even is removed"));
    assert!(run(&["history", "even"]).contains("a slip") && !run(&["list"]).contains("even"));
    site.power_cut();
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!(read(&site, &mut peer), ("8".into(), "odd@2".into()));
    let names = site.get("registry/choices")["profiles"].clone();
    assert_eq!(names, json!(["odd"]));
}
