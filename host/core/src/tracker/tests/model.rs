//! Random histories of one partition, checked after every step against a plain set of complete offsets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::metadata::CommitNote;

#[derive(Clone, Debug)]
enum Step {
    /// The poller takes some messages from its queue; done ones it skips.
    Gather(usize),
    HandOver,
    /// One of the open runs, lowest first or any.
    Complete(prop::sample::Index),
    Split(prop::sample::Index, prop::sample::Index),
    /// An answer that was given before, or belongs to an earlier epoch or generation.
    CompleteStale(prop::sample::Index),
    Rewind,
    /// An operator moves the partition to a place from its start to its end.
    Seek(prop::sample::Index),
    /// Nothing in the queue.
    Idle,
    /// A position from an earlier epoch or generation.
    IdleStale(prop::sample::Index),
    /// Revoked, and assigned again with the next generation; with the note of the commit or without.
    Reassign(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..5).prop_map(Step::Gather),
        6 => Just(Step::HandOver),
        9 => any::<prop::sample::Index>().prop_map(Step::Complete),
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(run, at)| Step::Split(run, at)),
        2 => any::<prop::sample::Index>().prop_map(Step::CompleteStale),
        1 => Just(Step::Rewind),
        1 => any::<prop::sample::Index>().prop_map(Step::Seek),
        1 => Just(Step::Idle),
        1 => any::<prop::sample::Index>().prop_map(Step::IdleStale),
        1 => any::<bool>().prop_map(Step::Reassign),
    ]
}

#[derive(Clone, Debug)]
struct ModelRun {
    id: RunId,
    messages: Vec<i64>,
    complete: bool,
}

struct World {
    /// Offsets that exist; the others are gaps.
    existing: Vec<i64>,
    start: i64,
    end: i64,
    tracker: Tracker,
    generation: u64,
    /// Where the poller reads on.
    cursor: i64,
    gathered: Vec<i64>,
    /// Of this epoch, ascending.
    runs: Vec<ModelRun>,
    stale: Vec<(Fence, RunId)>,
    stale_positions: Vec<(Fence, i64)>,
    complete: BTreeSet<i64>,
    forgetful: bool,
}

const MODEL_BOUND: SpanBound = SpanBound { messages: 6, bytes: 40 };

fn size(offset: i64) -> u64 {
    offset as u64 % 17
}

impl World {
    fn new(gaps: &[i64], start: i64) -> Self {
        let mut offset = start;
        let mut existing = Vec::new();
        for gap in gaps {
            offset += gap;
            existing.push(offset);
            offset += 1;
        }
        let tracker = Tracker::new(at(start), Generation(1), MODEL_BOUND, DoneSet::new());
        Self {
            existing,
            start,
            end: offset + 3,
            tracker,
            generation: 1,
            cursor: start,
            gathered: Vec::new(),
            runs: Vec::new(),
            stale: Vec::new(),
            stale_positions: Vec::new(),
            complete: BTreeSet::new(),
            forgetful: false,
        }
    }

    fn gather(&mut self, count: usize) {
        for _ in 0..count {
            let Some(&offset) = self.existing.iter().find(|&&offset| offset >= self.cursor) else {
                self.cursor = self.end;
                break;
            };
            self.cursor = offset + 1;
            if self.tracker.skip_done(Offset(offset)) {
                assert!(self.complete.contains(&offset), "{offset} is skipped and was never completed");
            } else {
                assert!(self.forgetful || !self.complete.contains(&offset), "{offset} is handed over again");
                self.gathered.push(offset);
            }
        }
    }

    fn hand_over(&mut self) {
        let messages = std::mem::take(&mut self.gathered);
        let (Some(&first), Some(&last)) = (messages.first(), messages.last()) else { return };
        let bytes = messages.iter().copied().map(size).sum();
        let id = self.tracker.hand_over(Offset(first), Offset(last), messages.len() as u32, bytes);
        self.runs.push(ModelRun { id, messages, complete: false });
    }

    fn open(&self, index: prop::sample::Index) -> Option<usize> {
        let open: Vec<_> = (0..self.runs.len()).filter(|&run| !self.runs[run].complete).collect();
        (!open.is_empty()).then(|| open[index.index(open.len())])
    }

    fn complete(&mut self, run: usize) {
        let before = self.tracker.watermark();
        let run = &mut self.runs[run];
        run.complete = true;
        self.complete.extend(&run.messages);
        self.stale.push((self.tracker.fence(), run.id));
        match self.tracker.complete(self.tracker.fence(), run.id) {
            Completion::Moved(to) => assert!(to > before && to == self.tracker.watermark()),
            Completion::Held => assert_eq!(before, self.tracker.watermark()),
            Completion::Stale => panic!("{run:?} is not stale"),
        }
    }

    fn split(&mut self, run: usize, place: prop::sample::Index) {
        let front = &mut self.runs[run];
        if front.messages.len() < 2 {
            return;
        }
        let rest = front.messages.split_off(1 + place.index(front.messages.len() - 1));
        let bytes = front.messages.iter().copied().map(size).sum();
        let last = Offset(*front.messages.last().unwrap());
        let id = self.tracker.split(front.id, last, front.messages.len() as u32, bytes);
        self.runs.insert(run + 1, ModelRun { id, messages: rest, complete: false });
    }

    fn forget_flight(&mut self, fence: Fence) {
        self.stale.extend(self.runs.drain(..).map(|run| (fence, run.id)));
        self.stale_positions.push((fence, self.cursor));
        self.gathered.clear();
        self.cursor = self.tracker.watermark().get();
    }

    /// What lies below counts as complete from now on, what lies behind it does not, whatever came of it before.
    fn seek(&mut self, to: i64) {
        let fence = self.tracker.fence();
        self.tracker.seek(at(to));
        assert_eq!((self.tracker.watermark(), self.tracker.position()), (at(to), at(to)));
        assert_ne!(self.tracker.fence(), fence);
        self.complete = self.existing.iter().copied().filter(|&offset| offset < to).collect();
        self.forget_flight(fence);
    }

    fn reassign(&mut self, with_note: bool) {
        let fence = self.tracker.fence();
        let watermark = self.tracker.watermark();
        self.tracker.close();
        for run in &self.runs {
            assert_eq!(self.tracker.complete(fence, run.id), Completion::Stale);
        }
        assert_eq!(self.tracker.advance_idle(self.tracker.fence(), at(self.end)), Completion::Stale);
        assert!(!self.tracker.room());
        assert_eq!(self.tracker.watermark(), watermark);

        let note = CommitNote { done: self.tracker.done().clone(), ..CommitNote::default() };
        let note = CommitNote::decode(&note.encode());
        assert_eq!(&note.done, self.tracker.done());
        let done = if with_note { note.done } else { DoneSet::new() };
        self.forgetful |= !with_note;
        if !with_note {
            // Nobody remembers what was complete above the watermark; it has to come again.
            self.complete.retain(|&offset| offset < watermark.get());
        }
        self.generation += 1;
        self.tracker = Tracker::new(watermark, Generation(self.generation), MODEL_BOUND, done);
        self.forget_flight(fence);
    }

    fn take(&mut self, step: Step) {
        let watermark = self.tracker.watermark();
        match step {
            Step::Gather(count) => self.gather(count),
            Step::HandOver => self.hand_over(),
            Step::Complete(index) => {
                if let Some(run) = self.open(index) {
                    self.complete(run);
                }
            }
            Step::Split(index, place) => {
                if let Some(run) = self.open(index) {
                    self.split(run, place);
                }
            }
            Step::CompleteStale(index) if !self.stale.is_empty() => {
                let (fence, run) = self.stale[index.index(self.stale.len())];
                assert_eq!(self.tracker.complete(fence, run), Completion::Stale);
                assert_eq!(self.tracker.watermark(), watermark);
            }
            Step::CompleteStale(_) => {}
            Step::Rewind => {
                let fence = self.tracker.fence();
                assert_eq!(self.tracker.rewind(), watermark);
                self.forget_flight(fence);
            }
            Step::Seek(place) => {
                self.seek(self.start + place.index((self.end - self.start + 1) as usize) as i64);
                return self.check();
            }
            Step::Idle if self.gathered.is_empty() => {
                self.tracker.advance_idle(self.tracker.fence(), at(self.cursor));
            }
            Step::IdleStale(index) if !self.stale_positions.is_empty() => {
                let (fence, position) = self.stale_positions[index.index(self.stale_positions.len())];
                assert_eq!(self.tracker.advance_idle(fence, at(position)), Completion::Stale);
            }
            Step::IdleStale(_) => {}
            Step::Idle => {}
            Step::Reassign(with_note) => self.reassign(with_note),
        }
        assert!(self.tracker.watermark() >= watermark, "the watermark went back");
        self.check();
    }

    fn check(&self) {
        let (tracker, watermark) = (&self.tracker, self.tracker.watermark().get());
        let lowest_incomplete = self.existing.iter().copied().find(|offset| !self.complete.contains(offset));
        assert!(watermark <= lowest_incomplete.unwrap_or(self.end), "past {lowest_incomplete:?}, which is incomplete");
        for &offset in &self.existing {
            let complete = self.complete.contains(&offset);
            assert_eq!(tracker.is_done(Offset(offset)), complete, "{offset}");
            assert!(
                !tracker.done().contains(Offset(offset)) || complete && offset >= watermark,
                "{offset} in the note"
            );
        }
        // No more is held back than has to be: what is complete right below the lowest open run is passed.
        let passed = self.runs.iter().take_while(|run| run.complete);
        if let Some(last) = passed.clone().last() {
            assert!(watermark > *last.messages.last().unwrap());
        }

        let count = |run: &ModelRun| run.messages.len() as u64;
        let weigh = |run: &ModelRun| run.messages.iter().copied().map(size).sum::<u64>();
        let rest = &self.runs[passed.count()..];
        assert_eq!(tracker.outstanding(), rest.iter().filter(|run| !run.complete).map(count).sum());
        let span = tracker.span();
        assert_eq!((span.messages, span.bytes), (rest.iter().map(count).sum(), rest.iter().map(weigh).sum()));
        let below = span.messages < MODEL_BOUND.messages && span.bytes < MODEL_BOUND.bytes;
        assert_eq!(tracker.room(), below || rest.is_empty());
        let handed = self.runs.last().map_or(0, |run| run.messages.last().unwrap() + 1);
        assert!(tracker.position().get() >= handed.max(watermark));
    }

    /// What is left is handed over and completed; then nothing keeps the watermark from the end.
    fn finish(&mut self) {
        while self.cursor < self.end {
            self.gather(3);
            self.hand_over();
        }
        self.hand_over();
        while let Some(run) = self.runs.iter().rposition(|run| !run.complete) {
            self.complete(run);
            self.check();
        }
        assert!(self.existing.iter().all(|offset| self.complete.contains(offset)));
        self.tracker.advance_idle(self.tracker.fence(), at(self.end));
        assert_eq!(self.tracker.watermark(), at(self.end));
        assert!(self.tracker.done().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_watermark_never_passes_an_incomplete_message_and_reaches_the_end(
        gaps in prop::collection::vec(prop_oneof![4 => Just(0_i64), 1 => 1_i64..4], 1..30),
        start in 0_i64..5,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(&gaps, start);
        for step in steps {
            world.take(step);
        }
        world.finish();
    }
}
