//! No two doors at one address: the second would fail to open, long after the file was read.

use super::{Carrier, ConfigError, Http, Listener, Place, RawHttp, RawListener};
use std::net::{IpAddr, SocketAddr};
use toml::Spanned;

/// Streams and datagrams have ports of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    Streams,
    Datagrams,
}

/// An address in use, by whom, and where the file says so.
struct Taken<'a> {
    ports: Ports,
    address: SocketAddr,
    who: String,
    said: Option<&'a Spanned<String>>,
}

pub(super) fn check(
    at: &Place<'_>,
    listeners: &[(&Spanned<RawListener>, &Listener)],
    (raw, http): (&RawHttp, &Http),
) -> Result<(), ConfigError> {
    let mut taken = Vec::new();
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
    taken: &mut Vec<Taken<'a>>,
    address: (Ports, SocketAddr),
    who: String,
    said: Option<&'a Spanned<String>>,
) -> Result<(), ConfigError> {
    // The system gives each that asks for port 0 one of its own.
    if address.1.port() == 0 {
        return Ok(());
    }
    let met = taken.iter().find(|other| other.ports == address.0 && meet(other.address, address.1));
    let Some(Taken { address: theirs, who: other, said: other_said, .. }) = met else {
        taken.push(Taken { ports: address.0, address: address.1, who, said });
        return Ok(());
    };
    let unsaid =
        if said.is_none() || other_said.is_none() { " ([http] listens there unless its bind says where)" } else { "" };
    let clash = if *theirs == address.1 {
        format!("{who} and {other} both bind {theirs}{unsaid}")
    } else {
        format!("{who} binds {} and {other} {theirs}{unsaid}, and one takes in the other", address.1)
    };
    let what = format!("{clash}; give each a port of its own");
    match said.or(*other_said) {
        Some(place) => Err(at.refuse(place, &what)),
        None => Err(ConfigError(what)),
    }
}

/// Whether what comes in by one could come in by the other. `[::]` also takes what is addressed in the older form.
fn meet(a: SocketAddr, b: SocketAddr) -> bool {
    let takes_in = |any: IpAddr, one: IpAddr| any.is_unspecified() && (any.is_ipv6() || one.is_ipv4());
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() == b.port() && (one == other || takes_in(one, other) || takes_in(other, one))
}
