//! A good device that tries its luck on a connection which has just carried damage, and remembers every byte sent on it.

use super::bytes::Damage;
use super::carriers::{Letters, Stream};
use polymeter_sdk::Framing;
use polymeter_tests::site::PATIENCE;
use polymeter_tests::usp::{NOON, civil, meter};
use qianwei_7xxx::device::{self as qianwei, Meter, ReportKind};
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;
use usp::device::{Device, Heard, framing};

/// A pause between two looks; how often is looked is what is bounded.
const MOMENT: Duration = Duration::from_millis(100);
/// Each time twice as many copies of the good frame as before: after ten times they are more than any buffer holds.
const REPEATS_MAX: u32 = 10;
/// A datagram that is not answered is repeated like this; the station may have ended that session meanwhile.
const DATAGRAM_REPEATS_MAX: u32 = 600;

/// What a case sends, and where.
#[derive(Clone)]
pub struct Case {
    pub number: usize,
    pub door: &'static str,
    pub damage: Damage,
    /// Place of the damaged frames' adapter, and of the good device's.
    pub adapters: (usize, usize),
    pub bytes: Vec<u8>,
    /// Where the bytes are cut into writes.
    pub cuts: Vec<usize>,
    /// Nothing good follows: the peer is gone after the damage.
    pub hangs_up: bool,
}

/// What has become of it.
pub struct Played {
    pub case: Case,
    /// All writes or datagrams, in order.
    pub sent: Vec<Vec<u8>>,
    /// The station closed before the peer did: what came later it need not have seen.
    pub closed_by_station: bool,
    pub answered: bool,
    /// The good device's frames.
    pub good: Vec<Vec<u8>>,
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { number, door, damage, adapters, cuts, hangs_up, .. } = &self.case;
        let (closed, answered) = (self.closed_by_station, self.answered);
        write!(f, "case {number} on {door}, {damage:?}, adapters {adapters:?}, cut at {cuts:?}: ")?;
        write!(f, "hangs up {hangs_up}, closed by the station {closed}, answered {answered}")
    }
}

impl Case {
    /// A loopback address of its own, by which the station's entries are told apart.
    pub fn address(&self) -> Ipv4Addr {
        let n = self.number as u32 + 1;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + n)
    }

    /// Not on a stream: each piece is one for itself.
    pub fn comes_whole(&self) -> bool {
        comes_whole(self.door)
    }

    /// By what its entries are told from those of others.
    pub fn origin(&self) -> String {
        if self.door.ends_with("mqtt") { self.topic("up") } else { self.address().to_string() }
    }

    pub fn topic(&self, end: &str) -> String {
        format!("gateways/g/meters/{}/{end}", self.number)
    }

    pub fn play_stream(self, mut stream: Stream) -> Played {
        stream.patience(MOMENT);
        let mut played = Played::new(self);
        let mut ends = played.case.cuts.clone();
        ends.push(played.case.bytes.len());
        let mut start = 0;
        for end in ends {
            let piece = played.case.bytes[start..end].to_vec();
            played.write(&mut stream, piece);
            start = end;
        }
        if !played.case.hangs_up {
            played.try_luck(&mut stream);
        }
        played.leave(stream);
        played
    }

    pub fn play_letters(self, mut letters: Letters) -> Played {
        letters.patience(MOMENT);
        let mut played = Played::new(self);
        let mut probe = Probe::of(&played.case);
        let damage = played.case.bytes.clone();
        played.sent.push(damage.clone());
        letters.send(&damage);
        while let Some(frame) = probe.next_frame() {
            played.good.push(frame.clone());
            let mut repeats = 0;
            loop {
                played.sent.push(frame.clone());
                letters.send(&frame);
                if probe.hears(&mut letters) {
                    played.answered = true;
                    break;
                }
                repeats += 1;
                assert!(repeats < DATAGRAM_REPEATS_MAX, "a good datagram stays without answer: {played}");
            }
        }
        played
    }
}

impl Played {
    fn new(case: Case) -> Self {
        Self { case, sent: Vec::new(), closed_by_station: false, answered: false, good: Vec::new() }
    }

    fn write(&mut self, stream: &mut Stream, bytes: Vec<u8>) {
        if !self.closed_by_station {
            self.closed_by_station = stream.write_all(&bytes).is_err();
            self.sent.push(bytes);
        }
    }

    /// A good frame, again and again, until it is answered or the station has had enough.
    fn try_luck(&mut self, stream: &mut Stream) {
        let mut probe = Probe::of(&self.case);
        let frame = probe.next_frame().expect("a first frame");
        self.good.push(frame.clone());
        let mut received = Vec::new();
        for repeat in 0..=REPEATS_MAX {
            if repeat == REPEATS_MAX {
                // All that it takes has been sent; what is left is the station's time, and the machine may be busy.
                stream.patience(PATIENCE);
            }
            self.write(stream, frame.repeat(1 << repeat));
            let mut chunk = [0; 4_096];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => self.closed_by_station = true,
                    Ok(n) => received.extend_from_slice(&chunk[..n]),
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    Err(_) => self.closed_by_station = true,
                }
                self.answered |= probe.is_answered_by(&received);
                if self.answered || self.closed_by_station {
                    return;
                }
            }
        }
        panic!("neither answered nor closed: {self}");
    }

    /// Nothing more comes; the station reads to the end and closes.
    fn leave(&mut self, mut stream: Stream) {
        stream.finish();
        stream.patience(PATIENCE);
        let mut chunk = [0; 4_096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the station does not close: {self}")
                }
                // It closed while our bytes were on their way.
                Err(_) => {
                    self.closed_by_station = true;
                    return;
                }
            }
        }
    }
}

/// The good device.
enum Probe {
    Unified { device: Box<Device>, told: u8 },
    Other { meter: Box<Meter>, told: u8 },
}

impl Probe {
    fn of(case: &Case) -> Self {
        if case.adapters.1 == 0 {
            Self::Unified { device: Box::new(meter(&format!("6{:013}", case.number))), told: 0 }
        } else {
            Self::Other { meter: Box::new(Meter::plain(&format!("6{:019}", case.number))), told: 0 }
        }
    }

    /// Registration and report, or what the protocol has instead; after that the station closes.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let now = civil(NOON);
        match self {
            Self::Unified { device, told } => {
                *told += 1;
                match told {
                    1 => Some(device.registration(now)),
                    2 => Some(device.daily(now, &[])),
                    _ => None,
                }
            }
            Self::Other { meter, told } => {
                *told += 1;
                (*told == 1).then(|| meter.report(now, ReportKind::Scheduled))
            }
        }
    }

    fn hears(&mut self, letters: &mut Letters) -> bool {
        // Until the good frame's answer comes, whatever the station has to say about the damage may come first.
        while let Some(letter) = letters.receive() {
            if self.is_answered_by(&letter) {
                return true;
            }
        }
        false
    }

    /// Whether an acceptance of this very device's frame is among these bytes.
    fn is_answered_by(&mut self, received: &[u8]) -> bool {
        let mut rest = received;
        while !rest.is_empty() {
            let (length, is_frame) = match self {
                Self::Unified { .. } => match framing(rest) {
                    Framing::Frame(n) => (n as usize, true),
                    Framing::Skip(n) => (n as usize, false),
                    _ => return false,
                },
                Self::Other { .. } => match Meter::cut(rest) {
                    Some(n) => (n, true),
                    None => return false,
                },
            };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            if is_frame && self.accepts(piece) {
                return true;
            }
            rest = after;
        }
        false
    }

    fn accepts(&mut self, frame: &[u8]) -> bool {
        match self {
            Self::Unified { device, .. } => {
                matches!(device.hear(civil(NOON), frame), Ok(Heard::Reply(reply)) if reply.result == 0)
            }
            Self::Other { meter, .. } => {
                matches!(meter.receive(frame), Ok(qianwei::Heard::Acknowledged { code: 0, .. }))
            }
        }
    }
}

pub fn comes_whole(door: &str) -> bool {
    ["udp", "coap", "mqtt"].iter().any(|transport| door.ends_with(transport))
}
