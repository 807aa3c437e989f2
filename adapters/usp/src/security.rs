//! Sealing and opening bodies (USP/1 §D). Key bytes stay with the host; this file only names what is done with them.

use crate::frame::{Frame, HEADER_BYTES, Header};
use polymeter_sdk::Fault;
use polymeter_sdk::keys::{Cipher, Derivation, Key, KeyError, Mode, same_tag};

// Wire body of a secured frame: nonce u32 LE (4) | ciphertext, as long as the plain body | tag (8).
const NONCE_BYTES: usize = 4;
const TAG_BYTES: usize = 8;
/// What sealing adds to a body.
pub const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// How a frame is secured: algorithm in the high half, key version in the low half; algorithm 0 is plain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suite {
    pub cipher: Cipher,
    /// 0..=15; 0 is the factory key.
    pub version: u8,
}

impl Suite {
    /// `None`: plain.
    pub fn from_byte(byte: u8) -> Result<Option<Self>, Fault> {
        let version = byte & 15;
        match byte >> 4 {
            0 if version == 0 => Ok(None),
            1 => Ok(Some(Self { cipher: Cipher::Aes128, version })),
            2 => Ok(Some(Self { cipher: Cipher::Sm4, version })),
            _ => Err(Fault::corrupt(format!("security byte {byte:02x}, allowed is 00, 1x, 2x"))),
        }
    }
    pub const fn byte(self) -> u8 {
        algorithm_code(self.cipher) << 4 | self.version
    }
}

/// What tells a sealed frame from every other under the same key: its nonce, and the tag's first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seal {
    pub nonce: u32,
    pub tag: [u8; 4],
}

/// 1 AES-128, 2 SM4.
pub const fn algorithm_code(cipher: Cipher) -> u8 {
    match cipher {
        Cipher::Aes128 => 1,
        Cipher::Sm4 => 2,
    }
}

/// The keys of one suite of one terminal.
pub struct Keys {
    pub suite: Suite,
    root: Key,
    encryption: Key,
    authentication: Key,
}

/// Where the station keeps the key of a version.
pub const fn slot(version: u8) -> &'static str {
    const SLOTS: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];
    SLOTS[(version & 15) as usize]
}

/// Whether the station keeps a key for this terminal other than the factory's.
pub fn has_own_key(address: &str) -> bool {
    (1..=15).any(|version| Key::open(address, slot(version), Cipher::Aes128).is_ok())
}

impl Keys {
    /// From the host's store: the slot is the key version in decimal.
    pub fn open(address: &str, suite: Suite) -> Result<Self, KeyError> {
        Self::from_root(Key::open(address, slot(suite.version), suite.cipher)?, suite)
    }

    pub fn from_root(root: Key, suite: Suite) -> Result<Self, KeyError> {
        let encryption = root.derive(Derivation::Block, b"USP1-ENC\0\0\0\0\0\0\0\0")?;
        let authentication = root.derive(Derivation::Block, b"USP1-MAC\0\0\0\0\0\0\0\0")?;
        Ok(Self { suite, root, encryption, authentication })
    }

    /// The wire body of a plain body. `header` already says this suite.
    pub fn seal(&self, header: &Header, nonce: u32, body: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce = nonce.to_le_bytes();
        let ciphertext = self.encryption.encrypt(Mode::Ctr, &counter(header, nonce), &[], body)?;
        let mut covered = Vec::with_capacity(HEADER_BYTES + SEAL_BYTES + body.len());
        covered.extend_from_slice(&header.bytes(body.len() + SEAL_BYTES));
        covered.extend_from_slice(&nonce);
        covered.extend_from_slice(&ciphertext);
        let tag = self.authentication.mac(&covered);
        covered.extend_from_slice(&tag[..TAG_BYTES]);
        covered.drain(..HEADER_BYTES);
        Ok(covered)
    }

    /// The seal and the plain body. The tag is verified first.
    pub fn unseal(&self, frame: &Frame<'_>) -> Result<(Seal, Vec<u8>), KeyError> {
        let (nonce, rest) = frame.body.split_first_chunk::<NONCE_BYTES>().ok_or(KeyError::BadLength)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(KeyError::BadLength)?;
        let mut covered = Vec::with_capacity(HEADER_BYTES + frame.body.len());
        covered.extend_from_slice(frame.header_bytes);
        covered.extend_from_slice(nonce);
        covered.extend_from_slice(ciphertext);
        if !same_tag(tag, &self.authentication.mac(&covered)[..TAG_BYTES]) {
            return Err(KeyError::NotAuthentic);
        }
        let plain = self.encryption.decrypt(Mode::Ctr, &counter(&frame.header, *nonce), &[], ciphertext)?;
        let seal = Seal { nonce: u32::from_le_bytes(*nonce), tag: [tag[0], tag[1], tag[2], tag[3]] };
        Ok((seal, plain))
    }

    /// A new key as 4013 carries it: wrapped under this suite's key, and its check value.
    pub fn wrap(&self, new: &Key) -> Result<([u8; 16], [u8; 3]), KeyError> {
        let wrapping = self.root.derive(Derivation::Block, b"USP1-KEK\0\0\0\0\0\0\0\0")?;
        let check = new.encrypt(Mode::Ecb, &[], &[], &[0; 16])?;
        Ok((wrapping.wrap(new), check.first_chunk().copied().ok_or(KeyError::BadLength)?))
    }
}

/// The first counter block: flags 1 | address 7 | nonce 4 | sequence 2 | i u16 big-endian, from 0.
fn counter(header: &Header, nonce: [u8; NONCE_BYTES]) -> [u8; 16] {
    let mut block = [0; 16];
    block[0] = header.flags;
    block[1..8].copy_from_slice(&header.address);
    block[8..12].copy_from_slice(&nonce);
    block[12..14].copy_from_slice(&header.sequence.to_le_bytes());
    block
}
