//! What is remembered within one session: the protocol version to echo, the command in hand, the reports already seen.
//!
//! ```text
//! 0 | version 01 | 1 protocolVersion u16 | 3 command u16 | 5 frameId i32 | 9 reports seen, 14 bytes each, oldest first |
//! a report: command u16 | frameId i32 | read time 6 as sent | content u16
//! ```

use polymeter_sdk::Context;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
const SEEN_BYTES: usize = 14;
/// A meter has one report under way; more are remembered for those that empty a backlog.
const SEEN_MAX: usize = 16;

/// What makes two reports the same one: code, frameId, read time, and a check sum of the body. Parts of a packed report share the
/// first three, and so do any reports of a meter whose clock is unset and whose frameId stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportKey {
    pub command: u16,
    pub frame_id: i32,
    pub read_time: [u8; 6],
    pub content: u16,
}

/// A session's state, kept as the bytes that it is stored in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    bytes: Vec<u8>,
    changed: bool,
}

impl Session {
    /// Of this context. Bytes of another layout count as a new session.
    pub fn of(context: &Context) -> Self {
        let state = &context.state;
        let fits = state.len() >= HEAD_BYTES
            && state.first() == Some(&VERSION)
            && (state.len() - HEAD_BYTES).is_multiple_of(SEEN_BYTES)
            && (state.len() - HEAD_BYTES) / SEEN_BYTES <= SEEN_MAX;
        // Until the device has spoken, protocol version 1 is spoken.
        let known = if fits { state.as_slice() } else { &[VERSION, 1, 0, 0, 0, 0, 0, 0, 0] };
        let mut bytes = Vec::with_capacity(known.len() + SEEN_BYTES);
        bytes.extend_from_slice(known);
        Self { bytes, changed: false }
    }

    /// To echo to the device.
    pub fn protocol_version(&self) -> u16 {
        u16::from_le_bytes([self.bytes[1], self.bytes[2]])
    }

    pub fn hear_version(&mut self, version: u16) {
        self.put(1, version.to_le_bytes());
    }

    /// Code and frameId of the command in hand; 0 when none was sent in this session or the last one is answered.
    pub fn sent(&self) -> (u16, i32) {
        let b = &self.bytes;
        (u16::from_le_bytes([b[3], b[4]]), i32::from_le_bytes([b[5], b[6], b[7], b[8]]))
    }

    pub fn send(&mut self, command: u16, frame_id: i32) {
        self.put(3, command.to_le_bytes());
        self.put(5, frame_id.to_le_bytes());
    }

    /// The command in hand is answered: whatever still comes for it is a repetition.
    pub fn close_command(&mut self) {
        self.send(0, 0);
    }

    /// Notes a report; true if this session has seen it before.
    pub fn repeats(&mut self, report: &ReportKey) -> bool {
        let entry = report.bytes();
        let (seen, _) = self.bytes[HEAD_BYTES..].as_chunks::<SEEN_BYTES>();
        if seen.contains(&entry) {
            return true;
        }
        if seen.len() >= SEEN_MAX {
            self.bytes.drain(HEAD_BYTES..HEAD_BYTES + SEEN_BYTES);
        }
        self.bytes.extend_from_slice(&entry);
        self.changed = true;
        false
    }

    /// To store, if it changed.
    pub fn into_state(self) -> Option<Vec<u8>> {
        self.changed.then_some(self.bytes)
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        let field = &mut self.bytes[at..at + N];
        if *field != value {
            field.copy_from_slice(&value);
            self.changed = true;
        }
    }
}

impl ReportKey {
    fn bytes(&self) -> [u8; SEEN_BYTES] {
        let mut bytes = [0; SEEN_BYTES];
        bytes[..2].copy_from_slice(&self.command.to_le_bytes());
        bytes[2..6].copy_from_slice(&self.frame_id.to_le_bytes());
        bytes[6..12].copy_from_slice(&self.read_time);
        bytes[12..].copy_from_slice(&self.content.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(frame_id: i32) -> ReportKey {
        ReportKey { command: 0x7021, frame_id, read_time: [0x24, 3, 0x15, 0, 5, 0x30], content: 0 }
    }
    fn session(state: Vec<u8>) -> Session {
        Session::of(&Context {
            now: 0,
            direction: polymeter_sdk::Direction::Uplink,
            transport: polymeter_sdk::Transport::Stream,
            admission: polymeter_sdk::Admission::Welcome,
            pending: 0,
            device: None,
            state,
        })
    }

    #[test]
    fn the_last_sixteen_reports_are_known_again() {
        let mut first = session(Vec::new());
        for id in 0..20 {
            assert!(!first.repeats(&key(id)));
        }
        let state = first.into_state().expect("it changed");
        assert_eq!(state.len(), HEAD_BYTES + SEEN_MAX * SEEN_BYTES);
        let mut second = session(state);
        assert!((4..20).all(|id| second.repeats(&key(id))));
        assert_eq!(second.clone().into_state(), None, "nothing new");
        assert!(!second.repeats(&key(3)), "forgotten");
    }

    #[test]
    fn version_and_command_are_kept_and_nonsense_is_a_new_session() {
        let mut s = session(vec![9; 30]);
        assert_eq!((s.protocol_version(), s.sent()), (1, (0, 0)));
        s.hear_version(3);
        s.send(0x7024, -2);
        let mut s = session(s.into_state().expect("it changed"));
        assert_eq!((s.protocol_version(), s.sent()), (3, (0x7024, -2)));
        s.close_command();
        let s = session(s.into_state().expect("it changed"));
        assert_eq!((s.protocol_version(), s.sent()), (3, (0, 0)));
    }
}
