//! TLS: a listener's certificate from its files, taken anew when they change, and handshakes that end in time.
//!
//! Whoever is connected stays connected when the files change; only handshakes after that see the new ones. A session
//! does not know that its bytes came through TLS.

use super::files::{self, FilesError};
use crate::limits;
use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ALL_VERSIONS, RootCertStore, ServerConfig, version};
use tokio_rustls::server::TlsStream;

/// A connection after its handshake.
pub type Secured = TlsStream<TcpStream>;

/// What a listener shows, and whom it lets in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// PEM: the station's own certificate first, then those between it and the authority.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    pub clients: Option<Clients>,
    pub oldest: Oldest,
}

/// Certificates that devices show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clients {
    /// PEM: the authorities that sign them.
    pub authority: PathBuf,
    pub shown: Shown,
}

/// Whether a device must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    #[default]
    Required,
    /// Only one that is shown is checked.
    Optional,
}

/// The oldest version that is still spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
pub enum Oldest {
    /// For modules that know nothing newer.
    #[serde(rename = "1.2")]
    Tls12,
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

/// Who the station is on a listener.
pub struct Identity {
    files: Files,
    acceptor: ArcSwap<ServerConfig>,
    /// Of the contents that were looked at last, good or bad: a bad file is complained of once.
    seen: Mutex<[u8; 32]>,
}

impl Identity {
    /// Reads the files. Blocks.
    pub fn open(files: Files) -> Result<Self, FilesError> {
        let contents = Contents::read(&files)?;
        let config = contents.config(&files)?;
        Ok(Self { files, acceptor: ArcSwap::new(config), seen: Mutex::new(contents.digest()) })
    }

    /// Takes the files anew if their contents have changed, and says whether it did. On an error the old ones go on
    /// serving: certificate and key are often replaced one after the other. Blocks.
    pub fn refresh(&self) -> Result<bool, FilesError> {
        let contents = Contents::read(&self.files)?;
        let digest = contents.digest();
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), digest);
        if before == digest {
            return Ok(false);
        }
        self.acceptor.store(contents.config(&self.files)?);
        Ok(true)
    }

    /// One handshake, within its time.
    async fn welcome(&self, stream: TcpStream) -> io::Result<Box<Secured>> {
        let acceptor = TlsAcceptor::from(self.acceptor.load_full());
        let handshake = acceptor.accept(stream);
        let done = tokio::time::timeout(limits::TLS_HANDSHAKE_TIMEOUT, handshake).await;
        done.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(Box::new)
    }
}

/// Connections of one listener, each after its handshake: a bounded number of handshakes beside each other, and new
/// certificates without a pause.
pub struct SecureListener {
    name: String,
    socket: TcpListener,
    identity: Arc<Identity>,
    /// Ends with the listener, and with it every handshake that is still open.
    handshakes: JoinSet<(SocketAddr, io::Result<Box<Secured>>)>,
    handshakes_max: usize,
    look: Interval,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NotAccepted {
    /// The station cannot take any.
    Socket(io::Error),
    /// This one came to no good end.
    Handshake(SocketAddr, io::Error),
}

impl SecureListener {
    /// `name` is what the listener is called in the log.
    pub fn new(name: &str, socket: TcpListener, identity: Identity, handshakes_max: usize) -> Self {
        let mut look = tokio::time::interval(limits::TLS_FILES_LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            name: name.into(),
            socket,
            identity: Arc::new(identity),
            handshakes: JoinSet::new(),
            handshakes_max,
            look,
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Cancel-safe.
    pub async fn accept(&mut self) -> Result<(Box<Secured>, SocketAddr), NotAccepted> {
        loop {
            tokio::select! {
                // Beyond the bound, clients wait in the kernel's queue.
                accepted = self.socket.accept(), if self.handshakes.len() < self.handshakes_max => {
                    let (stream, peer) = accepted.map_err(NotAccepted::Socket)?;
                    // Answers are whole; waiting to fill a packet only delays them.
                    let _ = stream.set_nodelay(true);
                    let identity = self.identity.clone();
                    self.handshakes.spawn(async move { (peer, identity.welcome(stream).await) });
                }
                Some(done) = self.handshakes.join_next() => match done {
                    Ok((peer, Ok(secured))) => return Ok((secured, peer)),
                    Ok((peer, Err(error))) => return Err(NotAccepted::Handshake(peer, error)),
                    Err(error) => tracing::error!(listener = %self.name, %error, "a handshake was interrupted"),
                },
                _ = self.look.tick() => self.look_at_files().await,
            }
        }
    }

    async fn look_at_files(&self) {
        let (identity, listener) = (self.identity.clone(), &self.name);
        match tokio::task::spawn_blocking(move || identity.refresh()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!(%listener, "new certificate in force"),
            Ok(Err(error)) => tracing::warn!(%listener, %error, "the certificate before goes on serving"),
            Err(error) => tracing::error!(%listener, %error, "looking at the certificate was interrupted"),
        }
    }
}

struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl Contents {
    fn read(files: &Files) -> Result<Self, FilesError> {
        let authority = files.clients.as_ref().map(|clients| read(&clients.authority)).transpose()?;
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            authority: authority.unwrap_or_default(),
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.certificate, &self.key, &self.authority] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn config(&self, files: &Files) -> Result<Arc<ServerConfig>, FilesError> {
        let refuse = |file: &Path, why: String| FilesError::new(file, why);
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            refuse(&files.key, "no private key in it; write one as PEM (PKCS#8, PKCS#1 or SEC1), not encrypted".into())
        })?;
        let provider = Arc::new(ring::default_provider());
        let versions = match files.oldest {
            Oldest::Tls12 => ALL_VERSIONS,
            Oldest::Tls13 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| refuse(&files.certificate, e.to_string()))?;
        let builder = match &files.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(&self.authority, &clients.authority)? {
                    roots.add(authority).map_err(|e| {
                        refuse(&clients.authority, format!("{e}; name a file with certificates of authorities"))
                    })?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match clients.shown {
                    Shown::Required => verifier,
                    Shown::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|e| refuse(&clients.authority, e.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| {
            let why = format!("{e}; the key must be that of the first certificate in {}", files.certificate.display());
            refuse(&files.key, why)
        })?;
        // A device that comes every day saves a round trip and a signature; the station keeps nothing for that.
        config.ticketer = ring::Ticketer::new().map_err(|e| refuse(&files.key, e.to_string()))?;
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    let refuse = |why: String| FilesError::new(file, why);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(refuse("no certificate in it; write them as PEM".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(refuse(format!("not PEM: {error}"))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    files::read(path, limits::TLS_FILE_BYTES_MAX)
}
