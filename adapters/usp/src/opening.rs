//! Whether a frame is believed: its tag, its counter, its key, and whether plain is good enough (USP/1 §D).

use crate::frame::{Frame, message};
use crate::memory::{Memory, Standing};
use crate::names::result;
use crate::profile::Profile;
use crate::reply::Station;
use crate::security::{self, Keys, Suite};
use polymeter_sdk::keys::KeyError;
use polymeter_sdk::{Civil, Context, Fault, Message, log};
use std::borrow::Cow;

/// How far the clock in a sealed report may be off, either way, to vouch for its being new where no counter does.
const FRESH_WITHIN_S: u64 = 15 * 60;

/// What the station remembers of the terminal.
pub struct Known<'a> {
    pub bytes: &'a [u8],
    pub memory: Memory,
    /// It cannot be read: what kept old frames from counting twice is gone.
    pub lost: bool,
}

impl<'a> Known<'a> {
    pub fn of(context: &'a Context) -> Self {
        let bytes = context.device.as_ref().map_or(&[][..], |d| &d.memory);
        match Memory::read(bytes) {
            Ok(memory) => Self { bytes, memory, lost: false },
            Err(error) => {
                log::warn(&format!("what is remembered of the terminal cannot be read ({error}); it is learned anew"));
                Self { bytes, memory: Memory::anew(context.now), lost: true }
            }
        }
    }
}

/// A plain body, and the keys that opened it.
pub struct Opened<'a> {
    pub body: Cow<'a, [u8]>,
    pub keys: Option<Keys>,
    /// An exact retransmission of what an earlier session has accepted.
    pub again: bool,
}

/// All that decides whether a frame is believed.
pub struct Opening<'o, 'a> {
    pub profile: Profile,
    pub frame: &'o Frame<'a>,
    pub address: &'o str,
    /// `None`: the frame is an answer, and is never replied to.
    pub station: Option<&'o Station>,
    pub known: &'o Known<'o>,
}

impl<'a> Opening<'_, 'a> {
    pub fn open(&self, memory: &mut Memory) -> Result<Opened<'a>, Fault> {
        let header = &self.frame.header;
        if self.station.is_none() && self.known.lost {
            return Err(self.refuse("an answer, but what was remembered of the terminal is lost: a report comes first"));
        }
        let Some(suite) = Suite::from_byte(header.security)? else {
            return self.plain(memory).map(|()| Opened {
                body: Cow::Borrowed(self.frame.body),
                keys: None,
                again: false,
            });
        };
        if self.station.is_none() {
            // An answer is sealed as its command was (§D); one that nothing is known of has to stand for itself.
            if memory.asked(header.sequence).is_some_and(|asked| asked != header.security) {
                return Err(self.refuse("the answer is sealed otherwise than its command"));
            }
        }
        let unsealed =
            Keys::open(self.address, suite).and_then(|keys| keys.unseal(self.frame).map(|unsealed| (keys, unsealed)));
        let (keys, (seal, body)) = unsealed.map_err(|error| {
            self.refuse(match error {
                KeyError::NotAuthentic | KeyError::BadLength => "the tag does not match",
                KeyError::Absent => "no key of this version for this terminal",
                KeyError::Denied => "the terminal is not assigned to this adapter",
            })
        })?;
        let again = match memory.standing(suite, seal) {
            Standing::New => false,
            Standing::Again => true,
            Standing::Replayed => return Err(self.refuse("the nonce was used before")),
            Standing::KeyOutOfForce => {
                return Err(self.refuse("sealed under a key that is neither in force nor on its way"));
            }
        };
        if !again {
            let is_report =
                self.station.is_some() && !matches!(header.message, message::REGISTRATION | message::HEARTBEAT);
            memory.accept(suite, seal, is_report);
            memory.secures |= self.station.is_some();
        }
        Ok(Opened { body: Cow::Owned(body), keys: Some(keys), again })
    }

    fn plain(&self, memory: &Memory) -> Result<(), Fault> {
        let header = &self.frame.header;
        if self.station.is_none() {
            let sealed = memory.asked(header.sequence).map_or(memory.suite().is_some(), |asked| asked != 0);
            // A plain answer to a secured command is believed only when it says that security failed.
            if sealed && self.frame.body.first() != Some(&result::SECURITY) {
                return Err(self.refuse("a plain answer of a terminal that has a key"));
            }
        } else if !self.profile.plain_reports {
            if memory.secures {
                return Err(self.refuse("a plain report of a terminal that secured its reports before"));
            }
            if self.known.lost && security::has_own_key(self.address) {
                return Err(self.refuse(
                    "what was remembered of the terminal cannot be read, and there is a key for it: only a sealed \
                     report can start it anew",
                ));
            }
        }
        Ok(())
    }

    fn refuse(&self, detail: &str) -> Fault {
        let fault = Fault::not_authentic(detail);
        match self.station {
            Some(station) => fault.with_reply(station.plain_reply(&self.frame.header, result::SECURITY)),
            None => fault,
        }
    }

    /// Without a counter an old recording looks as good as new. What a sealed report says of the time cannot be changed, though.
    pub fn check_fresh(&self, messages: &[Message], now: Civil) -> Result<(), Fault> {
        let said = match messages.first() {
            Some(Message::Registration(registration)) => registration.clock,
            Some(Message::Heartbeat(heartbeat)) => heartbeat.clock,
            Some(Message::Report(report)) if report.subject.is_none() => report.at,
            _ => None,
        };
        match said {
            Some(said) if said.abs_diff(now) <= FRESH_WITHIN_S => Ok(()),
            _ => Err(self.refuse(
                "what was remembered of the terminal cannot be read: only a sealed report whose clock is within 15 \
                 minutes of the station's can start it anew",
            )),
        }
    }
}
