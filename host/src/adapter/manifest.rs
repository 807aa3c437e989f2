//! What an adapter says about itself: the custom sections of its file, read before any of its code is compiled.

use super::AddressForm;
use crate::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX, PROFILE_BYTES_MAX, VECTORS_BYTES_MAX};
use crate::model::{in_a_line, moves_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmparser::{Encoding, Parser, Payload};

/// Custom section with the manifest, JSON.
pub const MANIFEST_SECTION: &str = "polymeter:manifest";
/// Custom section with the golden vectors, a JSON array of vector files.
pub const VECTORS_SECTION: &str = "polymeter:vectors";
/// The version of the contract that this station speaks. Any adapter of the same major version runs.
pub const CONTRACT: &str = "1.0.0";
const VERSION_BYTES_MAX: usize = 64;
const VENDOR_BYTES_MAX: usize = 128;

/// `adapter.toml`, as embedded in the component.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Lower-case letters, digits, `-` and `_`; unique in a station.
    pub name: String,
    pub vendor: String,
    /// `major.minor.patch`, optionally with a pre-release.
    pub version: String,
    /// Version of the contract it was built against.
    pub contract: String,
    /// Address space of its devices.
    pub realm: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub license: String,
    #[serde(default)]
    pub models: Vec<String>,
    #[serde(default)]
    pub transports: Vec<String>,
    /// Message kinds it can produce.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Command names of the contract that it encodes.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Layout version of what it keeps: a session's state, a device's memory.
    #[serde(default = "one")]
    pub state_version: u32,
    /// Counts the vendor's releases; beats `version` where two are compared, and never goes back unasked.
    #[serde(default)]
    pub release: u64,
    #[serde(default)]
    pub session: Session,
    /// Left out: any address may be one of its devices'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressForm>,
    /// JSON schema of the profile.
    #[serde(default)]
    pub profile: serde_json::Value,
}

/// What the protocol demands of a conversation.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    #[serde(default)]
    pub registration: RegistrationRule,
    /// Reports of one communication; 0 any number.
    #[serde(default)]
    pub reports_per_session: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationRule {
    /// A device must register before it says anything else.
    Required,
    /// Every frame says who sends it.
    #[default]
    Implicit,
}

/// Why a file does not become an adapter. The text names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the file has {0} bytes; an adapter has at most {COMPONENT_BYTES_MAX}")]
    TooLarge(usize),
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("not a WebAssembly component, or only a part of one: {0}")]
    NotComponent(String),
    #[error("a core module, not a component; build it with `polymeter adapter build`")]
    CoreModule,
    #[error("no `{MANIFEST_SECTION}` section; build it with `polymeter adapter build`")]
    NoManifest,
    #[error("manifest: {0}")]
    Manifest(String),
    #[error("built for contract {0}; this station speaks {CONTRACT}")]
    ContractVersion(String),
    #[error("imports `{0}`; adapters may import only `keys`, `log`, `types` and `commands` of polymeter:adapter")]
    Import(String),
    #[error("does not fulfil the contract: {0}")]
    Contract(String),
    #[error("does not compile: {0}")]
    Compile(String),
    #[error("fails its own vectors: {0}")]
    Vectors(String),
}

impl LoadError {
    /// A file that is still being written looks like this; one that was rejected for anything else was whole.
    pub fn may_be_unfinished(&self) -> bool {
        matches!(self, Self::NotComponent(_))
    }
}

/// The sections of a file, still unread.
pub struct Sections<'a> {
    pub manifest: &'a [u8],
    pub vectors: Option<&'a [u8]>,
}

impl<'a> Sections<'a> {
    /// Walks the file once; sections of nested modules do not count.
    pub fn find(bytes: &'a [u8]) -> Result<Self, LoadError> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(LoadError::TooLarge(bytes.len()));
        }
        let (mut manifest, mut vectors, mut depth) = (None, None, 0_u32);
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| LoadError::NotComponent(without_dump(&error)))? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(LoadError::CoreModule),
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if depth == 1 => {
                    let (slot, max) = match section.name() {
                        MANIFEST_SECTION => (&mut manifest, MANIFEST_BYTES_MAX),
                        VECTORS_SECTION => (&mut vectors, VECTORS_BYTES_MAX),
                        _ => continue,
                    };
                    if section.data().len() > max {
                        return Err(LoadError::Manifest(format!("section {} exceeds {max} bytes", section.name())));
                    }
                    if slot.replace(section.data()).is_some() {
                        return Err(LoadError::Manifest(format!("two sections named {}", section.name())));
                    }
                }
                _ => {}
            }
        }
        Ok(Self { manifest: manifest.ok_or(LoadError::NoManifest)?, vectors })
    }
}

impl Manifest {
    /// Of what comes in: its texts must be lines, too.
    pub fn parse(json: &[u8]) -> Result<Self, LoadError> {
        let manifest = Self::parse_kept(json)?;
        let texts = serde_json::to_value(&manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
        must_be_lines(&texts, "").map_err(LoadError::Manifest)?;
        Ok(manifest)
    }

    /// Of what was taken before: as much as it takes to serve. How its texts are written was for whoever took it.
    pub(super) fn parse_kept(json: &[u8]) -> Result<Self, LoadError> {
        let manifest: Self = serde_json::from_slice(json).map_err(|e| LoadError::Manifest(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether a profile satisfies the schema; the error is for whoever wrote it.
    pub fn check_profile(&self, profile: &str) -> Result<(), String> {
        if profile.len() > PROFILE_BYTES_MAX {
            return Err(format!("the profile has {} bytes, at most {PROFILE_BYTES_MAX}", profile.len()));
        }
        let value = serde_json::from_str(profile).map_err(|error| format!("the profile cannot be read: {error}"))?;
        super::schema::check(&self.profile, &value).map_err(|why| in_a_line(&why))
    }

    /// For ordering two versions of one adapter.
    pub fn version(&self) -> semver::Version {
        self.version.parse().unwrap_or(semver::Version::new(0, 0, 0))
    }

    fn check(&self) -> Result<(), LoadError> {
        let word = |text: &str, max: usize| {
            (1..=max).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        if !word(&self.name, 64) {
            return Err(LoadError::Manifest(format!("`{}` is no adapter name", self.name.escape_debug())));
        }
        if !word(&self.realm, 32) {
            return Err(LoadError::Manifest(format!("`{}` is no realm", self.realm.escape_debug())));
        }
        if self.version.len() > VERSION_BYTES_MAX || self.vendor.len() > VENDOR_BYTES_MAX {
            return Err(LoadError::Manifest(format!(
                "at most {VERSION_BYTES_MAX} bytes of version and {VENDOR_BYTES_MAX} of vendor"
            )));
        }
        if let Err(error) = self.version.parse::<semver::Version>() {
            return Err(LoadError::Manifest(format!("version `{}`: {error}", self.version.escape_debug())));
        }
        super::schema::understand(&self.profile).map_err(|why| LoadError::Manifest(in_a_line(&why)))?;
        self.address.as_ref().map_or(Ok(()), AddressForm::check).map_err(LoadError::Manifest)?;
        match (self.contract.parse::<semver::Version>(), CONTRACT.split_once('.')) {
            (Ok(built_for), Some((ours, _))) if built_for.major.to_string() == ours => Ok(()),
            _ => Err(LoadError::ContractVersion(self.contract.escape_debug().to_string())),
        }
    }
}

/// All that an adapter says of itself is shown to people who decide whether to trust it, in lines among the station's own:
/// nothing in it may end a line, move a cursor or turn the direction of writing.
fn must_be_lines(value: &Value, path: &str) -> Result<(), String> {
    match value {
        Value::String(text) => must_be_a_line(text).map_err(|why| format!("`{path}` {why}")),
        Value::Array(list) => list.iter().try_for_each(|item| must_be_lines(item, path)),
        Value::Object(map) => map.iter().try_for_each(|(name, inner)| {
            must_be_a_line(name).map_err(|why| format!("a name in `{path}` {why}"))?;
            must_be_lines(inner, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") })
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The same of one text; the error says which character is not wanted.
pub(super) fn must_be_a_line(text: &str) -> Result<(), String> {
    match text.chars().find(|c| moves_text(*c)) {
        Some(found) => Err(format!("contains {}; write plain text on one line", found.escape_unicode())),
        None => Ok(()),
    }
}

/// What a component may ask for: the contract's own interfaces, in any version that this station links.
pub(super) fn is_offered(import: &str) -> bool {
    let known = import.strip_prefix("polymeter:adapter/").and_then(|rest| rest.split_once('@'));
    matches!(known, Some(("keys" | "log" | "types" | "commands", version)) if version.starts_with("1."))
}

/// Refuses a file by what it imports, before anything of it is compiled.
pub(super) fn check_imports(bytes: &[u8]) -> Result<(), LoadError> {
    let unreadable = |error: wasmparser::BinaryReaderError| LoadError::NotComponent(without_dump(&error));
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(unreadable)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let name = import.map_err(unreadable)?.name.name;
                    if !is_offered(name) {
                        return Err(LoadError::Import(name.to_owned()));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn one() -> u32 {
    1
}

/// Without the dump of bytes that some messages end with.
fn without_dump(error: &wasmparser::BinaryReaderError) -> String {
    let line = error.message().lines().next().unwrap_or_default();
    line.trim_end_matches('[').trim_end_matches("expected=").trim_end_matches([' ', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_adapter_says_stays_in_its_line() {
        let said = |key: &str, value: Value| {
            let mut manifest =
                json!({"name": "a", "vendor": "v", "version": "1.0.0", "contract": "1.0.0", "realm": "a"});
            manifest[key] = value;
            let json = manifest.to_string();
            Manifest::parse_kept(json.as_bytes()).expect("what was taken before goes on serving");
            Manifest::parse(json.as_bytes()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(said("vendor", "北方燃气表 · Gaszähler".into()), Ok(()));
        for (key, value, expected) in [
            ("vendor", "good\u{1b}[2J".into(), "`vendor` contains \\u{1b}"),
            ("summary", "reads meters\ncontract: fine".into(), "`summary` contains \\u{a}"),
            ("models", json!(["G4", "G\u{202e}4"]), "`models` contains \\u{202e}"),
            (
                "profile",
                json!({"properties": {"n": {"description": "\u{2066}"}}}),
                "`profile.properties.n.description` contains \\u{2066}",
            ),
            ("profile", json!({"properties": {"a\r": {}}}), "a name in `profile.properties` contains \\u{d}"),
        ] {
            let error = said(key, value).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
