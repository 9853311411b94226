//! Who is told of the partitions that come and go.

use wasmill_core::NextOffset;

use super::handle::MemberHandle;
use crate::TopicPartition;
use crate::queue::PartitionQueue;

/// What the owner of the partitions does when they come and go. Both run inside librdkafka's rebalance callback, on the
/// thread that polls the member, before the change takes effect: a commit through the handle works, a seek does not yet. A
/// panic is caught and makes the member fatal.
pub trait RebalanceHandler: Send + Sync + 'static {
    /// The group has answered: the member's share stands, and it may be none. Comes before `assigned`.
    fn joined(&self) {}

    /// Whether this partition, whose committed offset does not exist, begins at its first message although `out_of_range`
    /// says to stop: somebody has seen that messages are gone and said to go on. Asked once for each that is assigned.
    fn begins_anew(&self, _: &TopicPartition) -> bool {
        false
    }

    /// The id of this topic when the group first held partitions of it, as far as is known. If it has another one now, its
    /// partitions begin at their first messages, whatever is committed and whatever `start` says.
    fn former_topic_id(&self, _: &str) -> Option<String> {
        None
    }

    /// These partitions are the member's now; never empty.
    fn assigned(&self, handle: &MemberHandle, partitions: Vec<AssignedPartition>);

    /// These partitions go. Must not return before nothing of them is being handed over, and commits through `handle`
    /// itself. `lost`: the group has given them to others already, so nothing may be committed.
    fn revoked(&self, handle: &MemberHandle, partitions: &[TopicPartition], lost: bool);
}

/// A partition that came.
#[derive(Debug)]
pub struct AssignedPartition {
    /// The partition.
    pub id: TopicPartition,
    /// Where its messages are taken from.
    pub queue: PartitionQueue,
    /// Where they begin, or would.
    pub start: NextOffset,
    /// The metadata of the committed offset, or "".
    pub note: String,
    /// What the group has committed. None if it has no position here, or one that does not exist any more.
    pub committed: Option<NextOffset>,
    /// Commit `start` before handing over anything, or a crash before the first commit could jump ahead. If neither this
    /// nor `committed`, the queue yields a problem, and nothing is to be committed.
    pub needs_first_commit: bool,
    /// What was done, in words, when the committed offset did not exist and `out_of_range` said to move.
    pub reset: Option<String>,
    /// The topic's id in Kafka's notation; None if the broker is too old to have one. A topic that was deleted and made
    /// again has the same name and another id, and its offsets mean something else.
    pub topic_id: Option<String>,
}
