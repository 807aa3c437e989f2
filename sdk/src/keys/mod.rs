//! Ciphers over keys that stay with the station. The same calls work in a guest (the `keys` import) and natively (a key
//! store of the test's own, `store`), so that adapter code is the same on both sides.

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
pub mod store;

pub use crate::bindings::polymeter::adapter::keys::{Cipher, Derivation, KeyError, Mode};

#[cfg(target_arch = "wasm32")]
use crate::bindings::polymeter::adapter::keys::Key as Inner;
#[cfg(not(target_arch = "wasm32"))]
use native::Key as Inner;

/// A handle to a key. It never shows its bytes.
pub struct Key(Inner);

impl Key {
    /// The key of a device. `slot` is a name that the utility and the adapter's manifest agree on, such as `1`.
    pub fn open(device: &str, slot: &str, cipher: Cipher) -> Result<Self, KeyError> {
        Inner::open(device, slot, cipher).map(Self)
    }

    /// A maker's default key that the adapter computes itself. The station marks the device as using a default key.
    pub fn maker_default(device: &str, cipher: Cipher, bytes: &[u8; 16]) -> Result<Self, KeyError> {
        Inner::maker_default(device, cipher, bytes).map(Self)
    }

    /// Another key, of the same cipher. [`Derivation::Block`] takes 16 bytes, [`Derivation::Cmac`] any.
    pub fn derive(&self, how: Derivation, input: &[u8]) -> Result<Self, KeyError> {
        self.0.derive(how, input).map(Self)
    }

    /// With CCM and GCM the tag follows the data; `associated` is theirs alone.
    pub fn encrypt(&self, mode: Mode, iv: &[u8], associated: &[u8], data: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.encrypt(mode, iv, associated, data)
    }

    /// Undoes [`Key::encrypt`].
    pub fn decrypt(&self, mode: Mode, iv: &[u8], associated: &[u8], data: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.decrypt(mode, iv, associated, data)
    }

    /// CMAC (NIST SP 800-38B).
    pub fn mac(&self, data: &[u8]) -> [u8; 16] {
        let mac = self.0.mac(data);
        mac.first_chunk().copied().unwrap_or_default()
    }

    /// One block: the other key's bytes, encrypted under this key. How a new key travels to a device.
    pub fn wrap(&self, other: &Self) -> [u8; 16] {
        let wrapped = self.0.wrap(&other.0);
        wrapped.first_chunk().copied().unwrap_or_default()
    }
}

/// Whether two tags are the same, looking at every byte in any case.
pub fn same_tag(found: &[u8], expected: &[u8]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// An order that is refused as not authentic after `open` said `Absent` waits at the station until that key is set.
impl From<KeyError> for crate::Fault {
    fn from(error: KeyError) -> Self {
        Self::not_authentic(match error {
            KeyError::Absent => "no key in that slot for this device",
            KeyError::Denied => "the device is not assigned to this adapter",
            KeyError::BadLength => "a length does not fit the cipher mode",
            KeyError::NotAuthentic => "the tag does not match",
        })
    }
}
