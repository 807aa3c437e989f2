//! A terminal of the unified protocol on a socket.

use crate::peer::Peer;
use fleet::edition;
use fleet::station::bundled_adapters;
use polymeter::model::Civil;
use polymeter_sdk::Framing;
use serde_json::Value;
use std::net::SocketAddr;
use usp::device::{Device, EventEntry, Heard, Reply, framing};

/// A terminal on line. Its clock stands still unless a test moves it.
pub struct Terminal {
    pub device: Device,
    pub peer: Peer,
    pub now: i64,
}

/// Noon of an ordinary day.
pub const NOON: &str = "2024-03-15T12:00:00";

pub fn civil(text: &str) -> i64 {
    text.parse::<Civil>().expect("a time").0
}

/// A meter with a valve that shows 1234.56 m³ at midnight and a hundredth more each hour.
pub fn meter(address: &str) -> Device {
    let mut device = Device::meter(address);
    let midnight = civil("2024-03-15T00:00:00");
    device.readings = Box::new(move |at| (Some((123_456 + (at - midnight) / 3600) as u32), None));
    device
}

/// The bundled adapter under another version, and another layout of its state where that is not 1.
pub fn edition(version: &str, layout: u32) -> Vec<u8> {
    let files = bundled_adapters().expect("bundled adapters");
    let usp = files.iter().find(|path| path.ends_with("usp.wasm")).expect("usp");
    let edit = |manifest: &mut Value| {
        manifest["version"] = version.into();
        manifest["state-version"] = layout.into();
    };
    edition::with_manifest(&std::fs::read(usp).expect("a file"), edit).expect("an adapter")
}

impl Terminal {
    pub fn on(device: Device, peer: Peer) -> Self {
        Self { device, peer, now: civil(NOON) }
    }

    pub fn tcp(device: Device, station: SocketAddr) -> Self {
        Self::on(device, Peer::tcp(station))
    }

    /// The same terminal, on another connection; the old one is given back.
    pub fn reconnect(&mut self, station: SocketAddr) -> Peer {
        std::mem::replace(&mut self.peer, Peer::tcp(station))
    }

    pub fn register(&mut self) -> Reply {
        let frame = self.device.registration(self.now);
        self.ask(&frame)
    }

    pub fn daily(&mut self) -> Reply {
        let frame = self.device.daily(self.now, &[]);
        self.ask(&frame)
    }

    pub fn heartbeat(&mut self) -> Reply {
        let frame = self.device.heartbeat(self.now);
        self.ask(&frame)
    }

    pub fn abnormal(&mut self, code: u8, value: u32) -> Reply {
        let frame = self.device.abnormal(self.now, &[EventEntry { code, at: self.now, value }]);
        self.ask(&frame)
    }

    /// Sends a frame and takes its acknowledgement.
    pub fn ask(&mut self, frame: &[u8]) -> Reply {
        self.peer.send(frame);
        match self.hear() {
            Some(Heard::Reply(reply)) => reply,
            other => panic!("no acknowledgement but {other:?}"),
        }
    }

    /// The station's next words; `None`: it has closed.
    pub fn hear(&mut self) -> Option<Heard> {
        let frame = self.next_frame()?;
        let heard =
            self.device.hear(self.now, &frame).unwrap_or_else(|fault| panic!("{fault:?}: {}", hex::encode(&frame)));
        // Tests say what time it is for the meter.
        self.device.drift_s = 0;
        Some(heard)
    }

    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        self.peer.next(|received| match framing(received) {
            Framing::Frame(length) | Framing::Skip(length) => Some(length as usize),
            _ => None,
        })
    }

    /// Takes one command, carries it out, and answers it. Gives its message number and the result.
    pub fn obey(&mut self) -> (u16, u8) {
        let (message, result, frames) = self.take_command();
        for frame in frames {
            self.peer.send(&frame);
        }
        (message, result)
    }

    /// Takes one command and carries it out; the answer is the test's to send, or not.
    pub fn take_command(&mut self) -> (u16, u8, Vec<Vec<u8>>) {
        match self.hear() {
            Some(Heard::Command { message, result, frames }) => (message, result, frames),
            other => panic!("no command but {other:?}"),
        }
    }

    /// The station says goodbye and closes; gives the reason.
    pub fn farewell(&mut self) -> u8 {
        let reason = match self.hear() {
            Some(Heard::Farewell(reason)) => reason,
            other => panic!("no farewell but {other:?}"),
        };
        assert_eq!(self.peer.until_closed(), [0; 0], "nothing after a farewell");
        reason
    }

    /// Registers, reports, and leaves as the protocol wants it.
    pub fn whole_communication(&mut self) {
        assert_eq!(self.register().result, 0);
        let reply = self.daily();
        assert_eq!((reply.result, reply.pending), (0, 0));
        assert_eq!(self.farewell(), 0);
    }
}
