//! Holds end separately, each by its own event; and what status says of them.

use super::*;

const SOON: Duration = Duration::from_millis(10);

#[test]
fn a_paused_partition_stays_paused_when_its_backoff_is_over() {
    let (mut partition, now) = (held(), Instant::now());
    ten(&mut partition, 100);
    partition.apply(retry(100, 2, now + SOON), now);
    assert!(partition.apply(Event::Paused(true), now).wake);
    assert_eq!(next(&mut partition, now), Next::Wait, "a time says nothing while an operator is waited for");
    assert_eq!(partition.view().state, State::Waiting);
    assert_eq!(next(&mut partition, now + SOON), Next::Wait);
    assert_eq!(partition.view().state, State::Paused);
    partition.apply(Event::Paused(false), now);
    assert_eq!((next(&mut partition, now + SOON), partition.view().state), (Next::Deliver, State::Running));
}

#[test]
fn a_backoff_goes_on_when_a_pause_ends() {
    let (mut partition, now) = (held(), Instant::now());
    ten(&mut partition, 100);
    partition.apply(Event::Paused(true), now);
    partition.apply(retry(100, 2, now + SOON), now);
    partition.apply(Event::Paused(false), now);
    assert_eq!(next(&mut partition, now), Next::WaitUntil(now + SOON));
}

#[test]
fn a_pause_outlasts_a_stop_a_rewind_a_move_and_an_abort() {
    let (mut partition, now) = (held(), Instant::now());
    partition.apply(Event::Paused(true), now);
    partition.apply(stop(100), now);
    partition.apply(Event::Resumed, now);
    partition.rewind(now);
    partition.seek(at(50), now).expect("nothing moves it");
    assert!(matches!(next(&mut partition, now), Next::Moved(_)));
    persist(&mut partition, now);
    partition.apply(Event::Restored, now);
    assert_eq!((next(&mut partition, now), partition.view().state), (Next::Wait, State::Paused));
}

#[test]
fn a_stop_ends_a_backoff_and_a_resume_both_with_attempts_from_one() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten(&mut partition, 100);
    partition.apply(retry(100, 3, now + SOON), now);
    assert_eq!(partition.apply(stop(100), now).persist, Some(Urgency::Soon));
    assert_eq!(next(&mut partition, now + SOON), Next::Wait);
    assert_eq!(partition.view().state, State::Stopped);
    let effects = partition.apply(Event::Resumed, now);
    assert!(effects.wake && effects.persist.is_some());
    assert_eq!((partition.retry(), next(&mut partition, now)), (None, Next::Deliver));
    partition.rewind(now);
    assert_eq!(ten(&mut partition, 100).attempt, 1);
    assert_ne!(partition.fence(), opened.fence);
}

#[test]
fn a_resume_puts_the_source_right_at_once() {
    let (mut partition, now) = (held(), Instant::now());
    partition.rewind(now);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(100)));
    partition.apply(Event::RepositionFailed(now + SOON), now);
    partition.apply(Event::Resumed, now);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(100)));
}

#[test]
fn a_rewind_ends_a_backoff_and_keeps_the_attempts() {
    let (mut partition, now) = (held(), Instant::now());
    ten(&mut partition, 100);
    partition.apply(retry(100, 3, now + SOON), now);
    partition.rewind(now);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(100)));
    assert_eq!(ten(&mut partition, 100).attempt, 3);
}

#[test]
fn a_retry_remembers_when_the_message_failed_first_and_ends_when_it_is_settled() {
    let (mut partition, now) = (held(), Instant::now());
    partition.apply(retry(100, 2, now), now);
    let again = Event::Retry { offset: 100, attempt: 3, until: now, now_ms: 99, reason: String::new() };
    partition.apply(again, now);
    assert_eq!(partition.retry(), Some(RetryNote { offset: 100, attempts: 2, first_failure_ms: 5 }));
    partition.apply(Event::SettledUpTo(99), now);
    assert!(partition.retry().is_some());
    partition.apply(Event::SettledUpTo(100), now);
    assert!(partition.retry().is_none());
}

#[test]
fn a_client_that_gave_the_partition_up_is_waited_for() {
    let (mut partition, now) = (held(), Instant::now());
    partition.apply(Event::InputLost("out of range".to_owned()), now);
    assert_eq!(next(&mut partition, now + SOON), Next::Wait);
    let view = partition.view();
    assert_eq!((view.state, view.reason.as_deref()), (State::Waiting, Some("out of range")));
}

#[test]
fn status_names_the_stop_then_the_wait_then_the_pause() {
    let (mut partition, now) = (held(), Instant::now());
    assert_eq!(
        partition.view(),
        View { state: State::Running, offset: None, attempt: None, next_try: None, reason: None }
    );
    partition.apply(Event::Paused(true), now);
    assert_eq!(partition.view().state, State::Paused);
    partition.apply(retry(103, 2, now + SOON), now);
    let waiting = View {
        state: State::Waiting,
        offset: Some(103),
        attempt: Some(2),
        next_try: Some(now + SOON),
        reason: Some("not now".to_owned()),
    };
    assert_eq!(partition.view(), waiting);
    partition.apply(stop(103), now);
    let view = partition.view();
    assert_eq!((view.state, view.offset, view.reason.as_deref()), (State::Stopped, Some(103), Some("no")));
    assert_eq!(partition.stands_at(Some(101)), 101);
    assert_eq!(partition.stands_at(None), 103);
}

#[test]
fn a_partition_that_starts_is_shown_as_starting_unless_it_needs_a_decision() {
    let (mut partition, now) = (Partition::new(fresh()), Instant::now());
    partition.apply(Event::Paused(true), now);
    assert_eq!(partition.view().state, State::Starting);
    partition.apply(stop(100), now);
    assert_eq!(partition.view().state, State::Stopped);
    assert_eq!(State::Starting.as_str(), "starting");
}

#[test]
fn a_partition_that_leaves_is_shown_as_it_was() {
    let (mut partition, now) = (held(), Instant::now());
    partition.apply(Event::Leave, now);
    assert_eq!(partition.view().state, State::Running);
    partition.apply(Event::Close(Closed::Revoked), now);
    assert_eq!(partition.view().state, State::Closed);
}

#[test]
fn a_stop_that_only_a_new_client_ends_is_not_replaced_by_a_later_one() {
    let (mut partition, now) = (Partition::new(start()), Instant::now());
    let opened = ten(&mut partition, 100);
    let gone = Event::Stop { offset: 100, class: StopClass::OutOfRange, reason: "out of range".to_owned() };
    partition.apply(gone, now);
    // What was taken before is delivered all the same, and fails.
    settle(&mut partition, opened, false, now);
    let failed = Event::Stop { offset: 104, class: StopClass::Failed, reason: "rejected".to_owned() };
    partition.apply(failed, now);
    assert_eq!(partition.holds().stop().map(|(class, _)| class), Some(StopClass::OutOfRange));
    assert_eq!(partition.stands_at(None), 110, "it stands where reading would go on");
}

#[test]
fn nobody_waits_for_room_for_a_partition_that_was_abandoned_also_after_its_end() {
    let now = Instant::now();
    for closed in [Closed::Revoked, Closed::Orphaned("gone".to_owned())] {
        let mut partition = Partition::new(start());
        partition.apply(Event::Leave, now);
        assert!(!partition.is_abandoned());
        partition.apply(Event::LeaveAtOnce, now);
        partition.apply(Event::Close(closed.clone()), now);
        assert!(partition.is_abandoned());
        let mut partition = Partition::new(start());
        partition.apply(Event::Close(closed), now);
        partition.apply(Event::LeaveAtOnce, now);
        assert!(partition.is_abandoned());
    }
}

#[test]
fn a_position_that_was_never_persisted_is_not_persisted_by_its_partitions_end() {
    let now = Instant::now();
    let mut partition = Partition::new(start());
    partition.seek(NextOffset::at(50), now).expect("nothing stands against it");
    assert!(matches!(partition.next(&Ask::default(), now), Next::Moved(_)));
    partition.apply(Event::Close(Closed::Lost), now);
    assert!(!partition.is_persisted());
}

#[test]
fn an_input_that_cannot_be_read_is_asked_again_with_a_growing_pause_and_an_operator_need_not_wait() {
    let (mut partition, now) = (held(), Instant::now());
    let second = Duration::from_secs(1);
    let mut at_last = now;
    for pause in [1, 2, 4] {
        partition.apply(Event::Distrusted, at_last);
        partition.apply(Event::InputRefused { offset: 100, reason: "bad batch".to_owned() }, at_last);
        let view = partition.view();
        assert_eq!((view.state, view.offset, view.reason.as_deref()), (State::Waiting, Some(100), Some("bad batch")));
        assert_eq!(partition.holds().first().map(|hold| hold.since), Some(now));
        at_last += second * pause;
        assert_eq!(next(&mut partition, at_last - second / 2), Next::WaitUntil(at_last));
        // The source goes back to where the partition stands before anything is taken.
        assert_eq!(next(&mut partition, at_last), Next::Reposition(at(100)));
        partition.apply(Event::Repositioned, at_last);
    }
    partition.apply(Event::InputRefused { offset: 100, reason: "bad batch".to_owned() }, at_last);
    partition.apply(Event::Resumed, at_last);
    assert_eq!((next(&mut partition, at_last), partition.input_waits()), (Next::Deliver, Waits::default()));
}
