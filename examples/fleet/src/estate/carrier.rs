//! A concentrator of the unified protocol: it registers, stays on line, and hands on what the station says to those behind it.

use super::{Calendar, Line};
use crate::fleet::lock;
use crate::population::Transport;
use crate::terminal::{reading, usp::UspMeter};
use crate::truth::{Account, Meaning};
use crate::wire::{Lost, Wire};
use polymeter::model::Civil;
use polymeter_sdk::bcd;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use usp::device::{Device, Heard};

/// Our time between two heartbeats.
const BEAT: Duration = Duration::from_secs(4);
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub struct Carrier {
    device: Device,
    calendar: Calendar,
    pub account: Arc<Mutex<Account>>,
    /// No more heartbeats for now: books are being compared.
    quiet: Arc<AtomicBool>,
}

impl Carrier {
    pub fn new(key: &str, calendar: Calendar, line: &Line, quiet: &Arc<AtomicBool>) -> Self {
        let address = key.split_once('/').map_or(key, |(_, address)| address);
        let mut device = Device::concentrator(address);
        device.readings = Box::new(|_| (None, None));
        device.status.valve = 0;
        let line = line.clone();
        device.carrier.behind = Box::new(move |target, _, payload| {
            let called = bcd::digits(&target)?;
            lock(&line).get_mut(&called)?.ask(calendar.now(), payload)
        });
        Self {
            quiet: quiet.clone(),
            device,
            calendar,
            account: Arc::new(Mutex::new(Account::of_family(key.to_owned(), "usp concentrators"))),
        }
    }

    /// On line until it is told to stop; after a lost connection it comes again.
    pub async fn live(mut self, door: SocketAddr, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            if let Err(lost) = self.stay(door, &mut stopped).await {
                let at = self.calendar.now();
                lock(&self.account).objections.push(format!("its connection was lost at {at}: {lost:?}"));
                sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn stay(&mut self, door: SocketAddr, stopped: &mut watch::Receiver<bool>) -> Result<(), Lost> {
        let mut wire = Wire::open(Transport::Tcp, door, Ipv4Addr::LOCALHOST).await?;
        let frame = self.device.registration(self.calendar.now().0);
        wire.send(&frame).await?;
        let mut waiting = vec![Meaning::default()];
        let mut beat = Instant::now() + BEAT;
        loop {
            let next = tokio::select! {
                next = wire.next(UspMeter::cut, beat) => next,
                _ = stopped.changed() => {
                    wire.hang_up().await;
                    return Ok(());
                }
            };
            let now = self.calendar.now();
            match next {
                Ok(frame) => match self.device.hear(now.0, &frame) {
                    Ok(Heard::Command { frames, .. }) => wire.send(&frames.concat()).await?,
                    Ok(Heard::Reply(_)) => {
                        waiting.drain(..).for_each(|meaning| lock(&self.account).acknowledged(&meaning));
                    }
                    Ok(Heard::Farewell(_)) => return Err(Lost::Closed),
                    Err(fault) => lock(&self.account).objections.push(fault.detail),
                },
                Err(Lost::Silence) => {
                    beat = Instant::now() + BEAT;
                    if let Some((frame, meaning)) = self.heartbeat(now) {
                        wire.send(&frame).await?;
                        waiting.push(meaning);
                    }
                }
                Err(lost) => return Err(lost),
            }
            self.device.drift_s = 0;
        }
    }

    /// Written into the books before it leaves, unless they are being compared.
    fn heartbeat(&mut self, now: Civil) -> Option<(Vec<u8>, Meaning)> {
        let mut account = lock(&self.account);
        if self.quiet.load(Relaxed) {
            return None;
        }
        let csq = self.device.status.csq.unwrap_or_default();
        let readings = vec![reading(now, "signal-csq", "instantaneous", "none", csq.into(), 0)];
        let meaning = Meaning { readings, ..Meaning::default() };
        account.sent(&meaning);
        drop(account);
        Some((self.device.heartbeat(now.0), meaning))
    }
}
