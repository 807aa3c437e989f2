//! How devices are spoken to: profiles with versions, and whom they are bound to.
//!
//! The narrowest binding counts: a device's own, then what the registry names for it, then its model's, then its listener's,
//! then what the configuration says of the listener, then the adapter's defaults. Sessions keep what they have looked up and
//! ask again when the generation has moved on, so that a frame costs one comparison. The configuration's profiles have no
//! versions and are only read here.

use super::{Lifecycle, LifecycleError, Order, Result};
use crate::adapter::Adapter;
use crate::journal::{Entry, Fact, ProfileFact, ProfileScope, ProfileStep};
use crate::limits::{
    NOTE_BYTES_MAX, PAGE_ROWS_MAX, PROFILE_BINDINGS_MAX, PROFILE_VERSIONS_MAX, PROFILES_MAX, RECORD_TEXT_BYTES_MAX,
};
use crate::model::{DeviceKey, Seq};
use crate::views::{BindingRow, ProfileRow, RegistryFilter, ViewError, Views};
use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whom a refusal names before it counts the rest.
const BOUND_SHOWN_MAX: usize = 5;

/// A profile as frames are read with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// As entries name it: `name@version`, the name alone where the configuration has it, or nothing for the defaults.
    pub name: String,
    /// JSON.
    pub options: String,
}

/// A profile under which the configuration lets a listener speak with an adapter.
#[derive(Clone, Debug)]
pub struct Bound {
    pub adapter: String,
    pub listener: String,
    /// Empty: the adapter's defaults.
    pub profile: String,
    /// Its JSON.
    pub options: String,
}

/// The configuration's words, and what was decided since.
pub struct Profiles {
    listeners: Vec<Bound>,
    configured: BTreeMap<String, Arc<Spoken>>,
    defaults: Arc<Spoken>,
    book: ArcSwap<Book>,
    /// 0: nobody has ever named a profile. Moves on with every decision.
    generation: AtomicU64,
}

#[derive(Clone, Default)]
struct Book {
    /// The newest version of each, and as it is spoken.
    profiles: BTreeMap<String, (ProfileRow, Arc<Spoken>)>,
    /// Those that were removed, with their last version: a version is never given twice.
    removed: BTreeMap<String, u32>,
    /// By adapter and whom.
    bindings: FxHashMap<(String, ProfileScope), BindingRow>,
    /// Some of them are of models, so that models have to be known.
    by_model: bool,
}

impl Profiles {
    pub(super) fn open(
        listeners: Vec<Bound>,
        configured: &BTreeMap<String, String>,
        views: &Views,
    ) -> std::result::Result<Self, ViewError> {
        let mut book = Book { removed: views.last_removed_profiles()?, ..Book::default() };
        // Ascending by version, so the newest stays.
        for row in views.profiles()? {
            if book.removed.get(&row.name).is_none_or(|last| row.version > *last) {
                book.keep(row);
            }
        }
        views.profile_bindings()?.into_iter().for_each(|row| book.bind(row));
        let spoken = |(name, options): (&String, &String)| {
            (name.clone(), Arc::new(Spoken { name: name.clone(), options: options.clone() }))
        };
        let configured: BTreeMap<_, _> = configured.iter().map(spoken).collect();
        let generation = u64::from(!configured.is_empty() || !book.profiles.is_empty());
        Ok(Self {
            listeners,
            configured,
            defaults: Arc::new(Spoken { name: String::new(), options: "{}".into() }),
            book: ArcSwap::from_pointee(book),
            generation: AtomicU64::new(generation),
        })
    }

    /// What was looked up under an older one has to be looked up again. 0: there is nothing to look up.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether it matters which model a device is.
    pub fn know_models(&self) -> bool {
        self.generation() != 0 && self.book.load().by_model
    }

    /// All names that a record of the registry may use.
    pub fn names(&self) -> Vec<String> {
        self.configured.keys().chain(self.book.load().profiles.keys()).cloned().collect()
    }

    /// The configuration's own.
    pub fn configured(&self) -> impl Iterator<Item = &Arc<Spoken>> {
        self.configured.values()
    }

    /// What the configuration says of listeners.
    pub fn of_configuration(&self) -> &[Bound] {
        &self.listeners
    }

    /// The newest version of each.
    pub fn rows(&self) -> Vec<ProfileRow> {
        self.book.load().profiles.values().map(|(row, _)| row.clone()).collect()
    }

    /// Whom this profile is bound to.
    pub fn bindings(&self, profile: &str) -> Vec<BindingRow> {
        let mut rows: Vec<_> =
            self.book.load().bindings.values().filter(|row| row.profile == profile).cloned().collect();
        rows.sort_by(|a, b| a.to.cmp(&b.to));
        rows
    }

    /// How a listener speaks with strangers, where that was decided since the configuration was read.
    pub fn of_listener(&self, listener: &str, adapter: &str) -> Option<Arc<Spoken>> {
        if self.generation() == 0 {
            return None;
        }
        self.book.load().bound(adapter, ProfileScope::Listener(listener.to_owned()))
    }

    /// Another version of an adapter serves: it may take what the one before did not.
    pub(super) fn touch(&self) {
        if self.generation() != 0 {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = Book::clone(&self.book.load());
        change(&mut book);
        self.book.store(Arc::new(book));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl Book {
    fn keep(&mut self, row: ProfileRow) {
        let spoken = Arc::new(Spoken { name: row.label(), options: row.options.clone() });
        self.removed.remove(&row.name);
        self.profiles.insert(row.name.clone(), (row, spoken));
    }

    fn bind(&mut self, row: BindingRow) {
        self.by_model |= matches!(row.to, ProfileScope::Model(_));
        self.bindings.insert((row.adapter.clone(), row.to.clone()), row);
    }

    fn unbind(&mut self, adapter: &str, from: ProfileScope) {
        self.bindings.remove(&(adapter.to_owned(), from));
        self.by_model = self.bindings.keys().any(|(_, to)| matches!(to, ProfileScope::Model(_)));
    }

    fn remove(&mut self, name: &str) {
        if let Some((row, _)) = self.profiles.remove(name) {
            self.removed.insert(row.name, row.version);
        }
    }

    fn bound(&self, adapter: &str, to: ProfileScope) -> Option<Arc<Spoken>> {
        let row = self.bindings.get(&(adapter.to_owned(), to))?;
        self.profiles.get(&row.profile).map(|(_, spoken)| spoken.clone())
    }
}

impl Lifecycle {
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// How this device is spoken to, or this listener's strangers; `None`: as the configuration says of the listener. `model` is
    /// what the device said just now, if it did.
    pub fn decided(
        &self,
        adapter: &Adapter,
        listener: &str,
        device: Option<&DeviceKey>,
        model: Option<&str>,
    ) -> std::result::Result<Option<Arc<Spoken>>, ViewError> {
        if self.profiles.generation() == 0 {
            return Ok(None);
        }
        let book = self.profiles.book.load();
        if let Some(device) = device {
            if let Some(own) = book.bound(adapter.name(), ProfileScope::Device(device.clone())) {
                return Ok(Some(own));
            }
            let about = self.views.record(device)?.map(|row| row.record.about);
            let named = about.as_ref().map(|about| about.profile.as_str()).filter(|name| !name.is_empty());
            if let Some(named) = named.and_then(|name| self.named(&book, name, adapter)) {
                return Ok(Some(named));
            }
            if book.by_model {
                let said = match model {
                    Some(model) => Some(model.to_owned()),
                    None => self.views.device(device)?.and_then(|row| row.registration).map(|r| r.model),
                };
                let model = said.filter(|model| !model.is_empty()).or(about.map(|about| about.model));
                if let Some(spoken) = model.and_then(|model| book.bound(adapter.name(), ProfileScope::Model(model))) {
                    return Ok(Some(spoken));
                }
            }
        }
        Ok(book.bound(adapter.name(), ProfileScope::Listener(listener.to_owned())))
    }

    /// As `decided`, to the end.
    pub fn spoken(
        &self,
        adapter: &Adapter,
        listener: &str,
        device: Option<&DeviceKey>,
    ) -> std::result::Result<Arc<Spoken>, ViewError> {
        if let Some(spoken) = self.decided(adapter, listener, device, None)? {
            return Ok(spoken);
        }
        let bound = self.profiles.listeners.iter().find(|b| b.listener == listener && b.adapter == adapter.name());
        let configured = bound.and_then(|bound| self.profiles.configured.get(&bound.profile));
        Ok(configured.unwrap_or(&self.profiles.defaults).clone())
    }

    /// What an entry names, in the version that it names; `None`: it is not known here any more.
    pub fn spoken_then(&self, name: &str) -> Option<Arc<Spoken>> {
        if name.is_empty() {
            return Some(self.profiles.defaults.clone());
        }
        let Some((profile, version)) = name.rsplit_once('@') else {
            return self.profiles.configured.get(name).cloned();
        };
        if let Some((_, spoken)) = self.profiles.book.load().profiles.get(profile)
            && spoken.name == name
        {
            return Some(spoken.clone());
        }
        let row = self.views.profile(profile, version.parse().ok()?).ok()??;
        Some(Arc::new(Spoken { name: row.label(), options: row.options }))
    }

    /// A profile by its name, if it is for this adapter. What nobody has bound was not tried with every version.
    fn named(&self, book: &Book, name: &str, adapter: &Adapter) -> Option<Arc<Spoken>> {
        let spoken = match book.profiles.get(name) {
            Some((row, spoken)) => Some(spoken).filter(|_| row.adapter == adapter.name()),
            None => self.profiles.configured.get(name),
        };
        let fits = |spoken: &&Arc<Spoken>| match adapter.manifest.check_profile(&spoken.options) {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(profile = %spoken.name, adapter = adapter.name(), why, "named by the registry, and not taken");
                false
            }
        };
        spoken.filter(fits).cloned()
    }

    /// Tells another version of a profile, if it says anything new. It counts from the next frame on.
    pub fn set_profile(&self, name: &str, adapter: &str, options: &str, order: &Order<'_>) -> Result<ProfileRow> {
        check_name(name)?;
        if self.profiles.configured.contains_key(name) {
            return Err(LifecycleError::ConfiguredProfile(name.to_owned()));
        }
        let cutover = self.cutover();
        let known = self.profiles.book.load().profiles.get(name).map(|(row, _)| row.clone());
        if let Some(known) = &known {
            if known.adapter != adapter {
                return Err(LifecycleError::ProfileOfAnother(name.to_owned(), known.adapter.clone()));
            }
            if known.options == options {
                return Ok(known.clone());
            }
        }
        let book = self.profiles.book.load_full();
        let last = known.map(|row| row.version).or_else(|| book.removed.get(name).copied());
        let full = match last {
            Some(last) => last >= PROFILE_VERSIONS_MAX,
            None => book.profiles.len() + book.removed.len() >= PROFILES_MAX,
        };
        if full {
            return Err(LifecycleError::ProfilesFull);
        }
        let version = last.map_or(1, |last| last + 1);
        self.must_take(adapter, name, options)?;
        let step = ProfileStep::Set { version, options: options.to_owned() };
        let (fact, seq, at_ms) = self.tell_profile((name, adapter), step, order)?;
        let row = ProfileRow::told(&fact, seq, at_ms).ok_or_else(|| LifecycleError::UnknownProfile(name.to_owned()))?;
        self.profiles.change(|book| book.keep(row.clone()));
        drop(cutover);
        self.changed.notify_one();
        Ok(row)
    }

    /// From the next frame on, these devices are spoken to with it.
    pub fn bind_profile(&self, name: &str, to: ProfileScope, order: &Order<'_>) -> Result<BindingRow> {
        let cutover = self.cutover();
        let row = self.profile_row(name)?;
        self.check_scope(&to, &row.adapter)?;
        let book = self.profiles.book.load_full();
        let before = book.bindings.get(&(row.adapter.clone(), to.clone()));
        if let Some(before) = before.filter(|before| before.profile == name) {
            return Ok(before.clone());
        }
        if before.is_none() && book.bindings.len() >= PROFILE_BINDINGS_MAX {
            return Err(LifecycleError::ProfilesFull);
        }
        // Another version may serve by now than the one that took it when it was set.
        self.must_take(&row.adapter, name, &row.options)?;
        let (fact, seq, at_ms) = self.tell_profile((name, &row.adapter), ProfileStep::Bound { to }, order)?;
        let bound =
            BindingRow::told(&fact, seq, at_ms).ok_or_else(|| LifecycleError::UnknownProfile(name.to_owned()))?;
        self.profiles.change(|book| book.bind(bound.clone()));
        drop(cutover);
        Ok(bound)
    }

    /// From the next frame on, the next wider binding counts.
    pub fn unbind_profile(&self, name: &str, from: ProfileScope, order: &Order<'_>) -> Result<()> {
        let cutover = self.cutover();
        let adapter = self.profile_row(name)?.adapter;
        let book = self.profiles.book.load_full();
        let bound = book.bindings.get(&(adapter.clone(), from.clone()));
        if bound.is_none_or(|bound| bound.profile != name) {
            return Err(LifecycleError::NotBound(name.to_owned(), from.to_string()));
        }
        self.tell_profile((name, &adapter), ProfileStep::Unbound { from: from.clone() }, order)?;
        self.profiles.change(|book| book.unbind(&adapter, from));
        drop(cutover);
        // What could not serve under it may serve now.
        self.changed.notify_one();
        Ok(())
    }

    /// Nobody can be spoken to with it any more; what frames say of its versions stays. Refused while somebody is.
    pub fn remove_profile(&self, name: &str, order: &Order<'_>) -> Result<()> {
        self.profile_row(name)?;
        // Beforehand, since the registry may be long. Who comes to name it meanwhile is spoken to by the next wider binding.
        let named = self.named_by_registry(name)?;
        let cutover = self.cutover();
        let row = self.profile_row(name)?;
        let bound = self.profiles.bindings(name);
        let whom: Vec<String> = bound.iter().map(|bound| bound.to.to_string()).chain(named).collect();
        if !whom.is_empty() {
            let more = whom.len().saturating_sub(BOUND_SHOWN_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let whom = whom.into_iter().take(BOUND_SHOWN_MAX).collect::<Vec<_>>().join(", ") + &more;
            return Err(LifecycleError::ProfileBound(name.to_owned(), whom));
        }
        self.tell_profile((name, &row.adapter), ProfileStep::Removed { version: row.version }, order)?;
        self.profiles.change(|book| book.remove(name));
        drop(cutover);
        Ok(())
    }

    /// The first device of which the registry names that profile, in words.
    fn named_by_registry(&self, name: &str) -> Result<Option<String>> {
        let unreadable = |error: ViewError| LifecycleError::Views(error.to_string());
        let mut after = None;
        loop {
            let page =
                self.views.records(&RegistryFilter::default(), after.as_deref(), PAGE_ROWS_MAX).map_err(unreadable)?;
            if let Some(row) = page.rows.iter().find(|row| row.record.about.profile == name) {
                return Ok(Some(format!("the registry's record of {}", row.record.device)));
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    /// A version that does not take what its devices are spoken to with may not serve.
    pub(super) fn takes_its_profiles(&self, adapter: &Adapter) -> Result<()> {
        let refused = |whom: String, why: String| LifecycleError::Profile { whom, why };
        for bound in self.profiles.listeners.iter().filter(|bound| bound.adapter == adapter.name()) {
            adapter.try_profile(&bound.options).map_err(|why| {
                let why = if bound.profile.is_empty() { why } else { format!("[profile.{}] {why}", bound.profile) };
                refused(format!("listener `{}`", bound.listener), why)
            })?;
        }
        let book = self.profiles.book.load_full();
        let mut tried: Vec<&str> = Vec::new();
        for ((of, to), row) in &book.bindings {
            let Some((_, spoken)) = book.profiles.get(&row.profile) else { continue };
            if of == adapter.name() && !tried.contains(&row.profile.as_str()) {
                let refused = |why| refused(to.to_string(), format!("profile {}: {why}", spoken.name));
                adapter.try_profile(&spoken.options).map_err(refused)?;
                tried.push(&row.profile);
            }
        }
        Ok(())
    }

    fn profile_row(&self, name: &str) -> Result<ProfileRow> {
        if self.profiles.configured.contains_key(name) {
            return Err(LifecycleError::ConfiguredProfile(name.to_owned()));
        }
        let known = self.profiles.book.load().profiles.get(name).map(|(row, _)| row.clone());
        known.ok_or_else(|| LifecycleError::UnknownProfile(name.escape_debug().to_string()))
    }

    /// The version that serves, or else the newest that is installed: it decides about profiles.
    fn in_force(&self, adapter: &str) -> Result<Arc<Adapter>> {
        match self.catalog.active(adapter) {
            Some(active) => Ok(active),
            None => self.ready(&self.newest(adapter)?),
        }
    }

    fn must_take(&self, adapter: &str, profile: &str, options: &str) -> Result<()> {
        let code = self.in_force(adapter)?;
        code.try_profile(options).map_err(|why| LifecycleError::ProfileRefused {
            profile: profile.to_owned(),
            adapter: format!("{}@{}", code.name(), code.version()),
            why,
        })
    }

    fn check_scope(&self, to: &ProfileScope, adapter: &str) -> Result<()> {
        match to {
            ProfileScope::Listener(listener) => {
                let mut of = self.profiles.listeners.iter().filter(|b| b.listener == *listener && b.adapter == adapter);
                match of.next() {
                    None => Err(LifecycleError::NoSuchListener(listener.clone(), adapter.to_owned())),
                    Some(bound) if !bound.profile.is_empty() => {
                        Err(LifecycleError::ConfiguredListener(listener.clone(), bound.profile.clone()))
                    }
                    Some(_) => Ok(()),
                }
            }
            ProfileScope::Model(model) if model.is_empty() || model.len() > RECORD_TEXT_BYTES_MAX => {
                Err(LifecycleError::NoSuchModel)
            }
            ProfileScope::Model(_) => Ok(()),
            ProfileScope::Device(device) => {
                let code = self.in_force(adapter)?;
                if device.realm() == code.realm() {
                    return Ok(());
                }
                let (device, realm) = (device.to_string(), code.realm().to_owned());
                Err(LifecycleError::NotItsDevice(device, adapter.to_owned(), realm))
            }
        }
    }

    fn tell_profile(
        &self,
        (profile, adapter): (&str, &str),
        step: ProfileStep,
        order: &Order<'_>,
    ) -> Result<(ProfileFact, Seq, i64)> {
        let mut why = order.reason.to_owned();
        why.truncate(why.floor_char_boundary(NOTE_BYTES_MAX));
        let (profile, adapter, by) = (profile.to_owned(), adapter.to_owned(), order.by.to_owned());
        let fact = ProfileFact { profile, adapter, step, by, why, retold: None };
        let at_ms = self.clock.now_ms();
        let entry = Entry { at_ms, fact: Fact::Profile(fact.clone()) };
        let seq = self.journal.append_blocking(entry).map_err(|error| LifecycleError::Journal(error.to_string()))?;
        tracing::info!(profile = %fact.profile, adapter = %fact.adapter, by = %fact.by, why = %fact.why, "{}", fact.step.name());
        Ok((fact, seq, at_ms))
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let good = (1..=32).contains(&name.len()) && name.bytes().all(plain);
    if good { Ok(()) } else { Err(LifecycleError::ProfileName(name.chars().take(32).collect())) }
}
