//! Gives back the memory of partitions that went.
//!
//! Messages fetched for an assignment that is over stay on the partition's queue, unreachable, until somebody takes from
//! it again; 178 MB were seen. So a queue is kept for a moment after its revoke and taken from once more: not at once,
//! since a fetch may still be under way. A partition that came back has a new reader, and its queue is left alone: a take
//! here would steal from it. All of this happens on the member's thread, where partitions come and go, too.

use std::time::{Duration, Instant};

use crate::TopicPartition;
use crate::queue::Take;

/// How long a retired queue is left alone. A fetch that was under way at the revoke has been answered by then: the broker
/// waits a tenth of a second.
const RETIREMENT_DELAY: Duration = Duration::from_millis(1500);

/// Queues of partitions that went.
#[derive(Default)]
pub(super) struct Janitor {
    retired: Vec<Retired>,
}

/// The queue of a partition that went.
pub(super) struct Retired {
    pub(super) id: TopicPartition,
    pub(super) source: Box<dyn Take>,
    due: Instant,
}

impl Janitor {
    pub(super) fn keep(&mut self, id: TopicPartition, source: Box<dyn Take>, now: Instant) {
        self.retired.push(Retired { id, source, due: now + RETIREMENT_DELAY });
    }

    /// Those whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Retired> {
        let (due, rest) = std::mem::take(&mut self.retired).into_iter().partition(|retired| retired.due <= now);
        self.retired = rest;
        due
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        self.retired.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::Consumer;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

    use super::*;
    use crate::member::{AssignedPartition, Member, MemberHandle, RebalanceHandler};
    use crate::mock::MockBroker;
    use crate::native::ClientRef;
    use crate::queue::SplitQueue;
    use crate::settings::{ClientSettings, MemberSettings};

    #[derive(Default)]
    struct Keep(Mutex<Vec<AssignedPartition>>);

    impl RebalanceHandler for Keep {
        fn assigned(&self, _: &MemberHandle, partitions: Vec<AssignedPartition>) {
            self.0.lock().unwrap().extend(partitions);
        }

        fn revoked(&self, _: &MemberHandle, _: &[TopicPartition], _: bool) {}
    }

    fn poll_until(member: &Member, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "not in time");
            member.poll(Duration::from_millis(10));
        }
    }

    #[test]
    fn prefetched_messages_of_a_partition_that_went_are_given_back_and_those_of_one_that_is_back_are_not() {
        let broker = MockBroker::start(1).unwrap();
        broker.create_topic("orders", 1).unwrap();
        let producer: ThreadedProducer<DefaultProducerContext> =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
        for _ in 0..500 {
            let record = BaseRecord::<str, str>::to("orders").payload("message");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let client = ClientSettings { bootstrap: broker.bootstrap().into(), ..ClientSettings::default() };
        let settings =
            MemberSettings { client, group: "g".into(), topics: vec!["orders".into()], ..MemberSettings::default() };
        let member = Member::join(&settings, Arc::new(Keep::default())).unwrap();
        poll_until(&member, || member.shared.has_partitions());
        let consumer = member.consumer.as_ref().unwrap();
        // SAFETY: the consumer lives until `close`, which comes last.
        let native = unsafe { ClientRef::new(consumer.client().native_ptr()) }.unwrap();
        let id = TopicPartition::new("orders", 0);
        let seen = SplitQueue::cut(native, &id).unwrap();
        poll_until(&member, || seen.len() > 0);

        let held = member.shared.live.lock().remove(&id).unwrap();
        let source = held.slot.retire().unwrap();
        let now = Instant::now();
        member.shared.janitor.lock().keep(id.clone(), source, now);
        member.shared.live.lock().insert(id.clone(), held);
        let before = seen.len();
        member.shared.sweep(now + RETIREMENT_DELAY);
        assert!(seen.len() >= before, "a partition that is back has a reader, whose messages these are");

        consumer.unsubscribe();
        let live = member.shared.live.lock().remove(&id).unwrap();
        member.shared.janitor.lock().keep(id.clone(), Box::new(SplitQueue::cut(native, &id).unwrap()), now);
        drop(live);
        // Nothing is taken before its time.
        member.shared.sweep(now + RETIREMENT_DELAY / 2);
        poll_until(&member, || consumer.assignment().is_ok_and(|assignment| assignment.count() == 0));
        let outdated = seen.len();
        assert!(outdated > 0, "the library would have given them back itself");
        member.shared.sweep(now + RETIREMENT_DELAY);
        assert_eq!(seen.len(), 0, "{outdated} were there");
        drop(seen);
        member.close();
    }
}
