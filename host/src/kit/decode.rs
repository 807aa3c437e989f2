//! Telegrams in hexadecimal, one a line, to messages: an adapter tried as a station would use it, in one session.
//!
//! The JSON form is stable, scripts rely on it; it is described in `docs` of the command. This module prints nothing.

use crate::adapter::{
    Adapter, Admission, Context, Decoded, Direction, Fault, Framing, KeyStore, Transport, decoded_json,
};
use crate::journal::FaultKind;
use crate::limits::{FRAME_BYTES_MAX, HEX_LINE_BYTES_MAX};
use crate::model::{Civil, DeviceKey};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

/// Keys by slot, the same for every device.
#[derive(Default)]
pub struct SlotKeys(pub BTreeMap<String, [u8; 16]>);

impl KeyStore for SlotKeys {
    fn key(&self, _: &DeviceKey, slot: &str) -> Option<[u8; 16]> {
        self.0.get(slot).copied()
    }
    fn default_key_in_use(&self, _: &DeviceKey) {}
}

/// One conversation. A telegram of another sender begins a new one, with what that sender's memory was.
pub struct Decoder {
    adapter: Adapter,
    profile: String,
    transport: Transport,
    state: Vec<u8>,
    device: Option<String>,
    memories: HashMap<String, Vec<u8>>,
}

/// What came out of one telegram: messages or a fault, and the bytes around the frame.
type Outcome = Result<Decoded, Problem>;

/// Why there are no messages. The first two kinds are this tool's own.
enum Problem {
    BadHex(String),
    Incomplete(usize),
    Adapter(Fault),
}

impl Decoder {
    pub fn new(adapter: Adapter, profile: String, transport: Transport) -> Self {
        Self { adapter, profile, transport, state: Vec::new(), device: None, memories: HashMap::new() }
    }

    /// The next telegram is a new session's first.
    pub fn begin(&mut self) {
        self.device = None;
        self.state.clear();
    }

    /// One line of input; `None` for a blank line or a comment.
    pub fn line(&mut self, line: &str, now: Civil) -> Option<Value> {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let (outcome, before, after) = match unhex(text) {
            Ok(bytes) => self.telegram(&bytes, now),
            Err(why) => (Err(Problem::BadHex(why)), Vec::new(), Vec::new()),
        };
        let mut map = match outcome {
            Ok(decoded) => decoded_json(&decoded),
            Err(problem) => problem.into_json(),
        };
        for (key, bytes) in [("before", before), ("after", after)] {
            if !bytes.is_empty() {
                map.insert(key.into(), hex::encode(bytes).into());
            }
        }
        Some(Value::Object(map))
    }

    /// Cuts the first frame out, as the station does, and says which bytes lay before and after it.
    fn telegram(&mut self, bytes: &[u8], now: Civil) -> (Outcome, Vec<u8>, Vec<u8>) {
        let mut start = 0;
        while start < bytes.len() {
            let rest = &bytes[start..];
            match self.adapter.frame(&self.profile, rest) {
                Ok(Framing::Skip(n)) => start += n,
                Ok(Framing::Frame(n)) => {
                    let outcome = self.frame(&rest[..n], now).map_err(Problem::Adapter);
                    return (outcome, bytes[..start].to_vec(), rest[n..].to_vec());
                }
                Ok(Framing::Incomplete(n)) => {
                    return (Err(Problem::Incomplete(n)), bytes[..start].to_vec(), Vec::new());
                }
                Ok(Framing::Foreign) => {
                    let detail = "these bytes are another protocol's".to_owned();
                    let fault = Fault::new(FaultKind::Foreign, detail);
                    return (Err(Problem::Adapter(fault)), bytes[..start].to_vec(), Vec::new());
                }
                Err(fault) => return (Err(Problem::Adapter(fault)), bytes[..start].to_vec(), Vec::new()),
            }
        }
        let fault = Fault::new(FaultKind::Noise, "no frame in these bytes");
        (Err(Problem::Adapter(fault)), bytes.to_vec(), Vec::new())
    }

    /// A session's first frame is decoded twice: to learn who speaks, then with what is known of that device.
    fn frame(&mut self, frame: &[u8], now: Civil) -> Result<Decoded, Fault> {
        if self.device.is_some() {
            match self.decode(frame, now, Admission::Welcome) {
                Ok(decoded) if !self.is_anothers(&decoded) => return Ok(self.remember(decoded)),
                Err(fault) if !self.may_be_anothers(frame, now) => return Err(fault),
                _ => {}
            }
        }
        self.begin();
        let first = self.decode(frame, now, Admission::Undecided)?;
        self.device = first.sender.map(|sender| sender.address);
        let decoded = self.decode(frame, now, Admission::Welcome)?;
        Ok(self.remember(decoded))
    }

    fn is_anothers(&self, decoded: &Decoded) -> bool {
        decoded.sender.as_ref().is_some_and(|sender| Some(&sender.address) != self.device.as_ref())
    }

    /// Whether a frame that cannot be read as this device's is another one's.
    fn may_be_anothers(&mut self, frame: &[u8], now: Civil) -> bool {
        let (device, state) = (self.device.take(), std::mem::take(&mut self.state));
        let as_nobodys = self.decode(frame, now, Admission::Undecided);
        (self.device, self.state) = (device, state);
        as_nobodys.is_ok_and(|decoded| self.is_anothers(&decoded))
    }

    fn decode(&self, frame: &[u8], now: Civil, admission: Admission) -> Result<Decoded, Fault> {
        let memory = |address: &String| self.memories.get(address).map_or(&[][..], Vec::as_slice);
        let context = Context {
            now,
            direction: Direction::Uplink,
            transport: self.transport,
            admission,
            pending: 0,
            device: self.device.as_ref().map(|address| (address.as_str(), memory(address))),
            state: &self.state,
        };
        self.adapter.decode(&self.profile, &context, frame)
    }

    fn remember(&mut self, mut decoded: Decoded) -> Decoded {
        if let Some(state) = decoded.state.take() {
            self.state = state;
        }
        if let (Some(device), Some(memory)) = (&self.device, decoded.memory.take()) {
            self.memories.insert(device.clone(), memory);
        }
        decoded
    }
}

/// Reads the next line, at most so long as the longest frame with blanks between its digits. A longer one is cut, which makes
/// it a fault, and what is left of it is skipped. `None` at the end.
pub fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let (taken, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), false),
        };
        let room = (HEX_LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&chunk[..taken.min(room)]);
        input.consume(taken);
        if ended {
            return Ok(Some(text_of(&line)));
        }
    }
    Ok((!line.is_empty()).then(|| text_of(&line)))
}

/// Without the mark that some editors write at the beginning of a file.
fn text_of(line: &[u8]) -> String {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

impl Problem {
    /// `{"fault": {"kind", "detail"}, "reply"?}`.
    fn into_json(self) -> Map<String, Value> {
        let (kind, detail, reply) = match self {
            Self::BadHex(why) => ("bad-hex", why, None),
            Self::Incomplete(wanted) => ("incomplete", format!("at least {wanted} more bytes are wanted"), None),
            Self::Adapter(fault) => (fault.kind.name(), fault.detail, fault.reply),
        };
        let mut map = Map::new();
        map.insert("fault".into(), json!({"kind": kind, "detail": detail}));
        if let Some(reply) = reply {
            map.insert("reply".into(), hex::encode(reply).into());
        }
        map
    }
}

/// Digits with any blanks between them.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    if text.len() > HEX_LINE_BYTES_MAX {
        return Err(format!("a line has at most {HEX_LINE_BYTES_MAX} characters"));
    }
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(at) = digits.iter().position(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("`{}` at digit {} is no hex digit", digits[at].escape_debug(), at + 1));
    }
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hex digits; two make a byte", digits.len()));
    }
    let bytes = hex::decode(String::from_iter(digits)).map_err(|error| error.to_string())?;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(format!("{} bytes; a frame has at most {FRAME_BYTES_MAX}", bytes.len()));
    }
    Ok(bytes)
}
