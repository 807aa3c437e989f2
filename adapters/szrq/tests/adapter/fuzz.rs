//! Random and mutated bytes and commands: whatever comes, the adapter returns, and what it returns is within its bounds.

use super::station::READ_AT;
use polymeter_sdk::Adapter;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::rehearsal::{Bounds, Dice, cases};
use szrq::Szrq;
use szrq::device::{Meter, Record};
use szrq::frame::Source;

const BOUNDS: Bounds = Bounds {
    frame_min: 50,
    frame_max: 2098,
    values_per_byte: Some(1),
    collected_max: 0,
    named: true,
    address: 16..=16,
    what_max: 64,
    said_max: 256,
    ..Bounds::CONTRACT
};
const ADDRESS: &str = "SZ00000012345678";
const PROFILES: [&str; 3] = [
    "",
    r#"{"commissioning": "allow", "long_periods": "allow", "balance_sync": "zero", "marker_balance": "value"}"#,
    r#"{"report_frames": "packed", "scales": {"temperature": 9, "pressure": -9, "balance": 0}, "settled_scale": "by-class"}"#,
];
const NAMES: [&str; 11] = [
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

#[test]
fn nothing_panics_and_every_bound_holds() {
    let adapters = PROFILES.map(|profile| Szrq::configure(profile).expect("the profile is valid"));
    cases(100_000, 1, |dice| {
        let adapter = dice.of(&adapters);
        let mut context = dice.context(READ_AT, ADDRESS, 60, 260);
        if let (true, Some(device)) = (dice.any(), &mut context.device) {
            device.memory.resize(34, 0);
            context.state.resize(26 + 9 * dice.range(0..17), 7);
        }
        BOUNDS.hear(adapter, &context, &some_bytes(dice));
        _ = BOUNDS.encode(adapter, &context, &dice.command(READ_AT, &NAMES));
    });
}

/// Random bytes, whole frames, and frames with right sums around random or damaged bodies.
fn some_bytes(dice: &mut Dice) -> Vec<u8> {
    let mut meter = Meter::new(ADDRESS);
    meter.state.class = dice.range(0..3);
    meter.state.device_type = dice.range(0..6);
    meter.state.flow = f32::from_bits(dice.any());
    let mut bytes = match dice.range(0..6) {
        0 => return dice.noise(0x68),
        1 => meter.report(READ_AT, dice.any(), dice.any()),
        2 => meter.alarm(READ_AT, dice.any(), dice.any(), dice.any(), dice.any()),
        3 => {
            let log: Vec<_> = (0..dice.range(1..12))
                .map(|_| Record {
                    standard_total: dice.any(),
                    working_total: dice.any(),
                    flow: f32::from_bits(dice.any()),
                    temperature: dice.any(),
                    pressure: dice.any(),
                })
                .collect();
            meter.packed(READ_AT, READ_AT, dice.range(0..10), dice.any(), &log, dice.any())
        }
        _ => {
            let command = dice.range(0x07..0x23);
            let source = *dice.of(&[Source::DeviceRequest, Source::DeviceResponse]);
            let usual = szrq::code::body_bytes(true, command).filter(|_| !dice.one_in(4));
            let body = dice.kept(usual.map_or(0..200, |bytes| bytes..bytes + 1));
            meter.build(source, command, &body, dice.any())
        }
    };
    let end = bytes.len() - 3;
    dice.damage(&mut bytes, 0..end, |bytes| {
        let crc = crc16_modbus(&bytes[..end]).to_le_bytes();
        bytes[end..end + 2].copy_from_slice(&crc);
    });
    bytes
}
