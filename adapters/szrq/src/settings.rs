//! Commands of the contract whose fields have to be brought into the meter's messages: schedule, address, balance.

use crate::code;
use crate::items::{self, INTERVAL, PERIOD, PERIOD_VALUE, TIME};
use crate::memory::Memory;
use crate::options::{BalanceSyncRule, Options, ReportFrames};
use crate::wire;
use polymeter_sdk::{
    BalanceSync, Endpoint, EndpointTransport, Fault, Parameter, ParameterValue, ReportPeriod, ScheduleChange, civil,
};

/// 13 with what changes.
pub fn schedule(change: &ScheduleChange, options: &Options) -> Result<(u8, Vec<u8>), Fault> {
    for (name, value) in [
        ("stagger_minutes", change.stagger_minutes),
        ("awake_minutes", change.awake_minutes),
        ("heartbeat_minutes", change.heartbeat_minutes),
    ] {
        if value.is_some_and(|v| v != 0) {
            return Err(Fault::unsupported(format!("{name}: 13 has no field for it")));
        }
    }
    let integer = |name: &str, value: u8| Parameter { name: name.into(), value: ParameterValue::Integer(value.into()) };
    let single = options.report_frames == ReportFrames::Single;
    let mut list = Vec::with_capacity(3);
    match change.period {
        None => {}
        Some(ReportPeriod::Daily) => list.push(integer(PERIOD, if single { 2 } else { 7 })),
        Some(ReportPeriod::Hourly) if single => list.extend([integer(PERIOD, 1), integer(PERIOD_VALUE, 60)]),
        Some(ReportPeriod::Hourly) => {
            list.extend([integer(PERIOD, 5), integer(INTERVAL, options.collection_minutes)]);
        }
        Some(ReportPeriod::Dekad) => list.push(integer(PERIOD, if single { 4 } else { 9 })),
        Some(period @ (ReportPeriod::Monthly | ReportPeriod::Other)) => {
            return Err(Fault::unsupported(format!(
                "period {period:?}: 13 knows minutes, hours, days, weeks and dekads"
            )));
        }
    }
    if let Some(minute) = change.minute_of_day {
        if minute >= 1440 {
            return Err(Fault::out_of_range("minute_of_day", minute, "0..=1439"));
        }
        let text = format!("{:02}:{:02}", minute / 60, minute % 60);
        list.push(Parameter { name: TIME.into(), value: ParameterValue::Text(text) });
    }
    if list.is_empty() {
        return Err(Fault::out_of_range("schedule", "no change", "a period or a time"));
    }
    items::set(&list, options)
}

/// 15 with one address.
pub fn endpoint(endpoint: &Endpoint, options: &Options) -> Result<(u8, Vec<u8>), Fault> {
    if endpoint.transport != EndpointTransport::Udp {
        return Err(Fault::unsupported("transport: these meters know UDP only"));
    }
    if !endpoint.apn.is_empty() {
        return Err(Fault::unsupported("apn: 15 has no field for it"));
    }
    let number = match endpoint.index {
        0 => 1,
        1 => 2,
        other => return Err(Fault::out_of_range("index", other, "0 main, 1 backup")),
    };
    let list = [
        Parameter { name: format!("vendor-host-{number}"), value: ParameterValue::Text(endpoint.host.clone()) },
        Parameter { name: format!("vendor-port-{number}"), value: ParameterValue::Integer(endpoint.port.into()) },
    ];
    items::set(&list, options)
}

/// 21. Price and level have no field; remaining volume and tier start are not in the command.
///
/// ```text
/// 47 balance i32 | 51 remaining volume i32 | 55 settled volume i32 | 59 settle time 6 | 65 tier start volume i32 | 69 tier start 6
/// ```
pub fn balance(sync: &BalanceSync, memory: &Memory, options: &Options) -> Result<(u8, Vec<u8>), Fault> {
    let unknown = match options.balance_sync {
        BalanceSyncRule::Refuse => {
            return Err(Fault::unsupported(
                "21 also writes remaining volume and tier start, which the command does not give; option balance_sync says with what",
            ));
        }
        BalanceSyncRule::Absent => wire::ABSENT,
        BalanceSyncRule::Zero => 0,
    };
    let class = memory.class.ok_or_else(|| {
        Fault::unsupported("the meter's class, which scales volumes, is not known before its first report")
    })?;
    let i32_of = |name: &str, value: i64, exponent: i8| {
        let wire = wire::exactly(value, -2, exponent).and_then(|v| i32::try_from(v).ok());
        wire.ok_or_else(|| {
            Fault::out_of_range(name, value, &format!("32 bits in steps of 10^{exponent} without rounding"))
        })
    };
    let balance = i32_of("balance", sync.balance, options.scales.balance)?;
    let settled = i32_of("settled_total", sync.settled_total.into(), if class == 0 { -1 } else { 0 })?;
    let at = civil::to_bcd6(sync.settled_at)
        .ok_or_else(|| Fault::out_of_range("settled_at", civil::text(sync.settled_at), "the years 2000..=2099"))?;
    let mut body = Vec::with_capacity(28);
    body.extend_from_slice(&balance.to_le_bytes());
    body.extend_from_slice(&unknown.to_le_bytes());
    body.extend_from_slice(&settled.to_le_bytes());
    body.extend_from_slice(&at);
    body.extend_from_slice(&unknown.to_le_bytes());
    body.extend_from_slice(&[0; 6]);
    Ok((code::SYNC_BALANCE, body))
}
