//! Published telegrams under encryption that no check sum protects any more, and what changing them does.

use super::station::{Station, station_of};
use polymeter_sdk::keys::store;
use polymeter_sdk::{FaultKind, Message, Quantity};

/// OMS volume 2, annex N: gas meter, security mode 5, as a receiver hands it on without check sums.
const MODE_5: &str = "2E4493157856341233037A2A0020255923C95AAA26D1B2E7493B013EC4A6F6D3529B520EDFF0EA6DEFC99D6D69EBF3";
/// The same meter, security mode 7.
const MODE_7: &str = "434493157856341233038C2075900F002C25B30A000021924D4F2FB66E017A75002007109058475F4BC91DF878B80A1B0F98B629024AAC727942BFC549233C0140829B93";
const KEY_5: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17];
const KEY_7: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const STRIPPED: &str = r#"{"link": "wireless", "radio_crc": "stripped"}"#;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|p| u8::from_str_radix(std::str::from_utf8(p).expect("ASCII"), 16).expect("hex")).collect()
}

fn station(key: [u8; 16]) -> Station {
    let station = station_of(STRIPPED, "ELS123456783303");
    store::insert("1", key);
    station
}

#[test]
fn published_telegrams_say_what_they_should() {
    for (telegram, key) in [(MODE_5, KEY_5), (MODE_7, KEY_7)] {
        let decoded = station(key).hear(&bytes(telegram)).expect("the published key");
        let Some(Message::Report(report)) = decoded.messages.last() else { panic!("a report") };
        let total = report.registers.iter().find(|r| r.quantity == Quantity::WorkingVolume).expect("a volume");
        assert_eq!((total.mantissa, total.exponent), (2_850_427, -2));
        assert_eq!(report.at.map(polymeter_sdk::civil::text).as_deref(), Some("2008-05-31T23:50:00"));
    }
}

/// The MAC of mode 7 covers everything from the header of the application on; what lies before it is the counter and the
/// identification that the keys are made with, or no part of the meaning. Manufacturer, version and medium stand for the meter, not for
/// the message: only the check sums of the link guard them.
#[test]
fn mode_7_gives_no_other_reading_without_any_check_sum() {
    let good = bytes(MODE_7);
    let report = |frame: &[u8]| {
        let decoded = station(KEY_7).hear(frame).ok()?;
        decoded.messages.into_iter().find_map(|m| if let Message::Report(report) = m { Some(report) } else { None })
    };
    let meaning = report(&good).expect("a report");
    // Length and control byte decide whether it is a frame at all.
    for bit in (2 * 8..good.len() * 8).filter(|bit| !matches!(bit / 8, 2 | 3 | 8 | 9)) {
        let mut frame = good.clone();
        frame[bit / 8] ^= 1 << (bit % 8);
        if let Some(found) = report(&frame) {
            assert_eq!(found, meaning, "bit {} of byte {}", bit % 8, bit / 8);
        }
    }
}

#[test]
fn a_wrong_key_is_never_read() {
    for telegram in [MODE_5, MODE_7] {
        let mut key = [0; 16];
        for n in 0..64_u8 {
            key[0] = n;
            key[15] = n.wrapping_mul(7) | 1;
            let fault = station(key).hear(&bytes(telegram)).expect_err("another key");
            assert_eq!(fault.kind, FaultKind::NotAuthentic);
        }
    }
}
