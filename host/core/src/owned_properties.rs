//! librdkafka properties that belong to wasmill: the one list of them. The configuration refuses them, and the clients drop
//! them should they still come.

/// Which clients have a property.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Clients {
    /// Consumers.
    Consumer,
    /// Producers.
    Producer,
    /// Every client.
    All,
}

/// A property that a user may not set: it would break a promise or do nothing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct OwnedProperty {
    /// Its name, or a pattern: `*` at its beginning or end stands for anything. An alias has an entry of its own.
    pub name: &'static str,
    /// Which clients have it.
    pub clients: Clients,
    /// Why it is owned, to be read after "belongs to wasmill: ".
    pub reason: &'static str,
    /// What a user writes instead.
    pub instead: &'static str,
}

/// The first entry for this property; `None`: a user may set it.
pub fn owned_property(name: &str) -> Option<&'static OwnedProperty> {
    OWNED_PROPERTIES.iter().find(|owned| matches(owned.name, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(begin), _) => name.starts_with(begin),
        (_, Some(end)) => name.ends_with(end),
        _ => name == pattern,
    }
}

const fn owned(name: &'static str, clients: Clients, reason: &'static str, instead: &'static str) -> OwnedProperty {
    OwnedProperty { name, clients, reason, instead }
}

const CONSUMER: Clients = Clients::Consumer;
const PRODUCER: Clients = Clients::Producer;
const ALL: Clients = Clients::All;

const COMMITS: &str = "offsets are committed by the pipeline's commit mode, never by the library";
const COMMITS_HINT: &str = "see the `commit` table of the pipeline";
const OUTAGE: &str = "an output must be confirmed by all replicas, once and in order, however long a broker is away";
const OUTAGE_HINT: &str = "take it out: a broker that is away means back-pressure, not loss";
const BUDGET: &str = "buffers are divided from one memory budget";
const BUDGET_HINT: &str = "write `memory = \"512MiB\"` at the top of the file";
const INNER: &str = "how messages are taken from the library depends on it";
const POINTER: &str = "it is a pointer within a C program and cannot be text";
const CLASSIC: &str = "the classic group protocol is the one that is supported";
const OIDC: &str = "the library is built without an HTTP client and cannot ask an identity provider";
const OIDC_HINT: &str = "write `token_command` or `token_file` in `[kafka]`: what asks for you, or keeps a token fresh";
const OUT: &str = "take it out";

/// All of them. An exact name stands before a pattern that it matches.
pub const OWNED_PROPERTIES: &[OwnedProperty] = &[
    owned("bootstrap.servers", ALL, "it has a key of its own", "write `bootstrap` in `[kafka]`"),
    owned("metadata.broker.list", ALL, "it has a key of its own", "write `bootstrap` in `[kafka]`"),
    owned("client.id", ALL, "each client is named after its pipeline and member", OUT),
    owned("group.id", CONSUMER, "it has a key of its own", "write `group` in the pipeline"),
    owned("group.instance.id", CONSUMER, "it has a key of its own", "write `instance_id` in the pipeline"),
    owned("group.protocol", CONSUMER, CLASSIC, OUT),
    owned("group.protocol.type", CONSUMER, CLASSIC, OUT),
    owned("group.remote.assignor", CONSUMER, CLASSIC, "write `assignor` in the pipeline"),
    owned("partition.assignment.strategy", CONSUMER, "it has a key of its own", "write `assignor` in the pipeline"),
    owned("session.timeout.ms", CONSUMER, "it has a key of its own", "write `session_timeout` in the pipeline"),
    owned("heartbeat.interval.ms", CONSUMER, "it has a key of its own", "write `heartbeat_interval` in the pipeline"),
    owned("max.poll.interval.ms", CONSUMER, "it has a key of its own", "write `max_poll_interval` in the pipeline"),
    owned(
        "max.poll.records",
        CONSUMER,
        "it is not a property of librdkafka",
        "write `messages` in the `batch` table of the pipeline",
    ),
    owned(
        "auto.offset.reset",
        CONSUMER,
        "a silent jump loses or repeats messages",
        "write `start` and `out_of_range` in the pipeline",
    ),
    owned("enable.auto.commit", CONSUMER, COMMITS, COMMITS_HINT),
    owned("auto.commit.enable", CONSUMER, COMMITS, COMMITS_HINT),
    owned("auto.commit.interval.ms", CONSUMER, COMMITS, COMMITS_HINT),
    owned("enable.auto.offset.store", CONSUMER, COMMITS, COMMITS_HINT),
    owned("offset.store.*", CONSUMER, COMMITS, COMMITS_HINT),
    owned("enable.partition.eof", CONSUMER, "an end-of-partition entry can make the library skip a message", OUT),
    owned("fetch.message.max.bytes", CONSUMER, BUDGET, BUDGET_HINT),
    owned("max.partition.fetch.bytes", CONSUMER, BUDGET, BUDGET_HINT),
    owned("fetch.max.bytes", CONSUMER, BUDGET, BUDGET_HINT),
    owned("fetch.queue.backoff.ms", CONSUMER, INNER, OUT),
    owned("queued.*", CONSUMER, BUDGET, BUDGET_HINT),
    owned(
        "queue.buffering.max.ms",
        PRODUCER,
        "it has a key of its own",
        "write `linger` in the `output` table of the pipeline",
    ),
    owned("queue.buffering.*", PRODUCER, BUDGET, BUDGET_HINT),
    owned("consume.callback.*", CONSUMER, INNER, OUT),
    owned("statistics.interval.ms", ALL, INNER, "read wasmill's metrics instead"),
    owned("enable.idempotence", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("enable.gapless.guarantee", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("acks", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("request.required.acks", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("message.timeout.ms", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("delivery.timeout.ms", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("request.timeout.ms", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("retries", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("message.send.max.retries", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("max.in.flight", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("max.in.flight.requests.per.connection", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("queuing.strategy", PRODUCER, OUTAGE, OUTAGE_HINT),
    owned("delivery.report.only.error", PRODUCER, "an offset waits for every delivery report, also of success", OUT),
    owned("produce.offset.report", PRODUCER, "an offset waits for every delivery report", OUT),
    owned("transactional.id", PRODUCER, "transactions are not available yet", OUT),
    owned("transaction.timeout.ms", PRODUCER, "transactions are not available yet", OUT),
    owned("partitioner", PRODUCER, "a key must go to the partition that Java clients send it to", OUT),
    owned("linger.ms", PRODUCER, "it has a key of its own", "write `linger` in the `output` table of the pipeline"),
    owned(
        "compression.codec",
        PRODUCER,
        "it has a key of its own",
        "write `compression` in the `output` table of the pipeline",
    ),
    owned(
        "compression.type",
        PRODUCER,
        "it has a key of its own",
        "write `compression` in the `output` table of the pipeline",
    ),
    owned(
        "allow.auto.create.topics",
        ALL,
        "a misspelt topic must be a mistake, not a new topic",
        "make the topic first",
    ),
    owned("sasl.oauthbearer.method", ALL, OIDC, OIDC_HINT),
    owned("sasl.oauthbearer.token.endpoint.url", ALL, OIDC, OIDC_HINT),
    owned("sasl.oauthbearer.client.*", ALL, OIDC, OIDC_HINT),
    owned("topic.blacklist", ALL, "it would hide topics that the pipeline lists", "take the topic out of `topics`"),
    owned(
        "test.mock.*",
        ALL,
        "it would replace the cluster by an imitation",
        "run `wasmill dev` for an embedded broker",
    ),
    owned("plugin.library.paths", ALL, "it would load native code into the host", OUT),
    owned("interceptors", ALL, "it would run native code in the host", OUT),
    owned("enabled_events", ALL, INNER, OUT),
    owned("log.queue", ALL, INNER, OUT),
    owned("internal.termination.signal", ALL, "signals belong to wasmill", OUT),
    owned("opaque", ALL, POINTER, OUT),
    owned("default_topic_conf", ALL, POINTER, OUT),
    owned("msg_order_cmp", PRODUCER, POINTER, OUT),
    owned("ssl_*", ALL, POINTER, "write the property with dots that takes a path or PEM text"),
    owned("*_cb", ALL, POINTER, OUT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owns_by_name_and_by_pattern_and_leaves_the_rest() {
        for name in ["acks", "queued.min.messages", "test.mock.num.brokers", "rebalance_cb", "ssl_key", "linger.ms"] {
            assert!(owned_property(name).is_some(), "{name}");
        }
        for name in ["security.protocol", "ssl.key.pem", "isolation.level", "batch.size", "fetch.wait.max.ms", "debug"]
        {
            assert!(owned_property(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_entry_is_the_first_that_its_own_name_matches() {
        for owned in OWNED_PROPERTIES {
            assert_eq!(owned_property(owned.name), Some(owned));
        }
    }
}
