//! Delivery at least once: outputs go through the pipeline's producer, offsets are committed by the consumer.
//!
//! When something is committed, and for which partitions together, is the slice's matter ([`Slice`]); what there is to
//! commit of each of them, the partition's. This is the thread that makes the calls, one at a time: synchronous, because
//! the callback of an asynchronous commit never fires in rust-rdkafka, and on a thread of its own, because a commit during
//! a cooperative rebalance blocks for up to a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmill_core::partition::{Event, Mark};
use wasmill_core::slice::{self, Action, Answer, Listed, Refusal, When};
use wasmill_core::{Generation, Promise, Slice};
use wasmill_kafka::{CommitEntry, CommitError, TopicPartition};

use crate::clock;
use crate::counters::CommitCounters;
use crate::delivery::{Delivery, Outcome, Permit};
use crate::holdings::Holdings;
use crate::io::Offsets;
use crate::mutant::{self, Mutant};
use crate::partition::{Due, Partition};
use crate::publisher::Publisher;
use crate::shared::PipelineShared;

/// One piece of the flush of a drain.
const FLUSH_STEP_TIMEOUT: Duration = Duration::from_millis(20);
/// How long the committer sleeps at most: the guard against a wake-up that got lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long the last commit of partitions that leave may take. The drain had its own time. A client gives up on a commit
/// after ten seconds, and after ten more on the one before it, which has to be answered first; and a periodic commit may be
/// under way. Shorter, and an orderly end in auto mode could leave a position committed that is beyond the watermark.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(42);

type Actions = Vec<Action<TopicPartition, Mark>>;
type SliceEvent = slice::Event<TopicPartition, Mark>;

/// The delivery of a member that promises at least once.
pub struct AtLeastOnce {
    shared: Arc<PipelineShared>,
    /// What it commits for.
    pub holdings: Holdings,
    slice: Mutex<Slice<TopicPartition, Mark>>,
    /// Partitions whose last commit was answered, and whether it persisted all they had. One revoke at a time waits for it.
    left: Mutex<Option<(Vec<TopicPartition>, bool)>>,
    told: Condvar,
    /// The client, while there is one.
    offsets: Mutex<Option<Arc<dyn Offsets>>>,
    /// The failure of the last commit, and since when commits fail.
    last_failure: Mutex<Option<(String, Instant)>>,
    failed_total: AtomicU64,
    counters: CommitCounters,
}

/// What a commit is made of: partitions that have something to commit, and what.
type Dues = Vec<(Arc<Partition>, Due)>;

impl AtLeastOnce {
    /// Nothing is held yet, and there is no client.
    pub fn new(shared: Arc<PipelineShared>) -> Self {
        Self {
            holdings: Holdings::default(),
            slice: Mutex::new(new_slice(&shared)),
            left: Mutex::default(),
            told: Condvar::new(),
            offsets: Mutex::default(),
            last_failure: Mutex::default(),
            failed_total: AtomicU64::new(0),
            counters: CommitCounters::register(&shared.name),
            shared,
        }
    }

    /// With whom to commit from now on; `None` between two clients.
    pub fn commit_with(&self, offsets: Option<Arc<dyn Offsets>>) {
        *self.offsets.lock() = offsets;
    }

    /// The last commit's failure, if it failed, and how many did.
    pub fn last_failure(&self) -> (Option<String>, u64) {
        (self.last_failure.lock().as_ref().map(|(text, _)| text.clone()), self.failed_total.load(Ordering::Relaxed))
    }

    /// Why commits fail and since when, while they do.
    pub fn failing(&self) -> Option<(String, Instant)> {
        self.last_failure.lock().clone()
    }

    /// Takes up partitions that were assigned.
    pub fn take_up(&self, partitions: &[Arc<Partition>], generation: Generation) {
        let ids: Vec<TopicPartition> = partitions.iter().map(|partition| partition.id.clone()).collect();
        self.holdings.live().extend(partitions.iter().map(|partition| (partition.id.clone(), partition.clone())));
        self.say(slice::Event::Assigned { partitions: ids, generation });
    }

    /// Lets a committer run, again too: a member that joins with a new client has a new one.
    pub fn start(&self) {
        *self.slice.lock() = new_slice(&self.shared);
        self.holdings.dirty.set_stopped(false);
    }

    /// Ends the committer's loop.
    pub fn stop(&self) {
        self.holdings.dirty.set_stopped(true);
    }

    /// The committer's thread: runs until [`AtLeastOnce::stop`].
    pub fn run(&self) {
        let dirty = &self.holdings.dirty;
        while !dirty.is_stopped() {
            let now = clock::now();
            let (sleep, patient) = match self.due(now) {
                When::Now => (Duration::ZERO, false),
                When::At(at) => (at.saturating_duration_since(now).min(LOOK_AGAIN), true),
                When::Never => (LOOK_AGAIN, false),
            };
            self.turn(sleep, patient);
        }
    }

    /// When there is something to commit.
    pub fn due(&self, now: Instant) -> When {
        self.slice.lock().due(now)
    }

    /// Sleeps until something is marked (`patient`: until something is urgent) or `sleep` is over, and does what is due then.
    pub fn turn(&self, sleep: Duration, patient: bool) {
        let marked = self.holdings.dirty.take(sleep, patient);
        self.go_on(marked, clock::now());
    }

    /// Does what is due at `now`. `marked`: something may have to be committed; `Some(true)`: at once.
    pub(crate) fn go_on(&self, marked: Option<bool>, now: Instant) {
        let began = clock::now();
        if let Some(urgent) = marked {
            self.say_at(slice::Event::Marked { urgent }, now);
        }
        let mut next = Some(slice::Event::Tick);
        while let Some(event) = next.take() {
            // A commit takes its time, and a pause begins with its answer.
            let (actions, dues) = self.apply(event, now + began.elapsed());
            let dues = self.follow(actions, dues);
            next = dues.map(|dues| slice::Event::Answered(self.persist(dues)));
        }
    }

    /// Says what happened, of any thread. No call follows from it here.
    fn say(&self, event: SliceEvent) {
        self.say_at(event, clock::now());
    }

    fn say_at(&self, event: SliceEvent, now: Instant) {
        let (actions, dues) = self.apply(event, now);
        let dues = self.follow(actions, dues);
        debug_assert!(dues.is_none(), "a call follows from a tick or an answer only");
    }

    /// Applies an event. What is to be committed is read under the lock under which the slice asked for it: otherwise a
    /// partition could leave in between, and be committed for its next owner. What became of the commit before is told
    /// first: a note that was refused is due again with the last commit of a partition that leaves.
    fn apply(&self, event: SliceEvent, now: Instant) -> (Actions, Option<Dues>) {
        let mut actions = Vec::new();
        let mut slice = self.slice.lock();
        if let Err(impossible) = slice.apply(event, now, &mut actions) {
            tracing::error!(pipeline = %self.shared.name, error = %impossible, "the slice was told what cannot be");
        }
        let mut dues = None;
        actions.retain(|action| match action {
            Action::Tell { partition, generation, outcome } => {
                self.tell(partition, *generation, outcome);
                false
            }
            Action::Persist(listed) => {
                dues = Some(self.dues(listed));
                true
            }
            _ => true,
        });
        (actions, dues)
    }

    fn dues(&self, listed: &[Listed<TopicPartition>]) -> Dues {
        let live = self.holdings.live();
        let due = |one: &Listed<TopicPartition>| {
            let partition = live.get(&one.partition).filter(|held| held.generation == one.generation)?;
            Some((partition.clone(), partition.due(one.closing)?))
        };
        listed.iter().filter_map(due).collect()
    }

    /// Does what follows from an event, but for the commit, which is returned.
    fn follow(&self, actions: Actions, mut dues: Option<Dues>) -> Option<Dues> {
        let mut commit = None;
        for action in actions {
            match action {
                Action::Persist(_) => commit = dues.take(),
                Action::Left { partitions, settled } => self.have_left(partitions, settled),
                other => {
                    tracing::error!(pipeline = %self.shared.name, action = ?other, "an action without a transaction");
                }
            }
        }
        commit
    }

    fn tell(&self, id: &TopicPartition, generation: Generation, outcome: &slice::Outcome<Mark>) {
        let partition = self.holdings.live().get(id).filter(|held| held.generation == generation).cloned();
        let Some(partition) = partition else { return };
        match outcome {
            slice::Outcome::Persisted(Some(mark)) => {
                partition.apply(Event::Persisted(mark));
                if let Some(observer) = &self.shared.observer {
                    observer.committed(&partition.id, mark.next);
                }
            }
            slice::Outcome::Persisted(None) => {}
            slice::Outcome::Refused(_) => partition.apply(Event::PersistRefused),
            slice::Outcome::Restored => partition.apply(Event::Restored),
            slice::Outcome::Unknown => partition.apply(Event::OutcomeUnknown),
        }
    }

    /// Nothing more is committed for these partitions.
    pub(crate) fn have_left(&self, ids: Vec<TopicPartition>, settled: bool) {
        self.forget(&ids);
        *self.left.lock() = Some((ids, settled));
        self.told.notify_all();
    }

    /// One commit. Whoever is not named in it had nothing to commit.
    fn persist(&self, dues: Dues) -> Answer<TopicPartition, Mark> {
        let results = self.commit(dues);
        let refused = results.iter().any(|(_, result)| result.is_err());
        let waiting = refused && self.holdings.all().iter().any(|partition| partition.lock().waits_for_commit());
        Answer::Persisted { results, waiting }
    }

    fn commit(&self, dues: Dues) -> Vec<(TopicPartition, Result<Mark, Refusal>)> {
        if dues.is_empty() {
            return Vec::new();
        }
        let entry = |(partition, due): &(Arc<Partition>, Due)| CommitEntry {
            id: partition.id.clone(),
            next: due.next,
            note: due.note.clone(),
        };
        let entries: Vec<CommitEntry> = dues.iter().map(entry).collect();
        let offsets = self.offsets.lock().clone();
        let started = clock::now();
        // It may have to wait for an earlier answer first, and a loss waits for no commit.
        let held = |place: usize| !dues[place].0.lock().tracker().is_closed();
        let answer = match offsets {
            Some(offsets) => offsets.persist(&entries, &held),
            None => Err(CommitError::Other { code: "_STATE".to_owned(), text: "there is no client".to_owned() }),
        };
        self.counters.seconds.record(started.elapsed().as_secs_f64());
        self.counters.sent.increment(1);
        let refused: BTreeMap<TopicPartition, CommitError> = match answer {
            Ok(refusals) => {
                for refusal in &refusals {
                    self.failed_with(&format!("{}: {}", refusal.id, refusal.error));
                }
                refusals.into_iter().map(|refusal| (refusal.id, refusal.error)).collect()
            }
            Err(error) => {
                self.failed_with(&error.to_string());
                entries.into_iter().map(|entry| (entry.id, error.clone())).collect()
            }
        };
        if refused.is_empty() {
            *self.last_failure.lock() = None;
        }
        let result = |(partition, due): (Arc<Partition>, Due)| {
            let result = match refused.get(&partition.id) {
                Some(error) => Err(refusal(error)),
                None => Ok(due.mark),
            };
            (partition.id.clone(), result)
        };
        dues.into_iter().map(result).collect()
    }

    fn failed_with(&self, text: &str) {
        self.counters.failed.increment(1);
        self.failed_total.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_failure.lock();
        if last.as_ref().is_none_or(|(last, _)| last != text) {
            tracing::warn!(pipeline = %self.shared.name, error = text, "commit failed; the newest watermarks go with the next one");
            let since = last.as_ref().map_or_else(clock::now, |(_, since)| *since);
            *last = Some((text.to_owned(), since));
        }
    }

    /// From here on nobody finds them.
    fn forget(&self, ids: &[TopicPartition]) {
        self.holdings.live().retain(|id, _| !ids.contains(id));
    }

    /// The mistake of [`Mutant::NoFence`]: what leaves is committed on with the rest.
    fn end_without_fence(&self, partitions: &[Arc<Partition>], lost: bool) -> Outcome {
        if !lost {
            let dues = partitions.iter().filter_map(|partition| Some((partition.clone(), partition.due(true)?)));
            for (_, result) in self.commit(dues.collect()) {
                if let Err(refusal) = result {
                    return Outcome::Restored(format!("{refusal:?}"));
                }
            }
        }
        Outcome::Persisted
    }
}

impl Delivery for AtLeastOnce {
    fn publisher(&self) -> Arc<Publisher> {
        self.shared.publisher()
    }

    /// Completions are persisted whenever a commit comes by: nothing is torn apart by it, so nobody waits.
    fn permit(&self) -> Permit<'_> {
        Permit::free()
    }

    fn drain(&self, partitions: &[Arc<Partition>], deadline: Instant) -> bool {
        let publisher = self.publisher();
        while !partitions.iter().all(|partition| partition.lock().is_settled()) {
            let now = clock::now();
            if now >= deadline {
                return false;
            }
            // A flush ends the linger, so that the drain does not last as long as that. In short pieces: it waits for
            // everything the producer holds, and other partitions go on sending.
            publisher.flush(deadline.min(now + FLUSH_STEP_TIMEOUT));
        }
        true
    }

    /// The committer makes the last commit, behind the one that may be on its way. Whoever calls this waits for it, and no
    /// longer than for that: the group waits, too.
    fn end(&self, partitions: &[Arc<Partition>], lost: bool) -> Outcome {
        if mutant::is(Mutant::NoFence) {
            return self.end_without_fence(partitions, lost);
        }
        let ids: Vec<TopicPartition> = partitions.iter().map(|partition| partition.id.clone()).collect();
        if lost {
            // Somebody else may own them already.
            self.say(slice::Event::Lost { partitions: ids.clone() });
            self.forget(&ids);
            return Outcome::Restored("lost".to_owned());
        }
        if ids.is_empty() {
            return Outcome::Persisted;
        }
        let deadline = clock::now() + LAST_COMMIT_TIMEOUT;
        *self.left.lock() = None;
        self.say(slice::Event::Revoke { partitions: ids.clone(), deadline });
        self.holdings.dirty.wake();
        let mut left = self.left.lock();
        // That of an earlier revoke may come late.
        while left.as_ref().is_none_or(|(left, _)| *left != ids) {
            if self.told.wait_until(&mut left, deadline).timed_out() {
                drop(left);
                self.say(slice::Event::TimedOut);
                left = self.left.lock();
                break;
            }
        }
        let settled = left.take().is_some_and(|(left, settled)| left == ids && settled);
        drop(left);
        if settled {
            Outcome::Persisted
        } else {
            let failure = self.failing().map(|(text, _)| text);
            Outcome::Restored(failure.unwrap_or_else(|| "the last commit was not answered in time".to_owned()))
        }
    }
}

fn new_slice(shared: &PipelineShared) -> Slice<TopicPartition, Mark> {
    Slice::new(Promise::AtLeastOnce(shared.started_with.commit), clock::now())
}

fn refusal(error: &CommitError) -> Refusal {
    match error {
        // Still ours, only not now: again, with whatever the watermarks are by then.
        CommitError::Again { .. } => Refusal::Again,
        // The generation is over; the revoke or the loss is on its way and settles it.
        CommitError::Closed { .. } => Refusal::Closed,
        CommitError::Other { .. } => Refusal::Other,
    }
}
