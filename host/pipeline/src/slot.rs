//! The life of a message on its lane: wait, gather, deliver, judge, publish, settle. Read [`Slot::turn`] from top to bottom.
//!
//! A slot is the lane's side of one partition: its source, what is in hand of it, and the machine that it shares with the
//! others. What a slot needs of its lane comes as the [`Bench`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_core::partition::{Ask, DeadLetterStage, Event, Next, StopClass, Urgency};
use wasmill_core::{
    Backlog, Call, CallBound, CapEnds, GivenUp, MessageRef, NextOffset, Pick, Rest, Route, Side, judge,
};
use wasmill_kafka::now_ms;

use crate::bench::Bench;
use crate::clock;
use crate::delivery::Delivery;
use crate::io::Source;
use crate::mutant::{self, Mutant};
use crate::partition::Partition;
use crate::publish::{Publication, publish};
use crate::publisher::Publisher;
use crate::shared::Event as Control;

/// How long to wait before a seek of the source that failed is tried again.
const SEEK_RETRY_DELAY: Duration = Duration::from_millis(500);

/// What came of a partition's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// A batch was handled: look again at once.
    Worked,
    /// Nothing to do.
    Idle,
    /// Nothing to do before then.
    NotBefore(Instant),
}

/// The lane's side of a partition.
pub struct Slot {
    pub(crate) partition: Arc<Partition>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) delivery: Arc<dyn Delivery>,
    /// Through what it publishes; exchanged at a rewind, so that nothing of an old epoch goes out through a new producer.
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) backlog: Backlog,
    /// Calls in a row that the wall clock ended.
    pub(crate) cap_ends: CapEnds,
}

/// What a call, or a refusal, comes to.
pub(crate) struct Settlement {
    /// Messages `0..settled` of the call are finished by it.
    settled: usize,
    /// Those of them that failed, ascending.
    failed: Vec<GivenUp>,
    /// How much of their dead letters is sent.
    stage: DeadLetterStage,
    /// Why message `settled` is not finished.
    rest: Option<Rest>,
    /// The guest's last call is this one, so that what it emitted may be published.
    answered: bool,
}

impl Settlement {
    /// The first message failed without an answer.
    pub(crate) fn failed(failed: GivenUp, stage: DeadLetterStage) -> Self {
        Self { settled: 1, failed: vec![failed], stage, rest: None, answered: false }
    }
}

impl Slot {
    /// A partition that was just assigned to the lane.
    pub fn new(partition: Arc<Partition>, source: Box<dyn Source>, delivery: Arc<dyn Delivery>) -> Self {
        let publisher = delivery.publisher();
        Self { partition, source, delivery, publisher, backlog: Backlog::new(), cap_ends: CapEnds::default() }
    }

    /// One batch, from the source to the sink.
    pub fn turn(&mut self, bench: &mut Bench, now: Instant) -> Turn {
        if let Some(not_now) = self.wait(bench, now) {
            return not_now;
        }
        match self.gather(bench) {
            Some(Pick::Call(call)) => self.deliver(bench, call, now),
            Some(Pick::Refused(call, failed, stage)) => {
                self.settle(bench, &call, Settlement::failed(failed, stage));
                Turn::Worked
            }
            Some(Pick::Stuck { offset, reason }) => {
                self.stop(bench, offset, StopClass::DeadLetter, format!("dead letter refused: {reason}"));
                Turn::Idle
            }
            // All that was in hand is complete, or of another place: there may be more behind it.
            Some(Pick::Nothing) => {
                self.partition.persist(Urgency::Soon);
                Turn::Worked
            }
            None => {
                self.idle();
                Turn::Idle
            }
        }
    }

    /// Does what the partition's machine wants done before anything is delivered. `None`: deliver.
    fn wait(&mut self, bench: &mut Bench, now: Instant) -> Option<Turn> {
        let ask = Ask {
            leftover: self.backlog.leftover(),
            backlog: self.backlog.has_fresh(),
            running: bench.deployed.version.epoch,
            // What is delivered while the producer rests could not be published.
            held_above: bench.shared.is_held() || bench.shared.is_producer_resting(),
        };
        loop {
            let next = self.partition.lock().next(&ask, now);
            return match next {
                Next::Deliver => None,
                Next::Wait => Some(Turn::Idle),
                Next::WaitUntil(when) => Some(Turn::NotBefore(when)),
                Next::PersistNote => {
                    self.partition.persist(Urgency::Now);
                    Some(Turn::Idle)
                }
                Next::Reposition(to) => match self.reposition(to) {
                    Ok(()) => {
                        self.partition.apply(Event::Repositioned);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(
                            pipeline = %bench.shared.name, partition = %self.partition.id, to = to.get(), error,
                            "seek failed; trying again"
                        );
                        let again = now + SEEK_RETRY_DELAY;
                        self.partition.apply(Event::RepositionFailed(again));
                        Some(Turn::NotBefore(again))
                    }
                },
                Next::Rewound(rewound) => {
                    self.rewound(bench, &rewound);
                    Some(Turn::NotBefore(now))
                }
                Next::Moved(sought) => {
                    self.moved(bench, sought);
                    Some(Turn::NotBefore(now))
                }
            };
        }
    }

    fn reposition(&mut self, to: NextOffset) -> Result<(), String> {
        self.backlog.forget();
        self.source.seek(to)
    }

    /// Fills the lane's batch with what is delivered next. `None`: nothing is in hand, and the source is empty.
    fn gather(&mut self, bench: &mut Bench) -> Option<Pick> {
        let bound = CallBound { messages: bench.bound.get(), bytes: bench.shared.started_with.batch_bytes };
        let split = bench.deployed.split();
        let number = self.partition.id.partition;
        let of_split = |message: &MessageRef<'_>| split.map_or(Side::Serving, |split| split.side_of(number, message));
        let route: Route<'_> = split.is_some().then_some(&of_split);
        if !self.backlog.is_empty() {
            return Some(self.backlog.pick(&mut self.partition.lock(), bound, route, &mut bench.batch));
        }
        bench.batch.clear();
        let taken = loop {
            let taken = self.source.take(bound.messages, bound.bytes, &mut bench.batch);
            // Entries that are no messages come alone; behind them there may be some.
            if taken.messages > 0 || !taken.more || taken.problem.is_some() {
                break taken;
            }
        };
        bench.batch.seal();
        if let Some(problem) = taken.problem {
            self.source_problem(bench, &problem);
        }
        if bench.batch.is_empty() {
            return None;
        }
        Some(self.backlog.take_up(&mut self.partition.lock(), bound, route, &mut bench.batch))
    }

    /// Calls the handler.
    fn deliver(&mut self, bench: &mut Bench, call: Call, now: Instant) -> Turn {
        let partition = &self.partition;
        let instances = bench.sides.of(call.side);
        let version = instances.version().clone();
        let instance = match instances.ready(now) {
            Ok(instance) => instance,
            Err(again) => {
                self.backlog.put_back(&call, &mut bench.batch, call.attempt, 0);
                return Turn::NotBefore(again);
            }
        };
        let started = clock::now();
        let answer = instance.handle(partition.source, partition.id.partition, &bench.batch);
        let time = started.elapsed();
        version.done.took(time);
        bench.report_call(&version, time);
        partition.counters.call_seconds.record(time.as_secs_f64());
        partition.counters.calls.increment(1);
        partition.counters.handed_over.increment(bench.batch.len() as u64);
        partition.counters.bytes.increment(bench.batch.bytes() as u64);
        match answer {
            Ok(reached) => {
                bench.bound.grew(bench.batch.len());
                self.shadow(bench, &call, reached);
                self.judge(bench, &call, reached);
            }
            Err(error) => self.crashed(bench, &call, &error),
        }
        Turn::Worked
    }

    /// What the handler's answer means, message by message.
    fn judge(&mut self, bench: &mut Bench, call: &Call, reached: u32) {
        let instances = bench.sides.look_at(call.side);
        let policy = &instances.version().settings.retry;
        let judgement = judge(bench.batch.len(), reached, instances.failures(), call.attempt, policy);
        let acknowledged = judgement.settled - judgement.given_up.len();
        self.partition.counters.acknowledged.increment(acknowledged as u64);
        let settlement = Settlement {
            settled: judgement.settled,
            failed: judgement.given_up,
            stage: DeadLetterStage::Whole,
            rest: judgement.rest,
            answered: true,
        };
        self.settle(bench, call, settlement);
    }

    /// Whether the call is of an epoch that is over: whatever it said, its messages come again.
    fn is_stale(&self, call: &Call) -> bool {
        let machine = self.partition.lock();
        machine.fence() != call.fence
    }

    /// Publishes what the settled messages of a call came to, counts them as complete once that is confirmed, and keeps the
    /// others. Outputs and completions belong together: nothing ends the slice they are in while the permit is held.
    pub(crate) fn settle(&mut self, bench: &mut Bench, call: &Call, settlement: Settlement) {
        let partition = self.partition.clone();
        let Settlement { settled, failed, stage, rest, answered } = settlement;
        let permit = self.delivery.permit();
        if self.is_stale(call) {
            return;
        }
        let instances = bench.sides.look_at(call.side);
        let emitted = if answered { instances.emitted() } else { &bench.nothing };
        if let Some(observer) = &bench.shared.observer {
            observer.handled(&partition.id, &bench.batch, emitted, settled, &failed);
        }
        let publication = Publication {
            shared: &bench.shared,
            publisher: &self.publisher,
            partition: &partition,
            batch: &bench.batch,
            emitted,
            digest: instances.version().digest(),
            call,
        };
        let published = publish(&publication, settled, failed, stage);
        let settled = published.settled;
        instances.version().done.settled(settled, published.given_up.len());
        bench.shared.record(settled, &published.given_up);
        bench.report_settled();
        let (rest_run, last) = {
            let mut machine = partition.lock();
            let parted = self.backlog.part(&mut machine, call, &bench.batch, settled);
            if settled > 0 {
                machine.apply(Event::SettledUpTo(parted.1), clock::now());
            }
            parted
        };
        let complete = Event::Settled { fence: call.fence, run: call.run, ticket: false };
        match published.sending {
            // With nothing settled the ticket stands for no message: outputs of the one it stopped at may be in it, and
            // to let them complete the run would commit past everything that is delivered again.
            Some(sending) if published.abandoned || settled == 0 => sending.abandon(),
            Some(sending) => {
                partition.counters.emitted.increment(sending.end(last));
                if mutant::is(Mutant::CommitBeforeDelivery) {
                    partition.apply(complete);
                }
            }
            // Nothing to wait for, and so nothing that could have been abandoned.
            None if settled > 0 => partition.apply(complete),
            None => {}
        }
        drop(permit);
        let stop = published.stop;
        let (attempt, retry) = match rest {
            Some(Rest::Retry { delay, next_attempt, reason }) if stop.is_none() => {
                (next_attempt, Some((delay, reason)))
            }
            _ if settled == 0 => (call.attempt, None),
            _ => (1, None),
        };
        self.backlog.keep(call, &mut bench.batch, settled, rest_run, attempt);
        if let Some((delay, reason)) = retry {
            self.retry_later(bench, delay, attempt, reason);
        }
        if let Some((class, reason)) = stop {
            let offset = self.stands_at();
            self.stop(bench, offset, class, reason);
        }
    }

    /// The message at the head waits for its next attempt.
    pub(crate) fn retry_later(&mut self, bench: &Bench, delay: Duration, attempt: u32, reason: String) {
        let Some(offset) = self.backlog.head() else { return };
        let partition = &self.partition;
        partition.counters.retried.increment(1);
        tracing::debug!(pipeline = %bench.shared.name, partition = %partition.id, offset, attempt, reason, "retry");
        if let Some(observer) = &bench.shared.observer {
            observer.retrying(&partition.id, offset, attempt, delay, &reason);
        }
        let until = clock::now() + delay;
        partition.apply(Event::Retry { offset, attempt, until, now_ms: now_ms(), reason });
    }

    /// The message that the partition stands at.
    pub(crate) fn stands_at(&self) -> i64 {
        self.partition.lock().stands_at(self.backlog.head())
    }

    /// The source is empty: when nothing is outstanding either, what lies between the last message and its position are
    /// markers and gaps, and that is said to the coordinator too, so that lag reads 0 in everybody's tools.
    fn idle(&mut self) {
        {
            // The machine would say so as well, but to ask the source for its position costs more than to ask the machine first.
            let machine = self.partition.lock();
            if machine.tickets() > 0 || machine.tracker().outstanding() > 0 {
                return;
            }
        }
        if let Some(position) = self.source.idle_position() {
            self.partition.apply(Event::Idle(position));
        }
    }

    pub(crate) fn control(&self, bench: &Bench, event: Control) {
        let _ = bench.shared.events.send(event);
    }
}
