//! Cases at random: numbers, bytes and their damage, contexts and commands, each from a seed that says all of it.

use crate::{
    Admission, BalanceLevel, BalanceSync, Civil, Command, Context, Device, Direction, EndReason, Endpoint,
    EndpointTransport, History, Interval, Parameter, ParameterValue, ReadScope, Recharge, ReportPeriod, ScheduleChange,
    Tariff, TariffCycle, Transport, Valve, ValveOrder,
};
use std::fmt::Display;
use std::ops::Range;

/// Runs cases at random, so many from this seed on, or as many as `FUZZ_CASES` and `FUZZ_SEED` say. Each is the seed of its own
/// dice, so that one that fails can be had again alone; it is printed. Returns how many there were.
pub fn cases(count: u64, first: u64, mut case: impl FnMut(&mut Dice)) -> u64 {
    let (count, first) = cases_and_seed(count, first);
    for seed in first..first.saturating_add(count) {
        let _named = Named(format_args!("case {seed}: FUZZ_SEED={seed} FUZZ_CASES=1 has it again"));
        case(&mut Dice::new(seed));
    }
    count
}

/// What is tried while this lives: printed if the test fails over it.
pub struct Named<T: Display>(pub T);

impl<T: Display> Drop for Named<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

/// How many random cases to run and with which seed: `FUZZ_CASES` and `FUZZ_SEED`, or these. They are printed, so that a
/// failure can be had again.
pub fn cases_and_seed(cases: u64, seed: u64) -> (u64, u64) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (cases, seed) = (number("FUZZ_CASES", cases), number("FUZZ_SEED", seed));
    println!("FUZZ_SEED={seed} FUZZ_CASES={cases}");
    (cases, seed)
}

/// What dice can throw.
pub trait Number: Copy {
    fn wide(self) -> i128;
    /// Its low bits.
    fn narrow(wide: i128) -> Self;
}

macro_rules! number {
    ($($number:ty)*) => {
        $(impl Number for $number {
            fn wide(self) -> i128 {
                self as i128
            }
            fn narrow(wide: i128) -> Self {
                wide as Self
            }
        })*
    };
}
number!(u8 u16 u32 u64 usize i8 i16 i32 i64);

impl Number for bool {
    fn wide(self) -> i128 {
        self.into()
    }
    fn narrow(wide: i128) -> Self {
        wide & 1 == 1
    }
}

/// Fair, fast, and not for secrets.
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64: seeds that follow each other have nothing in common.
    const fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Any number of the type.
    pub fn any<T: Number>(&mut self) -> T {
        T::narrow(self.throw().into())
    }

    /// One of these numbers. There has to be one.
    pub fn range<T: Number>(&mut self, range: Range<T>) -> T {
        let (start, end) = (range.start.wide(), range.end.wide());
        T::narrow(start + i128::from(self.throw()) % (end - start))
    }

    pub fn one_in(&mut self, many: u64) -> bool {
        self.range(0..many) == 0
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.range(0..all.len())]
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.any());
    }

    /// So many bytes.
    pub fn bytes(&mut self, lengths: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; self.range(lengths)];
        self.fill(&mut bytes);
        bytes
    }

    /// Some bytes, half of the time with the 1 in front that most layouts begin with.
    pub fn kept(&mut self, lengths: Range<usize>) -> Vec<u8> {
        let mut bytes = self.bytes(lengths);
        if let (true, Some(first)) = (self.any(), bytes.first_mut()) {
            *first = 1;
        }
        bytes
    }

    /// No frame, though it may begin like one.
    pub fn noise(&mut self, start: u8) -> Vec<u8> {
        let mut bytes = self.bytes(1..400);
        bytes[0] = if self.any() { start } else { bytes[0] };
        bytes
    }

    /// What a bad line makes of a frame: cut short, said twice, changed; or changed where the check sum would show it and with a sum
    /// that fits again, so that the parsers behind it have to stand it; or nothing.
    pub fn damage(&mut self, frame: &mut Vec<u8>, summed: Range<usize>, mend: impl FnOnce(&mut [u8])) {
        if frame.is_empty() {
            return;
        }
        match self.range(0..8) {
            0 => frame.truncate(self.range(1..frame.len() + 1)),
            1 => frame.extend_from_within(..),
            2 => self.change(frame, 8),
            3 | 4 if !summed.is_empty() => {
                self.change(&mut frame[summed], 4);
                mend(frame);
            }
            _ => {}
        }
    }

    fn change(&mut self, bytes: &mut [u8], fewer: usize) {
        for _ in 0..self.range(1..fewer) {
            let at = self.range(0..bytes.len());
            bytes[at] = if self.any() { self.any() } else { bytes[at] ^ 1 << self.range(0..8) };
        }
    }

    /// Around a frame or a command, mostly of the device with this address or of one nearly like it. Its memory and the session's state
    /// have fewer bytes than these.
    pub fn context(&mut self, now: Civil, address: &str, memory: usize, state: usize) -> Context {
        let address = if self.one_in(8) { "9".repeat(self.range(1..33)) } else { address.to_owned() };
        let device = Device { address, memory: self.kept(0..memory) };
        let admissions = [Admission::Undecided, Admission::Held, Admission::Refused, Admission::Busy];
        Context {
            now: if self.one_in(4) { self.any() } else { now },
            direction: if self.one_in(8) { Direction::Downlink } else { Direction::Uplink },
            transport: *self.of(&[Transport::Stream, Transport::Datagram, Transport::Relay]),
            admission: if self.any() { Admission::Welcome } else { *self.of(&admissions) },
            pending: if self.any() { self.range(0..2) } else { self.any() },
            device: (!self.one_in(4)).then_some(device),
            state: self.kept(0..state),
        }
    }

    /// What most meters can be asked, with numbers of every size in it. `names` are those of parameters.
    pub fn command(&mut self, now: Civil, names: &[&str]) -> Command {
        match self.range(0..12) {
            0 => Command::Read(*self.of(&[ReadScope::Current, ReadScope::Account, ReadScope::Valve])),
            1 => {
                let first = self.time(now);
                let last = [first, now, self.time(now), first.saturating_add(self.number())];
                let interval = *self.of(&[Interval::Minute, Interval::Hour, Interval::Day, Interval::Month]);
                Command::ReadHistory(History { interval, first, last: *self.of(&last) })
            }
            2 => Command::Valve(Valve {
                order: *self.of(&[ValveOrder::PermitOpen, ValveOrder::CloseTemporary, ValveOrder::CloseForced]),
                order_id: self.number(),
                valid_until: self.time(now),
                reason: String::new(),
            }),
            3 => Command::SetClock(self.time(now)),
            4 => Command::SetSchedule(ScheduleChange {
                period: self
                    .perhaps(|dice| *dice.of(&[ReportPeriod::Hourly, ReportPeriod::Daily, ReportPeriod::Dekad])),
                minute_of_day: self.perhaps(|dice| dice.range(0..2000)),
                stagger_minutes: self.perhaps(Self::number),
                awake_minutes: self.perhaps(Self::number),
                heartbeat_minutes: self.perhaps(Self::number),
            }),
            5 => Command::SetEndpoint(Endpoint {
                index: self.range(0..3),
                transport: *self.of(&[EndpointTransport::Tcp, EndpointTransport::Udp, EndpointTransport::Coap]),
                host: if self.any() { "192.0.2.1".into() } else { "x".repeat(self.range(0..99)) },
                port: if self.any() { self.range(0..3) } else { self.any() },
                apn: String::new(),
            }),
            6 => {
                let value = match self.range(0..8) {
                    0 => ParameterValue::Text(self.number::<i64>().to_string()),
                    1 => ParameterValue::Bytes(self.bytes(0..20)),
                    _ => ParameterValue::Integer(self.number()),
                };
                Command::SetParameters(vec![Parameter { name: self.name(names), value }])
            }
            7 => Command::ReadParameters(self.perhaps(|dice| dice.name(names)).into_iter().collect()),
            8 => Command::Recharge(Recharge {
                order_id: self.number(),
                purchase_count: self.number(),
                amount: self.number(),
                volume: if self.any() { 0 } else { self.number() },
                purchased_total: self.number(),
            }),
            9 => {
                let (limit, price, steps) = (self.number::<u32>(), self.number(), self.range(1..7));
                let cycles = [
                    TariffCycle::Day,
                    TariffCycle::Month,
                    TariffCycle::TwoMonths,
                    TariffCycle::Quarter,
                    TariffCycle::Year,
                ];
                Command::SetTariff(Tariff {
                    plan: if self.any() { 0 } else { self.number() },
                    effective: self.time(now),
                    on_meter: !self.one_in(4),
                    cycle: *self.of(&cycles),
                    cycle_start: self.time(now),
                    limits: (1..steps).map(|step| limit.wrapping_mul(step)).collect(),
                    prices: vec![price; steps as usize],
                })
            }
            10 => Command::SyncBalance(BalanceSync {
                balance: self.number(),
                price: self.number(),
                level: *self.of(&[BalanceLevel::Normal, BalanceLevel::Low, BalanceLevel::Exhausted]),
                settled_total: self.number(),
                settled_at: self.time(now),
            }),
            _ => Command::EndSession(*self.of(&[EndReason::Done, EndReason::Busy, EndReason::NotAuthorised])),
        }
    }

    /// At an end of what some field holds, any, or a likely one.
    fn number<T: Number>(&mut self) -> T {
        const U32_MAX: i64 = 0xFFFF_FFFF;
        const ENDS: [i64; 11] =
            [i64::MIN, i64::MIN + 1, -1, 0, 1, 99, 0xFFFF, U32_MAX, U32_MAX + 1, i64::MAX - 1, i64::MAX];
        T::narrow(match self.range(0..4) {
            0 => self.of(&ENDS).wide(),
            1 => self.throw().into(),
            2 => self.range(-1_i64..10_000).wide() * 100,
            _ => self.range(-100_i64..100_000).wide(),
        })
    }

    fn time(&mut self, now: Civil) -> Civil {
        if self.any() { now + self.range(-100_000_000..100_000_000) } else { self.number() }
    }

    fn name(&mut self, names: &[&str]) -> String {
        if names.is_empty() || self.one_in(4) {
            return format!("0x{:04x}", self.any::<u16>());
        }
        (*self.of(names)).to_owned()
    }

    fn perhaps<T>(&mut self, of: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.any::<bool>().then(|| of(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_range_comes_and_no_other() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 6];
        (0..6000).for_each(|_| seen[(dice.range(-3_i8..3) + 3) as usize] += 1);
        assert!(seen.iter().all(|times| (850..1150).contains(times)), "{seen:?}");
        assert_eq!(dice.range(i64::MIN..i64::MIN + 1), i64::MIN);
        assert_ne!(Dice::new(1).bytes(8..9), Dice::new(2).bytes(8..9));
    }

    #[test]
    fn an_empty_frame_cannot_be_damaged() {
        let (mut dice, mut frame) = (Dice::new(1), Vec::new());
        (0..64).for_each(|_| dice.damage(&mut frame, 0..0, |_| {}));
        assert!(frame.is_empty());
    }
}
