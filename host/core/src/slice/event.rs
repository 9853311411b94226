//! What the slice is told.

use std::time::Instant;

#[cfg(doc)]
use super::Action;
use super::PermitId;
use crate::fence::Generation;

/// What was done under a permit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Nothing: no output was enqueued, no completion noted.
    Nothing,
    /// All outputs of the call are enqueued and its completions noted.
    Whole,
    /// Only some of the outputs are enqueued. They cannot be taken back alone, so the slice is aborted.
    Torn,
}

/// Why a slice ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// Its interval is over.
    Interval,
    /// A partition has filled half of its in-flight window.
    Window,
    /// Outputs take half of the producer's memory.
    Memory,
    /// An operator moves a partition.
    Operator,
    /// Something was marked as urgent.
    Urgent,
    /// A note or an idle position has waited long enough for a slice with outputs.
    Marked,
    /// Partitions leave.
    Leaving,
    /// It has to be aborted: the broker refused an output, a call was torn, or a partition is no longer held.
    Doomed,
}

/// What the slice is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<K, M> {
    /// Partitions came.
    Assigned {
        /// The partitions that came.
        partitions: Vec<K>,
        /// The number of this holding.
        generation: Generation,
    },
    /// Partitions are to leave once what they completed is persisted, at the deadline in any case. Their lanes have given
    /// them back already. Answered by [`Action::Left`].
    Revoke {
        /// The partitions that are to leave.
        partitions: Vec<K>,
        /// The group waits no longer than that.
        deadline: Instant,
    },
    /// Partitions are gone, and may be somebody else's.
    Lost {
        /// The partitions that are gone.
        partitions: Vec<K>,
    },
    /// The member's generation in the group changed. `valid`: it has one, and a member id. Without them nothing is persisted.
    GenerationChanged {
        /// Whether there is one.
        valid: bool,
    },
    /// Everything is to leave, and nothing comes after it. Answered by [`Action::Left`], then [`Action::Stopped`].
    Shutdown {
        /// When everything has to be over.
        deadline: Instant,
    },
    /// A lane has judged a call and wants to publish what it gave back. Answered at once by [`Action::Granted`],
    /// [`Action::Wait`] or [`Action::Gone`].
    PermitAsked {
        /// The partition of the call.
        partition: K,
    },
    /// The permit is given back. Every permit has to be, or nothing is persisted any more.
    PermitReturned {
        /// The permit.
        permit: PermitId,
        /// What was done under it.
        work: Work,
    },
    /// Something is to be persisted that no permit tells of: a watermark that moved when delivery reports came, a note, an
    /// idle position. `urgent`: a partition delivers nothing until it is.
    Marked {
        /// Does not wait for an interval.
        urgent: bool,
    },
    /// The slice is to end sooner than its interval says.
    EndAsked(Why),
    /// The broker refused an output of this slice.
    ReportFailed,
    /// A call took longer than the socket's time-out, or the connection broke during one: something of this client's may
    /// still be under way.
    Doubtful,
    /// The thread that makes the calls asks what to do.
    Tick,
    /// Any other thread says what time it is, for instance because the thread that makes the calls is blocked in one.
    TimedOut,
    /// A call was answered.
    Answered(Answer<K, M>),
}

/// A call to a client of Kafka.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Commit of the consumer.
    Persist,
    /// Begin of a transaction.
    Begin,
    /// Wait for the reports of all outputs.
    Flush,
    /// Offsets into the transaction.
    SendOffsets,
    /// Commit of the transaction.
    Commit,
    /// Abort of the transaction.
    Abort,
    /// A new client.
    Init,
    /// The committed offsets, from the coordinator.
    Fetch,
}

/// How a call failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The same call with the same arguments may succeed.
    Retriable,
    /// The transaction has to be aborted.
    Abortable,
    /// The client is of no more use. So is every error that says neither.
    Fatal,
    /// It gave up at the time it was given.
    TimedOut,
}

/// How a commit of the consumer was refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It may be taken when it is sent again.
    Again,
    /// The generation is over; the revoke or the loss is on its way.
    Closed,
    /// For another reason, such as a missing permission.
    Other,
}

/// The answer to a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<K, M> {
    /// [`Action::Persist`]: for each partition that had something to persist, what it was or how it was refused.
    Persisted {
        /// A whole commit that failed was refused for each.
        results: Vec<(K, Result<M, Refusal>)>,
        /// A partition still delivers nothing until something of it is persisted.
        waiting: bool,
    },
    /// [`Action::Begin`] was carried out.
    Begun,
    /// [`Action::Flush`]: every output has a report.
    Flushed,
    /// [`Action::SendOffsets`]: these are in the transaction.
    OffsetsSent {
        /// Partitions that had something to persist, and what.
        marks: Vec<(K, M)>,
    },
    /// [`Action::Commit`] was carried out.
    Committed,
    /// [`Action::Abort`] was carried out.
    Aborted,
    /// [`Action::Init`]: the new client is ready, and the transaction of the old one is over.
    Renewed,
    /// [`Action::Fetch`]: the partitions whose committed offset and note were read and put in force. An answer that is
    /// not stable yet is none.
    Fetched {
        /// The others are asked for again.
        partitions: Vec<K>,
    },
    /// A call failed.
    Failed(Call, CallError),
}

impl<K, M> Answer<K, M> {
    /// What it is the answer to.
    pub fn call(&self) -> Call {
        match self {
            Self::Persisted { .. } => Call::Persist,
            Self::Begun => Call::Begin,
            Self::Flushed => Call::Flush,
            Self::OffsetsSent { .. } => Call::SendOffsets,
            Self::Committed => Call::Commit,
            Self::Aborted => Call::Abort,
            Self::Renewed => Call::Init,
            Self::Fetched { .. } => Call::Fetch,
            Self::Failed(call, _) => *call,
        }
    }
}
