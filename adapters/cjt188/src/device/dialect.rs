//! How a simulated meter speaks, and the dialects that were seen in the field.

use super::{Datetime, Order, StatusLayout, UnitPlace};

/// Form of the 901F answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    Full22,
    Full20,
    Short9,
    Short10,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorData {
    SerSt,
    SerSt1,
    St1,
}

/// What stands behind identifier and SER in the answer to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteAnswer {
    Nothing,
    St1,
    St2,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialect {
    pub order_read: Order,
    pub order_write: Order,
    pub layout: Layout,
    pub unit_place: UnitPlace,
    pub status: StatusLayout,
    pub error: ErrorData,
    pub write_answer: WriteAnswer,
    pub datetime: Datetime,
    /// Repeats the serial number of the request; sends 00 otherwise.
    pub echoes: bool,
    pub preamble: usize,
    /// What the DTU puts before each answer.
    pub prefix: Vec<u8>,
    /// 2018: longer operands go in parts of so many bytes.
    pub part_bytes: Option<usize>,
    /// Keeps D2xx instead of D12x.
    pub months_2018: bool,
    /// Gas module: keeps 903F and 913F to 918F.
    pub module: bool,
}

impl Default for Dialect {
    /// The standard of 2004 by the letter.
    fn default() -> Self {
        Self {
            order_read: Order::Le,
            order_write: Order::Le,
            layout: Layout::Full22,
            unit_place: UnitPlace::After,
            status: StatusLayout::Low,
            error: ErrorData::SerSt,
            write_answer: WriteAnswer::St2,
            datetime: Datetime::Bcd,
            echoes: true,
            preamble: 0,
            prefix: Vec::new(),
            part_bytes: None,
            months_2018: false,
            module: false,
        }
    }
}

impl Dialect {
    /// Gas meter with a radio module: answers without unit bytes, keeps days.
    pub fn gas_module() -> Self {
        let prefix = vec![0xFF, 0x07, 0x8D, 0x98, 0x10, 0x00, 0x00, 0x00, 0x03];
        Self { module: true, prefix, preamble: 3, layout: Layout::Full20, ..Self::default() }
    }
    /// Gas meter with the high byte first, behind a DTU with a wrapper of eight bytes.
    pub fn gas_behind_dtu() -> Self {
        let prefix = vec![0x02, 0x00, 0x00, 0xFF, 0x00, 0x57, 0x1F, 0x93];
        Self { order_read: Order::Be, order_write: Order::Be, layout: Layout::Short9, prefix, ..Self::default() }
    }
    /// Water meter that reads with the low byte first and takes orders with the high byte first.
    pub fn sc_water() -> Self {
        Self { order_write: Order::Be, preamble: 2, ..Self::default() }
    }
    /// Status bits numbered from the top, clock in binary, no echo.
    pub fn high_bits() -> Self {
        let datetime = Datetime::Bin;
        Self { status: StatusLayout::High, layout: Layout::Full22, datetime, echoes: false, ..Self::default() }
    }
    /// The issue of 2018, in parts.
    pub fn issue_2018() -> Self {
        Self {
            status: StatusLayout::Split,
            error: ErrorData::St1,
            write_answer: WriteAnswer::St1,
            part_bytes: Some(16),
            months_2018: true,
            ..Self::default()
        }
    }
    /// Heat meter with the high byte first and unit bytes before their values.
    pub fn heat_unit_first() -> Self {
        Self {
            order_read: Order::Be,
            order_write: Order::Be,
            unit_place: UnitPlace::Before,
            preamble: 4,
            ..Self::default()
        }
    }
    /// Water meter with inverted valve bits.
    pub fn inverted() -> Self {
        Self {
            status: StatusLayout::Inverted,
            write_answer: WriteAnswer::Nothing,
            layout: Layout::Short10,
            ..Self::default()
        }
    }
}
