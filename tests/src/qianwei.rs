//! A 前卫 meter on a socket.

use crate::peer::Peer;
use crate::usp::civil;
use qianwei_7xxx::device::{Heard, Meter, ReportKind};

/// A meter on line; its clock stands still unless a test moves it.
pub struct QianweiMeter {
    pub meter: Meter,
    pub peer: Peer,
    pub now: i64,
}

impl QianweiMeter {
    pub fn on(meter: Meter, peer: Peer) -> Self {
        Self { meter, peer, now: civil(crate::usp::NOON) }
    }

    /// Reports; gives the acknowledgement's code and whether commands follow.
    pub fn report(&mut self) -> (i16, bool) {
        let frame = self.meter.report(self.now, ReportKind::Scheduled);
        self.peer.send(&frame);
        match self.hear() {
            Some(Heard::Acknowledged { code, more, .. }) => (code, more),
            other => panic!("no acknowledgement but {other:?}"),
        }
    }

    /// The station's next words; `None`: it has closed.
    pub fn hear(&mut self) -> Option<Heard> {
        let frame = self.peer.next(Meter::cut)?;
        Some(self.meter.receive(&frame).unwrap_or_else(|why| panic!("{why}: {}", hex::encode(&frame))))
    }

    /// Takes one command and carries it out; the answer is the test's to send, or not.
    pub fn take_command(&mut self) -> (u16, Vec<u8>) {
        match self.hear() {
            Some(Heard::Commanded { command, answer, .. }) => (command, answer),
            other => panic!("no command but {other:?}"),
        }
    }
}
