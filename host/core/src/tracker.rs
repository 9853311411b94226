//! The tracker of one assigned partition: what was handed over, what is complete, and the watermark between.
//!
//! A *run* is a stretch of messages handed over together. Runs are kept in the order of their offsets; the watermark
//! moves past the first of them once it is complete, and on through what lies complete behind it. Offsets are never
//! counted: transaction markers and compaction leave gaps, so the end of a run is where its last message was.

use std::collections::VecDeque;

use crate::done::DoneSet;
use crate::fence::{Epoch, Fence, Generation};
use crate::offset::{NextOffset, Offset};

/// How much may be handed over beyond the watermark.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SpanBound {
    /// The most messages.
    pub messages: u64,
    /// Bytes of keys, values and headers.
    pub bytes: u64,
}

impl SpanBound {
    /// The bound below which a whole batch still fits. Handing over at any place below the bound itself would let the
    /// last batch pass it, and a crash cost more than was promised. Cutting that batch short instead would leave ever
    /// smaller ones circling at the bound.
    #[must_use]
    pub fn leaving_room_for(self, messages: u64, bytes: u64) -> Self {
        let less = |bound: u64, batch: u64| bound.saturating_sub(batch).saturating_add(1);
        Self { messages: less(self.messages, messages), bytes: less(self.bytes, bytes) }
    }
}

/// How much is handed over beyond the watermark.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct SpanSize {
    /// Messages, complete ones that wait for a lower one included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Position minus watermark, gaps included.
    pub offsets: i64,
}

/// Names a run; never used twice by a tracker.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RunId(u64);

/// What an answer led to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Completion {
    /// Nothing: it belongs to an earlier generation or epoch, or the run was complete before.
    Stale,
    /// Noted, but the watermark stays where it is.
    Held,
    /// The watermark is now here.
    Moved(NextOffset),
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    /// Handed over.
    Open,
    /// Complete, and a lower run is not.
    Complete,
    /// Below the watermark; its slot waits until it is the oldest.
    Passed,
}

#[derive(Debug)]
struct Run {
    first: i64,
    last: i64,
    messages: u32,
    bytes: u64,
    state: State,
    /// The run with the next higher offsets. Not always the next slot: splitting makes a new run in the middle.
    next: Option<u64>,
}

/// Watermark, position and what lies between, of one partition in one generation.
#[derive(Debug)]
pub struct Tracker {
    fence: Fence,
    closed: bool,
    bound: SpanBound,
    watermark: NextOffset,
    position: NextOffset,
    /// Slots by run number, the first of them number `base`. Each is pushed once and popped once.
    runs: VecDeque<Run>,
    base: u64,
    lowest: Option<u64>,
    highest: Option<u64>,
    outstanding: u64,
    span_messages: u64,
    span_bytes: u64,
    done: DoneSet,
    /// The highest done message that was met but lies behind everything handed over.
    skipped: Option<Offset>,
    /// Behind everything that a rewind dropped unfinished, or that a seek wants again.
    unfinished: NextOffset,
    /// Behind the highest message that was ever handed over.
    handed: NextOffset,
}

impl Tracker {
    /// A partition that is read from `start`. `done` is what an earlier holder completed above it (from the note of
    /// the commit that `start` comes from, and from no other: what is in it is not handed over).
    pub fn new(start: NextOffset, generation: Generation, bound: SpanBound, done: DoneSet) -> Self {
        let mut tracker = Self {
            fence: Fence { generation, epoch: Epoch::FIRST },
            closed: false,
            bound,
            watermark: start,
            position: start,
            runs: VecDeque::new(),
            base: 0,
            lowest: None,
            highest: None,
            outstanding: 0,
            span_messages: 0,
            span_bytes: 0,
            done,
            skipped: None,
            unfinished: start,
            // Nothing: where the assignment starts may be far behind the last message.
            handed: NextOffset::at(0),
        };
        tracker.raise_watermark(start);
        tracker
    }

    /// What everything handed over now has to carry.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// True if more may be handed over: the span is below both bounds. What is handed over next may pass them (a
    /// message larger than the bound must go through some day), and with nothing handed over there is always room.
    pub fn room(&self) -> bool {
        let below = self.span_messages < self.bound.messages && self.span_bytes < self.bound.bytes;
        !self.closed && (below || self.lowest.is_none())
    }

    /// Notes that the messages from `first` to `last` are handed over, `messages` of them with `bytes` bytes. Offsets
    /// ascend from call to call; what is missing between them does not exist or is done.
    pub fn hand_over(&mut self, first: Offset, last: Offset, messages: u32, bytes: u64) -> RunId {
        debug_assert!(first <= last && first.0 >= self.position.get(), "{first} to {last} at {}", self.position);
        self.place_skipped(first, last);
        let id = self.base + self.runs.len() as u64;
        self.runs.push_back(Run { first: first.0, last: last.0, messages, bytes, state: State::Open, next: None });
        match self.highest {
            Some(highest) => self.slot(highest).next = Some(id),
            None => self.lowest = Some(id),
        }
        self.highest = Some(id);
        self.outstanding += u64::from(messages);
        self.span_messages += u64::from(messages);
        self.span_bytes += bytes;
        self.position = self.position.max(NextOffset::after(last));
        self.handed = self.handed.max(self.position);
        RunId(id)
    }

    /// Divides a run: it keeps its messages up to `first_last`, which are `messages` with `bytes` bytes; the run that is
    /// returned has the others. Both are to be completed. Of a run that is stale or complete, the rest is stale.
    pub fn split(&mut self, run: RunId, first_last: Offset, messages: u32, bytes: u64) -> RunId {
        let id = self.base + self.runs.len() as u64;
        let Some(front) = self.open_run(run) else {
            return RunId(u64::MAX);
        };
        let border = first_last.0.min(front.last);
        let rest = Run {
            first: border.saturating_add(1),
            last: front.last,
            messages: front.messages.saturating_sub(messages),
            bytes: front.bytes.saturating_sub(bytes),
            state: State::Open,
            next: front.next,
        };
        front.last = border;
        front.messages -= rest.messages;
        front.bytes -= rest.bytes;
        front.next = Some(id);
        self.runs.push_back(rest);
        if self.highest == Some(run.0) {
            self.highest = Some(id);
        }
        RunId(id)
    }

    /// Notes that every message of a run is complete. Answers of another generation or epoch change nothing.
    pub fn complete(&mut self, fence: Fence, run: RunId) -> Completion {
        if self.closed || fence != self.fence {
            return Completion::Stale;
        }
        let Some(completed) = self.open_run(run) else {
            return Completion::Stale;
        };
        completed.state = State::Complete;
        let (first, last, messages) = (completed.first, completed.last, completed.messages);
        self.outstanding -= u64::from(messages);
        if self.lowest != Some(run.0) {
            self.done.insert(Offset(first), Offset(last));
            return Completion::Held;
        }
        let before = self.watermark;
        let behind = self.pass_complete_runs();
        self.raise_watermark(behind);
        if self.watermark == before { Completion::Held } else { Completion::Moved(self.watermark) }
    }

    /// Every message below it is complete. The start of the assignment until something is.
    pub fn watermark(&self) -> NextOffset {
        self.watermark
    }

    /// Behind the highest message handed over, or known not to need it.
    pub fn position(&self) -> NextOffset {
        self.position
    }

    /// Messages handed over and not complete.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// How far position and watermark are apart.
    pub fn span(&self) -> SpanSize {
        SpanSize {
            messages: self.span_messages,
            bytes: self.span_bytes,
            offsets: self.position.get().saturating_sub(self.watermark.get()),
        }
    }

    /// The poller's queue is empty and reading goes on at `position`: what lies between are markers and gaps. Moves
    /// the watermark there if nothing is outstanding and nothing that a rewind dropped is still to come.
    ///
    /// `position` has to come from the queue, under `fence`: everything below it was taken, and handed over or skipped
    /// as done. The end of the partition as a broker tells it is not that; messages that are not fetched yet lie
    /// below it.
    pub fn advance_idle(&mut self, fence: Fence, position: NextOffset) -> Completion {
        if self.closed || fence != self.fence {
            return Completion::Stale;
        }
        let met = self.skipped.map_or(self.position, |skipped| self.position.max(NextOffset::after(skipped)));
        // Right after a rewind the queue is empty, too, and what was dropped is yet to come again.
        if self.lowest.is_some() || position <= self.watermark || met < self.unfinished {
            return Completion::Held;
        }
        self.skipped = self.skipped.filter(|skipped| NextOffset::after(*skipped) > position);
        self.raise_watermark(position);
        Completion::Moved(self.watermark)
    }

    /// Begins a new epoch at the watermark, which is returned and to which the queue has to be sought. What is in
    /// flight is dropped: its answers will be stale. What is complete above the watermark stays in `done`.
    pub fn rewind(&mut self) -> NextOffset {
        for run in self.runs.iter().filter(|run| run.state == State::Open) {
            self.unfinished = self.unfinished.max(NextOffset::after(Offset(run.last)));
        }
        self.begin_epoch();
        self.position = self.watermark;
        self.watermark
    }

    /// Begins a new epoch at `to`, wherever that is: an operator wants everything from there on handed over, complete or
    /// not, and nothing below it. What is in flight is dropped, and what was complete is forgotten. The watermark can go
    /// back by this, and by nothing else.
    pub fn seek(&mut self, to: NextOffset) {
        if self.closed {
            return;
        }
        self.begin_epoch();
        // What is remembered as complete at or behind the target would be left out, and it was asked for.
        self.done = DoneSet::new();
        self.watermark = to;
        self.position = to;
        // All of it comes again, though not at once: until then an idle queue says nothing.
        self.unfinished = to.max(self.handed);
    }

    /// Begins a new epoch at what is known to be persisted: `at`, with `done` complete above it. What this tracker counted
    /// beyond that is forgotten, complete or not, and comes again.
    pub fn restore(&mut self, at: NextOffset, done: DoneSet) {
        if self.closed {
            return;
        }
        self.begin_epoch();
        self.done = done;
        self.watermark = at;
        self.raise_watermark(at);
        self.position = self.watermark;
        self.unfinished = self.watermark.max(self.handed);
    }

    fn begin_epoch(&mut self) {
        self.fence.epoch = self.fence.epoch.next();
        // Numbers go on, so that a run of the old epoch cannot be taken for one of the new.
        self.base += self.runs.len() as u64;
        self.runs.clear();
        self.lowest = None;
        self.highest = None;
        self.outstanding = 0;
        self.span_messages = 0;
        self.span_bytes = 0;
        self.skipped = None;
    }

    /// Notes that `first` to `last` are complete though no run says so: after a rewind, what a run held beside the
    /// message for which the rewind was made.
    pub fn remember_done(&mut self, first: Offset, last: Offset) {
        if self.closed {
            return;
        }
        self.done.insert(first, last);
        self.raise_watermark(self.watermark);
    }

    /// What is complete above the watermark.
    pub fn done(&self) -> &DoneSet {
        &self.done
    }

    /// True if the message is complete and must not be handed over (again).
    pub fn is_done(&self, offset: Offset) -> bool {
        offset.0 < self.watermark.get() || self.done.contains(offset)
    }

    /// The poller met a message that is done, and leaves it out. True if it is; false, and nothing happens, if it has
    /// to be handed over. It takes its place in the order when something behind it is handed over, so that messages
    /// in front of it, gathered but not yet handed over, are not passed.
    pub fn skip_done(&mut self, offset: Offset) -> bool {
        let done = self.is_done(offset);
        if done && offset.0 >= self.position.get() {
            self.skipped = self.skipped.max(Some(offset));
        }
        done
    }

    /// The generation is over: every later answer is stale and there is no room any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// True after `close`.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Puts a met done message between the runs it lies between.
    fn place_skipped(&mut self, first: Offset, last: Offset) {
        let Some(skipped) = self.skipped.filter(|&skipped| skipped <= last) else { return };
        self.skipped = None;
        if skipped >= first {
            // Within the new run, which ends behind it.
            return;
        }
        match self.highest {
            // The run before it passes it when it completes.
            Some(highest) => {
                let run = self.slot(highest);
                run.last = run.last.max(skipped.0);
            }
            None => self.raise_watermark(NextOffset::after(skipped)),
        }
    }

    /// Takes the complete runs at the lower end out; returns the place behind the last of them.
    fn pass_complete_runs(&mut self) -> NextOffset {
        let mut behind = self.watermark;
        while let Some(lowest) = self.lowest {
            let run = self.slot(lowest);
            if run.state != State::Complete {
                break;
            }
            run.state = State::Passed;
            let (last, next, messages, bytes) = (run.last, run.next, run.messages, run.bytes);
            behind = behind.max(NextOffset::after(Offset(last)));
            self.span_messages -= u64::from(messages);
            self.span_bytes -= bytes;
            self.lowest = next;
        }
        if self.lowest.is_none() {
            self.highest = None;
        }
        while self.runs.front().is_some_and(|run| run.state == State::Passed) {
            self.runs.pop_front();
            self.base += 1;
        }
        behind
    }

    /// Moves the watermark up to `next` and through the done messages that follow without a gap.
    fn raise_watermark(&mut self, next: NextOffset) {
        self.watermark = self.done.absorb(self.watermark.max(next));
        self.position = self.position.max(self.watermark);
    }

    fn open_run(&mut self, run: RunId) -> Option<&mut Run> {
        let index = usize::try_from(run.0.checked_sub(self.base)?).ok()?;
        self.runs.get_mut(index).filter(|run| run.state == State::Open)
    }

    /// The slot of a run that is linked, which is kept until it is passed.
    fn slot(&mut self, id: u64) -> &mut Run {
        &mut self.runs[(id - self.base) as usize]
    }
}

#[cfg(test)]
mod tests;
