//! Harm done by adapters: traps, deadlines, broken answers. Who is to blame, and when it is enough.
//!
//! Pure but for its caller's clock. A strike counts against the device that provoked it as long as it is alone; when several
//! devices see the same version fail, it is the version.
//!
//! Before a frame is understood nobody knows which device has sent it, and a whole fleet may come from one host: a gateway, a
//! load balancer, a NAT. Hosts count as one source each, or one device that connects again and again would be several. So a
//! version that fails over everybody's first frame would never be condemned by a fleet behind one host. Strangers are
//! therefore counted beside: frames of different bytes, of different peers, over which the version failed. Many of them within
//! the window condemn it, if it has understood next to no stranger since it was loaded. A device with a poison frame repeats the
//! same bytes and counts once; one whose frame differs every time (a clock, a number) harms nobody's adapter that
//! others have been understood by, which is why good answers count from the beginning and not within the window: others may be
//! silent while that one goes on. A restart is no new beginning for a version that has read a device's frame before it. And since
//! one device alone can be that many strangers while all others are silent, strangers only ever bring back the version before:
//! where nobody stands by they condemn nobody, for whoever is understood shall go on being served.

use super::Lifecycle;
use crate::adapter::{Adapter, Fault};
use crate::limits::{
    STRIKE_ONE_IN, STRIKE_RECORDS_MAX, STRIKE_SOURCES_MIN, STRIKE_STRANGERS_MET_ONE_IN, STRIKE_STRANGERS_MIN,
    STRIKE_WINDOW, STRIKES_KEPT_MAX, STRIKES_MAX, STRIKES_OF_ONE_MAX,
};
use crate::model::Digest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Whose fault it looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Struck {
    /// A single one so far, or a few among very many frames.
    Device,
    /// The version is over its budget.
    Adapter,
}

/// Somebody whose frame nobody has understood yet.
#[derive(Clone, Copy, Debug)]
pub struct Stranger<'a> {
    /// Address and port; empty: a carrier has brought it and says no name.
    pub peer: &'a str,
    pub frame: &'a [u8],
}

/// A strike as it is counted.
struct Strike<'a> {
    source: &'a str,
    /// If nobody knows who it was: his peer and what his bytes hash to.
    stranger: Option<(&'a str, Digest)>,
    now_ms: i64,
    /// Frames that the version had answered by then, and how many of them were a stranger's.
    answered: u64,
    met: u64,
}

#[derive(Default)]
pub(super) struct Strikes(BTreeMap<Digest, Record>);

#[derive(Default)]
struct Record {
    /// When, by whom, and how many frames the version had answered by then; the oldest first.
    strikes: VecDeque<(i64, String, u64)>,
    /// When, by which peer, over which bytes, where nobody knows more; the oldest first, no peer and no bytes twice.
    strangers: VecDeque<(i64, String, Digest)>,
}

impl Lifecycle {
    /// A call of this version has failed in the sandbox over what `source` (a device, or else a peer's host) has sent.
    pub fn struck(&self, adapter: &Adapter, source: &str, fault: &Fault) -> Struck {
        self.struck_over(adapter, source, None, fault)
    }

    /// The same, over a frame of somebody whom nobody knows yet.
    pub fn struck_over(
        &self,
        adapter: &Adapter,
        source: &str,
        stranger: Option<Stranger<'_>>,
        fault: &Fault,
    ) -> Struck {
        self.suspect(adapter.digest, source);
        let stranger = stranger.filter(|_| self.stands_by(adapter.name()));
        let strike = Strike {
            source,
            stranger: stranger.map(|stranger| (stranger.peer, Digest::of(stranger.frame))),
            now_ms: self.clock.steady_ms(),
            answered: adapter.answered.load(Ordering::Relaxed),
            met: adapter.met.load(Ordering::Relaxed),
        };
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let condemned = strikes.note(adapter.digest, &strike);
        drop(strikes);
        let Some(over) = condemned else { return Struck::Device };
        let minutes = STRIKE_WINDOW.as_secs() / 60;
        self.condemn(&adapter.digest, &format!("{over} within {minutes} minutes, the last: {fault}"));
        Struck::Adapter
    }
}

impl Strikes {
    /// What the journal is to say, once it is enough.
    fn note(&mut self, digest: Digest, strike: &Strike<'_>) -> Option<String> {
        let room = |records: &BTreeMap<_, _>| records.len() < STRIKE_RECORDS_MAX || records.contains_key(&digest);
        if !room(&self.0) {
            self.0.retain(|_, record| record.last_ms().is_some_and(|at| strike.now_ms - at < window_ms()));
        }
        if !room(&self.0) {
            return None;
        }
        let record = self.0.entry(digest).or_default();
        record.add(strike);
        let verdict = record.verdict(strike);
        if verdict.is_some() {
            self.0.remove(&digest);
        }
        verdict
    }
}

impl Record {
    fn last_ms(&self) -> Option<i64> {
        self.strikes.back().map(|(at, ..)| *at).max(self.strangers.back().map(|(at, ..)| *at))
    }

    fn add(&mut self, strike: &Strike<'_>) {
        let Strike { source, now_ms, .. } = *strike;
        let over = |at: i64| now_ms - at >= window_ms();
        while self.strikes.pop_front_if(|(at, ..)| over(*at)).is_some() {}
        while self.strangers.pop_front_if(|(at, ..)| over(*at)).is_some() {}
        if let Some((peer, bytes)) = strike.stranger
            && self.strangers.len() < STRIKES_KEPT_MAX
            && !self.strangers.iter().any(|(_, by, over)| *over == bytes || (by == peer && !peer.is_empty()))
        {
            self.strangers.push_back((now_ms, peer.to_owned(), bytes));
        }
        // A single one that goes on and on must not push the others out of sight.
        if self.strikes.iter().filter(|(_, by, _)| by == source).count() >= STRIKES_OF_ONE_MAX {
            return;
        }
        if self.strikes.len() >= STRIKES_KEPT_MAX {
            self.strikes.pop_front();
        }
        self.strikes.push_back((now_ms, source.to_owned(), strike.answered));
    }

    fn verdict(&self, strike: &Strike<'_>) -> Option<String> {
        let sources: BTreeSet<&str> = self.strikes.iter().map(|(_, by, _)| by.as_str()).collect();
        let answered = strike.answered.saturating_sub(self.strikes.front().map_or(0, |(.., before)| *before));
        if self.strikes.len() >= STRIKES_MAX
            && sources.len() >= STRIKE_SOURCES_MIN
            && self.strikes.len() as u64 * STRIKE_ONE_IN >= answered
        {
            return Some(format!("{STRIKES_MAX} failures over several devices"));
        }
        let strangers = self.strangers.len();
        (strangers >= STRIKE_STRANGERS_MIN && strike.met * STRIKE_STRANGERS_MET_ONE_IN <= STRIKE_STRANGERS_MIN as u64)
            .then(|| format!("{strangers} failures over first frames of as many peers, and next to none understood"))
    }
}

fn window_ms() -> i64 {
    STRIKE_WINDOW.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strike(source: &str, now_ms: i64, answered: u64) -> Strike<'_> {
        Strike { source, stranger: None, now_ms, answered, met: answered }
    }

    /// Notes strikes of `(source, how many, a minute apart)` among so many answered frames a strike; whether the last condemns.
    fn verdict(strikes: &[(&str, usize)], minutes_apart: i64, answered_between: u64) -> bool {
        let mut record = Strikes::default();
        let (mut now_ms, mut answered, mut last) = (0, 0, None);
        for (source, count) in strikes {
            for _ in 0..*count {
                last = record.note(Digest([1; 32]), &strike(source, now_ms, answered));
                now_ms += minutes_apart * 60_000;
                answered += answered_between;
            }
        }
        last.is_some()
    }

    #[test]
    fn several_devices_condemn_an_adapter_and_one_does_not() {
        for (strikes, minutes_apart, answered_between, expected) in [
            (&[("a", 500)][..], 0, 0, false),
            (&[("a", 50), ("b", 50)], 0, 0, false),
            (&[("a", 50), ("b", 1), ("c", 1)], 0, 0, true),
            (&[("a", 3), ("b", 3), ("c", 3)], 0, 0, false),
            (&[("a", 4), ("b", 3), ("c", 3)], 0, 0, true),
            // Too far apart.
            (&[("a", 4), ("b", 3), ("c", 30)], 2, 0, false),
            // A few among very many are no reason to send a whole fleet back.
            (&[("a", 4), ("b", 3), ("c", 3)], 0, 2_000, false),
            (&[("a", 4), ("b", 3), ("c", 3)], 0, 500, true),
        ] {
            assert_eq!(verdict(strikes, minutes_apart, answered_between), expected, "{strikes:?} {answered_between}");
        }
    }

    /// Whether 200 strangers of one host condemn a version that has understood so many others before: whose peers and bytes
    /// repeat after so many, so many seconds apart.
    fn condemned_by_one_host(met: u64, (peers, frames): (usize, usize), seconds_apart: i64) -> bool {
        let mut record = Strikes::default();
        (0..200).any(|n| {
            let (peer, frame) = (format!("10.0.0.1:{}", n % peers), Digest::of(&(n % frames).to_le_bytes()));
            let now_ms = n as i64 * seconds_apart * 1_000;
            let stranger = Some((&peer[..], frame));
            record.note(Digest([1; 32]), &Strike { stranger, met, ..strike("10.0.0.1", now_ms, met) }).is_some()
        })
    }

    #[test]
    fn a_fleet_behind_one_host_condemns_an_adapter_that_understands_nobody() {
        for (met, repeating, seconds_apart, expected) in [
            (0, (200, 200), 1, true),
            (2, (200, 200), 1, true),
            // It works for others: one device may come with a new port and new bytes as often as it likes.
            (3, (200, 200), 1, false),
            (100_000, (200, 200), 0, false),
            // One device whose poison frame is always the same, on ports of all kinds.
            (0, (200, 1), 1, false),
            (0, (200, STRIKE_STRANGERS_MIN - 1), 1, false),
            // One that stays connected.
            (0, (1, 200), 0, false),
            // Too seldom.
            (0, (200, 200), 60, false),
        ] {
            assert_eq!(condemned_by_one_host(met, repeating, seconds_apart), expected, "{met} {repeating:?}");
        }
    }
}
