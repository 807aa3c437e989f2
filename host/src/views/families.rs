//! The fleet by families, a family being what one adapter reads of one kind of device; and the carriers with those behind them.
//!
//! ```text
//! families     (adapter name, kind)                                -> postcard of Row
//! family_days  (i32 day of the fleet's zone, adapter name, kind)   -> u64 reports
//! ```
//! A device counts for the adapter that read its last frame. Carriers are found by their marks, those behind them in the registry.

use super::devices::{self, MARKS};
use super::registry::RegistryNow;
use super::store::{Result, Snapshot, ViewError, pack, unpack};
use crate::limits;
use crate::model::{Day, DeviceKey, DeviceKind, ValveState};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const VIEW: &str = "families";
pub(super) const FAMILIES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("families");
pub(super) const FAMILY_DAYS: TableDefinition<(i32, &str, &str), u64> = TableDefinition::new("family_days");

/// What one adapter reads of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Family {
    pub adapter: String,
    pub kind: DeviceKind,
    pub devices: u64,
    /// With a valve that is shut, for whatever reason.
    pub closed: u64,
    pub in_alarm: u64,
    pub last_seen_ms: Option<i64>,
    /// Of the day asked for.
    pub reports: u64,
}

/// A concentrator or DTU, and who stands behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carrier {
    pub device: DeviceKey,
    pub kind: DeviceKind,
    pub last_seen_ms: Option<i64>,
    /// Registered behind it, by realm.
    pub behind: Vec<(String, u64)>,
    /// Of those, never heard.
    pub unheard: u64,
    /// There may be more behind it: no more were looked at.
    pub is_cut: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Row {
    devices: u64,
    closed: u64,
    in_alarm: u64,
    /// The last frame, and when it came.
    last_seen: Option<(u64, i64)>,
}

/// How a device counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    /// Number of an adapter reference; 0: none, and it counts nowhere.
    pub adapter: u16,
    pub kind: DeviceKind,
    pub closed: bool,
    pub in_alarm: bool,
}

impl Counted {
    pub fn of(row: &devices::Row) -> Self {
        let closed = row.valve.as_ref().is_some_and(|valve| {
            matches!(valve.state, ValveState::Closed | ValveState::ClosedTemporary | ValveState::ClosedForced)
        });
        Self { adapter: row.adapter, kind: row.kind, closed, in_alarm: !row.alarms.is_empty() }
    }
}

/// What one batch changes, by adapter and kind.
#[derive(Default)]
pub(super) struct Fold(BTreeMap<(String, &'static str), Change>);

#[derive(Default)]
struct Change {
    devices: i64,
    closed: i64,
    in_alarm: i64,
    last_seen: Option<(u64, i64)>,
    reports: BTreeMap<Day, u64>,
}

impl Fold {
    /// A device counts from now on, or (`sign` -1) no more.
    pub fn count(&mut self, adapter: &str, counted: Counted, sign: i64) {
        let change = self.change(adapter, counted.kind);
        change.devices += sign;
        change.closed += sign * i64::from(counted.closed);
        change.in_alarm += sign * i64::from(counted.in_alarm);
    }

    /// By which entry, and when; the newest entry counts, whatever time it bears.
    pub fn heard(&mut self, adapter: &str, kind: DeviceKind, by: Option<(u64, i64)>) {
        let change = self.change(adapter, kind);
        change.last_seen = change.last_seen.max(by);
    }

    pub fn reported(&mut self, adapter: &str, kind: DeviceKind, day: Day, reports: u64) {
        *self.change(adapter, kind).reports.entry(day).or_default() += reports;
    }

    fn change(&mut self, adapter: &str, kind: DeviceKind) -> &mut Change {
        self.0.entry((adapter.to_owned(), kind.name())).or_default()
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        let mut table = txn.open_table(FAMILIES).map_err(ViewError::store)?;
        let mut days = txn.open_table(FAMILY_DAYS).map_err(ViewError::store)?;
        for ((adapter, kind), change) in std::mem::take(&mut self.0) {
            let key = (&adapter[..], kind);
            let mut row: Row = match table.get(key).map_err(ViewError::store)? {
                Some(bytes) => unpack(VIEW, bytes.value())?,
                None => Row::default(),
            };
            row.devices = row.devices.saturating_add_signed(change.devices);
            row.closed = row.closed.saturating_add_signed(change.closed);
            row.in_alarm = row.in_alarm.saturating_add_signed(change.in_alarm);
            row.last_seen = row.last_seen.max(change.last_seen);
            for (Day(day), reports) in change.reports {
                let key = (day, &adapter[..], kind);
                let before = days.get(key).map_err(ViewError::store)?.map_or(0, |reports| reports.value());
                days.insert(key, before + reports).map_err(ViewError::store)?;
            }
            table.insert(key, &pack(VIEW, &row)?[..]).map_err(ViewError::store)?;
        }
        Ok(())
    }
}

/// All families that have a device, as they stand on that day.
pub(super) fn list(snapshot: &Snapshot, today: Day) -> Result<Vec<Family>> {
    let mut families = Vec::new();
    let days = snapshot.table(FAMILY_DAYS)?;
    for row in snapshot.table(FAMILIES)?.iter().map_err(ViewError::store)? {
        let (key, bytes) = row.map_err(ViewError::store)?;
        let (adapter, kind) = key.value();
        let row: Row = unpack(VIEW, bytes.value())?;
        let reports =
            days.get((today.0, adapter, kind)).map_err(ViewError::store)?.map_or(0, |reports| reports.value());
        let Some(kind) = kind.parse().ok().filter(|_| row.devices > 0) else { continue };
        families.push(Family {
            adapter: adapter.to_owned(),
            kind,
            devices: row.devices,
            closed: row.closed,
            in_alarm: row.in_alarm,
            last_seen_ms: row.last_seen.map(|(_, at_ms)| at_ms),
            reports,
        });
    }
    Ok(families)
}

/// Devices of each kind that one call looks at: most DTUs are what they carry, and nobody is registered behind them.
const LOOKED_AT_MAX: usize = 200;

/// The first concentrators, and DTUs with somebody behind them, in the order of their keys.
pub(super) fn carriers(snapshot: &Snapshot, rows_max: usize) -> Result<Vec<Carrier>> {
    let (registry, marks) = (RegistryNow::of(snapshot)?, snapshot.table(MARKS)?);
    let mut carriers = Vec::new();
    for kind in [DeviceKind::Concentrator, DeviceKind::Dtu] {
        let mark = devices::mark_of_kind(kind);
        for row in marks.range((&mark[..], "")..).map_err(ViewError::store)?.take(LOOKED_AT_MAX) {
            let (key, _) = row.map_err(ViewError::store)?;
            let (found, device) = key.value();
            if found != mark || carriers.len() == rows_max {
                break;
            }
            let device: DeviceKey = device.parse().map_err(|_| ViewError::Damaged { view: devices::VIEW })?;
            let carrier = carrier(snapshot, &registry, device, kind)?;
            if kind == DeviceKind::Concentrator || !carrier.behind.is_empty() {
                carriers.push(carrier);
            }
        }
    }
    Ok(carriers)
}

fn carrier(snapshot: &Snapshot, registry: &RegistryNow, device: DeviceKey, kind: DeviceKind) -> Result<Carrier> {
    let mut behind = BTreeMap::<String, u64>::new();
    let (mut unheard, mut looked_at) = (0, 0);
    for child in registry.children(&device)?.take(limits::BEHIND_COUNTED_MAX) {
        let child = child?;
        looked_at += 1;
        unheard += u64::from(devices::last_seen_ms(snapshot, &child)?.is_none());
        *behind.entry(child.realm().to_owned()).or_default() += 1;
    }
    let is_cut = looked_at == limits::BEHIND_COUNTED_MAX;
    let last_seen_ms = devices::last_seen_ms(snapshot, &device)?;
    Ok(Carrier { device, kind, last_seen_ms, behind: behind.into_iter().collect(), unheard, is_cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Fact, RegistryFact};
    use crate::model::{
        Answer, AnswerBody, Capabilities, Heartbeat, HexBytes, Initiator, Message, Outcome, Quantity, Registration,
        ReportCause, Role, ValveStatus,
    };
    use crate::views::tests::{NOON_MS, Station, behind, decoded, device, frame, register, report};

    fn registered(kind: DeviceKind) -> Message {
        Message::Registration(Registration {
            kind,
            manufacturer: String::new(),
            model: String::new(),
            hardware: String::new(),
            firmware: String::new(),
            iccid: String::new(),
            imei: String::new(),
            capabilities: Capabilities(0),
            schedule: None,
            key_version: None,
            clock: None,
        })
    }

    fn says(state: ValveState, alarm: &str) -> Message {
        let valve = Some(ValveStatus { state, by: Initiator::Unknown, reason: None });
        let alarms = Some(alarm).filter(|a| !a.is_empty()).map(str::to_owned).into_iter().collect();
        Message::Report(crate::model::Report { valve, alarms, ..report(None, vec![]) })
    }

    #[test]
    fn a_device_counts_once_where_it_stands_now() {
        let station = Station::new("families");
        for (address, message) in [
            ("1", says(ValveState::ClosedForced, "gas-leak")),
            ("1", says(ValveState::Open, "")),
            ("2", says(ValveState::Closed, "battery-low")),
            ("2", says(ValveState::Closed, "battery-low")),
            ("9", registered(DeviceKind::Concentrator)),
        ] {
            station.tell(frame(address, decoded(vec![message])));
        }
        let set = vec![behind("usp/1"), behind("mbus/5")];
        station.tell(Fact::Registry(RegistryFact { set, withdrawn: vec![], by: "ops".into(), retold: None }));
        let views = station.views();
        let today = station.clock.civil(NOON_MS).day();
        let families = views.families(today).expect("families");
        let shown: Vec<_> =
            families.iter().map(|f| (f.kind.name(), f.devices, f.closed, f.in_alarm, f.reports)).collect();
        assert_eq!(shown, [("concentrator", 1, 0, 0, 0), ("meter", 2, 1, 1, 4)]);
        assert_eq!(families[1].last_seen_ms, Some(NOON_MS));
        assert_eq!(views.families(Day(today.0 + 1)).expect("families")[1].reports, 0);
        let carriers = views.carriers(9).expect("carriers");
        assert_eq!(carriers[0].device.as_str(), "usp/9");
        assert_eq!((&carriers[0].behind[..], carriers[0].unheard), (&[("mbus".into(), 1), ("usp".into(), 1)][..], 1));
    }

    /// A meter that still says that it is there, and answers, has not reported: in none of the places that tell of it.
    #[test]
    fn neither_a_heartbeat_nor_an_answer_is_a_report() {
        let without_cause = |register| {
            let cause = ReportCause::Other;
            Message::Report(crate::model::Report { cause, ..report(None, vec![register]) })
        };
        let signal = || {
            let (quantity, role) = (Quantity::SignalCsq, Role::Instantaneous);
            without_cause(crate::model::Register { quantity, role, ..register(20) })
        };
        let answer = Answer {
            correlation: HexBytes(vec![1]),
            outcome: Outcome::Done,
            reason: String::new(),
            raw_code: 0,
            body: AnswerBody::Report(crate::model::Report {
                cause: ReportCause::OnDemand,
                ..report(None, vec![register(7)])
            }),
            more_follows: false,
        };
        let station = Station::new("heartbeats");
        let here = Message::Heartbeat(Heartbeat { clock: None, valve: None });
        station.tell(frame("1", decoded(vec![here, signal()])));
        station.tell(frame("1", decoded(vec![Message::Answer(answer)])));
        // A registration that brings the total is one.
        station.tell(frame("2", decoded(vec![registered(DeviceKind::Meter), without_cause(register(7)), signal()])));
        let views = station.views();
        let today = station.clock.civil(NOON_MS).day();
        let told = |address| {
            let shown = views.device(&device(address)).expect("reads").expect("known");
            (shown.counts.reports, shown.last_report_ms)
        };
        assert_eq!([told("1"), told("2")], [(0, None), (1, Some(NOON_MS))]);
        let day = views.days(today, today).expect("reads").remove(0).counts;
        assert_eq!((day.reports, day.devices, day.answers, day.values), (1, 1, 1, 4));
        assert_eq!(views.families(today).expect("reads")[0].reports, 1);
        assert_eq!(views.arrivals(NOON_MS).expect("reads")[0].1.reports, 1);
    }
}
