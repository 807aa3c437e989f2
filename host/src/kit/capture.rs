//! Files of recorded frames: one a line, to be read by people, `adapter decode`-like tools, `adapter test --against` and
//! `adapter replay`.
//!
//! ```text
//! # comment
//! 2024-03-15T00:20:05 17 uplink aa1234567800123456e386
//! aa1234567800123456e386
//! ```
//! Time, session, direction, bytes; or bytes alone, with or without blanks between them, which is an uplink of session 0.

use super::decode::{read_line, unhex};
use crate::adapter::Direction;
use crate::limits::CAPTURE_BYTES_MAX;
use crate::model::Civil;
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

/// One frame as it was on the wire.
#[derive(Clone, PartialEq, Debug)]
pub struct Recorded {
    /// Line of the file, from 1.
    pub line: usize,
    /// The station's clock; unsaid in a line of bytes alone.
    pub at: Option<Civil>,
    pub session: u64,
    pub direction: Direction,
    pub bytes: Vec<u8>,
}

/// Reads a whole file, which holds one frame at least.
pub fn read(path: &Path) -> Result<Vec<Recorded>> {
    super::signing::not_a_directory(path)?;
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = file.metadata().map_or(0, |about| about.len());
    ensure!(size <= CAPTURE_BYTES_MAX as u64, "{} has {size} bytes; at most {CAPTURE_BYTES_MAX}", path.display());
    let mut input = BufReader::new(file.take(CAPTURE_BYTES_MAX as u64));
    let (mut recorded, mut number) = (Vec::new(), 0);
    while let Some(line) = read_line(&mut input)? {
        number += 1;
        let parsed = parse(&line, number).map_err(|why| anyhow::anyhow!("{}:{number}: {why}", path.display()))?;
        recorded.extend(parsed);
    }
    ensure!(!recorded.is_empty(), "{} holds no frames", path.display());
    Ok(recorded)
}

/// `None` for a blank line or a comment.
fn parse(line: &str, number: usize) -> Result<Option<Recorded>, String> {
    let text = line.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    // Only a time has a dash in it.
    let mut words = text.split_whitespace();
    let (mut at, mut session, mut direction) = (None, 0, Direction::Uplink);
    let digits: String = if text.split_whitespace().next().is_some_and(|word| word.contains('-')) {
        let mut word = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
        at = Some(word("the time")?.parse::<Civil>()?);
        session = word("the session")?.parse().map_err(|_| "a session is a number")?;
        direction = match word("the direction")? {
            "uplink" => Direction::Uplink,
            "downlink" => Direction::Downlink,
            other => return Err(format!("`{other}` is no direction; write uplink or downlink")),
        };
        words.collect()
    } else {
        text.to_owned()
    };
    let bytes = unhex(&digits)?;
    if bytes.is_empty() {
        return Err("no bytes".into());
    }
    Ok(Some(Recorded { line: number, at, session, direction, bytes }))
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            let direction = if self.direction == Direction::Uplink { "uplink" } else { "downlink" };
            write!(f, "{at} {} {direction} ", self.session)?;
        }
        f.write_str(&hex::encode(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let line = "2024-03-15T00:20:05 17 uplink aa06";
        let recorded = parse(line, 1).expect("it is a line").expect("it is a frame");
        assert_eq!((recorded.session, recorded.bytes.as_slice()), (17, &[0xaa, 6][..]));
        assert_eq!(recorded.to_string(), line);
        let bare = parse("AA 06", 1).expect("it is a line").expect("it is a frame");
        assert_eq!((bare.at, bare.to_string()), (None, "aa06".to_owned()));
    }

    #[test]
    fn what_is_no_line_says_why() {
        for (line, expected) in [
            ("# a comment", None),
            ("  ", None),
            ("2024-03-15T00:20:05", Some("the session is missing")),
            ("2024-03-15T00:20:05 x uplink aa", Some("a session is a number")),
            ("2024-03-15T00:20:05 1 sideways aa", Some("no direction")),
            ("2024-03-15T00:20:05 1 uplink", Some("no bytes")),
            ("2024-13-15T00:20:05 1 uplink aa", Some("2024-13-15")),
            ("aaa", Some("two make a byte")),
        ] {
            match (parse(line, 1), expected) {
                (Ok(None), None) => {}
                (Err(why), Some(part)) => assert!(why.contains(part), "{line}: {why}"),
                (other, _) => panic!("{line}: {other:?}"),
            }
        }
    }
}
