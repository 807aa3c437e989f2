//! 4051 upgrade begin, 4052 block, 4053 activate.

use super::{Order, Rest};
use crate::fields::{clock_bytes, fit};
use crate::frame::message;
use polymeter_sdk::bytes::{self, FieldError, Reader};
use polymeter_sdk::{AnswerBody, Fault, FirmwareActivation, FirmwareBlock, FirmwareImage, Outcome};

/// What a sealed body leaves for a block: 1024 - 12 - 8.
const BLOCK_BYTES_MAX: i64 = 1004;

// 4051: image id 4, version 8, size 4, block size 2, CRC-32 4.
pub fn begin(image: &FirmwareImage) -> Result<Order, Fault> {
    let version = bytes::padded::<8>(&image.version)
        .ok_or_else(|| Fault::out_of_range("version", &image.version, "up to 8 ASCII characters"))?;
    if !(1..=BLOCK_BYTES_MAX).contains(&i64::from(image.block_bytes)) {
        return Err(Fault::out_of_range("block_bytes", image.block_bytes, "1..=1004"));
    }
    let mut body = Vec::with_capacity(22);
    body.extend_from_slice(&image.image.to_le_bytes());
    body.extend_from_slice(&version);
    body.extend_from_slice(&image.size.to_le_bytes());
    body.extend_from_slice(&image.block_bytes.to_le_bytes());
    body.extend_from_slice(&image.crc32.to_le_bytes());
    Ok(Order::new(message::UPGRADE_BEGIN, body))
}

// 4052: image id 4, index 2, length 2, data.
pub fn block(block: &FirmwareBlock) -> Result<Order, Fault> {
    let index: u16 = fit("index", i64::from(block.index), "0..=65535")?;
    let length = block.data.len() as i64;
    if length > BLOCK_BYTES_MAX {
        return Err(Fault::out_of_range("data", format!("{length} bytes"), "up to 1004 bytes"));
    }
    let mut body = Vec::with_capacity(8 + block.data.len());
    body.extend_from_slice(&block.image.to_le_bytes());
    body.extend_from_slice(&index.to_le_bytes());
    body.extend_from_slice(&(length as u16).to_le_bytes());
    body.extend_from_slice(&block.data);
    Ok(Order::new(message::UPGRADE_BLOCK, body))
}

/// Next block u16: where to go on.
pub fn next_block(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    Ok(AnswerBody::FirmwareNext(u32::from(r.u16_le("next block")?)).into())
}

// 4053: image id 4, T6 (all 00: now).
pub fn activate(activation: &FirmwareActivation) -> Result<Order, Fault> {
    let mut body = Vec::with_capacity(10);
    body.extend_from_slice(&activation.image.to_le_bytes());
    body.extend_from_slice(&activation.at.map_or(Ok([0; 6]), |at| clock_bytes("at", at))?);
    Ok(Order { repeatable: false, ..Order::new(message::UPGRADE_ACTIVATE, body) })
}

/// 0 accepted, 1 CRC failed, 2 wrong model.
pub fn activate_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let offset = r.offset();
    let outcome = match r.u8("activation")? {
        0 => (Outcome::Accepted, ""),
        1 => (Outcome::Failed, "image-damaged"),
        2 => (Outcome::Refused, "wrong-model"),
        other => return Err(FieldError::invalid("activation", offset, i64::from(other))),
    };
    Ok(Rest { outcome: Some(outcome), ..Rest::default() })
}
