//! A process's view of the control topic, kept up to date by a thread that reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use wasmill_config as config;
use wasmill_core::Position;
use wasmill_kafka::admin::Admin;
use wasmill_kafka::plain::{Next, PlainConsumer, PlainMessage, PlainProducer};
use wasmill_kafka::{ClientError, ClientSettings, now_ms};

use super::accord::Accord;
use super::record::{self, Decided, Key, Scope, Standing, Unread};
use super::shelf::{self, Shelf};

/// How long the cluster may take to answer.
pub(super) const CLUSTER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long all of the topic may take to be read at the start.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a record may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read waits.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// The initiator of a swap gives up first; the others are for when it is gone.
pub(super) const INITIATOR_HEAD_START: Duration = Duration::from_secs(5);
/// How long a reader that failed waits before it tries again.
pub(super) const READER_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A process's view of the control topic, for one pipeline.
pub struct Control {
    /// The control topic.
    pub topic: String,
    /// The topics that the pipeline reads.
    inputs: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The name of this process among those of the group: its machine, its number, and chance, since a number comes again.
    pub process: String,
    /// How long a swap waits for all processes.
    pub timeout: Duration,
    client: ClientSettings,
    scope: Scope,
    pub(super) admin: Admin,
    producer: Mutex<PlainProducer>,
    books: Mutex<Books>,
    changed: Condvar,
    stopped: AtomicBool,
    /// How many swaps this process has led. One at a time: an ask that is open is not joined by another of its own.
    pub(super) leads: Mutex<u64>,
    decisions: AtomicU64,
}

/// What was read so far.
#[derive(Default)]
pub struct Books {
    /// What is agreed on.
    pub accord: Accord,
    /// The components that were put into the topic.
    pub shelf: Shelf,
    /// Records of a later wasmill were met.
    warned: bool,
}

impl Control {
    /// Checks the topic, reads all of it, and goes on reading on a thread of its own. `None`: the pipeline has no control
    /// topic.
    pub fn open(client: &ClientSettings, settings: &config::Pipeline) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(topic) = settings.swap.control_topic.clone() else { return Ok(None) };
        let mut client = client.clone();
        client.client_id = format!("{}-{}-control", client.client_id, settings.name);
        let admin = Admin::open(&client)?;
        check_topic(&admin, &topic)?;
        let consumer = PlainConsumer::open(&client, &topic, &[0], Position::Earliest, CLUSTER_TIMEOUT)?;
        let control = Arc::new(Self {
            topic,
            inputs: settings.topics.clone(),
            group: settings.group.clone(),
            pipeline: settings.name.clone(),
            process: process_name(),
            timeout: settings.swap.group_timeout,
            scope: Scope::new(&settings.group, &settings.name),
            producer: Mutex::new(PlainProducer::open(&client, WRITE_TIMEOUT)?),
            client,
            admin,
            books: Mutex::default(),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            leads: Mutex::default(),
            decisions: AtomicU64::new(0),
        });
        let reads = control.clone();
        thread::Builder::new()
            .name(format!("{}-control", settings.name))
            .spawn(move || reads.read(consumer))
            .context("cannot start the thread that reads the control topic")?;
        control
            .catch_up(FIRST_READ_TIMEOUT)
            .with_context(|| format!("cannot read the control topic {}", control.topic))?;
        Ok(Some(control))
    }

    /// What was read so far.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock()
    }

    /// Waits until what was read is as wanted, `timeout` at most.
    pub fn wait_until<T>(&self, timeout: Duration, mut wanted: impl FnMut(&Books) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut books = self.books();
        loop {
            if let Some(found) = wanted(&books) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.changed.wait_for(&mut books, left);
        }
    }

    /// Waits until something is read, `timeout` at most.
    pub fn wait(&self, timeout: Duration) {
        self.changed.wait_for(&mut self.books(), timeout);
    }

    /// Waits until everything is read that was written before the call.
    pub fn catch_up(&self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        let described = self.admin.describe_topic(&self.topic, timeout.min(CLUSTER_TIMEOUT))?;
        let ends = described.partitions.first().and_then(|partition| partition.low.zip(partition.high));
        let (low, high) = ends.context("it has no leader")?;
        let left = deadline.saturating_duration_since(Instant::now());
        let caught_up = |books: &Books| (low == high || books.accord.read_to() >= high as u64).then_some(());
        self.wait_until(left, caught_up).with_context(|| format!("its end, {high}, was not reached within {timeout:?}"))
    }

    /// Writes a record and says where it is. `None` deletes what has this key.
    pub fn write(&self, key: &Key, value: Option<Vec<u8>>) -> Result<u64, ClientError> {
        let message = PlainMessage {
            topic: self.topic.clone(),
            partition: 0,
            key: Some(self.scope.encode(key)),
            value,
            ..PlainMessage::default()
        };
        self.send(&[message])?.pop().ok_or(ClientError::Closed)
    }

    /// Settles an ask, unless somebody has. Under a key of its own each time: which decision was the first must stay to be
    /// seen, also if this process does not know whether an earlier one of its own was written.
    pub(super) fn decide(
        &self,
        epoch: u64,
        switched: bool,
        standing: Standing,
        reason: Option<String>,
    ) -> Result<(), ClientError> {
        let number = self.decisions.fetch_add(1, Ordering::Relaxed);
        let decided = Decided { epoch, switched, standing, reason, at_ms: now_ms() };
        let key = Key::Decision(epoch, format!("{}-{number}", self.process));
        self.write(&key, Some(record::encode(&decided))).map(drop)
    }

    fn send(&self, messages: &[PlainMessage]) -> Result<Vec<u64>, ClientError> {
        let answers = self.producer.lock().send(messages);
        answers.into_iter().map(|answer| answer.map(|placed| placed.offset.max(0) as u64)).collect()
    }

    /// Ends both threads.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// Whether they are to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// All partitions that the pipeline reads, as the cluster has them now; none if it does not answer.
    pub(super) fn partitions(&self) -> Vec<(String, i32)> {
        let known = self.admin.topics(CLUSTER_TIMEOUT).unwrap_or_default();
        let read = known.into_iter().filter(|topic| self.inputs.contains(&topic.name));
        read.flat_map(|topic| topic.partitions.into_iter().map(move |one| (topic.name.clone(), one.id))).collect()
    }

    /// The component with this digest, from the topic.
    pub fn fetch(&self, digest: &str) -> anyhow::Result<Vec<u8>> {
        let place = self.books().shelf.place(digest);
        let gone = || format!("component {digest} is not in the control topic {}; hint: swap to a file", self.topic);
        place.with_context(gone)?.fetch(&self.client, &self.topic, &self.scope, self.timeout)
    }

    /// Puts a component into the topic unless it is there.
    pub fn put(&self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.books().shelf.has(&wasmill_wasm::digest(bytes)) {
            return Ok(());
        }
        self.send(&shelf::messages(&self.topic, &self.scope, bytes)?)
            .context("cannot write the handler to the control topic")?;
        Ok(())
    }

    /// The thread that reads, until stopped.
    fn read(&self, mut consumer: PlainConsumer) {
        let mut told = false;
        while !self.is_stopped() {
            match consumer.next(POLL_TIMEOUT) {
                Ok(Next::Message(message)) => {
                    self.apply(*message);
                    told = false;
                }
                Ok(Next::End | Next::Nothing) => {}
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(pipeline = %self.pipeline, topic = %self.topic, %error, "cannot read the control topic; trying again");
                    }
                    thread::sleep(READER_RETRY_DELAY);
                    let from = Position::Offset(self.books().accord.read_to() as i64);
                    if let Ok(again) = PlainConsumer::open(&self.client, &self.topic, &[0], from, CLUSTER_TIMEOUT) {
                        consumer = again;
                    }
                }
            }
        }
    }

    fn apply(&self, message: PlainMessage) {
        let mut books = self.books();
        let offset = message.offset.max(0) as u64;
        if let Some(key) = message.key.as_deref().and_then(|key| self.scope.decode(key)) {
            let unread = books.apply(offset, key, message.value.as_deref()).err();
            if let Some(unread) = unread
                && !std::mem::replace(&mut books.warned, true)
            {
                let reason = match unread {
                    Unread::Format(format) => {
                        format!("it has format {format}, which this version of wasmill does not know")
                    }
                    Unread::Damaged(reason) => reason,
                };
                tracing::warn!(pipeline = %self.pipeline, topic = %self.topic, offset, reason, "a record of the control topic is passed over, and so are others like it");
            }
        }
        // Also past what is nobody's: whoever waits for the end waits for this.
        books.accord.read(offset);
        drop(books);
        self.changed.notify_all();
    }
}

impl Books {
    fn apply(&mut self, offset: u64, key: Key, value: Option<&[u8]>) -> Result<(), Unread> {
        fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unread> {
            record::decode(value)
        }
        let Some(value) = value else {
            self.accord.deleted(&key);
            self.shelf.deleted(&key);
            return Ok(());
        };
        match key {
            Key::Ask(process, number) => self.accord.asked(offset, (&process, number), read(value)?),
            Key::Decision(_, process) => self.accord.decided(&process, read(value)?),
            Key::Said(process) => self.accord.said(&process, read(value)?),
            Key::Part(digest, part) => self.shelf.part(digest, part, offset),
            Key::Manifest(digest) => self.shelf.manifest(digest, read(value)?, offset),
        }
        Ok(())
    }
}

/// A topic that is not compacted would forget, one of several partitions would have no order.
fn check_topic(admin: &Admin, topic: &str) -> anyhow::Result<()> {
    let hint = format!("hint: wasmill topic create {topic} --partitions 1 --set cleanup.policy=compact");
    let described = match admin.describe_topic(topic, CLUSTER_TIMEOUT) {
        Ok(described) => described,
        Err(error) if error.code() == Some("UNKNOWN_TOPIC_OR_PART") || error.code() == Some("_UNKNOWN_TOPIC") => {
            bail!("the control topic {topic} does not exist; {hint}")
        }
        Err(error) => return Err(error).with_context(|| format!("the control topic {topic}")),
    };
    let partitions = described.partitions.len();
    ensure!(
        partitions == 1,
        "the control topic {topic} has {partitions} partitions, and 1 is needed: records of several have no order; hint: \
         name another topic, made with wasmill topic create NAME --partitions 1 --set cleanup.policy=compact"
    );
    let entries = match admin.topic_config(topic, CLUSTER_TIMEOUT) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(topic, %error, "whether the control topic is compacted is not to be had");
            return Ok(());
        }
    };
    let policy = entries.into_iter().find(|entry| entry.name == "cleanup.policy").and_then(|entry| entry.value);
    ensure!(
        policy.as_deref().is_none_or(|policy| policy == "compact"),
        "the control topic {topic} has cleanup.policy={}, so it would forget which version is to run; hint: name another \
         topic, made with wasmill topic create NAME --partitions 1 --set cleanup.policy=compact",
        policy.unwrap_or_default()
    );
    Ok(())
}

/// The machine's name, the process's number, and chance.
fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|one| one.is_ascii_alphanumeric() || "-._".contains(*one)).collect();
    format!("{host}-{}-{:06x}", std::process::id(), rand::random::<u32>() >> 8)
}
