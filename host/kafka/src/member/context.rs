//! librdkafka's callbacks into this member. Nothing unwinds out of here: a panic in a rebalance callback while the
//! consumer is destroyed hangs the process for good.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::event::MemberEvent;
use super::rebalance::Rebalancer;
use super::shared::Shared;
use crate::log;
use crate::native::ClientRef;
use crate::token;

pub(super) struct Context {
    shared: Arc<Shared>,
    rebalancer: Arc<Rebalancer>,
}

impl Context {
    pub(super) fn new(shared: Arc<Shared>, rebalancer: Arc<Rebalancer>) -> Self {
        Self { shared, rebalancer }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        token::for_consumer(self.shared.settings.client.tokens().as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log::forward(&self.shared.log, &self.shared.settings.client.client_id, level, facility, text);
    }

    fn error(&self, _: KafkaError, reason: &str) {
        // The poll that this runs in answers with the code; this is its text.
        self.shared.note_reason(reason);
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Context {
    /// In place of rust-rdkafka's, which does not look at the errors of `incremental_assign`.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: rd_kafka_resp_err_t, partitions: &mut TopicPartitionList) {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let lost = consumer.assignment_lost();
            // SAFETY: the consumer lives as long as its callback runs.
            if let Some(client) = unsafe { ClientRef::new(consumer.client().native_ptr()) } {
                self.rebalancer.rebalance(client, err, partitions, lost);
            }
        }));
        if done.is_err() {
            self.shared.tell(MemberEvent::Fatal {
                code: "PANIC".into(),
                text: "a panic while partitions were assigned or revoked".into(),
            });
        }
    }
}
