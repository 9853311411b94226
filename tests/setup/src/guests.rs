//! The handlers that the tests and examples run, compiled for wasm32.
//!
//! `tests/guests` is built into the workspace's target folder: tests ask for a handler by its name. A handler of
//! `examples/` is built where its README builds it, because that is the path its `wasmill.toml` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, exists, files, output, root, step, target};

const WASM: &str = "wasm32-unknown-unknown";
const WASI: &str = "wasm32-wasip2";
const TARGETS: [&str; 2] = [WASM, WASI];

/// The `.wasm` file of a test handler, whether it is there or not. `WASMILL_GUESTS` names another folder to look in.
pub fn file(name: &str) -> PathBuf {
    let name = format!("{name}.wasm");
    if let Some(folder) = std::env::var_os("WASMILL_GUESTS") {
        return Path::new(&folder).join(name);
    }
    let [plain, wasi] = TARGETS.map(|one| target().join("guests").join(one).join("release/examples").join(&name));
    if wasi.is_file() && !plain.is_file() { wasi } else { plain }
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
        let manifest = std::fs::read_to_string(guests.join("Cargo.toml"))?;
        let mut build = cargo();
        build.current_dir(&guests).args(["build", "--release", "--features", "wasi", "--target", WASI]);
        build.args(needing_wasi(&manifest).map(|name| format!("--example={name}")));
        step("build those that need WASI", build.arg("--target-dir").arg(target().join("guests")))?;
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

/// The names of the examples with `required-features = ["wasi"]`.
fn needing_wasi(manifest: &str) -> impl Iterator<Item = &str> {
    let tables = manifest.split("[[example]]").skip(1);
    tables.filter(|table| table.contains(r#"required-features = ["wasi"]"#)).filter_map(|table| {
        let (_, name) = table.split_once("name = \"")?;
        name.split('"').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handlers_that_need_wasi_are_found_in_the_manifest() {
        let manifest = "[[example]]\nname = \"a\"\n[[example]]\nname = \"b\"\nrequired-features = [\"wasi\"]\n";
        assert_eq!(needing_wasi(manifest).collect::<Vec<_>>(), ["b"]);
    }
}
