//! Cutting frames out of bytes: halves, neighbours, noise, lying lengths, other protocols.

use super::station::READ_AT;
use polymeter_sdk::checksum::crc16_modbus;
use polymeter_sdk::rehearsal::cut_all;
use polymeter_sdk::{Adapter, Framing};
use szrq::Szrq;
use szrq::device::Meter;

fn adapter() -> Szrq {
    Szrq::configure("").expect("the profile is valid")
}
fn report() -> Vec<u8> {
    Meter::new("SZ00000012345678").report(READ_AT, 2, false)
}
fn alarm() -> Vec<u8> {
    Meter::new("SZ00000012345678").alarm(READ_AT, 7, true, 8, false)
}

fn with_length(mut frame: Vec<u8>, said: u16) -> Vec<u8> {
    let end = frame.len() - 3;
    frame[29..31].copy_from_slice(&said.to_le_bytes());
    let crc = crc16_modbus(&frame[..end]).to_le_bytes();
    frame[end..end + 2].copy_from_slice(&crc);
    frame
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    let wanted = [report(), alarm(), report()];
    let stream = wanted.concat();
    for piece in [1, 2, 7, 29, 30, 31, 47, 49, 50, 113, 114, 115, 1000] {
        assert_eq!(cut_all(&adapter(), &stream, piece), wanted, "pieces of {piece}");
    }
}

#[test]
fn noise_before_between_and_behind_is_passed_over() {
    let noise: Vec<u8> = (0..200_u8).chain([0x68, 0x68]).collect();
    let stream = [&noise[..], &report(), &noise, &alarm(), &noise].concat();
    for piece in [1, 13, 1000] {
        assert_eq!(cut_all(&adapter(), &stream, piece), [report(), alarm()], "pieces of {piece}");
    }
}

#[test]
fn a_length_taken_literally_is_believed_when_the_sum_proves_it() {
    for (frame, body) in [(report(), 64), (alarm(), 41)] {
        for said in [body, body + 16] {
            let frame = with_length(frame.clone(), said);
            for piece in [1, 60, 1000] {
                assert_eq!(
                    cut_all(&adapter(), &[&frame[..], &frame].concat(), piece),
                    [&frame[..], &frame],
                    "{said} in {piece}"
                );
            }
            assert!(adapter().decode(&super::station::station_of(&Meter::new("1"), "").context(), &frame).is_ok());
        }
    }
}

#[test]
fn a_damaged_frame_stays_one_frame_and_the_next_is_found() {
    let mut damaged = report();
    damaged[80] ^= 1;
    let stream = [&damaged[..], &alarm()].concat();
    assert_eq!(cut_all(&adapter(), &stream, 1000), [damaged.clone(), alarm()]);
    damaged[30] ^= 0x40;
    let stream = [&damaged[..], &alarm()].concat();
    assert_eq!(cut_all(&adapter(), &stream, 1000), [damaged, alarm()], "with a damaged length too");
}

#[test]
fn other_protocols_that_begin_with_68_are_foreign() {
    let others = [
        // CJ/T 188, M-Bus, DL/T 645, the unified station, 7xxx, this maker's own test bench.
        "683089674500112300010 31f9023d716",
        "6803036853fe00510016",
        "68112233445566681104333334333716",
        "68013043015000123456781002002000",
        "684900010100000001002170303030",
        "6812345678901268010b0024031518250708",
    ];
    for text in others {
        let text = text.replace(' ', "");
        let bytes: Vec<u8> =
            (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect();
        let framing = adapter().frame(&bytes);
        assert!(!matches!(framing, Framing::Frame(_) | Framing::Incomplete(_)), "{text}: {framing:?}");
    }
    assert_eq!(adapter().frame(&[0x69, 0, 0x1A]), Framing::Foreign);
}
