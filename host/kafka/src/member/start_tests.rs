//! Where a partition begins, for every state of the group and of the partition.

use super::*;
use crate::error::Code;

fn id(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn row(partition: i32, offset: i64, note: &str) -> Row {
    Row { id: id(partition), offset, note: note.into(), err: Code::NONE }
}

fn ends(low: i64, latest: i64) -> Ends {
    Ends {
        low: HashMap::from([(id(0), low)]),
        latest: HashMap::from([(id(0), latest)]),
        at_time: HashMap::from([(id(0), 42)]),
        ..Ends::default()
    }
}

const FRESH: Founding = Founding { count: 4, fresh: true, made_again: false };

#[test]
fn a_fresh_group_begins_where_it_was_told_and_commits_that_first() {
    for (position, offset) in
        [(Position::Earliest, 10), (Position::Latest, 90), (Position::Time(7), 42), (Position::Last(20), 70)]
    {
        let start = Start::At(position);
        let first = begin(&id(0), None, FRESH, (start, OutOfRange::Stop), &ends(10, 90));
        assert_eq!((first.offset, first.needs_first_commit, first.founding), (offset, true, 4), "{start:?}");
    }
}

#[test]
fn a_group_without_an_offset_that_was_told_to_begin_nowhere_stops_and_commits_nothing() {
    let policies = (Start::Error, OutOfRange::Stop);
    let first = begin(&id(0), None, FRESH, policies, &ends(10, 90));
    assert_eq!((first.problem, first.committed, first.needs_first_commit), (Some(QueueProblem::NoOffset), None, false));
    let first = begin(&id(0), Some(row(0, 50, "#4")), FRESH, policies, &ends(10, 90));
    assert_eq!((first.problem, first.committed, first.offset), (None, Some(50), 50));
    // A partition that came later has none yet, and nothing of it can have been lost.
    let grown = Founding { count: 4, fresh: false, made_again: false };
    let ends = Ends { low: HashMap::from([(id(4), 3)]), ..Ends::default() };
    let first = begin(&id(4), None, grown, policies, &ends);
    assert_eq!((first.problem, first.offset, first.needs_first_commit), (None, 3, true));
}

#[test]
fn a_time_younger_than_every_message_is_the_end() {
    let mut ends = ends(10, 90);
    ends.at_time.insert(id(0), -1);
    let first = begin(&id(0), None, FRESH, (Start::At(Position::Time(7)), OutOfRange::Stop), &ends);
    assert_eq!(first.offset, 90);
}

#[test]
fn a_partition_added_later_begins_at_its_first_message() {
    let rows = [row(0, 5, "v1#4"), row(1, 6, "v1#4"), row(4, -1001, ""), row(5, 9, "#4")];
    let founding = Founding::of(rows.iter(), 6);
    assert_eq!(founding, Founding { count: 4, fresh: false, made_again: false });
    assert!(founding.came_later(4));
    let ends = Ends { low: HashMap::from([(id(4), 3)]), latest: HashMap::from([(id(4), 8)]), ..Ends::default() };
    let first = begin(&id(4), None, founding, (Start::At(Position::Latest), OutOfRange::Stop), &ends);
    assert_eq!((first.offset, first.founding), (3, 4), "what was produced before it was noticed must be read");
}

#[test]
fn members_of_a_fresh_group_that_commit_one_after_the_other_all_begin_at_the_end() {
    // Another member was faster and has committed its two partitions already.
    let rows = [row(0, 100, "#4"), row(1, 100, "#4"), row(2, -1001, ""), row(3, -1001, "")];
    let founding = Founding::of(rows.iter(), 4);
    assert!(!founding.came_later(2) && !founding.came_later(3));
}

#[test]
fn the_highest_commit_of_somebody_else_stands_for_the_founding_count() {
    let rows = [row(0, 100, ""), row(2, 100, "foreign"), row(3, -1001, "")];
    let founding = Founding::of(rows.iter(), 4);
    assert!(!founding.came_later(1) && founding.came_later(3));
}

#[test]
fn goes_on_at_the_committed_offset_with_its_note() {
    let first = begin(
        &id(0),
        Some(row(0, 50, "v1;a=1#4")),
        FRESH,
        (Start::At(Position::Latest), OutOfRange::Stop),
        &ends(10, 90),
    );
    assert_eq!((first.offset, first.note.as_str(), first.founding), (50, "v1;a=1", 4));
    assert!(!first.needs_first_commit && first.problem.is_none() && first.reset.is_none());
}

#[test]
fn both_ends_are_in_range() {
    for offset in [10, 90] {
        let first = begin(
            &id(0),
            Some(row(0, offset, "")),
            FRESH,
            (Start::At(Position::Latest), OutOfRange::Stop),
            &ends(10, 90),
        );
        assert_eq!((first.offset, first.problem), (offset, None));
    }
}

#[test]
fn a_committed_offset_that_is_gone_stops_or_moves_as_told() {
    for offset in [9, 91] {
        let at = |policy| {
            let row = Some(row(0, offset, "v1#4"));
            begin(&id(0), row, FRESH, (Start::At(Position::Earliest), policy), &ends(10, 90))
        };
        let stopped = at(OutOfRange::Stop);
        assert_eq!(stopped.problem, Some(QueueProblem::OutOfRange { offset }));
        assert_eq!((stopped.offset, stopped.stand_in), (offset, Some(90)), "librdkafka must not see the offset");
        for (policy, to) in [(OutOfRange::Earliest, 10), (OutOfRange::Latest, 90)] {
            let first = at(policy);
            assert_eq!((first.offset, first.needs_first_commit, first.note.as_str()), (to, true, ""));
            assert!(first.reset.is_some_and(|text| text.contains(&offset.to_string())));
        }
    }
}

#[test]
fn an_offset_of_a_topic_that_was_made_again_is_not_believed() {
    let note = CommitNote { topic_id: Some("old".to_owned()), ..CommitNote::default() }.encode();
    let committed = row(0, 50, &note::seal(&note, Some(4), 4096));
    assert!(!is_of_former(&committed, Some("old")));
    assert!(!is_of_former(&committed, None), "a broker without ids says nothing");
    assert!(!is_of_former(&row(0, 50, "#4"), Some("new")), "nor does a note without one");
    assert!(is_of_former(&committed, Some("new")));
    let first = begin_again(&committed, FRESH, &ends(10, 90));
    assert_eq!((first.offset, first.note.as_str(), first.needs_first_commit), (10, "", true));
    assert!(first.reset.is_some_and(|text| text.contains("committed offset 50 ")));
}

#[test]
fn what_a_topic_that_was_made_again_holds_is_read_from_its_first_message() {
    let founding = Founding { made_again: true, ..FRESH };
    for start in [Start::At(Position::Latest), Start::At(Position::Time(7))] {
        let first = begin(&id(0), None, founding, (start, OutOfRange::Stop), &ends(10, 90));
        assert_eq!((first.offset, first.needs_first_commit), (10, true), "{start:?}");
    }
}

#[test]
fn an_offset_behind_an_open_transaction_is_in_range() {
    let mut ends = ends(10, 90);
    ends.high.insert(id(0), 120);
    let first = begin(&id(0), Some(row(0, 100, "")), FRESH, (Start::At(Position::Latest), OutOfRange::Earliest), &ends);
    assert_eq!((first.offset, first.reset), (100, None));
}
