//! What a device measured and reported: values and events.

use super::auth::Viewer;
use super::devices::find;
use super::errors::{ApiResult, ErrorBody};
use super::look;
use super::moments::{self, instant};
use super::paging::{Page, Paged};
use super::provenance::{Origin, Origins, ReadBy};
use super::requests::{Device, Query};
use crate::model::{Civil, DeviceKey, Quality, Quantity, json};
use crate::session::Services;
use crate::views::{self, ReadingFilter, ViewError};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// One value at one time of the device's clock.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReadingRow {
    /// Local time of the device.
    #[schema(example = "2024-03-15T00:00:00")]
    pub at: String,
    #[schema(example = "working-volume")]
    pub quantity: &'static str,
    /// Exact, as a decimal.
    #[schema(example = "1234.56")]
    pub value: String,
    #[schema(example = "cubic-metre")]
    pub unit: &'static str,
    pub role: &'static str,
    #[serde(skip_serializing_if = "is_good")]
    pub quality: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub storage: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub tariff: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub channel: u32,
    /// The vendor's own code.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u32,
    /// Journal entry of the frame that told it.
    pub frame: u64,
    /// Journal entry that corrected what was read of the frame at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_in: Option<u64>,
    /// What read it; left out once the journal has dropped the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_by: Option<ReadBy>,
    pub received: String,
    /// A later frame, or a correction, gave another value for the same place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
}

/// Something a device reported.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventRow {
    pub device: String,
    /// Local time of the device; of reception where it did not say.
    pub at: String,
    /// The device said when.
    pub dated: bool,
    /// A code of wit/codes.md.
    pub code: String,
    pub cleared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub raw_code: u32,
    /// Journal entry of the frame that told it first.
    pub frame: u64,
    pub received: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Span {
    /// First day or local time of the device; left out: from the beginning.
    pub from: Option<String>,
    /// Last day or local time, included; left out: to the end.
    pub to: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only this quantity, such as working-volume.
    #[param(value_type = Option<String>)]
    pub quantity: Option<Quantity>,
    /// Also values that were told differently later.
    #[serde(default)]
    pub superseded: bool,
}

/// Stored values of a device, oldest first
///
/// A page never divides a day, so it may be somewhat longer than asked for.
#[utoipa::path(get, path = "/devices/{realm}/{address}/readings", tag = "devices", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path), Span, Filter, Page),
    responses((status = 200, body = Paged<ReadingRow>), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Query(span): Query<Span>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<ReadingRow>>> {
    let ((from, to), limit) = (span.resolve()?, page.limit()?);
    let filter = ReadingFilter { from, to, quantity: filter.quantity, with_superseded: filter.superseded };
    let found = find(&services, &key, move |s, device| {
        let page = s.views.readings(device, &filter, page.after(), limit)?;
        let page = Paged { items: reading_rows(s, device, page.rows)?, next: page.next };
        of_known(s, device, page)
    });
    found.await.map(Json)
}

/// Events that a device reported, by its clock, oldest first
#[utoipa::path(get, path = "/devices/{realm}/{address}/events", tag = "devices", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path), Span, Page),
    responses((status = 200, body = Paged<EventRow>), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn events(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Query(span): Query<Span>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<EventRow>>> {
    let (span, limit) = (span.resolve()?, page.limit()?);
    let found = find(&services, &key, move |s, device| {
        let page = s.views.events(device, span, page.after(), limit)?;
        of_known(s, device, Paged::of(page, EventRow::from))
    });
    found.await.map(Json)
}

/// The newest events of the whole fleet, newest first
#[utoipa::path(get, path = "/events", tag = "station", security(("token" = ["viewer"])), params(Page),
    responses((status = 200, body = Paged<EventRow>), (status = "4XX", body = ErrorBody)))]
pub async fn newest_events(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<EventRow>>> {
    let limit = page.limit()?;
    let found = look(&services, move |s| s.views.newest_events(page.after(), limit)).await?;
    Ok(Json(Paged::of(found, EventRow::from)))
}

impl Span {
    /// First and last second meant.
    pub fn resolve(&self) -> ApiResult<(Civil, Civil)> {
        let from = moments::from(self.from.as_deref())?.unwrap_or(Civil(crate::limits::CIVIL_MIN));
        let to = moments::to(self.to.as_deref())?.unwrap_or(Civil(crate::limits::CIVIL_MAX));
        moments::in_order(from, to)
    }
}

/// What a device told. `None`: nothing, and neither the views nor the registry know it, so that a slip of the pen does not
/// look like a silent device.
pub(super) fn of_known<T>(
    services: &Services,
    device: &DeviceKey,
    page: Paged<T>,
) -> Result<Option<Paged<T>>, ViewError> {
    let known = !page.items.is_empty() || services.known(device)?.is_some();
    Ok(known.then_some(page))
}

/// Readings, each with its origin.
pub fn reading_rows(
    services: &Services,
    device: &DeviceKey,
    readings: Vec<views::Reading>,
) -> Result<Vec<ReadingRow>, ViewError> {
    let mut origins = Origins::new(services, device);
    readings.into_iter().map(|reading| Ok(ReadingRow::of(&reading, origins.of(reading.source)?))).collect()
}

impl ReadingRow {
    fn of(reading: &views::Reading, origin: Origin) -> Self {
        let r = &reading.register;
        Self {
            at: reading.at.to_string(),
            quantity: r.quantity.name(),
            value: json::value(r.mantissa, r.exponent, r.unit),
            unit: r.unit.name(),
            role: r.role.name(),
            quality: r.quality.name(),
            storage: r.storage,
            tariff: r.tariff.into(),
            channel: r.channel.into(),
            code: r.code,
            frame: origin.frame.0,
            corrected_in: origin.corrected_in.map(|seq| seq.0),
            read_by: origin.read_by,
            received: instant(reading.received_ms),
            superseded: reading.superseded,
        }
    }
}

impl From<views::EventRow> for EventRow {
    fn from(event: views::EventRow) -> Self {
        Self {
            device: event.device.to_string(),
            at: event.at.to_string(),
            dated: event.dated,
            code: event.code,
            cleared: event.cleared,
            value: event.value,
            raw_code: event.raw_code,
            frame: event.source.0,
            received: instant(event.received_ms),
        }
    }
}

// serde passes references.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_good(quality: &&'static str) -> bool {
    *quality == Quality::Good.name()
}
