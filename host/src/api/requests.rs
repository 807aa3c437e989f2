//! Parts of a request: axum's extractors with this API's refusals.

use super::errors::{ApiError, ApiResult};
use crate::limits::EARLY_BODY_BYTES_MAX;
use crate::model::{DeviceKey, check_distinct};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A JSON body, in which no object has a name twice.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let bytes = bytes.map_err(JsonRejection::from)?;
        let read = axum::Json::from_request(Request::from_parts(parts, bytes.clone().into()), state).await?.0;
        check_distinct(&bytes).map_err(|twice| ApiError::bad_request(format!("in the JSON body {twice}")))?;
        Ok(Self(read))
    }
}

/// A body as it came, of at most so many bytes; `remedy` says what to do about a longer one.
pub fn whole(body: Result<Bytes, BytesRejection>, bytes_max: usize, remedy: &str) -> ApiResult<Bytes> {
    match body {
        Ok(body) if body.len() <= bytes_max => Ok(body),
        Err(rejection) if rejection.status() != StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::bad_request(rejection.body_text()))
        }
        _ => Err(ApiError::too_large(bytes_max, remedy)),
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

/// Takes a small body in before the request is judged. A refusal that leaves bytes unread closes the connection under a client
/// that is still sending, which then sees a reset instead of the reason.
pub async fn take_in(request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if !announced.is_some_and(|bytes: usize| (1..=EARLY_BODY_BYTES_MAX).contains(&bytes)) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, EARLY_BODY_BYTES_MAX).await {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(_) => ApiError::bad_request("the body ends before its announced length").into_response(),
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
