//! Opening again after `kill -9` with a journal of 1 GB: from the start of the process to the first accepted device.

use super::process::{Process, fresh_dir};
use super::table::{Bound, Table};
use super::telegrams::Device;
use anyhow::Context;
use polymeter::journal::{AdapterRef, Entry, Fact, FrameFact, FrameOutcome, Identity, Journal, Options};
use polymeter::model::{Digest, HexBytes, Message};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A file gives back what it had allocated ahead when it is closed: a fifth more than wanted.
const JOURNAL_BYTES: u64 = 1_200_000_000;

pub fn after_a_kill(table: &mut Table) -> anyhow::Result<()> {
    let data = fresh_dir("reopen")?;
    let entries = fill(&data)?;
    {
        let station = Process::station(&data)?;
        station.await_views()?;
        // Killed under load, not at rest.
        let load = std::thread::spawn({
            let address = station.listener;
            move || busy(address)
        });
        std::thread::sleep(Duration::from_secs(2));
        drop(station);
        let _ = load.join();
    }
    let started = Instant::now();
    let station = Process::station(&data)?;
    let mut stream = TcpStream::connect(station.listener)?;
    stream.write_all(&Device(1).registration(false))?;
    stream.read_exact(&mut [0; super::telegrams::ACK_BYTES]).context("no acknowledgement")?;
    let name = format!("e accepting again after kill -9, {:.2} GB, {entries} entries", size(&data)? as f64 / 1e9);
    table.row(name, started.elapsed().as_secs_f64(), "s", None, Some(Bound::ValueAtMost(2.0)));
    drop(station);
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

/// Frames such as a fleet sends, written through the journal itself until the file is large enough.
fn fill(data: &Path) -> anyhow::Result<u64> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let identity = Identity { station: "bench".into(), epoch: 1 };
    let journal = Journal::open(data, &Options { identity, now_ms })?;
    let mut receipts = std::collections::VecDeque::new();
    let mut n = 0;
    let mut bytes = 0;
    while bytes < JOURNAL_BYTES {
        let entry = entry(n as u32, now_ms);
        n += 1;
        receipts.push_back(journal.submit_blocking(entry)?);
        if receipts.len() > 8_000 {
            receipts.pop_front().context("one is there")?.wait()?;
        }
        if n % 10_000 == 0 {
            bytes = size(data)?;
        }
    }
    for receipt in receipts {
        receipt.wait()?;
    }
    journal.close();
    Ok(n)
}

fn entry(n: u32, at_ms: i64) -> Entry {
    let device = Device(n % 100_000);
    Entry {
        at_ms,
        fact: Fact::Frame(FrameFact {
            listener: "load".into(),
            peer: "127.0.0.1:50000".into(),
            session: u64::from(n),
            device: format!("usp/5{:013}", n % 100_000).parse().ok(),
            adapter: Some(AdapterRef { name: "usp".into(), digest: Digest([7; 32]), profile: String::new() }),
            raw: HexBytes(device.history(2, 31)),
            outcome: FrameOutcome::Decoded {
                messages: vec![Message::Unknown { what: "filling".into(), bytes: HexBytes(vec![n as u8; 900]) }],
                memory: None,
                duplicate: false,
                held: false,
                behind: Vec::new(),
            },
        }),
    }
}

fn busy(address: std::net::SocketAddr) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    for n in 2..u16::MAX {
        let frame = if n == 2 { Device(5).registration(true) } else { Device(5).heartbeat(n) };
        if stream.write_all(&frame).is_err() || stream.read_exact(&mut [0; super::telegrams::ACK_BYTES]).is_err() {
            return;
        }
    }
}

fn size(dir: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}
