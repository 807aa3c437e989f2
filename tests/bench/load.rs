//! Load: the same client against both stations, as a process of its own.
//!
//! Short sessions: connect, 3004, 3043, both acknowledged, close. Open connections: one frame and its
//! acknowledgement after the other on each of 1,000 connections. Counting ends when the views have caught up.

use super::process::{Process, fresh_dir};
use super::table::{Bound, Table};
use super::telegrams::{ACK_BYTES, Device};
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Null station and station take turns, so that whatever else the machine does meets both; the median round counts.
const ROUNDS: u32 = 9;
const SESSIONS: u32 = 15_000;
const SESSIONS_AT_ONCE: u32 = 512;
const CONNECTIONS: u32 = 1_000;
const FRAMES_EACH: u32 = 100;
/// A source address has some 28,000 ports, each waits for a minute after its connection, and finding a free one takes the
/// kernel the longer the fewer there are.
const SESSIONS_PER_SOURCE: u32 = 3_000;
const RATIO: Option<Bound> = Some(Bound::RatioAtLeast(0.6));

pub fn short_sessions(table: &mut Table) -> anyhow::Result<()> {
    compare(table, "a", ["short sessions", " (3004, 3043, views)"], "sessions/s", "short", SESSIONS)
}

pub fn open_connections(table: &mut Table) -> anyhow::Result<()> {
    let frames = CONNECTIONS * FRAMES_EACH;
    compare(table, "b", ["heartbeats", " (3003) on 1,000 connections"], "frames/s", "heartbeats", frames)?;
    compare(table, "b", ["reports", " (3043, views) on 1,000 connections"], "frames/s", "reports", frames)
}

/// What a station did with a load, round by round.
#[derive(Default)]
struct Measured {
    per_second: Vec<f64>,
    /// Processor time of the station's process for one unit; says more than the rate when something else runs on the machine.
    cpu_us: Vec<f64>,
}

fn compare(
    table: &mut Table,
    part: &str,
    [what, how]: [&str; 2],
    unit: &'static str,
    kind: &str,
    count: u32,
) -> anyhow::Result<()> {
    let stations = [(Process::null()?, "prefixed"), (Process::station(&fresh_dir(kind)?)?, "usp")];
    let mut measured = [Measured::default(), Measured::default()];
    // The first round warms up.
    for round in 0..=ROUNDS {
        for ((process, framing), measured) in stations.iter().zip(&mut measured) {
            let done = measure(process, kind, framing, round, count)?;
            if round > 0 {
                measured.per_second.push(done.0);
                measured.cpu_us.push(done.1);
            }
        }
    }
    let ratios = measured[0].per_second.iter().zip(&measured[1].per_second).map(|(null, station)| station / null);
    let ratio = median(ratios.collect());
    let [null, station] = measured;
    table.row(format!("{part} null station, {what}"), median(null.per_second), unit, None, None);
    table.row(format!("{part} station, {what}{how}"), median(station.per_second), unit, Some(ratio), RATIO);
    table.row(format!("{part} null station, {what}, its processor time"), median(null.cpu_us), "us each", None, None);
    table.row(format!("{part} station, {what}, its processor time"), median(station.cpu_us), "us each", None, None);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One round: units a second, and processor time of each in microseconds.
fn measure(process: &Process, kind: &str, framing: &str, round: u32, count: u32) -> anyhow::Result<(f64, f64)> {
    let (started, cpu) = (Instant::now(), process.processor_time()?);
    client(process, kind, framing, round)?;
    process.await_views()?;
    let cpu = process.processor_time()?.saturating_sub(cpu);
    let each = |time: Duration| time.as_secs_f64() / f64::from(count);
    Ok((1.0 / each(started.elapsed()), each(cpu) * 1e6))
}

fn client(process: &Process, kind: &str, framing: &str, pass: u32) -> anyhow::Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .args(["load", kind, framing, &process.listener.to_string(), &pass.to_string()])
        .status()?;
    anyhow::ensure!(status.success(), "the load client failed");
    Ok(())
}

/// The client process: `load KIND FRAMING ADDRESS PASS`.
pub fn run(words: &[&str]) -> anyhow::Result<()> {
    let [kind, framing, address, pass] = words else { anyhow::bail!("load KIND FRAMING ADDRESS PASS") };
    let plan = Arc::new(Plan {
        prefixed: *framing == "prefixed",
        address: address.parse()?,
        pass: pass.parse()?,
        next: AtomicU32::new(0),
    });
    let kind = (*kind).to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let workers = if kind == "short" { SESSIONS_AT_ONCE } else { CONNECTIONS };
        let tasks: Vec<_> = (0..workers)
            .map(|n| {
                let (plan, kind) = (plan.clone(), kind.clone());
                tokio::spawn(async move {
                    match kind.as_str() {
                        "short" => plan.sessions().await,
                        "heartbeats" => plan.stay(n, |device, i| device.heartbeat(i as u16 + 2)).await,
                        _ => {
                            let first_day = plan.pass * FRAMES_EACH;
                            plan.stay(n, move |device, i| device.daily(i as u16 + 2, first_day + i)).await
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })
}

struct Plan {
    prefixed: bool,
    address: SocketAddr,
    pass: u32,
    next: AtomicU32,
}

impl Plan {
    async fn sessions(&self) -> anyhow::Result<()> {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n >= SESSIONS {
                return Ok(());
            }
            let device = Device(n);
            let mut stream = self.connect(n / SESSIONS_PER_SOURCE).await?;
            self.exchange(&mut stream, &device.registration(false)).await?;
            self.exchange(&mut stream, &device.daily(2, self.pass)).await?;
        }
    }

    async fn stay(&self, n: u32, frame: impl Fn(Device, u32) -> Vec<u8>) -> anyhow::Result<()> {
        let device = Device(n);
        let mut stream = self.connect(0).await?;
        self.exchange(&mut stream, &device.registration(true)).await?;
        for i in 0..FRAMES_EACH {
            self.exchange(&mut stream, &frame(device, i)).await?;
        }
        Ok(())
    }

    async fn connect(&self, source: u32) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // Other addresses in each round and for each station; the station's port is random.
        let station = 1 + (self.address.port() % 200) as u8;
        socket.bind((Ipv4Addr::new(127, station, 1 + self.pass as u8, 1 + source as u8), 0).into())?;
        let stream = socket.connect(self.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn exchange(&self, stream: &mut TcpStream, frame: &[u8]) -> anyhow::Result<()> {
        if self.prefixed {
            let mut prefixed = (frame.len() as u16).to_le_bytes().to_vec();
            prefixed.extend(frame);
            stream.write_all(&prefixed).await?;
        } else {
            stream.write_all(frame).await?;
        }
        let mut ack = [0; ACK_BYTES];
        stream.read_exact(&mut ack).await.context("no acknowledgement")?;
        Ok(())
    }
}
