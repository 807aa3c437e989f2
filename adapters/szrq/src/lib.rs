//! Gas meters of the Shenzhen gas frame (深圳燃气): 29-byte header, little-endian, with big-endian floats and valve words.
//!
//! The way of a frame: [`frame`] cuts it and checks its sum, `wire` reads single values with their absence markers, `report` and
//! `answer` read bodies, `decode` puts it together and acknowledges. A command goes through `encode`; the (flag, value) pairs
//! of the setting messages are `items`. What the public material leaves open is an option ([`options`]).

mod alarms;
mod answer;
pub mod code;
mod decode;
mod encode;
pub mod frame;
mod items;
mod log;
mod memory;
pub mod options;
mod report;
mod session;
mod settings;
mod tariff;
mod wire;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use options::Options;
use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing};

/// The adapter, with its profile.
pub struct Szrq {
    options: Options,
}

impl Adapter for Szrq {
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

polymeter_sdk::adapter!(Szrq);
