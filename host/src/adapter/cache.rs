//! Compiled code on disk, so that a restart need not compile again. Host-only, authenticated, and never trusted blindly.
//!
//! A file holds `tag (32) ‖ code`; the tag is HMAC-SHA256 over name and code under a secret that never leaves the
//! directory (mode 0600, owned by us). Whatever fails a check is compiled again: a cache can be lost, never obeyed.

use crate::background;
use crate::limits::{CACHED_CODE_BYTES_MAX, CACHED_CODE_FILES_MAX};
use crate::model::Digest;
use cap_std::fs::{Dir, MetadataExt, OpenOptions, OpenOptionsExt, PermissionsExt};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use wasmtime::Engine;
use wasmtime::component::Component;

const SECRET: &str = "secret";
const SUFFIX: &str = ".code";

/// Where compiled code is kept, if anywhere.
pub(super) struct Cache(Option<Shelf>);

struct Shelf {
    dir: Dir,
    secret: [u8; 32],
}

impl Cache {
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// A directory that others could write to, or that we cannot, is left alone: the station then compiles at every start.
    pub(super) fn open(dir: Dir) -> Self {
        match Shelf::open(dir) {
            Ok(shelf) => Self(Some(shelf)),
            Err(error) => {
                tracing::warn!(%error, "compiled adapters are not cached; give the station a directory of its own");
                Self(None)
            }
        }
    }

    pub(super) fn component(&self, engine: &Engine, digest: &Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        let Some(shelf) = &self.0 else { return compile(engine, bytes) };
        let name = name(engine, digest);
        if let Some(code) = shelf.read(&name)
            && let Ok(component) = revive(engine, &code)
        {
            return Ok(component);
        }
        let component = compile(engine, bytes)?;
        if let Err(error) = shelf.write(&name, &component.serialize()?) {
            tracing::warn!(%error, "cannot keep compiled code; it will be compiled again at the next start");
        }
        Ok(component)
    }
}

/// Takes long, and nobody who serves devices shall wait for it.
fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    background::wait_for("adapter-compiler", || Component::new(engine, bytes))
}

/// The one place of `unsafe` in the station; the other one of the project is the guests' heap, in the SDK.
#[allow(unsafe_code)]
fn revive(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` runs whatever machine code it is given, so the code must come from `Component::serialize`. It
    // does: `Shelf::read` has verified an HMAC over it under a secret that only this user can read and that only
    // `Shelf::write` uses, always on the output of `serialize`. The file was read once, into memory that nobody else can
    // write. Code of another wasmtime or another configuration is refused by `deserialize` itself.
    unsafe { Component::deserialize(engine, code) }
}

impl Shelf {
    fn open(dir: Dir) -> io::Result<Self> {
        let about = dir.dir_metadata()?;
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
            return Err(io::Error::other("others may write to the cache directory"));
        }
        let secret = match read_secret(&dir) {
            Some(secret) => secret,
            None => make_secret(&dir)?,
        };
        Ok(Self { dir, secret })
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut file = self.dir.open(name).ok()?;
        let mut tag = [0; 32];
        file.read_exact(&mut tag).ok()?;
        let mut code = Vec::new();
        file.take(CACHED_CODE_BYTES_MAX).read_to_end(&mut code).ok()?;
        let genuine = same(&tag, &self.tag(name, &code));
        if !genuine {
            tracing::warn!(file = name, "cached code was changed; compiling again");
        }
        genuine.then_some(code)
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        self.drop_oldest()?;
        let draft = format!("{name}.draft");
        let _ = self.dir.remove_file(&draft);
        let mut file = self.dir.open_with(&draft, &private())?;
        file.write_all(&self.tag(name, code))?;
        file.write_all(code)?;
        self.dir.rename(&draft, &self.dir, name)
    }

    /// HMAC-SHA256 (RFC 2104) over the name's length, the name and the code.
    fn tag(&self, name: &str, code: &[u8]) -> [u8; 32] {
        let pad = |fill: u8| {
            let mut block = [fill; 64];
            for (byte, secret) in block.iter_mut().zip(self.secret) {
                *byte ^= secret;
            }
            Sha256::new().chain_update(block)
        };
        let inner = pad(0x36).chain_update((name.len() as u64).to_be_bytes()).chain_update(name).chain_update(code);
        pad(0x5c).chain_update(inner.finalize()).finalize().into()
    }

    /// Versions come and go; the files of those that went must not pile up.
    fn drop_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in self.dir.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(SUFFIX) {
                files.push((entry.metadata()?.modified()?.into_std(), name));
            }
        }
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(CACHED_CODE_FILES_MAX);
        for (_, name) in files.drain(..surplus) {
            self.dir.remove_file(name)?;
        }
        Ok(())
    }
}

/// The component, and everything about the engine that its code depends on.
fn name(engine: &Engine, digest: &Digest) -> String {
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let environment: [u8; 32] = hasher.0.finalize().into();
    format!("{digest}-{}{SUFFIX}", hex::encode(&environment[..8]))
}

/// SHA-256 as a `Hasher`: the standard one may change between builds.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

fn read_secret(dir: &Dir) -> Option<[u8; 32]> {
    let mut file = dir.open(SECRET).ok()?;
    let about = file.metadata().ok()?;
    let ours = about.uid() == rustix::process::geteuid().as_raw() && about.permissions().mode().trailing_zeros() >= 6;
    let mut secret = [0; 32];
    (ours && about.len() == 32 && file.read_exact(&mut secret).is_ok()).then_some(secret)
}

/// A new secret makes every older file worthless, which is the point.
fn make_secret(dir: &Dir) -> io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    match dir.remove_file(SECRET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    dir.open_with(SECRET, &private())?.write_all(&secret)?;
    Ok(secret)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

/// Compares without telling where the difference is.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}
