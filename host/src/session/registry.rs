//! Who is on line: one session per device, and how to reach it.
//!
//! A newer connection of a device rings the older one out and waits for it to go, so that two sessions never hold the
//! same command. What adapters want remembered of a device is kept here until the views have caught up with it.

use crate::model::{DeviceKey, Digest, Seq, SessionId};
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

const COMMAND: u8 = 1;
const TAKEN_OVER: u8 = 2;
const DRAIN: u8 = 4;

/// How others reach a running session.
#[derive(Debug, Default)]
pub struct Doorbell {
    rings: AtomicU8,
    rung: Notify,
    gone: Notify,
    /// It did not leave in time, and another session has its device now.
    passed_over: AtomicBool,
}

/// Why the bell rang; the most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ring {
    TakenOver,
    Drain,
    Command,
}

impl Doorbell {
    /// Waits for the next ring. Cancel-safe.
    pub async fn wait(&self) -> Ring {
        loop {
            let rings = self.rings.load(Ordering::Acquire);
            for (bit, ring) in [(TAKEN_OVER, Ring::TakenOver), (DRAIN, Ring::Drain), (COMMAND, Ring::Command)] {
                if rings & bit != 0 {
                    self.rings.fetch_and(!bit, Ordering::AcqRel);
                    return ring;
                }
            }
            self.rung.notified().await;
        }
    }

    /// Whether another session has taken the device without waiting any longer: this one must neither hear nor say any more.
    pub fn is_passed_over(&self) -> bool {
        self.passed_over.load(Ordering::Acquire)
    }

    /// The session has given its device's place up itself: what was asked of it about that is done.
    pub fn has_let_go(&self) {
        self.rings.fetch_and(!TAKEN_OVER, Ordering::AcqRel);
        self.passed_over.store(false, Ordering::Release);
    }

    /// Ends the session because the station stops.
    pub fn drain(&self) {
        self.ring(DRAIN);
    }

    fn ring(&self, bit: u8) {
        self.rings.fetch_or(bit, Ordering::AcqRel);
        self.rung.notify_one();
    }
}

/// All devices on line.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    present: FxHashMap<DeviceKey, Present>,
    /// Newer than what the views may show.
    memories: FxHashMap<DeviceKey, Memory>,
}

/// The entry that says it, the bytes, and which version wrote them.
type Memory = (Seq, Arc<[u8]>, Option<Digest>);

#[derive(Clone, Debug)]
struct Present {
    session: SessionId,
    bell: Arc<Doorbell>,
}

/// A device's place; giving it up makes room for the next session.
#[derive(Debug)]
pub struct Place {
    registry: Arc<Registry>,
    device: DeviceKey,
    session: SessionId,
    bell: Arc<Doorbell>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        if inner.present.get(&self.device).is_some_and(|p| p.session == self.session) {
            inner.present.remove(&self.device);
        }
        drop(inner);
        self.bell.gone.notify_waiters();
    }
}

impl Registry {
    /// Takes the device's place. An older session is asked to leave and waited for; one that does not leave in time is
    /// passed over, and finds its place taken.
    pub async fn claim(
        self: &Arc<Self>,
        device: &DeviceKey,
        session: SessionId,
        bell: &Arc<Doorbell>,
        patience: Duration,
    ) -> Place {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let older = {
                let mut inner = self.lock();
                match inner.present.get(device) {
                    Some(older) if tokio::time::Instant::now() < deadline => older.bell.clone(),
                    _ => {
                        let place = Present { session, bell: bell.clone() };
                        if let Some(late) = inner.present.insert(device.clone(), place) {
                            late.bell.passed_over.store(true, Ordering::Release);
                        }
                        break;
                    }
                }
            };
            let gone = older.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.ring_out(device, &older) {
                let _ = tokio::time::timeout_at(deadline, gone).await;
            }
        }
        Place { registry: self.clone(), device: device.clone(), session, bell: bell.clone() }
    }

    /// Asks a session to give the device's place up; whether it still had it. It may have left since somebody has looked, and what
    /// it serves by now is not asked for.
    fn ring_out(&self, device: &DeviceKey, older: &Arc<Doorbell>) -> bool {
        let inner = self.lock();
        let is_there = inner.present.get(device).is_some_and(|present| Arc::ptr_eq(&present.bell, older));
        if is_there {
            older.ring(TAKEN_OVER);
        }
        is_there
    }

    /// Tells the device's session, if there is one, that a command waits.
    pub fn wake(&self, device: &DeviceKey) -> bool {
        match self.lock().present.get(device) {
            Some(present) => {
                present.bell.ring(COMMAND);
                true
            }
            None => false,
        }
    }

    pub fn is_online(&self, device: &DeviceKey) -> bool {
        self.lock().present.contains_key(device)
    }

    /// Devices on line.
    pub fn count(&self) -> usize {
        self.lock().present.len()
    }

    /// Keeps what the entry at `seq` wants remembered until the views show it, and which version of its adapter wrote it. Whoever
    /// comes with it late puts nothing older in the place of what a newer entry says.
    pub fn remember(&self, device: &DeviceKey, seq: Seq, memory: &[u8], by: Option<Digest>) {
        let mut inner = self.lock();
        if inner.memories.get(device).is_none_or(|(kept, ..)| *kept <= seq) {
            inner.memories.insert(device.clone(), (seq, memory.into(), by));
        }
    }

    /// Newer than any view, or none; and which version of its adapter wrote it.
    pub fn remembered(&self, device: &DeviceKey) -> Option<(Arc<[u8]>, Option<Digest>)> {
        self.lock().memories.get(device).map(|(_, memory, by)| (memory.clone(), *by))
    }

    /// Forgets what the views show by now.
    pub fn forget_until(&self, seen: Seq) {
        self.lock().memories.retain(|_, (seq, ..)| *seq > seen);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is one insert or remove, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn device() -> DeviceKey {
        "usp/50001234567810".parse().expect("key")
    }

    #[tokio::test]
    async fn a_newer_connection_takes_over_once_the_older_has_gone() {
        let registry = Arc::new(Registry::default());
        let (old_bell, new_bell) = (Arc::new(Doorbell::default()), Arc::new(Doorbell::default()));
        let old = registry.claim(&device(), SessionId(1), &old_bell, PATIENCE).await;
        let newer = tokio::spawn({
            let (registry, bell) = (registry.clone(), new_bell.clone());
            async move { registry.claim(&device(), SessionId(2), &bell, PATIENCE).await }
        });
        assert_eq!(old_bell.wait().await, Ring::TakenOver);
        assert!(!newer.is_finished());
        drop(old);
        let place = newer.await.expect("claimed");
        assert!(registry.wake(&device()));
        assert_eq!(new_bell.wait().await, Ring::Command);
        drop(place);
        assert!(!registry.is_online(&device()));
    }

    #[tokio::test]
    async fn a_session_that_does_not_leave_is_passed_over() {
        let registry = Arc::new(Registry::default());
        let bell: Arc<Doorbell> = Arc::default();
        let stuck = registry.claim(&device(), SessionId(1), &bell, PATIENCE).await;
        let place = registry.claim(&device(), SessionId(2), &Arc::default(), Duration::from_millis(1)).await;
        assert!(stuck.bell.is_passed_over() && !place.bell.is_passed_over());
        drop(stuck);
        bell.has_let_go();
        assert!(!bell.is_passed_over(), "whom it serves next is its own");
        bell.drain();
        assert_eq!(bell.wait().await, Ring::Drain, "it is not asked for what it has given up");
        assert!(registry.is_online(&device()), "the late leaver does not take the newer one's place away");
        drop(place);
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn memories_last_until_the_views_show_them() {
        let registry = Registry::default();
        registry.remember(&device(), Seq(5), &[1], None);
        registry.remember(&device(), Seq(3), &[0], None);
        registry.forget_until(Seq(4));
        assert_eq!(registry.remembered(&device()), Some((Arc::from([1]), None)));
        registry.forget_until(Seq(5));
        assert_eq!(registry.remembered(&device()), None);
    }
}
