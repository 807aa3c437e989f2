//! A small station: gives the adapter its context, keeps state and memory as the real one does.

use en13757::En13757;
use polymeter_sdk::keys::store;
use polymeter_sdk::{Answer, Civil, Command, Message, Transport, rehearsal};

/// 2024-03-15 00:20:05.
pub const NOW: Civil = 1_710_462_005;

pub type Station = rehearsal::Station<En13757>;

pub fn station_of(profile: &str, address: &str) -> Station {
    store::clear();
    Station::new(address, profile, NOW, Transport::Stream)
}

/// What this device and the station do together.
pub trait Together {
    /// Carries a command to its end over a bus; the frames that went down and what came up.
    fn run(&mut self, command: &Command, bus: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Talk;
}

impl Together for Station {
    fn run(&mut self, command: &Command, mut bus: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Talk {
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
