//! What the station answers to a report: result, clock, and how many commands wait (USP/1 §E).

use crate::fields::clock_bytes;
use crate::frame::{Header, flags};
use crate::memory::Memory;
use crate::names::result;
use crate::security::Keys;
use polymeter_sdk::{Context, Fault};

/// What the station's replies say besides the result: its clock, and how many commands wait.
pub struct Station {
    clock: [u8; 6],
    pending: u8,
}

impl Station {
    /// A clock that cannot be written would set the terminal's to nonsense: no reply goes out with one.
    pub fn of(context: &Context) -> Result<Self, Fault> {
        let clock = clock_bytes("the station's clock", context.now)?;
        Ok(Self { clock, pending: u8::try_from(context.pending).unwrap_or(u8::MAX) })
    }

    /// Secured as the report was.
    pub fn reply(&self, to: &Header, keys: Option<&Keys>, memory: &mut Memory, result: u8) -> Result<Vec<u8>, Fault> {
        match keys {
            None => Ok(self.plain_reply(to, result)),
            Some(keys) => {
                let header = Header { flags: flags::REPLY, security: keys.suite.byte(), ..*to };
                Ok(header.frame(&keys.seal(&header, memory.next_nonce()?, &self.body(result))?))
            }
        }
    }

    pub fn plain_reply(&self, to: &Header, result: u8) -> Vec<u8> {
        Header { flags: flags::REPLY, security: 0, ..*to }.frame(&self.body(result))
    }

    /// Result u8, T6 station clock, pending u8. A refusal promises no command to stay for.
    fn body(&self, result: u8) -> [u8; 8] {
        let [year, month, day, hour, minute, second] = self.clock;
        let pending = if result == result::OK { self.pending } else { 0 };
        [result, year, month, day, hour, minute, second, pending]
    }
}
