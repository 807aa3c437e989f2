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
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const SESSIONS: u32 = 60_000;
const SESSIONS_AT_ONCE: u32 = 512;
const CONNECTIONS: u32 = 1_000;
const FRAMES_EACH: u32 = 300;
const RATIO: Option<Bound> = Some(Bound::RatioAtLeast(0.6));
/// Client ports last for some 28,000 connections a source address.
const SESSIONS_PER_SOURCE: u32 = 10_000;

pub fn short_sessions(table: &mut Table) -> anyhow::Result<()> {
    let null = rate(&Process::null()?, "short", "prefixed", SESSIONS)?;
    let station = rate(&Process::station(&fresh_dir("short")?)?, "short", "usp", SESSIONS)?;
    table.row("a null station, short sessions", null, "sessions/s", None, None);
    table.row("a station, short sessions (3004, 3043, views)", station, "sessions/s", Some(station / null), RATIO);
    Ok(())
}

pub fn open_connections(table: &mut Table) -> anyhow::Result<()> {
    for (kind, name) in [("heartbeats", "3003"), ("reports", "3043")] {
        let frames = CONNECTIONS * FRAMES_EACH;
        let null = rate(&Process::null()?, kind, "prefixed", frames)?;
        let station = rate(&Process::station(&fresh_dir(kind)?)?, kind, "usp", frames)?;
        table.row(format!("b null station, {kind} ({name}) on 1,000 connections"), null, "frames/s", None, None);
        table.row(
            format!("b station, {kind} ({name}) on 1,000 connections"),
            station,
            "frames/s",
            Some(station / null),
            RATIO,
        );
    }
    Ok(())
}

/// One warm-up pass, one measured.
fn rate(process: &Process, kind: &str, framing: &str, count: u32) -> anyhow::Result<f64> {
    client(process, kind, framing, 0)?;
    process.await_views()?;
    let started = Instant::now();
    client(process, kind, framing, 1)?;
    process.await_views()?;
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
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
        // Both passes of a run use their own addresses, so that waiting ports of the first do not block the second.
        let host = 2 + source as u8 + 100 * self.pass as u8;
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
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
