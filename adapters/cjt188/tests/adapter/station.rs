//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use cjt188::Cjt188;
use cjt188::device::Meter;
use polymeter_sdk::{Answer, Command, Message, Transport, rehearsal};

/// 2024-03-15 18:25:30.
pub const NOW: i64 = 1_710_527_130;

pub type Station = rehearsal::Station<Cjt188>;

pub fn station_of(meter: &Meter, profile: &str) -> Station {
    Station::new(meter.address(), profile, NOW, Transport::Relay)
}

/// What this device and the station do together.
pub trait Together {
    /// Sends a command, and every request that follows from an answer; gives all answers to it.
    fn ask(&mut self, meter: &mut Meter, command: &Command) -> Vec<Answer>;
    /// The only answer to a command.
    fn ask_one(&mut self, meter: &mut Meter, command: &Command) -> Answer;
}

impl Together for Station {
    fn ask(&mut self, meter: &mut Meter, command: &Command) -> Vec<Answer> {
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

    fn ask_one(&mut self, meter: &mut Meter, command: &Command) -> Answer {
        let [answer] = &self.ask(meter, command)[..] else { panic!("not one answer to {command:?}") };
        answer.clone()
    }
}
