//! Devices that nobody has announced: let in, held until somebody adopts them, or sent away.

use fleet::station::Settings;
use polymeter_tests::site::Site;
use polymeter_tests::usp::{Terminal, meter};
use serde_json::json;
use usp::device::Heard;

const DEVICE: &str = "usp/50001234567830";
const OK: u8 = 0;
const NOT_ALLOWED: u8 = 5;
const NOT_AUTHORISED: u8 = 2;

fn site(unknown: &'static str) -> Site {
    let mut settings = Settings::usual();
    settings.listeners[0].unknown = unknown;
    Site::with(&settings)
}

fn terminal(site: &Site) -> Terminal {
    Terminal::tcp(meter("50001234567830"), site.meters())
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
    adopt(&site);
    site.catch_up();
    drop(meter.reconnect(site.meters()));
    assert_eq!(meter.register().result, OK);
    assert_eq!(meter.daily().result, OK);
}

#[test]
fn adopted_before_the_first_word() {
    let site = site("refuse");
    adopt(&site);
    site.catch_up();
    terminal(&site).whole_communication();
    assert_eq!(site.device(DEVICE).expect("a device")["adopted"], true);
}
