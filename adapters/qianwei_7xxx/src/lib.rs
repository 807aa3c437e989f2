//! Gas meters that speak the 60-byte header family: 前卫 Qianwei (plain) and 新圣 Xinsheng (AES-128), and the flow correctors of
//! the same family.
//!
//! The way of a frame: [`frame`] cuts it and checks its sum, [`cipher`] finds the key, `reading`, `corrector` and `answer`
//! read bodies, `decode` puts it together and acknowledges. A command goes through `encode` to `settings` and `parameters`.
//! What the public material leaves open is an option ([`options`]), and the README says what is known and what is chosen.

mod alarms;
mod answer;
pub mod cipher;
pub mod code;
mod corrector;
mod decode;
mod encode;
pub mod frame;
mod groups;
mod identity;
mod memory;
pub mod options;
mod parameters;
mod reading;
mod scale;
mod session;
mod settings;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use options::Options;
use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing};

/// The adapter, with its profile.
pub struct Qianwei {
    options: Options,
}

impl Adapter for Qianwei {
    fn configure(profile: &str) -> Result<Self, String> {
        Ok(Self { options: Options::parse(profile)? })
    }

    fn frame(&self, received: &[u8]) -> Framing {
        frame::cut(received, &self.options)
    }

    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        decode::decode(&self.options, context, frame)
    }

    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        encode::encode(&self.options, context, command)
    }
}

polymeter_sdk::adapter!(Qianwei);
