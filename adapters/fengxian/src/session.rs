//! What is remembered within one session: the request in hand, whether the end was said, the total, the reports already seen.
//!
//! ```text
//! 0 version 01 | 1 request u8 | 2 its first byte | 3 its number u16 | 5 ended | 6 total known | 7 total u64 | 15 reports seen, 10 bytes each
//! a report: clock 6 as sent | reasons u16 | content u16
//! ```
//! Frames carry no sequence number, so there is one request under way at a time.

use polymeter_sdk::Context;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 15;
pub const SEEN_BYTES: usize = 10;
const SEEN_MAX: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// 0: none.
    pub id: u8,
    /// Function bits or value, which the answer repeats.
    pub first: u8,
    pub number: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    pub sent: Sent,
    pub ended: bool,
    /// 0.01 m³, of this session's report.
    pub total: Option<u64>,
    seen: Vec<u8>,
}

impl Session {
    /// Of this context. Bytes of another layout count as a new session.
    pub fn of(context: &Context) -> Self {
        Self::read(&context.state).unwrap_or_default()
    }

    /// Takes the request in hand, if it was this one.
    pub fn take(&mut self, id: u8) -> Option<Sent> {
        (self.sent.id == id).then(|| std::mem::take(&mut self.sent))
    }

    /// Notes a report; true if this session has seen it before.
    pub fn repeats(&mut self, entry: &[u8; SEEN_BYTES]) -> bool {
        let (seen, _) = self.seen.as_chunks::<SEEN_BYTES>();
        if seen.contains(entry) {
            return true;
        }
        if seen.len() >= SEEN_MAX {
            self.seen.drain(..SEEN_BYTES);
        }
        self.seen.extend_from_slice(entry);
        false
    }

    pub fn into_change(self, context: &Context) -> Option<Vec<u8>> {
        (self != Self::of(context)).then(|| self.write())
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.seen.len());
        bytes.extend_from_slice(&[VERSION, self.sent.id, self.sent.first]);
        bytes.extend_from_slice(&self.sent.number.to_le_bytes());
        bytes.extend_from_slice(&[u8::from(self.ended), u8::from(self.total.is_some())]);
        bytes.extend_from_slice(&self.total.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.seen);
        bytes
    }

    fn read(state: &[u8]) -> Option<Self> {
        let (head, seen) = state.split_first_chunk::<HEAD_BYTES>()?;
        if head[0] != VERSION || !seen.len().is_multiple_of(SEEN_BYTES) || seen.len() > SEEN_BYTES * SEEN_MAX {
            return None;
        }
        let mut total = [0; 8];
        total.copy_from_slice(&head[7..]);
        Some(Self {
            sent: Sent { id: head[1], first: head[2], number: u16::from_le_bytes([head[3], head[4]]) },
            ended: head[5] != 0,
            total: (head[6] != 0).then(|| u64::from_le_bytes(total)),
            seen: seen.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut s =
            Session { sent: Sent { id: 0x3C, first: 1, number: 9 }, ended: true, total: Some(5), seen: Vec::new() };
        assert!((0..10).all(|i| !s.repeats(&[i; SEEN_BYTES])));
        assert_eq!(Session::read(&s.write()), Some(s.clone()));
        assert!(s.repeats(&[9; SEEN_BYTES]) && !s.repeats(&[0; SEEN_BYTES]));
        assert_eq!(s.take(0x32), None);
        assert_eq!(s.take(0x3C).map(|sent| sent.number), Some(9));
        assert_eq!(s.take(0x3C), None);
        assert_eq!(Session::read(&[1; 20]), None);
    }
}
