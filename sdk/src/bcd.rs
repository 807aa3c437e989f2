//! Packed decimal digits, two a byte.

/// Value of the two digits of one byte.
#[inline]
pub const fn byte(packed: u8) -> Option<u8> {
    let (high, low) = (packed >> 4, packed & 15);
    if high > 9 || low > 9 { None } else { Some(high * 10 + low) }
}

/// 0..=99 as one byte.
#[inline]
pub const fn pack(value: u8) -> Option<u8> {
    if value > 99 { None } else { Some(((value / 10) << 4) | (value % 10)) }
}

/// Most significant byte first; `None` for more than 9 bytes or a half byte above 9.
pub fn number(packed: &[u8]) -> Option<u64> {
    if packed.len() > 9 {
        return None;
    }
    packed.iter().try_fold(0, |sum, b| Some(sum * 100 + u64::from(byte(*b)?)))
}

/// Least significant byte first; `None` for more than 9 bytes or a half byte above 9.
pub fn number_le(packed: &[u8]) -> Option<u64> {
    if packed.len() > 9 {
        return None;
    }
    packed.iter().rev().try_fold(0, |sum, b| Some(sum * 100 + u64::from(byte(*b)?)))
}

/// The digits as text, leading zeros kept: how an address is printed. `None` when a half byte is above 9.
pub fn digits(packed: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(packed.len() * 2);
    for b in packed {
        byte(*b)?;
        text.push((b'0' + (b >> 4)) as char);
        text.push((b'0' + (b & 15)) as char);
    }
    Some(text)
}

/// Digits to `N` bytes, filled with zeros in front; `None` when they do not fit or are no digits.
pub fn pack_digits<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if digits.len() > N * 2 || digits.is_empty() {
        return None;
    }
    for (position, digit) in digits.bytes().rev().enumerate() {
        let digit = digit.checked_sub(b'0').filter(|d| *d <= 9)?;
        *out.get_mut(N - 1 - position / 2)? |= digit << (position % 2 * 4);
    }
    Some(out)
}

/// A number to `N` bytes, most significant first; `None` when it does not fit.
pub fn pack_number<const N: usize>(mut value: u64) -> Option<[u8; N]> {
    let mut out = [0; N];
    for b in out.iter_mut().rev() {
        *b = pack((value % 100) as u8)?;
        value /= 100;
    }
    (value == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        assert_eq!(number(&[0x12, 0x34, 0x56]), Some(123_456));
        assert_eq!(number_le(&[0x56, 0x34, 0x12]), Some(123_456));
        assert_eq!(number(&[0x1A]), None);
        assert_eq!(number(&[0; 10]), None);
        assert_eq!(number(&[0x99; 9]), Some(999_999_999_999_999_999));
        assert_eq!(digits(&[0x05, 0x00]).as_deref(), Some("0500"));
        assert_eq!(digits(&[0xA5]), None);
        assert_eq!(pack_digits::<3>("12345"), Some([0x01, 0x23, 0x45]));
        assert_eq!(pack_digits::<2>("12345"), None);
        assert_eq!(pack_digits::<2>("1 3"), None);
        assert_eq!(pack_digits::<2>(""), None);
        assert_eq!(pack_number::<2>(1234), Some([0x12, 0x34]));
        assert_eq!(pack_number::<1>(100), None);
        assert!((0..=99).all(|v| pack(v).and_then(byte) == Some(v)));
        assert_eq!(pack(100), None);
    }
}
