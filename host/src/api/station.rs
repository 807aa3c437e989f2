//! The station at a glance, its health, its metrics. The status page shows what is gathered here.

use super::auth::Viewer;
use super::errors::{ApiResult, ErrorBody};
use super::listen::Peer;
use super::look;
use super::moments::instant;
use crate::metrics::Snapshot;
use crate::session::Services;
use crate::views::{self, CommandState, ViewError};
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// The station at a glance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StationStatus {
    pub station: String,
    pub version: &'static str,
    /// The station's clock.
    pub now: String,
    /// The same in the fleet's zone.
    pub local: String,
    pub health: Health,
    pub fleet: Fleet,
    pub commands: CommandCounts,
    /// Frames that nobody could read yet.
    pub quarantined: u64,
    pub sessions_open: u64,
    /// As the configuration names them.
    pub listeners: Vec<String>,
    pub journal: JournalLag,
    pub views: ViewsLag,
    pub adapters_active: usize,
}

/// Whether the station does its work.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// ok or failing.
    pub status: &'static str,
    /// Why entries cannot be stored, and since when; left out while they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// Why the views cannot follow the journal, or what is damaged; left out while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<String>,
    /// What the machine's clock shows, where that is behind the journal's newest entries, which orders wait for it, and what to do; left
    /// out while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Why what serves cannot be judged by the trust file: a revocation in it does not count yet. Left out while it can. It says
    /// nothing of `status`: what served goes on serving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// MQTT brokers by listener; left out where there are none. The rest of the station works without them, so `status` is failing
    /// only when one has been away for a quarter of an hour.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BrokerHealth>,
    /// Listeners of which no adapter serves, so that every frame there is only kept; left out where there are none. They say
    /// nothing of `status` either.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub idle_listeners: Vec<String>,
    /// Adapters of which no version serves now: those that listeners name, and those that have served here, other than by being
    /// retired. Which; and, in the station's status, which needs a token, why, and what to do. Left out where there are none. Of
    /// `status` they say nothing: all other makes are served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub out_of_service: Vec<String>,
}

/// How it stands with an MQTT broker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BrokerHealth {
    pub listener: String,
    pub subscribed: bool,
    /// Why not; left out while it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// For how many seconds; left out while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away_s: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Fleet {
    pub devices: u64,
    /// With a session open.
    pub online: u64,
    /// Devices that have reported since midnight in the fleet's zone: by themselves, and more than that they are there.
    pub reported_today: u64,
    /// That wait to be adopted.
    pub held: u64,
    /// With at least one alarm.
    pub in_alarm: u64,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CommandCounts {
    /// Not finished.
    pub open: u64,
    /// Sent, and nobody knows whether they were carried out.
    pub unconfirmed: u64,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct JournalLag {
    pub last_seq: u64,
    /// Entries waiting for the writer.
    pub queued: usize,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ViewsLag {
    /// The last entry that is folded in.
    pub cursor: u64,
    /// Entries behind the journal.
    pub lag: u64,
}

/// The station at a glance
#[utoipa::path(get, path = "/station", tag = "station", security(("token" = ["viewer"])),
    responses((status = 200, body = StationStatus), (status = "4XX", body = ErrorBody)))]
pub async fn status(_: Viewer, State(services): State<Arc<Services>>) -> ApiResult<Json<StationStatus>> {
    Ok(Json(look(&services, gather).await?))
}

/// Reads everything together; for threads that may block.
pub fn gather(services: &Services) -> Result<StationStatus, ViewError> {
    let fleet = services.views.fleet()?;
    let open = services.views.open_commands()?;
    let now_ms = services.clock.now_ms();
    let today = services.clock.civil(now_ms).day();
    let snapshot = snapshot(services);
    Ok(StationStatus {
        station: services.journal.identity().station.clone(),
        version: env!("CARGO_PKG_VERSION"),
        now: instant(now_ms),
        local: services.clock.civil(now_ms).to_string(),
        health: health_of(services, services.lifecycle.out_of_service()),
        fleet: Fleet {
            devices: fleet.devices,
            online: services.registry.count() as u64,
            reported_today: services.views.days(today, today)?.iter().map(|d| d.counts.devices).sum(),
            held: marked(&fleet, "held"),
            in_alarm: marked(&fleet, "alarm"),
        },
        commands: CommandCounts {
            open: open.iter().filter(|c| !c.state.is_final()).count() as u64,
            unconfirmed: open.iter().filter(|c| c.state == CommandState::Unconfirmed).count() as u64,
        },
        quarantined: services.views.quarantine_counts()?.iter().map(|c| c.frames).sum(),
        sessions_open: services.metrics.sessions_open(),
        listeners: services.doors.iter().map(|door| door.name.clone()).collect(),
        journal: JournalLag { last_seq: snapshot.journal_last_seq, queued: snapshot.journal_queue as usize },
        views: ViewsLag { cursor: services.views.cursor().0, lag: snapshot.views_lag },
        adapters_active: snapshot.adapters_active as usize,
    })
}

/// Whether the station does its work
///
/// For load balancers and watchdogs; needs no token.
#[utoipa::path(get, path = "/health", tag = "station",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn health(State(services): State<Arc<Services>>) -> (StatusCode, Json<Health>) {
    // Why they do not may be in the words of their code, which are for those with a token.
    let health = health_of(&services, services.lifecycle.out_of_service_in_short());
    let status = if health.status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health))
}

fn health_of(services: &Services, mut out_of_service: Vec<String>) -> Health {
    let failing = services.journal.health().failing;
    let journal = failing.map(|f| format!("cannot be written since {}: {}", instant(f.since_ms), f.why));
    let views = services.views.health().failing;
    let clock = services.clock_behind();
    let trust = services.lifecycle.unjudged();
    let brokers = services.metrics.brokers();
    let lost = brokers.iter().any(|(_, broker)| broker.is_lost());
    let status = if journal.is_none() && views.is_none() && clock.is_none() && !lost { "ok" } else { "failing" };
    let brokers = brokers.into_iter().map(|(listener, b)| {
        let away_s = (!b.subscribed).then_some(b.away.as_secs());
        BrokerHealth { listener, subscribed: b.subscribed, why: b.why, away_s }
    });
    out_of_service.extend(only_named(services));
    let idle = services.doors.iter().filter(|door| !services.is_served(door)).map(|door| door.name.clone());
    let (brokers, idle_listeners) = (brokers.collect(), idle.collect());
    Health { status, journal, views, clock, trust, brokers, idle_listeners, out_of_service }
}

/// Adapters that listeners name and that have never served: not installed, or a slip of the pen.
fn only_named(services: &Services) -> Vec<String> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for door in &services.doors {
        for name in services.unserved(door) {
            names.entry(name).or_default().push(&door.name);
        }
    }
    names.iter().filter_map(|(name, listeners)| services.lifecycle.only_named(name, listeners)).collect()
}

/// Counters and gauges for Prometheus
///
/// Needs no token from the station's own machine, and a viewer's from elsewhere.
#[utoipa::path(get, path = "/metrics", tag = "station", security((), ("token" = ["viewer"])),
    responses((status = 200, content_type = "application/openmetrics-text", body = String), (status = "4XX", body = ErrorBody)))]
pub async fn metrics(
    State(services): State<Arc<Services>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    viewer: ApiResult<Viewer>,
) -> ApiResult<impl IntoResponse> {
    if !peer.ip().is_loopback() {
        viewer?;
    }
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((kind, services.metrics.expose(&snapshot(&services))))
}

fn marked(fleet: &views::Fleet, mark: &str) -> u64 {
    fleet.marks.iter().find(|(name, _)| name == mark).map_or(0, |(_, devices)| *devices)
}

/// What is read off the parts at this moment.
fn snapshot(services: &Services) -> Snapshot {
    let health = services.journal.health();
    Snapshot {
        journal_last_seq: health.last_seq.0,
        journal_queue: health.queued as u64,
        journal_failing: health.failing.is_some(),
        views_lag: health.last_seq.0.saturating_sub(services.views.cursor().0),
        devices_online: services.registry.count() as u64,
        commands_unfinished: services.desk.unfinished() as u64,
        adapters_active: services.catalog.all_active().len() as u64,
        polls: services.polls.iter().flat_map(|poll| questions(services, &poll.name)).collect(),
    }
}

/// What became of the questions of a poll's last round. A view that cannot be read is on the health page.
fn questions(services: &Services, poll: &str) -> Vec<(String, &'static str, u64)> {
    let last = services.views.poll_rounds(poll, 1).ok().and_then(|rounds| rounds.into_iter().next());
    let told = last.map(|round| round.told).unwrap_or_default();
    let counts =
        [("asked", told.asked), ("answered", told.answered), ("failed", told.failed), ("waiting", told.waiting())];
    counts.into_iter().map(|(state, count)| (poll.to_owned(), state, count)).collect()
}
