use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use wasmill_core::BatchFull;

use super::*;
use crate::error::Code;
use crate::list::list_of;
use crate::mock::MockBroker;
use crate::native::ClientRef;
use crate::plain::{PlainMessage, PlainProducer};
use crate::settings::ClientSettings;

/// An entry that no library made.
pub(crate) struct Made {
    pub(super) offset: i64,
    pub(super) code: Code,
    value: &'static [u8],
}

impl Made {
    pub(super) fn bytes(&self) -> usize {
        self.value.len()
    }

    pub(super) fn gather(&self, batch: &mut Batch) -> Result<(), BatchFull> {
        batch.push(None, Some(self.value), self.offset, Some(7), 1)
    }
}

/// A source that hands out what the test puts in.
#[derive(Default, Clone)]
struct Fake {
    entries: Arc<Mutex<VecDeque<Made>>>,
    watched: Arc<AtomicUsize>,
}

impl Fake {
    fn put(&self, offsets: impl IntoIterator<Item = i64>) {
        self.entries.lock().extend(offsets.into_iter().map(message));
    }

    fn fail(&self, offset: i64, err: E) {
        self.entries.lock().push_back(Made { code: Code(err as i32), ..message(offset) });
    }
}

fn message(offset: i64) -> Made {
    Made { offset, code: Code::NONE, value: b"0123456789" }
}

impl Take for Fake {
    fn take(&mut self, room: usize, into: &mut VecDeque<Held>) -> usize {
        let mut entries = self.entries.lock();
        let taken = room.min(entries.len());
        into.extend(entries.drain(..taken).map(Held::Made));
        taken
    }

    fn watch(&mut self, wake: Option<Wake>) {
        self.watched.store(usize::from(wake.is_some()), Ordering::Relaxed);
    }
}

struct At(i64);

impl Positions for At {
    fn position(&self, _: &TopicPartition) -> Option<i64> {
        Some(self.0)
    }
}

fn queue(start: i64, position: i64) -> (Fake, Arc<Slot>, PartitionQueue) {
    let fake = Fake::default();
    let id = TopicPartition::new("t", 0);
    let slot = Arc::new(Slot::new(id, 1, Box::new(fake.clone()), start, None));
    (fake, slot.clone(), PartitionQueue::new(slot, Arc::new(At(position))))
}

fn take(queue: &mut PartitionQueue, max: usize) -> (Vec<i64>, Taken) {
    let mut batch = Batch::new();
    let taken = queue.take(max, &mut batch);
    let offsets: Vec<_> = batch.messages().map(|message| message.offset).collect();
    assert_eq!(offsets.len(), taken.messages);
    (offsets, taken)
}

#[test]
fn hands_out_no_message_twice_though_the_library_does() {
    let (fake, _, mut queue) = queue(10, 0);
    fake.put([9, 10, 11]);
    assert_eq!(take(&mut queue, 5).0, [10, 11]);
    fake.put([10, 11, 12, 14]);
    assert_eq!(take(&mut queue, 5).0, [12, 14]);
    assert_eq!(queue.stale(), 3);
}

#[test]
fn looks_on_when_all_that_came_was_stale() {
    let (fake, _, mut queue) = queue(100, 0);
    fake.put(90..102);
    assert_eq!(take(&mut queue, 4).0, [100, 101], "an empty answer would end the reader's round");
}

#[test]
fn takes_no_more_from_the_library_while_something_is_held() {
    let (fake, slot, mut queue) = queue(0, 0);
    fake.put(0..8);
    let mut batch = Batch::new();
    let taken = queue.take_bounded(8, 25, &mut batch);
    assert!(taken.messages == 2 && taken.more);
    assert_eq!(slot.lock().held.len(), 6);
    fake.put(8..100);
    for _ in 0..3 {
        batch.clear();
        assert_eq!(queue.take_bounded(8, 25, &mut batch).messages, 2);
        assert!(slot.lock().held.len() <= 6, "no more than was taken at once");
    }
    assert_eq!(take(&mut queue, 20).0.len(), 20, "a batch is full, across what was held");
}

#[test]
fn says_whether_there_is_more() {
    let (fake, _, mut queue) = queue(0, 0);
    fake.put(0..5);
    assert!(take(&mut queue, 3).1.more);
    assert!(!take(&mut queue, 3).1.more);
    fake.put(5..8);
    assert!(take(&mut queue, 3).1.more, "a full batch says nothing about what is behind it");
}

#[test]
fn messages_before_an_error_are_handed_out_and_none_behind_it_before_a_seek() {
    let (fake, slot, mut queue) = queue(0, 3);
    fake.put([0, 1]);
    fake.fail(2, E::RD_KAFKA_RESP_ERR__BAD_MSG);
    fake.put([3]);
    let (offsets, taken) = take(&mut queue, 10);
    assert_eq!(offsets, [0, 1]);
    assert!(matches!(taken.problem, Some(QueueProblem::Other { ref code, .. }) if code == "_BAD_MSG"));
    fake.put([4]);
    assert_eq!(take(&mut queue, 10), (vec![], Taken::default()), "message 2 would be skipped");
    assert_eq!(queue.idle_position(), None, "the library's position is one too far");
    fake.entries.lock().clear();
    slot.lock().moved(2);
    fake.put([2, 3, 4]);
    assert_eq!(take(&mut queue, 10).0, [2, 3, 4]);
}

#[test]
fn out_of_range_is_told_apart_and_told_once() {
    let (fake, _, mut queue) = queue(0, 0);
    fake.fail(7, E::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET);
    assert_eq!(take(&mut queue, 10).1.problem, Some(QueueProblem::OutOfRange { offset: 7 }));
    assert_eq!(take(&mut queue, 10).1.problem, None);
}

#[test]
fn a_seek_drops_what_was_held_back() {
    let (fake, slot, mut queue) = queue(0, 0);
    fake.put(0..6);
    let mut batch = Batch::new();
    assert_eq!(queue.take_bounded(6, 25, &mut batch).messages, 2);
    assert!(slot.lock().settled_floor().is_none(), "four messages are held back");
    slot.lock().moved(1);
    fake.put(1..4);
    assert_eq!(take(&mut queue, 10).0, [1, 2, 3]);
}

#[test]
fn a_held_back_message_holds_the_idle_position_back() {
    let (fake, _, mut queue) = queue(0, 6);
    fake.put(0..6);
    let mut batch = Batch::new();
    queue.take_bounded(6, 25, &mut batch);
    assert_eq!(queue.idle_position(), None, "messages 2 to 5 were taken from the library and not handed out");
    take(&mut queue, 10);
    assert_eq!(queue.idle_position(), Some(NextOffset::at(6)));
}

#[test]
fn a_position_below_what_was_handed_out_is_no_idle_position() {
    let (fake, _, mut queue) = queue(0, 2);
    fake.put(0..6);
    take(&mut queue, 10);
    assert_eq!(queue.idle_position(), None);
}

#[test]
fn a_retired_queue_yields_nothing_and_calls_nobody() {
    let (fake, slot, mut queue) = queue(0, 0);
    queue.on_ready(Arc::new(|| ()));
    assert_eq!(fake.watched.load(Ordering::Relaxed), 1);
    fake.put(0..3);
    drop(slot.retire());
    assert_eq!(fake.watched.load(Ordering::Relaxed), 0);
    assert_eq!(take(&mut queue, 10), (vec![], Taken::default()));
    assert!(slot.retire().is_none() && queue.idle_position().is_none());
}

#[test]
fn a_reader_never_waits_for_a_seek() {
    let (fake, slot, mut queue) = queue(0, 0);
    fake.put(0..3);
    let seeking = slot.lock();
    let (answer, answered) = std::sync::mpsc::channel();
    std::thread::spawn(move || answer.send(take(&mut queue, 10)));
    let taken = answered.recv_timeout(Duration::from_secs(5)).expect("the reader waits");
    drop(seeking);
    assert_eq!(taken, (vec![], Taken::default()));
}

#[test]
fn whoever_begins_to_listen_is_called_for_what_is_there_already() {
    let (_, _, mut queue) = queue(0, 0);
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    queue.on_ready(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(called.load(Ordering::Relaxed), 1);
}

#[test]
fn headers_and_absent_values_reach_the_batch() {
    const SOON: Duration = Duration::from_secs(20);
    let broker = MockBroker::start(1).unwrap();
    broker.create_topic("t", 1).unwrap();
    let settings = ClientSettings { bootstrap: broker.bootstrap().into(), ..ClientSettings::default() };
    let headers = vec![("name".to_owned(), None), ("name".to_owned(), Some(b"2".to_vec()))];
    let sent = PlainMessage { topic: "t".into(), key: Some(Vec::new()), headers, ..PlainMessage::default() };
    PlainProducer::open(&settings, SOON).unwrap().send(&[sent]).pop().unwrap().unwrap();

    let id = TopicPartition::new("t", 0);
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).set("group.id", "g").create().unwrap();
    // SAFETY: the consumer is made before the source and dropped after it.
    let client = unsafe { ClientRef::new(consumer.client().native_ptr()) }.unwrap();
    let mut source = SplitQueue::cut(client, &id).unwrap();
    consumer.assign(&list_of([(&id, 0)]).unwrap()).unwrap();
    let (mut held, deadline) = (VecDeque::new(), Instant::now() + SOON);
    while source.take(1, &mut held) == 0 {
        assert!(Instant::now() < deadline, "no message");
        assert!(consumer.poll(Duration::from_millis(10)).is_none(), "it came past its queue");
    }
    let mut batch = Batch::new();
    held[0].gather(&mut batch).unwrap();
    let message = batch.message(0);
    assert_eq!((message.key(), message.value()), (Some(&b""[..]), None));
    assert_eq!(message.headers().collect::<Vec<_>>(), [(&b"name"[..], None), (&b"name"[..], Some(&b"2"[..]))]);
}
