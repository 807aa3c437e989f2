//! The station's HTTP API as the command line sees it: requests, pages, and refusals as text for people.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Method, Request, StatusCode, header};

/// Longest answer that is read into memory.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Loading an adapter compiles it, which takes a while on a small machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Where help lists what is the same for all commands, apart from their own options.
const STATION: &str = "Station";

/// Which station, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// Address of the station's HTTP interface
    #[arg(
        long,
        global = true,
        env = "POLYMETER_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        help_heading = STATION
    )]
    url: String,
    /// API token; make one with `polymeter token create`
    #[arg(
        long,
        global = true,
        env = "POLYMETER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = STATION
    )]
    token: Option<String>,
}

/// What every command needs that speaks to a running station.
#[derive(Args, Clone, Debug)]
pub struct Access {
    #[command(flatten)]
    pub remote: Remote,
    #[command(flatten)]
    pub output: super::output::Output,
}

/// What the station does not do, in its own words, which say what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// As in the table of the API's description; what is branched on.
    pub code: String,
    message: String,
}

/// The request has left, and nobody heard an answer: what was asked for may be done all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unheard(String);

/// A connection to one station.
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Remote {
    pub fn connect(&self) -> Result<Client> {
        let base = self.url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") {
            bail!(
                "`{base}` does not begin with http://; the command line speaks plain HTTP, so reach the station's [http] bind on its own machine, through an ssh tunnel or on a trusted network"
            );
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .max_idle_connections(1)
            .build();
        Ok(Client { agent: config.into(), base, token: self.token.clone() })
    }
}

impl Client {
    /// `path` is below `/api/v1`.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call(&Method::GET, path, Vec::new(), "application/json")
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(&Method::POST, path, serde_json::to_vec(body)?, "application/json")
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(&Method::PUT, path, serde_json::to_vec(body)?, "application/json")
    }

    pub fn delete(&self, path: &str) -> Result<Value> {
        self.call(&Method::DELETE, path, Vec::new(), "application/json")
    }

    pub fn upload(&self, path: &str, bytes: Vec<u8>) -> Result<Value> {
        self.call(&Method::PUT, path, bytes, "application/wasm")
    }

    /// All rows of a listing, page after page, at most `rows_max`.
    pub fn rows(&self, path: &str, query: &[(&str, String)], rows_max: usize) -> Rows<'_> {
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        Rows { client: self, path: path.into(), query, left: rows_max, next: Next::First, ready: VecDeque::new() }
    }

    /// Sends text; gives the answer also where the station could not use all of it (422) and says why.
    pub fn send_rows(&self, path: &str, text: Vec<u8>) -> Result<Value> {
        let (status, answer) = self.exchange(&Method::POST, path, text, "text/csv")?;
        match answer {
            Ok(answer) if status.is_success() || answer.get("flaws").is_some() => Ok(answer),
            answer => Err(self.refused(status, answer.ok().as_ref())),
        }
    }

    /// Copies an answer as it comes, however long.
    pub fn download(&self, path: &str, to: &mut dyn std::io::Write) -> Result<u64> {
        let mut response = self.send(&Method::GET, path, Vec::new(), "application/json", None)?;
        let status = response.status();
        if !status.is_success() {
            let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
            return Err(self.refused(status, serde_json::from_str(&text).ok().as_ref()));
        }
        std::io::copy(&mut response.body_mut().as_reader(), to).context("the station broke off; its log says why")
    }

    fn call(&self, method: &Method, path: &str, body: Vec<u8>, kind: &str) -> Result<Value> {
        let (status, answer) = self.exchange(method, path, body, kind)?;
        if status.is_success() {
            return answer.with_context(|| format!("{} does not answer like a station; check --url", self.base));
        }
        Err(self.refused(status, answer.ok().as_ref()))
    }

    /// Status, and the answer if it is JSON.
    fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Vec<u8>,
        kind: &str,
    ) -> Result<(StatusCode, serde_json::Result<Value>)> {
        let mut response = self.send(method, path, body, kind, Some(TIMEOUT))?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.lost(&error))?;
        let answer = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        Ok((response.status(), answer))
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Vec<u8>,
        kind: &str,
        limit: Option<Duration>,
    ) -> Result<ureq::http::Response<ureq::Body>> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("{}/api/v1/{path}", self.base))
            .header(header::CONTENT_TYPE, kind);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(body).context("this request cannot be formed; check --url and --token")?;
        let request = self.agent.configure_request(request).timeout_global(limit).build();
        self.agent.run(request).map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &ureq::Error) -> anyhow::Error {
        let words = format!("{}: {error}; is the station running (`polymeter serve`), and is --url right?", self.base);
        let nobody = match error {
            ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
            _ => false,
        };
        if nobody { anyhow!(words) } else { Unheard(words).into() }
    }

    fn refused(&self, status: StatusCode, answer: Option<&Value>) -> anyhow::Error {
        let word = |pointer: &str| answer.and_then(|a| a.pointer(pointer)).and_then(Value::as_str);
        match word("/error/message") {
            Some(_) if status == StatusCode::UNAUTHORIZED && self.token.is_none() => {
                anyhow!(
                    "this needs a token: set POLYMETER_TOKEN, or make the first one with \
                         `polymeter token create NAME --role admin --config FILE` while the station is stopped"
                )
            }
            Some(message) => {
                Refused { code: word("/error/code").unwrap_or_default().into(), message: message.into() }.into()
            }
            None => anyhow!("{} answers {status} but not like a station; check --url", self.base),
        }
    }
}

/// The page to be fetched.
enum Next {
    First,
    After(String),
    /// There is none.
    End,
}

/// Rows of a listing; fetches the next page when the last one is used up.
pub struct Rows<'a> {
    client: &'a Client,
    path: String,
    query: Vec<String>,
    left: usize,
    next: Next,
    ready: VecDeque<Value>,
}

impl Rows<'_> {
    /// Starts after this cursor.
    pub fn after(mut self, cursor: String) -> Self {
        self.next = Next::After(cursor);
        self
    }

    /// Whether the station has rows beyond those that were asked for.
    pub fn more(&self) -> bool {
        !self.ready.is_empty() || !matches!(self.next, Next::End)
    }

    /// Whether the station has no row at all; asks it as far as that takes.
    pub fn nothing(&mut self) -> Result<bool> {
        while self.ready.is_empty() && !matches!(self.next, Next::End) {
            self.fetch()?;
        }
        Ok(self.ready.is_empty())
    }

    fn fetch(&mut self) -> Result<()> {
        let next = std::mem::replace(&mut self.next, Next::End);
        if matches!(next, Next::End) {
            return Ok(());
        }
        let mut query = self.query.clone();
        // Listings that are always whole take no `limit`; whoever wants all rows learns from the first page whether there
        // are more.
        if self.left != usize::MAX || matches!(next, Next::After(_)) {
            query.push(format!("limit={}", self.left.min(crate::limits::PAGE_ROWS_MAX)));
        }
        if let Next::After(cursor) = next {
            query.push(format!("after={}", escape(&cursor)));
        }
        let sign = if query.is_empty() { "" } else { "?" };
        let mut page = self.client.get(&format!("{}{sign}{}", self.path, query.join("&")))?;
        if let Some(cursor) = page.get("next").and_then(Value::as_str) {
            self.next = Next::After(cursor.to_owned());
        }
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            self.ready = items.into();
        }
        Ok(())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Result<Value>> {
        while self.left > 0 && self.ready.is_empty() && !matches!(self.next, Next::End) {
            if let Err(error) = self.fetch() {
                self.left = 0;
                return Some(Err(error));
            }
        }
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.ready.pop_front().map(Ok)
    }
}

/// A value inside a path or a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Path of a device, from `realm/address`.
pub fn device_path(device: &str) -> Result<String> {
    let key: crate::model::DeviceKey = device.parse()?;
    Ok(format!("devices/{}/{}", escape(key.realm()), escape(key.address())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_part_of_an_address() {
        for (text, escaped) in [
            ("a-b_c.d~1", "a-b_c.d~1"),
            ("2024-03-15T00:20:05", "2024-03-15T00:20:05"),
            ("a b/ü&", "a%20b%2F%C3%BC%26"),
        ] {
            assert_eq!(escape(text), escaped);
        }
        assert_eq!(device_path("usp/50001234567810").ok().as_deref(), Some("devices/usp/50001234567810"));
        assert!(device_path("50001234567810").is_err());
    }
}
