//! The partition's rules by example; by random histories in `model`.

mod holds;
mod model;
mod order;
mod slices;
mod versions;

use std::time::Duration;

use super::*;
use crate::messages::Messages;
use crate::offset::Offset;
use crate::tracker::SpanBound;

fn at(position: i64) -> NextOffset {
    NextOffset::at(position)
}

/// Assigned at 100, which is committed.
fn start() -> Start {
    Start {
        generation: Generation(7),
        mode: CommitMode::Manual { min_interval: Duration::ZERO },
        window: SpanBound { messages: 1000, bytes: 1 << 20 },
        at: at(100),
        committed: Some(at(100)),
        opening: false,
        note: CommitNote::default(),
        topic_id: Some("id-1".to_owned()),
        running: None,
    }
}

/// Nothing is committed yet.
fn fresh() -> Start {
    Start { committed: None, opening: true, ..start() }
}

fn held() -> Partition {
    Partition::new(start())
}

/// Delivers ten messages from `first` on.
fn ten(partition: &mut Partition, first: i64) -> Opened {
    partition.open(first, first + 9, 10, 1000)
}

/// The same, and their outputs are on their way.
fn ten_sent(partition: &mut Partition, first: i64, now: Instant) -> Opened {
    let opened = ten(partition, first);
    partition.apply(Event::Sending, now);
    opened
}

fn settle(partition: &mut Partition, opened: Opened, ticket: bool, now: Instant) -> Effects {
    partition.apply(Event::Settled { fence: opened.fence, run: opened.run, ticket }, now)
}

fn refuse(partition: &mut Partition, opened: Opened, first: i64, refused: &[i64], now: Instant) -> Effects {
    let refused = refused.iter().map(|offset| refusal(*offset, false)).collect();
    let messages = Messages::Range { first, last: first + 9 };
    partition.apply(Event::Refused { fence: opened.fence, messages: &messages, refused }, now)
}

fn refusal(offset: i64, topic_wide: bool) -> Refused {
    Refused { offset, topic_wide, again: false, reason: "MSG_SIZE_TOO_LARGE: no".to_owned() }
}

fn retry(offset: i64, attempt: u32, until: Instant) -> Event<'static> {
    Event::Retry { offset, attempt, until, now_ms: 5, reason: "not now".to_owned() }
}

fn stop(offset: i64) -> Event<'static> {
    Event::Stop { offset, class: StopClass::Failed, reason: "no".to_owned() }
}

fn persist(partition: &mut Partition, now: Instant) -> Effects {
    let mark = partition.due(false).expect("due");
    partition.apply(Event::Persisted(&mark), now)
}

fn next(partition: &mut Partition, now: Instant) -> Next {
    partition.next(&Ask::default(), now)
}

fn watermark(partition: &Partition) -> i64 {
    partition.tracker().watermark().get()
}

#[test]
fn what_is_settled_first_waits_for_what_was_delivered_first() {
    let (mut partition, now) = (held(), Instant::now());
    let one = ten_sent(&mut partition, 100, now);
    let two = ten_sent(&mut partition, 110, now);
    assert_eq!(settle(&mut partition, two, true, now).persist, None);
    assert_eq!((watermark(&partition), partition.is_settled()), (100, false));
    assert_eq!(settle(&mut partition, one, true, now).persist, Some(Urgency::Soon));
    assert_eq!((watermark(&partition), partition.is_settled()), (120, true));
}

#[test]
fn an_answer_for_a_closed_generation_counts_for_nothing() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    partition.apply(Event::Close(Closed::Revoked), now);
    assert!(settle(&mut partition, opened, true, now).stale);
    assert!(refuse(&mut partition, opened, 100, &[104], now).stale);
    assert_eq!((watermark(&partition), partition.due(true), partition.due(false)), (100, None, None));
    assert!(partition.is_settled(), "a revoke would wait for what cannot count any more");
}

#[test]
fn an_answer_for_an_earlier_epoch_counts_for_nothing() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    partition.rewind(now);
    let again = ten_sent(&mut partition, 100, now);
    assert!(settle(&mut partition, opened, true, now).stale);
    assert!(refuse(&mut partition, opened, 100, &[104], now).stale);
    partition.apply(Event::Abandoned { fence: opened.fence }, now);
    assert_eq!((watermark(&partition), partition.tickets()), (100, 1));
    assert!(!settle(&mut partition, again, true, now).stale);
    assert_eq!(watermark(&partition), 110);
}

#[test]
fn a_partition_whose_topic_is_gone_persists_nothing_and_stands() {
    let (mut partition, now) = (held(), Instant::now());
    let one = ten(&mut partition, 100);
    let two = ten_sent(&mut partition, 110, now);
    settle(&mut partition, one, false, now);
    assert!(partition.due(false).is_some());
    assert_eq!(partition.is_over(), None);
    partition.apply(Event::Close(Closed::Orphaned("topic orders was deleted".to_owned())), now);
    assert_eq!((partition.due(true), partition.is_settled()), (None, true));
    settle(&mut partition, two, true, now);
    assert_eq!((watermark(&partition), partition.due(true)), (110, None));
    let view = partition.view();
    assert_eq!(
        (view.state, view.offset, view.reason),
        (State::Stopped, Some(120), partition.is_over().map(str::to_owned))
    );
    // The group takes it away later; status goes on saying why it stood.
    partition.apply(Event::Close(Closed::Revoked), now);
    assert_eq!(partition.is_over(), Some("topic orders was deleted"));
}

#[test]
fn a_purged_output_is_nobodys_fault_and_nobodys_completion() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    partition.apply(Event::Abandoned { fence: opened.fence }, now);
    assert_eq!((watermark(&partition), partition.is_settled()), (100, true));
    assert!(partition.refusals().is_empty());
}

#[test]
fn after_a_refusal_only_the_refused_message_comes_again() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    let behind = ten_sent(&mut partition, 110, now);
    assert!(refuse(&mut partition, opened, 100, &[104], now).wake);
    assert_eq!(watermark(&partition), 100, "the call is not complete");
    assert_eq!(next(&mut partition, now), Next::Wait, "the rest of what is in flight comes first");
    assert!(settle(&mut partition, behind, true, now).wake);
    assert_eq!(next(&mut partition, now), Next::Rewound(Rewound { to: at(100), stopped: None }));
    let again: Vec<i64> = (100..120).filter(|offset| !partition.tracker().is_done(Offset(*offset))).collect();
    assert_eq!((again, watermark(&partition)), (vec![104], 104));
    assert_eq!(partition.take_refusal(104), Some(Refusal { stage: None, reason: "MSG_SIZE_TOO_LARGE: no".to_owned() }));
    assert_eq!(partition.take_refusal(104), None);
}

#[test]
fn in_any_other_order_what_lies_between_the_messages_of_a_refused_call_is_not_complete() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = partition.open(100, 109, 3, 300);
    partition.apply(Event::Sending, now);
    let messages = Messages::Listed([100, 104, 109].into());
    let refused = vec![refusal(104, false)];
    partition.apply(Event::Refused { fence: opened.fence, messages: &messages, refused }, now);
    partition.rewind(now);
    let done: Vec<i64> = (100..110).filter(|offset| partition.tracker().is_done(Offset(*offset))).collect();
    assert_eq!(done, [100, 109]);
}

#[test]
fn a_refused_dead_letter_comes_round_with_its_stage() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    partition.apply(Event::DeadLettered { offset: 103, stage: DeadLetterStage::Whole }, now);
    refuse(&mut partition, opened, 100, &[103, 105], now);
    assert_eq!(partition.refusals().get(103).expect("noted").stage, Some(DeadLetterStage::Whole));
    assert_eq!(partition.refusals().get(105).expect("noted").stage, None);
}

#[test]
fn a_topic_that_takes_nothing_fails_no_message_and_is_tried_again_with_a_growing_pause() {
    let (mut partition, now) = (held(), Instant::now());
    let one = ten_sent(&mut partition, 100, now);
    let two = ten_sent(&mut partition, 110, now);
    let (first, second) = (Messages::Range { first: 100, last: 109 }, Messages::Range { first: 110, last: 119 });
    let refused = vec![refusal(112, true)];
    partition.apply(Event::Refused { fence: two.fence, messages: &second, refused }, now);
    let refused = vec![refusal(106, true), refusal(104, true)];
    partition.apply(Event::Refused { fence: one.fence, messages: &first, refused }, now);
    let reason = "the output topic takes nothing: MSG_SIZE_TOO_LARGE: no".to_owned();
    let stopped = Some((104, reason.clone()));
    assert_eq!(next(&mut partition, now), Next::Rewound(Rewound { to: at(100), stopped }));
    assert!(partition.refusals().is_empty());
    let view = partition.view();
    assert_eq!((view.state, view.offset, view.reason), (State::Waiting, Some(104), Some(reason.clone())));
    let second = Duration::from_secs(1);
    assert_eq!((next(&mut partition, now), partition.stands_at(None)), (Next::WaitUntil(now + second), 104));
    let mut at_last = now;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        at_last += second * pause;
        let waits = partition.output_waits();
        assert_eq!(next(&mut partition, at_last - second / 2), Next::WaitUntil(at_last));
        // Asked for again, it is refused again.
        assert!(matches!(next(&mut partition, at_last), Next::Reposition(_) | Next::Deliver), "after {waits:?}");
        partition.apply(Event::Repositioned, at_last);
        let stop = Event::Stop { offset: 104, class: StopClass::Output, reason: reason.clone() };
        partition.apply(stop, at_last);
        assert_eq!(partition.output_waits().since, Some(now), "since when is known to the first of them");
    }
    // An operator need not wait, and after a completion the first pause is short again.
    partition.apply(Event::Resumed, at_last);
    assert_eq!((next(&mut partition, at_last), partition.output_waits()), (Next::Deliver, Waits::default()));
}

#[test]
fn the_first_position_is_persisted_before_anything_is_delivered() {
    let (mut partition, now) = (Partition::new(fresh()), Instant::now());
    assert_eq!((partition.view().state, next(&mut partition, now)), (State::Starting, Next::Wait));
    assert!(partition.waits_for_commit() && !partition.is_persisted());
    let mark = partition.due(false).expect("due at once");
    assert_eq!((mark.next, mark.note.topic_id.as_deref()), (at(100), Some("id-1")));
    assert!(partition.apply(Event::Persisted(&mark), now).wake);
    assert_eq!((partition.view().state, next(&mut partition, now)), (State::Running, Next::Deliver));
    assert!(!partition.waits_for_commit() && partition.is_persisted());
    assert_eq!(partition.due(false), None);
}

#[test]
fn a_first_position_is_due_though_the_group_has_committed_the_same_number() {
    let mut partition = Partition::new(Start { opening: true, ..start() });
    assert_eq!(partition.due(false).expect("due at once").next, at(100));
}

#[test]
fn a_first_position_that_was_refused_is_due_again_also_while_the_partition_leaves() {
    let (mut partition, now) = (Partition::new(fresh()), Instant::now());
    partition.due(false).expect("due at once");
    assert_eq!(partition.apply(Event::PersistRefused, now).persist, Some(Urgency::Soon));
    partition.apply(Event::Leave, now);
    assert_eq!(partition.view().state, State::Starting);
    persist(&mut partition, now);
    assert_eq!(*partition.stage(), Stage::Leaving { opening: false, at_once: false });
    assert!(partition.is_persisted());
}

#[test]
fn nothing_is_persisted_for_a_group_that_may_not_begin() {
    let (mut partition, now) = (Partition::new(Start { committed: None, ..start() }), Instant::now());
    partition.apply(Event::NoteChanged, now);
    assert_eq!((partition.due(false), partition.due(true)), (None, None));
}

#[test]
fn due_is_the_watermark_and_in_auto_mode_the_position_unless_it_ends() {
    let now = Instant::now();
    for (mode, going_on) in [(start().mode, 110), (CommitMode::Sync, 110), (CommitMode::Auto(Duration::ZERO), 120)] {
        let mut partition = Partition::new(Start { mode, ..start() });
        let one = ten(&mut partition, 100);
        ten(&mut partition, 110);
        settle(&mut partition, one, false, now);
        persist(&mut partition, now);
        assert_eq!((partition.committed(), partition.due(false)), (Some(at(going_on)), None), "{mode:?}");
        partition.apply(Event::NoteChanged, now);
        assert_eq!(partition.due(false).map(|mark| mark.next), Some(at(going_on)), "{mode:?}");
        partition.apply(Event::PersistRefused, now);
        assert_eq!(partition.due(true).map(|mark| mark.next), Some(at(110)), "{mode:?}");
    }
}

#[test]
fn a_note_names_what_is_complete_and_the_attempts_that_count() {
    let (mut partition, now) = (held(), Instant::now());
    let one = ten(&mut partition, 100);
    let two = ten(&mut partition, 110);
    settle(&mut partition, two, false, now);
    partition.apply(retry(100, 3, now), now);
    let mark = partition.due(false).expect("the note changed");
    assert_eq!(mark.note.retry, Some(RetryNote { offset: 100, attempts: 2, first_failure_ms: 5 }));
    assert!(mark.note.done.contains(Offset(110)) && !mark.note.done.contains(Offset(109)));
    settle(&mut partition, one, false, now);
    assert_eq!(partition.due(false).expect("moved").note.retry, None, "of a message below nothing is noted");
}

#[test]
fn a_note_of_a_topic_that_was_made_again_is_not_believed() {
    let mut note = CommitNote { topic_id: Some("id-0".to_owned()), ..CommitNote::default() };
    note.done.insert(Offset(105), Offset(107));
    note.retry = Some(RetryNote { offset: 100, attempts: 2, first_failure_ms: 0 });
    let partition = Partition::new(Start { note: note.clone(), ..start() });
    assert_eq!((partition.tracker().is_done(Offset(106)), partition.retry()), (false, None));
    note.topic_id = Some("id-1".to_owned());
    let mut partition = Partition::new(Start { note, ..start() });
    assert!(partition.tracker().is_done(Offset(106)));
    assert_eq!(ten(&mut partition, 100).attempt, 3, "attempts go on counting");
}

#[test]
fn a_commit_that_was_on_its_way_when_a_partition_was_moved_does_not_let_it_go_on() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten(&mut partition, 100);
    settle(&mut partition, opened, false, now);
    let old = partition.due(false).expect("what is complete is due");
    partition.seek(at(50), now).expect("nothing moves it");
    let sought = Sought { from: 110, to: 50, dropped: 0, needs_new_client: false };
    assert_eq!(next(&mut partition, now), Next::Moved(sought));
    let effects = partition.apply(Event::Persisted(&old), now);
    assert_eq!((effects.moved, effects.persist), (None, Some(Urgency::Now)), "50 is persisted by nobody yet");
    assert!(!partition.is_persisted());
    let due = partition.due(false).expect("the new position is due, although it is the lower one");
    assert_eq!(due.next, at(50));
    assert_eq!(partition.apply(Event::Persisted(&due), now).moved, Some(sought));
    assert_eq!(*partition.stage(), Stage::Held);
    assert_eq!(partition.due(true), None);
}

#[test]
fn what_was_known_of_messages_before_a_move_counts_for_nothing_after_it() {
    let (mut partition, now) = (held(), Instant::now());
    let one = ten_sent(&mut partition, 100, now);
    let two = ten_sent(&mut partition, 110, now);
    partition.apply(retry(120, 4, now), now);
    refuse(&mut partition, one, 100, &[104], now);
    partition.seek(at(50), now).expect("nothing moves it");
    assert!(matches!(next(&mut partition, now), Next::Moved(Sought { to: 50, dropped: 20, .. })), "it waits no longer");
    assert!(refuse(&mut partition, two, 110, &[114], now).stale);
    assert!(partition.refusals().is_empty() && partition.retry().is_none(), "a late refusal counted");
    assert_eq!((partition.tickets(), watermark(&partition)), (0, 50));
    assert!(!partition.tracker().is_done(Offset(100)));
}

#[test]
fn a_message_read_again_is_left_out_once_it_is_complete_in_hand_or_not() {
    let mut partition = held();
    partition.pass_unread(103);
    assert!(partition.goes_apart(103) && !partition.goes_apart(104));
    assert!(partition.is_mixed(100, 109));
    assert!(!partition.passes(102) && partition.passes(103));
    partition.pass_unread(100);
    assert_eq!(watermark(&partition), 101);
}

#[test]
fn of_an_idle_source_only_what_cannot_hide_a_message_is_believed() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    assert_eq!(partition.apply(Event::Idle(at(115)), now), Effects::default(), "outputs are in flight");
    settle(&mut partition, opened, true, now);
    partition.apply(Event::Distrusted, now);
    assert_eq!(partition.apply(Event::Idle(at(115)), now), Effects::default(), "its position is not to be trusted");
    assert_eq!(next(&mut partition, now), Next::Reposition(at(110)));
    assert_eq!(partition.apply(Event::Idle(at(115)), now), Effects::default(), "it is put elsewhere");
    partition.apply(Event::Repositioned, now);
    assert_eq!(partition.apply(Event::Idle(at(115)), now).persist, Some(Urgency::Soon));
    assert_eq!((watermark(&partition), partition.due(false).map(|mark| mark.next)), (115, Some(at(115))));
}

#[test]
fn of_a_closed_partition_nothing_changes_whatever_is_said() {
    let (mut partition, now) = (held(), Instant::now());
    let opened = ten(&mut partition, 100);
    partition.apply(Event::LeaveAtOnce, now);
    assert!(partition.is_abandoned() && partition.is_leaving());
    partition.apply(Event::Close(Closed::Lost), now);
    let note = CommitNote::default();
    let late = [
        Event::Settled { fence: opened.fence, run: opened.run, ticket: false },
        Event::Idle(at(500)),
        Event::Restored,
        Event::OutcomeUnknown,
        Event::Reread { next: at(400), note: &note },
        Event::Paused(true),
        stop(104),
        retry(104, 2, now),
        Event::Resumed,
        Event::Leave,
        Event::Close(Closed::Revoked),
    ];
    for event in late {
        partition.apply(event, now);
        assert_eq!((partition.stage(), watermark(&partition)), (&Stage::Closed(Closed::Lost), 100));
        assert!(partition.holds().is_empty() && partition.due(true).is_none());
        assert_eq!((next(&mut partition, now), partition.view().state), (Next::Wait, State::Closed));
    }
    partition.rewind(now);
    assert_eq!(partition.fence(), opened.fence);
    assert_eq!(partition.seek(at(0), now), Err(SeekRefused::Over("it is being taken away".to_owned())));
}
