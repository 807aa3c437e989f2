//! Commands from their JSON form, as the station's API takes them.

use crate::{
    ArchiveEntry, ArchiveRange, BalanceLevel, BalanceSync, Civil, Command, EndReason, Endpoint, EndpointTransport,
    FirmwareActivation, FirmwareBlock, FirmwareImage, History, Interval, KeyChange, KeyCipher, Parameter,
    ParameterValue, ReadScope, Recharge, Relay, ReportPeriod, ScheduleChange, Tariff, TariffCycle, Valve, ValveOrder,
    civil,
};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// `now` is the time of a `set-clock` that gives none.
pub fn parse(command: &Value, now: Civil) -> Result<Command, String> {
    let (name, body) = command
        .as_object()
        .filter(|map| map.len() == 1)
        .and_then(|map| map.iter().next())
        .ok_or("command: an object with one key, its name")?;
    let mut fields = Fields { command: name, left: body.as_object().cloned().unwrap_or_default() };
    let parsed = one(name, body, &mut fields, now)?;
    match fields.left.keys().next() {
        Some(surplus) => Err(format!("{name}: unknown field `{surplus}`")),
        None => Ok(parsed),
    }
}

#[allow(clippy::too_many_lines)] // One arm a command, in the contract's order.
fn one(name: &str, body: &Value, f: &mut Fields<'_>, now: Civil) -> Result<Command, String> {
    Ok(match name {
        "read" => Command::Read(f.name("scope", &[ReadScope::Current, ReadScope::Account, ReadScope::Valve])?),
        "read-history" => Command::ReadHistory(History {
            interval: f.name("interval", &[Interval::Minute, Interval::Hour, Interval::Day, Interval::Month])?,
            first: f.time("first")?,
            last: f.time("last")?,
        }),
        "valve" => Command::Valve(Valve {
            order: f.name("order", &[ValveOrder::PermitOpen, ValveOrder::CloseTemporary, ValveOrder::CloseForced])?,
            order_id: f.number("order_id")?,
            valid_until: f.time("valid_until")?,
            reason: f.text_or_empty("reason")?,
        }),
        "set-clock" => Command::SetClock(f.option("to", Fields::time)?.unwrap_or(now)),
        "set-schedule" => Command::SetSchedule(ScheduleChange {
            period: f.option("period", |f, key| f.name(key, &PERIODS))?,
            minute_of_day: f.option("minute_of_day", Fields::number)?,
            stagger_minutes: f.option("stagger_minutes", Fields::number)?,
            awake_minutes: f.option("awake_minutes", Fields::number)?,
            heartbeat_minutes: f.option("heartbeat_minutes", Fields::number)?,
        }),
        "set-endpoint" => Command::SetEndpoint(Endpoint {
            index: f.number("index")?,
            transport: f
                .name("transport", &[EndpointTransport::Tcp, EndpointTransport::Udp, EndpointTransport::Coap])?,
            host: f.text("host")?,
            port: f.number("port")?,
            apn: f.text("apn")?,
        }),
        "set-key" => Command::SetKey(KeyChange {
            slot: f.text("slot")?,
            version: f.number("version")?,
            cipher: f.name("cipher", &[KeyCipher::Aes128, KeyCipher::Sm4])?,
        }),
        "set-parameters" => Command::SetParameters(list(body, parameter)?),
        "read-parameters" => Command::ReadParameters(list(body, text)?),
        "recharge" => Command::Recharge(Recharge {
            order_id: f.number("order_id")?,
            purchase_count: f.number("purchase_count")?,
            amount: f.number("amount")?,
            volume: f.number("volume")?,
            purchased_total: f.number("purchased_total")?,
        }),
        "set-tariff" => Command::SetTariff(Tariff {
            plan: f.number("plan")?,
            effective: f.time("effective")?,
            on_meter: f.take("on_meter")?.as_bool().ok_or("on_meter: true or false")?,
            cycle: f.name("cycle", &CYCLES)?,
            cycle_start: f.time("cycle_start")?,
            limits: list(&f.take("limits")?, number)?,
            prices: list(&f.take("prices")?, number)?,
        }),
        "sync-balance" => Command::SyncBalance(BalanceSync {
            balance: f.number("balance")?,
            price: f.number("price")?,
            level: f.name("level", &[BalanceLevel::Normal, BalanceLevel::Low, BalanceLevel::Exhausted])?,
            settled_total: f.number("settled_total")?,
            settled_at: f.time("settled_at")?,
        }),
        "firmware-begin" => Command::FirmwareBegin(FirmwareImage {
            image: f.number("image")?,
            version: f.text("version")?,
            size: f.number("size")?,
            block_bytes: f.number("block_bytes")?,
            crc32: f.number("crc32")?,
        }),
        "firmware-block" => Command::FirmwareBlock(FirmwareBlock {
            image: f.number("image")?,
            index: f.number("index")?,
            data: bytes(&f.take("data")?)?,
        }),
        "firmware-activate" => Command::FirmwareActivate(FirmwareActivation {
            image: f.number("image")?,
            at: f.option("at", Fields::time)?,
        }),
        "archive-add" => Command::ArchiveAdd(list(body, archive_entry)?),
        "archive-remove" => Command::ArchiveRemove(list(body, text)?),
        "archive-list" => Command::ArchiveList(ArchiveRange { first: f.number("first")?, count: f.number("count")? }),
        "relay" => Command::Relay(Relay {
            target: f.text("target")?,
            protocol: f.text("protocol")?,
            channel: f.number("channel")?,
            timeout_s: f.number("timeout_s")?,
            payload: bytes(&f.take("payload")?)?,
        }),
        "end-session" => {
            Command::EndSession(f.name("reason", &[EndReason::Done, EndReason::Busy, EndReason::NotAuthorised])?)
        }
        _ => return Err(format!("`{name}` is no command")),
    })
}

const PERIODS: [ReportPeriod; 5] =
    [ReportPeriod::Daily, ReportPeriod::Dekad, ReportPeriod::Monthly, ReportPeriod::Hourly, ReportPeriod::Other];
const CYCLES: [TariffCycle; 5] =
    [TariffCycle::Day, TariffCycle::Month, TariffCycle::TwoMonths, TariffCycle::Quarter, TariffCycle::Year];

struct Fields<'a> {
    command: &'a str,
    left: Map<String, Value>,
}

impl Fields<'_> {
    fn take(&mut self, key: &str) -> Result<Value, String> {
        self.left.remove(key).ok_or_else(|| format!("{}: `{key}` is missing", self.command))
    }
    fn option<T>(
        &mut self,
        key: &str,
        read: impl Fn(&mut Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.left.get(key) {
            None => Ok(None),
            Some(Value::Null) => {
                self.left.remove(key);
                Ok(None)
            }
            Some(_) => read(self, key).map(Some),
        }
    }
    fn number<T: TryFrom<i64>>(&mut self, key: &str) -> Result<T, String> {
        number(&self.take(key)?).map_err(|e| format!("{key}: {e}"))
    }
    fn text(&mut self, key: &str) -> Result<String, String> {
        text(&self.take(key)?).map_err(|e| format!("{key}: {e}"))
    }
    fn text_or_empty(&mut self, key: &str) -> Result<String, String> {
        Ok(self.option(key, Self::text)?.unwrap_or_default())
    }
    fn time(&mut self, key: &str) -> Result<Civil, String> {
        let written = self.text(key)?;
        civil::parse(&written).ok_or_else(|| format!("{key}: `{written}` is no time"))
    }
    fn name<T: Copy + Debug>(&mut self, key: &str, all: &[T]) -> Result<T, String> {
        let written = self.text(key)?;
        let known = all.iter().find(|v| super::json::name(*v) == written);
        known.copied().ok_or_else(|| format!("{key}: `{written}` is not in the contract"))
    }
}

fn list<T>(value: &Value, one: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.as_array().ok_or_else(|| format!("a list is wanted, found {value}"))?.iter().map(one).collect()
}

fn number<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    let number = value.as_i64().ok_or_else(|| format!("an integer is wanted, found {value}"))?;
    T::try_from(number).map_err(|_| format!("{number} does not fit"))
}

fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("a text is wanted, found {value}"))
}

fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    hex::decode(text(value)?).map_err(|e| e.to_string())
}

fn parameter(value: &Value) -> Result<Parameter, String> {
    let mut f = Fields { command: "parameter", left: value.as_object().cloned().unwrap_or_default() };
    let name = f.text("name")?;
    let wrapped = f.take("value")?;
    let (kind, inner) = wrapped.as_object().and_then(|m| m.iter().next()).ok_or("value: {integer|text|bytes: …}")?;
    let value = match kind.as_str() {
        "integer" => ParameterValue::Integer(number(inner)?),
        "text" => ParameterValue::Text(text(inner)?),
        "bytes" => ParameterValue::Bytes(bytes(inner)?),
        other => return Err(format!("value: `{other}` is none of integer, text, bytes")),
    };
    Ok(Parameter { name, value })
}

fn archive_entry(value: &Value) -> Result<ArchiveEntry, String> {
    let mut f = Fields { command: "archive entry", left: value.as_object().cloned().unwrap_or_default() };
    Ok(ArchiveEntry {
        index: f.number("index")?,
        address: f.text("address")?,
        protocol: f.text("protocol")?,
        channel: f.number("channel")?,
        baud: f.number("baud")?,
        format: f.text("format")?,
    })
}
