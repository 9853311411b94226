//! C, C++ and Zig: zig, which brings a C library for wasm along. One install serves all three.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::tools::{Missing, absolute, on_path, own, succeeds, tool};
use crate::project::folder::Project;
use crate::project::language::Language;
use crate::project::step::{self, Reporter};

const INSTALL: &str = "pip install ziglang==0.17.1 (or put `zig` 0.17 on PATH)";
/// What the optimiser may use. What else the compiler is told stands in the project's compile_flags.txt, where editors read
/// it too. Zig would have undefined behaviour trap, at the price of a check at every step.
const FLAGS: [&str; 5] = ["-O3", "-flto", "-msimd128", "-DNDEBUG", "-fno-sanitize=undefined"];
const TARGET: [&str; 2] = ["-target", "wasm32-wasi"];
/// How the module is laid out: a reactor has no `main`; Zig would reserve a stack of 16 MiB.
const LINK: [&str; 2] = ["-mexec-model=reactor", "-Wl,-z,stack-size=262144"];

pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    let mut cc = zig(project)?;
    cc.arg("cc").args(TARGET).args(FLAGS).args(LINK).args(flags(project)).args(sources(project, &["c"])?);
    cc.args(["-o", "build/core.wasm"]);
    step::run(&mut cc, false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}

/// What is in C first, the SDK's part above all: a compiler for C++ would read it as C++.
pub fn compile_cpp(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    // Apart from what the project's unit tests leave in `build`.
    let folder = Path::new("build/wasm");
    std::fs::create_dir_all(project.directory.join(folder)).context("cannot make build/wasm")?;
    let mut objects = Vec::new();
    for source in sources(project, &["c"])? {
        let object = folder.join(source.file_name().unwrap_or_default()).with_extension("o");
        let mut cc = zig(project)?;
        cc.arg("cc").args(TARGET).args(FLAGS).args(["-std=c11", "-c"]).args(folders_and_names(project));
        cc.arg(source).arg("-o").arg(&object);
        step::run(&mut cc, false, reporter)?;
        objects.push(object);
    }
    let mut cc = zig(project)?;
    cc.arg("c++")
        .args(TARGET)
        .args(FLAGS)
        .args(LINK)
        .args(flags(project))
        .args(sources(project, &["cpp"])?)
        .args(objects);
    cc.args(["-o", "build/core.wasm"]);
    step::run(&mut cc, false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}

/// Of the project's own flags those that a compiler for C understands, too.
fn folders_and_names(project: &Project) -> Vec<String> {
    let text = std::fs::read_to_string(project.directory.join("compile_flags.txt")).unwrap_or_default();
    let wanted = |line: &&str| line.starts_with("-I") || line.starts_with("-D");
    text.lines().filter(wanted).map(str::to_owned).collect()
}

/// The project's own flags, which clang reads from the file.
fn flags(project: &Project) -> Option<&'static str> {
    project.directory.join("compile_flags.txt").is_file().then_some("@compile_flags.txt")
}

/// Zig has builds of its own, in which a project can name packages.
pub fn compile_zig(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    step::run(zig(project)?.arg("build"), false, reporter)?;
    Ok(project.directory.join("zig-out/bin/handler.wasm"))
}

/// The project's own `zig`, the machine's, or the one that pip installs.
fn zig(project: &Project) -> anyhow::Result<Command> {
    if let Some(zig) = own(project, "zig").or_else(|| on_path("zig")) {
        return Ok(tool(absolute(&zig)?, project));
    }
    let pythons = [own(project, "python"), Some("python3".into()), Some("python".into())];
    let python = pythons.into_iter().flatten().find(|python| succeeds(python, &["-c", "import ziglang"]));
    let Some(python) = python else {
        return Err(Missing { language: project.language, tool: "zig", install: INSTALL }.into());
    };
    // A bare name is looked up by the system.
    let python = if python.components().count() > 1 { absolute(&python)? } else { python };
    let mut command = tool(python, project);
    command.args(["-m", "ziglang"]);
    Ok(command)
}

/// The sources of a project: those in its folder, in `src` and of the SDK, in a fixed order. Tests stay out, and what the
/// SDK has for them.
fn sources(project: &Project, endings: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let sdk = project.sdk();
    // In this repository the SDK for C++ finds that for C beside its own.
    let of_c = Path::new("../../c/sdk");
    let mut folders = vec![Path::new(""), Path::new("src"), sdk];
    if project.language == Language::Cpp && !sdk.starts_with("sdk") {
        folders.push(of_c);
    }
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(project.directory.join(folder)) else { continue };
        for entry in entries {
            let name = PathBuf::from(entry?.file_name());
            let ending = name.extension().and_then(|ending| ending.to_str());
            let stem = name.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_test = stem.starts_with("test_") || stem.ends_with("_test") || stem.ends_with("_testing");
            if ending.is_some_and(|ending| endings.contains(&ending)) && !is_test {
                found.push(folder.join(name));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment's `python` is a link to the machine's; what it is called by tells it where its packages are.
    #[test]
    fn a_tool_of_the_project_s_environment_is_run_by_its_own_path() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project { directory: folder.path().to_owned(), language: Language::Zig };
        let bin = folder.path().join(".venv/bin");
        std::fs::create_dir_all(&bin).unwrap();
        let elsewhere = folder.path().join("machine-python");
        std::fs::write(&elsewhere, "#!/bin/sh\ncase $0 in */.venv/bin/python) exit 0;; esac\nexit 1\n").unwrap();
        std::fs::set_permissions(&elsewhere, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, bin.join("python")).unwrap();
        if on_path("zig").is_none() {
            assert_eq!(zig(&project).unwrap().get_program(), bin.join("python"));
        }
        std::os::unix::fs::symlink(&elsewhere, bin.join("zig")).unwrap();
        assert_eq!(zig(&project).unwrap().get_program(), bin.join("zig"));
    }

    #[test]
    fn sources_are_found_and_tests_stay_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["handler.c", "handler_test.c", "src/mask.c", "sdk/wasmill.c", "sdk/wasmill_testing.c", "deep/er/x.c"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let project = Project { directory: folder.path().to_owned(), language: Language::C };
        let found = sources(&project, &["c"]).unwrap();
        assert_eq!(found, ["handler.c", "sdk/wasmill.c", "src/mask.c"].map(PathBuf::from));
    }
}
