//! Versions of a group that swaps: who gets the next message, and what the notes say of it.

use super::*;
use crate::metadata::VersionNote;
use crate::succession::Admit;

fn version(epoch: u64, first: i64) -> Option<VersionNote> {
    Some(VersionNote { epoch, first })
}

/// Of a process that runs version `running`; the note names `noted`.
fn grouped(running: u64, noted: Option<VersionNote>) -> Partition {
    let note = CommitNote { version: noted, ..CommitNote::default() };
    Partition::new(Start { running: Some(running), note, ..start() })
}

fn ask(running: u64) -> Ask {
    Ask { running, ..Ask::default() }
}

#[test]
fn a_version_gets_its_first_message_after_its_note_is_persisted_and_an_earlier_commit_does_not_count() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    assert_eq!(partition.next(&ask(0), now), Next::Deliver);
    let opened = ten(&mut partition, 100);
    settle(&mut partition, opened, false, now);
    let on_its_way = partition.due(false).expect("the watermark");
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    // It was sent before the swap: who takes over after a crash would find nothing of the new version in it.
    partition.apply(Event::Persisted(&on_its_way), now);
    assert_eq!(partition.next(&ask(7), now), Next::Wait);
    assert!(partition.waits_for_commit());
    let due = partition.due(false).expect("the note, though the watermark stands");
    assert_eq!((due.next, due.note.version), (at(110), version(7, 110)));
    partition.apply(Event::Persisted(&due), now);
    assert_eq!((partition.next(&ask(7), now), partition.waits_for_commit()), (Next::Deliver, false));
    assert_eq!(partition.succession().expect("a control topic").serving(), version(7, 110));
}

#[test]
fn a_note_that_was_refused_is_due_again() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    partition.due(false).expect("the note");
    assert_eq!(partition.due(false), None);
    partition.apply(Event::PersistRefused, now);
    assert_eq!(partition.due(false).expect("again").note.version, version(7, 100));
}

#[test]
fn every_later_commit_names_the_version_too() {
    let (mut partition, now) = (grouped(7, version(7, 90)), Instant::now());
    assert_eq!(partition.next(&ask(7), now), Next::Deliver);
    let opened = ten(&mut partition, 100);
    settle(&mut partition, opened, false, now);
    for closing in [false, true] {
        assert_eq!(partition.due(closing).expect("the watermark").note.version, version(7, 90));
    }
}

#[test]
fn a_new_version_waits_until_everything_of_the_one_before_is_confirmed() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    assert_eq!(partition.next(&ask(7), now), Next::Wait);
    assert_eq!(partition.succession().expect("a control topic").note(), None, "the boundary is not known yet");
    assert!(settle(&mut partition, opened, true, now).wake);
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    assert_eq!(partition.due(false).expect("the note").note.version, version(7, 110));
}

#[test]
fn what_a_call_left_goes_to_the_new_version_and_is_not_waited_for() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    ten(&mut partition, 100);
    let ask = Ask { leftover: Some((100, 10)), ..ask(7) };
    assert_eq!(partition.next(&ask, now), Next::PersistNote);
    assert_eq!(partition.due(false).expect("the note").note.version, version(7, 100));
}

#[test]
fn a_new_version_keeps_nobody_from_going_back_to_a_refused_message() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    refuse(&mut partition, opened, 100, &[104], now);
    assert!(matches!(partition.next(&ask(7), now), Next::Rewound(_)));
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    assert_eq!(partition.due(false).expect("the note").note.version, version(7, 104), "neighbours are complete");
}

#[test]
fn a_new_version_keeps_nobody_from_moving_the_partition() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    let opened = ten_sent(&mut partition, 100, now);
    partition.seek(at(50), now + Duration::from_secs(1)).expect("nothing moves it");
    refuse(&mut partition, opened, 100, &[104], now);
    assert!(matches!(partition.next(&ask(7), now), Next::Moved(_)));
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    let mark = partition.due(false).expect("position and note");
    assert_eq!((mark.next, mark.note.version), (at(50), version(7, 50)));
}

#[test]
fn a_partition_that_a_later_version_had_is_not_delivered_to_an_earlier_one() {
    let (mut partition, now) = (grouped(7, version(9, 80)), Instant::now());
    assert_eq!(partition.next(&ask(7), now), Next::Wait);
    let view = partition.view();
    assert_eq!(view.state, State::Behind);
    assert_eq!(
        view.reason.as_deref(),
        Some("version 9 of the group has had messages of it and does not serve here yet")
    );
    // Its commits still name the later one.
    partition.apply(Event::NoteChanged, now);
    assert_eq!(partition.due(true).expect("a commit").note.version, version(9, 80));
    // The process has caught up: nothing is left to persist, and the boundary is the one that the first owner noted.
    assert_eq!((partition.next(&ask(9), now), partition.view().state), (Next::Deliver, State::Running));
    assert_eq!(partition.succession().expect("a control topic").serving(), version(9, 80));
}

#[test]
fn a_note_of_another_control_topic_or_another_topic_holds_nobody_up() {
    let (mut partition, now) = (grouped(7, version(9, 80)), Instant::now());
    assert_eq!(partition.next(&ask(7), now), Next::Wait);
    assert!(partition.apply(Event::Disowned(9), now).wake);
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    let note = CommitNote { topic_id: Some("id-0".to_owned()), version: version(9, 80), ..CommitNote::default() };
    let mut made_again = Partition::new(Start { running: Some(0), note: note.clone(), ..start() });
    assert_eq!(made_again.next(&ask(0), now), Next::Deliver);
    let note = CommitNote { topic_id: None, ..note };
    let mut without = Partition::new(Start { note, ..start() });
    without.apply(Event::NoteChanged, now);
    assert_eq!(without.due(false).expect("a commit").note.version, None);
}

#[test]
fn a_first_position_is_persisted_with_the_version_that_runs() {
    let now = Instant::now();
    let mut partition = Partition::new(Start { running: Some(7), ..fresh() });
    assert_eq!(partition.next(&ask(7), now), Next::Wait);
    assert_eq!(partition.due(false).expect("due at once").note.version, version(7, 100));
    partition.apply(Event::PersistRefused, now);
    persist(&mut partition, now);
    assert_eq!(partition.next(&ask(7), now), Next::Deliver);
}

#[test]
fn a_version_is_noted_also_while_the_partition_is_paused_or_stopped() {
    let (mut partition, now) = (grouped(0, None), Instant::now());
    partition.apply(Event::Paused(true), now);
    partition.apply(stop(103), now);
    assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
    assert_eq!(partition.due(false).expect("the note").note.version, version(7, 103), "where it stands");
    partition.apply(Event::Leave, now);
    assert_eq!(partition.next(&ask(9), now), Next::Wait, "not of one that leaves");
}

#[test]
fn a_version_whose_note_was_in_a_slice_that_came_to_nothing_waits_for_another_commit() {
    for is_known in [true, false] {
        let (mut partition, now) = (grouped(0, None), Instant::now());
        assert_eq!(partition.next(&ask(7), now), Next::PersistNote);
        partition.due(false).expect("the note");
        if is_known {
            partition.apply(Event::Restored, now);
        } else {
            partition.apply(Event::OutcomeUnknown, now);
            partition.apply(Event::Reread { next: at(100), note: &CommitNote::default() }, now);
        }
        assert_eq!(partition.next(&ask(7), now), Next::Wait);
        assert_eq!(partition.due(false).expect("the note again").note.version, version(7, 100));
    }
}

#[test]
fn a_version_that_is_confirmed_is_let_in_at_once() {
    let mut succession = Succession::new(version(7, 90), false, 100, 7);
    assert_eq!((succession.is_settled(7), succession.admit(7, 100, true)), (false, Admit::Now));
    assert!(succession.is_settled(7) && !succession.is_settled(9));
}

#[test]
fn a_version_is_disowned_only_while_it_is_waited_for() {
    let mut succession = Succession::new(version(9, 90), false, 100, 9);
    succession.admit(9, 100, false);
    succession.disown(9);
    assert_eq!(succession.epoch(), 9);
    assert_eq!(succession.admit(7, 100, false), Admit::Behind);
    succession.disown(8);
    assert_eq!((succession.epoch(), succession.behind()), (9, Some(9)));
    succession.disown(9);
    assert_eq!((succession.note(), succession.behind()), (None, None));
}

#[test]
fn a_disowned_note_lets_go_of_the_partition_also_where_the_group_has_agreed_on_nothing() {
    let (mut partition, now) = (grouped(0, version(9, 80)), Instant::now());
    assert_eq!(partition.next(&ask(0), now), Next::Wait);
    partition.apply(Event::Disowned(9), now);
    assert_eq!((partition.next(&ask(0), now), partition.view().state), (Next::Deliver, State::Running));
}
