//! Fleet time: days of meter life, compressed into seconds of ours.

use polymeter::model::Civil;
use std::time::Duration;
use tokio::time::Instant;

/// How the fleet's calendar runs against our clock.
#[derive(Clone, Copy, Debug)]
pub struct FleetTime {
    began: Instant,
    from: Civil,
    /// Fleet seconds of one of our seconds.
    rate: f64,
}

impl FleetTime {
    /// From now on, `from..to` passes within `real`.
    pub fn start(from: Civil, to: Civil, real: Duration) -> Self {
        let span = (to.0 - from.0).max(1) as f64;
        Self { began: Instant::now(), from, rate: span / real.as_secs_f64().max(0.001) }
    }

    pub fn now(&self) -> Civil {
        Civil(self.from.0 + (self.began.elapsed().as_secs_f64() * self.rate) as i64)
    }

    /// When our clock will show that fleet time.
    pub fn when(&self, at: Civil) -> Instant {
        let seconds = (at.0 - self.from.0).max(0) as f64 / self.rate;
        self.began + Duration::from_secs_f64(seconds)
    }
}
