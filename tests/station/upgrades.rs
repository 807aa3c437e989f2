//! What one version has kept, in the hands of another: taken over where it can be, never misread, and taken over once.

use fleet::station::{Listener, Settings};
use polymeter_tests::guest::{Guest, MESSAGES, RESULT, decoded, report, volume};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, edition};
use serde_json::json;
use usp::device::Device;

const DEVICE: &str = "test/12345678";
const DTU: &str = "usp/50008800000007";
const READING: u32 = 8_192;

/// Its volume is 100 times the first byte of the session's state, and the first byte of the device's memory.
const SHOW: &str = "
    (i64.store (i32.const 8200) (i64.const 0))
    (if (local.get 11) (then (i64.store (i32.const 8200)
        (i64.mul (i64.const 100) (i64.load8_u (local.get 10))))))
    (if (local.get 9) (then (i64.store (i32.const 8200)
        (i64.add (i64.load (i32.const 8200)) (i64.load8_u (local.get 8))))))";

/// Adds the layout that it is told to the first byte; where that is 9, loops instead.
const UPGRADE: &str = r#"
    (func $upgrade (param $layout i32) (param $at i32) (param $bytes i32) (result i32)
        (loop $again (br_if $again (i32.eq (local.get $layout) (i32.const 9))))
        (i32.store8 (i32.const 9000) (i32.add (local.get $layout) (i32.load8_u (local.get $at))))
        (i32.store8 (i32.const 8960) (i32.const 1))
        (i32.store (i32.const 8964) (i32.const 9000))
        (i32.store (i32.const 8968) (i32.const 1))
        (i32.const 8960))
    (export "polymeter:adapter/upgrade@1.0.0#upgrade-state" (func $upgrade))
    (export "polymeter:adapter/upgrade@1.0.0#upgrade-memory" (func $upgrade))"#;

/// One version; those that write leave state 7 and memory 5.
fn version(version: &'static str, layout: u32, writes: bool, upgrades: bool) -> Vec<u8> {
    version_of("a", version, layout, (writes, upgrades))
}

fn version_of(name: &'static str, version: &'static str, layout: u32, (writes, upgrades): (bool, bool)) -> Vec<u8> {
    let mut result = decoded(Some((512, 8)), MESSAGES, 1);
    if writes {
        for (option, at) in [(40, 9_100_u32), (52, 9_101)] {
            result[option] = 1;
            result[option + 4..option + 8].copy_from_slice(&at.to_le_bytes());
            result[option + 8] = 1;
        }
    }
    // More follows, so that the session stays.
    let mut message = report((READING, 1), (0, 0));
    message[8 + 88] = 1;
    let memory = vec![
        (RESULT, result),
        (512, b"12345678".to_vec()),
        (MESSAGES, message),
        (READING, volume(0, 0)),
        (9_100, vec![7, 5]),
    ];
    let guest = Guest { version, state_version: layout, memory, on_decode: SHOW, ..Guest::new(name) };
    let (imports, extra) = if upgrades { ("export polymeter:adapter/upgrade@1.0.0;", UPGRADE) } else { ("", "") };
    Guest { imports, extra, ..guest }.component()
}

/// Sends a frame; gives what was read.
fn read(site: &Site, peer: &mut Peer) -> String {
    let count = || site.device(DEVICE).and_then(|device| device["counts"]["frames"].as_u64()).unwrap_or(0);
    let before = count();
    peer.send(&[0x68, before as u8]);
    wait_until("the frame is stored", || (count() == before + 1).then_some(()));
    let frames = site.rows(&format!("devices/{DEVICE}/frames"));
    frames[0]["messages"][0]["registers"][0]["value"].as_str().unwrap_or_default().to_owned()
}

fn serve(site: &Site, file: Vec<u8>) {
    site.client().upload("adapters/a.wasm?downgrade=back&reason=back", file).expect("serves");
}

#[test]
fn another_version_takes_over_state_and_memory_once() {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let mut site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    serve(&site, version("1.0.0", 1, true, false));
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!((read(&site, &mut peer), read(&site, &mut peer)), ("0".into(), "705".into()));
    // In the open session: both plus the layout they were left in.
    serve(&site, version("2.0.0", 2, false, true));
    assert_eq!((read(&site, &mut peer), read(&site, &mut peer)), ("806".into(), "806".into()));
    // A new session has no state; the memory was taken over already.
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!(read(&site, &mut peer), "6");
    site.power_cut();
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!(read(&site, &mut peer), "6");
    // Straight from what an older session left, by a version that did not serve meanwhile.
    serve(&site, version("3.0.0", 3, true, true));
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!((read(&site, &mut peer), read(&site, &mut peer)), ("8".into(), "705".into()));
    // Who cannot take it over never sees a session's state; a memory stays as it is.
    serve(&site, version("4.0.0", 4, false, false));
    assert_eq!(read(&site, &mut peer), "5");
    assert_eq!(site.rows("quarantine"), [json!(null); 0]);
}

/// It is shown what it would have been handed over at a cutover, or every difference would be one of the layouts.
#[test]
fn a_shadow_reads_what_it_would_have_taken_over() {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    serve(&site, version("1.0.0", 1, true, false));
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!(read(&site, &mut peer), "0");
    site.client().upload("adapters/a.wasm?stage=true", version("2.0.0", 2, false, true)).expect("installed");
    site.client().post("adapters/a/shadow", &json!({"version": "2.0.0"})).expect("a shadow");
    assert_eq!(read(&site, &mut peer), "705");
    let report = wait_until("the shadow has heard it", || {
        let report = site.get("adapters/a/shadow");
        (report["frames"] == 1).then_some(report)
    });
    let changed = report["differences"].as_array().into_iter().flatten().find(|row| row["kind"] == "register-changed");
    let new = changed.and_then(|row| row["examples"][0]["new"].as_str()).unwrap_or_default();
    assert!(new.starts_with("806"), "{report}");
}

/// Sends a frame through a DTU; gives what was read.
fn read_behind(site: &Site, dtu: &mut Terminal) -> String {
    site.catch_up();
    let before = site.device(DEVICE).and_then(|device| device["counts"]["frames"].as_u64()).unwrap_or(0);
    let frame = dtu.device.transparent(1, 6, &[0x68, before as u8]);
    assert_eq!(dtu.ask(&frame).result, 0);
    site.catch_up();
    let frames = site.rows(&format!("devices/{DEVICE}/frames"));
    frames[0]["behind"][0]["messages"][0]["registers"][0]["value"].as_str().unwrap_or_default().to_owned()
}

/// A meter behind a DTU: its adapter changes under the open session, then the DTU's, then who reads for the meter.
#[test]
fn what_is_kept_of_a_meter_behind_a_carrier_is_taken_over_by_its_own_adapter_alone() {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    let site = Site::with(&settings);
    let read_by = |adapter: &str| {
        let record = json!({"kind": "meter", "adapter": adapter, "parent": DTU, "protocol": "szrq"});
        site.client().put(&format!("registry/{DEVICE}"), &record).expect("a record");
        site.catch_up();
    };
    site.client().put(&format!("registry/{DTU}"), &json!({"kind": "dtu"})).expect("a record");
    serve(&site, version("1.0.0", 1, true, false));
    read_by("a");
    let on_line = || {
        let mut dtu = Terminal::tcp(Device::dtu("50008800000007"), site.meters());
        assert_eq!(dtu.register().result, 0);
        dtu
    };
    let mut dtu = on_line();
    assert_eq!((read_behind(&site, &mut dtu), read_behind(&site, &mut dtu)), ("0".into(), "705".into()));
    // In the carrier's open session: both plus the layout they were left in, once.
    serve(&site, version("2.0.0", 2, false, true));
    assert_eq!((read_behind(&site, &mut dtu), read_behind(&site, &mut dtu)), ("806".into(), "806".into()));
    // Another version of the carrier's adapter is none of the meter's.
    site.client().upload("adapters/usp.wasm", edition("1.1.0", 1)).expect("serves");
    assert_eq!(read_behind(&site, &mut dtu), "806");
    // Another layout of its own ends the carrier's session, and the meter's state with it; its memory is the meter's.
    site.client().upload("adapters/usp.wasm", edition("2.0.0", 2)).expect("serves");
    dtu.peer.send(&dtu.device.transparent(1, 6, &[0x68, 99]));
    dtu.peer.until_closed();
    let mut dtu = on_line();
    assert_eq!(read_behind(&site, &mut dtu), "6");
    // What one adapter keeps of a session is not another's to read, whatever it counts its layouts by.
    serve(&site, version("3.0.0", 3, true, true));
    let mut dtu = on_line();
    assert_eq!((read_behind(&site, &mut dtu), read_behind(&site, &mut dtu)), ("8".into(), "705".into()));
    let other = version_of("b", "1.0.0", 3, (false, false));
    site.client().upload("adapters/b.wasm", other).expect("serves");
    read_by("b");
    assert_eq!(read_behind(&site, &mut dtu), "5");
}

/// Taking over runs in the sandbox as everything else does, and counts as a strike.
#[test]
fn a_version_that_fails_to_take_over_begins_anew() {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    serve(&site, version("1.0.0", 9, true, false));
    let mut peer = Peer::udp(site.nb_iot());
    assert_eq!((read(&site, &mut peer), read(&site, &mut peer)), ("0".into(), "705".into()));
    serve(&site, version("2.0.0", 10, false, true));
    assert_eq!(read(&site, &mut peer), "5");
}
