//! Random and mutated bytes and commands: whatever comes, the adapter returns, and what it returns is within its bounds.

use super::station::READ_AT;
use fengxian::Fengxian;
use fengxian::device::Meter;
use fengxian::frame::LengthOrder;
use polymeter_sdk::Adapter;
use polymeter_sdk::checksum::sum8;
use polymeter_sdk::rehearsal::{Bounds, Dice, cases};

const BOUNDS: Bounds = Bounds {
    frame_min: 18,
    frame_max: 320,
    values_per_byte: Some(1),
    collected_max: 0,
    named: true,
    address: 14..=14,
    messages_max: 32,
    values_max: 64,
    what_max: 64,
    said_max: 64,
    ..Bounds::CONTRACT
};
const ADDRESS: &str = "31001234567890";
const PROFILES: [&str; 3] = [
    "",
    r#"{"unknown_account": "zero", "commissioning": "allow", "remote_open": "open", "frozen": "whole", "pressure": 9}"#,
    r#"{"len_order": "le", "total_write": "u32_centi", "commissioning": "allow", "price": 65535, "temperature": "tenths"}"#,
];
const NAMES: [&str; 8] = [
    "base-reading",
    "vendor-report-minutes",
    "vendor-timeout-minutes",
    "vendor-reconnect-count",
    "vendor-work-mode",
    "vendor-safety-word",
    "communication-lost-days",
    "vendor-freeze-time",
];

#[test]
fn nothing_panics_and_every_bound_holds() {
    let adapters = PROFILES.map(|profile| Fengxian::configure(profile).expect("the profile is valid"));
    cases(100_000, 1, |dice| {
        let adapter = dice.of(&adapters);
        let mut context = dice.context(READ_AT, ADDRESS, 60, 200);
        if let (true, Some(device)) = (dice.any(), &mut context.device) {
            device.memory.resize(35, 0);
            context.state.resize(15 + 10 * dice.range(0..9), 7);
        }
        BOUNDS.hear(adapter, &context, &some_bytes(dice));
        _ = BOUNDS.encode(adapter, &context, &dice.command(READ_AT, &NAMES));
    });
}

/// Random bytes, whole frames, and frames with right sums around random or damaged bodies.
fn some_bytes(dice: &mut Dice) -> Vec<u8> {
    let mut meter = Meter::new(ADDRESS);
    meter.style.masked = dice.any();
    meter.style.order = *dice.of(&[LengthOrder::BigEndian, LengthOrder::LittleEndian]);
    let mut bytes = match dice.range(0..6) {
        0 => return dice.noise(0x69),
        1 => meter.heartbeat(READ_AT),
        2 | 3 => {
            let mut body = meter.report_body(READ_AT, dice.any());
            for _ in 0..dice.range(0..12) {
                let at = dice.range(0..body.len());
                body[at] = if dice.any() { dice.any() } else { 0xFF };
            }
            if dice.any() {
                dice.fill(&mut body[5..169]);
            }
            meter.build(0x81, 0x38, &body)
        }
        _ => meter.build(0x84, dice.range(0x32..0x41), &dice.bytes(0..200)),
    };
    let end = bytes.len() - 2;
    dice.damage(&mut bytes, 0..end, |bytes| bytes[end] = sum8(&bytes[..end]));
    bytes
}
