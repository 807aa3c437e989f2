//! The past, from records by index: the newest first, each with its own time, several in a request. Every answer is told at once
//! and followed by the next request, until a record is older than what was wanted.

use crate::clock::{self, Told};
use crate::image::Image;
use crate::map::{Archive, Place};
use crate::options::Profile;
use crate::plan::Block;
use crate::report::{self, Value};
use crate::session::{Session, Task};
use polymeter_sdk::{Answer, AnswerBody, Fault, History, Message, Outcome, Report, ReportCause, Sample, Series, civil};

/// Begins; gives how many requests it may take.
pub fn begin(profile: &Profile, session: &mut Session, bus: u8, wanted: &History) -> Result<u16, Fault> {
    let Some(archive) = &profile.map.archive else { return Err(Fault::unsupported("the map has no archive")) };
    if wanted.interval != archive.interval {
        return Err(Fault::unsupported(
            format!("the map's archive keeps one record a {:?}", archive.interval).to_lowercase(),
        ));
    }
    if wanted.first > wanted.last {
        return Err(Fault::out_of_range("last", civil::text(wanted.last), "a time not before `first`"));
    }
    session.begin(Task::Archive, bus);
    (session.first, session.last) = (wanted.first, wanted.last);
    session.ask(block(archive, 0, 0));
    Ok(requests(archive))
}

fn requests(archive: &Archive) -> u16 {
    let (mut requests, mut record, mut before) = (0, 0, 0);
    while record < archive.records {
        before = block(archive, record, before).count;
        record += before / archive.place.registers;
        requests += 1;
    }
    requests
}

/// As many records from this one on as fit, but another count of registers than the request before: an answer does not say
/// which registers it has. A single record then gets a register more, of the next one or of the one before.
fn block(archive: &Archive, record: u16, before: u16) -> Block {
    let place = archive.place;
    let records = archive.records_each.min(archive.records - record);
    let mut block = Block {
        bus: place.bus,
        function: place.function,
        first: place.register + record * place.registers,
        count: records * place.registers,
    };
    if block.count == before && records > 1 {
        block.count -= place.registers;
    } else if block.count == before && archive.has_room {
        block.count += 1;
        block.first -= u16::from(record + 1 == archive.records);
    }
    block
}

/// What an answer brought; asks for more where the range goes on.
pub fn tell(archive: &Archive, session: &mut Session) -> Vec<Message> {
    let image = std::mem::take(&mut session.image.bytes);
    let image = Image { bytes: image, bus: session.image.bus };
    let asked = image.pieces().last().map_or(0, |(_, _, _, data)| data.len() / 2) as u16;
    let records = (asked / archive.place.registers).min(archive.records.saturating_sub(session.record));
    let mut report = Report::new(ReportCause::OnDemand);
    report.series = archive
        .items
        .iter()
        .map(|item| {
            let exponent = item.exponent - item.fraction.as_ref().map_or(item.number.decimals, |f| f.decimals) as i8;
            let mut series = Series::new(item.quantity, item.unit, item.role, exponent, Vec::new());
            (series.storage, series.tariff, series.channel) = (item.storage, item.tariff, item.channel);
            series.code = u32::from(archive.place.function) << 16 | u32::from(item.number.place.register);
            series
        })
        .collect();
    let mut kept = Vec::new();
    let mut is_over = session.record + records >= archive.records;
    for record in session.record..session.record + records {
        let base = archive.place.register + record * archive.place.registers;
        let here = |place: Place| Place {
            register: base + place.register,
            bus: archive.place.bus,
            function: archive.place.function,
            ..place
        };
        let Some(wire) = image.get(here(archive.clock.place)) else { continue };
        match clock::read(&archive.clock, wire) {
            Told::Is(at) if at < session.first => is_over = true,
            Told::Is(at) if at > session.last => {}
            Told::Is(at) => {
                session.told = session.told.saturating_add(1);
                for (item, series) in archive.items.iter().zip(&mut report.series) {
                    let moved = |n: &crate::map::Number| crate::map::Number { place: here(n.place), ..n.clone() };
                    match report::value_of(
                        &moved(&item.number),
                        item.fraction.as_ref().map(moved).as_ref(),
                        item,
                        &image,
                    ) {
                        Some(Value::Is(mantissa, _)) => series.samples.push(Sample { at, mantissa }),
                        _ => kept.push(Message::unknown(
                            format!("no value in record {record}"),
                            image.get(here(item.number.place)).unwrap_or_default(),
                        )),
                    }
                }
            }
            // A record that was never written: neither were those before it.
            Told::Unset => is_over = true,
            Told::Nonsense => {
                let whole = Place { register: base, ..archive.place };
                kept.push(Message::unknown(
                    format!("record {record} without a time"),
                    image.get(whole).unwrap_or_default(),
                ));
            }
        }
        if is_over && session.record + records < archive.records {
            break;
        }
    }
    session.record += records;
    report.series.retain(|s| !s.samples.is_empty());
    let mut answer = Answer::new(session.correlation(), Outcome::Done);
    if !is_over {
        session.ask(block(archive, session.record, asked));
        answer.more_follows = true;
    } else if session.told == 0 {
        answer.reason = "no-data".into();
    }
    if !report.series.is_empty() {
        answer.body = AnswerBody::Report(report);
    }
    let mut messages = vec![answer.into()];
    messages.extend(kept);
    messages
}
