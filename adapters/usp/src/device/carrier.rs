//! What a concentrator or DTU does besides being a terminal (USP/1 §F, 4061 to 4071): an archive of meters, and frames handed through to
//! them. Also the bodies that only they send.

use super::SubMeter;
use crate::fields;
use crate::frame::message;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, civil};
use std::collections::BTreeMap;

/// A meter behind a concentrator or DTU: address (zeros at a DTU), sub-protocol, payload; `None` is silence.
pub type Behind = Box<dyn FnMut([u8; 7], u8, &[u8]) -> Option<Vec<u8>> + Send>;
/// An archive entry as 4061 brings it, without its index: 11 bytes.
type Archived = [u8; 11];
type Body = Vec<u8>;

const OK: u8 = 0x00;
const MALFORMED: u8 = 0x01;
const NO_ANSWER: u8 = 0x09;
const NOT_ARCHIVED: u8 = 0x0A;

pub struct Carrier {
    pub behind: Behind,
    archive: BTreeMap<u16, Archived>,
}

impl Default for Carrier {
    fn default() -> Self {
        Self { behind: Box::new(|_, _, _| None), archive: BTreeMap::new() }
    }
}

impl Carrier {
    /// Whether this is an order for a carrier.
    pub const fn knows(number: u16) -> bool {
        matches!(
            number,
            message::ARCHIVE_ADD
                | message::ARCHIVE_REMOVE
                | message::ARCHIVE_LIST
                | message::RELAY
                | message::TRANSPARENT
        )
    }

    /// The answer's body with its result; `None`: no order for a carrier.
    pub fn carry_out(&mut self, number: u16, body: &[u8]) -> Option<Body> {
        let mut r = Reader::new(body);
        let answer = match number {
            message::ARCHIVE_ADD => archive_add(self, &mut r),
            message::ARCHIVE_REMOVE => archive_remove(self, &mut r),
            message::ARCHIVE_LIST => archive_list(self, &mut r),
            message::RELAY => relay(self, &mut r),
            message::TRANSPARENT => transparent(self, &mut r),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|_| vec![MALFORMED]))
    }
}

/// 4066.
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

/// 4071, unasked.
pub fn unsolicited(port: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![port, protocol, 0];
    body.extend((payload.len() as u16).to_le_bytes());
    body.extend(payload);
    body
}

/// Outside 2000..=2099: unset.
fn t6(at: Civil) -> [u8; 6] {
    civil::to_bcd6(at).unwrap_or_default()
}

fn archive_add(carrier: &mut Carrier, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let count = r.u8("count")?;
    let mut answer = vec![OK, count];
    for _ in 0..count {
        let index = r.u16_le("index")?;
        carrier.archive.insert(index, r.array("entry")?);
        answer.extend(index.to_le_bytes());
        answer.push(OK);
    }
    Ok(answer)
}

fn archive_remove(carrier: &mut Carrier, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let count = r.u8("count")?;
    if count == 0 {
        carrier.archive.clear();
    }
    let mut answer = vec![OK, count];
    for _ in 0..count {
        let address: [u8; 7] = r.array("A7")?;
        let before = carrier.archive.len();
        carrier.archive.retain(|_, entry| !entry.starts_with(&address));
        answer.extend(address);
        answer.push(if carrier.archive.len() < before { OK } else { NOT_ARCHIVED });
    }
    Ok(answer)
}

fn archive_list(carrier: &Carrier, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let (first, max) = (r.u16_le("first")?, r.u8("max")?);
    let page: Vec<_> = carrier.archive.range(first..).take(usize::from(max)).collect();
    let mut answer = vec![OK];
    answer.extend((carrier.archive.len() as u16).to_le_bytes());
    answer.push(page.len() as u8);
    for (index, entry) in page {
        answer.extend(index.to_le_bytes());
        answer.extend(entry);
    }
    Ok(answer)
}

fn relay(carrier: &mut Carrier, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let target: [u8; 7] = r.array("A7")?;
    fields::address(&mut Reader::new(&target), "A7")?;
    let [protocol, channel, _timeout] = r.array("relay")?;
    let length = usize::from(r.u16_le("length")?);
    let answer = (carrier.behind)(target, protocol, r.take("payload", length)?);
    let mut body = vec![if answer.is_some() { OK } else { NO_ANSWER }];
    body.extend(target);
    body.extend([protocol, channel]);
    let payload = answer.unwrap_or_default();
    body.extend((payload.len() as u16).to_le_bytes());
    body.extend(payload);
    Ok(body)
}

fn transparent(carrier: &mut Carrier, r: &mut Reader<'_>) -> Result<Body, FieldError> {
    let [port, protocol, timeout] = r.array("transparent")?;
    let length = usize::from(r.u16_le("length")?);
    let answer = (carrier.behind)([0; 7], protocol, r.take("payload", length)?);
    let waited = timeout > 0;
    let mut body = vec![if waited && answer.is_none() { NO_ANSWER } else { OK }];
    let payload = answer.filter(|_| waited).unwrap_or_default();
    body.extend([port, protocol]);
    body.extend((payload.len() as u16).to_le_bytes());
    body.extend(payload);
    Ok(body)
}
