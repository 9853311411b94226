//! The seams on Apache Kafka: a partition's queue as a source, a producer as a sink, a member's commits as offsets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmill_config as config;
use wasmill_core::{Batch, NextOffset};
use wasmill_kafka::{
    ClientError, ClientSettings, CommitEntry, CommitError, CommitRefusal, MemberHandle, OutputTopic, PartitionQueue,
    ProduceErrorClass, Producer, ProducerSettings, RulesQuestion, SendError, Taken, TopicRules,
};

use crate::flight::Flight;
use crate::io::{Offsets, Outgoing, Sink, Source, Target};
use crate::publisher::Publisher;

/// Messages the producer may buffer; the bytes are the pipeline's share of the memory.
const BUFFER_MESSAGES: u32 = 500_000;

/// A partition's queue, and the member that can move it.
pub struct QueueSource {
    queue: PartitionQueue,
    member: MemberHandle,
}

impl QueueSource {
    /// From now on whoever has it is the queue's one reader.
    pub fn new(queue: PartitionQueue, member: MemberHandle) -> Self {
        Self { queue, member }
    }
}

impl Source for QueueSource {
    fn take(&mut self, max_messages: usize, max_bytes: usize, into: &mut Batch) -> Taken {
        self.queue.take_bounded(max_messages, max_bytes, into)
    }

    fn seek(&mut self, to: NextOffset) -> Result<(), String> {
        self.member.seek(self.queue.id(), to).map_err(|error| error.to_string())
    }

    fn idle_position(&mut self) -> Option<NextOffset> {
        self.queue.idle_position()
    }
}

/// A pipeline's producer, and its topics by number.
pub struct ProducerSink {
    producer: Producer,
    /// By topic number; 0 is the default output and may be missing.
    topics: Vec<Option<OutputTopic>>,
    dead_letter: Option<OutputTopic>,
    /// Topics whose configuration may be seen.
    ruled: Vec<String>,
    /// Asked and not answered yet.
    question: Mutex<Option<RulesQuestion>>,
}

impl ProducerSink {
    /// Opens the producer of a pipeline.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn open(
        client: &ClientSettings,
        pipeline: &config::Pipeline,
        buffer_bytes: u64,
        rules: &BTreeMap<String, TopicRules>,
        on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Publisher, ClientError> {
        let flight = Arc::new(Flight::new(on_fatal).of(&pipeline.name));
        let mut client = client.clone();
        client.client_id = format!("{}-{}", client.client_id, pipeline.name);
        client.properties.extend(pipeline.output.properties.clone().into_inner());
        let settings = ProducerSettings {
            client,
            linger: pipeline.output.linger,
            compression: pipeline.output.compression.clone(),
            buffer_bytes,
            buffer_messages: BUFFER_MESSAGES,
            restamps: pipeline.output.timestamp_refused == config::TimestampRefused::Now,
        };
        let producer = Producer::open(&settings, flight.clone())?;
        // What a topic is sure to refuse is refused here: a broker refuses whole batches, neighbours included.
        let named = |name: &String| -> Result<OutputTopic, ClientError> {
            let topic = producer.topic(name)?;
            if let Some(rules) = rules.get(name) {
                topic.set_rules(*rules);
            }
            Ok(topic)
        };
        let mut topics = vec![pipeline.output.default.as_ref().map(named).transpose()?];
        for name in &pipeline.output.granted {
            topics.push(Some(named(name)?));
        }
        let dead_letter = match &pipeline.on_exhausted {
            config::OnExhausted::DeadLetter(topic) => Some(named(topic)?),
            config::OnExhausted::Stop | config::OnExhausted::Skip => None,
        };
        let ruled = rules.keys().filter(|name| topics.iter().flatten().chain(&dead_letter).any(|t| t.name() == **name));
        let ruled = ruled.cloned().collect();
        Ok(Publisher::new(Box::new(Self { producer, topics, dead_letter, ruled, question: Mutex::default() }), flight))
    }

    fn topic(&self, target: Target) -> Option<&OutputTopic> {
        match target {
            Target::Output(number) => self.topics.get(number as usize)?.as_ref(),
            Target::DeadLetter => self.dead_letter.as_ref(),
        }
    }
}

impl Sink for ProducerSink {
    fn reserve(&self, timeout: Duration) {
        self.producer.wait_room(timeout);
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<(), SendError> {
        let Outgoing { target, partition, key, value, headers, timestamp, token } = *message;
        let Some(topic) = self.topic(target) else {
            let text = format!("{target:?} names no topic");
            let class = ProduceErrorClass::Message;
            return Err(SendError::Refused { class, code: "_UNKNOWN_TOPIC".to_owned(), text });
        };
        self.producer.send(&wasmill_kafka::Outgoing { topic, partition, key, value, headers, timestamp, token })
    }

    fn flush(&self, deadline: Instant) {
        if let Some(left) = deadline.checked_duration_since(Instant::now()) {
            self.producer.flush(left);
        }
    }

    fn purge(&self) {
        self.producer.purge();
    }

    fn in_flight(&self) -> usize {
        self.producer.in_flight()
    }

    fn look_again(&self) {
        if self.ruled.is_empty() {
            return;
        }
        let mut question = self.question.lock();
        for (name, rules) in question.take().and_then(|asked| asked.answer()).unwrap_or_default() {
            for topic in self.topics.iter().flatten().chain(&self.dead_letter).filter(|topic| topic.name() == name) {
                topic.set_rules(rules);
            }
        }
        // Without an answer what was known goes on counting.
        *question = self.producer.ask_rules(&self.ruled).ok();
    }

    fn has_topic(&self, number: u32) -> bool {
        self.topic(Target::Output(number)).is_some()
    }

    fn has_dead_letter(&self) -> bool {
        self.dead_letter.is_some()
    }
}

impl Offsets for MemberHandle {
    fn persist(
        &self,
        entries: &[CommitEntry],
        held: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<CommitRefusal>, CommitError> {
        self.commit(entries, held)
    }
}
