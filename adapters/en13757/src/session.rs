//! What a conversation and a device leave behind: the frame count bit, what is awaited and what is to be said next; and where
//! a meter answers.
//!
//! ```text
//! state   | 1 | next FCB | address | awaited | command | sequence 2 | length, frame | …
//! memory  | 1 | bus address, FF unknown | 1 when heard by radio | marks of a converter, where it has shown any |
//! ```

use crate::link::{self, address, control};
use crate::report::Marks;
use polymeter_sdk::Context;

const LAYOUT: u8 = 1;
const HEAD_BYTES: usize = 7;
const UNKNOWN: u8 = 0xFF;

/// What the master waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    Nothing,
    Acknowledgement,
    Data,
}

/// A command under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    Read,
    SetClock,
}

/// The session's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Of the next request to `address`.
    pub next_fcb: bool,
    pub address: u8,
    pub awaited: Awaited,
    pub task: Task,
    pub sequence: u16,
    /// What follows after an acknowledgement, in order.
    pub queue: Vec<Vec<u8>>,
}

impl Session {
    /// Nonsense is a new session.
    pub fn of(context: &Context) -> Self {
        Self::read(&context.state).unwrap_or(Self {
            next_fcb: false,
            address: UNKNOWN,
            awaited: Awaited::Nothing,
            task: Task::Read,
            sequence: 0,
            queue: Vec::new(),
        })
    }

    fn read(state: &[u8]) -> Option<Self> {
        let ([layout, fcb, address, awaited, task, low, high], mut rest) = state.split_first_chunk::<HEAD_BYTES>()?;
        if *layout != LAYOUT {
            return None;
        }
        let mut queue = Vec::new();
        while let Some((length, behind)) = rest.split_first() {
            let (frame, next) = behind.split_at_checked(usize::from(*length))?;
            queue.push(frame.to_vec());
            rest = next;
        }
        Some(Self {
            next_fcb: *fcb == 1,
            address: *address,
            awaited: match awaited {
                1 => Awaited::Acknowledgement,
                2 => Awaited::Data,
                _ => Awaited::Nothing,
            },
            task: if *task == 1 { Task::SetClock } else { Task::Read },
            sequence: u16::from_le_bytes([*low, *high]),
            queue,
        })
    }

    pub fn to_state(&self) -> Vec<u8> {
        let awaited = match self.awaited {
            Awaited::Nothing => 0,
            Awaited::Acknowledgement => 1,
            Awaited::Data => 2,
        };
        let [low, high] = self.sequence.to_le_bytes();
        let task = u8::from(self.task == Task::SetClock);
        let mut state = vec![LAYOUT, u8::from(self.next_fcb), self.address, awaited, task, low, high];
        for frame in &self.queue {
            state.push(frame.len().min(255) as u8);
            state.extend_from_slice(frame.get(..frame.len().min(255)).unwrap_or_default());
        }
        state
    }

    /// What the answer to the command under way carries.
    pub fn correlation(&self) -> Vec<u8> {
        let [low, high] = self.sequence.to_le_bytes();
        vec![if self.task == Task::Read { b'R' } else { b'C' }, low, high]
    }

    /// A request with the frame count bit as it stands.
    pub fn request(&self, request: u8) -> Vec<u8> {
        link::short(self.with_fcb(request), self.address)
    }

    /// Control byte with the frame count bit as it stands.
    pub const fn with_fcb(&self, request: u8) -> u8 {
        if self.next_fcb { request | control::FCB } else { request }
    }

    /// The next frame of the queue, and what it will be answered with.
    pub fn advance(&mut self) -> Option<Vec<u8>> {
        if self.queue.is_empty() {
            return None;
        }
        let frame = self.queue.remove(0);
        let asks = frame.get(1).is_some_and(|c| c & !control::FCB == control::REQ_UD2) && frame.len() == 5;
        self.awaited = if asks { Awaited::Data } else { Awaited::Acknowledgement };
        Some(frame)
    }

    /// Whether the meter of the session can answer at this bus address, where nothing else names it. Asked at an address, it
    /// answers there or where it was heard before. Selected, or alone on its line, it answers wherever it is, once it is asked.
    /// Those above the highest are nobody's own.
    pub fn is_at(&self, bus: u8, met: &Memory) -> bool {
        if bus > address::MAX || bus == self.address || met.primary == Some(bus) {
            return true;
        }
        let is_asked = self.awaited != Awaited::Nothing && self.queue.is_empty();
        match (self.address, met.primary) {
            (..=address::MAX, _) => false,
            (address::SELECTED, _) if is_asked => true,
            (_, Some(_)) => false,
            // Nobody was asked in this session: who brings the answer knows whose it is.
            (UNKNOWN, None) => !met.by_radio,
            (_, None) => is_asked,
        }
    }

    pub const fn is_selected(&self) -> bool {
        self.address == address::SELECTED
    }
}

/// What is remembered of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// False: never met, its registration is news.
    pub is_met: bool,
    pub primary: Option<u8>,
    pub by_radio: bool,
    pub marks: Marks,
}

impl Memory {
    pub fn of(context: &Context) -> Self {
        match context.device.as_ref().map(|d| d.memory.as_slice()) {
            Some([LAYOUT, primary, radio, marks @ ..]) if marks.len() <= 1 => Self {
                is_met: true,
                primary: (*primary <= address::MAX).then_some(*primary),
                by_radio: *radio == 1,
                marks: Marks(marks.first().copied().unwrap_or(0)),
            },
            _ => Self::default(),
        }
    }

    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![LAYOUT, self.primary.unwrap_or(UNKNOWN), u8::from(self.by_radio)];
        if self.marks != Marks::default() {
            bytes.push(self.marks.0);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_both_ways_and_nonsense_is_a_new_session() {
        let mut session = Session {
            next_fcb: true,
            address: 5,
            awaited: Awaited::Acknowledgement,
            task: Task::SetClock,
            sequence: 0x1234,
            queue: vec![vec![0x10, 0x7B, 5, 0x80, 0x16], vec![1, 2, 3]],
        };
        assert_eq!(Session::read(&session.to_state()), Some(session.clone()));
        assert_eq!(session.advance().map(|f| f.len()), Some(5));
        assert_eq!(session.awaited, Awaited::Data);
        assert_eq!(Session::read(&[9; 20]), None);
        assert_eq!(Session::read(&[1, 0, 0, 0, 0, 0, 0, 5, 1]), None);
    }
}
