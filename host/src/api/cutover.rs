//! Changing who serves: handing over an adapter, putting a version into service, going back, taking one away.

use super::adapters::{AdapterRow, check_words, row};
use super::auth::Admin;
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::requests::{Body, Named, Query, whole};
use super::shown_all;
use crate::lifecycle::{self, Delivery, LifecycleError};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::session::Services;
use crate::views;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How a file is taken.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Taken {
    /// Check and keep it only; `activate` puts it into service later.
    #[serde(default)]
    stage: bool,
    /// Why a version is wanted that is older than one that has served; left out: it is not wanted. An upload says here what
    /// `activate` says with `allow_downgrade` and `reason`.
    downgrade: Option<String>,
    /// Kept in the journal.
    reason: Option<String>,
}

/// What is to serve, and why.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutover {
    /// A version, or the first digits of a digest; left out: the newest that is installed, or where the path names a digest by
    /// its first digits, that build.
    pub version: Option<String>,
    /// Kept in the journal.
    pub reason: String,
    /// The version may be older than one that has served; needs a reason. An upload says both with `?downgrade=WHY`.
    pub allow_downgrade: bool,
}

/// Why the version before is to serve again. Which one that is, nobody chooses: `activate` puts one by name into service.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// Kept in the journal.
    pub reason: String,
}

/// What is to be taken out, and why.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retirement {
    /// A version, or the first digits of a digest; left out: the one that serves, or where the path names a digest by its first
    /// digits, that build.
    pub version: Option<String>,
    /// Kept in the journal.
    pub reason: String,
    /// Also if it serves.
    pub even_active: bool,
}

/// Hand over an adapter
///
/// It is checked first, and a bad file replaces nothing. Unless it is only staged, it serves from the next frame on once the
/// answer is there, without a restart and without closing a connection.
#[utoipa::path(put, path = "/adapters/{name}", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path, description = "File name, ending in .wasm"), Taken),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = AdapterRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn install(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(file): Named<String>,
    Query(taken): Query<Taken>,
    body: Result<Bytes, BytesRejection>,
) -> ApiResult<Json<AdapterRow>> {
    let bytes = whole(body, COMPONENT_BYTES_MAX, "no station runs a larger adapter")?;
    check_words(taken.reason.iter().chain(&taken.downgrade))?;
    change(&services, move |services| {
        let lifecycle = &services.lifecycle;
        let downgrade = taken.downgrade.as_deref();
        let delivery = Delivery { file: &file, bytes: &bytes, by: &caller.name, dropped_in: false, downgrade };
        let installed = lifecycle.install(&delivery)?;
        if taken.stage {
            return Ok(installed);
        }
        let reason = taken.reason.as_deref().or(downgrade).unwrap_or_default();
        let order = lifecycle::Order { by: &caller.name, reason, downgrade: downgrade.is_some() };
        lifecycle.activate(&installed.digest.to_string(), &order)
    })
    .await
}

/// Take away what came under a file name
///
/// It is taken out of the adapter directory, too. What stood by takes over.
#[utoipa::path(delete, path = "/adapters/{name}", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path, description = "File name, ending in .wasm")),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn remove(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(file): Named<String>,
) -> ApiResult<StatusCode> {
    let working = services.clone();
    let removed = tokio::task::spawn_blocking(move || {
        working.lifecycle.take_file_away(&file, &caller.name).map_err(|error| match error {
            LifecycleError::Unknown(_) => no_such_file(&file, &working.lifecycle.present()),
            error => error.into(),
        })
    });
    removed.await.map_err(|e| ApiError::internal(&e))??;
    shown_all(&services).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Put an installed version into service
///
/// It serves from the next frame on; no connection is closed. The version before it stands by.
#[utoipa::path(post, path = "/adapters/{name}/activate", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path)), request_body = Cutover,
    responses((status = 200, body = AdapterRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn activate(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(cutover): Body<Cutover>,
) -> ApiResult<Json<AdapterRow>> {
    check_words([&cutover.reason])?;
    change(&services, move |services| {
        let wanted = match &cutover.version {
            Some(version) => format!("{name}@{version}"),
            None => services.lifecycle.newest(&name)?.digest.to_string(),
        };
        let downgrade = cutover.allow_downgrade;
        let order = lifecycle::Order { by: &caller.name, reason: &cutover.reason, downgrade };
        services.lifecycle.activate(&wanted, &order)
    })
    .await
}

/// Put the version that served before back into service
///
/// At once: it is still compiled.
#[utoipa::path(post, path = "/adapters/{name}/rollback", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path)), request_body = Rollback,
    responses((status = 200, body = AdapterRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn rollback(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(Rollback { reason }): Body<Rollback>,
) -> ApiResult<Json<AdapterRow>> {
    check_words([&reason])?;
    change(&services, move |services| {
        let order = lifecycle::Order { by: &caller.name, reason: &reason, downgrade: false };
        services.lifecycle.rollback(&name, &order)
    })
    .await
}

/// Take a version out of the station
#[utoipa::path(post, path = "/adapters/{name}/retire", tag = "adapters", security(("token" = ["admin"])),
    params(("name", Path)), request_body = Retirement,
    responses((status = 200, body = AdapterRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn retire(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(retirement): Body<Retirement>,
) -> ApiResult<Json<AdapterRow>> {
    check_words([&retirement.reason])?;
    change(&services, move |services| {
        let wanted = retirement.version.as_ref().map_or_else(|| name.clone(), |version| format!("{name}@{version}"));
        let order = lifecycle::Order { by: &caller.name, reason: &retirement.reason, downgrade: false };
        services.lifecycle.retire(&wanted, &order, retirement.even_active)
    })
    .await
}

/// Nothing came under that name. Where it is the name, the version or the digest of an adapter, its file is told.
fn no_such_file(said: &str, rows: &[views::AdapterRow]) -> ApiError {
    let (name, which) = said.split_once('@').unwrap_or((said, ""));
    let is_meant = |row: &&views::AdapterRow| {
        row.name == name && (which.is_empty() || row.version == which || row.is_digest(which)) || row.is_digest(said)
    };
    let files: BTreeSet<&str> = rows.iter().filter(is_meant).map(|row| row.origin.file.as_str()).collect();
    let said = said.escape_debug();
    ApiError::new(
        Code::NotFound,
        if files.is_empty() {
            format!("no adapter came under the file name `{said}`; `polymeter adapter list` shows the files")
        } else {
            let files: Vec<_> = files.into_iter().collect();
            format!(
                "`{said}` is no file name; it came as {}: name that, or use `polymeter adapter retire`",
                files.join(", ")
            )
        },
    )
}

/// Runs a change to its end, whether or not the client waits for it, on a thread that may block.
async fn change(
    services: &Arc<Services>,
    work: impl FnOnce(&Services) -> Result<views::AdapterRow, LifecycleError> + Send + 'static,
) -> ApiResult<Json<AdapterRow>> {
    let working = services.clone();
    let changed = tokio::task::spawn_blocking(move || work(&working)).await;
    let found = changed.map_err(|e| ApiError::internal(&e))??;
    shown_all(services).await;
    Ok(Json(row(services, found)))
}
