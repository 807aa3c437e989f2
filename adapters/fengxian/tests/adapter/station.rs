//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use fengxian::Fengxian;
use fengxian::device::{Heard, Meter};
use polymeter_sdk::{Answer, Command, EndReason, Message, Transport, rehearsal};

/// 2024-03-15 02:00:10.
pub const READ_AT: i64 = 1_710_468_010;

pub type Station = rehearsal::Station<Fengxian>;

pub fn station_of(meter: &Meter, profile: &str) -> Station {
    Station::new(meter.address(), profile, READ_AT + 5, Transport::Stream)
}

/// What this device and the station do together.
pub trait Together {
    /// Sends a command to the meter and takes its answer.
    fn ask(&mut self, meter: &mut Meter, command: &Command) -> Answer;
    /// Says that this is all; what the meter made of it.
    fn end(&mut self, meter: &mut Meter) -> Option<Heard>;
}

impl Together for Station {
    fn ask(&mut self, meter: &mut Meter, command: &Command) -> Answer {
        let encoded = self.say(command).expect("the command can be said");
        let [frame] = &encoded.frames[..] else { panic!("one frame, not {}", encoded.frames.len()) };
        let Ok(Heard::Requested { answer, .. }) = meter.receive(frame) else { panic!("the meter takes it") };
        let decoded = self.hear(&answer).expect("the answer is understood");
        let [Message::Answer(answer)] = &decoded.messages[..] else { panic!("an answer, not {:?}", decoded.messages) };
        assert_eq!(answer.correlation, encoded.correlation);
        answer.clone()
    }

    fn end(&mut self, meter: &mut Meter) -> Option<Heard> {
        let encoded = self.say(&Command::EndSession(EndReason::Done)).expect("an end");
        assert!(encoded.correlation.is_empty());
        encoded.frames.first().map(|frame| meter.receive(frame).expect("the meter takes it"))
    }
}
