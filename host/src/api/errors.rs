//! The one shape of every refusal, and the table of all codes. No other file of the API names a status.
//!
//! `{"error": {"code": "kebab-case", "message": "what happened, and what to do"}}`. Codes are stable, messages are for
//! people. The table is part of the published description (`openapi`).

use crate::command::Refusal;
use crate::limits::REQUEST_BYTES_MAX;
use crate::model::{kind_plainly, plainly};
use axum::Json;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::error::Error;
use utoipa::ToSchema;

/// Why a request was refused; scripts branch on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    BadRequest,
    NoToken,
    NotAllowed,
    NoSuchRoute,
    NotFound,
    UnknownDevice,
    MethodNotAllowed,
    DeviceHeld,
    ValveBusy,
    QueueFull,
    NotWaiting,
    NotUnconfirmed,
    NameTaken,
    TooLarge,
    NoValve,
    NotPossible,
    AdapterRejected,
    AdapterUntrusted,
    AdapterDowngrade,
    AdapterServes,
    ProfileRejected,
    BadRows,
    JournalFailing,
    ViewsFailing,
    Internal,
}

/// Status, name and meaning of every code.
const TABLE: &[(Code, StatusCode, &str, &str)] = {
    use Code as C;
    use StatusCode as S;
    &[
        (C::BadRequest, S::BAD_REQUEST, "bad-request", "A parameter or the body is not of the described form"),
        (C::NoToken, S::UNAUTHORIZED, "no-token", "No token came with the request, or it is unknown or revoked"),
        (C::NotAllowed, S::FORBIDDEN, "not-allowed", "The token's role may not do this"),
        (C::NoSuchRoute, S::NOT_FOUND, "no-such-route", "Nothing is served under this path"),
        (C::NotFound, S::NOT_FOUND, "not-found", "The thing that the path names does not exist"),
        (
            C::UnknownDevice,
            S::NOT_FOUND,
            "unknown-device",
            "No device of this key was ever seen, adopted or registered",
        ),
        (
            C::MethodNotAllowed,
            S::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The path is served, but not with this method",
        ),
        (C::DeviceHeld, S::CONFLICT, "device-held", "The device is held and gets no commands until it is adopted"),
        (C::ValveBusy, S::CONFLICT, "valve-busy", "Another valve order for this device is not finished"),
        (C::QueueFull, S::CONFLICT, "queue-full", "Too many commands wait for this device already"),
        (C::NotWaiting, S::CONFLICT, "not-waiting", "The command has been sent or is finished: too late to cancel it"),
        (
            C::NotUnconfirmed,
            S::CONFLICT,
            "not-unconfirmed",
            "The command's outcome is known, or somebody has settled it already",
        ),
        (C::NameTaken, S::CONFLICT, "name-taken", "Something of this name exists"),
        (C::TooLarge, S::PAYLOAD_TOO_LARGE, "too-large", "The body has more bytes than this route takes"),
        (C::NoValve, S::UNPROCESSABLE_ENTITY, "no-valve", "The device has no valve"),
        (
            C::NotPossible,
            S::UNPROCESSABLE_ENTITY,
            "not-possible",
            "The request is well formed but cannot be carried out",
        ),
        (
            C::AdapterRejected,
            S::UNPROCESSABLE_ENTITY,
            "adapter-rejected",
            "The file is no adapter that this station runs",
        ),
        (
            C::AdapterUntrusted,
            S::UNPROCESSABLE_ENTITY,
            "adapter-untrusted",
            "The file is not signed by those whom the trust file asks for, or it was changed or revoked",
        ),
        (
            C::AdapterDowngrade,
            S::CONFLICT,
            "adapter-downgrade",
            "An older version than one that has served, and nobody said that this is wanted",
        ),
        (C::AdapterServes, S::CONFLICT, "adapter-serves", "The version serves, and nobody said that it should stop"),
        (
            C::ProfileRejected,
            S::UNPROCESSABLE_ENTITY,
            "profile-rejected",
            "The adapter's schema, or the adapter itself, does not take these options",
        ),
        (C::BadRows, S::UNPROCESSABLE_ENTITY, "bad-rows", "Some rows of an import are wrong; none was written"),
        (
            C::JournalFailing,
            S::SERVICE_UNAVAILABLE,
            "journal-failing",
            "The journal cannot be written; nothing was done",
        ),
        (
            C::ViewsFailing,
            S::SERVICE_UNAVAILABLE,
            "views-failing",
            "What the station knows cannot be read at the moment, or is behind its journal; nothing was done",
        ),
        (C::Internal, S::INTERNAL_SERVER_ERROR, "internal", "A fault of the station; its log says more"),
    ]
};

impl Code {
    fn row(self) -> &'static (Code, StatusCode, &'static str, &'static str) {
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[TABLE.len() - 1])
    }

    pub fn name(self) -> &'static str {
        self.row().2
    }

    pub fn status(self) -> StatusCode {
        self.row().1
    }
}

/// The table as Markdown, for the published description.
pub fn table() -> String {
    let rows = TABLE.iter().map(|(_, status, name, meaning)| format!("| {} | `{name}` | {meaning} |", status.as_u16()));
    let head = ["| Status | Code | Meaning |".to_owned(), "|---|---|---|".to_owned()];
    head.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// A refusal on its way to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    pub code: Code,
    /// What happened and what to do about it.
    pub message: String,
}

/// The body of every refusal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// Kebab-case and stable; see the table in the description.
    #[schema(example = "unknown-device")]
    pub code: String,
    /// What happened and what to do about it.
    pub message: String,
}

pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub fn too_large(bytes_max: usize, remedy: &str) -> Self {
        Self::new(
            Code::TooLarge,
            format!("the body has more than the {bytes_max} bytes that this route takes; {remedy}"),
        )
    }

    /// Nothing was done, because it could not have been made durable.
    pub fn journal(why: &str) -> Self {
        Self::new(
            Code::JournalFailing,
            format!("the journal cannot be written ({why}); nothing was done. See /health, free space, then try again"),
        )
    }

    /// The views are being opened again, or their file cannot be read.
    pub fn views(why: &dyn std::fmt::Display) -> Self {
        Self::new(Code::ViewsFailing, format!("{why}. See /health, then try again"))
    }

    /// Something may be known that the views do not show yet.
    pub fn behind() -> Self {
        Self::views(&"the views are behind the journal, and what was asked for may be in what they do not show yet")
    }

    /// The cause goes to the log, not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(Code::Internal, "the station could not answer; its log says why")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = ErrorDetail { code: self.code.name().into(), message: self.message };
        let mut response = (self.code.status(), Json(ErrorBody { error: detail })).into_response();
        if self.code == Code::NoToken {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::UnknownDevice(_) => Code::UnknownDevice,
            Refusal::Held(_) => Code::DeviceHeld,
            Refusal::NoValve(_) => Code::NoValve,
            Refusal::ValveBusy { .. } => Code::ValveBusy,
            Refusal::QueueFull { .. } => Code::QueueFull,
            Refusal::Invalid(_) => Code::NotPossible,
            Refusal::NotWaiting(_) => Code::NotWaiting,
            Refusal::NotUnconfirmed(_) => Code::NotUnconfirmed,
            Refusal::Store(why) => return Self::journal(why),
            Refusal::Unknowable(_) => return Self::views(&refusal),
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::too_large(REQUEST_BYTES_MAX, "send less");
        }
        let what = match &rejection {
            JsonRejection::JsonDataError(error) => format!("the JSON body does not fit: {}", cause(error)),
            JsonRejection::JsonSyntaxError(error) => format!("the body is no JSON: {}", cause(error)),
            JsonRejection::MissingJsonContentType(_) => {
                "the body is JSON, so say `Content-Type: application/json`".into()
            }
            other => other.body_text(),
        };
        Self::bad_request(format!("{what}; see /api/v1/openapi.json for the form"))
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(format!("in the query, {}; see /api/v1/openapi.json for the form", cause(&rejection)))
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        let PathRejection::FailedToDeserializePathParams(failed) = &rejection else {
            return Self::internal(&rejection);
        };
        Self::bad_request(match failed.kind() {
            ErrorKind::ParseErrorAtKey { value, expected_type, .. }
            | ErrorKind::ParseErrorAtIndex { value, expected_type, .. }
            | ErrorKind::ParseError { value, expected_type } => {
                format!("`{value}` stands in the path where {} is expected", kind_plainly(expected_type))
            }
            ErrorKind::DeserializeError { value, message, .. } => {
                format!("`{value}` in the path: {}", plainly(message))
            }
            ErrorKind::InvalidUtf8InPathParam { .. } => "the path is not UTF-8".into(),
            other => plainly(&other.to_string()),
        })
    }
}

/// What is at the bottom of a refusal of axum's, in plain words.
fn cause(rejection: &(dyn Error + 'static)) -> String {
    let mut last = rejection;
    while let Some(deeper) = last.source() {
        last = deeper;
    }
    plainly(&last.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_row_and_a_name_of_its_own() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.2).collect();
        assert_eq!(names.len(), TABLE.len());
        assert_eq!(TABLE.len(), Code::Internal as usize + 1);
        for (place, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, place, "{} stands where its code stands", row.2);
            assert!(row.2.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
    }
}
