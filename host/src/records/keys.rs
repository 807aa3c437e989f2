//! Rows of keys: `device,slot,key`, as a CSV names them. What is wrong is said by line and column and never in the words of
//! the row, for where columns are mixed up any of them may be the key.

use super::table::{self, Form, Table, Unreadable};
use super::weigh::duplicate;
use crate::model::{DeviceKey, Flaw, FlawKind, KeySlot};
use rustc_hash::FxHashMap;
use std::io::Read;

const DEVICE: &str = "device";
const SLOT: &str = "slot";
const KEY: &str = "key";
const COLUMNS: &[&str] = &[DEVICE, SLOT, KEY];
/// What is said of a device that is none; it may be a key, so it is not repeated.
pub const NO_DEVICE: &str =
    "is no device; write it as realm/address, such as usp/50001234567810, or realm/* for all of a realm";
const FORM: Form = Form { columns: COLUMNS, needed: COLUMNS, secret: true };

/// A key, where it belongs, and the line it came from, counted from 1 with the header.
pub struct Row {
    pub line: u64,
    pub at: KeySlot,
    pub key: [u8; 16],
}

/// A row, or the line of one with all that is wrong with it.
pub type ReadRow = Result<Row, (u64, Vec<Flaw>)>;

/// Keys of a CSV text, one at a time.
pub struct Csv<R>(Table<R>);

impl<R: Read> Csv<R> {
    /// Reads the header.
    pub fn open(input: R) -> Result<Self, Unreadable> {
        Table::open(input, &FORM).map(Self)
    }

    /// The next row; `None`: that was all.
    pub fn read(&mut self) -> Result<Option<ReadRow>, Unreadable> {
        let line = match self.0.advance()? {
            None => return Ok(None),
            Some(Err((line, flaw))) => return Ok(Some(Err((line, vec![flaw])))),
            Some(Ok(line)) => line,
        };
        let mut fields = [""; COLUMNS.len()];
        for field in self.0.fields() {
            let (at, text) = field?;
            fields[at] = text.trim();
        }
        Ok(Some(Row::read(line, fields)))
    }
}

impl Row {
    fn read(line: u64, [device, slot, key]: [&str; COLUMNS.len()]) -> ReadRow {
        let malformed = |column, what: String| Flaw::of(column, FlawKind::Malformed, what);
        let mut flaws = Vec::new();
        let device: Option<DeviceKey> = device.parse().ok();
        if device.is_none() {
            flaws.push(malformed(DEVICE, NO_DEVICE.into()));
        }
        let good_slot = KeySlot::check(slot);
        if let Err(what) = good_slot {
            flaws.push(malformed(SLOT, what.to_string()));
        }
        let key = parse_key(key).map_err(|what| flaws.push(malformed(KEY, what)));
        match (device, good_slot, key) {
            (Some(device), Ok(()), Ok(key)) => Ok(Self { line, at: KeySlot { device, slot: slot.to_owned() }, key }),
            _ => Err((line, flaws)),
        }
    }
}

/// 16 bytes in hexadecimal. The refusal repeats nothing of it.
pub fn parse_key(text: &str) -> Result<[u8; 16], String> {
    let mut key = [0; 16];
    match hex::decode_to_slice(text.trim(), &mut key) {
        Ok(()) => Ok(key),
        Err(hex::FromHexError::InvalidHexCharacter { .. }) => {
            Err("a key is 32 hexadecimal digits, 0 to 9 and a to f".into())
        }
        Err(_) => Err(format!("a key is 32 hexadecimal digits, not {}", text.trim().chars().count())),
    }
}

pub type Chunk = table::Chunk<Row>;

impl Chunk {
    pub fn of_csv(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut csv = Csv::open(bytes)?;
        let (mut chunk, mut lines) = (Self::default(), FxHashMap::default());
        while let Some(row) = csv.read()? {
            chunk.take(row.and_then(|row| match lines.insert(row.at.clone(), row.line) {
                None => Ok(row),
                Some(first) => Err((row.line, vec![duplicate(first)])),
            }))?;
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn keys_are_read_in_any_order_of_columns() {
        let text = format!("slot,KEY,device\nmain, {} ,usp/1\n\n1,{HEX},\"usp/*\"\n", HEX.to_uppercase());
        let chunk = Chunk::of_csv(text.as_bytes()).expect("readable");
        assert_eq!(chunk.flaws, []);
        let read: Vec<_> = chunk.rows.iter().map(|row| (row.line, row.at.device.as_str(), &row.at.slot[..])).collect();
        assert_eq!(read, [(2, "usp/1", "main"), (4, "usp/*", "1")]);
        assert!(chunk.rows.iter().all(|row| hex::encode(row.key) == HEX));
    }

    /// Each row: rows of a file, and line and column of each flaw.
    #[test]
    fn flaws_name_line_and_column_and_repeat_nothing() {
        let (short, twice) = (&HEX[..30], format!("usp/1,1,{HEX}\nusp/1,1,{HEX}"));
        for (rows, expected) in [
            (format!("usp/1,1,{short}"), &[(2, Some("key"))][..]),
            (format!("usp/1,1,{short}zz"), &[(2, Some("key"))]),
            ("usp/1,1,".into(), &[(2, Some("key"))]),
            (format!("usp/1,{HEX},1"), &[(2, Some("key"))]),
            (format!("{HEX},usp/1,1"), &[(2, Some("device")), (2, Some("slot")), (2, Some("key"))]),
            (format!("usp/1,1,{HEX},{HEX}"), &[(2, None)]),
            (format!("usp/1,1,\"{HEX}"), &[(2, None)]),
            (twice, &[(3, Some("device"))]),
        ] {
            let chunk = Chunk::of_csv(format!("device,slot,key\n{rows}\n").as_bytes()).expect("readable");
            let places: Vec<_> = chunk.flaws.iter().map(|(line, flaw)| (*line, flaw.column)).collect();
            assert_eq!(places, expected, "{rows}");
            assert!(chunk.flaws.iter().all(|(_, flaw)| !flaw.message.contains(&HEX[..8])), "{:?}", chunk.flaws);
        }
    }

    #[test]
    fn what_is_no_table_of_keys_is_refused_without_repeating_it() {
        for (text, says) in [
            (
                format!("{HEX},usp/1,1\n"),
                "line 1: field 1 names no column; columns, separated by commas, are: device,slot,key",
            ),
            (format!("device,{HEX},slot\n"), "line 1: field 2 names no column"),
            (format!("device,slot\nusp/1,{HEX}\n"), "line 1: the column `key` is missing; add it"),
            (String::new(), "is empty; the first line names the columns: device,slot,key"),
            (format!("device,slot,key\nusp/1,1,{HEX}\n").replace(',', ";"), "field 1 names no column"),
        ] {
            let refusal = Chunk::of_csv(text.as_bytes()).err().expect("refused").to_string();
            assert!(refusal.contains(says) && !refusal.contains(&HEX[..8]), "got {refusal:?}, wanted {says:?}");
        }
    }
}
