//! The house rules that a machine can hold: who may use what, what every file says first, how long things may grow.
//!
//! Each test names the rule and the remedy. The numbered invariants are those of `ARCHITECTURE.md`.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// All Rust files below a directory, with their text.
fn sources(dir: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found.sort();
    let named = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file");
        (path.strip_prefix(root()).expect("inside").display().to_string(), text)
    };
    found.into_iter().map(named).collect()
}

fn all_sources() -> Vec<(String, String)> {
    ["host", "sdk", "adapters", "examples", "tests"].into_iter().flat_map(sources).collect()
}

fn refuse(found: &[String], remedy: &str) {
    assert!(found.is_empty(), "{remedy}:\n  {}", found.join("\n  "));
}

/// The text of a file up to its test module.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<_> = all_sources().into_iter().filter(|(_, t)| !t.starts_with("//!")).map(|(p, _)| p).collect();
    refuse(&silent, "open the file with `//!`: what it owns and what it deliberately does not");
}

#[test]
fn files_stay_readable() {
    let long: Vec<_> = all_sources()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("tests/"))
        .map(|(path, text)| (path, without_tests(&text).lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    refuse(&long, "split the file: 600 lines without its tests is the most");
}

/// (invariant, the word, who may say it)
const EDGES: [(&str, &str, &[&str]); 4] = [
    ("2: redb only in journal/ and views/", "redb::", &["host/src/journal/", "host/src/views/", "tests/"]),
    ("2: wasmtime only in adapter/", "wasmtime::", &["host/src/adapter/", "tests/"]),
    (
        "2: sockets only in link/, api/, outlet/ and the doors",
        "tokio::net::",
        &["host/src/link/", "host/src/api/", "host/src/outlet/", "host/src/station/", "examples/", "tests/"],
    ),
    ("7: the clock is asked in one place", "Timestamp::now", &["host/src/clock.rs", "examples/", "tests/"]),
];

#[test]
fn modules_keep_to_their_own() {
    let mut found = Vec::new();
    for (path, text) in all_sources() {
        for (rule, word, homes) in EDGES {
            if without_tests(&text).contains(word) && !homes.iter().any(|home| path.starts_with(home)) {
                found.push(format!("{path} says `{word}` against invariant {rule}"));
            }
        }
    }
    refuse(&found, "move the code behind the module that owns it");
}

/// Layers of the host, lowest first; a module uses only what stands before it.
const LAYERS: [&[&str]; 8] = [
    &["background", "clock", "limits", "model"],
    &["journal"],
    &["adapter", "link", "views"],
    &["lifecycle"],
    &["review"],
    &["command", "config", "keys", "metrics", "records", "session"],
    &["api", "web", "kit", "station"],
    &["cli"],
];

/// Uses that go sideways or up on purpose, each with its reason.
const EXCEPTIONS: [(&str, &str); 1] = [
    // The fold of a command's steps is one function, shared by the desk and the commands view.
    ("views", "command"),
];

#[test]
fn nothing_reaches_up() {
    let layer = |module: &str| LAYERS.iter().position(|l| l.contains(&module));
    let mut found = Vec::new();
    for (path, text) in sources("host/src") {
        let inner = path.trim_start_matches("host/src/");
        let module = inner.split(['/', '.']).next().unwrap_or(inner);
        let Some(own) = layer(module) else { continue };
        for used in without_tests(&text).split("crate::").skip(1) {
            let used = used.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
            let up = layer(used).is_some_and(|other| other > own);
            if up && !EXCEPTIONS.contains(&(module, used)) {
                found.push(format!("{path} uses crate::{used}"));
            }
        }
    }
    refuse(&found, "depend downwards only (layers in tests/tidy)");
}

#[test]
fn adapters_and_sdk_know_no_host() {
    let mut found = Vec::new();
    let adapters = fs::read_dir(root().join("adapters")).expect("adapters").flatten().map(|entry| entry.path());
    for crate_dir in adapters.chain(["sdk", "examples/hello_adapter"].map(|dir| root().join(dir))) {
        let manifest = fs::read_to_string(crate_dir.join("Cargo.toml")).expect("a crate");
        if manifest.lines().any(|line| line.starts_with("polymeter.") || line.starts_with("polymeter ")) {
            found.push(crate_dir.display().to_string());
        }
    }
    refuse(&found, "an adapter depends on wit/ through the SDK only");
}

#[test]
fn waiting_is_bounded() {
    let found: Vec<_> = sources("host/src")
        .into_iter()
        .filter(|(_, text)| text.contains("unbounded_channel") || text.contains("mpsc::channel()"))
        .map(|(path, _)| path)
        .collect();
    refuse(&found, "invariant 8: give the queue a bound from limits.rs");
}

#[test]
fn names_name_the_noun() {
    let found: Vec<_> = all_sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| ["utils", "common", "helpers", "manager"].iter().any(|n| path.contains(&format!("/{n}"))))
        .collect();
    refuse(&found, "name the file after what it owns");
}

#[test]
fn unsafe_stands_in_the_documented_places() {
    let homes = ["host/src/adapter/cache.rs", "sdk/src/bindings.rs", "sdk/src/component.rs", "sdk/src/heap.rs"];
    let found: Vec<_> = all_sources()
        .into_iter()
        .filter(|(path, text)| {
            text.contains("allow(unsafe_code") && !homes.contains(&path.as_str()) && !path.starts_with("tests/")
        })
        .map(|(path, _)| path)
        .collect();
    refuse(
        &found,
        "unsafe is for loading compiled code and for what a guest needs at its edge: the ABI and its heap (ARCHITECTURE.md)",
    );
}

#[test]
fn the_contract_stays_small_and_documented() {
    let mut lines = 0;
    for entry in fs::read_dir(root().join("wit")).expect("wit").flatten() {
        if entry.path().extension().is_some_and(|e| e == "wit") {
            let text = fs::read_to_string(entry.path()).expect("wit file");
            let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
            lines += text.lines().filter(is_said).count();
        }
    }
    assert!(
        lines <= 500,
        "wit/ has {lines} lines beside its comments; a contract that is read is a contract that is kept"
    );
}
