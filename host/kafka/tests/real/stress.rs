//! Members come and go, partitions are sent back, readers stand still, and messages flow all the while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use wasmill_kafka::{Assignor, MemberSettings};
use wasmill_tests::shared::{shared, unique};

use crate::support::{Desk, Worker, settings, until};

const PARTITIONS: i32 = 6;

/// A sequence that a seed decides (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Which offsets were seen, by partition.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<i32, Vec<bool>>>);

impl Seen {
    fn see(&self, partition: i32, offset: i64) {
        let mut seen = self.0.lock().unwrap();
        let seen = seen.entry(partition).or_default();
        let at = usize::try_from(offset).unwrap();
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        seen[at] = true;
    }

    /// How many from the beginning were seen without a gap.
    fn prefix(&self, partition: i32) -> i64 {
        let seen = self.0.lock().unwrap();
        seen.get(&partition).map_or(0, |seen| seen.iter().take_while(|seen| **seen).count() as i64)
    }
}

fn seconds() -> u64 {
    std::env::var("STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

fn seed() -> u64 {
    std::env::var("STRESS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed)
}

fn produce(bootstrap: &str, topic: &str, stop: &AtomicBool) -> BTreeMap<i32, i64> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "2")
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    let mut ends = BTreeMap::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..40 {
            let partition = (number % PARTITIONS as u64) as i32;
            let text = number.to_string();
            let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition).key("k").payload(&text);
            if producer.send(record).is_ok() {
                *ends.entry(partition).or_insert(0) += 1;
            }
            number += 1;
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    ends
}

/// What was done to a group.
#[derive(Debug, Default)]
struct Shaken {
    joins: u32,
    leaves: u32,
    seeks: u32,
    refused_seeks: u32,
    holds: u32,
}

/// Has workers come, leave, stand still and be sent back for a while. Those that left go to `ended`.
fn shake(workers: &mut Vec<Worker>, ended: &mut Vec<Arc<Desk>>, join: impl Fn() -> Worker) -> Shaken {
    let mut dice = Dice(seed());
    let mut shaken = Shaken::default();
    let until_then = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < until_then {
        std::thread::sleep(Duration::from_millis(20 + dice.roll(200)));
        let at = dice.roll(workers.len() as u64) as usize;
        match dice.roll(10) {
            0 if workers.len() < 4 => {
                workers.push(join());
                shaken.joins += 1;
            }
            1 if workers.len() > 1 => {
                ended.push(workers.swap_remove(at).stop());
                shaken.leaves += 1;
            }
            2 => {
                workers[at].desk.hold.fetch_not(Ordering::Relaxed);
                shaken.holds += 1;
            }
            _ => {
                let worker = &workers[at];
                let mut ids: Vec<_> = worker.desk.held.lock().unwrap().keys().cloned().collect();
                ids.sort();
                if ids.is_empty() {
                    continue;
                }
                let id = ids.swap_remove(dice.roll(ids.len() as u64) as usize);
                let Some(next) = worker.desk.next(&id) else { continue };
                let back = dice.roll(3000) as i64;
                match worker.seek(&id, (next - back).max(0)) {
                    Ok(()) => shaken.seeks += 1,
                    Err(_) => shaken.refused_seeks += 1,
                }
            }
        }
    }
    for worker in workers {
        worker.desk.hold.store(false, Ordering::Relaxed);
    }
    shaken
}

fn run(name: &str, change: impl Fn(&mut MemberSettings)) {
    let shared = shared().unwrap();
    let (topic, group) = (unique(name), unique(&format!("{name}-group")));
    shared.eye.create_topic(&topic, PARTITIONS as u32, &[]).unwrap();
    let bootstrap = shared.broker.bootstrap();
    let mut member = settings(&bootstrap, &group, &topic);
    change(&mut member);
    let seen = Arc::new(Seen::default());
    let total = Arc::new(AtomicU64::new(0));
    let join = || {
        let (seen, total) = (seen.clone(), total.clone());
        Worker::start(
            &member,
            true,
            Arc::new(move |partition, read| {
                total.fetch_add(1, Ordering::Relaxed);
                seen.see(partition, read.offset);
            }),
        )
    };
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let (bootstrap, topic, stop) = (bootstrap.clone(), topic.clone(), stop.clone());
        std::thread::spawn(move || produce(&bootstrap, &topic, &stop))
    };
    let (mut workers, mut ended) = (vec![join(), join()], Vec::new());
    let shaken = shake(&mut workers, &mut ended, join);
    stop.store(true, Ordering::Relaxed);
    let ends = producer.join().unwrap();
    assert_eq!(ends, shared.eye.end_offsets(&topic).unwrap(), "the producer's own count");
    until("every message was seen", || ends.iter().all(|(partition, end)| seen.prefix(*partition) == *end));
    // A partition that was sent back at the end is committed where its reader stands.
    until("every partition was read to its end again", || {
        let held: Vec<_> = workers.iter().flat_map(|worker| worker.desk.positions()).collect();
        held.len() == ends.len() && held.iter().all(|(id, next)| ends[&id.partition] == *next)
    });
    ended.extend(workers.into_iter().map(Worker::stop));
    for commit in shared.eye.commits(&group, &topic).unwrap() {
        let prefix = seen.prefix(commit.partition);
        assert!(commit.offset <= prefix, "{commit:?} is above what was seen without a gap, {prefix}");
    }
    shared.eye.wait_committed(&group, &topic, &ends, Duration::from_secs(5)).unwrap();
    let mut refused = BTreeMap::<String, u32>::new();
    for text in ended.iter().flat_map(|desk| desk.refused.lock().unwrap().clone()) {
        *refused.entry(text).or_default() += 1;
    }
    let sum =
        |count: fn(&Desk) -> &AtomicU64| ended.iter().map(|desk| count(desk).load(Ordering::Relaxed)).sum::<u64>();
    eprintln!(
        "{name}: {} messages, {} read; {shaken:?}; {} commits, refused {refused:?}; {} wakes, {} takes, {} stale",
        ends.values().sum::<i64>(),
        total.load(Ordering::Relaxed),
        sum(|desk| &desk.commits),
        sum(|desk| &desk.wakes),
        sum(|desk| &desk.takes),
        sum(|desk| &desk.stale),
    );
}

#[test]
fn nothing_is_lost_leaked_or_out_of_order_under_range() {
    run("stress-range", |_| ());
}

#[test]
fn nothing_is_lost_leaked_or_out_of_order_under_cooperative_sticky() {
    run("stress-sticky", |settings| settings.assignor = Assignor::CooperativeSticky);
}
