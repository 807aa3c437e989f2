//! Answers of several frames (2018): what came so far is the session's state until the last part is there.
//!
//! ```text
//! 0 version 01 | 1 function | 2 DI u16 | 4 SER | 5 operands so far
//! ```

use polymeter_sdk::{Fault, Message};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;
/// Parts of an answer together; a meter's buffer is far smaller.
const OPERAND_BYTES_MAX: usize = 2048;

/// An answer that is not whole yet.
pub struct Parts<'a> {
    function: u8,
    di: u16,
    ser: u8,
    pub operands: &'a [u8],
}

impl<'a> Parts<'a> {
    pub fn of(state: &'a [u8]) -> Option<Self> {
        match state {
            [VERSION, function, high, low, ser, operands @ ..] => {
                Some(Self { function: *function, di: u16::from_be_bytes([*high, *low]), ser: *ser, operands })
            }
            _ => None,
        }
    }

    pub const fn belong_to(&self, function: u8, di: u16, ser: u8) -> bool {
        self.function == function && self.di == di && self.ser == ser
    }

    /// Parts whose end never came, kept under their name.
    pub fn unfinished(&self) -> Message {
        Message::unknown(format!("{:04X} unfinished answer", self.di), self.operands)
    }
}

/// The state after another part.
pub fn join(function: u8, di: u16, ser: u8, before: &[u8], part: &[u8]) -> Result<Vec<u8>, Fault> {
    let length = before.len() + part.len();
    if length > OPERAND_BYTES_MAX {
        return Err(Fault::corrupt(format!("an answer of {length} bytes in parts, at most {OPERAND_BYTES_MAX}")));
    }
    let mut state = Vec::with_capacity(HEAD_BYTES + length);
    let [high, low] = di.to_be_bytes();
    state.extend_from_slice(&[VERSION, function, high, low, ser]);
    state.extend_from_slice(before);
    state.extend_from_slice(part);
    Ok(state)
}
