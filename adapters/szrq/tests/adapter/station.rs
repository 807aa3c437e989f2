//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use polymeter_sdk::{
    Adapter, Admission, Answer, Command, Context, Decoded, Device, Direction, Encoded, Fault, Message, Transport,
};
use szrq::Szrq;
use szrq::device::{Heard, Meter};

/// 2024-03-15 18:25:07.
pub const READ_AT: i64 = 1_710_527_107;

pub struct Station {
    pub adapter: Szrq,
    pub memory: Vec<u8>,
    pub state: Vec<u8>,
    pub pending: u32,
    pub now: i64,
    pub address: String,
}

impl Station {
    pub fn new(meter: &Meter, profile: &str) -> Self {
        Self {
            adapter: Szrq::configure(profile).expect("the profile is valid"),
            memory: Vec::new(),
            state: Vec::new(),
            pending: 0,
            now: READ_AT + 3,
            address: meter.address(),
        }
    }

    pub fn hear(&mut self, frame: &[u8]) -> Result<Decoded, Fault> {
        let decoded = self.adapter.decode(&self.context(), frame)?;
        self.remember(decoded.state.as_deref(), decoded.memory.as_deref());
        Ok(decoded)
    }

    pub fn say(&mut self, command: &Command) -> Result<Encoded, Fault> {
        let encoded = self.adapter.encode(&self.context(), command)?;
        self.remember(encoded.state.as_deref(), encoded.memory.as_deref());
        Ok(encoded)
    }

    /// Sends a command to the meter and takes its answer.
    pub fn ask(&mut self, meter: &mut Meter, command: &Command) -> Answer {
        let encoded = self.say(command).expect("the command can be said");
        let [frame] = &encoded.frames[..] else { panic!("one frame, not {}", encoded.frames.len()) };
        let Ok(Heard::Commanded { answer, .. }) = meter.receive(frame, self.now) else { panic!("the meter takes it") };
        let decoded = self.hear(&answer).expect("the answer is understood");
        let Some(Message::Answer(answer)) = decoded.messages.first() else {
            panic!("an answer, not {:?}", decoded.messages)
        };
        assert_eq!(answer.correlation, encoded.correlation);
        assert!(!decoded.duplicate);
        answer.clone()
    }

    pub fn context(&self) -> Context {
        Context {
            now: self.now,
            direction: Direction::Uplink,
            transport: Transport::Datagram,
            admission: Admission::Welcome,
            pending: self.pending,
            device: Some(Device { address: self.address.clone(), memory: self.memory.clone() }),
            state: self.state.clone(),
        }
    }

    fn remember(&mut self, state: Option<&[u8]>, memory: Option<&[u8]>) {
        if let Some(state) = state {
            assert!(state.len() <= 4096);
            self.state = state.to_vec();
        }
        if let Some(memory) = memory {
            assert!(memory.len() <= 256);
            self.memory = memory.to_vec();
        }
    }
}
