//! Cutting frames out of a stream: packets, answers, halves, noise, other protocols.

use super::station::{IMEI, NOW};
use modbus_corrector::ModbusCorrector;
use modbus_corrector::device::{Corrector, State};
use modbus_corrector::frame::seal;
use polymeter_sdk::rehearsal::cut_all;
use polymeter_sdk::{Adapter, Framing};

fn adapter(profile: &str) -> ModbusCorrector {
    ModbusCorrector::configure(profile).expect("the profile is valid")
}

fn answer() -> Vec<u8> {
    let mut corrector = Corrector::typical(1, &State::healthy(NOW));
    corrector.hear(&seal(vec![1, 3, 0, 0, 0, 31])).expect("an answer")
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    let adapter = adapter(r#"{"heartbeat": {"form": "none", "prefix": "FEFE"}}"#);
    let exception = seal(vec![1, 0x83, 2]);
    let written = seal(vec![1, 16, 0, 27, 0, 3]);
    let parts = [IMEI.as_bytes().to_vec(), answer(), vec![0xFE, 0xFE], exception, written, answer(), vec![0xFE, 0xFE]];
    for piece in [1, 2, 3, 5, 7, 15, 16, 64, 1000] {
        assert_eq!(cut_all(&adapter, &parts.concat(), piece), parts, "{piece}");
    }
}

#[test]
fn noise_and_damage_cost_no_good_frame() {
    let adapter = adapter("");
    for noise in [&[0_u8][..], &[0xFF, 0, 0], &[1, 3], &[1, 3, 62, 9, 9], &[0x55; 40]] {
        let stream = [noise, &answer()].concat();
        assert_eq!(cut_all(&adapter, &stream, 1000), [answer()], "{noise:02x?}");
    }
    assert_eq!(cut_all(&adapter, &[&[0][..], &answer()].concat(), 1), [answer()], "a glitch, byte by byte");
    let mut damaged = answer();
    damaged[30] ^= 1;
    assert_eq!(cut_all(&adapter, &[damaged.clone(), answer()].concat(), 1000), [damaged, answer()]);
    // The answer of a device that nobody asked is a frame, for decode to refuse.
    let other = seal(vec![7, 3, 2, 0, 1]);
    assert_eq!(adapter.frame(&other), Framing::Frame(7));
}

#[test]
fn other_protocols_are_foreign_at_once() {
    let adapter = adapter("");
    for bytes in [
        &[0x68][..],
        &[0x68, 0x01, 0x30, 0x04, 0x01, 0x50, 0x00, 0x12, 0x34, 0x56, 0x78, 0x10, 0x01, 0x00, 0x20],
        &[0x68, 0x30, 0x89, 0x67, 0x45, 0x00, 0x11, 0x23, 0x00, 0x81, 0x16],
        &[0x68, 0x4D, 0x4D, 0x68, 0x08, 0x01, 0x03, 0x72],
        &[0xFE, 0xFE, 0xFE, 0x68],
        &[0x10, 0x40, 0x05, 0x45, 0x16],
        b"GET / HTTP/1.1\r\n",
        b"{\"t\":1}",
        &[1, 1],
        &[1, 3, 63],
        &[2],
    ] {
        assert_eq!(adapter.frame(bytes), Framing::Foreign, "{bytes:02x?}");
    }
    assert_eq!(adapter.frame(&[1]), Framing::Incomplete(4));
    assert_eq!(adapter.frame(&[1, 3, 62]), Framing::Incomplete(64));
    assert_eq!(adapter.frame(b"8661"), Framing::Incomplete(11));
}

#[test]
fn public_examples_of_the_check_sum() {
    // MODBUS over serial line V1.02, appendix B: 02 07 is followed by 41 12.
    assert_eq!(seal(vec![2, 7]), [2, 7, 0x41, 0x12]);
    assert_eq!(seal(vec![0x11, 3, 0, 0x6B, 0, 3])[6..], [0x76, 0x87]);
}
