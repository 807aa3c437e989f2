//! The station's ciphers in process, with the same lengths and the same errors.

use super::{Cipher, Derivation, KeyError, Mode, store};
use aes_gcm::aead::{Aead, Payload, consts};
use ccm::Ccm;
use cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, KeySizeUser};
use cmac::{Cmac, Mac};

const BLOCK: usize = 16;

#[derive(Clone, Copy)]
pub struct Key {
    cipher: Cipher,
    bytes: [u8; BLOCK],
}

/// Runs a generic function with the key's own cipher.
macro_rules! with_cipher {
    ($key:expr, $function:ident($($argument:expr),*)) => {
        match $key.cipher {
            Cipher::Aes128 => $function::<aes::Aes128>(&$key.bytes, $($argument),*),
            Cipher::Sm4 => $function::<sm4::Sm4>(&$key.bytes, $($argument),*),
        }
    };
}

impl Key {
    pub fn open(_device: &str, slot: &str, cipher: Cipher) -> Result<Self, KeyError> {
        store::find(slot).map(|bytes| Self { cipher, bytes }).ok_or(KeyError::Absent)
    }

    #[allow(clippy::unnecessary_wraps)] // The shape of the import, which can deny.
    pub fn maker_default(_device: &str, cipher: Cipher, bytes: &[u8; BLOCK]) -> Result<Self, KeyError> {
        Ok(Self { cipher, bytes: *bytes })
    }

    pub fn derive(&self, how: Derivation, input: &[u8]) -> Result<Self, KeyError> {
        let bytes = match how {
            Derivation::Block => with_cipher!(self, encrypt_one(*exactly(input)?)),
            Derivation::Cmac => with_cipher!(self, mac(input)),
        };
        Ok(Self { cipher: self.cipher, bytes })
    }

    pub fn encrypt(&self, mode: Mode, iv: &[u8], associated: &[u8], data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let payload = Payload { msg: data, aad: associated };
        match mode {
            Mode::Ecb => with_cipher!(self, ecb_encrypt(data)),
            Mode::Cbc => with_cipher!(self, cbc_encrypt(exactly(iv)?, data)),
            Mode::Ctr => Ok(with_cipher!(self, ctr(exactly(iv)?, data))),
            Mode::Ccm => with_cipher!(self, ccm(iv, payload, Way::Encrypt)),
            Mode::Gcm => with_cipher!(self, gcm(iv, payload, Way::Encrypt)),
        }
    }

    pub fn decrypt(&self, mode: Mode, iv: &[u8], associated: &[u8], data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let payload = Payload { msg: data, aad: associated };
        match mode {
            Mode::Ecb => with_cipher!(self, ecb_decrypt(data)),
            Mode::Cbc => with_cipher!(self, cbc_decrypt(exactly(iv)?, data)),
            Mode::Ctr => Ok(with_cipher!(self, ctr(exactly(iv)?, data))),
            Mode::Ccm => with_cipher!(self, ccm(iv, payload, Way::Decrypt)),
            Mode::Gcm => with_cipher!(self, gcm(iv, payload, Way::Decrypt)),
        }
    }

    pub fn mac(&self, data: &[u8]) -> Vec<u8> {
        with_cipher!(self, mac(data)).to_vec()
    }

    pub fn wrap(&self, other: &Self) -> Vec<u8> {
        with_cipher!(self, encrypt_one(other.bytes)).to_vec()
    }
}

#[derive(Clone, Copy)]
enum Way {
    Encrypt,
    Decrypt,
}

/// A 16-byte block cipher with a 16-byte key.
trait Cipher16:
    BlockCipherEncrypt
    + BlockCipherDecrypt
    + KeyInit
    + KeySizeUser<KeySize = consts::U16>
    + BlockSizeUser<BlockSize = consts::U16>
{
    fn mac(key: &[u8; BLOCK], data: &[u8]) -> [u8; BLOCK];
}

macro_rules! cipher16 {
    ($cipher:ty) => {
        impl Cipher16 for $cipher {
            fn mac(key: &[u8; BLOCK], data: &[u8]) -> [u8; BLOCK] {
                let mut mac = <Cmac<$cipher> as KeyInit>::new(&Array(*key));
                mac.update(data);
                mac.finalize().into_bytes().0
            }
        }
    };
}
cipher16!(aes::Aes128);
cipher16!(sm4::Sm4);

fn keyed<C: Cipher16>(key: &[u8; BLOCK]) -> C {
    C::new(&Array(*key))
}

fn exactly(bytes: &[u8]) -> Result<&[u8; BLOCK], KeyError> {
    bytes.try_into().map_err(|_| KeyError::BadLength)
}

fn blocks(data: &[u8]) -> Result<&[[u8; BLOCK]], KeyError> {
    let (blocks, rest) = data.as_chunks();
    if rest.is_empty() { Ok(blocks) } else { Err(KeyError::BadLength) }
}

fn xor(a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
    (u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).to_ne_bytes()
}

fn block_encrypt<C: Cipher16>(cipher: &C, block: [u8; BLOCK]) -> [u8; BLOCK] {
    let mut block = Array(block);
    cipher.encrypt_block(&mut block);
    block.0
}

fn block_decrypt<C: Cipher16>(cipher: &C, block: [u8; BLOCK]) -> [u8; BLOCK] {
    let mut block = Array(block);
    cipher.decrypt_block(&mut block);
    block.0
}

fn encrypt_one<C: Cipher16>(key: &[u8; BLOCK], block: [u8; BLOCK]) -> [u8; BLOCK] {
    block_encrypt(&keyed::<C>(key), block)
}

fn ecb_encrypt<C: Cipher16>(key: &[u8; BLOCK], data: &[u8]) -> Result<Vec<u8>, KeyError> {
    let cipher = keyed::<C>(key);
    Ok(blocks(data)?.iter().flat_map(|b| block_encrypt(&cipher, *b)).collect())
}

fn ecb_decrypt<C: Cipher16>(key: &[u8; BLOCK], data: &[u8]) -> Result<Vec<u8>, KeyError> {
    let cipher = keyed::<C>(key);
    Ok(blocks(data)?.iter().flat_map(|b| block_decrypt(&cipher, *b)).collect())
}

fn cbc_encrypt<C: Cipher16>(key: &[u8; BLOCK], iv: &[u8; BLOCK], data: &[u8]) -> Result<Vec<u8>, KeyError> {
    let cipher = keyed::<C>(key);
    let chained = blocks(data)?.iter().scan(*iv, |last, block| {
        *last = block_encrypt(&cipher, xor(*block, *last));
        Some(*last)
    });
    Ok(chained.flatten().collect())
}

fn cbc_decrypt<C: Cipher16>(key: &[u8; BLOCK], iv: &[u8; BLOCK], data: &[u8]) -> Result<Vec<u8>, KeyError> {
    let cipher = keyed::<C>(key);
    let plain = blocks(data)?.iter().scan(*iv, |last, block| {
        let plain = xor(block_decrypt(&cipher, *block), *last);
        *last = *block;
        Some(plain)
    });
    Ok(plain.flatten().collect())
}

fn ctr<C: Cipher16>(key: &[u8; BLOCK], iv: &[u8; BLOCK], data: &[u8]) -> Vec<u8> {
    let cipher = keyed::<C>(key);
    let start = u128::from_be_bytes(*iv);
    let stream = (0_u128..).flat_map(|i| block_encrypt(&cipher, start.wrapping_add(i).to_be_bytes()));
    data.iter().zip(stream).map(|(d, s)| d ^ s).collect()
}

fn mac<C: Cipher16>(key: &[u8; BLOCK], data: &[u8]) -> [u8; BLOCK] {
    C::mac(key, data)
}

fn ccm<C: Cipher16>(key: &[u8; BLOCK], nonce: &[u8], payload: Payload<'_, '_>, way: Way) -> Result<Vec<u8>, KeyError> {
    macro_rules! sized {
        ($($length:literal $size:ident),+) => {
            match nonce.len() {
                $($length => aead(&Ccm::<C, consts::U8, consts::$size>::new(&Array(*key)), nonce, payload, way),)+
                _ => Err(KeyError::BadLength),
            }
        };
    }
    sized!(7 U7, 8 U8, 9 U9, 10 U10, 11 U11, 12 U12, 13 U13)
}

fn gcm<C: Cipher16>(key: &[u8; BLOCK], nonce: &[u8], payload: Payload<'_, '_>, way: Way) -> Result<Vec<u8>, KeyError> {
    aead(&aes_gcm::AesGcm::<C, consts::U12>::new(&Array(*key)), nonce, payload, way)
}

fn aead<A: Aead>(aead: &A, nonce: &[u8], payload: Payload<'_, '_>, way: Way) -> Result<Vec<u8>, KeyError> {
    let nonce = nonce.try_into().map_err(|_| KeyError::BadLength)?;
    match way {
        Way::Encrypt => aead.encrypt(nonce, payload).map_err(|_| KeyError::BadLength),
        Way::Decrypt => aead.decrypt(nonce, payload).map_err(|_| KeyError::NotAuthentic),
    }
}
