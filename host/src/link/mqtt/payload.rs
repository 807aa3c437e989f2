//! What a message carries: frames as they are, as text, or as text somewhere in a JSON document.

use super::pattern::Names;
use crate::limits;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// How bytes become text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encoding {
    #[default]
    Raw,
    Hex,
    Base64,
}

/// How frames lie in what is received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Form {
    /// JSON pointer (RFC 6901) to the text.
    pub pointer: Option<String>,
    pub encoding: Encoding,
}

/// How frames lie in what is sent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Letter {
    /// A document in whose texts `{payload}` and the topic's names are replaced.
    pub document: Option<Value>,
    pub encoding: Encoding,
}

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Encoding {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }

    fn read(self, text: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Raw => Ok(text.to_vec()),
            Self::Hex => hex::decode(text.trim_ascii()).map_err(|_| "the payload is not hexadecimal"),
            Self::Base64 => BASE64.decode(text.trim_ascii()).map_err(|_| "the payload is not base64"),
        }
    }

    fn write(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => bytes.to_vec(),
            Self::Hex => hex::encode(bytes).into_bytes(),
            Self::Base64 => BASE64.encode(bytes).into_bytes(),
        }
    }
}

impl Form {
    /// The frames, or why there are none.
    pub fn read(&self, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        let frames = match &self.pointer {
            None => self.encoding.read(payload)?,
            Some(pointer) => {
                let document: Value = serde_json::from_slice(payload).map_err(|_| "the payload is not JSON")?;
                let text = document.pointer(pointer).and_then(Value::as_str);
                self.encoding
                    .read(text.ok_or("the payload's JSON has no text where the frames should be")?.as_bytes())?
            }
        };
        match frames.len() {
            0 => Err("the payload has no bytes in it"),
            1..=limits::FRAME_BYTES_MAX => Ok(frames),
            _ => Err("the payload has more bytes than a frame may"),
        }
    }
}

impl Letter {
    pub fn write(&self, frames: &[u8], names: &Names) -> Vec<u8> {
        let payload = self.encoding.write(frames);
        let Some(document) = &self.document else { return payload };
        let payload = String::from_utf8_lossy(&payload);
        filled(document, &|text| names.fill(text).replace("{payload}", &payload)).to_string().into_bytes()
    }

    /// Whether the frames stand anywhere in it.
    pub fn is_complete(&self) -> bool {
        self.document.as_ref().is_none_or(|document| document.to_string().contains("{payload}"))
    }
}

fn filled(value: &Value, fill: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text)),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, field)| (key.clone(), filled(field, fill))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;
    use serde_json::json;

    #[test]
    fn payloads_of_gateways_and_network_servers() {
        let form =
            |pointer: &str, encoding| Form { pointer: Some(pointer.to_owned()).filter(|p| !p.is_empty()), encoding };
        let chirpstack = r#"{"deviceInfo":{"devEui":"0102030405060708"},"fPort":10,"data":"aBZo"}"#;
        let things = r#"{"end_device_ids":{"device_id":"m7"},"uplink_message":{"f_port":15,"frm_payload":"aBZo"}}"#;
        for (form, payload, expected) in [
            (form("", Encoding::Raw), "h\x16h", Ok(&b"h\x16h"[..])),
            (form("", Encoding::Hex), "681668\n", Ok(b"h\x16h")),
            (form("", Encoding::Base64), "aBZoaA==", Ok(b"h\x16hh")),
            (form("", Encoding::Base64), "aBZoaA", Ok(b"h\x16hh")),
            (form("/data", Encoding::Base64), chirpstack, Ok(b"h\x16h")),
            (form("/uplink_message/frm_payload", Encoding::Base64), things, Ok(b"h\x16h")),
            (form("", Encoding::Raw), "", Err("the payload has no bytes in it")),
            (form("", Encoding::Hex), "6816 6", Err("the payload is not hexadecimal")),
            (form("", Encoding::Base64), "a%Zo", Err("the payload is not base64")),
            (form("/data", Encoding::Base64), "{\"data\":", Err("the payload is not JSON")),
            (form("/data", Encoding::Base64), "\u{FFFD}", Err("the payload is not JSON")),
            (
                form("/data", Encoding::Base64),
                r#"{"data":7}"#,
                Err("the payload's JSON has no text where the frames should be"),
            ),
        ] {
            assert_eq!(form.read(payload.as_bytes()).as_deref(), expected.as_deref(), "{payload}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(form("/data", Encoding::Raw).read(deep.as_bytes()), Err("the payload is not JSON"));
        let long = vec![b'x'; limits::FRAME_BYTES_MAX + 1];
        assert!(form("", Encoding::Raw).read(&long).is_err());
    }

    #[test]
    fn letters_of_network_servers() {
        let names = Pattern::parse("application/{app}/device/{device}/event/up")
            .expect("a pattern")
            .names("application/a1/device/0102030405060708/event/up")
            .expect("a topic");
        let document = json!({"devEui": "{device}", "confirmed": false, "fPort": 10, "data": "{payload}"});
        let letter = Letter { document: Some(document), encoding: Encoding::Base64 };
        let written: Value = serde_json::from_slice(&letter.write(b"h\x16h", &names)).expect("JSON");
        assert_eq!(written, json!({"devEui": "0102030405060708", "confirmed": false, "fPort": 10, "data": "aBZo"}));
        let things = json!({"downlinks": [{"f_port": 15, "frm_payload": "{payload}", "priority": "NORMAL"}]});
        let letter = Letter { document: Some(things), encoding: Encoding::Base64 };
        let written: Value = serde_json::from_slice(&letter.write(b"h\x16h", &names)).expect("JSON");
        assert_eq!(written["downlinks"][0]["frm_payload"], "aBZo");
        assert_eq!(Letter::default().write(b"h\x16h", &names), b"h\x16h");
        assert!(!Letter { document: Some(json!({"x": 1})), encoding: Encoding::Raw }.is_complete());
    }
}
