//! An adapter's own golden vectors, run through the sandbox before it may come near a meter.
//!
//! The same files are run natively by the SDK's runner; both must give the same result, so the rules here are the rules there.

use super::guest::thread_cpu_time;
use super::manifest::{LoadError, Sections, must_be_a_line};
use super::{Adapter, Admission, Context, Decoded, Direction, Encoded, Fault, Framing, KeyStore, Transport};
use crate::model::{Civil, Command, DeviceKey, json};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// After so many differing vectors a run ends: the first ones tell, and each might loop until its deadline.
const DIFFERENCES_MAX: usize = 20;

/// What a run over all vectors found.
#[derive(Debug, Default)]
pub struct Conformance {
    pub vectors: usize,
    /// One text a vector that differs: its name, then one line a difference.
    pub differences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorFile {
    #[serde(rename = "provenance")]
    _provenance: String,
    vectors: Vec<Case>,
}

/// One vector, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    name: String,
    #[serde(default, rename = "note")]
    _note: String,
    #[serde(default)]
    profile: Option<Value>,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    context: ContextCase,
    #[serde(default)]
    frame: Option<String>,
    #[serde(default)]
    command: Option<Value>,
    expect: Value,
}

/// What is left out is a welcome stream's first uplink at 2024-03-15 00:20:05.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextCase {
    now: Option<Civil>,
    direction: Option<String>,
    transport: Option<String>,
    admission: Option<String>,
    #[serde(default)]
    pending: u32,
    device: Option<DeviceCase>,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceCase {
    address: String,
    #[serde(default)]
    memory: String,
}

/// The moment of a vector that names none.
const NOW: Civil = Civil(1_710_462_005);

/// Runs all vectors of a vectors section, in so much processor time at most, and while `wanted` says so. An `Err` is a section
/// that cannot be understood, takes too long or is not wanted any more.
pub fn check(
    adapter: &Adapter,
    section: &[u8],
    (cpu_time_max, wanted): (Duration, &dyn Fn() -> bool),
) -> Result<Conformance, String> {
    let vectors = Vectors::read(adapter, section)?;
    let mut result = Conformance::default();
    let begun = thread_cpu_time();
    for case in &vectors.cases {
        if result.differences.len() >= DIFFERENCES_MAX {
            break;
        }
        if !wanted() {
            return Err("they were not run to their end".into());
        }
        if thread_cpu_time().saturating_sub(begun) >= cpu_time_max {
            // What differs says more.
            if !result.differences.is_empty() {
                break;
            }
            let (run, all, most) = (result.vectors, vectors.cases.len(), cpu_time_max.as_secs_f64());
            return Err(format!(
                "{run} of {all} have taken {most} s of processor time, which is all that they may take"
            ));
        }
        result.vectors += 1;
        let lines = vectors.prepare(case).map_or_else(|why| vec![format!("  {why}")], |ready| ready.differences());
        if !lines.is_empty() {
            result.differences.push(format!("{}\n{}", case.name, lines.join("\n")));
        }
    }
    Ok(result)
}

/// All vectors of one adapter file, for whoever wants to do more with them than compare.
pub struct Vectors {
    /// The vectors bring keys of their own, so they run beside the instances that serve.
    adapter: Adapter,
    keys: Arc<CaseKeys>,
    cases: Vec<Case>,
}

/// One vector, made ready to be run: its keys lie in their slots until the next one is prepared.
pub struct Ready<'a> {
    pub adapter: &'a Adapter,
    pub profile: String,
    pub input: Input,
    case: &'a Case,
    memory: Vec<u8>,
    state: Vec<u8>,
}

/// What a vector gives its adapter.
pub enum Input {
    Frame(Vec<u8>),
    Command(Command),
}

impl Vectors {
    /// The vectors embedded in a file; none where it has none.
    pub fn of(adapter: &Adapter, bytes: &[u8]) -> Result<Self, LoadError> {
        Self::read(adapter, Sections::find(bytes)?.vectors.unwrap_or(b"[]")).map_err(LoadError::Vectors)
    }

    fn read(adapter: &Adapter, section: &[u8]) -> Result<Self, String> {
        let files: Vec<VectorFile> = serde_json::from_slice(section).map_err(|error| error.to_string())?;
        let keys = Arc::new(CaseKeys::default());
        let cases: Vec<Case> = files.into_iter().flat_map(|file| file.vectors).collect();
        for case in &cases {
            must_be_a_line(&case.name).map_err(|why| format!("the name of a vector {why}"))?;
        }
        Ok(Self { adapter: adapter.with_keys(keys.clone()), keys, cases })
    }

    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// An `Err` is a vector that says nothing which could be run.
    pub fn prepare<'a>(&'a self, case: &'a Case) -> Result<Ready<'a>, String> {
        *self.keys.0.lock().unwrap_or_else(PoisonError::into_inner) = case
            .keys
            .iter()
            .map(|(slot, key)| {
                let mut bytes = [0; 16];
                hex::decode_to_slice(key, &mut bytes).map_err(|_| "keys: 16 bytes in hex each")?;
                Ok((slot.clone(), bytes))
            })
            .collect::<Result<_, &str>>()?;
        let (memory, state) = (case.context.memory()?, unhex(&case.context.state)?);
        let now = case.context.borrow(&memory, &state)?.now;
        let input = match (&case.frame, &case.command) {
            (Some(frame), None) => Input::Frame(unhex(frame)?),
            (None, Some(command)) => {
                let command = serde_json::from_value(command.clone()).map_err(|e| format!("command: {e}"))?;
                Input::Command(at(command, now))
            }
            _ => return Err("a vector has either `frame` or `command`".into()),
        };
        let profile = case.profile.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string);
        Ok(Ready { adapter: &self.adapter, profile, input, case, memory, state })
    }
}

impl Case {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the adapter is to make something of it, rather than to refuse it.
    pub fn is_good(&self) -> bool {
        self.expect.get("fault").is_none()
    }
}

impl Ready<'_> {
    pub fn context(&self) -> Context<'_> {
        // Whether it can be read was seen when it was prepared.
        self.case.context.borrow(&self.memory, &self.state).unwrap_or(Context {
            now: NOW,
            direction: Direction::Uplink,
            transport: Transport::Stream,
            admission: Admission::Welcome,
            pending: 0,
            device: None,
            state: &[],
        })
    }

    /// One line for everything in which the adapter does not do as the vector says.
    pub fn differences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.outcome() {
            Ok(found) => compare("", &self.case.expect, &found, &mut lines),
            Err(why) => lines.push(format!("  {why}")),
        }
        lines
    }

    /// What the adapter makes of it, in the form of the vector's `expect`.
    fn outcome(&self) -> Result<Value, String> {
        match &self.input {
            Input::Frame(frame) => match self.adapter.decode(&self.profile, &self.context(), frame) {
                Ok(decoded) => match self.adapter.frame(&self.profile, frame) {
                    Ok(Framing::Frame(length)) if length == frame.len() => Ok(Value::Object(decoded_json(&decoded))),
                    other => Err(format!("decodes, but framing says {other:?} of {} bytes", frame.len())),
                },
                Err(fault) => fault_json(&fault),
            },
            Input::Command(command) => match self.adapter.encode(&self.profile, &self.context(), command) {
                Ok(encoded) => Ok(encoded_json(&encoded)),
                Err(fault) => fault_json(&fault).map(|fault| json!({"fault": fault["fault"]})),
            },
        }
    }
}

/// The keys of the vector at hand, for whichever device is asked.
#[derive(Default)]
struct CaseKeys(Mutex<BTreeMap<String, [u8; 16]>>);

impl KeyStore for CaseKeys {
    fn key(&self, _: &DeviceKey, slot: &str) -> Option<[u8; 16]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(slot).copied()
    }
    fn default_key_in_use(&self, _: &DeviceKey) {}
}

impl ContextCase {
    fn memory(&self) -> Result<Vec<u8>, String> {
        self.device.as_ref().map_or_else(|| Ok(Vec::new()), |device| unhex(&device.memory))
    }

    fn borrow<'a>(&'a self, memory: &'a [u8], state: &'a [u8]) -> Result<Context<'a>, String> {
        let one_of = |what: &str, found: &str| format!("context: `{found}` is no {what}");
        Ok(Context {
            now: self.now.unwrap_or(NOW),
            direction: match self.direction.as_deref().unwrap_or("uplink") {
                "uplink" => Direction::Uplink,
                "downlink" => Direction::Downlink,
                other => return Err(one_of("direction", other)),
            },
            transport: match self.transport.as_deref().unwrap_or("stream") {
                "stream" => Transport::Stream,
                "datagram" => Transport::Datagram,
                "relay" => Transport::Relay,
                other => return Err(one_of("transport", other)),
            },
            admission: match self.admission.as_deref().unwrap_or("welcome") {
                "undecided" => Admission::Undecided,
                "welcome" => Admission::Welcome,
                "held" => Admission::Held,
                "refused" => Admission::Refused,
                "busy" => Admission::Busy,
                other => return Err(one_of("admission", other)),
            },
            pending: self.pending,
            device: self.device.as_ref().map(|device| (device.address.as_str(), memory)),
            state,
        })
    }
}

/// A clock to be set is set to the vector's moment where the vector names no other.
fn at(command: Command, now: Civil) -> Command {
    match command {
        Command::SetClock { to: None } => Command::SetClock { to: Some(now) },
        other => other,
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    hex::decode(&digits).map_err(|error| format!("{error} in `{digits:.40}`"))
}

/// `{"messages": […], "sender"?, "reply"?, "duplicate"?}`.
pub fn decoded_json(decoded: &Decoded) -> Map<String, Value> {
    let mut map = Map::new();
    if let Some(sender) = &decoded.sender {
        map.insert("sender".into(), json!({"address": sender.address, "kind": sender.kind.name()}));
    }
    map.insert("messages".into(), decoded.messages.iter().map(json::message).collect());
    if let Some(reply) = &decoded.reply {
        map.insert("reply".into(), hex::encode(reply).into());
    }
    if decoded.duplicate {
        map.insert("duplicate".into(), true.into());
    }
    map
}

/// A fault that the sandbox raised is no answer at all, whatever the vector expects.
fn fault_json(fault: &Fault) -> Result<Value, String> {
    if fault.kind.is_sandbox() {
        return Err(fault.to_string());
    }
    let mut map = Map::new();
    map.insert("fault".into(), fault.kind.name().into());
    if let Some(reply) = &fault.reply {
        map.insert("reply".into(), hex::encode(reply).into());
    }
    Ok(Value::Object(map))
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

/// One line a difference, with its path. `answer_within_s` and a fault's `reply` count only where the vector states them.
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
