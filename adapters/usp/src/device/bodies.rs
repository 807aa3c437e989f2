//! Bodies of a simulated terminal's reports (USP/1 §E), written independently of the readers in `uplink`.

use super::Device;
use crate::status::Status;
use polymeter_sdk::{Civil, ReportPeriod, bcd, bytes, civil};

/// One entry of an event list, by the protocol's own code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventEntry {
    pub code: u8,
    pub at: Civil,
    pub value: u32,
}

/// One entry of 4066.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubMeter {
    pub address: [u8; 7],
    pub at: Civil,
    pub total: Option<u32>,
    pub status: u16,
    /// 0 good, 1 stale, 2 no answer, 3 CRC wrong.
    pub quality: u8,
}

pub const fn status_of_a_healthy_meter() -> Status {
    Status {
        now: None,
        total: None,
        valve: 1,
        reason: 0,
        battery_mv: Some(3610),
        backup_mv: None,
        rsrp: Some(-950),
        snr: Some(125),
        csq: Some(18),
        ecl: 0,
        temperature: None,
        pressure: None,
        flow: None,
        balance: None,
        alarms: 0,
    }
}

pub fn registration(device: &Device, clock: Civil) -> Vec<u8> {
    let identity = &device.identity;
    let mut body = Vec::with_capacity(85);
    body.extend(bcd::pack_number::<2>(u64::from(identity.vendor)).unwrap_or_default());
    body.extend(bytes::padded::<16>(&identity.model).unwrap_or([0; 16]));
    body.extend(bytes::padded::<4>(&identity.hardware).unwrap_or_default());
    body.extend(bytes::padded::<8>(&identity.firmware).unwrap_or_default());
    body.extend(bytes::padded::<20>(&identity.iccid).unwrap_or([0; 20]));
    body.extend(bytes::padded::<15>(&identity.imei).unwrap_or([0; 15]));
    body.extend(identity.capabilities.to_le_bytes());
    body.extend(plan(device));
    body.push(device.key_version());
    body.extend(t6(clock));
    body.extend((device.readings)(clock).0.unwrap_or(u32::MAX).to_le_bytes());
    body
}

/// Seven bytes: period, report time, stagger, awake, heartbeat.
pub fn plan(device: &Device) -> [u8; 7] {
    let plan = device.plan;
    let period = match plan.period {
        ReportPeriod::Dekad => 2,
        ReportPeriod::Monthly => 3,
        _ => 1,
    };
    let packed = |value: u16| bcd::pack(value as u8).unwrap_or(0);
    let [low, high] = plan.heartbeat_minutes.to_le_bytes();
    let (hour, minute) = (packed(plan.minute_of_day / 60), packed(plan.minute_of_day % 60));
    [period, hour, minute, plan.stagger_minutes, plan.awake_minutes, low, high]
}

pub fn heartbeat(status: &Status, clock: Civil) -> Vec<u8> {
    let mut body = t6(clock).to_vec();
    body.extend([status.csq.unwrap_or(99), status.valve]);
    body
}

pub fn daily(device: &Device, clock: Civil, list: &[EventEntry]) -> Vec<u8> {
    let midnight = civil::midnight(clock);
    let (working, standard) = (device.readings)(midnight);
    let mut body = t6(midnight)[..3].to_vec();
    body.extend(working.unwrap_or(u32::MAX).to_le_bytes());
    body.extend(standard.unwrap_or(u32::MAX).to_le_bytes());
    body.extend(status(device, clock));
    body.extend(events(list));
    body
}

pub fn history(device: &Device, clock: Civil, oldest: Civil, days: u8, list: &[EventEntry]) -> Vec<u8> {
    let readings: Vec<_> = (0..i64::from(days)).map(|i| (device.readings)(oldest + i * civil::DAY)).collect();
    let both = readings.iter().any(|(_, standard)| standard.is_some());
    let period = if device.plan.period == ReportPeriod::Monthly { 3 } else { 2 };
    let mut body = vec![period, u8::from(both)];
    body.extend(&t6(oldest)[..3]);
    body.push(days);
    for (working, standard) in readings {
        body.extend(working.unwrap_or(u32::MAX).to_le_bytes());
        if both {
            body.extend(standard.unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    body.extend(status(device, clock));
    body.extend(events(list));
    body
}

pub fn abnormal(device: &Device, clock: Civil, list: &[EventEntry]) -> Vec<u8> {
    let mut body = status(device, clock).to_vec();
    body.extend(events(list));
    body
}

pub fn sub_meters(entries: &[SubMeter]) -> Vec<u8> {
    let mut body = vec![entries.len() as u8];
    for entry in entries {
        body.extend(entry.address);
        body.extend(t6(entry.at));
        body.extend(entry.total.unwrap_or(u32::MAX).to_le_bytes());
        body.extend(entry.status.to_le_bytes());
        body.push(entry.quality);
    }
    body
}

pub fn transparent(port: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![port, protocol, 0];
    body.extend((payload.len() as u16).to_le_bytes());
    body.extend(payload);
    body
}

/// SB at this time, with the total that the readings give.
pub fn status(device: &Device, clock: Civil) -> [u8; 38] {
    let s = Status { now: Some(clock), total: (device.readings)(clock).0, ..device.status };
    let mut out = [0; 38];
    out[0..6].copy_from_slice(&s.now.map_or([0; 6], t6));
    out[6..10].copy_from_slice(&s.total.unwrap_or(u32::MAX).to_le_bytes());
    out[10..12].copy_from_slice(&[s.valve, s.reason]);
    out[12..14].copy_from_slice(&s.battery_mv.unwrap_or(u16::MAX).to_le_bytes());
    out[14..16].copy_from_slice(&s.backup_mv.unwrap_or(u16::MAX).to_le_bytes());
    out[16..18].copy_from_slice(&s.rsrp.unwrap_or(i16::MIN).to_le_bytes());
    out[18..20].copy_from_slice(&s.snr.unwrap_or(i16::MIN).to_le_bytes());
    out[20..22].copy_from_slice(&[s.csq.unwrap_or(99), s.ecl]);
    out[22..24].copy_from_slice(&s.temperature.unwrap_or(i16::MIN).to_le_bytes());
    out[24..26].copy_from_slice(&s.pressure.unwrap_or(u16::MAX).to_le_bytes());
    out[26..30].copy_from_slice(&s.flow.unwrap_or(u32::MAX).to_le_bytes());
    out[30..34].copy_from_slice(&s.balance.unwrap_or(i32::MIN).to_le_bytes());
    out[34..38].copy_from_slice(&s.alarms.to_le_bytes());
    out
}

fn events(list: &[EventEntry]) -> Vec<u8> {
    let mut out = vec![list.len() as u8];
    for event in list {
        out.push(event.code);
        out.extend(t6(event.at));
        out.extend(event.value.to_le_bytes());
    }
    out
}

/// Outside 2000..=2099: unset.
pub fn t6(at: Civil) -> [u8; 6] {
    civil::to_bcd6(at).unwrap_or_default()
}
