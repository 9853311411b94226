//! A lane in small: one guest, messages of one partition, and what becomes of each by the rules of a pipeline. Without a
//! cluster and without waiting; for `invoke`, `test`, `diff` and `conformance`.
//!
//! What is delivered next, what is kept and what is judged is decided by the same machines as on a lane of a pipeline
//! ([`Partition`], [`Backlog`], [`judge`], [`after_crash`]). What is left to do here is to call the guest and to tell what
//! came of each message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmill_config as config;
use wasmill_core::partition::{Partition, Start};
use wasmill_core::{
    AfterCrash, Backlog, Batch, Call, CallBound, CapEnds, CommitMode, CommitNote, ErrorClass, FailureKind, Generation,
    GivenUp, Judgement, Messages, NextOffset, Pick, Rest, SpanBound, after_crash, judge,
};
use wasmill_kafka::plain::PlainMessage;
use wasmill_pipeline::handler_spec;
use wasmill_pipeline::io::{Guest, Handler};
use wasmill_wasm::{CallError, InstanceSpec, LogLevel, LogSink, OutputNames};

/// Keeps a handler's lines. How many there can be is bounded by what an instance may say in a second.
#[derive(Default)]
struct Kept(Mutex<Vec<(LogLevel, String)>>);

impl LogSink for Kept {
    fn write(&self, level: LogLevel, text: &str) {
        self.0.lock().push((level, text.to_owned()));
    }
}

impl Kept {
    fn take(&self) -> Vec<(LogLevel, String)> {
        std::mem::take(&mut self.0.lock())
    }
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Verdict {
    /// It is complete once its outputs are confirmed.
    Acknowledged,
    /// It is handed over again.
    Again {
        /// After so long.
        delay: Duration,
        /// As this attempt.
        next_attempt: u32,
        /// Why.
        reason: String,
    },
    /// It goes to the dead letters, or as `on_exhausted` says.
    GivenUp(GivenUp),
}

/// What came of one message.
#[derive(Debug)]
pub struct Answer {
    /// What becomes of it.
    pub verdict: Verdict,
    /// What the handler did, in a word: `ack`, `retry`, `reject`, or the class of a failure.
    pub word: &'static str,
    /// The call failed as a whole.
    pub crash: Option<CallError>,
    /// An earlier call with this message failed on an instance that had been used before.
    pub before: Option<CallError>,
    /// What is published: nothing, unless the message is acknowledged.
    pub emitted: Vec<PlainMessage>,
    /// How many outputs are not published.
    pub dropped: usize,
    /// What the handler logged in the call; of a batch, all of it stands at its first message.
    pub log: Vec<(LogLevel, String)>,
    /// How long the call took; of a batch, an equal part of it.
    pub time: Duration,
    /// The attempt that the handler was told.
    pub attempt: u32,
}

impl Answer {
    /// Why it was not acknowledged.
    pub fn reason(&self) -> Option<&str> {
        match (&self.crash, &self.verdict) {
            (Some(crash), _) => Some(&crash.message),
            (None, Verdict::Acknowledged) => None,
            (None, Verdict::Again { reason, .. }) => Some(reason),
            (None, Verdict::GivenUp(end)) => Some(&end.reason),
        }
    }
}

/// What one call came to.
enum Pass {
    /// Messages from the first one on that are settled, and perhaps one more that is to be tried again.
    Answered(Vec<Answer>),
    /// The messages are to be handed over once more, each alone to an instance that has not failed.
    Alone(CallError),
}

/// A lane in small.
pub struct Lane {
    handler: Arc<dyn Handler>,
    spec: InstanceSpec,
    retry: config::RetryPolicy,
    log: Arc<Kept>,
    instance: Option<Box<dyn Guest>>,
    /// Calls of the instance.
    calls: u64,
    instances: u64,
    crashes: u64,
    cap_ends: CapEnds,
}

impl Lane {
    /// A lane of this pipeline, with this plugin. Nothing runs yet.
    pub fn new(handler: Arc<dyn Handler>, pipeline: &config::Pipeline) -> Self {
        let log = Arc::new(Kept::default());
        let spec = InstanceSpec { log: log.clone(), ..handler_spec::spec(pipeline, 0) };
        Self {
            handler,
            spec,
            retry: pipeline.retry,
            log,
            instance: None,
            calls: 0,
            instances: 0,
            crashes: 0,
            cap_ends: CapEnds::default(),
        }
    }

    /// Starts an instance, unless there is one that can go on.
    pub fn start(&mut self) -> anyhow::Result<&mut dyn Guest> {
        if self.instance.as_ref().is_some_and(|guest| guest.is_due_for_replacement()) {
            self.instance = None;
        }
        if self.instance.is_none() {
            self.instance = Some(self.handler.start(&self.spec)?);
            self.calls = 0;
            self.instances += 1;
        }
        Ok(&mut **self.instance.as_mut().expect("started just above"))
    }

    /// What was logged since the last call.
    pub fn take_log(&self) -> Vec<(LogLevel, String)> {
        self.log.take()
    }

    /// Bytes of linear memory of the instance; 0 if there is none.
    pub fn memory_bytes(&self) -> u64 {
        self.instance.as_ref().map_or(0, |guest| guest.memory_bytes())
    }

    /// Instances that were started so far.
    pub fn instances(&self) -> u64 {
        self.instances
    }

    /// Calls that failed as a whole so far.
    pub fn crashes(&self) -> u64 {
        self.crashes
    }

    /// Delivers one message. A retry is told and not followed.
    ///
    /// # Errors
    /// The guest cannot start, or the message does not fit into a batch.
    pub fn call(&mut self, message: &PlainMessage, attempt: u32) -> anyhow::Result<Answer> {
        let mut work = Work::new(std::slice::from_ref(message), attempt)?;
        let mut before = None;
        loop {
            let Some(call) = work.next() else { anyhow::bail!("of one message nothing came") };
            match self.pass(&mut work, &call)? {
                Pass::Answered(answers) => {
                    let Some(answer) = answers.into_iter().next() else { continue };
                    return Ok(Answer { before, ..answer });
                }
                Pass::Alone(error) => before = Some(error),
            }
        }
    }

    /// Delivers messages as one batch and goes on as a lane would, retries included but not waited for, until each is
    /// settled. What came of each message, in the order of its attempts.
    ///
    /// # Errors
    /// As [`Lane::call`].
    pub fn settle(&mut self, messages: &[PlainMessage]) -> anyhow::Result<Vec<Vec<Answer>>> {
        self.settle_by(messages, None)
    }

    /// As [`Lane::settle`], and no call begins after the deadline: of messages that are not settled by then nothing came, or a
    /// retry at last.
    ///
    /// # Errors
    /// As [`Lane::call`].
    pub fn settle_by(
        &mut self,
        messages: &[PlainMessage],
        deadline: Option<Instant>,
    ) -> anyhow::Result<Vec<Vec<Answer>>> {
        let mut told: Vec<Vec<Answer>> = messages.iter().map(|_| Vec::new()).collect();
        let mut work = Work::new(messages, 1)?;
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let Some(call) = work.next() else { break };
            let first = work.place();
            if let Pass::Answered(answers) = self.pass(&mut work, &call)? {
                for (index, answer) in answers.into_iter().enumerate() {
                    told[first + index].push(answer);
                }
            }
        }
        Ok(told)
    }

    /// One call of the guest, and what becomes of its messages.
    fn pass(&mut self, work: &mut Work<'_>, call: &Call) -> anyhow::Result<Pass> {
        self.start()?;
        let fresh = self.calls == 0;
        self.calls += 1;
        let first = work.place();
        let messages = &work.messages[first..first + work.batch.len()];
        let source = self.spec.sources.iter().position(|topic| *topic == messages[0].topic).unwrap_or_default() as u32;
        let guest = self.start()?;
        let began = Instant::now();
        let called = guest.handle(source, messages[0].partition, &work.batch);
        let time = began.elapsed() / u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let mut answers = match called {
            Ok(reached) => {
                let failures = self.instance.as_ref().map_or(&[][..], |guest| guest.failures());
                let judgement = judge(messages.len(), reached, failures, call.attempt, &self.retry);
                let answers = self.judged(messages, &work.batch, &judgement, call.attempt);
                work.settle(call, judgement.settled, judgement.rest.as_ref());
                answers
            }
            Err(error) => {
                self.instance = None;
                if self.is_nobodys_fault(&error, &call.messages, messages.len()) {
                    work.backlog.put_back(call, &mut work.batch, call.attempt, messages.len());
                    return Ok(Pass::Alone(error));
                }
                self.crashes += 1;
                match self.crashed(work, call, error, fresh) {
                    Ok(answer) => vec![answer],
                    Err(error) => return Ok(Pass::Alone(error)),
                }
            }
        };
        for answer in &mut answers {
            answer.time = time;
        }
        if let Some(first) = answers.first_mut() {
            first.log = self.log.take();
        }
        Ok(Pass::Answered(answers))
    }

    /// The wall clock ended the call, and no attempt is counted.
    fn is_nobodys_fault(&mut self, error: &CallError, call: &Messages, count: usize) -> bool {
        if error.class != ErrorClass::TimeCap {
            self.cap_ends.forget();
            return false;
        }
        count != 1 || !self.cap_ends.counts(call.first())
    }

    fn judged(&self, messages: &[PlainMessage], batch: &Batch, judgement: &Judgement, attempt: u32) -> Vec<Answer> {
        let instance = &**self.instance.as_ref().expect("it answered");
        let mut answers: Vec<Answer> = (0..judgement.settled)
            .map(|index| {
                let attempt = if index == 0 { attempt } else { 1 };
                let word = self.word(index, judgement.publishes(index));
                self.settled(judgement, index, batch, &messages[index], answer(Verdict::Acknowledged, word, attempt))
            })
            .collect();
        if let Some(Rest::Retry { delay, next_attempt, reason }) = &judgement.rest {
            let word = self.word(judgement.settled, false);
            let verdict = Verdict::Again { delay: *delay, next_attempt: *next_attempt, reason: reason.clone() };
            let attempt = next_attempt.saturating_sub(1);
            let dropped = outputs_of(instance, judgement.settled).count();
            answers.push(Answer { dropped, ..answer(verdict, word, attempt) });
        }
        answers
    }

    /// What the handler did with a message, in a word.
    fn word(&self, index: usize, published: bool) -> &'static str {
        let failures = self.instance.as_ref().map_or(&[][..], |guest| guest.failures());
        match failures.iter().find(|failure| failure.message as usize == index).map(|failure| failure.kind) {
            Some(FailureKind::Reject) => "reject",
            Some(FailureKind::Retry) => "retry",
            None if published => "ack",
            None => ErrorClass::NoProgress.as_str(),
        }
    }

    fn settled(
        &self,
        judgement: &Judgement,
        index: usize,
        batch: &Batch,
        message: &PlainMessage,
        answer: Answer,
    ) -> Answer {
        let instance = &**self.instance.as_ref().expect("it answered");
        if let Some(end) = judgement.given_up.iter().find(|end| end.message == index) {
            let dropped = outputs_of(instance, index).count();
            return Answer { verdict: Verdict::GivenUp(end.clone()), dropped, ..answer };
        }
        let emitted = emitted(instance, index, batch, message, &self.spec.outputs);
        Answer { emitted, ..answer }
    }

    /// The answer of a call that failed as a whole; the error itself if the messages are delivered once more.
    fn crashed(&self, work: &mut Work<'_>, call: &Call, error: CallError, fresh: bool) -> Result<Answer, CallError> {
        let count = work.batch.len();
        let verdict = match after_crash(count, count == 1 && fresh, call.attempt, &self.retry) {
            AfterCrash::ReplayAlone => {
                work.backlog.put_back(call, &mut work.batch, call.attempt, count);
                return Err(error);
            }
            AfterCrash::Again { delay, next_attempt } => {
                work.backlog.put_back(call, &mut work.batch, next_attempt, 1);
                Verdict::Again { delay, next_attempt, reason: format!("{}: {}", error.class, error.full()) }
            }
            AfterCrash::GiveUp { attempts } => {
                work.settle(call, 1, None);
                Verdict::GivenUp(GivenUp { message: 0, attempts, class: error.class, reason: error.full() })
            }
        };
        let word = error.class.as_str();
        Ok(Answer { crash: Some(error), ..answer(verdict, word, call.attempt) })
    }
}

/// Messages on their way through the lane: the partition and the backlog of a pipeline's lane, without a source. All of
/// them are in the backlog from the start, so that their offsets may be whatever a case says.
struct Work<'a> {
    messages: &'a [PlainMessage],
    partition: Partition,
    backlog: Backlog,
    batch: Batch,
}

impl<'a> Work<'a> {
    /// These messages, the first of them at `attempt`.
    fn new(messages: &'a [PlainMessage], attempt: u32) -> anyhow::Result<Self> {
        let start = NextOffset::at(0);
        let mut partition = Partition::new(Start {
            generation: Generation(1),
            mode: CommitMode::Manual { min_interval: Duration::ZERO },
            window: SpanBound { messages: u64::MAX, bytes: u64::MAX },
            at: start,
            committed: Some(start),
            opening: false,
            note: CommitNote::default(),
            topic_id: None,
            running: None,
        });
        let mut backlog = Backlog::new();
        let mut all = batch(messages, attempt)?;
        if let Some(last) = (messages.len() as i64).checked_sub(1).filter(|last| *last >= 0) {
            let opened = partition.open(0, last, messages.len() as u32, all.bytes() as u64);
            backlog.put_back(&Call::of_all(opened, last), &mut all, attempt, 0);
        }
        Ok(Self { messages, partition, backlog, batch: all })
    }

    /// Puts what is delivered next into the batch.
    fn next(&mut self) -> Option<Call> {
        let unbounded = CallBound { messages: usize::MAX, bytes: usize::MAX };
        match self.backlog.pick(&mut self.partition, unbounded, None, &mut self.batch) {
            Pick::Call(call) => Some(call),
            // Nothing is published here, so nothing is refused.
            Pick::Nothing | Pick::Refused(..) | Pick::Stuck { .. } => None,
        }
    }

    /// The place among all messages of the first one that is not settled.
    fn place(&self) -> usize {
        let left = self.backlog.leftover().map_or(0, |(_, left)| left as usize);
        self.messages.len().saturating_sub(left)
    }

    /// The first `settled` messages of a call are done with, `rest` says how the next one goes on.
    fn settle(&mut self, call: &Call, settled: usize, rest: Option<&Rest>) {
        let attempt = match rest {
            Some(Rest::Retry { next_attempt, .. }) => *next_attempt,
            _ if settled == 0 => call.attempt,
            _ => 1,
        };
        self.backlog.keep(call, &mut self.batch, settled, call.run, attempt);
    }
}

fn answer(verdict: Verdict, word: &'static str, attempt: u32) -> Answer {
    Answer {
        verdict,
        word,
        crash: None,
        before: None,
        emitted: Vec::new(),
        dropped: 0,
        log: Vec::new(),
        time: Duration::ZERO,
        attempt,
    }
}

/// A sealed batch of these messages, the first of which is at `attempt`.
pub fn batch(messages: &[PlainMessage], attempt: u32) -> anyhow::Result<Batch> {
    let mut batch = Batch::new();
    for (index, message) in messages.iter().enumerate() {
        let attempt = if index == 0 { attempt } else { 1 };
        batch.push(message.key.as_deref(), message.value.as_deref(), message.offset, message.timestamp, attempt)?;
        for (name, value) in &message.headers {
            batch.push_header(name.as_bytes(), value.as_deref())?;
        }
    }
    batch.seal();
    Ok(batch)
}

fn outputs_of(instance: &dyn Guest, index: usize) -> impl Iterator<Item = &wasmill_core::EmittedRow> {
    instance.emitted().rows.iter().filter(move |row| row.message as usize == index)
}

/// What was emitted for a message, as messages. The partition of one that leaves it to the key is -1, as in `jsonl`.
fn emitted(
    instance: &dyn Guest,
    index: usize,
    batch: &Batch,
    input: &PlainMessage,
    outputs: &OutputNames,
) -> Vec<PlainMessage> {
    let emitted = instance.emitted();
    let bytes = |span| emitted.bytes(batch.data(), span);
    let message = |row: &wasmill_core::EmittedRow| PlainMessage {
        topic: outputs.name(row.topic).unwrap_or("?").to_owned(),
        partition: row.partition.unwrap_or(-1),
        offset: -1,
        timestamp: row.timestamp.or(input.timestamp),
        key: bytes(row.key).map(<[u8]>::to_vec),
        value: bytes(row.value).map(<[u8]>::to_vec),
        headers: emitted
            .headers_of(row)
            .iter()
            .map(|[name, value]| {
                let name = String::from_utf8_lossy(bytes(*name).unwrap_or_default()).into_owned();
                (name, bytes(*value).map(<[u8]>::to_vec))
            })
            .collect(),
    };
    outputs_of(instance, index).map(message).collect()
}

#[cfg(test)]
mod tests;
