//! Damaged bytes, drawn from a seed: real frames cut, bent, joined and blown up, and plain nonsense.
//!
//! The frames are the adapters' own vectors, good and bad. Nothing here knows a protocol beyond the byte that frames of
//! both begin with.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use serde_json::Value;
use std::path::Path;

/// Longest piece for a stream: past what the station buffers of a connection.
const STREAM_BYTES_MAX: usize = 40_000;
/// Longest datagram: past what the station takes of one, and small enough for several in the kernel's buffer.
const DATAGRAM_BYTES_MAX: usize = 20_000;
const NONSENSE_BYTES_MAX: usize = 2_048;
/// Frames of both protocols begin with it.
const START: u8 = 0x68;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Damage {
    Truncated,
    Oversized,
    Flipped,
    Spliced,
    Random,
}

impl Damage {
    pub const ALL: [Self; 5] = [Self::Truncated, Self::Oversized, Self::Flipped, Self::Spliced, Self::Random];
}

/// Whole frames by adapter.
pub struct Corpus(Vec<Vec<Vec<u8>>>);

impl Corpus {
    /// Every uplink frame of these adapters' vectors.
    pub fn of(adapters: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters");
        Self(adapters.iter().map(|name| frames(&root.join(name).join("vectors"))).collect())
    }

    /// All frames, of all adapters.
    pub fn frames(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter().flatten()
    }

    /// What a peer might send that means no good, for the adapter of that place.
    pub fn draw(&self, adapter: usize, damage: Damage, rng: &mut StdRng, datagram: bool) -> Vec<u8> {
        let bytes_max = if datagram { DATAGRAM_BYTES_MAX } else { STREAM_BYTES_MAX };
        let frame = pick(&self.0[adapter], rng).clone();
        match damage {
            Damage::Truncated => frame[..rng.random_range(1..frame.len())].to_vec(),
            Damage::Oversized => oversized(frame, bytes_max, rng),
            Damage::Flipped => flipped(frame, rng),
            Damage::Spliced => {
                let other = pick(&self.0[rng.random_range(0..self.0.len())], rng);
                spliced(&frame, other, rng)
            }
            Damage::Random => nonsense(rng),
        }
    }
}

fn frames(dir: &Path) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(dir).expect("vectors").map(|f| f.expect("a file").path()).collect();
    // The order of a directory is its own; a seed must give the same cases everywhere.
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file");
        let vectors: Value = serde_json::from_str(&text).expect("JSON");
        let hex_of = |vector: &Value| Some(vector["frame"].as_str()?.split_whitespace().collect::<String>());
        let all = vectors["vectors"].as_array().expect("vectors").iter().filter_map(hex_of);
        frames.extend(all.map(|text| hex::decode(text).expect("hex")).filter(|frame| frame.len() > 1));
    }
    assert!(frames.len() > 10, "{}: hardly any frames", dir.display());
    frames
}

fn pick<'a>(frames: &'a [Vec<u8>], rng: &mut StdRng) -> &'a Vec<u8> {
    &frames[rng.random_range(0..frames.len())]
}

/// A frame that does not end where it should, or never.
fn oversized(mut frame: Vec<u8>, bytes_max: usize, rng: &mut StdRng) -> Vec<u8> {
    let length = rng.random_range(frame.len() + 1..bytes_max);
    // Both protocols have their length fields among the first sixty bytes.
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(1..frame.len().min(60));
        frame[at] = if frame[at] == 0xFF { 0x7F } else { 0xFF };
    }
    match rng.random_range(0..3) {
        0 => frame.resize(length, rng.random()),
        1 => frame.resize_with(length, || rng.random()),
        // Starts of frames without end.
        _ => {
            let head = frame[..rng.random_range(1..frame.len())].to_vec();
            while frame.len() < length {
                frame.extend_from_slice(&head);
            }
            frame.truncate(length);
        }
    }
    frame
}

fn flipped(mut frame: Vec<u8>, rng: &mut StdRng) -> Vec<u8> {
    let before = frame.clone();
    while frame == before {
        for _ in 0..rng.random_range(1..=8) {
            let at = rng.random_range(0..frame.len());
            frame[at] ^= 1 << rng.random_range(0..8);
        }
    }
    frame
}

/// The beginning of one and the end of another, a piece lost in the middle, or one that came twice.
fn spliced(one: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let (first, second) = (rng.random_range(1..one.len()), rng.random_range(1..other.len()));
    match rng.random_range(0..3) {
        0 => [&one[..first], &other[second..]].concat(),
        1 => {
            let mut ends = [first, rng.random_range(1..=one.len())];
            ends.sort_unstable();
            [&one[..ends[0]], &one[ends[1]..]].concat()
        }
        _ => [&one[..first], &other[..second], &one[first..]].concat(),
    }
}

fn nonsense(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..NONSENSE_BYTES_MAX)];
    rng.fill_bytes(&mut bytes);
    // Nonsense that begins like a frame gets further.
    if rng.random_bool(0.5) && !bytes.is_empty() {
        bytes[0] = START;
    }
    bytes
}
