//! Stored frames, read again by a version of choice, each in the session and with the memory that it came in.
//!
//! A session's state is what the replayed version itself made of the session's earlier frames; a device's memory is what the
//! journal says was remembered at that moment. Who stands behind a carrier has a state of his own in the carrier's session.
//! What a command changed in a session's state is not stored, so a replay may be off after one; whoever relies on a replay
//! lets the version that read the frame first repeat it, too.

use crate::adapter::{Adapter, Admission, Context, Decoded, Direction, Fault, Transport};
use crate::journal::FaultKind;
use crate::lifecycle::Lifecycle;
use crate::limits::REPLAY_SESSIONS_MAX;
use crate::model::{Civil, DeviceKey, Digest};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// One version and how far it is in each session.
pub struct Replay {
    pub adapter: Arc<Adapter>,
    /// By the session's number, and by the device where that stands behind a carrier.
    sessions: FxHashMap<(u64, Option<DeviceKey>), Session>,
}

#[derive(Clone, Default)]
struct Session {
    device: Option<DeviceKey>,
    state: Vec<u8>,
}

/// Stored bytes, and how they came.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    pub raw: &'a [u8],
    pub way: Way<'a>,
}

#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// In this session, of a listener with this transport; `None`: the listener is configured no more.
    Direct(u64, Option<Transport>),
    /// In the session of a carrier, from whom that was said to be; `None`: it was read without its session.
    Behind(Option<u64>, Option<&'a DeviceKey>),
}

/// What the version made of a frame, and who it says has sent it.
pub struct Replayed {
    pub device: Option<DeviceKey>,
    pub result: Result<Decoded, Fault>,
}

/// What devices had remembered at that moment, and which version had last read a frame of theirs.
pub type Memories = FxHashMap<DeviceKey, (Vec<u8>, Option<Digest>)>;

impl Replay {
    pub fn new(adapter: Arc<Adapter>) -> Self {
        Self { adapter, sessions: FxHashMap::default() }
    }

    /// Reads one frame; call it for all frames of a session, in their order. `None`: nobody knows any more how it came, and
    /// that makes a difference.
    pub fn read(
        &mut self,
        lifecycle: &Lifecycle,
        bytes: Bytes<'_>,
        (profile, now): (&str, Civil),
        memories: &Memories,
    ) -> Option<Replayed> {
        self.make_room();
        let mut session = match bytes.way {
            Way::Direct(number, _) => self.sessions.get(&(number, None)).cloned().unwrap_or_default(),
            Way::Behind(number, device) => self.of_behind(number, device),
        };
        let transport = match bytes.way {
            Way::Direct(_, transport) => transport,
            Way::Behind(..) => Some(Transport::Relay),
        };
        let adapter = self.adapter.clone();
        let decode = |session: &Session| {
            let known = session.device.as_ref().and_then(|device| Some((device, memories.get(device)?)));
            let taken_over = known.and_then(|(device, (memory, left_by))| {
                lifecycle.memory_for(&adapter, profile, (*left_by, memory), device.as_str())
            });
            let memory = taken_over.as_deref().or(known.map(|(_, (memory, _))| &memory[..])).unwrap_or_default();
            let context = Context {
                now,
                direction: Direction::Uplink,
                transport: Transport::Stream,
                admission: if session.device.is_some() { Admission::Welcome } else { Admission::Undecided },
                pending: 0,
                device: session.device.as_ref().map(|device| (device.address(), memory)),
                state: &session.state,
            };
            adapter.decode_kept(profile, &context, transport, bytes.raw)
        };
        let mut result = decode(&session)?;
        let sender = result.as_ref().ok().and_then(|decoded| decoded.sender.as_ref());
        if let Some(device) = sender.map(|sender| DeviceKey::new(adapter.realm(), &sender.address)) {
            match device {
                Ok(device) if session.device.as_ref() == Some(&device) => {}
                Ok(device) => {
                    session = match bytes.way {
                        Way::Direct(..) => Session { device: Some(device), state: Vec::new() },
                        Way::Behind(number, _) => self.of_behind(number, Some(&device)),
                    };
                    result = decode(&session)?;
                }
                Err(error) => {
                    result = Err(Fault::new(FaultKind::Contract, error.to_string()));
                }
            }
        }
        if let Ok(Decoded { state: Some(state), .. }) = &result {
            session.state.clone_from(state);
        }
        let device = session.device.clone();
        let kept_as = match (bytes.way, &device) {
            (Way::Direct(number, _), _) => Some((number, None)),
            (Way::Behind(Some(number), _), Some(device)) => Some((number, Some(device.clone()))),
            (Way::Behind(..), _) => None,
        };
        if let Some(place) = kept_as {
            self.sessions.insert(place, session);
        }
        Some(Replayed { device, result })
    }

    fn of_behind(&self, number: Option<u64>, device: Option<&DeviceKey>) -> Session {
        let known = number.zip(device).and_then(|(number, device)| self.sessions.get(&(number, Some(device.clone()))));
        known.cloned().unwrap_or_else(|| Session { device: device.cloned(), state: Vec::new() })
    }

    fn make_room(&mut self) {
        if self.sessions.len() >= REPLAY_SESSIONS_MAX {
            // Sessions are short and numbered in order: the lower half is over.
            let mut numbers: Vec<u64> = self.sessions.keys().map(|(number, _)| *number).collect();
            let (_, middle, _) = numbers.select_nth_unstable(REPLAY_SESSIONS_MAX / 2);
            let middle = *middle;
            self.sessions.retain(|(number, _), _| *number > middle);
        }
    }
}
