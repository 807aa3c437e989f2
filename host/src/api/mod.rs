//! The HTTP API: JSON under `/api/v1`, `/health` and `/metrics` beside it. The only way in for people, scripts, the
//! command line and the status page.
//!
//! One file a noun, each with its rows, its handlers and their description. `errors` has the one form of refusals, `auth`
//! who may do what, `listen` the door. Handlers decide nothing about devices or commands: they ask views and services.

mod adapters;
mod archives;
mod auth;
mod commands;
mod cutover;
mod days;
mod devices;
mod errors;
pub mod forms;
mod frames;
mod journal;
pub mod keys;
mod listen;
mod moments;
mod openapi;
mod overview;
mod paging;
mod polls;
mod profiles;
mod provenance;
mod quarantine;
mod queries;
mod readings;
mod registry;
mod requests;
mod reviews;
pub mod secret;
mod series;
mod station;
pub mod tokens;

pub use adapters::AdapterRow;
pub use commands::CommandRow;
pub use errors::{ApiError, Code};
pub use listen::{Front, Peer, serve};
pub use openapi::description;
pub use overview::{AdapterDay, Behind, CarrierRow, FamilyRow, LatestReport, Minute, Overview, Quarantined, overview};
pub use station::{CommandCounts, Fleet, Health, JournalLag, StationStatus, ViewsLag};

use crate::journal::Fact;
use crate::limits;
use crate::model::Seq;
use crate::session::Services;
use crate::views::ViewError;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use errors::ApiResult;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Everything but the status page.
pub fn router(services: Arc<Services>) -> Router {
    let (router, description) = routes().split_for_parts();
    let known = Arc::new(queries::Known::of(&description));
    let text = openapi::finish(description);
    router
        .route("/api/v1/openapi.json", axum::routing::get(|| async { openapi::serve(text) }))
        .fallback(|uri: axum::http::Uri| async move {
            ApiError::new(Code::NoSuchRoute, format!("nothing is served at {}; see /api/v1/openapi.json", uri.path()))
        })
        .method_not_allowed_fallback(|method: axum::http::Method| async move {
            ApiError::new(Code::MethodNotAllowed, format!("not with {method}; see /api/v1/openapi.json"))
        })
        .layer(axum::middleware::from_fn_with_state(known, queries::check))
        .layer(axum::middleware::from_fn(requests::take_in))
        .with_state(services)
}

/// Every route with its description: one cannot be without the other.
fn routes() -> OpenApiRouter<Arc<Services>> {
    let nouns = OpenApiRouter::new()
        .routes(routes!(devices::list))
        .routes(routes!(devices::show))
        .routes(routes!(devices::adopt))
        .routes(routes!(devices::forget))
        .routes(routes!(readings::list))
        .routes(routes!(series::show))
        .routes(routes!(readings::events))
        .routes(routes!(readings::newest_events))
        .routes(routes!(frames::of_device))
        .routes(routes!(commands::of_device))
        .routes(routes!(commands::list, commands::send))
        .routes(routes!(commands::show))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::settle))
        .routes(routes!(registry::list))
        .routes(routes!(registry::choices))
        .routes(routes!(registry::import))
        .routes(routes!(registry::export))
        .routes(routes!(registry::show, registry::set, registry::remove))
        .routes(routes!(archives::begin, archives::show))
        .routes(routes!(archives::sync))
        .routes(routes!(polls::list))
        .routes(routes!(polls::rounds, polls::hold))
        .routes(routes!(adapters::list))
        .routes(routes!(adapters::history))
        .routes(routes!(cutover::activate))
        .routes(routes!(cutover::rollback))
        .routes(routes!(cutover::retire))
        .routes(routes!(reviews::shadow, reviews::start_shadow, reviews::stop_shadow))
        .routes(routes!(reviews::replay, reviews::start_replay))
        .routes(routes!(profiles::list))
        .routes(routes!(profiles::show, profiles::set, profiles::remove))
        .routes(routes!(profiles::bind))
        .routes(routes!(profiles::unbind))
        .routes(routes!(profiles::history))
        .routes(routes!(quarantine::list))
        .routes(routes!(days::list))
        .routes(routes!(journal::status))
        .routes(routes!(journal::entries))
        .routes(routes!(keys::list))
        .routes(routes!(keys::import))
        .routes(routes!(keys::set, keys::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(station::status))
        .routes(routes!(overview::show))
        .layer(DefaultBodyLimit::max(limits::REQUEST_BYTES_MAX));
    let uploads = OpenApiRouter::new()
        .routes(routes!(cutover::install, cutover::remove))
        .layer(DefaultBodyLimit::max(limits::COMPONENT_BYTES_MAX));
    OpenApiRouter::with_openapi(openapi::frame())
        .nest("/api/v1", nouns.merge(uploads))
        .routes(routes!(station::health))
        .routes(routes!(station::metrics))
}

/// Asks the views on a thread that may block: a page may have to come from disk.
async fn look<T: Send + 'static>(
    services: &Arc<Services>,
    ask: impl FnOnce(&Services) -> Result<T, ViewError> + Send + 'static,
) -> ApiResult<T> {
    let services = services.clone();
    let ask = move || ask(&services).inspect_err(|error| services.views.note(error));
    let asked = tokio::task::spawn_blocking(ask).await;
    Ok(asked.map_err(|e| ApiError::internal(&e))??)
}

/// As `look`, for one thing. `None`: there is none, and that is everything that was said until now; while the views are behind,
/// nobody can say that of what was acknowledged a moment ago.
async fn find<T: Send + 'static>(
    services: &Arc<Services>,
    ask: impl Fn(&Services) -> Result<Option<T>, ViewError> + Send + Sync + 'static,
) -> ApiResult<Option<T>> {
    let ask = Arc::new(ask);
    let once = || {
        let ask = ask.clone();
        look(services, move |s| ask(s))
    };
    if let Some(found) = once().await? {
        return Ok(Some(found));
    }
    if !services.has_shown_all().await {
        return Err(ApiError::behind());
    }
    once().await
}

/// Makes a fact durable, and waits until the views show it, so that whoever asks next sees what was just said.
async fn commit(services: &Arc<Services>, fact: Fact) -> ApiResult<()> {
    let seq = services.commit(vec![fact]).await.map_err(|why| ApiError::journal(&why))?;
    shown(services, seq).await;
    Ok(())
}

/// Runs what must not stop half-way: a client that hangs up drops its handler at whatever it was waiting for.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> ApiResult<T> {
    tokio::spawn(work).await.map_err(|e| ApiError::internal(&e))
}

/// Waits until the views show an entry; durable it is in any case.
async fn shown(services: &Services, seq: Seq) {
    if !services.has_shown(seq).await {
        tracing::warn!(seq = seq.0, "answered before the views showed it: they are behind");
    }
}

/// Waits until the views show everything that is durable now.
async fn shown_all(services: &Services) {
    shown(services, services.journal.health().last_seq).await;
}

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        match &error {
            ViewError::Place(_) => Self::bad_request(error.to_string()),
            ViewError::Store(_) | ViewError::Torn(_) | ViewError::Journal(_) => Self::views(&error),
            ViewError::Damaged { .. } => Self::internal(&error),
        }
    }
}
