//! Finding a Rust that can build for wasm32, and running cargo with it, free of whatever the caller's build left behind.
//!
//! Two ways work: rustup's own target, or, where rustup cannot fetch it, Debian's compiler with the library's source, which
//! cargo then builds along. Both must stay apart from the host's build, so guests have a target directory of their own.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// A way to compile for wasm32.
pub enum Toolchain {
    /// The installed compiler has the target.
    Target { sysroot: PathBuf },
    /// The system's compiler builds the standard library from source; the linker is the installed one's.
    BuildStd { linker: PathBuf },
}

impl Toolchain {
    /// As seen from the crate's directory, which may name a toolchain of its own.
    pub fn find(dir: &Path) -> Result<Self> {
        let sysroot = PathBuf::from(ask(dir, "rustc", &["--print", "sysroot"])?);
        if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            return Ok(Self::Target { sysroot });
        }
        if let Some(linker) = linker(dir, &sysroot)?
            && Path::new(DEBIAN_RUSTC).exists()
            && Path::new(DEBIAN_LIBRARY).exists()
        {
            return Ok(Self::BuildStd { linker });
        }
        bail!(
            "this machine cannot compile for {TARGET}.\nInstall the target with `rustup target add {TARGET}`, or, where that \
             server is out of reach, Debian's packages with `apt-get install rustc-web rust-web-src`, and try again."
        )
    }

    /// `cargo build` for the guest, environment included; the caller adds what to build.
    pub fn cargo_build(&self, target_dir: &Path, remap: &[(PathBuf, String)]) -> Command {
        let mut cargo = clean("cargo");
        cargo.args(["build", "--release", "--target", TARGET, "--target-dir"]).arg(target_dir);
        // A guest is small, alone and read by nobody: whole-program optimisation, no unwinding, no symbols. Its sums are bills,
        // so an overflow is a trap. Said here, since the same source must give the same bytes in any workspace.
        for (key, value) in [
            ("OPT_LEVEL", "3"),
            ("LTO", "fat"),
            ("CODEGEN_UNITS", "1"),
            ("PANIC", "abort"),
            ("STRIP", "symbols"),
            ("DEBUG", "false"),
            ("DEBUG_ASSERTIONS", "false"),
            ("OVERFLOW_CHECKS", "true"),
            ("INCREMENTAL", "false"),
        ] {
            cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
        }
        cargo.env("CARGO_INCREMENTAL", "0");
        let flags: Vec<_> =
            remap.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        if let Self::BuildStd { linker } = self {
            cargo
                .args(["-Z", "build-std=std,panic_abort"])
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo
    }

    /// Where the standard library's own paths begin.
    pub fn library(&self) -> PathBuf {
        match self {
            Self::Target { sysroot } => sysroot.clone(),
            Self::BuildStd { .. } => std::fs::canonicalize(DEBIAN_LIBRARY)
                .ok()
                .and_then(|path| path.ancestors().nth(3).map(Path::to_path_buf))
                .unwrap_or_else(|| PathBuf::from("/usr/lib/rustlib/src/rust")),
        }
    }
}

/// A command without the marks of an outer cargo: its flags and compiler would otherwise be the guest's too.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    let inherited = |name: &str| {
        let settings =
            ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_TERM_"];
        let cargos = name == "CARGO" || name.starts_with("CARGO_") && !settings.iter().any(|s| name.starts_with(s));
        cargos || name.starts_with("RUSTC") || matches!(name, "RUSTFLAGS" | "RUSTDOCFLAGS" | "MAKEFLAGS" | "MFLAGS")
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(inherited) {
            command.env_remove(name);
        }
    }
    command
}

/// What a program prints, without the line end.
fn ask(dir: &Path, program: &str, args: &[&str]) -> Result<String> {
    let output = clean(program)
        .args(args)
        .current_dir(dir)
        .output()
        .with_context(|| format!("cannot run `{program}`; is Rust installed?"))?;
    if !output.status.success() {
        bail!("`{program} {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The linker that comes with the installed compiler.
fn linker(dir: &Path, sysroot: &Path) -> Result<Option<PathBuf>> {
    let version = ask(dir, "rustc", &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let bundled = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
    let on_path = || {
        let path: OsString = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join("wasm-ld")).find(|linker| linker.exists())
    };
    Ok(if bundled.exists() { Some(bundled) } else { on_path() })
}
