//! Days that nobody has told of. A daily report brings its own day; where days before it are missing, the station asks for them
//! while the device is still there.

use super::conversation::Conversation;
use super::cutting::Chosen;
use super::machine::Closing;
use crate::adapter::{Admission, Decoded, Fault};
use crate::command::Order;
use crate::limits::MISSING_DAYS_MAX;
use crate::model::{Civil, Command, Day, Interval, Message, ReportCause, Role};
use crate::views::is_credible_day;

/// Who asks.
const STATION: &str = "station";

impl Conversation {
    /// The order for the days between this report and the newest one before it, if there are any.
    pub(super) fn missing_days(&mut self, decoded: &Decoded) -> Result<Option<Order>, Closing> {
        let Some(day) = frozen_day(decoded).filter(|_| self.door.missing_days) else { return Ok(None) };
        // A clock that is ahead says nothing about the days until then.
        let now = self.services.clock.civil(self.services.clock.now_ms());
        if !is_credible_day(day, now) {
            return Ok(None);
        }
        let Some(present) = self.present.as_mut().filter(|p| p.admission == Admission::Welcome) else {
            return Ok(None);
        };
        // What came in this session need not be in the views yet.
        let before = present.reported.filter(|before| *before < day);
        present.reported = present.reported.max(Some(day));
        if before == Some(Day(day.0 - 1)) {
            return Ok(None);
        }
        let shown = match present.told {
            Some(told) => self.services.views.last_frozen_before(told, day, MISSING_DAYS_MAX).map_err(|error| {
                tracing::warn!(device = %present.device, %error, "not served: the views cannot be read");
                Closing::StoreFailing
            })?,
            None => None,
        };
        let Some(known) = shown.max(before).filter(|known| known.0 < day.0 - 1) else { return Ok(None) };
        let device = present.device.clone();
        if !self.speaks("read-history") {
            return Ok(None);
        }
        // Whoever has left without answering is still asked for the days of then, and has to be asked for these.
        let desk = &self.services.desk;
        let mut days = ((known.0 + 1).max(day.0 - MISSING_DAYS_MAX)..day.0)
            .map(Day)
            .filter(|day| !desk.asks_for_day(&device, *day));
        let Some(first) = days.next() else { return Ok(None) };
        let (first, last) = (first.start(), days.next_back().unwrap_or(first).start());
        let command = Command::ReadHistory { interval: Interval::Day, first, last };
        let note = "days that no report has brought".to_owned();
        Ok(Some(Order { note, ..Order::of(device, command, STATION) }))
    }

    /// Places such an order and reads the frame again, for its reply has to say that a command waits.
    pub(super) async fn ask_first(&mut self, with: &Chosen, frame: &[u8], order: Order) -> Result<Decoded, Fault> {
        let device = order.device.clone();
        if let Err(refusal) = self.services.place(order).await {
            tracing::debug!(%device, %refusal, "missing days are not asked for");
        }
        self.decode(with, frame).await
    }
}

/// The day of which a daily report of the sender brings the frozen values, unless it brings a whole series of days.
fn frozen_day(decoded: &Decoded) -> Option<Day> {
    if decoded.duplicate {
        return None;
    }
    decoded.messages.iter().find_map(|message| match message {
        Message::Report(report)
            if report.cause == ReportCause::Daily && report.subject.is_none() && report.series.is_empty() =>
        {
            let frozen = report.registers.iter().filter(|register| register.role == Role::Frozen);
            frozen.filter_map(|register| register.at).max().map(Civil::day)
        }
        _ => None,
    })
}
