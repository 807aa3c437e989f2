//! Random and mutated bytes: whatever comes, the adapter returns, and what it returns is within the contract's bounds.
//!
//! `FUZZ_CASES` and `FUZZ_SEED` change the run; the seed is printed, so that a failure can be had again.

use super::station::NOW;
use cjt188::Cjt188;
use cjt188::device::{Dialect, Meter};
use polymeter_sdk::rehearsal;
use polymeter_sdk::{
    Adapter, Admission, AnswerBody, Command, Context, Decoded, Device, Direction, Framing, History, Interval, Message,
    Parameter, ParameterValue, Recharge, Report, Tariff, TariffCycle, Transport, Valve, ValveOrder,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CASES: u64 = 100_000;
const SEED: u64 = 0x0188_901F;
const ADDRESS: &str = "00052032720001";
/// Every identifier that means something, and some that do not.
const IDENTIFIERS: [u16; 28] = [
    0x901F, 0x911F, 0x907F, 0x8515, 0x8102, 0x8103, 0x8104, 0x8105, 0x8106, 0x810A, 0xD120, 0xD12B, 0xD12C, 0xD200,
    0xD2FF, 0xD300, 0xD4FF, 0x903F, 0x904F, 0x913F, 0x918F, 0xA010, 0xA015, 0xA017, 0xA018, 0xFF00, 0x0000, 0x1F90,
];
const CONTROLS: [u8; 14] = [0x81, 0x83, 0x84, 0x89, 0x95, 0x96, 0xC1, 0xC4, 0xA1, 0xA4, 0xB1, 0xAA, 0x01, 0xE1];
const TYPES: [u8; 8] = [0x10, 0x11, 0x20, 0x21, 0x22, 0x30, 0x39, 0x40];
const LENGTHS: [usize; 14] = [0, 1, 2, 5, 6, 7, 15, 17, 19, 20, 23, 24, 43, 59];
const PROFILES: [&str; 7] = [
    "{}",
    r#"{"edition": "2018", "status_layout": "split", "ser_echo": "required", "settlement_day": 28}"#,
    r#"{"di_order": "be", "unit_place": "before", "datetime": "bin", "gas_volume": "standard"}"#,
    r#"{"status_layout": "high", "reading_layout": "full20", "default_unit": "2B", "prefix": "68"}"#,
    r#"{"status_layout": "inverted", "error_status": "status", "history": "module", "wrapper": "aimeitong"}"#,
    r#"{"status_layout": "reading-fault", "ser": 255, "vendor_in_address": true, "pressure": "megapascal"}"#,
    r#"{"status_layout": "low-moving", "edition": "2018", "prefix": "fefe", "preamble": 0}"#,
];

#[test]
fn nothing_panics_and_every_bound_holds() {
    let (cases, seed) = rehearsal::cases_and_seed(CASES, SEED);
    let mut rng = StdRng::seed_from_u64(seed);
    let adapters = PROFILES.map(|profile| Cjt188::configure(profile).expect("the profile is valid"));
    for case in 0..cases {
        let adapter = &adapters[rng.random_range(0..adapters.len())];
        let bytes = some_bytes(&mut rng);
        let context = some_context(&mut rng);
        look(adapter, &context, &bytes, case);
        // A datagram is decoded as it is, whatever framing says.
        if let Ok(decoded) = adapter.decode(&context, &bytes) {
            bounded(&decoded, &bytes, case);
        }
    }
}

/// Numbers at their ends, in every field of every command: a typed refusal or a frame, never an overflow.
#[test]
fn commands_with_extreme_numbers_are_refused_or_said() {
    let adapters = PROFILES.map(|profile| {
        let open = r#""remote_open": "open", "close_temporary": "close", "commissioning": "allow""#;
        let inner = profile.trim_start_matches('{').trim_end_matches('}');
        let more = if inner.is_empty() { format!("{{{open}}}") } else { format!("{{{inner}, {open}}}") };
        Cjt188::configure(&more).expect("the profile is valid")
    });
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..100 {
        let mut context = some_context(&mut rng);
        let address = if rng.random() { ADDRESS.to_owned() } else { "9".repeat(rng.random_range(0..20)) };
        context.device = Some(Device { address, memory: Vec::new() });
        for value in [i64::MIN, i64::MIN + 1, -1, 0, 1, 99, NOW, 4_294_967_295, 4_294_967_296, i64::MAX - 1, i64::MAX] {
            for command in commands_around(value) {
                for adapter in &adapters {
                    if let Ok(encoded) = adapter.encode(&context, &command) {
                        assert!(encoded.frames.len() <= 1 && encoded.correlation.len() <= 32, "{command:?}");
                        for frame in &encoded.frames {
                            assert_eq!(adapter.frame(frame), Framing::Frame(frame.len() as u32), "{command:?}");
                        }
                    }
                }
            }
        }
    }
}

fn commands_around(value: i64) -> Vec<Command> {
    let small = value as u32;
    let valve = |order| Valve { order, order_id: small, valid_until: value, reason: String::new() };
    let history = |interval, first, last| Command::ReadHistory(History { interval, first, last });
    let parameter = |name: &str, value| Command::SetParameters(vec![Parameter { name: name.into(), value }]);
    let tariff = |effective, limit, price| {
        Command::SetTariff(Tariff {
            plan: 0,
            effective,
            on_meter: true,
            cycle: TariffCycle::Month,
            cycle_start: value,
            limits: vec![limit; 2],
            prices: vec![price; 3],
        })
    };
    vec![
        Command::Valve(valve(ValveOrder::PermitOpen)),
        Command::Valve(valve(ValveOrder::CloseTemporary)),
        Command::Valve(valve(ValveOrder::CloseForced)),
        Command::SetClock(value),
        history(Interval::Month, value, NOW),
        history(Interval::Month, NOW - 86_400 * 40, value),
        history(Interval::Day, value, value),
        history(Interval::Day, NOW - 86_400 * 3, value),
        Command::Recharge(Recharge {
            order_id: small,
            purchase_count: value as u16,
            amount: value,
            volume: 0,
            purchased_total: value,
        }),
        tariff(value, 0, 100),
        tariff(1_711_929_600, small, 100),
        tariff(1_711_929_600, 100, small),
        parameter("settlement-day", ParameterValue::Integer(value)),
        parameter("base-reading", ParameterValue::Integer(value)),
        parameter("address", ParameterValue::Text(value.to_string())),
        Command::ReadParameters(vec![format!("0x{:04x}", value as u16)]),
    ]
}

fn look(adapter: &Cjt188, context: &Context, bytes: &[u8], case: u64) {
    let Some(frame) = rehearsal::cut(adapter, bytes, 13, 268, case) else { return };
    if let Ok(decoded) = adapter.decode(context, frame) {
        bounded(&decoded, frame, case);
    }
}

fn bounded(decoded: &Decoded, frame: &[u8], case: u64) {
    assert!(decoded.sender.as_ref().is_none_or(|s| s.address.len() == 14), "case {case}");
    assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
    assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "case {case}");
    assert!(decoded.reply.as_ref().is_none_or(|r| !r.is_empty() && r.len() <= 64), "case {case}");
    assert!(decoded.messages.len() <= 70, "case {case}: {} messages", decoded.messages.len());
    let report = |r: &Report| {
        assert!(r.registers.iter().all(|r| (-18..=18).contains(&r.exponent) && r.mantissa >= 0), "case {case}");
        let is_code = |c: &String| c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(r.alarms.iter().all(is_code), "case {case}");
    };
    for message in &decoded.messages {
        match message {
            Message::Answer(answer) => {
                assert_eq!(answer.correlation.len(), 4, "case {case}");
                if let AnswerBody::Report(r) = &answer.body {
                    report(r);
                }
            }
            Message::Unknown(u) => assert!(u.bytes.len() <= frame.len().max(2048) && u.what.len() <= 64, "case {case}"),
            Message::Registration(_) => {}
            other => panic!("case {case}: {other:?}"),
        }
    }
}

/// Random bytes, damaged frames, and whole frames with right sums around random operands.
fn some_bytes(rng: &mut StdRng) -> Vec<u8> {
    let dialects = [Dialect::default(), Dialect::gas_module(), Dialect::gas_behind_dtu(), Dialect::sc_water()];
    let dialect = dialects[rng.random_range(0..dialects.len())].clone();
    let (preamble, prefix) = (dialect.preamble, dialect.prefix.len());
    let meter = Meter::new(ADDRESS, TYPES[rng.random_range(0..TYPES.len())], dialect);
    if rng.random_ratio(1, 6) {
        let mut bytes = vec![0; rng.random_range(1..300)];
        rng.fill(&mut bytes[..]);
        bytes[0] = if rng.random() { 0x68 } else { bytes[0] };
        return bytes;
    }
    let length =
        if rng.random_ratio(3, 4) { LENGTHS[rng.random_range(0..LENGTHS.len())] } else { rng.random_range(0..252) };
    let mut operands = vec![0; length];
    rng.fill(&mut operands[..]);
    if rng.random_ratio(3, 4) {
        // Mostly digits and units, so that the parsers get past the first field.
        for (i, b) in operands.iter_mut().enumerate() {
            *b = match rng.random_range(0..20) {
                0 => 0xFF,
                1 => *b,
                2..=6 if i % 5 == 4 => [0x2C, 0x05, 0x17, 0x35][rng.random_range(0..4)],
                _ => (rng.random_range(0..10) << 4) | rng.random_range(0..10),
            };
        }
    }
    let di = IDENTIFIERS[rng.random_range(0..IDENTIFIERS.len())].to_le_bytes();
    let data = [&di[..], &[rng.random_range(0..4)], &operands].concat();
    let data = if rng.random_ratio(1, 20) { data[..rng.random_range(0..4)].to_vec() } else { data };
    let mut bytes = meter.send(CONTROLS[rng.random_range(0..CONTROLS.len())], &data);
    match rng.random_range(0..8) {
        0 => bytes.truncate(rng.random_range(1..=bytes.len())),
        1 => bytes = [&bytes[..], &bytes].concat(),
        2 => {
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
        // Damage that the sum does not show: the parsers behind it have to stand it.
        3 => {
            let (start, end) = (preamble + prefix, bytes.len() - 2);
            bytes[rng.random_range(start..end)] = rng.random();
            bytes[end] = polymeter_sdk::checksum::sum8(&bytes[start..end]);
        }
        _ => {}
    }
    bytes
}

fn some_context(rng: &mut StdRng) -> Context {
    let mut some = |max: usize| {
        let mut bytes = vec![0; rng.random_range(0..max)];
        rng.fill(&mut bytes[..]);
        if let (true, Some(first)) = (rng.random(), bytes.first_mut()) {
            *first = 1;
        }
        bytes
    };
    let (mut memory, state) = (some(14), some(60));
    if rng.random() {
        // A request under way, often one that fits.
        let di = IDENTIFIERS[rng.random_range(0..IDENTIFIERS.len())].to_be_bytes();
        memory =
            vec![1, 0x30, 1, [1, 4, 3][rng.random_range(0..3)], di[0], di[1], 1, di[0], di[1], 1, di[0], rng.random()];
    }
    Context {
        now: if rng.random() { NOW } else { rng.random() },
        direction: if rng.random_ratio(1, 8) { Direction::Downlink } else { Direction::Uplink },
        transport: if rng.random() { Transport::Stream } else { Transport::Relay },
        admission: if rng.random() { Admission::Welcome } else { Admission::Refused },
        pending: rng.random(),
        device: rng.random::<bool>().then(|| Device { address: ADDRESS.into(), memory }),
        state,
    }
}
