//! Outputs in flight: a ticket for each call that emitted something, counted down by delivery reports.
//!
//! A message's opaque word is its ticket's number and how far its input lies behind the first of the batch, so that a
//! report needs no allocation, no pointer and no lock of its own: one lock for each batch sent and one for each batch
//! of reports.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;
use wasmill_core::partition::{Event, Refused};
use wasmill_core::{Fence, Messages, RunId};
use wasmill_kafka::{DeliveryError, DeliverySink, ProduceErrorClass, Report, TIMESTAMP_HEADER};

use crate::counters;
use crate::partition::Partition;

/// The sender's own hold on a ticket while it is still sending: reports may come before the last send.
const SENDER_HOLD: u64 = 1 << 40;

/// A call whose outputs are on their way.
struct Ticket {
    partition: Arc<Partition>,
    fence: Fence,
    run: RunId,
    /// The messages that it answers for: those of the call, and from [`Flight::sent`] on those that were settled.
    messages: Messages,
    left: u64,
    abandoned: bool,
    refused: Vec<(i64, DeliveryError)>,
}

/// The tickets of one producer.
pub struct Flight {
    tickets: Mutex<Slab<Ticket>>,
    on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    /// The pipeline's name.
    pipeline: String,
    /// Topics that refused a timestamp, which was said once.
    restamped: Mutex<BTreeSet<String>>,
}

/// The number of an open ticket.
#[derive(Clone, Copy)]
pub struct TicketId(u32);

impl TicketId {
    /// The opaque word of an output of the message `offset`; `first` is the first offset of the call.
    pub fn token(self, first: i64, offset: i64) -> u64 {
        // A batch's offsets lie closer together than u32::MAX: the backlog ends a call at a larger gap.
        u64::from(self.0) << 32 | (offset - first) as u64 & 0xffff_ffff
    }
}

impl Flight {
    /// No tickets. `on_fatal` hears of a producer that can send nothing any more.
    pub fn new(on_fatal: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { tickets: Mutex::new(Slab::new()), on_fatal, pipeline: String::new(), restamped: Mutex::default() }
    }

    /// Those of this pipeline, for what is counted and logged.
    #[must_use]
    pub fn of(self, pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), ..self }
    }

    /// Opens a ticket for the outputs of a call. It stays open until [`Flight::sent`] said how many there were.
    pub fn open(&self, partition: &Arc<Partition>, fence: Fence, run: RunId, messages: Messages) -> TicketId {
        partition.apply(Event::Sending);
        let partition = partition.clone();
        let ticket =
            Ticket { partition, fence, run, messages, left: SENDER_HOLD, abandoned: false, refused: Vec::new() };
        let id = self.tickets.lock().insert(ticket);
        TicketId(u32::try_from(id).expect("tickets in flight are bounded by the in-flight windows"))
    }

    /// All `count` outputs of the ticket are with the sink; it answers for messages up to the offset `last`.
    pub fn sent(&self, id: TicketId, count: u64, last: i64) {
        self.end(id, count, Some(last));
    }

    /// Sending ended early after `count` outputs: the ticket is only waited for, nothing of it is complete.
    pub fn abandon(&self, id: TicketId, count: u64) {
        self.end(id, count, None);
    }

    fn end(&self, id: TicketId, count: u64, last: Option<i64>) {
        let finished = {
            let mut tickets = self.tickets.lock();
            let Some(ticket) = tickets.get_mut(id.0 as usize) else { return };
            match last {
                Some(last) => ticket.messages = ticket.messages.up_to(last),
                None => ticket.abandoned = true,
            }
            ticket.left -= SENDER_HOLD - count;
            (ticket.left == 0).then(|| tickets.remove(id.0 as usize))
        };
        if let Some(ticket) = finished {
            ticket.finish();
        }
    }
}

impl Ticket {
    fn finish(mut self) {
        // Outputs of messages behind the last settled one went out before the call had to stop: those messages are
        // delivered again, and what the broker says of them now is not about what they come to then.
        let last = self.messages.last();
        self.refused.retain(|(offset, _)| *offset <= last);
        let Self { partition, fence, run, messages, abandoned, refused, .. } = self;
        if abandoned {
            partition.apply(Event::Abandoned { fence });
        } else if refused.is_empty() {
            partition.apply(Event::Settled { fence, run, ticket: true });
        } else {
            let refused = refused.into_iter().map(|(offset, error)| Refused {
                offset,
                topic_wide: error.class == ProduceErrorClass::Topic,
                again: error.class == ProduceErrorClass::Moved,
                reason: format!("{}: {}", error.code, error.text),
            });
            partition.apply(Event::Refused { fence, messages: &messages, refused: refused.collect() });
        }
    }
}

impl DeliverySink for Flight {
    fn delivered(&self, reports: &[Report]) {
        let mut finished = Vec::new();
        let mut tickets = self.tickets.lock();
        let mut rest = reports;
        while let Some(report) = rest.first() {
            let slot = (report.token >> 32) as usize;
            // Reports of one call mostly come together: one subtraction for the run of them.
            let run = rest.iter().take_while(|other| (other.token >> 32) as usize == slot).count();
            let (now, later) = rest.split_at(run);
            rest = later;
            let Some(ticket) = tickets.get_mut(slot) else { continue };
            for report in now {
                if let Some(error) = &report.error {
                    if error.class.is_refusal() || error.class == ProduceErrorClass::Moved {
                        let offset = ticket.messages.first() + (report.token & 0xffff_ffff) as i64;
                        ticket.refused.push((offset, (**error).clone()));
                    } else {
                        ticket.abandoned = true;
                    }
                }
            }
            ticket.left -= run as u64;
            if ticket.left == 0 {
                finished.push(tickets.remove(slot));
            }
        }
        drop(tickets);
        finished.into_iter().for_each(Ticket::finish);
    }

    fn fatal(&self, text: &str) {
        (self.on_fatal)(text);
    }

    fn restamped(&self, topic: &str, timestamp: i64) {
        counters::restamped(&self.pipeline, topic);
        if self.restamped.lock().insert(topic.to_owned()) {
            tracing::warn!(
                pipeline = self.pipeline,
                topic,
                timestamp,
                "the topic does not take the timestamps of some outputs: these go out with the present time, and with the \
                 refused one in the header {TIMESTAMP_HEADER}; hint: message.timestamp.after.max.ms and \
                 message.timestamp.before.max.ms of the topic, or output.timestamp = \"now\""
            );
        }
    }
}
