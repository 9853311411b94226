//! What an operator does: resume, skip, pause, and a pipeline that holds.

use wasmill_core::partition::{Closed, Event as Happened};
use wasmill_kafka::ProduceErrorClass::Topic;

use super::rig::{Rig, orders};
use crate::shared::Event;
use crate::status::WorkStatus;

const STOPS: &str = "on_exhausted = \"stop\"";

#[test]
fn a_resumed_partition_tries_the_message_that_it_stands_at_with_all_its_attempts() {
    let mut rig = Rig::new(STOPS).read(["ack", "retry"]);
    while let Some(again) = rig.run() {
        rig.wait_until(again);
    }
    assert_eq!(rig.state(), "stopped 6: message 6 was given up (retries-exhausted): later");
    rig.new_calls();
    assert_eq!(rig.resume(None), Ok(6));
    rig.round();
    assert_eq!((rig.new_calls(), rig.state()), (vec!["6".to_owned()], "waiting 6#2: later".to_owned()));
}

#[test]
fn a_resume_ends_a_backoff_and_its_note() {
    let mut rig = Rig::reading(["retry"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@5 retry 5#1");
    assert_eq!(rig.resume(None), Ok(5));
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@5");
    rig.run();
    assert_eq!(rig.calls(), ["5", "5"]);
}

#[test]
fn a_skip_passes_over_the_message_that_the_partition_stands_at() {
    let mut rig = Rig::new(STOPS).read(["ack", "reject", "echo"]);
    rig.run();
    assert_eq!(rig.resume(Some(6)), Ok(6));
    rig.settle();
    assert_eq!(rig.calls(), ["5 6 7", "7"]);
    assert_eq!(rig.coordinator.last(), "0@8");
}

#[test]
fn a_skip_of_the_last_message_in_hand_completes_it() {
    let mut rig = Rig::new(STOPS).read(["reject"]);
    rig.run();
    assert_eq!(rig.resume(Some(5)), Ok(5));
    assert_eq!((rig.watermark(), rig.state()), (6, "running".to_owned()));
}

#[test]
fn a_skip_of_a_message_that_nobody_has_in_hand_leaves_it_out_when_it_is_read_again() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.run();
    rig.producer.refuse("out 5", Topic);
    rig.producer.confirm();
    rig.run();
    assert!(rig.state().starts_with("waiting 5"));
    assert_eq!(rig.resume(Some(5)), Ok(5));
    rig.settle();
    assert_eq!((rig.calls(), rig.coordinator.last()), (vec!["5 6".to_owned()], "0@7".to_owned()));
}

#[test]
fn a_skip_names_the_message_that_the_partition_stands_at() {
    let mut rig = Rig::new(STOPS).read(["ack", "reject"]);
    rig.run();
    let other = "partition orders/0 does not stand at offset 5 but at 6; hint: use `--offset 6` to pass over that one";
    assert_eq!(rig.resume(Some(5)), Err(other.to_owned()));
    assert!(rig.state().starts_with("stopped 6"));
}

#[test]
fn a_partition_that_is_not_stopped_has_nothing_to_skip() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    let text = "partition orders/0 is not stopped, so message 6 cannot be skipped; hint: `wasmill status` shows where partitions stand";
    assert_eq!(rig.resume(Some(6)), Err(text.to_owned()));
}

#[test]
fn a_partition_whose_topic_is_gone_cannot_be_resumed() {
    let mut rig = Rig::reading(["ack"]);
    rig.partition(0).close(Closed::Orphaned("topic orders was deleted".to_owned()));
    rig.run();
    let text = "partition orders/0 cannot go on: topic orders was deleted";
    assert_eq!(rig.resume(None), Err(text.to_owned()));
    assert_eq!((rig.calls(), rig.state()), (vec![], "stopped 5: topic orders was deleted".to_owned()));
}

#[test]
fn a_partition_that_leaves_cannot_be_resumed() {
    let mut rig = Rig::reading(["ack"]);
    rig.partition(0).apply(Happened::Leave);
    assert_eq!(rig.resume(None), Err("partition orders/0 cannot go on: it is being taken away".to_owned()));
}

#[test]
fn a_paused_partition_is_delivered_nothing_until_the_pause_ends() {
    let mut rig = Rig::reading(["ack"]);
    assert_eq!(rig.handle.pause(None), [orders(0)]);
    assert_eq!(rig.wakes(), 1);
    rig.run();
    assert_eq!((rig.calls(), rig.state()), (vec![], "paused".to_owned()));
    rig.partition(0).apply(Happened::Paused(false));
    assert_eq!(rig.wakes(), 1);
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
}

#[test]
fn a_resume_ends_a_pause() {
    let mut rig = Rig::reading(["ack"]);
    rig.handle.pause(None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert_eq!(runtime.block_on(rig.handle.resume(None)), Ok(vec![]), "it was not stopped");
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
}

#[test]
fn one_partition_is_paused_beside_another() {
    let mut rig = Rig::reading(["ack"]);
    rig.log(1).write(0, ["ack"]);
    rig.assign(1, 0);
    assert_eq!(rig.handle.pause(Some(&orders(1))), [orders(1)]);
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
}

#[test]
fn a_pause_and_a_wait_end_separately() {
    let mut rig = Rig::reading(["retry<2"]);
    let again = rig.run().expect("it waits");
    rig.handle.pause(None);
    rig.wait_until(again);
    rig.run();
    assert_eq!((rig.calls().len(), rig.state()), (1, "paused".to_owned()));
    rig.partition(0).apply(Happened::Paused(false));
    rig.run();
    assert_eq!(rig.calls(), ["5", "5#2"]);
}

const BREAKER: &str = "breaker = { given_up = 1, of = 4, first_given_up = 1, first_of = 4 }\nbatch.messages = 1";

#[test]
fn failures_that_lie_far_enough_apart_do_not_open_the_breaker() {
    let mut rig = Rig::new(BREAKER).read(["reject", "ack", "ack", "ack", "reject"]);
    rig.run();
    assert_eq!((rig.calls().len(), rig.shared.hold_reason()), (5, None), "one of any four");
}

#[test]
fn a_pipeline_holds_until_it_is_released() {
    let mut rig = Rig::new(BREAKER).read(["reject", "reject", "ack"]);
    rig.log(1).write(0, ["ack"; 2]);
    rig.run();
    let reason = "more than 1 of the last 4 messages were given up; `wasmill resume test` goes on";
    assert_eq!(rig.shared.hold_reason().as_deref(), Some(reason));
    assert_eq!(rig.calls(), ["5", "6"]);
    rig.assign(1, 0);
    rig.run();
    assert_eq!(rig.calls(), ["5", "6"], "the other partition is held, too");
    let WorkStatus { held, ready, .. } = rig.handle.status(&rig.shared.deployed()).work;
    assert_eq!((held.as_deref(), ready), (Some(reason), false));
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 7, "what was delivered is settled all the same");
    rig.shared.release();
    rig.run();
    assert_eq!(rig.calls(), ["5", "6", "7", "p1 0", "p1 1"]);
}

#[test]
fn while_the_pipeline_holds_one_partition_cannot_go_on_by_itself() {
    let rig = Rig::reading(["ack"]);
    rig.shared.hold("too many".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let text =
        "partition orders/0 cannot go on by itself, the whole pipeline holds: too many; hint: leave out --partition";
    assert_eq!(runtime.block_on(rig.handle.resume(Some(&orders(0)))), Err(text.to_owned()));
    assert!(rig.shared.is_held());
    assert_eq!(runtime.block_on(rig.handle.resume(None)), Ok(vec![]));
    assert!(!rig.shared.is_held());
    assert_eq!(rig.shared.hold_reason(), None);
}

#[test]
fn messages_that_are_gone_are_resumed_by_a_new_client_at_the_first_that_is_left() {
    use wasmill_kafka::QueueProblem;

    let mut rig = Rig::reading(["ack"]);
    rig.log(0).fails_at(6, QueueProblem::OutOfRange { offset: 6 });
    rig.run();
    let skip = "there is no message 6 of partition orders/0 to skip; hint: `wasmill resume` goes on at the first one that is left";
    assert_eq!(rig.resume(Some(6)), Err(skip.to_owned()));
    assert_eq!(rig.events().len(), 0);
    assert_eq!(rig.resume(None), Ok(6));
    let reason = "partition orders/0 begins at its first message; it could not at 6";
    assert!(matches!(&rig.events()[..], [Event::MemberRenewed { member: 0, reason: said }] if said == reason));
    assert!(rig.state().starts_with("stopped 6"), "until the new client has it");
    assert!(rig.shared.begins_anew(&orders(0)));
    assert!(!rig.shared.begins_anew(&orders(0)), "for one assignment");
}
