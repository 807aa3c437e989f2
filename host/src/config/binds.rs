//! No two doors at one address: the second would fail to open, long after the file was read.

use super::{Carrier, ConfigError, Http, Listener, Place, RawHttp, RawListener};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use toml::Spanned;

/// Streams and datagrams have ports of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ports {
    Streams,
    Datagrams,
}

/// Addresses in use, by whom, and where the file says so.
type Taken<'a> = BTreeMap<(Ports, SocketAddr), (String, Option<&'a Spanned<String>>)>;

pub(super) fn check(
    at: &Place<'_>,
    listeners: &[(&Spanned<RawListener>, &Listener)],
    (raw, http): (&RawHttp, &Http),
) -> Result<(), ConfigError> {
    let mut taken = Taken::new();
    for (raw, listener) in listeners {
        let (ports, address) = match &listener.carrier {
            Carrier::Tcp(address) | Carrier::Tls(address, _) => (Ports::Streams, *address),
            Carrier::Udp(address) | Carrier::Coap(address, _) => (Ports::Datagrams, *address),
            Carrier::Mqtt(_) => continue,
        };
        let who = format!("listener `{}`", listener.name);
        take(at, &mut taken, (ports, address), who, raw.get_ref().bind.as_ref())?;
    }
    take(at, &mut taken, (Ports::Streams, http.bind), "[http]".into(), raw.bind.as_ref())?;
    if let (Some(raw), Some((address, _))) = (&raw.tls, &http.tls) {
        take(at, &mut taken, (Ports::Streams, *address), "[http.tls]".into(), Some(&raw.bind))?;
    }
    Ok(())
}

fn take<'a>(
    at: &Place<'_>,
    taken: &mut Taken<'a>,
    address: (Ports, SocketAddr),
    who: String,
    said: Option<&'a Spanned<String>>,
) -> Result<(), ConfigError> {
    // The system gives each that asks for port 0 one of its own.
    if address.1.port() == 0 {
        return Ok(());
    }
    let Some((other, other_said)) = taken.get(&address) else {
        taken.insert(address, (who, said));
        return Ok(());
    };
    let unsaid =
        if said.is_none() || other_said.is_none() { " ([http] listens there unless its bind says where)" } else { "" };
    let what = format!("{who} and {other} both bind {}{unsaid}; give each a port of its own", address.1);
    match said.or(*other_said) {
        Some(place) => Err(at.refuse(place, &what)),
        None => Err(ConfigError(what)),
    }
}
