//! Model to contract: contexts and commands, borrowed wherever the contract allows it.

use super::{codec, commands, types};
use crate::adapter::{Admission, Context, Direction, Fault, Transport};
use crate::journal::FaultKind;
use crate::model;
use commands::Command as To;
use model::Command as From;

/// `match` between two enums whose variants bear the same names.
macro_rules! same_names {
    ($value:expr, $from:path => $to:path { $($name:ident),+ $(,)? }) => {{
        use $from as Here;
        use $to as There;
        match $value { $(Here::$name => There::$name),+ }
    }};
}

/// A struct of the contract whose fields are dereferenced bindings of the same names.
macro_rules! copied {
    ($to:path { $($field:ident),+ $(,)? }) => {{
        use $to as There;
        There { $($field: *$field),+ }
    }};
}

pub(in crate::adapter) fn context<'a>(context: &Context<'a>) -> codec::Context<'a> {
    codec::Context {
        now: context.now.0,
        direction: same_names!(context.direction, Direction => codec::Direction { Uplink, Downlink }),
        transport: same_names!(context.transport, Transport => codec::Transport { Stream, Datagram, Relay }),
        admission: same_names!(context.admission,
            Admission => codec::Admission { Undecided, Welcome, Held, Refused, Busy }),
        pending: context.pending,
        device: context.device.map(|(address, memory)| codec::Device { address, memory }),
        state: context.state,
    }
}

/// The lists inside a command, in the shape in which a guest takes them.
#[derive(Default)]
pub(in crate::adapter) struct Lists<'a> {
    parameters: Vec<types::ParameterParam<'a>>,
    names: Vec<&'a str>,
    entries: Vec<types::ArchiveEntryParam<'a>>,
}

impl<'a> Lists<'a> {
    pub(in crate::adapter) fn of(command: &'a model::Command) -> Self {
        let mut lists = Self::default();
        match command {
            From::SetParameters(list) => lists.parameters = list.iter().map(parameter).collect(),
            From::ReadParameters(names) | From::ArchiveRemove(names) => {
                lists.names = names.iter().map(String::as_str).collect();
            }
            From::ArchiveAdd(entries) => lists.entries = entries.iter().map(archive_entry).collect(),
            _ => {}
        }
        lists
    }
}

/// What the guest gets; a fault where the station should have filled something in first.
pub(in crate::adapter) fn command<'a>(command: &'a model::Command, lists: &'a Lists<'a>) -> Result<To<'a>, Fault> {
    Ok(match command {
        From::Read { scope } => {
            To::Read(same_names!(scope, model::ReadScope => commands::ReadScope { Current, Account, Valve }))
        }
        From::ReadHistory { interval, first, last } => To::ReadHistory(commands::History {
            interval: same_names!(interval, model::Interval => commands::Interval { Minute, Hour, Day, Month }),
            first: first.0,
            last: last.0,
        }),
        From::Valve(order) => To::Valve(valve(order)?),
        From::SetClock { to } => To::SetClock(to.ok_or_else(|| unfilled("time of set-clock"))?.0),
        From::SetSchedule(change) => To::SetSchedule(schedule_change(change)),
        From::SetEndpoint { index, transport, host, port, apn } => {
            let transport = same_names!(transport,
                model::EndpointTransport => commands::EndpointTransport { Tcp, Udp, Coap });
            To::SetEndpoint(commands::Endpoint { index: *index, transport, host, port: *port, apn })
        }
        From::SetKey { slot, version, cipher } => {
            let cipher = same_names!(cipher, model::KeyCipher => commands::KeyCipher { Aes128, Sm4 });
            To::SetKey(commands::KeyChange { slot, version: *version, cipher })
        }
        From::SetParameters(_) => To::SetParameters(&lists.parameters),
        From::ReadParameters(_) => To::ReadParameters(&lists.names),
        From::Recharge { order_id, purchase_count, amount, volume, purchased_total } => {
            To::Recharge(copied!(commands::Recharge { order_id, purchase_count, amount, volume, purchased_total }))
        }
        From::SetTariff(order) => To::SetTariff(tariff(order)),
        From::SyncBalance { balance, price, level, settled_total, settled_at: model::Civil(settled_at) } => {
            let level = &same_names!(level, model::BalanceLevel => commands::BalanceLevel { Normal, Low, Exhausted });
            To::SyncBalance(copied!(commands::BalanceSync { balance, price, level, settled_total, settled_at }))
        }
        From::FirmwareBegin { image, version, size, block_bytes, crc32 } => {
            let version = &version.as_str();
            To::FirmwareBegin(copied!(commands::FirmwareImage { image, version, size, block_bytes, crc32 }))
        }
        From::FirmwareBlock { image, index, data } => {
            To::FirmwareBlock(commands::FirmwareBlock { image: *image, index: *index, data })
        }
        From::FirmwareActivate { image, at } => {
            To::FirmwareActivate(commands::FirmwareActivation { image: *image, at: at.map(|t| t.0) })
        }
        From::ArchiveAdd(_) => To::ArchiveAdd(&lists.entries),
        From::ArchiveRemove(_) => To::ArchiveRemove(&lists.names),
        From::ArchiveList { first, count } => To::ArchiveList(copied!(commands::ArchiveRange { first, count })),
        From::Relay { target, protocol, channel, timeout_s, payload } => {
            let (channel, timeout_s) = (*channel, *timeout_s);
            To::Relay(commands::Relay { target, protocol, channel, timeout_s, payload })
        }
        From::EndSession { reason } => {
            To::EndSession(same_names!(reason, model::EndReason => commands::EndReason { Done, Busy, NotAuthorised }))
        }
    })
}

fn valve(order: &model::Valve) -> Result<commands::Valve<'_>, Fault> {
    Ok(commands::Valve {
        order: same_names!(order.order,
            model::ValveOrder => commands::ValveOrder { PermitOpen, CloseTemporary, CloseForced }),
        order_id: order.order_id.ok_or_else(|| unfilled("order id of valve"))?,
        valid_until: order.valid_until.ok_or_else(|| unfilled("expiry of valve"))?.0,
        reason: &order.reason,
    })
}

fn schedule_change(change: &model::ScheduleChange) -> commands::ScheduleChange {
    commands::ScheduleChange {
        period: change.period.map(|period| {
            same_names!(period,
                model::ReportPeriod => types::ReportPeriod { Daily, Dekad, Monthly, Hourly, Other })
        }),
        minute_of_day: change.minute_of_day,
        stagger_minutes: change.stagger_minutes,
        awake_minutes: change.awake_minutes,
        heartbeat_minutes: change.heartbeat_minutes,
    }
}

fn tariff(tariff: &model::Tariff) -> commands::Tariff<'_> {
    commands::Tariff {
        plan: tariff.plan,
        effective: tariff.effective.0,
        on_meter: tariff.on_meter,
        cycle: same_names!(tariff.cycle,
            model::TariffCycle => commands::TariffCycle { Day, Month, TwoMonths, Quarter, Year }),
        cycle_start: tariff.cycle_start.0,
        limits: &tariff.limits,
        prices: &tariff.prices,
    }
}

fn parameter(parameter: &model::Parameter) -> types::ParameterParam<'_> {
    use types::ParameterValueParam as Value;
    types::ParameterParam {
        name: &parameter.name,
        value: match &parameter.value {
            model::ParameterValue::Integer(number) => Value::Integer(*number),
            model::ParameterValue::Text(text) => Value::Text(text),
            model::ParameterValue::Bytes(bytes) => Value::Bytes(bytes),
        },
    }
}

fn archive_entry(entry: &model::ArchiveEntry) -> types::ArchiveEntryParam<'_> {
    types::ArchiveEntryParam {
        index: entry.index,
        address: &entry.address,
        protocol: &entry.protocol,
        channel: entry.channel,
        baud: entry.baud,
        format: &entry.format,
    }
}

fn unfilled(what: &str) -> Fault {
    Fault::new(FaultKind::OutOfRange, format!("the station did not set the {what}"))
}
