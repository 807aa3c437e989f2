//! One number in a device's registers: where it stands, how its bytes lie, and its exact value as a scaled integer.
//!
//! ```text
//! order   bytes on the wire of 0A0B0C0Dh   | 64 bits: the words, or the bytes within each, in the other order likewise
//! ABCD    0A 0B 0C 0D                      | CDAB: low word first, the usual "swapped float"
//! BADC    0B 0A 0D 0C                      | DCBA: low byte first
//! ```

use polymeter_sdk::bcd;
use serde::Deserialize;

/// Words and bytes of a value. With one register only the order of its two bytes is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub enum Order {
    #[default]
    #[serde(rename = "ABCD")]
    Abcd,
    #[serde(rename = "CDAB")]
    Cdab,
    #[serde(rename = "BADC")]
    Badc,
    #[serde(rename = "DCBA")]
    Dcba,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bcd16,
    Bcd32,
    Bcd48,
    Bcd64,
}

impl Type {
    pub const fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::Bcd16 => 1,
            Self::U32 | Self::I32 | Self::F32 | Self::Bcd32 => 2,
            Self::Bcd48 => 3,
            Self::U64 | Self::I64 | Self::F64 | Self::Bcd64 => 4,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Whether these bits are a float between -1 and 1, both excluded, however near: told by its exponent, before any rounding.
    pub const fn is_below_one(self, bits: u64) -> bool {
        match self {
            Self::F32 => bits & 0x7FFF_FFFF < 0x3F80_0000,
            Self::F64 => bits & 0x7FFF_FFFF_FFFF_FFFF < 0x3FF0_0000_0000_0000,
            _ => false,
        }
    }

    /// The value of these bits; floats times 10^`decimals`, rounded half to even. `None`: none that an integer of 64 bits can hold.
    pub fn value(self, bits: u64, decimals: u8) -> Option<i64> {
        match self {
            Self::U16 | Self::U32 | Self::U64 => i64::try_from(bits).ok(),
            Self::I16 => Some(i64::from(bits as u16 as i16)),
            Self::I32 => Some(i64::from(bits as u32 as i32)),
            Self::I64 => Some(bits as i64),
            // The bits of a 32-bit number as those of a 64-bit one, without arithmetic: widening is exact.
            Self::F32 => scaled(f64::from(f32::from_bits(bits as u32)), decimals),
            Self::F64 => scaled(f64::from_bits(bits), decimals),
            Self::Bcd16 | Self::Bcd32 | Self::Bcd48 | Self::Bcd64 => {
                let bytes = bits.to_be_bytes();
                let digits = bytes.get(8 - usize::from(self.registers()) * 2..)?;
                bcd::number(digits).and_then(|n| i64::try_from(n).ok())
            }
        }
    }

    /// The bits of a whole number; `None` when it does not fit. Floats are not written.
    pub fn bits(self, value: i64) -> Option<u64> {
        match self {
            Self::U16 => u16::try_from(value).ok().map(u64::from),
            Self::U32 => u32::try_from(value).ok().map(u64::from),
            Self::U64 => u64::try_from(value).ok(),
            Self::I16 => i16::try_from(value).ok().map(|n| u64::from(n as u16)),
            Self::I32 => i32::try_from(value).ok().map(|n| u64::from(n as u32)),
            Self::I64 => Some(value as u64),
            Self::Bcd16 | Self::Bcd32 | Self::Bcd48 | Self::Bcd64 => {
                let packed = bcd::pack_number::<8>(u64::try_from(value).ok()?).map(u64::from_be_bytes)?;
                (self == Self::Bcd64 || packed >> (u32::from(self.registers()) * 16) == 0).then_some(packed)
            }
            Self::F32 | Self::F64 => None,
        }
    }
}

/// A finite number times a power of ten, to the nearest integer, ties to the even one; exact whatever the number.
fn scaled(number: f64, decimals: u8) -> Option<i64> {
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7FF) as i32, bits & ((1 << 52) - 1));
    if exponent == 0x7FF {
        return None;
    }
    // number = mantissa × 2^power, with 53 bits; 10^9 has 30.
    let (mantissa, power) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    let product = u128::from(mantissa) * 10_u128.checked_pow(u32::from(decimals))?;
    let magnitude = match u32::try_from(power) {
        Ok(left) if product == 0 || left < product.leading_zeros() => product.checked_shl(left).unwrap_or(0),
        Ok(_) => return None,
        Err(_) => {
            let right = power.unsigned_abs();
            if right > 127 {
                0
            } else {
                let (whole, rest) = (product >> right, product & ((1_u128 << right) - 1));
                let half = 1_u128 << (right - 1);
                whole + u128::from(rest > half || rest == half && whole & 1 == 1)
            }
        }
    };
    let magnitude = i64::try_from(magnitude).ok()?;
    Some(if number.is_sign_negative() { -magnitude } else { magnitude })
}

/// Up to eight bytes as they come, as one number with its high byte first.
pub fn bits(order: Order, wire: &[u8]) -> u64 {
    let byte = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    let words = wire.chunks(2);
    match order {
        Order::Abcd => wire.iter().fold(0, byte),
        Order::Dcba => wire.iter().rev().fold(0, byte),
        Order::Cdab => words.rev().fold(0, |sum, word| word.iter().fold(sum, byte)),
        Order::Badc => words.fold(0, |sum, word| word.iter().rev().fold(sum, byte)),
    }
}

/// The bytes of so many registers, as [`bits`] reads them.
pub fn wire(order: Order, registers: u16, value: u64) -> Vec<u8> {
    let count = usize::from(registers.min(4)) * 2;
    arranged(order, &value.to_be_bytes()[8 - count..])
}

/// Bytes with their high one first as they stand in registers of this order, and the same the other way round.
pub fn arranged(order: Order, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match order {
        Order::Abcd => {}
        Order::Dcba => bytes.reverse(),
        Order::Cdab => bytes = bytes.chunks(2).rev().flatten().copied().collect(),
        Order::Badc => bytes.chunks_mut(2).for_each(<[u8]>::reverse),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_both_ways() {
        for (order, bytes) in [
            (Order::Abcd, [0x0A, 0x0B, 0x0C, 0x0D]),
            (Order::Cdab, [0x0C, 0x0D, 0x0A, 0x0B]),
            (Order::Badc, [0x0B, 0x0A, 0x0D, 0x0C]),
            (Order::Dcba, [0x0D, 0x0C, 0x0B, 0x0A]),
        ] {
            assert_eq!(bits(order, &bytes), 0x0A0B_0C0D, "{order:?}");
            assert_eq!(wire(order, 2, 0x0A0B_0C0D), bytes, "{order:?}");
            let long = 0x0102_0304_0506_0708;
            assert_eq!(bits(order, &wire(order, 4, long)), long, "{order:?}");
            assert_eq!(bits(order, &wire(order, 1, 0x0A0B)), 0x0A0B, "{order:?}");
        }
    }

    #[test]
    fn integers_and_digits() {
        assert_eq!(Type::I16.value(0xFFFF, 0), Some(-1));
        assert_eq!(Type::U32.value(0xFFFF_FFFF, 0), Some(4_294_967_295));
        assert_eq!(Type::U64.value(u64::MAX, 0), None);
        assert_eq!(Type::Bcd32.value(0x1234_5678, 0), Some(12_345_678));
        assert_eq!(Type::Bcd32.value(0x1234_567A, 0), None);
        for (kind, value) in [(Type::U16, 65_535), (Type::I32, -7), (Type::Bcd16, 9999), (Type::Bcd48, 123_456_789_012)]
        {
            assert_eq!(kind.bits(value).and_then(|b| kind.value(b, 0)), Some(value), "{kind:?}");
        }
        for (kind, value) in [(Type::U16, 65_536), (Type::U16, -1), (Type::Bcd16, 10_000), (Type::F32, 1)] {
            assert_eq!(kind.bits(value), None, "{kind:?} {value}");
        }
    }

    #[test]
    fn floats_become_exact_integers_or_nothing() {
        for (number, decimals, expected) in [
            (0.0, 3, Some(0)),
            (-0.0, 3, Some(0)),
            (1.5, 0, Some(2)),
            (2.5, 0, Some(2)),
            (-2.5, 0, Some(-2)),
            (0.1, 9, Some(100_000_000)),
            (1234.5678, 3, Some(1_234_568)),
            (f64::MAX, 0, None),
            (f64::MIN_POSITIVE, 9, Some(0)),
            (9.223_372_036_854_775e18, 0, Some(9_223_372_036_854_774_784)),
            (9.3e18, 0, None),
            (9.3e12, 9, None),
            (f64::NAN, 0, None),
            (f64::NEG_INFINITY, 0, None),
        ] {
            assert_eq!(Type::F64.value(number.to_bits(), decimals), expected, "{number} with {decimals}");
        }
        // 0.1 as 32 bits is 0.100000001490116…
        assert_eq!(Type::F32.value(u64::from(0.1_f32.to_bits()), 9), Some(100_000_001));
        assert_eq!(Type::F32.value(0x7F80_0000, 3), None);
        assert_eq!(Type::F32.value(0x41F8_BA4A, 3), Some(31_091));
        for (kind, bits, wanted) in [
            (Type::F32, 0x3F7F_FFFF, true),
            (Type::F32, 0xBF7F_FFFF, true),
            (Type::F32, 0x3F80_0000, false),
            (Type::F32, 0x7FC0_0000, false),
            (Type::F64, 0x3FEF_FFFF_FFFF_FFFF, true),
            (Type::F64, 0xBFF0_0000_0000_0000, false),
            (Type::U32, 0, false),
        ] {
            assert_eq!(kind.is_below_one(bits), wanted, "{kind:?} {bits:x}");
        }
    }
}
