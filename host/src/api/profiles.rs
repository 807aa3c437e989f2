//! Profiles: how devices are spoken to, in which version, and who decided it.

use super::adapters::check_words;
use super::auth::{Admin, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::{Body, Named, Query};
use super::{look, shown_all};
use crate::adapter::SaidOnce;
use crate::journal::{ProfileScope, ProfileStep};
use crate::lifecycle::{self, LifecycleError};
use crate::model::Seq;
use crate::session::Services;
use crate::views;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// One profile, in one version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProfileRow {
    pub name: String,
    /// 1, 2, …; left out: the station's configuration has it, without versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Whose options it holds; left out: any adapter's to whose schema they fit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub adapter: String,
    pub options: serde_json::Value,
    /// Whom it is bound to, whatever version this is.
    pub bound_to: Vec<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whom a profile is for: exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// All who come in by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// All devices that say they are of it, or of which the registry says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `realm/address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Another version.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProfile {
    /// Whose options these are.
    pub adapter: String,
    /// As the adapter's schema wants them.
    #[schema(value_type = Object)]
    #[serde(deserialize_with = "options")]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Kept in the journal.
    #[serde(default)]
    pub reason: String,
}

/// A decision about whom it is for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    /// All who come in by it.
    pub listener: Option<String>,
    /// All devices that say they are of it, or of which the registry says so.
    pub model: Option<String>,
    /// `realm/address`.
    pub device: Option<String>,
    /// Kept in the journal.
    #[serde(default)]
    pub reason: String,
}

/// One decision about a profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProfileEvent {
    /// The entry that says so.
    pub seq: u64,
    pub at: String,
    /// set, bound, unbound or removed.
    pub step: &'static str,
    /// With `set`, and with `removed`: the last there was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// With `set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Value>,
    /// With `bound` and `unbound`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    pub by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Which version is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Left out: the newest.
    version: Option<u32>,
}

/// Why it is to go.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Why {
    /// Kept in the journal.
    #[serde(default)]
    reason: String,
}

/// All profiles, each in its newest version
#[utoipa::path(get, path = "/profiles", tag = "profiles", security(("token" = ["viewer"])),
    responses((status = 200, body = Paged<ProfileRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(_: Viewer, State(services): State<Arc<Services>>) -> Json<Paged<ProfileRow>> {
    let profiles = services.lifecycle.profiles();
    let configured = profiles.configured().map(|spoken| configured(&services, spoken));
    let told = profiles.rows().into_iter().map(|found| row(&services, found));
    let mut rows: Vec<ProfileRow> = configured.chain(told).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Json(Paged::whole(rows))
}

/// One profile
#[utoipa::path(get, path = "/profiles/{name}", tag = "profiles", security(("token" = ["viewer"])),
    params(("name", Path), Which),
    responses((status = 200, body = ProfileRow), (status = "4XX", body = ErrorBody)))]
pub async fn show(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Query(which): Query<Which>,
) -> ApiResult<Json<ProfileRow>> {
    let profiles = services.lifecycle.profiles();
    if let Some(spoken) = profiles.configured().find(|spoken| spoken.name == name && which.version.is_none()) {
        return Ok(Json(configured(&services, spoken)));
    }
    let found = match which.version {
        None => profiles.rows().into_iter().find(|row| row.name == name),
        Some(version) => {
            let name = name.clone();
            look(&services, move |s| s.views.profile(&name, version)).await?
        }
    };
    let found = found.ok_or_else(|| match which.version {
        Some(version) => no_such_version(&services, name, version),
        None => LifecycleError::UnknownProfile(name).into(),
    })?;
    Ok(Json(row(&services, found)))
}

/// Versions are counted without a gap, so the newest names them all.
fn no_such_version(services: &Services, name: String, version: u32) -> ApiError {
    let profiles = services.lifecycle.profiles();
    let newest = profiles.rows().into_iter().find(|row| row.name == name).map(|row| row.version);
    let there_are = match newest {
        Some(1) => "there is version 1 alone".to_owned(),
        Some(newest) => format!("there are versions 1 to {newest}"),
        None if profiles.configured().any(|spoken| spoken.name == name) => {
            "it stands in the station's configuration, without versions".to_owned()
        }
        None => return LifecycleError::UnknownProfile(name).into(),
    };
    ApiError::new(Code::NotFound, format!("profile `{name}` has no version {version}; {there_are}"))
}

/// Set a profile
///
/// A profile of that name gets another version, unless these options are the newest already. The adapter's schema, and the
/// adapter itself, have to take them. Who is bound to it is spoken to with them from the next frame on.
#[utoipa::path(put, path = "/profiles/{name}", tag = "profiles", security(("token" = ["admin"])),
    params(("name", Path)), request_body = NewProfile,
    responses((status = 200, body = ProfileRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn set(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(new): Body<NewProfile>,
) -> ApiResult<Json<ProfileRow>> {
    check_words([&new.reason])?;
    let options = serde_json::Value::Object(new.options).to_string();
    decide(&services, name.clone(), move |lifecycle| {
        let order = lifecycle::Order { by: &caller.name, reason: &new.reason, downgrade: false };
        lifecycle.set_profile(&name, &new.adapter, &options, &order).map(drop)
    })
    .await
}

/// Remove a profile
///
/// Refused while anybody is bound to it or the registry names it. What it was stays known for the frames that were read with
/// it; set again, it goes on counting its versions.
#[utoipa::path(delete, path = "/profiles/{name}", tag = "profiles", security(("token" = ["admin"])),
    params(("name", Path), Why),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn remove(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Query(why): Query<Why>,
) -> ApiResult<StatusCode> {
    check_words([&why.reason])?;
    let working = services.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let order = lifecycle::Order { by: &caller.name, reason: &why.reason, downgrade: false };
        working.lifecycle.remove_profile(&name, &order)
    });
    removed.await.map_err(|e| ApiError::internal(&e))??;
    shown_all(&services).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Bind a profile to a listener, a model or a device
///
/// From the next frame on. A device's own binding beats the registry's column `profile`, that its model's, that its
/// listener's.
#[utoipa::path(post, path = "/profiles/{name}/bind", tag = "profiles", security(("token" = ["admin"])),
    params(("name", Path)), request_body = NewBinding,
    responses((status = 200, body = ProfileRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn bind(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(binding): Body<NewBinding>,
) -> ApiResult<Json<ProfileRow>> {
    check_words([&binding.reason])?;
    let (to, reason) = binding.scope()?;
    decide(&services, name.clone(), move |lifecycle| {
        let order = lifecycle::Order { by: &caller.name, reason: &reason, downgrade: false };
        lifecycle.bind_profile(&name, to, &order).map(drop)
    })
    .await
}

/// Unbind a profile from a listener, a model or a device
///
/// From the next frame on, the next wider binding counts.
#[utoipa::path(post, path = "/profiles/{name}/unbind", tag = "profiles", security(("token" = ["admin"])),
    params(("name", Path)), request_body = NewBinding,
    responses((status = 200, body = ProfileRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn unbind(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Body(binding): Body<NewBinding>,
) -> ApiResult<Json<ProfileRow>> {
    check_words([&binding.reason])?;
    let (from, reason) = binding.scope()?;
    decide(&services, name.clone(), move |lifecycle| {
        let order = lifecycle::Order { by: &caller.name, reason: &reason, downgrade: false };
        lifecycle.unbind_profile(&name, from, &order)
    })
    .await
}

/// What was decided about a profile, newest first
#[utoipa::path(get, path = "/profiles/{name}/history", tag = "profiles", security(("token" = ["viewer"])),
    params(("name", Path), Page),
    responses((status = 200, body = Paged<ProfileEvent>), (status = "4XX", body = ErrorBody)))]
pub async fn history(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<ProfileEvent>>> {
    let (limit, before) = (page.limit()?, page.entry()?.map(Seq));
    let wanted = name.clone();
    let events = look(&services, move |s| s.views.profile_history(&wanted, before, limit)).await?;
    // One that was removed has a history as well.
    if events.is_empty() && before.is_none() {
        return Err(LifecycleError::UnknownProfile(name).into());
    }
    let next = events.last().filter(|_| events.len() == limit).map(|event| event.seq.0.to_string());
    Ok(Json(Paged { items: events.into_iter().map(event).collect(), next }))
}

/// Runs a decision to its end on a thread that may block, and shows what has become of the profile.
async fn decide(
    services: &Arc<Services>,
    name: String,
    decision: impl FnOnce(&lifecycle::Lifecycle) -> lifecycle::Result<()> + Send + 'static,
) -> ApiResult<Json<ProfileRow>> {
    let working = services.clone();
    let decided = tokio::task::spawn_blocking(move || decision(&working.lifecycle)).await;
    decided.map_err(|e| ApiError::internal(&e))??;
    shown_all(services).await;
    let found = services.lifecycle.profiles().rows().into_iter().find(|row| row.name == name);
    Ok(Json(row(services, found.ok_or(LifecycleError::UnknownProfile(name))?)))
}

impl NewBinding {
    fn scope(self) -> ApiResult<(ProfileScope, String)> {
        let scope = match (self.listener, self.model, self.device) {
            (Some(listener), None, None) => ProfileScope::Listener(listener),
            (None, Some(model), None) => ProfileScope::Model(model),
            (None, None, Some(device)) => {
                let bad = |_| ApiError::bad_request(format!("`{device}` is no device; write realm/address"));
                ProfileScope::Device(device.parse().map_err(bad)?)
            }
            _ => return Err(ApiError::bad_request("name exactly one of `listener`, `model` and `device`")),
        };
        Ok((scope, self.reason))
    }
}

impl From<ProfileScope> for Scope {
    fn from(scope: ProfileScope) -> Self {
        match scope {
            ProfileScope::Listener(listener) => Self { listener: Some(listener), ..Self::default() },
            ProfileScope::Model(model) => Self { model: Some(model), ..Self::default() },
            ProfileScope::Device(device) => Self { device: Some(device.to_string()), ..Self::default() },
        }
    }
}

fn row(services: &Services, row: views::ProfileRow) -> ProfileRow {
    let bound = services.lifecycle.profiles().bindings(&row.name);
    ProfileRow {
        bound_to: bound.into_iter().map(|bound| bound.to.into()).collect(),
        options: json(&row.options),
        name: row.name,
        version: Some(row.version),
        adapter: row.adapter,
        since: Some(instant(row.since_ms)),
        by: row.by,
        reason: row.why,
    }
}

fn configured(services: &Services, spoken: &lifecycle::Spoken) -> ProfileRow {
    let of = services.lifecycle.profiles().of_configuration().iter().filter(|bound| bound.profile == spoken.name);
    let listener = |bound: &lifecycle::Bound| Scope { listener: Some(bound.listener.clone()), ..Scope::default() };
    ProfileRow {
        name: spoken.name.clone(),
        version: None,
        adapter: String::new(),
        options: json(&spoken.options),
        bound_to: of.map(listener).collect(),
        since: None,
        by: "the station's configuration".into(),
        reason: String::new(),
    }
}

fn event(event: views::ProfileEvent) -> ProfileEvent {
    let step = event.fact.step.name();
    let (version, options, scope) = match event.fact.step {
        ProfileStep::Set { version, options } => (Some(version), Some(json(&options)), None),
        ProfileStep::Removed { version } => (Some(version), None, None),
        ProfileStep::Bound { to: scope } | ProfileStep::Unbound { from: scope } => (None, None, Some(scope.into())),
    };
    let (by, reason) = (event.fact.by, event.fact.why);
    ProfileEvent { seq: event.seq.0, at: instant(event.at_ms), step, version, options, scope, by, reason }
}

/// Options of which none is said twice.
fn options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<serde_json::Map<String, serde_json::Value>, D::Error> {
    match SaidOnce::deserialize(deserializer)?.0 {
        serde_json::Value::Object(options) => Ok(options),
        _ => Err(D::Error::custom("options are an object")),
    }
}

/// What was parsed when it came in parses again.
fn json(options: &str) -> serde_json::Value {
    serde_json::from_str(options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_is_said_twice_is_refused() {
        let read = |options: &str| {
            let body = format!("{{\"adapter\": \"a\", \"options\": {options}}}");
            serde_json::from_str::<NewProfile>(&body).map(|new| new.options.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read("{\"n\": 1, \"m\": {\"n\": 2}}"), Ok(2));
        for (options, expected) in [("{\"n\": 1, \"n\": 2}", "`n` is said twice"), ("[1]", "options are an object")] {
            let error = read(options).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
