//! Random and mutated bytes and commands: whatever comes, the adapter returns, and what it returns is within its bounds.

use super::station::NOW;
use en13757::device::{Meter, Record, Security};
use en13757::radio::{self, Format};
use en13757::{En13757, link};
use polymeter_sdk::Adapter;
use polymeter_sdk::checksum::sum8;
use polymeter_sdk::keys::store;
use polymeter_sdk::rehearsal::{Bounds, Dice, cases};

const BOUNDS: Bounds =
    Bounds { frame_max: 300, values_per_byte: Some(1), collected_max: 0, frames_max: 1, ..Bounds::CONTRACT };
const ADDRESS: &str = "LGB120820584003";
/// The application layers and what lies below them.
const CIS: [u8; 22] = [
    0x72, 0x72, 0x72, 0x7A, 0x78, 0x73, 0x76, 0x77, 0x70, 0x71, 0x6E, 0x6F, 0x74, 0x75, 0x8A, 0x8B, 0x8C, 0x8D, 0x8E,
    0x8F, 0x90, 0xA1,
];
const PROFILES: [&str; 4] = [
    "{}",
    r#"{"link": "wired", "damaged_tail": "keep", "plain_volume": "working", "clock": "i"}"#,
    r#"{"link": "wireless", "radio_crc": "stripped", "decryption": "before", "damaged_tail": "keep"}"#,
    r#"{"addressing": "primary", "primary_address": 254, "reserved_modes": "refuse", "plain_volume": "standard"}"#,
];

#[test]
fn nothing_panics_and_every_bound_holds() {
    store::clear();
    store::insert("1", [0xA5; 16]);
    let adapters = PROFILES.map(|profile| En13757::configure(profile).expect("the profile is valid"));
    let mut decoded = 0;
    let count = cases(100_000, 0x1375_7002, |dice| {
        let adapter = dice.of(&adapters);
        let address = dice.of(&[ADDRESS, "00472165", "ABC004721651003", "", "nobody"]);
        let context = dice.context(NOW, address, 6, 40);
        decoded += u64::from(!BOUNDS.hear(adapter, &context, &some_bytes(dice)).is_empty());
        _ = BOUNDS.encode(adapter, &context, &dice.command(NOW, &[]));
    });
    println!("{decoded} of {count} were decoded");
    assert!(decoded >= count / 10, "the cases reach the parsers");
}

/// Random bytes, damaged frames, and whole frames with right sums around random bodies and records.
fn some_bytes(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = match dice.range(0..6) {
        0 => {
            let start = *dice.of(&[0x68, 0x10, 0xE5]);
            return dice.noise(start);
        }
        1 => link::long(0x08, dice.any(), *dice.of(&CIS), &dice.bytes(0..150)),
        2 => {
            let body = [&[*dice.of(&CIS)][..], &dice.bytes(0..150)].concat();
            let format = *dice.of(&[Format::A, Format::B]);
            radio::build(format, 0x44, &Meter::gas(ADDRESS).identity, &body).unwrap_or_default()
        }
        3 | 4 => {
            let head = [0x65, 0x21, 0x47, 0, 0x43, 4, 0x10, *dice.of(&[3, 0x13, 7]), 1, 0, 0, 0];
            link::long(0x08, 1, 0x72, &[&head[..], &some_records(dice)].concat())
        }
        _ => {
            let mut meter = Meter::gas(ADDRESS);
            meter.records = (0..dice.range(0..9)).map(|_| Record::bcd(0x13, dice.any())).collect();
            meter.security = match dice.range(0..3) {
                0 => Security::None,
                1 => Security::Mode5([0xA5; 16]),
                _ => Security::Mode7([0xA5; 16], dice.any()),
            };
            if dice.any() { meter.radio(Format::A) } else { meter.receive(&link::short(0x7B, 1)).unwrap_or_default() }
        }
    };
    if bytes.is_empty() {
        bytes.push(dice.any());
    }
    // Only the wired link's sum.
    let end = if bytes[0] == 0x68 && bytes.len() > 10 { bytes.len() - 2 } else { 4 };
    dice.damage(&mut bytes, 4..end, |bytes| bytes[end] = sum8(&bytes[4..end]));
    bytes
}

/// Records of every shape, mostly whole.
fn some_records(dice: &mut Dice) -> Vec<u8> {
    let mut records = Vec::new();
    while records.len() < 200 && !dice.one_in(10) {
        let mut dif: u8 = dice.any();
        if dif & 15 == 15 && !dice.one_in(10) {
            dif &= 0xF7;
        }
        records.push(dif);
        let mut extended = dif & 0x80 != 0;
        while extended {
            let dife: u8 = dice.any();
            records.push(dife);
            extended = dife & 0x80 != 0;
        }
        let mut vif: u8 = if dice.one_in(3) { *dice.of(&[0xFB, 0xFD]) } else { dice.any() };
        loop {
            records.push(vif);
            if vif & 0x7F == 0x7C && dice.any() {
                records.extend([1, b'x']);
            }
            if vif & 0x80 == 0 {
                break;
            }
            vif = dice.any();
        }
        let length = match dif & 15 {
            n @ 1..=4 => n,
            5 | 0xC => 4,
            6 | 0xE => 6,
            7 => 8,
            n @ 9..=0xB => n - 8,
            0xD => {
                records.push(*dice.of(&[3, 0xC3, 0xD3, 0xE3]));
                3
            }
            _ => 0,
        };
        for _ in 0..length {
            records.push(if dice.any() { dice.range(0..10) * 17 } else { dice.any() });
        }
    }
    records.truncate(230);
    records
}
