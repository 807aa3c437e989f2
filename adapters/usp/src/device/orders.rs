//! How a simulated terminal carries out the station's commands (USP/1 §F), read independently of the writers in `downlink`.
//! Each gives the bodies of its answer; more than one makes an answer in parts.

use super::{Device, bodies};
use crate::fields::{self, clock, date};
use crate::frame::{BODY_BYTES_MAX, Header, message};
use crate::security::{SEAL_BYTES, Suite};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::keys::Cipher;
use polymeter_sdk::{Civil, ReportPeriod, checksum, civil};
use std::collections::BTreeMap;

/// An archive entry as 4061 brings it, without its index: 11 bytes.
pub type Archived = [u8; 11];
type Body = Vec<u8>;

const OK: u8 = 0x00;
const MALFORMED: u8 = 0x01;
const UNKNOWN: u8 = 0x02;
const BAD_PARAMETER: u8 = 0x03;
const NOT_ALLOWED: u8 = 0x05;
const NO_DATA: u8 = 0x06;
const SECURITY: u8 = 0x07;
const VALVE_FAILED: u8 = 0x08;
const NO_ANSWER: u8 = 0x09;
const NOT_ARCHIVED: u8 = 0x0A;
const DUPLICATE: u8 = 0x0C;
const EXPIRED: u8 = 0x0D;
const UNSUPPORTED: u8 = 0x0E;
/// Orders whose numbers are remembered.
const EXECUTED_MAX: usize = 32;
/// Frozen values of one part: a sealed body holds them.
const FROZEN_PART: usize = (BODY_BYTES_MAX - SEAL_BYTES - 7) / 8;

/// Lengths of the parameters this terminal knows; 0070 is read only.
pub fn default_parameters() -> BTreeMap<u16, Vec<u8>> {
    let lengths = [
        (0x0001, 2),
        (0x0002, 4),
        (0x0003, 4),
        (0x0010, 6),
        (0x0011, 6),
        (0x0012, 2),
        (0x0020, 2),
        (0x0021, 2),
        (0x0022, 2),
        (0x0023, 2),
        (0x0030, 4),
        (0x0031, 4),
        (0x0040, 2),
        (0x0041, 2),
        (0x0050, 4),
        (0x0051, 4),
        (0x0060, 2),
    ];
    let mut all: BTreeMap<u16, Vec<u8>> = lengths.into_iter().map(|(id, length)| (id, vec![0; length])).collect();
    all.insert(READ_ONLY, b"H1.001.02.03".to_vec());
    all
}
const READ_ONLY: u16 = 0x0070;

/// The answer's bodies; the first byte of each is the result.
pub fn execute(device: &mut Device, now: Civil, header: &Header, suite: Option<Suite>, body: &[u8]) -> Vec<Body> {
    let mut r = Reader::new(body);
    let answer = match header.message {
        message::SET_CLOCK => set_clock(device, now, &mut r),
        message::SET_SCHEDULE => set_schedule(device, &mut r),
        message::SET_ENDPOINT => set_endpoint(&mut r),
        message::SET_KEY => set_key(device, suite, &mut r),
        message::SET_PARAMETERS => set_parameters(device, &mut r),
        message::READ_PARAMETERS => read_parameters(device, &mut r),
        message::READ_NOW => Ok(read_now(device, now)),
        message::READ_FROZEN => return read_frozen(device, now, &mut r).unwrap_or_else(|_| vec![vec![MALFORMED]]),
        message::VALVE => valve(device, now, &mut r),
        message::RECHARGE => recharge(device, &mut r),
        message::TARIFF => tariff(device, &mut r),
        message::BALANCE => balance(device, &mut r),
        message::READ_ACCOUNT => Ok(read_account(device)),
        message::UPGRADE_BEGIN => upgrade_begin(device, &mut r),
        message::UPGRADE_BLOCK => upgrade_block(device, &mut r),
        message::UPGRADE_ACTIVATE => upgrade_activate(device, &mut r),
        message::ARCHIVE_ADD => archive_add(device, &mut r),
        message::ARCHIVE_REMOVE => archive_remove(device, &mut r),
        message::ARCHIVE_LIST => archive_list(device, &mut r),
        message::RELAY => relay(device, &mut r),
        message::TRANSPARENT => transparent(device, &mut r),
        _ => Ok(vec![UNKNOWN]),
    };
    vec![answer.unwrap_or_else(|_| vec![MALFORMED])]
}

fn set_clock(device: &mut Device, now: Civil, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let to = clock(r, "T6")?;
    let mut answer = vec![OK];
    answer.extend(bodies::t6(now));
    // `now` is the terminal's own time: what it was wrong by is corrected.
    device.drift_s += to.map_or(0, |to| to - now);
    Ok(answer)
}

fn set_schedule(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let [mask, period, hour, minute, stagger, awake] = r.array("schedule")?;
    let heartbeat = r.u16_le("heartbeat")?;
    let mut plan = device.plan;
    if mask & 1 != 0 {
        plan.period = match period {
            1 => ReportPeriod::Daily,
            2 => ReportPeriod::Dekad,
            3 => ReportPeriod::Monthly,
            _ => return Ok(vec![BAD_PARAMETER]),
        };
    }
    if mask & 2 != 0 {
        let packed = polymeter_sdk::bcd::byte;
        match (packed(hour), packed(minute)) {
            (Some(hour @ 0..24), Some(minute @ 0..60)) => plan.minute_of_day = u16::from(hour) * 60 + u16::from(minute),
            _ => return Ok(vec![BAD_PARAMETER]),
        }
    }
    if mask & 4 != 0 {
        plan.stagger_minutes = stagger;
    }
    if mask & 8 != 0 {
        plan.awake_minutes = awake;
    }
    if mask & 16 != 0 {
        plan.heartbeat_minutes = heartbeat;
    }
    device.plan = plan;
    let mut answer = vec![OK];
    answer.extend(bodies::plan(device));
    Ok(answer)
}

fn set_endpoint(r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let index = r.u8("index")?;
    Ok(vec![if index < 2 { OK } else { BAD_PARAMETER }, index])
}

fn set_key(device: &mut Device, carrier: Option<Suite>, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let (version, algorithm) = (r.u8("version")?, r.u8("algorithm")?);
    let (wrapped, check) = (r.take("wrapped key", 16)?, r.take("check value", 3)?);
    let cipher = match algorithm {
        1 => Cipher::Aes128,
        2 => Cipher::Sm4,
        _ => return Ok(vec![BAD_PARAMETER]),
    };
    let new = Suite { cipher, version };
    let key = carrier.and_then(|carrier| device.keys.unwrap(&device.address(), carrier, new, wrapped, check));
    let Some(key) = key else { return Ok(vec![SECURITY]) };
    device.set_key(new, key);
    let mut answer = vec![OK];
    answer.extend(check);
    Ok(answer)
}

fn set_parameters(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let count = r.u8("count")?;
    let mut answer = vec![OK, count];
    for _ in 0..count {
        let id = r.u16_le("id")?;
        let length = usize::from(r.u8("length")?);
        let value = r.take("value", length)?;
        let result = match device.parameters.get_mut(&id) {
            None if id < 0x8000 => UNSUPPORTED,
            None => {
                device.parameters.insert(id, value.to_vec());
                OK
            }
            Some(_) if id == READ_ONLY => NOT_ALLOWED,
            Some(known) if known.len() != length && id < 0x8000 => BAD_PARAMETER,
            Some(known) => {
                value.clone_into(known);
                OK
            }
        };
        answer.extend(id.to_le_bytes());
        answer.push(result);
    }
    Ok(answer)
}

fn read_parameters(device: &Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let count = r.u8("count")?;
    let wanted: Vec<u16> = if count == 0 {
        device.parameters.keys().copied().collect()
    } else {
        (0..count).map(|_| r.u16_le("id")).collect::<Result<_, _>>()?
    };
    let found: Vec<_> = wanted.iter().filter_map(|id| device.parameters.get_key_value(id)).collect();
    if found.is_empty() {
        return Ok(vec![NO_DATA]);
    }
    let mut answer = vec![OK, found.len() as u8];
    for (id, value) in found {
        answer.extend(id.to_le_bytes());
        answer.push(value.len() as u8);
        answer.extend(value);
    }
    Ok(answer)
}

fn read_now(device: &Device, now: Civil) -> Body {
    let mut answer = vec![OK];
    answer.extend(bodies::status(device, now));
    answer.extend((device.readings)(now).1.unwrap_or(u32::MAX).to_le_bytes());
    answer
}

fn read_frozen(device: &Device, now: Civil, r: &mut Reader<'_>) -> Result<Vec<Body>, FieldError> {
    let kind = r.u8("kind")?;
    let from: [u8; 4] = r.array("from")?;
    let count = usize::from(r.u8("N")?);
    let day = date(&mut Reader::new(&[from[0], from[1], from[2].max(1)]), "from")?;
    let start = if kind == 1 { day + i64::from(polymeter_sdk::bcd::byte(from[3]).unwrap_or(0)) * 3600 } else { day };
    let at = |i: usize| match kind {
        1 => start + i as i64 * 3600,
        2 => start + i as i64 * civil::DAY,
        _ => months_later(start, i),
    };
    if !(1..=3).contains(&kind) || count == 0 {
        return Ok(vec![vec![BAD_PARAMETER]]);
    }
    if start > now {
        return Ok(vec![vec![NO_DATA]]);
    }
    let indices: Vec<usize> = (0..count).collect();
    let part = |indices: &[usize]| {
        let first = indices.first().map_or(start, |i| at(*i));
        let [year, month, day, hour, ..] = bodies::t6(first);
        let mut body = vec![OK, kind, year, month, day, hour, indices.len() as u8];
        for i in indices {
            let (working, standard) = if at(*i) <= now { (device.readings)(at(*i)) } else { (None, None) };
            body.extend(working.unwrap_or(u32::MAX).to_le_bytes());
            body.extend(standard.unwrap_or(u32::MAX).to_le_bytes());
        }
        body
    };
    Ok(indices.chunks(FROZEN_PART).map(part).collect())
}

fn months_later(start: Civil, months: usize) -> Civil {
    let Some(f) = civil::fields(start) else { return start };
    let number = usize::from(f.year) * 12 + usize::from(f.month) - 1 + months;
    civil::date((number / 12) as u16, (number % 12) as u8 + 1, 1).unwrap_or(start)
}

/// Closing moves the valve; the permit only lets the user open it (§G 5).
fn valve(device: &mut Device, now: Civil, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let order = r.u8("order")?;
    let id = r.u32_le("order id")?;
    let valid_until = clock(r, "valid until")?;
    let reason = r.u8("reason")?;
    let result = if device.executed.contains(&id) {
        DUPLICATE
    } else if valid_until.is_none_or(|until| until < now) {
        EXPIRED
    } else if device.status.valve == 0 {
        UNSUPPORTED
    } else if device.valve_stuck && order != 1 {
        device.status.valve = 5;
        VALVE_FAILED
    } else {
        match order {
            1 if device.status.valve == 3 => device.status.valve = 2,
            1 => {}
            2 | 3 => (device.status.valve, device.status.reason) = (order, reason),
            _ => return Ok(vec![BAD_PARAMETER]),
        }
        remember(device, id);
        OK
    };
    let mut answer = vec![result];
    answer.extend(id.to_le_bytes());
    answer.extend([device.status.valve, device.status.reason]);
    Ok(answer)
}

fn remember(device: &mut Device, order_id: u32) {
    device.executed.push_back(order_id);
    if device.executed.len() > EXECUTED_MAX {
        device.executed.pop_front();
    }
}

fn recharge(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let id = r.u32_le("order id")?;
    let (count, amount) = (r.u16_le("purchase count")?, r.i32_le("amount")?);
    let _volume = r.u32_le("volume")?;
    let _purchased = r.i32_le("purchased total")?;
    let done = device.executed.contains(&id);
    if !done {
        remember(device, id);
        device.account.balance = device.account.balance.saturating_add(amount);
        device.account.purchase_count = count;
    }
    let mut answer = vec![if done { DUPLICATE } else { OK }];
    answer.extend(id.to_le_bytes());
    answer.extend(device.account.balance.to_le_bytes());
    answer.extend(device.account.purchase_count.to_le_bytes());
    Ok(answer)
}

fn tariff(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let plan = r.u16_le("plan")?;
    let _effective = clock(r, "effective")?;
    let (_mode, _cycle) = (r.u8("mode")?, r.u8("cycle")?);
    let _start = clock(r, "cycle start")?;
    let steps = usize::from(r.u8("steps")?);
    if !(1..=6).contains(&steps) {
        return Ok(vec![BAD_PARAMETER]);
    }
    r.take("limits", 4 * (steps - 1))?;
    let price = r.u32_le("price")?;
    r.take("prices", 4 * (steps - 1))?;
    (device.account.plan, device.account.price) = (plan, price);
    let mut answer = vec![OK];
    answer.extend(plan.to_le_bytes());
    Ok(answer)
}

fn balance(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let account = &mut device.account;
    account.balance = r.i32_le("balance")?;
    account.price = r.u32_le("price")?;
    account.level = r.u8("state")?;
    account.settled_total = r.u32_le("settled total")?;
    account.settled_at = clock(r, "settled at")?;
    let mut answer = vec![OK];
    answer.extend(account.balance.to_le_bytes());
    Ok(answer)
}

fn read_account(device: &Device) -> Body {
    let account = device.account;
    let mut answer = vec![OK];
    answer.extend(account.balance.to_le_bytes());
    answer.extend(account.price.to_le_bytes());
    answer.push(account.level);
    answer.extend(account.settled_total.to_le_bytes());
    answer.extend(account.settled_at.map_or([0; 6], bodies::t6));
    answer.extend(account.purchase_count.to_le_bytes());
    answer.extend(account.plan.to_le_bytes());
    answer
}

fn upgrade_begin(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let image = r.u32_le("image")?;
    let _version = r.take("version", 8)?;
    let _size = r.u32_le("size")?;
    let (block, crc) = (r.u16_le("block size")?, r.u32_le("crc")?);
    if device.firmware.as_ref().is_none_or(|f| (f.0, f.1, f.2) != (image, block, crc)) {
        device.firmware = Some((image, block, crc, Vec::new()));
    }
    Ok(next_block(device))
}

fn upgrade_block(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let (image, index) = (r.u32_le("image")?, r.u16_le("index")?);
    let length = usize::from(r.u16_le("length")?);
    let data = r.take("data", length)?;
    match &mut device.firmware {
        Some((known, block, _, received)) if *known == image => {
            if received.len() == usize::from(*block) * usize::from(index) {
                received.extend(data);
            }
            Ok(next_block(device))
        }
        _ => Ok(vec![NOT_ALLOWED]),
    }
}

fn next_block(device: &Device) -> Body {
    let next = device.firmware.as_ref().map_or(0, |(_, block, _, got)| got.len().div_ceil(usize::from(*block).max(1)));
    let mut answer = vec![OK];
    answer.extend((next as u16).to_le_bytes());
    answer
}

fn upgrade_activate(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let image = r.u32_le("image")?;
    let _at = clock(r, "at")?;
    Ok(match &device.firmware {
        Some((known, _, crc, received)) if *known == image => vec![OK, u8::from(checksum::crc32(received) != *crc)],
        _ => vec![NOT_ALLOWED],
    })
}

fn archive_add(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let count = r.u8("count")?;
    let mut answer = vec![OK, count];
    for _ in 0..count {
        let index = r.u16_le("index")?;
        device.archive.insert(index, r.array("entry")?);
        answer.extend(index.to_le_bytes());
        answer.push(OK);
    }
    Ok(answer)
}

fn archive_remove(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let count = r.u8("count")?;
    if count == 0 {
        device.archive.clear();
    }
    let mut answer = vec![OK, count];
    for _ in 0..count {
        let address: [u8; 7] = r.array("A7")?;
        let before = device.archive.len();
        device.archive.retain(|_, entry| !entry.starts_with(&address));
        answer.extend(address);
        answer.push(if device.archive.len() < before { OK } else { NOT_ARCHIVED });
    }
    Ok(answer)
}

fn archive_list(device: &Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let (first, max) = (r.u16_le("first")?, r.u8("max")?);
    let page: Vec<_> = device.archive.range(first..).take(usize::from(max)).collect();
    let mut answer = vec![OK];
    answer.extend((device.archive.len() as u16).to_le_bytes());
    answer.push(page.len() as u8);
    for (index, entry) in page {
        answer.extend(index.to_le_bytes());
        answer.extend(entry);
    }
    Ok(answer)
}

fn relay(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let target: [u8; 7] = r.array("A7")?;
    fields::address(&mut Reader::new(&target), "A7")?;
    let [protocol, channel, _timeout] = r.array("relay")?;
    let length = usize::from(r.u16_le("length")?);
    let answer = (device.behind)(target, protocol, r.take("payload", length)?);
    let mut body = vec![if answer.is_some() { OK } else { NO_ANSWER }];
    body.extend(target);
    body.extend([protocol, channel]);
    let payload = answer.unwrap_or_default();
    body.extend((payload.len() as u16).to_le_bytes());
    body.extend(payload);
    Ok(body)
}

fn transparent(device: &mut Device, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let [port, protocol, timeout] = r.array("transparent")?;
    let length = usize::from(r.u16_le("length")?);
    let answer = (device.behind)([0; 7], protocol, r.take("payload", length)?);
    let waited = timeout > 0;
    let mut body = vec![if waited && answer.is_none() { NO_ANSWER } else { OK }];
    let payload = answer.filter(|_| waited).unwrap_or_default();
    body.extend([port, protocol]);
    body.extend((payload.len() as u16).to_le_bytes());
    body.extend(payload);
    Ok(body)
}
