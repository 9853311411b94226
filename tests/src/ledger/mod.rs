//! The ledger: numbered messages go in while processes are killed, frozen, stopped and joined and the broker restarts;
//! afterwards the topics alone must tell that nothing was lost.
//!
//! - **disturbance**: a kill, a freeze, an orderly stop, a join, a broker restart, at a moment the seed decides.
//! - **fleet**: the processes, and what is done to them.
//! - **book**: what the topics say, and the promises that must hold of it. It knows nothing of the processes.
//! - **finding**: a broken promise. One is enough to fail.

pub mod again;
pub mod book;
pub mod fleet;
pub mod run;

use serde::Serialize;

/// What a ledger does.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// Length of the part with disturbances.
    pub minutes: f64,
    /// Decides what is disturbed when.
    pub seed: u64,
    /// `WASMILL_MUTANT` of every process.
    pub mutant: Option<String>,
    /// Processes of the group. A join adds one more for a while.
    pub processes: usize,
    /// Of the input and of the output.
    pub partitions: u32,
    /// Different keys.
    pub keys: u32,
    /// Messages produced a second.
    pub per_second: u32,
    /// `span.messages` of the pipeline: part of the bound on what is handled again.
    pub span_messages: u64,
    /// Keep the logs of the processes even if nothing is found.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            minutes: 1.0,
            seed: 1,
            mutant: None,
            processes: 3,
            partitions: 6,
            keys: 120,
            per_second: 2400,
            span_messages: 1000,
            keep: false,
        }
    }
}

/// What is done to the system.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `kill -9` of a process that held partitions.
    Kill,
    /// SIGSTOP and, after a while, SIGCONT.
    Freeze,
    /// SIGTERM and a new process.
    Restart,
    /// One process more, or the successor of one that was killed or stopped.
    Join,
    /// SIGTERM without a successor.
    Leave,
    /// The broker is stopped in order and started again.
    BrokerRestart,
    /// The broker is killed and started again.
    BrokerKill,
}

/// One disturbance.
#[derive(Clone, Debug, Serialize)]
pub struct Disturbance {
    /// What was done.
    pub kind: Kind,
    /// To which process; `None` for the broker.
    pub process: Option<usize>,
    /// What it held according to the coordinator just before.
    pub partitions: Vec<i32>,
    /// When it began, in milliseconds since the epoch.
    pub from: i64,
    /// When it was over, as far as the ledger had a hand in it.
    pub to: i64,
}
