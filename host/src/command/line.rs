//! Lines: who stands behind which carrier with something to be asked, and whose turn it is.
//!
//! A line is what one question at a time fits on: a channel of a carrier. Devices of a line take turns, so that one that never
//! answers holds up nobody: whoever was asked goes to the end. Which commands wait is the desk's affair; a device here may have
//! none left, and is passed over.

use crate::limits;
use crate::model::DeviceKey;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A carrier in front of a device, and the channel of it that leads there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    pub carrier: DeviceKey,
    pub channel: Option<u8>,
}

/// The carriers in front of a device, the nearest first; empty: it speaks for itself.
pub type Way = Vec<Hop>;

/// How patiently something is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manner {
    /// Sendings, the first included.
    pub attempts_max: u8,
    /// Pause after one without an answer.
    pub retry_after: Duration,
    /// Pause on the line after each question.
    pub gap: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Self { attempts_max: limits::COMMAND_ATTEMPTS_MAX, retry_after: Duration::ZERO, gap: Duration::ZERO }
    }
}

/// All lines of all carriers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    of: FxHashMap<DeviceKey, Carrier>,
}

/// A channel of a carrier, as the registry says it.
type Channel = Option<u8>;

/// One carrier's lines by channel, and those whose turn was last.
#[derive(Debug, Default)]
struct Carrier {
    lines: BTreeMap<Channel, Line>,
    /// The channel that was asked last; empty: none yet.
    last: Vec<Channel>,
}

#[derive(Debug, Default)]
struct Line {
    turns: VecDeque<DeviceKey>,
    inside: FxHashSet<DeviceKey>,
}

impl Lines {
    /// The device has something to be asked; `urgent`: it is next.
    pub fn add(&mut self, device: &DeviceKey, way: &[Hop], urgent: bool) {
        for hop in way {
            let carrier = self.of.entry(hop.carrier.clone()).or_default();
            let line = carrier.lines.entry(hop.channel).or_default();
            let is_new = line.inside.insert(device.clone());
            if urgent {
                if !is_new {
                    line.turns.retain(|other| other != device);
                }
                line.turns.push_front(device.clone());
            } else if is_new {
                line.turns.push_back(device.clone());
            }
        }
    }

    /// It is behind these carriers no longer, or has nothing more to be asked.
    pub fn remove(&mut self, device: &DeviceKey, way: &[Hop]) {
        for hop in way {
            let Some(carrier) = self.of.get_mut(&hop.carrier) else { continue };
            if let Some(line) = carrier.lines.get_mut(&hop.channel)
                && line.inside.remove(device)
            {
                // Usually it was asked last, or first.
                match line.turns.back() {
                    Some(last) if last == device => drop(line.turns.pop_back()),
                    _ => line.turns.retain(|other| other != device),
                }
                if line.turns.is_empty() {
                    carrier.lines.remove(&hop.channel);
                }
            }
            if carrier.lines.is_empty() {
                self.of.remove(&hop.carrier);
            }
        }
    }

    /// Devices behind a carrier that `can` be asked something; not counted any further than anybody wants to know.
    pub fn waiting(&self, carrier: &DeviceKey, can: impl Fn(&DeviceKey) -> bool) -> usize {
        let Some(carrier) = self.of.get(carrier) else { return 0 };
        let all = carrier.lines.values().flat_map(|line| line.turns.iter());
        all.take(limits::BEHIND_SCAN_MAX).filter(|device| can(device)).take(limits::COMMANDS_PENDING_MAX).count()
    }

    /// The next one whose turn it is and that `can` be asked, on a line that is `free`. It goes to the end of its line. Lines take
    /// turns, too.
    pub fn next(
        &mut self,
        carrier: &DeviceKey,
        free: impl Fn(Option<u8>) -> bool,
        mut can: impl FnMut(&DeviceKey) -> bool,
    ) -> Option<(DeviceKey, Option<u8>)> {
        let Carrier { lines, last } = self.of.get_mut(carrier)?;
        let after = |channel: &Channel| last.first().is_none_or(|last| channel > last);
        let mut order: Vec<Channel> = lines.keys().copied().filter(after).collect();
        order.extend(lines.keys().copied().filter(|channel| !after(channel)));
        for channel in order {
            let Some(line) = lines.get_mut(&channel).filter(|_| free(channel)) else { continue };
            for _ in 0..line.turns.len().min(limits::LINE_SCAN_MAX) {
                let Some(device) = line.turns.pop_front() else { break };
                line.turns.push_back(device.clone());
                if can(&device) {
                    *last = vec![channel];
                    return Some((device, channel));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> DeviceKey {
        format!("m/{n}").parse().expect("key")
    }
    fn way(channel: u8) -> Way {
        vec![Hop { carrier: key(900), channel: Some(channel) }]
    }

    #[test]
    fn devices_and_lines_take_turns_and_the_silent_go_to_the_end() {
        let mut lines = Lines::default();
        for (n, channel) in [(1, 1), (2, 1), (3, 2)] {
            lines.add(&key(n), &way(channel), false);
            lines.add(&key(n), &way(channel), false);
        }
        assert_eq!(lines.waiting(&key(900), |device| *device != key(2)), 2);
        let mut next = || lines.next(&key(900), |_| true, |_| true).map(|(device, _)| device);
        assert_eq!([next(), next(), next(), next()], [1, 3, 2, 3].map(|n| Some(key(n))));
        let busy = |channel| channel != Some(1);
        assert_eq!(lines.next(&key(900), busy, |_| true), Some((key(3), Some(2))));
        assert_eq!(lines.next(&key(900), busy, |device| *device != key(3)), None);
        lines.add(&key(2), &way(1), true);
        assert_eq!(lines.next(&key(900), |_| true, |_| true), Some((key(2), Some(1))), "urgent");
        for (n, channel) in [(1, 1), (2, 1), (3, 2)] {
            lines.remove(&key(n), &way(channel));
        }
        assert!(lines.of.is_empty());
    }
}
