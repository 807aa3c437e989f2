//! Received bytes to frames: which adapter, and where a frame ends.
//!
//! Until one adapter has cut a frame, every adapter of the listener is asked in order, and a whole frame of a later one
//! beats "incomplete" of an earlier one. From then on the connection is that adapter's, and what it calls foreign is noise
//! between its frames. A datagram is a message of its own, and many may speak from one port: what is no frame of that adapter
//! may be one of another.

use super::{Door, Services};
use crate::adapter::{Adapter, Fault, Framing};
use crate::limits;
use std::sync::Arc;

/// What to do with the front of the buffer.
#[derive(Debug)]
pub(super) enum Cut {
    Frame {
        bytes: usize,
        with: Chosen,
    },
    /// Wait for more.
    More,
    /// Belongs to no frame.
    Skip(usize),
    /// No adapter of this listener takes these bytes.
    Foreign,
    /// An adapter failed over these bytes.
    Fault {
        with: Chosen,
        fault: Fault,
    },
}

/// The adapter in its present version, and its place in the listener's list.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub index: usize,
    pub adapter: Arc<Adapter>,
}

/// Cuts the front of `buffer`. `sticky` is the adapter that has cut a frame of this connection before, and how it is asked.
pub(super) fn cut(
    services: &Services,
    door: &Door,
    sticky: Option<(usize, &str)>,
    buffer: &[u8],
    is_datagram: bool,
) -> Cut {
    match ask(services, door, sticky, buffer, is_datagram) {
        own @ (Cut::More | Cut::Skip(_) | Cut::Foreign) if is_datagram && sticky.is_some() => {
            match ask(services, door, None, buffer, is_datagram) {
                other if matches!(other, Cut::Frame { .. }) || matches!(own, Cut::Foreign) => other,
                _ => own,
            }
        }
        own => own,
    }
}

fn ask(services: &Services, door: &Door, sticky: Option<(usize, &str)>, buffer: &[u8], is_datagram: bool) -> Cut {
    let mut best = Best::default();
    let range = sticky.map_or(0..door.adapters.len(), |(index, _)| index..index + 1);
    for index in range {
        let speaks = &door.adapters[index];
        let Some(adapter) = services.catalog.active(&speaks.adapter) else { continue };
        let decided = match sticky {
            Some(_) => None,
            None => services.lifecycle.profiles().of_listener(&door.name, &speaks.adapter),
        };
        let options = match (&decided, sticky) {
            (Some(spoken), _) => &spoken.options,
            (None, Some((_, options))) => options,
            (None, None) => &speaks.options,
        };
        match adapter.frame(options, buffer) {
            Ok(Framing::Frame(bytes)) => return Cut::Frame { bytes, with: Chosen { index, adapter } },
            Ok(Framing::Incomplete(_)) => best.incomplete = true,
            Ok(Framing::Skip(n)) => best.skip = Some(best.skip.map_or(n, |least| least.min(n))),
            Ok(Framing::Foreign) if sticky.is_some() && !is_datagram => best.skip = Some(buffer.len()),
            Ok(Framing::Foreign) => {}
            Err(fault) => best.fault = best.fault.take().or(Some((Chosen { index, adapter }, fault))),
        }
    }
    best.verdict(buffer.len())
}

/// Why nobody takes what came. One who would may be out of service.
pub(super) fn nobody_takes(services: &Services, door: &Door) -> String {
    let names = door.adapters.iter().map(|speaks| speaks.adapter.as_str());
    let away: Vec<&str> = names.filter(|name| services.catalog.active(name).is_none()).collect();
    let away = if away.is_empty() { String::new() } else { format!("; not in service: {}", away.join(", ")) };
    format!("no adapter of this listener takes these bytes{away}")
}

#[derive(Default)]
struct Best {
    incomplete: bool,
    skip: Option<usize>,
    fault: Option<(Chosen, Fault)>,
}

impl Best {
    fn verdict(self, buffered: usize) -> Cut {
        if self.incomplete && buffered < limits::FRAME_BYTES_MAX {
            return Cut::More;
        }
        if let Some((with, fault)) = self.fault {
            return Cut::Fault { with, fault };
        }
        match self.skip {
            Some(n) => Cut::Skip(n),
            // A frame that never ends: give up its first byte and look again.
            None if self.incomplete => Cut::Skip(1),
            None => Cut::Foreign,
        }
    }
}
