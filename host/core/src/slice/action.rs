//! What the slice asks for.

use std::time::Instant;

use super::{Call, PermitId, Refusal};
#[cfg(doc)]
use super::{CallError, Event};
use crate::fence::Generation;

/// A partition that is asked for what it has to persist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed<K> {
    /// The partition.
    pub partition: K,
    /// Which holding of it.
    pub generation: Generation,
    /// It leaves: this is the last time.
    pub closing: bool,
}

/// What has to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action<K, M> {
    /// Ask these partitions for their marks and commit them with the consumer. With no mark at all, answer without a call.
    Persist(Vec<Listed<K>>),
    /// Begin a transaction.
    Begin,
    /// Wait until every output has its report.
    Flush {
        /// When to give up.
        until: Instant,
    },
    /// Ask these partitions for their marks and send them with the group's metadata, read now from the client that
    /// delivered. If that has no generation or member id, send nothing and answer [`CallError::Abortable`].
    SendOffsets {
        /// The partitions to ask for their offsets.
        list: Vec<Listed<K>>,
        /// When to give up.
        until: Instant,
    },
    /// Commit the transaction.
    Commit {
        /// When to give up.
        until: Instant,
    },
    /// Abort the transaction.
    Abort {
        /// When to give up.
        until: Instant,
    },
    /// Make the last call again with the arguments it had.
    Again(Call),
    /// The client is of no more use: destroy it, or leave that to somebody who may wait.
    Discard,
    /// Make a client with the same transactional id and let it end what an earlier one left open.
    Init {
        /// When to give up.
        until: Instant,
    },
    /// Read the committed offsets and notes of these partitions, stable ones only, and start the partitions again there.
    Fetch(Vec<K>),
    /// The lane may publish and settle.
    Granted {
        /// The partition whose lane asked.
        partition: K,
        /// The permit, which has to be given back.
        permit: PermitId,
    },
    /// Not now: ask again after [`Action::AskAgain`].
    Wait {
        /// The partition whose lane asked.
        partition: K,
    },
    /// The partition leaves or is not held: drop what the call gave back.
    Gone {
        /// The partition whose lane asked.
        partition: K,
    },
    /// Permits can be had again.
    AskAgain,
    /// Tell a partition what became of its part of the slice.
    Tell {
        /// The partition to tell.
        partition: K,
        /// Which holding of it; an earlier one than the present may be meant.
        generation: Generation,
        /// What became of it.
        outcome: Outcome<M>,
    },
    /// The partitions of one revoke are no longer part of the slice; nothing more is persisted for them.
    Left {
        /// As they were named in the revoke.
        partitions: Vec<K>,
        /// All that was settled is persisted.
        settled: bool,
    },
    /// A call does not come back. Leave the thread and its client behind and close these partitions: nothing of them counts
    /// any more, and the member needs a new slice. Of this one only a last [`Action::Discard`] may come.
    Abandon(Vec<(K, Generation)>),
    /// The end of a shutdown.
    Stopped,
}

/// What became of what a partition had in the slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<M> {
    /// It is persisted, with this mark if it had one.
    Persisted(Option<M>),
    /// Its mark, if it had one, is not persisted and stays due. Nothing else changed.
    Refused(Refusal),
    /// Nothing of it counts: go back to what was persisted last.
    Restored,
    /// Nobody knows: deliver nothing until [`Action::Fetch`] has read what the coordinator has.
    Unknown,
}

/// When [`Event::Tick`] is to be applied.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum When {
    /// It is due now.
    Now,
    /// At that time, unless another event comes first.
    At(Instant),
    /// After the next event.
    Never,
}
