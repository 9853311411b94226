//! Lanes and a committer on threads of their own: who waits for whom. Nothing here sleeps; each test waits for an event, and
//! fails if it does not come.

use std::sync::mpsc;
use std::thread;

use wasmill_core::partition::{Closed, Event as Happened, Sought, Stage, Start, State, StopClass};
use wasmill_core::{CommitNote, ErrorClass, NextOffset, VersionNote};

use super::rig::{PATIENCE, Rig, Says, closed, crash, orders, soon, until};
use crate::lane::Lane;
use crate::lanes::Lanes;
use crate::member::MemberShared;

/// A rig whose committer runs; lanes are made as partitions come. All of it ends with [`Threads::end`].
struct Threads {
    rig: Rig,
    committer: thread::JoinHandle<()>,
}

impl Threads {
    fn new(lines: &str, values: &[&str]) -> Self {
        Self::over(Rig::new(lines), values)
    }

    fn over(mut rig: Rig, values: &[&str]) -> Self {
        rig.log(0).write(5, values.iter().copied());
        rig.producer.confirms_at_flush(true);
        let delivery = rig.delivery.clone();
        Self { rig, committer: thread::spawn(move || delivery.run()) }
    }

    fn member(&self) -> &MemberShared {
        &self.rig.handle.members[0]
    }

    fn lanes(&self) -> &Lanes {
        &self.rig.handle.lanes
    }

    /// Every call of the handler is told, and goes on once the test drops what lets it go; later ones go on at once.
    fn holds_calls(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (came, comes) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        self.rig.handler.answers(move |batch, reply| {
            let _ = came.send(());
            let _ = goes.recv();
            reply.emit(batch, 0, 0, "5");
            Ok(1)
        });
        (comes, go)
    }

    fn end(self) -> Rig {
        self.rig.handle.lanes.stop();
        self.rig.delivery.stop();
        self.committer.join().expect("it ends");
        assert!(!self.rig.producer.was_waited_for_in_vain(), "a lane waits for room that nobody makes");
        self.rig
    }
}

/// Waits until the lane, whose call is held, has been told something.
fn told(lane: &Lane) {
    until(|| lane.has_mail());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

#[test]
fn partitions_that_are_revoked_finish_their_call_drain_and_are_committed() {
    let mut threads = Threads::new("commit.interval = \"1h\"", &["ack"]);
    let (comes, go) = threads.holds_calls();
    let lane = threads.rig.assign_to_thread(0, 5);
    soon(&comes);
    let member = threads.rig.handle.members[0].clone();
    let revoke = thread::spawn(move || member.part_with(&[orders(0)], false, || ()));
    told(&lane);
    let partition = threads.rig.partition(0);
    assert!(partition.lock().is_leaving(), "no further batch is begun");
    drop(go);
    revoke.join().expect("it ends");
    assert!(!threads.member().is_overdue());
    assert!(threads.lanes().lane_of(0, &orders(0)).is_none(), "the lane has given it back");
    let rig = threads.end();
    assert_eq!((rig.coordinator.asked(), rig.producer.sent()), (vec!["0@6".to_owned()], vec!["out 5".to_owned()]));
    assert_eq!(rig.handle.partitions(), []);
    assert_eq!(*partition.lock().stage(), Stage::Closed(Closed::Revoked));
}

#[test]
fn a_call_that_outlasts_the_drain_is_cancelled_and_its_message_is_left_to_the_next_owner() {
    let mut threads = Threads::new("drain_timeout = \"0s\"", &["ack"]);
    let handler = threads.rig.handler.clone();
    let (came, comes) = mpsc::channel();
    threads.rig.handler.answers(move |_, _| {
        came.send(()).expect("the test waits for it");
        until(|| handler.canceller().is_cancelled());
        came.send(()).expect("the test waits for it");
        Err(crash(ErrorClass::Cancelled))
    });
    threads.rig.assign_to_thread(0, 5);
    soon(&comes);
    threads.member().close();
    threads.member().part_with(&[orders(0)], false, || ());
    soon(&comes);
    assert!(threads.member().is_overdue(), "something is left behind");
    let rig = threads.end();
    assert_eq!((rig.coordinator.asked(), rig.calls()), (vec![], vec!["5".to_owned()]));
}

#[test]
fn of_lost_partitions_a_running_call_is_cancelled_at_once_and_nothing_counts() {
    let mut threads = Threads::new("", &["echo"]);
    let handler = threads.rig.handler.clone();
    let (came, comes) = mpsc::channel();
    threads.rig.handler.answers(move |batch, reply| {
        came.send(()).expect("the test waits for it");
        until(|| handler.canceller().is_cancelled());
        came.send(()).expect("the test waits for it");
        // It ended by itself in that moment.
        reply.emit(batch, 0, 0, "5");
        Ok(1)
    });
    threads.rig.assign_to_thread(0, 5);
    soon(&comes);
    let partition = threads.rig.partition(0);
    threads.member().part_with(&[orders(0)], true, || ());
    soon(&comes);
    assert_eq!(*partition.lock().stage(), Stage::Closed(Closed::Lost));
    let rig = threads.end();
    assert_eq!((rig.coordinator.asked(), rig.handle.partitions()), (vec![], vec![]), "though its output may be out");
}

#[test]
fn a_lane_that_waits_for_room_lets_go_at_the_deadline() {
    let mut threads = Threads::new("drain_timeout = \"0s\"", &["echo", "echo"]);
    let (came, comes) = mpsc::channel();
    threads.rig.producer.is_full_after(1, move |_| {
        let _ = came.send(());
    });
    threads.rig.assign_to_thread(0, 5);
    soon(&comes);
    threads.member().part_with(&[orders(0)], false, || ());
    let rig = threads.end();
    assert_eq!((rig.producer.sent(), rig.coordinator.asked()), (vec!["out 5".to_owned()], vec![]));
}

#[test]
fn one_partition_leaves_and_its_lane_goes_on_with_the_other() {
    let mut threads = Threads::new("lanes = 1", &["ack"]);
    threads.rig.log(1).write(0, ["ack"]);
    let (comes, go) = threads.holds_calls();
    let lane = threads.rig.assign_to_thread(0, 5);
    threads.rig.assign_to_thread(1, 0);
    soon(&comes);
    let member = threads.rig.handle.members[0].clone();
    let revoke = thread::spawn(move || member.part_with(&[orders(0)], false, || ()));
    told(&lane);
    drop(go);
    revoke.join().expect("it ends");
    assert_eq!(threads.rig.handle.partitions(), [orders(1)]);
    assert_eq!(threads.lanes().lane_of(0, &orders(1)).map(|lane| lane.index), Some(lane.index));
    threads.end();
}

#[test]
fn an_operator_hears_of_a_move_once_it_is_persisted() {
    let mut threads = Threads::new("", &["ack"; 3]);
    threads.rig.assign_to_thread(0, 5);
    let answers =
        block_on(threads.rig.handle.seek(vec![(orders(0), NextOffset::at(6)), (orders(9), NextOffset::at(0))]));
    let asked = threads.rig.coordinator.asked();
    assert!(matches!(&answers[0], (id, Ok(Sought { to: 6, .. })) if *id == orders(0)), "{answers:?}");
    assert!(asked.contains(&"0@6".to_owned()), "{asked:?}");
    let gone = "partition orders/9 was taken away before its new position was committed";
    assert_eq!(answers[1].1, Err(gone.to_owned()));
    threads.end();
}

#[test]
fn an_operator_resumes_and_skips_through_the_lane_that_serves_the_partition() {
    let mut threads = Threads::new("on_exhausted = \"stop\"", &["reject", "reject", "ack"]);
    let (stopped, stops) = mpsc::channel();
    threads.rig.handler.answers(move |batch, reply| {
        let offset = batch.message(0).offset;
        stopped.send(offset).expect("the test waits for it");
        if offset < 7 {
            reply.fail(0, wasmill_core::FailureKind::Reject);
        }
        Ok(1)
    });
    threads.rig.assign_to_thread(0, 5);
    assert_eq!(soon(&stops), 5);
    assert_eq!(block_on(threads.rig.handle.skip(&orders(0), 5)), Ok(5));
    assert_eq!(soon(&stops), 6);
    // What an operator asks is answered behind the call that is running.
    let other = block_on(threads.rig.handle.skip(&orders(0), 5));
    let hint = "partition orders/0 does not stand at offset 5 but at 6; hint: use `--offset 6` to pass over that one";
    assert_eq!(other, Err(hint.to_owned()));
    assert_eq!(block_on(threads.rig.handle.resume(None)), Ok(vec![(orders(0), Ok(6))]));
    assert_eq!(soon(&stops), 6, "tried again");
    assert_eq!(block_on(threads.rig.handle.skip(&orders(0), 6)), Ok(6));
    assert_eq!(soon(&stops), 7);
    let not_here = "partition orders/3 is not assigned to this process";
    assert_eq!(block_on(threads.rig.handle.skip(&orders(3), 0)), Err(not_here.to_owned()));
    threads.end();
}

#[test]
fn a_stopped_partition_is_resumed_though_status_shows_that_it_is_behind_the_group() {
    let mut threads = Threads::over(Rig::of_group("on_exhausted = \"stop\""), &["ack"]);
    let note = CommitNote { version: Some(VersionNote { epoch: 4, first: 3 }), ..CommitNote::default() };
    let start = threads.rig.start(5);
    threads.rig.assign_to_thread_with(0, Start { note, ..start });
    let partition = threads.rig.partition(0);
    until(|| partition.lock().view().state == State::Behind);
    let reason = "rejected".to_owned();
    partition.apply(Happened::Stop { offset: 5, class: StopClass::Failed, reason });
    assert_eq!(partition.lock().view().state, State::Behind);
    assert_eq!(block_on(threads.rig.handle.resume(None)), Ok(vec![(orders(0), Ok(5))]));
    assert!(partition.lock().holds().stop().is_none());
    threads.end();
}

#[test]
fn an_operator_hears_why_a_partition_whose_topic_is_gone_does_not_go_on() {
    let mut threads = Threads::new("", &["ack"]);
    threads.rig.assign_to_thread(0, 5);
    threads.rig.partition(0).close(Closed::Orphaned("topic orders was deleted".to_owned()));
    let why = "partition orders/0 cannot go on: topic orders was deleted".to_owned();
    assert_eq!(block_on(threads.rig.handle.resume(None)), Ok(vec![(orders(0), Err(why))]));
    threads.end();
}

#[test]
fn a_swap_is_waited_for_until_every_lane_has_passed_on() {
    let mut threads = Threads::new("", &["ack"]);
    threads.rig.log(1).write(0, ["ack"]);
    threads.rig.assign_to_thread(0, 5);
    threads.rig.assign_to_thread(1, 0);
    let version = threads.rig.version(&threads.rig.handler("v2"));
    let deployed = threads.lanes().deploy(std::sync::Arc::new(version), None);
    assert!(deployed.handover.wait(std::time::Instant::now() + PATIENCE));
    assert_eq!(deployed.handover.pauses().len(), 2);
    threads.end();
}

#[test]
fn a_lane_that_ends_is_not_waited_for() {
    let mut threads = Threads::new("", &["ack"]);
    let (comes, go) = threads.holds_calls();
    let lane = threads.rig.assign_to_thread(0, 5);
    soon(&comes);
    let version = threads.rig.version(&threads.rig.handler("v2"));
    let deployed = threads.lanes().deploy(std::sync::Arc::new(version), None);
    let lanes = threads.rig.handle.lanes.clone();
    let stops = thread::spawn(move || lanes.stop());
    told(&lane);
    drop(go);
    stops.join().expect("it ends");
    assert_eq!(deployed.handover.waits(), [0; 0]);
    threads.end();
}

#[test]
fn an_instance_that_is_done_with_after_everybody_left_is_dropped_by_its_lane() {
    let mut threads = Threads::new("", &["ack"]);
    let (comes, go) = threads.holds_calls();
    threads.rig.assign_to_thread(0, 5);
    soon(&comes);
    let version = threads.rig.version(&threads.rig.handler("v2"));
    let deployed = threads.lanes().deploy(std::sync::Arc::new(version), None);
    assert!(!deployed.handover.wait(std::time::Instant::now()), "its call is still running");
    drop(go);
    until(|| threads.rig.handler.alive() == 0);
    assert_eq!(deployed.handover.waits(), [0; 0]);
    threads.end();
}

#[test]
fn one_partition_is_resumed_by_its_name_though_it_is_not_stopped_and_the_others_are_left_as_they_are() {
    let mut threads = Threads::new("", &["ack"]);
    threads.rig.assign_to_thread(0, 5);
    threads.rig.assign_to_thread(1, 0);
    until(|| threads.rig.watermark() == 6);
    threads.rig.handle.pause(None);
    assert_eq!(block_on(threads.rig.handle.resume(Some(&orders(0)))), Ok(vec![(orders(0), Ok(6))]));
    let state = |number| threads.rig.partition(number).lock().view().state;
    assert_eq!((state(0), state(1)), (State::Running, State::Paused));
    threads.end();
}

/// How a member ends that parts with a partition whose one message came to this, its outputs never confirmed: whether it
/// left something behind.
fn is_overdue_after(value: &str, lost: bool, before: impl FnOnce(&Threads)) -> bool {
    let waits_in_vain = if value == "echo" { "drain_timeout = \"200ms\"\n" } else { "" };
    let mut threads = Threads::new(&format!("{waits_in_vain}commit.interval = \"1h\""), &[value]);
    threads.rig.producer.confirms_at_flush(false);
    threads.rig.assign_to_thread(0, 5);
    let sent = if value == "echo" { 1 } else { 0 };
    until(|| threads.rig.calls().len() == 1 && threads.rig.partition(0).lock().tickets() == sent);
    until(|| sent == 1 || threads.rig.watermark() == 6);
    before(&threads);
    threads.member().part_with(&[orders(0)], lost, || ());
    let overdue = threads.member().is_overdue();
    threads.end();
    overdue
}

#[test]
fn a_member_that_closes_says_whether_it_left_something_behind() {
    let closes = |threads: &Threads| threads.member().close();
    assert!(!is_overdue_after("ack", false, closes), "handled and committed");
    assert!(is_overdue_after("echo", false, closes), "an output is not confirmed");
    let refused = |threads: &Threads| {
        threads.rig.coordinator.says(Says::Fails(closed()));
        threads.member().close();
    };
    assert!(is_overdue_after("ack", false, refused), "the last commit was refused");
    assert!(!is_overdue_after("echo", false, |_| ()), "it goes on, and so does the next owner");
    assert!(is_overdue_after("ack", true, closes), "lost, and not committed");
    let committed = |threads: &Threads| {
        threads.rig.delivery.holdings.dirty.mark_urgent();
        until(|| threads.rig.partition(0).lock().is_persisted());
        threads.member().close();
    };
    assert!(!is_overdue_after("ack", true, committed), "lost, and nothing was left to commit");
}

#[test]
fn a_member_that_was_asked_to_leave_does_not_wait_for_its_drain_twice() {
    let mut threads = Threads::new("drain_timeout = \"50ms\"", &["echo"]);
    threads.rig.assign_to_thread(0, 5);
    until(|| !threads.rig.producer.sent().is_empty());
    threads.member().close();
    let asked = std::time::Instant::now();
    // The group takes its time.
    until(|| asked.elapsed() > std::time::Duration::from_millis(50));
    threads.member().part_with(&[orders(0)], false, || ());
    assert_eq!(threads.rig.producer.flushes(), 0);
    assert!(threads.member().is_overdue());
    threads.end();
}

#[test]
fn the_last_commit_goes_through_the_client_that_gives_the_partitions_back() {
    let mut threads = Threads::new("commit.interval = \"1h\"", &["ack"]);
    threads.rig.assign_to_thread(0, 5);
    until(|| threads.rig.watermark() == 6);
    threads.rig.delivery.commit_with(None);
    let (delivery, client) = (threads.rig.delivery.clone(), threads.rig.coordinator.clone());
    threads.member().part_with(&[orders(0)], false, move || delivery.commit_with(Some(client)));
    assert_eq!(threads.end().coordinator.asked(), ["0@6"]);
}
