//! Where members begin, what they are told, how they end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use wasmill_core::NextOffset;
use wasmill_kafka::{
    AssignedPartition, Assignor, CommitEntry, CommitError, Member, MemberEvent, MemberHandle, MemberSettings,
    OutOfRange, Position, QueueProblem, RebalanceHandler, Start, TopicPartition,
};
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::shared::{Shared, shared, unique};

use crate::support::{Kept, Worker, keeping, settings, until};

struct Setting {
    shared: Shared,
    topic: String,
    group: String,
    settings: MemberSettings,
}

fn setting(name: &str, partitions: u32) -> Setting {
    let shared = shared().unwrap();
    let (topic, group) = (unique(name), unique(&format!("{name}-group")));
    shared.eye.create_topic(&topic, partitions, &[]).unwrap();
    let settings = settings(&shared.broker.bootstrap(), &group, &topic);
    Setting { shared, topic, group, settings }
}

impl Setting {
    fn produce(&self, partition: i32, count: usize) {
        let messages: Vec<_> = (0..count).map(|n| Message::new("k", n.to_string()).on(partition)).collect();
        self.shared.eye.produce(&self.topic, &messages).unwrap();
    }

    fn id(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }
}

fn offsets(kept: &Mutex<Kept>, partition: i32) -> Vec<i64> {
    kept.lock().unwrap().iter().filter(|(of, _)| *of == partition).map(|(_, read)| read.offset).collect()
}

#[test]
fn the_end_is_committed_before_anything_is_read_and_an_added_partition_begins_at_its_first_message() {
    let it = setting("late-partition", 2);
    it.produce(0, 5);
    let latest = MemberSettings { start: Start::At(Position::Latest), ..it.settings.clone() };
    let (worker, kept) = keeping(&latest, true);
    worker.wait_assigned(2);
    it.shared
        .eye
        .wait_committed(&it.group, &it.topic, &Offsets::from([(0, 5), (1, 0)]), Duration::from_secs(5))
        .unwrap();
    it.produce(0, 2);
    until("what came after the start", || offsets(&kept, 0) == [5, 6]);
    worker.stop();

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", it.shared.broker.bootstrap()).create().unwrap();
    // rust-rdkafka's answer is a future that some thread of its own completes; the topic tells when it is done.
    let (grown, options) = ([NewPartitions::new(&it.topic, 3)], AdminOptions::new());
    let _asked = admin.create_partitions(&grown, &options);
    until("the third partition", || it.shared.eye.end_offsets(&it.topic).is_ok_and(|ends| ends.len() == 3));
    it.produce(2, 4);

    let (worker, kept) = keeping(&latest, true);
    worker.wait_assigned(3);
    until("what was there before the partition was noticed", || offsets(&kept, 2) == [0, 1, 2, 3]);
    assert!(offsets(&kept, 0).is_empty(), "a partition with a commit goes on there");
    worker.stop();
}

#[test]
fn members_of_a_fresh_group_all_begin_at_the_end() {
    let it = setting("fresh", 4);
    for partition in 0..4 {
        it.produce(partition, 3);
    }
    let latest = MemberSettings { start: Start::At(Position::Latest), ..it.settings.clone() };
    let workers: Vec<_> = (0..3).map(|_| keeping(&latest, true)).collect();
    it.shared.eye.wait_members(&it.group, 3, Duration::from_secs(20)).unwrap();
    let all = Offsets::from([(0, 3), (1, 3), (2, 3), (3, 3)]);
    it.shared.eye.wait_committed(&it.group, &it.topic, &all, Duration::from_secs(10)).unwrap();
    for (worker, kept) in workers {
        worker.stop();
        assert!(kept.lock().unwrap().is_empty(), "a slower member must not take its partitions for new ones");
    }
}

#[test]
fn a_member_knows_the_id_by_which_the_coordinator_names_it() {
    let it = setting("member-id", 2);
    let workers: Vec<_> = (0..2).map(|_| keeping(&it.settings, true)).collect();
    it.shared.eye.wait_members(&it.group, 2, Duration::from_secs(20)).unwrap();
    let admin = wasmill_kafka::admin::Admin::open(&it.settings.client).unwrap();
    let mut named: Vec<_> = admin.group_describe(&it.group, Duration::from_secs(10)).unwrap().members;
    named.sort_by(|a, b| a.id.cmp(&b.id));
    let mut known: Vec<_> = workers.iter().map(|(worker, _)| worker.handle.member_id().unwrap()).collect();
    known.sort();
    assert_eq!(known, named.into_iter().map(|member| member.id).collect::<Vec<_>>());
    for (worker, _) in workers {
        let handle = worker.handle.clone();
        worker.stop();
        assert_eq!(handle.member_id(), None, "it has left");
    }
}

#[test]
fn begins_at_a_time() {
    let it = setting("time", 1);
    let messages: Vec<_> =
        (0..10).map(|n| Message { timestamp: Some(1_000_000 + n * 1000), ..Message::new("k", "v").on(0) }).collect();
    it.shared.eye.produce(&it.topic, &messages).unwrap();
    let (worker, kept) =
        keeping(&MemberSettings { start: Start::At(Position::Time(1_006_500)), ..it.settings.clone() }, true);
    until("what is that young", || offsets(&kept, 0) == [7, 8, 9]);
    worker.stop();
}

#[test]
fn goes_on_with_the_note_of_the_commit() {
    let it = setting("note", 1);
    it.produce(0, 3);
    let (worker, kept) = keeping(&it.settings, true);
    until("all", || kept.lock().unwrap().len() == 3);
    it.shared.eye.wait_committed(&it.group, &it.topic, &Offsets::from([(0, 3)]), Duration::from_secs(5)).unwrap();
    let entry = CommitEntry { id: it.id(0), next: NextOffset::at(2), note: "v1;kept#as it is".into() };
    assert_eq!(worker.handle.commit(&[entry], &|_| true), Ok(vec![]));
    let found = it.shared.eye.committed(&it.group, &it.topic).unwrap();
    assert_eq!((found[&0].offset, found[&0].metadata.as_str()), (2, "v1;kept#as it is#1"));
    // Not through the revoke, which would commit once more.
    let first = worker.desk.assigned.lock().unwrap()[0].1.clone();
    assert_eq!((first.note.as_str(), first.needs_first_commit), ("", true));
    worker.stop();
    let (worker, _) = keeping(&it.settings, true);
    worker.wait_assigned(1);
    let second = worker.desk.assigned.lock().unwrap()[0].1.clone();
    assert_eq!((second.start, second.needs_first_commit), (3, false));
    assert_eq!(second.topic_id, first.topic_id);
    assert!(second.topic_id.is_some_and(|id| id.len() == 22));
    worker.stop();
}

#[test]
fn a_committed_offset_that_retention_has_passed_stops_or_moves_as_told() {
    for (policy, moved_to) in [(OutOfRange::Stop, None), (OutOfRange::Earliest, Some(6)), (OutOfRange::Latest, Some(9))]
    {
        let it = setting("gone", 1);
        it.produce(0, 9);
        it.shared.eye.commit(&it.group, &it.topic, &Offsets::from([(0, 2)])).unwrap();
        it.shared.eye.delete_records(&it.topic, 0, 6).unwrap();
        let (worker, kept) = keeping(&MemberSettings { out_of_range: policy, ..it.settings.clone() }, true);
        worker.wait_assigned(1);
        let start = worker.desk.assigned.lock().unwrap()[0].1.clone();
        match moved_to {
            Some(to) => {
                assert_eq!((start.start, start.needs_first_commit), (to, true));
                assert!(start.reset.is_some_and(|text| text.contains("committed offset 2 ")));
                until("the rest", || worker.desk.next(&it.id(0)) == Some(9));
                assert_eq!(offsets(&kept, 0), (to..9).collect::<Vec<_>>());
            }
            None => {
                until("the problem", || worker.desk.held.lock().unwrap()[&it.id(0)].problem.is_some());
                let problem = worker.desk.held.lock().unwrap()[&it.id(0)].problem.clone();
                assert_eq!(problem, Some(QueueProblem::OutOfRange { offset: 2 }));
                // A fetch at an offset that is gone would be refused, and the partition given up.
                until("a fetch that was answered", || worker.handle.end_offset(&it.id(0)) == Some(9));
                assert!(kept.lock().unwrap().is_empty(), "nothing comes out of a partition that stopped");
                worker.seek(&it.id(0), 6).unwrap();
                until("what a seek lets through", || offsets(&kept, 0) == [6, 7, 8]);
            }
        }
        worker.stop();
    }
}

#[test]
fn retention_that_overtakes_a_reader_is_a_problem_and_not_a_jump() {
    let it = setting("overtaken", 1);
    it.produce(0, 5);
    let (worker, kept) = keeping(&it.settings, true);
    until("all", || offsets(&kept, 0).len() == 5);
    it.produce(0, 5);
    until("all", || offsets(&kept, 0).len() == 10);
    it.shared.eye.delete_records(&it.topic, 0, 8).unwrap();
    worker.seek(&it.id(0), 3).unwrap();
    until("the problem", || worker.desk.held.lock().unwrap()[&it.id(0)].problem.is_some());
    assert!(matches!(worker.desk.held.lock().unwrap()[&it.id(0)].problem, Some(QueueProblem::OutOfRange { .. })));
    let refused = worker.seek(&it.id(0), 8);
    assert!(refused.is_err_and(|error| error.contains("_STATE")), "librdkafka has given the partition up");
    worker.stop();
}

#[test]
fn a_deleted_topic_and_one_made_again_are_told_of() {
    for again in [false, true] {
        let it = setting("deleted", 1);
        it.produce(0, 1);
        let (worker, kept) = keeping(&it.settings, false);
        until("the message", || kept.lock().unwrap().len() == 1);
        it.shared.eye.delete_topic(&it.topic).unwrap();
        if again {
            until("the new topic", || it.shared.eye.create_topic(&it.topic, 1, &[]).is_ok());
        }
        until("being told", || {
            let events = worker.desk.events.lock().unwrap();
            events.iter().any(|event| match event {
                MemberEvent::TopicGone { topic } => !again && *topic == it.topic,
                MemberEvent::TopicMadeAgain { topic } => again && *topic == it.topic,
                _ => false,
            })
        });
        worker.stop();
    }
}

#[test]
fn a_second_process_with_the_same_instance_fences_the_first() {
    let it = setting("fenced", 1);
    let fixed = MemberSettings { instance_id: Some("one".into()), ..it.settings.clone() };
    let first = keeping(&fixed, true).0;
    first.wait_assigned(1);
    let second = keeping(&fixed, true).0;
    second.wait_assigned(1);
    until("the fence", || {
        first.desk.events.lock().unwrap().iter().any(|event| matches!(event, MemberEvent::Fenced { .. }))
    });
    let desk = first.stop();
    assert_eq!(*desk.revoked.lock().unwrap(), [(it.id(0), true)], "its partitions are lost, and it is told so");
    second.stop();
}

#[test]
fn a_moved_partition_goes_on_where_it_was_committed() {
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let it = setting("moved", 2);
        for partition in 0..2 {
            it.produce(partition, 100);
        }
        let sharing = MemberSettings { assignor, ..it.settings.clone() };
        let (first, kept) = keeping(&sharing, true);
        until("all", || kept.lock().unwrap().len() == 200);
        let (second, kept_too) = keeping(&sharing, true);
        second.wait_assigned(1);
        for partition in 0..2 {
            it.produce(partition, 50);
        }
        until("the rest", || kept.lock().unwrap().len() + kept_too.lock().unwrap().len() == 300);
        assert_eq!(kept_too.lock().unwrap().len(), 50, "what was committed is not read again ({assignor:?})");
        let revoked = first.desk.revoked.lock().unwrap().clone();
        assert!(!revoked.is_empty() && revoked.iter().all(|(_, lost)| !lost), "{revoked:?}");
        second.stop();
        first.stop();
    }
}

#[test]
fn a_member_that_left_answers_closed_and_its_queues_are_empty() {
    let it = setting("closed", 1);
    it.produce(0, 3);
    let mine = Arc::new(Mine::default());
    let member = Member::join(&it.settings, mine.clone()).unwrap();
    let handle = member.handle();
    until("the assignment", || {
        member.poll(Duration::from_millis(10));
        !mine.came.lock().unwrap().is_empty()
    });
    let mut came = mine.came.lock().unwrap().pop().unwrap();
    member.close();
    let entry = CommitEntry { id: it.id(0), next: NextOffset::at(1), note: String::new() };
    assert!(matches!(handle.commit(&[entry], &|_| true), Err(CommitError::Closed { .. })));
    assert!(handle.seek(&it.id(0), NextOffset::at(0)).is_err());
    assert_eq!((handle.end_offset(&it.id(0)), came.queue.idle_position()), (None, None));
    let mut batch = wasmill_core::Batch::new();
    assert_eq!(came.queue.take(10, &mut batch), wasmill_kafka::Taken::default());
    // On another thread, after the consumer: nothing of the consumer's may be touched.
    std::thread::spawn(move || drop(came)).join().unwrap();
}

#[test]
fn a_panic_in_a_callback_is_fatal_to_the_member_and_hangs_nothing() {
    for at in [At::Assigned, At::Revoked] {
        let it = setting("panic", 1);
        let member = Member::join(&it.settings, Arc::new(Panics(at))).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut fatal = false;
        while !fatal && at == At::Assigned {
            assert!(Instant::now() < deadline, "the panic was not told");
            fatal = matches!(member.poll(Duration::from_millis(20)), Some(MemberEvent::Fatal { .. }));
        }
        until("the assignment", || {
            member.poll(Duration::from_millis(10));
            at == At::Assigned || !member.handle().partitions().is_empty()
        });
        let leaving = Instant::now();
        member.close();
        assert!(leaving.elapsed() < Duration::from_secs(5));
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum At {
    Assigned,
    Revoked,
}

struct Panics(At);

impl RebalanceHandler for Panics {
    fn assigned(&self, _: &MemberHandle, _: Vec<AssignedPartition>) {
        assert!(self.0 != At::Assigned, "on purpose");
    }

    fn revoked(&self, _: &MemberHandle, _: &[TopicPartition], _: bool) {
        assert!(self.0 != At::Revoked, "on purpose");
    }
}

#[derive(Default)]
struct Mine {
    came: Mutex<Vec<AssignedPartition>>,
}

impl RebalanceHandler for Mine {
    fn assigned(&self, _: &MemberHandle, partitions: Vec<AssignedPartition>) {
        self.came.lock().unwrap().extend(partitions);
    }

    fn revoked(&self, _: &MemberHandle, _: &[TopicPartition], _: bool) {}
}

#[test]
fn a_refused_property_is_named() {
    let it = setting("refused", 1);
    let mut bad = it.settings.clone();
    bad.client.properties.insert("security.protocol".into(), "carrier pigeon".into());
    let error = Member::join(&bad, Arc::new(Mine::default())).err().unwrap();
    assert!(error.to_string().contains("security.protocol"), "{error}");
}

#[test]
fn a_static_member_comes_back_to_its_partitions() {
    let it = setting("static", 1);
    it.produce(0, 3);
    let fixed = MemberSettings { instance_id: Some("one".into()), ..it.settings.clone() };
    let (first, kept) = keeping(&fixed, true);
    until("all", || kept.lock().unwrap().len() == 3);
    first.stop();
    it.produce(0, 2);
    let (second, kept): (Worker, _) = keeping(&fixed, true);
    until("the rest", || offsets(&kept, 0) == [3, 4]);
    second.stop();
}
