//! What the author's kit says of adapters that are not as they should be, and how files are signed.

use polymeter::adapter::{Adapter, Runtime, SecretKey, Transport, sign};
use polymeter::kit::check::{self, Report, Verdict};
use polymeter::kit::{bench, build, capture, signing, trial};
use polymeter::lifecycle::Trust;
use polymeter::model::Civil;
use polymeter_tests::guest::{Guest, MESSAGES, RESULT, decoded, register, report, slow};
use polymeter_tests::keys::NoKeys;
use polymeter_tests::scratch::Scratch;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const NOW: Civil = Civil(1_710_462_005);

/// A guest as a file, with vectors and claims.
fn file(guest: &Guest, vectors: &Value, kinds: &[&str], commands: &[&str]) -> Vec<u8> {
    let mut manifest = guest.manifest();
    manifest.kinds = kinds.iter().map(ToString::to_string).collect();
    manifest.commands = commands.iter().map(ToString::to_string).collect();
    let vectors = json!([{"provenance": "made up", "vectors": vectors}]);
    build::pack(&guest.module(), &manifest, Some(&vectors)).expect("a component")
}

fn ends() -> Value {
    json!([{"name": "it ends", "frame": "68010203",
        "expect": {"sender": {"address": "12345678", "kind": "meter"}, "messages": [{"type": "end-of-session"}]}}])
}

fn load(bytes: &[u8]) -> Adapter {
    Adapter::load(&Runtime::new(None).expect("the runtime starts"), bytes, Arc::new(NoKeys)).expect("it loads")
}

fn tried(bytes: &[u8]) -> trial::Trial {
    trial::run(&load(bytes), bytes).expect("it has vectors")
}

fn checked(bytes: &[u8]) -> Report {
    check::check(&Runtime::new(None).expect("the runtime starts"), bytes, None)
}

/// The same words as the station would have for it, and the rest of the report beside them.
#[test]
fn a_trust_file_is_judged_beforehand() {
    let vendor = SecretKey::from_seed(&[7; 32]);
    let unsigned = file(&Guest::new("a"), &ends(), &[], &[]);
    let signed = sign(&unsigned, &vendor).expect("signed");
    let text = format!("[keys]\nacme = \"{}\"\n[[rule]]\nadapters = [\"a\"]\nall_of = [\"acme\"]\n", vendor.public());
    let trust = Trust::parse(&text).expect("a trust file");
    let runtime = Runtime::new(None).expect("the runtime starts");
    for (bytes, accepted, words) in [
        (&signed, true, "signed by acme"),
        (&unsigned, false, "unsigned"),
        (&sign(&unsigned, &SecretKey::from_seed(&[8; 32])).expect("signed"), false, "which trust.toml does not know"),
    ] {
        let report = check::check(&runtime, bytes, Some((&trust, NOW)));
        let said = report.findings.iter().find(|finding| finding.about == "trust").expect("a word about trust");
        assert!(report.accepted == accepted && said.text.contains(words), "{said:?}");
        assert_eq!(report.vectors, 1, "the rest is checked all the same");
    }
}

#[test]
fn a_sound_adapter_passes_and_what_it_only_claims_is_named() {
    let bytes = file(&Guest::new("a"), &ends(), &["report"], &["read", "valve"]);
    let found = tried(&bytes);
    assert!(found.passed(), "{found:?}");
    // Every frame of it begins with 0x68 and means the same: 3 cuts and 24 bits of the rest read alike.
    assert_eq!((found.damage.tried, found.damage.same, found.damage.refused), (35, 27, 8));
    let words = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    assert_eq!(words(&found.kinds.unproven), ["report"]);
    assert_eq!(words(&found.kinds.unclaimed), ["end-of-session"]);
    assert_eq!(words(&found.commands.unproven), ["read", "valve"]);
}

#[test]
fn what_breaks_on_damage_is_found() {
    // Traps on a frame of two bytes, and loops over one whose second byte is 9.
    let guest = Guest {
        on_decode: "
            (if (i32.eq (local.get 13) (i32.const 2)) (then unreachable))
            (if (i32.eq (i32.load8_u offset=1 (local.get 12)) (i32.const 9)) (then (loop $l (br $l))))",
        ..Guest::new("brittle")
    };
    let found = tried(&file(&guest, &ends(), &[], &[]));
    assert!(!found.passed());
    assert!(found.differences.is_empty(), "{found:?}");
    let broken = found.damage.broken.join("\n");
    assert!(broken.contains("cut to 2 bytes") && broken.contains("unreachable"), "{broken}");
    assert!(broken.contains("bit 3 of byte 1") && broken.contains("deadline"), "{broken}");
}

#[test]
fn a_unit_that_no_such_quantity_has_is_found() {
    // A working volume in watt-hours.
    let mut value = register(0);
    value[1] = 7;
    let guest = Guest {
        memory: vec![
            (RESULT, decoded(Some((512, 8)), MESSAGES, 1)),
            (512, b"12345678".to_vec()),
            (MESSAGES, report((8192, 1), (0, 0))),
            (8192, value),
        ],
        ..Guest::new("muddled")
    };
    let bytes = file(&guest, &json!([{"name": "report", "frame": "68", "expect": {}}]), &[], &[]);
    let adapter = load(&bytes);
    let mut decoder =
        polymeter::kit::decode::Decoder::new(adapter, String::new(), polymeter::adapter::Transport::Stream);
    let mut expect = decoder.line("68", NOW).expect("a result");
    assert_eq!(expect["messages"][0]["registers"][0]["unit"], "watt-hour");
    expect.as_object_mut().expect("an object").retain(|key, _| key == "sender" || key == "messages");
    let found = tried(&file(&guest, &json!([{"name": "report", "frame": "68", "expect": expect}]), &[], &[]));
    assert!(found.differences.is_empty(), "{found:?}");
    assert_eq!(found.units, ["report: working-volume in watt-hour"]);
    assert!(!found.passed());
}

#[test]
fn a_check_says_what_a_station_would_refuse() {
    let random = r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func (result i64)))"#;
    let wasi = Guest { imports: "import wasi:random/random@0.2.0;", extra: random, ..Guest::new("curious") };
    let other = Guest { contract: "2.0.0", ..Guest::new("newer") };
    let mut wrong = ends();
    wrong[0]["expect"]["sender"]["address"] = "1".into();
    let good = file(&Guest::new("good"), &ends(), &["reprot"], &[]);
    for (what, bytes, refused) in [
        ("good", good.clone(), None),
        ("a stranger's import", wasi.component(), Some(("imports", "wasi:random"))),
        ("another contract", other.component(), Some(("contract", "2.0.0"))),
        ("a core module", Guest::new("core").module(), Some(("file", "core module"))),
        ("wrong vectors", file(&Guest::new("wrong"), &wrong, &[], &[]), Some(("vectors", "it ends"))),
        ("cut", good[..good.len() - 1].to_vec(), Some(("file", "component"))),
    ] {
        let report = checked(&bytes);
        assert_eq!(report.accepted, refused.is_none(), "{what}: {:?}", report.findings);
        let found = report.findings.iter().find(|finding| finding.verdict == Verdict::Refused);
        match (found, refused) {
            (None, None) => {}
            (Some(found), Some((about, part))) => {
                assert!(found.about == about && found.text.contains(part), "{what}: {found:?}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let report = checked(&good);
    assert_eq!((report.vectors, report.memory.len()), (1, 1));
    assert_eq!(report.memory[0].initial, 4 * 64 * 1024);
    let notes: Vec<_> = report.findings.iter().filter(|f| f.verdict == Verdict::Remark).map(|f| &f.text).collect();
    assert!(notes.iter().any(|text| text.contains("reprot")), "{notes:?}");
}

#[test]
fn a_capture_is_played_session_after_session() {
    let bytes = file(&Guest::new("a"), &ends(), &[], &[]);
    let scratch = Scratch::new();
    let lines = "# recorded\n2024-03-15T00:20:05 7 uplink 68aa\n2024-03-15T00:20:06 8 uplink 99\n\
                 2024-03-15T00:20:07 7 downlink 00\n68\n";
    scratch.write("frames.hex", lines.as_bytes());
    let recorded = capture::read(&scratch.path("frames.hex")).expect("it is a capture");
    let found = trial::against(load(&bytes), ("{}".into(), Transport::Stream), recorded, NOW);
    assert_eq!((found.frames, found.decoded), (3, 2), "{found:?}");
    assert_eq!(found.messages["end-of-session"], 2);
    assert_eq!(found.faults["foreign"], 1);
    assert!(found.examples[0].starts_with("line 3: foreign"), "{found:?}");
    assert!(found.broken.is_empty());
}

#[test]
fn the_name_of_a_vector_stays_in_its_line() {
    let mut vectors = ends();
    vectors[0]["name"] = "good\u{1b}[2J".into();
    let bytes = file(&Guest::new("a"), &vectors, &[], &[]);
    let error = trial::run(&load(&bytes), &bytes).expect_err("it forges what is shown").to_string();
    assert!(error.contains("the name of a vector contains \\u{1b}"), "{error}");
}

#[test]
fn a_capture_is_played_as_it_came() {
    let streams_break_it = Guest { on_decode: "(if (i32.eqz (local.get 2)) (then unreachable))", ..Guest::new("a") };
    let bytes = file(&streams_break_it, &json!([]), &[], &[]);
    let scratch = Scratch::new();
    scratch.write("frames.hex", b"68aa\n");
    for (transport, decoded) in [(Transport::Datagram, 1), (Transport::Stream, 0)] {
        let recorded = capture::read(&scratch.path("frames.hex")).expect("it is a capture");
        let found = trial::against(load(&bytes), ("{}".into(), transport), recorded, NOW);
        assert_eq!((found.decoded, found.broken.len()), (decoded, 1 - decoded), "{found:?}");
    }
}

#[test]
fn a_capture_without_frames_proves_nothing() {
    let scratch = Scratch::new();
    scratch.write("frames.hex", b"# time, session, direction, bytes\n\n");
    let error = capture::read(&scratch.path("frames.hex")).expect_err("there is nothing in it");
    assert!(error.to_string().contains("holds no frames"), "{error:#}");
}

#[test]
fn a_bench_names_the_limits_and_what_could_not_be_measured() {
    let sound = file(&Guest::new("a"), &ends(), &[], &[]);
    let measured = bench::run(&load(&sound), &sound).expect("it has vectors");
    assert!(measured.failed.is_empty(), "{measured:?}");
    let [cost] = &measured.costs[..] else { panic!("{measured:?}") };
    assert_eq!(cost.broken(), Vec::<String>::new());
    let shown = serde_json::to_value(cost).expect("JSON");
    assert_eq!(shown["limits"]["memory_bytes"], json!(polymeter::limits::GUEST_MEMORY_BYTES_MAX));
    let mut greedy = cost.clone();
    greedy.messages = polymeter::limits::MESSAGES_MAX + 1;
    assert_eq!(greedy.broken(), ["it ends: messages: 257 of 256"]);

    let looping = Guest { on_decode: "(loop $l (br $l))", ..Guest::new("slow") };
    let looping = file(&looping, &ends(), &[], &[]);
    let measured = bench::run(&load(&looping), &looping).expect("it has vectors");
    assert!(measured.costs.is_empty(), "{measured:?}");
    assert!(measured.failed[0].starts_with("it ends: deadline"), "{measured:?}");
}

#[test]
fn vectors_end_when_their_time_is_over_or_nobody_waits_for_them() {
    let bytes = slow(1_000);
    let adapter = load(&bytes);
    let within = Duration::from_millis(100);
    let error = adapter.conform_within(&bytes, (within, &|| true)).expect_err("too long").to_string();
    assert!(error.contains("of 1000 have taken 0.1 s of processor time"), "{error}");
    let left = AtomicUsize::new(3);
    let wanted = || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
    let error = adapter.must_conform(&bytes, &wanted).expect_err("not wanted").to_string();
    assert!(error.contains("not run to their end"), "{error}");
}

#[test]
fn keys_are_for_their_owner_and_signatures_stack_on_disk() {
    let scratch = Scratch::new();
    scratch.write("a.wasm", &file(&Guest::new("a"), &ends(), &[], &[]));
    let (vendor, operator) = (scratch.path("vendor.key"), scratch.path("operator.key"));
    let keys = [&vendor, &operator].map(|path| signing::new_key(path).expect("a key"));
    let mode = std::fs::metadata(&vendor).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(signing::new_key(&vendor).is_err(), "a key is never replaced");
    let file = scratch.path("a.wasm");
    assert!(signing::verify_file(&file, &[]).expect_err("unsigned").to_string().contains("is not signed"));
    for (number, path) in [&vendor, &operator].into_iter().enumerate() {
        let key = signing::read_key(path).expect("a key");
        assert_eq!(signing::sign_file(&file, &key, &file).expect("it is signed"), number + 1);
    }
    let signed = signing::verify_file(&file, &keys).expect("both have signed");
    assert_eq!(signed.signatures.iter().map(|s| s.key).collect::<Vec<_>>(), keys);
    let stranger = signing::new_key(&scratch.path("stranger.key")).expect("a key");
    let error = signing::verify_file(&file, &[stranger]).expect_err("not signed by them");
    assert!(error.to_string().contains("is not signed by"), "{error:#}");
    // It still loads, and a check names the signers.
    assert_eq!(checked(&scratch.read("a.wasm")).signatures, keys);
    std::fs::set_permissions(&vendor, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    let error = signing::read_key(&vendor).map(drop).expect_err("others may read it");
    assert!(error.to_string().contains("chmod 600"), "{error:#}");
}
