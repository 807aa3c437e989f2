//! Ciphers of EN 13757-7 and OMS over the station's keys: mode 5, mode 7 with its derived keys and MAC, and the counter mode of
//! the extended link layer. A wrong key is always recognised: by the MAC, by a CRC, or by the two fillers that open every plaintext.

use crate::identity::Identity;
use crate::layers::Authentication;
use crate::radio::crc;
use polymeter_sdk::Fault;
use polymeter_sdk::keys::{Cipher, Derivation, Key, Mode, same_tag};
use std::borrow::Cow;

const BLOCK: usize = 16;
const FILLER: u8 = 0x2F;

/// Derivation constants of messages from the meter.
const ENCRYPTION: u8 = 0x00;
const AUTHENTICATION: u8 = 0x01;

/// Message counter, low byte first.
#[derive(Clone, Copy, Debug)]
pub struct Counter(pub [u8; 4]);

/// Whose keys may be opened.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    pub slot: &'a str,
    /// The device as the station knows it, which may be by its bare identification.
    pub device: Option<&'a str>,
}

impl Keys<'_> {
    fn open(self, identity: Option<&Identity>) -> Result<(Identity, Key), Fault> {
        let identity =
            *identity.ok_or_else(|| Fault::not_authentic("encrypted, and nothing tells whose key to use"))?;
        Ok((identity, Key::open(&identity.known_as(self.device), self.slot, Cipher::Aes128)?))
    }
}

/// AES-128-CBC under an IV of identity and access number.
pub fn mode5(
    identity: Option<&Identity>,
    access: u8,
    blocks: usize,
    data: &[u8],
    keys: Keys<'_>,
) -> Result<Vec<u8>, Fault> {
    let (secret, clear) = split(blocks, data)?;
    if secret.is_empty() {
        return Ok(Vec::new());
    }
    let (identity, key) = keys.open(identity)?;
    let mut iv = [access; BLOCK];
    iv[..8].copy_from_slice(&identity.to_radio());
    opened(key.decrypt(Mode::Cbc, &iv, &[], secret)?, clear)
}

/// Encrypted blocks and what stands in clear behind them. 0 blocks: all whole ones; of no data none, and nothing is encrypted.
fn split(blocks: usize, data: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let blocks = if blocks == 0 { data.len() / BLOCK } else { blocks };
    match data.split_at_checked(blocks * BLOCK) {
        Some((secret, clear)) if blocks > 0 || data.is_empty() => Ok((secret, clear)),
        _ => Err(Fault::corrupt(format!("{blocks} encrypted blocks, but {} bytes", data.len()))),
    }
}

/// Two fillers open every plaintext.
pub fn is_plaintext(bytes: &[u8]) -> bool {
    bytes.starts_with(&[FILLER, FILLER])
}

fn opened(mut plain: Vec<u8>, clear: &[u8]) -> Result<Vec<u8>, Fault> {
    if !is_plaintext(&plain) {
        return Err(Fault::not_authentic("wrong key: the plaintext does not begin with 2F2F"));
    }
    plain.extend_from_slice(clear);
    Ok(plain)
}

/// A message under the authentication layer, from its CI field to the end.
pub struct Protected<'a> {
    pub layer: Authentication<'a>,
    pub identity: Option<&'a Identity>,
    pub bytes: &'a [u8],
}

impl Protected<'_> {
    /// AES-128-CBC, IV 0, under a key derived for this message counter; the MAC is checked first.
    pub fn mode7(&self, blocks: usize, data: &[u8], keys: Keys<'_>) -> Result<Vec<u8>, Fault> {
        let (secret, clear) = split(blocks, data)?;
        if self.layer.mac.is_none() {
            return Err(Fault::not_authentic("security mode 7 without a MAC"));
        }
        let (identity, key) = keys.open(self.identity)?;
        self.check(identity, &key)?;
        if secret.is_empty() {
            return Ok(Vec::new());
        }
        let ephemeral = derive(&key, ENCRYPTION, self.layer.needed_counter()?, identity)?;
        opened(ephemeral.decrypt(Mode::Cbc, &[0; BLOCK], &[], secret)?, clear)
    }

    /// Checks the MAC of a message that is not encrypted in mode 7, if it has one.
    pub fn authenticate(&self, keys: Keys<'_>) -> Result<(), Fault> {
        if self.layer.mac.is_none() {
            return Ok(());
        }
        let (identity, key) = keys.open(self.identity)?;
        self.check(identity, &key)
    }

    /// CMAC over MCL, MCR, [ML] and the message.
    fn check(&self, identity: Identity, key: &Key) -> Result<(), Fault> {
        let counter = self.layer.needed_counter()?;
        let mut input = Vec::with_capacity(self.bytes.len() + 7);
        input.extend(self.layer.control);
        input.extend_from_slice(&counter.0);
        input.extend(self.layer.message_length.into_iter().flatten());
        input.extend_from_slice(self.bytes);
        let mac = derive(key, AUTHENTICATION, counter, identity)?.mac(&input);
        let found = self.layer.mac.unwrap_or_default();
        if found.is_empty() || !same_tag(found, mac.get(..found.len()).unwrap_or_default()) {
            return Err(Fault::not_authentic("wrong key or changed message: the MAC does not fit"));
        }
        Ok(())
    }
}

/// CMAC over constant, counter, identification and padding.
fn derive(key: &Key, constant: u8, counter: Counter, identity: Identity) -> Result<Key, Fault> {
    let mut input = [0x07; BLOCK];
    input[0] = constant;
    input[1..5].copy_from_slice(&counter.0);
    input[5..9].copy_from_slice(&identity.id);
    Ok(key.derive(Derivation::Cmac, &input)?)
}

/// What the extended link layer carries behind its session number, in clear and checked. Bits 31..29 of the session number
/// say whether it is encrypted: 0 no, 1 AES-128-CTR.
pub fn session<'a>(
    identity: Option<&Identity>,
    control: u8,
    session: [u8; 4],
    data: &'a [u8],
    keys: Keys<'_>,
) -> Result<Cow<'a, [u8]>, Fault> {
    match session[3] >> 5 {
        0 => Ok(Cow::Borrowed(payload(data).ok_or_else(|| Fault::corrupt("payload CRC does not fit"))?)),
        1 => {
            let (identity, key) = keys.open(identity)?;
            let mut block = [0; BLOCK];
            block[..8].copy_from_slice(&identity.to_radio());
            block[8] = control;
            block[9..13].copy_from_slice(&session);
            let plain = key.decrypt(Mode::Ctr, &block, &[], data)?;
            let inner = payload(&plain).ok_or_else(|| Fault::not_authentic("wrong key: payload CRC does not fit"))?;
            Ok(Cow::Owned(inner.to_vec()))
        }
        other => Err(Fault::not_authentic(format!("encryption {other} of the extended link layer is not supported"))),
    }
}

/// The bytes behind a payload CRC that fits.
pub fn payload(data: &[u8]) -> Option<&[u8]> {
    let (sum, inner) = data.split_first_chunk()?;
    (u16::from_le_bytes(*sum) == crc(inner)).then_some(inner)
}
