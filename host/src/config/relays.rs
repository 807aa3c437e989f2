//! What a listener's carriers carry: which adapter reads which protocol, for devices of which the registry does not say it.

use super::{ConfigError, Place, Speaks, speaks};
use crate::limits::RELAY_TIMEOUT_S;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A protocol that carriers carry, and who reads it.
#[derive(Clone, Debug)]
pub struct Carries {
    /// A code of `wit/codes.md`.
    pub protocol: String,
    pub speaks: Speaks,
    /// Longest that the carrier waits for an answer.
    pub timeout_s: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCarries {
    protocol: String,
    adapter: String,
    profile: Option<String>,
    timeout_s: Option<u8>,
}

pub(super) fn resolve(
    at: &Place<'_>,
    raw: &[Spanned<RawCarries>],
    profiles: &BTreeMap<String, String>,
) -> Result<Vec<Carries>, ConfigError> {
    let resolved = raw.iter().map(|spanned| {
        let RawCarries { protocol, adapter, profile, timeout_s } = spanned.get_ref();
        if protocol.is_empty() {
            return Err(at.refuse(spanned, "name the protocol that is carried, a code such as cjt188-le or mbus"));
        }
        speaks::check_name(at, spanned, adapter)?;
        if *timeout_s == Some(0) {
            return Err(at.refuse(spanned, "timeout_s is between 1 and 255"));
        }
        let named = profile.as_ref().map(|profile| {
            let none = || at.refuse(spanned, &format!("no [profile.{profile}] in this file; add it or name another"));
            profiles.get(profile).cloned().ok_or_else(none)
        });
        let options = named.transpose()?.unwrap_or_else(|| "{}".into());
        let speaks = Speaks { adapter: adapter.clone(), profile: profile.clone().unwrap_or_default(), options };
        Ok(Carries { protocol: protocol.clone(), speaks, timeout_s: timeout_s.unwrap_or(RELAY_TIMEOUT_S) })
    });
    resolved.collect()
}
