//! Taking data records apart: DIF, DIFEs, VIF, VIFEs and data. What they mean is `vif`, `vife` and `value`.
//!
//! ```text
//! | DIF | DIFE 0..10 | VIF | [length, text] | VIFE 0..10 | [LVAR] | data |
//! ```

use polymeter_sdk::bytes::{FieldError, Reader};

const EXTENSION: u8 = 0x80;
const DIFES_MAX: usize = 10;
pub const VIFES_MAX: usize = 10;
const FILLER: u8 = 0x2F;

/// What a value is over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Function {
    Instantaneous,
    Maximum,
    Minimum,
    DuringError,
}

/// How data are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    None,
    Integer,
    Real,
    Bcd,
    /// As the LVAR byte says: text, or the other kinds of variable length.
    Text,
    BcdPositive,
    BcdNegative,
    Binary,
}

/// Which table the VIF stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    Primary,
    /// Behind FB.
    Second,
    /// Behind FD.
    First,
    /// 7C, 7E, 7F are primary; this is a plain-text one.
    Text,
}

/// One record. VIF and VIFEs are without their extension bit.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub function: Function,
    pub coding: Coding,
    pub storage: u64,
    pub tariff: u32,
    pub subunit: u16,
    pub table: Table,
    pub vif: u8,
    /// Of a plain-text VIF, last character first.
    pub text: &'a [u8],
    vifes: [u8; VIFES_MAX],
    vife_count: u8,
    pub data: &'a [u8],
    /// All of it.
    pub raw: &'a [u8],
}

impl Record<'_> {
    /// Combinable VIFEs, without those that name a table.
    pub fn vifes(&self) -> &[u8] {
        self.vifes.get(..usize::from(self.vife_count)).unwrap_or_default()
    }
}

/// What comes next in the records.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    Record(Record<'a>),
    /// To the end: bytes of the manufacturer's own, and whether more telegrams follow.
    Manufacturer {
        bytes: &'a [u8],
        more_follows: bool,
    },
    End,
}

/// The next record, behind fillers.
#[inline]
pub fn next<'a>(r: &mut Reader<'a>, all: &'a [u8], base: usize) -> Result<Item<'a>, FieldError> {
    let (start, dif) = loop {
        if r.is_empty() {
            return Ok(Item::End);
        }
        let start = r.offset() - base;
        match r.u8("DIF")? {
            FILLER => {}
            dif @ (0x0F | 0x1F) => {
                return Ok(Item::Manufacturer { bytes: r.rest(), more_follows: dif == 0x1F });
            }
            dif if dif & 15 == 15 => return Err(FieldError::invalid("DIF", base + start, i64::from(dif))),
            dif => break (start, dif),
        }
    };
    let mut record = Record {
        function: match dif >> 4 & 3 {
            0 => Function::Instantaneous,
            1 => Function::Maximum,
            2 => Function::Minimum,
            _ => Function::DuringError,
        },
        coding: Coding::None,
        storage: u64::from(dif >> 6 & 1),
        tariff: 0,
        subunit: 0,
        table: Table::Primary,
        vif: 0,
        text: &[],
        vifes: [0; VIFES_MAX],
        vife_count: 0,
        data: &[],
        raw: &[],
    };
    if dif & EXTENSION != 0 {
        difes(r, &mut record)?;
    }
    value_information(r, &mut record)?;
    (record.coding, record.data) = data(r, dif & 15)?;
    record.raw = all.get(start..r.offset() - base).unwrap_or_default();
    Ok(Item::Record(record))
}

fn difes(r: &mut Reader<'_>, record: &mut Record<'_>) -> Result<(), FieldError> {
    for n in 0..DIFES_MAX {
        let dife = r.u8("DIFE")?;
        record.storage |= u64::from(dife & 15) << (4 * n + 1);
        record.tariff |= u32::from(dife >> 4 & 3) << (2 * n);
        record.subunit |= u16::from(dife >> 6 & 1) << n;
        if dife & EXTENSION == 0 {
            return Ok(());
        }
    }
    Err(FieldError::invalid("count of DIFEs", r.offset(), DIFES_MAX as i64 + 1))
}

/// The VIF may be spread: FB and FD name a table whose entry is the first VIFE, 7C is followed by text.
#[inline]
fn value_information<'a>(r: &mut Reader<'a>, record: &mut Record<'a>) -> Result<(), FieldError> {
    let vif = r.u8("VIF")?;
    record.vif = vif & !EXTENSION;
    let mut extended = vif & EXTENSION != 0;
    let mut left = VIFES_MAX;
    if record.vif == 0x7C {
        record.table = Table::Text;
        let length = r.u8("length of a plain-text VIF")?;
        record.text = r.take("plain-text VIF", usize::from(length))?;
    }
    if vif == 0xFB || vif == 0xFD {
        record.table = if vif == 0xFB { Table::Second } else { Table::First };
        let vife = r.u8("VIFE")?;
        record.vif = vife & !EXTENSION;
        extended = vife & EXTENSION != 0;
        left -= 1;
    }
    while extended {
        let vife = r.u8("VIFE")?;
        if left == 0 {
            return Err(FieldError::invalid("count of VIFEs", r.offset(), VIFES_MAX as i64 + 1));
        }
        left -= 1;
        if let Some(place) = record.vifes.get_mut(usize::from(record.vife_count)) {
            *place = vife & !EXTENSION;
            record.vife_count += 1;
        }
        extended = vife & EXTENSION != 0;
    }
    Ok(())
}

#[inline]
fn data<'a>(r: &mut Reader<'a>, coding: u8) -> Result<(Coding, &'a [u8]), FieldError> {
    let (coding, bytes) = match coding {
        0x1..=0x4 => (Coding::Integer, usize::from(coding)),
        0x5 => (Coding::Real, 4),
        0x6 => (Coding::Integer, 6),
        0x7 => (Coding::Integer, 8),
        0x9..=0xC => (Coding::Bcd, usize::from(coding) - 8),
        0xD => variable(r)?,
        0xE => (Coding::Bcd, 6),
        // No data, and the selection that only a master makes.
        _ => (Coding::None, 0),
    };
    Ok((coding, r.take("data", bytes)?))
}

/// The LVAR byte.
fn variable(r: &mut Reader<'_>) -> Result<(Coding, usize), FieldError> {
    let offset = r.offset();
    let lvar = r.u8("LVAR")?;
    let length = usize::from(lvar);
    Ok(match lvar {
        0x00..=0xBF => (Coding::Text, length),
        0xC0..=0xC9 => (Coding::BcdPositive, length - 0xC0),
        0xD0..=0xD9 => (Coding::BcdNegative, length - 0xD0),
        0xE0..=0xEF => (Coding::Binary, length - 0xE0),
        0xF0..=0xF4 => (Coding::Binary, 4 * (length - 0xEC)),
        0xF5 => (Coding::Binary, 48),
        0xF6 => (Coding::Binary, 64),
        _ => return Err(FieldError::invalid("LVAR", offset, i64::from(lvar))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Item<'_>, FieldError> {
        next(&mut Reader::new(bytes), bytes, 0)
    }
    fn record(bytes: &[u8]) -> Record<'_> {
        match first(bytes) {
            Ok(Item::Record(record)) => record,
            other => panic!("a record, not {other:?}"),
        }
    }

    #[test]
    fn storage_tariff_and_subunit_are_spread_over_difes() {
        let r = record(&[0xDA, 0x02, 0x3B, 0x13, 0x01]);
        assert_eq!((r.function, r.storage, r.tariff, r.subunit), (Function::Maximum, 5, 0, 0));
        let r = record(&[0x8B, 0x60, 0x04, 0x37, 0x18, 0x02]);
        assert_eq!((r.storage, r.tariff, r.subunit), (0, 2, 1));
        let r = record(&[0xC1, 0xFF, 0x7F, 0x13, 0]);
        assert_eq!((r.storage, r.tariff, r.subunit), (0x1FF, 15, 3));
    }

    #[test]
    fn ten_extensions_and_no_more() {
        let mut bytes = vec![0x81];
        bytes.extend([0x80; 9]);
        bytes.extend([0, 0x13, 1]);
        assert_eq!(record(&bytes).data, [1]);
        bytes.insert(1, 0x80);
        assert!(first(&bytes).is_err(), "11 DIFEs");
        let mut bytes = vec![0x01, 0x93];
        bytes.extend([0xBB; 9]);
        bytes.extend([0x3B, 1]);
        assert_eq!(record(&bytes).vifes(), [0x3B; 10]);
        bytes.insert(2, 0xBB);
        assert!(first(&bytes).is_err(), "11 VIFEs");
    }

    #[test]
    fn lengths_of_all_codings() {
        let zeros = [0; 80];
        for (dif, length) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 6), (7, 8), (8, 0), (9, 1), (0xA, 2)]
            .into_iter()
            .chain([(0xB, 3), (0xC, 4), (0xE, 6)])
        {
            let bytes = [&[dif, 0x13][..], &zeros].concat();
            assert_eq!(record(&bytes).data.len(), length, "{dif:x}");
        }
        for (lvar, length) in [(0, 0), (5, 5), (0xC4, 4), (0xD9, 9), (0xE8, 8), (0xF0, 16), (0xF4, 32), (0xF6, 64)] {
            let bytes = [&[0x0D, 0x13, lvar][..], &zeros].concat();
            assert_eq!(record(&bytes).data.len(), length, "{lvar:x}");
        }
        for bad in
            [&[0x0D, 0x13, 0xF7][..], &[0x3F], &[0x8F], &[0x0D, 0x13, 3, 1, 2], &[4, 0x13, 0, 0, 0], &[1], &[0xC]]
        {
            assert!(first(bad).is_err(), "{bad:x?}");
        }
    }
}
