//! What a slot does when something fails: a call, a source, a topic.

use wasmill_config::OutOfRange;
use wasmill_core::partition::{DeadLetterStage, Event, Rewound, Sought, StopClass, Urgency};
use wasmill_core::{AfterCrash, Call, ErrorClass, GivenUp, NextOffset, Offset, after_crash};
use wasmill_kafka::QueueProblem;
use wasmill_wasm::CallError;

use crate::bench::Bench;
use crate::shared::Event as Control;
use crate::slot::{Settlement, Slot};

impl Slot {
    /// A call ended without an answer: its outputs are dropped and the instance with them.
    pub(crate) fn crashed(&mut self, bench: &mut Bench, call: &Call, error: &CallError) {
        let instances = bench.sides.of(call.side);
        let (version, fresh) = (instances.version().clone(), instances.was_fresh());
        instances.discard();
        if error.class == ErrorClass::Cancelled {
            // Somebody wanted the lane back, which says nothing about the message.
            self.backlog.put_back(call, &mut bench.batch, call.attempt, 0);
            return;
        }
        if self.is_nobodys_fault(bench, call, error) {
            return;
        }
        self.partition.counters.crashed.increment(1);
        version.done.crashed();
        bench.report_settled();
        bench.bound.halve();
        let count = bench.batch.len();
        let reason = error.full();
        match after_crash(count, count == 1 && fresh, call.attempt, &version.settings.retry) {
            AfterCrash::ReplayAlone => {
                tracing::debug!(
                    pipeline = %bench.shared.name, partition = %self.partition.id, offset = call.messages.first(),
                    messages = count, error = error.class.as_str(), reason,
                    "call failed; its messages go again, one at a time"
                );
                self.backlog.put_back(call, &mut bench.batch, call.attempt, count);
            }
            AfterCrash::Again { delay, next_attempt } => {
                self.backlog.put_back(call, &mut bench.batch, next_attempt, 1);
                self.retry_later(bench, delay, next_attempt, format!("{}: {reason}", error.class.as_str()));
            }
            AfterCrash::GiveUp { attempts } => {
                let failed = GivenUp { message: 0, attempts, class: error.class, reason };
                self.settle(bench, call, Settlement::failed(failed, DeadLetterStage::Whole));
            }
        }
    }

    /// The wall clock ended the call, and that is not the third time in a row for a message alone: its messages go again, one
    /// at a time, and nothing is counted.
    fn is_nobodys_fault(&mut self, bench: &mut Bench, call: &Call, error: &CallError) -> bool {
        let count = bench.batch.len();
        if error.class != ErrorClass::TimeCap {
            self.cap_ends.forget();
            return false;
        }
        if count == 1 && self.cap_ends.counts(call.messages.first()) {
            return false;
        }
        let offset = call.messages.first();
        tracing::warn!(
            pipeline = %bench.shared.name, partition = %self.partition.id, offset, messages = count,
            reason = error.message, "call ended by the wall clock; its messages go again, and no attempt is counted"
        );
        bench.bound.halve();
        self.backlog.put_back(call, &mut bench.batch, call.attempt, count);
        true
    }

    /// The partition stops until somebody decides.
    pub(crate) fn stop(&mut self, bench: &Bench, offset: i64, class: StopClass, reason: String) {
        // Of what is tried again by itself the conditions tell.
        if !class.is_tried_again() {
            self.say_stopped(bench, offset, &reason);
        }
        self.partition.apply(Event::Stop { offset, class, reason });
    }

    fn say_stopped(&self, bench: &Bench, offset: i64, reason: &str) {
        tracing::error!(
            pipeline = %bench.shared.name, partition = %self.partition.id, offset, reason,
            "partition stopped; `wasmill resume` tries again, `wasmill skip --offset` passes over the message"
        );
    }

    /// A new producer took over: back to the watermark.
    pub(crate) fn rewind(&mut self, bench: &Bench) {
        self.publisher = self.delivery.publisher();
        let rewound = self.partition.lock().rewind(crate::clock::now());
        self.rewound(bench, &rewound);
    }

    /// The machine went back: what was taken is forgotten, and the source is put there with the next turn.
    pub(crate) fn rewound(&mut self, bench: &Bench, rewound: &Rewound) {
        let partition = &self.partition;
        partition.counters.rewinds.increment(1);
        bench.deployed.handover.rewound(&partition.id, rewound.to.get());
        tracing::debug!(pipeline = %bench.shared.name, partition = %partition.id, to = rewound.to.get(), "rewind");
        self.backlog.forget();
        if rewound.stopped.is_some() {
            // The offset stays where it is, and what is complete behind it is in the note alone: whoever restarts a process to
            // go on would have it delivered again.
            self.partition.apply(Event::NoteChanged);
        }
    }

    /// The machine was moved by an operator.
    pub(crate) fn moved(&mut self, bench: &Bench, sought: Sought) {
        let partition = &self.partition;
        self.backlog.forget();
        partition.counters.rewinds.increment(1);
        tracing::warn!(
            pipeline = %bench.shared.name, partition = %partition.id, from = sought.from, to = sought.to,
            dropped = sought.dropped, "partition moved by an operator"
        );
        partition.persist(Urgency::Now);
        if sought.needs_new_client {
            // This client has given the partition up. The next one finds the new position committed.
            let reason = format!("partition {} goes on at {}", partition.id, sought.to);
            self.control(bench, Control::MemberRenewed { member: partition.member, reason });
        }
    }

    /// The source reported something other than messages.
    pub(crate) fn source_problem(&mut self, bench: &Bench, problem: &QueueProblem) {
        let partition = self.partition.clone();
        match problem {
            QueueProblem::OutOfRange { offset } => {
                let reason = format!(
                    "offset {offset} is out of range: retention overtook the group, or the topic was made again; `wasmill resume` goes on at the first message that is left"
                );
                if bench.shared.started_with.out_of_range == OutOfRange::Stop {
                    // Messages that came along with it are delivered first.
                    let last = bench.batch.messages().last().map(|message| message.offset);
                    let offset = last.map_or_else(|| self.stands_at(), |last| NextOffset::after(Offset(last)).get());
                    self.stop(bench, offset, StopClass::OutOfRange, reason);
                } else {
                    // librdkafka never fetches this partition again by itself; a new client resolves its position.
                    partition.apply(Event::InputLost(reason.clone()));
                    self.control(bench, Control::MemberFailed { member: partition.member, reason });
                }
            }
            QueueProblem::NoOffset => {
                let first = partition.lock().tracker().position();
                let reason = format!(
                    "the group has committed no offset and start is \"error\"; `wasmill resume` begins at {first}, the first message, `wasmill group reset` moves a group that nobody is in"
                );
                let offset = self.stands_at();
                self.stop(bench, offset, StopClass::NoOffset, reason);
            }
            QueueProblem::Other { code, text } => {
                // librdkafka moved its own position past the error entry; once what was taken is delivered, the source is
                // put back to ours, lest a message be skipped.
                partition.apply(Event::Distrusted);
                // Another leader may have the batch whole, and a permission may be given back: asked again without end.
                let last = bench.batch.messages().last().map(|message| message.offset);
                let offset = last.map_or_else(|| self.stands_at(), |last| NextOffset::after(Offset(last)).get());
                let reason = format!("cannot be read at offset {offset}: {text} ({code})");
                partition.apply(Event::InputRefused { offset, reason });
            }
        }
    }
}
