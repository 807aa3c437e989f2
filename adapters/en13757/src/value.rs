//! Data to exact numbers. No float survives here: a 32-bit real becomes the scaled integer that it is.

use crate::record::{Coding, Record};

/// Powers of ten that the contract carries.
pub const EXPONENT_MAX: i32 = 18;
/// Digits that always fit into an i64.
const DIGITS_MAX: u128 = 1_000_000_000_000_000_000;

/// What a record counts, in the unit of its VIF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// `mantissa × 10^exponent`, the VIF's own power not yet included.
    Number {
        mantissa: i64,
        exponent: i8,
    },
    /// The most negative integer of its length: the meter has no value.
    Absent {
        mantissa: i64,
    },
    /// Last character first.
    Text(&'a [u8]),
    /// No number, for this reason.
    Bytes(&'static str),
    None,
}

/// Whether an integer has a sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    Signed,
    /// Bits, as flags and masks, and numbers that count or name.
    Unsigned,
}

/// Reads a record's data. `scale` is the power of ten of its VIF and VIFEs: it bounds how finely a real can be said.
#[inline]
pub fn read<'a>(record: &Record<'a>, sign: Sign, scale: i32) -> Value<'a> {
    match record.coding {
        Coding::None => Value::None,
        Coding::Integer | Coding::Binary => integer(record.data, sign),
        Coding::Real => real(record.data, scale),
        Coding::Bcd | Coding::BcdPositive => bcd(record.data, false, sign),
        Coding::BcdNegative => bcd(record.data, true, sign),
        Coding::Text => Value::Text(record.data),
    }
}

#[inline]
fn integer<'a>(data: &[u8], sign: Sign) -> Value<'a> {
    let Some((&top, lower)) = data.split_last() else { return Value::Bytes("no bytes") };
    if data.len() > 8 {
        return Value::Bytes("more than 64 bits");
    }
    let fill = if sign == Sign::Signed && top & 0x80 != 0 { 0xFF } else { 0 };
    let mut bytes = [fill; 8];
    bytes.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let mantissa = i64::from_le_bytes(bytes);
    match sign {
        Sign::Unsigned if mantissa < 0 => Value::Bytes("more than 63 bits"),
        Sign::Signed if top == 0x80 && lower.iter().all(|b| *b == 0) => Value::Absent { mantissa },
        _ => Value::Number { mantissa, exponent: 0 },
    }
}

/// Low byte first. A top digit F is a minus sign, but of what has none it is a letter of a name; any other digit above 9 is what
/// the display shows of an error.
#[inline]
fn bcd<'a>(data: &[u8], negative: bool, sign: Sign) -> Value<'a> {
    let Some((&top, lower)) = data.split_last() else { return Value::Bytes("no digits") };
    if data.len() > 9 {
        return Value::Bytes("more than 18 digits");
    }
    if negative && sign == Sign::Unsigned {
        return Value::Bytes("a minus sign of what has none");
    }
    let (minus, top) = if top >> 4 == 15 && sign == Sign::Signed { (true, top & 15) } else { (false, top) };
    let digits = std::iter::once(&top).chain(lower.iter().rev());
    let sum = digits.into_iter().try_fold(0_i64, |sum, b| Some(sum * 100 + i64::from(polymeter_sdk::bcd::byte(*b)?)));
    match sum {
        Some(sum) => Value::Number { mantissa: if minus || negative { -sum } else { sum }, exponent: 0 },
        None => Value::Bytes("digits above 9"),
    }
}

/// A real is `m × 2^e`, so it has a finite decimal expansion. That expansion, exactly, where it has at most 18 digits and
/// 18 places; otherwise rounded (half to even) to as many, which is far finer than a real resolves: the same real is had back.
fn real<'a>(data: &[u8], scale: i32) -> Value<'a> {
    let Some(bytes) = data.first_chunk() else { return Value::Bytes("no real") };
    match decimal(u32::from_le_bytes(*bytes), scale) {
        Some((mantissa, exponent)) => Value::Number { mantissa, exponent },
        None => Value::Bytes("no number, or beyond all bounds"),
    }
}

/// `None` for infinities, for what is no number, and for what needs a greater exponent than the contract has.
fn decimal(bits: u32, scale: i32) -> Option<(i64, i8)> {
    let power = (bits >> 23 & 0xFF) as i32;
    let fraction = u128::from(bits & 0x007F_FFFF);
    let (m, e) = match power {
        0xFF => return None,
        0 => (fraction, -149),
        _ => (fraction | 0x0080_0000, power - 150),
    };
    if m == 0 {
        return Some((0, 0));
    }
    // Whole powers of two go into the mantissa's place, so that round numbers stay short.
    let zeros = (m.trailing_zeros() as i32).min((-e).max(0));
    let (m, e) = (m >> zeros, e + zeros);
    let (mut magnitude, mut exponent) = if e >= 0 { large(m << e) } else { small(m, -e, EXPONENT_MAX + scale) };
    while exponent < 0 && magnitude.is_multiple_of(10) {
        (magnitude, exponent) = (magnitude / 10, exponent + 1);
    }
    if exponent + scale > EXPONENT_MAX {
        return None;
    }
    let mantissa = i64::try_from(magnitude).ok()?;
    Some((if bits >> 31 == 1 { -mantissa } else { mantissa }, exponent as i8))
}

/// At most 18 digits of an integer, and the power of ten that stands for the others.
fn large(value: u128) -> (u128, i32) {
    let (mut divisor, mut exponent) = (1_u128, 0);
    while value / divisor >= DIGITS_MAX {
        (divisor, exponent) = (divisor * 10, exponent + 1);
    }
    (round(value, divisor), exponent)
}

/// `m / 2^halvings` with as many places as it has, as fit into 18 digits, or as `places_max` allows.
fn small(m: u128, halvings: i32, places_max: i32) -> (u128, i32) {
    // A fraction over 2^n has n places. 24 bits times 10^31 still fit.
    let places_max = places_max.clamp(0, 31).min(halvings);
    let (mut scaled, mut places) = (m, 0);
    let whole = |scaled: u128| if halvings < 128 { scaled >> halvings } else { 0 };
    while places < places_max && whole(scaled * 10) < DIGITS_MAX {
        (scaled, places) = (scaled * 10, places + 1);
    }
    let rounded = if halvings < 127 { round(scaled, 1 << halvings) } else { 0 };
    (rounded, -places)
}

/// The quotient, half to even.
fn round(value: u128, divisor: u128) -> u128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    let up = match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient & 1 == 1,
        std::cmp::Ordering::Greater => true,
    };
    quotient + u128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real_of(f: f32, scale: i32) -> Option<(i64, i8)> {
        decimal(f.to_bits(), scale)
    }

    #[test]
    fn reals_are_what_they_are() {
        for (f, wanted) in [
            (0.0, (0, 0)),
            (1.0, (1, 0)),
            (-21.5, (-215, -1)),
            (0.125, (125, -3)),
            (1e10, (10_000_000_000, 0)),
            // 0.1 as a real is 0.100000001490116119384765625.
            (0.1, (100_000_001_490_116_119, -18)),
            (16_777_216.0, (16_777_216, 0)),
            (-0.170_721_78, (-170_721_784_234_046_936, -18)),
        ] {
            assert_eq!(real_of(f, 0), Some(wanted), "{f}");
        }
        for f in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(real_of(f, 0), None);
        }
        assert_eq!(real_of(f32::MAX, 0), None);
        assert_eq!(real_of(f32::MAX, -3), Some((340_282_346_638_528_860, 21)));
        assert_eq!(real_of(f32::MIN_POSITIVE, 0), Some((0, 0)), "below every place that can be said");
    }

    #[test]
    fn every_real_is_had_back() {
        let mut bits = 1_u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let f = f32::from_bits(bits & 0x7FFF_FFFF);
            if !(1e-9..1e30).contains(&f) {
                continue;
            }
            let (mantissa, exponent) = real_of(f, 0).expect("within bounds");
            let back: f32 = format!("{mantissa}e{exponent}").parse().expect("a number");
            assert_eq!(back.to_bits(), f.to_bits(), "{f} became {mantissa}e{exponent}");
        }
    }

    #[test]
    fn integers_and_digits() {
        let number = |mantissa| Value::Number { mantissa, exponent: 0 };
        assert_eq!(integer(&[0xFE, 0xFF, 0xFF], Sign::Signed), number(-2));
        assert_eq!(integer(&[0xFE, 0xFF, 0xFF], Sign::Unsigned), number(0xFF_FFFE));
        assert_eq!(integer(&[0, 0x80], Sign::Signed), Value::Absent { mantissa: -32_768 });
        assert_eq!(integer(&[0, 0x80], Sign::Unsigned), number(0x8000));
        assert_eq!(integer(&[0xFF; 8], Sign::Unsigned), Value::Bytes("more than 63 bits"));
        assert_eq!(integer(&[1; 9], Sign::Signed), Value::Bytes("more than 64 bits"));
        assert_eq!(bcd(&[0x78, 0x56, 0x34, 0x12], false, Sign::Signed), number(12_345_678));
        assert_eq!(bcd(&[0x18, 0x00, 0xF0], false, Sign::Signed), number(-18));
        assert_eq!(bcd(&[0x18], true, Sign::Signed), number(-18));
        assert_eq!(bcd(&[0xDD, 0xB4, 0xEB], false, Sign::Signed), Value::Bytes("digits above 9"));
        assert_eq!(bcd(&[0x1A], false, Sign::Signed), Value::Bytes("digits above 9"));
        assert_eq!(bcd(&[0x99; 9], false, Sign::Signed), number(999_999_999_999_999_999));
        assert_eq!(bcd(&[], false, Sign::Signed), Value::Bytes("no digits"));
        assert_eq!(bcd(&[0x78, 0x56, 0x34, 0x12], false, Sign::Unsigned), number(12_345_678));
        assert_eq!(bcd(&[0x78, 0x56, 0x34, 0xF2], false, Sign::Unsigned), Value::Bytes("digits above 9"));
        assert_eq!(bcd(&[0x18], true, Sign::Unsigned), Value::Bytes("a minus sign of what has none"));
    }
}
