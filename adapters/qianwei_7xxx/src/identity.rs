//! Who a meter says it is. There is no registration message in the family: every frame carries the meter number, reports carry
//! the rest. A registration is made of it when something of it has changed.

use crate::frame::Header;

/// Fingerprint (FNV-1a) of what a registration tells; never 0.
pub fn of(header: &Header, meter_type: u16, versions: &[u8]) -> u32 {
    let parts = [&header.iccid[..], &meter_type.to_le_bytes(), versions];
    let hash = parts.into_iter().flatten().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

/// By the letters that only 新圣 writes into its meter numbers.
pub fn manufacturer(meter_id: &[u8; 20]) -> &'static str {
    if meter_id[4..6] == *b"QW" { "xinsheng" } else { "qianwei" }
}

/// Empty when it is no text.
pub fn iccid_text(iccid: &[u8; 20]) -> &str {
    std::str::from_utf8(iccid).ok().filter(|text| text.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or_default()
}
