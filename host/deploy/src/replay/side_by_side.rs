//! Both versions over the same messages of the past, each in a lane of its own. Nothing is published and nothing committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use wasmill_kafka::ClientSettings;
use wasmill_kafka::plain::PlainMessage;
use wasmill_kafka::stretches::{Step, Stretch, StretchReader};
use wasmill_pipeline::version::Version;

use super::difference::Differences;
use super::fields::{Made, Output};
use super::history::Plan;
use super::numbers::Numbers;
use super::summary::Summary;
use super::text::shown;
use crate::handler_tests::lane::{Answer, Lane, Verdict};

/// How long the brokers may say nothing before that is a failure.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// So few messages are timed in the first call too.
const FEW_MESSAGES: usize = 10;
/// Messages of all partitions that wait to fill their batches, in bytes.
const WAITING_BYTES: usize = 64 << 20;

/// How far a replay goes.
pub struct Bounds {
    /// What is settled by then counts; `None`: everything.
    pub deadline: Option<Instant>,
    /// So many differing messages are kept, field by field.
    pub kept: usize,
}

/// What came of a replay.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// False: the time was up before everything was compared.
    pub complete: bool,
    /// How long it took.
    pub seconds: f64,
    /// How many messages differ, and in what.
    #[serde(flatten)]
    pub summary: Summary,
    /// The old version, in numbers.
    pub old: Numbers,
    /// The new version, in numbers.
    pub new: Numbers,
    /// The first messages that differ.
    pub differences: Vec<Differing>,
}

/// A message of which the versions made different things.
#[derive(Debug, Serialize)]
pub struct Differing {
    /// Where it lies.
    pub topic: String,
    /// Where it lies.
    pub partition: i32,
    /// Where it lies.
    pub offset: i64,
    /// Its key, as a person may read it; `None`: it has none.
    pub key: Option<String>,
    /// In what they differ.
    #[serde(flatten)]
    pub differences: Differences,
}

/// One version at work.
struct Side {
    lane: Lane,
    name: &'static str,
    numbers: Numbers,
}

impl Side {
    fn start(name: &'static str, version: &Version) -> anyhow::Result<Self> {
        let mut lane = Lane::new(version.handler.clone(), &version.settings);
        lane.start().map(drop).with_context(|| format!("the {name} version does not start"))?;
        let mut numbers = Numbers::new(version.digest());
        // That of one that crashes at each message is never seen again.
        numbers.memory_bytes = lane.memory_bytes();
        Ok(Self { lane, name, numbers })
    }

    fn settle(&mut self, messages: &[PlainMessage], deadline: Option<Instant>) -> anyhow::Result<Vec<Vec<Answer>>> {
        let told = self.lane.settle_by(messages, deadline).with_context(|| format!("the {} version", self.name));
        self.numbers.memory_bytes = self.numbers.memory_bytes.max(self.lane.memory_bytes());
        // They are nobody's to read here, and would pile up.
        drop(self.lane.take_log());
        told
    }

    fn end(mut self) -> Numbers {
        self.numbers.end(self.lane.crashes(), self.lane.instances());
        self.numbers
    }
}

/// Messages of a partition that wait to be a batch.
#[derive(Default)]
struct Waiting {
    messages: Vec<PlainMessage>,
    bytes: usize,
}

struct Replay<'a> {
    old: Side,
    new: Side,
    bounds: &'a Bounds,
    /// What a batch may have, and what it may have now: after a crash it is halved, and grows back, as a lane's.
    most: usize,
    now: usize,
    bytes: usize,
    /// So many were settled. The versions go first in turns: the second finds the messages in the processor's caches.
    batches: u64,
    report: Report,
}

/// Runs both versions over what the plan names. `progress` is told how many messages were compared so far.
///
/// # Errors
/// A version does not start, or the cluster does not give the messages.
pub fn replay(
    client: &ClientSettings,
    plan: Plan,
    [old, new]: [&Version; 2],
    bounds: &Bounds,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Report> {
    let began = Instant::now();
    let batch = new.settings.batch_messages.max(1);
    let mut replay = Replay {
        old: Side::start("old", old)?,
        new: Side::start("new", new)?,
        bounds,
        most: batch,
        now: batch,
        bytes: new.settings.batch_bytes,
        batches: 0,
        report: Report { complete: true, ..Report::default() },
    };
    for (topic, stretches) in plan.topics {
        if replay.report.complete {
            replay.topic(client, &topic, stretches, progress)?;
        }
    }
    let Replay { old, new, mut report, .. } = replay;
    (report.old, report.new) = (old.end(), new.end());
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

impl Replay<'_> {
    fn topic(
        &mut self,
        client: &ClientSettings,
        topic: &str,
        stretches: BTreeMap<i32, Vec<Stretch>>,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let mut reader = StretchReader::open(client, topic, stretches)?;
        let mut waiting: BTreeMap<i32, Waiting> = BTreeMap::new();
        let (mut bytes, mut heard) = (0, Instant::now());
        loop {
            if self.is_over() {
                self.report.complete = false;
                return Ok(());
            }
            let step = reader.next(POLL_TIMEOUT)?;
            if !matches!(step, Step::Nothing) {
                heard = Instant::now();
            }
            match step {
                Step::Message(message) => {
                    let partition = message.partition;
                    let size = size(&message);
                    let mine = waiting.entry(partition).or_default();
                    mine.messages.push(*message);
                    mine.bytes += size;
                    bytes += size;
                    if mine.messages.len() >= self.now || mine.bytes >= self.bytes {
                        bytes -= mine.bytes;
                        self.batch(std::mem::take(mine).messages)?;
                    } else if bytes >= WAITING_BYTES {
                        bytes = 0;
                        self.all(&mut waiting)?;
                    }
                }
                Step::Over(partition) => {
                    let mine = waiting.remove(&partition).unwrap_or_default();
                    bytes -= mine.bytes;
                    self.batch(mine.messages)?;
                }
                Step::Nothing if heard.elapsed() > SILENCE_TIMEOUT => {
                    let silence = humantime::format_duration(SILENCE_TIMEOUT);
                    bail!("topic {topic}: nothing came for {silence}; hint: is the cluster there?");
                }
                Step::Nothing => {}
                Step::End => return self.all(&mut waiting),
            }
            progress(self.report.summary.messages);
        }
    }

    fn is_over(&self) -> bool {
        !self.report.complete || self.bounds.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn all(&mut self, waiting: &mut BTreeMap<i32, Waiting>) -> anyhow::Result<()> {
        std::mem::take(waiting).into_values().try_for_each(|mine| self.batch(mine.messages))
    }

    /// Hands messages of one partition to both versions, and compares what each made of them.
    fn batch(&mut self, messages: Vec<PlainMessage>) -> anyhow::Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let deadline = self.bounds.deadline;
        let crashes = self.old.lane.crashes() + self.new.lane.crashes();
        let (old, new);
        if self.batches.is_multiple_of(2) {
            old = self.old.settle(&messages, deadline)?;
            new = self.new.settle(&messages, deadline)?;
        } else {
            new = self.new.settle(&messages, deadline)?;
            old = self.old.settle(&messages, deadline)?;
        }
        let crashed = self.old.lane.crashes() + self.new.lane.crashes() > crashes;
        self.now = if crashed { (self.now / 2).max(1) } else { (self.now * 2).min(self.most) };
        // An instance's first call finds nothing in memory. Of a few messages there is no other.
        let timed = self.batches > 0 || messages.len() < FEW_MESSAGES;
        self.batches += 1;
        for ((message, old), new) in messages.iter().zip(&old).zip(&new) {
            // The time was up for one of them: what the other made of it is compared with nothing.
            let (Some(made_old), Some(made_new)) = (made(old), made(new)) else {
                self.report.complete = false;
                return Ok(());
            };
            self.old.numbers.count(old, timed);
            self.new.numbers.count(new, timed);
            let differences = Differences::between(&made_old, &made_new);
            if differences.is_empty() {
                self.report.summary.same(1);
                continue;
            }
            self.report.summary.differs(&differences);
            if self.report.differences.len() < self.bounds.kept {
                self.report.differences.push(Differing {
                    topic: message.topic.clone(),
                    partition: message.partition,
                    offset: message.offset,
                    key: message.key.as_deref().map(|key| shown(key, 0)),
                    differences,
                });
            }
        }
        Ok(())
    }
}

/// What a version made of a message; `None` if it is not settled.
pub fn made(answers: &[Answer]) -> Option<Made<'_>> {
    let last = answers.last()?;
    let verdict = match &last.verdict {
        Verdict::Acknowledged => "ack",
        Verdict::GivenUp(end) => end.class.as_str(),
        Verdict::Again { .. } => return None,
    };
    Some(Made {
        verdict,
        reason: last.reason(),
        attempts: last.attempt,
        outputs: last.emitted.iter().map(Output::of).collect(),
    })
}

fn size(message: &PlainMessage) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    length(&message.key) + length(&message.value) + headers
}
