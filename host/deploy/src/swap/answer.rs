//! What a swap answers: where each partition passed on, and what that cost.

use serde::{Deserialize, Serialize};
use wasmill_config as config;
use wasmill_pipeline::deployed::Deployed;
use wasmill_pipeline::version::Version;

/// A version for people and machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// SHA-256 of the component.
    pub digest: String,
    /// Where it came from: a file, a reference.
    pub source: String,
}

impl From<&Version> for Named {
    fn from(version: &Version) -> Self {
        Self { digest: version.digest().to_owned(), source: version.source.clone() }
    }
}

/// Where a partition passed to the new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// `topic/number`.
    pub partition: String,
    /// Everything below was handed to the old version, everything from here on goes to the new one.
    pub first_offset: i64,
    /// The attempt with which the message there passes on, if it is being retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The broker refused an output of a message below, or the producer failed: what was not complete from here on goes
    /// to the new version too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewound_to: Option<i64>,
}

/// How long a lane stood still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The lane.
    pub lane: usize,
    /// Microseconds between the end of a batch of the old version and the moment it could begin one of the new.
    pub pause_us: u64,
}

/// How a swap went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// The new version serves all messages.
    Swapped,
    /// It serves a share of them.
    Canary,
    /// It runs beside the old one.
    Shadow,
    /// The version before serves again.
    RolledBack,
    /// The version that serves is this one.
    Unchanged,
    /// A word of a later version: whoever reads an answer may be older than who gave it.
    #[serde(untagged)]
    Other(String),
}

impl Done {
    /// In a word, as JSON has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Swapped => "swapped",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
            Self::RolledBack => "rolled-back",
            Self::Unchanged => "unchanged",
            Self::Other(word) => word,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The pipeline.
    pub pipeline: String,
    /// How it went.
    pub outcome: Done,
    /// The version that served.
    pub from: Named,
    /// The one that was asked for.
    pub to: Named,
    /// Counts what was put in force in this process.
    pub serial: u64,
    /// The share that a canary begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// Each partition that this process holds.
    pub partitions: Vec<Boundary>,
    /// Each lane.
    pub lanes: Vec<Pause>,
    /// Lanes that are still in a batch of the old version, and pass on after it: a long call, a broker that is away.
    pub waiting: Vec<usize>,
    /// Milliseconds at the gate: nothing that runs waited for it.
    pub gate_ms: u64,
    /// Milliseconds until every lane had passed on.
    pub handover_ms: u64,
    /// It serves and is watched; it is taken back by itself if it is worse than the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<WatchedFor>,
}

/// How long a version is watched: until one of them is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedFor {
    /// Messages that it gets.
    pub messages: u64,
    /// Milliseconds since it took over.
    pub ms: u64,
}

impl From<&config::Watched> for WatchedFor {
    fn from(until: &config::Watched) -> Self {
        Self { messages: until.messages, ms: until.time.as_millis() as u64 }
    }
}

/// Where the partitions passed to what is in force.
pub fn boundaries(deployed: &Deployed) -> Vec<Boundary> {
    let partitions = deployed.handover.partitions().into_iter();
    partitions
        .map(|(id, first)| Boundary {
            partition: id.to_string(),
            first_offset: first.offset,
            attempt: first.attempt,
            rewound_to: first.rewound_to,
        })
        .collect()
}

/// How long the lanes stood still.
pub fn pauses(deployed: &Deployed) -> Vec<Pause> {
    let pauses = deployed.handover.pauses().into_iter();
    pauses.map(|(lane, pause)| Pause { lane, pause_us: pause.as_micros() as u64 }).collect()
}
