//! A carrier's relayed payloads, taken apart: cut by the adapter of whoever is behind, decoded with what is known of him, and
//! kept as parts of the carrier's journal entry. What nobody can read yet is a part, too.

use super::route::{self, Candidate, Route};
use super::{Errand, Remembered, Sub, Subs};
use crate::adapter::{Adapter, Admission, Context, Decoded, Direction, Fault, Framing, Transport};
use crate::config::Speaks;
use crate::journal::{AdapterRef, CommandFact, CommandStep, FaultKind, FrameOutcome, Part, messages_bytes};
use crate::lifecycle::Stranger;
use crate::limits;
use crate::model::{Civil, DeviceKey, Digest, HexBytes, Message, Outcome, Relayed};
use crate::review::{Reading, Sample};
use crate::session::evidence::ValveTold;
use crate::session::{Door, Services, reference};
use crate::views::ViewError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Listens to those behind a carrier.
pub(super) struct Ear<'a> {
    pub services: &'a Services,
    pub door: &'a Door,
    pub subs: &'a mut Subs,
    pub errands: &'a [Errand],
    pub now: Civil,
    /// A frame of the past, or of a carrier that nobody has let in: it answers nobody.
    pub past: bool,
    /// The session that asks.
    session: u64,
    pub heard: Heard,
    room_bytes: usize,
    room_parts: usize,
}

/// What came of it besides the parts.
#[derive(Default)]
pub(super) struct Heard {
    pub steps: Vec<CommandFact>,
    pub valves: Vec<(DeviceKey, Vec<ValveTold>)>,
    pub memories: Vec<Remembered>,
    /// Of questions under way, by command.
    pub told: Vec<(u64, Told)>,
    /// Replies to what nobody had asked for.
    pub unasked: Vec<(Route, Vec<u8>)>,
    /// To be counted once it is kept.
    pub frames: Vec<(Arc<str>, bool)>,
    pub faults: Vec<(String, FaultKind)>,
    /// Versions that somebody behind has made fail or run long lately, and as whom the carrier has brought him.
    pub harmed: BTreeSet<(Digest, Option<DeviceKey>)>,
}

/// What a frame tells about a question under way.
#[derive(Default)]
pub(super) struct Told {
    /// The carrier's own word, and its reason.
    pub carrier: Option<(Outcome, String, u32)>,
    /// A whole frame of the device came.
    pub spoke: bool,
    /// That was the answer.
    pub answered: bool,
    /// There will be more of it.
    pub more: bool,
    /// What the adapter says to it.
    pub reply: Option<Vec<u8>>,
    /// Who spoke up instead.
    pub other: Option<DeviceKey>,
}

/// Where a piece is: its message, where it begins in the payload, and its length.
type Place = (u16, u32, u32);

/// A piece of a payload that an adapter takes.
enum Piece {
    Frame { bytes: usize, candidate: usize, adapter: Arc<Adapter> },
    Skip(usize),
    Nobody(FaultKind, String),
}

/// What an adapter makes of a frame, under which profile, and whose it is.
struct Said {
    device: Option<DeviceKey>,
    profile: String,
    options: String,
    decoded: Result<Decoded, Fault>,
}

/// A frame of somebody behind, and what was known before it was read.
struct From<'f, 'a> {
    candidate: &'f Candidate,
    adapter: &'f Adapter,
    relayed: &'f Relayed,
    errand: Option<&'a Errand>,
    level: usize,
}

/// The parts of a frame that is read again, without its session.
pub fn read_again(
    services: &Services,
    door: &Door,
    carrier: &DeviceKey,
    messages: &[Message],
    now: Civil,
) -> Result<Vec<Part>, ViewError> {
    let mut subs = Subs::default();
    let mut ear = Ear::new(services, door, &mut subs, &[], now, 0);
    ear.past = true;
    ear.hear(carrier, messages, 0)
}

impl<'a> Ear<'a> {
    pub fn new(
        services: &'a Services,
        door: &'a Door,
        subs: &'a mut Subs,
        errands: &'a [Errand],
        now: Civil,
        session: u64,
    ) -> Self {
        let (heard, past) = (Heard::default(), false);
        let (room_bytes, room_parts) = (limits::PARTS_BYTES_MAX, limits::PARTS_OF_FRAME_MAX);
        Self { services, door, subs, errands, now, past, session, heard, room_bytes, room_parts }
    }

    /// Takes what `carrier` brings; `level` counts the carriers before it.
    pub fn hear(&mut self, carrier: &DeviceKey, messages: &[Message], level: usize) -> Result<Vec<Part>, ViewError> {
        let mut parts = Vec::new();
        let mut passed_over = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            match message {
                Message::Answer(answer) => {
                    if let Some(id) = self.errand(level, &answer.correlation.0).map(|errand| errand.id) {
                        let word = (answer.outcome, answer.reason.clone(), answer.raw_code);
                        self.told(id).carrier = Some(word);
                    }
                }
                Message::Relayed(relayed) => {
                    passed_over.extend(self.payload(carrier, relayed, at as u16, level, &mut parts)?);
                }
                _ => {}
            }
        }
        // One word for all of them: whatever is said of each has to find room in the entry.
        if let Some(first) = passed_over.first() {
            let why = format!(
                "carriers behind carriers, or pieces of one frame: more than a station takes apart; not looked at from here on: {}",
                passed_over.len()
            );
            self.heard.faults.push((String::new(), FaultKind::Resources));
            parts.push(fault(*first, None, None, (FaultKind::Resources, &why)));
        }
        Ok(parts)
    }

    /// The question under way that a carrier calls so.
    fn errand(&self, level: usize, correlation: &[u8]) -> Option<&'a Errand> {
        let called = |errand: &&Errand| errand.hops.get(level).is_some_and(|hop| hop.correlation == correlation);
        (!correlation.is_empty()).then(|| self.errands.iter().find(called)).flatten()
    }

    fn told(&mut self, id: u64) -> &mut Told {
        let at = self.heard.told.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            self.heard.told.push((id, Told::default()));
            self.heard.told.len() - 1
        });
        &mut self.heard.told[at].1
    }

    /// Takes one payload apart; gives the place from which on there was no room for more.
    fn payload(
        &mut self,
        carrier: &DeviceKey,
        relayed: &Relayed,
        message: u16,
        level: usize,
        parts: &mut Vec<Part>,
    ) -> Result<Option<Place>, ViewError> {
        let (errand, candidates) = self.candidates(carrier, relayed, level)?;
        let payload = &relayed.payload.0;
        let mut from = 0;
        while from < payload.len() {
            let rest = &payload[from..];
            let place = |bytes: usize| (message, from as u32, bytes as u32);
            let room = self.room_parts > 0 && self.room_bytes >= limits::PART_BYTES_MAX;
            if !room || level >= limits::RELAY_DEPTH_MAX {
                return Ok(Some(place(rest.len())));
            }
            match self.cut(&candidates, relayed, rest) {
                Piece::Skip(bytes) => from += bytes.clamp(1, rest.len()),
                Piece::Nobody(kind, why) => {
                    self.set_aside();
                    let device = candidates.first().and_then(|c| c.device.clone());
                    self.heard.faults.push((String::new(), kind));
                    parts.push(fault(place(rest.len()), device, None, (kind, &why)));
                    break;
                }
                Piece::Frame { bytes, candidate, adapter } => {
                    self.set_aside();
                    let from_whom =
                        From { candidate: &candidates[candidate], adapter: &adapter, relayed, errand, level };
                    let part = self.part(place(bytes), &from_whom, &rest[..bytes])?;
                    parts.push(part);
                    from += bytes;
                }
            }
        }
        Ok(None)
    }

    /// Who may have sent a payload: whoever is being asked, if it is an answer.
    fn candidates(
        &self,
        carrier: &DeviceKey,
        relayed: &Relayed,
        level: usize,
    ) -> Result<(Option<&'a Errand>, Vec<Candidate>), ViewError> {
        let errand = relayed.correlation.as_ref().and_then(|c| self.errand(level, &c.0));
        let asked = errand.and_then(|errand| errand.hops.get(level)).map(|hop| &hop.route);
        let candidates = match asked {
            Some(route) => vec![Candidate { device: Some(route.device.clone()), speaks: route.speaks.clone() }],
            None => route::from(self.services, self.door, carrier, relayed)?,
        };
        Ok((errand, candidates))
    }

    /// Whether a version may be asked about somebody here who has made it fail or run long lately. Whom the carrier does not name
    /// stands for all whom it does not. One look where nobody has.
    pub fn brings_a_suspects(&self, carrier: &DeviceKey, messages: &[Message]) -> bool {
        let Services { lifecycle, catalog, .. } = self.services;
        let is_suspect = |Candidate { device, speaks }: &Candidate| {
            let active = catalog.active(&speaks.adapter);
            active.is_some_and(|adapter| lifecycle.is_suspect(&adapter, device.as_ref().unwrap_or(carrier).as_str()))
        };
        lifecycle.has_suspects()
            && messages.iter().any(|message| {
                let Message::Relayed(relayed) = message else { return false };
                self.candidates(carrier, relayed, 0).is_ok_and(|(_, candidates)| candidates.iter().any(is_suspect))
            })
    }

    /// Room for one more part, without its messages.
    fn set_aside(&mut self) {
        self.room_parts -= 1;
        self.room_bytes -= limits::PART_BYTES_MAX;
    }

    /// Which adapter takes the front of a payload. A whole frame of a later one beats what an earlier one would wait for.
    fn cut(&mut self, candidates: &[Candidate], relayed: &Relayed, rest: &[u8]) -> Piece {
        let (mut skip, mut incomplete, mut fault) = (None, false, None);
        for (candidate, maybe) in candidates.iter().enumerate() {
            let Candidate { device, speaks } = maybe;
            let Some(adapter) = self.services.catalog.active(&speaks.adapter) else {
                fault = Some((FaultKind::Foreign, format!("adapter {} does not serve", speaks.adapter)));
                continue;
            };
            match adapter.frame(&speaks.options, rest) {
                Ok(Framing::Frame(bytes)) => return Piece::Frame { bytes, candidate, adapter },
                Ok(Framing::Incomplete(_)) => incomplete = true,
                Ok(Framing::Skip(bytes)) => skip = Some(skip.map_or(bytes, |least: usize| least.min(bytes))),
                Ok(Framing::Foreign) => {}
                Err(failed) => {
                    let stranger = device.is_none().then_some(Stranger { peer: &relayed.target, frame: rest });
                    self.judge(&adapter, maybe, device.as_ref(), stranger, Some(&failed));
                    fault = Some((failed.kind, failed.detail));
                }
            }
        }
        match (skip, fault) {
            (Some(bytes), _) => Piece::Skip(bytes),
            (None, Some((kind, why))) => Piece::Nobody(kind, why),
            (None, None) if incomplete => Piece::Nobody(FaultKind::Corrupt, "the payload ends inside a frame".into()),
            (None, None) if candidates.is_empty() => {
                let why = format!(
                    "nobody is said to read `{}` behind this carrier; name an adapter in the registry, or in `relays` of listener `{}`",
                    relayed.protocol, self.door.name
                );
                Piece::Nobody(FaultKind::Foreign, why)
            }
            (None, None) => {
                Piece::Nobody(FaultKind::Foreign, "no adapter behind this carrier takes these bytes".into())
            }
        }
    }

    /// One frame of somebody behind.
    fn part(&mut self, place: Place, from: &From<'_, 'a>, raw: &[u8]) -> Result<Part, ViewError> {
        let From { candidate, adapter, relayed, level, .. } = *from;
        let shadow = if self.past { None } else { self.services.review.hears(adapter.name()) };
        let said = self.decode(candidate, adapter, raw)?;
        let stranger = said.device.is_none().then_some(Stranger { peer: &relayed.target, frame: raw });
        self.judge(adapter, candidate, said.device.as_ref(), stranger, said.decoded.as_ref().err());
        if let Some(shadow) = shadow {
            shadow.offer(self.sample(adapter, raw, &said));
        }
        let Said { device, profile, mut decoded, .. } = said;
        let by = Some(reference(adapter, &profile));
        let size = |decoded: &Decoded| messages_bytes(&decoded.messages);
        if let (Ok(decoded), Some(device)) = (&mut decoded, &device) {
            self.services.views.name_subjects(device, &mut decoded.messages)?;
        }
        let decoded = match decoded {
            Ok(decoded) if size(&decoded) > self.room_bytes => {
                let detail = "what it says does not fit into this entry besides what others say";
                Err(Fault::new(FaultKind::Resources, detail))
            }
            other => other,
        };
        let mut decoded = match decoded {
            Ok(decoded) => decoded,
            Err(failed) => {
                self.heard.faults.push((adapter.name().to_owned(), failed.kind));
                return Ok(fault(place, device, by, (failed.kind, &failed.detail)));
            }
        };
        adapter.answered.fetch_add(1, Ordering::Relaxed);
        self.room_bytes = self.room_bytes.saturating_sub(size(&decoded));
        let admission = device.as_ref().and_then(|device| self.subs.get(device)).map(|sub| sub.admission);
        if admission == Some(Admission::Refused) {
            let why = "the device is unknown and this listener refuses unknown devices; register it to let it in";
            self.heard.faults.push((adapter.name().to_owned(), FaultKind::Refused));
            return Ok(fault(place, device, by, (FaultKind::Refused, why)));
        }
        if let Some(device) = &device
            && !self.past
        {
            if let Some(sub) = self.subs.get(device)
                && std::mem::take(&mut sub.taken_over)
            {
                decoded.memory.get_or_insert_with(|| sub.memory.clone());
            }
            self.take(device, &decoded, admission, from);
        }
        self.heard.frames.push((adapter.shared_name().clone(), decoded.duplicate));
        let behind = match &device {
            Some(device) if !decoded.duplicate => self.hear(device, &decoded.messages, level + 1)?,
            _ => Vec::new(),
        };
        let outcome = FrameOutcome::Decoded {
            messages: decoded.messages,
            memory: decoded.memory.filter(|_| !self.past).map(HexBytes),
            duplicate: decoded.duplicate,
            held: admission == Some(Admission::Held),
            behind,
        };
        let (message, from, bytes) = place;
        Ok(Part { message, from, bytes, device, adapter: by, outcome })
    }

    /// What it means for commands, and what is to be remembered.
    fn take(&mut self, device: &DeviceKey, decoded: &Decoded, admission: Option<Admission>, from: &From<'_, 'a>) {
        let From { errand, level, relayed, .. } = *from;
        if let Some(sub) = self.subs.get(device) {
            if let Some(state) = &decoded.state {
                sub.state.clone_from(state);
            }
            if let Some(memory) = &decoded.memory {
                sub.memory.clone_from(memory);
                sub.ahead = true;
            }
        }
        let by = Some(from.adapter.digest);
        let remembered = decoded.memory.clone().map(|memory| Remembered { device: device.clone(), memory, by });
        self.heard.memories.extend(remembered);
        // Another one than was asked may speak up: his words answer nothing that was asked of somebody else.
        let asked = errand.filter(|errand| errand.device == *device && errand.hops.len() == level + 1);
        if let Some(errand) = errand.filter(|errand| errand.device != *device && errand.hops.len() == level + 1) {
            self.told(errand.id).other = Some(device.clone());
        }
        let answers = decoded.messages.iter().filter_map(|message| match message {
            Message::Answer(answer) if !decoded.duplicate => Some(answer),
            _ => None,
        });
        let before = self.heard.steps.len();
        for answer in answers.filter(|_| admission == Some(Admission::Welcome)) {
            let step = self.services.desk.answered(device, answer, self.session);
            if let Some(errand) = asked {
                let told = self.told(errand.id);
                let is_late = |step: &CommandFact| matches!(step.step, CommandStep::Late { .. });
                told.answered |= step.as_ref().is_some_and(|step| step.id == errand.id && !is_late(step));
                told.more |= answer.more_follows && answer.correlation.0 == errand.correlation;
            }
            self.heard.steps.extend(step);
        }
        let valves = self.services.valves_told(decoded, &self.heard.steps[before..]);
        if !valves.is_empty() {
            self.heard.valves.push((device.clone(), valves));
        }
        match asked {
            Some(errand) => {
                let told = self.told(errand.id);
                told.spoke = true;
                told.reply = decoded.reply.clone().or(told.reply.take());
            }
            None if level == 0 && errand.is_none() => {
                let route = |reply| (unasked(device, relayed, &from.candidate.speaks), reply);
                self.heard.unasked.extend(decoded.reply.clone().map(route));
            }
            // Who was not asked, or is too far away, is not answered.
            None => {}
        }
    }

    /// Decodes with what is known of the sender, under the profile that is his; whom the payload itself names counts more than
    /// whom the carrier names.
    fn decode(&mut self, candidate: &Candidate, adapter: &Adapter, raw: &[u8]) -> Result<Said, ViewError> {
        let (named, speaks) = (candidate.device.clone(), &candidate.speaks);
        let said = |decoded| {
            let (profile, options) = (speaks.profile.clone(), speaks.options.clone());
            Said { device: named.clone(), profile, options, decoded }
        };
        let decoded = match self.call(adapter, &speaks.options, named.as_ref(), raw)? {
            Ok(decoded) => decoded,
            failed @ Err(_) => return Ok(said(failed)),
        };
        let Some(sender) = &decoded.sender else { return Ok(said(Ok(decoded))) };
        match DeviceKey::new(adapter.realm(), &sender.address) {
            Ok(device) if named.as_ref() == Some(&device) => Ok(said(Ok(decoded))),
            Ok(device) => {
                let speaks = route::spoken(self.services, self.door, &device, speaks)?;
                let decoded = self.call(adapter, &speaks.options, Some(&device), raw)?;
                Ok(Said { device: Some(device), profile: speaks.profile, options: speaks.options, decoded })
            }
            Err(error) => Ok(said(Err(Fault::new(FaultKind::Contract, error.to_string())))),
        }
    }

    /// The frame and what was known when it was read, for a shadow; nothing of it was taken in yet.
    fn sample(&mut self, adapter: &Adapter, raw: &[u8], said: &Said) -> Sample {
        let sub = said.device.as_ref().and_then(|device| self.subs.get(device)).cloned();
        let sub = sub.unwrap_or_else(|| Sub::new(Vec::new(), Admission::Undecided));
        Sample {
            options: said.options.clone(),
            now: self.now,
            transport: Transport::Relay,
            admission: sub.admission,
            pending: said.device.as_ref().map_or(0, |device| self.pending(device)),
            device: said.device.clone(),
            memory: sub.memory,
            state: sub.state,
            left_by: adapter.digest,
            state_version: adapter.manifest.state_version,
            frame: raw.to_vec(),
            reading: Reading::of(adapter.realm(), &said.decoded),
        }
    }

    /// Puts down to whoever has sent it what a call has cost, and whether the sandbox had to end it.
    fn judge(
        &mut self,
        adapter: &Adapter,
        brought_as: &Candidate,
        device: Option<&DeviceKey>,
        stranger: Option<Stranger<'_>>,
        failed: Option<&Fault>,
    ) {
        judge(self.services, adapter, device, stranger, failed.filter(|_| !self.past));
        let lifecycle = &self.services.lifecycle;
        if lifecycle.has_suspects() && lifecycle.is_suspect(adapter, device.map_or("", DeviceKey::as_str)) {
            self.heard.harmed.insert((adapter.digest, brought_as.device.clone()));
        }
    }

    fn pending(&self, device: &DeviceKey) -> u32 {
        self.services.desk.pending(device, self.services.clock.moment())
    }

    fn call(
        &mut self,
        adapter: &Adapter,
        options: &str,
        device: Option<&DeviceKey>,
        raw: &[u8],
    ) -> Result<Result<Decoded, Fault>, ViewError> {
        let stranger = Sub::new(Vec::new(), Admission::Undecided);
        let pending = device.map_or(0, |device| self.pending(device));
        let sub = match device {
            Some(device) => load(self.services, self.door, self.subs, device, (adapter, options))?,
            None => &stranger,
        };
        let context = Context {
            now: self.now,
            direction: Direction::Uplink,
            transport: Transport::Relay,
            admission: sub.admission,
            pending,
            device: device.map(|device| (device.address(), sub.memory.as_slice())),
            state: &sub.state,
        };
        let decoded = adapter.decode(options, &context, raw);
        if device.is_none() && decoded.is_ok() && !self.past {
            adapter.met.fetch_add(1, Ordering::Relaxed);
        }
        Ok(decoded)
    }
}

/// The same, for what is asked of somebody. Those whom nobody knows are one source.
pub(super) fn judge(
    services: &Services,
    adapter: &Adapter,
    device: Option<&DeviceKey>,
    stranger: Option<Stranger<'_>>,
    failed: Option<&Fault>,
) {
    let source = device.map_or("", DeviceKey::as_str);
    if adapter.has_long_calls() {
        services.lifecycle.account(adapter, source);
    }
    if let Some(fault) = failed.filter(|fault| fault.kind.is_sandbox()) {
        services.lifecycle.struck_over(adapter, source, stranger, fault);
    }
}

/// What is known of a device behind; read from the views when it is new here, and put into this version's words.
pub(super) fn load<'s>(
    services: &Services,
    door: &Door,
    subs: &'s mut Subs,
    device: &DeviceKey,
    (adapter, options): (&Adapter, &str),
) -> Result<&'s mut Sub, ViewError> {
    let mut shown_by = None;
    let met = subs.get(device).is_none();
    if met {
        let row = services.views.standing(device)?;
        let admission = services.admission(door.unknown, device, row.as_ref())?;
        shown_by = row.as_ref().and_then(|row| row.adapter);
        subs.keep(device, Sub::new(row.map(|row| row.memory.0).unwrap_or_default(), admission));
    }
    let remembered = match services.registry.remembered(device) {
        Some((newer, by)) => Some((newer.to_vec(), by)),
        None if met => None,
        // The device may have been asked through another carrier meanwhile, or its memory forgotten: what the views show counts.
        None => services.views.standing(device)?.map(|row| (row.memory.0, row.adapter)),
    };
    let sub = subs.get(device).ok_or(ViewError::Damaged { view: "devices" })?;
    if !met {
        services.admit_at_last(&mut sub.admission, device, adapter.name())?;
    }
    let mut left_by = shown_by.or(sub.state_of.map(|(digest, _)| digest));
    if let Some((newer, by)) = remembered.filter(|_| !sub.ahead && !sub.taken_over) {
        sub.memory = newer;
        left_by = by.or(left_by);
    }
    let now = (adapter.digest, adapter.manifest.state_version);
    if sub.state_of != Some(now) {
        let (lifecycle, source) = (&services.lifecycle, device.as_str());
        // What another version has kept is taken over or given up, and never misread; another adapter's is nobody else's.
        if let Some((digest, layout)) = sub.state_of.filter(|(digest, _)| *digest != now.0) {
            if lifecycle.row(&digest).is_none_or(|row| row.name != adapter.name()) {
                sub.state.clear();
            } else if layout != now.1 {
                let taken = lifecycle.state_for(adapter, options, (layout, &sub.state), source);
                sub.state = taken.unwrap_or_default();
            }
        }
        if let Some(memory) = lifecycle.memory_for(adapter, options, (left_by, &sub.memory), source) {
            sub.memory = memory;
            sub.taken_over = true;
        }
        sub.state_of = Some(now);
    }
    Ok(sub)
}

/// The way back to somebody who spoke up himself; nobody waits for an answer there.
fn unasked(device: &DeviceKey, relayed: &Relayed, speaks: &Speaks) -> Route {
    let target = if relayed.target.is_empty() { device.address() } else { &relayed.target };
    Route {
        device: device.clone(),
        target: target.to_owned(),
        protocol: relayed.protocol.clone(),
        channel: relayed.channel,
        timeout_s: 0,
        speaks: speaks.clone(),
    }
}

/// Its detail is cut to what is set aside for it.
fn fault(
    (message, from, bytes): Place,
    device: Option<DeviceKey>,
    adapter: Option<AdapterRef>,
    (kind, detail): (FaultKind, &str),
) -> Part {
    let detail = detail[..detail.floor_char_boundary(limits::TEXT_BYTES_MAX)].to_owned();
    Part { message, from, bytes, device, adapter, outcome: FrameOutcome::Fault { kind, detail } }
}
