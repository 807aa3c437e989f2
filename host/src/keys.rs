//! Device keys: sealed under the station's master key in the journal, opened only for the ciphers.
//!
//! The master key is a file of the data directory that only its owner may read. Whoever has a copy of the journal
//! without that file has no device key.

use crate::adapter::KeyStore;
use crate::limits::DEFAULT_KEYS_SEEN_MAX;
use crate::model::{DeviceKey, HexBytes, KeySlot, Seq};
use crate::views::{KeyRow, ViewError, Views};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use rustc_hash::FxHashSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
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
    /// The last entry of the time before this run.
    since: Seq,
    /// Devices of this run that were spoken to under a key derived from their number.
    defaults_seen: Mutex<FxHashSet<DeviceKey>>,
}

/// What a key is to the vault; sealed, where it is not there yet.
pub enum Change {
    New(HexBytes),
    /// Another one is there.
    Other(HexBytes),
    /// It is there.
    None,
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
    #[error(
        "{FILE} is missing, and {0} device keys are sealed under it; restore it from your backup: without it no device \
         key can be opened. If it is lost for good, `polymeter key set --data` makes a new one, and every key is set anew"
    )]
    Missing(u64),
    #[error(
        "{FILE} is not the one that the {0} device keys were sealed under; restore it from your backup: without it no \
         device key can be opened"
    )]
    Other(u64),
    #[error(transparent)]
    Views(#[from] ViewError),
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
    /// Where the master key of a data directory lies.
    pub fn file(data: &Path) -> PathBuf {
        data.join(FILE)
    }

    /// Reads the master key of a data directory, or makes one.
    pub fn open(data: &Path) -> Result<Self, VaultError> {
        Ok(Self(Aes256Gcm::new(&master_key(&Self::file(data))?.into())))
    }

    /// Seals a key for the journal. Bound to device and slot, so that it cannot be moved to another.
    pub fn seal(&self, at: &KeySlot, key: &[u8; 16]) -> Result<HexBytes, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(VaultError::Random)?;
        let aad = place(at.device.as_str(), &at.slot);
        let payload = Payload { msg: key, aad: aad.as_bytes() };
        let sealed = self.0.encrypt(&nonce.into(), payload).map_err(|_| VaultError::Seal)?;
        Ok(HexBytes([nonce.as_slice(), &sealed].concat()))
    }

    /// `None`: sealed under another master key, or for another device or slot.
    fn unseal(&self, row: &KeyRow) -> Option<[u8; 16]> {
        let (nonce, text) = row.sealed.0.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let aad = place(&row.device, &row.slot);
        let opened = self.0.decrypt(&nonce.into(), Payload { msg: text, aad: aad.as_bytes() });
        opened.ok()?.try_into().ok()
    }
}

impl Vault {
    /// Makes a master key only where no key was ever sealed under one: beside a new one all of those would be dead.
    pub fn open(data: &Path, views: Views) -> Result<Self, VaultError> {
        let sealed = views.key_count()?;
        if sealed > 0 && !Seal::file(data).try_exists()? {
            return Err(VaultError::Missing(sealed));
        }
        let seal = Seal::open(data)?;
        // One that opens is enough; there may be millions.
        let mut dead = None;
        let opens = views.find_key(|row| {
            let opens = seal.unseal(row).is_some();
            if !opens && dead.is_none() {
                dead = Some((row.device.clone(), row.slot.clone()));
            }
            opens
        })?;
        if let Some((device, slot)) = dead {
            if opens.is_none() {
                return Err(VaultError::Other(sealed));
            }
            // Some were set anew since the master key was lost: those must go on to work.
            tracing::error!(device, slot, "a key is sealed under another {FILE}: restore it, or set such keys anew");
        }
        let since = views.health().cursor;
        Ok(Self { seal, views, since, defaults_seen: Mutex::default() })
    }

    /// As `Seal::seal`.
    pub fn seal(&self, at: &KeySlot, key: &[u8; 16]) -> Result<HexBytes, VaultError> {
        self.seal.seal(at, key)
    }

    /// What setting this key would change.
    pub fn weigh(&self, at: &KeySlot, key: &[u8; 16]) -> Result<Change, VaultError> {
        let before = self.views.key(at.device.as_str(), &at.slot)?;
        if before.as_ref().is_some_and(|row| self.seal.unseal(row).as_ref() == Some(key)) {
            return Ok(Change::None);
        }
        let sealed = self.seal(at, key)?;
        Ok(if before.is_some() { Change::Other(sealed) } else { Change::New(sealed) })
    }

    /// Whether the device, whose last frame is that entry, was spoken to under a key derived from its number. The journal does not
    /// keep that: `None` of one that was not heard since the station has started.
    pub fn uses_default_key(&self, device: &DeviceKey, last: Option<Seq>) -> Option<bool> {
        let seen = self.defaults_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(device) {
            return Some(true);
        }
        let is_known = last.is_some_and(|last| last > self.since) && seen.len() < DEFAULT_KEYS_SEEN_MAX;
        is_known.then_some(false)
    }

    fn unseal(&self, device: &str, slot: &str) -> Option<[u8; 16]> {
        let row = match self.views.key(device, slot) {
            Ok(row) => row?,
            Err(error) => {
                tracing::error!(device, slot, %error, "a key cannot be looked up");
                return None;
            }
        };
        let opened = self.seal.unseal(&row);
        if opened.is_none() {
            tracing::error!(device, slot, "a sealed key does not open: {FILE} is not the one it was sealed under");
        }
        opened
    }
}

impl KeyStore for Vault {
    /// The device's own key, or else the one that all devices of its realm share (`realm/*`).
    fn key(&self, device: &DeviceKey, slot: &str) -> Option<[u8; 16]> {
        self.unseal(device.as_str(), slot).or_else(|| self.unseal(&format!("{}/*", device.realm()), slot))
    }

    fn default_key_in_use(&self, device: &DeviceKey) {
        let mut seen = self.defaults_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < DEFAULT_KEYS_SEEN_MAX && seen.insert(device.clone()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::journal::{Entry, Fact, Identity, Journal, Options};
    use std::time::Duration;

    /// The parts of a station that keys need, in a directory that goes with its test.
    struct Station {
        dir: PathBuf,
        journal: Journal,
        views: Views,
    }

    impl Station {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("polymeter-keys-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            let identity = Identity { station: "north".into(), epoch: 1 };
            let journal = Journal::open(&dir, &Options { identity, now_ms: 0 }).expect("opens");
            let views = Views::open(&dir, &journal, &Clock::new("UTC").expect("zone")).expect("opens");
            Self { dir, journal, views }
        }

        fn vault(&self) -> Result<Vault, VaultError> {
            Vault::open(&self.dir, self.views.clone())
        }

        fn refusal(&self) -> String {
            self.vault().expect_err("refused").to_string()
        }

        /// As `polymeter key set` on a station that is not running, and then its start.
        fn set_key(&self, device: &str, key: [u8; 16]) {
            let at = KeySlot::new(device.parse().expect("a device"), "main".into()).expect("a slot");
            let sealed = Seal::open(&self.dir).and_then(|seal| seal.seal(&at, &key)).expect("seals");
            let fact =
                Fact::KeySet { device: device.into(), slot: "main".into(), sealed: Some(sealed), by: "anna".into() };
            let seq = self.journal.append_blocking(Entry { at_ms: 0, fact }).expect("appends");
            assert!(self.views.wait_caught_up(seq, Duration::from_secs(20)));
        }
    }

    impl Drop for Station {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn device(address: &str) -> DeviceKey {
        DeviceKey::new("usp", address).expect("a device")
    }

    #[test]
    fn a_lost_master_key_is_not_replaced() {
        let station = Station::new("lost");
        let file = station.dir.join(FILE);
        station.vault().expect("nothing is sealed yet");
        let first = std::fs::read(&file).expect("was made");
        std::fs::remove_file(&file).expect("there");
        station.vault().expect("nothing is sealed yet");
        assert_ne!(std::fs::read(&file).expect("was made"), first);
        station.set_key("usp/1", [1; 16]);
        assert_eq!(station.vault().expect("opens").key(&device("1"), "main"), Some([1; 16]));

        let good = std::fs::read(&file).expect("there");
        std::fs::remove_file(&file).expect("there");
        let missing = station.refusal();
        assert!(missing.contains("is missing, and 1 device keys") && missing.contains("from your backup"), "{missing}");
        assert!(!file.exists(), "none was made");
        std::fs::write(&file, [7; MASTER_BYTES]).expect("writes");
        let other = station.refusal();
        assert!(other.contains("is not the one") && other.contains("from your backup"), "{other}");
        std::fs::write(&file, &good[..20]).expect("writes");
        assert!(station.refusal().contains("has 20 bytes instead of 32"));

        std::fs::write(&file, good).expect("writes");
        assert_eq!(station.vault().expect("restored").key(&device("1"), "main"), Some([1; 16]));
    }

    #[test]
    fn keys_set_anew_after_a_loss_work() {
        let station = Station::new("anew");
        station.set_key("usp/1", [1; 16]);
        std::fs::remove_file(station.dir.join(FILE)).expect("there");
        station.set_key("usp/2", [2; 16]);
        let vault = station.vault().expect("one of them opens");
        assert_eq!((vault.key(&device("1"), "main"), vault.key(&device("2"), "main")), (None, Some([2; 16])));
    }
    #[test]
    fn whether_a_silent_device_uses_its_default_key_is_not_known() {
        let station = Station::new("defaults");
        station.set_key("usp/9", [9; 16]);
        let vault = station.vault().expect("opens");
        let before = Some(station.journal.health().last_seq);
        let heard = before.map(|seq| Seq(seq.0 + 1));
        vault.default_key_in_use(&device("1"));
        let told = [("1", heard), ("2", heard), ("2", before), ("3", None)]
            .map(|(address, last)| vault.uses_default_key(&device(address), last));
        assert_eq!(told, [Some(true), Some(false), None, None]);
        assert_eq!(station.vault().expect("opens").uses_default_key(&device("1"), before), None, "another run");
    }
}
