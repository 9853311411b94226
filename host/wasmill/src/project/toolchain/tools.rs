//! The programs that toolchains consist of.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::project::folder::Project;
use crate::project::language::Language;

/// A program in a folder of `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A program of the project's own Python environment.
pub fn own(project: &Project, program: &str) -> Option<PathBuf> {
    let own = [".venv", "venv"].map(|folder| project.directory.join(folder).join("bin").join(program));
    own.into_iter().find(|path| path.is_file())
}

/// The path as it is called from another folder. Links stay as they are: a program of an environment is often a link to
/// the machine's, and finds its packages by the path that it was called by.
pub fn absolute(program: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(program).with_context(|| format!("cannot find {}", program.display()))
}

/// A tool that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{language} is compiled with {tool}, which is not there; hint: {install}")]
pub struct Missing {
    /// What is to be compiled.
    pub language: Language,
    /// What compiles it.
    pub tool: &'static str,
    /// How it is installed.
    pub install: &'static str,
}

/// A command that runs in the project's folder.
pub fn tool(program: impl AsRef<std::ffi::OsStr>, project: &Project) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&project.directory);
    command
}

/// Whether a command ends well.
pub fn succeeds(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
