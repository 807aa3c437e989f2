//! Polls: what the station asks by itself, and what its rounds have achieved.

use super::auth::{Operator, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::look;
use super::moments::instant;
use super::paging::{Newest, Paged};
use super::requests::{Named, Query};
use crate::config::{self, Schedule, What};
use crate::session::Services;
use crate::views::{self, RegistryFilter};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A poll of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct PollRow {
    pub name: String,
    /// What is asked, in words.
    #[schema(example = "read current")]
    pub asks: String,
    /// When, in words.
    #[schema(example = "every 60 minutes")]
    pub when: String,
    /// Which devices of the registry, in words; empty: all.
    #[schema(example = "parent usp/50009900000001")]
    pub of: String,
    /// Questions that wait or are under way.
    pub waiting: usize,
    /// The last round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<RoundRow>,
}

/// One round of a poll.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoundRow {
    /// When it was due, on the fleet's wall clock.
    pub due: String,
    /// running, over or skipped.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
    /// Who wanted it; left out: its schedule.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    pub asked: u64,
    pub answered: u64,
    /// Refused, failed or expired.
    pub failed: u64,
    pub waiting: u64,
    /// Why it was not held, or was given up.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Polls and their last rounds
#[utoipa::path(get, path = "/polls", tag = "polls", security(("token" = ["viewer"])),
    responses((status = 200, body = Paged<PollRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(_: Viewer, State(services): State<Arc<Services>>) -> ApiResult<Json<Paged<PollRow>>> {
    let found = look(&services, |s| {
        let rows = s.polls.iter().map(|poll| {
            let last = s.views.poll_rounds(&poll.name, 1)?.into_iter().next();
            Ok(PollRow {
                name: poll.name.clone(),
                asks: asks(poll.what),
                when: when(poll.schedule),
                of: of(&poll.devices),
                waiting: s.desk.of_poll(&poll.name),
                last: last.map(RoundRow::from),
            })
        });
        rows.collect::<Result<Vec<_>, _>>()
    });
    Ok(Json(Paged { items: found.await?, next: None }))
}

/// Rounds of a poll, newest first
#[utoipa::path(get, path = "/polls/{name}/rounds", tag = "polls", security(("token" = ["viewer"])),
    params(("name" = String, Path), Newest),
    responses((status = 200, body = Paged<RoundRow>), (status = "4XX", body = ErrorBody)))]
pub async fn rounds(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Query(newest): Query<Newest>,
) -> ApiResult<Json<Paged<RoundRow>>> {
    let limit = newest.limit()?;
    let name = find(&services, &name)?.name.clone();
    let found = look(&services, move |s| s.views.poll_rounds(&name, limit)).await?;
    Ok(Json(Paged { items: found.into_iter().map(RoundRow::from).collect(), next: None }))
}

/// Hold a round now
///
/// It begins once the round under way, if there is one, is over.
#[utoipa::path(post, path = "/polls/{name}/rounds", tag = "polls", security(("token" = ["operator"])),
    params(("name" = String, Path)),
    responses((status = 202), (status = "4XX", body = ErrorBody)))]
pub async fn hold(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
) -> ApiResult<StatusCode> {
    let poll = find(&services, &name)?;
    services.wishes.make(&poll.name, &caller.name);
    Ok(StatusCode::ACCEPTED)
}

fn find<'a>(services: &'a Services, name: &str) -> ApiResult<&'a config::Poll> {
    services.polls.iter().find(|poll| poll.name == name).ok_or_else(|| {
        let names: Vec<_> = services.polls.iter().map(|poll| poll.name.as_str()).collect();
        let there_are =
            if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) };
        let why = format!("the configuration has no poll `{}`; {there_are}", name.escape_debug());
        ApiError::new(Code::NotFound, why)
    })
}

fn asks(what: What) -> String {
    match what {
        What::Read(scope) => format!("read {scope}"),
        What::History { interval, count } => format!("the last {count} of each {interval}"),
    }
}

fn when(schedule: Schedule) -> String {
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    match schedule {
        Schedule::EveryMinutes(minutes) => format!("every {minutes} minutes"),
        Schedule::Daily(minute) => format!("daily at {}", time(minute)),
        Schedule::Monthly(day, minute) => format!("on day {day} of each month at {}", time(minute)),
    }
}

fn of(devices: &RegistryFilter) -> String {
    let words = [
        ("prefix", (!devices.prefix.is_empty()).then(|| devices.prefix.clone())),
        ("parent", devices.parent.as_ref().map(ToString::to_string)),
        ("district", devices.district.clone()),
        ("kind", devices.kind.map(|kind| kind.to_string())),
        ("adapter", devices.adapter.clone()),
        ("model", devices.model.clone()),
    ];
    let said = words.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    said.collect::<Vec<_>>().join(", ")
}

impl From<views::RoundRow> for RoundRow {
    fn from(row: views::RoundRow) -> Self {
        let told = row.told;
        let state = match told.begun_ms {
            None => "skipped",
            Some(_) if told.is_over() => "over",
            Some(_) => "running",
        };
        Self {
            due: row.due.to_string(),
            state,
            begun: told.begun_ms.map(instant),
            asked: told.asked,
            answered: told.answered,
            failed: told.failed,
            waiting: told.waiting(),
            by: told.by,
            why: told.skipped,
        }
    }
}
