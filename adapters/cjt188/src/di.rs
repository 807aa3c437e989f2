//! Data identifiers, and the two orders of their bytes on the wire.

use serde::Deserialize;

/// Which byte of an identifier comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// 901F as `1F 90`.
    #[default]
    Le,
    /// 901F as `90 1F`.
    Be,
}

pub const READING: u16 = 0x901F;
/// Heating and cooling.
pub const READING_2: u16 = 0x911F;
pub const CLOCK: u16 = 0x907F;
pub const CLOCK_8515: u16 = 0x8515;
pub const CLOCK_8115: u16 = 0x8115;
pub const PRICES: u16 = 0x8102;
pub const SETTLEMENT_DAY: u16 = 0x8103;
pub const READING_DAY: u16 = 0x8104;
pub const PURCHASE: u16 = 0x8105;
pub const KEY_VERSION: u16 = 0x8106;
pub const ADDRESS: u16 = 0x810A;
/// One month ago, 12 of them.
pub const MONTHS: u16 = 0xD120;
/// One month ago, 256 of them.
pub const MONTHS_2018: u16 = 0xD200;
pub const TIMED_FREEZE: u16 = 0xD300;
pub const INSTANT_FREEZE: u16 = 0xD400;
/// Gas modules: months 1 to 6, 7 to 12.
pub const MODULE_MONTHS: u16 = 0x903F;
/// Gas modules: days 1 to 5, then 914F and so on up to 918F.
pub const MODULE_DAYS: u16 = 0x913F;
pub const MODULE_STATE: u16 = 0x8580;
pub const MODULE_STATE_FF: u16 = 0xFF00;

pub const SET_PRICES: u16 = 0xA010;
pub const SET_SETTLEMENT_DAY: u16 = 0xA011;
pub const SET_READING_DAY: u16 = 0xA012;
pub const SET_PURCHASE: u16 = 0xA013;
pub const SET_KEY: u16 = 0xA014;
pub const SET_CLOCK: u16 = 0xA015;
pub const SET_BASE: u16 = 0xA016;
pub const VALVE: u16 = 0xA017;
pub const SET_ADDRESS: u16 = 0xA018;
/// Disables base and address writing for good: never sent.
pub const FACTORY_LEAVE: u16 = 0xA019;

impl Order {
    pub const fn write(self, di: u16) -> [u8; 2] {
        match self {
            Self::Le => di.to_le_bytes(),
            Self::Be => di.to_be_bytes(),
        }
    }

    /// The identifier in this order, or in the other one where only that is an identifier: an answer may come in either, and
    /// apart from D2xx to D4xx no identifier is another one's mirror image.
    pub const fn read(self, bytes: [u8; 2]) -> u16 {
        let (proper, other) = match self {
            Self::Le => (u16::from_le_bytes(bytes), u16::from_be_bytes(bytes)),
            Self::Be => (u16::from_be_bytes(bytes), u16::from_le_bytes(bytes)),
        };
        if !is_known(proper) && is_known(other) { other } else { proper }
    }
}

/// Whether anybody is known to use it.
pub const fn is_known(di: u16) -> bool {
    matches!(
        di,
        READING | READING_2 | CLOCK | CLOCK_8515 | CLOCK_8115 | PRICES..=KEY_VERSION | ADDRESS | 0xD120..=0xD12B
            | 0xD200..=0xD4FF | 0x904F | MODULE_STATE | MODULE_STATE_FF | SET_PRICES..=FACTORY_LEAVE
            | 0xA101..=0xA107 | 0xA580 | 0xFF80 | 0x55AA
    ) || is_module_history(di)
}

/// Months and days kept by gas modules; heat quantities in other hands.
pub const fn is_module_history(di: u16) -> bool {
    matches!(di, 0x903F | 0x904F | 0x913F | 0x914F | 0x915F | 0x916F | 0x917F | 0x918F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_identifier_is_the_mirror_image_of_another() {
        for di in (0..=u16::MAX).filter(|di| is_known(*di)) {
            let mirrored = di.swap_bytes();
            let frozen = |di: u16| (0xD200..=0xD4FF).contains(&di);
            assert!(!is_known(mirrored) || mirrored == di || frozen(di) && frozen(mirrored), "{di:04X}");
            if !is_known(mirrored) {
                for order in [Order::Le, Order::Be] {
                    assert_eq!(order.read(Order::Le.write(di)), di);
                    assert_eq!(order.read(Order::Be.write(di)), di);
                }
            }
        }
    }
}
