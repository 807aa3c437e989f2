//! The adapter directory: files come, change, go and are half-written, while frames are being served.

use polymeter::model::Digest;
use polymeter_tests::guest::Guest;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::shop::Shop;

fn version(name: &'static str, version: &'static str) -> Vec<u8> {
    Guest { version, ..Guest::new(name) }.component()
}

#[test]
fn a_new_version_serves_at_once_and_leaves_with_its_file() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    assert_eq!(shop.look(), [""; 0]);
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    assert_eq!(shop.look(), ["a 1.0.0 conformed", "a 1.0.0 active"]);
    let held = shop.catalog.active("a").expect("it serves");
    scratch.write("adapters/a.wasm", &version("a", "1.1.0"));
    assert_eq!(shop.look(), ["a 1.1.0 conformed", "a 1.1.0 active", "a 1.0.0 standby"]);
    assert_eq!(shop.serves("a").as_deref(), Some("1.1.0"));
    // Whoever still holds the old one may finish with it.
    assert!(held.frame("", &[0x68]).is_ok());
    assert_eq!(shop.look(), [""; 0]);
    scratch.remove("adapters/a.wasm");
    assert_eq!(shop.look(), ["a 1.0.0 retired", "a 1.1.0 retired"]);
    assert!(shop.catalog.active("a").is_none());
    // The same file again is the same wish again.
    scratch.write("adapters/a.wasm", &version("a", "1.1.0"));
    assert_eq!(shop.look(), ["a 1.1.0 conformed", "a 1.1.0 active"]);
}

/// What was handed over and is dropped in afterwards serves by the file that came now, and does not leave with it.
#[test]
fn what_was_installed_otherwise_stays_when_its_file_goes() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let one = version("a", "1.0.0");
    shop.install(&one).expect("installed");
    shop.look();
    scratch.write("adapters/dropped.wasm", &one);
    assert_eq!(shop.look(), ["a 1.0.0 active"]);
    let row = shop.lifecycle.row(&Digest::of(&one)).expect("known");
    assert_eq!((row.by.as_str(), row.why.as_str()), ("dropped.wasm", "dropped in"));
    assert_eq!(row.origin.file, "a.wasm");
    scratch.remove("adapters/dropped.wasm");
    assert_eq!(shop.look(), [""; 0]);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
}

#[test]
fn a_bad_file_takes_nothing_down() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    shop.look();
    scratch.write("adapters/a.wasm", &Guest { contract: "2.0.0", ..Guest::new("a") }.component());
    assert_eq!(shop.look(), ["a rejected"]);
    assert_eq!(shop.look(), [""; 0]);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
    let rows = shop.lifecycle.present();
    assert_eq!(rows.iter().map(|row| row.state.name()).collect::<Vec<_>>(), ["active", "rejected"]);
    assert!(rows[1].why.contains("contract 2.0.0"), "{}", rows[1].why);
    // Repaired in place.
    scratch.write("adapters/a.wasm", &version("a", "1.2.0"));
    assert_eq!(shop.look(), ["a 1.2.0 conformed", "a 1.2.0 active", "a 1.0.0 standby"]);
    assert_eq!(shop.lifecycle.present().iter().filter(|row| row.state.name() == "rejected").count(), 0);
}

#[test]
fn a_file_that_is_still_being_written_is_no_news() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.look();
    let whole = version("a", "1.0.0");
    for part in [whole.len() / 3, whole.len() / 2, whole.len()] {
        let news: &[&str] = if part == whole.len() { &["a 1.0.0 conformed", "a 1.0.0 active"] } else { &[] };
        scratch.write("adapters/a.wasm", &whole[..part]);
        assert_eq!(shop.look(), news, "{part} of {}", whole.len());
    }
    // One that stays as it is was not being written.
    scratch.write("adapters/b.wasm", &whole[..whole.len() / 2]);
    assert_eq!(shop.look(), [""; 0]);
    assert_eq!(shop.look(), ["b rejected"]);
    assert_eq!(shop.look(), [""; 0]);
}

#[test]
fn the_highest_version_of_a_name_serves() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    scratch.write("adapters/old.wasm", &version("a", "1.9.0"));
    scratch.write("adapters/new.wasm", &version("a", "1.10.0"));
    scratch.write("adapters/.draft.wasm", b"a draft");
    scratch.write("adapters/notes.txt", b"no adapter");
    assert_eq!(shop.look(), ["a 1.10.0 conformed", "a 1.9.0 conformed", "a 1.10.0 active"]);
    scratch.remove("adapters/new.wasm");
    assert_eq!(shop.look(), ["a 1.10.0 retired", "a 1.9.0 active"]);
}

#[test]
fn what_lies_outside_of_the_directory_is_out_of_reach() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    scratch.write("outside.wasm", &version("outside", "1.0.0"));
    std::os::unix::fs::symlink("../outside.wasm", scratch.path("adapters/link.wasm")).expect("a link can be made");
    assert_eq!(shop.look(), [""; 0]);
    assert!(shop.catalog.active("outside").is_none());
}

/// What a person decided is not undone by a file that still lies there.
#[test]
fn after_a_restart_the_journal_knows_better_than_the_directory() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    scratch.write("adapters/b.wasm", b"no adapter");
    shop.look();
    scratch.write("adapters/a.wasm", &version("a", "1.1.0"));
    shop.look();
    shop.lifecycle.rollback("a", &polymeter_tests::shop::order("wrong totals")).expect("goes back");
    shop.shut();
    // Nor by the store having lost what was left.
    scratch.remove(&format!("data/store/{}.wasm", Digest::of(&version("a", "1.1.0"))));
    let shop = Shop::open(&scratch);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"), "before the directory is looked at");
    assert_eq!(shop.look(), [""; 0]);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
    assert_eq!(scratch.names("data/store").len(), 2, "and it is there again");
}

#[test]
fn what_comes_and_goes_while_the_journal_fails_is_dealt_with_once_it_is_well() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.look();
    scratch.write("adapters/a.wasm", &version("a", "1.0.0"));
    assert_eq!(shop.look(), ["a 1.0.0 conformed", "a 1.0.0 active"]);
    shop.without_journal(&scratch, || {
        scratch.remove("adapters/a.wasm");
        scratch.write("adapters/b.wasm", &version("b", "1.0.0"));
        shop.lifecycle.follow_dropins().expect("the directory can be read");
        assert_eq!((shop.serves("a").as_deref(), shop.serves("b")), (Some("1.0.0"), None));
    });
    assert_eq!(shop.look(), ["a 1.0.0 retired", "b 1.0.0 conformed", "b 1.0.0 active"]);
    assert_eq!(shop.look(), [""; 0]);
}

#[test]
fn compiled_code_is_kept_and_never_believed() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.serve(&version("a", "1.0.0")).expect("serves");
    shop.shut();
    let code = |name: &String| std::path::Path::new(name).extension().is_some_and(|e| e == "code");
    let kept: Vec<_> = scratch.names("data/compiled").into_iter().filter(code).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let file = format!("data/compiled/{}", kept[0]);
    let genuine = scratch.read(&file);
    // Tampered, cut, emptied, replaced by another's: each is compiled again and written anew.
    let mut tampered = genuine.clone();
    tampered[genuine.len() / 2] ^= 1;
    for forged in [tampered, genuine[..genuine.len() - 1].to_vec(), Vec::new(), vec![0; 100]] {
        scratch.write(&file, &forged);
        let shop = Shop::open(&scratch);
        assert!(shop.catalog.active("a").expect("it serves").frame("", &[0x68]).is_ok());
        shop.shut();
        assert_eq!(scratch.read(&file).len(), genuine.len(), "the cache was mended");
    }
    // Another station's secret signs nothing here.
    scratch.write("data/compiled/secret", &[7; 32]);
    let shop = Shop::open(&scratch);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
    shop.shut();
    assert_ne!(scratch.read(&file)[..32], genuine[..32], "signed anew");
}

#[test]
fn a_cache_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    drop(scratch.dir("data/compiled"));
    let cache = scratch.path("data/compiled");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).expect("it is ours");
    let shop = Shop::open(&scratch);
    shop.serve(&version("a", "1.0.0")).expect("serves");
    assert!(scratch.names("data/compiled").is_empty());
}
