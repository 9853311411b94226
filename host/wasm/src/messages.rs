//! World `messages`, the plain one: one guest call for each message, with nested values. What comes out is put into
//! the form that the fast world emits, through the same checks, so that nothing behind this file knows the difference.

use std::time::Duration;

use wasmill_core::{Batch, MessageRef};
use wasmtime::component::{ComponentType, Instance, Lift, Lower, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::capabilities::outcome::Output as Emit;
use crate::error::Stop;
use crate::state::State;
use crate::text;

/// A failure's reason is cut to this, as in the fast world.
const REASON_BYTES: usize = 8 * 1024;

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Message<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    attempt: u32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<HeaderIn<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct HeaderIn<'a> {
    name: String,
    value: Option<&'a [u8]>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Output {
    topic: Option<String>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<HeaderOut>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct HeaderOut {
    name: String,
    value: Option<Vec<u8>>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Failure {
    #[component(name = "retry")]
    Retry((u32, String)),
    #[component(name = "reject")]
    Reject(String),
}

pub(crate) type Parameters<'a> = (Message<'a>,);
pub(crate) type Returned = (Result<Vec<Output>, Failure>,);

/// The guest's `handle`, type-checked.
#[derive(Clone, Copy)]
pub(crate) struct Handle(TypedFunc<Parameters<'static>, Returned>);

impl Handle {
    pub(crate) fn find(store: &mut Store<State>, instance: Instance) -> wasmtime::Result<Self> {
        Ok(Self(instance.get_typed_func(store.as_context_mut(), "handle")?))
    }

    /// Hands the messages over one by one, up to the first retry. The call's wall clock is the batch's; no message may be
    /// charged with more than `each`.
    pub(crate) fn call(
        &self,
        store: &mut Store<State>,
        source: u32,
        partition: i32,
        batch: &Batch,
        each: Duration,
    ) -> wasmtime::Result<u32> {
        let sources = store.data().topics.sources.clone();
        let topic = sources.get(source as usize).map_or("", String::as_str);
        for (index, message) in batch.messages().enumerate() {
            store.data_mut().watch.start_part(each);
            store.data_mut().log.words.forget();
            let handle: TypedFunc<Parameters<'_>, Returned> = self.0;
            let (verdict,) = handle.call(store.as_context_mut(), (lower(topic, partition, message),))?;
            let index = index as u32;
            let outcome = store.data_mut();
            match verdict {
                Ok(outputs) => take_over(outcome, index, &outputs)?,
                Err(Failure::Reject(reason)) => {
                    outcome.outcome_mut().fail(index, None, text::clean(&reason, REASON_BYTES));
                }
                Err(Failure::Retry((after_ms, reason))) => {
                    outcome.outcome_mut().fail(index, Some(after_ms), text::clean(&reason, REASON_BYTES));
                    return Ok(index + 1);
                }
            }
        }
        Ok(batch.len() as u32)
    }
}

fn lower<'a>(topic: &'a str, partition: i32, message: MessageRef<'a>) -> Message<'a> {
    // Kafka does not say what a header's name is made of; the contract says text.
    let header = |(name, value)| HeaderIn { name: String::from_utf8_lossy(name).into_owned(), value };
    Message {
        topic,
        partition,
        offset: message.offset,
        timestamp: message.timestamp,
        attempt: message.attempt,
        key: message.key(),
        value: message.value(),
        headers: message.headers().map(header).collect(),
    }
}

fn take_over(state: &mut State, message: u32, outputs: &[Output]) -> Result<(), Stop> {
    for output in outputs {
        let topic = match &output.topic {
            None => 0,
            Some(name) => state.topics.number(name).map_err(Stop::Protocol)?,
        };
        let emit = Emit {
            message,
            topic,
            partition: output.partition,
            timestamp: output.timestamp,
            key: output.key.as_deref(),
            value: output.value.as_deref(),
        };
        let headers = output.headers.iter().map(|header| (header.name.as_bytes(), header.value.as_deref()));
        state.outcome_mut().push(&emit, headers)?;
    }
    Ok(())
}
