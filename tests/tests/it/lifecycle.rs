//! Who serves: cutover, going back, quarantine, restarts, and a store that cannot be fooled.

use polymeter::adapter::Fault;
use polymeter::journal::FaultKind;
use polymeter::lifecycle::{Bound, LifecycleError, Struck, Unsigned};
use polymeter::model::Digest;
use polymeter_tests::guest::Guest;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::shop::{Shop, order};

fn version(version: &'static str) -> Vec<u8> {
    Guest { version, ..Guest::new("a") }.component()
}

fn release(release: u64, version: &'static str) -> Vec<u8> {
    Guest { version, release, ..Guest::new("a") }.component()
}

fn says<T: std::fmt::Debug>(outcome: Result<T, LifecycleError>, words: &str) {
    let error = outcome.expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
}

/// Enough strikes by enough devices.
fn harm(shop: &Shop) -> Struck {
    let adapter = shop.catalog.active("a").expect("it serves");
    let fault = Fault { kind: FaultKind::Trap, detail: "unreachable".into(), reply: None };
    let strike = |n: u32| shop.lifecycle.struck(&adapter, &format!("test/{}", n % 3), &fault);
    let verdict = (0..10).map(strike).last().expect("some");
    shop.lifecycle.carry_out().expect("carried out");
    verdict
}

#[test]
fn every_state_on_the_way_is_an_entry_with_who_and_why() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.serve(&version("1.0.0")).expect("serves");
    shop.serve(&version("1.1.0")).expect("serves");
    shop.lifecycle.rollback("a", &order("totals differ")).expect("goes back");
    shop.lifecycle.retire("a@1.1.0", &order("of no use"), false).expect("goes");
    shop.steps();
    let mut history = shop.views.adapter_history(Some("a"), None, 100).expect("a history");
    history.reverse();
    let told: Vec<String> =
        history.iter().map(|e| format!("{} {}", e.fact.version, e.fact.step.state().name())).collect();
    let expected = [
        "1.0.0 staged",
        "1.0.0 verified",
        "1.0.0 inspected",
        "1.0.0 compiled",
        "1.0.0 conformed",
        "1.0.0 active",
        "1.1.0 staged",
        "1.1.0 verified",
        "1.1.0 inspected",
        "1.1.0 compiled",
        "1.1.0 conformed",
        "1.0.0 draining",
        "1.1.0 active",
        "1.0.0 standby",
        "1.1.0 draining",
        "1.0.0 active",
        "1.1.0 standby",
        "1.1.0 retired",
    ];
    assert_eq!(told, expected);
    assert!(history.iter().all(|event| event.fact.by == "anna"));
    assert_eq!(history[15].fact.step.why(), "rolled back: totals differ");
    assert_eq!(history[17].fact.step.why(), "of no use");
}

#[test]
fn going_back_leads_to_what_served_before() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let [one, two, three] = ["1.0.0", "1.1.0", "1.2.0"].map(version);
    says(shop.lifecycle.rollback("a", &order("")), "there is no adapter `a`");
    shop.serve(&one).expect("serves");
    says(shop.lifecycle.rollback("a", &order("")), "no version of `a` has served before");
    shop.serve(&two).expect("serves");
    shop.serve(&three).expect("serves");
    for before in ["1.1.0", "1.0.0"] {
        assert_eq!(shop.lifecycle.rollback("a", &order("")).expect("goes back").version, before);
        assert_eq!(shop.serves("a").as_deref(), Some(before));
    }
    // Never forward to what was left.
    says(shop.lifecycle.rollback("a", &order("")), "installed are a@1.0.0, a@1.1.0, a@1.2.0");
    assert_eq!(shop.state(&three), "standby");
}

#[test]
fn what_serves_cannot_be_retired_in_passing() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (one, two) = (version("1.0.0"), version("1.1.0"));
    shop.serve(&one).expect("serves");
    shop.install(&two).expect("installed");
    says(shop.lifecycle.retire("a@1.0.0", &order(""), false), "a@1.0.0 serves; activate another");
    shop.lifecycle.retire("a@1.0.0", &order("the end"), true).expect("retired");
    assert_eq!((shop.serves("a"), shop.state(&one), shop.state(&two)), (None, "retired", "conformed"));
    says(shop.lifecycle.activate("a@1.0.0", &order("")), "a@1.0.0 is retired; install it again");
    says(shop.lifecycle.activate("b", &order("")), "there is no adapter `b`");
    assert_eq!(scratch.names("data/store").len(), 1);
}

#[test]
fn older_ones_need_a_word() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.serve(&release(7, "1.4.0")).expect("serves");
    let older = release(6, "1.5.0");
    says(shop.serve(&older), "a downgrade: a@1.5.0 (release 6) is older than a@1.4.0 (release 7)");
    assert_eq!(shop.state(&older), "rejected");
    says(shop.serve(&version("9.0.0")), "a downgrade");
    says(shop.bring(&older, Some(" ")), "needs a reason");
    let row = shop.bring(&older, Some("meters of 2019 need it")).expect("installed");
    says(shop.lifecycle.activate(&row.digest.to_string(), &order("")), "a downgrade");
    let on_purpose = polymeter::lifecycle::Order { downgrade: true, ..order("meters of 2019 need it") };
    let row = shop.lifecycle.activate(&row.digest.to_string(), &on_purpose).expect("serves");
    assert!(row.why.contains("on purpose: meters of 2019 need it"), "{}", row.why);
    // It stays a downgrade: the counter does not go back.
    says(shop.install(&release(5, "1.0.0")), "older than a@1.4.0 (release 7)");
}

#[test]
fn a_harmful_version_goes_and_the_one_before_takes_over_by_itself() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (one, two) = (version("1.0.0"), version("1.1.0"));
    shop.serve(&one).expect("serves");
    shop.serve(&two).expect("serves");
    shop.lifecycle.newly_served();
    assert_eq!(harm(&shop), Struck::Adapter);
    assert_eq!((shop.state(&one), shop.state(&two)), ("active", "quarantined"));
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
    assert!(shop.lifecycle.newly_served().contains("a"), "what it spoiled is read again");
    let row = shop.lifecycle.row(&Digest::of(&two)).expect("known");
    assert!(row.why.contains("trap") || row.why.contains("Trap"), "{}", row.why);
    // Nobody stands by any more: nobody serves.
    harm(&shop);
    assert_eq!((shop.state(&one), shop.serves("a")), ("quarantined", None));
    says(shop.lifecycle.activate("a@1.1.0", &order("")), "needs a reason");
    shop.shut();
    let shop = Shop::open(&scratch);
    assert_eq!((shop.state(&one), shop.state(&two), shop.serves("a")), ("quarantined", "quarantined", None));
    shop.lifecycle.activate("a@1.1.0", &order("the meters were at fault")).expect("serves");
    assert_eq!(shop.serves("a").as_deref(), Some("1.1.0"));
}

#[test]
fn states_outlive_a_restart_and_views_that_are_lost() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let all = ["1.0.0", "1.1.0", "1.2.0"].map(version);
    shop.serve(&all[0]).expect("serves");
    shop.serve(&all[1]).expect("serves");
    shop.install(&all[2]).expect("installed");
    let rows = shop.lifecycle.rows();
    shop.shut();
    std::fs::remove_file(scratch.path("data/views.redb")).expect("there");
    let shop = Shop::open(&scratch);
    assert_eq!(shop.lifecycle.rows(), rows);
    assert_eq!(all.each_ref().map(|bytes| shop.state(bytes)), ["standby", "active", "conformed"]);
    assert_eq!(shop.serves("a").as_deref(), Some("1.1.0"));
    shop.lifecycle.rollback("a", &order("")).expect("goes back");
}

#[test]
fn what_was_changed_in_the_store_does_not_serve() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (one, two) = (version("1.0.0"), version("1.1.0"));
    shop.serve(&one).expect("serves");
    shop.serve(&two).expect("serves");
    shop.shut();
    let file = format!("data/store/{}.wasm", Digest::of(&two));
    let mut bytes = scratch.read(&file);
    *bytes.last_mut().expect("not empty") ^= 1;
    scratch.write(&file, &bytes);
    let shop = Shop::open(&scratch);
    assert_eq!((shop.state(&one), shop.state(&two)), ("active", "rejected"));
    // Brought again, it is mended.
    shop.serve(&two).expect("serves");
    assert_eq!(shop.serves("a").as_deref(), Some("1.1.0"));
}

#[test]
fn a_version_that_does_not_take_a_listeners_profile_does_not_serve() {
    let scratch = Scratch::new();
    let bound = Bound {
        adapter: "a".into(),
        listener: "nb".into(),
        profile: "odd".into(),
        options: r#"{"unheard_of": 1}"#.into(),
    };
    let shop = Shop::with(&scratch, Unsigned::Accepted, vec![bound]);
    let mut guest = Guest::new("a");
    assert!(shop.serve(&guest.component()).is_ok(), "its schema says nothing");
    guest.version = "1.1.0";
    guest.schema = r#"{"type": "object", "additionalProperties": false, "properties": {}}"#;
    says(
        shop.serve(&guest.component()),
        "listener `nb` speaks with it under a profile it does not take: [profile.odd]",
    );
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
}
