//! Schedule (7012), station addresses (7011), tariff (7013) and account (7023, 7025): commands of the contract that one message
//! of the family carries whole. What a message has no field for is refused, not dropped.

use crate::options::{Options, ReportFrames};
use crate::{parameters, scale};
use polymeter_sdk::{
    BalanceSync, Civil, Endpoint, EndpointTransport, Fault, Recharge, ReportPeriod, ScheduleChange, Tariff,
    TariffCycle, civil,
};
use std::net::SocketAddrV4;

/// 7012.
///
/// ```text
/// 0 type u8: 2, 4 every N hours, 3, 5 every N days (single, packed) | 1 hh mm ss | 4 N u16 | 6 collection interval u16 | 8 0000
/// ```
pub fn schedule(change: &ScheduleChange, options: &Options) -> Result<Vec<u8>, Fault> {
    for (name, value) in [
        ("stagger_minutes", change.stagger_minutes),
        ("awake_minutes", change.awake_minutes),
        ("heartbeat_minutes", change.heartbeat_minutes),
    ] {
        if value.is_some_and(|v| v != 0) {
            return Err(Fault::unsupported(format!("{name}: 7012 has no field for it")));
        }
    }
    let packed = u8::from(options.report_frames == ReportFrames::Packed) * 2;
    let (kind, minute) = match (change.period, change.minute_of_day) {
        (Some(ReportPeriod::Daily), Some(minute @ 0..1440)) => (3 + packed, minute),
        (Some(ReportPeriod::Daily), Some(minute)) => {
            return Err(Fault::out_of_range("minute_of_day", minute, "0..=1439"));
        }
        (Some(ReportPeriod::Daily), None) => return Err(missing("minute_of_day")),
        (Some(ReportPeriod::Hourly), None | Some(0)) => (2 + packed, 0),
        (Some(ReportPeriod::Hourly), Some(_)) => {
            return Err(Fault::unsupported("minute_of_day: an hourly report has no time of day in 7012"));
        }
        (Some(period), _) => {
            return Err(Fault::unsupported(format!(
                "period {period:?}: 7012 counts minutes, hours or days; set vendor-report-mode and what goes with it"
            )));
        }
        (None, _) => return Err(missing("period")),
    };
    let [h, m, s] = parameters::time_bytes(i64::from(minute) * 60, options.report_time);
    let [collect_low, collect_high] = options.collection_minutes.to_le_bytes();
    Ok(vec![kind, h, m, s, 1, 0, collect_low, collect_high, 0, 0])
}

/// 7011 carries all three addresses. Those that the command does not give come from the profile; a backup that it does not
/// know repeats the main address, so that no meter is left with a backup of zeros.
///
/// ```text
/// 0 IPv4 main | 4 backup 1 | 8 backup 2 | 12 port main u16 | 14 backup 1 | 16 backup 2 | 18 transport | 19 resend count | 20 0000
/// ```
pub fn endpoint(endpoint: &Endpoint, options: &Options) -> Result<Vec<u8>, Fault> {
    let transport = match endpoint.transport {
        EndpointTransport::Udp => 0,
        EndpointTransport::Coap => 1,
        EndpointTransport::Tcp => return Err(Fault::unsupported("transport tcp: 7011 knows udp and coap")),
    };
    if !endpoint.apn.is_empty() {
        return Err(Fault::unsupported("apn: 7011 has no field for it"));
    }
    let host = endpoint.host.parse().map_err(|_| Fault::out_of_range("host", &endpoint.host, "an IPv4 address"))?;
    if endpoint.port == 0 {
        return Err(Fault::out_of_range("port", 0, "1..=65535"));
    }
    let mut known: [Option<SocketAddrV4>; 3] = std::array::from_fn(|i| options.endpoints.get(i).copied());
    let place = known.get_mut(usize::from(endpoint.index));
    let place = place.ok_or_else(|| Fault::out_of_range("index", endpoint.index, "0 main, 1 and 2 backup"))?;
    *place = Some(SocketAddrV4::new(host, endpoint.port));
    let Some(main) = known[0] else {
        return Err(Fault::unsupported("7011 writes the main address too: name it in the option endpoints"));
    };
    let all = known.map(|address| address.unwrap_or(main));
    let mut body = Vec::with_capacity(22);
    body.extend(all.iter().flat_map(|address| address.ip().octets()));
    body.extend(all.iter().flat_map(|address| address.port().to_le_bytes()));
    body.extend_from_slice(&[transport, options.resend_count, 0, 0]);
    Ok(body)
}

/// 7013. Its number of the plan has no place on the wire: the station keeps it.
///
/// ```text
/// 0 mode | 1 cycle | 2 tiers (0, 2..6) | 3 cycle start BCD6 | 9 effective BCD6 | 15 5 x volume u32 | 35 6 x price u32 | 59 0000
/// ```
pub fn tariff(tariff: &Tariff, options: &Options) -> Result<Vec<u8>, Fault> {
    let steps = tariff.prices.len();
    if !(1..=6).contains(&steps) || tariff.limits.len() + 1 != steps {
        let found = format!("{steps} and {}", tariff.limits.len());
        return Err(Fault::out_of_range("prices, limits", found, "1..=6 prices and one limit fewer"));
    }
    if tariff.limits.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Fault::out_of_range("limits", "their order", "ascending"));
    }
    let cycle = match tariff.cycle {
        TariffCycle::Day => 0,
        TariffCycle::Month => 1,
        TariffCycle::TwoMonths => 2,
        TariffCycle::Quarter => 3,
        TariffCycle::Year => 4,
    };
    let mut body = Vec::with_capacity(61);
    body.extend_from_slice(&[u8::from(tariff.on_meter), cycle, if steps == 1 { 0 } else { steps as u8 }]);
    body.extend_from_slice(&clock("cycle_start", tariff.cycle_start)?);
    body.extend_from_slice(&clock("effective", tariff.effective)?);
    for i in 0..5 {
        let limit = tariff.limits.get(i).copied().unwrap_or(0);
        body.extend_from_slice(&scaled("limits", limit.into(), -2, options.scales.tariff_volume)?.to_le_bytes());
    }
    for i in 0..6 {
        let price = tariff.prices.get(i).copied().unwrap_or(0);
        body.extend_from_slice(&scaled("prices", price.into(), -4, options.scales.price)?.to_le_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    Ok(body)
}

/// 7023 carries the total of all purchases; amount, volume and count of this one have no field.
///
/// ```text
/// 0 total purchased u32 | 4 0000
/// ```
pub fn recharge(order: &Recharge, options: &Options) -> Result<Vec<u8>, Fault> {
    let total = scaled("purchased_total", order.purchased_total, -2, options.scales.purchased)?;
    Ok([&total.to_le_bytes()[..], &[0, 0]].concat())
}

/// 7025 writes the total of all purchases as well, which the command does not give: it is the one that the meter told last.
/// Level and settlement of the command have no field; the meter derives and keeps its own.
///
/// ```text
/// 0 total purchased u32 | 4 balance i32, 0.01 yuan | 8 unit price u32 | 12 0000
/// ```
pub fn account(sync: &BalanceSync, purchased: Option<u32>, options: &Options) -> Result<Vec<u8>, Fault> {
    let purchased = purchased.ok_or_else(|| {
        Fault::unsupported("7025 overwrites the total of purchases, which is not known here: read scope account first")
    })?;
    let balance =
        i32::try_from(sync.balance).map_err(|_| Fault::out_of_range("balance", sync.balance, "what fits 32 bits"))?;
    let price = scaled("price", sync.price.into(), -4, options.scales.price)?;
    let mut body = Vec::with_capacity(14);
    body.extend_from_slice(&purchased.to_le_bytes());
    body.extend_from_slice(&balance.to_le_bytes());
    body.extend_from_slice(&price.to_le_bytes());
    body.extend_from_slice(&[0, 0]);
    Ok(body)
}

/// Without rounding, and never all ones, which means absent.
fn scaled(field: &str, value: i64, from: i8, to: i8) -> Result<u32, Fault> {
    let wire = scale::exactly(value, from, to).and_then(|v| u32::try_from(v).ok()).filter(|v| *v != u32::MAX);
    wire.ok_or_else(|| Fault::out_of_range(field, value, &format!("32 bits in steps of 10^{to} without rounding")))
}

fn clock(field: &str, at: Civil) -> Result<[u8; 6], Fault> {
    civil::to_bcd6(at).ok_or_else(|| Fault::out_of_range(field, civil::text(at), "the years 2000..=2099"))
}

fn missing(field: &str) -> Fault {
    Fault::out_of_range(field, "its absence", "a value: 7012 writes the whole schedule")
}
