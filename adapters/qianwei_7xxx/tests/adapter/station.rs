//! As much of a station as a conversation with one meter needs: it remembers, counts nothing and journals nothing.

use polymeter_sdk::keys::store;
use polymeter_sdk::{Answer, Command, Message, Transport, rehearsal};
use qianwei_7xxx::Qianwei;
use qianwei_7xxx::device::{Heard, Meter};

/// 2024-03-15 00:05:30.
pub const READ_AT: i64 = 1_710_461_130;

pub type Station = rehearsal::Station<Qianwei>;

/// Slots are this thread's keys.
pub fn station_of(meter: &Meter, profile: &str, slots: &[(&str, [u8; 16])]) -> Station {
    store::clear();
    for (slot, key) in slots {
        store::insert(slot, *key);
    }
    Station::new(meter.address(), profile, READ_AT + 11, Transport::Stream)
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
        let Ok(Heard::Commanded { answer, .. }) = meter.receive(frame) else { panic!("the meter takes the command") };
        let decoded = self.hear(&answer).expect("the answer is understood");
        let [Message::Answer(answer)] = &decoded.messages[..] else { panic!("an answer, not {:?}", decoded.messages) };
        assert_eq!(answer.correlation, encoded.correlation);
        answer.clone()
    }
}
