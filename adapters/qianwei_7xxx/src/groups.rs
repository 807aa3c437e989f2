//! The parameter groups: which fields one set or read command carries, where they lie and how they are called.
//!
//! Names are of the contract's registry; `vendor-…` where it has none. The body of a read's answer is that of the matching
//! set command, which the public material does not confirm.

use crate::code;

/// One command's worth of parameters.
pub struct Group {
    /// 0: cannot be set by `set-parameters`.
    pub write: u16,
    /// 0: cannot be read.
    pub read: u16,
    pub bytes: usize,
    pub rule: Rule,
    pub fields: &'static [Field],
}

/// How fields that a command does not name are filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The u32 at 0 says which fields count.
    Masked,
    /// There is no way to leave one out.
    All,
    /// All ones: leave it as it is.
    Sparse,
    /// Set by other commands, named here.
    ReadOnly(&'static str),
}

pub struct Field {
    pub name: &'static str,
    pub at: usize,
    pub kind: Kind,
    /// The registry's units in one unit on the wire.
    pub factor: i64,
    /// In the mask of a masked group.
    pub bit: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    U8,
    U16,
    I16,
    U32,
    I32,
    /// As the same bits of a signed integer.
    U64,
    /// Exactly so many letters and digits.
    Text(usize),
    /// IPv4, first octet first; a text.
    Host,
    /// hh mm ss, binary or BCD by option; a text.
    Time,
    /// BCD6; a text.
    Clock,
}

impl Kind {
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::Time => 3,
            Self::U32 | Self::I32 | Self::Host => 4,
            Self::Clock => 6,
            Self::U64 => 8,
            Self::Text(bytes) => bytes,
        }
    }
}

const fn field(name: &'static str, at: usize, kind: Kind) -> Field {
    Field { name, at, kind, factor: 1, bit: 0 }
}

const fn threshold(bit: u32, name: &'static str, at: usize, kind: Kind, factor: i64) -> Field {
    Field { name, at, kind, factor, bit }
}

const fn word(write: u16, read: u16, fields: &'static [Field], bytes: usize) -> Group {
    Group { write, read, bytes, rule: Rule::All, fields }
}

pub static GROUPS: [Group; 12] = [
    Group {
        write: code::SET_COMMUNICATION,
        read: code::READ_COMMUNICATION,
        bytes: 22,
        rule: Rule::All,
        fields: &[
            field("vendor-host-1", 0, Kind::Host),
            field("vendor-host-2", 4, Kind::Host),
            field("vendor-host-3", 8, Kind::Host),
            field("vendor-port-1", 12, Kind::U16),
            field("vendor-port-2", 14, Kind::U16),
            field("vendor-port-3", 16, Kind::U16),
            field("vendor-transport", 18, Kind::U8),
            field("vendor-resend-count", 19, Kind::U8),
        ],
    },
    Group {
        write: code::SET_SCHEDULE,
        read: code::READ_SCHEDULE,
        bytes: 10,
        rule: Rule::All,
        fields: &[
            field("vendor-report-mode", 0, Kind::U8),
            field("vendor-report-time", 1, Kind::Time),
            field("vendor-report-every", 4, Kind::U16),
            field("collection-minutes", 6, Kind::U16),
        ],
    },
    Group {
        write: 0,
        read: code::READ_ACCOUNT,
        bytes: 14,
        rule: Rule::ReadOnly("recharge or sync-balance"),
        fields: &[
            field("vendor-purchased-total", 0, Kind::U32),
            field("vendor-balance", 4, Kind::I32),
            field("vendor-price", 8, Kind::U32),
        ],
    },
    Group { write: 0, read: code::READ_TARIFF, bytes: 61, rule: Rule::ReadOnly("set-tariff"), fields: TARIFF },
    Group {
        write: code::SET_THRESHOLDS,
        read: code::READ_THRESHOLDS,
        bytes: 49,
        rule: Rule::Masked,
        fields: THRESHOLDS,
    },
    Group {
        write: 0,
        read: code::READ_VERSIONS,
        bytes: 28,
        rule: Rule::ReadOnly("no command"),
        fields: &[field("hardware-firmware", 0, Kind::Text(8)), field("vendor-iccid", 8, Kind::Text(20))],
    },
    Group {
        write: code::WRITE_TOTALS,
        read: 0,
        bytes: 16,
        rule: Rule::Sparse,
        fields: &[
            threshold(0, "base-reading", 0, Kind::U32, 10),
            threshold(0, "base-reading-standard", 4, Kind::U32, 10),
        ],
    },
    word(code::SET_CLOSE_WORD, code::READ_CLOSE_WORD, &[field("close-enable", 0, Kind::U32)], 8),
    word(code::SET_OPEN_WORD, code::READ_OPEN_WORD, &[field("open-enable", 0, Kind::U32)], 8),
    word(code::SET_ALARM_WORD, code::READ_ALARM_WORD, &[field("alarm-enable", 0, Kind::U32)], 8),
    word(code::SET_EVENT_WORD, code::READ_EVENT_WORD, &[field("event-mask", 0, Kind::U64)], 16),
    Group { write: code::SET_BASICS, read: code::READ_BASICS, bytes: 54, rule: Rule::All, fields: BASICS },
];

/// 7014. The earthquake limit (43, bit 16) is unused and stays 0.
const THRESHOLDS: &[Field] = &[
    threshold(0, "balance-maximum", 4, Kind::U32, 1),
    threshold(1, "balance-level-1", 8, Kind::I32, 1),
    threshold(2, "balance-level-2", 12, Kind::I32, 1),
    threshold(3, "overflow-seconds", 16, Kind::I16, 1),
    threshold(4, "small-flow-hours", 18, Kind::I16, 1),
    threshold(5, "temperature-low", 20, Kind::I16, 1),
    threshold(6, "temperature-high", 22, Kind::I16, 1),
    threshold(7, "pressure-low", 24, Kind::I16, 1),
    threshold(8, "pressure-high", 26, Kind::I16, 1),
    threshold(9, "continuous-flow-hours", 28, Kind::I16, 1),
    threshold(10, "unused-days", 30, Kind::U8, 1),
    threshold(11, "passing-volume", 31, Kind::I32, 1),
    threshold(12, "battery-level-1", 35, Kind::I16, 10),
    threshold(13, "battery-level-2", 37, Kind::I16, 10),
    threshold(14, "external-battery-level-1", 39, Kind::I16, 10),
    threshold(15, "external-battery-level-2", 41, Kind::I16, 10),
    threshold(17, "communication-lost-days", 45, Kind::I16, 1),
];

/// 701A. The scales of its flows are not public.
const BASICS: &[Field] = &[
    field("vendor-meter-id", 0, Kind::Text(20)),
    field("vendor-period-start", 20, Kind::U32),
    field("vendor-flow-minimum", 24, Kind::U32),
    field("vendor-flow-maximum", 28, Kind::U32),
    field("vendor-flow-overload", 32, Kind::U32),
    field("vendor-flow-transitional", 36, Kind::U32),
    field("vendor-flow-starting", 40, Kind::U32),
    field("vendor-frozen-data", 44, Kind::U32),
    field("vendor-factory-mode", 48, Kind::U32),
];

/// 7013 as 7044 gives it back, in the meter's own scales.
const TARIFF: &[Field] = &[
    field("vendor-billing-mode", 0, Kind::U8),
    field("vendor-tier-cycle", 1, Kind::U8),
    field("vendor-tiers", 2, Kind::U8),
    field("vendor-cycle-start", 3, Kind::Clock),
    field("vendor-effective", 9, Kind::Clock),
    field("vendor-tier-volume-1", 15, Kind::U32),
    field("vendor-tier-volume-2", 19, Kind::U32),
    field("vendor-tier-volume-3", 23, Kind::U32),
    field("vendor-tier-volume-4", 27, Kind::U32),
    field("vendor-tier-volume-5", 31, Kind::U32),
    field("vendor-tier-price-1", 35, Kind::U32),
    field("vendor-tier-price-2", 39, Kind::U32),
    field("vendor-tier-price-3", 43, Kind::U32),
    field("vendor-tier-price-4", 47, Kind::U32),
    field("vendor-tier-price-5", 51, Kind::U32),
    field("vendor-tier-price-6", 55, Kind::U32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_inside_their_group_and_apart() {
        for group in &GROUPS {
            let mut end = 0;
            for f in group.fields {
                assert!(f.at >= end, "{} overlaps", f.name);
                end = f.at + f.kind.bytes();
            }
            assert!(end <= group.bytes);
        }
    }

    #[test]
    fn a_name_and_a_code_belong_to_one_group() {
        let names: Vec<_> = GROUPS.iter().flat_map(|g| g.fields).map(|f| f.name).collect();
        assert!(names.iter().enumerate().all(|(i, name)| !names[..i].contains(name)));
        let codes: Vec<_> = GROUPS.iter().flat_map(|g| [g.write, g.read]).filter(|c| *c != 0).collect();
        assert!(codes.iter().enumerate().all(|(i, code)| !codes[..i].contains(code)));
    }
}
