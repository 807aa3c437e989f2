//! The station's public HTTP API, as a client sees it. Blocking: callers have threads.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::fmt;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Request;

/// Loading an adapter compiles it, which takes a while on a small machine.
const TIMEOUT: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
const PAGE_ROWS: usize = 1_000;

/// A client with its own connection.
#[derive(Clone)]
pub struct Api {
    agent: Agent,
    base: String,
    token: String,
}

/// The station said no, in its own words.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Api {
    /// `http` as `host:port`.
    pub fn new(http: &str, token: &str) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(TIMEOUT)).build();
        Self { agent: config.into(), base: format!("http://{http}"), token: token.into() }
    }

    /// Another client of the same station, so that each thread has its own connection.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(self.base.trim_start_matches("http://"), &self.token)
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// `path` is below `/api/v1`.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, "application/json", Vec::new())
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, "application/json", body.to_string().into_bytes())
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("PUT", path, "application/json", body.to_string().into_bytes())
    }

    pub fn delete(&self, path: &str) -> Result<Value> {
        self.call("DELETE", path, "application/json", Vec::new())
    }

    /// A file as it is.
    pub fn upload(&self, path: &str, bytes: Vec<u8>) -> Result<Value> {
        self.call("PUT", path, "application/wasm", bytes)
    }

    /// All rows of a listing, page by page.
    pub fn rows(&self, path: &str) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut after = String::new();
        let sign = if path.contains('?') { '&' } else { '?' };
        loop {
            let mut page = self.get(&format!("{path}{after}"))?;
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => rows.extend(items),
                _ => return Err(anyhow!("{path}: no `items` in {page}")),
            }
            match page.get("next").and_then(Value::as_str) {
                // Only now, since listings that are always whole take no `limit`.
                Some(next) => after = format!("{sign}limit={PAGE_ROWS}&after={}", escape(next)),
                None => return Ok(rows),
            }
        }
    }

    /// Text outside of the API, such as `/metrics`.
    pub fn text(&self, path: &str) -> Result<(u16, String)> {
        self.send("GET", &format!("{}{path}", self.base), "text/plain", Vec::new())
    }

    /// Waits until everything that is in the journal now is shown.
    pub fn catch_up(&self, patience: Duration) -> Result<()> {
        let asked = Instant::now();
        let wanted = last_seq(&self.get("station")?)?;
        loop {
            let station = self.get("station")?;
            let lag = station.pointer("/views/lag").and_then(Value::as_u64).context("station: no views.lag")?;
            if last_seq(&station)?.saturating_sub(lag) >= wanted {
                return Ok(());
            }
            if asked.elapsed() > patience {
                return Err(anyhow!("the views are still {lag} entries behind after {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn call(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Result<Value> {
        let (status, text) = self.send(method, &format!("{}/api/v1/{path}", self.base), kind, body)?;
        let answer = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_default() };
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let word = |key: &str| answer.pointer(key).and_then(Value::as_str).unwrap_or(&text).to_owned();
        Err(Refused { status, code: word("/error/code"), message: word("/error/message") }.into())
    }

    fn send(&self, method: &str, url: &str, kind: &str, body: Vec<u8>) -> Result<(u16, String)> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", kind)
            .header("authorization", format!("Bearer {}", self.token))
            .body(body)?;
        let mut response = self.agent.run(request).with_context(|| url.to_owned())?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok((response.status().as_u16(), text))
    }
}

/// A value inside a path or a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn last_seq(station: &Value) -> Result<u64> {
    station.pointer("/journal/last_seq").and_then(Value::as_u64).context("station: no journal.last_seq")
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl std::error::Error for Refused {}
