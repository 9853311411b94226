//! A partition's queue as its one reader sees it: batches in ascending order, and the problem if there is one.
//!
//! A *slot* is one assignment of one partition. The reader has it as a [`PartitionQueue`]; the member keeps the other
//! half, so that it can end an assignment ([`Slot::retire`]) or move it (seek) without the reader's help. Its lock is
//! taken once per batch. A reader never waits for it: while somebody else holds it there is nothing to take, and the
//! reader is woken afterwards.
//!
//! The *floor* is one past the last message handed out. librdkafka may hand out a message twice: a pause, and it pauses
//! every partition while an assignment changes, stores where to go on before the reader's call has noted how far it got.
//! What is below the floor was handed out already and is dropped. A seek sets the floor.

mod message;
mod source;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use wasmill_core::{Batch, NextOffset};

use crate::TopicPartition;
use crate::error::Code;
use message::Held;
pub(crate) use source::{SplitQueue, Take};

/// Called when there may be something to take. It runs on a thread of librdkafka's under a lock: it may set a flag, notify
/// or unpark, and nothing else.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a take found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Messages appended to the batch.
    pub messages: usize,
    /// True if there is more to take now. False: nobody need look again before the wake.
    pub more: bool,
    /// Why nothing comes behind these messages. Told once; the queue yields nothing more until a seek.
    pub problem: Option<QueueProblem>,
}

/// Why a partition does not go on. librdkafka's own position must not be trusted after one (it may have skipped a
/// message): seek to the next offset of your own reckoning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueProblem {
    /// The position does not exist in the partition: retention has passed it, or it was never there. If this comes in the
    /// middle of reading, librdkafka has given the partition up and refuses seeks: make a new member.
    #[error("offset {offset} is out of range")]
    OutOfRange {
        /// The position; -1 if not known.
        offset: i64,
    },
    /// The group has committed no offset, and was told to begin nowhere then ([`Start::Error`](crate::Start::Error)). The
    /// client holds the partition at a stand-in: make a new member to go on.
    #[error("the group has committed no offset")]
    NoOffset,
    /// Anything else, such as a missing permission or a message that cannot be decoded.
    #[error("{text} ({code})")]
    Other {
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
}

/// One assignment of one partition.
pub(crate) struct Slot {
    pub(crate) id: TopicPartition,
    /// How many partitions the topic had when the group first had a position in it; see `member::start`.
    pub(crate) founding: i32,
    state: Mutex<State>,
    /// Messages dropped because they were handed out already.
    stale: AtomicU64,
}

pub(crate) struct State {
    source: Option<Box<dyn Take>>,
    held: VecDeque<Held>,
    floor: i64,
    stopped: bool,
    problem: Option<QueueProblem>,
    wake: Option<Wake>,
}

impl Slot {
    pub(crate) fn new(
        id: TopicPartition,
        founding: i32,
        source: Box<dyn Take>,
        start: i64,
        problem: Option<QueueProblem>,
    ) -> Self {
        let state = State {
            source: Some(source),
            held: VecDeque::new(),
            floor: start,
            stopped: problem.is_some(),
            problem,
            wake: None,
        };
        Self { id, founding, state: Mutex::new(state), stale: AtomicU64::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Ends the assignment: whoever still has the queue takes nothing more from it. The source is the caller's to give
    /// back later. Waits for a take that is running.
    pub(crate) fn retire(&self) -> Option<Box<dyn Take>> {
        let mut state = self.lock();
        state.held.clear();
        state.wake = None;
        let mut source = state.source.take()?;
        source.watch(None);
        Some(source)
    }
}

impl State {
    /// After a seek: nothing of what was before it comes out, and everything from `to` on does.
    pub(crate) fn moved(&mut self, to: i64) -> Option<Wake> {
        self.held.clear();
        self.floor = to;
        self.stopped = false;
        self.problem = None;
        self.wake.clone()
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.source.is_none()
    }

    /// The floor, if everything taken from the library was handed out and its position may be trusted.
    pub(crate) fn settled_floor(&self) -> Option<i64> {
        (self.held.is_empty() && !self.stopped && self.source.is_some()).then_some(self.floor)
    }

    fn take(&mut self, max_messages: usize, max_bytes: usize, into: &mut Batch, stale: &AtomicU64) -> Taken {
        let mut taken = Taken { problem: self.problem.take(), ..Taken::default() };
        if self.stopped {
            return taken;
        }
        let Some(source) = &mut self.source else { return taken };
        loop {
            // Nothing new while something is held: the library counts what it gave away no more and fetches again, so that
            // large messages would pile up here, a batch's number of them whatever their size.
            let room = if self.held.is_empty() { max_messages.saturating_sub(taken.messages) } else { 0 };
            let filled = room == 0 || source.take(room, &mut self.held) == room;
            while taken.messages < max_messages {
                let Some(next) = self.held.front() else { break };
                if let Some(code) = next.error() {
                    taken.problem = Some(problem(code, next));
                    self.stopped = true;
                    // They come again with the seek that ends this.
                    self.held.clear();
                    return taken;
                }
                let offset = next.offset();
                if offset < self.floor {
                    stale.fetch_add(1, Ordering::Relaxed);
                    self.held.pop_front();
                    continue;
                }
                if !into.is_empty() && into.bytes().saturating_add(next.bytes()) > max_bytes {
                    break;
                }
                if next.gather(into).is_err() {
                    if into.is_empty() {
                        taken.problem = Some(unfit(offset));
                        self.stopped = true;
                        self.held.clear();
                    }
                    break;
                }
                self.floor = offset.saturating_add(1);
                taken.messages += 1;
                self.held.pop_front();
            }
            taken.more = !self.stopped && (filled || !self.held.is_empty());
            // What was held is handed out and there is room: look on. Likewise if all that came was stale and there is more,
            // or the reader would take it for an empty queue.
            if !taken.more || !self.held.is_empty() || taken.messages >= max_messages {
                return taken;
            }
        }
    }
}

fn problem(code: Code, entry: &Held) -> QueueProblem {
    if code.is(E::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) || code.is(E::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        return QueueProblem::OutOfRange { offset: entry.offset().max(-1) };
    }
    QueueProblem::Other { code: code.name(), text: entry.error_text() }
}

fn unfit(offset: i64) -> QueueProblem {
    QueueProblem::Other {
        code: "MESSAGE_TOO_LARGE".into(),
        text: format!("message {offset} does not fit into a batch"),
    }
}

/// The reader's half of an assigned partition. One thread takes from it at a time; dropping it is safe at any time and on
/// any thread.
pub struct PartitionQueue {
    slot: Arc<Slot>,
    positions: Arc<dyn Positions>,
}

/// Where librdkafka says a partition's reader stands.
pub(crate) trait Positions: Send + Sync {
    /// One past the last entry, markers included, that was taken from the library.
    fn position(&self, id: &TopicPartition) -> Option<i64>;
}

impl PartitionQueue {
    pub(crate) fn new(slot: Arc<Slot>, positions: Arc<dyn Positions>) -> Self {
        Self { slot, positions }
    }

    /// The partition that it reads.
    pub fn id(&self) -> &TopicPartition {
        &self.slot.id
    }

    /// Appends at most `max_messages` to `into` without waiting. Offsets ascend from call to call until a seek.
    pub fn take(&mut self, max_messages: usize, into: &mut Batch) -> Taken {
        self.take_bounded(max_messages, usize::MAX, into)
    }

    /// The same, ending before the message with which keys and values of the batch would pass `max_bytes`; a first message
    /// is always taken.
    pub fn take_bounded(&mut self, max_messages: usize, max_bytes: usize, into: &mut Batch) -> Taken {
        // Otherwise a seek or the end of the assignment is at work; a seek wakes the reader when it is done.
        let Some(mut state) = self.slot.state.try_lock() else { return Taken::default() };
        state.take(max_messages, max_bytes, into, &self.slot.stale)
    }

    /// Calls `wake` when the queue goes from empty to not empty, and once now. A reader takes until `more` is false, and
    /// looks again every 100 ms all the same: a lost wake-up must not stall a partition.
    pub fn on_ready(&mut self, wake: Wake) {
        {
            let mut state = self.slot.lock();
            state.wake = Some(wake.clone());
            if let Some(source) = &mut state.source {
                source.watch(Some(wake.clone()));
            }
        }
        // What came before the callback was on makes no event.
        wake();
    }

    /// The position behind the last message handed out and the transaction markers and gaps that follow it: what may be
    /// committed when nothing of this partition is outstanding, so that lag reads 0.
    ///
    /// librdkafka notes this position inside our own take: markers are entries of the queue, and the call that meets one
    /// moves the position past it and keeps it to itself (`rd_kafka_q_serve_rkmessages`, `rktp_app_pos`). Only the reader's
    /// take moves it, a seek and the end of an assignment clear it, and both are kept apart from a take by the slot's
    /// lock. So when everything taken was handed out there is no message below it that was not, whatever arrived on the
    /// queue since; there is no race with the fetcher. None after a problem, since an error entry moves the position
    /// although nothing was read (HAZARD librdkafka#4844), and none before anything was taken.
    ///
    /// What compaction or an aborted transaction left at the very end without a marker is not seen.
    pub fn idle_position(&mut self) -> Option<NextOffset> {
        let state = self.slot.state.try_lock()?;
        let floor = state.settled_floor()?;
        let position = self.positions.position(&self.slot.id)?;
        drop(state);
        // Lower: librdkafka is about to fetch again what was handed out already.
        (position >= floor).then(|| NextOffset::at(position))
    }

    /// Messages dropped because librdkafka handed them out a second time.
    pub fn stale(&self) -> u64 {
        self.slot.stale.load(Ordering::Relaxed)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        state.wake = None;
        state.held.clear();
        // What was held is gone for this reader; nobody may go on behind it.
        state.stopped = true;
        if let Some(source) = &mut state.source {
            source.watch(None);
        }
    }
}

impl std::fmt::Debug for PartitionQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionQueue").field("id", &self.slot.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
