//! A change of the pipelines that is refused.

use wasmill_config as config;
use wasmill_deploy::explain;

/// Why nothing was changed.
#[derive(Debug)]
pub struct Refused {
    /// All of it, a line for each mistake.
    pub error: String,
    /// The mistakes of the file with their places, if it has any, and its warnings.
    pub findings: Vec<config::Finding>,
}

impl Refused {
    /// For this reason.
    pub fn of(error: impl Into<String>) -> Self {
        Self { error: error.into(), findings: Vec::new() }
    }
}

impl From<config::LoadError> for Refused {
    fn from(error: config::LoadError) -> Self {
        let text = explain(&anyhow::anyhow!("{error}"));
        match error {
            config::LoadError::Mistakes(config::Mistakes(findings)) => Self { error: text, findings },
            config::LoadError::Read { .. } => Self::of(text),
        }
    }
}
