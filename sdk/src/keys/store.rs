//! The keys that native code of this thread may open: the tests' stand-in for the station's key store.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static KEYS: RefCell<BTreeMap<String, [u8; 16]>> = const { RefCell::new(BTreeMap::new()) };
}

/// Puts a key into a slot, for whatever device.
pub fn insert(slot: &str, key: [u8; 16]) {
    KEYS.with_borrow_mut(|keys| keys.insert(slot.into(), key));
}

/// Forgets all keys.
pub fn clear() {
    KEYS.with_borrow_mut(BTreeMap::clear);
}

pub(super) fn find(slot: &str) -> Option<[u8; 16]> {
    KEYS.with_borrow(|keys| keys.get(slot).copied())
}
