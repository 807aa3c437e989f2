//! An authority that certifies stations and devices, and a device's end of TLS.

use crate::site::PATIENCE;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

pub type Secured = StreamOwned<ClientConnection, TcpStream>;

/// The name on every station's certificate.
const STATION: &str = "station.test";

pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Papers {
    pub certificate: String,
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// For a station, or for a device.
    pub fn papers(&self) -> Papers {
        let params = CertificateParams::new(vec![STATION.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Papers { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Connects to a station that this authority has certified; the handshake is done when this returns.
    pub fn connect(
        &self,
        station: SocketAddr,
        papers: Option<&Papers>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Secured> {
        let stream = TcpStream::connect_timeout(&station, PATIENCE)?;
        self.secure(stream, papers, versions)
    }

    /// The same on a connection that is there.
    pub fn secure(
        &self,
        stream: TcpStream,
        papers: Option<&Papers>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Secured> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match papers {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let certificate = CertificateDer::from_pem_slice(papers.certificate.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(vec![certificate], key).expect("a certificate")
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(STATION).expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut secured = StreamOwned::new(connection, stream);
        while secured.conn.is_handshaking() {
            secured.conn.complete_io(&mut secured.sock)?;
        }
        Ok(secured)
    }
}
