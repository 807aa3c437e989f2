//! A terminal's keys (§D, §G 8): the one in force, the one before it until the new one has proven itself, and the station's last nonce under each.

use crate::cipher::{Keys, Suite, encrypt};
use crate::frame::Frame;
use crate::{BODY_BYTES_MAX, Buffer};

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub suite: Suite,
    pub key: [u8; 16],
    /// The last one heard.
    pub nonce: u32,
}

/// Key, tag or nonce is wrong.
pub struct NotAuthentic;

/// Shows no key when it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyRing {
    pub(crate) current: Option<Held>,
    pub(crate) previous: Option<Held>,
}

impl core::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyRing").field("current", &self.current.map(|held| held.suite)).finish_non_exhaustive()
    }
}

impl KeyRing {
    pub fn install(&mut self, suite: Suite, key: [u8; 16]) {
        self.previous = self.current.replace(Held { suite, key, nonce: 0 });
    }

    /// The suite in force.
    pub fn suite(&self) -> Option<Suite> {
        self.current.map(|held| held.suite)
    }

    /// 0 is the factory key, or none.
    pub fn version(&self) -> u8 {
        self.suite().map_or(0, |suite| suite.version)
    }

    fn held(&self, suite: Suite) -> Option<&Held> {
        [&self.current, &self.previous].into_iter().flatten().find(|held| held.suite == suite)
    }

    pub(crate) fn keys(&self, suite: Suite) -> Option<Keys> {
        self.held(suite).map(|held| Keys::new(suite, &held.key))
    }

    /// The plain body of a frame from the station and how it was sealed. `again`: a frame with this number and
    /// sum was accepted before.
    pub(crate) fn open(
        &mut self,
        frame: &Frame<'_>,
        body: &mut Buffer<BODY_BYTES_MAX>,
        again: bool,
    ) -> Result<Option<Suite>, NotAuthentic> {
        let Some(suite) = Suite::from_byte(frame.header.security).ok_or(NotAuthentic)? else {
            *body = Buffer::of(frame.body);
            return Ok(None);
        };
        let nonce = self.keys(suite).and_then(|keys| keys.unseal(frame, body)).ok_or(NotAuthentic)?;
        let all = [&mut self.current, &mut self.previous];
        let held = all.into_iter().flatten().find(|held| held.suite == suite).ok_or(NotAuthentic)?;
        if nonce <= held.nonce {
            return if again { Ok(Some(suite)) } else { Err(NotAuthentic) };
        }
        held.nonce = nonce;
        if self.suite() == Some(suite) {
            self.previous = None;
        }
        Ok(Some(suite))
    }

    /// The key of 4013, if its check value fits.
    pub(crate) fn unwrap(&self, carrier: Suite, new: Suite, wrapped: &[u8; 16], check: [u8; 3]) -> Option<[u8; 16]> {
        let key = self.keys(carrier)?.unwrap(wrapped);
        let found = encrypt(new.algorithm, &key, &[0; 16]);
        (found[..3] == check).then_some(key)
    }
}
