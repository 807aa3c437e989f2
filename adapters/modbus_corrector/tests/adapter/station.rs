//! As much of a station as a conversation with one corrector needs: it remembers, counts nothing and journals nothing.

use modbus_corrector::ModbusCorrector;
use modbus_corrector::device::Corrector;
use polymeter_sdk::{Answer, Command, Message, Report, Transport, rehearsal};

/// 2024-03-15 18:25:30.
pub const NOW: i64 = 1_710_527_130;
pub const IMEI: &str = "866123040012349";

pub type Station = rehearsal::Station<ModbusCorrector>;

pub fn station_of(profile: &str) -> Station {
    Station::new(IMEI, profile, NOW, Transport::Stream)
}

/// What a corrector and the station do together.
pub trait Together {
    /// Sends a command, and every request that follows from an answer; gives all messages.
    fn ask(&mut self, corrector: &mut Corrector, command: &Command) -> Vec<Message>;
    /// The answers among them.
    fn answers(&mut self, corrector: &mut Corrector, command: &Command) -> Vec<Answer>;
    /// The only one.
    fn ask_one(&mut self, corrector: &mut Corrector, command: &Command) -> Answer;
}

impl Together for Station {
    fn ask(&mut self, corrector: &mut Corrector, command: &Command) -> Vec<Message> {
        let encoded = self.say(command).expect("the command can be said");
        assert_eq!(encoded.frames.len(), 1);
        let mut messages = Vec::new();
        let mut request = encoded.frames.into_iter().next();
        let mut count = 0;
        while let Some(frame) = request.take() {
            count += 1;
            assert!(count < 100, "the conversation ends");
            let Some(answer) = corrector.hear(&frame) else { break };
            let decoded = self.hear(&answer).expect("the answer is understood");
            request = decoded.reply;
            messages.extend(decoded.messages);
        }
        for message in &messages {
            if let Message::Answer(answer) = message {
                assert_eq!(answer.correlation, encoded.correlation);
            }
        }
        messages
    }

    fn answers(&mut self, corrector: &mut Corrector, command: &Command) -> Vec<Answer> {
        let messages = self.ask(corrector, command);
        messages.into_iter().filter_map(|m| if let Message::Answer(a) = m { Some(a) } else { None }).collect()
    }

    fn ask_one(&mut self, corrector: &mut Corrector, command: &Command) -> Answer {
        let [answer] = &self.answers(corrector, command)[..] else { panic!("not one answer to {command:?}") };
        answer.clone()
    }
}

pub fn report(answer: &Answer) -> &Report {
    match &answer.body {
        polymeter_sdk::AnswerBody::Report(report) => report,
        other => panic!("a report, not {other:?}"),
    }
}
