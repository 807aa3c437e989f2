//! What all meters share: the station's doors, the fleet's calendar, and counters for whoever watches.

use crate::population::{Member, Offers, Transport, Vendor};
use crate::time::FleetTime;
use crate::truth::Account;
use polymeter::clock::Clock;
use polymeter::model::Civil;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use tokio::sync::Semaphore;

/// A station's clock may differ from ours by this much; both run on one machine.
const CLOCK_TOLERANCE_S: i64 = 120;

/// Where a station listens for whom.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    /// TCP, for the unified protocol and 前卫.
    pub tcp: SocketAddr,
    /// UDP, for the same.
    pub udp: Option<SocketAddr>,
    /// UDP, for 深圳燃气.
    pub szrq: Option<SocketAddr>,
    /// TCP, for 上海奉贤燃气.
    pub fengxian: Option<SocketAddr>,
    /// TCP, for transparent DTUs of volume correctors.
    pub dtu: Option<SocketAddr>,
}

impl Doors {
    /// One TCP door only.
    pub fn tcp(at: SocketAddr) -> Self {
        Self { tcp: at, udp: None, szrq: None, fengxian: None, dtu: None }
    }

    pub fn offers(&self) -> Offers {
        Offers { datagrams: self.udp.is_some(), szrq: self.szrq.is_some(), fengxian: self.fengxian.is_some() }
    }

    fn of(&self, member: &Member) -> SocketAddr {
        let door = match (member.vendor, member.transport) {
            (Vendor::Szrq, _) => self.szrq,
            (Vendor::Fengxian, _) => self.fengxian,
            (_, Transport::Udp) => self.udp,
            (_, Transport::Tcp) => None,
        };
        door.unwrap_or(self.tcp)
    }
}

pub struct World {
    pub time: FleetTime,
    doors: Doors,
    pub counters: Counters,
    /// The zone that the station lives in.
    pub clock: Clock,
    /// How many meters may speak at the same time; the others wait as if the cell were full.
    pub room: Semaphore,
    /// When the station last acknowledged something of each member, by that member's clock.
    heard_at: Vec<AtomicI64>,
}

#[derive(Debug, Default)]
pub struct Counters {
    pub reports: AtomicU64,
    pub readings: AtomicU64,
    pub heartbeats: AtomicU64,
    pub commands: AtomicU64,
    pub broken: AtomicU64,
    pub online: AtomicU64,
    /// Always-online connections that are open.
    pub standing: AtomicU64,
    /// Those that the station has closed although nothing was wrong.
    pub dropped: AtomicU64,
}

impl World {
    pub fn new(time: FleetTime, doors: Doors, clock: Clock, members: usize) -> Self {
        let heard_at = (0..members).map(|_| AtomicI64::new(NEVER)).collect();
        Self { time, doors, counters: Counters::default(), clock, room: Semaphore::new(ROOM), heard_at }
    }

    pub fn door(&self, member: &Member) -> SocketAddr {
        self.doors.of(member)
    }

    /// The station has acknowledged something of this member.
    pub fn heard(&self, number: usize, at: Civil) {
        if let Some(heard_at) = self.heard_at.get(number) {
            heard_at.fetch_max(at.0, Relaxed);
        }
    }

    /// What the member's clock showed when the station last acknowledged something of it; `None`: not yet. On a busy machine
    /// members come late, and the calendar runs on without them.
    pub fn heard_at(&self, number: usize) -> Option<Civil> {
        self.heard_at.get(number).map(|at| at.load(Relaxed)).filter(|at| *at != NEVER).map(Civil)
    }

    /// The acknowledgement sets the meter's clock. The fleet's calendar runs faster than the station's, so the meter takes the
    /// fleet's time instead; here the station's is only checked.
    pub fn set_clock(&self, account: &mut Account, clock: Option<Civil>) {
        let ours = self.clock.civil(self.clock.now_ms());
        if let Some(theirs) = clock.filter(|theirs| (theirs.0 - ours.0).abs() > CLOCK_TOLERANCE_S) {
            account.objections.push(format!("the station's clock shows {theirs} at {ours}"));
        }
    }
}

const ROOM: usize = 4_000;
const NEVER: i64 = i64::MIN;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_member_is_asked_by_its_own_clock() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let doors = Doors { tcp: nowhere, udp: None, szrq: None, fengxian: None, dtu: None };
        let time = FleetTime::start(Civil(0), Civil(86_400), Duration::from_secs(1));
        let world = World::new(time, doors, Clock::new("Asia/Shanghai").expect("a zone"), 1);
        assert_eq!((world.heard_at(0), world.heard_at(1)), (None, None));
        world.heard(0, Civil(7_200));
        // A communication that is tried again begins at its slot.
        world.heard(0, Civil(7_100));
        assert_eq!(world.heard_at(0), Some(Civil(7_200)));
    }
}
