//! The broker goes away and comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use wasmill_core::NextOffset;
use wasmill_kafka::{
    AssignedPartition, Assignor, CommitEntry, CommitError, Member, MemberHandle, MemberSettings, RebalanceHandler,
    TopicPartition,
};
use wasmill_tests::broker::{Broker, Options};
use wasmill_tests::eye::Offsets;
use wasmill_tests::shared::{Place, unique};
use wasmill_tests::signal::Signal;

use crate::support::{keeping, settings, until};

const PARTITIONS: i32 = 3;

fn outage() -> Duration {
    let seconds = std::env::var("OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    Duration::from_secs(seconds)
}

fn producing(bootstrap: &str, topic: &str, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Offsets> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "0")
        .create()
        .unwrap();
    let topic = topic.to_owned();
    std::thread::spawn(move || {
        let mut ends = Offsets::new();
        while !stop.load(Ordering::Relaxed) {
            for partition in 0..PARTITIONS {
                let record: BaseRecord<'_, str, str> =
                    BaseRecord::to(&topic).partition(partition).key("k").payload("v");
                if producer.send(record).is_ok() {
                    *ends.entry(partition).or_default() += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        ends
    })
}

fn run(assignor: Assignor) {
    let _place = Place::take();
    let broker = Broker::start(&Options::default()).unwrap();
    let eye = broker.eye().unwrap();
    let (topic, group) = (unique("outage"), unique("outage-group"));
    eye.create_topic(&topic, PARTITIONS as u32, &[]).unwrap();
    let mut member = settings(&broker.bootstrap(), &group, &topic);
    member.assignor = assignor;
    let stop = Arc::new(AtomicBool::new(false));
    let producer = producing(&broker.bootstrap(), &topic, stop.clone());
    let (worker, kept) = keeping(&member, true);
    worker.wait_assigned(PARTITIONS as usize);
    until("messages before the outage", || kept.lock().unwrap().len() > 1000);
    broker.kill().unwrap();
    std::thread::sleep(outage());
    let before = kept.lock().unwrap().len();
    broker.start_again().unwrap();
    let back = Instant::now();
    until("messages after the outage", || kept.lock().unwrap().len() > before + 1000);
    let flowing = back.elapsed();
    stop.store(true, Ordering::Relaxed);
    let ends = producer.join().unwrap();
    until("everything", || {
        let mut last = BTreeMap::new();
        for (partition, read) in kept.lock().unwrap().iter() {
            let next = last.entry(*partition).or_insert(0);
            *next = i64::max(*next, read.offset + 1);
        }
        last == ends
    });
    eye.wait_committed(&group, &topic, &ends, Duration::from_secs(15)).unwrap();
    let desk = worker.stop();
    let total: i64 = ends.values().sum();
    let mut events = BTreeMap::<String, u32>::new();
    for event in desk.events.lock().unwrap().iter() {
        *events.entry(format!("{event:?}").chars().take(60).collect()).or_default() += 1;
    }
    eprintln!(
        "outage under {assignor:?}: {} messages, {} read, flowing {flowing:?} after the start; commits {}, refused {:?}; \
         revoked {:?}; events {events:?}",
        total,
        kept.lock().unwrap().len(),
        desk.commits.load(Ordering::Relaxed),
        desk.refused.lock().unwrap(),
        desk.revoked.lock().unwrap(),
    );
}

#[test]
fn reading_and_committing_go_on_after_an_outage_under_range() {
    run(Assignor::Range);
}

#[test]
fn reading_and_committing_go_on_after_an_outage_under_cooperative_sticky() {
    run(Assignor::CooperativeSticky);
}

/// The note of what the member that leaves commits: so its commits are told from the next owner's.
const LEAVER: &str = "leaver";

#[derive(Default)]
struct Leaving {
    came: Mutex<Vec<AssignedPartition>>,
    waited: Mutex<Option<Duration>>,
    /// Revokes after the first: there are none.
    later: AtomicBool,
}

impl RebalanceHandler for Leaving {
    fn assigned(&self, _: &MemberHandle, partitions: Vec<AssignedPartition>) {
        self.came.lock().unwrap().extend(partitions);
    }

    fn revoked(&self, handle: &MemberHandle, partitions: &[TopicPartition], _: bool) {
        let entries: Vec<_> = partitions
            .iter()
            .map(|id| CommitEntry { id: id.clone(), next: NextOffset::at(0), note: LEAVER.to_owned() })
            .collect();
        let asked = Instant::now();
        assert!(handle.commit(&entries, &|_| true).is_err(), "nobody is there to answer");
        let before = self.waited.lock().unwrap().replace(asked.elapsed());
        self.later.fetch_or(before.is_some(), Ordering::Relaxed);
    }
}

/// A commit's ten seconds, then seven for the client, with room for a busy machine.
const LEAVING: Duration = Duration::from_secs(25);

/// A member that holds a partition of a broker of its own.
fn holding(name: &str, assignor: Assignor) -> (Broker, MemberSettings, Member, Arc<Leaving>) {
    let broker = Broker::start(&Options::default()).unwrap();
    let (topic, group) = (unique(name), unique(&format!("{name}-group")));
    broker.eye().unwrap().create_topic(&topic, 1, &[]).unwrap();
    let leaving = Arc::new(Leaving::default());
    let settings = MemberSettings { assignor, ..settings(&broker.bootstrap(), &group, &topic) };
    let member = Member::join(&settings, leaving.clone()).unwrap();
    until("the assignment", || {
        member.poll(Duration::from_millis(10));
        !leaving.came.lock().unwrap().is_empty()
    });
    (broker, settings, member, leaving)
}

/// Threads on which clients end that were left behind.
fn left_behind() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "leaving").count()
}

#[test]
fn leaving_while_the_broker_is_away_has_a_bound() {
    let _place = Place::take();
    let (broker, _, member, leaving) = holding("leaving", Assignor::Range);
    broker.kill().unwrap();
    let asked = Instant::now();
    member.close();
    let (took, waited) = (asked.elapsed(), leaving.waited.lock().unwrap().unwrap());
    eprintln!("leaving took {took:?}, of which the commit {waited:?}");
    assert!(took < LEAVING, "{took:?}");
    until("the client's end", || left_behind() == 0);
}

#[test]
fn leaving_a_broker_that_stands_still_has_a_bound_and_nothing_comes_of_it_later() {
    let _place = Place::take();
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let (broker, settings, member, leaving) = holding("frozen", assignor);
        let handle = member.handle();
        broker.signal(Signal::Stop).unwrap();
        let asked = Instant::now();
        member.close();
        let (took, waited) = (asked.elapsed(), leaving.waited.lock().unwrap().unwrap());
        eprintln!("leaving under {assignor:?} took {took:?}, of which the commit {waited:?}; {} left", left_behind());
        assert!(took < LEAVING, "{took:?}");
        broker.signal(Signal::Cont).unwrap();
        let id = TopicPartition::new(settings.topics[0].as_str(), 0);
        let entry = |next| CommitEntry { id: id.clone(), next: NextOffset::at(next), note: String::new() };
        assert!(matches!(handle.commit(&[entry(3)], &|_| true), Err(CommitError::Closed { .. })));
        // The group forgets the member, and its partition goes to another, whose commit stays.
        let (worker, _) = keeping(&settings, true);
        // While the group finds out that the other is gone it may share out twice, and refuse commits in between.
        until("a commit of the next owner", || worker.handle.commit(&[entry(7)], &|_| true) == Ok(vec![]));
        until("the client's end", || left_behind() == 0);
        // What had been sent when the broker froze may come first, while the group still knows the member; nothing after.
        let commits = broker.eye().unwrap().commits(&settings.group, &settings.topics[0]).unwrap();
        let mut next_owners = commits.iter().skip_while(|commit| commit.metadata.starts_with(LEAVER));
        assert!(next_owners.all(|commit| !commit.metadata.starts_with(LEAVER)), "{commits:?}");
        assert!(commits.iter().any(|commit| commit.offset == 7), "{commits:?}");
        assert!(!leaving.later.load(Ordering::Relaxed), "the handler is told once");
        worker.stop();
    }
}
