//! The device registry: one record, listings, import in chunks, export as a stream.

use super::auth::{Admin, Operator, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody, ErrorDetail};
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::{Body, Device, Query, whole};
use super::{look, shown, shown_all, to_the_end};
use crate::limits;
use crate::model::{Column, DeviceKey, DeviceKind, Flaw, Particulars, Record};
use crate::records::rows::{self, Chunk, CsvText, Said};
use crate::records::table::Unreadable;
use crate::records::weigh::{Choices, Weighed};
use crate::records::{Change, Done, RecordsError};
use crate::session::Services;
use crate::views::{RegistryFilter, RegistryRow, ViewError};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

/// What the utility says of one device.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordRow {
    /// `realm/address`.
    pub device: String,
    #[serde(flatten)]
    pub about: RecordBody,
    /// When it was said.
    pub set: String,
    /// Who said it: the name of the token.
    pub by: String,
}

/// What is said. Texts that are not said are left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordBody {
    /// meter, concentrator or dtu.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manufacturer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Name of an adapter that serves.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub adapter: String,
    /// Name of a profile: this device is spoken to with it unless one is bound to the device itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// The concentrator or DTU in front of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What the parent carries for it: a code of wit/codes.md, one that a listener's `relays` name, or `vendor-…`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Behind the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub district: String,
    /// The utility's own reference.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub customer: String,
    /// Name of the key's slot; never a key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_slot: String,
    /// How the parent calls it, where that is not its own address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub line_address: String,
    /// Of the line behind the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baud: Option<u32>,
    /// Of the line behind the parent, such as 8E1.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub line_format: String,
}

/// One record to set: the fields of `RecordBody`, `kind` at least.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(value_type = RecordBody)]
pub struct NewRecord(serde_json::Map<String, Value>);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Beginning of `realm/address`.
    #[serde(default)]
    pub prefix: String,
    /// Only devices behind this one, `realm/address`.
    pub parent: Option<String>,
    pub district: Option<String>,
    /// meter, concentrator or dtu.
    #[param(value_type = Option<String>)]
    pub kind: Option<DeviceKind>,
    pub adapter: Option<String>,
    pub model: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct How {
    /// Only check; write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Wait until listings show what was written. Without, a long import is faster.
    #[serde(default = "yes")]
    pub shown: bool,
}

/// What became of a chunk.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ImportAnswer {
    /// Devices that had no record, or slots that had no key.
    pub added: usize,
    pub changed: usize,
    /// Rows that say nothing new.
    pub unchanged: usize,
    /// Whether it is durable now: all of it or nothing.
    pub written: bool,
    /// What is wrong, in the order of lines.
    pub flaws: Vec<RowFlaw>,
    /// Set when something is wrong and it was no dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
}

/// Something wrong with a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowFlaw {
    /// Line of the body, counted from 1; a CSV's header is the first.
    pub line: u64,
    /// Left out where it is the row as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<&'static str>,
    /// malformed, duplicate, unknown-adapter, unknown-profile, unknown-parent, no-carrier, circle, too-deep or has-children.
    pub kind: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

fn yes() -> bool {
    true
}

/// Records, in the order of their keys
///
/// A filtered page may hold fewer rows than asked for and still go on; follow `next`.
#[utoipa::path(get, path = "/registry", tag = "registry", security(("token" = ["viewer"])), params(Filter, Page),
    responses((status = 200, body = Paged<RecordRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<RecordRow>>> {
    let limit = page.limit()?;
    let wanted = filter.resolve()?;
    let found = look(&services, move |s| s.views.records(&wanted, page.after(), limit)).await?;
    Ok(Json(Paged::of(found, RecordRow::from)))
}

/// What records may name
#[utoipa::path(get, path = "/registry/choices", tag = "registry", security(("token" = ["viewer"])),
    responses((status = 200, body = Choices), (status = "4XX", body = ErrorBody)))]
pub async fn choices(_: Viewer, State(services): State<Arc<Services>>) -> Json<Choices> {
    Json(choices_now(&services))
}

fn choices_now(services: &Services) -> Choices {
    let relayed = services.doors.iter().flat_map(|door| &door.relays).map(|carries| carries.protocol.as_str());
    Choices::of(&services.catalog, services.lifecycle.profiles().names(), relayed)
}

/// The record of one device
#[utoipa::path(get, path = "/registry/{realm}/{address}", tag = "registry", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path)),
    responses((status = 200, body = RecordRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn show(_: Viewer, State(services): State<Arc<Services>>, Device(key): Device) -> ApiResult<Json<RecordRow>> {
    Ok(Json(find(&services, &key).await?.into()))
}

/// Set the record of one device
///
/// The body is the whole record: what it leaves out is no longer said. The device counts as known from then on: listeners
/// that hold or refuse strangers let it in.
#[utoipa::path(put, path = "/registry/{realm}/{address}", tag = "registry", security(("token" = ["operator"])),
    params(("realm", Path), ("address", Path)), request_body = NewRecord,
    responses((status = 200, body = RecordRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn set(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Body(NewRecord(mut fields)): Body<NewRecord>,
) -> ApiResult<Json<RecordRow>> {
    fields.insert("device".into(), key.to_string().into());
    for column in Column::ALL {
        fields.entry(column.name()).or_insert(Value::Null);
    }
    let row = rows::from_json(1, Value::Object(fields).to_string().as_bytes());
    let row = row.map_err(|(_, flaws)| in_words(&flaws.into_iter().map(|flaw| (1, flaw)).collect::<Vec<_>>()))?;
    write(&services, Change::Set(vec![row]), caller.name).await?;
    Ok(Json(find(&services, &key).await?.into()))
}

/// Withdraw the record of one device
///
/// What the device has reported stays. Refused while other devices stand behind it.
#[utoipa::path(delete, path = "/registry/{realm}/{address}", tag = "registry", security(("token" = ["operator"])),
    params(("realm", Path), ("address", Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn remove(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Device(key): Device,
) -> ApiResult<StatusCode> {
    find(&services, &key).await?;
    write(&services, Change::Withdraw(key), caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Import a chunk of records
///
/// CSV (`text/csv`) with a header that names the columns, in any order, `device` and `kind` at least; or
/// `application/x-ndjson`, one object a line. A column that is not in the header, or a field that is not in the object,
/// leaves what the record says; an empty cell, an empty text or a null takes it away, an empty `parent` with it what is said
/// of the line behind it, an empty `adapter` its profile. At most 4,000 rows and 184 KiB. A chunk is written as a whole or, when
/// anything is wrong with it, not at all; a row that says nothing new changes nothing, so a chunk can be sent again. A
/// parent needs a record, from an earlier chunk or anywhere in this one.
#[utoipa::path(post, path = "/registry/import", tag = "registry", security(("token" = ["admin"])), params(How),
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"))),
    responses((status = 200, body = ImportAnswer), (status = 422, body = ImportAnswer),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn import(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Query(how): Query<How>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> ApiResult<Response> {
    let body = whole(body, limits::CHUNK_BYTES_MAX, "send fewer rows at a time")?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let read = tokio::task::spawn_blocking(move || match kind.split(';').next().unwrap_or_default().trim() {
        "text/csv" => Some(Chunk::of_csv(&body)),
        "application/x-ndjson" => Some(Chunk::of_json(&body)),
        _ => None,
    });
    let chunk = match read.await.map_err(|e| ApiError::internal(&e))? {
        Some(read) => read.map_err(|error| ApiError::bad_request(unreadable(&error)))?,
        None => return Err(ApiError::bad_request("send content-type text/csv or application/x-ndjson")),
    };
    let trial = how.dry_run || !chunk.flaws.is_empty();
    let working = services.clone();
    let change = Change::Set(chunk.rows);
    let done = to_the_end(async move { change_records(&working, change, &caller.name, trial).await }).await??;
    if how.shown && !how.dry_run {
        shown_all(&services).await;
    }
    let Weighed { added, changed, unchanged, flaws, .. } = done.weighed;
    let flaws = chunk.flaws.into_iter().chain(flaws).collect();
    Ok(ImportAnswer { added, changed, unchanged, ..ImportAnswer::of(flaws, how.dry_run) }.into_response())
}

/// All records as CSV
///
/// In the order of keys, as `import` reads it: UTF-8, a header, LF. Records that change meanwhile may show either state.
#[utoipa::path(get, path = "/registry/export", tag = "registry", security(("token" = ["viewer"])), params(Filter),
    responses((status = 200, body = String, content_type = "text/csv"), (status = "4XX", body = ErrorBody)))]
pub async fn export(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(filter): Query<Filter>,
) -> ApiResult<Response> {
    let wanted = filter.resolve()?;
    let (pages, waiting) = mpsc::channel(limits::EXPORT_PAGES_WAITING_MAX);
    tokio::task::spawn_blocking(move || export_blocking(&services, &wanted, &pages));
    let body = axum::body::Body::from_stream(Pages(waiting));
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], body).into_response())
}

/// Page by page, as fast as somebody reads. A failure breaks the stream off, so that nobody takes it for the whole.
fn export_blocking(services: &Services, wanted: &RegistryFilter, pages: &mpsc::Sender<Result<Vec<u8>, ViewError>>) {
    let mut text = CsvText::new(Said::ALL);
    text.header();
    let mut after: Option<String> = None;
    loop {
        let page = match services.views.records(wanted, after.as_deref(), limits::PAGE_ROWS_MAX) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "an export was broken off");
                drop(pages.blocking_send(Err(error)));
                return;
            }
        };
        page.rows.iter().for_each(|row| text.record(&row.record));
        if pages.blocking_send(Ok(text.take())).is_err() {
            return;
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// Pages on their way out.
struct Pages(mpsc::Receiver<Result<Vec<u8>, ViewError>>);

impl Stream for Pages {
    type Item = Result<Vec<u8>, ViewError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

async fn find(services: &Arc<Services>, key: &DeviceKey) -> ApiResult<RegistryRow> {
    let wanted = key.clone();
    let found = super::find(services, move |s| s.views.registry()?.get(&wanted)).await?;
    found.ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("the registry has no {key}; list it with GET /api/v1/registry"))
    })
}

/// Writes a change, waits until it is shown, and refuses it when anything is wrong.
async fn write(services: &Arc<Services>, change: Change, by: String) -> ApiResult<()> {
    let working = services.clone();
    let done = to_the_end(async move { change_records(&working, change, &by, false).await }).await??;
    if !done.weighed.flaws.is_empty() {
        return Err(in_words(&done.weighed.flaws));
    }
    if let Some(seq) = done.seq {
        shown(services, seq).await;
    }
    Ok(())
}

async fn change_records(services: &Arc<Services>, change: Change, by: &str, trial: bool) -> ApiResult<Done> {
    let done = services.records.write(change, choices_now(services), by, trial).await?;
    if let Some(seq) = done.seq {
        services.registry_changed(&done.weighed, seq);
    }
    Ok(done)
}

fn in_words(flaws: &[(u64, Flaw)]) -> ApiError {
    let words = flaws.iter().map(|(_, flaw)| match flaw.column {
        Some(column) => format!("{column}: {}", flaw.message),
        None => flaw.message.clone(),
    });
    ApiError::new(Code::NotPossible, words.collect::<Vec<_>>().join("; "))
}

pub fn unreadable(error: &Unreadable) -> String {
    match error {
        Unreadable::File(what) => format!("the body {what}"),
        Unreadable::Line { .. } => error.to_string(),
    }
}

impl Filter {
    fn resolve(self) -> ApiResult<RegistryFilter> {
        let parent = self.parent.map(|text| text.parse()).transpose();
        let parent = parent.map_err(|e: crate::model::KeyError| ApiError::bad_request(e.to_string()))?;
        let Self { prefix, district, kind, adapter, model, .. } = self;
        Ok(RegistryFilter { prefix, parent, district, kind, adapter, model })
    }
}

impl ImportAnswer {
    /// What is wrong with the rows, and so whether they were written.
    pub fn of(flaws: Vec<(u64, Flaw)>, dry_run: bool) -> Self {
        let mut flaws: Vec<RowFlaw> = flaws.into_iter().map(RowFlaw::from).collect();
        flaws.sort_by_key(|flaw| flaw.line);
        let error = (!flaws.is_empty() && !dry_run).then(|| ErrorDetail {
            code: Code::BadRows.name().into(),
            message: "some rows are wrong, see `flaws`; correct them and send the chunk again".into(),
        });
        Self { written: flaws.is_empty() && !dry_run, flaws, error, ..Self::default() }
    }
}

impl IntoResponse for ImportAnswer {
    fn into_response(self) -> Response {
        let status = if self.error.is_some() { Code::BadRows.status() } else { StatusCode::OK };
        (status, Json(self)).into_response()
    }
}

impl From<(u64, Flaw)> for RowFlaw {
    fn from((line, flaw): (u64, Flaw)) -> Self {
        Self { line, column: flaw.column, kind: flaw.kind.name(), message: flaw.message }
    }
}

impl From<RegistryRow> for RecordRow {
    fn from(row: RegistryRow) -> Self {
        let RegistryRow { record: Record { device, about }, by, since_ms, .. } = row;
        Self { device: device.to_string(), about: about.into(), set: instant(since_ms), by }
    }
}

impl From<Particulars> for RecordBody {
    fn from(about: Particulars) -> Self {
        Self {
            kind: about.kind.name(),
            manufacturer: about.manufacturer,
            model: about.model,
            adapter: about.adapter,
            profile: about.profile,
            parent: about.parent.map(|parent| parent.to_string()),
            protocol: about.protocol,
            channel: about.channel,
            district: about.district,
            customer: about.customer,
            key_slot: about.key_slot,
            line_address: about.line_address,
            baud: about.baud,
            line_format: about.line_format,
        }
    }
}

impl From<RecordsError> for ApiError {
    fn from(error: RecordsError) -> Self {
        match &error {
            RecordsError::Journal(why) => Self::journal(why),
            RecordsError::Behind => Self::journal("the views are too far behind it"),
            RecordsError::Views(_) | RecordsError::Interrupted(_) => Self::internal(&error),
        }
    }
}
