//! `polymeter profile`: how devices are spoken to, in which version, and who decided it.

use super::client::{Access, Client, escape};
use super::output::{Columns, Limit};
use crate::model::check_distinct;
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::PathBuf;

/// More than any profile.
const OPTIONS_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Subcommand)]
pub enum ProfileCommand {
    /// All profiles, those of the station's configuration too
    List,
    /// One profile: its options and whom it is bound to
    Show {
        /// NAME, or NAME@VERSION
        name: String,
    },
    /// Give a profile another version; its devices are spoken to with it from the next frame on
    ///
    ///   polymeter profile set xinsheng --adapter qianwei_7xxx --options '{"cipher":"aes128"}'
    ///   polymeter profile set xinsheng --adapter qianwei_7xxx --file xinsheng.json
    #[command(verbatim_doc_comment)]
    Set {
        name: String,
        /// Whose options these are
        #[arg(long)]
        adapter: String,
        #[command(flatten)]
        options: Options,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Speak with it to a device, a model or a listener's devices; the narrowest binding counts
    Bind {
        name: String,
        #[command(flatten)]
        to: Scope,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Take such a binding back
    Unbind {
        name: String,
        #[command(flatten)]
        from: Scope,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Remove a profile that nobody is bound to; what was read with it still names it
    Remove {
        name: String,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// What was decided about a profile, who did it and why; newest first
    History {
        name: String,
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Options {
    /// JSON
    #[arg(long, value_name = "JSON")]
    options: Option<String>,
    /// A file with JSON; `-`: standard input
    #[arg(long)]
    file: Option<PathBuf>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Scope {
    /// realm/address
    #[arg(long)]
    device: Option<String>,
    /// As devices or the registry tell it
    #[arg(long)]
    model: Option<String>,
    /// As the configuration names it
    #[arg(long)]
    listener: Option<String>,
}

const PROFILES: Columns<'_> = &[
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("ADAPTER", "/adapter"),
    ("OPTIONS", "/options"),
    ("BOUND TO", "/bound"),
    ("SINCE", "/since"),
    ("BY", "/by"),
    ("REASON", "/reason"),
];
const EVENTS: Columns<'_> = &[
    ("SEQ", "/seq"),
    ("AT", "/at"),
    ("STEP", "/step"),
    ("VERSION", "/version"),
    ("OPTIONS", "/options"),
    ("WHOM", "/whom"),
    ("BY", "/by"),
    ("REASON", "/reason"),
];

pub fn run(access: &Access, command: ProfileCommand) -> Result<()> {
    let client = access.remote.connect()?;
    match command {
        ProfileCommand::List => {
            let rows = client.rows("profiles", &[], usize::MAX).map(|row| row.map(|row| in_words(access, row)));
            access.output.rows(PROFILES, rows)
        }
        ProfileCommand::Show { name } => {
            let path = match name.split_once('@') {
                Some((name, version)) => format!("profiles/{}?version={}", escape(name), escape(version)),
                None => format!("profiles/{}", escape(&name)),
            };
            access.output.rows(PROFILES, std::iter::once(client.get(&path).map(|row| in_words(access, row))))
        }
        ProfileCommand::Set { name, adapter, options, reason } => {
            let body = json!({"adapter": adapter, "options": options.read()?, "reason": reason});
            told(access, &client.put(&format!("profiles/{}", escape(&name)), &body)?)
        }
        ProfileCommand::Bind { name, to, reason } => decide(access, &client, &name, "bind", &to.body(&reason)),
        ProfileCommand::Unbind { name, from, reason } => decide(access, &client, &name, "unbind", &from.body(&reason)),
        ProfileCommand::Remove { name, reason } => {
            client.delete(&format!("profiles/{}?reason={}", escape(&name), escape(&reason)))?;
            access.output.done(&format!("profile {name} is removed"), &json!({"name": name}))
        }
        ProfileCommand::History { name, limit } => {
            let path = format!("profiles/{}/history", escape(&name));
            let rows = client.rows(&path, &[], limit.rows_max()).map(|row| row.map(|row| in_words(access, row)));
            access.output.rows(EVENTS, rows)
        }
    }
}

fn decide(access: &Access, client: &Client, name: &str, what: &str, body: &Value) -> Result<()> {
    told(access, &client.post(&format!("profiles/{}/{what}", escape(name)), body)?)
}

fn told(access: &Access, answer: &Value) -> Result<()> {
    let word = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let bound = scopes(&answer["bound_to"]);
    let bound = if bound.is_empty() { "nobody".to_owned() } else { bound };
    let sentence = format!("{}@{} of {} is bound to {bound}", word("name"), answer["version"], word("adapter"));
    access.output.done(&sentence, answer)
}

/// Adds to a row what a person reads; JSON stays as the station gave it.
fn in_words(access: &Access, mut row: Value) -> Value {
    if access.output.json {
        return row;
    }
    // As they are given, to be copied.
    if let Some(options) = row.get_mut("options").filter(|options| options.is_object()) {
        *options = options.to_string().into();
    }
    for (from, to) in [("bound_to", "bound"), ("scope", "whom")] {
        let words = scopes(&row[from]);
        row[to] = words.into();
    }
    row
}

/// `listener nb, device usp/1`.
fn scopes(scopes: &Value) -> String {
    let one = |scope: &Value| -> Vec<String> {
        let fields = scope.as_object().into_iter().flatten();
        fields.map(|(kind, name)| format!("{kind} {}", name.as_str().unwrap_or_default())).collect()
    };
    let all: Vec<String> = match scopes {
        Value::Array(all) => all.iter().flat_map(one).collect(),
        other => one(other),
    };
    all.join(", ")
}

impl Scope {
    fn body(self, reason: &str) -> Value {
        let mut body = json!({"reason": reason});
        for (key, value) in [("device", self.device), ("model", self.model), ("listener", self.listener)] {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        body
    }
}

impl Options {
    fn read(self) -> Result<Value> {
        let text = match (self.options, self.file) {
            (Some(text), _) => text,
            (None, Some(path)) => {
                let mut text = String::new();
                let read = if path.as_os_str() == "-" {
                    std::io::stdin().take(OPTIONS_BYTES_MAX).read_to_string(&mut text)
                } else {
                    std::fs::File::open(&path).and_then(|file| file.take(OPTIONS_BYTES_MAX).read_to_string(&mut text))
                };
                read.with_context(|| format!("{}: cannot be read", path.display()))?;
                text
            }
            (None, None) => String::new(),
        };
        let options: Value = serde_json::from_str(&text).context("the options are no JSON")?;
        check_distinct(text.as_bytes()).context("the options")?;
        ensure!(options.is_object(), "options are a JSON object, such as {{\"cipher\":\"aes128\"}}");
        Ok(options)
    }
}
