//! Outputs and dead letters on their way, and what is complete when.

use wasmill_kafka::ProduceErrorClass::{Message, Topic};

use super::rig::{Rig, STRIP};

#[test]
fn outputs_go_in_order_and_dead_letters_behind_them() {
    let mut rig = Rig::reading(["reject", "echo echo1", "reject", "echo"]);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 6", "out1 6", "out 8", "dead 5", "dead 7"]);
}

#[test]
fn a_message_is_complete_once_all_of_its_call_is_confirmed_and_not_before() {
    let mut rig = Rig::reading(["echo", "reject"]);
    rig.run();
    rig.producer.confirm_one("out 5");
    rig.commit();
    assert_eq!((rig.watermark(), rig.coordinator.asked()), (5, vec![]));
    rig.producer.confirm_one("dead 6");
    rig.commit();
    assert_eq!((rig.watermark(), rig.coordinator.last()), (7, "0@7".to_owned()));
}

#[test]
fn confirmations_out_of_order_wait_for_what_was_delivered_first() {
    let mut rig = Rig::new("batch.messages = 1").read(["echo"; 3]);
    rig.run();
    rig.producer.confirm_one("out 6");
    rig.producer.confirm_one("out 7");
    assert_eq!(rig.watermark(), 5);
    rig.producer.confirm_one("out 5");
    assert_eq!(rig.watermark(), 8);
}

#[test]
fn a_call_without_outputs_is_complete_at_once() {
    let mut rig = Rig::reading(["ack", "ack"]);
    rig.run();
    assert_eq!((rig.watermark(), rig.producer.sent()), (7, vec![]));
}

#[test]
fn a_failed_message_is_skipped_where_the_pipeline_says_so() {
    let mut rig = Rig::new("on_exhausted = \"skip\"").read(["reject", "echo"]);
    rig.run();
    rig.producer.confirm();
    assert_eq!((rig.producer.sent(), rig.watermark()), (vec!["out 6".to_owned()], 7));
}

#[test]
fn a_failed_message_stops_its_partition_where_the_pipeline_says_so() {
    let mut rig = Rig::new("on_exhausted = \"stop\"").read(["echo", "reject", "echo"]);
    rig.run();
    assert_eq!(rig.state(), "stopped 6: message 6 was given up (rejected): never");
    assert_eq!(rig.producer.sent(), ["out 5"], "what is in front of it goes out, what is behind it waits");
    rig.producer.confirm();
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@6");
    rig.run();
    assert_eq!(rig.calls(), ["5 6 7"], "nothing more is delivered");
}

#[test]
fn a_refused_output_that_stops_lets_everything_of_earlier_messages_out_and_nothing_behind() {
    let mut rig = Rig::reading(["ack"; 3]);
    rig.handler.answers(|batch, reply| {
        for (message, value) in [(1, "6"), (2, "7"), (0, "5")] {
            reply.emit(batch, message, 0, value);
        }
        Ok(3)
    });
    rig.producer.refuses("out 6", Topic, 1);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 5"], "7 is behind the stop, 5 was emitted late and is in front of it");
    assert_eq!(rig.state(), "waiting 6: the output topic takes nothing: CODE: no");
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 6);
}

#[test]
fn outputs_of_a_message_that_has_to_wait_do_not_complete_what_is_behind_it() {
    let mut rig = Rig::reading(["echo echo1", "echo"]);
    rig.producer.refuses("out1 5", Topic, 1);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 5"]);
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 5, "the first message itself was not settled");
    assert!(rig.partition(0).lock().is_settled());
}

#[test]
fn a_stop_in_front_of_a_retry_is_no_attempt_of_the_message_it_stops_at() {
    let mut rig = Rig::reading(["echo", "retry"]);
    rig.producer.refuses("out 5", Topic, 1);
    rig.run();
    rig.commit();
    assert!(rig.state().starts_with("waiting 5"));
    assert_eq!(rig.coordinator.asked(), [""; 0], "no attempts in the note");
    assert_eq!(rig.partition(0).lock().retry(), None);
}

#[test]
fn an_output_that_can_never_be_sent_fails_its_message() {
    let mut rig = Rig::reading(["echo", "echo"]);
    rig.producer.refuses("out 5", Message, 1);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out 6", "dead 5"]);
    let dead = rig.producer.get(1);
    assert_eq!((dead.header("wasmill.error"), dead.header("wasmill.reason")), ("refused", "CODE: no"));
}

#[test]
fn an_output_that_can_never_be_sent_stops_the_partition_where_failures_stop_it() {
    let mut rig = Rig::new("on_exhausted = \"stop\"").read(["echo", "echo", "echo"]);
    rig.producer.refuses("out 6", Message, 1);
    rig.run();
    assert_eq!(rig.state(), "stopped 6: message 6 was given up (refused): CODE: no");
    assert_eq!(rig.producer.sent(), ["out 5"]);
}

#[test]
fn a_topic_number_that_is_not_granted_fails_the_message() {
    let mut rig = Rig::reading(["echo7", "echo1"]);
    rig.run();
    assert_eq!(rig.producer.sent(), ["out1 6", "dead 5"]);
    assert_eq!(rig.producer.get(1).header("wasmill.reason"), "topic number 7 is not granted");
}

#[test]
fn a_dead_letter_that_is_refused_whole_is_not_published_in_part_and_stops_its_partition() {
    let mut rig = Rig::reading(["reject", "ack"]);
    rig.producer.refuses("dead 5", Message, 1);
    rig.run();
    assert_eq!((rig.state(), rig.producer.sent()), ("stopped 5: dead letter refused: CODE: no".to_owned(), vec![]));
}

#[test]
fn a_refused_dead_letter_goes_once_more_with_headers_only_where_that_is_allowed() {
    let mut rig = Rig::new(STRIP).read(["reject", "ack"]);
    rig.producer.refuses("dead 5", Message, 1);
    rig.settle();
    assert_eq!(rig.producer.sent(), ["dead 5 bare"]);
    let dead = rig.producer.get(0);
    assert_eq!((dead.header("traceparent"), dead.header("wasmill.reason")), ("", "never"));
    assert_ne!(dead.header("wasmill.stripped"), "", "it is told from a tombstone");
    assert_eq!(rig.coordinator.last(), "0@7");
}

#[test]
fn a_partition_stops_at_a_message_whose_dead_letter_is_not_taken_at_all() {
    let mut rig = Rig::reading(["echo", "reject", "echo"]);
    rig.producer.refuses("dead 6", Message, 1);
    rig.run();
    assert_eq!(rig.state(), "stopped 6: dead letter refused: CODE: no");
    rig.producer.confirm();
    assert_eq!(rig.watermark(), 6);
    assert_eq!(rig.resume(None), Ok(6));
    rig.settle();
    assert_eq!(rig.calls(), ["5 6 7", "6 7"], "5 is not delivered again");
    assert_eq!(rig.watermark(), 8);
}

#[test]
fn an_output_has_its_trace_and_the_time_of_its_message_and_the_digest_if_asked_for() {
    let settings = "output = { topic = \"out\", digest_header = true }";
    let mut rig = Rig::new(settings).read(["echo"]);
    rig.run();
    let out = rig.producer.get(0);
    assert_eq!((out.header("traceparent"), out.header("wasmill.plugin")), ("00-1", "v1"));
    assert_eq!((out.timestamp, out.key), (Some(1005), None));
}

#[test]
fn a_dead_letter_that_goes_round_keeps_its_first_story_apart() {
    use wasmill_core::partition::DeadLetterStage::Whole;
    use wasmill_core::{Batch, ErrorClass, GivenUp};

    let mut batch = Batch::new();
    batch.push(None, None, 9, None, 1).expect("small");
    batch.push_header(b"wasmill.offset", Some(b"5")).expect("small");
    let failed = GivenUp { message: 0, attempts: 1, class: ErrorClass::Rejected, reason: "ö".repeat(3000) };
    let id = super::rig::orders(0);
    let from =
        crate::dead_letter::Provenance { pipeline: "test", group: "g", digest: "v1", id: &id, first_failure_ms: None };
    let headers = crate::dead_letter::headers(&from, &batch.message(0), &failed, Whole);
    let get = |name: &str| {
        let found = headers.iter().find(|(one, _)| one == name.as_bytes());
        found.and_then(|(_, value)| value.clone()).map(|value| String::from_utf8(value).expect("text"))
    };
    assert_eq!((get("wasmill.earlier.offset").as_deref(), get("wasmill.offset").as_deref()), (Some("5"), Some("9")));
    assert_eq!(get("wasmill.reason").map(|reason| reason.len()), Some(4096), "cut between two characters");
    assert_eq!(get("wasmill.timestamp"), None);
}
