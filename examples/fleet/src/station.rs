//! A real station as a child process: its configuration, its data directory, its life and its sudden death.
//!
//! Only a process that was started here is ever ended here.

use crate::api::Api;
use crate::world::Doors;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A listener of the configuration.
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: String,
    /// `tcp`, `tls`, `udp`, `coap` or `mqtt`.
    pub transport: &'static str,
    pub bind: SocketAddr,
    /// As in the file, such as `"usp", { adapter = "qianwei_7xxx", profile = "x" }`.
    pub adapters: String,
    /// `accept`, `hold` or `refuse`.
    pub unknown: &'static str,
    /// Lines as in the file, such as `command_wait_s = 2`.
    pub more: String,
}

/// What a station is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listeners: Vec<Listener>,
    pub http: SocketAddr,
    pub zone: String,
    /// Further sections of the file, such as profiles.
    pub more: String,
    /// What to log.
    pub log: String,
    /// Adapters that nobody has signed may serve, as those that `make adapters` builds.
    pub unsigned: bool,
}

/// Where a running station listens.
#[derive(Clone, Debug)]
struct Whereabouts {
    http: String,
    listeners: Vec<(String, SocketAddr)>,
}

/// A station with its directory.
pub struct Station {
    dir: PathBuf,
    binary: PathBuf,
    token: String,
    log: String,
    unsigned: bool,
    child: Option<Child>,
    place: Option<Whereabouts>,
}

/// Starting includes compiling adapters and repairing what a crash left, on a machine that may do other things too.
const START_PATIENCE: Duration = Duration::from_secs(300);
const STOP_PATIENCE: Duration = Duration::from_secs(60);
const LOG_LINES_SHOWN: usize = 15;
/// What concentrators carry, and who reads it.
const RELAYS: &str = r#"relays = [
  { protocol = "cjt188-le", adapter = "cjt188", profile = "gas" },
  { protocol = "cjt188-be", adapter = "cjt188", profile = "gas_high_first" },
  { protocol = "mbus", adapter = "en13757" },
  { protocol = "szrq", adapter = "szrq" },
]"#;

impl Settings {
    /// One TCP listener, `meters`, for both bundled adapters, on free ports.
    pub fn usual() -> Self {
        let meters = Listener::tcp("meters", r#""usp", "qianwei_7xxx""#);
        let (http, more) = (SocketAddr::from(([127, 0, 0, 1], 0)), String::new());
        Self { listeners: vec![meters], http, zone: "Asia/Shanghai".into(), more, log: "info".into(), unsigned: true }
    }

    /// A listener for each way in which the fleet's meters come, and the options that they need. The utility looks after the
    /// installation before it lets a valve be opened from afar, and tells one price.
    pub fn mixed_fleet() -> Self {
        let both = r#""usp", { adapter = "qianwei_7xxx", profile = "supervised" }"#;
        let profiles = format!(
            "[profile.supervised]\nremote_open = \"open\"\n\n\
             [profile.priced]\nremote_open = \"open\"\nprice = {}\nunknown_account = \"zero\"\n\n\
             [profile.gas]\ngas_volume = \"working\"\nsettlement_day = 1\n\n\
             [profile.gas_high_first]\ngas_volume = \"working\"\ndi_order = \"be\"\ndi_order_write = \"be\"\n\n{}",
            crate::terminal::fengxian::PRICE,
            crate::estate::polls(&far_time_of_day())
        );
        let mut meters = Listener::tcp("meters", both);
        meters.more = RELAYS.into();
        let listeners = vec![
            meters,
            Listener::udp("nb-iot", both),
            Listener::udp("szrq", r#""szrq""#),
            Listener::tcp("fengxian", r#"{ adapter = "fengxian", profile = "priced" }"#),
            Listener::tcp("dtu", r#""modbus_corrector""#),
        ];
        Self { listeners, more: profiles, ..Self::usual() }
    }

    fn toml(&self) -> String {
        let mut text = format!("[station]\nname = \"fleet\"\ndata = \"data\"\nzone = \"{}\"\n", self.zone);
        for l in &self.listeners {
            let Listener { name, transport, bind, adapters, unknown, more } = l;
            // A broker is called, not waited for.
            let bind = if *transport == "mqtt" { String::new() } else { format!("bind = \"{bind}\"\n") };
            // Writing into a String cannot fail.
            let _ = write!(
                text,
                "\n[[listener]]\nname = \"{name}\"\ntransport = \"{transport}\"\n{bind}\
                 adapters = [{adapters}]\nunknown = \"{unknown}\"\n{more}\n"
            );
        }
        let _ = write!(text, "\n[http]\nbind = \"{}\"\n\n{}\n", self.http, self.more);
        text
    }
}

impl Listener {
    pub fn tcp(name: &str, adapters: &str) -> Self {
        Self::on("tcp", name, adapters)
    }

    pub fn udp(name: &str, adapters: &str) -> Self {
        Self::on("udp", name, adapters)
    }

    /// With any transport; what it needs beyond an address goes into `more`.
    pub fn on(transport: &'static str, name: &str, adapters: &str) -> Self {
        let bind = SocketAddr::from(([127, 0, 0, 1], 0));
        let (name, adapters, more) = (name.into(), adapters.into(), String::new());
        Self { name, transport, bind, adapters, unknown: "accept", more }
    }
}

impl Station {
    /// Prepares an empty directory: configuration, adapters, and a first token.
    pub fn prepare(dir: &Path, settings: &Settings, adapters: &[PathBuf]) -> Result<Self> {
        let binary = built("polymeter")?;
        let data = dir.join("data");
        fs::create_dir_all(data.join("adapters")).with_context(|| data.display().to_string())?;
        fs::write(dir.join("station.toml"), settings.toml())?;
        for adapter in adapters {
            let name = adapter.file_name().context("an adapter without a name")?;
            fs::copy(adapter, data.join("adapters").join(name)).with_context(|| adapter.display().to_string())?;
        }
        let made = Command::new(&binary)
            .args(["token", "create", "fleet", "--role", "admin", "--data"])
            .arg(&data)
            .output()
            .with_context(|| binary.display().to_string())?;
        ensure!(made.status.success(), "no token: {}", String::from_utf8_lossy(&made.stderr).trim());
        let token = String::from_utf8(made.stdout)?.trim().to_owned();
        let (dir, log, unsigned) = (dir.to_owned(), settings.log.clone(), settings.unsigned);
        Ok(Self { dir, binary, token, log, unsigned, child: None, place: None })
    }

    /// Starts it and waits until devices can connect.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs already");
        let told = self.data().join("station.json");
        // The last run's places would be taken for this one's.
        let _ = fs::remove_file(&told);
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let child = Command::new(&self.binary)
            .args(["serve", "--log", &self.log])
            .args(self.unsigned.then_some("--dev"))
            .arg("--config")
            .arg(self.dir.join("station.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the one who started it; the station is then asked to finish.
            .process_group(0)
            .spawn()
            .with_context(|| self.binary.display().to_string())?;
        let pid = u64::from(child.id());
        self.child = Some(child);
        let begun = Instant::now();
        while begun.elapsed() < START_PATIENCE {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                self.child = None;
                bail!("the station ended with {status}:\n{}", self.last_words());
            }
            let text = fs::read_to_string(&told).unwrap_or_default();
            if let Some(place) = serde_json::from_str(&text).ok().filter(|v: &Value| v["pid"] == pid) {
                self.place = Some(Whereabouts::read(&place)?);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the station is not there after {START_PATIENCE:?}:\n{}", self.last_words())
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to finish and waits for that.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            child.kill()?;
        }
        let begun = Instant::now();
        while begun.elapsed() < STOP_PATIENCE {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "the station ended with {status}:\n{}", self.last_words());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("the station did not stop within {STOP_PATIENCE:?}:\n{}", self.last_words())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The process; `None`: it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Address of a listener.
    pub fn door(&self, name: &str) -> Result<SocketAddr> {
        let place = self.place.as_ref().context("it has not been started")?;
        let found = place.listeners.iter().find(|(listener, _)| listener == name);
        found.map(|(_, at)| *at).with_context(|| format!("no listener {name}"))
    }

    /// Where the meters of a mixed fleet connect.
    pub fn doors(&self) -> Result<Doors> {
        let door = |name| self.door(name).map(Some);
        let (udp, szrq, fengxian, dtu) = (door("nb-iot")?, door("szrq")?, door("fengxian")?, door("dtu")?);
        Ok(Doors { tcp: self.door("meters")?, udp, szrq, fengxian, dtu })
    }

    /// `host:port` of the API and the page.
    pub fn http(&self) -> Result<&str> {
        Ok(&self.place.as_ref().context("it has not been started")?.http)
    }

    pub fn api(&self) -> Result<Api> {
        Ok(Api::new(self.http()?, &self.token))
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("station.toml")
    }

    pub fn log_file(&self) -> PathBuf {
        self.dir.join("station.log")
    }

    /// Runs the station's own program with these arguments, and gives what it printed.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let ran = Command::new(&self.binary).args(args).output()?;
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        ensure!(ran.status.success(), "polymeter {}: {}{}", args.join(" "), out, err.trim());
        Ok(out.into_owned())
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if self.child.is_some() {
            // Nobody is left to tell.
            let _ = self.kill();
        }
    }
}

impl Whereabouts {
    fn read(told: &Value) -> Result<Self> {
        let http = told["http"].as_str().context("station.json: no http")?.to_owned();
        let listeners = told["listeners"].as_object().context("station.json: no listeners")?;
        let place = |(name, at): (&String, &Value)| -> Result<_> {
            Ok((name.clone(), at.as_str().context("station.json: no address")?.parse()?))
        };
        Ok(Self { http, listeners: listeners.iter().map(place).collect::<Result<_>>()? })
    }
}

/// A time of day whose last round nobody wants any more, so that rounds are held only when somebody wants one.
fn far_time_of_day() -> String {
    let now = jiff::Zoned::now().in_tz("Asia/Shanghai").unwrap_or_else(|_| jiff::Zoned::now());
    format!("{:02}:{:02}", (now.hour() + 12) % 24, now.minute())
}

/// A program that cargo has put beside this one, or one directory above it, where tests live.
pub fn built(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let found = me.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built; run `make build` first"))
}

/// The bundled adapters, as `make adapters` leaves them.
pub fn bundled_adapters() -> Result<Vec<PathBuf>> {
    let binary = built("polymeter")?;
    let target = binary.ancestors().nth(2).context("no target directory")?;
    let dir = target.join("adapters");
    let mut found: Vec<PathBuf> = fs::read_dir(&dir)
        .with_context(|| format!("{}: run `make adapters` first", dir.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "wasm"))
        .collect();
    found.sort();
    ensure!(!found.is_empty(), "{}: empty; run `make adapters` first", dir.display());
    Ok(found)
}
