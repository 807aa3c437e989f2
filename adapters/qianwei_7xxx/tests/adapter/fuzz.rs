//! Random and mutated bytes and commands: whatever comes, the adapter returns, and what it returns is within its bounds.

use super::station::READ_AT;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::keys::store;
use polymeter_sdk::rehearsal::{Bounds, Dice, Named, cases};
use polymeter_sdk::{Adapter, vectors};
use qianwei_7xxx::Qianwei;
use qianwei_7xxx::device::{Meter, ReportKind};

const BOUNDS: Bounds = Bounds {
    frame_min: 63,
    frame_max: 2111,
    values_per_byte: Some(1),
    collected_max: 0,
    named: true,
    address: 20..=20,
    messages_max: 9,
    what_max: 64,
    frames_max: 1,
    ..Bounds::CONTRACT
};
const ADDRESS: &str = "00000000123456789012";
/// Every body size and code that means something, and some that do not.
const CODES: [u16; 24] = [
    0x7021, 0x7022, 0x10E1, 0x10E2, 0x7011, 0x7024, 0x7082, 0x7041, 0x7042, 0x7043, 0x7044, 0x7045, 0x7046, 0x7047,
    0x704A, 0x704B, 0x7051, 0x1013, 0x1093, 0x10C5, 0x7099, 0x7000, 0x10FF, 0x7013,
];
const PROFILES: [&str; 6] = [
    "{}",
    r#"{"crc_order": "lenient", "padding": "ignored", "answer_match": "command"}"#,
    r#"{"cipher": "aes128", "padding": "zero", "default_key": "until-set"}"#,
    r#"{"report_time": "bcd", "billing": "meter", "corrector": {"decimals": 9, "signal": -1, "flow": 9}}"#,
    r#"{"remote_open": "open", "commissioning": "allow", "frozen_reads": "empty-request"}"#,
    r#"{"recharge": "1013", "corrector": {"decimals": 0}, "scales": {"price": -9, "purchased": 9, "tariff_volume": 9}}"#,
];
const NAMES: [&str; 6] =
    ["battery-level-1", "unused-days", "event-mask", "alarm-enable", "base-reading", "passing-volume"];

#[test]
fn nothing_panics_and_every_bound_holds() {
    store::clear();
    store::insert("1", [0xA5; 16]);
    let adapters = PROFILES.map(|profile| Qianwei::configure(profile).expect("the profile is valid"));
    cases(60_000, 0x7021_7022, |dice| {
        let adapter = dice.of(&adapters);
        let context = dice.context(READ_AT, ADDRESS, 60, 260);
        BOUNDS.hear(adapter, &context, &some_bytes(dice));
        _ = BOUNDS.encode(adapter, &context, &dice.command(READ_AT, &NAMES));
    });
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
        let _named = Named(&case.name);
        let good = bytes_of(case.frame.as_deref().unwrap_or_default());
        let end = good.len() - 3;
        let look = |mut bytes: Vec<u8>| {
            mend(&mut bytes);
            _ = BOUNDS.decode(&adapter, &context, &bytes);
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

/// A sum that fits, in the order that the frame's cipher goes with.
fn mend(bytes: &mut [u8]) {
    let end = bytes.len() - 3;
    let crc = crc16_modbus(&bytes[..end]);
    let sum = if bytes[52] == 0 { crc.to_le_bytes() } else { crc.to_be_bytes() };
    bytes[end..end + 2].copy_from_slice(&sum);
}

/// Random bytes, damaged frames, and whole frames with right sums around random bodies.
fn some_bytes(dice: &mut Dice) -> Vec<u8> {
    let mut meter = if dice.any() { Meter::plain(ADDRESS) } else { Meter::encrypted("0000QW12345678901234") };
    if dice.one_in(4) {
        meter = meter.with_key([0xA5; 16]);
    }
    let mut bytes = match dice.range(0..5) {
        0 => return dice.noise(0x68),
        1 => meter.report(READ_AT, ReportKind::Scheduled),
        2 => meter.corrector_report(READ_AT, dice.any(), dice.any()),
        _ => {
            let lengths = if dice.any() { 0..200 } else { 73..74 };
            meter.uplink(*dice.of(&CODES), &dice.bytes(lengths), dice.any())
        }
    };
    let end = bytes.len() - 3;
    dice.damage(&mut bytes, 0..end, mend);
    bytes
}
