//! Random and mutated bytes: whatever comes, the adapter returns, and what it returns is within the contract's bounds.
//!
//! `FUZZ_CASES` and `FUZZ_SEED` change the run; the seed is printed, so that a failure can be had again.

use super::station::READ_AT;
use polymeter_sdk::keys::store;
use polymeter_sdk::rehearsal;
use polymeter_sdk::vectors;
use polymeter_sdk::{
    Adapter, Admission, BalanceLevel, BalanceSync, Command, Context, Decoded, Device, Direction, Message, Parameter,
    ParameterValue, Recharge, ReportPeriod, ScheduleChange, Tariff, TariffCycle, Transport, Valve, ValveOrder,
};
use qianwei_7xxx::Qianwei;
use qianwei_7xxx::device::{Meter, ReportKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CASES: u64 = 60_000;
const SEED: u64 = 0x7021_7022;
/// Every body size and code that means something, and some that do not.
const CODES: [u16; 24] = [
    0x7021, 0x7022, 0x10E1, 0x10E2, 0x7011, 0x7024, 0x7082, 0x7041, 0x7042, 0x7043, 0x7044, 0x7045, 0x7046, 0x7047,
    0x704A, 0x704B, 0x7051, 0x1013, 0x1093, 0x10C5, 0x7099, 0x7000, 0x10FF, 0x7013,
];

#[test]
fn nothing_panics_and_every_bound_holds() {
    let (cases, seed) = rehearsal::cases_and_seed(CASES, SEED);
    store::clear();
    store::insert("1", [0xA5; 16]);
    let mut rng = StdRng::seed_from_u64(seed);
    let adapters = [
        "{}",
        r#"{"crc_order": "lenient", "padding": "ignored", "answer_match": "command"}"#,
        r#"{"cipher": "aes128", "padding": "zero", "default_key": "until-set"}"#,
        r#"{"report_time": "bcd", "billing": "meter", "corrector": {"decimals": 9, "signal": -1, "flow": 9}}"#,
    ]
    .map(|profile| Qianwei::configure(profile).expect("the profile is valid"));
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

/// Every single flipped bit and every cut body of every good vector, with a sum that fits again: the sum is all that protects a plain
/// frame, and the encrypted ones have nothing behind it (ECB without integrity), so another meaning is possible. A panic, an
/// untyped failure or a bound broken is not.
#[test]
fn damage_behind_a_fitting_sum_is_a_typed_fault_or_bounded() {
    let files = vectors::load(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors").as_ref()).expect("readable");
    let cases = files.into_iter().flat_map(|(_, file)| file.vectors);
    for case in cases.filter(|case| case.expect.get("messages").is_some()) {
        let adapter: Qianwei = vectors::configure(&case).expect("the vector's profile is valid");
        let context = vectors::context(&case).expect("the vector's context is valid");
        let good = bytes_of(case.frame.as_deref().unwrap_or_default());
        let end = good.len() - 3;
        let look = |mut bytes: Vec<u8>| {
            let end = bytes.len() - 3;
            let crc = polymeter_sdk::checksum::crc16_modbus(&bytes[..end]);
            let sum = if bytes[52] == 0 { crc.to_le_bytes() } else { crc.to_be_bytes() };
            bytes[end..end + 2].copy_from_slice(&sum);
            match adapter.decode(&context, &bytes) {
                Ok(decoded) => bounded(&decoded, &bytes, 0),
                Err(fault) => {
                    assert!(!fault.detail.is_empty() && fault.detail.len() <= 200, "{}: {fault:?}", case.name);
                }
            }
        };
        for bit in 0..end * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            look(bytes);
        }
        for length in 60..end {
            let mut bytes = [&good[..length], &[0, 0, 0x16]].concat();
            bytes[58..60].copy_from_slice(&((length - 60) as u16).to_le_bytes());
            look(bytes);
        }
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter_map(|b| char::from(b).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Numbers at their ends, in every field of every command: a typed refusal or a frame, never an overflow.
#[test]
fn commands_with_extreme_numbers_are_refused_or_said() {
    store::clear();
    let adapters = [
        r#"{"remote_open": "open", "commissioning": "allow", "frozen_reads": "empty-request"}"#,
        r#"{"recharge": "1013", "corrector": {"decimals": 0}, "scales": {"price": -9, "purchased": 9, "tariff_volume": 9}}"#,
    ]
    .map(|profile| Qianwei::configure(profile).expect("the profile is valid"));
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..200 {
        let mut context = some_context(&mut rng);
        context.device = Some(Device { address: "00000000123456789012".into(), memory: Vec::new() });
        for value in [i64::MIN, i64::MIN + 1, -1, 0, 1, 99, 4_294_967_295, 4_294_967_296, i64::MAX - 1, i64::MAX] {
            for command in commands_around(value) {
                for adapter in &adapters {
                    if let Ok(encoded) = adapter.encode(&context, &command) {
                        assert!(encoded.frames.len() <= 1 && encoded.correlation.len() <= 32, "{command:?}");
                    }
                }
            }
        }
    }
}

fn commands_around(value: i64) -> Vec<Command> {
    let small = value as u32;
    let integer = |name: &str| Parameter { name: name.into(), value: ParameterValue::Integer(value) };
    let mut commands = vec![
        Command::Valve(Valve {
            order: ValveOrder::PermitOpen,
            order_id: small,
            valid_until: value,
            reason: String::new(),
        }),
        Command::Recharge(Recharge {
            order_id: small,
            purchase_count: value as u16,
            amount: value,
            volume: 0,
            purchased_total: value,
        }),
        Command::SyncBalance(BalanceSync {
            balance: value,
            price: small,
            level: BalanceLevel::Low,
            settled_total: small,
            settled_at: value,
        }),
        Command::SetTariff(Tariff {
            plan: 0,
            effective: value,
            on_meter: true,
            cycle: TariffCycle::Day,
            cycle_start: value,
            limits: vec![0, small],
            prices: vec![small; 3],
        }),
        Command::SetTariff(Tariff {
            plan: 0,
            effective: READ_AT,
            on_meter: true,
            cycle: TariffCycle::Day,
            cycle_start: READ_AT,
            limits: vec![small; 2],
            prices: vec![small; 3],
        }),
        Command::SetSchedule(ScheduleChange {
            period: Some(ReportPeriod::Daily),
            minute_of_day: Some(value as u16),
            stagger_minutes: None,
            awake_minutes: None,
            heartbeat_minutes: None,
        }),
    ];
    for name in ["battery-level-1", "unused-days", "event-mask", "alarm-enable", "base-reading", "passing-volume"] {
        commands.push(Command::SetParameters(vec![integer(name)]));
    }
    commands
}

fn look(adapter: &Qianwei, context: &Context, bytes: &[u8], case: u64) {
    let Some(frame) = rehearsal::cut(adapter, bytes, 63, 2111, case) else { return };
    if let Ok(decoded) = adapter.decode(context, frame) {
        bounded(&decoded, frame, case);
    }
}

fn bounded(decoded: &Decoded, frame: &[u8], case: u64) {
    let sender = decoded.sender.as_ref().expect("every frame names its meter");
    assert!(sender.address.len() == 20, "case {case}");
    assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
    assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "case {case}");
    assert!(decoded.messages.len() <= 9, "case {case}");
    for message in &decoded.messages {
        match message {
            Message::Report(r) => assert!(r.registers.iter().all(|r| (-18..=18).contains(&r.exponent)), "case {case}"),
            Message::Unknown(u) => assert!(u.bytes.len() <= frame.len() && u.what.len() <= 64, "case {case}"),
            _ => {}
        }
    }
}

/// Random bytes, damaged frames, and whole frames with right sums around random bodies.
fn some_bytes(rng: &mut StdRng) -> Vec<u8> {
    let mut meter =
        if rng.random() { Meter::plain("00000000123456789012") } else { Meter::encrypted("0000QW12345678901234") };
    if rng.random_ratio(1, 4) {
        meter = meter.with_key([0xA5; 16]);
    }
    let mut bytes = match rng.random_range(0..5) {
        0 => {
            let mut bytes = vec![0; rng.random_range(1..400)];
            rng.fill(&mut bytes[..]);
            bytes[0] = if rng.random() { 0x68 } else { bytes[0] };
            return bytes;
        }
        1 => meter.report(READ_AT, ReportKind::Scheduled),
        2 => meter.corrector_report(READ_AT, rng.random(), rng.random()),
        _ => {
            let mut body = vec![0; if rng.random() { rng.random_range(0..200) } else { 73 }];
            rng.fill(&mut body[..]);
            meter.uplink(CODES[rng.random_range(0..CODES.len())], &body, rng.random())
        }
    };
    match rng.random_range(0..6) {
        0 => bytes.truncate(rng.random_range(1..=bytes.len())),
        1 => bytes = [&bytes[..], &bytes].concat(),
        2 => {
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
        // Damage that the sum does not show: the parsers behind it have to stand it.
        3 | 4 => {
            let at = rng.random_range(0..bytes.len() - 3);
            bytes[at] = rng.random();
            let end = bytes.len() - 3;
            let crc = polymeter_sdk::checksum::crc16_modbus(&bytes[..end]);
            let sum = if bytes[52] == 0 { crc.to_le_bytes() } else { crc.to_be_bytes() };
            bytes[end..end + 2].copy_from_slice(&sum);
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
    let (memory, state) = (some(60), some(260));
    Context {
        now: if rng.random() { READ_AT } else { rng.random() },
        direction: if rng.random_ratio(1, 8) { Direction::Downlink } else { Direction::Uplink },
        transport: if rng.random() { Transport::Stream } else { Transport::Datagram },
        admission: if rng.random() { Admission::Welcome } else { Admission::Refused },
        pending: rng.random(),
        device: rng.random::<bool>().then(|| Device { address: "00000000123456789012".into(), memory }),
        state,
    }
}
