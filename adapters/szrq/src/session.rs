//! What is remembered within one session: the command in hand, the answer last taken, the reports already seen.
//!
//! ```text
//! 0 version 01 | 1 command u8 | 2 mid u16 | 4 order u16 | 6 month u16 | 8 last month u16 | 10 any u8
//! | 11 answered command u8 | 12 its mid u16 | 14 its order u16 | 16 content u16 | 18 heard at i64 | 26 reports seen, 9 bytes each
//! a report: command u8 | read time 6 as sent | content u16
//! ```
//! A meter does not echo the message id, and repeats its last answer when it hears nothing for 12 s. So an answer belongs to the
//! command in hand with the code before its own, unless it may just as well be the old answer to another order, repeated.

use polymeter_sdk::{Civil, Context};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 26;
const SEEN_BYTES: usize = 9;
const SEEN_MAX: usize = 16;
/// Silence after which a meter repeats its answer, less a second for the way.
const REPEATS_AFTER_S: Civil = 11;

/// What makes two reports the same one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportKey {
    pub command: u8,
    pub read_time: [u8; 6],
    pub content: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// 0: none.
    pub command: u8,
    pub mid: u16,
    /// Check sum of the order's body: two with the same one want the same.
    pub order: u16,
    /// Month asked for, and last one wanted, since year 0.
    pub month: u16,
    pub last_month: u16,
    /// Some month was answered with data.
    pub any: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Taken {
    command: u8,
    mid: u16,
    order: u16,
    content: u16,
    at: Civil,
}

/// Whose an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Of the command in hand.
    Answer(Sent),
    /// Of the command with this mid, which was answered before.
    Repetition(u16),
    /// Of none that this session knows.
    Stray,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub sent: Sent,
    taken: Taken,
    seen: Vec<u8>,
    changed: bool,
}

impl Session {
    /// Of this context. Bytes of another layout count as a new session.
    pub fn of(context: &Context) -> Self {
        Self::read(&context.state).unwrap_or(Self {
            sent: Sent::default(),
            taken: Taken::default(),
            seen: Vec::new(),
            changed: false,
        })
    }

    pub fn send(&mut self, sent: Sent) {
        self.sent = sent;
        self.changed = true;
    }

    /// Whose the answer to `command` with this content is; taken as its answer if it is one.
    pub fn hear(&mut self, command: u8, content: u16, now: Civil) -> Heard {
        let Self { sent, taken, .. } = *self;
        let same = taken.command == command && taken.content == content;
        let open = sent.command == command;
        let late = now.saturating_sub(taken.at) >= REPEATS_AFTER_S;
        if same && (!open || taken.order != sent.order && late) {
            self.taken.at = now;
            self.changed = true;
            return Heard::Repetition(taken.mid);
        }
        if !open {
            return Heard::Stray;
        }
        self.taken = Taken { command, mid: sent.mid, order: sent.order, content, at: now };
        self.sent = Sent::default();
        self.changed = true;
        Heard::Answer(sent)
    }

    /// Notes a report; true if this session has seen it before.
    pub fn repeats(&mut self, report: &ReportKey) -> bool {
        let mut entry = [0; SEEN_BYTES];
        entry[0] = report.command;
        entry[1..7].copy_from_slice(&report.read_time);
        entry[7..].copy_from_slice(&report.content.to_le_bytes());
        let (seen, _) = self.seen.as_chunks::<SEEN_BYTES>();
        if seen.contains(&entry) {
            return true;
        }
        if seen.len() >= SEEN_MAX {
            self.seen.drain(..SEEN_BYTES);
        }
        self.seen.extend_from_slice(&entry);
        self.changed = true;
        false
    }

    /// To store, if it changed.
    pub fn into_state(self) -> Option<Vec<u8>> {
        self.changed.then(|| self.write())
    }

    fn write(&self) -> Vec<u8> {
        let Self { sent, taken, seen, .. } = self;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + seen.len());
        bytes.extend_from_slice(&[VERSION, sent.command]);
        for word in [sent.mid, sent.order, sent.month, sent.last_month] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&[u8::from(sent.any), taken.command]);
        for word in [taken.mid, taken.order, taken.content] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&taken.at.to_le_bytes());
        bytes.extend_from_slice(seen);
        bytes
    }

    fn read(state: &[u8]) -> Option<Self> {
        let (head, seen) = state.split_first_chunk::<HEAD_BYTES>()?;
        if head[0] != VERSION || !seen.len().is_multiple_of(SEEN_BYTES) || seen.len() > SEEN_BYTES * SEEN_MAX {
            return None;
        }
        let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let mut heard_at = [0; 8];
        heard_at.copy_from_slice(&head[18..]);
        let sent = Sent {
            command: head[1],
            mid: word(2),
            order: word(4),
            month: word(6),
            last_month: word(8),
            any: head[10] != 0,
        };
        let at = Civil::from_le_bytes(heard_at);
        let taken = Taken { command: head[11], mid: word(12), order: word(14), content: word(16), at };
        let mut list = Vec::with_capacity(seen.len() + SEEN_BYTES);
        list.extend_from_slice(seen);
        Some(Self { sent, taken, seen: list, changed: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Session {
        Session { sent: Sent::default(), taken: Taken::default(), seen: Vec::new(), changed: false }
    }
    fn sent(mid: u16, order: u16) -> Sent {
        Sent { command: 0x0F, mid, order, ..Sent::default() }
    }

    #[test]
    fn there_and_back() {
        let mut s = new();
        for i in 0..20 {
            assert!(!s.repeats(&ReportKey { command: 7, read_time: [i; 6], content: 5 }));
        }
        s.send(Sent { month: 24_290, last_month: 24_291, any: true, ..sent(3, 9) });
        assert_eq!(
            s.hear(0x0F, 1, 100),
            Heard::Answer(Sent { month: 24_290, last_month: 24_291, any: true, ..sent(3, 9) })
        );
        let bytes = s.clone().into_state().expect("it changed");
        let mut back = Session::read(&bytes).expect("its own layout");
        assert_eq!(back, Session { changed: false, ..s });
        assert!(back.repeats(&ReportKey { command: 7, read_time: [19; 6], content: 5 }));
        assert!(!back.repeats(&ReportKey { command: 7, read_time: [0; 6], content: 5 }), "forgotten");
    }

    #[test]
    fn an_old_answer_is_not_taken_for_a_new_one() {
        let mut s = new();
        s.send(sent(1, 0xC1));
        assert!(matches!(s.hear(0x0F, 7, 0), Heard::Answer(_)));
        assert_eq!(s.hear(0x0F, 7, 12), Heard::Repetition(1), "nothing in hand");
        s.send(sent(2, 0xC2));
        assert_eq!(s.hear(0x0F, 7, 24), Heard::Repetition(1), "another order, and late enough for a repetition");
        assert!(matches!(s.hear(0x0F, 7, 26), Heard::Answer(Sent { mid: 2, .. })), "too early for one");
        s.send(sent(3, 0xC2));
        assert!(matches!(s.hear(0x0F, 7, 60), Heard::Answer(Sent { mid: 3, .. })), "the same order wants the same");
        s.send(sent(4, 0xC3));
        assert!(matches!(s.hear(0x0F, 8, 99), Heard::Answer(Sent { mid: 4, .. })), "another answer");
        assert_eq!(s.hear(0x11, 8, 99), Heard::Stray);
    }
}
