//! Which query parameters each route takes, from the published description: what is not described is refused. A filter
//! with a slip of the pen would show everything, and `dryrun` instead of `dry_run` would write.

use super::errors::{ApiError, ApiResult};
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi as Description, RefOr};

/// The names of a path's query parameters, by method.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Vec<(Method, Vec<String>)>>);

/// Refuses a request whose query has a parameter that its route does not take.
pub(super) async fn check(State(known): State<Arc<Known>>, request: Request, next: Next) -> Response {
    if request.uri().query().is_some()
        && let Some(route) = request.extensions().get::<MatchedPath>()
        && let Err(refused) = known.check(route.as_str(), request.method(), request.uri())
    {
        return refused.into_response();
    }
    next.run(request).await
}

impl Known {
    /// Of every route of the API proper; whoever asks for `/health` may add what he likes.
    pub fn of(description: &Description) -> Self {
        let mut known = HashMap::new();
        for (path, item) in description.paths.paths.iter().filter(|(path, _)| path.starts_with("/api/v1/")) {
            let operations = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
            ];
            let described = operations.into_iter().filter_map(|(method, op)| Some((method, names(op.as_ref()?))));
            known.insert(path.clone(), described.collect());
        }
        Self(known)
    }

    fn check(&self, route: &str, method: &Method, uri: &Uri) -> ApiResult<()> {
        // What answers GET answers HEAD.
        let described = if method == Method::HEAD { &Method::GET } else { method };
        let Some((_, known)) = self.0.get(route).and_then(|all| all.iter().find(|(known, _)| known == described))
        else {
            return Ok(());
        };
        let Query(asked) = Query::<Vec<(String, String)>>::try_from_uri(uri)?;
        match asked.iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => Err(ApiError::bad_request(format!(
                "`{name}`: {method} {route} takes no query parameters; leave it out"
            ))),
            Some((name, _)) => Err(ApiError::bad_request(format!(
                "`{name}` is no query parameter of {method} {route}, which takes {}",
                known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}

fn names(operation: &Operation) -> Vec<String> {
    let all = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => Some(parameter.name.clone()),
        _ => None,
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_takes_what_is_described_and_nothing_else() {
        let known = Known::of(&crate::api::routes().split_for_parts().1);
        let refused = |method: Method, route: &str, query: &str| {
            let uri = format!("/{route}?{query}").replace(['{', '}'], "").parse().expect("an address");
            known.check(&format!("/api/v1/{route}"), &method, &uri).err().map(|error| error.message)
        };
        for (method, route, query) in [
            (Method::GET, "commands", "state=unconfirmed&open=true&limit=5&after=3&device=usp%2F1"),
            (Method::HEAD, "devices", "prefix=usp"),
            (Method::GET, "devices", ""),
            (Method::POST, "registry/import", "dry_run=true"),
            (Method::GET, "devices/{realm}/{address}/readings", "quantity=volume&superseded=true&from=2024-03-01"),
            (Method::GET, "devices/{realm}/{address}/series", "quantity=volume&to=2024-03-01"),
            (Method::GET, "polls/{name}/rounds", "limit=3"),
        ] {
            assert_eq!(refused(method.clone(), route, query), None, "{method} {route}?{query}");
        }
        for (method, route, query, says) in [
            (Method::GET, "commands", "stat=unconfirmed", "`stat` is no query parameter"),
            (Method::GET, "commands", "open=true&Limit=5", "takes `device`, `state`, `open`, `limit`, `after`"),
            (Method::POST, "registry/import", "dryrun=true", "takes `dry_run`, `shown`"),
            (Method::GET, "devices/{realm}/{address}/events", "quantity=energy", "`quantity` is no"),
            (Method::GET, "devices/{realm}/{address}/events", "superseded=true", "`superseded` is no"),
            (Method::GET, "devices/{realm}/{address}/series", "superseded=true", "`superseded` is no"),
            (Method::GET, "polls/{name}/rounds", "after=3", "`after` is no"),
            (Method::POST, "polls/{name}/rounds", "limit=3", "takes no query parameters"),
        ] {
            let message = refused(method.clone(), route, query).unwrap_or_default();
            assert!(message.contains(says), "{method} {route}?{query}: {message}");
        }
    }
}
