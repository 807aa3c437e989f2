//! The device's wall clock: days, dates, and how the protocol packs them (§C).

use crate::Civil;

pub const DAY: Civil = 86_400;
/// 2000-01-01, from 1970.
const EPOCH_2000_DAYS: i64 = 10_957;
/// 2099-12-31.
const DAYS_MAX: i64 = 36_524;

/// Day of a moment since 2000-01-01; `None` outside 2000..=2099.
pub fn day_of(at: Civil) -> Option<u16> {
    let day = at.div_euclid(DAY) - EPOCH_2000_DAYS;
    u16::try_from(day).ok().filter(|d| i64::from(*d) <= DAYS_MAX)
}

/// 00:00 of a day since 2000-01-01.
pub const fn midnight_of(day: u16) -> Civil {
    (day as i64 + EPOCH_2000_DAYS) * DAY
}

/// 00:00 of the same day.
pub const fn midnight(at: Civil) -> Civil {
    at - at.rem_euclid(DAY)
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4)
}

pub const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Year of the century, month, day. Of the years 2000..=2099 every fourth is a leap year.
pub const fn date_of(day: u16) -> (u16, u8, u8) {
    let (cycle, rest) = (day / 1461, day % 1461);
    let year = if rest < 366 { 0 } else { (rest - 1) / 365 };
    let mut left = if year == 0 { rest } else { rest - 1 - year * 365 };
    let year = cycle * 4 + year;
    let mut month = 1;
    while left >= days_in_month(year, month) as u16 {
        left -= days_in_month(year, month) as u16;
        month += 1;
    }
    (year, month, left as u8 + 1)
}

/// The day with this date; `None` when there is none.
pub fn day_from(year: u16, month: u8, day: u8) -> Option<u16> {
    if year > 99 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let before: u16 = (1..month).map(|m| u16::from(days_in_month(year, m))).sum();
    Some(year * 365 + year.div_ceil(4) + before + u16::from(day) - 1)
}

pub const fn bcd(value: u8) -> u8 {
    let value = if value > 99 { 99 } else { value };
    ((value / 10) << 4) | (value % 10)
}

pub fn from_bcd(packed: u8) -> Option<u8> {
    let (high, low) = (packed >> 4, packed & 15);
    (high < 10 && low < 10).then_some(high * 10 + low)
}

/// `YY MM DD hh mm ss` in BCD; outside 2000..=2099 unset.
pub fn to_t6(at: Civil) -> [u8; 6] {
    let Some(day) = day_of(at) else { return [0; 6] };
    let (year, month, date) = date_of(day);
    let second = at.rem_euclid(DAY);
    [year as u8, month, date, (second / 3600) as u8, (second / 60 % 60) as u8, (second % 60) as u8].map(bcd)
}

/// `None`: no time. `Some(None)`: unset.
pub fn from_t6(packed: [u8; 6]) -> Option<Option<Civil>> {
    if packed == [0; 6] {
        return Some(None);
    }
    let mut parts = [0; 6];
    for (part, byte) in parts.iter_mut().zip(packed) {
        *part = from_bcd(byte)?;
    }
    let [year, month, date, hour, minute, second] = parts;
    let day = day_from(u16::from(year), month, date)?;
    let exists = hour < 24 && minute < 60 && second < 60;
    exists.then(|| Some(midnight_of(day) + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)))
}
