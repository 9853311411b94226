//! A member of a group: joins, is polled, hands out partition queues, leaves.
//!
//! One thread owns the [`Member`] and polls it; librdkafka calls back into that thread when partitions come and go, and
//! there [`RebalanceHandler`] runs. Everybody else has a [`MemberHandle`], which keeps nothing alive: once the member is
//! closed its calls answer `Closed`. So the partitions are always given back on the thread that polls; were a reader the
//! last to let go of the consumer, the revoke would run on that reader and wait for itself.

mod closing;
mod context;
mod describe;
mod handle;
mod janitor;
mod rebalance;
mod start;
mod topics;

pub use handle::{Committed, MemberHandle};
pub(crate) use start::committed;

use crate::TopicPartition;
use crate::error::{ClientError, Code};
use crate::queue::{PartitionQueue, Slot, lock};
use crate::settings::MemberSettings;
use context::Context;
use handle::Shared;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use topics::TopicWatch;
use wasmill_core::NextOffset;

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
    /// Its messages.
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

/// What `poll` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// An error that librdkafka gets over by itself, such as a broker that is away. The same code comes at most once in
    /// five seconds.
    Transient {
        /// librdkafka's name of the error.
        code: String,
        /// Its text.
        text: String,
    },
    /// The member is of no more use. Close it and make a new one, after a while.
    Fatal {
        /// librdkafka's name of the error.
        code: String,
        /// Its text.
        text: String,
    },
    /// Another process uses the same `instance_id`: stop for good, do not fight.
    Fenced {
        /// librdkafka's text.
        text: String,
    },
    /// A message came past its partition's queue: a bug here or in librdkafka, and a message that nobody handles.
    Leaked {
        /// Where it belongs.
        id: TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// A topic that the member reads is not there: it was deleted, if it ever was.
    TopicGone {
        /// Its name.
        topic: String,
    },
    /// A topic that was gone is there again. librdkafka may take minutes to notice; a new member sees it at once.
    TopicThere {
        /// Its name.
        topic: String,
    },
    /// A topic of partitions that are held was deleted and made again: they are those of the old one, and their offsets
    /// mean nothing in the new one. A new member begins at the first messages of that.
    TopicMadeAgain {
        /// Its name.
        topic: String,
    },
}

/// One consumer of the group.
pub struct Member {
    consumer: Option<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    watch: Mutex<TopicWatch>,
    quiet: Mutex<Quiet>,
}

/// Lets the same transient error through once in a while.
#[derive(Default)]
struct Quiet(HashMap<String, Instant>);

impl Quiet {
    const INTERVAL: Duration = Duration::from_secs(5);

    fn admit(&mut self, code: &str, now: Instant) -> bool {
        let last = self.0.get(code).copied();
        let admitted = last.is_none_or(|last| now.duration_since(last) >= Self::INTERVAL);
        if admitted {
            self.0.insert(code.to_owned(), now);
        }
        admitted
    }
}

impl Member {
    /// Makes the consumer and subscribes; partitions come while it is polled.
    ///
    /// # Errors
    /// A refused property, a bad topic pattern, or a client that cannot be made.
    pub fn join(settings: &MemberSettings, handler: Arc<dyn RebalanceHandler>) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared::new(settings.clone(), handler));
        let consumer: BaseConsumer<Context> = settings
            .config()?
            .create_with_context(Context::new(shared.clone()))
            .map_err(|error| ClientError::from_rdkafka("making a consumer", &error))?;
        shared.open(consumer.client().native_ptr());
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        let subscribed = consumer.subscribe(&topics);
        let member =
            Self { consumer: Some(consumer), shared, watch: Mutex::new(TopicWatch::new()), quiet: Mutex::default() };
        match subscribed {
            Ok(()) => Ok(member),
            Err(error) => {
                member.close();
                Err(ClientError::Open(format!("cannot subscribe to {topics:?}: {error}")))
            }
        }
    }

    /// What every other thread uses.
    pub fn handle(&self) -> MemberHandle {
        MemberHandle::new(self.shared.clone())
    }

    /// Serves librdkafka for at most `timeout`, less if something happened. Rebalances happen in here, so it has to be
    /// called at least every few hundred milliseconds, by one thread.
    pub fn poll(&self, timeout: Duration) -> Option<MemberEvent> {
        if let Some(event) = self.shared.next_event() {
            return Some(event);
        }
        let consumer = self.consumer.as_ref()?;
        self.shared.sweep(Instant::now());
        self.watch_topics(consumer);
        self.serve(consumer, timeout).or_else(|| self.shared.next_event())
    }

    fn serve(&self, consumer: &BaseConsumer<Context>, timeout: Duration) -> Option<MemberEvent> {
        consumer.poll(timeout).and_then(|polled| self.event(polled))
    }

    fn watch_topics(&self, consumer: &BaseConsumer<Context>) {
        let Some(client) = std::ptr::NonNull::new(consumer.client().native_ptr()) else { return };
        let (topics, held) = (|| self.shared.watched_topics(), || self.shared.live_topics());
        // SAFETY: the consumer is alive for the call; `close` empties the watch before it is destroyed.
        let events = unsafe { lock(&self.watch).step(client, topics, held, Instant::now()) };
        events.into_iter().for_each(|event| self.shared.tell(event));
    }

    fn event(&self, polled: Result<BorrowedMessage<'_>, KafkaError>) -> Option<MemberEvent> {
        let error = match polled {
            Ok(message) => {
                let id = TopicPartition::new(message.topic(), message.partition());
                return Some(MemberEvent::Leaked { id, offset: message.offset() });
            }
            Err(error) => error,
        };
        if let Some((code, text)) = self.shared.fatal_error() {
            return Some(if code.is(E::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
                MemberEvent::Fenced { text }
            } else {
                MemberEvent::Fatal { code: code.name(), text }
            });
        }
        let code = error.rdkafka_error_code().map_or(Code::NONE, |code| Code(code as i32));
        let text = self.shared.take_reason().unwrap_or_else(|| error.to_string());
        let code = code.name();
        // A dozen a second while a broker is away.
        lock(&self.quiet).admit(&code, Instant::now()).then_some(MemberEvent::Transient { code, text })
    }

    /// Gives the partitions back through the handler and leaves the group. Ends within a bound even if the broker is away: a
    /// client that cannot end by then is left behind (see `member/closing.rs`), and the handler hears nothing more of it.
    pub fn close(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        // In the middle of a rebalance librdkafka puts this off until it is over, and only then asks for the partitions back.
        consumer.unsubscribe();
        let until = Instant::now() + self.shared.settings.leave_timeout;
        // After a fatal error librdkafka never asks for them back.
        while self.shared.has_partitions() && Instant::now() < until && self.shared.fatal_error().is_none() {
            let _ = self.serve(&consumer, Duration::from_millis(20));
        }
        self.shared.give_up();
        lock(&self.watch).close();
        // Nobody may use the client from here on; this waits for calls that are under way, and each of them has a bound.
        self.shared.shut();
        let deadline = Instant::now() + closing::CLOSE_PATIENCE;
        // What is left of it is enough for a client that has nothing to wait for.
        let answered = self.shared.settle_commits(deadline - Duration::from_secs(1));
        closing::end(consumer, answered, deadline);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The other half of what a member knows of a partition it holds.
pub(crate) struct Live {
    pub(crate) slot: Arc<Slot>,
    pub(crate) topic_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_told_of_now_and_then() {
        let mut quiet = Quiet::default();
        let start = Instant::now();
        assert!(quiet.admit("_TRANSPORT", start) && quiet.admit("_ALL_BROKERS_DOWN", start));
        assert!(!quiet.admit("_TRANSPORT", start + Duration::from_secs(4)));
        assert!(quiet.admit("_TRANSPORT", start + Duration::from_secs(5)));
    }
}
