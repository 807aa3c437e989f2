//! Whether records may be set or withdrawn as the registry stands: what they name must exist, nothing may stand behind
//! itself, and nobody may lose the parent that others stand behind. Rows that say nothing new are put aside.

use super::rows::Row;
use super::{Change, Pending};
use crate::adapter::{AddressForm, Catalog, misfit};
use crate::limits;
use crate::model::{Column, DeviceKey, Flaw, FlawKind, Particulars, Record, bare};
use crate::views::{RegistryNow, ViewError, Views};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;

/// What records may name: adapters that serve, profiles, whether the configuration has them or the journal, and protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Choices {
    pub adapters: Vec<AdapterChoice>,
    pub profiles: Vec<String>,
    /// Codes of wit/codes.md, and what listeners name in `relays`. A code of one's own begins with `vendor-`.
    pub protocols: Vec<String>,
}

/// Section 4 of `wit/codes.md`.
const PROTOCOLS: [&str; 9] =
    ["cjt188-le", "cjt188-be", "mbus", "modbus-rtu", "dlt645", "szrq", "qianwei", "fengxian", "raw"];
/// Codes of one's own begin so.
pub const OWN_CODE: &str = "vendor-";

/// An adapter that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AdapterChoice {
    pub name: String,
    /// Address space of its devices.
    pub realm: String,
    /// What addresses of its realm look like; left out: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressForm>,
}

/// Rows after the checks.
#[derive(Debug, Default)]
pub struct Weighed {
    /// New or changed.
    pub set: Vec<Record>,
    pub withdrawn: Vec<DeviceKey>,
    pub added: usize,
    pub changed: usize,
    pub unchanged: usize,
    /// Line of the row, and what is wrong with it; in the order of lines.
    pub flaws: Vec<(u64, Flaw)>,
}

impl Weighed {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.withdrawn.is_empty()
    }
}

impl Choices {
    /// `relayed`: protocols that listeners name.
    pub fn of<'a>(catalog: &Catalog, profiles: Vec<String>, relayed: impl IntoIterator<Item = &'a str>) -> Self {
        let mut adapters: Vec<_> = catalog
            .all_active()
            .iter()
            .map(|adapter| AdapterChoice {
                name: adapter.name().to_owned(),
                realm: adapter.realm().to_owned(),
                address: adapter.manifest.address.clone(),
            })
            .collect();
        adapters.sort_by(|a, b| a.name.cmp(&b.name));
        let mut protocols: Vec<_> = PROTOCOLS.into_iter().chain(relayed).map(str::to_owned).collect();
        protocols.sort();
        protocols.dedup();
        Self { adapters, profiles, protocols }
    }

    /// Whether the adapter, the profile and the protocol exist, and fit the device. What the row does not speak of is not
    /// its fault.
    pub fn check(&self, row: &Row) -> Option<Flaw> {
        self.check_reader(row).or_else(|| self.check_protocol(row))
    }

    /// Why nobody can be called so, unless the device has been heard or was registered before.
    pub fn misfit(&self, device: &DeviceKey) -> Option<Flaw> {
        let of_realm = self.adapters.iter().filter(|adapter| adapter.realm == device.realm());
        let wanted = misfit(device, of_realm.map(|adapter| adapter.address.as_ref()))?;
        Some(Flaw::new(Column::Device, FlawKind::Malformed, format!("no device is called {device}: {wanted}")))
    }

    fn check_protocol(&self, Row { record, said, .. }: &Row) -> Option<Flaw> {
        let protocol = &record.about.protocol;
        let known = protocol.is_empty() || protocol.starts_with(OWN_CODE) || self.protocols.contains(protocol);
        (said.has(Column::Protocol) && !known).then(|| {
            let message = format!(
                "`{protocol}` is no protocol; write one of {}, or {OWN_CODE}… for one of your own",
                self.protocols.join(", ")
            );
            Flaw::new(Column::Protocol, FlawKind::Malformed, message)
        })
    }

    fn check_reader(&self, Row { record, said, .. }: &Row) -> Option<Flaw> {
        let about = &record.about;
        if about.adapter.is_empty() || !(said.has(Column::Adapter) || said.has(Column::Profile)) {
            return None;
        }
        let Some(adapter) = self.adapters.iter().find(|a| a.name == about.adapter) else {
            let names: Vec<_> = self.adapters.iter().map(|a| a.name.as_str()).collect();
            let message = format!(
                "no adapter `{}` serves here; install it first, or name one of: {}",
                about.adapter,
                names.join(", ")
            );
            return Some(Flaw::new(Column::Adapter, FlawKind::UnknownAdapter, message));
        };
        if adapter.realm != record.device.realm() {
            let message = format!(
                "`{}` reads devices of {}/…, not of {}/…; name another adapter, or correct the device",
                adapter.name,
                adapter.realm,
                record.device.realm()
            );
            return Some(Flaw::new(Column::Adapter, FlawKind::UnknownAdapter, message));
        }
        if !about.profile.is_empty() && !self.profiles.contains(&about.profile) {
            let message = format!(
                "this station has no profile `{0}`; tell it one with `polymeter profile set`, or leave `{0}` out",
                about.profile
            );
            return Some(Flaw::new(Column::Profile, FlawKind::UnknownProfile, message));
        }
        None
    }
}

/// What a change is checked against.
pub(super) struct Ground<'a> {
    pending: &'a Pending,
    now: &'a RegistryNow,
    choices: &'a Choices,
    views: &'a Views,
    /// Devices of `pending` by their parent, once somebody asks for them.
    behind: OnceCell<FxHashMap<DeviceKey, Vec<DeviceKey>>>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(pending: &'a Pending, now: &'a RegistryNow, choices: &'a Choices, views: &'a Views) -> Self {
        Self { pending, now, choices, views, behind: OnceCell::new() }
    }

    /// What the registry says of a device before this change.
    fn get(&self, device: &DeviceKey) -> Result<Option<Particulars>, ViewError> {
        match self.pending.last_words.get(device) {
            Some(word) => Ok(word.about()),
            None => Ok(self.now.get(device)?.map(|row| row.record.about)),
        }
    }

    /// A device behind this one of which that holds.
    fn child(
        &self,
        parent: &DeviceKey,
        holds: &mut dyn FnMut(&DeviceKey) -> Result<bool, ViewError>,
    ) -> Result<Option<DeviceKey>, ViewError> {
        for child in self.now.children(parent)? {
            let child = child?;
            if !self.pending.last_words.contains_key(&child) && holds(&child)? {
                return Ok(Some(child));
            }
        }
        for child in self.behind().get(parent).into_iter().flatten() {
            if holds(child)? {
                return Ok(Some(child.clone()));
            }
        }
        Ok(None)
    }

    /// Devices that the parent may call so.
    fn called(&self, place: &Place<'_>) -> Result<Vec<DeviceKey>, ViewError> {
        let mut found = self.now.called(place.parent, place.called)?;
        if !self.pending.lines.is_empty() {
            let pending = self.pending.lines.get(&(place.parent.clone(), place.called.to_owned()));
            found.extend(pending.into_iter().flatten().cloned());
        }
        Ok(found)
    }

    fn behind(&self) -> &FxHashMap<DeviceKey, Vec<DeviceKey>> {
        self.behind.get_or_init(|| {
            let mut behind: FxHashMap<DeviceKey, Vec<DeviceKey>> = FxHashMap::default();
            for (device, word) in &self.pending.last_words {
                if let Some(parent) = word.about().and_then(|about| about.parent) {
                    behind.entry(parent).or_default().push(device.clone());
                }
            }
            behind.values_mut().for_each(|devices| devices.sort_unstable());
            behind
        })
    }
}

/// Where a device stands behind its carrier: all that the carrier says of who sent a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    parent: &'a DeviceKey,
    /// Without zeros in front: a carrier may fill it with them.
    called: &'a str,
    protocol: &'a str,
    channel: u8,
}

impl<'a> Place<'a> {
    /// `None`: it stands behind nobody.
    pub fn of(device: &'a DeviceKey, about: &'a Particulars) -> Option<Self> {
        let called = if about.line_address.is_empty() { device.address() } else { &about.line_address };
        let (protocol, channel) = (&about.protocol[..], about.channel.unwrap_or(0));
        about.parent.as_ref().map(|parent| Self { parent, called: bare(called), protocol, channel })
    }

    pub(super) fn on_line(self) -> (&'a DeviceKey, &'a str) {
        (self.parent, self.called)
    }
}

/// Checks a change; without flaws, it may be written.
pub(super) fn weigh(ground: &Ground<'_>, change: Change) -> Result<Weighed, ViewError> {
    match change {
        Change::Set(rows) => set(ground, rows),
        Change::Withdraw(device) => {
            let child = ground.child(&device, &mut |_| Ok(true))?;
            let flaws = child.map(|child| (0, has_children(&device, &child))).into_iter().collect();
            Ok(Weighed { withdrawn: vec![device], flaws, ..Weighed::default() })
        }
    }
}

fn set(ground: &Ground<'_>, mut rows: Vec<Row>) -> Result<Weighed, ViewError> {
    let mut out = Weighed::default();
    let mut befores = Vec::with_capacity(rows.len());
    for row in &mut rows {
        let before = ground.get(&row.record.device)?;
        let flaws = row.complete(before.as_ref()).err();
        befores.push((before, flaws.is_none()));
        out.flaws.extend(flaws.into_iter().flatten().map(|flaw| (row.line, flaw)));
    }
    let mut by_device: FxHashMap<&DeviceKey, &Row> = FxHashMap::default();
    for row in &rows {
        if let Some(first) = by_device.get(&row.record.device) {
            out.flaws.push((row.line, duplicate(first.line)));
        } else {
            by_device.insert(&row.record.device, row);
        }
    }
    let mut places = FxHashMap::default();
    for row in &rows {
        if let Some(place) = Place::of(&row.record.device, &row.record.about) {
            places.entry(place).or_insert(row);
        }
    }
    let mut weighing = Weighing { ground, rows: by_device, places, parents: FxHashMap::default() };
    let mut news = Vec::with_capacity(rows.len());
    for (row, (before, complete)) in rows.iter().zip(befores) {
        let flaw = if complete { weighing.flaw(row, before.as_ref())? } else { None };
        out.flaws.extend(flaw.map(|flaw| (row.line, flaw)));
        let new = before.as_ref() != Some(&row.record.about);
        match before {
            None => out.added += 1,
            Some(_) if new => out.changed += 1,
            Some(_) => out.unchanged += 1,
        }
        news.push(new);
    }
    out.flaws.sort_by_key(|(line, _)| *line);
    out.set = rows.into_iter().zip(news).filter(|(_, new)| *new).map(|(row, _)| row.record).collect();
    Ok(out)
}

/// The registry as it would be.
struct Weighing<'a> {
    ground: &'a Ground<'a>,
    rows: FxHashMap<&'a DeviceKey, &'a Row>,
    /// The first row that speaks of a device there.
    places: FxHashMap<Place<'a>, &'a Row>,
    /// Parents looked up so far; many rows have the same one.
    parents: FxHashMap<DeviceKey, Option<Particulars>>,
}

impl Weighing<'_> {
    fn flaw(&mut self, row: &Row, before: Option<&Particulars>) -> Result<Option<Flaw>, ViewError> {
        if let Some(flaw) = self.ground.choices.check(row) {
            return Ok(Some(flaw));
        }
        let record = &row.record;
        if before.is_none()
            && let Some(flaw) = self.ground.choices.misfit(&record.device)
            && self.ground.views.device(&record.device)?.is_none()
        {
            return Ok(Some(flaw));
        }
        let moved = before.is_none_or(|before| before.parent != record.about.parent);
        if moved && let Some(flaw) = self.lineage(record, before.is_some())? {
            return Ok(Some(flaw));
        }
        if let Some(flaw) = self.same_place(record, before)? {
            return Ok(Some(flaw));
        }
        let no_carrier_now = before.is_some_and(Particulars::is_carrier) && !record.about.is_carrier();
        if no_carrier_now {
            let child = self.ground.child(&record.device, &mut |child| Ok(self.stays(child, &record.device)))?;
            return Ok(child.map(|child| has_children(&record.device, &child)));
        }
        Ok(None)
    }

    /// Whether the parent calls somebody else the same, so that a frame of one could be taken for the other's. Who stood
    /// there before is not asked.
    fn same_place(&mut self, record: &Record, before: Option<&Particulars>) -> Result<Option<Flaw>, ViewError> {
        let Record { device, about } = record;
        let Some(place) = Place::of(device, about) else { return Ok(None) };
        if before.and_then(|before| Place::of(device, before)) == Some(place) {
            return Ok(None);
        }
        if let Some(first) = self.places.get(&place).filter(|first| first.record.device != *device) {
            return Ok(Some(same_place_as_line(first.line)));
        }
        for other in self.ground.called(&place)?.into_iter().filter(|other| other != device) {
            let row = self.rows.get(&other);
            let about = match row {
                Some(row) => Some(row.record.about.clone()),
                None => self.ground.get(&other)?,
            };
            if about.as_ref().and_then(|about| Place::of(&other, about)) == Some(place) {
                return Ok(Some(row.map_or_else(|| same_place_as(&other), |row| same_place_as_line(row.line))));
            }
        }
        Ok(None)
    }

    /// Whether no row takes the device away from its parent.
    fn stays(&self, child: &DeviceKey, parent: &DeviceKey) -> bool {
        self.rows.get(child).is_none_or(|row| row.record.about.parent.as_ref() == Some(parent))
    }

    /// Whether more devices than so many stand behind this one, one behind the other.
    fn carries_more(&self, carrier: &DeviceKey, levels: usize) -> Result<bool, ViewError> {
        let deep = self.ground.child(carrier, &mut |child| {
            Ok(self.stays(child, carrier) && (levels == 0 || self.carries_more(child, levels - 1)?))
        })?;
        Ok(deep.is_some())
    }

    /// From parent to parent: each must be there and be a carrier, and none may be the device itself. Who stands behind it
    /// comes along; behind a device that had no record stands nobody.
    fn lineage(&mut self, record: &Record, had_record: bool) -> Result<Option<Flaw>, ViewError> {
        let mut next = record.about.parent.clone();
        let mut depth = 0;
        while let Some(parent) = next {
            if parent == record.device {
                return Ok(Some(circle(&parent)));
            }
            if depth == limits::RECORD_DEPTH_MAX {
                return Ok(Some(too_deep()));
            }
            next = match self.parent(&parent)? {
                None => return Ok(Some(unknown_parent(&parent))),
                Some(about) if !about.is_carrier() => return Ok(Some(no_carrier(&parent))),
                Some(about) => about.parent.clone(),
            };
            depth += 1;
        }
        let too_tall = depth > 0
            && had_record
            && record.about.is_carrier()
            && self.carries_more(&record.device, limits::RECORD_DEPTH_MAX - depth)?;
        Ok(too_tall.then(too_deep))
    }

    fn parent(&mut self, key: &DeviceKey) -> Result<Option<&Particulars>, ViewError> {
        if let Some(row) = self.rows.get(key) {
            return Ok(Some(&row.record.about));
        }
        if !self.parents.contains_key(key) {
            self.parents.insert(key.clone(), self.ground.get(key)?);
        }
        Ok(self.parents.get(key).and_then(Option::as_ref))
    }
}

// The words of each flaw, for those who find it in a whole file too.

pub fn duplicate(first_line: u64) -> Flaw {
    let message = format!("stands in line {first_line} already; keep one of the two rows");
    Flaw::new(Column::Device, FlawKind::Duplicate, message)
}

pub fn unknown_parent(parent: &DeviceKey) -> Flaw {
    let message = format!("no record of {parent}; add a row for it, or correct the parent");
    Flaw::new(Column::Parent, FlawKind::UnknownParent, message)
}

pub fn no_carrier(parent: &DeviceKey) -> Flaw {
    let message = format!("{parent} is a meter; a parent is a concentrator or a dtu");
    Flaw::new(Column::Parent, FlawKind::NoCarrier, message)
}

pub fn same_place_as_line(line: u64) -> Flaw {
    same_place(&format!("the device of line {line}"), "of one of the two")
}

fn same_place_as(device: &DeviceKey) -> Flaw {
    same_place(&device.to_string(), &format!("of one of the two, or withdraw {device} first"))
}

fn same_place(whom: &str, remedy: &str) -> Flaw {
    let message = format!(
        "the parent calls it as it calls {whom}, by the same line address (its own where none is said; zeros in front do not count), protocol and channel; correct these {remedy}"
    );
    Flaw::new(Column::LineAddress, FlawKind::Duplicate, message)
}

pub fn circle(device: &DeviceKey) -> Flaw {
    let message = format!("{device} would stand behind itself; correct one of the parents");
    Flaw::new(Column::Parent, FlawKind::Circle, message)
}

pub fn too_deep() -> Flaw {
    let message = format!(
        "more than {} concentrators and DTUs in front of it, or of what stands behind it: no order would get through; correct the parent",
        limits::RECORD_DEPTH_MAX
    );
    Flaw::new(Column::Parent, FlawKind::TooDeep, message)
}

fn has_children(device: &DeviceKey, child: &DeviceKey) -> Flaw {
    let message = format!("{child} and perhaps others stand behind {device}; move or withdraw them first");
    Flaw::new(Column::Kind, FlawKind::HasChildren, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::rows::Chunk;

    #[test]
    fn the_protocols_are_those_of_the_registry_of_codes() {
        let codes = include_str!("../../../wit/codes.md");
        let section = codes.split("\n## ").find(|section| section.starts_with("4. Protocols")).expect("section 4");
        let first_cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let listed: Vec<&str> =
            first_cells.flat_map(|cell| cell.split(", ").map(|code| code.trim_matches('`'))).collect();
        assert_eq!(listed, PROTOCOLS);
    }

    #[test]
    fn a_protocol_is_a_code_or_what_a_listener_relays() {
        let protocols = ["mbus", "house"].map(str::to_owned).to_vec();
        let choices = Choices { protocols, ..Choices::default() };
        for (protocol, good) in
            [("mbus", true), ("house", true), ("vendor-x", true), ("", true), ("nosuchproto", false)]
        {
            let text = format!("device,kind,parent,protocol\nusp/1,meter,usp/9,{protocol}\n");
            let row = Chunk::of_csv(text.as_bytes()).expect("readable").rows.remove(0);
            let flaw = choices.check(&row);
            assert_eq!(flaw.is_none(), good, "{protocol}: {flaw:?}");
            assert!(flaw.is_none_or(
                |f| f.column == Some(Column::Protocol.name()) && f.message.contains("mbus, house, or vendor-")
            ));
        }
    }
}
