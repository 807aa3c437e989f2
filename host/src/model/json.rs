//! The JSON form of messages: what `adapter decode`, the API and the web show, and what scripts rely on.
//!
//! Rules, stable within major version 1: keys are snake_case, closed sets carry the contract's names, bytes are
//! lower-case hex, numbers are exact decimal strings under `value`, times are local `YYYY-MM-DDThh:mm:ss`. A key whose value is
//! none, empty, false, `good` (quality) or 0 (storage, tariff, channel, code, raw words) is left out.

use super::*;
use serde_json::{Map, Value, json};

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
            map.insert("payload".into(), hex::encode(&r.payload.0).into());
            put_some(&mut map, "correlation", r.correlation.as_ref().map(|c| hex::encode(&c.0).into()));
            ("relayed", map)
        }
        Message::EndOfSession => ("end-of-session", Map::new()),
        Message::Unknown { what, bytes } => {
            let mut map = Map::new();
            map.insert("what".into(), what.as_str().into());
            map.insert("bytes".into(), hex::encode(&bytes.0).into());
            ("unknown", map)
        }
    };
    map.insert("type".into(), kind.into());
    Value::Object(map)
}

/// One register; `value` is exact.
pub fn register(r: &Register) -> Value {
    let mut map = Map::new();
    map.insert("quantity".into(), r.quantity.name().into());
    map.insert("value".into(), value(r.mantissa, r.exponent, r.unit).into());
    map.insert("unit".into(), r.unit.name().into());
    map.insert("role".into(), r.role.name().into());
    if r.quality != Quality::Good {
        map.insert("quality".into(), r.quality.name().into());
    }
    put_time(&mut map, "at", r.at);
    put_place(&mut map, r.storage, r.tariff, r.channel, r.code);
    Value::Object(map)
}

/// Points in time print as local time, everything else as a decimal.
pub fn value(mantissa: i64, exponent: i8, unit: Unit) -> String {
    if unit == Unit::CivilSecond && exponent == 0 { Civil(mantissa).to_string() } else { decimal(mantissa, exponent) }
}

/// Valve state, and who and why where known.
pub fn valve(v: &ValveStatus) -> Value {
    let mut map = Map::new();
    map.insert("state".into(), v.state.name().into());
    if v.by != Initiator::Unknown {
        map.insert("by".into(), v.by.name().into());
    }
    put_some(&mut map, "reason", v.reason.as_deref().map(Value::from));
    Value::Object(map)
}

fn registration(r: &Registration) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("kind".into(), r.kind.name().into());
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
    put_list(&mut map, "capabilities", r.capabilities.names().map(Value::from).collect());
    put_some(&mut map, "schedule", r.schedule.as_ref().map(schedule));
    put_some(&mut map, "key_version", r.key_version.map(Value::from));
    put_time(&mut map, "clock", r.clock);
    map
}

/// A reporting schedule.
pub fn schedule(s: &Schedule) -> Value {
    json!({
        "period": s.period.name(),
        "minute_of_day": s.minute_of_day,
        "stagger_minutes": s.stagger_minutes,
        "awake_minutes": s.awake_minutes,
        "heartbeat_minutes": s.heartbeat_minutes,
    })
}

fn report(r: &Report) -> Map<String, Value> {
    let mut map = Map::new();
    put_some(&mut map, "subject", r.subject.as_deref().map(Value::from));
    map.insert("cause".into(), r.cause.name().into());
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
    map.insert("quantity".into(), s.quantity.name().into());
    map.insert("unit".into(), s.unit.name().into());
    map.insert("role".into(), s.role.name().into());
    put_place(&mut map, s.storage, s.tariff, s.channel, s.code);
    let samples =
        s.samples.iter().map(|p| json!({"at": p.at.to_string(), "value": value(p.mantissa, s.exponent, s.unit)}));
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
    if !a.correlation.0.is_empty() {
        map.insert("correlation".into(), hex::encode(&a.correlation.0).into());
    }
    map.insert("outcome".into(), a.outcome.name().into());
    put_text(&mut map, "reason", &a.reason);
    put_number(&mut map, "raw_code", u64::from(a.raw_code));
    put_some(&mut map, "body", answer_body(&a.body));
    put_true(&mut map, "more_follows", a.more_follows);
    map
}

/// What an answer carries; none where it carries nothing. One key names the kind.
pub fn answer_body(body: &AnswerBody) -> Option<Value> {
    Some(match body {
        AnswerBody::None => return None,
        AnswerBody::Report(r) => json!({"report": report(r)}),
        AnswerBody::Valve(v) => json!({"valve": valve(v)}),
        AnswerBody::Clock(at) => json!({"clock": at.to_string()}),
        AnswerBody::Schedule(s) => json!({"schedule": schedule(s)}),
        AnswerBody::Parameters(list) => {
            json!({"parameters": list.iter().map(|p| json!({"name": p.name, "value": parameter(&p.value)})).collect::<Vec<_>>()})
        }
        AnswerBody::Archive { total, entries } => {
            let entries: Vec<Value> = entries
                .iter()
                .map(|e| {
                    json!({"index": e.index, "address": e.address, "protocol": e.protocol,
                        "channel": e.channel, "baud": e.baud, "format": e.format})
                })
                .collect();
            json!({"archive": {"total": total, "entries": entries}})
        }
        AnswerBody::FirmwareNext(block) => json!({"firmware_next": block}),
        AnswerBody::Balance(cents) => json!({"balance": decimal(*cents, -2)}),
        AnswerBody::Raw(bytes) => json!({"raw": hex::encode(&bytes.0)}),
    })
}

fn parameter(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Integer(i) => (*i).into(),
        ParameterValue::Text(t) => t.as_str().into(),
        ParameterValue::Bytes(b) => json!({"bytes": hex::encode(&b.0)}),
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
    put_some(map, key, at.map(|t| t.to_string().into()));
}
