//! What damage does to an adapter: every good frame cut at every byte, and with every single bit flipped, in the sandbox.
//!
//! A fault of the adapter's own is the right answer. Reading a damaged frame as another meaning is told, since a protocol without
//! a check sum cannot help it; a trap, a deadline or a broken contract is a failure.

use super::{FINDINGS_MAX, keep};
use crate::adapter::{Fault, Framing, Ready};
use crate::limits::DAMAGED_FRAMES_MAX;
use crate::model::Message;
use serde::Serialize;

/// Sums over all vectors.
#[derive(Debug, Default, Serialize)]
pub struct Damage {
    /// Damaged frames that were tried.
    pub tried: usize,
    /// Recognised: a fault, or no whole frame.
    pub refused: usize,
    /// Read, and meant what the whole frame means.
    pub same: usize,
    /// Read, and meant something else.
    pub other: usize,
    /// Some of those.
    pub misread: Vec<String>,
    /// The adapter trapped, ran past its deadline, or broke the contract.
    pub broken: Vec<String>,
    /// There were more than one run has time for.
    pub cut_short: bool,
}

impl Damage {
    /// Tries all damage to one good frame that means `messages`.
    pub fn frame(&mut self, name: &str, ready: &Ready<'_>, good: &[u8], messages: &[Message]) {
        for length in 1..good.len() {
            self.one(&format!("{name}, cut to {length} bytes"), ready, &good[..length], messages);
        }
        let mut bytes = good.to_vec();
        for bit in 0..good.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let what = format!("{name}, bit {} of byte {} flipped", bit % 8, bit / 8);
            self.one(&what, ready, &bytes, messages);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// As a stream, where framing comes first, and as a datagram, where it does not.
    fn one(&mut self, what: &str, ready: &Ready<'_>, bytes: &[u8], messages: &[Message]) {
        if self.tried >= DAMAGED_FRAMES_MAX || self.broken.len() >= FINDINGS_MAX {
            self.cut_short = true;
            return;
        }
        self.tried += 1;
        let framed = match ready.adapter.frame(&ready.profile, bytes) {
            Ok(Framing::Frame(length)) => Some(&bytes[..length]),
            Ok(_) => None,
            Err(fault) => return self.fault(what, &fault),
        };
        if framed != Some(bytes)
            && let Err(fault) = ready.adapter.decode(&ready.profile, &ready.context(), bytes)
            && fault.kind.is_sandbox()
        {
            return self.fault(what, &fault);
        }
        let Some(frame) = framed else {
            self.refused += 1;
            return;
        };
        match ready.adapter.decode(&ready.profile, &ready.context(), frame) {
            Err(fault) => self.fault(what, &fault),
            Ok(decoded) if decoded.messages == messages => self.same += 1,
            Ok(_) => {
                self.other += 1;
                keep(&mut self.misread, what.to_owned());
            }
        }
    }

    fn fault(&mut self, what: &str, fault: &Fault) {
        if fault.kind.is_sandbox() {
            keep(&mut self.broken, format!("{what}: {fault}"));
        } else {
            self.refused += 1;
        }
    }
}
