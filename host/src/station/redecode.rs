//! Quarantined frames, and parts of what carriers brought, read again once another version of their adapter serves, or who sent
//! them is let in.
//!
//! A frame is read on its own, without the session it came in: state is empty, the device's memory is as it is now.
//! What can be read becomes an entry that points at the kept frame; nothing is sent to anybody, nobody who serves devices
//! waits for it, and a version that harms frame after frame is not asked about all of them. A frame that means more than an entry
//! takes is passed over: it stays in quarantine, which then says so.

use crate::adapter::{Adapter, Admission, Context, Decoded, Direction, Transport};
use crate::background;
use crate::config::Unknown;
use crate::journal::{Entry, Fact, FaultKind, FrameFact, FrameOutcome};
use crate::lifecycle::Spoken;
use crate::limits;
use crate::model::{DeviceKey, Seq};
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
        let Some(Some(batch)) = found else { break };
        harmed = batch.harmed;
        after = batch.next;
        left += batch.unread;
        read += batch.read;
        if !batch.facts.is_empty()
            && let Err(error) = services.commit(batch.facts).await
        {
            tracing::warn!(%error, "frames that can be read again stay in quarantine, and are tried again in a while");
            let (services, name) = (services.clone(), adapter.name().to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(limits::STORE_RETRY_MAX).await;
                services.lifecycle.read_again([name].into());
            });
            return;
        }
        if after.is_none() || harmed >= limits::STRIKES_MAX {
            break;
        }
    }
    if read + left > 0 {
        tracing::info!(adapter = adapter.name(), read, left, "quarantined frames read again");
    }
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

fn batch(services: &Services, adapter: &Adapter, (after, until, harmed): (Option<&str>, Seq, usize)) -> Option<Batch> {
    let waiting = services.views.quarantine(&QuarantineFilter::default(), after, limits::PAGE_ROWS_DEFAULT).ok()?;
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
                let (frame, device, part) = (row.seq.0, Some(device), row.part);
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
    Some(batch)
}

/// What could be read at last.
struct Read {
    device: DeviceKey,
    profile: String,
    outcome: FrameOutcome,
}

/// What the adapter makes of a kept frame now; if still nothing, whether the sandbox had to stop it.
fn read(services: &Services, adapter: &Adapter, frame: &FrameFact, at_ms: i64) -> Result<Read, bool> {
    let spoken =
        |device: Option<&DeviceKey>| services.lifecycle.spoken(adapter, &frame.listener, device).map_err(|_| false);
    let door = services.doors.iter().find(|door| door.name == frame.listener);
    let read_as = |device: Option<&DeviceKey>| {
        let from = From { transport: door.map(|door| door.transport), at_ms, device, raw: &frame.raw };
        decode(services, adapter, &spoken(device)?.options, &from, spoken)
    };
    // Whom the transport names, the entry tells only where he had been greeted by then.
    let named = || DeviceKey::new(adapter.realm(), &door?.address_of(&frame.peer)?).ok();
    let known = frame.device.clone().or_else(named);
    // Behind a gateway it may be another's than that of whoever had spoken before.
    let as_nobodys = |stopped: bool| if stopped || known.is_none() { Err(stopped) } else { read_as(None) };
    let (device, spoken, decoded) = read_as(known.as_ref()).or_else(as_nobodys)?;
    let mut outcome = outcome(services, door, &device, decoded, at_ms).map_err(|_| false)?;
    // A stranger is no less one for having been unreadable.
    let welcomes = |door: &Arc<Door>| {
        let row = services.views.standing(&device)?;
        services.is_welcome(door.unknown, &device, row.as_ref())
    };
    if let Some(door) = door
        && !welcomes(door).map_err(|_| false)?
    {
        match &mut outcome {
            FrameOutcome::Decoded { held, .. } if door.unknown != Unknown::Refuse => *held = true,
            refused => *refused = FrameOutcome::Fault { kind: FaultKind::Refused, detail: REFUSED.into() },
        }
    }
    Ok(Read { profile: spoken.name.clone(), device, outcome })
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
    let door = services.doors.iter().find(|door| door.name == row.listener).ok_or(false)?;
    let carrier = found.carrier.and_then(|part| part.device.as_ref()).or(carrier).ok_or(false)?;
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
    Ok(Read { profile: spoken.name.clone(), device, outcome })
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

/// What it means. Where the views cannot be read nobody knows of whom: it stays in quarantine.
fn outcome(
    services: &Services,
    door: Option<&Arc<Door>>,
    device: &DeviceKey,
    decoded: Decoded,
    at_ms: i64,
) -> Result<FrameOutcome, ViewError> {
    let mut messages = decoded.messages;
    services.views.name_subjects(device, &mut messages)?;
    let read = door.map(|door| relay::read_again(services, door, device, &messages, services.clock.civil(at_ms)));
    let behind = read.transpose()?.unwrap_or_default();
    Ok(FrameOutcome::Decoded { messages, memory: None, duplicate: false, held: false, behind })
}
