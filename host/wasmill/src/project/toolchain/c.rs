//! C, C++ and Zig: zig, which brings a C library for wasm along. One install serves all three.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Missing, on_path, succeeds, tool};
use crate::project::{Project, Reporter, step};

const INSTALL: &str = "pip install ziglang==0.17.1 (or put `zig` 0.17 on PATH)";
/// What the optimiser may use, and how the module is laid out: a reactor has no `main`, and a stack of 64 KiB keeps its
/// memory small.
const C_FLAGS: [&str; 10] = [
    "-target",
    "wasm32-wasi",
    "-mexec-model=reactor",
    "-O2",
    "-msimd128",
    "-mbulk-memory",
    "-s",
    "-Wall",
    "-Wl,-z,stack-size=65536",
    "-Isdk",
];

pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    let mut cc = zig(project)?;
    cc.arg("cc").args(C_FLAGS).args(["-std=c11", "-I."]);
    cc.args(sources(&project.directory, &["c"])?).args(["-o", "build/core.wasm"]);
    step::run(&mut cc, false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}

pub fn compile_cpp(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    let mut cc = zig(project)?;
    cc.arg("c++").args(C_FLAGS).args(["-std=c++20", "-fno-exceptions", "-fno-rtti", "-I."]);
    cc.args(sources(&project.directory, &["c", "cpp"])?).args(["-o", "build/core.wasm"]);
    step::run(&mut cc, false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}

pub fn compile_zig(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    let mut zig = zig(project)?;
    zig.args(["build-exe", "-target", "wasm32-freestanding", "-mcpu=generic+simd128+bulk_memory"]);
    zig.args(["-fno-entry", "-rdynamic", "-O", "ReleaseFast", "-fstrip", "--stack", "65536"]);
    zig.args(["--dep", "wasmill", "--dep", "handler", "-Mroot=sdk/entry.zig"]);
    zig.args(["--dep", "wasmill", "-Mhandler=handler.zig", "-Mwasmill=sdk/wasmill.zig"]);
    zig.arg("-femit-bin=build/core.wasm");
    step::run(&mut zig, false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}

/// `zig` itself, or the one that pip installs.
fn zig(project: &Project) -> anyhow::Result<Command> {
    if on_path("zig").is_some() {
        return Ok(tool("zig", project));
    }
    let pythons = [project.directory.join(".venv/bin/python"), "python3".into(), "python".into()];
    let python = pythons.into_iter().find(|python| succeeds(python, &["-c", "import ziglang"]));
    let Some(python) = python else {
        return Err(Missing { language: project.language, tool: "zig", install: INSTALL }.into());
    };
    let python = python.canonicalize().ok().filter(|_| python.components().count() > 1).unwrap_or(python);
    let mut command = tool(python, project);
    command.args(["-m", "ziglang"]);
    Ok(command)
}

/// The sources of a project: those in its folder, in `src` and of the SDK, in a fixed order. Tests stay out.
fn sources(directory: &Path, endings: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["", "src", "sdk"] {
        let Ok(entries) = std::fs::read_dir(directory.join(folder)) else { continue };
        for entry in entries {
            let name = PathBuf::from(entry?.file_name());
            let ending = name.extension().and_then(|ending| ending.to_str());
            let stem = name.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_test = stem.starts_with("test_") || stem.ends_with("_test");
            if ending.is_some_and(|ending| endings.contains(&ending)) && !is_test {
                found.push(Path::new(folder).join(name));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found_and_tests_stay_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["handler.c", "handler_test.c", "src/mask.c", "sdk/wasmill.c", "sdk/wasmill.h", "deep/er/x.c"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = sources(folder.path(), &["c"]).unwrap();
        assert_eq!(found, ["handler.c", "sdk/wasmill.c", "src/mask.c"].map(PathBuf::from));
    }
}
