//! A new version of an adapter serves from the next frame on; no connection notices.

use fleet::api::Api;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, edition, meter};
use serde_json::{Value, json};
use usp::device::{Device, Terminal as Kind};

const DEVICE: &str = "usp/50001234567850";

fn await_version(site: &Site, version: &str) {
    wait_until(&format!("usp {version} is active"), || {
        let rows = site.rows("adapters");
        rows.iter().any(|r| r["name"] == "usp" && r["version"] == version && r["state"] == "active").then_some(())
    });
}

/// Digest and session of the device's newest frame.
fn newest_frame(site: &Site) -> (Value, Value) {
    site.catch_up();
    let frames = site.rows(&format!("devices/{DEVICE}/frames"));
    (frames[0]["adapter"]["digest"].clone(), frames[0]["session"].clone())
}

/// Version, step and name of whoever caused it, as the journal tells of an adapter.
fn adapter_steps(site: &Site, name: &str) -> Vec<String> {
    let rows = site.rows("journal/entries");
    let steps = rows.iter().filter(|row| row["fact"] == "adapter").filter_map(|row| row["summary"].as_str());
    let short = |summary: &str| {
        let words: Vec<&str> = summary.split(' ').collect();
        let tells = words[0] == name && ["active", "standby", "retired"].contains(&words[2]);
        tells.then(|| format!("{} {} by {}", words[1], words[2], words[words.len() - 1]))
    };
    steps.filter_map(short).collect()
}

fn always_online(site: &Site) -> Terminal {
    let mut device = Device::new(Kind::Meter, "50001234567850", 0x0049);
    device.readings = meter("50001234567850").readings;
    Terminal::tcp(device, site.meters())
}

/// Both ways in: through the API, and as a file in the directory.
#[test]
fn a_new_version_takes_over_under_an_open_connection() {
    let site = Site::usual();
    let mut terminal = always_online(&site);
    terminal.register();
    let before = newest_frame(&site);
    site.client().upload("adapters/usp.wasm", edition("9.0.0", 1)).expect("an installed adapter");
    await_version(&site, "9.0.0");
    assert_eq!(terminal.heartbeat().result, 0);
    let between = newest_frame(&site);
    let draft = site.data().join("adapters/.usp.draft");
    std::fs::write(&draft, edition("9.0.1", 1)).expect("a file");
    std::fs::rename(&draft, site.data().join("adapters/usp.wasm")).expect("a file");
    await_version(&site, "9.0.1");
    assert_eq!(terminal.daily().result, 0);
    let after = newest_frame(&site);
    assert_eq!((&before.1, &between.1), (&between.1, &after.1), "one session");
    assert!(before.0 != between.0 && between.0 != after.0, "three versions: {before:?} {between:?} {after:?}");
}

/// Who removed a version stands in the journal, also where a lower one takes over.
#[test]
fn the_journal_names_who_took_an_adapter_away() {
    let site = Site::usual();
    let as_somebody = |name: &str| {
        let made = site.client().post("tokens", &json!({"name": name, "role": "admin"})).expect("a token");
        Api::new(site.http().expect("an address"), made["token"].as_str().expect("a token"))
    };
    let (installer, first, second) = (as_somebody("installer"), as_somebody("first"), as_somebody("second"));
    installer.upload("adapters/usp-9.wasm", edition("9.0.0", 1)).expect("an installed adapter");
    await_version(&site, "9.0.0");
    first.delete("adapters/usp-9.wasm").expect("removed");
    await_version(&site, "1.0.0");
    second.delete("adapters/usp.wasm").expect("removed");
    let steps = wait_until("the last step is in the journal", || {
        let steps = adapter_steps(&site, "usp");
        steps.last().is_some_and(|step| step.contains("by second")).then_some(steps)
    });
    assert_eq!(
        steps[1..],
        [
            "9.0.0 active by installer",
            "1.0.0 standby by installer",
            "9.0.0 retired by first",
            "1.0.0 active by first",
            "1.0.0 retired by second",
        ]
    );
}

#[test]
fn a_file_that_is_no_adapter_changes_nothing() {
    let site = Site::usual();
    let mut terminal = always_online(&site);
    terminal.register();
    let before = newest_frame(&site);
    assert!(site.client().upload("adapters/usp.wasm", b"no adapter at all".to_vec()).is_err());
    std::fs::write(site.data().join("adapters/nonsense.wasm"), b"\0asm\x0d\0\x01\0").expect("a file");
    wait_until("the file is rejected", || {
        let rows = site.rows("adapters");
        rows.iter().any(|r| r["file"] == "nonsense.wasm" && r["state"] == "rejected").then_some(())
    });
    assert_eq!(terminal.heartbeat().result, 0);
    assert_eq!(newest_frame(&site), before);
}

/// What nobody could read is read again once somebody can.
#[test]
fn frames_in_quarantine_are_decoded_by_the_next_version() {
    let site = Site::usual();
    let adapters = site.data().join("adapters");
    let usp = std::fs::read(adapters.join("usp.wasm")).expect("a file");
    std::fs::remove_file(adapters.join("usp.wasm")).expect("removed");
    wait_until("usp is gone", || {
        let rows = site.rows("adapters");
        (!rows.iter().any(|r| r["name"] == "usp" && r["state"] == "active")).then_some(())
    });
    let mut terminal = always_online(&site);
    let frame = terminal.device.registration(terminal.now);
    terminal.peer.send(&frame);
    terminal.peer.finish();
    wait_until("the frame is kept", || Some(site.rows("quarantine")).filter(|rows| !rows.is_empty()));
    std::fs::write(adapters.join("usp.wasm"), usp).expect("a file");
    wait_until("the device is known", || site.device(DEVICE));
    assert_eq!(site.readings(DEVICE, "working-volume"), ["2024-03-15T12:00:00 1234.68"]);
    assert_eq!(site.rows("quarantine"), [Value::Null; 0]);
}
