//! What the station keeps beside one guest: its allowances, its key handles, its voice in the log.

use super::KeyStore;
use super::engine::Clock;
use super::wit::log;
use crate::limits::{
    EPOCH_TICK, GUEST_DEADLINE, GUEST_LOG_BYTES_MAX, GUEST_LOG_LINES_PER_S, GUEST_MEMORY_BYTES_MAX, GUEST_STALL_MAX,
    GUEST_TABLE_ELEMENTS_MAX, KEY_CALLS_MAX,
};
use crate::model::{DeviceKey, KeySlot};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// The data of a `Store`.
pub(super) struct Host {
    /// Whose voice it is in the log: `name@version`.
    pub adapter: Arc<str>,
    pub realm: Arc<str>,
    pub keys: Arc<dyn KeyStore>,
    pub table: ResourceTable,
    pub key_calls: u32,
    /// Devices addressed under a maker's default key in this call.
    pub default_keys: Vec<DeviceKey>,
    /// The last key that this call asked for and that is not there.
    pub lacks: Option<KeySlot>,
    /// The allowance that ran out in this call.
    pub refused: Option<&'static str>,
    /// Linear memory that the guest has.
    pub memory_bytes: usize,
    log: Arc<LogGate>,
    /// Processor time of long calls, microseconds, over all instances of the adapter.
    long_calls_us: Arc<AtomicU64>,
    clock: Clock,
    /// CPU time and tick at which this call was first interrupted.
    interrupted: Option<(Duration, u64)>,
}

impl Host {
    pub(super) fn new(
        adapter: Arc<str>,
        realm: Arc<str>,
        keys: Arc<dyn KeyStore>,
        (log, long_calls_us): (Arc<LogGate>, Arc<AtomicU64>),
        clock: Clock,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(KEY_CALLS_MAX as usize);
        Self {
            adapter,
            realm,
            keys,
            table,
            key_calls: 0,
            default_keys: Vec::new(),
            lacks: None,
            refused: None,
            memory_bytes: 0,
            log,
            long_calls_us,
            clock,
            interrupted: None,
        }
    }

    /// A new call begins: fresh allowances.
    pub(super) fn begin(&mut self) {
        self.key_calls = 0;
        self.lacks = None;
        self.refused = None;
        self.interrupted = None;
        self.default_keys.clear();
    }

    /// The call is over, however it ended. One that no epoch has interrupted is short, and costs nothing to account for; of
    /// the others what came after the first interruption counts, in processor time, so that a machine which does other
    /// things is nobody's fault.
    pub(super) fn end(&mut self) {
        if let Some((first, _)) = self.interrupted.take() {
            let spent = thread_cpu_time().saturating_sub(first);
            self.long_calls_us.fetch_add(spent.as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// The call succeeded: what it did under default keys is now worth telling.
    pub(super) fn commit(&mut self) {
        for device in self.default_keys.drain(..) {
            self.keys.default_key_in_use(&device);
        }
    }

    /// Stops the guest, and remembers which allowance it was.
    pub(super) fn refuse(&mut self, what: &'static str) -> wasmtime::Error {
        self.refused = Some(what);
        wasmtime::Error::msg(what)
    }

    /// At every epoch that a running guest notices. The deadline counts CPU time, so that a busy machine that takes the
    /// processor away does not condemn an innocent adapter; the clock is first read at the first interruption, so that
    /// an ordinary call never reads one.
    pub(super) fn at_tick(&mut self) -> UpdateDeadline {
        let (cpu, tick) = (thread_cpu_time(), self.clock.ticks());
        let (first_cpu, first_tick) = *self.interrupted.get_or_insert((cpu, tick));
        let stalled = EPOCH_TICK * u32::try_from(tick - first_tick).unwrap_or(u32::MAX) >= GUEST_STALL_MAX;
        if cpu.saturating_sub(first_cpu) + EPOCH_TICK >= GUEST_DEADLINE || stalled {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = self.within(desired <= GUEST_MEMORY_BYTES_MAX, "linear memory");
        if fits {
            self.memory_bytes = self.memory_bytes.max(desired);
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.within(desired <= GUEST_TABLE_ELEMENTS_MAX, "table elements"))
    }
}

impl Host {
    /// A guest may survive a refusal to grow; if it traps instead, `refused` says why.
    fn within(&mut self, fits: bool, what: &'static str) -> bool {
        if !fits {
            self.refused = Some(what);
        }
        fits
    }
}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, mut text: String) -> wasmtime::Result<()> {
        if !self.log.admits(self.clock.seconds()) {
            return Ok(());
        }
        text.truncate(text.floor_char_boundary(GUEST_LOG_BYTES_MAX));
        let adapter = &*self.adapter;
        match level {
            log::Level::Debug => tracing::debug!(adapter, "{}", text.escape_debug()),
            log::Level::Info => tracing::info!(adapter, "{}", text.escape_debug()),
            log::Level::Warn => tracing::warn!(adapter, "{}", text.escape_debug()),
        }
        Ok(())
    }
}

/// At most so many lines of one adapter a second, over all its instances.
#[derive(Default)]
pub(super) struct LogGate {
    /// Second in the upper half, lines in it in the lower.
    window: AtomicU64,
    shut: bool,
}

impl LogGate {
    /// For an adapter that runs its own vectors: what their bad frames make it say is nobody's news.
    pub(super) fn shut() -> Self {
        Self { shut: true, ..Self::default() }
    }

    fn admits(&self, second: u32) -> bool {
        if self.shut {
            return false;
        }
        let mut admitted = false;
        let step = |window: u64| {
            let (current, lines) = ((window >> 32) as u32, window as u32);
            let lines = if current == second { lines } else { 0 };
            admitted = lines < GUEST_LOG_LINES_PER_S;
            admitted.then_some(u64::from(second) << 32 | u64::from(lines + 1))
        };
        let _ = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        admitted
    }
}

/// What the calling thread has had of a processor.
pub(super) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
