//! A small processor over a member: reads what it is assigned, checks every offset, commits what it read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmill_core::{Batch, NextOffset};
use wasmill_kafka::{
    AssignedPartition, ClientSettings, CommitEntry, CommitError, Member, MemberEvent, MemberHandle, MemberSettings,
    PartitionQueue, QueueProblem, RebalanceHandler, TopicPartition,
};

/// Longer than `socket.timeout.ms`, a minute, which a client that was abandoned with a request under way may take to end.
pub const SOON: Duration = Duration::from_secs(90);

pub fn settings(bootstrap: &str, group: &str, topic: &str) -> MemberSettings {
    MemberSettings {
        client: ClientSettings { bootstrap: bootstrap.into(), client_id: "test".into(), ..ClientSettings::default() },
        group: group.into(),
        topics: vec![topic.into()],
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        prefetch_bytes: 1 << 20,
        ..MemberSettings::default()
    }
}

/// Waits until `done` says so.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What was read of a partition.
#[derive(Clone, Debug)]
pub struct Read {
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A partition under the reader.
pub struct Held {
    pub queue: PartitionQueue,
    /// The offset that must come next; a plain topic has no gaps.
    pub next: i64,
    pub committed: Option<i64>,
    pub problem: Option<QueueProblem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedStart {
    pub start: i64,
    pub note: String,
    pub needs_first_commit: bool,
    pub reset: Option<String>,
    pub topic_id: Option<String>,
}

/// What was read, with its partition.
pub type Kept = Vec<(i32, Read)>;

pub type OnRead = Arc<dyn Fn(i32, Read) + Send + Sync>;

pub struct Desk {
    pub held: Mutex<HashMap<TopicPartition, Held>>,
    pub events: Mutex<Vec<MemberEvent>>,
    pub assigned: Mutex<Vec<(TopicPartition, AssignedStart)>>,
    pub revoked: Mutex<Vec<(TopicPartition, bool)>>,
    pub refused: Mutex<Vec<String>>,
    pub trouble: Mutex<Vec<String>>,
    pub commits: AtomicU64,
    pub wakes: Arc<AtomicU64>,
    pub takes: AtomicU64,
    pub stale: AtomicU64,
    /// Taken while a commit is under way, so that none outlives its generation.
    commit_lock: Mutex<()>,
    ready: Arc<(Mutex<bool>, Condvar)>,
    stop: AtomicBool,
    pub hold: AtomicBool,
    pub contiguous: bool,
    on_read: OnRead,
}

/// A member with its three threads: poll, read, commit.
pub struct Worker {
    pub desk: Arc<Desk>,
    pub handle: MemberHandle,
    threads: Vec<JoinHandle<()>>,
}

struct Handler(Arc<Desk>);

impl RebalanceHandler for Handler {
    fn assigned(&self, handle: &MemberHandle, partitions: Vec<AssignedPartition>) {
        let desk = &self.0;
        let first: Vec<_> = partitions
            .iter()
            .filter(|came| came.needs_first_commit)
            .map(|came| CommitEntry { id: came.id.clone(), next: came.start, note: came.note.clone() })
            .collect();
        // A rebalance may have begun again already.
        let _ = handle.commit(&first, &|_| true);
        let mut held = desk.held.lock().unwrap();
        for came in partitions {
            let start = AssignedStart {
                start: came.start.get(),
                note: came.note.clone(),
                needs_first_commit: came.needs_first_commit,
                reset: came.reset.clone(),
                topic_id: came.topic_id.clone(),
            };
            let next = start.start;
            desk.assigned.lock().unwrap().push((came.id.clone(), start));
            let mut queue = came.queue;
            let (ready, wakes) = (desk.ready.clone(), desk.wakes.clone());
            queue.on_ready(Arc::new(move || {
                wakes.fetch_add(1, Ordering::Relaxed);
                *ready.0.lock().unwrap() = true;
                ready.1.notify_one();
            }));
            held.insert(came.id, Held { queue, next, committed: None, problem: None });
        }
    }

    fn revoked(&self, handle: &MemberHandle, partitions: &[TopicPartition], lost: bool) {
        let desk = &self.0;
        let _commit = desk.commit_lock.lock().unwrap();
        let mut entries = Vec::new();
        {
            let mut held = desk.held.lock().unwrap();
            for id in partitions {
                desk.revoked.lock().unwrap().push((id.clone(), lost));
                let held = held.remove(id).expect("only what was assigned is revoked");
                desk.stale.fetch_add(held.queue.stale(), Ordering::Relaxed);
                entries.push(CommitEntry { id: id.clone(), next: NextOffset::at(held.next), note: String::new() });
            }
        }
        if !lost && let Err(error) = handle.commit(&entries, &|_| true) {
            desk.refused.lock().unwrap().push(format!("at revoke: {error}"));
        }
    }
}

impl Worker {
    pub fn start(settings: &MemberSettings, contiguous: bool, on_read: OnRead) -> Self {
        let desk = Arc::new(Desk {
            held: Mutex::default(),
            events: Mutex::default(),
            assigned: Mutex::default(),
            revoked: Mutex::default(),
            refused: Mutex::default(),
            trouble: Mutex::default(),
            commits: AtomicU64::new(0),
            wakes: Arc::default(),
            takes: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            commit_lock: Mutex::default(),
            ready: Arc::default(),
            stop: AtomicBool::new(false),
            hold: AtomicBool::new(false),
            contiguous,
            on_read,
        });
        let member = Member::join(settings, Arc::new(Handler(desk.clone()))).unwrap();
        let handle = member.handle();
        let (polled, read, commits) = (desk.clone(), desk.clone(), (desk.clone(), handle.clone()));
        let threads = vec![
            std::thread::spawn(move || {
                while !polled.stop.load(Ordering::Relaxed) {
                    if let Some(event) = member.poll(Duration::from_millis(50)) {
                        polled.events.lock().unwrap().push(event);
                    }
                }
                member.close();
            }),
            std::thread::spawn(move || read.read()),
            std::thread::spawn(move || commits.0.commit(&commits.1)),
        ];
        Self { desk, handle, threads }
    }

    /// Leaves the group. Fails if anything that must not happen did.
    pub fn stop(self) -> Arc<Desk> {
        self.desk.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.desk.check();
        self.desk
    }

    pub fn wait_assigned(&self, partitions: usize) {
        until("the assignment", || self.desk.held.lock().unwrap().len() == partitions);
    }

    /// Moves a partition back and what must come next with it, as a rewind does.
    pub fn seek(&self, id: &TopicPartition, to: i64) -> Result<(), String> {
        let mut held = self.desk.held.lock().unwrap();
        let Some(partition) = held.get_mut(id) else { return Err("not held".into()) };
        self.handle.seek(id, NextOffset::at(to)).map_err(|error| error.to_string())?;
        partition.next = to;
        partition.problem = None;
        Ok(())
    }
}

impl Desk {
    pub fn check(&self) {
        let trouble = self.trouble.lock().unwrap();
        assert!(trouble.is_empty(), "{trouble:?}");
        for event in self.events.lock().unwrap().iter() {
            assert!(!matches!(event, MemberEvent::Leaked { .. } | MemberEvent::Fatal { .. }), "{event:?}");
        }
    }

    /// Where the reader stands in each partition that is held.
    pub fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.held.lock().unwrap().iter().map(|(id, held)| (id.clone(), held.next)).collect()
    }

    pub fn next(&self, id: &TopicPartition) -> Option<i64> {
        self.held.lock().unwrap().get(id).map(|held| held.next)
    }

    fn read(&self) {
        let mut batch = Batch::new();
        while !self.stop.load(Ordering::Relaxed) {
            {
                let mut ready = self.ready.0.lock().unwrap();
                if !*ready {
                    ready = self.ready.1.wait_timeout(ready, Duration::from_millis(100)).unwrap().0;
                }
                *ready = false;
            }
            if self.hold.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                *self.ready.0.lock().unwrap() = true;
                continue;
            }
            let mut held = self.held.lock().unwrap();
            for (id, partition) in held.iter_mut() {
                loop {
                    batch.clear();
                    let taken = partition.queue.take(512, &mut batch);
                    self.takes.fetch_add(1, Ordering::Relaxed);
                    self.see(id, partition, &batch);
                    if let Some(problem) = taken.problem {
                        partition.problem = Some(problem);
                    }
                    if !taken.more || self.stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
        }
    }

    fn see(&self, id: &TopicPartition, partition: &mut Held, batch: &Batch) {
        for message in batch.messages() {
            let wrong =
                if self.contiguous { message.offset != partition.next } else { message.offset < partition.next };
            if wrong {
                let text = format!("{id}: {} came where {} was due", message.offset, partition.next);
                self.trouble.lock().unwrap().push(text);
            }
            partition.next = message.offset + 1;
            (self.on_read)(
                id.partition,
                Read {
                    offset: message.offset,
                    timestamp: message.timestamp,
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.value().map(<[u8]>::to_vec),
                    headers: message
                        .headers()
                        .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                        .collect(),
                },
            );
        }
    }

    fn commit(&self, handle: &MemberHandle) {
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            let _commit = self.commit_lock.lock().unwrap();
            let moved: Vec<_> = {
                let held = self.held.lock().unwrap();
                held.iter()
                    .filter(|(_, held)| held.committed != Some(held.next))
                    .map(|(id, held)| CommitEntry {
                        id: id.clone(),
                        next: NextOffset::at(held.next),
                        note: "note".into(),
                    })
                    .collect()
            };
            if moved.is_empty() {
                continue;
            }
            match handle.commit(&moved, &|_| true) {
                Ok(refused) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    let mut held = self.held.lock().unwrap();
                    for entry in moved.iter().filter(|entry| !refused.iter().any(|refusal| refusal.id == entry.id)) {
                        if let Some(held) = held.get_mut(&entry.id) {
                            held.committed = Some(entry.next.get());
                        }
                    }
                }
                Err(CommitError::Other { code, text }) => {
                    self.trouble.lock().unwrap().push(format!("commit: {text} ({code})"));
                }
                Err(error) => self.refused.lock().unwrap().push(error.to_string()),
            }
        }
    }
}

/// A worker whose messages are kept.
pub fn keeping(settings: &MemberSettings, contiguous: bool) -> (Worker, Arc<Mutex<Kept>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let into = kept.clone();
    let worker = Worker::start(
        settings,
        contiguous,
        Arc::new(move |partition, read| into.lock().unwrap().push((partition, read))),
    );
    (worker, kept)
}
