//! Sealing and opening bodies (§D): AES-128 or SM4, CTR, and a CMAC cut to eight bytes.
//!
//! ```text
//! wire body | nonce 4 | ciphertext | tag 8 |
//! ```

use crate::frame::{Frame, HEADER_BYTES, Header};
use crate::{BODY_BYTES_MAX, Buffer};
use aes::Aes128;
use cipher::consts::U16;
use cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use cmac::{Cmac, Mac};
use sm4::Sm4;

const NONCE_BYTES: usize = 4;
const TAG_BYTES: usize = 8;
pub const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;

type Block = [u8; 16];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    Aes128 = 1,
    Sm4 = 2,
}

/// How a frame is secured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suite {
    pub algorithm: Algorithm,
    /// 0..=15; 0 is the factory key.
    pub version: u8,
}

impl Suite {
    pub const fn byte(self) -> u8 {
        (self.algorithm as u8) << 4 | self.version & 15
    }

    /// `None`: no security byte. `Some(None)`: plain.
    pub const fn from_byte(byte: u8) -> Option<Option<Self>> {
        let version = byte & 15;
        match byte >> 4 {
            0 if version == 0 => Some(None),
            1 => Some(Some(Self { algorithm: Algorithm::Aes128, version })),
            2 => Some(Some(Self { algorithm: Algorithm::Sm4, version })),
            _ => None,
        }
    }
}

pub fn encrypt(algorithm: Algorithm, key: &Block, block: &Block) -> Block {
    let mut out = Array(*block);
    match algorithm {
        Algorithm::Aes128 => Aes128::new(&Array(*key)).encrypt_block(&mut out),
        Algorithm::Sm4 => Sm4::new(&Array(*key)).encrypt_block(&mut out),
    }
    out.0
}

fn decrypt(algorithm: Algorithm, key: &Block, block: &Block) -> Block {
    let mut out = Array(*block);
    match algorithm {
        Algorithm::Aes128 => Aes128::new(&Array(*key)).decrypt_block(&mut out),
        Algorithm::Sm4 => Sm4::new(&Array(*key)).decrypt_block(&mut out),
    }
    out.0
}

fn mac(algorithm: Algorithm, key: &Block, parts: [&[u8]; 2]) -> Block {
    match algorithm {
        Algorithm::Aes128 => {
            let mut mac = <Cmac<Aes128> as KeyInit>::new(&Array(*key));
            parts.iter().for_each(|p| mac.update(p));
            mac.finalize().into_bytes().0
        }
        Algorithm::Sm4 => {
            let mut mac = <Cmac<Sm4> as KeyInit>::new(&Array(*key));
            parts.iter().for_each(|p| mac.update(p));
            mac.finalize().into_bytes().0
        }
    }
}

fn counter_mode(algorithm: Algorithm, key: &Block, first: Block, data: &mut [u8]) {
    match algorithm {
        Algorithm::Aes128 => stream(&Aes128::new(&Array(*key)), first, data),
        Algorithm::Sm4 => stream(&Sm4::new(&Array(*key)), first, data),
    }
}

fn stream(cipher: &impl BlockCipherEncrypt<BlockSize = U16>, first: Block, data: &mut [u8]) {
    let mut counter = first;
    for (n, chunk) in (0_u16..).zip(data.chunks_mut(16)) {
        counter[14..16].copy_from_slice(&n.to_be_bytes());
        let mut block = Array(counter);
        cipher.encrypt_block(&mut block);
        chunk.iter_mut().zip(block.0).for_each(|(byte, key)| *byte ^= key);
    }
}

/// The working keys of one suite, made from its root key for a frame and then forgotten.
pub struct Keys {
    suite: Suite,
    root: Block,
    encryption: Block,
    authentication: Block,
}

impl Keys {
    pub fn new(suite: Suite, root: &Block) -> Self {
        let derive = |label: &[u8; 8]| {
            let mut input = [0; 16];
            input[..8].copy_from_slice(label);
            encrypt(suite.algorithm, root, &input)
        };
        Self { suite, root: *root, encryption: derive(b"USP1-ENC"), authentication: derive(b"USP1-MAC") }
    }

    /// A plain body becomes the wire body. `header` already says this suite.
    pub fn seal(&self, header: &Header, nonce: u32, body: &[u8], out: &mut Buffer<BODY_BYTES_MAX>) {
        let nonce = nonce.to_le_bytes();
        out.clear();
        out.put(&nonce);
        out.put(body);
        let first = first_block(header, nonce);
        counter_mode(
            self.suite.algorithm,
            &self.encryption,
            first,
            out.as_mut_slice().get_mut(NONCE_BYTES..).unwrap_or_default(),
        );
        let header: [u8; HEADER_BYTES] = header.bytes(body.len() + SEAL_BYTES);
        let tag = mac(self.suite.algorithm, &self.authentication, [&header, out.as_slice()]);
        out.put(&tag[..TAG_BYTES]);
    }

    /// The nonce and, in `out`, the plain body. The tag is verified first.
    pub fn unseal(&self, frame: &Frame<'_>, out: &mut Buffer<BODY_BYTES_MAX>) -> Option<u32> {
        let (covered, tag) = frame.body.split_last_chunk::<TAG_BYTES>()?;
        let (nonce, ciphertext) = covered.split_first_chunk::<NONCE_BYTES>()?;
        let expected = mac(self.suite.algorithm, &self.authentication, [&frame.header_bytes, covered]);
        // All bytes are looked at in any case.
        if tag.iter().zip(expected).fold(0, |different, (a, b)| different | (a ^ b)) != 0 {
            return None;
        }
        out.clear();
        out.put(ciphertext);
        counter_mode(self.suite.algorithm, &self.encryption, first_block(&frame.header, *nonce), out.as_mut_slice());
        Some(u32::from_le_bytes(*nonce))
    }

    /// A new key as 4013 brings it.
    pub fn unwrap(&self, wrapped: &Block) -> Block {
        let wrapping = encrypt(self.suite.algorithm, &self.root, b"USP1-KEK\0\0\0\0\0\0\0\0");
        decrypt(self.suite.algorithm, &wrapping, wrapped)
    }
}

/// flags 1 | address 7 | nonce 4 | sequence 2 | i 2.
fn first_block(header: &Header, nonce: [u8; NONCE_BYTES]) -> Block {
    let mut block = [0; 16];
    block[0] = header.flags;
    block[1..8].copy_from_slice(&header.address);
    block[8..12].copy_from_slice(&nonce);
    block[12..14].copy_from_slice(&header.sequence.to_le_bytes());
    block
}
