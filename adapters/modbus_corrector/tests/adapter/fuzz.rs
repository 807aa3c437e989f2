//! Random and mutated bytes and commands: whatever comes, the adapter returns, and what it returns is within its bounds.

use super::station::{IMEI, NOW};
use modbus_corrector::ModbusCorrector;
use modbus_corrector::device::{Corrector, State};
use modbus_corrector::frame::seal;
use polymeter_sdk::Adapter;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::rehearsal::{Bounds, Dice, cases};

const BOUNDS: Bounds =
    Bounds { frame_max: 300, values_per_byte: Some(1), collected_max: 0, frames_max: 1, ..Bounds::CONTRACT };
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
    let adapters = PROFILES.map(|profile| ModbusCorrector::configure(profile).expect("the profile is valid"));
    let mut answered = 0;
    let count = cases(100_000, 0x0188_0304, |dice| {
        let adapter = dice.of(&adapters);
        let address = dice.of(&[IMEI, "00231100000001"]);
        let mut context = dice.context(NOW, address, 1, 60);
        let mut request = Vec::new();
        if dice.any() {
            let command = dice.command(NOW, &["unused-days"]);
            let Ok(encoded) = BOUNDS.encode(adapter, &context, &command) else { return };
            assert!(encoded.frames.is_empty() || encoded.state.is_some(), "every request is remembered");
            request = encoded.frames.into_iter().next().unwrap_or_default();
            context.state = encoded.state.unwrap_or_default();
        } else if dice.one_in(2) {
            context.state.fill(1);
        }
        let heard = BOUNDS.hear(adapter, &context, &some_bytes(dice, &request));
        answered += u64::from(!heard.is_empty());
    });
    println!("{answered} of {count} were understood");
    assert!(answered >= count / 10, "the cases reach the parsers");
}

/// An answer to the request, whole or damaged, with numbers of every kind in it; or noise.
fn some_bytes(dice: &mut Dice, request: &[u8]) -> Vec<u8> {
    const REGISTRATIONS: [&[u8]; 3] =
        [IMEI.as_bytes(), b"REG:D-1\r\n", &[0xFE, 1, 8, 0x66, 0x12, 0x30, 0x40, 1, 0x23, 0x49]];
    let mut bytes = match dice.range(0..10) {
        0 => return dice.noise(1),
        1 => dice.of(&REGISTRATIONS).to_vec(),
        2 => seal(vec![
            request.first().copied().unwrap_or(1),
            request.get(1).copied().unwrap_or(3) | 0x80,
            dice.range(0..12),
        ]),
        _ => answer_to(dice, request),
    };
    let end = bytes.len() - 2;
    dice.damage(&mut bytes, 0..end, |bytes| {
        let crc = crc16_modbus(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&crc);
    });
    bytes
}

fn answer_to(dice: &mut Dice, request: &[u8]) -> Vec<u8> {
    let &[bus, function @ (3 | 4), _, _, _, count, ..] = request else {
        return match request {
            [head @ .., _, _] if head.len() >= 6 => seal(head[..6].to_vec()),
            _ => Corrector::typical(1, &State::healthy(NOW)).hear(&seal(vec![1, 3, 0, 0, 0, 31])).expect("an answer"),
        };
    };
    let any = dice.any();
    let filler = *dice.of(&[0, 0xFF, 0x7F, 0x80, 0x24, any]);
    let mut data = vec![filler; usize::from(count) * 2];
    if dice.any() {
        dice.fill(&mut data);
    }
    seal([&[bus, function, count * 2][..], &data].concat())
}
