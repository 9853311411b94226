//! Running other programs, and where things are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The clone's root.
pub fn root() -> PathBuf {
    // A compiled-in path would name the machine that compiled it; cargo sets this one for everything it runs.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let start = package.or_else(|| std::env::current_dir().ok()).unwrap_or_default();
    let found = start.ancestors().find(|folder| folder.join("wit").is_dir() && folder.join("Cargo.lock").is_file());
    found.unwrap_or(&start).to_path_buf()
}

/// Where cargo builds the workspace.
pub fn target() -> PathBuf {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        return root().join(folder);
    }
    // It may be set in a configuration file, too: cargo marks the folder that holds the running program.
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// What is fetched once per machine and shared by every clone.
///
/// # Errors
/// Neither `WASMILL_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WASMILL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("wasmill")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/wasmill")))
        .context("no place for the cache; hint: set WASMILL_CACHE to a folder")
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Says what is done, does it and says how long it took.
///
/// # Errors
/// The program cannot be started or does not succeed.
pub fn step(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("==> {what}");
    let began = Instant::now();
    run(command).with_context(|| format!("{what} failed"))?;
    eprintln!("    {what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a program to its end.
///
/// # Errors
/// The program cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a program and returns what it printed.
///
/// # Errors
/// The program cannot be started or does not succeed; what it wrote to standard error is part of the message.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// True if the program is on the path.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The paths of all files below `folder` for which `wanted` holds, sorted; build folders and hidden ones are left out.
pub fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() {
                if name != "target" && name != "node_modules" && (!name.starts_with('.') || name == ".ci") {
                    open.push(path);
                }
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Makes a folder that is either whole or not there: two set-ups at once, or one that was interrupted, do no harm.
pub(crate) fn into_place(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = folder.with_extension(format!("part-{}", std::process::id()));
    std::fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    let filled = fill(&unfinished);
    if filled.is_ok() && std::fs::rename(&unfinished, folder).is_ok() {
        return Ok(());
    }
    std::fs::remove_dir_all(&unfinished).ok();
    filled?;
    if folder.is_dir() { Ok(()) } else { bail!("cannot make {}", folder.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_step_leaves_nothing_in_place() {
        let folder = std::env::temp_dir().join(format!("wasmill-xtask-{}", std::process::id()));
        assert!(into_place(&folder, |_| bail!("no network")).is_err());
        assert!(!folder.exists());
        into_place(&folder, |part| Ok(std::fs::write(part.join("a"), "b")?)).unwrap();
        assert!(folder.join("a").is_file());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
