//! The unit's own calendar against the SDK's: the two are written independently.

use polymeter_sdk::civil;
use wtcu::time::{date_of, day_from, day_of, from_t6, midnight_of, to_t6};

#[test]
fn every_day_of_the_century() {
    let first = civil::date(2000, 1, 1).expect("exists");
    for day in 0..36_525_u16 {
        let at = first + i64::from(day) * civil::DAY + i64::from(day) * 2 % 86_400;
        let fields = civil::fields(at).expect("a time");
        assert_eq!((day_of(at), midnight_of(day)), (Some(day), civil::midnight(at)));
        let (year, month, date) = date_of(day);
        assert_eq!((year + 2000, month, date), (fields.year, fields.month, fields.day));
        assert_eq!(day_from(year, month, date), Some(day));
        assert_eq!(Some(to_t6(at)), civil::to_bcd6(at));
        assert_eq!(from_t6(to_t6(at)), Some(Some(at)));
    }
    assert_eq!((day_of(first - 1), day_of(first + 36_525 * civil::DAY)), (None, None));
    for (packed, expected) in [([0; 6], Some(None)), ([0x24, 2, 0x30, 0, 0, 0], None), ([0x24, 1, 1, 0x24, 0, 0], None)]
    {
        assert_eq!(from_t6(packed), expected, "{packed:02x?}");
    }
}
