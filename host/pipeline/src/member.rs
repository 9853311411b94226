//! A member: one consumer of the group, its thread, and what happens when partitions come and go.
//!
//! librdkafka calls back on the thread that polls, before a change takes effect, and waits. What must have happened by
//! then happens right here, in the order in which it is written: when partitions come, their queues are with a lane;
//! when they go, nothing of them is handed over, in flight or uncommitted any more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmill_core::partition::{Closed, Event as Happened, Start};
use wasmill_core::{CommitNote, Generation};
use wasmill_kafka::{
    AssignedPartition, ClientError, Member, MemberEvent, MemberHandle, MemberSettings, RebalanceHandler, TopicPartition,
};

use crate::at_least_once::AtLeastOnce;
use crate::counters::PartitionCounters;
use crate::delivery::{Delivery, Outcome};
use crate::kafka::QueueSource;
use crate::lane::{Assignment, Command, Lane};
use crate::lanes::Lanes;
use crate::partition::Partition;
use crate::shared::{Event, PipelineShared};

/// How long one poll waits; callbacks and events end it early.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// After a call was cancelled the lane answers at the next tick of the epoch clock; this is only a bound.
const CANCELLED_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// One member's doings, shared between its thread, its committer and status.
pub struct MemberShared {
    /// Number within the pipeline.
    pub index: usize,
    shared: Arc<PipelineShared>,
    lanes: Arc<Lanes>,
    /// What it holds, and how that is published and committed.
    pub delivery: Arc<AtLeastOnce>,
    handle: Mutex<Option<MemberHandle>>,
    closing: AtomicBool,
    /// When it was asked to leave.
    asked: Mutex<Option<Instant>>,
    /// It closed before everything that it held was settled and committed.
    overdue: AtomicBool,
    joined: AtomicBool,
    doing: Mutex<String>,
    /// What the client last reported of its connections and permissions, until it is in the group again.
    trouble: Mutex<Option<String>>,
    /// Topics that were deleted and are not there yet.
    gone: Mutex<BTreeSet<String>>,
    last_poll: Mutex<Instant>,
}

impl MemberShared {
    /// A member that has not joined yet.
    pub fn new(index: usize, shared: Arc<PipelineShared>, lanes: Arc<Lanes>) -> Self {
        Self {
            index,
            delivery: Arc::new(AtLeastOnce::new(shared.clone())),
            shared,
            lanes,
            handle: Mutex::default(),
            closing: AtomicBool::new(false),
            asked: Mutex::default(),
            overdue: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            doing: Mutex::new("joining".to_owned()),
            trouble: Mutex::default(),
            gone: Mutex::default(),
            last_poll: Mutex::new(Instant::now()),
        }
    }

    /// Asks the member to leave the group.
    pub fn close(&self) {
        self.asked.lock().get_or_insert_with(Instant::now);
        self.closing.store(true, Ordering::Release);
    }

    /// Its threads are gone; it may join again.
    pub fn reopen(&self) {
        *self.asked.lock() = None;
        self.overdue.store(false, Ordering::Release);
        self.closing.store(false, Ordering::Release);
    }

    /// Whether it was asked to close and left something behind that is handled again.
    pub fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::Acquire)
    }

    /// What it is doing, for status.
    pub fn doing(&self) -> String {
        self.doing.lock().clone()
    }

    /// Whether the group has given it its share (which may be none) since it last joined.
    pub fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// What the client last reported, while it is not in the group or no broker answers.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// How long its thread has not polled: the watchdog's measure, since any thread's poll resets librdkafka's.
    pub fn silent_for(&self) -> Duration {
        self.last_poll.lock().elapsed()
    }

    /// The lane that serves a partition.
    pub fn lane_of(&self, id: &TopicPartition) -> Option<Arc<Lane>> {
        self.lanes.lane_of(self.index, id)
    }

    fn has_client(&self, handle: &MemberHandle) {
        *self.handle.lock() = Some(handle.clone());
        self.delivery.commit_with(Some(Arc::new(handle.clone())));
    }

    /// The client, while there is one.
    pub fn handle(&self) -> Option<MemberHandle> {
        self.handle.lock().clone()
    }

    /// Topics that were deleted and are not there yet.
    pub fn topics_gone(&self) -> Vec<String> {
        self.gone.lock().iter().cloned().collect()
    }

    /// What the brokers say of a topic that is read. A client learns of a new topic by itself after minutes only, so the
    /// member joins again with a new one, which finds the first positions anew.
    fn hear_of_topic(&self, topic: String, news: &News) {
        let name = &self.shared.name;
        match news {
            News::Gone => {
                tracing::error!(pipeline = %name, topic, "topic is gone; its partitions wait until it is there again");
                self.orphan(&topic, &format!("topic {topic} was deleted; it waits until it is made again"));
                self.gone.lock().insert(topic);
            }
            News::There => {
                // If partitions of it came meanwhile, the group has noticed, too.
                if self.gone.lock().remove(&topic) {
                    self.renew(format!("topic {topic}, which was deleted, is there again"));
                }
            }
            News::MadeAgain => {
                tracing::error!(pipeline = %name, topic, "topic was deleted and made again; its partitions begin at its first messages");
                self.orphan(&topic, &format!("topic {topic} was deleted and made again"));
                self.renew(format!("topic {topic} was deleted and made again"));
            }
        }
    }

    fn orphan(&self, topic: &str, reason: &str) {
        for partition in self.delivery.holdings.all().iter().filter(|partition| *partition.id.topic == *topic) {
            partition.close(Closed::Orphaned(reason.to_owned()));
        }
    }

    fn renew(&self, reason: String) {
        let _ = self.shared.events.send(Event::MemberRenewed { member: self.index, reason });
    }

    fn says(&self, doing: impl Into<String>) {
        *self.doing.lock() = doing.into();
    }

    /// Takes up one assigned partition.
    fn take_up(&self, generation: Generation, handle: &MemberHandle, assigned: AssignedPartition) {
        let AssignedPartition { id, mut queue, start, note, committed, needs_first_commit, reset, topic_id } = assigned;
        let Some(source) = self.shared.sources.iter().position(|topic| **topic == *id.topic) else {
            tracing::error!(pipeline = %self.shared.name, partition = %id, "assigned a partition of a topic that was not asked for");
            return;
        };
        if let Some(reset) = reset {
            tracing::warn!(pipeline = %self.shared.name, partition = %id, start = start.get(), reason = reset, "position reset");
        }
        self.gone.lock().remove(&*id.topic);
        if let Some(topic_id) = &topic_id {
            self.shared.note_topic_id(&id.topic, topic_id);
        }
        let settings = &self.shared.started_with;
        let start = Start {
            generation,
            mode: settings.commit,
            at: start,
            committed,
            opening: needs_first_commit,
            note: CommitNote::decode(&note),
            window: settings.span.leaving_room_for(settings.batch_messages as u64, settings.batch_bytes as u64),
            topic_id,
            running: self.shared.is_grouped().then(|| self.shared.deployed().version.epoch),
        };
        let counters = PartitionCounters::register(&self.shared.name, &id);
        let dirty = self.delivery.holdings.dirty.clone();
        let partition = Partition::new(id.clone(), source as u32, self.index, start, dirty, counters);
        let partition = Arc::new(partition);
        let lane = match self.lanes.place(self.index, &id) {
            Ok(lane) => lane,
            Err(error) => {
                tracing::error!(pipeline = %self.shared.name, partition = %id, %error, "no thread for a lane");
                return;
            }
        };
        let wake = lane.waker();
        partition.served_by(wake.clone());
        queue.on_ready(wake);
        self.delivery.take_up(std::slice::from_ref(&partition), generation);
        let source = Box::new(QueueSource::new(queue, handle.clone()));
        lane.tell(Command::Assign(Box::new(Assignment { partition, source, delivery: self.delivery.clone() })));
    }

    /// Gets the partitions back from their lanes. A running call is let finish until `deadline`, then cancelled. True if
    /// none had to be.
    fn get_back(&self, gone: &[Arc<Partition>], deadline: Instant, lost: bool) -> bool {
        for partition in gone {
            partition.apply(if lost { Happened::LeaveAtOnce } else { Happened::Leave });
        }
        let mut lanes: Vec<(Arc<Lane>, Vec<Arc<Partition>>)> = Vec::new();
        for partition in gone {
            let Some(lane) = self.lane_of(&partition.id) else { continue };
            match lanes.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &lane)) {
                Some((_, partitions)) => partitions.push(partition.clone()),
                None => lanes.push((lane, vec![partition.clone()])),
            }
        }
        let (done, answers) = mpsc::channel();
        for (lane, partitions) in &lanes {
            lane.tell(Command::Release { partitions: partitions.clone(), done: done.clone() });
        }
        drop(done);
        let mut left = lanes.len();
        let mut cancelled = lost;
        if lost {
            lanes.iter().for_each(|(lane, _)| lane.cancel());
        }
        let mut until = if lost { Instant::now() + CANCELLED_CALL_TIMEOUT } else { deadline };
        while left > 0 {
            match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) => left -= 1,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) if !cancelled => {
                    // Politeness is over: the group waits for us.
                    gone.iter().for_each(|partition| partition.apply(Happened::LeaveAtOnce));
                    lanes.iter().for_each(|(lane, _)| lane.cancel());
                    cancelled = true;
                    until = Instant::now() + CANCELLED_CALL_TIMEOUT;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    tracing::error!(pipeline = %self.shared.name, lanes = left, "lanes did not let go of revoked partitions");
                    break;
                }
            }
        }
        gone.iter().for_each(|partition| self.lanes.release(self.index, &partition.id));
        !cancelled
    }
}

impl RebalanceHandler for MemberShared {
    fn joined(&self) {
        self.joined.store(true, Ordering::Release);
        *self.trouble.lock() = None;
        self.says("in the group");
    }

    fn begins_anew(&self, id: &TopicPartition) -> bool {
        self.shared.begins_anew(id)
    }

    fn former_topic_id(&self, topic: &str) -> Option<String> {
        self.shared.first_topic_id(topic)
    }

    fn assigned(&self, handle: &MemberHandle, partitions: Vec<AssignedPartition>) {
        self.has_client(handle);
        let generation = self.shared.next_generation();
        let list = names(partitions.iter().map(|assigned| &assigned.id));
        tracing::info!(
            pipeline = %self.shared.name, member = self.index, generation = generation.0, partitions = %list, "assigned"
        );
        self.says(format!("generation {}", generation.0));
        let first_commits = partitions.iter().any(|assigned| assigned.needs_first_commit);
        for assigned in partitions {
            self.take_up(generation, handle, assigned);
        }
        if first_commits {
            self.delivery.holdings.dirty.mark_urgent();
        }
    }

    fn revoked(&self, handle: &MemberHandle, partitions: &[TopicPartition], lost: bool) {
        if lost {
            // The session is over: until the group has given it a share again, it is no member.
            self.joined.store(false, Ordering::Release);
            self.says("joining again, its session was lost");
        }
        self.part_with(partitions, lost, || self.has_client(handle));
    }
}

impl MemberShared {
    /// Partitions leave: nothing of them is delivered, in flight or uncommitted any more, or it counts for nothing.
    /// `has_client` sees to it that the last commit goes through the client that gives them back.
    pub(crate) fn part_with(&self, partitions: &[TopicPartition], lost: bool, has_client: impl FnOnce()) {
        let started = Instant::now();
        let gone: Vec<Arc<Partition>> = {
            let live = self.delivery.holdings.live();
            partitions.iter().filter_map(|id| live.get(id).cloned()).collect()
        };
        let list = names(partitions.iter());
        if lost {
            // Somebody else may have them by now: no completion that is still to come may count here.
            gone.iter().for_each(|partition| partition.close(Closed::Lost));
        }
        // Waiting for the group to come to rest counts: who asked the member to leave waits no longer than this.
        let deadline = self.asked.lock().unwrap_or(started) + self.shared.started_with.drain_timeout;
        let answered = self.get_back(&gone, deadline, lost);
        let drained = !lost && self.delivery.drain(&gone, deadline);
        // From here on the periodic commits know nothing of them; what they complete later comes too late.
        has_client();
        let outcome = self.delivery.end(&gone, lost);
        let settled = if lost {
            gone.iter().all(|one| one.lock().is_persisted())
        } else {
            answered && drained && outcome == Outcome::Persisted
        };
        if !settled && self.closing.load(Ordering::Acquire) {
            self.overdue.store(true, Ordering::Release);
        }
        gone.iter().for_each(|partition| partition.close(Closed::Revoked));
        let commit = match outcome {
            _ if lost => "none".to_owned(),
            Outcome::Persisted => "done".to_owned(),
            // An ordinary end: what was not committed is delivered again to the next owner.
            Outcome::Restored(reason) | Outcome::Unknown(reason) => reason,
        };
        tracing::info!(
            pipeline = %self.shared.name, member = self.index, partitions = %list, lost, drained, commit,
            took_ms = started.elapsed().as_millis() as u64, "revoked"
        );
    }
}

/// `orders/0, orders/3`.
fn names<'a>(ids: impl Iterator<Item = &'a TopicPartition>) -> String {
    ids.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What there is to hear of a topic.
enum News {
    Gone,
    There,
    MadeAgain,
}

/// A member's threads.
pub struct Running {
    /// Its shared part.
    pub member: Arc<MemberShared>,
    poller: thread::JoinHandle<()>,
    committer: thread::JoinHandle<()>,
}

impl Running {
    /// Joins the group and starts the threads.
    pub fn start(
        member: Arc<MemberShared>,
        settings: &MemberSettings,
        shared: &Arc<PipelineShared>,
    ) -> Result<Self, ClientError> {
        member.joined.store(false, Ordering::Release);
        // The new client asks for itself.
        member.gone.lock().clear();
        member.delivery.start();
        member.says("joining");
        let client = Member::join(settings, member.clone())?;
        member.has_client(&client.handle());
        // The committer first: without it a revoke would wait for a last commit that nobody makes.
        let commits = member.delivery.clone();
        let committer = spawn(format!("{}-commit-{}", shared.name, member.index), move || commits.run())?;
        let (polls, sends) = (member.clone(), shared.clone());
        match spawn(format!("{}-member-{}", shared.name, member.index), move || poll(client, &polls, &sends)) {
            Ok(poller) => Ok(Self { member, poller, committer }),
            Err(error) => {
                member.delivery.stop();
                let _ = committer.join();
                Err(error)
            }
        }
    }

    /// Waits for both threads; the member was asked to close, or failed.
    pub fn join(self) {
        if self.poller.join().is_err() {
            tracing::error!(member = self.member.index, "a member's thread panicked");
        }
        self.member.delivery.stop();
        if self.committer.join().is_err() {
            tracing::error!(member = self.member.index, "a committer's thread panicked");
        }
        self.member.delivery.commit_with(None);
        *self.member.handle.lock() = None;
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, ClientError> {
    thread::Builder::new().name(name).spawn(run).map_err(|error| ClientError::Open(format!("no thread: {error}")))
}

/// The member's thread: polls until told to close or until the client is of no use.
fn poll(client: Member, member: &MemberShared, shared: &PipelineShared) {
    while !member.closing.load(Ordering::Acquire) {
        *member.last_poll.lock() = Instant::now();
        let Some(event) = client.poll(POLL_TIMEOUT) else { continue };
        match event {
            MemberEvent::Transient { code, text } => {
                *member.trouble.lock() = Some(format!("{text} ({code})"));
                tracing::warn!(pipeline = %shared.name, member = member.index, code, text, "kafka client reported a problem; it tries again by itself");
            }
            MemberEvent::Fatal { code, text } => {
                member.says(format!("failed: {code}"));
                *member.trouble.lock() = Some(format!("{text} ({code})"));
                let reason = format!("{code}: {text}");
                let _ = shared.events.send(Event::MemberFailed { member: member.index, reason });
                break;
            }
            MemberEvent::Fenced { text } => {
                member.says("fenced");
                let _ = shared.events.send(Event::MemberFenced { member: member.index, reason: text });
                break;
            }
            // Its offset is known to nobody's tracker: go on without it and it is lost. A new client starts again at the
            // committed offset.
            MemberEvent::Leaked { id, offset } => {
                let reason = format!("message {offset} of {id} came past its queue");
                let _ = shared.events.send(Event::MemberFailed { member: member.index, reason });
                break;
            }
            MemberEvent::TopicGone { topic } => member.hear_of_topic(topic, &News::Gone),
            MemberEvent::TopicThere { topic } => member.hear_of_topic(topic, &News::There),
            MemberEvent::TopicMadeAgain { topic } => member.hear_of_topic(topic, &News::MadeAgain),
        }
    }
    member.says("leaving");
    client.close();
    member.says("left");
    let _ = shared.events.send(Event::MemberClosed { member: member.index });
}
