//! Keys of those who sign, and how they are written: `ed25519:` and 64 hex digits; a secret one says that it is one.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";

/// Who signed. Always a point of the curve that signatures can be checked with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// What signs. Never printed by accident: it has no `Debug` and no `Display`.
pub struct SecretKey(SigningKey);

/// Why a text is no key. The text itself is not repeated: it might be the secret one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyTextError {
    #[error("a public key is written `{PUBLIC}` and 64 hex digits, as `polymeter adapter keygen` prints it")]
    Public,
    #[error("this is a secret key; give the public one, which `polymeter adapter keygen` printed")]
    SecretWherePublic,
    #[error("64 hex digits, but no key that could sign anything")]
    Unusable,
    #[error("a secret key file has one line that begins with `{SECRET}`, as `polymeter adapter keygen` writes it")]
    Secret,
}

impl PublicKey {
    /// `None` where these 32 bytes cannot be a key. Weak ones, for which anybody can make signatures, are none either.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        let key = VerifyingKey::from_bytes(&bytes).ok()?;
        (!key.is_weak()).then_some(Self(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Strictly: one message has exactly one valid signature of one signer.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        key.verify_strict(message, &signature).is_ok()
    }
}

impl SecretKey {
    /// From 32 random bytes, which the caller brings.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// What a key file holds. Who gets this can sign in the owner's name.
    pub fn to_file(&self) -> String {
        format!("# {}\n{SECRET}{}\n", self.public(), hex::encode(self.0.to_bytes()))
    }

    /// Reads a key file; lines that begin with `#` say nothing.
    pub fn from_file(text: &str) -> Result<Self, KeyTextError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(KeyTextError::Secret) };
        let mut seed = [0; 32];
        let digits = line.strip_prefix(SECRET).ok_or(KeyTextError::Secret)?;
        hex::decode_to_slice(digits, &mut seed).map_err(|_| KeyTextError::Secret)?;
        Ok(Self::from_seed(&seed))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}…", hex::encode(&self.0[..4]))
    }
}

impl FromStr for PublicKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        if text.starts_with(SECRET) {
            return Err(KeyTextError::SecretWherePublic);
        }
        let mut bytes = [0; 32];
        let digits = text.strip_prefix(PUBLIC).ok_or(KeyTextError::Public)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| KeyTextError::Public)?;
        Self::from_bytes(&bytes).ok_or(KeyTextError::Unusable)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
