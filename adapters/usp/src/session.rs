//! What is remembered during one session: how far it has come, and the last sixteen answered frames (USP/1 §B, §G).

use crate::frame::{Header, message};
use polymeter_sdk::bytes::{FieldError, Reader};

const LAYOUT: u8 = 2;
/// Before the day of the report was kept; still read, so that sessions outlive a change of version.
const FORMER_LAYOUT: u8 = 1;
/// How many answered frames a receiver remembers.
const ANSWERED_MAX: usize = 16;

/// Registration, then exactly one of 3043 and 3046.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session<'a> {
    pub registered: bool,
    pub always_online: bool,
    /// The report of this communication is whole.
    pub reported: bool,
    /// Message number of a report whose parts are still coming; 0 none.
    pub reporting: u16,
    /// Day (since 1970) of the newest reading in the last report that was this communication's; see `admit_report`.
    pub reported_day: i32,
    /// Oldest first.
    answered: Vec<Answered<'a>>,
}

/// A frame from the terminal that this side is done with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Answered<'a> {
    message: u16,
    sequence: u16,
    crc: u16,
    /// Empty: it needed no reply.
    reply: &'a [u8],
}

impl<'a> Session<'a> {
    // | Off | Size | Field                                                          |
    // |   0 |    1 | layout, 2                                                      |
    // |   1 |    1 | bit 0 registered, bit 1 always online, bit 2 reported          |
    // |   2 |    2 | message number of a report in parts, 0 none                    |
    // |   4 |    4 | day of the newest reading reported (LE); not in layout 1       |
    // |   8 |      | up to 16 of: message 2, sequence 2, crc 2, length 1, reply     |
    pub fn read(bytes: &'a [u8]) -> Result<Self, FieldError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut r = Reader::new(bytes);
        let layout = r.u8("state layout")?;
        if layout != LAYOUT && layout != FORMER_LAYOUT {
            return Err(FieldError::invalid("state layout", 0, i64::from(layout)));
        }
        let flags = r.u8("state flags")?;
        let mut session = Self {
            registered: flags & 1 != 0,
            always_online: flags & 2 != 0,
            reported: flags & 4 != 0,
            reporting: r.u16_le("report in parts")?,
            reported_day: if layout == LAYOUT { r.i32_le("reported day")? } else { 0 },
            answered: Vec::with_capacity(ANSWERED_MAX + 1),
        };
        while !r.is_empty() {
            let (message, sequence, crc) = (r.u16_le("message")?, r.u16_le("sequence")?, r.u16_le("crc")?);
            let length = usize::from(r.u8("reply length")?);
            session.answered.push(Answered { message, sequence, crc, reply: r.take("reply", length)? });
        }
        Ok(session)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let size = self.answered.iter().map(|a| 7 + a.reply.len()).sum::<usize>();
        let mut out = Vec::with_capacity(8 + size);
        let flags = u8::from(self.registered) | u8::from(self.always_online) << 1 | u8::from(self.reported) << 2;
        out.extend_from_slice(&[LAYOUT, flags]);
        out.extend_from_slice(&self.reporting.to_le_bytes());
        out.extend_from_slice(&self.reported_day.to_le_bytes());
        for a in &self.answered {
            out.extend_from_slice(&a.message.to_le_bytes());
            out.extend_from_slice(&a.sequence.to_le_bytes());
            out.extend_from_slice(&a.crc.to_le_bytes());
            out.push(a.reply.len() as u8);
            out.extend_from_slice(a.reply);
        }
        out
    }

    /// The stored reply to this very frame. Another frame of the same number is new: losing it would lose a reading.
    pub fn repeated(&self, header: &Header, crc: u16) -> Option<&'a [u8]> {
        let same = |a: &&Answered<'_>| a.message == header.message && a.sequence == header.sequence && a.crc == crc;
        self.answered.iter().find(same).map(|a| a.reply)
    }

    /// A registration with new content: the terminal has restarted.
    pub fn restart(&mut self, always_online: bool) {
        *self = Self { registered: true, always_online, ..Self::default() };
    }

    /// Remembers a frame and its reply; the oldest is forgotten.
    pub fn remember(&mut self, header: &Header, crc: u16, reply: &'a [u8]) {
        let (message, sequence) = (header.message, header.sequence);
        self.answered.retain(|a| a.message != message || a.sequence != sequence || a.crc != crc);
        if self.answered.len() == ANSWERED_MAX {
            self.answered.remove(0);
        }
        self.answered.push(Answered { message, sequence, crc, reply });
    }

    /// Whether a 3043 or 3046 is this communication's one report, and notes it. `newest_day` is that of its newest reading.
    ///
    /// A terminal that is always online registers once a connection and reports on it day after day: each report with a newer
    /// reading than the last is a new communication's (§A 3, §G 1). Two for the same day are one too many there too.
    pub fn admit_report(&mut self, number: u16, more: bool, newest_day: impl FnOnce() -> Option<i32>) -> bool {
        debug_assert!(number == message::DAILY || number == message::HISTORY);
        let day = if self.always_online { newest_day().unwrap_or(0) } else { 0 };
        if self.always_online && self.reported && day > self.reported_day {
            self.reported = false;
        }
        if self.reported || (self.reporting != 0 && self.reporting != number) {
            return false;
        }
        self.reported = !more;
        self.reporting = if more { number } else { 0 };
        self.reported_day = day;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Terminal;

    fn header(sequence: u16) -> Header {
        Header {
            message: message::DAILY,
            terminal: Terminal::Meter,
            address: [0; 7],
            sequence,
            flags: 0x20,
            security: 0,
        }
    }

    #[test]
    fn sixteen_answers_are_kept() {
        let mut session = Session::default();
        session.restart(true);
        let reply = [7; 41];
        for sequence in 0..20 {
            session.remember(&header(sequence), sequence, &reply);
        }
        let bytes = session.bytes();
        assert!(bytes.len() <= 4096);
        let again = Session::read(&bytes).expect("own bytes");
        assert_eq!(again, session);
        assert_eq!(again.repeated(&header(3), 3), None);
        assert_eq!(again.repeated(&header(4), 4), Some(&reply[..]));
        assert_eq!(again.repeated(&header(4), 5), None, "another frame of the same number");
    }

    #[test]
    fn one_report_a_communication() {
        let mut session = Session::default();
        let mut admit = |number, more| session.admit_report(number, more, || Some(9));
        assert!(admit(message::HISTORY, true));
        assert!(!admit(message::DAILY, false));
        assert!(admit(message::HISTORY, false));
        assert!(!admit(message::HISTORY, false));
    }

    #[test]
    fn an_always_online_terminal_has_one_report_a_day() {
        let mut session = Session::default();
        session.restart(true);
        let mut admit = |number, more, day| session.admit_report(number, more, || Some(day));
        assert!(admit(message::DAILY, false, 19_000));
        assert!(!admit(message::DAILY, false, 19_000), "the same day");
        assert!(!admit(message::HISTORY, false, 19_000), "one of the two");
        assert!(admit(message::DAILY, false, 19_001));
        assert!(!admit(message::DAILY, false, 18_990), "an older one is no new communication");
        assert!(admit(message::HISTORY, true, 19_010) && admit(message::HISTORY, false, 19_020));
        assert!(!admit(message::DAILY, false, 19_020));
    }

    #[test]
    fn the_former_layout_is_read() {
        let session = Session::read(&[1, 7, 0x46, 0x30]).expect("readable");
        assert!(session.registered && session.always_online && session.reported);
        assert_eq!((session.reporting, session.reported_day), (message::HISTORY, 0));
    }
}
