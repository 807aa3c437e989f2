//! Scaled integers as exact decimal text.

/// `mantissa × 10^exponent` without rounding: (123456, -2) is `1234.56`, (12, 3) is `12000`.
pub fn decimal(mantissa: i64, exponent: i8) -> String {
    let digits = mantissa.unsigned_abs().to_string();
    let sign = if mantissa < 0 { "-" } else { "" };
    if exponent >= 0 {
        let zeros = if mantissa == 0 { 0 } else { usize::from(exponent.unsigned_abs()) };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let places = usize::from(exponent.unsigned_abs());
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, part) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{part}")
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn keeps_every_digit() {
        for (mantissa, exponent, expected) in [
            (123_456, -2, "1234.56"),
            (5, -2, "0.05"),
            (-5, -3, "-0.005"),
            (0, -2, "0.00"),
            (0, 3, "0"),
            (12, 3, "12000"),
            (-12, 0, "-12"),
            (i64::MIN, -18, "-9.223372036854775808"),
        ] {
            assert_eq!(decimal(mantissa, exponent), expected);
        }
    }
}
