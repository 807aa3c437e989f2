//! Who serves: cutover, going back, quarantine, restarts, and a store that cannot be fooled.

use polymeter::adapter::Fault;
use polymeter::clock::Clock;
use polymeter::journal::{AdapterFact, AdapterOrigin, AdapterRef, AdapterState, AdapterStep};
use polymeter::journal::{Entry, Fact, FaultKind, FrameFact, FrameOutcome};
use polymeter::kit::build::pack;
use polymeter::lifecycle::{Bound, LifecycleError, Stranger, Struck, Unsigned};
use polymeter::model::{Digest, HexBytes, Message};
use polymeter::review::{Ended, Review, ReviewError};
use polymeter_tests::guest::{Guest, slow};
use polymeter_tests::scratch::Scratch;
use polymeter_tests::shop::{BY, Shop, order};
use polymeter_tests::site::wait_until;
use std::collections::BTreeMap;
use std::sync::Arc;

fn version(version: &'static str) -> Vec<u8> {
    Guest { version, ..Guest::new("a") }.component()
}

fn release(release: u64, version: &'static str) -> Vec<u8> {
    Guest { version, release, ..Guest::new("a") }.component()
}

/// A shop in which 1.1.0 serves and 1.0.0 stands by.
fn two_served() -> (Scratch, Shop, [Vec<u8>; 2]) {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let versions = ["1.0.0", "1.1.0"].map(version);
    versions.iter().for_each(|bytes| drop(shop.serve(bytes).expect("serves")));
    (scratch, shop, versions)
}

fn says<T: std::fmt::Debug>(outcome: Result<T, LifecycleError>, words: &str) {
    let error = outcome.expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
}

/// Enough strikes by enough devices.
fn harm(shop: &Shop) -> Struck {
    let adapter = shop.catalog.active("a").expect("it serves");
    let fault = Fault::new(FaultKind::Trap, "unreachable");
    let strike = |n: u32| shop.lifecycle.struck(&adapter, &format!("test/{}", n % 3), &fault);
    let verdict = (0..10).map(strike).last().expect("some");
    // Nobody waits for a call that is not under way.
    drop(adapter);
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

/// What is asked of files that come in is not asked of those that a former station took.
#[test]
fn what_was_taken_under_older_rules_serves_on() {
    let scratch = Scratch::new();
    let in_two_lines = |version| {
        let guest = Guest { version, ..Guest::new("a") };
        let mut manifest = guest.manifest();
        manifest.summary = "reads meters\nof every make".into();
        pack(&guest.module(), &manifest, None).expect("a component")
    };
    let taken = in_two_lines("1.0.0");
    let shop = Shop::open(&scratch);
    let digest = Digest::of(&taken);
    std::fs::write(scratch.path("data/store").join(format!("{digest}.wasm")), &taken).expect("stored");
    let brought = AdapterStep::Brought(AdapterOrigin { state_version: 1, ..AdapterOrigin::default() });
    let serves = AdapterStep::Entered { state: AdapterState::Active, why: String::new() };
    for step in [brought, serves] {
        let (name, version) = ("a".to_owned(), "1.0.0".to_owned());
        let fact = Fact::Adapter(AdapterFact { name, version, digest, step, by: BY.into() });
        shop.journal.append_blocking(Entry { at_ms: 1, fact }).expect("appended");
    }
    shop.shut();
    let shop = Shop::open(&scratch);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"), "{:?}", shop.steps());
    shop.install(&taken).expect("it is installed");
    says(shop.install(&in_two_lines("1.1.0")), "`summary` contains \\u{a}");
    shop.serve(&version("1.2.0")).expect("serves");
    shop.lifecycle.rollback("a", &order("")).expect("goes back");
    assert_eq!(shop.state(&taken), "active");
    // Its file is lost: whoever brings it again brings what was taken.
    shop.shut();
    scratch.remove(&format!("data/store/{digest}.wasm"));
    let shop = Shop::open(&scratch);
    assert_eq!((shop.state(&taken), shop.serves("a").as_deref()), ("rejected", None));
    let older = shop.bring(&taken, Some("its meters need it")).expect("it is installed");
    assert_eq!((older.name.as_str(), older.version.as_str(), older.state.name()), ("a", "1.0.0", "conformed"));
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

/// Several people may ask at once: a name has one shadow, and none is left behind.
#[test]
fn of_many_shadows_at_once_one_is_left() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.serve(&version("1.0.0")).expect("serves");
    let rows = ["1.1.0", "1.2.0", "1.3.0", "1.4.0"].map(|v| shop.install(&version(v)).expect("installed"));
    let shadows = || shop.lifecycle.rows().iter().filter(|row| row.state.name() == "shadow").count();
    for _ in 0..10 {
        std::thread::scope(|threads| {
            for row in &rows {
                threads.spawn(|| shop.lifecycle.begin_shadow(row, 1_000, &order("at once")).expect("begun"));
            }
        });
        assert_eq!(shadows(), 1);
    }
    shop.lifecycle.end_shadow("a", &order("")).expect("ended");
    assert_eq!(shadows(), 0);
}

/// A vendor's vectors may take seconds. Who is revoked or taken away meanwhile does not wait for them, nor does a stop.
#[test]
fn a_long_check_holds_up_no_revocation_no_removal_and_no_stop() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (serves, long) = (version("1.0.0"), slow(9_000));
    shop.serve(&serves).expect("serves");
    shop.look();
    scratch.write("adapters/slow.wasm", &long);
    std::thread::scope(|threads| {
        let looking = threads.spawn(|| shop.lifecycle.follow_dropins());
        wait_until("it is being checked", || (shop.state(&long) == "compiled").then_some(()));
        let revoked = format!("[revoked]\ndigests = [\"{}\"]\n", Digest::of(&serves));
        scratch.write("data/trust.toml", revoked.as_bytes());
        shop.lifecycle.follow_trust();
        shop.lifecycle.carry_out().expect("carried out");
        assert_eq!(shop.state(&serves), "quarantined");
        shop.lifecycle.take_file_away("slow.wasm", BY).expect("taken away");
        shop.lifecycle.stop();
        looking.join().expect("no panic").expect("the directory can be read");
    });
    assert_eq!(shop.state(&long), "compiled", "given up, and not judged");
    shop.shut();
    assert_eq!(Shop::open(&scratch).state(&long), "rejected");
}

/// What is checked when the station stops is given up, and no verdict on the file.
#[test]
fn a_stop_ends_what_is_being_checked() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    shop.lifecycle.stop();
    says(shop.install(&version("1.0.0")), "the station is stopping");
    scratch.write("adapters/a.wasm", &version("1.0.0"));
    assert_eq!(shop.look(), [""; 0]);
    shop.shut();
    let shop = Shop::open(&scratch);
    assert_eq!(shop.look(), ["a 1.0.0 conformed", "a 1.0.0 active"]);
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

/// Devices, keys and orders belong to the realm of what has served.
#[test]
fn a_name_speaks_for_one_realm() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (one, two) = (version("1.0.0"), version("1.1.0"));
    let other = |version| Guest { version, realm: "elsewhere", ..Guest::new("a") }.component();
    let beside = Guest::new("b").component();
    // Before anybody has served, a mistake is put right by the next file.
    let early = shop.install(&other("1.2.0")).expect("installed");
    shop.serve(&one).expect("serves");
    let refused =
        "a@1.2.0 speaks for devices of realm `elsewhere`, and a@1.0.0, which has served here, for those of `test`";
    says(shop.lifecycle.activate(&early.digest.to_string(), &order("")), refused);
    let late = other("2.0.0");
    says(shop.install(&late), "a@2.0.0 speaks for devices of realm `elsewhere`");
    assert_eq!((shop.state(&late), shop.serves("a").as_deref()), ("rejected", Some("1.0.0")));
    // Another name may share a realm, and is told of it.
    let told = shop.install(&beside).expect("installed").why;
    assert!(told.contains("devices of realm `test` are also those of a"), "{told}");
    assert!(!shop.install(&two).expect("installed").why.contains("realm"));
    // Once those of the other realm are gone, nothing is mixed up.
    shop.lifecycle.retire("a@1.0.0", &order("the name was another's"), true).expect("retired");
    assert_eq!(shop.serve(&late).expect("serves").state.name(), "active");
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
    says(shop.lifecycle.activate(&row.digest.to_string(), &order("")), "in the API `downgrade=WHY` with an upload");
    let on_purpose = polymeter::lifecycle::Order { downgrade: true, ..order("meters of 2019 need it") };
    let row = shop.lifecycle.activate(&row.digest.to_string(), &on_purpose).expect("serves");
    assert!(row.why.contains("on purpose: meters of 2019 need it"), "{}", row.why);
    // It stays a downgrade: the counter does not go back.
    says(shop.install(&release(5, "1.0.0")), "older than a@1.4.0 (release 7)");
}

#[test]
fn a_harmful_version_goes_and_the_one_before_takes_over_by_itself() {
    let (scratch, shop, [one, two]) = two_served();
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

/// Whoever looks after the station is told, with what to do, until somebody serves or nobody is wanted any more.
#[test]
fn a_name_that_nobody_serves_any_more_is_told() {
    let (_scratch, shop, [_, two]) = two_served();
    assert_eq!(shop.lifecycle.out_of_service(), [""; 0]);
    shop.lifecycle.rollback("a", &order("totals differ")).expect("goes back");
    harm(&shop);
    // The newer version was left for a reason, so it does not take over by itself.
    assert_eq!((shop.state(&two), shop.serves("a")), ("standby", None));
    let told = shop.lifecycle.out_of_service().join("\n");
    for words in [
        "a: no version serves, and frames are only kept; 1.0.0 is quarantined (",
        "`polymeter adapter activate a@1.0.0 --reason …`",
        "installed: a@1.1.0; `polymeter adapter activate NAME@VERSION`",
    ] {
        assert!(told.contains(words), "{told:?} does not say {words:?}");
    }
    shop.lifecycle.activate("a@1.1.0", &order("better than nobody")).expect("serves");
    assert_eq!(shop.lifecycle.out_of_service(), [""; 0]);
    // What people have taken away is no news to them.
    shop.lifecycle.retire("a@1.0.0", &order(""), false).expect("goes");
    shop.lifecycle.retire("a@1.1.0", &order(""), true).expect("goes");
    assert_eq!((shop.lifecycle.out_of_service(), shop.serves("a")), (Vec::new(), None));
}

#[test]
fn a_name_whose_only_version_is_revoked_is_told() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let one = version("1.0.0");
    shop.serve(&one).expect("serves");
    shop.look();
    let revoked = format!("[revoked]\ndigests = [\"{}\"]\n", Digest::of(&one));
    scratch.write("data/trust.toml", revoked.as_bytes());
    shop.lifecycle.follow_trust();
    shop.lifecycle.carry_out().expect("carried out");
    assert_eq!(shop.serves("a"), None);
    let told = shop.lifecycle.out_of_service().join("\n");
    assert!(told.contains("1.0.0 serves again once trust.toml trusts it; or retire"), "{told}");
}

/// There is no file that could be taken away: the entry is enough.
#[test]
fn what_was_rejected_after_it_served_is_told_until_it_is_retired() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (one, refused) = (version("1.0.0"), version("0.9.0"));
    shop.serve(&one).expect("serves");
    says(shop.install(&refused), "a downgrade");
    shop.shut();
    scratch.remove(&format!("data/store/{}.wasm", Digest::of(&one)));
    let shop = Shop::open(&scratch);
    assert_eq!((shop.state(&one), shop.serves("a")), ("rejected", None));
    let told = shop.lifecycle.out_of_service().join("\n");
    for words in ["1.0.0 is rejected (its file is not in the store", "`polymeter adapter retire a@1.0.0`"] {
        assert!(told.contains(words), "{told:?} does not say {words:?}");
    }
    let short = shop.lifecycle.out_of_service_in_short().join("\n");
    assert!(short.contains("1.0.0 served last; `polymeter status` tells why") && !short.contains("file"), "{short}");
    says(shop.lifecycle.retire("a@0.9.0", &order(""), false), "a@0.9.0 is rejected; install it again");
    let row = shop.lifecycle.retire("a@1.0.0", &order("no such meters any more"), false).expect("goes");
    assert_eq!((row.state.name(), shop.lifecycle.out_of_service()), ("retired", Vec::new()));
    shop.shut();
    let shop = Shop::open(&scratch);
    assert_eq!((shop.state(&one), shop.lifecycle.out_of_service()), ("retired", Vec::new()));
}

/// One host comes forty times, with another port and other bytes each time.
fn comes_as_a_stranger(shop: &Shop) -> Struck {
    let adapter = shop.catalog.active("a").expect("it serves");
    let fault = Fault::new(FaultKind::Trap, "unreachable");
    let strike = |n: u8| {
        let peer = format!("10.0.0.1:{}", 1_000 + u16::from(n));
        let stranger = Some(Stranger { peer: &peer, frame: &[n] });
        shop.lifecycle.struck_over(&adapter, "10.0.0.1", stranger, &fault) == Struck::Adapter
    };
    let condemned = (0..40).any(strike);
    drop(adapter);
    shop.lifecycle.carry_out().expect("carried out");
    if condemned { Struck::Adapter } else { Struck::Device }
}

#[test]
fn strangers_of_one_host_bring_back_the_version_before_and_never_leave_nobody() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (one, two) = (version("1.0.0"), version("1.1.0"));
    shop.serve(&one).expect("serves");
    assert_eq!(comes_as_a_stranger(&shop), Struck::Device, "nobody stands by");
    shop.serve(&two).expect("serves");
    assert_eq!(comes_as_a_stranger(&shop), Struck::Adapter);
    assert_eq!((shop.state(&one), shop.state(&two)), ("active", "quarantined"));
    assert_eq!(comes_as_a_stranger(&shop), Struck::Device, "nobody stands by any more");
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
}

#[test]
fn whom_a_version_has_understood_before_a_restart_counts() {
    let (scratch, shop, [one, two]) = two_served();
    let frame = FrameFact {
        listener: "nb".into(),
        peer: "10.0.0.2:1000".into(),
        session: 1,
        device: Some("test/12345678".parse().expect("a key")),
        adapter: Some(AdapterRef { name: "a".into(), digest: Digest::of(&two), profile: String::new() }),
        raw: HexBytes(vec![0x68]),
        outcome: FrameOutcome::Decoded {
            messages: vec![Message::EndOfSession],
            memory: None,
            duplicate: false,
            held: false,
            behind: Vec::new(),
        },
    };
    let at_ms = Clock::new("Asia/Shanghai").expect("a zone").now_ms();
    let entry = Entry { at_ms, fact: Fact::Frame(frame) };
    shop.journal.append_all_blocking(vec![entry]).expect("kept");
    shop.shut();
    let shop = Shop::open(&scratch);
    assert_eq!(comes_as_a_stranger(&shop), Struck::Device);
    assert_eq!((shop.state(&one), shop.state(&two)), ("standby", "active"));
    // Several devices that are known still are enough.
    harm(&shop);
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
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
    let (scratch, shop, [one, two]) = two_served();
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

/// A file of the store that a failing disk cannot give, until it is given back.
pub struct Unreadable {
    file: std::path::PathBuf,
    aside: std::path::PathBuf,
}

impl Unreadable {
    pub fn new(scratch: &Scratch, bytes: &[u8]) -> Self {
        let file = scratch.path(&format!("data/store/{}.wasm", Digest::of(bytes)));
        let aside = scratch.path("aside");
        std::fs::rename(&file, &aside).expect("it is there");
        std::fs::create_dir(&file).expect("its place is free");
        Self { file, aside }
    }

    pub fn mend(self) {
        std::fs::remove_dir(&self.file).expect("it is empty");
        std::fs::rename(&self.aside, &self.file).expect("its place is free");
    }
}

#[test]
fn what_has_lost_its_file_gets_it_back_and_stays_what_it_is() {
    let (scratch, shop, [one, two]) = two_served();
    // What serves is older than one that has served.
    harm(&shop);
    for bytes in [&one, &two] {
        scratch.remove(&format!("data/store/{}.wasm", Digest::of(bytes)));
    }
    let steps = shop.steps();
    assert_eq!(shop.install(&one).expect("put back").state.name(), "active");
    says(shop.install(&two), "is in quarantine");
    assert_eq!(shop.steps(), steps, "nothing is told of it");
    assert_eq!(scratch.names("data/store").len(), 2);
    shop.shut();
    let shop = Shop::open(&scratch);
    assert_eq!((shop.state(&one), shop.state(&two)), ("active", "quarantined"));
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
}

#[test]
fn a_file_that_cannot_be_read_at_the_start_is_no_verdict() {
    let (scratch, shop, [one, two]) = two_served();
    shop.shut();
    let unreadable = Unreadable::new(&scratch, &two);
    let shop = Shop::open(&scratch);
    shop.look();
    assert_eq!((shop.state(&one), shop.state(&two)), ("active", "quarantined"));
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
    unreadable.mend();
    shop.look();
    assert_eq!((shop.state(&one), shop.state(&two)), ("standby", "active"));
    assert_eq!(shop.serves("a").as_deref(), Some("1.1.0"));
}

#[test]
fn hearing_as_a_shadow_changes_nothing_about_who_takes_over() {
    let (scratch, shop, [one, two]) = two_served();
    let hear = |wanted: &str| {
        let row = shop.lifecycle.find(wanted).expect("known");
        shop.lifecycle.begin_shadow(&row, 100, &order("")).expect("hears");
    };
    hear("a@1.0.0");
    assert_eq!(shop.lifecycle.rollback("a", &order("")).expect("goes back").version, "1.0.0");
    shop.serve(&two).expect("serves");
    hear("a@1.0.0");
    harm(&shop);
    assert_eq!((shop.state(&one), shop.state(&two)), ("active", "quarantined"));
    assert_eq!(shop.serves("a").as_deref(), Some("1.0.0"));
    // What was in quarantine is there again afterwards, and needs a reason in between.
    hear("a@1.1.0");
    says(shop.lifecycle.activate("a@1.1.0", &order("")), "needs a reason");
    shop.lifecycle.end_shadow("a", &order("seen enough")).expect("ends");
    assert_eq!(shop.state(&two), "quarantined");
    // Where nobody could take over, whoever hears no more may.
    shop.lifecycle.activate("a@1.1.0", &order("the meters were at fault")).expect("serves");
    hear("a@1.0.0");
    let unreadable = Unreadable::new(&scratch, &one);
    harm(&shop);
    assert_eq!((shop.state(&one), shop.serves("a")), ("shadow", None));
    unreadable.mend();
    shop.lifecycle.end_shadow("a", &order("seen enough")).expect("ends");
    assert_eq!((shop.state(&one), shop.serves("a").as_deref()), ("active", Some("1.0.0")));
}

#[test]
fn a_shadow_that_nobody_hears_ends_like_any_other() {
    let (_scratch, shop, [one, _]) = two_served();
    let row = shop.lifecycle.find("a@1.0.0").expect("known");
    shop.lifecycle.begin_shadow(&row, 1_000, &order("")).expect("stands as one");
    let Shop { lifecycle, catalog, views, journal } = shop;
    let lifecycle = Arc::new(lifecycle);
    let clock = Clock::new("Asia/Shanghai").expect("a zone");
    let review = Review::new(catalog, lifecycle.clone(), (journal.clone(), views.clone()), clock, BTreeMap::new());
    assert!(matches!(review.stop_shadow("a", &order("")), Ok(Ended::Deaf(ended)) if ended.digest == Digest::of(&one)));
    assert_eq!(lifecycle.row(&Digest::of(&one)).map(|row| row.state.name()), Some("standby"));
    assert!(matches!(review.stop_shadow("a", &order("")), Err(ReviewError::NoShadow(_))));
    drop((review, lifecycle));
    journal.close();
    views.close();
}

#[test]
fn what_is_in_quarantine_is_put_back_by_the_words_of_the_error() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let (kept, refused) = (release(7, "1.0.0"), release(6, "1.0.0"));
    shop.serve(&kept).expect("serves");
    // A build of the same version that was refused is not the one that is meant.
    says(shop.install(&refused), "a downgrade");
    harm(&shop);
    assert_eq!((shop.state(&kept), shop.state(&refused)), ("quarantined", "rejected"));
    let words = "is in quarantine; to put it back into service, name it and say why: `polymeter adapter activate \
                 a@1.0.0 --reason";
    says(shop.lifecycle.newest("a"), words);
    says(shop.install(&kept), words);
    shop.lifecycle.activate("a@1.0.0", &order("the meters were at fault")).expect("serves");
    assert_eq!(shop.state(&kept), "active");
    let digits = Digest::of(&kept).to_string();
    assert_eq!(shop.lifecycle.find(&format!("a@{}", &digits[..6])).expect("known").digest, Digest::of(&kept));
    assert_eq!(shop.lifecycle.newest(&digits[..8]).expect("known").digest, Digest::of(&kept));
    says(shop.lifecycle.find(&format!("a@{}", &digits[..5])), "names no version; of a digest give 6 digits or more");
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
