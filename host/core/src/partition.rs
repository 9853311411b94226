//! The state machine of one assigned partition: a stage, a motion and a set of holds, around the tracker.
//!
//! Two doors lead in. Everybody says what happened with [`Partition::apply`], which answers with what follows from it
//! ([`Effects`]). The lane asks with [`Partition::next`] what to do now. Nothing else decides whether a message is
//! delivered, where the source is read and what may be persisted; status is a view of the same fields ([`Partition::view`]).
//!
//! A partition belongs to one generation: one that comes back is a new machine, so nothing late can reach it.

mod apply;
mod hold;
mod next;
mod refusals;
mod stage;
mod view;

pub use apply::{Effects, Event, Urgency};
pub use hold::{EndedBy, Hold, Holds, Reason, Scope, StopClass};
pub use next::{Ask, Next};
pub use refusals::{DeadLetterStage, Refusal, Refusals, Refused};
pub use stage::{Closed, Drain, Motion, Stage};
pub use view::{State, View};

use std::time::{Duration, Instant};

use crate::commit::CommitMode;
use crate::done::DoneSet;
use crate::fence::{Fence, Generation};
use crate::metadata::{CommitNote, RetryNote};
use crate::offset::{NextOffset, Offset};
use crate::succession::Succession;
use crate::tracker::{RunId, SpanBound, Tracker};
use crate::verdict::exponential;

/// What a partition begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The number of the assignment.
    pub generation: Generation,
    /// Which offset is persisted, and when.
    pub mode: CommitMode,
    /// Bounds of the in-flight window.
    pub window: SpanBound,
    /// The first position.
    pub at: NextOffset,
    /// What the group has committed.
    pub committed: Option<NextOffset>,
    /// `at` has to be persisted before anything is delivered.
    pub opening: bool,
    /// What travelled with the committed offset.
    pub note: CommitNote,
    /// The topic's id.
    pub topic_id: Option<String>,
    /// The place in the control topic of the version that this process runs; `None` without a control topic.
    pub running: Option<u64>,
}

/// What a call is opened with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The run of its messages.
    pub run: RunId,
    /// What its answers have to carry.
    pub fence: Fence,
    /// The attempt of its first message; the others are at their first.
    pub attempt: u32,
}

/// A partition went back to its watermark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewound {
    /// The watermark, from which it reads again.
    pub to: NextOffset,
    /// The partition stopped at this message, for this reason: a topic that takes nothing.
    pub stopped: Option<(i64, String)>,
}

/// An operator moved a partition.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Sought {
    /// Its watermark before.
    pub from: i64,
    /// Where it goes on.
    pub to: i64,
    /// Messages that were delivered and not complete. Those behind the new position are delivered again.
    pub dropped: u64,
    /// Only a new client can go on: this one has given the partition up.
    pub needs_new_client: bool,
}

/// What is to be persisted of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The offset to persist.
    pub next: NextOffset,
    /// What goes with it.
    pub note: CommitNote,
    /// What was in force when it was taken.
    pub fence: Fence,
}

/// What the coordinator is known to have.
#[derive(Clone, Debug)]
struct Snapshot {
    next: NextOffset,
    done: DoneSet,
    retry: Option<RetryNote>,
}

/// Waits in a row that end by themselves. Each is twice as long as the one before, up to a bound: whatever a cluster can give
/// back is there again within a minute of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Waits {
    /// When the first of them began.
    pub since: Option<Instant>,
    /// How many there were.
    pub count: u32,
}

impl Waits {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);

    /// One more begins. When it ends.
    fn next(&mut self, now: Instant) -> Instant {
        self.since.get_or_insert(now);
        let pause = exponential(Self::FIRST, self.count, Self::LONGEST);
        self.count = self.count.saturating_add(1);
        now + pause
    }
}

/// One assigned partition.
#[derive(Debug)]
pub struct Partition {
    mode: CommitMode,
    topic_id: Option<String>,
    stage: Stage,
    motion: Motion,
    holds: Holds,
    tracker: Tracker,
    /// Calls whose outputs are not all answered for. A drain waits for zero.
    tickets: u32,
    persisted: Option<Snapshot>,
    /// The note changed, or has to be sent again, though the offset did not move.
    note_dirty: bool,
    /// The message at the head that is being retried; its attempts survive a restart in the note.
    retry: Option<RetryNote>,
    refusals: Refusals,
    succession: Option<Succession>,
    /// A move whose new position is not persisted yet.
    moved: Option<Sought>,
    /// Waits that end by themselves and that nothing was completed since.
    output_waits: Waits,
    input_waits: Waits,
    /// The source reported an error: its own position is not to be trusted behind what was taken.
    distrusted: bool,
    /// Where the lane was last told to put the source.
    asked_for: Option<NextOffset>,
    /// What was in force when the lane was last told to deliver.
    let_in: Option<Fence>,
    /// The lane waits for a completion.
    wants_wake: bool,
    /// Nobody is to wait for room for its outputs.
    abandoned: bool,
    /// It was closed before its first position, or that of a move, was persisted.
    never_opened: bool,
}

impl Partition {
    /// A partition that was just assigned. A note of another topic counts as none: a topic that was deleted and made again
    /// has other messages under the same offsets, and the note would skip messages that nobody has handled.
    pub fn new(start: Start) -> Self {
        let same_topic = match (&start.note.topic_id, &start.topic_id) {
            (Some(noted), Some(now)) => noted == now,
            _ => true,
        };
        let CommitNote { done, retry, version, .. } = if same_topic { start.note } else { CommitNote::default() };
        let fresh = start.committed.is_none();
        let succession = start.running.map(|running| Succession::new(version, fresh, start.at.get(), running));
        let persisted = start.committed.map(|next| Snapshot { next, done: done.clone(), retry });
        Self {
            mode: start.mode,
            topic_id: start.topic_id,
            stage: if start.opening { Stage::Opening } else { Stage::Held },
            motion: Motion::Steady,
            holds: Holds::default(),
            tracker: Tracker::new(start.at, start.generation, start.window, done),
            tickets: 0,
            persisted,
            // Due even where the group has committed the same number: it may mean another topic's message.
            note_dirty: start.opening,
            retry,
            refusals: Refusals::default(),
            succession,
            moved: None,
            output_waits: Waits::default(),
            input_waits: Waits::default(),
            distrusted: false,
            asked_for: None,
            let_in: None,
            wants_wake: false,
            abandoned: false,
            never_opened: false,
        }
    }

    /// Waits for an output topic that takes nothing, one after the other. They are over once a message is completed.
    pub fn output_waits(&self) -> Waits {
        self.output_waits
    }

    /// The same for an input that cannot be read.
    pub fn input_waits(&self) -> Waits {
        self.input_waits
    }

    /// Where it is.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// What moves it.
    pub fn motion(&self) -> &Motion {
        &self.motion
    }

    /// Why nothing is delivered, beside stage and motion.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Watermark, position and what lies between.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// What everything in flight has to carry.
    pub fn fence(&self) -> Fence {
        self.tracker.fence()
    }

    /// Calls whose outputs are not all answered for.
    pub fn tickets(&self) -> u32 {
        self.tickets
    }

    /// What the coordinator last confirmed.
    pub fn committed(&self) -> Option<NextOffset> {
        self.persisted.as_ref().map(|snapshot| snapshot.next)
    }

    /// The message that is being retried.
    pub fn retry(&self) -> Option<RetryNote> {
        self.retry
    }

    /// What the broker refused and is not settled yet.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Which version of the group's may have the next message; `None` without a control topic.
    pub fn succession(&self) -> Option<&Succession> {
        self.succession.as_ref()
    }

    /// True from when it is being taken away.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving { .. } | Stage::Closed(_))
    }

    /// True if nobody is to wait for room for its outputs any more. Never taken back: a lane may still be in a call for it
    /// when the assignment is over.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// True if no outputs are in flight, or none that could still count.
    pub fn is_settled(&self) -> bool {
        self.tickets == 0 || self.tracker.is_closed()
    }

    /// True if all that was delivered is complete and persisted.
    pub fn is_persisted(&self) -> bool {
        self.tracker.outstanding() == 0
            && !self.is_opening()
            && !self.never_opened
            && self.committed().is_some_and(|committed| committed >= self.tracker.watermark())
    }

    /// True if nothing is delivered before a commit is confirmed: of the first position, or of the version in force.
    pub fn waits_for_commit(&self) -> bool {
        self.is_opening() || self.succession.is_some_and(|succession| succession.is_pending())
    }

    /// Why nothing can make this partition go on here: its topic is gone, or it is being taken away.
    pub fn is_over(&self) -> Option<&str> {
        match &self.stage {
            Stage::Closed(Closed::Orphaned(reason)) => Some(reason),
            Stage::Closed(Closed::Revoked | Closed::Lost) | Stage::Leaving { .. } => Some("it is being taken away"),
            Stage::Resolving | Stage::Opening | Stage::Held => None,
        }
    }

    fn is_opening(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Leaving { opening: true, .. })
    }

    /// The message the partition stands at: the first of `leftover`, the one it stopped at, or the next to be read.
    pub fn stands_at(&self, leftover: Option<i64>) -> i64 {
        let stopped = || self.stopped_at();
        leftover.or_else(stopped).unwrap_or(self.tracker.position().get())
    }

    /// The message it stopped at. What was taken when the client gave the partition up is delivered all the same, so such a
    /// stop names no message.
    fn stopped_at(&self) -> Option<i64> {
        self.holds.stop().filter(|(class, _)| !class.needs_new_client()).and_then(|(_, hold)| hold.offset())
    }

    /// Back to the watermark in a new epoch: what is in flight is dropped, what is complete stays so.
    pub fn rewind(&mut self, now: Instant) -> Rewound {
        if self.tracker.is_closed() {
            return Rewound { to: self.tracker.watermark(), stopped: None };
        }
        let to = self.tracker.rewind();
        for (first, last) in self.refusals.take_complete() {
            self.tracker.remember_done(Offset(first), Offset(last));
        }
        let stopped = self.refusals.take_topic();
        self.tickets = 0;
        // What waited comes again with the others, its attempts counted on.
        self.holds.end_backoff();
        if !matches!(self.motion, Motion::Draining(Drain::Seek { .. })) {
            self.motion = Motion::Repositioning { to, not_before: None };
        }
        if let Some((offset, reason)) = &stopped {
            let hold = Hold::new(Reason::Stopped(StopClass::Output), now).at(*offset).because(reason.clone());
            self.stop(hold, now);
        }
        Rewound { to, stopped }
    }

    /// Whether messages of the source from `first` to `last` need a look one by one before they are delivered: some are
    /// complete, refused or being retried, or were delivered before.
    pub fn is_mixed(&self, first: i64, last: i64) -> bool {
        let position = self.tracker.position().get();
        let marked = self.tracker.done().ranges().next_back().is_some_and(|(_, last)| last.0 >= position);
        // A message whose attempts are counted goes first in its call, so that they are counted on.
        let counted = self.retry.is_some_and(|retry| retry.offset > first && retry.offset <= last);
        first < position || marked || counted || !self.refusals.is_empty()
    }

    /// Whether what the lane was last told still counts: the partition has gone nowhere else since.
    pub(crate) fn is_let_in(&self) -> bool {
        !self.tracker.is_closed() && self.let_in.is_none_or(|fence| fence == self.tracker.fence())
    }

    /// Opens a call of `messages` messages from `first` to `last`.
    pub fn open(&mut self, first: i64, last: i64, messages: u32, bytes: u64) -> Opened {
        let run = self.tracker.hand_over(Offset(first), Offset(last), messages, bytes);
        // A retry that was under way before a restart or a rewind goes on counting.
        let attempt = self.retry.filter(|retry| retry.offset == first).map_or(1, |retry| retry.attempts + 1);
        Opened { run, fence: self.tracker.fence(), attempt }
    }

    /// Divides an open call behind its first `messages` messages, which end at `last`. The rest has the run that is
    /// returned; of a call that is stale by now, the same.
    pub fn split(&mut self, run: RunId, fence: Fence, last: i64, messages: u32, bytes: u64) -> RunId {
        if self.tracker.is_closed() || self.tracker.fence() != fence {
            return run;
        }
        self.tracker.split(run, Offset(last), messages, bytes)
    }

    /// Whether the message at `offset`, the next of the source, is complete and left out.
    pub fn passes(&mut self, offset: i64) -> bool {
        self.tracker.skip_done(Offset(offset))
    }

    /// Whether a message goes in another call than the ones in front of it: it is complete, was refused, or is counted on.
    pub fn goes_apart(&self, offset: i64) -> bool {
        let counted = self.retry.is_some_and(|retry| retry.offset == offset);
        counted || self.tracker.is_done(Offset(offset)) || self.refusals.get(offset).is_some()
    }

    /// Takes the refusal of a message that comes round again.
    pub fn take_refusal(&mut self, offset: i64) -> Option<Refusal> {
        self.refusals.take(offset)
    }

    /// Counts a message that nobody has in hand as complete; it is left out when it comes round again.
    pub fn pass_unread(&mut self, offset: i64) {
        self.tracker.remember_done(Offset(offset), Offset(offset));
    }

    /// An operator wants the partition moved once what is in flight is answered for, or at `until`.
    ///
    /// # Errors
    /// It is being moved already, or nothing can move it.
    pub fn seek(&mut self, to: NextOffset, until: Instant) -> Result<(), SeekRefused> {
        if let Some(reason) = self.is_over() {
            return Err(SeekRefused::Over(reason.to_owned()));
        }
        if matches!(self.motion, Motion::Draining(Drain::Seek { .. })) {
            return Err(SeekRefused::Moving);
        }
        self.motion = Motion::Draining(Drain::Seek { to, until });
        Ok(())
    }

    /// What to persist now; `None` if nothing changed. `closing`: at a revoke, a shutdown and a stop.
    pub fn due(&mut self, closing: bool) -> Option<Mark> {
        let opening = self.is_opening();
        if self.tracker.is_closed() || self.holds.get(Reason::OutcomeUnknown).is_some() {
            return None;
        }
        if self.persisted.is_none() && !opening {
            // `start = "error"`: to commit anything would hide from the next owner that there was no offset.
            return None;
        }
        let moved = self.mode.due(&self.tracker, self.committed(), closing);
        let next = match moved {
            Some(next) => next,
            None if !self.note_dirty => return None,
            None => self.mode.offset(&self.tracker, closing),
        };
        self.note_dirty = false;
        let retry = self.retry.filter(|retry| retry.offset >= next.get());
        let version = self.succession.and_then(|succession| succession.note());
        let note = CommitNote { topic_id: self.topic_id.clone(), retry, done: self.tracker.done().clone(), version };
        Some(Mark { next, note, fence: self.tracker.fence() })
    }

    /// Forgets what is in flight, after the tracker began a new epoch that has nothing of the old one.
    fn forget_in_flight(&mut self) {
        self.tickets = 0;
        self.refusals = Refusals::default();
    }
}

/// Why a partition is not moved.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SeekRefused {
    /// Another call moves it.
    #[error("it is being moved by another call")]
    Moving,
    /// Nothing can move it.
    #[error("{0}")]
    Over(String),
}

#[cfg(test)]
mod tests;
