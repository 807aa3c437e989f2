//! Bodies of what a terminal says of its own accord (§E).

use crate::board::{Board, Reading};
use crate::days::REPORT_DAYS_MAX;
use crate::terminal::Terminal;
use crate::time::{bcd, day_of, midnight_of, to_t6};
use crate::{BODY_BYTES_MAX, Buffer, Civil};

/// Entries of an event list that a terminal keeps until the station has them.
pub const EVENTS_MAX: usize = 16;

/// One entry of an event list, by the protocol's own code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    pub code: u8,
    pub at: Civil,
    pub value: u32,
}

/// 2020-01-01, since 2000.
const DAY_2020: u16 = 7305;

type Body = Buffer<BODY_BYTES_MAX>;

impl<const ANSWER: usize> Terminal<ANSWER> {
    pub(crate) fn put_registration(&self, now: Civil, board: &mut impl Board, body: &mut Body) {
        let identity = &self.identity;
        body.put(&[bcd((identity.vendor / 100) as u8), bcd((identity.vendor % 100) as u8)]);
        body.put(&identity.model.0);
        body.put(&identity.hardware.0);
        body.put(&identity.firmware.0);
        body.put(&identity.iccid.0);
        body.put(&identity.imei.0);
        body.u16(identity.capabilities);
        body.put(&self.plan.bytes());
        body.push(self.keys.version());
        body.put(&to_t6(now));
        body.u32(board.reading(now).working.unwrap_or(u32::MAX));
    }

    pub(crate) fn put_heartbeat(&self, now: Civil, body: &mut Body) {
        body.put(&to_t6(now));
        body.put(&[self.status.csq.unwrap_or(99), self.status.valve]);
    }

    pub(crate) fn put_daily(
        &mut self,
        now: Civil,
        day: u16,
        events: &[Event],
        board: &mut impl Board,
        body: &mut Body,
    ) {
        let reading = self.frozen(day, board);
        put_date(midnight_of(day), body);
        put_reading(reading, true, body);
        self.put_status(now, board, body);
        put_events(events, body);
    }

    pub(crate) fn put_history(
        &mut self,
        now: Civil,
        (oldest, count): (u16, u16),
        events: &[Event],
        board: &mut impl Board,
        body: &mut Body,
    ) {
        let count = count.clamp(1, REPORT_DAYS_MAX);
        let days = oldest..oldest.saturating_add(count);
        let both = days.clone().any(|day| self.frozen(day, board).standard.is_some());
        body.put(&[if self.plan.period as u8 == 3 { 3 } else { 2 }, u8::from(both)]);
        put_date(midnight_of(oldest), body);
        body.push(count as u8);
        for day in days {
            put_reading(self.frozen(day, board), both, body);
        }
        self.put_status(now, board, body);
        put_events(events, body);
    }

    pub(crate) fn put_abnormal(&mut self, now: Civil, events: &[Event], board: &mut impl Board, body: &mut Body) {
        self.put_status(now, board, body);
        put_events(events, body);
    }

    /// The reading of a day's 00:00: as it was kept, or as the meter still knows it.
    pub(crate) fn frozen(&self, day: u16, board: &mut impl Board) -> Reading {
        self.days.get(day).unwrap_or_else(|| board.reading(midnight_of(day)))
    }

    /// SB.
    pub(crate) fn put_status(&mut self, now: Civil, board: &mut impl Board, body: &mut Body) {
        board.sense(&mut self.status);
        let s = &self.status;
        body.put(&to_t6(now));
        body.u32(board.reading(now).working.unwrap_or(u32::MAX));
        body.put(&[s.valve, s.reason]);
        body.u16(s.battery_mv.unwrap_or(u16::MAX));
        body.u16(s.backup_mv.unwrap_or(u16::MAX));
        body.u16(s.rsrp.unwrap_or(i16::MIN) as u16);
        body.u16(s.snr.unwrap_or(i16::MIN) as u16);
        body.put(&[s.csq.unwrap_or(99), s.ecl]);
        body.u16(s.temperature.unwrap_or(i16::MIN) as u16);
        body.u16(s.pressure.unwrap_or(u16::MAX));
        body.u32(s.flow.unwrap_or(u32::MAX));
        body.u32(s.balance.unwrap_or(i32::MIN) as u32);
        body.u32(s.alarms);
    }

    /// Keeps the reading of today's 00:00, if it was not kept yet. True: it was news.
    pub(crate) fn freeze(&mut self, now: Civil, board: &mut impl Board) -> bool {
        // A clock that was never set has no days.
        let is_news = |day: &u16| *day >= DAY_2020 && self.days.get(*day).is_none();
        let Some(day) = day_of(now).filter(is_news) else { return false };
        self.days.keep(day, board.reading(midnight_of(day)));
        true
    }
}

fn put_date(at: Civil, body: &mut Body) {
    body.put(to_t6(at).get(..3).unwrap_or_default());
}

pub(crate) fn put_reading(reading: Reading, both: bool, body: &mut Body) {
    body.u32(reading.working.unwrap_or(u32::MAX));
    if both {
        body.u32(reading.standard.unwrap_or(u32::MAX));
    }
}

fn put_events(events: &[Event], body: &mut Body) {
    body.push(events.len().min(255) as u8);
    for event in events.iter().take(255) {
        body.push(event.code);
        body.put(&to_t6(event.at));
        body.u32(event.value);
    }
}
