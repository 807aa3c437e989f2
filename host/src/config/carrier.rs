//! How a listener's bytes come: the part of a `[[listener]]` that each transport has for itself.

use super::{ConfigError, Place, RawListener, broker};
use crate::adapter;
use crate::limits;
use crate::link::{coap, mqtt, tls};
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
    Coap(SocketAddr, coap::Options),
    /// Boxed: it is by far the largest.
    Mqtt(Box<mqtt::Options>),
}

impl Carrier {
    /// How its frames come, as adapters are told.
    pub fn transport(&self) -> adapter::Transport {
        match self {
            Self::Tcp(_) | Self::Tls(..) => adapter::Transport::Stream,
            Self::Udp(_) | Self::Coap(..) | Self::Mqtt(_) => adapter::Transport::Datagram,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    Tcp,
    Tls,
    Udp,
    Coap,
    Mqtt,
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

/// `[listener.coap]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCoap {
    path: Option<Spanned<String>>,
    downlink_path: Option<Spanned<String>>,
    #[serde(default)]
    downlink: coap::Downlink,
}

/// Relative files start at `base`.
pub(super) fn resolve(at: &Place<'_>, raw: &RawListener, base: &Path, station: &str) -> Result<Carrier, ConfigError> {
    let transport = *raw.transport.get_ref();
    if let Some(section) = raw.tls.as_ref().filter(|_| transport != Transport::Tls) {
        return Err(at.refuse(section, "[listener.tls] belongs to transport = \"tls\"; write that, or take it out"));
    }
    if let Some(section) = raw.coap.as_ref().filter(|_| transport != Transport::Coap) {
        return Err(at.refuse(section, "[listener.coap] belongs to transport = \"coap\"; write that, or take it out"));
    }
    if let Some(section) = raw.mqtt.as_ref().filter(|_| transport != Transport::Mqtt) {
        return Err(at.refuse(section, "[listener.mqtt] belongs to transport = \"mqtt\"; write that, or take it out"));
    }
    if let Some(bind) = raw.bind.as_ref().filter(|_| transport == Transport::Mqtt) {
        return Err(at.refuse(bind, "a broker is called, so there is nothing to bind; name it in [listener.mqtt]"));
    }
    let bind = || match &raw.bind {
        Some(bind) => at.address(bind),
        None => Err(at.refuse(&raw.transport, "this transport needs bind = \"ip:port\", such as 0.0.0.0:7001")),
    };
    Ok(match transport {
        Transport::Tcp => Carrier::Tcp(bind()?),
        Transport::Udp => Carrier::Udp(bind()?),
        Transport::Mqtt => match &raw.mqtt {
            Some(section) => {
                let name = format!("polymeter-{station}-{}", raw.name.get_ref());
                Carrier::Mqtt(Box::new(broker::resolve(at, section.get_ref(), base, name)?))
            }
            None => {
                return Err(at.refuse(
                    &raw.transport,
                    "transport `mqtt` needs a [listener.mqtt] with broker = \"host:port\" and up, the topic of devices",
                ));
            }
        },
        Transport::Coap => Carrier::Coap(bind()?, coap_options(at, raw.coap.as_ref().map(Spanned::get_ref))?),
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

fn coap_options(at: &Place<'_>, raw: Option<&RawCoap>) -> Result<coap::Options, ConfigError> {
    let path = |given: Option<&Spanned<String>>| match given {
        Some(path) if !path.get_ref().starts_with('/') || path.get_ref().len() > limits::COAP_PATH_BYTES_MAX => {
            Err(at.refuse(path, "a path begins with / and is short, such as /report"))
        }
        Some(path) => Ok(Some(path.get_ref().clone())),
        None => Ok(None),
    };
    Ok(coap::Options {
        path: path(raw.and_then(|raw| raw.path.as_ref()))?,
        downlink_path: path(raw.and_then(|raw| raw.downlink_path.as_ref()))?.unwrap_or_default(),
        downlink: raw.map(|raw| raw.downlink).unwrap_or_default(),
    })
}
