//! Devices: the fleet, one device, letting it in. What a device said is in `readings` and `frames`.

use super::adapters::check_words;
use super::auth::{Admin, Operator, Viewer};
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::moments::instant;
use super::paging::{Page, Paged};
use super::readings::{ReadingRow, reading_rows};
use super::requests::{Body, Device, Query};
use super::{look, shown, to_the_end};
use crate::adapter::is_kebab;
use crate::journal::{AdapterRef, Fact};
use crate::model::{DeviceKey, ValveState, json};
use crate::session::Services;
use crate::views::{self, DeviceFilter, ViewError};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Instead of an alarm's code.
const ANY: &str = "any";

/// A device in the listing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceRow {
    /// `realm/address`.
    pub device: String,
    /// meter, concentrator, dtu or other.
    pub kind: &'static str,
    /// Has a session open now.
    pub online: bool,
    /// Unknown, and waits to be adopted: its frames are kept aside.
    pub held: bool,
    /// Named by an operator.
    pub adopted: bool,
    /// The concentrator or DTU that speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// The last one that counts among `counts.reports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_report: Option<String>,
    /// What decoded its last frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterName>,
    /// State, and who and why where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub valve: Option<Value>,
    /// When valve and alarms were last told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_at: Option<String>,
    /// Alarms that are active, codes of wit/codes.md.
    pub alarms: Vec<String>,
    pub counts: Counts,
}

/// Which adapter, in which version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdapterName {
    pub name: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// Empty: its defaults.
    pub profile: String,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Counts {
    pub frames: u64,
    /// That it sent by itself, with readings or for a cause; heartbeats and answers are none.
    pub reports: u64,
    pub faults: u64,
    pub duplicates: u64,
    /// Kept aside until the device is adopted.
    pub held_frames: u64,
}

/// Everything known of one device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceDetail {
    #[serde(flatten)]
    pub row: DeviceRow,
    /// As it last introduced itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub registration: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
    /// When it reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schedule: Option<Value>,
    /// Its clock minus the station's when last told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_drift_s: Option<i64>,
    pub raw_status: u64,
    /// Since the station has started, it was spoken to under a key that its maker derives from its number; left out of a device that
    /// was not heard since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_key_in_use: Option<bool>,
    /// Commands that wait for it, and for no key.
    pub commands_waiting: u32,
    /// The newest value of each kind.
    pub latest: Vec<ReadingRow>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Beginning of the address, or of `realm/address`.
    #[serde(default)]
    pub prefix: String,
    /// With this alarm active, a code of wit/codes.md or a vendor's own; `any`: with an alarm at all.
    pub alarm: Option<String>,
    /// With the valve in this state.
    #[param(value_type = Option<String>)]
    pub valve: Option<ValveState>,
    /// Only held devices, or only those that are not.
    pub held: Option<bool>,
    /// Only devices on line, or only those that are not.
    pub online: Option<bool>,
    /// Not heard of for so long.
    pub silent_s: Option<u32>,
}

/// Devices, in the order of their keys
///
/// A filtered page may hold fewer rows than asked for and still go on; follow `next`.
#[utoipa::path(get, path = "/devices", tag = "devices", security(("token" = ["viewer"])), params(Filter, Page),
    responses((status = 200, body = Paged<DeviceRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<DeviceRow>>> {
    let (limit, online) = (page.limit()?, filter.online);
    let wanted = filter.resolve(services.clock.now_ms());
    // An adapter may be newer than the station's registry, so any code is one that a device could tell.
    if let Some(code) = wanted.alarm.as_ref().filter(|code| !is_kebab(code)) {
        return Err(ApiError::bad_request(format!(
            "`{code}` is no alarm: a code is words of small letters and digits joined by hyphens, such as `gas-leak`; section 1 \
             of wit/codes.md has them, and `{ANY}` is whoever has an alarm"
        )));
    }
    let found = look(&services, move |s| s.views.devices(&wanted, page.after(), limit)).await?;
    let mut page = Paged::of(found, |device| DeviceRow::of(device, &services));
    page.items.retain(|row| online.is_none_or(|online| online == row.online));
    Ok(Json(page))
}

/// Everything known of one device
#[utoipa::path(get, path = "/devices/{realm}/{address}", tag = "devices", security(("token" = ["viewer"])),
    params(("realm", Path), ("address", Path)),
    responses((status = 200, body = DeviceDetail), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn show(
    _: Viewer,
    State(services): State<Arc<Services>>,
    Device(key): Device,
) -> ApiResult<Json<DeviceDetail>> {
    let found = find(&services, &key, |s, key| {
        let Some(device) = s.views.device(key)? else { return Ok(None) };
        Ok(Some((device, reading_rows(s, key, s.views.newest_readings(key)?)?)))
    });
    let (device, latest) = found.await?;
    Ok(Json(DeviceDetail {
        registration: device.registration.clone().map(|r| json::message(&crate::model::Message::Registration(r))),
        registered: device.registered_ms.map(instant),
        schedule: device.schedule.as_ref().map(json::schedule),
        clock_drift_s: device.clock_drift_s,
        raw_status: device.raw_status,
        default_key_in_use: services.vault.uses_default_key(&key, device.last_seq),
        commands_waiting: services.desk.pending(&key, services.clock.moment()),
        latest,
        row: DeviceRow::of(device, &services),
    }))
}

/// Let a held or refused device in, or announce one before it first connects
///
/// What is kept of it, held or refused, counts from then on. Of one that was neither heard nor registered, an adapter that serves
/// must be able to hear: nothing takes an adoption back.
#[utoipa::path(post, path = "/devices/{realm}/{address}/adopt", tag = "devices", security(("token" = ["operator"])),
    params(("realm", Path), ("address", Path)),
    responses((status = 200, body = DeviceRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn adopt(
    Operator(caller): Operator,
    State(services): State<Arc<Services>>,
    Device(key): Device,
) -> ApiResult<Json<DeviceRow>> {
    let named = key.clone();
    let is_known = super::find(&services, move |s| Ok(s.known(&named)?.map(drop))).await?.is_some();
    if let Some(why) = unhearable(&services, &key).filter(|_| !is_known) {
        return Err(ApiError::new(Code::NotPossible, format!("no device is called {key}: {why}")));
    }
    let (working, fact) = (services.clone(), Fact::DeviceAdopted { device: key.clone(), by: caller.name });
    to_the_end(async move {
        super::commit(&working, fact).await?;
        working.adopted();
        Ok::<_, ApiError>(())
    })
    .await??;
    let found = find(&services, &key, |s, key| s.views.device(key)).await?;
    Ok(Json(DeviceRow::of(found, &services)))
}

/// Why no adapter that serves can hear of a device that is called so; `None`: one may.
fn unhearable(services: &Services, device: &DeviceKey) -> Option<String> {
    let active = services.catalog.all_active();
    let realms: BTreeSet<&str> = active.iter().map(|adapter| adapter.realm()).collect();
    if realms.contains(device.realm()) {
        return services.catalog.misfit(device);
    }
    let realms = Vec::from_iter(realms).join(", ");
    Some(format!(
        "no adapter that serves reads devices of {}/…; correct it (realms that are read: {realms}), or install the adapter first",
        device.realm()
    ))
}

/// Why a device's memory is forgotten.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// Kept in the journal, such as `exchanged on site` or `reset to factory`.
    pub reason: String,
}

/// Forget what the adapter remembers of a device that was reset or exchanged
///
/// Counters and key versions among it keep recorded frames of former days from being believed again, so this is for a device
/// that has really lost its own. A session that runs is ended, and the device registers anew.
#[utoipa::path(post, path = "/devices/{realm}/{address}/forget", tag = "devices", security(("token" = ["admin"])),
    params(("realm", Path), ("address", Path)), request_body = Forget,
    responses((status = 200, body = DeviceRow), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn forget(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Device(key): Device,
    Body(forget): Body<Forget>,
) -> ApiResult<Json<DeviceRow>> {
    check_words([&forget.reason])?;
    if forget.reason.trim().is_empty() {
        return Err(ApiError::bad_request("say why in `reason`: it stays in the journal"));
    }
    find(&services, &key, |s, key| s.views.device(key)).await?;
    let (working, device) = (services.clone(), key.clone());
    let forgotten = async move { working.forget_memory(&device, &caller.name, &forget.reason).await };
    let seq = to_the_end(forgotten).await?.map_err(|why| ApiError::journal(&why))?;
    shown(&services, seq).await;
    let found = find(&services, &key, |s, key| s.views.device(key)).await?;
    Ok(Json(DeviceRow::of(found, &services)))
}

/// What is known of a device. Nobody who was acknowledged a moment ago is called unknown because the views are behind.
pub(super) async fn find<T: Send + 'static>(
    services: &Arc<Services>,
    key: &DeviceKey,
    ask: impl Fn(&Services, &DeviceKey) -> Result<Option<T>, ViewError> + Send + Sync + 'static,
) -> ApiResult<T> {
    let asked = key.clone();
    super::find(services, move |s| ask(s, &asked)).await?.ok_or_else(|| unknown(key))
}

fn unknown(key: &DeviceKey) -> ApiError {
    ApiError::new(
        Code::UnknownDevice,
        format!("no device {key}; list them with `polymeter meter list` or GET /api/v1/devices, or adopt it"),
    )
}

impl Filter {
    fn resolve(self, now_ms: i64) -> DeviceFilter {
        let any_alarm = self.alarm.as_deref() == Some(ANY);
        DeviceFilter {
            prefix: self.prefix,
            alarm: self.alarm.filter(|_| !any_alarm),
            any_alarm,
            valve: self.valve,
            held: self.held,
            silent_since_ms: self.silent_s.map(|s| now_ms - i64::from(s) * 1000),
        }
    }
}

impl DeviceRow {
    pub fn of(device: views::Device, services: &Services) -> Self {
        let named = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            online: services.registry.is_online(&device.key),
            device: device.key.to_string(),
            kind: device.kind.name(),
            held: device.held,
            adopted: device.adopted,
            carrier: device.carrier.map(|c| c.to_string()),
            manufacturer: device.registration.as_ref().and_then(|r| named(&r.manufacturer)),
            model: device.registration.as_ref().and_then(|r| named(&r.model)),
            first_seen: device.first_seen_ms.map(instant),
            last_seen: device.last_seen_ms.map(instant),
            last_report: device.last_report_ms.map(instant),
            adapter: device.adapter.map(AdapterName::from),
            valve: device.valve.as_ref().map(json::valve),
            status_at: device.status_ms.map(instant),
            alarms: device.alarms,
            counts: Counts {
                frames: device.counts.frames,
                reports: device.counts.reports,
                faults: device.counts.faults,
                duplicates: device.counts.duplicates,
                held_frames: device.counts.held_frames,
            },
        }
    }
}

impl From<AdapterRef> for AdapterName {
    fn from(adapter: AdapterRef) -> Self {
        Self { name: adapter.name, digest: adapter.digest.to_string(), profile: adapter.profile }
    }
}
