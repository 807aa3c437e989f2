//! Builds all parts of a station, starts them in order, and ends them in the reverse order.
//!
//! Start: keys, journal, views (caught up), adapters, commands in flight given back, then the doors. End: doors shut,
//! sessions asked to finish, journal drained. `doors` accepts devices, `brokers` those behind MQTT,
//! `files` divides the open files between peers and the station,
//! `chores` does what comes round by the clock, `redecode` reads quarantined frames again, `polling` holds the rounds of polls.

mod brokers;
mod chores;
mod doors;
mod files;
mod polling;
mod redecode;

use crate::adapter::Catalog;
use crate::api;
use crate::clock::Moment;
use crate::command::archive::Comparisons;
use crate::command::{Desk, Live, Manner, State, Wishes, from_ms};
use crate::config::{Config, Listener, Poll, Speaks};
use crate::journal::{self, Journal};
use crate::keys::Vault;
use crate::lifecycle::{self, Lifecycle};
use crate::limits;
use crate::link::{self, Identity, SecureListener, tls};
use crate::metrics::Metrics;
use crate::model::{Command, Outcome, Seq};
use crate::records::Records;
use crate::review::Review;
use crate::session::registry::Registry;
use crate::session::relay::way_to;
use crate::session::{Door, Penalty, Services};
use crate::views::{CommandRow, CommandState, Views};
use crate::web;
use anyhow::Context as _;
use doors::Doors;
use files::Share;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running station.
pub struct Station {
    services: Arc<Services>,
    doors: Doors,
    /// Where each listener with an address really is, by name; differs from the configuration where that says port 0.
    addresses: Vec<(String, SocketAddr)>,
    http: SocketAddr,
    /// The same through TLS, if there is one.
    https: Option<SocketAddr>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Runs a station until `shutdown` resolves.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let data = config.data.clone();
    let station = Station::start(config).await?;
    for (name, address) in station.addresses() {
        tracing::info!(listener = %name, %address, "accepting devices");
    }
    for door in station.services.doors.iter().filter(|door| !station.services.is_served(door)) {
        let wanted: Vec<&str> = door.adapters.iter().map(|speaks| speaks.adapter.as_str()).collect();
        let wanted = wanted.join(", ");
        tracing::warn!(listener = %door.name, wanted, "none of its adapters serves: frames are kept, and answered by nobody");
    }
    tracing::info!(address = %station.http(), "API and status page");
    if let Some(address) = station.https {
        tracing::info!(%address, "API and status page through TLS");
    }
    if let Err(error) = write_whereabouts(&station, &data) {
        // Devices are served all the same; only scripts miss it.
        tracing::warn!(%error, data = %data.display(), "station.json cannot be written: what it says is of an earlier start");
    }
    shutdown.await;
    tracing::info!("stopping: sessions are asked to finish");
    station.stop().await;
    Ok(())
}

/// `station.json` in the data directory says where a running station really listens, for scripts that let it choose
/// its ports. It is there once devices can connect.
fn write_whereabouts(station: &Station, data: &Path) -> std::io::Result<()> {
    let listeners: serde_json::Map<_, _> =
        station.addresses().iter().map(|(name, at)| (name.clone(), at.to_string().into())).collect();
    let mut json =
        serde_json::json!({"pid": std::process::id(), "http": station.http().to_string(), "listeners": listeners});
    if let Some(https) = station.https {
        json["https"] = https.to_string().into();
    }
    let draft = data.join("station.json.draft");
    std::fs::write(&draft, json.to_string())?;
    std::fs::rename(&draft, data.join("station.json"))
}

impl Station {
    /// Returns once devices can connect.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let share = Share::take(&config)?;
        let opened = config.clone();
        // Opening may repair files and compile adapters: not on a thread that serves sockets.
        let services =
            tokio::task::spawn_blocking(move || open(&opened)).await.context("opening was interrupted")??;
        let services = Arc::new(services);
        give_back(&services).await?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut doors = Doors::new(share);
        let mut addresses = Vec::new();
        for (listener, door) in config.listeners.iter().zip(&services.doors) {
            let address = doors.open(&services, listener, door, stopped.clone()).await?;
            addresses.extend(address.map(|address| (listener.name.clone(), address)));
        }
        let http = tokio::net::TcpListener::bind(config.http.bind)
            .await
            .with_context(|| format!("the API cannot listen on {}: choose a free [http] bind", config.http.bind))?;
        let http_address = http.local_addr()?;
        let router = api::router(services.clone()).merge(web::router(services.clone(), &config));
        let https = config.http.tls.clone().map(|tls| secure_http(tls, share)).transpose()?;
        let https_address = https.as_ref().map(SecureListener::local_addr).transpose()?;
        if let Some(https) = https {
            let door = api::Front::Secured(Box::new(https), services.metrics.clone());
            tasks.spawn(api::serve(door, share.clients, router.clone(), stopped.clone()));
        }
        tasks.spawn(api::serve(api::Front::Plain(http), share.clients, router, stopped.clone()));
        chores::spawn(&mut tasks, &services, &config, &stopped);
        Ok(Self { services, doors, addresses, http: http_address, https: https_address, tasks, stop })
    }

    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Shuts the doors, lets sessions finish for `DRAIN_TIMEOUT`, and closes the journal.
    pub async fn stop(mut self) {
        // Nobody left to tell is fine.
        let _ = self.stop.send(true);
        self.services.lifecycle.stop();
        self.doors.drain().await;
        let chores = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limits::DRAIN_TIMEOUT, chores).await;
        self.tasks.shutdown().await;
        let services = self.services.clone();
        let _ = tokio::task::spawn_blocking(move || {
            services.journal.close();
            services.views.close();
        })
        .await;
    }
}

/// Opens everything the station owns.
fn open(config: &Config) -> anyhow::Result<Services> {
    let data = &config.data;
    std::fs::create_dir_all(data)
        .with_context(|| format!("{}: cannot be made; check the path and its owner", data.display()))?;
    let now_ms = config.clock.now_ms();
    // The epoch of a new journal only has to differ from that of an earlier one of the same name.
    let identity = journal::Identity { station: config.name.clone(), epoch: now_ms as u64 };
    let journal = Journal::open_after(data, &journal::Options { identity, now_ms }, Views::seen(data)?)
        .context("the journal cannot be opened")?;
    let views = Views::open(data, &journal, &config.clock)?;
    await_views(&views, journal.reader().last_seq())?;
    let vault = Arc::new(Vault::open(data, views.clone())?);
    let compiled = open_dir(&data.join("compiled"))?;
    let catalog = Catalog::open(Some(compiled), vault.clone()).context("adapters cannot be run")?;
    let catalog = Arc::new(catalog);
    let parts = lifecycle::Parts {
        catalog: catalog.clone(),
        journal: journal.clone(),
        clock: config.clock.clone(),
        data: open_dir(data)?,
        store: open_dir(&data.join("store"))?,
        dropins: open_dir(&config.adapters)?,
        unsigned: config.unsigned,
        bound: config.listeners.iter().flat_map(bound).collect(),
        profiles: config.profiles.clone(),
    };
    let lifecycle = Arc::new(Lifecycle::open(parts, &views)?);
    let records = (journal.clone(), views.clone());
    let transports = config.listeners.iter().map(|l| (l.name.clone(), l.carrier.transport())).collect();
    let review = Review::new(catalog.clone(), lifecycle.clone(), records, config.clock.clone(), transports);
    let review = Arc::new(review);
    let known = views.registry()?;
    // Valve orders from before this start wait until the clock has come by what the journal tells already: nobody knows how old they are.
    let (now, newest_ms) = (config.clock.moment(), journal.newest_ms());
    let open = views.open_commands()?.into_iter().filter_map(|row| restored(row, now, newest_ms));
    let unfinished = open.map(|live| -> anyhow::Result<Live> {
        let polled = live.round.as_ref().and_then(|round| config.polls.iter().find(|p| p.name == round.poll));
        let manner = polled.map(Poll::manner).unwrap_or_default();
        let (way, round) = (way_to(&known, &live.device)?, live.round.clone());
        Ok(live.behind(way).asked(round, manner))
    });
    let unfinished = unfinished.collect::<Result<_, _>>()?;
    // Numbers go on where they were. A number that nobody remembers was followed by the entries that the journal still has:
    // each cost at least one entry, so none of them is beyond the first that is kept.
    let next_id = views.next_command_id()?.max(journal.reader().first_seq().0);
    let desk = Desk::new(unfinished, next_id);
    let records = Records::new(journal.clone(), views.clone(), config.clock.clone());
    let services = Services {
        clock: config.clock.clone(),
        // Session numbers go on where the journal ends: each session that mattered wrote at least one entry.
        next_session: AtomicU64::new(journal.reader().last_seq().0 + 1),
        journal,
        views,
        catalog,
        lifecycle,
        review,
        penalty: Penalty::start().context("no thread for adapters that harm others")?,
        desk,
        vault,
        doors: config.listeners.iter().map(|l| Arc::new(Door::of(l))).collect(),
        registry: Arc::new(Registry::default()),
        records,
        polls: config.polls.clone(),
        wishes: Wishes::default(),
        archives: Comparisons::default(),
        metrics: Metrics::default(),
        running: Mutex::default(),
    };
    services.lifecycle.resume().context("the adapters that served cannot go on")?;
    services.lifecycle.follow_trust();
    services.lifecycle.follow_dropins().context("the adapter directory cannot be read")?;
    Ok(services)
}

fn secure_http((bind, files): (SocketAddr, tls::Files), share: Share) -> anyhow::Result<SecureListener> {
    let identity = Identity::open(files).context("[http.tls]")?;
    let socket = link::bind_stream(bind)
        .with_context(|| format!("the API cannot listen on {bind}: choose a free [http.tls] bind"))?;
    Ok(SecureListener::new("http", socket, identity, share.handshakes))
}

/// How a listener speaks with its adapters.
fn bound(listener: &Listener) -> Vec<lifecycle::Bound> {
    let of = |speaks: &Speaks| lifecycle::Bound {
        adapter: speaks.adapter.clone(),
        listener: listener.name.clone(),
        profile: speaks.profile.clone(),
        options: speaks.options.clone(),
    };
    listener.adapters.iter().chain(listener.relays.iter().map(|c| &c.speaks)).map(of).collect()
}

fn open_dir(path: &Path) -> anyhow::Result<cap_std::fs::Dir> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("{}: cannot be made; check the path and its owner", path.display()))?;
    cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority())
        .with_context(|| format!("{}: cannot be opened", path.display()))
}

/// Devices are served from what the views show (who is known, what is remembered of them), so the views come first. After
/// a crash that is a second's worth of entries; after a deletion it is the whole journal.
fn await_views(views: &Views, last: Seq) -> anyhow::Result<()> {
    while !views.wait_caught_up(last, limits::CATCH_UP_REPORT_EVERY) {
        let health = views.health();
        if let Some(why) = health.failing {
            anyhow::bail!(
                "the views cannot follow the journal, and nobody is served without them: {why}; if that is the disk's fault, \
                 free space or mend it, then start again"
            );
        }
        tracing::info!(done = health.cursor.0, of = last.0, "views catch up with the journal");
    }
    Ok(())
}

/// An unfinished command as the desk keeps it. Whose request lies in a day that was dropped can only be looked at. It lives no longer
/// than it was given, whatever the machine's clock has been set to meanwhile.
fn restored(row: CommandRow, now: Moment, newest_ms: i64) -> Option<Live> {
    if row.overtaken {
        return None;
    }
    let state = match (row.state, row.sent) {
        (CommandState::Queued, _) => State::Queued,
        (CommandState::Unconfirmed, _) if matches!(row.command, Some(Command::Valve(_))) => State::Unconfirmed,
        _ if row.may_be_judged => State::Unconfirmed,
        (CommandState::Sent, Some(sent)) => {
            State::InFlight { correlation: sent.correlation.0, repeatable: sent.repeatable, session: sent.session }
        }
        _ => return None,
    };
    let settled = row.settled.map(|settled| settled.outcome);
    let command = row.command?;
    let from = if matches!(command, Command::Valve(_)) { row.requested_ms.max(newest_ms) } else { row.requested_ms };
    let left_ms = row.expires_ms.saturating_sub(now.wall_ms).min(row.expires_ms.saturating_sub(row.requested_ms));
    let was_accepted = row.answer.as_ref().is_some_and(|answer| answer.outcome == Outcome::Accepted);
    let live = Live::new(row.id, row.device, command, row.expires_ms)
        .within(from_ms(from), now.steady_ms.saturating_add(left_ms))
        .restored(row.requested_ms, row.attempts, was_accepted, state, settled);
    Some(live.asked(row.round, Manner::default()))
}

/// Nobody waits any more for the answers that a stopped station was waiting for.
async fn give_back(services: &Services) -> anyhow::Result<()> {
    let devices = services.desk.devices_in_flight();
    let steps = devices.iter().flat_map(|device| services.desk.given_up(device, 0)).collect();
    services
        .commit_steps(steps)
        .await
        .map_err(anyhow::Error::msg)
        .context("the journal cannot be written; see to its disk, then start again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ReadScope, Valve, ValveOrder};

    const HOUR_MS: i64 = 3_600_000;

    /// Ordered at the hour 1,000 for a day.
    fn ordered(command: Command) -> CommandRow {
        CommandRow {
            command: Some(command),
            expires_ms: 1_024 * HOUR_MS,
            ..CommandRow::blank(1, "usp/1".parse().expect("a key"), 1_000 * HOUR_MS)
        }
    }

    fn at(wall_h: i64, steady_h: i64) -> Moment {
        Moment { wall_ms: wall_h * HOUR_MS, steady_ms: steady_h * HOUR_MS }
    }
    fn valve() -> Command {
        let (order, order_id, valid_until) = (ValveOrder::PermitOpen, Some(1), None);
        Command::Valve(Valve { order, order_id, valid_until, reason: String::new() })
    }

    #[test]
    fn after_a_start_what_a_clock_that_was_ahead_has_seen_given_goes_or_is_over() {
        let parameters = Command::SetParameters(vec![]);
        // Started at the hour 500. The journal has an hour 990 in it until the second day shows that it was wrong.
        for (requested_h, newest_h, command, goes) in
            [(1_000, 490, valve(), false), (1_000, 490, parameters, true), (495, 990, valve(), true)]
        {
            let life_ms = 24 * HOUR_MS;
            let row = CommandRow {
                requested_ms: requested_h * HOUR_MS,
                expires_ms: requested_h * HOUR_MS + life_ms,
                ..ordered(command)
            };
            let live = restored(row, at(500, 500), newest_h * HOUR_MS).expect("unfinished");
            let (device, desk) = (live.device.clone(), Desk::new(vec![live], 2));
            let pending = |now| desk.pending(&device, now);
            assert_eq!(pending(at(501, 501)), 0, "ordered at {requested_h}");
            assert_eq!(desk.clock_is_right(at(501, 501)).len(), usize::from(goes), "ordered at {requested_h}");
            assert_eq!(pending(at(501, 501)), u32::from(goes), "ordered at {requested_h}");
            assert_eq!(desk.expired(at(501, 501)).len(), usize::from(!goes), "nobody knows how old it is");
        }
    }

    #[test]
    fn after_a_start_with_a_clock_that_was_lost_no_valve_order_goes_before_it_is_right() {
        // The journal goes on to the hour 1,030; the machine shows 10, and its steady clock counts from there.
        let live = restored(ordered(valve()), at(10, 10), 1_030 * HOUR_MS).expect("unfinished");
        assert!(!live.is_waiting(at(10, 10)) && !live.is_expired(at(10, 10)));
        assert!(!live.is_waiting(at(1_001, 11)), "later than it was ordered, and not right yet");
        assert!(live.is_expired(at(1_031, 11)), "right again, and its time is over");
        assert!(live.is_expired(at(34, 34)), "nor does it wait for ever");
        // Ordered shortly before the start, by a clock that went on.
        let live = restored(ordered(valve()), at(1_001, 1_001), 1_001 * HOUR_MS).expect("unfinished");
        assert!(live.is_waiting(at(1_001, 1_001)));
        assert!(live.is_expired(at(500, 1_024)), "set back later");
        let read = Command::Read { scope: ReadScope::Current };
        let live = restored(ordered(read), at(10, 10), 1_030 * HOUR_MS).expect("unfinished");
        assert!(live.is_waiting(at(10, 10)), "a question harms nobody");
        assert!(live.is_expired(at(34, 34)));
    }
}
