//! A lane in small: one instance, messages of one partition, and what becomes of each by the rules of a pipeline. Without a
//! cluster and without waiting; for `invoke`, `test` and `conformance`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmill_config as config;
use wasmill_core::{AfterCrash, Batch, ErrorClass, FailureKind, GivenUp, Judgement, Rest, after_crash, judge};
use wasmill_kafka::plain::PlainMessage;
use wasmill_pipeline::handler_spec;
use wasmill_wasm::{CallError, Instance, InstanceSpec, LogLevel, LogSink, OutputNames, Plugin};

/// Keeps a handler's lines. How many there can be is bounded by what an instance may say in a second.
#[derive(Default)]
struct Kept(Mutex<Vec<(LogLevel, String)>>);

impl LogSink for Kept {
    fn write(&self, level: LogLevel, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((level, text.to_owned()));
    }
}

impl Kept {
    fn take(&self) -> Vec<(LogLevel, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
    plugin: Plugin,
    spec: InstanceSpec,
    retry: config::RetryPolicy,
    log: Arc<Kept>,
    instance: Option<Instance>,
    /// Calls of the instance.
    calls: u64,
    instances: u64,
    crashes: u64,
}

impl Lane {
    /// A lane of this pipeline, with this plugin. Nothing runs yet.
    pub fn new(plugin: Plugin, pipeline: &config::Pipeline) -> Self {
        let log = Arc::new(Kept::default());
        let spec = InstanceSpec { log: log.clone(), ..handler_spec::spec(pipeline, 0) };
        Self { plugin, spec, retry: pipeline.retry, log, instance: None, calls: 0, instances: 0, crashes: 0 }
    }

    /// Starts an instance, unless there is one that can go on.
    pub fn start(&mut self) -> anyhow::Result<&mut Instance> {
        if self.instance.as_ref().is_some_and(Instance::is_due_for_replacement) {
            self.instance = None;
        }
        if self.instance.is_none() {
            self.instance = Some(self.plugin.instantiate(&self.spec)?);
            self.calls = 0;
            self.instances += 1;
        }
        Ok(self.instance.as_mut().expect("started just above"))
    }

    /// What was logged since the last call.
    pub fn take_log(&self) -> Vec<(LogLevel, String)> {
        self.log.take()
    }

    /// Bytes of linear memory of the instance; 0 if there is none.
    pub fn memory_bytes(&self) -> u64 {
        self.instance.as_ref().map_or(0, Instance::memory_bytes)
    }

    /// Instances that were started so far.
    pub fn instances(&self) -> u64 {
        self.instances
    }

    /// Calls that failed as a whole so far.
    pub fn crashes(&self) -> u64 {
        self.crashes
    }

    /// Hands one message over. A retry is told and not followed.
    pub fn call(&mut self, message: &PlainMessage, attempt: u32) -> anyhow::Result<Answer> {
        let mut before = None;
        loop {
            match self.pass(std::slice::from_ref(message), attempt)? {
                Pass::Answered(answers) => {
                    let mut answer = answers.into_iter().next().expect("of one message something came");
                    answer.before = before;
                    return Ok(answer);
                }
                Pass::Alone(error) => before = Some(error),
            }
        }
    }

    /// Hands messages over as one batch and goes on as a lane would, retries included but not waited for, until each is
    /// settled. What came of each message, in the order of its attempts.
    pub fn settle(&mut self, messages: &[PlainMessage]) -> anyhow::Result<Vec<Vec<Answer>>> {
        self.settle_by(messages, None)
    }

    /// As [`Lane::settle`], and no call begins after the deadline: of messages that are not settled by then nothing came, or a
    /// retry at last.
    pub fn settle_by(
        &mut self,
        messages: &[PlainMessage],
        deadline: Option<Instant>,
    ) -> anyhow::Result<Vec<Vec<Answer>>> {
        let mut told: Vec<Vec<Answer>> = messages.iter().map(|_| Vec::new()).collect();
        let (mut at, mut attempt, mut alone_until) = (0, 1, 0);
        while at < messages.len() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let end = if at < alone_until { at + 1 } else { messages.len() };
            match self.pass(&messages[at..end], attempt)? {
                Pass::Alone(_) => alone_until = alone_until.max(end),
                Pass::Answered(answers) => {
                    attempt = 1;
                    let first = at;
                    for (index, answer) in answers.into_iter().enumerate() {
                        match answer.verdict {
                            Verdict::Again { next_attempt, .. } => attempt = next_attempt,
                            _ => at = first + index + 1,
                        }
                        told[first + index].push(answer);
                    }
                }
            }
        }
        Ok(told)
    }

    fn pass(&mut self, messages: &[PlainMessage], attempt: u32) -> anyhow::Result<Pass> {
        let batch = batch(messages, attempt)?;
        self.start()?;
        let fresh = self.calls == 0;
        self.calls += 1;
        let first = &messages[0];
        let source = self.spec.sources.iter().position(|topic| *topic == first.topic).unwrap_or_default() as u32;
        let instance = self.start()?;
        let began = Instant::now();
        let called = instance.handle(source, first.partition, &batch);
        let time = began.elapsed() / u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let mut answers = match called {
            Ok(reached) => self.judged(messages, &batch, reached, attempt),
            Err(error) => {
                self.instance = None;
                self.crashes += 1;
                match self.crashed(error, messages.len(), fresh, attempt) {
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

    fn judged(&self, messages: &[PlainMessage], batch: &Batch, reached: u32, attempt: u32) -> Vec<Answer> {
        let instance = self.instance.as_ref().expect("it answered");
        let judgement = judge(messages.len(), reached, instance.failures(), attempt, &self.retry);
        let mut answers: Vec<Answer> = (0..judgement.settled)
            .map(|index| {
                let attempt = if index == 0 { attempt } else { 1 };
                let word = self.word(index, judgement.publishes(index));
                self.settled(&judgement, index, batch, &messages[index], answer(Verdict::Acknowledged, word, attempt))
            })
            .collect();
        if let Some(Rest::Retry { delay, next_attempt, reason }) = judgement.rest {
            let word = self.word(judgement.settled, false);
            let verdict = Verdict::Again { delay, next_attempt, reason };
            let attempt = next_attempt.saturating_sub(1);
            let dropped = outputs_of(instance, judgement.settled).count();
            answers.push(Answer { dropped, ..answer(verdict, word, attempt) });
        }
        answers
    }

    /// What the handler did with a message, in a word.
    fn word(&self, index: usize, published: bool) -> &'static str {
        let failures = self.instance.as_ref().map_or(&[][..], Instance::failures);
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
        let instance = self.instance.as_ref().expect("it answered");
        if let Some(end) = judgement.given_up.iter().find(|end| end.message == index) {
            let dropped = outputs_of(instance, index).count();
            return Answer { verdict: Verdict::GivenUp(end.clone()), dropped, ..answer };
        }
        let emitted = emitted(instance, index, batch, message, &self.spec.outputs);
        Answer { emitted, ..answer }
    }

    /// The answer of a call that failed as a whole; the error itself if the messages are to be handed over once more.
    fn crashed(&self, error: CallError, handed: usize, fresh: bool, attempt: u32) -> Result<Answer, CallError> {
        let verdict = match after_crash(handed, fresh, attempt, &self.retry) {
            AfterCrash::ReplayAlone => return Err(error),
            AfterCrash::Again { delay, next_attempt } => {
                Verdict::Again { delay, next_attempt, reason: format!("{}: {}", error.class, error.full()) }
            }
            AfterCrash::GiveUp { attempts } => {
                Verdict::GivenUp(GivenUp { message: 0, attempts, class: error.class, reason: error.full() })
            }
        };
        let word = error.class.as_str();
        Ok(Answer { crash: Some(error), ..answer(verdict, word, attempt) })
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

fn outputs_of(instance: &Instance, index: usize) -> impl Iterator<Item = &wasmill_core::EmittedRow> {
    instance.emitted().rows.iter().filter(move |row| row.message as usize == index)
}

/// What was emitted for a message, as messages. The partition of one that leaves it to the key is -1, as in `jsonl`.
fn emitted(
    instance: &Instance,
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
