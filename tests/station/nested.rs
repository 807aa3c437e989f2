//! Carriers behind carriers, and a line on which the station is the master: through a DTU.

use fleet::station::Settings;
use modbus_corrector::device::{Corrector, State};
use polymeter_tests::behind::{Lines, Meter};
use polymeter_tests::site::Site;
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
