//! Wall-clock time without a zone: seconds since 1970-01-01 00:00:00 of the same wall clock, as the contract counts it.

use crate::{Civil, bcd};

/// Seconds of a day.
pub const DAY: Civil = 86_400;

/// A wall-clock time by its fields; only ever a time that exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fields {
    /// 0..=9999
    pub year: u16,
    /// 1..=12
    pub month: u8,
    /// 1..=31
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    /// 0..=59: no leap seconds.
    pub second: u8,
}

/// Midnight of a day; `None` when there is no such day.
pub const fn date(year: u16, month: u8, day: u8) -> Option<Civil> {
    time(year, month, day, 0, 0, 0)
}

/// `None` when there is no such time.
pub const fn time(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Civil> {
    let valid =
        year <= 9999 && day >= 1 && day <= days_in_month(year, month) && hour < 24 && minute < 60 && second < 60;
    if !valid {
        return None;
    }
    // Days since 0000-03-01, so that a leap day is a year's last day (H. Hinnant, days_from_civil).
    let (year, month) = (year as i64, month as i64);
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * DAY + hour as i64 * 3600 + minute as i64 * 60 + second as i64)
}

/// Days of a month, 0 when there is no such month.
pub const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

/// `None` outside the years 0..=9999.
pub const fn fields(at: Civil) -> Option<Fields> {
    let (days, second) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    if days < -719_528 || days > 2_932_896 {
        return None;
    }
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    Some(Fields {
        year: year as u16,
        month: month as u8,
        day: day as u8,
        hour: (second / 3600) as u8,
        minute: (second / 60 % 60) as u8,
        second: (second % 60) as u8,
    })
}

/// Midnight of the same day.
pub const fn midnight(at: Civil) -> Civil {
    at - at.rem_euclid(DAY)
}

/// `YY MM DD hh mm ss` in BCD, years 2000..=2099; `None` when there is no such time.
pub fn from_bcd6(packed: [u8; 6]) -> Option<Civil> {
    let [year, month, day, hour, minute, second] = packed;
    time(
        2000 + u16::from(bcd::byte(year)?),
        bcd::byte(month)?,
        bcd::byte(day)?,
        bcd::byte(hour)?,
        bcd::byte(minute)?,
        bcd::byte(second)?,
    )
}

/// `YY MM DD hh mm ss` in BCD; `None` outside 2000..=2099.
pub fn to_bcd6(at: Civil) -> Option<[u8; 6]> {
    let t = fields(at)?;
    let year = u8::try_from(t.year.checked_sub(2000)?).ok()?;
    Some([
        bcd::pack(year)?,
        bcd::pack(t.month)?,
        bcd::pack(t.day)?,
        bcd::pack(t.hour)?,
        bcd::pack(t.minute)?,
        bcd::pack(t.second)?,
    ])
}

/// `YYYY-MM-DDThh:mm:ss`, as every JSON form of the project writes it; `@seconds` outside the years 0..=9999.
pub fn text(at: Civil) -> String {
    match fields(at) {
        Some(t) => {
            format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.year, t.month, t.day, t.hour, t.minute, t.second)
        }
        None => format!("@{at}"),
    }
}

/// Reads `YYYY-MM-DDThh:mm:ss`.
pub fn parse(text: &str) -> Option<Civil> {
    let bytes: &[u8; 19] = text.as_bytes().try_into().ok()?;
    let number = |from: usize, to: usize| {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0_u16, |sum, b| Some(sum * 10 + u16::from(b.checked_sub(b'0').filter(|d| *d < 10)?)))
    };
    let small = |from: usize| number(from, from + 2).and_then(|n| u8::try_from(n).ok());
    let separators = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]];
    (separators == *b"--T::").then_some(())?;
    time(number(0, 4)?, small(5)?, small(8)?, small(11)?, small(14)?, small(17)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(date(1970, 1, 1), Some(0));
        assert_eq!(date(2000, 3, 1), Some(951_868_800));
        assert_eq!(time(2024, 3, 15, 0, 20, 5), Some(1_710_462_005));
        assert_eq!(date(0, 1, 1), Some(-719_528 * DAY));
        assert_eq!(date(9999, 12, 31), Some(2_932_896 * DAY));
    }

    #[test]
    fn what_does_not_exist() {
        for (y, m, d, h, min, s) in [
            (2023, 2, 29, 0, 0, 0),
            (1900, 2, 29, 0, 0, 0),
            (2024, 4, 31, 0, 0, 0),
            (2024, 0, 1, 0, 0, 0),
            (2024, 13, 1, 0, 0, 0),
            (2024, 1, 0, 0, 0, 0),
            (2024, 1, 1, 24, 0, 0),
            (2024, 1, 1, 0, 60, 0),
            (2024, 1, 1, 0, 0, 60),
            (10_000, 1, 1, 0, 0, 0),
        ] {
            assert_eq!(time(y, m, d, h, min, s), None, "{y}-{m}-{d} {h}:{min}:{s}");
        }
        assert_eq!(from_bcd6([0x24, 0x02, 0x30, 0, 0, 0]), None);
        assert_eq!(from_bcd6([0; 6]), None);
        assert_eq!(from_bcd6([0x24, 0x0A, 0x01, 0, 0, 0]), None);
        assert_eq!(fields(i64::MAX), None);
        assert_eq!(fields(i64::MIN), None);
    }

    #[test]
    fn every_day_there_and_back() {
        for days in -719_528..=2_932_896 {
            let at = days * DAY + days.rem_euclid(DAY);
            let f = fields(at).expect("inside the years 0..=9999");
            assert_eq!(time(f.year, f.month, f.day, f.hour, f.minute, f.second), Some(at));
        }
    }

    #[test]
    fn text_both_ways() {
        let at = time(2024, 3, 15, 18, 25, 30).expect("exists");
        assert_eq!(text(at), "2024-03-15T18:25:30");
        assert_eq!(parse("2024-03-15T18:25:30"), Some(at));
        for bad in
            ["2024-03-15", "2024-03-15 18:25:30", "2024-02-30T00:00:00", "2024-03-15T18:25:3x", "２024-03-15T18:2"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(to_bcd6(at), Some([0x24, 0x03, 0x15, 0x18, 0x25, 0x30]));
        assert_eq!(to_bcd6(at).and_then(from_bcd6), Some(at));
        assert_eq!(to_bcd6(0), None);
    }
}
