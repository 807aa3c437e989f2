//! One total a day, and what was used between two of them: what a bill or a chart is made of.

use super::auth::Viewer;
use super::devices::find;
use super::errors::{ApiResult, ErrorBody};
use super::paging::{Page, Paged};
use super::readings::{Span, of_known};
use super::requests::{Device, Query};
use crate::model::{Civil, Day, DeviceKey, Quantity, Register, Role, decimal};
use crate::session::Services;
use crate::views::{Reading, ReadingFilter, ViewError, Views};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// What a device counts, the most telling first.
const TOTALS: [Quantity; 4] = [Quantity::StandardVolume, Quantity::WorkingVolume, Quantity::Volume, Quantity::Energy];

/// A day's total, and what was used since the one before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct DailyTotal {
    /// Local day of the device.
    #[schema(example = "2024-03-15")]
    pub day: String,
    /// When that day the total was taken: the latest there is.
    pub at: String,
    pub quantity: &'static str,
    /// Exact, as a decimal.
    #[schema(example = "1234.56")]
    pub value: String,
    pub unit: &'static str,
    /// Difference to the total of the day before; left out where that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Which total, such as working-volume.
    #[param(value_type = Option<String>)]
    quantity: Option<Quantity>,
}

/// One total a day, oldest first
///
/// Of totals without tariff and channel, the last of each day. Without `quantity`: the first of standard-volume,
/// working-volume, volume and energy that the device tells. A page may be longer than asked for.
#[utoipa::path(get, path = "/devices/{realm}/{address}/series", tag = "devices", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path), Span, Which, Page),
    responses((status = 200, body = Paged<DailyTotal>), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn show(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Query(span): Query<Span>,
    Query(which): Query<Which>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<DailyTotal>>> {
    let ((from, to), limit) = (span.resolve()?, page.limit()?);
    let filter = ReadingFilter { from, to, quantity: which.quantity, with_superseded: false };
    let found = find(&services, &key, move |s, device| {
        of_known(s, device, read(&s.views, device, filter.clone(), page.after(), limit)?)
    });
    found.await.map(Json)
}

fn read(
    views: &Views,
    device: &DeviceKey,
    mut filter: ReadingFilter,
    after: Option<&str>,
    limit: usize,
) -> Result<Paged<DailyTotal>, ViewError> {
    if filter.quantity.is_none() {
        let newest = views.newest_readings(device)?;
        let told =
            |quantity: &Quantity| newest.iter().any(|r| is_total(&r.register) && r.register.quantity == *quantity);
        filter.quantity = TOTALS.into_iter().find(told);
    }
    if filter.quantity.is_none() {
        return Ok(Paged::whole(Vec::new()));
    }
    let page = views.readings(device, &filter, after, limit)?;
    let days = last_of_each_day(page.rows);
    // What was used on the page's first day needs the day before it.
    let mut before = None;
    if let Some(first) = days.first() {
        let day = first.at.day();
        let eve = ReadingFilter { from: Day(day.0 - 1).start(), to: Civil(day.start().0 - 1), ..filter };
        before = last_of_each_day(views.readings(device, &eve, None, limit)?.rows).pop();
    }
    let mut items = Vec::with_capacity(days.len());
    for total in days {
        items.push(DailyTotal::of(&total, before.as_ref()));
        before = Some(total);
    }
    Ok(Paged { items, next: page.next })
}

fn is_total(register: &Register) -> bool {
    matches!(register.role, Role::Cumulative | Role::Frozen) && register.tariff == 0 && register.channel == 0
}

/// Rows come in the order of their time, so the last of a day is the one that counts.
fn last_of_each_day(rows: Vec<Reading>) -> Vec<Reading> {
    let mut days: Vec<Reading> = Vec::new();
    for row in rows.into_iter().filter(|row| is_total(&row.register) && !row.superseded) {
        match days.last_mut() {
            Some(last) if last.at.day() == row.at.day() => *last = row,
            _ => days.push(row),
        }
    }
    days
}

impl DailyTotal {
    fn of(total: &Reading, before: Option<&Reading>) -> Self {
        let register = &total.register;
        let eve = before.filter(|b| b.at.day().0 + 1 == total.at.day().0);
        Self {
            day: total.at.day().to_string(),
            at: total.at.to_string(),
            quantity: register.quantity.name(),
            value: decimal(register.mantissa, register.exponent),
            unit: register.unit.name(),
            used: eve.and_then(|eve| difference(register, &eve.register)),
        }
    }
}

/// Exact, in the finer of the two scales; `None`: not comparable, or beyond any meter.
fn difference(now: &Register, before: &Register) -> Option<String> {
    if now.unit != before.unit {
        return None;
    }
    let exponent = now.exponent.min(before.exponent);
    let scaled = |r: &Register| {
        let steps = u32::try_from(i32::from(r.exponent) - i32::from(exponent)).ok()?;
        r.mantissa.checked_mul(10_i64.checked_pow(steps)?)
    };
    Some(decimal(scaled(now)?.checked_sub(scaled(before)?)?, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Quality, Seq, Unit};

    fn reading(at: &str, mantissa: i64, exponent: i8) -> Reading {
        let register = Register {
            quantity: Quantity::Volume,
            unit: Unit::CubicMetre,
            role: Role::Cumulative,
            quality: Quality::Good,
            exponent,
            mantissa,
            at: None,
            storage: 0,
            tariff: 0,
            channel: 0,
            code: 0,
        };
        Reading { at: at.parse().expect("time"), register, source: Seq(1), received_ms: 0, superseded: false }
    }

    #[test]
    fn the_last_total_of_a_day_counts_and_missing_days_give_no_difference() {
        let rows = vec![
            reading("2024-03-01T00:00:00", 100, -2),
            reading("2024-03-01T23:00:00", 150, -2),
            reading("2024-03-02T00:05:00", 2, 0),
            reading("2024-03-04T00:05:00", 7, 0),
        ];
        let days = last_of_each_day(rows);
        let mut before = None;
        let used: Vec<_> = days
            .iter()
            .map(|day| {
                let total = DailyTotal::of(day, before);
                before = Some(day);
                (total.day, total.value, total.used)
            })
            .collect();
        let row = |day: &str, value: &str, used: Option<&str>| (day.into(), value.into(), used.map(Into::into));
        assert_eq!(
            used,
            [row("2024-03-01", "1.50", None), row("2024-03-02", "2", Some("0.50")), row("2024-03-04", "7", None)]
        );
    }

    #[test]
    fn what_cannot_be_compared_is_left_out() {
        let (a, b) = (reading("2024-03-01T00:00:00", i64::MAX, 0), reading("2024-03-01T00:00:00", 1, -18));
        assert_eq!(difference(&a.register, &b.register), None);
    }
}
