//! Carriers behind carriers, and a line on which the station is the master: through a DTU.

use fleet::station::{Listener, Settings};
use modbus_corrector::device::{Corrector, State};
use polymeter_tests::behind::{Lines, Meter};
use polymeter_tests::guest::{Guest, MESSAGE_BYTES, MESSAGES, relayed};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{NOON, Terminal, civil};
use serde_json::{Value, json};
use std::sync::Mutex;
use usp::device::{Behind, Device, Heard};

const DTU: &str = "usp/50008800000007";
const CONCENTRATOR: &str = "usp/50009900000001";
const CJT188: &str = "cjt188/00231100456789";
const CORRECTOR: &str = "modbus/CORRECTOR1";
/// What a DTU is told to hand on.
const TRANSPARENT: u16 = 0x4071;
const RAW: u8 = 0xFE;
const OK: u8 = 0x00;
const NO_ANSWER: u8 = 0x09;

fn site() -> Site {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    let site = Site::with(&settings);
    set(&site, DTU, &json!({"kind": "dtu", "adapter": "usp"}));
    site
}

fn set(site: &Site, key: &str, record: &Value) {
    site.client().put(&format!("registry/{key}"), record).unwrap_or_else(|e| panic!("{key}: {e:#}"));
}

fn dtu(site: &Site, behind: Behind) -> Terminal {
    let mut device = Device::dtu("50008800000007");
    device.carrier.behind = behind;
    let mut terminal = Terminal::tcp(device, site.meters());
    assert_eq!(terminal.register().result, OK);
    terminal
}

/// Reads and closes a meter two carriers away; what the outer one cannot reach moves nothing twice.
#[test]
fn a_meter_is_read_and_closed_through_two_carriers() {
    let site = site();
    set(
        &site,
        CONCENTRATOR,
        &json!({"kind": "concentrator", "adapter": "usp", "parent": DTU, "protocol": "raw", "channel": 2}),
    );
    let lines = Lines::new(civil(NOON), 2_400);
    let (_, record) = lines.add(CONCENTRATOR, Meter::cjt188("00231100456789"), 1);
    set(&site, CJT188, &record);
    let mut concentrator = Device::concentrator("50009900000001");
    concentrator.carrier.behind = lines.behind();
    let registration = concentrator.registration(civil(NOON));
    let concentrator = Mutex::new(concentrator);
    let cut = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_cut = cut.clone();
    let mut terminal = dtu(
        &site,
        Box::new(move |_, _, payload| {
            if is_cut.load(std::sync::atomic::Ordering::Relaxed) {
                return None;
            }
            match concentrator.lock().ok()?.hear(civil(NOON), payload) {
                Ok(Heard::Command { frames, .. }) => Some(frames.concat()),
                _ => None,
            }
        }),
    );
    // It says what it is through the DTU, and is answered through it.
    let brought = terminal.device.transparent(2, RAW, &registration);
    assert_eq!(terminal.ask(&brought).result, OK);
    assert_eq!(terminal.obey(), (TRANSPARENT, OK));
    let reading = site.order(CJT188, &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.obey(), (TRANSPARENT, OK));
    site.await_state(reading, "done");
    assert!(site.readings(CJT188, "volume").iter().any(|row| row.ends_with(" 1234.56")));
    assert_eq!(site.device(CJT188).expect("a device")["carrier"], CONCENTRATOR);
    // The line to the concentrator is cut: nobody knows what became of the order, and it is not sent again.
    cut.store(true, std::sync::atomic::Ordering::Relaxed);
    let order = site.order(CJT188, &json!({"valve": {"order": "close-forced"}}));
    assert_eq!(terminal.obey(), (TRANSPARENT, NO_ANSWER));
    site.await_state(order, "unconfirmed");
    cut.store(false, std::sync::atomic::Ordering::Relaxed);
    let again = site.order(CJT188, &json!({"valve": {"order": "close-forced"}}));
    assert_eq!(terminal.obey(), (TRANSPARENT, OK));
    let reading = site.order(CJT188, &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.obey(), (TRANSPARENT, OK));
    site.await_state(reading, "done");
    site.await_state(again, "done");
    let valve = site.device(CJT188).expect("a device")["valve"]["state"].clone();
    assert!(valve.as_str().is_some_and(|state| state.starts_with("closed")), "{valve}");
    assert_eq!(lines.lock().subs["00231100456789"].heard, 3);
}

/// Several questions make one reading of a volume corrector: the next follows from each answer.
#[test]
fn a_corrector_behind_a_dtu_is_polled_register_by_register() {
    let site = site();
    set(
        &site,
        CORRECTOR,
        &json!({"kind": "meter", "adapter": "modbus_corrector", "parent": DTU, "protocol": "modbus-rtu", "channel": 1}),
    );
    let mut state = State::healthy(civil(NOON));
    (state.standard_total, state.working_total) = (9_876_543, 2_345_678);
    let corrector = Mutex::new(Corrector::typical(1, &state));
    let mut terminal = dtu(&site, Box::new(move |_, _, payload| corrector.lock().ok()?.hear(payload)));
    let reading = site.order(CORRECTOR, &json!({"read": {"scope": "current"}}));
    let mut legs = 0;
    while site.command(reading)["state"] != "done" {
        assert_eq!(terminal.obey(), (TRANSPARENT, OK));
        legs += 1;
        assert!(legs < 16, "{}", site.command(reading));
        // What follows from an answer leaves with it, so whoever is done hears nothing more.
        std::thread::sleep(std::time::Duration::from_millis(600));
    }
    assert!(site.readings(CORRECTOR, "standard-volume").iter().any(|row| row.ends_with(" 9876.543")));
    assert!(site.readings(CORRECTOR, "working-volume").iter().any(|row| row.ends_with(" 2345.678")));
}

/// A frame whose second byte is this brings 256 frames like it of others behind, each of which does the same.
const MULTIPLIES: u8 = 9;
const HARMLESS: u8 = 1;

/// Reads for those behind itself, too.
fn multiplier(version: &'static str) -> Vec<u8> {
    // How many messages its answer has.
    let on_decode = "(i32.store (i32.const 1048)
        (if (result i32) (i32.eq (i32.load8_u (i32.add (local.get 12) (i32.const 1))) (i32.const 9))
            (then (i32.const 256)) (else (i32.const 0))))";
    let mut guest = Guest { version, on_decode, ..Guest::new("a") };
    guest.memory.retain(|(at, _)| *at != MESSAGES);
    guest.memory.extend([(600, b"x".to_vec()), (608, vec![0x68, MULTIPLIES])]);
    guest.memory.push((MESSAGES, relayed((600, 1), (608, 2)).repeat(256)));
    const { assert!(MESSAGES + 256 * MESSAGE_BYTES < 65_536, "beneath what arguments are written over") };
    guest.component()
}

fn site_of_multipliers() -> Site {
    let more = "relays = [{ protocol = \"x\", adapter = \"a\" }]".into();
    let listener = Listener { more, ..Listener::tcp("meters", "\"a\"") };
    Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[])
}

/// However many are behind and behind them: the frame is kept, the session goes on, and the rest is told of in a few words.
#[test]
fn a_frame_that_carries_more_than_anybody_can_keep_is_kept() {
    let site = site_of_multipliers();
    site.client().upload("adapters/a.wasm", multiplier("1.0.0")).expect("installed");
    let mut peer = Peer::tcp(site.meters());
    peer.send(&[0x68, MULTIPLIES]);
    let parts = wait_until("what was not looked at is told of", || {
        let told = |row: &Value| row["fault"] == "resources" && row["detail"].to_string().contains("not looked at");
        Some(site.rows("quarantine")).filter(|rows| rows.iter().any(told))
    });
    assert!(parts.len() < 200 && parts.iter().all(|row| row["part"].is_number()), "{} rows", parts.len());
    assert!(site.rows("devices/test/12345678/frames").iter().any(|row| row["raw"] == "6809"));
    let frames = || site.device("test/12345678").and_then(|device| device["counts"]["frames"].as_u64()).unwrap_or(0);
    let before = frames();
    peer.send(&[0x68, HARMLESS]);
    wait_until("the session goes on", || (frames() == before + 1).then_some(()));
}

/// The same among frames that wait for their adapter: it keeps none of them from being read.
#[test]
fn frames_in_quarantine_are_read_again_whatever_lies_among_them() {
    let site = site_of_multipliers();
    let client = site.client();
    let bad = Guest { on_decode: "unreachable", ..Guest::new("a") };
    client.upload("adapters/a.wasm", bad.component()).expect("installed");
    for frame in [MULTIPLIES, HARMLESS, HARMLESS] {
        Peer::tcp(site.meters()).send(&[0x68, frame]);
    }
    wait_until("all are kept", || (site.rows("quarantine").len() == 3).then_some(()));
    client.upload("adapters/a.wasm", multiplier("1.1.0")).expect("installed");
    wait_until("all are read", || site.rows("quarantine").iter().all(|row| row["part"].is_number()).then_some(()));
    assert!(site.device("test/12345678").is_some());
}
