//! The utility's side: orders to meters through the HTTP API, and what must have become of each.

use crate::api::{Api, Refused};
use crate::population::{Member, Transport, Vendor};
use crate::terminal::szrq;
use crate::terminal::usp::{corrects, frozen_readings};
use crate::truth::Reading;
use crate::world::World;
use anyhow::Result;
use polymeter::model::{Civil, Day};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// An order that the station has taken.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: u64,
    pub device: String,
    pub name: &'static str,
    /// The meter can do it.
    pub possible: bool,
    pub is_valve: bool,
    /// The meter knows an order again by its number, so that the station may repeat it.
    pub numbered: bool,
    /// A meter that is locked refuses it.
    pub may_be_locked: bool,
    /// What the station must show once the order is done, and may show before: the history that was asked for.
    pub promised: Vec<Reading>,
}

/// What was ordered, and what the station refused although it should not have, or the other way round.
#[derive(Debug, Default)]
pub struct Orders {
    pub taken: Vec<Order>,
    pub objections: Vec<String>,
    /// Orders for a valve that is not there, refused as they must be.
    pub rightly_refused: u64,
}

/// How orders are spread.
pub struct Desk<'a> {
    pub api: Api,
    pub members: &'a [Member],
    pub world: &'a World,
    pub seed: u64,
    /// How many orders, over how much time.
    pub count: usize,
    pub over: Duration,
    pub stop: &'a AtomicBool,
    /// For those who watch.
    pub sent: &'a AtomicU64,
}

impl Desk<'_> {
    /// Orders this and that of meters that the station knows, until the time is over.
    pub fn work(&self) -> Result<Orders> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x0DE5);
        let mut orders = Orders::default();
        let pause = self.over / u32::try_from(self.count.max(1)).unwrap_or(u32::MAX);
        let mut misses = 0;
        while orders.taken.len() < self.count && !self.stop.load(Relaxed) && misses < 50 * self.count {
            std::thread::sleep(pause);
            let member = &self.members[rng.random_range(0..self.members.len())];
            // Nobody asks a meter for days that are still to come by its own clock.
            let Some(heard_at) = self.world.heard_at(member.number) else {
                misses += 1;
                continue;
            };
            let wish = wish(member, heard_at, &mut rng);
            // Told that a command follows, such a meter would wait for one that its protocol cannot say, and nothing closes
            // a datagram socket.
            if !wish.possible && member.vendor != Vendor::Usp && member.transport == Transport::Udp {
                continue;
            }
            self.place(member, wish, &mut orders)?;
            self.sent.store(orders.taken.len() as u64, Relaxed);
        }
        Ok(orders)
    }

    fn place(&self, member: &Member, wish: Wish, orders: &mut Orders) -> Result<()> {
        let device = member.device().to_string();
        let body = json!({"device": device, "command": wish.command, "note": "ordered by the simulated utility"});
        let is_valve = wish.name.starts_with("valve");
        let no_valve = is_valve && !member.has_valve;
        match self.api.post("commands", &body) {
            Ok(_) if no_valve => {
                orders.objections.push(format!("{device}: {} was taken, but the meter has no valve", wish.name));
            }
            Ok(answer) => {
                let id = answer.get("id").and_then(Value::as_u64).unwrap_or_default();
                let Wish { name, possible, promised, .. } = wish;
                let numbered = member.vendor == Vendor::Usp;
                let may_be_locked = member.vendor == Vendor::Szrq && name == "valve close-temporary";
                orders.taken.push(Order { id, device, name, possible, is_valve, numbered, may_be_locked, promised });
            }
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if no_valve && refused.code == "no-valve" => orders.rightly_refused += 1,
                // Not shown yet, or one at a time: another meter, another moment.
                Some(refused) if matches!(&*refused.code, "unknown-device" | "valve-busy" | "queue-full") => {}
                Some(refused) => orders.objections.push(format!("{device}: {}: {refused}", wish.name)),
                None => return Err(error),
            },
        }
        Ok(())
    }
}

struct Wish {
    name: &'static str,
    command: Value,
    possible: bool,
    promised: Vec<Reading>,
}

impl Wish {
    fn new(name: &'static str, command: Value, possible: bool) -> Self {
        Self { name, command, possible, promised: Vec::new() }
    }
}

fn wish(member: &Member, now: Civil, rng: &mut StdRng) -> Wish {
    match rng.random_range(0..100) {
        0..40 => reading_wish(member, now, rng),
        40..52 => valve("valve close-temporary", "close-temporary", member.vendor != Vendor::Fengxian),
        52..62 => valve("valve close-forced", "close-forced", true),
        62..76 => valve("valve permit-open", "permit-open", true),
        _ => setting_wish(member, now, rng),
    }
}

fn valve(name: &'static str, order: &str, possible: bool) -> Wish {
    Wish::new(name, json!({"valve": {"order": order, "reason": ""}}), possible)
}

/// Something that a meter is asked for.
fn reading_wish(member: &Member, now: Civil, rng: &mut StdRng) -> Wish {
    let current = json!({"read": {"scope": "current"}});
    let account = json!({"read": {"scope": "account"}});
    let parameters =
        |names: &[&str], possible| Wish::new("read parameters", json!({"read-parameters": names}), possible);
    let chance = rng.random_range(0..4);
    match (member.vendor, chance) {
        (Vendor::Usp, ..2) => Wish::new("read current", current, true),
        (Vendor::Usp | Vendor::Qianwei, 2) => Wish::new("read account", account, true),
        (Vendor::Usp, _) | (Vendor::Qianwei, 3) => {
            let days = now.day().0 - rng.random_range(3..30)..=now.day().0 - rng.random_range(1..3);
            let (first, last) = (Day(*days.start()).start(), Day(*days.end()).start());
            let unified = member.vendor == Vendor::Usp;
            let mut wish = history("day", first, last, unified);
            if unified {
                wish.promised =
                    days.flat_map(|day| frozen_readings(&member.gauge, corrects(member), Day(day))).collect();
            }
            wish
        }
        (Vendor::Qianwei, 0) => Wish::new("read current", current, false),
        (Vendor::Qianwei, _) => parameters(&["communication-lost-days"], true),
        (Vendor::Szrq, ..3) => {
            let count = rng.random_range(1..4);
            let months = szrq::months_before(now.day(), count);
            let ends = [months.last(), months.first()].map(|m| m.map_or(now, |m| szrq::day_of(*m).start()));
            Wish { promised: szrq::frozen_months(member, &months), ..history("month", ends[0], ends[1], true) }
        }
        (Vendor::Szrq, _) => parameters(&["vendor-report-time"], true),
        (Vendor::Fengxian, 0) => Wish::new("read current", current, false),
        (Vendor::Fengxian, _) => parameters(&["vendor-report-minutes"], true),
    }
}

fn history(interval: &str, first: Civil, last: Civil, possible: bool) -> Wish {
    Wish::new("read history", json!({"read-history": {"interval": interval, "first": first, "last": last}}), possible)
}

/// Something that a meter is told.
fn setting_wish(member: &Member, now: Civil, rng: &mut StdRng) -> Wish {
    let chance = rng.random_range(0..3);
    let number = |name: &str, value: i64| json!({"name": name, "value": {"integer": value}});
    let days = number("communication-lost-days", rng.random_range(5..30));
    match (member.vendor, chance) {
        (Vendor::Usp | Vendor::Fengxian, 0) => Wish::new("set clock", json!({"set-clock": {"to": now}}), true),
        (Vendor::Qianwei, 0) => Wish::new("set clock", json!({"set-clock": {"to": now}}), false),
        (_, 1) => {
            let minute = 60 * rng.random_range(0..3);
            Wish::new("set schedule", json!({"set-schedule": {"period": "daily", "minute_of_day": minute}}), true)
        }
        (Vendor::Szrq, _) => {
            let level = number("balance-level-1", 100 * rng.random_range(1..50));
            Wish::new("set parameters", json!({"set-parameters": [level]}), true)
        }
        (Vendor::Fengxian, _) => {
            let hour = number("vendor-communication-lost-hour", rng.random_range(0..24));
            Wish::new("set parameters", json!({"set-parameters": [days, hour]}), true)
        }
        _ => Wish::new("set parameters", json!({"set-parameters": [days]}), true),
    }
}
