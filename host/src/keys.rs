//! Device keys: sealed under the station's master key in the journal, opened only for the ciphers.
//!
//! The master key is a file of the data directory that only its owner may read. Whoever has a copy of the journal
//! without that file has no device key.

use crate::adapter::KeyStore;
use crate::model::{DeviceKey, HexBytes};
use crate::views::Views;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use rustc_hash::FxHashSet;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const MASTER_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const FILE: &str = "master.key";

/// Seals device keys; enough for a station that is not running.
pub struct Seal(Aes256Gcm);

/// Opens and seals device keys.
pub struct Vault {
    seal: Seal,
    views: Views,
    defaults_seen: Mutex<FxHashSet<DeviceKey>>,
}

/// Why the vault cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("{FILE}: {0}")]
    File(#[from] std::io::Error),
    #[error(
        "{FILE} has {0} bytes instead of {MASTER_BYTES}; restore it from your backup: without it no device key can be opened"
    )]
    Damaged(usize),
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
    #[error("sealing failed")]
    Seal,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Seal {
    /// Reads the master key of a data directory, or makes one.
    pub fn open(data: &Path) -> Result<Self, VaultError> {
        Ok(Self(Aes256Gcm::new(&master_key(&data.join(FILE))?.into())))
    }

    /// Seals a key for the journal. Bound to device and slot, so that it cannot be moved to another.
    pub fn seal(&self, device: &str, slot: &str, key: &[u8; 16]) -> Result<HexBytes, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(VaultError::Random)?;
        let aad = place(device, slot);
        let payload = Payload { msg: key, aad: aad.as_bytes() };
        let sealed = self.0.encrypt(&nonce.into(), payload).map_err(|_| VaultError::Seal)?;
        Ok(HexBytes([nonce.as_slice(), &sealed].concat()))
    }
}

impl Vault {
    pub fn open(data: &Path, views: Views) -> Result<Self, VaultError> {
        Ok(Self { seal: Seal::open(data)?, views, defaults_seen: Mutex::default() })
    }

    /// As `Seal::seal`.
    pub fn seal(&self, device: &str, slot: &str, key: &[u8; 16]) -> Result<HexBytes, VaultError> {
        self.seal.seal(device, slot, key)
    }

    /// Devices of this run that were spoken to under a key derived from their number.
    pub fn default_keys(&self) -> usize {
        self.defaults_seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the device was spoken to under a key derived from its number.
    pub fn uses_default_key(&self, device: &DeviceKey) -> bool {
        self.defaults_seen.lock().unwrap_or_else(PoisonError::into_inner).contains(device)
    }

    fn unseal(&self, device: &str, slot: &str) -> Option<[u8; 16]> {
        let sealed = match self.views.key(device, slot) {
            Ok(row) => row?.sealed,
            Err(error) => {
                tracing::error!(device, slot, %error, "a key cannot be looked up");
                return None;
            }
        };
        let (nonce, text) = sealed.0.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let aad = place(device, slot);
        let opened = self.seal.0.decrypt(&nonce.into(), Payload { msg: text, aad: aad.as_bytes() });
        if opened.is_err() {
            tracing::error!(device, slot, "a sealed key does not open: {FILE} is not the one it was sealed under");
        }
        opened.ok()?.try_into().ok()
    }
}

impl KeyStore for Vault {
    /// The device's own key, or else the one that all devices of its realm share (`realm/*`).
    fn key(&self, device: &DeviceKey, slot: &str) -> Option<[u8; 16]> {
        self.unseal(device.as_str(), slot).or_else(|| self.unseal(&format!("{}/*", device.realm()), slot))
    }

    fn default_key_in_use(&self, device: &DeviceKey) {
        let mut seen = self.defaults_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < crate::limits::DEFAULT_KEYS_SEEN_MAX && seen.insert(device.clone()) {
            tracing::warn!(%device, "default key in use: set a key of its own with set-key");
        }
    }
}

fn place(device: &str, slot: &str) -> String {
    format!("polymeter key {device} {slot}")
}

fn master_key(path: &Path) -> Result<[u8; MASTER_BYTES], VaultError> {
    match std::fs::File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(MASTER_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            let length = bytes.len();
            bytes.try_into().map_err(|_| VaultError::Damaged(length))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_master_key(path),
        Err(error) => Err(error.into()),
    }
}

fn make_master_key(path: &Path) -> Result<[u8; MASTER_BYTES], VaultError> {
    let mut key = [0; MASTER_BYTES];
    getrandom::fill(&mut key).map_err(VaultError::Random)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Written beside and renamed, so that a crash leaves a whole key or none.
    let draft = path.with_extension("draft");
    let _ = std::fs::remove_file(&draft);
    let mut file = options.open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    Ok(key)
}
