//! stub
use std::sync::Arc;
pub fn router(_: Arc<crate::session::Services>, _: &crate::config::Config) -> axum::Router {
    axum::Router::new()
}
