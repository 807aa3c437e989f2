//! The files: what a vector may say. Unknown keys are errors, because a misspelt expectation tests nothing.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorFile {
    /// Where the bytes come from.
    pub provenance: String,
    pub vectors: Vec<Case>,
}

/// One golden case: a frame or a command, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(default)]
    pub note: String,
    #[serde(default)]
    pub profile: Option<Value>,
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    #[serde(default)]
    pub context: ContextCase,
    #[serde(default)]
    pub frame: Option<String>,
    #[serde(default)]
    pub command: Option<Value>,
    pub expect: Value,
}

/// The moment; what is left out is a welcome stream's first uplink at 2024-03-15 00:20:05.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextCase {
    pub now: Option<String>,
    pub direction: Option<String>,
    pub transport: Option<String>,
    pub admission: Option<String>,
    #[serde(default)]
    pub pending: u32,
    pub device: Option<DeviceCase>,
    #[serde(default)]
    pub state: String,
}

/// The device as the station knows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCase {
    pub address: String,
    #[serde(default)]
    pub memory: String,
}

/// All `*.json` files of a directory by name.
pub fn load(directory: &Path) -> Result<Vec<(String, VectorFile)>, String> {
    let entries = std::fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map_err(|e| e.to_string())
    };
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|p| Ok((named(p), read(p).map_err(|e| format!("{}: {e}", p.display()))?))).collect()
}
