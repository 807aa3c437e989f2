//! What a walk through stored frames keeps in mind: memories, sessions, and what was read again later.

use super::compare::Reading;
use super::names::{Names, is_name};
use super::replay::{Bytes, Memories, Replay, Replayed, Way};
use super::{Review, ReviewError};
use crate::adapter::Adapter;
use crate::journal::{Again, FrameOutcome, Piece};
use crate::limits::REPLAY_DEVICES_MAX;
use crate::model::{Civil, DeviceKey, Digest, HexBytes, Seq};
use crate::views::ViewError;
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub(super) struct Path {
    pub new: Replay,
    /// The versions that are compared with, or that read a frame first, as far as they are at hand.
    others: FxHashMap<Digest, Option<Replay>>,
    pub memories: Memories,
    /// What was read again since, by the entry with the bytes and the part there.
    later: FxHashMap<(u64, u32), Later>,
}

/// Entries that read something again.
#[derive(Clone, Copy)]
pub(super) struct Later {
    pub first: Seq,
    pub last: Seq,
    /// Who could read it first.
    pub by: Digest,
    /// It is several frames, and what they mean is told of each.
    pub is_several: bool,
}

/// A frame, or a part of one, and how it came.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    /// The entry with its bytes, and the part there.
    pub of: (Seq, u32),
    /// The frame's entry, and when it came.
    pub frame: Seq,
    pub at_ms: i64,
    pub listener: &'a str,
    /// `None`: it was read without its session.
    pub session: Option<u64>,
    pub piece: Piece<'a>,
}

/// What an entry said that something means.
pub(super) struct Said {
    pub device: Option<DeviceKey>,
    pub profile: String,
    pub outcome: FrameOutcome,
}

/// What another version makes of a frame.
pub(super) enum ByOther {
    /// It is not here any more.
    Gone,
    /// Nobody knows any more how the frame came, and that makes a difference to it.
    Unknowable,
    Read(Replayed),
}

impl<'a> Kept<'a> {
    pub fn bytes(&self, review: &Review) -> Bytes<'a> {
        let way = match (self.of.1, self.session) {
            (0, Some(session)) => Way::Direct(session, review.listeners.get(self.listener).map(|l| l.transport)),
            (_, session) => Way::Behind(session, self.piece.device),
        };
        Bytes { raw: self.piece.raw, way }
    }
}

impl Path {
    pub fn new(adapter: Arc<Adapter>) -> Self {
        Self {
            new: Replay::new(adapter),
            others: FxHashMap::default(),
            memories: Memories::default(),
            later: FxHashMap::default(),
        }
    }

    /// Another entry reads something again.
    pub fn note(&mut self, seq: Seq, again: &Again<'_>) {
        if matches!(again.outcome, FrameOutcome::Fault { .. }) {
            return;
        }
        let (entry, part) = again.of;
        let first = Later { first: seq, last: seq, by: again.digest, is_several: again.is_of_several() };
        let known = self.later.entry((entry.0, part)).or_insert(first);
        // Decoded once is decoded; what is corrected counts from then on.
        if again.before.is_some() {
            known.last = seq;
        }
    }

    pub fn later(&self, (entry, part): (Seq, u32)) -> Option<Later> {
        self.later.get(&(entry.0, part)).copied()
    }

    pub fn remember(&mut self, piece: &Piece<'_>) {
        let (Some(device), FrameOutcome::Decoded { memory, .. }) = (piece.device, piece.outcome) else { return };
        let by = piece.adapter.map(|adapter| adapter.digest);
        match (memory, self.memories.get_mut(device)) {
            (Some(HexBytes(memory)), _) => self.set(device.clone(), memory.clone(), by),
            (None, Some(known)) => known.1 = by,
            (None, None) => {}
        }
    }

    pub fn set(&mut self, device: DeviceKey, memory: Vec<u8>, by: Option<Digest>) {
        if self.memories.len() < REPLAY_DEVICES_MAX || self.memories.contains_key(&device) {
            let by = by.or_else(|| self.memories.get(&device).and_then(|(_, by)| *by));
            self.memories.insert(device, (memory, by));
        }
    }

    /// What another version makes of a frame.
    pub fn by_other(
        &mut self,
        review: &Review,
        digest: Digest,
        (bytes, profile, now): (Bytes<'_>, &str, Civil),
    ) -> ByOther {
        let at_hand = || review.lifecycle.at_hand(&digest).map(Replay::new);
        let Some(other) = self.others.entry(digest).or_insert_with(at_hand) else { return ByOther::Gone };
        match other.read(&review.lifecycle, bytes, (profile, now), &self.memories) {
            Some(replayed) => ByOther::Read(replayed),
            None => ByOther::Unknowable,
        }
    }

    /// Whether the version that read this frame reads it here as it did then, under the profile of then, and whom it calls how.
    /// One that is not here any more is believed.
    pub fn repeats(&mut self, review: &Review, kept: &Kept<'_>, now: Civil) -> Option<Names> {
        let (Some(adapter), FrameOutcome::Decoded { messages, .. }) = (kept.piece.adapter, kept.piece.outcome) else {
            return Some(Names::default());
        };
        let Some(spoken) = review.lifecycle.spoken_then(&adapter.profile) else { return Some(Names::default()) };
        match self.by_other(review, adapter.digest, (kept.bytes(review), &spoken.options, now)) {
            ByOther::Gone => Some(Names::default()),
            ByOther::Unknowable => None,
            ByOther::Read(repeated) => {
                let same_sender = repeated.device.is_none() || repeated.device.as_ref() == kept.piece.device;
                let decoded = repeated.result.ok().filter(|_| same_sender)?;
                Names::of(decoded.messages, messages)
            }
        }
    }
}

impl Replayed {
    /// Whose it is: a frame that does not tell is of whom it was before.
    pub(super) fn device<'d>(&'d self, before: Option<&'d DeviceKey>) -> Option<&'d DeviceKey> {
        self.device.as_ref().or(before)
    }

    /// Names of whom it speaks as the registry says now, for one version against another.
    pub(super) fn named_now(mut self, review: &Review, before: Option<&DeviceKey>) -> Result<Self, ViewError> {
        let carrier = self.device(before).cloned();
        if let (Ok(decoded), Some(carrier)) = (&mut self.result, &carrier) {
            review.views.name_subjects(carrier, &mut decoded.messages)?;
        }
        Ok(self)
    }

    /// Names of whom it speaks as `said` does; false: nobody can tell who is meant.
    pub(super) fn named_as(&mut self, review: &Review, said: &Said, names: &Names) -> Result<bool, ViewError> {
        let carrier = self.device(said.device.as_ref()).cloned();
        let (Ok(decoded), Some(carrier)) = (&mut self.result, &carrier) else { return Ok(true) };
        if said.is_billed_unclearly(review)? {
            return Ok(false);
        }
        if decoded.messages.iter().all(|message| message.subject().is_none()) {
            return Ok(true);
        }
        let registry = review.views.registry()?;
        let now = |called: &str| registry.meant(carrier, called);
        match &said.outcome {
            FrameOutcome::Decoded { messages: told, .. } if said.device.as_ref() == Some(carrier) => {
                names.name(&mut decoded.messages, told, now)
            }
            // Behind another carrier other devices are called so.
            _ => Names::default().name(&mut decoded.messages, &[], now),
        }
    }

    /// What it made of it, and whose it is.
    pub(super) fn reading(&self, before: Option<&DeviceKey>) -> (Reading, Option<DeviceKey>) {
        let device = self.device(before).cloned();
        // Who has sent it is said below, as far as it is known.
        let mut reading = Reading::of("", &self.result);
        if let Reading::Read { sender, .. } = &mut reading {
            *sender = device.as_ref().map(ToString::to_string);
        }
        (reading, device)
    }
}

impl Said {
    /// As the entry with the bytes tells it.
    pub fn first(piece: &Piece<'_>) -> Self {
        let (device, outcome) = (piece.device.cloned(), piece.outcome.clone());
        Self { device, profile: piece.adapter.map(|adapter| adapter.profile.clone()).unwrap_or_default(), outcome }
    }

    /// Whether it gave readings to somebody who is known by his address alone, where several have that address: at whom they were
    /// billed nobody knows any more.
    fn is_billed_unclearly(&self, review: &Review) -> Result<bool, ViewError> {
        let FrameOutcome::Decoded { messages, .. } = &self.outcome else { return Ok(false) };
        let subjects = messages.iter().filter_map(|message| message.report()?.subject.as_ref());
        for subject in subjects.filter(|subject| !is_name(subject)) {
            if review.views.devices_with_address(subject)?.len() > 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As a reading; replies are not stored, so they never differ.
    pub fn reading(&self, new: &Reading) -> Reading {
        let (Reading::Read { reply, .. } | Reading::Failed { reply, .. }) = new;
        let reply = reply.clone();
        match &self.outcome {
            FrameOutcome::Decoded { messages, .. } => {
                let sender = self.device.as_ref().map(ToString::to_string);
                Reading::Read { sender, messages: messages.clone(), reply }
            }
            FrameOutcome::Fault { kind, detail } => Reading::Failed { kind: *kind, detail: detail.clone(), reply },
        }
    }
}

impl Review {
    /// What the entry `seq` says of something; of an entry that is gone, what was said before.
    pub(super) fn said(&self, seq: Seq, piece: &Piece<'_>) -> Result<Said, ReviewError> {
        let stored = self.journal.reader().get(seq)?.and_then(|stored| stored.entry.ok());
        let Some(again) = stored.as_ref().and_then(|entry| entry.fact.again()) else { return Ok(Said::first(piece)) };
        let device = again.device.or(piece.device).cloned();
        Ok(Said { device, profile: again.profile.to_owned(), outcome: again.outcome.clone() })
    }
}
