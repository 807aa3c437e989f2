//! The model mirrors the contract: same names, same order. Translation by position rests on that.

use crate::model;
use std::collections::BTreeMap;

const WIT: [&str; 2] = [include_str!("../../../../wit/types.wit"), include_str!("../../../../wit/commands.wit")];

/// Names of every `enum` and `flags` block, by the block's name.
fn blocks() -> BTreeMap<String, Vec<String>> {
    let mut blocks = BTreeMap::new();
    for text in WIT {
        let bare: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        for (start, _) in bare.match_indices("enum ").chain(bare.match_indices("flags ")) {
            let Some((head, rest)) = bare[start..].split_once('{') else { continue };
            let Some((body, _)) = rest.split_once('}') else { continue };
            let name = head.split_whitespace().last().unwrap_or_default().to_owned();
            let names = body.split(',').map(|word| word.trim().trim_start_matches('%').to_owned());
            blocks.insert(name, names.filter(|word| !word.is_empty()).collect());
        }
    }
    blocks
}

#[test]
fn closed_sets_agree_with_the_contract() {
    let blocks = blocks();
    let mut checked = 0;
    macro_rules! agree {
        ($($name:literal => $model:ident),+ $(,)?) => {$(
            let ours: Vec<_> = model::$model::ALL.iter().map(|value| value.name()).collect();
            assert_eq!(blocks.get($name).expect($name), &ours, $name);
            checked += 1;
        )+};
    }
    agree! {
        "quantity" => Quantity, "unit" => Unit, "role" => Role, "quality" => Quality,
        "valve-state" => ValveState, "initiator" => Initiator, "report-cause" => ReportCause,
        "device-kind" => DeviceKind, "report-period" => ReportPeriod, "outcome" => Outcome,
        "read-scope" => ReadScope, "interval" => Interval, "valve-order" => ValveOrder,
        "endpoint-transport" => EndpointTransport, "key-cipher" => KeyCipher, "tariff-cycle" => TariffCycle,
        "balance-level" => BalanceLevel, "end-reason" => EndReason,
    }
    assert_eq!(blocks["capabilities"], model::Capabilities::NAMES);
    assert_eq!(checked + 1, blocks.len(), "a closed set of the contract has no test: {:?}", blocks.keys());
}

/// Whoever writes an adapter has nothing but these lines.
#[test]
fn every_field_and_case_says_what_it_is() {
    let rest = [include_str!("../../../../wit/adapter.wit"), include_str!("../../../../wit/keys.wit")];
    let mut told = 0;
    for text in WIT.into_iter().chain(rest) {
        let (mut inside, mut before) = (false, "");
        for line in text.lines().map(str::trim) {
            if line.starts_with("record ") || line.starts_with("variant ") {
                assert!(line.ends_with('{'), "one field a line: {line}");
                inside = true;
            } else if line == "}" {
                inside = false;
            } else if inside && !line.starts_with("///") {
                assert!(before.starts_with("///") && line.matches(',').count() == 1, "{line} has no line of its own");
                told += 1;
            }
            before = line;
        }
    }
    assert!(told > 100, "{told} fields and cases");
}

/// What the bound of an entry counts with.
#[test]
fn no_value_takes_more_in_an_entry_than_is_counted_for_it() {
    use crate::journal::messages_bytes;
    use crate::limits::{CIVIL_MIN, MESSAGE_HEAD_BYTES, NAMED_BYTES_MAX, VALUE_BYTES_MAX};
    use model::{Civil, Message, Register, Report, Sample, Series};
    let register = Register {
        quantity: model::Quantity::ALL[model::Quantity::ALL.len() - 1],
        unit: model::Unit::ALL[model::Unit::ALL.len() - 1],
        role: model::Role::ALL[model::Role::ALL.len() - 1],
        quality: model::Quality::ALL[model::Quality::ALL.len() - 1],
        exponent: -18,
        mantissa: i64::MIN,
        at: Some(Civil(CIVIL_MIN)),
        storage: u32::MAX,
        tariff: u16::MAX,
        channel: u16::MAX,
        code: u32::MAX,
    };
    let sample = Sample { at: Civil(CIVIL_MIN), mantissa: i64::MIN };
    let series = Series {
        quantity: register.quantity,
        unit: register.unit,
        role: register.role,
        exponent: -18,
        storage: u32::MAX,
        tariff: u16::MAX,
        channel: u16::MAX,
        code: u32::MAX,
        samples: vec![sample; 10],
    };
    let report = |registers: usize, of_series: usize| {
        Message::Report(Report {
            subject: None,
            cause: model::ReportCause::Other,
            at: Some(Civil(CIVIL_MIN)),
            registers: vec![register.clone(); registers],
            series: vec![series.clone(); of_series],
            valve: None,
            alarms: Vec::new(),
            raw_status: u64::MAX,
            more_follows: false,
        })
    };
    assert!(messages_bytes(&[report(0, 0)]) <= MESSAGE_HEAD_BYTES);
    assert!(messages_bytes(&[report(100, 0)]) <= MESSAGE_HEAD_BYTES + 100 * VALUE_BYTES_MAX);
    assert!(messages_bytes(&[report(0, 10)]) <= MESSAGE_HEAD_BYTES + 10 * 11 * VALUE_BYTES_MAX);
    // A device of the longest name that is called by one letter.
    let of = |subject: &str| {
        let mut message = report(1, 1);
        message.report_mut().expect("a report").subject = Some(subject.to_owned());
        messages_bytes(&[message])
    };
    let longest = model::DeviceKey::new(&"r".repeat(32), &"a".repeat(32)).expect("a key");
    assert_eq!(of(longest.as_str()) - of("7"), NAMED_BYTES_MAX);
}
