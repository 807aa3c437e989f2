//! What a simulated meter does with a command. The answers follow the sheet's guesses, as the adapter does.

use super::{Meter, Valve};
use crate::groups::GROUPS;
use crate::{alarms, code};
use polymeter_sdk::bytes::{FieldError, Reader};

/// Codes of this simulation; real ones are not public.
const DONE: u16 = 0;
const MALFORMED: u16 = 1;
const UNKNOWN: u16 = 2;
const VALVE_FAULT: u16 = 3;

impl Meter {
    /// The answer's body.
    pub(super) fn execute(&mut self, command: u16, body: &[u8]) -> Vec<u8> {
        let done = match command {
            code::VALVE => self.move_valve(body),
            code::RECHARGE => self.recharge(body),
            code::SET_ACCOUNT => self.set_account(body),
            code::WRITE_TOTALS => self.write_totals(body),
            code::SET_KEY => self.set_key(body),
            code::CORRECTOR_RECHARGE => return [&[0, 0], body].concat(),
            code::READ_ACCOUNT => return self.account(),
            code::READ_VERSIONS => return self.versions(),
            _ if code::is_read(command) => return self.stored(command),
            _ if GROUPS.iter().any(|g| g.write == command && g.bytes == body.len()) || command == code::SET_TARIFF => {
                self.written.insert(command, body.to_vec());
                Ok(DONE)
            }
            _ => Ok(UNKNOWN),
        };
        [done.unwrap_or(MALFORMED).to_le_bytes(), [0, 0]].concat()
    }

    fn move_valve(&mut self, body: &[u8]) -> Result<u16, FieldError> {
        let (target, occurrence) = match Reader::new(body).u16_le("value")? {
            0 => (Valve::ClosedForced, 0),
            1 => (Valve::Open, alarms::REMOTE_OPEN),
            2 => (Valve::ClosedTemporary, alarms::REMOTE_CLOSE),
            _ => return Ok(MALFORMED),
        };
        if matches!(self.state.valve, Valve::Absent | Valve::Fault) {
            return Ok(VALVE_FAULT);
        }
        self.state.valve = target;
        self.state.alarms = self.state.alarms & !(alarms::REMOTE_OPEN | alarms::REMOTE_CLOSE) | occurrence;
        Ok(DONE)
    }

    fn recharge(&mut self, body: &[u8]) -> Result<u16, FieldError> {
        let total = Reader::new(body).u32_le("total purchased")?;
        let bought = i64::from(total) - i64::from(self.state.purchased_total);
        self.state.balance = i32::try_from(i64::from(self.state.balance) + bought).unwrap_or(i32::MAX);
        self.state.purchased_total = total;
        Ok(DONE)
    }

    fn set_account(&mut self, body: &[u8]) -> Result<u16, FieldError> {
        let mut r = Reader::new(body);
        let (total, balance, price) = (r.u32_le("total")?, r.i32_le("balance")?, r.u32_le("price")?);
        (self.state.purchased_total, self.state.balance, self.state.price) = (total, balance, price);
        Ok(DONE)
    }

    fn write_totals(&mut self, body: &[u8]) -> Result<u16, FieldError> {
        let mut r = Reader::new(body);
        let (working, standard) = (r.u32_le("working total")?, r.u32_le("standard total")?);
        self.state.working_total = if working == u32::MAX { self.state.working_total } else { working };
        self.state.standard_total = if standard == u32::MAX { self.state.standard_total } else { standard };
        Ok(DONE)
    }

    fn set_key(&mut self, body: &[u8]) -> Result<u16, FieldError> {
        let key = Reader::new(body).array("key")?;
        if self.key.is_none() {
            return Ok(UNKNOWN);
        }
        self.key = Some(key);
        Ok(DONE)
    }

    fn account(&self) -> Vec<u8> {
        let s = &self.state;
        let words = [s.purchased_total, s.balance.cast_unsigned(), s.price].map(u32::to_le_bytes);
        [&[0, 0], &words.concat()[..], &[0, 0]].concat()
    }

    fn versions(&self) -> Vec<u8> {
        [&[0, 0], &b"H1.0"[..], &self.state.firmware, &self.iccid].concat()
    }

    /// The body of the matching set command, zeros if that never came; frozen data are two such bytes.
    fn stored(&self, command: u16) -> Vec<u8> {
        let write = if command == code::READ_TARIFF { Some(code::SET_TARIFF) } else { None };
        let group = GROUPS.iter().find(|g| g.read == command);
        let body = write.or(group.map(|g| g.write)).and_then(|code| self.written.get(&code).cloned());
        let body = body.unwrap_or_else(|| vec![0; group.map_or(2, |g| g.bytes)]);
        [&[0, 0], &body[..]].concat()
    }
}
