//! Configuration: the raw TOML file, resolved once into values the rest of the station can trust.
//!
//! Every refusal names the line and says what to write instead. Nothing here opens a socket or a file but the
//! configuration itself.

mod binds;
mod broker;
mod carrier;
mod polls;
mod relays;
mod speaks;

pub use carrier::Carrier;
pub use polls::{Poll, Schedule, What};
pub use relays::Carries;

use crate::clock::Clock;
use crate::lifecycle::Unsigned;
use crate::limits;
use crate::link::tls;
use crate::model::plainly;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// A configuration that holds together.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    /// Journal, views, adapters, keys: everything the station owns.
    pub data: PathBuf,
    pub clock: Clock,
    pub zone: String,
    pub listeners: Vec<Listener>,
    /// All profiles by name, spoken by a listener or not: their JSON.
    pub profiles: BTreeMap<String, String>,
    pub polls: Vec<Poll>,
    pub http: Http,
    pub adapters: PathBuf,
    pub retention_days: u32,
    /// Whether adapters that nobody signed may serve: a word of the command line, never of the file.
    pub unsigned: Unsigned,
}

/// One door for devices.
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: String,
    pub carrier: Carrier,
    /// In the order in which they are asked.
    pub adapters: Vec<Speaks>,
    pub unknown: Unknown,
    pub connections_max: usize,
    /// Time without a command after which a session ends.
    pub command_wait: Duration,
    /// Who reads what its carriers carry, where the registry does not say.
    pub relays: Vec<Carries>,
    /// Lines of one carrier that may have a question under way at a time.
    pub lines_at_once: usize,
    /// Days that no report has brought are asked for.
    pub missing_days: bool,
}

/// An adapter that a listener may speak, under a profile.
#[derive(Clone, Debug)]
pub struct Speaks {
    pub adapter: String,
    /// Name of the profile; empty: the adapter's defaults.
    pub profile: String,
    /// Its JSON.
    pub options: String,
}

/// What happens to a device nobody has announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// Served like any other.
    #[default]
    Accept,
    /// Answered and kept, shown only after somebody adopts it.
    Hold,
    /// Told to go away; its frame is kept in quarantine.
    Refuse,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub bind: SocketAddr,
    /// The same through TLS, beside it.
    pub tls: Option<(SocketAddr, tls::Files)>,
    pub page: Page,
}

/// Who may see the status page without a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Page {
    #[default]
    Loopback,
    Open,
    Off,
}

/// The file cannot be used; the text names file, line and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    station: RawStation,
    #[serde(default)]
    listener: Vec<Spanned<RawListener>>,
    #[serde(default)]
    http: RawHttp,
    #[serde(default)]
    journal: RawJournal,
    #[serde(default)]
    profile: BTreeMap<String, Spanned<toml::Table>>,
    #[serde(default)]
    polls: Vec<Spanned<polls::RawPoll>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStation {
    name: Spanned<String>,
    data: Spanned<PathBuf>,
    zone: Spanned<String>,
    adapters: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListener {
    name: Spanned<String>,
    transport: Spanned<carrier::Transport>,
    bind: Option<Spanned<String>>,
    tls: Option<Spanned<carrier::RawTls>>,
    coap: Option<Spanned<carrier::RawCoap>>,
    mqtt: Option<Spanned<broker::RawMqtt>>,
    adapters: Spanned<Vec<Spanned<speaks::RawSpeaks>>>,
    #[serde(default)]
    unknown: Unknown,
    connections_max: Option<Spanned<usize>>,
    command_wait_s: Option<Spanned<u64>>,
    #[serde(default)]
    relays: Vec<Spanned<relays::RawCarries>>,
    lines_at_once: Option<Spanned<usize>>,
    read_missing_days: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    bind: Option<Spanned<String>>,
    tls: Option<RawHttpTls>,
    #[serde(default)]
    page: Page,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttpTls {
    bind: Spanned<String>,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    oldest: tls::Oldest,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawJournal {
    retention_days: Option<Spanned<u32>>,
}

impl Config {
    /// Reads and resolves a file; relative paths in it start at its directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let fail = |why: String| ConfigError(format!("{}: {why}", path.display()));
        let size =
            std::fs::metadata(path).map_err(|e| fail(format!("{e}; name an existing file with --config")))?.len();
        if size > limits::CONFIG_BYTES_MAX {
            return Err(fail(format!("{size} bytes; a configuration has at most {}", limits::CONFIG_BYTES_MAX)));
        }
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        let text = text_of(bytes).map_err(&fail)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base).map_err(|e| fail(e.0))
    }

    /// Resolves the text of a configuration.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|e| ConfigError(explain(&e, text)))?;
        let at = Place { text };
        let clock = Clock::new(raw.station.zone.get_ref()).map_err(|e| at.refuse(&raw.station.zone, &e))?;
        let name = raw.station.name.get_ref().clone();
        if !is_name(&name) {
            return Err(at.refuse(&raw.station.name, "a name has 1 to 32 letters, digits, `-` or `_`"));
        }
        let data = at.directory(&raw.station.data, base, "data")?;
        let adapters = match &raw.station.adapters {
            Some(dir) => at.directory(dir, base, "adapters")?,
            None => data.join("adapters"),
        };
        let mut profiles = BTreeMap::new();
        for (name, table) in &raw.profile {
            let json = serde_json::to_string(table.get_ref()).map_err(|e| at.refuse(table, &e.to_string()))?;
            if json.len() > limits::PROFILE_BYTES_MAX {
                return Err(at.refuse(table, &format!("a profile has at most {} bytes", limits::PROFILE_BYTES_MAX)));
            }
            profiles.insert(name.clone(), json);
        }
        let listeners = resolve_listeners(&at, &raw.listener, &profiles, (base, &name))?;
        let http = Http {
            bind: match &raw.http.bind {
                Some(bind) => at.address(bind)?,
                None => SocketAddr::from(([127, 0, 0, 1], 8080)),
            },
            tls: match &raw.http.tls {
                Some(raw) => {
                    let (certificate, key) = (base.join(&raw.certificate), base.join(&raw.key));
                    let files = tls::Files { certificate, key, clients: None, oldest: raw.oldest };
                    Some((at.address(&raw.bind)?, files))
                }
                None => None,
            },
            page: raw.http.page,
        };
        binds::check(&at, &raw.listener.iter().zip(&listeners).collect::<Vec<_>>(), (&raw.http, &http))?;
        let retention_days = match &raw.journal.retention_days {
            Some(days) if !(1..=36_500).contains(days.get_ref()) => {
                return Err(at.refuse(days, "retention_days is between 1 and 36500"));
            }
            Some(days) => *days.get_ref(),
            None => limits::RETENTION_DAYS_DEFAULT,
        };
        let zone = raw.station.zone.get_ref().clone();
        let polls = polls::resolve(&at, &raw.polls)?;
        let unsigned = Unsigned::Refused;
        Ok(Self { name, data, clock, zone, listeners, profiles, polls, http, adapters, retention_days, unsigned })
    }
}

fn resolve_listeners(
    at: &Place<'_>,
    raw: &[Spanned<RawListener>],
    profiles: &BTreeMap<String, String>,
    (base, station): (&Path, &str),
) -> Result<Vec<Listener>, ConfigError> {
    if raw.is_empty() {
        return Err(ConfigError(
            "no [[listener]]: add one with name, transport, bind and adapters, so that devices can connect".into(),
        ));
    }
    let mut names = BTreeSet::new();
    raw.iter()
        .map(|listener| {
            let listener = listener.get_ref();
            let resolved = resolve_listener(at, listener, profiles, (base, station))?;
            if !names.insert(resolved.name.clone()) {
                return Err(at.refuse(
                    &listener.name,
                    "two listeners have this name; journal entries name the listener, so give each its own",
                ));
            }
            Ok(resolved)
        })
        .collect()
}

fn resolve_listener(
    at: &Place<'_>,
    raw: &RawListener,
    profiles: &BTreeMap<String, String>,
    (base, station): (&Path, &str),
) -> Result<Listener, ConfigError> {
    let name = raw.name.get_ref().clone();
    if !is_name(&name) {
        return Err(at.refuse(&raw.name, "a name has 1 to 32 letters, digits, `-` or `_`"));
    }
    let adapters = speaks::resolve(at, &raw.adapters, profiles)?;
    let connections_max = match &raw.connections_max {
        Some(max) if !(1..=1_000_000).contains(max.get_ref()) => {
            return Err(at.refuse(max, "connections_max is between 1 and 1000000; each needs one open file"));
        }
        Some(max) => *max.get_ref(),
        None => limits::CONNECTIONS_MAX,
    };
    let command_wait = match &raw.command_wait_s {
        Some(wait) if !(1..=86_400).contains(wait.get_ref()) => {
            return Err(at.refuse(wait, "command_wait_s is between 1 and 86400"));
        }
        Some(wait) => Duration::from_secs(*wait.get_ref()),
        None => limits::COMMAND_WAIT,
    };
    let carrier = carrier::resolve(at, raw, base, station)?;
    let relays = relays::resolve(at, &raw.relays, profiles)?;
    let lines_at_once = match &raw.lines_at_once {
        Some(lines) if !(1..=limits::LINES_AT_ONCE_MAX).contains(lines.get_ref()) => {
            return Err(at.refuse(lines, &format!("lines_at_once is between 1 and {}", limits::LINES_AT_ONCE_MAX)));
        }
        Some(lines) => *lines.get_ref(),
        None => 1,
    };
    let (unknown, missing_days) = (raw.unknown, raw.read_missing_days.unwrap_or(true));
    Ok(Listener {
        name,
        carrier,
        adapters,
        unknown,
        connections_max,
        command_wait,
        relays,
        lines_at_once,
        missing_days,
    })
}

/// Turns a place in the file into a line for people.
struct Place<'a> {
    text: &'a str,
}

impl Place<'_> {
    fn refuse<T>(&self, value: &Spanned<T>, why: &str) -> ConfigError {
        ConfigError(format!("line {}: {why}", line_of(self.text, value.span().start)))
    }

    fn address(&self, value: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        value.get_ref().parse().map_err(|_| {
            self.refuse(value, &format!("`{}` is no address; write ip:port, such as 0.0.0.0:7001", value.get_ref()))
        })
    }

    /// An empty path would be the directory of the file itself: nobody means that.
    fn directory(&self, value: &Spanned<PathBuf>, base: &Path, key: &str) -> Result<PathBuf, ConfigError> {
        if value.get_ref().as_os_str().is_empty() {
            return Err(self.refuse(value, &format!("{key} is empty; name a directory, such as {key} = \"{key}\"")));
        }
        Ok(base.join(value.get_ref()))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// Tables of which there may be several.
const LISTS: [&str; 2] = ["listener", "polls"];

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = line_of(&String::from_utf8_lossy(&error.as_bytes()[..good]), good);
        format!("line {line}: this is not UTF-8; save the file as UTF-8")
    })
}

/// toml's own message, in plain words; the line comes first so that every error of this file reads alike.
fn explain(error: &toml::de::Error, text: &str) -> String {
    let theirs = error.message();
    let mut what = plainly(theirs);
    // A word without quotes is taken for whatever begins with its first letter: `north` for a float, `tcp` for a boolean.
    let unquoted = ["string values must be quoted", "invalid float", "invalid boolean", "invalid date-time"];
    if unquoted.iter().any(|begin| what.starts_with(begin)) || theirs.ends_with("expected a string") {
        what.push_str("; text stands in quotes, such as name = \"north\"");
    }
    let place = error.span().and_then(|span| text.get(span)).map_or("", |place| place.trim_matches(['[', ']']));
    if what == "duplicate key" {
        what = format!("duplicate key `{place}`; what stands in this line was said before, so take one away");
    }
    let wants_list = theirs.ends_with("expected a sequence");
    if LISTS.contains(&place) && (wants_list || what.starts_with("duplicate key")) {
        what = format!("{what}; there may be several, so begin each with [[{place}]]");
    } else if wants_list {
        what = format!("{what}; write [{place}]");
    }
    match error.span() {
        Some(span) => format!("line {}: {what}", line_of(text, span.start)),
        None => what,
    }
}

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[station]
name = "north"
data = "data"
zone = "Asia/Shanghai"

[[listener]]
name = "nb"
transport = "tcp"
bind = "127.0.0.1:7001"
adapters = ["usp", { adapter = "qianwei_7xxx", profile = "xinsheng" }]

[profile.xinsheng]
encryption = "aes"
"#;

    #[test]
    fn a_good_file_resolves() {
        let config = Config::parse(GOOD, Path::new("/srv")).expect("good");
        assert_eq!(config.data, Path::new("/srv/data"));
        assert_eq!(config.listeners[0].adapters[1].options, r#"{"encryption":"aes"}"#);
        assert_eq!(config.clock.civil(0), crate::model::Civil(8 * 3600));
    }

    const BROKER: &str = r#"[station]
name = "north"
data = "data"
zone = "Asia/Shanghai"

[[listener]]
name = "lora"
transport = "mqtt"
adapters = ["usp"]
[listener.mqtt]
broker = "localhost:1883"
user = "station"
password_file = "broker.password"
up = "application/{app}/device/{device}/event/up"
payload = { json = "/data", encoding = "base64" }
down = "application/{app}/device/{device}/command/down"
down_payload = { json = { devEui = "{device}", fPort = 10, data = "{payload}" }, encoding = "base64" }
address_from = "topic"
"#;

    #[test]
    fn a_broker_resolves() {
        let config = Config::parse(BROKER, Path::new("/srv")).expect("good");
        let Carrier::Mqtt(options) = &config.listeners[0].carrier else { panic!("a broker") };
        assert_eq!((options.host.as_str(), options.port), ("localhost", 1883));
        assert_eq!(options.client_id, "polymeter-north-lora");
        let login = options.login.as_ref().expect("a user");
        assert_eq!(login.password.as_deref(), Some(Path::new("/srv/broker.password")));
        assert_eq!(options.up.filter(), "application/+/device/+/event/up");
    }

    #[test]
    fn refusals_of_a_broker_name_line_and_remedy() {
        for (from, to, says) in [
            ("localhost:1883", "mqtt://localhost", "line 11: write host:port"),
            ("/device/{device}/event", "/device/x/event", "line 14: the topic needs a level {device}"),
            ("{device}/command", "{meter}/command", "line 16: `up` has no level {meter}"),
            ("event/up", "event/#", "line 14: `#`: a level is a word"),
            ("\"/data\"", "\"data\"", "line 15: `json` is a JSON pointer"),
            ("payload = { json = \"/data\", encoding = \"base64\" }", "payload = \"zip\"", "line 15: write \"raw\""),
            ("\"{payload}\"", "\"x\"", "line 17: `{payload}` must stand"),
            ("user = \"station\"\n", "", "line 12: a password needs a `user`"),
            ("\"mqtt\"\n", "\"mqtt\"\nbind = \"127.0.0.1:1\"\n", "line 9: a broker is called"),
            ("\"topic\"", "\"wish\"", "line 18: unknown variant `wish`"),
            ("\"mqtt\"\n", "\"tcp\"\n", "line 10: [listener.mqtt] belongs to"),
        ] {
            let text = BROKER.replacen(from, to, 1);
            let error = Config::parse(&text, Path::new("")).expect_err(to).to_string();
            assert!(error.contains(says), "{to}: got {error:?}, wanted {says:?}");
        }
    }

    /// Each row: what is replaced, by what, and what the refusal must say.
    #[test]
    fn refusals_name_line_and_remedy() {
        for (from, to, says) in [
            ("zone = \"Asia/Shanghai\"", "zone = \"Mars\"", "line 4: `Mars` is no time zone; write an IANA name"),
            ("data = \"data\"", "data = \"data\"\ncolour = 1", "line 4: unknown field `colour`"),
            ("127.0.0.1:7001", "localhost", "line 9: `localhost` is no address; write ip:port"),
            ("\"tcp\"", "\"pigeon\"", "line 8: unknown variant `pigeon`, expected one of `tcp`, `tls`"),
            ("profile = \"xinsheng\"", "profile = \"x\"", "line 10: no [profile.x] in this file"),
            ("transport =", "connections_max = 0\ntransport =", "line 8: connections_max is between"),
            ("transport =", "command_wait_s = 0\ntransport =", "line 8: command_wait_s is between"),
            ("name = \"nb\"", "name = \"n b\"", "line 7: a name has"),
            ("bind = \"127.0.0.1:7001\"\n", "", "line 8: this transport needs bind"),
            ("\"tcp\"", "\"tls\"", "line 8: transport `tls` needs a [listener.tls]"),
            (
                "[profile",
                "[listener.tls]\ncertificate = \"c\"\nkey = \"k\"\n[profile",
                "line 12: [listener.tls] belongs to",
            ),
            ("[[listener]]", "[[door]]", "line 6: unknown field `door`"),
            ("transport =", "lines_at_once = 0\ntransport =", "line 8: lines_at_once is between"),
            (
                "transport =",
                "relays = [{ protocol = \"mbus\", adapter = \"en13757\", profile = \"x\" }]\ntransport =",
                "line 8: no [profile.x]",
            ),
            (
                "[profile.xinsheng]",
                "[[polls]]\nname = \"p\"\nread = \"current\"\n[profile.xinsheng]",
                "line 12: say when",
            ),
            ("data = \"data\"", "data = \"\"", "line 3: data is empty; name a directory"),
            ("data = \"data\"", "data = \"data\"\nadapters = \"\"", "line 4: adapters is empty; name a directory"),
            (
                "data = \"data\"",
                "data = \"data\"\ndata = \"d\"",
                "line 4: duplicate key `data`; what stands in this line",
            ),
            ("[profile", "[station]\nname = \"b\"\n[profile", "line 12: duplicate key `station`"),
            (
                "[[listener]]",
                "[listener]",
                "line 6: invalid type: named values, expected a list, in [ ]; there may be several, so begin each with [[listener]]",
            ),
            ("[profile", "[polls]\nname = \"p\"\n[profile", "so begin each with [[polls]]"),
            ("name = \"north\"", "name = north", "line 2: invalid float, expected `nan`; text stands in quotes"),
            ("\"tcp\"", "tcp", "line 8: invalid boolean, expected `true`; text stands in quotes"),
            ("data = \"data\"", "data = data", "line 3: string values must be quoted, expected literal string; text"),
            ("name = \"north\"", "name = true", "line 2: invalid type: boolean `true`, expected a text; text stands"),
            (
                "transport =",
                "command_wait_s = -1\ntransport =",
                "line 8: invalid value: integer `-1`, expected a whole number from 0",
            ),
            ("[profile", "[journal]\nretention_days = \"ten\"\n[profile", "expected a whole number from 0 to"),
            (
                "adapters = [\"usp\", { adapter = \"qianwei_7xxx\", profile = \"xinsheng\" }]",
                "adapters = \"usp\"",
                "line 10: invalid type: string \"usp\", expected a list, in [ ]; write [\"usp\"]",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = Config::parse(&text, Path::new("")).expect_err(to).to_string();
            assert!(error.contains(says), "{to}: got {error:?}, wanted {says:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_says_where() {
        assert_eq!(text_of(GOOD.into()).as_deref(), Ok(GOOD));
        let latin = [GOOD.as_bytes(), b"# Gr\xfc\xdfe\n"].concat();
        let line = GOOD.lines().count() + 1;
        assert_eq!(text_of(latin), Err(format!("line {line}: this is not UTF-8; save the file as UTF-8")));
    }

    #[test]
    fn refusals_of_adapters_name_line_and_remedy() {
        let relays = "relays = [{ protocol = \"mbus\", adapter = \"En 13757\" }]\ntransport =";
        let poll = "[[polls]]\nname = \"p\"\nread = \"current\"\nat = \"02:30\"\nadapter = \"Usp\"\n[profile.xinsheng]";
        for (from, to, says) in [
            (
                "profile = \"xinsheng\" }",
                "profile = \"xinsheng\", colour = \"y\" }",
                "line 10: unknown field `colour`, expected `adapter` or `profile`",
            ),
            (
                "profile = \"xinsheng\"",
                "profil = \"xinsheng\"",
                "line 10: unknown field `profil`, expected `adapter` or",
            ),
            (", profile = \"xinsheng\" }", " }", "line 10: missing field `profile`"),
            ("\"usp\",", "5,", "line 10: invalid type: integer `5`, expected the name of an adapter, or { adapter ="),
            ("\"usp\",", "\"usp\", \"usp\",", "line 10: `usp` is named twice on this listener"),
            ("\"usp\",", "\"qianwei_7xxx\",", "line 10: `qianwei_7xxx` is named twice on this listener"),
            ("\"usp\",", "\"Usp X/..\",", "line 10: `Usp X/..` is no adapter's name; one has 1 to 64 lower-case"),
            ("\"usp\",", "\"\",", "line 10: `` is no adapter's name"),
            ("\"qianwei_7xxx\"", "\"../x\"", "line 10: `../x` is no adapter's name"),
            ("transport =", relays, "line 8: `En 13757` is no adapter's name"),
            ("[profile.xinsheng]", poll, "line 16: `Usp` is no adapter's name"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = Config::parse(&text, Path::new("")).expect_err(to).to_string();
            assert!(error.contains(says), "{to}: got {error:?}, wanted {says:?}");
        }
    }

    /// A listener of that transport and address more, and what else the file says.
    fn beside(transport: &str, bind: &str, more: &str) -> Result<Config, ConfigError> {
        let second = format!(
            "[[listener]]\nname = \"b\"\ntransport = \"{transport}\"\nbind = \"{bind}\"\nadapters = [\"usp\"]\n"
        );
        Config::parse(&GOOD.replacen("[profile", &format!("{second}{more}[profile"), 1), Path::new(""))
    }

    #[test]
    fn an_address_is_bound_once() {
        let http = "[http]\nbind = \"127.0.0.1:7001\"\n";
        let https = "[http]\nbind = \"[::1]:80\"\ntls = { bind = \"[::1]:80\", certificate = \"c\", key = \"k\" }\n";
        for (transport, bind, more, says) in [
            (
                "tcp",
                "127.0.0.1:7001",
                "",
                "line 15: listener `b` and listener `nb` both bind 127.0.0.1:7001; give each",
            ),
            ("udp", "127.0.0.1:7001", http, "line 18: [http] and listener `nb` both bind 127.0.0.1:7001; give each"),
            ("tcp", "127.0.0.1:8080", "", "line 15: [http] and listener `b` both bind 127.0.0.1:8080 ([http] listens"),
            ("udp", "127.0.0.1:1", https, "line 19: [http.tls] and [http] both bind [::1]:80; give each"),
            (
                "tcp",
                "0.0.0.0:7001",
                "",
                "line 15: listener `b` binds 0.0.0.0:7001 and listener `nb` 127.0.0.1:7001, and one takes in the other",
            ),
            ("tcp", "[::]:7001", "", "line 15: listener `b` binds [::]:7001 and listener `nb` 127.0.0.1:7001, and"),
            ("tcp", "0.0.0.0:8080", "", "line 15: [http] binds 127.0.0.1:8080 and listener `b` 0.0.0.0:8080 ([http]"),
        ] {
            let error = beside(transport, bind, more).expect_err(says).to_string();
            assert!(error.contains(says), "{transport} {bind}: got {error:?}, wanted {says:?}");
        }
        for (transport, bind) in [
            ("udp", "127.0.0.1:7001"),
            ("coap", "127.0.0.1:8080"),
            ("tcp", "127.0.0.2:7001"),
            ("udp", "0.0.0.0:7001"),
            ("tcp", "[::1]:7001"),
            ("tcp", "0.0.0.0:7002"),
        ] {
            assert!(beside(transport, bind, "").is_ok(), "{transport} {bind}");
        }
        let any = beside("tcp", "127.0.0.1:0", "[http]\nbind = \"127.0.0.1:0\"\n");
        assert!(any.is_ok(), "every port 0 is another");
    }
}
