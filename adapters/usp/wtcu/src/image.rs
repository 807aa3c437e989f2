//! What must survive a power cut, as bytes: written whole and alternately to two places, each with its generation and a CRC-32, so that a
//! cut while writing leaves the other one.
//!
//! ```text
//! | layout 1 | generation 4 | fields | CRC-32 4 |
//! ```
//! The fields are walked over by one function for both directions: what is written is what is read.

use crate::board::Storage;
use crate::check::crc32;
use crate::cipher::Suite;
use crate::days::DAYS_KEPT;
use crate::keyring::Held;
use crate::report::Event;
use crate::schedule::{Period, Plan};
use crate::state::Intent;
use crate::terminal::{Counters, Terminal};
use crate::{Algorithm, Civil};

const LAYOUT: u8 = 1;
/// An image, and what the two places have to hold each.
pub const IMAGE_BYTES: usize = 1536;
/// Numbers that are reserved at a time: one write for so many frames, and so many unused at most after a cut.
const RESERVE: u16 = 32;

/// Goes over the fields, either way.
struct Tape<'a> {
    bytes: &'a mut [u8],
    at: usize,
    writes: bool,
    /// The image was too short for its fields.
    over: bool,
}

impl Tape<'_> {
    fn bytes(&mut self, field: &mut [u8]) {
        let Some(place) = self.bytes.get_mut(self.at..self.at + field.len()) else {
            self.over = true;
            return;
        };
        if self.writes {
            place.copy_from_slice(field);
        } else {
            field.copy_from_slice(place);
        }
        self.at += field.len();
    }
    fn u8(&mut self, field: &mut u8) {
        let mut bytes = [*field];
        self.bytes(&mut bytes);
        [*field] = bytes;
    }
    fn u16(&mut self, field: &mut u16) {
        let mut bytes = field.to_le_bytes();
        self.bytes(&mut bytes);
        *field = u16::from_le_bytes(bytes);
    }
    fn u32(&mut self, field: &mut u32) {
        let mut bytes = field.to_le_bytes();
        self.bytes(&mut bytes);
        *field = u32::from_le_bytes(bytes);
    }
    fn u64(&mut self, field: &mut u64) {
        let mut bytes = field.to_le_bytes();
        self.bytes(&mut bytes);
        *field = u64::from_le_bytes(bytes);
    }
    fn civil(&mut self, field: &mut Civil) {
        let mut bits = *field as u64;
        self.u64(&mut bits);
        *field = bits as i64;
    }
    /// Whether an optional field is there.
    fn flag(&mut self, there: bool) -> bool {
        let mut byte = u8::from(there);
        self.u8(&mut byte);
        byte == 1
    }
}

impl<const ANSWER: usize> Terminal<ANSWER> {
    /// Makes everything durable that has to be. False: it is not, and what depends on it must not happen.
    pub(crate) fn save(&mut self, board: &mut impl Storage) -> bool {
        self.generation = self.generation.wrapping_add(1);
        let (sequence, nonce) = (self.counters.sequence, self.counters.nonce);
        self.ceiling =
            Counters { sequence: sequence.wrapping_add(RESERVE), nonce: nonce.saturating_add(u32::from(RESERVE)) };
        let mut image = [0; IMAGE_BYTES];
        image[0] = LAYOUT;
        image[1..5].copy_from_slice(&self.generation.to_le_bytes());
        let end = IMAGE_BYTES - 4;
        let mut tape = Tape { bytes: &mut image[5..end], at: 0, writes: true, over: false };
        self.walk(&mut tape);
        let over = tape.over;
        let sum = crc32(&image[..end]);
        image[end..].copy_from_slice(&sum.to_le_bytes());
        let place = (self.generation & 1) as usize;
        let kept = !over && board.store(place, &image);
        self.storage_failed(!kept);
        kept
    }

    /// Takes up what was saved last. False: there is nothing readable.
    pub(crate) fn restore_image(&mut self, board: &mut impl Storage) -> bool {
        let mut best: Option<(u32, usize)> = None;
        let mut image = [0; IMAGE_BYTES];
        for place in 0..2 {
            if let Some(generation) = read(board, place, &mut image) {
                // Generations go round; the newer one is less than half the way ahead.
                let newer = best.is_none_or(|(other, _)| generation.wrapping_sub(other) < u32::MAX / 2);
                best = if newer { Some((generation, place)) } else { best };
            }
        }
        let Some((generation, place)) = best else { return false };
        if read(board, place, &mut image).is_none() {
            return false;
        }
        let mut tape = Tape { bytes: &mut image[5..IMAGE_BYTES - 4], at: 0, writes: false, over: false };
        self.walk(&mut tape);
        self.generation = generation;
        // What may have been used after the image was written is behind these.
        self.counters = self.ceiling;
        true
    }

    fn walk(&mut self, tape: &mut Tape<'_>) {
        let mut plan = self.plan.bytes();
        tape.bytes(&mut plan);
        if let Some(plan) = plan_of(plan) {
            self.plan = plan;
        }
        let mut kept = self.kept_slot.unwrap_or(u16::MAX);
        tape.u16(&mut kept);
        self.kept_slot = (kept != u16::MAX).then_some(kept);
        tape.u16(&mut self.ceiling.sequence);
        tape.u32(&mut self.ceiling.nonce);
        tape.u16(&mut self.identity.capabilities);
        let (current, previous) = (self.keys.current, self.keys.previous);
        self.keys.current = walk_key(tape, current);
        self.keys.previous = walk_key(tape, previous);
        tape.u8(&mut self.status.valve);
        tape.u8(&mut self.status.reason);
        let mut intent = self.intent.unwrap_or(Intent { order: 0, id: 0, reason: 0 });
        let there = tape.flag(self.intent.is_some());
        tape.u8(&mut intent.order);
        tape.u32(&mut intent.id);
        tape.u8(&mut intent.reason);
        self.intent = there.then_some(intent);
        for id in &mut self.executed.ids {
            tape.u32(id);
        }
        tape.u8(&mut self.executed.next);
        tape.u8(&mut self.executed.count);
        self.walk_account(tape);
        for value in &mut self.parameters.known {
            tape.bytes(value);
        }
        for (id, value) in &mut self.parameters.vendor {
            tape.u16(id);
            walk_buffer(tape, value);
        }
        for endpoint in &mut self.endpoints {
            walk_buffer(tape, endpoint);
        }
        self.walk_days(tape);
    }

    fn walk_account(&mut self, tape: &mut Tape<'_>) {
        let account = &mut self.account;
        let mut balance = account.balance as u32;
        tape.u32(&mut balance);
        account.balance = balance as i32;
        tape.u32(&mut account.price);
        tape.u8(&mut account.level);
        tape.u32(&mut account.settled_total);
        let mut at = account.settled_at.unwrap_or(0);
        let there = tape.flag(account.settled_at.is_some());
        tape.civil(&mut at);
        account.settled_at = there.then_some(at);
        tape.u16(&mut account.purchase_count);
        tape.u16(&mut account.plan);
    }

    fn walk_days(&mut self, tape: &mut Tape<'_>) {
        for place in 0..DAYS_KEPT {
            tape.u16(&mut self.days.numbers[place]);
            tape.u32(&mut self.days.working[place]);
            tape.u32(&mut self.days.standard[place]);
        }
        tape.u64(&mut self.days.unsent);
        tape.u16(&mut self.days.lost);
        let mut count = self.events.count as u8;
        tape.u8(&mut count);
        self.events.count = usize::from(count).min(self.events.list.len());
        for Event { code, at, value } in &mut self.events.list {
            tape.u8(code);
            tape.civil(at);
            tape.u32(value);
        }
    }
}

/// The generation of a whole image.
fn read(board: &mut impl Storage, place: usize, image: &mut [u8; IMAGE_BYTES]) -> Option<u32> {
    if !board.load(place, image) || image[0] != LAYOUT {
        return None;
    }
    let (covered, sum) = image.split_last_chunk::<4>()?;
    let generation = u32::from_le_bytes([image[1], image[2], image[3], image[4]]);
    (crc32(covered).to_le_bytes() == *sum).then_some(generation)
}

fn walk_key(tape: &mut Tape<'_>, held: Option<Held>) -> Option<Held> {
    let none = Held { suite: Suite { algorithm: Algorithm::Aes128, version: 0 }, key: [0; 16], nonce: 0 };
    let mut key = held.unwrap_or(none);
    let mut security = held.map_or(0, |held| held.suite.byte());
    tape.u8(&mut security);
    tape.bytes(&mut key.key);
    tape.u32(&mut key.nonce);
    let suite = Suite::from_byte(security)??;
    Some(Held { suite, ..key })
}

fn walk_buffer<const N: usize>(tape: &mut Tape<'_>, buffer: &mut crate::Buffer<N>) {
    let mut length = buffer.len() as u8;
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().zip(buffer.as_slice()) {
        *place = *byte;
    }
    tape.u8(&mut length);
    tape.bytes(&mut bytes);
    *buffer = crate::Buffer::of(bytes.get(..usize::from(length).min(N)).unwrap_or_default());
}

fn plan_of(bytes: [u8; 7]) -> Option<Plan> {
    let [period, hour, minute, stagger_minutes, awake_minutes, low, high] = bytes;
    let part = |packed| crate::time::from_bcd(packed).map(u16::from);
    Some(Plan {
        period: Period::from_byte(period)?,
        minute_of_day: part(hour)? * 60 + part(minute)?,
        stagger_minutes,
        awake_minutes,
        heartbeat_minutes: u16::from_le_bytes([low, high]),
    })
}
