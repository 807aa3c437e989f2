//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use polymeter_sdk::keys::store;
use polymeter_sdk::{
    Adapter, Admission, Answer, Command, Context, Decoded, Device, Direction, Encoded, Fault, Message, Transport,
};
use qianwei_7xxx::Qianwei;
use qianwei_7xxx::device::{Heard, Meter};

/// 2024-03-15 00:05:30.
pub const READ_AT: i64 = 1_710_461_130;

pub struct Station {
    pub adapter: Qianwei,
    pub memory: Vec<u8>,
    pub state: Vec<u8>,
    pub pending: u32,
    pub address: String,
}

impl Station {
    /// Slots are this thread's keys.
    pub fn new(meter: &Meter, profile: &str, slots: &[(&str, [u8; 16])]) -> Self {
        store::clear();
        for (slot, key) in slots {
            store::insert(slot, *key);
        }
        Self {
            adapter: Qianwei::configure(profile).expect("the profile is valid"),
            memory: Vec::new(),
            state: Vec::new(),
            pending: 0,
            address: meter.address(),
        }
    }

    /// The connection is gone; what is remembered of the device stays.
    pub fn new_session(&mut self) {
        self.state.clear();
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
        let Ok(Heard::Commanded { answer, .. }) = meter.receive(frame) else { panic!("the meter takes the command") };
        let decoded = self.hear(&answer).expect("the answer is understood");
        let [Message::Answer(answer)] = &decoded.messages[..] else { panic!("an answer, not {:?}", decoded.messages) };
        assert_eq!(answer.correlation, encoded.correlation);
        answer.clone()
    }

    fn context(&self) -> Context {
        Context {
            now: READ_AT + 11,
            direction: Direction::Uplink,
            transport: Transport::Stream,
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
