//! Keys of devices: they go in sealed and never come out.

use super::auth::Admin;
use super::commit;
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::moments::instant;
use super::paging::{Page, Paged};
use super::registry::{ImportAnswer, unreadable};
use super::requests::{Body, Named, Query, whole};
use super::{find, look, shown, to_the_end};
use crate::journal::Fact;
use crate::keys::Change;
use crate::limits;
use crate::model::{Column, DeviceKey, Flaw, FlawKind, HexBytes, KeySlot};
use crate::records::keys::{Chunk, NO_DEVICE, Row, parse_key};
use crate::session::Services;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// That there is a key; not the key.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRow {
    /// `realm/address`, or `realm/*` for all devices of a realm that have no key of their own.
    pub device: String,
    pub slot: String,
    pub set: String,
    /// Who set it: the name of the token.
    pub by: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// 16 bytes in hexadecimal.
    #[schema(example = "000102030405060708090a0b0c0d0e0f", write_only)]
    key: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Trial {
    /// Only check; write nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Which devices have a key
#[utoipa::path(get, path = "/keys", tag = "keys", security(("token" = ["admin"])), params(Page),
    responses((status = 200, body = Paged<KeyRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    _: Admin,
    State(services): State<Arc<Services>>,
    Query(page): Query<Page>,
) -> ApiResult<Json<Paged<KeyRow>>> {
    let limit = page.limit()?;
    let rows = look(&services, move |s| s.views.keys(page.after(), limit)).await?;
    let row = |k: crate::views::KeyRow| KeyRow { device: k.device, slot: k.slot, set: instant(k.since_ms), by: k.by };
    Ok(Json(Paged::of(rows, row)))
}

/// Set a key
///
/// It is sealed under the station's master key before it is written, and there is no way to read it back.
#[utoipa::path(put, path = "/keys/{realm}/{address}/{slot}", tag = "keys", security(("token" = ["admin"])),
    params(("realm", Path), ("address", Path, description = "An address, or `*` for all of the realm"), ("slot", Path)),
    request_body = NewKey,
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn set(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named((realm, address, slot)): Named<(String, String, String)>,
    new: ApiResult<Body<NewKey>>,
) -> ApiResult<StatusCode> {
    let Body(new) = new.map_err(unrepeated)?;
    let place = place(&realm, &address, slot)?;
    let named = place.device.clone();
    let may_be = find(&services, move |s| Ok(s.misfit(&named)?.is_none().then_some(()))).await?.is_some();
    if let Some(wanted) = services.catalog.misfit(&place.device).filter(|_| !may_be) {
        return Err(ApiError::new(Code::NotPossible, wanted));
    }
    let key = parse_key(&new.key).map_err(ApiError::bad_request)?;
    let sealed = services.vault.seal(&place, &key).map_err(|e| ApiError::internal(&e))?;
    write(&services, vec![(place, sealed)], &caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Import a chunk of keys
///
/// CSV (`text/csv`) with a header that names the columns `device`, `slot` and `key`, in any order; a device is `realm/address`,
/// or `realm/*`, a key 16 bytes in hexadecimal. At most 4,000 rows and 184 KiB. A chunk is written as a whole or, when anything
/// is wrong with it, not at all; a key that is there already is left as it is, so a chunk can be sent again. No answer repeats
/// anything of a row.
#[utoipa::path(post, path = "/keys/import", tag = "keys", security(("token" = ["admin"])), params(Trial),
    request_body(content((String = "text/csv"))),
    responses((status = 200, body = ImportAnswer), (status = 422, body = ImportAnswer),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn import(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Query(Trial { dry_run }): Query<Trial>,
    body: Result<Bytes, BytesRejection>,
) -> ApiResult<Response> {
    let body = whole(body, limits::CHUNK_BYTES_MAX, "send fewer rows at a time")?;
    // Of a key that was replaced a moment ago, the one before would still count as there.
    if !services.has_shown_all().await {
        let why = "the views are behind, so another key may be set than they show; nothing was written";
        return Err(ApiError::views(&why));
    }
    let working = services.clone();
    let weighed = tokio::task::spawn_blocking(move || weigh(&working, &body, dry_run));
    let (answer, sealed) = weighed.await.map_err(|e| ApiError::internal(&e))??;
    if answer.written && !sealed.is_empty() {
        write(&services, sealed, &caller.name).await?;
    }
    Ok(answer.into_response())
}

/// What a chunk would change, and the keys of it that are not there.
fn weigh(services: &Services, body: &[u8], dry_run: bool) -> ApiResult<(ImportAnswer, Vec<(KeySlot, HexBytes)>)> {
    let mut chunk = Chunk::of_csv(body).map_err(|error| ApiError::bad_request(unreadable(&error)))?;
    for Row { line, at, .. } in &chunk.rows {
        let misfit = services.misfit(&at.device).map_err(|e| ApiError::internal(&e))?;
        chunk.flaws.extend(misfit.map(|wanted| (*line, Flaw::new(Column::Device, FlawKind::Malformed, wanted))));
    }
    let mut answer = ImportAnswer::of(chunk.flaws, dry_run);
    let mut sealed = Vec::new();
    for Row { at, key, .. } in chunk.rows {
        match services.vault.weigh(&at, &key).map_err(|e| ApiError::internal(&e))? {
            Change::New(key) => {
                answer.added += 1;
                sealed.push((at, key));
            }
            Change::Other(key) => {
                answer.changed += 1;
                sealed.push((at, key));
            }
            Change::None => answer.unchanged += 1,
        }
    }
    Ok((answer, sealed))
}

/// Forget a key
#[utoipa::path(delete, path = "/keys/{realm}/{address}/{slot}", tag = "keys", security(("token" = ["admin"])),
    params(("realm", Path), ("address", Path), ("slot", Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn remove(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named((realm, address, slot)): Named<(String, String, String)>,
) -> ApiResult<StatusCode> {
    let KeySlot { device, slot } = place(&realm, &address, slot)?;
    let device = device.to_string();
    let of = (device.clone(), slot.clone());
    if find(&services, move |s| s.views.key(&of.0, &of.1)).await?.is_none() {
        return Err(ApiError::new(
            Code::NotFound,
            format!("{device} has no key in slot {slot}; list them with GET /api/v1/keys"),
        ));
    }
    commit(&services, Fact::KeySet { device, slot, sealed: None, by: caller.name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A refusal of a body without its words: where they name what they did not expect, that may be the key.
fn unrepeated(refusal: ApiError) -> ApiError {
    match refusal.code {
        Code::BadRequest => ApiError::bad_request(
            "send the key as a JSON object with nothing else in it, {\"key\": \"…\"}, as `application/json`: 32 hexadecimal digits",
        ),
        _ => refusal,
    }
}

/// The device as keys name it, once it and the slot are well formed. The refusal repeats neither: either may be the key.
pub fn place(realm: &str, address: &str, slot: String) -> ApiResult<KeySlot> {
    // `*` is a good address by its form, so one check serves devices and realms.
    let device = DeviceKey::new(realm, address).map_err(|_| ApiError::bad_request(format!("this {NO_DEVICE}")))?;
    KeySlot::new(device, slot).map_err(|e| ApiError::bad_request(e.to_string()))
}

/// Makes sealed keys durable as one commit and lets go what has waited for them. Answers once they are shown.
async fn write(services: &Arc<Services>, keys: Vec<(KeySlot, HexBytes)>, by: &str) -> ApiResult<()> {
    let places = keys.iter().map(|(place, _)| place.clone()).collect();
    let fact = |(KeySlot { device, slot }, sealed)| Fact::KeySet {
        device: device.to_string(),
        slot,
        sealed: Some(sealed),
        by: by.to_owned(),
    };
    let facts = keys.into_iter().map(fact).collect();
    let working = services.clone();
    let (last, free) = to_the_end(async move {
        let (_, last) = working.commit_span(facts).await.map_err(|why| ApiError::journal(&why))?;
        let free = tokio::spawn(async move { working.keys_set(places, last).await });
        Ok::<_, ApiError>((last, free))
    })
    .await??;
    shown(services, last).await;
    // At once, unless the views are behind: then it goes on without this answer.
    let _ = tokio::time::timeout(limits::SHOWN_WITHIN, free).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_checked() {
        let device = |address| place("usp", address, "main".into()).map(|place| place.device.to_string());
        assert_eq!((device("*").ok().as_deref(), device("12").ok().as_deref()), (Some("usp/*"), Some("usp/12")));
        for (realm, address, slot) in [("", "1", "main"), ("usp", "a b", "main"), ("usp", "1", "m/n"), ("usp", "1", "")]
        {
            assert!(place(realm, address, slot.into()).is_err());
        }
        let (key, twice) = ("00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeeff".repeat(2));
        for (realm, address, slot) in [("usp", &*twice, "1"), (&*twice, "1", "1"), ("usp", "1", &*twice)] {
            let refusal = place(realm, address, slot.into()).expect_err("refused");
            assert!(!refusal.message.contains(key), "{refusal:?}");
        }
    }
}
