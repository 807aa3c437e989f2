//! Damage of every kind, to every good frame of the vectors: whatever comes, the adapter returns, and what it returns is bounded.
//!
//! That damage which the check sum shows is noticed, is tested beside the vectors. Here the sum is made to fit again, so that the
//! parsers behind it have to stand the damage, and the tag of a sealed frame has to notice it.

use polymeter_sdk::rehearsal::{Bounds, Named, cases};
use polymeter_sdk::vectors::{Case, configure, context, load};
use polymeter_sdk::{Adapter, Context, FaultKind, checksum};
use std::fmt::Arguments;
use usp::Usp;

const BOUNDS: Bounds = Bounds {
    frame_max: 1045,
    values_per_byte: Some(1),
    collected_max: 0,
    messages_max: 128,
    values_max: 125,
    ..Bounds::CONTRACT
};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
const HEADER_BYTES: usize = 18;
const SECURITY_AT: usize = 15;

/// The vectors that are told of a terminal and decode: adapter, context and frame of each.
fn good_frames() -> Vec<(Case, Vec<u8>)> {
    let files = load(VECTORS.as_ref()).expect("vector files can be read");
    let cases =
        files.into_iter().flat_map(|(_, file)| file.vectors).filter(|case| case.expect.get("messages").is_some());
    let with_frame = |case: Case| {
        let frame = hex::decode(case.frame.as_deref().unwrap_or_default()).expect("hex");
        (case, frame)
    };
    cases.map(with_frame).collect()
}

fn mend(frame: &mut [u8]) {
    let end = frame.len() - 3;
    let sum = checksum::crc16_modbus(&frame[..end]).to_le_bytes();
    frame[end..end + 2].copy_from_slice(&sum);
}

fn with_sum(mut frame: Vec<u8>) -> Vec<u8> {
    mend(&mut frame);
    frame
}

/// `body` with a length and a sum that fit.
fn with_body(frame: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = [&frame[..HEADER_BYTES], body, &[0, 0, 0x16]].concat();
    out[16..18].copy_from_slice(&(body.len() as u16).to_le_bytes());
    with_sum(out)
}

#[test]
fn damage_behind_a_fitting_sum_is_a_fault_or_a_frame_of_its_own() {
    for (case, good) in good_frames() {
        let adapter: Usp = configure(&case).expect("the vector's profile is valid");
        let context = context(&case).expect("the vector's context is valid");
        let body_end = good.len() - 3;
        let (sealed, before) = (good[SECURITY_AT] != 0, adapter.decode(&context, &good).expect("good"));
        let look = |what: Arguments, bytes: &[u8]| {
            let _named = Named(format_args!("{}: {what}", case.name));
            let result = BOUNDS.decode(&adapter, &context, bytes);
            if sealed && bytes[SECURITY_AT] != 0 && !before.messages.is_empty() {
                assert!(result.is_err(), "the tag has not noticed");
            }
        };
        for bit in 0..body_end * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            look(format_args!("bit {} of byte {}", bit % 8, bit / 8), &with_sum(bytes));
        }
        let body = &good[HEADER_BYTES..body_end];
        for length in 0..body.len() {
            look(format_args!("body cut to {length}"), &with_body(&good, &body[..length]));
        }
        look(format_args!("a body byte too many"), &with_body(&good, &[body, &[0]].concat()));
    }
}

/// Memory and state come from a store: whatever was in it, nothing panics.
#[test]
fn damaged_memory_and_state_are_a_fault_or_are_learned_anew() {
    for (case, frame) in good_frames() {
        let adapter: Usp = configure(&case).expect("the vector's profile is valid");
        let context = context(&case).expect("the vector's context is valid");
        let memory = context.device.as_ref().map(|d| d.memory.clone()).unwrap_or_default();
        let decoded = adapter.decode(&context, &frame).expect("good");
        let _named = Named(&case.name);
        for length in 0..memory.len() {
            let mut cut = context.clone();
            cut.device.as_mut().expect("it has one").memory.truncate(length);
            _ = BOUNDS.decode(&adapter, &cut, &frame);
        }
        let state = decoded.state.unwrap_or_default();
        for length in 1..state.len() {
            let cut = Context { state: state[..length].to_vec(), ..context.clone() };
            _ = BOUNDS.decode(&adapter, &cut, &frame);
        }
    }
}

#[test]
fn random_bytes_mixed_into_good_frames_panic_nowhere() {
    let good = good_frames();
    cases(40_000, 0x3004_3043, |dice| {
        let (case, frame) = dice.of(&good);
        let _named = Named(&case.name);
        let adapter: Usp = configure(case).expect("the vector's profile is valid");
        let mut context = context(case).expect("the vector's context is valid");
        let mut bytes = frame.clone();
        match dice.range(0..4) {
            0 | 1 => dice.damage(&mut bytes, 0..frame.len() - 3, mend),
            2 => bytes = with_body(frame, &dice.bytes(0..1024)),
            _ => {
                (context.state, context.now) = (dice.bytes(0..80), dice.any());
                if let Some(first) = context.state.first_mut() {
                    *first = dice.range(0..4);
                }
            }
        }
        BOUNDS.hear(&adapter, &context, &bytes);
    });
}

/// A vector that must fail fails with a kind that says why, and never with one of a command's.
#[test]
fn faults_of_frames_are_of_frames() {
    for (case, frame) in good_frames() {
        let adapter: Usp = configure(&case).expect("the vector's profile is valid");
        let context = context(&case).expect("the vector's context is valid");
        for at in 0..frame.len() - 3 {
            let mut bytes = frame.clone();
            bytes[at] ^= 0xFF;
            if let Err(fault) = adapter.decode(&context, &with_sum(bytes)) {
                assert!(
                    !matches!(fault.kind, FaultKind::Unsupported | FaultKind::OutOfRange),
                    "{}: {fault:?}",
                    case.name
                );
            }
        }
    }
}
