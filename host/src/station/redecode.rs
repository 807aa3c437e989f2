//! Quarantined frames, read again once another version of their adapter serves.
//!
//! A frame is read on its own, without the session it came in: state is empty, the device's memory is as it is now.
//! What can be read becomes an entry that points at the kept frame; nothing is sent to anybody.

use crate::adapter::{Adapter, Admission, Context, Direction, Transport};
use crate::journal::{Entry, Fact, FaultKind, FrameFact, FrameOutcome};
use crate::limits;
use crate::model::{DeviceKey, Seq};
use crate::session::Services;
use crate::views::QuarantineFilter;
use std::sync::Arc;

/// Reads again what `adapter` (or nobody) could not.
pub(super) async fn quarantined(services: &Arc<Services>, adapter: &str) {
    let Some(adapter) = services.catalog.active(adapter) else { return };
    let mut after = None;
    let (mut read, mut left) = (0, 0);
    loop {
        let found = {
            let (services, adapter, after) = (services.clone(), adapter.clone(), after.take());
            tokio::task::spawn_blocking(move || batch(&services, &adapter, after.as_deref())).await
        };
        let Ok(Some(batch)) = found else { break };
        after = batch.next;
        left += batch.unread;
        read += batch.facts.len();
        if !batch.facts.is_empty()
            && let Err(error) = services.commit(batch.facts).await
        {
            tracing::warn!(%error, "frames that can be read again stay in quarantine");
            return;
        }
        if after.is_none() {
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
    unread: usize,
}

fn batch(services: &Services, adapter: &Adapter, after: Option<&str>) -> Option<Batch> {
    let waiting = services.views.quarantine(&QuarantineFilter::default(), after, limits::PAGE_ROWS_DEFAULT).ok()?;
    let mut batch = Batch { next: waiting.next, facts: Vec::new(), unread: 0 };
    for row in waiting.rows {
        // Policy and noise are not for any adapter to read.
        let hopeless = matches!(row.kind, FaultKind::Refused | FaultKind::Noise);
        if hopeless || row.adapter.is_some_and(|a| a.name != adapter.name()) {
            continue;
        }
        let seq = row.seq;
        let Ok(Some(kept)) = services.journal.reader().get(seq) else { continue };
        let Ok(Entry { at_ms, fact: Fact::Frame(frame) }) = kept.entry else { continue };
        match read(services, adapter, (seq, &frame), at_ms) {
            Some(fact) => batch.facts.push(fact),
            None => batch.unread += 1,
        }
    }
    Some(batch)
}

/// What the adapter makes of a kept frame now; `None`: still nothing.
fn read(services: &Services, adapter: &Adapter, (seq, frame): (Seq, &FrameFact), at_ms: i64) -> Option<Fact> {
    let spoken = |device| services.lifecycle.spoken(adapter, &frame.listener, device).ok();
    let context = |device| Context {
        now: services.clock.civil(at_ms),
        direction: Direction::Uplink,
        transport: Transport::Stream,
        admission: Admission::Welcome,
        pending: 0,
        device,
        state: &[],
    };
    let first = adapter.decode(&spoken(frame.device.as_ref())?.options, &context(None), &frame.raw).ok()?;
    let sender = first.sender.as_ref()?;
    let device = DeviceKey::new(adapter.realm(), &sender.address).ok()?;
    let profile = spoken(Some(&device))?;
    let row = services.views.device(&device).ok()?;
    let left_by = row.as_ref().and_then(|row| row.adapter.as_ref()).map(|adapter| adapter.digest);
    let memory = row.map(|row| row.memory.0).unwrap_or_default();
    let taken_over = services.lifecycle.memory_for(adapter, &profile.options, (left_by, &memory), device.as_str());
    let memory = taken_over.unwrap_or(memory);
    let decoded = adapter.decode(&profile.options, &context(Some((device.address(), &memory))), &frame.raw).ok()?;
    let outcome = FrameOutcome::Decoded { messages: decoded.messages, memory: None, duplicate: false, held: false };
    let (adapter, profile) = (adapter.digest, profile.name.clone());
    Some(Fact::Redecoded { frame: seq.0, adapter, outcome, device: Some(device), profile })
}
