//! One version after another, and one beside another.

use wasmill_config::CanaryBy;
use wasmill_core::partition::{Event as Happened, Start};
use wasmill_core::{CommitNote, Share, VersionNote};

use super::rig::{Rig, Watcher, orders};
use crate::deployed::{Deployed, First};
use crate::lane::Staged;
use crate::versions::{Candidate, Gets, Ruling, Split};

const ONE_BY_ONE: &str = "batch.messages = 1";

/// Where partition 0 passed on.
fn first(deployed: &Deployed) -> First {
    deployed.handover.partitions().into_iter().find(|(id, _)| *id == orders(0)).expect("it passed on").1
}

fn everything() -> Gets {
    Gets::Share(Split { by: CanaryBy::Partition, share: Share::ALL })
}

#[test]
fn a_version_takes_over_between_two_batches_and_its_first_offset_is_reported() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["ack"; 4]);
    let generation = rig.partition(0).generation.0;
    rig.round();
    let deployed = rig.deploy(rig.version(&rig.handler("v2")));
    assert_eq!(deployed.handover.waits(), [0]);
    rig.run();
    assert_eq!(rig.calls(), ["5", "v2 6", "v2 7", "v2 8"]);
    assert_eq!(first(&deployed), First { offset: 6, generation, attempt: None, rewound_to: None });
    assert_eq!((deployed.handover.waits(), deployed.handover.pauses().len()), (vec![], 1));
}

#[test]
fn a_message_that_is_retried_passes_on_with_its_attempt() {
    let mut rig = Rig::reading(["ack", "retry<3", "ack"]);
    let again = rig.run().expect("6 waits");
    let deployed = rig.deploy(rig.version(&rig.handler("v2")));
    rig.wait_until(again);
    let again = rig.run().expect("and waits again");
    assert_eq!(rig.calls(), ["5 6 7", "v2 6#2 7"]);
    assert_eq!((first(&deployed).offset, first(&deployed).attempt), (6, Some(2)));
    rig.wait_until(again);
    rig.wait(std::time::Duration::from_secs(60));
    rig.run();
    assert_eq!(rig.calls()[2..], ["v2 6#3 7"]);
}

#[test]
fn a_message_that_a_partition_stopped_at_passes_on_with_its_attempt() {
    let mut rig = Rig::reading(["retry<2 echo"]);
    let again = rig.run().expect("it waits");
    rig.wait_until(again);
    rig.producer.refuses("out 5", wasmill_kafka::ProduceErrorClass::Topic, 1);
    rig.run();
    assert!(rig.state().starts_with("waiting 5"));
    let deployed = rig.deploy(rig.version(&rig.handler("v2")));
    rig.run();
    assert_eq!((first(&deployed).offset, first(&deployed).attempt), (5, Some(2)));
}

#[test]
fn a_guest_that_was_made_beforehand_is_taken_and_the_old_one_is_dropped_by_whoever_waits() {
    let mut rig = Rig::reading(["ack"]);
    rig.run();
    let new = rig.handler("v2");
    let guest = new.guest();
    let deployed = rig.deploy(rig.version(&new));
    rig.lane.stage(Staged { version: deployed.version.clone(), guest });
    rig.log(0).write(6, ["ack"]);
    rig.run();
    assert_eq!((rig.calls(), new.starts()), (vec!["5".to_owned(), "v2 6".to_owned()], 1));
    assert_eq!(rig.handler.alive(), 1, "the lane does not stand still for that");
    assert!(deployed.handover.wait(rig.now()));
    assert_eq!(rig.handler.alive(), 0);
}

#[test]
fn a_rewind_behind_a_handover_is_told_to_it() {
    let mut rig = Rig::reading(["echo"]);
    rig.run();
    let deployed = rig.deploy(rig.version(&rig.handler("v2")));
    rig.log(0).write(6, ["ack"]);
    rig.run();
    rig.replace_producer();
    rig.run();
    assert_eq!((first(&deployed).offset, first(&deployed).rewound_to), (6, Some(5)));
    assert_eq!(rig.calls(), ["5", "v2 6", "v2 5"], "6 is complete");
}

#[test]
fn a_partition_that_comes_to_a_lane_later_is_in_the_handover_too() {
    let mut rig = Rig::new("");
    let deployed = rig.deploy(rig.version(&rig.handler("v2")));
    rig.run();
    rig.log(0).write(9, ["ack"]);
    rig.assign(0, 9);
    assert_eq!(first(&deployed).offset, 9);
}

#[test]
fn a_version_of_the_group_begins_once_all_before_it_is_confirmed_and_its_note_is_persisted() {
    let mut rig = Rig::of_group("").read(["echo"]);
    let note = VersionNote { epoch: 1, first: 5 };
    rig.run();
    assert_eq!(rig.calls(), [""; 0], "the first version has a note, too");
    rig.commit();
    assert_eq!(rig.coordinator.last(), format!("0@5 version {} from {}", note.epoch, note.first));
    rig.run();
    assert_eq!(rig.calls(), ["5"]);
    rig.deploy(rig.version(&rig.handler("v2")).at(4));
    rig.log(0).write(6, ["ack"]);
    rig.run();
    rig.commit();
    assert_eq!((rig.calls().len(), rig.coordinator.asked().len()), (1, 1), "5 is not confirmed");
    rig.producer.confirm();
    assert_eq!(rig.wakes(), 2, "for the note of the first version, and now");
    rig.run();
    assert_eq!(rig.calls().len(), 1);
    rig.commit();
    assert_eq!(rig.coordinator.last(), "0@6 version 4 from 6");
    rig.run();
    assert_eq!(rig.calls(), ["5", "v2 6"]);
}

#[test]
fn the_note_of_a_version_does_not_wait_out_the_interval() {
    let mut rig = Rig::of_group("commit.interval = \"1h\"").read(["ack"]);
    rig.run();
    rig.commit();
    assert_eq!(rig.coordinator.asked(), ["0@5 version 1 from 5"]);
}

#[test]
fn a_process_that_is_behind_the_group_is_delivered_nothing_until_it_runs_that_version() {
    let mut rig = Rig::of_group("");
    rig.log(0).write(5, ["ack"]);
    let note = CommitNote { version: Some(VersionNote { epoch: 4, first: 3 }), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, Start { note, ..start });
    rig.run();
    assert_eq!(rig.calls(), [""; 0]);
    assert_eq!(rig.state(), "behind: version 4 of the group has had messages of it and does not serve here yet");
    rig.deploy(rig.version(&rig.handler("v2")).at(4));
    rig.run();
    assert_eq!((rig.calls(), rig.state()), (vec!["v2 5".to_owned()], "running".to_owned()));
}

#[test]
fn a_version_of_a_control_topic_that_is_no_more_is_not_waited_for() {
    let mut rig = Rig::of_group("");
    rig.log(0).write(5, ["ack"]);
    let note = CommitNote { version: Some(VersionNote { epoch: 4, first: 3 }), ..CommitNote::default() };
    let start = rig.start(5);
    rig.assign_with(0, Start { note, ..start });
    rig.run();
    rig.partition(0).apply(Happened::Disowned(4));
    rig.settle();
    assert_eq!(rig.calls(), ["5"]);
}

#[test]
fn whoever_looks_on_hears_of_each_call_and_of_what_was_counted() {
    let mut rig = Rig::reading(["ack", "crash"]);
    let watcher = Watcher::new(None);
    rig.look_on(&watcher);
    rig.run();
    let alone = ["v1 called 1", "counted", "v1 called 1", "counted"];
    assert_eq!(watcher.told()[..2], ["v1 called 2", "counted"], "the crash");
    assert_eq!(watcher.told()[2..], alone);
}

#[test]
fn the_pipeline_suspends_when_that_is_ruled_and_goes_on_with_what_is_in_force_next() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["echo"; 4]);
    let watcher = Watcher::new(None);
    rig.look_on(&watcher);
    watcher.suspends_after(2);
    rig.run();
    assert_eq!(rig.calls(), ["5", "6"]);
    assert!(rig.shared.is_held() && rig.shared.hold_reason().is_none());
    assert_eq!(rig.producer.sent(), ["out 5", "out 6"], "what was delivered is settled");
    rig.deploy(rig.version(&rig.handler("v2")));
    rig.run();
    assert_eq!(rig.calls()[2..], ["v2 7", "v2 8"]);
}

#[test]
fn whoever_ruled_that_the_pipeline_suspends_hears_of_it_once_no_lane_begins_another_batch() {
    let breaker = "breaker = { given_up = 1, of = 4, first_given_up = 1, first_of = 4 }\nbatch.messages = 1";
    for by_breaker in [false, true] {
        let mut rig = Rig::new(breaker).read(["reject"; 4]);
        let watcher = Watcher::new(None);
        rig.look_on(&watcher);
        if by_breaker {
            watcher.takes_back();
        } else {
            watcher.suspends_after(2);
        }
        let (tells, told) = std::sync::mpsc::channel();
        let shared = rig.shared.clone();
        watcher.when_suspended(move || tells.send(shared.is_held()).expect("it is heard"));
        rig.run();
        assert_eq!(told.try_iter().next(), Some(true), "told, and suspended by then");
        assert_eq!(rig.calls().len(), 2);
        let told = watcher.told();
        assert_eq!(told.iter().position(|line| line == "suspended"), Some(if by_breaker { 4 } else { 3 }), "{told:?}");
    }
}

#[test]
fn a_version_that_is_taken_back_keeps_the_breaker_from_opening() {
    let breaker = "breaker = { given_up = 1, of = 4, first_given_up = 1, first_of = 4 }\nbatch.messages = 1";
    let mut rig = Rig::new(breaker).read(["reject"; 4]);
    let watcher = Watcher::new(None);
    rig.look_on(&watcher);
    watcher.takes_back();
    rig.run();
    assert_eq!((rig.calls().len(), rig.shared.hold_reason()), (2, None));
    assert!(rig.shared.is_held());
    // A lane that was in a call has something counted before another version is in force.
    rig.shared.record(1, &[0]);
    assert_eq!(rig.shared.hold_reason(), None);
    assert_eq!(watcher.told().iter().filter(|line| *line == "breaker").count(), 1);
    // The version could not be exchanged, and goes on without anybody who looks on.
    rig.shared.deploy(rig.shared.deployed().version.clone(), None, [0].into_iter());
    rig.shared.record(2, &[0, 1]);
    assert!(rig.shared.hold_reason().is_some(), "the breaker opens again");
}

#[test]
fn a_candidate_is_called_in_place_of_the_version_that_serves_and_judged_by_itself() {
    let mut rig = Rig::reading(["retry<2", "echo"]);
    let (candidate, watcher) = rig.try_out(rig.version(&rig.handler("v2")), everything());
    let again = rig.run().expect("5 waits");
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.calls(), ["v2 5 6", "v2 5#2 6"]);
    assert_eq!(watcher.told(), ["v2 called 2", "counted", "v2 called 2", "counted"]);
    assert_eq!(candidate.version.done.tally().messages, 2);
    assert_eq!(rig.shared.deployed().version.done.tally().messages, 0);
    assert_eq!(rig.handler.starts(), 0);
}

#[test]
fn a_withdrawn_candidate_gets_nothing_more_before_any_lane_has_passed_on() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["ack"; 3]);
    let (candidate, _) = rig.try_out(rig.version(&rig.handler("v2")), everything());
    rig.round();
    candidate.withdraw();
    rig.run();
    assert_eq!(rig.calls(), ["v2 5", "6", "7"]);
}

#[test]
fn a_candidate_that_served_its_trial_goes_on_with_the_guest_that_it_has() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["ack"; 3]);
    let new = rig.handler("v2");
    let (candidate, _) = rig.try_out(rig.version(&new), everything());
    rig.round();
    rig.shared.deploy(candidate.version.clone(), None, [0].into_iter());
    rig.run();
    assert_eq!((rig.calls(), new.starts()), (["v2 5", "v2 6", "v2 7"].map(str::to_owned).to_vec(), 1));
}

#[test]
fn a_crash_of_a_guest_that_came_from_a_trial_is_no_attempt() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["ack", "crash"]);
    let new = rig.handler("v2");
    let (candidate, _) = rig.try_out(rig.version(&new), everything());
    rig.round();
    rig.shared.deploy(candidate.version.clone(), None, [0].into_iter());
    assert_eq!(rig.run(), None, "nothing waits");
    assert_eq!(rig.calls(), ["v2 5", "v2 6", "v2 6"]);
}

#[test]
fn a_shadow_gets_copies_and_nothing_of_what_it_makes_of_them_counts() {
    let mut rig = Rig::reading(["echo", "ack"]);
    let new = rig.handler("v2");
    new.answers(|batch, reply| {
        reply.emit(batch, 0, 1, "other");
        reply.fail(1, wasmill_core::FailureKind::Reject);
        Ok(2)
    });
    let (candidate, watcher) = rig.try_out(rig.version(&new), Gets::Copies);
    rig.settle();
    assert_eq!(rig.calls(), ["5 6", "v2 5 6"]);
    assert_eq!(rig.producer.sent(), ["out 5"]);
    assert_eq!(rig.coordinator.last(), "0@7");
    assert_eq!(watcher.told(), ["v1 called 2", "shadowed 5 6: 2 out | 2 reject out", "counted"]);
    let tally = candidate.version.done.tally();
    assert_eq!((tally.messages, tally.given_up), (2, 1));
}

#[test]
fn a_shadow_gets_no_second_attempts() {
    let mut rig = Rig::reading(["ack", "retry<2"]);
    rig.try_out(rig.version(&rig.handler("v2")), Gets::Copies);
    let again = rig.run().expect("6 waits");
    rig.wait_until(again);
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "v2 5 6", "6#2"]);
}

#[test]
fn a_shadow_that_crashes_disturbs_nobody_and_is_told() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["echo", "ack"]);
    let new = rig.handler("v2");
    new.answers(|_, _| Err(super::rig::crash(wasmill_core::ErrorClass::Memory)));
    let (candidate, watcher) = rig.try_out(rig.version(&new), Gets::Copies);
    rig.settle();
    assert_eq!((rig.coordinator.last(), rig.producer.sent()), ("0@7".to_owned(), vec!["out 5".to_owned()]));
    assert!(watcher.told().contains(&"shadowed 5: 1 out | memory".to_owned()), "{:?}", watcher.told());
    assert_eq!((candidate.version.done.tally().crashes, new.starts()), (2, 2), "a fresh one each time");
}

#[test]
fn a_shadow_that_cannot_start_is_done_without() {
    let mut rig = Rig::reading(["ack"]);
    let new = rig.handler("v2");
    new.fails_to_start(1);
    rig.try_out(rig.version(&new), Gets::Copies);
    rig.run();
    assert_eq!((rig.calls(), rig.watermark()), (vec!["5".to_owned()], 6));
}

#[test]
fn the_candidate_of_a_trial_that_is_over_is_not_cancelled_any_more() {
    let mut rig = Rig::reading(["ack"]);
    let new = rig.handler("v2");
    rig.try_out(rig.version(&new), everything());
    rig.run();
    let gone = new.canceller();
    rig.shared.deploy(rig.shared.deployed().version.clone(), None, [0].into_iter());
    rig.run();
    rig.lane.cancel();
    assert!(!gone.is_cancelled());
}

#[test]
fn another_version_begins_with_a_breaker_of_its_own_and_the_same_one_does_not() {
    let breaker = "breaker = { given_up = 1, of = 4, first_given_up = 1, first_of = 4 }\nbatch.messages = 1";
    for other in [false, true] {
        let mut rig = Rig::new(breaker).read(["reject"; 4]);
        rig.round();
        if other {
            rig.deploy(rig.version(&rig.handler("v2")));
        } else {
            rig.look_on(&Watcher::new(None));
        }
        rig.run();
        assert!(rig.shared.hold_reason().is_some());
        assert_eq!(rig.calls().len(), if other { 3 } else { 2 });
        rig.shared.release();
        rig.run();
        assert_eq!(rig.calls().len(), 4, "a release begins anew, too");
        assert_eq!(rig.shared.hold_reason().is_some(), !other);
    }
}

#[test]
fn a_lane_that_finds_out_what_is_in_force_no_longer_does_not_end_a_suspension() {
    let rig = Rig::new("");
    let watcher = Watcher::new(None);
    rig.look_on(&watcher);
    let serial = rig.shared.deployed_serial();
    rig.shared.obey(Ruling::Suspend, &*watcher, serial);
    rig.shared.obey(Ruling::Suspend, &*watcher, serial - 1);
    assert!(rig.shared.is_held());
}

#[test]
fn a_shadow_that_was_withdrawn_gets_nothing_more_before_any_lane_has_passed_on() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["ack"; 2]);
    let (candidate, _) = rig.try_out(rig.version(&rig.handler("v2")), Gets::Copies);
    rig.round();
    candidate.withdraw();
    rig.run();
    assert_eq!(rig.calls(), ["5", "v2 5", "6"]);
}

#[test]
fn a_shadow_gets_no_message_a_second_time_that_the_version_that_serves_did_not_reach() {
    let mut rig = Rig::reading(["ack", "ack"]);
    rig.handler.answers(|_, _| Ok(1));
    rig.try_out(rig.version(&rig.handler("v2")), Gets::Copies);
    rig.run();
    assert_eq!(rig.calls(), ["5 6", "v2 5 6", "6"]);
}

#[test]
fn of_the_guests_that_were_made_beforehand_the_one_of_the_version_in_force_is_taken() {
    let mut rig = Rig::reading(["ack"]);
    let (two, three) = (rig.handler("v2"), rig.handler("v3"));
    let other = std::sync::Arc::new(rig.version(&three));
    rig.lane.stage(Staged { version: other, guest: three.guest() });
    let deployed = rig.deploy(rig.version(&two));
    rig.lane.stage(Staged { version: deployed.version.clone(), guest: two.guest() });
    rig.run();
    assert_eq!((rig.calls(), two.starts(), rig.lane.unstage().len()), (vec!["v2 5".to_owned()], 1, 1));
}

#[test]
fn what_stays_in_force_goes_on_with_the_guests_that_it_has() {
    let mut rig = Rig::new(ONE_BY_ONE).read(["ack"; 3]);
    let new = rig.handler("v2");
    let (candidate, _) = rig.try_out(rig.version(&new), Gets::Copies);
    rig.round();
    // The next step of a trial.
    let next = std::sync::Arc::new(Candidate::new(candidate.version.clone(), Gets::Copies));
    rig.look_on(&Watcher::new(Some(next)));
    rig.run();
    assert_eq!(rig.calls(), ["5", "v2 5", "6", "v2 6", "7", "v2 7"]);
    assert_eq!((rig.handler.starts(), new.starts()), (1, 1));
}

#[test]
fn a_new_assignment_begins_with_a_new_guest_of_the_candidate_too() {
    let mut rig = Rig::reading(["ack"]);
    let new = rig.handler("v2");
    rig.try_out(rig.version(&new), Gets::Copies);
    rig.run();
    assert_eq!(new.alive(), 1);
    rig.assign(1, 0);
    assert_eq!(new.alive(), 0);
}
