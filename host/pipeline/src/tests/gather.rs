//! What goes into the next call: what an earlier call left, then what was taken, then what the source gives.

use wasmill_config::CanaryBy;
use wasmill_core::{CommitNote, DoneSet, Offset, Place, RetryNote, Share};

use super::rig::Rig;
use crate::versions::{Gets, Split};

#[test]
fn a_call_takes_what_is_there_up_to_so_many_messages() {
    let mut rig = Rig::new("batch.messages = 2").read(["ack"; 5]);
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "7 8", "9"]);
}

#[test]
fn a_call_takes_what_is_there_up_to_so_many_bytes() {
    let long = "x".repeat(600);
    let mut rig = Rig::new("batch.bytes = \"1KiB\"").read([&long, &long, "ack", "ack"]);
    rig.run();
    assert_eq!(rig.calls(), ["5", "6 7 8"], "the second would pass the bound, and the small ones fit behind it");
}

#[test]
fn one_message_above_the_bound_is_a_call_of_its_own() {
    let mut rig = Rig::new("batch.bytes = \"1KiB\"").read(["x".repeat(5000), "ack".to_owned()]);
    rig.run();
    assert_eq!(rig.calls(), ["5", "6"]);
}

#[test]
fn what_a_call_left_goes_before_what_was_taken_and_that_before_what_the_source_gives() {
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["retry<2", "ack", "ack", "ack"]);
    let note = CommitNote { done: done(6, 6), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, wasmill_core::partition::Start { note, ..start });
    let again = rig.run().expect("5 waits for its next attempt");
    assert_eq!(rig.calls(), ["5"], "6 is complete, so 5 went without what is behind it");
    rig.log(0).write(9, ["ack"]);
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.calls(), ["5", "5#2", "7 8", "9"]);
}

#[test]
fn messages_that_the_note_has_as_complete_are_left_out_and_committed_with_the_rest() {
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["echo"; 5]);
    let note = CommitNote { done: done(6, 7), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, wasmill_core::partition::Start { note, ..start });
    rig.run();
    assert_eq!(rig.calls(), ["5", "8 9"]);
    rig.producer.confirm();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@10"]);
}

#[test]
fn where_all_that_was_taken_is_complete_that_is_committed() {
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["echo"; 2]);
    let note = CommitNote { done: done(5, 6), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, wasmill_core::partition::Start { note, ..start });
    rig.run();
    rig.commit();
    assert_eq!((rig.calls(), rig.coordinator.asked()), (vec![], vec!["0@7".to_owned()]));
}

#[test]
fn a_message_whose_attempts_travelled_in_the_note_leads_its_call_and_goes_on_counting() {
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["ack", "retry", "ack"]);
    let retry = RetryNote { offset: 6, attempts: 2, first_failure_ms: 77 };
    let note = CommitNote { retry: Some(retry), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, wasmill_core::partition::Start { note, ..start });
    rig.run();
    assert_eq!(rig.calls(), ["5", "6#3 7", "7"], "the third attempt of three was the last");
    let dead = rig.producer.get(0);
    assert_eq!((dead.header("wasmill.attempts"), dead.header("wasmill.first-failure")), ("3", "77"));
}

#[test]
fn markers_are_passed_in_the_same_turn() {
    let mut rig = Rig::new("");
    let log = rig.log(0);
    log.mark(5);
    log.mark(6);
    log.write(7, ["ack"]);
    rig.assign(0, 5);
    assert_eq!(rig.round(), None, "worked");
    assert_eq!(rig.calls(), ["7"]);
}

#[test]
fn a_gap_too_wide_for_the_tokens_of_a_ticket_divides_a_call() {
    let far = 5 + i64::from(u32::MAX);
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["echo", "echo"]);
    rig.log(0).write(far, ["echo"]);
    rig.assign(0, 5);
    rig.run();
    assert_eq!(rig.calls(), ["5 6".to_owned(), far.to_string()]);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), far + 1);
}

#[test]
fn a_call_ends_where_the_other_version_gets_the_next_message() {
    let mut rig = Rig::new("").read(["ack"; 40]);
    let share = Share::millionths(500_000);
    let new = rig.version(&rig.handler("v2"));
    rig.try_out(new, Gets::Share(Split { by: CanaryBy::Key, share }));
    rig.run();
    let is_new = |offset: i64| Place::of_message(Some(format!("k{offset}").as_bytes()), offset).is_in(share);
    let mut expected: Vec<String> = Vec::new();
    for offset in 5..45 {
        match expected.last_mut() {
            Some(call) if offset > 5 && is_new(offset) == is_new(offset - 1) => *call += &format!(" {offset}"),
            _ if is_new(offset) => expected.push(format!("v2 {offset}")),
            _ => expected.push(offset.to_string()),
        }
    }
    assert!(expected.len() > 10, "both get some: {expected:?}");
    assert_eq!(rig.calls(), expected);
    assert_eq!(rig.watermark(), 45);
}

#[test]
fn partitions_take_turns() {
    let mut rig = Rig::new("batch.messages = 1").read(["ack"; 3]);
    rig.log(1).write(0, ["ack"; 2]);
    rig.assign(1, 0);
    rig.run();
    assert_eq!(rig.calls(), ["5", "p1 0", "6", "p1 1", "7"]);
}

fn done(first: i64, last: i64) -> DoneSet {
    let mut done = DoneSet::new();
    done.insert(Offset(first), Offset(last));
    done
}
