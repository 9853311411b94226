//! The fallback's right to move: whoever has it is alone with the way from the library to the partitions.
//!
//! The member's thread has it while it polls, since a message is on that way between the library and its partition; a seek
//! takes it, or such a message would come out after the seek. Two things that a plain lock gets wrong, each of which made
//! partitions stand still:
//! * The member's thread takes it again right after giving it back, and a seek that waits would be passed over for ever: so
//!   it lets those that wait go first.
//! * Callbacks run inside the poll, and the handler in them waits for readers, while a reader in the middle of a seek waits for
//!   the poll. No message is on its way then, so a callback has let go of it.

use crate::queue::lock;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

#[derive(Default)]
pub(super) struct Pump {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    taken: bool,
    /// The member's thread while it has it.
    pumping: Option<ThreadId>,
    /// Seeks that wait for it.
    waiting: usize,
}

/// Has it until dropped.
pub(super) struct Moving<'a>(&'a Pump);

/// A callback, which has let go of what its thread had; that is taken again when this is dropped.
pub(super) struct Released<'a>(&'a Pump);

impl Pump {
    fn wait_while(&self, mut condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(lock(&self.state), |state| condition(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// For the member's thread, about to poll.
    pub(super) fn begin(&self) -> Moving<'_> {
        let mut state = self.wait_while(|state| state.taken || state.waiting > 0);
        state.taken = true;
        state.pumping = Some(thread::current().id());
        Moving(self)
    }

    /// For a seek.
    pub(super) fn stand(&self) -> Moving<'_> {
        lock(&self.state).waiting += 1;
        let mut state = self.wait_while(|state| state.taken);
        state.waiting -= 1;
        state.taken = true;
        Moving(self)
    }

    /// Without waiting.
    pub(super) fn try_stand(&self) -> Option<Moving<'_>> {
        let before = std::mem::replace(&mut lock(&self.state).taken, true);
        // Not made when there is nothing to give back: dropping it would.
        if before { None } else { Some(Moving(self)) }
    }

    /// For a callback; None if its thread does not have it.
    pub(super) fn release(&self) -> Option<Released<'_>> {
        let mut state = lock(&self.state);
        if state.pumping != Some(thread::current().id()) {
            return None;
        }
        state.taken = false;
        state.pumping = None;
        self.changed.notify_all();
        Some(Released(self))
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.taken = false;
        state.pumping = None;
        self.0.changed.notify_all();
    }
}

impl Drop for Released<'_> {
    fn drop(&mut self) {
        let mut state = self.0.wait_while(|state| state.taken);
        state.taken = true;
        state.pumping = Some(thread::current().id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicPartition;
    use crate::member::{AssignedPartition, Member, MemberHandle, RebalanceHandler};
    use crate::mock::MockBroker;
    use crate::queue::Feed;
    use crate::settings::{ClientSettings, MemberSettings};
    use rdkafka::config::ClientConfig;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};
    use wasmill_core::Batch;

    const SOON: Duration = Duration::from_secs(20);

    /// Runs `seek` beside a thread that gives the right back only to take it again.
    fn beside_a_busy_pump(seek: impl FnOnce(&Pump) + Send) {
        let (pump, stop) = (Pump::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _moving = pump.begin();
                    thread::sleep(Duration::from_micros(100));
                }
            });
            seek(&pump);
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_seek_is_not_passed_over_by_a_busy_pump() {
        beside_a_busy_pump(|pump| {
            for _ in 0..100 {
                let _moving = pump.stand();
                assert!(pump.try_stand().is_none());
            }
        });
    }

    #[test]
    fn a_callback_may_wait_for_a_seek_that_waits_for_the_pump() {
        let pump = Pump::default();
        let (done, sought) = mpsc::channel();
        thread::scope(|scope| {
            let moving = pump.begin();
            scope.spawn(|| {
                drop(pump.stand());
                done.send(()).unwrap();
            });
            let callback = pump.release().unwrap();
            assert!(pump.release().is_none(), "let go of once");
            sought.recv_timeout(SOON).expect("the seek is done while the callback runs");
            drop(callback);
            assert!(pump.try_stand().is_none(), "the poll goes on with what it had");
            drop(moving);
            assert!(pump.try_stand().is_some());
        });
    }

    #[derive(Default)]
    struct Keep(Mutex<Vec<AssignedPartition>>, AtomicBool);

    impl RebalanceHandler for Keep {
        fn assigned(&self, _: &MemberHandle, partitions: Vec<AssignedPartition>) {
            *lock(&self.0) = partitions;
        }

        fn revoked(&self, _: &MemberHandle, _: &[TopicPartition], _: bool) {
            lock(&self.0).clear();
            self.1.store(true, Ordering::Relaxed);
        }
    }

    fn poll_until(what: &str, member: &Member, mut done: impl FnMut() -> bool) {
        // The mock broker's group may wait out two session timeouts before it shares out anew.
        let deadline = Instant::now() + 2 * SOON;
        while !done() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            member.poll(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_partition_that_went_while_it_was_held_back_goes_on_when_it_comes_back() {
        const MESSAGES: usize = 2 * Feed::BOUND;
        let broker = MockBroker::start(1).unwrap();
        broker.create_topic("orders", 1).unwrap();
        let producer: ThreadedProducer<DefaultProducerContext> =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
        for _ in 0..MESSAGES {
            let record = BaseRecord::<str, str>::to("orders").payload("message");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(SOON).unwrap();
        let settings = MemberSettings {
            client: ClientSettings { bootstrap: broker.bootstrap().into(), ..ClientSettings::default() },
            group: "g".into(),
            topics: vec!["orders".into()],
            split_queues: false,
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            ..MemberSettings::default()
        };
        let keep = Arc::new(Keep::default());
        let member = Member::join(&settings, keep.clone()).unwrap();
        let held_back = || {
            lock(&member.shared.live)
                .values()
                .any(|live| live.feed.as_ref().is_some_and(|feed| feed.paused.load(Ordering::Relaxed)))
        };
        poll_until("a full feed", &member, held_back);
        // Another one comes, for which everything is given back, and goes.
        let other = Member::join(&settings, Arc::new(Keep::default())).unwrap();
        poll_until("the revoke", &member, || {
            other.poll(Duration::from_millis(10));
            keep.1.load(Ordering::Relaxed)
        });
        other.close();
        let (mut batch, mut next) = (Batch::new(), 0);
        poll_until("all messages", &member, || {
            batch.clear();
            if let Some(came) = lock(&keep.0).first_mut() {
                came.queue.take(500, &mut batch);
            }
            next = batch.messages().map(|message| message.offset + 1).max().unwrap_or(next);
            next == MESSAGES as i64
        });
        member.close();
    }
}
