//! A member of a group: joins, is polled, hands out partition queues, leaves.
//!
//! One thread owns the [`Member`] and polls it; librdkafka calls back into that thread when partitions come and go, and
//! there [`RebalanceHandler`] runs. Everybody else has a [`MemberHandle`], which keeps nothing alive: once the member is
//! closed its calls answer `Closed`. So the partitions are always given back on the thread that polls; were a reader the
//! last to let go of the consumer, the revoke would run on that reader and wait for itself.

mod closing;
mod context;
mod describe;
mod event;
mod handle;
mod handler;
mod health;
mod janitor;
mod note;
mod rebalance;
mod resolve;
mod shared;
mod start;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use crate::TopicPartition;
use crate::error::{ClientError, Code};
use crate::native::ClientRef;
use crate::settings::MemberSettings;
use context::Context;
pub use describe::UnderReplicated;
pub use event::MemberEvent;
use event::Quiet;
pub use handle::MemberHandle;
pub use handler::{AssignedPartition, RebalanceHandler};
pub use health::TopicHealth;
use rebalance::Rebalancer;
use shared::Shared;
pub use shared::Waiting;
use topics::TopicWatch;

/// One consumer of the group.
pub struct Member {
    consumer: Option<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    rebalancer: Arc<Rebalancer>,
    watch: Mutex<TopicWatch>,
    quiet: Mutex<Quiet>,
}

impl Member {
    /// Makes the consumer and subscribes; partitions come while it is polled.
    ///
    /// # Errors
    /// A refused property, a bad topic pattern, or a client that cannot be made.
    pub fn join(settings: &MemberSettings, handler: Arc<dyn RebalanceHandler>) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared::new(settings.clone()));
        let rebalancer = Arc::new(Rebalancer::new(shared.clone(), handler));
        let consumer: BaseConsumer<Context> = settings
            .config()?
            .create_with_context(Context::new(shared.clone(), rebalancer.clone()))
            .map_err(|error| ClientError::from_rdkafka("making a consumer", &error))?;
        // SAFETY: `leave` shuts the gate before the consumer ends.
        if let Some(client) = unsafe { ClientRef::new(consumer.client().native_ptr()) } {
            shared.open(client);
        }
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        let subscribed = consumer.subscribe(&topics);
        let member = Self {
            consumer: Some(consumer),
            shared,
            rebalancer,
            watch: Mutex::new(TopicWatch::new()),
            quiet: Mutex::default(),
        };
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
        // SAFETY: the consumer is alive for the call.
        if let Some(client) = unsafe { ClientRef::new(consumer.client().native_ptr()) } {
            self.rebalancer.take_up_waiting(client, Instant::now());
        }
        self.watch_topics(consumer);
        consumer.poll(timeout).and_then(|polled| self.event(polled)).or_else(|| self.shared.next_event())
    }

    fn watch_topics(&self, consumer: &BaseConsumer<Context>) {
        // SAFETY: the consumer is alive for the call.
        let Some(client) = (unsafe { ClientRef::new(consumer.client().native_ptr()) }) else { return };
        let (topics, held) = (|| self.shared.read_topics(), || self.shared.live_topics());
        let also = &self.shared.settings.watched_topics;
        let events = self.watch.lock().step(client, (topics, also), held, &self.shared.health, Instant::now());
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
        self.quiet.lock().admit(&code, Instant::now()).then_some(MemberEvent::Transient { code, text })
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
            // What comes meanwhile came past its queue, or is an error that ends with the client.
            let _ = consumer.poll(Duration::from_millis(20));
        }
        self.rebalancer.give_up();
        self.watch.lock().close();
        // Nobody may use the client from here on; this waits for calls that are under way, and each of them has a bound.
        self.shared.shut();
        let deadline = Instant::now() + closing::CLOSE_TIMEOUT;
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
