//! Open files: each connection takes one, and the journal and the views need theirs whatever peers do. So the process's limit is
//! raised as far as it goes, and divided before anybody is let in.

use crate::config::{Carrier, Config};
use crate::limits::{FILES_LEFT_MIN, FILES_OF_ADDRESS_MAX, FILES_OWN_MAX, HTTP_CONNECTIONS_MAX, TLS_HANDSHAKES_MAX};
use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that may be open at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// Of devices, over all listeners.
    pub devices: usize,
    /// Of clients, at each address of the API.
    pub clients: usize,
    /// Whose handshake is under way, at each address with TLS.
    pub handshakes: usize,
}

/// What takes files.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Listeners, connections to brokers, and addresses of the API.
    addresses: usize,
    /// Addresses of the API.
    fronts: usize,
    /// Addresses with TLS.
    secured: usize,
    /// Connections that the listeners may have together.
    connections: usize,
}

impl Share {
    /// Raises the process's limit and divides it.
    pub fn take(config: &Config) -> anyhow::Result<Self> {
        let (files, wanted) = (raised(), Wanted::of(config));
        let Some(share) = Self::of(files, wanted) else {
            bail!(
                "the process may have {files} open files, and the station needs {} at least: raise the limit \
                 (`LimitNOFILE=` of its service, `ulimit -n`)",
                wanted.own() + FILES_LEFT_MIN
            );
        };
        if share.devices < wanted.connections {
            tracing::warn!(
                files,
                connections = share.devices,
                wanted = wanted.connections,
                "the limit of open files lets fewer devices connect at a time than the listeners may have: raise it \
                 (`LimitNOFILE=` of the service, `ulimit -Hn`), or say less in connections_max"
            );
        }
        Ok(share)
    }

    /// `None`: too few for a station. Clients and handshakes get a quarter each at most, devices what is left.
    fn of(files: usize, wanted: Wanted) -> Option<Self> {
        let left = files.checked_sub(wanted.own()).filter(|left| *left >= FILES_LEFT_MIN)?;
        let clients = (left / 4 / wanted.fronts.max(1)).clamp(1, HTTP_CONNECTIONS_MAX);
        let handshakes = (left / 4 / wanted.secured.max(1)).clamp(1, TLS_HANDSHAKES_MAX);
        let devices = left.saturating_sub(clients * wanted.fronts + handshakes * wanted.secured);
        Some(Self { devices: devices.min(wanted.connections), clients, handshakes })
    }
}

impl Wanted {
    fn of(config: &Config) -> Self {
        let fronts = 1 + usize::from(config.http.tls.is_some());
        let streams = config.listeners.iter().filter(|l| matches!(l.carrier, Carrier::Tcp(_) | Carrier::Tls(..)));
        let secured = config.listeners.iter().filter(|l| matches!(l.carrier, Carrier::Tls(..))).count();
        Self {
            addresses: config.listeners.len() + fronts,
            fronts,
            secured: secured + usize::from(config.http.tls.is_some()),
            connections: streams.map(|listener| listener.connections_max).sum(),
        }
    }

    /// Files that no connection of a peer may take.
    fn own(self) -> usize {
        FILES_OWN_MAX + self.addresses * FILES_OF_ADDRESS_MAX
    }
}

/// The limit of open files, after it was raised to what the system allows.
fn raised() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    if allowed.current != allowed.maximum {
        let most = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, most) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_station_keeps_its_files_whatever_peers_take() {
        let plain = Wanted { addresses: 2, fronts: 1, secured: 0, connections: 18_000 };
        let secured = Wanted { addresses: 6, fronts: 2, secured: 3, connections: 40_000 };
        for wanted in [plain, secured] {
            let few = wanted.own() + FILES_LEFT_MIN;
            for files in [few, few + 1, 100 + few, 1_024, 20_000, 65_536, usize::MAX] {
                let share = Share::of(files, wanted).expect("enough");
                let peers = share.devices + share.clients * wanted.fronts + share.handshakes * wanted.secured;
                assert!(peers <= files - wanted.own(), "{files}: {share:?}");
                assert!(share.devices > 0 && share.clients > 0 && share.handshakes > 0, "{files}: {share:?}");
            }
            assert_eq!(Share::of(few - 1, wanted), None);
            let share = Share::of(1_000_000, wanted).expect("enough");
            let all = (wanted.connections, HTTP_CONNECTIONS_MAX, TLS_HANDSHAKES_MAX);
            assert_eq!((share.devices, share.clients, share.handshakes), all, "nobody is kept out where there is room");
        }
    }
}
