//! A simulated terminal's keys and counters (USP/1 §D): it holds key bytes, because it is the device.

use crate::frame::Frame;
use crate::security::{Keys, Suite};
use polymeter_sdk::Fault;
use polymeter_sdk::keys::{Derivation, Key, Mode};

/// What a terminal must not lose: numbers that may never be used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    pub sequence: u16,
    pub nonce: u32,
}

/// The key in force and the one before it, and the station's last nonce under each.
#[derive(Default)]
pub struct KeyRing {
    current: Option<(Suite, [u8; 16], u32)>,
    /// Kept until the first frame verified under the current one (§G 8).
    previous: Option<(Suite, [u8; 16], u32)>,
    pub nonce: u32,
}

impl KeyRing {
    pub fn install(&mut self, suite: Suite, key: [u8; 16]) {
        self.previous = self.current.replace((suite, key, 0));
    }

    pub fn current(&self) -> Option<(Suite, [u8; 16])> {
        self.current.map(|(suite, key, _)| (suite, key))
    }

    pub fn keys(&self, address: &str, suite: Suite) -> Option<Keys> {
        let held = [self.current, self.previous].into_iter().flatten().find(|held| held.0 == suite);
        held.and_then(|(suite, key, _)| keys_of(address, suite, &key))
    }

    /// The plain body of a frame from the station, and how it was sealed.
    pub fn open(&mut self, address: &str, frame: &Frame<'_>) -> Result<(Option<Suite>, Vec<u8>), Fault> {
        let Some(suite) = Suite::from_byte(frame.header.security)? else { return Ok((None, frame.body.to_vec())) };
        let keys = self.keys(address, suite).ok_or_else(|| Fault::not_authentic("no such key"))?;
        let (seal, body) = keys.unseal(frame)?;
        let held = [&mut self.current, &mut self.previous].into_iter().flatten().find(|held| held.0 == suite);
        match held {
            Some(held) if seal.nonce > held.2 => held.2 = seal.nonce,
            _ => return Err(Fault::not_authentic("nonce used before")),
        }
        if self.current.is_some_and(|held| held.0 == suite) {
            self.previous = None;
        }
        Ok((Some(suite), body))
    }

    /// The key of 4013, if its check value is right.
    pub fn unwrap(&self, address: &str, carrier: Suite, new: Suite, wrapped: &[u8], check: &[u8]) -> Option<[u8; 16]> {
        let held = [self.current, self.previous].into_iter().flatten().find(|held| held.0 == carrier)?;
        let root = Key::maker_default(address, carrier.cipher, &held.1).ok()?;
        let wrapping = root.derive(Derivation::Block, b"USP1-KEK\0\0\0\0\0\0\0\0").ok()?;
        let key: [u8; 16] = wrapping.decrypt(Mode::Ecb, &[], &[], wrapped).ok()?.try_into().ok()?;
        let found = Key::maker_default(address, new.cipher, &key).ok()?.encrypt(Mode::Ecb, &[], &[], &[0; 16]).ok()?;
        (found.get(..3) == Some(check)).then_some(key)
    }
}

fn keys_of(address: &str, suite: Suite, key: &[u8; 16]) -> Option<Keys> {
    let root = Key::maker_default(address, suite.cipher, key).ok()?;
    Keys::from_root(root, suite).ok()
}
