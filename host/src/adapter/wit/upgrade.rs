//! The optional part of the contract: found by name when a component is linked, since a world knows only what must be there.

use super::{Bindings, Violation};
use crate::adapter::guest::Host;
use crate::limits::{MEMORY_BYTES_MAX, STATE_BYTES_MAX};
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Result, Store};

/// The interface, in the version of the contract that brought it.
const INTERFACE: &str = "polymeter:adapter/upgrade@1.0.0";

/// A component, linked: what it must export, and what it also does.
pub(in crate::adapter) struct Linked {
    pre: InstancePre<Host>,
    indices: super::generated::AdapterIndices,
    upgrade: Option<Upgrade>,
}

/// Where its two functions are.
#[derive(Clone, Copy)]
struct Upgrade {
    state: ComponentExportIndex,
    memory: ComponentExportIndex,
}

/// Which of the two.
#[derive(Clone, Copy)]
pub(in crate::adapter) enum Kept {
    State,
    Memory,
}

impl Linked {
    pub(in crate::adapter) fn new(component: &Component, pre: InstancePre<Host>) -> Result<Self> {
        let indices = super::generated::AdapterIndices::new(&pre)?;
        let upgrade = match component.get_export_index(None, INTERFACE) {
            None => None,
            Some(interface) => {
                let named = |name: &str| {
                    let index = component.get_export_index(Some(&interface), name);
                    index.ok_or_else(|| wasmtime::Error::msg(format!("`{INTERFACE}` has no `{name}`")))
                };
                Some(Upgrade { state: named("upgrade-state")?, memory: named("upgrade-memory")? })
            }
        };
        Ok(Self { pre, indices, upgrade })
    }

    pub(in crate::adapter) fn upgrades(&self) -> bool {
        self.upgrade.is_some()
    }

    pub(in crate::adapter) fn instantiate(&self, store: &mut Store<Host>) -> Result<(Instance, Bindings)> {
        let instance = self.pre.instantiate(&mut *store)?;
        let bindings = self.indices.load(&mut *store, &instance)?;
        // A function of another shape is found out here rather than under a device.
        if let Some(upgrade) = self.upgrade {
            for index in [upgrade.state, upgrade.memory] {
                instance.get_typed_func::<(u32, &[u8]), (Option<Vec<u8>>,)>(&mut *store, index)?;
            }
        }
        Ok((instance, bindings))
    }

    /// What the guest makes of what version `from` has kept; `None`: nothing, or it does not say.
    pub(in crate::adapter) fn upgrade(
        &self,
        store: &mut Store<Host>,
        instance: &Instance,
        (kept, from, bytes): (Kept, u32, &[u8]),
    ) -> std::result::Result<Option<Vec<u8>>, Result<Violation>> {
        let Some(upgrade) = self.upgrade else { return Ok(None) };
        let (index, max) = match kept {
            Kept::State => (upgrade.state, STATE_BYTES_MAX),
            Kept::Memory => (upgrade.memory, MEMORY_BYTES_MAX),
        };
        let call = instance.get_typed_func::<(u32, &[u8]), (Option<Vec<u8>>,)>(&mut *store, index).map_err(Err)?;
        let (made,) = call.call(&mut *store, (from, bytes)).map_err(Err)?;
        match made {
            Some(made) if made.len() > max => {
                Err(Ok(Violation(format!("upgraded to {} bytes, at most {max}", made.len()))))
            }
            made => Ok(made),
        }
    }
}
