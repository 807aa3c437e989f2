//! Tokens and keys: what goes in does not come out.

use crate::served::{Served, code, frame, fresh_dir, registration, token};
use polymeter::journal::{Fact, Role};
use polymeter::model::KeySlot;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn a_token_works_from_its_making_to_its_revocation() {
    let served = Served::start();
    let new = json!({"name": "dashboard", "role": "viewer"});
    let (status, made) = served.by(Role::Admin, "POST", "tokens", Some(new.clone()));
    assert_eq!(status, 201, "{made}");
    let secret = made["token"].as_str().expect("a token");
    assert_eq!(served.ask("GET", "station", Some(secret), None).0, 200);
    assert_eq!(code(&served.ask("GET", "tokens", Some(secret), None)), (403, "not-allowed"));
    assert_eq!(code(&served.by(Role::Admin, "POST", "tokens", Some(new))), (409, "name-taken"));

    let (_, tokens) = served.by(Role::Admin, "GET", "tokens", None);
    let row = tokens["items"].as_array().expect("items").iter().find(|t| t["name"] == "dashboard").expect("listed");
    assert_eq!((&row["role"], &row["by"]), (&json!("viewer"), &json!("admin")));
    assert!(!tokens.to_string().contains(secret));

    assert_eq!(served.by(Role::Admin, "DELETE", "tokens/dashboard", None).0, 204);
    assert_eq!(code(&served.ask("GET", "station", Some(secret), None)), (401, "no-token"));
    assert_eq!(code(&served.by(Role::Admin, "DELETE", "tokens/dashboard", None)), (404, "not-found"));
    let (_, entries) = served.by(Role::Admin, "GET", "journal/entries", None);
    assert!(!entries.to_string().contains(secret));
}

#[test]
fn the_last_token_of_an_admin_stays() {
    let served = Served::start();
    let refused = served.by(Role::Admin, "DELETE", "tokens/admin", None);
    assert_eq!(code(&refused), (422, "not-possible"), "{}", refused.1);
    assert_eq!(served.by(Role::Admin, "POST", "tokens", Some(json!({"name": "next", "role": "admin"}))).0, 201);
    assert_eq!(served.by(Role::Admin, "DELETE", "tokens/admin", None).0, 204);
}

#[test]
fn a_key_goes_in_and_never_comes_out() {
    let served = Served::start();
    let key = "00112233445566778899aabbccddeeff";
    for path in ["keys/usp/1/main", "keys/usp/*/main"] {
        assert_eq!(served.by(Role::Admin, "PUT", path, Some(json!({"key": key}))).0, 204, "{path}");
    }
    let vault = &served.station().services().vault;
    let opened = polymeter::adapter::KeyStore::key(&**vault, &crate::served::device("1"), "main");
    assert_eq!(opened.map(hex::encode).as_deref(), Some(key));
    let (_, keys) = served.by(Role::Admin, "GET", "keys", None);
    let devices: Vec<_> = keys["items"].as_array().expect("items").iter().map(|k| &k["device"]).collect();
    assert_eq!(devices, ["usp/*", "usp/1"]);
    let (_, entries) = served.by(Role::Admin, "GET", "journal/entries", None);
    for answer in [&keys, &entries] {
        assert!(!answer.to_string().contains(key), "{answer}");
    }
    for bad in [
        json!({"key": "00"}),
        json!({"key": 5}),
        Value::Null,
        json!({"key": key, "x": 1}),
        json!(key),
        json!({key: "1"}),
        json!({"key": key, key: 1}),
        json!({"key": [key]}),
    ] {
        let answer = served.by(Role::Admin, "PUT", "keys/usp/2/main", Some(bad));
        assert_eq!(code(&answer), (400, "bad-request"), "{answer:?}");
        assert!(!answer.1.to_string().contains(key), "a refusal repeats no key: {answer:?}");
    }
    assert_eq!(served.by(Role::Admin, "DELETE", "keys/usp/1/main", None).0, 204);
    assert_eq!(code(&served.by(Role::Admin, "DELETE", "keys/usp/1/main", None)), (404, "not-found"));
}

const KEY: &str = "00112233445566778899aabbccddeeff";

fn import(served: &Served, text: &str, more: &[&str]) -> Output {
    let file = fresh_dir().join("keys.csv");
    std::fs::write(&file, text).expect("writes");
    run(served, command(&file, more))
}

fn command(file: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polymeter"));
    command.args(["key", "import", "--json"]).arg(file).args(more);
    command
}

fn run(served: &Served, mut command: Command) -> Output {
    let output =
        command.env("POLYMETER_URL", &served.url).env("POLYMETER_TOKEN", token(Role::Admin)).output().expect("runs");
    for told in [&output.stdout, &output.stderr] {
        let told = String::from_utf8_lossy(told);
        assert!(!told.contains(&KEY[..8]), "no key is shown: {told}");
    }
    output
}

/// Added, changed, unchanged.
fn counts(output: &Output) -> [u64; 3] {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one object");
    ["added", "changed", "unchanged"].map(|name| summary[name].as_u64().expect("a number"))
}

#[test]
fn many_keys_go_in_at_once_and_never_come_out() {
    let served = Served::start();
    // More than one chunk.
    let town = 4_100;
    let row = |n: usize| format!("usp/{n},main,{KEY}\n");
    let text = format!("device,slot,key\nusp/*,0,{KEY}\n{}", (1..town).map(row).collect::<String>());
    assert_eq!(counts(&import(&served, &text, &["--dry-run"])), [town as u64, 0, 0]);
    assert_eq!(served.by(Role::Admin, "GET", "keys", None).1["items"], json!([]), "it was only tried");
    assert_eq!(counts(&import(&served, &text, &[])), [town as u64, 0, 0]);
    let vault = &served.station().services().vault;
    let key = |address: &str, slot: &str| {
        polymeter::adapter::KeyStore::key(&**vault, &crate::served::device(address), slot).map(hex::encode)
    };
    assert_eq!((key("4099", "main").as_deref(), key("7", "0").as_deref()), (Some(KEY), Some(KEY)));
    let last = || served.by(Role::Admin, "GET", "journal", None).1["last_seq"].clone();
    let before = last();
    assert_eq!(counts(&import(&served, &text, &[])), [0, 0, town as u64], "what was interrupted is run again");
    assert_eq!(last(), before, "nothing new, nothing written");
    let other =
        text.replace(&format!("usp/9,main,{KEY}"), &format!("usp/9,main,{}", KEY.replace("00112233", "33221100")));
    assert_eq!(counts(&import(&served, &other, &[])), [0, 1, town as u64 - 1]);
    assert!(key("9", "main").is_some_and(|key| key.starts_with("33221100")));
    let (_, entries) = served.by(Role::Admin, "GET", "journal/entries?limit=1000", None);
    let set = entries["items"].as_array().expect("rows").iter().filter(|entry| entry["fact"] == "key-set");
    assert!(set.clone().count() > 900 && !entries.to_string().contains(KEY), "each is in the journal, sealed");
}

/// The views may still show the key before the last.
#[test]
fn a_key_set_a_moment_ago_is_weighed() {
    let served = Served::start();
    let headers =
        [("authorization", Some(format!("Bearer {}", token(Role::Admin)))), ("content-type", Some("text/csv".into()))];
    let place = KeySlot::new(crate::served::device("1"), "main".into()).expect("a slot");
    let import = |key: &str| {
        let text = format!("device,slot,key\nusp/1,main,{key}\n").into_bytes();
        let (status, answer) = served.raw("POST", "keys/import", &headers, text);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).expect("an object")
    };
    import(KEY);
    for round in 1..=30 {
        let sealed = served.station().services().vault.seal(&place, &[round; 16]).expect("sealed");
        let (device, slot) = (place.device.to_string(), place.slot.clone());
        served.write(vec![Fact::KeySet { device, slot, sealed: Some(sealed), by: "test".into() }]);
        assert_eq!(import(KEY)["changed"], 1, "round {round}");
    }
}

#[test]
fn a_key_set_a_moment_ago_may_be_forgotten() {
    let served = Served::start();
    let place = KeySlot::new(crate::served::device("1"), "main".into()).expect("a slot");
    let sealed = served.station().services().vault.seal(&place, &[1; 16]).expect("sealed");
    let KeySlot { device, slot } = place;
    let key = Fact::KeySet { device: device.to_string(), slot, sealed: Some(sealed), by: "test".into() };
    // Enough before it that the views take a moment.
    let frames = (1..=3_000).map(|n: u32| frame(&n.to_string(), vec![registration()], false));
    served.write(frames.chain([key]).collect());
    assert_eq!(served.by(Role::Admin, "DELETE", "keys/usp/1/main", None).0, 204);
}

/// A pipe gives only once what is walked through three times.
#[test]
fn keys_come_through_a_pipe() {
    let served = Served::start();
    for (name, expected) in [("-", [1, 0, 0]), ("/dev/stdin", [0, 0, 1])] {
        let (from, mut to) = std::io::pipe().expect("a pipe");
        to.write_all(format!("device,slot,key\nusp/1,main,{KEY}\n").as_bytes()).expect("room for it");
        drop(to);
        let mut command = command(Path::new(name), &[]);
        command.stdin(from);
        assert_eq!(counts(&run(&served, command)), expected, "{name}");
    }
}

#[test]
fn a_file_of_keys_is_checked_as_a_whole() {
    let served = Served::start();
    let text = format!("device,slot,key\nusp/1,main,{KEY}\nusp/2,main,{KEY}00\nusp/1,main,{KEY}\n{KEY},main,1\n");
    let output = import(&served, &text, &["--errors", "3"]);
    assert!(!output.status.success());
    let places: Vec<(u64, String)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("an object"))
        .map(|flaw| (flaw["line"].as_u64().expect("a line"), flaw["column"].as_str().expect("a column").into()))
        .collect();
    assert_eq!(places, [(3, "key".into()), (5, "device".into()), (5, "key".into())]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("4 errors, 1 of them not shown"));
    assert!(!import(&served, &format!("{KEY},usp/1,main\n"), &[]).status.success());
    assert_eq!(served.by(Role::Admin, "GET", "keys", None).1["items"], json!([]), "nothing was written");
    // Whoever asks the station itself is told the same.
    let headers =
        [("authorization", Some(format!("Bearer {}", token(Role::Admin)))), ("content-type", Some("text/csv".into()))];
    let (status, answer) = served.raw("POST", "/api/v1/keys/import", &headers, text.into_bytes());
    assert_eq!(status, 422, "{answer}");
    assert!(answer.contains("stands in line 2 already") && !answer.contains(&KEY[..8]), "{answer}");
    assert_eq!(served.by(Role::Admin, "GET", "keys", None).1["items"], json!([]));
    let operator = served.by(Role::Operator, "POST", "keys/import", None);
    assert_eq!(code(&operator), (403, "not-allowed"));
}
