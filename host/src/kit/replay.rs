//! `adapter replay`: recorded frames sent to a listener as their devices would, session after session.

use super::capture::Recorded;
use crate::adapter::Direction;
use crate::link::{Answer, Dialled};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;

/// What happened to one frame, told as it happens.
pub enum Step<'a> {
    Sent(&'a Recorded),
    Answered(Vec<u8>),
    Silence,
    /// The station has closed; what is left of this session is not sent.
    Closed,
}

/// Sums of a run.
#[derive(Clone, Copy, Default, Debug)]
pub struct Replayed {
    pub sessions: usize,
    pub sent: usize,
    pub answered: usize,
    /// Not sent, since the station had closed before.
    pub left: usize,
}

/// How to reach the listener.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub station: SocketAddr,
    pub datagrams: bool,
    /// For an answer to each frame.
    pub wait: Duration,
}

/// Plays uplink frames. A capture's downlink frames are what a station said then; now it speaks for itself.
pub fn run(
    target: Target,
    mut recorded: Vec<Recorded>,
    mut tell: impl FnMut(&Step<'_>) -> Result<()>,
) -> Result<Replayed> {
    recorded.retain(|frame| frame.direction == Direction::Uplink);
    recorded.sort_by_key(|frame| frame.session);
    let mut sums = Replayed::default();
    for frames in recorded.chunk_by(|a, b| a.session == b.session) {
        sums.sessions += 1;
        session(target, frames, &mut sums, &mut tell)?;
    }
    Ok(sums)
}

fn session(
    target: Target,
    frames: &[Recorded],
    sums: &mut Replayed,
    tell: &mut impl FnMut(&Step<'_>) -> Result<()>,
) -> Result<()> {
    let dial = if target.datagrams { Dialled::datagram } else { Dialled::stream };
    let mut link = dial(target.station).with_context(|| format!("nobody listens at {}", target.station))?;
    for (index, frame) in frames.iter().enumerate() {
        let answer = match link.send(&frame.bytes) {
            Ok(()) => {
                tell(&Step::Sent(frame))?;
                sums.sent += 1;
                link.receive(target.wait).context("the connection failed")?
            }
            Err(_) => Answer::Closed,
        };
        match answer {
            Answer::Bytes(bytes) => {
                sums.answered += 1;
                tell(&Step::Answered(bytes))?;
            }
            Answer::Silence => tell(&Step::Silence)?,
            Answer::Closed => {
                sums.left += frames.len() - index - 1;
                return tell(&Step::Closed);
            }
        }
    }
    Ok(())
}
