//! The `keys` import: handles to keys that stay here, within what one guest call may spend.

use super::cipher::{BLOCK, Cipher, Key, Mode, Refusal};
use super::guest::Host;
use super::wit::keys;
use crate::limits::{CIPHER_BYTES_MAX, KEY_CALLS_MAX};
use crate::model::{DeviceKey, KeySlot};
use keys::KeyError;
use wasmtime::Result;
use wasmtime::component::Resource;

impl keys::Host for Host {}

impl keys::HostKey for Host {
    fn open(&mut self, device: String, slot: String, cipher: keys::Cipher) -> Result<Result<Resource<Key>, KeyError>> {
        self.spend_key_call()?;
        let Ok(device) = DeviceKey::new(&self.realm, &device) else { return Ok(Err(KeyError::Denied)) };
        if let Some(bytes) = self.keys.key(&device, &slot) {
            return self.handle(Key::new(cipher.into(), bytes)).map(Ok);
        }
        // Where no key can be, none is missed.
        self.lacks = KeySlot::new(device, slot).ok();
        Ok(Err(KeyError::Absent))
    }

    fn maker_default(
        &mut self,
        device: String,
        cipher: keys::Cipher,
        bytes: Vec<u8>,
    ) -> Result<Result<Resource<Key>, KeyError>> {
        self.spend_key_call()?;
        let Ok(device) = DeviceKey::new(&self.realm, &device) else { return Ok(Err(KeyError::Denied)) };
        let Ok(bytes) = <[u8; BLOCK]>::try_from(bytes) else { return Ok(Err(KeyError::BadLength)) };
        // Told to the station only if the call succeeds: anybody can name a device in a forged frame.
        self.default_keys.push(device);
        self.handle(Key::new(cipher.into(), bytes)).map(Ok)
    }

    fn derive(
        &mut self,
        this: Resource<Key>,
        how: keys::Derivation,
        input: Vec<u8>,
    ) -> Result<Result<Resource<Key>, KeyError>> {
        self.spend_key_call()?;
        if input.len() > CIPHER_BYTES_MAX {
            return Ok(Err(KeyError::BadLength));
        }
        let key = self.table.get(&this)?;
        let bytes = match how {
            keys::Derivation::Cmac => key.mac(&input),
            keys::Derivation::Block => match input.try_into() {
                Ok(block) => key.block(block),
                Err(_) => return Ok(Err(KeyError::BadLength)),
            },
        };
        let derived = key.with(bytes);
        self.handle(derived).map(Ok)
    }

    fn encrypt(
        &mut self,
        this: Resource<Key>,
        mode: keys::Mode,
        iv: Vec<u8>,
        associated: Vec<u8>,
        data: Vec<u8>,
    ) -> Result<Result<Vec<u8>, KeyError>> {
        self.spend_key_call()?;
        if associated.len() + data.len() > CIPHER_BYTES_MAX {
            return Ok(Err(KeyError::BadLength));
        }
        Ok(self.table.get(&this)?.encrypt(mode.into(), &iv, &associated, &data).map_err(Into::into))
    }

    fn decrypt(
        &mut self,
        this: Resource<Key>,
        mode: keys::Mode,
        iv: Vec<u8>,
        associated: Vec<u8>,
        data: Vec<u8>,
    ) -> Result<Result<Vec<u8>, KeyError>> {
        self.spend_key_call()?;
        if associated.len() + data.len() > CIPHER_BYTES_MAX {
            return Ok(Err(KeyError::BadLength));
        }
        Ok(self.table.get(&this)?.decrypt(mode.into(), &iv, &associated, &data).map_err(Into::into))
    }

    fn mac(&mut self, this: Resource<Key>, data: Vec<u8>) -> Result<Vec<u8>> {
        self.spend_key_call()?;
        if data.len() > CIPHER_BYTES_MAX {
            return Err(self.refuse("a CMAC over more than a frame"));
        }
        Ok(self.table.get(&this)?.mac(&data).to_vec())
    }

    fn wrap(&mut self, this: Resource<Key>, other: Resource<Key>) -> Result<Vec<u8>> {
        self.spend_key_call()?;
        Ok(self.table.get(&this)?.wrap(self.table.get(&other)?).to_vec())
    }

    fn drop(&mut self, this: Resource<Key>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Host {
    /// Handles that a guest never drops fill its table, and the call that finds it full fails.
    fn handle(&mut self, key: Key) -> Result<Resource<Key>> {
        self.table.push(key).map_err(|_| self.refuse("too many key handles"))
    }

    fn spend_key_call(&mut self) -> Result<()> {
        self.key_calls += 1;
        if self.key_calls > KEY_CALLS_MAX { Err(self.refuse("too many key calls in one call")) } else { Ok(()) }
    }
}

impl From<keys::Cipher> for Cipher {
    fn from(cipher: keys::Cipher) -> Self {
        match cipher {
            keys::Cipher::Aes128 => Self::Aes128,
            keys::Cipher::Sm4 => Self::Sm4,
        }
    }
}

impl From<keys::Mode> for Mode {
    fn from(mode: keys::Mode) -> Self {
        match mode {
            keys::Mode::Ecb => Self::Ecb,
            keys::Mode::Cbc => Self::Cbc,
            keys::Mode::Ctr => Self::Ctr,
            keys::Mode::Ccm => Self::Ccm,
            keys::Mode::Gcm => Self::Gcm,
        }
    }
}

impl From<Refusal> for KeyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Length => Self::BadLength,
            Refusal::Tag => Self::NotAuthentic,
        }
    }
}
