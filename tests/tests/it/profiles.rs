//! Profiles: whose word counts, what adapters refuse, and what outlives a restart and lost views.

use polymeter::journal::{Entry, Fact, ProfileScope, RegistryFact};
use polymeter::lifecycle::{Bound, LifecycleError, Unsigned};
use polymeter::model::{DeviceKey, DeviceKind, Particulars, Record, Seq};
use polymeter::views::ViewError;
use polymeter_tests::guest::Guest;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::shop::{Shop, order};
use std::time::Duration;

const SCHEMA: &str =
    r#"{"type": "object", "additionalProperties": false, "properties": {"scale": {"type": "integer", "maximum": 9}}}"#;

fn adapter(version: &'static str, schema: &'static str) -> Vec<u8> {
    Guest { version, schema, ..Guest::new("a") }.component()
}

/// Listener `nb` speaks under the configuration's `file`, listener `tcp` under the adapter's defaults.
fn shop(scratch: &Scratch) -> Shop {
    let bound = |listener: &str, profile: &str, options: &str| Bound {
        adapter: "a".into(),
        listener: listener.into(),
        profile: profile.into(),
        options: options.into(),
    };
    let shop =
        Shop::with(scratch, Unsigned::Accepted, vec![bound("nb", "file", r#"{"scale":9}"#), bound("tcp", "", "{}")]);
    if shop.serves("a").is_none() {
        shop.serve(&adapter("1.0.0", SCHEMA)).expect("serves");
    }
    shop
}

fn device(number: u32) -> DeviceKey {
    DeviceKey::new("test", &number.to_string()).expect("a key")
}

fn says<T: std::fmt::Debug>(outcome: Result<T, LifecycleError>, words: &str) {
    let error = outcome.expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
}

/// As entries would name it.
fn spoken(shop: &Shop, listener: &str, number: u32, model: Option<&str>) -> String {
    let adapter = shop.catalog.active("a").expect("it serves");
    let decided = shop.lifecycle.decided(&adapter, listener, Some(&device(number)), model).expect("readable");
    let spoken =
        decided.unwrap_or_else(|| shop.lifecycle.spoken(&adapter, listener, Some(&device(number))).expect("readable"));
    spoken.name.clone()
}

/// The registry says it of the device.
fn register(shop: &Shop, number: u32, profile: &str, model: &str) {
    let about = Particulars {
        kind: DeviceKind::Meter,
        manufacturer: String::new(),
        model: model.into(),
        adapter: "a".into(),
        profile: profile.into(),
        parent: None,
        protocol: String::new(),
        channel: None,
        district: String::new(),
        customer: String::new(),
        key_slot: String::new(),
        line_address: String::new(),
        baud: None,
        line_format: String::new(),
    };
    let set = vec![Record { device: device(number), about }];
    let fact = Fact::Registry(RegistryFact { set, withdrawn: Vec::new(), by: "anna".into(), retold: None });
    let seq = shop.journal.append_blocking(Entry { at_ms: 1, fact }).expect("appended");
    assert!(shop.views.wait_caught_up(seq, Duration::from_secs(60)));
}

#[test]
fn the_narrowest_binding_counts() {
    let scratch = Scratch::new();
    let shop = shop(&scratch);
    let lifecycle = &shop.lifecycle;
    for name in ["own", "named", "model", "door"] {
        lifecycle.set_profile(name, "a", "{\"scale\":1}", &order("")).expect("set");
    }
    register(&shop, 1, "named", "G4");
    register(&shop, 2, "", "G4");
    register(&shop, 3, "file", "");
    let before = lifecycle.profiles().generation();
    for (name, to) in [
        ("door", ProfileScope::Listener("tcp".into())),
        ("model", ProfileScope::Model("G4".into())),
        ("own", ProfileScope::Device(device(1))),
    ] {
        lifecycle.bind_profile(name, to, &order("")).expect("bound");
    }
    assert!(lifecycle.profiles().generation() > before, "sessions look again");
    for (listener, number, model, expected) in [
        ("tcp", 1, None, "own@1"),
        ("nb", 2, None, "model@1"),
        // What the device says of itself beats what the registry thinks.
        ("tcp", 2, Some("G6"), "door@1"),
        ("tcp", 9, Some("G4"), "model@1"),
        ("tcp", 3, None, "file"),
        ("tcp", 9, None, "door@1"),
        ("nb", 9, None, "file"),
    ] {
        assert_eq!(spoken(&shop, listener, number, model), expected, "{listener} {number} {model:?}");
    }
    lifecycle.unbind_profile("own", ProfileScope::Device(device(1)), &order("")).expect("unbound");
    assert_eq!(spoken(&shop, "tcp", 1, None), "named@1");
    lifecycle.unbind_profile("door", ProfileScope::Listener("tcp".into()), &order("")).expect("unbound");
    assert_eq!(spoken(&shop, "tcp", 9, None), "");
}

#[test]
fn what_an_adapter_does_not_take_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let shop = shop(&scratch);
    let lifecycle = &shop.lifecycle;
    says(
        lifecycle.set_profile("x", "a", r#"{"scale":10}"#, &order("")),
        "a@1.0.0 does not take profile `x`: scale: at most 9",
    );
    says(lifecycle.set_profile("x", "a", r#"{"scales":1}"#, &order("")), "unknown option `scales`");
    says(lifecycle.set_profile("x y", "a", "{}", &order("")), "no name for a profile");
    says(lifecycle.set_profile("x", "b", "{}", &order("")), "there is no adapter `b`");
    says(lifecycle.set_profile("file", "a", "{}", &order("")), "stands in the station's configuration");
    lifecycle.set_profile("x", "a", r#"{"scale":5}"#, &order("")).expect("set");
    says(lifecycle.set_profile("x", "b", "{}", &order("")), "is one of adapter `a`");
    let bind = |to| lifecycle.bind_profile("x", to, &order(""));
    says(bind(ProfileScope::Listener("nb".into())), "the configuration gives listener `nb` [profile.file]");
    says(bind(ProfileScope::Listener("udp".into())), "no listener `udp` speaks with adapter `a`");
    says(bind(ProfileScope::Model(String::new())), "a model is named");
    says(lifecycle.bind_profile("y", ProfileScope::Device(device(1)), &order("")), "there is no profile `y`");
    says(lifecycle.unbind_profile("x", ProfileScope::Device(device(1)), &order("")), "is not bound to device test/1");
    // A version that would not take it does not serve, until it is unbound.
    const NARROWER: &str = r#"{"properties": {"scale": {"enum": [9]}}}"#;
    bind(ProfileScope::Device(device(1))).expect("bound");
    let narrower = adapter("2.0.0", NARROWER);
    says(
        shop.serve(&narrower),
        "device test/1 speaks with it under a profile it does not take: profile x@1: scale: one of 9 is wanted",
    );
    assert_eq!((shop.serves("a").as_deref(), shop.state(&narrower)), (Some("1.0.0"), "conformed"));
    lifecycle.unbind_profile("x", ProfileScope::Device(device(1)), &order("")).expect("unbound");
    shop.serve(&narrower).expect("serves");
    // The registry may still name it: then the next wider one counts.
    register(&shop, 4, "x", "");
    assert_eq!(spoken(&shop, "nb", 4, None), "file");
    says(bind(ProfileScope::Device(device(1))), "a@2.0.0 does not take profile `x`");
}

#[test]
fn decisions_are_versions_with_who_and_why_and_outlive_everything() {
    let scratch = Scratch::new();
    let mut shop = shop(&scratch);
    let set = |shop: &Shop, scale: u32, why: &str| {
        shop.lifecycle.set_profile("x", "a", &format!("{{\"scale\":{scale}}}"), &order(why)).expect("set").version
    };
    assert_eq!((set(&shop, 1, "as the sheet says"), set(&shop, 2, "the sheet is wrong")), (1, 2));
    assert_eq!(set(&shop, 2, "again"), 2, "nothing new, no version");
    shop.lifecycle.bind_profile("x", ProfileScope::Device(device(1)), &order("a trial")).expect("bound");
    for lost in [false, true] {
        assert_eq!(spoken(&shop, "tcp", 1, None), "x@2");
        let last = shop.journal.health().last_seq;
        assert!(shop.views.wait_caught_up(last, Duration::from_secs(60)));
        assert_eq!(shop.lifecycle.spoken_then("x@1").expect("kept").options, r#"{"scale":1}"#);
        assert_eq!(shop.lifecycle.spoken_then("x@3"), None);
        let history = shop.views.profile_history("x", None, 10).expect("a history");
        let told: Vec<_> =
            history.iter().map(|e| (e.fact.step.name(), e.fact.by.as_str(), e.fact.why.as_str())).collect();
        assert_eq!(
            told,
            [("bound", "anna", "a trial"), ("set", "anna", "the sheet is wrong"), ("set", "anna", "as the sheet says")]
        );
        // What is told again before old days go says the same.
        assert_eq!(standing(&shop, last).len(), 3, "two versions and a binding");
        shop.shut();
        if lost {
            std::fs::remove_file(scratch.path("data/views.redb")).expect("there");
        }
        shop = self::shop(&scratch);
    }
    assert_eq!(spoken(&shop, "tcp", 1, None), "x@2");
}

/// What is told again of profiles before the days up to this entry go.
fn standing(shop: &Shop, last: Seq) -> Vec<Fact> {
    let mut told = Vec::new();
    let all = shop.views.standing_before(Seq(last.0 + 1), |fact| {
        told.extend(Some(fact).filter(|fact| matches!(fact, Fact::Profile(_))));
        Ok::<_, ViewError>(())
    });
    all.expect("readable");
    told
}

#[test]
fn a_profile_goes_when_nobody_is_bound_to_it_and_its_versions_are_never_given_again() {
    let scratch = Scratch::new();
    let mut shop = shop(&scratch);
    shop.lifecycle.set_profile("x", "a", r#"{"scale":1}"#, &order("")).expect("set");
    shop.lifecycle.bind_profile("x", ProfileScope::Device(device(1)), &order("")).expect("bound");
    register(&shop, 2, "x", "");
    let remove = |shop: &Shop, name: &str| shop.lifecycle.remove_profile(name, &order("no longer made"));
    says(remove(&shop, "file"), "stands in the station's configuration");
    says(remove(&shop, "x"), "profile `x` is bound to device test/1, the registry's record of test/2;");
    shop.lifecycle.unbind_profile("x", ProfileScope::Device(device(1)), &order("")).expect("unbound");
    says(remove(&shop, "x"), "profile `x` is bound to the registry's record of test/2;");
    register(&shop, 2, "", "");
    remove(&shop, "x").expect("removed");
    says(remove(&shop, "x"), "there is no profile `x`");
    for lost in [false, true] {
        assert_eq!(shop.lifecycle.profiles().rows(), []);
        assert_eq!(shop.lifecycle.profiles().names(), ["", "file"]);
        assert_eq!(shop.lifecycle.spoken_then("x@1").expect("frames name it").options, r#"{"scale":1}"#);
        let last = shop.journal.health().last_seq;
        assert!(shop.views.wait_caught_up(last, Duration::from_secs(60)));
        let history = shop.views.profile_history("x", None, 10).expect("a history");
        assert!(
            history.iter().any(|e| e.fact.step.name() == "removed" && e.fact.why == "no longer made"),
            "{history:?}"
        );
        // Told again before old days go, in whatever order, it stays removed.
        let again = standing(&shop, last);
        assert_eq!(again.len(), 2, "a version and its removal");
        for fact in again.into_iter().rev() {
            shop.journal.append_blocking(Entry { at_ms: 5, fact }).expect("appended");
        }
        shop.shut();
        if lost {
            std::fs::remove_file(scratch.path("data/views.redb")).expect("there");
        }
        shop = self::shop(&scratch);
    }
    let anew = shop.lifecycle.set_profile("x", "a", r#"{"scale":2}"#, &order("")).expect("set");
    assert_eq!(anew.version, 2, "frames name the first one");
    let last = shop.journal.health().last_seq;
    assert!(shop.views.wait_caught_up(last, Duration::from_secs(60)));
    shop.shut();
    let shop = self::shop(&scratch);
    let rows = shop.lifecycle.profiles().rows();
    assert_eq!(rows.iter().map(polymeter::views::ProfileRow::label).collect::<Vec<_>>(), ["x@2"]);
}
