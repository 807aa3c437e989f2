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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cipher: Cipher, hex: &str) -> Key {
        Key { cipher, bytes: bytes(hex).try_into().expect("16 bytes") }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).expect("hex")
    }

    /// Mode, key, initialisation, associated, plain, sealed: FIPS-197, GB/T 32907, SP 800-38A F.2.1 and F.5.1, RFC 3610 #1,
    /// and case 4 of the GCM specification.
    #[test]
    fn published_cases_both_ways() {
        let aes = Cipher::Aes128;
        for (cipher, mode, k, iv, aad, plain, sealed) in [
            (
                aes,
                Mode::Ecb,
                "000102030405060708090a0b0c0d0e0f",
                "",
                "",
                "00112233445566778899aabbccddeeff",
                "69c4e0d86a7b0430d8cdb78070b4c55a",
            ),
            (
                Cipher::Sm4,
                Mode::Ecb,
                "0123456789abcdeffedcba9876543210",
                "",
                "",
                "0123456789abcdeffedcba9876543210",
                "681edf34d206965e86b3e94f536e4246",
            ),
            (
                aes,
                Mode::Cbc,
                "2b7e151628aed2a6abf7158809cf4f3c",
                "000102030405060708090a0b0c0d0e0f",
                "",
                "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
                "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
            ),
            (
                aes,
                Mode::Ctr,
                "2b7e151628aed2a6abf7158809cf4f3c",
                "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
                "",
                "6bc1bee22e409f96e93d7e117393172aae2d8a57",
                "874d6191b620e3261bef6864990db6ce9806f66b",
            ),
            (
                aes,
                Mode::Ccm,
                "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf",
                "00000003020100a0a1a2a3a4a5",
                "0001020304050607",
                "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
                "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0",
            ),
            (
                aes,
                Mode::Gcm,
                "feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
            ),
        ] {
            let k = key(cipher, k);
            let (iv, aad, plain, sealed) = (bytes(iv), bytes(aad), bytes(plain), bytes(sealed));
            assert_eq!(k.encrypt(mode, &iv, &aad, &plain), Ok(sealed.clone()), "{mode:?}");
            assert_eq!(k.decrypt(mode, &iv, &aad, &sealed), Ok(plain), "{mode:?}");
        }
    }

    #[test]
    fn refusals_are_the_stations() {
        let k = key(Cipher::Sm4, "0123456789abcdeffedcba9876543210");
        assert_eq!(k.encrypt(Mode::Ecb, &[], &[], &[0; 15]), Err(KeyError::BadLength));
        assert_eq!(k.encrypt(Mode::Cbc, &[0; 15], &[], &[0; 16]), Err(KeyError::BadLength));
        assert_eq!(k.encrypt(Mode::Ccm, &[0; 14], &[], &[]), Err(KeyError::BadLength));
        assert_eq!(k.encrypt(Mode::Gcm, &[0; 16], &[], &[]), Err(KeyError::BadLength));
        assert_eq!(k.decrypt(Mode::Ccm, &[0; 13], &[], &[0; 20]), Err(KeyError::NotAuthentic));
        assert_eq!(k.decrypt(Mode::Gcm, &[0; 12], &[], &[0; 3]), Err(KeyError::NotAuthentic));
        assert!(matches!(k.derive(Derivation::Block, &[0; 17]), Err(KeyError::BadLength)));
        assert!(matches!(Key::open("1", "none such", Cipher::Sm4), Err(KeyError::Absent)));
    }

    #[test]
    fn cmac_of_rfc_4493() {
        let k = key(Cipher::Aes128, "2b7e151628aed2a6abf7158809cf4f3c");
        assert_eq!(hex::encode(k.mac(&[])), "bb1d6929e95937287fa37d129b756746");
        assert_eq!(hex::encode(k.mac(&bytes("6bc1bee22e409f96e93d7e117393172a"))), "070a16b46b4d4144f79bdd9dd04a287c");
        let other = key(Cipher::Aes128, "00000000000000000000000000000000");
        assert_eq!(k.wrap(&other), k.encrypt(Mode::Ecb, &[], &[], &[0; 16]).expect("one block"));
        assert!(
            k.derive(Derivation::Cmac, &[]).is_ok_and(|d| hex::encode(d.bytes) == "bb1d6929e95937287fa37d129b756746")
        );
    }
}
