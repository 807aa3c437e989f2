//! Faults by kind, and the texts that name a field.

use crate::{Fault, FaultKind};

impl Fault {
    /// Any kind, without a reply.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), reply: None }
    }
    /// Well-formed, but no frame of this protocol.
    pub fn not_mine(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::NotMine, detail)
    }
    /// Of this protocol, but damaged or against its rules.
    pub fn corrupt(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Corrupt, detail)
    }
    /// Its authentication failed, or the key is missing.
    pub fn not_authentic(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::NotAuthentic, detail)
    }
    /// This protocol cannot express the command.
    pub fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Unsupported, detail)
    }
    /// A value of the command does not fit this protocol: its name, what was asked, what fits.
    pub fn out_of_range(field: &str, found: impl std::fmt::Display, allowed: &str) -> Self {
        out_of_range(field, &found, allowed)
    }
    /// What to tell the sender.
    #[must_use]
    pub fn with_reply(mut self, reply: Vec<u8>) -> Self {
        self.reply = Some(reply);
        self
    }
}

/// One for all types and places: a refusal is rare, and a guest is small.
#[cold]
#[inline(never)]
fn out_of_range(field: &str, found: &dyn std::fmt::Display, allowed: &str) -> Fault {
    Fault::new(FaultKind::OutOfRange, format!("{field}: {found} does not fit, allowed is {allowed}"))
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotMine => "not-mine",
            Self::Corrupt => "corrupt",
            Self::NotAuthentic => "not-authentic",
            Self::Unsupported => "unsupported",
            Self::OutOfRange => "out-of-range",
        })
    }
}
