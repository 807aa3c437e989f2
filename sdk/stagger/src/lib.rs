//! Stagger (错峰, `wit/codes.md` section 6): how long after its report time a device reports. Station and firmware compile this
//! same function, without heap and without anything else of either.
//!
//! The public text says "last two digits plus stagger minutes", its worked example multiplies (number ending 10,
//! 00:00, stagger 2 -> 00:20); the example is taken as the rule. A delay beyond midnight falls into the next day.

#![no_std]
#![forbid(unsafe_code)]

pub const MINUTES_PER_DAY: u16 = 24 * 60;

/// Minutes after the report time at which this address reports: last two decimal digits × stagger, modulo one day.
pub fn delay_minutes(address: &str, stagger_minutes: u16) -> u16 {
    let mut digits = address.bytes().rev().filter(u8::is_ascii_digit).map(|b| u16::from(b - b'0'));
    let last_two = digits.next().unwrap_or(0) + 10 * digits.next().unwrap_or(0);
    of_last_two(last_two, stagger_minutes)
}

/// The same for whoever has the two digits as a number, 0..=99.
pub const fn of_last_two(last_two: u16, stagger_minutes: u16) -> u16 {
    (last_two as u32 * stagger_minutes as u32 % MINUTES_PER_DAY as u32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example_multiplies() {
        for (address, stagger, minutes) in [
            ("50001234567810", 2, 20),
            ("50001234567810", 0, 0),
            // 99 x 30 = 2970 = two days and 90 minutes.
            ("50001234567899", 30, 90),
            ("50001234567899", 15, 45),
            ("QW07", 3, 21),
            ("none", 9, 0),
        ] {
            assert_eq!(delay_minutes(address, stagger), minutes, "{address} x {stagger}");
        }
    }
}
