//! An adapter's options: JSON into the author's own struct, with errors for the person who wrote the profile.

use serde::de::DeserializeOwned;

/// Reads a profile. The struct derives [`serde::Deserialize`] and should say
/// `#[serde(crate = "polymeter_sdk::serde", default, deny_unknown_fields)]`, so that an unknown option is an error that lists the
/// known ones. Empty text counts as `{}`.
pub fn parse<T: DeserializeOwned>(profile: &str) -> Result<T, String> {
    let profile = if profile.trim().is_empty() { "{}" } else { profile };
    serde_json::from_str(profile).map_err(|error| format!("profile: {error}"))
}
