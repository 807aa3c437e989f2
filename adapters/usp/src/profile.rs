//! The adapter's options. Their JSON schema is in `adapter.toml`.

use polymeter_sdk::profile;
use serde::Deserialize;

/// How a fleet speaks the protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Plain registrations, reports and heartbeats are believed even of a terminal that has secured one before.
    pub plain_reports: bool,
    /// How report time, address and stagger give the moment of a report. No bytes depend on it; the station asks for it.
    pub stagger: Stagger,
    /// Cipher for a terminal that offers both and has not used either yet.
    pub cipher: Preferred,
}

/// See "Stagger" in `wit/codes.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stagger {
    #[default]
    Multiply,
    Add,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preferred {
    #[default]
    Aes128,
    Sm4,
}

impl Profile {
    pub fn parse(text: &str) -> Result<Self, String> {
        profile::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_mistakes() {
        let profile = Profile::parse(r#"{"plain_reports": true, "stagger": "add"}"#).expect("valid");
        assert!(profile.plain_reports && profile.stagger == Stagger::Add);
        assert!(!Profile::parse("").expect("all defaults").plain_reports);
        for (text, word) in [
            (r#"{"plain": true}"#, "unknown field `plain`, expected one of `plain_reports`, `stagger`, `cipher`"),
            (r#"{"stagger": "divide"}"#, "unknown variant `divide`, expected `multiply` or `add`"),
            ("[", "profile: "),
        ] {
            let error = Profile::parse(text).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
    }
}
