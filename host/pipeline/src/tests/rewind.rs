//! Back to the watermark, with another producer.

use wasmill_kafka::ProduceErrorClass::Message;

use super::rig::Rig;

#[test]
fn with_a_new_producer_what_was_in_flight_is_delivered_again_through_it() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.run();
    let old = rig.replace_producer();
    rig.run();
    assert_eq!((rig.log(0).seeks(), rig.calls()), (vec![5], vec!["5 6".to_owned(), "5 6".to_owned()]));
    assert_eq!((old.sent().len(), rig.producer.sent().len()), (2, 2));
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 7);
}

#[test]
fn reports_of_the_old_producer_count_for_nothing() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.run();
    let old = rig.replace_producer();
    old.refuse("out 5", Message);
    old.confirm();
    rig.run();
    assert_eq!((rig.watermark(), rig.state()), (5, "running".to_owned()));
    assert_eq!(rig.producer.sent(), ["out 5", "out 6"], "and no dead letter");
    assert_eq!(rig.log(0).seeks(), [5]);
}

#[test]
fn what_is_complete_above_the_watermark_is_not_delivered_again() {
    let mut rig = Rig::new("batch.messages = 1").read(["echo"; 3]);
    rig.run();
    rig.producer.confirm_one("out 6");
    rig.replace_producer();
    rig.run();
    assert_eq!(rig.calls()[3..], ["5", "7"]);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 8);
}

#[test]
fn a_message_under_retry_keeps_its_attempts() {
    let mut rig = Rig::reading(["retry<3"]);
    rig.run();
    rig.replace_producer();
    rig.run();
    assert_eq!(rig.calls(), ["5", "5#2"]);
    assert_eq!(rig.state(), "waiting 5#3: later");
}

#[test]
fn a_message_that_was_settled_begins_to_count_anew_when_it_goes_again() {
    let mut rig = Rig::reading(["retry<2 echo"]);
    let again = rig.run().expect("it waits");
    rig.wait_until(again);
    rig.run();
    rig.replace_producer();
    rig.run();
    // Its next attempt is due in the time of the process, which the rig's is ahead of.
    assert_eq!(rig.calls()[..3], ["5", "5#2", "5"]);
}

#[test]
fn until_it_has_gone_back_a_partition_publishes_through_the_producer_of_its_epoch() {
    let mut rig = Rig::reading(["echo"]);
    let new = rig.other_producer();
    rig.shared.replace_publisher(new.publisher());
    rig.run();
    assert_eq!((rig.producer.sent(), new.sent()), (vec!["out 5".to_owned()], vec![]));
}

#[test]
fn while_there_is_no_producer_nothing_is_delivered() {
    let mut rig = Rig::reading(["echo"]);
    rig.producer_rests(true);
    rig.run();
    assert_eq!(rig.calls(), [""; 0]);
    let work = rig.handle.status(&rig.shared.deployed()).work;
    assert_eq!(work.producer.map(|producer| (producer.reason, producer.failures)), Some(("broken".to_owned(), 1)));
    assert!(!work.ready);
    rig.producer_rests(false);
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
}

#[test]
fn a_source_that_cannot_be_moved_is_tried_again_and_nothing_is_read_meanwhile() {
    let mut rig = Rig::reading(["ack", "echo"]);
    rig.run();
    rig.log(0).write(7, ["ack"]);
    rig.log(0).refuses_seeks(1);
    rig.replace_producer();
    let again = rig.run().expect("it is tried again");
    assert_eq!((rig.calls(), rig.log(0).seeks()), (vec!["5 6".to_owned()], vec![]));
    assert_eq!(rig.run(), Some(again));
    rig.wait_until(again);
    rig.run();
    assert_eq!((rig.calls().len(), rig.log(0).seeks()), (2, vec![5]));
    assert_eq!(rig.calls()[1], "5 6 7");
}

#[test]
fn the_message_that_failed_before_a_rewind_is_settled_when_it_comes_round() {
    let mut rig = Rig::new("batch.messages = 1").read(["echo", "echo"]);
    rig.run();
    rig.producer.refuse("out 5", Message);
    let old = rig.replace_producer();
    old.confirm();
    rig.run();
    assert_eq!(rig.producer.sent(), ["dead 5", "out 6"], "the refusal is of the message, not of the producer");
    assert_eq!(rig.calls(), ["5", "6", "6"]);
}

#[test]
fn what_a_slice_restores_is_read_again_and_what_was_in_hand_is_forgotten() {
    let mut rig = Rig::new("batch.messages = 2").read(["ack", "ack", "retry<2", "ack", "ack"]);
    rig.run();
    assert_eq!(rig.new_calls(), ["5 6", "7 8"]);
    assert_eq!(rig.state(), "waiting 7#2: later");
    rig.partition(0).apply(wasmill_core::partition::Event::Restored);
    rig.run();
    assert_eq!(rig.log(0).seeks(), [5]);
    assert_eq!(rig.new_calls(), ["5 6", "7#2 8", "9"]);
    assert_eq!(rig.watermark(), 10);
}

#[test]
fn a_partition_that_went_back_or_was_moved_stands_there_before_its_source_is_put_there() {
    for moved in [false, true] {
        let mut rig = Rig::reading(["echo", "retry", "ack"]);
        rig.run();
        assert_eq!(rig.state(), "waiting 6#2: later");
        if moved {
            rig.producer.confirm();
            rig.seek(5);
            rig.round();
        } else {
            rig.replace_producer();
        }
        assert_eq!(rig.log(0).seeks(), [0; 0]);
        let deployed = rig.deploy(rig.version(&rig.handler("v2")));
        rig.round();
        let (_, first) = deployed.handover.partitions().remove(0);
        assert_eq!((first.offset, first.attempt), (5, None), "what was in hand is forgotten; moved: {moved}");
    }
}
