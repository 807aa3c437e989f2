//! Random and mutated bytes: whatever comes, the adapter returns, and what it returns is within the contract's bounds.
//!
//! `FUZZ_CASES` and `FUZZ_SEED` change the run; the seed is printed, so that a failure can be had again.

use super::station::{IMEI, NOW};
use modbus_corrector::ModbusCorrector;
use modbus_corrector::device::{Corrector, State};
use modbus_corrector::frame::seal;
use polymeter_sdk::{
    Adapter, Admission, AnswerBody, Command, Context, Decoded, Device, Direction, History, Interval, Message,
    Parameter, ParameterValue, ReadScope, Register, Report, Transport, Valve, ValveOrder, rehearsal,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CASES: u64 = 100_000;
const SEED: u64 = 0x0188_0304;
const PROFILES: [&str; 5] = [
    "{}",
    r#"{"alternate_counts": true, "bus_address_from": "address", "heartbeat": {"form": "none", "prefix": "FEFE"}}"#,
    include_str!("../../maps/thermal_mass.json"),
    r#"{"address": "D", "registration": {"form": "bcd", "prefix": "FE01", "bytes": 8, "digits": 15, "check": "luhn"}, "registers_max": 12, "gap": 0, "equal_counts": "accept"}"#,
    r#"{"remote_open": "open", "map": {"order": "DCBA",
        "registers": [{"register": 65534, "type": "f32", "decimals": 9, "exponent": -9, "quantity": "volume", "unit": "litre"},
            {"register": 1, "type": "f64", "decimals": 0, "exponent": 18, "quantity": "volume", "unit": "litre"}, {"register": 6, "type": "bcd64", "quantity": "energy", "unit": "joule"},
            {"register": 10, "type": "i64", "fraction": {"register": 14, "type": "i32", "decimals": 9}, "quantity": "mass", "unit": "kilogram"}],
        "status": [{"register": 20, "type": "u64", "bits": [{"bit": 63, "code": "tilt", "inverted": true}]}],
        "clock": {"register": 30, "form": "seconds2000", "writable": true},
        "parameters": [{"name": "0x8001", "register": 40, "type": "u32", "write": 16}, {"name": "unused-days", "register": 42, "type": "bcd16", "exponent": -2, "write": 6}],
        "valve": {"register": 50, "orders": [{"order": "open", "function": 5, "register": 1, "value": 65280}, {"order": "close-forced", "function": 16, "register": 1, "value": 1}]}}}"#,
];

#[test]
fn nothing_panics_and_every_bound_holds() {
    let (cases, seed) = rehearsal::cases_and_seed(CASES, SEED);
    let mut rng = StdRng::seed_from_u64(seed);
    let adapters = PROFILES.map(|profile| ModbusCorrector::configure(profile).expect("the profile is valid"));
    let mut answered = 0_u64;
    for case in 0..cases {
        let adapter = &adapters[rng.random_range(0..adapters.len())];
        let mut context = some_context(&mut rng);
        let mut request = Vec::new();
        if rng.random() {
            let Ok(encoded) = adapter.encode(&context, &some_command(&mut rng)) else { continue };
            assert!(encoded.frames.len() <= 1 && encoded.correlation.len() <= 32, "case {case}");
            assert!(encoded.state.as_ref().is_some_and(|s| s.len() <= 4096), "case {case}");
            request = encoded.frames.into_iter().next().unwrap_or_default();
            context.state = encoded.state.unwrap_or_default();
        }
        let bytes = some_bytes(&mut rng, &request);
        let frame = rehearsal::cut(adapter, &bytes, 1, 300, case).unwrap_or(&bytes);
        if let Ok(decoded) = adapter.decode(&context, frame) {
            answered += 1;
            bounded(&decoded, case);
        }
    }
    println!("{answered} of {cases} were understood");
    assert!(answered > cases / 10, "the cases reach the parsers");
}

fn bounded(decoded: &Decoded, case: u64) {
    if let Some(sender) = &decoded.sender {
        assert!((1..=32).contains(&sender.address.len()), "case {case}: {}", sender.address);
    }
    assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
    assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "case {case}");
    for message in &decoded.messages {
        if let Message::Answer(answer) = message
            && let AnswerBody::Report(Report { registers, series, .. }) = &answer.body
        {
            registers.iter().for_each(|r: &Register| assert!((-18..=18).contains(&r.exponent), "case {case}: {r:?}"));
            series.iter().for_each(|s| assert!((-18..=18).contains(&s.exponent), "case {case}: {s:?}"));
        }
    }
}

fn some_context(rng: &mut StdRng) -> Context {
    let address = if rng.random() { IMEI } else { "00231100000001" };
    let device = rng.random_range(0..8) > 0;
    let mut state = vec![1; rng.random_range(0..60)];
    if rng.random() {
        rng.fill(&mut state[..]);
    }
    Context {
        now: NOW,
        direction: if rng.random_range(0..8) > 0 { Direction::Uplink } else { Direction::Downlink },
        transport: if rng.random() { Transport::Stream } else { Transport::Relay },
        admission: if rng.random_range(0..8) > 0 { Admission::Welcome } else { Admission::Undecided },
        pending: 0,
        device: device.then(|| Device { address: address.into(), memory: Vec::new() }),
        state,
    }
}

fn some_command(rng: &mut StdRng) -> Command {
    let number = [0, 1, -1, NOW, i64::MAX, i64::MIN, 65_535, rng.random()][rng.random_range(0..8)];
    let order = [ValveOrder::PermitOpen, ValveOrder::CloseForced][rng.random_range(0..2)];
    match rng.random_range(0..8) {
        0 => Command::Read(ReadScope::Account),
        1 => Command::Read(ReadScope::Valve),
        2 => Command::SetClock(number),
        3 => Command::ReadHistory(History { interval: Interval::Day, first: number, last: i64::MAX }),
        4 => Command::SetParameters(vec![Parameter {
            name: "unused-days".into(),
            value: ParameterValue::Integer(number),
        }]),
        5 => Command::ReadParameters(Vec::new()),
        6 => Command::Valve(Valve { order, order_id: 1, valid_until: i64::MAX, reason: String::new() }),
        _ => Command::Read(ReadScope::Current),
    }
}

/// An answer to the request, whole or damaged, with numbers of every kind in it; or noise.
fn some_bytes(rng: &mut StdRng, request: &[u8]) -> Vec<u8> {
    let mut bytes = match rng.random_range(0..10) {
        0 => {
            let mut noise = vec![0; rng.random_range(1..80)];
            rng.fill(&mut noise[..]);
            noise
        }
        1 => [IMEI.as_bytes(), b"REG:D-1\r\n", &[0xFE, 1, 8, 0x66, 0x12, 0x30, 0x40, 1, 0x23, 0x49]]
            [rng.random_range(0..3)]
        .to_vec(),
        2 => seal(vec![
            request.first().copied().unwrap_or(1),
            request.get(1).copied().unwrap_or(3) | 0x80,
            rng.random_range(0..12),
        ]),
        _ => answer_to(rng, request),
    };
    for _ in 0..[0, 0, 0, 1, 3][rng.random_range(0..5)] {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..3) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

fn answer_to(rng: &mut StdRng, request: &[u8]) -> Vec<u8> {
    let &[bus, function @ (3 | 4), _, _, _, count, ..] = request else {
        return match request {
            [head @ .., _, _] if head.len() >= 6 => seal(head[..6].to_vec()),
            _ => Corrector::typical(1, &State::healthy(NOW)).hear(&seal(vec![1, 3, 0, 0, 0, 31])).expect("an answer"),
        };
    };
    let filler = [0, 0xFF, 0x7F, 0x80, 0x24, rng.random()][rng.random_range(0..6)];
    let mut data = vec![filler; usize::from(count) * 2];
    if rng.random() {
        rng.fill(&mut data[..]);
    }
    seal([&[bus, function, count * 2][..], &data].concat())
}
