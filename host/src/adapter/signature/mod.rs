//! Who vouches for an adapter file: ed25519 signatures in custom sections at its very end, each over every byte before it.
//!
//! So they stack: the vendor signs what was built, the operator signs that together with the vendor's signature. Here is only
//! whether the signatures are whole and true. Whose signatures a station asks for is the trust file's affair; a file whose
//! last signature was cut off is, to this module, a file signed by fewer.
//!
//! | Off | Size | A signature section, always 126 bytes               |
//! |   0 |    1 | section id 0, custom                                |
//! |   1 |    1 | size of what follows, 124                           |
//! |   2 |    1 | size of the name, 19                                |
//! |   3 |   19 | `polymeter:signature`                               |
//! |  22 |    8 | `pm-sig`, 0, format 1                               |
//! |  30 |   32 | public key                                          |
//! |  62 |   64 | ed25519 of `CONTEXT` and the SHA-256 of the file up to this section |
//!
//! No field has two spellings, so no byte of a signed file can be changed without changing what is read.

mod key;
mod sections;

pub use key::{KeyTextError, PublicKey, SecretKey};

use crate::limits::SIGNATURES_MAX;
use sections::Sections;
use sha2::{Digest as _, Sha256};

/// Custom section with one signature.
pub const SIGNATURE_SECTION: &str = "polymeter:signature";

const HEADER: &[u8] = b"\0\x7c\x13polymeter:signature";
const FORMAT: &[u8] = b"pm-sig\0\x01";
const KEY_AT: usize = HEADER.len() + FORMAT.len();
const SIGNATURE_AT: usize = KEY_AT + 32;
const SECTION_BYTES: usize = SIGNATURE_AT + 64;
/// Says what is signed, so that no signature made for another purpose counts here, nor one of ours elsewhere.
const CONTEXT: &[u8] = b"polymeter adapter signature 1\0";

const _: () = assert!(SECTION_BYTES == 126 && HEADER[1] as usize == SECTION_BYTES - 2);

/// The signatures of a file, all of them true. None at all is possible too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Bytes before the first signature: what was built.
    pub payload_len: usize,
    /// In the order they were made: the vendor's first.
    pub signatures: Vec<Verified>,
}

/// One true signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    pub key: PublicKey,
    /// It covers the file up to here, and its section begins here.
    pub covers: usize,
}

/// Why a file's signatures count for nothing. Each kind of damage has its own reason; positions are byte offsets.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("not a WebAssembly component, as `polymeter adapter build` makes them, or damaged at its beginning")]
    NotComponent,
    #[error("damaged at byte {at}: {what}")]
    Malformed { at: usize, what: String },
    #[error("the signature section at byte {at} is not of the form this station knows: {what}")]
    Form { at: usize, what: &'static str },
    #[error("byte {at} follows a signature and is no signature; something was added after signing")]
    Buried { at: usize },
    #[error("the end of the file looks like a signature, but its section was renamed, resized or swallowed")]
    Hidden,
    #[error("a signature lies at byte {at}, inside a nested module or component, where it vouches for nothing")]
    Nested { at: usize },
    #[error("more than {SIGNATURES_MAX} signatures")]
    TooMany,
    #[error("the signature at byte {at} names no valid public key")]
    Key { at: usize },
    #[error(
        "the signature of {key} at byte {at} is false: the file was changed after signing, or it was made for another file"
    )]
    False { key: PublicKey, at: usize },
    #[error("{key} has signed twice")]
    Twice { key: PublicKey },
}

/// The file with one more signature at its end. What is there already must be true.
pub fn sign(bytes: &[u8], key: &SecretKey) -> Result<Vec<u8>, SignatureError> {
    let signed = signatures(bytes)?;
    let public = key.public();
    if signed.signatures.len() >= SIGNATURES_MAX {
        return Err(SignatureError::TooMany);
    }
    if signed.signatures.iter().any(|signature| signature.key == public) {
        return Err(SignatureError::Twice { key: public });
    }
    let mut out = Vec::with_capacity(bytes.len() + SECTION_BYTES);
    out.extend_from_slice(bytes);
    out.extend_from_slice(HEADER);
    out.extend_from_slice(FORMAT);
    out.extend_from_slice(public.as_bytes());
    out.extend_from_slice(&key.sign(&statement(Sha256::new().chain_update(bytes))));
    Ok(out)
}

/// Finds and checks all signatures of a file. A file without any has an empty list; whatever is neither signed truly nor
/// plainly unsigned is an error.
pub fn signatures(bytes: &[u8]) -> Result<Signed, SignatureError> {
    let starts = find(bytes)?;
    let signatures = verify(bytes, &starts)?;
    sections::refuse_nested(bytes)?;
    Ok(Signed { payload_len: starts.first().copied().unwrap_or(bytes.len()), signatures })
}

/// Where the signature sections begin: a tail of the file without gaps.
fn find(bytes: &[u8]) -> Result<Vec<usize>, SignatureError> {
    let mut starts = Vec::new();
    for section in Sections::of(bytes)? {
        let section = section?;
        if !section.is_signature(bytes) {
            match starts.first() {
                Some(_) => return Err(SignatureError::Buried { at: section.start }),
                None => continue,
            }
        }
        check_form(&bytes[section.start..section.end], section.start)?;
        if starts.len() == SIGNATURES_MAX {
            return Err(SignatureError::TooMany);
        }
        starts.push(section.start);
    }
    // A signature whose name or size was changed would be no signature any more, and the file merely signed by fewer.
    let tail = bytes.len().saturating_sub(SECTION_BYTES);
    if looks_signed(&bytes[tail..]) && starts.last() != Some(&tail) {
        return Err(SignatureError::Hidden);
    }
    Ok(starts)
}

/// Every byte but key and signature stands fixed.
fn check_form(section: &[u8], at: usize) -> Result<(), SignatureError> {
    let wrong = |what| Err(SignatureError::Form { at, what });
    if section.len() != SECTION_BYTES {
        return wrong("its size");
    }
    if !section.starts_with(HEADER) {
        return wrong("its header");
    }
    if section[HEADER.len()..KEY_AT] != *FORMAT {
        return wrong("its format number; a newer station may know it");
    }
    Ok(())
}

fn looks_signed(tail: &[u8]) -> bool {
    tail.len() == SECTION_BYTES && (tail.starts_with(HEADER) || tail[HEADER.len()..KEY_AT] == *FORMAT)
}

/// Reads the file once, however many signatures it has.
fn verify(bytes: &[u8], starts: &[usize]) -> Result<Vec<Verified>, SignatureError> {
    let mut hash = Sha256::new();
    let mut hashed = 0;
    let mut verified: Vec<Verified> = Vec::with_capacity(starts.len());
    for &at in starts {
        hash.update(&bytes[hashed..at]);
        hashed = at;
        let section = &bytes[at..at + SECTION_BYTES];
        let key = PublicKey::from_bytes(&section[KEY_AT..SIGNATURE_AT]).ok_or(SignatureError::Key { at })?;
        if !key.verifies(&statement(hash.clone()), &section[SIGNATURE_AT..]) {
            return Err(SignatureError::False { key, at });
        }
        if verified.iter().any(|earlier| earlier.key == key) {
            return Err(SignatureError::Twice { key });
        }
        verified.push(Verified { key, covers: at });
    }
    Ok(verified)
}

fn statement(hash: Sha256) -> Vec<u8> {
    [CONTEXT, &hash.finalize()].concat()
}

#[cfg(test)]
mod tests;
