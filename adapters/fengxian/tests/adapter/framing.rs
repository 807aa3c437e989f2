//! Cutting frames out of bytes: halves, neighbours, noise, both orders of the length, other protocols.

use super::station::READ_AT;
use fengxian::Fengxian;
use fengxian::device::Meter;
use fengxian::frame::LengthOrder;
use polymeter_sdk::rehearsal::cut_all;
use polymeter_sdk::{Adapter, Framing};

fn adapter() -> Fengxian {
    Fengxian::configure("").expect("the profile is valid")
}
fn report(order: LengthOrder) -> Vec<u8> {
    let mut meter = Meter::new("31001234567890");
    meter.style.order = order;
    meter.report(READ_AT, 1 << 5)
}
fn heartbeat() -> Vec<u8> {
    Meter::new("31001234567890").heartbeat(READ_AT)
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    let wanted = [report(LengthOrder::BigEndian), heartbeat(), report(LengthOrder::LittleEndian)];
    let stream = wanted.concat();
    for piece in [1, 2, 7, 17, 18, 19, 193, 194, 195, 1000] {
        assert_eq!(cut_all(&adapter(), &stream, piece), wanted, "pieces of {piece}");
    }
}

#[test]
fn noise_before_between_and_behind_is_passed_over() {
    let noise: Vec<u8> = (0..200_u8).chain([0x69, 0x69]).collect();
    let frame = report(LengthOrder::BigEndian);
    let stream = [&noise[..], &frame, &noise, &heartbeat(), &noise].concat();
    for piece in [1, 13, 1000] {
        assert_eq!(cut_all(&adapter(), &stream, piece), [frame.clone(), heartbeat()], "pieces of {piece}");
    }
}

#[test]
fn a_damaged_frame_stays_one_frame_and_the_next_is_found() {
    let mut damaged = report(LengthOrder::BigEndian);
    damaged[80] ^= 1;
    let stream = [&damaged[..], &heartbeat()].concat();
    assert_eq!(cut_all(&adapter(), &stream, 1000), [damaged, heartbeat()]);
}

#[test]
fn other_protocols_are_foreign() {
    let adapter = Fengxian::configure("").expect("the profile is valid");
    for bytes in [&[0x68, 0x30, 0x89, 0x67][..], &[0x10, 0x40, 0xFE, 0x3E, 0x16], &[0x69, 0x12, 0x34], &[0xFF]] {
        assert_eq!(adapter.frame(bytes), Framing::Foreign, "{bytes:02x?}");
    }
}
