//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use polymeter_sdk::{Answer, Command, Message, Transport, rehearsal};
use szrq::Szrq;
use szrq::device::{Heard, Meter};

/// 2024-03-15 18:25:07.
pub const READ_AT: i64 = 1_710_527_107;

pub type Station = rehearsal::Station<Szrq>;

pub fn station_of(meter: &Meter, profile: &str) -> Station {
    Station::new(meter.address(), profile, READ_AT + 3, Transport::Datagram)
}

/// What this device and the station do together.
pub trait Together {
    /// Sends a command to the meter and takes its answer.
    fn ask(&mut self, meter: &mut Meter, command: &Command) -> Answer;
}

impl Together for Station {
    fn ask(&mut self, meter: &mut Meter, command: &Command) -> Answer {
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
}
