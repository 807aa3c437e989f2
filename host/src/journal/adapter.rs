//! What entries say of adapters. Part of the file format: variants and fields are only ever appended.

use crate::model::Digest;
use serde::{Deserialize, Serialize};

/// A step in the life of one component.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdapterFact {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub step: AdapterStep,
    /// A token's name, a file's name, or `station` where nobody asked.
    pub by: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum AdapterStep {
    /// It serves. Written by stations that knew no other states.
    Activated,
    /// Another version of the same name took its place. Written by stations that knew no other states.
    Replaced { with: Digest },
    /// Not taken: written by stations that knew no other states.
    Rejected { why: String },
    /// Its file was taken away. Written by stations that knew no other states.
    Removed,
    /// It came in, and lies in the store: staged.
    Brought(AdapterOrigin),
    /// It is in another state now, and why.
    Entered { state: AdapterState, why: String },
    /// All that counts of it, told again before the days that told it are dropped.
    Standing(AdapterStanding),
}

/// What a file says of itself, and how it came.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AdapterOrigin {
    /// Name under which it came.
    pub file: String,
    /// It lay in the adapter directory, rather than coming through the API.
    pub dropped_in: bool,
    pub vendor: String,
    /// Counts a vendor's releases; never goes back unasked.
    pub release: u64,
    /// Layout of what it keeps in a session.
    pub state_version: u32,
    pub bytes: u64,
}

/// A whole row of what is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdapterStanding {
    pub origin: AdapterOrigin,
    pub state: AdapterState,
    pub why: String,
    pub since_ms: i64,
    pub first_ms: i64,
    /// When it last began to serve.
    pub served_ms: Option<i64>,
}

/// Where in its life an adapter is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterState {
    /// In the store, not looked at yet.
    Staged,
    /// Signed by those whom the trust file asks for.
    Verified,
    /// Its manifest and its imports are as the contract wants them.
    Inspected,
    Compiled,
    /// It answers its own vectors: ready to serve.
    Conformed,
    /// Hears live frames beside the active one; nothing it says counts.
    Shadow,
    Active,
    /// Calls under way are finished; the next frame is another version's.
    Draining,
    /// Served before; stays compiled, so that going back takes no time.
    Standby,
    /// Taken out of the store.
    Retired,
    /// Refused, with its reason.
    Rejected,
    /// Served, and harmed too many devices' frames.
    Quarantined,
}

impl AdapterState {
    pub const ALL: [Self; 12] = [
        Self::Staged,
        Self::Verified,
        Self::Inspected,
        Self::Compiled,
        Self::Conformed,
        Self::Shadow,
        Self::Active,
        Self::Draining,
        Self::Standby,
        Self::Retired,
        Self::Rejected,
        Self::Quarantined,
    ];

    /// Its name in logs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Verified => "verified",
            Self::Inspected => "inspected",
            Self::Compiled => "compiled",
            Self::Conformed => "conformed",
            Self::Shadow => "shadow",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Standby => "standby",
            Self::Retired => "retired",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
        }
    }

    /// Checked and in the store: it may be put into service.
    pub fn is_installed(self) -> bool {
        matches!(self, Self::Conformed | Self::Shadow | Self::Active | Self::Draining | Self::Standby)
    }

    /// Its file is kept: it may be put into service, if only with a reason.
    pub fn is_kept(self) -> bool {
        self.is_installed() || self == Self::Quarantined
    }
}

impl AdapterStep {
    /// The state that this step leads to.
    pub fn state(&self) -> AdapterState {
        match self {
            Self::Activated => AdapterState::Active,
            Self::Replaced { .. } => AdapterState::Standby,
            Self::Rejected { .. } => AdapterState::Rejected,
            Self::Removed => AdapterState::Retired,
            Self::Brought(_) => AdapterState::Staged,
            Self::Entered { state, .. } => *state,
            Self::Standing(standing) => standing.state,
        }
    }

    /// Why, where that was said.
    pub fn why(&self) -> String {
        match self {
            Self::Replaced { with } => format!("replaced with {}", with.short()),
            Self::Rejected { why } | Self::Entered { why, .. } => why.clone(),
            Self::Brought(origin) => format!("{} bytes as {}", origin.bytes, origin.file),
            Self::Standing(standing) => standing.why.clone(),
            Self::Activated | Self::Removed => String::new(),
        }
    }
}
