//! The seams of the data plane: where messages come from, where outputs go, where offsets are kept, and what handles a
//! batch. Each is as small as it can be, so that a lane runs on Kafka and wasm or on a few lines of a test.

use std::time::{Duration, Instant};

use wasmill_core::{Batch, Emitted, Failure, NextOffset};
use wasmill_kafka::{CommitEntry, CommitError, CommitRefusal, SendError, Taken};
use wasmill_wasm::{CallError, Canceller, InstanceSpec, Plugin, StartError};

/// How often it is asked what output topics take: a limit that was raised is seen within two of these.
pub const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// One partition's messages. It has one reader, the lane.
pub trait Source: Send {
    /// Appends what is there to `into`, without waiting: at most so many messages, ending before the one with which the
    /// batch would pass `max_bytes`. A first message is always taken. Offsets ascend until a seek.
    fn take(&mut self, max_messages: usize, max_bytes: usize, into: &mut Batch) -> Taken;
    /// Reads on at `to`.
    ///
    /// # Errors
    /// It could not, for now; in words.
    fn seek(&mut self, to: NextOffset) -> Result<(), String>;
    /// Behind the last message taken and the markers and gaps that follow it. `None` while that cannot be trusted.
    fn idle_position(&mut self) -> Option<NextOffset>;
}

/// Where an output goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The topic with this number; 0 is the default output.
    Output(u32),
    /// The dead-letter topic.
    DeadLetter,
}

/// A message to publish. Everything is borrowed; the sink copies it.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Which topic it goes to.
    pub target: Target,
    /// The partition; `None`: by the key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// Milliseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
    /// Comes back in the report.
    pub token: u64,
}

/// Where outputs and dead letters go. What becomes of each message is reported to the
/// [`DeliverySink`](wasmill_kafka::DeliverySink) that the sink was made with, once, on a thread of its own.
pub trait Sink: Send + Sync {
    /// Waits until there may be room for another message, at most so long.
    fn reserve(&self, timeout: Duration);
    /// Takes one message.
    ///
    /// # Errors
    /// There is no room, the message can never be sent, the topic takes nothing, or the sink is broken.
    fn send(&self, message: &Outgoing<'_>) -> Result<(), SendError>;
    /// Sends everything now rather than after the linger, and waits for the answers until the deadline.
    fn flush(&self, deadline: Instant);
    /// Drops everything in flight; it is reported as purged.
    fn purge(&self);
    /// Messages not reported yet.
    fn in_flight(&self) -> usize;
    /// Looks whether topics take something else now than when it was asked last. Called every [`LOOK_AGAIN`], does not
    /// wait for an answer: that is found by the next call.
    fn look_again(&self) {}
    /// Whether there is a topic with this number.
    fn has_topic(&self, number: u32) -> bool;
    /// Whether there is a dead-letter topic.
    fn has_dead_letter(&self) -> bool;
}

/// Where a member's offsets are kept.
pub trait Offsets: Send + Sync {
    /// Persists all of them that are still `held`, by place, when the request goes out, and waits for the answer. `Ok` names
    /// those that were refused, or not asked for.
    ///
    /// # Errors
    /// None of them is persisted, or nobody knows.
    fn persist(&self, entries: &[CommitEntry], held: &dyn Fn(usize) -> bool)
    -> Result<Vec<CommitRefusal>, CommitError>;
}

/// A running handler: one store, one memory, one thread.
pub trait Guest: Send {
    /// One call. `Ok` is how many messages the handler reached.
    ///
    /// # Errors
    /// The call failed as a whole; the guest must not be called again.
    fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError>;
    /// What the last call emitted.
    fn emitted(&self) -> &Emitted;
    /// The messages that the last call did not acknowledge.
    fn failures(&self) -> &[Failure];
    /// Its memory only grows, and it should be replaced between two batches.
    fn is_due_for_replacement(&self) -> bool {
        false
    }
    /// Bytes of its memory.
    fn memory_bytes(&self) -> u64 {
        0
    }
    /// Log lines that it wrote and nobody will read, since it was made.
    fn dropped_log_lines(&self) -> u64 {
        0
    }
    /// Ends a call from another thread.
    fn canceller(&self) -> Option<Canceller> {
        None
    }
}

/// What guests are made of.
pub trait Handler: Send + Sync {
    /// Names its bytes.
    fn digest(&self) -> &str;
    /// Starts one.
    ///
    /// # Errors
    /// It cannot start.
    fn start(&self, spec: &InstanceSpec) -> Result<Box<dyn Guest>, StartError>;
    /// The plugin it is, for whoever validates it again under other settings. A test's handler is none.
    fn as_plugin(&self) -> Option<&Plugin> {
        None
    }
}
