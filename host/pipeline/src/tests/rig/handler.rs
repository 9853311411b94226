//! A handler that does with each message what its value says.
//!
//! The words of a value, any number of them:
//! - `ack`: nothing. So is whatever is not listed here.
//! - `echo`: emits its offset to the default output. `echo1` to the topic with number 1.
//! - `retry`: asks for another attempt; `retry<3`: while it is told an attempt below 3.
//! - `reject`.
//! - `trap`: the call fails as a whole; `trap<2`: while the message is told an attempt below 2.
//! - `crash`: the call fails as a whole, once for each handler.
//! - `halt`: the handler returns in front of this message.
//! - `cancel`: the call is cancelled, once for each handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use wasmill_core::{Batch, Emitted, EmittedRow, ErrorClass, Failure, FailureKind, MessageRef, Span};
use wasmill_wasm::{CallError, Canceller, InstanceSpec, StartError};

use crate::io::{Guest, Handler};

/// What calls are recorded as, whichever handler gets them.
pub type Calls = Arc<Mutex<Vec<String>>>;

type Answer = dyn FnMut(&Batch, &mut Reply) -> Result<u32, CallError> + Send;

/// What a guest's last call gave back.
#[derive(Default)]
pub struct Reply {
    emitted: Emitted,
    failures: Vec<Failure>,
}

impl Reply {
    /// Emits for message `message` of the batch.
    pub fn emit(&mut self, batch: &Batch, message: usize, topic: u32, value: &str) {
        let start = (batch.data().len() + self.emitted.data.len()) as u32;
        self.emitted.data.extend_from_slice(value.as_bytes());
        self.emitted.rows.push(EmittedRow {
            message: message as u32,
            topic,
            key: Span::NONE,
            value: Span { start, len: value.len() as u32 },
            first_header: self.emitted.headers.len() as u32,
            headers: 0,
            timestamp: None,
            partition: None,
        });
    }

    /// Does not acknowledge message `message`.
    pub fn fail(&mut self, message: usize, kind: FailureKind) {
        let reason = if kind == FailureKind::Retry { "later" } else { "never" }.to_owned();
        self.failures.push(Failure { message: message as u32, retry_after: None, kind, reason });
    }
}

/// A failed call.
pub fn crash(class: ErrorClass) -> CallError {
    CallError { class, message: "wasm said no".to_owned(), backtrace: None }
}

pub struct FakeHandler {
    name: &'static str,
    calls: Calls,
    starts: AtomicU64,
    failing_starts: AtomicU32,
    /// The guests there are now.
    alive: AtomicU32,
    cancelled: AtomicBool,
    crashed: AtomicBool,
    due: AtomicBool,
    answer: Mutex<Option<Box<Answer>>>,
    canceller: Mutex<Canceller>,
    this: std::sync::Weak<Self>,
}

impl FakeHandler {
    pub fn new(name: &'static str, calls: Calls) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            name,
            calls,
            starts: AtomicU64::new(0),
            failing_starts: AtomicU32::new(0),
            alive: AtomicU32::new(0),
            cancelled: AtomicBool::new(false),
            crashed: AtomicBool::new(false),
            due: AtomicBool::new(false),
            answer: Mutex::default(),
            canceller: Mutex::default(),
            this: this.clone(),
        })
    }

    /// From now on a call does this, and not what the values say.
    pub fn answers(&self, answer: impl FnMut(&Batch, &mut Reply) -> Result<u32, CallError> + Send + 'static) {
        *self.answer.lock() = Some(Box::new(answer));
    }

    /// The next starts fail.
    pub fn fails_to_start(&self, count: u32) {
        self.failing_starts.store(count, Ordering::Relaxed);
    }

    /// The memory of the guest that runs has grown: it is to be replaced.
    pub fn grows(&self) {
        self.due.store(true, Ordering::Relaxed);
    }

    /// How many guests were started.
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// How many guests there are.
    pub fn alive(&self) -> u32 {
        self.alive.load(Ordering::Relaxed)
    }

    /// A guest that was started for nobody yet.
    pub fn guest(&self) -> Box<dyn Guest> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.alive.fetch_add(1, Ordering::Relaxed);
        let handler = self.this.upgrade().expect("it is called on it");
        let canceller = Canceller::default();
        *self.canceller.lock() = canceller.clone();
        Box::new(FakeGuest { handler, reply: Reply::default(), canceller })
    }

    /// What ends a call of the guest that was started last.
    pub fn canceller(&self) -> Canceller {
        self.canceller.lock().clone()
    }

    fn record(&self, partition: i32, batch: &Batch) {
        let mut line = String::new();
        if self.name != "v1" {
            line += &format!("{} ", self.name);
        }
        if partition != 0 {
            line += &format!("p{partition} ");
        }
        let message = |message: MessageRef<'_>| match message.attempt {
            1 => message.offset.to_string(),
            attempt => format!("{}#{attempt}", message.offset),
        };
        line += &batch.messages().map(message).collect::<Vec<_>>().join(" ");
        self.calls.lock().push(line);
    }

    fn by_value(&self, batch: &Batch, reply: &mut Reply) -> Result<u32, CallError> {
        let mut reached = batch.len();
        for (at, message) in batch.messages().enumerate() {
            let value = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
            for word in value.split(' ') {
                let (word, below) = word
                    .split_once('<')
                    .map_or((word, u32::MAX), |(word, below)| (word, below.parse().expect("a number")));
                let holds = message.attempt < below;
                match word {
                    "echo" => reply.emit(batch, at, 0, &message.offset.to_string()),
                    "echo1" => reply.emit(batch, at, 1, &message.offset.to_string()),
                    "echo7" => reply.emit(batch, at, 7, &message.offset.to_string()),
                    "retry" if holds => reply.fail(at, FailureKind::Retry),
                    "reject" => reply.fail(at, FailureKind::Reject),
                    "trap" if holds => return Err(crash(ErrorClass::Trap)),
                    "crash" if !self.crashed.swap(true, Ordering::Relaxed) => return Err(crash(ErrorClass::Trap)),
                    "halt" => reached = reached.min(at),
                    "cancel" if !self.cancelled.swap(true, Ordering::Relaxed) => {
                        return Err(crash(ErrorClass::Cancelled));
                    }
                    _ => {}
                }
            }
        }
        Ok(reached as u32)
    }
}

impl Handler for FakeHandler {
    fn digest(&self) -> &str {
        self.name
    }

    fn start(&self, _: &InstanceSpec) -> Result<Box<dyn Guest>, StartError> {
        let failing = self.failing_starts.load(Ordering::Relaxed);
        if failing > 0 {
            self.failing_starts.store(failing - 1, Ordering::Relaxed);
            return Err(StartError::Refused("no table".to_owned()));
        }
        Ok(self.guest())
    }
}

struct FakeGuest {
    handler: Arc<FakeHandler>,
    reply: Reply,
    canceller: Canceller,
}

impl Guest for FakeGuest {
    fn handle(&mut self, _: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        self.reply.emitted.clear();
        self.reply.failures.clear();
        self.handler.record(partition, batch);
        let answer = self.handler.answer.lock().take();
        let Some(mut answer) = answer else { return self.handler.by_value(batch, &mut self.reply) };
        let called = answer(batch, &mut self.reply);
        self.handler.answer.lock().get_or_insert(answer);
        called
    }

    fn emitted(&self) -> &Emitted {
        &self.reply.emitted
    }

    fn failures(&self) -> &[Failure] {
        &self.reply.failures
    }

    fn is_due_for_replacement(&self) -> bool {
        self.handler.due.swap(false, Ordering::Relaxed)
    }

    fn memory_bytes(&self) -> u64 {
        1 << 16
    }

    fn canceller(&self) -> Option<Canceller> {
        Some(self.canceller.clone())
    }
}

impl Drop for FakeGuest {
    fn drop(&mut self) {
        self.handler.alive.fetch_sub(1, Ordering::Relaxed);
    }
}
