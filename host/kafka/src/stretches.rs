//! Reading parts of the partitions of a topic, without a group: what is there at certain offsets, and nothing else.
//!
//! A **stretch** is a run of offsets of a partition, of which a number of messages is wanted. Those of a partition are read in
//! order. Nothing is committed and nobody is disturbed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::error::ClientError;
use crate::plain::{PlainMessage, Quiet, passes, without_group};
use crate::settings::ClientSettings;
use crate::token;

/// How long a client may take to go elsewhere in a partition; it asks nobody for it.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages of a stretch up to which it is a short one, for which small fetches do.
const SHORT_STRETCH_MESSAGES: u64 = 200;

/// A run of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first one.
    pub from: i64,
    /// One past the last one.
    pub end: i64,
    /// So many messages of it at most. There may be fewer: compacted ones and markers have offsets too.
    pub count: u64,
}

/// What [`StretchReader::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A message.
    Message(Box<PlainMessage>),
    /// A stretch of this partition is over: what comes of it next does not follow what came.
    Over(i32),
    /// Nothing within the time.
    Nothing,
    /// Everything has been read.
    End,
}

/// What is left to read of a partition.
struct Left {
    /// The one that is read, then those behind it. `from` and `count` move with what came.
    stretches: VecDeque<Stretch>,
}

/// Reads stretches of the partitions of one topic.
pub struct StretchReader {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    left: BTreeMap<i32, Left>,
    /// A partition whose stretch ended with the message that was given out last.
    over: Option<i32>,
}

/// What a reader is made with whose longest stretch has so many messages.
pub(crate) fn reading(settings: &ClientSettings, longest: u64) -> ClientConfig {
    let mut config = without_group(settings);
    config
        // What retention took while it was to be read is not there any more; what comes in its place is looked at.
        .set("auto.offset.reset", "earliest")
        // A sample of a large topic must not read that topic.
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.min.messages", longest.clamp(100, 20_000).to_string());
    settings.set_default(&mut config, "fetch.wait.max.ms", "20");
    if longest <= SHORT_STRETCH_MESSAGES {
        config.set("fetch.message.max.bytes", (128 << 10).to_string());
    }
    config
}

impl StretchReader {
    /// Begins. `stretches` are those of each partition, ascending and apart; empty ones are passed over.
    ///
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn open(
        settings: &ClientSettings,
        topic: &str,
        stretches: BTreeMap<i32, Vec<Stretch>>,
    ) -> Result<Self, ClientError> {
        let mut left = BTreeMap::new();
        for (partition, mut stretches) in stretches {
            stretches.retain(|stretch| stretch.count > 0 && stretch.from < stretch.end);
            if !stretches.is_empty() {
                left.insert(partition, Left { stretches: stretches.into() });
            }
        }
        let longest = left.values().flat_map(|left| &left.stretches).map(|stretch| stretch.count).max().unwrap_or(1);
        let config = reading(settings, longest);
        let failed = |error: KafkaError| {
            ClientError::from_rdkafka(format!("topic {topic}"), &error).needing("Read", "topic", topic)
        };
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet(settings.tokens())).map_err(failed)?;
        token::first(&consumer, settings.tokens().as_ref());
        let mut list = TopicPartitionList::new();
        for (partition, left) in &left {
            list.add_partition_offset(topic, *partition, Offset::Offset(left.stretches[0].from)).map_err(failed)?;
        }
        if !left.is_empty() {
            consumer.assign(&list).map_err(failed)?;
        }
        Ok(Self { consumer, topic: topic.to_owned(), left, over: None })
    }

    /// What comes next, waiting `timeout` at most.
    ///
    /// # Errors
    /// A missing permission, a topic that is gone, and whatever else does not pass by itself.
    pub fn next(&mut self, timeout: Duration) -> Result<Step, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(partition) = self.over.take() {
                return Ok(Step::Over(partition));
            }
            if self.left.is_empty() {
                return Ok(Step::End);
            }
            match self.consumer.poll(deadline.saturating_duration_since(Instant::now())) {
                None => return Ok(Step::Nothing),
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(stretch) = self.left.get_mut(&partition).map(|left| &mut left.stretches[0]) else {
                        continue;
                    };
                    if offset >= stretch.end {
                        drop(message);
                        self.go_on(partition)?;
                        return Ok(Step::Over(partition));
                    }
                    // A message from before a seek, or from before what retention left.
                    if offset < stretch.from {
                        continue;
                    }
                    stretch.from = offset + 1;
                    stretch.count -= 1;
                    let ended = stretch.count == 0 || stretch.from >= stretch.end;
                    let message = Box::new(PlainMessage::copy(&message));
                    if ended {
                        self.over = Some(partition);
                        self.go_on(partition)?;
                    }
                    return Ok(Step::Message(message));
                }
                // There is nothing behind it, so all later stretches are empty: compacted, or nothing but markers.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if self.left.remove(&partition).is_some() {
                        return Ok(Step::Over(partition));
                    }
                }
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => {
                    let error = ClientError::from_rdkafka(format!("topic {}", self.topic), &error);
                    return Err(error.needing("Read", "topic", &self.topic));
                }
            }
            if Instant::now() >= deadline {
                return Ok(Step::Nothing);
            }
        }
    }

    /// Goes to the partition's next stretch; where there is none, nothing more of it is fetched.
    fn go_on(&mut self, partition: i32) -> Result<(), ClientError> {
        let failed =
            |error: KafkaError| ClientError::from_rdkafka(format!("partition {}/{partition}", self.topic), &error);
        let Some(left) = self.left.get_mut(&partition) else { return Ok(()) };
        let done = left.stretches.pop_front();
        match left.stretches.front() {
            // It follows at once, and the client is there already.
            Some(next) if done.is_some_and(|done| done.from == next.from) => Ok(()),
            Some(next) => {
                self.consumer.seek(&self.topic, partition, Offset::Offset(next.from), SEEK_TIMEOUT).map_err(failed)
            }
            None => {
                self.left.remove(&partition);
                let mut list = TopicPartitionList::new();
                list.add_partition(&self.topic, partition);
                self.consumer.pause(&list).map_err(failed)
            }
        }
    }
}

impl std::fmt::Debug for StretchReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StretchReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockBroker;
    use crate::plain::PlainProducer;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn started(messages: usize) -> (MockBroker, ClientSettings) {
        let broker = MockBroker::start(1).unwrap();
        broker.create_topic("t", 2).unwrap();
        let settings = ClientSettings {
            bootstrap: broker.bootstrap().to_owned(),
            client_id: "test".into(),
            ..ClientSettings::default()
        };
        let all: Vec<_> = (0..messages)
            .flat_map(|number| {
                let value = Some(number.to_string().into_bytes());
                let message = PlainMessage { topic: "t".into(), value, ..PlainMessage::default() };
                [0, 1].map(|partition| PlainMessage { partition, ..message.clone() })
            })
            .collect();
        for answer in PlainProducer::open(&settings, TIMEOUT).unwrap().send(&all) {
            answer.unwrap();
        }
        (broker, settings)
    }

    /// The offsets that came of each partition, stretch by stretch.
    fn read(settings: &ClientSettings, stretches: BTreeMap<i32, Vec<Stretch>>) -> BTreeMap<i32, Vec<Vec<i64>>> {
        let mut reader = StretchReader::open(settings, "t", stretches).unwrap();
        let (mut came, mut at) = (BTreeMap::<i32, Vec<Vec<i64>>>::new(), BTreeMap::<i32, Vec<i64>>::new());
        loop {
            match reader.next(TIMEOUT).unwrap() {
                Step::Message(message) => {
                    assert_eq!(message.value, Some(message.offset.to_string().into_bytes()));
                    at.entry(message.partition).or_default().push(message.offset);
                }
                Step::Over(partition) => {
                    let stretch = at.remove(&partition).unwrap_or_default();
                    came.entry(partition).or_default().push(stretch);
                }
                Step::Nothing => panic!("it stands still after {came:?}, {at:?}"),
                Step::End => return came,
            }
        }
    }

    fn stretch(from: i64, end: i64, count: u64) -> Stretch {
        Stretch { from, end, count }
    }

    #[test]
    fn reads_each_stretch_and_nothing_beside_it() {
        let (_broker, settings) = started(3000);
        let ten = |from| stretch(from, from + 1000, 10);
        let came = read(
            &settings,
            BTreeMap::from([
                (0, vec![ten(0), ten(1500), ten(2900)]),
                (1, vec![stretch(7, 9, 100), stretch(9, 11, 100)]),
            ]),
        );
        let run = |from: i64| (from..from + 10).collect::<Vec<_>>();
        assert_eq!(came[&0], [run(0), run(1500), run(2900)]);
        assert_eq!(came[&1], [vec![7, 8], vec![9, 10]]);
    }

    #[test]
    fn ends_at_the_end_of_a_partition_whatever_was_asked_for() {
        let (_broker, settings) = started(20);
        let came = read(&settings, BTreeMap::from([(0, vec![stretch(15, 5000, 5000), stretch(6000, 7000, 1)])]));
        assert_eq!(came, BTreeMap::from([(0, vec![(15..20).collect::<Vec<_>>()])]));
        assert_eq!(read(&settings, BTreeMap::from([(0, vec![stretch(3, 3, 9), stretch(3, 9, 0)])])), BTreeMap::new());
        // Behind the end, as where the topic was made anew meanwhile.
        let behind = read(&settings, BTreeMap::from([(1, vec![stretch(500, 600, 10)])]));
        assert_eq!(behind, BTreeMap::from([(1, vec![vec![]])]));
    }
}
