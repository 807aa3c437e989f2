//! Frames that no adapter could read yet.

use super::auth::Viewer;
use super::devices::AdapterName;
use super::errors::{ApiResult, ErrorBody};
use super::look;
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::Query;
use crate::journal::{Entry, Fact, FaultKind, Stored};
use crate::session::Services;
use crate::views::QuarantineFilter;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A frame in quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuarantineRow {
    /// Journal entry of the frame.
    pub seq: u64,
    /// Which part of what the frame brought of devices behind its sender; left out: the frame itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    pub received: String,
    pub listener: String,
    pub peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The adapter that failed last; left out: none took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterName>,
    /// foreign, not-mine, corrupt, not-authentic, unsupported, out-of-range, trap, deadline, resources, contract, refused
    /// or noise.
    pub fault: &'static str,
    pub detail: String,
    /// Length of the frame.
    pub bytes: usize,
    /// The frame, hexadecimal; left out when its day was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Name of the adapter that failed; empty: frames that none took.
    pub adapter: Option<String>,
    pub listener: Option<String>,
    /// Kind of fault.
    #[param(value_type = Option<String>)]
    pub fault: Option<FaultKind>,
}

/// Frames that nobody could read yet, oldest first
#[utoipa::path(get, path = "/quarantine", tag = "quarantine", security(("token" = ["viewer"])), params(Filter, Page),
    responses((status = 200, body = Paged<QuarantineRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<QuarantineRow>>> {
    let limit = page.limit()?;
    let filter = QuarantineFilter { adapter: filter.adapter, listener: filter.listener, kind: filter.fault };
    let found = look(&services, move |s| {
        let found = s.views.quarantine(&filter, page.after(), limit)?;
        let reader = s.journal.reader();
        Ok(Paged::of(found, |row| {
            let raw = match reader.get(row.seq) {
                Ok(Some(Stored { entry: Ok(Entry { fact, .. }), .. })) => raw_of(&fact, row.part),
                _ => None,
            };
            QuarantineRow {
                seq: row.seq.0,
                part: (row.part > 0).then_some(row.part),
                received: instant(row.at_ms),
                listener: row.listener,
                peer: row.peer,
                device: row.device.map(|d| d.to_string()),
                adapter: row.adapter.map(AdapterName::from),
                fault: row.kind.name(),
                detail: row.detail,
                bytes: row.bytes,
                raw: raw.map(hex::encode),
            }
        }))
    });
    Ok(Json(found.await?))
}

/// The bytes of a frame, or of a part of it.
fn raw_of(fact: &Fact, part: u32) -> Option<Vec<u8>> {
    fact.piece(part).map(|piece| piece.raw.to_vec())
}
