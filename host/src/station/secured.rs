//! The way in through TLS: handshakes beside each other, a bounded number of them, and new certificates without a pause.

use super::doors::{Entrance, pause_after};
use crate::limits;
use crate::link::{Identity, Link};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;

impl Entrance {
    pub(super) async fn secured(
        self,
        socket: TcpListener,
        identity: Arc<Identity>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let entrance = Arc::new(self);
        // Ends with this function, and with it every handshake that is still open.
        let mut handshakes = JoinSet::new();
        let mut look = tokio::time::interval(limits::TLS_FILES_LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                // Beyond the bound, devices wait in the kernel's queue.
                accepted = socket.accept(), if handshakes.len() < limits::TLS_HANDSHAKES_MAX => accepted,
                Some(_) = handshakes.join_next() => continue,
                _ = look.tick() => {
                    entrance.look_at(&identity).await;
                    continue;
                }
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let Some(room) = entrance.room() else { continue };
                    handshakes.spawn(entrance.clone().welcome(identity.clone(), stream, peer, room));
                }
                Err(error) => pause_after(&entrance.door.name, &error).await,
            }
        }
    }

    async fn welcome(
        self: Arc<Self>,
        identity: Arc<Identity>,
        stream: TcpStream,
        peer: std::net::SocketAddr,
        room: OwnedSemaphorePermit,
    ) {
        match identity.welcome(stream).await {
            Ok(secured) => self.begin(room, Link::Tls(secured), peer),
            Err(error) => {
                tracing::debug!(listener = %self.door.name, %peer, %error, "TLS handshake failed");
                self.services.metrics.handshake_failed(&self.door.name);
            }
        }
    }

    async fn look_at(&self, identity: &Arc<Identity>) {
        let identity = identity.clone();
        let listener = &self.door.name;
        match tokio::task::spawn_blocking(move || identity.refresh()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!(%listener, "new certificate in force"),
            Ok(Err(error)) => tracing::warn!(%listener, %error, "the certificate before goes on serving"),
            Err(error) => tracing::error!(%listener, %error, "looking at the certificate was interrupted"),
        }
    }
}
