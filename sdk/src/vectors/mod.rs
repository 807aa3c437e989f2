//! Golden vectors run natively: bytes, expectation, provenance.
//!
//! The files under an adapter's `vectors/` also travel inside its component, where the station runs them again; both must
//! agree. The format is described in the crate's README. This module only ever panics to fail a test.

mod command;
mod file;
mod flips;
pub mod json;

pub use file::{Case, ContextCase, DeviceCase, VectorFile, load};
pub use flips::truncations_and_bitflips;

use crate::keys::store;
use crate::{
    Adapter, Admission, Civil, Context, Decoded, Device, Direction, Encoded, Fault, Framing, Transport, civil,
};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Runs every vector of a directory and fails with all differences at once.
pub fn check<A: Adapter>(directory: impl AsRef<Path>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for (path, file) in load(directory.as_ref()).expect("vector files can be read") {
        for case in &file.vectors {
            count += 1;
            if let Err(difference) = run::<A>(case) {
                failures.push(format!("{path}: {}\n{difference}", case.name));
            }
        }
    }
    assert!(count > 0, "no vector in {}", directory.as_ref().display());
    assert!(failures.is_empty(), "{} of {count} vectors differ\n\n{}", failures.len(), failures.join("\n\n"));
}

/// One vector: `Err` is the difference for people.
pub fn run<A: Adapter>(case: &Case) -> Result<(), String> {
    let found = outcome::<A>(case)?;
    let mut lines = Vec::new();
    compare("", &case.expect, &found, &mut lines);
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

/// What the adapter makes of a vector, in the form of its `expect`.
pub fn outcome<A: Adapter>(case: &Case) -> Result<Value, String> {
    let adapter = configure::<A>(case)?;
    let context = context(case)?;
    match (&case.frame, &case.command) {
        (Some(frame), None) => {
            let frame = hex::decode(frame.replace([' ', '\n'], "")).map_err(|e| format!("frame: {e}"))?;
            match adapter.decode(&context, &frame) {
                Ok(decoded) => match adapter.frame(&frame) {
                    Framing::Frame(length) if length as usize == frame.len() => Ok(decoded_json(&decoded)),
                    other => Err(format!("decodes, but framing says {other:?} of {} bytes", frame.len())),
                },
                Err(fault) => Ok(fault_json(&fault)),
            }
        }
        (None, Some(command)) => match adapter.encode(&context, &command::parse(command, context.now)?) {
            Ok(encoded) => Ok(encoded_json(&encoded)),
            Err(fault) => Ok(json!({"fault": fault.kind.to_string()})),
        },
        _ => Err("a vector has either `frame` or `command`".into()),
    }
}

/// The adapter with the vector's profile, and the vector's keys in this thread's store.
pub fn configure<A: Adapter>(case: &Case) -> Result<A, String> {
    store::clear();
    for (slot, key) in &case.keys {
        let bytes = hex::decode(key).ok().and_then(|k| k.try_into().ok()).ok_or("keys: 16 bytes in hex each")?;
        store::insert(slot, bytes);
    }
    A::configure(&case.profile.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string))
}

/// The context a vector describes.
pub fn context(case: &Case) -> Result<Context, String> {
    let given = &case.context;
    let bytes = |text: &str| hex::decode(text).map_err(|e| format!("context: {e}"));
    Ok(Context {
        now: time(given.now.as_deref().unwrap_or("2024-03-15T00:20:05"))?,
        direction: match given.direction.as_deref() {
            None | Some("uplink") => Direction::Uplink,
            Some("downlink") => Direction::Downlink,
            Some(other) => return Err(format!("direction `{other}`: uplink or downlink")),
        },
        transport: match given.transport.as_deref() {
            None | Some("stream") => Transport::Stream,
            Some("datagram") => Transport::Datagram,
            Some("relay") => Transport::Relay,
            Some(other) => return Err(format!("transport `{other}`: stream, datagram or relay")),
        },
        admission: match given.admission.as_deref() {
            None | Some("welcome") => Admission::Welcome,
            Some("undecided") => Admission::Undecided,
            Some("held") => Admission::Held,
            Some("refused") => Admission::Refused,
            Some("busy") => Admission::Busy,
            Some(other) => return Err(format!("admission `{other}`: undecided, welcome, held, refused or busy")),
        },
        pending: given.pending,
        device: match &given.device {
            Some(device) => Some(Device { address: device.address.clone(), memory: bytes(&device.memory)? }),
            None => None,
        },
        state: bytes(&given.state)?,
    })
}

fn time(text: &str) -> Result<Civil, String> {
    civil::parse(text).ok_or_else(|| format!("`{text}`: write times as 2024-03-15T00:20:05"))
}

fn decoded_json(decoded: &Decoded) -> Value {
    let mut map = Map::new();
    if let Some(sender) = &decoded.sender {
        map.insert("sender".into(), json!({"address": sender.address, "kind": json::name(&sender.kind)}));
    }
    map.insert("messages".into(), decoded.messages.iter().map(json::message).collect());
    if let Some(reply) = &decoded.reply {
        map.insert("reply".into(), hex::encode(reply).into());
    }
    if decoded.duplicate {
        map.insert("duplicate".into(), true.into());
    }
    Value::Object(map)
}

fn fault_json(fault: &Fault) -> Value {
    let mut map = Map::new();
    map.insert("fault".into(), fault.kind.to_string().into());
    if let Some(reply) = &fault.reply {
        map.insert("reply".into(), hex::encode(reply).into());
    }
    Value::Object(map)
}

fn encoded_json(encoded: &Encoded) -> Value {
    let mut map = Map::new();
    map.insert("frames".into(), encoded.frames.iter().map(hex::encode).collect());
    if !encoded.correlation.is_empty() {
        map.insert("correlation".into(), hex::encode(&encoded.correlation).into());
    }
    if encoded.repeatable {
        map.insert("repeatable".into(), true.into());
    }
    if encoded.answer_within_s != 0 {
        map.insert("answer_within_s".into(), encoded.answer_within_s.into());
    }
    Value::Object(map)
}

/// One line a difference, with its path. `answer_within_s` and a fault's `reply` are compared only where the vector states them.
fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(e), Value::Object(f)) => {
            for (key, value) in e {
                match f.get(key) {
                    Some(other) => compare(&format!("{path}.{key}"), value, other, lines),
                    None => lines.push(format!("  {path}.{key}: expected {value}, missing")),
                }
            }
            let optional =
                |key: &str| path.is_empty() && (key == "answer_within_s" || key == "reply" && f.contains_key("fault"));
            for (key, value) in f.iter().filter(|(key, _)| !e.contains_key(*key) && !optional(key)) {
                lines.push(format!("  {path}.{key}: not expected, found {value}"));
            }
        }
        (Value::Array(e), Value::Array(f)) => {
            for i in 0..e.len().max(f.len()) {
                match (e.get(i), f.get(i)) {
                    (Some(e), Some(f)) => compare(&format!("{path}[{i}]"), e, f, lines),
                    (Some(e), None) => lines.push(format!("  {path}[{i}]: expected {e}, missing")),
                    (None, Some(f)) => lines.push(format!("  {path}[{i}]: not expected, found {f}")),
                    (None, None) => {}
                }
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("  {path}: expected {expected}, found {found}")),
    }
}
