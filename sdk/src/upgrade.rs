//! What one version of an adapter makes of another's leavings. Exported only by those that say `adapter!(Type, upgrade)`.

use crate::Adapter;

/// Takes over what an earlier version has kept, so that its devices need not begin anew.
///
/// `from` is the `state-version` of the manifest of whoever wrote it: an earlier layout, or a later one when a utility goes
/// back. Implement it, say `adapter!(Meter, upgrade)`, and count `state-version` up whenever the layout of state or memory
/// changes.
pub trait Upgrade: Adapter {
    /// A session's state in this version's layout. `None`: it cannot be taken over. It is dropped then, and where the manifest
    /// says `registration = "required"` the device is told to come again.
    fn upgrade_state(&self, from: u32, state: &[u8]) -> Option<Vec<u8>>;

    /// A device's memory in this version's layout. `None`: it stays as it is, because a counter that must never go back is
    /// worse lost than not understood.
    fn upgrade_memory(&self, _from: u32, _memory: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
