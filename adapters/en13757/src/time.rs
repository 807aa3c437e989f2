//! Times and dates: types F, G, I and J, told apart by their length. Local time of the meter, as the contract counts it.

use polymeter_sdk::{Civil, civil};

/// What a time record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// A day, at its midnight.
    Date(Civil),
    DateTime {
        at: Civil,
        /// The meter itself does not trust its clock.
        trusted: bool,
    },
    /// Seconds of a day.
    TimeOfDay(i64),
    /// Nothing set, every day of something, or what does not exist.
    None,
}

/// Reads types G (2 bytes), J (3), F (4) and I (6); `None` for other lengths.
pub fn read(data: &[u8]) -> Option<Moment> {
    Some(match *data {
        [b0, b1] => civil_date(b0, b1).map_or(Moment::None, Moment::Date),
        [b0, b1, b2] => time_of_day(b0, b1, b2).map_or(Moment::None, Moment::TimeOfDay),
        [b0, b1, b2, b3] => date_time(b0, b1, b2, b3),
        [b0, b1, b2, b3, b4, _] => with_seconds([b0, b1, b2, b3, b4]),
        _ => return None,
    })
}

/// Years of a century and the day: 7 + 4 + 5 bits. 127 is every year.
const fn day_of(b0: u8, b1: u8) -> (u8, u8, u8) {
    (b0 >> 5 | b1 >> 4 << 3, b1 & 15, b0 & 31)
}

fn civil_date(b0: u8, b1: u8) -> Option<Civil> {
    let (year, month, day) = day_of(b0, b1);
    if year > 99 {
        return None;
    }
    civil::date(2000 + u16::from(year), month, day)
}

fn time_of_day(second: u8, minute: u8, hour: u8) -> Option<i64> {
    let (second, minute, hour) = (second & 63, minute & 63, hour & 31);
    (second < 60 && minute < 60 && hour < 24)
        .then(|| i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
}

/// Type F has two bits for the century, which old meters leave at 0: up to 80 these mean 2000.
fn date_time(b0: u8, b1: u8, b2: u8, b3: u8) -> Moment {
    let (year, month, day) = day_of(b2, b3);
    let hundreds = u16::from(b1 >> 5 & 3);
    if year > 99 {
        return Moment::None;
    }
    let base = if hundreds == 0 && year <= 80 { 2000 } else { 1900 + 100 * hundreds };
    match civil::time(base + u16::from(year), month, day, b1 & 31, b0 & 63, 0) {
        Some(at) => Moment::DateTime { at, trusted: b0 & 0x80 == 0 },
        None => Moment::None,
    }
}

fn with_seconds(b: [u8; 5]) -> Moment {
    let (year, month, day) = day_of(b[3], b[4]);
    if year > 99 {
        return Moment::None;
    }
    match civil::time(2000 + u16::from(year), month, day, b[2] & 31, b[1] & 63, b[0] & 63) {
        Some(at) => Moment::DateTime { at, trusted: b[1] & 0x80 == 0 },
        None => Moment::None,
    }
}

/// Type F; `None` outside 2000..=2080, where every meter reads it alike.
pub fn type_f(at: Civil) -> Option<[u8; 4]> {
    let t = civil::fields(at)?;
    let year = t.year.checked_sub(2000).filter(|y| *y <= 80)? as u8;
    Some([t.minute, t.hour, t.day | year << 5, t.month | year >> 3 << 4])
}

/// Type I without week and summer time; `None` outside 2000..=2099.
pub fn type_i(at: Civil) -> Option<[u8; 6]> {
    let t = civil::fields(at)?;
    let year = t.year.checked_sub(2000).filter(|y| *y <= 99)? as u8;
    Some([t.second, t.minute, t.hour, t.day | year << 5, t.month | year >> 3 << 4, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Civil {
        civil::parse(text).expect("a time")
    }
    fn trusted(text: &str) -> Moment {
        Moment::DateTime { at: at(text), trusted: true }
    }

    #[test]
    fn all_types() {
        assert_eq!(read(&[0xFF, 0x0C]), Some(Moment::Date(at("2007-12-31T00:00:00"))));
        assert_eq!(read(&[0x2B, 0x0F, 0x79, 0x1A]), Some(trusted("2011-10-25T15:43:00")));
        assert_eq!(read(&[0x10, 0x09, 0x05, 0xC5]), Some(trusted("1996-05-05T09:16:00")));
        assert_eq!(read(&[0x10, 0x29, 0x05, 0x15]), Some(trusted("2008-05-05T09:16:00")));
        assert_eq!(read(&[0, 0, 8, 0x16, 0x27, 0]), Some(trusted("2016-07-22T08:00:00")));
        assert_eq!(read(&[5, 30, 23]), Some(Moment::TimeOfDay(84_605)));
        let doubtful = Some(Moment::DateTime { at: at("2011-10-25T15:43:00"), trusted: false });
        assert_eq!(read(&[0xAB, 0x0F, 0x79, 0x1A]), doubtful);
        for none in
            [&[0, 0][..], &[0xFF, 0xFF], &[0xE1, 0xF1], &[0x1E, 0x12], &[0, 0, 0, 0], &[60, 0, 1, 1], &[0, 60, 0]]
        {
            assert_eq!(read(none), Some(Moment::None), "{none:x?}");
        }
        for other in [&[][..], &[0], &[0; 5], &[0; 8]] {
            assert_eq!(read(other), None, "{other:x?}");
        }
    }

    #[test]
    fn written_and_read_again() {
        for text in ["2000-01-01T00:00:00", "2024-02-29T23:59:00", "2080-12-31T12:30:00"] {
            assert_eq!(read(&type_f(at(text)).expect("in range")), Some(trusted(text)));
            assert_eq!(read(&type_i(at(text)).expect("in range")), Some(trusted(text)));
        }
        assert_eq!(type_f(at("2081-01-01T00:00:00")), None);
        assert_eq!(type_i(at("1999-12-31T23:59:59")), None);
        assert_eq!(read(&type_i(at("2099-12-31T23:59:58")).expect("in range")), Some(trusted("2099-12-31T23:59:58")));
    }
}
