//! Going through stored frames with a version of choice: to show what it would say, and, if that is wanted, to correct what was
//! said.

use super::compare::{Reading, compare};
use super::replay::{Memories, Replay, Replayed};
use super::tally::{Compared, Tally};
use super::{Review, ReviewError};
use crate::adapter::Adapter;
use crate::journal::{AdapterRef, CommandStep, Entry, Fact, FaultKind, FrameFact, FrameOutcome, Stored};
use crate::limits::{PAGE_BYTES_MAX, REPLAY_DEVICES_MAX, REPLAY_ENTRIES};
use crate::model::{Civil, DeviceKey, Digest, HexBytes, Seq};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is done with what is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The version is compared with the one that serves.
    Shadow,
    /// The version is compared with what is stored.
    Show,
    /// And what is stored is corrected.
    Apply { by: String, why: String },
}

/// One walk through the past; shared with those who ask how far it is.
pub struct Walk {
    pub adapter: Arc<Adapter>,
    pub purpose: Purpose,
    pub since_ms: i64,
    progress: Mutex<Progress>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub tally: Tally,
    pub entries: u64,
    pub entries_total: u64,
    /// Not to be relied on: the version that read them first does not repeat itself here.
    pub unrepeatable: u64,
    pub corrected: u64,
    pub finished: bool,
    pub failed: Option<String>,
}

/// What a walk keeps in mind.
struct Path {
    new: Replay,
    /// The versions that are compared with, or that read a frame first, as far as they are at hand.
    others: FxHashMap<Digest, Option<Replay>>,
    memories: Memories,
    /// Frames that were read again since: the entry that says so.
    later: FxHashMap<u64, u64>,
}

impl Walk {
    pub fn new(adapter: Arc<Adapter>, purpose: Purpose, since_ms: i64) -> Self {
        Self { adapter, purpose, since_ms, progress: Mutex::default() }
    }

    pub fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Blocks until it is through.
    pub fn run(&self, review: &Review) {
        let outcome = self.walk(review);
        self.note(|progress| {
            progress.finished = true;
            progress.failed = outcome.err().map(|error| error.to_string());
        });
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn walk(&self, review: &Review) -> Result<(), ReviewError> {
        let (first, last) = review.span(self.since_ms)?;
        self.note(|progress| progress.entries_total = (last.0 + 1).saturating_sub(first.0));
        let mut path = Path {
            new: Replay::new(self.adapter.clone()),
            others: FxHashMap::default(),
            memories: Memories::default(),
            later: FxHashMap::default(),
        };
        if self.purpose != Purpose::Shadow {
            each(review, (first, last), |seq, entry| {
                match entry.fact {
                    Fact::Redecoded { frame, outcome: FrameOutcome::Decoded { .. }, .. } => {
                        path.later.entry(frame).or_insert(seq.0);
                    }
                    Fact::Corrected { frame, .. } => drop(path.later.insert(frame, seq.0)),
                    _ => {}
                }
                Ok(())
            })?;
        }
        let mut corrections = Vec::new();
        each(review, (first, last), |seq, entry| {
            self.note(|progress| progress.entries += 1);
            let at_ms = entry.at_ms;
            match entry.fact {
                Fact::Frame(frame) => {
                    if at_ms >= self.since_ms {
                        corrections.extend(self.frame(review, &mut path, seq, at_ms, &frame)?);
                    }
                    path.remember(&frame);
                }
                Fact::Remembered { device, memory } => path.set(device, memory.0, None),
                Fact::Forgotten { device, .. } => path.set(device, Vec::new(), None),
                Fact::Command(command) => {
                    if let CommandStep::Sent { memory: Some(memory), .. } = command.step {
                        path.set(command.device, memory.0, None);
                    }
                }
                _ => {}
            }
            if corrections.len() >= REPLAY_ENTRIES {
                self.correct(review, &mut corrections)?;
            }
            Ok(())
        })?;
        self.correct(review, &mut corrections)
    }

    /// Compares one frame; gives what there is to correct.
    fn frame(
        &self,
        review: &Review,
        path: &mut Path,
        seq: Seq,
        at_ms: i64,
        frame: &FrameFact,
    ) -> Result<Option<Fact>, ReviewError> {
        let theirs = frame.adapter.as_ref().is_some_and(|adapter| adapter.name == self.adapter.name());
        let counts = match &frame.outcome {
            FrameOutcome::Decoded { duplicate, held, .. } => !duplicate && !held,
            FrameOutcome::Fault { kind, .. } => !matches!(kind, FaultKind::Refused | FaultKind::Noise),
        };
        if !theirs || !counts {
            return Ok(None);
        }
        // As the device is spoken to now: a profile, too, may have been what was wrong.
        let spoken = review.lifecycle.spoken(&self.adapter, &frame.listener, frame.device.as_ref())?;
        let now = review.clock.civil(at_ms);
        let replayed = path.new.read(&review.lifecycle, frame, (&spoken.options, now), &path.memories);
        let new = Reading::from(&replayed.result);
        let (old, before) = match &self.purpose {
            Purpose::Shadow => {
                let Some(active) = review.catalog.active(self.adapter.name()) else { return Ok(None) };
                let Some(replayed) = path.by_other(review, active.digest, (frame, &spoken.options, now)) else {
                    return Ok(None);
                };
                (Reading::from(&replayed.result), seq.0)
            }
            Purpose::Show | Purpose::Apply { .. } => {
                let before = path.later.get(&seq.0).copied().unwrap_or(seq.0);
                let recorded = review.recorded(before)?.unwrap_or_else(|| frame.outcome.clone());
                if before == seq.0 && !path.repeats(review, frame, now) {
                    self.note(|progress| progress.unrepeatable += 1);
                    return Ok(None);
                }
                (as_recorded(&recorded, &new), before)
            }
        };
        let found = compare(&old, &new);
        let differs = !found.is_empty();
        let model = frame.device.as_ref().map(|device| review.model_of(device)).unwrap_or_default();
        let compared = Compared { frame: Some(seq.0), device: frame.device.as_ref(), model: &model, raw: &frame.raw };
        self.note(|progress| progress.tally.add(compared, found));
        let (Purpose::Apply { by, why }, true, Ok(decoded)) = (&self.purpose, differs, replayed.result) else {
            return Ok(None);
        };
        let messages = decoded.messages;
        let outcome =
            FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind: Vec::new() };
        let (frame_seq, digest, device) = (seq.0, self.adapter.digest, replayed.device);
        let profile = spoken.name.clone();
        if matches!(old, Reading::Failed { .. }) {
            return Ok(Some(Fact::Redecoded { frame: frame_seq, adapter: digest, outcome, device, profile, part: 0 }));
        }
        let adapter = AdapterRef { name: self.adapter.name().into(), digest, profile };
        let (by, why) = (by.clone(), why.clone());
        Ok(Some(Fact::Corrected { frame: frame_seq, before, adapter, device, outcome, by, why }))
    }

    fn correct(&self, review: &Review, facts: &mut Vec<Fact>) -> Result<(), ReviewError> {
        let count = facts.len() as u64;
        review.write(std::mem::take(facts))?;
        self.note(|progress| progress.corrected += count);
        Ok(())
    }
}

impl Path {
    fn remember(&mut self, frame: &FrameFact) {
        let (Some(device), FrameOutcome::Decoded { memory, .. }) = (&frame.device, &frame.outcome) else { return };
        let by = frame.adapter.as_ref().map(|adapter| adapter.digest);
        match (memory, self.memories.get_mut(device)) {
            (Some(HexBytes(memory)), _) => self.set(device.clone(), memory.clone(), by),
            (None, Some(known)) => known.1 = by,
            (None, None) => {}
        }
    }

    fn set(&mut self, device: DeviceKey, memory: Vec<u8>, by: Option<Digest>) {
        if self.memories.len() < REPLAY_DEVICES_MAX || self.memories.contains_key(&device) {
            let by = by.or_else(|| self.memories.get(&device).and_then(|(_, by)| *by));
            self.memories.insert(device, (memory, by));
        }
    }

    /// What another version makes of a frame, if it is still here.
    fn by_other(
        &mut self,
        review: &Review,
        digest: Digest,
        (frame, profile, now): (&FrameFact, &str, Civil),
    ) -> Option<Replayed> {
        let at_hand = || review.lifecycle.at_hand(&digest).map(Replay::new);
        let other = self.others.entry(digest).or_insert_with(at_hand).as_mut()?;
        Some(other.read(&review.lifecycle, frame, (profile, now), &self.memories))
    }

    /// Whether the version that read this frame reads it here as it did then, under the profile of then. One that is not here
    /// any more is believed.
    fn repeats(&mut self, review: &Review, frame: &FrameFact, now: Civil) -> bool {
        let (Some(adapter), FrameOutcome::Decoded { messages, .. }) = (&frame.adapter, &frame.outcome) else {
            return true;
        };
        let Some(spoken) = review.lifecycle.spoken_then(&adapter.profile) else { return true };
        let repeated = self.by_other(review, adapter.digest, (frame, &spoken.options, now));
        repeated.is_none_or(|repeated| repeated.result.is_ok_and(|decoded| decoded.messages == *messages))
    }
}

/// What is stored, as a reading; replies and senders are not stored apart, so they never differ.
fn as_recorded(outcome: &FrameOutcome, new: &Reading) -> Reading {
    let (sender, reply) = match new {
        Reading::Read { sender, reply, .. } => (sender.clone(), reply.clone()),
        Reading::Failed { reply, .. } => (None, reply.clone()),
    };
    match outcome {
        FrameOutcome::Decoded { messages, .. } => Reading::Read { sender, messages: messages.clone(), reply },
        FrameOutcome::Fault { kind, detail } => Reading::Failed { kind: *kind, detail: detail.clone(), reply },
    }
}

/// All entries of a span, in order; those that do not decode are passed over.
fn each(
    review: &Review,
    (first, last): (Seq, Seq),
    mut take: impl FnMut(Seq, Entry) -> Result<(), ReviewError>,
) -> Result<(), ReviewError> {
    let mut from = first;
    while from <= last {
        let portion = review.journal.reader().read(from, REPLAY_ENTRIES, PAGE_BYTES_MAX)?;
        let Some(end) = portion.last().map(|stored| stored.seq) else { return Ok(()) };
        for Stored { seq, entry, .. } in portion.into_iter().filter(|stored| stored.seq <= last) {
            if let Ok(entry) = entry {
                take(seq, entry)?;
            }
        }
        from = Seq(end.0 + 1);
    }
    Ok(())
}

impl Review {
    /// What an entry says that a frame means.
    fn recorded(&self, seq: u64) -> Result<Option<FrameOutcome>, ReviewError> {
        let Some(Ok(entry)) = self.journal.reader().get(Seq(seq))?.map(|stored| stored.entry) else { return Ok(None) };
        Ok(match entry.fact {
            Fact::Frame(FrameFact { outcome, .. })
            | Fact::Redecoded { outcome, .. }
            | Fact::Corrected { outcome, .. } => Some(outcome),
            _ => None,
        })
    }
}
