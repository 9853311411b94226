//! The order in which `next` decides: each rule against the one behind it.

use super::*;

const LATER: Duration = Duration::from_secs(1);

/// Everything at once: an operator moves it, it is paused, held from above, its source is to be put elsewhere.
fn tangled(now: Instant) -> Partition {
    let mut partition = held();
    let opened = ten_sent(&mut partition, 100, now);
    partition.rewind(now);
    partition.apply(Event::Settled { fence: opened.fence, run: opened.run, ticket: true }, now);
    partition.apply(Event::Paused(true), now);
    partition
}

#[test]
fn a_partition_that_leaves_does_nothing_more_whatever_was_asked_of_it() {
    let now = Instant::now();
    let mut partition = tangled(now);
    partition.seek(at(50), now).expect("nothing moves it");
    partition.apply(Event::Leave, now);
    assert_eq!(next(&mut partition, now + LATER), Next::Wait);
    assert_eq!(partition.is_over(), Some("it is being taken away"));
    assert_eq!(*partition.motion(), Motion::Draining(Drain::Seek { to: at(50), until: now }));
}

#[test]
fn a_move_goes_on_while_the_partition_is_paused_stopped_and_held_from_above() {
    let now = Instant::now();
    let mut partition = tangled(now);
    partition.apply(stop(100), now);
    partition.seek(at(50), now).expect("nothing moves it");
    assert_eq!(partition.seek(at(60), now), Err(SeekRefused::Moving));
    let ask = Ask { held_above: true, ..Ask::default() };
    assert!(matches!(partition.next(&ask, now), Next::Moved(Sought { from: 100, to: 50, .. })));
    assert!(partition.holds().stop().is_none(), "a move ends a stop");
    assert!(partition.holds().get(Reason::Paused).is_some(), "and no pause");
    assert_eq!(*partition.stage(), Stage::Opening);
}

#[test]
fn a_move_waits_for_what_is_in_flight_and_no_longer_than_it_may() {
    let now = Instant::now();
    let mut partition = held();
    let opened = ten_sent(&mut partition, 100, now);
    partition.seek(at(50), now + LATER).expect("nothing moves it");
    assert_eq!(next(&mut partition, now), Next::WaitUntil(now + LATER));
    assert!(settle(&mut partition, opened, true, now).wake);
    assert!(matches!(next(&mut partition, now), Next::Moved(Sought { from: 110, dropped: 0, .. })));
    let mut partition = held();
    ten_sent(&mut partition, 100, now);
    partition.seek(at(50), now + LATER).expect("nothing moves it");
    assert!(matches!(next(&mut partition, now + LATER), Next::Moved(Sought { from: 100, dropped: 10, .. })));
}

#[test]
fn a_partition_that_only_a_new_client_can_read_is_moved_and_then_waits_for_that() {
    let (mut partition, now) = (held(), Instant::now());
    partition.apply(Event::Stop { offset: 100, class: StopClass::OutOfRange, reason: "gone".to_owned() }, now);
    partition.seek(at(50), now).expect("nothing moves it");
    assert!(matches!(next(&mut partition, now), Next::Moved(Sought { needs_new_client: true, .. })));
    persist(&mut partition, now);
    assert_eq!(next(&mut partition, now + LATER), Next::Wait, "this client refuses every seek");
    assert_eq!(partition.view().state, State::Waiting);
}

#[test]
fn what_is_held_is_held_before_the_source_is_touched() {
    let now = Instant::now();
    let mut partition = tangled(now);
    assert_eq!(next(&mut partition, now), Next::Wait, "paused");
    partition.apply(Event::Paused(false), now);
    let ask = Ask { held_above: true, ..Ask::default() };
    assert_eq!(partition.next(&ask, now), Next::Wait, "held from above");
    assert_eq!(next(&mut partition, now), Next::Reposition(at(100)));
    partition.apply(Event::RepositionFailed(now + LATER), now);
    assert_eq!(next(&mut partition, now), Next::WaitUntil(now + LATER));
    assert_eq!(next(&mut partition, now + LATER), Next::Reposition(at(100)), "it is tried again");
    partition.apply(Event::Repositioned, now);
    assert_eq!(next(&mut partition, now), Next::Deliver);
}

#[test]
fn the_source_is_put_right_while_the_first_position_is_being_persisted() {
    let (mut partition, now) = (Partition::new(fresh()), Instant::now());
    partition.rewind(now);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(100)));
    partition.apply(Event::Repositioned, now);
    assert_eq!(next(&mut partition, now), Next::Wait);
}

#[test]
fn a_source_that_was_put_where_it_had_to_be_before_an_abort_is_put_elsewhere() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten(&mut partition, 100);
    settle(&mut partition, opened, false, now);
    partition.apply(Event::Distrusted, now);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(110)));
    partition.apply(Event::Restored, now);
    partition.apply(Event::Repositioned, now);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(100)), "110 is not where it has to be now");
    partition.apply(Event::Repositioned, now);
    assert_eq!(next(&mut partition, now), Next::Deliver);
}

#[test]
fn a_refusal_is_gone_back_to_before_anything_more_is_delivered_also_of_what_is_in_hand() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    refuse(&mut partition, opened, 100, &[104], now);
    let ask = Ask { leftover: Some((110, 3)), backlog: true, ..Ask::default() };
    assert!(matches!(partition.next(&ask, now), Next::Rewound(_)));
    assert_eq!(*partition.motion(), Motion::Repositioning { to: at(100), not_before: None });
}

#[test]
fn sync_waits_until_the_last_batch_is_persisted_also_with_what_is_in_hand() {
    let now = Instant::now();
    let mut partition = Partition::new(Start { mode: CommitMode::Sync, ..start() });
    let opened = ten_sent(&mut partition, 100, now);
    let ask = Ask { leftover: Some((105, 5)), ..Ask::default() };
    assert_eq!(partition.next(&ask, now), Next::Wait, "its outputs are in flight");
    settle(&mut partition, opened, true, now);
    assert_eq!(partition.next(&ask, now), Next::Wait, "its commit is not answered");
    assert!(persist(&mut partition, now).wake);
    assert_eq!(partition.next(&ask, now), Next::Deliver);
    assert!(partition.holds().is_empty());
}

#[test]
fn a_full_window_holds_what_is_new_and_not_what_was_delivered_before() {
    let now = Instant::now();
    let window = SpanBound { messages: 20, bytes: 1 << 20 };
    let mut partition = Partition::new(Start { window, ..start() });
    let one = ten(&mut partition, 100);
    let two = ten(&mut partition, 110);
    assert_eq!(next(&mut partition, now), Next::Wait);
    assert!(partition.holds().get(Reason::WindowFull).is_some());
    assert_eq!(partition.view().state, State::Running);
    let ask = Ask { leftover: Some((119, 1)), ..Ask::default() };
    assert_eq!(partition.next(&ask, now), Next::Deliver);
    assert_eq!(next(&mut partition, now), Next::Wait);
    assert!(settle(&mut partition, two, false, now).wake, "the lane looks again after a completion");
    assert_eq!(next(&mut partition, now), Next::Wait, "complete ones that wait for a lower one count");
    settle(&mut partition, one, false, now);
    assert!(partition.holds().is_empty());
    assert_eq!(next(&mut partition, now), Next::Deliver);
}

#[test]
fn a_source_that_reported_an_error_is_put_back_once_nothing_is_in_hand() {
    let (mut partition, now) = (held(), Instant::now());
    ten(&mut partition, 100);
    partition.apply(Event::Distrusted, now);
    assert_eq!(partition.next(&Ask { leftover: Some((105, 5)), ..Ask::default() }, now), Next::Deliver);
    assert_eq!(partition.next(&Ask { backlog: true, ..Ask::default() }, now), Next::Deliver);
    assert_eq!(next(&mut partition, now), Next::Reposition(at(110)));
    partition.apply(Event::Repositioned, now);
    assert_eq!(next(&mut partition, now), Next::Deliver);
}
