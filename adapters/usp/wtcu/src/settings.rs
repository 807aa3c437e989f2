//! Orders that change what a meter is told to be (§F): clock, schedule, station, key, parameters, money. What was accepted is durable before it is
//! answered.

use crate::board::Board;
use crate::buffer::{Buffer, Reader};
use crate::cipher::{Algorithm, Suite};
use crate::parameters::{HARDWARE_FIRMWARE, Refused};
use crate::schedule::Period;
use crate::terminal::{Executed, Terminal};
use crate::time::{from_bcd, from_t6, to_t6};
use crate::{Civil, result};

impl<const ANSWER: usize> Terminal<ANSWER> {
    pub(crate) fn set_clock(&mut self, now: Civil, r: &mut Reader<'_>) -> Option<u8> {
        self.clock_to = from_t6(r.array()?)?;
        self.body.put(&to_t6(now));
        Some(result::OK)
    }

    pub(crate) fn set_schedule(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let [mask, period, hour, minute, stagger, awake] = r.array()?;
        let heartbeat = r.u16()?;
        let mut plan = self.plan;
        if mask & 1 != 0 {
            let Some(period) = Period::from_byte(period) else { return Some(result::BAD_PARAMETER) };
            plan.period = period;
        }
        if mask & 2 != 0 {
            match (from_bcd(hour), from_bcd(minute)) {
                (Some(hour @ 0..24), Some(minute @ 0..60)) => {
                    plan.minute_of_day = u16::from(hour) * 60 + u16::from(minute);
                }
                _ => return Some(result::BAD_PARAMETER),
            }
        }
        if mask & 4 != 0 {
            plan.stagger_minutes = stagger;
        }
        if mask & 8 != 0 {
            plan.awake_minutes = awake;
        }
        if mask & 16 != 0 {
            plan.heartbeat_minutes = heartbeat;
        }
        self.plan = plan;
        // The slot that worked belonged to the former schedule.
        if mask & 7 != 0 {
            self.kept_slot = None;
        }
        self.body.put(&plan.bytes());
        Some(if self.save(board) { result::OK } else { result::STORAGE_FULL })
    }

    pub(crate) fn set_endpoint(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let index = r.u8()?;
        self.body.push(index);
        let mut whole = *r;
        whole.take(2)?;
        for behind in [2, 0] {
            let length = usize::from(whole.u8()?);
            whole.take(length + behind)?;
        }
        let endpoint = Buffer::of(r.0);
        match self.endpoints.get_mut(usize::from(index)) {
            Some(known) if whole.0.is_empty() && !endpoint.is_full() => *known = endpoint,
            _ => return Some(result::BAD_PARAMETER),
        }
        Some(if self.save(board) { result::OK } else { result::STORAGE_FULL })
    }

    pub(crate) fn set_key_by_order(
        &mut self,
        carrier: Option<Suite>,
        r: &mut Reader<'_>,
        board: &mut impl Board,
    ) -> Option<u8> {
        let (version, algorithm) = (r.u8()?, r.u8()?);
        let (wrapped, check) = (r.array()?, r.array()?);
        let algorithm = match algorithm {
            1 => Algorithm::Aes128,
            2 => Algorithm::Sm4,
            _ => return Some(result::BAD_PARAMETER),
        };
        let new = Suite { algorithm, version: version & 15 };
        let Some(key) = carrier.and_then(|carrier| self.keys.unwrap(carrier, new, &wrapped, check)) else {
            return Some(result::SECURITY);
        };
        self.set_key(new, key);
        self.body.put(&check);
        Some(if self.save(board) { result::OK } else { result::STORAGE_FULL })
    }

    pub(crate) fn set_parameters(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let count = r.u8()?;
        self.body.push(count);
        for _ in 0..count {
            let id = r.u16()?;
            let length = usize::from(r.u8()?);
            let value = r.take(length)?;
            let result = match self.parameters.set(id, value) {
                _ if id == HARDWARE_FIRMWARE => result::NOT_ALLOWED,
                Ok(()) => result::OK,
                Err(Refused::Unknown) => result::UNSUPPORTED,
                Err(Refused::WrongLength) => result::BAD_PARAMETER,
                Err(Refused::NoRoom) => result::STORAGE_FULL,
            };
            self.body.u16(id);
            self.body.push(result);
        }
        Some(if self.save(board) { result::OK } else { result::STORAGE_FULL })
    }

    pub(crate) fn read_parameters(&mut self, r: &mut Reader<'_>) -> Option<u8> {
        let count = r.u8()?;
        let mut body = self.body;
        let at = body.len();
        body.push(0);
        let mut found = 0;
        let mut tell = |id: u16| {
            let own = [&self.identity.hardware.0[..], &self.identity.firmware.0];
            let (first, second): (&[u8], &[u8]) = match self.parameters.get(id) {
                Some(value) => (value, &[]),
                None if id == HARDWARE_FIRMWARE => (own[0], own[1]),
                None => return,
            };
            found += 1;
            body.u16(id);
            body.push((first.len() + second.len()) as u8);
            body.put(first);
            body.put(second);
        };
        if count == 0 {
            self.parameters.ids().chain([HARDWARE_FIRMWARE]).for_each(&mut tell);
        }
        for _ in 0..count {
            tell(r.u16()?);
        }
        if let Some(place) = body.as_mut_slice().get_mut(at) {
            *place = found;
        }
        if found == 0 {
            return Some(result::NO_DATA);
        }
        self.body = body;
        Some(result::OK)
    }

    pub(crate) fn recharge(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let id = r.u32()?;
        let (count, amount) = (r.u16()?, r.i32()?);
        let _volume_and_total = r.array::<8>()?;
        let mut result = result::DUPLICATE;
        if !self.executed.contains(id) {
            let before = (self.executed, self.account);
            self.executed.add(id);
            self.account.balance = self.account.balance.saturating_add(amount);
            self.account.purchase_count = count;
            result = result::OK;
            if !self.save(board) {
                // What is not durable has not happened: the station will ask again.
                (self.executed, self.account) = before;
                result = result::STORAGE_FULL;
            }
        }
        self.body.u32(id);
        self.body.u32(self.account.balance as u32);
        self.body.u16(self.account.purchase_count);
        Some(result)
    }

    pub(crate) fn set_tariff(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let plan = r.u16()?;
        let _effective = from_t6(r.array()?)?;
        let _mode_and_cycle = r.array::<2>()?;
        let _start = from_t6(r.array()?)?;
        let steps = usize::from(r.u8()?);
        if !(1..=6).contains(&steps) {
            return Some(result::BAD_PARAMETER);
        }
        r.take(4 * (steps - 1))?;
        let price = r.u32()?;
        r.take(4 * (steps - 1))?;
        (self.account.plan, self.account.price) = (plan, price);
        self.body.u16(plan);
        Some(if self.save(board) { result::OK } else { result::STORAGE_FULL })
    }

    pub(crate) fn set_balance(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let (balance, price, level, settled_total) = (r.i32()?, r.u32()?, r.u8()?, r.u32()?);
        let settled_at = from_t6(r.array()?)?;
        self.account = crate::Account { balance, price, level, settled_total, settled_at, ..self.account };
        self.body.u32(balance as u32);
        Some(if self.save(board) { result::OK } else { result::STORAGE_FULL })
    }

    pub(crate) fn read_account(&mut self) -> u8 {
        let account = self.account;
        self.body.u32(account.balance as u32);
        self.body.u32(account.price);
        self.body.push(account.level);
        self.body.u32(account.settled_total);
        self.body.put(&account.settled_at.map_or([0; 6], to_t6));
        self.body.u16(account.purchase_count);
        self.body.u16(account.plan);
        result::OK
    }
}

impl Executed {
    pub fn contains(&self, id: u32) -> bool {
        self.ids.iter().take(usize::from(self.count)).any(|known| *known == id)
    }

    pub fn add(&mut self, id: u32) {
        let places = self.ids.len();
        let place = usize::from(self.next) % places;
        self.ids[place] = id;
        self.next = ((place + 1) % places) as u8;
        self.count = self.count.saturating_add(1).min(places as u8);
    }
}
