//! The status word, in the readings of it that are in the field. Which one holds cannot be seen; it is configured.

use crate::options::StatusLayout;
use polymeter_sdk::{Report, ValveState, ValveStatus};

/// S0 is the first byte on the wire and the low byte of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    pub valve: ValveState,
    word: u16,
    layout: StatusLayout,
}

impl Status {
    pub const fn read(layout: StatusLayout, bytes: [u8; 2]) -> Self {
        use ValveState as V;
        let word = u16::from_le_bytes(bytes);
        let low = word & 3;
        let valve = match layout {
            StatusLayout::Low | StatusLayout::ReadingFault => match low {
                0 => V::Open,
                1 => V::Closed,
                3 => V::Fault,
                _ => V::Unknown,
            },
            // Bit 1 says that the position of bit 0 is not to be trusted.
            StatusLayout::Split => match low {
                0 => V::Open,
                1 => V::Closed,
                _ => V::Fault,
            },
            StatusLayout::High => match word >> 6 & 3 {
                0 => V::Open,
                1 => V::Closed,
                3 => V::Fault,
                _ => V::Unknown,
            },
            StatusLayout::LowMoving => match low {
                0 => V::Open,
                1 => V::Moving,
                2 => V::Closed,
                _ => V::Fault,
            },
            StatusLayout::Inverted => match low {
                0 => V::Closed,
                1 => V::Open,
                2 => V::Absent,
                _ => V::Fault,
            },
        };
        Self { valve, word, layout }
    }

    pub const fn word(self) -> u16 {
        self.word
    }

    pub const fn valve_status(self) -> ValveStatus {
        ValveStatus::new(self.valve)
    }

    /// The meter says that the reading beside it is wrong.
    pub fn reading_is_invalid(self) -> bool {
        self.layout == StatusLayout::ReadingFault && self.word >> 2 & 1 == 1
    }

    /// Valve, alarms and the word itself into a report.
    pub fn tell(self, report: &mut Report) {
        report.valve = Some(self.valve_status());
        report.raw_status = u64::from(self.word);
        if self.valve == ValveState::Fault {
            report.alarms.push("valve-fault".into());
        }
        for (bit, code) in self.alarm_bits() {
            if self.word >> bit & 1 == 1 {
                report.alarms.push((*code).into());
            }
        }
    }

    const fn alarm_bits(self) -> &'static [(u8, &'static str)] {
        match self.layout {
            StatusLayout::Low | StatusLayout::Split | StatusLayout::LowMoving => &[(2, "battery-low")],
            StatusLayout::High => &[(5, "battery-low")],
            StatusLayout::ReadingFault => &[(2, "metering-fault")],
            StatusLayout::Inverted => &[
                (2, "battery-low"),
                (3, "metering-fault"),
                (4, "battery-cover-open"),
                (5, "balance-low"),
                (6, "reverse-flow"),
                (7, "storage-fault"),
                (8, "vendor-zero-crossing"),
                (9, "key-fault"),
                (10, "infrared-fault"),
            ],
        }
    }
}

/// The word that an order by status word carries.
pub const fn order(layout: StatusLayout, open: bool) -> [u8; 2] {
    match (layout, open) {
        (StatusLayout::High, false) => [0x40, 0],
        (StatusLayout::LowMoving, false) => [2, 0],
        (StatusLayout::Inverted, true) => [1, 0],
        (StatusLayout::Inverted, false) | (_, true) => [0, 0],
        (_, false) => [1, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polymeter_sdk::ReportCause;

    #[test]
    fn every_layout_and_position() {
        use StatusLayout as L;
        use ValveState as V;
        for (layout, states) in [
            (L::Low, [V::Open, V::Closed, V::Unknown, V::Fault]),
            (L::Split, [V::Open, V::Closed, V::Fault, V::Fault]),
            (L::High, [V::Open, V::Closed, V::Unknown, V::Fault]),
            (L::LowMoving, [V::Open, V::Moving, V::Closed, V::Fault]),
            (L::Inverted, [V::Closed, V::Open, V::Absent, V::Fault]),
            (L::ReadingFault, [V::Open, V::Closed, V::Unknown, V::Fault]),
        ] {
            for (bits, state) in states.into_iter().enumerate() {
                let s0 = if layout == L::High { bits << 6 } else { bits } as u8;
                assert_eq!(Status::read(layout, [s0, 0]).valve, state, "{layout:?} {bits}");
            }
            assert_eq!(Status::read(layout, order(layout, true)).valve, V::Open, "{layout:?}");
            assert_eq!(Status::read(layout, order(layout, false)).valve, V::Closed, "{layout:?}");
        }
    }

    #[test]
    fn the_word_2184_means_what_the_profile_says() {
        let told = |layout| {
            let mut report = Report::new(ReportCause::OnDemand);
            let status = Status::read(layout, [0x21, 0x84]);
            status.tell(&mut report);
            (status.valve, report.alarms, report.raw_status)
        };
        assert_eq!(told(StatusLayout::Low), (ValveState::Closed, vec![], 0x8421));
        assert_eq!(told(StatusLayout::High), (ValveState::Open, vec!["battery-low".to_owned()], 0x8421));
    }
}
