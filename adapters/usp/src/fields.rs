//! Fields that many messages share: clocks, dates, addresses, and numbers with an "absent" value (USP/1 §C).

use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, Fault, bcd, civil};

/// A clock as told: a time, unset, or bytes that are none. Such bytes cost nothing but the time: the answer to a report sets the
/// terminal's clock, so a refusal would never heal.
pub type Told = Result<Option<Civil>, [u8; 6]>;

/// `YY MM DD hh mm ss` BCD; all zero: unset.
#[inline]
pub fn clock(r: &mut Reader<'_>, field: &'static str) -> Result<Told, FieldError> {
    let packed: [u8; 6] = r.array(field)?;
    if packed == [0; 6] {
        return Ok(Ok(None));
    }
    Ok(civil::from_bcd6(packed).map(Some).ok_or(packed))
}

/// `YY MM DD` BCD, at its 00:00:00. `None`: no such day.
#[inline]
pub fn date(r: &mut Reader<'_>, field: &'static str) -> Result<Option<Civil>, FieldError> {
    let [year, month, day] = r.array(field)?;
    Ok(civil::from_bcd6([year, month, day, 0, 0, 0]))
}

/// Seven BCD bytes as the 14 printed digits.
pub fn address(r: &mut Reader<'_>, field: &'static str) -> Result<String, FieldError> {
    let offset = r.offset();
    let packed: [u8; 7] = r.array(field)?;
    bcd::digits(&packed).ok_or(FieldError { field, offset, problem: polymeter_sdk::bytes::Problem::NotBcd })
}

/// The bytes of a time; a time this protocol cannot write is out of range.
pub fn clock_bytes(field: &str, at: Civil) -> Result<[u8; 6], Fault> {
    civil::to_bcd6(at)
        .ok_or_else(|| Fault::out_of_range(field, civil::text(at), "2000-01-01T00:00:00..=2099-12-31T23:59:59"))
}

/// The bytes of an address of up to 14 digits.
pub fn address_bytes(field: &str, address: &str) -> Result<[u8; 7], Fault> {
    bcd::pack_digits(address).ok_or_else(|| Fault::out_of_range(field, address, "1 to 14 decimal digits"))
}

/// A value of a command in the type that carries it.
pub fn fit<T: TryFrom<i64>>(field: &str, value: i64, allowed: &str) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| Fault::out_of_range(field, value, allowed))
}

/// `FFFFFFFF` is absent.
#[inline]
pub fn present_u32(value: u32) -> Option<u32> {
    (value != u32::MAX).then_some(value)
}
/// `FFFF` is absent.
#[inline]
pub fn present_u16(value: u16) -> Option<u16> {
    (value != u16::MAX).then_some(value)
}
/// `8000` is absent.
#[inline]
pub fn present_i16(value: i16) -> Option<i16> {
    (value != i16::MIN).then_some(value)
}
/// `80000000` is absent.
#[inline]
pub fn present_i32(value: i32) -> Option<i32> {
    (value != i32::MIN).then_some(value)
}
