//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use fengxian::Fengxian;
use fengxian::device::{Heard, Meter};
use polymeter_sdk::{
    Adapter, Admission, Answer, Command, Context, Decoded, Device, Direction, Encoded, EndReason, Fault, Message,
    Transport,
};

/// 2024-03-15 02:00:10.
pub const READ_AT: i64 = 1_710_468_010;

pub struct Station {
    pub adapter: Fengxian,
    pub memory: Vec<u8>,
    pub state: Vec<u8>,
    pub now: i64,
    pub address: String,
}

impl Station {
    pub fn new(meter: &Meter, profile: &str) -> Self {
        Self {
            adapter: Fengxian::configure(profile).expect("the profile is valid"),
            memory: Vec::new(),
            state: Vec::new(),
            now: READ_AT + 5,
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
        let Ok(Heard::Requested { answer, .. }) = meter.receive(frame) else { panic!("the meter takes it") };
        let decoded = self.hear(&answer).expect("the answer is understood");
        let [Message::Answer(answer)] = &decoded.messages[..] else { panic!("an answer, not {:?}", decoded.messages) };
        assert_eq!(answer.correlation, encoded.correlation);
        answer.clone()
    }

    /// Says that this is all; what the meter made of it.
    pub fn end(&mut self, meter: &mut Meter) -> Option<Heard> {
        let encoded = self.say(&Command::EndSession(EndReason::Done)).expect("an end");
        assert!(encoded.correlation.is_empty());
        encoded.frames.first().map(|frame| meter.receive(frame).expect("the meter takes it"))
    }

    pub fn context(&self) -> Context {
        Context {
            now: self.now,
            direction: Direction::Uplink,
            transport: Transport::Stream,
            admission: Admission::Welcome,
            pending: 0,
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
