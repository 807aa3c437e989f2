//! The way in through an MQTT broker: what an earlier run of the station has kept is not taken twice.
//!
//! A station that dies between making a message durable and acknowledging it finds the message again, marked as sent
//! before. The journal is the truth: what stands at its end for that topic is not a second report.

use super::doors::Entrance;
use crate::journal::{Entry, Fact, Journal, StoreError};
use crate::limits;
use crate::link::Link;
use crate::link::mqtt::{Broker, Message};
use crate::model::Seq;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

impl Entrance {
    pub(super) async fn messages(self, mut broker: Broker, mut stopped: watch::Receiver<bool>) {
        let watch = broker.watch();
        let mut tail = Tail::default();
        loop {
            let message = tokio::select! {
                message = broker.next() => message,
                _ = stopped.changed() => None,
            };
            let Some(mut message) = message else { return watch.stop() };
            if message.is_repeated() && !self.is_news(&mut tail, &mut message).await {
                continue;
            }
            if let Some((topic, peer)) = broker.hand_over(message) {
                self.start(Link::Mqtt(Box::new(topic)), peer);
            }
        }
    }

    /// Whether anything of a message that was sent before is not in the journal; what is, is taken off.
    async fn is_news(&self, tail: &mut Tail, message: &mut Message) -> bool {
        if tail.connection != message.connection() {
            let (journal, listener) = (self.services.journal.clone(), self.door.name.clone());
            let read = tokio::task::spawn_blocking(move || frames_at_the_end(&journal, &listener)).await;
            match read.map_err(|e| e.to_string()).and_then(|read| read.map_err(|e| e.to_string())) {
                Ok(frames) => *tail = Tail { connection: message.connection(), frames },
                Err(error) => {
                    // The message is dropped, and comes again with the next connection.
                    tracing::warn!(listener = %self.door.name, %error, "the journal cannot be searched for a message");
                    return false;
                }
            }
        }
        message.skip(tail.known(message.topic(), message.bytes()))
    }
}

/// Frames by topic: length and SHA-256.
type Frames = FxHashMap<String, Vec<(usize, [u8; 32])>>;

/// What stood at the end of the journal when this connection brought the first message that had been sent before.
#[derive(Default)]
struct Tail {
    connection: u64,
    frames: Frames,
}

impl Tail {
    /// How many bytes at the beginning are frames that are known.
    fn known(&self, topic: &str, bytes: &[u8]) -> usize {
        let Some(frames) = self.frames.get(topic) else { return 0 };
        let mut rest = bytes;
        while let Some((length, _)) = frames.iter().find(|(length, digest)| {
            rest.get(..*length).is_some_and(|piece| *length > 0 && <[u8; 32]>::from(Sha256::digest(piece)) == *digest)
        }) {
            rest = &rest[*length..];
        }
        bytes.len() - rest.len()
    }
}

/// Blocks.
fn frames_at_the_end(journal: &Journal, listener: &str) -> Result<Frames, StoreError> {
    let reader = journal.reader();
    let last = reader.last_seq();
    let mut next = Seq(last.0.saturating_sub(limits::MQTT_TAIL_ENTRIES_MAX as u64).max(reader.first_seq().0));
    let mut frames = Frames::default();
    while next <= last {
        let stored = reader.read(next, limits::REPLAY_ENTRIES, limits::PAGE_BYTES_MAX)?;
        let Some(newest) = stored.last().map(|stored| stored.seq) else { break };
        for stored in stored {
            if let Ok(Entry { fact: Fact::Frame(frame), .. }) = stored.entry
                && frame.listener == listener
            {
                frames.entry(frame.peer).or_default().push((frame.raw.len(), Sha256::digest(&frame.raw[..]).into()));
            }
        }
        next = Seq(newest.0 + 1);
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_taken_off_the_beginning() {
        let frame = |bytes: &[u8]| (bytes.len(), Sha256::digest(bytes).into());
        let frames = Frames::from_iter([("a".to_owned(), vec![frame(b"one"), frame(b"three"), frame(b"")])]);
        let tail = Tail { connection: 1, frames };
        for (topic, bytes, known) in [
            ("a", &b"one"[..], 3),
            ("a", b"onethree", 8),
            ("a", b"threetwo", 5),
            ("a", b"twoone", 0),
            ("b", b"one", 0),
            ("a", b"", 0),
        ] {
            assert_eq!(tail.known(topic, bytes), known, "{topic} {bytes:?}");
        }
    }
}
