//! Stations as child processes, each on a directory of its own that goes away with it.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child that is killed with `kill -9` when dropped.
pub struct Process {
    child: Child,
    pub listener: SocketAddr,
    /// The station's; none of the null station.
    pub http: Option<SocketAddr>,
}

/// Where cargo builds; benchmarks keep their data there too, on the same disk as real data would be.
pub fn target_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let release = own.parent().context("the program lies in target/release")?;
    Ok(release.parent().context("target/release lies in target")?.to_path_buf())
}

/// A fresh directory under `target/bench`.
pub fn fresh_dir(name: &str) -> anyhow::Result<PathBuf> {
    let dir = target_dir()?.join("bench").join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Processor time that a process has used so far, of all its threads.
pub fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name in parentheses: state, ten more, then user and system time in hundredths of a second.
    let fields = stat.rsplit(')').next().context("stat")?.split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

impl Process {
    /// The null station on an empty directory.
    pub fn null() -> anyhow::Result<Self> {
        let data = fresh_dir("null")?;
        let mut child = Command::new(std::env::current_exe()?).arg("null").arg(data).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        Ok(Self { child, listener: line.trim().parse()?, http: None })
    }

    /// The station with the USP adapter, on a directory that may hold data already.
    pub fn station(data: &Path) -> anyhow::Result<Self> {
        let adapters = data.join("adapters");
        std::fs::create_dir_all(&adapters)?;
        let bundled = target_dir()?.join("adapters/usp.wasm");
        std::fs::copy(&bundled, adapters.join("usp.wasm"))
            .with_context(|| format!("{}: build it with `make adapters`", bundled.display()))?;
        let config = data.join("station.toml");
        std::fs::write(&config, CONFIG)?;
        let whereabouts = data.join("station.json");
        let _ = std::fs::remove_file(&whereabouts);
        let mut child = Command::new(target_dir()?.join("release/polymeter"))
            .args(["serve", "--dev", "--config"])
            .arg(&config)
            .env("RUST_LOG", "warn")
            .spawn()
            .context("target/release/polymeter: build it with `cargo build --release`")?;
        let (listener, http) = await_whereabouts(&whereabouts, &mut child)?;
        Ok(Self { child, listener, http: Some(http) })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Entries that the views have not folded.
    pub fn views_lag(&self) -> anyhow::Result<u64> {
        let http = self.http.context("the null station has no views")?;
        let text = ureq::get(format!("http://{http}/metrics")).call()?.body_mut().read_to_string()?;
        let line = text.lines().find_map(|l| l.strip_prefix("polymeter_views_lag_entries "));
        Ok(line.context("no lag in /metrics")?.trim().parse()?)
    }

    /// Waits until the views show everything.
    pub fn await_views(&self) -> anyhow::Result<()> {
        while self.http.is_some() && self.views_lag()? > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Processor time used so far, of all its threads.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        cpu_of(self.pid())
    }

    /// Resident memory, bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CONFIG: &str = r#"[station]
name = "bench"
data = "."
zone = "Asia/Shanghai"

[http]
bind = "127.0.0.1:0"

[[listener]]
name = "load"
transport = "tcp"
bind = "127.0.0.1:0"
adapters = ["usp"]
connections_max = 18000
"#;

fn await_whereabouts(file: &Path, child: &mut Child) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let started = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            let json: serde_json::Value = serde_json::from_str(&text)?;
            let at = |v: &serde_json::Value| v.as_str().and_then(|s| s.parse().ok()).context("an address");
            return Ok((at(&json["listeners"]["load"])?, at(&json["http"])?));
        }
        if let Some(status) = child.try_wait()? {
            bail!("the station ended with {status} instead of starting");
        }
        if started.elapsed() > Duration::from_secs(120) {
            bail!("the station did not start within two minutes");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
