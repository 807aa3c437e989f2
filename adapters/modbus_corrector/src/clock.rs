//! A device's clock in registers, in the forms that are in the field.

use crate::field::{self, Order};
use crate::map::Clock;
use crate::words::ClockForm;
use polymeter_sdk::{Civil, Fault, bcd, civil};

const YEAR_2000: Civil = 946_684_800;

/// What a device's clock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Is(Civil),
    /// All zero or all ones.
    Unset,
    Nonsense,
}

pub fn read(clock: &Clock, wire: &[u8]) -> Told {
    if wire.iter().all(|b| *b == 0) || wire.iter().all(|b| *b == 0xFF) {
        return Told::Unset;
    }
    let two_digits = |year: u8| 2000 + u16::from(year);
    let parts = field::arranged(clock.order, wire);
    let at = match (clock.form, parts.as_slice()) {
        (ClockForm::Bcd, &[y, m, d, hh, mm, ss]) => civil::from_bcd6([y, m, d, hh, mm, ss]),
        (ClockForm::Bytes, &[y @ 0..=99, m, d, hh, mm, ss]) => civil::time(two_digits(y), m, d, hh, mm, ss),
        (ClockForm::Fields | ClockForm::FieldsOfCentury, _) => fields(&parts),
        (ClockForm::Seconds1970, _) => Some(field::bits(clock.order, wire) as i64),
        (ClockForm::Seconds2000, _) => Some(YEAR_2000 + field::bits(clock.order, wire) as i64),
        _ => None,
    };
    at.map_or(Told::Nonsense, Told::Is)
}

fn fields(wire: &[u8]) -> Option<Civil> {
    let mut words = wire.chunks(2).map(|w| field::bits(Order::Abcd, w) as u16);
    let year = words.next()?;
    let year = if year < 100 { 2000 + year } else { year };
    let mut small = || words.next().and_then(|w| u8::try_from(w).ok());
    civil::time(year, small()?, small()?, small()?, small()?, small()?)
}

/// The registers of a time.
pub fn write(clock: &Clock, at: Civil) -> Result<Vec<u8>, Fault> {
    let refuse = || Fault::out_of_range("to", civil::text(at), "the years 2000 to 2099");
    let t = civil::fields(at).filter(|t| (2000..=2099).contains(&t.year)).ok_or_else(refuse)?;
    let year = (t.year - 2000) as u8;
    let parts = [year, t.month, t.day, t.hour, t.minute, t.second];
    let high_first: Vec<u8> = match clock.form {
        ClockForm::Bcd => parts.iter().filter_map(|p| bcd::pack(*p)).collect(),
        ClockForm::Bytes => parts.to_vec(),
        ClockForm::Fields | ClockForm::FieldsOfCentury => {
            let year = if clock.form == ClockForm::Fields { t.year } else { u16::from(year) };
            let rest = [t.month, t.day, t.hour, t.minute, t.second].into_iter().flat_map(|p| [0, p]);
            year.to_be_bytes().into_iter().chain(rest).collect()
        }
        ClockForm::Seconds1970 => (at as u32).to_be_bytes().to_vec(),
        ClockForm::Seconds2000 => ((at - YEAR_2000) as u32).to_be_bytes().to_vec(),
    };
    Ok(field::arranged(clock.order, &high_first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Place;

    #[test]
    fn every_form_both_ways() {
        let at = civil::time(2024, 3, 15, 18, 25, 30).expect("exists");
        for (form, wire) in [
            (ClockForm::Bcd, &[0x24, 0x03, 0x15, 0x18, 0x25, 0x30][..]),
            (ClockForm::Bytes, &[24, 3, 15, 18, 25, 30]),
            (ClockForm::Fields, &[0x07, 0xE8, 0, 3, 0, 15, 0, 18, 0, 25, 0, 30]),
            (ClockForm::FieldsOfCentury, &[0, 24, 0, 3, 0, 15, 0, 18, 0, 25, 0, 30]),
            (ClockForm::Seconds1970, &[0x65, 0xF4, 0x92, 0x9A]),
            (ClockForm::Seconds2000, &[0x2D, 0x87, 0x4F, 0x1A]),
        ] {
            let place = Place { bus: None, function: 3, register: 0, registers: (wire.len() / 2) as u16 };
            let clock = Clock { place, form, order: Order::Abcd, writable: true };
            assert_eq!(write(&clock, at).expect("fits"), wire, "{form:?}");
            assert_eq!(read(&clock, wire), Told::Is(at), "{form:?}");
            assert_eq!(read(&clock, &vec![0xFF; wire.len()]), Told::Unset, "{form:?}");
            assert!(write(&clock, -1).is_err());
        }
        let place = Place { bus: None, function: 3, register: 0, registers: 3 };
        for (order, wire) in [
            (Order::Cdab, [0x25, 0x30, 0x15, 0x18, 0x24, 0x03]),
            (Order::Badc, [0x03, 0x24, 0x18, 0x15, 0x30, 0x25]),
            (Order::Dcba, [0x30, 0x25, 0x18, 0x15, 0x03, 0x24]),
        ] {
            let clock = Clock { place, form: ClockForm::Bcd, order, writable: true };
            assert_eq!(write(&clock, at).expect("fits"), wire, "{order:?}");
            assert_eq!(read(&clock, &wire), Told::Is(at), "{order:?}");
        }
        let clock = Clock { place, form: ClockForm::Bcd, order: Order::Abcd, writable: true };
        assert_eq!(read(&clock, &[0x24, 0x13, 1, 0, 0, 0]), Told::Nonsense);
        assert_eq!(read(&clock, &[]), Told::Unset);
    }
}
