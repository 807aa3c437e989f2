//! `polymeter adapter keygen|sign|verify`: who vouches for an adapter file.

use crate::adapter::PublicKey;
use crate::cli::output::{line, note};
use crate::kit::signing;
use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct KeygenArgs {
    /// Where the secret key goes; a file that is there is never replaced.
    #[arg(short, long, value_name = "FILE", default_value = "adapter.key")]
    out: PathBuf,
}

#[derive(Args)]
pub struct SignArgs {
    /// The adapter.
    file: PathBuf,
    /// The secret key, as `adapter keygen` made it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file to write, instead of replacing the adapter's own.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// The adapter.
    file: PathBuf,
    /// Who must have signed it, as often as needed: `ed25519:` and 64 hex digits.
    #[arg(long, value_name = "KEY")]
    trust: Vec<String>,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

pub fn keygen(args: &KeygenArgs) -> Result<()> {
    // The only line on standard output, so that a script can keep it.
    line(&signing::new_key(&args.out)?.to_string())?;
    note(&format!("The secret key is in {}: keep it to yourself. Stations need the line above.", args.out.display()));
    Ok(())
}

pub fn sign(args: &SignArgs) -> Result<()> {
    let key = signing::read_key(&args.key)?;
    let out = args.out.as_deref().unwrap_or(&args.file);
    let count = signing::sign_file(&args.file, &key, out)?;
    line(&format!("{} is signed by {} · signatures: {count}", out.display(), key.public()))
}

pub fn verify(args: &VerifyArgs) -> Result<()> {
    // Not the argument parser's business: it repeats what it cannot read, and that may be a secret key by mistake.
    let trusted = args.trust.iter().map(|key| key.parse().context("--trust")).collect::<Result<Vec<PublicKey>>>()?;
    let signed = signing::verify_file(&args.file, &trusted)?;
    let keys: Vec<_> = signed.signatures.iter().map(|signature| signature.key).collect();
    if args.json {
        let found = json!({"file": args.file, "payload_bytes": signed.payload_len, "signatures": keys});
        return line(&found.to_string());
    }
    for (number, key) in keys.iter().enumerate() {
        let known = if trusted.contains(key) { " · trusted" } else { "" };
        line(&format!("{}. {key}{known}", number + 1))?;
    }
    if trusted.is_empty() {
        line("The signatures are true. Name those you trust with --trust to have them demanded.")?;
    }
    Ok(())
}
