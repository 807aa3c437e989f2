//! What the station wrote down and showed, held against what was sent.

use super::bytes::Corpus;
use super::prober::Played;
use polymeter::journal::{FaultKind, FrameFact, FrameOutcome};
use polymeter::limits;
use polymeter::model::Message;
use polymeter_tests::books::frames;
use polymeter_tests::site::Site;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;

/// Pieces in quarantine by adapter and kind of fault.
type Counts = BTreeMap<(String, String), u64>;

/// Every frame entry of a stopped station's journal.
pub struct Books(Vec<FrameFact>);

/// What the running station said last.
pub struct Shown {
    metrics: Counts,
    frames: u64,
    counts: Counts,
    rows: Counts,
    devices: BTreeSet<String>,
}

impl Shown {
    pub fn of(site: &Site) -> Self {
        site.catch_up();
        let text = site.client().text("/metrics").expect("metrics").1;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut counts = Counts::new();
        for row in site.get("overview")["quarantine"].as_array().expect("counts") {
            counts.insert((word(&row["adapter"]), word(&row["fault"])), row["frames"].as_u64().expect("a number"));
        }
        let mut rows = Counts::new();
        for row in site.rows("quarantine") {
            *rows.entry((word(&row["adapter"]["name"]), word(&row["fault"]))).or_default() += 1;
        }
        let devices = site.rows("devices").iter().map(|row| word(&row["device"])).collect();
        let frames = sum(&text, "polymeter_frames_total").values().sum();
        Self { metrics: sum(&text, "polymeter_faults_total"), frames, counts, rows, devices }
    }
}

impl Books {
    pub fn of(data: &Path) -> Self {
        Self(frames(data))
    }

    /// Every byte of every peer is in some entry, in order and once; only what came after the station had closed may be
    /// missing.
    pub fn check_bytes(&self, played: &[Played]) {
        let mut of: HashMap<String, Vec<&FrameFact>> = HashMap::new();
        for frame in &self.0 {
            of.entry(origin(frame)).or_default().push(frame);
        }
        for p in played {
            let entries = of.remove(&p.case.origin()).unwrap_or_default();
            let kept: Vec<u8> = entries.iter().flat_map(|frame| frame.raw.iter().copied()).collect();
            let good = if p.case.comes_whole() {
                are_these_datagrams(&kept, &p.sent)
            } else if p.closed_by_station || is_over(&entries) || is_enough(&entries) {
                p.sent.concat().starts_with(&kept)
            } else {
                p.sent.concat() == kept
            };
            assert!(good, "{p}: {}", difference(&kept, &p.sent.concat()));
        }
    }

    /// A decoded frame is byte for byte one that some device has made; and only good devices are known.
    pub fn check_nothing_believed(&self, played: &[Played], corpus: &Corpus) {
        let mut made: HashSet<&[u8]> = corpus.frames().map(Vec::as_slice).collect();
        made.extend(played.iter().flat_map(|p| &p.good).map(Vec::as_slice));
        let peers: HashSet<String> = played.iter().map(|p| p.case.origin()).collect();
        for frame in self.0.iter().filter(|f| matches!(f.outcome, FrameOutcome::Decoded { .. })) {
            // A check sum of sixteen bits lets one damaged frame in 65,536 pass. Of the seed that is played by default none does.
            assert!(
                !peers.contains(&origin(frame)) || made.contains(&frame.raw[..]),
                "believed from {}: {}",
                frame.peer,
                hex::encode(&frame.raw.0)
            );
        }
    }

    /// Counters, listing and journal say the same.
    pub fn check_shown(&self, shown: &Shown) {
        let (mut faults, mut decoded, mut devices) = (Counts::new(), 0, BTreeSet::new());
        for frame in &self.0 {
            match &frame.outcome {
                FrameOutcome::Decoded { messages, .. } => {
                    decoded += 1;
                    devices.extend(frame.device.as_ref().map(ToString::to_string));
                    let realm = frame.device.as_ref().map_or("", |device| device.realm());
                    devices.extend(messages.iter().filter_map(subject).map(|address| format!("{realm}/{address}")));
                }
                FrameOutcome::Fault { kind, .. } => {
                    assert!(!kind.is_sandbox(), "a bundled adapter fails over {}", hex::encode(&frame.raw.0));
                    assert_ne!(*kind, FaultKind::Refused);
                    let adapter = frame.adapter.as_ref().map_or_else(String::new, |a| a.name.clone());
                    *faults.entry((adapter, kind.name().to_owned())).or_default() += 1;
                }
            }
        }
        println!("quarantined: {faults:?}; decoded: {decoded}");
        assert!(faults.values().sum::<u64>() < limits::QUARANTINE_FRAMES_MAX as u64, "the listing would forget some");
        assert_eq!((&shown.metrics, shown.frames), (&faults, decoded), "counters against the journal");
        assert_eq!(shown.counts, faults, "counts of the view against the journal");
        assert_eq!(shown.rows, faults, "the listing against the journal");
        let strangers: Vec<_> = shown.devices.symmetric_difference(&devices).collect();
        assert!(strangers.is_empty(), "shown, or told in the journal, but not both: {strangers:?}");
    }
}

/// The peer without its port, or its topic.
fn origin(frame: &FrameFact) -> String {
    frame.peer.parse::<SocketAddr>().map_or_else(|_| frame.peer.clone(), |peer| peer.ip().to_string())
}

/// Whether a station that has kept this closes the connection. A peer that has sent everything by then need not notice.
fn is_enough(entries: &[&FrameFact]) -> bool {
    let of = |wanted: FaultKind| {
        entries.iter().filter(move |f| matches!(f.outcome, FrameOutcome::Fault { kind, .. } if kind == wanted))
    };
    // Each good frame makes up for a faulty one.
    let mut faults = 0_u32;
    let mut weigh = |f: &&FrameFact| {
        let is_fault = matches!(f.outcome, FrameOutcome::Fault { .. });
        faults = if is_fault { faults + 1 } else { faults.saturating_sub(1) };
        faults >= limits::SESSION_FAULTS_MAX
    };
    let too_many = entries.iter().any(&mut weigh);
    let noise: usize = of(FaultKind::Noise).map(|f| f.raw.len()).sum();
    too_many || of(FaultKind::Foreign).next().is_some() || noise > limits::NOISE_BYTES_MAX
}

/// A meter that somebody else speaks for.
fn subject(message: &Message) -> Option<&String> {
    match message {
        Message::Report(report) => report.subject.as_ref(),
        Message::Event(event) => event.subject.as_ref(),
        _ => None,
    }
}

/// Whether somebody has said all that a communication is for: the station closes then, whatever else is on its way.
fn is_over(entries: &[&FrameFact]) -> bool {
    let reports = |messages: &[Message]| messages.iter().any(|m| matches!(m, Message::Report(r) if !r.more_follows));
    entries.iter().any(|f| matches!(&f.outcome, FrameOutcome::Decoded { messages, .. } if reports(messages)))
}

/// Whether these bytes are the first datagram and some of the others, in order. A queue may have been full for one, or
/// its session just over, and then it counts as lost on the way.
fn are_these_datagrams(kept: &[u8], sent: &[Vec<u8>]) -> bool {
    let mut rest = kept;
    for (at, datagram) in sent.iter().enumerate() {
        // Of a longer one the station takes so much.
        let taken = &datagram[..datagram.len().min(limits::FRAME_BYTES_MAX)];
        match rest.strip_prefix(taken) {
            Some(after) => rest = after,
            None if at == 0 => return false,
            None => {}
        }
    }
    rest.is_empty()
}

/// Where two runs of bytes part, in words.
fn difference(kept: &[u8], sent: &[u8]) -> String {
    let same = kept.iter().zip(sent).take_while(|(a, b)| a == b).count();
    let next = |bytes: &[u8]| hex::encode(&bytes[same..bytes.len().min(same + 32)]);
    format!(
        "{} kept of {} sent, equal up to {same}, then {:?} and {:?}",
        kept.len(),
        sent.len(),
        next(kept),
        next(sent)
    )
}

/// A counter's values by adapter and kind.
fn sum(metrics: &str, name: &str) -> Counts {
    let label = |line: &str, key: &str| {
        let (_, after) = line.split_once(&format!("{key}=\""))?;
        Some(after.split_once('"')?.0.to_owned())
    };
    let row = |line: &str| {
        let key = (label(line, "adapter")?, label(line, "kind")?);
        Some((key, line.rsplit(' ').next()?.parse().ok()?))
    };
    metrics.lines().filter(|line| line.starts_with(name)).filter_map(row).collect()
}
