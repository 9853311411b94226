//! A lane: one thread, one instance, and the partitions whose messages it hands over, strictly in order.
//!
//! The thread parks when there is nothing to do and is woken by whatever may change that: a partition's queue that is no
//! longer empty, a command, a completion after the span was full. No notification is relied on alone: it looks again
//! every 100 ms.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmill_kafka::{MemberHandle, PartitionQueue, TopicPartition, Wake};
use wasmill_wasm::{Canceller, Instance};

use super::deployed::Deployed;
use super::partition::Partition;
use super::seek::Seek;
use super::shared::PipelineShared;
use super::status::LaneStatus;
use super::turn::Worker;
use super::version::Version;
use super::versions::Overseer;

/// How long a lane sleeps at most: the guard against a wake-up that got lost.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a lane can be told.
pub enum Command {
    /// Serve this partition.
    Assign(Box<Assignment>),
    /// Hand over nothing more of these; answered once that is so.
    Release {
        /// Which.
        ids: Vec<TopicPartition>,
        /// Hears when the lane let go of them.
        done: mpsc::Sender<()>,
    },
    /// Start again from the watermark, with the pipeline's present producer.
    RewindAll,
    /// Start a stopped partition again at the message it stands at, or behind it when `skip` is that message.
    Resume {
        /// Which.
        id: TopicPartition,
        /// Count this message as complete without handling it.
        skip: Option<i64>,
        /// Hears what happened.
        done: tokio::sync::oneshot::Sender<Result<i64, String>>,
    },
    /// Move a partition to another message.
    Seek(Box<Seek>),
    /// End the thread.
    Stop,
}

/// An instance made beside those that lanes run.
pub struct Staged {
    /// Of which version.
    pub version: Arc<Version>,
    /// Started; nothing was handed to it yet.
    pub instance: Instance,
}

/// Which of a lane's instances: that of the version that serves the pipeline, or that of one on trial beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The version that serves.
    Serving,
    /// The one on trial.
    Candidate,
}

/// A partition on its way to a lane.
pub struct Assignment {
    /// Its shared part.
    pub partition: Arc<Partition>,
    /// Its queue; from now on this lane is the one reader.
    pub queue: PartitionQueue,
    /// The member that holds it, for seeks.
    pub member: MemberHandle,
}

/// A lane as others see it.
pub struct Lane {
    /// Number within the pipeline.
    pub index: usize,
    inbox: Mutex<Vec<Command>>,
    waiting: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// Ends a running call, whichever of the lane's instances is called.
    cancellers: Mutex<[Option<Canceller>; 2]>,
    /// Instances that were made for it beside the ones it runs, for when it passes on.
    staged: Mutex<Vec<Staged>>,
    /// How many partitions it serves.
    pub load: AtomicUsize,
    /// Bytes of its instance's memory, for status.
    pub memory_bytes: AtomicUsize,
    /// Instances that were replaced because their memory only grew.
    pub recycled: AtomicU64,
    /// Why it cannot get an instance, if so.
    pub trouble: Mutex<Option<String>>,
}

impl Lane {
    fn new(index: usize) -> Self {
        Self {
            index,
            inbox: Mutex::default(),
            waiting: AtomicBool::new(false),
            thread: Mutex::default(),
            cancellers: Mutex::default(),
            staged: Mutex::default(),
            load: AtomicUsize::new(0),
            memory_bytes: AtomicUsize::new(0),
            recycled: AtomicU64::new(0),
            trouble: Mutex::default(),
        }
    }

    /// Tells it something, and wakes it.
    pub fn tell(&self, command: Command) {
        lock(&self.inbox).push(command);
        self.waiting.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes it.
    pub fn wake(&self) {
        if let Some(thread) = &*lock(&self.thread) {
            thread.unpark();
        }
    }

    /// Ends the call that is running, if any.
    pub fn cancel(&self) {
        lock(&self.cancellers).iter().flatten().for_each(Canceller::cancel);
    }

    /// An instance started, or is gone: what ends its calls.
    pub(super) fn set_canceller(&self, side: Side, canceller: Option<Canceller>) {
        lock(&self.cancellers)[side as usize] = canceller;
    }

    /// Leaves an instance for when the lane passes on to this version.
    pub fn stage(&self, staged: Staged) {
        lock(&self.staged).push(staged);
    }

    /// The instance that was left for this version. Those of other versions stay: one of them may be taken next.
    pub(super) fn take_staged(&self, version: &Arc<Version>) -> Option<Instance> {
        let mut staged = lock(&self.staged);
        let place = staged.iter().position(|one| Arc::ptr_eq(&one.version, version))?;
        Some(staged.swap_remove(place).instance)
    }

    /// Gives back the instances that nobody took.
    pub fn unstage(&self) -> Vec<Staged> {
        std::mem::take(&mut lock(&self.staged))
    }

    /// For the status page.
    pub fn status(&self) -> LaneStatus {
        LaneStatus {
            lane: self.index,
            partitions: self.load.load(Ordering::Relaxed),
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
            recycled: self.recycled.load(Ordering::Relaxed),
            trouble: lock(&self.trouble).clone(),
        }
    }

    /// Takes a cancellation back.
    pub fn forgive(&self) {
        lock(&self.cancellers).iter().flatten().for_each(Canceller::clear);
    }

    /// Whether somebody told it something: looked at between messages of a long replay.
    pub fn has_mail(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    fn mail(&self) -> Vec<Command> {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *lock(&self.inbox))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The lanes of a pipeline.
pub struct Lanes {
    shared: Arc<PipelineShared>,
    limit: usize,
    lanes: Mutex<Vec<(Arc<Lane>, thread::JoinHandle<()>)>>,
}

/// More threads and instances than this serve nobody, however many partitions there are.
const MOST_LANES: usize = 64;

impl Lanes {
    /// None yet: they are made as partitions come.
    pub fn new(shared: Arc<PipelineShared>) -> Self {
        let limit = shared.settings.lanes.unwrap_or(MOST_LANES).clamp(1, MOST_LANES);
        Self { shared, limit, lanes: Mutex::default() }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Lane>> {
        lock(&self.lanes).iter().map(|(lane, _)| lane.clone()).collect()
    }

    /// The lane for one more partition: an idle one, a new one while there may be more, else the one with the fewest.
    pub fn place(&self) -> std::io::Result<Arc<Lane>> {
        let mut lanes = lock(&self.lanes);
        let fewest = lanes.iter().map(|(lane, _)| lane).min_by_key(|lane| lane.load.load(Ordering::Relaxed));
        let lane = match fewest {
            Some(lane) if lane.load.load(Ordering::Relaxed) == 0 || lanes.len() >= self.limit => lane.clone(),
            _ => {
                let lane = Arc::new(Lane::new(lanes.len()));
                let (runs, shared) = (lane.clone(), self.shared.clone());
                let thread = thread::Builder::new()
                    .name(format!("{}-lane-{}", self.shared.name, lane.index))
                    .spawn(move || run(&runs, &shared))?;
                *lock(&lane.thread) = Some(thread.thread().clone());
                lanes.push((lane.clone(), thread));
                lane
            }
        };
        lane.load.fetch_add(1, Ordering::Relaxed);
        Ok(lane)
    }

    /// What wakes a lane.
    pub fn wake(lane: &Arc<Lane>) -> Wake {
        // A weak reference: a queue's callback must not keep a lane alive.
        let lane = Arc::downgrade(lane);
        Arc::new(move || {
            if let Some(lane) = lane.upgrade() {
                lane.wake();
            }
        })
    }

    /// Puts something else in force, wakes every lane, and does not wait for them. Under the lock under which lanes are
    /// made: each of them is waited for or begins with what is in force from here on.
    pub fn deploy(&self, version: Arc<Version>, overseer: Option<Arc<dyn Overseer>>) -> Arc<Deployed> {
        let lanes = lock(&self.lanes);
        let deployed = self.shared.deploy(version, overseer, lanes.iter().map(|(lane, _)| lane.index));
        lanes.iter().for_each(|(lane, _)| lane.wake());
        deployed
    }

    /// Wakes all of them: something that concerns everybody changed.
    pub fn wake_all(&self) {
        for lane in self.all() {
            lane.wake();
        }
    }

    /// Ends all threads; the partitions must have been released before.
    pub fn stop(&self) {
        let lanes: Vec<_> = std::mem::take(&mut *lock(&self.lanes));
        for (lane, _) in &lanes {
            lane.tell(Command::Stop);
        }
        for (_, thread) in lanes {
            if thread.join().is_err() {
                tracing::error!(pipeline = %self.shared.name, "a lane's thread panicked");
            }
        }
    }
}

/// The lane's thread.
fn run(lane: &Arc<Lane>, shared: &Arc<PipelineShared>) {
    let mut worker = Worker::new(lane.clone(), shared.clone());
    loop {
        for command in lane.mail() {
            if matches!(command, Command::Stop) {
                shared.deployed().handover.gone(lane.index);
                return;
            }
            worker.obey(command);
        }
        worker.pass_on();
        let mut worked = false;
        let now = Instant::now();
        let mut next_look = now + LOOK_AGAIN;
        // One batch of each partition in turn, so that a busy one cannot starve the others.
        for index in 0..worker.partitions() {
            worker.pass_on();
            match worker.turn(index, now) {
                Turn::Worked => worked = true,
                Turn::Idle => {}
                Turn::NotBefore(when) => next_look = next_look.min(when),
            }
            if lane.has_mail() {
                worked = true;
                break;
            }
        }
        if !worked {
            worker.rest();
            thread::park_timeout(next_look.saturating_duration_since(Instant::now()));
        }
    }
}

/// What came of a partition's turn.
pub enum Turn {
    /// A batch was handled: look again at once.
    Worked,
    /// Nothing to do.
    Idle,
    /// Nothing to do before then.
    NotBefore(Instant),
}
