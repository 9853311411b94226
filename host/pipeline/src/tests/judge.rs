//! What a verdict leads to.

use wasmill_core::FailureKind;
use wasmill_core::partition::State;

use super::rig::Rig;

#[test]
fn a_retry_waits_and_is_told_its_attempt() {
    let mut rig = Rig::reading(["ack", "retry<2", "ack"]);
    let again = rig.run().expect("it waits");
    assert_eq!(rig.state(), "waiting 6#2: later");
    assert_eq!(rig.watermark(), 6, "what is in front of it is complete");
    assert_eq!(rig.calls(), ["5 6 7"]);
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.calls(), ["5 6 7", "6#2 7"]);
    assert_eq!((rig.watermark(), rig.state()), (8, "running".to_owned()));
}

#[test]
fn the_wait_doubles_with_each_attempt() {
    let mut rig = Rig::reading(["retry"]);
    let mut waits = Vec::new();
    while let Some(again) = rig.run() {
        waits.push(rig.status(0).next_attempt_in_ms.expect("it waits").div_ceil(1000));
        rig.wait_until(again);
    }
    assert_eq!(rig.calls(), ["5", "5#2", "5#3"]);
    assert_eq!(waits, [10, 20]);
}

#[test]
fn a_message_out_of_attempts_is_dead_lettered_with_its_story() {
    let mut rig = Rig::reading(["retry"]);
    while let Some(again) = rig.run() {
        rig.wait_until(again);
    }
    assert_eq!(rig.producer.sent(), ["dead 5"]);
    let dead = rig.producer.get(0);
    let header = |name: &str| dead.header(&format!("wasmill.{name}")).to_owned();
    assert_eq!((header("attempts"), header("error")), ("3".to_owned(), "retries-exhausted".to_owned()));
    assert_eq!((header("topic"), header("partition")), ("orders".to_owned(), "0".to_owned()));
    assert_eq!((header("reason"), header("group")), ("later".to_owned(), "g".to_owned()));
    assert_eq!((header("plugin"), header("pipeline")), ("v1".to_owned(), "test".to_owned()));
    assert_eq!((dead.key.as_deref(), dead.value.as_deref()), (Some("k5"), Some("retry")));
    assert_eq!((header("timestamp"), dead.timestamp), ("1005".to_owned(), None), "it goes out with the present time");
    assert_eq!(dead.header("traceparent"), "00-1");
}

#[test]
fn what_a_call_said_behind_a_retry_counts_for_nothing() {
    let mut rig = Rig::reading(["retry<2", "echo", "reject"]);
    let again = rig.run().expect("5 waits");
    assert_eq!(rig.producer.sent(), [""; 0]);
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 6", "dead 7"]);
    assert_eq!(rig.calls(), ["5 6 7", "5#2 6 7"]);
}

#[test]
fn a_rejected_message_is_not_tried_again() {
    let mut rig = Rig::reading(["ack", "reject", "ack"]);
    rig.settle();
    assert_eq!(rig.calls(), ["5 6 7"]);
    let dead = rig.producer.get(0);
    let header = |name: &str| dead.header(&format!("wasmill.{name}")).to_owned();
    assert_eq!((header("error"), header("attempts")), ("rejected".to_owned(), "1".to_owned()));
    assert_eq!(rig.coordinator.last(), "0@8");
}

#[test]
fn messages_that_were_not_reached_go_again_at_the_same_attempt() {
    let mut rig = Rig::reading(["echo"; 4]);
    let mut reached = [1, 2, 1].into_iter();
    rig.handler.answers(move |batch, reply| {
        let reached = reached.next().expect("three calls");
        for message in 0..reached {
            reply.emit(batch, message, 0, &batch.message(message).offset.to_string());
        }
        Ok(reached as u32)
    });
    rig.run();
    assert_eq!(rig.calls(), ["5 6 7 8", "6 7 8", "8"]);
    assert_eq!(rig.producer.sent(), ["out 5", "out 6", "out 7", "out 8"]);
}

#[test]
fn a_call_that_reached_nothing_and_said_nothing_is_an_attempt_of_its_first_message() {
    let mut rig = Rig::reading(["halt", "ack"]);
    let again = rig.run().expect("it is tried again");
    assert_eq!(rig.state(), "waiting 5#2: the handler reached no message and gave no verdict");
    rig.wait_until(again);
    while let Some(again) = rig.run() {
        rig.wait_until(again);
    }
    assert_eq!(rig.calls(), ["5 6", "5#2 6", "5#3 6", "6"]);
    assert_eq!(rig.producer.get(0).header("wasmill.error"), "no-progress");
}

#[test]
fn of_two_verdicts_on_a_message_the_first_counts() {
    let mut rig = Rig::reading(["ack"]);
    rig.handler.answers(|_, reply| {
        reply.fail(0, FailureKind::Reject);
        reply.fail(0, FailureKind::Retry);
        Ok(1)
    });
    rig.run();
    assert_eq!(rig.producer.sent(), ["dead 5"]);
}

#[test]
fn outputs_of_a_message_that_failed_are_dropped() {
    let mut rig = Rig::reading(["echo reject", "echo"]);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 6", "dead 5"]);
}

#[test]
fn a_partition_that_waits_for_a_retry_does_not_hold_up_another() {
    let mut rig = Rig::reading(["retry"]);
    rig.log(1).write(0, ["ack"]);
    rig.assign(1, 0);
    rig.run();
    rig.log(1).write(1, ["ack"]);
    rig.run();
    assert_eq!(rig.calls(), ["5", "p1 0", "p1 1"]);
    assert_eq!(rig.view().state, State::Waiting);
}
