//! What a slice that was not committed takes back.

use super::*;

/// 100 to 109 are persisted, 110 to 119 complete, 120 to 129 in flight.
fn in_a_slice(now: Instant) -> (Partition, Opened) {
    let mut partition = held();
    let one = ten(&mut partition, 100);
    settle(&mut partition, one, false, now);
    persist(&mut partition, now);
    let two = ten(&mut partition, 110);
    settle(&mut partition, two, false, now);
    let three = ten_sent(&mut partition, 120, now);
    (partition, three)
}

#[test]
fn an_aborted_slice_goes_back_to_what_is_persisted() {
    let now = Instant::now();
    let (mut partition, in_flight) = in_a_slice(now);
    assert!(partition.apply(Event::Restored, now).wake);
    assert_eq!((watermark(&partition), partition.tickets(), partition.due(false)), (110, 0, None));
    assert!(settle(&mut partition, in_flight, true, now).stale);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(110)));
    assert_eq!(partition.apply(Event::Idle(at(140)), now), Effects::default());
    partition.apply(Event::Repositioned, now);
    assert_eq!(partition.apply(Event::Idle(at(140)), now), Effects::default(), "what was dropped is yet to come again");
}

#[test]
fn an_aborted_slice_takes_its_part_of_the_done_set_back_and_leaves_the_rest() {
    let (mut partition, now) = (held(), Instant::now());
    partition.pass_unread(105);
    partition.apply(Event::NoteChanged, now);
    persist(&mut partition, now);
    partition.pass_unread(107);
    partition.apply(Event::Restored, now);
    assert!(partition.tracker().is_done(Offset(105)) && !partition.tracker().is_done(Offset(107)));
}

#[test]
fn what_was_tried_in_an_aborted_slice_was_tried() {
    let now = Instant::now();
    let (mut partition, _) = in_a_slice(now);
    partition.apply(retry(120, 3, now + Duration::from_secs(9)), now);
    partition.apply(Event::Restored, now);
    assert!(partition.holds().is_empty(), "the wait is over");
    assert_eq!(partition.due(false).expect("the attempts").note.retry.map(|retry| retry.attempts), Some(2));
    assert_eq!(ten(&mut partition, 120).attempt, 3);
}

#[test]
fn attempts_that_are_persisted_outlast_a_slice_in_which_the_message_was_settled() {
    let (mut partition, now) = (held(), Instant::now());
    partition.apply(retry(100, 3, now), now);
    persist(&mut partition, now);
    partition.apply(Event::SettledUpTo(100), now);
    partition.apply(Event::Restored, now);
    assert_eq!(ten(&mut partition, 100).attempt, 3);
    partition.apply(Event::Resumed, now);
    partition.apply(Event::Restored, now);
    assert_eq!(ten(&mut partition, 100).attempt, 1, "an operator said so");
}

#[test]
fn an_aborted_slice_takes_nothing_back_of_a_position_that_is_being_persisted() {
    let (mut partition, now) = (held(), Instant::now());
    partition.seek(at(50), now).expect("nothing moves it");
    assert!(matches!(next(&mut partition, now), Next::Moved(_)));
    partition.due(false).expect("the new position");
    assert_eq!(partition.apply(Event::Restored, now).persist, Some(Urgency::Now));
    assert_eq!((watermark(&partition), partition.stage()), (50, &Stage::Opening));
    assert!(persist(&mut partition, now).moved.is_some());
}

#[test]
fn while_an_outcome_is_not_known_nothing_is_delivered_or_persisted() {
    let now = Instant::now();
    let (mut partition, in_flight) = in_a_slice(now);
    partition.apply(Event::OutcomeUnknown, now);
    assert_eq!((next(&mut partition, now), partition.view().state), (Next::Wait, State::Waiting));
    assert!(settle(&mut partition, in_flight, true, now).stale);
    partition.apply(Event::NoteChanged, now);
    assert_eq!((partition.due(false), partition.due(true)), (None, None));
}

#[test]
fn after_an_unknown_outcome_what_the_coordinator_has_counts() {
    for committed in [110, 120] {
        let now = Instant::now();
        let (mut partition, _) = in_a_slice(now);
        partition.apply(retry(120, 2, now), now);
        partition.apply(Event::OutcomeUnknown, now);
        let mut note = CommitNote {
            retry: Some(RetryNote { offset: 120, attempts: 4, first_failure_ms: 0 }),
            ..CommitNote::default()
        };
        note.done.insert(Offset(125), Offset(126));
        assert!(partition.apply(Event::Reread { next: at(committed), note: &note }, now).wake);
        assert_eq!((watermark(&partition), partition.committed()), (committed, Some(at(committed))));
        assert!(partition.tracker().is_done(Offset(126)));
        assert_eq!(next(&mut partition, now), Next::Reposition(at(committed)));
        assert_eq!(ten(&mut partition, 120).attempt, 5, "attempts never go down");
        assert_eq!(
            partition.apply(Event::Reread { next: at(0), note: &note }, now),
            Effects::default(),
            "nobody asked"
        );
    }
}

#[test]
fn a_move_that_met_an_unknown_outcome_is_persisted_again() {
    let (mut partition, now) = (held(), Instant::now());
    partition.seek(at(50), now).expect("nothing moves it");
    assert!(matches!(next(&mut partition, now), Next::Moved(_)));
    partition.due(false).expect("the new position");
    partition.apply(Event::OutcomeUnknown, now);
    let effects = partition.apply(Event::Reread { next: at(100), note: &CommitNote::default() }, now);
    assert_eq!((effects.persist, watermark(&partition)), (Some(Urgency::Now), 50));
    assert!(persist(&mut partition, now).moved.is_some());
}

#[test]
fn an_abort_does_not_forget_that_an_operator_moves_the_partition() {
    let now = Instant::now();
    let (mut partition, _) = in_a_slice(now);
    partition.seek(at(50), now + Duration::from_secs(1)).expect("nothing moves it");
    partition.apply(Event::Restored, now);
    assert!(matches!(next(&mut partition, now), Next::Moved(Sought { from: 110, to: 50, .. })));
}
