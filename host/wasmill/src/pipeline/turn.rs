//! The life of a message, from its partition's queue to the producer: gather, hand over, judge, publish. Read
//! [`Worker::turn`] from top to bottom; `gather` says where messages come from, `publish` where outputs go, `recover`
//! what happens when something fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_core::{
    Batch, BatchBound, CommitMode, Emitted, Fence, GivenUp, NextOffset, Offset, Rest as Remainder, RetryNote, RunId,
    judge,
};
use wasmill_kafka::{MemberHandle, PartitionQueue, now_ms};

use super::gather::Next;
use super::instances::Instances;
use super::lane::{Lane, Side, Turn};
use super::partition::{GiveUpStage, Partition, Phase};
use super::publish::{Publication, publish};
use super::publisher::Publisher;
use super::seek::Seeking;
use super::shared::PipelineShared;
use super::version::Deployed;
use crate::mutant::{self, Mutant};

/// The lane's own side of a partition.
pub(super) struct Held {
    pub(super) partition: Arc<Partition>,
    pub(super) queue: PartitionQueue,
    pub(super) member: MemberHandle,
    /// What an earlier call left: its run is open and its turn comes before anything new.
    pub(super) again: Option<Again>,
    /// Taken from the queue and not yet handed over; messages before `backlog_from` are done with.
    pub(super) backlog: Batch,
    pub(super) backlog_from: usize,
    /// Nothing is handed over before then.
    pub(super) not_before: Option<Instant>,
    /// Where the queue must be put before it is read again.
    pub(super) seek_to: Option<NextOffset>,
    /// An operator moves it; nothing is handed over until that is done.
    pub(super) seeking: Option<Seeking>,
    /// Stands until an operator moves it, or the control loop does.
    pub(super) stopped: bool,
    /// The message that it stands at while it has nothing in hand: it went back after the broker had refused that one.
    pub(super) stands_at: Option<i64>,
    /// It stands because its position does not exist, or it has none. Only a new client can go on with it: this one has
    /// given it up and refuses every seek, or holds it somewhere else.
    pub(super) out_of_range: bool,
    /// The queue reported an error, behind which its position is not to be trusted.
    pub(super) distrusted: bool,
}

/// What is left of a call.
pub(super) struct Again {
    pub(super) batch: Batch,
    pub(super) from: usize,
    pub(super) run: RunId,
    pub(super) fence: Fence,
    /// Attempt of the message at `from`.
    pub(super) attempt: u32,
    /// Messages before this index go one at a time: one of them crashed the handler.
    pub(super) alone_until: usize,
}

/// One call: `Worker::batch` under an open run.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) run: RunId,
    pub(super) fence: Fence,
    /// Attempt of the first message.
    pub(super) attempt: u32,
    /// The messages are a copy of a part of `Held::again`.
    pub(super) is_again: bool,
    /// Which version it goes to.
    pub(super) side: Side,
}

/// The lane's thread with everything it owns.
pub struct Worker {
    pub(super) lane: Arc<Lane>,
    pub(super) shared: Arc<PipelineShared>,
    pub(super) held: Vec<Held>,
    /// What was in force when the lane last looked.
    pub(super) deployed: Arc<Deployed>,
    pub(super) sides: Sides,
    pub(super) publisher: Arc<Publisher>,
    /// The messages of the call, reused.
    pub(super) batch: Batch,
    pub(super) bound: BatchBound,
    nothing: Emitted,
}

/// The lane's instances: of the version that serves, and of one on trial.
pub(super) struct Sides {
    pub(super) serving: Instances,
    pub(super) candidate: Option<Instances>,
}

impl Sides {
    /// A call goes to the candidate only while there is one; when there is none any more, the version that serves
    /// answers for what it left.
    pub(super) fn of(&mut self, side: Side) -> &mut Instances {
        match (side, &mut self.candidate) {
            (Side::Candidate, Some(candidate)) => candidate,
            _ => &mut self.serving,
        }
    }

    pub(super) fn look_at(&self, side: Side) -> &Instances {
        match (side, &self.candidate) {
            (Side::Candidate, Some(candidate)) => candidate,
            _ => &self.serving,
        }
    }
}

impl Worker {
    /// A worker without partitions.
    pub fn new(lane: Arc<Lane>, shared: Arc<PipelineShared>) -> Self {
        let deployed = shared.deployed();
        Self {
            sides: Self::sides(&lane, &shared, &deployed),
            deployed,
            publisher: shared.publisher(),
            bound: BatchBound::new(shared.settings.batch_messages),
            batch: Batch::new(),
            held: Vec::new(),
            nothing: Emitted::default(),
            lane,
            shared,
        }
    }

    /// How many partitions it serves.
    pub fn partitions(&self) -> usize {
        self.held.len()
    }

    /// Nothing to do for now: a time to look at what the instance has grown to.
    pub fn rest(&self) {
        self.sides.serving.observe_memory();
    }

    /// One batch of one partition, from its queue to the producer.
    pub fn turn(&mut self, index: usize, now: Instant) -> Turn {
        if !self.may_succeed(index) {
            return Turn::Idle;
        }
        match self.may_hand_over(index, now) {
            Turn::Worked => {}
            not_now => return not_now,
        }
        let call = match self.gather(index) {
            Next::Nothing => {
                self.idle(index);
                return Turn::Idle;
            }
            Next::Refused(call, given_up, stage) => {
                self.settle(index, call, 1, vec![given_up], stage, None, false);
                return Turn::Worked;
            }
            Next::Messages(call) => call,
        };
        let instances = self.sides.of(call.side);
        let version = instances.version().clone();
        let instance = match instances.ready(now) {
            Ok(instance) => instance,
            Err(again) => {
                self.put_back(index, call, call.attempt, 0);
                return Turn::NotBefore(again);
            }
        };
        let partition = &self.held[index].partition;
        let started = Instant::now();
        let answer = instance.handle(partition.source, partition.id.partition, &self.batch);
        let time = started.elapsed();
        version.done.took(time);
        if let Some(trial) = &self.deployed.trial {
            trial.took(&version, time, self.batch.len());
        }
        partition.counters.call_seconds.record(time.as_secs_f64());
        partition.counters.calls.increment(1);
        partition.counters.handed_over.increment(self.batch.len() as u64);
        partition.counters.bytes.increment(self.batch.bytes() as u64);
        match answer {
            Ok(reached) => {
                self.bound.grew(self.batch.len());
                self.shadow(index, call, reached);
                self.judge(index, call, reached);
            }
            Err(error) => self.crashed(index, call, error),
        }
        Turn::Worked
    }

    /// Whether the partition's next messages may go to the handler now.
    fn may_hand_over(&mut self, index: usize, now: Instant) -> Turn {
        let held = &mut self.held[index];
        let partition = &held.partition;
        if held.seeking.is_some() && !partition.is_leaving() {
            return self.seek_when_settled(index, now);
        }
        if held.stopped || partition.is_leaving() || partition.is_paused() || self.shared.is_held() {
            return Turn::Idle;
        }
        if self.shared.is_producer_resting() {
            // What is handed over now could not be published. The rewind that comes with the new producer wakes the lane.
            return Turn::Idle;
        }
        if let Some(when) = held.not_before {
            if now < when {
                return Turn::NotBefore(when);
            }
            held.not_before = None;
            partition.lock().phase = Phase::Running;
        }
        if held.seek_to.is_some() {
            return self.seek(index, now);
        }
        let mut state = partition.lock();
        if state.first_commit {
            return Turn::Idle;
        }
        if state.must_rewind {
            // The broker refused something: let the rest of what is in flight finish, so that nothing of it is
            // published twice, then go back to the refused message.
            let settled = state.tickets == 0;
            drop(state);
            if settled {
                let refused = self.rewind(index);
                if let Some((offset, reason)) = refused {
                    self.held[index].stands_at = Some(offset);
                    self.stop(index, reason);
                }
                return Turn::NotBefore(now);
            }
            return Turn::Idle;
        }
        if matches!(self.shared.settings.commit, CommitMode::Sync)
            && (state.tickets > 0 || state.committed.is_some_and(|committed| committed < state.tracker.watermark()))
        {
            // The commit of the last batch wakes the lane.
            return Turn::Idle;
        }
        if held.again.is_none() && !state.tracker.room() {
            // The next completion wakes the lane.
            state.starved = true;
            return Turn::Idle;
        }
        Turn::Worked
    }

    /// What the handler's answer means, message by message.
    fn judge(&mut self, index: usize, call: Call, reached: u32) {
        let instances = self.sides.look_at(call.side);
        let policy = &instances.version().settings.retry;
        let judgement = judge(self.batch.len(), reached, instances.failures(), call.attempt, policy);
        let acknowledged = judgement.settled - judgement.given_up.len();
        self.held[index].partition.counters.acknowledged.increment(acknowledged as u64);
        self.settle(index, call, judgement.settled, judgement.given_up, GiveUpStage::Whole, judgement.rest, true);
    }

    /// Publishes what the first `settled` messages of the call came to, and keeps the others for later.
    ///
    /// `answered`: the instance's last call is this one, so that what it emitted may be published.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn settle(
        &mut self,
        index: usize,
        call: Call,
        settled: usize,
        given_up: Vec<GivenUp>,
        stage: GiveUpStage,
        rest: Option<Remainder>,
        answered: bool,
    ) {
        let partition = self.held[index].partition.clone();
        let instances = self.sides.look_at(call.side);
        let emitted = if answered { instances.emitted() } else { &self.nothing };
        if let Some(observer) = &self.shared.observer {
            observer.handled(&partition.id, &self.batch, emitted, settled, &given_up);
        }
        let publication = Publication {
            shared: &self.shared,
            publisher: &self.publisher,
            partition: &partition,
            batch: &self.batch,
            emitted,
            digest: instances.version().digest(),
            run: call.run,
            fence: call.fence,
        };
        let published = publish(&publication, settled, given_up, stage);
        let settled = published.settled;
        instances.version().done.settled(settled, published.given_up.len());
        self.shared.record(settled, &published.given_up);
        self.look_at_trial();
        let (rest_run, last) = part(&self.held[index], &self.batch, call, settled);
        match published.sending {
            // With nothing settled the ticket stands for no message: outputs of the one it stopped at may be in it, and
            // to let them complete the run would commit past everything that is handed over again.
            Some(sending) if published.abandoned || settled == 0 => sending.abandon(),
            Some(sending) => {
                let outputs = sending.end(last);
                partition.counters.emitted.increment(outputs);
                if mutant::is(Mutant::CommitBeforeDelivery) {
                    partition.complete(call.fence, call.run, false);
                }
            }
            // Nothing to wait for.
            None if settled > 0 && !published.abandoned => partition.complete(call.fence, call.run, false),
            None => {}
        }
        let stop = published.stop;
        if settled > 0 {
            self.forget_retry(&partition, last);
        }
        let (attempt, delay, reason) = match rest {
            Some(Remainder::Retry { delay, next_attempt, reason }) if stop.is_none() => {
                (next_attempt, Some(delay), reason)
            }
            _ if settled == 0 => (call.attempt, None, String::new()),
            _ => (1, None, String::new()),
        };
        self.keep(index, call, settled, rest_run, attempt);
        if let Some(delay) = delay {
            self.wait(index, delay, attempt, reason);
        }
        if let Some(reason) = stop {
            self.stop(index, reason);
        }
    }

    /// Keeps what is behind the settled messages.
    fn keep(&mut self, index: usize, call: Call, settled: usize, rest_run: RunId, attempt: u32) {
        let held = &mut self.held[index];
        if !call.is_again {
            if settled < self.batch.len() {
                self.put_back(index, call, attempt, 0);
                let again = self.held[index].again.as_mut().expect("just put back");
                again.from = settled;
                again.run = rest_run;
            }
            return;
        }
        let Some(again) = &mut held.again else { return };
        again.from += settled;
        again.run = rest_run;
        again.attempt = attempt;
        if again.from == again.batch.len() {
            held.again = None;
        }
    }

    /// Keeps the call's messages for another call, their run open. `alone`: so many of them go one at a time.
    pub(super) fn put_back(&mut self, index: usize, call: Call, attempt: u32, alone: usize) {
        let held = &mut self.held[index];
        match &mut held.again {
            Some(again) if call.is_again => {
                again.attempt = attempt;
                again.alone_until = again.alone_until.max(again.from + alone);
            }
            _ => {
                let batch = std::mem::replace(&mut self.batch, Batch::new());
                held.again =
                    Some(Again { batch, from: 0, run: call.run, fence: call.fence, attempt, alone_until: alone });
            }
        }
    }

    /// The message at the head waits for its next attempt.
    pub(super) fn wait(&mut self, index: usize, delay: Duration, attempt: u32, reason: String) {
        let held = &mut self.held[index];
        let Some(again) = &held.again else { return };
        let offset = again.batch.message(again.from).offset;
        let until = Instant::now() + delay;
        held.not_before = Some(until);
        held.partition.counters.retried.increment(1);
        tracing::debug!(pipeline = %self.shared.name, partition = %held.partition.id, offset, attempt, reason, "retry");
        if let Some(observer) = &self.shared.observer {
            observer.retrying(&held.partition.id, offset, attempt, delay, &reason);
        }
        let mut state = held.partition.lock();
        let first_failure_ms = match &state.retry {
            Some(retry) if retry.offset == offset => retry.first_failure_ms,
            _ => now_ms(),
        };
        // Attempts survive a restart: they travel with the next commit.
        state.retry = Some(RetryNote { offset, attempts: attempt.saturating_sub(1), first_failure_ms });
        state.note_dirty = true;
        if !state.tracker.is_closed() {
            state.phase = Phase::Waiting { offset, attempt, until, reason };
        }
        drop(state);
        held.partition.mark_dirty();
    }

    fn forget_retry(&self, partition: &Partition, last: i64) {
        let mut state = partition.lock();
        if state.retry.as_ref().is_some_and(|retry| retry.offset <= last) {
            state.retry = None;
        }
    }
}

/// Splits the call's run behind what is settled. Returns the rest's run and the last settled offset.
fn part(held: &Held, batch: &Batch, call: Call, settled: usize) -> (RunId, i64) {
    if settled == 0 {
        return (call.run, 0);
    }
    let last = batch.message(settled - 1).offset;
    let open = match &held.again {
        Some(again) if call.is_again => again.batch.len() - again.from,
        _ => batch.len(),
    };
    if settled == open {
        return (call.run, last);
    }
    let bytes: usize = (0..settled).map(|at| batch.message(at).bytes()).sum();
    let mut state = held.partition.lock();
    // The partition may have been closed under us; then runs mean nothing any more.
    if state.tracker.is_closed() || state.tracker.fence() != call.fence {
        return (call.run, last);
    }
    (state.tracker.split(call.run, Offset(last), settled as u32, bytes as u64), last)
}
