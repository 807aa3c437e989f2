//! Who asks, and what they may do. A handler names the role it needs by the type of its first argument.

use super::errors::{ApiError, ApiResult, Code};
use super::secret::{Secret, same};
use crate::journal::Role;
use crate::session::Services;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::sync::Arc;

/// The holder of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Name of the token: what entries and logs say who did it.
    pub name: String,
    pub role: Role,
}

/// Extractors, one a role.
macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident needs $role:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        // Who looks is nobody's business; who changes something goes into the entry.
        #[allow(dead_code)]
        pub struct $name(pub Caller);

        impl FromRequestParts<Arc<Services>> for $name {
            type Rejection = ApiError;
            async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> ApiResult<Self> {
                allow(caller(services, &parts.headers)?, $role).map(Self)
            }
        }
    )+};
}

roles! {
    /// May look.
    Viewer needs Role::Viewer;
    /// May send commands, adopt devices and write single records of the registry.
    Operator needs Role::Operator;
    /// May import records and change adapters, keys and tokens.
    Admin needs Role::Admin;
}

/// Whose token came with the request.
fn caller(services: &Services, headers: &HeaderMap) -> ApiResult<Caller> {
    let refused = |what: &str| {
        Err(ApiError::new(
            Code::NoToken,
            format!("{what}; send `Authorization: Bearer <token>` with a token of this station"),
        ))
    };
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()) else {
        return refused("this route needs a token");
    };
    let Some(secret) = Secret::from_header(value) else { return refused("this is no token") };
    let hash = secret.hash();
    // Every token is looked at, whether or not an earlier one matched.
    let mut found = None;
    for token in services.views.tokens()? {
        if same(&token.hash, &hash) {
            found = Some(Caller { name: token.name, role: token.role });
        }
    }
    found.map_or_else(|| refused("this token is unknown or was revoked"), Ok)
}

fn allow(caller: Caller, needed: Role) -> ApiResult<Caller> {
    if caller.role.includes(needed) {
        return Ok(caller);
    }
    let message =
        format!("`{}` is {}, and this needs {}; use such a token", caller.name, caller.role.name(), needed.name());
    Err(ApiError::new(Code::NotAllowed, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_the_lesser_ones() {
        for (has, needs, may) in [
            (Role::Viewer, Role::Viewer, true),
            (Role::Viewer, Role::Operator, false),
            (Role::Operator, Role::Viewer, true),
            (Role::Operator, Role::Admin, false),
            (Role::Admin, Role::Operator, true),
        ] {
            let verdict = allow(Caller { name: "a".into(), role: has }, needs);
            assert_eq!(verdict.is_ok(), may, "{has:?} {needs:?}");
            if let Err(refusal) = verdict {
                assert!(refusal.message.contains(needs.name()), "{}", refusal.message);
            }
        }
    }
}
