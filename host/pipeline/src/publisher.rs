//! Publishing: a sink with the tickets of what it has in flight, and how a call's outputs go through it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_core::{Fence, Messages, RunId};
use wasmill_kafka::{ProduceErrorClass, SendError};

use crate::flight::{Flight, TicketId};
use crate::io::{Outgoing, Sink};
use crate::partition::Partition;

/// One wait for room. Between two of them it is asked whether the partition is still wanted.
const ROOM_TIMEOUT: Duration = Duration::from_millis(50);

/// Why an output was not taken.
#[derive(Debug)]
pub enum Unsent {
    /// It can never be sent.
    Refused(String),
    /// The topic takes nothing at all: the next message would fare no better.
    TopicRefused(String),
    /// The partition is being taken away, or the producer is broken: stop sending, nothing of the call completes.
    Abandoned,
}

/// A sink and its tickets.
pub struct Publisher {
    sink: Box<dyn Sink>,
    flight: Arc<Flight>,
}

impl Publisher {
    /// `sink` reports to `flight`.
    pub fn new(sink: Box<dyn Sink>, flight: Arc<Flight>) -> Self {
        Self { sink, flight }
    }

    /// Where its messages go.
    pub fn sink(&self) -> &dyn Sink {
        &*self.sink
    }

    /// Opens a ticket for a call's outputs.
    pub fn begin(&self, partition: &Arc<Partition>, fence: Fence, run: RunId, messages: &Messages) -> Sending<'_> {
        let ticket = self.flight.open(partition, fence, run, messages.clone());
        Sending { publisher: self, partition: partition.clone(), ticket, first: messages.first(), sent: 0 }
    }

    /// Sends one output. A full buffer is back-pressure: this waits, however long the broker is away, unless the
    /// partition is abandoned meanwhile.
    fn send(&self, partition: &Partition, message: &Outgoing<'_>) -> Result<(), Unsent> {
        loop {
            match self.sink.send(message) {
                Ok(()) => return Ok(()),
                Err(SendError::QueueFull) => {
                    if partition.lock().is_abandoned() {
                        return Err(Unsent::Abandoned);
                    }
                    self.sink.reserve(ROOM_TIMEOUT);
                }
                Err(SendError::Refused { class, code, text }) => {
                    let reason = format!("{code}: {text}");
                    return Err(match class {
                        ProduceErrorClass::Topic => Unsent::TopicRefused(reason),
                        ProduceErrorClass::Message => Unsent::Refused(reason),
                        // Nobody refused it.
                        ProduceErrorClass::Purged
                        | ProduceErrorClass::Moved
                        | ProduceErrorClass::Transient
                        | ProduceErrorClass::Fatal => Unsent::Abandoned,
                    });
                }
                // The sink's owner hears of it too; the control loop makes a new client and rewinds every partition.
                Err(SendError::Fatal { .. }) => return Err(Unsent::Abandoned),
            }
        }
    }

    /// Sends everything now rather than after the linger, and waits for the answers until the deadline.
    pub fn flush(&self, deadline: Instant) {
        self.sink.flush(deadline);
    }

    /// Drops what is in flight: the tickets end as abandoned.
    pub fn purge(&self) {
        self.sink.purge();
    }

    /// Messages not yet answered for.
    pub fn in_flight(&self) -> usize {
        self.sink.in_flight()
    }
}

/// A call's ticket while its outputs are being sent.
pub struct Sending<'a> {
    publisher: &'a Publisher,
    partition: Arc<Partition>,
    ticket: TicketId,
    first: i64,
    sent: u64,
}

impl Sending<'_> {
    /// The opaque word for an output of the message at `offset`.
    pub fn token(&self, offset: i64) -> u64 {
        self.ticket.token(self.first, offset)
    }

    /// Sends one.
    pub fn send(&mut self, message: &Outgoing<'_>) -> Result<(), Unsent> {
        self.publisher.send(&self.partition, message)?;
        self.sent += 1;
        Ok(())
    }

    /// All sent; `last` is the last offset that the ticket answers for.
    pub fn end(self, last: i64) -> u64 {
        self.publisher.flight.sent(self.ticket, self.sent, last);
        self.sent
    }

    /// Ended early.
    pub fn abandon(self) {
        self.publisher.flight.abandon(self.ticket, self.sent);
    }
}
