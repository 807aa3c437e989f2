//! Who is in the fleet: each member follows from the fleet's seed and its own number.

use crate::gauge::{Gauge, mix};
use polymeter::model::{Civil, DeviceKey, ReportPeriod, Schedule};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// Unified station protocol.
    Usp,
    /// 前卫, and 新圣 where it encrypts.
    Qianwei,
    /// 深圳燃气, over datagrams.
    Szrq,
    /// 上海奉贤燃气, over streams.
    Fengxian,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secrecy {
    Plain,
    /// A key that the utility has set.
    Aes,
    Sm4,
    /// The maker's own key, derived from the number on the meter.
    MakersKey,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Transport {
    Tcp,
    Udp,
}

/// What the station offers beside TCP for the unified protocol and 前卫; who has no door there is not in the fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offers {
    /// Part of those two uses UDP.
    pub datagrams: bool,
    pub szrq: bool,
    pub fengxian: bool,
}

impl Offers {
    pub const ALL: Self = Self { datagrams: true, szrq: true, fengxian: true };
}

/// One meter, before it has lived.
#[derive(Clone, Debug)]
pub struct Member {
    pub number: usize,
    pub vendor: Vendor,
    pub address: String,
    pub schedule: Schedule,
    pub always_online: bool,
    pub has_valve: bool,
    pub secrecy: Secrecy,
    pub key: [u8; 16],
    pub transport: Transport,
    /// What it connects from.
    pub source: Ipv4Addr,
    pub gauge: Gauge,
    /// Seconds by which its clock is wrong at first.
    pub drift_s: i64,
    /// Everything it will do by chance.
    pub seed: u64,
}

/// Members that may share one source address: the kernel has some 28,000 ports for each.
const MEMBERS_PER_SOURCE: usize = 15_000;

impl Member {
    pub fn draw(fleet_seed: u64, number: usize, from: Civil, offers: Offers) -> Self {
        let seed = mix(fleet_seed, number as u64);
        let mut rng = StdRng::seed_from_u64(seed);
        let vendor = vendor(offers, &mut rng);
        let secrecy = secrecy(vendor, &mut rng);
        let always_online = vendor == Vendor::Usp && rng.random_bool(0.08);
        let period = match rng.random_range(0..100) {
            _ if vendor != Vendor::Usp || always_online => ReportPeriod::Daily,
            0..70 => ReportPeriod::Daily,
            70..87 => ReportPeriod::Dekad,
            _ => ReportPeriod::Monthly,
        };
        let hour = rng.random_range(0..3);
        let schedule = Schedule {
            period,
            // The window of these meters begins at midnight until somebody sets it.
            minute_of_day: if vendor == Vendor::Fengxian { 0 } else { 60 * hour },
            stagger_minutes: if rng.random_bool(0.05) { 0 } else { 10 },
            awake_minutes: 10,
            heartbeat_minutes: if always_online { 60 } else { 0 },
        };
        let wants_datagrams = rng.random_bool(if vendor == Vendor::Qianwei { 0.4 } else { 0.15 });
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(1 + number / MEMBERS_PER_SOURCE).unwrap_or(u8::MAX));
        Self {
            number,
            vendor,
            address: address(vendor, secrecy, number),
            schedule,
            always_online,
            // A 奉贤 meter cannot say that it has none.
            has_valve: rng.random_bool(0.9) || vendor == Vendor::Fengxian,
            secrecy,
            key: key(seed),
            transport: match vendor {
                Vendor::Szrq => Transport::Udp,
                Vendor::Fengxian => Transport::Tcp,
                _ if wants_datagrams && !always_online && offers.datagrams => Transport::Udp,
                _ => Transport::Tcp,
            },
            source,
            gauge: Gauge::new(seed, from.day()),
            drift_s: rng.random_range(-240..=240),
            seed,
        }
    }

    /// `realm/address`. A realm that these adapters do not have would show in the check.
    pub fn device(&self) -> DeviceKey {
        let realm = match self.vendor {
            Vendor::Usp => "usp",
            Vendor::Qianwei => "qianwei",
            Vendor::Szrq => "szrq",
            Vendor::Fengxian => "fengxian",
        };
        DeviceKey::new(realm, &self.address).expect("invariant: digits and letters make a key")
    }

    /// Whether the station must be told its key before it first speaks.
    pub fn needs_key(&self) -> bool {
        matches!(self.secrecy, Secrecy::Aes | Secrecy::Sm4)
    }
}

/// Six digits that nobody has chosen.
pub fn any_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    mix(since.map_or(0, |since| since.as_nanos() as u64), 0) % 1_000_000
}

/// In shares of a hundred, or fewer where somebody has no door.
fn vendor(offers: Offers, rng: &mut StdRng) -> Vendor {
    let shares = [
        (Vendor::Usp, 45),
        (Vendor::Qianwei, 24),
        (Vendor::Szrq, if offers.szrq { 17 } else { 0 }),
        (Vendor::Fengxian, if offers.fengxian { 14 } else { 0 }),
    ];
    let mut drawn = rng.random_range(0..shares.iter().map(|(_, share)| share).sum());
    for (vendor, share) in shares {
        if drawn < share {
            return vendor;
        }
        drawn -= share;
    }
    Vendor::Usp
}

fn secrecy(vendor: Vendor, rng: &mut StdRng) -> Secrecy {
    match (vendor, rng.random_range(0..100)) {
        (_, 0..60) | (Vendor::Szrq | Vendor::Fengxian, _) => Secrecy::Plain,
        (Vendor::Usp, 60..82) => Secrecy::Aes,
        (Vendor::Usp, _) => Secrecy::Sm4,
        (Vendor::Qianwei, 60..85) => Secrecy::MakersKey,
        (Vendor::Qianwei, _) => Secrecy::Aes,
    }
}

/// The last two digits, which decide the stagger, count up.
fn address(vendor: Vendor, secrecy: Secrecy, number: usize) -> String {
    match (vendor, secrecy) {
        (Vendor::Usp, _) => format!("500012{number:08}"),
        (Vendor::Qianwei, Secrecy::Plain) => format!("000000120031{number:08}"),
        (Vendor::Qianwei, _) => format!("0000QW120031{number:08}"),
        (Vendor::Szrq, _) => format!("SZ075500{number:08}"),
        (Vendor::Fengxian, _) => format!("310020{number:08}"),
    }
}

fn key(seed: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(seed, 71).to_le_bytes());
    key[8..].copy_from_slice(&mix(seed, 72).to_le_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_fleet() {
        let from = "2024-02-26T12:00:00".parse().expect("time");
        let fleet =
            |seed| (0..500).map(|n| format!("{:?}", Member::draw(seed, n, from, Offers::ALL))).collect::<Vec<_>>();
        assert_eq!(fleet(7), fleet(7));
        assert_ne!(fleet(7), fleet(8));
        let members: Vec<_> = (0..500).map(|n| Member::draw(7, n, from, Offers::ALL)).collect();
        for kind in [Secrecy::Plain, Secrecy::Aes, Secrecy::Sm4, Secrecy::MakersKey] {
            assert!(members.iter().any(|m| m.secrecy == kind), "{kind:?}");
        }
        for vendor in [Vendor::Usp, Vendor::Qianwei, Vendor::Szrq, Vendor::Fengxian] {
            assert!(members.iter().filter(|m| m.vendor == vendor).count() > 50, "{vendor:?}");
        }
        assert!(members.iter().any(|m| m.always_online));
        assert!(members.iter().any(|m| m.schedule.period == ReportPeriod::Monthly));
    }
}
