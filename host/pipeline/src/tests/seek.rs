//! An operator moves a running partition.

use std::thread;

use wasmill_core::NextOffset;
use wasmill_core::partition::{Closed, Event as Happened, Sought};
use wasmill_kafka::QueueProblem;

use super::rig::{Rig, orders, soon};
use crate::shared::Event;

#[test]
fn a_seek_drains_moves_and_delivers_nothing_before_the_new_position_is_persisted() {
    let mut rig = Rig::reading(["echo"; 5]);
    rig.run();
    let mut seek = rig.seek(8);
    rig.log(0).write(10, ["ack"]);
    rig.run();
    assert_eq!((rig.log(0).seeks(), rig.calls().len()), (vec![], 1), "what is in flight is waited for");
    rig.producer.confirm();
    rig.run();
    assert_eq!((rig.log(0).seeks(), rig.calls().len()), (vec![8], 1), "moved, and nothing delivered yet");
    assert_eq!((rig.state(), seek.answer()), ("starting".to_owned(), None));
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@8");
    let sought = Sought { from: 10, to: 8, dropped: 0, needs_new_client: false };
    assert_eq!(seek.answer(), Some(Ok(sought)));
    assert_eq!(rig.calls().len(), 1);
    rig.run();
    assert_eq!(rig.calls()[1..], ["8 9 10"], "what was complete is delivered again, it was asked for");
}

#[test]
fn a_seek_leaves_out_what_lies_below_its_target() {
    let mut rig = Rig::new("batch.messages = 1").read(["ack"; 5]);
    rig.round();
    rig.seek(8);
    rig.run();
    rig.commit();
    rig.run();
    assert_eq!(rig.calls(), ["5", "8", "9"]);
}

#[test]
fn a_commit_that_was_under_way_does_not_let_a_moved_partition_go_on() {
    let mut rig = Rig::reading(["ack"; 3]);
    rig.run();
    let (comes, go) = rig.coordinator.holds_next();
    let delivery = rig.delivery.clone();
    let mut seek = rig.seek(6);
    thread::scope(|scope| {
        scope.spawn(move || delivery.turn(std::time::Duration::ZERO, false));
        soon(&comes);
        rig.run();
        assert_eq!(rig.log(0).seeks(), [6]);
        go.send(()).expect("it waits");
    });
    assert_eq!(rig.coordinator.last(), "0@8");
    rig.run();
    assert_eq!((rig.calls().len(), seek.answer()), (1, None), "8 is persisted, 6 is not");
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@6");
    assert!(seek.answer().is_some());
    rig.run();
    assert_eq!(rig.calls()[1..], ["6 7"]);
}

#[test]
fn outputs_that_are_not_answered_for_in_time_are_dropped_and_the_operator_hears_how_many() {
    let mut rig = Rig::reading(["echo"; 3]);
    rig.run();
    let mut seek = rig.seek(5);
    let deadline = rig.run().expect("it waits for the drain");
    rig.wait_until(deadline);
    rig.run();
    rig.commit();
    let sought = Sought { from: 5, to: 5, dropped: 3, needs_new_client: false };
    assert_eq!(seek.answer(), Some(Ok(sought)));
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 5, "reports of what was dropped count for nothing");
}

#[test]
fn a_stopped_partition_goes_on_where_it_is_moved() {
    let mut rig = Rig::new("on_exhausted = \"stop\"").read(["reject", "ack"]);
    rig.run();
    assert!(rig.state().starts_with("stopped 5"));
    rig.seek(6);
    rig.run();
    rig.commit();
    rig.run();
    assert_eq!((rig.calls(), rig.state()), (vec!["5 6".to_owned(), "6".to_owned()], "running".to_owned()));
}

#[test]
fn a_paused_partition_is_moved_and_stays_paused() {
    let mut rig = Rig::reading(["ack"; 3]);
    rig.handle.pause(None);
    let mut seek = rig.seek(7);
    rig.run();
    rig.commit();
    assert!(matches!(seek.answer(), Some(Ok(Sought { to: 7, .. }))));
    rig.run();
    assert_eq!((rig.calls(), rig.state()), (vec![], "paused".to_owned()));
}

#[test]
fn a_partition_that_its_client_gave_up_needs_a_new_one() {
    let mut rig = Rig::reading(["ack"]);
    rig.log(0).fails_at(6, QueueProblem::OutOfRange { offset: 6 });
    rig.run();
    let mut seek = rig.seek(9);
    rig.run();
    assert!(
        matches!(&rig.events()[..], [Event::MemberRenewed { member: 0, reason }] if reason == "partition orders/0 goes on at 9")
    );
    assert_eq!(rig.view().reason.as_deref(), None, "it begins anew");
    rig.commit();
    assert!(matches!(seek.answer(), Some(Ok(Sought { to: 9, needs_new_client: true, .. }))));
    assert_eq!(rig.state(), "waiting: a new client goes on at the new position");
    assert_eq!(rig.coordinator.last(), "0@9");
    rig.run();
    assert_eq!(rig.log(0).seeks(), [0; 0], "this client would refuse it");
}

#[test]
fn a_second_seek_is_answered_at_once() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    let mut first = rig.seek(5);
    let mut second = rig.seek(6);
    let moving = "partition orders/0 cannot be moved: it is being moved by another call";
    assert_eq!(second.answer(), Some(Err(moving.to_owned())));
    assert_eq!(first.answer(), None);
}

#[test]
fn a_partition_that_is_taken_away_is_not_moved() {
    let mut rig = Rig::reading(["ack"]);
    let mut seek = rig.seek(6);
    rig.run();
    rig.partition(0).apply(Happened::Leave);
    rig.partition(0).close(Closed::Revoked);
    assert_eq!(seek.answer(), Some(Err("nobody answers".to_owned())));
    let over = "partition orders/0 cannot be moved: it is being taken away";
    assert_eq!(rig.seek(7).answer(), Some(Err(over.to_owned())));
}

#[test]
fn a_seek_takes_the_attempts_of_a_message_with_it() {
    let mut rig = Rig::reading(["retry", "ack"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@5 retry 5#1");
    rig.seek(5);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@5");
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "5 6"]);
    assert_eq!(rig.partition(0).lock().committed(), Some(NextOffset::at(5)));
}

#[test]
fn a_seek_is_answered_for_itself_though_another_one_comes_before_it_is_persisted() {
    let mut rig = Rig::reading(["ack"; 5]);
    rig.run();
    let mut first = rig.seek(8);
    rig.run();
    assert_eq!((rig.log(0).seeks(), rig.coordinator.asked()), (vec![8], vec![]), "moved, and not persisted");
    let moving = "partition orders/0 cannot be moved: it is being moved by another call";
    assert_eq!(rig.seek(6).answer(), Some(Err(moving.to_owned())));
    rig.commit();
    assert!(matches!(first.answer(), Some(Ok(Sought { to: 8, .. }))));
    let mut third = rig.seek(6);
    rig.run();
    rig.commit();
    assert!(matches!(third.answer(), Some(Ok(Sought { to: 6, .. }))));
}

#[test]
fn a_seek_that_follows_one_whose_operator_has_gone_does_not_hear_of_the_earlier_target() {
    let mut rig = Rig::reading(["ack"; 5]);
    rig.run();
    drop(rig.seek(8));
    rig.run();
    let mut second = rig.seek(6);
    rig.commit();
    assert_eq!((rig.coordinator.last(), second.answer()), ("0@8".to_owned(), None));
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@6");
    assert!(matches!(second.answer(), Some(Ok(Sought { to: 6, .. }))));
}

#[test]
fn a_lane_is_woken_for_a_seek() {
    let rig = Rig::reading(["ack"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let seek = rig.handle.seek(vec![(orders(0), NextOffset::at(5))]);
    rig.wakes();
    let nobody_answers = runtime.block_on(async { tokio::time::timeout(std::time::Duration::ZERO, seek).await });
    assert!(nobody_answers.is_err());
    assert_eq!(rig.wakes(), 1);
}
