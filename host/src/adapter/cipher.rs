//! AES-128 and SM4 in the modes that meters use. Pure functions over bytes; who may use which key is `keys.rs`.

use aes::Aes128;
use aes_gcm::AesGcm;
use ccm::aead::{Aead, KeyInit, Payload, array::ArraySize};
use ccm::consts::{U7, U8, U9, U10, U11, U12, U13, U16};
use ccm::{Ccm, NonceSize};
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyIvInit, StreamCipher};
use cmac::{Cmac, Mac};
use ctr::Ctr128BE;
use sm4::Sm4;

/// Block length of both ciphers, and length of their keys.
pub const BLOCK: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cipher {
    Aes128,
    Sm4,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Ecb,
    Cbc,
    Ctr,
    Ccm,
    Gcm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A length does not fit the mode.
    Length,
    /// The tag does not match.
    Tag,
}

/// Sixteen bytes that only this module looks at. They have no `Debug`, so that no log line can hold them.
#[derive(Clone)]
pub struct Key {
    cipher: Cipher,
    bytes: [u8; BLOCK],
}

impl Key {
    pub fn new(cipher: Cipher, bytes: [u8; BLOCK]) -> Self {
        Self { cipher, bytes }
    }

    pub fn encrypt(&self, mode: Mode, iv: &[u8], associated: &[u8], data: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self.cipher {
            Cipher::Aes128 => encrypt::<Aes128>(&self.bytes, mode, iv, associated, data),
            Cipher::Sm4 => encrypt::<Sm4>(&self.bytes, mode, iv, associated, data),
        }
    }

    pub fn decrypt(&self, mode: Mode, iv: &[u8], associated: &[u8], data: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self.cipher {
            Cipher::Aes128 => decrypt::<Aes128>(&self.bytes, mode, iv, associated, data),
            Cipher::Sm4 => decrypt::<Sm4>(&self.bytes, mode, iv, associated, data),
        }
    }

    /// CMAC, NIST SP 800-38B.
    pub fn mac(&self, data: &[u8]) -> [u8; BLOCK] {
        match self.cipher {
            Cipher::Aes128 => {
                let mut mac = <Cmac<Aes128> as KeyInit>::new(&self.bytes.into());
                mac.update(data);
                mac.finalize().into_bytes().into()
            }
            Cipher::Sm4 => {
                let mut mac = <Cmac<Sm4> as KeyInit>::new(&self.bytes.into());
                mac.update(data);
                mac.finalize().into_bytes().into()
            }
        }
    }

    /// One block encrypted: derivation by block, and the way a new key travels.
    pub fn block(&self, input: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = input.into();
        match self.cipher {
            Cipher::Aes128 => Aes128::new(&self.bytes.into()).encrypt_block(&mut block),
            Cipher::Sm4 => Sm4::new(&self.bytes.into()).encrypt_block(&mut block),
        }
        block.into()
    }

    /// The other key under this one.
    pub fn wrap(&self, other: &Self) -> [u8; BLOCK] {
        self.block(other.bytes)
    }

    /// A key of the same cipher with other bytes.
    pub fn with(&self, bytes: [u8; BLOCK]) -> Self {
        Self { cipher: self.cipher, bytes }
    }
}

/// What both ciphers are.
trait Block128: KeyInit<KeySize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> {}
impl<C> Block128 for C where
    C: KeyInit<KeySize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>
{
}

fn encrypt<C: Block128>(
    key: &[u8; BLOCK],
    mode: Mode,
    iv: &[u8],
    associated: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Refusal> {
    match mode {
        Mode::Ecb => {
            let cipher = C::new(&(*key).into());
            blocks(data, |block| {
                let mut out = block.into();
                cipher.encrypt_block(&mut out);
                out.into()
            })
        }
        Mode::Cbc => {
            let cipher = C::new(&(*key).into());
            let mut chain = sixteen(iv)?;
            blocks(data, |block| {
                let mut out = xor(block, chain).into();
                cipher.encrypt_block(&mut out);
                chain = out.into();
                chain
            })
        }
        Mode::Ctr => counted::<C>(key, iv, data),
        Mode::Ccm => seal_ccm::<C>(key, iv, Payload { msg: data, aad: associated }, Way::Seal),
        Mode::Gcm => {
            let nonce: [u8; 12] = iv.try_into().map_err(|_| Refusal::Length)?;
            let payload = Payload { msg: data, aad: associated };
            AesGcm::<C, U12>::new(&(*key).into()).encrypt(&nonce.into(), payload).map_err(|_| Refusal::Length)
        }
    }
}

fn decrypt<C: Block128>(
    key: &[u8; BLOCK],
    mode: Mode,
    iv: &[u8],
    associated: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Refusal> {
    match mode {
        Mode::Ecb => {
            let cipher = C::new(&(*key).into());
            blocks(data, |block| {
                let mut out = block.into();
                cipher.decrypt_block(&mut out);
                out.into()
            })
        }
        Mode::Cbc => {
            let cipher = C::new(&(*key).into());
            let mut chain = sixteen(iv)?;
            blocks(data, |block| {
                let mut out = block.into();
                cipher.decrypt_block(&mut out);
                let plain = xor(out.into(), chain);
                chain = block;
                plain
            })
        }
        Mode::Ctr => counted::<C>(key, iv, data),
        Mode::Ccm => seal_ccm::<C>(key, iv, Payload { msg: data, aad: associated }, Way::Open),
        Mode::Gcm => {
            let nonce: [u8; 12] = iv.try_into().map_err(|_| Refusal::Length)?;
            if data.len() < BLOCK {
                return Err(Refusal::Length);
            }
            let payload = Payload { msg: data, aad: associated };
            AesGcm::<C, U12>::new(&(*key).into()).decrypt(&nonce.into(), payload).map_err(|_| Refusal::Tag)
        }
    }
}

fn counted<C: Block128>(key: &[u8; BLOCK], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = data.to_vec();
    Ctr128BE::<C>::new(&(*key).into(), &sixteen(iv)?.into())
        .try_apply_keystream(&mut out)
        .map_err(|_| Refusal::Length)?;
    Ok(out)
}

#[derive(Clone, Copy)]
enum Way {
    Seal,
    Open,
}

/// The tag has 8 bytes; the nonce may have 7 to 13, which is a type in this library.
fn seal_ccm<C: Block128>(key: &[u8; BLOCK], iv: &[u8], payload: Payload<'_, '_>, way: Way) -> Result<Vec<u8>, Refusal> {
    fn run<C: Block128, N: ArraySize + NonceSize>(
        key: &[u8; BLOCK],
        iv: &[u8],
        payload: Payload<'_, '_>,
        way: Way,
    ) -> Result<Vec<u8>, Refusal> {
        let ccm = Ccm::<C, U8, N>::new(&(*key).into());
        let nonce = iv.try_into().map_err(|_| Refusal::Length)?;
        match way {
            Way::Seal => ccm.encrypt(nonce, payload).map_err(|_| Refusal::Length),
            Way::Open if payload.msg.len() < 8 => Err(Refusal::Length),
            Way::Open => ccm.decrypt(nonce, payload).map_err(|_| Refusal::Tag),
        }
    }
    match iv.len() {
        7 => run::<C, U7>(key, iv, payload, way),
        8 => run::<C, U8>(key, iv, payload, way),
        9 => run::<C, U9>(key, iv, payload, way),
        10 => run::<C, U10>(key, iv, payload, way),
        11 => run::<C, U11>(key, iv, payload, way),
        12 => run::<C, U12>(key, iv, payload, way),
        13 => run::<C, U13>(key, iv, payload, way),
        _ => Err(Refusal::Length),
    }
}

fn blocks(data: &[u8], mut each: impl FnMut([u8; BLOCK]) -> [u8; BLOCK]) -> Result<Vec<u8>, Refusal> {
    let (whole, rest) = data.as_chunks::<BLOCK>();
    if !rest.is_empty() {
        return Err(Refusal::Length);
    }
    let mut out = Vec::with_capacity(data.len());
    for block in whole {
        out.extend_from_slice(&each(*block));
    }
    Ok(out)
}

fn sixteen(bytes: &[u8]) -> Result<[u8; BLOCK], Refusal> {
    bytes.try_into().map_err(|_| Refusal::Length)
}

fn xor(mut a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
    for (x, y) in a.iter_mut().zip(b) {
        *x ^= y;
    }
    a
}

#[cfg(test)]
mod tests;
