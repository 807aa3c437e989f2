//! Opening with many adapters installed: from the start of the process to the first acknowledged device, from the compile
//! cache.

use super::process::fresh_dir;
use super::table::{Bound, Table};
use super::telegrams::{ACK_BYTES, Device};
use anyhow::Context;
use fleet::edition;
use fleet::station::{Listener, Settings, Station, bundled_adapters};
use polymeter_tests::guest::Guest;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ADAPTERS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// Fifty adapters of real size serve; two more versions of each, which compile quickly, are installed beside them.
pub fn with_many_adapters(table: &mut Table) -> anyhow::Result<()> {
    let usp = bundled_adapters()?.into_iter().find(|path| path.ends_with("usp.wasm")).context("usp")?;
    let bytes = edition::without(&std::fs::read(&usp)?, "polymeter:vectors")?;
    let settings =
        Settings { listeners: vec![Listener::tcp("load", "\"usp\"")], log: "warn".into(), ..Settings::usual() };
    let mut station = Station::prepare(&fresh_dir("opening")?, &settings, &[])?;
    station.start()?;
    let api = station.api()?;
    for number in 0..ADAPTERS {
        let name: &'static str = if number == 0 { "usp" } else { format!("maker_{number}").leak() };
        for version in ["0.1.0", "0.2.0"] {
            let small = Guest { version, realm: name, ..Guest::new(name) }.component();
            api.upload("adapters/a.wasm?stage=true", small)?;
        }
        let real = edition::with_manifest(&bytes, |manifest| {
            (manifest["name"], manifest["realm"], manifest["version"]) = (name.into(), name.into(), "1.0.0".into());
        })?;
        api.upload("adapters/a.wasm", real)?;
    }
    drop(api);
    station.stop()?;
    let begun = Instant::now();
    station.start()?;
    let mut stream = TcpStream::connect(station.door("load")?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&Device(1).registration(false))?;
    stream.read_exact(&mut [0; ACK_BYTES]).context("no acknowledgement")?;
    let took = begun.elapsed().as_secs_f64();
    let installed = station.api()?.rows("adapters")?.len();
    let name = format!("h accepting with {ADAPTERS} adapters, {installed} versions installed");
    table.row(name, took, "s", None, Some(Bound::ValueAtMost(1.0)));
    Ok(())
}
