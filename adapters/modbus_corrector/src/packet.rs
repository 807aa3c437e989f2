//! What a transparent DTU says of itself: a registration packet (注册包) on connecting, a heartbeat packet (心跳包) now and then. Both are
//! whatever bytes its owner has configured; nothing in them has to be the corrector's.
//!
//! ```text
//! | prefix | address, `bytes` long in its form | suffix |        bytes = 0: text up to the suffix
//! ```
//! A packet must not be mistaken for Modbus, whatever its address says: [`Packet::check`] sees to that once and for all.

use crate::frame::is_function;
use polymeter_sdk::{Fault, bcd};
use serde::Deserialize;

/// Text up to a suffix is no longer than this.
const TEXT_BYTES_MAX: usize = 64;
const ADDRESS_CHARACTERS_MAX: usize = 32;

/// How the address is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The packet carries no address: prefix and suffix are all of it.
    None,
    /// Decimal digits as text.
    #[default]
    Digits,
    /// Letters, digits, `-` and `_`.
    Ascii,
    /// Packed digits, high first.
    Bcd,
    /// Any bytes; the address is their hexadecimal digits.
    Hex,
}

/// What tells a damaged address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    #[default]
    None,
    /// The last digit is an IMEI's check digit.
    Luhn,
}

/// As the profile writes it; bytes in hexadecimal digits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    pub form: Form,
    pub prefix: String,
    pub bytes: usize,
    pub suffix: String,
    pub check: Check,
    /// Of packed digits only the last so many are the address; 0 all.
    pub digits: usize,
    pub reply: String,
}

/// One kind of packet.
#[derive(Clone, Debug)]
pub struct Packet {
    pub form: Form,
    pub prefix: Vec<u8>,
    pub bytes: usize,
    pub suffix: Vec<u8>,
    pub check: Check,
    pub digits: usize,
    /// What the DTU wants to hear back.
    pub reply: Option<Vec<u8>>,
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Whole(usize),
    /// So many bytes more, at least.
    Wanting(usize),
    No,
}

impl Packet {
    /// # Errors
    /// What is wrong with the words.
    pub fn check(name: &str, words: &Words) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("profile: {name}: {what}"));
        let bytes = |field: &str, text: &str| {
            unhex(text).filter(|b| b.len() <= TEXT_BYTES_MAX).ok_or_else(|| {
                format!("profile: {name}.{field}: up to {TEXT_BYTES_MAX} bytes in hexadecimal digits, found `{text}`")
            })
        };
        let (prefix, suffix) = (bytes("prefix", &words.prefix)?, bytes("suffix", &words.suffix)?);
        let reply = bytes("reply", &words.reply)?;
        let packet = Self {
            form: words.form,
            prefix,
            bytes: words.bytes,
            suffix,
            check: words.check,
            digits: words.digits,
            reply: (!reply.is_empty()).then_some(reply),
        };
        let characters = match packet.form {
            Form::None => 0,
            Form::Digits | Form::Ascii => packet.bytes,
            Form::Bcd | Form::Hex => packet.bytes * 2,
        };
        let by_suffix = packet.bytes == 0 && packet.form != Form::None;
        if characters > ADDRESS_CHARACTERS_MAX {
            return wrong("an address has at most 32 characters");
        }
        if by_suffix && (packet.suffix.is_empty() || matches!(packet.form, Form::Bcd | Form::Hex)) {
            return wrong("bytes = 0 is for text that ends with a suffix");
        }
        if packet.form == Form::None && (packet.bytes != 0 || packet.prefix.is_empty()) {
            return wrong("without an address a packet is its prefix: at least one byte, and bytes = 0");
        }
        if packet.check == Check::Luhn && !matches!(packet.form, Form::Digits | Form::Bcd) {
            return wrong("a check digit is for decimal digits");
        }
        // A Modbus address is 1 to 247, and a function never is a character.
        let is_text = |b: Option<&u8>| b.is_none_or(|b| !is_function(*b));
        let safe = match packet.prefix.as_slice() {
            [] => matches!(packet.form, Form::Digits | Form::Ascii),
            [first, ..] if !(1..=247).contains(first) => true,
            [_] => {
                matches!(packet.form, Form::Digits | Form::Ascii) || packet.bytes == 0 && is_text(packet.suffix.first())
            }
            [_, second, ..] => !is_function(*second),
        };
        if !safe {
            return wrong(
                "could be mistaken for Modbus; begin it with a byte above F7, or with two of which the second is no function",
            );
        }
        Ok(packet)
    }

    pub fn look(&self, bytes: &[u8]) -> Look {
        let head = self.prefix.len().min(bytes.len());
        if bytes[..head] != self.prefix[..head] {
            return Look::No;
        }
        let body = &bytes[head..];
        if self.bytes == 0 && self.form != Form::None {
            return self.look_for_suffix(body);
        }
        let address = &body[..self.bytes.min(body.len())];
        let tail = &body[address.len()..];
        let end = self.suffix.len().min(tail.len());
        if !address.iter().all(|b| self.form.admits(*b)) || tail[..end] != self.suffix[..end] {
            return Look::No;
        }
        let total = self.prefix.len() + self.bytes + self.suffix.len();
        if bytes.len() >= total { Look::Whole(total) } else { Look::Wanting(total - bytes.len()) }
    }

    fn look_for_suffix(&self, body: &[u8]) -> Look {
        let text = body.iter().take(ADDRESS_CHARACTERS_MAX).take_while(|b| self.form.admits(**b)).count();
        let tail = &body[text..];
        let end = self.suffix.len().min(tail.len());
        if tail[..end] != self.suffix[..end] || end == self.suffix.len() && text == 0 {
            return Look::No;
        }
        let wanted = self.suffix.len() - end;
        if wanted == 0 { Look::Whole(self.prefix.len() + text + end) } else { Look::Wanting(wanted) }
    }

    /// Whether more than the characters of an address tells it.
    pub const fn is_marked(&self) -> bool {
        self.prefix.len() + self.suffix.len() >= 2
    }

    /// The address in a whole packet; `None` where it carries none.
    pub fn address(&self, packet: &[u8]) -> Result<Option<String>, Fault> {
        let end = packet.len().saturating_sub(self.suffix.len());
        let raw = packet.get(self.prefix.len()..end).unwrap_or_default();
        let address = match self.form {
            Form::None => return Ok(None),
            Form::Digits | Form::Ascii => String::from_utf8_lossy(raw).into_owned(),
            Form::Bcd => {
                let digits = bcd::digits(raw).ok_or_else(|| Fault::corrupt("packet: the address is not BCD"))?;
                let keep = if self.digits == 0 { digits.len() } else { self.digits.min(digits.len()) };
                digits[digits.len() - keep..].to_owned()
            }
            Form::Hex => raw.iter().map(|b| format!("{b:02X}")).collect(),
        };
        if self.check == Check::Luhn && !luhn(&address) {
            return Err(Fault::corrupt(format!("packet: the check digit of {address} does not fit")));
        }
        Ok(Some(address))
    }
}

impl Form {
    const fn admits(self, byte: u8) -> bool {
        match self {
            Self::None => false,
            Self::Digits => byte.is_ascii_digit(),
            Self::Ascii => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Self::Bcd => bcd::byte(byte).is_some(),
            Self::Hex => true,
        }
    }
}

/// ISO/IEC 7812-1: sees every single wrong digit.
fn luhn(digits: &str) -> bool {
    let doubled = |d: u32| if d > 4 { d * 2 - 9 } else { d * 2 };
    let weigh = |(i, b): (usize, u8)| if i % 2 == 1 { doubled(u32::from(b - b'0')) } else { u32::from(b - b'0') };
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().rev().enumerate().map(weigh).sum::<u32>() % 10 == 0
}

/// Bytes of hexadecimal digits, blanks allowed between.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let pairs = digits.as_chunks::<2>();
    pairs.1.is_empty().then(|| pairs.0.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(form: Form, prefix: &str, bytes: usize, suffix: &str) -> Result<Packet, String> {
        Packet::check("p", &Words { form, prefix: prefix.into(), bytes, suffix: suffix.into(), ..Words::default() })
    }

    #[test]
    fn addresses_in_every_form() {
        for (form, prefix, bytes, suffix, wire, address) in [
            (Form::Digits, "", 15, "", "383636313233303430303132333435", Some("866123040012345")),
            (Form::Ascii, "5245473A", 0, "0D0A", "5245473A44542D370D0A", Some("DT-7")),
            (Form::Bcd, "FE01", 6, "FF", "FE01013812345678FF", Some("013812345678")),
            (Form::Hex, "AA55", 2, "", "AA550103", Some("0103")),
            (Form::None, "FE", 0, "", "FE", None),
        ] {
            let packet = packet(form, prefix, bytes, suffix).expect(prefix);
            let wire = unhex(wire).expect("hex");
            assert_eq!(packet.look(&wire), Look::Whole(wire.len()), "{prefix}");
            assert_eq!(packet.address(&wire).expect(prefix).as_deref(), address);
            for cut in 1..wire.len() {
                assert!(
                    matches!(packet.look(&wire[..cut]), Look::Wanting(n) if n <= wire.len() - cut),
                    "{prefix} {cut}"
                );
            }
        }
    }

    #[test]
    fn what_could_be_modbus_is_refused() {
        for (form, prefix, bytes, suffix) in [
            (Form::Hex, "", 6, ""),
            (Form::Bcd, "", 6, ""),
            (Form::Bcd, "01", 6, ""),
            (Form::None, "0103", 0, ""),
            (Form::Hex, "0183", 2, ""),
            (Form::Ascii, "", 0, ""),
            (Form::None, "", 0, ""),
            (Form::Digits, "", 33, ""),
        ] {
            assert!(packet(form, prefix, bytes, suffix).is_err(), "{form:?} {prefix}");
        }
        assert!(packet(Form::Digits, "xx", 15, "").is_err());
        assert!(packet(Form::Digits, "4", 15, "").is_err());
    }

    #[test]
    fn a_check_digit_sees_every_wrong_digit() {
        let good = (0..10).map(|d| format!("86612304001234{d}")).find(|n| luhn(n)).expect("one of ten");
        for place in 0..good.len() {
            for digit in b'0'..=b'9' {
                let mut other = good.clone().into_bytes();
                if std::mem::replace(&mut other[place], digit) != digit {
                    assert!(!luhn(&String::from_utf8(other).expect("digits")), "{place} {digit}");
                }
            }
        }
    }
}
