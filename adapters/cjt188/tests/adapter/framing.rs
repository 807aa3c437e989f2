//! Cutting frames out of a stream: halves, neighbours, noise, wrappers, other protocols.

use cjt188::Cjt188;
use cjt188::device::{Dialect, Meter};
use polymeter_sdk::rehearsal::cut_all;
use polymeter_sdk::{Adapter, Framing};

fn adapter(profile: &str) -> Cjt188 {
    Cjt188::configure(profile).expect("the profile is valid")
}
fn answer(dialect: Dialect) -> Vec<u8> {
    let operands = [0x67, 0x45, 0x23, 0x01, 0x2C, 0x01, 0x00];
    Meter::new("00052032720001", 0x30, dialect).send(0x81, &[&[0x1F, 0x90, 0x00][..], &operands].concat())
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    let wanted = [
        answer(Dialect::default()),
        answer(Dialect::gas_module()),
        answer(Dialect::gas_behind_dtu()),
        answer(Dialect::sc_water()),
        answer(Dialect::heat_unit_first()),
    ];
    let stream = wanted.concat();
    for piece in [1, 2, 3, 7, 11, 12, 13, 14, 22, 23, 24, 1000] {
        assert_eq!(cut_all(&adapter(""), &stream, piece), wanted, "pieces of {piece}");
    }
}

#[test]
fn a_wrapper_of_the_profile_belongs_to_its_frame() {
    let dialect = Dialect { prefix: vec![0xAB, 0xCD, 0xEF], preamble: 2, ..Dialect::default() };
    let frame = answer(dialect);
    for piece in [1, 2, 3, 4, 5, 100] {
        assert_eq!(cut_all(&adapter(r#"{"prefix": "abcdef"}"#), &frame, piece), [&frame[..]]);
    }
    assert_eq!(cut_all(&adapter(""), &frame, 100), [&frame[3..]], "unknown, it is skipped");
}

#[test]
fn noise_before_between_and_behind_is_passed_over() {
    let noise: Vec<u8> = (0..200_u8).chain([0x68, 0x68, 0x30]).collect();
    let stream = [&noise[..], &answer(Dialect::default()), &noise, &answer(Dialect::sc_water())].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [answer(Dialect::default()), answer(Dialect::sc_water())]);
    let glitch = [&[0xF0, 0x80, 0x00][..], &answer(Dialect::default())].concat();
    for piece in [1, 2, 3, 9] {
        assert_eq!(cut_all(&adapter(""), &glitch, piece), [answer(Dialect::default())], "pieces of {piece}");
    }
}

#[test]
fn a_68_among_the_operands_is_no_beginning() {
    let meter = Meter::new("68306830683068", 0x30, Dialect::default());
    let frame = meter.send(0x81, &[0x1F, 0x90, 0x68, 0x68, 0x30, 0x68, 0x30, 0x68, 0x68]);
    for piece in [1, 5, 100] {
        assert_eq!(cut_all(&adapter(""), &[&frame[..], &frame].concat(), piece), [&frame[..], &frame]);
    }
}

#[test]
fn a_damaged_frame_stays_one_frame_and_the_next_is_found() {
    let good = answer(Dialect::default());
    let mut damaged = good.clone();
    damaged[15] ^= 1;
    assert_eq!(cut_all(&adapter(""), &[&damaged[..], &good].concat(), 1000), [&damaged[..], &good]);
    let torn = [&good[..15], &good].concat();
    assert_eq!(cut_all(&adapter(""), &torn, 1000), [&good[..]], "a torn frame is passed over");
    let mut lying = good.clone();
    lying[10] = 0xF0;
    assert_eq!(cut_all(&adapter(""), &[&lying[..], &good].concat(), 1000), [&good[..]], "a length that lies");
}

#[test]
fn waiting_says_for_how_much() {
    let good = answer(Dialect::sc_water());
    assert_eq!(adapter("").frame(&good[..1]), Framing::Incomplete(13));
    assert_eq!(adapter("").frame(&good[..3]), Framing::Incomplete(12));
    assert_eq!(adapter("").frame(&good[..14]), Framing::Incomplete(good.len() as u32 - 14));
    assert_eq!(adapter("").frame(&good[..good.len() - 1]), Framing::Incomplete(1));
    assert_eq!(adapter("").frame(&[0xFE; 33]), Framing::Skip(1), "a preamble ends some time");
}

#[test]
fn other_protocols_are_foreign() {
    let hex =
        |text: &str| -> Vec<u8> { text.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect() };
    for (what, bytes) in [
        ("M-Bus", hex("68 15 15 68 08 01 72 78 56 34 12 00 00 00 07 01 00 00 00 0c 13 78 56 34 12 8d 16")),
        ("M-Bus, longer", hex("68 31 31 68 08 01 72 45 58 57 03 b4 05 34 04 9e 00 27 b6")),
        ("7xxx", hex("68 88 00 00 01 00 00 00 01 00 21 70 30 30 30 30")),
        ("7xxx with a likely length", hex("68 41 00 00 01 00 00 00 01 00 21 70 30 30 30 30")),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
        ("Modbus TCP", hex("00 01 00 00 00 06 01 03 00 00 00 0a 00 00 00 00")),
    ] {
        assert_eq!(adapter("").frame(&bytes), Framing::Foreign, "{what}");
    }
}
