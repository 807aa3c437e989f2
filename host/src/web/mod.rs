//! The status page: one read-only page at `/`, rendered here, with its style and script inside.
//!
//! It shows what `GET /api/v1/overview` answers and nothing else, and changes nothing. `page` turns that answer into
//! HTML, with `fleet` for families and carriers; `chart` draws, `words` has the labels.

mod chart;
mod fleet;
mod html;
mod page;
mod words;

use crate::api::{self, ApiError, Code, Peer};
use crate::config::{Config, Page};
use crate::session::Services;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// The page, if the configuration wants it; it is merged with the API's routes.
pub fn router(services: Arc<Services>, config: &Config) -> Router {
    let policy = config.http.page;
    if policy == Page::Off {
        return Router::new();
    }
    let show = move |State(services): State<Arc<Services>>,
                     ConnectInfo(peer): ConnectInfo<Peer>,
                     headers: HeaderMap| async move { show(&services, policy, peer, &headers).await };
    Router::new().route("/", get(show)).with_state(services)
}

async fn show(services: &Arc<Services>, policy: Page, peer: Peer, headers: &HeaderMap) -> Result<Response, ApiError> {
    if policy == Page::Loopback && !(peer.0.ip().is_loopback() && is_local_name(headers)) {
        let message = "the status page is shown on the station's own machine only; set page = \"open\" under [http] to \
                       show it to everybody who can reach this address, or use the API with a token";
        return Err(ApiError::new(Code::NotAllowed, message));
    }
    let overview = api::overview(services).await?;
    let nonce = nonce()?;
    Ok(respond(&nonce, page::render(&overview, &nonce)))
}

fn respond(nonce: &str, html: String) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static("referrer-policy"), "no-referrer".to_owned()),
    ];
    (headers, html).into_response()
}

/// A browser that was lured to this address under a foreign name must not show the page to the page that lured it.
fn is_local_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|v| v.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Only style and script that carry it are obeyed by the browser.
fn nonce() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| ApiError::internal(&e))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for (host, local) in [
            ("localhost", true),
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("meters.example:8080", false),
            ("192.0.2.1", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_local_name(&headers), local, "{host}");
        }
        assert!(!is_local_name(&HeaderMap::new()));
    }
}
