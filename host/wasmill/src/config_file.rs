//! The configuration that a command names.

use std::path::{Path, PathBuf};

use wasmill_config as config;
use wasmill_deploy::explain;

use crate::failure::Failure;

/// Loads a configuration; all its mistakes are one failure.
pub fn load(path: &Path) -> Result<config::Loaded, Failure> {
    config::load(&file(path)).map_err(unreadable)
}

/// A folder stands for the `wasmill.toml` in it.
pub fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("wasmill.toml") } else { path.to_owned() }
}

/// A configuration that is not there is the first thing that somebody new meets.
pub fn unreadable(error: config::LoadError) -> Failure {
    let missing = |source: &std::io::Error| source.kind() == std::io::ErrorKind::NotFound;
    let is_missing = matches!(&error, config::LoadError::Read { source, .. } if missing(source));
    let error = anyhow::Error::from(error);
    if !is_missing {
        return Failure::usage(error);
    }
    let hint = "name the file or its folder; `wasmill reference` has every key, and examples/ has whole files";
    Failure::usage(anyhow::anyhow!("{}; hint: {hint}", explain(&error)))
}
