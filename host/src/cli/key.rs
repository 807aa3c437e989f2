//! `polymeter key`: the secrets that devices share with the station. They go in and never come out.

use super::client::{Access, escape};
use super::output::Columns;
use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;
use std::io::Read as _;

/// More than any key in hex.
const KEY_TEXT_BYTES_MAX: u64 = 1024;

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Set a device's key, read as hex from standard input
    ///
    ///   polymeter key set qianwei/1234567890 main < key.hex
    #[command(verbatim_doc_comment)]
    Set {
        /// realm/address, or realm/* for all devices of a realm that have no key of their own
        device: String,
        /// Slot as the adapter names it
        slot: String,
        /// The key in hex, where everybody on this machine can see it; left out: read from standard input
        #[arg(long, value_name = "HEX")]
        hex: Option<String>,
    },
    /// Which devices have a key, without the keys
    List,
    /// Forget a key
    Remove { device: String, slot: String },
}

const KEYS: Columns<'_> = &[("DEVICE", "/device"), ("SLOT", "/slot"), ("SET", "/set"), ("BY", "/by")];

pub fn run(access: &Access, command: KeyCommand) -> Result<()> {
    let client = access.remote.connect()?;
    match command {
        KeyCommand::Set { device, slot, hex } => {
            let key = match hex {
                Some(hex) => hex,
                None => from_stdin()?,
            };
            let answer = client.put(&path(&device, &slot)?, &json!({"key": key.trim()}))?;
            access.output.done(&format!("key {slot} of {device} is set"), &answer)
        }
        KeyCommand::List => access.output.listing(KEYS, client.rows("keys", &[], usize::MAX)),
        KeyCommand::Remove { device, slot } => {
            let answer = client.delete(&path(&device, &slot)?)?;
            access.output.done(&format!("key {slot} of {device} is removed"), &answer)
        }
    }
}

fn path(device: &str, slot: &str) -> Result<String> {
    let (realm, address) = device.split_once('/').context("write the device as realm/address or realm/*")?;
    Ok(format!("keys/{}/{}/{}", escape(realm), escape(address), escape(slot)))
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(KEY_TEXT_BYTES_MAX).read_to_string(&mut text).context("no key on standard input")?;
    Ok(text)
}
