//! `adapter bench`: what each vector costs, against what a station allows. Run it on a machine that does nothing else.

use crate::adapter::{Adapter, Decoded, Fault, Input, LoadError, Ready, Vectors};
use crate::journal::messages_bytes;
use crate::limits::{
    BENCH_CALLS_MAX, BENCH_VECTOR_TIME, GUEST_DEADLINE, GUEST_MEMORY_BYTES_MAX, MESSAGES_BYTES_MAX, MESSAGES_MAX,
    VALUES_MAX,
};
use crate::model::Message;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Calls before measuring: the instance is made, the caches are warm.
const WARM_UP: usize = 20;

/// One vector's cost.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub vector: String,
    pub call: &'static str,
    /// Bytes of the frame that came in, or of all frames that went out.
    pub frame_bytes: usize,
    pub calls: usize,
    pub median_ns: u64,
    pub p99_ns: u64,
    pub messages: usize,
    /// Registers and samples.
    pub values: usize,
    /// What the messages take in a station's journal.
    pub stored_bytes: usize,
    pub memory_bytes: usize,
    /// What a station allows, so that a script need not know it.
    pub limits: Allowed,
}

/// What a station allows of one call.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Allowed {
    pub time_ns: u64,
    pub memory_bytes: usize,
    pub messages: usize,
    pub values: usize,
    pub stored_bytes: usize,
}

pub const ALLOWED: Allowed = Allowed {
    time_ns: GUEST_DEADLINE.as_nanos() as u64,
    memory_bytes: GUEST_MEMORY_BYTES_MAX,
    messages: MESSAGES_MAX,
    values: VALUES_MAX,
    stored_bytes: MESSAGES_BYTES_MAX,
};

/// What came of all vectors.
#[derive(Debug)]
pub struct Measured {
    pub costs: Vec<Cost>,
    /// Those that the adapter did nothing for, and why: a call past a limit ends as a fault.
    pub failed: Vec<String>,
}

impl Cost {
    /// The limits that it breaks.
    pub fn broken(&self) -> Vec<String> {
        let allowed = &self.limits;
        let compared = [
            ("time, p99, ns", self.p99_ns, allowed.time_ns),
            ("memory, bytes", self.memory_bytes as u64, allowed.memory_bytes as u64),
            ("messages", self.messages as u64, allowed.messages as u64),
            ("values", self.values as u64, allowed.values as u64),
            ("stored, bytes", self.stored_bytes as u64, allowed.stored_bytes as u64),
        ];
        let beyond = compared.into_iter().filter(|(_, found, allowed)| found > allowed);
        beyond.map(|(what, found, allowed)| format!("{}: {what}: {found} of {allowed}", self.vector)).collect()
    }
}

/// Measures every vector that gives the adapter something to do.
pub fn run(adapter: &Adapter, bytes: &[u8]) -> Result<Measured, LoadError> {
    let vectors = Vectors::of(adapter, bytes)?;
    let mut measured = Measured { costs: Vec::new(), failed: Vec::new() };
    for case in vectors.cases().iter().filter(|case| case.is_good()) {
        match vectors.prepare(case).and_then(|ready| measure(case.name(), &ready)) {
            Ok(cost) => measured.costs.push(cost),
            Err(why) => measured.failed.push(format!("{}: {why}", case.name())),
        }
    }
    Ok(measured)
}

fn measure(name: &str, ready: &Ready<'_>) -> Result<Cost, String> {
    let fault = |fault: Fault| format!("{}: {}", fault.kind.name(), fault.detail);
    let (call, frame_bytes, messages) = match &ready.input {
        Input::Frame(frame) => {
            let Decoded { messages, .. } =
                ready.adapter.decode(&ready.profile, &ready.context(), frame).map_err(fault)?;
            ("decode", frame.len(), messages)
        }
        Input::Command(command) => {
            let encoded = ready.adapter.encode(&ready.profile, &ready.context(), command).map_err(fault)?;
            ("encode", encoded.frames.iter().map(Vec::len).sum(), Vec::new())
        }
    };
    let times = time(|| match &ready.input {
        Input::Frame(frame) => drop(ready.adapter.decode(&ready.profile, &ready.context(), frame)),
        Input::Command(command) => drop(ready.adapter.encode(&ready.profile, &ready.context(), command)),
    });
    Ok(Cost {
        vector: name.to_owned(),
        call,
        frame_bytes,
        calls: times.len(),
        median_ns: at(&times, 50),
        p99_ns: at(&times, 99),
        messages: messages.len(),
        values: messages.iter().map(values).sum(),
        stored_bytes: messages_bytes(&messages),
        memory_bytes: ready.adapter.memory_bytes(&ready.profile).unwrap_or(0),
        limits: ALLOWED,
    })
}

/// Ascending times of single calls.
fn time(mut call: impl FnMut()) -> Vec<Duration> {
    (0..WARM_UP).for_each(|_| call());
    let begun = Instant::now();
    let mut times = Vec::with_capacity(BENCH_CALLS_MAX);
    while times.len() < BENCH_CALLS_MAX && (times.is_empty() || begun.elapsed() < BENCH_VECTOR_TIME) {
        let before = Instant::now();
        call();
        times.push(before.elapsed());
    }
    times.sort_unstable();
    times
}

fn at(ascending: &[Duration], percent: usize) -> u64 {
    let index = (ascending.len() * percent / 100).min(ascending.len().saturating_sub(1));
    ascending.get(index).map_or(0, |time| time.as_nanos() as u64)
}

fn values(message: &Message) -> usize {
    message.report().map_or(0, |report| {
        report.registers.len() + report.series.iter().map(|series| series.samples.len()).sum::<usize>()
    })
}
