//! The utility's side: orders to meters through the HTTP API, and what must have become of each.

use crate::api::{Api, Refused};
use crate::population::{Member, Transport, Vendor};
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
            if !self.world.is_seen(member.number) {
                misses += 1;
                continue;
            }
            let wish = wish(member, self.world.time.now(), &mut rng);
            // Told that a command follows, such a meter would wait for one that its protocol cannot say, and nothing closes
            // a datagram socket.
            if !wish.possible && member.vendor == Vendor::Qianwei && member.transport == Transport::Udp {
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
                orders.taken.push(Order { id, device, name, possible, is_valve, numbered, promised });
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

fn wish(member: &Member, now: Civil, rng: &mut StdRng) -> Wish {
    let unified = member.vendor == Vendor::Usp;
    let valve = |order: &str| json!({"valve": {"order": order, "reason": ""}});
    let mut promised = Vec::new();
    let (name, command, possible) = match rng.random_range(0..100) {
        0..18 => ("read current", json!({"read": {"scope": "current"}}), unified),
        18..28 => ("read account", json!({"read": {"scope": "account"}}), true),
        28..40 => {
            let days = now.day().0 - rng.random_range(3..30)..=now.day().0 - rng.random_range(1..3);
            let (first, last) = (Day(*days.start()).start(), Day(*days.end()).start());
            if unified {
                promised = days.flat_map(|day| frozen_readings(&member.gauge, corrects(member), Day(day))).collect();
            }
            ("read history", json!({"read-history": {"interval": "day", "first": first, "last": last}}), unified)
        }
        40..52 => ("valve close-temporary", valve("close-temporary"), true),
        52..62 => ("valve close-forced", valve("close-forced"), true),
        62..76 => ("valve permit-open", valve("permit-open"), true),
        76..84 => ("set clock", json!({"set-clock": {"to": now}}), unified),
        84..92 => {
            let minute = 60 * rng.random_range(0..3);
            ("set schedule", json!({"set-schedule": {"period": "daily", "minute_of_day": minute}}), true)
        }
        92..96 => {
            let value = json!({"integer": rng.random_range(5..30)});
            let list = json!([{"name": "communication-lost-days", "value": value}]);
            ("set parameters", json!({"set-parameters": list}), true)
        }
        _ => ("read parameters", json!({"read-parameters": ["communication-lost-days"]}), true),
    };
    Wish { name, command, possible, promised }
}
