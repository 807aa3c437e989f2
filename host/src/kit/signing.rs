//! Key files and signed files on disk. What a signature is stands in `adapter/signature`; whom a station trusts, in its trust file.

use super::build::write_whole;
use crate::adapter::{PublicKey, SecretKey, Signed, sign, signatures};
use crate::limits::{COMPONENT_BYTES_MAX, KEY_FILE_BYTES_MAX};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a new key pair and writes the secret one, for its owner's eyes only. A file that is there already is never replaced:
/// it may be the only copy of a key that stations trust.
pub fn new_key(path: &Path) -> Result<PublicKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("this machine gives no random numbers: {error}"))?;
    let key = SecretKey::from_seed(&seed);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(key.to_file().as_bytes()).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot make the key file {}", path.display()))?;
    Ok(key.public())
}

/// What the system says of a directory names neither it nor a way out.
pub(super) fn not_a_directory(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{} is a directory; name a file in it", path.display());
    Ok(())
}

/// Refuses a key file that others may read: its key could sign in its owner's name already.
pub fn read_key(path: &Path) -> Result<SecretKey> {
    not_a_directory(path)?;
    let about = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("{} may be read by others (mode {mode:o}); run `chmod 600 {0}`", path.display());
    }
    let text = String::from_utf8(read(path, KEY_FILE_BYTES_MAX)?).unwrap_or_default();
    SecretKey::from_file(&text).with_context(|| path.display().to_string())
}

/// Puts one more signature on a file, in place or into `out`. Gives how many there are now.
pub fn sign_file(file: &Path, key: &SecretKey, out: &Path) -> Result<usize> {
    let signed = sign(&read_component(file)?, key).with_context(|| file.display().to_string())?;
    write_whole(out, &signed)?;
    Ok(signatures(&signed)?.signatures.len())
}

/// Whether a file is truly signed, by at least one signer and, where some are named, by all of those.
pub fn verify_file(file: &Path, wanted: &[PublicKey]) -> Result<Signed> {
    let signed = signatures(&read_component(file)?).with_context(|| file.display().to_string())?;
    ensure!(!signed.signatures.is_empty(), "{} is not signed", file.display());
    for key in wanted {
        let by = signed.signatures.iter().any(|signature| signature.key == *key);
        ensure!(by, "{} is not signed by {key}", file.display());
    }
    Ok(signed)
}

/// A component file; one that is too large is refused before it is read.
pub fn read_component(file: &Path) -> Result<Vec<u8>> {
    read(file, COMPONENT_BYTES_MAX)
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    not_a_directory(path)?;
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len() <= bytes_max, "{} has more than {bytes_max} bytes", path.display());
    Ok(bytes)
}
