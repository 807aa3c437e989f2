//! USP/1, the unified station-to-terminal protocol's open profile: meters, concentrators and DTUs in one frame format.
//!
//! The message numbers and session rules are the public ones of the 2017 unified protocol; the byte layout is a stand-in
//! that is complete but not claimed to interoperate with devices built to the unpublished one. `§` in comments refers to
//! `PROTOCOL.md`.

mod fields;
mod frame;
mod memory;
mod names;
mod opening;
mod profile;
mod reply;
mod security;
mod session;
mod status;

mod downlink;
mod uplink;

mod receive;
mod send;

#[cfg(all(feature = "device", not(target_arch = "wasm32")))]
pub mod device;

use polymeter_sdk::{Adapter, Command, Context, Decoded, Encoded, Fault, Framing, adapter};
use profile::Profile;

/// The adapter: a profile, and nothing that changes.
pub struct Usp {
    profile: Profile,
}

adapter!(Usp);

impl Adapter for Usp {
    fn configure(profile: &str) -> Result<Self, String> {
        Profile::parse(profile).map(|profile| Self { profile })
    }

    fn frame(&self, received: &[u8]) -> Framing {
        frame::framing(received)
    }

    fn decode(&self, context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        receive::decode(self.profile, context, frame)
    }

    fn encode(&self, context: &Context, command: &Command) -> Result<Encoded, Fault> {
        send::encode(self.profile, context, command)
    }
}

#[cfg(test)]
mod tests {
    use super::Usp;
    use polymeter_sdk::vectors;

    const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

    #[test]
    fn vectors_hold() {
        vectors::check::<Usp>(VECTORS);
    }

    #[test]
    fn damage_is_noticed() {
        vectors::truncations_and_bitflips::<Usp>(VECTORS);
    }
}
