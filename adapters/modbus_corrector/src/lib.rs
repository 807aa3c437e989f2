//! Gas volume correctors (体积修正仪) that are asked by Modbus RTU: through a transparent DTU that connects to the station, or carried by
//! a concentrator or DTU of another protocol.
//!
//! The way of an answer: [`frame`] cuts it from the stream, `session` knows which request it answers and what comes next, [`image`]
//! holds what was read so far, `report` makes registers of it as the profile's [`map`] says. A command goes through `encode` to a
//! queue of requests. What a DTU says of itself on connecting and now and then is [`packet`]. All numbers of a device are in
//! the profile ([`options`]); the README says what is known and what is chosen.

mod archive;
mod clock;
mod decode;
mod encode;
pub mod field;
pub mod frame;
mod image;
pub mod map;
mod names;
pub mod options;
pub mod packet;
mod plan;
mod report;
mod session;
mod settings;
pub mod words;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use options::Profile;
use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing};

/// The adapter, with its profile.
pub struct ModbusCorrector {
    profile: Profile,
}

impl Adapter for ModbusCorrector {
    fn configure(profile: &str) -> Result<Self, String> {
        Ok(Self { profile: Profile::parse(profile)? })
    }

    fn frame(&self, received: &[u8]) -> Framing {
        frame::cut(&self.profile, received)
    }

    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        decode::decode(&self.profile, context, frame)
    }

    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        encode::encode(&self.profile, context, command)
    }
}

polymeter_sdk::adapter!(ModbusCorrector);
