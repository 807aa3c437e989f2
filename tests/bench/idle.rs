//! Memory of sleeping sessions: 10,000 registered devices that stay on line and say nothing.

use super::process::{Process, fresh_dir};
use super::table::{Bound, Table};
use super::telegrams::{ACK_BYTES, Device};
use anyhow::Context;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

const WARM: u32 = 200;
const SESSIONS: u32 = 10_000;

pub fn memory(table: &mut Table) -> anyhow::Result<()> {
    let station = Process::station(&fresh_dir("idle")?)?;
    // Some sessions first, so that what every station needs once is not counted as theirs.
    let warm = holder(&station, 0, WARM)?;
    station.await_views()?;
    let before = station.resident()?;
    let held = holder(&station, WARM, SESSIONS)?;
    station.await_views()?;
    let each = station.resident()?.saturating_sub(before) as f64 / f64::from(SESSIONS) / 1_024.0;
    for mut child in [warm, held] {
        child.kill()?;
        child.wait()?;
    }
    table.row("d resident memory per idle session, 10,000 sessions", each, "KiB", None, Some(Bound::ValueAtMost(16.0)));
    Ok(())
}

/// A process that holds sessions open: the station's memory is measured, not the client's.
fn holder(station: &Process, first: u32, count: u32) -> anyhow::Result<std::process::Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["idle", &station.listener.to_string(), &first.to_string(), &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
    anyhow::ensure!(line.trim() == "held", "the sessions could not be opened");
    Ok(child)
}

/// `idle ADDRESS FIRST COUNT`: opens the sessions, says so, and sleeps.
pub fn hold(words: &[&str]) -> anyhow::Result<()> {
    let [address, first, count] = words else { anyhow::bail!("idle ADDRESS FIRST COUNT") };
    let (address, first, count): (SocketAddr, u32, u32) = (address.parse()?, first.parse()?, count.parse()?);
    let mut streams = Vec::new();
    for n in first..first + count {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&Device(n).registration(true))?;
        stream.read_exact(&mut [0; ACK_BYTES])?;
        streams.push(stream);
    }
    println!("held");
    std::thread::sleep(std::time::Duration::from_secs(300));
    Ok(())
}
