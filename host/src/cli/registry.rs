//! `polymeter registry`: what the utility says of its devices. The import itself is in `registry_import`.

use super::client::{Access, Client, escape};
use super::output::{Columns, Limit, note};
use super::registry_import::{Import, import};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum RegistryCommand {
    /// Records, by key
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limit: Limit,
    },
    /// The record of one device
    Show {
        /// realm/address, such as usp/50001234567810
        device: String,
    },
    /// Set fields of a device's record; fields that are not named stay as they are
    Set {
        device: String,
        /// COLUMN=TEXT, such as kind=meter district=West; an empty text takes the field away
        #[arg(required = true, value_name = "COLUMN=TEXT")]
        fields: Vec<String>,
    },
    /// Withdraw a device's record; what it has reported stays
    Remove { device: String },
    /// Set records from a CSV file (UTF-8, a header, one device a line)
    ///
    /// The whole file is checked before anything is written; what is wrong is named by line and column. Columns, in any
    /// order: device, kind (meter, concentrator, dtu), manufacturer, model, adapter, profile, parent, protocol, channel,
    /// district, customer, key_slot, line_address, baud, line_format; the first two are needed. A row that says nothing new changes nothing.
    /// A column that the file does not have leaves what the record says; an empty cell takes it away (an empty parent with
    /// it protocol, channel, line_address, baud and line_format, an empty adapter its profile).
    Import(Import),
    /// Write all records as CSV
    Export {
        /// Left out: to standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        filter: Filter,
    },
}

#[derive(Args, Debug)]
pub struct Filter {
    /// Only devices whose realm/address begins so
    #[arg(long)]
    prefix: Option<String>,
    /// Only devices behind this one, realm/address
    #[arg(long, value_name = "DEVICE")]
    parent: Option<String>,
    #[arg(long)]
    district: Option<String>,
    /// meter, concentrator or dtu
    #[arg(long)]
    kind: Option<String>,
    #[arg(long)]
    adapter: Option<String>,
}

const RECORDS: Columns<'_> = &[
    ("DEVICE", "/device"),
    ("KIND", "/kind"),
    ("MODEL", "/model"),
    ("ADAPTER", "/adapter"),
    ("PARENT", "/parent"),
    ("DISTRICT", "/district"),
    ("CUSTOMER", "/customer"),
];
const RECORD: Columns<'_> = &[
    ("device", "/device"),
    ("kind", "/kind"),
    ("manufacturer", "/manufacturer"),
    ("model", "/model"),
    ("adapter", "/adapter"),
    ("profile", "/profile"),
    ("parent", "/parent"),
    ("protocol", "/protocol"),
    ("channel", "/channel"),
    ("district", "/district"),
    ("customer", "/customer"),
    ("key slot", "/key_slot"),
    ("line address", "/line_address"),
    ("baud", "/baud"),
    ("line format", "/line_format"),
    ("set", "/set"),
    ("by", "/by"),
];

pub fn run(access: &Access, command: RegistryCommand) -> Result<()> {
    let client = access.remote.connect()?;
    let output = access.output;
    if output.json && matches!(command, RegistryCommand::Export { .. }) {
        bail!("an export is CSV; for JSON, one record a line, use `polymeter registry list --limit 0 --json`");
    }
    match command {
        RegistryCommand::List { filter, limit } => {
            output.listing(RECORDS, client.rows("registry", &filter.query(), limit.rows_max()))
        }
        RegistryCommand::Show { device } => output.object(RECORD, &client.get(&path(&device)?)?),
        RegistryCommand::Set { device, fields } => {
            let answer = set(&client, &device, &fields)?;
            output.done(&format!("the record of {device} is set"), &answer)
        }
        RegistryCommand::Remove { device } => {
            client.delete(&path(&device)?)?;
            output.done(&format!("the record of {device} is withdrawn"), &json!({"device": device}))
        }
        RegistryCommand::Import(args) => import(&client, output, &args),
        RegistryCommand::Export { output: None, filter } => {
            export(&client, &filter, &mut std::io::stdout().lock()).map(drop)
        }
        RegistryCommand::Export { output: Some(file), filter } => {
            let bytes = export_to(&client, &filter, &file)?;
            note(&format!("{}: {bytes} bytes", file.display()));
            Ok(())
        }
    }
}

fn path(device: &str) -> Result<String> {
    let key: crate::model::DeviceKey = device.parse()?;
    Ok(format!("registry/{}/{}", escape(key.realm()), escape(key.address())))
}

/// The record as it is, with some fields changed.
fn set(client: &Client, device: &str, fields: &[String]) -> Result<Value> {
    let path = path(device)?;
    let listed = client.rows("registry", &[("prefix", device.to_owned())], 1).next().transpose()?;
    let mut record = match listed {
        Some(Value::Object(record)) if record.get("device").is_some_and(|d| d == device) => record,
        _ => serde_json::Map::new(),
    };
    for known in ["device", "set", "by"] {
        record.remove(known);
    }
    for (at, field) in fields.iter().enumerate() {
        let (column, text) =
            field.split_once('=').with_context(|| format!("`{field}`: write COLUMN=TEXT, such as district=West"))?;
        if fields[..at].iter().any(|before| before.split_once('=').is_some_and(|(name, _)| name == column)) {
            bail!("`{column}` is named twice; remove one");
        }
        let value = match column {
            "channel" | "baud" if text.is_empty() => Value::Null,
            "baud" => json!(text.parse::<u32>().with_context(|| format!("`{field}`: a line speed such as 2400"))?),
            "channel" => json!(text.parse::<u8>().with_context(|| format!("`{field}`: a channel is 0 to 255"))?),
            _ => json!(text),
        };
        record.insert(column.to_owned(), value);
    }
    client.put(&path, &Value::Object(record))
}

fn export(client: &Client, filter: &Filter, to: &mut dyn std::io::Write) -> Result<u64> {
    let query: Vec<_> = filter.query().iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let bytes = client.download(&format!("registry/export?{}", query.join("&")), to)?;
    to.flush()?;
    Ok(bytes)
}

/// The file appears once it is whole.
fn export_to(client: &Client, filter: &Filter, file: &Path) -> Result<u64> {
    let draft = file.with_added_extension("draft");
    let blame = || format!("{}: cannot be written; check directory and space", file.display());
    let mut to = std::io::BufWriter::new(fs::File::create(&draft).with_context(blame)?);
    let written = export(client, filter, &mut to);
    match written {
        Ok(_) => fs::rename(&draft, file).with_context(blame)?,
        // Nobody to tell when the draft cannot go either.
        Err(_) => drop(fs::remove_file(&draft)),
    }
    written
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("prefix", &self.prefix),
            ("parent", &self.parent),
            ("district", &self.district),
            ("kind", &self.kind),
            ("adapter", &self.adapter),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}
