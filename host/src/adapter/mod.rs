//! Vendors' code, kept at arm's length: load a component, call it within limits, believe nothing unchecked.
//!
//! The rest of the station sees only the types of this file; wasmtime stays behind them.

mod address;
mod cache;
mod catalog;
mod cipher;
mod conform;
mod engine;
mod guest;
mod instance;
mod keys;
mod loaded;
mod manifest;
mod schema;
mod signature;
mod store;
mod wit;

pub use address::{AddressForm, Characters, misfit};
pub use catalog::Catalog;
pub use conform::{Case, Conformance, Input, Ready, Vectors, decoded_json};
pub use engine::Runtime;
pub use loaded::Adapter;
pub use manifest::{
    CONTRACT, LoadError, MANIFEST_SECTION, Manifest, RegistrationRule, Sections, Session, VECTORS_SECTION,
};
pub use signature::{
    KeyTextError, PublicKey, SIGNATURE_SECTION, SecretKey, SignatureError, Signed, Verified, sign, signatures,
};
pub use store::{Store, StoreError};
pub use wit::is_kebab;

use crate::journal::FaultKind;
use crate::model::{Civil, DeviceKey, DeviceKind, KeySlot, Message};

/// What lies at the start of received bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Incomplete(usize),
    Skip(usize),
    Frame(usize),
    Foreign,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Stream,
    Datagram,
    Relay,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Uplink,
    Downlink,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    Undecided,
    Welcome,
    Held,
    Refused,
    Busy,
}

/// What a guest is told about the moment. Borrowed: one call, no copies on this side.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: Civil,
    pub direction: Direction,
    pub transport: Transport,
    pub admission: Admission,
    pub pending: u32,
    /// Address and memory.
    pub device: Option<(&'a str, &'a [u8])>,
    pub state: &'a [u8],
}

#[derive(Clone, PartialEq, Debug)]
pub struct Sender {
    pub address: String,
    pub kind: DeviceKind,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    pub sender: Option<Sender>,
    pub messages: Vec<Message>,
    pub reply: Option<Vec<u8>>,
    pub state: Option<Vec<u8>>,
    pub memory: Option<Vec<u8>>,
    pub duplicate: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Encoded {
    pub frames: Vec<Vec<u8>>,
    pub correlation: Vec<u8>,
    pub answer_within_s: u16,
    pub repeatable: bool,
    pub state: Option<Vec<u8>>,
    pub memory: Option<Vec<u8>>,
}

/// Why a call gave no result: the guest's own word, or what the sandbox stopped.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{kind:?}: {detail}")]
pub struct Fault {
    pub kind: FaultKind,
    pub detail: String,
    pub reply: Option<Vec<u8>>,
    /// The key for want of which nothing could be encoded.
    pub lacks: Option<Box<KeySlot>>,
}

impl Fault {
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), reply: None, lacks: None }
    }

    /// What people are told of a command that has not become a frame.
    pub fn why_not_encoded(&self) -> String {
        let why = match self.kind {
            FaultKind::Unsupported => "its protocol cannot do it",
            FaultKind::OutOfRange => "a value is out of its range",
            FaultKind::Trap | FaultKind::Deadline | FaultKind::Resources | FaultKind::Contract => {
                "its adapter has failed over it, which is for the adapter's maker to mend"
            }
            _ => "its adapter makes no frame of it",
        };
        format!("{why}: {}", self.detail)
    }
}

/// Where keys come from. The bytes reach the ciphers of this module and nothing else.
pub trait KeyStore: Send + Sync {
    /// The 16 bytes in that slot of that device (`realm/address`), its own or its realm's common one.
    fn key(&self, device: &DeviceKey, slot: &str) -> Option<[u8; 16]>;
    /// The device was spoken to under a key that its maker derives from its number.
    fn default_key_in_use(&self, device: &DeviceKey);
}
