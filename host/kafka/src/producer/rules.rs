//! What a topic's configuration forbids, checked before a message gets into a batch.
//!
//! A broker refuses whole batches. librdkafka then has to drain everything in flight and to renew its producer id, which
//! stops *all* partitions of the producer for about half a second, and the batch's other messages are written late (see
//! `delivery.rs`). Worth knowing beforehand, then. Only what the broker is sure to refuse is refused here.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use rdkafka::bindings::rd_kafka_resp_err_t as E;

use crate::admin::ConfigEntry;
use crate::now_ms;
use crate::produce_error::SendError;

/// By how much the clocks of host and broker may differ before a timestamp is refused here instead of there.
const CLOCK_SKEW_MS: i64 = 60_000;
/// What a batch of one message holds beside key, value and headers, at least: 61 bytes of batch and 7 of message.
const OVERHEAD_BYTES: usize = 68;

/// The rules of one topic, from its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicRules {
    /// A compacted topic takes no message without a key.
    pub key_required: bool,
    /// `max.message.bytes`. It counts compressed bytes, so it is checked only if the producer does not compress.
    pub max_message_bytes: Option<usize>,
    /// How far in the past a timestamp may be, in milliseconds.
    pub past_ms: Option<i64>,
    /// How far in the future a timestamp may be, in milliseconds.
    pub future_ms: Option<i64>,
}

impl TopicRules {
    /// Reads the rules out of what [`Admin::topic_config`](crate::admin::Admin::topic_config) answers.
    pub fn of(config: &[ConfigEntry]) -> Self {
        let value = |name: &str| {
            config.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.as_deref()).unwrap_or("")
        };
        let bound = |name: &str| value(name).parse().ok().filter(|&bound: &i64| bound < i64::MAX);
        let given = value("message.timestamp.type") != "LogAppendTime";
        Self {
            key_required: value("cleanup.policy").split(',').any(|policy| policy.trim() == "compact"),
            max_message_bytes: value("max.message.bytes").parse().ok(),
            past_ms: bound("message.timestamp.before.max.ms").filter(|_| given),
            future_ms: bound("message.timestamp.after.max.ms").filter(|_| given),
        }
    }
}

/// Rules in use: with the latest time that was looked up, so that the clock is not read for every message. They can be
/// replaced while messages are sent; a message may then meet some of the old and some of the new ones.
#[derive(Debug)]
pub(super) struct Checks {
    key_required: AtomicBool,
    /// `usize::MAX`: no bound; in the two below `i64::MAX`.
    max_message_bytes: AtomicUsize,
    past_ms: AtomicI64,
    future_ms: AtomicI64,
    compressed: bool,
    /// How far the clocks of host and broker may differ, in milliseconds.
    skew_ms: i64,
    seen_ms: AtomicI64,
}

impl Checks {
    /// `restamps`: a timestamp that is refused here is replaced, not failed. Then nothing speaks for trying it first.
    pub(super) fn new(rules: TopicRules, compressed: bool, restamps: bool) -> Self {
        let checks = Self {
            key_required: AtomicBool::new(false),
            max_message_bytes: AtomicUsize::new(usize::MAX),
            past_ms: AtomicI64::new(i64::MAX),
            future_ms: AtomicI64::new(i64::MAX),
            compressed,
            skew_ms: if restamps { 0 } else { CLOCK_SKEW_MS },
            seen_ms: AtomicI64::new(i64::MIN),
        };
        checks.replace(rules);
        checks
    }

    /// From now on these.
    pub(super) fn replace(&self, rules: TopicRules) {
        self.key_required.store(rules.key_required, Ordering::Relaxed);
        self.max_message_bytes.store(rules.max_message_bytes.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.past_ms.store(rules.past_ms.unwrap_or(i64::MAX), Ordering::Relaxed);
        self.future_ms.store(rules.future_ms.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    fn rules(&self) -> TopicRules {
        let bound = |bound: &AtomicI64| Some(bound.load(Ordering::Relaxed)).filter(|&bound| bound < i64::MAX);
        TopicRules {
            key_required: self.key_required.load(Ordering::Relaxed),
            max_message_bytes: Some(self.max_message_bytes.load(Ordering::Relaxed)).filter(|&max| max < usize::MAX),
            past_ms: bound(&self.past_ms),
            future_ms: bound(&self.future_ms),
        }
    }

    /// `bytes`: of key, value and headers.
    pub(super) fn check(&self, keyed: bool, bytes: usize, timestamp: Option<i64>) -> Result<(), SendError> {
        self.check_at(keyed, bytes, timestamp, now_ms)
    }

    fn check_at(
        &self,
        keyed: bool,
        bytes: usize,
        timestamp: Option<i64>,
        now_ms: impl Fn() -> i64,
    ) -> Result<(), SendError> {
        let rules = self.rules();
        if rules.key_required && !keyed {
            return Err(refused(
                E::RD_KAFKA_RESP_ERR_INVALID_RECORD,
                "the topic is compacted and the message has no key".into(),
            ));
        }
        if let Some(max) = rules.max_message_bytes.filter(|_| !self.compressed) {
            let bytes = bytes + OVERHEAD_BYTES;
            if bytes > max {
                let text = format!("at least {bytes} bytes, and the topic's max.message.bytes is {max}");
                return Err(refused(E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, text));
            }
        }
        let Some(timestamp) = timestamp else { return Ok(()) };
        if let Some(future) = rules.future_ms {
            let latest = |now: i64| now.saturating_add(future).saturating_add(self.skew_ms);
            // Time only goes on: what was not too far in the future then is not now.
            if timestamp > latest(self.seen_ms.load(Ordering::Relaxed)) {
                let now = now_ms();
                self.seen_ms.store(now, Ordering::Relaxed);
                if timestamp > latest(now) {
                    return Err(refused(
                        E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
                        format!("{timestamp} is too far in the future"),
                    ));
                }
            }
        }
        if let Some(past) = rules.past_ms
            && timestamp < now_ms().saturating_sub(past).saturating_sub(self.skew_ms)
        {
            return Err(refused(E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, format!("{timestamp} is too far in the past")));
        }
        Ok(())
    }
}

fn refused(err: E, text: String) -> SendError {
    SendError::refused_because(err, format!("{text}; refused before it could spoil a batch"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::Outgoing;
    use crate::producer::tests::fixture;

    const NOW: i64 = 1_700_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn entries(config: &[(&str, &str)]) -> Vec<ConfigEntry> {
        let entry = |&(name, value): &(&str, &str)| ConfigEntry {
            name: name.into(),
            value: Some(value.into()),
            set_on_topic: true,
        };
        config.iter().map(entry).collect()
    }

    #[test]
    fn reads_the_rules_out_of_a_topics_configuration() {
        let config = entries(&[
            ("cleanup.policy", "delete,compact"),
            ("max.message.bytes", "2000"),
            ("message.timestamp.type", "CreateTime"),
            ("message.timestamp.before.max.ms", "9223372036854775807"),
            ("message.timestamp.after.max.ms", "3600000"),
        ]);
        let rules =
            TopicRules { key_required: true, max_message_bytes: Some(2000), past_ms: None, future_ms: Some(HOUR) };
        assert_eq!(TopicRules::of(&config), rules);
        let appended = entries(&[("message.timestamp.type", "LogAppendTime"), ("message.timestamp.after.max.ms", "1")]);
        assert_eq!(TopicRules::of(&appended), TopicRules::default());
    }

    #[test]
    fn refuses_what_the_broker_is_sure_to_refuse_and_nothing_more() {
        let code = |rules: TopicRules, compressed: bool, keyed: bool, timestamp: Option<i64>| match Checks::new(
            rules, compressed, false,
        )
        .check_at(keyed, 1000, timestamp, || NOW)
        {
            Ok(()) => "ok".to_owned(),
            Err(SendError::Refused { code, .. }) => code,
            Err(other) => panic!("{other:?}"),
        };
        let keyed = TopicRules { key_required: true, ..TopicRules::default() };
        assert_eq!(code(keyed, false, true, None), "ok");
        assert_eq!(code(keyed, false, false, None), "INVALID_RECORD");

        let small = |max| TopicRules { max_message_bytes: Some(max), ..TopicRules::default() };
        assert_eq!(code(small(1068), false, true, None), "ok");
        assert_eq!(code(small(1067), false, true, None), "MSG_SIZE_TOO_LARGE");
        assert_eq!(code(small(1067), true, true, None), "ok");

        let timed = TopicRules { past_ms: Some(HOUR), future_ms: Some(HOUR), ..TopicRules::default() };
        let edge = HOUR + CLOCK_SKEW_MS;
        for inside in [NOW, NOW - edge, NOW + edge] {
            assert_eq!(code(timed, false, true, Some(inside)), "ok", "{inside}");
        }
        for outside in [NOW - edge - 1, NOW + edge + 1] {
            assert_eq!(code(timed, false, true, Some(outside)), "INVALID_TIMESTAMP", "{outside}");
        }
        assert_eq!(code(timed, false, true, None), "ok");
    }

    #[test]
    fn a_topic_with_rules_refuses_at_the_send() {
        let f = fixture(|_| {});
        f.topic.set_rules(TopicRules { key_required: true, ..TopicRules::default() });
        let message = f.outgoing(b"x", 0);
        assert!(matches!(f.producer.send(&message), Err(SendError::Refused { .. })));
        assert_eq!(f.producer.in_flight(), 0);
        assert_eq!(f.producer.send(&Outgoing { key: Some(b"k"), ..message }), Ok(()));
    }
}
