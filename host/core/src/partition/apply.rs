//! What happens to a partition, and what follows from it.

use std::time::Instant;

use super::hold::{Hold, Reason, StopClass};
use super::refusals::{DeadLetterStage, Refused};
use super::stage::{Closed, Drain, Motion, Stage};
use super::{Mark, Partition, Snapshot, Sought, Waits};
use crate::fence::Fence;
use crate::messages::Messages;
use crate::metadata::{CommitNote, RetryNote};
use crate::offset::NextOffset;
use crate::tracker::{Completion, RunId};

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event<'a> {
    /// Everything that a call's messages came to is confirmed. `ticket`: outputs were in flight for it.
    Settled {
        /// The fence under which the run was opened.
        fence: Fence,
        /// The run of the call.
        run: RunId,
        /// Whether it has a ticket.
        ticket: bool,
    },
    /// Outputs of a call are on their way. Only of one whose fence is in force: nothing would count them down again.
    Sending,
    /// Outputs of a call are answered for, and the broker refused some of them.
    Refused {
        /// The fence under which the run was opened.
        fence: Fence,
        /// The messages of the call.
        messages: &'a Messages,
        /// What was refused.
        refused: Vec<Refused>,
    },
    /// Sending was given up half-way, or purged: nothing of the call is complete.
    Abandoned {
        /// The fence under which the run was opened.
        fence: Fence,
    },
    /// The dead letter of a message is on its way.
    DeadLettered {
        /// The offset of the message.
        offset: i64,
        /// How much of it.
        stage: DeadLetterStage,
    },
    /// The message at the head failed, and waits for its next attempt.
    Retry {
        /// The offset of the message.
        offset: i64,
        /// The attempt it is delivered with.
        attempt: u32,
        /// Not before then.
        until: Instant,
        /// Now, in milliseconds since 1970: when it failed first, unless it failed before.
        now_ms: i64,
        /// Why it failed.
        reason: String,
    },
    /// Everything up to this message is settled: its attempts need no counting any more.
    SettledUpTo(i64),
    /// The partition cannot get past this message without a decision.
    Stop {
        /// The offset of the message.
        offset: i64,
        /// What kind of stop it is.
        class: StopClass,
        /// The reason, for people.
        reason: String,
    },
    /// The source is where [`Next::Reposition`](super::Next::Reposition) said last.
    Repositioned,
    /// It is not; again then.
    RepositionFailed(Instant),
    /// The source reported an error, behind which its position is not to be trusted.
    Distrusted,
    /// The source cannot be read now. It is asked again, with a growing pause.
    InputRefused {
        /// Where reading stands.
        offset: i64,
        /// What was reported.
        reason: String,
    },
    /// The client gave the partition up, and the member gets a new one.
    InputLost(String),
    /// The source is empty, everything taken was delivered, and reading goes on here.
    Idle(NextOffset),
    /// The coordinator confirmed a mark.
    Persisted(&'a Mark),
    /// It refused one, or did not answer.
    PersistRefused,
    /// The slice was aborted cleanly: what it completed counts for nothing.
    Restored,
    /// Whether the slice was committed is not known.
    OutcomeUnknown,
    /// What the coordinator has, after an unknown outcome.
    Reread {
        /// The persisted offset.
        next: NextOffset,
        /// What came with it.
        note: &'a CommitNote,
    },
    /// An operator pauses it, or ends the pause.
    Paused(bool),
    /// An operator wants it to go on: a stop and a backoff end, and attempts count from one.
    Resumed,
    /// The note of a version is of a control topic that is no more.
    Disowned(u64),
    /// Something in the note has to be persisted again.
    NoteChanged,
    /// It is being taken away: what is running may finish.
    Leave,
    /// Not even that.
    LeaveAtOnce,
    /// The assignment is over.
    Close(Closed),
}

/// How soon something has to be persisted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// With the next commit.
    Soon,
    /// Now: something waits for it.
    Now,
}

/// What follows from an event.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Something has to be persisted.
    pub persist: Option<Urgency>,
    /// The lane has to look again.
    pub wake: bool,
    /// It was said of an earlier generation or epoch and counts for nothing: somebody else may own the partition by now.
    pub stale: bool,
    /// The move that an operator waits for is persisted.
    pub moved: Option<Sought>,
}

impl Effects {
    const NONE: Self = Self { persist: None, wake: false, stale: false, moved: None };
    const WAKE: Self = Self { wake: true, ..Self::NONE };
    const STALE: Self = Self { stale: true, ..Self::NONE };

    fn persist(urgency: Urgency) -> Self {
        Self { persist: Some(urgency), ..Self::NONE }
    }
}

impl Partition {
    /// Says what happened. Of a closed partition nothing that counts changes any more: no watermark, no hold, no commit.
    pub fn apply(&mut self, event: Event<'_>, now: Instant) -> Effects {
        match event {
            Event::Settled { fence, run, ticket } => self.settled(fence, run, ticket),
            Event::Sending => {
                self.tickets += 1;
                Effects::NONE
            }
            Event::Refused { fence, messages, refused } => self.refused(fence, messages, refused),
            Event::Abandoned { fence } => self.abandoned(fence),
            Event::DeadLettered { offset, stage } => {
                let watermark = self.tracker.watermark().get();
                self.refusals.dead_letter(offset, stage, watermark);
                Effects::NONE
            }
            Event::Retry { offset, attempt, until, now_ms, reason } => {
                self.retry_later(offset, attempt, now_ms);
                let hold = Hold::new(Reason::Backoff { attempt }, now).at(offset).because(reason).until(until);
                self.hold(hold);
                Effects::persist(Urgency::Soon)
            }
            Event::SettledUpTo(offset) => {
                self.retry = self.retry.filter(|retry| retry.offset > offset);
                Effects::NONE
            }
            Event::Stop { offset, class, reason } => {
                self.holds.end_backoff();
                self.stop(Hold::new(Reason::Stopped(class), now).at(offset).because(reason), now);
                Effects::persist(Urgency::Soon)
            }
            Event::Repositioned => self.repositioned(),
            Event::RepositionFailed(again) => {
                if let Motion::Repositioning { not_before, .. } = &mut self.motion {
                    *not_before = Some(again);
                }
                Effects::NONE
            }
            Event::Distrusted => {
                self.distrusted = true;
                Effects::NONE
            }
            Event::InputRefused { offset, reason } => self.input_refused(offset, reason, now),
            Event::InputLost(reason) => {
                self.hold(Hold::new(Reason::AwaitInput, now).because(reason));
                Effects::NONE
            }
            Event::Idle(position) => self.idle(position),
            Event::Persisted(mark) => self.persisted(mark),
            Event::PersistRefused | Event::NoteChanged => {
                self.note_dirty = true;
                Effects::persist(Urgency::Soon)
            }
            Event::Restored => self.restored(),
            Event::OutcomeUnknown => self.outcome_unknown(now),
            Event::Reread { next, note } => self.reread(next, note),
            Event::Paused(true) => {
                self.hold(Hold::new(Reason::Paused, now));
                Effects::WAKE
            }
            Event::Paused(false) => {
                self.holds.end(Reason::Paused);
                Effects::WAKE
            }
            Event::Resumed => self.resumed(),
            Event::Disowned(epoch) => {
                if let Some(succession) = &mut self.succession {
                    succession.disown(epoch);
                }
                Effects::WAKE
            }
            Event::Leave => self.leave(false),
            Event::LeaveAtOnce => self.leave(true),
            Event::Close(closed) => self.close(closed),
        }
    }

    fn repositioned(&mut self) -> Effects {
        // An abort may have come in between: then it has to go somewhere else.
        let asked_for = self.asked_for.take();
        if matches!(self.motion, Motion::Repositioning { to, .. } if asked_for == Some(to)) {
            self.motion = Motion::Steady;
        }
        Effects::NONE
    }

    fn input_refused(&mut self, offset: i64, reason: String, now: Instant) -> Effects {
        let until = self.input_waits.next(now);
        let since = self.input_waits.since.unwrap_or(now);
        self.hold(Hold::new(Reason::AwaitInput, since).at(offset).because(reason).until(until));
        Effects::NONE
    }

    /// Begins a hold, unless the assignment is over.
    fn hold(&mut self, hold: Hold) {
        if !self.tracker.is_closed() {
            self.holds.put(hold);
        }
    }

    /// Stops the partition. A stop that only a new client ends is not replaced: what was asked of this client later would be
    /// asked of one that has given the partition up.
    pub(super) fn stop(&mut self, hold: Hold, now: Instant) {
        if self.holds.stop().is_some_and(|(class, _)| class.needs_new_client()) {
            return;
        }
        if !matches!(hold.reason, Reason::Stopped(class) if class.is_tried_again()) {
            self.hold(hold);
            return;
        }
        let until = self.output_waits.next(now);
        self.hold(Hold { since: self.output_waits.since.unwrap_or(now), ..hold }.until(until));
    }

    fn is_stale(&self, fence: Fence) -> bool {
        self.tracker.is_closed() || self.tracker.fence() != fence
    }

    /// The lane looks again after a completion if it waits for one.
    fn completed(&mut self, moved: bool) -> Effects {
        if self.tracker.room() {
            self.holds.end(Reason::WindowFull);
        }
        let wake = std::mem::take(&mut self.wants_wake);
        Effects { persist: moved.then_some(Urgency::Soon), wake, ..Effects::NONE }
    }

    fn settled(&mut self, fence: Fence, run: RunId, ticket: bool) -> Effects {
        if self.is_stale(fence) {
            return Effects::STALE;
        }
        if ticket {
            self.tickets = self.tickets.saturating_sub(1);
        }
        let moved = matches!(self.tracker.complete(fence, run), Completion::Moved(_));
        if moved {
            (self.output_waits, self.input_waits) = (Waits::default(), Waits::default());
        }
        self.completed(moved)
    }

    /// The run stays incomplete; the partition drains, goes back and settles the refused messages when they come round.
    fn refused(&mut self, fence: Fence, messages: &Messages, refused: Vec<Refused>) -> Effects {
        if self.is_stale(fence) {
            return Effects::STALE;
        }
        self.tickets = self.tickets.saturating_sub(1);
        self.refusals.note(messages, refused);
        if !matches!(self.motion, Motion::Draining(_)) {
            self.motion = Motion::Draining(Drain::Rewind);
        }
        let effects = self.completed(false);
        Effects { wake: true, ..effects }
    }

    fn abandoned(&mut self, fence: Fence) -> Effects {
        if self.tracker.fence() == fence {
            self.tickets = self.tickets.saturating_sub(1);
        }
        self.completed(false)
    }

    fn retry_later(&mut self, offset: i64, attempt: u32, now_ms: i64) {
        let first_failure_ms = match &self.retry {
            Some(retry) if retry.offset == offset => retry.first_failure_ms,
            _ => now_ms,
        };
        // Attempts survive a restart: they travel with the next commit.
        self.retry = Some(RetryNote { offset, attempts: attempt.saturating_sub(1), first_failure_ms });
        self.note_dirty = true;
    }

    /// When nothing is outstanding, what lies between the last message and the source's position are markers and gaps.
    fn idle(&mut self, position: NextOffset) -> Effects {
        let outstanding = self.tickets > 0 || self.tracker.outstanding() > 0;
        // Behind an error the source's position may have passed messages that nobody took.
        if outstanding || self.distrusted || self.motion != Motion::Steady || position <= self.tracker.watermark() {
            return Effects::NONE;
        }
        let moved = matches!(self.tracker.advance_idle(self.tracker.fence(), position), Completion::Moved(_));
        if moved { Effects::persist(Urgency::Soon) } else { Effects::NONE }
    }

    fn persisted(&mut self, mark: &Mark) -> Effects {
        if let Some(succession) = &mut self.succession {
            succession.confirm(mark.note.version.map_or(0, |version| version.epoch));
        }
        self.persisted = Some(Snapshot { next: mark.next, done: mark.note.done.clone(), retry: mark.note.retry });
        if self.tracker.is_closed() {
            return Effects::NONE;
        }
        if !self.is_opening() {
            return Effects::WAKE;
        }
        if mark.fence != self.tracker.fence() {
            // It was on its way when the partition was moved. To go on now would be to go on from a position that nobody
            // persisted, and a crash would fall back to the old one.
            self.note_dirty = true;
            return Effects::persist(Urgency::Now);
        }
        match &mut self.stage {
            Stage::Leaving { opening, .. } => *opening = false,
            stage => *stage = Stage::Held,
        }
        Effects { moved: self.moved.take(), ..Effects::WAKE }
    }

    /// Back to what the coordinator has. A position that was still being persisted has nothing delivered behind it and is
    /// persisted again.
    fn restored(&mut self) -> Effects {
        self.holds.end(Reason::OutcomeUnknown);
        if self.tracker.is_closed() {
            return Effects::NONE;
        }
        if self.is_opening() {
            self.note_dirty = true;
            return Effects { wake: true, ..Effects::persist(Urgency::Now) };
        }
        let Some(Snapshot { next, done, retry }) = self.persisted.clone() else { return Effects::NONE };
        self.go_back_to(next, done);
        // Attempts never go down: what was tried in the aborted slice was tried, and what was settled in it comes again. A
        // version's note went with the slice.
        self.retry = self.retry.or(retry);
        self.note_dirty = self.has_news();
        Effects::WAKE
    }

    /// The note says something that the coordinator may not have.
    fn has_news(&self) -> bool {
        self.retry.is_some() || self.succession.is_some_and(|succession| succession.is_pending())
    }

    fn outcome_unknown(&mut self, now: Instant) -> Effects {
        if self.tracker.is_closed() {
            return Effects::NONE;
        }
        // A new epoch: answers to what was in flight say nothing about what comes now.
        let opening = self.is_opening();
        if !opening {
            self.rewind(now);
        }
        self.hold(Hold::new(Reason::OutcomeUnknown, now));
        Effects::NONE
    }

    fn reread(&mut self, next: NextOffset, note: &CommitNote) -> Effects {
        if self.tracker.is_closed() || !self.holds.end(Reason::OutcomeUnknown) {
            return Effects::NONE;
        }
        self.persisted = Some(Snapshot { next, done: note.done.clone(), retry: note.retry });
        if let (Some(succession), Some(version)) = (&mut self.succession, note.version) {
            succession.confirm(version.epoch);
        }
        if self.is_opening() {
            self.note_dirty = true;
            return Effects { wake: true, ..Effects::persist(Urgency::Now) };
        }
        let counted = |retry: &RetryNote| note.retry.filter(|noted| noted.offset == retry.offset);
        self.retry = match self.retry {
            Some(retry) => {
                let attempts = counted(&retry).map_or(retry.attempts, |noted| noted.attempts.max(retry.attempts));
                Some(RetryNote { attempts, ..retry })
            }
            None => note.retry,
        };
        self.go_back_to(next, note.done.clone());
        self.note_dirty = self.has_news();
        Effects::WAKE
    }

    fn go_back_to(&mut self, next: NextOffset, done: crate::done::DoneSet) {
        self.tracker.restore(next, done);
        self.forget_in_flight();
        self.holds.end_backoff();
        if !matches!(self.motion, Motion::Draining(Drain::Seek { .. })) {
            self.motion = Motion::Repositioning { to: self.tracker.watermark(), not_before: None };
        }
    }

    fn resumed(&mut self) -> Effects {
        self.holds.end_stop();
        self.holds.end_backoff();
        (self.output_waits, self.input_waits) = (Waits::default(), Waits::default());
        if self.holds.get(Reason::AwaitInput).is_some_and(|hold| hold.next_try.is_some()) {
            self.holds.end(Reason::AwaitInput);
        }
        if let Motion::Repositioning { not_before, .. } = &mut self.motion {
            *not_before = None;
        }
        self.retry = None;
        if let Some(snapshot) = &mut self.persisted {
            snapshot.retry = None;
        }
        self.note_dirty = true;
        Effects { wake: true, ..Effects::persist(Urgency::Soon) }
    }

    fn leave(&mut self, now: bool) -> Effects {
        self.abandoned |= now;
        self.stage = match std::mem::replace(&mut self.stage, Stage::Resolving) {
            Stage::Leaving { opening, at_once } => Stage::Leaving { opening, at_once: at_once || now },
            Stage::Opening => Stage::Leaving { opening: true, at_once: now },
            Stage::Resolving | Stage::Held => Stage::Leaving { opening: false, at_once: now },
            // What is over does not leave any more.
            Stage::Closed(closed) => Stage::Closed(closed),
        };
        Effects::WAKE
    }

    fn close(&mut self, closed: Closed) -> Effects {
        // The first end counts: a partition that was lost is not revoked in good order afterwards, and the reason of one
        // whose topic is gone stays on the status page until the group takes it away.
        if !matches!(self.stage, Stage::Closed(_)) {
            self.never_opened = self.is_opening();
            self.abandoned |= closed == Closed::Lost;
            self.stage = Stage::Closed(closed);
        }
        self.tracker.close();
        self.moved = None;
        Effects::WAKE
    }
}
