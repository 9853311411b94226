//! The loop: take, handle, send, commit what is confirmed.
//!
//! An *epoch* is the time between two commits. Outputs count for the epoch they were sent in; when a second is over the
//! next epoch begins, and as soon as nothing of the last one is unconfirmed its positions are committed. So no offset is
//! committed before every output below it is confirmed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::consumer::{Batch, Consumer};
use crate::producer::{BY_KEY, Outputs, Producer, unconfirmed};

/// Messages of one call. Tried from 512 to 8,192.
const BATCH: usize = 2_048;
/// From one commit to the next.
const COMMIT: Duration = Duration::from_secs(1);

/// What to do.
pub struct Work<'a> {
    /// The servers to ask first.
    pub bootstrap: &'a str,
    /// What is read.
    pub topic: &'a str,
    /// The consumer group.
    pub group: &'a str,
    /// Where values in upper case go; absent: they are only looked at.
    pub output: Option<&'a str>,
    /// How many there are to read.
    pub messages: u64,
    /// Of the topic that is read.
    pub partitions: usize,
}

/// What was done.
pub struct Counts {
    /// Messages taken.
    pub consumed: u64,
    /// Outputs confirmed.
    pub produced: u64,
    /// From the first message to the answer to the last commit.
    pub seconds: f64,
}

/// Does the work and calls `done` when everything is committed, before it leaves the group.
pub fn run(work: &Work<'_>, done: &mut dyn FnMut(Counts) -> Result<()>) -> Result<()> {
    let producer = work.output.map(|topic| Producer::open(work.bootstrap, topic)).transpose()?;
    let consumer = Consumer::join(work.bootstrap, work.group, work.topic)?;
    let mut commits = Commits::new(work.partitions);
    let mut upper = Upper::new();
    let mut batch = Batch::new(BATCH);
    let (mut consumed, mut produced) = (0, 0);
    let mut began = None;
    while consumed < work.messages {
        let left = usize::try_from(work.messages - consumed).unwrap_or(BATCH);
        consumer.take(&mut batch, left.min(BATCH))?;
        let mut count = 0;
        for message in batch.messages() {
            message.check()?;
            count += 1;
            commits.next[message.partition()] = Some(message.offset() + 1);
            if producer.is_none() {
                black_box(message.value().first());
            }
        }
        if count > 0 && began.is_none() {
            began = Some(Instant::now());
            commits.last = Instant::now();
        }
        consumed += count;
        if let Some(producer) = &producer {
            produced += upper.send(&batch, producer, commits.epoch)?;
            producer.poll(0)?;
        }
        batch.clear();
        commits.advance(&consumer)?;
    }
    if let Some(producer) = &producer {
        producer.flush()?;
    }
    consumer.commit(&commits.next, true)?;
    let Some(began) = began else { bail!("there was nothing to read") };
    done(Counts { consumed, produced, seconds: began.elapsed().as_secs_f64() })
}

/// Positions and when they are committed.
struct Commits {
    /// The next offset of each partition.
    next: Vec<Option<i64>>,
    epoch: usize,
    /// The positions at the end of the last epoch, while its outputs are not all confirmed.
    closed: Option<Vec<Option<i64>>>,
    last: Instant,
}

impl Commits {
    fn new(partitions: usize) -> Self {
        Self { next: vec![None; partitions], epoch: 0, closed: None, last: Instant::now() }
    }

    fn advance(&mut self, consumer: &Consumer) -> Result<()> {
        if let Some(positions) = &self.closed {
            if unconfirmed(self.epoch + 1) == 0 {
                consumer.commit(positions, false)?;
                self.closed = None;
            }
        } else if self.last.elapsed() >= COMMIT {
            self.closed = Some(self.next.clone());
            self.epoch += 1;
            self.last = Instant::now();
        }
        Ok(())
    }
}

/// The handler: values in upper case, keys kept. Its memory is reused from batch to batch.
struct Upper {
    values: Vec<Vec<u8>>,
    memory: Vec<rdkafka::bindings::rd_kafka_message_t>,
}

impl Upper {
    fn new() -> Self {
        Self { values: vec![Vec::new(); BATCH], memory: Vec::with_capacity(BATCH) }
    }

    /// Sends what the batch comes to and returns how many that are.
    fn send(&mut self, batch: &Batch<'_>, producer: &Producer, epoch: usize) -> Result<u64> {
        let mut outputs = Outputs::reuse(&mut self.memory);
        let mut count = 0;
        for (message, upper) in batch.messages().zip(&mut self.values) {
            upper.clear();
            upper.extend(message.value().iter().map(u8::to_ascii_uppercase));
            outputs.push(message.key(), upper, epoch);
            count += 1;
        }
        producer.send(outputs, BY_KEY, epoch, &mut self.memory)?;
        Ok(count)
    }
}
