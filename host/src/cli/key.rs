//! `polymeter key`: the secrets that devices share with the station. They go in and never come out.

use super::client::{Access, escape};
use super::key_import::{Import, import};
use super::offline::Place;
use super::output::{Columns, note};
use crate::api::keys;
use crate::journal::Fact;
use crate::keys::Seal;
use crate::records::keys::parse_key;
use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use serde_json::json;
use std::io::Read as _;

/// More than any key in hex.
const KEY_TEXT_BYTES_MAX: u64 = 1024;

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Set a device's key, read as hex from standard input
    ///
    /// Through the API of a running station, or, with --config or --data, into the journal of a stopped one.
    ///   polymeter key set usp/50001234567810 1 < key.hex
    #[command(verbatim_doc_comment)]
    Set {
        /// realm/address, or realm/* for all devices of a realm that have no key of their own
        device: String,
        /// Slot as the adapter names it
        slot: String,
        /// The key in hex, where everybody on this machine can see it; left out: read from standard input
        #[arg(long, value_name = "HEX")]
        hex: Option<String>,
        #[command(flatten)]
        place: Option<Place>,
    },
    /// Set keys from a CSV file (UTF-8, a header, one key a line)
    ///
    /// Columns, in any order: device (realm/address, or realm/* for all of a realm), slot, key (32 hexadecimal digits). The
    /// whole file is checked and tried before anything is written; what is wrong is named by line and column, and no key is
    /// shown. A key that is there already is left as it is: an interrupted import is simply run again.
    Import(Import),
    /// Which devices have a key, without the keys
    List,
    /// Forget a key
    Remove { device: String, slot: String },
}

const KEYS: Columns<'_> = &[("DEVICE", "/device"), ("SLOT", "/slot"), ("SET", "/set"), ("BY", "/by")];

pub fn run(access: &Access, command: KeyCommand) -> Result<()> {
    let client = access.remote.connect()?;
    match command {
        KeyCommand::Set { device, slot, hex, place } => {
            let key = match hex {
                Some(hex) => hex,
                None => from_stdin()?,
            };
            match place {
                Some(place) => seal(&place, &device, &slot, &key)?,
                None => drop(client.put(&path(&device, &slot)?, &json!({"key": key.trim()}))?),
            }
            access.output.done(&format!("key {slot} of {device} is set"), &json!({"device": device, "slot": slot}))
        }
        KeyCommand::Import(args) => import(&client, access.output, &args),
        KeyCommand::List => access.output.listing(KEYS, client.rows("keys", &[], usize::MAX)),
        KeyCommand::Remove { device, slot } => {
            client.delete(&path(&device, &slot)?)?;
            access.output.done(&format!("key {slot} of {device} is removed"), &json!({"device": device, "slot": slot}))
        }
    }
}

fn path(device: &str, slot: &str) -> Result<String> {
    let (realm, address) = parts(device)?;
    Ok(format!("keys/{}/{}/{}", escape(realm), escape(address), escape(slot)))
}

fn parts(device: &str) -> Result<(&str, &str)> {
    device.split_once('/').context("write the device as realm/address or realm/*")
}

/// As a running station would, into the files of a stopped one.
fn seal(place: &Place, device: &str, slot: &str, key: &str) -> Result<()> {
    let (realm, address) = parts(device)?;
    let at = keys::place(realm, address, slot.to_owned()).map_err(|refusal| anyhow!(refusal.message))?;
    let key = parse_key(key).map_err(anyhow::Error::msg)?;
    let opened = place.open_or_make()?;
    let master = Seal::file(&opened.data);
    let was_there = master.try_exists()?;
    let sealed = Seal::open(&opened.data)?.seal(&at, &key)?;
    if !was_there {
        let file = master.display();
        note(&format!("made a new master key {file}: keep a copy; without it the keys cannot be read"));
    }
    opened.write(Fact::KeySet {
        device: at.device.to_string(),
        slot: at.slot,
        sealed: Some(sealed),
        by: "offline".into(),
    })
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(KEY_TEXT_BYTES_MAX).read_to_string(&mut text).context("no key on standard input")?;
    Ok(text)
}
