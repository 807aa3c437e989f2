//! One conversation with one peer: bytes in, entries durable, replies and commands out.
//!
//! `machine` holds the rules, `registry` who is on line, `stagger` when a device is due. The driver is `conversation`,
//! with `cutting` (bytes to frames), `speaking` (under which profile), `versions` (what another one has kept), `suspicion` and
//! `penalty` (calls that must not keep others waiting), `exchange` (a frame's way through adapter and journal)
//! and `delivery` (commands); `relay` has the devices behind carriers.
//! Nothing here opens a socket or a file.

mod conversation;
mod cutting;
mod delivery;
mod evidence;
mod exchange;
pub mod machine;
mod missing;
mod penalty;
pub mod registry;
pub mod relay;
mod speaking;
pub mod stagger;
mod suspicion;
mod versions;

pub use conversation::serve;
pub use penalty::Penalty;

use crate::adapter::{Adapter, Admission, Catalog, Context, Direction, KeyStore as _, Transport};
use crate::clock::Clock;
use crate::command::archive::Comparisons;
use crate::command::{Desk, Known, Order, Refusal, Way, Wishes, from_ms};
use crate::config::{Carrier, Carries, Listener, Poll, Speaks, Unknown};
use crate::journal::{AdapterRef, CommandFact, CommandStep, Entry, Fact, FaultKind, Journal};
use crate::keys::Vault;
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::link::mqtt::Pattern;
use crate::metrics::Metrics;
use crate::model::{Command, DeviceKey, KeySlot, Seq, SessionId};
use crate::records::Records;
use crate::records::weigh::Weighed;
use crate::review::Review;
use crate::views::{Standing, ViewError, Views};
use registry::Registry;
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Why what a stranger says is kept unread.
pub const REFUSED: &str =
    "the device is unknown and this listener refuses unknown devices; adopt it to let it in, and this be read";

/// What every session works with.
pub struct Services {
    pub clock: Clock,
    pub journal: Journal,
    pub views: Views,
    pub catalog: Arc<Catalog>,
    pub lifecycle: Arc<Lifecycle>,
    pub review: Arc<Review>,
    pub penalty: Penalty,
    pub desk: Desk,
    pub vault: Arc<Vault>,
    pub doors: Vec<Arc<Door>>,
    pub registry: Arc<Registry>,
    /// The one who writes the device registry.
    pub records: Records,
    pub polls: Vec<Poll>,
    /// Rounds that people want now.
    pub wishes: Wishes,
    /// Archives of concentrators against the registry.
    pub archives: Comparisons,
    pub metrics: Metrics,
    pub next_session: AtomicU64,
    /// Sessions that run.
    pub running: Mutex<FxHashSet<u64>>,
}

/// A listener as its sessions see it.
#[derive(Debug)]
pub struct Door {
    pub name: String,
    /// How frames come here.
    pub transport: Transport,
    pub adapters: Vec<Speaks>,
    pub unknown: Unknown,
    pub command_wait: Duration,
    pub relays: Vec<Carries>,
    pub lines_at_once: usize,
    pub missing_days: bool,
    /// Peers are such topics, and these say whose a frame is that does not.
    topics: Option<Pattern>,
}

impl Door {
    pub fn of(listener: &Listener) -> Self {
        Self {
            name: listener.name.clone(),
            transport: listener.carrier.transport(),
            adapters: listener.adapters.clone(),
            unknown: listener.unknown,
            command_wait: listener.command_wait,
            relays: listener.relays.clone(),
            lines_at_once: listener.lines_at_once,
            missing_days: listener.missing_days,
            topics: match &listener.carrier {
                Carrier::Mqtt(options) => options.naming().cloned(),
                _ => None,
            },
        }
    }

    /// The device's address as the transport tells it of a peer, where that counts.
    pub fn address_of(&self, peer: &str) -> Option<String> {
        Some(self.topics.as_ref()?.names(peer)?.device()?.to_owned())
    }
}

impl Services {
    /// Makes facts durable, all of them or none (see `Journal::append_all`), and gives the first one's position. `Err` says why
    /// nothing may be acknowledged.
    pub async fn commit(&self, facts: Vec<Fact>) -> Result<Seq, String> {
        self.commit_span(facts).await.map(|(first, _)| first)
    }

    /// The same, with the last one's position, too.
    pub async fn commit_span(&self, mut facts: Vec<Fact>) -> Result<(Seq, Seq), String> {
        let at_ms = self.clock.now_ms();
        // Most frames are one entry, and need no group.
        if facts.len() == 1
            && let Some(fact) = facts.pop()
        {
            let seq = self.journal.append(Entry { at_ms, fact }).await.map_err(|e| e.to_string())?;
            return Ok((seq, seq));
        }
        let entries = facts.into_iter().map(|fact| Entry { at_ms, fact }).collect();
        let span = self.journal.append_all(entries).await.map_err(|e| e.to_string())?;
        span.ok_or_else(|| "nothing to keep".into())
    }

    /// The numbers of the sessions that run.
    pub(crate) fn alive(&self) -> MutexGuard<'_, FxHashSet<u64>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commands in flight whose session ended while the journal could not be written: nobody waits for their answers.
    pub async fn give_up_orphans(&self) -> Result<(), String> {
        let steps = {
            let alive = self.alive();
            self.desk.orphaned(|session| alive.contains(&session))
        };
        self.commit_steps(steps).await
    }

    /// Makes steps of commands durable and lets the desk know.
    pub async fn commit_steps(&self, steps: Vec<CommandFact>) -> Result<(), String> {
        if steps.is_empty() {
            return Ok(());
        }
        let written = self.commit(steps.iter().cloned().map(Fact::Command).collect()).await;
        match written {
            Ok(_) => self.settle(&steps),
            Err(_) => steps.iter().for_each(|step| self.desk.put_back(step.id)),
        }
        written.map(drop)
    }

    /// Folds steps that are durable.
    pub fn settle(&self, steps: &[CommandFact]) {
        let now = self.clock.moment();
        for step in steps {
            self.metrics.command_step(&step.step);
            self.desk.apply(step, now);
            if let CommandStep::KeyMissing(key) = &step.step {
                self.look_for_key(key);
            }
        }
    }

    /// A command that was about to be sent lacks a key. Gives the step that has to be durable, unless its steps say so already.
    fn lacks_key(&self, id: u64, key: &KeySlot) -> Option<CommandFact> {
        let news = self.desk.lacks_key(id, key);
        if news.is_none() {
            self.look_for_key(key);
        }
        news
    }

    /// It may have been set while somebody found that it is missing, and nobody says so twice.
    fn look_for_key(&self, key: &KeySlot) {
        if self.vault.key(&key.device, &key.slot).is_some() {
            self.keys_came(&FxHashSet::from_iter([key.clone()]));
        }
    }

    fn keys_came(&self, keys: &FxHashSet<KeySlot>) {
        for (device, way) in self.desk.keys_came(keys) {
            self.ring(&device, &way);
        }
    }

    /// Keys were set with that entry: what has waited for them goes out.
    pub async fn keys_set(&self, keys: FxHashSet<KeySlot>, seq: Seq) {
        self.views.caught_up(seq).await;
        self.keys_came(&keys);
    }

    /// The registry says something else since that entry: commands take their new ways, and what nobody could read behind a
    /// carrier may have its reader now.
    pub fn registry_changed(self: &Arc<Self>, weighed: &Weighed, seq: Seq) {
        let moved: Vec<DeviceKey> =
            weighed.set.iter().map(|record| &record.device).filter(|d| self.desk.has_some_for(d)).cloned().collect();
        let behind = weighed.set.iter().filter(|record| record.about.parent.is_some());
        let readers: BTreeSet<String> =
            behind.map(|r| r.about.adapter.clone()).filter(|name| !name.is_empty()).collect();
        let unread = || self.views.quarantine_counts().is_ok_and(|c| c.iter().any(|count| count.adapter.is_empty()));
        let mut readers = if !readers.is_empty() && unread() { readers } else { BTreeSet::new() };
        if !weighed.set.is_empty() {
            readers.extend(self.readers_of_refused());
        }
        // An import does not wait for the views, and nothing here shall make it.
        if moved.is_empty() && readers.is_empty() {
            return;
        }
        let services = self.clone();
        tokio::spawn(async move {
            services.views.caught_up(seq).await;
            for device in moved {
                match services.way_to(&device) {
                    Ok(way) => {
                        services.desk.reroute(&device, &way);
                        services.ring(&device, &way);
                    }
                    Err(error) => tracing::warn!(%device, %error, "its commands keep their way until the next start"),
                }
            }
            services.lifecycle.read_again(readers);
        });
    }

    /// Adapters whose frames are kept because their listener refused who sent them.
    fn readers_of_refused(&self) -> impl Iterator<Item = String> + use<> {
        let counts = self.views.quarantine_counts().unwrap_or_default();
        counts.into_iter().filter(|count| count.kind == FaultKind::Refused.name()).map(|count| count.adapter)
    }

    /// Somebody was adopted, and the views show it: what was kept of him while he was refused is read.
    pub fn adopted(&self) {
        self.lifecycle.read_again(self.readers_of_refused().collect());
    }

    /// Whether a listener that refuses strangers lets this device in.
    pub fn is_let_in(&self, device: &DeviceKey) -> Result<bool, ViewError> {
        self.is_welcome(Unknown::Refuse, device, self.views.standing(device)?.as_ref())
    }

    /// Whether what a device says counts at a listener that treats strangers so.
    pub fn is_welcome(&self, unknown: Unknown, device: &DeviceKey, row: Option<&Standing>) -> Result<bool, ViewError> {
        let is_known = match (row, unknown) {
            (Some(row), Unknown::Refuse) => row.adopted,
            (Some(row), _) => !row.held,
            (None, unknown) => unknown == Unknown::Accept,
        };
        Ok(is_known || self.views.is_registered(device)?)
    }

    /// The carriers in front of a device.
    pub fn way_to(&self, device: &DeviceKey) -> Result<Way, ViewError> {
        relay::way_to(&self.views.registry()?, device)
    }

    /// Whether any adapter of that listener is in service.
    pub fn is_served(&self, door: &Door) -> bool {
        door.adapters.iter().any(|speaks| self.catalog.active(&speaks.adapter).is_some())
    }

    /// Adapters of that listener, and of what its peers relay, that are not in service.
    pub fn unserved<'a>(&self, door: &'a Door) -> BTreeSet<&'a str> {
        let named = door.adapters.iter().chain(door.relays.iter().map(|carries| &carries.speaks));
        named.map(|speaks| &speaks.adapter[..]).filter(|name| self.catalog.active(name).is_none()).collect()
    }

    /// An order's way in: checked, durable, then known to the desk and to the device's session.
    pub async fn place(&self, mut order: Order) -> Result<u64, Refusal> {
        let unknowable = |error: ViewError| Refusal::Unknowable(error.to_string());
        let mut known = self.known(&order.device).map_err(unknowable)?;
        if known.is_none() {
            // Its first report may have been acknowledged a moment ago.
            if !self.has_shown_all().await {
                return Err(Refusal::Unknowable("the views are behind the journal; order again in a moment".into()));
            }
            known = self.known(&order.device).map_err(unknowable)?;
        }
        if let Some(wanted) = self.misfit(&order.device).map_err(unknowable)? {
            return Err(Refusal::Invalid(format!("no device is called {}: {wanted}", order.device)));
        }
        let way = self.way_to(&order.device).map_err(unknowable)?;
        order.way.clone_from(&way);
        let changes_archive = matches!(order.command, Command::ArchiveAdd(_) | Command::ArchiveRemove(_));
        let fact = self.desk.propose(order, known, self.clock.moment(), &self.clock)?;
        if let Err(why) = self.commit(vec![Fact::Command(fact.clone())]).await {
            self.desk.withdraw(fact.id);
            return Err(Refusal::Store(why));
        }
        if changes_archive {
            self.archives.changes(&fact.device);
        }
        self.settle(std::slice::from_ref(&fact));
        self.ring(&fact.device, &way);
        Ok(fact.id)
    }

    /// What it means that the machine's clock is behind what the journal's newest entries tell; `None`: it is not.
    pub fn clock_behind(&self) -> Option<String> {
        let (now_ms, newest_ms) = (self.clock.now_ms(), self.journal.newest_ms());
        (now_ms < from_ms(newest_ms)).then(|| {
            format!(
                "shows {}, and the newest entries are of {}: valve orders from before the start of the station wait, as does every \
                 order until the time at which it was given, and a poll that knows of later rounds begins none for {} minutes. Set \
                 the clock right. If it is right, since it was ahead before, cancel the orders that wait and give them again, and \
                 begin rounds with `poll run`; this remark goes with the second UTC day that has entries",
                self.clock.civil(now_ms),
                self.clock.civil(newest_ms),
                limits::POLL_DOUBT_MAX.as_secs() / 60
            )
        })
    }

    /// Tells the sessions that can reach a device that a command waits.
    pub fn ring(&self, device: &DeviceKey, way: &Way) {
        self.registry.wake(device);
        for hop in way {
            self.registry.wake(&hop.carrier);
        }
    }

    /// What a device of its realm is called, where nobody is called so; `None`: somebody may be, or was heard or registered
    /// before, or all of a realm are meant.
    pub fn misfit(&self, device: &DeviceKey) -> Result<Option<String>, ViewError> {
        let one = Some(device).filter(|device| device.address() != "*");
        let Some(wanted) = one.and_then(|device| self.catalog.misfit(device)) else { return Ok(None) };
        let is_stranger = self.views.device(device)?.is_none() && !self.views.is_registered(device)?;
        Ok(is_stranger.then_some(wanted))
    }

    /// Why a device can never be told this; `None` also wherever that is not certain before it is there. Certain it is of what goes by
    /// no clock, where no carrier is on the way, and where the version that read its last frame serves, under the profile that counts
    /// for it now at every listener. An order to a valve is never refused before its device is there.
    pub fn never_sayable(&self, device: &DeviceKey, command: &Command) -> Result<Option<String>, ViewError> {
        if !matches!(command, Command::SetParameters(_) | Command::SetSchedule(_)) {
            return Ok(None);
        }
        let direct = self.views.device(device)?.filter(|row| row.carrier.is_none());
        let Some(by) = direct.and_then(|row| row.adapter) else { return Ok(None) };
        let active = self.catalog.active(&by.name).filter(|active| active.digest == by.digest);
        let Some(adapter) = active else { return Ok(None) };
        if !self.way_to(device)?.is_empty() {
            return Ok(None);
        }
        for door in self.doors.iter().filter(|door| door.adapters.iter().any(|speaks| speaks.adapter == by.name)) {
            if self.lifecycle.spoken(&adapter, &door.name, Some(device))?.name != by.profile {
                return Ok(None);
            }
        }
        self.out_of_range(device, command)
    }

    /// What of a command the protocol of that device cannot express, by the adapter of its last frame; `None`: nothing, or nobody can
    /// tell before it is there. Nothing comes of asking, as an adapter keeps nothing.
    pub fn out_of_range(&self, device: &DeviceKey, command: &Command) -> Result<Option<String>, ViewError> {
        let Some(row) = self.views.device(device)? else { return Ok(None) };
        let Some(by) = row.adapter else { return Ok(None) };
        let Some(adapter) = self.catalog.active(&by.name) else { return Ok(None) };
        let spoken = self.lifecycle.spoken_then(&by.profile);
        let newer = self.registry.remembered(device).map(|(memory, _)| memory.to_vec());
        let memory = newer.unwrap_or(row.memory.0);
        let context = Context {
            now: self.clock.civil(self.clock.now_ms()),
            direction: Direction::Uplink,
            transport: Transport::Stream,
            admission: Admission::Welcome,
            pending: 0,
            device: Some((device.address(), &memory)),
            state: &[],
        };
        let options = spoken.as_ref().map_or("{}", |spoken| &spoken.options);
        let failed = adapter.encode(options, &context, command).err();
        Ok(failed.filter(|fault| fault.kind == FaultKind::OutOfRange).map(|fault| fault.detail))
    }

    /// Waits until the views show an entry; false: they are too far behind, or end.
    pub async fn has_shown(&self, seq: Seq) -> bool {
        tokio::time::timeout(limits::SHOWN_WITHIN, self.views.caught_up(seq)).await == Ok(true)
    }

    /// The same of everything that is durable now.
    pub async fn has_shown_all(&self) -> bool {
        self.has_shown(self.journal.health().last_seq).await
    }

    /// What is known of a device; `None`: nothing. On an error nobody can tell, which is not the same.
    pub fn known(&self, device: &DeviceKey) -> Result<Option<Known>, ViewError> {
        let Some(row) = self.views.device(device)? else {
            // Nobody has heard of it, but it is in the registry.
            return Ok(self.views.is_registered(device)?.then(Known::default));
        };
        Ok(Some(Known {
            capabilities: row.registration.as_ref().map(|r| r.capabilities),
            valve: row.valve.as_ref().map(|v| v.state),
            held: row.held,
        }))
    }

    /// Forgets what its adapter wanted remembered of a device. A session that runs is ended first, since it would remember
    /// again; the device comes back as one that was never heard.
    pub async fn forget_memory(&self, device: &DeviceKey, by: &str, why: &str) -> Result<Seq, String> {
        let session = SessionId(self.next_session());
        let place = self.registry.claim(device, session, &Arc::default(), limits::TAKEOVER_TIMEOUT).await;
        let fact = Fact::Forgotten { device: device.clone(), by: by.to_owned(), why: why.to_owned() };
        let seq = self.commit(vec![fact]).await?;
        self.registry.remember(device, seq, &[], None);
        drop(place);
        Ok(seq)
    }

    fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }
}

/// How entries name an adapter, under a profile.
fn reference(adapter: &Adapter, profile: &str) -> AdapterRef {
    AdapterRef { name: adapter.name().into(), digest: adapter.digest, profile: profile.into() }
}
