//! Keys of devices: they go in sealed and never come out.

use super::auth::Admin;
use super::commit;
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::look;
use super::moments::instant;
use super::paging::{Page, Paged};
use super::requests::{Body, Named, Query};
use crate::journal::Fact;
use crate::model::DeviceKey;
use crate::session::Services;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

const SLOT_BYTES_MAX: usize = 32;
/// In place of an address: all devices of the realm.
const REALM: &str = "*";

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
    Body(new): Body<NewKey>,
) -> ApiResult<StatusCode> {
    let device = place(&realm, &address, &slot)?;
    let key = parse(&new.key).map_err(ApiError::bad_request)?;
    if address != REALM {
        let one = DeviceKey::new(&realm, &address).map_err(|e| ApiError::bad_request(e.to_string()))?;
        if let Some(why) = look(&services, move |s| s.misfit(&one)).await? {
            return Err(ApiError::new(Code::NotPossible, why));
        }
    }
    let sealed = services.vault.seal(&device, &slot, &key).map_err(|e| ApiError::internal(&e))?;
    commit(&services, Fact::KeySet { device, slot, sealed: Some(sealed), by: caller.name }).await?;
    Ok(StatusCode::NO_CONTENT)
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
    let device = place(&realm, &address, &slot)?;
    let of = (device.clone(), slot.clone());
    if look(&services, move |s| s.views.key(&of.0, &of.1)).await?.is_none() {
        return Err(ApiError::new(
            Code::NotFound,
            format!("{device} has no key in slot {slot}; list them with GET /api/v1/keys"),
        ));
    }
    commit(&services, Fact::KeySet { device, slot, sealed: None, by: caller.name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 16 bytes in hexadecimal; blanks around them do not matter.
pub fn parse(text: &str) -> Result<[u8; 16], String> {
    let bytes = hex::decode(text.trim()).map_err(|e| format!("a key is 32 hexadecimal digits: {e}"))?;
    bytes.try_into().map_err(|bytes: Vec<u8>| format!("a key has 16 bytes, not {}", bytes.len()))
}

/// The device as keys name it, once it and the slot are well formed.
pub fn place(realm: &str, address: &str, slot: &str) -> ApiResult<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if slot.is_empty() || slot.len() > SLOT_BYTES_MAX || !slot.bytes().all(plain) {
        return Err(ApiError::bad_request("a slot has 1 to 32 letters, digits, `-` or `_`, as the adapter names it"));
    }
    // `*` is a good address by its form, so one check serves devices and realms.
    let key = DeviceKey::new(realm, address).map_err(|e| ApiError::bad_request(e.to_string()))?;
    Ok(key.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_places_are_checked() {
        assert!(parse("000102030405060708090A0B0C0D0E0F\n").is_ok());
        for bad in ["", "00", "zz0102030405060708090a0b0c0d0e0f"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(place("usp", "*", "main").as_deref().ok(), Some("usp/*"));
        assert_eq!(place("usp", "12", "main").as_deref().ok(), Some("usp/12"));
        for (realm, address, slot) in [("", "1", "main"), ("usp", "a b", "main"), ("usp", "1", "m/n"), ("usp", "1", "")]
        {
            assert!(place(realm, address, slot).is_err());
        }
    }
}
