//! Gas, water and heat meters that speak CJ/T 188: the station asks, the meter answers, mostly from behind a concentrator or a DTU.
//!
//! The way of an answer: [`frame`] finds and checks it, `request` knows what was asked, `reading` and `value` read what the
//! data identifier ([`di`]) announces, `status` the status word, `decode` puts it together. A command goes through `encode` to
//! `settings` and `history`. The standard's two issues and its vendors differ in ways that no frame shows, so the dialect is
//! said in the profile ([`options`]); the README says what is known and what is chosen.

mod decode;
pub mod di;
mod encode;
pub mod frame;
mod history;
mod memory;
pub mod options;
mod parts;
mod reading;
mod settings;
pub mod status;
mod value;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use options::Options;
use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing};

/// The adapter, with its profile.
pub struct Cjt188 {
    options: Options,
}

impl Adapter for Cjt188 {
    fn configure(profile: &str) -> Result<Self, String> {
        Ok(Self { options: Options::parse(profile)? })
    }

    fn frame(&self, received: &[u8]) -> Framing {
        frame::cut(received, &self.options.prefix)
    }

    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        decode::decode(&self.options, context, frame)
    }

    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        encode::encode(&self.options, context, command)
    }
}

polymeter_sdk::adapter!(Cjt188);
