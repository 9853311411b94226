//! The only crate that names rdkafka: members of a group and their partition queues, commits, producer, admin calls, and
//! a mock broker. The nouns and the reasons are in this folder's README.md.

pub mod admin;
mod clock;
mod commit;
mod error;
mod list;
mod log;
mod member;
pub mod mock;
mod native;
mod offsets;
pub mod plain;
mod produce_error;
mod producer;
pub mod properties;
mod queue;
mod reach;
mod settings;
pub mod stretches;
mod token;

use std::fmt;
use std::sync::Arc;

pub use clock::now_ms;
pub use commit::CommitEntry;
pub use error::{ClientError, CommitError, CommitRefusal};
pub use member::{
    AssignedPartition, Member, MemberEvent, MemberHandle, RebalanceHandler, TopicHealth, UnderReplicated, Waiting,
};
pub use produce_error::{DeliveryError, ProduceErrorClass, SendError};
pub use producer::{
    CLOSE_TIMEOUT, DeliverySink, Outgoing, OutputTopic, Producer, ProducerSettings, Report, RulesQuestion,
    TIMESTAMP_HEADER, TopicRules,
};
pub use queue::{PartitionQueue, QueueProblem, Taken, Wake};
pub use reach::reach;
pub use settings::{ClientSettings, MemberSettings};
pub use token::TokenSource;
pub use wasmill_core::{Assignor, OutOfRange, Position, Start};

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
