//! The command codes of the family. A code is the number whose four hex digits name the command; on the wire it is little-endian.

/// Single report 单条上报.
pub const REPORT: u16 = 0x7021;
/// Packed report 打包上报, known from a draft only.
pub const PACKED: u16 = 0x7022;
/// Report of a flow corrector 修正仪主动上报.
pub const CORRECTOR_REPORT: u16 = 0x10E1;

pub const SET_COMMUNICATION: u16 = 0x7011;
pub const SET_SCHEDULE: u16 = 0x7012;
pub const SET_TARIFF: u16 = 0x7013;
pub const SET_THRESHOLDS: u16 = 0x7014;
pub const WRITE_TOTALS: u16 = 0x7015;
pub const SET_CLOSE_WORD: u16 = 0x7016;
pub const SET_OPEN_WORD: u16 = 0x7017;
pub const SET_ALARM_WORD: u16 = 0x7018;
pub const SET_EVENT_WORD: u16 = 0x7019;
pub const SET_BASICS: u16 = 0x701A;
pub const RECHARGE: u16 = 0x7023;
pub const VALVE: u16 = 0x7024;
pub const SET_ACCOUNT: u16 = 0x7025;
pub const READ_COMMUNICATION: u16 = 0x7041;
pub const READ_SCHEDULE: u16 = 0x7042;
pub const READ_ACCOUNT: u16 = 0x7043;
pub const READ_TARIFF: u16 = 0x7044;
pub const READ_THRESHOLDS: u16 = 0x7045;
pub const READ_VERSIONS: u16 = 0x7046;
pub const READ_CLOSE_WORD: u16 = 0x7047;
pub const READ_OPEN_WORD: u16 = 0x7048;
pub const READ_ALARM_WORD: u16 = 0x7049;
pub const READ_EVENT_WORD: u16 = 0x704A;
pub const READ_BASICS: u16 = 0x704B;
pub const READ_HOURS: u16 = 0x7051;
pub const READ_MONTHS: u16 = 0x7053;
pub const SET_KEY: u16 = 0x7082;
pub const CORRECTOR_RECHARGE: u16 = 0x1013;

/// Whether it asks for data and changes nothing: 7041..704B, frozen data 7051..7053, and the corrector's reads.
pub const fn is_read(code: u16) -> bool {
    matches!(code, READ_COMMUNICATION..=READ_BASICS | READ_HOURS..=READ_MONTHS | 0x1093..=0x10A4 | 0x10C1..=0x10C5)
}

/// Whether a meter sends it as the answer to a command.
pub const fn is_answered(code: u16) -> bool {
    is_read(code)
        || matches!(code, SET_COMMUNICATION..=SET_BASICS | RECHARGE..=SET_ACCOUNT | SET_KEY)
        || matches!(code, CORRECTOR_RECHARGE | 0x1015..=0x1026)
}

/// Whether the family uses such codes at all.
pub const fn is_of_family(code: u16) -> bool {
    matches!(code >> 8, 0x70 | 0x10)
}

/// Bytes of the body that a meter sends with this code, where that is known: the last resort when both length fields lie.
pub const fn uplink_body_bytes(code: u16) -> Option<usize> {
    match code {
        REPORT => Some(73),
        PACKED => Some(78),
        CORRECTOR_REPORT => Some(152),
        CORRECTOR_RECHARGE => Some(20),
        SET_COMMUNICATION..=SET_BASICS | RECHARGE..=SET_ACCOUNT | SET_KEY => Some(4),
        _ => None,
    }
}
