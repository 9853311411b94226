//! Where a call's messages come from: what an earlier call left, then what was taken but not handed over, then the
//! partition's queue.

use std::ops::Range;

use wasmill_config::CanaryBy;
use wasmill_core::{Batch, ErrorClass, GivenUp, Offset, Place};

use super::lane::Side;
use super::partition::{GiveUpStage, Refusal};
use super::turn::{Call, Worker};
use super::versions::Split;

/// What `Worker::batch` holds now.
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// Messages for the handler.
    Messages(Call),
    /// One message that the broker refused to publish: given up without another call.
    Refused(Call, GivenUp, GiveUpStage),
}

/// What the head of the backlog is.
enum Head {
    Fresh { end: usize },
    Refused(Refusal),
}

impl Worker {
    /// Fills `self.batch` with what is handed over next, its run open.
    pub(super) fn gather(&mut self, index: usize) -> Next {
        if let Some(again) = &self.held[index].again {
            let alone = again.from < again.alone_until;
            let bytes = self.shared.settings.batch_bytes;
            let end = if alone { again.from + 1 } else { reach(&again.batch, again.from, self.bound.get(), bytes) };
            let partition = self.held[index].partition.id.partition;
            let (side, end) = self.of_one_side(partition, &again.batch, again.from..end);
            self.batch.copy_from(&again.batch, again.from..end);
            self.batch.set_attempt(0, again.attempt);
            let (run, fence, attempt) = (again.run, again.fence, again.attempt);
            return Next::Messages(Call { run, fence, attempt, is_again: true, side });
        }
        if self.held[index].backlog_from < self.held[index].backlog.len() {
            return self.next_of_backlog(index);
        }
        self.take(index)
    }

    fn take(&mut self, index: usize) -> Next {
        let batch_bytes = self.shared.settings.batch_bytes;
        let held = &mut self.held[index];
        if std::mem::take(&mut held.distrusted) {
            held.seek_to = Some(held.partition.lock().tracker.position());
            return Next::Nothing;
        }
        self.batch.clear();
        let taken = loop {
            let taken = held.queue.take_bounded(self.bound.get(), batch_bytes, &mut self.batch);
            // Entries that are no messages come alone; behind them there may be some.
            if taken.messages > 0 || !taken.more || taken.problem.is_some() {
                break taken;
            }
        };
        self.batch.seal();
        if let Some(problem) = taken.problem {
            self.trouble(index, &problem);
        }
        let count = self.batch.len();
        if count == 0 {
            return Next::Nothing;
        }
        let held = &mut self.held[index];
        let first = self.batch.message(0).offset;
        let last = self.batch.message(count - 1).offset;
        let strange = {
            let state = held.partition.lock();
            // A rewind left marks, or the queue repeats what it gave before.
            let position = state.tracker.position();
            let marked = state.tracker.done().ranges().next_back().is_some_and(|(_, last)| last.0 >= position.get());
            // A message whose attempts are counted goes first in its call, so that they are counted on.
            let counted = state.retry.is_some_and(|retry| retry.offset > first && retry.offset <= last);
            first < position.get() || marked || counted || !state.refused.is_empty()
        };
        // A ticket's tokens count offsets from the first one in 32 bits.
        let wide = last - first >= i64::from(u32::MAX);
        let number = self.held[index].partition.id.partition;
        let mixed = self.of_one_side(number, &self.batch, 0..count).1 < count;
        let held = &mut self.held[index];
        if strange || wide || mixed || reach(&self.batch, 0, self.bound.get(), batch_bytes) < count {
            std::mem::swap(&mut self.batch, &mut held.backlog);
            held.backlog_from = 0;
            return self.next_of_backlog(index);
        }
        Next::Messages(self.open(index))
    }

    /// The next stretch of the backlog that is of one kind.
    fn next_of_backlog(&mut self, index: usize) -> Next {
        let Some(head) = self.pass_over(index) else { return Next::Nothing };
        let held = &mut self.held[index];
        let from = held.backlog_from;
        let end = match &head {
            Head::Fresh { end } => *end,
            Head::Refused(_) => from + 1,
        };
        self.batch.copy_from(&held.backlog, from..end);
        held.backlog_from = end;
        if held.backlog_from == held.backlog.len() {
            held.backlog.clear();
            held.backlog_from = 0;
        }
        let call = self.open(index);
        match head {
            Head::Fresh { .. } => Next::Messages(call),
            // Not even the bare dead letter was taken: hold here rather than lose it or go round for ever.
            Head::Refused(Refusal { stage: Some(GiveUpStage::HeadersOnly), reason }) => {
                self.put_back(index, call, 1, 0);
                self.stop(index, format!("dead letter refused: {reason}"));
                Next::Nothing
            }
            Head::Refused(refusal) => {
                let stage = match refusal.stage {
                    None => GiveUpStage::Whole,
                    Some(_) => GiveUpStage::HeadersOnly,
                };
                let given_up =
                    GivenUp { message: 0, attempts: call.attempt, class: ErrorClass::Refused, reason: refusal.reason };
                Next::Refused(call, given_up, stage)
            }
        }
    }

    /// Passes over repeats and complete messages, and says what comes then.
    fn pass_over(&mut self, index: usize) -> Option<Head> {
        let batch_bytes = self.shared.settings.batch_bytes;
        let held = &mut self.held[index];
        let mut state = held.partition.lock();
        while held.backlog_from < held.backlog.len() {
            let offset = Offset(held.backlog.message(held.backlog_from).offset);
            if offset.0 < state.tracker.position().get() {
                held.backlog_from += 1;
            } else if state.tracker.is_done(offset) {
                // Complete before a rewind or a restart: published already, so it must not be handled again.
                state.tracker.skip_done(offset);
                held.backlog_from += 1;
            } else if let Some(refusal) = state.refused.remove(&offset.0) {
                return Some(Head::Refused(refusal));
            } else {
                let from = held.backlog_from;
                let mut end = reach(&held.backlog, from, self.bound.get(), batch_bytes);
                end = of_one_side(self.deployed.split(), held.partition.id.partition, &held.backlog, from..end).1;
                for at in from + 1..end {
                    let later = Offset(held.backlog.message(at).offset);
                    let counted = state.retry.is_some_and(|retry| retry.offset == later.0);
                    let special = counted || state.tracker.is_done(later) || state.refused.contains_key(&later.0);
                    if special || later.0 - offset.0 >= i64::from(u32::MAX) {
                        end = at;
                        break;
                    }
                }
                return Some(Head::Fresh { end });
            }
        }
        drop(state);
        held.backlog.clear();
        held.backlog_from = 0;
        held.partition.mark_dirty();
        None
    }

    /// Opens the run of what is in `self.batch`.
    fn open(&mut self, index: usize) -> Call {
        let partition = &self.held[index].partition;
        let count = self.batch.len();
        let first = Offset(self.batch.message(0).offset);
        let last = Offset(self.batch.message(count - 1).offset);
        let mut state = partition.lock();
        let run = state.tracker.hand_over(first, last, count as u32, self.batch.bytes() as u64);
        let fence = state.tracker.fence();
        // A retry that was under way before a restart or a rewind goes on counting.
        let attempt = match &state.retry {
            Some(retry) if retry.offset == first.0 => retry.attempts + 1,
            _ => 1,
        };
        drop(state);
        if attempt > 1 {
            self.batch.set_attempt(0, attempt);
        }
        let (side, _) = self.of_one_side(partition.id.partition, &self.batch, 0..1);
        Call { run, fence, attempt, is_again: false, side }
    }

    fn of_one_side(&self, partition: i32, batch: &Batch, range: Range<usize>) -> (Side, usize) {
        of_one_side(self.deployed.split(), partition, batch, range)
    }
}

/// Which version gets the first of these messages, and where those end that it gets in one call. A partition's messages
/// go one after the other whoever gets them, so that their order holds across both versions.
fn of_one_side(split: Option<Split>, partition: i32, batch: &Batch, range: Range<usize>) -> (Side, usize) {
    let Some(split) = split else { return (Side::Serving, range.end) };
    let side = |at: usize| {
        let message = batch.message(at);
        let place = match split.by {
            CanaryBy::Key => Place::of_message(message.key(), message.offset),
            CanaryBy::Partition => Place::of_partition(partition),
        };
        if place.is_in(split.share) { Side::Candidate } else { Side::Serving }
    };
    let first = side(range.start);
    let end = (range.start + 1..range.end).find(|at| side(*at) != first).unwrap_or(range.end);
    (first, end)
}

/// The end of what fits into one call from `from` on: at least one message.
fn reach(batch: &Batch, from: usize, messages: usize, bytes: usize) -> usize {
    let most = from.saturating_add(messages.max(1)).min(batch.len());
    if from == 0 && most == batch.len() && batch.bytes() <= bytes {
        return most;
    }
    let mut sum = 0;
    for at in from..most {
        sum += batch.message(at).bytes();
        if sum > bytes && at > from {
            return at;
        }
    }
    most
}
