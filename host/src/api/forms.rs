//! The JSON form of every command: described for the published API, and named where somebody has missed it.
//!
//! What the fields mean is in `wit/commands.wit`. A form is an example, from which the schema's types are read off.

use super::errors::{ApiError, ApiResult};
use crate::limits::{ORDER_CIVIL_MAX, ORDER_CIVIL_MIN, TARIFF_PRICES_MAX};
use crate::model::{Civil, Command, ScheduleChange, plainly};
use serde_json::Value;
use std::collections::HashSet;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

const DAY_MINUTES: u16 = 24 * 60;

/// How one command is written.
struct Form {
    example: &'static str,
    /// Fields that may be left out.
    optional: &'static [&'static str],
    words: &'static str,
}

const fn form(example: &'static str, optional: &'static [&'static str], words: &'static str) -> Form {
    Form { example, optional, words }
}

/// In the contract's order. Sessions are ended by the station alone, so `end-session` cannot be asked for.
#[rustfmt::skip]
const FORMS: [Form; Command::NAMES.len() - 1] = [
    form(r#"{"read": {"scope": "current"}}"#, &[], "Read now. `scope`: current, account or valve."),
    form(
        r#"{"read-history": {"interval": "day", "first": "2024-03-01T00:00:00", "last": "2024-03-10T00:00:00"}}"#, &[],
        "Read stored values, first and last included. `interval`: minute, hour, day or month.",
    ),
    form(
        r#"{"valve": {"order": "close-forced", "reason": "balance-exhausted"}}"#, &["reason"],
        "Move the valve. `order`: permit-open (never opens by itself), close-temporary or close-forced. `reason`: a code of wit/codes.md.",
    ),
    form(r#"{"set-clock": {"to": "2024-03-15T10:25:31"}}"#, &["to"], "Set the clock; without `to`, to the station's at the moment of sending."),
    form(
        r#"{"set-schedule": {"period": "daily", "minute_of_day": 20, "stagger_minutes": 120, "awake_minutes": 2, "heartbeat_minutes": 10}}"#,
        &["period", "minute_of_day", "stagger_minutes", "awake_minutes", "heartbeat_minutes"],
        "Change when the device reports; what is left out stays. `period`: daily, dekad, monthly, hourly or other. `minute_of_day`: 0 to 1439.",
    ),
    form(
        r#"{"set-endpoint": {"index": 0, "transport": "tcp", "host": "station.example", "port": 5030, "apn": ""}}"#, &[],
        "Say where the station is. `index`: 0 is the main one. `transport`: tcp, udp or coap.",
    ),
    form(
        r#"{"set-key": {"slot": "session", "version": 2, "cipher": "aes128"}}"#, &[],
        "Hand over the key that lies in that slot of the station's keys. `cipher`: aes128 or sm4.",
    ),
    form(
        r#"{"set-parameters": [{"name": "lost-days", "value": {"integer": 9}}, {"name": "note", "value": {"text": "a"}}, {"name": "mask", "value": {"bytes": "00ff"}}]}"#,
        &[], "Set parameters, one at least. A value is an integer, a text or bytes in hexadecimal.",
    ),
    form(r#"{"read-parameters": ["lost-days"]}"#, &[], "Read parameters by name; an empty list: all."),
    form(
        r#"{"recharge": {"order_id": 7, "purchase_count": 3, "amount": 10000, "volume": 2500, "purchased_total": 30000}}"#, &[],
        "Book a purchase. `amount` and `purchased_total` in 0.01 yuan, `volume` in 0.01 m³.",
    ),
    form(
        r#"{"set-tariff": {"plan": 1, "effective": "2024-04-01T00:00:00", "on_meter": true, "cycle": "year", "cycle_start": "2024-01-01T00:00:00", "limits": [36000], "prices": [26000, 31000]}}"#,
        &[], "Set the tariff. `cycle`: day, month, two-months, quarter or year. 1 to 6 `prices` in 0.0001 yuan per m³, one fewer `limits` in 0.01 m³.",
    ),
    form(
        r#"{"sync-balance": {"balance": 5000, "price": 26000, "level": "normal", "settled_total": 123456, "settled_at": "2024-03-15T00:00:00"}}"#,
        &[], "Tell the account. `balance` in 0.01 yuan, `price` in 0.0001 yuan per m³, `settled_total` in 0.01 m³. `level`: normal, low or exhausted.",
    ),
    form(
        r#"{"firmware-begin": {"image": 1, "version": "2.2", "size": 65536, "block_bytes": 256, "crc32": 305419896}}"#, &[],
        "Announce an image. `crc32`: CRC-32/IEEE of it.",
    ),
    form(r#"{"firmware-block": {"image": 1, "index": 0, "data": "00ff"}}"#, &[], "One block of an image, in hexadecimal."),
    form(r#"{"firmware-activate": {"image": 1, "at": "2024-03-16T02:00:00"}}"#, &["at"], "Run an image; without `at`, now."),
    form(
        r#"{"archive-add": [{"index": 1, "address": "202400000001", "protocol": "cjt188", "channel": 1, "baud": 2400, "format": "8E1"}]}"#,
        &[], "Add meters to a concentrator's archive, one at least.",
    ),
    form(r#"{"archive-remove": ["202400000001"]}"#, &[], "Take meters out of a concentrator's archive, by address; an empty list: all."),
    form(r#"{"archive-list": {"first": 1, "count": 10}}"#, &[], "Read entries of a concentrator's archive."),
    form(
        r#"{"relay": {"target": "202400000001", "protocol": "cjt188", "channel": 1, "timeout_s": 10, "payload": "6810aa"}}"#, &[],
        "Hand bytes, in hexadecimal, to a meter behind a concentrator or DTU.",
    ),
];

impl Form {
    fn example(&self) -> Value {
        serde_json::from_str(self.example).unwrap_or_default()
    }

    /// The command's name, and what stands under it.
    fn parts(&self) -> (String, Value) {
        let Value::Object(whole) = self.example() else { return (String::new(), Value::Null) };
        whole.into_iter().next().unwrap_or_default()
    }

    fn schema(&self) -> Schema {
        let (name, body) = self.parts();
        ObjectBuilder::new()
            .title(Some(&name))
            .description(Some(self.words))
            .property(&name, typed(&body, self.optional))
            .required(name)
            .examples([self.example()])
            .into()
    }
}

/// Of a command, as it is asked for.
pub(super) fn schema() -> RefOr<Schema> {
    let one_of = FORMS.iter().fold(OneOfBuilder::new(), |all, form| all.item(form.schema()));
    let words = "One command, under its name in the contract (wit/commands.wit). Times are local ones of the device, of the years 2000 to 2099.";
    RefOr::T(Schema::from(one_of.description(Some(words)).build()))
}

/// The type that a value has.
fn typed(value: &Value, optional: &[&str]) -> RefOr<Schema> {
    let plain = |kind: Type| RefOr::T(Schema::from(ObjectBuilder::new().schema_type(kind).build()));
    match value {
        Value::Object(fields) => {
            let object = fields.iter().fold(ObjectBuilder::new(), |object, (name, value)| {
                let object = object.property(name, typed(value, &[]));
                if optional.contains(&name.as_str()) { object } else { object.required(name) }
            });
            RefOr::T(object.into())
        }
        Value::Array(items) => {
            let mut types = items.iter().map(|item| typed(item, &[]));
            let any = || RefOr::T(Schema::from(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build()));
            let first = types.next().unwrap_or_else(any);
            // Alternatives are for the example to show.
            let item = if types.all(|other| other == first) { first } else { any() };
            RefOr::T(ArrayBuilder::new().items(item).build().into())
        }
        Value::Bool(_) => plain(Type::Boolean),
        Value::Number(_) => plain(Type::Integer),
        Value::String(_) | Value::Null => plain(Type::String),
    }
}

/// A command from its JSON form, or what is wrong with it and how it is written.
pub fn command(asked: Value) -> Result<Command, String> {
    let name = match &asked {
        Value::String(name) => name.clone(),
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let command = serde_json::from_value(asked).map_err(|error| plainly(&error.to_string()));
    let command = command.and_then(|command| check(&command).map(|()| command).map_err(str::to_owned));
    command.map_err(|why| match FORMS.iter().find(|form| form.parts().0 == name) {
        Some(form) => format!("`command`: {why}; write {}", form.example),
        None => format!(
            "`command` is one of {} under its name, such as {}",
            Command::NAMES[..FORMS.len()].join(", "),
            FORMS[0].example
        ),
    })
}

pub(super) fn parse(asked: Value) -> ApiResult<Command> {
    command(asked).map_err(|why| ApiError::bad_request(format!("{why}; see NewCommand in /api/v1/openapi.json")))
}

/// What is of the right form, and says nothing or what cannot be.
fn check(command: &Command) -> Result<(), &'static str> {
    if !times(command).into_iter().flatten().all(|at| (ORDER_CIVIL_MIN..=ORDER_CIVIL_MAX).contains(&at.0)) {
        return Err("times are of the years 2000 to 2099");
    }
    match command {
        Command::SetParameters(list) if list.is_empty() => Err("there is no parameter to set"),
        Command::SetParameters(list) if has_twice(list.iter().map(|p| p.name.as_str())) => {
            Err("a parameter stands there twice; remove one")
        }
        Command::ArchiveAdd(list) if list.is_empty() => Err("there is no meter to add"),
        Command::SetSchedule(change) if *change == ScheduleChange::default() => Err("there is nothing to change"),
        Command::SetSchedule(change) if change.minute_of_day.is_some_and(|minute| minute >= DAY_MINUTES) => {
            Err("a day has the minutes 0 to 1439")
        }
        Command::SetTariff(tariff)
            if !(1..=TARIFF_PRICES_MAX).contains(&tariff.prices.len())
                || tariff.limits.len() + 1 != tariff.prices.len() =>
        {
            Err("a tariff has 1 to 6 prices and one limit fewer")
        }
        Command::FirmwareBlock { data, .. } if data.is_empty() => Err("the block has no bytes"),
        Command::Relay { payload, .. } if payload.is_empty() => Err("there is nothing to relay"),
        _ => Ok(()),
    }
}

/// The times that a command names.
fn times(command: &Command) -> [Option<Civil>; 2] {
    match command {
        Command::ReadHistory { first, last, .. } => [Some(*first), Some(*last)],
        Command::SetTariff(tariff) => [Some(tariff.effective), Some(tariff.cycle_start)],
        Command::SyncBalance { settled_at, .. } => [Some(*settled_at), None],
        Command::SetClock { to: at } | Command::FirmwareActivate { at, .. } => [*at, None],
        _ => [None; 2],
    }
}

fn has_twice<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::new();
    !names.all(|name| seen.insert(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BalanceLevel, EndpointTransport, Interval, KeyCipher, ReadScope, ReportPeriod, TariffCycle, ValveOrder,
    };
    use serde_json::json;

    #[test]
    fn every_form_is_a_command_and_says_all_its_fields() {
        for (form, name) in FORMS.iter().zip(Command::NAMES) {
            let told = command(form.example()).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(told.name(), name);
            let mut whole = serde_json::to_value(&told).expect("JSON");
            if name == "valve" {
                // The station's to set.
                let fields = whole["valve"].as_object_mut().expect("fields");
                fields.retain(|field, _| field != "order_id" && field != "valid_until");
            }
            assert_eq!(whole, form.example(), "{name}");
            let (_, Value::Object(fields)) = form.parts() else { continue };
            for field in fields.keys() {
                let mut without = fields.clone();
                without.remove(field);
                let read = serde_json::from_value::<Command>(json!({ name: without }));
                assert_eq!(read.is_ok(), form.optional.contains(&field.as_str()), "{name} without {field}");
            }
        }
    }

    #[test]
    fn every_word_that_a_field_takes_is_named() {
        let words = |name: &str| FORMS.iter().find(|form| form.parts().0 == name).expect(name).words;
        let told = [
            ("read", ReadScope::ALL.iter().map(|v| v.name()).collect::<Vec<_>>()),
            ("read-history", Interval::ALL.iter().map(|v| v.name()).collect()),
            ("valve", ValveOrder::ALL.iter().map(|v| v.name()).collect()),
            ("set-schedule", ReportPeriod::ALL.iter().map(|v| v.name()).collect()),
            ("set-endpoint", EndpointTransport::ALL.iter().map(|v| v.name()).collect()),
            ("set-key", KeyCipher::ALL.iter().map(|v| v.name()).collect()),
            ("set-tariff", TariffCycle::ALL.iter().map(|v| v.name()).collect()),
            ("sync-balance", BalanceLevel::ALL.iter().map(|v| v.name()).collect()),
        ];
        for (command, all) in told {
            for word in all {
                assert!(words(command).contains(word), "{command}: {word}");
            }
        }
    }

    #[test]
    fn who_misses_the_form_is_told_it() {
        for (asked, says) in [
            (json!("read"), r#"write {"read": {"scope": "current"}}"#),
            (json!({"read": {}}), r#"write {"read": {"scope": "current"}}"#),
            (json!({"read": {"scope": "everything"}}), r#"write {"read": {"scope": "current"}}"#),
            (json!({"valve": {"order": "close-forced", "why": "x"}}), r#"write {"valve": "#),
            (json!({"fly": {}}), "one of read, read-history, valve"),
            (json!({}), "one of read, read-history, valve"),
            (json!(7), "such as {\"read\""),
        ] {
            let why = command(asked.clone()).expect_err("no command");
            assert!(why.contains(says), "{asked}: {why}");
        }
    }

    #[test]
    fn what_says_nothing_or_what_cannot_be_is_no_order() {
        let tariff = |limits: &[u32], prices: &[u32]| {
            let time = "2024-04-01T00:00:00";
            json!({"set-tariff": {"plan": 1, "effective": time, "on_meter": true, "cycle": "year", "cycle_start": time,
                "limits": limits, "prices": prices}})
        };
        let history =
            |first: &str, last: &str| json!({"read-history": {"interval": "day", "first": first, "last": last}});
        let parameter = |name: &str| json!({"name": name, "value": {"integer": 1}});
        for (asked, is_good) in [
            (json!({"set-parameters": []}), false),
            (json!({"set-parameters": [parameter("a"), parameter("b")]}), true),
            (json!({"set-parameters": [parameter("a"), parameter("b"), parameter("a")]}), false),
            (json!({"set-schedule": {"minute_of_day": 1439}}), true),
            (json!({"set-schedule": {"minute_of_day": 1440}}), false),
            (json!({"archive-add": []}), false),
            (json!({"set-schedule": {}}), false),
            (history("2000-01-01T00:00:00", "2099-12-31T23:59:59"), true),
            (history("1999-12-31T23:59:59", "2024-03-01T00:00:00"), false),
            (history("2024-03-01T00:00:00", "2100-01-01T00:00:00"), false),
            (json!({"set-clock": {"to": "1970-01-01T00:00:00"}}), false),
            (json!({"set-clock": {}}), true),
            (json!({"firmware-block": {"image": 1, "index": 0, "data": ""}}), false),
            (tariff(&[], &[]), false),
            (tariff(&[5], &[1]), false),
            (tariff(&[], &[1]), true),
            (tariff(&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6, 7]), false),
            (json!({"read-parameters": []}), true),
            (json!({"archive-remove": []}), true),
        ] {
            assert_eq!(command(asked.clone()).is_ok(), is_good, "{asked}");
        }
    }
}
