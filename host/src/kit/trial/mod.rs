//! `adapter test`: everything that an adapter's own vectors can prove about it, in the station's own sandbox and limits.
//!
//! A failure is what a station or a bill would suffer from. What is merely worth a look is a remark.

mod capture;
mod damage;
mod units;

pub use capture::{Against, against};
pub use damage::Damage;

use crate::adapter::{Adapter, Context, Decoded, Direction, Encoded, Fault, Framing, Input, LoadError, Ready, Vectors};
use crate::model::{Command, Message, Register, Report};
use serde::Serialize;
use std::collections::BTreeSet;

/// Examples of each kind of finding that are kept.
const FINDINGS_MAX: usize = 20;

/// What was found. All lists are bounded.
#[derive(Debug, Default, Serialize)]
pub struct Trial {
    pub vectors: usize,
    pub differing: usize,
    /// One text a vector that does not hold: its name, then one line a difference.
    pub differences: Vec<String>,
    /// Answers that differ when the same is asked again.
    pub impure: Vec<String>,
    pub damage: Damage,
    pub downlink: Downlink,
    /// Values in units that their quantity never has.
    pub units: Vec<String>,
    /// Values that no such meter shows; a decimal point may have slipped.
    pub scales: Vec<String>,
    pub kinds: Coverage,
    pub commands: Coverage,
}

/// What became of encoded frames when the adapter itself was asked about them.
#[derive(Debug, Default, Serialize)]
pub struct Downlink {
    pub frames: usize,
    /// Its framing sees exactly one frame.
    pub framed: usize,
    /// It can also decode them.
    pub decoded: usize,
    /// It does not see one frame in them.
    pub unframed: Vec<String>,
    /// Asked about them, it trapped, ran past its deadline, or broke the contract.
    pub broken: Vec<String>,
}

/// What the manifest claims against what the vectors show.
#[derive(Debug, Default, Serialize)]
pub struct Coverage {
    pub proven: BTreeSet<String>,
    /// Claimed, and no vector shows it.
    pub unproven: BTreeSet<String>,
    /// A vector shows it, and the manifest does not claim it.
    pub unclaimed: BTreeSet<String>,
}

/// Runs all of it.
pub fn run(adapter: &Adapter, bytes: &[u8]) -> Result<Trial, LoadError> {
    let vectors = Vectors::of(adapter, bytes)?;
    let mut trial = Trial::default();
    let (mut kinds, mut commands) = (BTreeSet::new(), BTreeSet::new());
    for case in vectors.cases() {
        trial.vectors += 1;
        let ready = match vectors.prepare(case) {
            Ok(ready) => ready,
            Err(why) => {
                trial.differs(case.name(), &format!("  {why}"));
                continue;
            }
        };
        let differences = ready.differences();
        if !differences.is_empty() {
            trial.differs(case.name(), &differences.join("\n"));
            continue;
        }
        match &ready.input {
            Input::Frame(frame) => trial.uplink(case.name(), &ready, frame, &mut kinds),
            Input::Command(command) => trial.encode(case.name(), &ready, command, &mut commands),
        }
    }
    trial.kinds = Coverage::of(&adapter.manifest.kinds, &kinds);
    trial.commands = Coverage::of(&adapter.manifest.commands, &commands);
    Ok(trial)
}

impl Trial {
    /// Whether a station should have it.
    pub fn passed(&self) -> bool {
        let failures = [&self.differences, &self.impure, &self.damage.broken, &self.downlink.broken, &self.units];
        self.vectors > 0 && failures.iter().all(|list| list.is_empty())
    }

    fn differs(&mut self, name: &str, lines: &str) {
        self.differing += 1;
        keep(&mut self.differences, format!("{name}\n{lines}"));
    }

    /// A vector with a frame, of which is known that it holds.
    fn uplink(&mut self, name: &str, ready: &Ready<'_>, frame: &[u8], kinds: &mut BTreeSet<String>) {
        let decode = || ready.adapter.decode(&ready.profile, &ready.context(), frame);
        let first = decode();
        if decode() != first {
            keep(&mut self.impure, name.to_owned());
        }
        let Ok(Decoded { messages, .. }) = first else { return };
        kinds.extend(messages.iter().map(|message| message.kind().to_owned()));
        for report in messages.iter().filter_map(Message::report) {
            self.values(name, report);
        }
        self.damage.frame(name, ready, frame, &messages);
    }

    fn values(&mut self, name: &str, report: &Report) {
        let of_series = report.series.iter().map(|series| (series.quantity, series.unit));
        let of_registers = report.registers.iter().map(|register| (register.quantity, register.unit));
        for (quantity, unit) in of_registers.chain(of_series).filter(|(quantity, unit)| !units::fits(*quantity, *unit))
        {
            keep(&mut self.units, format!("{name}: {quantity} in {unit}"));
        }
        let good = |register: &&Register| register.quality == crate::model::Quality::Good;
        for odd in report.registers.iter().filter(good).filter_map(units::odd) {
            keep(&mut self.scales, format!("{name}: {odd}"));
        }
    }

    /// A vector with a command, of which is known that it holds.
    fn encode(&mut self, name: &str, ready: &Ready<'_>, command: &Command, commands: &mut BTreeSet<String>) {
        let encode = || ready.adapter.encode(&ready.profile, &ready.context(), command);
        let first = encode();
        if encode() != first {
            keep(&mut self.impure, name.to_owned());
        }
        let Ok(Encoded { frames, .. }) = first else { return };
        commands.insert(command.name().to_owned());
        for frame in &frames {
            self.downlink.frame(name, ready, frame);
        }
    }
}

impl Downlink {
    fn frame(&mut self, name: &str, ready: &Ready<'_>, frame: &[u8]) {
        self.frames += 1;
        match ready.adapter.frame(&ready.profile, frame) {
            Ok(Framing::Frame(length)) if length == frame.len() => self.framed += 1,
            Ok(other) => keep(&mut self.unframed, format!("{name}: {other:?} of {} bytes", frame.len())),
            Err(fault) => return self.fault(name, &fault),
        }
        let context = Context { direction: Direction::Downlink, ..ready.context() };
        match ready.adapter.decode(&ready.profile, &context, frame) {
            Ok(_) => self.decoded += 1,
            Err(fault) => self.fault(name, &fault),
        }
    }

    fn fault(&mut self, name: &str, fault: &Fault) {
        if fault.kind.is_sandbox() {
            keep(&mut self.broken, format!("{name}: {fault}"));
        }
    }
}

impl Coverage {
    fn of(claimed: &[String], shown: &BTreeSet<String>) -> Self {
        let claimed: BTreeSet<String> = claimed.iter().cloned().collect();
        Self {
            proven: claimed.intersection(shown).cloned().collect(),
            unproven: claimed.difference(shown).cloned().collect(),
            unclaimed: shown.difference(&claimed).cloned().collect(),
        }
    }
}

/// The first ones tell; the rest would only scroll them away.
fn keep(list: &mut Vec<String>, text: String) {
    if list.len() < FINDINGS_MAX {
        list.push(text);
    }
}
