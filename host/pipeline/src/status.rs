//! A pipeline's status as `/api/v1/status` answers it and `wasmill status` prints it. Field names are part of the
//! interface; units are in them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use wasmill_core::partition::{State, View};

use crate::clock;
use crate::conditions::Condition;
use crate::deployed::Deployed;
use crate::failures::FailedStatus;
use crate::handle::Handle;
use crate::lane::Lane;
use crate::partition::Partition;

/// A pipeline: which version serves it, and how its work goes. Two parts, because whoever shows them together has
/// something to say in between.
#[derive(Debug, Clone)]
pub struct PipelineStatus {
    /// What serves.
    pub serving: ServingStatus,
    /// How it goes.
    pub work: WorkStatus,
}

/// A pipeline, and the version that serves it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServingStatus {
    /// Name in wasmill.toml.
    pub name: String,
    /// Consumer group.
    pub group: String,
    /// Input topics.
    pub topics: Vec<String>,
    /// Digest of the plugin that serves.
    pub plugin: String,
    /// Where it came from.
    pub source: String,
    /// What was put in force since the start: swaps, steps of a canary, ways back.
    pub swaps: u64,
}

/// How a pipeline's work goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkStatus {
    /// Assignments so far.
    pub generations: u64,
    /// Whether this process can do its work. Single partitions that stopped or wait do not count.
    pub ready: bool,
    /// It works, and not all of it.
    #[serde(default)]
    pub degraded: bool,
    /// What keeps it from its work or endangers it, the gravest first.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Why the whole pipeline holds.
    pub held: Option<String>,
    /// Set while there is no producer: it failed for good.
    pub producer: Option<ProducerStatus>,
    /// Input topics that were deleted and are not there yet.
    pub topics_gone: Vec<String>,
    /// Messages that failed since the start.
    #[serde(default)]
    pub failed: FailedStatus,
    /// Outputs not yet confirmed by the broker.
    pub outputs_in_flight: usize,
    /// Its members.
    pub members: Vec<MemberStatus>,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
    /// The partitions this process holds.
    pub partitions: Vec<PartitionStatus>,
}

/// A producer that failed for good, and the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProducerStatus {
    /// Why it failed.
    pub reason: String,
    /// How many failed one soon after the other.
    pub failures: u32,
    /// When the next one takes over. Until then nothing is handed over.
    pub next_in_ms: u64,
}

/// A member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Number.
    pub member: usize,
    /// What it is doing.
    pub state: String,
    /// Whether the group has given it its share.
    pub joined: bool,
    /// Partitions it holds.
    pub partitions: usize,
    /// Its last commit failed with this.
    pub commit_error: Option<String>,
    /// Commits that failed.
    pub commit_failures: u64,
    /// How long its thread has not polled.
    pub silent_ms: u64,
}

/// A lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaneStatus {
    /// Number.
    pub lane: usize,
    /// Partitions it serves.
    pub partitions: usize,
    /// Memory of its instance.
    pub memory_bytes: usize,
    /// Instances that were replaced because their memory only grew.
    pub recycled: u64,
    /// Why it has no instance.
    pub trouble: Option<String>,
}

/// A partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Topic.
    pub topic: String,
    /// Number.
    pub partition: i32,
    /// The member that holds it.
    pub member: usize,
    /// The lane that serves it.
    pub lane: Option<usize>,
    /// The assignment.
    pub generation: u64,
    /// What it is doing.
    pub state: PartitionState,
    /// The offset after the last message handed over.
    pub position: i64,
    /// Every message below it is complete.
    pub watermark: i64,
    /// What the coordinator last confirmed.
    pub committed: Option<i64>,
    /// End of the partition as the last fetch told it.
    pub end: Option<i64>,
    /// End minus committed: what other tools call lag. Gaps count in it, as they do there.
    pub lag: Option<i64>,
    /// Messages handed over and not yet below the watermark.
    pub span_messages: u64,
    /// Their bytes.
    pub span_bytes: u64,
    /// Messages that failed since the partition was assigned.
    #[serde(default)]
    pub failed_messages: u64,
    /// The message that waits or at which the partition stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Its next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_in_ms: Option<u64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a partition is doing: [`State`] as it is sent and read, by its word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum PartitionState {
    /// A state of this version.
    Known(State),
    /// A word of a later version: whoever reads a status may be older than who wrote it.
    Other(String),
}

impl From<State> for PartitionState {
    fn from(state: State) -> Self {
        Self::Known(state)
    }
}

impl PartialEq<State> for PartitionState {
    fn eq(&self, other: &State) -> bool {
        matches!(self, Self::Known(state) if state == other)
    }
}

impl From<String> for PartitionState {
    fn from(word: String) -> Self {
        State::ALL.into_iter().find(|state| state.as_str() == word).map_or(Self::Other(word), Self::Known)
    }
}

impl From<PartitionState> for String {
    fn from(state: PartitionState) -> Self {
        match state {
            PartitionState::Known(state) => state.as_str().to_owned(),
            PartitionState::Other(word) => word,
        }
    }
}

impl fmt::Display for PartitionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Known(state) => state.as_str(),
            Self::Other(word) => word,
        })
    }
}

impl Handle {
    /// The status of this moment, while this is in force.
    pub fn status(&self, deployed: &Deployed) -> PipelineStatus {
        let shared = &self.shared;
        let mut partitions = Vec::new();
        let mut members = Vec::new();
        for member in self.members.iter() {
            let held = member.delivery.holdings.all();
            let client = member.handle();
            let (commit_error, commit_failures) = member.delivery.last_failure();
            members.push(MemberStatus {
                member: member.index,
                state: member.doing(),
                joined: member.has_joined(),
                partitions: held.len(),
                commit_error,
                commit_failures,
                silent_ms: member.silent_for().as_millis() as u64,
            });
            for partition in held {
                let end = client.as_ref().and_then(|client| client.end_offset(&partition.id));
                let lane = member.lane_of(&partition.id).map(|lane| lane.index);
                partitions.push(partition_status(&partition, member.index, lane, end));
            }
        }
        let lanes: Vec<LaneStatus> = self.lanes.loads().iter().map(|(lane, load)| lane_status(lane, *load)).collect();
        let held = shared.hold_reason();
        let producer = shared.producer_rest().map(|rest| ProducerStatus {
            reason: rest.reason,
            failures: rest.failures,
            next_in_ms: rest.until.saturating_duration_since(clock::now()).as_millis() as u64,
        });
        let topics_gone: BTreeSet<_> = self.members.iter().flat_map(|member| member.topics_gone()).collect();
        let conditions = self.conditions();
        let ready = conditions.iter().all(|condition| !condition.not_ready);
        let serving = ServingStatus {
            name: shared.name.clone(),
            group: shared.started_with.group.clone(),
            topics: shared.started_with.topics.clone(),
            plugin: deployed.version.digest().to_owned(),
            source: deployed.version.source.clone(),
            swaps: deployed.serial,
        };
        let work = WorkStatus {
            generations: shared.generations(),
            ready,
            degraded: ready && !conditions.is_empty(),
            conditions,
            held,
            producer,
            topics_gone: topics_gone.into_iter().collect(),
            failed: shared.failures.status(),
            outputs_in_flight: shared.publisher().in_flight(),
            members,
            lanes,
            partitions,
        };
        PipelineStatus { serving, work }
    }
}

pub(crate) fn lane_status(lane: &Lane, load: usize) -> LaneStatus {
    LaneStatus {
        lane: lane.index,
        partitions: load,
        memory_bytes: lane.memory_bytes.load(Ordering::Relaxed),
        recycled: lane.recycled.load(Ordering::Relaxed),
        trouble: lane.trouble.lock().clone(),
    }
}

fn partition_status(partition: &Partition, member: usize, lane: Option<usize>, end: Option<i64>) -> PartitionStatus {
    let machine = partition.lock();
    let View { state, offset, attempt, next_try, reason } = machine.view();
    let tracker = machine.tracker();
    let window = tracker.span();
    let committed = machine.committed().map(|committed| committed.get());
    PartitionStatus {
        topic: partition.id.topic.to_string(),
        partition: partition.id.partition,
        member,
        lane,
        generation: partition.generation.0,
        state: state.into(),
        position: tracker.position().get(),
        watermark: tracker.watermark().get(),
        committed,
        end,
        lag: end.zip(committed).map(|(end, committed)| (end - committed).max(0)),
        span_messages: window.messages,
        span_bytes: window.bytes,
        failed_messages: partition.failed.load(Ordering::Relaxed),
        offset,
        attempt,
        next_attempt_in_ms: next_try.map(|when| when.saturating_duration_since(clock::now()).as_millis() as u64),
        reason,
    }
}
