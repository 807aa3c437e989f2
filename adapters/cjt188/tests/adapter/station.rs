//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use cjt188::Cjt188;
use cjt188::device::Meter;
use polymeter_sdk::{
    Adapter, Admission, Answer, Command, Context, Decoded, Device, Direction, Encoded, Fault, Framing, Message,
    Transport,
};

/// 2024-03-15 18:25:30.
pub const NOW: i64 = 1_710_527_130;

pub struct Station {
    pub adapter: Cjt188,
    pub memory: Vec<u8>,
    pub state: Vec<u8>,
    pub transport: Transport,
    pub address: String,
}

impl Station {
    pub fn new(meter: &Meter, profile: &str) -> Self {
        Self {
            adapter: Cjt188::configure(profile).expect("the profile is valid"),
            memory: Vec::new(),
            state: Vec::new(),
            transport: Transport::Relay,
            address: meter.address(),
        }
    }

    pub fn hear(&mut self, frame: &[u8]) -> Result<Decoded, Fault> {
        assert_eq!(self.adapter.frame(frame), Framing::Frame(frame.len() as u32));
        let decoded = self.adapter.decode(&self.context(), frame)?;
        self.remember(decoded.state.as_deref(), decoded.memory.as_deref());
        Ok(decoded)
    }

    pub fn say(&mut self, command: &Command) -> Result<Encoded, Fault> {
        let encoded = self.adapter.encode(&self.context(), command)?;
        self.remember(encoded.state.as_deref(), encoded.memory.as_deref());
        Ok(encoded)
    }

    /// Sends a command, and every request that follows from an answer; gives all answers to it.
    pub fn ask(&mut self, meter: &mut Meter, command: &Command) -> Vec<Answer> {
        let encoded = self.say(command).expect("the command can be said");
        let mut requests = encoded.frames;
        let mut answers = Vec::new();
        while let Some(request) = requests.pop() {
            for frame in meter.hear(NOW, &request) {
                let decoded = self.hear(&frame).expect("the answer is understood");
                requests.extend(decoded.reply);
                for message in decoded.messages {
                    match message {
                        Message::Answer(answer) => {
                            assert_eq!(answer.correlation, encoded.correlation);
                            answers.push(answer);
                        }
                        Message::Registration(_) => {}
                        other => panic!("not asked for: {other:?}"),
                    }
                }
            }
        }
        answers
    }

    /// The only answer to a command.
    pub fn ask_one(&mut self, meter: &mut Meter, command: &Command) -> Answer {
        let [answer] = &self.ask(meter, command)[..] else { panic!("not one answer to {command:?}") };
        answer.clone()
    }

    fn context(&self) -> Context {
        Context {
            now: NOW,
            direction: Direction::Uplink,
            transport: self.transport,
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
