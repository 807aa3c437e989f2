//! Every single-byte change of a signed file, and every trick with stacked signatures, each refused with its own reason.

use super::*;
use wasm_encoder::{Component, ComponentSection, CustomSection, Module, ModuleSection};

fn vendor() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn operator() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

fn custom<'a>(name: &'a str, data: &'a [u8]) -> CustomSection<'a> {
    CustomSection { name: name.into(), data: data.into() }
}

/// A component with a module in it and a manifest after it.
fn plain(manifest: &[u8]) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(&Module::new()));
    component.section(&custom("polymeter:manifest", manifest));
    component.finish()
}

fn signed_by(bytes: &[u8], keys: &[&SecretKey]) -> Vec<u8> {
    keys.iter().fold(bytes.to_vec(), |bytes, key| sign(&bytes, key).expect("it can be signed"))
}

fn both(bytes: &[u8]) -> Vec<u8> {
    signed_by(bytes, &[&vendor(), &operator()])
}

fn section(file: &[u8], from_end: usize) -> Vec<u8> {
    let end = file.len() - from_end * SECTION_BYTES;
    file[end - SECTION_BYTES..end].to_vec()
}

#[test]
fn signatures_stack_and_say_what_they_cover() {
    let built = plain(b"{}");
    assert_eq!(signatures(&built), Ok(Signed { payload_len: built.len(), signatures: Vec::new() }));
    let file = both(&built);
    assert_eq!(file.len(), built.len() + 2 * SECTION_BYTES);
    let signed = signatures(&file).expect("it is signed");
    assert_eq!(signed.payload_len, built.len());
    let found: Vec<_> = signed.signatures.iter().map(|s| (s.key, s.covers)).collect();
    assert_eq!(found, [(vendor().public(), built.len()), (operator().public(), built.len() + SECTION_BYTES)]);
    // Signing is deterministic: the same file and key give the same bytes.
    assert_eq!(file, both(&built));
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&file)
        .expect("a signed component is a component");
}

#[test]
fn every_single_byte_change_is_refused() {
    let built = plain(b"{\"name\":\"a\"}");
    let one = signed_by(&built, &[&vendor()]);
    let two = both(&built);
    for (file, reasons) in [
        (one, &["NotComponent", "Malformed", "Form", "Hidden", "Key", "False"][..]),
        (two, &["NotComponent", "Malformed", "Form", "Buried", "Key", "False"][..]),
    ] {
        let mut found = std::collections::BTreeSet::new();
        let mut changed = file.clone();
        for at in 0..file.len() {
            // Every value where bytes have meaning, every flipped bit where they are numbers.
            let number = at >= built.len() && (at - built.len()) % SECTION_BYTES >= KEY_AT;
            for other in (1..=255_u8).filter(|mask| !number || mask.is_power_of_two()).map(|mask| file[at] ^ mask) {
                changed[at] = other;
                let error = signatures(&changed).expect_err(&format!("byte {at} made {other}"));
                let reason = format!("{error:?}");
                found.insert(reason.split(' ').next().unwrap_or_default().to_owned());
            }
            changed[at] = file[at];
        }
        assert_eq!(found, reasons.iter().map(|&reason| reason.to_owned()).collect());
    }
}

#[test]
fn a_file_that_ends_early_is_refused_unless_it_is_one_signed_by_fewer() {
    let built = plain(b"{}");
    let file = both(&built);
    for length in built.len()..file.len() {
        let cut = signatures(&file[..length]);
        match (length - built.len(), cut) {
            (0, Ok(signed)) => assert!(signed.signatures.is_empty()),
            (SECTION_BYTES, Ok(signed)) => assert_eq!(signed.signatures.len(), 1),
            (_, Err(SignatureError::Malformed { .. })) => {}
            (_, other) => panic!("cut to {length}: {other:?}"),
        }
    }
}

#[test]
fn tricks_with_stacked_signatures_are_refused() {
    let built = plain(b"{}");
    let other = plain(b"{\"x\":1}");
    let (file, replayed) = (both(&built), both(&other));
    let (first, second) = (section(&file, 1), section(&file, 0));
    let join = |parts: &[&[u8]]| parts.concat();
    let unknown = {
        let mut bytes = file.clone();
        custom("polymeter:notes", b"x").append_to_component(&mut bytes);
        bytes
    };
    let at = built.len();
    let (vendor, operator) = (vendor().public(), operator().public());
    for (what, file, expected) in [
        ("reordered", join(&[&built, &second, &first]), SignatureError::False { key: operator, at }),
        ("the vendor's removed from below", join(&[&built, &second]), SignatureError::False { key: operator, at }),
        (
            "replayed on another file",
            join(&[&built, &section(&replayed, 1)]),
            SignatureError::False { key: vendor, at },
        ),
        (
            "both replayed on another file",
            join(&[&other, &first, &second]),
            SignatureError::False { key: vendor, at: other.len() },
        ),
        (
            "the same one twice",
            join(&[&built, &first, &first]),
            SignatureError::False { key: vendor, at: at + SECTION_BYTES },
        ),
        ("a section after the signatures", unknown, SignatureError::Buried { at: at + 2 * SECTION_BYTES }),
        (
            "a zero byte after the signatures",
            join(&[&file, &[0]]),
            SignatureError::Malformed { at: file.len(), what: "no whole section begins here".into() },
        ),
        (
            "an empty section between two",
            join(&[&built, &first, &[0, 1, 0], &second]),
            SignatureError::Buried { at: at + SECTION_BYTES },
        ),
        (
            "signatures before the payload",
            join(&[&built[..8], &first, &built[8..]]),
            SignatureError::Buried { at: 134 },
        ),
        ("a core module", Module::new().finish(), SignatureError::NotComponent),
    ] {
        assert_eq!(signatures(&file), Err(expected), "{what}");
    }
}

#[test]
fn the_same_signer_counts_once() {
    let file = signed_by(&plain(b"{}"), &[&vendor()]);
    let twice = SignatureError::Twice { key: vendor().public() };
    assert_eq!(sign(&file, &vendor()), Err(twice.clone()));
    // Made by hand, since `sign` refuses: true, but no second opinion.
    let message = statement(Sha256::new().chain_update(&file));
    let forged = [&file[..], HEADER, FORMAT, vendor().public().as_bytes(), &vendor().sign(&message)].concat();
    assert_eq!(signatures(&forged), Err(twice));
}

#[test]
fn no_more_signatures_than_a_chain_of_trade_has_hands() {
    let keys: Vec<_> = (1..=SIGNATURES_MAX as u8).map(|seed| SecretKey::from_seed(&[seed; 32])).collect();
    let file = signed_by(&plain(b"{}"), &keys.iter().collect::<Vec<_>>());
    assert_eq!(signatures(&file).map(|signed| signed.signatures.len()), Ok(SIGNATURES_MAX));
    assert_eq!(sign(&file, &SecretKey::from_seed(&[99; 32])), Err(SignatureError::TooMany));
    assert_eq!(signatures(&[&file[..], &section(&file, 0)].concat()), Err(SignatureError::TooMany));
}

#[test]
fn sizes_have_one_spelling() {
    let built = plain(b"{}");
    let file = signed_by(&built, &[&vendor()]);
    let tail = &file[built.len()..];
    // The section's size, then the name's, in two bytes where one does.
    let long_section = [&built[..], &[0, 0xfc, 0], &tail[2..]].concat();
    let long_name = [&built[..], &[0, 0x7d, 0x93, 0], &tail[3..]].concat();
    for file in [long_section, long_name] {
        assert_eq!(signatures(&file), Err(SignatureError::Form { at: built.len(), what: "its size" }));
    }
    // Swallowed by the section before it, whose size grew: the file still parses.
    let mut swallowed = Component::new();
    swallowed.section(&custom("polymeter:manifest", &[b"{}", tail].concat()));
    assert_eq!(signatures(&swallowed.finish()), Err(SignatureError::Hidden));
}

#[test]
fn a_signature_inside_vouches_for_nothing() {
    let inner = signed_by(&plain(b"{}"), &[&vendor()]);
    let mut in_component = Component::new();
    in_component.section(&custom("note", b"pushes the nested one to the front"));
    let mut nested = in_component.finish();
    NestedBytes(&inner).append_to(&mut nested);
    custom("polymeter:manifest", b"{}").append_to_component(&mut nested);
    let mut module = Module::new();
    module.section(&custom(SIGNATURE_SECTION, b"x"));
    let mut in_module = Component::new();
    in_module.section(&ModuleSection(&module));
    for file in [nested, in_module.finish()] {
        assert!(matches!(signatures(&file), Err(SignatureError::Nested { .. })), "{:?}", signatures(&file));
        assert!(matches!(sign(&file, &vendor()), Err(SignatureError::Nested { .. })));
    }
}

/// A component's bytes as a nested component section.
struct NestedBytes<'a>(&'a [u8]);

impl NestedBytes<'_> {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        let mut size = self.0.len();
        bytes.push(4);
        while size >= 0x80 {
            bytes.push(size as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        bytes.extend_from_slice(self.0);
    }
}

#[test]
fn a_signature_has_no_second_form() {
    // S + L, where L is the order of the group, satisfies the equation too; strict checking refuses it.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut file = signed_by(&plain(b"{}"), &[&vendor()]);
    let s = file.len() - 32;
    let mut carry = 0_u16;
    for (index, part) in ORDER.iter().enumerate() {
        let sum = u16::from(file[s + index]) + u16::from(*part) + carry;
        file[s + index] = sum as u8;
        carry = sum >> 8;
    }
    assert!(matches!(signatures(&file), Err(SignatureError::False { .. })));
    // A weak key has signatures that anybody can make.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(PublicKey::from_bytes(&weak), None);
}

#[test]
fn keys_are_written_and_read() {
    let (secret, public) = (vendor(), vendor().public());
    assert_eq!(public.to_string().parse(), Ok(public));
    assert_eq!(SecretKey::from_file(&secret.to_file()).map(|key| key.public()), Ok(public));
    for (text, expected) in [
        ("", KeyTextError::Public),
        ("ed25519:12", KeyTextError::Public),
        ("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c", KeyTextError::Public),
        ("ed25519-secret:01", KeyTextError::SecretWherePublic),
        ("ed25519:0100000000000000000000000000000000000000000000000000000000000000", KeyTextError::Unusable),
    ] {
        assert_eq!(text.parse::<PublicKey>(), Err(expected), "{text}");
    }
    let line = format!("ed25519-secret:{}", "01".repeat(32));
    for (text, good) in [
        (line.clone(), true),
        (format!("# mine\n\n  {line}  \n"), true),
        (format!("{line}\n{line}"), false),
        (public.to_string(), false),
        (String::new(), false),
    ] {
        assert_eq!(SecretKey::from_file(&text).is_ok(), good, "{text}");
    }
}

proptest::proptest! {
    /// Whatever comes, there is an answer, and no damage leaves a signer that did not sign these very bytes.
    #[test]
    fn any_bytes_have_an_answer(
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0_u8..=255), 1..6),
    ) {
        let file = both(&plain(b"{}"));
        let _ = signatures(&tail);
        let _ = signatures(&[&file[..8], &tail].concat());
        let _ = signatures(&[&file[..], &tail].concat());
        let mut changed = file.clone();
        for (index, value) in changes {
            let at = index.index(changed.len());
            changed[at] = value;
        }
        let count = signatures(&changed).map_or(0, |signed| signed.signatures.len());
        proptest::prop_assert!(count == 0 || changed == file);
    }
}
