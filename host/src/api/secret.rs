//! API tokens: 256 random bits, shown once; the station keeps only their SHA-256.
//!
//! With that much randomness a plain hash is enough: there is nothing to guess, so nothing to slow down.

use crate::model::Digest;

/// Tells people and secret scanners what this is.
const PREFIX: &str = "pmt_";
const SECRET_BYTES: usize = 32;

/// A token as its holder has it. Its text is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", hex::encode(bytes))))
    }

    /// From an `Authorization` header's value; `None`: not a token of any station.
    pub fn from_header(value: &str) -> Option<Self> {
        let (scheme, token) = value.split_once(' ')?;
        let digits = token.strip_prefix(PREFIX)?;
        let whole = digits.len() == 2 * SECRET_BYTES && digits.bytes().all(|b| b.is_ascii_hexdigit());
        (scheme.eq_ignore_ascii_case("bearer") && whole).then(|| Self(token.to_owned()))
    }

    pub fn hash(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// For its holder's eyes, once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Compares in a time that does not depend on where they differ.
pub fn same(a: &Digest, b: &Digest) -> bool {
    let difference = a.0.iter().zip(&b.0).fold(0, |all, (x, y)| all | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_carry_no_token_are_told_apart() {
        let secret = Secret::random().expect("randomness");
        let good = format!("Bearer {}", secret.reveal());
        assert_eq!(Secret::from_header(&good), Some(secret.clone()));
        assert_eq!(Secret::from_header(&good.replace("Bearer", "bearer")), Some(secret.clone()));
        for bad in ["", "Bearer", "Bearer ", "Bearer pmt_12", &good.replace("Bearer", "Basic"), &format!("{good}0")] {
            assert_eq!(Secret::from_header(bad), None, "{bad}");
        }
        assert!(same(&secret.hash(), &secret.hash()));
        assert!(!same(&secret.hash(), &Secret::random().expect("randomness").hash()));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
