//! Frames, and parts of frames, that later entries read again: one way to look at all entries that do.

use super::format::{self, CodecError};
use super::{AdapterRef, Entry, Fact, FaultKind, FrameFact, FrameOutcome, Reader, StoreError};
use crate::model::{DeviceKey, Digest, Seq};

/// How often "read again" may point at "read again" before a frame has to come.
const AGAIN_MAX: usize = 8;

/// What an entry says of bytes that an earlier one has.
#[derive(Clone, Copy, Debug)]
pub struct Again<'a> {
    /// The entry with the bytes, and 0 for the frame or else the number of the part.
    pub of: (Seq, u32),
    /// The entry that told their meaning until then; `None`: nobody could read them.
    pub before: Option<Seq>,
    pub digest: Digest,
    /// As in `AdapterRef`.
    pub profile: &'a str,
    pub device: Option<&'a DeviceKey>,
    pub outcome: &'a FrameOutcome,
}

/// A frame, or a part of one, as the entry with its bytes tells it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub device: Option<&'a DeviceKey>,
    pub adapter: Option<&'a AdapterRef>,
    pub outcome: &'a FrameOutcome,
    pub raw: &'a [u8],
}

impl Again<'_> {
    /// Whether it tells several frames that were kept as one: each is a part, and together they are nobody's.
    pub fn is_of_several(&self) -> bool {
        self.device.is_none() && matches!(self.outcome, FrameOutcome::Decoded { behind, .. } if !behind.is_empty())
    }
}

impl Fact {
    /// `None`: it reads nothing again.
    pub fn again(&self) -> Option<Again<'_>> {
        let (frame, part, before, digest, profile, device, outcome) = match self {
            Self::Redecoded { frame, adapter, outcome, device, profile, part } => {
                (*frame, *part, None, *adapter, profile, device, outcome)
            }
            Self::Corrected { frame, before, adapter, device, outcome, .. } => {
                (*frame, 0, Some(Seq(*before)), adapter.digest, &adapter.profile, device, outcome)
            }
            Self::Reread { frame, part, before, adapter, device, outcome, .. } => {
                (*frame, *part, Some(Seq(*before)), adapter.digest, &adapter.profile, device, outcome)
            }
            _ => return None,
        };
        Some(Again { of: (Seq(frame), part), before, digest, profile, device: device.as_ref(), outcome })
    }

    /// The bytes that this entry has under a number, and what it says of them; 0: the frame.
    pub fn piece(&self, part: u32) -> Option<Piece<'_>> {
        match (self, part) {
            (Self::Frame(FrameFact { device, adapter, raw, outcome, .. }), 0) => {
                Some(Piece { device: device.as_ref(), adapter: adapter.as_ref(), outcome, raw: &raw.0 })
            }
            (Self::Frame(FrameFact { outcome, .. }), part) => outcome.part(part).map(|found| Piece::from(&found)),
            (fact, part) => fact.again()?.outcome.part(part).map(|found| Piece::from(&found)),
        }
    }
}

impl Entry {
    /// What bytes meant may be more than an entry takes. They are kept all the same, as ones that could not be read: who sent
    /// them hears no acknowledgement otherwise and sends them for ever. Whether that was so.
    pub fn keep_bytes_at_least(&mut self) -> bool {
        let Err(error @ CodecError::TooLong { .. }) = format::encode(self) else { return false };
        match &mut self.fact {
            Fact::Frame(FrameFact { outcome, .. }) | Fact::Redecoded { outcome, .. } => {
                tracing::warn!(%error, "what a frame meant is not kept, only its bytes");
                *outcome = FrameOutcome::Fault { kind: FaultKind::Resources, detail: error.to_string() };
                true
            }
            _ => false,
        }
    }
}

impl<'a> From<&super::Found<'a>> for Piece<'a> {
    fn from(found: &super::Found<'a>) -> Self {
        let part = found.part;
        Self { device: part.device.as_ref(), adapter: part.adapter.as_ref(), outcome: &part.outcome, raw: found.raw }
    }
}

impl Reader {
    /// The frame that an entry speaks of, through those that only read something again, and when it came.
    pub fn first_told(&self, entry: Seq) -> Result<Option<(Seq, i64, FrameFact)>, StoreError> {
        let mut at = entry;
        for _ in 0..AGAIN_MAX {
            let Some(Ok(entry)) = self.get(at)?.map(|stored| stored.entry) else { return Ok(None) };
            at = match entry.fact {
                Fact::Frame(frame) => return Ok(Some((at, entry.at_ms, frame))),
                fact => match fact.again() {
                    Some(again) => again.of.0,
                    None => return Ok(None),
                },
            };
        }
        Ok(None)
    }
}
