//! `make demo`: a station of its own, a mixed fleet, orders, another edition of an adapter in the middle, and the check.

use crate::api::Api;
use crate::check::Findings;
use crate::edition;
use crate::estate::{Estate, Size};
use crate::fleet::{Outcome, Run, Stage, Watch, lock, play};
use crate::life::Meter;
use crate::plan::{Occasion, Plan};
use crate::population;
use crate::progress::{self, grouped};
use crate::station::{Settings, Station, built, bundled_adapters};
use crate::world::World;
use anyhow::{Context, Result, ensure};
use polymeter::model::Civil;
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const PORT_TCP: u16 = 7001;
const PORT_UDP: u16 = 7002;
const PORT_SZRQ: u16 = 7003;
const PORT_FENGXIAN: u16 = 7004;
const PORT_DTU: u16 = 7005;
const PORT_HTTP: u16 = 8080;
const DEVICES: usize = 2_000;
/// Behind concentrators and DTUs, beside those.
const ESTATE: Size = Size { concentrators: 3, behind: 24, correctors: 6 };
const SECONDS: u64 = 30;
/// Days of fleet time; they end at noon of a month's second day, so that daily, dekad and monthly reports all come.
const DAYS: i64 = 5;
const ZONE: &str = "Asia/Shanghai";
const TRICKLE_EVERY: Duration = Duration::from_millis(250);
/// Between two rounds of those who are asked.
const ASK_EVERY: Duration = Duration::from_secs(60);
const HOT_LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// What the main thread waits for.
enum News {
    Played(Box<Result<Outcome>>),
    Interrupted,
}

/// Plays the demo; tells whether nothing was lost.
pub fn run() -> Result<bool> {
    let ends_after = number("DEMO_SECONDS")?.map(Duration::from_secs);
    let seed = number("DEMO_SEED")?.unwrap_or_else(population::any_seed);
    let devices = number("DEMO_DEVICES")?.map_or(DEVICES, |n| n as usize);
    let (news, heard) = channel();
    listen_for_signals(news.clone())?;
    println!(
        "fleet demo: {} meters, seed {seed} (the same again: DEMO_SEED={seed} make demo)",
        grouped(devices as u64)
    );
    let dir = fresh_directory()?;
    let (mut station, adapters) = start_station(&dir)?;
    let to = last_second_noon();
    let run = Run {
        doors: station.doors()?,
        devices,
        seed,
        real: ends_after.unwrap_or(Duration::from_secs(SECONDS)),
        from: Civil(to.0 - DAYS * 86_400),
        to,
        orders: devices / 8,
        estate: Some(ESTATE),
        zone: ZONE.into(),
    };
    let days = format!("{} to {}", run.from.day(), run.to.day());
    println!(
        "behind {} concentrators stand {} meters each, of three makes; {} correctors wait behind DTUs",
        ESTATE.concentrators, ESTATE.behind, ESTATE.correctors
    );
    println!(
        "the meters live from {days} within {} seconds, while the utility orders {} things of them",
        run.real.as_secs(),
        run.orders
    );
    let api = station.api()?;
    let Some(mut outcome) = live(&run, &api, &adapters, news, &heard)? else { return interrupted(station, &dir) };
    let estate = outcome.estate.take();
    print!("{}", progress::summary(&outcome));
    let Findings { reports, readings, commands_answered, differences, .. } = outcome.findings.clone();
    let last_line = format!(
        "demo: {} devices, {reports} reports, {readings} readings, {commands_answered} commands answered, {} lost",
        outcome.findings.devices,
        differences.len()
    );
    if ends_after.is_none() {
        println!("{last_line}");
        estate.iter().for_each(Estate::go_on);
        stay_up(&run, &api, outcome, &station, &heard)?;
    }
    estate.map_or(Ok(()), Estate::end)?;
    station.stop()?;
    if differences.is_empty() {
        clean_up(&dir);
    } else {
        let shown = shown(&dir);
        println!("kept:    {shown} (polymeter serve --dev --config {shown}/station.toml shows what the station has)");
    }
    if ends_after.is_some() {
        println!("{last_line}");
    }
    Ok(differences.is_empty())
}

/// The run itself, with the exchange of the adapter in its middle. `None`: a person has had enough.
fn live(
    run: &Run,
    api: &Api,
    adapters: &[PathBuf],
    news: Sender<News>,
    heard: &Receiver<News>,
) -> Result<Option<Outcome>> {
    let (watch, over) = (Arc::new(Watch::default()), Arc::new(AtomicBool::new(false)));
    let line = thread::spawn({
        let (watch, over) = (watch.clone(), over.clone());
        move || progress::follow(&watch, &over)
    });
    let exchange = thread::spawn({
        let (watch, api, run) = (watch.clone(), api.another(), run.clone());
        let usp = adapters.iter().find(|path| path.ends_with("usp.wasm")).cloned();
        move || hot_load(&api, &watch, &run, usp.as_deref().context("usp.wasm is not bundled")?)
    });
    thread::spawn({
        let (watch, api, run) = (watch.clone(), api.another(), run.clone());
        // Nobody listens any more only when the demo has ended.
        move || drop(news.send(News::Played(Box::new(play(&run, &api, &watch)))))
    });
    let outcome = match heard.recv() {
        Ok(News::Played(outcome)) => outcome,
        Ok(News::Interrupted) | Err(_) => return Ok(None),
    };
    over.store(true, Relaxed);
    // It only draws; a failure there is no failure here.
    let _ = line.join();
    let outcome = (*outcome)?;
    println!("{}", exchange.join().map_err(|_| anyhow::anyhow!("the exchange of the adapter has failed"))??);
    Ok(Some(outcome))
}

fn start_station(dir: &Path) -> Result<(Station, Vec<PathBuf>)> {
    let adapters = bundled_adapters()?;
    let ports = [PORT_TCP, PORT_UDP, PORT_SZRQ, PORT_FENGXIAN, PORT_DTU];
    let mut settings = Settings::mixed_fleet();
    for (listener, port) in settings.listeners.iter_mut().zip(ports) {
        let name = format!("listener {}", listener.name);
        listener.bind = or_free(&name, port, |at| match listener.transport {
            "udp" => UdpSocket::bind(at).is_ok(),
            _ => TcpListener::bind(at).is_ok(),
        });
    }
    settings.http = or_free("the page", PORT_HTTP, |at| TcpListener::bind(at).is_ok());
    settings.zone = ZONE.into();
    let mut station = Station::prepare(dir, &settings, &adapters)?;
    station.start()?;
    for listener in &settings.listeners {
        println!("listens: {} {} for {}", listener.transport, station.door(&listener.name)?, listener.name);
    }
    println!("log:     {}", shown(&station.log_file()));
    println!("page:    http://{}/", station.http()?);
    println!("token:   {} (admin; POLYMETER_TOKEN for the command line)", station.token());
    Ok((station, adapters))
}

/// In the middle of the run: the same adapter under a new version, with every connection left alone.
fn hot_load(api: &Api, watch: &Watch, run: &Run, file: &Path) -> Result<String> {
    let world = wait_for_middle(watch, run)?;
    let old = fs::read(file)?;
    let before = edition::version(&old)?;
    let after = next_version(&before);
    let (standing, dropped) = (world.counters.standing.load(Relaxed), world.counters.dropped.load(Relaxed));
    let begun = Instant::now();
    let answer = api.upload("adapters/usp.wasm", edition::with_version(&old, &after)?)?;
    while !serves(api, &after)? {
        ensure!(begun.elapsed() < HOT_LOAD_PATIENCE, "usp {after} does not serve: {answer}");
        thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed().as_millis();
    let reports = world.counters.reports.load(Relaxed);
    // Every standing connection shows at least one sign of life over the new version.
    while !matches!(*lock(&watch.stage), Stage::CatchingUp | Stage::Checking(_)) {
        thread::sleep(Duration::from_millis(50));
    }
    let dropped = world.counters.dropped.load(Relaxed) - dropped;
    let since = world.counters.reports.load(Relaxed) - reports;
    ensure!(
        dropped == 0,
        "usp {after} was loaded, but the station closed {dropped} of {standing} standing connections"
    );
    Ok(format!(
        "hot load: usp {before} became {after} within {took} ms; {standing} standing connections, 0 closed; {} reports since",
        grouped(since)
    ))
}

fn wait_for_middle(watch: &Watch, run: &Run) -> Result<Arc<World>> {
    let middle = Civil(i64::midpoint(run.from.0, run.to.0));
    loop {
        if let Some(world) = lock(&watch.world).clone().filter(|world| world.time.now() >= middle) {
            return Ok(world);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn serves(api: &Api, version: &str) -> Result<bool> {
    let word = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let rows = api.rows("adapters")?;
    Ok(rows
        .iter()
        .any(|row| word(row, "name") == "usp" && word(row, "version") == version && word(row, "state") == "active"))
}

/// 1.2.3 to 1.2.4.
fn next_version(version: &str) -> String {
    match version.rsplit_once('.') {
        Some((head, patch)) => format!("{head}.{}", patch.parse::<u64>().map_or(1, |n| n + 1)),
        None => format!("{version}.1"),
    }
}

/// A few meters at a time go on reporting, until somebody has seen enough.
fn stay_up(run: &Run, api: &Api, outcome: Outcome, station: &Station, heard: &Receiver<News>) -> Result<()> {
    println!("\nthe station stays up, and now and then a meter reports; Ctrl-C ends it");
    println!("page:  http://{}/", station.http()?);
    println!(
        "try:   POLYMETER_URL={} POLYMETER_TOKEN={} {} meter list",
        api.base(),
        station.token(),
        shown(&built("polymeter")?)
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let begun = Instant::now();
    let clock = polymeter::clock::Clock::new(&run.zone).map_err(anyhow::Error::msg)?;
    let time = crate::time::FleetTime::start(run.to, Civil(run.to.0 + 3_600), Duration::from_secs(3_600));
    let world = World::new(time, run.doors, clock, run.devices);
    let mut meters: Vec<Meter> = outcome.meters.into_iter().filter(|m| !m.member.always_online).collect();
    let count = meters.len().max(1);
    let (mut turn, mut asked) = (0, Instant::now());
    while matches!(heard.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
        if let Some(meter) = meters.get_mut(turn * 7_919 % count) {
            // Well after everything that the run has told.
            let at = Civil(run.to.0 + 6 * 3_600 + begun.elapsed().as_secs() as i64);
            let plan = Plan::draw(&meter.member, Occasion::Manual, at);
            runtime.block_on(meter.communicate(&world, plan));
        }
        if asked.elapsed() > ASK_EVERY {
            crate::estate::ask_again(api)?;
            asked = Instant::now();
        }
        turn += 1;
        thread::sleep(TRICKLE_EVERY);
    }
    Ok(())
}

fn interrupted(mut station: Station, dir: &Path) -> Result<bool> {
    println!("\nstopped before its end");
    station.stop()?;
    clean_up(dir);
    Ok(false)
}

/// The first interruption ends the demo in good order.
fn listen_for_signals(news: Sender<News>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let mut kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    drop(inside);
    thread::spawn(move || {
        runtime.block_on(async {
            let [Ok(interrupt), Ok(terminate), Ok(hangup)] = &mut kinds else { return };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            // Nobody listens any more only when the demo has ended.
            let _ = news.send(News::Interrupted);
            std::future::pending::<()>().await;
        });
    });
    Ok(())
}

/// The preferred port, or any free one if somebody has it.
fn or_free(what: &str, port: u16, is_free: impl Fn(SocketAddr) -> bool) -> SocketAddr {
    let preferred = SocketAddr::from(([127, 0, 0, 1], port));
    if is_free(preferred) {
        return preferred;
    }
    println!("port {port} is taken, so {what} gets a free one");
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Noon of the second day of this month, or of the last one if that is still to come.
fn last_second_noon() -> Civil {
    let now = jiff::Zoned::now().datetime();
    let second = |month: jiff::civil::Date| Civil::from_jiff(month.at(12, 0, 0, 0));
    let this = now.date().first_of_month().tomorrow().map_or(Civil::from_jiff(now), second);
    if this <= Civil::from_jiff(now) {
        return this;
    }
    let last = now.date().first_of_month().yesterday().map(jiff::civil::Date::first_of_month);
    last.and_then(jiff::civil::Date::tomorrow).map_or(this, second)
}

/// An empty directory of this run alone, beside what was built.
fn fresh_directory() -> Result<PathBuf> {
    let target = built("polymeter")?.ancestors().nth(2).map(Path::to_path_buf).context("no target directory")?;
    let dir = target.join("demo").join(std::process::id().to_string());
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn clean_up(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        eprintln!("{} could not be removed: {error}", shown(dir));
    }
}

/// Relative to where the person is.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    Ok(Some(text.trim().parse().with_context(|| format!("{variable}={text}: write a whole number"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_and_the_calendar_is_in_the_past() {
        assert_eq!(next_version("0.1.9"), "0.1.10");
        let noon = last_second_noon();
        assert_eq!(noon.second_of_day(), 43_200);
        assert!(noon <= Civil::from_jiff(jiff::Zoned::now().datetime()));
        assert!(noon.to_string().contains("-02T12:00:00"), "{noon}");
    }
}
