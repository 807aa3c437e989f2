//! The journal: how far it is, and its entries for those who follow.

use super::auth::Viewer;
use super::errors::{ApiResult, ErrorBody};
use super::frames::EntryRow;
use super::look;
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::Query;
use crate::limits;
use crate::model::Seq;
use crate::session::Services;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How the journal is doing.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalStatus {
    pub station: String,
    /// Entries are known to other stations as `station:epoch:seq`.
    pub epoch: u64,
    /// The oldest entry that is kept.
    pub first_seq: u64,
    /// The newest durable entry; 0: none yet.
    pub last_seq: u64,
    /// Entries waiting for the writer.
    pub queued: usize,
    /// Commits since the start.
    pub commits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<String>,
    /// Left out while entries can be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// UTC days.
    pub days: Vec<JournalDay>,
}

/// Entries of one UTC day.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalDay {
    pub day: String,
    pub first: u64,
    pub last: u64,
    pub entries: u64,
    /// Size of its files.
    pub bytes: u64,
}

/// How far the journal is
#[utoipa::path(get, path = "/journal", tag = "journal", security(("token" = ["viewer"])),
    responses((status = 200, body = JournalStatus), (status = "4XX", body = ErrorBody)))]
pub async fn status(_: Viewer, State(services): State<Arc<Services>>) -> ApiResult<Json<JournalStatus>> {
    let days = look(&services, |s| Ok(s.journal.reader().days()?)).await?;
    let health = services.journal.health();
    let identity = services.journal.identity();
    Ok(Json(JournalStatus {
        station: identity.station.clone(),
        epoch: identity.epoch,
        first_seq: services.journal.reader().first_seq().0,
        last_seq: health.last_seq.0,
        queued: health.queued,
        commits: health.commits,
        last_commit: health.last_commit_ms.map(instant),
        failing: health.failing.map(|f| format!("since {}: {}", instant(f.since_ms), f.why)),
        days: days
            .into_iter()
            .map(|d| JournalDay {
                day: d.day.to_string(),
                first: d.first.0,
                last: d.last.0,
                entries: d.count,
                bytes: d.bytes,
            })
            .collect(),
    }))
}

/// Entries in order
///
/// `after` is the number of an entry: 0 begins with the oldest that is kept. `next` is there on every page that is not
/// empty, also on the last: ask again with it to follow the journal.
#[utoipa::path(get, path = "/journal/entries", tag = "journal", security(("token" = ["viewer"])), params(Page),
    responses((status = 200, body = Paged<EntryRow>), (status = "4XX", body = ErrorBody)))]
pub async fn entries(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<EntryRow>>> {
    let limit = page.limit()?;
    let after = page.entry()?.unwrap_or(0);
    let from = Seq(after.saturating_add(1));
    let rows = look(&services, move |s| Ok(s.journal.reader().read(from, limit, limits::PAGE_BYTES_MAX)?)).await?;
    let items: Vec<EntryRow> = rows.iter().map(EntryRow::of).collect();
    let next = items.last().map(|row| row.seq.to_string());
    Ok(Json(Paged { items, next }))
}
