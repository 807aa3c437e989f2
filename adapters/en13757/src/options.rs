//! The profile: what the standard leaves open, with the choice made for it.

use polymeter_sdk::{ReportCause, profile};
use serde::Deserialize;

/// Options of one deployment. Unknown names and words are errors that list the known ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub link: Link,
    pub radio_crc: RadioCrc,
    pub decryption: Decryption,
    /// Slot of a meter's key.
    pub key_slot: String,
    pub addressing: Addressing,
    /// Where a meter answers whose bus address was not heard yet; 254 for the only meter on a line.
    pub primary_address: Option<u8>,
    pub damaged_tail: DamagedTail,
    pub reserved_modes: ReservedModes,
    pub plain_volume: PlainVolume,
    pub scheduled: Scheduled,
    pub clock: Clock,
    pub answer_within_s: u16,
}

/// What comes over this connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Told apart by start bytes and check sums.
    Auto,
    Wired,
    Wireless,
}

/// Whether the receiver hands on the check sums of radio telegrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RadioCrc {
    /// Frame format A or B, as on the air.
    Present,
    /// The receiver has checked and removed them; the length byte counts what is left.
    Stripped,
}

/// Who decrypts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decryption {
    /// This adapter, with the station's keys.
    Here,
    /// A receiver or concentrator that has the keys and leaves the configuration word as it was; here, what it could not.
    Before,
}

/// How a wired meter is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// Selected by identification, manufacturer, version and medium.
    Secondary,
    Primary,
}

/// What becomes of records before one that breaks the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamagedTail {
    /// The telegram is a fault.
    Refuse,
    /// They are reported, and the rest is kept as bytes.
    Keep,
}

/// Old meters have words of their own where newer ones say how they encrypt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReservedModes {
    /// A security mode that the standard does not define means over the wire: not encrypted.
    Plain,
    Refuse,
    /// Over the wire, where a long header says so, any mode but 5 and 7 means: not encrypted.
    Ignore,
}

/// Which register a volume is that does not say its conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainVolume {
    /// Gas meters: working; gas converters: standard unless they also send standard volumes expressly; others: neither.
    ByMedium,
    Working,
    Standard,
}

/// The cause of a report that nobody asked for; meters do not tell their rhythm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduled {
    Interval,
    Hourly,
    Daily,
    Monthly,
}

impl Scheduled {
    pub const fn cause(self) -> ReportCause {
        match self {
            Self::Interval => ReportCause::Interval,
            Self::Hourly => ReportCause::Hourly,
            Self::Daily => ReportCause::Daily,
            Self::Monthly => ReportCause::Monthly,
        }
    }
}

/// The form in which the clock is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Type F, 4 bytes, to the minute.
    F,
    /// Type I, 6 bytes, to the second.
    I,
}

impl Options {
    pub fn parse(profile: &str) -> Result<Self, String> {
        let options: Self = profile::parse(profile)?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), String> {
        if self.key_slot.is_empty() || self.key_slot.len() > 32 {
            return Err("profile: key_slot has 1 to 32 characters".into());
        }
        if self.primary_address.is_some_and(|a| a > 250 && a != 254) {
            return Err("profile: primary_address: 0 to 250, or 254 for the only meter on a line".into());
        }
        if self.answer_within_s == 0 || self.answer_within_s > 600 {
            return Err(format!("profile: answer_within_s: {} is not within 1..600", self.answer_within_s));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            link: Link::Auto,
            radio_crc: RadioCrc::Present,
            decryption: Decryption::Here,
            key_slot: "1".into(),
            addressing: Addressing::Secondary,
            primary_address: None,
            damaged_tail: DamagedTail::Refuse,
            reserved_modes: ReservedModes::Plain,
            plain_volume: PlainVolume::ByMedium,
            scheduled: Scheduled::Interval,
            clock: Clock::F,
            answer_within_s: 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_needs_no_words() {
        let options = Options::parse("").expect("the default is valid");
        assert_eq!((options.link, options.damaged_tail), (Link::Auto, DamagedTail::Refuse));
    }

    #[test]
    fn mistakes_are_named_with_the_remedy() {
        for (profile, wanted) in [
            (r#"{"lnik": "wired"}"#, "unknown field `lnik`"),
            (r#"{"link": "radio"}"#, "expected one of `auto`, `wired`, `wireless`"),
            (r#"{"key_slot": ""}"#, "1 to 32"),
            (r#"{"primary_address": 253}"#, "0 to 250"),
            (r#"{"answer_within_s": 601}"#, "1..600"),
        ] {
            let error = Options::parse(profile).expect_err(profile);
            assert!(error.contains(wanted), "{profile}: {error}");
        }
    }
}
