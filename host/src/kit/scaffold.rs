//! `adapter new`: a complete crate that needs nothing but Rust. The SDK and the contract go along as source, so that an author
//! with only this program can build, and a new SDK never changes an adapter behind its author's back.
//!
//! The code is that of `examples/hello_adapter`, byte for byte but for its name.

use super::build::write_whole;
use super::toolchain::{TARGET, clean};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Path in this tree, and text.
const TREE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/author_kit.rs"));

const EXAMPLE: &str = "examples/hello_adapter/";
const EXAMPLE_NAME: &str = "hello_adapter";
const SDK_AT: &str = "vendor/polymeter-sdk";
/// As long as the name of a realm may be.
const NAME_BYTES_MAX: usize = 32;

/// How the new adapter's devices speak; both where nothing is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// Writes the crate into the new directory `dir`. `Ok(false)`: all is written, but cargo could not settle `Cargo.lock`.
pub fn write(dir: &Path, name: &str, protocol: Option<Protocol>) -> Result<bool> {
    check_name(name)?;
    if dir.exists() && dir.read_dir().map_or(true, |mut entries| entries.next().is_some()) {
        bail!("{} exists already; choose a directory that does not, or an empty one", dir.display());
    }
    for (path, text) in files(name, protocol)? {
        write_whole(&dir.join(&path), text.as_bytes())?;
        if path == "ci.sh" {
            make_executable(&dir.join(&path))?;
        }
    }
    Ok(settle_lock(dir))
}

/// All files of the crate by path.
pub fn files(name: &str, protocol: Option<Protocol>) -> Result<Vec<(String, String)>> {
    let workspace: toml::Table = text_of("Cargo.toml")?.parse().context("the workspace's own manifest")?;
    let workspace = workspace.get("workspace").context("no workspace")?;
    let mut files = Vec::new();
    for (path, text) in TREE {
        if let Some(path) = path.strip_prefix(EXAMPLE) {
            let mut text = text.replace(EXAMPLE_NAME, name);
            if path == "Cargo.toml" {
                text = alone(&text, workspace)?;
                text.push_str("\n# A workspace of its own, wherever it lies.\n[workspace]\n");
            } else if path == "adapter.toml" {
                text = with_protocol(&text, protocol);
            } else if protocol == Some(Protocol::Udp) {
                text = text.replace("tcp:127.0.0.1", "udp:127.0.0.1");
            }
            files.push((path.to_owned(), text));
        } else if let Some(path) = path.strip_prefix("sdk/") {
            let text = if path == "Cargo.toml" { alone(text, workspace)? } else { (*text).to_owned() };
            files.push((format!("{SDK_AT}/{path}"), text));
        } else if path.starts_with("wit/") {
            // Where the SDK looks for the contract: beside itself.
            files.push((format!("vendor/{path}"), (*text).to_owned()));
        } else if path.starts_with("LICENSE") {
            files.push((format!("{SDK_AT}/{path}"), (*text).to_owned()));
        } else if *path == "Cargo.lock" {
            files.push(((*path).to_owned(), (*text).to_owned()));
        }
    }
    files.push((".gitignore".to_owned(), "target/\n*.wasm\n".to_owned()));
    Ok(files)
}

fn text_of(path: &str) -> Result<&'static str> {
    TREE.iter().find(|(name, _)| *name == path).map(|(_, text)| *text).with_context(|| format!("{path} is not along"))
}

/// A crate's manifest without its workspace: what it inherits is written out, its lints are the author's affair.
fn alone(manifest: &str, workspace: &toml::Value) -> Result<String> {
    let mut out = String::with_capacity(manifest.len());
    let mut lines = manifest.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "[lints]" {
            while lines.next_if(|line| !line.is_empty()).is_some() {}
            lines.next_if(|line| line.is_empty());
            continue;
        }
        let Some(key) = line.strip_suffix(".workspace = true") else {
            writeln!(out, "{line}")?;
            continue;
        };
        if key == "polymeter-sdk" {
            writeln!(out, "{key} = {{ path = \"{SDK_AT}\" }}")?;
            continue;
        }
        let inherited = ["package", "dependencies"].into_iter().find_map(|table| workspace.get(table)?.get(key));
        writeln!(out, "{key} = {}", inherited.with_context(|| format!("the workspace has no `{key}`"))?)?;
    }
    Ok(out)
}

fn with_protocol(manifest: &str, protocol: Option<Protocol>) -> String {
    let transports = match protocol {
        None => return manifest.to_owned(),
        Some(Protocol::Tcp) => "transports = [\"tcp\"]",
        Some(Protocol::Udp) => "transports = [\"udp\"]",
    };
    manifest
        .lines()
        .map(|line| if line.starts_with("transports") { transports } else { line }.to_owned() + "\n")
        .collect()
}

/// The lock file is the station's own, so that the versions are those it was tested with; cargo strikes out what this crate
/// does not need. First without network, since everything may be here already.
fn settle_lock(dir: &Path) -> bool {
    [&["--offline"][..], &[]].into_iter().any(|extra| {
        let settled = clean("cargo")
            .args(["metadata", "--format-version", "1", "--filter-platform", TARGET, "--manifest-path"])
            .arg(dir.join("Cargo.toml"))
            .args(extra)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        settled.is_ok_and(|status| status.success())
    })
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| path.display().to_string())
}

/// It becomes the name of the crate, of the adapter and of its realm.
fn check_name(name: &str) -> Result<()> {
    const TAKEN: &[&str] = &[
        "abstract",
        "alloc",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "build",
        "const",
        "continue",
        "core",
        "crate",
        "deps",
        "do",
        "dyn",
        "else",
        "enum",
        "examples",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "incremental",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "polymeter_sdk",
        "priv",
        "proc_macro",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
    ];
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    ensure!(
        good,
        "`{}` is no name for an adapter; write at most {NAME_BYTES_MAX} lower-case letters, digits and `_`, a letter first, \
         such as acme_g4",
        name.escape_debug()
    );
    ensure!(
        !TAKEN.contains(&name),
        "`{name}` is a word of Rust's or of its build tool, and a crate cannot be called so; take another name, such as \
         {name}_g4"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The code is the example's, whatever the name; what differs is known.
    #[test]
    fn a_new_crate_is_the_example() {
        let new: BTreeMap<_, _> = files("acme_g4", None).expect("it can be made").into_iter().collect();
        let mut seen = 0;
        for (path, text) in TREE.iter().filter_map(|(path, text)| Some((path.strip_prefix(EXAMPLE)?, text))) {
            seen += 1;
            let found = new.get(path).unwrap_or_else(|| panic!("{path} is missing")).replace("acme_g4", EXAMPLE_NAME);
            if path == "Cargo.toml" {
                assert!(found.contains("polymeter-sdk = { path = \"vendor/polymeter-sdk\" }"), "{found}");
                assert!(!found.contains("workspace = true"), "{found}");
                found.parse::<toml::Table>().expect("it is TOML");
            } else {
                assert_eq!(found, *text, "{path}");
            }
        }
        for path in ["src/lib.rs", "src/device.rs", "examples/meter.rs", "adapter.toml", "ci.sh", "README.md"] {
            assert!(new.contains_key(path), "{path}");
        }
        assert!(seen >= 8, "{seen}");
        assert!(new["src/lib.rs"].lines().count() < 120);
    }

    #[test]
    fn the_protocol_decides_the_transport() {
        for (protocol, expected) in [
            (None, "transports = [\"tcp\", \"udp\"]"),
            (Some(Protocol::Tcp), "transports = [\"tcp\"]"),
            (Some(Protocol::Udp), "transports = [\"udp\"]"),
        ] {
            let files: BTreeMap<_, _> = files("a", protocol).expect("it can be made").into_iter().collect();
            assert!(files["adapter.toml"].contains(expected), "{}", files["adapter.toml"]);
        }
    }

    #[test]
    fn names_are_crate_names_too() {
        for good in ["a", "acme_g4", "x9"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "9a", "Acme", "a-b", "a/b", "../x", "ä", "match", "polymeter_sdk", &"a".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for taken in ["test", "core", "std", "gen", "fn"] {
            let why = check_name(taken).expect_err(taken).to_string();
            assert!(why.contains("a word of Rust's") && why.contains(&format!("{taken}_g4")), "{why}");
        }
    }
}
