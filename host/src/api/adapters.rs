//! Adapters: which serve, which do not and why, and new ones.

use super::auth::{Admin, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::paging::Paged;
use super::requests::Named;
use crate::adapter::{InstallError, Listed};
use crate::limits;
use crate::model::Digest;
use crate::session::Services;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// One adapter file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdapterRow {
    pub file: String,
    pub name: String,
    pub version: String,
    /// SHA-256 of the file; left out if it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its first 12 digits, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_digest: Option<String>,
    /// active: serves; standby: a higher version serves; rejected.
    pub state: &'static str,
    /// Why it does not serve.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// From its manifest, while it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

/// What an adapter says about itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct About {
    pub vendor: String,
    /// Address space of its devices.
    pub realm: String,
    pub summary: String,
    pub models: Vec<String>,
    /// Commands that it encodes.
    pub commands: Vec<String>,
}

/// Adapter files by name
#[utoipa::path(get, path = "/adapters", tag = "adapters", security(("token" = ["viewer"])),
    responses((status = 200, body = Paged<AdapterRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(_: Viewer, State(services): State<Arc<Services>>) -> Json<Paged<AdapterRow>> {
    Json(Paged::whole(rows(&services)))
}

/// Hand over an adapter
///
/// It is checked first: a bad file replaces nothing. Once the answer is there, a better version serves, without a
/// restart and without closing a connection.
#[utoipa::path(put, path = "/adapters/{file}", tag = "adapters", security(("token" = ["admin"])),
    params(("file", Path, description = "File name, ending in .wasm")),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = AdapterRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn install(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(file): Named<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> ApiResult<Json<AdapterRow>> {
    let bytes = body?;
    let (working, name) = (services.clone(), file.clone());
    let installed = tokio::task::spawn_blocking(move || working.catalog.install(&name, &bytes, &caller.name)).await;
    let digest = installed.map_err(|e| ApiError::internal(&e))??;
    let found =
        seen(&services, |rows| rows.iter().find(|row| is(row, &file, &digest)).map(|r| row(&services, r))).await;
    found.map(Json).ok_or_else(|| {
        ApiError::internal(&format!("{file} lies in the adapter directory, but no scan has found it yet"))
    })
}

/// Take an adapter file away
#[utoipa::path(delete, path = "/adapters/{file}", tag = "adapters", security(("token" = ["admin"])),
    params(("file", Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub async fn remove(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(file): Named<String>,
) -> ApiResult<StatusCode> {
    let (working, name) = (services.clone(), file.clone());
    let removed = tokio::task::spawn_blocking(move || working.catalog.remove(&name, &caller.name)).await;
    removed.map_err(|e| ApiError::internal(&e))??;
    let gone = seen(&services, |rows| rows.iter().all(|row| row.file != file).then_some(())).await;
    gone.map(|()| StatusCode::NO_CONTENT)
        .ok_or_else(|| ApiError::internal(&format!("{file} is removed, but no scan has noticed yet")))
}

/// Every file, as the last scan saw it.
pub fn rows(services: &Services) -> Vec<AdapterRow> {
    services.catalog.list().iter().map(|listed| row(services, listed)).collect()
}

fn row(services: &Services, listed: &Listed) -> AdapterRow {
    let serving = services.catalog.active(&listed.name).filter(|a| Some(a.digest) == listed.digest);
    AdapterRow {
        file: listed.file.clone(),
        name: listed.name.clone(),
        version: listed.version.clone(),
        digest: listed.digest.map(|d| d.to_string()),
        short_digest: listed.digest.map(|d| d.short()),
        state: listed.state.name(),
        reason: listed.reason.clone(),
        about: serving.map(|adapter| About {
            vendor: adapter.manifest.vendor.clone(),
            realm: adapter.manifest.realm.clone(),
            summary: adapter.manifest.summary.clone(),
            models: adapter.manifest.models.clone(),
            commands: adapter.manifest.commands.clone(),
        }),
    }
}

fn is(row: &Listed, file: &str, digest: &Digest) -> bool {
    row.file == file && row.digest == Some(*digest)
}

/// Waits until a scan of the directory shows what is looked for.
async fn seen<T>(services: &Services, look: impl Fn(&[Listed]) -> Option<T>) -> Option<T> {
    let deadline = tokio::time::Instant::now() + limits::ADAPTER_SEEN_WITHIN;
    loop {
        if let Some(found) = look(&services.catalog.list()) {
            return Some(found);
        }
        if tokio::time::Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(limits::ADAPTER_SCAN_EVERY / 10).await;
    }
}

impl From<InstallError> for ApiError {
    fn from(error: InstallError) -> Self {
        let code = match &error {
            InstallError::Name(_) => Code::BadRequest,
            InstallError::Rejected(_) => Code::AdapterRejected,
            InstallError::Absent(_) => Code::NotFound,
            InstallError::Directory(cause) => return Self::internal(cause),
        };
        Self::new(code, error.to_string())
    }
}
