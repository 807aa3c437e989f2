//! Meters of three makes behind one concentrator: the simulated lines, and what the registry says of them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use szrq::device::Heard;

/// A meter on a line.
pub enum Meter {
    Cjt188(Box<cjt188::device::Meter>),
    Mbus(Box<en13757::device::Meter>),
    Szrq(Box<szrq::device::Meter>),
}

/// A meter and how it is reached.
pub struct Sub {
    pub meter: Meter,
    pub channel: u8,
    /// Its radio is broken.
    pub silent: bool,
    /// Who answers in its stead, by the number the concentrator uses.
    pub speaks_for: Option<String>,
    /// Questions that reached it.
    pub heard: u32,
}

/// All meters of one concentrator, by the 14 digits it calls them; shared with the concentrator's thread.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub subs: BTreeMap<String, Sub>,
    /// Milliseconds that each channel was busy at its speed.
    pub busy_ms: BTreeMap<u8, f64>,
    pub baud: u32,
    pub now: i64,
}

/// Bits of a byte on an 8E1 line.
const BITS_OF_BYTE: f64 = 11.0;

impl Lines {
    pub fn new(now: i64, baud: u32) -> Self {
        Self(Arc::new(Mutex::new(Inner { baud, now, ..Inner::default() })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a meter on a channel; gives its key and its record.
    pub fn add(&self, concentrator: &str, meter: Meter, channel: u8) -> (String, Value) {
        let (key, called, protocol, adapter) = match &meter {
            Meter::Cjt188(meter) => (format!("cjt188/{}", meter.address()), meter.address(), "cjt188-le", "cjt188"),
            Meter::Mbus(meter) => {
                let address = meter.address();
                (format!("mbus/{address}"), format!("{:0>14}", &address[3..11]), "mbus", "en13757")
            }
            Meter::Szrq(meter) => {
                let address = meter.address();
                (format!("szrq/{address}"), format!("{:0>14}", &address[2..]), "szrq", "szrq")
            }
        };
        let own = key.ends_with(&format!("/{called}"));
        let line_address = if own { String::new() } else { called.clone() };
        self.lock().subs.insert(called, Sub { meter, channel, silent: false, speaks_for: None, heard: 0 });
        let record = json!({
            "kind": "meter", "adapter": adapter, "parent": concentrator, "protocol": protocol, "channel": channel,
            "line_address": line_address, "baud": 2400, "line_format": "8E1",
        });
        (key, record)
    }

    /// What the concentrator does with a payload.
    pub fn behind(&self) -> usp::device::Behind {
        let lines = self.clone();
        Box::new(move |target, _, payload| lines.ask(target, payload))
    }

    fn ask(&self, target: [u8; 7], payload: &[u8]) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        let called = polymeter_sdk::bcd::digits(&target)?;
        let now = inner.now;
        let sub = inner.subs.get_mut(&called)?;
        sub.heard += 1;
        let channel = sub.channel;
        let speaker = sub.speaks_for.clone().unwrap_or_else(|| called.clone());
        let silent = sub.silent;
        let heard = if speaker == called { payload.to_vec() } else { misheard(payload, &speaker)? };
        let answer = if silent { None } else { inner.subs.get_mut(&speaker)?.meter.hear(now, &heard) };
        let bytes = payload.len() + answer.as_ref().map_or(0, Vec::len);
        let ms = bytes as f64 * BITS_OF_BYTE * 1_000.0 / f64::from(inner.baud);
        *inner.busy_ms.entry(channel).or_default() += ms;
        answer
    }
}

/// A CJ/T 188 question as another meter takes it for its own.
fn misheard(question: &[u8], number: &str) -> Option<Vec<u8>> {
    let start = question.iter().position(|&b| b == 0x68)?;
    let mut frame = question[start..].to_vec();
    let pairs = (0..number.len()).step_by(2).rev();
    let address: Vec<u8> = pairs.map(|i| u8::from_str_radix(&number[i..i + 2], 16).ok()).collect::<Option<_>>()?;
    frame.get_mut(2..9)?.copy_from_slice(&address);
    let end = frame.len() - 2;
    frame[end] = polymeter_sdk::checksum::sum8(&frame[..end]);
    Some(frame)
}

impl Meter {
    /// Gas, without a preamble or wrapper.
    pub fn cjt188(address: &str) -> Self {
        let mut meter = cjt188::device::Meter::new(address, 0x30, cjt188::device::Dialect::default());
        meter.readings = Box::new(|_| 123_456);
        Self::Cjt188(Box::new(meter))
    }

    /// Gas, one total.
    pub fn mbus(address: &str) -> Self {
        let mut meter = en13757::device::Meter::gas(address);
        meter.records.push(en13757::device::Record::bcd(0x14, 654_321));
        Self::Mbus(Box::new(meter))
    }

    /// With a frozen total of every month, so that one is there whenever it is asked.
    pub fn szrq(address: &str) -> Self {
        let mut meter = szrq::device::Meter::new(address);
        let months = (2024..2100).flat_map(|year| (1..=12).map(move |month| (year, month)));
        meter.frozen = months.zip((5_000_000..).step_by(1_000)).collect();
        Self::Szrq(Box::new(meter))
    }

    fn hear(&mut self, now: i64, payload: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Cjt188(meter) => {
                // A concentrator hands a request on without what woke the line.
                let start = payload.iter().position(|byte| *byte != 0xFE)?;
                let answers = meter.hear(now, &payload[start..]);
                (!answers.is_empty()).then(|| answers.concat())
            }
            Self::Mbus(meter) => meter.receive(payload),
            Self::Szrq(meter) => match meter.receive(payload, now) {
                Ok(Heard::Commanded { answer, .. }) => Some(answer),
                _ => None,
            },
        }
    }
}
