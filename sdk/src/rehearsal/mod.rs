//! What tests of an adapter need of a station: one that remembers, a stream that comes in pieces; and cases at random, with the
//! bounds that every answer to them keeps.
//!
//! It counts nothing and journals nothing. Like [`vectors`](crate::vectors) it only ever panics to fail a test.

mod bounds;
mod dice;

pub use bounds::Bounds;
pub use dice::{Dice, Named, Number, cases, cases_and_seed};

use crate::{
    Adapter, Admission, Civil, Command, Context, Decoded, Device, Direction, Encoded, Fault, Framing, Transport,
};

/// As much of a station as a conversation with one device needs.
pub struct Station<A> {
    pub adapter: A,
    pub address: String,
    /// What the adapter wants remembered of the device.
    pub memory: Vec<u8>,
    /// What it keeps for this session; cleared, it is a new one.
    pub state: Vec<u8>,
    /// Commands that wait for the device.
    pub pending: u32,
    pub now: Civil,
    pub transport: Transport,
}

impl<A: Adapter> Station<A> {
    pub fn new(address: impl Into<String>, profile: &str, now: Civil, transport: Transport) -> Self {
        Self {
            adapter: A::configure(profile).expect("the profile is valid"),
            address: address.into(),
            memory: Vec::new(),
            state: Vec::new(),
            pending: 0,
            now,
            transport,
        }
    }

    /// A frame of the device: whole, as framing sees it. While there is no state it is taken for a session's first, and decoded as
    /// nobody's before.
    pub fn hear(&mut self, frame: &[u8]) -> Result<Decoded, Fault> {
        assert_eq!(self.adapter.frame(frame), Framing::Frame(frame.len() as u32));
        if self.state.is_empty() {
            let nobodys = Context { admission: Admission::Undecided, pending: 0, device: None, ..self.context() };
            self.adapter.decode(&nobodys, frame)?;
        }
        let decoded = self.adapter.decode(&self.context(), frame)?;
        self.remember(decoded.state.as_deref(), decoded.memory.as_deref());
        Ok(decoded)
    }

    /// A command to it.
    pub fn say(&mut self, command: &Command) -> Result<Encoded, Fault> {
        let encoded = self.adapter.encode(&self.context(), command)?;
        self.remember(encoded.state.as_deref(), encoded.memory.as_deref());
        Ok(encoded)
    }

    pub fn context(&self) -> Context {
        Context {
            now: self.now,
            direction: Direction::Uplink,
            transport: self.transport,
            admission: Admission::Welcome,
            pending: self.pending,
            device: Some(Device { address: self.address.clone(), memory: self.memory.clone() }),
            state: self.state.clone(),
        }
    }

    fn remember(&mut self, state: Option<&[u8]>, memory: Option<&[u8]>) {
        if let Some(state) = state {
            assert!(state.len() <= 4096);
            self.state = state.to_vec();
        }
        if let Some(memory) = memory {
            assert!(memory.len() <= 256);
            self.memory = memory.to_vec();
        }
    }
}

/// Cuts a stream that arrives in pieces of this size; what lies between frames is left out.
pub fn cut_all<A: Adapter>(adapter: &A, stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut frames, mut buffer) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(piece) {
        buffer.extend_from_slice(chunk);
        while !buffer.is_empty() {
            match adapter.frame(&buffer) {
                Framing::Frame(length) => frames.push(buffer.drain(..length as usize).collect()),
                Framing::Skip(length) => drop(buffer.drain(..length as usize)),
                Framing::Foreign => buffer.clear(),
                Framing::Incomplete(wanted) => {
                    assert!(wanted > 0);
                    break;
                }
            }
        }
    }
    frames
}
