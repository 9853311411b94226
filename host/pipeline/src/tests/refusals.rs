//! What the broker refuses after a batch has left the lane.

use wasmill_kafka::ProduceErrorClass::{Message, Moved, Purged, Topic};

use super::rig::{Rig, STRIP};

#[test]
fn a_refused_message_fails_without_another_call_and_its_neighbours_are_not_delivered_again() {
    let mut rig = Rig::reading(["echo"; 3]);
    rig.run();
    rig.producer.refuse("out 6", Message);
    rig.producer.confirm();
    assert_eq!(rig.wakes(), 1, "the lane has something to do");
    rig.run();
    assert_eq!(rig.calls(), ["5 6 7"]);
    assert_eq!(rig.producer.sent(), ["out 5", "out 6", "out 7", "dead 6"]);
    let dead = rig.producer.get(3);
    assert_eq!((dead.header("wasmill.error"), dead.header("wasmill.reason")), ("refused", "CODE: no"));
    assert_eq!(rig.watermark(), 6);
    rig.producer.confirm();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@8");
}

#[test]
fn the_partition_drains_before_it_goes_back() {
    let mut rig = Rig::new("batch.messages = 1").read(["echo"; 3]);
    rig.run();
    rig.producer.refuse("out 5", Message);
    rig.log(0).write(8, ["echo"]);
    rig.run();
    assert_eq!((rig.calls().len(), rig.log(0).seeks()), (3, vec![]), "6 and 7 are not answered for");
    rig.producer.confirm_one("out 7");
    rig.run();
    assert_eq!(rig.log(0).seeks(), [0; 0]);
    rig.producer.confirm_one("out 6");
    rig.run();
    assert_eq!((rig.log(0).seeks(), rig.calls()), (vec![5], ["5", "6", "7", "8"].map(str::to_owned).to_vec()));
    rig.producer.confirm();
    assert_eq!(
        (rig.watermark(), rig.producer.sent()[3..].to_vec()),
        (9, vec!["dead 5".to_owned(), "out 8".to_owned()])
    );
}

#[test]
fn a_dead_letter_that_the_broker_refuses_stops_its_partition_and_nothing_of_it_is_published() {
    let mut rig = Rig::reading(["reject", "ack"]);
    rig.run();
    rig.producer.refuse("dead 5", Message);
    rig.run();
    assert_eq!((rig.state(), rig.producer.sent().len()), ("stopped 5: dead letter refused: CODE: no".to_owned(), 1));
}

#[test]
fn where_that_is_allowed_it_goes_once_more_with_headers_only_and_then_the_partition_stops() {
    let mut rig = Rig::new(STRIP).read(["reject", "ack"]);
    rig.run();
    rig.producer.refuse("dead 5", Message);
    rig.run();
    assert_eq!(rig.producer.sent(), ["dead 5", "dead 5 bare"]);
    assert_eq!(rig.calls(), ["5 6"], "the handler is not asked again");
    rig.producer.refuse("dead 5 bare", Message);
    rig.run();
    assert_eq!(rig.state(), "stopped 5: dead letter refused: CODE: no");
    assert_eq!(rig.producer.sent().len(), 2);
    assert_eq!(rig.resume(Some(5)), Ok(5));
    rig.settle();
    assert_eq!((rig.coordinator.last(), rig.calls()), ("0@7".to_owned(), vec!["5 6".to_owned()]));
}

#[test]
fn a_bare_dead_letter_that_is_taken_settles_its_message() {
    let mut rig = Rig::new(STRIP).read(["reject", "ack"]);
    rig.run();
    rig.producer.refuse("dead 5", Message);
    rig.settle();
    assert_eq!((rig.coordinator.last(), rig.calls()), ("0@7".to_owned(), vec!["5 6".to_owned()]));
}

#[test]
fn a_topic_that_takes_nothing_is_waited_for_at_the_first_message_and_fails_none() {
    let mut rig = Rig::reading(["ack", "echo", "echo"]);
    rig.run();
    rig.producer.refuse("out 7", Topic);
    rig.producer.refuse("out 6", Topic);
    rig.run();
    assert_eq!(rig.state(), "waiting 6: the output topic takes nothing: CODE: no");
    assert_eq!(rig.producer.sent(), ["out 6", "out 7"]);
    assert_eq!(rig.watermark(), 6, "5 is complete beside them");
    assert_eq!(rig.resume(None), Ok(6));
    rig.settle();
    assert_eq!(rig.calls(), ["5 6 7", "6 7"]);
    assert_eq!(rig.watermark(), 8);
}

#[test]
fn a_topic_that_takes_messages_again_needs_no_operator() {
    let mut rig = Rig::reading(["ack", "echo", "echo"]);
    rig.run();
    rig.producer.refuse("out 6", Topic);
    rig.producer.confirm_one("out 7");
    let mut again = rig.run().expect("it is tried again");
    // Denied for a minute, at the send as well as in the answer.
    for _ in 0..4 {
        rig.producer.refuses("out 6", Topic, 1);
        rig.wait_until(again);
        again = rig.run().expect("it is tried again");
        assert_eq!(rig.state(), "waiting 6: the output topic takes nothing: CODE: no");
    }
    rig.wait_until(again);
    rig.settle();
    assert_eq!((rig.watermark(), rig.state()), (8, "running".to_owned()));
    assert_eq!(rig.partition(0).lock().output_waits().count, 0);
}

#[test]
fn a_message_whose_output_lost_its_partition_is_delivered_again_alone_and_nothing_is_given_up() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.run();
    rig.producer.confirm_one("out 6");
    rig.producer.refuse("out 5", Moved);
    rig.settle();
    assert_eq!(rig.producer.sent(), ["out 5", "out 6", "out 5"]);
    assert_eq!((rig.calls(), rig.watermark()), (["5 6", "5"].map(str::to_owned).to_vec(), 7));
}

#[test]
fn a_dead_letter_topic_that_takes_nothing_is_named() {
    let mut rig = Rig::reading(["reject"]);
    rig.run();
    rig.producer.refuse("dead 5", Topic);
    rig.run();
    assert_eq!(rig.state(), "waiting 5: the dead-letter topic takes nothing: CODE: no");
}

#[test]
fn a_failed_message_is_counted_once_however_often_its_dead_letter_is_tried() {
    let mut rig = Rig::reading(["reject"]);
    rig.producer.refuses("dead 5", Topic, 2);
    for _ in 0..2 {
        let again = rig.run().expect("it is tried again");
        assert_eq!(rig.shared.failures.status().messages, 0, "nothing of it is published yet");
        rig.wait_until(again);
    }
    rig.settle();
    assert_eq!((rig.shared.failures.status().messages, rig.watermark()), (1, 6));
}

#[test]
fn a_purged_output_is_nobodys_fault_and_nobodys_completion() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.run();
    rig.producer.confirm_one("out 6");
    rig.producer.refuse("out 5", Purged);
    rig.run();
    assert_eq!((rig.watermark(), rig.log(0).seeks(), rig.state()), (5, vec![], "running".to_owned()));
    assert!(rig.partition(0).lock().is_settled(), "a drain does not wait for it");
}

#[test]
fn what_is_refused_of_a_message_that_goes_again_anyway_is_forgotten() {
    let mut rig = Rig::reading(["ack"; 3]);
    rig.handler.answers(|batch, reply| {
        for (message, value) in [(2, "7"), (1, "6"), (0, "5")] {
            if message < batch.len() {
                reply.emit(batch, message, 0, value);
            }
        }
        Ok(batch.len() as u32)
    });
    // 7 is with the producer already when 6 is refused for its topic.
    rig.producer.refuses("out 6", Topic, 1);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 7", "out 5"]);
    rig.producer.refuse("out 7", Message);
    rig.producer.confirm();
    rig.run();
    assert_eq!((rig.watermark(), rig.log(0).seeks()), (6, vec![]), "its report is not about what it comes to next");
}

#[test]
fn what_is_complete_behind_a_stop_is_committed_though_no_offset_moved() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.commit();
    rig.run();
    rig.producer.refuse("out 5", Topic);
    rig.producer.confirm();
    rig.run();
    assert_eq!(rig.state(), "waiting 5: the output topic takes nothing: CODE: no");
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@5 done 6-6");
}
