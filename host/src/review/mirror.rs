//! A shadow: another version hears a share of the live frames, beside the one that serves, and what it would have said is
//! compared. It answers nobody, and a session never waits for it: what comes too fast is dropped and counted.

use super::compare::{Reading, compare};
use super::model_of;
use super::tally::{Compared, Tally};
use crate::adapter::{Adapter, Admission, Context, Direction, Transport};
use crate::background;
use crate::lifecycle::Lifecycle;
use crate::limits::MIRROR_QUEUE_MAX;
use crate::model::{Civil, DeviceKey, Digest};
use crate::views::Views;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A live frame, and all that the version which serves knew when it read it.
pub struct Sample {
    pub options: String,
    pub now: Civil,
    pub transport: Transport,
    pub admission: Admission,
    pub pending: u32,
    pub device: Option<DeviceKey>,
    pub memory: Vec<u8>,
    pub state: Vec<u8>,
    /// The version that serves, in whose layout both are.
    pub left_by: Digest,
    pub state_version: u32,
    pub frame: Vec<u8>,
    /// What the version that serves made of it.
    pub reading: Reading,
}

/// One version in the shadow of another.
pub struct Mirror {
    pub adapter: Arc<Adapter>,
    /// Frames in a thousand.
    pub permille: u32,
    seen: AtomicU64,
    dropped: AtomicU64,
    stopped: AtomicBool,
    queue: SyncSender<Sample>,
    lifecycle: Arc<Lifecycle>,
    tally: Mutex<Tally>,
}

impl Mirror {
    /// Starts its thread.
    pub fn start(
        adapter: Arc<Adapter>,
        permille: u32,
        lifecycle: Arc<Lifecycle>,
        views: Views,
    ) -> std::io::Result<Arc<Self>> {
        let (queue, samples) = sync_channel(MIRROR_QUEUE_MAX);
        let mirror = Arc::new(Self {
            adapter,
            permille,
            seen: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            queue,
            lifecycle,
            tally: Mutex::default(),
        });
        let working = mirror.clone();
        let run = move || working.run(&samples, &views);
        background::spawn("adapter-shadow", run)?;
        Ok(mirror)
    }

    /// Whether the next frame is among those that it hears.
    pub fn wants(&self) -> bool {
        let (before, share) = (self.seen.fetch_add(1, Relaxed), u64::from(self.permille));
        (before + 1) * share / 1_000 != before * share / 1_000
    }

    /// Never waits.
    pub fn offer(&self, sample: Sample) {
        if self.queue.try_send(sample).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// What it has found so far.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tally.dropped = self.dropped.load(Relaxed);
        tally
    }

    fn run(&self, samples: &Receiver<Sample>, views: &Views) {
        /// How often a shadow that hears nothing looks whether it is still wanted.
        const LOOK_EVERY: Duration = Duration::from_millis(200);
        while !self.stopped.load(Relaxed) {
            let Ok(mut sample) = samples.recv_timeout(LOOK_EVERY) else { continue };
            let mut new = self.read(&sample);
            // Both may call the same device otherwise. Views that cannot be read are no reason to stop comparing.
            if let Some(carrier) = &sample.device {
                for reading in [&mut sample.reading, &mut new] {
                    let _ = views.name_subjects(carrier, reading.messages_mut());
                }
            }
            let found = compare(&sample.reading, &new);
            let model = sample.device.as_ref().map(|device| model_of(views, device)).unwrap_or_default();
            let (device, raw) = (sample.device.as_ref(), &sample.frame[..]);
            let compared = Compared { frame: None, part: 0, device, model: &model, raw };
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(compared, found);
        }
    }

    fn read(&self, sample: &Sample) -> Reading {
        // As a cutover would hand both over: state of another layout that nobody takes over is none, memory stays as it is.
        let source = sample.device.as_ref().map_or("", DeviceKey::as_str);
        let same_layout = self.adapter.manifest.state_version == sample.state_version;
        let (state, memory) = (&sample.state[..], &sample.memory[..]);
        let taken = |kept| self.lifecycle.state_for(&self.adapter, &sample.options, kept, source);
        let new_state =
            Some((sample.state_version, state)).filter(|_| !same_layout && !state.is_empty()).and_then(taken);
        let kept = (Some(sample.left_by), memory);
        let new_memory = self.lifecycle.memory_for(&self.adapter, &sample.options, kept, source);
        let memory = new_memory.as_deref().unwrap_or(memory);
        let context = Context {
            now: sample.now,
            direction: Direction::Uplink,
            transport: sample.transport,
            admission: sample.admission,
            pending: sample.pending,
            device: sample.device.as_ref().map(|device| (device.address(), memory)),
            state: if same_layout { state } else { new_state.as_deref().unwrap_or_default() },
        };
        Reading::of(self.adapter.realm(), &self.adapter.decode(&sample.options, &context, &sample.frame))
    }
}
