//! `[listener.mqtt]`: which broker, and how devices are found on it.

use super::{ConfigError, Place};
use crate::limits;
use crate::link::mqtt::{AddressFrom, Encoding, Form, Letter, Login, Options, Pattern, Retained};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMqtt {
    broker: Spanned<String>,
    client_id: Option<Spanned<String>>,
    user: Option<String>,
    password_file: Option<Spanned<PathBuf>>,
    up: Spanned<String>,
    down: Option<Spanned<String>>,
    payload: Option<Spanned<toml::Value>>,
    down_payload: Option<Spanned<toml::Value>>,
    #[serde(default)]
    retained: bool,
    address_from: Option<Spanned<AddressFrom>>,
}

/// `name` is what the station is called at the broker unless the file says otherwise.
pub(super) fn resolve(at: &Place<'_>, raw: &RawMqtt, base: &Path, name: String) -> Result<Options, ConfigError> {
    let pattern = |text: &Spanned<String>| Pattern::parse(text.get_ref()).map_err(|why| at.refuse(text, &why));
    let up = pattern(&raw.up)?;
    if !up.has("device") {
        return Err(at.refuse(&raw.up, "the topic needs a level {device}, such as meters/{device}/up"));
    }
    let down = raw.down.as_ref().map(pattern).transpose()?;
    if let (Some(name), Some(text)) = (down.as_ref().and_then(|down| down.beyond(&up)), &raw.down) {
        return Err(at.refuse(text, &format!("`up` has no level {{{name}}} to take it from")));
    }
    let (host, port) = broker(at, &raw.broker)?;
    let client_id = match &raw.client_id {
        Some(id) if !(1..=128).contains(&id.get_ref().len()) => {
            return Err(at.refuse(id, "a client id has 1 to 128 bytes, and no other client of the broker has it"));
        }
        Some(id) => id.get_ref().clone(),
        None => name,
    };
    let login = match (&raw.user, &raw.password_file) {
        (Some(user), password) => {
            Some(Login { user: user.clone(), password: password.as_ref().map(|file| base.join(file.get_ref())) })
        }
        (None, Some(file)) => return Err(at.refuse(file, "a password needs a `user` beside it")),
        (None, None) => None,
    };
    let form = raw.payload.as_ref().map(|payload| form(at, payload)).transpose()?.unwrap_or_default();
    let letter = raw.down_payload.as_ref().map(|payload| letter(at, payload)).transpose()?.unwrap_or_default();
    let retained = if raw.retained { Retained::Heard } else { Retained::Ignored };
    let address = raw.address_from.as_ref().map(|from| *from.get_ref()).unwrap_or_default();
    Ok(Options { host, port, client_id, login, up, form, down, letter, retained, address })
}

fn broker(at: &Place<'_>, text: &Spanned<String>) -> Result<(String, u16), ConfigError> {
    let parts = text.get_ref().rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() && !host.contains('/') => Ok((host.into(), port)),
        _ => Err(at.refuse(text, "write host:port, such as broker.example:1883")),
    }
}

/// A word, or `{ json = …, encoding = … }`.
fn parts<'a>(
    at: &Place<'_>,
    payload: &'a Spanned<toml::Value>,
    usage: &str,
) -> Result<(Option<&'a toml::Value>, Encoding), ConfigError> {
    let encoding = |value: Option<&toml::Value>| value.map_or(Some(Encoding::Raw), |v| Encoding::named(v.as_str()?));
    let (json, encoding) = match payload.get_ref() {
        toml::Value::Table(table) if table.keys().all(|key| key == "json" || key == "encoding") => {
            (table.get("json"), encoding(table.get("encoding")))
        }
        word @ toml::Value::String(_) => (None, encoding(Some(word))),
        _ => (None, None),
    };
    match encoding {
        Some(encoding) => Ok((json, encoding)),
        None => Err(at.refuse(payload, &format!("write \"raw\", \"hex\", \"base64\", or {usage}"))),
    }
}

fn form(at: &Place<'_>, payload: &Spanned<toml::Value>) -> Result<Form, ConfigError> {
    let usage = "{ json = \"/data\", encoding = \"base64\" }";
    let (json, encoding) = parts(at, payload, usage)?;
    let pointer = match json {
        None => None,
        Some(toml::Value::String(pointer)) if pointer.starts_with('/') => Some(pointer.clone()),
        Some(_) => return Err(at.refuse(payload, &format!("`json` is a JSON pointer: {usage}"))),
    };
    Ok(Form { pointer, encoding })
}

fn letter(at: &Place<'_>, payload: &Spanned<toml::Value>) -> Result<Letter, ConfigError> {
    let usage = "{ json = { data = \"{payload}\" }, encoding = \"base64\" }";
    let (json, encoding) = parts(at, payload, usage)?;
    let document = match json {
        None => None,
        Some(table @ toml::Value::Table(_)) => {
            Some(serde_json::to_value(table).map_err(|e| at.refuse(payload, &e.to_string()))?)
        }
        Some(_) => return Err(at.refuse(payload, &format!("`json` is a table: {usage}"))),
    };
    let letter = Letter { document, encoding };
    if letter.document.is_some() && encoding == Encoding::Raw {
        return Err(at.refuse(payload, "bytes are no JSON text; say encoding = \"base64\" or \"hex\""));
    }
    if !letter.is_complete() || letter.document.as_ref().is_some_and(|d| d.to_string().len() > limits::NOISE_BYTES_MAX)
    {
        return Err(at.refuse(payload, &format!("`{{payload}}` must stand in a short document: {usage}")));
    }
    Ok(letter)
}
