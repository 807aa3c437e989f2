//! The profile: everything that the public material leaves open is an option here, with the choice made for it.

use crate::frame::LengthOrder;
use polymeter_sdk::profile;
use serde::Deserialize;

/// Options of one deployment. Unknown names and words are errors that list the known ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub len_order: LenOrder,
    pub answer_within_s: u16,
    pub temperature: Temperature,
    /// Power of ten of the pressure, Pa.
    pub pressure: i8,
    pub frozen: Frozen,
    pub remote_open: RemoteOpen,
    /// Bytes of 3C, which are not public.
    pub open_value: u8,
    pub close_value: u8,
    /// 0.01 yuan per m³, for the end of a communication, where no balance sync has told another.
    pub price: Option<u16>,
    pub unknown_account: UnknownAccount,
    pub commissioning: Commissioning,
    pub total_write: TotalWrite,
}

/// Byte order of the length in our frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LenOrder {
    /// The order that the meter used last; big-endian before it has spoken.
    Mirror,
    Be,
    Le,
}

impl LenOrder {
    pub const fn over(self, mirrored: LengthOrder) -> LengthOrder {
        match self {
            Self::Mirror => mirrored,
            Self::Be => LengthOrder::BigEndian,
            Self::Le => LengthOrder::LittleEndian,
        }
    }
}

/// What lies outside -40..80 °C is `invalid`, and tenths in either case: a number that cannot be hundredths is no believable tenths
/// either, so a meter that counts tenths has to be named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Temperature {
    Hundredths,
    Tenths,
}

/// Scale of the frozen totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frozen {
    /// 0.01 m³ like the other totals, unless only whole m³ can lead up to the present one.
    Hundredths,
    Whole,
}

/// What `permit-open` does. 3C opens the valve without anybody at the meter, and so does 36 during construction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteOpen {
    Refuse,
    Open,
    Construction,
}

/// What happens to the end of a communication, which writes price and yearly volume, while one of them is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownAccount {
    /// It is not sent; the meter hangs up by its own timeout.
    Withhold,
    Zero,
}

/// Whether the total may be written (35).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Commissioning {
    Refuse,
    Allow,
}

/// The two readings of 35.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TotalWrite {
    /// Hundredths in five bytes, as in the report.
    U40,
    /// Whole m³ in four bytes, hundredths in one.
    U32Centi,
}

impl Options {
    pub fn parse(profile: &str) -> Result<Self, String> {
        let options: Self = profile::parse(profile)?;
        if options.answer_within_s == 0 || options.answer_within_s > 600 {
            return Err(format!("profile: answer_within_s: {} is not within 1..600", options.answer_within_s));
        }
        if !(-9..=9).contains(&options.pressure) {
            return Err(format!("profile: pressure: {} is no power of ten within -9..9", options.pressure));
        }
        if options.open_value == options.close_value {
            return Err("profile: open_value and close_value: opening and closing have to differ".into());
        }
        Ok(options)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            len_order: LenOrder::Mirror,
            answer_within_s: 30,
            temperature: Temperature::Hundredths,
            pressure: 2,
            frozen: Frozen::Hundredths,
            remote_open: RemoteOpen::Refuse,
            open_value: 0,
            close_value: 1,
            price: None,
            unknown_account: UnknownAccount::Withhold,
            commissioning: Commissioning::Refuse,
            total_write: TotalWrite::U40,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_the_remedy() {
        assert!(Options::parse("").is_ok());
        for (profile, wanted) in [
            (r#"{"len": "be"}"#, "unknown field `len`"),
            (r#"{"total_write": "u64"}"#, "expected `u40` or `u32_centi`"),
            (r#"{"answer_within_s": 0}"#, "1..600"),
            (r#"{"pressure": 10}"#, "-9..9"),
            (r#"{"close_value": 0}"#, "have to differ"),
        ] {
            let error = Options::parse(profile).expect_err(profile);
            assert!(error.contains(wanted), "{profile}: {error}");
        }
    }
}
