//! The trait that an adapter implements. How it becomes a component is `component.rs`.

use crate::{Command, Context, Decoded, Encoded, Fault, Framing};

/// One protocol of one vendor: bytes to messages and commands to bytes, without clock, socket, file or randomness.
///
/// `self` is the configured profile and never changes. What a session must remember goes into `state`, what a device must
/// remember into `memory`; both come back with the next [`Context`]. Nothing here may panic on any input: a panic is a
/// trap, and three of them send the adapter into quarantine.
pub trait Adapter: Sized + 'static {
    /// Called once, with JSON that satisfies the manifest's profile schema ([`crate::profile::parse`]).
    ///
    /// # Errors
    /// A sentence for the person who wrote the profile: which option, what was found, what is allowed.
    fn configure(profile: &str) -> Result<Self, String>;

    /// What lies at the start of `received`, which is never empty. Looks, but remembers nothing.
    fn frame(&self, received: &[u8]) -> Framing;

    /// What one whole frame means, and what to answer.
    ///
    /// # Errors
    /// See [`crate::FaultKind`]; the frame is kept in any case.
    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault>;

    /// The frames of one command.
    ///
    /// # Errors
    /// `unsupported` or `out-of-range` with the field's name; `not-authentic` when its key is missing.
    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault>;
}
