//! Another edition of an adapter's file: the same code under another version number.
//!
//! A component is a sequence of sections, each `id u8 | length LEB128 | bytes`, after eight bytes of header; a custom section
//! has id 0 and begins with its name. Only the manifest is exchanged.

use anyhow::{Context, Result, bail};
use serde_json::Value;

const HEADER_BYTES: usize = 8;
const MANIFEST: &str = polymeter::adapter::MANIFEST_SECTION;

/// The file under that version.
pub fn with_version(component: &[u8], version: &str) -> Result<Vec<u8>> {
    with_manifest(component, |manifest| manifest["version"] = version.into())
}

/// The file with another manifest.
pub fn with_manifest(component: &[u8], edit: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
    let header = component.get(..HEADER_BYTES).context("no component")?;
    let mut edition = header.to_vec();
    let mut manifest = None;
    let mut at = HEADER_BYTES;
    while at < component.len() {
        let start = at;
        let id = component[at];
        at += 1;
        let length = leb128(component, &mut at)?;
        let end = at.checked_add(length).filter(|end| *end <= component.len()).context("a section that never ends")?;
        match custom(&component[at..end]).filter(|_| id == 0) {
            Some((MANIFEST, json)) => manifest = Some(serde_json::from_slice::<Value>(json)?),
            _ => edition.extend_from_slice(&component[start..end]),
        }
        at = end;
    }
    let mut manifest = manifest.context("no manifest")?;
    edit(&mut manifest);
    append(&mut edition, MANIFEST, manifest.to_string().as_bytes());
    Ok(edition)
}

/// The same without a custom section of that name.
pub fn without(component: &[u8], name: &str) -> Result<Vec<u8>> {
    let mut edition = component.get(..HEADER_BYTES).context("no component")?.to_vec();
    let mut at = HEADER_BYTES;
    while at < component.len() {
        let start = at;
        let id = component[at];
        at += 1;
        let length = leb128(component, &mut at)?;
        let end = at.checked_add(length).filter(|end| *end <= component.len()).context("a section that never ends")?;
        if id != 0 || custom(&component[at..end]).is_none_or(|(found, _)| found != name) {
            edition.extend_from_slice(&component[start..end]);
        }
        at = end;
    }
    Ok(edition)
}

/// The version that a file says it has.
pub fn version(component: &[u8]) -> Result<String> {
    let mut at = HEADER_BYTES;
    while at < component.len() {
        let id = component[at];
        at += 1;
        let length = leb128(component, &mut at)?;
        let end = at.checked_add(length).filter(|end| *end <= component.len()).context("a section that never ends")?;
        if let Some((MANIFEST, json)) = custom(&component[at..end]).filter(|_| id == 0) {
            let manifest: Value = serde_json::from_slice(json)?;
            return Ok(manifest["version"].as_str().unwrap_or_default().to_owned());
        }
        at = end;
    }
    bail!("no manifest")
}

/// Name and content of a custom section.
fn custom(section: &[u8]) -> Option<(&str, &[u8])> {
    let mut at = 0;
    let length = leb128(section, &mut at).ok()?;
    let name = section.get(at..at.checked_add(length)?)?;
    Some((std::str::from_utf8(name).ok()?, &section[at + length..]))
}

fn append(component: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut section = Vec::new();
    push_leb128(&mut section, name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(content);
    component.push(0);
    push_leb128(component, section.len());
    component.extend_from_slice(&section);
}

fn leb128(bytes: &[u8], at: &mut usize) -> Result<usize> {
    let mut value = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at).context("a length that never ends")?;
        *at += 1;
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a length that never ends")
}

fn push_leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_changes() {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        append(&mut component, "other", &[7; 300]);
        append(&mut component, MANIFEST, br#"{"name":"usp","version":"1.0.0"}"#);
        append(&mut component, "polymeter:vectors", b"[]");
        let edition = with_version(&component, "1.0.1").expect("a component");
        assert_eq!(version(&component).expect("has one"), "1.0.0");
        assert_eq!(version(&edition).expect("has one"), "1.0.1");
        assert_eq!(edition.len(), component.len());
        assert!(with_version(&component[..component.len() - 1], "1").is_err());
    }
}
