//! Random and mutated bytes: whatever comes, the adapter returns, and what it returns is within the contract's bounds.
//!
//! `FUZZ_CASES` and `FUZZ_SEED` change the run; the seed is printed, so that a failure can be had again.

use super::station::NOW;
use en13757::device::{Meter, Record, Security};
use en13757::radio::{self, Format};
use en13757::{En13757, link};
use polymeter_sdk::keys::store;
use polymeter_sdk::rehearsal;
use polymeter_sdk::{
    Adapter, Admission, AnswerBody, Command, Context, Decoded, Device, Direction, EndReason, Message, ReadScope,
    Register, Transport,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CASES: u64 = 100_000;
const SEED: u64 = 0x1375_7002;
/// The application layers and what lies below them.
const CIS: [u8; 22] = [
    0x72, 0x72, 0x72, 0x7A, 0x78, 0x73, 0x76, 0x77, 0x70, 0x71, 0x6E, 0x6F, 0x74, 0x75, 0x8A, 0x8B, 0x8C, 0x8D, 0x8E,
    0x8F, 0x90, 0xA1,
];

#[test]
fn nothing_panics_and_every_bound_holds() {
    let (cases, seed) = rehearsal::cases_and_seed(CASES, SEED);
    store::clear();
    store::insert("1", [0xA5; 16]);
    let mut rng = StdRng::seed_from_u64(seed);
    let adapters = [
        "{}",
        r#"{"link": "wired", "damaged_tail": "keep", "plain_volume": "working", "clock": "i"}"#,
        r#"{"link": "wireless", "radio_crc": "stripped", "decryption": "before", "damaged_tail": "keep"}"#,
        r#"{"addressing": "primary", "primary_address": 254, "reserved_modes": "refuse", "plain_volume": "standard"}"#,
    ]
    .map(|profile| En13757::configure(profile).expect("the profile is valid"));
    let mut decoded_count = 0_u64;
    for case in 0..cases {
        let adapter = &adapters[rng.random_range(0..adapters.len())];
        let bytes = some_bytes(&mut rng);
        let context = some_context(&mut rng);
        look(adapter, &context, &bytes, case);
        // A datagram is decoded as it is, whatever framing says.
        if let Ok(decoded) = adapter.decode(&context, &bytes) {
            decoded_count += 1;
            bounded(&decoded, &bytes, case);
        }
        let command = match rng.random_range(0..4) {
            0 => Command::SetClock(rng.random()),
            1 => Command::SetClock(rng.random_range(0..4_000_000_000)),
            2 => Command::EndSession(EndReason::Done),
            _ => Command::Read(ReadScope::Current),
        };
        if let Ok(encoded) = adapter.encode(&context, &command) {
            assert!(encoded.frames.len() <= 1 && encoded.correlation.len() <= 32, "case {case}");
            assert!(encoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
        }
    }
    println!("{decoded_count} of {cases} were decoded");
    assert!(decoded_count > cases / 10, "the cases reach the parsers");
}

fn look(adapter: &En13757, context: &Context, bytes: &[u8], case: u64) {
    let Some(frame) = rehearsal::cut(adapter, bytes, 1, 300, case) else { return };
    if let Ok(decoded) = adapter.decode(context, frame) {
        bounded(&decoded, frame, case);
    }
}

fn bounded(decoded: &Decoded, frame: &[u8], case: u64) {
    if let Some(sender) = &decoded.sender {
        assert!((1..=32).contains(&sender.address.len()), "case {case}: {}", sender.address);
    }
    assert!(decoded.state.as_ref().is_none_or(|s| s.len() <= 4096), "case {case}");
    assert!(decoded.memory.as_ref().is_none_or(|m| m.len() <= 256), "case {case}");
    assert!(decoded.messages.len() <= 256, "case {case}: {} messages", decoded.messages.len());
    for message in &decoded.messages {
        match message {
            Message::Report(report) => report.registers.iter().for_each(|r| bounded_register(r, case)),
            Message::Answer(answer) => {
                if let AnswerBody::Report(report) = &answer.body {
                    report.registers.iter().for_each(|r| bounded_register(r, case));
                }
            }
            Message::Unknown(u) => assert!(u.bytes.len() <= frame.len() && u.what.len() <= 512, "case {case}"),
            _ => {}
        }
    }
}

fn bounded_register(register: &Register, case: u64) {
    assert!((-18..=18).contains(&register.exponent), "case {case}: {register:?}");
    if register.unit == polymeter_sdk::Unit::CivilSecond {
        let range = -2_208_988_800..=10_413_791_999;
        assert!(register.exponent == 0 && range.contains(&register.mantissa), "case {case}: {register:?}");
    }
}

/// Random bytes, damaged frames, and whole frames with right sums around random bodies and records.
fn some_bytes(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = match rng.random_range(0..6) {
        0 => {
            let mut bytes = vec![0; rng.random_range(1..400)];
            rng.fill(&mut bytes[..]);
            bytes[0] = [0x68, 0x10, 0xE5, bytes[0]][rng.random_range(0..4)];
            return bytes;
        }
        1 => link::long(0x08, rng.random(), CIS[rng.random_range(0..CIS.len())], &some_body(rng)),
        2 => {
            let body = [&[CIS[rng.random_range(0..CIS.len())]][..], &some_body(rng)].concat();
            let format = if rng.random() { Format::A } else { Format::B };
            let identity = Meter::gas("LGB120820584003").identity;
            radio::build(format, 0x44, &identity, &body[..body.len().min(200)]).unwrap_or_default()
        }
        3 | 4 => {
            let data =
                [&[0x65, 0x21, 0x47, 0, 0x43, 4, 0x10, [3, 0x13, 7][rng.random_range(0..3)], 1, 0, 0, 0][..]].concat();
            link::long(0x08, 1, 0x72, &[&data[..], &some_records(rng)].concat())
        }
        _ => {
            let mut meter = Meter::gas("LGB120820584003");
            meter.records = (0..rng.random_range(0..9)).map(|_| Record::bcd(0x13, rng.random())).collect();
            meter.security = match rng.random_range(0..3) {
                0 => Security::None,
                1 => Security::Mode5([0xA5; 16]),
                _ => Security::Mode7([0xA5; 16], rng.random()),
            };
            if rng.random() { meter.radio(Format::A) } else { meter.receive(&link::short(0x7B, 1)).unwrap_or_default() }
        }
    };
    if bytes.is_empty() {
        bytes.push(rng.random());
    }
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
        3 | 4 if bytes[0] == 0x68 && bytes.len() > 10 => {
            let end = bytes.len() - 2;
            let at = rng.random_range(4..end);
            bytes[at] = rng.random();
            bytes[end] = polymeter_sdk::checksum::sum8(&bytes[4..end]);
        }
        _ => {}
    }
    bytes
}

fn some_body(rng: &mut StdRng) -> Vec<u8> {
    let mut body = vec![0; rng.random_range(0..150)];
    rng.fill(&mut body[..]);
    body
}

/// Records of every shape, mostly whole.
fn some_records(rng: &mut StdRng) -> Vec<u8> {
    let mut records = Vec::new();
    while records.len() < 200 && rng.random_ratio(9, 10) {
        let mut dif: u8 = rng.random();
        if dif & 15 == 15 && rng.random_ratio(9, 10) {
            dif &= 0xF7;
        }
        records.push(dif);
        let mut extended = dif & 0x80 != 0;
        while extended {
            let dife: u8 = rng.random();
            records.push(dife);
            extended = dife & 0x80 != 0;
        }
        let mut vif: u8 = if rng.random_ratio(1, 3) { [0xFB, 0xFD][rng.random_range(0..2)] } else { rng.random() };
        loop {
            records.push(vif);
            if vif & 0x7F == 0x7C && rng.random() {
                records.extend([1, b'x']);
            }
            if vif & 0x80 == 0 {
                break;
            }
            vif = rng.random();
        }
        let length = match dif & 15 {
            n @ 1..=4 => n,
            5 | 0xC => 4,
            6 | 0xE => 6,
            7 => 8,
            n @ 9..=0xB => n - 8,
            0xD => {
                records.push([3, 0xC3, 0xD3, 0xE3][rng.random_range(0..4)]);
                3
            }
            _ => 0,
        };
        for _ in 0..length {
            records.push(if rng.random() { rng.random_range(0..10) * 17 } else { rng.random() });
        }
    }
    records.truncate(230);
    records
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
    let (memory, state) = (some(6), some(40));
    let addresses = ["LGB120820584003", "00472165", "ABC004721651003", "", "nobody"];
    Context {
        now: NOW,
        direction: Direction::Uplink,
        transport: Transport::Stream,
        admission: Admission::Welcome,
        pending: 0,
        device: rng
            .random_ratio(3, 4)
            .then(|| Device { address: addresses[rng.random_range(0..addresses.len())].into(), memory }),
        state,
    }
}
