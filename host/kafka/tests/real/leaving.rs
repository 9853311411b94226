//! Members that leave in the middle of a cooperative rebalance.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmill_core::NextOffset;
use wasmill_kafka::{
    AssignedPartition, Assignor, CommitEntry, Member, MemberHandle, MemberSettings, RebalanceHandler, TopicPartition,
};
use wasmill_tests::shared::{Shared, shared, unique};

use crate::support::{settings, until};

const PARTITIONS: u32 = 6;

/// A partition's last commit: what was due, and what became of it.
type End = (TopicPartition, i64, Result<(), String>);

/// Says that everything below an offset is complete, and commits that when partitions go.
#[derive(Default)]
struct Desk {
    held: Mutex<Vec<AssignedPartition>>,
    complete: AtomicI64,
    /// The last commits.
    ends: Mutex<Vec<End>>,
    /// How long it drains before it commits.
    drain: Mutex<Duration>,
    draining: AtomicBool,
}

impl Desk {
    fn holds(&self) -> usize {
        self.held.lock().unwrap().len()
    }
}

impl RebalanceHandler for Desk {
    fn assigned(&self, _: &MemberHandle, partitions: Vec<AssignedPartition>) {
        self.held.lock().unwrap().extend(partitions);
    }

    fn revoked(&self, handle: &MemberHandle, partitions: &[TopicPartition], lost: bool) {
        self.held.lock().unwrap().retain(|held| !partitions.contains(&held.id));
        self.draining.store(true, Ordering::Relaxed);
        std::thread::sleep(*self.drain.lock().unwrap());
        let next = self.complete.load(Ordering::Relaxed);
        let entry =
            |id: &TopicPartition| CommitEntry { id: id.clone(), next: NextOffset::at(next), note: String::new() };
        let entries: Vec<_> = partitions.iter().map(entry).collect();
        let end = match lost {
            true => Err("lost".to_owned()),
            false => handle.commit(&entries, &|_| true).map(|_| ()).map_err(|error| error.to_string()),
        };
        let mut ends = self.ends.lock().unwrap();
        ends.extend(partitions.iter().map(|id| (id.clone(), next, end.clone())));
    }
}

/// A member that is polled until it leaves.
struct Polled {
    desk: Arc<Desk>,
    handle: MemberHandle,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Polled {
    fn join(settings: &MemberSettings) -> Self {
        let (desk, stop) = (Arc::new(Desk::default()), Arc::new(AtomicBool::new(false)));
        let member = Member::join(settings, desk.clone()).unwrap();
        let (stopped, handle) = (stop.clone(), member.handle());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                member.poll(Duration::from_millis(20));
            }
            let asked = Instant::now();
            member.close();
            asked.elapsed()
        });
        Self { desk, handle, stop, thread }
    }

    /// How long a commit of what it holds takes.
    fn commit_takes(&self, next: i64) -> Duration {
        let held = self.desk.held.lock().unwrap();
        let entry =
            |it: &AssignedPartition| CommitEntry { id: it.id.clone(), next: NextOffset::at(next), note: String::new() };
        let entries: Vec<_> = held.iter().map(entry).collect();
        drop(held);
        let asked = Instant::now();
        let answer = self.handle.commit(&entries, &|_| true);
        eprintln!("{answer:?} after {:?}", asked.elapsed());
        asked.elapsed()
    }

    fn leave(self) -> (Arc<Desk>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        (self.desk, self.thread.join().unwrap())
    }
}

fn group(name: &str) -> (Shared, MemberSettings) {
    let shared = shared().unwrap();
    let (topic, group) = (unique(name), unique(&format!("{name}-group")));
    shared.eye.create_topic(&topic, PARTITIONS, &[]).unwrap();
    let settings = MemberSettings {
        assignor: Assignor::CooperativeSticky,
        ..settings(&shared.broker.bootstrap(), &group, &topic)
    };
    (shared, settings)
}

/// The last commit of each partition that it gave up while it left, as Kafka knows it.
fn assert_committed(shared: &Shared, settings: &MemberSettings, desk: &Desk, when: &str) {
    let commits = shared.eye.commits(&settings.group, &settings.topics[0]).unwrap();
    for (id, next, end) in desk.ends.lock().unwrap().iter() {
        let seen = commits.iter().any(|commit| commit.partition == id.partition && commit.offset == *next);
        assert!(seen, "{when}: {id} up to {next} is not committed ({end:?}); {commits:?}");
    }
}

#[test]
fn a_member_that_leaves_at_any_moment_of_a_cooperative_rebalance_has_committed_all_it_completed() {
    for step in 0..24 {
        let (shared, settings) = group("mid-rebalance");
        let leaver = Polled::join(&settings);
        until("all partitions", || leaver.desk.holds() == PARTITIONS as usize);
        leaver.desk.complete.store(1000 + step, Ordering::Relaxed);
        let comer = Polled::join(&settings);
        std::thread::sleep(Duration::from_millis(60 * step as u64));
        let (desk, took) = leaver.leave();
        eprintln!("after {} ms: took {took:?}, {:?}", 60 * step, desk.ends.lock().unwrap());
        assert_committed(&shared, &settings, &desk, &format!("after {} ms", 60 * step));
        comer.leave();
    }
}

#[test]
fn a_member_that_leaves_while_the_group_waits_for_another_has_committed_all_it_completed() {
    let (shared, settings) = group("slow-group");
    let leaver = Polled::join(&settings);
    until("all partitions", || leaver.desk.holds() == PARTITIONS as usize);
    let slow = Polled::join(&settings);
    until("an even share", || leaver.desk.holds() == 3 && slow.desk.holds() == 3);
    *slow.desk.drain.lock().unwrap() = Duration::from_secs(24);
    let third = Polled::join(&settings);
    until("the rebalance", || slow.desk.draining.load(Ordering::Relaxed));
    // What it still holds goes only when the group has come to rest.
    until("its own share of it", || leaver.desk.holds() == 2);
    // While the group waits, a commit is not answered: it stands behind the request to join on the coordinator's connection.
    until("the member's request to join again", || leaver.commit_takes(7) > Duration::from_secs(1));
    leaver.desk.complete.store(2000, Ordering::Relaxed);
    let (desk, took) = leaver.leave();
    eprintln!("took {took:?}, {:?}", desk.ends.lock().unwrap());
    assert_committed(&shared, &settings, &desk, "while another drained");
    slow.leave();
    third.leave();
}
