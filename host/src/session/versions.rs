//! Another version of the adapter serves than the one that has kept something here: its layout is taken over, or given up, and
//! never misread.

use super::conversation::Conversation;
use super::machine::Closing;
use crate::adapter::{Adapter, RegistrationRule};
use crate::lifecycle::Stranger;
use crate::model::Digest;

impl Conversation {
    /// Another version may serve from here on. State of another shape that it cannot take over is dropped, and where a session
    /// begins with a registration, it has to begin anew.
    pub(super) fn adopt_version(&mut self, adapter: &Adapter) {
        let now = (adapter.digest, adapter.manifest.state_version);
        if self.state_of == Some(now) {
            return;
        }
        if let Some((digest, layout)) = self.state_of
            && digest != now.0
            && layout != now.1
        {
            let source = self.source();
            let options = self.sticky.map_or("{}", |index| self.options(index));
            let kept = (layout, &self.state[..]);
            if let Some(state) = self.services.lifecycle.state_for(adapter, options, kept, &source) {
                self.state = state;
            } else {
                self.state.clear();
                self.outdated |= adapter.manifest.session.registration == RegistrationRule::Required;
            }
            self.take_over_memory(adapter, Some(digest));
        }
        self.state_of = Some(now);
    }

    /// Before anything is asked: the version in force has taken over what another one has kept here. What could not be taken
    /// over, or is not durable yet, needs a frame first: the device comes again, and brings one.
    pub(super) fn ready_to_ask(&mut self) -> Result<(), Closing> {
        self.adopt_version_in_force()?;
        if self.outdated || self.present.as_ref().is_some_and(|present| present.taken_over) {
            return Err(Closing::Draining);
        }
        Ok(())
    }

    pub(super) fn adopt_version_in_force(&mut self) -> Result<(), Closing> {
        let index = self.sticky.map(|index| &self.door.adapters[index].adapter);
        let Some(adapter) = index.and_then(|name| self.services.catalog.active(name)) else { return Ok(()) };
        self.adopt_version(&adapter);
        self.attune(&adapter)
    }

    /// The device's memory in this version's layout. It becomes durable with the next frame that this version reads, in one
    /// entry with the version's name, so that nobody takes it over twice.
    pub(super) fn take_over_memory(&mut self, adapter: &Adapter, left_by: Option<Digest>) {
        let Some(present) = &self.present else { return };
        let source = self.source();
        let options = self.sticky.map_or("{}", |index| self.options(index));
        let kept = (left_by, &present.memory[..]);
        let taken = self.services.lifecycle.memory_for(adapter, options, kept, &source);
        if let (Some(memory), Some(present)) = (taken, &mut self.present) {
            present.memory = memory;
            present.taken_over = true;
        }
    }

    /// What was taken over and is not durable yet, if the adapter has nothing newer to say.
    pub(super) fn memory_to_keep(&mut self, said: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let present = self.present.as_mut()?;
        let taken_over = std::mem::take(&mut present.taken_over);
        said.or_else(|| taken_over.then(|| present.memory.clone()))
    }

    /// Has what long calls cost put down to who provoked them. Short ones cost one look.
    pub(super) fn account(&self, adapter: &Adapter) {
        if adapter.has_long_calls() {
            self.services.lifecycle.account(adapter, &self.source());
        }
    }

    /// Whose bytes these are while nobody knows the device.
    pub(super) fn stranger<'a>(&'a self, frame: &'a [u8]) -> Option<Stranger<'a>> {
        self.present.is_none().then_some(Stranger { peer: &self.peer, frame })
    }

    /// Who is to blame for what comes: the device, or while nobody knows it the peer's host.
    pub(super) fn source(&self) -> String {
        match &self.present {
            Some(present) => present.device.to_string(),
            None => self.peer.rsplit_once(':').map_or(self.peer.clone(), |(host, _)| host.to_owned()),
        }
    }
}
