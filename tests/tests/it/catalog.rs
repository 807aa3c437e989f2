//! The adapter directory: files come, change, go and are half-written, while frames are being served.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polymeter::adapter::{Catalog, Change, State};
use polymeter::journal::AdapterStep;
use polymeter_tests::guest::Guest;
use polymeter_tests::keys::NoKeys;
use polymeter_tests::scratch::Scratch;
use std::sync::Arc;

fn open(scratch: &Scratch) -> Catalog {
    Catalog::open(scratch.dir("adapters"), Some(scratch.dir("cache")), Arc::new(NoKeys)).expect("the catalog opens")
}

fn version(name: &'static str, version: &'static str) -> Vec<u8> {
    Guest { version, ..Guest::new(name) }.component()
}

/// What happened, in short.
fn steps(changes: &[Change]) -> Vec<String> {
    let step = |change: &Change| match &change.step {
        AdapterStep::Activated => format!("{} {} activated", change.name, change.version),
        AdapterStep::Replaced { .. } => format!("{} {} replaced", change.name, change.version),
        AdapterStep::Rejected { .. } => format!("{} rejected", change.name),
        AdapterStep::Removed => format!("{} {} removed", change.name, change.version),
    };
    changes.iter().map(step).collect()
}

fn scan(catalog: &Catalog) -> Vec<String> {
    steps(&catalog.scan().expect("the directory can be read"))
}

#[test]
fn a_new_version_serves_at_once_and_leaves_with_its_file() {
    let scratch = Scratch::new();
    let catalog = open(&scratch);
    assert!(scan(&catalog).is_empty());
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    assert_eq!(scan(&catalog), ["a 1.0.0 activated"]);
    let held = catalog.active("a").expect("it serves");
    scratch.write("adapters/a.wasm", &version("a", "1.1.0"));
    assert_eq!(scan(&catalog), ["a 1.0.0 replaced", "a 1.1.0 activated"]);
    assert_eq!(catalog.active("a").expect("it serves").version(), "1.1.0");
    // Whoever still holds the old one may finish with it.
    assert!(held.frame("", &[0x68]).is_ok());
    assert!(scan(&catalog).is_empty());
    scratch.remove("adapters/a.wasm");
    assert_eq!(scan(&catalog), ["a 1.1.0 removed"]);
    assert!(catalog.active("a").is_none());
}

#[test]
fn a_bad_file_takes_nothing_down() {
    let scratch = Scratch::new();
    let catalog = open(&scratch);
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    scan(&catalog);
    scratch.write("adapters/a.wasm", &Guest { contract: "2.0.0", ..Guest::new("a") }.component());
    assert_eq!(scan(&catalog), ["a rejected"]);
    assert_eq!(scan(&catalog), [""; 0]);
    assert_eq!(catalog.active("a").expect("it still serves").version(), "1.0.0");
    let rows = catalog.list();
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Active, State::Rejected]);
    assert!(rows[1].reason.contains("contract 2.0.0"), "{}", rows[1].reason);
    // Repaired in place.
    scratch.write("adapters/a.wasm", &version("a", "1.2.0"));
    assert_eq!(scan(&catalog), ["a 1.0.0 replaced", "a 1.2.0 activated"]);
    assert_eq!(catalog.list().len(), 1);
}

#[test]
fn a_file_that_is_still_being_written_is_no_news() {
    let scratch = Scratch::new();
    let catalog = open(&scratch);
    scan(&catalog);
    let whole = version("a", "1.0.0");
    for part in [whole.len() / 3, whole.len() / 2, whole.len()] {
        let news: &[&str] = if part == whole.len() { &["a 1.0.0 activated"] } else { &[] };
        scratch.write("adapters/a.wasm", &whole[..part]);
        assert_eq!(scan(&catalog), news, "{part} of {}", whole.len());
    }
    // One that stays as it is was not being written.
    scratch.write("adapters/b.wasm", &whole[..whole.len() / 2]);
    assert_eq!(scan(&catalog), [""; 0]);
    assert_eq!(scan(&catalog), ["b rejected"]);
    assert_eq!(scan(&catalog), [""; 0]);
}

#[test]
fn the_highest_version_of_a_name_serves() {
    let scratch = Scratch::new();
    let catalog = open(&scratch);
    scratch.write("adapters/old.wasm", &version("a", "1.9.0"));
    scratch.write("adapters/new.wasm", &version("a", "1.10.0"));
    scratch.write("adapters/.draft.wasm", b"a draft");
    scratch.write("adapters/notes.txt", b"no adapter");
    assert_eq!(scan(&catalog), ["a 1.10.0 activated"]);
    let rows = catalog.list();
    let shown: Vec<_> = rows.iter().map(|row| (row.file.as_str(), row.state, row.reason.as_str())).collect();
    assert_eq!(shown, [("new.wasm", State::Active, ""), ("old.wasm", State::Standby, "version 1.10.0 serves")]);
    scratch.remove("adapters/new.wasm");
    assert_eq!(scan(&catalog), ["a 1.10.0 replaced", "a 1.9.0 activated"]);
}

#[test]
fn what_lies_outside_of_the_directory_is_out_of_reach() {
    let scratch = Scratch::new();
    let catalog = open(&scratch);
    scratch.write("outside.wasm", &version("outside", "1.0.0"));
    std::os::unix::fs::symlink("../outside.wasm", scratch.path("adapters/link.wasm")).expect("a link can be made");
    assert_eq!(scan(&catalog), [""; 0]);
    assert!(catalog.active("outside").is_none());
}

#[test]
fn compiled_code_is_kept_and_never_believed() {
    let scratch = Scratch::new();
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    assert_eq!(scan(&open(&scratch)), ["a 1.0.0 activated"]);
    let code = |name: &String| std::path::Path::new(name).extension().is_some_and(|e| e == "code");
    let kept: Vec<_> = scratch.names("cache").into_iter().filter(code).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let file = format!("cache/{}", kept[0]);
    let genuine = scratch.read(&file);
    // Tampered, cut, emptied, replaced by another's: each is compiled again and written anew.
    let mut tampered = genuine.clone();
    tampered[genuine.len() / 2] ^= 1;
    for forged in [tampered, genuine[..genuine.len() - 1].to_vec(), Vec::new(), vec![0; 100]] {
        scratch.write(&file, &forged);
        let catalog = open(&scratch);
        assert_eq!(scan(&catalog), ["a 1.0.0 activated"]);
        assert!(catalog.active("a").expect("it serves").frame("", &[0x68]).is_ok());
        assert_eq!(scratch.read(&file).len(), genuine.len(), "the cache was mended");
    }
    // Another station's secret signs nothing here.
    scratch.write("cache/secret", &[7; 32]);
    assert_eq!(scan(&open(&scratch)), ["a 1.0.0 activated"]);
    assert_ne!(scratch.read(&file)[..32], genuine[..32], "signed anew");
}

#[test]
fn a_cache_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    let cache = scratch.path("cache");
    drop(scratch.dir("cache"));
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).expect("it is ours");
    let dir = Dir::open_ambient_dir(&cache, ambient_authority()).expect("it opens");
    let catalog = Catalog::open(scratch.dir("adapters"), Some(dir), Arc::new(NoKeys)).expect("the catalog opens");
    assert_eq!(scan(&catalog), ["a 1.0.0 activated"]);
    assert!(scratch.names("cache").is_empty());
}
