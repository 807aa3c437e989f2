//! What comes in: staged → verified → inspected → compiled → conformed, each an entry, and the first refusal ends it.

use super::{Lifecycle, LifecycleError, Result, entered, label, order};
use crate::adapter::{Catalog, LoadError, Manifest};
use crate::journal::{AdapterFact, AdapterOrigin, AdapterState, AdapterStep};
use crate::limits;
use crate::model::{Digest, Seq};
use crate::views::AdapterRow;
use std::sync::PoisonError;

const NAME_BYTES_MAX: usize = 100;

/// A file, and who brings it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The name under which it comes.
    pub file: &'a str,
    pub bytes: &'a [u8],
    pub by: &'a str,
    pub dropped_in: bool,
    /// Why an older version than one that has served is wanted; `None`: it is not.
    pub downgrade: Option<&'a str>,
}

impl Lifecycle {
    /// Checks a component and keeps it, ready to serve. Blocks for as long as compiling takes. One that is installed already
    /// is judged again, by the trust file as it is now, and stays as it is; a file that the store has lost is put back.
    pub fn install(&self, delivery: &Delivery<'_>) -> Result<AdapterRow> {
        if !delivery.dropped_in {
            check_file_name(delivery.file)?;
        }
        if delivery.downgrade.is_some_and(|reason| reason.trim().is_empty()) {
            return Err(LifecycleError::NoReason);
        }
        let row = self.describe(delivery);
        let _installing = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping() {
            return Err(LifecycleError::Stopping);
        }
        if let Some(known) = self.row(&row.digest).filter(|known| known.state.is_kept()) {
            self.judge(delivery.bytes, &Catalog::inspect_kept(delivery.bytes)?)?;
            // Where its file was lost, it is there again; what is in service was checked when it came.
            self.store.put(&known.digest, delivery.bytes)?;
            return match known.state {
                AdapterState::Quarantined => Err(self.quarantined(&known)),
                _ => Ok(known),
            };
        }
        let brought = AdapterStep::Brought(row.origin.clone());
        self.tell(&[AdapterFact {
            name: row.name.clone(),
            version: row.version.clone(),
            digest: row.digest,
            step: brought,
            by: delivery.by.to_owned(),
        }])?;
        match self.admit(&row, delivery) {
            Ok(()) => self.row(&row.digest).ok_or_else(|| LifecycleError::Unknown(label(&row))),
            Err(error) => {
                self.catalog.forget(&row.digest);
                // What is left of a rejected file in the store is overwritten or ignored.
                let _ = self.store.remove(&row.digest);
                // No verdict: the next start says that it was being checked.
                let error = if self.is_stopping() { LifecycleError::Stopping } else { error };
                if error.rejects() {
                    self.enter(&row, AdapterState::Rejected, &error.to_string(), delivery.by)?;
                }
                Err(error)
            }
        }
    }

    /// What can be said against it without compiling it.
    pub(super) fn refusal(&self, delivery: &Delivery<'_>, row: &AdapterRow) -> Option<LifecycleError> {
        let judged = self.inspect(delivery.bytes).map_err(LifecycleError::from).and_then(|manifest| {
            self.judge(delivery.bytes, &manifest)?;
            self.refuse_downgrade(row, delivery.downgrade)?;
            self.refuse_realm(row, &manifest.realm)
        });
        judged.err()
    }

    /// What a file that comes in says of itself. One that has served here was taken before, whatever became of it since: it is
    /// asked no more than what is kept.
    fn inspect(&self, bytes: &[u8]) -> std::result::Result<Manifest, LoadError> {
        let has_served = self.row(&Digest::of(bytes)).is_some_and(|row| row.served_ms.is_some());
        if has_served { Catalog::inspect_kept(bytes) } else { Catalog::inspect(bytes) }
    }

    /// The way from staged to conformed.
    fn admit(&self, row: &AdapterRow, delivery: &Delivery<'_>) -> Result<()> {
        let installed = self.rows().iter().filter(|row| row.state.is_installed()).count();
        if installed >= limits::ADAPTERS_INSTALLED_MAX {
            return Err(LifecycleError::Full);
        }
        // 1. Whose is it? Reading what it says of itself runs none of it.
        let manifest = self.inspect(delivery.bytes)?;
        let vouched = self.judge(delivery.bytes, &manifest)?;
        let going_back = self.refuse_downgrade(row, delivery.downgrade)?;
        self.refuse_realm(row, &manifest.realm)?;
        self.store.put(&row.digest, delivery.bytes)?;
        let vouched = going_back.map_or(vouched.clone(), |why| format!("{vouched}; {why}"));
        let contract = format!("contract {}", manifest.contract);
        self.tell(&[
            entered(row, AdapterState::Verified, &vouched, delivery.by),
            entered(row, AdapterState::Inspected, &contract, delivery.by),
        ])?;
        // 2. From here on its code is compiled, and then run: the bytes that were verified.
        let adapter = self.catalog.load(delivery.bytes)?;
        self.enter(row, AdapterState::Compiled, "", delivery.by)?;
        let agree = match adapter.must_conform(delivery.bytes, &|| !self.is_stopping())? {
            0 => "it brings no vectors: nothing shows that it reads its frames right".to_owned(),
            vectors => format!("{vectors} vectors agree"),
        };
        let beside = self.catalog.all_active().into_iter().filter(|other| other.name() != row.name);
        let others: Vec<_> = beside.filter(|o| o.realm() == manifest.realm).map(|o| o.name().to_owned()).collect();
        let told = match &others[..] {
            [] => agree,
            others => {
                let (realm, others) = (&manifest.realm, others.join(", "));
                tracing::warn!(adapter = %label(row), realm, others, "others speak for devices of this realm, too");
                format!("{agree}; devices of realm `{realm}` are also those of {others}")
            }
        };
        self.enter(row, AdapterState::Conformed, &told, delivery.by)
    }

    /// Devices, their keys and their orders belong to the realm of what has served: a version of another one would find none
    /// of them, and make strangers of all that it reads.
    pub(super) fn refuse_realm(&self, row: &AdapterRow, realm: &str) -> Result<()> {
        let has_served = |other: &&AdapterRow| {
            other.name == row.name && other.digest != row.digest && other.state.is_kept() && other.served_ms.is_some()
        };
        for other in self.rows().iter().filter(has_served) {
            // One that cannot be read any more has no say.
            let Ok(theirs) = self
                .store
                .get(&other.digest)
                .map_err(LifecycleError::from)
                .and_then(|bytes| Ok(Catalog::inspect_kept(&bytes)?.realm))
            else {
                continue;
            };
            if theirs != realm {
                let (found, realm, before) = (label(row), realm.to_owned(), label(other));
                return Err(LifecycleError::Realm { found, realm, before, theirs });
            }
        }
        Ok(())
    }

    /// An older version than one that has served needs a word from a person; gives it as the journal keeps it.
    pub(super) fn refuse_downgrade(&self, row: &AdapterRow, reason: Option<&str>) -> Result<Option<String>> {
        let highest = self
            .rows()
            .into_iter()
            .filter(|other| other.name == row.name && other.served_ms.is_some())
            .max_by(order)
            .filter(|highest| order(highest, row).is_gt());
        match (highest, reason) {
            (None, _) => Ok(None),
            (Some(_), Some(reason)) if reason.trim().is_empty() => Err(LifecycleError::NoReason),
            (Some(highest), Some(reason)) => Ok(Some(format!("older than {}, on purpose: {reason}", label(&highest)))),
            (Some(highest), None) => Err(LifecycleError::Downgrade { found: label(row), highest: label(&highest) }),
        }
    }

    /// What it says of itself; named after its file where that cannot be read.
    fn describe(&self, delivery: &Delivery<'_>) -> AdapterRow {
        let manifest = self.inspect(delivery.bytes).ok();
        let stem = delivery.file.strip_suffix(".wasm").unwrap_or(delivery.file).to_owned();
        let (name, version) = manifest.as_ref().map_or((stem, String::new()), |m| (m.name.clone(), m.version.clone()));
        let now_ms = self.clock.now_ms();
        AdapterRow {
            digest: Digest::of(delivery.bytes),
            name,
            version,
            origin: AdapterOrigin {
                file: delivery.file.to_owned(),
                dropped_in: delivery.dropped_in,
                vendor: manifest.as_ref().map(|m| m.vendor.clone()).unwrap_or_default(),
                release: manifest.as_ref().map_or(0, |m| m.release),
                state_version: manifest.as_ref().map_or(1, |m| m.state_version),
                bytes: delivery.bytes.len() as u64,
            },
            state: AdapterState::Staged,
            why: String::new(),
            since_ms: now_ms,
            by: delivery.by.to_owned(),
            seq: Seq(0),
            first_ms: now_ms,
            served_ms: None,
        }
    }
}

fn check_file_name(file: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let good = file.len() <= NAME_BYTES_MAX
        && file.strip_suffix(".wasm").is_some_and(|stem| !stem.is_empty())
        && !file.starts_with('.')
        && file.bytes().all(plain);
    if good { Ok(()) } else { Err(LifecycleError::FileName(file.chars().take(NAME_BYTES_MAX).collect())) }
}

#[cfg(test)]
mod tests {
    use super::check_file_name;

    #[test]
    fn file_names_are_plain() {
        for good in ["usp.wasm", "qianwei_7xxx-1.2.wasm"] {
            assert!(check_file_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".wasm", ".a.wasm", "../a.wasm", "a/b.wasm", "a.so", "ä.wasm", &"a".repeat(200)] {
            assert!(check_file_name(bad).is_err(), "{bad}");
        }
    }
}
