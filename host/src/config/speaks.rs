//! Which adapters a listener may speak: their names, alone or each with a profile.

use super::{ConfigError, Place, Speaks};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::Spanned;

/// Longest name that an adapter's manifest may have.
const NAME_BYTES_MAX: usize = 64;

/// A name, or `{ adapter = …, profile = … }`.
pub(super) struct RawSpeaks {
    adapter: String,
    profile: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithProfile {
    adapter: String,
    profile: String,
}

/// By hand: an untagged enum would accept keys that nobody knows, and say of a misspelt one only that nothing matched.
impl<'de> Deserialize<'de> for RawSpeaks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = RawSpeaks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an adapter, or { adapter = \"…\", profile = \"…\" }")
            }

            fn visit_str<E>(self, adapter: &str) -> Result<RawSpeaks, E> {
                Ok(RawSpeaks { adapter: adapter.to_owned(), profile: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSpeaks, A::Error> {
                let WithProfile { adapter, profile } = WithProfile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawSpeaks { adapter, profile: Some(profile) })
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

pub(super) fn resolve(
    at: &Place<'_>,
    raw: &Spanned<Vec<Spanned<RawSpeaks>>>,
    profiles: &BTreeMap<String, String>,
) -> Result<Vec<Speaks>, ConfigError> {
    if raw.get_ref().is_empty() {
        return Err(at.refuse(raw, "name at least one adapter that this listener may speak"));
    }
    let mut names = BTreeSet::new();
    let resolved = raw.get_ref().iter().map(|spanned| {
        let RawSpeaks { adapter, profile } = spanned.get_ref();
        check_name(at, spanned, adapter)?;
        if !names.insert(adapter) {
            // With another profile it would never be asked either: the first that has this name is taken.
            return Err(at.refuse(spanned, &format!("`{adapter}` is named twice on this listener; take one out")));
        }
        let options = match profile {
            None => "{}".into(),
            Some(profile) => profiles.get(profile).cloned().ok_or_else(|| {
                at.refuse(spanned, &format!("no [profile.{profile}] in this file; add it or name another"))
            })?,
        };
        Ok(Speaks { adapter: adapter.clone(), profile: profile.clone().unwrap_or_default(), options })
    });
    resolved.collect()
}

/// Refuses what no adapter can be called, so that a listener does not wait for one for ever.
pub(super) fn check_name<T>(at: &Place<'_>, place: &Spanned<T>, name: &str) -> Result<(), ConfigError> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if letters && (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    let what = format!(
        "`{}` is no adapter's name; one has 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-` or `_`",
        name.escape_debug()
    );
    Err(at.refuse(place, &what))
}
