//! The one place that asks what time it is. Everything else is handed the answer.

use crate::model::Civil;
use jiff::tz::TimeZone;
use std::time::Instant;

/// The station's clock and the zone its fleet lives in.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    /// A moment, and what the machine's clock showed then.
    origin: (Instant, i64),
}

/// A moment by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// What the machine's clock shows, which somebody may set: UTC, milliseconds since 1970.
    pub wall_ms: i64,
    /// As `Clock::steady_ms`: how much time has passed.
    pub steady_ms: i64,
}

impl Clock {
    /// `zone` is an IANA name such as `Asia/Shanghai`.
    pub fn new(zone: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone)
            .map_err(|_| format!("`{zone}` is no time zone; write an IANA name such as Asia/Shanghai"))?;
        Ok(Self::in_zone(zone))
    }

    /// In this machine's zone, for tools that run without a station.
    pub fn system() -> Self {
        Self::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self { zone, origin: (Instant::now(), jiff::Timestamp::now().as_millisecond()) }
    }

    /// UTC, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }

    /// Now, by both clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall_ms: self.now_ms(), steady_ms: self.steady_ms() }
    }

    /// Milliseconds that neither jump nor go back when somebody sets the machine's clock; for waiting, not for writing down.
    pub fn steady_ms(&self) -> i64 {
        let (began, at_ms) = self.origin;
        at_ms + began.elapsed().as_millis() as i64
    }

    /// What the wall clock of the fleet's zone shows at that moment.
    pub fn civil(&self, at_ms: i64) -> Civil {
        match jiff::Timestamp::from_millisecond(at_ms) {
            Ok(at) => Civil(at_ms.div_euclid(1000) + i64::from(self.zone.to_offset(at).seconds())),
            Err(_) => Civil(at_ms.div_euclid(1000)),
        }
    }
}
