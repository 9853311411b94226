//! What a lane does when something fails, and when it is told something.

use std::time::{Duration, Instant};

use wasmill_config::OutOfRange;
use wasmill_core::{AfterCrash, Completion, ErrorClass, GivenUp, NextOffset, Offset, after_crash};
use wasmill_kafka::{QueueProblem, TopicPartition};
use wasmill_wasm::CallError;

use super::lane::{Assignment, Command, Turn};
use super::partition::{GiveUpStage, Phase};
use super::shared::Event;
use super::turn::{Call, Held, Worker};
use crate::mutant::{self, Mutant};

/// How long to wait before a seek that failed is tried again.
const SEEK_AGAIN: Duration = Duration::from_millis(500);

impl Worker {
    /// A call ended without an answer: its outputs are dropped and the instance with them.
    pub(super) fn crashed(&mut self, index: usize, call: Call, error: CallError) {
        let partition = self.held[index].partition.clone();
        let instances = self.sides.of(call.side);
        let (version, fresh) = (instances.version().clone(), instances.was_fresh());
        instances.discard();
        if error.class == ErrorClass::Cancelled {
            // Somebody wanted the lane back, which says nothing about the message.
            self.put_back(index, call, call.attempt, 0);
            return;
        }
        partition.counters.crashed.increment(1);
        version.done.crashed();
        self.bound.halve();
        let count = self.batch.len();
        let first = self.batch.message(0).offset;
        let reason = error.full();
        match after_crash(count, count == 1 && fresh, call.attempt, &version.settings.retry) {
            AfterCrash::ReplayAlone => {
                tracing::debug!(
                    pipeline = %self.shared.name, partition = %partition.id, offset = first, messages = count,
                    error = error.class.as_str(), reason, "call failed; its messages go again, one at a time"
                );
                self.put_back(index, call, call.attempt, count);
            }
            AfterCrash::Again { delay, next_attempt } => {
                self.put_back(index, call, next_attempt, 1);
                self.wait(index, delay, next_attempt, format!("{}: {reason}", error.class.as_str()));
            }
            AfterCrash::GiveUp { attempts } => {
                let given_up = GivenUp { message: 0, attempts, class: error.class, reason };
                self.settle(index, call, 1, vec![given_up], GiveUpStage::Whole, None, false);
            }
        }
    }

    /// The partition stands until somebody moves it.
    pub(super) fn stop(&mut self, index: usize, reason: String) {
        let held = &mut self.held[index];
        held.stopped = true;
        held.not_before = None;
        let offset = held.next_offset();
        tracing::error!(
            pipeline = %self.shared.name, partition = %held.partition.id, offset, reason,
            "partition stopped; `wasmill resume` tries again, `wasmill skip --offset` passes over the message"
        );
        let mut state = held.partition.lock();
        if !state.tracker.is_closed() {
            state.phase = Phase::Stopped { offset, reason };
        }
        drop(state);
        held.partition.mark_dirty();
    }

    /// Back to the watermark in a new epoch: what is in flight is dropped, what is complete stays so.
    /// Answers with the message that a topic did not take because it takes nothing, and why, if that was the reason.
    pub(super) fn rewind(&mut self, index: usize) -> Option<(i64, String)> {
        let held = &mut self.held[index];
        let mut state = held.partition.lock();
        let to = state.tracker.rewind();
        for (first, last) in std::mem::take(&mut state.complete_beside_refused) {
            state.tracker.remember_done(Offset(first), Offset(last));
        }
        state.giving_up.clear();
        state.must_rewind = false;
        let refused = state.topic_refused.take();
        state.tickets = 0;
        if matches!(state.phase, Phase::Waiting { .. }) {
            // What waited comes again with the others, its attempts counted on.
            state.phase = Phase::Running;
        }
        drop(state);
        held.partition.counters.rewinds.increment(1);
        self.deployed.handover.rewound(&held.partition.id, to.get());
        tracing::debug!(pipeline = %self.shared.name, partition = %held.partition.id, to = to.get(), "rewind");
        held.restart_at(to);
        refused
    }

    /// Puts the queue where it has to be read from.
    pub(super) fn seek(&mut self, index: usize, now: Instant) -> Turn {
        let held = &mut self.held[index];
        let Some(to) = held.seek_to else { return Turn::Worked };
        match held.member.seek(&held.partition.id, to) {
            Ok(()) => {
                held.seek_to = None;
                Turn::Worked
            }
            Err(error) => {
                tracing::warn!(
                    pipeline = %self.shared.name, partition = %held.partition.id, to = to.get(), %error,
                    "seek failed; trying again"
                );
                held.not_before = Some(now + SEEK_AGAIN);
                Turn::NotBefore(now + SEEK_AGAIN)
            }
        }
    }

    /// The queue reported something other than messages.
    pub(super) fn trouble(&mut self, index: usize, problem: &QueueProblem) {
        let partition = self.held[index].partition.clone();
        match problem {
            QueueProblem::OutOfRange { offset } => {
                let reason = format!(
                    "offset {offset} is out of range: retention overtook the group, or the topic was made again; `wasmill resume` goes on at the first message that is left"
                );
                if self.shared.settings.out_of_range == OutOfRange::Stop {
                    self.held[index].out_of_range = true;
                    self.stop(index, reason);
                } else {
                    // librdkafka never fetches this partition again by itself; a new client resolves its position.
                    self.held[index].stopped = true;
                    self.member_failed(partition.member, reason);
                }
            }
            QueueProblem::NoOffset => {
                self.held[index].out_of_range = true;
                let first = partition.lock().tracker.position();
                let reason = format!(
                    "the group has committed no offset and start is \"error\"; `wasmill resume` begins at {first}, the first message, `wasmill group reset` moves a group that nobody is in"
                );
                self.stop(index, reason);
            }
            QueueProblem::Other { code, text } => {
                tracing::warn!(
                    pipeline = %self.shared.name, partition = %partition.id, code, text, "partition queue reported an error"
                );
                // librdkafka moved its own position past the error entry; once what was taken is handed over, the queue
                // is put back to ours, lest a message be skipped.
                self.held[index].distrusted = true;
            }
        }
    }

    fn member_failed(&self, member: usize, reason: String) {
        let _ = self.shared.events.send(Event::MemberFailed { member, reason });
    }

    /// Does what the lane was told.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Assign(assignment) => self.assign(*assignment),
            Command::Release { ids, done } => {
                self.release(&ids);
                let _ = done.send(());
            }
            Command::RewindAll => {
                self.publisher = self.shared.publisher();
                for index in 0..self.held.len() {
                    let _ = self.rewind(index);
                }
            }
            Command::Resume { id, skip, done } => {
                let _ = done.send(self.resume(&id, skip));
            }
            Command::Seek(seek) => self.begin_seek(*seek),
            Command::Stop => {}
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        let Assignment { partition, queue, member } = assignment;
        // What the instance remembers of an earlier assignment is not for this one.
        self.sides.serving.discard();
        if let Some(candidate) = &mut self.sides.candidate {
            candidate.discard();
        }
        let held = Held::new(partition, queue, member);
        self.deployed.handover.assigned(&held.partition.id, held.first());
        self.held.push(held);
    }

    fn release(&mut self, ids: &[TopicPartition]) {
        self.held.retain(|held| {
            let stays = !ids.contains(&held.partition.id);
            if !stays
                && mutant::is(Mutant::DropRetriesOnRevoke)
                && let Some(again) = &held.again
            {
                held.partition.complete(again.fence, again.run, false);
            }
            stays
        });
        // A cancellation was meant for them; the next call is somebody else's.
        self.lane.forgive();
    }

    fn resume(&mut self, id: &TopicPartition, skip: Option<i64>) -> Result<i64, String> {
        let Some(index) = self.held.iter().position(|held| held.partition.id == *id) else {
            return Err(format!("partition {id} is not here"));
        };
        let held = &mut self.held[index];
        if let Some(reason) = held.partition.is_over() {
            return Err(format!("partition {id} cannot go on: {reason}"));
        }
        let offset = held.next_offset();
        if held.out_of_range {
            return self.resume_out_of_range(index, offset, skip.is_some());
        }
        if let Some(skip) = skip {
            if !held.stopped {
                return Err(format!(
                    "partition {id} is not stopped, so message {skip} cannot be skipped; hint: `wasmill status` shows where partitions stand"
                ));
            }
            if skip != offset {
                return Err(format!(
                    "partition {id} does not stand at offset {skip} but at {offset}; hint: use `--offset {offset}` to pass over that one"
                ));
            }
            self.pass(index)?;
        }
        let held = &mut self.held[index];
        held.stopped = false;
        held.stands_at = None;
        held.not_before = None;
        if let Some(again) = &mut held.again {
            again.attempt = 1;
        }
        let mut state = held.partition.lock();
        state.phase = Phase::Running;
        state.retry = None;
        state.note_dirty = true;
        drop(state);
        held.partition.mark_dirty();
        Ok(offset)
    }

    /// Messages are gone and an operator says to go on: where some are left. Only a new client can read the partition
    /// again; this one has given it up. Until that has it, the partition stays stopped and says so.
    fn resume_out_of_range(&mut self, index: usize, offset: i64, skip: bool) -> Result<i64, String> {
        let partition = &self.held[index].partition;
        let id = partition.id.clone();
        if skip {
            return Err(format!(
                "there is no message {offset} of partition {id} to skip; hint: `wasmill resume` goes on at the first one that is left"
            ));
        }
        self.shared.begin_anew(id.clone());
        let reason = format!("partition {id} begins at its first message; it could not at {offset}");
        let _ = self.shared.events.send(Event::MemberRenewed { member: partition.member, reason });
        Ok(offset)
    }

    /// Counts the message at the head as complete without handling it.
    fn pass(&mut self, index: usize) -> Result<(), String> {
        let held = &mut self.held[index];
        let offset = held.next_offset();
        match (&mut held.again, held.stands_at) {
            (Some(again), _) => {
                let bytes = again.batch.message(again.from).bytes();
                let (run, fence) = (again.run, again.fence);
                if again.from + 1 < again.batch.len() {
                    again.run = held.partition.lock().tracker.split(run, Offset(offset), 1, bytes as u64);
                    again.from += 1;
                } else {
                    held.again = None;
                }
                held.partition.complete(fence, run, false);
            }
            // It is read again with what is behind it, and left out then.
            (None, Some(_)) => held.partition.lock().tracker.remember_done(Offset(offset), Offset(offset)),
            (None, None) => {
                return Err(format!(
                    "partition {} stands at no message that could be skipped; hint: use `wasmill resume`",
                    held.partition.id
                ));
            }
        }
        held.partition.counters.skipped.increment(1);
        tracing::warn!(pipeline = %self.shared.name, partition = %held.partition.id, offset, "message skipped by an operator");
        Ok(())
    }

    /// The queue is empty: when nothing is outstanding either, what lies between the last message and the queue's
    /// position are markers and gaps, and that is said to the coordinator too, so that lag reads 0 in everybody's tools.
    pub(super) fn idle(&mut self, index: usize) {
        let held = &mut self.held[index];
        {
            let state = held.partition.lock();
            if state.tickets > 0 || state.tracker.outstanding() > 0 || state.must_rewind {
                return;
            }
        }
        let Some(position) = held.queue.idle_position() else { return };
        let mut state = held.partition.lock();
        if position <= state.tracker.watermark() {
            return;
        }
        let fence = state.tracker.fence();
        let moved = matches!(state.tracker.advance_idle(fence, position), Completion::Moved(_));
        drop(state);
        if moved {
            held.partition.mark_dirty();
        }
    }
}

impl Held {
    fn new(
        partition: std::sync::Arc<super::partition::Partition>,
        queue: wasmill_kafka::PartitionQueue,
        member: wasmill_kafka::MemberHandle,
    ) -> Self {
        Self {
            partition,
            queue,
            member,
            again: None,
            backlog: wasmill_core::Batch::new(),
            backlog_from: 0,
            not_before: None,
            seek_to: None,
            seeking: None,
            stopped: false,
            stands_at: None,
            out_of_range: false,
            distrusted: false,
        }
    }

    /// The offset at which the partition stands.
    pub(super) fn next_offset(&self) -> i64 {
        match &self.again {
            Some(again) => again.batch.message(again.from).offset,
            None => self.stands_at.unwrap_or_else(|| self.partition.lock().tracker.position().get()),
        }
    }

    /// Forgets what was taken; the queue is read from `to`.
    pub(super) fn restart_at(&mut self, to: NextOffset) {
        self.again = None;
        self.backlog.clear();
        self.backlog_from = 0;
        self.not_before = None;
        self.seek_to = Some(to);
    }
}
