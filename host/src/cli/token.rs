//! `polymeter token`: who may use the API. The first token is made while the station is stopped.

use super::client::{Access, escape};
use super::offline::Place;
use super::output::{Columns, Output, line, note};
use crate::api::secret::Secret;
use crate::journal::{Fact, Role};
use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token; it is shown once and only its hash is kept
    ///
    /// Through the API of a running station, or, with --config or --data, into the journal of a stopped one.
    Create {
        /// Who will use it; entries in the journal carry this name
        name: String,
        /// viewer may look; operator may also send commands, adopt devices and write records; admin may also import records and
        /// change adapters, profiles, keys and tokens
        #[arg(long, default_value = "viewer")]
        role: Role,
        #[command(flatten)]
        place: Option<Place>,
    },
    /// Tokens, without their secrets
    List,
    /// Make a token worthless, at once; the last one of an admin only once there is another
    Revoke { name: String },
}

const TOKENS: Columns<'_> = &[("NAME", "/name"), ("ROLE", "/role"), ("CREATED", "/created"), ("BY", "/by")];

pub fn run(access: &Access, command: TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Create { name, role, place: Some(place) } => {
            let secret = Secret::random()?;
            crate::api::tokens::check_name(&name).map_err(anyhow::Error::msg)?;
            let fact = Fact::TokenSet { name: name.clone(), role, hash: secret.hash(), by: "offline".into() };
            place.open_or_make()?.write(fact)?;
            show(access.output, &json!({"name": name, "role": role.name(), "token": secret.reveal()}))
        }
        TokenCommand::Create { name, role, place: None } => {
            let body = json!({"name": name, "role": role.name()});
            show(access.output, &access.remote.connect()?.post("tokens", &body)?)
        }
        TokenCommand::List => {
            let client = access.remote.connect()?;
            access.output.listing(TOKENS, client.rows("tokens", &[], usize::MAX))
        }
        TokenCommand::Revoke { name } => {
            let answer = access.remote.connect()?.delete(&format!("tokens/{}", escape(&name)))?;
            access.output.done(&format!("{name} is revoked"), &answer)
        }
    }
}

/// The secret alone on standard output, so that `TOKEN=$(polymeter token create …)` works.
fn show(output: Output, answer: &Value) -> Result<()> {
    let word = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    if output.json {
        return line(&answer.to_string());
    }
    note(&format!("{} may use this as {}; it is not shown again:", word("name"), word("role")));
    line(word("token"))
}
