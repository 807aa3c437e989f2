//! Messages as JSON, exactly as the station shows them, so that vectors can be written once.
//!
//! Rules: keys are snake_case, closed sets carry the contract's names, bytes are lower-case hex, numbers are exact decimal
//! strings under `value`, times are `YYYY-MM-DDThh:mm:ss`; a key whose value is none, empty, false, `good` or 0 is left out.

use crate::{
    Answer, AnswerBody, Capabilities, Civil, Event, Message, ParameterValue, Quality, Register, Registration, Report,
    Schedule, Series, Unit, ValveStatus, civil,
};
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// A message with its `type`.
pub fn message(message: &Message) -> Value {
    let (kind, mut map) = match message {
        Message::Registration(r) => ("registration", registration(r)),
        Message::Heartbeat(h) => {
            let mut map = Map::new();
            put_time(&mut map, "clock", h.clock);
            put_some(&mut map, "valve", h.valve.as_ref().map(valve));
            ("heartbeat", map)
        }
        Message::Report(r) => ("report", report(r)),
        Message::Event(e) => ("event", event(e)),
        Message::Answer(a) => ("answer", answer(a)),
        Message::Relayed(r) => {
            let mut map = Map::new();
            put_text(&mut map, "target", &r.target);
            put_text(&mut map, "protocol", &r.protocol);
            put_number(&mut map, "channel", u64::from(r.channel));
            map.insert("payload".into(), hex::encode(&r.payload).into());
            put_some(&mut map, "correlation", r.correlation.as_ref().map(|c| hex::encode(c).into()));
            ("relayed", map)
        }
        Message::EndOfSession => ("end-of-session", Map::new()),
        Message::Unknown(u) => {
            let mut map = Map::new();
            map.insert("what".into(), u.what.as_str().into());
            map.insert("bytes".into(), hex::encode(&u.bytes).into());
            ("unknown", map)
        }
    };
    map.insert("type".into(), kind.into());
    Value::Object(map)
}

/// The contract's name of a value of a closed set: `WorkingVolume` is `working-volume`.
pub fn name(value: &impl Debug) -> String {
    let debug = format!("{value:?}");
    let variant = debug.rsplit("::").next().unwrap_or_default();
    let mut kebab = String::with_capacity(variant.len() + 4);
    for (i, c) in variant.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

/// `mantissa × 10^exponent` without rounding.
pub fn decimal(mantissa: i64, exponent: i8) -> String {
    let digits = mantissa.unsigned_abs().to_string();
    let sign = if mantissa < 0 { "-" } else { "" };
    let places = usize::from(exponent.unsigned_abs());
    if exponent >= 0 {
        return format!("{sign}{digits}{}", "0".repeat(if mantissa == 0 { 0 } else { places }));
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, part) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{part}")
}

fn value(mantissa: i64, exponent: i8, unit: Unit) -> String {
    if unit == Unit::CivilSecond && exponent == 0 { civil::text(mantissa) } else { decimal(mantissa, exponent) }
}

fn register(r: &Register) -> Value {
    let mut map = Map::new();
    map.insert("quantity".into(), name(&r.quantity).into());
    map.insert("value".into(), value(r.mantissa, r.exponent, r.unit).into());
    map.insert("unit".into(), name(&r.unit).into());
    map.insert("role".into(), name(&r.role).into());
    if r.quality != Quality::Good {
        map.insert("quality".into(), name(&r.quality).into());
    }
    put_time(&mut map, "at", r.at);
    put_place(&mut map, r.storage, r.tariff, r.channel, r.code);
    Value::Object(map)
}

fn valve(v: &ValveStatus) -> Value {
    let mut map = Map::new();
    map.insert("state".into(), name(&v.state).into());
    if v.by != crate::Initiator::Unknown {
        map.insert("by".into(), name(&v.by).into());
    }
    put_some(&mut map, "reason", v.reason.as_deref().map(Value::from));
    Value::Object(map)
}

fn registration(r: &Registration) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("kind".into(), name(&r.kind).into());
    for (key, text) in [
        ("manufacturer", &r.manufacturer),
        ("model", &r.model),
        ("hardware", &r.hardware),
        ("firmware", &r.firmware),
        ("iccid", &r.iccid),
        ("imei", &r.imei),
    ] {
        put_text(&mut map, key, text);
    }
    put_list(&mut map, "capabilities", capabilities(r.capabilities));
    put_some(&mut map, "schedule", r.schedule.as_ref().map(schedule));
    put_some(&mut map, "key_version", r.key_version.map(Value::from));
    put_time(&mut map, "clock", r.clock);
    map
}

fn capabilities(set: Capabilities) -> Vec<Value> {
    let all = [
        (Capabilities::VALVE, "valve"),
        (Capabilities::PREPAID, "prepaid"),
        (Capabilities::CORRECTOR, "corrector"),
        (Capabilities::REMOTE_UPGRADE, "remote-upgrade"),
        (Capabilities::AES128, "aes128"),
        (Capabilities::SM4, "sm4"),
        (Capabilities::ALWAYS_ONLINE, "always-online"),
        (Capabilities::CONCENTRATOR, "concentrator"),
        (Capabilities::DTU, "dtu"),
        (Capabilities::HOURLY_LOG, "hourly-log"),
    ];
    all.into_iter().filter(|(flag, _)| set & *flag == *flag).map(|(_, name)| name.into()).collect()
}

fn schedule(s: &Schedule) -> Value {
    json!({
        "period": name(&s.period),
        "minute_of_day": s.minute_of_day,
        "stagger_minutes": s.stagger_minutes,
        "awake_minutes": s.awake_minutes,
        "heartbeat_minutes": s.heartbeat_minutes,
    })
}

fn report(r: &Report) -> Map<String, Value> {
    let mut map = Map::new();
    put_some(&mut map, "subject", r.subject.as_deref().map(Value::from));
    map.insert("cause".into(), name(&r.cause).into());
    put_time(&mut map, "at", r.at);
    put_list(&mut map, "registers", r.registers.iter().map(register).collect());
    put_list(&mut map, "series", r.series.iter().map(series).collect());
    put_some(&mut map, "valve", r.valve.as_ref().map(valve));
    put_list(&mut map, "alarms", r.alarms.iter().map(|a| a.as_str().into()).collect());
    put_number(&mut map, "raw_status", r.raw_status);
    put_true(&mut map, "more_follows", r.more_follows);
    map
}

fn series(s: &Series) -> Value {
    let mut map = Map::new();
    map.insert("quantity".into(), name(&s.quantity).into());
    map.insert("unit".into(), name(&s.unit).into());
    map.insert("role".into(), name(&s.role).into());
    put_place(&mut map, s.storage, s.tariff, s.channel, s.code);
    let samples =
        s.samples.iter().map(|p| json!({"at": civil::text(p.at), "value": value(p.mantissa, s.exponent, s.unit)}));
    map.insert("samples".into(), samples.collect());
    Value::Object(map)
}

fn event(e: &Event) -> Map<String, Value> {
    let mut map = Map::new();
    put_some(&mut map, "subject", e.subject.as_deref().map(Value::from));
    map.insert("code".into(), e.code.as_str().into());
    put_true(&mut map, "cleared", e.cleared);
    put_time(&mut map, "at", e.at);
    put_some(&mut map, "value", e.value.map(Value::from));
    put_number(&mut map, "raw_code", u64::from(e.raw_code));
    map
}

fn answer(a: &Answer) -> Map<String, Value> {
    let mut map = Map::new();
    put_text(&mut map, "correlation", &hex::encode(&a.correlation));
    map.insert("outcome".into(), name(&a.outcome).into());
    put_text(&mut map, "reason", &a.reason);
    put_number(&mut map, "raw_code", u64::from(a.raw_code));
    put_some(&mut map, "body", answer_body(&a.body));
    put_true(&mut map, "more_follows", a.more_follows);
    map
}

fn answer_body(body: &AnswerBody) -> Option<Value> {
    Some(match body {
        AnswerBody::None => return None,
        AnswerBody::Report(r) => json!({"report": report(r)}),
        AnswerBody::Valve(v) => json!({"valve": valve(v)}),
        AnswerBody::Clock(at) => json!({"clock": civil::text(*at)}),
        AnswerBody::Schedule(s) => json!({"schedule": schedule(s)}),
        AnswerBody::Parameters(list) => {
            let list: Vec<_> = list.iter().map(|p| json!({"name": p.name, "value": parameter(&p.value)})).collect();
            json!({"parameters": list})
        }
        AnswerBody::Archive(page) => {
            let entries = page.entries.iter().map(|e| {
                json!({"index": e.index, "address": e.address, "protocol": e.protocol,
                    "channel": e.channel, "baud": e.baud, "format": e.format})
            });
            json!({"archive": {"total": page.total, "entries": entries.collect::<Vec<_>>()}})
        }
        AnswerBody::FirmwareNext(block) => json!({"firmware_next": block}),
        AnswerBody::Balance(cents) => json!({"balance": decimal(*cents, -2)}),
        AnswerBody::Raw(bytes) => json!({"raw": hex::encode(bytes)}),
    })
}

fn parameter(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Integer(i) => (*i).into(),
        ParameterValue::Text(t) => t.as_str().into(),
        ParameterValue::Bytes(b) => json!({"bytes": hex::encode(b)}),
    }
}

fn put_place(map: &mut Map<String, Value>, storage: u32, tariff: u16, channel: u16, code: u32) {
    put_number(map, "storage", u64::from(storage));
    put_number(map, "tariff", u64::from(tariff));
    put_number(map, "channel", u64::from(channel));
    put_number(map, "code", u64::from(code));
}
fn put_some(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.into(), value);
    }
}
fn put_text(map: &mut Map<String, Value>, key: &str, text: &str) {
    put_some(map, key, (!text.is_empty()).then(|| text.into()));
}
fn put_list(map: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    put_some(map, key, (!list.is_empty()).then_some(Value::Array(list)));
}
fn put_number(map: &mut Map<String, Value>, key: &str, number: u64) {
    put_some(map, key, (number != 0).then(|| number.into()));
}
fn put_true(map: &mut Map<String, Value>, key: &str, set: bool) {
    put_some(map, key, set.then_some(Value::Bool(true)));
}
fn put_time(map: &mut Map<String, Value>, key: &str, at: Option<Civil>) {
    put_some(map, key, at.map(|t| civil::text(t).into()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyCipher, Quantity};

    #[test]
    fn names_are_the_contracts() {
        assert_eq!(name(&Quantity::WorkingVolume), "working-volume");
        assert_eq!(name(&Unit::UsGallonPerMinute), "us-gallon-per-minute");
        assert_eq!(name(&KeyCipher::Aes128), "aes128");
        assert_eq!(name(&Unit::None), "none");
    }

    #[test]
    fn keeps_every_digit() {
        for (mantissa, exponent, expected) in [
            (123_456, -2, "1234.56"),
            (5, -2, "0.05"),
            (-5, -3, "-0.005"),
            (0, 3, "0"),
            (12, 3, "12000"),
            (-12, 0, "-12"),
        ] {
            assert_eq!(decimal(mantissa, exponent), expected);
        }
    }
}
