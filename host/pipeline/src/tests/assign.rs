//! Partitions that come and go, and what status says of them.

use wasmill_core::partition::{Closed, Event as Happened, Start, State};

use super::rig::{Rig, orders};
use crate::lane::Command;

#[test]
fn a_new_assignment_begins_with_a_new_instance() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    rig.log(1).write(0, ["ack"]);
    rig.assign(1, 0);
    assert_eq!(rig.handler.alive(), 0, "what it remembers is of other partitions");
    rig.run();
    assert_eq!((rig.handler.starts(), rig.handler.alive()), (2, 1));
}

#[test]
fn a_released_partition_is_delivered_nothing_and_the_others_go_on() {
    let mut rig = Rig::reading(["ack"]);
    rig.log(1).write(0, ["ack"]);
    rig.assign(1, 0);
    let (done, hears) = std::sync::mpsc::channel();
    let partitions = vec![rig.partition(0)];
    rig.worker.obey(Command::Release { partitions, done });
    assert_eq!(hears.try_recv(), Ok(()), "answered once that is so");
    rig.run();
    assert_eq!(rig.calls(), ["p1 0"]);
}

#[test]
fn a_release_takes_a_cancellation_back() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    let guest = rig.handler.guest();
    let canceller = guest.canceller().expect("it has one");
    rig.lane.set_canceller(wasmill_core::Side::Serving, Some(canceller.clone()));
    rig.lane.cancel();
    assert!(canceller.is_cancelled());
    rig.release(0);
    assert!(!canceller.is_cancelled(), "the next call is somebody else's");
}

#[test]
fn a_partition_that_leaves_is_delivered_nothing_more() {
    let mut rig = Rig::new("batch.messages = 1").read(["ack"; 2]);
    rig.round();
    rig.partition(0).apply(Happened::Leave);
    rig.run();
    assert_eq!((rig.calls(), rig.watermark()), (vec!["5".to_owned()], 6));
}

#[test]
fn what_a_call_came_to_counts_while_its_partition_leaves_and_not_once_it_is_closed() {
    for closed in [false, true] {
        let mut rig = Rig::reading(["ack"]);
        let partition = rig.partition(0);
        rig.handler.answers(move |batch, reply| {
            partition.apply(Happened::Leave);
            if closed {
                partition.close(Closed::Lost);
            }
            reply.emit(batch, 0, 0, "5");
            Ok(1)
        });
        rig.run();
        rig.producer.confirm();
        assert_eq!(rig.watermark(), if closed { 5 } else { 6 });
    }
}

#[test]
fn a_call_of_an_epoch_that_is_over_publishes_nothing() {
    let mut rig = Rig::reading(["ack"]);
    let partition = rig.partition(0);
    rig.handler.answers(move |batch, reply| {
        if batch.message(0).attempt == 1 {
            partition.lock().rewind(std::time::Instant::now());
        }
        reply.emit(batch, 0, 0, "5");
        Ok(1)
    });
    rig.round();
    assert_eq!((rig.calls(), rig.producer.sent()), (vec!["5".to_owned()], vec![]));
    assert_eq!(rig.watermark(), 5);
}

#[test]
fn partitions_of_a_lane_have_one_batch_each_in_turn() {
    let mut rig = Rig::new("batch.messages = 1").read(["ack"; 3]);
    rig.log(1).write(0, ["ack"; 2]);
    rig.assign(1, 0);
    rig.run();
    assert_eq!(rig.calls(), ["5", "p1 0", "6", "p1 1", "7"]);
}

#[test]
fn a_lane_answers_its_mail_between_two_partitions() {
    let mut rig = Rig::reading(["ack"]);
    rig.log(1).write(0, ["ack"]);
    rig.assign(1, 0);
    rig.lane.tell(Command::RewindAll);
    assert_eq!(rig.round(), None, "it looks at once");
    assert_eq!(rig.calls(), ["5"]);
    assert_eq!(rig.lane.mail().len(), 1);
}

#[test]
fn status_tells_what_a_partition_does_in_a_word() {
    let mut rig = Rig::new("batch.messages = 2").read(["echo", "echo", "ack", "retry"]);
    rig.run();
    let status = rig.status(0);
    assert_eq!((status.state, status.offset, status.attempt), (State::Waiting.into(), Some(8), Some(2)));
    assert_eq!((status.position, status.watermark, status.committed), (9, 5, Some(5)));
    assert_eq!((status.span_messages, status.lane, status.end, status.lag), (4, None, None, None));
    assert_eq!(status.reason.as_deref(), Some("later"));
    let work = rig.handle.status(&rig.shared.deployed()).work;
    assert_eq!((work.outputs_in_flight, work.generations, work.held), (2, 1, None));
    assert!(!work.ready, "its member has not joined");
}

#[test]
fn status_tells_which_version_serves() {
    let mut rig = Rig::reading(["ack"]);
    rig.deploy(rig.version(&rig.handler("v2")));
    rig.run();
    let serving = rig.handle.status(&rig.shared.deployed()).serving;
    assert_eq!((&*serving.plugin, serving.swaps, &*serving.name), ("v2", 1, "test"));
}

#[test]
fn status_shows_a_stop_before_a_pause_and_a_wait_before_a_pause() {
    let mut rig = Rig::new("on_exhausted = \"stop\"").read(["retry"]);
    rig.run();
    rig.handle.pause(None);
    assert_eq!(rig.state(), "waiting 5#2: later");
    let reason = "nobody knows".to_owned();
    rig.partition(0).apply(Happened::Stop { offset: 5, class: wasmill_core::partition::StopClass::Failed, reason });
    assert_eq!(rig.state(), "stopped 5: nobody knows");
}

#[test]
fn a_first_position_is_shown_as_starting() {
    let mut rig = Rig::new("");
    let start = rig.start(5);
    rig.assign_with(0, Start { committed: None, opening: true, ..start });
    assert_eq!((rig.state(), rig.status(0).committed), ("starting".to_owned(), None));
}

#[test]
fn a_release_of_an_earlier_assignment_leaves_the_later_one_with_the_lane() {
    let mut rig = Rig::reading(["ack"]);
    let earlier = rig.partition(0);
    // Another member of the process got it, and its lane is the same.
    let later = rig.assign(0, 5);
    assert!(!std::sync::Arc::ptr_eq(&earlier, &later));
    let (done, hears) = std::sync::mpsc::channel();
    rig.worker.obey(Command::Release { partitions: vec![earlier], done });
    assert_eq!(hears.try_recv(), Ok(()));
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
    assert_eq!(later.lock().tracker().watermark().get(), 6);
}

#[test]
fn a_resume_of_an_earlier_assignment_does_nothing_to_the_later_one() {
    let mut rig = Rig::new("on_exhausted = \"stop\"").read(["reject", "ack"]);
    let earlier = rig.partition(0);
    rig.release(0);
    rig.assign(0, 5);
    rig.run();
    assert!(rig.state().starts_with("stopped 5"));
    let (done, mut answer) = tokio::sync::oneshot::channel();
    rig.worker.obey(Command::Resume { partition: earlier, skip: Some(5), done });
    assert_eq!(answer.try_recv(), Ok(Err(format!("partition {} is not here", orders(0)))));
    rig.run();
    assert!(rig.state().starts_with("stopped 5"));
    assert_eq!(rig.calls(), ["5 6"]);
}

#[test]
fn the_first_id_of_a_topic_is_the_one_that_is_remembered() {
    let rig = Rig::new("");
    assert_eq!(rig.shared.first_topic_id("orders"), None);
    rig.shared.note_topic_id("orders", "id-1");
    rig.shared.note_topic_id("orders", "id-2");
    assert_eq!(rig.shared.first_topic_id("orders").as_deref(), Some("id-1"));
}

#[test]
fn a_lane_looks_again_when_the_first_of_its_partitions_is_due() {
    let mut rig = Rig::reading(["retry"]);
    let first = rig.run().expect("5 waits");
    rig.wait(std::time::Duration::from_secs(1));
    rig.log(1).write(0, ["retry", "retry", "retry"]);
    rig.assign(1, 0);
    rig.partition(1).apply(Happened::Retry {
        offset: 0,
        attempt: 2,
        until: first + std::time::Duration::from_secs(60),
        now_ms: 0,
        reason: "later".to_owned(),
    });
    assert_eq!(rig.run(), Some(first));
}
