//! The command line against a running station, and on the files of a stopped one.

use crate::served::{Served, daily, device, frame, fresh_dir, registration, token, write_configuration};
use polymeter::config::Config;
use polymeter::journal::{Entry, Fact, Role};
use polymeter::station::Station;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn polymeter(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polymeter"));
    command.args(args).env_remove("POLYMETER_URL").env_remove("POLYMETER_TOKEN");
    command
}

fn run(served: &Served, role: Role, args: &[&str]) -> Output {
    let mut command = polymeter(args);
    command.env("POLYMETER_URL", &served.url).env("POLYMETER_TOKEN", token(role));
    command.output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn fleet() -> Served {
    let served = Served::start();
    for number in 1..=3 {
        let messages = vec![registration(), daily("2024-03-01T00:10:00", 123_450 + number, &[])];
        served.tell(frame(&format!("10{number}"), messages, false));
    }
    served
}

#[test]
fn listings_are_tables_for_people_and_lines_of_json_for_scripts() {
    let served = fleet();
    let table = text(&run(&served, Role::Viewer, &["meter", "list"]).stdout);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(rows[0], ["DEVICE", "KIND", "MODEL"], "{table}");
    assert_eq!(rows[1], ["usp/101", "meter", "G4"]);
    assert_eq!(rows.len(), 4);
    let devices = lines(&run(&served, Role::Viewer, &["meter", "list", "--json"]));
    assert_eq!(
        devices.iter().filter_map(|d| d["device"].as_str()).collect::<Vec<_>>(),
        ["usp/101", "usp/102", "usp/103"]
    );
    let limited = run(&served, Role::Viewer, &["meter", "list", "--limit", "2"]);
    assert_eq!(text(&limited.stdout).lines().count(), 3);
    assert!(text(&limited.stderr).contains("--limit"));
    let readings = lines(&run(&served, Role::Viewer, &["meter", "readings", "usp/102", "--json"]));
    assert_eq!(readings[0]["value"], "1234.52");
    let shown = text(&run(&served, Role::Viewer, &["meter", "show", "usp/102"]).stdout);
    assert!(shown.contains("1234.52") && shown.contains("Acme"), "{shown}");
    for args in [
        &["meter", "series", "usp/101"][..],
        &["meter", "frames", "usp/101"],
        &["meter", "events", "usp/101"],
        &["quarantine", "list"],
        &["adapter", "list"],
        &["command", "list"],
        &["command", "list", "--limit", "0"],
        &["poll", "list"],
        &["profile", "list"],
        &["status"],
        &["journal", "tail"],
    ] {
        let output = run(&served, Role::Viewer, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        for line in lines(&run(&served, Role::Viewer, &[args, &["--json"]].concat())) {
            assert!(line.is_object(), "{args:?}: {line}");
        }
    }
}

#[test]
fn commands_are_sent_in_words_followed_and_taken_back() {
    let served = fleet();
    let words = ["command", "send", "usp/101", "valve", "close-forced", "--reason", "balance-exhausted", "--json"];
    let sent = lines(&run(&served, Role::Operator, &words));
    let id = sent[0]["id"].to_string();
    let shown = lines(&run(&served, Role::Viewer, &["command", "show", &id, "--json"]));
    assert_eq!(shown[0]["command"]["valve"]["reason"], "balance-exhausted");
    assert!(run(&served, Role::Operator, &["command", "cancel", &id]).status.success());
    let waited = run(&served, Role::Operator, &["command", "send", "usp/101", "read", "--wait", "0"]);
    assert_eq!(waited.status.code(), Some(1));
    assert!(text(&waited.stderr).contains("is accepted\n"), "{}", text(&waited.stderr));
    assert!(text(&waited.stderr).contains("still waits"), "{}", text(&waited.stderr));
    let json = run(&served, Role::Operator, &["command", "send", "usp/102", r#"{"set-clock":{}}"#]);
    assert!(json.status.success(), "{}", text(&json.stderr));
    let listed = lines(&run(&served, Role::Viewer, &["command", "list", "--open", "--json"]));
    assert_eq!(listed.iter().map(|c| &c["name"]).collect::<Vec<_>>(), [&json!("set-clock"), &json!("read")]);
}

#[test]
fn a_status_of_a_failing_station_is_a_failure() {
    let served = fleet();
    let services = served.station().services();
    let fact = Fact::DeviceAdopted { device: device("101"), by: "test".into() };
    // The machine's clock is behind the journal then.
    services.journal.append_blocking(Entry { at_ms: services.clock.now_ms() + 3 * 86_400_000, fact }).expect("appends");
    let status = run(&served, Role::Viewer, &["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stdout).contains("failing") && text(&status.stderr).contains("is failing"));
}

/// What `command send` says of a station that gives this answer to its first request, and is gone.
fn sent_to_one_that_goes(answer: &str) -> String {
    let door = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", door.local_addr().expect("an address"));
    let words = ["command", "send", "usp/1", "read", "--wait", "5", "--token", "x", "--url", &url];
    let sending = polymeter(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
    let (mut stream, _) = door.accept().expect("a request");
    drop(door);
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    // Whatever is left unread would turn the end of the connection into a reset.
    while !heard.ends_with(b"}") {
        let count = stream.read(&mut chunk).expect("read");
        assert!(count > 0, "a whole request comes");
        heard.extend_from_slice(&chunk[..count]);
    }
    stream.write_all(answer.as_bytes()).expect("written");
    drop(stream);
    let output = sending.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1));
    text(&output.stderr)
}

#[test]
fn an_order_whose_station_is_lost_is_not_called_refused() {
    let accepted = "HTTP/1.1 201 Created\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"id\":7}";
    let said = sent_to_one_that_goes(accepted);
    assert!(said.contains("command 7 is accepted\n"), "{said}");
    assert!(said.contains("command 7 was accepted") && said.contains("command show 7"), "{said}");
    let said = sent_to_one_that_goes("");
    assert!(said.contains("not known whether") && said.contains("command list --device usp/1"), "{said}");
}

#[test]
fn an_alarm_that_may_be_a_slip_of_the_pen_is_remarked() {
    let served = fleet();
    for (code, remarked) in [("gas-leek", true), ("gas-leak", false), ("vendor-9", false)] {
        let output = run(&served, Role::Viewer, &["meter", "list", "--alarm", code]);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains("There are none."), "{said}");
        assert_eq!(said.contains("wit/codes.md"), remarked, "{said}");
    }
}

#[test]
fn failures_say_what_to_do() {
    let served = fleet();
    for (role, args, says) in [
        (Role::Viewer, &["command", "send", "usp/101", "read"][..], "needs operator"),
        (Role::Operator, &["command", "send", "usp/9", "read"], "meter list"),
        (Role::Operator, &["command", "send", "usp/101", "fly"], "--help"),
        (Role::Viewer, &["meter", "show", "101"], "realm/address"),
        (Role::Viewer, &["registry", "export", "--json"], "registry list --limit 0 --json"),
        (Role::Admin, &["adapter", "install", "/nowhere/a.wasm"], "cannot read /nowhere/a.wasm"),
        (Role::Viewer, &["profile", "history", "ro"], "[profile.ro] stands in the station's configuration"),
        (Role::Viewer, &["profile", "history", "zz"], "there is no profile `zz` here"),
        (Role::Viewer, &["adapter", "record", "--listener", "zzz"], "there are nb"),
        (Role::Viewer, &["adapter", "record", "--listener", "zzz", "--from", "1", "--seconds", "0"], "there are nb"),
        (Role::Viewer, &["adapter", "record", "--device", "bogus"], "realm/address"),
        (Role::Viewer, &["adapter", "record", "--device", "usp/9"], "meter list"),
    ] {
        let output = run(&served, role, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains(says), "{args:?}: {}", text(&output.stderr));
    }
    let usage = polymeter(&["meter", "fly"]).output().expect("runs");
    assert_eq!(usage.status.code(), Some(2));
    let stranger = polymeter(&["status", "--url", &served.url]).output().expect("runs");
    assert!(text(&stranger.stderr).contains("polymeter token create"), "{}", text(&stranger.stderr));
    let nobody = polymeter(&["status", "--url", "http://127.0.0.1:1"]).output().expect("runs");
    assert!(text(&nobody.stderr).contains("is the station running"), "{}", text(&nobody.stderr));
}

#[test]
fn a_key_that_is_refused_is_not_repeated() {
    let secret = format!("ed25519-secret:{}", "0b".repeat(32));
    let short = "1=deadbeefdeadbeef";
    for (args, says) in [
        (&["adapter", "verify", "a.wasm", "--trust", &secret][..], "this is a secret key"),
        (&["adapter", "decode", "a.wasm", "--key", short], "16 bytes"),
        (&["adapter", "test", "a.wasm", "--against", "frames", "--key", short], "16 bytes"),
    ] {
        let output = polymeter(args).output().expect("runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(!said.contains("0b0b") && !said.contains("deadbeef"), "{said}");
    }
}

#[test]
fn a_directory_is_named_where_a_file_is_wanted() {
    let dir = fresh_dir();
    let place = dir.join("d.wasm");
    std::fs::create_dir(&place).expect("a directory");
    let place = place.to_str().expect("text");
    for args in [
        &["adapter", "check", place][..],
        &["adapter", "install", place],
        &["adapter", "sign", "a.wasm", "--key", place],
        &["adapter", "replay", place, "--to", "127.0.0.1:1"],
    ] {
        let output = polymeter(args).output().expect("runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(&format!("{place} is a directory")), "{args:?}: {said}");
    }
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    let dir = fresh_dir();
    let key = dir.join("a.key");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let mut keygen = polymeter(&["adapter", "keygen", "-o", key.to_str().expect("text")]);
    let output = keygen.stdout(full).output().expect("runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("polymeter: "), "{}", text(&output.stderr));
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn tokens_and_keys_through_the_command_line() {
    let served = fleet();
    let made = run(&served, Role::Admin, &["token", "create", "dashboard"]);
    let secret = text(&made.stdout).trim().to_owned();
    assert!(secret.starts_with("pmt_"), "{}", text(&made.stderr));
    let mut status = polymeter(&["status", "--json"]);
    let status = status.env("POLYMETER_URL", &served.url).env("POLYMETER_TOKEN", &secret).output().expect("runs");
    assert!(status.status.success());
    assert!(run(&served, Role::Admin, &["token", "revoke", "dashboard"]).status.success());
    let key = ["key", "set", "usp/101", "main", "--hex", "00112233445566778899aabbccddeeff"];
    assert!(run(&served, Role::Admin, &key).status.success());
    let listed = lines(&run(&served, Role::Admin, &["key", "list", "--json"]));
    assert_eq!((&listed[0]["device"], &listed[0]["slot"]), (&json!("usp/101"), &json!("main")));
    assert!(run(&served, Role::Admin, &["key", "remove", "usp/101", "main"]).status.success());
}

#[test]
fn the_first_token_is_made_before_the_first_start_and_files_can_be_checked() {
    let dir = fresh_dir();
    let config = write_configuration(&dir);
    let config = config.to_str().expect("text");
    let made = polymeter(&["token", "create", "root", "--role", "admin", "--config", config]).output().expect("runs");
    assert!(text(&made.stdout).starts_with("pmt_"), "{}", text(&made.stderr));
    let rebuilt = polymeter(&["views", "rebuild", "--config", config]).output().expect("runs");
    assert_eq!(text(&rebuilt.stdout), "1 entries folded\n", "{}", text(&rebuilt.stderr));
    let data = dir.join("data");
    let verified =
        polymeter(&["journal", "verify", "--json", "--data", data.to_str().expect("text")]).output().expect("runs");
    let report = &lines(&verified)[0];
    assert_eq!((&report["sound"], &report["entries"]), (&json!(true), &json!(1)), "{report}");
    let none = polymeter(&["journal", "verify", "--data", dir.to_str().expect("text")]).output().expect("runs");
    assert!(text(&none.stderr).contains("no journal here"), "{}", text(&none.stderr));
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_first_token_needs_nothing_but_the_directory() {
    let dir = fresh_dir();
    let data = dir.join("data");
    let made = polymeter(&["token", "create", "root", "--role", "admin", "--data", data.to_str().expect("text")]);
    let made = { made }.output().expect("runs");
    let secret = text(&made.stdout).trim().to_owned();
    assert!(secret.starts_with("pmt_"), "{}", text(&made.stderr));
    let key = "00112233445566778899aabbccddeeff";
    let set = ["key", "set", "usp/1", "main", "--hex", key, "--data", data.to_str().expect("text")];
    let first = polymeter(&set).output().expect("runs");
    assert!(first.status.success() && text(&first.stderr).contains("made a new master key"), "{}", text(&first.stderr));
    let again = polymeter(&set).output().expect("runs");
    assert!(again.status.success() && again.stderr.is_empty(), "{}", text(&again.stderr));
    let served = Served::in_dir(dir, "loopback");
    let opened = polymeter::adapter::KeyStore::key(&*served.station().services().vault, &device("1"), "main");
    assert_eq!(opened.map(hex::encode).as_deref(), Some(key));
    let (status, shown) = served.ask("GET", "journal", Some(&secret), None);
    assert_eq!((status, &shown["station"]), (200, &json!("north")), "the station has given its journal its name");
}

/// One directory's files in another.
fn copy_files(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).expect("makes it");
    for file in std::fs::read_dir(from).expect("lists") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copies");
    }
}

#[test]
fn a_journal_that_has_lost_files_is_not_gone_on_with() {
    let dir = fresh_dir();
    let file = write_configuration(&dir);
    let config = file.to_str().expect("text");
    let ask = |args: &[&str]| polymeter(args).args(["--config", config]).output().expect("runs");
    let done = |args: &[&str]| {
        let output = ask(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let refused = |args: &[&str], with: &str| {
        let output = ask(args);
        let why = text(&output.stderr);
        assert!(output.status.code() == Some(1) && why.contains(with), "{args:?}: {why}");
    };
    let key = ["key", "set", "usp/1", "main", "--hex", "00112233445566778899aabbccddeeff"];
    let (journal, older, away) = (dir.join("data/journal"), dir.join("older"), dir.join("away"));
    done(&["token", "create", "first"]);
    copy_files(&journal, &older);
    done(&["token", "create", "second"]);
    assert_eq!(done(&["views", "rebuild"]), "2 entries folded\n");

    std::fs::rename(&journal, &away).expect("moves");
    for args in [&["token", "create", "third"][..], &key, &["views", "rebuild"], &["journal", "verify"]] {
        refused(args, "the journal's files are missing");
    }
    let started = tokio::runtime::Runtime::new().expect("threads").block_on(async {
        let config = Config::read(&file).expect("a configuration");
        Station::start(config).await.err().map(|e| e.to_string())
    });
    assert!(started.as_ref().is_some_and(|why| why.contains("restore them from a backup")), "{started:?}");
    assert!(!journal.exists() && !dir.join("data/views.redb.ahead").exists(), "nothing is made");

    copy_files(&older, &journal);
    for args in [&["token", "create", "third"][..], &key, &["views", "rebuild"]] {
        refused(args, "ends with entry 1, and the views have seen 2");
    }
    refused(&["journal", "verify"], "these entries are missing");
    assert_eq!(done(&["views", "rebuild", "--lost-for-good"]), "1 entries folded\n");
    assert!(dir.join("data/views.redb.ahead").exists(), "what knows of the lost entries is kept");
    done(&["token", "create", "third"]);
    done(&["journal", "verify"]);

    std::fs::remove_dir_all(&journal).expect("removes");
    refused(&["token", "create", "fourth"], "the journal's files are missing");
    assert!(done(&["views", "rebuild", "--lost-for-good"]).contains("the next start begins a new journal"));
    done(&["token", "create", "fourth"]);
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_rebuild_says_that_the_journal_is_not_sound() {
    let dir = fresh_dir();
    let config = write_configuration(&dir);
    let config = config.to_str().expect("text");
    for name in ["changed-later", "second"] {
        let made = polymeter(&["token", "create", name, "--config", config]).output().expect("runs");
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let files = std::fs::read_dir(dir.join("data/journal")).expect("lists").map(|file| file.expect("a file").path());
    let file = files.into_iter().find(|file| file.extension().is_some_and(|e| e == "redb")).expect("a journal");
    let mut bytes = std::fs::read(&file).expect("reads");
    let name = b"changed-later";
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] = b'C';
    }
    std::fs::write(&file, bytes).expect("writes");
    let rebuilt = polymeter(&["views", "rebuild", "--config", config]).output().expect("runs");
    assert_eq!(text(&rebuilt.stdout), "2 entries folded\n", "{}", text(&rebuilt.stderr));
    let why = text(&rebuilt.stderr);
    assert!(rebuilt.status.code() == Some(1) && why.contains("journal that is not sound"), "{why}");
    assert!(why.contains("entries 1 to 1") && why.contains("`polymeter journal verify`"), "{why}");
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_running_stations_files_are_left_alone() {
    let served = fleet();
    let data = served.dir.join("data");
    let output = polymeter(&["journal", "verify", "--data", data.to_str().expect("text")]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("in use by a running station"), "{}", text(&output.stderr));
}
