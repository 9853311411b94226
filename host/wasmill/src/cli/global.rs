//! Options of every command.

use crate::telemetry::LogFormat;

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value = "text", env = "WASMILL_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or by module as in `info,wasmill=debug`. By
    /// default info; for `dev` warn, and info of handlers
    #[arg(long, global = true, env = "WASMILL_LOG")]
    pub log_level: Option<String>,
}
