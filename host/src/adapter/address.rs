//! What addresses of an adapter's realm look like, where its manifest says so: as much as it takes to see what a spreadsheet
//! has made of a long number.

use crate::model::DeviceKey;
use serde::{Deserialize, Serialize};

/// `[address]` of `adapter.toml`: the addresses that devices of the realm can have at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AddressForm {
    pub characters: Characters,
    /// How many characters there may be.
    pub lengths: Vec<u8>,
    /// One that fits.
    pub example: String,
    /// What it is, and where people find it.
    #[serde(default)]
    pub words: String,
}

/// Of which characters an address is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Characters {
    /// 0-9.
    Digits,
    /// 0-9 and A-F.
    Hexadecimal,
    /// 0-9 and A-Z.
    Capitals,
    /// 0-9, A-Z and a-z.
    Letters,
}

const LENGTHS_MAX: usize = 8;
const WORDS_BYTES_MAX: usize = 128;

impl Characters {
    const fn admits(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Hexadecimal => matches!(byte, b'0'..=b'9' | b'A'..=b'F'),
            Self::Capitals => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
            Self::Letters => byte.is_ascii_alphanumeric(),
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Hexadecimal => "digits and letters A-F",
            Self::Capitals => "digits and capital letters",
            Self::Letters => "digits and letters",
        }
    }
}

impl AddressForm {
    pub fn admits(&self, address: &str) -> bool {
        self.lengths.iter().any(|length| usize::from(*length) == address.len())
            && address.bytes().all(|byte| self.characters.admits(byte))
    }

    /// Whether it is a form at all; the error is for the adapter's author.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=LENGTHS_MAX).contains(&self.lengths.len()) {
            return Err(format!("address.lengths: 1 to {LENGTHS_MAX} of them"));
        }
        if self.words.len() > WORDS_BYTES_MAX || self.words.contains(char::is_control) {
            return Err(format!("address.words: one line of at most {WORDS_BYTES_MAX} bytes"));
        }
        if !DeviceKey::is_address(&self.example) || !self.admits(&self.example) {
            let example = self.example.escape_debug();
            return Err(format!("address.example: `{example}` is not {}", self.shape()));
        }
        Ok(())
    }

    fn shape(&self) -> String {
        let lengths: Vec<_> = self.lengths.iter().map(u8::to_string).collect();
        format!("{} {}", lengths.join(" or "), self.characters.in_words())
    }
}

/// `14 digits (as printed), such as 50001234567810`
impl std::fmt::Display for AddressForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shape())?;
        if !self.words.is_empty() {
            write!(f, " ({})", self.words)?;
        }
        write!(f, ", such as {}", self.example)
    }
}

/// What a device of its realm is called instead, by the forms of all adapters that serve it. `None`: one may be called so, or
/// one of the adapters does not say, or there is none. The address is not repeated: among keys it may be one of them.
pub fn misfit<'a>(device: &DeviceKey, forms: impl IntoIterator<Item = Option<&'a AddressForm>>) -> Option<String> {
    let forms: Vec<&AddressForm> = forms.into_iter().collect::<Option<_>>()?;
    if forms.is_empty() || forms.iter().any(|form| form.admits(device.address())) {
        return None;
    }
    let wanted: Vec<_> = forms.iter().map(ToString::to_string).collect();
    Some(format!(
        "an address of {}/… is {}. Correct it; a spreadsheet keeps long numbers only in columns of text",
        device.realm(),
        wanted.join("; or ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(characters: Characters, lengths: &[u8], example: &str) -> AddressForm {
        AddressForm { characters, lengths: lengths.to_vec(), example: example.into(), words: "as printed".into() }
    }

    #[test]
    fn what_a_spreadsheet_makes_of_a_number_is_no_address() {
        let usp = form(Characters::Digits, &[14], "50001234567810");
        let why = |address: &str, forms: &[Option<&AddressForm>]| {
            misfit(&DeviceKey::new("usp", address).expect("a key"), forms.iter().copied())
        };
        assert_eq!(why("50001234567810", &[Some(&usp)]), None);
        for bad in ["31", "5.0E13", "5.00012E+13", "500012345678100", "5000123456781A"] {
            let why = why(bad, &[Some(&usp)]).expect("refused");
            assert!(why.contains("14 digits (as printed), such as 50001234567810"), "{why}");
            assert!(!why.contains(&format!("/{bad}")), "{why}");
        }
        // Who does not say admits all, and so does nobody.
        assert_eq!(why("31", &[Some(&usp), None]), None);
        assert_eq!(why("31", &[]), None);
        let other = form(Characters::Capitals, &[2, 8], "AB");
        assert_eq!(why("31", &[Some(&usp), Some(&other)]), None);
        assert!(why("3b", &[Some(&usp), Some(&other)]).expect("refused").contains("; or 2 or 8 digits and capital"));
    }

    #[test]
    fn a_form_fits_its_own_example() {
        assert_eq!(form(Characters::Hexadecimal, &[4], "00AF").check(), Ok(()));
        for bad in [
            form(Characters::Hexadecimal, &[4], "00af"),
            form(Characters::Letters, &[3], "a-b"),
            form(Characters::Digits, &[], ""),
            form(Characters::Digits, &[0], ""),
            form(Characters::Digits, &[33], &"1".repeat(33)),
            AddressForm { words: "x\ny".into(), ..form(Characters::Digits, &[1], "1") },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
