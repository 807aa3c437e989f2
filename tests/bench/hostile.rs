//! What hostile adapters cost the others: the same load in interleaved rounds, beside well-behaved adapters and beside every
//! adapter of the hostile set, in the same process and with the same frames to both, and the median of the ratios.
//!
//! Two kinds of attack. *Many devices* of each hostile adapter send at once, so that it is quarantined; it is put back into
//! service before every round. *One device* of each goes on and on, which is that device's trouble and never the adapter's.

use super::process::fresh_dir;
use super::table::{Bound, Table};
use super::telegrams::{ACK_BYTES, Device};
use anyhow::Context;
use fleet::api::Api;
use fleet::station::{Listener, Settings, Station, bundled_adapters};
use polymeter_tests::guest::Guest;
use polymeter_tests::hostile;
use serde_json::json;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SESSIONS: u32 = 300;
/// Between two frames of a session: a thousand a second together.
const PAUSE: Duration = Duration::from_millis(300);
const PAIRS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Between two frames of one hostile device.
const ATTACK_PAUSE: Duration = Duration::from_millis(500);
/// After a change of who serves.
const SETTLE: Duration = Duration::from_secs(1);
const SLOW_MS: u64 = 17;
/// The second byte of a frame becomes the first of its sender's address: each device of a good adapter is one of its own.
const NAMES_ITS_SENDER: &str = "(i32.store8 (i32.const 512) (i32.load8_u (i32.add (local.get 12) (i32.const 1))))";

/// The delays of replies since somebody last took them.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    delays: Mutex<Vec<Duration>>,
}

pub fn beside_others(table: &mut Table) -> anyhow::Result<()> {
    let mut set: Vec<(&str, Vec<u8>)> =
        hostile::callable().into_iter().map(|hostile| (hostile.name, hostile.component)).collect();
    set.push(("slow", hostile::slow("slow", "1.0.0", SLOW_MS)));
    // As many that behave, each with a listener and devices of its own, too.
    let behaved: Vec<&'static str> = (0..set.len()).map(|n| &*format!("good{n:02}").leak()).collect();
    let mut listeners = vec![Listener::tcp("load", "\"usp\"")];
    let names = set.iter().map(|(name, _)| *name).chain(behaved.iter().copied());
    listeners.extend(names.map(|name| Listener::udp(name, &format!("\"{name}\""))));
    let settings = Settings { listeners, log: "error".into(), ..Settings::usual() };
    let usp = bundled_adapters()?.into_iter().find(|path| path.ends_with("usp.wasm")).context("usp")?;
    let mut station = Station::prepare(&fresh_dir("hostile")?, &settings, &[usp])?;
    station.start()?;
    let api = station.api()?;
    for (name, component) in &set {
        api.upload(&format!("adapters/{name}.wasm"), component.clone())?;
    }
    for name in &behaved {
        let component = Guest { realm: name, on_decode: NAMES_ITS_SENDER, ..Guest::new(name) }.component();
        api.upload(&format!("adapters/{name}.wasm"), component)?;
    }
    let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
    let doors: Vec<SocketAddr> = names.iter().map(|name| station.door(name)).collect::<Result<_, _>>()?;
    let good: Vec<SocketAddr> = behaved.iter().map(|name| station.door(name)).collect::<Result<_, _>>()?;

    let load = Arc::new(Load::default());
    let (address, working) = (station.door("load")?, load.clone());
    let clients = std::thread::spawn(move || clients(address, &working));
    std::thread::sleep(ROUND);
    for (kind, devices) in [("many devices", 4_u8), ("one device", 1)] {
        let mut rounds = Vec::new();
        let mut sent = 0;
        for _ in 0..PAIRS {
            serve_again(&api, &names)?;
            let without = load.measure(|| {
                attack(&good, devices);
            })?;
            serve_again(&api, &names)?;
            let with = load.measure(|| sent += attack(&doors, devices))?;
            rounds.push((with / without, without, with));
        }
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, _, _) = rounds[PAIRS / 2];
        let mut without: Vec<f64> = rounds.iter().map(|(_, without, _)| *without).collect();
        without.sort_by(f64::total_cmp);
        let name = format!("g p99 beside {} hostile adapters, {kind}", names.len());
        table.row(format!("g p99 beside as many good ones, {kind}"), without[PAIRS / 2], "ms", None, None);
        table.row(name, without[PAIRS / 2] * ratio, "ms", Some(ratio), Some(Bound::RatioAtMost(1.1)));
        table.row(format!("g hostile frames sent, {kind}"), sent as f64, "frames", None, None);
    }
    load.done.store(true, Relaxed);
    clients.join().map_err(|_| anyhow::anyhow!("the clients ended early"))??;
    Ok(())
}

/// Each is active, whatever became of it in the round before.
fn serve_again(api: &Api, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        api.post(&format!("adapters/{name}/activate"), &json!({"version": "1.0.0", "reason": "another round"}))?;
    }
    // What was kept of them is read again first.
    std::thread::sleep(SETTLE);
    Ok(())
}

/// Sends to all of these for one round; gives how many frames that were.
fn attack(doors: &[SocketAddr], devices: u8) -> u64 {
    let begun = Instant::now();
    let mut sent = 0;
    let sockets: Vec<(UdpSocket, u8)> = (0..devices)
        .filter_map(|n| UdpSocket::bind((format!("127.0.0.{}", 2 + n), 0)).ok().map(|socket| (socket, n)))
        .collect();
    while begun.elapsed() < ROUND {
        for (socket, n) in &sockets {
            for door in doors {
                sent += u64::from(socket.send_to(&[0x68, b'1' + n, 2, 3], door).is_ok());
            }
        }
        std::thread::sleep(ATTACK_PAUSE);
    }
    sent
}

impl Load {
    /// The p99 of all replies while something else is done, in milliseconds.
    fn measure(&self, meanwhile: impl FnOnce()) -> anyhow::Result<f64> {
        let take = || std::mem::take(&mut *self.delays.lock().unwrap_or_else(PoisonError::into_inner));
        drop(take());
        meanwhile();
        let mut delays = take();
        delays.sort_unstable();
        let p99 = delays.get(delays.len() * 99 / 100).context("no reply in a round")?;
        Ok(p99.as_secs_f64() * 1e3)
    }
}

fn clients(address: SocketAddr, load: &Arc<Load>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let sessions: Vec<_> = (0..SESSIONS).map(|n| tokio::spawn(session(n, address, load.clone()))).collect();
        for session in sessions {
            session.await??;
        }
        Ok(())
    })
}

async fn session(n: u32, address: SocketAddr, load: Arc<Load>) -> anyhow::Result<()> {
    tokio::time::sleep(PAUSE * n / SESSIONS).await;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let device = Device(n);
    let mut frame = device.registration(true);
    for sequence in 2.. {
        let begun = Instant::now();
        stream.write_all(&frame).await?;
        stream.read_exact(&mut [0; ACK_BYTES]).await.context("a session was closed")?;
        let took = begun.elapsed();
        load.delays.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        if load.done.load(Relaxed) {
            break;
        }
        tokio::time::sleep(PAUSE.saturating_sub(took)).await;
        frame = device.daily(sequence, u32::from(sequence));
    }
    Ok(())
}
