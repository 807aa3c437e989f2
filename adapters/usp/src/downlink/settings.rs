//! 4001 time sync, 4011 schedule, 4012 station endpoint.

use super::{Order, Rest};
use crate::fields::{self, clock_bytes, fit};
use crate::frame::message;
use crate::uplink::registration;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    AnswerBody, Civil, Endpoint, EndpointTransport, Fault, Message, ReportPeriod, ScheduleChange, bcd,
};
use std::net::Ipv4Addr;

/// 4001: T6.
pub fn clock(to: Civil) -> Result<Order, Fault> {
    Ok(Order::new(message::SET_CLOCK, clock_bytes("to", to)?.to_vec()))
}

/// T6 before the change.
pub fn clock_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    Ok(match fields::clock(r, "clock before")? {
        Ok(at) => at.map_or_else(Rest::default, |at| AnswerBody::Clock(at).into()),
        // That is why it was set.
        Err(packed) => Rest { beside: Some(Message::unknown("clock before", &packed)), ..Rest::default() },
    })
}

// 4011:
// | Off | Size | Field                                                             |
// |   0 |    1 | mask: bit 0 period, 1 time, 2 stagger, 3 awake, 4 heartbeat       |
// |   1 |    1 | period                                                            |
// |   2 |    2 | report time, BCD                                                  |
// |   4 |    1 | stagger, minutes                                                  |
// |   5 |    1 | awake, minutes                                                    |
// |   6 |    2 | heartbeat, minutes                                                |
pub fn schedule(change: &ScheduleChange) -> Result<Order, Fault> {
    let set = [
        change.period.is_some(),
        change.minute_of_day.is_some(),
        change.stagger_minutes.is_some(),
        change.awake_minutes.is_some(),
        change.heartbeat_minutes.is_some(),
    ];
    let mask = set.iter().enumerate().fold(0, |mask, (bit, set)| mask | u8::from(*set) << bit);
    let period = change.period.map_or(Ok(0), period_code)?;
    let [hour, minute] = time_of_day(change.minute_of_day.unwrap_or(0))?;
    let byte = |field, minutes: Option<u16>| fit::<u8>(field, i64::from(minutes.unwrap_or(0)), "0..=255 minutes");
    let stagger = byte("stagger_minutes", change.stagger_minutes)?;
    let awake = byte("awake_minutes", change.awake_minutes)?;
    let [low, high] = change.heartbeat_minutes.unwrap_or(0).to_le_bytes();
    Ok(Order::new(message::SET_SCHEDULE, vec![mask, period, hour, minute, stagger, awake, low, high]))
}

/// The seven effective bytes after the mask.
pub fn schedule_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    Ok(match registration::schedule(r)? {
        Ok(schedule) => AnswerBody::Schedule(schedule).into(),
        Err(packed) => AnswerBody::Raw(packed.to_vec()).into(),
    })
}

fn period_code(period: ReportPeriod) -> Result<u8, Fault> {
    match period {
        ReportPeriod::Daily => Ok(1),
        ReportPeriod::Dekad => Ok(2),
        ReportPeriod::Monthly => Ok(3),
        ReportPeriod::Hourly | ReportPeriod::Other => {
            Err(Fault::out_of_range("period", format!("{period:?}"), "daily, dekad, monthly"))
        }
    }
}

fn time_of_day(minute_of_day: u16) -> Result<[u8; 2], Fault> {
    let packed = |value: u16| u8::try_from(value).ok().and_then(bcd::pack);
    match (packed(minute_of_day / 60), packed(minute_of_day % 60)) {
        (Some(hour), Some(minute)) if minute_of_day < 1440 => Ok([hour, minute]),
        _ => Err(Fault::out_of_range("minute_of_day", minute_of_day, "0..=1439")),
    }
}

// 4012: index 1, transport 1, kind 1 (0 IPv4, 1 name), length 1, host, port 2 LE, length 1, APN.
pub fn endpoint(endpoint: &Endpoint) -> Result<Order, Fault> {
    if endpoint.index > 1 {
        return Err(Fault::out_of_range("index", endpoint.index, "0 (main) or 1 (backup)"));
    }
    if endpoint.host.is_empty() {
        return Err(Fault::out_of_range("host", "nothing", "an IPv4 address or a name"));
    }
    if endpoint.port == 0 {
        return Err(Fault::out_of_range("port", 0, "1..=65535"));
    }
    let transport = match endpoint.transport {
        EndpointTransport::Tcp => 0,
        EndpointTransport::Udp => 1,
        EndpointTransport::Coap => 2,
    };
    let mut body = vec![endpoint.index, transport];
    if let Ok(ipv4) = endpoint.host.parse::<Ipv4Addr>() {
        body.extend_from_slice(&[0, 4]);
        body.extend_from_slice(&ipv4.octets());
    } else {
        body.push(1);
        text("host", &endpoint.host, &mut body)?;
    }
    body.extend_from_slice(&endpoint.port.to_le_bytes());
    text("apn", &endpoint.apn, &mut body)?;
    Ok(Order::new(message::SET_ENDPOINT, body))
}

/// A length byte and printable ASCII.
fn text(field: &str, text: &str, body: &mut Vec<u8>) -> Result<(), Fault> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Fault::out_of_range(field, text, "printable ASCII without blanks"));
    }
    body.push(fit(field, text.len() as i64, "0..=255 characters")?);
    body.extend_from_slice(text.as_bytes());
    Ok(())
}
