//! Who has reported: what a device says by itself, in one place for the device, its family, its adapter's day and the minute.

use super::{Arrival, Fold, Slot};

impl Fold {
    /// A device has reported by itself. What it says when it is asked, and what stands beside a heartbeat, do not come here: a meter
    /// whose daily reports have stopped shall not look as if it had sent one.
    pub(super) fn reported(&mut self, slot: Slot, arrival: Arrival) {
        let Arrival { seq, at_ms, civil, adapter, is_late } = arrival;
        let (row, day) = (self.devices.row(slot), civil.day());
        let last = row.last_report_ms.map(|last_ms| self.clock.civil(last_ms).day());
        let is_newest = seq.0 >= row.last_report_seq;
        // A device counts once a day, also where the machine's clock was astray between two of its reports.
        if is_newest && last != Some(day) && row.report_day_before != Some(day) {
            self.days.day(day, adapter).devices += 1;
        }
        let row = self.devices.change(slot);
        row.counts.reports += 1;
        if is_newest {
            row.report_day_before = if last == Some(day) { row.report_day_before } else { last };
            (row.last_report_ms, row.last_report_seq) = (Some(at_ms), seq.0);
        }
        self.devices.reported(slot, day);
        if !is_late {
            self.days.minute(at_ms).reports += 1;
        }
    }
}
