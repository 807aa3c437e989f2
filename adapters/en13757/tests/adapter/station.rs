//! A small station: gives the adapter its context, keeps state and memory as the real one does.

use en13757::En13757;
use polymeter_sdk::keys::store;
use polymeter_sdk::{
    Adapter, Admission, Answer, Civil, Command, Context, Decoded, Device, Direction, Encoded, Fault, Framing, Message,
    Transport,
};

/// 2024-03-15 00:20:05.
pub const NOW: Civil = 1_710_462_005;

pub struct Station {
    adapter: En13757,
    pub address: String,
    pub memory: Vec<u8>,
    pub state: Vec<u8>,
}

impl Station {
    pub fn new(profile: &str, address: &str) -> Self {
        store::clear();
        Self {
            adapter: En13757::configure(profile).expect("the profile is valid"),
            address: address.into(),
            memory: Vec::new(),
            state: Vec::new(),
        }
    }

    fn context(&self) -> Context {
        Context {
            now: NOW,
            direction: Direction::Uplink,
            transport: Transport::Stream,
            admission: Admission::Welcome,
            pending: 0,
            device: Some(Device { address: self.address.clone(), memory: self.memory.clone() }),
            state: self.state.clone(),
        }
    }

    pub fn say(&mut self, command: &Command) -> Result<Encoded, Fault> {
        let encoded = self.adapter.encode(&self.context(), command)?;
        self.keep(encoded.state.as_deref(), encoded.memory.as_deref());
        Ok(encoded)
    }

    pub fn hear(&mut self, frame: &[u8]) -> Result<Decoded, Fault> {
        assert_eq!(self.adapter.frame(frame), Framing::Frame(frame.len() as u32));
        let decoded = self.adapter.decode(&self.context(), frame)?;
        self.keep(decoded.state.as_deref(), decoded.memory.as_deref());
        Ok(decoded)
    }

    /// Carries a command to its end over a bus; the frames that went down and what came up.
    pub fn run(&mut self, command: &Command, mut bus: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Talk {
        let encoded = self.say(command).expect("a command that can be said");
        let mut talk = Talk { sent: Vec::new(), messages: Vec::new(), correlation: encoded.correlation };
        let mut next = encoded.frames.first().cloned();
        while let Some(frame) = next {
            assert!(talk.sent.len() < 20, "the conversation ends");
            let answer = bus(&frame);
            talk.sent.push(frame);
            next = answer.and_then(|answer| {
                let decoded = self.hear(&answer).expect("a good answer");
                talk.messages.extend(decoded.messages);
                decoded.reply
            });
        }
        talk
    }

    fn keep(&mut self, state: Option<&[u8]>, memory: Option<&[u8]>) {
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

/// What was said in one command.
pub struct Talk {
    pub sent: Vec<Vec<u8>>,
    pub messages: Vec<Message>,
    pub correlation: Vec<u8>,
}

impl Talk {
    pub fn answers(&self) -> Vec<&Answer> {
        let answers = self.messages.iter().filter_map(|m| if let Message::Answer(a) = m { Some(a) } else { None });
        answers.inspect(|a| assert_eq!(a.correlation, self.correlation)).collect()
    }
}
