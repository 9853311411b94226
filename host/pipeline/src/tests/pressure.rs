//! Back-pressure: a sink without room, a window that is full.

use wasmill_core::partition::Event as Happened;
use wasmill_kafka::ProduceErrorClass::Purged;

use super::rig::Rig;
use crate::shared::Event;

#[test]
fn a_sink_without_room_is_waited_for() {
    let mut rig = Rig::reading(["echo", "echo", "echo"]);
    rig.producer.is_full_after(1, |producer| producer.make_room(1));
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 5", "out 6", "out 7"]);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 8);
}

#[test]
fn a_partition_that_leaves_in_good_order_still_waits_for_room() {
    let mut rig = Rig::reading(["echo", "echo"]);
    let partition = rig.partition(0);
    rig.producer.is_full_after(1, move |producer| {
        partition.apply(Happened::Leave);
        producer.make_room(1);
    });
    rig.run();
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 7);
}

#[test]
fn the_wait_ends_when_the_partition_is_abandoned_and_nothing_of_the_call_is_complete() {
    let mut rig = Rig::reading(["echo", "echo", "reject"]);
    let partition = rig.partition(0);
    rig.producer.is_full_after(1, move |_| partition.apply(Happened::LeaveAtOnce));
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 5"]);
    rig.producer.confirm();
    rig.commit();
    assert_eq!((rig.watermark(), rig.coordinator.asked()), (5, vec![]));
    assert!(rig.partition(0).lock().is_settled(), "a drain does not wait for it");
}

#[test]
fn a_call_that_is_abandoned_half_way_sends_nothing_more() {
    let mut rig = Rig::reading(["echo echo1", "echo", "reject"]);
    rig.producer.refuses("out1 5", Purged, 1);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 5"], "neither outputs nor dead letters");
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 5);
}

#[test]
fn nothing_completes_through_a_broken_sink_and_the_control_loop_hears_of_it() {
    let mut rig = Rig::reading(["echo", "ack", "reject"]);
    rig.producer.breaks();
    assert!(matches!(&rig.events()[..], [Event::ProducerFailed { reason }] if reason == "broken"));
    rig.run();
    assert_eq!((rig.producer.sent(), rig.watermark()), (vec![], 5));
    assert!(rig.partition(0).lock().is_settled(), "nothing is waited for");
    rig.replace_producer();
    rig.settle();
    assert_eq!(rig.calls(), ["5 6 7", "5 6 7"]);
    assert_eq!((rig.producer.sent(), rig.watermark()), (vec!["out 5".to_owned(), "dead 7".to_owned()], 8));
}

#[test]
fn a_full_window_takes_no_further_batch_and_a_completion_wakes_the_lane() {
    let mut rig = Rig::new("batch.messages = 2\nspan.messages = 4").read(["echo"; 6]);
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "7 8"], "another batch would pass the bound");
    assert_eq!((rig.log(0).position(), rig.wakes()), (9, 0));
    rig.producer.confirm_one("out 5");
    assert_eq!(rig.wakes(), 0, "the call is not complete");
    rig.producer.confirm_one("out 6");
    assert_eq!(rig.wakes(), 1);
    rig.run();
    assert_eq!(rig.calls()[2..], ["9 10"]);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 11);
}

#[test]
fn nobody_is_woken_by_a_completion_that_nobody_waits_for() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    rig.wakes();
    rig.producer.confirm();
    assert_eq!((rig.wakes(), rig.watermark()), (0, 6));
}

#[test]
fn what_an_earlier_call_left_is_delivered_though_the_window_is_full() {
    let mut rig = Rig::new("batch.messages = 2\nspan.messages = 4").read(["echo", "echo", "ack", "retry<2", "ack"]);
    let again = rig.run().expect("8 waits");
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "7 8", "8#2"], "9 is beyond the window");
}
