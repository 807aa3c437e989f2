//! Running guests: one instance per thread, adapter and profile, called like a function and thrown away at the first trouble.

use super::guest::Host;
use super::wit::{self, Bindings, Kept, Linked, Violation};
use super::{Adapter, Context, Decoded, Encoded, Fault, Framing};
use crate::journal::FaultKind;
use crate::limits::{DETAIL_BYTES_MAX, GUEST_INSTANCES_PER_THREAD_MAX, GUEST_LIFT_BYTES_MAX};
use crate::model::Command;
use std::cell::RefCell;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::component::Instance as Handle;
use wasmtime::{Store, Trap};

/// Counts adapters that ceased to exist, so that threads notice that they still hold instances of them.
static RETIRED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { retired: 0, slots: Vec::new() }) };
}

/// This thread's idle instances, the most recently used last.
struct Pool {
    retired: u64,
    slots: Vec<Slot>,
}

struct Slot {
    adapter: u64,
    profile: Box<str>,
    alive: Weak<()>,
    instance: Box<Instance>,
}

/// A store holds one instance and dies with it: after a trap nothing in it can be relied on.
pub(super) struct Instance {
    store: Store<Host>,
    handle: Handle,
    bindings: Bindings,
    /// It has answered before, so that a failure may be wear rather than the frame's doing.
    worn: bool,
}

/// A guest's way to stop without an answer.
pub(super) enum Stop {
    Wasm(wasmtime::Error),
    Violation(Violation),
}

type Answer<T> = Result<Result<T, Fault>, Stop>;

/// Asks this thread's instance. A worn one that fails is replaced once and asked again: an adapter is a pure function,
/// so only its leftovers (a leaked heap, a poisoned static) can make a difference.
pub(super) fn call<T>(adapter: &Adapter, profile: &str, ask: impl Fn(&mut Instance) -> Answer<T>) -> Result<T, Fault> {
    let mut slot = match take(adapter.serial, profile) {
        Some(slot) => slot,
        None => make(adapter, profile)?,
    };
    let was_worn = slot.instance.worn;
    match slot.instance.run(&ask) {
        Ok(answer) => {
            put_back(slot);
            answer
        }
        Err(fault) if was_worn && fault.kind != FaultKind::Deadline => {
            drop(slot);
            let mut slot = make(adapter, profile)?;
            let answer = slot.instance.run(&ask)?;
            put_back(slot);
            answer
        }
        Err(fault) => Err(fault),
    }
}

/// A new instance, configured. Nothing of it is kept: this is how a candidate is tried.
pub(super) fn trial(adapter: &Adapter, profile: &str) -> Result<(), Fault> {
    make(adapter, profile).map(drop)
}

/// Linear memory of this thread's idle instance, if it has one.
pub(super) fn memory_bytes(adapter: &Adapter, profile: &str) -> Option<usize> {
    let slot = take(adapter.serial, profile)?;
    let bytes = slot.instance.store.data().memory_bytes;
    put_back(slot);
    Some(bytes)
}

/// Called when an adapter is dropped: its idle instances on all threads are garbage now.
pub(super) fn adapter_gone() {
    RETIRED.fetch_add(1, Ordering::Relaxed);
}

impl Instance {
    pub(super) fn frame(&mut self, received: &[u8]) -> Answer<Framing> {
        let raw = self.bindings.polymeter_adapter_codec().call_frame(&mut self.store, received)?;
        Ok(Ok(wit::framing(raw, received.len())?))
    }

    pub(super) fn decode(&mut self, context: &Context<'_>, frame: &[u8]) -> Answer<Decoded> {
        let codec = self.bindings.polymeter_adapter_codec();
        match codec.call_decode(&mut self.store, wit::context(context), frame)? {
            Ok(raw) => Ok(Ok(wit::decoded(raw)?)),
            Err(raw) => Ok(Err(wit::fault(raw)?)),
        }
    }

    pub(super) fn encode(&mut self, context: &Context<'_>, command: &Command) -> Answer<Encoded> {
        let lists = wit::Lists::of(command);
        let command = match wit::command(command, &lists) {
            Ok(command) => command,
            Err(fault) => return Ok(Err(fault)),
        };
        let codec = self.bindings.polymeter_adapter_codec();
        match codec.call_encode(&mut self.store, wit::context(context), command)? {
            Ok(raw) => Ok(Ok(wit::encoded(raw)?)),
            Err(raw) => {
                let mut fault = wit::fault(raw)?;
                // A key that it could do without is not why it refuses.
                if fault.kind == FaultKind::NotAuthentic {
                    fault.lacks = self.store.data_mut().lacks.take().map(Box::new);
                }
                Ok(Err(fault))
            }
        }
    }

    pub(super) fn upgrade(&mut self, linked: &Linked, kept: (Kept, u32, &[u8])) -> Answer<Option<Vec<u8>>> {
        let made = linked.upgrade(&mut self.store, &self.handle, kept);
        made.map(Ok).map_err(|error| match error {
            Ok(violation) => Stop::Violation(violation),
            Err(error) => Stop::Wasm(error),
        })
    }

    /// The outer error means that this instance must not be used again.
    fn run<T>(&mut self, ask: impl Fn(&mut Self) -> Answer<T>) -> Result<Result<T, Fault>, Fault> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(1);
        let asked = ask(self);
        self.store.data_mut().end();
        match asked {
            Ok(answer) => {
                self.worn = true;
                if answer.is_ok() {
                    self.store.data_mut().commit();
                }
                Ok(answer)
            }
            Err(stop) => Err(why(stop, self.store.data().refused)),
        }
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

fn take(adapter: u64, profile: &str) -> Option<Slot> {
    POOL.with_borrow_mut(|pool| {
        let retired = RETIRED.load(Ordering::Relaxed);
        if pool.retired != retired {
            pool.retired = retired;
            pool.slots.retain(|slot| slot.alive.strong_count() > 0);
        }
        let at = pool.slots.iter().rposition(|slot| slot.adapter == adapter && *slot.profile == *profile)?;
        Some(pool.slots.remove(at))
    })
}

fn put_back(slot: Slot) {
    let surplus = POOL.with_borrow_mut(|pool| {
        pool.slots.push(slot);
        (pool.slots.len() > GUEST_INSTANCES_PER_THREAD_MAX).then(|| pool.slots.remove(0))
    });
    drop(surplus);
}

/// Frees what this thread holds idle, when the pool over all threads is exhausted.
fn give_up_idle() {
    drop(POOL.with_borrow_mut(|pool| std::mem::take(&mut pool.slots)));
}

fn make(adapter: &Adapter, profile: &str) -> Result<Slot, Fault> {
    let mut store = adapter.new_store();
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(GUEST_LIFT_BYTES_MAX);
    store.limiter(|host| host);
    store.epoch_deadline_callback(|mut store| Ok(store.data_mut().at_tick()));
    let instantiated = match adapter.linked.instantiate(&mut store) {
        Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
            give_up_idle();
            adapter.linked.instantiate(&mut store)
        }
        other => other,
    };
    let (handle, bindings) = instantiated.map_err(|error| why(Stop::Wasm(error), store.data().refused))?;
    let configured = bindings.call_configure(&mut store, profile);
    match configured.map_err(|error| why(Stop::Wasm(error), store.data().refused))? {
        Ok(()) => Ok(Slot {
            adapter: adapter.serial,
            profile: profile.into(),
            alive: std::sync::Arc::downgrade(&adapter.alive),
            instance: Box::new(Instance { store, handle, bindings, worn: false }),
        }),
        // The adapter's own word about a value, not a breach of the contract.
        Err(text) => Err(sandbox(FaultKind::OutOfRange, format!("refuses its profile: {}", text.escape_debug()))),
    }
}

/// What stopped a guest, in the station's words.
fn why(stop: Stop, refused: Option<&'static str>) -> Fault {
    let error = match stop {
        Stop::Violation(Violation(text)) => return sandbox(FaultKind::Contract, text),
        Stop::Wasm(error) => error,
    };
    if let Some(what) = refused {
        return sandbox(FaultKind::Resources, format!("over its limit: {what}"));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return sandbox(
            FaultKind::Resources,
            "no room for another instance; this station runs too many profiles".into(),
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => sandbox(FaultKind::Deadline, "ran past its deadline".into()),
        Some(Trap::StackOverflow) => sandbox(FaultKind::Resources, "over its limit: stack".into()),
        Some(trap) => sandbox(FaultKind::Trap, trap.to_string()),
        // Neither a trap nor a refusal: what it returned could not be lifted.
        None => sandbox(FaultKind::Contract, error.root_cause().to_string()),
    }
}

fn sandbox(kind: FaultKind, mut detail: String) -> Fault {
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    Fault::new(kind, detail)
}
