//! What the lane, the delivery reports, the committer and the status page share about one assigned partition.
//!
//! One mutex, taken a few times per *batch*, never per message. Everything in here belongs to one generation: a
//! partition that comes back is a new [`Partition`], so nothing late can reach the new one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use wasmill_core::{
    CommitMode, CommitNote, Completion, Fence, Generation, NextOffset, Offset, RetryNote, RunId, SpanBound, Tracker,
    due,
};
use wasmill_kafka::{DeliveryError, ProduceErrorClass, TopicPartition, Wake};

use super::committer::Dirty;
use super::counters::PartitionCounters;
use super::seek::Moved;
use super::succession::Succession;
use crate::mutant::{self, Mutant};

/// How far the giving up of a message has come. Each refusal by the broker moves it one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GiveUpStage {
    /// The dead letter with the original key, value and headers is on its way.
    Whole,
    /// The dead letter with provenance and reason only: the whole one was refused.
    HeadersOnly,
}

/// An output or dead letter that the broker refused for good, noticed after the batch had left the lane.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was refused: `None` an output, else the dead letter of that stage.
    pub stage: Option<GiveUpStage>,
    /// The broker's reason.
    pub reason: String,
}

/// What a partition is doing, for status and readiness.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Its first position is not yet committed; nothing is handed over, lest a crash jump ahead of it.
    Starting,
    /// Messages are handed over as they come.
    Running,
    /// A message waits for its next attempt.
    Waiting {
        /// The message.
        offset: i64,
        /// The attempt that is next.
        attempt: u32,
        /// When.
        until: Instant,
        /// Why the last one failed.
        reason: String,
    },
    /// Nothing is handed over until an operator says `resume` or `skip`; of a partition whose topic is gone, until the
    /// topic is there again.
    Stopped {
        /// The message it stands at.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// The generation is over.
    Closed,
}

/// The part behind the mutex.
pub struct State {
    /// Runs handed over, the watermark, the span.
    pub tracker: Tracker,
    /// Calls whose outputs are not all confirmed yet. A drain waits for zero.
    pub tickets: u32,
    /// What the coordinator last confirmed.
    pub committed: Option<NextOffset>,
    /// The first position still has to be committed.
    pub first_commit: bool,
    /// The message being retried, so that its attempts survive a restart.
    pub retry: Option<RetryNote>,
    /// The note changed though the watermark did not.
    pub note_dirty: bool,
    /// What the broker refused, by offset.
    pub refused: BTreeMap<i64, Refusal>,
    /// Given-up messages whose dead letter is in flight.
    pub giving_up: BTreeMap<i64, GiveUpStage>,
    /// Complete ranges of runs that also held a refused message: not to be handed over again after the rewind.
    pub complete_beside_refused: Vec<(i64, i64)>,
    /// The topic takes nothing at all (not authorised, deleted): giving up message after message would only move all
    /// of them to the dead letters, so the partition stops once it has gone back, at the first message that this was
    /// said of.
    pub topic_refused: Option<(i64, String)>,
    /// Something was refused: drain, then go back to it.
    pub must_rewind: bool,
    /// Which version of the group's may have the next message; `None` without a control topic.
    pub succession: Option<Succession>,
    /// For status.
    pub phase: Phase,
    /// A seek whose new position is not yet committed.
    pub moved: Option<Moved>,
    /// What was in force when a commit was last asked for.
    asked: Option<Fence>,
    /// The lane found no room in the span and wants to be woken by the next completion.
    pub starved: bool,
}

impl State {
    /// Forgets what is in flight and all that was to become of messages, after the tracker was moved.
    pub fn forget_all(&mut self) {
        self.tickets = 0;
        self.retry = None;
        self.refused.clear();
        self.giving_up.clear();
        self.complete_beside_refused.clear();
        self.topic_refused = None;
        self.must_rewind = false;
    }
}

/// One assigned partition.
pub struct Partition {
    /// Topic and partition.
    pub id: TopicPartition,
    /// The topic's number for the handler.
    pub source: u32,
    /// The assignment it belongs to.
    pub generation: Generation,
    /// The member that holds it.
    pub member: usize,
    /// The topic's identity, to notice one that was deleted and made again.
    pub topic_id: Option<String>,
    /// Counters of this partition.
    pub counters: PartitionCounters,
    state: Mutex<State>,
    dirty: Arc<Dirty>,
    wake: OnceLock<Wake>,
    paused: AtomicBool,
    leaving: AtomicU8,
}

/// Brokers take 4,096 bytes of metadata; host/kafka adds a few of its own.
const NOTE_BYTES: usize = 4080;

/// `leaving`: not at all, politely (finish what is running), at once.
const STAYS: u8 = 0;
const LEAVES: u8 = 1;
const ABANDONED: u8 = 2;

/// Where a partition starts and within what bounds.
pub struct Start {
    /// First position.
    pub at: NextOffset,
    /// What the group has committed.
    pub committed: Option<NextOffset>,
    /// `at` must be committed before anything is handed over.
    pub first_commit: bool,
    /// What travelled with the committed offset.
    pub note: CommitNote,
    /// Bounds of the span.
    pub span: SpanBound,
    /// The epoch of the version that runs; `None` without a control topic.
    pub running: Option<u64>,
}

/// What is to be committed for a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueCommit {
    /// The offset.
    pub next: NextOffset,
    /// What goes with it.
    pub note: String,
    /// The epoch of the version that the note names; zero: none.
    pub epoch: u64,
}

impl Partition {
    /// A partition that was just assigned.
    pub fn new(
        id: TopicPartition,
        source: u32,
        (generation, member): (Generation, usize),
        start: Start,
        topic_id: Option<String>,
        dirty: Arc<Dirty>,
        counters: PartitionCounters,
    ) -> Self {
        // A topic that was deleted and made again has other messages under the same offsets: what the note says of
        // them would skip messages nobody has handled (HAZARDS: topic id).
        let same_topic = match (&start.note.topic_id, &topic_id) {
            (Some(noted), Some(now)) => noted == now,
            _ => true,
        };
        let CommitNote { done, retry, version, .. } = if same_topic { start.note } else { CommitNote::default() };
        let fresh = start.committed.is_none();
        let succession = start.running.map(|running| Succession::new(version, fresh, start.at.get(), running));
        Self {
            id,
            source,
            generation,
            member,
            topic_id,
            counters,
            state: Mutex::new(State {
                tracker: Tracker::new(start.at, generation, start.span, done),
                tickets: 0,
                committed: start.committed,
                first_commit: start.first_commit,
                retry,
                note_dirty: false,
                refused: BTreeMap::new(),
                giving_up: BTreeMap::new(),
                complete_beside_refused: Vec::new(),
                topic_refused: None,
                must_rewind: false,
                succession,
                phase: if start.first_commit { Phase::Starting } else { Phase::Running },
                moved: None,
                asked: None,
                starved: false,
            }),
            dirty,
            wake: OnceLock::new(),
            paused: AtomicBool::new(false),
            leaving: AtomicU8::new(STAYS),
        }
    }

    /// The lane that serves this partition.
    pub fn served_by(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }

    /// Wakes the lane.
    pub fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// The state. Poisoning is ignored: a thread that panicked here left numbers, not half-moved structures, and the
    /// other threads must still be able to close the generation.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A call's outputs are all confirmed.
    pub fn complete(&self, fence: Fence, run: RunId, had_ticket: bool) {
        let mut state = self.lock();
        if state.tracker.fence() != fence || state.tracker.is_closed() {
            // A late report of an older epoch or generation: somebody else may own the partition by now.
            self.counters.stale.increment(1);
            return;
        }
        if had_ticket {
            state.tickets = state.tickets.saturating_sub(1);
        }
        let moved = matches!(state.tracker.complete(fence, run), Completion::Moved(_));
        self.after_ticket(state, moved);
    }

    /// A call's outputs are answered for, but the broker refused some of them. The run stays incomplete; the lane
    /// drains the partition, rewinds, and gives the refused messages up when they come round again: the original
    /// bytes are not kept in memory for the rare case.
    pub fn refuse(&self, fence: Fence, run: RunId, first: i64, last: i64, refused: &[(i64, DeliveryError)]) {
        let mut state = self.lock();
        let _ = run;
        if state.tracker.fence() != fence || state.tracker.is_closed() {
            self.counters.stale.increment(1);
            return;
        }
        state.tickets = state.tickets.saturating_sub(1);
        let mut from = first;
        let mut offsets: Vec<i64> = refused.iter().map(|(offset, _)| *offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        for offset in offsets {
            if from < offset {
                state.complete_beside_refused.push((from, offset - 1));
            }
            from = offset + 1;
        }
        if from <= last {
            state.complete_beside_refused.push((from, last));
        }
        for (offset, error) in refused {
            let stage = state.giving_up.remove(offset);
            let reason = format!("{}: {}", error.code, error.text);
            if error.class == ProduceErrorClass::Topic {
                if state.topic_refused.as_ref().is_none_or(|(first, _)| offset < first) {
                    let topic = if stage.is_some() { "dead-letter" } else { "output" };
                    state.topic_refused = Some((*offset, format!("the {topic} topic takes nothing: {reason}")));
                }
                continue;
            }
            state.refused.entry(*offset).or_insert(Refusal { stage, reason });
        }
        state.must_rewind = true;
        self.after_ticket(state, false);
        self.wake();
    }

    /// A ticket whose sends were given up half-way because the partition leaves: never complete.
    pub fn abandon(&self, fence: Fence) {
        let mut state = self.lock();
        if state.tracker.fence() == fence {
            state.tickets = state.tickets.saturating_sub(1);
        }
        self.after_ticket(state, false);
    }

    fn after_ticket(&self, mut state: MutexGuard<'_, State>, moved: bool) {
        let starved = std::mem::take(&mut state.starved);
        drop(state);
        if moved {
            self.dirty.mark();
        }
        if starved {
            self.wake();
        }
    }

    /// Whether no outputs are in flight, or none that could still count.
    pub fn is_settled(&self) -> bool {
        let state = self.lock();
        state.tickets == 0 || state.tracker.is_closed()
    }

    /// Whether all that was handed over is complete and committed.
    pub fn is_committed(&self) -> bool {
        let state = self.lock();
        state.tracker.outstanding() == 0
            && !state.first_commit
            && state.committed.is_some_and(|committed| committed >= state.tracker.watermark())
    }

    /// A dead letter of that stage is on its way.
    pub fn giving_up(&self, offset: i64, stage: GiveUpStage) {
        let mut state = self.lock();
        let watermark = state.tracker.watermark().get();
        state.giving_up = state.giving_up.split_off(&watermark);
        state.giving_up.insert(offset, stage);
    }

    /// Its position must be committed, and nothing waits for the interval.
    pub fn mark_urgent(&self) {
        self.dirty.mark_urgent();
    }

    /// Something must be committed though no watermark moved.
    pub fn mark_dirty(&self) {
        self.dirty.mark();
    }

    /// What to commit now, with its note. `closing`: at revoke, shutdown and stop.
    pub fn due(&self, mode: &CommitMode, closing: bool) -> Option<DueCommit> {
        let mut state = self.lock();
        if state.tracker.is_closed() {
            return None;
        }
        if state.committed.is_none() && !state.first_commit {
            // `start = "error"`: to commit anything would hide from the next owner that there was no offset.
            return None;
        }
        let next = if state.first_commit && state.committed.is_none() {
            Some(due(mode, &state.tracker, None, closing).unwrap_or(state.tracker.watermark()))
        } else {
            due(mode, &state.tracker, state.committed, closing)
        };
        let next = match next {
            Some(next) => next,
            None if state.note_dirty && matches!(mode, CommitMode::Auto(_)) && !closing => state.tracker.position(),
            None if state.note_dirty => state.tracker.watermark(),
            None => return None,
        };
        state.note_dirty = false;
        state.asked = Some(state.tracker.fence());
        let next = if mutant::is(Mutant::WatermarkPlusOne) { NextOffset::after(Offset(next.get())) } else { next };
        let retry = state.retry.filter(|retry| retry.offset >= next.get());
        let version = state.succession.and_then(|succession| succession.note());
        let note = CommitNote { topic_id: self.topic_id.clone(), retry, done: state.tracker.done().clone(), version };
        let epoch = version.map_or(0, |version| version.epoch);
        Some(DueCommit { next, note: note.encode_within(NOTE_BYTES), epoch })
    }

    /// The coordinator confirmed what was due.
    pub fn confirmed(&self, due: &DueCommit) {
        let mut state = self.lock();
        state.committed = Some(due.next);
        if let Some(succession) = &mut state.succession {
            succession.confirm(due.epoch);
        }
        if state.first_commit && state.asked != Some(state.tracker.fence()) {
            // It was on its way when the partition was moved: to go on now would be to go on from a position that nobody
            // committed, and a crash would fall back to the old one.
            state.note_dirty = true;
            drop(state);
            return self.mark_urgent();
        }
        let mut moved = None;
        if state.first_commit {
            state.first_commit = false;
            moved = state.moved.take();
            if state.phase == Phase::Starting {
                state.phase = Phase::Running;
            }
        }
        drop(state);
        if let Some(Moved { done, sought }) = moved {
            let _ = done.send(Ok(sought));
        }
        self.wake();
    }

    /// Whether nothing is handed over before a commit is confirmed: of the first position, or of the version that runs.
    pub fn waits_for_commit(&self) -> bool {
        let state = self.lock();
        state.first_commit || state.succession.is_some_and(|succession| succession.is_pending())
    }

    /// Closes the generation: nothing of it moves or is committed any more.
    pub fn close(&self) {
        if mutant::is(Mutant::NoFence) {
            return;
        }
        let mut state = self.lock();
        state.tracker.close();
        state.moved = None;
        state.phase = Phase::Closed;
    }

    /// Its topic was deleted: nothing more is handed over, and nothing of it is committed, lest an offset of the old topic
    /// stand for messages of a new one. For status and readiness it stands, until the group takes it away.
    pub fn orphan(&self, reason: &str) {
        let mut state = self.lock();
        state.tracker.close();
        state.moved = None;
        let offset = state.tracker.position().get();
        state.phase = Phase::Stopped { offset, reason: reason.to_owned() };
        drop(state);
        self.leave();
    }

    /// Why nothing can make this partition go on: its topic is gone, or it is being taken away.
    pub fn is_over(&self) -> Option<String> {
        if !self.is_leaving() {
            return None;
        }
        match &self.lock().phase {
            Phase::Stopped { reason, .. } => Some(reason.clone()),
            _ => Some("it is being taken away".to_owned()),
        }
    }

    /// Says that the partition is being taken away; nothing more is handed over.
    pub fn leave(&self) {
        self.leaving.fetch_max(LEAVES, Ordering::AcqRel);
        self.wake();
    }

    /// Says that even what is being sent is to be dropped: the partition is lost, or the drain took too long.
    pub fn abandon_now(&self) {
        self.leaving.store(ABANDONED, Ordering::Release);
        self.wake();
    }

    /// Whether the partition is being taken away.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire) != STAYS
    }

    /// Whether even running sends are to end.
    pub fn is_abandoned(&self) -> bool {
        self.leaving.load(Ordering::Acquire) == ABANDONED
    }

    /// `wasmill pause`.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.wake();
    }

    /// Whether an operator paused it.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }
}
