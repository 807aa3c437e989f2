//! Signatures and the trust file: what is refused, each with its own reason, and every way around them.

use crate::lifecycle::Unreadable;
use polymeter::adapter::{SecretKey, sign};
use polymeter::lifecycle::{LifecycleError, Trust, Unsigned};
use polymeter::limits::TRUST_BLANK_LOOKS;
use polymeter::model::Digest;
use polymeter_tests::guest::Guest;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::shop::Shop;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

const VENDOR: u8 = 1;
const OPERATOR: u8 = 2;
const STRANGER: u8 = 9;

fn signed_by(bytes: &[u8], seeds: &[u8]) -> Vec<u8> {
    seeds.iter().fold(bytes.to_vec(), |bytes, seed| sign(&bytes, &key(*seed)).expect("signed"))
}

fn adapter() -> Vec<u8> {
    Guest::new("a").component()
}

/// A trust file that wants the vendor and one of two operators; `more` follows.
fn trust(more: &str) -> String {
    let [vendor, north, south, old] = [VENDOR, OPERATOR, 3, 4].map(|seed| key(seed).public());
    format!(
        "[keys]\nacme = \"{vendor}\"\nnorth = \"{north}\"\nsouth = {{ key = \"{south}\", expires = \"2020-01-31\" }}\n\
         old = \"{old}\"\n\n[[rule]]\nadapters = [\"a\", \"b_*\"]\nvendor = \"polymeter\"\nrealms = [\"test\"]\n\
         all_of = [\"acme\"]\nany_of = [\"north\", \"south\"]\n\n{more}"
    )
}

fn refusal(bytes: &[u8], trust_file: Option<&str>) -> String {
    let scratch = Scratch::new();
    if let Some(text) = trust_file {
        scratch.write("data/trust.toml", text.as_bytes());
    }
    let shop = Shop::strict(&scratch);
    match shop.serve(bytes) {
        Ok(row) => format!("{}: {}", row.state.name(), shop.catalog.active(&row.name).expect("it serves").version()),
        Err(error) => {
            assert!(shop.catalog.active("a").is_none(), "refused, and serves nevertheless");
            assert_eq!(scratch.names("data/store"), [""; 0]);
            error.to_string()
        }
    }
}

#[test]
fn each_refusal_has_its_own_reason() {
    let plain = adapter();
    let both = signed_by(&plain, &[VENDOR, OPERATOR]);
    let revoked_digest = format!("[revoked]\ndigests = [\"{}\"]\n", Digest::of(&plain));
    let other_vendor = Guest { vendor: "Acme", ..Guest::new("a") }.component();
    let other_realm = Guest { realm: "usp", ..Guest::new("a") }.component();
    let other_name = Guest::new("c").component();
    let rows: &[(Vec<u8>, &str, &str)] = &[
        (both.clone(), "", "active: 1.0.0"),
        (signed_by(&plain, &[OPERATOR, VENDOR]), "", "active: 1.0.0"),
        (signed_by(&plain, &[VENDOR, STRANGER, OPERATOR]), "", "active: 1.0.0"),
        (signed_by(&Guest::new("b_2").component(), &[VENDOR, OPERATOR]), "", "active: 1.0.0"),
        (plain.clone(), "", "unsigned: sign it with `polymeter adapter sign`"),
        (signed_by(&plain, &[VENDOR]), "", "none of north, south has signed"),
        (signed_by(&plain, &[OPERATOR]), "", "the signature of acme is missing"),
        (signed_by(&plain, &[STRANGER]), "", "which trust.toml does not know"),
        (signed_by(&plain, &[VENDOR, 3]), "", "the key `south` expired on 2020-01-31"),
        (signed_by(&plain, &[VENDOR, 3, OPERATOR]), "", "active: 1.0.0"),
        (signed_by(&other_vendor, &[VENDOR, OPERATOR]), "", "wants `polymeter` as the vendor of `a`"),
        (signed_by(&other_realm, &[VENDOR, OPERATOR]), "", "does not let `a` speak for devices of realm `usp`"),
        (signed_by(&other_name, &[VENDOR, OPERATOR]), "", "no rule in trust.toml names the adapter `c`"),
        (both.clone(), "[revoked]\nkeys = [\"acme\"]\n", "signed with the revoked key `acme`"),
        (
            signed_by(&plain, &[4, VENDOR, OPERATOR]),
            "[revoked]\nkeys = [\"old\"]\n",
            "signed with the revoked key `old`",
        ),
        // Another signature makes another file, but not another adapter.
        (both.clone(), &revoked_digest, "revoked: trust.toml names"),
        (signed_by(&both, &[STRANGER]), &revoked_digest, "revoked: trust.toml names"),
    ];
    for (bytes, more, expected) in rows {
        let found = refusal(bytes, Some(&trust(more)));
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
    assert!(refusal(&both, None).contains("no rule in trust.toml"), "without a trust file nobody is trusted");
    assert!(refusal(&plain, None).contains("start the station with --dev"));
}

#[test]
fn every_changed_byte_of_a_signed_file_is_refused() {
    let trust_file = trust("");
    let trust = Trust::parse(&trust_file).expect("a trust file");
    let whole = signed_by(&adapter(), &[VENDOR, OPERATOR]);
    let manifest = Guest::new("a").manifest();
    let judge = |bytes: &[u8]| {
        let judged = polymeter::lifecycle::Judged::Again;
        trust.judge(bytes, &manifest, polymeter::lifecycle::Unsigned::Refused, judged)
    };
    assert!(judge(&whole).is_ok());
    let mut bytes = whole.clone();
    for at in 0..bytes.len() {
        for change in [1_u8, 0x80] {
            bytes[at] ^= change;
            assert!(judge(&bytes).is_err(), "byte {at} changed by {change}");
            bytes[at] ^= change;
        }
    }
    for length in 0..whole.len() {
        assert!(judge(&whole[..length]).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn signatures_cannot_be_taken_off_moved_or_lent() {
    let (one, two) = (adapter(), Guest { version: "1.1.0", ..Guest::new("a") }.component());
    let signed = signed_by(&one, &[VENDOR, OPERATOR]);
    let section = (signed.len() - one.len()) / 2;
    let (vendor, operator) = signed[one.len()..].split_at(section);
    for (what, bytes, expected) in [
        ("the operator's is taken off", [&one[..], vendor].concat(), "none of north, south has signed"),
        ("the vendor's is taken off", [&one[..], operator].concat(), "is false"),
        ("they are exchanged", [&one[..], operator, vendor].concat(), "is false"),
        ("both are lent to another file", [&two[..], vendor, operator].concat(), "is false"),
        ("something is added behind", [&signed[..], &[0, 2, 1, b'x']].concat(), "something was added after signing"),
    ] {
        let found = refusal(&bytes, Some(&trust("")));
        assert!(found.contains(expected), "{what}: {found:?} does not say {expected:?}");
    }
}

#[test]
fn a_trust_file_that_says_nothing_clear_is_refused_by_line() {
    let vendor = key(VENDOR).public();
    for (text, expected) in [
        ("[keys]\nacme = \"x\"\n".to_owned(), "line 2: key `acme`: a public key is written `ed25519:`"),
        ("[[rule]]\nadapters = [\"a\"]\n".to_owned(), "line 1: a rule without all_of and any_of"),
        ("\n[[rule]]\nadapters = []\nall_of = [\"b\"]\n".to_owned(), "line 2: name the adapters"),
        ("[[rule]]\nadapters = [\"a\"]\nall_of = [\"b\"]\n".to_owned(), "line 1: the key `b` is not under [keys]"),
        ("[revoked]\nkeys = [\"nobody\"]\n".to_owned(), "line 2: `nobody` is neither a name"),
        ("[revoked]\ndigests = [\"12\"]\n".to_owned(), "line 2: a digest has 64 hex digits"),
        ("[key]\n".to_owned(), "line 1: unknown field `key`"),
        (format!("[keys]\na = {{ key = \"{vendor}\", expires = \"soon\" }}\n"), "line 2: `soon` is no day"),
        (
            format!("[keys]\na = {{ key = \"{vendor}\", expires = \"20260101\" }}\n"),
            "line 2: `20260101` is no day; write it as 2027-12-31",
        ),
        (
            format!("[keys]\na = {{ key = \"{vendor}\", expires = \"2026-01-01T00:00\" }}\n"),
            "line 2: `2026-01-01T00:00`",
        ),
        (format!("[keys]\na = {{ key = \"{vendor}\", note = \"x\" }}\n"), "line 2: unknown field `note`"),
        ("[keys]\na = 2027-12-31\n".to_owned(), "line 2: a date stands in quotes"),
        (format!("[keys]\na = {{ key = \"{vendor}\", expires = 2027-12-31 }}\n"), "line 2: "),
        (format!("[keys]\na = \"{vendor}\"\nb = \"{vendor}\"\n"), "line 3: `b` and `a` are the same key"),
        ("[[rule]]\nadapters = [\"ac*me\"]\nall_of = [\"b\"]\n".to_owned(), "line 1: `ac*me`: a `*` stands"),
    ] {
        let error = Trust::parse(&text).expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        let scratch = Scratch::new();
        scratch.write("data/trust.toml", text.as_bytes());
        let refused = Shop::strict(&scratch).serve(&adapter());
        assert!(matches!(refused, Err(LifecycleError::TrustFile(_))), "{refused:?}");
    }
}

/// A revocation does not wait for a restart, and a restart does not forget it.
#[test]
fn what_is_revoked_stops_serving() {
    let scratch = Scratch::new();
    scratch.write("data/trust.toml", trust("").as_bytes());
    let shop = Shop::strict(&scratch);
    let old = signed_by(&adapter(), &[VENDOR, OPERATOR]);
    let new = signed_by(&Guest { version: "1.1.0", ..Guest::new("a") }.component(), &[VENDOR, 4, OPERATOR]);
    shop.serve(&old).expect("serves");
    shop.serve(&new).expect("serves");
    shop.look();
    scratch.write("data/trust.toml", trust("[revoked]\nkeys = [\"old\"]\n").as_bytes());
    shop.look();
    shop.lifecycle.carry_out().expect("carried out");
    assert_eq!((shop.state(&old), shop.state(&new)), ("active", "quarantined"));
    shop.shut();
    scratch.write("data/trust.toml", trust(&format!("[revoked]\ndigests = [\"{}\"]\n", Digest::of(&old))).as_bytes());
    let shop = Shop::strict(&scratch);
    assert_eq!((shop.state(&old), shop.serves("a")), ("quarantined", Some("1.1.0".into())), "trusted again, and not");
    // Neither a mistake in the file nor one that is taken back costs more than the time that it lasts.
    shop.shut();
    scratch.write("data/trust.toml", b"[revoke]\n");
    let refused = Shop::attempt(&scratch, Unsigned::Refused, Vec::new()).err();
    assert!(matches!(refused, Some(LifecycleError::TrustFile(_))), "no verdict on any adapter: {refused:?}");
    scratch.write("data/trust.toml", trust("").as_bytes());
    let shop = Shop::strict(&scratch);
    assert_eq!((shop.state(&old), shop.serves("a")), ("quarantined", Some("1.1.0".into())));
}

/// Neither a journal that cannot tell of it nor a disk that cannot give the file makes anybody forget who was revoked.
#[test]
fn a_revocation_is_made_up_for() {
    let scratch = Scratch::new();
    let shop = Shop::open(&scratch);
    let [one, two, three] = ["a", "b", "c"].map(|name| Guest::new(name).component());
    for bytes in [&one, &two, &three] {
        shop.serve(bytes).expect("serves");
    }
    shop.look();
    let revoke = |revoked: &[&Vec<u8>]| {
        let digests: Vec<String> = revoked.iter().map(|bytes| format!("\"{}\"", Digest::of(bytes))).collect();
        scratch.write("data/trust.toml", format!("[revoked]\ndigests = [{}]\n", digests.join(", ")).as_bytes());
        shop.lifecycle.follow_trust();
    };
    shop.without_journal(&scratch, || {
        revoke(&[&one, &two]);
        let failed = shop.lifecycle.carry_out();
        assert!(matches!(failed, Err(LifecycleError::Journal(_))), "{failed:?}");
        assert_eq!([&one, &two].map(|bytes| shop.state(bytes)), ["active"; 2]);
    });
    shop.lifecycle.carry_out().expect("carried out");
    assert_eq!([&one, &two].map(|bytes| shop.state(bytes)), ["quarantined"; 2]);
    let unreadable = Unreadable::new(&scratch, &three);
    revoke(&[&one, &two, &three]);
    shop.lifecycle.carry_out().expect("carried out");
    assert_eq!(shop.state(&three), "active");
    unreadable.mend();
    shop.lifecycle.follow_trust();
    shop.lifecycle.carry_out().expect("carried out");
    assert_eq!(shop.state(&three), "quarantined");
}

/// Whoever writes a file anew empties it first: a fleet does not fall silent for that moment.
#[test]
fn an_empty_trust_file_is_believed_only_after_a_while() {
    let scratch = Scratch::new();
    scratch.write("data/trust.toml", trust("").as_bytes());
    let shop = Shop::strict(&scratch);
    let bytes = signed_by(&adapter(), &[VENDOR, OPERATOR]);
    shop.serve(&bytes).expect("serves");
    let looks = |count: u32| {
        for _ in 0..count {
            shop.look();
            shop.lifecycle.carry_out().expect("carried out");
        }
        shop.state(&bytes)
    };
    assert_eq!(looks(1), "active");
    for empty in ["", " \n", "# the keys follow\n"] {
        scratch.write("data/trust.toml", empty.as_bytes());
        assert_eq!(looks(1), "active", "{empty:?}");
        assert!(shop.install(&bytes).is_err(), "what comes in is judged by the file as it is");
        scratch.write("data/trust.toml", trust("").as_bytes());
        assert_eq!(looks(TRUST_BLANK_LOOKS + 1), "active", "{empty:?}");
    }
    scratch.remove("data/trust.toml");
    assert_eq!(looks(TRUST_BLANK_LOOKS), "active");
    assert_eq!(looks(1), "quarantined");
    scratch.write("data/trust.toml", trust("").as_bytes());
    assert_eq!(looks(1), "active");
}

/// Keys expire for what comes in, not for what was let in before: a fleet does not fall silent at midnight.
#[test]
fn what_serves_goes_on_when_its_key_expires_and_unsigned_files_do_not_without_dev() {
    let scratch = Scratch::new();
    scratch.write("data/trust.toml", trust("").replace("2020-01-31", "9999-12-31").as_bytes());
    let shop = Shop::strict(&scratch);
    let bytes = signed_by(&adapter(), &[VENDOR, 3]);
    shop.serve(&bytes).expect("serves");
    shop.shut();
    scratch.write("data/trust.toml", trust("").as_bytes());
    let shop = Shop::strict(&scratch);
    assert_eq!(shop.state(&bytes), "active");
    shop.shut();
    let unsigned = Guest { version: "2.0.0", ..Guest::new("a") }.component();
    scratch.write("adapters/a.wasm", &unsigned);
    let shop = Shop::open(&scratch);
    shop.look();
    assert_eq!(shop.state(&unsigned), "active");
    shop.shut();
    let shop = Shop::strict(&scratch);
    assert_eq!((shop.state(&unsigned), shop.state(&bytes)), ("quarantined", "active"));
    assert_eq!(shop.look(), [""; 0], "known, and told once");
    shop.shut();
    let shop = Shop::open(&scratch);
    shop.look();
    assert_eq!(shop.state(&unsigned), "active", "with --dev it is welcome again");
}
