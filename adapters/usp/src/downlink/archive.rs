//! 4061 add, 4062 remove, 4063 list: the meters that a concentrator collects from.

use super::{Order, Rest};
use crate::fields::{address_bytes, fit};
use crate::frame::{Header, flags, message};
use crate::memory::Memory;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    AnswerBody, ArchiveEntry, ArchivePage, ArchiveRange, Fault, Message, Outcome, Parameter, ParameterValue, bcd,
};

const BAUDS: [u32; 6] = [300, 600, 1200, 2400, 4800, 9600];
const FORMATS: [&str; 3] = ["8N1", "8E1", "8O1"];
const ENTRY_BYTES: usize = 13;
/// Entries in a sealed body.
const ENTRIES_MAX: i64 = 77;

// 4061, a count and so many of:
// | Off | Size | Field                       |
// |   0 |    2 | index                       |
// |   2 |    7 | A7                          |
// |   9 |    1 | sub-protocol                |
// |  10 |    1 | channel                     |
// |  11 |    1 | baud, 0..5                  |
// |  12 |    1 | format, 0 8N1, 1 8E1, 2 8O1 |
pub fn add(entries: &[ArchiveEntry]) -> Result<Order, Fault> {
    let mut body = vec![count(entries.len())?];
    for entry in entries {
        body.extend_from_slice(&entry.index.to_le_bytes());
        body.extend_from_slice(&address_bytes("address", &entry.address)?);
        body.push(
            names::protocol_code(&entry.protocol)
                .ok_or_else(|| Fault::out_of_range("protocol", &entry.protocol, "a code of `wit/codes.md`"))?,
        );
        body.push(entry.channel);
        body.push(position(&BAUDS, &entry.baud).ok_or_else(|| Fault::out_of_range("baud", entry.baud, "300..=9600"))?);
        body.push(
            position(&FORMATS, &entry.format.as_str())
                .ok_or_else(|| Fault::out_of_range("format", &entry.format, "8N1, 8E1, 8O1"))?,
        );
    }
    Ok(Order::new(message::ARCHIVE_ADD, body))
}

// 4062: count (0 = all), A7 each.
pub fn remove(addresses: &[String]) -> Result<Order, Fault> {
    let mut body = vec![count(addresses.len())?];
    for address in addresses {
        body.extend_from_slice(&address_bytes("address", address)?);
    }
    Ok(Order::new(message::ARCHIVE_REMOVE, body))
}

// 4063: first index 2, count 1.
pub fn list(range: ArchiveRange) -> Order {
    let [low, high] = range.first.to_le_bytes();
    Order::new(message::ARCHIVE_LIST, vec![low, high, range.count])
}

/// How many entries the order named that is answered here; 0: not known, or all.
pub fn ordered(header: &Header, memory: &Memory) -> usize {
    let whole = header.flags & flags::MORE == 0;
    let order = memory.archive_order.filter(|(sequence, _)| whole && *sequence == header.sequence);
    order.map_or(0, |(_, entries)| usize::from(entries))
}

/// Count, then so many of: index u16, result u8.
pub fn added(r: &mut Reader<'_>, ordered: usize) -> Result<Rest, FieldError> {
    results(r, ordered, |r| Ok(r.u16_le("index")?.to_string()))
}

/// Count, then so many of: A7, result u8.
pub fn removed(r: &mut Reader<'_>, ordered: usize) -> Result<Rest, FieldError> {
    results(r, ordered, |r| {
        let address: [u8; 7] = r.array("A7")?;
        Ok(bcd::digits(&address).unwrap_or_else(|| address.iter().map(|byte| format!("{byte:02x}")).collect()))
    })
}

/// What became of each entry. It is done when all that were ordered are; what failed for all of them is the command's failure.
fn results(
    r: &mut Reader<'_>,
    ordered: usize,
    entry: impl Fn(&mut Reader<'_>) -> Result<String, FieldError>,
) -> Result<Rest, FieldError> {
    let count = usize::from(r.u8("entry count")?);
    let (mut told, mut distinct, mut done, mut failure) = (Vec::with_capacity(count), 0, 0, None);
    for _ in 0..count {
        let (entry, result) = (entry(r)?, r.u8("entry result")?);
        let said = names::outcome(result);
        let value = match said {
            (Outcome::Done, _) => ParameterValue::Text("done".into()),
            (Outcome::Other, _) => ParameterValue::Integer(i64::from(result)),
            (_, reason) => ParameterValue::Text(reason.into()),
        };
        if result == names::result::OK {
            done += 1;
        } else {
            failure = failure.or(Some(said));
        }
        let name = format!("entry-{entry}");
        // Said twice it is one entry all the same.
        distinct += usize::from(!told.iter().any(|known: &Parameter| known.name == name));
        told.push(Parameter { name, value });
    }
    let outcome = match failure {
        None if distinct >= ordered => None,
        Some(failure) if done == 0 && distinct >= ordered => Some(failure),
        _ => Some((Outcome::Failed, "incomplete")),
    };
    Ok(Rest { outcome, ..AnswerBody::Parameters(told).into() })
}

/// Total u16, count u8, entries as in 4061. One that is odd is told by what can be read of it; all odd ones are kept, in one
/// piece.
pub fn page(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let total = u32::from(r.u16_le("total")?);
    let count = r.u8("entry count")?;
    let (mut entries, mut odd) = (Vec::with_capacity(usize::from(count)), Vec::new());
    for _ in 0..count {
        let raw: [u8; ENTRY_BYTES] = r.array("archive entry")?;
        let (entry, is_sound) = entry(raw);
        entries.push(entry);
        if !is_sound {
            odd.extend_from_slice(&raw);
        }
    }
    let beside = (!odd.is_empty()).then(|| Message::unknown("odd archive entries", &odd));
    Ok(Rest { beside, ..AnswerBody::Archive(ArchivePage { total, entries }).into() })
}

/// Whether its address, baud rate and format are such, too. A baud rate of 0 says that they are not.
fn entry(raw: [u8; ENTRY_BYTES]) -> (ArchiveEntry, bool) {
    let [low, high, address @ .., protocol, channel, baud, format] = raw;
    let digits = bcd::digits(&address);
    let (baud, format) = (BAUDS.get(usize::from(baud)), FORMATS.get(usize::from(format)));
    let is_sound = digits.is_some() && baud.is_some() && format.is_some();
    let entry = ArchiveEntry {
        index: u16::from_le_bytes([low, high]),
        address: digits.unwrap_or_else(|| address.iter().map(|byte| format!("{byte:02X}")).collect()),
        protocol: names::protocol(protocol),
        channel,
        baud: baud.copied().filter(|_| is_sound).unwrap_or_default(),
        format: format.copied().unwrap_or_default().into(),
    };
    (entry, is_sound)
}

fn count(entries: usize) -> Result<u8, Fault> {
    let entries = entries as i64;
    if entries > ENTRIES_MAX {
        return Err(Fault::out_of_range("entries", entries, "up to 77 in one command"));
    }
    fit("entries", entries, "up to 77 in one command")
}

fn position<T: PartialEq>(list: &[T], value: &T) -> Option<u8> {
    list.iter().position(|known| known == value).map(|at| at as u8)
}
