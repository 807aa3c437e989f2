//! `adapter check`: a file read from outside and then as a station would take it, in plain words. Nothing of it is installed.

use crate::adapter::{Adapter, CONTRACT, KeyStore, LoadError, Manifest, PublicKey, Runtime, Sections, signatures};
use crate::lifecycle::{Judged, Trust, Unsigned};
use crate::limits::{GUEST_MEMORY_BYTES_MAX, GUEST_TABLE_ELEMENTS_MAX, MANIFEST_BYTES_MAX, VECTORS_BYTES_MAX};
use crate::model::{Civil, Command, Digest, Message};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use wasmparser::{Parser, Payload};

/// Memory comes in pages of this size.
const PAGE_BYTES: u64 = 64 * 1024;
/// Imports and exports that are listed.
const NAMES_MAX: usize = 100;

/// What the file is, in the order in which a person asks.
#[derive(Debug, Serialize)]
pub struct Report {
    pub bytes: usize,
    pub digest: Digest,
    pub manifest: Option<Manifest>,
    pub contract: &'static str,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub memory: Vec<Growth>,
    pub tables: Vec<Growth>,
    pub vectors: usize,
    pub signatures: Vec<PublicKey>,
    pub findings: Vec<Finding>,
    /// Whether a station would let it serve, its trust file apart.
    pub accepted: bool,
}

/// What a memory or a table begins with and may grow to, in bytes or elements.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    pub initial: u64,
    /// As the file declares it; none: as far as the station lets it.
    pub maximum: Option<u64>,
    pub allowed: u64,
}

/// One thing worth saying.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    pub about: &'static str,
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Good,
    /// A station takes it, but somebody should know.
    Remark,
    /// A station refuses it for this.
    Refused,
}

/// Reads the file, and tries it in a station's runtime.
/// A trust file, if there is one, says what a station with it would.
pub fn check(runtime: &Arc<Runtime>, bytes: &[u8], trust: Option<(&Trust, Civil)>) -> Report {
    let mut report = Report {
        bytes: bytes.len(),
        digest: Digest::of(bytes),
        manifest: None,
        contract: CONTRACT,
        imports: Vec::new(),
        exports: Vec::new(),
        memory: Vec::new(),
        tables: Vec::new(),
        vectors: 0,
        signatures: Vec::new(),
        findings: Vec::new(),
        accepted: false,
    };
    report.look_inside(bytes);
    report.manifest(bytes);
    report.signatures(bytes);
    if let Some((trust, now)) = trust {
        report.trust(bytes, trust, now);
    }
    report.load(runtime, bytes);
    report.accepted = report.findings.iter().all(|finding| finding.verdict != Verdict::Refused);
    report
}

impl Report {
    fn say(&mut self, verdict: Verdict, about: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { verdict, about, text: text.into() });
    }

    /// What it asks of the station, read off without compiling. Damage is told by what comes after.
    fn look_inside(&mut self, bytes: &[u8]) {
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
            match payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    let names = section.into_iter().flatten().map(|import| import.name.name.to_owned());
                    self.imports.extend(names.take(NAMES_MAX));
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    let names = section.into_iter().flatten().map(|export| export.name.name.to_owned());
                    self.exports.extend(names.take(NAMES_MAX));
                }
                Payload::MemorySection(section) => {
                    let pages = |pages: u64| pages.saturating_mul(PAGE_BYTES);
                    self.memory.extend(section.into_iter().flatten().take(NAMES_MAX).map(|memory| Growth {
                        initial: pages(memory.initial),
                        maximum: memory.maximum.map(pages),
                        allowed: GUEST_MEMORY_BYTES_MAX as u64,
                    }));
                }
                Payload::TableSection(section) => {
                    self.tables.extend(section.into_iter().flatten().take(NAMES_MAX).map(|table| Growth {
                        initial: table.ty.initial,
                        maximum: table.ty.maximum,
                        allowed: GUEST_TABLE_ELEMENTS_MAX as u64,
                    }));
                }
                _ => {}
            }
        }
    }

    fn manifest(&mut self, bytes: &[u8]) {
        let sections = match Sections::find(bytes) {
            Ok(sections) => sections,
            Err(error) => return self.say(Verdict::Refused, "file", error.to_string()),
        };
        let manifest = match Manifest::parse(sections.manifest) {
            Ok(manifest) => manifest,
            Err(error) => return self.say(Verdict::Refused, about(&error), error.to_string()),
        };
        self.say(Verdict::Good, "contract", format!("built for {}, this station speaks {CONTRACT}", manifest.contract));
        let unknown = |claimed: &[String], known: &[&str]| -> Vec<String> {
            claimed.iter().filter(|word| !known.contains(&word.as_str())).cloned().collect()
        };
        for (what, claimed, known) in [
            ("kinds", &manifest.kinds, &Message::KINDS[..]),
            ("commands", &manifest.commands, &Command::NAMES[..]),
            ("transports", &manifest.transports, &["tcp", "udp"][..]),
        ] {
            let unknown = unknown(claimed, known);
            if !unknown.is_empty() {
                self.say(Verdict::Remark, "manifest", format!("{what}: the contract has no {}", unknown.join(", ")));
            }
        }
        for (what, text) in [("license", &manifest.license), ("summary", &manifest.summary)] {
            if text.is_empty() {
                self.say(Verdict::Remark, "manifest", format!("it has no {what}"));
            }
        }
        let vectors = sections.vectors.and_then(|vectors| serde_json::from_slice(vectors).ok());
        if let (Some(form), Some(vectors)) = (&manifest.address, &vectors)
            && let Some(sender) = senders(vectors).find(|sender| !form.admits(sender))
        {
            let why = format!("a vector's sender is `{sender}`, but stations would refuse to register it: not {form}");
            self.say(Verdict::Remark, "address", why);
        }
        for (what, section, max) in [
            ("manifest", Some(sections.manifest), MANIFEST_BYTES_MAX),
            ("vectors", sections.vectors, VECTORS_BYTES_MAX),
        ] {
            if section.is_some_and(|section| section.len() * 10 > max * 9) {
                self.say(Verdict::Remark, what, format!("more than nine tenths of the {max} bytes allowed"));
            }
        }
        self.manifest = Some(manifest);
    }

    fn signatures(&mut self, bytes: &[u8]) {
        match signatures(bytes) {
            Ok(signed) if signed.signatures.is_empty() => {
                self.say(
                    Verdict::Remark,
                    "signatures",
                    "not signed; stations outside of development want `adapter sign`",
                );
            }
            Ok(signed) => {
                self.signatures = signed.signatures.iter().map(|signature| signature.key).collect();
                let keys: Vec<_> = self.signatures.iter().map(ToString::to_string).collect();
                self.say(Verdict::Good, "signatures", format!("truly signed by {}", keys.join(", then ")));
            }
            Err(error) => self.say(Verdict::Refused, "signatures", error.to_string()),
        }
    }

    fn trust(&mut self, bytes: &[u8], trust: &Trust, now: Civil) {
        let Some(manifest) = self.manifest.clone() else { return };
        match trust.judge(bytes, &manifest, Unsigned::Refused, Judged::At(now)) {
            Ok(vouched) => self.say(Verdict::Good, "trust", vouched),
            Err(why) => self.say(Verdict::Refused, "trust", why.to_string()),
        }
    }

    /// As a station does before it lets it serve: compile, link, instantiate, configure, run the vectors.
    fn load(&mut self, runtime: &Arc<Runtime>, bytes: &[u8]) {
        if self
            .findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Refused && !matches!(finding.about, "signatures" | "trust"))
        {
            return;
        }
        let adapter = match Adapter::load(runtime, bytes, Arc::new(NoKeys)) {
            Ok(adapter) => adapter,
            Err(error) => return self.say(Verdict::Refused, about(&error), error.to_string()),
        };
        self.say(Verdict::Good, "imports", "nothing but the contract's own");
        if adapter.upgrades() {
            self.say(Verdict::Good, "upgrade", "takes over the state and memory of other versions");
        } else if adapter.manifest.state_version > 1 {
            let text = "none; sessions of a version with another state-version begin anew";
            self.say(Verdict::Remark, "upgrade", text);
        }
        if let Err(why) = adapter.try_profile("") {
            self.say(Verdict::Remark, "profile", format!("wants one that says something: {why}"));
        }
        match adapter.conform(bytes) {
            Err(error) => self.say(Verdict::Refused, "vectors", error.to_string()),
            Ok(found) if found.vectors == 0 => {
                self.say(Verdict::Remark, "vectors", "none; nothing proves that it reads its meters");
            }
            Ok(found) if found.differences.is_empty() => {
                self.vectors = found.vectors;
                self.say(Verdict::Good, "vectors", format!("{} hold", found.vectors));
            }
            Ok(found) => {
                self.vectors = found.vectors;
                let first = found.differences.first().map_or("", |text| text.lines().next().unwrap_or_default());
                let text = format!("{} differ, first: {first}; see `adapter test`", found.differences.len());
                self.say(Verdict::Refused, "vectors", text);
            }
        }
    }
}

/// Who sends in the vectors of a section.
fn senders(vectors: &Value) -> impl Iterator<Item = &str> {
    let files = vectors.as_array().into_iter().flatten();
    let cases = files.filter_map(|file| file["vectors"].as_array()).flatten();
    cases.filter_map(|case| case["expect"]["sender"]["address"].as_str())
}

fn about(error: &LoadError) -> &'static str {
    match error {
        LoadError::NoManifest | LoadError::Manifest(_) => "manifest",
        LoadError::ContractVersion(_) | LoadError::Contract(_) => "contract",
        LoadError::Import(_) => "imports",
        LoadError::Compile(_) => "code",
        LoadError::Vectors(_) => "vectors",
        _ => "file",
    }
}

struct NoKeys;

impl KeyStore for NoKeys {
    fn key(&self, _: &crate::model::DeviceKey, _: &str) -> Option<[u8; 16]> {
        None
    }
    fn default_key_in_use(&self, _: &crate::model::DeviceKey) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::build;
    use std::path::Path;

    #[test]
    fn the_bundled_adapters_say_what_addresses_they_hear() {
        let (mut forms, mut heard) = (0, 0);
        for dir in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters")).expect("adapters") {
            let dir = dir.expect("a directory").path();
            let Some(form) = build::read_manifest(&dir).expect("a manifest").address else { continue };
            forms += 1;
            let vectors = build::read_vectors(&dir).expect("readable").expect("vectors");
            for sender in senders(&vectors) {
                assert!(form.admits(sender), "{}: {sender} is not {form}", dir.display());
                heard += 1;
            }
        }
        assert!(forms == 6 && heard > forms, "{forms} forms, {heard} senders");
    }
}
