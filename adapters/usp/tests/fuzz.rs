//! Damage of every kind, to every good frame of the vectors: whatever comes, the adapter returns, and what it returns is bounded.
//!
//! That damage which the check sum shows is noticed, is tested beside the vectors. Here the sum is made to fit again, so that the
//! parsers behind it have to stand the damage, and the tag of a sealed frame has to notice it.

use polymeter_sdk::rehearsal::cases_and_seed;
use polymeter_sdk::vectors::{Case, configure, context, load};
use polymeter_sdk::{Adapter, Context, Decoded, Fault, FaultKind, Framing, Message, checksum};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use usp::Usp;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
const CASES: u64 = 40_000;
const SEED: u64 = 0x3004_3043;
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

fn with_sum(mut frame: Vec<u8>) -> Vec<u8> {
    let end = frame.len() - 3;
    let sum = checksum::crc16_modbus(&frame[..end]).to_le_bytes();
    frame[end..end + 2].copy_from_slice(&sum);
    frame
}

/// `body` with a length and a sum that fit.
fn with_body(frame: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = [&frame[..HEADER_BYTES], body, &[0, 0, 0x16]].concat();
    out[16..18].copy_from_slice(&(body.len() as u16).to_le_bytes());
    with_sum(out)
}

/// Typed and within the contract's bounds.
fn bounded(what: &str, result: &Result<Decoded, Fault>) {
    match result {
        Err(fault) => assert!(fault.detail.len() <= 200 && !fault.detail.is_empty(), "{what}: {}", fault.detail),
        Ok(decoded) => {
            assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "{what}");
            assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "{what}");
            assert!(decoded.messages.len() <= 128, "{what}: {} messages", decoded.messages.len());
            for message in &decoded.messages {
                if let Message::Report(r) = message {
                    assert!(r.registers.iter().all(|r| (-18..=18).contains(&r.exponent)), "{what}");
                    assert!(r.series.iter().all(|s| s.samples.len() <= 125), "{what}");
                }
            }
        }
    }
}

#[test]
fn damage_behind_a_fitting_sum_is_a_fault_or_a_frame_of_its_own() {
    for (case, good) in good_frames() {
        let adapter: Usp = configure(&case).expect("the vector's profile is valid");
        let context = context(&case).expect("the vector's context is valid");
        let body_end = good.len() - 3;
        let (sealed, before) = (good[SECURITY_AT] != 0, adapter.decode(&context, &good).expect("good"));
        let look = |what: &str, bytes: &[u8]| {
            let what = format!("{}: {what}", case.name);
            let result = adapter.decode(&context, bytes);
            bounded(&what, &result);
            if sealed && bytes[SECURITY_AT] != 0 && !before.messages.is_empty() {
                assert!(result.is_err(), "{what}: the tag has not noticed");
            }
        };
        for bit in 0..body_end * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            look(&format!("bit {} of byte {}", bit % 8, bit / 8), &with_sum(bytes));
        }
        let body = &good[HEADER_BYTES..body_end];
        for length in 0..body.len() {
            look(&format!("body cut to {length}"), &with_body(&good, &body[..length]));
        }
        look("a body byte too many", &with_body(&good, &[body, &[0]].concat()));
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
        for length in 0..memory.len() {
            let mut cut = context.clone();
            cut.device.as_mut().expect("it has one").memory.truncate(length);
            bounded(&case.name, &adapter.decode(&cut, &frame));
        }
        let state = decoded.state.unwrap_or_default();
        for length in 1..state.len() {
            let cut = Context { state: state[..length].to_vec(), ..context.clone() };
            bounded(&case.name, &adapter.decode(&cut, &frame));
        }
    }
}

#[test]
fn random_bytes_mixed_into_good_frames_panic_nowhere() {
    let (cases, seed) = cases_and_seed(CASES, SEED);
    let mut rng = StdRng::seed_from_u64(seed);
    let good = good_frames();
    for number in 0..cases {
        let (case, frame) = &good[rng.random_range(0..good.len())];
        let adapter: Usp = configure(case).expect("the vector's profile is valid");
        let mut context = context(case).expect("the vector's context is valid");
        let mut bytes = frame.clone();
        match rng.random_range(0..4) {
            0 => bytes.truncate(rng.random_range(1..=bytes.len())),
            1 => (0..rng.random_range(1..8)).for_each(|_| {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }),
            2 => {
                let mut body = vec![0; rng.random_range(0..1024)];
                rng.fill(&mut body[..]);
                bytes = with_body(frame, &body);
            }
            _ => {
                let mut state = vec![0; rng.random_range(0..80)];
                rng.fill(&mut state[..]);
                if let Some(first) = state.first_mut() {
                    *first = rng.random_range(0..4);
                }
                (context.state, context.now) = (state, rng.random());
            }
        }
        let what = format!("case {number}, {}", case.name);
        bounded(&what, &adapter.decode(&context, &bytes));
        match adapter.frame(&bytes) {
            Framing::Frame(n) | Framing::Skip(n) => assert!((1..=bytes.len()).contains(&(n as usize)), "{what}: {n}"),
            Framing::Incomplete(n) => assert!((1..=1045).contains(&n), "{what}: {n}"),
            Framing::Foreign => {}
        }
    }
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
