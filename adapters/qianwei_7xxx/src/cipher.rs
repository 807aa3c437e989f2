//! AES-128-ECB over the body, as the 新圣 deployment uses it: which key, which padding, and how a key is told from a wrong one.
//!
//! The scheme has no integrity check. A key is taken for the right one when the plaintext it gives is plausible: at least four bytes of
//! consistent padding behind a body of its usual size, or enumerations in range and some padding or, in reports, a read time that exists. Keys are tried in this order: the one the
//! device spoke last, one sent to it and not yet confirmed, the one before, the profile's slot, and the maker's default.

use crate::memory::{KeyPlace, Memory};
use crate::options::{DefaultKey, Options, Padding};
use crate::{answer, code, corrector, reading};
use polymeter_sdk::Fault;
use polymeter_sdk::keys::{Cipher, Key, KeyError, Mode};

const BLOCK: usize = 16;
/// So much consistent padding, no wrong key gives by chance.
const CERTAIN_PADDING: usize = 4;

/// A key in use, with its place.
pub struct PlacedKey {
    pub place: KeyPlace,
    key: Key,
}

/// Key of a meter as its maker sets it: `QW`, then the last 14 characters of the meter number, each less 30 hex.
pub fn default_key(meter_id: &[u8; 20]) -> [u8; BLOCK] {
    let mut key = *b"QW\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (value, character) in key[2..].iter_mut().zip(&meter_id[6..]) {
        *value = character.wrapping_sub(0x30);
    }
    key
}

/// Decrypts a body with the first key that makes sense of it.
pub fn open(
    options: &Options,
    memory: &Memory,
    meter_id: &[u8; 20],
    command: u16,
    body: &[u8],
) -> Result<(Vec<u8>, PlacedKey), Fault> {
    if body.is_empty() || !body.len().is_multiple_of(BLOCK) {
        return Err(Fault::corrupt(format!("an encrypted body is whole blocks of 16 bytes, not {}", body.len())));
    }
    let mut tried = String::new();
    for place in candidates(options, memory) {
        let outcome = match place_key(meter_id, place) {
            Ok(placed) => {
                let mut plain = placed.key.decrypt(Mode::Ecb, &[], &[], body)?;
                if let Some(proven) = unpad(&mut plain, options.padding, command)
                    && is_plausible(&plain, proven, options.padding, command)
                {
                    return Ok((plain, placed));
                }
                format!("{}: implausible", name(&placed.place))
            }
            Err((place, error)) => format!("{}: {}", name(&place), key_problem(error)),
        };
        tried.push_str(if tried.is_empty() { "" } else { "; " });
        tried.push_str(&outcome);
    }
    Err(Fault::not_authentic(format!("no key fits ({tried})")))
}

/// The key that the device expects us to use.
pub fn in_force(options: &Options, memory: &Memory, meter_id: &[u8; 20]) -> Result<PlacedKey, Fault> {
    let default = options.default_key != DefaultKey::Never;
    let places = match memory.current_key() {
        Some(current) => vec![current.clone()],
        None if default => vec![KeyPlace::Slot(options.key_slot.clone()), KeyPlace::Default],
        None => vec![KeyPlace::Slot(options.key_slot.clone())],
    };
    let mut problem = String::new();
    for place in places {
        match place_key(meter_id, place) {
            Ok(placed) => return Ok(placed),
            Err((place, error)) => problem = format!("{}: {}", name(&place), key_problem(error)),
        }
    }
    Err(Fault::not_authentic(problem))
}

impl PlacedKey {
    /// Pads and encrypts; padding is always 1 to 16 bytes.
    pub fn seal(&self, body: &[u8], padding: Padding) -> Result<Vec<u8>, Fault> {
        let fill = BLOCK - body.len() % BLOCK;
        let mut plain = Vec::with_capacity(body.len() + fill);
        plain.extend_from_slice(body);
        plain.resize(body.len() + fill, if padding == Padding::Zero { 0 } else { fill as u8 });
        Ok(self.key.encrypt(Mode::Ecb, &[], &[], &plain)?)
    }

    /// Body of 7082 with the new key of `slot`, already encrypted. Its first block is the key alone, so wrapping it is
    /// encrypting it, and no key byte comes here.
    pub fn seal_key(&self, meter_id: &[u8; 20], slot: &str, padding: Padding) -> Result<Vec<u8>, Fault> {
        let new = Key::open(address(meter_id), slot, Cipher::Aes128)
            .map_err(|error| Fault::not_authentic(format!("slot `{slot}`: {}", key_problem(error))))?;
        let mut body = self.key.wrap(&new).to_vec();
        body.extend_from_slice(&self.seal(&[0; 4], padding)?);
        Ok(body)
    }
}

/// Places to look for the key of a received frame, in order, none twice. The default stands last unless it is the current
/// one: trying it tells the station that it is in use.
fn candidates(options: &Options, memory: &Memory) -> Vec<KeyPlace> {
    let slot = KeyPlace::Slot(options.key_slot.clone());
    let default = match options.default_key {
        DefaultKey::Always => true,
        DefaultKey::UntilSet => !matches!(memory.current_key(), Some(KeyPlace::Slot(_))),
        DefaultKey::Never => false,
    };
    let others = memory.other_keys().filter(|place| **place != KeyPlace::Default);
    let mut places: Vec<KeyPlace> = Vec::with_capacity(5);
    for place in memory.current_key().into_iter().chain(others).chain([&slot, &KeyPlace::Default]) {
        if !places.contains(place) && (default || *place != KeyPlace::Default) {
            places.push(place.clone());
        }
    }
    places
}

fn place_key(meter_id: &[u8; 20], place: KeyPlace) -> Result<PlacedKey, (KeyPlace, KeyError)> {
    let opened = match &place {
        KeyPlace::Slot(slot) => Key::open(address(meter_id), slot, Cipher::Aes128),
        KeyPlace::Default => Key::maker_default(address(meter_id), Cipher::Aes128, &default_key(meter_id)),
    };
    match opened {
        Ok(key) => Ok(PlacedKey { place, key }),
        Err(error) => Err((place, error)),
    }
}

fn address(meter_id: &[u8; 20]) -> &str {
    std::str::from_utf8(meter_id).unwrap_or_default()
}

fn name(place: &KeyPlace) -> String {
    match place {
        KeyPlace::Default => "maker's default".into(),
        KeyPlace::Slot(slot) => format!("slot `{slot}`"),
    }
}

const fn key_problem(error: KeyError) -> &'static str {
    match error {
        KeyError::Absent => "no key there",
        KeyError::Denied => "the device is not assigned to this adapter",
        KeyError::BadLength | KeyError::NotAuthentic => "not usable",
    }
}

/// Cuts the padding off; `None` when it cannot be, else whether the padding itself speaks for the key.
///
/// Reports of the family's own size are cut there whatever fills them up, since no source says which bytes a meter writes: their
/// type, read time and enumerations tell a wrong key well enough. Short answers have little else to go by, so theirs has to fit.
fn unpad(plain: &mut Vec<u8>, padding: Padding, command: u16) -> Option<bool> {
    let known = code::uplink_body_bytes(command).filter(|n| (n / BLOCK + 1) * BLOCK == plain.len());
    let report = known.filter(|_| matches!(command, code::REPORT | code::PACKED | code::CORRECTOR_REPORT));
    let cut_report = |plain: &mut Vec<u8>| {
        plain.truncate(report.unwrap_or(plain.len()));
        report.map(|_| false)
    };
    match padding {
        Padding::Pkcs7 => {
            let Some(fill) = plain.last().map(|last| usize::from(*last)).filter(|fill| (1..=BLOCK).contains(fill))
            else {
                return cut_report(plain);
            };
            let body = plain.len() - fill;
            if plain[body..].iter().all(|b| usize::from(*b) == fill) {
                plain.truncate(body);
                return Some(true);
            }
            cut_report(plain)
        }
        Padding::Zero => {
            let body = known.unwrap_or(plain.len() - 1);
            let consistent = plain[body..].iter().all(|b| *b == 0);
            plain.truncate(known.unwrap_or(plain.len()));
            (consistent || report.is_some()).then_some(consistent)
        }
        Padding::Ignored => {
            plain.truncate(known.unwrap_or(plain.len()));
            Some(false)
        }
    }
}

/// Whether a body says something that this command can say.
fn is_plausible(body: &[u8], proven: bool, padding: Padding, command: u16) -> bool {
    // The key is the right one: an enumeration that is none costs nothing but itself.
    let is_whole = code::uplink_body_bytes(command) == Some(body.len());
    if proven && is_whole && BLOCK - body.len() % BLOCK >= CERTAIN_PADDING {
        return true;
    }
    match command {
        code::REPORT => reading::is_plausible_single(body, proven),
        code::PACKED => reading::is_plausible_packed(body, proven),
        code::CORRECTOR_REPORT => corrector::is_plausible(body, proven),
        _ if padding == Padding::Pkcs7 => {
            code::uplink_body_bytes(command).is_none_or(|known| body.len() == known) || answer::is_short(body)
        }
        // Without a padding to go by, the reserved half of a short answer has to be what it always is.
        _ => body.get(2..4).is_none_or(|reserved| reserved == [0, 0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_key_of_the_sheet() {
        let expected = [0x51, 0x57, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4];
        assert_eq!(default_key(b"0000QW12345678901234"), expected);
        assert_eq!(default_key(b"00000012345678901234"), expected, "QW is written whatever stands in the number");
    }

    #[test]
    fn keys_are_tried_in_order_and_none_twice() {
        let slot = |name: &str| KeyPlace::Slot(name.into());
        let options = Options::default();
        assert_eq!(candidates(&options, &Memory::default()), [slot("1"), KeyPlace::Default]);
        let mut memory = Memory::default();
        memory.speaks(&KeyPlace::Default);
        memory.speaks(&slot("2"));
        memory.expect_key(slot("3"));
        assert_eq!(candidates(&options, &memory), [slot("2"), slot("3"), slot("1"), KeyPlace::Default]);
        for rule in [DefaultKey::UntilSet, DefaultKey::Never] {
            let options = Options { default_key: rule, ..Options::default() };
            assert_eq!(candidates(&options, &memory), [slot("2"), slot("3"), slot("1")]);
        }
    }

    #[test]
    fn padding_is_cut_or_refused() {
        let check = |padding, bytes: &[u8], command, expected: Option<usize>| {
            let mut plain = bytes.to_vec();
            let fits = unpad(&mut plain, padding, command);
            assert_eq!(fits.map(|_| plain.len()), expected, "{padding:?} {bytes:02x?}");
        };
        let with = |fill: u8| [&[0, 0, 0, 0][..], &[fill; 12]].concat();
        check(Padding::Pkcs7, &with(12), code::VALVE, Some(4));
        check(Padding::Pkcs7, &[16; 16], code::READ_HOURS, Some(0));
        check(Padding::Pkcs7, &with(11), code::VALVE, Some(5));
        check(Padding::Pkcs7, &with(13), code::VALVE, None);
        check(Padding::Pkcs7, &with(0), code::VALVE, None);
        check(Padding::Pkcs7, &with(17), code::VALVE, None);
        check(Padding::Zero, &with(0), code::VALVE, Some(4));
        check(Padding::Zero, &with(12), code::VALVE, None);
        check(Padding::Zero, &with(0), code::READ_HOURS, Some(16));
        check(Padding::Ignored, &with(0xA5), code::VALVE, Some(4));
        // 73 bytes, filled up as PKCS#7, zeros, ones, ISO/IEC 7816-4 and X9.23 do it.
        let report = |tail: [u8; 7]| [&[0xA5; 73][..], &tail].concat();
        for tail in [[7; 7], [0; 7], [0xFF; 7], [0x80, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 7], [9, 9, 9, 9, 9, 9, 8]]
        {
            for padding in [Padding::Pkcs7, Padding::Zero, Padding::Ignored] {
                check(padding, &report(tail), code::REPORT, Some(73));
            }
            check(Padding::Pkcs7, &report(tail), code::READ_HOURS, (tail == [7; 7]).then_some(73));
        }
        check(Padding::Pkcs7, &[0xA5; 96], code::REPORT, None);
    }
}
