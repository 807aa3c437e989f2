//! Compiled adapters of a station: those at hand, and of each name the one that serves.
//!
//! Compiling happens on threads that may block. Sessions ask `active`, which never waits. Who may serve, and since when, is
//! decided elsewhere.

use super::engine::Runtime;
use super::manifest::{LoadError, Manifest, Sections};
use super::{Adapter, KeyStore};
use crate::model::{DeviceKey, Digest};
use arc_swap::ArcSwap;
use cap_std::fs::Dir;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All adapters of one station.
pub struct Catalog {
    runtime: Arc<Runtime>,
    keys: Arc<dyn KeyStore>,
    active: ArcSwap<FxHashMap<String, Arc<Adapter>>>,
    /// Compiled, whether or not they serve.
    at_hand: Mutex<BTreeMap<Digest, Arc<Adapter>>>,
}

impl Catalog {
    /// Nothing is loaded yet. Compiled code is kept in `cache`, a directory of the station's own.
    pub fn open(cache: Option<Dir>, keys: Arc<dyn KeyStore>) -> anyhow::Result<Self> {
        let runtime = Runtime::new(cache)?;
        Ok(Self { runtime, keys, active: ArcSwap::default(), at_hand: Mutex::default() })
    }

    /// The version that serves; asked for every frame, so that a replacement serves the very next one.
    pub fn active(&self, name: &str) -> Option<Arc<Adapter>> {
        self.active.load().get(name).cloned()
    }

    /// All that serve.
    pub fn all_active(&self) -> Vec<Arc<Adapter>> {
        self.active.load().values().cloned().collect()
    }

    /// Compiled and ready to be called, whether or not it serves.
    pub fn at_hand(&self, digest: &Digest) -> Option<Arc<Adapter>> {
        self.lock().get(digest).cloned()
    }

    /// What a device of its realm is called instead of so, as far as those that serve its realm say.
    pub fn misfit(&self, device: &DeviceKey) -> Option<String> {
        let active = self.active.load();
        let of_realm = active.values().filter(|adapter| adapter.realm() == device.realm());
        super::misfit(device, of_realm.map(|adapter| adapter.manifest.address.as_ref()))
    }

    /// What a file that comes in says of itself, without running any of it.
    pub fn inspect(bytes: &[u8]) -> Result<Manifest, LoadError> {
        let manifest = Manifest::parse(Sections::find(bytes)?.manifest)?;
        super::manifest::check_imports(bytes)?;
        Ok(manifest)
    }

    /// The same of a file that was taken before: what has been asked of files since is not asked of it.
    pub fn inspect_kept(bytes: &[u8]) -> Result<Manifest, LoadError> {
        let manifest = Manifest::parse_kept(Sections::find(bytes)?.manifest)?;
        super::manifest::check_imports(bytes)?;
        Ok(manifest)
    }

    /// Compiles, links and tries it, or takes it from the cache; from then on it is at hand. Blocks for as long as compiling
    /// takes.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Adapter>, LoadError> {
        let adapter = Arc::new(Adapter::load(&self.runtime, bytes, self.keys.clone())?);
        // Two that load the same file at a time share the first one.
        Ok(self.lock().entry(adapter.digest).or_insert(adapter).clone())
    }

    /// From the next frame on it serves its name; gives the one that did before.
    pub fn put_in_service(&self, adapter: &Arc<Adapter>) -> Option<Arc<Adapter>> {
        let before = self.active.rcu(|active| {
            let mut active = FxHashMap::clone(active);
            active.insert(adapter.name().to_owned(), adapter.clone());
            active
        });
        before.get(adapter.name()).cloned()
    }

    /// Nobody serves that name from the next frame on.
    pub fn take_out_of_service(&self, name: &str) -> Option<Arc<Adapter>> {
        let before = self.active.rcu(|active| {
            let mut active = FxHashMap::clone(active);
            active.remove(name);
            active
        });
        before.get(name).cloned()
    }

    /// Frees its code, once the last call under way is finished.
    pub fn forget(&self, digest: &Digest) {
        drop(self.lock().remove(digest));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<Adapter>>> {
        // Each change is one insert or remove, so a panic elsewhere leaves nothing half done.
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
