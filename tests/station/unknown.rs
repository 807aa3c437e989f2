//! Devices that nobody has announced: let in, held until somebody adopts them, or sent away.

use fleet::station::Settings;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, meter as meter_of};
use serde_json::json;
use usp::device::{Cipher, Heard, Suite};

const DEVICE: &str = "usp/50001234567830";
const OK: u8 = 0;
const NOT_ALLOWED: u8 = 5;
const NOT_AUTHORISED: u8 = 2;
const SECURITY: u8 = 7;

fn site(unknown: &'static str) -> Site {
    let mut settings = Settings::usual();
    settings.listeners[0].unknown = unknown;
    Site::with(&settings)
}

fn terminal(site: &Site) -> Terminal {
    Terminal::tcp(meter_of("50001234567830"), site.meters())
}

fn adopt(site: &Site) {
    site.client().post(&format!("devices/{DEVICE}/adopt"), &json!({})).expect("an adopted device");
}

#[test]
fn held_devices_are_answered_and_shown_once_adopted() {
    let site = site("hold");
    let mut meter = terminal(&site);
    meter.whole_communication();
    let device = site.device(DEVICE).expect("a held device");
    assert_eq!(device["held"], true);
    assert_eq!(site.readings(DEVICE, "working-volume"), [""; 0], "nothing of it counts yet");
    assert_eq!(site.refusal(DEVICE, &json!({"read": {"scope": "current"}})), "device-held");
    adopt(&site);
    let readings = site.readings(DEVICE, "working-volume");
    assert!(
        readings.contains(&"2024-03-15T00:00:00 1234.56".to_owned()),
        "what it said before counts now: {readings:?}"
    );
    assert_eq!(site.device(DEVICE).expect("a device")["held"], false);
    drop(meter.reconnect(site.meters()));
    let id = site.order(DEVICE, &json!({"read": {"scope": "current"}}));
    meter.register();
    assert_eq!(meter.daily().pending, 1);
    meter.obey();
    site.await_state(id, "done");
}

/// Nothing takes an adoption back.
#[test]
fn nobody_is_adopted_whom_no_adapter_can_hear() {
    let site = site("hold");
    for (device, why) in [
        ("usp/5000123", "14 digits"),
        ("foo/bar", "realms that are read: "),
        ("9999-12-31/50001234560020", "install the adapter first"),
    ] {
        let refused = site.client().post(&format!("devices/{device}/adopt"), &json!({}));
        let refused = refused.expect_err("nobody is called so").to_string();
        assert!(refused.contains(&format!("no device is called {device}")) && refused.contains(why), "{refused}");
        assert!(site.device(device).is_none(), "{device}");
    }
    adopt(&site);
    // Who is registered may be adopted before his adapter comes.
    site.client().put("registry/foo/bar", &json!({"kind": "meter"})).expect("a record");
    site.client().post("devices/foo/bar/adopt", &json!({})).expect("an adopted device");
}

#[test]
fn refused_devices_are_told_so_and_their_frames_kept() {
    let site = site("refuse");
    let mut meter = terminal(&site);
    let frame = meter.device.registration(meter.now);
    let reply = meter.ask(&frame);
    assert_eq!(reply.result, NOT_ALLOWED);
    assert_eq!(meter.hear(), Some(Heard::Farewell(NOT_AUTHORISED)));
    assert_eq!(meter.hear(), None);
    site.catch_up();
    let rows = site.rows("quarantine");
    assert_eq!((&rows[0]["fault"], &rows[0]["raw"]), (&json!("refused"), &json!(hex::encode(&frame))));
    let mut other = Terminal::tcp(meter_of("50001234567831"), site.meters());
    let refused = other.device.registration(other.now);
    assert_eq!(other.ask(&refused).result, NOT_ALLOWED);
    adopt(&site);
    wait_until("the frame is read", || (site.rows("quarantine").len() == 1).then_some(()));
    assert_eq!(site.rows("quarantine")[0]["device"], "usp/50001234567831", "nobody has let that one in");
    let device = site.device(DEVICE).expect("a device");
    assert!(device["registered"].is_string(), "what it said while it was refused counts: {device}");
    drop(meter.reconnect(site.meters()));
    assert_eq!(meter.register().result, OK);
    assert_eq!(meter.daily().result, OK);
    let record = json!({"kind": "meter", "adapter": "usp"});
    site.client().put("registry/usp/50001234567831", &record).expect("a record");
    wait_until("the other one is read", || site.rows("quarantine").is_empty().then_some(()));
}

#[test]
fn adopted_before_the_first_word() {
    let site = site("refuse");
    adopt(&site);
    site.catch_up();
    terminal(&site).whole_communication();
    assert_eq!(site.device(DEVICE).expect("a device")["adopted"], true);
}

/// Both speak on one connection, as behind a forwarder; what one of them has sealed proves nothing against the other.
#[test]
fn whoever_follows_on_a_connection_is_judged_by_his_own_memory() {
    let site = Site::usual();
    let key = json!({"key": "000102030405060708090a0b0c0d0e0f"});
    site.client().put("keys/usp/50001234567830/1", &key).expect("a key");
    let mut sealed = terminal(&site);
    sealed.device.set_key(Suite { cipher: Cipher::Aes128, version: 1 }, std::array::from_fn(|i| i as u8));
    assert_eq!(sealed.register().result, OK);
    let mut plain = Terminal::on(meter_of("50001234567831"), sealed.peer);
    assert_eq!(plain.register().result, OK);
    // Whoever has sealed, and does no more, is still no other.
    let mut forged = Terminal::on(meter_of("50001234567830"), plain.peer);
    assert_eq!(forged.register().result, SECURITY);
    let mut plain = Terminal::on(plain.device, forged.peer);
    assert_eq!(plain.register().result, OK);
    assert_eq!(plain.daily().result, OK);
    site.catch_up();
    let kept: Vec<_> = site.rows("quarantine").iter().map(|row| row["device"].clone()).collect();
    assert_eq!(kept, [json!(DEVICE)]);
}

/// A board that was exchanged knows neither the keys nor the counters of the one before.
#[test]
fn a_device_that_was_reset_is_met_anew_once_somebody_says_so() {
    let site = Site::usual();
    let key = json!({"key": "000102030405060708090a0b0c0d0e0f"});
    site.client().put("keys/usp/50001234567830/1", &key).expect("a key");
    let mut before = terminal(&site);
    before.device.set_key(Suite { cipher: Cipher::Aes128, version: 1 }, std::array::from_fn(|i| i as u8));
    before.whole_communication();
    drop(before);
    let mut after = terminal(&site);
    after.register();
    assert_eq!(after.daily().result, SECURITY, "what comes unsealed from a device with a key proves nothing");
    let forget = format!("devices/{DEVICE}/forget");
    site.client().post(&forget, &json!({"reason": " "})).expect_err("no reason");
    site.client().post("devices/usp/50001234567899/forget", &json!({"reason": "reset"})).expect_err("nobody");
    site.client().post(&forget, &json!({"reason": "board exchanged"})).expect("forgotten");
    assert_eq!(after.hear(), None, "the session that was open knew the former memory");
    drop(after.reconnect(site.meters()));
    assert_eq!(after.register().result, OK);
    assert_eq!(after.daily().result, OK);
    site.catch_up();
    let said = site.rows("journal/entries");
    let entry = said.iter().find(|row| row["fact"] == "forgotten").expect("an entry");
    assert!(entry["summary"].as_str().is_some_and(|s| s.ends_with(": board exchanged")), "{entry}");
}
