//! Polls: what the station asks of which devices, and when. Times are those of the fleet's wall clock.

use super::{ConfigError, Place, is_name, speaks};
use crate::command::Manner;
use crate::limits::{POLL_GAP_MAX, POLL_RETRY_MAX, POLLS_MAX};
use crate::model::{Civil, Command, DeviceKey, DeviceKind, Interval, ReadScope};
use crate::views::RegistryFilter;
use jiff::{ToSpan, civil};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;
use toml::Spanned;

/// One poll.
#[derive(Clone, Debug)]
pub struct Poll {
    pub name: String,
    pub what: What,
    /// Which devices of the registry.
    pub devices: RegistryFilter,
    pub schedule: Schedule,
    /// Pause between two questions on one line.
    pub gap: Duration,
    /// Sendings of one question, the first included, and the pause between them.
    pub attempts: u8,
    pub retry_after: Duration,
    /// How long after it was due a round is worth anything.
    pub deadline: Duration,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Read(ReadScope),
    /// The last so many samples before the round.
    History {
        interval: Interval,
        count: u16,
    },
}

/// When a round is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// Counted from midnight; a divisor of the day.
    EveryMinutes(u16),
    /// Minute of the day.
    Daily(u16),
    /// Day of the month and minute of that day.
    Monthly(u8, u16),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPoll {
    name: Spanned<String>,
    read: Option<ReadScope>,
    history: Option<Interval>,
    count: Option<u16>,
    every_minutes: Option<u16>,
    at: Option<Spanned<String>>,
    day: Option<u8>,
    prefix: Option<String>,
    parent: Option<DeviceKey>,
    district: Option<String>,
    kind: Option<DeviceKind>,
    adapter: Option<Spanned<String>>,
    model: Option<String>,
    #[serde(default)]
    gap_ms: u64,
    attempts: Option<u8>,
    #[serde(default)]
    retry_after_s: u64,
    deadline_minutes: Option<u32>,
}

const DAY_MINUTES: u16 = 1_440;
const ATTEMPTS_MAX: u8 = 10;
const HISTORY_COUNT_MAX: u16 = 1_000;

pub(super) fn resolve(at: &Place<'_>, raw: &[Spanned<RawPoll>]) -> Result<Vec<Poll>, ConfigError> {
    let mut names = BTreeSet::new();
    if let Some(extra) = raw.get(POLLS_MAX) {
        return Err(at.refuse(extra, &format!("more than {POLLS_MAX} polls; ask more devices with one")));
    }
    raw.iter()
        .map(|spanned| {
            let poll = resolve_one(at, spanned)?;
            if !names.insert(poll.name.clone()) {
                return Err(
                    at.refuse(spanned, "two polls have this name; commands name the poll, so give each its own")
                );
            }
            Ok(poll)
        })
        .collect()
}

fn resolve_one(at: &Place<'_>, spanned: &Spanned<RawPoll>) -> Result<Poll, ConfigError> {
    let raw = spanned.get_ref();
    let name = raw.name.get_ref().clone();
    if !is_name(&name) {
        return Err(at.refuse(&raw.name, "a name has 1 to 32 letters, digits, `-` or `_`"));
    }
    let what = match (raw.read, raw.history) {
        (Some(scope), None) => What::Read(scope),
        (None, Some(interval)) => {
            let count = raw.count.unwrap_or(1);
            if !(1..=HISTORY_COUNT_MAX).contains(&count) {
                return Err(at.refuse(spanned, &format!("count is between 1 and {HISTORY_COUNT_MAX}")));
            }
            What::History { interval, count }
        }
        _ => return Err(at.refuse(spanned, "say what to ask: read = \"current\", or history = \"day\" with a count")),
    };
    let schedule = schedule(at, spanned)?;
    let (gap, retry_after) = (Duration::from_millis(raw.gap_ms), Duration::from_secs(raw.retry_after_s));
    if gap > POLL_GAP_MAX || retry_after > POLL_RETRY_MAX {
        let (gap, retry) = (POLL_GAP_MAX.as_millis(), POLL_RETRY_MAX.as_secs());
        return Err(at.refuse(spanned, &format!("gap_ms is at most {gap}, retry_after_s at most {retry}")));
    }
    let attempts = raw.attempts.unwrap_or(crate::limits::COMMAND_ATTEMPTS_MAX);
    if !(1..=ATTEMPTS_MAX).contains(&attempts) {
        return Err(at.refuse(spanned, &format!("attempts is between 1 and {ATTEMPTS_MAX}")));
    }
    let deadline = match raw.deadline_minutes {
        Some(minutes) if !(1..=44_640).contains(&minutes) => {
            return Err(at.refuse(spanned, "deadline_minutes is between 1 and 44640, a month"));
        }
        Some(minutes) => Duration::from_secs(60 * u64::from(minutes)),
        None => schedule.period(),
    };
    if let Some(adapter) = &raw.adapter {
        speaks::check_name(at, adapter, adapter.get_ref())?;
    }
    let devices = RegistryFilter {
        prefix: raw.prefix.clone().unwrap_or_default(),
        parent: raw.parent.clone(),
        district: raw.district.clone(),
        kind: raw.kind,
        adapter: raw.adapter.as_ref().map(|adapter| adapter.get_ref().clone()),
        model: raw.model.clone(),
    };
    Ok(Poll { name, what, devices, schedule, gap, attempts, retry_after, deadline })
}

fn schedule(at: &Place<'_>, spanned: &Spanned<RawPoll>) -> Result<Schedule, ConfigError> {
    let raw = spanned.get_ref();
    match (raw.every_minutes, &raw.at, raw.day) {
        (Some(minutes), None, None) if minutes > 0 && DAY_MINUTES.is_multiple_of(minutes) => {
            Ok(Schedule::EveryMinutes(minutes))
        }
        (Some(_), None, None) => Err(at.refuse(spanned, "every_minutes divides a day: 15, 60, 720 or the like")),
        (None, Some(time), day) => {
            let minute = minute_of_day(time.get_ref())
                .ok_or_else(|| at.refuse(time, &format!("`{}` is no time of day; write 02:30", time.get_ref())))?;
            match day {
                None => Ok(Schedule::Daily(minute)),
                Some(day @ 1..=28) => Ok(Schedule::Monthly(day, minute)),
                Some(_) => Err(at.refuse(spanned, "day is between 1 and 28, which every month has")),
            }
        }
        _ => Err(
            at.refuse(spanned, "say when to ask: every_minutes = 60, or at = \"02:30\", with day = 1 for once a month")
        ),
    }
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

impl Poll {
    /// How its questions are asked.
    pub fn manner(&self) -> Manner {
        Manner { attempts_max: self.attempts, retry_after: self.retry_after, gap: self.gap }
    }
}

impl Schedule {
    /// The last moment at or before `now` at which a round was due.
    pub fn last_due(self, now: Civil) -> Civil {
        let midnight = now.day().start();
        let minute = i64::from(now.second_of_day() / 60);
        match self {
            Self::EveryMinutes(every) => Civil(midnight.0 + minute / i64::from(every) * i64::from(every) * 60),
            Self::Daily(at) => {
                let due = midnight.0 + i64::from(at) * 60;
                Civil(if due <= now.0 { due } else { due - 86_400 })
            }
            Self::Monthly(day, at) => {
                let Some(today) = now.to_jiff() else { return now };
                let of = |first: civil::Date| {
                    let date = first.checked_add(i64::from(day - 1).days()).unwrap_or(first);
                    Civil(Civil::from_jiff(date.at(0, 0, 0, 0)).0 + i64::from(at) * 60)
                };
                let first = today.date().first_of_month();
                let due = of(first);
                if due <= now { due } else { of(first.checked_sub(1.month()).unwrap_or(first)) }
            }
        }
    }

    /// From one round to the next, at least.
    pub fn period(self) -> Duration {
        Duration::from_secs(match self {
            Self::EveryMinutes(minutes) => 60 * u64::from(minutes),
            Self::Daily(_) => 86_400,
            Self::Monthly(..) => 28 * 86_400,
        })
    }
}

impl What {
    /// The command of a round that was due then.
    pub fn command(self, due: Civil) -> Command {
        match self {
            Self::Read(scope) => Command::Read { scope },
            Self::History { interval, count } => {
                let last = floor(due, interval);
                Command::ReadHistory { interval, first: back(last, interval, i64::from(count) - 1), last }
            }
        }
    }
}

fn floor(at: Civil, interval: Interval) -> Civil {
    let second = i64::from(at.second_of_day());
    match interval {
        Interval::Minute => Civil(at.0 - second % 60),
        Interval::Hour => Civil(at.0 - second % 3_600),
        Interval::Day => at.day().start(),
        Interval::Month => at.to_jiff().map_or(at, |t| Civil::from_jiff(t.date().first_of_month().at(0, 0, 0, 0))),
    }
}

fn back(at: Civil, interval: Interval, steps: i64) -> Civil {
    match interval {
        Interval::Minute => Civil(at.0 - 60 * steps),
        Interval::Hour => Civil(at.0 - 3_600 * steps),
        Interval::Day => Civil(at.0 - 86_400 * steps),
        Interval::Month => at.to_jiff().and_then(|t| t.checked_sub(steps.months()).ok()).map_or(at, Civil::from_jiff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(text: &str) -> Civil {
        text.parse().expect("a time")
    }

    #[test]
    fn rounds_are_due_on_the_wall_clock() {
        for (schedule, now, due) in [
            (Schedule::EveryMinutes(15), "2024-03-15T12:44:59", "2024-03-15T12:30:00"),
            (Schedule::EveryMinutes(1440), "2024-03-15T12:44:59", "2024-03-15T00:00:00"),
            (Schedule::Daily(150), "2024-03-15T02:30:00", "2024-03-15T02:30:00"),
            (Schedule::Daily(150), "2024-03-15T02:29:59", "2024-03-14T02:30:00"),
            (Schedule::Monthly(1, 30), "2024-03-01T00:29:00", "2024-02-01T00:30:00"),
            (Schedule::Monthly(28, 0), "2024-03-15T00:00:00", "2024-02-28T00:00:00"),
            (Schedule::Monthly(3, 0), "2024-03-15T00:00:00", "2024-03-03T00:00:00"),
        ] {
            assert_eq!(schedule.last_due(civil(now)), civil(due), "{schedule:?} at {now}");
        }
    }

    #[test]
    fn a_history_ends_with_the_round() {
        for (interval, count, first, last) in [
            (Interval::Day, 3, "2024-02-28T00:00:00", "2024-03-01T00:00:00"),
            (Interval::Hour, 1, "2024-03-01T02:00:00", "2024-03-01T02:00:00"),
            (Interval::Month, 12, "2023-04-01T00:00:00", "2024-03-01T00:00:00"),
        ] {
            let command = What::History { interval, count }.command(civil("2024-03-01T02:30:00"));
            assert_eq!(command, Command::ReadHistory { interval, first: civil(first), last: civil(last) });
        }
    }
}
