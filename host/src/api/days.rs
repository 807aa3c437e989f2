//! What was received, per day and adapter.

use super::auth::Viewer;
use super::errors::{ApiError, ApiResult, ErrorBody};
use super::look;
use super::moments::in_order;
use super::paging::Paged;
use super::requests::Query;
use crate::model::Day;
use crate::session::Services;
use crate::views;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Days that one request may ask for.
const DAYS_MAX: i32 = 400;
/// Days without a question.
const DAYS_DEFAULT: i32 = 7;

/// What one adapter decoded on one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayRow {
    /// Day in the fleet's zone.
    #[schema(example = "2024-03-15")]
    pub day: String,
    /// Empty: frames that no adapter took.
    pub adapter: String,
    pub frames: u64,
    pub bytes: u64,
    pub faults: u64,
    pub duplicates: u64,
    /// Of devices that were held.
    pub held: u64,
    /// That a later adapter could read.
    pub redecoded: u64,
    pub registrations: u64,
    pub heartbeats: u64,
    /// That devices sent by themselves, with readings or for a cause; heartbeats and answers are none.
    pub reports: u64,
    pub events: u64,
    pub answers: u64,
    pub relayed: u64,
    pub unknown: u64,
    /// Values inside the reports and answers, as they came.
    pub values: u64,
    /// Devices whose first report of the day came through it.
    pub devices: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Span {
    /// First day; left out: a week before the last.
    pub from: Option<String>,
    /// Last day; left out: today.
    pub to: Option<String>,
}

/// What was received, per day and adapter, oldest first
#[utoipa::path(get, path = "/days", tag = "station", security(("token" = ["viewer"])), params(Span),
    responses((status = 200, body = Paged<DayRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(span): Query<Span>,
) -> ApiResult<Json<Paged<DayRow>>> {
    let day = |text: Option<String>| text.map(|t| t.parse::<Day>().map_err(ApiError::bad_request)).transpose();
    let to = day(span.to)?.unwrap_or_else(|| services.clock.civil(services.clock.now_ms()).day());
    let from = day(span.from)?.unwrap_or(Day(to.0.saturating_sub(DAYS_DEFAULT - 1)));
    let (from, to) = in_order(from, to)?;
    if to.0.saturating_sub(from.0) >= DAYS_MAX {
        return Err(ApiError::bad_request(format!("at most {DAYS_MAX} days at a time; ask for fewer")));
    }
    let rows = look(&services, move |s| s.views.days(from, to)).await?;
    Ok(Json(Paged::whole(rows.into_iter().map(DayRow::from).collect())))
}

impl From<views::DayRow> for DayRow {
    fn from(row: views::DayRow) -> Self {
        let c = row.counts;
        Self {
            day: row.day.to_string(),
            adapter: row.adapter,
            frames: c.frames,
            bytes: c.bytes,
            faults: c.faults,
            duplicates: c.duplicates,
            held: c.held,
            redecoded: c.redecoded,
            registrations: c.registrations,
            heartbeats: c.heartbeats,
            reports: c.reports,
            events: c.events,
            answers: c.answers,
            relayed: c.relayed,
            unknown: c.unknown,
            values: c.values,
            devices: c.devices,
        }
    }
}
