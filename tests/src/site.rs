//! A station as a child process, on an empty directory that goes with the test.

use crate::scratch::Scratch;
use crate::warm;
use fleet::api::{Api, Refused};
use fleet::station::{Listener, Settings, Station, bundled_adapters};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running station and what a test wants of it.
pub struct Site {
    station: Station,
    /// Ended before its directory goes.
    _directory: Scratch,
}

impl Site {
    /// With one TCP listener `meters` and one UDP listener `nb-iot`, both for both bundled adapters.
    pub fn usual() -> Self {
        let mut settings = Settings::usual();
        settings.listeners.push(Listener::udp("nb-iot", r#""usp", "qianwei_7xxx""#));
        Self::with(&settings)
    }

    pub fn with(settings: &Settings) -> Self {
        Self::with_adapters(settings, &bundled_adapters().expect("bundled adapters"))
    }

    pub fn with_adapters(settings: &Settings, adapters: &[PathBuf]) -> Self {
        let directory = Scratch::new();
        let mut station = Station::prepare(&directory.path("site"), settings, adapters).expect("a prepared station");
        warm::lend(&station.data(), adapters).expect("compiled code to start with");
        station.start().expect("a started station");
        warm::keep(&station.data()).expect("compiled code for the next");
        Self { station, _directory: directory }
    }

    /// The TCP listener of `usual`.
    pub fn meters(&self) -> SocketAddr {
        self.door("meters").expect("listener meters")
    }

    /// The UDP listener of `usual`.
    pub fn nb_iot(&self) -> SocketAddr {
        self.door("nb-iot").expect("listener nb-iot")
    }

    /// A client; ask for a new one after a restart.
    pub fn client(&self) -> Api {
        self.api().expect("a running station")
    }

    pub fn get(&self, path: &str) -> Value {
        self.client().get(path).unwrap_or_else(|e| panic!("GET {path}: {e:#}"))
    }

    pub fn rows(&self, path: &str) -> Vec<Value> {
        self.client().rows(path).unwrap_or_else(|e| panic!("GET {path}: {e:#}"))
    }

    /// Orders something; gives the command's number.
    pub fn order(&self, device: &str, command: &Value) -> u64 {
        // A device that has just been heard is known once the views show it.
        self.catch_up();
        let answer = self.client().post("commands", &json!({"device": device, "command": command}));
        let answer = answer.unwrap_or_else(|e| panic!("{command} for {device}: {e:#}"));
        answer["id"].as_u64().expect("an id")
    }

    /// The code of the API's refusal.
    pub fn refusal(&self, device: &str, command: &Value) -> String {
        let answer = self.client().post("commands", &json!({"device": device, "command": command}));
        let error = answer.expect_err("a refusal");
        error.downcast_ref::<Refused>().unwrap_or_else(|| panic!("{error:#}")).code.clone()
    }

    pub fn command(&self, id: u64) -> Value {
        self.get(&format!("commands/{id}"))
    }

    /// Waits until a command is in that state.
    pub fn await_state(&self, id: u64, state: &str) -> Value {
        wait_until(&format!("command {id} is {state}"), || {
            let command = self.command(id);
            (command["state"] == state).then_some(command)
        })
    }

    /// Waits until everything that is durable is shown.
    pub fn catch_up(&self) {
        self.client().catch_up(PATIENCE).expect("views that keep up");
    }

    /// What the station shows of a device, up to date. `None`: it shows none of that key.
    pub fn device(&self, device: &str) -> Option<Value> {
        self.catch_up();
        match self.client().get(&format!("devices/{device}")) {
            Ok(device) => Some(device),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|r| r.status == 404) => None,
            Err(error) => panic!("{device}: {error:#}"),
        }
    }

    /// Values of a quantity, as `time value`, oldest first.
    pub fn readings(&self, device: &str, quantity: &str) -> Vec<String> {
        self.catch_up();
        let rows = self.rows(&format!("devices/{device}/readings?quantity={quantity}"));
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| format!("{} {}", word(row, "at"), word(row, "value"))).collect()
    }

    /// The station forgets everything that it has not made durable, and starts again.
    pub fn power_cut(&mut self) {
        self.station.kill().expect("a running station");
        self.station.start().expect("a station that comes back");
    }
}

impl Deref for Site {
    type Target = Station;
    fn deref(&self) -> &Station {
        &self.station
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Station {
        &mut self.station
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the station's last words:\n{}", self.station.last_words());
        }
    }
}

/// Waits, with patience, for what must come.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
