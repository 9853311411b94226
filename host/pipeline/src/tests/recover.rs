//! A call that fails as a whole, and a handler that does not start.

use super::rig::Rig;
use crate::status::lane_status;

#[test]
fn after_a_crash_in_company_each_message_goes_alone_and_no_attempt_is_counted() {
    let mut rig = Rig::reading(["ack", "crash", "echo"]);
    rig.run();
    assert_eq!(rig.calls(), ["5 6 7", "5", "6", "7"]);
    assert_eq!(rig.producer.sent(), ["out 7"]);
}

#[test]
fn a_message_that_crashes_alone_on_a_fresh_instance_is_tried_again_and_fails_at_last() {
    let mut rig = Rig::reading(["ack", "trap", "ack"]);
    let again = rig.run().expect("6 waits");
    assert_eq!(rig.calls(), ["5 6 7", "5", "6", "6"], "the second time on a fresh instance");
    assert_eq!(rig.state(), "waiting 6#2: trap: wasm said no");
    rig.wait_until(again);
    while let Some(again) = rig.run() {
        rig.wait_until(again);
    }
    assert_eq!(rig.calls()[4..], ["6#2", "6#3", "7"]);
    let dead = rig.producer.get(0);
    assert_eq!((dead.header("wasmill.error"), dead.header("wasmill.attempts")), ("trap", "3"));
    assert_eq!(dead.header("wasmill.reason"), "wasm said no");
}

#[test]
fn a_crash_on_an_instance_that_was_used_before_counts_no_attempt() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    rig.log(0).write(6, ["crash"]);
    assert_eq!(rig.run(), None, "nothing waits");
    assert_eq!(rig.calls(), ["5", "6", "6"]);
    assert_eq!(rig.watermark(), 7);
}

#[test]
fn an_instance_is_dropped_with_its_crash() {
    let mut rig = Rig::reading(["ack", "crash"]);
    rig.run();
    assert_eq!((rig.handler.starts(), rig.handler.alive()), (2, 1));
    assert_eq!(rig.shared.deployed().version.done.tally().crashes, 1);
}

#[test]
fn outputs_of_a_crashed_call_are_dropped() {
    let mut rig = Rig::reading(["echo", "crash"]);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 5"], "once, of the call that did not crash");
}

#[test]
fn a_cancelled_call_is_no_attempt_and_says_nothing_of_its_messages() {
    let mut rig = Rig::reading(["ack", "cancel"]);
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "5 6"], "together again");
    assert_eq!((rig.handler.starts(), rig.watermark()), (2, 7));
    assert_eq!(rig.shared.deployed().version.done.tally().crashes, 0);
}

/// A rig whose calls are all ended by the wall clock.
fn capped(values: impl IntoIterator<Item = &'static str>) -> Rig {
    let rig = Rig::reading(values);
    rig.handler.answers(|_, _| Err(super::rig::crash(wasmill_core::ErrorClass::TimeCap)));
    rig
}

#[test]
fn a_batch_that_the_wall_clock_ended_goes_again_one_by_one_and_nothing_is_counted() {
    let mut rig = Rig::reading(["ack", "ack"]);
    let mut ended = false;
    rig.handler.answers(move |batch, _| {
        if std::mem::replace(&mut ended, true) {
            return Ok(batch.len() as u32);
        }
        Err(super::rig::crash(wasmill_core::ErrorClass::TimeCap))
    });
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "5", "6"]);
    assert_eq!(rig.shared.deployed().version.done.tally().crashes, 0);
    assert_eq!(rig.watermark(), 7);
}

#[test]
fn three_ends_by_the_wall_clock_in_a_row_count_as_one_attempt() {
    let mut rig = capped(["ack"]);
    let again = rig.run().expect("it waits for its second attempt");
    assert_eq!(rig.calls(), ["5", "5", "5"]);
    assert_eq!(rig.shared.deployed().version.done.tally().crashes, 1);
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.calls(), ["5", "5", "5", "5#2", "5#2", "5#2"]);
}

#[test]
fn a_cancelled_retry_stays_at_its_attempt() {
    let mut rig = Rig::reading(["retry<2 ack"]);
    let again = rig.run().expect("it waits");
    rig.wait_until(again);
    let mut cancelled = false;
    rig.handler.answers(move |_, _| {
        if std::mem::replace(&mut cancelled, true) {
            return Ok(1);
        }
        Err(super::rig::crash(wasmill_core::ErrorClass::Cancelled))
    });
    rig.run();
    assert_eq!(rig.calls(), ["5", "5#2", "5#2"]);
}

#[test]
fn calls_halve_with_a_crash_and_grow_again() {
    let mut values = vec!["ack"; 48];
    values[0] = "crash";
    let mut rig = Rig::new("batch.messages = 8").read(values);
    rig.run();
    let sizes: Vec<usize> = rig.calls().iter().map(|call| call.split(' ').count()).collect();
    let mut expected = vec![8];
    expected.extend([1; 8]);
    expected.extend([4; 6]);
    expected.extend([8, 8]);
    assert_eq!(sizes, expected);
}

#[test]
fn a_handler_that_cannot_start_is_tried_again_and_status_says_so() {
    let mut rig = Rig::reading(["retry<2"]);
    rig.handler.fails_to_start(1);
    let again = rig.run().expect("it looks again");
    assert_eq!(rig.calls(), [""; 0]);
    let trouble = "handler cannot start: the handler refused to start: no table";
    assert_eq!(lane_status(&rig.lane, 1).trouble.as_deref(), Some(trouble));
    assert_eq!(rig.run(), Some(again), "not before");
    rig.wait_until(again);
    rig.run();
    assert_eq!((rig.calls(), lane_status(&rig.lane, 1).trouble), (vec!["5".to_owned()], None));
    assert_eq!(rig.state(), "waiting 5#2: later", "to wait for the handler was no attempt");
}

#[test]
fn an_instance_whose_memory_only_grows_is_replaced_between_two_calls() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    rig.handler.grows();
    rig.log(0).write(6, ["ack"]);
    rig.run();
    assert_eq!((rig.handler.starts(), rig.handler.alive()), (2, 1));
    assert_eq!(lane_status(&rig.lane, 1).recycled, 1);
}

#[test]
fn a_version_that_takes_over_from_one_that_cannot_start_does_not_wait_for_it() {
    let mut rig = Rig::reading(["ack"]);
    rig.handler.fails_to_start(1);
    rig.run();
    rig.deploy(rig.version(&rig.handler("v2")));
    rig.run();
    assert_eq!(rig.calls(), ["v2 5"]);
}

#[test]
fn an_instance_that_is_gone_is_not_cancelled_and_has_no_memory() {
    let mut rig = Rig::reading(["ack", "cancel"]);
    rig.round();
    assert_eq!(rig.lane.memory_bytes.load(std::sync::atomic::Ordering::Relaxed), 0, "it was cancelled, and dropped");
    let gone = rig.handler.canceller();
    rig.lane.cancel();
    assert!(!gone.is_cancelled());
    rig.run();
    assert_eq!(rig.lane.memory_bytes.load(std::sync::atomic::Ordering::Relaxed), 1 << 16);
}
