//! Who reads and writes for a device behind a carrier: its record in the registry says it, or else the listener's
//! configuration by the protocol that is carried.

use crate::command::{Hop, Way};
use crate::config::{Carries, Speaks};
use crate::journal::Found;
use crate::limits::{RELAY_DEPTH_MAX, RELAY_TIMEOUT_S};
use crate::model::{DeviceKey, KeySlot, Particulars, Relayed};
use crate::session::{Door, Services};
use crate::views::{RegistryNow, ViewError};

/// How a device behind a carrier is spoken to.
#[derive(Clone, Debug)]
pub(in crate::session) struct Route {
    pub device: DeviceKey,
    /// As its carrier calls it.
    pub target: String,
    pub protocol: String,
    pub channel: u8,
    pub timeout_s: u8,
    pub speaks: Speaks,
}

/// Somebody who may have sent a payload, and who reads it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// `None`: the payload has to say it.
    pub device: Option<DeviceKey>,
    pub speaks: Speaks,
}

/// Devices of one channel that are looked at when the carrier does not say who spoke.
const GUESSES_MAX: usize = 256;

/// The carriers in front of a device, the nearest first, as the registry has them.
pub fn way_to(registry: &RegistryNow, device: &DeviceKey) -> Result<Way, ViewError> {
    let mut way = Way::new();
    let mut at = device.clone();
    while way.len() < RELAY_DEPTH_MAX {
        let Some(about) = registry.get(&at)?.map(|row| row.record.about) else { break };
        let Some(parent) = about.parent else { break };
        way.push(Hop { carrier: parent.clone(), channel: about.channel });
        at = parent;
    }
    Ok(way)
}

/// Why there is no way to a device.
pub(super) enum Lost {
    /// It stands behind others now.
    Moved(Way),
    /// One of those on the way has no key.
    Key(Box<KeySlot>),
    /// For people.
    Why(String),
}

impl Lost {
    /// Where nothing can wait for a better way.
    pub fn in_words(self) -> String {
        match self {
            Self::Moved(_) => "it stands behind others now".into(),
            Self::Key(key) => key.missing(),
            Self::Why(why) => why,
        }
    }
}

/// How to speak to a device behind these carriers, from the last of them on.
pub(super) fn along(services: &Services, door: &Door, device: &DeviceKey, way: &[Hop]) -> Result<Vec<Route>, Lost> {
    let failing = |error: ViewError| Lost::Why(error.to_string());
    let registry = services.views.registry().map_err(failing)?;
    let mut routes = Vec::with_capacity(way.len());
    let mut at = device;
    for hop in way {
        let about = registry.get(at).map_err(failing)?.map(|row| row.record.about);
        let there = about.filter(|about| about.parent.as_ref() == Some(&hop.carrier) && about.channel == hop.channel);
        let Some(about) = there else {
            return Err(Lost::Moved(way_to(&registry, device).map_err(failing)?));
        };
        routes.push(to(services, door, at, about).map_err(Lost::Why)?);
        at = &hop.carrier;
    }
    routes.reverse();
    Ok(routes)
}

/// How to speak to a device of which the registry says this.
fn to(services: &Services, door: &Door, device: &DeviceKey, about: Particulars) -> Result<Route, String> {
    let carries = door.relays.iter().find(|c| fits(c, &about));
    let speaks = speaks(services, door, device, &about, carries).map_err(|error| error.to_string())?;
    let speaks = speaks.ok_or_else(|| {
        format!(
            "nobody is said to read {}: name an adapter in its record, or one for `{}` in `relays` of listener `{}`",
            device, about.protocol, door.name
        )
    })?;
    let protocol = match carries {
        Some(carries) if about.protocol.is_empty() => carries.protocol.clone(),
        _ => about.protocol,
    };
    if protocol.is_empty() {
        return Err("its record does not say which protocol its carrier carries for it".into());
    }
    let target = if about.line_address.is_empty() { device.address().to_owned() } else { about.line_address };
    let timeout_s = carries.map_or(RELAY_TIMEOUT_S, |c| c.timeout_s);
    Ok(Route { device: device.clone(), target, protocol, channel: about.channel.unwrap_or(0), timeout_s, speaks })
}

fn fits(carries: &Carries, about: &Particulars) -> bool {
    (about.protocol.is_empty() || carries.protocol == about.protocol)
        && (about.adapter.is_empty() || carries.speaks.adapter == about.adapter)
}

/// Who reads for a device, and how. A decision about the device, its model or the listener counts more than what the
/// configuration says of the protocol. `None`: nobody is said to.
fn speaks(
    services: &Services,
    door: &Door,
    device: &DeviceKey,
    about: &Particulars,
    carries: Option<&Carries>,
) -> Result<Option<Speaks>, ViewError> {
    let configured = match carries {
        Some(carries) => carries.speaks.clone(),
        None if about.adapter.is_empty() => return Ok(None),
        None => Speaks { adapter: about.adapter.clone(), profile: String::new(), options: "{}".into() },
    };
    spoken(services, door, device, &configured).map(Some)
}

/// The same, for a device of which it is known which adapter reads for it.
pub(super) fn spoken(
    services: &Services,
    door: &Door,
    device: &DeviceKey,
    configured: &Speaks,
) -> Result<Speaks, ViewError> {
    let Some(adapter) = services.catalog.active(&configured.adapter) else { return Ok(configured.clone()) };
    let decided = services.lifecycle.decided(&adapter, &door.name, Some(device), None)?;
    Ok(decided.map_or_else(
        || configured.clone(),
        |spoken| Speaks {
            adapter: configured.adapter.clone(),
            profile: spoken.name.clone(),
            options: spoken.options.clone(),
        },
    ))
}

/// Who may have sent this, the likeliest first. Nobody: it is not known who reads it.
pub(super) fn from(
    services: &Services,
    door: &Door,
    carrier: &DeviceKey,
    relayed: &Relayed,
) -> Result<Vec<Candidate>, ViewError> {
    let registry = services.views.registry()?;
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |key: &DeviceKey, device: Option<DeviceKey>, about: &Particulars| {
        let carries = door.relays.iter().find(|c| c.protocol == relayed.protocol && fits(c, about));
        let Some(speaks) = speaks(services, door, key, about, carries)? else { return Ok::<_, ViewError>(()) };
        let same = |c: &Candidate| {
            c.device == device && c.speaks.adapter == speaks.adapter && c.speaks.profile == speaks.profile
        };
        if !found.iter().any(same) {
            found.push(Candidate { device, speaks });
        }
        Ok(())
    };
    if relayed.target.is_empty() {
        for child in registry.children(carrier)?.take(GUESSES_MAX) {
            let child = child?;
            let Some(row) = registry.get(&child)? else { continue };
            if stands_there(&row.record.about, relayed) {
                add(&child, None, &row.record.about)?;
            }
        }
    } else {
        let called = registry.called(carrier, &relayed.target)?;
        let is_alone = called.len() == 1;
        for device in called {
            let Some(row) = registry.get(&device)? else { continue };
            // Buses number their meters alike; where only one is called so, a carrier that does not tell the channel means it.
            if is_alone || stands_there(&row.record.about, relayed) {
                add(&device.clone(), Some(device), &row.record.about)?;
            }
        }
    }
    if found.is_empty() {
        let carried = door.relays.iter().filter(|c| c.protocol == relayed.protocol);
        found.extend(carried.map(|c| Candidate { device: None, speaks: c.speaks.clone() }));
    }
    Ok(found)
}

/// Whether what its carrier brings from there can be the device's.
fn stands_there(about: &Particulars, relayed: &Relayed) -> bool {
    about.channel.is_none_or(|channel| channel == relayed.channel)
        && (about.protocol.is_empty() || about.protocol == relayed.protocol)
}

/// Who may have sent a kept part, and who reads it.
pub fn speakers(
    services: &Services,
    door: &Door,
    carrier: &DeviceKey,
    found: &Found<'_>,
) -> Result<Vec<(Option<DeviceKey>, Speaks)>, ViewError> {
    let candidates = from(services, door, carrier, found.relayed)?;
    Ok(candidates.into_iter().map(|candidate| (candidate.device, candidate.speaks)).collect())
}
