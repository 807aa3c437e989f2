//! What another version has kept, in this version's layout: of a session its state, of a device its memory.
//!
//! Layouts are told apart by the manifests' `state-version`. Only an adapter that exports `upgrade` is asked; state that nobody
//! takes over is not read, memory that nobody takes over stays as it is.

use super::Lifecycle;
use crate::adapter::{Adapter, Fault};
use crate::model::Digest;

impl Lifecycle {
    /// A session's state as a version of that layout left it; `None`: the session begins anew.
    pub fn state_for(
        &self,
        adapter: &Adapter,
        options: &str,
        (layout, state): (u32, &[u8]),
        source: &str,
    ) -> Option<Vec<u8>> {
        self.judged(adapter, source, adapter.upgrade_state(options, layout, state))
    }

    /// What is remembered of a device, as the version `left_by` wrote it; `None`: it needs no change, or nobody can make it.
    pub fn memory_for(
        &self,
        adapter: &Adapter,
        options: &str,
        (left_by, memory): (Option<Digest>, &[u8]),
        source: &str,
    ) -> Option<Vec<u8>> {
        let left_by = left_by.filter(|digest| *digest != adapter.digest && adapter.upgrades() && !memory.is_empty())?;
        let row = self.row(&left_by).filter(|row| row.name == adapter.name())?;
        if row.origin.state_version == adapter.manifest.state_version {
            return None;
        }
        self.judged(adapter, source, adapter.upgrade_memory(options, row.origin.state_version, memory))
    }

    /// A call that fails here is as harmful as any other.
    fn judged(&self, adapter: &Adapter, source: &str, made: Result<Option<Vec<u8>>, Fault>) -> Option<Vec<u8>> {
        made.unwrap_or_else(|fault| {
            tracing::warn!(adapter = adapter.name(), source, %fault, "what another version has kept is not taken over");
            self.struck(adapter, source, &fault);
            None
        })
    }
}
