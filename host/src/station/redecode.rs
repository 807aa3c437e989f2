//! Quarantined frames, and parts of what carriers brought, read again once another version of their adapter serves, or who sent
//! them is let in.
//!
//! A frame is read on its own, without the session it came in: state is empty, the device's memory is as it is now.
//! What can be read becomes an entry that points at the kept frame; nothing is sent to anybody, nobody who serves devices
//! waits for it, and a version that harms frame after frame is not asked about all of them. A frame that means more than an entry
//! takes is passed over: it stays in quarantine, which then says so.
//!
//! What came while nobody served was kept as it came: with what a session would have skipped, or several frames at once. Those
//! are told as parts of an entry that has no sender.

use crate::adapter::{Adapter, Admission, Context, Decoded, Direction, Framing, Transport};
use crate::background;
use crate::config::Unknown;
use crate::journal::{AdapterRef, Entry, Fact, FaultKind, FrameFact, FrameOutcome, Part};
use crate::lifecycle::Spoken;
use crate::limits;
use crate::model::{DeviceKey, HexBytes, Message, Relayed, Seq};
use crate::session::relay;
use crate::session::{Door, REFUSED, Services};
use crate::views::{QuarantineFilter, QuarantineRow, ViewError};
use std::sync::Arc;

/// Reads again what `adapter` (or nobody) could not.
pub(super) async fn quarantined(services: &Arc<Services>, adapter: &str) {
    let Some(adapter) = services.catalog.active(adapter) else { return };
    // What comes of a frame may stay in quarantine itself, and that is not this round's.
    let until = services.journal.health().last_seq;
    let mut after = None;
    let (mut read, mut left, mut harmed) = (0, 0, 0);
    loop {
        let found = {
            let (services, adapter, after) = (services.clone(), adapter.clone(), after.take());
            background::run("adapter-redecode", move || batch(&services, &adapter, (after.as_deref(), until, harmed)))
                .await
        };
        let batch = match found {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return again_later(services, &adapter, &error.to_string()),
            None => return again_later(services, &adapter, "they could not be looked at"),
        };
        harmed = batch.harmed;
        after = batch.next;
        left += batch.unread;
        read += batch.read;
        if !batch.facts.is_empty()
            && let Err(error) = services.commit(batch.facts).await
        {
            return again_later(services, &adapter, &error);
        }
        if after.is_none() || harmed >= limits::STRIKES_MAX {
            break;
        }
    }
    if read + left > 0 {
        tracing::info!(adapter = adapter.name(), read, left, "quarantined frames read again");
    }
}

fn again_later(services: &Arc<Services>, adapter: &Adapter, error: &str) {
    tracing::warn!(%error, "frames that can be read again stay in quarantine, and are tried again in a while");
    let (services, name) = (services.clone(), adapter.name().to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(limits::STORE_RETRY_MAX).await;
        services.lifecycle.read_again([name].into());
    });
}

struct Batch {
    /// Where the next batch begins; `None`: this was the last.
    next: Option<String>,
    facts: Vec<Fact>,
    read: usize,
    unread: usize,
    /// Frames over which the sandbox had to stop it, those of earlier batches included.
    harmed: usize,
}

fn batch(
    services: &Services,
    adapter: &Adapter,
    (after, until, harmed): (Option<&str>, Seq, usize),
) -> Result<Batch, ViewError> {
    let waiting = services.views.quarantine(&QuarantineFilter::default(), after, limits::PAGE_ROWS_DEFAULT)?;
    let mut batch = Batch { next: waiting.next, facts: Vec::new(), read: 0, unread: 0, harmed };
    for row in waiting.rows {
        if batch.harmed >= limits::STRIKES_MAX {
            break;
        }
        if row.seq > until {
            batch.next = None;
            break;
        }
        // Noise is not for any adapter to read, nor what stands for more than a station takes apart, nor who is not let in.
        let let_in = |device: &DeviceKey| services.is_let_in(device).unwrap_or(false);
        let hopeless = match row.kind {
            FaultKind::Refused => !row.device.as_ref().is_some_and(let_in),
            FaultKind::Noise => true,
            FaultKind::Resources => row.adapter.is_none(),
            _ => false,
        };
        if hopeless || row.adapter.as_ref().is_some_and(|a| a.name != adapter.name()) {
            continue;
        }
        let Ok(Some(kept)) = services.journal.reader().get(row.seq) else { continue };
        let Ok(Entry { fact, .. }) = kept.entry else { continue };
        let read = match fact {
            Fact::Frame(frame) if row.part == 0 => read(services, adapter, &frame, row.at_ms),
            Fact::Frame(FrameFact { outcome, device, .. })
            | Fact::Redecoded { outcome, device, .. }
            | Fact::Reread { outcome, device, .. } => read_part(services, adapter, &row, &outcome, device.as_ref()),
            _ => continue,
        };
        match read {
            Ok(Read { device, profile, outcome }) => {
                let (frame, part) = (row.seq.0, row.part);
                let fact = Fact::Redecoded { frame, device, adapter: adapter.digest, outcome, profile, part };
                let mut entry = Entry { at_ms: services.clock.now_ms(), fact };
                let too_much = entry.keep_bytes_at_least();
                batch.unread += usize::from(too_much);
                batch.read += usize::from(!too_much);
                batch.facts.push(entry.fact);
            }
            Err(stopped) => {
                batch.unread += 1;
                batch.harmed += usize::from(stopped);
            }
        }
        // What it has cost here is no fault of whoever speaks to it next.
        let _ = adapter.take_long_calls();
    }
    Ok(batch)
}

/// What could be read at last.
struct Read {
    /// `None`: it is several frames, each with a sender of its own.
    device: Option<DeviceKey>,
    profile: String,
    outcome: FrameOutcome,
}

/// What the adapter makes of what was kept, frame by frame; if still nothing, whether the sandbox had to stop it.
fn read(services: &Services, adapter: &Adapter, kept: &FrameFact, at_ms: i64) -> Result<Read, bool> {
    let door = door(services, &kept.listener);
    // What no adapter took is for those of its own listener alone: who may say what there was decided for them.
    let speaks = |door: &Arc<Door>| door.adapters.iter().any(|speaks| speaks.adapter == adapter.name());
    if kept.adapter.is_none() && !door.is_some_and(speaks) {
        return Err(false);
    }
    let spoken = services.lifecycle.spoken(adapter, &kept.listener, kept.device.as_ref()).map_err(|_| false)?;
    let frames = frames(adapter, &spoken.options, &kept.raw.0)?;
    match frames[..] {
        [] => read_one(services, adapter, kept, &kept.raw.0, at_ms),
        [(_, frame)] => read_one(services, adapter, kept, frame, at_ms),
        _ => read_several(services, adapter, kept, &frames, at_ms),
    }
}

fn door<'s>(services: &'s Services, listener: &str) -> Option<&'s Arc<Door>> {
    services.doors.iter().find(|door| door.name == listener)
}

/// The frames in what was kept, and where they begin. What is behind the last whole one would be noise in a session, too.
fn frames<'k>(adapter: &Adapter, options: &str, kept: &'k [u8]) -> Result<Vec<(usize, &'k [u8])>, bool> {
    let (mut frames, mut from, mut skipped) = (Vec::new(), 0, 0);
    while from < kept.len() && skipped <= limits::NOISE_BYTES_MAX && frames.len() <= limits::PARTS_OF_FRAME_MAX {
        match adapter.frame(options, &kept[from..]) {
            Ok(Framing::Frame(bytes)) => {
                frames.push((from, &kept[from..from + bytes]));
                from += bytes;
            }
            Ok(Framing::Skip(bytes)) => (from, skipped) = (from + bytes, skipped + bytes),
            Ok(Framing::Incomplete(_) | Framing::Foreign) => break,
            Err(fault) if fault.kind.is_sandbox() => return Err(true),
            Err(_) => break,
        }
    }
    Ok(frames)
}

/// Several frames that came at once: a piece each, told as what a carrier brings. What is no frame among them stays in quarantine.
fn read_several(
    services: &Services,
    adapter: &Adapter,
    kept: &FrameFact,
    frames: &[(usize, &[u8])],
    at_ms: i64,
) -> Result<Read, bool> {
    if frames.len() > limits::PARTS_OF_FRAME_MAX {
        return Err(false);
    }
    let mut behind = Vec::with_capacity(frames.len());
    for (from, frame) in frames {
        let (device, profile, outcome) = match read_one(services, adapter, kept, frame, at_ms) {
            Ok(Read { device, profile, outcome }) => (device, profile, outcome),
            Err(true) => return Err(true),
            Err(false) => {
                let detail = "it came with others that can be read, and cannot".to_owned();
                (None, String::new(), FrameOutcome::Fault { kind: FaultKind::Corrupt, detail })
            }
        };
        let by = AdapterRef { name: adapter.name().to_owned(), digest: adapter.digest, profile };
        let (from, bytes) = (*from as u32, frame.len() as u32);
        behind.push(Part { message: 0, from, bytes, device, adapter: Some(by), outcome });
    }
    if !behind.iter().any(|part| matches!(part.outcome, FrameOutcome::Decoded { .. })) {
        return Err(false);
    }
    let (target, protocol) = (String::new(), adapter.name().to_owned());
    let carried = Relayed { target, protocol, channel: 0, payload: HexBytes(kept.raw.0.clone()), correlation: None };
    let messages = vec![Message::Relayed(carried)];
    let outcome = FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind };
    Ok(Read { device: None, profile: String::new(), outcome })
}

/// One frame of what was kept.
fn read_one(services: &Services, adapter: &Adapter, kept: &FrameFact, raw: &[u8], at_ms: i64) -> Result<Read, bool> {
    let spoken =
        |device: Option<&DeviceKey>| services.lifecycle.spoken(adapter, &kept.listener, device).map_err(|_| false);
    let door = door(services, &kept.listener);
    let read_as = |device: Option<&DeviceKey>| {
        let from = From { transport: door.map(|door| door.transport), at_ms, device, raw };
        decode(services, adapter, &spoken(device)?.options, &from, spoken)
    };
    // Whom the transport names, the entry tells only where he had been greeted by then.
    let named = || DeviceKey::new(adapter.realm(), &door?.address_of(&kept.peer)?).ok();
    let known = kept.device.clone().or_else(named);
    // Behind a gateway it may be another's than that of whoever had spoken before.
    let as_nobodys = |stopped: bool| if stopped || known.is_none() { Err(stopped) } else { read_as(None) };
    let (device, spoken, decoded) = read_as(known.as_ref()).or_else(as_nobodys)?;
    let outcome = outcome(services, door, &device, decoded, at_ms).map_err(|_| false)?;
    Ok(Read { profile: spoken.name.clone(), device: Some(device), outcome })
}

/// What it makes of a kept part, if it is the one to read it.
fn read_part(
    services: &Services,
    adapter: &Adapter,
    row: &QuarantineRow,
    told: &FrameOutcome,
    carrier: Option<&DeviceKey>,
) -> Result<Read, bool> {
    let found = told.part(row.part).ok_or(false)?;
    let Some(carrier) = found.carrier.and_then(|part| part.device.as_ref()).or(carrier) else {
        // One of several frames that came at once.
        let (seq, _, kept) = services.journal.reader().first_told(row.seq).ok().flatten().ok_or(false)?;
        return if seq == row.seq { Err(false) } else { read_one(services, adapter, &kept, found.raw, row.at_ms) };
    };
    let door = door(services, &row.listener).ok_or(false)?;
    let speakers = relay::speakers(services, door, carrier, &found).map_err(|_| false)?;
    let speaker = speakers.into_iter().find(|(_, speaks)| speaks.adapter == adapter.name());
    let (device, spoken) = match (speaker, &row.adapter) {
        (Some((device, speaks)), _) => (device, Spoken { name: speaks.profile, options: speaks.options }),
        // Who it was read by is known, whatever the registry says by now.
        (None, Some(before)) => {
            (row.device.clone(), Spoken::clone(&*services.lifecycle.spoken_then(&before.profile).ok_or(false)?))
        }
        (None, None) => return Err(false),
    };
    let device = device.or(row.device.clone());
    let from = From { transport: Some(Transport::Relay), at_ms: row.at_ms, device: device.as_ref(), raw: found.raw };
    let as_it_is = Arc::new(spoken);
    let (device, spoken, decoded) = decode(services, adapter, &as_it_is.options, &from, |_| Ok(as_it_is.clone()))?;
    let outcome = outcome(services, Some(door), &device, decoded, row.at_ms).map_err(|_| false)?;
    Ok(Read { profile: spoken.name.clone(), device: Some(device), outcome })
}

/// Kept bytes, and who is thought to have sent them.
struct From<'a> {
    /// `None`: the listener is configured no more.
    transport: Option<Transport>,
    at_ms: i64,
    device: Option<&'a DeviceKey>,
    raw: &'a [u8],
}

/// Decodes as of then, with what is known of the device now.
fn decode(
    services: &Services,
    adapter: &Adapter,
    first: &str,
    from: &From<'_>,
    spoken: impl Fn(Option<&DeviceKey>) -> Result<Arc<Spoken>, bool>,
) -> Result<(DeviceKey, Arc<Spoken>, Decoded), bool> {
    let with = |options: &str, device: Option<(&str, &[u8])>| {
        let (direction, admission, transport) = (Direction::Uplink, Admission::Welcome, Transport::Stream);
        let now = services.clock.civil(from.at_ms);
        let context = Context { now, direction, transport, admission, pending: 0, device, state: &[] };
        let read = adapter.decode_kept(options, &context, from.transport, from.raw).ok_or(false)?;
        read.map_err(|fault| fault.kind.is_sandbox())
    };
    let device = match (with(first, None)?.sender, from.device) {
        (Some(sender), _) => DeviceKey::new(adapter.realm(), &sender.address).map_err(|_| false)?,
        (None, device) => device.ok_or(false)?.clone(),
    };
    let spoken = spoken(Some(&device))?;
    let row = services.views.device(&device).map_err(|_| false)?;
    let left_by = row.as_ref().and_then(|row| row.adapter.as_ref()).map(|adapter| adapter.digest);
    let memory = row.map(|row| row.memory.0).unwrap_or_default();
    let taken_over = services.lifecycle.memory_for(adapter, &spoken.options, (left_by, &memory), device.as_str());
    let memory = taken_over.unwrap_or(memory);
    let decoded = with(&spoken.options, Some((device.address(), &memory)))?;
    Ok((device, spoken, decoded))
}

/// What it means. A stranger is no less one for having been unreadable, and of a listener that is configured no more nobody
/// knows whom it let in. Where the views cannot be read nobody knows of whom: it stays in quarantine.
fn outcome(
    services: &Services,
    door: Option<&Arc<Door>>,
    device: &DeviceKey,
    decoded: Decoded,
    at_ms: i64,
) -> Result<FrameOutcome, ViewError> {
    let unknown = door.map_or(Unknown::Refuse, |door| door.unknown);
    let is_welcome = services.is_welcome(unknown, device, services.views.standing(device)?.as_ref())?;
    if !is_welcome && unknown == Unknown::Refuse {
        return Ok(FrameOutcome::Fault { kind: FaultKind::Refused, detail: REFUSED.into() });
    }
    let mut messages = decoded.messages;
    services.views.name_subjects(device, &mut messages)?;
    let read = door.map(|door| relay::read_again(services, door, device, &messages, services.clock.civil(at_ms)));
    let behind = read.transpose()?.unwrap_or_default();
    Ok(FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: !is_welcome, behind })
}
