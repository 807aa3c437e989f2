//! Where a stored value comes from: which frame, which version of which adapter, and whether it was corrected since.

use crate::journal::{AdapterRef, Again, Fact, FrameFact, FrameOutcome, Stored};
use crate::model::{DeviceKey, Seq};
use crate::session::Services;
use crate::views::ViewError;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Which version of which adapter read a value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ReadBy {
    pub name: String,
    /// Left out: a version that this station does not know by name any more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// Empty: its defaults.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub profile: String,
}

/// A value's origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The frame's entry.
    pub frame: Seq,
    /// The entry that corrected what was read at first.
    pub corrected_in: Option<Seq>,
    /// `None`: the journal has dropped the frame.
    pub read_by: Option<ReadBy>,
}

/// Origins of one device's values by the entry that a view names as the source; each is looked up once.
pub struct Origins<'a> {
    services: &'a Services,
    device: &'a DeviceKey,
    known: BTreeMap<Seq, Origin>,
}

impl<'a> Origins<'a> {
    pub fn new(services: &'a Services, device: &'a DeviceKey) -> Self {
        Self { services, device, known: BTreeMap::new() }
    }

    pub fn of(&mut self, source: Seq) -> Result<Origin, ViewError> {
        if let Some(known) = self.known.get(&source) {
            return Ok(known.clone());
        }
        let origin = self.look_up(source)?;
        self.known.insert(source, origin.clone());
        Ok(origin)
    }

    fn look_up(&self, source: Seq) -> Result<Origin, ViewError> {
        let origin = |frame, corrected_in, read_by| Ok(Origin { frame, corrected_in, read_by });
        match self.fact(source)? {
            Some(Fact::Frame(FrameFact {
                device, adapter, outcome: outcome @ FrameOutcome::Decoded { .. }, ..
            })) => {
                // Who sent it may have carried what others said.
                let own = device.as_ref() == Some(self.device);
                let read_by = if own { None } else { self.read_behind(source, &outcome)? };
                origin(source, None, read_by.or(adapter.map(|adapter| self.read_by(adapter))))
            }
            Some(Fact::Frame(frame)) => {
                let later = self.services.views.redecoded(source, 0)?.map(|seq| self.fact(seq)).transpose()?.flatten();
                let Some(again) = later.as_ref().and_then(Fact::again) else {
                    return origin(source, None, None);
                };
                if again.device != Some(self.device)
                    && let Some(read_by) = self.read_behind(source, again.outcome)?
                {
                    return origin(source, None, Some(read_by));
                }
                let name = frame.adapter.map(|adapter| adapter.name).unwrap_or_default();
                origin(source, None, Some(self.read_again_by(name, &again)))
            }
            Some(Fact::Corrected { frame, adapter, .. } | Fact::Reread { frame, adapter, .. }) => {
                let first = self.services.journal.reader().first_told(Seq(frame))?;
                let frame = first.map_or(Seq(frame), |(frame, ..)| frame);
                origin(frame, Some(source), Some(self.read_by(adapter)))
            }
            _ => origin(source, None, None),
        }
    }

    /// Who read what the device said through a carrier; `None`: that told nothing of it.
    fn read_behind(&self, entry: Seq, outcome: &FrameOutcome) -> Result<Option<ReadBy>, ViewError> {
        for found in outcome.parts() {
            let part = found.part;
            let own = part.device.as_ref() == Some(self.device);
            match (&part.outcome, &part.adapter) {
                (FrameOutcome::Decoded { .. }, Some(adapter)) if own => return Ok(Some(self.read_by(adapter.clone()))),
                (FrameOutcome::Fault { .. }, before) => {
                    let Some(seq) = self.services.views.redecoded(entry, found.number)? else { continue };
                    let later = self.fact(seq)?;
                    let Some(again) = later.as_ref().and_then(Fact::again) else { continue };
                    if again.device == Some(self.device) || own {
                        let name = before.as_ref().map(|adapter| adapter.name.clone()).unwrap_or_default();
                        return Ok(Some(self.read_again_by(name, &again)));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn fact(&self, seq: Seq) -> Result<Option<Fact>, ViewError> {
        let found = self.services.journal.reader().get(seq)?;
        Ok(found.and_then(|Stored { entry, .. }| entry.ok()).map(|entry| entry.fact))
    }

    /// Where the station does not know the version any more, it is called as who could not read it.
    fn read_again_by(&self, name: String, again: &Again<'_>) -> ReadBy {
        self.read_by(AdapterRef { name, digest: again.digest, profile: again.profile.to_owned() })
    }

    fn read_by(&self, adapter: AdapterRef) -> ReadBy {
        let row = self.services.lifecycle.row(&adapter.digest);
        let (name, version) = row.map_or((adapter.name, String::new()), |row| (row.name, row.version));
        ReadBy { name, version, digest: adapter.digest.to_string(), profile: adapter.profile }
    }
}
