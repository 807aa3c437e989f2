//! The life of adapters in a running station: swaps under open sessions, going back, trust, quarantine, restarts.

use fleet::station::{Listener, Settings};
use polymeter::adapter::{SecretKey, sign};
use polymeter::journal::{AdapterRef, Entry, Fact, FaultKind, FrameFact, FrameOutcome, Journal};
use polymeter::model::{Digest, HexBytes};
use polymeter_tests::guest::Guest;
use polymeter_tests::hostile;
use polymeter_tests::peer::Peer;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, edition, meter};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use usp::device::{Device, Terminal as Kind};

fn version(version: &str) -> Vec<u8> {
    edition(version, 1)
}

fn upload(site: &Site, bytes: Vec<u8>) -> Value {
    site.client().upload("adapters/usp.wasm", bytes).expect("an installed adapter")
}

/// `version state`, by version.
fn states(site: &Site, name: &str) -> Vec<String> {
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = site.rows("adapters?all=true");
    let mut states: Vec<_> = rows
        .iter()
        .filter(|row| row["name"] == name)
        .map(|row| format!("{} {}", word(row, "version"), word(row, "state")))
        .collect();
    states.sort();
    states
}

fn always_online(site: &Site, address: &str) -> Terminal {
    let mut device = Device::new(Kind::Meter, address, 0x0049);
    device.readings = meter(address).readings;
    Terminal::tcp(device, site.meters())
}

/// A station that meters reach over UDP: this version of adapter `a` serves, and 1.0.0, which behaves, stands by.
fn newer_serves(newer: &[u8]) -> Site {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    for file in [&Guest::new("a").component(), newer] {
        site.client().upload("adapters/a.wasm", file.to_vec()).expect("installed: it has no vectors to fail");
    }
    site
}

const METERS: u64 = 20;
const SWAPS: usize = 30;

/// Every frame is acknowledged, once, on the connection that it began with.
#[test]
fn swaps_under_open_sessions_lose_nothing_and_close_nothing() {
    let site = Site::usual();
    upload(&site, version("1.1.0"));
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let meters: Vec<_> = (0..METERS)
            .map(|number| {
                let (site, done, sent) = (&site, &done, &sent);
                threads.spawn(move || {
                    let mut terminal = always_online(site, &format!("500012345678{number:02}"));
                    assert_eq!(terminal.register().result, 0);
                    let mut frames = 1;
                    while !done.load(Relaxed) || frames < 3 {
                        assert_eq!(terminal.heartbeat().result, 0);
                        frames += 1;
                        sent.fetch_add(1, Relaxed);
                    }
                    frames
                })
            })
            .collect();
        let client = site.client();
        for swap in 0..SWAPS {
            // Under fire: some frames come between any two swaps.
            let before = sent.load(Relaxed);
            wait_until("frames come", || (sent.load(Relaxed) > before + 2 * METERS).then_some(()));
            let version = if swap % 2 == 0 { "1.0.0" } else { "1.1.0" };
            let body = json!({"version": version, "allow_downgrade": true, "reason": "to and fro"});
            let row = client.post("adapters/usp/activate", &body).expect("a cutover");
            assert_eq!((&row["version"], &row["state"]), (&version.into(), &"active".into()));
        }
        done.store(true, Relaxed);
        let frames: Vec<u64> = meters.into_iter().map(|meter| meter.join().expect("a meter that lived")).collect();
        for (number, frames) in frames.into_iter().enumerate() {
            let device = site.device(&format!("usp/500012345678{number:02}")).expect("known");
            assert_eq!(device["counts"]["frames"], frames, "{device}");
            assert_eq!((&device["counts"]["faults"], &device["counts"]["duplicates"]), (&0.into(), &0.into()));
        }
    });
    assert_eq!(site.rows("quarantine"), [Value::Null; 0]);
    let steps = site.rows("adapters/usp/history");
    assert_eq!(steps.iter().filter(|step| step["state"] == "active").count(), SWAPS + 2);
    assert_eq!(states(&site, "usp"), ["1.0.0 standby", "1.1.0 active"]);
}

#[test]
fn an_operator_stages_activates_and_goes_back_on_the_command_line() {
    let mut site = Site::usual();
    let scratch = Scratch::new();
    scratch.write("new.wasm", &version("2.0.0"));
    let file = scratch.path("new.wasm").display().to_string();
    let (url, token) = (format!("http://{}", site.http().expect("runs")), site.token().to_owned());
    let run = |args: &[&str]| {
        let access = ["--url", &url, "--token", &token];
        site.run(&[&["adapter"], args, &access].concat()).unwrap_or_else(|error| format!("{error:#}"))
    };
    assert!(run(&["install", &file, "--stage"]).starts_with("usp 2.0.0 is conformed"));
    assert!(
        run(&["activate", "usp", "--reason", "new valve codes"]).starts_with("usp 2.0.0 is active: new valve codes")
    );
    assert!(run(&["rollback", "usp", "--reason", "totals differ"]).starts_with("usp 1.0.0 is active: rolled back"));
    assert!(run(&["activate", "usp@2.0.0"]).starts_with("usp 2.0.0 is active"));
    let refused = run(&["activate", "usp@1.0.0"]);
    assert!(refused.contains("a downgrade"), "{refused}");
    let rows = site.rows("adapters");
    let digest = rows.iter().find(|row| row["version"] == "2.0.0").and_then(|row| row["digest"].as_str()).expect("it");
    let shown = run(&["show", &format!("usp@{}", &digest[..12])]);
    assert!(shown.contains("2.0.0") && !shown.contains("1.0.0"), "{shown}");
    // The first digits of a digest are enough everywhere, also without the name.
    let digits = &digest[..8];
    assert_eq!(run(&["show", digits]), shown);
    assert!(run(&["show", &digest[..5]]).contains("there is no adapter"));
    assert!(run(&["activate", digits]).starts_with("usp 2.0.0 is active"));
    assert!(run(&["retire", digits]).contains("usp@2.0.0 serves"));
    let compared = run(&["redecode", "--adapter", digits, "--since", "1d", "--json"]);
    let compared: Value = serde_json::from_str(&compared).expect("a report");
    assert_eq!((&compared["name"], &compared["version"]), (&"usp".into(), &"2.0.0".into()));
    for (said, says) in [
        ("usp", "it came as new.wasm, usp.wasm: name that"),
        ("usp@2.0.0", "it came as new.wasm: name that"),
        (&digest[..12], "it came as new.wasm: name that"),
        ("other.wasm", "no adapter came under the file name `other.wasm`"),
    ] {
        let refused = run(&["remove", said]);
        assert!(refused.contains(says), "{said}: {refused}");
    }
    assert!(run(&["retire", "usp"]).contains("usp@2.0.0 serves"));
    assert!(run(&["retire", "usp@1.0.0"]).starts_with("usp 1.0.0 is retired"));
    let history = run(&["history", "usp"]);
    for words in ["new valve codes", "rolled back: totals differ", "fleet", "retired"] {
        assert!(history.contains(words), "no {words:?} in\n{history}");
    }
    assert!(!run(&["list"]).contains("retired") && run(&["show", "usp"]).contains("retired"));
    // What was decided outlives a power cut, with the file of the first version still lying in the directory.
    let before = states(&site, "usp");
    site.power_cut();
    assert_eq!(states(&site, "usp"), before);
    assert_eq!(before, ["1.0.0 retired", "2.0.0 active"]);
}

#[test]
fn without_dev_only_signed_files_serve() {
    let vendor = SecretKey::from_seed(&[7; 32]);
    let scratch = Scratch::new();
    let signed = sign(&version("1.0.0"), &vendor).expect("signed");
    scratch.write("usp.wasm", &signed);
    let settings = Settings { unsigned: false, ..Settings::usual() };
    let mut site = Site::with_adapters(&settings, &[scratch.path("usp.wasm")]);
    let refused = site.rows("adapters");
    let reason = refused[0]["reason"].as_str().unwrap_or_default();
    assert!(refused[0]["state"] == "rejected" && reason.contains("no rule in trust.toml"), "{refused:?}");
    let trust =
        format!("[keys]\nacme = \"{}\"\n[[rule]]\nadapters = [\"usp\"]\nall_of = [\"acme\"]\n", vendor.public());
    std::fs::write(site.data().join("trust.toml"), trust).expect("written");
    wait_until("the trust file is seen", || (states(&site, "usp") == ["1.0.0 active"]).then_some(()));
    let error = site.client().upload("adapters/usp.wasm", version("1.1.0")).expect_err("unsigned").to_string();
    assert!(error.contains("unsigned"), "{error}");
    Terminal::tcp(meter("50001234567810"), site.meters()).whole_communication();
    site.power_cut();
    assert_eq!(states(&site, "usp"), ["1.0.0 active", "1.1.0 rejected"]);
    Terminal::tcp(meter("50001234567810"), site.meters()).whole_communication();
}

/// The frames of three meters upset the new version; the one before reads them.
#[test]
fn a_harmful_version_is_quarantined_and_its_frames_are_read_by_the_one_before() {
    let bad = Guest { version: "1.1.0", on_decode: "unreachable", ..Guest::new("a") };
    let site = newer_serves(&bad.component());
    let mut frames = 0;
    wait_until("the bad one goes", || {
        for own in ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"] {
            Peer::udp_from(own, site.nb_iot()).send(&[0x68, 1, 2, 3]);
            frames += 1;
        }
        (states(&site, "a") == ["1.0.0 active", "1.1.0 quarantined"]).then_some(())
    });
    wait_until("its frames are read", || {
        let device = site.device("test/12345678")?;
        let nothing_waits = site.rows("quarantine").is_empty();
        (nothing_waits && device["counts"]["frames"].as_u64() <= Some(frames)).then_some(())
    });
    let steps = site.rows("adapters/a/history");
    let told: Vec<_> = steps.iter().take(2).map(|s| (s["state"].clone(), s["by"].clone())).collect();
    assert_eq!(told, [("active".into(), "station".into()), ("quarantined".into(), "station".into())]);
}

/// A whole fleet comes from one address, and the new version understands nobody's first frame.
#[test]
fn a_version_that_a_fleet_behind_one_host_cannot_use_is_quarantined() {
    let bad = Guest { version: "1.1.0", on_decode: "unreachable", ..Guest::new("a") };
    let site = newer_serves(&bad.component());
    // Each with its own port and its own bytes, once.
    for number in 0..40 {
        Peer::udp(site.nb_iot()).send(&[0x68, 1, 2, number]);
    }
    wait_until("the bad one goes", || (states(&site, "a") == ["1.0.0 active", "1.1.0 quarantined"]).then_some(()));
    wait_until("its frames are read", || site.rows("quarantine").is_empty().then_some(()));
}

/// One device with a frame that upsets a version, from new ports all the time, its bytes another each time.
#[test]
fn a_device_that_comes_again_and_again_does_not_bring_down_what_works_for_others() {
    let touchy = "(if (i32.eq (i32.load8_u (i32.add (local.get 12) (i32.const 1))) (i32.const 9)) (then unreachable))";
    let picky = Guest { version: "1.1.0", on_decode: touchy, ..Guest::new("a") };
    let site = newer_serves(&picky.component());
    for number in 0..5 {
        Peer::udp(site.nb_iot()).send(&[0x68, 1, 2, number]);
        let heard = |device: &Value| device["counts"]["frames"] == number + 1;
        wait_until("another is understood", || site.device("test/12345678").filter(heard));
    }
    for number in 0..60 {
        Peer::udp(site.nb_iot()).send(&[0x68, 9, 2, number]);
    }
    wait_until("all are kept", || (site.rows("quarantine").len() == 60).then_some(()));
    assert_eq!(states(&site, "a"), ["1.0.0 standby", "1.1.0 active"]);
    Peer::udp(site.nb_iot()).send(&[0x68, 1, 2, 99]);
    wait_until("others still are", || site.device("test/12345678").filter(|device| device["counts"]["frames"] == 6));
}

/// What stands by is not to blame for a trust file that cannot be read just when it is needed.
#[test]
fn a_standby_that_cannot_take_over_at_once_does_so_once_the_trust_file_is_mended() {
    let bad = Guest { version: "1.1.0", on_decode: "unreachable", ..Guest::new("a") }.component();
    let site = newer_serves(&bad);
    let trust = site.data().join("trust.toml");
    std::fs::write(&trust, "oops =").expect("written");
    wait_until("the bad one goes, and nobody can take over", || {
        for own in ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"] {
            Peer::udp_from(own, site.nb_iot()).send(&[0x68, 1, 2, 3]);
        }
        (states(&site, "a") == ["1.0.0 standby", "1.1.0 quarantined"]).then_some(())
    });
    std::fs::write(&trust, "").expect("written");
    wait_until("the standby serves", || (states(&site, "a") == ["1.0.0 active", "1.1.0 quarantined"]).then_some(()));
    // Nor does bringing it again put the bad one back into service.
    let refused = site.client().upload("adapters/a.wasm", bad).expect_err("in quarantine").to_string();
    assert!(refused.contains("is in quarantine") && refused.contains("--reason"), "{refused}");
    assert_eq!(states(&site, "a"), ["1.0.0 active", "1.1.0 quarantined"]);
}

/// A build that was let in is revoked by its digest, however it is signed.
#[test]
fn a_revoked_digest_cannot_be_evaded_with_fewer_signatures() {
    let (vendor, operator) = (SecretKey::from_seed(&[7; 32]), SecretKey::from_seed(&[8; 32]));
    let by_vendor = sign(&version("1.0.0"), &vendor).expect("signed");
    let by_both = sign(&by_vendor, &operator).expect("signed");
    let site = Site::with_adapters(&Settings { unsigned: false, ..Settings::usual() }, &[]);
    let trust =
        format!("[keys]\nacme = \"{}\"\n[[rule]]\nadapters = [\"usp\"]\nall_of = [\"acme\"]\n", vendor.public());
    let file = site.data().join("trust.toml");
    std::fs::write(&file, &trust).expect("written");
    let digest = upload(&site, by_both.clone())["digest"].as_str().expect("a digest").to_owned();
    std::fs::write(&file, format!("{trust}[revoked]\ndigests = [\"{digest}\"]\n")).expect("written");
    wait_until("the revocation is seen", || (states(&site, "usp") == ["1.0.0 quarantined"]).then_some(()));
    // Without a token one learns which make it is, and no more.
    let health: Value = serde_json::from_str(&site.client().text("/health").expect("health").1).expect("JSON");
    let [short, whole] =
        [&health, &site.get("station")["health"]].map(|health| health["out_of_service"][0].to_string());
    assert!(short.contains("1.0.0 served last; `polymeter status` tells why") && !short.contains("trust"), "{short}");
    assert!(whole.contains("1.0.0 serves again once trust.toml trusts it"), "{whole}");
    for again in [by_vendor, by_both] {
        let refused = site.client().upload("adapters/usp.wasm", again).expect_err("revoked").to_string();
        assert!(refused.contains("revoked"), "{refused}");
    }
    assert!(!states(&site, "usp").iter().any(|state| state.ends_with("active")), "{:?}", states(&site, "usp"));
}

/// Whatever comes at once: the book, the store and what serves agree afterwards, also after a power cut.
#[test]
fn orders_that_come_at_once_leave_one_truth() {
    let mut site = Site::usual();
    let at_once = |orders: [&(dyn Fn() + Sync); 2]| {
        std::thread::scope(|threads| {
            let begun = orders.map(|order| threads.spawn(order));
            begun.into_iter().for_each(|order| order.join().expect("no panic"));
        });
    };
    let mut before = "1.0.0".to_owned();
    for round in 0..6 {
        let next = format!("2.{round}.0");
        let bytes = version(&next);
        let bring = |path: &str| drop(site.client().upload(path, bytes.clone()).expect("the same file twice"));
        at_once([&|| bring("adapters/usp.wasm?stage=true"), &|| bring("adapters/usp.wasm")]);
        assert!(states(&site, "usp").contains(&format!("{next} active")), "{:?}", states(&site, "usp"));
        // One of the two is refused, depending on who comes first.
        let order = |what: &str| {
            let body = json!({"version": before, "allow_downgrade": true, "reason": "at once"});
            drop(site.client().post(&format!("adapters/usp/{what}"), &body));
        };
        at_once([&|| order("activate"), &|| order("retire")]);
        let serving: Vec<_> = states(&site, "usp").into_iter().filter(|state| state.ends_with(" active")).collect();
        assert!(serving == [format!("{next} active")] || serving == [format!("{before} active")], "{serving:?}");
        let body = json!({"version": next, "reason": "goes on"});
        site.client().post("adapters/usp/activate", &body).expect("it is installed");
        before = next;
    }
    let known = states(&site, "usp");
    site.power_cut();
    assert_eq!(states(&site, "usp"), known);
    Terminal::tcp(meter("50001234567810"), site.meters()).whole_communication();
}

/// Compiling takes as long as it takes, and sessions go on meanwhile.
#[test]
fn a_cold_compile_blocks_no_session() {
    let site = Site::usual();
    let mut terminal = always_online(&site, "50001234567851");
    terminal.register();
    let answered = std::thread::scope(|threads| {
        let upload = threads.spawn(|| upload(&site, version("3.0.0")));
        let mut answered = 0;
        while !upload.is_finished() {
            assert_eq!(terminal.heartbeat().result, 0);
            answered += 1;
        }
        upload.join().expect("installed");
        answered
    });
    assert!(answered > 10, "{answered} heartbeats while an adapter was compiled");
    assert_eq!(terminal.heartbeat().result, 0);
    assert_eq!(states(&site, "usp"), ["1.0.0 standby", "3.0.0 active"]);
}

/// It is correct, and so slow that others wait for it: nothing is lost, and the one before it serves.
#[test]
fn a_slow_version_is_quarantined_for_what_it_costs() {
    let site = newer_serves(&hostile::slow("a", "1.1.0", 8));
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::udp(site.nb_iot())).collect();
    wait_until("the slow one goes", || {
        for (peer, digit) in peers.iter_mut().zip(b'0'..) {
            peer.send(&[0x68, digit]);
        }
        (states(&site, "a") == ["1.0.0 active", "1.1.0 quarantined"]).then_some(())
    });
    let steps = site.rows("adapters/a/history");
    assert!(steps[1]["reason"].as_str().is_some_and(|why| why.contains("over its budget")), "{steps:?}");
    // On a busy machine a call may lose its deadline to other processes; nothing else goes wrong.
    assert!(site.rows("quarantine").iter().all(|row| row["fault"] == "deadline"));
}

/// To read what waits again takes minutes here, and whoever is revoked meanwhile does not serve for as long.
#[test]
fn a_revocation_does_not_wait_for_frames_that_are_read_again() {
    let listener = Listener::udp("nb-iot", "\"a\"");
    let mut site = Site::with_adapters(&Settings { listeners: vec![listener], ..Settings::usual() }, &[]);
    site.stop().expect("a station that stops");
    let frame = |n: u64| FrameFact {
        listener: "nb-iot".into(),
        peer: "10.0.0.2:1000".into(),
        session: n,
        device: None,
        adapter: Some(AdapterRef { name: "a".into(), digest: Digest([1; 32]), profile: String::new() }),
        raw: HexBytes(vec![0x68, b'1']),
        outcome: FrameOutcome::Fault { kind: FaultKind::Trap, detail: "unreachable".into() },
    };
    let at_ms = jiff::Timestamp::now().as_millisecond();
    let journal = Journal::open_existing(&site.data(), at_ms).expect("it opens").expect("a journal");
    for _ in 0..20 {
        let entries = (0..1_000).map(|n| Entry { at_ms, fact: Fact::Frame(frame(n)) }).collect();
        journal.append_all_blocking(entries).expect("kept");
    }
    journal.close();
    drop(journal);
    site.start().expect("a station that starts");
    let slow = hostile::slow("a", "1.1.0", 4);
    site.client().upload("adapters/a.wasm", slow.clone()).expect("installed: it is correct");
    wait_until("the first are read", || site.device("test/12345671"));
    let revoked = format!("[revoked]\ndigests = [\"{}\"]\n", Digest::of(&slow));
    std::fs::write(site.data().join("trust.toml"), revoked).expect("written");
    wait_until("it goes", || (states(&site, "a") == ["1.1.0 quarantined"]).then_some(()));
    let waiting = site.get("quarantine?limit=1");
    assert_ne!(waiting["items"].as_array().map(Vec::len), Some(0), "the others are not read yet");
}

/// The same of meters that a carrier brings: each of them is a source of its own, and its carrier is none.
#[test]
fn a_version_that_is_slow_over_meters_behind_a_carrier_is_quarantined_too() {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    let site = Site::with(&settings);
    let client = site.client();
    client.upload("adapters/a.wasm", Guest::new("a").component()).expect("installed");
    client.upload("adapters/a.wasm", hostile::slow("a", "1.1.0", 8)).expect("installed: it is correct");
    let (dtu, kind) = ("usp/50008800000007", json!({"kind": "dtu"}));
    let record = json!({"kind": "meter", "adapter": "a", "parent": dtu, "protocol": "szrq"});
    client.put(&format!("registry/{dtu}"), &kind).expect("a record");
    client.put("registry/test/12345678", &record).expect("a record");
    site.catch_up();
    let mut dtu = Terminal::tcp(Device::dtu("50008800000007"), site.meters());
    assert_eq!(dtu.register().result, 0);
    wait_until("the slow one goes", || {
        for digit in b'1'..=b'8' {
            let frame = dtu.device.transparent(1, 6, &[0x68, digit]);
            assert_eq!(dtu.ask(&frame).result, 0);
        }
        (states(&site, "a") == ["1.0.0 active", "1.1.0 quarantined"]).then_some(())
    });
    let steps = site.rows("adapters/a/history");
    assert!(steps[1]["reason"].as_str().is_some_and(|why| why.contains("over its budget")), "{steps:?}");
    assert_eq!(states(&site, "usp"), ["1.0.0 active"]);
}

/// A session's state of another layout is never read: the device is told to come again.
#[test]
fn another_layout_of_state_makes_sessions_begin_anew() {
    let site = Site::usual();
    let mut terminal = always_online(&site, "50001234567850");
    terminal.register();
    assert_eq!(terminal.heartbeat().result, 0);
    upload(&site, edition("2.0.0", 2));
    let frame = terminal.device.daily(terminal.now, &[]);
    terminal.peer.send(&frame);
    terminal.peer.until_closed();
    terminal.reconnect(site.meters());
    assert_eq!(terminal.register().result, 0);
    assert_eq!(terminal.daily().result, 0);
    assert!(!site.readings("usp/50001234567850", "working-volume").is_empty());
}
