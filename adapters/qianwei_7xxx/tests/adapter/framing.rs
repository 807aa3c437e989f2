//! Cutting frames out of a stream: halves, neighbours, noise, lying lengths, other protocols.

use super::station::READ_AT;
use polymeter_sdk::rehearsal::cut_all;
use polymeter_sdk::{Adapter, Framing};
use qianwei_7xxx::Qianwei;
use qianwei_7xxx::device::{Meter, ReportKind};

fn adapter(profile: &str) -> Qianwei {
    Qianwei::configure(profile).expect("the profile is valid")
}
fn report() -> Vec<u8> {
    Meter::plain("00000000123456789012").report(READ_AT, ReportKind::Scheduled)
}
fn encrypted() -> Vec<u8> {
    Meter::encrypted("0000QW12345678901234").report(READ_AT, ReportKind::Scheduled)
}

/// The sum anew after header bytes were changed.
fn resum(mut frame: Vec<u8>) -> Vec<u8> {
    let end = frame.len() - 3;
    let crc = polymeter_sdk::checksum::crc16_modbus(&frame[..end]).to_be_bytes();
    frame[end..end + 2].copy_from_slice(&crc);
    frame
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    let wanted = [report(), encrypted(), report()];
    let stream = wanted.concat();
    for piece in [1, 2, 7, 59, 60, 61, 62, 63, 64, 135, 136, 137, 1000] {
        assert_eq!(cut_all(&adapter(""), &stream, piece), wanted, "pieces of {piece}");
    }
}

#[test]
fn noise_before_between_and_behind_is_passed_over() {
    let noise: Vec<u8> = (0..200_u8).chain([0x68, 0x68]).collect();
    let stream = [&noise[..], &report(), &noise, &encrypted(), &noise].concat();
    for piece in [1, 13, 1000] {
        assert_eq!(cut_all(&adapter(""), &stream, piece), [report(), encrypted()], "pieces of {piece}");
    }
}

#[test]
fn lengths_that_lie_do_not_hide_a_frame() {
    let lengths = |mut frame: Vec<u8>, whole: u16, data: u16| {
        frame[1..3].copy_from_slice(&whole.to_le_bytes());
        frame[58..60].copy_from_slice(&data.to_le_bytes());
        resum(frame)
    };
    for (whole, data) in [(0, 0), (73, 0), (136, 0), (0, 136), (65535, 65535), (200, 500), (136, 500), (0, 73), (1, 1)]
    {
        let frame = lengths(report(), whole, data);
        let stream = [&frame[..], &frame].concat();
        assert_eq!(cut_all(&adapter(""), &stream, 1000), [&frame[..], &frame], "{whole} {data}, all at once");
        assert_eq!(cut_all(&adapter(""), &frame, 50), [&frame[..]], "{whole} {data}, in pieces");
    }
    let frame = lengths(encrypted(), 136, 73);
    assert_eq!(cut_all(&adapter(""), &frame, 137), [frame], "the length before padding");
}

#[test]
fn a_damaged_frame_stays_one_frame_and_the_next_is_found() {
    let mut damaged = report();
    damaged[80] ^= 1;
    let stream = [&damaged[..], &report()].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [damaged.clone(), report()]);
    damaged[58] ^= 4;
    let stream = [&damaged[..], &report()].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [damaged, report()], "with a damaged length too");
    let stream = [&report()[..100], &report()].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [report()], "a torn frame is passed over");
}

#[test]
fn the_other_order_of_the_sum_by_option() {
    let mut frame = report();
    frame.swap(133, 134);
    let length = frame.len() as u32;
    assert_eq!(adapter(r#"{"crc_order": "lenient"}"#).frame(&frame), Framing::Frame(length));
    assert_eq!(adapter("").frame(&frame), Framing::Frame(length), "kept whole, to be told apart from noise");
}

#[test]
fn other_protocols_are_foreign_at_once() {
    for frame in [
        // The unified station's registration begins with 68 as well.
        "680130040150001234567810010020005500001251",
        "6830896745001123000103 1f9023d716",
        "fefefe6830896745001123000103 1f9023d716",
        "10 7b00 7b16",
        "00",
    ] {
        let bytes: Vec<u8> = frame
            .replace(' ', "")
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
            .collect();
        assert_eq!(adapter("").frame(&bytes), Framing::Foreign, "{frame}");
    }
}
