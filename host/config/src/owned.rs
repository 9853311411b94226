//! librdkafka properties that wasmill owns: setting them would break a promise or do nothing.

/// Name or pattern (`*` at its begin or end), reason, what to write instead.
type Owned = (&'static str, &'static str, &'static str);

const COMMITS: &str = "offsets are committed by the pipeline's commit mode, never by the library";
const COMMITS_HINT: &str = "see the `commit` table of the pipeline";
const OUTAGE: &str = "an output must be confirmed by all replicas, once and in order, however long a broker is away";
const OUTAGE_HINT: &str = "take it out: a broker that is away means back-pressure, not loss";
const BUDGET: &str = "buffers are divided from one memory budget";
const BUDGET_HINT: &str = "write `memory = \"512MiB\"` at the top of the file";
const INNER: &str = "how messages are taken from the library depends on it";
const POINTER: &str = "it is a pointer within a C program and cannot be text";
const CLASSIC: &str = "the classic group protocol is the one that is supported";
const OUT: &str = "take it out";

const OWNED: &[Owned] = &[
    ("bootstrap.servers", "it has a key of its own", "write `bootstrap` in `[kafka]`"),
    ("metadata.broker.list", "it has a key of its own", "write `bootstrap` in `[kafka]`"),
    ("client.id", "each client is named after its pipeline and member", OUT),
    ("group.id", "it has a key of its own", "write `group` in the pipeline"),
    ("group.instance.id", "it has a key of its own", "write `instance_id` in the pipeline"),
    ("group.protocol", CLASSIC, OUT),
    ("group.protocol.type", CLASSIC, OUT),
    ("group.remote.assignor", CLASSIC, "write `assignor` in the pipeline"),
    ("partition.assignment.strategy", "it has a key of its own", "write `assignor` in the pipeline"),
    ("session.timeout.ms", "it has a key of its own", "write `session_timeout` in the pipeline"),
    ("heartbeat.interval.ms", "it has a key of its own", "write `heartbeat_interval` in the pipeline"),
    ("max.poll.interval.ms", "it has a key of its own", "write `max_poll_interval` in the pipeline"),
    ("max.poll.records", "it is not a property of librdkafka", "write `messages` in the `batch` table of the pipeline"),
    (
        "auto.offset.reset",
        "a silent jump loses or repeats messages",
        "write `start` and `out_of_range` in the pipeline",
    ),
    ("enable.auto.commit", COMMITS, COMMITS_HINT),
    ("auto.commit.enable", COMMITS, COMMITS_HINT),
    ("auto.commit.interval.ms", COMMITS, COMMITS_HINT),
    ("enable.auto.offset.store", COMMITS, COMMITS_HINT),
    ("offset.store.*", COMMITS, COMMITS_HINT),
    ("enable.partition.eof", "an end-of-partition entry can make the library skip a message", OUT),
    ("fetch.message.max.bytes", BUDGET, BUDGET_HINT),
    ("max.partition.fetch.bytes", BUDGET, BUDGET_HINT),
    ("fetch.max.bytes", BUDGET, BUDGET_HINT),
    ("fetch.queue.backoff.ms", INNER, OUT),
    ("queued.*", BUDGET, BUDGET_HINT),
    ("queue.buffering.max.ms", "it has a key of its own", "write `linger` in the `output` table of the pipeline"),
    ("queue.buffering.*", BUDGET, BUDGET_HINT),
    ("consume.callback.*", INNER, OUT),
    ("statistics.interval.ms", INNER, "read wasmill's metrics instead"),
    ("enable.idempotence", OUTAGE, OUTAGE_HINT),
    ("enable.gapless.guarantee", OUTAGE, OUTAGE_HINT),
    ("acks", OUTAGE, OUTAGE_HINT),
    ("request.required.acks", OUTAGE, OUTAGE_HINT),
    ("message.timeout.ms", OUTAGE, OUTAGE_HINT),
    ("delivery.timeout.ms", OUTAGE, OUTAGE_HINT),
    ("request.timeout.ms", OUTAGE, OUTAGE_HINT),
    ("retries", OUTAGE, OUTAGE_HINT),
    ("message.send.max.retries", OUTAGE, OUTAGE_HINT),
    ("max.in.flight", OUTAGE, OUTAGE_HINT),
    ("max.in.flight.requests.per.connection", OUTAGE, OUTAGE_HINT),
    ("queuing.strategy", OUTAGE, OUTAGE_HINT),
    ("delivery.report.only.error", "an offset waits for every delivery report, also of success", OUT),
    ("produce.offset.report", "an offset waits for every delivery report", OUT),
    ("transactional.id", "transactions are not available yet", OUT),
    ("transaction.timeout.ms", "transactions are not available yet", OUT),
    ("partitioner", "a key must go to the partition that Java clients send it to", OUT),
    ("linger.ms", "it has a key of its own", "write `linger` in the `output` table of the pipeline"),
    ("compression.codec", "it has a key of its own", "write `compression` in the `output` table of the pipeline"),
    ("compression.type", "it has a key of its own", "write `compression` in the `output` table of the pipeline"),
    ("allow.auto.create.topics", "a misspelt topic must be a mistake, not a new topic", "make the topic first"),
    ("topic.blacklist", "it would hide topics that the pipeline lists", "take the topic out of `topics`"),
    ("test.mock.*", "it would replace the cluster by an imitation", "run `wasmill dev` for an embedded broker"),
    ("plugin.library.paths", "it would load native code into the host", OUT),
    ("interceptors", "it would run native code in the host", OUT),
    ("enabled_events", INNER, OUT),
    ("log.queue", INNER, OUT),
    ("internal.termination.signal", "signals belong to wasmill", OUT),
    ("opaque", POINTER, OUT),
    ("default_topic_conf", POINTER, OUT),
    ("msg_order_cmp", POINTER, OUT),
    ("ssl_*", POINTER, "write the property with dots that takes a path or PEM text"),
    ("*_cb", POINTER, OUT),
];

/// Every librdkafka property that wasmill owns, with the reason. A `*` at the begin or the end of a name stands for
/// anything.
#[must_use]
pub fn owned_properties() -> Vec<(&'static str, &'static str)> {
    OWNED.iter().map(|(name, reason, _)| (*name, *reason)).collect()
}

/// Why a property may not be set, and what to write instead; `None`: it may.
pub(crate) fn refuse(name: &str) -> Option<(String, String)> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)) {
        let hint = "names are of `a-z 0-9 . _ -`: `\"security.protocol\"`";
        return Some(("is not a property of librdkafka".to_owned(), hint.to_owned()));
    }
    let (_, reason, hint) = OWNED.iter().find(|(pattern, _, _)| matches(pattern, name))?;
    Some((format!("belongs to wasmill: {reason}"), (*hint).to_owned()))
}

/// Why wasmill owns this librdkafka property; `None`: it does not, and a file may set it.
#[must_use]
pub fn owned_reason(name: &str) -> Option<&'static str> {
    OWNED.iter().find(|(pattern, _, _)| matches(pattern, name)).map(|(_, reason, _)| *reason)
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(begin), _) => name.starts_with(begin),
        (_, Some(end)) => name.ends_with(end),
        _ => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_a_property() {
        for name in ["", "Security.Protocol", "a b", "größe"] {
            assert!(refuse(name).unwrap().0.starts_with("is not a property"), "{name}");
        }
        assert_eq!(refuse("security.protocol"), None);
    }

    #[test]
    fn owns_by_name_and_by_pattern_and_leaves_the_rest() {
        for name in ["acks", "queued.min.messages", "test.mock.num.brokers", "rebalance_cb", "ssl_key", "linger.ms"] {
            assert!(owned_reason(name).is_some(), "{name}");
        }
        for name in ["security.protocol", "ssl.key.pem", "isolation.level", "batch.size", "fetch.wait.max.ms", "debug"]
        {
            assert!(owned_reason(name).is_none(), "{name}");
        }
        assert!(refuse("linger.ms").unwrap().1.contains("`linger`"));
        assert!(refuse("queue.buffering.max.ms").unwrap().1.contains("`linger`"));
    }
}
