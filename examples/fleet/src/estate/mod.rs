//! Meters that are asked: of three makes behind concentrators, and volume correctors behind transparent DTUs.
//!
//! Who stands where follows from the fleet's seed (`draw`); the registry is told of all of them, the carriers come on line (`carrier`), and
//! what those behind answer is put into their own books at the same moment (`sub`, `corrector`). The utility's side (`desk`) has
//! them all polled twice and closes valves through a concentrator.

mod carrier;
mod corrector;
mod desk;
mod sub;

pub use desk::{Achieved, ask_again, polls, work};

use crate::api::Api;
use crate::fleet::lock;
use crate::gauge::mix;
use crate::time::FleetTime;
use crate::truth::Account;
use crate::world::Doors;
use anyhow::{Context, Result};
use carrier::Carrier;
use corrector::Corrector;
use polymeter::model::Civil;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use sub::{Make, Sub};
use tokio::sync::watch;
use tokio::time::Instant;

/// How much of it there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub concentrators: usize,
    /// Meters behind each concentrator.
    pub behind: usize,
    pub correctors: usize,
}

/// The clock of those who are asked: fleet time, and after its end real seconds, so that nobody runs ahead into the future.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    pub time: FleetTime,
    pub to: Civil,
}

/// The meters of one line, by what their concentrator calls them.
pub(crate) type Line = Arc<Mutex<BTreeMap<String, Sub>>>;

/// An estate that lives until it is told to stop.
pub struct Estate {
    lines: Vec<Line>,
    correctors: Vec<Arc<Mutex<Corrector>>>,
    carriers: Vec<Arc<Mutex<Account>>>,
    stop: watch::Sender<bool>,
    quiet: Arc<AtomicBool>,
    life: Option<JoinHandle<Result<()>>>,
    /// Whose valve is closed through which concentrator.
    pub orders: Vec<(String, String)>,
    /// Meters that are there by the registry, and never answer.
    pub silent: usize,
}

impl Estate {
    /// Tells the registry who is there, and lets them live.
    pub fn begin(
        size: Size,
        seed: u64,
        doors: Doors,
        api: &Api,
        time: FleetTime,
        ends: (Civil, Civil),
    ) -> Result<Self> {
        let calendar = Calendar { time, to: ends.1 };
        let (stop, stopped) = watch::channel(false);
        let mut estate = Self {
            lines: Vec::new(),
            correctors: Vec::new(),
            carriers: Vec::new(),
            stop,
            quiet: Arc::default(),
            life: None,
            orders: Vec::new(),
            silent: 0,
        };
        let mut lives = Vec::new();
        for number in 0..size.concentrators {
            let carrier = estate.concentrator(number, size.behind, seed, api, calendar, ends.0)?;
            lives.push(Life::Concentrator(Box::new(carrier), doors.tcp));
        }
        for number in 0..size.correctors {
            let corrector = Corrector::new(number, mix(seed, 7_000 + number as u64), ends.0);
            let record = json!({"kind": "meter", "adapter": "modbus_corrector", "model": "corrector"});
            api.put(&format!("registry/{}", corrector.account.device), &record)?;
            let corrector = Arc::new(Mutex::new(corrector));
            estate.correctors.push(corrector.clone());
            let door = doors.dtu.context("correctors need a listener")?;
            lives.push(Life::Corrector(corrector, calendar, door));
        }
        api.catch_up(Duration::from_secs(60))?;
        estate.life = Some(std::thread::spawn(move || live(lives, &stopped)));
        Ok(estate)
    }

    fn concentrator(
        &mut self,
        number: usize,
        behind: usize,
        seed: u64,
        api: &Api,
        calendar: Calendar,
        from: Civil,
    ) -> Result<Carrier> {
        let key = format!("usp/500099{number:08}");
        api.put(&format!("registry/{key}"), &json!({"kind": "concentrator", "adapter": "usp"}))?;
        let mut line = BTreeMap::new();
        for place in 0..behind {
            let id = number * 1_000 + place;
            let make = [Make::LowFirst, Make::Mbus, Make::HighFirst, Make::Szrq][place % 4];
            let mut sub = Sub::new(make, id, mix(seed, 9_000 + id as u64), from);
            // One radio is broken.
            sub.silent = place == 4 && number == 0;
            self.silent += usize::from(sub.silent);
            api.put(&format!("registry/{}", sub.account.device), &sub.record(&key, place))?;
            if place < 4 && make.has_valve() {
                self.orders.push((sub.account.device.clone(), key.clone()));
            }
            line.insert(sub.called.clone(), sub);
        }
        let line = Arc::new(Mutex::new(line));
        self.lines.push(line.clone());
        let carrier = Carrier::new(&key, calendar, &line, &self.quiet);
        self.carriers.push(carrier.account.clone());
        Ok(carrier)
    }

    /// Everybody's books, when all questions are over: what was answered must be there. Until `go_on`, nobody says anything new.
    pub fn settled(&self) -> Vec<Account> {
        self.quiet.store(true, Relaxed);
        let mut accounts: Vec<Account> = self.carriers.iter().map(|account| lock(account).clone()).collect();
        for line in &self.lines {
            for sub in lock(line).values_mut() {
                sub.settle();
                accounts.push(sub.account.clone());
            }
        }
        for corrector in &self.correctors {
            let mut corrector = lock(corrector);
            corrector.settle();
            accounts.push(corrector.account.clone());
        }
        accounts
    }

    pub fn go_on(&self) {
        self.quiet.store(false, Relaxed);
    }

    /// Everybody hangs up.
    pub fn end(mut self) -> Result<()> {
        self.stop.send_replace(true);
        match self.life.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(_)) => anyhow::bail!("the estate has failed"),
            None => Ok(()),
        }
    }
}

impl Calendar {
    pub fn now(&self) -> Civil {
        let now = self.time.now();
        if now <= self.to {
            return now;
        }
        let past = Instant::now().saturating_duration_since(self.time.when(self.to));
        Civil(self.to.0 + past.as_secs() as i64)
    }
}

enum Life {
    Concentrator(Box<Carrier>, SocketAddr),
    Corrector(Arc<Mutex<Corrector>>, Calendar, SocketAddr),
}

fn live(lives: Vec<Life>, stopped: &watch::Receiver<bool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for life in lives {
            let stopped = stopped.clone();
            running.spawn(async move {
                match life {
                    Life::Concentrator(carrier, door) => carrier.live(door, stopped).await,
                    Life::Corrector(corrector, calendar, door) => {
                        corrector::live(&corrector, calendar, door, stopped).await;
                    }
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done.context("a carrier has failed")?;
        }
        Ok(())
    })
}

/// What every record of a device behind a concentrator says.
fn behind(adapter: &str, parent: &str, protocol: &str, channel: usize) -> Value {
    json!({"kind": "meter", "adapter": adapter, "parent": parent, "protocol": protocol, "channel": channel,
        "baud": 2400, "line_format": "8E1"})
}
