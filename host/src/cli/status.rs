//! `polymeter status`: how the station and its fleet are.

use super::client::Access;
use super::output::Columns;
use anyhow::{Result, ensure};

const STATUS: Columns<'_> = &[
    ("station", "/station"),
    ("version", "/version"),
    ("health", "/health/status"),
    ("journal", "/health/journal"),
    ("views", "/health/views"),
    ("clock", "/health/clock"),
    ("listeners", "/listeners"),
    ("idle listeners", "/health/idle_listeners"),
    ("out of service", "/health/out_of_service"),
    ("devices", "/fleet/devices"),
    ("online", "/fleet/online"),
    ("reported today", "/fleet/reported_today"),
    ("held", "/fleet/held"),
    ("in alarm", "/fleet/in_alarm"),
    ("commands open", "/commands/open"),
    ("commands unconfirmed", "/commands/unconfirmed"),
    ("quarantined", "/quarantined"),
    ("last entry", "/journal/last_seq"),
    ("views behind", "/views/lag"),
    ("adapters", "/adapters_active"),
];

pub fn run(access: &Access) -> Result<()> {
    let station = access.remote.connect()?.get("station")?;
    access.output.object(STATUS, &station)?;
    ensure!(station["health"]["status"] != "failing", "the station is failing");
    Ok(())
}
