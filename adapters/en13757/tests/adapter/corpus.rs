//! The public corpus of libmbus: every record of every telegram against the expected file, in value, unit, storage number,
//! tariff, subunit and function; the meter's identity and medium. Disagreements have to be listed, with a reason, in
//! `tests/corpus/KNOWN_MISMATCHES`, and a listed one that is gone has to be struck out: the list only shrinks.

use super::xml;
use en13757::En13757;
use polymeter_sdk::{
    Adapter, Admission, Context, Direction, Framing, Message, Quantity, Register, Registration, Report, Role,
    Transport, Unit, civil,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

fn hex_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(Path::new(CORPUS).join(directory))
        .expect("the corpus")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "hex"))
        .collect();
    files.sort();
    files
}

fn telegram(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).expect("hex text");
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).expect("ASCII"), 16).expect("hex")).collect()
}

fn context() -> Context {
    Context {
        now: civil::parse("2024-03-15T00:20:05").expect("a time"),
        direction: Direction::Uplink,
        transport: Transport::Stream,
        admission: Admission::Welcome,
        pending: 0,
        device: None,
        state: Vec::new(),
    }
}

fn adapter() -> En13757 {
    En13757::configure("").expect("the default profile")
}

/// What the expected file says of one record.
struct Expected {
    function: String,
    storage: u32,
    tariff: u16,
    channel: u16,
    unit: String,
    value: String,
}

/// What the adapter says of one telegram, taken apart.
struct Found {
    registration: Option<Registration>,
    address: String,
    report: Report,
    /// Registers of records.
    registers: Vec<Register>,
    /// Values that are no registers.
    kept: Vec<(String, Vec<u8>)>,
    manufacturer: Option<Vec<u8>>,
}

fn found(frame: &[u8]) -> Result<Found, String> {
    let adapter = adapter();
    if adapter.frame(frame) != Framing::Frame(frame.len() as u32) {
        return Err(format!("framing says {:?} of {} bytes", adapter.frame(frame), frame.len()));
    }
    let decoded = adapter.decode(&context(), frame).map_err(|fault| fault.detail)?;
    let mut found = Found {
        registration: None,
        address: decoded.sender.map(|s| s.address).unwrap_or_default(),
        report: Report::new(polymeter_sdk::ReportCause::Other),
        registers: Vec::new(),
        kept: Vec::new(),
        manufacturer: None,
    };
    for message in decoded.messages {
        match message {
            Message::Registration(registration) => found.registration = Some(registration),
            Message::Report(report) => found.report = report,
            Message::Unknown(u) if u.what == "manufacturer-data" => found.manufacturer = Some(u.bytes),
            Message::Unknown(u) if u.what == "configuration-word" || u.what.starts_with("unit of register") => {}
            Message::Unknown(u) => found.kept.push((u.what, u.bytes)),
            other => return Err(format!("not expected: {other:?}")),
        }
    }
    let of_records = |r: &&Register| r.code != 0x7200_0008;
    found.registers = found.report.registers.iter().filter(of_records).copied().collect();
    Ok(found)
}

#[test]
fn every_record_agrees_or_is_listed() {
    let known = known();
    let mut seen = BTreeMap::new();
    let (mut frames, mut agreeing, mut records) = (0, 0, 0);
    let mut failures = Vec::new();
    for path in hex_files("test-frames") {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let norm = fs::read(path.with_extension("norm.xml")).expect("the expected file");
        let norm = String::from_utf8_lossy(&norm).into_owned();
        frames += 1;
        let mut clean = true;
        let mut miss = |record: String, what: String| {
            clean = false;
            let key = format!("{name}#{record}");
            if known.contains_key(&key) {
                seen.insert(key, what);
            } else {
                failures.push(format!("{key}: {what}"));
            }
        };
        match found(&telegram(&path)) {
            Ok(found) => records += compare(&norm, found, &mut miss),
            Err(why) => miss("frame".into(), why),
        }
        agreeing += u32::from(clean);
    }
    println!("{agreeing} of {frames} frames agree fully, {records} records compared, {} known mismatches", seen.len());
    assert!(failures.is_empty(), "{} disagreements\n{}", failures.len(), failures.join("\n"));
    let gone: Vec<_> = known.keys().filter(|key| !seen.contains_key(*key)).collect();
    assert!(gone.is_empty(), "these agree now, strike them out of KNOWN_MISMATCHES: {gone:?}");
    assert!(agreeing * 100 >= frames * 95, "{agreeing} of {frames}");
}

#[test]
fn no_error_frame_decodes_as_a_reading() {
    let adapter = adapter();
    let mut count = 0;
    for path in hex_files("error-frames") {
        count += 1;
        let frame = telegram(&path);
        if let Ok(decoded) = adapter.decode(&context(), &frame) {
            for message in &decoded.messages {
                assert!(matches!(message, Message::Event(_) | Message::Unknown(_)), "{}: {message:?}", path.display());
            }
        }
    }
    assert!(count > 0);
}

/// `frame#record reason`, one a line.
fn known() -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(CORPUS).join("KNOWN_MISMATCHES")).expect("the list");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("##"));
    lines
        .map(|line| {
            let (key, reason) = line.split_once(' ').expect("a reason after the key");
            assert!(reason.trim().len() > 10, "{key}: a reason");
            (key.to_owned(), reason.trim().to_owned())
        })
        .collect()
}

fn compare(norm: &str, mut found: Found, miss: &mut impl FnMut(String, String)) -> usize {
    compare_identity(norm, &found, miss);
    let records: Vec<_> = xml::all(norm, "DataRecord").into_iter().map(expected).collect();
    let mut registers = std::mem::take(&mut found.registers).into_iter().peekable();
    let mut kept = std::mem::take(&mut found.kept).into_iter().peekable();
    for (id, record) in records.iter().enumerate() {
        let mut wrong = |what: String| miss(id.to_string(), what);
        match record.function.as_str() {
            "Manufacturer specific" | "More records follow" => {
                let bytes = found.manufacturer.take().unwrap_or_default();
                let text = bytes.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(" ");
                if text != record.value.split_whitespace().collect::<Vec<_>>().join(" ") {
                    wrong(format!("expected {}, found {text}", record.value));
                }
                let more = record.function.starts_with("More");
                if found.report.more_follows != more {
                    wrong(format!("more follows: expected {more}"));
                }
            }
            // libmbus knows nothing of this record either; it must not be a quantity here.
            "" => drop(registers.next_if(|r| r.quantity == Quantity::Other)),
            _ => {
                let agrees = registers.peek().is_some_and(|r| difference(record, r).is_none());
                let is_kept = kept.peek().is_some_and(|(what, bytes)| is_same_text(record, what, bytes));
                if agrees {
                    registers.next();
                } else if is_kept {
                    kept.next();
                } else if let Some((what, bytes)) = kept.next_if(|(what, _)| !what.starts_with("text:")) {
                    wrong(format!("expected {} {}, kept as {what} {bytes:02x?}", record.value, record.unit));
                } else {
                    let why = registers.next().and_then(|r| difference(record, &r));
                    wrong(why.unwrap_or_else(|| format!("expected {} {}, nothing found", record.value, record.unit)));
                }
            }
        }
    }
    for surplus in registers {
        miss("surplus".into(), format!("{surplus:?}"));
    }
    for surplus in kept {
        miss("surplus".into(), format!("{surplus:?}"));
    }
    if let Some(bytes) = found.manufacturer {
        miss("surplus".into(), format!("manufacturer data {bytes:02x?}"));
    }
    records.len()
}

fn compare_identity(norm: &str, found: &Found, miss: &mut impl FnMut(String, String)) {
    let slave = xml::all(norm, "SlaveInformation")[0];
    let text = |name: &str| xml::one(slave, name).unwrap_or_default();
    let Some(registration) = &found.registration else { return miss("registration".into(), "none".into()) };
    let id =
        if found.address.len() == 8 { &found.address[..] } else { &found.address[found.address.len() - 12..][..8] };
    if id.trim_start_matches('0') != text("Id").trim_start_matches('0') {
        miss("id".into(), format!("expected {}, found {id}", text("Id")));
    }
    let medium = medium(&text("Medium"));
    if registration.model != medium {
        miss("medium".into(), format!("expected {medium}, found {}", registration.model));
    }
    let manufacturer = text("Manufacturer");
    let is_named = manufacturer.bytes().all(|b| b.is_ascii_uppercase());
    if is_named && registration.manufacturer != manufacturer {
        miss("manufacturer".into(), format!("expected {manufacturer}, found {}", registration.manufacturer));
    }
    if format!("{:02X}", found.report.raw_status) != text("Status") {
        miss("status".into(), format!("expected {}, found {:02X}", text("Status"), found.report.raw_status));
    }
    let access = found.report.registers.iter().find(|r| r.code == 0x7200_0008).map(|r| r.mantissa.to_string());
    if access.as_deref() != Some(&text("AccessNumber")) {
        miss("access".into(), format!("expected {}, found {access:?}", text("AccessNumber")));
    }
}

fn expected(record: &str) -> Expected {
    let text = |name: &str| xml::one(record, name).unwrap_or_default();
    let number = |name: &str| text(name).parse().unwrap_or(0);
    Expected {
        function: text("Function"),
        storage: number("StorageNumber"),
        tariff: number("Tariff") as u16,
        channel: number("Device") as u16,
        unit: text("Unit"),
        value: text("Value"),
    }
}

/// What differs; `None` when all agrees.
fn difference(expected: &Expected, found: &Register) -> Option<String> {
    let is_fixed = expected.function == "Actual value" || expected.function == "Stored value";
    let at = (expected.storage, expected.tariff, expected.channel);
    if !is_fixed && at != (found.storage, found.tariff, found.channel) {
        return Some(format!("expected storage, tariff, device {at:?}, found {found:?}"));
    }
    let function = match found.role {
        Role::Maximum => "Maximum value",
        Role::Minimum => "Minimum value",
        Role::AtError => "Value during error state",
        _ => "Instantaneous value",
    };
    if !is_fixed && function != expected.function {
        return Some(format!("expected {}, found {function}", expected.function));
    }
    let (value, unit) = based(found);
    // A historic counter is given as a bare number of the first one's unit, which is litres in the corpus.
    let (value, unit) = if expected.unit.ends_with("historic") { (value * 1000.0, "historic") } else { (value, unit) };
    let (value, unit) = if expected.unit == "l" { (value * 1000.0, "l") } else { (value, unit) };
    if !unit_agrees(&expected.unit, unit) {
        return Some(format!("expected {} {}, found {value} {unit}", expected.value, expected.unit));
    }
    if found.unit == Unit::CivilSecond {
        let text = civil::text(found.mantissa);
        let wanted = expected.value.trim_end_matches('Z');
        let same = text == wanted || (wanted.len() == 10 && text.starts_with(wanted));
        return (!same).then(|| format!("expected {wanted}, found {text}"));
    }
    let Ok(wanted) = expected.value.parse::<f64>() else {
        return Some(format!("expected {}, found {value} {unit}", expected.value));
    };
    // The expected file has six places.
    let same = (wanted - value).abs() <= 5.1e-7_f64.max(wanted.abs() * 1e-12);
    (!same).then(|| format!("expected {wanted} {}, found {value} {unit}", expected.unit))
}

/// A register's value in libmbus' base unit.
fn based(r: &Register) -> (f64, &'static str) {
    let text = format!("{}e{}", r.mantissa, r.exponent);
    let value: f64 = text.parse().expect("a number");
    match r.unit {
        Unit::CubicMetre => (value, "m^3"),
        Unit::Litre => (value / 1000.0, "m^3"),
        Unit::CubicMetrePerHour => (value, "m^3/h"),
        Unit::CubicMetrePerMinute => (value * 60.0, "m^3/h"),
        Unit::CubicMetrePerSecond => (value * 3600.0, "m^3/h"),
        Unit::Kilogram => (value, "kg"),
        Unit::Tonne => (value * 1000.0, "kg"),
        Unit::KilogramPerHour => (value, "kg/h"),
        Unit::WattHour => (value, "Wh"),
        Unit::Joule => (value, "J"),
        Unit::Watt => (value, "W"),
        Unit::JoulePerHour => (value, "J/h"),
        Unit::DegreeCelsius => (value, "°C"),
        Unit::DegreeFahrenheit => (value, "°F"),
        Unit::Kelvin => (value, "K"),
        Unit::Bar => (value, "bar"),
        Unit::Volt => (value, "V"),
        Unit::Ampere => (value, "A"),
        Unit::Second => (value, "s"),
        Unit::Minute => (value * 60.0, "s"),
        Unit::Hour => (value * 3600.0, "s"),
        Unit::Day => (value * 86_400.0, "s"),
        Unit::Percent => (value, "%"),
        _ => (value, ""),
    }
}

/// Where libmbus gives no unit, there is none that it knows; degrees are damaged in some files.
fn unit_agrees(expected: &str, found: &str) -> bool {
    match expected {
        "" | "-" | "Reserved" | "Units for H.C.A." => found.is_empty() || found == "%",
        "reserved but historic" => found == "historic",
        _ if expected.ends_with("°C") || expected.ends_with('C') => found == "°C",
        _ if expected.ends_with("°F") => found == "°F",
        _ => found == expected,
    }
}

/// Text, a binary of more than 64 bits as hex, or a date that is none as libmbus prints it.
fn is_same_text(expected: &Expected, what: &str, bytes: &[u8]) -> bool {
    if what.starts_with("text:") {
        let latin: String = bytes.iter().map(|b| char::from(*b)).collect();
        return latin.trim() == expected.value.trim();
    }
    if what == "record-without-data" {
        return expected.value.trim().is_empty();
    }
    if what == "no-such-time" {
        return impossible_date(bytes).is_some_and(|date| expected.value.starts_with(&date));
    }
    let hex = expected.value.split_whitespace().collect::<String>();
    let found: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
    let turned: String = bytes.iter().rev().map(|b| format!("{b:02X}")).collect();
    hex.len() > 16 && (found.ends_with(&hex) || turned.starts_with(&hex))
}

/// The fields of a date that is none, as libmbus prints them: the last two bytes of a record, before the week number of type I.
fn impossible_date(record: &[u8]) -> Option<String> {
    let (day, month) = match record {
        [.., day, month, _] if record.len() >= 8 && record[0] & 15 == 6 => (day, month),
        [.., day, month] => (day, month),
        _ => return None,
    };
    let year = 2000 + u16::from(day >> 5 | month >> 4 << 3);
    Some(format!("{year:04}-{:02}-{:02}", month & 15, day & 31))
}

/// Our name of a medium as libmbus names it.
fn medium(name: &str) -> &'static str {
    match name {
        "Other" => "other",
        "Oil" => "oil",
        "Electricity" => "electricity",
        "Gas" => "gas",
        "Heat: Outlet" => "heat-outlet",
        "Steam" => "steam",
        "Water" => "water",
        "Heat Cost Allocator" => "heat-cost-allocator",
        "Compressed Air" => "compressed-air",
        "Cooling load meter: Outlet" => "cooling-outlet",
        "Cooling load meter: Inlet" => "cooling-inlet",
        "Heat: Inlet" => "heat-inlet",
        "Heat / Cooling load meter" => "heat-cooling",
        "Bus/System" => "bus-system",
        "Unknown Medium" => "unknown",
        "Irrigation Water" => "irrigation-water",
        "Water Logger" => "water-logger",
        "Gas Logger" => "gas-logger",
        "Gas Converter" => "gas-converter",
        "Calorific value" => "calorific-value",
        "Cold water" => "cold-water",
        "Dual water" => "dual-register-water",
        "Pressure" => "pressure",
        "A/D Converter" => "ad-converter",
        "Smoke Detector" => "smoke-detector",
        "Ambient Sensor" => "room-sensor",
        "Gas Detector" => "gas-detector",
        "Breaker: Electricity" => "breaker-electricity",
        "Valve: Gas or Water" => "valve",
        "Customer Unit: Display Device" => "customer-display",
        "Waste Water" => "waste-water",
        "Waste" => "garbage",
        _ if name.starts_with("Warm water") => "warm-water",
        _ if name.starts_with("Hot water") => "hot-water",
        _ => "?",
    }
}
