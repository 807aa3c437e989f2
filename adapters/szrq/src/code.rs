//! The command bytes, and how long the frames are whose layout is fixed. What a body means is not known here.

pub const REPORT: u8 = 0x07;
pub const PACKED: u8 = 0x09;
pub const READ_FROZEN: u8 = 0x0B;
pub const ALARM: u8 = 0x0D;
pub const VALVE: u8 = 0x0F;
pub const SET_BASE: u8 = 0x11;
pub const SET_REPORT: u8 = 0x13;
pub const SET_SERVERS: u8 = 0x15;
pub const SET_ALARMS: u8 = 0x17;
pub const READ_ALL: u8 = 0x19;
pub const SET_TARIFF: u8 = 0x1B;
pub const READ_TARIFF: u8 = 0x1D;
pub const RECHARGE: u8 = 0x1F;
pub const SYNC_BALANCE: u8 = 0x21;

/// Whether bytes of a header can be this command at all.
pub const fn is_of_protocol(command: u8) -> bool {
    matches!(command, REPORT..=0x22)
}

/// Bytes of the body, where a sender's command has a fixed one: what decides when the length field lies.
pub const fn body_bytes(from_device: bool, command: u8) -> Option<usize> {
    Some(match (from_device, command) {
        (true, REPORT) => 64,
        (true, ALARM) => 41,
        (true, 0x0C) => 20,
        (_, 0x0F | 0x10 | READ_FROZEN) => 2,
        (_, SET_BASE | 0x12) => 27,
        (_, SET_REPORT | 0x14) => 13,
        (_, SET_SERVERS | 0x16) => 16,
        (_, SET_ALARMS | 0x18) => 37,
        (false, READ_ALL | READ_TARIFF) => 0,
        (true, 0x1A) => 76,
        (_, SET_TARIFF | 0x1C) | (true, 0x1E) => 110,
        (_, SYNC_BALANCE) => 28,
        (true, 0x22) => 29,
        (false, 0x08 | 0x0A | 0x0E) => 7,
        _ => return None,
    })
}
