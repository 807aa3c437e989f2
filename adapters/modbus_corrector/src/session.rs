//! A session's state: the command under way, the requests that are still to be sent, and what was read so far.
//!
//! ```text
//! | layout 1 | task 1 | sequence 2 | own address 1 | met 1 | record 2 | told 2 | first 8 | last 8 | queue 2 | (length 1, request) … | image |
//! ```
//! The first request of the queue is the one that waits for its answer. Requests stand without their sum.

use crate::frame::{self, Answer, Body, READ_HOLDING, READ_INPUT, WRITE_MANY};
use crate::image::Image;
use crate::plan::Block;
use polymeter_sdk::bytes::Reader;
use polymeter_sdk::{Civil, Context, Fault};

const LAYOUT: u8 = 1;
/// The contract's bound.
pub const STATE_BYTES_MAX: usize = 4096;

/// A command under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    None,
    ReadCurrent,
    ReadAccount,
    ReadValve,
    SetClock,
    SetParameters,
    ReadParameters,
    Valve,
    Archive,
}

const TASKS: [Task; 9] = [
    Task::None,
    Task::ReadCurrent,
    Task::ReadAccount,
    Task::ReadValve,
    Task::SetClock,
    Task::SetParameters,
    Task::ReadParameters,
    Task::Valve,
    Task::Archive,
];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub task: Task,
    pub sequence: u16,
    /// The device has been announced in this session.
    pub met: bool,
    /// Next record of an archive, and how many were told.
    pub record: u16,
    pub told: u16,
    pub first: Civil,
    pub last: Civil,
    pub queue: Vec<Vec<u8>>,
    pub image: Image,
}

impl Session {
    /// Nonsense is a new session.
    pub fn of(context: &Context) -> Self {
        Self::read(&context.state).unwrap_or_else(|| Self::new(0))
    }

    fn new(sequence: u16) -> Self {
        Self {
            task: Task::None,
            sequence,
            met: false,
            record: 0,
            told: 0,
            first: 0,
            last: 0,
            queue: Vec::new(),
            image: Image::default(),
        }
    }

    fn read(state: &[u8]) -> Option<Self> {
        let mut r = Reader::new(state);
        if r.u8("layout").ok()? != LAYOUT {
            return None;
        }
        let task = *TASKS.get(usize::from(r.u8("task").ok()?))?;
        let sequence = r.u16_le("sequence").ok()?;
        let (bus, met) = (r.u8("own address").ok()?, r.u8("met").ok()? == 1);
        let (record, told) = (r.u16_le("record").ok()?, r.u16_le("told").ok()?);
        let (first, last) = (r.i64_le("first").ok()?, r.i64_le("last").ok()?);
        let mut queue = Vec::new();
        for _ in 0..r.u16_le("queue").ok()? {
            let length = usize::from(r.u8("length").ok()?);
            queue.push(r.take("request", length).ok()?.to_vec());
        }
        let image = Image { bytes: r.rest().to_vec(), bus };
        Some(Self { task, sequence, met, record, told, first, last, queue, image })
    }

    pub fn to_state(&self) -> Vec<u8> {
        let task = TASKS.iter().position(|t| *t == self.task).unwrap_or(0) as u8;
        let mut state = vec![LAYOUT, task];
        state.extend_from_slice(&self.sequence.to_le_bytes());
        state.extend_from_slice(&[self.image.bus, u8::from(self.met)]);
        state.extend_from_slice(&self.record.to_le_bytes());
        state.extend_from_slice(&self.told.to_le_bytes());
        state.extend_from_slice(&self.first.to_le_bytes());
        state.extend_from_slice(&self.last.to_le_bytes());
        state.extend_from_slice(&(self.queue.len() as u16).to_le_bytes());
        for request in &self.queue {
            state.push(request.len().min(255) as u8);
            state.extend_from_slice(&request[..request.len().min(255)]);
        }
        state.extend_from_slice(&self.image.bytes);
        state
    }

    /// A new command takes the place of whatever was under way.
    pub fn begin(&mut self, task: Task, bus: u8) {
        *self = Self { met: self.met, ..Self::new(self.sequence.wrapping_add(1)) };
        self.task = task;
        self.image.bus = bus;
    }

    /// Nothing is under way any more.
    pub fn end(&mut self) {
        *self = Self { met: self.met, ..Self::new(self.sequence) };
    }

    /// What the answer to the command under way carries.
    pub fn correlation(&self) -> Vec<u8> {
        let [high, low] = self.sequence.to_be_bytes();
        vec![b'M', high, low]
    }

    pub fn ask(&mut self, block: Block) {
        self.queue.push(read_request(block.bus.unwrap_or(self.image.bus), block));
    }

    /// The request that waits, ready to be sent.
    pub fn frame(&self) -> Option<Vec<u8>> {
        self.queue.first().map(|request| frame::seal(request.clone()))
    }

    /// Takes an answer in, if it can only be the waiting request's. Modbus numbers nothing: address, function and length, or what
    /// was written, are all there is to go by.
    pub fn take(&mut self, answer: &Answer<'_>) -> Result<(), Fault> {
        let Some(request) = self.queue.first() else { return Err(Fault::corrupt("nothing was asked")) };
        let [bus, function, a, b, c, d, data @ ..] = request.as_slice() else {
            return Err(Fault::corrupt("the session's state holds no request"));
        };
        if answer.bus != *bus {
            return Err(Fault::corrupt(format!("address {} answers, asked was {bus}", answer.bus)));
        }
        if answer.function != *function {
            return Err(Fault::corrupt(format!(
                "function {:02X} is answered, asked was {function:02X}",
                answer.function
            )));
        }
        let (first, second) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        match (answer.body, function) {
            (Body::Data(data), &(READ_HOLDING | READ_INPUT)) if data.len() == usize::from(second) * 2 => {
                self.image.push(*bus, *function, first, data);
            }
            (Body::Data(data), _) => {
                return Err(Fault::corrupt(format!(
                    "byte count at byte 2: {}, asked were {second} registers",
                    data.len()
                )));
            }
            (Body::Written(echoed_first, echoed), _) if (echoed_first, echoed) == (first, second) => {
                let written = if *function == WRITE_MANY { data.get(1..).unwrap_or_default() } else { &[*c, *d] };
                let written = written.to_vec();
                self.image.push(*bus, *function, first, &written);
            }
            (Body::Written(echoed_first, echoed), _) => {
                return Err(Fault::corrupt(format!(
                    "register {echoed_first} with {echoed} was written, asked was {first} with {second}"
                )));
            }
            (Body::Exception(_), _) => {}
        }
        self.queue.remove(0);
        Ok(())
    }
}

/// Without its sum.
pub fn read_request(bus: u8, block: Block) -> Vec<u8> {
    let ([fh, fl], [ch, cl]) = (block.first.to_be_bytes(), block.count.to_be_bytes());
    vec![bus, block.function, fh, fl, ch, cl]
}

/// Without its sum; `data` is two bytes for functions 5 and 6, up to 123 registers for 16.
pub fn write_request(bus: u8, function: u8, register: u16, data: &[u8]) -> Vec<u8> {
    let [high, low] = register.to_be_bytes();
    let mut request = vec![bus, function, high, low];
    if function == WRITE_MANY {
        request.extend_from_slice(&((data.len() / 2) as u16).to_be_bytes());
        request.push(data.len() as u8);
    }
    request.extend_from_slice(data);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_both_ways_and_nonsense_is_a_new_session() {
        let mut session = Session::new(0x1234);
        session.begin(Task::Archive, 7);
        (session.met, session.record, session.told, session.first, session.last) = (true, 5, 3, -1, i64::MAX);
        session.ask(Block { bus: None, function: 3, first: 0x6B, count: 3 });
        session.image.push(7, 3, 1, &[1, 2]);
        assert_eq!(Session::read(&session.to_state()), Some(session));
        for nonsense in [&[][..], &[2; 40], &[1, 9], &[1; 28], &[0xFF; 4096]] {
            assert_eq!(Session::read(nonsense), None);
        }
    }
}
