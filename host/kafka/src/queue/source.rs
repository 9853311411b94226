//! Where a partition's messages come from: its own queue of librdkafka's.
//!
//! What was read in librdkafka 2.12.1 about the split queue:
//! * `rd_kafka_consume_batch_queue` keeps what it gathers, and what a version barrier makes it throw away, in the call
//!   (`rd_kafka_q_serve_rkmessages`); nothing of it is shared between queues. One reader per queue is enough.
//! * A call that comes back with fewer messages than asked for saw the queue empty, under the queue's lock.
//! * The event callback runs under that lock whenever the length goes from 0 to more: on a single entry (`rd_kafka_q_enq1`,
//!   length 1 after it), on a whole fetch (`rd_kafka_q_concat0`, length 0 before it), and likewise when entries are put in
//!   front or moved. So whoever saw the queue empty is called for what comes next. It is not called for what was left
//!   behind, and `rd_kafka_q_cb_event_enable` takes the same lock: once it has returned, no old callback is running.
//! * `rd_kafka_queue_forward` marks the queue as forwarded by the application, and that mark stays when the handle goes.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, null_mut};

use rdkafka::bindings as sys;

use super::Wake;
use super::message::{Held, Scratch, adopt};
use crate::TopicPartition;
use crate::native::{ClientRef, Queue};

/// The place a partition's messages are taken from. One reader at a time.
pub(crate) trait Take: Send {
    /// Moves at most `room` entries to `into` without waiting. Fewer than `room` means: there was no more.
    fn take(&mut self, room: usize, into: &mut VecDeque<Held>) -> usize;
    /// Calls `wake` when the source stops being empty; None ends that, and when it returns no call is running.
    fn watch(&mut self, wake: Option<Wake>);
    /// Gives back the memory of messages fetched for an assignment that is over.
    fn drain_outdated(&mut self) {}
}

/// A partition's own queue of librdkafka's.
pub(crate) struct SplitQueue {
    queue: Queue,
    /// What the callback's opaque points to; at a fixed address until the callback is off.
    wake: Option<Box<Wake>>,
    scratch: Scratch,
}

// SAFETY: librdkafka's queues may be used from any thread; `&mut self` makes it one at a time. The pointers in `scratch`
// are only read right after the call that wrote them.
unsafe impl Send for SplitQueue {}

impl SplitQueue {
    /// Cuts the partition's queue off from the consumer's. To be done before each assignment takes effect: later, messages
    /// are on their way to the consumer's queue; left out, a partition that comes back is silent, since its queue stays
    /// cut and nobody reads it.
    pub(crate) fn cut(client: ClientRef<'_>, id: &TopicPartition) -> Option<Self> {
        let queue = client.partition_queue(id)?;
        // SAFETY: the queue is alive; NULL cuts.
        unsafe { sys::rd_kafka_queue_forward(queue.ptr(), null_mut()) };
        Some(Self { queue, wake: None, scratch: Vec::new() })
    }

    /// Entries on the queue, outdated ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.queue.ptr()) }
    }
}

impl Take for SplitQueue {
    fn take(&mut self, room: usize, into: &mut VecDeque<Held>) -> usize {
        if self.scratch.len() < room {
            self.scratch.resize(room, null_mut());
        }
        // SAFETY: the queue is alive; `scratch` has room for `room` pointers. A timeout of 0 never waits.
        let taken = unsafe { sys::rd_kafka_consume_batch_queue(self.queue.ptr(), 0, self.scratch.as_mut_ptr(), room) };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: the call wrote `taken` messages and gave them away.
        unsafe { adopt(&self.scratch, taken, into) };
        taken
    }

    fn watch(&mut self, wake: Option<Wake>) {
        // Off first: after this call nobody reads the old wake, and it may be dropped.
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.ptr(), None, null_mut()) };
        self.wake = wake.map(Box::new);
        if let Some(wake) = &self.wake {
            let opaque = ptr::from_ref::<Wake>(wake).cast_mut().cast::<c_void>();
            // SAFETY: the opaque points into a box that is only dropped or replaced after the call above.
            unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.ptr(), Some(on_event), opaque) };
        }
    }

    /// Entries of an assignment that is over are thrown away by the next take, and only by it: until then they keep their
    /// memory (178 MB were seen). Only for a partition that was not assigned again, or a real message would be lost here.
    fn drain_outdated(&mut self) {
        let mut found = VecDeque::new();
        self.take(8, &mut found);
    }
}

impl Drop for SplitQueue {
    fn drop(&mut self) {
        // Before the handle is given back. The queue itself lives on with its partition.
        self.watch(None);
    }
}

/// Runs on librdkafka's threads under the queue's lock: it may wake somebody and nothing else. To touch the queue here
/// would be a deadlock, to unwind into C undefined.
unsafe extern "C" fn on_event(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `watch` keeps the wake at this address until the callback is off.
    let wake = unsafe { &*opaque.cast::<Wake>() };
    let _ = catch_unwind(AssertUnwindSafe(|| wake()));
}
