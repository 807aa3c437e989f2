//! The outermost sections of a component, found by their sizes alone, so that damage inside one hides no other.

use super::{SIGNATURE_SECTION, SignatureError};
use wasmparser::{Parser, Payload};

/// `\0asm`, version 13, layer 1: a component.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// Walks from section to section.
pub(super) struct Sections<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One outermost section: `bytes[start..end]`, its contents from `body`.
pub(super) struct Section {
    pub start: usize,
    pub end: usize,
    body: usize,
}

impl<'a> Sections<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, SignatureError> {
        if bytes.starts_with(PREAMBLE) {
            Ok(Self { bytes, at: PREAMBLE.len() })
        } else {
            Err(SignatureError::NotComponent)
        }
    }

    fn next_section(&self) -> Option<Section> {
        let start = self.at;
        let (size, body) = leb_u32(self.bytes, start + 1)?;
        let end = body.checked_add(size)?;
        (end <= self.bytes.len()).then_some(Section { start, end, body })
    }
}

impl Iterator for Sections<'_> {
    type Item = Result<Section, SignatureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let start = self.at;
        let Some(section) = self.next_section() else {
            self.at = self.bytes.len();
            let what = "no whole section begins here".to_owned();
            return Some(Err(SignatureError::Malformed { at: start, what }));
        };
        self.at = section.end;
        Some(Ok(section))
    }
}

impl Section {
    /// Whether it is called so, in whatever spelling of the sizes.
    pub(super) fn is_signature(&self, bytes: &[u8]) -> bool {
        let name = leb_u32(bytes, self.body).and_then(|(size, from)| bytes.get(from..from.checked_add(size)?));
        bytes[self.start] == 0 && name == Some(SIGNATURE_SECTION.as_bytes())
    }
}

/// A signature anywhere but outermost is a decoy. This reads the whole file as WebAssembly, so it comes last.
pub(super) fn refuse_nested(bytes: &[u8]) -> Result<(), SignatureError> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload
            .map_err(|e| SignatureError::Malformed { at: e.offset() as usize, what: e.message().to_owned() })?
        {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth > 1 && section.name() == SIGNATURE_SECTION => {
                return Err(SignatureError::Nested { at: section.range().start as usize });
            }
            _ => {}
        }
    }
    Ok(())
}

/// An unsigned LEB128 of at most 32 bits, and where it ends.
fn leb_u32(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.get(from..)?.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok().map(|value| (value as usize, from + index + 1));
        }
    }
    None
}
