//! Parts of a request: axum's extractors with this API's refusals.

use super::errors::{ApiError, ApiResult};
use crate::model::DeviceKey;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        Ok(Self(axum::Json::from_request(request, state).await?.0))
    }
}

/// The query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        Ok(Self(axum::extract::Query::from_request_parts(parts, state).await?.0))
    }
}

/// One variable part of the path, or a tuple of several.
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        Ok(Self(Path::from_request_parts(parts, state).await?.0))
    }
}

/// A device in the path, `…/{realm}/{address}/…`.
pub struct Device(pub DeviceKey);

#[derive(Deserialize)]
struct RealmAddress {
    realm: String,
    address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Device {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Path(path) = Path::<RealmAddress>::from_request_parts(parts, state).await?;
        DeviceKey::new(&path.realm, &path.address).map(Self).map_err(|e| ApiError::bad_request(e.to_string()))
    }
}
