//! The device registry of a real station: who is in it is no stranger, and an import survives the end of either side.

use fleet::station::Settings;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, edition, meter};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const DEVICE: &str = "usp/50001234567830";
const ROWS: usize = 30_000;

fn site(unknown: &'static str) -> Site {
    let mut settings = Settings::usual();
    settings.listeners[0].unknown = unknown;
    Site::with(&settings)
}

fn terminal(site: &Site) -> Terminal {
    Terminal::tcp(meter("50001234567830"), site.meters())
}

fn register(site: &Site) {
    let record = json!({"kind": "meter", "adapter": "usp", "district": "西城区"});
    site.client().put(&format!("registry/{DEVICE}"), &record).expect("a record");
}

#[test]
fn registered_devices_are_let_in_where_strangers_are_refused() {
    let site = site("refuse");
    register(&site);
    terminal(&site).whole_communication();
    let device = site.device(DEVICE).expect("a device");
    assert_eq!((&device["adopted"], &device["held"]), (&json!(false), &json!(false)));
    assert!(!site.readings(DEVICE, "working-volume").is_empty());
}

#[test]
fn what_a_held_device_said_counts_once_it_is_registered() {
    let site = site("hold");
    let mut meter = terminal(&site);
    meter.whole_communication();
    assert_eq!(site.device(DEVICE).expect("a device")["held"], true);
    register(&site);
    assert_eq!(site.device(DEVICE).expect("a device")["held"], false);
    assert!(!site.readings(DEVICE, "working-volume").is_empty());
    site.order(DEVICE, &json!({"read": {"scope": "current"}}));
    let other = "usp/50001234567831";
    site.client().put(&format!("registry/{other}"), &json!({"kind": "meter"})).expect("a record");
    site.order(other, &json!({"read": {"scope": "current"}}));
}

/// What a spreadsheet has made of `usp/50001234567831` is nobody's address: no row, key or order makes a device of it.
#[test]
fn an_address_that_no_meter_has_is_refused() {
    let site = site("hold");
    let scratch = Scratch::new();
    scratch.write("bent.csv", b"device,kind\nusp/50001234567831,meter\nusp/5.0E13,meter\n");
    let ran = client(&site, &["import", scratch.path("bent.csv").to_str().expect("text")]).output().expect("runs");
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success(), "{words}");
    for part in ["line 3, device:", "14 digits", "such as 50001234567810", "nothing was written"] {
        assert!(words.contains(part), "{words}");
    }
    // Nor is a key beside it written, and the one that stands in place of an address is not shown.
    let digits = "000102030405060708090a0b0c0d0e0f";
    let keys = format!("slot,device,key\n1,usp/50001234567831,{digits}\n\n1,usp/{digits},{digits}\n");
    scratch.write("keys.csv", format!("{keys}1,usp/50001234567832,{digits}\n1,usp/5.0E13,{digits}\n").as_bytes());
    for more in [&["--dry-run"][..], &[]] {
        let file = scratch.path("keys.csv");
        let ran = polymeter(&site, &[&["key", "import", file.to_str().expect("text")], more].concat()).output();
        let ran = ran.expect("runs");
        let words = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && !words.contains(digits), "{words}");
        for part in ["line 4, device:", "line 6, device:", "14 digits", "2 errors; nothing was written"] {
            assert!(words.contains(part), "{words}");
        }
    }
    assert_eq!(site.get("keys")["items"], json!([]));
    let api = site.client();
    let key = json!({"key": digits});
    for error in [
        api.put("registry/usp/31", &json!({"kind": "meter"})).expect_err("no record"),
        api.put("keys/usp/31/1", &key).expect_err("no key"),
        api.post("commands", &json!({"device": "usp/31", "command": {"read": {"scope": "current"}}}))
            .expect_err("no order"),
    ] {
        assert!(format!("{error:#}").contains("14 digits"), "{error:#}");
    }
    // Columns are mixed up: the address is the key, and no refusal repeats it.
    let mixed = api.put(&format!("keys/usp/{digits}/1"), &key).expect_err("no key");
    assert!(format!("{mixed:#}").contains("14 digits") && !format!("{mixed:#}").contains(digits), "{mixed:#}");
    api.put("keys/usp/*/1", &key).expect("a key for all");
    // A realm of which no adapter says anything.
    api.put("registry/acme/31", &json!({"kind": "meter"})).expect("a record");
}

/// The registry had it before any adapter said what addresses are like: it has its key and its orders.
#[test]
fn who_is_registered_is_not_refused_for_his_address() {
    let site = Site::with_adapters(&Settings::usual(), &[]);
    let api = site.client();
    api.put("registry/usp/31", &json!({"kind": "meter"})).expect("a record");
    api.upload("adapters/usp.wasm", edition("9.0.0", 1)).expect("serves");
    let key = json!({"key": "000102030405060708090a0b0c0d0e0f"});
    api.put("keys/usp/32/1", &key).expect_err("nobody is called so");
    api.put("keys/usp/31/1", &key).expect("a key");
    site.order("usp/31", &json!({"read": {"scope": "current"}}));
}

fn a_town() -> String {
    let mut text =
        "device,kind,manufacturer,model,adapter,profile,parent,protocol,channel,district,customer,key_slot,line_address,baud,line_format\n"
            .to_owned();
    for n in 0..100 {
        let _ = writeln!(text, "usp/6{n:013},concentrator,,,usp,,,,,西城区,,,,,");
    }
    for n in 0..ROWS - 100 {
        let _ = writeln!(text, "usp/7{n:013},meter,Acme,G4,usp,,usp/6{:013},mbus,1,西城区,K-{n},main,,,", n % 100);
    }
    text
}

fn client(site: &Site, args: &[&str]) -> Command {
    polymeter(site, &[&["registry"], args].concat())
}

pub fn polymeter(site: &Site, args: &[&str]) -> Command {
    let mut command = Command::new(fleet::station::built("polymeter").expect("built"));
    command.args(args).args(["--url", &format!("http://{}", site.http().expect("running"))]);
    command.env("POLYMETER_TOKEN", site.token()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn export(site: &Site, to: &Path) {
    let ran = client(site, &["export", "-o", to.to_str().expect("text")]).output().expect("runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

fn resumed(output: &Output) -> u64 {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    let before = summary["done_before"].as_u64().expect("a number");
    assert_eq!(before + summary["rows"].as_u64().expect("a number"), ROWS as u64);
    before
}

/// Begins an import, and waits until a part of it is in.
fn begun(site: &Site, file: &Path) -> Child {
    let progress = file.with_extension("csv.progress");
    let child = client(site, &["import", file.to_str().expect("text"), "--resume"]).spawn().expect("runs");
    let rows = || serde_json::from_slice::<Value>(&std::fs::read(&progress).ok()?).ok()?["rows"].as_u64();
    let before = rows().unwrap_or(0);
    wait_until("a part is in", || rows().filter(|rows| *rows > before));
    child
}

#[test]
fn an_import_goes_on_after_the_end_of_either_side() {
    let mut settings = Settings::usual();
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let http: SocketAddr = probe.local_addr().expect("an address");
    drop(probe);
    settings.http = http;
    let mut site = Site::with(&settings);
    let scratch = Scratch::new();
    scratch.write("town.csv", a_town().as_bytes());
    let file = scratch.path("town.csv");
    // The client ends first, then the station under a second client.
    let mut first = begun(&site, &file);
    first.kill().expect("it runs");
    first.wait().expect("it ends");
    let second = begun(&site, &file);
    site.power_cut();
    let second = second.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && words.contains("--resume"), "{words}");
    let third = client(&site, &["import", file.to_str().expect("text"), "--resume", "--json"]).output().expect("runs");
    assert!(resumed(&third) > 0, "it began anew");
    let out = scratch.path("out.csv");
    export(&site, &out);
    assert!(std::fs::read_to_string(&out).expect("read") == a_town(), "every row is in, once");
    // Folded anew, the registry is the same.
    site.stop().expect("a station that stops");
    let config = site.config();
    site.run(&["views", "rebuild", "--config", &config.to_string_lossy()]).expect("rebuilds");
    site.start().expect("starts");
    let again = scratch.path("again.csv");
    export(&site, &again);
    assert!(scratch.read("again.csv") == scratch.read("out.csv"));
}
