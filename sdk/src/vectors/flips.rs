//! What damage may do: every truncation and every single flipped bit of every good uplink frame.

use super::{Case, configure, context, decoded_json, load};
use crate::{Adapter, Framing};
use serde_json::Value;
use std::path::Path;

/// Damaged frames must be recognised, or mean the same: framing that is not a whole frame, a typed fault, or the vector's own
/// messages. A panic or another meaning fails.
pub fn truncations_and_bitflips<A: Adapter>(directory: impl AsRef<Path>) {
    let mut failures = Vec::new();
    let mut damaged = 0_u32;
    for (_, file) in load(directory.as_ref()).expect("vector files can be read") {
        for case in file.vectors.iter().filter(|c| c.expect.get("messages").is_some()) {
            damaged += damage::<A>(case, &mut failures);
        }
    }
    assert!(damaged > 0, "no good frame in {}", directory.as_ref().display());
    assert!(failures.is_empty(), "{} of {damaged} damaged frames\n{}", failures.len(), failures.join("\n"));
}

fn damage<A: Adapter>(case: &Case, failures: &mut Vec<String>) -> u32 {
    let adapter: A = configure(case).expect("the vector's profile is valid");
    let context = context(case).expect("the vector's context is valid");
    let text = case.frame.as_deref().unwrap_or_default().replace([' ', '\n'], "");
    let good = hex::decode(text).expect("the vector's frame is hex");
    let mut damaged = 0;
    let mut look = |what: String, bytes: &[u8]| {
        damaged += 1;
        if let Framing::Frame(length) = adapter.frame(bytes) {
            let frame = bytes.get(..length as usize);
            let Some(frame) = frame.filter(|f| !f.is_empty()) else {
                return failures.push(format!("{}: {what}: frame of {length} bytes in {}", case.name, bytes.len()));
            };
            let meaning = adapter.decode(&context, frame).map(|d| decoded_json(&d));
            if meaning.as_ref().is_ok_and(|m| m.get("messages") != case.expect.get("messages")) {
                failures.push(format!("{}: {what}: means {}", case.name, meaning.unwrap_or(Value::Null)));
            }
        }
        // Called directly too, as a datagram is: any result will do, a panic will not.
        let _ = adapter.decode(&context, bytes);
    };
    for length in 1..good.len() {
        look(format!("cut to {length} bytes"), &good[..length]);
    }
    let mut bytes = good.clone();
    for bit in 0..good.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        look(format!("bit {} of byte {} flipped", bit % 8, bit / 8), &bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    damaged
}
