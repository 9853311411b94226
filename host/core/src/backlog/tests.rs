//! What is picked, what is kept, and what is copied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::commit::CommitMode;
use crate::fence::Generation;
use crate::metadata::{CommitNote, RetryNote};
use crate::offset::{NextOffset, Offset};
use crate::partition::{Event, Refused, Start};
use crate::tracker::SpanBound;
use crate::verdict::{AfterCrash, RetryPolicy, after_crash};

const MANY: CallBound = CallBound { messages: 100, bytes: 1 << 20 };
const POLICY: RetryPolicy = RetryPolicy { attempts: 3, backoff: Duration::ZERO, max_delay: Duration::ZERO };

fn partition_with(note: CommitNote) -> Partition {
    Partition::new(Start {
        generation: Generation(1),
        mode: CommitMode::Manual { min_interval: Duration::ZERO },
        window: SpanBound { messages: 1000, bytes: 1 << 20 },
        at: NextOffset::at(100),
        committed: Some(NextOffset::at(100)),
        opening: false,
        note,
        topic_id: None,
        running: None,
    })
}

fn partition() -> Partition {
    partition_with(CommitNote::default())
}

/// Messages of ten bytes each.
fn batch(offsets: impl IntoIterator<Item = i64>) -> Batch {
    let mut batch = Batch::new();
    for offset in offsets {
        batch.push(None, Some(b"0123456789"), offset, None, 1).expect("a few bytes");
    }
    batch.seal();
    batch
}

fn offsets(batch: &Batch) -> Vec<i64> {
    batch.messages().map(|message| message.offset).collect()
}

fn call(pick: Pick) -> Call {
    match pick {
        Pick::Call(call) => call,
        other => panic!("{other:?} is no call"),
    }
}

/// What is in hand, and the lane's batch.
struct Hand {
    partition: Partition,
    backlog: Backlog,
    batch: Batch,
}

impl Hand {
    fn new(partition: Partition) -> Self {
        Self { partition, backlog: Backlog::new(), batch: Batch::new() }
    }

    fn take_up(&mut self, bound: CallBound, taken: Batch) -> Pick {
        self.batch = taken;
        self.backlog.take_up(&mut self.partition, bound, None, &mut self.batch)
    }

    fn pick(&mut self, bound: CallBound) -> Pick {
        self.backlog.pick(&mut self.partition, bound, None, &mut self.batch)
    }

    /// The call is settled up to its first `settled` messages and the rest is kept.
    fn settle(&mut self, call: &Call, settled: usize, attempt: u32) -> i64 {
        let (rest, last) = self.backlog.part(&mut self.partition, call, &self.batch, settled);
        if settled > 0 {
            let settled = Event::Settled { fence: call.fence, run: call.run, ticket: false };
            self.partition.apply(settled, Instant::now());
        }
        self.backlog.keep(call, &mut self.batch, settled, rest, attempt);
        last
    }

    fn crash(&mut self, call: &Call, is_fresh: bool) -> AfterCrash {
        let count = self.batch.len();
        let after = after_crash(count, count == 1 && is_fresh, call.attempt, &POLICY);
        match after {
            AfterCrash::ReplayAlone => self.backlog.put_back(call, &mut self.batch, call.attempt, count),
            AfterCrash::Again { next_attempt, .. } => self.backlog.put_back(call, &mut self.batch, next_attempt, 1),
            AfterCrash::GiveUp { .. } => drop(self.settle(call, 1, 1)),
        }
        after
    }

    fn watermark(&self) -> i64 {
        self.partition.tracker().watermark().get()
    }

    /// The broker refuses an output, or the dead letter, of `offset`, and the partition goes back.
    fn refuse(&mut self, messages: &Messages, offset: i64) {
        let refused = vec![Refused { offset, topic_wide: false, again: false, reason: "too large".to_owned() }];
        let fence = self.partition.fence();
        self.partition.apply(Event::Refused { fence, messages, refused }, Instant::now());
        self.partition.rewind(Instant::now());
        self.backlog.forget();
    }
}

#[test]
fn what_fits_into_one_call_is_not_copied() {
    let mut hand = Hand::new(partition());
    let taken = batch(100..110);
    let bytes = Arc::as_ptr(taken.data());
    let call = call(hand.take_up(MANY, taken));
    assert_eq!((call.messages, call.attempt), (Messages::Range { first: 100, last: 109 }, 1));
    assert_eq!(Arc::as_ptr(hand.batch.data()), bytes);
    assert!(hand.backlog.is_empty());
}

#[test]
fn what_a_call_left_is_kept_without_a_copy() {
    let mut hand = Hand::new(partition());
    let taken = batch(100..110);
    let bytes = Arc::as_ptr(taken.data());
    let call = call(hand.take_up(MANY, taken));
    hand.settle(&call, 4, 2);
    assert_eq!(Arc::as_ptr(hand.backlog.leftover.as_ref().expect("left").batch.data()), bytes);
    assert_eq!((hand.backlog.leftover(), hand.backlog.retried()), (Some((104, 6)), Some(2)));
}

#[test]
fn a_call_is_bounded_in_messages_and_bytes_and_has_one_message_at_least() {
    let mut hand = Hand::new(partition());
    let bound = |messages, bytes| CallBound { messages, bytes };
    call(hand.take_up(bound(3, 1000), batch(100..110)));
    assert_eq!(offsets(&hand.batch), [100, 101, 102]);
    for (bound, expected) in [
        (bound(100, 20), vec![103, 104]),
        (bound(100, 19), vec![105]),
        (bound(0, 0), vec![106]),
        (MANY, vec![107, 108, 109]),
    ] {
        assert!(hand.backlog.has_fresh());
        call(hand.pick(bound));
        assert_eq!(offsets(&hand.batch), expected);
    }
    assert_eq!((hand.backlog.is_empty(), hand.pick(MANY)), (true, Pick::Nothing));
}

#[test]
fn what_is_left_is_bounded_too_and_comes_before_what_is_new() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(CallBound { messages: 6, bytes: 1000 }, batch(100..110)));
    hand.settle(&first, 1, 1);
    let second = call(hand.pick(CallBound { messages: 2, bytes: 1000 }));
    assert!(second.is_leftover);
    assert_eq!(offsets(&hand.batch), [101, 102]);
    hand.settle(&second, 2, 1);
    let third = call(hand.pick(MANY));
    assert_eq!(offsets(&hand.batch), [103, 104, 105]);
    assert_eq!(hand.settle(&third, 3, 1), 105);
    assert_eq!((hand.watermark(), hand.backlog.leftover()), (106, None));
    let fourth = call(hand.pick(MANY));
    assert_eq!((fourth.is_leftover, offsets(&hand.batch)), (false, vec![106, 107, 108, 109]));
}

#[test]
fn the_messages_of_a_batch_that_crashed_go_alone_and_those_behind_it_do_not() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..105)));
    hand.settle(&first, 1, 1);
    let crashed = call(hand.pick(CallBound { messages: 2, bytes: 1000 }));
    assert_eq!(hand.crash(&crashed, false), AfterCrash::ReplayAlone);
    for alone in [101, 102] {
        let one = call(hand.pick(MANY));
        assert_eq!((offsets(&hand.batch), one.attempt), (vec![alone], 1));
        hand.settle(&one, 1, 1);
    }
    call(hand.pick(MANY));
    assert_eq!(offsets(&hand.batch), [103, 104]);
}

#[test]
fn only_a_crash_alone_on_a_fresh_instance_counts_and_the_last_attempt_fails_the_message() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..103)));
    hand.crash(&first, true);
    for (is_fresh, attempt) in [(false, 1), (true, 1), (true, 2), (true, 3)] {
        let one = call(hand.pick(MANY));
        assert_eq!((offsets(&hand.batch), one.attempt), (vec![100], attempt));
        assert_eq!(hand.batch.message(0).attempt, attempt, "the handler is told");
        hand.crash(&one, is_fresh);
    }
    assert_eq!((hand.watermark(), hand.backlog.head(), hand.backlog.retried()), (101, Some(101), None));
}

#[test]
fn attempts_begin_anew_when_an_operator_says_so() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..103)));
    hand.settle(&first, 0, 3);
    hand.backlog.restart_attempts();
    assert_eq!((call(hand.pick(MANY)).attempt, hand.batch.message(0).attempt), (1, 1));
}

#[test]
fn a_change_of_version_divides_a_call_and_keeps_the_order() {
    let mut hand = Hand::new(partition());
    let by_offset = |message: &MessageRef<'_>| {
        if (102..104).contains(&message.offset) { Side::Candidate } else { Side::Serving }
    };
    let route: Route<'_> = Some(&by_offset);
    hand.batch = batch(100..106);
    let first = call(hand.backlog.take_up(&mut hand.partition, MANY, route, &mut hand.batch));
    assert_eq!((first.side, offsets(&hand.batch)), (Side::Serving, vec![100, 101]));
    let second = call(hand.backlog.pick(&mut hand.partition, MANY, route, &mut hand.batch));
    assert_eq!((second.side, offsets(&hand.batch)), (Side::Candidate, vec![102, 103]));
    // What it left goes to whoever gets it now.
    hand.settle(&second, 1, 2);
    let third = call(hand.pick(MANY));
    assert_eq!((third.side, third.attempt, offsets(&hand.batch)), (Side::Serving, 2, vec![103]));
    hand.settle(&third, 1, 1);
    let fourth = call(hand.backlog.pick(&mut hand.partition, MANY, route, &mut hand.batch));
    assert_eq!((fourth.side, offsets(&hand.batch)), (Side::Serving, vec![104, 105]));
}

#[test]
fn a_message_under_retry_goes_first_in_its_call() {
    let retry = Some(RetryNote { offset: 103, attempts: 2, first_failure_ms: 0 });
    let mut hand = Hand::new(partition_with(CommitNote { retry, ..CommitNote::default() }));
    assert_eq!(call(hand.take_up(MANY, batch(100..106))).attempt, 1);
    assert_eq!(offsets(&hand.batch), [100, 101, 102]);
    let counted = call(hand.pick(MANY));
    assert_eq!((counted.attempt, offsets(&hand.batch)), (3, vec![103, 104, 105]));
    let told: Vec<u32> = hand.batch.messages().map(|message| message.attempt).collect();
    assert_eq!(told, [3, 1, 1]);
}

#[test]
fn a_message_under_retry_that_is_first_anyway_costs_no_copy() {
    let retry = Some(RetryNote { offset: 100, attempts: 2, first_failure_ms: 0 });
    let mut hand = Hand::new(partition_with(CommitNote { retry, ..CommitNote::default() }));
    let taken = batch(100..106);
    let bytes = Arc::as_ptr(taken.data());
    assert_eq!(call(hand.take_up(MANY, taken)).attempt, 3);
    assert_eq!((Arc::as_ptr(hand.batch.data()), hand.batch.message(0).attempt), (bytes, 3));
}

#[test]
fn complete_messages_and_repeats_are_left_out() {
    let mut note = CommitNote::default();
    note.done.insert(Offset(102), Offset(103));
    note.done.insert(Offset(105), Offset(109));
    let mut hand = Hand::new(partition_with(note));
    let first = call(hand.take_up(MANY, batch(98..108)));
    assert_eq!(offsets(&hand.batch), [100, 101]);
    hand.settle(&first, 2, 1);
    let second = call(hand.pick(MANY));
    assert_eq!(offsets(&hand.batch), [104]);
    assert_eq!(hand.pick(MANY), Pick::Nothing);
    assert!(hand.backlog.is_empty());
    hand.settle(&second, 1, 1);
    assert_eq!(hand.watermark(), 110);
}

#[test]
fn a_refused_message_comes_alone_and_is_failed_without_another_call() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..110)));
    hand.partition.apply(Event::Sending, Instant::now());
    hand.refuse(&first.messages, 104);
    let Pick::Refused(refused, failed, stage) = hand.take_up(MANY, batch(100..115)) else { panic!("104 was refused") };
    assert_eq!((offsets(&hand.batch), stage), (vec![104], DeadLetterStage::Whole));
    assert_eq!((failed.class, failed.attempts, failed.reason.as_str()), (ErrorClass::Refused, 1, "too large"));
    hand.settle(&refused, 1, 1);
    call(hand.pick(MANY));
    assert_eq!(offsets(&hand.batch), [110, 111, 112, 113, 114], "its neighbours are complete");
}

#[test]
fn a_dead_letter_that_is_refused_twice_leaves_the_partition_stuck_at_its_message() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..101)));
    hand.partition.apply(Event::Sending, Instant::now());
    hand.refuse(&first.messages, 100);
    for expected in [DeadLetterStage::Whole, DeadLetterStage::HeadersOnly] {
        let Pick::Refused(call, _, stage) = hand.take_up(MANY, batch(100..103)) else { panic!("100 was refused") };
        assert_eq!(stage, expected);
        let now = Instant::now();
        hand.partition.apply(Event::Sending, now);
        hand.partition.apply(Event::DeadLettered { offset: 100, stage }, now);
        hand.refuse(&call.messages, 100);
    }
    let stuck = hand.take_up(MANY, batch(100..103));
    assert_eq!(stuck, Pick::Stuck { offset: 100, reason: "too large".to_owned() });
    assert_eq!((hand.backlog.leftover(), hand.watermark()), (Some((100, 1)), 100));
    assert_eq!(hand.partition.stands_at(hand.backlog.head()), 100);
    // An operator says to go on: the handler gets it again.
    assert_eq!(call(hand.pick(MANY)).attempt, 1);
}

#[test]
fn the_head_is_passed_and_the_others_stay_in_hand() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..102)));
    hand.settle(&first, 0, 2);
    for passed in [100, 101] {
        assert_eq!(hand.backlog.head(), Some(passed));
        let (fence, run) = hand.backlog.pass_head(&mut hand.partition).expect("in hand");
        hand.partition.apply(Event::Settled { fence, run, ticket: false }, Instant::now());
        assert_eq!(hand.watermark(), passed + 1);
    }
    assert_eq!(hand.backlog.pass_head(&mut hand.partition), None);
}

#[test]
fn a_head_of_an_earlier_epoch_is_passed_and_left_out_when_it_comes_again() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..103)));
    hand.settle(&first, 1, 2);
    hand.partition.apply(Event::Restored, Instant::now());
    let (fence, run) = hand.backlog.pass_head(&mut hand.partition).expect("in hand");
    hand.partition.apply(Event::Settled { fence, run, ticket: false }, Instant::now());
    assert_eq!((hand.watermark(), hand.backlog.is_empty()), (100, true));
    call(hand.take_up(MANY, batch(100..103)));
    assert_eq!(offsets(&hand.batch), [100]);
    call(hand.pick(MANY));
    assert_eq!(offsets(&hand.batch), [102]);
}

#[test]
fn what_was_taken_before_the_partition_went_elsewhere_is_not_delivered() {
    let now = Instant::now();
    let asked = |partition: &mut Partition| partition.next(&crate::partition::Ask::default(), now);
    let mut hand = Hand::new(partition());
    assert_eq!(asked(&mut hand.partition), crate::partition::Next::Deliver);
    hand.partition.apply(Event::Restored, now);
    assert_eq!(hand.take_up(MANY, batch(110..115)), Pick::Nothing);
    assert_eq!((hand.partition.tracker().outstanding(), hand.backlog.is_empty()), (0, true));

    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..105)));
    hand.settle(&first, 1, 1);
    assert_eq!(asked(&mut hand.partition), crate::partition::Next::Deliver);
    hand.partition.apply(Event::OutcomeUnknown, now);
    assert_eq!((hand.pick(MANY), hand.backlog.is_empty()), (Pick::Nothing, true));
}

#[test]
fn a_call_that_is_stale_when_it_ends_divides_nothing() {
    let mut hand = Hand::new(partition());
    let first = call(hand.take_up(MANY, batch(100..105)));
    hand.partition.apply(Event::Restored, Instant::now());
    assert_eq!(hand.backlog.part(&mut hand.partition, &first, &hand.batch, 2), (first.run, 101));
    let again = call(hand.take_up(MANY, batch(100..105)));
    let late = Event::Settled { fence: first.fence, run: first.run, ticket: false };
    assert!(hand.partition.apply(late, Instant::now()).stale);
    assert_ne!((again.fence, hand.watermark()), (first.fence, 101));
}

#[test]
fn messages_too_far_apart_for_a_tickets_tokens_go_in_two_calls() {
    let mut hand = Hand::new(partition());
    let far = 100 + i64::from(u32::MAX);
    call(hand.take_up(MANY, batch([100, 101, far, far + 1])));
    assert_eq!(offsets(&hand.batch), [100, 101]);
    call(hand.pick(MANY));
    assert_eq!(offsets(&hand.batch), [far, far + 1]);
}
