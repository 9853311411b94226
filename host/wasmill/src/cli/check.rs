//! `wasmill check`.

use std::path::PathBuf;

use super::{Global, load};
use crate::app::{Exit, Failure};

/// Check a configuration and its handlers without starting anything
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The configuration
    #[arg(default_value = "wasmill.toml")]
    config: PathBuf,
}

impl Check {
    /// Checks.
    pub fn run(self, _: &Global) -> Result<Exit, Failure> {
        load(&self.config)?;
        Ok(Exit::Done)
    }
}
