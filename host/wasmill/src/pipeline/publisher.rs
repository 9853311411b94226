//! The producer of a pipeline with its tickets and topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_config as config;
use wasmill_kafka::{
    ClientError, ClientSettings, Outgoing, OutputTopic, ProduceErrorClass, Producer, ProducerSettings, SendError,
    TopicRules,
};

use super::flight::{Flight, TicketId};
use super::partition::Partition;

/// The producer of a pipeline, the tickets of what it has in flight, and its topics by number.
pub struct Publisher {
    producer: Producer,
    /// Tickets of what is in flight.
    pub flight: Arc<Flight>,
    /// By topic number; 0 is the default output and may be missing.
    topics: Vec<Option<OutputTopic>>,
    dead_letter: Option<OutputTopic>,
}

/// Why an output was not taken.
pub enum Unsent {
    /// It can never be sent.
    Refused(String),
    /// The topic takes nothing at all: the next message would fare no better.
    TopicRefused(String),
    /// The partition is being taken away, or the producer is broken: stop sending, nothing of the call completes.
    Abandoned,
}

impl Publisher {
    /// Opens the producer of a pipeline.
    pub fn open(
        client: &ClientSettings,
        pipeline: &config::Pipeline,
        buffer_bytes: u64,
        rules: &BTreeMap<String, TopicRules>,
        on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, ClientError> {
        let flight = Arc::new(Flight::new(on_fatal));
        let mut client = client.clone();
        client.client_id = format!("{}-{}", client.client_id, pipeline.name);
        client.properties.extend(pipeline.output.properties.clone().into_inner());
        let settings = ProducerSettings {
            client,
            linger: pipeline.output.linger,
            compression: pipeline.output.compression.clone(),
            buffer_bytes,
            buffer_messages: 500_000,
        };
        let producer = Producer::open(&settings, flight.clone())?;
        // What a topic is sure to refuse is refused here: a broker refuses whole batches, neighbours included.
        let named = |name: &String| -> Result<OutputTopic, ClientError> {
            let topic = producer.topic(name)?;
            Ok(match rules.get(name) {
                Some(rules) => topic.with_rules(*rules),
                None => topic,
            })
        };
        let mut topics = vec![pipeline.output.default.as_ref().map(named).transpose()?];
        for name in &pipeline.output.granted {
            topics.push(Some(named(name)?));
        }
        let dead_letter = match &pipeline.on_exhausted {
            config::OnExhausted::DeadLetter(topic) => Some(named(topic)?),
            config::OnExhausted::Stop | config::OnExhausted::Skip => None,
        };
        Ok(Self { producer, flight, topics, dead_letter })
    }

    /// The output topic behind a number; host/wasm lets none through that does not exist.
    pub fn topic(&self, number: u32) -> Option<&OutputTopic> {
        self.topics.get(number as usize)?.as_ref()
    }

    /// Where dead letters go.
    pub fn dead_letter(&self) -> Option<&OutputTopic> {
        self.dead_letter.as_ref()
    }

    /// Sends one output. A full buffer is back-pressure: this waits, however long the broker is away, unless the
    /// partition is abandoned meanwhile.
    pub fn send(&self, partition: &Partition, message: &Outgoing<'_>) -> Result<(), Unsent> {
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err(SendError::QueueFull) => {
                    if partition.is_abandoned() {
                        return Err(Unsent::Abandoned);
                    }
                    self.producer.wait_room(Duration::from_millis(50));
                }
                Err(SendError::Refused { class, code, text }) => {
                    let reason = format!("{code}: {text}");
                    return Err(match class {
                        ProduceErrorClass::Topic => Unsent::TopicRefused(reason),
                        ProduceErrorClass::Message => Unsent::Refused(reason),
                        // Nobody refused it.
                        ProduceErrorClass::Purged | ProduceErrorClass::Transient | ProduceErrorClass::Fatal => {
                            Unsent::Abandoned
                        }
                    });
                }
                // The sink hears of it too; the control loop makes a new client and rewinds every partition.
                Err(SendError::Fatal { .. }) => return Err(Unsent::Abandoned),
            }
        }
    }

    /// Hands everything to the broker now rather than after the linger, and waits for the answers.
    pub fn flush(&self, deadline: Instant) {
        if let Some(left) = deadline.checked_duration_since(Instant::now()) {
            self.producer.flush(left);
        }
    }

    /// Drops what is in flight: the tickets end as abandoned.
    pub fn purge(&self) {
        self.producer.purge();
    }

    /// Messages not yet answered for.
    pub fn in_flight(&self) -> usize {
        self.producer.in_flight()
    }
}

/// A call's ticket while its outputs are being sent.
pub struct Sending<'a> {
    publisher: &'a Publisher,
    ticket: TicketId,
    first: i64,
    sent: u64,
}

impl<'a> Sending<'a> {
    /// Begins.
    pub fn begin(publisher: &'a Publisher, ticket: TicketId, first: i64) -> Self {
        Self { publisher, ticket, first, sent: 0 }
    }

    /// The opaque word for an output of the message at `offset`.
    pub fn token(&self, offset: i64) -> u64 {
        self.ticket.token(self.first, offset)
    }

    /// Sends one.
    pub fn send(&mut self, partition: &Partition, message: &Outgoing<'_>) -> Result<(), Unsent> {
        self.publisher.send(partition, message)?;
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
