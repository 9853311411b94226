//! The only crate that names rdkafka: members of a group and their partition queues, commits, producer, admin calls, and
//! a mock broker. The nouns and the reasons are in this folder's README.md.

pub mod admin;
mod clock;
mod commit;
mod delivery;
mod error;
mod list;
mod log;
mod member;
pub mod mock;
mod native;
pub mod plain;
mod producer;
mod queue;
mod settings;
pub mod stretches;

pub use clock::now_ms;
pub use commit::CommitEntry;
pub use error::{ClientError, CommitError, CommitRefusal};
pub use member::{AssignedPartition, Committed, Member, MemberEvent, MemberHandle, RebalanceHandler};
pub use producer::{
    CLOSE_PATIENCE, DeliveryError, DeliverySink, Outgoing, OutputTopic, Producer, ProducerSettings, Report, SendError,
    TopicRules,
};
pub use queue::{PartitionQueue, QueueProblem, Taken, Wake};
pub use settings::{ClientSettings, MemberSettings};
pub use wasmill_core::{Assignor, OutOfRange, Position, Start};

use std::fmt;
use std::sync::Arc;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
