//! A running station in a directory of its own, tokens for each role, and entries to fill it with.

use polymeter::config::Config;
use polymeter::journal::{AdapterRef, Fact, FrameFact, FrameOutcome, Role};
use polymeter::model::{
    Capabilities, Civil, DeviceKey, DeviceKind, Digest, HexBytes, Initiator, Message, Quality, Quantity, Register,
    Registration, Report, ReportCause, Role as Aspect, Seq, Unit, ValveState, ValveStatus,
};
use polymeter::station::Station;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Runtime;
use ureq::http::Request;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A station that stops, and whose files go, with its test.
pub struct Served {
    pub url: String,
    pub dir: PathBuf,
    station: Option<Station>,
    runtime: Runtime,
}

/// An answer: status and body.
pub type Answer = (u16, Value);

impl Served {
    pub fn start() -> Self {
        Self::with_page("loopback")
    }

    pub fn with_page(page: &str) -> Self {
        Self::in_dir(fresh_dir(), page)
    }

    pub fn in_dir(dir: PathBuf, page: &str) -> Self {
        let config = Config::parse(&configuration(page), &dir).expect("a configuration");
        let runtime = Runtime::new().expect("threads");
        let station = runtime.block_on(Station::start(config)).expect("starts");
        let url = format!("http://{}", station.http());
        let served = Self { url, dir, station: Some(station), runtime };
        for role in Role::ALL {
            let hash = Digest::of(token(role).as_bytes());
            served.tell(Fact::TokenSet { name: role.name().into(), role, hash, by: "test".into() });
        }
        served
    }

    pub fn station(&self) -> &Station {
        self.station.as_ref().expect("running")
    }

    /// Writes an entry and waits until the views show it.
    pub fn tell(&self, fact: Fact) -> Seq {
        let services = self.station().services();
        self.runtime.block_on(async {
            let seq = services.commit(vec![fact]).await.expect("commits");
            assert!(services.views.caught_up(seq).await);
            seq
        })
    }

    /// Writes entries, which the views need not show yet.
    pub fn write(&self, facts: Vec<Fact>) {
        self.runtime.block_on(self.station().services().commit(facts)).expect("commits");
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Some(&token(Role::Viewer)), None)
    }

    pub fn by(&self, role: Role, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask(method, path, Some(&token(role)), body)
    }

    pub fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let (status, text) = self.raw(method, path, &[("authorization", token.map(|t| format!("Bearer {t}")))], bytes);
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        (status, body)
    }

    pub fn raw(&self, method: &str, path: &str, headers: &[(&str, Option<String>)], body: Vec<u8>) -> (u16, String) {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/{path}") };
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(*name, value);
            }
        }
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let agent: ureq::Agent = config.into();
        let mut response = agent.run(request.body(body).expect("a request")).expect("an answer");
        (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(station) = self.station.take() {
            self.runtime.block_on(station.stop());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn fresh_dir() -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("polymeter-interfaces-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

pub fn configuration(page: &str) -> String {
    format!(
        "[station]\nname = \"north\"\ndata = \"data\"\nzone = \"Asia/Shanghai\"\n\n[[listener]]\nname = \"nb\"\n\
         transport = \"tcp\"\nbind = \"127.0.0.1:0\"\nadapters = [\"usp\"]\n\n[http]\nbind = \"127.0.0.1:0\"\npage = \"{page}\"\n\n[profile.ro]\n"
    )
}

pub fn write_configuration(dir: &Path) -> PathBuf {
    let path = dir.join("station.toml");
    std::fs::write(&path, configuration("loopback")).expect("written");
    path
}

/// A well-formed token that differs by role.
pub fn token(role: Role) -> String {
    let digit = match role {
        Role::Viewer => "1",
        Role::Operator => "2",
        Role::Admin => "3",
    };
    format!("pmt_{}", digit.repeat(64))
}

pub fn code((status, body): &Answer) -> (u16, &str) {
    (*status, body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default())
}

pub fn device(address: &str) -> DeviceKey {
    DeviceKey::new("usp", address).expect("a device")
}

/// A frame of that device with these messages.
pub fn frame(address: &str, messages: Vec<Message>, held: bool) -> Fact {
    Fact::Frame(FrameFact {
        listener: "nb".into(),
        peer: "127.0.0.1:1".into(),
        session: 1,
        device: Some(device(address)),
        adapter: Some(AdapterRef { name: "usp".into(), digest: Digest([7; 32]), profile: String::new() }),
        raw: HexBytes(vec![0x68, 0x16]),
        outcome: FrameOutcome::Decoded { messages, memory: None, duplicate: false, held, behind: Vec::new() },
    })
}

/// A meter with a valve.
pub fn registration() -> Message {
    Message::Registration(Registration {
        kind: DeviceKind::Meter,
        manufacturer: "Acme".into(),
        model: "G4".into(),
        hardware: String::new(),
        firmware: "2.1".into(),
        iccid: String::new(),
        imei: String::new(),
        capabilities: Capabilities(1),
        schedule: None,
        key_version: None,
        clock: None,
    })
}

/// A total at a time, in hundredths of a cubic metre.
pub fn daily(at: &str, hundredths: i64, alarms: &[&str]) -> Message {
    let at: Civil = at.parse().expect("a time");
    let register = Register {
        quantity: Quantity::StandardVolume,
        unit: Unit::CubicMetre,
        role: Aspect::Cumulative,
        quality: Quality::Good,
        exponent: -2,
        mantissa: hundredths,
        at: None,
        storage: 0,
        tariff: 0,
        channel: 0,
        code: 0,
    };
    Message::Report(Report {
        subject: None,
        cause: ReportCause::Daily,
        at: Some(at),
        registers: vec![register],
        series: vec![],
        valve: Some(ValveStatus { state: ValveState::Open, by: Initiator::Unknown, reason: None }),
        alarms: alarms.iter().map(|a| (*a).to_owned()).collect(),
        raw_status: 0,
        more_follows: false,
    })
}
