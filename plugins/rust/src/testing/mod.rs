//! Runs a handler in an ordinary unit test, off-wasm: `cargo test` and nothing else. The [`Harness`] stands in for the
//! host, gives the handler its context and [`Sample`]s, and keeps what came of them in a [`Run`].
//!
//! ```
//! use wasmill_handler::prelude::*;
//! use wasmill_handler::testing::{Harness, Outcome, Sample};
//!
//! fn upper(message: &Message, out: &mut Outputs) -> Verdict {
//!     let text = message.text()?.to_uppercase();
//!     out.send(message.key(), Some(text.as_bytes()));
//!     ack()
//! }
//!
//! let run = Harness::function(upper).message(Sample::new().key("k").value("abc")).message(Sample::new()).run();
//! assert_eq!(run.values(), ["ABC"]);
//! assert_eq!(run.outcomes[1], Outcome::Reject { reason: "the value is absent".into() });
//! ```
//!
//! What it does not show is what only the sandbox does: limits, deadlines, and that a panic ends the instance.

pub(crate) mod recorder;
mod sample;

use std::time::Duration;

use crate::handler::fallback::{Function, Stateful};
use crate::handler::{Entry, Running};
use crate::log::Level;
use crate::message::{ABSENT, Batch, HEADER_ROW, ROW};
use crate::{Context, Handler, Message, Outputs, Verdict, host};

use recorder::{Emission, RECORDER, Recorder, Said};
pub use sample::Sample;
use sample::Table;

type Start = Box<dyn FnOnce(&Context) -> Result<Box<dyn Running>, String>>;

/// A handler about to be tested, its context and its messages.
#[must_use = "nothing happens before `run` or `start`"]
pub struct Harness {
    start: Start,
    context: Context,
    granted: Vec<String>,
    source: (String, i32),
    samples: Vec<Sample>,
}

impl Harness {
    /// Tests a handler with state.
    #[allow(clippy::new_ret_no_self)]
    pub fn new<H: Handler>() -> Self {
        Self::of(Stateful::<H>(std::marker::PhantomData))
    }

    /// Tests a function.
    pub fn function(function: impl Fn(&Message, &mut Outputs) -> Verdict + 'static) -> Self {
        Self::of(Function(function))
    }

    fn of(entry: impl Entry) -> Self {
        let context =
            Context { pipeline: "test".into(), group: "test".into(), digest: "0".repeat(64), settings: Vec::new() };
        Self {
            start: Box::new(|context| entry.start(context)),
            context,
            granted: Vec::new(),
            source: ("input".into(), 0),
            samples: Vec::new(),
        }
    }

    /// Adds a setting, as in the pipeline's `config` table.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.context.settings.push((key.into(), value.into()));
        self.context.settings.sort();
        self
    }

    /// Names the pipeline and its group; else both are `test`.
    pub fn pipeline(mut self, pipeline: &str, group: &str) -> Self {
        (self.context.pipeline, self.context.group) = (pipeline.into(), group.into());
        self
    }

    /// Grants an output topic, as in the pipeline's `output.topics`.
    pub fn grant(mut self, topic: &str) -> Self {
        self.granted.push(topic.into());
        self
    }

    /// Says where the messages come from; else it is partition 0 of `input`.
    pub fn source(mut self, topic: &str, partition: i32) -> Self {
        self.source = (topic.into(), partition);
        self
    }

    /// Adds a message to the batch.
    pub fn message(mut self, sample: impl Into<Sample>) -> Self {
        self.samples.push(sample.into());
        self
    }

    /// Adds messages to the batch.
    pub fn messages<S: Into<Sample>>(mut self, samples: impl IntoIterator<Item = S>) -> Self {
        self.samples.extend(samples.into_iter().map(Into::into));
        self
    }

    /// Starts the handler without handing it the messages added so far.
    ///
    /// # Errors
    /// What its `init` said.
    pub fn start(self) -> Result<Instance, String> {
        self.parts().map(|(instance, _)| instance)
    }

    /// Starts the handler and hands it the messages as one batch.
    ///
    /// # Panics
    /// If its `init` refuses.
    #[track_caller]
    pub fn run(self) -> Run {
        match self.parts() {
            Ok((mut instance, samples)) => instance.handle(samples),
            Err(reason) => panic!("the handler's init refused: {reason}"),
        }
    }

    fn parts(self) -> Result<(Instance, Vec<Sample>), String> {
        host::forget();
        let (source, partition) = self.source;
        let recorder = Recorder { granted: self.granted.clone(), source, ..Recorder::default() };
        RECORDER.set(recorder);
        let handler = (self.start)(&self.context)?;
        let instance = Instance { handler, out: Outputs::default(), granted: self.granted, partition, next_offset: 0 };
        Ok((instance, self.samples))
    }
}

/// A started handler, for tests of more than one batch. One at a time in a thread.
pub struct Instance {
    handler: Box<dyn Running>,
    out: Outputs,
    granted: Vec<String>,
    partition: i32,
    next_offset: i64,
}

impl Instance {
    /// Hands over a batch.
    pub fn handle<S: Into<Sample>>(&mut self, samples: impl IntoIterator<Item = S>) -> Run {
        let samples: Vec<Sample> = samples.into_iter().map(Into::into).collect();
        let input = Table::of(&samples, &mut self.next_offset);
        let batch = Batch::new(0, self.partition, &input.data, &input.words, ROW, input.count);
        let reached = self.handler.handle(&batch, &mut self.out) as usize;
        let (emissions, said, log) = RECORDER.with_borrow_mut(|recorder| {
            let Recorder { emissions, said, log, .. } = recorder;
            (std::mem::take(emissions), std::mem::take(said), std::mem::take(log))
        });
        let outcomes = outcomes(input.count, reached, &said);
        let mut outputs: Vec<Output> =
            emissions.iter().flat_map(|emission| decode(&input, emission, &self.granted)).collect();
        outputs.retain(|output| outcomes[output.message] == Outcome::Ack);
        Run { outcomes, outputs, log }
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What was said of each message, in order.
    pub outcomes: Vec<Outcome>,
    /// What would be published, in order: outputs of acknowledged messages.
    pub outputs: Vec<Output>,
    /// The log lines, in order; in the first batch of an instance also those of `init`.
    pub log: Vec<(Level, String)>,
}

impl Run {
    /// The values of the outputs as text, in order.
    ///
    /// # Panics
    /// If one is absent or not UTF-8.
    #[track_caller]
    pub fn values(&self) -> Vec<&str> {
        self.outputs.iter().map(Output::text).collect()
    }

    /// Whether every message was acknowledged.
    pub fn all_acknowledged(&self) -> bool {
        self.outcomes.iter().all(|outcome| *outcome == Outcome::Ack)
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Ack,
    /// To be handed over again.
    Retry {
        /// After at least so long.
        after: Duration,
        /// The text given.
        reason: String,
    },
    /// Given up for good.
    Reject {
        /// The text given.
        reason: String,
    },
    /// Not reached, because an earlier message asked for a retry. It is handed over again, its attempt unchanged.
    NotReached,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which message of the batch it was sent for.
    pub message: usize,
    /// The topic; `None` is the pipeline's default output.
    pub topic: Option<String>,
    /// The partition, if the handler chose one.
    pub partition: Option<i32>,
    /// The timestamp in milliseconds since 1970: the one set, else the message's.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; absent in a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Output {
    /// The value as text.
    ///
    /// # Panics
    /// If it is absent or not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        let value = self.value.as_deref().expect("the output is a tombstone");
        std::str::from_utf8(value).expect("the output's value is not UTF-8")
    }

    /// The value of the last header of that name.
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.headers.iter().rev().find(|(known, _)| known == name)?.1.as_deref()
    }
}

fn outcomes(count: usize, reached: usize, said: &[Said]) -> Vec<Outcome> {
    let outcome = |index: usize| {
        if index >= reached {
            return Outcome::NotReached;
        }
        let Some(said) = said.iter().find(|said| said.message as usize == index) else { return Outcome::Ack };
        let reason = said.reason.clone();
        match said.retry_after_ms {
            Some(ms) => Outcome::Retry { after: Duration::from_millis(ms.into()), reason },
            None => Outcome::Reject { reason },
        }
    };
    (0..count).map(outcome).collect()
}

/// Reads an emission as the host does.
fn decode(input: &Table, emission: &Emission, granted: &[String]) -> Vec<Output> {
    let bytes = |start: u32, length: u32| -> Option<Vec<u8>> {
        let (start, length) = (start as usize, length as usize);
        match start.checked_sub(input.data.len()) {
            _ if length == ABSENT as usize => None,
            Some(start) => Some(emission.data[start..][..length].to_vec()),
            None => Some(input.data[start..][..length].to_vec()),
        }
    };
    let (rows, own) = emission.table.split_at(emission.stride * emission.count);
    let (own, _) = own.as_chunks::<HEADER_ROW>();
    let header = |index: usize| {
        let [name, name_length, value, value_length] = match index.checked_sub(input.headers.len()) {
            Some(index) => own[index],
            None => input.headers[index],
        };
        (bytes(name, name_length).expect("a header has a name"), bytes(value, value_length))
    };
    let output = |row: &[u32]| {
        let message = row[0] as usize;
        let given = (u64::from(row[8]) | u64::from(row[9]) << 32).cast_signed();
        Output {
            message,
            topic: (row[1] as usize).checked_sub(1).map(|index| granted[index].clone()),
            key: bytes(row[2], row[3]),
            value: bytes(row[4], row[5]),
            headers: (row[6]..row[6] + row[7]).map(|index| header(index as usize)).collect(),
            timestamp: if row[11] & 1 == 0 { input.timestamps[message] } else { Some(given) },
            partition: (row[11] & 2 != 0).then_some(row[10].cast_signed()),
        }
    };
    rows.chunks_exact(emission.stride).map(output).collect()
}
