//! What comes out of a partition's queue, and what is known of its position.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::json;
use wasmill_core::{Batch, NextOffset};
use wasmill_kafka::{AssignedPartition, Member, MemberHandle, RebalanceHandler, TopicPartition};
use wasmill_tests::eye::Message;
use wasmill_tests::shared::{Shared, shared, unique};

use crate::support::{Read, keeping, settings, until};

/// A member polled by a thread of its own, with its one partition's queue in the test's hands.
struct Alone {
    shared: Shared,
    topic: String,
    group: String,
    came: AssignedPartition,
    handle: MemberHandle,
    stop: Arc<AtomicUsize>,
    polling: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Catch(Mutex<Vec<AssignedPartition>>);

impl RebalanceHandler for Catch {
    fn assigned(&self, _: &MemberHandle, partitions: Vec<AssignedPartition>) {
        self.0.lock().unwrap().extend(partitions);
    }

    fn revoked(&self, _: &MemberHandle, _: &[TopicPartition], _: bool) {}
}

fn alone(name: &str, before: impl FnOnce(&Shared, &str)) -> Alone {
    let shared = shared().unwrap();
    let (topic, group) = (unique(name), unique(&format!("{name}-group")));
    shared.eye.create_topic(&topic, 1, &[]).unwrap();
    before(&shared, &topic);
    let catch = Arc::new(Catch::default());
    let member = Member::join(&settings(&shared.broker.bootstrap(), &group, &topic), catch.clone()).unwrap();
    let handle = member.handle();
    let stop = Arc::new(AtomicUsize::new(0));
    let stopped = stop.clone();
    let polling = std::thread::spawn(move || {
        while stopped.load(Ordering::Relaxed) == 0 {
            let event = member.poll(Duration::from_millis(20));
            assert!(event.is_none(), "{event:?}");
        }
        member.close();
    });
    until("the assignment", || !catch.0.lock().unwrap().is_empty());
    let came = catch.0.lock().unwrap().pop().unwrap();
    Alone { shared, topic, group, came, handle, stop, polling: Some(polling) }
}

impl Alone {
    /// Takes until the offset after the last message is `next`.
    fn take_to(&mut self, next: i64) -> Vec<i64> {
        let mut offsets = Vec::new();
        let mut batch = Batch::new();
        until("the messages", || {
            batch.clear();
            self.came.queue.take(100, &mut batch);
            offsets.extend(batch.messages().map(|message| message.offset));
            offsets.last().is_some_and(|last| last + 1 >= next)
        });
        offsets
    }

    fn end(mut self) {
        self.stop.store(1, Ordering::Relaxed);
        self.polling.take().unwrap().join().unwrap();
    }
}

#[test]
fn every_part_of_a_message_arrives_and_absent_is_not_empty() {
    let shared = shared().unwrap();
    let (topic, group) = (unique("parts"), unique("parts-group"));
    shared.eye.create_topic(&topic, 1, &[]).unwrap();
    let sent = [
        Message { timestamp: Some(1_700_000_000_123), ..Message::new("key", "value") }
            .header("a", "1")
            .header("a", "2")
            .header("empty", ""),
        Message { key: None, value: Some(Vec::new()), ..Message::default() },
        Message { key: Some(Vec::new()), value: None, headers: vec![("absent".into(), None)], ..Message::default() },
    ];
    shared.eye.produce(&topic, &sent).unwrap();
    let (worker, kept) = keeping(&settings(&shared.broker.bootstrap(), &group, &topic), true);
    until("the messages", || kept.lock().unwrap().len() == 3);
    worker.stop();
    let kept = kept.lock().unwrap();
    for (sent, (_, read)) in sent.iter().zip(kept.iter()) {
        let headers: Vec<_> =
            sent.headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect();
        assert_eq!((&read.key, &read.value, &read.headers), (&sent.key, &sent.value, &headers));
    }
    assert_eq!(kept[0].1.timestamp, Some(1_700_000_000_123));
    assert_eq!(kept.iter().map(|(_, Read { offset, .. })| *offset).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn the_position_behind_transaction_markers_can_be_committed_and_lag_reads_zero() {
    let mut it = alone("markers", |shared, topic| {
        let messages = [Message::new("k", "a"), Message::new("k", "b")];
        for abort in [false, true] {
            let properties = json!({ "transactional.id": unique("markers-tx") });
            shared.eye.produce_with(topic, &messages, &properties, abort).unwrap();
        }
    });
    // a, b, commit marker; a, b, abort marker.
    assert_eq!(it.take_to(2), [0, 1]);
    until("the markers", || {
        let taken = it.came.queue.take(100, &mut Batch::new());
        assert_eq!(taken.messages, 0, "what was aborted is not read");
        it.came.queue.idle_position() == Some(NextOffset::at(6))
    });
    let entry = wasmill_kafka::CommitEntry {
        id: it.came.id.clone(),
        next: it.came.queue.idle_position().unwrap(),
        note: String::new(),
    };
    assert_eq!(it.handle.commit(&[entry], &|_| true), Ok(vec![]));
    assert_eq!(it.shared.eye.lag(&it.group, &it.topic).unwrap().get(&0), Some(&0));
    assert_eq!(it.handle.end_offset(&it.came.id), Some(6));
    it.end();
}

#[test]
fn the_idle_position_is_never_above_a_message_not_handed_out() {
    let mut it = alone("idle", |_, _| ());
    assert_eq!(it.came.queue.idle_position(), None, "nothing was taken yet");
    let (eye, topic) = (it.shared.eye.clone(), it.topic.clone());
    let produced = std::thread::spawn(move || {
        for _ in 0..40 {
            let messages: Vec<_> = (0..5).map(|n| Message::new("k", n.to_string())).collect();
            eye.produce(&topic, &messages).unwrap();
        }
    });
    let mut next = 0;
    let mut batch = Batch::new();
    until("all", || {
        batch.clear();
        // Bytes for two messages at most: the rest is held back, and must hold the position back.
        let taken = it.came.queue.take_bounded(3, 4, &mut batch);
        for message in batch.messages() {
            assert_eq!(message.offset, next);
            next += 1;
        }
        if let Some(position) = it.came.queue.idle_position() {
            assert_eq!(position.get(), next, "{taken:?}");
        }
        next == 200
    });
    produced.join().unwrap();
    // A seek back must not leave the old, higher position behind.
    it.handle.seek(&it.came.id, NextOffset::at(10)).unwrap();
    if let Some(position) = it.came.queue.idle_position() {
        assert!(position.get() <= 10, "{position}");
    }
    assert_eq!(it.take_to(200), (10..200).collect::<Vec<_>>());
    it.end();
}

#[test]
fn a_batch_ends_before_the_message_that_would_make_it_too_large() {
    let mut it = alone("bytes", |shared, topic| {
        let messages: Vec<_> = [10, 10, 50, 200, 10].iter().map(|len| Message::new("", vec![b'x'; *len])).collect();
        shared.eye.produce(topic, &messages).unwrap();
    });
    let mut sizes = Vec::new();
    let mut batch = Batch::new();
    until("the messages", || {
        batch.clear();
        let taken = it.came.queue.take_bounded(100, 60, &mut batch);
        if taken.messages > 0 {
            sizes.push(taken.messages);
        }
        sizes.iter().sum::<usize>() == 5
    });
    assert!(matches!(sizes.as_slice(), [2, 1, 1, 1]), "{sizes:?}");
    it.end();
}

#[test]
fn a_reader_that_only_looks_when_it_is_woken_misses_nothing() {
    const MESSAGES: usize = 3000;
    let mut it = alone("wake", |_, _| ());
    let bell = Arc::new((Mutex::new(false), Condvar::new()));
    let ring = bell.clone();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = wakes.clone();
    it.came.queue.on_ready(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        *ring.0.lock().unwrap() = true;
        ring.1.notify_one();
    }));
    let (bootstrap, topic) = (it.shared.broker.bootstrap(), it.topic.clone());
    let start = Instant::now();
    let producing = std::thread::spawn(move || {
        let producer: ThreadedProducer<DefaultProducerContext> =
            ClientConfig::new().set("bootstrap.servers", bootstrap).set("linger.ms", "0").create().unwrap();
        for _ in 0..MESSAGES {
            let now = u64::try_from(start.elapsed().as_nanos()).unwrap().to_le_bytes();
            producer.send(BaseRecord::<[u8], [u8]>::to(&topic).payload(&now)).map_err(|(error, _)| error).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    });
    let mut batch = Batch::new();
    let (mut read, mut late) = (0, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    while read < MESSAGES {
        let mut rung = bell.0.lock().unwrap();
        while !*rung {
            let (guard, timeout) = bell.1.wait_timeout(rung, Duration::from_secs(10)).unwrap();
            assert!(!timeout.timed_out(), "no wake with {read} of {MESSAGES} read");
            rung = guard;
        }
        *rung = false;
        drop(rung);
        loop {
            batch.clear();
            let taken = it.came.queue.take(100, &mut batch);
            read += taken.messages;
            for message in batch.messages() {
                let sent = u64::from_le_bytes(message.value().unwrap().try_into().unwrap());
                late.push(u64::try_from(start.elapsed().as_nanos()).unwrap() - sent);
            }
            if !taken.more {
                break;
            }
        }
        assert!(Instant::now() < deadline);
    }
    producing.join().unwrap();
    late.sort_unstable();
    eprintln!(
        "wake: {MESSAGES} messages, {} wakes, latency p50 {} us, p99 {} us",
        wakes.load(Ordering::Relaxed),
        late[late.len() / 2] / 1000,
        late[late.len() * 99 / 100] / 1000
    );
    it.end();
}

#[test]
fn a_dropped_queue_is_not_called_any_more() {
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut it = alone("dropped", |_, _| ());
    let dropped = Arc::new(AtomicUsize::new(0));
    let wakes = Arc::new(AtomicUsize::new(0));
    let (gone, counted) = (Gone(dropped.clone()), wakes.clone());
    it.came.queue.on_ready(Arc::new(move || {
        let _kept = &gone;
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    // A second wake takes the place of the first.
    let other = Arc::new(AtomicUsize::new(0));
    let counted = other.clone();
    it.came.queue.on_ready(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!((dropped.load(Ordering::Relaxed), wakes.load(Ordering::Relaxed)), (1, 1));
    // Whoever is called takes until nothing is left: only then there is a next call. The first entry of a queue is
    // librdkafka's own, the barrier of the assignment.
    while it.came.queue.take(10, &mut Batch::new()).more {}
    it.shared.eye.produce(&it.topic, &[Message::new("k", "v")]).unwrap();
    until("the second wake", || other.load(Ordering::Relaxed) >= 2);
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    it.end();
}
