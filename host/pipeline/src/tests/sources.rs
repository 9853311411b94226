//! What a source reports beside messages.

use wasmill_core::partition::Start;
use wasmill_core::{CommitNote, DoneSet, Offset};
use wasmill_kafka::QueueProblem;

use super::rig::Rig;
use crate::shared::Event;

fn unreadable() -> QueueProblem {
    QueueProblem::Other { code: "BAD".to_owned(), text: "cannot be decoded".to_owned() }
}

#[test]
fn behind_an_error_a_source_is_put_back_to_the_position_of_the_lane() {
    let mut rig = Rig::reading(["ack"; 3]);
    rig.log(0).fails_at(7, unreadable());
    let again = rig.run().expect("it is asked again");
    assert_eq!(
        (rig.calls(), rig.log(0).seeks()),
        (vec!["5 6".to_owned()], vec![]),
        "what was taken is delivered first"
    );
    assert_eq!(rig.state(), "waiting 7: cannot be read at offset 7: cannot be decoded (BAD)");
    rig.wait_until(again);
    rig.run();
    assert_eq!((rig.calls()[1..].to_vec(), rig.log(0).seeks()), (vec!["7".to_owned()], vec![7]));
}

#[test]
fn what_was_taken_before_an_error_is_delivered_before_the_source_is_put_back() {
    let mut rig = Rig::reading(["retry<2", "ack"]);
    rig.log(0).fails_at(7, unreadable());
    let again = rig.run().expect("5 waits");
    assert_eq!(rig.log(0).seeks(), [0; 0]);
    rig.wait_until(again);
    // By then its pause is over as well.
    rig.wait(std::time::Duration::from_secs(1));
    rig.run();
    assert_eq!((rig.calls(), rig.log(0).seeks()), (vec!["5 6".to_owned(), "5#2 6".to_owned()], vec![7]));
}

#[test]
fn what_was_taken_and_not_delivered_goes_before_the_source_is_put_back_too() {
    let mut rig = Rig::new("");
    rig.log(0).write(5, ["ack"; 4]);
    rig.log(0).fails_at(9, unreadable());
    let mut done = DoneSet::new();
    done.insert(Offset(6), Offset(6));
    let start = rig.start(5);
    rig.assign_with(0, Start { note: CommitNote { done, ..CommitNote::default() }, ..start });
    let again = rig.run().expect("it is asked again");
    assert_eq!((rig.calls(), rig.log(0).seeks()), (vec!["5".to_owned(), "7 8".to_owned()], vec![]));
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.log(0).seeks(), [9]);
}

#[test]
fn an_error_alone_does_not_move_the_watermark() {
    let mut rig = Rig::reading(["ack"]);
    rig.log(0).fails_at(6, unreadable());
    let again = rig.run().expect("it is asked again");
    rig.commit();
    assert_eq!((rig.coordinator.last(), rig.log(0).seeks()), ("0@6".to_owned(), vec![]));
    rig.wait_until(again);
    rig.run();
    assert_eq!((rig.coordinator.last(), rig.log(0).seeks()), ("0@6".to_owned(), vec![6]));
}

#[test]
fn a_position_out_of_range_stops_the_partition_behind_what_was_taken() {
    let mut rig = Rig::reading(["ack", "ack"]);
    rig.log(0).fails_at(7, QueueProblem::OutOfRange { offset: 7 });
    rig.run();
    let reason = "offset 7 is out of range: retention overtook the group, or the topic was made again; `wasmill resume` goes on at the first message that is left";
    assert_eq!(rig.state(), format!("stopped 7: {reason}"));
    assert_eq!((rig.calls(), rig.events().len()), (vec!["5 6".to_owned()], 0));
}

#[test]
fn a_position_out_of_range_asks_for_a_new_client_where_the_pipeline_says_so() {
    let mut rig = Rig::new("out_of_range = \"earliest\"").read(["ack"]);
    rig.log(0).fails_at(6, QueueProblem::OutOfRange { offset: 6 });
    rig.run();
    assert!(rig.state().starts_with("waiting: offset 6 is out of range"), "{}", rig.state());
    assert!(matches!(&rig.events()[..], [Event::MemberFailed { member: 0, reason }] if reason.starts_with("offset 6")));
}

#[test]
fn a_group_without_an_offset_stops_where_it_may_not_begin() {
    let mut rig = Rig::new("start = \"error\"");
    rig.log(0).fails_at(5, QueueProblem::NoOffset);
    let start = rig.start(5);
    rig.assign_with(0, Start { committed: None, ..start });
    rig.run();
    let reason = "the group has committed no offset and start is \"error\"; `wasmill resume` begins at 5, the first message, `wasmill group reset` moves a group that nobody is in";
    assert_eq!(rig.state(), format!("stopped 5: {reason}"));
    rig.commit();
    assert_eq!(rig.coordinator.asked(), [""; 0]);
}

#[test]
fn gaps_between_messages_are_complete_with_them() {
    let mut rig = Rig::new("batch.messages = 1");
    rig.log(0).write(5, ["echo"]);
    rig.log(0).write(20, ["echo"]);
    rig.assign(0, 5);
    rig.run();
    rig.producer.confirm();
    rig.commit();
    assert_eq!((rig.calls(), rig.coordinator.last()), (vec!["5".to_owned(), "20".to_owned()], "0@21".to_owned()));
}
