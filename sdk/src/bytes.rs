//! Reading and writing fields of a frame. A read outside the bytes is a typed error with the field's name, never a panic.

use crate::Fault;
use std::fmt;

/// Which field could not be read, where, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldError {
    pub field: &'static str,
    /// From the start of what the reader was given, plus its base.
    pub offset: usize,
    pub problem: Problem,
}

/// Why a field could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// So many bytes were wanted, so many were left.
    Short { wanted: usize, left: usize },
    /// So many bytes were left over where the frame should end.
    Surplus(usize),
    /// A half byte above 9 in a BCD field.
    NotBcd,
    /// A byte above 7E hex, or a control character.
    NotAscii,
    /// Outside what the protocol allows.
    Invalid(i64),
}

impl FieldError {
    pub const fn invalid(field: &'static str, offset: usize, found: i64) -> Self {
        Self { field, offset, problem: Problem::Invalid(found) }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, offset, problem } = self;
        match problem {
            Problem::Short { wanted, left } => {
                write!(f, "{field} at byte {offset}: {wanted} bytes wanted, {left} left")
            }
            Problem::Surplus(bytes) => write!(f, "{bytes} bytes left over at byte {offset} after {field}"),
            Problem::NotBcd => write!(f, "{field} at byte {offset}: not BCD"),
            Problem::NotAscii => write!(f, "{field} at byte {offset}: not ASCII"),
            Problem::Invalid(found) => write!(f, "{field} at byte {offset}: {found} is not allowed"),
        }
    }
}

impl std::error::Error for FieldError {}

impl From<FieldError> for Fault {
    #[cold]
    #[inline(never)]
    fn from(error: FieldError) -> Self {
        Self::corrupt(error.to_string())
    }
}

/// Walks over bytes, field by field.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
}

macro_rules! integers {
    ($($le:ident $be:ident $type:ty),+ $(,)?) => { $(
        #[doc = concat!("`", stringify!($type), "`, low byte first.")]
        #[inline]
        pub fn $le(&mut self, field: &'static str) -> Result<$type, FieldError> {
            Ok(<$type>::from_le_bytes(self.array(field)?))
        }
        #[doc = concat!("`", stringify!($type), "`, high byte first.")]
        #[inline]
        pub fn $be(&mut self, field: &'static str) -> Result<$type, FieldError> {
            Ok(<$type>::from_be_bytes(self.array(field)?))
        }
    )+ };
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, base: 0 }
    }

    /// Of a part of a frame: offsets in errors count from the frame's start.
    pub const fn at(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, at: 0, base }
    }

    /// Where the next field starts, as errors count it.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.base + self.at
    }

    #[inline]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], FieldError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..len)) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.short(field, len)),
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FieldError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(taken) => {
                self.at += N;
                Ok(*taken)
            }
            None => Err(self.short(field, N)),
        }
    }

    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, FieldError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }
    #[inline]
    pub fn i8(&mut self, field: &'static str) -> Result<i8, FieldError> {
        Ok(i8::from_le_bytes(self.array(field)?))
    }

    integers! {
        u16_le u16_be u16, i16_le i16_be i16, u32_le u32_be u32, i32_le i32_be i32, u64_le u64_be u64, i64_le i64_be i64,
    }

    /// Three bytes, low byte first.
    #[inline]
    pub fn u24_le(&mut self, field: &'static str) -> Result<u32, FieldError> {
        let [a, b, c] = self.array(field)?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }
    /// Three bytes, high byte first.
    #[inline]
    pub fn u24_be(&mut self, field: &'static str) -> Result<u32, FieldError> {
        let [a, b, c] = self.array(field)?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Packed decimal digits as a number, most significant first; at most 9 bytes.
    pub fn bcd(&mut self, field: &'static str, len: usize) -> Result<u64, FieldError> {
        let offset = self.offset();
        crate::bcd::number(self.take(field, len)?).ok_or(FieldError { field, offset, problem: Problem::NotBcd })
    }

    /// Packed decimal digits as a number, least significant byte first; at most 9 bytes.
    pub fn bcd_le(&mut self, field: &'static str, len: usize) -> Result<u64, FieldError> {
        let offset = self.offset();
        crate::bcd::number_le(self.take(field, len)?).ok_or(FieldError { field, offset, problem: Problem::NotBcd })
    }

    /// Printable ASCII, without the NULs and blanks that fill it up.
    pub fn ascii(&mut self, field: &'static str, len: usize) -> Result<&'a str, FieldError> {
        let offset = self.offset();
        let filled = self.take(field, len)?;
        let end = filled.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |last| last + 1);
        let text = filled.get(..end).unwrap_or_default();
        let problem = FieldError { field, offset, problem: Problem::NotAscii };
        if !text.iter().all(|b| (b' '..=b'~').contains(b)) {
            return Err(problem);
        }
        std::str::from_utf8(text).map_err(|_| problem)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    /// Nothing may be left; `field` is the last one read.
    pub fn finish(self, field: &'static str) -> Result<(), FieldError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(FieldError { field, offset: self.offset(), problem: Problem::Surplus(left) }),
        }
    }

    #[cold]
    fn short(&self, field: &'static str, wanted: usize) -> FieldError {
        FieldError { field, offset: self.offset(), problem: Problem::Short { wanted, left: self.remaining() } }
    }
}

/// `text` in exactly `N` bytes, filled with NUL; `None` when it does not fit or is not printable ASCII.
pub fn padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    out.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    text.bytes().all(|b| (b' '..=b'~').contains(&b)).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_order_and_then_nothing() {
        let mut r = Reader::at(&[1, 2, 0, 0, 3, 0x12, 0x34, b'a', 0, b' ', 0xFE, 0xFF], 18);
        assert_eq!(r.u8("a"), Ok(1));
        assert_eq!(r.u16_le("b"), Ok(2));
        assert_eq!(r.u16_be("c"), Ok(3));
        assert_eq!(r.bcd("d", 2), Ok(1234));
        assert_eq!(r.ascii("e", 3), Ok("a"));
        assert_eq!(r.i16_le("f"), Ok(-2));
        assert_eq!(r.offset(), 30);
        let short = r.u32_le("g").expect_err("nothing is left");
        assert_eq!(short.to_string(), "g at byte 30: 4 bytes wanted, 0 left");
        assert_eq!(r.finish("f"), Ok(()));
    }

    #[test]
    fn problems_have_names() {
        let mut r = Reader::new(&[0x1A, 0x80, 7]);
        assert_eq!(r.bcd("day", 1).map_err(|e| e.to_string()), Err("day at byte 0: not BCD".into()));
        assert_eq!(r.ascii("model", 1).map_err(|e| e.to_string()), Err("model at byte 1: not ASCII".into()));
        assert_eq!(r.finish("model").map_err(|e| e.to_string()), Err("1 bytes left over at byte 2 after model".into()));
        assert_eq!(padded::<4>("H1.0"), Some(*b"H1.0"));
        assert_eq!(padded::<3>("H1.0"), None);
        assert_eq!(padded::<3>("é"), None);
    }
}
