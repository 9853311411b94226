//! Random histories of one partition, driven as a lane drives it and checked after every step against a plain model.
//!
//! Offsets are below 64, so that a set of them is a word. The model knows what is complete, what the coordinator has, and
//! what holds; it knows nothing of stages, motions and trackers.

mod checks;
mod lane;
mod outside;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::super::*;
use crate::backlog::{Backlog, Call};
use crate::batch::Batch;
use crate::messages::Messages;
use crate::tracker::SpanSize;
use crate::verdict::RetryPolicy;

const POLICY: RetryPolicy =
    RetryPolicy { attempts: 3, backoff: Duration::from_millis(4), max_delay: Duration::from_millis(9) };
/// Messages that may be delivered beyond the watermark, and in one call.
const WINDOW: u64 = 8;
const CALL: u64 = 4;
const CALL_BYTES: usize = 40;

/// Which kind of history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Manual,
    Sync,
    Auto,
    Transaction,
}

/// A small source of chance: the same seed gives the same history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((self.roll() >> 32) * end) >> 32
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

fn below(offset: i64) -> u64 {
    if offset >= 64 { u64::MAX } else { (1 << offset.max(0)) - 1 }
}

fn bit(offset: i64) -> u64 {
    1 << offset
}

/// What an offset and a done set call complete.
fn known(next: i64, done: &DoneSet) -> u64 {
    done.ranges().fold(below(next), |mask, (first, last)| mask | below(last.0 + 1) & !below(first.0))
}

/// Outputs in flight.
struct Ticket {
    fence: Fence,
    run: RunId,
    messages: Messages,
    mask: u64,
    /// Those of them that are dead letters.
    dead: u64,
}

/// What the coordinator has.
#[derive(Default)]
struct Coordinator {
    next: Option<i64>,
    note: CommitNote,
}

struct World {
    kind: Kind,
    dice: Dice,
    trace: bool,
    /// No faults any more.
    quiet: bool,
    began: Instant,
    now: Instant,
    /// Offsets that exist; the others are gaps. Some at the end are gaps, too.
    exists: u64,
    end: i64,
    /// The source has what lies below.
    available: i64,
    cursor: i64,
    topic: u64,
    coordinator: Coordinator,
    generation: u64,
    partition: Partition,

    // The lane.
    backlog: Backlog,
    batch: Batch,
    busy: Option<Call>,
    awake: bool,
    wake_at: Option<Instant>,
    rewind: bool,
    canary: bool,

    // On their way.
    tickets: Vec<Ticket>,
    commit: Option<Mark>,
    /// A message of the slice was refused or purged: it cannot be committed.
    doomed: bool,

    // What the model knows.
    complete: u64,
    opening: bool,
    leaving: bool,
    unknown: bool,
    input_lost: bool,
    paused: bool,
    stopped: Option<i64>,
    /// When a stop ends by itself.
    stopped_until: Option<Instant>,
    backoff: Option<Instant>,
    held_above: bool,
    grouped: bool,
    running: u64,
    disowned: u64,
    stops: bool,
    dead_letters: bool,
    seeking: Option<i64>,
    seek_until: Instant,
    /// The broker never takes an output of this message.
    poison: u64,
    /// The message that is being retried, and the attempt it is delivered with next.
    counted: Option<(i64, u32)>,
    /// What `counted` was in the slice that the coordinator has.
    counted_before: Option<(i64, u32)>,
    /// Messages below are settled in this epoch.
    front: i64,
    /// Messages of a batch that crashed.
    alone: u64,
    /// The watermark when the lane last asked.
    asked_at: i64,
}

impl World {
    fn new(kind: Kind, seed: u64, trace: bool) -> Self {
        let mut dice = Dice(seed);
        let (mut exists, mut offset) = (0, dice.below(3) as i64);
        for _ in 0..4 + dice.below(16) {
            offset += if dice.one_in(4) { 1 + dice.below(2) as i64 } else { 0 };
            exists |= bit(offset);
            offset += 1;
        }
        let end = offset + dice.below(3) as i64;
        let began = Instant::now();
        let (grouped, running) = (dice.one_in(2), dice.below(2) * 5);
        let mut world = Self {
            kind,
            trace,
            quiet: false,
            began,
            now: began,
            exists,
            end,
            available: end / 2,
            cursor: 0,
            topic: 0,
            coordinator: Coordinator::default(),
            generation: 0,
            partition: Partition::new(start(kind, 0, None, &CommitNote::default(), 0, None)),
            backlog: Backlog::new(),
            batch: Batch::new(),
            busy: None,
            awake: true,
            wake_at: None,
            rewind: false,
            canary: dice.one_in(3),
            tickets: Vec::new(),
            commit: None,
            doomed: false,
            complete: 0,
            opening: true,
            leaving: false,
            unknown: false,
            input_lost: false,
            paused: false,
            stopped: None,
            stopped_until: None,
            backoff: None,
            held_above: false,
            grouped,
            running: if grouped { running } else { 0 },
            disowned: 0,
            stops: dice.one_in(3),
            dead_letters: !dice.one_in(3),
            seeking: None,
            seek_until: began,
            poison: if dice.one_in(3) { bit(dice.below(20) as i64) } else { 0 },
            counted: None,
            counted_before: None,
            front: 0,
            alone: 0,
            asked_at: 0,
            dice,
        };
        world.take_over();
        world
    }

    fn is_transaction(&self) -> bool {
        self.kind == Kind::Transaction
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            let at = self.now.duration_since(self.began).as_millis();
            let tracker = self.partition.tracker();
            let (stage, motion) = (self.partition.stage(), self.partition.motion());
            let holds: Vec<_> = self.partition.holds().iter().map(|hold| hold.reason).collect();
            let (mark, to) = (tracker.watermark(), tracker.position());
            eprintln!("{at:4} {:50} {mark}..{to} {stage:?} {motion:?} {holds:?}", what());
        }
    }

    fn apply(&mut self, event: Event<'_>) -> Effects {
        let text = self.trace.then(|| format!("{event:?}"));
        let effects = self.partition.apply(event, self.now);
        self.awake |= effects.wake;
        if let Some(text) = text {
            self.say(|| text);
        }
        effects
    }

    /// One step: something happens.
    fn step(&mut self) {
        match self.dice.below(128) {
            0..48 => self.lane(),
            48..72 => self.answer(),
            72..84 => self.answer_ticket(),
            84..92 => self.persist(),
            92..97 => self.time(),
            97..101 => self.arrive(),
            101..107 => self.operate(),
            107..112 => self.seek(),
            112..115 => self.hold_above(),
            115..117 => self.swap(),
            117..119 => self.fail_producer(),
            119..121 => self.end_slice(),
            121..123 => self.leave(),
            123 => self.lose(),
            124 => self.kill(),
            125 => self.make_topic_again(),
            126 => self.lose_input(),
            _ => self.outcome_unknown(),
        }
        self.check();
    }

    /// The faults stop. Within a bounded number of rounds everything is complete and persisted. The lane is never looked
    /// after: it sleeps until something wakes it.
    fn finish(&mut self) {
        self.quiet = true;
        self.calm();
        for _ in 0..150 {
            let is_complete = self.exists & !self.complete == 0;
            if is_complete && self.coordinator.next == Some(self.end) && self.partition.is_persisted() {
                assert!(self.partition.tracker().done().is_empty(), "done set at the end");
                assert_eq!((self.partition.tickets(), self.partition.view().state), (0, State::Running));
                return;
            }
            self.answer();
            self.answer_ticket();
            self.persist();
            if self.stopped.is_some() {
                self.resume(self.stops);
            }
            // A lane with nothing to do looks again ten times a second: only then it says that the source is idle.
            self.awake |= is_complete && self.backlog.is_empty();
            for _ in 0..30 {
                if self.busy.is_none() && self.awake {
                    self.lane();
                    self.check();
                }
            }
            self.time();
        }
        panic!("it does not end: complete {:b} of {:b}", self.complete & self.exists, self.exists);
    }
}

fn start(
    kind: Kind,
    generation: u64,
    committed: Option<i64>,
    note: &CommitNote,
    topic: u64,
    running: Option<u64>,
) -> Start {
    let mode = match kind {
        Kind::Manual | Kind::Transaction => CommitMode::Manual { min_interval: Duration::ZERO },
        Kind::Sync => CommitMode::Sync,
        Kind::Auto => CommitMode::Auto(Duration::ZERO),
    };
    let topic_id = format!("id-{topic}");
    let same = note.topic_id.as_ref().is_none_or(|noted| *noted == topic_id);
    let at = committed.filter(|_| same);
    Start {
        generation: Generation(generation),
        mode,
        window: SpanBound { messages: WINDOW, bytes: 1 << 20 }.leaving_room_for(CALL, CALL_BYTES as u64),
        at: NextOffset::at(at.unwrap_or(0)),
        committed: committed.map(NextOffset::at),
        opening: at.is_none(),
        note: note.clone(),
        topic_id: Some(topic_id),
        running,
    }
}

fn history(kind: Kind, seed: u64, steps: u64, trace: bool) -> bool {
    let run = || {
        let mut world = World::new(kind, seed, trace);
        for _ in 0..steps {
            world.step();
        }
        world.finish();
    };
    catch_unwind(AssertUnwindSafe(run)).is_ok()
}

/// Runs the histories of one kind; of one that fails, the shortest beginning that does is told step by step.
fn histories(kind: Kind, many: u64) {
    for number in 0..many {
        let seed = number.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ kind as u64;
        let steps = 20 + seed % 41;
        if history(kind, seed, steps, false) {
            continue;
        }
        let shortest = (0..steps).find(|steps| !history(kind, seed, *steps, false)).unwrap_or(steps);
        history(kind, seed, shortest, true);
        panic!("{kind:?}: history {number}, seed {seed:#x}, fails after {shortest} of {steps} steps");
    }
}

#[test]
fn manual_loses_nothing_and_reaches_the_end() {
    histories(Kind::Manual, 100_000);
}

#[test]
fn sync_loses_nothing_and_reaches_the_end() {
    histories(Kind::Sync, 50_000);
}

#[test]
fn auto_delivers_in_order_and_reaches_the_end() {
    histories(Kind::Auto, 40_000);
}

#[test]
fn an_aborted_slice_counts_for_nothing_and_the_end_is_reached() {
    histories(Kind::Transaction, 100_000);
}
