//! A lane, a member's delivery and a pipeline's state on fakes, and the clock that drives them.
//!
//! Nothing here runs by itself: the lane does its rounds in [`Rig::run`], the committer its turns in [`Rig::commit`], and
//! time passes in [`Rig::wait`]. The partition is number 0 of the topic `orders` unless a test says otherwise.

mod handler;
mod offsets;
mod overseer;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use wasmill_config as config;
use wasmill_core::partition::{Sought, Start, View};
use wasmill_core::{CommitNote, NextOffset};
use wasmill_kafka::TopicPartition;

pub use handler::{Calls, FakeHandler, crash};
pub use offsets::{Coordinator, Says, again, closed, denied};
pub use overseer::Watcher;
pub use sink::Producer;
pub use source::Log;

use crate::at_least_once::AtLeastOnce;
use crate::clock;
use crate::counters::PartitionCounters;
use crate::deployed::Deployed;
use crate::handle::Handle;
use crate::lane::{Assignment, Command, Lane};
use crate::lanes::Lanes;
use crate::member::MemberShared;
use crate::partition::Partition;
use crate::shared::{Event, PipelineShared, ProducerRest};
use crate::status::PartitionStatus;
use crate::version::Version;
use crate::versions::{Candidate, Gets, Overseer};
use crate::worker::Worker;

/// What stands in the pipeline's table unless the test writes its own line with that key.
const SETTINGS: [(&str, &str); 4] = [
    ("output", r#"output = { topic = "out", topics = ["out-1"] }"#),
    ("commit", r#"commit.min_interval = "0s""#),
    ("retry", r#"retry = { attempts = 3, backoff = "10s", max_delay = "60s" }"#),
    ("breaker", "breaker = false"),
];

/// Dead letters that are too large go without their value.
pub const STRIP: &str = "dead_letter = { topic = \"dead\", oversized = \"strip\" }";

/// A pipeline's settings, with these lines in its table.
pub fn settings(lines: &str) -> config::Pipeline {
    let mut text = "[kafka]\nbootstrap = \"broker:9092\"\n[pipelines.test]\n".to_owned();
    text += "topics = [\"orders\"]\ngroup = \"g\"\nhandler = \"h.wasm\"\n";
    text += lines;
    text += "\n";
    for (key, line) in SETTINGS {
        if !lines.contains(key) {
            text += line;
            text += "\n";
        }
    }
    if !lines.contains("on_exhausted") && !lines.contains("dead_letter") {
        text += "dead_letter = \"dead\"\n";
    }
    config::parse("wasmill.toml", &text).expect("a good configuration").config.pipelines.remove(0)
}

/// Partition number `number`.
pub fn orders(number: i32) -> TopicPartition {
    TopicPartition::new("orders", number)
}

/// How long a test waits for what has to happen. Only one that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What another thread tells.
pub fn soon<T>(told: &std::sync::mpsc::Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).expect("another thread tells it in time")
}

/// Waits until another thread has done something.
pub fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "another thread does it in time");
        std::thread::yield_now();
    }
}

pub struct Rig {
    pub shared: Arc<PipelineShared>,
    pub handle: Handle,
    pub delivery: Arc<AtLeastOnce>,
    pub lane: Arc<Lane>,
    pub worker: Worker,
    pub producer: Producer,
    pub coordinator: Arc<Coordinator>,
    pub handler: Arc<FakeHandler>,
    logs: BTreeMap<i32, Log>,
    calls: Calls,
    events: mpsc::UnboundedReceiver<Event>,
    events_in: mpsc::UnboundedSender<Event>,
    /// How often the lane was woken.
    wakes: Arc<AtomicUsize>,
}

impl Rig {
    /// A pipeline with these lines in its table, and no partition yet.
    pub fn new(lines: &str) -> Self {
        Self::with(lines, false)
    }

    /// The same; the versions of a group are agreed on.
    pub fn of_group(lines: &str) -> Self {
        Self::with(lines, true)
    }

    /// A pipeline with the default settings, these messages from offset 5 on, and partition 0 assigned there.
    pub fn reading(values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new("").read(values)
    }

    /// With these messages from offset 5 on, and partition 0 assigned there.
    pub fn read(mut self, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.log(0).write(5, values);
        self.assign(0, 5);
        self
    }

    fn with(lines: &str, grouped: bool) -> Self {
        clock::reset();
        let settings = settings(lines);
        let (events_in, events) = mpsc::unbounded_channel();
        let calls = Calls::default();
        let handler = FakeHandler::new("v1", calls.clone());
        let has_dead_letter = matches!(settings.on_exhausted, config::OnExhausted::DeadLetter(_));
        let producer = new_producer(has_dead_letter, &events_in);
        let version = Version::new(handler.clone(), Arc::new(settings.clone()), "test".to_owned());
        let version = if grouped { version.at(1) } else { version };
        let publisher = producer.publisher();
        let shared = Arc::new(PipelineShared::new(settings, (version, grouped), publisher, None, events_in.clone()));
        let lanes = Arc::new(Lanes::new(shared.clone()));
        let member = Arc::new(MemberShared::new(0, shared.clone(), lanes.clone()));
        let delivery = member.delivery.clone();
        let coordinator = Arc::new(Coordinator::default());
        delivery.start();
        delivery.commit_with(Some(coordinator.clone()));
        let (shutdown, _) = watch::channel(false);
        let handle =
            Handle { shared: shared.clone(), lanes, members: Arc::new(vec![member]), shutdown: Arc::new(shutdown) };
        let lane = Arc::new(Lane::new(0));
        let worker = Worker::new(lane.clone(), shared.clone());
        Self {
            shared,
            handle,
            delivery,
            lane,
            worker,
            producer,
            coordinator,
            handler,
            logs: BTreeMap::new(),
            calls,
            events,
            events_in,
            wakes: Arc::default(),
        }
    }

    /// The messages of a partition.
    pub fn log(&mut self, number: i32) -> Log {
        self.logs.entry(number).or_default().clone()
    }

    /// What a partition begins with that the group has committed at `at`.
    pub fn start(&self, at: i64) -> Start {
        let settings = &self.shared.started_with;
        let at = NextOffset::at(at);
        Start {
            generation: self.shared.next_generation(),
            mode: settings.commit,
            window: settings.span.leaving_room_for(settings.batch_messages as u64, settings.batch_bytes as u64),
            at,
            committed: Some(at),
            opening: false,
            note: CommitNote::default(),
            topic_id: None,
            running: self.shared.is_grouped().then(|| self.shared.deployed().version.epoch),
        }
    }

    /// Partition `number` comes to the lane, committed at `at`.
    pub fn assign(&mut self, number: i32, at: i64) -> Arc<Partition> {
        self.assign_with(number, self.start(at))
    }

    /// Partition `number` comes to the lane.
    pub fn assign_with(&mut self, number: i32, start: Start) -> Arc<Partition> {
        let assignment = self.take_up(number, start);
        let partition = assignment.partition.clone();
        let wakes = self.wakes.clone();
        partition.served_by(Arc::new(move || {
            wakes.fetch_add(1, Ordering::Relaxed);
        }));
        self.worker.obey(Command::Assign(Box::new(assignment)));
        partition
    }

    /// Partition `number` comes to a lane with a thread of its own, which works by itself.
    pub fn assign_to_thread(&mut self, number: i32, at: i64) -> Arc<Lane> {
        self.assign_to_thread_with(number, self.start(at))
    }

    /// The same, with a start.
    pub fn assign_to_thread_with(&mut self, number: i32, start: Start) -> Arc<Lane> {
        let assignment = self.take_up(number, start);
        let lane = self.handle.lanes.place(0, &orders(number)).expect("a thread");
        assignment.partition.served_by(lane.waker());
        lane.tell(Command::Assign(Box::new(assignment)));
        lane
    }

    fn take_up(&mut self, number: i32, start: Start) -> Assignment {
        let (generation, at) = (start.generation, start.at.get());
        let counters = PartitionCounters::register("test", &orders(number));
        let dirty = self.delivery.holdings.dirty.clone();
        let partition = Arc::new(Partition::new(orders(number), 0, 0, start, dirty, counters));
        self.delivery.take_up(std::slice::from_ref(&partition), generation);
        Assignment { partition, source: self.log(number).source(at), delivery: self.delivery.clone() }
    }

    /// The lane gives partition `number` back.
    pub fn release(&mut self, number: i32) {
        let (done, _hears) = std::sync::mpsc::channel();
        let partitions = self.handle.partition(&orders(number)).into_iter().collect();
        self.worker.obey(Command::Release { partitions, done });
    }

    /// The partition, while it is held.
    pub fn partition(&self, number: i32) -> Arc<Partition> {
        self.handle.partition(&orders(number)).expect("it is held")
    }

    /// The rig's time.
    pub fn now(&self) -> Instant {
        clock::now()
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) {
        clock::advance(time);
    }

    /// Time passes until the lane looks again by itself.
    pub fn wait_until(&mut self, when: Instant) {
        clock::advance(when.saturating_duration_since(self.now()));
    }

    /// One round of the lane. `None`: something was done. Else when it looks again; `far` if nothing says when.
    pub fn round(&mut self) -> Option<Instant> {
        let now = self.now();
        self.worker.round(now, now + FAR)
    }

    /// Rounds until there is nothing to do; the time when the lane looks again by itself, if it does.
    pub fn run(&mut self) -> Option<Instant> {
        for _ in 0..1000 {
            if let Some(look) = self.round() {
                // A rewind and a move ask to be looked at again at once.
                if look > self.now() {
                    return (look < self.now() + FAR / 2).then_some(look);
                }
            }
        }
        panic!("the lane goes round and round");
    }

    /// How often the lane was woken since this was asked last.
    pub fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::Relaxed)
    }

    /// One turn of the committer.
    pub fn commit(&self) {
        let marked = self.delivery.holdings.dirty.take(Duration::ZERO, false);
        self.delivery.go_on(marked, self.now());
    }

    /// Rounds, confirmations and commits until nothing changes any more.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            self.run();
            self.producer.confirm();
            self.commit();
        }
    }

    /// The calls so far: `5 6#2 7` is a call of three messages, the second at its second attempt. With `p1` in front for
    /// another partition than 0, `v2` for another version than the first.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().clone()
    }

    /// The calls since this was asked last.
    pub fn new_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock())
    }

    /// What partition 0 has complete.
    pub fn watermark(&self) -> i64 {
        self.partition(0).lock().tracker().watermark().get()
    }

    /// Status of partition `number`.
    pub fn status(&self, number: i32) -> PartitionStatus {
        let partitions = self.handle.status(&self.shared.deployed()).work.partitions;
        partitions.into_iter().find(|one| one.partition == number).expect("it is held")
    }

    /// Status of partition 0 in short: `running`, `waiting 7#2`, `stopped 7: why`.
    pub fn state(&self) -> String {
        let status = self.status(0);
        let mut text = status.state.to_string();
        if let Some(offset) = status.offset {
            text += &format!(" {offset}");
        }
        if let Some(attempt) = status.attempt {
            text += &format!("#{attempt}");
        }
        if let Some(reason) = status.reason {
            text += &format!(": {reason}");
        }
        text
    }

    /// As the machine shows partition 0.
    pub fn view(&self) -> View {
        self.partition(0).lock().view()
    }

    /// What the control loop heard of since this was asked last.
    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    /// An operator starts partition 0 again, behind the message `skip` if there is one.
    pub fn resume(&mut self, skip: Option<i64>) -> Result<i64, String> {
        let (done, mut answer) = oneshot::channel();
        let partition = self.partition(0);
        self.worker.obey(Command::Resume { partition, skip, done });
        answer.try_recv().expect("answered at once")
    }

    /// An operator moves partition 0.
    pub fn seek(&self, to: i64) -> Seek {
        let (done, answer) = oneshot::channel();
        self.partition(0).seek(NextOffset::at(to), self.now() + Duration::from_secs(10), done);
        Seek(answer)
    }

    /// A producer that nobody has yet.
    pub fn other_producer(&self) -> Producer {
        let has_dead_letter = matches!(self.shared.started_with.on_exhausted, config::OnExhausted::DeadLetter(_));
        new_producer(has_dead_letter, &self.events_in)
    }

    /// Another producer takes over, and the lanes are told.
    pub fn replace_producer(&mut self) -> Producer {
        let new = self.other_producer();
        self.shared.replace_publisher(new.publisher());
        self.worker.obey(Command::RewindAll);
        std::mem::replace(&mut self.producer, new)
    }

    /// There is no producer, or there is one again.
    pub fn producer_rests(&self, rests: bool) {
        let rest = || ProducerRest { reason: "broken".to_owned(), failures: 1, until: self.now() };
        self.shared.set_producer_rest(rests.then(rest));
    }

    /// A handler whose calls are recorded with the others.
    pub fn handler(&self, name: &'static str) -> Arc<FakeHandler> {
        FakeHandler::new(name, self.calls.clone())
    }

    /// A version of it.
    pub fn version(&self, handler: &Arc<FakeHandler>) -> Version {
        Version::new(handler.clone(), Arc::new(self.shared.started_with.clone()), "test".to_owned())
    }

    /// Puts a version in force; the lane passes on with its next round.
    pub fn deploy(&self, version: Version) -> Arc<Deployed> {
        self.shared.deploy(Arc::new(version), None, [0].into_iter())
    }

    /// Puts a candidate beside the version that serves, and somebody who looks on.
    pub fn try_out(&self, version: Version, gets: Gets) -> (Arc<Candidate>, Arc<Watcher>) {
        let candidate = Arc::new(Candidate::new(Arc::new(version), gets));
        let watcher = Watcher::new(Some(candidate.clone()));
        self.look_on(&watcher);
        (candidate, watcher)
    }

    /// Somebody looks on at the version that serves.
    pub fn look_on(&self, watcher: &Arc<Watcher>) {
        let overseer: Arc<dyn Overseer> = watcher.clone();
        let serving = self.shared.deployed().version.clone();
        self.shared.deploy(serving, Some(overseer), [0].into_iter());
    }
}

/// Further than any test looks.
const FAR: Duration = Duration::from_secs(1_000_000);

fn new_producer(has_dead_letter: bool, events: &mpsc::UnboundedSender<Event>) -> Producer {
    let events = events.clone();
    let on_fatal = move |reason: &str| {
        let _ = events.send(Event::ProducerFailed { reason: reason.to_owned() });
    };
    Producer::new(2, has_dead_letter, Box::new(on_fatal))
}

/// A move that an operator waits for.
pub struct Seek(oneshot::Receiver<Result<Sought, String>>);

impl Seek {
    /// The answer, if there is one; an error in words also if nobody can answer any more.
    pub fn answer(&mut self) -> Option<Result<Sought, String>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err("nobody answers".to_owned())),
        }
    }
}
