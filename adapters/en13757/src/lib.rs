//! M-Bus meters of any maker and medium: wired (EN 13757-2 and -3) and wireless (EN 13757-4, OMS).
//!
//! The way of a frame: [`link`] and [`radio`] cut it and check its sums, [`layers`] walks through what lies between link and
//! records and undoes the encryption ([`security`]), [`record`] takes records apart, [`vif`] and [`vife`] say what they mean,
//! [`value`] and [`time`] what they count; `report` makes registers of them. The master's side is `encode` and [`session`].
//! What the standard leaves open is an option ([`options`]), and the README says what is chosen.

mod decode;
mod encode;
mod failure;
mod fixed;
pub mod identity;
pub mod layers;
pub mod link;
pub mod options;
pub mod radio;
pub mod record;
mod report;
pub mod security;
pub mod session;
pub mod time;
pub mod value;
pub mod vif;
pub mod vife;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use options::Options;
use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing};

/// The adapter, with its profile.
pub struct En13757 {
    options: Options,
}

impl Adapter for En13757 {
    fn configure(profile: &str) -> Result<Self, String> {
        Ok(Self { options: Options::parse(profile)? })
    }

    fn frame(&self, received: &[u8]) -> Framing {
        link::cut(received, &self.options)
    }

    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        decode::decode(&self.options, context, frame)
    }

    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        encode::encode(&self.options, context, command)
    }
}

polymeter_sdk::adapter!(En13757);
