//! How the process ends, and an error that knows it.

use std::fmt;
use std::process::ExitCode;

use wasmill_deploy::explain;

/// How the process ends. The numbers are part of the interface; `wasmill help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Asked to end, and everything handed over was settled and committed.
    Done = 0,
    /// A pipeline can go on no longer.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// It could not start: handler, cluster, admin port.
    Start = 3,
    /// Asked to end, and something was not settled in time.
    Overdue = 4,
    /// Another process has the identities of all its members (`instance_id`).
    Fenced = 5,
    /// Asked twice: ended at once.
    Killed = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl Failure {
    /// Wrong words or wrong configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// It could not start.
    pub fn start(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Start, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(&self.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_refuses_ends_as_one_that_cannot_start() {
        assert_eq!(Exit::Start as u8, wasmill_deploy::handler::compiler::REFUSED_EXIT_CODE);
    }
}
