//! The profile: everything that the public material leaves open is an option here, with the choice made for it.

use polymeter_sdk::{ReportCause, profile};
use serde::Deserialize;
use std::net::SocketAddrV4;

/// Options of one deployment. Unknown names and words are errors that list the known ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub cipher: CipherRule,
    /// Slot of the key that a meter already has when the station first meets it.
    pub key_slot: String,
    pub default_key: DefaultKey,
    pub padding: Padding,
    pub data_length: DataLength,
    /// `encryption` of the header when the body is encrypted; 0 otherwise.
    pub encryption_field: u16,
    pub crc_order: CrcOrder,
    pub has_more: HasMore,
    pub answer_match: AnswerMatch,
    pub answer_within_s: u16,
    /// Code in the acknowledgement to a device that is refused or shall come back later.
    pub refusal_code: i16,
    pub scheduled: Scheduled,
    pub billing: Billing,
    pub signal: Signal,
    pub batteries: Batteries,
    pub remote_open: RemoteOpen,
    pub commissioning: Commissioning,
    pub frozen_reads: FrozenReads,
    pub recharge: RechargeBy,
    pub report_time: ReportTime,
    pub report_frames: ReportFrames,
    pub collection_minutes: u16,
    pub resend_count: u8,
    /// The station's addresses as every 7011 has to carry them: main, backup 1, backup 2.
    pub endpoints: Vec<SocketAddrV4>,
    pub scales: Scales,
    pub corrector: CorrectorScales,
}

/// Powers of ten of the plain 7xxx group, where the sheet of the family gives none.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scales {
    /// m³/h
    pub standard_flow: i8,
    /// °C
    pub temperature: i8,
    /// Pa
    pub pressure: i8,
    /// m³
    pub tariff_volume: i8,
    /// yuan per m³
    pub price: i8,
    /// yuan
    pub purchased: i8,
}

/// Powers of ten of the corrector group. What has none is reported as the raw number, unit `other`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrectorScales {
    /// Digits behind the point in a `decimals` field.
    pub decimals: u8,
    /// Pa
    pub pressure: Option<i8>,
    /// °C
    pub temperature: Option<i8>,
    /// m³/h
    pub flow: Option<i8>,
    pub factor: Option<i8>,
    /// V
    pub battery: Option<i8>,
    /// dBm, dB
    pub signal: Option<i8>,
}

/// Which meters encrypt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CipherRule {
    /// Those with `QW` as characters 5 and 6 of the meter number: 新圣.
    ById,
    Plain,
    Aes128,
}

/// When the key derived from the meter number is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultKey {
    /// After the current and the previous key failed.
    Always,
    /// Only while the meter has never used another.
    UntilSet,
    Never,
}

/// How plaintext is filled up to whole blocks: written so, and looked for in answers. Reports are cut at their size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    Pkcs7,
    Zero,
    /// Written as PKCS#7, never looked at.
    Ignored,
}

/// What `dataLength` of an encrypted downlink counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataLength {
    Ciphertext,
    Plaintext,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrcOrder {
    /// Low byte first towards the meter, high byte first from it.
    ByDirection,
    /// The other order too; a device that uses it is recorded once, as an event.
    Lenient,
}

/// Whether `hasMore` of an uplink is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HasMore {
    Trust,
    Ignore,
}

/// What makes an uplink the answer to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerMatch {
    /// The same code and frameId.
    FrameId,
    /// The same code as the command sent last, for devices that do not repeat the frameId.
    Command,
}

/// The cause of a report that comes by the meter's own schedule, which it does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduled {
    Interval,
    Hourly,
    Daily,
    Dekad,
    Monthly,
}

impl Scheduled {
    pub const fn cause(self) -> ReportCause {
        match self {
            Self::Interval => ReportCause::Interval,
            Self::Hourly => ReportCause::Hourly,
            Self::Daily => ReportCause::Daily,
            Self::Dekad => ReportCause::Dekad,
            Self::Monthly => ReportCause::Monthly,
        }
    }
}

/// Whether the account fields of a report mean anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Billing {
    /// Unless balance, settled reading and settlement time are all zero.
    Auto,
    Meter,
    Centre,
}

/// Scale of RSRP and SNR, which the source comments and prints differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Tenths when RSRP is -200 or less, whole otherwise.
    Auto,
    Tenths,
    Whole,
}

/// What the meter runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batteries {
    /// Dry cells (external), and a lithium cell (internal) in reserve.
    Both,
    /// The lithium cell alone; the field of the dry cells means nothing.
    InternalOnly,
}

/// What `permit-open` does. 7024 value 1 opens the valve without anybody at the meter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteOpen {
    /// Unsupported: an order that promises not to move the valve must not move it.
    Refuse,
    /// Send 7024 value 1; the utility sees to it that somebody checks the installation first.
    Open,
}

/// Whether totals (7015) and the meter's identity and base data (701A) may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Commissioning {
    Refuse,
    Allow,
}

/// What `read-history` does: the request bodies of 7051, 7052 and 7053 are not public.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenReads {
    Unsupported,
    /// Ask without a range and keep what comes as bytes.
    EmptyRequest,
}

/// Which message books a purchase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub enum RechargeBy {
    /// Meters: the total of all purchases.
    #[serde(rename = "7023")]
    Meter,
    /// Flow correctors: money or volume.
    #[serde(rename = "1013")]
    Corrector,
}

/// Encoding of the time of day in 7012.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportTime {
    Binary,
    Bcd,
}

/// Which kind of report 7012 asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportFrames {
    Single,
    Packed,
}

/// Longest slot name; it has to fit into the device's memory three times.
pub const SLOT_BYTES_MAX: usize = 32;

impl Options {
    pub fn parse(profile: &str) -> Result<Self, String> {
        let options: Self = profile::parse(profile)?;
        options.check()?;
        Ok(options)
    }

    /// Whether frames of this meter are encrypted.
    pub fn is_encrypted(&self, meter_id: &[u8; 20]) -> bool {
        match self.cipher {
            CipherRule::ById => meter_id[4..6] == *b"QW",
            CipherRule::Plain => false,
            CipherRule::Aes128 => true,
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.key_slot.is_empty() || self.key_slot.len() > SLOT_BYTES_MAX {
            return Err(format!("profile: key_slot has 1 to {SLOT_BYTES_MAX} characters"));
        }
        if self.endpoints.len() > 3 {
            return Err(format!("profile: endpoints: a meter keeps at most 3, not {}", self.endpoints.len()));
        }
        if self.answer_within_s == 0 || self.answer_within_s > 600 {
            return Err(format!("profile: answer_within_s: {} is not within 1..600", self.answer_within_s));
        }
        if self.refusal_code == 0 {
            return Err("profile: refusal_code: 0 means success; choose another".into());
        }
        if self.corrector.decimals > 9 {
            return Err(format!("profile: corrector.decimals: {} is not within 0..9", self.corrector.decimals));
        }
        let (s, c) = (&self.scales, &self.corrector);
        let exponents = [
            ("scales.standard_flow", Some(s.standard_flow)),
            ("scales.temperature", Some(s.temperature)),
            ("scales.pressure", Some(s.pressure)),
            ("scales.tariff_volume", Some(s.tariff_volume)),
            ("scales.price", Some(s.price)),
            ("scales.purchased", Some(s.purchased)),
            ("corrector.pressure", c.pressure),
            ("corrector.temperature", c.temperature),
            ("corrector.flow", c.flow),
            ("corrector.factor", c.factor),
            ("corrector.battery", c.battery),
            ("corrector.signal", c.signal),
        ];
        match exponents.into_iter().find(|(_, e)| e.is_some_and(|e| !(-9..=9).contains(&e))) {
            Some((name, _)) => Err(format!("profile: {name}: a power of ten within -9..9")),
            None => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cipher: CipherRule::ById,
            key_slot: "1".into(),
            default_key: DefaultKey::Always,
            padding: Padding::Pkcs7,
            data_length: DataLength::Ciphertext,
            encryption_field: 1,
            crc_order: CrcOrder::ByDirection,
            has_more: HasMore::Trust,
            answer_match: AnswerMatch::FrameId,
            answer_within_s: 15,
            refusal_code: 1,
            scheduled: Scheduled::Interval,
            billing: Billing::Auto,
            signal: Signal::Auto,
            batteries: Batteries::Both,
            remote_open: RemoteOpen::Refuse,
            commissioning: Commissioning::Refuse,
            frozen_reads: FrozenReads::Unsupported,
            recharge: RechargeBy::Meter,
            report_time: ReportTime::Binary,
            report_frames: ReportFrames::Single,
            collection_minutes: 60,
            resend_count: 3,
            endpoints: Vec::new(),
            scales: Scales::default(),
            corrector: CorrectorScales::default(),
        }
    }
}

impl Default for Scales {
    fn default() -> Self {
        Self { standard_flow: -1, temperature: -2, pressure: 2, tariff_volume: -1, price: -2, purchased: -2 }
    }
}

impl Default for CorrectorScales {
    fn default() -> Self {
        Self { decimals: 4, pressure: None, temperature: None, flow: None, factor: None, battery: None, signal: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_needs_no_words() {
        let options = Options::parse("").expect("the default is valid");
        assert_eq!(options.remote_open, RemoteOpen::Refuse);
        assert!(options.is_encrypted(b"0000QW12345678901234"));
        assert!(!options.is_encrypted(b"00000000123456789012"));
    }

    #[test]
    fn mistakes_are_named_with_the_remedy() {
        for (profile, wanted) in [
            (r#"{"chipher": "plain"}"#, "unknown field `chipher`"),
            (r#"{"cipher": "aes"}"#, "expected one of `by-id`, `plain`, `aes128`"),
            (r#"{"remote_open": "yes"}"#, "expected `refuse` or `open`"),
            (r#"{"refusal_code": 0}"#, "0 means success"),
            (r#"{"endpoints": ["meters.example:5683"]}"#, "invalid IPv4 socket address"),
            (r#"{"answer_within_s": 0}"#, "1..600"),
            (r#"{"key_slot": ""}"#, "1 to 32"),
            (r#"{"corrector": {"decimals": 10}}"#, "0..9"),
            (r#"{"scales": {"price": 12}}"#, "scales.price"),
        ] {
            let error = Options::parse(profile).expect_err(profile);
            assert!(error.contains(wanted), "{profile}: {error}");
        }
    }
}
