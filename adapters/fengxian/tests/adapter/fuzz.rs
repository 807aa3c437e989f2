//! Bytes at random: whatever comes in, nothing panics, nothing grows.
//!
//! `FUZZ_CASES` and `FUZZ_SEED` choose how many cases there are and where they begin; a failure names its case, which alone can be
//! run again as the seed of one case.

use super::station::READ_AT;
use fengxian::Fengxian;
use fengxian::device::Meter;
use fengxian::frame::LengthOrder;
use polymeter_sdk::checksum::sum8;
use polymeter_sdk::rehearsal;
use polymeter_sdk::{
    Adapter, Admission, BalanceLevel, BalanceSync, Command, Context, Decoded, Device, Direction, EndReason, Message,
    Parameter, ParameterValue, ReportPeriod, ScheduleChange, Transport, Valve, ValveOrder,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CASES: u64 = 100_000;
const ADDRESS: &str = "31001234567890";
const PROFILES: [&str; 3] = [
    "",
    r#"{"unknown_account": "zero", "commissioning": "allow", "remote_open": "open", "frozen": "whole", "pressure": 9}"#,
    r#"{"len_order": "le", "total_write": "u32_centi", "commissioning": "allow", "price": 65535, "temperature": "tenths"}"#,
];

#[test]
fn nothing_panics() {
    let (cases, seed) = rehearsal::cases_and_seed(CASES, 1);
    let adapters = PROFILES.map(|profile| Fengxian::configure(profile).expect("the profile is valid"));
    for case in seed..seed.saturating_add(cases) {
        let mut rng = StdRng::seed_from_u64(case);
        let adapter = &adapters[rng.random_range(0..adapters.len())];
        let context = some_context(&mut rng);
        if rng.random_ratio(1, 8) {
            if let Ok(encoded) = adapter.encode(&context, &some_command(&mut rng)) {
                assert!(encoded.frames.iter().all(|f| f.len() <= 64), "case {case}");
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

fn look(adapter: &Fengxian, context: &Context, bytes: &[u8], case: u64) {
    let Some(frame) = rehearsal::cut(adapter, bytes, 18, 320, case) else { return };
    if let Ok(decoded) = adapter.decode(context, frame) {
        bounded(&decoded, frame.len(), case);
    }
}

fn bounded(decoded: &Decoded, length: usize, case: u64) {
    assert!(decoded.sender.as_ref().is_some_and(|s| s.address.len() == 14), "case {case}");
    assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
    assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "case {case}");
    assert!(decoded.messages.len() <= 32, "case {case}: {} messages", decoded.messages.len());
    for message in &decoded.messages {
        match message {
            Message::Report(r) => {
                assert!(r.registers.iter().all(|r| (-18..=18).contains(&r.exponent)), "case {case}");
                assert!(
                    r.registers.len() + r.series.iter().map(|s| s.samples.len()).sum::<usize>() <= 64,
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
    let mut meter = Meter::new(ADDRESS);
    meter.style.masked = rng.random();
    meter.style.order = if rng.random() { LengthOrder::BigEndian } else { LengthOrder::LittleEndian };
    let mut bytes = match rng.random_range(0..6) {
        0 => {
            let mut bytes = vec![0; rng.random_range(1..300)];
            rng.fill(&mut bytes[..]);
            bytes[0] = if rng.random() { 0x69 } else { bytes[0] };
            return bytes;
        }
        1 => meter.heartbeat(READ_AT),
        2 | 3 => {
            let mut body = meter.report_body(READ_AT, rng.random());
            for _ in 0..rng.random_range(0..12) {
                let at = rng.random_range(0..body.len());
                body[at] = if rng.random() { rng.random() } else { 0xFF };
            }
            if rng.random() {
                rng.fill(&mut body[5..169]);
            }
            meter.build(0x81, 0x38, &body)
        }
        _ => {
            let mut body = vec![0; rng.random_range(0..200)];
            rng.fill(&mut body[..]);
            meter.build(0x84, rng.random_range(0x32..0x41), &body)
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
        3 => {
            let end = bytes.len() - 2;
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..end);
                bytes[at] = rng.random();
            }
            bytes[end] = sum8(&bytes[..end]);
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
    let (mut memory, mut state) = (some(60), some(200));
    if rng.random() {
        memory.resize(35, 0);
        state.resize(15 + 10 * rng.random_range(0..9), 7);
    }
    Context {
        now: if rng.random() { READ_AT } else { rng.random() },
        direction: if rng.random_ratio(1, 8) { Direction::Downlink } else { Direction::Uplink },
        transport: if rng.random() { Transport::Stream } else { Transport::Datagram },
        admission: if rng.random() { Admission::Welcome } else { Admission::Refused },
        pending: rng.random_range(0..2),
        device: rng.random::<bool>().then(|| Device { address: ADDRESS.into(), memory }),
        state,
    }
}

fn some_command(rng: &mut StdRng) -> Command {
    let value: i64 = if rng.random() { rng.random() } else { rng.random_range(-100..100_000) };
    let at: i64 = if rng.random() { READ_AT + rng.random_range(-100_000_000..100_000_000) } else { rng.random() };
    let names = [
        "base-reading",
        "vendor-report-minutes",
        "vendor-timeout-minutes",
        "vendor-reconnect-count",
        "vendor-work-mode",
        "vendor-safety-word",
        "communication-lost-days",
        "vendor-freeze-time",
    ];
    match rng.random_range(0..6) {
        0 => Command::Valve(Valve {
            order: if rng.random() { ValveOrder::PermitOpen } else { ValveOrder::CloseForced },
            order_id: rng.random(),
            valid_until: at,
            reason: String::new(),
        }),
        1 => Command::SetParameters(vec![Parameter {
            name: names[rng.random_range(0..names.len())].into(),
            value: ParameterValue::Integer(value),
        }]),
        2 => Command::SyncBalance(BalanceSync {
            balance: value,
            price: rng.random(),
            level: BalanceLevel::Low,
            settled_total: rng.random(),
            settled_at: at,
        }),
        3 => Command::SetSchedule(ScheduleChange {
            period: rng.random::<bool>().then_some(ReportPeriod::Daily),
            minute_of_day: rng.random::<bool>().then(|| rng.random_range(0..2000)),
            stagger_minutes: None,
            awake_minutes: rng.random::<bool>().then(|| rng.random()),
            heartbeat_minutes: None,
        }),
        4 => Command::SetClock(at),
        _ => Command::EndSession(EndReason::Done),
    }
}
