//! One wasmtime engine for all adapters: its limits, the imports it offers, its clock, and compiled code.

use super::cache::Cache;
use super::guest::Host;
use super::wit::{self, Linked};
use crate::limits::{
    EPOCH_TICK, GUEST_CORE_INSTANCES_MAX, GUEST_INSTANCES_MAX, GUEST_MEMORY_BYTES_MAX, GUEST_STACK_BYTES_MAX,
    GUEST_TABLE_ELEMENTS_MAX, GUEST_TABLES_MAX,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, EngineWeak, Inlining, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Ticks of `EPOCH_TICK` since the engine started; the only clock in this module.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(super) fn ticks(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn seconds(&self) -> u32 {
        (self.ticks() * EPOCH_TICK.as_millis() as u64 / 1000) as u32
    }
}

/// Compiles components and links them to what adapters may import: `keys` and `log`, nothing else.
pub struct Runtime {
    engine: Engine,
    linker: Linker<Host>,
    clock: Clock,
    cache: Cache,
}

impl Runtime {
    /// `cache` is a directory of the station's own; without one every start compiles anew.
    pub fn new(cache: Option<cap_std::fs::Dir>) -> anyhow::Result<Arc<Self>> {
        let engine = Engine::new(&config())?;
        let mut linker = Linker::new(&engine);
        wit::keys::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
        wit::log::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
        let clock = Clock::default();
        start_ticking(engine.weak(), clock.clone())?;
        let cache = cache.map_or_else(Cache::none, Cache::open);
        Ok(Arc::new(Self { engine, linker, clock, cache }))
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Takes tens of milliseconds unless the cache has it: never on an I/O thread.
    pub(super) fn compile(&self, digest: &crate::model::Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        self.cache.component(&self.engine, digest, bytes)
    }

    pub(super) fn link(&self, component: &Component) -> wasmtime::Result<Linked> {
        Linked::new(component, self.linker.instantiate_pre(component)?)
    }
}

fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(GUEST_INSTANCES_MAX)
        .total_core_instances(GUEST_INSTANCES_MAX * GUEST_CORE_INSTANCES_MAX)
        .total_memories(GUEST_INSTANCES_MAX)
        .total_tables(GUEST_INSTANCES_MAX * GUEST_TABLES_MAX)
        .max_core_instances_per_component(GUEST_CORE_INSTANCES_MAX)
        .max_memories_per_component(1)
        .max_tables_per_component(GUEST_TABLES_MAX)
        .max_memory_size(GUEST_MEMORY_BYTES_MAX)
        .table_elements(GUEST_TABLE_ELEMENTS_MAX);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES_MAX)
        // Guests are made of small functions: a third of a decode was calls between them.
        .compiler_inlining(Inlining::Yes)
        // The same bytes give the same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Two memories, or 64-bit ones, would escape the sums above.
        .wasm_multi_memory(false)
        .wasm_memory64(false);
    config
}

/// The ticker holds the engine weakly and ends with it.
fn start_ticking(engine: EngineWeak, clock: Clock) -> std::io::Result<()> {
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            clock.0.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(EPOCH_TICK);
        }
    };
    std::thread::Builder::new().name("adapter-epoch".into()).spawn(tick).map(drop)
}
