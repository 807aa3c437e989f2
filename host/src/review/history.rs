//! Going through stored frames with a version of choice: to show what it would say, and, if that is wanted, to correct what was
//! said. What carriers brought is gone through part by part, each for the adapter that read it.

use super::compare::{Reading, compare, values_differ};
use super::path::{ByOther, Kept, Path, Said};
use super::tally::{Compared, Tally};
use super::{Review, ReviewError};
use crate::adapter::Adapter;
use crate::journal::{AdapterRef, CommandStep, Entry, Fact, FaultKind, FrameOutcome, Piece, Stored};
use crate::lifecycle::Spoken;
use crate::limits::{PAGE_BYTES_MAX, REPLAY_ENTRIES};
use crate::model::{DeviceKey, Message, Seq};
use crate::views::ViewError;
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

/// A walk that nobody has run yet. One that is given up, or ends in a panic, has ended all the same: the next may begin.
pub struct Begun(pub(super) Arc<Walk>);

/// How far it is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub tally: Tally,
    pub entries: u64,
    pub entries_total: u64,
    /// Not to be relied on: the version that read them first does not repeat itself here, or how they came makes a difference
    /// and their listener is configured no more.
    pub unrepeatable: u64,
    pub corrected: u64,
    /// They differ, and no correction is written of them: this version cannot read them, they carry others' frames that only the
    /// station takes apart, nobody can tell of whom a carrier speaks in them, or whose they are nobody has let in.
    pub uncorrectable: u64,
    /// They tell events, states or a sender otherwise: what was told of these stays, whatever is corrected.
    pub events_differ: u64,
    pub finished: bool,
    pub failed: Option<String>,
}

impl Begun {
    pub fn walk(&self) -> &Walk {
        &self.0
    }

    /// Blocks until it is through.
    pub fn run(self, review: &Review) {
        let outcome = self.0.walk(review);
        self.0.note(|progress| {
            progress.finished = true;
            progress.failed = outcome.err().map(|error| error.to_string());
        });
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.note(|progress| {
            if !progress.finished {
                (progress.finished, progress.failed) = (true, Some("given up before its end; begin it again".into()));
            }
        });
    }
}

impl Walk {
    pub fn new(adapter: Arc<Adapter>, purpose: Purpose, since_ms: i64) -> Self {
        Self { adapter, purpose, since_ms, progress: Mutex::default() }
    }

    pub fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn walk(&self, review: &Review) -> Result<(), ReviewError> {
        let (first, last) = review.span(self.since_ms)?;
        self.note(|progress| progress.entries_total = (last.0 + 1).saturating_sub(first.0));
        let mut path = Path::new(self.adapter.clone());
        if self.purpose != Purpose::Shadow {
            each(review, (first, last), |seq, entry| {
                if let Some(again) = entry.fact.again() {
                    path.note(seq, &again);
                }
                Ok(())
            })?;
        }
        let mut corrections = Vec::new();
        each(review, (first, last), |seq, entry| {
            self.note(|progress| progress.entries += 1);
            self.entry(review, &mut path, (seq, &entry), &mut corrections)?;
            if corrections.len() >= REPLAY_ENTRIES {
                self.correct(review, &mut corrections)?;
            }
            Ok(())
        })?;
        self.correct(review, &mut corrections)
    }

    /// Compares what an entry brought; collects what there is to correct.
    fn entry(
        &self,
        review: &Review,
        path: &mut Path,
        (seq, entry): (Seq, &Entry),
        corrections: &mut Vec<Fact>,
    ) -> Result<(), ReviewError> {
        match &entry.fact {
            Fact::Frame(frame) => {
                let (at_ms, listener, session) = (entry.at_ms, &frame.listener[..], Some(frame.session));
                let from = |number, piece| Kept { of: (seq, number), frame: seq, at_ms, listener, session, piece };
                let Some(whole) = entry.fact.piece(0) else { return Ok(()) };
                // What a carrier brings that is held is held with it.
                let is_told = at_ms >= self.since_ms && review.counts(&whole)?;
                for kept in std::iter::once(from(0, whole)).chain(parts(&frame.outcome, from)) {
                    if is_told {
                        corrections.extend(self.piece(review, path, &kept)?);
                    }
                    path.remember(&kept.piece);
                }
            }
            Fact::Redecoded { outcome, .. } | Fact::Reread { outcome, .. } => {
                let FrameOutcome::Decoded { behind, .. } = outcome else { return Ok(()) };
                if behind.is_empty() {
                    return Ok(());
                }
                let Some((frame, at_ms, told)) = review.journal.reader().first_told(seq)? else { return Ok(()) };
                let listener = &told.listener[..];
                let from = |number, piece| Kept { of: (seq, number), frame, at_ms, listener, session: None, piece };
                for kept in parts(outcome, from).filter(|_| at_ms >= self.since_ms) {
                    corrections.extend(self.piece(review, path, &kept)?);
                }
            }
            Fact::Remembered { device, memory } => path.set(device.clone(), memory.0.clone(), None),
            Fact::Forgotten { device, .. } => path.set(device.clone(), Vec::new(), None),
            Fact::Command(command) => {
                if let CommandStep::Sent { memory: Some(memory), .. } = &command.step {
                    path.set(command.device.clone(), memory.0.clone(), None);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares one frame, or a part of one; gives what there is to correct.
    fn piece(&self, review: &Review, path: &mut Path, kept: &Kept<'_>) -> Result<Option<Fact>, ReviewError> {
        let piece = &kept.piece;
        let later = path.later(kept.of);
        let ours = |name: &str| name == self.adapter.name();
        let theirs = piece.adapter.is_some_and(|adapter| ours(&adapter.name))
            || later.is_some_and(|later| review.lifecycle.row(&later.by).is_some_and(|row| ours(&row.name)));
        if !theirs || later.is_some_and(|later| later.is_several) || !review.counts(piece)? {
            return Ok(None);
        }
        let said = match later {
            Some(later) => review.said(later.last, piece)?,
            None => Said::first(piece),
        };
        let spoken = self.spoken(review, kept, &said)?;
        let now = review.clock.civil(kept.at_ms);
        let bytes = kept.bytes(review);
        let replayed = path.new.read(&review.lifecycle, bytes, (&spoken.options, now), &path.memories);
        let Some(mut replayed) = replayed else {
            self.note(|progress| progress.unrepeatable += 1);
            return Ok(None);
        };
        let (other, is_clear) = match &self.purpose {
            Purpose::Shadow => {
                let Some(active) = review.catalog.active(self.adapter.name()) else { return Ok(None) };
                let by_active = path.by_other(review, active.digest, (bytes, &spoken.options, now));
                let ByOther::Read(by_active) = by_active else { return Ok(None) };
                replayed = replayed.named_now(review, said.device.as_ref())?;
                (Some(by_active.named_now(review, said.device.as_ref())?), true)
            }
            Purpose::Show | Purpose::Apply { .. } => {
                let repeated = path.repeats(review, kept, now);
                if repeated.is_none() {
                    self.note(|progress| progress.unrepeatable += 1);
                    return Ok(None);
                }
                // What carriers call their devices holds for the one that it was read of.
                let names = repeated.filter(|_| said.device.as_ref() == piece.device).unwrap_or_default();
                (None, replayed.named_as(review, &said, &names)?)
            }
        };
        let (new, device) = replayed.reading(said.device.as_ref());
        let old = other.map_or_else(|| said.reading(&new), |other| other.reading(said.device.as_ref()).0);
        let found = compare(&old, &new);
        let differs = !found.is_empty();
        let model = said.device.as_ref().map(|device| review.model_of(device)).unwrap_or_default();
        let (frame, part) = (Some(kept.frame.0), kept.of.1);
        let compared = Compared { frame, part, device: said.device.as_ref(), model: &model, raw: piece.raw };
        self.note(|progress| progress.tally.add(compared, found));
        if self.purpose == Purpose::Shadow {
            return Ok(None);
        }
        // What was told besides readings was told once, by whoever could read it first.
        let first = match (later, piece.outcome) {
            (Some(_), FrameOutcome::Decoded { .. }) => Said::first(piece).reading(&new),
            (Some(later), FrameOutcome::Fault { .. }) => review.said(later.first, piece)?.reading(&new),
            (None, _) => old.clone(),
        };
        let was_read = matches!(first, Reading::Read { .. });
        if was_read && !new.is_failed() && !compare(&first.besides_values(), &new.clone().besides_values()).is_empty() {
            self.note(|progress| progress.events_differ += 1);
        }
        if !differs || !values_differ(&old, &new) {
            return Ok(None);
        }
        let before = later.map_or(kept.of.0, |later| later.last);
        let is_let_in = match &device {
            Some(device) => review.lets_in(kept.listener, device, old.is_failed())?,
            None => true,
        };
        let fact = replayed.result.ok().filter(|_| is_clear && is_let_in).and_then(|decoded| {
            let meaning = (device, decoded.messages);
            self.correction(kept.of, (before, old.is_failed()), meaning, &spoken.name)
        });
        if fact.is_none() {
            self.note(|progress| progress.uncorrectable += 1);
        }
        Ok(fact.filter(|_| self.purpose != Purpose::Show))
    }

    /// What is to be written; `None`: only the station can take apart what a carrier's frame brings that nobody could read.
    fn correction(
        &self,
        (entry, part): (Seq, u32),
        (before, unread): (Seq, bool),
        (device, messages): (Option<DeviceKey>, Vec<Message>),
        profile: &str,
    ) -> Option<Fact> {
        if unread && messages.iter().any(|message| matches!(message, Message::Relayed(_))) {
            return None;
        }
        let (by, why) = match &self.purpose {
            Purpose::Apply { by, why } => (by.clone(), why.clone()),
            Purpose::Shadow | Purpose::Show => Default::default(),
        };
        let outcome =
            FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind: Vec::new() };
        let (frame, before) = (entry.0, before.0);
        let (name, digest) = (self.adapter.name().to_owned(), self.adapter.digest);
        let adapter = AdapterRef { name, digest, profile: profile.to_owned() };
        Some(if part == 0 && !unread {
            Fact::Corrected { frame, before, adapter, device, outcome, by, why }
        } else {
            Fact::Reread { frame, part, before, adapter, device, outcome, by, why }
        })
    }

    /// As the device is spoken to now: a profile, too, may have been what was wrong. Behind a carrier it is that of then, unless
    /// something was decided since.
    fn spoken(&self, review: &Review, kept: &Kept<'_>, said: &Said) -> Result<Arc<Spoken>, ReviewError> {
        let (lifecycle, device) = (&review.lifecycle, said.device.as_ref());
        if kept.of.1 > 0 {
            let decided = lifecycle.decided(&self.adapter, kept.listener, device, None)?;
            if let Some(spoken) = decided.or_else(|| lifecycle.spoken_then(&said.profile)) {
                return Ok(spoken);
            }
        }
        Ok(lifecycle.spoken(&self.adapter, kept.listener, device)?)
    }

    fn correct(&self, review: &Review, facts: &mut Vec<Fact>) -> Result<(), ReviewError> {
        let count = facts.len() as u64;
        review.write(std::mem::take(facts))?;
        self.note(|progress| progress.corrected += count);
        Ok(())
    }
}

impl Review {
    /// Whether readings may come to a device by a correction. What was read once and turns out to be of one that is held is kept
    /// aside with it.
    fn lets_in(&self, listener: &str, device: &DeviceKey, was_unread: bool) -> Result<bool, ViewError> {
        let is_known = match self.views.standing(device)? {
            Some(standing) => !(was_unread && standing.held),
            None => self.listeners.get(listener).is_some_and(|listener| listener.accepts_strangers),
        };
        Ok(is_known || self.views.is_registered(device)?)
    }

    /// Whether what was told of it counts. What was kept aside of a stranger does once somebody has let him in.
    fn counts(&self, piece: &Piece<'_>) -> Result<bool, ViewError> {
        Ok(match (piece.outcome, piece.device) {
            (FrameOutcome::Decoded { duplicate: false, held: true, .. }, Some(device)) => {
                self.views.standing(device)?.is_some_and(|standing| !standing.held)
            }
            (FrameOutcome::Decoded { duplicate, held, .. }, _) => !duplicate && !held,
            (FrameOutcome::Fault { kind, .. }, _) => !matches!(kind, FaultKind::Refused | FaultKind::Noise),
        })
    }
}

fn parts<'a>(outcome: &'a FrameOutcome, from: impl Fn(u32, Piece<'a>) -> Kept<'a>) -> impl Iterator<Item = Kept<'a>> {
    outcome.parts().into_iter().map(move |found| from(found.number, Piece::from(&found)))
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
