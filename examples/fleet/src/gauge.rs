//! What a meter has measured at any moment, as a pure function of its seed: so that history can be asked for again.

use polymeter::model::{Civil, Day};

const DAY_S: i64 = 86_400;

/// One meter's gas, in 0.01 m³.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    seed: u64,
    /// Standing at the start of day 0.
    base: u64,
    /// Least use of a day.
    daily_least: u64,
    /// Highest use above it.
    daily_swing: u64,
    first: Day,
}

impl Gauge {
    pub fn new(seed: u64, first: Day) -> Self {
        let base = mix(seed, 1) % 900_000;
        Self { seed, base, daily_least: 20 + mix(seed, 2) % 80, daily_swing: 1 + mix(seed, 3) % 400, first }
    }

    /// The day on which the fleet's time begins.
    pub fn first(&self) -> Day {
        self.first
    }

    /// Standing at 00:00 of a day.
    pub fn frozen(&self, day: Day) -> u32 {
        // 400 days of history before the first day keep the number positive without a sum over days.
        let days = (i64::from(day.0) - i64::from(self.first.0) + 400).max(0) as u64;
        let swing = mix(self.seed, 1_000 + days) % self.daily_swing;
        // Each day adds at least `daily_least`, and the swing of one day is smaller than that of two.
        (self.base + days * (self.daily_least + self.daily_swing) + swing) as u32
    }

    /// Standing at any moment.
    pub fn at(&self, at: Civil) -> u32 {
        let day = at.day();
        let (start, end) = (u64::from(self.frozen(day)), u64::from(self.frozen(Day(day.0 + 1))));
        let into = u64::from(at.second_of_day());
        (start + (end - start) * into / DAY_S as u64) as u32
    }
}

/// `SplitMix64` of two numbers.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_only_ever_adds_up() {
        for seed in 0..200 {
            let gauge = Gauge::new(seed, Day(19_000));
            let mut last = gauge.frozen(Day(18_900));
            for day in 18_901..19_050 {
                let now = gauge.frozen(Day(day));
                assert!(now > last, "seed {seed}, day {day}");
                let noon = gauge.at(Civil(i64::from(day) * DAY_S + 43_200));
                assert!(noon >= now && noon <= gauge.frozen(Day(day + 1)));
                last = now;
            }
        }
    }
}
