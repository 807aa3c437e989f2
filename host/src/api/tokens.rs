//! API tokens: who may use this API.

use super::auth::Admin;
use super::commit;
use super::errors::{ApiError, ApiResult, Code, ErrorBody};
use super::look;
use super::moments::instant;
use super::paging::Paged;
use super::requests::{Body, Named};
use super::secret::Secret;
use crate::journal::{Fact, Role};
use crate::session::Services;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

const NAME_BYTES_MAX: usize = 64;

/// A token without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenRow {
    pub name: String,
    /// viewer, operator or admin.
    pub role: &'static str,
    pub created: String,
    /// Who made it.
    pub by: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Who will use it; entries in the journal carry this name.
    pub name: String,
    /// viewer may look; operator may also send commands, adopt devices and write records; admin may also import records and
    /// change adapters, profiles, keys and tokens.
    #[schema(value_type = String, example = "operator")]
    pub role: Role,
}

/// A token as it is shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeToken {
    pub name: String,
    pub role: &'static str,
    /// Only its hash is kept: note it now.
    pub token: String,
}

/// Tokens, without their secrets
#[utoipa::path(get, path = "/tokens", tag = "tokens", security(("token" = ["admin"])),
    responses((status = 200, body = Paged<TokenRow>), (status = "4XX", body = ErrorBody)))]
pub async fn list(_: Admin, State(services): State<Arc<Services>>) -> ApiResult<Json<Paged<TokenRow>>> {
    let rows = look(&services, |s| s.views.tokens()).await?;
    let row = |t: crate::views::TokenRow| TokenRow {
        name: t.name,
        role: t.role.name(),
        created: instant(t.since_ms),
        by: t.by,
    };
    Ok(Json(Paged::whole(rows.into_iter().map(row).collect())))
}

/// Make a token
#[utoipa::path(post, path = "/tokens", tag = "tokens", security(("token" = ["admin"])), request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn create(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Body(new): Body<NewToken>,
) -> ApiResult<(StatusCode, Json<MadeToken>)> {
    check_name(&new.name).map_err(ApiError::bad_request)?;
    let tokens = look(&services, |s| s.views.tokens()).await?;
    if tokens.iter().any(|t| t.name == new.name) {
        let message = format!("there is a token `{}`; revoke it first or choose another name", new.name);
        return Err(ApiError::new(Code::NameTaken, message));
    }
    let secret = Secret::random().map_err(|e| ApiError::internal(&e))?;
    let fact = Fact::TokenSet { name: new.name.clone(), role: new.role, hash: secret.hash(), by: caller.name };
    commit(&services, fact).await?;
    let made = MadeToken { name: new.name, role: new.role.name(), token: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Make a token worthless
///
/// The last token of an admin is refused until there is another.
#[utoipa::path(delete, path = "/tokens/{name}", tag = "tokens", security(("token" = ["admin"])),
    params(("name", Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn revoke(
    Admin(caller): Admin,
    State(services): State<Arc<Services>>,
    Named(name): Named<String>,
) -> ApiResult<StatusCode> {
    let tokens = look(&services, |s| s.views.tokens()).await?;
    if !tokens.iter().any(|t| t.name == name) {
        return Err(ApiError::new(Code::NotFound, format!("no token `{name}`; list them with GET /api/v1/tokens")));
    }
    if !tokens.iter().any(|t| t.name != name && t.role == Role::Admin) {
        let message = format!(
            "`{name}` is the only token of an admin, and without one nobody could change adapters, keys or tokens any more; \
             make another first, with `polymeter token create NAME --role admin`"
        );
        return Err(ApiError::new(Code::NotPossible, message));
    }
    commit(&services, Fact::TokenRevoked { name, by: caller.name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether entries may carry this name.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err("a token's name has 1 to 64 letters, digits, `-`, `_`, `.` or `@`".into());
    }
    Ok(())
}
