//! Bytes at random: whatever comes in, nothing panics, nothing grows, and a good frame still decodes.
//!
//! `FUZZ_CASES` and `FUZZ_SEED` choose how many cases there are and where they begin; a failure names its case, which alone can be
//! run again as the seed of one case.

use super::station::READ_AT;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::rehearsal;
use polymeter_sdk::{
    Adapter, Admission, BalanceLevel, BalanceSync, Command, Context, Decoded, Device, Direction, Endpoint,
    EndpointTransport, History, Interval, Message, Parameter, ParameterValue, ReportPeriod, ScheduleChange, Transport,
    Valve, ValveOrder,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use szrq::Szrq;
use szrq::device::{Meter, Record};
use szrq::frame::Source;

const CASES: u64 = 100_000;
const PROFILES: [&str; 3] = [
    "",
    r#"{"commissioning": "allow", "long_periods": "allow", "balance_sync": "zero", "marker_balance": "value"}"#,
    r#"{"report_frames": "packed", "scales": {"temperature": 9, "pressure": -9, "balance": 0}, "settled_scale": "by-class"}"#,
];

#[test]
fn nothing_panics() {
    let (cases, seed) = rehearsal::cases_and_seed(CASES, 1);
    let adapters = PROFILES.map(|profile| Szrq::configure(profile).expect("the profile is valid"));
    for case in seed..seed.saturating_add(cases) {
        let mut rng = StdRng::seed_from_u64(case);
        let adapter = &adapters[rng.random_range(0..adapters.len())];
        let context = some_context(&mut rng);
        if rng.random_ratio(1, 8) {
            if let Ok(encoded) = adapter.encode(&context, &some_command(&mut rng)) {
                assert!(encoded.frames.iter().all(|f| f.len() <= 256), "case {case}");
                assert!(encoded.memory.is_none_or(|m| m.len() <= 256), "case {case}");
                assert!(encoded.state.is_none_or(|s| s.len() <= 4096), "case {case}");
            }
        } else {
            let bytes = some_bytes(&mut rng);
            let _ = adapter.decode(&context, &bytes);
            look(adapter, &context, &bytes, case);
        }
    }
}

fn look(adapter: &Szrq, context: &Context, bytes: &[u8], case: u64) {
    let Some(frame) = rehearsal::cut(adapter, bytes, 50, 2098, case) else { return };
    if let Ok(decoded) = adapter.decode(context, frame) {
        bounded(&decoded, frame.len(), case);
    }
}

fn bounded(decoded: &Decoded, length: usize, case: u64) {
    assert!(decoded.sender.as_ref().is_some_and(|s| s.address.len() == 16), "case {case}");
    assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
    assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "case {case}");
    assert!(decoded.messages.len() <= 256, "case {case}: {} messages", decoded.messages.len());
    for message in &decoded.messages {
        match message {
            Message::Report(r) => {
                assert!(r.registers.iter().all(|r| (-18..=18).contains(&r.exponent)), "case {case}");
                assert!(
                    r.registers.len() + r.series.iter().map(|s| s.samples.len()).sum::<usize>() <= length,
                    "case {case}"
                );
            }
            Message::Unknown(u) => assert!(u.bytes.len() <= length && u.what.len() <= 64, "case {case}"),
            _ => {}
        }
    }
}

/// Random bytes, whole frames, and frames with right sums around random or damaged bodies.
fn some_bytes(rng: &mut StdRng) -> Vec<u8> {
    let mut meter = Meter::new("SZ00000012345678");
    meter.state.class = rng.random_range(0..3);
    meter.state.device_type = rng.random_range(0..6);
    meter.state.flow = f32::from_bits(rng.random());
    let mut bytes = match rng.random_range(0..6) {
        0 => {
            let mut bytes = vec![0; rng.random_range(1..300)];
            rng.fill(&mut bytes[..]);
            bytes[0] = if rng.random() { 0x68 } else { bytes[0] };
            return bytes;
        }
        1 => meter.report(READ_AT, rng.random(), rng.random()),
        2 => meter.alarm(READ_AT, rng.random(), rng.random(), rng.random(), rng.random()),
        3 => {
            let log: Vec<_> = (0..rng.random_range(1..12))
                .map(|_| Record {
                    standard_total: rng.random(),
                    working_total: rng.random(),
                    flow: f32::from_bits(rng.random()),
                    temperature: rng.random(),
                    pressure: rng.random(),
                })
                .collect();
            meter.packed(READ_AT, READ_AT, rng.random_range(0..10), rng.random(), &log, rng.random())
        }
        _ => {
            let command = rng.random_range(0x07..0x23);
            let source = if rng.random() { Source::DeviceRequest } else { Source::DeviceResponse };
            let usual = szrq::code::body_bytes(true, command).filter(|_| rng.random_ratio(3, 4));
            let mut body = vec![0; usual.unwrap_or_else(|| rng.random_range(0..200))];
            rng.fill(&mut body[..]);
            if let (true, Some(first)) = (rng.random(), body.first_mut()) {
                *first = 1;
            }
            meter.build(source, command, &body, rng.random())
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
            let end = bytes.len() - 3;
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..end);
                bytes[at] = rng.random();
            }
            let crc = crc16_modbus(&bytes[..end]).to_le_bytes();
            bytes[end..end + 2].copy_from_slice(&crc);
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
    let (mut memory, mut state) = (some(60), some(260));
    if rng.random() {
        memory.resize(34, 0);
        state.resize(26 + 9 * rng.random_range(0..17), 7);
    }
    Context {
        now: if rng.random() { READ_AT } else { rng.random() },
        direction: if rng.random_ratio(1, 8) { Direction::Downlink } else { Direction::Uplink },
        transport: if rng.random() { Transport::Stream } else { Transport::Datagram },
        admission: if rng.random() { Admission::Welcome } else { Admission::Refused },
        pending: rng.random_range(0..2),
        device: rng.random::<bool>().then(|| Device { address: "SZ00000012345678".into(), memory }),
        state,
    }
}

fn some_command(rng: &mut StdRng) -> Command {
    let value: i64 = if rng.random() { rng.random() } else { rng.random_range(-100..100_000) };
    let at: i64 = if rng.random() { READ_AT + rng.random_range(-100_000_000..100_000_000) } else { rng.random() };
    let names = [
        "vendor-pulse-constant",
        "base-reading",
        "vendor-report-period",
        "vendor-data-interval",
        "frozen-day",
        "frozen-hour",
        "vendor-port-1",
        "balance-level-1",
        "balance-close",
        "auto-close-mask",
        "vendor-pressure-low",
    ];
    match rng.random_range(0..6) {
        0 => Command::Valve(Valve {
            order: if rng.random() { ValveOrder::PermitOpen } else { ValveOrder::CloseForced },
            order_id: rng.random(),
            valid_until: at,
            reason: String::new(),
        }),
        1 => Command::ReadHistory(History { interval: Interval::Month, first: at, last: at.saturating_add(value) }),
        2 => Command::SetParameters(vec![Parameter {
            name: names[rng.random_range(0..names.len())].into(),
            value: ParameterValue::Integer(value),
        }]),
        3 => Command::SyncBalance(BalanceSync {
            balance: value,
            price: rng.random(),
            level: BalanceLevel::Low,
            settled_total: rng.random(),
            settled_at: at,
        }),
        4 => Command::SetSchedule(ScheduleChange {
            period: rng.random::<bool>().then_some(if rng.random() {
                ReportPeriod::Daily
            } else {
                ReportPeriod::Dekad
            }),
            minute_of_day: rng.random::<bool>().then(|| rng.random_range(0..2000)),
            stagger_minutes: None,
            awake_minutes: None,
            heartbeat_minutes: None,
        }),
        _ => Command::SetEndpoint(Endpoint {
            index: rng.random_range(0..3),
            transport: EndpointTransport::Udp,
            host: if rng.random() { "192.0.2.1".into() } else { "x".repeat(rng.random_range(0..99)) },
            port: rng.random_range(0..3),
            apn: String::new(),
        }),
    }
}
