//! A whole run: the fleet is drawn, lives, is ordered about, signs off, and is checked.

use crate::api::Api;
use crate::check::{self, Findings};
use crate::estate::{self, Achieved, Estate, Size};
use crate::life::Meter;
use crate::orders::{Desk, Orders};
use crate::population::Member;
use crate::time::FleetTime;
use crate::truth::Account;
use crate::world::{Doors, World};
use anyhow::{Context, Result, bail};
use polymeter::clock::Clock;
use polymeter::model::Civil;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// What to run against which station.
#[derive(Clone, Debug)]
pub struct Run {
    pub doors: Doors,
    pub devices: usize,
    pub seed: u64,
    /// Our time for the whole of fleet time.
    pub real: Duration,
    /// Fleet time.
    pub from: Civil,
    pub to: Civil,
    pub orders: usize,
    /// Meters that are asked, beside those that speak for themselves.
    pub estate: Option<Size>,
    /// The station's zone.
    pub zone: String,
}

/// A run under way, for whoever watches it.
#[derive(Default)]
pub struct Watch {
    pub world: Mutex<Option<Arc<World>>>,
    pub orders: AtomicU64,
    /// What goes on just now, and how far it is.
    pub stage: Mutex<Stage>,
    /// No more orders, and nothing new.
    pub stop: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    #[default]
    Preparing,
    Keys(usize),
    Living,
    SigningOff(usize),
    CatchingUp,
    Checking(usize),
}

/// What came of it.
pub struct Outcome {
    pub findings: Findings,
    pub meters: Vec<Meter>,
    pub tricks: BTreeMap<&'static str, u64>,
    pub orders: Orders,
    /// Still on line.
    pub estate: Option<Estate>,
    pub achieved: Achieved,
}

/// Rounds in which meters with waiting commands call again.
const SIGN_OFF_ROUNDS: i64 = 4;
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(120);
const KEY_THREADS: usize = 3;
/// Orders come in the first part of the time, so that their answers can be seen.
const ORDERS_UNTIL: f64 = 0.8;

/// Plays one run. Blocks; meters live on a runtime of their own.
pub fn play(run: &Run, api: &Api, watch: &Watch) -> Result<Outcome> {
    let offers = run.doors.offers();
    let members: Vec<Member> = (0..run.devices).map(|n| Member::draw(run.seed, n, run.from, offers)).collect();
    tell_keys(api, &members, watch)?;
    let clock = Clock::new(&run.zone).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let time = FleetTime::start(run.from, run.to, run.real);
    let world = Arc::new(World::new(time, run.doors, clock, members.len()));
    *lock(&watch.world) = Some(world.clone());
    let begin = |size| Estate::begin(size, run.seed, run.doors, api, time, (run.from, run.to));
    let estate = run.estate.map(begin).transpose()?;
    set(watch, Stage::Living);
    let sent = &watch.orders;
    let (meters, orders, achieved) = std::thread::scope(|scope| {
        let (seed, over) = (run.seed, run.real.mul_f64(ORDERS_UNTIL));
        let desk = Desk {
            api: api.another(),
            members: &members,
            world: &world,
            seed,
            count: run.orders,
            over,
            stop: &watch.stop,
            sent,
        };
        let orders = scope.spawn(move || desk.work());
        let asked = estate.as_ref().map(|estate| {
            let (api, real) = (api.another(), run.real);
            scope.spawn(move || estate::work(estate, &api, real, &watch.stop))
        });
        let meters = runtime.block_on(live(run, &members, &world));
        watch.stop.store(true, Relaxed);
        (meters, orders.join(), asked.map(std::thread::ScopedJoinHandle::join))
    });
    let achieved = achieved.transpose().map_err(|_| anyhow::anyhow!("the desk of the estate has failed"))?;
    let achieved = achieved.transpose().context("those who are asked")?.unwrap_or_default();
    let mut orders = orders.map_err(|_| anyhow::anyhow!("the order desk has failed"))??;
    orders.taken.extend(achieved.orders.iter().cloned());
    orders.objections.extend(achieved.objections.iter().cloned());
    let mut meters = meters?;
    sign_off(run, api, &runtime, &world, &mut meters, watch)?;
    set(watch, Stage::CatchingUp);
    api.catch_up(CATCH_UP_PATIENCE)?;
    let behind = estate.as_ref().map(Estate::settled).unwrap_or_default();
    let accounts: Vec<&Account> = meters.iter().map(|m| &m.account).chain(&behind).collect();
    let mut findings = check::check(api, &accounts, &orders, &|done| set(watch, Stage::Checking(done)))?;
    findings.commands_answered += achieved.answered;
    let mut tricks = BTreeMap::new();
    for (trick, times) in accounts.iter().flat_map(|a| &a.tricks) {
        *tricks.entry(*trick).or_default() += times;
    }
    Ok(Outcome { findings, meters, tricks, orders, estate, achieved })
}

/// Keys that the utility has from its suppliers.
fn tell_keys(api: &Api, members: &[Member], watch: &Watch) -> Result<()> {
    let secured: Vec<&Member> = members.iter().filter(|m| m.needs_key()).collect();
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..KEY_THREADS {
            scope.spawn(|| {
                let api = api.another();
                while let Some(member) = secured.get(next.fetch_add(1, Relaxed) as usize) {
                    let device = member.device();
                    let path = format!("keys/{}/{}/1", device.realm(), device.address());
                    if let Err(error) = api.put(&path, &json!({"key": hex::encode(member.key)})) {
                        lock(&failed).get_or_insert(error.context(format!("key of {device}")));
                        return;
                    }
                    set(watch, Stage::Keys(next.load(Relaxed) as usize));
                }
            });
        }
    });
    lock(&failed).take().map_or(Ok(()), Err)
}

async fn live(run: &Run, members: &[Member], world: &Arc<World>) -> Result<Vec<Meter>> {
    let mut lives = JoinSet::new();
    for member in members {
        let (mut meter, world, from, to) = (Meter::new(member.clone()), world.clone(), run.from, run.to);
        lives.spawn(async move {
            meter.live(&world, from, to).await;
            meter
        });
    }
    collect(lives).await
}

async fn collect(mut lives: JoinSet<Meter>) -> Result<Vec<Meter>> {
    let mut meters = Vec::with_capacity(lives.len());
    while let Some(meter) = lives.join_next().await {
        meters.push(meter.context("a meter has failed")?);
    }
    meters.sort_by_key(|meter| meter.member.number);
    Ok(meters)
}

/// Every meter that was ordered about says how it stands, and takes what still waits for it.
fn sign_off(
    run: &Run,
    api: &Api,
    runtime: &tokio::runtime::Runtime,
    world: &Arc<World>,
    meters: &mut Vec<Meter>,
    watch: &Watch,
) -> Result<()> {
    for round in 0..SIGN_OFF_ROUNDS {
        let open = open_devices(api)?;
        let calls = |meter: &Meter| {
            let uncertain = meter.account.valves.len() > 1 || !meter.account.met.is_empty();
            open.contains(&meter.account.device) || (round == 0 && uncertain)
        };
        let (calling, silent): (Vec<Meter>, Vec<Meter>) = std::mem::take(meters).into_iter().partition(calls);
        *meters = silent;
        if calling.is_empty() {
            break;
        }
        set(watch, Stage::SigningOff(calling.len()));
        let at = Civil(run.to.0 + 600 * (round + 1));
        let mut lives = JoinSet::new();
        for mut meter in calling {
            let world = world.clone();
            lives.spawn_on(
                async move {
                    meter.sign_off(&world, at).await;
                    meter
                },
                runtime.handle(),
            );
        }
        meters.extend(runtime.block_on(collect(lives))?);
        api.catch_up(CATCH_UP_PATIENCE)?;
    }
    meters.sort_by_key(|meter| meter.member.number);
    if meters.len() != run.devices {
        bail!("{} meters of {} came back", meters.len(), run.devices);
    }
    Ok(())
}

fn open_devices(api: &Api) -> Result<BTreeSet<String>> {
    let rows = api.rows("commands?open=true")?;
    Ok(rows.iter().filter_map(|row| row.get("device").and_then(Value::as_str).map(str::to_owned)).collect())
}

fn set(watch: &Watch, stage: Stage) {
    *lock(&watch.stage) = stage;
}

/// A panic elsewhere leaves these values whole.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
