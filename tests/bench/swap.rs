//! An adapter that is swapped under load: 2,000 sessions report while its versions take turns, and nobody may notice.

use super::process::fresh_dir;
use super::table::{Bound, Table};
use super::telegrams::{ACK_BYTES, Device};
use anyhow::Context;
use fleet::edition;
use fleet::station::{Listener, Settings, Station, bundled_adapters};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SESSIONS: u32 = 2_000;
const SWAPS: usize = 100;
/// Between two frames of a session: some 2,000 frames a second together.
const PAUSE: Duration = Duration::from_secs(1);
const CONFIG_SESSIONS: &str = "connections_max = 4000";

/// What all sessions together have seen.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    closed: AtomicU64,
}

pub fn under_load(table: &mut Table) -> anyhow::Result<()> {
    let mut listener = Listener::tcp("load", "\"usp\"");
    listener.more = CONFIG_SESSIONS.into();
    let settings = Settings { listeners: vec![listener], log: "warn".into(), ..Settings::usual() };
    let usp = bundled_adapters()?.into_iter().find(|path| path.ends_with("usp.wasm")).context("usp")?;
    let mut station = Station::prepare(&fresh_dir("swap")?, &settings, std::slice::from_ref(&usp))?;
    station.start()?;
    let api = station.api()?;
    let other = edition::with_manifest(&std::fs::read(&usp)?, |manifest| manifest["version"] = "9.0.0".into())?;
    let versions = [edition::version(&std::fs::read(&usp)?)?, "9.0.0".into()];
    api.upload("adapters/usp.wasm?stage=true", other)?;

    let (done, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let clients = {
        let (address, done, seen) = (station.door("load")?, done.clone(), seen.clone());
        std::thread::spawn(move || clients(address, &done, &seen))
    };
    while seen.acknowledged.load(Relaxed) < u64::from(SESSIONS) * 3 && !clients.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut longest = Duration::ZERO;
    for swap in 0..SWAPS {
        let begun = Instant::now();
        let body = json!({"version": versions[(swap + 1) % 2], "allow_downgrade": true, "reason": "to and fro"});
        api.post("adapters/usp/activate", &body)?;
        longest = longest.max(begun.elapsed());
    }
    done.store(true, Relaxed);
    let mut delays = clients.join().map_err(|_| anyhow::anyhow!("the clients ended early"))??;
    api.catch_up(Duration::from_secs(60))?;
    let counts = api.rows("devices")?;
    let count = |key: &str| counts.iter().filter_map(|device| device["counts"][key].as_u64()).sum::<u64>();
    let acknowledged = seen.acknowledged.load(Relaxed);
    let wrong = acknowledged.abs_diff(count("frames")) + count("duplicates") + count("faults");
    delays.sort_unstable();
    let p99 = delays[delays.len() * 99 / 100].as_secs_f64() * 1e3;
    let name = format!("f {SWAPS} swaps under {SESSIONS} sessions");
    table.row(format!("{name}: reports acknowledged"), acknowledged as f64, "frames", None, None);
    let none = Some(Bound::ValueAtMost(0.0));
    table.row(format!("{name}: closed by it"), seen.closed.load(Relaxed) as f64, "sessions", None, none);
    table.row(format!("{name}: lost or double"), wrong as f64, "frames", None, none);
    table.row(format!("{name}: p99 of a reply"), p99, "ms", None, Some(Bound::ValueAtMost(100.0)));
    table.row(format!("{name}: longest swap"), longest.as_secs_f64() * 1e3, "ms", None, None);
    Ok(())
}

/// All sessions until it is done; gives how long every reply took.
fn clients(address: SocketAddr, done: &Arc<AtomicBool>, seen: &Arc<Seen>) -> anyhow::Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|n| {
                let (done, seen) = (done.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut delays = Vec::new();
                    if session(n, address, &done, &seen, &mut delays).await.is_err() {
                        seen.closed.fetch_add(1, Relaxed);
                    }
                    delays
                })
            })
            .collect();
        let mut all = Vec::new();
        for session in sessions {
            all.append(&mut session.await?);
        }
        Ok(all)
    })
}

async fn session(
    n: u32,
    address: SocketAddr,
    done: &AtomicBool,
    seen: &Seen,
    delays: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    // Spread over the pause, as a fleet is.
    tokio::time::sleep(PAUSE * n / SESSIONS).await;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let device = Device(n);
    let mut frame = device.registration(true);
    for sequence in 2.. {
        let begun = Instant::now();
        stream.write_all(&frame).await?;
        stream.read_exact(&mut [0; ACK_BYTES]).await?;
        delays.push(begun.elapsed());
        seen.acknowledged.fetch_add(1, Relaxed);
        if done.load(Relaxed) {
            break;
        }
        tokio::time::sleep(PAUSE.saturating_sub(begun.elapsed())).await;
        frame = device.daily(sequence, u32::from(sequence));
    }
    Ok(())
}
