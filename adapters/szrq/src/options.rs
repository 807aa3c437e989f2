//! The profile: everything that the public material leaves open is an option here, with the choice made for it.

use polymeter_sdk::profile;
use serde::Deserialize;

/// Options of one deployment. Unknown names and words are errors that list the known ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub answer_within_s: u16,
    /// The meter answers a valve order after its motor has stopped.
    pub valve_within_s: u16,
    /// Result in the acknowledgement to a device that is refused or shall come back later; its records stay unread.
    pub refusal_code: i8,
    pub settled_scale: SettledScale,
    pub marker_balance: MarkerBalance,
    pub report_frames: ReportFrames,
    /// Minutes between the samples of an hourly packed report.
    pub collection_minutes: u8,
    pub long_periods: LongPeriods,
    pub commissioning: Commissioning,
    pub balance_sync: BalanceSyncRule,
    pub scales: Scales,
}

/// Powers of ten of what only ever was seen absent, or was chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scales {
    /// °C
    pub temperature: i8,
    /// Pa
    pub pressure: i8,
    /// yuan
    pub balance: i8,
}

/// Scale of the settled volume in reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettledScale {
    /// 0.01 m³ whatever the class: the firmware forgets to scale it.
    Hundredths,
    /// As the other volumes.
    ByClass,
}

/// A balance of exactly -100, -200 or -300 yuan, which is also how the meter writes that it has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkerBalance {
    /// Reported with quality `invalid`.
    Doubt,
    Value,
    Absent,
}

/// Which kind of report a schedule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportFrames {
    Single,
    Packed,
}

/// Weekly and ten-day reports, which the known firmware turns into hourly ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongPeriods {
    Refuse,
    Allow,
}

/// Whether pulse constant, base reading and communication number may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Commissioning {
    Refuse,
    Allow,
}

/// What goes into the fields of a balance sync that the contract's command does not have: remaining volume and tier start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceSyncRule {
    Refuse,
    /// The marker for "no such item".
    Absent,
    Zero,
}

impl Options {
    pub fn parse(profile: &str) -> Result<Self, String> {
        let options: Self = profile::parse(profile)?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), String> {
        for (name, value) in [("answer_within_s", self.answer_within_s), ("valve_within_s", self.valve_within_s)] {
            if value == 0 || value > 600 {
                return Err(format!("profile: {name}: {value} is not within 1..600"));
            }
        }
        if self.refusal_code >= 0 {
            return Err(format!("profile: refusal_code: {} is not negative, as refusals are", self.refusal_code));
        }
        if self.collection_minutes == 0 {
            return Err("profile: collection_minutes: 0 is not within 1..255".into());
        }
        let s = &self.scales;
        let scales =
            [("scales.temperature", s.temperature), ("scales.pressure", s.pressure), ("scales.balance", s.balance)];
        match scales.into_iter().find(|(_, e)| !(-9..=9).contains(e)) {
            Some((name, _)) => Err(format!("profile: {name}: a power of ten within -9..9")),
            None => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            answer_within_s: 15,
            valve_within_s: 60,
            refusal_code: -12,
            settled_scale: SettledScale::Hundredths,
            marker_balance: MarkerBalance::Doubt,
            report_frames: ReportFrames::Single,
            collection_minutes: 60,
            long_periods: LongPeriods::Refuse,
            commissioning: Commissioning::Refuse,
            balance_sync: BalanceSyncRule::Refuse,
            scales: Scales::default(),
        }
    }
}

impl Default for Scales {
    fn default() -> Self {
        Self { temperature: -1, pressure: 2, balance: -2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_the_remedy() {
        assert!(Options::parse("").is_ok());
        for (profile, wanted) in [
            (r#"{"long_period": "allow"}"#, "unknown field `long_period`"),
            (r#"{"balance_sync": "yes"}"#, "expected one of `refuse`, `absent`, `zero`"),
            (r#"{"refusal_code": 1}"#, "not negative"),
            (r#"{"valve_within_s": 601}"#, "1..600"),
            (r#"{"collection_minutes": 0}"#, "1..255"),
            (r#"{"scales": {"balance": -10}}"#, "scales.balance"),
        ] {
            let error = Options::parse(profile).expect_err(profile);
            assert!(error.contains(wanted), "{profile}: {error}");
        }
    }
}
