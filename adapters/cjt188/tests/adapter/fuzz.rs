//! Random and mutated bytes and commands: whatever comes, the adapter returns, and what it returns is within its bounds.

use super::station::NOW;
use cjt188::Cjt188;
use cjt188::device::{Dialect, Meter};
use polymeter_sdk::checksum::sum8;
use polymeter_sdk::rehearsal::{Bounds, Dice, cases};
use polymeter_sdk::{Adapter, AnswerBody, Command, Decoded, Framing, Message, TariffCycle};

const BOUNDS: Bounds = Bounds {
    frame_min: 13,
    // With 32 bytes of preamble and a prefix of 16 before it.
    frame_max: 316,
    values_per_byte: Some(1),
    address: 14..=14,
    messages_max: 70,
    collected_max: 2048,
    what_max: 64,
    frames_max: 1,
    said_max: 64,
    ..Bounds::CONTRACT
};
const ADDRESS: &str = "00052032720001";
/// Every identifier that means something, and some that do not.
const IDENTIFIERS: [u16; 28] = [
    0x901F, 0x911F, 0x907F, 0x8515, 0x8102, 0x8103, 0x8104, 0x8105, 0x8106, 0x810A, 0xD120, 0xD12B, 0xD12C, 0xD200,
    0xD2FF, 0xD300, 0xD4FF, 0x903F, 0x904F, 0x913F, 0x918F, 0xA010, 0xA015, 0xA017, 0xA018, 0xFF00, 0x0000, 0x1F90,
];
const CONTROLS: [u8; 14] = [0x81, 0x83, 0x84, 0x89, 0x95, 0x96, 0xC1, 0xC4, 0xA1, 0xA4, 0xB1, 0xAA, 0x01, 0xE1];
const TYPES: [u8; 8] = [0x10, 0x11, 0x20, 0x21, 0x22, 0x30, 0x39, 0x40];
const LENGTHS: [usize; 14] = [0, 1, 2, 5, 6, 7, 15, 17, 19, 20, 23, 24, 43, 59];
const PROFILES: [&str; 7] = [
    "{}",
    r#"{"edition": "2018", "status_layout": "split", "ser_echo": "required", "settlement_day": 28}"#,
    r#"{"di_order": "be", "unit_place": "before", "datetime": "bin", "gas_volume": "standard"}"#,
    r#"{"status_layout": "high", "reading_layout": "full20", "default_unit": "2B", "prefix": "68"}"#,
    r#"{"status_layout": "inverted", "error_status": "status", "history": "module", "wrapper": "aimeitong"}"#,
    r#"{"status_layout": "reading-fault", "ser": 255, "vendor_in_address": true, "pressure": "megapascal"}"#,
    r#"{"status_layout": "low-moving", "edition": "2018", "prefix": "fefe", "preamble": 0}"#,
];
const NAMES: [&str; 3] = ["settlement-day", "base-reading", "address"];

#[test]
fn nothing_panics_and_every_bound_holds() {
    let open = r#"{"remote_open": "open", "close_temporary": "close", "commissioning": "allow", "#;
    let opened = PROFILES.map(|profile| profile.replacen('{', open, 1).replace(", }", "}"));
    let configure = |profile: &String| Cjt188::configure(profile).expect("the profile is valid");
    let adapters: Vec<_> = [PROFILES.map(String::from), opened].concat().iter().map(configure).collect();
    cases(100_000, 0x0188_901F, |dice| {
        let adapter = dice.of(&adapters);
        let mut context = dice.context(NOW, ADDRESS, 14, 60);
        if let (true, Some(device)) = (dice.any(), &mut context.device) {
            // A request under way, often one that fits.
            let [high, low] = dice.of(&IDENTIFIERS).to_be_bytes();
            device.memory = vec![1, 0x30, 1, *dice.of(&[1, 4, 3]), high, low, 1, high, low, 1, high, dice.any()];
        }
        BOUNDS.hear(adapter, &context, &some_bytes(dice)).iter().for_each(bounded);
        // Of a device that is met anew, so that nothing is in its memory that no frame could have put there.
        context.device.iter_mut().for_each(|device| device.memory.clear());
        let mut command = dice.command(NOW, &NAMES);
        if let (true, Command::SetTariff(tariff)) = (dice.any(), &mut command) {
            // Else hardly one is what a meter can take.
            (tariff.on_meter, tariff.cycle, tariff.effective) = (true, TariffCycle::Month, 1_711_929_600);
            tariff.limits.resize(2, 0);
            tariff.prices.resize(3, 100);
        }
        let Ok(encoded) = BOUNDS.encode(adapter, &context, &command) else { return };
        let whole = |frame: &Vec<u8>| adapter.frame(frame) == Framing::Frame(frame.len() as u32);
        assert!(encoded.frames.iter().all(whole), "{command:?}: {encoded:?}");
    });
}

/// What is bounded in this protocol alone.
fn bounded(decoded: &Decoded) {
    for message in &decoded.messages {
        match message {
            Message::Answer(answer) => {
                assert_eq!(answer.correlation.len(), 4);
                if let AnswerBody::Report(r) = &answer.body {
                    assert!(r.registers.iter().all(|r| r.mantissa >= 0), "{r:?}");
                }
            }
            Message::Unknown(_) | Message::Registration(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Random bytes, damaged frames, and whole frames with right sums around random operands.
fn some_bytes(dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(6) {
        return dice.noise(0x68);
    }
    let dialects = [Dialect::default(), Dialect::gas_module(), Dialect::gas_behind_dtu(), Dialect::sc_water()];
    let dialect = dice.of(&dialects).clone();
    let start = dialect.preamble + dialect.prefix.len();
    let meter = Meter::new(ADDRESS, *dice.of(&TYPES), dialect);
    let length = if dice.one_in(4) { dice.range(0..252) } else { *dice.of(&LENGTHS) };
    let mut operands = dice.bytes(length..length + 1);
    if !dice.one_in(4) {
        // Mostly digits and units, so that the parsers get past the first field.
        for (i, b) in operands.iter_mut().enumerate() {
            *b = match dice.range(0..20) {
                0 => 0xFF,
                1 => *b,
                2..=6 if i % 5 == 4 => *dice.of(&[0x2C, 0x05, 0x17, 0x35]),
                _ => (dice.range(0..10) << 4) | dice.range(0..10),
            };
        }
    }
    let mut data = [&dice.of(&IDENTIFIERS).to_le_bytes()[..], &[dice.range(0..4)], &operands].concat();
    if dice.one_in(20) {
        data.truncate(dice.range(0..4));
    }
    let mut bytes = meter.send(*dice.of(&CONTROLS), &data);
    let end = bytes.len() - 2;
    dice.damage(&mut bytes, start..end, |bytes| bytes[end] = sum8(&bytes[start..end]));
    bytes
}
