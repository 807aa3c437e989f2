//! How a listener's bytes come: the part of a `[[listener]]` that each transport has for itself.

use super::{ConfigError, Place, RawListener};
use crate::link::tls;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A transport with all that it needs.
#[derive(Clone, Debug)]
pub enum Carrier {
    Tcp(SocketAddr),
    Tls(SocketAddr, tls::Files),
    Udp(SocketAddr),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    Tcp,
    Tls,
    Udp,
}

/// `[listener.tls]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_certificates: Option<Spanned<tls::Shown>>,
    #[serde(default)]
    oldest: tls::Oldest,
}

/// Relative files start at `base`.
pub(super) fn resolve(at: &Place<'_>, raw: &RawListener, base: &Path) -> Result<Carrier, ConfigError> {
    let transport = *raw.transport.get_ref();
    if let Some(section) = raw.tls.as_ref().filter(|_| transport != Transport::Tls) {
        return Err(at.refuse(section, "[listener.tls] belongs to transport = \"tls\"; write that, or take it out"));
    }
    let bind = || match &raw.bind {
        Some(bind) => at.address(bind),
        None => Err(at.refuse(&raw.transport, "this transport needs bind = \"ip:port\", such as 0.0.0.0:7001")),
    };
    Ok(match transport {
        Transport::Tcp => Carrier::Tcp(bind()?),
        Transport::Udp => Carrier::Udp(bind()?),
        Transport::Tls => match &raw.tls {
            Some(section) => Carrier::Tls(bind()?, tls_files(at, section.get_ref(), base)?),
            None => {
                return Err(at.refuse(
                    &raw.transport,
                    "transport `tls` needs a [listener.tls] with certificate and key, names of PEM files",
                ));
            }
        },
    })
}

fn tls_files(at: &Place<'_>, raw: &RawTls, base: &Path) -> Result<tls::Files, ConfigError> {
    let clients = match (&raw.client_ca, &raw.client_certificates) {
        (Some(authority), shown) => Some(tls::Clients {
            authority: base.join(authority),
            shown: shown.as_ref().map(|shown| *shown.get_ref()).unwrap_or_default(),
        }),
        (None, Some(shown)) => {
            return Err(at.refuse(shown, "client_certificates needs client_ca, the PEM file of those who sign them"));
        }
        (None, None) => None,
    };
    let (certificate, key) = (base.join(&raw.certificate), base.join(&raw.key));
    Ok(tls::Files { certificate, key, clients, oldest: raw.oldest })
}
