//! How a meter carries out the station's orders (§F): reads, the valve, the image of new firmware. Settings and money are in `settings`.
//! Each writes its answer after the result byte; what cannot be read is malformed.

use crate::board::Board;
use crate::buffer::Reader;
use crate::cipher::{SEAL_BYTES, Suite};
use crate::frame::message;
use crate::report::put_reading;
use crate::state::{Intent, Motion, Status};
use crate::terminal::Terminal;
use crate::time::{date_of, day_from, day_of, from_bcd, from_t6, midnight_of, to_t6};
use crate::{BODY_BYTES_MAX, Civil, result};

/// What became of an order.
pub(crate) enum Carried {
    Done(u8),
    Frozen(Frozen),
    Moving(Motion),
}

/// Stored values that are still to be told.
#[derive(Clone, Copy)]
pub(crate) struct Frozen {
    kind: u8,
    start: Civil,
    next: u16,
    count: u16,
    now: Civil,
}

/// Stored values of one part: a sealed body holds them.
const PART: u16 = ((BODY_BYTES_MAX - SEAL_BYTES - 7) / 8) as u16;

/// An image on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Image {
    id: u32,
    size: u32,
    block: u16,
    crc: u32,
    next: u16,
    known: bool,
}

impl<const ANSWER: usize> Terminal<ANSWER> {
    pub(crate) fn carry_out(
        &mut self,
        now: Civil,
        number: u16,
        suite: Option<Suite>,
        mut r: Reader<'_>,
        board: &mut impl Board,
    ) -> Carried {
        let r = &mut r;
        let done = match number {
            message::READ_FROZEN => return read_frozen(now, r).unwrap_or(Carried::Done(result::MALFORMED)),
            message::VALVE => return self.order_valve(now, r, board).unwrap_or(Carried::Done(result::MALFORMED)),
            message::READ_NOW => Some(self.read_now(now, board)),
            message::SET_CLOCK => self.set_clock(now, r),
            message::SET_SCHEDULE => self.set_schedule(r, board),
            message::SET_ENDPOINT => self.set_endpoint(r, board),
            message::SET_KEY => self.set_key_by_order(suite, r, board),
            message::SET_PARAMETERS => self.set_parameters(r, board),
            message::READ_PARAMETERS => self.read_parameters(r),
            message::RECHARGE => self.recharge(r, board),
            message::TARIFF => self.set_tariff(r, board),
            message::BALANCE => self.set_balance(r, board),
            message::READ_ACCOUNT => Some(self.read_account()),
            message::UPGRADE_BEGIN => self.upgrade_begin(r, board),
            message::UPGRADE_BLOCK => self.upgrade_block(r, board),
            message::UPGRADE_ACTIVATE => self.upgrade_activate(r, board),
            _ => {
                let mut answer = self.body;
                let found = board.extension(number, r, &mut answer);
                self.body = answer;
                Some(found.unwrap_or(result::UNKNOWN))
            }
        };
        if done.is_none() {
            self.body.truncate(1);
        }
        Carried::Done(done.unwrap_or(result::MALFORMED))
    }

    fn read_now(&mut self, now: Civil, board: &mut impl Board) -> u8 {
        let mut body = self.body;
        self.put_status(now, board, &mut body);
        body.u32(board.reading(now).standard.unwrap_or(u32::MAX));
        self.body = body;
        result::OK
    }

    /// One part of the answer into the body; what is left for the next.
    pub(crate) fn put_frozen(&mut self, frozen: Frozen, board: &mut impl Board) -> Option<Frozen> {
        let part = (frozen.count - frozen.next).min(PART);
        let [year, month, date, hour, ..] = to_t6(frozen.at(frozen.next));
        let mut body = self.body;
        body.put(&[result::OK, frozen.kind, year, month, date, hour, part as u8]);
        for n in frozen.next..frozen.next + part {
            let at = frozen.at(n);
            let reading = match day_of(at) {
                _ if at > frozen.now => crate::Reading::default(),
                Some(day) if midnight_of(day) == at => self.frozen(day, board),
                _ => board.reading(at),
            };
            put_reading(reading, true, &mut body);
        }
        self.body = body;
        let next = frozen.next + part;
        (next < frozen.count).then_some(Frozen { next, ..frozen })
    }

    /// Closing moves the valve, once an order id and not after its time; the permit only lets the user open it (§G 5). What is to be done is
    /// durable before the motor starts.
    fn order_valve(&mut self, now: Civil, r: &mut Reader<'_>, board: &mut impl Board) -> Option<Carried> {
        let (order, id) = (r.u8()?, r.u32()?);
        let valid_until = from_t6(r.array()?)?;
        let reason = r.u8()?;
        let result = if self.executed.contains(id) {
            result::DUPLICATE
        } else if valid_until.is_none_or(|until| until < now) {
            result::EXPIRED
        } else if self.status.valve == 0 {
            result::UNSUPPORTED
        } else if order == 1 {
            if self.status.valve == 3 {
                self.status.valve = 2;
            }
            self.executed.add(id);
            if self.save(board) { result::OK } else { result::STORAGE_FULL }
        } else if matches!(order, 2 | 3) {
            self.intent = Some(Intent { order, id, reason });
            if self.save(board) {
                if board.is_closed() != Some(true) {
                    return Some(Carried::Moving(Motion::Close));
                }
                return Some(Carried::Done(self.close_done(true, board)));
            }
            self.intent = None;
            result::STORAGE_FULL
        } else {
            return Some(Carried::Done(result::BAD_PARAMETER));
        };
        self.put_valve(id);
        Some(Carried::Done(result))
    }

    /// The valve is where the order wants it, or not; either way the order is over.
    pub(crate) fn close_done(&mut self, reached: bool, board: &mut impl Board) -> u8 {
        let Some(intent) = self.intent.take() else { return result::NOT_ALLOWED };
        if reached {
            (self.status.valve, self.status.reason) = (intent.order, intent.reason);
            self.status.alarms &= !Status::VALVE_FAULT;
            self.executed.add(intent.id);
        } else {
            self.status.valve = 5;
            self.status.alarms |= Status::VALVE_FAULT;
        }
        self.save(board);
        self.body.clear();
        self.body.push(result::OK);
        self.put_valve(intent.id);
        if reached { result::OK } else { result::VALVE_FAILED }
    }

    fn put_valve(&mut self, id: u32) {
        self.body.u32(id);
        self.body.put(&[self.status.valve, self.status.reason]);
    }

    fn upgrade_begin(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let id = r.u32()?;
        r.take(8)?;
        let (size, block, crc) = (r.u32()?, r.u16()?, r.u32()?);
        let image = Image { id, size, block, crc, next: 0, known: true };
        if block == 0 {
            return Some(result::BAD_PARAMETER);
        }
        if (Image { next: 0, ..self.upgrade }) != image {
            if !board.begin(size) {
                return Some(result::STORAGE_FULL);
            }
            self.upgrade = image;
        }
        self.body.u16(self.upgrade.next);
        Some(result::OK)
    }

    fn upgrade_block(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let (id, index) = (r.u32()?, r.u16()?);
        let length = r.u16()?;
        let data = r.take(usize::from(length))?;
        let image = &mut self.upgrade;
        if !image.known || image.id != id {
            return Some(result::NOT_ALLOWED);
        }
        let offset = u32::from(index) * u32::from(image.block);
        let fits = length <= image.block && offset.checked_add(u32::from(length)).is_some_and(|end| end <= image.size);
        if index == image.next && fits {
            if !board.write(offset, data) {
                return Some(result::STORAGE_FULL);
            }
            image.next = image.next.saturating_add(1);
        }
        self.body.u16(self.upgrade.next);
        Some(result::OK)
    }

    fn upgrade_activate(&mut self, r: &mut Reader<'_>, board: &mut impl Board) -> Option<u8> {
        let id = r.u32()?;
        let at = from_t6(r.array()?)?;
        if !self.upgrade.known || self.upgrade.id != id {
            return Some(result::NOT_ALLOWED);
        }
        let damaged = board.crc32(self.upgrade.size) != self.upgrade.crc;
        self.body.push(u8::from(damaged));
        if !damaged {
            board.activate(at);
        }
        Some(result::OK)
    }
}

fn read_frozen(now: Civil, r: &mut Reader<'_>) -> Option<Carried> {
    let kind = r.u8()?;
    let [year, month, date, hour]: [u8; 4] = r.array()?;
    let count = u16::from(r.u8()?);
    let part = |packed: u8| from_bcd(packed);
    let day = day_from(u16::from(part(year)?), part(month)?, part(date.max(1))?)?;
    let hour = if kind == 1 { i64::from(part(hour).unwrap_or(0)) } else { 0 };
    let start = midnight_of(day) + hour * 3600;
    if !(1..=3).contains(&kind) || count == 0 {
        return Some(Carried::Done(result::BAD_PARAMETER));
    }
    if start > now {
        return Some(Carried::Done(result::NO_DATA));
    }
    Some(Carried::Frozen(Frozen { kind, start, next: 0, count, now }))
}

impl Frozen {
    fn at(&self, n: u16) -> Civil {
        match self.kind {
            1 => self.start + i64::from(n) * 3600,
            2 => self.start + i64::from(n) * crate::time::DAY,
            _ => months_later(self.start, n),
        }
    }
}

fn months_later(start: Civil, months: u16) -> Civil {
    let Some((year, month, _)) = day_of(start).map(date_of) else { return start };
    let number = year * 12 + u16::from(month) - 1 + months;
    day_from(number / 12, (number % 12) as u8 + 1, 1).map_or(start, midnight_of)
}
