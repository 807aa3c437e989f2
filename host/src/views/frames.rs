//! Which frames came from which device: a way into the journal, and what is kept aside of held devices.
//!
//! ```text
//! frames       u64 = day of reception << 32 | u32 device id   -> seqs as LEB128 differences
//! held_frames  (u32 device id, u64 seq)                       -> ()
//! redecoded    (u64 seq of the frame, u32 part or 0)          -> seq of the entry that could read it at last
//! ```
//! Frames that bring nothing but heartbeats are not listed: a device that stays on line would fill its row with them.

use super::devices::{self, Page};
use super::readings::{key as day_key, of_key as of_day_key};
use super::store::{Result, Snapshot, ViewError};
use crate::model::{Day, DeviceKey, Seq};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;

pub(super) const VIEW: &str = "frames";
pub(super) const FRAMES: TableDefinition<u64, &[u8]> = TableDefinition::new("frames");
pub(super) const REDECODED: TableDefinition<(u64, u32), u64> = TableDefinition::new("redecoded");
pub(super) const HELD: TableDefinition<(u32, u64), ()> = TableDefinition::new("held_frames");

/// Frames of a device before a place, from the entry `oldest` on, newest first by their day of reception. A place is a day and an
/// entry: a clock that was set puts later entries into earlier days.
pub(super) fn list(
    snapshot: &Snapshot,
    device: &DeviceKey,
    before: Option<&str>,
    oldest: Seq,
    rows_max: usize,
) -> Result<Page<Seq>> {
    let mut page = Page { rows: Vec::new(), next: None };
    let before = before.map(|place| place_of(place).ok_or_else(|| ViewError::Place(place.to_owned()))).transpose()?;
    let Some(id) = devices::id_of(snapshot, device)? else { return Ok(page) };
    let table = snapshot.table(FRAMES)?;
    let (before_day, before_seq) = before.unwrap_or((i32::MAX, u64::MAX));
    let mut next_day = Some(before_day);
    while let Some(upto) = next_day {
        // The greatest row up to there leaps over days on which nobody sent anything.
        let mut rows = table.range(..=day_key(Day(upto), id)).map_err(ViewError::store)?;
        let Some(row) = rows.next_back() else { break };
        let (key, bytes) = row.map_err(ViewError::store)?;
        let (Day(day), found) = of_day_key(key.value());
        if found == id {
            let seqs = unpack(bytes.value()).ok_or(ViewError::Damaged { view: VIEW })?;
            let wanted = |seq: &u64| *seq >= oldest.0 && (day < before_day || *seq < before_seq);
            for seq in seqs.into_iter().rev().filter(wanted) {
                if page.rows.len() == rows_max {
                    return Ok(page);
                }
                page.rows.push(Seq(seq));
                page.next = Some(format!("{day}.{seq}"));
            }
        }
        // A row of that day with a greater number may have this device's before it.
        next_day = if found > id { Some(day) } else { day.checked_sub(1) };
    }
    page.next = None;
    Ok(page)
}

fn place_of(place: &str) -> Option<(i32, u64)> {
    let (day, seq) = place.split_once('.')?;
    Some((day.parse().ok()?, seq.parse().ok()?))
}

/// The entry that could read a frame, or a part of it, after others could not.
pub(super) fn redecoded(snapshot: &Snapshot, frame: Seq, part: u32) -> Result<Option<Seq>> {
    let found = snapshot.table(REDECODED)?.get((frame.0, part)).map_err(ViewError::store)?;
    Ok(found.map(|seq| Seq(seq.value())))
}

/// Frames of one batch on their way into the tables.
#[derive(Default)]
pub(super) struct Fold {
    new: Vec<(u64, u64)>,
    /// Device and frame: kept aside, or (false) no longer. Says more than the table.
    held: BTreeMap<(u32, u64), bool>,
    redecoded: BTreeMap<(u64, u32), u64>,
}

impl Fold {
    pub fn add(&mut self, device: u32, day: Day, seq: Seq) {
        self.new.push((day_key(day, device), seq.0));
    }

    pub fn redecode(&mut self, frame: Seq, part: u32, by: Seq) {
        self.redecoded.insert((frame.0, part), by.0);
    }

    pub fn hold(&mut self, device: u32, seq: Seq) {
        self.held.insert((device, seq.0), true);
    }

    /// What the entry said of the device does not count any more.
    pub fn drop_held(&mut self, device: u32, seq: Seq) {
        self.held.insert((device, seq.0), false);
    }

    /// The frames kept aside of a device, oldest first; they are not kept any longer.
    pub fn release(&mut self, snapshot: &Snapshot, device: u32) -> Result<Vec<Seq>> {
        let all = (device, 0)..=(device, u64::MAX);
        for row in snapshot.table(HELD)?.range(all.clone()).map_err(ViewError::store)? {
            self.held.entry(row.map_err(ViewError::store)?.0.value()).or_insert(true);
        }
        let mut seqs = Vec::new();
        for ((_, seq), kept) in self.held.range_mut(all).filter(|(_, kept)| **kept) {
            *kept = false;
            seqs.push(Seq(*seq));
        }
        Ok(seqs)
    }

    pub fn write(&mut self, txn: &WriteTransaction) -> Result<()> {
        let mut table = txn.open_table(FRAMES).map_err(ViewError::store)?;
        self.new.sort_unstable();
        let mut bytes = Vec::new();
        for group in self.new.chunk_by(|a, b| a.0 == b.0) {
            let key = group[0].0;
            let mut seqs = match table.get(key).map_err(ViewError::store)? {
                Some(before) => unpack(before.value()).ok_or(ViewError::Damaged { view: VIEW })?,
                None => Vec::new(),
            };
            seqs.extend(group.iter().map(|(_, seq)| *seq));
            // A frame that was decoded again lies before frames that are listed already.
            seqs.sort_unstable();
            seqs.dedup();
            pack(&seqs, &mut bytes);
            table.insert(key, &bytes[..]).map_err(ViewError::store)?;
        }
        self.new.clear();
        let mut redecoded = txn.open_table(REDECODED).map_err(ViewError::store)?;
        for (frame, by) in std::mem::take(&mut self.redecoded) {
            redecoded.insert(frame, by).map_err(ViewError::store)?;
        }
        let mut held = txn.open_table(HELD).map_err(ViewError::store)?;
        for (place, kept) in std::mem::take(&mut self.held) {
            if kept {
                held.insert(place, ()).map_err(ViewError::store)?;
            } else {
                held.remove(place).map_err(ViewError::store)?;
            }
        }
        Ok(())
    }
}

fn pack(seqs: &[u64], out: &mut Vec<u8>) {
    out.clear();
    let mut last = 0;
    for seq in seqs {
        let mut number = seq - last;
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        last = *seq;
    }
}

/// `None`: these bytes are no row.
fn unpack(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut seqs = Vec::new();
    let (mut number, mut shift, mut last) = (0_u64, 0, 0_u64);
    for byte in bytes {
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if *byte < 0x80 {
            last = last.checked_add(number)?;
            seqs.push(last);
            (number, shift) = (0, 0);
        } else {
            shift += 7;
        }
    }
    (shift == 0).then_some(seqs)
}
