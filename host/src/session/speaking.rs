//! Under which profile a session's adapter is asked: looked up once, and again when somebody has decided otherwise.

use super::conversation::Conversation;
use super::machine::Closing;
use crate::adapter::Adapter;
use crate::lifecycle::Spoken;
use crate::model::{DeviceKey, Message};
use std::sync::Arc;

/// What a session has looked up.
#[derive(Default)]
pub(super) struct Speaking {
    /// When; 0: not yet, or there is nothing to look up.
    generation: u64,
    /// `None`: as the configuration says of the listener.
    spoken: Option<Arc<Spoken>>,
    /// The device's model, as it has said in this session.
    model: Option<String>,
}

impl Speaking {
    /// Another device is at the other end, or it says more of itself.
    pub(super) fn look_again(&mut self) {
        self.generation = 0;
    }

    pub(super) fn another_device(&mut self) {
        *self = Self::default();
    }
}

impl Conversation {
    /// Looks up how this device is spoken to, if that may be another way by now. One comparison where nothing was decided.
    pub(super) fn attune(&mut self, adapter: &Adapter) -> Result<(), Closing> {
        let lifecycle = &self.services.lifecycle;
        let generation = lifecycle.profiles().generation();
        if self.speaking.generation == generation {
            return Ok(());
        }
        let device: Option<&DeviceKey> = self.present.as_ref().map(|present| &present.device);
        let decided = lifecycle.decided(adapter, &self.door.name, device, self.speaking.model.as_deref());
        self.speaking.spoken = decided.map_err(|error| {
            tracing::warn!(peer = %self.peer, %error, "not served: nobody can tell its profile");
            Closing::StoreFailing
        })?;
        self.speaking.generation = generation;
        Ok(())
    }

    /// The options under which the adapter at this place of the listener's list is asked.
    pub(super) fn options(&self, index: usize) -> &str {
        self.speaking.spoken.as_ref().map_or(&self.door.adapters[index].options, |spoken| &spoken.options)
    }

    /// How entries name them.
    pub(super) fn profile(&self, index: usize) -> &str {
        self.speaking.spoken.as_ref().map_or(&self.door.adapters[index].profile, |spoken| &spoken.name)
    }

    /// A device may say which model it is, and a profile be bound to that.
    pub(super) fn hear_model(&mut self, messages: &[Message]) {
        if !self.services.lifecycle.profiles().know_models() {
            return;
        }
        for message in messages {
            if let Message::Registration(registration) = message
                && self.speaking.model.as_ref() != Some(&registration.model)
            {
                self.speaking.model = Some(registration.model.clone());
                self.speaking.look_again();
            }
        }
    }
}
