//! Folds over the journal: everything the station shows.
//!
//! Views lie in one redb file of their own, `views.redb`, together with the number of the last entry folded in, so an
//! entry counts exactly once. The file can be deleted at any time and is then built again from the journal, with the
//! same result within the journal's retention. Nothing here writes to the journal, and no redb type leaves this module.
//!
//! A query sees all views at one moment. They run a little behind the journal; who needs to see a certain entry waits
//! for it with `caught_up`.

mod adapters;
mod commands;
mod credentials;
mod days;
mod device_fold;
mod devices;
mod events;
mod families;
mod fold;
mod follower;
mod frames;
mod latest;
mod packing;
mod polls;
mod profiles;
mod quarantine;
mod readings;
mod registry;
mod store;
mod words;

#[cfg(test)]
mod rebuild_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod times_tests;

pub use adapters::{AdapterEvent, AdapterRow, DIGEST_DIGITS_MIN};
pub use commands::{Answered, CommandFilter, CommandRow, CommandState, Sending, Settled, StepRow, why_answered};
pub use credentials::{KeyRow, TokenRow};
pub use days::{Arrivals, Counts, DayRow};
pub use devices::{Device, DeviceCounts, DeviceFilter, Fleet, Page, Standing, Told};
pub use events::EventRow;
pub use families::{Carrier, Family};
pub use latest::LatestReport;
pub use polls::{RoundRow, RoundTold};
pub use profiles::{BindingRow, ProfileEvent, ProfileRow};
pub use quarantine::{QuarantineCount, QuarantineFilter, QuarantineRow};
pub use readings::{Reading, ReadingFilter};
pub use registry::{RegistryFilter, RegistryNow, RegistryRow};
pub use store::ViewError;
pub use words::is_credible_day;

use crate::clock::Clock;
use crate::journal::{Fact, Journal};
use crate::limits;
use crate::model::{Civil, Day, DeviceKey, Digest, Message, Record, Seq};
use follower::Folding;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{Snapshot, Store};
use tokio::sync::watch;

/// The views' file in a data directory.
const FILE: &str = "views.redb";

/// How far a rebuild is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub entries: u64,
    pub entries_total: u64,
}

/// How the views are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Set while entries cannot be folded, and the views show an older state; and from the moment on when damage was met.
    pub failing: Option<String>,
    /// The last entry that is folded in.
    pub cursor: Seq,
}

/// All views of a station. Clones share them; when the last one goes, the follower stops and the file is closed.
#[derive(Clone)]
pub struct Views(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Store,
    cursor: watch::Sender<Seq>,
    /// The last entry that the file still has when it is opened again after an error.
    kept: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    failing: Option<String>,
    /// What somebody met who read.
    damage: Option<String>,
    closed: bool,
    /// Those who wait for an entry: no batch grows now.
    waiting: usize,
}

impl Views {
    /// Opens or makes the views in `dir` and starts to follow the journal. `clock` gives the fleet's zone; changing it
    /// calls for a rebuild.
    pub fn open(dir: &Path, journal: &Journal, clock: &Clock) -> Result<Self, ViewError> {
        let store = Store::open(&dir.join(FILE))?;
        let folding = Folding::start(&store, &journal.reader(), clock)?;
        let shared = Arc::new(Shared::new(store, &folding));
        let thread = std::thread::Builder::new()
            .name("views".into())
            .spawn({
                let shared = shared.clone();
                move || follower::run(&shared, folding)
            })
            .map_err(|e| ViewError::Store(format!("no thread for them: {e}")))?;
        Ok(Self(Arc::new(Open { shared, follower: Mutex::new(Some(thread)) })))
    }

    /// The last entry that the views in `dir` have folded in; 0: there are none, or a station has them open. Nothing is
    /// made: a journal is opened after this (`Journal::open_after`).
    pub fn seen(dir: &Path) -> Result<Seq, ViewError> {
        store::seen(&dir.join(FILE))
    }

    /// Keeps views that have seen more than the journal has under another name: of what is lost they know the most.
    pub fn put_aside(dir: &Path) -> Result<PathBuf, ViewError> {
        store::put_aside(&dir.join(FILE))
    }

    /// Throws the views in `dir` away and folds them anew. No station may have them open.
    pub fn rebuild(
        dir: &Path,
        journal: &Journal,
        clock: &Clock,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ViewError> {
        let path = dir.join(FILE);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(ViewError::Store(format!("`{}` cannot be removed: {e}", path.display())));
            }
            _ => {}
        }
        let store = Store::open(&path)?;
        Folding::start(&store, &journal.reader(), clock)?.catch_up(&store, progress)?;
        store.close();
        Ok(())
    }

    /// The last entry that is folded in.
    pub fn cursor(&self) -> Seq {
        *self.0.shared.cursor.borrow()
    }

    /// The last entry that is folded in for good. Those after it may have to be folded again when the disk fails: what they say
    /// must not be forgotten elsewhere because the views show it.
    pub fn kept(&self) -> Seq {
        Seq(self.0.shared.kept.load(Ordering::Acquire))
    }

    /// The cursor, changing with every batch. It goes back when the file had to be opened again.
    pub fn watch(&self) -> watch::Receiver<Seq> {
        self.0.shared.cursor.subscribe()
    }

    /// Waits until this entry is folded in. False: the views were closed before.
    pub async fn caught_up(&self, seq: Seq) -> bool {
        let _wanted = Wanted::new(&self.0.shared);
        self.watch().wait_for(|cursor| *cursor >= seq).await.is_ok()
    }

    /// As `caught_up`, for threads outside the async runtime; false also when it takes longer than `limit`.
    pub fn wait_caught_up(&self, seq: Seq, limit: Duration) -> bool {
        let _wanted = Wanted::new(&self.0.shared);
        let state = self.0.shared.lock();
        let behind = |state: &mut State| !state.closed && self.cursor() < seq;
        drop(self.0.shared.changed.wait_timeout_while(state, limit, behind));
        self.cursor() >= seq
    }

    pub fn health(&self) -> Health {
        let state = self.0.shared.lock();
        Health { failing: state.failing.as_ref().or(state.damage.as_ref()).cloned(), cursor: self.cursor() }
    }

    /// Has the views' health tell of an error that nothing but a rebuild mends.
    pub fn note(&self, error: &ViewError) {
        if error.lasts() && self.0.shared.lock().damage.replace(error.to_string()).is_none() {
            tracing::error!(%error, "the views are damaged");
        }
    }

    /// Folds what the journal has, stops and closes the file. Close the journal first, or entries may come behind it.
    pub fn close(&self) {
        self.0.close();
    }

    fn read(&self) -> Result<Snapshot, ViewError> {
        self.0.shared.store.read()
    }

    /// One device.
    pub fn device(&self, key: &DeviceKey) -> Result<Option<Device>, ViewError> {
        devices::device(&self.read()?, key)
    }

    /// Whether a device is let in, and what its adapter wants remembered.
    pub fn standing(&self, key: &DeviceKey) -> Result<Option<Standing>, ViewError> {
        devices::standing(&self.read()?, key)
    }

    /// Whether that component has ever read a frame of a device.
    pub fn has_read(&self, digest: &Digest) -> Result<bool, ViewError> {
        devices::has_read(&self.read()?, digest)
    }

    /// The entry whose valve state is the newest that the device has told, by its own clock; `None`: it has no clock, or told nothing.
    pub fn newest_valve(&self, key: &DeviceKey) -> Result<Option<Seq>, ViewError> {
        devices::newest_valve(&self.read()?, key)
    }

    /// All devices with this bare address, in whatever realm.
    pub fn devices_with_address(&self, address: &str) -> Result<Vec<DeviceKey>, ViewError> {
        devices::with_address(&self.read()?, address)
    }

    /// One page of devices in the order of their keys; `after` is the `next` of the page before.
    pub fn devices(
        &self,
        filter: &DeviceFilter,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Page<Device>, ViewError> {
        devices::list(&self.read()?, filter, after, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// How many devices there are, and how they stand.
    pub fn fleet(&self) -> Result<Fleet, ViewError> {
        devices::fleet(&self.read()?)
    }

    /// Devices by adapter and kind, with the reports of that day.
    pub fn families(&self, today: Day) -> Result<Vec<Family>, ViewError> {
        families::list(&self.read()?, today)
    }

    /// The first concentrators and DTUs, and how many stand behind each.
    pub fn carriers(&self, rows_max: usize) -> Result<Vec<Carrier>, ViewError> {
        families::carriers(&self.read()?, rows_max)
    }

    /// A device's readings in the order of their time. A day is never divided: a page may be longer than asked for.
    pub fn readings(
        &self,
        device: &DeviceKey,
        filter: &ReadingFilter,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Page<Reading>, ViewError> {
        readings::list(&self.read()?, device, filter, after, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// See `readings::last_frozen_before`.
    pub fn last_frozen_before(&self, told: Told, before: Day, days_max: i32) -> Result<Option<Day>, ViewError> {
        readings::last_frozen_before(&self.read()?, told, before, days_max)
    }

    /// The newest value of each kind that the device told on its last day with readings.
    pub fn newest_readings(&self, device: &DeviceKey) -> Result<Vec<Reading>, ViewError> {
        readings::newest(&self.read()?, device)
    }

    /// A device's events between two device times, both included, oldest first.
    pub fn events(
        &self,
        device: &DeviceKey,
        between: (Civil, Civil),
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Page<EventRow>, ViewError> {
        events::list(&self.read()?, device, between, after, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// The fleet's events in the order of their arrival, newest first.
    pub fn newest_events(&self, before: Option<&str>, rows_max: usize) -> Result<Page<EventRow>, ViewError> {
        events::newest(&self.read()?, before, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// A device's frames from the entry `oldest` on, newest first; frames with heartbeats only are not listed. The journal has their
    /// bytes; `before` is the `next` of the page before.
    pub fn frames(
        &self,
        device: &DeviceKey,
        before: Option<&str>,
        oldest: Seq,
        rows_max: usize,
    ) -> Result<Page<Seq>, ViewError> {
        frames::list(&self.read()?, device, before, oldest, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// The entry that could read a frame (`part` 0), or a part of what was behind its sender, after others could not;
    /// `None`: its own entry says all.
    pub fn redecoded(&self, frame: Seq, part: u32) -> Result<Option<Seq>, ViewError> {
        frames::redecoded(&self.read()?, frame, part)
    }

    /// One command.
    pub fn command(&self, id: u64) -> Result<Option<CommandRow>, ViewError> {
        commands::get(&self.read()?, id)
    }

    /// Commands, newest first; `before` is the `next` of the page before.
    pub fn commands(
        &self,
        filter: &CommandFilter,
        before: Option<&str>,
        rows_max: usize,
    ) -> Result<Page<CommandRow>, ViewError> {
        commands::list(&self.read()?, filter, before, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// All commands that are not finished, oldest first: with what a desk is filled after a restart.
    pub fn open_commands(&self) -> Result<Vec<CommandRow>, ViewError> {
        commands::open(&self.read()?)
    }

    /// The first number that no command has.
    pub fn next_command_id(&self) -> Result<u64, ViewError> {
        commands::next_id(&self.read()?)
    }

    /// Frames that no adapter could decode, oldest first.
    pub fn quarantine(
        &self,
        filter: &QuarantineFilter,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Page<QuarantineRow>, ViewError> {
        quarantine::list(&self.read()?, filter, after, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    pub fn quarantine_counts(&self) -> Result<Vec<QuarantineCount>, ViewError> {
        quarantine::counts(&self.read()?)
    }

    /// What was received per day (of the fleet's zone) and adapter, both days included.
    pub fn days(&self, from: Day, to: Day) -> Result<Vec<DayRow>, ViewError> {
        days::list(&self.read()?, from, to)
    }

    /// Arrivals per minute since a moment: start of the minute (UTC, ms) and counts; two days are kept.
    pub fn arrivals(&self, since_ms: i64) -> Result<Vec<(i64, Arrivals)>, ViewError> {
        days::arrivals(&self.read()?, since_ms)
    }

    /// Every component that came here, and where it stands.
    pub fn adapters(&self) -> Result<Vec<AdapterRow>, ViewError> {
        adapters::list(&self.read()?)
    }

    /// Steps of one adapter, or of all, newest first.
    pub fn adapter_history(
        &self,
        name: Option<&str>,
        before: Option<Seq>,
        rows_max: usize,
    ) -> Result<Vec<AdapterEvent>, ViewError> {
        adapters::history(&self.read()?, name, before, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// All versions of all profiles, by name.
    pub fn profiles(&self) -> Result<Vec<ProfileRow>, ViewError> {
        profiles::list(&self.read()?)
    }

    /// The last version of each profile that was removed, whether or not there are newer ones since.
    pub fn last_removed_profiles(&self) -> Result<BTreeMap<String, u32>, ViewError> {
        profiles::last_removed(&self.read()?)
    }

    /// One version of a profile.
    pub fn profile(&self, name: &str, version: u32) -> Result<Option<ProfileRow>, ViewError> {
        profiles::version(&self.read()?, name, version)
    }

    /// Whom profiles are bound to.
    pub fn profile_bindings(&self) -> Result<Vec<BindingRow>, ViewError> {
        profiles::bindings(&self.read()?)
    }

    /// Decisions about a profile, newest first.
    pub fn profile_history(
        &self,
        name: &str,
        before: Option<Seq>,
        rows_max: usize,
    ) -> Result<Vec<ProfileEvent>, ViewError> {
        profiles::history(&self.read()?, name, before, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// What the registry says of a device.
    pub fn record(&self, device: &DeviceKey) -> Result<Option<RegistryRow>, ViewError> {
        self.registry()?.get(device)
    }

    /// The last rounds of a poll, newest first.
    pub fn poll_rounds(&self, poll: &str, rows_max: usize) -> Result<Vec<RoundRow>, ViewError> {
        polls::rounds(&self.read()?, poll, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// One page of keys, sealed, in the order of devices; `after` is the `next` of the page before.
    pub fn keys(&self, after: Option<&str>, rows_max: usize) -> Result<Page<KeyRow>, ViewError> {
        credentials::key_page(&self.read()?, after, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// How many keys there are.
    pub fn key_count(&self) -> Result<u64, ViewError> {
        credentials::key_count(&self.read()?)
    }

    /// The first key, sealed, of which this is true.
    pub fn find_key(&self, mut wanted: impl FnMut(&KeyRow) -> bool) -> Result<Option<KeyRow>, ViewError> {
        credentials::keys(&self.read()?)?.find(|row| row.as_ref().map_or(true, &mut wanted)).transpose()
    }

    /// One key, sealed. `device` as it was named when the key was set: `realm/address`, or `realm/*` for all of a realm.
    pub fn key(&self, device: &str, slot: &str) -> Result<Option<KeyRow>, ViewError> {
        credentials::key(&self.read()?, device, slot)
    }

    /// All API tokens, hashed.
    pub fn tokens(&self) -> Result<Vec<TokenRow>, ViewError> {
        credentials::tokens(&self.read()?)
    }

    /// The last reports of the fleet, newest first.
    pub fn latest_reports(&self, rows_max: usize) -> Result<Vec<LatestReport>, ViewError> {
        latest::list(&self.read()?, rows_max)
    }

    /// The device registry as it is now, for many look-ups.
    pub fn registry(&self) -> Result<RegistryNow, ViewError> {
        RegistryNow::of(&self.read()?)
    }

    /// Names whom a carrier speaks of, where the registry has one device behind it that it calls so. What the entry says then
    /// stays, whatever the registry says later. On an error nobody can tell, and nothing of it may be kept.
    pub fn name_subjects(&self, carrier: &DeviceKey, messages: &mut [Message]) -> Result<(), ViewError> {
        let mut subjects = messages.iter_mut().filter_map(Message::subject_mut).peekable();
        if subjects.peek().is_none() {
            return Ok(());
        }
        let registry = self.registry()?;
        for subject in subjects {
            if let Some(device) = registry.meant(carrier, subject)? {
                *subject = device.to_string();
            }
        }
        Ok(())
    }

    /// Whether the registry has a record of that device.
    pub fn is_registered(&self, device: &DeviceKey) -> Result<bool, ViewError> {
        self.registry()?.contains(device)
    }

    /// One page of the registry in the order of keys; `after` is the `next` of the page before.
    pub fn records(
        &self,
        filter: &RegistryFilter,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Page<RegistryRow>, ViewError> {
        registry::list(&self.read()?, filter, after, rows_max.min(limits::PAGE_ROWS_MAX))
    }

    /// Entries of the registry between these (the first included, the second not) whose records may still stand.
    pub fn registry_entries(&self, from: Seq, before: Seq, rows_max: usize) -> Result<Vec<Seq>, ViewError> {
        registry::entries(&self.read()?, from, before, rows_max)
    }

    /// Of these records, told by that entry, those that nothing has changed since.
    pub fn standing_records(&self, seq: Seq, told: Vec<Record>) -> Result<Vec<Record>, ViewError> {
        registry::standing(&self.registry()?, seq, told)
    }

    /// Facts told before this entry that must outlive it, one after the other: append them before the journal drops what is
    /// older (`Journal::drop_before`), or a later rebuild would not know them.
    pub fn standing_before<E: From<ViewError>>(
        &self,
        seq: Seq,
        tell: impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        fold::standing_before(&self.read()?, seq, tell)
    }
}

impl Shared {
    fn new(store: Store, folding: &Folding) -> Self {
        Self {
            store,
            cursor: watch::Sender::new(folding.cursor()),
            kept: AtomicU64::new(folding.kept().0),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_failing(&self, why: Option<String>) {
        self.lock().failing = why;
    }

    /// All is well, and folded as far as that.
    fn folded(&self, cursor: Seq, kept: Seq) {
        self.kept.store(kept.0, Ordering::Release);
        let is_news = *self.cursor.borrow() != cursor;
        if is_news {
            self.cursor.send_replace(cursor);
        }
        // After the cursor: who waits looks at it under this lock, and must not miss the call.
        self.lock().failing = None;
        if is_news {
            self.changed.notify_all();
        }
    }

    /// The file was opened again, and shows no more than that: whoever was told of later entries has to wait for them anew.
    fn goes_on_from(&self, cursor: Seq) {
        self.kept.store(cursor.0, Ordering::Release);
        self.cursor.send_replace(cursor);
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits; false: the views were closed.
    fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, time, |s| !s.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Somebody waits for an entry, or for the end.
    fn is_wanted(&self) -> bool {
        let state = self.lock();
        state.closed || state.waiting > 0
    }
}

/// Somebody waits for an entry.
struct Wanted<'a>(&'a Shared);

impl<'a> Wanted<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.lock().waiting += 1;
        Self(shared)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Open {
    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let thread = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Views that failed are built again; there is nothing to save.
            let _ = thread.join();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}
