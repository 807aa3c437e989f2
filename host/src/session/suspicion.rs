//! Calls over what a suspect has sent: the same calls, in the background.

use super::conversation::Conversation;
use super::cutting::{Chosen, Cut, cut};
use crate::adapter::{Adapter, Context, Decoded, Fault};
use crate::journal::FaultKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Conversation {
    /// What lies at the front of the buffer.
    pub(super) async fn cut_front(&mut self) -> Cut {
        let sticky = self.sticky.map(|index| (index, self.options(index)));
        let is_datagram = self.link.is_datagram();
        if !self.services.lifecycle.has_suspects() || !self.is_suspect_here() {
            return cut(&self.services, &self.door, sticky, &self.buffer, is_datagram);
        }
        let sticky = sticky.map(|(index, options)| (index, options.to_owned()));
        let (services, door, buffer) = (self.services.clone(), self.door.clone(), self.buffer.clone());
        let work = move || {
            let sticky = sticky.as_ref().map(|(index, options)| (*index, &options[..]));
            cut(&services, &door, sticky, &buffer, is_datagram)
        };
        self.services.clone().penalty.run(work).await.unwrap_or(Cut::Skip(1))
    }

    /// As the adapter itself would, wherever it is asked.
    pub(super) async fn ask_to_decode(
        &mut self,
        with: &Chosen,
        frame: &[u8],
        pending: u32,
        is_suspect: bool,
    ) -> Result<Decoded, Fault> {
        let decoded = self.ask_somewhere(with, frame, pending, is_suspect).await;
        if self.present.is_none() && decoded.is_ok() {
            with.adapter.met.fetch_add(1, Ordering::Relaxed);
        }
        decoded
    }

    async fn ask_somewhere(
        &mut self,
        with: &Chosen,
        frame: &[u8],
        pending: u32,
        is_suspect: bool,
    ) -> Result<Decoded, Fault> {
        if !is_suspect {
            return with.adapter.decode(self.options(with.index), &self.context(pending), frame);
        }
        let (adapter, options) = (with.adapter.clone(), self.options(with.index).to_owned());
        let Context { now, direction, transport, admission, device, state, .. } = self.context(pending);
        let device = device.map(|(address, memory)| (address.to_owned(), memory.to_vec()));
        let (state, frame) = (state.to_vec(), frame.to_vec());
        let work = move || {
            let device = device.as_ref().map(|(address, memory)| (&address[..], &memory[..]));
            let context = Context { now, direction, transport, admission, pending, device, state: &state };
            adapter.decode(&options, &context, &frame)
        };
        let services = self.services.clone();
        services
            .penalty
            .run(work)
            .await
            .unwrap_or_else(|| Err(Fault::new(FaultKind::Resources, "nobody is left to ask it")))
    }

    /// Whether what this peer sends has made this version fail or run long lately. One look where nobody has.
    pub(super) fn is_suspect(&self, adapter: &Adapter) -> bool {
        self.services.lifecycle.has_suspects() && self.services.lifecycle.is_suspect(adapter, &self.source())
    }

    fn is_suspect_here(&self) -> bool {
        let here = match self.sticky {
            Some(index) if !self.link.is_datagram() => &self.door.adapters[index..=index],
            _ => &self.door.adapters[..],
        };
        let mut active = here.iter().filter_map(|speaks| self.services.catalog.active(&speaks.adapter));
        active.any(|adapter: Arc<Adapter>| self.services.lifecycle.is_suspect(&adapter, &self.source()))
    }
}
