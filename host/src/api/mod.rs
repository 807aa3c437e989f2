//! stub
use std::sync::Arc;
pub fn router(_: Arc<crate::session::Services>) -> axum::Router {
    axum::Router::new()
}
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: axum::Router,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let _ = axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            let _ = stop.changed().await;
        })
        .await;
}
