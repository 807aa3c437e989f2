//! What the status page shows, in one answer.

use super::adapters::{AdapterRow, rows};
use super::auth::Viewer;
use super::commands::CommandRow;
use super::errors::{ApiResult, ErrorBody};
use super::look;
use super::moments::instant;
use super::station::{StationStatus, gather};
use crate::model::{Day, json};
use crate::session::Services;
use crate::views::{self, CommandFilter, ViewError};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Minutes of arrivals.
const MINUTES: i64 = 60;
const MINUTE_MS: i64 = 60_000;
/// Rows of each list.
const LATEST_MAX: usize = 15;
const COMMANDS_MAX: usize = 15;
const CARRIERS_MAX: usize = 12;

/// The station, what comes in, and what waits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    pub status: StationStatus,
    /// The last hour, minute by minute, oldest first; the last one is still going on.
    pub arrivals: Vec<Minute>,
    /// Last reports, newest first.
    pub latest: Vec<LatestReport>,
    pub adapters: Vec<AdapterRow>,
    /// Devices by adapter and kind.
    pub families: Vec<FamilyRow>,
    /// The first concentrators, and DTUs with somebody behind them.
    pub carriers: Vec<CarrierRow>,
    /// What each adapter decoded today.
    pub today: Vec<AdapterDay>,
    /// Commands that are not finished, newest first.
    pub commands: Vec<CommandRow>,
    /// Frames that nobody could read, by adapter and fault.
    pub quarantine: Vec<Quarantined>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Minute {
    /// Its beginning.
    pub at: String,
    /// Local time of the fleet, `HH:MM`.
    pub local: String,
    pub frames: u64,
    pub reports: u64,
    pub faults: u64,
}

/// A report, shortened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LatestReport {
    pub seq: u64,
    pub device: String,
    pub received: String,
    /// Local time of the fleet.
    pub received_local: String,
    pub cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The first registers, as in messages.
    #[schema(value_type = Vec<Object>)]
    pub registers: Vec<Value>,
    /// How many values the report has in all.
    pub values: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub valve: Option<Value>,
    pub alarms: Vec<String>,
}

/// What one adapter reads of one kind of device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FamilyRow {
    pub adapter: String,
    #[schema(example = "meter")]
    pub kind: &'static str,
    /// What its adapter says that it reads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    pub devices: u64,
    /// That devices sent by themselves, with readings or for a cause; heartbeats and answers are none.
    pub reports_today: u64,
    /// With a valve that is shut.
    pub closed: u64,
    pub in_alarm: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Local time of the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_local: Option<String>,
}

/// A concentrator or DTU.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarrierRow {
    pub device: String,
    pub kind: &'static str,
    pub online: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_local: Option<String>,
    /// Registered behind it, by realm.
    pub behind: Vec<Behind>,
    /// Of those, never heard.
    pub unheard: u64,
    /// There are more behind it than are counted here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Behind {
    pub realm: String,
    pub devices: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdapterDay {
    pub adapter: String,
    pub frames: u64,
    pub reports: u64,
    /// To questions of the station, also those that came within a carrier's frames.
    pub answers: u64,
    pub faults: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Quarantined {
    /// Empty: no adapter took them.
    pub adapter: String,
    pub fault: String,
    pub frames: u64,
}

/// What the status page shows
#[utoipa::path(get, path = "/overview", tag = "station", security(("token" = ["viewer"])),
    responses((status = 200, body = Overview), (status = "4XX", body = ErrorBody)))]
pub async fn show(_: Viewer, State(services): State<Arc<Services>>) -> ApiResult<Json<Overview>> {
    overview(&services).await.map(Json)
}

/// Gathers it.
pub async fn overview(services: &Arc<Services>) -> ApiResult<Overview> {
    look(services, read).await
}

fn read(services: &Services) -> Result<Overview, ViewError> {
    let today = services.clock.civil(services.clock.now_ms()).day();
    let open = CommandFilter { open: true, ..CommandFilter::default() };
    Ok(Overview {
        status: gather(services)?,
        arrivals: arrivals(services)?,
        latest: services.views.latest_reports(LATEST_MAX)?.into_iter().map(|r| LatestReport::of(r, services)).collect(),
        adapters: rows(services),
        families: families(services, today)?,
        carriers: services.views.carriers(CARRIERS_MAX)?.into_iter().map(|c| CarrierRow::of(c, services)).collect(),
        today: services.views.days(today, today)?.into_iter().map(AdapterDay::from).collect(),
        commands: services.views.commands(&open, None, COMMANDS_MAX)?.rows.into_iter().map(CommandRow::from).collect(),
        quarantine: services.views.quarantine_counts()?.into_iter().map(Quarantined::from).collect(),
    })
}

/// Every minute, also those in which nothing came.
fn arrivals(services: &Services) -> Result<Vec<Minute>, ViewError> {
    let now = services.clock.now_ms().div_euclid(MINUTE_MS);
    let first = now - MINUTES + 1;
    let counted: BTreeMap<i64, _> = services.views.arrivals(first * MINUTE_MS)?.into_iter().collect();
    let minute = |minute: i64| {
        let at_ms = minute * MINUTE_MS;
        let counts = counted.get(&at_ms).copied().unwrap_or_default();
        Minute {
            at: instant(at_ms),
            local: local(services, at_ms).get(11..16).unwrap_or_default().to_owned(),
            frames: counts.frames,
            reports: counts.reports,
            faults: counts.faults,
        }
    };
    Ok((first..=now).map(minute).collect())
}

fn families(services: &Services, today: Day) -> Result<Vec<FamilyRow>, ViewError> {
    let row = |family: views::Family| {
        let adapter = services.catalog.active(&family.adapter);
        FamilyRow {
            summary: adapter.map(|adapter| adapter.manifest.summary.clone()).unwrap_or_default(),
            adapter: family.adapter,
            kind: family.kind.name(),
            devices: family.devices,
            reports_today: family.reports,
            closed: family.closed,
            in_alarm: family.in_alarm,
            last_seen: family.last_seen_ms.map(instant),
            last_seen_local: family.last_seen_ms.map(|at_ms| local(services, at_ms)),
        }
    };
    Ok(services.views.families(today)?.into_iter().map(row).collect())
}

fn local(services: &Services, at_ms: i64) -> String {
    services.clock.civil(at_ms).to_string()
}

impl LatestReport {
    fn of(report: views::LatestReport, services: &Services) -> Self {
        Self {
            seq: report.seq.0,
            device: report.device.to_string(),
            received: instant(report.received_ms),
            received_local: local(services, report.received_ms),
            cause: report.cause.name(),
            at: report.at.map(|at| at.to_string()),
            registers: report.registers.iter().map(json::register).collect(),
            values: report.values,
            valve: report.valve.as_ref().map(json::valve),
            alarms: report.alarms,
        }
    }
}

impl CarrierRow {
    fn of(carrier: views::Carrier, services: &Services) -> Self {
        Self {
            online: services.registry.is_online(&carrier.device),
            device: carrier.device.to_string(),
            kind: carrier.kind.name(),
            last_seen: carrier.last_seen_ms.map(instant),
            last_seen_local: carrier.last_seen_ms.map(|at_ms| local(services, at_ms)),
            behind: carrier.behind.into_iter().map(|(realm, devices)| Behind { realm, devices }).collect(),
            unheard: carrier.unheard,
            more: carrier.is_cut,
        }
    }
}

impl From<views::DayRow> for AdapterDay {
    fn from(row: views::DayRow) -> Self {
        let views::Counts { frames, reports, answers, faults, .. } = row.counts;
        Self { adapter: row.adapter, frames, reports, answers, faults }
    }
}

impl From<views::QuarantineCount> for Quarantined {
    fn from(count: views::QuarantineCount) -> Self {
        Self { adapter: count.adapter, fault: count.kind, frames: count.frames }
    }
}
