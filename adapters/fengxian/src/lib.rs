//! Gas meters of the Shanghai Fengxian frame (上海奉贤燃气): 16-byte header, big-endian, a fixed XOR, no acknowledgements.
//!
//! The way of a frame: [`frame`] cuts it, checks its sum and takes the XOR off; `report` reads the business report 38, `words` its bit
//! words, `settings` the bodies that set something and come back as their own answers. `encode` also writes 37, the explicit end of a
//! communication. What the public material leaves open is an option ([`options`]).

mod decode;
mod encode;
pub mod frame;
mod memory;
pub mod options;
mod report;
mod session;
mod settings;
mod words;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use options::Options;
use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing};

/// The adapter, with its profile.
pub struct Fengxian {
    options: Options,
}

impl Adapter for Fengxian {
    fn configure(profile: &str) -> Result<Self, String> {
        Ok(Self { options: Options::parse(profile)? })
    }

    fn frame(&self, received: &[u8]) -> Framing {
        frame::cut(received)
    }

    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        decode::decode(&self.options, context, frame)
    }

    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        encode::encode(&self.options, context, command)
    }
}

polymeter_sdk::adapter!(Fengxian);
