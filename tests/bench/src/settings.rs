//! The settings of both clients. They are those of wasmill (`host/kafka/src/settings.rs` and `producer/mod.rs`, with the
//! defaults of its configuration for one pipeline and four partitions): change them together.

/// librdkafka's properties.
pub type Properties = Vec<(&'static str, String)>;

/// A member of a group.
pub fn consumer(bootstrap: &str, group: &str) -> Properties {
    let mut properties = fixed(&[
        ("session.timeout.ms", "45000"),
        ("heartbeat.interval.ms", "3000"),
        ("partition.assignment.strategy", "range"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "false"),
        ("topic.metadata.refresh.interval.ms", "5000"),
        ("fetch.min.bytes", "1"),
        ("fetch.wait.max.ms", "100"),
        ("fetch.message.max.bytes", "4194304"),
        ("fetch.queue.backoff.ms", "2"),
        ("queued.min.messages", "100000"),
        // Half of 512 MiB for four partitions.
        ("queued.max.messages.kbytes", "65536"),
    ]);
    properties.push(("bootstrap.servers", bootstrap.into()));
    properties.push(("group.id", group.into()));
    properties
}

/// A producer that confirms what all replicas have, in order and once.
pub fn producer(bootstrap: &str) -> Properties {
    let mut properties = fixed(&[
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("message.timeout.ms", "0"),
        ("message.send.max.retries", "2147483647"),
        ("partitioner", "murmur2_random"),
        ("linger.ms", "5"),
        ("batch.size", "262144"),
        ("message.max.bytes", "104792064"),
        ("topic.metadata.refresh.interval.ms", "5000"),
        ("allow.auto.create.topics", "false"),
        ("queue.buffering.max.messages", "500000"),
        // A quarter of 512 MiB.
        ("queue.buffering.max.kbytes", "131072"),
    ]);
    properties.push(("bootstrap.servers", bootstrap.into()));
    properties
}

fn fixed(pairs: &[(&'static str, &str)]) -> Properties {
    // Errors only: a broker that has just started has the first producer wait, which is nothing to warn of.
    let quiet = [("log_level", "3")];
    pairs.iter().chain(&quiet).map(|(name, value)| (*name, (*value).to_owned())).collect()
}
