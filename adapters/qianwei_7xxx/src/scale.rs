//! From one power of ten to another, without losing a digit.

/// `value × 10^from` as a mantissa of `10^to`; `None` when that is no integer or does not fit.
pub fn exactly(value: i64, from: i8, to: i8) -> Option<i64> {
    let shift = i32::from(from) - i32::from(to);
    let power = 10_i64.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { value.checked_mul(power) } else { (value % power == 0).then(|| value / power) }
}

#[cfg(test)]
mod tests {
    use super::exactly;

    #[test]
    fn exact_or_not_at_all() {
        for (value, from, to, expected) in [
            (12_345, -4, -2, None),
            (12_300, -4, -2, Some(123)),
            (-5, -1, -2, Some(-50)),
            (7, 0, 0, Some(7)),
            (i64::MAX, 0, -1, None),
            (1, 9, -9, Some(1_000_000_000_000_000_000)),
            (1, 9, -10, None),
        ] {
            assert_eq!(exactly(value, from, to), expected, "{value} {from} {to}");
        }
    }
}
