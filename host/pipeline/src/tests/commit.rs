//! What is committed, when, and what becomes of it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wasmill_core::partition::{Closed, Event as Happened, Start, State};
use wasmill_core::slice::When;
use wasmill_core::{CommitNote, DoneSet, NextOffset, Offset};
use wasmill_kafka::TopicPartition;

use super::rig::{PATIENCE, Rig, Says, again, closed, denied, orders, soon, until};
use crate::counters::PartitionCounters;
use crate::delivery::{Delivery, Outcome};
use crate::partition::Partition;

/// Two partitions with something to commit: 0 at 6, 1 at 1.
fn two() -> Rig {
    let mut rig = Rig::reading(["ack"]);
    rig.log(1).write(0, ["ack"]);
    rig.assign(1, 0);
    rig.run();
    rig
}

/// How long until the committer has something to do.
fn due_in(rig: &Rig) -> Option<Duration> {
    let now = Instant::now();
    match rig.delivery.due(now) {
        When::Now => Some(Duration::ZERO),
        When::At(at) => Some(at - now),
        When::Never => None,
    }
}

#[test]
fn one_commit_takes_everything_that_moved() {
    let mut rig = two();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@6; 1@1"]);
    assert_eq!(rig.partition(1).lock().committed(), Some(NextOffset::at(1)));
    rig.log(1).write(1, ["ack"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "1@2", "nothing moved in the other");
}

#[test]
fn nothing_is_committed_that_did_not_change() {
    let mut rig = two();
    rig.commit();
    rig.commit();
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked().len(), 1);
}

#[test]
fn the_note_says_what_is_complete_above_what_is_retried_and_of_which_topic() {
    let mut rig = Rig::new("batch.messages = 1");
    rig.log(0).write(5, ["echo", "ack", "ack", "retry"]);
    let start = rig.start(5);
    rig.assign_with(0, Start { topic_id: Some("id-1".to_owned()), ..start });
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@5 retry 8#1 done 6-7 topic id-1"]);
    rig.producer.confirm();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@8 retry 8#1 topic id-1");
}

#[test]
fn a_note_of_another_topic_with_that_name_counts_as_none() {
    let mut done = DoneSet::new();
    done.insert(Offset(6), Offset(6));
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["ack"; 3]);
    let note = CommitNote { done, topic_id: Some("old".to_owned()), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, Start { note, topic_id: Some("new".to_owned()), ..start });
    rig.run();
    assert_eq!(rig.calls(), ["5 6 7"]);
}

#[test]
fn a_refused_partition_is_committed_again_with_the_newest_watermark_and_the_others_are_not() {
    let mut rig = two();
    rig.coordinator.says(Says::Refuses(0, denied()));
    rig.commit();
    rig.log(0).write(6, ["ack"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@6; 1@1"], "it rests for a moment");
    let (failure, failures) = rig.delivery.last_failure();
    assert_eq!((failure.as_deref(), failures), (Some("orders/0: not authorised (DENIED)"), 1));
    rig.wait(Duration::from_secs(1));
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@7");
    assert_eq!(rig.delivery.last_failure(), (None, 1));
}

#[test]
fn a_commit_that_failed_for_now_rests_a_little_and_one_of_a_generation_that_is_over_longer() {
    for (error, rest) in [(again(), 50), (denied(), 50), (closed(), 200)] {
        let mut rig = Rig::reading(["ack"]);
        rig.run();
        rig.coordinator.says(Says::Fails(error));
        rig.commit();
        let due = due_in(&rig).expect("it is committed again").as_millis() as u64;
        assert!(due <= rest && due > rest / 4, "{due} of {rest} ms");
        rig.wait(Duration::from_millis(rest));
        rig.commit();
        assert_eq!(rig.coordinator.asked(), ["0@6", "0@6"]);
        assert_eq!(rig.partition(0).lock().committed(), Some(NextOffset::at(6)));
    }
}

#[test]
fn a_note_that_was_refused_is_committed_again_though_no_offset_moved() {
    let mut rig = Rig::reading(["retry"]);
    rig.run();
    rig.coordinator.says(Says::Fails(again()));
    rig.commit();
    rig.wait(Duration::from_secs(1));
    rig.commit();
    rig.wait(Duration::from_secs(1));
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@5 retry 5#1"; 2]);
}

#[test]
fn a_partition_that_comes_back_is_not_committed_for_its_former_holding() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    // The member has it again, and the slice has not been told yet.
    let start = Start { committed: None, opening: true, ..rig.start(5) };
    let counters = PartitionCounters::register("test", &orders(0));
    let dirty = rig.delivery.holdings.dirty.clone();
    let again = Arc::new(Partition::new(orders(0), 0, 0, start, dirty, counters));
    rig.delivery.holdings.live().insert(orders(0), again);
    rig.commit();
    assert_eq!(rig.coordinator.asked(), [""; 0]);
}

#[test]
fn without_a_client_a_commit_fails_and_is_made_later() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    rig.delivery.commit_with(None);
    rig.commit();
    assert_eq!(rig.delivery.last_failure().0.as_deref(), Some("there is no client (_STATE)"));
    rig.delivery.commit_with(Some(rig.coordinator.clone()));
    rig.wait(Duration::from_secs(1));
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@6"]);
}

#[test]
fn commits_keep_their_distance() {
    let mut rig = Rig::new("commit.min_interval = \"10s\"").read(["ack"]);
    rig.run();
    rig.commit();
    rig.log(0).write(6, ["ack"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@6"]);
    rig.wait(Duration::from_secs(10));
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@6", "0@7"]);
}

#[test]
fn a_first_position_does_not_wait_for_its_turn_and_nothing_is_delivered_before_it_is_persisted() {
    let mut rig = Rig::new("commit.interval = \"1h\"");
    rig.log(0).write(5, ["ack"]);
    let start = rig.start(5);
    rig.assign_with(0, Start { committed: None, opening: true, ..start });
    rig.delivery.holdings.dirty.mark_urgent();
    rig.run();
    assert_eq!((rig.calls(), rig.state()), (vec![], "starting".to_owned()));
    rig.coordinator.says(Says::Fails(again()));
    rig.commit();
    rig.run();
    assert_eq!(rig.calls(), [""; 0]);
    rig.wait(Duration::from_secs(1));
    rig.wakes();
    rig.commit();
    assert_eq!((rig.coordinator.asked(), rig.wakes()), (vec!["0@5".to_owned(), "0@5".to_owned()], 1));
    rig.run();
    assert_eq!((rig.calls(), rig.state()), (vec!["5".to_owned()], "running".to_owned()));
}

#[test]
fn for_a_group_that_may_not_begin_nothing_is_ever_committed() {
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["ack"]);
    let start = rig.start(5);
    rig.assign_with(0, Start { committed: None, ..start });
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), [""; 0], "the next owner would not see that there was no offset");
}

#[test]
fn in_sync_mode_nothing_is_delivered_before_the_last_commit_is_confirmed() {
    let mut rig = Rig::new("commit.sync = true\nbatch.messages = 1").read(["echo", "ack"]);
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
    rig.producer.confirm();
    rig.run();
    assert_eq!(rig.calls(), ["5"], "confirmed, not committed");
    rig.coordinator.says(Says::Fails(again()));
    rig.commit();
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
    rig.wait(Duration::from_secs(1));
    rig.commit();
    rig.run();
    assert_eq!(rig.calls(), ["5", "6"]);
}

#[test]
fn in_interval_mode_a_commit_waits_for_its_time() {
    let mut rig = Rig::new("commit.interval = \"10s\"").read(["ack"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), [""; 0]);
    rig.wait(Duration::from_secs(11));
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@6"]);
}

#[test]
fn auto_mode_commits_what_was_delivered_and_takes_it_back_when_the_partition_leaves() {
    let mut rig = Rig::new("commit.mode = \"auto\"\ncommit.interval = \"1s\"").read(["echo", "echo"]);
    rig.run();
    rig.wait(Duration::from_secs(2));
    rig.commit();
    assert_eq!((rig.coordinator.last(), rig.watermark()), ("0@7".to_owned(), 5));
    assert_eq!(leave(&mut rig, false), Outcome::Persisted);
    assert_eq!(rig.coordinator.last(), "0@5", "only a crash can lose");
}

#[test]
fn behind_the_last_message_the_position_of_an_idle_source_is_committed() {
    let mut rig = Rig::reading(["ack"]);
    rig.log(0).mark(6);
    rig.log(0).mark(7);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@8");
}

#[test]
fn an_idle_source_says_nothing_while_something_is_in_flight() {
    let mut rig = Rig::reading(["echo"]);
    rig.log(0).mark(6);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), [""; 0]);
    rig.producer.confirm();
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@7");
}

/// No commit but the last one.
const NO_OTHER: &str = "commit.interval = \"1h\"";

/// Partition 0 leaves with what it has; the committer runs beside.
fn leave(rig: &mut Rig, lost: bool) -> Outcome {
    let gone = [rig.partition(0)];
    rig.release(0);
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.run());
    let outcome = rig.delivery.end(&gone, lost);
    rig.delivery.stop();
    committer.join().expect("it ends");
    gone[0].close(if lost { Closed::Lost } else { Closed::Revoked });
    outcome
}

#[test]
fn a_partition_that_leaves_is_committed_for_the_last_time_and_never_again() {
    let mut rig = Rig::new(NO_OTHER).read(["echo", "echo"]);
    let partition = rig.partition(0);
    rig.run();
    rig.producer.confirm();
    partition.apply(Happened::Leave);
    assert_eq!(leave(&mut rig, false), Outcome::Persisted);
    assert_eq!(rig.coordinator.asked(), ["0@7"]);
    rig.delivery.start();
    partition.persist(wasmill_core::partition::Urgency::Now);
    rig.commit();
    assert_eq!((rig.coordinator.asked().len(), rig.handle.partitions()), (1, vec![]));
    assert_eq!(partition.due(true), None);
    assert_eq!(partition.lock().view().state, State::Closed);
}

#[test]
fn a_last_commit_that_is_refused_is_an_ordinary_end() {
    let mut rig = Rig::new(NO_OTHER).read(["ack"]);
    rig.run();
    rig.coordinator.says(Says::Fails(closed()));
    let text = "the generation is over for the group (FENCED)";
    assert_eq!(leave(&mut rig, false), Outcome::Restored(text.to_owned()));
    assert_eq!((rig.coordinator.asked().len(), rig.handle.partitions()), (1, vec![]));
}

#[test]
fn a_partition_with_nothing_to_commit_leaves_without_a_commit() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    assert_eq!(leave(&mut rig, false), Outcome::Persisted);
    assert_eq!(rig.coordinator.asked(), [""; 0]);
}

#[test]
fn the_attempts_of_a_message_under_retry_travel_with_the_last_commit() {
    let mut rig = Rig::new(NO_OTHER).read(["ack", "retry"]);
    rig.run();
    assert_eq!(leave(&mut rig, false), Outcome::Persisted);
    assert_eq!(rig.coordinator.asked(), ["0@6 retry 6#1"]);
}

#[test]
fn of_a_lost_partition_nothing_is_committed() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    rig.partition(0).close(Closed::Lost);
    assert_eq!(leave(&mut rig, true), Outcome::Restored("lost".to_owned()));
    rig.commit();
    assert_eq!((rig.coordinator.asked(), rig.handle.partitions()), (vec![], vec![]));
}

#[test]
fn a_report_that_comes_after_the_end_counts_for_nothing() {
    let mut rig = Rig::reading(["echo"]);
    let partition = rig.partition(0);
    rig.run();
    leave(&mut rig, false);
    rig.producer.confirm();
    assert_eq!(partition.lock().tracker().watermark().get(), 5);
    assert_eq!(partition.due(true), None);
}

#[test]
fn a_partition_that_comes_back_hears_nothing_of_its_former_self() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    leave(&mut rig, false);
    rig.delivery.start();
    rig.assign(0, 5);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 5);
    rig.run();
    assert_eq!(rig.calls(), ["5", "5"]);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 6);
}

#[test]
fn a_drain_flushes_until_everything_is_answered_for() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.run();
    rig.producer.confirms_at_flush(true);
    let gone = [rig.partition(0)];
    assert!(rig.delivery.drain(&gone, Instant::now() + PATIENCE));
    assert_eq!((rig.producer.flushes(), rig.watermark()), (1, 7));
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    assert!(!rig.delivery.drain(&[rig.partition(0)], Instant::now()));
    assert_eq!(rig.producer.flushes(), 0);
}

#[test]
fn a_drain_does_not_wait_for_what_cannot_count_any_more() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    rig.partition(0).close(Closed::Orphaned("gone".to_owned()));
    assert!(rig.delivery.drain(&[rig.partition(0)], Instant::now()));
}

#[test]
fn a_commit_under_way_is_answered_before_partitions_leave() {
    let mut rig = two();
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.run());
    soon(&comes);
    rig.log(0).write(6, ["ack"]);
    rig.run();
    let gone = [rig.partition(0)];
    let delivery = rig.delivery.clone();
    let leaves = thread::spawn(move || delivery.end(&gone, false));
    go.send(()).expect("it waits");
    assert_eq!(leaves.join().expect("it ends"), Outcome::Persisted);
    rig.delivery.stop();
    committer.join().expect("it ends");
    assert_eq!(rig.coordinator.asked()[0], "0@6; 1@1");
    assert_eq!(rig.coordinator.last(), "0@7");
    let held: Vec<TopicPartition> = rig.handle.partitions();
    assert_eq!(held, [orders(1)]);
}

#[test]
fn a_lost_partition_is_not_in_the_commit_that_was_due() {
    let rig = two();
    rig.delivery.end(&[rig.partition(0)], true);
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["1@1"]);
}

/// Partitions that leave, and what became of them; a commit is under way, so that the last one waits.
fn leaves_behind_another(rig: &Rig, number: i32) -> thread::JoinHandle<Outcome> {
    let gone = [rig.partition(number)];
    let delivery = rig.delivery.clone();
    let leaves = thread::spawn(move || delivery.end(&gone, false));
    // With one under way nothing else is due.
    until(|| due_in(rig).is_some());
    leaves
}

#[test]
fn a_last_commit_may_take_as_long_as_two_commits_that_are_not_answered_and_what_each_of_them_waits_for() {
    let mut rig = two();
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.run());
    soon(&comes);
    rig.log(0).write(6, ["ack"]);
    rig.run();
    let leaves = leaves_behind_another(&rig, 0);
    let due = due_in(&rig).expect("its time is limited").as_secs();
    assert!((40..=42).contains(&due), "{due} s");
    go.send(()).expect("it waits");
    assert_eq!(leaves.join().expect("it ends"), Outcome::Persisted);
    rig.delivery.stop();
    committer.join().expect("it ends");
}

#[test]
fn a_note_that_is_refused_while_its_partition_leaves_is_in_the_last_commit() {
    let mut rig = Rig::reading(["retry"]);
    rig.run();
    rig.coordinator.says(Says::Fails(again()));
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.run());
    soon(&comes);
    let leaves = leaves_behind_another(&rig, 0);
    go.send(()).expect("it waits");
    assert_eq!(leaves.join().expect("it ends"), Outcome::Persisted);
    rig.delivery.stop();
    committer.join().expect("it ends");
    assert_eq!(rig.coordinator.asked(), ["0@5 retry 5#1"; 2]);
}

#[test]
fn what_became_of_an_earlier_revoke_is_no_answer_to_the_next_one() {
    let mut rig = two();
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.run());
    soon(&comes);
    rig.log(0).write(6, ["ack"]);
    rig.coordinator.says(Says::Fails(again()));
    rig.coordinator.says(Says::Fails(denied()));
    let leaves = leaves_behind_another(&rig, 0);
    rig.delivery.have_left(vec![orders(1)], true);
    go.send(()).expect("it waits");
    let text = "not authorised (DENIED)";
    assert_eq!(leaves.join().expect("it ends"), Outcome::Restored(text.to_owned()), "its own last commit was refused");
    rig.delivery.stop();
    committer.join().expect("it ends");
}

#[test]
fn a_committer_that_sleeps_is_woken_for_the_last_commit() {
    let mut rig = Rig::new(NO_OTHER).read(["ack"]);
    rig.run();
    let delivery = rig.delivery.clone();
    // Longer than a last commit is waited for.
    let committer = thread::spawn(move || delivery.turn(Duration::from_secs(3600), true));
    let gone = [rig.partition(0)];
    assert_eq!(rig.delivery.end(&gone, false), Outcome::Persisted);
    rig.delivery.stop();
    committer.join().expect("it ends");
    assert_eq!(rig.coordinator.asked(), ["0@6"]);
}

#[test]
fn what_is_lost_while_a_commit_waits_for_an_earlier_one_is_left_out_of_it() {
    let mut rig = two();
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.turn(Duration::ZERO, false));
    soon(&comes);
    let lost = rig.partition(0);
    lost.close(Closed::Lost);
    assert_eq!(rig.delivery.end(&[lost], true), Outcome::Restored("lost".to_owned()));
    // The member has joined again and has it back: the group would take a commit of the former holding.
    rig.assign(0, 5);
    go.send(()).expect("it waits");
    committer.join().expect("it ends");
    assert_eq!(rig.coordinator.asked(), ["1@1"]);
}

#[test]
fn a_partition_that_comes_back_hears_nothing_of_a_commit_of_its_former_holding() {
    let mut rig = two();
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let committer = thread::spawn(move || delivery.turn(Duration::ZERO, false));
    soon(&comes);
    rig.delivery.end(&[rig.partition(0)], true);
    let again = rig.assign(0, 5);
    go.send(()).expect("it waits");
    committer.join().expect("it ends");
    assert_eq!((rig.coordinator.last(), again.lock().committed()), ("0@6; 1@1".to_owned(), Some(NextOffset::at(5))));
}

#[test]
fn what_is_lost_is_not_waited_for_by_the_committer_either() {
    let mut rig = Rig::new("commit.mode = \"auto\"\ncommit.interval = \"1s\"").read(["ack"]);
    rig.run();
    assert!(due_in(&rig).is_some());
    rig.delivery.end(&[rig.partition(0)], true);
    assert_eq!(due_in(&rig), None);
}

#[test]
fn a_revoke_of_nothing_is_a_good_end() {
    let rig = Rig::new("");
    assert_eq!(rig.delivery.end(&[], false), Outcome::Persisted);
}

#[test]
fn a_member_that_joins_again_has_nothing_to_commit_of_what_it_held_and_commits_again() {
    let mut rig = Rig::new(NO_OTHER).read(["ack"]);
    rig.run();
    rig.commit();
    assert!(due_in(&rig).is_some());
    rig.delivery.stop();
    rig.delivery.start();
    assert_eq!((due_in(&rig), rig.delivery.holdings.dirty.is_stopped()), (None, false));
}

#[test]
fn the_rest_after_a_refused_commit_begins_with_its_answer() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    rig.coordinator.says(Says::Fails(again()));
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let began = Instant::now();
    let committer = thread::spawn(move || delivery.turn(Duration::ZERO, false));
    soon(&comes);
    // The coordinator takes longer than the rest lasts.
    until(|| began.elapsed() > Duration::from_millis(100));
    let answered = began.elapsed();
    go.send(()).expect("it waits");
    committer.join().expect("it ends");
    let When::At(again) = rig.delivery.due(began) else { panic!("it is committed again") };
    assert!(again - began >= answered + Duration::from_millis(50));
}
