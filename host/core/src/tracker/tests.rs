//! The tracker by example, and against a plain set of offsets under every order of events.

use super::*;

mod model;

const BOUND: SpanBound = SpanBound { messages: 10, bytes: 100 };

fn at(position: i64) -> NextOffset {
    NextOffset::at(position)
}

fn tracker(start: i64) -> Tracker {
    Tracker::new(at(start), Generation(1), BOUND, DoneSet::new())
}

fn over(tracker: &mut Tracker, first: i64, last: i64) -> RunId {
    let messages = (last - first + 1) as u32;
    tracker.hand_over(Offset(first), Offset(last), messages, u64::from(messages))
}

fn done(tracker: &mut Tracker, run: RunId) -> Completion {
    tracker.complete(tracker.fence(), run)
}

fn idle(tracker: &mut Tracker, position: i64) -> Completion {
    tracker.advance_idle(tracker.fence(), at(position))
}

fn ranges(tracker: &Tracker) -> Vec<(i64, i64)> {
    tracker.done().ranges().map(|(first, last)| (first.0, last.0)).collect()
}

#[test]
fn nothing_complete_leaves_the_watermark_at_the_start() {
    let mut tracker = tracker(7);
    over(&mut tracker, 7, 9);
    assert_eq!((tracker.watermark(), tracker.position(), tracker.outstanding()), (at(7), at(10), 3));
}

#[test]
fn a_higher_message_that_completes_first_waits_for_the_lower_one() {
    let mut tracker = tracker(0);
    let [low, middle, high] = [over(&mut tracker, 0, 2), over(&mut tracker, 3, 5), over(&mut tracker, 6, 8)];
    assert_eq!(done(&mut tracker, high), Completion::Held);
    assert_eq!(done(&mut tracker, low), Completion::Moved(at(3)));
    assert_eq!(done(&mut tracker, middle), Completion::Moved(at(9)));
}

#[test]
fn advances_past_a_gap_left_by_compaction() {
    let mut tracker = tracker(0);
    let low = over(&mut tracker, 0, 2);
    let high = tracker.hand_over(Offset(50), Offset(90), 3, 3);
    assert_eq!(done(&mut tracker, low), Completion::Moved(at(3)));
    assert_eq!(tracker.span(), SpanSize { messages: 3, bytes: 3, offsets: 88 });
    assert_eq!(done(&mut tracker, high), Completion::Moved(at(91)));
}

#[test]
fn both_parts_of_a_split_run_have_to_complete() {
    let mut tracker = tracker(0);
    let first = over(&mut tracker, 0, 5);
    let next = over(&mut tracker, 6, 6);
    let rest = tracker.split(first, Offset(1), 2, 2);
    let last = tracker.split(rest, Offset(3), 2, 2);
    assert_eq!(done(&mut tracker, next), Completion::Held);
    assert_eq!(done(&mut tracker, last), Completion::Held);
    assert_eq!(done(&mut tracker, first), Completion::Moved(at(2)));
    assert_eq!(tracker.outstanding(), 2);
    assert_eq!(done(&mut tracker, rest), Completion::Moved(at(7)));
}

#[test]
fn what_follows_a_split_of_the_highest_run_lies_behind_its_rest() {
    let mut tracker = tracker(0);
    let first = over(&mut tracker, 0, 5);
    let rest = tracker.split(first, Offset(1), 2, 2);
    let next = over(&mut tracker, 6, 6);
    done(&mut tracker, next);
    assert_eq!(done(&mut tracker, first), Completion::Moved(at(2)));
    assert_eq!(done(&mut tracker, rest), Completion::Moved(at(7)));
}

#[test]
fn a_split_at_impossible_places_passes_nothing() {
    for border in [-5, 0, 99] {
        let mut tracker = tracker(1);
        let first = over(&mut tracker, 1, 5);
        let rest = tracker.split(first, Offset(border), 99, 99);
        done(&mut tracker, rest);
        assert_eq!(tracker.watermark(), at(1));
        done(&mut tracker, first);
        assert_eq!((tracker.watermark(), tracker.outstanding()), (at(6), 0));
    }
}

#[test]
fn the_same_answer_twice_counts_once() {
    let mut tracker = tracker(0);
    let [low, high] = [over(&mut tracker, 0, 2), over(&mut tracker, 3, 5)];
    done(&mut tracker, high);
    assert_eq!(done(&mut tracker, high), Completion::Stale);
    done(&mut tracker, low);
    assert_eq!(done(&mut tracker, low), Completion::Stale);
    let rest = tracker.split(low, Offset(0), 1, 1);
    assert_eq!(done(&mut tracker, rest), Completion::Stale);
    assert_eq!(tracker.outstanding(), 0);
}

#[test]
fn an_answer_of_another_generation_is_stale() {
    let mut old = tracker(0);
    let run = over(&mut old, 0, 9);
    let mut new = Tracker::new(at(0), Generation(2), BOUND, DoneSet::new());
    over(&mut new, 0, 9);
    assert_eq!(new.complete(old.fence(), run), Completion::Stale);
    assert_eq!(new.watermark(), at(0));
}

#[test]
fn an_answer_from_before_a_rewind_is_stale() {
    let mut tracker = tracker(0);
    let before = tracker.fence();
    let run = over(&mut tracker, 0, 9);
    tracker.rewind();
    let again = over(&mut tracker, 0, 9);
    assert_ne!(run, again);
    assert_eq!(tracker.complete(before, run), Completion::Stale);
    assert_eq!(tracker.complete(before, again), Completion::Stale);
    assert_eq!(tracker.complete(tracker.fence(), run), Completion::Stale);
    assert_eq!(tracker.watermark(), at(0));
    assert_eq!(done(&mut tracker, again), Completion::Moved(at(10)));
}

#[test]
fn nothing_counts_after_close() {
    let mut tracker = tracker(0);
    let run = over(&mut tracker, 0, 2);
    tracker.close();
    assert_eq!(done(&mut tracker, run), Completion::Stale);
    assert_eq!(idle(&mut tracker, 9), Completion::Stale);
    assert_eq!(tracker.watermark(), at(0));
    assert!(tracker.is_closed() && !tracker.room());
    tracker.rewind();
    assert!(!tracker.room());
}

#[test]
fn hands_nothing_more_over_at_either_bound() {
    let mut tracker = tracker(0);
    over(&mut tracker, 0, 8);
    assert!(tracker.room());
    let high = over(&mut tracker, 9, 9);
    assert!(!tracker.room());
    done(&mut tracker, high);
    assert!(!tracker.room(), "what waits for a lower message is within the span");

    let mut tracker = self::tracker(0);
    let big = tracker.hand_over(Offset(0), Offset(0), 1, 100);
    assert!(!tracker.room());
    done(&mut tracker, big);
    assert!(tracker.room());
}

#[test]
fn a_bound_of_nothing_still_lets_one_run_through() {
    let bound = SpanBound { messages: 0, bytes: 0 };
    let mut tracker = Tracker::new(at(0), Generation(1), bound, DoneSet::new());
    assert!(tracker.room());
    let run = over(&mut tracker, 0, 0);
    assert!(!tracker.room());
    done(&mut tracker, run);
    assert!(tracker.room());
}

#[test]
fn commits_the_position_behind_markers_once_nothing_is_outstanding() {
    let mut tracker = tracker(0);
    let run = over(&mut tracker, 0, 2);
    assert_eq!(idle(&mut tracker, 9), Completion::Held);
    done(&mut tracker, run);
    assert_eq!(tracker.watermark(), at(3));
    assert_eq!(idle(&mut tracker, 9), Completion::Moved(at(9)));
    assert_eq!(idle(&mut tracker, 9), Completion::Held);
    assert_eq!(idle(&mut tracker, 4), Completion::Held);
    assert_eq!((tracker.watermark(), tracker.position()), (at(9), at(9)));
}

#[test]
fn an_empty_queue_after_a_rewind_does_not_pass_what_was_dropped() {
    let mut tracker = tracker(0);
    let low = over(&mut tracker, 0, 2);
    over(&mut tracker, 3, 5);
    done(&mut tracker, low);
    let before = tracker.fence();
    tracker.rewind();
    assert_eq!(tracker.advance_idle(before, at(6)), Completion::Stale);
    assert_eq!(idle(&mut tracker, 6), Completion::Held);
    let again = over(&mut tracker, 3, 4);
    done(&mut tracker, again);
    assert_eq!(idle(&mut tracker, 6), Completion::Held, "5 is still to come");
    let again = over(&mut tracker, 5, 5);
    done(&mut tracker, again);
    assert_eq!(idle(&mut tracker, 8), Completion::Moved(at(8)));
}

#[test]
fn an_answer_from_before_a_seek_is_stale_and_what_lies_behind_the_target_is_to_be_handed_over() {
    let mut tracker = tracker(0);
    let [low, middle, high] = [over(&mut tracker, 0, 2), over(&mut tracker, 3, 5), over(&mut tracker, 6, 8)];
    done(&mut tracker, low);
    done(&mut tracker, high);
    let fence = tracker.fence();
    tracker.seek(at(1));
    assert_eq!((tracker.watermark(), tracker.position(), tracker.outstanding()), (at(1), at(1), 0));
    assert_eq!(tracker.complete(fence, middle), Completion::Stale);
    assert_eq!(tracker.advance_idle(fence, at(9)), Completion::Stale);
    assert!(tracker.done().is_empty(), "what was complete behind the target would be left out");
    assert!((1..9).all(|offset| !tracker.is_done(Offset(offset))) && tracker.is_done(Offset(0)));
    let again = over(&mut tracker, 1, 8);
    assert_eq!(done(&mut tracker, again), Completion::Moved(at(9)));
}

#[test]
fn an_empty_queue_after_a_seek_back_does_not_pass_what_was_handed_over_before() {
    let mut tracker = tracker(0);
    let all = over(&mut tracker, 0, 8);
    done(&mut tracker, all);
    tracker.seek(at(2));
    assert_eq!(idle(&mut tracker, 9), Completion::Held, "messages 2 to 8 are still to come");
    let again = over(&mut tracker, 2, 8);
    done(&mut tracker, again);
    assert_eq!(idle(&mut tracker, 11), Completion::Moved(at(11)));
}

#[test]
fn a_seek_forward_passes_what_lies_before_the_target_and_nothing_behind_it() {
    let mut tracker = tracker(0);
    over(&mut tracker, 0, 2);
    tracker.remember_done(Offset(21), Offset(22));
    tracker.seek(at(20));
    assert_eq!((tracker.watermark(), tracker.is_done(Offset(19)), tracker.is_done(Offset(21))), (at(20), true, false));
    assert_eq!(idle(&mut tracker, 24), Completion::Moved(at(24)), "an empty partition behind the target is no backlog");
    tracker.close();
    tracker.seek(at(3));
    assert_eq!(tracker.watermark(), at(24), "nothing moves once the generation is over");
}

#[test]
fn what_was_complete_is_not_handed_over_again_after_a_rewind() {
    let mut tracker = tracker(0);
    let low = over(&mut tracker, 0, 2);
    over(&mut tracker, 3, 5);
    let high = over(&mut tracker, 6, 8);
    done(&mut tracker, high);
    done(&mut tracker, low);
    assert_eq!(tracker.rewind(), at(3));
    assert_eq!((tracker.position(), tracker.outstanding(), tracker.span()), (at(3), 0, SpanSize::default()));
    assert_eq!(ranges(&tracker), [(6, 8)]);
    assert!(tracker.is_done(Offset(2)) && !tracker.is_done(Offset(5)) && tracker.is_done(Offset(6)));

    let again = over(&mut tracker, 3, 5);
    assert!((6..9).all(|offset| tracker.skip_done(Offset(offset))));
    assert_eq!(done(&mut tracker, again), Completion::Moved(at(9)));
    assert!(tracker.done().is_empty());
}

#[test]
fn what_the_last_holder_completed_is_passed_where_it_touches_the_start() {
    let mut note = DoneSet::new();
    for (first, last) in [(1, 2), (5, 6), (9, 9)] {
        note.insert(Offset(first), Offset(last));
    }
    let tracker = Tracker::new(at(5), Generation(1), BOUND, note);
    assert_eq!((tracker.watermark(), tracker.position()), (at(7), at(7)));
    assert_eq!(ranges(&tracker), [(9, 9)]);
}

#[test]
fn a_done_message_does_not_carry_the_watermark_over_messages_gathered_before_it() {
    let mut note = DoneSet::new();
    note.insert(Offset(7), Offset(7));
    let mut tracker = Tracker::new(at(5), Generation(1), BOUND, note);
    // 5 and 6 are gathered and not handed over yet when the poller meets 7.
    assert!(tracker.skip_done(Offset(7)));
    assert_eq!((tracker.watermark(), tracker.position()), (at(5), at(5)));
    let run = over(&mut tracker, 5, 6);
    let next = over(&mut tracker, 8, 8);
    assert_eq!(done(&mut tracker, run), Completion::Moved(at(8)));
    assert_eq!(done(&mut tracker, next), Completion::Moved(at(9)));
}

#[test]
fn a_done_message_behind_a_gap_is_passed_as_soon_as_something_lies_behind_it() {
    let mut note = DoneSet::new();
    note.insert(Offset(7), Offset(8));
    let mut tracker = Tracker::new(at(5), Generation(1), BOUND, note.clone());
    // 6 does not exist.
    let low = over(&mut tracker, 5, 5);
    assert!(tracker.skip_done(Offset(7)) && tracker.skip_done(Offset(8)));
    over(&mut tracker, 9, 9);
    assert_eq!(done(&mut tracker, low), Completion::Moved(at(9)));

    let mut tracker = Tracker::new(at(6), Generation(1), BOUND, note);
    assert!(tracker.skip_done(Offset(7)) && tracker.skip_done(Offset(8)));
    over(&mut tracker, 9, 9);
    assert_eq!(tracker.watermark(), at(9));
}

#[test]
fn a_done_message_behind_what_was_gathered_keeps_its_place() {
    let mut note = DoneSet::new();
    note.insert(Offset(8), Offset(8));
    let mut tracker = Tracker::new(at(5), Generation(1), BOUND, note);
    // 5 and 6 are gathered, 7 does not exist.
    assert!(tracker.skip_done(Offset(8)));
    let low = over(&mut tracker, 5, 6);
    over(&mut tracker, 9, 9);
    assert_eq!(done(&mut tracker, low), Completion::Moved(at(9)));
}

#[test]
fn a_done_message_met_before_a_rewind_says_nothing_after_it() {
    let mut note = DoneSet::new();
    note.insert(Offset(8), Offset(8));
    let mut tracker = Tracker::new(at(5), Generation(1), BOUND, note);
    over(&mut tracker, 5, 6);
    assert!(tracker.skip_done(Offset(8)));
    tracker.rewind();
    assert_eq!(idle(&mut tracker, 9), Completion::Held, "5 and 6 are still to come");
}

#[test]
fn a_message_that_is_not_done_cannot_be_skipped() {
    let mut tracker = tracker(0);
    assert!(!tracker.skip_done(Offset(0)));
    let run = over(&mut tracker, 1, 1);
    assert_eq!(tracker.watermark(), at(0));
    done(&mut tracker, run);
    assert_eq!(tracker.watermark(), at(2));
}

#[test]
fn memory_does_not_grow_with_what_has_passed() {
    let mut tracker = tracker(0);
    for offset in (0..100_000).step_by(4) {
        let run = over(&mut tracker, offset, offset + 2);
        let next = over(&mut tracker, offset + 3, offset + 3);
        let rest = tracker.split(run, Offset(offset + 1), 2, 2);
        for run in [next, rest, run] {
            done(&mut tracker, run);
        }
        assert_eq!(tracker.runs.len(), 0);
    }
    assert!(tracker.runs.capacity() < 16);
}
