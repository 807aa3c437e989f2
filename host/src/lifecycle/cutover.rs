//! Who serves: putting versions into service and out of it, between two frames, and never before the entry that says so.

use super::{Judged, Lifecycle, LifecycleError, Result, STATION, Trust, entered, label, order};
use crate::adapter::{Adapter, Catalog, StoreError};
use crate::journal::{AdapterFact, AdapterState};
use crate::limits;
use crate::model::Digest;
use crate::views::AdapterRow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// Who wants something, and why.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub by: &'a str,
    /// For the journal; may be empty unless something unusual is asked for.
    pub reason: &'a str,
    /// An older version than one that has served may serve.
    pub downgrade: bool,
}

impl Lifecycle {
    /// From the next frame on this version serves its name. No session ends; calls under way are finished by the old one.
    pub fn activate(&self, wanted: &str, order: &Order<'_>) -> Result<AdapterRow> {
        let row = self.find(wanted)?;
        if beside_shadow(&row) == AdapterState::Quarantined && order.reason.trim().is_empty() {
            return Err(LifecycleError::NoReason);
        }
        if !row.is_active() {
            let reason = order.downgrade.then_some(order.reason);
            let going_back = self.refuse_downgrade(&row, reason)?;
            // Both may have come before either served.
            self.refuse_realm(&row, self.prepare(&row)?.realm())?;
            self.serve(&row, &going_back.unwrap_or_else(|| order.reason.to_owned()), order.by)?;
        }
        self.row(&row.digest).ok_or_else(|| LifecycleError::Unknown(label(&row)))
    }

    /// The version that served before serves again, at once: it is compiled.
    pub fn rollback(&self, name: &str, order: &Order<'_>) -> Result<AdapterRow> {
        let rows = self.rows();
        if !rows.iter().any(|row| row.name == name) {
            return Err(LifecycleError::Unknown(name.escape_debug().to_string()));
        }
        let active = rows.iter().find(|row| row.name == name && row.is_active());
        let Some(before) = self.successor(name, active) else {
            let installed: Vec<String> =
                rows.iter().filter(|row| row.name == name && row.state.is_installed()).map(label).collect();
            let others = format!("activate one by name: installed are {}", installed.join(", "));
            return Err(LifecycleError::NothingBefore { name: name.to_owned(), others });
        };
        let why = if order.reason.is_empty() { "rolled back" } else { &format!("rolled back: {}", order.reason) };
        self.serve(&before, why, order.by)?;
        self.row(&before.digest).ok_or_else(|| LifecycleError::Unknown(label(&before)))
    }

    /// Takes a version out of the store. One that serves is taken out of service first, if that is really meant. One that has
    /// served and was rejected since may go, too: its devices are missed until somebody says that nobody needs it.
    pub fn retire(&self, wanted: &str, order: &Order<'_>, even_active: bool) -> Result<AdapterRow> {
        let row = self.find(wanted)?;
        if row.state != AdapterState::Rejected || row.served_ms.is_none() {
            must_be_kept(&row)?;
        }
        self.take_out(&row, order.reason, order.by, even_active)?;
        self.row(&row.digest).ok_or_else(|| LifecycleError::Unknown(label(&row)))
    }

    /// Takes over after a restart: what served serves again, from the compile cache. What cannot is rejected, and the version
    /// before it serves.
    pub fn resume(&self) -> Result<()> {
        for row in self.rows().iter().filter(|row| row.state < AdapterState::Conformed) {
            self.enter(row, AdapterState::Rejected, "the station stopped while it was being checked", STATION)?;
        }
        for row in self.rows().iter().filter(|row| row.state == AdapterState::Shadow) {
            self.enter(row, beside_shadow(row), "the station stopped", STATION)?;
        }
        let rows = self.rows();
        let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        names.dedup();
        for name in names {
            let of: Vec<&AdapterRow> = rows.iter().filter(|row| row.name == name).collect();
            let in_state = |state| of.iter().find(|row| row.state == state).copied();
            match (in_state(AdapterState::Active), in_state(AdapterState::Draining)) {
                (Some(active), draining) => {
                    if let Some(old) = draining {
                        self.enter(old, AdapterState::Standby, "the station stopped meanwhile", STATION)?;
                    }
                    self.resume_active(active)?;
                }
                // The entry of its successor was never written.
                (None, Some(draining)) => self.serve(draining, "its successor never began", STATION)?,
                // The station may have stopped before the standby had taken over.
                (None, None) => {}
            }
        }
        self.fill_gaps()?;
        self.restore(is_blameless);
        Ok(())
    }

    fn resume_active(&self, row: &AdapterRow) -> Result<()> {
        match self.prepare(row) {
            Ok(adapter) => drop(self.catalog.put_in_service(&adapter)),
            // It serves again once it is trusted again.
            Err(LifecycleError::Untrusted(why)) => {
                tracing::error!(adapter = %label(row), %why, "does not serve: it is not trusted");
                self.enter(row, AdapterState::Quarantined, &format!("{DISTRUSTED}{why}"), STATION)?;
                self.take_over(row)?;
            }
            // A disk that fails for a moment is no verdict, and one file that cannot be read keeps no other vendor waiting.
            Err(LifecycleError::Store(StoreError::Io(why))) => {
                tracing::error!(adapter = %label(row), %why, "does not serve: its file in the store cannot be read");
                self.enter(row, AdapterState::Quarantined, &format!("{UNREADABLE}{why}"), STATION)?;
                self.take_over(row)?;
            }
            Err(error) if error.is_verdict() => {
                tracing::error!(adapter = %label(row), %error, "cannot serve any more");
                self.enter(row, AdapterState::Rejected, &error.to_string(), STATION)?;
                self.take_over(row)?;
            }
            // What is wrong there lies in the station's own files: to be corrected, and no verdict on the adapter.
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Compiles what stands by, so that going back takes no time. Not in anybody's way.
    pub fn warm_up(&self) {
        for row in self.rows().iter().filter(|row| row.state == AdapterState::Standby) {
            if let Err(error) = self.prepare(row) {
                tracing::warn!(adapter = %label(row), %error, "stands by but could not serve");
            }
        }
    }

    /// Judges what serves by this trust file; on an error something could not be judged, and should be once it can be read.
    pub(super) fn review(&self, trust: &Trust) -> Result<()> {
        let mut judged = Ok(());
        // What was condemned by a former trust file and serves still is judged by this one.
        self.tasks().condemned.retain(|_, why| !why.starts_with(DISTRUSTED));
        for row in self.rows().iter().filter(|row| row.is_active()) {
            match self.vouched_by(row, trust) {
                Err(LifecycleError::Untrusted(why)) => self.condemn(&row.digest, &format!("{DISTRUSTED}{why}")),
                Err(error @ LifecycleError::Store(StoreError::Io(_))) => judged = Err(error),
                Err(error) => tracing::warn!(adapter = %label(row), %error, "goes on serving"),
                Ok(_) => {}
            }
        }
        self.restore(is_blameless);
        self.changed.notify_one();
        judged
    }

    /// What could not be read at the start, and can be by now, serves again, or stands by for who serves meanwhile.
    pub(super) fn restore_unreadable(&self) -> Result<()> {
        let book = || self.book.read().unwrap_or_else(PoisonError::into_inner);
        let unreadable: Vec<AdapterRow> = book().values().filter(|row| is_unreadable(row)).cloned().collect();
        for row in unreadable.iter().filter(|row| self.store.get(&row.digest).is_ok()) {
            self.restore(|other| other.digest == row.digest);
            let _cutover = self.cutover();
            if self.row(&row.digest).is_some_and(|now| is_unreadable(&now)) {
                self.enter(row, AdapterState::Standby, READABLE, STATION)?;
            }
        }
        Ok(())
    }

    /// What would serve if it had been trusted, and could have been read, all the time, serves again.
    fn restore(&self, which: impl Fn(&AdapterRow) -> bool) {
        let rows = self.rows();
        for row in rows.iter().filter(|row| which(row)) {
            let active = rows.iter().find(|other| other.name == row.name && other.is_active());
            // Who was put into service by people meanwhile stays.
            if active.is_none_or(|active| active.why == takes_over_from(row))
                && let Err(error) = self.serve_again(row)
            {
                tracing::warn!(adapter = %label(row), %error, "does not serve again");
            }
        }
    }

    /// What was taken out of service through no fault of its code serves again once it can; tells whether it does.
    fn serve_again(&self, row: &AdapterRow) -> Result<bool> {
        if !is_blameless(row) || self.vouched(row).is_err() {
            return Ok(false);
        }
        self.serve(row, if is_unreadable(row) { READABLE } else { "trusted again" }, STATION)?;
        Ok(true)
    }

    /// Marks a version for quarantine; `carry_out` does it.
    pub(super) fn condemn(&self, digest: &Digest, why: &str) {
        self.tasks().condemned.insert(*digest, why.to_owned());
        self.changed.notify_one();
    }

    /// Puts versions that are condemned into quarantine, and what stood by into service. Those for which that fails stay
    /// condemned.
    pub fn carry_out(&self) -> Result<()> {
        let condemned = std::mem::take(&mut self.tasks().condemned);
        let mut outcome = Ok(());
        for (digest, why) in condemned {
            if let Some(row) = self.row(&digest).filter(AdapterRow::is_active)
                && let Err(error) = self.quarantine(&row, &why)
            {
                // A trust file that has not changed is not looked at again.
                self.tasks().condemned.entry(digest).or_insert(why);
                outcome = Err(error);
            }
        }
        outcome.and_then(|()| self.fill_gaps())
    }

    /// In one step with what takes over, so that no frame finds nobody.
    fn quarantine(&self, row: &AdapterRow, why: &str) -> Result<()> {
        let (cutover, next) = self.ready_for_cutover(|| self.next_fit(row))?;
        let code = self.catalog.active(&row.name).filter(|active| active.digest == row.digest);
        let Some(code) = code else { return Ok(()) };
        // Whoever was chosen may have been taken out since; `fill_gaps` finds the one after.
        let still = |now: AdapterRow| beside_shadow(&now) == AdapterState::Standby;
        let next = next.filter(|(next, _)| self.row(&next.digest).is_some_and(still));
        let mut facts = vec![entered(row, AdapterState::Quarantined, why, STATION)];
        if let Some((next, _)) = &next {
            facts.push(entered(next, AdapterState::Active, &takes_over_from(row), STATION));
        }
        self.tell(&facts)?;
        match &next {
            Some((_, adapter)) => self.catalog.put_in_service(adapter),
            None => self.catalog.take_out_of_service(&row.name),
        };
        self.profiles.touch();
        drop(cutover);
        drain(&code);
        self.note_served(&row.name);
        Ok(())
    }

    /// The newest that served before this one and can serve again. One that is no good is rejected; one that only cannot serve
    /// at the moment is left as it is.
    fn next_fit(&self, from: &AdapterRow) -> Result<Option<(AdapterRow, Arc<Adapter>)>> {
        for next in self.successors(&from.name, Some(from)) {
            match self.prepare(&next) {
                Ok(adapter) => return Ok(Some((next, adapter))),
                Err(error) if error.is_verdict() => {
                    self.enter(&next, AdapterState::Rejected, &error.to_string(), STATION)?;
                }
                Err(error) => tracing::warn!(adapter = %label(&next), %error, "stands by but cannot serve now"),
            }
        }
        tracing::warn!(adapter = %from.name, "{}", self.nobody_takes_over(from));
        Ok(None)
    }

    /// Where nobody serves because what did is in quarantine, and nobody could take over at that time: somebody may by now.
    pub(super) fn fill_gaps(&self) -> Result<()> {
        let rows = self.rows();
        for of_name in rows.chunk_by(|a, b| a.name == b.name) {
            let served = of_name.iter().filter(|row| row.served_ms.is_some());
            if let Some(last) = served.max_by_key(|row| row.served_ms)
                && beside_shadow(last) == AdapterState::Quarantined
                && of_name.iter().all(|row| !row.is_active())
                && !self.serve_again(last)?
                && self.successor(&last.name, Some(last)).is_some()
            {
                self.take_over(last)?;
            }
        }
        Ok(())
    }

    fn note_served(&self, name: &str) {
        self.tasks().served.insert(name.to_owned());
        self.served.notify_one();
        self.changed.notify_one();
    }

    /// The newest that served before this one serves again; none may be left.
    fn take_over(&self, from: &AdapterRow) -> Result<()> {
        match self.next_fit(from)? {
            Some((next, _)) => self.serve(&next, &takes_over_from(from), STATION),
            None => Ok(()),
        }
    }

    pub(super) fn stands_by(&self, name: &str) -> bool {
        let active = self.rows().into_iter().find(|row| row.name == name && row.is_active());
        self.successor(name, active.as_ref()).is_some()
    }

    fn successor(&self, name: &str, than: Option<&AdapterRow>) -> Option<AdapterRow> {
        self.successors(name, than).into_iter().next()
    }

    /// Whom to go back to, first whoever served last. A newer one than this was left for a reason.
    fn successors(&self, name: &str, than: Option<&AdapterRow>) -> Vec<AdapterRow> {
        let stands_by = |row: &AdapterRow| row.name == name && beside_shadow(row) == AdapterState::Standby;
        let older = |row: &AdapterRow| than.is_none_or(|than| order(row, than).is_le());
        let mut found: Vec<AdapterRow> = self.rows().into_iter().filter(|row| stands_by(row) && older(row)).collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.served_ms));
        found
    }

    /// Of the versions that came by themselves, or served before, the newest: for a name whose file was taken away.
    pub(super) fn elect(&self, name: &str, why: &str, by: &str) -> Result<()> {
        let may = |row: &AdapterRow| {
            row.name == name
                && match beside_shadow(row) {
                    AdapterState::Standby => true,
                    AdapterState::Conformed => row.origin.dropped_in,
                    _ => false,
                }
        };
        match self.rows().into_iter().filter(may).max_by(order) {
            Some(row) if self.catalog.active(name).is_none() => self.serve(&row, why, by),
            _ => Ok(()),
        }
    }

    pub(super) fn take_out(&self, row: &AdapterRow, why: &str, by: &str, even_active: bool) -> Result<()> {
        let cutover = self.cutover();
        // Somebody may have put it into service since it was looked up, or brings it again.
        let now = self.row(&row.digest).unwrap_or_else(|| row.clone());
        if !even_active && now.is_active() {
            return Err(LifecycleError::Serves(label(row)));
        }
        if now.state < AdapterState::Conformed {
            return must_be_kept(&now);
        }
        self.enter(row, AdapterState::Retired, why, by)?;
        if self.catalog.active(&row.name).is_some_and(|active| active.digest == row.digest) {
            self.catalog.take_out_of_service(&row.name);
        }
        drop(cutover);
        self.catalog.forget(&row.digest);
        Ok(self.store.remove(&row.digest)?)
    }

    /// Everything but the entries is done before them, so that the step itself takes no time.
    pub(super) fn serve(&self, row: &AdapterRow, why: &str, by: &str) -> Result<()> {
        let (cutover, adapter) = self.ready_for_cutover(|| self.prepare(row))?;
        if self.still_kept(row)?.is_active() {
            return Ok(());
        }
        let before = self.catalog.active(&row.name).filter(|before| before.digest != row.digest);
        let before = before.and_then(|before| Some((self.row(&before.digest)?, before)));
        let mut facts = Vec::new();
        if let Some((old, _)) = &before {
            facts.push(entered(old, AdapterState::Draining, &format!("{} takes its place", row.version), by));
        }
        facts.push(entered(row, AdapterState::Active, why, by));
        self.tell(&facts)?;
        self.catalog.put_in_service(&adapter);
        self.profiles.touch();
        drop(cutover);
        if let Some((old, code)) = before {
            drain(&code);
            let _cutover = self.cutover();
            let still = self.row(&old.digest).is_some_and(|row| row.state == AdapterState::Draining);
            if still {
                self.enter(&old, AdapterState::Standby, &format!("{} serves", row.version), by)?;
            }
        }
        // Only now: what the old one could not read is kept by now, and can be read again.
        self.note_served(&row.name);
        Ok(())
    }

    pub(super) fn cutover(&self) -> MutexGuard<'_, ()> {
        self.cutover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is now: somebody may have taken it out since it was looked up.
    fn still_kept(&self, row: &AdapterRow) -> Result<AdapterRow> {
        let now = self.row(&row.digest).unwrap_or_else(|| row.clone());
        must_be_kept(&now)?;
        Ok(now)
    }

    /// Makes ready without holding anybody up, and once more if somebody has decided about profiles meanwhile.
    fn ready_for_cutover<T>(&self, prepare: impl Fn() -> Result<T>) -> Result<(MutexGuard<'_, ()>, T)> {
        loop {
            let seen = self.profiles.generation();
            let ready = prepare()?;
            let cutover = self.cutover();
            if seen == self.profiles.generation() {
                return Ok((cutover, ready));
            }
        }
    }

    /// A version hears live frames from now on, instead of any other of its name; gives its code.
    pub fn begin_shadow(&self, row: &AdapterRow, permille: u32, order: &Order<'_>) -> Result<Arc<Adapter>> {
        let adapter = self.prepare(row)?;
        let share = format!("hears {}.{} % of the live frames", permille / 10, permille % 10);
        let cutover = self.cutover();
        let now = self.still_kept(row)?;
        let share = match beside_shadow(&now) {
            AdapterState::Quarantined => format!("{QUARANTINED}{share}"),
            _ => share,
        };
        let why = if order.reason.is_empty() { share } else { format!("{share}: {}", order.reason) };
        if now.is_active() {
            return Err(LifecycleError::Serves(label(&now)));
        }
        // Looked for under the lock: of two that begin at once, the later one ends the earlier.
        let mut facts = self.endings(&row.name, Some(&row.digest), order);
        let ends_another = !facts.is_empty();
        facts.push(entered(&now, AdapterState::Shadow, &why, order.by));
        self.tell(&facts)?;
        drop(cutover);
        if ends_another {
            self.after_shadow(&row.name);
        }
        Ok(adapter)
    }

    /// Whatever heard live frames beside what serves this name is again what it was before; gives it.
    pub fn end_shadow(&self, name: &str, order: &Order<'_>) -> Result<Option<AdapterRow>> {
        let cutover = self.cutover();
        let endings = self.endings(name, None, order);
        self.tell(&endings)?;
        drop(cutover);
        self.after_shadow(name);
        Ok(endings.first().and_then(|ended| self.row(&ended.digest)))
    }

    /// Steps that end the shadows of a name, but for this one.
    fn endings(&self, name: &str, but: Option<&Digest>, order: &Order<'_>) -> Vec<AdapterFact> {
        let rows = self.rows();
        let hears = |row: &&AdapterRow| row.name == name && row.state == AdapterState::Shadow;
        let others = rows.iter().filter(hears).filter(|row| but != Some(&row.digest));
        others.map(|row| entered(row, beside_shadow(row), order.reason, order.by)).collect()
    }

    /// A shadow has ended, whatever becomes of a name that nobody serves.
    fn after_shadow(&self, name: &str) {
        if let Err(error) = self.fill_gaps() {
            tracing::warn!(adapter = name, %error, "nobody takes over");
        }
    }

    /// Code that can be asked, whether or not it may serve.
    pub fn at_hand(&self, digest: &Digest) -> Option<Arc<Adapter>> {
        let row = self.row(digest)?;
        self.catalog.at_hand(digest).or_else(|| self.prepare(&row).ok())
    }

    /// Code that is fit to serve here.
    pub fn ready(&self, row: &AdapterRow) -> Result<Arc<Adapter>> {
        self.prepare(row)
    }

    /// Its code, at hand, and fit to serve here.
    fn prepare(&self, row: &AdapterRow) -> Result<Arc<Adapter>> {
        must_be_kept(row)?;
        let bytes = self.vouched(row)?;
        let adapter = if let Some(adapter) = self.catalog.at_hand(&row.digest) {
            adapter
        } else {
            let adapter = self.catalog.load(&bytes)?;
            // Whom it has understood before the station was started anew counts.
            if self.views.has_read(&row.digest).is_ok_and(|has_read| has_read) {
                adapter.met.fetch_add(limits::STRIKE_STRANGERS_MIN as u64, Ordering::Relaxed);
            }
            adapter
        };
        self.takes_its_profiles(&adapter)?;
        Ok(adapter)
    }

    /// Its bytes, if they are what came in and are still trusted.
    fn vouched(&self, row: &AdapterRow) -> Result<Vec<u8>> {
        self.vouched_by(row, &self.trust()?)
    }

    fn vouched_by(&self, row: &AdapterRow, trust: &Trust) -> Result<Vec<u8>> {
        let bytes = self.store.get(&row.digest)?;
        self.judge_by(trust, &bytes, &Catalog::inspect_kept(&bytes)?, Judged::Again)?;
        Ok(bytes)
    }
}

/// Why a version is in quarantine that nobody trusts any more; its code has done nothing.
const DISTRUSTED: &str = "not trusted: ";
/// Why one is whose file could not be read when the station started.
const UNREADABLE: &str = "cannot be read: ";
const READABLE: &str = "can be read again";
/// How it is told of a shadow that it was in quarantine before.
const QUARANTINED: &str = "in quarantine, ";

fn takes_over_from(row: &AdapterRow) -> String {
    format!("takes over from {}", row.version)
}

/// Taken out of service through no fault of its code.
pub(super) fn is_blameless(row: &AdapterRow) -> bool {
    row.state == AdapterState::Quarantined && row.why.starts_with(DISTRUSTED) || is_unreadable(row)
}

pub(super) fn is_unreadable(row: &AdapterRow) -> bool {
    row.state == AdapterState::Quarantined && row.why.starts_with(UNREADABLE)
}

fn must_be_kept(row: &AdapterRow) -> Result<()> {
    if row.state.is_kept() { Ok(()) } else { Err(LifecycleError::NotInstalled(label(row), row.state.name())) }
}

/// Where it stands, but for the frames that it may hear as a shadow: those change nothing about who takes over from whom.
pub(super) fn beside_shadow(row: &AdapterRow) -> AdapterState {
    match row.state {
        AdapterState::Shadow if row.why.starts_with(QUARANTINED) => AdapterState::Quarantined,
        AdapterState::Shadow if row.served_ms.is_some() => AdapterState::Standby,
        AdapterState::Shadow => AdapterState::Conformed,
        state => state,
    }
}

/// Waits for the last call under way. It is a matter of milliseconds; one that takes longer finishes by itself.
fn drain(code: &Arc<Adapter>) {
    // The catalog keeps one, and here is one.
    const HELD: usize = 2;
    let step = Duration::from_millis(1);
    for _ in 0..limits::ADAPTER_DRAIN_MAX.as_millis() {
        if Arc::strong_count(code) <= HELD {
            return;
        }
        std::thread::sleep(step);
    }
}
