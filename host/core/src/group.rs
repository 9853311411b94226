//! What the members of a consumer group agree on: where it begins, and how it divides partitions.

use crate::position::Position;

/// Where a group without committed offsets begins.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Start {
    /// At this position.
    At(Position),
    /// Nowhere: the partition stops and says so. A group's offsets expire.
    Error,
}

impl Default for Start {
    fn default() -> Self {
        Self::At(Position::Earliest)
    }
}

/// What to do when the committed offset no longer exists, or does not exist yet.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum OutOfRange {
    /// The partition stops and says so.
    #[default]
    Stop,
    /// Go on with the oldest message.
    Earliest,
    /// Go on with the next message to arrive.
    Latest,
}

/// How a group divides partitions among its members.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Assignor {
    /// Everything is revoked and assigned anew at each change.
    #[default]
    Range,
    /// Only partitions that move are revoked, but they stop for longer.
    CooperativeSticky,
}

impl Assignor {
    /// Kafka's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }
}
