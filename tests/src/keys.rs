//! Key stores for tests.

use polymeter::adapter::KeyStore;
use polymeter::model::DeviceKey;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Has no key for anybody.
pub struct NoKeys;

impl KeyStore for NoKeys {
    fn key(&self, _: &DeviceKey, _: &str) -> Option<[u8; 16]> {
        None
    }
    fn default_key_in_use(&self, _: &DeviceKey) {}
}

/// Keys by device and slot, and a record of who is on a maker's default.
#[derive(Default)]
pub struct SomeKeys {
    pub keys: BTreeMap<(String, String), [u8; 16]>,
    pub on_default: Mutex<Vec<String>>,
}

impl KeyStore for SomeKeys {
    fn key(&self, device: &DeviceKey, slot: &str) -> Option<[u8; 16]> {
        self.keys.get(&(device.to_string(), slot.to_owned())).copied()
    }
    fn default_key_in_use(&self, device: &DeviceKey) {
        self.on_default.lock().unwrap_or_else(PoisonError::into_inner).push(device.to_string());
    }
}
