//! Cutting frames out of a stream: halves, neighbours, noise, other protocols.

use super::station::NOW;
use en13757::En13757;
use en13757::device::{Meter, Record};
use en13757::radio::Format;
use polymeter_sdk::rehearsal::cut_all;
use polymeter_sdk::{Adapter, Framing};

fn adapter(profile: &str) -> En13757 {
    En13757::configure(profile).expect("the profile is valid")
}
fn meter() -> Meter {
    let mut meter = Meter::gas("LGB120820584003");
    meter.records = (0..12).map(|n| Record::bcd(0x13, 1000 + n)).chain([Record::time(&[0x04], NOW)]).collect();
    meter
}
fn wired() -> Vec<u8> {
    let mut meter = meter();
    meter.receive(&[0x10, 0x7B, 0x01, 0x7C, 0x16]).expect("an answer")
}
fn radio(format: Format) -> Vec<u8> {
    meter().radio(format)
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    let wired_only = [wired(), vec![0xE5], vec![0x10, 0x08, 0x01, 0x09, 0x16], wired()];
    let mixed = [wired(), radio(Format::A), radio(Format::B), radio(Format::A)];
    let wireless = [radio(Format::B), radio(Format::A), radio(Format::A)];
    for piece in [1, 2, 3, 5, 7, 11, 12, 13, 64, 1000] {
        assert_eq!(cut_all(&adapter(r#"{"link": "wired"}"#), &wired_only.concat(), piece), wired_only, "{piece}");
        assert_eq!(cut_all(&adapter(""), &wired_only.concat(), piece), wired_only, "{piece}");
        assert_eq!(cut_all(&adapter(""), &mixed.concat(), piece), mixed, "{piece}");
        assert_eq!(cut_all(&adapter(r#"{"link": "wireless"}"#), &wireless.concat(), piece), wireless, "{piece}");
    }
}

#[test]
fn noise_before_and_between_is_passed_over() {
    let noise: Vec<u8> = (0..60_u8).map(|n| n.wrapping_mul(37) | 0x80).chain([0x68, 0x20, 0x10]).collect();
    let stream = [&noise[..], &wired(), &noise, &wired(), &noise].concat();
    assert_eq!(cut_all(&adapter(r#"{"link": "wired"}"#), &stream, 1000), [wired(), wired()]);
    let stream = [&noise[..], &radio(Format::A), &noise, &wired()].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [radio(Format::A), wired()]);
}

#[test]
fn noise_before_a_telegram_that_comes_in_pieces_costs_nothing() {
    let telegrams = [radio(Format::A), radio(Format::B), radio(Format::A)];
    let stream = telegrams.iter().flat_map(|telegram| [&[0x00], &telegram[..]].concat()).collect::<Vec<_>>();
    for piece in 1..=stream.len() {
        assert_eq!(cut_all(&adapter(""), &stream, piece), telegrams, "{piece}");
        assert_eq!(cut_all(&adapter(r#"{"link": "wireless"}"#), &stream, piece), telegrams, "{piece}");
    }
    for split in 1..telegrams[0].len() {
        let begun = [&[0x00], &telegrams[0][..split]].concat();
        assert_eq!(adapter("").frame(&begun), Framing::Skip(1), "{split}");
    }
}

#[test]
fn what_looks_like_a_long_telegram_holds_back_none_that_is_whole() {
    for whole in [radio(Format::A), radio(Format::B), wired()] {
        let stream = [&[0xFF, 0x44, 0x93, 0x15][..], &whole].concat();
        assert_eq!(adapter("").frame(&stream), Framing::Skip(4));
        assert!(matches!(adapter("").frame(&stream[..stream.len() - 1]), Framing::Incomplete(_)));
    }
}

#[test]
fn a_damaged_frame_stays_one_frame_and_the_next_is_found() {
    let mut damaged = wired();
    damaged[30] ^= 1;
    let stream = [&damaged[..], &wired()].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [damaged, wired()]);
    let torn = &wired()[..20];
    let stream = [torn, &wired(), &wired()].concat();
    let frames = cut_all(&adapter(r#"{"link": "wired"}"#), &stream, 1000);
    assert_eq!(frames.last(), Some(&wired()), "a torn frame costs no more than one");
    let mut damaged = radio(Format::A);
    damaged[20] ^= 1;
    let stream = [&damaged[..], &radio(Format::A)].concat();
    assert_eq!(cut_all(&adapter(""), &stream, 1000), [damaged, radio(Format::A)]);
}

#[test]
fn radio_telegrams_without_check_sums_are_cut_by_their_length() {
    let with = radio(Format::A);
    let parsed = en13757::radio::parse(&with).expect("a telegram");
    let mut bare = vec![with[0], parsed.control];
    bare.extend_from_slice(&parsed.sender.to_radio());
    bare.extend_from_slice(&parsed.body);
    let stripped = adapter(r#"{"link": "wireless", "radio_crc": "stripped"}"#);
    let stream = [&bare[..], &bare].concat();
    for piece in [1, 10, 1000] {
        assert_eq!(cut_all(&stripped, &stream, piece), [&bare[..], &bare]);
    }
    assert_ne!(adapter("").frame(&bare), Framing::Frame(bare.len() as u32), "never without being told");
}

#[test]
fn other_protocols_are_foreign_at_once() {
    for frame in [
        "680130040150001234567810010020005500001251",
        "6830896745001123000103 1f9023d716",
        "fefefe6830896745001123000103 1f9023d716",
        "68880000010000000100217030303030",
        "7b2274223a317d",
        "00",
    ] {
        let digits: Vec<u8> = frame.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|p| u8::from_str_radix(std::str::from_utf8(p).expect("ASCII"), 16).expect("hex"))
            .collect();
        assert_eq!(adapter("").frame(&bytes), Framing::Foreign, "{frame}");
    }
}
