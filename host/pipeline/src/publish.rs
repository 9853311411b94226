//! From a judged call to the producer: the outputs of acknowledged messages in the order in which they were emitted,
//! then the dead letters of those given up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmill_config::{OnExhausted, Oversized, Timestamp};
use wasmill_core::partition::{DeadLetterStage, Event, StopClass};
use wasmill_core::{Batch, Call, Emitted, EmittedRow, ErrorClass, GivenUp};

use crate::clock;
use crate::dead_letter::{self, Provenance};
use crate::io::{Outgoing, Target};
use crate::partition::Partition;
use crate::publisher::{Publisher, Sending, Unsent};
use crate::shared::PipelineShared;

/// With `output.digest_header`.
const PLUGIN: &[u8] = b"wasmill.plugin";

/// A judged call.
pub(crate) struct Publication<'a> {
    pub(crate) shared: &'a PipelineShared,
    pub(crate) publisher: &'a Publisher,
    pub(crate) partition: &'a Arc<Partition>,
    pub(crate) batch: &'a Batch,
    pub(crate) emitted: &'a Emitted,
    pub(crate) digest: &'a str,
    pub(crate) call: &'a Call,
}

/// What became of it.
pub(crate) struct Published<'a> {
    /// Messages that are done with; fewer than judged when the partition stops.
    pub(crate) settled: usize,
    /// Which of them were given up, ascending.
    pub(crate) given_up: Vec<u32>,
    /// Outputs on their way; `None` when there were none.
    pub(crate) sending: Option<Sending<'a>>,
    /// Sending ended early: nothing of the call may complete.
    pub(crate) abandoned: bool,
    /// Why the partition has to stop at message `settled`.
    pub(crate) stop: Option<(StopClass, String)>,
}

/// Publishes the first `settled` messages' outputs and dead letters.
pub(crate) fn publish<'a>(
    call: &Publication<'a>,
    mut settled: usize,
    mut given_up: Vec<GivenUp>,
    stage: DeadLetterStage,
) -> Published<'a> {
    let mut stop = None;
    let stops = matches!(call.shared.started_with.on_exhausted, OnExhausted::Stop);
    if stops && let Some(first) = given_up.first() {
        // Everything before it goes out; it and all behind it wait for an operator.
        settled = first.message;
        stop = Some((StopClass::Failed, reason_to_stop(call, first)));
        given_up.clear();
    }
    let mut sender = Sender { call, sending: None, abandoned: false };
    for row in &call.emitted.rows {
        let message = row.message as usize;
        if message >= settled || given_up.iter().any(|lost| lost.message == message) {
            continue;
        }
        match sender.output(row) {
            Ok(()) => {}
            Err(Unsent::Abandoned) => {
                sender.abandoned = true;
                break;
            }
            // Not the end of the loop, here and below: behind this a handler may have emitted for earlier messages, and
            // those are settled, so what they came to must be on its way.
            Err(Unsent::TopicRefused(reason)) => {
                settled = message;
                stop = Some((StopClass::Output, format!("the output topic takes nothing: {reason}")));
            }
            Err(Unsent::Refused(reason)) => {
                let attempts = call.batch.message(message).attempt;
                let lost = GivenUp { message, attempts, class: ErrorClass::Refused, reason };
                if stops {
                    settled = message;
                    stop = Some((StopClass::Failed, reason_to_stop(call, &lost)));
                } else {
                    given_up.push(lost);
                }
            }
        }
    }
    // In the order of messages: if a dead letter cannot be sent, those of all earlier messages were.
    given_up.sort_by_key(|lost| lost.message);
    given_up.retain(|lost| lost.message < settled);
    if !sender.abandoned {
        for lost in &given_up {
            match sender.give_up(lost, stage) {
                Ok(()) => {}
                Err(Unsent::Abandoned) => {
                    sender.abandoned = true;
                    break;
                }
                Err(Unsent::TopicRefused(reason)) => {
                    settled = lost.message;
                    stop = Some((StopClass::Output, format!("the dead-letter topic takes nothing: {reason}")));
                    break;
                }
                Err(Unsent::Refused(reason)) => {
                    // Not even the bare dead letter was taken: hold here rather than lose it.
                    settled = lost.message;
                    stop = Some((StopClass::DeadLetter, format!("dead letter refused: {reason}")));
                    break;
                }
            }
        }
    }
    given_up.retain(|lost| lost.message < settled);
    let given_up = given_up.iter().map(|lost| lost.message as u32).collect();
    Published { settled, given_up, sending: sender.sending, abandoned: sender.abandoned, stop }
}

fn reason_to_stop(call: &Publication<'_>, lost: &GivenUp) -> String {
    let offset = call.batch.message(lost.message).offset;
    format!("message {offset} was given up ({}): {}", lost.class.as_str(), lost.reason)
}

struct Sender<'c, 'a> {
    call: &'c Publication<'a>,
    sending: Option<Sending<'a>>,
    abandoned: bool,
}

impl<'a> Sender<'_, 'a> {
    /// The ticket, opened at the first output: a call without outputs needs none.
    fn sending(&mut self) -> &mut Sending<'a> {
        let call = self.call;
        self.sending.get_or_insert_with(|| {
            let Call { fence, run, messages, .. } = call.call;
            call.publisher.begin(call.partition, *fence, *run, messages)
        })
    }

    fn output(&mut self, row: &EmittedRow) -> Result<(), Unsent> {
        let call = self.call;
        let input = call.batch.data().as_slice();
        let message = call.batch.message(row.message as usize);
        if !call.publisher.sink().has_topic(row.topic) {
            return Err(Unsent::Refused(format!("topic number {} is not granted", row.topic)));
        }
        // Most outputs have none; then this does not allocate.
        let mut headers: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        let rows = row.first_header as usize..(row.first_header + row.headers) as usize;
        for [name, value] in &call.emitted.headers[rows] {
            let name = call.emitted.bytes(input, *name).unwrap_or_default();
            headers.push((name, call.emitted.bytes(input, *value)));
        }
        if call.shared.started_with.output.digest_header {
            // A message that is forwarded may bring that of another pipeline.
            headers.retain(|(name, _)| *name != PLUGIN);
            headers.push((PLUGIN, Some(call.digest.as_bytes())));
        }
        const TRACE: &[u8] = b"traceparent";
        if !headers.iter().any(|(name, _)| *name == TRACE)
            && let Some((name, value)) = message.headers().find(|(name, _)| *name == TRACE)
        {
            headers.push((name, value));
        }
        let token_of = message.offset;
        let sending = self.sending();
        let outgoing = Outgoing {
            target: Target::Output(row.topic),
            partition: row.partition,
            key: call.emitted.bytes(input, row.key),
            value: call.emitted.bytes(input, row.value),
            headers: &headers,
            timestamp: row.timestamp.or(match call.shared.started_with.output.timestamp {
                Timestamp::Message => message.timestamp,
                Timestamp::Now => None,
            }),
            token: sending.token(token_of),
        };
        sending.send(&outgoing)
    }

    /// Dead-letters a message, or skips it where the pipeline says so, and counts it once that has worked: one whose
    /// dead-letter topic takes nothing comes here again and again.
    fn give_up(&mut self, lost: &GivenUp, stage: DeadLetterStage) -> Result<(), Unsent> {
        self.dead_letter(lost, stage)?;
        let (shared, partition) = (self.call.shared, self.call.partition);
        partition.failed.fetch_add(1, Ordering::Relaxed);
        let to = match &shared.started_with.on_exhausted {
            OnExhausted::DeadLetter(topic) => Some(topic.as_str()),
            OnExhausted::Stop | OnExhausted::Skip => None,
        };
        let offset = self.call.batch.message(lost.message).offset;
        shared.failures.add(&shared.name, &partition.id, offset, lost, to, clock::now());
        Ok(())
    }

    /// A refused dead letter goes once more with headers only if the pipeline allows that; else nothing of it is published.
    fn dead_letter(&mut self, lost: &GivenUp, stage: DeadLetterStage) -> Result<(), Unsent> {
        let call = self.call;
        let message = call.batch.message(lost.message);
        let offset = message.offset;
        let strips = call.shared.started_with.oversized == Oversized::Strip;
        if stage == DeadLetterStage::HeadersOnly && !strips {
            // The broker refused it whole.
            return Err(Unsent::Refused(self.with_hint(&lost.reason)));
        }
        call.partition.counters.given_up.increment(1);
        if !call.publisher.sink().has_dead_letter() {
            call.partition.counters.skipped.increment(1);
            // Each of them: this line is all that is left of the message.
            tracing::warn!(
                pipeline = %call.shared.name, partition = %call.partition.id, offset,
                error = lost.class.as_str(), reason = %lost.reason, "message skipped"
            );
            return Ok(());
        }
        let retry = call.partition.lock().retry().filter(|retry| retry.offset == offset);
        let first_failure_ms = retry.map(|retry| retry.first_failure_ms);
        let from = Provenance {
            pipeline: &call.shared.name,
            group: &call.shared.started_with.group,
            digest: call.digest,
            id: &call.partition.id,
            first_failure_ms,
        };
        let mut stage = stage;
        loop {
            let owned = dead_letter::headers(&from, &message, lost, stage);
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                owned.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
            let whole = stage == DeadLetterStage::Whole;
            call.partition.apply(Event::DeadLettered { offset, stage });
            let sending = self.sending();
            let outgoing = Outgoing {
                target: Target::DeadLetter,
                partition: None,
                key: message.key(),
                value: if whole { message.value() } else { None },
                headers: &headers,
                timestamp: None,
                token: sending.token(offset),
            };
            match sending.send(&outgoing) {
                Err(Unsent::Refused(_)) if whole && strips => stage = DeadLetterStage::HeadersOnly,
                Err(Unsent::Refused(reason)) => return Err(Unsent::Refused(self.with_hint(&reason))),
                other => return other,
            }
        }
    }

    /// Why a dead letter is not taken, and what to do where that is known.
    fn with_hint(&self, reason: &str) -> String {
        let started = &self.call.shared.started_with;
        let OnExhausted::DeadLetter(topic) = &started.on_exhausted else { return reason.to_owned() };
        if !reason.contains("SIZE_TOO_LARGE") || started.oversized == Oversized::Strip {
            return reason.to_owned();
        }
        format!(
            "{reason}; hint: raise max.message.bytes of {topic} and resume, or publish without the value: \
             dead_letter.oversized = \"strip\""
        )
    }
}
