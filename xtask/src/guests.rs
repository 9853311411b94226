//! The handlers that the tests and examples run, compiled for wasm32.
//!
//! `tests/guests` is built into the workspace's target folder: tests ask for a handler by its name. A handler of
//! `examples/` is built where its README builds it, because that is the path its `wasmill.toml` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, exists, files, output, root, step, target};

const WASM: &str = "wasm32-unknown-unknown";
const TARGETS: [&str; 2] = [WASM, "wasm32-wasip2"];

/// The folder with the test handlers' `.wasm` files.
pub fn folder() -> PathBuf {
    match std::env::var_os("WASMILL_GUESTS") {
        Some(folder) => folder.into(),
        None => target().join("guests").join(WASM).join("release/examples"),
    }
}

/// Installs the wasm targets of the toolchain that are missing.
///
/// # Errors
/// There is no rustup, or it cannot fetch them.
pub fn targets() -> Result<()> {
    let libraries = output(Command::new("rustc").current_dir(root()).args(["--print", "sysroot"]))?;
    let installed = |target: &&str| Path::new(libraries.trim()).join("lib/rustlib").join(target).is_dir();
    let missing: Vec<_> = TARGETS.iter().filter(|target| !installed(target)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !exists("rustup") {
        bail!(
            "the Rust targets {} are missing and there is no rustup; hint: install them with your system's package manager",
            missing.join(", ")
        );
    }
    step(
        "add the Rust targets for WebAssembly",
        Command::new("rustup").current_dir(root()).args(["target", "add"]).args(missing),
    )
}

/// Builds every handler of `tests/guests` and `examples`.
///
/// # Errors
/// A handler does not compile.
pub fn build() -> Result<()> {
    let guests = root().join("tests/guests");
    if guests.join("Cargo.toml").is_file() {
        let mut build = cargo();
        build.current_dir(&guests).args(["build", "--release", "--examples", "--target", WASM]);
        step("build the handlers of tests/guests", build.arg("--target-dir").arg(target().join("guests")))?;
    }
    let examples = files(&root().join("examples"), &|path| path.file_name().is_some_and(|name| name == "Cargo.toml"));
    for manifest in examples {
        let handler = manifest.parent().unwrap_or(&manifest);
        let name = handler.strip_prefix(root()).unwrap_or(handler).display().to_string();
        let mut build = cargo();
        build.current_dir(handler).env_remove("CARGO_TARGET_DIR").args(["build", "--release", "--target", WASM]);
        step(&format!("build {name}"), &mut build)?;
    }
    Ok(())
}
