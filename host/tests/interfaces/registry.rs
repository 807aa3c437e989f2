//! The device registry through the API and the command line.

use crate::served::{Served, code, frame, fresh_dir, registration, token};
use polymeter::journal::Role;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

const HEADER: &str = "device,kind,manufacturer,model,adapter,profile,parent,protocol,channel,district,customer,key_slot,line_address,baud,line_format\n";

fn chunk(served: &Served, role: Role, how: &str, kind: &str, body: &str) -> (u16, Value) {
    let headers = [("authorization", Some(format!("Bearer {}", token(role)))), ("content-type", Some(kind.to_owned()))];
    let path = format!("registry/import{how}");
    let (status, text) = served.raw("POST", &path, &headers, body.as_bytes().to_vec());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn csv(served: &Served, body: &str) -> (u16, Value) {
    chunk(served, Role::Admin, "", "text/csv", body)
}

fn run(served: &Served, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polymeter"));
    command.arg("registry").args(args);
    command.env("POLYMETER_URL", &served.url).env("POLYMETER_TOKEN", token(Role::Admin)).output().expect("runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn summary(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("one object")
}

fn import(served: &Served, file: &Path, more: &[&str]) -> Output {
    run(served, &[&["import", file.to_str().expect("text"), "--json"], more].concat())
}

#[test]
fn one_record_is_set_shown_changed_and_withdrawn() {
    let served = Served::start();
    let path = "registry/usp/50001234567810";
    assert_eq!(code(&served.get(path)), (404, "not-found"));
    let record = json!({"kind": "meter", "district": "西城区", "customer": "K-1"});
    assert_eq!(code(&served.by(Role::Viewer, "PUT", path, Some(record.clone()))), (403, "not-allowed"));
    let (status, set) = served.by(Role::Operator, "PUT", path, Some(record));
    assert_eq!((status, &set["district"], &set["by"]), (200, &json!("西城区"), &json!("operator")), "{set}");
    assert_eq!(served.get(path).1, set);
    let twice = run(&served, &["set", "usp/50001234567810", "district=A", "kind=meter", "district=B"]);
    assert!(!twice.status.success() && stderr(&twice).contains("`district` is named twice"), "{}", stderr(&twice));
    assert_eq!(served.get(path).1, set);
    for (record, says) in [
        (json!({"kind": "pump"}), "kind"),
        (json!({"kind": "meter", "adapter": "nothing"}), "adapter: no adapter `nothing` serves here"),
        (json!({"kind": "meter", "parent": "usp/7"}), "parent: no record of usp/7"),
        (json!({"kind": "meter", "colour": "red"}), "colour"),
    ] {
        let answer = served.by(Role::Operator, "PUT", path, Some(record));
        assert_eq!(code(&answer), (422, "not-possible"));
        assert!(answer.1["error"]["message"].as_str().expect("words").contains(says), "{}", answer.1);
    }
    assert_eq!(served.by(Role::Operator, "DELETE", path, None).0, 204);
    assert_eq!(code(&served.by(Role::Operator, "DELETE", path, None)), (404, "not-found"));
    let facts: Vec<Value> = served.get("journal/entries?limit=1000").1["items"].as_array().expect("rows").clone();
    let summaries: Vec<_> = facts.iter().filter(|e| e["fact"] == "registry").map(|e| e["summary"].clone()).collect();
    assert_eq!(summaries, ["1 set, 0 withdrawn, by operator", "0 set, 1 withdrawn, by operator"]);
}

#[test]
fn a_chunk_is_written_as_a_whole_or_not_at_all() {
    let served = Served::start();
    let good = "device,kind,parent,district\nusp/1,meter,usp/9,West\nusp/9,dtu,,East\n";
    assert_eq!(code(&chunk(&served, Role::Operator, "", "text/csv", good)), (403, "not-allowed"));
    let (status, answer) = chunk(&served, Role::Admin, "?dry_run=true", "text/csv", good);
    assert_eq!((status, &answer["added"], &answer["written"]), (200, &json!(2), &json!(false)));
    assert_eq!(served.get("registry").1["items"], json!([]));
    let slip = chunk(&served, Role::Admin, "?dryrun=true", "text/csv", good);
    assert_eq!(code(&slip), (400, "bad-request"));
    assert!(slip.1.to_string().contains("`dry_run`"), "{slip:?}");
    assert_eq!(served.get("registry").1["items"], json!([]), "nothing is written that was to be tried only");
    let (status, answer) = csv(&served, good);
    assert_eq!((status, &answer["added"], &answer["written"]), (200, &json!(2), &json!(true)), "{answer}");
    let bad = "device,kind,parent,district\nusp/2,meter,,West\nusp/3,meter,usp/7,\nusp/4,pump,,\n";
    let (status, answer) = csv(&served, bad);
    assert_eq!((status, &answer["error"]["code"], &answer["written"]), (422, &json!("bad-rows"), &json!(false)));
    let flaws: Vec<_> = answer["flaws"].as_array().expect("flaws").iter().map(|f| (&f["line"], &f["column"])).collect();
    assert_eq!(flaws, [(&json!(3), &json!("parent")), (&json!(4), &json!("kind"))]);
    let rows = "{\"device\":\"usp/1\",\"kind\":\"meter\",\"district\":\"East\"}\n";
    let (status, answer) = chunk(&served, Role::Admin, "", "application/x-ndjson", rows);
    assert_eq!((status, &answer["changed"]), (200, &json!(1)), "{answer}");
    for (query, expected) in [
        ("", &["usp/1", "usp/9"][..]),
        ("?district=East", &["usp/1", "usp/9"]),
        ("?district=West", &[]),
        ("?kind=dtu", &["usp/9"]),
        ("?parent=usp/9", &["usp/1"]),
        ("?prefix=usp/1", &["usp/1"]),
        ("?limit=1&after=usp/1", &["usp/9"]),
    ] {
        let (status, page) = served.get(&format!("registry{query}"));
        assert_eq!(status, 200, "{page}");
        let found: Vec<_> = page["items"].as_array().expect("rows").iter().map(|r| r["device"].clone()).collect();
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(code(&chunk(&served, Role::Admin, "", "text/plain", good)), (400, "bad-request"));
    assert_eq!(code(&csv(&served, "device\nusp/1\n")), (400, "bad-request"));
    let long = format!("{HEADER}{}", "x".repeat(polymeter::limits::CHUNK_BYTES_MAX));
    // One more than a chunk may have, and more than any request.
    for text in [long, "x".repeat(polymeter::limits::REQUEST_BYTES_MAX + 1)] {
        let refused = csv(&served, &text);
        assert_eq!(code(&refused), (413, "too-large"));
        let most = format!("more than the {} bytes", polymeter::limits::CHUNK_BYTES_MAX);
        assert!(refused.1.to_string().contains(&most), "{refused:?}");
    }
}

/// What a file does not name stays; what it leaves empty goes. A record that is set as a whole has nothing else.
#[test]
fn a_file_with_fewer_columns_changes_those_alone() {
    let served = Served::start();
    let rows = "device,kind,parent,protocol,channel,district\nusp/1,meter,usp/9,mbus,3,West\nusp/9,dtu,,,,East\n";
    assert_eq!(csv(&served, rows).0, 200);
    let dir = fresh_dir();
    let file = dir.join("customers.csv");
    let record = || served.get("registry/usp/1").1;
    let said = |names: &[&str]| names.iter().map(|name| record()[name].clone()).collect::<Vec<_>>();
    let names = ["parent", "protocol", "channel", "district", "customer"];
    for (text, expected) in [
        ("device,kind,customer\nusp/1,meter,K-1\n", json!(["usp/9", "mbus", 3, "West", "K-1"])),
        // It hangs on the parent that the record has.
        ("device,kind,channel\nusp/1,meter,4\n", json!(["usp/9", "mbus", 4, "West", "K-1"])),
        ("device,kind,district\nusp/1,meter,\n", json!(["usp/9", "mbus", 4, null, "K-1"])),
        ("device,kind,parent\nusp/1,meter,\n", json!([null, null, null, null, "K-1"])),
    ] {
        std::fs::write(&file, text).expect("written");
        let answer = summary(&import(&served, &file, &[]));
        assert_eq!((&answer["changed"], &answer["added"]), (&json!(1), &json!(0)), "{text}");
        assert_eq!(json!(said(&names)), expected, "{text}");
        assert_eq!(summary(&import(&served, &file, &[]))["unchanged"], json!(1), "{text}");
    }
    // Without a parent a channel means nothing: found before anything is written.
    std::fs::write(&file, "device,kind,channel\nusp/2,meter,\nusp/1,meter,4\n").expect("written");
    let refused = stderr(&import_in_words(&served, &file));
    assert!(refused.contains("line 3, channel") && refused.contains("nothing was written"), "{refused}");
    let set = json!({"kind": "meter", "district": "East"});
    assert_eq!(served.by(Role::Operator, "PUT", "registry/usp/1", Some(set)).0, 200);
    assert_eq!(json!(said(&names)), json!([null, null, null, "East", null]));
    let alone = json!({"kind": "meter", "channel": 4});
    assert_eq!(code(&served.by(Role::Operator, "PUT", "registry/usp/1", Some(alone))), (422, "not-possible"));
    let _ = std::fs::remove_dir_all(&dir);
}

/// Meters before the concentrators that they stand behind, and these before their DTU; more than one chunk.
fn a_town() -> String {
    let mut text = format!("\u{feff}{}", HEADER.replace('\n', "\r\n"));
    for n in 0..6_000 {
        let _ = write!(
            text,
            "usp/5{n:04},meter,,\"G4, big\",,,usp/6{:02},mbus,{},西城区,K-{n},main,,2400,8E1\r\n",
            n % 20,
            n % 7
        );
    }
    for n in 0..20 {
        let _ = write!(text, "usp/6{n:02},concentrator,,,,,usp/7,,,西城区,,,,,\r\n");
    }
    text + "usp/7,dtu,,,,,,,,,,,,,\r\n"
}

#[test]
fn a_file_goes_in_and_comes_out_the_same() {
    let served = Served::start();
    let dir = fresh_dir();
    let file = dir.join("town.csv");
    std::fs::write(&file, a_town()).expect("written");
    let tried = summary(&import(&served, &file, &["--dry-run"]));
    assert_eq!((&tried["rows"], &tried["added"]), (&json!(6_021), &json!(6_021)));
    assert_eq!(served.get("registry").1["items"], json!([]));
    let written = summary(&import(&served, &file, &[]));
    assert_eq!((&written["rows"], &written["added"]), (&json!(6_021), &json!(6_021)));
    let again = summary(&import(&served, &file, &["--resume"]));
    assert_eq!((&again["unchanged"], &again["done_before"]), (&json!(6_021), &json!(0)));
    let out = dir.join("out.csv");
    assert!(run(&served, &["export", "-o", out.to_str().expect("text")]).status.success());
    let exported = std::fs::read_to_string(&out).expect("read");
    let mut expected: Vec<String> = a_town().lines().skip(1).map(|line| format!("{line}\n")).collect();
    expected.sort_unstable();
    assert!(exported == format!("{HEADER}{}", expected.concat()), "the export is the file, sorted and normalised");
    let back = summary(&import(&served, &out, &[]));
    assert_eq!(back["unchanged"], json!(6_021));
    let names: Vec<_> = std::fs::read_dir(&dir).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left beside them: {names:?}");
    let _ = std::fs::remove_dir_all(&dir);
}

/// Each row: a file, and what the command line says of it.
#[test]
fn errors_of_a_file_name_line_column_and_remedy() {
    let served = Served::start();
    assert_eq!(csv(&served, "device,kind\nusp/9,dtu\nusp/8,meter\n").0, 200);
    let dir = fresh_dir();
    let file = dir.join("bad.csv");
    let many = format!("device,kind\n{}", "x,meter\n".repeat(50));
    let deep: String = (1..=10).map(|n| format!("c/{n},dtu,c/{}\n", n - 1)).collect();
    for (text, says) in [
        (
            "device,kind\nusp/1,pump\n",
            &["line 2, kind: `pump` is none of", "1 errors; nothing was written", "were not looked for yet"][..],
        ),
        ("device,kind\nusp/1,meter\nusp/2,meter\nusp/1,meter\n", &["line 4, device: stands in line 2 already"]),
        (
            "device,kind,parent\nusp/1,meter,usp/9\nusp/2,meter,usp/3\n",
            &["line 3, parent: no record of usp/3", "nothing was written"],
        ),
        ("device,kind,parent\nusp/1,meter,usp/8\n", &["line 2, parent: usp/8 is a meter"]),
        ("device,kind,parent\na/1,dtu,a/2\na/2,dtu,a/1\n", &["line 2, parent: a/1 would stand behind itself"]),
        (&format!("device,kind,parent\nc/0,dtu,\n{deep}"), &["line 6, parent: more than 3", "line 7, parent"]),
        (
            "device,kind,parent\nc/4,meter,c/3\nc/0,dtu,\nc/1,dtu,c/0\nc/2,dtu,c/1\nc/3,dtu,c/2\n",
            &["line 2, parent: more than 3", "1 errors; nothing was written"],
        ),
        (
            "device,kind,parent,protocol,channel,line_address\nusp/9,dtu,,,,\nusp/1,meter,usp/9,mbus,1,2\nusp/2,meter,usp/9,mbus,1,\n",
            &["line 4, line_address: the parent calls it as it calls the device of line 3", "1 errors; nothing was"],
        ),
        ("device,kind,adapter\nusp/1,meter,acme\n", &["line 2, adapter: no adapter `acme` serves here"]),
        (
            "device,kind,parent,protocol\nusp/1,meter,usp/9,nosuchproto\n",
            &["line 2, protocol: `nosuchproto` is no protocol; write one of cjt188-be, cjt188-le"],
        ),
        ("device,kind,district\nusp/1,meter,West, upper\n", &["line 2: 4 fields, but the header has 3"]),
        (&many, &["line 2, device", "50 errors, 30 of them not shown (see --errors)"]),
    ] {
        std::fs::write(&file, text).expect("written");
        let output = import_in_words(&served, &file);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for says in says {
            assert!(stderr(&output).contains(says), "wanted {says:?}, got {}", stderr(&output));
        }
    }
    let gbk = [b"device,kind,district\nusp/1,meter,".as_slice(), &[0xce, 0xf7, 0xb3, 0xc7], b"\n"].concat();
    std::fs::write(&file, gbk).expect("written");
    let refused = stderr(&import_in_words(&served, &file));
    assert!(refused.contains("line 2: district: the text is GBK") && refused.contains("iconv"), "{refused}");
    assert_eq!(served.get("registry").1["items"].as_array().map(Vec::len), Some(2), "nothing of them is in");
    let _ = std::fs::remove_dir_all(&dir);
}

fn import_in_words(served: &Served, file: &Path) -> Output {
    run(served, &["import", file.to_str().expect("text")])
}

#[test]
fn single_records_through_the_command_line() {
    let served = Served::start();
    let done = |args: &[&str]| {
        let output = run(&served, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    done(&["set", "usp/9", "kind=concentrator"]);
    done(&["set", "usp/1", "kind=meter", "parent=usp/9", "channel=4", "district=West"]);
    done(&["set", "usp/1", "channel=", "district=西城区"]);
    let shown = done(&["show", "usp/1"]);
    assert!(shown.contains("西城区") && shown.contains("usp/9") && !shown.contains("channel"), "{shown}");
    let listed = done(&["list", "--parent", "usp/9", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).expect("one row")["device"], "usp/1");
    let refused = run(&served, &["remove", "usp/9"]);
    assert!(stderr(&refused).contains("usp/1 and perhaps others stand behind usp/9"), "{}", stderr(&refused));
    done(&["remove", "usp/1"]);
    done(&["remove", "usp/9"]);
    assert_eq!(done(&["list", "--json"]), "");
}

#[test]
fn only_what_may_have_an_archive_is_asked_for_it() {
    let served = Served::start();
    served.tell(frame("1", vec![registration()], false));
    for (address, kind) in [("2", "meter"), ("9", "concentrator")] {
        let set = served.by(Role::Operator, "PUT", &format!("registry/usp/{address}"), Some(json!({"kind": kind})));
        assert_eq!(set.0, 200, "{set:?}");
    }
    for (device, says) in [("usp/1", "the device itself"), ("usp/2", "its record in the registry")] {
        let refused = served.by(Role::Operator, "POST", &format!("archives/{device}"), None);
        assert_eq!(code(&refused), (422, "not-possible"), "{refused:?}");
        assert!(refused.1.to_string().contains(says), "{refused:?}");
    }
    assert_eq!(served.get("commands").1["items"], json!([]), "nothing waits for a meter");
    assert_eq!(code(&served.by(Role::Operator, "POST", "archives/usp/3", None)), (404, "unknown-device"));
    assert_eq!(served.by(Role::Operator, "POST", "archives/usp/9", None).0, 202);
}
