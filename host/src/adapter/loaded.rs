//! One version of one adapter, compiled and ready to be called from any thread.

use super::conform::{self, Conformance};
use super::engine::Runtime;
use super::guest::{Host, LogGate};
use super::instance;
use super::manifest::{LoadError, Manifest, Sections, is_offered};
use super::wit::{Kept, Linked};
use super::{Context, Decoded, Encoded, Fault, Framing, KeyStore, Transport};
use crate::journal::FaultKind;
use crate::limits::{FRAME_BYTES_MAX, VECTORS_CPU_TIME_MAX};
use crate::model::{Command, Digest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::Component;

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// A vendor's adapter. Calls run on the calling thread, within milliseconds whatever the guest does.
pub struct Adapter {
    pub manifest: Manifest,
    pub digest: Digest,
    /// `name@version`, for log lines.
    label: Arc<str>,
    name: Arc<str>,
    realm: Arc<str>,
    /// Frames that it has answered, of whatever worth.
    pub answered: AtomicU64,
    /// Of those, frames of somebody whom nobody knew until then.
    pub met: AtomicU64,
    /// Processor time of calls that ran long, since somebody took note of it.
    long_calls_us: Arc<AtomicU64>,
    pub(super) serial: u64,
    pub(super) linked: Arc<Linked>,
    pub(super) alive: Arc<()>,
    runtime: Arc<Runtime>,
    keys: Arc<dyn KeyStore>,
    log: Arc<LogGate>,
}

impl Adapter {
    /// Reads, checks and compiles; tens of milliseconds, so never on an I/O thread. Runs no vector yet. What comes in is
    /// inspected before.
    pub fn load(runtime: &Arc<Runtime>, bytes: &[u8], keys: Arc<dyn KeyStore>) -> Result<Self, LoadError> {
        let manifest = Manifest::parse_kept(Sections::find(bytes)?.manifest)?;
        let digest = Digest::of(bytes);
        let component = runtime.compile(&digest, bytes).map_err(|e| LoadError::Compile(format!("{e:#}")))?;
        check_imports(runtime, &component)?;
        let linked = runtime.link(&component).map_err(|e| LoadError::Contract(format!("{e:#}")))?;
        let adapter = Self::assemble(runtime, manifest, digest, Arc::new(linked), keys);
        match instance::trial(&adapter, or_defaults("")) {
            // It may well want a profile that says more than nothing.
            Err(fault) if fault.kind != FaultKind::OutOfRange => Err(LoadError::Contract(fault.detail)),
            _ => Ok(adapter),
        }
    }

    /// Loads, and lets it answer its own vectors: nothing else may serve a meter.
    pub fn load_conforming(runtime: &Arc<Runtime>, bytes: &[u8], keys: Arc<dyn KeyStore>) -> Result<Self, LoadError> {
        let adapter = Self::load(runtime, bytes, keys)?;
        adapter.must_conform(bytes, &|| true)?;
        Ok(adapter)
    }

    /// Refuses one that does not answer its own vectors, and gives up once the answer is not `wanted` any more; gives their number.
    pub fn must_conform(&self, bytes: &[u8], wanted: &dyn Fn() -> bool) -> Result<usize, LoadError> {
        let found = self.conform_within(bytes, (VECTORS_CPU_TIME_MAX, wanted))?;
        match found.differences.first() {
            None => Ok(found.vectors),
            Some(first) => {
                let count = found.differences.len();
                Err(LoadError::Vectors(format!("{count} of {} differ, the first: {first:.1000}", found.vectors)))
            }
        }
    }

    /// Runs the vectors embedded in its file. One without vectors conforms to nothing, and says so by a count of 0.
    pub fn conform(&self, bytes: &[u8]) -> Result<Conformance, LoadError> {
        self.conform_within(bytes, (VECTORS_CPU_TIME_MAX, &|| true))
    }

    /// As `conform`, in so much processor time, and only while it is wanted.
    pub fn conform_within(
        &self,
        bytes: &[u8],
        within: (Duration, &dyn Fn() -> bool),
    ) -> Result<Conformance, LoadError> {
        match Sections::find(bytes)?.vectors {
            Some(section) => conform::check(self, section, within).map_err(LoadError::Vectors),
            None => Ok(Conformance::default()),
        }
    }

    /// The same code for somebody who asks it beside those it serves: neither his calls count for it nor does he keep it from
    /// being taken out of service.
    pub fn apart(&self) -> Self {
        Self::assemble(&self.runtime, self.manifest.clone(), self.digest, self.linked.clone(), self.keys.clone())
    }

    /// The same code with other keys: how vectors are run.
    pub(super) fn with_keys(&self, keys: Arc<dyn KeyStore>) -> Self {
        let mut twin = Self::assemble(&self.runtime, self.manifest.clone(), self.digest, self.linked.clone(), keys);
        twin.log = Arc::new(LogGate::shut());
        twin
    }

    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The same, for those who keep it.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// Address space of its devices.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// What lies at the start of `received`. `profile` is JSON; empty means the adapter's defaults.
    pub fn frame(&self, profile: &str, received: &[u8]) -> Result<Framing, Fault> {
        if received.is_empty() {
            return Ok(Framing::Incomplete(1));
        }
        let received = &received[..received.len().min(FRAME_BYTES_MAX)];
        instance::call(self, or_defaults(profile), |guest| guest.frame(received))
    }

    pub fn decode(&self, profile: &str, context: &Context<'_>, frame: &[u8]) -> Result<Decoded, Fault> {
        instance::call(self, or_defaults(profile), |guest| guest.decode(context, frame))
    }

    /// Reads a kept frame as it came. Of one whose listener is configured no more nobody knows how: `None` where that makes a
    /// difference.
    pub fn decode_kept(
        &self,
        profile: &str,
        context: &Context<'_>,
        transport: Option<Transport>,
        frame: &[u8],
    ) -> Option<Result<Decoded, Fault>> {
        let by = |transport| self.decode(profile, &Context { transport, ..*context }, frame);
        match transport {
            Some(transport) => Some(by(transport)),
            None => Some(by(Transport::Stream)).filter(|read| *read == by(Transport::Datagram)),
        }
    }

    pub fn encode(&self, profile: &str, context: &Context<'_>, command: &Command) -> Result<Encoded, Fault> {
        instance::call(self, or_defaults(profile), |guest| guest.encode(context, command))
    }

    /// Whether it can take over what another version has kept.
    pub fn upgrades(&self) -> bool {
        self.linked.upgrades()
    }

    /// A session's state as a version with that layout left it, in this one's layout; `None`: it cannot be taken over.
    pub fn upgrade_state(&self, profile: &str, from: u32, state: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.upgrade(profile, (Kept::State, from, state))
    }

    /// What is remembered of a device; `None`: it stays as it is.
    pub fn upgrade_memory(&self, profile: &str, from: u32, memory: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.upgrade(profile, (Kept::Memory, from, memory))
    }

    fn upgrade(&self, profile: &str, kept: (Kept, u32, &[u8])) -> Result<Option<Vec<u8>>, Fault> {
        if !self.upgrades() {
            return Ok(None);
        }
        instance::call(self, or_defaults(profile), |guest| guest.upgrade(&self.linked, kept))
    }

    /// Whether calls have run long since somebody took note of it. Nearly always not.
    pub fn has_long_calls(&self) -> bool {
        self.long_calls_us.load(Ordering::Relaxed) != 0
    }

    /// Processor time of calls that ran long, since this was last asked.
    pub fn take_long_calls(&self) -> Duration {
        Duration::from_micros(self.long_calls_us.swap(0, Ordering::Relaxed))
    }

    /// Linear memory that its instance on this thread has by now; none before the first call.
    pub fn memory_bytes(&self, profile: &str) -> Option<usize> {
        instance::memory_bytes(self, or_defaults(profile))
    }

    /// Whether the manifest's schema and then the adapter itself take this profile; if not, what is wrong with it.
    pub fn try_profile(&self, profile: &str) -> Result<(), String> {
        self.manifest.check_profile(or_defaults(profile))?;
        instance::trial(self, or_defaults(profile)).map_err(|fault| fault.detail)
    }

    pub(super) fn new_store(&self) -> Store<Host> {
        let host = Host::new(
            self.label.clone(),
            self.realm.clone(),
            self.keys.clone(),
            (self.log.clone(), self.long_calls_us.clone()),
            self.runtime.clock(),
        );
        Store::new(self.runtime.engine(), host)
    }

    fn assemble(
        runtime: &Arc<Runtime>,
        manifest: Manifest,
        digest: Digest,
        linked: Arc<Linked>,
        keys: Arc<dyn KeyStore>,
    ) -> Self {
        Self {
            label: format!("{}@{}", manifest.name, manifest.version).into(),
            name: manifest.name.as_str().into(),
            realm: manifest.realm.as_str().into(),
            manifest,
            digest,
            answered: AtomicU64::new(0),
            met: AtomicU64::new(0),
            long_calls_us: Arc::default(),
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            linked,
            alive: Arc::new(()),
            runtime: runtime.clone(),
            keys,
            log: Arc::default(),
        }
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.alive = Arc::new(());
        instance::adapter_gone();
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.label, self.digest)
    }
}

/// The profile that says nothing.
fn or_defaults(profile: &str) -> &str {
    if profile.is_empty() { "{}" } else { profile }
}

/// Only the contract's own interfaces, whatever the linker would make of the rest.
fn check_imports(runtime: &Runtime, component: &Component) -> Result<(), LoadError> {
    for (name, _) in component.component_type().imports(runtime.engine()) {
        if !is_offered(name) {
            return Err(LoadError::Import(name.to_owned()));
        }
    }
    Ok(())
}
