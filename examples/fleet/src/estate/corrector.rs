//! A volume corrector behind a transparent DTU, which says its number on connecting and then hands bytes on.

use super::Calendar;
use crate::fleet::lock;
use crate::gauge::{Gauge, mix};
use crate::population::Transport;
use crate::terminal::reading;
use crate::truth::{Account, Meaning};
use crate::wire::{Lost, Wire};
use modbus_corrector::device::{Corrector as Registers, State};
use polymeter::model::Civil;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

pub struct Corrector {
    registers: Registers,
    gauge: Gauge,
    seed: u64,
    imei: String,
    pub account: Account,
    answered: Vec<Meaning>,
}

const BUS: u8 = 1;
const WRITE_MANY: u8 = 16;
/// Requests of this function and start are the present values.
const PRESENT: [u8; 4] = [BUS, 3, 0, 0];
const PATIENCE: Duration = Duration::from_secs(3_600);
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl Corrector {
    pub fn new(number: usize, seed: u64, from: Civil) -> Self {
        let imei = with_check_digit(&format!("866123{:08}", 40_000_000 + number));
        let account = Account::of_family(format!("modbus/{imei}"), "correctors behind DTUs");
        let registers = Registers::typical(BUS, &State::healthy(from.0));
        Self { registers, gauge: Gauge::new(seed, from.day()), seed, imei, account, answered: Vec::new() }
    }

    /// What it measures follows from the second alone.
    fn state(&self, at: Civil) -> State {
        let chance = |what: u64, of: u64| mix(self.seed ^ at.0 as u64, what) % of;
        let working = u64::from(self.gauge.at(at)) * 500;
        State {
            clock: at.0,
            standard_total: working * 4 + working / 50,
            working_total: working,
            disturbed_total: 0,
            standard_flow: 400_000 + chance(1, 9_000) as u32,
            working_flow: 100_000 + chance(2, 2_000) as u32,
            pressure: 400_000 + chance(3, 3_000) as u32,
            temperature: 1_500 + chance(4, 900) as i16,
            battery_mv: 3_612,
            compressibility: 0.997_25,
            correction: 4.02,
            battery_months: 54,
            alarms: 0,
        }
    }

    fn ask(&mut self, now: Civil, request: &[u8]) -> Option<Vec<u8>> {
        let state = self.state(now);
        self.registers.show(&state);
        let answer = self.registers.hear(request)?;
        if request.starts_with(&PRESENT) {
            let meaning = meaning(&state);
            self.account.sent(&meaning);
            self.answered.push(meaning);
        }
        Some(answer)
    }

    /// The station has all that was answered.
    pub fn settle(&mut self) {
        for meaning in self.answered.drain(..) {
            self.account.acknowledged(&meaning);
        }
    }
}

/// On line until it is told to stop; after a lost connection it comes again.
pub async fn live(this: &Mutex<Corrector>, calendar: Calendar, door: SocketAddr, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if let Err(lost) = stay(this, calendar, door, &mut stopped).await {
            let at = calendar.now();
            lock(this).account.objections.push(format!("its connection was lost at {at}: {lost:?}"));
            sleep(RETRY_AFTER).await;
        }
    }
}

async fn stay(
    this: &Mutex<Corrector>,
    calendar: Calendar,
    door: SocketAddr,
    stopped: &mut watch::Receiver<bool>,
) -> Result<(), Lost> {
    let mut wire = Wire::open(Transport::Tcp, door, Ipv4Addr::LOCALHOST).await?;
    let packet = lock(this).imei.clone();
    wire.send(packet.as_bytes()).await?;
    loop {
        let request = tokio::select! {
            next = wire.next(request_bytes, Instant::now() + PATIENCE) => match next {
                Err(Lost::Silence) => continue,
                next => next?,
            },
            _ = stopped.changed() => {
                wire.hang_up().await;
                return Ok(());
            }
        };
        let answer = lock(this).ask(calendar.now(), &request);
        if let Some(answer) = answer {
            wire.send(&answer).await?;
        }
    }
}

/// Length of the master's request.
fn request_bytes(received: &[u8]) -> Option<usize> {
    match received.get(1)? {
        &WRITE_MANY => received.get(6).map(|count| 9 + usize::from(*count)),
        _ => Some(8),
    }
}

/// What a read of the present values means.
fn meaning(state: &State) -> Meaning {
    let at = Civil(state.clock);
    let total = |quantity, role, value: u64| reading(at, quantity, role, "cubic-metre", value as i64, -3);
    let now = |quantity, unit, value: i64, exponent| reading(at, quantity, "instantaneous", unit, value, exponent);
    let readings = vec![
        total("standard-volume", "cumulative", state.standard_total),
        total("working-volume", "cumulative", state.working_total),
        total("working-volume", "at-error", state.disturbed_total),
        now("standard-flow", "cubic-metre-per-hour", state.standard_flow.into(), -3),
        now("working-flow", "cubic-metre-per-hour", state.working_flow.into(), -3),
        now("pressure", "pascal", state.pressure.into(), 0),
        now("temperature", "degree-celsius", state.temperature.into(), -2),
        now("battery-voltage", "volt", state.battery_mv.into(), -3),
        // Six places of the floats that the state holds.
        now("compressibility-factor", "none", 997_250, -6),
        now("correction-factor", "none", 4_020_000, -6),
        now("battery-remaining-time", "month", state.battery_months.into(), 0),
        now("firmware-version", "none", 203, -2),
    ];
    Meaning { readings, is_report: true, ..Meaning::default() }
}

/// An IMEI of its first fourteen digits.
fn with_check_digit(digits: &str) -> String {
    let doubled = digits.bytes().enumerate().map(|(place, digit)| {
        let value = u32::from(digit - b'0') * (1 + place as u32 % 2);
        value / 10 + value % 10
    });
    format!("{digits}{}", (10 - doubled.sum::<u32>() % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imei_has_a_check_digit() {
        assert_eq!(with_check_digit("49015420323751"), "490154203237518");
    }
}
