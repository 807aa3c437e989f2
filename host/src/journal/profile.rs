//! What entries say of profiles. Part of the file format: variants and fields are only ever appended.

use super::Retold;
use crate::model::DeviceKey;
use serde::{Deserialize, Serialize};

/// Somebody has decided how devices are spoken to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProfileFact {
    /// The profile's name.
    pub profile: String,
    /// The adapter whose options it holds.
    pub adapter: String,
    pub step: ProfileStep,
    pub by: String,
    pub why: String,
    /// Told again before the journal drops the day on which it was said; `None`: said now.
    pub retold: Option<Retold>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProfileStep {
    /// A version of it: 1, 2, … Its options are JSON.
    Set {
        version: u32,
        options: String,
    },
    /// From the next frame on.
    Bound {
        to: ProfileScope,
    },
    Unbound {
        from: ProfileScope,
    },
    /// Nobody is spoken to with it any more. Its versions, of which that one is the last, stay known for the frames that name
    /// them, and are never given again.
    Removed {
        version: u32,
    },
}

/// Whom a profile is for; the narrowest counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ProfileScope {
    /// All who come in by this listener.
    Listener(String),
    /// All devices that say they are of this model, or of which the registry says so.
    Model(String),
    Device(DeviceKey),
}

impl ProfileScope {
    /// `listener`, `model` or `device`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Listener(_) => "listener",
            Self::Model(_) => "model",
            Self::Device(_) => "device",
        }
    }

    /// Which one.
    pub fn name(&self) -> &str {
        match self {
            Self::Listener(name) | Self::Model(name) => name,
            Self::Device(device) => device.as_str(),
        }
    }
}

impl std::fmt::Display for ProfileScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

impl ProfileStep {
    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set",
            Self::Bound { .. } => "bound",
            Self::Unbound { .. } => "unbound",
            Self::Removed { .. } => "removed",
        }
    }
}
