//! Adapters: where each version stands, and what became of it. Changing that is the business of `cutover`.

use super::auth::Viewer;
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::look;
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::{Named, Query};
use crate::adapter::{AddressForm, StoreError};
use crate::lifecycle::LifecycleError;
use crate::limits::NOTE_BYTES_MAX;
use crate::model::Seq;
use crate::session::Services;
use crate::views;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// One version of one adapter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdapterRow {
    /// The name under which it came.
    pub file: String,
    pub name: String,
    pub version: String,
    /// Counts the vendor's releases; 0: the vendor does not.
    #[serde(skip_serializing_if = "is_zero")]
    pub release: u64,
    /// SHA-256 of the file.
    pub digest: String,
    /// Its first 12 digits, for people.
    pub short_digest: String,
    /// staged, verified, inspected, compiled, conformed: ready to serve; shadow, active: serves; draining, standby: served
    /// before; retired, rejected, quarantined.
    pub state: &'static str,
    /// Why it is in this state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when.
    pub since: String,
    /// Who brought it there.
    pub by: String,
    /// When it last began to serve; left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// From its manifest, while it is at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

/// What an adapter says about itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct About {
    pub vendor: String,
    /// Address space of its devices.
    pub realm: String,
    /// What addresses of its realm look like; left out: it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressForm>,
    pub summary: String,
    pub models: Vec<String>,
    /// Commands that it encodes.
    pub commands: Vec<String>,
}

/// One step in the life of an adapter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdapterStep {
    /// The entry that says so.
    pub seq: u64,
    pub at: String,
    pub version: String,
    pub short_digest: String,
    /// The state that it led to.
    pub state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub by: String,
}

/// Which versions are wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Also those that are retired or were refused.
    #[serde(default)]
    all: bool,
}

/// Adapters by name
#[utoipa::path(get, path = "/adapters", tag = "adapters", security(("token" = ["viewer"])), params(Which),
    responses((status = 200, body = Paged<AdapterRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(which): Query<Which>,
) -> Json<Paged<AdapterRow>> {
    let found = if which.all { services.lifecycle.rows() } else { services.lifecycle.present() };
    Json(Paged::whole(found.into_iter().map(|found| row(&services, found)).collect()))
}

/// What became of an adapter's versions, newest step first
#[utoipa::path(get, path = "/adapters/{name}/history", tag = "adapters", security(("token" = ["viewer"])),
    params(("name", Path), Page),
    responses((status = 200, body = Paged<AdapterStep>), (status = "4XX", body = ErrorBody)))]
pub async fn history(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<AdapterStep>>> {
    if !services.lifecycle.rows().iter().any(|row| row.name == name) {
        return Err(ApiError::from(LifecycleError::Unknown(name)));
    }
    let (limit, before) = (page.limit()?, page.entry()?.map(Seq));
    let steps = look(&services, move |s| s.views.adapter_history(Some(&name), before, limit)).await?;
    let next = steps.last().filter(|_| steps.len() == limit).map(|step| step.seq.0.to_string());
    let step = |event: views::AdapterEvent| AdapterStep {
        seq: event.seq.0,
        at: instant(event.at_ms),
        version: event.fact.version,
        short_digest: event.fact.digest.short(),
        state: event.fact.step.state().name(),
        reason: event.fact.step.why(),
        by: event.fact.by,
    };
    Ok(Json(Paged { items: steps.into_iter().map(step).collect(), next }))
}

/// Those that a person asks for at first.
pub fn rows(services: &Services) -> Vec<AdapterRow> {
    services.lifecycle.present().into_iter().map(|found| row(services, found)).collect()
}

pub(super) fn row(services: &Services, row: views::AdapterRow) -> AdapterRow {
    let at_hand = services.catalog.at_hand(&row.digest);
    AdapterRow {
        file: row.origin.file,
        name: row.name,
        version: row.version,
        release: row.origin.release,
        digest: row.digest.to_string(),
        short_digest: row.digest.short(),
        state: row.state.name(),
        reason: row.why,
        since: instant(row.since_ms),
        by: row.by,
        served: row.served_ms.map(instant),
        about: at_hand.map(|adapter| About {
            vendor: adapter.manifest.vendor.clone(),
            realm: adapter.manifest.realm.clone(),
            address: adapter.manifest.address.clone(),
            summary: adapter.manifest.summary.clone(),
            models: adapter.manifest.models.clone(),
            commands: adapter.manifest.commands.clone(),
        }),
    }
}

/// Reasons end up in the journal.
pub(super) fn check_words<'a>(words: impl IntoIterator<Item = &'a String>) -> ApiResult<()> {
    match words.into_iter().find(|words| words.len() > NOTE_BYTES_MAX) {
        Some(_) => Err(ApiError::bad_request(format!("a reason has at most {NOTE_BYTES_MAX} bytes"))),
        None => Ok(()),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<LifecycleError> for ApiError {
    fn from(error: LifecycleError) -> Self {
        use LifecycleError as E;
        let code = match &error {
            E::FileName(_)
            | E::Ambiguous(..)
            | E::ShortDigest(_)
            | E::NoReason
            | E::ProfileName(_)
            | E::NoSuchModel
            | E::NotItsDevice(..) => Code::BadRequest,
            E::Unfit(_) | E::Realm { .. } => Code::AdapterRejected,
            E::Untrusted(_) | E::TrustFile(_) => Code::AdapterUntrusted,
            E::Downgrade { .. } => Code::AdapterDowngrade,
            E::Serves(_) => Code::AdapterServes,
            E::Unknown(_) | E::UnknownProfile(_) | E::NotBound(..) | E::NoSuchListener(..) => Code::NotFound,
            E::ProfileOfAnother(..) => Code::NameTaken,
            E::ProfileRefused { .. } => Code::ProfileRejected,
            E::Profile { .. }
            | E::ConfiguredProfile(_)
            | E::ConfiguredListener(..)
            | E::ProfilesFull
            | E::NotInstalled(..)
            | E::NothingBefore { .. }
            | E::Quarantined { .. }
            | E::Store(StoreError::Absent | StoreError::Changed)
            | E::ProfileBound(..)
            | E::Stopping
            | E::Full => Code::NotPossible,
            E::Store(cause) => return Self::internal(cause),
            E::Journal(_) => Code::JournalFailing,
            E::Views(_) => Code::ViewsFailing,
        };
        Self::new(code, error.to_string())
    }
}
