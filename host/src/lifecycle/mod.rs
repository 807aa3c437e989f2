//! The life of adapters: which come in, which serve, which step back, and that every step is an entry before it counts.
//!
//! `install` checks what comes in, `cutover` changes who serves, `profiles` how they are asked, `layouts` what
//! one takes over from another, `dropins` follows the adapter directory, `trust` says whose
//! signatures are asked for, `gaps` where nobody serves any more, `strikes` counts the harm that one does,
//! `budget` the time that it takes from others, `suspects` remembers who provoked it. The code itself is the catalog's; what devices say is
//! not known here.
//!
//! All of it may block: sessions never wait for anything here but a lock around a few numbers.

mod budget;
mod cutover;
mod dropins;
mod gaps;
mod install;
mod layouts;
mod profiles;
mod strikes;
mod suspects;
mod trust;

pub use cutover::Order;
pub use install::Delivery;
pub use profiles::{Bound, Profiles, Spoken};
pub use strikes::{Stranger, Struck};
pub use trust::{Distrust, Judged, Trust, Unsigned};

use crate::adapter::{Catalog, LoadError, Manifest, Store, StoreError};
use crate::clock::Clock;
use crate::journal::{AdapterFact, AdapterState, AdapterStep, Entry, Fact, Journal};
use crate::limits;
use crate::model::{Digest, Seq};
use crate::views::{AdapterRow, DIGEST_DIGITS_MIN, ViewError, Views};
use budget::Budget;
use cap_std::fs::Dir;
use dropins::DropIns;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use strikes::Strikes;
use suspects::Suspects;
use tokio::sync::Notify;
use trust::TrustSeen;

/// Who asks, where nobody does.
const STATION: &str = "station";
const TRUST_FILE: &str = "trust.toml";
/// Digits of a digest by which a message names a build.
const DIGEST_SHOWN: usize = 12;

/// All adapters of a station and where they stand.
pub struct Lifecycle {
    catalog: Arc<Catalog>,
    store: Store,
    journal: Journal,
    clock: Clock,
    /// The data directory, for the trust file.
    data: Dir,
    unsigned: Unsigned,
    views: Views,
    profiles: Profiles,
    dropins: Mutex<DropIns>,
    trust_seen: Mutex<TrustSeen>,
    /// Why what serves cannot be judged by the trust file.
    unjudged: Mutex<Option<String>>,
    /// What lies in the adapter directory, by file.
    dropped_in: RwLock<BTreeMap<String, Digest>>,
    /// What the view shows, without its delay.
    book: RwLock<BTreeMap<Digest, AdapterRow>>,
    /// Held while entries are written, so that the book follows their order.
    telling: Mutex<()>,
    /// Held while one component is checked: the same may come twice at once.
    installing: Mutex<()>,
    /// Held while who serves changes.
    cutover: Mutex<()>,
    strikes: Mutex<Strikes>,
    budget: Mutex<Budget>,
    suspects: Suspects,
    tasks: Mutex<Tasks>,
    changed: Notify,
    /// There are names in `Tasks::served`.
    served: Notify,
    /// Nothing new is begun, and what takes long is given up.
    stopping: AtomicBool,
}

/// What is left to do by somebody who may take his time.
#[derive(Default)]
struct Tasks {
    /// Names that something else serves now: what was unreadable may be readable.
    served: BTreeSet<String>,
    /// Versions over their budget, and why.
    condemned: BTreeMap<Digest, String>,
}

/// The parts that a station hands over.
pub struct Parts {
    pub catalog: Arc<Catalog>,
    pub journal: Journal,
    pub clock: Clock,
    pub data: Dir,
    pub store: Dir,
    /// The adapter directory.
    pub dropins: Dir,
    pub unsigned: Unsigned,
    /// How the configuration lets listeners speak with adapters.
    pub bound: Vec<Bound>,
    /// Its profiles, by name.
    pub profiles: BTreeMap<String, String>,
}

/// Why nothing came of it. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error("`{0}` is no name for an adapter file; write letters, digits, `-`, `_` and `.`, and end in .wasm")]
    FileName(String),
    #[error("{0}")]
    Unfit(#[from] LoadError),
    #[error("not trusted: {0}")]
    Untrusted(#[from] Distrust),
    #[error("trust.toml: {0}")]
    TrustFile(String),
    #[error(
        "a downgrade: {found} is older than {highest}, which has served here; to go back, use `polymeter adapter rollback`, \
         or ask for it on purpose: `--allow-downgrade --reason …`, in the API `downgrade=WHY` with an upload and `allow_downgrade` \
         with a `reason` in `activate`"
    )]
    Downgrade { found: String, highest: String },
    #[error(
        "{found} speaks for devices of realm `{realm}`, and {before}, which has served here, for those of `{theirs}`: their keys, \
         orders and history would be another's. Give it a name of its own, or first `polymeter adapter retire` what has served"
    )]
    Realm { found: String, realm: String, before: String, theirs: String },
    #[error("{whom} speaks with it under a profile it does not take: {why}; correct the profile first")]
    Profile { whom: String, why: String },
    #[error("`{0}` is no name for a profile; write 1 to 32 letters, digits, `-` or `_`")]
    ProfileName(String),
    #[error("there is no profile `{0}` here; `polymeter profile list` shows all there are")]
    UnknownProfile(String),
    #[error("[profile.{0}] stands in the station's configuration; change it there, or choose another name")]
    ConfiguredProfile(String),
    #[error("profile `{0}` is one of adapter `{1}`; choose another name")]
    ProfileOfAnother(String, String),
    #[error("{adapter} does not take profile `{profile}`: {why}")]
    ProfileRefused { profile: String, adapter: String, why: String },
    #[error("`{0}` is no device of adapter `{1}`: those begin with `{2}/`")]
    NotItsDevice(String, String, String),
    #[error("no listener `{0}` speaks with adapter `{1}`; the configuration names those that do")]
    NoSuchListener(String, String),
    #[error("the configuration gives listener `{0}` [profile.{1}]; take it out there first")]
    ConfiguredListener(String, String),
    #[error("a model is named as devices or the registry tell it, in at most {} bytes", limits::RECORD_TEXT_BYTES_MAX)]
    NoSuchModel,
    #[error("profile `{0}` is not bound to {1}")]
    NotBound(String, String),
    #[error("profile `{0}` is bound to {1}; bind those to another one, or unbind them, first")]
    ProfileBound(String, String),
    #[error(
        "there are as many profiles or bindings as a station keeps; give them an existing profile, or name it in the \
         registry's column `profile`"
    )]
    ProfilesFull,
    #[error("there is no adapter `{0}` here; `polymeter adapter list --all` shows all there are")]
    Unknown(String),
    #[error("`{0}` can mean more than one version; name one by its digest: {1}")]
    Ambiguous(String, String),
    #[error("`{0}` names no version; of a digest give {DIGEST_DIGITS_MIN} digits or more")]
    ShortDigest(String),
    #[error("{0} is {1}; install it again")]
    NotInstalled(String, &'static str),
    #[error("{0} serves; activate another version first, or retire it with --even-active")]
    Serves(String),
    #[error("no version of `{name}` has served before that is older than the present one and stands by; {others}")]
    NothingBefore { name: String, others: String },
    #[error(
        "{found} is in quarantine; to put it back into service, name it and say why: \
         `polymeter adapter activate {wanted} --reason …`"
    )]
    Quarantined { found: String, wanted: String },
    #[error("this needs a reason; say why with --reason, the journal keeps it")]
    NoReason,
    #[error("{} versions are installed already; retire some first", limits::ADAPTERS_INSTALLED_MAX)]
    Full,
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the station is stopping; hand it over again once it runs")]
    Stopping,
    #[error("the journal cannot be written, so nothing was done: {0}")]
    Journal(String),
    #[error("{0}; nothing was done. See /health, then try again")]
    Views(String),
}

pub type Result<T> = std::result::Result<T, LifecycleError>;

impl Lifecycle {
    /// Takes over what the views know. Nothing serves before `resume`.
    pub fn open(parts: Parts, views: &Views) -> std::result::Result<Self, ViewError> {
        let Parts { catalog, journal, clock, data, store, dropins, unsigned, bound, profiles } = parts;
        let book = views.adapters()?.into_iter().map(|row| (row.digest, row)).collect();
        Ok(Self {
            catalog,
            store: Store::open(store),
            journal,
            clock,
            data,
            unsigned,
            views: views.clone(),
            profiles: Profiles::open(bound, &profiles, views)?,
            dropins: Mutex::new(DropIns::new(dropins)),
            trust_seen: Mutex::default(),
            unjudged: Mutex::default(),
            dropped_in: RwLock::default(),
            book: RwLock::new(book),
            telling: Mutex::default(),
            installing: Mutex::default(),
            cutover: Mutex::default(),
            strikes: Mutex::default(),
            budget: Mutex::default(),
            suspects: Suspects::default(),
            tasks: Mutex::default(),
            changed: Notify::new(),
            served: Notify::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// What is being checked is given up: whoever waits for the end must not wait for a vendor's vectors.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Every component that ever came, by name and then by when it came.
    pub fn rows(&self) -> Vec<AdapterRow> {
        let mut rows: Vec<AdapterRow> =
            self.book.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        rows.sort_by(|a, b| (&a.name, a.first_ms, a.seq).cmp(&(&b.name, b.first_ms, b.seq)));
        rows
    }

    /// Those that a person asks for at first: installed, or lying refused in the adapter directory.
    pub fn present(&self) -> Vec<AdapterRow> {
        let lies_there = |row: &AdapterRow| {
            let dropped_in = self.dropped_in.read().unwrap_or_else(PoisonError::into_inner);
            dropped_in.get(&row.origin.file) == Some(&row.digest)
        };
        let matters = |row: &AdapterRow| match row.state {
            AdapterState::Retired => false,
            AdapterState::Rejected => lies_there(row),
            _ => true,
        };
        self.rows().into_iter().filter(matters).collect()
    }

    pub fn row(&self, digest: &Digest) -> Option<AdapterRow> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// The one version that somebody means: `name`, `name@version`, or the first digits of a digest. A bare name means the
    /// version that serves, or else the newest that is installed.
    pub fn find(&self, wanted: &str) -> Result<AdapterRow> {
        let rows = self.rows();
        if let Some((name, version)) = wanted.split_once('@') {
            let of = rows.iter().filter(|row| row.name == name);
            let mut found: Vec<AdapterRow> =
                of.clone().filter(|row| row.version == version || row.is_digest(version)).cloned().collect();
            // Builds of one version: whoever names it means one that can be had.
            let can_be_had = [AdapterState::is_installed as fn(AdapterState) -> bool, AdapterState::is_kept];
            if let Some(can) = can_be_had.into_iter().find(|can| found.iter().any(|row| can(row.state))) {
                found.retain(|row| can(row.state));
            }
            let begins = |row: &AdapterRow| !version.is_empty() && row.digest.to_string().starts_with(version);
            if found.is_empty() && of.clone().any(begins) {
                return Err(LifecycleError::ShortDigest(wanted.to_owned()));
            }
            return one(found, wanted);
        }
        let named: Vec<&AdapterRow> = rows.iter().filter(|row| row.name == wanted).collect();
        if let Some(active) = named.iter().find(|row| row.is_active()) {
            return Ok((*active).clone());
        }
        let newest = |can: fn(AdapterState) -> bool| {
            named.iter().filter(|row| can(row.state)).max_by(|a, b| order(a, b)).copied()
        };
        let meant = newest(AdapterState::is_installed).or_else(|| newest(AdapterState::is_kept));
        match meant.or(named.last().copied()) {
            Some(row) => Ok(row.clone()),
            None => one(rows.iter().filter(|row| row.is_digest(wanted)).cloned().collect(), wanted),
        }
    }

    /// The newest version of that name that may be put into service; where nobody is called so, the one that `find` finds.
    pub fn newest(&self, name: &str) -> Result<AdapterRow> {
        let rows: Vec<AdapterRow> = self.rows().into_iter().filter(|row| row.name == name).collect();
        if let Some(row) = rows.iter().filter(|row| row.state.is_installed()).max_by(|a, b| order(a, b)) {
            return Ok(row.clone());
        }
        // What is in quarantine serves again only if it is named.
        if let Some(row) = rows.iter().filter(|row| row.state.is_kept()).max_by(|a, b| order(a, b)) {
            return Err(self.quarantined(row));
        }
        match rows.iter().max_by_key(|row| row.since_ms) {
            Some(row) => Err(LifecycleError::NotInstalled(label(row), row.state.name())),
            None => self.find(name),
        }
    }

    fn quarantined(&self, row: &AdapterRow) -> LifecycleError {
        LifecycleError::Quarantined { found: label(row), wanted: self.words_for(row) }
    }

    /// The words that mean it and no other: its version, or its digest where others have that version.
    fn words_for(&self, row: &AdapterRow) -> String {
        let by_version = format!("{}@{}", row.name, row.version);
        match self.find(&by_version) {
            Ok(found) if found.digest == row.digest => by_version,
            _ => format!("{}@{}", row.name, &row.digest.to_string()[..DIGEST_SHOWN]),
        }
    }

    /// Waits until there is something for `chores`.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until there are names for `newly_served`.
    pub async fn served(&self) {
        self.served.notified().await;
    }

    /// Names that something else serves since the last call. What could not be read may be read now.
    pub fn newly_served(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.tasks().served)
    }

    /// What could not be read may be read by these now, although nothing of them has changed.
    pub fn read_again(&self, names: BTreeSet<String>) {
        if !names.is_empty() {
            self.tasks().served.extend(names);
            self.served.notify_one();
        }
    }

    /// The trust file as it is now; none is one that trusts nobody.
    fn trust(&self) -> Result<Trust> {
        let mut text = String::new();
        let read = self.data.open(TRUST_FILE).and_then(|file| {
            // One byte more than allowed is enough to be refused.
            file.take(limits::TRUST_BYTES_MAX as u64 + 1).read_to_string(&mut text)
        });
        match read {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LifecycleError::TrustFile(error.to_string())),
            _ => Trust::parse(&text).map_err(LifecycleError::TrustFile),
        }
    }

    /// Who vouches for what comes in.
    fn judge(&self, bytes: &[u8], manifest: &Manifest) -> Result<String> {
        let now = self.clock.civil(self.clock.now_ms());
        self.judge_by(&self.trust()?, bytes, manifest, Judged::At(now))
    }

    fn judge_by(&self, trust: &Trust, bytes: &[u8], manifest: &Manifest, judged: Judged) -> Result<String> {
        // Under a revoked digest a build was let in here: it is revoked with fewer signatures and with others, too.
        let let_in = |row: &AdapterRow| row.state.is_kept() || row.state == AdapterState::Retired;
        let is_it = |row: &&AdapterRow| {
            row.name == manifest.name && row.version == manifest.version && let_in(row) && trust.revokes(&row.digest)
        };
        if let Some(row) = self.book.read().unwrap_or_else(PoisonError::into_inner).values().find(is_it) {
            return Err(Distrust::RevokedDigest(row.digest.to_string()).into());
        }
        Ok(trust.judge(bytes, manifest, self.unsigned, judged)?)
    }

    /// Makes steps durable, in this order, and folds them. Either all are kept or, on an error, none counts.
    fn tell(&self, facts: &[AdapterFact]) -> Result<()> {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ms = self.clock.now_ms();
        let entries = facts.iter().map(|fact| Entry { at_ms, fact: Fact::Adapter(fact.clone()) }).collect();
        let kept = self.journal.append_all_blocking(entries);
        let Some((first, _)) = kept.map_err(|error| LifecycleError::Journal(error.to_string()))? else { return Ok(()) };
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        for (fact, seq) in facts.iter().zip((first.0..).map(Seq)) {
            let before = book.remove(&fact.digest);
            book.insert(fact.digest, AdapterRow::after(before, fact, seq, at_ms));
            let (state, why) = (fact.step.state().name(), fact.step.why());
            tracing::info!(adapter = %fact.name, version = %fact.version, digest = %fact.digest.short(), by = %fact.by, why, "{state}");
        }
        Ok(())
    }

    fn enter(&self, row: &AdapterRow, state: AdapterState, why: &str, by: &str) -> Result<()> {
        self.tell(&[entered(row, state, why, by)])
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        // Each change is one insert or take, so a panic elsewhere leaves nothing half done.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LifecycleError {
    /// Whether it says that a component that was let in is no good: what is wrong with the trust file, a profile or the journal
    /// lies in the station's own files and can be corrected.
    fn is_verdict(&self) -> bool {
        matches!(self, Self::Unfit(_) | Self::Store(StoreError::Absent | StoreError::Changed))
    }

    /// Whether the file itself is at fault, so that it is marked as rejected.
    fn rejects(&self) -> bool {
        matches!(
            self,
            Self::Unfit(_)
                | Self::Untrusted(_)
                | Self::TrustFile(_)
                | Self::Downgrade { .. }
                | Self::Realm { .. }
                | Self::Full
                | Self::Store(_)
        )
    }
}

fn entered(row: &AdapterRow, state: AdapterState, why: &str, by: &str) -> AdapterFact {
    let mut why = why.to_owned();
    why.truncate(why.floor_char_boundary(limits::NOTE_BYTES_MAX));
    AdapterFact {
        name: row.name.clone(),
        version: row.version.clone(),
        digest: row.digest,
        step: AdapterStep::Entered { state, why },
        by: by.to_owned(),
    }
}

/// Older before newer: by the vendor's counter, then by version.
fn order(a: &AdapterRow, b: &AdapterRow) -> Ordering {
    let version = |row: &AdapterRow| row.version.parse().unwrap_or(semver::Version::new(0, 0, 0));
    a.origin.release.cmp(&b.origin.release).then_with(|| version(a).cmp_precedence(&version(b)))
}

/// `name@version`, and the release where the vendor counts them.
fn label(row: &AdapterRow) -> String {
    match row.origin.release {
        0 => format!("{}@{}", row.name, row.version),
        release => format!("{}@{} (release {release})", row.name, row.version),
    }
}

fn one(mut rows: Vec<AdapterRow>, wanted: &str) -> Result<AdapterRow> {
    match (rows.pop(), rows.is_empty()) {
        (Some(row), true) => Ok(row),
        (Some(last), false) => {
            rows.push(last);
            let each = rows
                .iter()
                .map(|row| format!("{}@{} ({})", row.name, &row.digest.to_string()[..DIGEST_SHOWN], row.state.name()));
            Err(LifecycleError::Ambiguous(wanted.escape_debug().to_string(), each.collect::<Vec<_>>().join(", ")))
        }
        (None, _) => Err(LifecycleError::Unknown(wanted.escape_debug().to_string())),
    }
}
