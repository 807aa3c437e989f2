//! From an adapter's crate to one self-contained file: compile, make it a component, embed manifest and vectors.

use super::toolchain::{TARGET, Toolchain, clean};
use crate::adapter::{MANIFEST_SECTION, Manifest, VECTORS_SECTION};
use crate::limits::VECTORS_BYTES_MAX;
use crate::model::Digest;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::borrow::Cow;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use wasm_encoder::{ComponentSection, CustomSection};
use wit_component::ComponentEncoder;

/// What was built, and where it lies.
pub struct Built {
    pub manifest: Manifest,
    pub path: PathBuf,
    pub bytes: usize,
    pub digest: Digest,
}

/// Builds the adapter crate in `dir`. Without `out` the file goes to the crate's target directory, as `adapters/<name>.wasm`.
pub fn build(dir: &Path, out: Option<&Path>) -> Result<Built> {
    let manifest = read_manifest(dir)?;
    let vectors = read_vectors(dir)?;
    let source = Source::of(dir)?;
    let module = compile(dir, &source)?;
    let component = pack(&module, &manifest, vectors.as_ref())?;
    let path = match out {
        Some(path) => path.to_owned(),
        None => source.target_dir.join("adapters").join(format!("{}.wasm", manifest.name)),
    };
    write_whole(&path, &component)?;
    Ok(Built { manifest, path, bytes: component.len(), digest: Digest::of(&component) })
}

/// A core module made by the SDK becomes a component that describes itself.
pub fn pack(module: &[u8], manifest: &Manifest, vectors: Option<&Value>) -> Result<Vec<u8>> {
    let mut component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(ComponentEncoder::encode)
        .context("the crate compiles, but is no adapter; does it say `polymeter_sdk::adapter!(…)`?")?;
    embed(&mut component, MANIFEST_SECTION, &serde_json::to_vec(manifest)?);
    if let Some(vectors) = vectors {
        let json = serde_json::to_vec(vectors)?;
        ensure!(json.len() <= VECTORS_BYTES_MAX, "the vectors have {} bytes, at most {VECTORS_BYTES_MAX}", json.len());
        embed(&mut component, VECTORS_SECTION, &json);
    }
    Ok(component)
}

/// `adapter.toml`. A key that no manifest has is refused: a misspelt one would otherwise mean nothing.
pub fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join("adapter.toml");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{} is no adapter: cannot read {}", dir.display(), path.display()))?;
    let written: Value = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let manifest = Manifest::parse(&serde_json::to_vec(&written)?).with_context(|| path.display().to_string())?;
    let known = serde_json::to_value(&manifest)?;
    for (section, known) in [("", &known), ("session", &known["session"]), ("address", &known["address"])] {
        let written = if section.is_empty() { &written } else { &written[section] };
        for key in written.as_object().into_iter().flat_map(serde_json::Map::keys) {
            ensure!(known.get(key).is_some(), "{}: unknown key `{key}` {section}", path.display());
        }
    }
    Ok(manifest)
}

/// All vector files in order of their names; none where there is no such directory.
pub fn read_vectors(dir: &Path) -> Result<Option<Value>> {
    let dir = dir.join("vectors");
    if !dir.is_dir() {
        return Ok(None);
    }
    let mut paths: Vec<_> = fs::read_dir(&dir)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let read = |path: &PathBuf| -> Result<Value> {
        serde_json::from_slice(&fs::read(path)?).with_context(|| path.display().to_string())
    };
    Ok(Some(Value::Array(paths.iter().map(read).collect::<Result<_>>()?)))
}

/// A reader of `path` sees the old file or the new one, never half of either.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("{} is no file name", path.display())
    };
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let draft = dir.join(format!(".{}.draft", name.to_string_lossy()));
    fs::write(&draft, bytes)
        .and_then(|()| fs::rename(&draft, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn embed(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    CustomSection { name: Cow::Borrowed(name), data: Cow::Borrowed(data) }.append_to_component(component);
}

/// Where cargo finds the source of a crate and puts what it makes; its own answer, so that workspaces and configured
/// directories are respected.
struct Source {
    target_dir: PathBuf,
    workspace: PathBuf,
    /// Crates that come from somewhere else on this machine, by name.
    elsewhere: Vec<(String, PathBuf)>,
}

impl Source {
    /// Insists on a lock file that fits: other versions of dependencies would be another adapter.
    fn of(dir: &Path) -> Result<Self> {
        let output = clean("cargo")
            .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET])
            .current_dir(dir)
            .output()
            .context("cannot run `cargo`; is Rust installed?")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !words.contains("--locked"),
            "Cargo.lock is missing or does not fit Cargo.toml; run `cargo check`, keep Cargo.lock with the source, and build again"
        );
        ensure!(output.status.success(), "{}", words.trim());
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let path = |key: &str| metadata[key].as_str().map(PathBuf::from);
        let workspace = path("workspace_root").context("cargo metadata names no workspace")?;
        let local = metadata["packages"].as_array().into_iter().flatten().filter(|package| package["source"].is_null());
        let elsewhere = local.filter_map(|package| {
            let dir = Path::new(package["manifest_path"].as_str()?).parent()?;
            (!dir.starts_with(&workspace)).then(|| Some((package["name"].as_str()?.to_owned(), dir.to_owned())))?
        });
        Ok(Self {
            target_dir: path("target_directory").context("cargo metadata names no target directory")?,
            elsewhere: elsewhere.collect(),
            workspace,
        })
    }

    /// Paths of this machine that every crate could show. The same for all crates, so that cargo keeps what it has built.
    fn machine(toolchain: &Toolchain) -> Vec<(PathBuf, String)> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
        vec![(toolchain.library(), "/rust".to_owned()), (home, "/cargo".to_owned())]
    }

    /// Paths of this crate. Cargo names its source relatively, so they show only where a build script or a crate that lies
    /// elsewhere brings them in.
    fn own(&self) -> Vec<(PathBuf, String)> {
        let fixed = [(self.workspace.clone(), "/source".to_owned()), (self.target_dir.clone(), "/target".to_owned())];
        let elsewhere = self.elsewhere.iter().map(|(name, dir)| (dir.clone(), format!("/elsewhere/{name}")));
        fixed.into_iter().chain(elsewhere).collect()
    }
}

/// No path of this machine may be in the file: the same source gives the same bytes anywhere.
fn compile(dir: &Path, source: &Source) -> Result<Vec<u8>> {
    let toolchain = Toolchain::find(dir)?;
    let (mut remap, own) = (Source::machine(&toolchain), source.own());
    let module = cargo_build(dir, source, &toolchain, &remap)?;
    let shows = |(path, _): &(PathBuf, String)| {
        let path = path.as_os_str().as_encoded_bytes();
        module.windows(path.len()).any(|window| window == path)
    };
    if !own.iter().any(shows) {
        return Ok(module);
    }
    // Of two that match, the later one counts.
    remap.extend(own);
    cargo_build(dir, source, &toolchain, &remap)
}

/// Runs cargo, its words going to the terminal, and reads the module it made.
fn cargo_build(dir: &Path, source: &Source, toolchain: &Toolchain, remap: &[(PathBuf, String)]) -> Result<Vec<u8>> {
    let mut cargo = toolchain.cargo_build(&source.target_dir.join("guest"), remap);
    cargo.args(["--locked", "--lib", "--message-format", "json-render-diagnostics"]).current_dir(dir);
    let mut running = cargo.stdout(Stdio::piped()).spawn().context("cannot run `cargo`")?;
    let mut module = None;
    for line in BufReader::new(running.stdout.take().context("cargo has no output")?).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        if message["reason"] == "compiler-artifact" && message["target"]["kind"].to_string().contains("cdylib") {
            let mut files =
                message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from);
            module = files.rfind(|file| file.extension().is_some_and(|e| e == "wasm")).or(module);
        }
    }
    ensure!(running.wait()?.success(), "{} does not compile for {TARGET}", dir.display());
    let module = module.context(
        "the crate is no `cdylib`; write `crate-type = [\"cdylib\", \"rlib\"]` under [lib] of its Cargo.toml",
    )?;
    fs::read(&module).with_context(|| format!("cannot read {}", module.display()))
}
