//! What a lane has in hand of a partition, and which of it is delivered next: what an earlier call left, then what was taken
//! from the source and not delivered, then what the source gives.
//!
//! Messages of one partition are delivered one call after the other, so a call is always a prefix of the backlog. What
//! divides it: the bound of a call, a message that goes alone because its batch crashed, a version that gets only some of
//! the messages, and messages that are complete, refused or being retried.

use std::ops::Range;

use crate::batch::{Batch, MessageRef};
use crate::fence::Fence;
use crate::messages::Messages;
use crate::partition::{DeadLetterStage, Opened, Partition, Refusal};
use crate::tracker::RunId;
use crate::verdict::{ErrorClass, GivenUp};

/// Which version a call goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The version that serves.
    Serving,
    /// One on trial beside it.
    Candidate,
}

/// Says which version gets a message; `None` where there is one version only.
pub type Route<'a> = Option<&'a dyn Fn(&MessageRef<'_>) -> Side>;

/// One call: the messages in the lane's batch, under an open run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The open run that counts its messages.
    pub run: RunId,
    /// What its answers have to carry.
    pub fence: Fence,
    /// Attempt of the first message; the others are at their first.
    pub attempt: u32,
    /// The messages are the first of what an earlier call left.
    pub is_leftover: bool,
    /// Which version it goes to.
    pub side: Side,
    /// The offsets of its messages.
    pub messages: Messages,
}

impl Call {
    /// The call of everything from the first place to `last`, just opened, to the version that serves.
    pub fn of_all(opened: Opened, last: i64) -> Self {
        let Opened { run, fence, attempt } = opened;
        let messages = Messages::Range { first: 0, last };
        Self { run, fence, attempt, is_leftover: false, side: Side::Serving, messages }
    }
}

/// How large a call may be. A first message is always in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallBound {
    /// The most messages.
    pub messages: usize,
    /// Bytes of keys, values and headers.
    pub bytes: usize,
}

/// What is delivered next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pick {
    /// Nothing can be delivered.
    Nothing,
    /// These messages, to the handler.
    Call(Call),
    /// One message that the broker refused to publish: failed without another call, with a dead letter of that stage.
    Refused(Call, GivenUp, DeadLetterStage),
    /// One message whose last dead letter was refused, too: the partition cannot get past it. It stays in the backlog.
    Stuck {
        /// The offset of the message.
        offset: i64,
        /// The broker's reason.
        reason: String,
    },
}

/// What an earlier call left; its run is open.
#[derive(Debug)]
struct Leftover {
    batch: Batch,
    from: usize,
    run: RunId,
    fence: Fence,
    /// Attempt of the message at `from`.
    attempt: u32,
    /// Messages before this index go one at a time: one of them crashed the handler.
    alone_until: usize,
}

/// What is in hand of one partition. Its memory is reused.
#[derive(Debug, Default)]
pub struct Backlog {
    leftover: Option<Leftover>,
    /// Taken and not delivered; messages before `fresh_from` are done with.
    fresh: Batch,
    fresh_from: usize,
}

/// What the head of the fresh messages is.
enum Head {
    Deliver { end: usize },
    Refused(Refusal),
}

impl Backlog {
    /// Nothing in hand.
    pub fn new() -> Self {
        Self::default()
    }

    /// What an earlier call left: its first message, and how many.
    pub fn leftover(&self) -> Option<(i64, u64)> {
        self.leftover.as_ref().map(|left| (left.batch.message(left.from).offset, (left.batch.len() - left.from) as u64))
    }

    /// The first message of what an earlier call left.
    pub fn head(&self) -> Option<i64> {
        self.leftover().map(|(first, _)| first)
    }

    /// The attempt with which the head is delivered next, if it is not its first.
    pub fn retried(&self) -> Option<u32> {
        self.leftover.as_ref().map(|left| left.attempt).filter(|attempt| *attempt > 1)
    }

    /// The run and fence of what an earlier call left.
    pub fn open_run(&self) -> Option<(Fence, RunId)> {
        self.leftover.as_ref().map(|left| (left.fence, left.run))
    }

    /// Whether messages were taken and not delivered.
    pub fn has_fresh(&self) -> bool {
        self.fresh_from < self.fresh.len()
    }

    /// Whether there is nothing to pick.
    pub fn is_empty(&self) -> bool {
        self.leftover.is_none() && !self.has_fresh()
    }

    /// Forgets everything: the source is read from another place.
    pub fn forget(&mut self) {
        self.leftover = None;
        self.forget_fresh();
    }

    fn forget_fresh(&mut self) {
        self.fresh.clear();
        self.fresh_from = 0;
    }

    /// The attempts of the head count from one again.
    pub fn restart_attempts(&mut self) {
        if let Some(left) = &mut self.leftover {
            left.attempt = 1;
        }
    }

    /// Puts what is delivered next into `into`, sealed, its run open.
    pub fn pick(&mut self, partition: &mut Partition, bound: CallBound, route: Route<'_>, into: &mut Batch) -> Pick {
        if !partition.is_let_in() {
            return self.pick_nothing();
        }
        let Some(left) = &self.leftover else { return self.pick_fresh(partition, bound, route, into) };
        let alone = left.from < left.alone_until;
        let end = if alone { left.from + 1 } else { reach(&left.batch, left.from, bound) };
        let (side, end) = of_one_side(route, &left.batch, left.from..end);
        into.copy_from(&left.batch, left.from..end);
        into.set_attempt(0, left.attempt);
        let messages = range_of(into);
        let (run, fence, attempt) = (left.run, left.fence, left.attempt);
        Pick::Call(Call { run, fence, attempt, is_leftover: true, side, messages })
    }

    /// Takes up what the source gave: `batch`, sealed and not empty, with nothing else in hand. What can be delivered in one
    /// call stays in `batch` without being copied.
    pub fn take_up(
        &mut self,
        partition: &mut Partition,
        bound: CallBound,
        route: Route<'_>,
        batch: &mut Batch,
    ) -> Pick {
        debug_assert!(self.is_empty(), "the source is read when nothing else is in hand");
        if !partition.is_let_in() {
            return self.pick_nothing();
        }
        let count = batch.len();
        let (first, last) = (batch.message(0).offset, batch.message(count - 1).offset);
        // A ticket's tokens count offsets from the first one in 32 bits.
        let is_wide = last - first >= i64::from(u32::MAX);
        let is_one_call = reach(batch, 0, bound) == count && of_one_side(route, batch, 0..count).1 == count;
        if is_wide || !is_one_call || partition.is_mixed(first, last) {
            std::mem::swap(batch, &mut self.fresh);
            self.fresh_from = 0;
            return self.pick_fresh(partition, bound, route, batch);
        }
        Pick::Call(open(partition, route, batch))
    }

    /// The partition went elsewhere since the lane was told to deliver: what is in hand is of another place. To open it
    /// now would count everything below it as complete.
    fn pick_nothing(&mut self) -> Pick {
        self.forget();
        Pick::Nothing
    }

    fn pick_fresh(&mut self, partition: &mut Partition, bound: CallBound, route: Route<'_>, into: &mut Batch) -> Pick {
        let Some(head) = self.head_of_fresh(partition, bound, route) else { return Pick::Nothing };
        let from = self.fresh_from;
        let end = match &head {
            Head::Deliver { end } => *end,
            Head::Refused(_) => from + 1,
        };
        into.copy_from(&self.fresh, from..end);
        self.fresh_from = end;
        if !self.has_fresh() {
            self.forget_fresh();
        }
        let call = open(partition, route, into);
        match head {
            Head::Deliver { .. } => Pick::Call(call),
            // To go round again would go round for ever, to pass over it would lose it.
            Head::Refused(Refusal { stage: Some(DeadLetterStage::HeadersOnly), reason }) => {
                let offset = call.messages.first();
                self.put_back(&call, into, 1, 0);
                Pick::Stuck { offset, reason }
            }
            Head::Refused(Refusal { stage, reason }) => {
                let stage = if stage.is_none() { DeadLetterStage::Whole } else { DeadLetterStage::HeadersOnly };
                let failed = GivenUp { message: 0, attempts: call.attempt, class: ErrorClass::Refused, reason };
                Pick::Refused(call, failed, stage)
            }
        }
    }

    /// Leaves out repeats and complete messages, and says what comes then.
    fn head_of_fresh(&mut self, partition: &mut Partition, bound: CallBound, route: Route<'_>) -> Option<Head> {
        while self.has_fresh() {
            let offset = self.fresh.message(self.fresh_from).offset;
            // Complete before a rewind or a restart: published already, so it must not be handled again.
            if offset < partition.tracker().position().get() || partition.passes(offset) {
                self.fresh_from += 1;
                continue;
            }
            if let Some(refusal) = partition.take_refusal(offset) {
                return Some(Head::Refused(refusal));
            }
            let from = self.fresh_from;
            let (_, end) = of_one_side(route, &self.fresh, from..reach(&self.fresh, from, bound));
            let is_special = |at: &usize| {
                let later = self.fresh.message(*at).offset;
                partition.goes_apart(later) || later - offset >= i64::from(u32::MAX)
            };
            let end = (from + 1..end).find(is_special).unwrap_or(end);
            return Some(Head::Deliver { end });
        }
        self.forget_fresh();
        None
    }

    /// Divides the call's run behind its first `settled` messages. Returns the run of the rest and the last settled offset.
    pub fn part(&self, partition: &mut Partition, call: &Call, batch: &Batch, settled: usize) -> (RunId, i64) {
        if settled == 0 {
            return (call.run, 0);
        }
        let last = batch.message(settled - 1).offset;
        let open = match &self.leftover {
            Some(left) if call.is_leftover => left.batch.len() - left.from,
            _ => batch.len(),
        };
        if settled == open {
            return (call.run, last);
        }
        let bytes: usize = (0..settled).map(|at| batch.message(at).bytes()).sum();
        (partition.split(call.run, call.fence, last, settled as u32, bytes as u64), last)
    }

    /// Keeps what is behind the settled messages of a call, under the run of the rest; its first message is delivered with
    /// `attempt`.
    pub fn keep(&mut self, call: &Call, batch: &mut Batch, settled: usize, rest: RunId, attempt: u32) {
        if !call.is_leftover {
            if settled < batch.len() {
                let (batch, fence) = (std::mem::take(batch), call.fence);
                self.leftover = Some(Leftover { batch, from: settled, run: rest, fence, attempt, alone_until: 0 });
            }
            return;
        }
        let Some(left) = &mut self.leftover else { return };
        left.from += settled;
        left.run = rest;
        left.attempt = attempt;
        if left.from == left.batch.len() {
            self.leftover = None;
        }
    }

    /// Keeps all of a call's messages for another call. `alone`: so many of them go one at a time.
    pub fn put_back(&mut self, call: &Call, batch: &mut Batch, attempt: u32, alone: usize) {
        match &mut self.leftover {
            Some(left) if call.is_leftover => {
                left.attempt = attempt;
                left.alone_until = left.alone_until.max(left.from + alone);
            }
            _ => {
                let (batch, run, fence) = (std::mem::take(batch), call.run, call.fence);
                self.leftover = Some(Leftover { batch, from: 0, run, fence, attempt, alone_until: alone });
            }
        }
    }

    /// Takes the head of what an earlier call left out of the backlog, to be counted as complete: returns its run and fence.
    pub fn pass_head(&mut self, partition: &mut Partition) -> Option<(Fence, RunId)> {
        let left = self.leftover.as_mut()?;
        let message = left.batch.message(left.from);
        let (offset, bytes) = (message.offset, message.bytes());
        let passed = (left.fence, left.run);
        if left.fence != partition.fence() {
            // It went back meanwhile, and the message comes again: it is left out then.
            partition.pass_unread(offset);
            self.forget();
            return Some(passed);
        }
        if left.from + 1 < left.batch.len() {
            left.run = partition.split(left.run, left.fence, offset, 1, bytes as u64);
            left.from += 1;
        } else {
            self.leftover = None;
        }
        Some(passed)
    }
}

/// Opens the run of what is in `batch`.
fn open(partition: &mut Partition, route: Route<'_>, batch: &mut Batch) -> Call {
    let messages = range_of(batch);
    let (count, bytes) = (batch.len() as u32, batch.bytes() as u64);
    let opened = partition.open(messages.first(), messages.last(), count, bytes);
    if opened.attempt > 1 {
        batch.set_attempt(0, opened.attempt);
    }
    let (side, _) = of_one_side(route, batch, 0..1);
    Call { run: opened.run, fence: opened.fence, attempt: opened.attempt, is_leftover: false, side, messages }
}

/// The messages of a batch in partition order.
fn range_of(batch: &Batch) -> Messages {
    Messages::Range { first: batch.message(0).offset, last: batch.message(batch.len() - 1).offset }
}

/// Which version gets the first of these messages, and where those end that it gets in one call. A partition's messages
/// go one after the other whoever gets them, so that their order holds across both versions.
fn of_one_side(route: Route<'_>, batch: &Batch, range: Range<usize>) -> (Side, usize) {
    let Some(route) = route else { return (Side::Serving, range.end) };
    let first = route(&batch.message(range.start));
    let end = (range.start + 1..range.end).find(|at| route(&batch.message(*at)) != first).unwrap_or(range.end);
    (first, end)
}

/// The end of what fits into one call from `from` on: at least one message.
fn reach(batch: &Batch, from: usize, bound: CallBound) -> usize {
    let most = from.saturating_add(bound.messages.max(1)).min(batch.len());
    if from == 0 && most == batch.len() && batch.bytes() <= bound.bytes {
        return most;
    }
    let mut sum = 0;
    for at in from..most {
        sum += batch.message(at).bytes();
        if sum > bound.bytes && at > from {
            return at;
        }
    }
    most
}

#[cfg(test)]
mod tests;
