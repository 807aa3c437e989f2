//! The journal: one append-only file of facts, durable before anybody is told "yes".

mod entry;

pub use entry::{
    AdapterFact, AdapterRef, AdapterStep, CommandFact, CommandStep, Entry, Fact, FaultKind, FrameFact, FrameOutcome,
    Role,
};
