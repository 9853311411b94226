//! A lane as others see it: a thread that serves partitions, what it is told, and what can be asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::Thread;

use parking_lot::Mutex;
use wasmill_core::Side;
use wasmill_kafka::Wake;
use wasmill_wasm::Canceller;

use crate::delivery::Delivery;
use crate::io::{Guest, Source};
use crate::partition::Partition;
use crate::version::Version;

/// What a lane can be told.
pub enum Command {
    /// Serve this partition.
    Assign(Box<Assignment>),
    /// Deliver nothing more of these; answered once that is so.
    Release {
        /// By assignment, not by name: another member of the process may have got the same partition meanwhile.
        partitions: Vec<Arc<Partition>>,
        /// Hears when the lane let go of them.
        done: mpsc::Sender<()>,
    },
    /// Start again from the watermark, with the pipeline's present producer.
    RewindAll,
    /// Start a stopped partition again at the message it stands at, or behind it when `skip` is that message.
    Resume {
        /// The stopped partition.
        partition: Arc<Partition>,
        /// Count this message as complete without handling it.
        skip: Option<i64>,
        /// Hears what happened.
        done: tokio::sync::oneshot::Sender<Result<i64, String>>,
    },
    /// End the thread.
    Stop,
}

/// A partition on its way to a lane.
pub struct Assignment {
    /// Its shared part.
    pub partition: Arc<Partition>,
    /// Its messages; from now on this lane is the one reader.
    pub source: Box<dyn Source>,
    /// How what it comes to is published and persisted: the delivery of the member that holds it.
    pub delivery: Arc<dyn Delivery>,
}

/// A guest made beside those that lanes run.
pub struct Staged {
    /// The version that it runs.
    pub version: Arc<Version>,
    /// Started; nothing was delivered to it yet.
    pub guest: Box<dyn Guest>,
}

/// A lane as others see it.
pub struct Lane {
    /// Number within the pipeline.
    pub index: usize,
    inbox: Mutex<Vec<Command>>,
    waiting: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// Ends a running call, whichever of the lane's guests is called.
    cancellers: Mutex<[Option<Canceller>; 2]>,
    /// Guests that were made for it beside the ones it runs, for when it passes on.
    staged: Mutex<Vec<Staged>>,
    /// Bytes of its guest's memory, for status.
    pub memory_bytes: AtomicUsize,
    /// Guests that were replaced because their memory only grew.
    pub recycled: AtomicU64,
    /// Why it cannot get a guest, if so.
    pub trouble: Mutex<Option<String>>,
}

impl Lane {
    /// A lane without a thread.
    pub fn new(index: usize) -> Self {
        Self {
            index,
            inbox: Mutex::default(),
            waiting: AtomicBool::new(false),
            thread: Mutex::default(),
            cancellers: Mutex::default(),
            staged: Mutex::default(),
            memory_bytes: AtomicUsize::new(0),
            recycled: AtomicU64::new(0),
            trouble: Mutex::default(),
        }
    }

    /// The thread that runs it.
    pub fn runs_on(&self, thread: Thread) {
        *self.thread.lock() = Some(thread);
    }

    /// Tells it something, and wakes it.
    pub fn tell(&self, command: Command) {
        self.inbox.lock().push(command);
        self.waiting.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes it.
    pub fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }

    /// What wakes it.
    pub fn waker(self: &Arc<Self>) -> Wake {
        // A weak reference: a queue's callback must not keep a lane alive.
        let lane = Arc::downgrade(self);
        Arc::new(move || {
            if let Some(lane) = lane.upgrade() {
                lane.wake();
            }
        })
    }

    /// Ends the call that is running, if any.
    pub fn cancel(&self) {
        self.cancellers.lock().iter().flatten().for_each(Canceller::cancel);
    }

    /// Takes a cancellation back.
    pub fn forgive(&self) {
        self.cancellers.lock().iter().flatten().for_each(Canceller::clear);
    }

    /// A guest started, or is gone: what ends its calls.
    pub(crate) fn set_canceller(&self, side: Side, canceller: Option<Canceller>) {
        self.cancellers.lock()[side as usize] = canceller;
    }

    /// Leaves a guest for when the lane passes on to this version.
    pub fn stage(&self, staged: Staged) {
        self.staged.lock().push(staged);
    }

    /// The guest that was left for this version. Those of other versions stay: one of them may be taken next.
    pub(crate) fn take_staged(&self, version: &Arc<Version>) -> Option<Box<dyn Guest>> {
        let mut staged = self.staged.lock();
        let place = staged.iter().position(|one| Arc::ptr_eq(&one.version, version))?;
        Some(staged.swap_remove(place).guest)
    }

    /// Gives back the guests that nobody took.
    pub fn unstage(&self) -> Vec<Staged> {
        std::mem::take(&mut self.staged.lock())
    }

    /// Whether somebody told it something: looked at between two turns.
    pub fn has_mail(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// What it was told since it last looked.
    pub(crate) fn mail(&self) -> Vec<Command> {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.inbox.lock())
    }
}
